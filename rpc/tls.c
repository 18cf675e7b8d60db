/* SPDX-License-Identifier: Apache-2.0 */
/* tls.c - contexts: who we are and whom we believe; see tls.h.
 *
 * One SSL_CTX serves both directions; a new one takes its place when it is
 * loaded again, and connections that exist keep theirs. There are no sessions
 * to resume: each connection shows its certificate, so that one that was
 * revoked does not come in by an old ticket.
 */
#include "rpc/tls_impl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define CHAIN_BYTES_MAX (16 * 1024) /* of certificates that a peer may send */

/* The oldest of OpenSSL's errors, in words; the queue is emptied. */
static const char *ssl_error(void)
{
    const char *s = ERR_reason_error_string(ERR_get_error());

    ERR_clear_error();
    return s != NULL ? s : "unknown error";
}

void rpc_tls_print_of(const X509 *cert, uint8_t ret[static RPC_TLS_PRINT])
{
    unsigned len = RPC_TLS_PRINT;

    if (X509_digest(cert, EVP_sha256(), ret, &len) != 1)
        abort();
}

/* -- whom we believe ------------------------------------------------------ */

enum rpc_peer_role rpc_tls_role(const struct rpc_tls *t, const X509 *root)
{
    if (root != NULL && t->node_ca != NULL && X509_cmp(root, t->node_ca) == 0)
        return RPC_PEER_NODE;
    if (root != NULL && t->client_ca != NULL &&
        X509_cmp(root, t->client_ca) == 0)
        return RPC_PEER_CLIENT;
    return RPC_PEER_STRANGER;
}

/* An authority without a list has revoked nobody. */
static int on_verify(int ok, X509_STORE_CTX *ctx)
{
    const struct rpc_tls *t =
        X509_STORE_get_ex_data(X509_STORE_CTX_get0_store(ctx), 0);
    const X509 *cert = X509_STORE_CTX_get_current_cert(ctx);

    if (ok || t == NULL || cert == NULL ||
        X509_STORE_CTX_get_error(ctx) != X509_V_ERR_UNABLE_TO_GET_CRL)
        return ok;
    if (t->node_ca != NULL && t->node_crl &&
        X509_NAME_cmp(X509_get_issuer_name(cert),
                      X509_get_subject_name(t->node_ca)) == 0)
        return 0;
    if (t->client_ca != NULL && t->client_crl &&
        X509_NAME_cmp(X509_get_issuer_name(cert),
                      X509_get_subject_name(t->client_ca)) == 0)
        return 0;
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

/* The certificate with the pinned fingerprint among those that were sent. */
static X509 *find_pinned(const struct rpc_tls *t, X509_STORE_CTX *ctx)
{
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(ctx);
    uint8_t print[RPC_TLS_PRINT];

    for (int i = 0; i < sk_X509_num(sent); i++) {
        rpc_tls_print_of(sk_X509_value(sent, i), print);
        if (memcmp(print, t->pin, sizeof print) == 0)
            return sk_X509_value(sent, i);
    }
    return NULL;
}

/* One that is pinned itself needs nobody's signature. */
static int verify_pinned(const struct rpc_tls *t, X509_STORE_CTX *ctx)
{
    X509 *pinned = find_pinned(t, ctx);
    STACK_OF(X509) *roots;
    int ok;

    if (pinned == NULL) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_UNTRUSTED);
        return 0;
    }
    if (X509_cmp(pinned, X509_STORE_CTX_get0_cert(ctx)) == 0) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return 1;
    }
    roots = sk_X509_new_null();
    if (roots == NULL || sk_X509_push(roots, pinned) == 0) {
        sk_X509_free(roots);
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_OUT_OF_MEM);
        return 0;
    }
    X509_STORE_CTX_set0_trusted_stack(ctx, roots);
    ok = X509_verify_cert(ctx) == 1;
    sk_X509_free(roots);
    return ok;
}

/* A server must be a node; who comes to us may be a client, too. */
static int verify(X509_STORE_CTX *ctx, void *arg)
{
    const struct rpc_tls *t = arg;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(
        ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    STACK_OF(X509) *chain;
    const X509 *root;

    if (ssl != NULL && SSL_is_server(ssl))
        return X509_verify_cert(ctx) == 1;
    if (t->pinned)
        return verify_pinned(t, ctx);
    if (t->any) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return 1;
    }
    if (X509_verify_cert(ctx) != 1)
        return 0;
    chain = X509_STORE_CTX_get0_chain(ctx);
    root = sk_X509_value(chain, sk_X509_num(chain) - 1);
    if (rpc_tls_role(t, root) == RPC_PEER_NODE)
        return 1;
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_INVALID_PURPOSE);
    return 0;
}

bool rpc_tls_believes(struct rpc_tls *t, X509 *cert, STACK_OF(X509) *chain,
                      bool server, const char **ret_why)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = false;

    if (ctx != NULL &&
        X509_STORE_CTX_init(ctx, SSL_CTX_get_cert_store(t->ctx), cert,
                            chain) == 1) {
        X509_STORE_CTX_set_default(ctx, server ? "ssl_server" : "ssl_client");
        ok = X509_verify_cert(ctx) == 1;
        *ret_why =
            X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
    } else {
        *ret_why = "out of memory";
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

/* -- loading -------------------------------------------------------------- */

/* For every text: otherwise one that says that it is encrypted, even a
 * certificate, makes OpenSSL ask for a password on the terminal. */
static int no_password(char *buf, int size, int rw, void *arg)
{
    return -1;
}

static X509 *next_cert(BIO *bio)
{
    return bio != NULL ? PEM_read_bio_X509(bio, NULL, no_password, NULL)
                       : NULL;
}

static X509 *read_cert(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = next_cert(bio);

    BIO_free(bio);
    return cert;
}

static EVP_PKEY *read_key(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = NULL;

    if (bio != NULL)
        key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    return key;
}

static int add_authority(SSL_CTX *ctx, const char *pem, const char *what,
                         X509 **ret, struct cfs_err *err)
{
    X509 *ca;

    if (pem == NULL)
        return 0;
    ca = read_cert(pem);
    if (ca == NULL || X509_check_ca(ca) == 0 ||
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) != 1) {
        X509_free(ca);
        return cfs_err_set(err, -EINVAL, "the certificate of the authority "
                           "for %s is none: %s", what, ssl_error());
    }
    *ret = ca;
    return 0;
}

static int add_crl(SSL_CTX *ctx, const char *pem, const X509 *ca,
                   const char *what, bool *ret, struct cfs_err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    BIO *bio;
    X509_CRL *crl;
    int ok;

    if (pem == NULL)
        return 0;
    bio = BIO_new_mem_buf(pem, -1);
    crl = bio != NULL ? PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL)
                      : NULL;
    BIO_free(bio);
    ok = crl != NULL && ca != NULL &&
         X509_CRL_verify(crl, X509_get0_pubkey(ca)) == 1 &&
         X509_STORE_add_crl(store, crl) == 1;
    X509_CRL_free(crl);
    if (!ok)
        return cfs_err_set(err, -EINVAL, "the list of revoked %s is none of "
                           "its authority: %s", what, ssl_error());
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    *ret = true;
    return 0;
}

uint64_t rpc_tls_list_number(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509_CRL *crl = bio != NULL
                        ? PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL)
                        : NULL;
    ASN1_INTEGER *no = crl != NULL ? X509_CRL_get_ext_d2i(
                                         crl, NID_crl_number, NULL, NULL)
                                   : NULL;
    uint64_t n = 0;

    if (no != NULL && ASN1_INTEGER_get_uint64(&n, no) != 1)
        n = 0;
    ASN1_INTEGER_free(no);
    X509_CRL_free(crl);
    BIO_free(bio);
    ERR_clear_error();
    return n;
}

/* What stands behind our certificate in the same text is sent behind it. */
static int add_chain(SSL_CTX *ctx, const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = next_cert(bio);
    int ok = cert != NULL;

    X509_free(cert);
    while (ok && (cert = next_cert(bio)) != NULL) {
        ok = SSL_CTX_add1_chain_cert(ctx, cert) == 1;
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error(); /* "no more" is one */
    return ok;
}

/* Our certificate; and the authority's behind it, for who has a pin of it. */
static int add_own(SSL_CTX *ctx, const struct rpc_tls_spec *spec, X509 *ca,
                   struct cfs_err *err)
{
    X509 *cert;
    EVP_PKEY *key;
    int ok;

    if (spec->cert == NULL && spec->key == NULL)
        return 0;
    cert = spec->cert != NULL ? read_cert(spec->cert) : NULL;
    key = spec->key != NULL ? read_key(spec->key) : NULL;
    ok = cert != NULL && key != NULL &&
         SSL_CTX_use_certificate(ctx, cert) == 1 &&
         SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
         SSL_CTX_check_private_key(ctx) == 1 && add_chain(ctx, spec->cert);
    if (ok && ca != NULL && X509_check_issued(ca, cert) == X509_V_OK)
        ok = SSL_CTX_add1_chain_cert(ctx, ca) == 1;
    if (!ok)
        cfs_err_set(err, -EKEYREJECTED, cert == NULL
                    ? "the certificate cannot be read: %s" : key == NULL
                    ? "the private key cannot be read: %s"
                    : "the certificate and the private key do not belong "
                      "together: %s", ssl_error());
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok ? 0 : -EKEYREJECTED;
}

static SSL_CTX *new_ctx(struct rpc_tls *t)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                             SSL_OP_NO_COMPRESSION |
                             SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_max_cert_list(ctx, CHAIN_BYTES_MAX);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                          SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify, t);
    X509_STORE_set_verify_cb(SSL_CTX_get_cert_store(ctx), on_verify);
    X509_STORE_set_ex_data(SSL_CTX_get_cert_store(ctx), 0, t);
    return ctx;
}

int rpc_tls_load(struct rpc_tls *t, const struct rpc_tls_spec *spec,
                 struct cfs_err *err)
{
    struct rpc_tls n = {0};
    int rc = 0;

    ERR_clear_error();
    n.ctx = new_ctx(t);
    if (n.ctx == NULL)
        return cfs_err_set(err, -ENOMEM, "TLS: %s", ssl_error());
    rc = add_authority(n.ctx, spec->node_ca, "nodes", &n.node_ca, err);
    if (rc == 0)
        rc = add_authority(n.ctx, spec->client_ca, "clients", &n.client_ca,
                           err);
    if (rc == 0)
        rc = add_crl(n.ctx, spec->node_crl, n.node_ca, "nodes", &n.node_crl,
                     err);
    if (rc == 0)
        rc = add_crl(n.ctx, spec->client_crl, n.client_ca, "clients",
                     &n.client_crl, err);
    if (rc == 0)
        rc = add_own(n.ctx, spec, n.node_ca, err);
    if (rc < 0) {
        SSL_CTX_free(n.ctx);
        X509_free(n.node_ca);
        X509_free(n.client_ca);
        return rc;
    }
    SSL_CTX_free(t->ctx);
    X509_free(t->node_ca);
    X509_free(t->client_ca);
    t->ctx = n.ctx;
    t->node_ca = n.node_ca;
    t->client_ca = n.client_ca;
    t->node_crl = n.node_crl;
    t->client_crl = n.client_crl;
    return 0;
}

/* -- life ----------------------------------------------------------------- */

int rpc_tls_new(struct rpc_tls **ret, struct cfs_err *err)
{
    struct rpc_tls *t = calloc(1, sizeof *t);

    if (t == NULL)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    t->refs = 1;
    cfs_list_init(&t->conns);
    t->ctx = new_ctx(t);
    if (t->ctx == NULL) {
        free(t);
        return cfs_err_set(err, -ENOMEM, "TLS: %s", ssl_error());
    }
    *ret = t;
    return 0;
}

struct rpc_tls *rpc_tls_ref(struct rpc_tls *t)
{
    if (t != NULL)
        t->refs++;
    return t;
}

void rpc_tls_unref(struct rpc_tls *t)
{
    if (t == NULL || --t->refs > 0)
        return;
    SSL_CTX_free(t->ctx);
    X509_free(t->node_ca);
    X509_free(t->client_ca);
    free(t);
}

void rpc_tls_pin(struct rpc_tls *t, const uint8_t print[static RPC_TLS_PRINT])
{
    memcpy(t->pin, print, RPC_TLS_PRINT);
    t->pinned = true;
}

void rpc_tls_any_server(struct rpc_tls *t)
{
    t->any = true;
}

/* The list may change while its connections are closed: each is looked at
 * once, found anew by its place. */
void rpc_tls_recheck(struct rpc_tls *t)
{
    cfs_list_for_each_safe(l, &t->conns) {
        struct rpc_secure *s = cfs_list_entry(l, struct rpc_secure, link);
        X509 *cert = SSL_get0_peer_certificate(s->ssl);
        const char *why = "";

        if (s->conn->state != RPC_UP || cert == NULL || t->pinned || t->any)
            continue;
        if (rpc_tls_believes(t, cert, SSL_get_peer_cert_chain(s->ssl),
                             !SSL_is_server(s->ssl), &why))
            continue;
        cfs_log_info(s->conn->log, s->conn->who, "%s (%s): closed: its "
                     "certificate is not believed any more: %s",
                     s->conn->name, s->name, why);
        rpc_conn_reset(s->conn, why);
    }
}
