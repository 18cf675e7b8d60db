/* SPDX-License-Identifier: Apache-2.0 */
/* tls_conn.c - TLS of one connection: the handshake, bytes in, bytes out, and
 * who the peer proved to be; see tls_impl.h.
 *
 *   socket -> in -> SSL_read -> frames
 *   segments -> SSL_write -> out -> socket
 *
 * @in is filled only when the SSL has used up what was there, and @out is
 * emptied into the socket before more is encrypted, so that neither grows.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <unistd.h>

#include "rpc/tls_impl.h"

#define IN_MAX  (64u * 1024u) /* bytes from the socket at a time */
#define OUT_MAX (256u * 1024u) /* bytes that are encrypted ahead */
#define FILLS_MAX 16u /* in a row that bring nothing for us */

/* -- the socket ----------------------------------------------------------- */

/* Bytes that came; 0 at the end; -errno. */
static ssize_t fill(struct rpc_conn *c)
{
    static uint8_t buf[IN_MAX]; /* one thread reads sockets */
    ssize_t n;

    do {
        n = recv(c->fd, buf, sizeof buf, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (n > 0 && BIO_write(c->sec->in, buf, (int)n) != (int)n)
        return -ENOMEM;
    return n;
}

bool rpc_tls_unsent(const struct rpc_conn *c)
{
    return c->sec != NULL && BIO_ctrl_pending(c->sec->out) > 0;
}

/* What is encrypted goes out. 0: all of it; -errno. */
static int drain(struct rpc_conn *c)
{
    struct rpc_secure *s = c->sec;
    char *p;
    size_t len = (size_t)BIO_get_mem_data(s->out, &p);

    while (s->out_sent < len) {
        ssize_t n = send(c->fd, p + s->out_sent, len - s->out_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        s->out_sent += (size_t)n;
    }
    s->out_sent = 0;
    (void)BIO_reset(s->out);
    return 0;
}

/* -- errors --------------------------------------------------------------- */

/* What OpenSSL says of a call that failed, for people. */
static int ssl_failed(struct rpc_conn *c, struct cfs_err *why)
{
    const unsigned long e = ERR_peek_error();
    const long verify = SSL_get_verify_result(c->sec->ssl);
    const char *reason = ERR_reason_error_string(e);

    ERR_clear_error();
    *why = (struct cfs_err){0};
    if (verify != X509_V_OK &&
        ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return cfs_err_set(why, -EKEYREJECTED, "its certificate is refused: "
                           "%s", X509_verify_cert_error_string(verify));
    switch (ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_UNSUPPORTED_PROTOCOL:
        return cfs_err_set(why, -EPROTO, "what came is not TLS 1.2 or 1.3");
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return cfs_err_set(why, -EKEYREJECTED, "it refuses our certificate: "
                           "it does not know the authority (is it of another "
                           "cluster?)");
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
        return cfs_err_set(why, -EKEYREJECTED, "it refuses our certificate, "
                           "which was revoked");
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return cfs_err_set(why, -EKEYREJECTED, "it refuses our certificate, "
                           "which is over (or the clocks differ)");
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
        return cfs_err_set(why, -EKEYREJECTED, "it refuses our certificate");
    default:
        return cfs_err_set(why, -EPROTO, "TLS: %s",
                           reason != NULL ? reason : "failed");
    }
}

/* -- the handshake -------------------------------------------------------- */

int rpc_tls_begin(struct rpc_conn *c)
{
    struct rpc_secure *s = calloc(1, sizeof *s);

    ERR_clear_error();
    if (s == NULL)
        return -ENOMEM;
    s->ssl = SSL_new(c->opts.tls->ctx);
    s->in = BIO_new(BIO_s_mem());
    s->out = BIO_new(BIO_s_mem());
    if (s->ssl == NULL || s->in == NULL || s->out == NULL) {
        SSL_free(s->ssl);
        BIO_free(s->in);
        BIO_free(s->out);
        free(s);
        return -ENOMEM;
    }
    BIO_set_mem_eof_return(s->in, -1); /* empty is not the end */
    SSL_set_bio(s->ssl, s->in, s->out);
    if (c->listener != NULL)
        SSL_set_accept_state(s->ssl);
    else
        SSL_set_connect_state(s->ssl);
    s->conn = c;
    s->tls = rpc_tls_ref(c->opts.tls);
    cfs_list_add_tail(&s->tls->conns, &s->link);
    c->sec = s;
    return 0;
}

/* Who is there. */
static void identify(struct rpc_secure *s)
{
    const X509 *cert = SSL_get0_peer_certificate(s->ssl);
    STACK_OF(X509) *chain;
    int n;

    s->role = RPC_PEER_STRANGER;
    if (cert == NULL)
        return;
    n = X509_NAME_get_text_by_NID(X509_get_subject_name(cert),
                                  NID_commonName, s->name, sizeof s->name);
    if (n < 0 || strlen(s->name) != (size_t)n)
        s->name[0] = '\0';
    for (char *p = s->name; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 127)
            *p = '?';
    if (!SSL_is_server(s->ssl) && s->tls->pinned) {
        s->role = RPC_PEER_NODE;
        return;
    }
    chain = SSL_get0_verified_chain(s->ssl);
    if (chain != NULL && sk_X509_num(chain) > 0)
        s->role = rpc_tls_role(s->tls,
                               sk_X509_value(chain, sk_X509_num(chain) - 1));
}

/* The context was loaded anew while the handshake went on: what it believes
 * now counts, or who was slow on purpose would come in by an old list. */
static int look_again(const struct rpc_secure *s, struct cfs_err *why)
{
    X509 *cert = SSL_get0_peer_certificate(s->ssl);
    const char *text = "";

    if (SSL_get_SSL_CTX(s->ssl) == s->tls->ctx || cert == NULL ||
        s->tls->pinned || s->tls->any ||
        rpc_tls_believes(s->tls, cert, SSL_get_peer_cert_chain(s->ssl),
                         !SSL_is_server(s->ssl), &text))
        return 0;
    return cfs_err_set(why, -EKEYREJECTED, "its certificate is refused: %s",
                       text);
}

int rpc_tls_step(struct rpc_conn *c, struct cfs_err *why)
{
    struct rpc_secure *s = c->sec;
    ssize_t n = 1;

    for (;;) {
        int rc, e, sent;

        ERR_clear_error(); /* others' in this thread: libcurl leaves some */
        rc = SSL_do_handshake(s->ssl);
        e = rc == 1 ? 0 : SSL_get_error(s->ssl, rc);
        sent = drain(c); /* an alert, too */
        c->tx.blocked = sent == -EAGAIN;
        if (sent < 0 && sent != -EAGAIN)
            return cfs_err_set(why, sent, "cannot send: %s", strerror(-sent));
        if (rc == 1) {
            identify(s);
            rc = look_again(s, why);
            return rc < 0 ? rc : 1;
        }
        if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
            return ssl_failed(c, why);
        n = fill(c);
        if (n == -EAGAIN)
            return 0;
        if (n == 0)
            return cfs_err_set(why, -ECONNRESET, "closed by the other side "
                               "during the TLS handshake");
        if (n < 0)
            return cfs_err_set(why, (int)n, "%s", strerror((int)-n));
    }
}

/* -- bytes ---------------------------------------------------------------- */

ssize_t rpc_tls_recv(struct rpc_conn *c, void *to, size_t len, bool more,
                     struct cfs_err *why)
{
    struct rpc_secure *s = c->sec;

    for (unsigned fills = 0;; fills++) {
        size_t got = 0;
        ssize_t n;
        int rc;

        ERR_clear_error(); /* as above */
        rc = SSL_read_ex(s->ssl, to, len, &got);

        if (rc == 1)
            return (ssize_t)got;
        switch (SSL_get_error(s->ssl, rc)) {
        case SSL_ERROR_WANT_READ:
            break;
        case SSL_ERROR_ZERO_RETURN:
            return 0;
        default:
            return ssl_failed(c, why);
        }
        if (rpc_tls_unsent(c) && !c->tx.blocked)
            cfs_hook_ask(c->loop, &c->flush); /* TLS answers by itself */
        if (BIO_ctrl_pending(s->out) > 2 * OUT_MAX)
            return cfs_err_set(why, -EPROTO, "it asks and does not read");
        if (!more || fills == FILLS_MAX)
            return -EAGAIN; /* the poll will tell again */
        n = fill(c);
        if (n == 0 || n == -EAGAIN)
            return n;
        if (n < 0)
            return cfs_err_set(why, (int)n, "%s", strerror((int)-n));
    }
}

/* Encrypt what waits, up to OUT_MAX. */
static ssize_t encrypt(struct rpc_conn *c, struct cfs_err *why)
{
    const struct rpc_tx *tx = &c->tx;
    size_t total = 0;

    for (unsigned i = tx->head; i < tx->n && total < OUT_MAX; i++) {
        const struct cfs_buf *b = &tx->seg[i].buf;
        size_t at = 0;

        while (at < b->len && total < OUT_MAX) {
            size_t n = 0;

            ERR_clear_error(); /* as above */
            if (SSL_write_ex(c->sec->ssl, b->data + at, b->len - at, &n) != 1)
                return ssl_failed(c, why);
            at += n;
            total += n;
        }
    }
    return (ssize_t)total;
}

ssize_t rpc_tls_send(struct rpc_conn *c, struct cfs_err *why)
{
    int rc = drain(c);

    if (rc == -EAGAIN)
        return rc;
    if (rc < 0)
        return cfs_err_set(why, rc, "%s", strerror(-rc));
    return encrypt(c, why);
}

/* -- the end -------------------------------------------------------------- */

void rpc_tls_end(struct rpc_conn *c)
{
    struct rpc_secure *s = c->sec;

    if (s == NULL)
        return;
    c->sec = NULL;
    cfs_list_del(&s->link);
    SSL_free(s->ssl); /* the BIOs with it */
    rpc_tls_unref(s->tls);
    free(s);
    ERR_clear_error();
}

/* -- from outside --------------------------------------------------------- */

enum rpc_peer_role rpc_conn_peer(const struct rpc_conn *c,
                                 const char **ret_name)
{
    if (ret_name != NULL)
        *ret_name = c->sec != NULL ? c->sec->name : "";
    if (c->local)
        return RPC_PEER_LOCAL;
    return c->sec != NULL ? c->sec->role : RPC_PEER_STRANGER;
}

int rpc_conn_peer_print(const struct rpc_conn *c,
                        uint8_t ret[static RPC_TLS_PRINT])
{
    const X509 *cert =
        c->sec != NULL ? SSL_get0_peer_certificate(c->sec->ssl) : NULL;

    if (cert == NULL)
        return -ENOENT;
    rpc_tls_print_of(cert, ret);
    return 0;
}

char *rpc_conn_peer_cert(const struct rpc_conn *c)
{
    X509 *cert =
        c->sec != NULL ? SSL_get0_peer_certificate(c->sec->ssl) : NULL;
    BIO *bio = cert != NULL ? BIO_new(BIO_s_mem()) : NULL;
    char *text = NULL, *p;
    long len;

    if (bio != NULL && PEM_write_bio_X509(bio, cert) == 1) {
        len = BIO_get_mem_data(bio, &p);
        text = len > 0 ? strndup(p, (size_t)len) : NULL;
    }
    BIO_free(bio);
    ERR_clear_error();
    return text;
}
