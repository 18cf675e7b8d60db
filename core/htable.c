/* SPDX-License-Identifier: Apache-2.0 */
/* htable.c - linear hashing, after W. Litwin, "Linear hashing: a new tool for
 * file and table addressing" (VLDB 1980): when there are more links than
 * buckets, one bucket more is made, and one existing bucket is split into it.
 */
#include "core/htable.h"

#include <stdlib.h>

#include "core/mem.h"

/* Segment 0 has 2^FIRST_BITS buckets; segment k > 0 doubles what was before. */
#define FIRST_BITS 6u

static struct cfs_list *bucket_at(struct cfs_htable *t, size_t b)
{
    unsigned bits;

    if (b < (size_t)1 << FIRST_BITS)
        return &t->segment[0][b];
    bits = 63u - (unsigned)__builtin_clzll(b);
    return &t->segment[bits - FIRST_BITS + 1][b - ((size_t)1 << bits)];
}

static void add_segment(struct cfs_htable *t, unsigned k, size_t n)
{
    struct cfs_list *s;

    assert(k < CFS_HTABLE_SEGMENTS);
    s = cfs_must_alloc(n * sizeof *s);
    t->segment[k] = s;
}

void cfs_htable_init(struct cfs_htable *t,
                     uint64_t (*hash)(const struct cfs_list *l))
{
    *t = (struct cfs_htable){.hash = hash};
    t->n_buckets = (size_t)1 << FIRST_BITS;
    add_segment(t, 0, t->n_buckets);
    for (size_t b = 0; b < t->n_buckets; b++)
        cfs_list_init(bucket_at(t, b));
}

void cfs_htable_fini(struct cfs_htable *t)
{
    assert(t->count == 0);
    for (unsigned k = 0; k < CFS_HTABLE_SEGMENTS; k++)
        free(t->segment[k]);
    *t = (struct cfs_htable){0};
}

/* With n buckets, 2^bits <= n < 2^(bits+1): buckets below n - 2^bits, and
 * those that they were split into, tell one bit more of the hash. */
struct cfs_list *cfs_htable_bucket(struct cfs_htable *t, uint64_t hash)
{
    unsigned bits = 63u - (unsigned)__builtin_clzll(t->n_buckets);
    size_t b = hash & (((size_t)2 << bits) - 1);

    if (b >= t->n_buckets)
        b -= (size_t)1 << bits;
    return bucket_at(t, b);
}

static void grow(struct cfs_htable *t)
{
    size_t new = t->n_buckets;
    unsigned bits = 63u - (unsigned)__builtin_clzll(new);
    struct cfs_list *from, *to;

    if (new == (size_t)1 << bits)
        add_segment(t, bits - FIRST_BITS + 1, new);
    from = bucket_at(t, new - ((size_t)1 << bits));
    to = bucket_at(t, new);
    cfs_list_init(to);
    t->n_buckets++;
    cfs_list_for_each_safe(it, from)
    {
        if ((t->hash(it) >> bits & 1) != 0) {
            cfs_list_del(it);
            cfs_list_add_tail(to, it);
        }
    }
}

void cfs_htable_add(struct cfs_htable *t, struct cfs_list *l)
{
    cfs_list_add_head(cfs_htable_bucket(t, t->hash(l)), l);
    if (++t->count > t->n_buckets)
        grow(t);
}

void cfs_htable_del(struct cfs_htable *t, struct cfs_list *l)
{
    assert(t->count > 0 && !cfs_list_empty(l));
    cfs_list_del(l);
    t->count--;
}
