/* SPDX-License-Identifier: Apache-2.0 */
/* tree_int.h - between tree.c and tree_shape.c. */
#ifndef CFS_BLOCK_TREE_INT_H
#define CFS_BLOCK_TREE_INT_H

#include "xlators/storage/block/engine/tree.h"

/* From the root to a leaf: in each node the slot that was taken; in the leaf
 * the first one whose key is not below the one that was looked for. */
struct step {
    struct node *node;
    unsigned     slot;
};

struct path {
    struct step s[NODE_LEVELS];
    unsigned    n;
    bool        exact;
};

/* Make @n dirty; true: it was not. Its parent is, and its slot there is then
 * the caller's to set. */
bool node_dirty(struct eng *e, struct node *n);
void node_set_temp(struct node *parent, unsigned slot, const struct node *n);

/* An empty one, dirty, in no parent. */
struct node *node_new(struct eng *e, unsigned level);
/* Out of the tree: @n is in no parent. */
void node_drop(struct eng *e, struct node *n);

/* A cell, and the child that belongs to it (or NULL), in one node. */
void node_insert(struct node *n, unsigned slot, const struct cell *c,
                 struct node *kid);
void node_remove(struct node *n, unsigned slot); /* its child is out already */

/* Insert into the node of step @at, before @slot; split as far up as needed.
 * The path is dirty. Afterwards it is no longer valid. */
void tree_insert(struct eng *e, struct path *p, unsigned at, unsigned slot,
                 const struct cell *c, struct node *kid);

/* The node of step @at has lost a cell: take it out if it is empty, merge it
 * if it is poor. */
void tree_rebalance(struct eng *e, struct path *p, unsigned at);

#endif
