/* SPDX-License-Identifier: Apache-2.0 */
/* greet.c - the greeting, program SESSION: which brick is meant, and who asks.
 *
 * The volume's secret may be renewed: clients that have not heard of it yet are
 * let in by the one before.
 *
 * On the Unix socket the peer must be root. Over TCP it must have proved that
 * it knows the secret of a client that was not removed (rpc/proof.h); a brick
 * without a volume secret serves loopback only, and there only root's ports.
 */
#include <stdio.h>
#include <stdlib.h>

#include "xlators/protocol/server/server.h"

bool srv_has_secret(const struct srv *srv)
{
    return srv->secret != NULL && *srv->secret != '\0';
}

const char *srv_secret(const struct srv *srv, uint64_t number)
{
    if (number == srv->number)
        return srv->secret;
    return number + 1 == srv->number && srv->before != NULL &&
           *srv->before != '\0' ? srv->before : NULL;
}

int srv_check_options(const struct srv *srv, struct cfs_err *err)
{
    uint8_t secret[RPC_SECRET];

    if (srv_has_secret(srv) && rpc_secret_parse(srv->secret, secret) < 0)
        return cfs_err_set(err, -EINVAL, "%s: volume-secret: expected 64 hex "
                           "digits", srv->xl->name);
    if (srv->before != NULL && *srv->before != '\0' &&
        rpc_secret_parse(srv->before, secret) < 0)
        return cfs_err_set(err, -EINVAL, "%s: volume-secret-before: expected "
                           "64 hex digits", srv->xl->name);
    if (rpc_client_list_check(srv->removed) < 0)
        return cfs_err_set(err, -EINVAL, "%s: removed-clients: expected "
                           "NAME=GENERATION,...", srv->xl->name);
    return 0;
}

/* A peer that is not who it should be: no client of ours does this. */
static void deny(struct srv *srv, struct rpc_msg *msg, const char *why)
{
    srv->refused++;
    cfs_log_warning(srv->xl->log, srv->xl->name, "%s: refused: %s",
                    rpc_conn_name(msg->conn), why);
    rpc_reply_error(msg, -EACCES, why);
}

static void ok(struct rpc_msg *msg)
{
    rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
}

/* -- the proof ------------------------------------------------------------ */

/* Text that goes into the log and into lists. */
static bool is_name(const char *s)
{
    for (const char *p = s; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~' || *p == '=' || *p == ',' || *p == '*')
            return false;
    return *s != '\0' && strlen(s) <= RPC_CLIENT_NAME;
}

static void challenge(struct srv *srv, struct srv_conn *sc,
                      struct rpc_msg *msg, const struct mgmt_challenge *q,
                      struct cfs_arena *a)
{
    struct rpc_proof_input in = {
        .role = RPC_PROOF_BRICK, .volume = srv->volume, .brick = srv->brick};
    uint8_t of_volume[RPC_SECRET], secret[RPC_SECRET], proof[RPC_PROOF];
    const struct mgmt_challenge_reply reply = {
        .nonce = {in.brick_nonce, sizeof in.brick_nonce},
        .proof = {proof, sizeof proof},
    };

    if (rpc_secret_parse(srv_secret(srv, q->number), of_volume) < 0)
        return; /* srv_check_options() has seen it */
    rpc_client_secret(of_volume, q->client, q->generation, secret);
    memcpy(in.client_nonce, q->nonce.p, RPC_NONCE);
    cfs_random(srv->xl->loop, in.brick_nonce, sizeof in.brick_nonce);
    rpc_proof(secret, &in, proof);
    in.role = RPC_PROOF_CLIENT;
    rpc_proof(secret, &in, sc->want);
    free(sc->client);
    sc->client = strdup(q->client);
    sc->generation = q->generation;
    sc->number = q->number;
    sc->challenged = sc->client != NULL;
    sc->proved = sc->greeted = false;
    rpc_reply(msg, mgmt_pack_challenge_reply(a, &reply), (struct cfs_buf){0});
}

static void on_challenge(struct rpc_msg *msg, void *ctx)
{
    struct srv *srv = ctx;
    struct srv_conn *sc = rpc_conn_user(msg->conn);
    struct mgmt_challenge q;
    struct cfs_arena a;

    cfs_arena_init(&a);
    if (mgmt_unpack_challenge(&a, msg->body, &q) < 0 ||
        q.nonce.len != RPC_NONCE || !is_name(q.client))
        rpc_reply_error(msg, -EBADMSG, "no valid challenge");
    else if (!srv->open)
        rpc_reply_error(msg, -EAGAIN, "the brick does not serve yet");
    else if (sc->session != 0)
        rpc_reply_error(msg, -EINVAL, "a session is attached already");
    else if (!srv_has_secret(srv))
        deny(srv, msg, "this brick knows no secret");
    else if (rpc_client_is_removed(srv->removed, q.client, q.generation))
        deny(srv, msg, "this client was removed");
    else if (q.number > srv->number) /* its mgmtd was faster than ours */
        rpc_reply_error(msg, -EAGAIN, "the brick does not know the volume's "
                                      "new secret yet");
    else if (srv_secret(srv, q.number) == NULL)
        deny(srv, msg, "its secret is too old; mgmtd has a newer one for it");
    else
        challenge(srv, sc, msg, &q, &a);
    cfs_arena_fini(&a);
}

static void on_prove(struct rpc_msg *msg, void *ctx)
{
    struct srv *srv = ctx;
    struct srv_conn *sc = rpc_conn_user(msg->conn);
    const bool challenged = sc->challenged;
    struct mgmt_prove q;
    struct cfs_arena a;

    sc->challenged = false; /* one attempt */
    cfs_arena_init(&a);
    if (mgmt_unpack_prove(&a, msg->body, &q) < 0) {
        rpc_reply_error(msg, -EBADMSG, "no valid proof");
    } else if (!challenged || q.proof.len != RPC_PROOF ||
               !rpc_proof_eq(sc->want, q.proof.p)) {
        deny(srv, msg, "it does not prove who it is");
    } else {
        sc->proved = true;
        ok(msg);
    }
    cfs_arena_fini(&a);
}

/* -- which brick ---------------------------------------------------------- */

static const char *why_not(const struct srv *srv, const struct srv_conn *sc)
{
    if (rpc_conn_is_local(sc->c) || !srv_has_secret(srv))
        return rpc_conn_is_privileged(sc->c)
                   ? NULL : "only root's connections are served";
    if (!sc->proved)
        return "it has not proved who it is; a volfile from clusterfs-mgmtd "
               "has the secret";
    return rpc_client_is_removed(srv->removed, sc->client, sc->generation)
               ? "this client was removed" : NULL;
}

void srv_owner(const struct srv_conn *sc, char ret[static CFS_OWNER_MAX])
{
    const char *node = sc->srv->node;

    memset(ret, 0, CFS_OWNER_MAX);
    if (sc->proved)
        snprintf(ret, CFS_OWNER_MAX, "%s", sc->client);
    else if (node != NULL && *node != '\0')
        snprintf(ret, CFS_OWNER_MAX, "node:%s", node);
}

static void on_hello(struct rpc_msg *msg, void *ctx)
{
    struct srv *srv = ctx;
    struct srv_conn *sc = rpc_conn_user(msg->conn);
    const char *why = why_not(srv, sc);
    struct mgmt_hello hello;
    struct cfs_arena a;
    char text[128], id[CFS_UUID_STR];
    int rc;

    cfs_arena_init(&a);
    rc = mgmt_unpack_hello(&a, msg->body, &hello);
    cfs_arena_fini(&a);
    if (rc < 0) {
        rpc_reply_error(msg, rc, "no valid greeting");
    } else if (why != NULL) {
        deny(srv, msg, why);
    } else if (!cfs_uuid_eq(hello.brick, srv->brick)) {
        cfs_uuid_print(srv->brick, id);
        snprintf(text, sizeof text, "this is another brick: %s", id);
        rpc_reply_error(msg, -ENODEV, text);
    } else if (!srv->open) {
        rpc_reply_error(msg, -EAGAIN, "the brick does not serve yet");
    } else {
        sc->greeted = true;
        rpc_conn_limit(sc->c, srv->max_calls, CFS_RPC_BODY_MAX);
        rpc_conn_set_lz4(sc->c, hello.lz4 != 0);
        ok(msg);
    }
}

const struct rpc_proc srv_session_procs[] = {
    [RPC_SESSION_HELLO] = {"hello", on_hello},
    [RPC_SESSION_CHALLENGE] = {"challenge", on_challenge},
    [RPC_SESSION_PROVE] = {"prove", on_prove},
};
const uint32_t srv_session_n_procs = CFS_ARRAY_SIZE(srv_session_procs);
