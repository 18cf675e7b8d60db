/* SPDX-License-Identifier: Apache-2.0 */
/* change.c - changes and fsync as requests: what they touch, how they are
 * sent to a member, and answered. Their life is in change_core.c.
 *
 * In order of time: begin, names (lookups of what the caller did not know),
 * the core's look / send / answer / release.
 */
#include "xlators/cluster/replicate/replicate.h"

#include <linux/falloc.h>
#include <linux/fs.h>

/* What a change without data may take: nodes of the tree, its record. */
#define SPACE_SMALL ((uint64_t)16 << 10)

/* Any request that goes to all members. */
#define CLASS_READ(lower)
#define CLASS_LOCAL(lower)
#define CLASS_CTL(lower)
#define CLASS_CHANGE(lower) struct cfs_##lower lower;
#define CLASS_SYNC(lower) CLASS_CHANGE(lower)
#define FOP(lower, UPPER, class, in, out) CLASS_##class(lower)
union rep_any {
    struct cfs_req req;
#include "core/fops.def"
};
#undef FOP
#undef CLASS_CHANGE

struct rep_op;

struct rep_op_leg {
    struct rep_op *op;
    union rep_any  any;
};

/* How each operation does what differs by its type only. */
struct rep_op_type {
    void (*own)(struct rep_op *op);
    void (*send)(struct rep_op *op, unsigned m);
    void (*join)(struct rep_op *op, unsigned m);
};

struct rep_op {
    struct rep_change         core;
    struct rep               *rep;
    const struct rep_op_type *type;
    struct cfs_req           *up;      /* NULL once answered */
    union rep_any             base;    /* what is sent; inputs are ours */
    bool                      guessed; /* names are as the caller said */
    struct cfs_lookup         lookup;
    struct cfs_getattr        getattr;
    struct rep_op_leg         leg[]; /* one for each child */
};

static struct rep_op *op_of(struct rep_change *ch)
{
    return container_of(ch, struct rep_op, core);
}

static void leg_done(struct rep_op_leg *leg, int status)
{
    struct rep_op *op = leg->op;
    struct rep *rep = op->rep;

    rep_change_answered(&rep->core, &op->core, (unsigned)(leg - op->leg),
                        status, &leg->any.req.post, rep_now(rep));
    rep_arm(rep);
}

/* -- inputs become ours ---------------------------------------------------- */

static void own_name(struct cfs_arena *a, struct cfs_name *n)
{
    n->s = cfs_arena_dup(a, n->s, n->len);
}

static void own_blob(struct cfs_arena *a, struct cfs_blob *b)
{
    b->p = cfs_arena_dup(a, b->p, b->len);
}

static void own_buf(struct cfs_arena *a, struct cfs_buf *b)
{
    struct cfs_buf mine;

    if (b->mem) {
        mine = cfs_buf_ref(*b);
    } else {
        mine = cfs_buf_new(b->len);
        memcpy(mine.data, b->data, b->len);
    }
    cfs_arena_keep(a, mine);
    *b = mine;
}

#define OWN_gfid(f)
#define OWN_u32(f)
#define OWN_u64(f)
#define OWN_time(f)
#define OWN_name(f) own_name(&op->base.req.call->arena, &f);
#define OWN_blob(f) own_blob(&op->base.req.call->arena, &f);
#define OWN_buf(f) own_buf(&op->base.req.call->arena, &f);

/* -- what is generated for each -------------------------------------------- */

#define A(type, name) OWN_##type(base->name)
#define CLASS_CHANGE(lower, UPPER, in)                                       \
    static void own_##lower(struct rep_op *op)                               \
    {                                                                        \
        struct cfs_##lower *base = &op->base.lower;                          \
        struct cfs_call *call = op->base.req.call;                           \
                                                                             \
        cfs_fork_##lower(base,                                               \
                         container_of(op->up, struct cfs_##lower, req));     \
        base->req.call = call;                                               \
        base->req.fop = CFS_FOP_##UPPER;                                     \
        in                                                                   \
    }                                                                        \
                                                                             \
    static void lower##_leg_done(struct cfs_##lower *leg, int status)        \
    {                                                                        \
        leg_done(container_of(leg, struct rep_op_leg, any.lower), status);   \
    }                                                                        \
                                                                             \
    static void send_##lower(struct rep_op *op, unsigned m)                  \
    {                                                                        \
        struct cfs_##lower *leg = &op->leg[m].any.lower;                     \
                                                                             \
        cfs_fork_##lower(leg, &op->base.lower);                              \
        cfs_wind_##lower(op->rep->xl->child[m], leg, lower##_leg_done);      \
    }                                                                        \
                                                                             \
    static void join_##lower(struct rep_op *op, unsigned m)                  \
    {                                                                        \
        cfs_join_##lower(container_of(op->up, struct cfs_##lower, req),      \
                         &op->leg[m].any.lower);                             \
    }                                                                        \
                                                                             \
    static const struct rep_op_type type_##lower = {                         \
        own_##lower, send_##lower, join_##lower};
#undef CLASS_READ
#undef CLASS_LOCAL
#undef CLASS_CTL
#undef CLASS_SYNC
#define CLASS_READ(lower, UPPER, in)
#define CLASS_LOCAL(lower, UPPER, in)
#define CLASS_CTL(lower, UPPER, in)
#define CLASS_SYNC(lower, UPPER, in) CLASS_CHANGE(lower, UPPER, in)
#define FOP(lower, UPPER, class, in, out) CLASS_##class(lower, UPPER, in)
#include "core/fops.def"
#undef FOP
#undef A
#undef CLASS_CHANGE

/* -- what it touches, what it may take ------------------------------------- */

static void touch_rename(struct rep_change *ch, const struct cfs_rename *r)
{
    /* Two names of one inode: nothing happens, to none of them. */
    bool nothing = cfs_gfid_eq(r->child, r->victim);
    enum rep_touch_kind kind = nothing ? REP_TOUCH_KEEP : REP_TOUCH_CHANGE;

    rep_change_add(ch, r->parent, kind);
    rep_change_add(ch, r->newparent, kind);
    rep_change_add(ch, r->child, kind);
    rep_change_add(ch, r->victim, kind);
}

static void touch(struct rep_change *ch, const union rep_any *b)
{
    switch (b->req.fop) {
    case CFS_FOP_CREATE:
        rep_change_add(ch, b->create.parent, REP_TOUCH_CHANGE);
        rep_change_add(ch, b->create.gfid, REP_TOUCH_NEW);
        return;
    case CFS_FOP_UNLINK:
        rep_change_add(ch, b->unlink.parent, REP_TOUCH_CHANGE);
        rep_change_add(ch, b->unlink.child, REP_TOUCH_CHANGE);
        return;
    case CFS_FOP_RENAME:
        touch_rename(ch, &b->rename);
        return;
    case CFS_FOP_LINK:
        rep_change_add(ch, b->link.newparent, REP_TOUCH_CHANGE);
        rep_change_add(ch, b->link.gfid, REP_TOUCH_CHANGE);
        return;
    case CFS_FOP_COPY:
        rep_change_add(ch, b->copy.gfid, REP_TOUCH_CHANGE);
        rep_change_add(ch, b->copy.src, REP_TOUCH_KEEP);
        return;
    case CFS_FOP_SETATTR:
        rep_change_add(ch, b->setattr.gfid, REP_TOUCH_CHANGE);
        return;
    case CFS_FOP_WRITE:
        rep_change_add(ch, b->write.gfid, REP_TOUCH_CHANGE);
        return;
    case CFS_FOP_SETXATTR:
        rep_change_add(ch, b->setxattr.gfid, REP_TOUCH_CHANGE);
        return;
    case CFS_FOP_REMOVEXATTR:
        rep_change_add(ch, b->removexattr.gfid, REP_TOUCH_CHANGE);
        return;
    case CFS_FOP_FALLOCATE:
        rep_change_add(ch, b->fallocate.gfid, REP_TOUCH_CHANGE);
        return;
    case CFS_FOP_PURGE:
        rep_change_add(ch, b->purge.gfid, REP_TOUCH_CHANGE);
        return;
    default:
        assert(!"a change that touches nothing");
    }
}

/* What frees space asks for none: deleting always works. */
static uint64_t space(const union rep_any *b)
{
    switch (b->req.fop) {
    case CFS_FOP_WRITE:
        return b->write.data.len + SPACE_SMALL;
    case CFS_FOP_COPY:
        return b->copy.size + SPACE_SMALL;
    case CFS_FOP_FALLOCATE:
        if (b->fallocate.mode & FALLOC_FL_PUNCH_HOLE)
            return 0;
        return b->fallocate.size + SPACE_SMALL;
    case CFS_FOP_SETXATTR:
        return b->setxattr.value.len + SPACE_SMALL;
    case CFS_FOP_CREATE:
    case CFS_FOP_LINK:
    case CFS_FOP_RENAME:
        return SPACE_SMALL;
    default:
        return 0;
    }
}

/* -- begin ----------------------------------------------------------------- */

static void start(struct rep_op *op)
{
    struct rep *rep = op->rep;

    touch(&op->core, &op->base);
    op->core.size = space(&op->base);
    rep_change_start(&rep->core, &op->core, rep_now(rep));
    rep_arm(rep);
}

static void fail(struct rep_op *op, int status)
{
    struct rep *rep = op->rep;

    rep_change_fail(&rep->core, &op->core, status, rep_now(rep));
    rep_arm(rep);
}

/* What @name in @dir is, from this very translator: its reads find a member
 * that knows, or wait. */
static void look_name(struct rep_op *op, struct cfs_gfid dir,
                      struct cfs_name name,
                      void (*done)(struct cfs_lookup *, int))
{
    memset(&op->lookup, 0, sizeof op->lookup);
    op->lookup.req.call = op->base.req.call;
    op->lookup.parent = dir;
    op->lookup.name = name;
    cfs_wind_lookup(op->rep->xl, &op->lookup, done);
}

static void victim_looked(struct cfs_lookup *l, int status)
{
    struct rep_op *op = container_of(l, struct rep_op, lookup);
    bool must = op->base.rename.flags & RENAME_EXCHANGE;

    if (status == -ENOENT && !must)
        op->base.rename.victim = (struct cfs_gfid){0};
    else if (status < 0)
        return fail(op, status);
    else
        op->base.rename.victim = l->attr.gfid;
    start(op);
}

/* The victim is taken as the caller says, once: the kernel has looked it up.
 * A guess that was wrong costs a round. */
static void rename_victim(struct rep_op *op)
{
    struct cfs_rename *r = &op->base.rename;

    if (op->guessed && (!cfs_gfid_is_null(r->victim) ||
                        !(r->flags & RENAME_EXCHANGE)))
        start(op);
    else
        look_name(op, r->newparent, r->newname, victim_looked);
}

static void child_looked(struct cfs_lookup *l, int status)
{
    struct rep_op *op = container_of(l, struct rep_op, lookup);

    if (status < 0)
        return fail(op, status);
    if (op->base.req.fop == CFS_FOP_UNLINK) {
        op->base.unlink.child = l->attr.gfid;
        start(op);
    } else {
        op->base.rename.child = l->attr.gfid;
        rename_victim(op);
    }
}

/* Find out which inodes it touches. */
static void names(struct rep_op *op)
{
    struct cfs_unlink *u = &op->base.unlink;
    struct cfs_rename *r = &op->base.rename;

    if (op->base.req.fop == CFS_FOP_UNLINK &&
        (!op->guessed || cfs_gfid_is_null(u->child)))
        look_name(op, u->parent, u->name, child_looked);
    else if (op->base.req.fop == CFS_FOP_RENAME &&
             (!op->guessed || cfs_gfid_is_null(r->child)))
        look_name(op, r->parent, r->name, child_looked);
    else if (op->base.req.fop == CFS_FOP_RENAME)
        rename_victim(op);
    else
        start(op);
}

static struct rep_op *op_new(struct cfs_xl *xl, struct cfs_req *up,
                             const struct rep_op_type *type)
{
    struct rep *rep = xl->priv;
    struct cfs_call *call = cfs_call_begin(xl->graph);
    struct rep_op *op = cfs_arena_alloc(
        &call->arena, sizeof *op + xl->n_child * sizeof op->leg[0]);

    call->uid = up->call->uid;
    call->gid = up->call->gid;
    call->pid = up->call->pid;
    op->rep = rep;
    op->type = type;
    op->up = up;
    op->guessed = true;
    op->base.req.call = call;
    for (unsigned i = 0; i < xl->n_child; i++)
        op->leg[i].op = op;
    type->own(op);
    op->base.req.change = NULL;
    return op;
}

static void change_begin(struct cfs_xl *xl, struct cfs_req *up,
                         const struct rep_op_type *type)
{
    struct rep *rep = xl->priv;
    struct rep_op *op;

    if (rep->core.stopping) {
        cfs_unwind(up, -ENOTCONN);
        return;
    }
    rep->n_changes++;
    op = op_new(xl, up, type);
    op->base.req.change = &op->core.wire;
    names(op);
}

/* An fsync goes to all, as a change does, and has no number. */
void rep_change_fsync(struct cfs_xl *xl, struct cfs_fsync *up)
{
    struct rep *rep = xl->priv;
    struct rep_op *op;

    if (rep->stage >= REP_CLOSING) {
        cfs_unwind_fsync(up, -ENOTCONN);
        return;
    }
    up->req.fop = CFS_FOP_FSYNC;
    op = op_new(xl, &up->req, &type_fsync);
    op->core.sync = true;
    op->base.req.want = rep_known(&rep->core, up->gfid);
    rep_change_start(&rep->core, &op->core, rep_now(rep));
    rep_arm(rep);
}

/* -- what the core asks for ------------------------------------------------ */

static void version_looked(struct cfs_getattr *g, int status)
{
    struct rep_op *op = container_of(g, struct rep_op, getattr);
    struct rep *rep = op->rep;

    rep_change_looked(&rep->core, &op->core, status, &g->attr, rep_now(rep));
    rep_arm(rep);
}

void rep_io_look(struct rep_core *c, struct rep_change *ch, struct cfs_gfid g)
{
    struct rep_op *op = op_of(ch);

    memset(&op->getattr, 0, sizeof op->getattr);
    op->getattr.req.call = op->base.req.call;
    op->getattr.gfid = g;
    cfs_wind_getattr(op->rep->xl, &op->getattr, version_looked);
}

void rep_io_again(struct rep_core *c, struct rep_change *ch)
{
    struct rep_op *op = op_of(ch);

    op->guessed = false;
    names(op);
}

void rep_io_send(struct rep_core *c, struct rep_change *ch, unsigned m)
{
    struct rep_op *op = op_of(ch);

    op->base.req.epoch = c->view.epoch;
    op->type->send(op, m);
}

void rep_io_answer(struct rep_core *c, struct rep_change *ch, int status,
                   int m)
{
    struct rep_op *op = op_of(ch);
    struct cfs_req *up = op->up;

    if (m >= 0)
        op->type->join(op, (unsigned)m);
    op->up = NULL;
    cfs_unwind(up, status);
}

void rep_io_release(struct rep_core *c, struct rep_change *ch)
{
    cfs_call_end(op_of(ch)->base.req.call);
}

/* -- the operations -------------------------------------------------------- */

#undef CLASS_SYNC
#define CLASS_CHANGE(lower, UPPER, in)                                       \
    void rep_change_##lower(struct cfs_xl *xl, struct cfs_##lower *up)       \
    {                                                                        \
        up->req.fop = CFS_FOP_##UPPER;                                       \
        change_begin(xl, &up->req, &type_##lower);                           \
    }
#define CLASS_SYNC(lower, UPPER, in)
#define FOP(lower, UPPER, class, in, out) CLASS_##class(lower, UPPER, in)
#include "core/fops.def"
