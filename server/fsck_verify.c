/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_verify.c - the checksums of file data. While a walk collects blocks,
 * those that it collected before are read and verified by the pool: sorted by
 * address, in runs, by several workers that each take the next run when they
 * have done one. What they find is told when all of them are done, in the
 * order of addresses, packs first. A run that cannot be read is read once more
 * block by block.
 *
 * Memory     two batches of blocks and packs (2 MiB), a run for each worker
 *            (8 MiB).
 * Threads    a worker has the blocks of its run, or a pack, and nothing else of
 *            a batch.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/xxh3.h"
#include "server/fsck_int.h"
#include "xlators/storage/block/pack.h"

#define WORKERS 8u

struct worker {
    struct cfs_job      job;
    struct fsck_verify *v;
    uint8_t            *buf; /* TOOL_RUN blocks */
};

struct fsck_verify {
    struct eng        *e;
    struct fsck_block *b;    /* what is being verified; as large as a batch */
    unsigned           n;
    struct fsck_pack  *pack;
    unsigned           n_pack;
    _Atomic unsigned   next; /* the first block that no worker has taken, */
    _Atomic unsigned   next_pack;
    unsigned           busy; /* workers */
    struct worker      worker[WORKERS];
};

/* -- in the pool ---------------------------------------------------------- */

/* Whether there are other bytes than zero behind the file's @end. */
static bool has_tail(const uint8_t *data, unsigned end)
{
    for (unsigned at = end; at < CFS_BLOCK; at++)
        if (data[at] != 0)
            return true;
    return false;
}

static void verify_block(struct fsck_block *b, const uint8_t *data)
{
    if (XXH3_64bits(data, CFS_BLOCK) != b->sum)
        b->rc = -CFS_E_CHECKSUM;
    else
        b->tail = has_tail(data, b->end);
}

static void verify_run(struct worker *w, struct fsck_block *b, unsigned n)
{
    int rc = eng_read_now(w->v->e, (struct eng_ext){b->lba, n}, w->buf);

    if (rc < 0 && n > 1) {
        for (unsigned i = 0; i < n; i++)
            verify_run(w, b + i, 1);
        return;
    }
    b->rc = rc;
    for (unsigned i = 0; i < n && rc == 0; i++)
        verify_block(b + i, w->buf + (size_t)i * CFS_BLOCK);
}

/* How many blocks from number @at on lie behind one another. */
static unsigned run_at(const struct fsck_verify *v, unsigned at)
{
    unsigned n = 1;

    while (at + n < v->n && n < TOOL_RUN &&
           v->b[at + n].lba == v->b[at].lba + n)
        n++;
    return n;
}

/* One that cannot be read, or opened, is bad data in all that is in it. */
static void verify_pack(struct worker *w, struct fsck_pack *p)
{
    const uint32_t n = rec_pack_blocks(&p->p);
    uint8_t *plain = w->buf + CHUNK_BYTES;

    p->rc = eng_read_now(w->v->e, (struct eng_ext){p->p.lba, n}, w->buf);
    if (p->rc == 0)
        p->rc = pack_open(&p->p, w->buf,
                          31 - (unsigned)__builtin_clz(p->p.held), plain);
    for (unsigned i = 0; i < CHUNK_BLOCKS && p->rc == 0; i++) {
        uint8_t *data = plain + pack_offset(&p->p, i);
        const uint64_t block = p->index * CHUNK_BLOCKS + i;
        const uint32_t bit = UINT32_C(1) << i;

        if (!(p->p.live & bit))
            continue;
        if (pack_block(&p->c, i, data) < 0)
            p->bad |= bit;
        else if (has_tail(data, fsck_end_in(p->size, block)))
            p->tail |= bit;
    }
}

static void on_work(struct cfs_job *j)
{
    struct worker *w = container_of(j, struct worker, job);
    struct fsck_verify *v = w->v;
    unsigned at;

    while ((at = atomic_fetch_add(&v->next_pack, 1)) < v->n_pack)
        verify_pack(w, &v->pack[at]);
    at = atomic_load(&v->next);
    while (at < v->n) {
        unsigned n = run_at(v, at);

        if (!atomic_compare_exchange_weak(&v->next, &at, at + n))
            continue; /* another worker has it; @at is what is next */
        verify_run(w, v->b + at, n);
        at = atomic_load(&v->next);
    }
}

/* -- in the loop ---------------------------------------------------------- */

static void on_done(struct cfs_job *j)
{
    container_of(j, struct worker, job)->v->busy--;
}

static bool is_done(void *arg)
{
    return ((struct fsck_verify *)arg)->busy == 0;
}

/* A block that cannot be had any more: no news where a repair has said so. */
static void bad_block(struct fsck *f, const struct fsck_block *b)
{
    const struct fsck_ino *i = &f->ino[b->ino];
    const bool known = i->flags & INO_LOST;
    const bool read = b->rc != -CFS_E_CHECKSUM;

    (known ? fsck_known : fsck_find)(
        f, read ? "read" : "checksum", i->gfid,
        "block %" PRIu64 " of it, at %" PRIu64 ", %s%s", b->block, b->lba,
        read ? "cannot be read: " : "does not match its checksum",
        read ? cfs_err_str(b->rc) : "");
    if (!known)
        fsck_fix_set(f, i->gfid, SET_FLAG, REC_LOST);
}

static void judge(struct fsck *f, const struct fsck_block *b)
{
    const struct fsck_ino *i = &f->ino[b->ino];

    f->r->verified += b->rc == 0 || b->rc == -CFS_E_CHECKSUM;
    if (b->rc < 0) {
        bad_block(f, b);
    } else if (b->tail) {
        fsck_find(f, "size", i->gfid,
                  "has bytes other than zero behind its end, in block %"
                  PRIu64, b->block);
        fsck_fix_tail(f, i->gfid, b->block);
    }
}

static void judge_pack(struct fsck *f, const struct fsck_pack *p)
{
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
        if (!(p->p.live >> i & 1))
            continue;
        judge(f, &(struct fsck_block){
                     .lba = p->p.lba,
                     .block = p->index * CHUNK_BLOCKS + i,
                     .ino = p->ino,
                     .rc = p->rc < 0          ? p->rc
                           : p->bad >> i & 1 ? -CFS_E_CHECKSUM
                                             : 0,
                     .tail = p->tail >> i & 1,
                 });
    }
}

static int by_address(const void *a, const void *b)
{
    const struct fsck_block *x = a, *y = b;

    return (x->lba > y->lba) - (x->lba < y->lba);
}

static struct fsck_verify *verify_new(struct fsck *f)
{
    struct fsck_verify *v = calloc(1, sizeof *v);

    if (!v)
        abort();
    v->e = f->e;
    v->b = tool_realloc(NULL, FSCK_BATCH * sizeof *v->b);
    v->pack = tool_realloc(NULL, FSCK_PACKS * sizeof *v->pack);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *w = &v->worker[i];

        w->v = v;
        w->buf = aligned_alloc(CFS_BLOCK, TOOL_RUN * CFS_BLOCK);
        if (!w->buf)
            abort();
    }
    return v;
}

static void start(struct fsck *f, struct fsck_verify *v)
{
    struct fsck_block *spare = v->b;
    struct fsck_pack *spare_pack = v->pack;

    v->b = f->batch;
    v->n = f->n_batch;
    f->batch = spare;
    f->n_batch = 0;
    v->pack = f->pack;
    v->n_pack = f->n_pack;
    f->pack = spare_pack;
    f->n_pack = 0;
    qsort(v->b, v->n, sizeof *v->b, by_address);
    atomic_store(&v->next, 0);
    atomic_store(&v->next_pack, 0);
    for (unsigned i = 0; i < WORKERS && v->n + v->n_pack > 0; i++) {
        v->busy++;
        cfs_job_run(f->loop, &v->worker[i].job, on_work, on_done);
    }
}

static void finish(struct fsck *f, struct fsck_verify *v)
{
    cfs_loop_run_until(f->loop, is_done, v);
    for (unsigned i = 0; i < v->n_pack; i++)
        judge_pack(f, &v->pack[i]);
    for (unsigned i = 0; i < v->n; i++)
        judge(f, &v->b[i]);
    v->n = v->n_pack = 0;
}

void fsck_verify(struct fsck *f)
{
    if (!f->verify)
        f->verify = verify_new(f);
    finish(f, f->verify);
    start(f, f->verify);
}

void fsck_verify_end(struct fsck *f)
{
    struct fsck_verify *v;

    fsck_verify(f);
    v = f->verify;
    finish(f, v);
    for (unsigned i = 0; i < WORKERS; i++)
        free(v->worker[i].buf);
    free(v->b);
    free(v->pack);
    free(v);
    f->verify = NULL;
}
