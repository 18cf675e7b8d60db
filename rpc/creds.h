/* SPDX-License-Identifier: Apache-2.0 */
/* creds.h - what a program that is no mgmtd shows to one, over TLS.
 *
 * A client's credentials are one text file: lines "# server HOST:PORT", then
 * in PEM its key, its certificate, the node authority's certificate, by which
 * it knows its cluster, and the list of nodes that are not believed any more.
 * On a node of the cluster root may use the node's own. Who has none is a
 * stranger, and takes the mgmtd that it meets.
 *
 * A file's certificate and list are kept new by whoever uses it
 * (HANDSHAKE.TRUST): rpc_creds_update(). Several processes may do so to one
 * file: it is replaced by rename, each time made of what is there.
 *
 * Errors  -ENOENT (no such file), -EINVAL, -EKEYREJECTED, -errno; the message
 *         names the file.
 */
#ifndef CFS_RPC_CREDS_H
#define CFS_RPC_CREDS_H

#include "rpc/tls.h"
#include "rpc/conn.h"

#define RPC_CREDS_SERVERS 8u

struct rpc_creds {
    struct rpc_tls *tls;
    char           *path; /* of the file, or a node's folder; NULL: none */
    bool            is_node;
    char           *text;    /* of a client's file: what is in use */
    char           *read;    /* as it was when it was read last */
    bool            unsaved; /* @text is newer than the file */
    struct rpc_addr server[RPC_CREDS_SERVERS]; /* of the cluster, then */
    unsigned        n_servers;
};

/* A client's file. */
int rpc_creds_load(const char *path, struct rpc_creds *ret,
                   struct cfs_err *err);
/* @path, if it is not NULL; else CONFIG_DIR/client.pem, STATE_DIR/trust, or
 * nothing, whatever there is first. */
int rpc_creds_find(const char *path, const char *config_dir,
                   const char *state_dir, struct rpc_creds *ret,
                   struct cfs_err *err);
/* Read them again: a node's renew themselves. New connections use them. What
 * cannot be read leaves them as they were. */
int rpc_creds_refresh(struct rpc_creds *c, struct cfs_err *err);
/* Whether they are a client's file, which can be kept new. */
bool rpc_creds_is_file(const struct rpc_creds *c);
/* The number of its list of revoked nodes; 0: there is none. */
uint64_t rpc_creds_list(const struct rpc_creds *c);
/* Take over a newer list, a new certificate for its key ("": as it was), which
 * a node of its cluster sent. Connections whose peer is on the list end. 1:
 * something changed; 0: nothing did. -EINVAL, -EKEYREJECTED: it does not fit,
 * and is left alone. Another error: it is in use, but the file cannot be
 * written (the next call tries again). */
int rpc_creds_update(struct rpc_creds *c, const char *crl, const char *cert,
                     struct cfs_err *err);
void rpc_creds_fini(struct rpc_creds *c);

#endif
