/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - for fsck: every node and large value verified against its parent,
 * every key within its parent's bounds, every block counted.
 *
 * No block is visited twice: in a forged tree the ways to one could be more
 * than anybody can walk.
 *
 * What is in memory (a journal that was applied read-only) is walked there;
 * all else is read once, beside the cache, in a tool's engine ahead of the
 * walk (ahead.h). A part that cannot be read is reported, and the walk goes on
 * with the next. */
#include <inttypes.h>
#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"

/* A node on the way. */
struct visit {
    struct node   *node; /* in memory, or NULL */
    const uint8_t *page;
    struct fmt_ptr at;   /* lba 0: not on the device */
    struct family *family; /* level 1: what was read of it ahead, or NULL */
};

struct checker {
    struct eng             *eng;
    const struct eng_check *c;
    uint64_t               *seen; /* a bit for each block of the groups */
    uint8_t                *win;  /* leaves that were read with one before, */
    uint64_t                win_lba;
    unsigned                win_n;
    uint64_t                nodes;
    bool                    ahead; /* the pool reads what comes next */
    int                     rc;
};

/* Whether the walk comes to @lba for the first time. */
static bool first_visit(struct checker *k, uint64_t lba)
{
    uint64_t i = lba - k->eng->space.lba;
    uint64_t bit = (uint64_t)1 << (i % 64);

    if (lba < k->eng->space.lba || lba >= k->eng->space.end ||
        k->seen[i / 64] & bit)
        return false;
    k->seen[i / 64] |= bit;
    return true;
}

/* The same of both of its places; the second may be nowhere. */
static bool first_visits(struct checker *k, const struct fmt_ptr *at)
{
    return first_visit(k, at->lba) &&
           (at->lba2 == 0 || first_visit(k, at->lba2));
}

static void used(struct checker *k, uint64_t lba, uint32_t n, const char *what)
{
    k->c->used(k->c->ctx, (struct eng_ext){lba, n}, what);
}

static void broken(struct checker *k, int rc)
{
    k->rc = rc;
}

static void lost(struct checker *k, unsigned level, struct cfs_blob lo,
                 struct cfs_blob hi)
{
    if (k->c->lost)
        k->c->lost(k->c->ctx, level, lo, hi);
}

/* A clean node in memory counts with its place; a dirty one has none yet. */
static void count_node(struct checker *k, const struct fmt_ptr *at,
                       unsigned parts, const struct node *n, const char *what)
{
    if (n && n->epoch != 0)
        return;
    for (unsigned i = 0; i < 2 * parts; i++) {
        const uint64_t lba = i < parts ? at[i].lba : at[i - parts].lba2;

        if (i >= parts && lba == 0)
            continue;
        if (!k->c->no_map && !eng_in_use(k->eng, lba)) {
            k->c->bad(k->c->ctx, "block %" PRIu64 " holds a %s, but the space "
                      "map says that it is free", lba, what);
            broken(k, -CFS_E_CORRUPT);
        }
        used(k, lba, 1, what);
    }
}

/* Each of the copies of what can be read. */
static void check_copies(struct checker *k, const struct fmt_ptr *at,
                         unsigned parts, unsigned level, struct cfs_blob lo)
{
    uint8_t *buf;

    if (!k->c->copy || at[0].lba2 == 0)
        return;
    buf = eng_alloc_aligned(NODE_SIZE);
    for (unsigned i = 0; i < 2 * parts; i++) {
        const struct fmt_ptr *p = &at[i / 2];
        const uint64_t lba = i % 2 ? p->lba2 : p->lba;

        if (lba == 0 ||
            (eng_read(k->eng, CFS_DEV_DIRECT, lba, buf, 1) == 0 &&
             cache_verify(k->eng, buf, level, p) == 0))
            continue;
        k->c->copy(k->c->ctx, level, lo, lba);
    }
    free(buf);
}

static void check_value(struct checker *k, const struct visit *v,
                        unsigned slot)
{
    struct node *kid = v->node && v->node->kid ? v->node->kid[slot] : NULL;
    uint32_t len = ref_len(page_val(v->page, slot));
    unsigned parts = len_blocks(len);
    struct fmt_ptr at[VALUE_PARTS];
    uint8_t *buf;
    int rc;

    if (kid && kid->state == NODE_READY && kid->epoch != 0)
        return;
    for (unsigned i = 0; i < parts; i++)
        at[i] = page_ptr(v->page, slot, i);
    buf = eng_alloc_aligned(parts * (size_t)CFS_BLOCK);
    rc = cache_read_parts(k->eng, at, parts, LEVEL_VALUE, buf);
    free(buf);
    for (unsigned i = 0; i < parts && rc == 0; i++)
        rc = first_visits(k, &at[i]) ? 0 : -CFS_E_CORRUPT;
    if (rc < 0) {
        k->c->bad(k->c->ctx, "a value of %u bytes at block %" PRIu64 ": %s",
                  len, at[0].lba, cfs_err_str(rc));
        broken(k, rc);
        lost(k, LEVEL_VALUE, page_key(v->page, slot), (struct cfs_blob){0});
        return;
    }
    count_node(k, at, parts, NULL, "value");
    check_copies(k, at, parts, LEVEL_VALUE, page_key(v->page, slot));
}

/* False: the node is not to be believed. */
static bool check_bounds(struct checker *k, const struct visit *v,
                         struct cfs_blob lo, struct cfs_blob hi)
{
    unsigned n = page_n(v->page), first = page_level(v->page) > 0;

    if (n <= first)
        return true;
    if (blob_cmp(page_key(v->page, first), lo) < 0 ||
        (hi.len > 0 && blob_cmp(page_key(v->page, n - 1), hi) >= 0)) {
        k->c->bad(k->c->ctx, "the node at block %" PRIu64 " has keys that "
                  "belong elsewhere", v->at.lba);
        broken(k, -CFS_E_CORRUPT);
        return false;
    }
    return true;
}

#define WINDOW         256u
#define PROGRESS_EVERY 4096u

/* The leaf that slot @slot of @v refers to, into @buf; those behind it on the
 * device come with it. */
static int read_leaf(struct checker *k, const struct visit *v, unsigned slot,
                     const struct fmt_ptr *at, uint8_t *buf)
{
    const uint8_t *got = v->family ? family_leaf(v->family, slot) : NULL;

    if (got) {
        memcpy(buf, got, NODE_SIZE);
        return 0;
    }
    if (at->lba < k->win_lba || at->lba >= k->win_lba + k->win_n) {
        unsigned n = cache_run(k->eng, v->page, slot, WINDOW);

        k->win_n = 0;
        if (n < 2 ||
            eng_read(k->eng, CFS_DEV_DIRECT, at->lba, k->win, n) < 0)
            return cache_read_parts(k->eng, at, 1, 0, buf);
        k->win_lba = at->lba;
        k->win_n = n;
    }
    memcpy(buf, k->win + (at->lba - k->win_lba) * NODE_SIZE, NODE_SIZE);
    /* A second read may do better; it also says what is wrong. */
    return cache_verify(k->eng, buf, 0, at) == 0
               ? 0
               : cache_read_parts(k->eng, at, 1, 0, buf);
}

static int read_kid(struct checker *k, const struct visit *v, unsigned slot,
                    const struct visit *kid, uint8_t *buf)
{
    const unsigned level = page_level(v->page) - 1u;

    if (level == 0)
        return read_leaf(k, v, slot, &kid->at, buf);
    if (!kid->family)
        return cache_read_parts(k->eng, &kid->at, 1, level, buf);
    memcpy(buf, kid->family->page, NODE_SIZE);
    return 0;
}

/* The child's page, in memory or read into @buf, in @ret: whether it is one,
 * and the walk has not been there before. */
static int find_kid(struct checker *k, const struct visit *v, unsigned slot,
                    uint8_t *buf, struct visit *ret)
{
    struct node *kid = v->node && v->node->kid ? v->node->kid[slot] : NULL;
    int rc = 0;

    if (kid && kid->state == NODE_READY) {
        ret->node = kid;
        ret->page = kid->page;
        ret->at = kid->at[0];
    } else {
        ret->node = NULL;
        ret->page = buf;
        ret->at = page_ptr(v->page, slot, 0);
        rc = read_kid(k, v, slot, ret, buf);
    }
    if (rc < 0) {
        k->c->bad(k->c->ctx, "the node of level %u at block %" PRIu64 ": %s",
                  page_level(v->page) - 1u, ret->at.lba, cfs_err_str(rc));
    } else if ((!ret->node || ret->node->epoch == 0) &&
               !first_visits(k, &ret->at)) {
        k->c->bad(k->c->ctx, "block %" PRIu64 " is in the tree twice",
                  ret->at.lba);
        rc = -CFS_E_CORRUPT;
    }
    return rc;
}

static void check_node(struct checker *k, const struct visit *v,
                       struct cfs_blob lo, struct cfs_blob hi);

static void check_kid(struct checker *k, const struct visit *v, unsigned slot,
                      struct cfs_blob lo, struct cfs_blob hi)
{
    uint8_t *buf = eng_alloc_aligned(NODE_SIZE);
    struct visit down = {.family = NULL};
    int rc;

    if (k->ahead && page_level(v->page) == 2)
        down.family = ahead_step(k->eng, v->page, v->node, slot,
                                 (struct cfs_blob){0});
    rc = find_kid(k, v, slot, buf, &down);
    if (rc < 0) {
        broken(k, rc);
        lost(k, page_level(v->page) - 1u, lo, hi);
    } else {
        check_node(k, &down, lo, hi);
    }
    ahead_done(down.family);
    free(buf);
}

static void check_node(struct checker *k, const struct visit *v,
                       struct cfs_blob lo, struct cfs_blob hi)
{
    unsigned n = page_n(v->page);

    if (k->nodes++ % PROGRESS_EVERY == 0 && k->c->progress)
        k->c->progress(k->c->ctx, k->nodes);
    count_node(k, &v->at, 1, v->node, "node");
    if (!v->node || v->node->epoch == 0)
        check_copies(k, &v->at, 1, page_level(v->page), lo);
    if (!check_bounds(k, v, lo, hi) && k->c->lost) {
        lost(k, page_level(v->page), lo, hi);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        if (page_level(v->page) == 0) {
            if (page_large(v->page, i))
                check_value(k, v, i);
            continue;
        }
        check_kid(k, v, i, i > 0 ? page_key(v->page, i) : lo,
                  i + 1 < n ? page_key(v->page, i + 1) : hi);
    }
}

static void count_heads(struct checker *k)
{
    const struct space *s = &k->eng->space;

    for (uint32_t g = 0; g < s->n_groups; g++)
        used(k, space_page_lba(s, g * GROUP_PAGES), GROUP_HEAD, "space map");
}

int eng_check(struct eng *e, const struct eng_check *c)
{
    struct checker k = {.eng = e, .c = c, .ahead = ahead_may(e)};
    struct node *root = e->tree.root;
    struct visit v = {root, root->page, root->at[0], NULL};
    struct cfs_blob none = {NULL, 0};

    k.win = eng_alloc_aligned(WINDOW * (size_t)NODE_SIZE);
    k.seen = eng_calloc((e->space.end - e->space.lba) / 8 + 8);
    count_heads(&k);
    check_node(&k, &v, none, none);
    free(k.seen);
    free(k.win);
    return k.rc;
}
