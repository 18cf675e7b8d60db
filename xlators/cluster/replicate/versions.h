/* SPDX-License-Identifier: Apache-2.0 */
/* versions.h - the version that each inode was last seen at, or brought to, by
 * this session: a bounded table, the least recently used go first.
 *
 * What is not in it is asked from an in-sync member, so forgetting costs a
 * message and never correctness.
 *
 * Shapes     gfid -> version. Learning never lowers a version: replies come
 *            in any order, and an older one proves nothing.
 * Ownership  one block of memory, allocated once; nothing per entry.
 */
#ifndef CFS_REPLICATE_VERSIONS_H
#define CFS_REPLICATE_VERSIONS_H

#include "core/base.h"

struct rep_versions;

/* Room for @max inodes. NULL: no memory. */
struct rep_versions *rep_versions_new(uint32_t max);
void rep_versions_free(struct rep_versions *t); /* NULL is fine */

void rep_versions_learn(struct rep_versions *t, struct cfs_gfid g,
                        struct cfs_version v);
/* False, with *ret untouched: not known. */
bool rep_versions_get(struct rep_versions *t, struct cfs_gfid g,
                      struct cfs_version *ret);
void rep_versions_forget(struct rep_versions *t, struct cfs_gfid g);
void rep_versions_clear(struct rep_versions *t);

uint32_t rep_versions_count(const struct rep_versions *t);

#endif
