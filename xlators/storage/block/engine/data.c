/* SPDX-License-Identifier: Apache-2.0 */
/* data.c - blocks of file data: allocation, I/O, the pace of write-out, and
 * the growth of a sparse image. Invariants in data.h. */
#include "xlators/storage/block/engine/data.h"

#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"

#define IN_LINE_MAX   (128u * 1024u)        /* bytes copied on the loop */
#define BATCH_BYTES   (1024u * 1024u)       /* write-out begins with these */
#define HANG_NS       (50 * CFS_MS)
#define BOUND_MIN     (4ull * 1024 * 1024)
#define BOUND_MAX     (64ull * 1024 * 1024)
#define BOUND_FIRST   (16ull * 1024 * 1024)
#define BOUND_PER_SEC 20u                   /* 50 ms of the device */
#define BACK_AHEAD    (256ull * 1024 * 1024 / CFS_BLOCK)
#define BACK_RETRY    (10 * CFS_SEC)
#define SEEN_BITS     13u
#define SEEN          (1u << SEEN_BITS)     /* places */

static void on_back_timer(struct cfs_timer *t);

void data_init(struct eng *e)
{
    struct pace *p = &e->pace;

    cfs_list_init(&p->reads);
    cfs_list_init(&p->waiting);
    p->bound = BOUND_FIRST;
    p->seen = eng_calloc(SEEN * sizeof *p->seen);
    if (e->loop)
        cfs_timer_init(e->loop, &p->back_timer, on_back_timer);
}

void data_fini(struct eng *e)
{
    if (e->loop)
        cfs_timer_fini(&e->pace.back_timer);
    extv_fini(&e->pace.batch);
    extv_fini(&e->pace.going);
    free(e->pace.seen);
}

bool data_idle(const struct eng *e)
{
    const struct pace *p = &e->pace;

    return p->io == 0 && !p->running && !p->backing;
}

/* -- pace ------------------------------------------------------------------ */

static uint64_t extv_bytes(const struct extv *v)
{
    uint64_t n = 0;

    for (size_t i = 0; i < v->n; i++)
        n += (uint64_t)v->v[i].n * CFS_BLOCK;
    return n;
}

static int write_out(struct eng *e, const struct extv *v)
{
    const struct cfs_dev_ops *ops = e->dev->ops;
    unsigned io = eng_io_begin(e);
    int rc = 0;

    for (size_t i = 0; i < v->n && rc == 0; i++)
        rc = ops->start_write_out(e->dev, v->v[i].lba * CFS_BLOCK,
                                  (uint64_t)v->v[i].n * CFS_BLOCK);
    for (size_t i = 0; i < v->n && rc == 0; i++)
        rc = ops->wait_write_out(e->dev, v->v[i].lba * CFS_BLOCK,
                                 (uint64_t)v->v[i].n * CFS_BLOCK);
    eng_io_end(e, io);
    return rc;
}

static void on_pace_work(struct cfs_job *j)
{
    struct eng *e = container_of(j, struct eng, pace.job);

    e->pace.rc = write_out(e, &e->pace.going);
}

static void pace_start(struct eng *e);
static void write_begin(struct eng *e, struct eng_io *io);

static bool within_bound(const struct eng *e, uint64_t len)
{
    return e->pace.unwritten == 0 ||
           e->pace.unwritten + len <= e->pace.bound;
}

/* What waits for the device may go on, as far as the bound allows. */
static void wake_writes(struct eng *e)
{
    struct pace *p = &e->pace;

    while (!cfs_list_empty(&p->waiting)) {
        struct eng_io *io =
            cfs_list_entry(p->waiting.next, struct eng_io, link);

        if (!within_bound(e, (uint64_t)io->ext.n * CFS_BLOCK))
            return;
        cfs_list_del(&io->link);
        write_begin(e, io);
    }
}

static void on_pace_done(struct cfs_job *j)
{
    struct eng *e = container_of(j, struct eng, pace.job);
    struct pace *p = &e->pace;
    uint64_t bytes = extv_bytes(&p->going);
    uint64_t ns = cfs_now_fresh(e->loop) - p->began;
    uint64_t bound;

    p->running = false;
    p->unwritten -= bytes;
    p->going.n = 0;
    if (p->rc < 0)
        eng_poison(e, p->rc, "write-out: %s", cfs_err_str(p->rc));
    bound = bytes * (CFS_SEC / BOUND_PER_SEC) / (ns + 1);
    p->bound = (3 * p->bound + bound) / 4;
    if (p->bound < BOUND_MIN)
        p->bound = BOUND_MIN;
    if (p->bound > BOUND_MAX)
        p->bound = BOUND_MAX;
    pace_start(e);
    wake_writes(e);
    eng_close_step(e);
}

/* Begin with what was collected, when it is enough, or somebody waits. */
static void pace_start(struct eng *e)
{
    struct pace *p = &e->pace;
    struct extv spare = p->going;

    if (p->running || e->poisoned || p->batched == 0 ||
        (p->batched < BATCH_BYTES && cfs_list_empty(&p->waiting)))
        return;
    p->going = p->batch;
    p->batch = spare;
    p->batched = 0;
    p->running = true;
    p->began = cfs_now_fresh(e->loop);
    cfs_job_run(e->loop, &p->job, on_pace_work, on_pace_done);
}

/* Bytes that .unwritten has already. */
static void pace_add(struct eng *e, struct eng_ext ext)
{
    struct pace *p = &e->pace;

    extv_push(&p->batch, ext);
    p->batched += (uint64_t)ext.n * CFS_BLOCK;
    pace_start(e);
}

void data_wrote(struct eng *e, uint64_t off, uint64_t len)
{
    e->pace.unwritten += len;
    pace_add(e, (struct eng_ext){off / CFS_BLOCK, (uint32_t)(len / CFS_BLOCK)});
}

/* Whether the device has been at something for so long that a write to the
 * page cache might come to wait for it, too: for a page that is being written,
 * for the file system that an image lies in, for clean memory. */
static bool hangs(const struct eng *e)
{
    uint64_t oldest = eng_io_oldest(e), now = cfs_now(e->loop);

    return oldest < now && now - oldest > HANG_NS;
}

bool data_may_inline(const struct eng *e, uint64_t len)
{
    return within_bound(e, len) && !hangs(e);
}

/* -- I/O ------------------------------------------------------------------- */

uint64_t data_oldest_read(const struct eng *e)
{
    const struct cfs_list *l = &e->pace.reads;

    if (cfs_list_empty(l))
        return UINT64_MAX;
    return cfs_list_entry(l->next, struct eng_io, link)->epoch;
}

static void on_io_task(struct cfs_task *t)
{
    struct eng_io *io = container_of(t, struct eng_io, task);

    io->done(io);
}

static void io_end(struct eng_io *io, int status)
{
    struct eng *e = io->eng;

    io->status = status;
    e->pace.io--;
    if (!io->write) {
        cfs_list_del(&io->link);
        eng_release_freed(e);
    }
    cfs_task_init(&io->task, on_io_task);
    cfs_task_post(e->loop, &io->task);
}

static void io_begin(struct eng *e, struct eng_io *io, bool write)
{
    assert(space_valid(e, io->ext));
    io->eng = e;
    io->write = write;
    io->epoch = e->epoch;
    cfs_list_init(&io->link);
    if (!write)
        cfs_list_add_tail(&e->pace.reads, &io->link);
    e->pace.io++;
}

/* Large transfers go around the page cache, which would cost more than the
 * device takes; and on an image file a copy of a megabyte would lock the
 * journal out for as long. */
static bool goes_direct(const struct eng_io *io)
{
    return io->ext.n > IN_LINE_MAX / CFS_BLOCK;
}

/* What is read in large pieces once, as most is, would drive out of the page
 * cache what small reads want, and cost more on the way. What is read a second
 * time, before another piece took its entry in the table, goes through it, and
 * from then on may be there. No data lies in block 0. */
static bool seen_before(struct eng *e, uint64_t lba)
{
    const uint64_t hash = lba * 0x9e3779b97f4a7c15u;
    uint64_t *at = &e->pace.seen[hash >> (64 - SEEN_BITS)];
    bool seen = *at == lba;

    *at = lba;
    return seen;
}

static int read_waiting(struct eng_io *io)
{
    return eng_read(io->eng, io->direct ? CFS_DEV_DIRECT : CFS_DEV_BUFFERED,
                    io->ext.lba, io->data, io->ext.n);
}

static void on_data_read_work(struct cfs_job *j)
{
    struct eng_io *io = container_of(j, struct eng_io, job);

    io->status = read_waiting(io);
    if (io->status == 0)
        io->status = eng_io_verify(io);
}

static void on_data_read_done(struct cfs_job *j)
{
    struct eng_io *io = container_of(j, struct eng_io, job);
    struct eng *e = io->eng;

    io_end(io, io->status);
    eng_close_step(e);
}

void eng_data_read(struct eng *e, struct eng_io *io)
{
    int rc = -EAGAIN;

    io_begin(e, io, false);
    io->direct = goes_direct(io) &&
                 (e->conf.blocking || !seen_before(e, io->ext.lba));
    if (e->conf.blocking)
        rc = read_waiting(io);
    else if (!goes_direct(io))
        rc = eng_read(e, CFS_DEV_CACHED, io->ext.lba, io->data, io->ext.n);
    if (rc != -EAGAIN)
        io_end(io, rc < 0 ? rc : eng_io_verify(io));
    else
        cfs_job_run(e->loop, &io->job, on_data_read_work, on_data_read_done);
}

int eng_read_now(struct eng *e, struct eng_ext ext, void *buf)
{
    assert(space_valid(e, ext));
    return eng_read(e, CFS_DEV_DIRECT, ext.lba, buf, ext.n);
}

static int write_verified(struct eng_io *io)
{
    int rc = eng_io_verify(io);

    if (rc < 0)
        return rc;
    return eng_write(io->eng, goes_direct(io) ? CFS_DEV_DIRECT
                                              : CFS_DEV_BUFFERED,
                     io->ext.lba, io->data, io->ext.n);
}

static void on_data_write_work(struct cfs_job *j)
{
    struct eng_io *io = container_of(j, struct eng_io, job);

    io->status = write_verified(io);
}

static void write_ended(struct eng_io *io, int rc)
{
    struct eng *e = io->eng;

    if (!goes_direct(io) && rc == 0)
        pace_add(e, io->ext);
    else if (!goes_direct(io))
        e->pace.unwritten -= (uint64_t)io->ext.n * CFS_BLOCK;
    if (rc < 0 && rc != -CFS_E_CHECKSUM)
        eng_poison(e, rc, "write of data: %s", cfs_err_str(rc));
    io_end(io, e->poisoned ? -CFS_E_POISONED : rc);
}

static void on_data_write_done(struct cfs_job *j)
{
    struct eng_io *io = container_of(j, struct eng_io, job);
    struct eng *e = io->eng;

    write_ended(io, io->status);
    eng_close_step(e);
}

static void write_begin(struct eng *e, struct eng_io *io)
{
    bool direct = goes_direct(io);

    if (!direct)
        e->pace.unwritten += (uint64_t)io->ext.n * CFS_BLOCK;
    if (e->conf.blocking || (!direct && !hangs(e)))
        write_ended(io, write_verified(io));
    else
        cfs_job_run(e->loop, &io->job, on_data_write_work,
                    on_data_write_done);
}

void eng_data_write(struct eng *e, struct eng_io *io)
{
    struct pace *p = &e->pace;

    io_begin(e, io, true);
    if (e->poisoned) {
        io_end(io, -CFS_E_POISONED);
    } else if (e->conf.blocking || goes_direct(io) ||
               (cfs_list_empty(&p->waiting) &&
                within_bound(e, (uint64_t)io->ext.n * CFS_BLOCK))) {
        write_begin(e, io);
    } else {
        cfs_list_add_tail(&p->waiting, &io->link);
        pace_start(e);
    }
}

void data_fail(struct eng *e)
{
    struct cfs_list *l;

    while ((l = cfs_list_pop(&e->pace.waiting)) != NULL)
        io_end(cfs_list_entry(l, struct eng_io, link), -CFS_E_POISONED);
}

/* -- allocation ------------------------------------------------------------ */

int eng_alloc(struct eng *e, uint32_t n, uint64_t goal, unsigned flags,
              struct eng_ext *ret, unsigned max, unsigned *ret_n)
{
    if (e->poisoned)
        return -CFS_E_POISONED;
    assert(n > 0 && max > 0);
    data_back_ahead(e);
    if (eng_avail(e, flags) < (int64_t)n)
        return eng_short_of_space(e, n - eng_avail(e, flags));
    return space_alloc(e, n, goal, flags & ENG_STREAM, ret, max, ret_n);
}

bool eng_ext_valid(const struct eng *e, struct eng_ext ext)
{
    return space_valid(e, ext);
}

void eng_unalloc(struct eng *e, struct eng_ext ext)
{
    space_unalloc(e, ext);
    eng_wake_slow(e);
}

void eng_free(struct eng *e, struct eng_ext ext)
{
    if (space_free(e, ext) < 0)
        eng_poison(e, -CFS_E_CORRUPT,
                   "blocks %llu+%u are freed, but not in use",
                   (unsigned long long)ext.lba, ext.n);
}

void eng_release_freed(struct eng *e)
{
    uint64_t before = e->space.pending;
    uint64_t oldest = data_oldest_read(e);
    uint64_t durable = e->ckpt.durable_epoch;

    space_release(e, oldest <= durable ? oldest - 1 : durable);
    if (e->space.pending != before) {
        eng_wake_slow(e);
        discard_kick(e);
    }
}

/* -- sparse images --------------------------------------------------------- */

static bool is_sparse(const struct eng *e)
{
    return e->conf.sparse_image && e->dev->is_file && !e->conf.read_only;
}

static uint64_t page_bytes(const struct eng *e, uint32_t page)
{
    uint64_t lba = space_page_lba(&e->space, page);
    uint64_t n = e->space.end - lba;

    return (n < MAP_BLOCKS ? n : MAP_BLOCKS) * CFS_BLOCK;
}

/* Where free space is given back, a page in which nothing is may be gone; but
 * not a group's head, which has its maps. */
static bool perhaps_punched(struct eng *e, uint32_t page)
{
    struct eng_ext x = space_page_all(&e->space, page);
    uint64_t lba = space_page_lba(&e->space, page);

    if (!e->conf.discard || e->space.page[page].free != x.n)
        return false;
    return lba == x.lba ||
           e->dev->ops->allocate(e->dev, lba * CFS_BLOCK,
                                 (x.lba - lba) * CFS_BLOCK) == 0;
}

static int allocate_page(struct eng *e, uint32_t page)
{
    return e->dev->ops->allocate(e->dev,
                                 space_page_lba(&e->space, page) * CFS_BLOCK,
                                 page_bytes(e, page));
}

/* Blocks that are to be there beside the reserve. */
static bool backed_enough(const struct space *s)
{
    return s->free >= s->reserve + BACK_AHEAD;
}

/* The next page to be allocated; false: none is left. */
static bool next_unbacked(const struct eng *e, uint32_t *ret)
{
    for (uint32_t i = 0; i < e->space.n_pages; i++) {
        if (!e->space.page[i].backed && !discard_has_page(e, i)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

void data_back_open(struct eng *e)
{
    struct space *s = &e->space;

    if (!is_sparse(e))
        return;
    for (uint32_t i = 0; i < s->n_pages; i++)
        space_back(e, i, s->disk[i].place != PLACE_NONE &&
                             !perhaps_punched(e, i) &&
                             allocate_page(e, i) == 0);
    /* Where the file system is full, those that are there still are. */
    for (uint32_t i = 0; i < s->n_pages && !backed_enough(s); i++)
        if (!s->page[i].backed && allocate_page(e, i) == 0)
            space_back(e, i, true);
    if (e->dev->ops->allocate(e->dev, 0, e->sb.grp_lba * CFS_BLOCK) < 0 ||
        e->dev->ops->allocate(e->dev, (e->sb.size - AREA_BLOCKS) * CFS_BLOCK,
                              AREA_BLOCKS * CFS_BLOCK) < 0)
        cfs_log_warning(e->log, "store",
                        "%s: its file system has no space for the journal",
                        e->dev->path);
}

static void on_back_work(struct cfs_job *j)
{
    struct eng *e = container_of(j, struct eng, pace.back_job);

    e->pace.back_rc = allocate_page(e, e->pace.back_page);
}

static void on_back_done(struct cfs_job *j)
{
    struct eng *e = container_of(j, struct eng, pace.back_job);
    struct pace *p = &e->pace;

    p->backing = false;
    if (p->back_rc == 0) {
        space_back(e, p->back_page, true);
        data_back_ahead(e);
    } else {
        p->back_failed = true;
        cfs_timer_start(&p->back_timer, BACK_RETRY);
        cfs_log_warning(e->log, "store", "%s cannot grow: %s", e->dev->path,
                        cfs_err_str(p->back_rc));
    }
    eng_wake_slow(e);
    eng_close_step(e);
}

static void on_back_timer(struct cfs_timer *t)
{
    struct eng *e = container_of(t, struct eng, pace.back_timer);

    e->pace.back_failed = false;
    data_back_ahead(e);
}

void data_back_ahead(struct eng *e)
{
    struct pace *p = &e->pace;

    if (e->space.unbacked == 0 || backed_enough(&e->space) ||
        p->backing || p->back_failed || e->closing || e->poisoned ||
        !next_unbacked(e, &p->back_page))
        return;
    p->backing = true;
    cfs_job_run(e->loop, &p->back_job, on_back_work, on_back_done);
}

bool data_backs_page(const struct eng *e, uint32_t page)
{
    return e->pace.backing && e->pace.back_page == page;
}

bool data_may_unback(const struct eng *e, uint64_t n)
{
    return eng_avail(e, 0) >= (int64_t)(n + BACK_AHEAD + MAP_BLOCKS);
}

uint64_t eng_growable(const struct eng *e)
{
    uint64_t room = UINT64_MAX, held = discard_held(e);

    if (e->space.unbacked == 0 || e->pace.back_failed)
        return held;
    if (e->dev->ops->room)
        room = e->dev->ops->room(e->dev) / CFS_BLOCK;
    return held + (e->space.unbacked < room ? e->space.unbacked : room);
}

bool data_may_back(const struct eng *e)
{
    return e->pace.backing ||
           (e->space.unbacked > 0 && !e->pace.back_failed);
}
