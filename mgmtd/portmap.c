/* SPDX-License-Identifier: Apache-2.0 */
/* portmap.c - program PORTMAP: bricks and clients sign in; where a brick
 * listens. An entry lives as long as the connection that made it.
 */
#include "mgmtd/node.h"

#define WHO "portmap"

static void ok(struct rpc_msg *msg)
{
    rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
}

/* Its volume was deleted while it ran, or the configuration is not the one
 * that it was. It is not ended: an operator should look. */
static void warn_unknown(struct line *line, const struct cfs_uuid *id)
{
    char text[CFS_UUID_STR];

    cfs_uuid_print(*id, text);
    cfs_log_warning(line->m->host.log, WHO, "brick %s of no volume signs in",
                    text);
}

static void on_signin(struct rpc_msg *msg, void *ctx)
{
    struct line *line = line_of(msg);
    struct mgmt_signin q;
    struct cfs_arena a;
    uint32_t pid, uid;
    struct brick *b;

    if (!line || !line->trusted ||
        rpc_conn_peer_cred(msg->conn, &pid, &uid) < 0) {
        rpc_reply_error(msg, -EACCES, "a brick signs in as root, on mgmtd's "
                                      "Unix socket");
        return;
    }
    cfs_arena_init(&a);
    if (mgmt_unpack_signin(&a, msg->body, &q) < 0) {
        rpc_reply_error(msg, -EBADMSG, "a bad sign-in");
    } else if (!(b = brick_find(line->m, q.brick))) {
        warn_unknown(line, &q.brick);
        rpc_reply_error(msg, -ENOENT, "no volume has this brick");
    } else if (!brick_is_local(b)) {
        rpc_reply_error(msg, -EXDEV, "this brick belongs to another node");
    } else {
        ok(msg);
        brick_signed_in(b, line, pid,
                        q.port <= UINT16_MAX ? (uint16_t)q.port : 0);
    }
    cfs_arena_fini(&a);
}

static void on_session(struct brick *b, void *arg, int status,
                       struct cfs_blob body, const char *text)
{
    if (status == 0)
        sessions_heard(b);
}

static void on_client_signin(struct rpc_msg *msg, void *ctx)
{
    struct mgmtd *m = ctx;
    struct mgmt_client_signin q;
    struct cfs_err err = {0};
    struct cfs_arena a;
    struct volume *vol;
    struct brick *master;
    int rc;

    cfs_arena_init(&a);
    rc = mgmt_unpack_client_signin(&a, msg->body, &q);
    if (rc < 0)
        cfs_err_set(&err, rc, "a bad sign-in");
    else
        rc = line_need_volume(line_of(msg), m, q.volume, &vol, &err);
    cfs_arena_fini(&a);
    if (rc < 0) {
        rpc_reply_error(msg, rc, err.text);
        return;
    }
    ok(msg);
    master = view_master(vol);
    if (master)
        brick_refresh(master, 0, on_session, NULL);
}

/* A clean end is near; what counts is the end of the process. */
static void on_signout(struct rpc_msg *msg, void *ctx)
{
    ok(msg);
}

static void on_port_by_brick(struct rpc_msg *msg, void *ctx)
{
    struct mgmtd *m = ctx;
    struct mgmt_port_by_brick q;
    struct mgmt_port_reply reply;
    struct cfs_err err = {0};
    struct cfs_arena a;
    struct brick *b;

    cfs_arena_init(&a);
    if (mgmt_unpack_port_by_brick(&a, msg->body, &q) < 0) {
        rpc_reply_error(msg, -EBADMSG, "a bad request");
    } else if (!(b = brick_find(m, q.brick)) ||
               line_may_volume(line_of(msg), b->vol, &err) < 0) {
        rpc_reply_error(msg, -ENOENT, "no volume has this brick");
    } else if (!b->here && !b->line) {
        rpc_reply_error(msg, -ENOENT, "the brick is not running");
    } else {
        reply.port = b->port;
        reply.path = b->socket;
        rpc_reply(msg, mgmt_pack_port_reply(&a, &reply), (struct cfs_buf){0});
    }
    cfs_arena_fini(&a);
}

const struct rpc_proc portmap_procs[] = {
    [RPC_PORTMAP_SIGNIN] = {"signin", on_signin},
    [RPC_PORTMAP_CLIENT_SIGNIN] = {"client_signin", on_client_signin},
    [RPC_PORTMAP_SIGNOUT] = {"signout", on_signout},
    [RPC_PORTMAP_PORT_BY_BRICK] = {"port_by_brick", on_port_by_brick},
};
const uint32_t portmap_n_procs = CFS_ARRAY_SIZE(portmap_procs);
