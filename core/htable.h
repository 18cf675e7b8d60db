/* SPDX-License-Identifier: Apache-2.0 */
/* htable.h - a hash table of embedded links that grows by one bucket at a
 * time (linear hashing), so that no single insertion is slow.
 *
 * Shapes     bucket b holds the links whose hash, cut to the present number
 *            of bits, is b; buckets lie in segments that never move.
 * Ownership  the table owns its buckets, never what is linked.
 * Errors     allocation cannot fail: it ends the process.
 */
#ifndef CFS_CORE_HTABLE_H
#define CFS_CORE_HTABLE_H

#include "core/list.h"

#define CFS_HTABLE_SEGMENTS 40u

struct cfs_htable {
    struct cfs_list *segment[CFS_HTABLE_SEGMENTS];
    size_t           n_buckets;
    size_t           count; /* links in it */
    uint64_t (*hash)(const struct cfs_list *l);
};

/* @hash tells a link's hash; it must not change while the link is in. */
void cfs_htable_init(struct cfs_htable *t,
                     uint64_t (*hash)(const struct cfs_list *l));
void cfs_htable_fini(struct cfs_htable *t); /* every link was removed */

/* Where links of @hash are; others are among them. */
struct cfs_list *cfs_htable_bucket(struct cfs_htable *t, uint64_t hash);

void cfs_htable_add(struct cfs_htable *t, struct cfs_list *l);
void cfs_htable_del(struct cfs_htable *t, struct cfs_list *l);

#endif
