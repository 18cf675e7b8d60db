/* SPDX-License-Identifier: Apache-2.0 */
/* test_tls.c - connections over TLS: who is let in, as whom; who is not; and
 * ends that do not speak it, or not to its end. */
#include "tests/unit/sh.h"
#include "tests/unit/tls_rig.h"

#include "rpc/conn_impl.h"
#include "rpc/creds.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

static struct world world;

static int make_world(void **state)
{
    world_begin(&world);
    return 0;
}

static int drop_world(void **state)
{
    world_end(&world);
    return 0;
}

/* -- who is there --------------------------------------------------------- */

static void check_call(struct ends *e)
{
    struct caller c;

    send_call(e, e->conn, &c, ECHO_, "hello", (struct cfs_buf){0});
    await(e, &c);
    assert_int_equal(c.status, 0);
    assert_memory_equal(c.body, "hello", 5);
}

static void two_nodes_know_each_other(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own b = new_own(&world.nodes, "beta", DAY);
    struct ends e = {0};
    const char *name;
    char host[64];

    begin_tls(&e, member(&world, &a), member(&world, &b));
    WAIT(&e, is_up);
    assert_int_equal(rpc_conn_peer(e.conn, &name), RPC_PEER_NODE);
    assert_string_equal(name, "alpha");
    assert_int_equal(rpc_conn_peer(e.accepted, &name), RPC_PEER_NODE);
    assert_string_equal(name, "beta");
    rpc_conn_peer_host(e.accepted, host, sizeof host);
    assert_string_equal(host, "127.0.0.1");
    check_call(&e);
    end(&e);
    own_free(&a);
    own_free(&b);
}

/* An error that somebody else left behind, as libcurl does. */
static void leave_an_error(void)
{
    ERR_raise(ERR_LIB_SSL, SSL_R_SHUTDOWN_WHILE_IN_INIT);
}

static bool is_up_among_errors(struct ends *e)
{
    leave_an_error();
    return is_up(e);
}

static void errors_of_others_in_the_process_end_no_connection(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct ends e = {0};

    begin_tls(&e, member(&world, &a), member(&world, &a));
    WAIT(&e, is_up_among_errors);
    leave_an_error();
    check_call(&e);
    assert_int_equal(e.downs, 0);
    end(&e);
    ERR_clear_error();
    own_free(&a);
}

static void a_client_and_a_stranger_are_told_apart(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own c = new_own(&world.clients, "desk", DAY);
    uint8_t print[RPC_TLS_PRINT];

    for (unsigned stranger = 0; stranger < 2; stranger++) {
        struct ends e = {0};
        const char *name;

        begin_tls(&e, member(&world, &a), member(&world, stranger ? NULL : &c));
        WAIT(&e, is_up);
        assert_int_equal(rpc_conn_peer(e.accepted, &name),
                         stranger ? RPC_PEER_STRANGER : RPC_PEER_CLIENT);
        assert_string_equal(name, stranger ? "" : "desk");
        assert_int_equal(rpc_conn_peer_print(e.accepted, print),
                         stranger ? -ENOENT : 0);
        check_call(&e);
        end(&e);
    }
    own_free(&a);
    own_free(&c);
}

/* -- who is not let in ---------------------------------------------------- */

/* @server and @client do not come together; @why is in what the connecting
 * end learns. */
static void check_refused(struct rpc_tls *server, struct rpc_tls *client,
                          const char *why)
{
    struct ends e = {0};

    begin_tls(&e, server, client);
    WAIT(&e, is_refused);
    if (strstr(e.why.text, why) == NULL)
        fail_msg("not '%s' in: %s", why, e.why.text);
    assert_int_equal(e.peer_ups, 0);
    end(&e);
}

static void another_clusters_node_is_refused(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own b = new_own(&world.other, "beta", DAY);

    check_refused(member(&world, &a), member(&world, &b),
                  "does not know the authority");
    check_refused(member(&world, &b), member(&world, &a),
                  "its certificate is refused");
    own_free(&a);
    own_free(&b);
}

static void a_certificate_that_is_over_is_refused(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own b = new_own(&world.nodes, "beta", -60);

    check_refused(member(&world, &a), member(&world, &b), "is over");
    check_refused(member(&world, &b), member(&world, &a), "expired");
    own_free(&a);
    own_free(&b);
}

static void a_client_does_not_pass_for_a_server(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own c = new_own(&world.clients, "desk", DAY);

    check_refused(member(&world, &c), member(&world, &a),
                  "its certificate is refused");
    own_free(&a);
    own_free(&c);
}

static void a_self_signed_one_is_refused(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own b = new_own(NULL, "beta", DAY);

    check_refused(member(&world, &a), member(&world, &b), "refuses our cert");
    check_refused(member(&world, &b), member(&world, &a),
                  "its certificate is refused");
    own_free(&a);
    own_free(&b);
}

static void load_crl(struct rpc_tls *t, const struct own *o,
                     const struct own *revoked)
{
    const char *serial[] = {revoked->serial};
    struct cfs_err err = {0};
    struct rpc_tls_spec spec = {
        .cert = o->cert, .key = o->key, .node_ca = world.nodes_pem,
        .client_ca = world.clients_pem,
    };
    char *crl;

    assert_int_equal(x509_crl(&world.nodes, serial, 1, 2, &crl, &err), 0);
    spec.node_crl = crl;
    if (rpc_tls_load(t, &spec, &err) < 0)
        fail_msg("%s", err.text);
    free(crl);
}

static void a_revoked_node_is_refused_and_others_are_not(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own b = new_own(&world.nodes, "beta", DAY);
    struct own c = new_own(&world.nodes, "gamma", DAY);
    struct own d = new_own(&world.clients, "desk", DAY);
    const struct own *good[] = {&c, &d};
    struct rpc_tls *t = member(&world, &a);

    load_crl(t, &a, &b);
    check_refused(rpc_tls_ref(t), member(&world, &b), "revoked");
    for (unsigned i = 0; i < 2; i++) { /* clients: no list of them is there */
        struct ends e = {0};

        begin_tls(&e, rpc_tls_ref(t), member(&world, good[i]));
        WAIT(&e, is_up);
        check_call(&e);
        end(&e);
    }
    rpc_tls_unref(t);
    own_free(&a);
    own_free(&b);
    own_free(&c);
    own_free(&d);
}

static void a_list_that_comes_later_ends_connections(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own b = new_own(&world.nodes, "beta", DAY);
    struct rpc_tls *t = member(&world, &a);
    struct ends e = {0};

    begin_tls(&e, rpc_tls_ref(t), member(&world, &b));
    WAIT(&e, is_up);
    rpc_tls_recheck(t);
    check_call(&e); /* nothing changed: it stays */
    load_crl(t, &a, &b);
    rpc_tls_recheck(t);
    WAIT(&e, peer_is_down);
    end(&e);
    rpc_tls_unref(t);
    own_free(&a);
    own_free(&b);
}

static bool is_shaking(struct ends *e)
{
    return e->listener->n_raw > 0;
}

/* Who begins before the list came, and is slow, does not come in by that. */
static void a_list_that_comes_during_the_handshake_counts(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own b = new_own(&world.nodes, "beta", DAY);
    struct rpc_tls *t = member(&world, &a);
    struct ends e = {0};

    begin_tls(&e, rpc_tls_ref(t), member(&world, &b));
    WAIT(&e, is_shaking);
    load_crl(t, &a, &b);
    WAIT(&e, is_refused);
    end(&e);
    rpc_tls_unref(t);
    own_free(&a);
    own_free(&b);
}

static void a_list_of_another_authority_is_not_taken(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct rpc_tls *t = member(&world, &a);
    struct rpc_tls_spec spec = {.cert = a.cert, .key = a.key,
                                .node_ca = world.nodes_pem};
    struct cfs_err err = {0};
    char *crl;

    assert_int_equal(x509_crl(&world.other, NULL, 0, 1, &crl, &err), 0);
    spec.node_crl = crl;
    assert_int_equal(rpc_tls_load(t, &spec, &err), -EINVAL);
    free(crl);
    rpc_tls_unref(t);
    own_free(&a);
}

static void a_key_that_is_not_the_certificates_is_not_taken(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own b = new_own(&world.nodes, "beta", DAY);
    struct rpc_tls_spec spec = {.cert = a.cert, .key = b.key};
    struct cfs_err err = {0};
    struct rpc_tls *t;

    assert_int_equal(rpc_tls_new(&t, &err), 0);
    assert_int_equal(rpc_tls_load(t, &spec, &err), -EKEYREJECTED);
    spec.key = NULL;
    assert_int_equal(rpc_tls_load(t, &spec, &err), -EKEYREJECTED);
    rpc_tls_unref(t);
    own_free(&a);
    own_free(&b);
}

/* -- pins ----------------------------------------------------------------- */

static void print_of(const char *pem, uint8_t ret[static RPC_TLS_PRINT])
{
    X509 *cert = x509_cert_read(pem);
    unsigned len = RPC_TLS_PRINT;

    assert_int_equal(X509_digest(cert, EVP_sha256(), ret, &len), 1);
    X509_free(cert);
}

static struct rpc_tls *pinned(const char *pem)
{
    uint8_t print[RPC_TLS_PRINT];
    struct cfs_err err = {0};
    struct rpc_tls *t;

    print_of(pem, print);
    assert_int_equal(rpc_tls_new(&t, &err), 0);
    rpc_tls_pin(t, print);
    return t;
}

static void a_pin_lets_in_its_authority_or_itself_and_nobody_else(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own lone = new_own(NULL, "nobody", DAY);
    struct ends e = {0}, f = {0};

    begin_tls(&e, member(&world, &a), pinned(world.nodes_pem));
    WAIT(&e, is_up);
    assert_int_equal(rpc_conn_peer(e.conn, NULL), RPC_PEER_NODE);
    check_call(&e);
    end(&e);
    begin_tls(&f, member(&world, &lone), pinned(lone.cert));
    WAIT(&f, is_up);
    check_call(&f);
    end(&f);
    check_refused(member(&world, &a), pinned(world.other_pem),
                  "its certificate is refused");
    check_refused(member(&world, &lone), pinned(world.nodes_pem),
                  "its certificate is refused");
    own_free(&a);
    own_free(&lone);
}

/* A certificate in the chain proves nothing without its key. */
static void a_copied_authority_in_the_chain_does_not_help(void **state)
{
    struct own thief = new_own(&world.other, "alpha", DAY);
    struct rpc_tls_spec spec = {.key = thief.key,
                                .node_ca = world.nodes_pem};
    char *chain;
    struct rpc_tls *t;
    struct cfs_err err = {0};

    assert_true(asprintf(&chain, "%s%s", thief.cert, world.nodes_pem) > 0);
    spec.cert = chain;
    assert_int_equal(rpc_tls_new(&t, &err), 0);
    assert_int_equal(rpc_tls_load(t, &spec, &err), 0);
    check_refused(t, pinned(world.nodes_pem), "its certificate is refused");
    free(chain);
    own_free(&thief);
}

static void who_has_nothing_to_know_by_takes_whom_it_meets(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct ends e = {0};
    struct cfs_err err = {0};
    struct rpc_tls *t;

    assert_int_equal(rpc_tls_new(&t, &err), 0);
    rpc_tls_any_server(t);
    begin_tls(&e, member(&world, &a), t);
    WAIT(&e, is_up);
    assert_int_equal(rpc_conn_peer(e.conn, NULL), RPC_PEER_STRANGER);
    check_call(&e);
    end(&e);
    own_free(&a);
}

/* -- credentials in a file ------------------------------------------------ */

static char creds_path[64];

static void write_creds(const struct own *o)
{
    FILE *f = fopen(creds_path, "w");

    assert_non_null(f);
    fprintf(f, "# made for a test\n# server n1:24007\n# server [::1]:9\n"
            "%s%s%s", o->key, o->cert, world.nodes_pem);
    assert_int_equal(fclose(f), 0);
}

static void check_known_as(const struct own *server, struct rpc_tls *t,
                           const char *expected)
{
    struct ends e = {0};
    const char *name;

    begin_tls(&e, member(&world, server), rpc_tls_ref(t));
    WAIT(&e, is_up);
    assert_int_equal(rpc_conn_peer(e.accepted, &name), RPC_PEER_CLIENT);
    assert_string_equal(name, expected);
    end(&e);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/trust/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Who connects as a member, without being mgmtd: by mgmtd's list. */
static void a_member_s_credentials_know_who_is_revoked(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own b = new_own(&world.nodes, "beta", DAY);
    const char *revoked[] = {b.serial};
    char dir[64], trust[80], *crl;
    struct rpc_creds creds;
    struct cfs_err err = {0};
    struct ends e = {0};

    cfs_test_dir(dir, "state");
    snprintf(trust, sizeof trust, "%s/trust", dir);
    assert_int_equal(mkdir(trust, 0700), 0);
    write_file(dir, "node.key", a.key);
    write_file(dir, "node.crt", a.cert);
    write_file(dir, "node-ca.crt", world.nodes_pem);
    assert_int_equal(rpc_creds_find(NULL, "/nowhere", dir, &creds, &err), 0);
    begin_tls(&e, member(&world, &b), rpc_tls_ref(creds.tls));
    WAIT(&e, is_up);
    end(&e);
    assert_int_equal(x509_crl(&world.nodes, revoked, 1, 2, &crl, &err), 0);
    write_file(dir, "node.crl", crl);
    assert_int_equal(rpc_creds_refresh(&creds, &err), 0);
    check_refused(member(&world, &b), rpc_tls_ref(creds.tls), "revoked");
    rpc_creds_fini(&creds);
    assert_int_equal(sh("rm -r %s", dir), 0);
    free(crl);
    own_free(&a);
    own_free(&b);
}

static void credentials_are_read_again_when_they_change(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct own c = new_own(&world.clients, "desk", DAY);
    struct own d = new_own(&world.clients, "lamp", DAY);
    struct rpc_creds creds;
    struct cfs_err err = {0};

    snprintf(creds_path, sizeof creds_path, "%s/cfs-test-creds.%d",
             cfs_test_tmp(), getpid());
    write_creds(&c);
    assert_int_equal(rpc_creds_load(creds_path, &creds, &err), 0);
    assert_int_equal(creds.n_servers, 2);
    assert_string_equal(creds.server[1].text, "[::1]:9");
    check_known_as(&a, creds.tls, "desk");
    write_creds(&d);
    assert_int_equal(rpc_creds_refresh(&creds, &err), 0);
    assert_int_equal(creds.n_servers, 2);
    check_known_as(&a, creds.tls, "lamp");
    assert_int_equal(truncate(creds_path, 100), 0); /* half written */
    assert_true(rpc_creds_refresh(&creds, &err) < 0);
    assert_non_null(strstr(err.text, creds_path));
    check_known_as(&a, creds.tls, "lamp");
    rpc_creds_fini(&creds);
    assert_true(rpc_creds_load(creds_path, &creds, &err) < 0);
    assert_int_equal(unlink(creds_path), 0);
    own_free(&a);
    own_free(&c);
    own_free(&d);
}

/* -- other languages ------------------------------------------------------ */

static void plain_and_tls_do_not_come_together(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct ends e = {0}, f = {0};

    begin_tls(&e, member(&world, &a), NULL);
    WAIT(&e, is_up_or_down);
    if (e.ups > 0) { /* it learns with its first call */
        struct caller c;

        send_call(&e, e.conn, &c, ECHO_, "hello", (struct cfs_buf){0});
        await(&e, &c);
        assert_int_equal(c.status, -ENOTCONN);
    }
    assert_int_equal(e.peer_ups, 0);
    end(&e);

    begin_tls(&f, NULL, member(&world, &a));
    WAIT(&f, is_refused);
    end(&f);
    own_free(&a);
}

/* -- bytes ---------------------------------------------------------------- */

static void large_payloads_pass_both_ways(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct cfs_buf payload = pattern(1024 * 1024, false);
    struct ends e = {0};
    struct caller c[8];

    begin_tls(&e, member(&world, &a), member(&world, &a));
    WAIT(&e, is_up);
    for (unsigned i = 0; i < 8; i++)
        send_call(&e, e.conn, &c[i], ECHO_, "big", payload);
    for (unsigned i = 0; i < 8; i++) {
        await(&e, &c[i]);
        assert_int_equal(c[i].status, 0);
        assert_int_equal(c[i].payload.len, payload.len);
        assert_memory_equal(c[i].payload.data, payload.data, payload.len);
        cfs_buf_unref(&c[i].payload);
    }
    cfs_buf_unref(&payload);
    end(&e);
    own_free(&a);
}

/* What TLS has in its hands when reading stops must come when it goes on,
 * though no poll tells of it. */
static void a_connection_that_was_not_read_goes_on(void **state)
{
    enum { N = 300 };
    static struct caller c[N];
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct ends e = {0};
    bool all = false;

    begin(&e);
    e.opts.max_calls = 4;
    begin_tls(&e, member(&world, &a), member(&world, &a));
    WAIT(&e, is_up);
    for (unsigned i = 0; i < N; i++)
        send_call(&e, e.conn, &c[i], HOLD, "wait", (struct cfs_buf){0});
    for (unsigned round = 0; round < N && !all; round++) {
        for (unsigned i = 0; i < e.n_held; i++)
            rpc_reply(e.held[i], (struct cfs_blob){0}, (struct cfs_buf){0});
        e.n_held = 0;
        pause_for(&e, CFS_MS);
        all = true;
        for (unsigned i = 0; i < N; i++)
            all = all && c[i].done;
    }
    assert_true(all);
    end(&e);
    own_free(&a);
}

/* -- ends that stop or rave ----------------------------------------------- */

/* The first flight of a real client. */
static size_t client_hello(uint8_t *ret, size_t max)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    int n;

    SSL_set_bio(ssl, in, out);
    SSL_connect(ssl);
    n = BIO_read(out, ret, (int)max);
    assert_true(n > 0);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return (size_t)n;
}

static void check_still_serves(struct ends *e, const struct own *o)
{
    char text[80];

    snprintf(text, sizeof text, "127.0.0.1:%u",
             rpc_listener_port(e->listener));
    e->opts.tls = member(&world, o);
    connect_to(e, text);
    rpc_tls_unref(e->opts.tls);
    e->opts.tls = NULL;
    WAIT(e, is_up);
    check_call(e);
}

static void begin_server(struct ends *e, const struct own *o)
{
    if (e->loop == NULL)
        begin(e);
    e->opts.tls = member(&world, o);
    listen_on(e, "127.0.0.1:0");
    rpc_tls_unref(e->opts.tls);
    e->opts.tls = NULL;
}

static void handshakes_that_break_off_do_no_harm(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct ends e = {0};
    uint8_t hello[2048];
    size_t n = client_hello(hello, sizeof hello);

    begin_server(&e, &a);
    for (size_t len = 0; len <= n; len += len < 12 ? 1 : n / 8) {
        int fd = bare_socket(&e);

        assert_int_equal(write(fd, hello, len), len);
        pause_for(&e, 2 * CFS_MS);
        close(fd);
        pause_for(&e, CFS_MS);
    }
    assert_int_equal(e.peer_ups, 0);
    check_still_serves(&e, &a);
    end(&e);
    own_free(&a);
}

static void raving_ends_do_no_harm(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct ends e = {0};
    uint8_t hello[2048];
    size_t n = client_hello(hello, sizeof hello);

    srandom(7);
    begin_server(&e, &a);
    for (unsigned i = 0; i < 200; i++) {
        uint8_t bytes[2048];
        int fd = bare_socket(&e);

        memcpy(bytes, hello, n);
        if (i % 2 == 0) /* a hello with a few wrong bytes */
            for (unsigned k = 0; k < 1 + i % 7; k++)
                bytes[(size_t)random() % n] = (uint8_t)random();
        else
            for (size_t k = i % 4 == 1 ? 0 : 5; k < n; k++)
                bytes[k] = (uint8_t)random();
        assert_int_equal(write(fd, bytes, n), n);
        pause_for(&e, CFS_MS);
        close(fd);
    }
    pause_for(&e, 5 * CFS_MS);
    assert_int_equal(e.peer_ups, 0);
    check_still_serves(&e, &a);
    end(&e);
    own_free(&a);
}

static bool hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c;

    return poll(&p, 1, 0) > 0 && recv(fd, &c, 1, MSG_DONTWAIT) <= 0;
}

static void who_says_nothing_is_closed_in_time(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct ends e = {0};
    uint64_t began, took;
    int fd;

    begin(&e);
    e.opts.connect_ms = 100;
    begin_server(&e, &a);
    began = cfs_now_fresh(e.loop);
    fd = bare_socket(&e);
    while (!hung_up(fd))
        pause_for(&e, 10 * CFS_MS);
    took = cfs_now_fresh(e.loop) - began;
    assert_true(took >= 100 * CFS_MS);
    assert_true(took < rpc_opts_default.connect_ms * CFS_MS / 2);
    close(fd);
    check_still_serves(&e, &a);
    end(&e);
    own_free(&a);
}

static void of_too_many_silent_ones_the_oldest_goes(void **state)
{
    struct own a = new_own(&world.nodes, "alpha", DAY);
    struct ends e = {0};
    int fd[5];

    begin(&e);
    e.opts.max_raw = 3;
    begin_server(&e, &a);
    for (unsigned i = 0; i < 5; i++) {
        fd[i] = bare_socket(&e);
        pause_for(&e, 10 * CFS_MS);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(hung_up(fd[i]), i < 2);
    check_still_serves(&e, &a);
    for (unsigned i = 0; i < 5; i++)
        close(fd[i]);
    end(&e);
    own_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_nodes_know_each_other),
        cmocka_unit_test(
            errors_of_others_in_the_process_end_no_connection),
        cmocka_unit_test(a_client_and_a_stranger_are_told_apart),
        cmocka_unit_test(another_clusters_node_is_refused),
        cmocka_unit_test(a_certificate_that_is_over_is_refused),
        cmocka_unit_test(a_client_does_not_pass_for_a_server),
        cmocka_unit_test(a_self_signed_one_is_refused),
        cmocka_unit_test(a_revoked_node_is_refused_and_others_are_not),
        cmocka_unit_test(a_list_that_comes_later_ends_connections),
        cmocka_unit_test(a_list_that_comes_during_the_handshake_counts),
        cmocka_unit_test(a_list_of_another_authority_is_not_taken),
        cmocka_unit_test(a_key_that_is_not_the_certificates_is_not_taken),
        cmocka_unit_test(a_pin_lets_in_its_authority_or_itself_and_nobody_else),
        cmocka_unit_test(a_copied_authority_in_the_chain_does_not_help),
        cmocka_unit_test(who_has_nothing_to_know_by_takes_whom_it_meets),
        cmocka_unit_test(a_member_s_credentials_know_who_is_revoked),
        cmocka_unit_test(credentials_are_read_again_when_they_change),
        cmocka_unit_test(plain_and_tls_do_not_come_together),
        cmocka_unit_test(large_payloads_pass_both_ways),
        cmocka_unit_test(a_connection_that_was_not_read_goes_on),
        cmocka_unit_test(handshakes_that_break_off_do_no_harm),
        cmocka_unit_test(raving_ends_do_no_harm),
        cmocka_unit_test(who_says_nothing_is_closed_in_time),
        cmocka_unit_test(of_too_many_silent_ones_the_oldest_goes),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_world, drop_world);
}
