/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - the copy-on-write B+tree over the nodes in memory.
 *
 * (1) Every ancestor of a dirty node is dirty.
 * (2) Changing the tree takes no block and reads nothing: addresses are given
 *     at the freeze, and what is met was touched before.
 */
#ifndef CFS_BLOCK_TREE_H
#define CFS_BLOCK_TREE_H

#include "xlators/storage/block/engine/cache.h"

/* A node that is to be written, as a checkpoint sees it: nothing here changes
 * after the freeze but @first. */
struct dirt {
    struct node *node; /* NULL: taken back before the freeze */
    uint8_t     *page;
    uint32_t     len;
    uint32_t     first; /* of its parts, in the checkpoint's results */
    uint8_t      level;
};

struct tree {
    struct node *root;
    struct dirt *dirty;
    uint32_t     n_dirty; /* entries, empty ones too */
    uint32_t     cap_dirty;
    uint64_t     dirty_blocks;
    bool         changed; /* since the last freeze */
};

struct eng;

void tree_init(struct eng *e); /* an empty one, dirty */
int  tree_load(struct eng *e, const struct fmt_ptr *root, unsigned level);
void tree_fini(struct eng *e);

static inline unsigned tree_level(const struct tree *t)
{
    return t->root->level;
}

/* Blocks that @puts puts of @bytes in all may need at the next freeze. */
uint64_t tree_worst(const struct tree *t, unsigned puts, size_t bytes);

bool node_is_frozen(const struct eng *e, const struct node *n);

#endif
