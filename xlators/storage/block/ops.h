/* SPDX-License-Identifier: Apache-2.0 */
/* ops.h - the file system of one brick: every operation of fops.def on the
 * records (rec.h) in the engine's tree.
 *
 * A change: its inodes' turn comes (op.c), it is admitted (op_admit.c), its
 * data is written to free blocks (stage.c), everything that it will put and
 * delete is worked out and checked (plan.c, op_*.c), and then, in one turn of
 * the loop, that is done and its journal record committed. Nothing is ever
 * rolled back. An operation that needs a node which is not in memory is put
 * aside and starts again when it is there. A replay (replay.c) works out the
 * same plan from the record, and does it.
 *
 * (1) I4: a change is applied only for a live session, in the current epoch,
 *     while this brick's incarnation is in that view.
 * (2) I5: only to exactly the versions that it expects; a repeat gets its
 *     first answer again. An answer of 0 means that each inode it touched is
 *     at the version that the change makes.
 * (3) I6, I7: dirty index and operation log are part of the change.
 * (4) Operations on an inode are applied in their order of arrival.
 *
 * Threads  the loop thread.
 */
#ifndef CFS_BLOCK_OPS_H
#define CFS_BLOCK_OPS_H

#include "core/fop.h"
#include "xlators/storage/block/engine/engine.h"

struct ops;

struct ops_config {
    struct eng_config eng;
    uint64_t          small_file; /* bytes kept in the tree, <= 4096 */
    uint32_t          ahead_min;  /* bytes: a write this long may take its data
                                   * to the device before its turn */
    bool              pack;       /* compress data; with .eng.packs */
};
extern const struct ops_config ops_config_default;

/* Make an empty brick with a root directory. Replicas that are given the same
 * @now are identical. Blocking; @dev stays the caller's. */
int ops_mkfs(struct cfs_dev *dev, const struct eng_format *format,
             struct cfs_time now, struct cfs_err *err);

/* Open (blocking): as eng_open(), which takes @dev over on success. @who names
 * it in the log. */
int ops_open(struct cfs_loop *loop, struct cfs_log *log, const char *who,
             struct cfs_dev *dev, const struct ops_config *config,
             struct ops **ret, struct cfs_err *err);

/* The same, but the pool does what blocks, and the loop goes on meanwhile.
 * The caller fills in the first fields, and owns it until done(). */
struct ops_opening {
    struct cfs_dev   *dev;
    struct ops_config config;
    void (*done)(struct ops_opening *w);

    struct ops    *ops; /* then: NULL, or it is open */
    int            rc;
    struct cfs_err err;

    struct cfs_job job;
    struct eng    *eng;
};
void ops_open_start(struct cfs_loop *loop, struct cfs_log *log,
                    const char *who, struct ops_opening *w);

/* Do @req, whatever it is, and unwind it once. */
void ops_submit(struct ops *o, struct cfs_req *req);

/* Options that may change while it runs. */
void ops_reconfigure(struct ops *o, uint64_t small_file, bool pack);

/* Take no more requests (-ENOTCONN), wait for those there are, say whether it
 * stops cleanly, close the engine; done() comes when @o is gone. */
void ops_close(struct ops *o, void (*done)(void *ctx, int status), void *ctx);

/* Once, when the engine failed for good; ops_reason() says why. */
void        ops_on_poison(struct ops *o, void (*fn)(void *ctx, int status),
                          void *ctx);
const char *ops_reason(const struct ops *o);

/* How long the device may take (stall.h), from now on; and who is told when
 * .stalled of ops_info() has changed. */
void ops_set_op_timeout(struct ops *o, uint64_t ms);
void ops_on_stall(struct ops *o, void (*fn)(void *ctx), void *ctx);

/* What brick_info answers. */
void ops_info(const struct ops *o, struct cfs_brick *ret);

/* Figures for a statedump. */
struct ops_stat {
    uint64_t in_flight;  /* operations begun and not ended */
    uint64_t put_aside;  /* times that one waited for a node or space */
    uint64_t repeats;    /* changes answered from the stored answers */
    uint64_t answers;    /* kept now */
    uint64_t removals;   /* steps */
    uint64_t ahead;      /* writes whose data went before their turn */
    uint64_t widened;    /* overwrites that had their chunk packed anew */
};
void ops_stat(const struct ops *o, struct ops_stat *ret);

struct eng *ops_engine(struct ops *o);

#endif
