/* SPDX-License-Identifier: Apache-2.0 */
/* engine.c - admission of changes, poison, closing, and the small things that
 * all files of the engine use. engine_open.c opens one. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/mem.h"
#include "core/xxh3.h"
#include "xlators/storage/block/engine/engine_int.h"

const struct eng_config eng_config_default = {
    .cache_size = 256ull * 1024 * 1024,
    .checkpoint_ms = 5000,
};

/* -- memory, bytes --------------------------------------------------------- */

void *eng_calloc(size_t len)
{
    return cfs_must_calloc(len);
}

void *eng_realloc(void *p, size_t len)
{
    return cfs_must_realloc(p, len);
}

void *eng_alloc_aligned(size_t len)
{
    return cfs_must_aligned(CFS_BLOCK, len);
}

unsigned eng_io_begin(struct eng *e)
{
    uint64_t now = cfs_clock(), none;

    for (unsigned i = 0; i < ENG_IO_SLOTS; i++) {
        none = 0;
        if (atomic_compare_exchange_strong(&e->io[i], &none, now))
            return i;
    }
    return ENG_IO_SLOTS;
}

void eng_io_end(struct eng *e, unsigned io)
{
    if (io < ENG_IO_SLOTS)
        atomic_store(&e->io[io], 0);
}

uint64_t eng_io_oldest(const struct eng *e)
{
    uint64_t oldest = UINT64_MAX;

    for (unsigned i = 0; i < ENG_IO_SLOTS; i++) {
        uint64_t at = atomic_load_explicit(&e->io[i], memory_order_relaxed);

        if (at != 0 && at < oldest)
            oldest = at;
    }
    return oldest;
}

int eng_read(struct eng *e, enum cfs_dev_via via, uint64_t lba, void *buf,
             uint64_t blocks)
{
    unsigned io = eng_io_begin(e);
    int rc;

    rc = e->dev->ops->read(e->dev, via, lba * CFS_BLOCK, buf,
                           blocks * CFS_BLOCK);
    eng_io_end(e, io);
    return rc;
}

int eng_write(struct eng *e, enum cfs_dev_via via, uint64_t lba,
              const void *buf, uint64_t blocks)
{
    struct iovec iov = {(void *)(uintptr_t)buf, blocks * CFS_BLOCK};
    unsigned io = eng_io_begin(e);
    int rc;

    rc = e->dev->ops->write(e->dev, via, lba * CFS_BLOCK, &iov, 1,
                            iov.iov_len);
    eng_io_end(e, io);
    return rc;
}

uint64_t eng_sum(const struct eng *e, const void *p, size_t len)
{
    return XXH3_64bits_withSeed(p, len, e->sb.nonce);
}

static void on_done_task(struct cfs_task *t)
{
    struct eng_done *d = container_of(t, struct eng_done, task);

    d->done(d);
}

void eng_done_post(struct eng *e, struct eng_done *d, int status)
{
    d->status = status;
    cfs_task_init(&d->task, on_done_task);
    cfs_task_post(e->loop, &d->task);
}

/* -- admission ------------------------------------------------------------- */

/* How full a bound is. */
#define LOAD_FULL   ((uint64_t)1 << 20)
/* Beyond what a running checkpoint allows, changes wait; at its end it allows
 * this. */
#define LOAD_TOP    (LOAD_FULL / 16 * 15)
#define SLOW_TICK   CFS_MS
#define CREDIT_MAX  4096u
/* Of dirty_max: a checkpoint is due. */
#define DIRTY_DUE(max) ((max) / 4)

int64_t eng_avail(const struct eng *e, unsigned flags)
{
    const struct space *s = &e->space;
    uint64_t keep = flags & ENG_RESERVE ? s->floor : s->reserve;

    return (int64_t)s->free - (int64_t)(e->tree.dirty_blocks * e->copies) -
           (int64_t)keep;
}

/* Its leaf, one more if that is full, a parent, and one more. */
#define FREEZE_BLOCKS 4u
/* What lies above, and splits seldom. */
#define FREEZE_ROOTS  (2u * NODE_LEVELS)

unsigned eng_freeze_puts(const struct eng *e)
{
    uint64_t n = (e->space.floor / e->copies - FREEZE_ROOTS) / FREEZE_BLOCKS;

    return n < UINT32_MAX ? (unsigned)n : UINT32_MAX;
}

bool eng_freeze_room(const struct eng *e)
{
    uint64_t more = tree_worst(&e->tree, 1, 0);

    return (e->tree.dirty_blocks + more) * e->copies <= e->space.free;
}

int eng_short_of_space(struct eng *e, int64_t lack)
{
    e->cache.miss = NULL;
    if (discard_yield(e))
        return -CFS_E_MISS;
    if (data_may_back(e)) {
        data_back_ahead(e);
        return -CFS_E_MISS;
    }
    if (lack <= (int64_t)e->space.pending) {
        ckpt_kick(e);
        return -CFS_E_MISS;
    }
    return -ENOSPC;
}

/* Bytes of nodes that wait for a checkpoint, or are in it. */
static uint64_t dirty_bytes(const struct eng *e)
{
    const struct ckpt *c = &e->ckpt;
    uint64_t frozen = c->phase == CKPT_IDLE ? 0 : c->blocks;

    if (c->phase == CKPT_FINISH && c->n_list > 0)
        frozen = frozen * (c->n_list - c->at) / c->n_list;
    return (e->tree.dirty_blocks + frozen) * CFS_BLOCK;
}

uint64_t eng_fill(const struct eng *e)
{
    const struct jrn *j = &e->jrn;
    uint64_t dirty = dirty_bytes(e) * LOAD_FULL / e->dirty_max;
    uint64_t jrn = (j->pos - j->start) * LOAD_FULL / j->size;

    return dirty > jrn ? dirty : jrn;
}

/* A checkpoint makes room only when it is durable. Until then changes may take
 * of the room that is left as much as it has done of its work, and a quarter
 * in advance: so who outruns the device is slowed to its pace from early on,
 * and never stopped. */
static uint64_t load_allowed(const struct eng *e)
{
    uint64_t base = e->ckpt.load, part;

    if (ckpt_idle(e) || base >= LOAD_TOP)
        return LOAD_TOP;
    part = CKPT_WHOLE / 4 + ckpt_progress(e) * 3 / 4;
    return base + (LOAD_TOP - base) * part / CKPT_WHOLE;
}

/* Whether a change has to wait. While some do, others go behind them. */
static bool slowed(struct eng *e, unsigned flags)
{
    if (flags & ENG_RESERVE)
        return false;
    if (!cfs_timer_active(&e->slow_timer)) {
        if (eng_fill(e) <= load_allowed(e))
            return false;
        ckpt_kick(e);
        e->credit = e->granted = 0;
        e->tick_load = eng_fill(e);
        cfs_timer_start(&e->slow_timer, SLOW_TICK);
    }
    if (e->credit == 0)
        return true;
    e->credit--;
    return false;
}

static int admit(struct eng *e, uint64_t blocks, size_t rec, unsigned flags)
{
    uint64_t dirty = blocks * CFS_BLOCK;
    int64_t space = (int64_t)(blocks * e->copies);

    if (eng_avail(e, flags) < space)
        return eng_short_of_space(e, space - eng_avail(e, flags));
    e->cache.miss = NULL;
    if (dirty > e->dirty_max / 2)
        dirty = e->dirty_max / 2;
    if (dirty_bytes(e) > DIRTY_DUE(e->dirty_max))
        ckpt_kick(e);
    if (dirty_bytes(e) + dirty > e->dirty_max ||
        !jrn_room(e, sizeof(struct fmt_rec) + REC_ALIGN + rec,
                  flags & ENG_RESERVE)) {
        ckpt_kick(e);
        return -CFS_E_MISS;
    }
    return slowed(e, flags) ? -CFS_E_MISS : 0;
}

int eng_begin(struct eng *e, unsigned puts, size_t bytes, size_t rec,
              unsigned flags)
{
    uint64_t blocks = tree_worst(&e->tree, puts, bytes);
    int rc;

    if (e->poisoned)
        return -CFS_E_POISONED;
    if (e->replaying)
        return 0;
    if (e->conf.read_only)
        return -EROFS;
    data_back_ahead(e);
    rc = admit(e, blocks, rec, flags);
    if (rc == -CFS_E_MISS && e->conf.blocking && ckpt_idle(e)) {
        rc = ckpt_inline(e, false);
        if (rc < 0)
            eng_poison(e, rc, "checkpoint: %s", cfs_err_str(rc));
        rc = e->poisoned ? -CFS_E_POISONED : admit(e, blocks, rec, flags);
        if (rc == -CFS_E_MISS)
            rc = -ENOSPC;
    }
    return rc;
}

/* The first @max of those that were put aside. */
static void wake_some(struct eng *e, uint64_t max)
{
    struct cfs_list some, *l;

    cfs_list_init(&some);
    for (; max > 0 && (l = cfs_list_pop(&e->slow)) != NULL; max--)
        cfs_list_add_tail(&some, l);
    while ((l = cfs_list_pop(&some)) != NULL) {
        struct eng_wait *w = cfs_list_entry(l, struct eng_wait, link);

        w->ready(w);
    }
}

static void on_wake_task(struct cfs_task *t)
{
    wake_some(container_of(t, struct eng, slow_task), UINT64_MAX);
}

void eng_wake_slow(struct eng *e)
{
    if (!cfs_list_empty(&e->slow))
        cfs_task_post(e->loop, &e->slow_task);
}

/* What a change costs, by those of the last tick. */
static void learn_cost(struct eng *e, uint64_t at_load)
{
    uint64_t n = e->granted - e->credit;

    if (n > 0 && at_load > e->tick_load)
        e->cost = (3 * e->cost + (at_load - e->tick_load) / n) / 4;
    e->tick_load = at_load;
}

static void on_slow_timer(struct cfs_timer *t)
{
    struct eng *e = container_of(t, struct eng, slow_timer);
    uint64_t at_load = eng_fill(e), allowed = load_allowed(e);

    learn_cost(e, at_load);
    e->credit = at_load < allowed ? 1 + (allowed - at_load) / (e->cost + 1)
                                  : 0;
    if (e->credit > CREDIT_MAX)
        e->credit = CREDIT_MAX;
    e->granted = e->credit;
    ckpt_kick(e);
    wake_some(e, e->credit);
    if (!cfs_list_empty(&e->slow))
        cfs_timer_start(t, SLOW_TICK);
}

/* -- poison ---------------------------------------------------------------- */

static void on_poison_task(struct cfs_task *t)
{
    struct eng *e = container_of(t, struct eng, poison_task);

    if (e->on_poison)
        e->on_poison(e->poison_ctx, e->poisoned);
}

void eng_poison(struct eng *e, int code, const char *fmt, ...)
{
    va_list ap;

    if (e->poisoned)
        return;
    e->poisoned = code;
    va_start(ap, fmt);
    vsnprintf(e->reason, sizeof e->reason, fmt, ap);
    va_end(ap);
    if (!e->loop || e->loading)
        return; /* whoever is at work here looks at it */
    cfs_log_error(e->log, "store", "%s has failed and takes no more changes: "
                  "%s", e->dev->path, e->reason);
    jrn_fail(e);
    ckpt_fail(e);
    data_fail(e);
    eng_wake_slow(e);
    cfs_task_post(e->loop, &e->poison_task);
    eng_close_step(e);
}

void eng_want_packs(struct eng *e)
{
    if (e->conf.packs || e->conf.read_only)
        return;
    e->conf.packs = true;
    e->ckpt.asked = true;
    ckpt_kick(e);
}

bool eng_packs(const struct eng *e)
{
    return e->sb.incompat & FMT_PACKED;
}

const char *eng_poison_reason(const struct eng *e)
{
    return e->reason;
}

void eng_on_poison(struct eng *e, void (*fn)(void *ctx, int status), void *ctx)
{
    e->on_poison = fn;
    e->poison_ctx = ctx;
}

void eng_on_freeze(struct eng *e, void (*fn)(void *ctx), void *ctx)
{
    e->on_freeze = fn;
    e->freeze_ctx = ctx;
}

void eng_before_freeze(struct eng *e, int (*fn)(void *ctx))
{
    e->before_freeze = fn;
}

/* -- figures --------------------------------------------------------------- */

static struct eng_format format_of(const struct fmt_super *sb)
{
    struct eng_format f = {.brick = sb->brick, .cluster = sb->cluster,
                           .size = sb->size * CFS_BLOCK,
                           .copies = sb->incompat & FMT_TWICE ? 2 : 1,
                           .made = sb->made};

    memcpy(f.label, sb->label, sizeof f.label - 1);
    return f;
}

void eng_info(const struct eng *e, struct eng_info *ret)
{
    int64_t avail = eng_avail(e, 0);

    *ret = (struct eng_info){
        .format = format_of(&e->sb),
        .was_clean = e->was_clean,
        .blocks = e->space.usable,
        .free = avail > 0 ? (uint64_t)avail : 0,
        .pending = e->space.pending - discard_pending(e),
        .generation = e->last.gen,
        .cached = e->cache.bytes,
        .dirty = dirty_bytes(e),
        .checkpoints = e->ckpt.count,
        .flushes = e->jrn.flushes,
        .discarded = e->discard.done,
        .second_reads = e->second_reads,
        .poisoned = e->poisoned,
    };
}

uint64_t eng_incarnation(const struct eng *e)
{
    return e->incarnation;
}

bool eng_in_use(const struct eng *e, uint64_t lba)
{
    return space_live(e, lba);
}

uint64_t eng_first_lba(const struct eng *e)
{
    return e->space.lba;
}

uint64_t eng_end_lba(const struct eng *e)
{
    return e->space.end;
}

void eng_trim(struct eng *e)
{
    cache_evict_now(e);
}

/* -- beginning and end ----------------------------------------------------- */

static void on_close_task(struct cfs_task *t);

void eng_setup(struct eng *e)
{
    cfs_task_init(&e->poison_task, on_poison_task);
    cfs_task_init(&e->slow_task, on_wake_task);
    cfs_task_init(&e->close_task, on_close_task);
    cfs_list_init(&e->slow);
    cfs_timer_init(e->loop, &e->slow_timer, on_slow_timer);
    e->epoch = 2;
    e->dirty_max = e->conf.cache_size / 2;
    e->copies = e->conf.copies           ? e->conf.copies
                : e->sb.incompat & FMT_TWICE ? 2
                                             : 1;
    cache_init(e);
    jrn_init(e);
    data_init(e);
    ckpt_init(e);
    discard_init(e);
}

void eng_set_discard(struct eng *e, bool on)
{
    discard_set(e, on);
    discard_kick(e);
}

void eng_reconfigure(struct eng *e, uint64_t cache_size,
                     uint64_t checkpoint_ms)
{
    bool other_period = checkpoint_ms != e->conf.checkpoint_ms;

    e->conf.cache_size = cache_size;
    e->conf.checkpoint_ms = checkpoint_ms;
    e->dirty_max = cache_size / 2;
    e->cache.max = cache_size;
    cache_ask_evict(e);
    /* In a finish the timer is for its next step. */
    if (other_period && e->ckpt.phase != CKPT_FINISH &&
        cfs_timer_active(&e->ckpt.timer))
        ckpt_start_timer(e);
}

void eng_teardown(struct eng *e)
{
    cfs_timer_fini(&e->slow_timer);
    cfs_task_cancel(&e->poison_task);
    cfs_task_cancel(&e->slow_task);
    cfs_task_cancel(&e->close_task);
    jrn_fini(e);
    ckpt_fini(e);
    data_fini(e);
    discard_fini(e);
    tree_fini(e);
    space_fini(e);
    cache_fini(e);
    ahead_fini(e);
    free(e);
}

static bool all_idle(const struct eng *e)
{
    return e->cache.reads == 0 && e->ahead.busy == 0 && data_idle(e) &&
           jrn_idle(e) && ckpt_idle(e) && !e->ckpt.preparing &&
           discard_idle(e);
}

static void on_close_task(struct cfs_task *t)
{
    struct eng *e = container_of(t, struct eng, close_task);
    void (*done)(void *ctx, int status) = e->closed;
    void *ctx = e->closed_ctx;
    struct cfs_dev *dev = e->dev;
    int status;

    if (!all_idle(e))
        return;
    if (!e->final_done && !e->poisoned && !e->conf.read_only) {
        e->final_done = true;
        ckpt_kick(e);
        return;
    }
    if (!cfs_list_empty(&e->ckpt.task.link))
        return; /* the last checkpoint is about to begin */
    /* What "clean" says. */
    assert(e->poisoned || e->conf.read_only || !e->close_clean ||
           e->jrn.records == e->ckpt.jrn_records);
    status = e->poisoned ? -CFS_E_POISONED : 0;
    eng_teardown(e);
    dev->ops->close(dev);
    if (done)
        done(ctx, status);
}

void eng_close_step(struct eng *e)
{
    if (e->closing)
        cfs_task_post(e->loop, &e->close_task);
}

void eng_close(struct eng *e, bool clean, void (*done)(void *ctx, int status),
               void *ctx)
{
    assert(!e->closing);
    e->closing = true;
    e->close_clean = clean;
    e->closed = done;
    e->closed_ctx = ctx;
    eng_close_step(e);
}

void eng_drop(struct eng *e)
{
    struct cfs_dev *dev = e->dev;

    assert(e->cache.reads == 0 && e->ahead.busy == 0 && data_idle(e) &&
           ckpt_idle(e) && discard_idle(e) && !e->jrn.writing &&
           !e->jrn.flushing);
    eng_teardown(e);
    dev->ops->close(dev);
}
