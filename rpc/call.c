/* SPDX-License-Identifier: Apache-2.0 */
/* call.c - calls over a connection, in both directions, and program DUMP,
 * which every connection answers by itself. */
#include <stdio.h>
#include <stdlib.h>

#include "core/mem.h"
#include "rpc/conn_impl.h"
#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"

static void unpaired(struct rpc_call *call, int status)
{
    if (call->timed)
        cfs_timer_fini(&call->timer);
    call->timed = false;
    cfs_list_del(&call->link);
    call->conn = NULL;
    call->status = status;
}

/* -- calling -------------------------------------------------------------- */

static void on_call_task(struct cfs_task *t)
{
    struct rpc_call *call = container_of(t, struct rpc_call, task);

    call->done(call, call->status, NULL);
}

/* It ends without an answer from the peer. */
static void end_call(struct cfs_loop *loop, struct rpc_call *call, int status)
{
    unpaired(call, status);
    cfs_task_post(loop, &call->task);
}

static void on_call_timer(struct cfs_timer *t)
{
    struct rpc_call *call = container_of(t, struct rpc_call, timer);

    end_call(t->loop, call, -ETIMEDOUT);
}

static struct rpc_call *find_call(struct rpc_conn *c, uint32_t xid)
{
    struct cfs_list *bucket = &c->calls[xid % RPC_BUCKETS];

    cfs_list_for_each(it, bucket) {
        struct rpc_call *call = cfs_list_entry(it, struct rpc_call, link);

        if (call->xid == xid)
            return call;
    }
    return NULL;
}

static uint32_t next_xid(struct rpc_conn *c)
{
    do {
        c->xid++;
    } while (find_call(c, c->xid) != NULL);
    return c->xid;
}

void rpc_call(struct rpc_conn *c, struct rpc_call *call,
              const struct rpc_program *prog, uint32_t procedure,
              struct cfs_blob body, struct cfs_buf payload,
              uint32_t timeout_ms,
              void (*done)(struct rpc_call *, int, struct rpc_msg *))
{
    struct rpc_hdr h = {0};

    *call = (struct rpc_call){
        .conn = c,
        .program = prog->number,
        .procedure = procedure,
        .done = done,
    };
    cfs_list_init(&call->link);
    cfs_task_init(&call->task, on_call_task);
    if (c->state != RPC_UP) {
        end_call(c->loop, call, -ENOTCONN);
        return;
    }
    if (body.len > CFS_RPC_BODY_MAX || payload.len > CFS_RPC_PAYLOAD_MAX) {
        end_call(c->loop, call, -EMSGSIZE);
        return;
    }

    call->xid = next_xid(c);
    cfs_list_add_tail(&c->calls[call->xid % RPC_BUCKETS], &call->link);
    if (timeout_ms > 0) {
        cfs_timer_init(c->loop, &call->timer, on_call_timer);
        cfs_timer_start(&call->timer, timeout_ms * CFS_MS);
        call->timed = true;
    }
    h.xid = call->xid;
    h.program = prog->number;
    h.version = prog->version;
    h.procedure = procedure;
    rpc_tx_frame(c, &h, body, payload);
}

/* The error text of a reply, for people and logs: no control characters. */
static void copy_text(struct cfs_blob body, char ret[static CFS_ERR_TEXT])
{
    const uint8_t *s = body.p;
    const uint32_t n = body.len < CFS_ERR_TEXT ? body.len : CFS_ERR_TEXT - 1;

    for (uint32_t i = 0; i < n; i++)
        ret[i] = s[i] < ' ' || s[i] == 127 ? '?' : (char)s[i];
    ret[n] = '\0';
}

const char *rpc_reply_text(const struct rpc_msg *reply)
{
    return (reply->hdr.flags & CFS_RPC_TEXT) != 0 ? reply->user : NULL;
}

static int reply_in(struct rpc_conn *c, const struct rpc_hdr *h,
                    struct cfs_blob body, struct cfs_buf payload,
                    const char **ret_why)
{
    struct rpc_call *call = find_call(c, h->xid);
    char text[CFS_ERR_TEXT];
    struct rpc_msg msg = {.conn = c, .hdr = *h, .body = body,
                          .payload = payload};
    struct cfs_buf chunk;

    if (call == NULL) { /* timed out meanwhile */
        cfs_buf_unref(&payload);
        return 0;
    }
    if (h->program != call->program || h->procedure != call->procedure) {
        cfs_buf_unref(&payload);
        *ret_why = "the reply to another call";
        return -EBADMSG;
    }
    if ((h->flags & CFS_RPC_TEXT) != 0) {
        copy_text(body, text);
        msg.user = text;
        msg.body = (struct cfs_blob){0};
    }
    chunk = cfs_buf_ref(c->rx.chunk); /* done() may reset the connection */
    unpaired(call, h->status);
    call->done(call, h->status, &msg);
    cfs_buf_unref(&chunk);
    cfs_buf_unref(&payload);
    return 0;
}

/* -- being called --------------------------------------------------------- */

static struct rpc_in *in_new(struct rpc_conn *c)
{
    struct cfs_list *l = cfs_list_pop(&c->spare);
    struct rpc_in *in;

    if (l != NULL)
        return cfs_list_entry(l, struct rpc_in, m.link);
    return cfs_must_alloc(sizeof *in);
}

static void dump_list(struct rpc_msg *msg)
{
    const struct rpc_conn *c = msg->conn;
    struct mgmt_dump_reply r = {0};
    struct cfs_arena a;

    cfs_arena_init(&a);
    for (unsigned i = 0; i < c->n_programs && i < MGMT_PROGRAMS_MAX - 1; i++) {
        const struct rpc_program *p = &c->programs[i];
        struct mgmt_program *out = &r.programs.p[r.programs.n++];

        out->number = p->number;
        out->version = p->version;
        out->version_min = p->version_min ? p->version_min : p->version;
        snprintf(out->name, sizeof out->name, "%s", p->name);
    }
    r.programs.p[r.programs.n++] = (struct mgmt_program){
        RPC_DUMP, RPC_DUMP_VERSION, RPC_DUMP_VERSION, "dump"};
    rpc_reply(msg, mgmt_pack_dump_reply(&a, &r), (struct cfs_buf){0});
    cfs_arena_fini(&a);
}

static void dump_call(struct rpc_msg *msg)
{
    if (msg->hdr.version != RPC_DUMP_VERSION)
        rpc_reply_error(msg, -EPROTONOSUPPORT, "unknown version of dump");
    else if (msg->hdr.procedure == RPC_DUMP_LIST)
        dump_list(msg);
    else if (msg->hdr.procedure == RPC_DUMP_PING)
        rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
    else
        rpc_reply_error(msg, -ENOSYS, "no such procedure in dump");
}

static const struct rpc_program *find_program(const struct rpc_conn *c,
                                              uint32_t number)
{
    for (unsigned i = 0; i < c->n_programs; i++)
        if (c->programs[i].number == number)
            return &c->programs[i];
    return NULL;
}

static void dispatch(struct rpc_conn *c, struct rpc_msg *msg)
{
    const struct rpc_hdr *h = &msg->hdr;
    const struct rpc_program *p;
    const char *why = "not allowed";
    uint32_t min;

    if (h->program == RPC_DUMP) {
        dump_call(msg);
        return;
    }
    p = find_program(c, h->program);
    if (p == NULL) {
        rpc_reply_error(msg, -EPROTONOSUPPORT, "no such program here");
        return;
    }
    min = p->version_min ? p->version_min : p->version;
    if (h->version < min || h->version > p->version) {
        rpc_reply_error(msg, -EPROTONOSUPPORT,
                        "this version of the program is not spoken here");
        return;
    }
    if (h->procedure >= p->n_procs || p->procs[h->procedure].handle == NULL) {
        rpc_reply_error(msg, -ENOSYS, "no such procedure");
        return;
    }
    if (c->listener != NULL && c->listener->may != NULL &&
        !c->listener->may(c, h->program, h->procedure, &why, c->ctx)) {
        rpc_reply_error(msg, -EACCES, why);
        return;
    }
    p->procs[h->procedure].handle(msg, p->ctx);
}

static int request_in(struct rpc_conn *c, const struct rpc_hdr *h,
                      struct cfs_blob body, struct cfs_buf payload)
{
    struct rpc_in *in = in_new(c);

    *in = (struct rpc_in){
        .m = {.conn = c, .hdr = *h, .body = body, .payload = payload},
        .chunk = cfs_buf_ref(c->rx.chunk),
    };
    cfs_list_add_tail(&c->msgs, &in->m.link);
    c->n_msgs++;
    dispatch(c, &in->m);
    return 0;
}

int rpc_frame_in(struct rpc_conn *c, const struct rpc_hdr *h,
                 struct cfs_blob body, struct cfs_buf payload,
                 const char **ret_why)
{
    if ((h->flags & CFS_RPC_REPLY) != 0)
        return reply_in(c, h, body, payload, ret_why);
    return request_in(c, h, body, payload);
}

/* -- answering ------------------------------------------------------------ */

static void let_go(struct rpc_msg *msg)
{
    struct rpc_in *in = container_of(msg, struct rpc_in, m);
    struct rpc_conn *c = msg->conn;

    cfs_buf_unref(&in->m.payload);
    cfs_buf_unref(&in->chunk);
    cfs_list_del(&in->m.link);
    if (c == NULL) {
        free(in);
        return;
    }
    c->n_msgs--;
    cfs_list_add_head(&c->spare, &in->m.link);
    rpc_relieve(c);
}

static void answer(struct rpc_msg *msg, int status, uint16_t flags,
                   struct cfs_blob body, struct cfs_buf payload)
{
    struct rpc_hdr h = msg->hdr;

    assert(status <= 0 && status >= CFS_RPC_STATUS_MIN);
    if (msg->conn != NULL) {
        h.flags = CFS_RPC_REPLY | flags;
        h.status = status;
        rpc_tx_frame(msg->conn, &h, body, payload);
    }
    let_go(msg);
}

void rpc_reply_error(struct rpc_msg *msg, int status, const char *text)
{
    struct cfs_blob body = {text, 0};

    assert(status < 0);
    if (text != NULL)
        body.len = (uint32_t)strnlen(text, CFS_ERR_TEXT - 1);
    answer(msg, status, CFS_RPC_TEXT, body, (struct cfs_buf){0});
}

void rpc_reply_status(struct rpc_msg *msg, int status, struct cfs_blob body,
                      struct cfs_buf payload)
{
    if (body.len > CFS_RPC_BODY_MAX || payload.len > CFS_RPC_PAYLOAD_MAX)
        rpc_reply_error(msg, -EMSGSIZE, "the answer is too long");
    else
        answer(msg, status, 0, body, payload);
}

void rpc_reply(struct rpc_msg *msg, struct cfs_blob body,
               struct cfs_buf payload)
{
    rpc_reply_status(msg, 0, body, payload);
}

/* -- the connection as a whole -------------------------------------------- */

static void on_pong(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    container_of(call, struct rpc_conn, ping)->pinging = false;
}

void rpc_ping(struct rpc_conn *c)
{
    c->pinging = true;
    rpc_call(c, &c->ping, &rpc_to_dump, RPC_DUMP_PING, (struct cfs_blob){0},
             (struct cfs_buf){0}, 0, on_pong);
}

void rpc_conn_ping(struct rpc_conn *c)
{
    if (rpc_conn_is_up(c) && !c->pinging)
        rpc_ping(c);
}

void rpc_calls_drop(struct rpc_conn *c)
{
    struct cfs_list *l;

    if (c->pinging)
        unpaired(&c->ping, -ENOTCONN); /* nobody waits for it */
    c->pinging = false;
    for (unsigned i = 0; i < RPC_BUCKETS; i++)
        while (!cfs_list_empty(&c->calls[i]))
            end_call(c->loop,
                     cfs_list_entry(c->calls[i].next, struct rpc_call, link),
                     -ENOTCONN);
    while ((l = cfs_list_pop(&c->msgs)) != NULL)
        cfs_list_entry(l, struct rpc_in, m.link)->m.conn = NULL;
    c->n_msgs = 0;
}

bool rpc_pressed(const struct rpc_conn *c)
{
    return c->n_msgs >= c->opts.max_calls ||
           c->tx.replies >= c->opts.send_high;
}

void rpc_relieve(struct rpc_conn *c)
{
    if (c->state == RPC_UP && c->rx.paused &&
        c->n_msgs <= c->opts.max_calls / 2 &&
        c->tx.replies <= c->opts.send_high / 2)
        cfs_task_post(c->loop, &c->resume);
}
