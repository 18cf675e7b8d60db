/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - protocol/client: one brick, seen from a client's graph; see
 * README.md.
 */
#include "xlators/protocol/client/client.h"

/* -- what goes up --------------------------------------------------------- */

static void on_up_task(struct cfs_task *t)
{
    struct cl *cl = container_of(t, struct cl, up_task);

    if (cl->state == CL_ATTACHED)
        cfs_notify_up(cl->xl, (struct cfs_event){.type = CFS_EV_CHILD_UP});
}

/* CHILD_UP follows the answer itself, which is queued already. */
void cl_attached(struct cl *cl)
{
    if (cl->state != CL_READY)
        return;
    cl->state = CL_ATTACHED;
    cfs_task_post(cl->xl->loop, &cl->up_task);
}

void cl_down(struct cl *cl, const struct cfs_err *why)
{
    cl->state = CL_DOWN;
    cl->greetings = 0;
    cfs_task_cancel(&cl->up_task);
    if (cl->told_down)
        return;
    cl->told_down = true;
    cl_silence_lost(cl);
    cfs_notify_up(cl->xl, (struct cfs_event){.type = CFS_EV_CHILD_DOWN,
                                             .err = why});
}

void cl_heard_epoch(struct cl *cl, uint64_t epoch)
{
    if (epoch <= cl->epoch || epoch <= cl->wanted)
        return;
    cl->wanted = epoch;
    cfs_notify_up(cl->xl, (struct cfs_event){.type = CFS_EV_WANT_VIEW});
}

void cl_heard_view(struct cl *cl, const struct cfs_view *view)
{
    if (view->epoch <= cl->epoch)
        return;
    cl->epoch = view->epoch;
    cfs_notify_up(cl->xl, (struct cfs_event){.type = CFS_EV_NEW_VIEW,
                                             .view = view});
}

/* -- what comes down ------------------------------------------------------ */

static void on_stop_task(struct cfs_task *t)
{
    struct cl *cl = container_of(t, struct cl, stop_task);

    if (cl->in_flight > 0)
        return; /* the last one posts this again */
    cl_line_close(cl);
    cl->state = CL_DOWN;
    cfs_graph_release(cl->xl->graph);
}

void cl_op_ended(struct cl *cl)
{
    assert(cl->in_flight > 0);
    if (--cl->in_flight == 0 && cl->stopping)
        cfs_task_post(cl->xl->loop, &cl->stop_task);
}

/* What is in flight, a goodbye perhaps, is still answered. */
static void stop(struct cl *cl)
{
    if (cl->stopping)
        return;
    cl->stopping = true;
    cfs_graph_hold(cl->xl->graph);
    cfs_task_post(cl->xl->loop, &cl->stop_task);
}

static bool is_member(const struct cl *cl, const struct cfs_view *view)
{
    for (uint32_t i = 0; i < view->n_sync + view->n_syncing; i++)
        if (cfs_uuid_eq(view->m[i].brick, cl->brick))
            return true;
    return false;
}

/* What a brick that has left the view was asked is answered by others: nobody
 * waits for it until its connection is given up. */
static void leave_it(struct cl *cl)
{
    if (cl->in_flight > 0 && cl->conn != NULL && !cl->stopping)
        rpc_conn_reset(cl->conn, "the brick left the view");
}

static void cl_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    struct cl *cl = xl->priv;

    switch (ev->type) {
    case CFS_EV_PARENT_UP:
        cl_line_open(cl);
        break;
    case CFS_EV_PARENT_DOWN:
        stop(cl);
        break;
    case CFS_EV_PROBE:
        cl_silence_probe(cl);
        break;
    case CFS_EV_VIEW:
        if (ev->view->epoch > cl->epoch)
            cl->epoch = ev->view->epoch;
        if (ev->view->epoch == cl->epoch)
            cl->member = is_member(cl, ev->view);
        if (!cl->member)
            leave_it(cl);
        if (!cfs_timer_active(&cl->silence))
            cl_silence_begin(cl);
        break;
    default:
        break; /* there is nobody below */
    }
}

/* -- the translator ------------------------------------------------------- */

static int cl_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct cl *cl = xl->priv;

    cl->xl = xl;
    cfs_task_init(&cl->up_task, on_up_task);
    cfs_task_init(&cl->stop_task, on_stop_task);
    cl_line_init(cl);
    cl_silence_init(cl);
    if (cl->port > UINT16_MAX || cl->mgmt_port > UINT16_MAX)
        return cfs_err_set(err, -ERANGE, "%s: a port is at most 65535",
                           xl->name);
    return 0;
}

static void cl_fini(struct cfs_xl *xl)
{
    struct cl *cl = xl->priv;

    cl_line_close(cl);
    cl_silence_fini(cl);
    cfs_task_cancel(&cl->up_task);
    cfs_task_cancel(&cl->stop_task);
    cfs_timer_fini(&cl->port_timer);
}

static int cl_reconfigure(struct cfs_xl *xl, struct cfs_err *err)
{
    struct cl *cl = xl->priv;

    if (cl->conn != NULL)
        rpc_conn_set_lz4(cl->conn, cl->compression == CL_COMPRESSION_LZ4);
    cl_line_moved(cl);
    return 0;
}

static void cl_dump(struct cfs_xl *xl, struct cfs_dump *d)
{
    static const char *const states[] = {"down", "ready", "attached"};
    const struct cl *cl = xl->priv;

    cfs_dump_put(d, "state", "%s", states[cl->state]);
    cfs_dump_put(d, "address", "%s", cl->addr.text);
    cfs_dump_put(d, "in-flight", "%u", cl->in_flight);
    cfs_dump_put(d, "sent", "%llu", (unsigned long long)cl->sent);
    cfs_dump_put(d, "lost", "%llu", (unsigned long long)cl->lost);
    cfs_dump_put(d, "epoch", "%llu", (unsigned long long)cl->epoch);
}

static const char *const compressions[] = {"off", "lz4", NULL};

static const struct cfs_opt cl_opts[] = {
    {.name = "remote-host", .type = CFS_OPT_STR,
     .at = offsetof(struct cl, host), .def = "localhost",
     .flags = CFS_OPT_RECONF,
     .help = "the brick's host"},
    {.name = "remote-port", .type = CFS_OPT_U32,
     .at = offsetof(struct cl, port), .def = "0", .max = UINT16_MAX,
     .flags = CFS_OPT_RECONF,
     .help = "the brick's TCP port; 0: ask the management daemon there"},
    {.name = "remote-path", .type = CFS_OPT_STR,
     .at = offsetof(struct cl, path),
     .help = "the brick's Unix socket; goes before host and port"},
    {.name = "management-port", .type = CFS_OPT_U32,
     .at = offsetof(struct cl, mgmt_port), .def = "24007", .min = 1,
     .max = UINT16_MAX,
     .help = "where the management daemon of remote-host listens"},
    {.name = "brick-id", .type = CFS_OPT_UUID,
     .at = offsetof(struct cl, brick), .flags = CFS_OPT_REQUIRED,
     .help = "the brick that must answer"},
    {.name = "volume-id", .type = CFS_OPT_UUID,
     .at = offsetof(struct cl, volume), .help = "the volume, in proofs"},
    {.name = "client-name", .type = CFS_OPT_STR,
     .at = offsetof(struct cl, client), .flags = CFS_OPT_RECONF,
     .help = "who we are"},
    {.name = "client-secret", .type = CFS_OPT_STR,
     .at = offsetof(struct cl, secret), .flags = CFS_OPT_RECONF,
     .help = "what both ends prove over TCP that they know: 64 hex digits"},
    {.name = "client-generation", .type = CFS_OPT_U64,
     .at = offsetof(struct cl, generation), .def = "0",
     .flags = CFS_OPT_RECONF, .help = "of the secret"},
    {.name = "secret-number", .type = CFS_OPT_U64,
     .at = offsetof(struct cl, number), .def = "1",
     .flags = CFS_OPT_RECONF,
     .help = "of the volume's secret that client-secret follows from"},
    {.name = "compression", .type = CFS_OPT_ENUM,
     .at = offsetof(struct cl, compression), .def = "off",
     .words = compressions, .flags = CFS_OPT_RECONF,
     .help = "of payloads over TCP, when it pays"},
    {.name = "idle-timeout", .type = CFS_OPT_MS,
     .at = offsetof(struct cl, idle_ms), .def = "30s", .max = 3600000,
     .help = "silence after which the connection is given up; 0: never"},
    {.name = "op-timeout", .type = CFS_OPT_MS,
     .at = offsetof(struct cl, op_timeout_ms), .def = "2s", .max = 600000,
     .flags = CFS_OPT_RECONF,
     .help = "silence after which a brick may be dropped; 0: never told"},
    {.name = "keepalive", .type = CFS_OPT_MS,
     .at = offsetof(struct cl, keepalive_ms), .def = "2s", .max = 3600000,
     .help = "silence after which the brick is asked whether it is there"},
    {.name = "reconnect-delay", .type = CFS_OPT_MS,
     .at = offsetof(struct cl, reconnect_ms), .def = "200ms", .min = 10,
     .max = 60000, .help = "before the next attempt; doubles to 16 times"},
    {.name = "connect-timeout", .type = CFS_OPT_MS,
     .at = offsetof(struct cl, connect_ms), .def = "10s", .min = 10,
     .max = 600000, .help = "of one attempt"},
    {.name = NULL},
};

__attribute__((visibility("default"))) const struct cfs_xl_type cfs_xl_type = {
    .name = "protocol/client",
    .children_min = 0,
    .children_max = 0,
    .priv_size = sizeof(struct cl),
    .opts = cl_opts,
    .init = cl_init,
    .fini = cl_fini,
    .reconfigure = cl_reconfigure,
    .notify = cl_notify,
    .dump = cl_dump,
    .fops = &cl_fops,
};
