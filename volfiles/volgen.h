/* SPDX-License-Identifier: Apache-2.0 */
/* volgen.h - from what a volume is to the volfiles of its clients and bricks.
 *
 * A client's:  protocol/client x bricks -> cluster/replicate
 *              -> performance/write-behind -> features/dlm-lock
 *              -> debug/io-stats           (mount/fuse is put on by the client)
 * A brick's:   storage/block -> features/lock-server -> debug/io-stats
 *              -> protocol/server
 *
 * A volume's options go to the translators that understand them:
 * volfiles/voption.h.
 *
 * Ownership  everything in these structs is borrowed.
 */
#ifndef CFS_VOLFILES_VOLGEN_H
#define CFS_VOLFILES_VOLGEN_H

#include "volfiles/volfile.h"

struct cfs_vg_brick {
    struct cfs_uuid id;
    const char     *host;    /* for remote-host */
    const char     *device;  /* block device or image file */
    const char     *socket;  /* Unix socket; NULL: on another machine */
    uint16_t        port;    /* TCP as registered; 0: none, or not known yet */
    const char     *address; /* where it listens for TCP; NULL: nowhere */
};

struct cfs_vg_volume {
    const char                *name;
    struct cfs_uuid            id;
    struct cfs_uuid            cluster; /* null: not said to bricks */
    uint64_t                   generation;
    uint64_t                   lineage;
    struct cfs_uuid            set;
    const struct cfs_vg_brick *brick; /* the set's, in order */
    size_t                     n_bricks;
    const struct cfs_kv       *opts;
    size_t                     n_opts;
    uint16_t                   mgmt_port; /* of brick.host; 0: the usual one */
    /* Who proves what over TCP (rpc/proof.h); secrets in hex, NULL: none. A
     * brick's volfile has the volume's secret, a client's only its own. */
    const char                *node; /* a brick's own node; NULL: not said */
    const char                *secret;
    uint64_t                   secret_number;
    const char                *secret_before; /* NULL: none */
    const char                *removed;
    const char                *client;
    const char                *client_secret;
    uint64_t                   client_generation;
};

int cfs_vg_client(const struct cfs_vg_volume *vol, struct cfs_volfile **ret,
                  struct cfs_err *err);

/* Of vol->brick[@i]. */
int cfs_vg_brick(const struct cfs_vg_volume *vol, size_t i,
                 struct cfs_volfile **ret, struct cfs_err *err);

#endif
