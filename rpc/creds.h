/* SPDX-License-Identifier: Apache-2.0 */
/* creds.h - what a program that is no mgmtd shows to one, over TLS.
 *
 * A client's credentials are one text file: lines "# server HOST:PORT", then
 * in PEM its key, its certificate, and the node authority's certificate, by
 * which it knows its cluster. On a node of the cluster root may use the node's
 * own. Who has none is a stranger, and takes the mgmtd that it meets.
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
void rpc_creds_fini(struct rpc_creds *c);

#endif
