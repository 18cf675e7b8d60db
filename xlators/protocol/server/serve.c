/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c - a call of program FOP becomes an operation of the brick's graph;
 * when it is done, the reply goes out with the status and what it gave.
 *
 * The call's memory lasts from the decoding to the reply. When the connection
 * ends meanwhile, the operation goes on, and its reply vanishes.
 */
#include "rpc/fop_codec.h"
#include "xlators/protocol/server/server.h"

/* call->owner */
struct srv_op {
    struct srv     *srv;
    struct rpc_msg *msg;
};

/* What the end of an operation means for its connection. */
static void look_at(const struct cfs_req *req, const struct rpc_msg *msg)
{
    struct srv_conn *sc;
    const void *op = req;

    if (req->status < 0 || msg->conn == NULL)
        return;
    sc = rpc_conn_user(msg->conn);
    if (req->fop == CFS_FOP_SESSION_ATTACH)
        srv_attached(sc,
                     ((const struct cfs_session_attach *)op)->session.no);
    else if (req->fop == CFS_FOP_SESSION_CLOSE)
        sc->session = 0;
}

static void finish(struct cfs_req *req, int status)
{
    struct cfs_call *call = req->call;
    const struct srv_op *op = call->owner;
    struct srv *srv = op->srv;
    struct cfs_buf payload;
    struct cfs_blob body;

    req->status = status;
    look_at(req, op->msg);
    body = cfs_fop_pack_reply(&call->arena, req, &payload);
    rpc_reply_status(op->msg, status, body, payload);
    cfs_call_end(call);
    srv_op_ended(srv);
}

/* A session is of who proved what on this connection, whatever it says. */
static void sign(const struct srv_conn *sc, struct cfs_req *req)
{
    void *op = req;

    if (req->fop == CFS_FOP_SESSION_OPEN)
        srv_owner(sc, ((struct cfs_session_open *)op)->who.owner);
    else if (req->fop == CFS_FOP_SESSION_ATTACH)
        srv_owner(sc, ((struct cfs_session_attach *)op)->session.owner);
}

/* -- by operation --------------------------------------------------------- */

#define FOP(lower, UPPER, class, in, out)                                    \
    static void done_##lower(struct cfs_##lower *op, int status)             \
    {                                                                        \
        finish(&op->req, status);                                            \
    }                                                                        \
                                                                             \
    static void wind_##lower(struct cfs_xl *to, struct cfs_req *req)         \
    {                                                                        \
        cfs_wind_##lower(to, container_of(req, struct cfs_##lower, req),     \
                         done_##lower);                                      \
    }
#include "core/fops.def"
#undef FOP

static void (*const wind[CFS_FOP_N])(struct cfs_xl *, struct cfs_req *) = {
#define FOP(lower, UPPER, class, in, out) [CFS_FOP_##UPPER] = wind_##lower,
#include "core/fops.def"
#undef FOP
};

/* -- a call --------------------------------------------------------------- */

/* It is not an operation (-EBADMSG: the peer is not sane), or one that cannot
 * be asked for. */
static void undecodable(struct srv *srv, struct rpc_msg *msg, int rc)
{
    struct rpc_conn *c = msg->conn;

    if (rc == -EBADMSG)
        cfs_log_warning(srv->xl->log, srv->xl->name,
                        "%s: bad body of procedure %u", rpc_conn_name(c),
                        msg->hdr.procedure);
    rpc_reply_error(msg, rc, "no valid request");
    if (rc == -EBADMSG)
        rpc_conn_reset(c, "a body that is no request");
}

static void admit(struct srv *srv, struct rpc_msg *msg, struct cfs_call *call,
                  struct cfs_req *req)
{
    struct srv_op *op;
    const char *why;
    int rc;

    rc = srv_admit(rpc_conn_user(msg->conn), req, &why);
    if (rc < 0) {
        srv->refused++;
        rpc_reply_error(msg, rc, why);
        cfs_call_end(call);
        return;
    }
    sign(rpc_conn_user(msg->conn), req);
    op = cfs_call_new(call, struct srv_op);
    op->srv = srv;
    op->msg = msg;
    call->owner = op;
    srv->in_flight++;
    srv->served++;
    wind[req->fop](srv->xl->child[0], req);
}

void srv_on_fop(struct rpc_msg *msg, void *ctx)
{
    struct srv *srv = ctx;
    struct cfs_call *call;
    struct cfs_req *req;
    enum cfs_fop fop;
    int rc;

    if (!srv->open) {
        rpc_reply_error(msg, -EAGAIN, "the brick does not serve yet");
        return;
    }
    rc = rpc_fop_of_proc(msg->hdr.procedure, &fop);
    if (rc < 0) {
        rpc_reply_error(msg, rc, "no such operation");
        return;
    }
    call = cfs_call_begin(srv->xl->graph);
    rc = cfs_fop_unpack(call, fop, msg->body, msg->payload, &req);
    if (rc < 0) {
        undecodable(srv, msg, rc);
        cfs_call_end(call);
        return;
    }
    admit(srv, msg, call, req);
}
