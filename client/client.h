/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - one mount's process: what its arguments say, and its life.
 *
 * Life   arguments -> mount point looked at -> volfile (from mgmtd, or a
 *        file) -> graph with mount/fuse on top -> the file system serves:
 *        ready -> unmounted, or told to stop: the graph stops -> end.
 *        Whatever goes wrong before "ready" ends in a message and exit status
 *        1, with nothing left mounted.
 */
#ifndef CFS_CLIENT_CLIENT_H
#define CFS_CLIENT_CLIENT_H

#include "core/host.h"
#include "rpc/creds.h"
#include "rpc/mgmt.h"
#include "volfiles/volfile.h"

#define CLIENT_SERVERS 8u
#define CLIENT_OPTS    8u
#define CLIENT_ARGS    8u

struct client {
    struct cfs_host     host;
    struct cfs_graph   *graph;
    struct mgmt        *mgmt; /* NULL: with --volfile nobody is asked */
    struct cfs_volfile *volfile;
    struct cfs_timer    patience; /* --mount-timeout */

    /* arguments */
    char           *volume;
    char           *volfile_path;
    char           *mountpoint; /* absolute */
    struct rpc_addr server[CLIENT_SERVERS];
    unsigned        n_servers;
    char           *server_text[CLIENT_SERVERS];
    char           *credentials; /* file; NULL: what there is */
    struct rpc_creds creds;
    struct cfs_timer refresh; /* of them */
    uint64_t        timeout_ms;
    char            mount_options[1024];
    struct cfs_kv   opts[CLIENT_OPTS]; /* mount/fuse's own, out of -o */
    unsigned        n_opts;
    char           *source; /* what df shows */

    bool           ready;
    bool           stopping;
    bool           stopped;
    struct cfs_err failure; /* why it did not come to ready */
    struct cfs_err held_up; /* for whom it waits, before it is ready */
};

/* -- args.c ---------------------------------------------------------------- */

/* The table of arguments, which fill @c; and its defaults. */
void client_args_init(struct client *c,
                      struct cfs_arg ret[static CLIENT_ARGS]);
void client_args_free(struct client *c);
/* What is left to check once all are known: mount point, volume, servers. */
int  client_args_finish(struct client *c, struct cfs_err *err);
/* Servers that were not named: this node's mgmtd. That one is asked on its
 * Unix socket, also when it was named. */
int  client_servers(struct client *c, struct cfs_err *err);
/* Those of the credentials, behind them. */
void client_more_servers(struct client *c);
/* The default log's name. */
char *client_log_name(struct cfs_host *h);

/* -- spot.c ---------------------------------------------------------------- */

/* The mount point as an absolute path, without touching what is mounted on
 * it. -EBUSY: a clusterfs is mounted there; -ENOTDIR, -ENOENT. */
int client_spot(const char *path, char **ret, struct cfs_err *err);

#endif
