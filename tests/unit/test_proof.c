/* SPDX-License-Identifier: Apache-2.0 */
/* test_proof.c - rpc/proof.h, and the greeting of a client and a brick over
 * TCP, tried as a stranger would. */
#include "rpc/proof.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/unit/protocol_rig.h"

#define VOLUME "77777777-2222-3333-4444-555555555555"

static const uint8_t of_volume[RPC_SECRET] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
    16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

/* -- the arithmetic ------------------------------------------------------- */

static void secrets_and_proofs_are_hmac_sha_256(void **state)
{
    struct rpc_proof_input in = {.role = RPC_PROOF_CLIENT};
    uint8_t secret[RPC_SECRET], proof[RPC_PROOF];
    char text[RPC_SECRET_TEXT];

    rpc_client_secret(of_volume, "node:n1", 7, secret);
    rpc_secret_print(secret, text);
    assert_string_equal(text, "efca555e9efdec652df8eeb744c92bcfccfdbfdc"
                        "e112f9112774c07bacb62387");
    memset(in.volume.b, 0x11, 16);
    memset(in.brick.b, 0x22, 16);
    memset(in.client_nonce, 0x33, RPC_NONCE);
    memset(in.brick_nonce, 0x44, RPC_NONCE);
    rpc_proof(secret, &in, proof);
    rpc_secret_print(proof, text);
    assert_string_equal(text, "fe0b5627055d49afe07479633329fdeca741fa75"
                        "31c401dfe22d7a9a1306103a");
}

static void everything_that_is_signed_changes_the_proof(void **state)
{
    struct rpc_proof_input in = {.role = RPC_PROOF_CLIENT};
    uint8_t secret[RPC_SECRET], other[RPC_SECRET], want[RPC_PROOF];
    uint8_t got[RPC_PROOF];
    uint8_t *const parts[] = {in.volume.b, in.brick.b, in.client_nonce,
                              in.brick_nonce};

    rpc_client_secret(of_volume, "a", 1, secret);
    rpc_client_secret(of_volume, "a", 2, other);
    assert_false(rpc_proof_eq(secret, other));
    rpc_client_secret(of_volume, "b", 1, other);
    assert_false(rpc_proof_eq(secret, other));
    rpc_proof(secret, &in, want);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(parts); i++) {
        parts[i][15] ^= 1;
        rpc_proof(secret, &in, got);
        assert_false(rpc_proof_eq(want, got));
        parts[i][15] ^= 1;
    }
    in.role = RPC_PROOF_BRICK;
    rpc_proof(secret, &in, got);
    assert_false(rpc_proof_eq(want, got));
}

static void a_secret_as_text(void **state)
{
    uint8_t secret[RPC_SECRET] = {0};
    char text[RPC_SECRET_TEXT];

    rpc_secret_print(of_volume, text);
    assert_int_equal(rpc_secret_parse(text, secret), 0);
    assert_memory_equal(secret, of_volume, RPC_SECRET);
    text[10] = 'g';
    assert_int_equal(rpc_secret_parse(text, secret), -EINVAL);
    assert_int_equal(rpc_secret_parse("", secret), -EINVAL);
    assert_int_equal(rpc_secret_parse("00", secret), -EINVAL);
}

static void lists_of_removed_clients(void **state)
{
    const char *list = "alice=3,addr:*=1,bob=0";

    assert_int_equal(rpc_client_list_check(list), 0);
    assert_int_equal(rpc_client_list_check(NULL), 0);
    assert_int_equal(rpc_client_list_check(""), 0);
    assert_int_equal(rpc_client_list_check("alice"), -EINVAL);
    assert_int_equal(rpc_client_list_check("=3"), -EINVAL);
    assert_int_equal(rpc_client_list_check("alice=x"), -EINVAL);
    assert_int_equal(rpc_client_list_check("alice=-1"), -EINVAL);
    assert_int_equal(rpc_client_list_check("alice=3;bob=2"), -EINVAL);
    assert_true(rpc_client_is_removed(list, "alice", 3));
    assert_false(rpc_client_is_removed(list, "alice", 4));
    assert_false(rpc_client_is_removed(list, "alic", 0));
    assert_false(rpc_client_is_removed(list, "alice2", 0));
    assert_true(rpc_client_is_removed(list, "addr:10.0.0.1", 1));
    assert_false(rpc_client_is_removed(list, "addr:10.0.0.1", 2));
    assert_true(rpc_client_is_removed(list, "bob", 0));
    assert_false(rpc_client_is_removed(NULL, "bob", 0));
}

/* -- graphs --------------------------------------------------------------- */

static char secret_text[RPC_SECRET_TEXT];

/* The volume's secret of that number; 1 is of_volume. */
static void of_number(unsigned number, uint8_t ret[static RPC_SECRET])
{
    memcpy(ret, of_volume, RPC_SECRET);
    ret[0] = (uint8_t)(ret[0] + number - 1);
}

/* With secret @number, and the one before. */
static void set_secrets(struct world *w, unsigned number, const char *removed)
{
    uint8_t secret[RPC_SECRET];
    char now[RPC_SECRET_TEXT], before[RPC_SECRET_TEXT] = "", text[8];
    const struct cfs_kv opts[] = {{"brick-id", BRICK},
                                  {"listen-path", w->path},
                                  {"listen-address", "0.0.0.0"},
                                  {"volume-id", VOLUME},
                                  {"volume-secret", now},
                                  {"secret-number", text},
                                  {"volume-secret-before", before},
                                  {"removed-clients", removed}};
    struct cfs_err err = {0};

    of_number(number, secret);
    rpc_secret_print(secret, now);
    if (number > 1) {
        of_number(number - 1, secret);
        rpc_secret_print(secret, before);
    }
    snprintf(text, sizeof text, "%u", number);
    if (cfs_graph_reconfigure(w->server.graph, "server", opts,
                              CFS_ARRAY_SIZE(opts), &err) < 0)
        fail_msg("%s", err.text);
}

static void set_server(struct world *w, const char *removed, bool again)
{
    static const char *const leaf[] = {"leaf"};
    const struct cfs_kv opts[] = {{"brick-id", BRICK},
                                  {"listen-path", w->path},
                                  {"listen-address", "0.0.0.0"},
                                  {"volume-id", VOLUME},
                                  {"volume-secret", secret_text},
                                  {"node", "n1"},
                                  {"removed-clients", removed}};
    struct cfs_err err = {0};

    rpc_secret_print(of_volume, secret_text);
    if (again) {
        if (cfs_graph_reconfigure(w->server.graph, "server", opts,
                                  CFS_ARRAY_SIZE(opts), &err) < 0)
            fail_msg("%s", err.text);
        return;
    }
    new_graph(w, &w->server);
    assert_int_equal(cfs_graph_add(w->server.graph, "leaf", "test/fake", NULL,
                                   0, NULL, 0, &err), 0);
    if (cfs_graph_add(w->server.graph, "server", "protocol/server", opts,
                      CFS_ARRAY_SIZE(opts), leaf, 1, &err) < 0)
        fail_msg("%s", err.text);
    start_graph(&w->server);
    w->leaf = cfs_graph_find(w->server.graph, "leaf");
}

/* A client @name whose secret is that of @secret_of. */
static void start_tcp(struct world *w, struct side *s, const char *name,
                      const char *secret_of)
{
    uint8_t secret[RPC_SECRET];
    char text[RPC_SECRET_TEXT], port[8];
    const struct cfs_kv opts[] = {
        {"brick-id", BRICK},          {"remote-host", "127.0.0.1"},
        {"remote-port", port},        {"reconnect-delay", "10ms"},
        {"volume-id", VOLUME},        {"client-name", name},
        {"client-generation", "1"},   {"client-secret", text}};

    rpc_client_secret(of_volume, secret_of, 1, secret);
    rpc_secret_print(secret, text);
    snprintf(port, sizeof port, "%u", w->server.port);
    start_client(w, s, opts, CFS_ARRAY_SIZE(opts));
}

/* alice is there, at a brick from which @removed were removed. */
static void begin_attached(struct world *w, const char *removed)
{
    begin(w);
    set_server(w, removed, false);
    start_tcp(w, &w->client, "alice", "alice");
    WAIT(w, is_connecting);
    attach(w, &w->client);
    WAIT(w, is_up);
}

static void both_prove_and_the_session_is_attached(void **state)
{
    struct cfs_req *req;
    struct world w;

    begin_attached(&w, "");
    req = new_op(&w.client, CFS_FOP_GETATTR);
    ask(&w, &w.client, req, 0);
    assert_int_equal(req->status, 0);
    end_op(req);
    end(&w);
}

/* What is below is told who opens and attaches, whatever a client says. */
/* @s has the secret of alice that follows from the volume's of that number. */
static void set_client(struct world *w, struct side *s, unsigned number)
{
    uint8_t of[RPC_SECRET], secret[RPC_SECRET];
    char text[RPC_SECRET_TEXT], no[8], port[8];
    const struct cfs_kv opts[] = {
        {"brick-id", BRICK},          {"remote-host", "127.0.0.1"},
        {"remote-port", port},        {"reconnect-delay", "10ms"},
        {"volume-id", VOLUME},        {"client-name", "alice"},
        {"client-generation", "1"},   {"client-secret", text},
        {"secret-number", no}};
    struct cfs_err err = {0};

    of_number(number, of);
    rpc_client_secret(of, "alice", 1, secret);
    rpc_secret_print(secret, text);
    snprintf(no, sizeof no, "%u", number);
    snprintf(port, sizeof port, "%u", w->server.port);
    if (cfs_graph_reconfigure(s->graph, "client", opts,
                              CFS_ARRAY_SIZE(opts), &err) < 0)
        fail_msg("%s", err.text);
}

/* The volume's secret is renewed: who has not heard of it goes on, and may
 * even connect anew; but not when it is renewed again. */
static void a_renewed_secret_breaks_nobody_at_once(void **state)
{
    struct world w;

    begin_attached(&w, "");
    w.client.down = 0;
    set_secrets(&w, 2, "");
    pause_for(&w, 30 * CFS_MS);
    assert_int_equal(w.client.down, 0);
    set_secrets(&w, 2, "alice=1"); /* by the old one it is out, too */
    WAIT(&w, is_down);
    WAIT(&w, is_refused);
    w.client.connecting = 0;
    set_secrets(&w, 2, "");
    WAIT(&w, is_connecting); /* with the one before */
    attach(&w, &w.client);
    WAIT(&w, is_up);
    w.client.down = w.client.auth = 0;
    set_secrets(&w, 3, "");
    WAIT(&w, is_down);
    WAIT(&w, is_refused);
    assert_non_null(strstr(w.client.refused.text, "too old"));
    w.client.connecting = 0;
    set_client(&w, &w.client, 3);
    WAIT(&w, is_connecting);
    end(&w);
}

/* The client's mgmtd was faster than the brick's. */
static void a_newer_secret_is_waited_for(void **state)
{
    struct world w;

    begin_attached(&w, "");
    set_client(&w, &w.client, 2);
    w.client.down = 0;
    set_server(&w, "alice=1", true);
    WAIT(&w, is_down);
    w.client.connecting = 0;
    w.client.auth = 0;
    set_server(&w, "", true);
    pause_for(&w, 50 * CFS_MS);
    assert_int_equal(w.client.connecting, 0);
    set_secrets(&w, 2, "");
    WAIT(&w, is_connecting);
    end(&w);
}

static void expect_owner(struct world *w, struct side *s, enum cfs_fop fop,
                         const char *owner)
{
    struct cfs_req *req = new_op(s, fop), *below;
    void *op = req;

    if (fop == CFS_FOP_SESSION_OPEN)
        strcpy(((struct cfs_session_open *)op)->who.owner, "mallory");
    else
        strcpy(((struct cfs_session_attach *)op)->session.owner, "mallory");
    wind(s, req);
    below = take(w);
    op = below;
    if (fop == CFS_FOP_SESSION_OPEN)
        assert_string_equal(((struct cfs_session_open *)op)->who.owner, owner);
    else
        assert_string_equal(((struct cfs_session_attach *)op)->session.owner,
                            owner);
    cfs_unwind(below, -EACCES);
    WAIT(w, op_done);
    assert_int_equal(req->status, -EACCES);
    end_op(req);
}

static void sessions_carry_the_name_that_was_proved(void **state)
{
    struct world w;

    begin(&w);
    set_server(&w, "", false);
    start_tcp(&w, &w.client, "alice", "alice");
    start_client_unix(&w, &w.second);
    WAIT(&w, is_connecting);
    WAIT(&w, second_is_connecting);
    expect_owner(&w, &w.client, CFS_FOP_SESSION_OPEN, "alice");
    expect_owner(&w, &w.client, CFS_FOP_SESSION_ATTACH, "alice");
    expect_owner(&w, &w.second, CFS_FOP_SESSION_OPEN, "node:n1");
    expect_owner(&w, &w.second, CFS_FOP_SESSION_ATTACH, "node:n1");
    end(&w);
}

/* The brick cannot prove to it that it knows that secret either. */
static void a_wrong_secret_is_noticed_by_the_client_first(void **state)
{
    struct world w;

    begin(&w);
    set_server(&w, "", false);
    start_tcp(&w, &w.client, "alice", "mallory");
    WAIT(&w, is_refused);
    assert_int_equal(w.client.refused.code, -EACCES);
    assert_non_null(strstr(w.client.refused.text, "brick of this volume"));
    pause_for(&w, 60 * CFS_MS);
    assert_int_equal(w.client.connecting, 0);
    end(&w);
}

static void a_client_without_a_secret_is_refused(void **state)
{
    char port[8];
    const struct cfs_kv opts[] = {{"brick-id", BRICK},
                                  {"remote-host", "127.0.0.1"},
                                  {"remote-port", port},
                                  {"reconnect-delay", "10ms"}};
    struct world w;

    begin(&w);
    set_server(&w, "", false);
    snprintf(port, sizeof port, "%u", w.server.port);
    start_client(&w, &w.client, opts, CFS_ARRAY_SIZE(opts));
    WAIT(&w, is_refused); /* from root's port, too */
    assert_int_equal(w.client.refused.code, -EACCES);
    assert_int_equal(w.client.connecting, 0);
    end(&w);
}

static void a_removed_client_is_cut_and_others_go_on(void **state)
{
    struct cfs_req *req;
    struct world w;

    begin_attached(&w, "carol=9");
    w.client.down = 0;
    set_server(&w, "carol=9,bob=1", true);
    pause_for(&w, 30 * CFS_MS);
    assert_int_equal(w.client.down, 0);
    set_server(&w, "carol=9,bob=1,alice=1", true);
    WAIT(&w, is_down);
    WAIT(&w, is_refused);
    assert_non_null(strstr(w.client.refused.text, "removed"));
    w.client.connecting = 0;
    set_server(&w, "carol=9,bob=1,alice=0", true); /* an older secret's */
    WAIT(&w, is_connecting);
    attach(&w, &w.client);
    req = new_op(&w.client, CFS_FOP_GETATTR);
    ask(&w, &w.client, req, 0);
    end_op(req);
    end(&w);
}

static void without_a_secret_it_listens_nowhere_but_here(void **state)
{
    static const char *const leaf[] = {"leaf"};
    struct cfs_kv opts[] = {{"brick-id", BRICK},
                            {"listen-address", "0.0.0.0"}};
    struct cfs_err err = {0};
    struct world w;

    begin(&w);
    new_graph(&w, &w.server);
    assert_int_equal(cfs_graph_add(w.server.graph, "leaf", "test/fake", NULL,
                                   0, NULL, 0, &err), 0);
    assert_int_equal(cfs_graph_add(w.server.graph, "server",
                                   "protocol/server", opts, 2, leaf, 1, &err),
                     0);
    assert_int_equal(cfs_graph_init(w.server.graph, &err), -EACCES);
    assert_non_null(strstr(err.text, "volume-secret"));
    cfs_graph_free(w.server.graph);
    w.server.graph = NULL;
    end(&w);
}

static void another_address_is_listened_on_while_it_runs(void **state)
{
    struct cfs_kv opts[] = {{"brick-id", BRICK},
                            {"listen-path", NULL},
                            {"listen-address", "127.0.0.1"},
                            {"volume-id", VOLUME},
                            {"volume-secret", secret_text}};
    struct cfs_err err = {0};
    struct world w;
    uint16_t port;

    begin(&w);
    opts[1].value = w.path;
    set_server(&w, "", false);
    port = w.server.port;
    w.server.port = 0;
    assert_int_equal(cfs_graph_reconfigure(w.server.graph, "server", opts,
                                           CFS_ARRAY_SIZE(opts), &err), 0);
    assert_in_range(w.server.port, 49152, 60999); /* told again */
    start_tcp(&w, &w.client, "alice", "alice");
    WAIT(&w, is_connecting);
    assert_true(port != 0);
    end(&w);
}

/* -- by hand -------------------------------------------------------------- */

static int dial(struct world *w)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(w->server.port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (void *)&in, sizeof in), 0);
    return fd;
}

/* The reply's status; its body in @ret (512 bytes). */
static int say(struct world *w, int fd, uint32_t proc, struct cfs_blob body,
               uint8_t *ret, uint32_t *ret_len)
{
    struct rpc_hdr h = {.program = RPC_SESSION, .version = 1,
                        .procedure = proc, .body_len = body.len};
    uint8_t b[CFS_RPC_HDR + 512];
    const char *why;

    rpc_hdr_pack(&h, b);
    memcpy(b + CFS_RPC_HDR, body.p, body.len);
    assert_int_equal(send(fd, b, CFS_RPC_HDR + body.len, 0),
                     (ssize_t)(CFS_RPC_HDR + body.len));
    pause_for(w, 20 * CFS_MS);
    assert_int_equal(recv(fd, b, CFS_RPC_HDR, MSG_DONTWAIT), CFS_RPC_HDR);
    assert_int_equal(rpc_hdr_unpack(b, &h, &why), 0);
    assert_true(h.body_len <= 512);
    if (h.body_len > 0)
        assert_int_equal(recv(fd, b, h.body_len, MSG_DONTWAIT), h.body_len);
    if (ret) {
        memcpy(ret, b, h.body_len);
        *ret_len = h.body_len;
    }
    return h.status;
}

/* A challenge as @name; the right proof that follows, for those who know. */
static int challenge(struct world *w, int fd, const char *name,
                     const uint8_t nonce[RPC_NONCE], uint8_t ret_proof[])
{
    struct mgmt_challenge q = {name, 1, 1, {nonce, RPC_NONCE}};
    struct rpc_proof_input in = {.role = RPC_PROOF_CLIENT};
    struct mgmt_challenge_reply r;
    uint8_t secret[RPC_SECRET], body[512];
    struct cfs_arena a;
    uint32_t len;
    int status;

    cfs_arena_init(&a);
    status = say(w, fd, RPC_SESSION_CHALLENGE, mgmt_pack_challenge(&a, &q),
                 body, &len);
    if (status == 0) {
        assert_int_equal(mgmt_unpack_challenge_reply(
                             &a, (struct cfs_blob){body, len}, &r), 0);
        cfs_uuid_parse(VOLUME, &in.volume);
        cfs_uuid_parse(BRICK, &in.brick);
        memcpy(in.client_nonce, nonce, RPC_NONCE);
        memcpy(in.brick_nonce, r.nonce.p, RPC_NONCE);
        rpc_client_secret(of_volume, name, 1, secret);
        rpc_proof(secret, &in, ret_proof);
        in.role = RPC_PROOF_BRICK;
        rpc_proof(secret, &in, secret);
        assert_true(rpc_proof_eq(secret, r.proof.p));
    }
    cfs_arena_fini(&a);
    return status;
}

static int prove(struct world *w, int fd, const void *proof, uint32_t len)
{
    const struct mgmt_prove q = {.proof = {proof, len}};
    struct cfs_arena a;
    int status;

    cfs_arena_init(&a);
    status = say(w, fd, RPC_SESSION_PROVE, mgmt_pack_prove(&a, &q), NULL,
                 NULL);
    cfs_arena_fini(&a);
    return status;
}

static int hello(struct world *w, int fd)
{
    struct mgmt_hello q = {0};
    struct cfs_arena a;
    int status;

    cfs_uuid_parse(BRICK, &q.brick);
    cfs_arena_init(&a);
    status = say(w, fd, RPC_SESSION_HELLO, mgmt_pack_hello(&a, &q), NULL,
                 NULL);
    cfs_arena_fini(&a);
    return status;
}

static void a_stranger_s_proofs_are_refused(void **state)
{
    const uint8_t nonce[RPC_NONCE] = {1, 2, 3};
    uint8_t proof[RPC_PROOF], first[RPC_PROOF], zero[RPC_PROOF] = {0};
    struct world w;
    int fd, other;

    begin(&w);
    set_server(&w, "gone=5", false);
    fd = dial(&w);
    assert_int_equal(hello(&w, fd), -EACCES);
    assert_int_equal(prove(&w, fd, zero, RPC_PROOF), -EACCES); /* unasked */
    assert_int_equal(challenge(&w, fd, "alice", nonce, proof), 0);
    assert_int_equal(hello(&w, fd), -EACCES); /* not proved yet */
    assert_int_equal(prove(&w, fd, zero, RPC_PROOF), -EACCES);
    assert_int_equal(prove(&w, fd, proof, RPC_PROOF), -EACCES); /* too late */
    assert_int_equal(challenge(&w, fd, "alice", nonce, first), 0);
    assert_int_equal(prove(&w, fd, first, RPC_PROOF - 1), -EACCES);
    assert_int_equal(challenge(&w, fd, "gone", nonce, proof), -EACCES);
    assert_int_equal(challenge(&w, fd, "a=1,b", nonce, proof), -EBADMSG);
    assert_int_equal(challenge(&w, fd, "", nonce, proof), -EBADMSG);

    /* What somebody else proved, said again: the brick's nonce is another. */
    assert_int_equal(challenge(&w, fd, "alice", nonce, first), 0);
    assert_int_equal(prove(&w, fd, first, RPC_PROOF), 0);
    assert_int_equal(hello(&w, fd), 0);
    other = dial(&w);
    assert_int_equal(challenge(&w, other, "alice", nonce, proof), 0);
    assert_int_equal(prove(&w, other, first, RPC_PROOF), -EACCES);
    assert_int_equal(hello(&w, other), -EACCES);
    close(other);
    close(fd);
    end(&w);
}

/* The brick's own answer, sent back to it. */
static void a_proof_cannot_be_reflected(void **state)
{
    const uint8_t nonce[RPC_NONCE] = {9};
    const struct mgmt_challenge q = {"alice", 1, 1, {nonce, RPC_NONCE}};
    struct mgmt_challenge_reply r;
    struct cfs_arena a;
    struct world w;
    uint8_t body[512];
    uint32_t len;
    int fd;

    begin(&w);
    set_server(&w, "", false);
    fd = dial(&w);
    cfs_arena_init(&a);
    assert_int_equal(say(&w, fd, RPC_SESSION_CHALLENGE,
                         mgmt_pack_challenge(&a, &q), body, &len), 0);
    assert_int_equal(mgmt_unpack_challenge_reply(
                         &a, (struct cfs_blob){body, len}, &r), 0);
    assert_int_equal(prove(&w, fd, r.proof.p, r.proof.len), -EACCES);
    cfs_arena_fini(&a);
    close(fd);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_and_proofs_are_hmac_sha_256),
        cmocka_unit_test(everything_that_is_signed_changes_the_proof),
        cmocka_unit_test(a_secret_as_text),
        cmocka_unit_test(lists_of_removed_clients),
        cmocka_unit_test(both_prove_and_the_session_is_attached),
        cmocka_unit_test(a_renewed_secret_breaks_nobody_at_once),
        cmocka_unit_test(a_newer_secret_is_waited_for),
        cmocka_unit_test(sessions_carry_the_name_that_was_proved),
        cmocka_unit_test(a_wrong_secret_is_noticed_by_the_client_first),
        cmocka_unit_test(a_client_without_a_secret_is_refused),
        cmocka_unit_test(a_removed_client_is_cut_and_others_go_on),
        cmocka_unit_test(without_a_secret_it_listens_nowhere_but_here),
        cmocka_unit_test(another_address_is_listened_on_while_it_runs),
        cmocka_unit_test(a_stranger_s_proofs_are_refused),
        cmocka_unit_test(a_proof_cannot_be_reflected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
