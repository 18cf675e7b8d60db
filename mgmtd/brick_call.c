/* SPDX-License-Identifier: Apache-2.0 */
/* brick_call.c - program BRICK, called on the line that a brick opened, or by
 * way of its home. */
#include "mgmtd/node.h"

struct pending {
    struct rpc_call  call;
    struct cfs_task  task; /* when there is no line to call on */
    struct brick    *b;
    brick_done      *done;
    void            *arg;
};

static void answer(struct pending *p, int status, struct cfs_blob body,
                   const char *text)
{
    struct volume *vol = p->b->vol;

    if (p->done)
        p->done(p->b, p->arg, status, body,
                text && *text ? text : cfs_err_str(status));
    free(p);
    volume_unref(vol);
}

static void on_reply(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct pending *p = cfs_list_entry(call, struct pending, call);
    struct cfs_blob body = {0};

    if (reply && status == 0)
        body = reply->body;
    answer(p, status, body, reply ? rpc_reply_text(reply) : NULL);
}

static void no_line(struct cfs_task *t)
{
    answer(cfs_list_entry(t, struct pending, task), -ENOTCONN,
           (struct cfs_blob){0}, "the brick is not connected");
}

void brick_call(struct brick *b, uint32_t proc, struct cfs_blob body,
                uint32_t timeout_ms, brick_done *done, void *arg)
{
    struct pending *p;

    if (!brick_is_local(b) && brick_home(b)) {
        node_brick_call(b, proc, body, timeout_ms, done, arg);
        return;
    }
    p = mem_new(sizeof *p);
    p->b = b;
    p->done = done;
    p->arg = arg;
    volume_ref(b->vol);
    if (b->line) {
        rpc_call(b->line->conn, &p->call, &rpc_to_brick, proc, body,
                 (struct cfs_buf){0}, timeout_ms, on_reply);
        return;
    }
    cfs_task_init(&p->task, no_line);
    cfs_task_post(b->vol->m->host.loop, &p->task);
}

/* -- BRICK.INFO ---------------------------------------------------------- */

struct refresh {
    brick_done *done;
    void       *arg;
};

static void on_info(struct brick *b, void *arg, int status,
                    struct cfs_blob body, const char *text)
{
    struct refresh r = *(struct refresh *)arg;
    struct mgmt_brick_msg msg;
    struct cfs_arena a;

    free(arg);
    cfs_arena_init(&a);
    if (status == 0) {
        status = mgmt_unpack_brick_msg(&a, body, &msg);
        text = "its answer makes no sense";
    }
    if (status == 0 && !cfs_uuid_eq(msg.brick.brick, b->id)) {
        status = -EBADMSG;
        text = "it says that it is another brick";
    }
    if (status == 0)
        b->info = msg.brick;
    cfs_arena_fini(&a);
    if (r.done)
        r.done(b, r.arg, status, body, text);
}

void brick_refresh(struct brick *b, uint32_t timeout_ms, brick_done *done,
                   void *arg)
{
    struct refresh *r = mem_new(sizeof *r);

    r->done = done;
    r->arg = arg;
    brick_call(b, RPC_BRICK_INFO, (struct cfs_blob){0}, timeout_ms, on_info,
               r);
}
