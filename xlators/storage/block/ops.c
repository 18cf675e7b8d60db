/* SPDX-License-Identifier: Apache-2.0 */
/* ops.c - the file system of a brick as a whole: opened, served, closed. */
#include "xlators/storage/block/ops.h"

#include <stdio.h>
#include <limits.h>
#include <stdlib.h>

#include "core/mem.h"
#include "xlators/storage/block/ops_impl.h"

const struct ops_config ops_config_default = {
    .eng = {
        .cache_size = (uint64_t)256 << 20,
        .checkpoint_ms = 5000,
    },
    .small_file = 1280,
    .ahead_min = 128 * 1024 + CFS_BLOCK,
};

#define READ(lower, UPPER, field)                                            \
    [CFS_FOP_##UPPER] = {                                                    \
        .gfid_at = offsetof(struct cfs_##lower, field),                      \
        .read = read_##lower,                                                \
    }
#define CHANGE(lower, UPPER, outs)                                           \
    [CFS_FOP_##UPPER] = {.plan = plan_##lower, .n_out = outs}
#define CTL(lower, UPPER) [CFS_FOP_##UPPER] = {.run = run_##lower}

static int run_flush(struct op *op)
{
    return 0; /* nothing is delayed here */
}

const struct op_type op_types[CFS_FOP_N] = {
    READ(lookup, LOOKUP, parent),
    READ(getattr, GETATTR, gfid),
    READ(readlink, READLINK, gfid),
    READ(read, READ, gfid),
    READ(readdir, READDIR, gfid),
    READ(getxattr, GETXATTR, gfid),
    READ(listxattr, LISTXATTR, gfid),
    READ(lseek, LSEEK, gfid),
    READ(fsync, FSYNC, gfid),
    CTL(statfs, STATFS),
    CTL(flush, FLUSH),
    CHANGE(create, CREATE, 2),
    CHANGE(unlink, UNLINK, 2),
    CHANGE(rename, RENAME, 4),
    CHANGE(link, LINK, 2),
    CHANGE(setattr, SETATTR, 1),
    CHANGE(write, WRITE, 1),
    CHANGE(setxattr, SETXATTR, 1),
    CHANGE(removexattr, REMOVEXATTR, 1),
    CHANGE(fallocate, FALLOCATE, 1),
    CHANGE(copy, COPY, 1),
    CHANGE(purge, PURGE, 0),
    CTL(session_open, SESSION_OPEN),
    CTL(session_attach, SESSION_ATTACH),
    CTL(session_close, SESSION_CLOSE),
    CTL(session_fence, SESSION_FENCE),
    CTL(view_set, VIEW_SET),
    CTL(clear, CLEAR),
    CTL(brick_info, BRICK_INFO),
};

/* -- opening -------------------------------------------------------------- */

static void ops_free(struct ops *o)
{
    sessions_free(o);
    op_inos_free(o);
    cfs_timer_fini(&o->later_timer);
    cfs_timer_fini(&o->stall_timer);
    cfs_task_cancel(&o->close_task);
    free(o);
}

static void on_poison(void *ctx, int status)
{
    struct ops *o = ctx;

    cfs_log_error(o->log, o->who, "this brick has failed: %s",
                  eng_poison_reason(o->e));
    if (o->poisoned)
        o->poisoned(o->poisoned_ctx, status);
}

/* -- a device that does not answer ----------------------------------------- */

static void stall_reason(const struct ops *o, char *ret, size_t len)
{
    uint64_t since = eng_io_oldest(o->e), now = cfs_now(o->loop);

    snprintf(ret, len, "its device has not answered for %llu s",
             (unsigned long long)(since < now ? (now - since) / CFS_SEC : 0));
}

static void on_stall_timer(struct cfs_timer *t)
{
    struct ops *o = container_of(t, struct ops, stall_timer);
    const uint64_t now = cfs_now_fresh(o->loop);
    char why[CFS_ERR_TEXT];

    if (o->op_timeout > 0)
        cfs_timer_start(t, stall_wait(o->op_timeout));
    if (!stall_look(&o->stall, now, eng_io_oldest(o->e), o->op_timeout))
        return;
    stall_reason(o, why, sizeof why);
    if (o->stall.level == STALL_NONE)
        cfs_log_info(o->log, o->who, "the device answers again");
    else
        cfs_log_warning(o->log, o->who, "%s", why);
    if (o->stalled)
        o->stalled(o->stalled_ctx);
}

void ops_set_op_timeout(struct ops *o, uint64_t ms)
{
    o->op_timeout = ms * CFS_MS;
    o->stall.due = 0;
    cfs_timer_start(&o->stall_timer, stall_wait(o->op_timeout));
}

void ops_on_stall(struct ops *o, void (*fn)(void *ctx), void *ctx)
{
    o->stalled = fn;
    o->stalled_ctx = ctx;
}

/* -- opening, again -------------------------------------------------------- */

static void close_task(struct cfs_task *t);

static struct ops *ops_new(struct cfs_loop *loop, struct cfs_log *log,
                           const char *who, const struct ops_config *config)
{
    struct ops *o = cfs_must_calloc(sizeof *o);

    o->loop = loop;
    o->log = log;
    o->who = who;
    o->config = *config;
    cfs_list_init(&o->sessions);
    cfs_list_init(&o->changed);
    cfs_list_init(&o->unstored);
    cfs_list_init(&o->dead);
    o->dead_near = UINT_MAX;
    cfs_list_init(&o->ino_free);
    cfs_list_init(&o->running);
    cfs_list_init(&o->later);
    cfs_list_init(&o->spaceless);
    for (unsigned i = 0; i < INO_BUCKETS; i++)
        cfs_list_init(&o->ino[i]);
    cfs_timer_init(loop, &o->later_timer, op_later_fire);
    cfs_timer_init(loop, &o->stall_timer, on_stall_timer);
    cfs_task_init(&o->close_task, close_task);
    return o;
}

/* @e is open: serve. */
static void ops_begin(struct ops *o, struct eng *e)
{
    struct eng_info info;

    o->e = e;
    o->closing = false;
    eng_start(e);
    eng_info(e, &info);
    o->brick_id = info.format.brick;
    o->incarnation = eng_incarnation(e);
    o->was_clean = o->brick.clean;
    view_judge(o);
    eng_on_poison(e, on_poison, o);
    if (!o->config.eng.read_only)
        removal_kick(o);
}

int ops_open(struct cfs_loop *loop, struct cfs_log *log, const char *who,
             struct cfs_dev *dev, const struct ops_config *config,
             struct ops **ret, struct cfs_err *err)
{
    struct ops *o = ops_new(loop, log, who, config);
    struct eng *e;
    int rc;

    o->closing = true; /* no steps while it replays */
    rc = eng_load(loop, log, dev, &config->eng, replay, o, &e, err);
    if (rc < 0) {
        ops_free(o);
        return rc;
    }
    ops_begin(o, e);
    *ret = o;
    return 0;
}

static void on_open_work(struct cfs_job *j)
{
    struct ops_opening *w = container_of(j, struct ops_opening, job);
    struct ops *o = w->ops;

    w->rc = eng_load(o->loop, o->log, w->dev, &w->config.eng, replay, o,
                     &w->eng, &w->err);
}

static void on_open_done(struct cfs_job *j)
{
    struct ops_opening *w = container_of(j, struct ops_opening, job);

    if (w->rc == 0) {
        ops_begin(w->ops, w->eng);
    } else {
        ops_free(w->ops);
        w->ops = NULL;
    }
    w->done(w);
}

void ops_open_start(struct cfs_loop *loop, struct cfs_log *log,
                    const char *who, struct ops_opening *w)
{
    w->err = (struct cfs_err){0};
    w->ops = ops_new(loop, log, who, &w->config);
    w->ops->closing = true;
    cfs_job_run(loop, &w->job, on_open_work, on_open_done);
}

/* -- serving -------------------------------------------------------------- */

/* Whether memory is so short that @fop is not begun. What mgmtd asks for is:
 * it is little, and a brick that is full must still hear of views. */
static bool is_short(struct ops *o, enum cfs_fop fop)
{
    bool now = cfs_mem_short();

    if (now && !o->no_memory) {
        cfs_buf_pool_drain();
        now = cfs_mem_short();
    }
    if (now != o->no_memory)
        cfs_log_warning(o->log, o->who, now
                        ? "out of memory: requests are refused until there "
                          "is some again"
                        : "there is memory again");
    o->no_memory = now;
    return now && cfs_fop_class(fop) != CFS_CLASS_CTL;
}

void ops_submit(struct ops *o, struct cfs_req *req)
{
    struct op *op = cfs_arena_alloc(&req->call->arena, sizeof *op);
    const struct cfs_change *c = req->change;
    struct cfs_gfid g;

    op->o = o;
    op->req = req;
    op->arena = &req->call->arena;
    op->type = &op_types[req->fop];
    if (o->closing || is_short(o, req->fop)) {
        post_fill(op, 0);
        cfs_unwind(req, o->closing ? -ENOTCONN : -ENOMEM);
        return;
    }
    if (op->type->read) {
        memcpy(&g, (const char *)req + op->type->gfid_at, sizeof g);
        op_hold(op, g, true);
    }
    for (uint32_t i = 0; op->type->plan && c && i < c->n; i++) {
        const struct cfs_touch *t = &c->touch[i];

        if (i == CFS_TOUCH_MAX)
            break; /* refused when it runs */
        op_hold(op, t->gfid, cfs_version_cmp(t->make, t->expect) == 0);
    }
    op_begin(op);
}

void ops_reconfigure(struct ops *o, uint64_t small_file, bool pack)
{
    o->config.small_file = small_file;
    o->config.pack = pack;
    if (pack)
        eng_want_packs(o->e);
}

/* Live, or fenced: what it changed last is still to be compared, and what it
 * left unlinked is still there. */
static bool is_open(const struct session *s)
{
    return s->rec.s.state == CFS_SESSION_LIVE ||
           s->rec.s.state == CFS_SESSION_FENCED;
}

void ops_info(const struct ops *o, struct cfs_brick *ret)
{
    struct eng_info info;

    eng_info(o->e, &info);
    *ret = (struct cfs_brick){
        .brick = o->brick_id,
        .incarnation = o->incarnation,
        .clean = o->was_clean,
        .repaired = o->brick.repaired > 0,
        .poisoned = info.poisoned != 0,
        .stalled = o->stall.level,
        .view = o->view,
        .total = info.blocks * CFS_BLOCK,
        .free = (info.free + eng_growable(o->e)) * CFS_BLOCK,
        .inodes = o->brick.inodes,
        .pos = eng_pos(o->e),
        .durable = eng_durable(o->e),
        .dirty = o->brick.dirty,
        .oplog = o->brick.oplog,
        .session_max = o->brick.session_max,
    };
    cfs_list_for_each(it, &o->sessions) {
        const struct session *s = cfs_list_entry(it, struct session, link);

        if (!is_open(s))
            continue;
        if (ret->n_sessions < CFS_INFO_SESSIONS)
            ret->session[ret->n_sessions] = s->rec.s;
        ret->n_sessions++;
    }
    if (info.poisoned)
        strncpy(ret->reason, eng_poison_reason(o->e),
                sizeof ret->reason - 1);
    else if (o->stall.level != STALL_NONE)
        stall_reason(o, ret->reason, sizeof ret->reason);
}

void ops_stat(const struct ops *o, struct ops_stat *ret)
{
    *ret = o->stat;
    ret->answers = o->n_answers;
}

struct eng *ops_engine(struct ops *o)
{
    return o->e;
}

void ops_on_poison(struct ops *o, void (*fn)(void *ctx, int status),
                   void *ctx)
{
    o->poisoned = fn;
    o->poisoned_ctx = ctx;
}

const char *ops_reason(const struct ops *o)
{
    return eng_poison_reason(o->e);
}

/* -- closing -------------------------------------------------------------- */

static void closed(void *ctx, int status)
{
    struct ops *o = ctx;
    void (*done)(void *, int) = o->close_done;
    void *arg = o->close_ctx;

    ops_free(o);
    done(arg, status);
}

static bool has_open_session(const struct ops *o)
{
    cfs_list_for_each(it, &o->sessions)
        if (is_open(cfs_list_entry(it, struct session, link)))
            return true;
    return false;
}

static void clean_said(struct op *op, int status)
{
    /* The last operation has ended: ops_idle() goes on. */
}

static void close_task(struct cfs_task *t)
{
    struct ops *o = container_of(t, struct ops, close_task);
    struct eng_info info;

    if (!cfs_list_empty(&o->running))
        return;
    eng_info(o->e, &info);
    if (o->in_sync && !o->brick.clean && !has_open_session(o) &&
        !info.poisoned && !o->config.eng.read_only && !o->clean_tried) {
        o->clean_tried = true;
        op_begin(op_own_new(o, JREC_CLEAN, plan_own_clean, clean_said));
        return;
    }
    /* Nothing is in progress, so the last checkpoint has everything. Whether
     * the brick stopped in sync and alone is in its own record. */
    eng_close(o->e, true, closed, o);
}

void ops_idle(struct ops *o)
{
    if (o->closing && o->close_done)
        cfs_task_post(o->loop, &o->close_task);
}

void ops_close(struct ops *o, void (*done)(void *ctx, int status), void *ctx)
{
    o->closing = true;
    o->close_done = done;
    o->close_ctx = ctx;
    cfs_task_post(o->loop, &o->close_task);
}
