/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - what replicate and single bricks have to say to each other:
 * sessions, attachment, figures, clearing; and the clean stop. Each request
 * has a call of its own.
 *
 * A stop: changes in flight end; an fsync makes everything durable; what is
 * durable is cleared; the session is closed at every member; then the
 * children are told, and what never settled comes back lost. When something
 * of this takes longer than STOP_MAX, or a change stays an orphan, the session
 * is not closed: then mgmtd fences it, which compares what members have.
 */
#include "xlators/cluster/replicate/replicate.h"

#include <stdio.h>
#include <unistd.h>

#include "core/host.h"

#define STOP_MAX (10 * CFS_SEC)

static void stop_step(struct rep *rep);

struct ctl {
    struct rep *rep;
    unsigned    m;
};

#define CTL(lower)                                                           \
    struct ctl_##lower {                                                     \
        struct ctl         ctl;                                              \
        struct cfs_##lower op;                                               \
    };                                                                       \
                                                                             \
    static struct ctl_##lower *new_##lower(struct rep *rep, unsigned m)      \
    {                                                                        \
        struct cfs_call *call = cfs_call_begin(rep->xl->graph);              \
        struct ctl_##lower *t = cfs_call_new(call, struct ctl_##lower);      \
                                                                             \
        t->ctl = (struct ctl){rep, m};                                       \
        t->op.req.call = call;                                               \
        t->op.req.epoch = rep->core.view.epoch;                              \
        return t;                                                            \
    }
CTL(session_open)
CTL(session_attach)
CTL(session_close)
CTL(statfs)
CTL(clear)
CTL(fsync)
#undef CTL

static struct cfs_xl *child(struct rep *rep, unsigned m)
{
    return rep->xl->child[m];
}

/* -- the session ----------------------------------------------------------- */

static void opened(struct cfs_session_open *op, int status)
{
    struct ctl_session_open *t =
        container_of(op, struct ctl_session_open, op);
    struct rep *rep = t->ctl.rep;

    rep_post(&rep->core, t->ctl.m, &op->req.post);
    rep_opened(&rep->core, status, &op->session, &op->holder, rep_now(rep));
    rep_arm(rep);
    cfs_call_end(op->req.call);
}

/* This process, as others will see it. */
static void describe(const struct rep *rep, struct cfs_session *ret)
{
    const char *node = rep->node ? rep->node : cfs_node_name();

    ret->pid = (uint32_t)getpid();
    cfs_pid_start(ret->pid, &ret->pid_start);
    cfs_boot_id(&ret->boot);
    snprintf(ret->node, sizeof ret->node, "%s", node);
    snprintf(ret->service, sizeof ret->service, "%s", rep->service);
    snprintf(ret->where, sizeof ret->where, "%s",
             rep->where ? rep->where : "");
}

void rep_io_session_open(struct rep_core *c, unsigned m, uint32_t given_up)
{
    struct rep *rep = rep_of(c);
    struct ctl_session_open *t = new_session_open(rep, m);

    describe(rep, &t->op.who);
    t->op.who.no = given_up;
    cfs_wind_session_open(child(rep, m), &t->op, opened);
}

static void attached(struct cfs_session_attach *op, int status)
{
    struct ctl_session_attach *t =
        container_of(op, struct ctl_session_attach, op);
    struct rep *rep = t->ctl.rep;

    rep_post(&rep->core, t->ctl.m, &op->req.post);
    if (status < 0)
        cfs_log_debug(rep->xl->log, rep->xl->name, "%s does not attach: %s",
                      child(rep, t->ctl.m)->name, cfs_err_str(status));
    rep_attached(&rep->core, t->ctl.m, status, &op->view, rep_now(rep));
    rep_arm(rep);
    cfs_call_end(op->req.call);
}

void rep_io_session_attach(struct rep_core *c, unsigned m)
{
    struct rep *rep = rep_of(c);
    struct ctl_session_attach *t = new_session_attach(rep, m);

    t->op.session = c->session;
    cfs_wind_session_attach(child(rep, m), &t->op, attached);
}

/* -- figures and clearing -------------------------------------------------- */

static void informed(struct cfs_statfs *op, int status)
{
    struct ctl_statfs *t = container_of(op, struct ctl_statfs, op);
    struct rep *rep = t->ctl.rep;

    rep_info(&rep->core, t->ctl.m, &op->req.post, rep_now(rep));
    rep_arm(rep);
    cfs_call_end(op->req.call);
}

/* The cheapest request whose reply has a brick's figures. */
void rep_io_info(struct rep_core *c, unsigned m)
{
    struct rep *rep = rep_of(c);
    struct ctl_statfs *t = new_statfs(rep, m);

    t->op.gfid = cfs_gfid_root;
    cfs_wind_statfs(child(rep, m), &t->op, informed);
}

static void cleared(struct cfs_clear *op, int status)
{
    struct ctl_clear *t = container_of(op, struct ctl_clear, op);
    struct rep *rep = t->ctl.rep;

    rep_post(&rep->core, t->ctl.m, &op->req.post);
    rep_cleared(&rep->core, t->ctl.m, status, rep_now(rep));
    rep_arm(rep);
    cfs_call_end(op->req.call);
    if (rep->stage == REP_CLEARING)
        stop_step(rep);
}

void rep_io_clear(struct rep_core *c, unsigned m)
{
    struct rep *rep = rep_of(c);
    struct ctl_clear *t = new_clear(rep, m);
    uint32_t len = c->clear.n * REP_CLEAR_PACKED;

    t->op.session = c->session.no;
    t->op.below = c->clear.below;
    t->op.inodes.p = cfs_arena_dup(&t->op.req.call->arena, c->clear.packed,
                                   len);
    t->op.inodes.len = len;
    cfs_wind_clear(child(rep, m), &t->op, cleared);
}

static void flushed(struct cfs_fsync *op, int status)
{
    struct ctl_fsync *t = container_of(op, struct ctl_fsync, op);
    struct rep *rep = t->ctl.rep;

    rep_flushed(&rep->core, status, rep_now(rep));
    rep_arm(rep);
    cfs_call_end(op->req.call);
    if (rep->stage == REP_FLUSHING) {
        rep->stage = REP_CLEARING;
        stop_step(rep);
    }
}

/* An fsync of one inode makes all positions up to it durable. */
void rep_io_flush(struct rep_core *c)
{
    struct rep *rep = rep_of(c);
    struct ctl_fsync *t = new_fsync(rep, 0);

    t->op.gfid = cfs_gfid_root;
    cfs_wind_fsync(rep->xl, &t->op, flushed);
}

/* -- the stop -------------------------------------------------------------- */

static void stopped(struct rep *rep)
{
    struct cfs_event down = {.type = CFS_EV_PARENT_DOWN};

    if (rep->stage == REP_STOPPED)
        return;
    rep->stage = REP_STOPPED;
    cfs_timer_stop(&rep->stop_timer);
    rep_drop_all(&rep->core, rep_now(rep));
    cfs_notify_down(rep->xl, down);
    if (rep->held) {
        rep->held = false;
        cfs_graph_release(rep->xl->graph);
    }
}

static void closed(struct cfs_session_close *op, int status)
{
    struct ctl_session_close *t =
        container_of(op, struct ctl_session_close, op);
    struct rep *rep = t->ctl.rep;

    if (status < 0)
        cfs_log_warning(rep->xl->log, rep->xl->name,
                        "%s did not close session %u: %s",
                        child(rep, t->ctl.m)->name, op->session,
                        cfs_err_str(status));
    cfs_call_end(op->req.call);
    assert(rep->closing > 0);
    if (--rep->closing == 0)
        stopped(rep);
}

static void close_session(struct rep *rep)
{
    struct rep_core *c = &rep->core;

    rep->stage = REP_CLOSING;
    rep->closing = 1;
    for (unsigned m = 0; m < c->n; m++) {
        struct ctl_session_close *t;

        if (!c->m[m].in_view || !c->m[m].attached || c->n_orphans > 0)
            continue;
        t = new_session_close(rep, m);
        t->op.session = c->session.no;
        rep->closing++;
        cfs_wind_session_close(child(rep, m), &t->op, closed);
    }
    if (--rep->closing == 0)
        stopped(rep);
}

static void stop_step(struct rep *rep)
{
    struct rep_core *c = &rep->core;

    switch (rep->stage) {
    case REP_DRAINING:
        rep->stage = REP_FLUSHING;
        if (rep_complete(c) && c->clear.count > 0) {
            rep_io_flush(c);
            return;
        }
        rep->stage = REP_CLEARING;
        /* fall through */
    case REP_CLEARING:
        if (!rep_clear_now(c, rep_now(rep)))
            close_session(rep);
        return;
    case REP_RUNNING:
    case REP_FLUSHING:
    case REP_CLOSING:
    case REP_STOPPED:
        return;
    }
}

/* From the loop: the core was in the middle of something. */
void rep_stop_task(struct cfs_task *t)
{
    stop_step(container_of(t, struct rep, stop_task));
}

void rep_io_idle(struct rep_core *c)
{
    struct rep *rep = rep_of(c);

    if (rep->stage == REP_DRAINING)
        cfs_task_post(rep->xl->loop, &rep->stop_task);
}

void rep_stop_timer(struct cfs_timer *t)
{
    struct rep *rep = container_of(t, struct rep, stop_timer);

    cfs_log_warning(rep->xl->log, rep->xl->name, "the session is left open: "
                    "its members did not answer in time");
    stopped(rep);
}

void rep_stop_begin(struct rep *rep)
{
    if (rep->stage != REP_RUNNING)
        return;
    rep->stage = REP_DRAINING;
    rep->held = true;
    cfs_graph_hold(rep->xl->graph);
    cfs_timer_start(&rep->stop_timer, STOP_MAX);
    rep_stop(&rep->core, rep_now(rep));
}
