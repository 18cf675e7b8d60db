/* SPDX-License-Identifier: Apache-2.0 */
/* debugfs.h - the verbs of debugfs.clusterfs. Each prints to stdout. */
#ifndef CFS_SERVER_DEBUGFS_H
#define CFS_SERVER_DEBUGFS_H

#include "server/words.h"

struct debugfs {
    const char       *path;  /* of the device */
    unsigned          flags; /* TOOL_LIVE */
    bool              bare;  /* as the newest checkpoint has it */
    const char       *arg;   /* the verb's own; NULL: none */
    struct tool_brick b;     /* verbs that ask for it */
};

/* 0, or an error that err tells. */
int debugfs_super(struct debugfs *d, struct cfs_err *err);
int debugfs_heartbeat(struct debugfs *d, struct cfs_err *err);
int debugfs_journal(struct debugfs *d, struct cfs_err *err);
int debugfs_tree(struct debugfs *d, struct cfs_err *err);
int debugfs_stat(struct debugfs *d, struct cfs_err *err);
int debugfs_dump(struct debugfs *d, struct cfs_err *err);
int debugfs_sessions(struct debugfs *d, struct cfs_err *err);
int debugfs_views(struct debugfs *d, struct cfs_err *err);
int debugfs_dirty(struct debugfs *d, struct cfs_err *err);

/* A digest of @g's bytes that two files share only if their bytes are equal,
 * wherever they lie and however they are stored: XXH3-128 of the number
 * (8 bytes, little-endian) and the 4096 bytes of each block that holds
 * anything but zeros. -EIO, -CFS_E_CHECKSUM, -CFS_E_CORRUPT. */
#define DIGEST_STR 33
int debugfs_digest(struct tool_brick *b, struct cfs_gfid g,
                   const struct rec_inode *ino, char ret[static DIGEST_STR]);

#endif
