/* SPDX-License-Identifier: Apache-2.0 */
/* tls_rig.h - two authorities, and contexts for nodes and clients of theirs,
 * for tests of TLS: connections as in conn_rig.h, with a context at each end.
 */
#ifndef CFS_TESTS_UNIT_TLS_RIG_H
#define CFS_TESTS_UNIT_TLS_RIG_H

#include "tests/unit/conn_rig.h"

#include "mgmtd/trust_x509.h"
#include "rpc/tls.h"

#define DAY ((long)24 * 3600)

struct world {
    struct x509_ca nodes, clients, other; /* other: of another cluster */
    char *nodes_pem, *clients_pem, *other_pem;
};

static struct x509_ca new_ca(const char *name)
{
    struct cfs_err err = {0};
    struct x509_ca ca = {.key = x509_key_new(&err)};

    assert_non_null(ca.key);
    assert_int_equal(x509_ca_new(name, ca.key, &ca.cert, &err), 0);
    return ca;
}

static void world_begin(struct world *w)
{
    w->nodes = new_ca("nodes of A");
    w->clients = new_ca("clients of A");
    w->other = new_ca("nodes of B");
    w->nodes_pem = x509_cert_print(w->nodes.cert);
    w->clients_pem = x509_cert_print(w->clients.cert);
    w->other_pem = x509_cert_print(w->other.cert);
}

static void world_end(struct world *w)
{
    struct x509_ca *ca[] = {&w->nodes, &w->clients, &w->other};

    for (unsigned i = 0; i < 3; i++) {
        X509_free(ca[i]->cert);
        EVP_PKEY_free(ca[i]->key);
    }
    free(w->nodes_pem);
    free(w->clients_pem);
    free(w->other_pem);
}

/* What a context is made of; and its certificate's serial number. */
struct own {
    char *cert, *key;
    char  serial[X509_SERIAL_TEXT];
};

static struct own new_own(const struct x509_ca *ca, const char *name,
                          long life_s)
{
    static const struct cfs_uuid id = {{1, 2, 3}};
    const struct x509_subject s = {name, &id, "127.0.0.1"};
    struct cfs_err err = {0};
    EVP_PKEY *key = x509_key_new(&err);
    struct own o;
    X509 *cert;

    if (ca != NULL)
        assert_int_equal(x509_sign_key(ca, key, &s, life_s, &cert, &err), 0);
    else
        assert_int_equal(x509_self_sign(key, &s, life_s, &cert, &err), 0);
    o.cert = x509_cert_print(cert);
    o.key = x509_key_print(key);
    x509_serial(cert, o.serial);
    X509_free(cert);
    EVP_PKEY_free(key);
    return o;
}

static void own_free(struct own *o)
{
    free(o->cert);
    free(o->key);
}

/* A member's: it believes nodes and clients. @o NULL: shows nothing. */
static struct rpc_tls *member(const struct world *w, const struct own *o)
{
    const struct rpc_tls_spec spec = {
        .cert = o != NULL ? o->cert : NULL,
        .key = o != NULL ? o->key : NULL,
        .node_ca = w->nodes_pem,
        .client_ca = w->clients_pem,
    };
    struct cfs_err err = {0};
    struct rpc_tls *t;

    assert_int_equal(rpc_tls_new(&t, &err), 0);
    if (rpc_tls_load(t, &spec, &err) < 0)
        fail_msg("%s", err.text);
    return t;
}

/* Listener with @server, connection with @client; contexts are given away. */
static void begin_tls(struct ends *e, struct rpc_tls *server,
                      struct rpc_tls *client)
{
    char text[80];

    if (e->loop == NULL)
        begin(e);
    e->opts.tls = server;
    listen_on(e, "127.0.0.1:0");
    snprintf(text, sizeof text, "127.0.0.1:%u",
             rpc_listener_port(e->listener));
    e->opts.tls = client;
    connect_to(e, text);
    e->opts.tls = NULL;
    rpc_tls_unref(server);
    rpc_tls_unref(client);
}

static bool is_up_or_down(struct ends *e)
{
    return e->ups > 0 || e->downs > 0;
}

static bool is_refused(struct ends *e)
{
    return e->downs > 0 && !rpc_conn_is_up(e->conn);
}

/* Somebody who speaks as it likes. */
static int bare_socket(const struct ends *e)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET,
        .sin_port = htons(rpc_listener_port(e->listener)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

#endif
