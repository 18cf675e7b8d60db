/* SPDX-License-Identifier: Apache-2.0 */
/* forward.c - an operation becomes a call; its reply becomes the unwind.
 *
 * Whatever keeps the brick's own answer from arriving is -ENOTCONN: the
 * operation may or may not have been done.
 */
#include "rpc/fop_codec.h"
#include "xlators/protocol/client/client.h"

struct cl_op {
    struct rpc_call call;
    struct cl      *cl;
    struct cfs_req *req;
};

/* What a good answer means for the line itself. */
static void look_at(struct cl *cl, const struct cfs_req *req)
{
    const void *op = req;

    if (req->fop == CFS_FOP_SESSION_ATTACH && req->status == 0) {
        cl_heard_view(cl, &((const struct cfs_session_attach *)op)->view);
        cl_attached(cl);
    }
    cl_heard_epoch(cl, req->post.epoch);
}

static void on_reply(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct cl_op *op = container_of(call, struct cl_op, call);
    struct cfs_req *req = op->req;
    struct cl *cl = op->cl;
    bool decoded = false;

    if (reply == NULL) {
        cl->lost++;
        status = -ENOTCONN;
    } else if (rpc_reply_text(reply) == NULL) {
        req->status = status;
        decoded = cfs_fop_unpack_reply(req, reply->body, reply->payload) == 0;
        if (!decoded) {
            cfs_log_warning(cl->xl->log, cl->xl->name,
                            "%s: an answer to %s that is none",
                            cl->addr.text, cfs_fop_name(req->fop));
            status = -ENOTCONN;
            rpc_conn_reset(cl->conn, "a bad answer");
        }
    }
    cfs_unwind(req, status);
    if (decoded)
        look_at(cl, req);
    cl_op_ended(cl);
}

static void forward(struct cfs_xl *xl, struct cfs_req *req)
{
    struct cl *cl = xl->priv;
    struct cl_op *op;

    if (cl->state == CL_DOWN) {
        cfs_unwind(req, -ENOTCONN);
        return;
    }
    op = cfs_call_new(req->call, struct cl_op);
    op->cl = cl;
    op->req = req;
    cl->sent++;
    if (cl->in_flight++ == 0)
        cl_silence_begin(cl);
    rpc_call(cl->conn, &op->call, &cl->fop, rpc_fop_proc(req->fop),
             cfs_fop_pack(&req->call->arena, req), cfs_fop_payload(req), 0,
             on_reply);
}

#define FOP(lower, UPPER, class, in, out)                                    \
    static void cl_##lower(struct cfs_xl *xl, struct cfs_##lower *op)        \
    {                                                                        \
        forward(xl, &op->req);                                               \
    }
#include "core/fops.def"
#undef FOP

const struct cfs_fops cl_fops = {
#define FOP(lower, UPPER, class, in, out) .lower = cl_##lower,
#include "core/fops.def"
#undef FOP
};
