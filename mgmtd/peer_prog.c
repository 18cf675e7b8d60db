/* SPDX-License-Identifier: Apache-2.0 */
/* peer_prog.c - program PEER: calls to other mgmtds and from them; see
 * peer.h. Who may call what is in access.c. */
#include <stdio.h>

#include "mgmtd/peer.h"

#define WHO "peer"

/* Every procedure, beside who does it. */
static const struct {
    const char   *name;
    peer_handler *handle;
} peer_procs[RPC_PEER_PROCS] = {
    [RPC_PEER_GREET] = {"greet", peer_on_greet},
    [RPC_PEER_JOIN] = {"join", peer_on_join},
    [RPC_PEER_INVITE] = {"invite", peer_on_invite},
    [RPC_PEER_LEAVE] = {"leave", peer_on_leave},
    [RPC_PEER_SIGN] = {"sign", peer_on_sign},
    [RPC_PEER_CA_KEYS] = {"ca_keys", peer_on_ca_keys},
    [RPC_PEER_ENGINE_STATUS] = {"engine-status", engine_on_status},
    [RPC_PEER_ENGINE_PREPARE] = {"engine-prepare", engine_on_prepare},
    [RPC_PEER_PREPARE] = {"prepare", node_on_prepare},
    [RPC_PEER_UNDO] = {"undo", node_on_undo},
    [RPC_PEER_BRICKS] = {"bricks", node_on_bricks},
    [RPC_PEER_BRICK_CALL] = {"brick_call", node_on_brick_call},
    [RPC_PEER_SILENCE_ASK] = {"silence_ask", silence_on_ask},
    [RPC_PEER_SILENCE_REPORT] = {"silence_report", silence_on_report},
};

/* -- calling ------------------------------------------------------------- */

struct peer_out {
    struct rpc_call  call;
    struct cfs_task  task; /* an answer without a line */
    peer_done       *done;
    void            *arg;
    int              status;
    json_t          *result;
    char             text[CFS_ERR_TEXT];
};

static void out_end(struct peer_out *o, int status, json_t *result,
                    const char *text)
{
    if (o->done)
        o->done(o->arg, status, result, text ? text : "");
    json_decref(o->result);
    free(o);
}

static void on_out_task(struct cfs_task *t)
{
    struct peer_out *o = container_of(t, struct peer_out, task);

    out_end(o, o->status, o->result, o->text);
}

static void answer_later(struct mgmtd *m, struct peer_out *o, int status,
                         json_t *result, const char *text)
{
    o->status = status;
    o->result = result;
    snprintf(o->text, sizeof o->text, "%s", text);
    cfs_task_init(&o->task, on_out_task);
    cfs_task_post(m->host.loop, &o->task);
}

/* The object in @body, or NULL. */
static json_t *body_json(struct cfs_blob body)
{
    struct mgmt_peer_json msg;
    struct cfs_arena a;
    json_t *json = NULL;

    cfs_arena_init(&a);
    if (mgmt_unpack_peer_json(&a, body, &msg) == 0)
        json = json_loads(msg.json, JSON_REJECT_DUPLICATES, NULL);
    cfs_arena_fini(&a);
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}

static void on_reply(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct peer_out *o = container_of(call, struct peer_out, call);
    const char *text = reply ? rpc_reply_text(reply) : NULL;

    if (status == 0) {
        o->result = body_json(reply->body);
        if (!o->result)
            status = -EBADMSG;
    }
    out_end(o, status, o->result, text ? text : cfs_err_str(status));
}

static void call_self(struct mgmtd *m, struct peer_out *o, uint32_t proc,
                      json_t *args)
{
    struct peer_req *req;

    if (proc >= RPC_PEER_PROCS || !peer_procs[proc].handle) {
        json_decref(args);
        answer_later(m, o, -ENOSYS, NULL, "no such procedure");
        return;
    }
    req = mem_new(sizeof *req);
    req->m = m;
    req->from = peer_self(m);
    req->out = o;
    req->args = args;
    peer_procs[proc].handle(req);
}

/* @c carries PEER already. @args is taken over. */
void peer_call_on(struct rpc_conn *c, uint32_t proc, json_t *args,
                  uint32_t timeout_ms, peer_done *done, void *arg)
{
    struct peer_out *o = mem_new(sizeof *o);
    char *text = mem_ok(json_dumps(args, JSON_COMPACT));
    struct cfs_blob body = {0};
    struct cfs_arena a;

    o->done = done;
    o->arg = arg;
    cfs_arena_init(&a);
    if (strlen(text) <= MGMT_TEXT_MAX)
        body = mgmt_pack_peer_json(&a,
                                   &(struct mgmt_peer_json){.json = text});
    else
        body.len = UINT32_MAX; /* rpc says -EMSGSIZE */
    rpc_call(c, &o->call, &rpc_to_peer, proc, body, (struct cfs_buf){0},
             timeout_ms, on_reply);
    cfs_arena_fini(&a);
    free(text);
    json_decref(args);
}

void peer_call(struct peer *p, uint32_t proc, json_t *args,
               uint32_t timeout_ms, peer_done *done, void *arg)
{
    struct peer_out *o;

    if (!p->self && p->up && p->conn) {
        peer_call_on(p->conn, proc, args, timeout_ms, done, arg);
        return;
    }
    o = mem_new(sizeof *o);
    o->done = done;
    o->arg = arg;
    if (p->self) {
        call_self(p->m, o, proc, args);
        return;
    }
    json_decref(args);
    char *why = mem_printf("node %s cannot be reached%s%s", p->name,
                           *p->problem ? ": " : "", p->problem);

    answer_later(p->m, o, -ENOTCONN, NULL, why);
    free(why);
}

void peers_tell(struct mgmtd *m, uint32_t proc, json_t *args)
{
    cfs_list_for_each(l, &m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (!p->self && p->up)
            peer_call(p, proc, json_incref(args), 0, NULL, NULL);
    }
}

/* -- being called -------------------------------------------------------- */

static void req_free(struct peer_req *req)
{
    json_decref(req->args);
    free(req);
}

void peer_reply(struct peer_req *req, json_t *result)
{
    struct mgmt_peer_json msg = {0};
    struct cfs_arena a;
    char *text;

    if (!result)
        result = mem_ok(json_object());
    if (req->out) {
        answer_later(req->m, req->out, 0, result, "");
        req_free(req);
        return;
    }
    text = mem_ok(json_dumps(result, JSON_COMPACT));
    msg.json = text;
    cfs_arena_init(&a);
    if (strlen(text) > MGMT_TEXT_MAX)
        rpc_reply_error(req->msg, -EMSGSIZE, "the answer is too long");
    else
        rpc_reply(req->msg, mgmt_pack_peer_json(&a, &msg),
                  (struct cfs_buf){0});
    cfs_arena_fini(&a);
    free(text);
    json_decref(result);
    req_free(req);
}

void peer_fail(struct peer_req *req, const struct cfs_err *err)
{
    const int code = err->code < 0 ? err->code : -EIO;

    if (req->out)
        answer_later(req->m, req->out, code, NULL, err->text);
    else
        rpc_reply_error(req->msg, code, err->text);
    req_free(req);
}

static void on_call(struct rpc_msg *msg, void *ctx)
{
    struct mgmtd *m = ctx;
    const uint32_t proc = msg->hdr.procedure;
    json_t *args = body_json(msg->body);
    struct peer_req *req;

    if (!args) {
        rpc_reply_error(msg, -EBADMSG, "the body is no JSON object");
        return;
    }
    req = mem_new(sizeof *req);
    req->m = m;
    req->from = peer_of(m, msg);
    req->msg = msg;
    req->args = args;
    if (!req->from && !rpc_conn_user(msg->conn)) { /* on our line to it */
        struct cfs_err err = {0};

        cfs_err_set(&err, -EACCES, "not before the greeting");
        peer_fail(req, &err);
        return;
    }
    peer_procs[proc].handle(req);
}

void peer_program(struct mgmtd *m, struct rpc_program *ret)
{
    static struct rpc_proc procs[RPC_PEER_PROCS];

    for (unsigned i = 0; i < RPC_PEER_PROCS; i++)
        if (peer_procs[i].handle)
            procs[i] = (struct rpc_proc){peer_procs[i].name, on_call};
    *ret = rpc_to_peer;
    ret->procs = procs;
    ret->n_procs = RPC_PEER_PROCS;
    ret->ctx = m;
}
