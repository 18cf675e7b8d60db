/* SPDX-License-Identifier: Apache-2.0 */
/* dlm_lock.c - features/dlm-lock: the place in a client's graph where the
 * right to an inode is held, and what it covers is kept; see README.md.
 *
 * While a volume has one mount, that mount holds every right there is, for as
 * long as its session lives. So attributes that an answer told are given out
 * without a message until the mount changes them (attr_cache.h), and all other
 * operations pass on.
 *
 * A change that failed in a way that leaves open whether it happened, a new
 * session, and a set that cannot be served make it forget everything.
 */
#include "core/graph.h"
#include "core/xlator.h"
#include "xlators/features/dlm-lock/attr_cache.h"

struct dlm {
    uint64_t           max; /* option */
    struct attr_cache *attrs;
    uint64_t           hits;
    uint64_t           misses;
};

static const struct cfs_opt dlm_opts[] = {
    {.name = "attribute-cache", .type = CFS_OPT_U64,
     .at = offsetof(struct dlm, max), .def = "65536", .max = 16777216,
     .help = "inodes whose attributes are kept; 0: none"},
    {0},
};

/* -- getattr, and what tells attributes beside it -------------------------- */

#define READS(READ) READ(lookup) READ(getattr) READ(read)

#define READ(lower)                                                          \
    struct dlm_##lower {                                                     \
        struct cfs_##lower  op;                                              \
        struct cfs_##lower *up;                                              \
        struct dlm         *dlm;                                             \
        uint64_t            asked;                                           \
    };                                                                       \
                                                                             \
    static void lower##_done(struct cfs_##lower *op, int status)             \
    {                                                                        \
        struct dlm_##lower *r = container_of(op, struct dlm_##lower, op);    \
                                                                             \
        if (status == 0)                                                     \
            attr_cache_learn(r->dlm->attrs, &op->attr, r->asked);            \
        cfs_join_##lower(r->up, op);                                         \
        cfs_unwind_##lower(r->up, status);                                   \
    }                                                                        \
                                                                             \
    static void lower##_ask(struct cfs_xl *xl, struct cfs_##lower *up)       \
    {                                                                        \
        struct dlm *dlm = xl->priv;                                          \
        struct dlm_##lower *r =                                              \
            cfs_call_new(up->req.call, struct dlm_##lower);                  \
                                                                             \
        r->up = up;                                                          \
        r->dlm = dlm;                                                        \
        r->asked = attr_cache_ask(dlm->attrs);                               \
        cfs_fork_##lower(&r->op, up);                                        \
        cfs_wind_##lower(xl->child[0], &r->op, lower##_done);                \
    }
READS(READ)
#undef READ

static void dlm_getattr(struct cfs_xl *xl, struct cfs_getattr *up)
{
    struct dlm *dlm = xl->priv;

    if (attr_cache_get(dlm->attrs, up->gfid, &up->attr)) {
        dlm->hits++;
        cfs_unwind_getattr(up, 0);
        return;
    }
    dlm->misses++;
    getattr_ask(xl, up);
}

/* -- changes --------------------------------------------------------------- */

/* Whether it is certain that a change with this answer did not happen. */
static bool certain(int status)
{
    switch (cfs_err_class(status)) {
    case EIO:
    case ENOTCONN:
    case ETIMEDOUT:
        return false;
    default:
        return true;
    }
}

/* The inodes that a change names, and where the answer tells of them. */
struct effect {
    struct cfs_gfid  gfid;
    struct cfs_attr *attr; /* NULL: nowhere */
};

#define EFFECTS 4u

struct effects {
    unsigned      n;
    struct effect e[EFFECTS];
};

static void effect(struct effects *all, struct cfs_gfid gfid,
                   struct cfs_attr *attr)
{
    for (unsigned i = 0; i < all->n; i++)
        if (cfs_gfid_eq(all->e[i].gfid, gfid))
            return; /* both directories of a rename may be one */
    assert(all->n < EFFECTS);
    all->e[all->n++] = (struct effect){gfid, attr};
}

static void begin(struct dlm *dlm, const struct effects *all)
{
    for (unsigned i = 0; i < all->n; i++)
        attr_cache_change(dlm->attrs, all->e[i].gfid);
}

static void end(struct dlm *dlm, const struct effects *all, int status)
{
    for (unsigned i = 0; i < all->n; i++) {
        const struct cfs_attr *attr = all->e[i].attr;
        bool told = status == 0 && attr &&
                    cfs_gfid_eq(attr->gfid, all->e[i].gfid);

        attr_cache_changed(dlm->attrs, all->e[i].gfid, told ? attr : NULL);
    }
    if (status != 0 && !certain(status))
        attr_cache_clear(dlm->attrs);
}

static void create_effects(struct cfs_create *op, struct effects *all)
{
    effect(all, op->parent, &op->dir);
    effect(all, op->gfid, &op->attr);
}

static void unlink_effects(struct cfs_unlink *op, struct effects *all)
{
    effect(all, op->parent, &op->dir);
    effect(all, op->child, &op->attr);
}

static void rename_effects(struct cfs_rename *op, struct effects *all)
{
    effect(all, op->parent, &op->dir);
    effect(all, op->newparent, &op->newdir);
    effect(all, op->child, &op->attr);
    effect(all, op->victim, &op->victim_attr);
}

static void link_effects(struct cfs_link *op, struct effects *all)
{
    effect(all, op->newparent, &op->dir);
    effect(all, op->gfid, &op->attr);
}

static void purge_effects(struct cfs_purge *op, struct effects *all)
{
    effect(all, op->gfid, NULL);
}

#define ONE(lower)                                                           \
    static void lower##_effects(struct cfs_##lower *op, struct effects *all) \
    {                                                                        \
        effect(all, op->gfid, &op->attr);                                    \
    }
ONE(setattr)
ONE(write)
ONE(setxattr)
ONE(removexattr)
ONE(fallocate)
ONE(copy)
#undef ONE

/* What an answer tells of an inode that the change did not name: unlink and
 * rename need not know what lies behind a name. */
static void unnamed(struct dlm *dlm, const struct effects *all,
                    const struct cfs_attr *attr)
{
    for (unsigned i = 0; i < all->n; i++)
        if (cfs_gfid_eq(all->e[i].gfid, attr->gfid))
            return;
    attr_cache_change(dlm->attrs, attr->gfid);
    attr_cache_changed(dlm->attrs, attr->gfid, attr);
}

static void unlink_unnamed(struct dlm *dlm, const struct effects *all,
                           const struct cfs_unlink *op)
{
    unnamed(dlm, all, &op->attr);
}

static void rename_unnamed(struct dlm *dlm, const struct effects *all,
                           const struct cfs_rename *op)
{
    unnamed(dlm, all, &op->attr);
    unnamed(dlm, all, &op->victim_attr);
}

/* All others name everything. */
#define create_unnamed(dlm, all, op)      ((void)0)
#define link_unnamed(dlm, all, op)        ((void)0)
#define setattr_unnamed(dlm, all, op)     ((void)0)
#define write_unnamed(dlm, all, op)       ((void)0)
#define setxattr_unnamed(dlm, all, op)    ((void)0)
#define removexattr_unnamed(dlm, all, op) ((void)0)
#define fallocate_unnamed(dlm, all, op)   ((void)0)
#define copy_unnamed(dlm, all, op)        ((void)0)
#define purge_unnamed(dlm, all, op)       ((void)0)

#define CHANGES(CHANGE)                                                      \
    CHANGE(create) CHANGE(unlink) CHANGE(rename) CHANGE(link)                \
    CHANGE(setattr) CHANGE(write) CHANGE(setxattr) CHANGE(removexattr)       \
    CHANGE(fallocate) CHANGE(copy) CHANGE(purge)

#define CHANGE(lower)                                                        \
    struct dlm_##lower {                                                     \
        struct cfs_##lower  op;                                              \
        struct cfs_##lower *up;                                              \
        struct dlm         *dlm;                                             \
        struct effects      effects; /* attributes: of .op */                \
    };                                                                       \
                                                                             \
    static void lower##_done(struct cfs_##lower *op, int status)             \
    {                                                                        \
        struct dlm_##lower *c = container_of(op, struct dlm_##lower, op);    \
                                                                             \
        end(c->dlm, &c->effects, status);                                    \
        if (status == 0)                                                     \
            lower##_unnamed(c->dlm, &c->effects, op);                        \
        cfs_join_##lower(c->up, op);                                         \
        cfs_unwind_##lower(c->up, status);                                   \
    }                                                                        \
                                                                             \
    static void dlm_##lower(struct cfs_xl *xl, struct cfs_##lower *up)       \
    {                                                                        \
        struct dlm_##lower *c =                                              \
            cfs_call_new(up->req.call, struct dlm_##lower);                  \
                                                                             \
        c->up = up;                                                          \
        c->dlm = xl->priv;                                                   \
        cfs_fork_##lower(&c->op, up);                                        \
        lower##_effects(&c->op, &c->effects);                                \
        begin(c->dlm, &c->effects);                                          \
        cfs_wind_##lower(xl->child[0], &c->op, lower##_done);                \
    }
CHANGES(CHANGE)
#undef CHANGE

static const struct cfs_fops dlm_fops = {
#define CHANGE(lower) .lower = dlm_##lower,
    CHANGES(CHANGE)
#undef CHANGE
    .lookup = lookup_ask,
    .getattr = dlm_getattr,
    .read = read_ask,
};

/* -- life ------------------------------------------------------------------ */

static void dlm_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    struct dlm *dlm = xl->priv;

    if (ev->type == CFS_EV_SESSION || ev->type == CFS_EV_CHILD_DOWN)
        attr_cache_clear(dlm->attrs);
    cfs_notify_pass(xl, ev);
}

static int dlm_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct dlm *dlm = xl->priv;

    dlm->attrs = attr_cache_new((size_t)dlm->max);
    return 0;
}

static void dlm_fini(struct cfs_xl *xl)
{
    struct dlm *dlm = xl->priv;

    attr_cache_free(dlm->attrs);
}

static void dlm_dump(struct cfs_xl *xl, struct cfs_dump *d)
{
    const struct dlm *dlm = xl->priv;

    cfs_dump_put(d, "attributes", "%zu", attr_cache_count(dlm->attrs));
    cfs_dump_put(d, "hits", "%llu", (unsigned long long)dlm->hits);
    cfs_dump_put(d, "misses", "%llu", (unsigned long long)dlm->misses);
}

const struct cfs_xl_type cfs_xl_type = {
    .name = "features/dlm-lock",
    .children_min = 1,
    .children_max = 1,
    .priv_size = sizeof(struct dlm),
    .opts = dlm_opts,
    .init = dlm_init,
    .fini = dlm_fini,
    .notify = dlm_notify,
    .dump = dlm_dump,
    .fops = &dlm_fops,
};
