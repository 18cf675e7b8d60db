/* SPDX-License-Identifier: Apache-2.0 */
/* versions.c - a hash table over one array of entries, with a list through
 * them in order of use; see versions.h. Links are indices; 0 is "none", and
 * entry 0 is the head of the list of use.
 */
#include "xlators/cluster/replicate/versions.h"

#include <stdlib.h>

struct entry {
    struct cfs_gfid    gfid;
    struct cfs_version version;
    uint32_t           chain; /* next in the bucket, or next free */
    uint32_t           newer; /* in order of use */
    uint32_t           older;
};

struct rep_versions {
    struct entry *e; /* [1, max]; e[0] heads the list of use */
    uint32_t     *bucket;
    uint32_t      mask; /* buckets - 1 */
    uint32_t      max;
    uint32_t      used;  /* e[used + 1..max] were never used */
    uint32_t      free;  /* a chain of entries that were forgotten */
    uint32_t      count;
};

struct rep_versions *rep_versions_new(uint32_t max)
{
    struct rep_versions *t = calloc(1, sizeof *t);
    uint32_t buckets = 16;

    assert(max > 0 && max < UINT32_MAX / 2);
    while (buckets < max)
        buckets *= 2;
    if (!t)
        return NULL;
    t->max = max;
    t->mask = buckets - 1;
    t->e = calloc((size_t)max + 1, sizeof *t->e);
    t->bucket = calloc(buckets, sizeof *t->bucket);
    if (!t->e || !t->bucket) {
        rep_versions_free(t);
        return NULL;
    }
    return t;
}

void rep_versions_free(struct rep_versions *t)
{
    if (!t)
        return;
    free(t->e);
    free(t->bucket);
    free(t);
}

/* Gfids made together differ in their last bytes only: mix them well. */
static uint32_t *bucket_of(const struct rep_versions *t, struct cfs_gfid g)
{
    uint64_t lo, hi;

    memcpy(&hi, g.b, sizeof hi);
    memcpy(&lo, g.b + sizeof hi, sizeof lo);
    lo = (lo ^ hi * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    return &t->bucket[(uint32_t)(lo >> 32) & t->mask];
}

static void use_unlink(struct rep_versions *t, uint32_t i)
{
    t->e[t->e[i].newer].older = t->e[i].older;
    t->e[t->e[i].older].newer = t->e[i].newer;
}

/* e[0].older is the newest, e[0].newer the oldest. */
static void use_newest(struct rep_versions *t, uint32_t i)
{
    uint32_t was = t->e[0].older;

    t->e[i].newer = 0;
    t->e[i].older = was;
    t->e[was].newer = i;
    t->e[0].older = i;
}

static uint32_t find(const struct rep_versions *t, struct cfs_gfid g)
{
    uint32_t i = *bucket_of(t, g);

    while (i && !cfs_gfid_eq(t->e[i].gfid, g))
        i = t->e[i].chain;
    return i;
}

static void drop(struct rep_versions *t, uint32_t i)
{
    uint32_t *at = bucket_of(t, t->e[i].gfid);

    while (*at != i)
        at = &t->e[*at].chain;
    *at = t->e[i].chain;
    use_unlink(t, i);
    t->e[i].chain = t->free;
    t->free = i;
    t->count--;
}

static uint32_t take(struct rep_versions *t)
{
    uint32_t i;

    if (!t->free && t->used == t->max)
        drop(t, t->e[0].newer);
    i = t->free;
    if (i)
        t->free = t->e[i].chain;
    else
        i = ++t->used;
    t->count++;
    return i;
}

void rep_versions_learn(struct rep_versions *t, struct cfs_gfid g,
                        struct cfs_version v)
{
    uint32_t i = find(t, g);
    uint32_t *at;

    if (i) {
        if (cfs_version_cmp(t->e[i].version, v) < 0)
            t->e[i].version = v;
        use_unlink(t, i);
    } else {
        i = take(t);
        at = bucket_of(t, g);
        t->e[i].gfid = g;
        t->e[i].version = v;
        t->e[i].chain = *at;
        *at = i;
    }
    use_newest(t, i);
}

bool rep_versions_get(struct rep_versions *t, struct cfs_gfid g,
                      struct cfs_version *ret)
{
    uint32_t i = find(t, g);

    if (!i)
        return false;
    use_unlink(t, i);
    use_newest(t, i);
    *ret = t->e[i].version;
    return true;
}

void rep_versions_forget(struct rep_versions *t, struct cfs_gfid g)
{
    uint32_t i = find(t, g);

    if (i)
        drop(t, i);
}

void rep_versions_clear(struct rep_versions *t)
{
    memset(t->bucket, 0, ((size_t)t->mask + 1) * sizeof *t->bucket);
    t->e[0].newer = t->e[0].older = 0;
    t->used = t->free = t->count = 0;
}

uint32_t rep_versions_count(const struct rep_versions *t)
{
    return t->count;
}
