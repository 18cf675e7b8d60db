/* SPDX-License-Identifier: Apache-2.0 */
/* repair.c - for fsck --repair: what the engine does for it.
 *
 * The engine is opened read-only, with the journal applied in memory as far as
 * it is whole. What is damaged is dropped from the tree in memory, records are
 * mended there, all of it as often as fsck likes. Only when the result is
 * known to be sound is anything written: nodes and maps beside what the device
 * holds, then one checkpoint record. Blocks that the old state uses stay taken
 * until then, so a power cut leaves that state or the new one.
 *
 * A journal that cannot be applied is wiped first: its records would be
 * taken for proof of damage by the next start but one. What it held was given
 * up before. */
#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/engine/tree_int.h"

/* An incarnation may have been used that is only in what was lost. */
#define LIVES_LOST 16u

/* The path from the root to the parent of the node of @level in which @key
 * would be. False: it does not exist any more, or a node on the way cannot be
 * read. */
static bool descend_to(struct eng *e, unsigned level, struct cfs_blob key,
                       struct path *ret)
{
    struct node *n = e->tree.root;

    ret->n = 0;
    if (n->level <= level)
        return false;
    for (;;) {
        struct step *s = &ret->s[ret->n++];

        s->node = n;
        s->slot = page_child(n->page, key);
        if (n->level == level + 1u)
            return true;
        if (cache_kid(e, n, s->slot, &n) < 0)
            return false;
    }
}

/* Forget all of @n's subtree that is in memory, dirty nodes too. */
static void forget(struct eng *e, struct node *n)
{
    for (unsigned i = 0; n->kid && n->page && i < page_n(n->page); i++) {
        struct node *kid = n->kid[i];

        if (!kid)
            continue;
        n->kid[i] = NULL;
        n->n_kids--;
        forget(e, kid);
    }
    if (n->state == NODE_READY)
        node_drop(e, n);
    else
        cache_kill(e, n);
}

static void drop_child(struct eng *e, struct node *parent, unsigned slot)
{
    struct node *kid = parent->kid ? parent->kid[slot] : NULL;

    if (kid) {
        parent->kid[slot] = NULL;
        parent->n_kids--;
        forget(e, kid);
    }
    node_remove(parent, slot);
}

static void dirty_path(struct eng *e, const struct path *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (node_dirty(e, p->s[i].node) && i > 0)
            node_set_temp(p->s[i - 1].node, p->s[i - 1].slot, p->s[i].node);
    }
}

void eng_cut(struct eng *e, unsigned level, struct cfs_blob lo)
{
    struct path p;

    assert(e->conf.repair);
    if (level == LEVEL_VALUE) {
        eng_del(e, lo);
        return;
    }
    if (!descend_to(e, level, lo, &p))
        return;
    dirty_path(e, &p, p.n);
    drop_child(e, p.s[p.n - 1].node, p.s[p.n - 1].slot);
    tree_rebalance(e, &p, p.n - 1);
}

void eng_rewrite(struct eng *e, unsigned level, struct cfs_blob lo)
{
    struct path p = {.n = 0};
    struct cfs_blob v;
    uint8_t *copy;

    assert(e->conf.repair);
    if (level == LEVEL_VALUE) {
        if (eng_get(e, lo, &v) < 0)
            return;
        copy = eng_alloc_aligned(ENG_VALUE_MAX);
        memcpy(copy, v.p, v.len);
        eng_put(e, lo, (struct cfs_blob){copy, v.len});
        free(copy);
        return;
    }
    if (e->tree.root->level == level) {
        node_dirty(e, e->tree.root);
        return;
    }
    if (!descend_to(e, level, lo, &p))
        return;
    p.s[p.n] = (struct step){.slot = 0};
    if (cache_kid(e, p.s[p.n - 1].node, p.s[p.n - 1].slot,
                  &p.s[p.n].node) < 0)
        return;
    dirty_path(e, &p, p.n + 1);
}

void eng_settle(struct eng *e)
{
    if (e->on_freeze)
        e->on_freeze(e->freeze_ctx);
    e->on_freeze = NULL;
}

bool eng_map_lost(const struct eng *e)
{
    return e->space.lost;
}

unsigned eng_copies(struct eng *e)
{
    return super_copies(e->dev, &e->sb);
}

static int enough(const struct eng *e, uint64_t more, struct cfs_err *err)
{
    uint64_t need = (e->tree.dirty_blocks + more) * e->copies;

    if (need <= e->space.free)
        return 0;
    return cfs_err_set(err, -ENOSPC,
                       "what is repaired needs %llu blocks beside what is "
                       "there, and only %llu are free",
                       (unsigned long long)need,
                       (unsigned long long)e->space.free);
}

int eng_repair_begin(struct eng *e, const uint64_t *owned, uint64_t more,
                     struct cfs_err *err)
{
    assert(e->conf.repair && !e->space.rebuilt);
    space_rebuild(e, owned);
    e->incarnation = e->last.incarnation + 1;
    if (e->conf.no_journal)
        e->incarnation += LIVES_LOST;
    return enough(e, more, err);
}

void eng_repair_take(struct eng *e, struct eng_ext ext)
{
    assert(e->space.rebuilt);
    space_commit(e, ext);
}

/* What the next start will find as its journal: nothing. */
static int end_journal(struct eng *e)
{
    int rc;

    if (!e->conf.no_journal) {
        jrn_set(e, e->jrn.pos, e->jrn.chain);
        return 0;
    }
    jrn_set(e, e->last.jrn_start + e->jrn.size, e->jrn.chain);
    rc = super_write_zeros(e->dev, e->sb.jrn_lba, e->sb.jrn_blocks);
    return rc < 0 ? rc : e->dev->ops->flush(e->dev);
}

int eng_repair(struct eng *e, struct cfs_err *err)
{
    int rc = enough(e, 0, err);

    assert(e->conf.repair && e->space.rebuilt);
    if (rc < 0)
        return rc;
    e->on_freeze = NULL;
    rc = super_mend(e->dev, &e->sb);
    if (rc > 0)
        rc = 0;
    if (rc == 0)
        rc = end_journal(e);
    if (rc == 0)
        rc = ckpt_inline(e, true);
    return rc < 0 ? cfs_err_set(err, rc, "write of what was repaired: %s",
                                cfs_err_str(rc))
                  : 0;
}
