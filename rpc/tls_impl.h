/* SPDX-License-Identifier: Apache-2.0 */
/* tls_impl.h - TLS inside of rpc: between contexts (tls.c), connections
 * (tls_conn.c) and the socket (conn*.c). Private to rpc.
 *
 * OpenSSL never sees the socket: it reads from and writes to memory, and
 * tls_conn.c carries the bytes, so that batching, back-pressure and the poll
 * are as on a plain connection.
 */
#ifndef CFS_RPC_TLS_IMPL_H
#define CFS_RPC_TLS_IMPL_H

#include <openssl/ssl.h>

#include "rpc/conn_impl.h"
#include "rpc/tls.h"

struct rpc_tls {
    unsigned        refs;
    SSL_CTX        *ctx;
    X509           *node_ca; /* NULL: none */
    X509           *client_ca;
    bool            node_crl; /* there is a list of its revoked ones */
    bool            client_crl;
    bool            pinned;
    uint8_t         pin[RPC_TLS_PRINT];
    bool            any;
    struct cfs_list conns; /* struct rpc_secure */
};

/* TLS of one connection, from its first byte to its end. */
struct rpc_secure {
    struct cfs_list    link; /* in tls->conns */
    struct rpc_conn   *conn;
    struct rpc_tls    *tls;
    SSL               *ssl;
    BIO               *in, *out; /* memory, the SSL's */
    size_t             out_sent; /* bytes of @out that the socket has */
    enum rpc_peer_role role;
    char               name[RPC_TLS_NAME_MAX + 1];
};

/* SHA-256 of the DER. */
void rpc_tls_print_of(const X509 *cert, uint8_t ret[static RPC_TLS_PRINT]);
/* Whether @cert, with @chain, would be let in now; the reason why not. */
bool rpc_tls_believes(struct rpc_tls *t, X509 *cert, STACK_OF(X509) *chain,
                      bool server, const char **ret_why);
enum rpc_peer_role rpc_tls_role(const struct rpc_tls *t, const X509 *root);

/* -- tls_conn.c ----------------------------------------------------------- */

/* The socket of @c is connected: begin. -ENOMEM. */
int rpc_tls_begin(struct rpc_conn *c);
/* Go on with the handshake. 1: done; 0: it waits for the peer (or for room in
 * the socket: c->tx.blocked); negative: refused, *why says it. */
int rpc_tls_step(struct rpc_conn *c, struct cfs_err *why);
/* Plain bytes into @to. 0: the end; -EAGAIN; otherwise *why says it.
 * @more: whether the socket may be read, too. */
ssize_t rpc_tls_recv(struct rpc_conn *c, void *to, size_t len, bool more,
                     struct cfs_err *why);
/* Bytes of c->tx taken over, perhaps 0; -EAGAIN: the socket is full. */
ssize_t rpc_tls_send(struct rpc_conn *c, struct cfs_err *why);
/* Whether something waits for the socket. */
bool rpc_tls_unsent(const struct rpc_conn *c);
void rpc_tls_end(struct rpc_conn *c);

#endif
