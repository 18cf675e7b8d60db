/* SPDX-License-Identifier: Apache-2.0 */
/* attr_cache.h - attributes under the right that this mount holds: what an
 * answer told of an inode, until the mount changes it.
 *
 * (1) An attribute that is given out is that of the last change of the inode
 *     that this mount was answered, or newer.
 * (2) What an answer tells is kept only if no change of the inode was begun or
 *     ended since the question was asked: answers overtake each other.
 *
 * Shapes     a bounded table by gfid; the least recently used go first, those
 *            with a change in flight never.
 * Errors     allocation cannot fail: it ends the process.
 */
#ifndef CFS_DLM_LOCK_ATTR_CACHE_H
#define CFS_DLM_LOCK_ATTR_CACHE_H

#include "core/base.h"

struct attr_cache;

/* For up to @max inodes; 0: keeps nothing. */
struct attr_cache *attr_cache_new(size_t max);
void               attr_cache_free(struct attr_cache *c); /* NULL is fine */

/* False, *ret untouched: not known, or a change is in flight. */
bool attr_cache_get(struct attr_cache *c, struct cfs_gfid g,
                    struct cfs_attr *ret);

/* A question is asked now: the moment to give to attr_cache_learn(). */
uint64_t attr_cache_ask(const struct attr_cache *c);
void     attr_cache_learn(struct attr_cache *c, const struct cfs_attr *attr,
                          uint64_t asked);

/* A change of @g is sent / was answered. In pairs; a null @g is none.
 * @attr: what the answer says it is now, or NULL: not known. */
void attr_cache_change(struct attr_cache *c, struct cfs_gfid g);
void attr_cache_changed(struct attr_cache *c, struct cfs_gfid g,
                        const struct cfs_attr *attr);

/* Forget everything. Changes in flight stay counted. */
void attr_cache_clear(struct attr_cache *c);

size_t attr_cache_count(const struct attr_cache *c);

#endif
