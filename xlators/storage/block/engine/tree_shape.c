/* SPDX-License-Identifier: Apache-2.0 */
/* tree_shape.c - splitting and merging.
 *
 * Where keys come in order, a node is split behind the newest one, so that
 * what is left behind is full; else in the middle of its bytes. A node is
 * merged only with a neighbour that is in memory: a change reads nothing. */
#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/engine/tree_int.h"

#define RUN_ORDERED 3u /* insertions in a row that make an order */
#define POOR        (NODE_ROOM / 4)
#define MERGED_MAX  (NODE_ROOM * 3 / 4)

void node_insert(struct node *n, unsigned slot, const struct cell *c,
                 struct node *kid)
{
    unsigned old = page_n(n->page);

    if (kid || n->kid) {
        cache_need_kids(n);
        memmove(n->kid + slot + 1, n->kid + slot,
                (old - slot) * sizeof(struct node *));
        n->kid[slot] = kid;
        if (kid) {
            kid->parent = n;
            n->n_kids++;
        }
    }
    page_insert(n->page, slot, c);
    if (slot == n->last_slot + 1u)
        n->run = (uint16_t)(n->run < UINT16_MAX ? n->run + 1 : n->run);
    else if (slot != n->last_slot)
        n->run = 0;
    n->last_slot = (uint16_t)slot;
}

void node_remove(struct node *n, unsigned slot)
{
    unsigned left = page_n(n->page) - 1;

    if (n->kid) {
        assert(!n->kid[slot]);
        memmove(n->kid + slot, n->kid + slot + 1,
                (left - slot) * sizeof(struct node *));
        n->kid[left] = NULL;
    }
    page_remove(n->page, slot);
}

/* Out of @parent's memory, before its slot is removed. */
static void detach(struct node *parent, unsigned slot)
{
    parent->kid[slot] = NULL;
    parent->n_kids--;
}

/* -- splitting ------------------------------------------------------------- */

/* A full node's cells and the one to come, in order. */
struct items {
    const uint8_t     *page; /* a copy */
    struct node      **kid;  /* a copy, or NULL */
    unsigned           slot; /* of the new one */
    const struct cell *c;
    struct node       *c_kid;
    unsigned           n;
};

static struct cell item(const struct items *it, unsigned i)
{
    if (i == it->slot)
        return *it->c;
    return page_get(it->page, i < it->slot ? i : i - 1);
}

static struct node *item_kid(const struct items *it, unsigned i)
{
    if (i == it->slot)
        return it->c_kid;
    return it->kid ? it->kid[i < it->slot ? i : i - 1] : NULL;
}

/* How many items stay on the left: both sides fit, and are not empty. */
static unsigned choose(const struct items *it, bool ordered)
{
    size_t all = 0, left = 0, best_gap = SIZE_MAX;
    unsigned best = 0;

    for (unsigned i = 0; i < it->n; i++) {
        struct cell c = item(it, i);

        all += cell_cost(&c);
    }
    for (unsigned i = 1; i < it->n; i++) {
        struct cell c = item(it, i - 1);
        size_t right, gap;

        left += cell_cost(&c);
        right = all - left;
        if (left > NODE_ROOM || right > NODE_ROOM)
            continue;
        /* In order: behind the new one, or before it when it is last. */
        if (ordered && (i == it->slot + 1 ||
                        (i == it->slot && i == it->n - 1)))
            return i;
        gap = left > right ? left - right : right - left;
        if (gap < best_gap) {
            best_gap = gap;
            best = i;
        }
    }
    assert(best > 0);
    return best;
}

static void deal(const struct items *it, struct node *n, unsigned from,
                 unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct cell c = item(it, i);

        node_insert(n, i - from, &c, item_kid(it, i));
    }
}

/* The shortest key that is above all left of @right's first and not above
 * that one. */
static struct cfs_blob separator(const struct node *left,
                                 const struct node *right)
{
    struct cfs_blob b = page_key(right->page, 0), a;
    const uint8_t *ap, *bp = b.p;
    uint32_t same = 0;

    if (right->level > 0)
        return b;
    a = page_key(left->page, page_n(left->page) - 1);
    ap = a.p;
    while (same < a.len && same < b.len && ap[same] == bp[same])
        same++;
    /* In a damaged tree they may be out of order: any key will do. */
    if (same < b.len)
        b.len = same + 1;
    return b;
}

/* @right has come behind the node of step @at: tell the level above. */
static void add_to_parent(struct eng *e, struct path *p, unsigned at,
                          struct node *right)
{
    struct node *left = p->s[at].node;
    struct fmt_ptr temp = {.lba = PTR_TEMP | right->idx, .gen = right->epoch};
    struct cell c = {.key = separator(left, right),
                     .val = {&temp, sizeof temp}};

    if (at == 0) {
        struct fmt_ptr first = {.lba = PTR_TEMP | left->idx,
                                .gen = left->epoch};
        struct cell l = {.key = {"", 0}, .val = {&first, sizeof first}};
        struct node *root = node_new(e, left->level + 1u);

        assert(root->level < NODE_LEVELS);
        node_insert(root, 0, &l, left);
        node_insert(root, 1, &c, right);
        e->tree.root = root;
        return;
    }
    tree_insert(e, p, at - 1, p->s[at - 1].slot + 1, &c, right);
}

static void split(struct eng *e, struct path *p, unsigned at, unsigned slot,
                  const struct cell *c, struct node *kid)
{
    struct node *left = p->s[at].node;
    struct node *right = node_new(e, left->level);
    uint8_t copy[NODE_SIZE];
    struct items it = {.page = copy, .slot = slot, .c = c, .c_kid = kid,
                       .n = page_n(left->page) + 1};
    bool ordered = left->run >= RUN_ORDERED && slot == left->last_slot + 1u;
    unsigned keep;

    memcpy(copy, left->page, NODE_SIZE);
    it.kid = left->kid;
    left->kid = NULL;
    left->kid_cap = 0;
    left->n_kids = 0;
    page_init(left->page, left->level);
    keep = choose(&it, ordered);
    deal(&it, left, 0, keep);
    deal(&it, right, keep, it.n);
    left->run = right->run = ordered ? RUN_ORDERED : 0;
    free(it.kid);
    add_to_parent(e, p, at, right);
}

void tree_insert(struct eng *e, struct path *p, unsigned at, unsigned slot,
                 const struct cell *c, struct node *kid)
{
    struct node *n = p->s[at].node;

    if (page_fits(n->page, c))
        node_insert(n, slot, c, kid);
    else
        split(e, p, at, slot, c, kid);
}

/* -- merging --------------------------------------------------------------- */

/* The root has one child, or none: one level less. */
static void collapse(struct eng *e)
{
    for (;;) {
        struct node *root = e->tree.root;
        struct node *kid = NULL;

        if (root->level == 0 || page_n(root->page) > 1)
            return;
        if (page_n(root->page) == 1) {
            kid = root->kid ? root->kid[0] : NULL;
            if (!kid || kid->state != NODE_READY)
                return;
            detach(root, 0);
            kid->parent = NULL;
        }
        e->tree.root = kid ? kid : node_new(e, 0);
        node_drop(e, root);
    }
}

/* The neighbour in @slot, if it can be merged with. */
static struct node *neighbour(struct node *parent, unsigned slot)
{
    struct node *n;

    if (slot >= page_n(parent->page))
        return NULL;
    n = parent->kid ? parent->kid[slot] : NULL;
    return n && n->state == NODE_READY ? n : NULL;
}

/* Move all of the node in @slot + 1 of @parent to the one in @slot; both are
 * dirty. */
static void merge(struct eng *e, struct node *parent, unsigned slot)
{
    struct node *l = parent->kid[slot], *r = parent->kid[slot + 1];
    unsigned at = page_n(l->page);

    for (unsigned i = 0; i < page_n(r->page); i++) {
        struct cell c = page_get(r->page, i);
        struct node *kid = r->kid ? r->kid[i] : NULL;

        /* The first key of an inner node may be any lower bound: the true
         * one is the parent's. */
        if (i == 0 && r->level > 0)
            c.key = page_key(parent->page, slot + 1);
        node_insert(l, at + i, &c, kid);
    }
    free(r->kid);
    r->kid = NULL;
    r->kid_cap = r->n_kids = 0;
    detach(parent, slot + 1);
    node_remove(parent, slot + 1);
    node_drop(e, r);
}

static bool try_merge(struct eng *e, struct node *parent, unsigned slot)
{
    struct node *l = neighbour(parent, slot);
    struct node *r = neighbour(parent, slot + 1);

    if (!l || !r ||
        page_used(l->page) + page_used(r->page) +
                page_key(parent->page, slot + 1).len > MERGED_MAX)
        return false;
    if (node_dirty(e, l))
        node_set_temp(parent, slot, l);
    if (node_dirty(e, r))
        node_set_temp(parent, slot + 1, r);
    merge(e, parent, slot);
    return true;
}

void tree_rebalance(struct eng *e, struct path *p, unsigned at)
{
    struct node *n = p->s[at].node;
    struct node *parent;
    unsigned slot;

    if (at == 0) {
        collapse(e);
        return;
    }
    parent = p->s[at - 1].node;
    slot = p->s[at - 1].slot;
    if (page_n(n->page) == 0) {
        detach(parent, slot);
        node_remove(parent, slot);
        node_drop(e, n);
    } else if (page_used(n->page) >= POOR ||
               (!try_merge(e, parent, slot) &&
                (slot == 0 || !try_merge(e, parent, slot - 1)))) {
        return;
    }
    tree_rebalance(e, p, at - 1);
}
