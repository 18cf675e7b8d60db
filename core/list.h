/* SPDX-License-Identifier: Apache-2.0 */
/* list.h - a circular doubly linked list, embedded in what it links.
 *
 * Ownership  a list owns nothing. A link that is in no list points to itself,
 *            so cfs_list_del() is harmless twice.
 */
#ifndef CFS_CORE_LIST_H
#define CFS_CORE_LIST_H

#include "core/base.h"

struct cfs_list {
    struct cfs_list *next;
    struct cfs_list *prev;
};

static inline void cfs_list_init(struct cfs_list *l)
{
    l->next = l->prev = l;
}

static inline bool cfs_list_empty(const struct cfs_list *l)
{
    return l->next == l;
}

static inline void cfs_list_add_before(struct cfs_list *at, struct cfs_list *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}

static inline void cfs_list_add_tail(struct cfs_list *l, struct cfs_list *n)
{
    cfs_list_add_before(l, n);
}

static inline void cfs_list_add_head(struct cfs_list *l, struct cfs_list *n)
{
    cfs_list_add_before(l->next, n);
}

static inline void cfs_list_del(struct cfs_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    cfs_list_init(n);
}

/* Move all of @from, in order, to the end of @to. */
static inline void cfs_list_splice(struct cfs_list *to, struct cfs_list *from)
{
    if (cfs_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    cfs_list_init(from);
}

/* Take the first link out of @l; NULL when it is empty. */
static inline struct cfs_list *cfs_list_pop(struct cfs_list *l)
{
    struct cfs_list *n = l->next;

    if (n == l)
        return NULL;
    cfs_list_del(n);
    return n;
}

#define cfs_list_entry(ptr, type, member) container_of(ptr, type, member)

#define cfs_list_for_each(it, l)                                             \
    for (struct cfs_list *it = (l)->next; it != (l); it = it->next)

/* As above; the body may remove @it. */
#define cfs_list_for_each_safe(it, l)                                        \
    for (struct cfs_list *it = (l)->next, *it##_n = it->next; it != (l);     \
         it = it##_n, it##_n = it->next)

#endif
