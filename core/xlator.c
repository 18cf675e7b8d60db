/* SPDX-License-Identifier: Apache-2.0 */
/* xlator.c - what all translators share: passing operations and events on,
 * winding a request whose type only its head knows; see xlator.h.
 */
#include "core/xlator.h"

#include "core/graph.h"

/* An operation that a translator leaves out: its only child's, with the
 * sender's request as it is. A leaf, and one with several children, which has
 * to say which of them is meant, answers -EOPNOTSUPP. */
#define FOP(lower, UPPER, class, in, out)                                    \
    static void pass_##lower(struct cfs_xl *xl, struct cfs_##lower *op)      \
    {                                                                        \
        xl->child[0]->fops.lower(xl->child[0], op);                          \
    }                                                                        \
                                                                             \
    static void refuse_##lower(struct cfs_xl *xl, struct cfs_##lower *op)    \
    {                                                                        \
        cfs_unwind_##lower(op, -EOPNOTSUPP);                                 \
    }
#include "core/fops.def"
#undef FOP

void cfs_xl_fill_fops(struct cfs_xl *xl)
{
    bool pass = xl->n_child == 1;

    if (xl->type->fops)
        xl->fops = *xl->type->fops;
#define FOP(lower, UPPER, class, in, out)                                    \
    if (!xl->fops.lower)                                                     \
        xl->fops.lower = pass ? pass_##lower : refuse_##lower;
#include "core/fops.def"
#undef FOP
}

void cfs_wind(struct cfs_xl *to, struct cfs_req *req)
{
    switch (req->fop) {
#define FOP(lower, UPPER, class, in, out)                                    \
    case CFS_FOP_##UPPER:                                                    \
        to->fops.lower(to, container_of(req, struct cfs_##lower, req));      \
        return;
#include "core/fops.def"
#undef FOP
    case CFS_FOP_N:
        break;
    }
    assert(!"no such operation");
}

static void deliver(struct cfs_xl *to, const struct cfs_event *ev)
{
    if (to->type->notify)
        to->type->notify(to, ev);
    else
        cfs_notify_pass(to, ev);
}

void cfs_notify_down(struct cfs_xl *xl, struct cfs_event ev)
{
    ev.from = xl;
    for (unsigned i = 0; i < xl->n_child; i++)
        deliver(xl->child[i], &ev);
}

void cfs_notify_up(struct cfs_xl *xl, struct cfs_event ev)
{
    struct cfs_graph *g = xl->graph;

    if (ev.type == CFS_EV_CHILD_UP || ev.type == CFS_EV_CHILD_DOWN)
        xl->up = ev.type == CFS_EV_CHILD_UP;
    ev.from = xl;
    for (unsigned i = 0; i < xl->n_parent; i++)
        deliver(xl->parent[i], &ev);
    if (xl->n_parent == 0 && g && g->on_event)
        g->on_event(g, &ev);
}

void cfs_notify_pass(struct cfs_xl *xl, const struct cfs_event *ev)
{
    if (cfs_event_goes_down(ev->type))
        cfs_notify_down(xl, *ev);
    else
        cfs_notify_up(xl, *ev);
}
