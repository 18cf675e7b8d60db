/* SPDX-License-Identifier: Apache-2.0 */
/* node_set.c - which node is which: questions about members and the homes of
 * bricks, answered from what is in memory. */
#include "mgmtd/node.h"

static struct peer *member(const struct mgmtd *m, const char *name)
{
    cfs_list_for_each(l, &m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (!p->gone && strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

bool brick_is_local(const struct brick *b)
{
    return strcmp(b->node, b->vol->m->node) == 0;
}

struct peer *brick_home(const struct brick *b)
{
    return member(b->vol->m, b->node);
}

bool brick_has_ended(const struct brick *b)
{
    return b->pid == 0 || b->state == BRICK_UNKNOWN;
}

const char *brick_host(const struct brick *b)
{
    const struct peer *p = brick_home(b);

    return p && p->host && *p->host ? p->host : b->node;
}

bool node_is_alone(const struct mgmtd *m)
{
    cfs_list_for_each(l, &m->peers)
        if (!cfs_list_entry(l, struct peer, link)->self)
            return false;
    return true;
}
