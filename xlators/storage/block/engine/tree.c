/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - get, scan, put, delete; what a change makes dirty.
 *
 * A put walks from the root to its leaf and makes each node on the way dirty:
 * its blocks are freed, its number in this epoch goes into its parent's slot,
 * and if a checkpoint is writing it, it goes on with a copy. Then the leaf
 * changes; a full node is split, an empty one taken out, a poor one merged
 * with a neighbour that is in memory (tree_shape.c).
 */
#include "xlators/storage/block/engine/tree.h"

#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/engine/tree_int.h"
#include "xlators/storage/block/engine/warm.h"

static int descend(struct eng *e, struct cfs_blob key, struct path *ret)
{
    struct node *n = e->tree.root;

    ret->n = 0;
    for (;;) {
        struct step *s = &ret->s[ret->n++];
        int rc;

        s->node = n;
        if (n->level == 0) {
            s->slot = page_search(n->page, key, &ret->exact);
            return 0;
        }
        s->slot = page_child(n->page, key);
        rc = cache_kid(e, n, s->slot, &n);
        if (rc < 0)
            return rc;
    }
}

/* -- reading --------------------------------------------------------------- */

static int leaf_value(struct eng *e, struct node *leaf, unsigned slot,
                      struct cfs_blob *ret)
{
    struct node *v;
    int rc;

    if (!page_large(leaf->page, slot)) {
        *ret = page_val(leaf->page, slot);
        return 0;
    }
    rc = cache_kid(e, leaf, slot, &v);
    if (rc == 0)
        *ret = (struct cfs_blob){v->page, v->len};
    return rc;
}

int eng_get(struct eng *e, struct cfs_blob key, struct cfs_blob *ret_value)
{
    struct node *n = e->tree.root;
    unsigned slot;
    bool exact;

    while (n->level > 0) {
        int rc = cache_kid(e, n, page_child(n->page, key), &n);

        if (rc < 0)
            return rc;
    }
    slot = page_search(n->page, key, &exact);
    if (!exact)
        return -ENOENT;
    return leaf_value(e, n, slot, ret_value);
}

int eng_touch(struct eng *e, struct cfs_blob key)
{
    struct path p;

    return descend(e, key, &p);
}

bool eng_side_by_side(struct eng *e, struct cfs_blob a, struct cfs_blob b)
{
    struct path pa, pb;

    return descend(e, a, &pa) == 0 && descend(e, b, &pb) == 0 &&
           pa.s[pa.n - 1].node == pb.s[pb.n - 1].node;
}

void eng_prefetch(struct eng *e, struct cfs_blob key)
{
    struct node *miss = e->cache.miss;
    struct path p;

    if (e->warm)
        warm_add(e->warm, key);
    else if (!e->in_line)
        descend(e, key, &p);
    e->cache.miss = miss;
}

/* Where a scan is. */
struct scan {
    struct cfs_blob at;   /* in buf */
    struct cfs_blob next; /* the first key behind this leaf; len 0: none */
    uint8_t         buf[ENG_KEY_MAX];
    uint8_t         next_buf[ENG_KEY_MAX];
};

#define SCAN_AHEAD 8u

static void sweep_step(struct eng *e, struct node *n, unsigned slot,
                       struct cfs_blob hi)
{
    struct family *f = ahead_step(e, n->page, n, slot, hi);

    if (f)
        cache_adopt(e, n, slot, f);
}

/* The leaf in which scan->at would be; scan->next is set. */
static int scan_leaf(struct eng *e, struct scan *sc, struct cfs_blob hi,
                     struct node **ret)
{
    struct node *n = e->tree.root;

    sc->next.len = 0;
    while (n->level > 0) {
        unsigned slot = page_child(n->page, sc->at);
        struct node *kid;
        int rc;

        if (slot + 1 < page_n(n->page)) {
            struct cfs_blob k = page_key(n->page, slot + 1);

            memcpy(sc->next_buf, k.p, k.len);
            sc->next = (struct cfs_blob){sc->next_buf, k.len};
        }
        if (e->ahead.on && n->level == 2)
            sweep_step(e, n, slot, hi);
        rc = cache_kid(e, n, slot, &kid);
        if (rc == -CFS_E_MISS && n->level == 1) {
            for (unsigned i = 1;
                 i < SCAN_AHEAD && slot + i < page_n(n->page); i++)
                cache_prefetch(e, n, slot + i);
        }
        if (rc < 0)
            return rc;
        n = kid;
    }
    *ret = n;
    return 0;
}

int eng_scan(struct eng *e, struct cfs_blob lo, struct cfs_blob hi,
             eng_each *fn, void *ctx)
{
    struct scan sc;

    assert(lo.len <= ENG_KEY_MAX);
    if (lo.len > 0)
        memcpy(sc.buf, lo.p, lo.len);
    sc.at = (struct cfs_blob){sc.buf, lo.len};
    for (;;) {
        struct node *leaf;
        bool exact;
        int rc = scan_leaf(e, &sc, hi, &leaf);

        if (rc < 0)
            return rc;
        for (unsigned i = page_search(leaf->page, sc.at, &exact);
             i < page_n(leaf->page); i++) {
            struct cfs_blob key = page_key(leaf->page, i), val;

            if (hi.len > 0 && blob_cmp(key, hi) >= 0)
                return 0;
            rc = leaf_value(e, leaf, i, &val);
            if (rc < 0)
                return rc;
            rc = fn(ctx, key, val);
            if (rc != 0)
                return rc;
        }
        if (sc.next.len == 0 ||
            (hi.len > 0 && blob_cmp(sc.next, hi) >= 0))
            return 0;
        memcpy(sc.buf, sc.next_buf, sc.next.len);
        sc.at.len = sc.next.len;
    }
}

int eng_sweep(struct eng *e, struct cfs_blob lo, struct cfs_blob hi,
              eng_each *fn, void *ctx)
{
    int rc;

    e->ahead.on = ahead_may(e);
    rc = eng_scan(e, lo, hi, fn, ctx);
    e->ahead.on = false;
    return rc;
}

/* -- making dirty ---------------------------------------------------------- */

bool node_is_frozen(const struct eng *e, const struct node *n)
{
    return n->was_epoch != 0 || (n->epoch != 0 && n->epoch < e->epoch);
}

/* Enter @n in the list of what the next checkpoint writes. */
static void dirty_push(struct eng *e, struct node *n)
{
    struct tree *t = &e->tree;

    if (t->n_dirty == t->cap_dirty) {
        t->cap_dirty = t->cap_dirty ? 2 * t->cap_dirty : 1024;
        t->dirty = eng_realloc(t->dirty, t->cap_dirty * sizeof *t->dirty);
    }
    n->epoch = e->epoch;
    n->idx = t->n_dirty;
    t->dirty[t->n_dirty++] = (struct dirt){
        .node = n, .page = n->page, .len = n->len, .level = n->level};
    t->dirty_blocks += node_parts(n);
    t->changed = true;
}

void node_set_temp(struct node *parent, unsigned slot, const struct node *n)
{
    struct fmt_ptr p = {.lba = PTR_TEMP | n->idx, .gen = n->epoch};

    page_set_ptr(parent->page, slot, 0, &p);
}

/* The blocks in which @n lay are free after the next checkpoint. */
static void free_parts(struct eng *e, const struct fmt_ptr *at, unsigned parts)
{
    for (unsigned i = 0; i < parts; i++) {
        if (space_free(e, (struct eng_ext){at[i].lba, 1}) < 0 ||
            (at[i].lba2 != 0 &&
             space_free(e, (struct eng_ext){at[i].lba2, 1}) < 0))
            eng_poison(e, -CFS_E_CORRUPT,
                       "block %llu of the tree is not in use in the space map",
                       (unsigned long long)at[i].lba);
    }
}

bool node_dirty(struct eng *e, struct node *n)
{
    if (n->epoch == e->epoch)
        return false;
    if (n->epoch != 0) {
        uint8_t *copy = cache_page_new(e);

        memcpy(copy, n->page, NODE_SIZE);
        n->was_epoch = n->epoch;
        n->page = copy;
        e->cache.bytes += NODE_SIZE;
    } else {
        cfs_list_del(&n->lru);
        free_parts(e, n->at, 1);
        n->at[0].lba = 0;
    }
    dirty_push(e, n);
    return true;
}

struct node *node_new(struct eng *e, unsigned level)
{
    struct node *n = cache_node_new(e, level, 0);

    n->page = cache_page_new(e);
    e->cache.bytes += NODE_SIZE;
    page_init(n->page, level);
    dirty_push(e, n);
    return n;
}

void node_drop(struct eng *e, struct node *n)
{
    if (n->epoch == 0) {
        if (n->at[0].lba != 0)
            free_parts(e, n->at, node_parts(n));
    } else if (n->epoch == e->epoch) {
        /* Taken back before any checkpoint saw it. */
        e->tree.dirty[n->idx].node = NULL;
        e->tree.dirty_blocks -= node_parts(n);
        n->epoch = 0;
    } else {
        /* The checkpoint has its page. */
        e->cache.bytes -= cache_node_bytes(n);
        n->page = NULL;
    }
    e->tree.changed = true;
    cache_kill(e, n);
}

static void path_dirty(struct eng *e, const struct path *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        if (node_dirty(e, p->s[i].node) && i > 0)
            node_set_temp(p->s[i - 1].node, p->s[i - 1].slot, p->s[i].node);
    }
}

/* -- changing -------------------------------------------------------------- */

/* A large value that a record is about to refer to. Its reference goes to
 * @ref (REF_MAX bytes); the pointer in it is temporary. */
static struct node *value_new(struct eng *e, struct cfs_blob value,
                              uint8_t *ref, uint32_t *ret_len)
{
    struct node *v = cache_node_new(e, LEVEL_VALUE, value.len);
    unsigned parts = node_parts(v);
    size_t bytes = cache_node_bytes(v);
    struct fmt_ptr temp;

    v->page = eng_alloc_aligned(bytes);
    e->cache.bytes += bytes;
    memcpy(v->page, value.p, value.len);
    memset(v->page + value.len, 0, bytes - value.len);
    dirty_push(e, v);
    *ret_len = (uint32_t)(sizeof value.len + parts * sizeof temp);
    memset(ref, 0, *ret_len);
    memcpy(ref, &value.len, sizeof value.len);
    temp = (struct fmt_ptr){.lba = PTR_TEMP | v->idx, .gen = v->epoch};
    memcpy(ref + sizeof value.len, &temp, sizeof temp);
    return v;
}

/* Free what a large value's record refers to, in memory or not. */
static void value_drop(struct eng *e, struct node *leaf, unsigned slot)
{
    struct node *v = leaf->kid ? leaf->kid[slot] : NULL;

    if (v) {
        leaf->kid[slot] = NULL;
        leaf->n_kids--;
        node_drop(e, v);
        return;
    }
    for (unsigned i = 0; i < page_ptrs(leaf->page, slot); i++) {
        struct fmt_ptr at = page_ptr(leaf->page, slot, i);

        free_parts(e, &at, 1);
    }
}

static void record_remove(struct eng *e, struct node *leaf, unsigned slot)
{
    if (page_large(leaf->page, slot))
        value_drop(e, leaf, slot);
    node_remove(leaf, slot);
}

/* The path to @key, made dirty. False: damage was met in a place where nobody
 * could touch it before (a freeze, a replay); the engine is poisoned. */
static bool change_begin(struct eng *e, struct cfs_blob key, struct path *p)
{
    int rc = descend(e, key, p);

    if (rc < 0) {
        assert(e->in_line);
        eng_poison(e, rc, "a node that a change needs: %s", cfs_err_str(rc));
        return false;
    }
    return true;
}

void eng_put(struct eng *e, struct cfs_blob key, struct cfs_blob value)
{
    uint8_t key_buf[ENG_KEY_MAX], val_buf[CELL_MAX > REF_MAX ? CELL_MAX
                                                             : REF_MAX];
    struct cell c = {.key = {key_buf, key.len}, .val = {val_buf, value.len}};
    struct node *v = NULL;
    struct step *leaf;
    struct path p;

    assert(key.len > 0 && key.len <= ENG_KEY_MAX &&
           value.len <= ENG_VALUE_MAX);
    if (!change_begin(e, key, &p))
        return;
    /* What is given may lie in a page that is about to change. */
    memcpy(key_buf, key.p, key.len);
    c.large = cell_bytes(key.len, value.len) > CELL_MAX;
    if (c.large)
        v = value_new(e, value, val_buf, &c.val.len);
    else if (value.len > 0)
        memcpy(val_buf, value.p, value.len);

    path_dirty(e, &p);
    leaf = &p.s[p.n - 1];
    if (p.exact && !c.large && !page_large(leaf->node->page, leaf->slot) &&
        page_val(leaf->node->page, leaf->slot).len == value.len) {
        memcpy((void *)(uintptr_t)page_val(leaf->node->page, leaf->slot).p,
               val_buf, value.len);
        return;
    }
    if (p.exact)
        record_remove(e, leaf->node, leaf->slot);
    tree_insert(e, &p, p.n - 1, leaf->slot, &c, v);
}

void eng_del(struct eng *e, struct cfs_blob key)
{
    struct step *leaf;
    struct path p;

    if (!change_begin(e, key, &p) || !p.exact)
        return;
    path_dirty(e, &p);
    leaf = &p.s[p.n - 1];
    record_remove(e, leaf->node, leaf->slot);
    tree_rebalance(e, &p, p.n - 1);
}

/* -- beginning and end ----------------------------------------------------- */

void tree_init(struct eng *e)
{
    e->tree.root = node_new(e, 0);
}

int tree_load(struct eng *e, const struct fmt_ptr *root, unsigned level)
{
    if (level >= NODE_LEVELS)
        return -CFS_E_CORRUPT;
    return cache_read_root(e, root, level, &e->tree.root);
}

void tree_fini(struct eng *e)
{
    free(e->tree.dirty);
    e->tree.dirty = NULL;
}

uint64_t tree_worst(const struct tree *t, unsigned puts, size_t bytes)
{
    /* Each may copy its path, split or merge on every level, and add one;
     * a large value ends in a block that is not full. */
    return (uint64_t)puts * (2 * (tree_level(t) + 1u) + 2) +
           bytes / CFS_BLOCK + 1;
}
