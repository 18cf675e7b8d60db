/* SPDX-License-Identifier: Apache-2.0 */
/* journal.c - appending to the journal: records gather in a buffer, one write
 * at the end of the turn, one flush for all who wait. The invariants are in
 * journal.h; journal_scan.c reads it back. */
#include "xlators/storage/block/engine/journal.h"

#include <stdlib.h>

#include "core/xxh3.h"
#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/engine/plant.h"

/* Changes leave this part of the journal to those that may use the reserve. */
#define JRN_RESERVE(size) ((size) / 8)
/* The journal at which a checkpoint is due. */
#define JRN_DUE(size) ((size) / 3)

static uint64_t block_down(uint64_t pos)
{
    return pos & ~(uint64_t)(CFS_BLOCK - 1);
}

static uint64_t block_up(uint64_t pos)
{
    return block_down(pos + CFS_BLOCK - 1);
}

static void on_hook(struct cfs_hook *h);

void jrn_init(struct eng *e)
{
    struct jrn *j = &e->jrn;

    j->base = e->sb.jrn_lba * CFS_BLOCK;
    j->size = e->sb.jrn_blocks * CFS_BLOCK;
    cfs_hook_init(&j->hook, CFS_STAGE_COMMIT, on_hook);
    cfs_list_init(&j->commits);
    cfs_list_init(&j->syncs);
    cfs_list_init(&j->want);
    cfs_list_init(&j->in_flush);
}

void jrn_fini(struct eng *e)
{
    struct jrn *j = &e->jrn;

    cfs_hook_cancel(&j->hook);
    free(j->buf.data);
    free(j->going.data);
    j->buf.data = j->going.data = NULL;
}

void jrn_set(struct eng *e, uint64_t pos, uint64_t chain)
{
    struct jrn *j = &e->jrn;

    pos = block_up(pos);
    j->durable = j->written = j->end = j->pos = pos;
    j->chain = chain;
    j->buf.pos = pos;
    j->buf.len = 0;
}

size_t jrn_rec_bytes(size_t n_ext, size_t n_sums, size_t body)
{
    size_t len = sizeof(struct fmt_rec) + n_ext * REC_EXT_BYTES +
                 n_sums * sizeof(uint64_t) + body;

    return (len + REC_ALIGN - 1) / REC_ALIGN * REC_ALIGN;
}

bool jrn_room(const struct eng *e, size_t len, bool reserve)
{
    const struct jrn *j = &e->jrn;
    uint64_t used = j->pos - j->start + len + 2 * CFS_BLOCK;

    return used <= j->size - (reserve ? 0 : JRN_RESERVE(j->size));
}

/* -- appending ------------------------------------------------------------- */

/* Room for @len more bytes in the buffer. */
static uint8_t *buf_room(struct jrn_buf *b, size_t len)
{
    size_t need = block_up(b->len + len);

    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 256 * 1024;
        uint8_t *data;

        while (cap < need)
            cap *= 2;
        data = eng_alloc_aligned(cap);
        if (b->len > 0)
            memcpy(data, b->data, b->len);
        free(b->data);
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

static void put_record(struct eng *e, const struct eng_rec *rec, size_t len)
{
    struct jrn *j = &e->jrn;
    uint8_t *at = buf_room(&j->buf, len), *p = at + sizeof(struct fmt_rec);
    struct fmt_rec h = {
        .magic = FMT_REC_MAGIC,
        .type = rec->type,
        .n_ext = (uint16_t)rec->n_ext,
        .len = (uint32_t)len,
        .n_sums = rec->n_sums,
        .body = rec->body.len,
        .brick = e->sb.brick,
        .pos = j->pos,
        .incarnation = e->incarnation,
        .prev = j->chain,
        .durable = j->durable,
        .ckpt = e->last.seq,
    };

    for (unsigned i = 0; i < rec->n_ext; i++, p += REC_EXT_BYTES) {
        memcpy(p, &rec->ext[i].lba, sizeof rec->ext[i].lba);
        memcpy(p + 8, &rec->ext[i].n, sizeof rec->ext[i].n);
    }
    if (rec->n_sums > 0)
        memcpy(p, rec->sums, rec->n_sums * sizeof *rec->sums);
    p += rec->n_sums * sizeof *rec->sums;
    if (rec->body.len > 0)
        memcpy(p, rec->body.p, rec->body.len);
    p += rec->body.len;
    memset(p, 0, (size_t)(at + len - p));
    memcpy(at, &h, sizeof h);
    h.sum = eng_sum(e, at, len);
    memcpy(at, &h, sizeof h);
    j->buf.len += len;
    j->pos += len;
    j->end = j->pos;
    j->chain = h.sum;
    j->records++;
}

uint64_t eng_commit(struct eng *e, const struct eng_rec *rec,
                    struct eng_done *d)
{
    struct jrn *j = &e->jrn;
    size_t len = jrn_rec_bytes(rec->n_ext, rec->n_sums, rec->body.len);
    uint64_t pos = j->pos;

    assert(!e->replaying && !e->conf.read_only);
    assert(len <= ENG_REC_MAX && rec->n_ext <= UINT16_MAX);
    for (unsigned i = 0; i < rec->n_ext; i++)
        space_commit(e, rec->ext[i]);
    if (d)
        d->pos = pos;
    if (e->poisoned) {
        if (d)
            eng_done_post(e, d, -CFS_E_POISONED);
        return pos;
    }
    assert(j->pos - j->start + len + CFS_BLOCK <= j->size);
    put_record(e, rec, len);
    if (d)
        cfs_list_add_tail(&j->commits, &d->link);
    cfs_hook_ask(e->loop, &j->hook);
    if (j->pos - j->start > JRN_DUE(j->size))
        ckpt_kick(e);
    cache_ask_evict(e);
    return pos;
}

uint64_t eng_pos(const struct eng *e)
{
    return e->jrn.pos;
}

uint64_t eng_durable(const struct eng *e)
{
    return e->jrn.durable;
}

/* -- writing --------------------------------------------------------------- */

/* All of @b, its last block filled up with zeros. Any thread. */
static int write_buf(struct eng *e, struct jrn_buf *b)
{
    const struct jrn *j = &e->jrn;
    size_t len = block_up(b->len), done = 0;

    memset(b->data + b->len, 0, len - b->len);
    while (done < len) {
        uint64_t off = (b->pos + done) % j->size;
        size_t n = len - done < j->size - off ? len - done : j->size - off;
        struct iovec iov = {b->data + done, n};
        unsigned io = eng_io_begin(e);
        int rc;

        rc = e->dev->ops->write(e->dev, CFS_DEV_BUFFERED, j->base + off, &iov,
                                1, n);
        eng_io_end(e, io);
        if (rc < 0)
            return rc;
        done += n;
    }
    return 0;
}

/* Bytes up to @pos are written: answer them. */
static void wrote(struct eng *e, uint64_t pos)
{
    struct jrn *j = &e->jrn;
    uint64_t from = block_down(j->written), to = block_down(pos);

    j->written = pos;
    while (!cfs_list_empty(&j->commits)) {
        struct eng_done *d =
            cfs_list_entry(j->commits.next, struct eng_done, link);

        if (d->pos >= pos)
            break;
        cfs_list_del(&d->link);
        eng_done_post(e, d, 0);
    }
    /* The last block is left alone: more will be written to it. */
    while (from < to) {
        uint64_t off = from % j->size;
        uint64_t n = to - from < j->size - off ? to - from : j->size - off;

        data_wrote(e, j->base + off, n);
        from += n;
    }
}

/* Keep the last block of what was written: it goes on there. */
static void carry_over(const struct jrn_buf *from, struct jrn_buf *to)
{
    size_t keep = from->len % CFS_BLOCK;
    size_t at = from->len - keep;

    to->pos = from->pos + at;
    to->len = 0;
    if (keep > 0)
        memmove(buf_room(to, keep), from->data + at, keep);
    to->len = keep;
}

/* The next record begins at a new block. */
static void close_block(struct jrn *j)
{
    j->pos = block_up(j->pos);
    j->buf.pos = j->pos;
    j->buf.len = 0;
}

static void start_flush(struct eng *e);

static void on_write_work(struct cfs_job *job)
{
    struct eng *e = container_of(job, struct eng, jrn.write_job);

    e->jrn.write_rc = write_buf(e, &e->jrn.going);
}

static void on_write_done(struct cfs_job *job)
{
    struct eng *e = container_of(job, struct eng, jrn.write_job);
    struct jrn *j = &e->jrn;

    j->writing = false;
    if (j->write_rc < 0)
        eng_poison(e, j->write_rc, "write of the journal: %s",
                   cfs_err_str(j->write_rc));
    if (!e->poisoned) {
        wrote(e, j->going.pos + j->going.len);
        if (j->buf.pos >= j->written) /* else more is to be written there */
            start_flush(e);
        cfs_hook_ask(e->loop, &j->hook);
    }
    eng_close_step(e);
}

static bool is_flush_wanted(const struct jrn *j)
{
    return !cfs_list_empty(&j->syncs) || !cfs_list_empty(&j->want);
}

static void write_out(struct eng *e)
{
    struct jrn *j = &e->jrn;
    uint64_t end = j->end;

    if (data_may_inline(e, end - j->written)) {
        int rc = write_buf(e, &j->buf);

        if (rc < 0) {
            eng_poison(e, rc, "write of the journal: %s", cfs_err_str(rc));
            return;
        }
        wrote(e, end);
        carry_over(&j->buf, &j->buf);
    } else {
        struct jrn_buf free_one = j->going;

        j->going = j->buf;
        j->buf = free_one;
        /* There may be more to write when this has been written, and then
         * again: who wants a flush gets it in between. */
        if (!j->flushing && is_flush_wanted(j))
            close_block(j);
        else
            carry_over(&j->going, &j->buf);
        j->writing = true;
        cfs_job_run(e->loop, &j->write_job, on_write_work, on_write_done);
    }
}

static void on_hook(struct cfs_hook *h)
{
    struct eng *e = container_of(h, struct eng, jrn.hook);
    struct jrn *j = &e->jrn;

    if (e->poisoned || j->writing)
        return;
    if (j->end > j->written)
        write_out(e);
    if (!e->poisoned && !j->writing)
        start_flush(e);
    eng_close_step(e);
}

/* -- flushing -------------------------------------------------------------- */

static void on_flush_work(struct cfs_job *job)
{
    struct eng *e = container_of(job, struct eng, jrn.flush_job);
    unsigned io = eng_io_begin(e);

    e->jrn.flush_rc = PLANTED(flush_left_out) ? 0
                                              : e->dev->ops->flush(e->dev);
    eng_io_end(e, io);
}

/* Syncs below the durable position are done. */
static void settle_syncs(struct eng *e)
{
    struct jrn *j = &e->jrn;

    while (!cfs_list_empty(&j->syncs)) {
        struct eng_done *d =
            cfs_list_entry(j->syncs.next, struct eng_done, link);

        if (d->pos > j->durable)
            break;
        cfs_list_del(&d->link);
        eng_done_post(e, d, 0);
    }
}

static void end_flushes(struct eng *e, struct cfs_list *list)
{
    struct cfs_list all, *l;

    cfs_list_init(&all);
    cfs_list_splice(&all, list);
    while ((l = cfs_list_pop(&all)) != NULL) {
        struct jrn_flush *f = cfs_list_entry(l, struct jrn_flush, link);

        f->done(e, f);
    }
}

static void on_flush_done(struct cfs_job *job)
{
    struct eng *e = container_of(job, struct eng, jrn.flush_job);
    struct jrn *j = &e->jrn;

    j->flushing = false;
    j->flushes++;
    if (j->flush_rc < 0 && !PLANTED(failed_flush_ignored))
        eng_poison(e, j->flush_rc, "flush: %s", cfs_err_str(j->flush_rc));
    if (!e->poisoned) {
        if (j->flush_pos > j->durable)
            j->durable = j->flush_pos;
        settle_syncs(e);
    }
    end_flushes(e, &j->in_flush);
    if (!e->poisoned && is_flush_wanted(j))
        cfs_hook_ask(e->loop, &j->hook);
    eng_close_step(e);
}

/* Everything written so far becomes durable. */
static void start_flush(struct eng *e)
{
    struct jrn *j = &e->jrn;

    if (j->flushing || !is_flush_wanted(j))
        return;
    /* The next record begins at a new block: this one is not written again
     * after it has become durable. */
    if (j->end <= j->written)
        close_block(j);
    assert(j->buf.pos >= j->written);
    j->flushing = true;
    j->flush_pos = j->written;
    cfs_list_splice(&j->in_flush, &j->want);
    cfs_job_run(e->loop, &j->flush_job, on_flush_work, on_flush_done);
}

void eng_sync(struct eng *e, struct eng_done *d)
{
    struct jrn *j = &e->jrn;

    d->pos = j->end;
    if (e->poisoned || d->pos <= j->durable) {
        eng_done_post(e, d, e->poisoned ? -CFS_E_POISONED : 0);
        return;
    }
    cfs_list_add_tail(&j->syncs, &d->link);
    cfs_hook_ask(e->loop, &j->hook);
}

void jrn_want_flush(struct eng *e, struct jrn_flush *f)
{
    cfs_list_add_tail(&e->jrn.want, &f->link);
    if (e->poisoned)
        end_flushes(e, &e->jrn.want);
    else
        cfs_hook_ask(e->loop, &e->jrn.hook);
}

void jrn_advance(struct eng *e, uint64_t start)
{
    struct jrn *j = &e->jrn;

    j->start = start;
    if (start > j->durable)
        j->durable = start;
    settle_syncs(e);
}

static void fail_all(struct eng *e, struct cfs_list *list)
{
    struct cfs_list *l;

    while ((l = cfs_list_pop(list)) != NULL)
        eng_done_post(e, cfs_list_entry(l, struct eng_done, link),
                      -CFS_E_POISONED);
}

void jrn_fail(struct eng *e)
{
    fail_all(e, &e->jrn.commits);
    fail_all(e, &e->jrn.syncs);
    end_flushes(e, &e->jrn.want);
}

bool jrn_idle(const struct eng *e)
{
    const struct jrn *j = &e->jrn;

    return !j->writing && !j->flushing &&
           (e->poisoned || (j->end <= j->written &&
                            cfs_list_empty(&j->syncs) &&
                            cfs_list_empty(&j->want)));
}
