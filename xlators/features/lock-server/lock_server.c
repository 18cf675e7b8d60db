/* SPDX-License-Identifier: Apache-2.0 */
/* lock_server.c - features/lock-server: sessions at a brick; see README.md.
 *
 * session_open and session_attach are handled one at a time, in order of
 * arrival: each first asks storage/block what is (brick_info), decides
 * (sessions_core.c), and lets storage/block make it durable. So no two can be
 * granted what only one may have. session_close and session_fence pass, and
 * are noticed. Everything else passes.
 */
#include <stdio.h>

#include "core/graph.h"
#include "core/xlator.h"
#include "xlators/features/lock-server/sessions_core.h"

struct ls {
    struct ls_sessions sessions;
    struct cfs_list    queue; /* ls_op; the first is being handled */
};

/* An open or attach in its turn. */
struct ls_op {
    struct cfs_list               link;
    struct cfs_xl                *xl;
    struct cfs_session_open      *open; /* exactly one of these two */
    struct cfs_session_attach    *attach;
    struct cfs_brick_info         info;
    union {
        struct cfs_session_open   open;
        struct cfs_session_attach attach;
    } down;
};

static void handle(struct ls_op *op);

/* A request of a later epoch: there is a view that this brick lacks. */
static void learn_view(struct ls_op *op, uint64_t epoch)
{
    if (epoch > op->info.brick.view.epoch)
        cfs_notify_up(op->xl, (struct cfs_event){.type = CFS_EV_WANT_VIEW});
}

/* It is over; the next one's turn. */
static void end(struct ls_op *op, int status)
{
    struct ls *ls = op->xl->priv;

    cfs_list_del(&op->link);
    if (!cfs_list_empty(&ls->queue))
        handle(cfs_list_entry(ls->queue.next, struct ls_op, link));
    if (op->open)
        cfs_unwind_session_open(op->open, status);
    else
        cfs_unwind_session_attach(op->attach, status);
}

/* -- open: a number -------------------------------------------------------- */

static void open_done(struct cfs_session_open *down, int status)
{
    struct ls_op *op = container_of(down, struct ls_op, down.open);
    struct ls *ls = op->xl->priv;

    cfs_join_session_open(op->open, down);
    if (status == 0)
        status = ls_opened(&ls->sessions, &down->session,
                           cfs_ran(op->xl->loop));
    end(op, status);
}

/* Who keeps another out was not heard for so long: if its node was lost, its
 * session is dead soon. Whoever waits asks more often than that. */
#define SILENT (1 * CFS_SEC)

/* Its state as far as the one who is kept out is concerned: fenced, when it is
 * on its way out, or nobody knows better. */
static void judge_holder(struct cfs_xl *xl, struct cfs_session *holder)
{
    struct cfs_clients clients = {.ping = true};
    bool heard = false;

    cfs_graph_event(xl->graph, (struct cfs_event){.type = CFS_EV_CLIENTS,
                                                  .clients = &clients});
    for (uint32_t i = 0; i < clients.n; i++)
        heard |= clients.c[i].session == holder->no &&
                 clients.c[i].idle_ns < SILENT;
    if (!heard && clients.n < CFS_CLIENTS_MAX)
        holder->state = CFS_SESSION_FENCED;
}

static void decide_open(struct ls_op *op)
{
    struct ls *ls = op->xl->priv;
    struct cfs_session_open *up = op->open;
    int rc;

    rc = ls_may_open(&ls->sessions, &op->info.brick, up->req.epoch, &up->who,
                     cfs_ran(op->xl->loop), &up->holder);
    if (rc == -CFS_E_IN_USE)
        judge_holder(op->xl, &up->holder);
    if (rc < 0) {
        up->req.post = op->info.req.post;
        learn_view(op, up->req.epoch);
        end(op, rc);
        return;
    }
    cfs_fork_session_open(&op->down.open, up);
    op->down.open.who.no = 0;
    op->down.open.who.state = CFS_SESSION_LIVE;
    cfs_wind_session_open(op->xl->child[0], &op->down.open, open_done);
}

/* -- attach: it is used here ----------------------------------------------- */

/* Its process is right, but it is not who opened the session. */
static void tell_refused(const struct ls_op *op)
{
    const struct cfs_session *s = &op->attach->session;

    cfs_log_warning(op->xl->log, op->xl->name, "session=%u is not %s's, who "
                    "asked for it: refused", s->no,
                    s->owner[0] != '\0' ? s->owner : "a nameless client");
}

static void attach_done(struct cfs_session_attach *down, int status)
{
    struct ls_op *op = container_of(down, struct ls_op, down.attach);
    struct ls *ls = op->xl->priv;

    cfs_join_session_attach(op->attach, down);
    if (status == 0)
        status = ls_attached(&ls->sessions, &down->session);
    else if (status == -CFS_E_SESSION)
        ls_gone(&ls->sessions, down->session.no);
    else if (status == -EACCES)
        tell_refused(op);
    end(op, status);
}

static void decide_attach(struct ls_op *op)
{
    struct ls *ls = op->xl->priv;
    struct cfs_session_attach *up = op->attach;
    int rc;

    rc = ls_may_attach(&ls->sessions, &op->info.brick, up->req.epoch,
                       &up->session, cfs_ran(op->xl->loop));
    if (rc == -EACCES)
        tell_refused(op);
    if (rc < 0) {
        up->req.post = op->info.req.post;
        learn_view(op, up->req.epoch);
        end(op, rc);
        return;
    }
    cfs_fork_session_attach(&op->down.attach, up);
    cfs_wind_session_attach(op->xl->child[0], &op->down.attach, attach_done);
}

/* -- in turn --------------------------------------------------------------- */

static void info_done(struct cfs_brick_info *info, int status)
{
    struct ls_op *op = container_of(info, struct ls_op, info);

    if (status < 0)
        end(op, status);
    else if (op->open)
        decide_open(op);
    else
        decide_attach(op);
}

static void handle(struct ls_op *op)
{
    cfs_wind_brick_info(op->xl->child[0], &op->info, info_done);
}

static struct ls_op *op_new(struct cfs_xl *xl, struct cfs_req *up)
{
    struct ls_op *op = cfs_call_new(up->call, struct ls_op);

    op->xl = xl;
    op->info.req.call = up->call;
    op->info.req.epoch = up->epoch;
    return op;
}

static void enqueue(struct ls_op *op)
{
    struct ls *ls = op->xl->priv;
    bool idle = cfs_list_empty(&ls->queue);

    cfs_list_add_tail(&ls->queue, &op->link);
    if (idle)
        handle(op);
}

static void ls_session_open(struct cfs_xl *xl, struct cfs_session_open *up)
{
    struct ls_op *op = op_new(xl, &up->req);

    op->open = up;
    enqueue(op);
}

static void ls_session_attach(struct cfs_xl *xl, struct cfs_session_attach *up)
{
    struct ls_op *op = op_new(xl, &up->req);

    op->attach = up;
    enqueue(op);
}

/* -- ends of sessions ------------------------------------------------------ */

struct ls_close {
    struct cfs_session_close  op;
    struct cfs_session_close *up;
    struct cfs_xl            *xl;
};

static void close_done(struct cfs_session_close *op, int status)
{
    struct ls_close *t = container_of(op, struct ls_close, op);
    struct ls *ls = t->xl->priv;

    if (status == 0)
        ls_gone(&ls->sessions, op->session);
    cfs_join_session_close(t->up, op);
    cfs_unwind_session_close(t->up, status);
}

static void ls_session_close(struct cfs_xl *xl, struct cfs_session_close *up)
{
    struct ls_close *t = cfs_call_new(up->req.call, struct ls_close);

    t->up = up;
    t->xl = xl;
    cfs_fork_session_close(&t->op, up);
    cfs_wind_session_close(xl->child[0], &t->op, close_done);
}

struct ls_fence {
    struct cfs_session_fence  op;
    struct cfs_session_fence *up;
    struct cfs_xl            *xl;
};

static void fence_done(struct cfs_session_fence *op, int status)
{
    struct ls_fence *t = container_of(op, struct ls_fence, op);
    struct ls *ls = t->xl->priv;

    if (status == 0)
        ls_gone(&ls->sessions, op->session);
    cfs_join_session_fence(t->up, op);
    cfs_unwind_session_fence(t->up, status);
}

static void ls_session_fence(struct cfs_xl *xl, struct cfs_session_fence *up)
{
    struct ls_fence *t = cfs_call_new(up->req.call, struct ls_fence);

    t->up = up;
    t->xl = xl;
    cfs_fork_session_fence(&t->op, up);
    cfs_wind_session_fence(xl->child[0], &t->op, fence_done);
}

/* -- the translator -------------------------------------------------------- */

static int ls_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct ls *ls = xl->priv;

    ls_sessions_init(&ls->sessions);
    cfs_list_init(&ls->queue);
    return 0;
}

static void ls_fini(struct cfs_xl *xl)
{
    struct ls *ls = xl->priv;

    ls_sessions_fini(&ls->sessions);
}

static void ls_dump(struct cfs_xl *xl, struct cfs_dump *d)
{
    struct ls *ls = xl->priv;

    cfs_dump_put(d, "sessions", "%u", ls->sessions.n);
    cfs_list_for_each(it, &ls->sessions.all) {
        const struct ls_session *e =
            cfs_list_entry(it, struct ls_session, link);
        char key[32];

        snprintf(key, sizeof key, "session-%u", e->s.no);
        cfs_dump_put(d, key, "%s service=%s node=%s pid=%u where=%s owner=%s",
                     e->attached ? "attached" : "reserved", e->s.service,
                     e->s.node, e->s.pid, e->s.where, e->s.owner);
    }
}

static const struct cfs_fops ls_fops = {
    .session_open = ls_session_open,
    .session_attach = ls_session_attach,
    .session_close = ls_session_close,
    .session_fence = ls_session_fence,
};

const struct cfs_xl_type cfs_xl_type = {
    .name = "features/lock-server",
    .children_min = 1,
    .children_max = 1,
    .priv_size = sizeof(struct ls),
    .init = ls_init,
    .fini = ls_fini,
    .dump = ls_dump,
    .fops = &ls_fops,
};
