/* SPDX-License-Identifier: Apache-2.0 */
/* busy_core.c - see busy_core.h. Places are found by open addressing: the
 * table is at most half full, and what lies behind a place that is given up
 * moves up.
 */
#include "xlators/debug/io-stats/busy_core.h"

#define SLOTS CFS_ARRAY_SIZE(((struct busy *)0)->slot)

static_assert(BUSY_MAX < UINT8_MAX, "a place + 1 fits into a byte");

void busy_clear(struct busy *b)
{
    memset(b, 0, sizeof *b);
}

/* Neighbours in the counter of a gfid must not be neighbours here. */
static size_t hash(struct cfs_gfid g)
{
    uint64_t x = cfs_gfid_ino(g);

    x = (x ^ (x >> 32)) * 0x9e3779b97f4a7c15u;
    return (size_t)(x >> 40) % SLOTS;
}

/* Where @g is, or would be. */
static size_t find(const struct busy *b, struct cfs_gfid g)
{
    size_t at = hash(g);

    while (b->slot[at] && !cfs_gfid_eq(b->inode[b->slot[at] - 1].gfid, g))
        at = (at + 1) % SLOTS;
    return at;
}

/* Whether what wants to be at @home may be found at @at, when the gap is
 * there: the gap does not lie between them. */
static bool may_move(size_t home, size_t gap, size_t at)
{
    return (at + SLOTS - home) % SLOTS >= (at + SLOTS - gap) % SLOTS;
}

static void unlink_slot(struct busy *b, size_t gap)
{
    size_t at = gap;

    for (;;) {
        b->slot[gap] = 0;
        do {
            at = (at + 1) % SLOTS;
            if (!b->slot[at])
                return;
        } while (!may_move(hash(b->inode[b->slot[at] - 1].gfid), gap, at));
        b->slot[gap] = b->slot[at];
        gap = at;
    }
}

static unsigned least(const struct busy *b)
{
    unsigned ret = 0;

    for (unsigned i = 1; i < BUSY_MAX; i++)
        if (b->ops[i] < b->ops[ret])
            ret = i;
    return ret;
}

/* A place for @g, which has none. */
static unsigned take_place(struct busy *b, struct cfs_gfid g)
{
    uint64_t over = 0;
    unsigned place;

    if (b->n < BUSY_MAX) {
        place = b->n++;
    } else {
        place = least(b);
        over = b->ops[place];
        unlink_slot(b, find(b, b->inode[place].gfid));
    }
    b->inode[place] = (struct busy_inode){.gfid = g, .ops = over,
                                          .over = over};
    b->ops[place] = over;
    b->slot[find(b, g)] = (uint8_t)(place + 1);
    return place;
}

struct busy_inode *busy_count(struct busy *b, struct cfs_gfid gfid)
{
    size_t at = find(b, gfid);
    unsigned place = b->slot[at] ? b->slot[at] - 1u : take_place(b, gfid);

    b->ops[place]++;
    b->inode[place].ops++;
    return &b->inode[place];
}

void busy_name(struct busy_inode *i, struct cfs_gfid parent,
               struct cfs_name name)
{
    i->parent = parent;
    i->name_len = (uint16_t)(name.len < BUSY_NAME ? name.len : BUSY_NAME);
    memcpy(i->name, name.s, i->name_len);
}

unsigned busy_order(const struct busy *b, uint8_t ret[static BUSY_MAX])
{
    for (unsigned i = 0; i < b->n; i++) {
        unsigned at = i;

        for (; at > 0 && b->ops[ret[at - 1]] < b->ops[i]; at--)
            ret[at] = ret[at - 1];
        ret[at] = (uint8_t)i;
    }
    return b->n;
}
