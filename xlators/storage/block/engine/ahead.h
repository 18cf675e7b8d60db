/* SPDX-License-Identifier: Apache-2.0 */
/* ahead.h - for tools that walk through all of a tree: what comes next is read
 * and verified by the pool, many parts at a time, while the walk is busy with
 * what came before.
 *
 * A part is a *family*: an inner node just above the leaves, and its leaves.
 * A walk that is at a node of level 2 has the families of the next AHEAD of
 * its children read. One that cannot be had in whole has only what is sound;
 * the walk reads the rest itself, and finds out what is wrong with it.
 *
 * Only in an engine that is blocking and read-only, by a caller from outside
 * the loop: waiting for a family runs it. Nothing leaves the cache meanwhile.
 *
 * Memory     AHEAD times what a node can have of leaves: 7 MiB.
 * Threads    the loop's; the pool's have a family while it is busy.
 */
#ifndef CFS_BLOCK_AHEAD_H
#define CFS_BLOCK_AHEAD_H

#include "xlators/storage/block/engine/cache.h"

#define AHEAD 16u /* families; the pool has as many threads */

/* Leaves that a node can have at most. */
#define FAMILY_MAX                                                           \
    (NODE_ROOM / (CELL_HEAD + sizeof(struct fmt_ptr) + sizeof(uint16_t)))

struct family {
    struct cfs_job job;
    struct eng    *eng;
    struct fmt_ptr at;    /* of the node, which tells families apart; lba 0:
                             there is none here */
    uint64_t       since; /* when it was asked for: by .clock */
    bool           busy;  /* the pool has it */
    bool           sound; /* so is .page */
    bool           leaf_sound[FAMILY_MAX];
    uint8_t       *page;
    uint8_t       *leaf;  /* of each slot, NODE_SIZE bytes */
};

struct ahead {
    bool          on;    /* a sweep is at work */
    unsigned      busy;
    uint64_t      clock;
    struct family fam[AHEAD];
};

bool ahead_may(const struct eng *e);

/* The walk is at slot @slot of @page, a node of level 2, which is @n if that
 * is in memory (or NULL); it will go on up to the key @hi (len 0: to the end).
 * Begins to read what comes next, and waits for the family of this child:
 * NULL, when that is mostly in memory already, or cannot be had this way. */
struct family *ahead_step(struct eng *e, const uint8_t *page,
                          const struct node *n, unsigned slot,
                          struct cfs_blob hi);
static inline const uint8_t *family_leaf(const struct family *f, unsigned slot)
{
    return f->leaf_sound[slot] ? f->leaf + slot * (size_t)NODE_SIZE : NULL;
}
void ahead_done(struct family *f); /* NULL is fine */

void ahead_fini(struct eng *e); /* none is busy */

#endif
