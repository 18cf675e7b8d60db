/* SPDX-License-Identifier: Apache-2.0 */
/* tls.h - TLS for connections of rpc (OpenSSL), and who the peer proved to be.
 *
 * A context says who we are and whom we believe; connections take it in
 * struct rpc_opts (.tls; counted). On TCP a connection with a context speaks
 * TLS 1.3 or 1.2 from its first byte, one without never does. Unix sockets
 * never speak it.
 *
 * Trust      A peer's certificate is *checked* when it chains to one of the
 *            context's authorities, its time is right, and it is on no
 *            revocation list; then rpc_conn_peer() says which authority and
 *            which name. A listener lets a peer without a certificate in as a
 *            stranger (role RPC_PEER_STRANGER); what it may ask is decided per
 *            program and procedure by whoever offers it. A certificate that
 *            fails the check closes the connection.
 *            An outgoing connection wants a checked *node*; or, with
 *            rpc_tls_pin(), exactly one fingerprint; or, with
 *            rpc_tls_any_server(), takes whom it meets (a client that has
 *            nothing yet to know its cluster by).
 * Change     rpc_tls_load() may be called again (renewal, revocation): new
 *            connections use it; rpc_tls_recheck() closes those whose peer
 *            would be refused now.
 * Threads    the loop thread; a step of a handshake takes under a millisecond
 *            (ECDSA P-256).
 * Errors     -EINVAL, -EKEYREJECTED with words that name the file or peer.
 */
#ifndef CFS_RPC_TLS_H
#define CFS_RPC_TLS_H

#include "core/fop.h"
#include "core/log.h"
#include "core/loop.h"

#define RPC_TLS_NAME_MAX 255u
#define RPC_TLS_PRINT    32u /* bytes of a fingerprint: SHA-256 of the DER */

struct rpc_conn;
struct rpc_tls;

enum rpc_peer_role {
    RPC_PEER_LOCAL,    /* a Unix socket: see rpc_conn_is_privileged() */
    RPC_PEER_STRANGER, /* no certificate */
    RPC_PEER_NODE,     /* signed by the cluster's node authority */
    RPC_PEER_CLIENT,   /* signed by the cluster's client authority */
};

/* PEM texts; NULL: none. */
struct rpc_tls_spec {
    const char *cert;      /* ours, and what is to be sent behind it */
    const char *key;
    const char *node_ca;   /* authorities we believe */
    const char *client_ca;
    const char *node_crl;  /* who is not believed any more */
    const char *client_crl;
};

int  rpc_tls_new(struct rpc_tls **ret, struct cfs_err *err);
int  rpc_tls_load(struct rpc_tls *t, const struct rpc_tls_spec *spec,
                  struct cfs_err *err);
struct rpc_tls *rpc_tls_ref(struct rpc_tls *t);
void rpc_tls_unref(struct rpc_tls *t); /* NULL is fine */
/* Close connections whose peer would be refused now. */
void rpc_tls_recheck(struct rpc_tls *t);
/* For outgoing connections with this context: see above. */
void rpc_tls_pin(struct rpc_tls *t, const uint8_t print[static RPC_TLS_PRINT]);
void rpc_tls_any_server(struct rpc_tls *t);

/* Who the peer proved to be: role, and the common name of its certificate
 * ("" for a stranger). Good while the connection is up. */
enum rpc_peer_role rpc_conn_peer(const struct rpc_conn *c,
                                 const char **ret_name);
/* -ENOENT: it showed none. */
int rpc_conn_peer_print(const struct rpc_conn *c,
                        uint8_t ret[static RPC_TLS_PRINT]);
/* Its certificate, malloc'ed PEM; NULL: it showed none. */
char *rpc_conn_peer_cert(const struct rpc_conn *c);
/* A list of revoked ones has a number, which grows. 0: it is no list. */
uint64_t rpc_tls_list_number(const char *crl);
/* The peer's address without its port, numeric; "" for a Unix socket. */
void rpc_conn_peer_host(const struct rpc_conn *c, char *ret, size_t len);

#endif
