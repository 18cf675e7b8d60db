/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_repair.h - a damaged brick made sound again.
 *
 * The checker says what is wrong and what would mend it (fsck_fix.h); that is
 * done to the tree in memory; and so on, until the checker finds nothing.
 * Then the space map is made anew from what it saw, and all is written in one
 * checkpoint. Until then nothing is written: what cannot be made sound stays
 * as it was, and a power cut leaves the old state or the new.
 *
 * (1) A brick whose records were changed says so (rec_brick.repaired), has a
 *     new life and is not clean: it is no copy of anything until it is healed.
 * (2) Inodes that were changed are at a version that no replica has.
 */
#ifndef CFS_SERVER_FSCK_REPAIR_H
#define CFS_SERVER_FSCK_REPAIR_H

#include "server/fsck.h"

struct fsck_repair_result {
    struct fsck_result first; /* as it was found */
    struct fsck_result last;  /* as it will be */
    uint64_t fixes;
    unsigned rounds;  /* of checking; 1: nothing was to be mended */
    bool     changed; /* records, not only copies and the space map */
    bool     lost;    /* data, names or changes that were there once */
    bool     written; /* begun to; */
    bool     mended;  /* and all of it is durable */
};

struct fsck_repair_config {
    bool data; /* verify the checksums of file data, too */
    bool dry;  /* find out whether it can be done; write nothing */
    /* In the first round; and in the last, of what could not be saved. */
    void (*found)(void *ctx, const struct fsck_finding *f);
    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t of);
    /* It can be done: shall it be? NULL: yes. */
    bool (*confirm)(void *ctx, const struct fsck_repair_result *r);
    void *ctx;
};

/* What was found before the check proper. */
struct fsck_early {
    unsigned findings;
    bool     lost; /* changes were given up */
};

/* Open @dev (@path) for it, which is taken over on success: as the newest
 * checkpoint with its journal has it; when that cannot be read, or not all of
 * it, the same made anew from the checkpoint before; else without the journal,
 * or even as the checkpoint before has it. -CFS_E_CORRUPT: there is nothing
 * that a repair could begin with. */
int fsck_repair_open(struct cfs_loop *loop, struct cfs_dev *dev,
                     const char *path, const struct fsck_repair_config *config,
                     struct tool_brick *ret, struct fsck_early *ret_early,
                     struct cfs_err *err);

/* What a brick counts, its journal included. */
void fsck_brick_counts(const struct ops *ops, struct rec_brick *ret);

/* Tell of the copies of the superblock in @bad (eng_copies()); how many. */
unsigned fsck_tell_copies(unsigned bad,
                          void (*found)(void *ctx,
                                        const struct fsck_finding *f),
                          void *ctx);

/* Mend what is open. 0: it is (or, dry, can be) sound; -ECANCELED: not
 * confirmed; -CFS_E_CORRUPT: it cannot be made sound; -ENOSPC; what a write
 * says. Nothing was written unless ret->written. */
int fsck_repair(struct tool_brick *b, const struct fsck_early *early,
                const struct fsck_repair_config *config,
                struct fsck_repair_result *ret, struct cfs_err *err);

#endif
