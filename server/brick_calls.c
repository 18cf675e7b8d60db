/* SPDX-License-Identifier: Apache-2.0 */
/* brick_calls.c - program BRICK: mgmtd asks on the line that brickd opened to
 * it. What concerns the store becomes an operation, wound into the graph below
 * protocol/server, which refuses these operations to clients; the reply goes
 * out when it is done.
 */
#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"
#include "server/brickd.h"

#include <stdio.h>
#include <stdlib.h>

static const char who[] = "brickd";

/* A call that became an operation; in the memory of the graph's call. */
struct ctl {
    struct brickd   *b;
    struct rpc_msg  *msg;
    struct cfs_call *call;
    union {
        struct cfs_brick_info    info;
        struct cfs_view_set      view;
        struct cfs_session_fence fence;
        struct cfs_session_close close;
    };
};

static void reply_empty(struct rpc_msg *msg)
{
    rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
}

/* Answer with @body, or with why there is none. */
static void ctl_end(struct ctl *c, int status, struct cfs_blob body)
{
    const char *why = c->b->failed.code < 0 ? c->b->failed.text
                                            : cfs_err_str(status);

    if (status < 0)
        rpc_reply_error(c->msg, status, why);
    else
        rpc_reply(c->msg, body, (struct cfs_buf){0});
    cfs_call_end(c->call);
}

/* -- INFO ----------------------------------------------------------------- */

static void info_done(struct cfs_brick_info *op, int status)
{
    struct ctl *c = container_of(op, struct ctl, info);
    struct mgmt_brick_msg msg = {.brick = op->brick};

    ctl_end(c, status, status == 0
                           ? mgmt_pack_brick_msg(&c->call->arena, &msg)
                           : (struct cfs_blob){0});
}

static int on_info(struct ctl *c)
{
    c->info.req.call = c->call;
    cfs_wind_brick_info(c->b->below, &c->info, info_done);
    return 0;
}

/* -- VIEW_SET ------------------------------------------------------------- */

static void view_done(struct cfs_view_set *op, int status)
{
    struct ctl *c = container_of(op, struct ctl, view);

    if (status < 0)
        cfs_log_warning(c->b->host.log, who, "view epoch=%llu: %s",
                        (unsigned long long)op->view.epoch,
                        cfs_err_str(status));
    ctl_end(c, status, (struct cfs_blob){0});
}

static int on_view_set(struct ctl *c)
{
    struct mgmt_view_msg msg;
    int rc = mgmt_unpack_view_msg(&c->call->arena, c->msg->body, &msg);

    if (rc < 0)
        return rc;
    c->view.req.call = c->call;
    c->view.view = msg.view;
    cfs_wind_view_set(c->b->below, &c->view, view_done);
    return 0;
}

/* -- FENCE, CLOSE_SESSION ------------------------------------------------- */

static void fence_done(struct cfs_session_fence *op, int status)
{
    struct ctl *c = container_of(op, struct ctl, fence);
    struct mgmt_fence_reply msg = {.tail = op->tail};

    cfs_log_info(c->b->host.log, who, "fence session=%u: %s", op->session,
                 status == 0 ? "done" : cfs_err_str(status));
    ctl_end(c, status, status == 0
                           ? mgmt_pack_fence_reply(&c->call->arena, &msg)
                           : (struct cfs_blob){0});
}

static int on_fence(struct ctl *c)
{
    struct mgmt_session_no msg;
    int rc = mgmt_unpack_session_no(&c->call->arena, c->msg->body, &msg);

    if (rc < 0)
        return rc;
    c->fence.req.call = c->call;
    c->fence.session = msg.session;
    cfs_wind_session_fence(c->b->below, &c->fence, fence_done);
    return 0;
}

static void close_done(struct cfs_session_close *op, int status)
{
    struct ctl *c = container_of(op, struct ctl, close);

    cfs_log_info(c->b->host.log, who, "close session=%u: %s", op->session,
                 status == 0 ? "done" : cfs_err_str(status));
    ctl_end(c, status, (struct cfs_blob){0});
}

static int on_close_session(struct ctl *c)
{
    struct mgmt_session_no msg;
    int rc = mgmt_unpack_session_no(&c->call->arena, c->msg->body, &msg);

    if (rc < 0)
        return rc;
    c->close.req.call = c->call;
    c->close.session = msg.session;
    cfs_wind_session_close(c->b->below, &c->close, close_done);
    return 0;
}

/* Those that become operations: 0, and the operation will answer; or why
 * there is none. */
static int (*const ctl_calls[RPC_BRICK_PROCS])(struct ctl *) = {
    [RPC_BRICK_INFO] = on_info,
    [RPC_BRICK_VIEW_SET] = on_view_set,
    [RPC_BRICK_FENCE] = on_fence,
    [RPC_BRICK_CLOSE_SESSION] = on_close_session,
};

static void to_graph(struct brickd *b, struct rpc_msg *msg)
{
    struct cfs_call *call;
    struct ctl *c;
    int rc;

    if (b->state != BRICKD_STARTING && b->state != BRICKD_SERVING) {
        rpc_reply_error(msg, -EAGAIN, b->state == BRICKD_WAITING
                                          ? "the brick does not serve yet"
                                          : "the brick is stopping");
        return;
    }
    call = cfs_call_begin(b->graph);
    c = cfs_call_new(call, struct ctl);
    c->b = b;
    c->msg = msg;
    c->call = call;
    rc = ctl_calls[msg->hdr.procedure](c);
    if (rc < 0) {
        rpc_reply_error(msg, rc, "a bad request");
        cfs_call_end(call);
    }
}

/* -- the process itself --------------------------------------------------- */

static void on_terminate(struct brickd *b, struct rpc_msg *msg)
{
    struct mgmt_terminate req;
    struct cfs_arena a;
    struct ender *e;
    int rc;

    cfs_arena_init(&a);
    rc = mgmt_unpack_terminate(&a, msg->body, &req);
    cfs_arena_fini(&a);
    if (rc < 0) {
        rpc_reply_error(msg, rc, "a bad request");
        return;
    }
    if (b->state == BRICKD_ENDED) {
        reply_empty(msg);
        return;
    }
    e = calloc(1, sizeof *e);
    if (e == NULL) {
        rpc_reply_error(msg, -ENOMEM, "out of memory");
        return;
    }
    e->msg = msg;
    cfs_list_add_tail(&b->enders, &e->link);
    if (req.clean)
        brickd_stop(b);
    else
        brickd_abandon(b);
}

static void on_statedump(struct brickd *b, struct rpc_msg *msg)
{
    struct mgmt_statedump_reply reply;
    struct cfs_err err = {0};
    struct cfs_arena a;
    char *path;
    int rc = cfs_host_dump(&b->host, &path, &err);

    if (rc < 0) {
        rpc_reply_error(msg, rc, err.text);
        return;
    }
    cfs_arena_init(&a);
    reply.path = path;
    rpc_reply(msg, mgmt_pack_statedump_reply(&a, &reply),
              (struct cfs_buf){0});
    cfs_arena_fini(&a);
    free(path);
}

/* The figures of the translator that counts, told before they start anew. */
static char *report(struct brickd *b, bool anew)
{
    struct cfs_xl *xl = cfs_graph_find_type(b->graph, "debug/io-stats");
    size_t len;
    char *text;
    FILE *out;

    if (xl == NULL || xl->type->report == NULL)
        return strdup("{}");
    out = open_memstream(&text, &len);
    if (out == NULL)
        return NULL;
    xl->type->report(xl, out);
    if (fclose(out) != 0)
        return NULL;
    if (anew)
        cfs_graph_event(b->graph,
                        (struct cfs_event){.type = CFS_EV_COUNT_ANEW});
    return text;
}

static void on_profile(struct brickd *b, struct rpc_msg *msg)
{
    struct mgmt_profile_reply reply;
    struct mgmt_profile req;
    struct cfs_arena a;
    char *text = NULL;

    cfs_arena_init(&a);
    if (mgmt_unpack_profile(&a, msg->body, &req) < 0 || req.action > 1) {
        rpc_reply_error(msg, -EBADMSG, "a bad request");
    } else if (b->graph == NULL) {
        rpc_reply_error(msg, -EAGAIN, "the brick does not serve");
    } else if ((text = report(b, req.action == 1)) == NULL) {
        rpc_reply_error(msg, -ENOMEM, "out of memory");
    } else {
        reply.json = text;
        rpc_reply(msg, mgmt_pack_profile_reply(&a, &reply),
                  (struct cfs_buf){0});
    }
    free(text);
    cfs_arena_fini(&a);
}

static void put_le32(uint8_t *p, uint64_t v)
{
    if (v > UINT32_MAX)
        v = UINT32_MAX;
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void on_clients(struct brickd *b, struct rpc_msg *msg)
{
    struct cfs_clients clients = {0};
    uint8_t bytes[8 * CFS_CLIENTS_MAX];
    struct mgmt_clients_reply reply = {.clients = {bytes, 0}};
    struct cfs_arena a;

    if (b->state != BRICKD_SERVING) {
        rpc_reply_error(msg, -EAGAIN, "the brick does not serve");
        return;
    }
    cfs_graph_event(b->graph, (struct cfs_event){.type = CFS_EV_CLIENTS,
                                                 .clients = &clients});
    for (uint32_t i = 0; i < clients.n; i++) {
        put_le32(bytes + 8 * i, clients.c[i].session);
        put_le32(bytes + 8 * i + 4, clients.c[i].idle_ns / CFS_MS);
    }
    reply.clients.len = 8 * clients.n;
    cfs_arena_init(&a);
    rpc_reply(msg, mgmt_pack_clients_reply(&a, &reply), (struct cfs_buf){0});
    cfs_arena_fini(&a);
}

void brickd_on_call(struct rpc_msg *msg, void *ctx)
{
    struct brickd *b = ctx;

    switch (msg->hdr.procedure) {
    case RPC_BRICK_INFO:
    case RPC_BRICK_VIEW_SET:
    case RPC_BRICK_FENCE:
    case RPC_BRICK_CLOSE_SESSION:
        to_graph(b, msg);
        break;
    case RPC_BRICK_TERMINATE:
        on_terminate(b, msg);
        break;
    case RPC_BRICK_PROFILE:
        on_profile(b, msg);
        break;
    case RPC_BRICK_STATEDUMP:
        on_statedump(b, msg);
        break;
    case RPC_BRICK_CLIENTS:
        on_clients(b, msg);
        break;
    default:
        rpc_reply_error(msg, -ENOSYS, "this clusterfs-brickd cannot do that");
        break;
    }
}
