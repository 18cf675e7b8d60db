/* SPDX-License-Identifier: Apache-2.0 */
/* fsck.h - checks everything that a brick's tree holds: that each node and
 * record is whole, and that the records agree with one another and with the
 * space map. It changes nothing.
 *
 * Order: the tree's nodes; inodes; marks; names; cookies; what else belongs
 * to inodes, with the checksums of their data; replication's records; then
 * what only the end can tell, and the space map.
 *
 * Memory     64 bytes for each inode, two bits for each block of the device.
 * Ownership  what a finding refers to is borrowed for the call.
 */
#ifndef CFS_SERVER_FSCK_H
#define CFS_SERVER_FSCK_H

#include "server/tool.h"

struct fsck_fixes; /* fsck_fix.h */

/* Something that is wrong. */
struct fsck_finding {
    const char     *kind; /* one word, for programs */
    struct cfs_gfid gfid; /* null: of no inode */
    const char     *path; /* escaped; NULL: none is known */
    const char     *text; /* a sentence about it, without its subject */
    bool            known; /* a repair has said it before: no error */
};

struct fsck_config {
    bool data;    /* verify the checksums of file data, too */
    bool journal; /* it is there and was not applied: blocks that it names
                     are in use and nobody's yet */
    /* What the brick counts, its journal included; NULL: as the tree has it. */
    const struct rec_brick *counts;
    bool no_map;  /* the space map is about to be made anew */
    struct fsck_fixes *fixes; /* NULL, or: what would mend it goes here */
    void (*found)(void *ctx, const struct fsck_finding *f);
    /* @done of @of (0: not known) @what. */
    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t of);
    void *ctx;
};

/* Findings that are told; more are only counted. */
#define FSCK_TOLD_MAX 10000u

struct fsck_result {
    uint64_t findings;
    uint64_t inodes;
    uint64_t directories;
    uint64_t files;
    uint64_t names;
    uint64_t orphans;
    uint64_t dirty;
    uint64_t oplog;
    uint64_t tree_blocks;
    uint64_t data_blocks;
    uint64_t lost_files; /* that a repair could not save as a whole */
    uint64_t verified; /* blocks whose checksum was computed */
    uint64_t blocks;   /* that there are, in use or not */
    bool     incomplete; /* parts of the tree could not be read */
    uint64_t *owned;   /* with .fixes: a bit for each block that somebody has,
                          the caller's to free */
};

void fsck_run(struct cfs_loop *loop, struct eng *e,
              const struct fsck_config *config, struct fsck_result *ret);

#endif
