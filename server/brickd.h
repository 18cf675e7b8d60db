/* SPDX-License-Identifier: Apache-2.0 */
/* brickd.h - the inside of clusterfs-brickd, shared by its files:
 *
 *     brickd.c       command line
 *     brick.c        the brick's life: volfile, graph, sign-in, end
 *     brick_calls.c  program BRICK: what mgmtd asks of it
 *
 * A brick's life:
 *
 *     WAITING  -> the volfile comes, the graph is built
 *     STARTING -> protocol/server listens, the store is open and said who it
 *                 is; meanwhile signals, TERMINATE and mgmtd's pings are
 *                 answered
 *     SERVING  -> SIGTERM, or mgmtd's TERMINATE
 *     STOPPING -> the graph is at rest: the last checkpoint is written
 *     ENDED
 *
 * It goes on without mgmtd, whatever that one does, and signs in again when
 * it is back. A store that fails while it serves refuses everything from then
 * on; the process lives, and says so. One that does not open ends the
 * process, with the reason in the log, on stderr and in the readiness pipe.
 */
#ifndef CFS_SERVER_BRICKD_H
#define CFS_SERVER_BRICKD_H

#include "core/host.h"
#include "rpc/mgmt.h"
#include "volfiles/volfile.h"

enum brickd_state {
    BRICKD_WAITING,
    BRICKD_STARTING,
    BRICKD_SERVING,
    BRICKD_STOPPING,
    BRICKD_ENDED,
};

/* A call of TERMINATE, answered when the brick has ended. */
struct ender {
    struct cfs_list link;
    struct rpc_msg *msg;
};

struct brickd {
    struct cfs_host host;

    /* the command line */
    struct cfs_uuid id;           /* null: not given */
    char           *server;       /* NULL: mgmtd's, in the run directory */
    char           *volfile_path; /* NULL: mgmtd has it */

    enum brickd_state   state;
    struct mgmt        *mgmt;    /* NULL: there is none to ask */
    struct cfs_volfile *volfile; /* what the graph was made from */
    struct cfs_graph   *graph;
    struct cfs_xl      *below; /* protocol/server's child: what mgmtd asks of
                                  the brick is wound there */

    struct mgmt_brick_hello hello;
    bool                    opened; /* the store is open, or was */
    struct cfs_err          failed; /* why the store failed; code 0: it works */

    struct cfs_list  enders; /* struct ender: they wait for the end */
    struct cfs_timer leave;  /* when the last replies are on their way */
};

/* -- brick.c -------------------------------------------------------------- */

/* Begin: @b->host is initialised, the command line's fields are set. What
 * goes wrong later is told by cfs_host_fail(). */
int  brickd_start(struct brickd *b, struct cfs_err *err);
/* A clean stop, whatever state it is in; the loop ends after it. */
void brickd_stop(struct brickd *b);
/* At once, as a crash would: nothing is written any more. */
void brickd_abandon(struct brickd *b);
void brickd_dump(struct brickd *b, struct cfs_dump *d);
/* Free what @b has, unless its graph was left running. Not the host. */
void brickd_fini(struct brickd *b);

/* -- brick_calls.c -------------------------------------------------------- */

rpc_handler brickd_on_call; /* of program BRICK; ctx is the brickd */

#endif
