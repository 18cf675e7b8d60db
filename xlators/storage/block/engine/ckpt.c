/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt.c - the loop's part of a checkpoint: when, the freeze, the order of
 * writes and flushes, the finish. The pool's part is ckpt_write.c. */
#include "xlators/storage/block/engine/ckpt.h"

#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/engine/plant.h"

#define FINISH_STEP 512u /* nodes in one go */

static void on_task(struct cfs_task *t);
static void on_finish_step(struct cfs_task *t);
static void on_timer(struct cfs_timer *t);

void ckpt_init(struct eng *e)
{
    struct ckpt *c = &e->ckpt;

    cfs_task_init(&c->task, on_task);
    cfs_task_init(&c->step, on_finish_step);
    cfs_list_init(&c->next);
    cfs_list_init(&c->now);
    c->slot = eng_alloc_aligned(SLOT_BYTES);
    memset(c->slot, 0, SLOT_BYTES);
    if (!e->conf.read_only || e->conf.repair) {
        c->bounce = eng_alloc_aligned(CKPT_RUN);
        c->bounce2 = eng_alloc_aligned(CKPT_RUN);
    }
    if (e->loop)
        cfs_timer_init(e->loop, &c->timer, on_timer);
}

/* The page as the checkpoint wrote it is not the node's any more. */
static void free_frozen_page(struct eng *e, const struct dirt *d)
{
    if (d->level == LEVEL_VALUE)
        free(d->page);
    else
        cache_page_free(e, d->page);
}

/* What a failed checkpoint left behind. */
static void discard(struct eng *e)
{
    struct ckpt *c = &e->ckpt;

    for (; c->at < c->n_list; c->at++) {
        const struct dirt *d = &c->list[c->at];
        struct node *n = d->node;

        if (n && (n->dead || n->epoch == e->epoch))
            free_frozen_page(e, d);
        if (n && n->dead) {
            n->epoch = n->was_epoch = 0;
            cache_unref_dead(e, n);
        }
    }
    for (size_t i = 0; i < c->n_maps; i++) {
        if (e->space.page[c->maps[i].page].live != c->maps[i].live)
            cache_page_free(e, (uint8_t *)c->maps[i].live);
    }
}

void ckpt_fini(struct eng *e)
{
    struct ckpt *c = &e->ckpt;

    discard(e);
    if (c->preparing)
        eng_wait_end(e, &c->wait);
    cfs_task_cancel(&c->task);
    cfs_task_cancel(&c->step);
    if (e->loop)
        cfs_timer_fini(&c->timer);
    free(c->list);
    free(c->maps);
    free(c->result);
    free(c->mark);
    free(c->slot);
    free(c->bounce);
    free(c->bounce2);
    extv_fini(&c->ext);
    extv_fini(&c->ext2);
}

bool ckpt_idle(const struct eng *e)
{
    return e->ckpt.phase == CKPT_IDLE;
}

/* The writing by what is written; what follows by how long it took before. */
uint64_t ckpt_progress(const struct eng *e)
{
    const struct ckpt *c = &e->ckpt;
    uint64_t both = c->took_write + c->took_rest + 1;
    uint64_t first = CKPT_WHOLE * (c->took_write + 1) / both, ns;

    if (c->phase == CKPT_IDLE || c->phase == CKPT_FINISH)
        return CKPT_WHOLE;
    if (c->phase == CKPT_WRITING) {
        uint64_t n = __atomic_load_n(&c->written, __ATOMIC_RELAXED);

        return first * (n < c->blocks ? n : c->blocks) / (c->blocks + 1);
    }
    ns = cfs_now(e->loop) - c->began;
    if (ns >= c->took_rest)
        return CKPT_WHOLE;
    return first + (CKPT_WHOLE - first) * ns / (c->took_rest + 1);
}

static void half_over(struct eng *e, uint64_t *took)
{
    uint64_t now = cfs_now(e->loop);

    *took = (3 * *took + (now - e->ckpt.began)) / 4;
    e->ckpt.began = now;
}

/* Whether there is anything that the newest checkpoint does not have. */
/* That the superblock says that there may be packs, before there is one. */
static bool wants_mark(const struct eng *e)
{
    return e->conf.packs && !eng_packs(e);
}

static bool news(const struct eng *e)
{
    return e->tree.changed || e->space.n_dirty > 0 ||
           e->jrn.records != e->ckpt.jrn_records || wants_mark(e);
}

void ckpt_kick(struct eng *e)
{
    if (e->ckpt.phase == CKPT_IDLE && !e->ckpt.preparing && !e->poisoned &&
        !e->replaying)
        cfs_task_post(e->loop, &e->ckpt.task);
}

/* Between checkpoints: the period is over. In a finish: its next step. */
static void on_timer(struct cfs_timer *t)
{
    struct eng *e = container_of(t, struct eng, ckpt.timer);

    if (e->ckpt.phase == CKPT_FINISH) {
        cfs_task_post(e->loop, &e->ckpt.step);
        return;
    }
    if (news(e))
        ckpt_kick(e);
    ckpt_start_timer(e);
}

void ckpt_start_timer(struct eng *e)
{
    if (!e->closing)
        cfs_timer_start(&e->ckpt.timer, e->conf.checkpoint_ms * CFS_MS);
}

void eng_checkpoint(struct eng *e, struct eng_done *d)
{
    if (e->poisoned || e->conf.read_only) {
        eng_done_post(e, d, -CFS_E_POISONED);
        return;
    }
    cfs_list_add_tail(&e->ckpt.next, &d->link);
    e->ckpt.asked = true;
    ckpt_kick(e);
}

static void done_all(struct eng *e, struct cfs_list *list, int status)
{
    struct cfs_list *l;

    while ((l = cfs_list_pop(list)) != NULL)
        eng_done_post(e, cfs_list_entry(l, struct eng_done, link), status);
}

void ckpt_fail(struct eng *e)
{
    done_all(e, &e->ckpt.next, -CFS_E_POISONED);
    done_all(e, &e->ckpt.now, -CFS_E_POISONED);
}

/* -- freezing -------------------------------------------------------------- */

/* The next checkpoint of this life, and where it will say that replay
 * begins. */
static void start_record(struct eng *e, bool clean)
{
    struct ckpt *c = &e->ckpt;

    c->jrn_start = e->jrn.pos;
    c->rec = (struct fmt_ckpt){
        .magic = FMT_CKPT_MAGIC,
        .len = (uint32_t)(sizeof c->rec +
                          e->space.n_groups * sizeof(struct fmt_top)),
        .brick = e->sb.brick,
        .seq = e->last.seq + 1,
        .incarnation = e->incarnation,
        .flags = clean ? CKPT_CLEAN : 0,
        .level = e->tree.root->level,
        .jrn_start = c->jrn_start,
        .jrn_chain = e->jrn.chain,
        .time = e->loop ? (uint64_t)cfs_realtime(e->loop).sec : e->sb.made,
        .n_groups = e->space.n_groups,
        .last_blocks = (uint32_t)(e->sb.grp_blocks -
                                  (e->space.n_groups - 1ull) * GROUP_BLOCKS),
    };
    if (e->last.gen >> 32 == e->incarnation || PLANTED(generation_used_twice))
        c->rec.gen = e->last.gen + 1;
    else
        c->rec.gen = e->incarnation << 32 | 1;
}

#define SWAP(a, b)                                                           \
    do {                                                                     \
        __typeof__(a) swap_ = (a);                                           \
        (a) = (b);                                                           \
        (b) = swap_;                                                         \
    } while (0)

/* All copies are durable when the checkpoint is: the first one with its record,
 * the others with its nodes. */
static void start_mark(struct eng *e)
{
    struct ckpt *c = &e->ckpt;

    c->mark = eng_alloc_aligned(sizeof *c->mark);
    memcpy(c->mark, &e->sb, sizeof *c->mark);
    c->mark->incompat |= FMT_PACKED;
    c->mark->sum = super_sum(c->mark);
}

static void end_mark(struct eng *e)
{
    struct ckpt *c = &e->ckpt;

    if (!c->mark)
        return;
    e->sb.incompat = c->mark->incompat;
    e->sb.sum = c->mark->sum;
    free(c->mark);
    c->mark = NULL;
}

/* From here on changes are the next checkpoint's. -ENOSPC: only a damaged
 * store can lack the space that admission has seen to. */
static int freeze(struct eng *e, bool clean)
{
    struct ckpt *c = &e->ckpt;
    struct tree *t = &e->tree;
    struct space *s = &e->space;

    if (e->on_freeze) {
        bool was = e->in_line;

        e->freezing = e->in_line = true;
        e->on_freeze(e->freeze_ctx);
        e->in_line = was;
        e->freezing = false;
    }
    if (t->dirty_blocks * e->copies > s->free)
        return -ENOSPC;
    c->epoch = e->epoch;
    c->asked = false;
    c->at = 0;
    start_record(e, clean);
    if (wants_mark(e))
        start_mark(e);
    c->jrn_records = e->jrn.records;
    cfs_list_splice(&c->now, &c->next);
    c->root_idx = t->root->epoch == e->epoch ? t->root->idx : ROOT_CLEAN;
    c->root = t->root->at[0];

    c->blocks = t->dirty_blocks;
    c->ext.n = c->ext2.n = 0;
    space_reserve_nodes(e, c->blocks, false, &c->ext);
    if (e->copies == 2)
        space_reserve_nodes(e, c->blocks, true, &c->ext2);

    SWAP(c->list, t->dirty);
    SWAP(c->cap_list, t->cap_dirty);
    c->n_list = t->n_dirty;
    t->n_dirty = 0;
    t->dirty_blocks = 0;
    t->changed = false;
    SWAP(c->maps, s->dirty);
    SWAP(c->cap_maps, s->cap_dirty);
    c->n_maps = s->n_dirty;
    s->n_dirty = 0;
    space_freeze(e);
    if (PLANTED(freed_block_reused_early))
        space_release(e, UINT64_MAX);
    if (PLANTED(journal_reused_early))
        e->jrn.start = c->jrn_start;
    e->epoch++;
    c->phase = CKPT_WRITING;
    c->written = 0;
    return 0;
}

/* -- the order of writes and flushes --------------------------------------- */

static void on_job_done(struct cfs_job *j);

static void on_write_work(struct cfs_job *j)
{
    struct eng *e = container_of(j, struct eng, ckpt.job);

    e->ckpt.rc = ckpt_write(e);
}

static void on_record_work(struct cfs_job *j)
{
    struct eng *e = container_of(j, struct eng, ckpt.job);

    e->ckpt.rc = ckpt_write_record(e);
}

static void on_flushed(struct eng *e, struct jrn_flush *f);

/* Nothing more is written; what was frozen stays in memory. */
static void give_up(struct eng *e)
{
    e->ckpt.phase = CKPT_FINISH;
    cfs_task_post(e->loop, &e->ckpt.step);
}

static void on_job_done(struct cfs_job *j)
{
    struct eng *e = container_of(j, struct eng, ckpt.job);
    struct ckpt *c = &e->ckpt;

    if (c->rc < 0)
        eng_poison(e, c->rc, "write of a checkpoint: %s", cfs_err_str(c->rc));
    if (e->poisoned) {
        give_up(e);
        return;
    }
    if (PLANTED(record_before_nodes) && c->phase == CKPT_WRITING) {
        c->phase = CKPT_RECORD;
        cfs_job_run(e->loop, &c->job, on_record_work, on_job_done);
        return;
    }
    if (c->phase == CKPT_WRITING)
        half_over(e, &c->took_write);
    c->phase = c->phase == CKPT_WRITING ? CKPT_FLUSHING : CKPT_SETTLING;
    c->flush.done = on_flushed;
    jrn_want_flush(e, &c->flush);
}

/* The record is durable. */
static void now_durable(struct eng *e)
{
    struct ckpt *c = &e->ckpt;

    end_mark(e);
    c->count++;
    c->durable_epoch = c->epoch;
    e->last = c->rec;
    jrn_advance(e, c->jrn_start);
    eng_release_freed(e);
    done_all(e, &c->now, 0);
}

static void on_flushed(struct eng *e, struct jrn_flush *f)
{
    struct ckpt *c = &e->ckpt;

    if (e->poisoned) {
        give_up(e);
    } else if (c->phase == CKPT_FLUSHING) {
        c->phase = CKPT_RECORD;
        cfs_job_run(e->loop, &c->job, on_record_work, on_job_done);
    } else {
        half_over(e, &c->took_rest);
        now_durable(e);
        c->phase = CKPT_FINISH;
        cfs_task_post(e->loop, &c->step);
        eng_wake_slow(e);
    }
}

#define PREPARE_MAX 32u

static void on_prepared(struct eng_wait *w)
{
    struct eng *e = container_of(w, struct eng, ckpt.wait);

    cfs_task_post(e->loop, &e->ckpt.task);
}

/* Whether what the freeze will put has its leaves in memory. A leaf that cannot
 * be read is the freeze's to find out. */
static bool is_prepared(struct eng *e)
{
    struct ckpt *c = &e->ckpt;
    int rc = e->before_freeze ? e->before_freeze(e->freeze_ctx) : 0;

    if (c->preparing)
        eng_wait_end(e, &c->wait);
    c->preparing = rc == -CFS_E_MISS && ++c->prepared < PREPARE_MAX;
    if (c->preparing)
        eng_wait(e, &c->wait, on_prepared);
    else
        c->prepared = 0;
    return !c->preparing;
}

static void on_task(struct cfs_task *t)
{
    struct eng *e = container_of(t, struct eng, ckpt.task);
    struct ckpt *c = &e->ckpt;

    if (c->phase != CKPT_IDLE)
        return;
    if (e->poisoned) {
        if (c->preparing)
            eng_wait_end(e, &c->wait);
        c->preparing = false;
        eng_close_step(e);
        return;
    }
    if (!news(e) && !e->closing && !c->preparing) {
        c->asked = false;
        done_all(e, &c->next, 0);
        return;
    }
    if (!is_prepared(e))
        return;
    c->rc = freeze(e, e->closing && e->close_clean);
    if (c->rc < 0) {
        eng_poison(e, c->rc, "no space for a checkpoint");
        return;
    }
    c->load = eng_fill(e);
    c->began = cfs_now(e->loop);
    cfs_job_run(e->loop, &c->job, on_write_work, on_job_done);
}

/* -- the finish ------------------------------------------------------------ */

static void free_result(struct eng *e, const struct dirt *d, unsigned parts)
{
    for (unsigned i = 0; i < parts; i++) {
        const struct fmt_ptr *p = &e->ckpt.result[d->first + i];
        struct eng_ext x = {p->lba, 1}, y = {p->lba2, 1};

        /* Only where two referred to one block before. */
        if (space_free(e, x) < 0 || (p->lba2 != 0 && space_free(e, y) < 0))
            eng_poison(e, -CFS_E_CORRUPT, "block %llu was freed twice",
                       (unsigned long long)x.lba);
    }
}

/* Where @n lies now: in its struct and in its parent's slot. */
static void place(struct eng *e, struct node *n, const struct dirt *d)
{
    unsigned parts = node_parts(n), slot;

    memcpy(n->at, e->ckpt.result + d->first, parts * sizeof *n->at);
    n->epoch = 0;
    cache_add_clean(e, n);
    if (!n->parent)
        return;
    slot = cache_slot_of(n->parent, n);
    for (unsigned i = 0; i < parts; i++)
        page_set_ptr(n->parent->page, slot, i, &n->at[i]);
}

static void finish_node(struct eng *e, const struct dirt *d)
{
    struct node *n = d->node;

    if (!n)
        return;
    if (n->dead) {
        free_result(e, d, node_parts(n));
        if (n->page) /* a copy, made when it was changed once more */
            e->cache.bytes -= NODE_SIZE;
        free_frozen_page(e, d);
        n->epoch = n->was_epoch = 0;
        cache_unref_dead(e, n);
    } else if (n->epoch == e->epoch) {
        free_result(e, d, 1);
        free_frozen_page(e, d);
        e->cache.bytes -= NODE_SIZE;
        n->was_epoch = 0;
    } else {
        place(e, n, d);
    }
}

static void finish_maps(struct eng *e)
{
    struct ckpt *c = &e->ckpt;

    for (size_t i = 0; i < c->n_maps; i++) {
        struct mpage *p = &e->space.page[c->maps[i].page];

        if (p->live != c->maps[i].live)
            cache_page_free(e, (uint8_t *)c->maps[i].live);
        else
            p->epoch = 0;
    }
    c->n_maps = 0;
}

/* True: done. After a failure nothing knows its address, and all stays as it
 * is until the end. */
static bool finish_some(struct eng *e, uint32_t max)
{
    struct ckpt *c = &e->ckpt;

    for (; max > 0 && c->at < c->n_list && !e->poisoned; max--, c->at++)
        finish_node(e, &c->list[c->at]);
    if (c->at < c->n_list && !e->poisoned)
        return false;
    if (!e->poisoned) {
        finish_maps(e);
        c->n_list = 0;
    }
    return true;
}

static void on_finish_step(struct cfs_task *t)
{
    struct eng *e = container_of(t, struct eng, ckpt.step);
    struct ckpt *c = &e->ckpt;

    if (!finish_some(e, FINISH_STEP)) {
        cfs_timer_start(&c->timer, 1);
        return;
    }
    c->phase = CKPT_IDLE;
    if (e->poisoned) {
        eng_close_step(e);
        return;
    }
    ckpt_start_timer(e);
    cache_ask_evict(e);
    eng_wake_slow(e);
    if (c->asked)
        ckpt_kick(e);
    eng_close_step(e);
}

int ckpt_inline(struct eng *e, bool clean)
{
    struct ckpt *c = &e->ckpt;
    int rc;

    assert(c->phase == CKPT_IDLE);
    rc = freeze(e, clean);
    if (rc == 0)
        rc = ckpt_write(e);
    if (rc == 0)
        rc = e->dev->ops->flush(e->dev);
    if (rc == 0)
        rc = ckpt_write_record(e);
    if (rc == 0)
        rc = e->dev->ops->flush(e->dev);
    if (rc == 0) {
        now_durable(e);
        finish_some(e, UINT32_MAX);
    }
    c->phase = CKPT_IDLE;
    return rc;
}
