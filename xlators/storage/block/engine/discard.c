/* SPDX-License-Identifier: Apache-2.0 */
/* discard.c - what is free is discarded: run by run on a device, page by page
 * in an image. Invariants in discard.h. */
#include "xlators/storage/block/engine/discard.h"

#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"

#define UNIT       16u                /* 64 KiB: begins and ends of runs */
#define ROUND      ((uint64_t)MAP_BLOCKS) /* in one job: 128 MiB */
#define PAUSE_MIN  (5 * CFS_MS)       /* and at least as long as the job took */
#define PAUSE_MAX  CFS_SEC

static void on_timer(struct cfs_timer *t);

void discard_init(struct eng *e)
{
    struct discard *d = &e->discard;

    cfs_list_init(&d->queue);
    if (e->loop)
        cfs_timer_init(e->loop, &d->timer, on_timer);
    discard_set(e, e->conf.discard);
}

static void drop(struct freed *f)
{
    if (!f)
        return;
    extv_fini(&f->ext);
    free(f);
}

void discard_fini(struct eng *e)
{
    struct discard *d = &e->discard;
    struct cfs_list *l;

    assert(!d->running);
    if (e->loop)
        cfs_timer_fini(&d->timer);
    while ((l = cfs_list_pop(&d->queue)) != NULL)
        drop(cfs_list_entry(l, struct freed, link));
    drop(d->going);
    d->going = NULL;
}

bool discard_idle(const struct eng *e)
{
    return !e->discard.running;
}

bool discard_has_page(const struct eng *e, uint32_t page)
{
    return e->discard.running && e->dev->is_file && e->discard.page == page;
}

/* -- what waits ------------------------------------------------------------ */

/* Extents [@from, @to) of @f are free. */
static uint64_t give_back(struct eng *e, struct freed *f, size_t from,
                          size_t to)
{
    uint64_t n = 0;

    for (size_t i = from; i < to; i++) {
        space_return(e, f->ext.v[i]);
        n += f->ext.v[i].n;
    }
    return n;
}

/* All that is not the pool's. */
static uint64_t give_all_back(struct eng *e)
{
    struct discard *d = &e->discard;
    struct cfs_list *l;
    uint64_t n = 0;

    while ((l = cfs_list_pop(&d->queue)) != NULL) {
        struct freed *f = cfs_list_entry(l, struct freed, link);

        n += give_back(e, f, 0, f->ext.n);
        drop(f);
    }
    if (!d->running && d->going) {
        n += give_back(e, d->going, d->at, d->going->ext.n);
        drop(d->going);
        d->going = NULL;
    }
    return n;
}

bool discard_yield(struct eng *e)
{
    if (give_all_back(e) > 0) {
        /* Whoever asks is put aside only after this. */
        cfs_task_post(e->loop, &e->slow_task);
        return true;
    }
    return e->discard.running;
}

uint64_t discard_held(const struct eng *e)
{
    const struct discard *d = &e->discard;

    if (e->dev->is_file)
        return d->running ? d->run.n : 0;
    return discard_pending(e);
}

uint64_t discard_pending(const struct eng *e)
{
    const struct discard *d = &e->discard;
    const struct cfs_list *l;
    uint64_t n = 0;

    for (l = d->queue.next; l != &d->queue; l = l->next)
        n += cfs_list_entry(l, struct freed, link)->blocks;
    return n + (d->going ? d->going->blocks : 0);
}

void discard_set(struct eng *e, bool on)
{
    struct discard *d = &e->discard;
    bool may = !e->conf.read_only && !e->conf.blocking && e->loop &&
               e->dev->ops->discard;

    e->conf.discard = on;
    if (!on)
        d->refused = false;
    d->on = on && may && !d->refused;
    if (!d->on && give_all_back(e) > 0)
        eng_wake_slow(e);
}

/* A start frees blocks too, before there is a loop to come back to. */
static bool active(const struct eng *e)
{
    return e->discard.on && !e->loading && !e->closing && !e->poisoned;
}

bool discard_wants(const struct eng *e)
{
    return active(e) && !e->dev->is_file;
}

void discard_add(struct eng *e, struct freed *f)
{
    cfs_list_add_tail(&e->discard.queue, &f->link);
    discard_kick(e);
}

/* -- a device -------------------------------------------------------------- */

static int by_lba(const void *a, const void *b)
{
    const struct eng_ext *x = a, *y = b;

    return x->lba < y->lba ? -1 : x->lba > y->lba;
}

/* Few are next to each other as they come: sorted, they are. */
static void sort(struct extv *v)
{
    size_t n = 0;

    if (v->n == 0)
        return;
    qsort(v->v, v->n, sizeof *v->v, by_lba);
    for (size_t i = 1; i < v->n; i++) {
        struct eng_ext *last = &v->v[n];

        if (last->lba + last->n == v->v[i].lba &&
            last->n + (uint64_t)v->v[i].n <= ROUND)
            last->n += v->v[i].n;
        else
            v->v[++n] = v->v[i];
    }
    v->n = n + 1;
}

static int discard_run(struct eng *e, uint64_t from, uint64_t to)
{
    unsigned io = eng_io_begin(e);
    int rc;

    rc = e->dev->ops->discard(e->dev, from * CFS_BLOCK,
                              (to - from) * CFS_BLOCK);
    eng_io_end(e, io);
    if (rc == 0)
        e->discard.round += to - from;
    return rc;
}

/* In the pool: some of .going. */
static int device_work(struct eng *e)
{
    struct discard *d = &e->discard;
    const struct extv *v = &d->going->ext;
    int rc = 0;

    if (!d->sorted)
        sort(&d->going->ext);
    for (d->to = d->at; d->to < v->n && d->round < ROUND && rc == 0; d->to++) {
        const struct eng_ext *x = &v->v[d->to];
        uint64_t from = (x->lba + UNIT - 1) / UNIT * UNIT;
        uint64_t to = (x->lba + x->n) / UNIT * UNIT;

        if (from < to)
            rc = discard_run(e, from, to);
    }
    return rc;
}

static bool device_next(struct eng *e)
{
    struct discard *d = &e->discard;

    if (d->going)
        return true;
    if (cfs_list_empty(&d->queue))
        return false;
    d->going = cfs_list_entry(cfs_list_pop(&d->queue), struct freed, link);
    d->sorted = false;
    d->at = 0;
    return true;
}

static void device_done(struct eng *e)
{
    struct discard *d = &e->discard;

    d->sorted = true;
    d->going->blocks -= give_back(e, d->going, d->at, d->to);
    d->at = d->to;
    if (d->at < d->going->ext.n)
        return;
    drop(d->going);
    d->going = NULL;
}

/* -- an image -------------------------------------------------------------- */

/* From behind, so that what stays allocated lies together in front. */
static bool image_next(struct eng *e)
{
    struct discard *d = &e->discard;

    if (!d->look)
        return false;
    for (uint32_t i = e->space.n_pages; i-- > 0;) {
        const struct mpage *p = &e->space.page[i];
        struct eng_ext x = space_page_all(&e->space, i);

        if (!p->used || p->free != x.n || data_backs_page(e, i) ||
            (p->backed && !data_may_unback(e, x.n)))
            continue;
        d->page = i;
        d->run = x;
        space_take(e, x);
        return true;
    }
    d->look = false;
    return false;
}

static int image_work(struct eng *e)
{
    const struct eng_ext *x = &e->discard.run;

    return discard_run(e, x->lba, x->lba + x->n);
}

/* What failed half-way may have gone half-way; what is not supported has
 * done nothing. */
static void image_done(struct eng *e)
{
    struct discard *d = &e->discard;
    bool backed = e->space.page[d->page].backed && d->rc == -EOPNOTSUPP;

    space_unalloc(e, d->run);
    space_back(e, d->page, backed);
    if (d->rc == 0) {
        e->space.page[d->page].used = false;
        e->pace.back_failed = false; /* there is room again */
    }
    data_back_ahead(e);
}

/* -- one job after the other ----------------------------------------------- */

static void on_work(struct cfs_job *j)
{
    struct eng *e = container_of(j, struct eng, discard.job);

    e->discard.rc = e->dev->is_file ? image_work(e) : device_work(e);
}

/* Nothing was lost: what was not discarded only takes space below. */
static void refuse(struct eng *e)
{
    struct discard *d = &e->discard;

    d->refused = true;
    d->on = false;
    cfs_log_warning(e->log, "store", "%s does not take back free space: %s; "
                    "storage.discard has no effect until it is set to off "
                    "and on again, or the brick starts again", e->dev->path,
                    cfs_err_str(d->rc));
    give_all_back(e);
}

static void on_done(struct cfs_job *j)
{
    struct eng *e = container_of(j, struct eng, discard.job);
    struct discard *d = &e->discard;
    uint64_t pause = cfs_now_fresh(e->loop) - d->began;

    d->running = false;
    d->done += d->round;
    if (e->dev->is_file)
        image_done(e);
    else
        device_done(e);
    if (d->rc < 0)
        refuse(e);
    else if (!d->on)
        give_all_back(e); /* switched off meanwhile */
    eng_wake_slow(e);
    if (active(e)) {
        pause = pause < PAUSE_MIN ? PAUSE_MIN
                : pause > PAUSE_MAX ? PAUSE_MAX : pause;
        cfs_timer_start(&d->timer, pause);
    }
    eng_close_step(e);
}

static void go_on(struct eng *e)
{
    struct discard *d = &e->discard;

    if (d->running || !active(e) ||
        !(e->dev->is_file ? image_next(e) : device_next(e)))
        return;
    d->running = true;
    d->round = 0;
    d->began = cfs_now_fresh(e->loop);
    cfs_job_run(e->loop, &d->job, on_work, on_done);
}

static void on_timer(struct cfs_timer *t)
{
    go_on(container_of(t, struct eng, discard.timer));
}

void discard_kick(struct eng *e)
{
    e->discard.look = true;
    if (active(e) && !cfs_timer_active(&e->discard.timer))
        go_on(e);
}

/* -- all of it, at rest ---------------------------------------------------- */

struct all {
    struct eng *e;
    bool        dry;
    uint64_t    from; /* of the free run at hand; .to: none */
    uint64_t    to;
    uint64_t    blocks;
};

static int all_give(struct all *a)
{
    uint64_t from = (a->from + UNIT - 1) / UNIT * UNIT;
    uint64_t to = a->to / UNIT * UNIT;
    int rc = 0;

    if (from < to && !a->dry)
        rc = discard_run(a->e, from, to);
    if (from < to && rc == 0)
        a->blocks += to - from;
    a->from = a->to;
    return rc;
}

/* Block @lba is free, or is not. */
static int all_block(struct all *a, uint64_t lba, bool is_free)
{
    int rc = 0;

    if (a->from < a->to &&
        (!is_free || a->to != lba || a->to - a->from >= ROUND))
        rc = all_give(a);
    if (is_free && a->from == a->to)
        a->from = a->to = lba;
    if (is_free)
        a->to = lba + 1;
    return rc;
}

static int all_page(struct all *a, uint32_t page)
{
    const struct space *s = &a->e->space;
    const struct mpage *p = &s->page[page];
    uint64_t lba = space_page_lba(s, page);
    int rc = 0;

    for (uint32_t i = 0; i < MAP_BLOCKS && lba + i < s->end && rc == 0; i++)
        rc = all_block(a, lba + i, !(p->taken[i / 64] >> (i % 64) & 1));
    return rc;
}

int eng_discard_free(struct eng *e, bool dry,
                     void (*progress)(void *ctx, uint64_t done, uint64_t of),
                     void *ctx, uint64_t *ret_bytes)
{
    struct all a = {.e = e, .dry = dry};
    int rc = e->dev->ops->discard ? 0 : -EOPNOTSUPP;

    assert(e->conf.read_only && !e->conf.repair);
    for (uint32_t i = 0; i < e->space.n_pages && rc == 0; i++) {
        rc = all_page(&a, i);
        if (progress)
            progress(ctx, i, e->space.n_pages);
    }
    if (rc == 0 && a.from < a.to)
        rc = all_give(&a);
    *ret_bytes = a.blocks * CFS_BLOCK;
    return rc;
}
