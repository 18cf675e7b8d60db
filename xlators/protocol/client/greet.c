/* SPDX-License-Identifier: Apache-2.0 */
/* greet.c - the greeting: what a client and a brick say before any operation.
 *
 *   DUMP.LIST          what versions of FOP the brick speaks
 *   SESSION.HELLO      which brick is meant: a port may belong to another one
 *                      by now
 *
 * and over TCP before HELLO, where this client has a secret (rpc/proof.h):
 *
 *   SESSION.CHALLENGE  the brick proves that it belongs to the volume
 *   SESSION.PROVE      we prove who we are
 *
 * When all are answered well the transport is there: CHILD_CONNECTING. Any
 * other outcome ends the connection, which is tried again.
 */
#include "xlators/protocol/client/client.h"

#define GREET_MS 10000u

/* -- refusals ------------------------------------------------------------- */

static void refused(struct cl *cl, int code, const char *why)
{
    struct cfs_err err = {0};

    if (!cl->told_refused) {
        cl->told_refused = true;
        cfs_err_set(&err, code, "%s: %s", cl->addr.text, why);
        cfs_log_warning(cl->xl->log, cl->xl->name, "refused: %s", err.text);
        cfs_notify_up(cl->xl, (struct cfs_event){.type = CFS_EV_AUTH_FAILED,
                                                 .err = &err});
    }
    rpc_conn_reset(cl->conn, why);
}

/* -- the greeting --------------------------------------------------------- */

static void greeted(struct cl *cl)
{
    assert(cl->greetings > 0);
    if (--cl->greetings > 0)
        return;
    cl->state = CL_READY;
    cl->told_down = false;
    cl->told_refused = false;
    cfs_log_debug(cl->xl->log, cl->xl->name, "%s: transport is there",
                  rpc_conn_name(cl->conn));
    cfs_notify_up(cl->xl,
                  (struct cfs_event){.type = CFS_EV_CHILD_CONNECTING});
}

/* The highest version of FOP that both ends know; 0: none. */
static uint32_t common_version(const struct mgmt_programs *programs)
{
    for (uint32_t i = 0; i < programs->n; i++) {
        const struct mgmt_program *p = &programs->p[i];

        if (p->number != RPC_FOP || p->version_min > RPC_FOP_VERSION)
            continue;
        if (p->version >= RPC_FOP_VERSION)
            return RPC_FOP_VERSION;
        if (p->version >= RPC_FOP_VERSION_MIN)
            return p->version;
    }
    return 0;
}

static void on_dump(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct cl *cl = container_of(call, struct cl, dump);
    struct mgmt_dump_reply r;
    struct cfs_arena a;
    uint32_t version = 0;

    if (cl->greetings == 0)
        return; /* the other half has failed */
    if (reply == NULL || status < 0) {
        rpc_conn_reset(cl->conn, "it does not say what it speaks");
        return;
    }
    cfs_arena_init(&a);
    if (mgmt_unpack_dump_reply(&a, reply->body, &r) == 0)
        version = common_version(&r.programs);
    cfs_arena_fini(&a);
    if (version == 0) {
        cl->greetings = 0;
        refused(cl, -EPROTONOSUPPORT,
                   "the brick speaks no version of the protocol that this "
                   "client knows: one of both is too old");
        return;
    }
    cl->fop = rpc_to_fop;
    cl->fop.version = version;
    greeted(cl);
}

static void on_hello(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct cl *cl = container_of(call, struct cl, hello);
    const char *text;

    if (cl->greetings == 0)
        return;
    if (reply == NULL || status == -EAGAIN) {
        rpc_conn_reset(cl->conn, "the brick does not serve yet");
        return;
    }
    if (status < 0) {
        text = rpc_reply_text(reply);
        cl->greetings = 0;
        refused(cl, status, text != NULL ? text : cfs_err_str(status));
        return;
    }
    greeted(cl);
}

static void say_hello(struct cl *cl)
{
    const struct mgmt_hello hello = {
        .brick = cl->brick,
        .lz4 = cl->compression == CL_COMPRESSION_LZ4,
    };
    struct cfs_arena a;

    cfs_arena_init(&a);
    rpc_call(cl->conn, &cl->hello, &rpc_to_session, RPC_SESSION_HELLO,
             mgmt_pack_hello(&a, &hello), (struct cfs_buf){0}, GREET_MS,
             on_hello);
    cfs_arena_fini(&a);
}

/* -- who both are --------------------------------------------------------- */

static void on_prove(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct cl *cl = container_of(call, struct cl, prove);
    const char *text;

    if (cl->greetings == 0)
        return;
    if (reply == NULL) {
        rpc_conn_reset(cl->conn, "the brick does not answer");
        return;
    }
    if (status < 0) {
        text = rpc_reply_text(reply);
        cl->greetings = 0;
        refused(cl, status, text != NULL ? text : cfs_err_str(status));
        return;
    }
    greeted(cl);
}

/* The brick's @proof is right: ours, into @ret. */
static int answer_challenge(struct cl *cl, const struct mgmt_challenge_reply *r,
                            uint8_t ret[static RPC_PROOF])
{
    struct rpc_proof_input in = {
        .role = RPC_PROOF_BRICK, .volume = cl->volume, .brick = cl->brick};
    uint8_t secret[RPC_SECRET], want[RPC_PROOF];

    if (rpc_secret_parse(cl->secret, secret) < 0 ||
        r->nonce.len != RPC_NONCE || r->proof.len != RPC_PROOF)
        return -EACCES;
    memcpy(in.client_nonce, cl->nonce, RPC_NONCE);
    memcpy(in.brick_nonce, r->nonce.p, RPC_NONCE);
    rpc_proof(secret, &in, want);
    if (!rpc_proof_eq(want, r->proof.p))
        return -EACCES;
    in.role = RPC_PROOF_CLIENT;
    rpc_proof(secret, &in, ret);
    return 0;
}

static void prove(struct cl *cl, struct rpc_msg *reply)
{
    struct mgmt_challenge_reply r;
    uint8_t proof[RPC_PROOF];
    const struct mgmt_prove msg = {.proof = {proof, sizeof proof}};
    struct cfs_arena a;

    cfs_arena_init(&a);
    if (mgmt_unpack_challenge_reply(&a, reply->body, &r) < 0 ||
        answer_challenge(cl, &r, proof) < 0) {
        cl->greetings = 0;
        refused(cl, -EACCES, "it does not prove that it is a brick of this "
                             "volume");
    } else {
        rpc_call(cl->conn, &cl->prove, &rpc_to_session, RPC_SESSION_PROVE,
                 mgmt_pack_prove(&a, &msg), (struct cfs_buf){0}, GREET_MS,
                 on_prove);
        say_hello(cl);
    }
    cfs_arena_fini(&a);
}

static void on_challenge(struct rpc_call *call, int status,
                         struct rpc_msg *reply)
{
    struct cl *cl = container_of(call, struct cl, challenge);
    const char *text;

    if (cl->greetings == 0)
        return;
    if (reply == NULL || status == -EAGAIN) {
        rpc_conn_reset(cl->conn, "the brick does not serve yet");
    } else if (status < 0) {
        text = rpc_reply_text(reply);
        cl->greetings = 0;
        refused(cl, status, text != NULL ? text : cfs_err_str(status));
    } else {
        prove(cl, reply);
    }
}

static void challenge(struct cl *cl)
{
    const struct mgmt_challenge msg = {
        .client = cl->client,
        .generation = cl->generation,
        .number = cl->number,
        .nonce = {cl->nonce, sizeof cl->nonce},
    };
    struct cfs_arena a;

    cfs_random(cl->xl->loop, cl->nonce, sizeof cl->nonce);
    cfs_arena_init(&a);
    rpc_call(cl->conn, &cl->challenge, &rpc_to_session, RPC_SESSION_CHALLENGE,
             mgmt_pack_challenge(&a, &msg), (struct cfs_buf){0}, GREET_MS,
             on_challenge);
    cfs_arena_fini(&a);
}

/* -- begin and end -------------------------------------------------------- */

void cl_greet(struct cl *cl)
{
    bool proves = cl->secret != NULL && *cl->secret != '\0' &&
                  !rpc_conn_is_local(cl->conn);

    cl->greetings = proves ? 3 : 2;
    rpc_call(cl->conn, &cl->dump, &rpc_to_dump, RPC_DUMP_LIST,
             (struct cfs_blob){0}, (struct cfs_buf){0}, GREET_MS, on_dump);
    if (proves)
        challenge(cl);
    else
        say_hello(cl);
}

void cl_greet_init(struct cl *cl)
{
    cfs_task_init(&cl->dump.task, NULL);
    cfs_task_init(&cl->challenge.task, NULL);
    cfs_task_init(&cl->prove.task, NULL);
    cfs_task_init(&cl->hello.task, NULL);
}

/* Their ends are queued now, and nobody waits for them. */
void cl_greet_stop(struct cl *cl)
{
    cl->greetings = 0;
    cfs_task_cancel(&cl->dump.task);
    cfs_task_cancel(&cl->challenge.task);
    cfs_task_cancel(&cl->prove.task);
    cfs_task_cancel(&cl->hello.task);
}
