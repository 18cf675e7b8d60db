/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - reads as requests: one in-sync member is asked, and another when
 * that one cannot; which, is decided in read_core.c. What a reply says of an
 * inode's version is learnt.
 */
#include "xlators/cluster/replicate/replicate.h"

#include "core/dirent.h"
#include "core/sums.h"

struct rep_rop;

/* How each operation does what differs by its type only. */
struct rep_rop_type {
    void (*fork)(struct rep_rop *op);
    void (*send)(struct rep_rop *op, unsigned m);
    void (*join)(struct rep_rop *op);
    void (*learn)(struct rep *rep, struct cfs_req *req);
};

/* A read in flight; the request to the member follows it in memory. */
struct rep_rop {
    struct rep_read            core;
    struct rep                *rep;
    const struct rep_rop_type *type;
    struct cfs_req            *up;
    struct cfs_req            *leg;
};

/* -- what replies teach ---------------------------------------------------- */

static void learn_attr(struct rep *rep, const struct cfs_attr *a)
{
    rep_learn(&rep->core, a->gfid, a->version);
}

/* Attributes that a listing brought along. */
static void learn_entries(struct rep *rep, const struct cfs_readdir *r)
{
    const uint8_t *at = r->entries.data;
    const uint8_t *end = at + r->entries.len;
    struct cfs_dirent e;

    if (!r->plus || !at)
        return;
    while (cfs_dirent_next(&at, end, &e) == 1)
        if (e.has_attr)
            learn_attr(rep, &e.attr);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* The set has as much less room than the member that answered, as the fullest
 * member is fuller than that one. */
static void cap_space(struct rep *rep, const struct cfs_post *post,
                      struct cfs_space *s)
{
    uint64_t fuller = 0;

    for (unsigned i = 0; i < rep->core.n; i++) {
        const struct rep_member *m = &rep->core.m[i];
        uint64_t d = less(post->free, m->post.free);

        if (m->in_view && m->post.epoch != 0 && d > fuller)
            fuller = d;
    }
    s->free = less(s->free, fuller);
    s->avail = less(s->avail, fuller);
}

static void learn(struct rep *rep, struct cfs_req *req)
{
    struct cfs_readdir *dir = container_of(req, struct cfs_readdir, req);
    struct cfs_statfs *fs = container_of(req, struct cfs_statfs, req);

    if (req->fop == CFS_FOP_READDIR)
        learn_entries(rep, dir);
    else if (req->fop == CFS_FOP_STATFS)
        cap_space(rep, &req->post, &fs->space);
}

/* A reply is believed only when it is what it says. */
static int verify(struct rep_rop *op, int status)
{
    struct rep *rep = op->rep;
    struct cfs_read *r = container_of(op->leg, struct cfs_read, req);

    if (status < 0 || op->leg->fop != CFS_FOP_READ)
        return status;
    if (r->data.len <= r->size &&
        cfs_sums_match(r->offset, r->data.data, r->data.len, r->sums))
        return 0;
    cfs_log_error(rep->xl->log, rep->xl->name, "%s sent data that does not "
                  "match its checksums: asking another",
                  rep->xl->child[op->core.member]->name);
    return -CFS_E_CHECKSUM;
}

static void leg_done(struct rep_rop *op, int status)
{
    struct rep *rep = op->rep;

    rep_post(&rep->core, op->core.member, &op->leg->post);
    rep_read_answered(&rep->core, &op->core, verify(op, status),
                      rep_now(rep));
    rep_arm(rep);
}

/* -- what is generated for each -------------------------------------------- */

#define LEARN_attr(f) learn_attr(rep, &f);
#define LEARN_blob(f)
#define LEARN_buf(f)
#define LEARN_u32(f)
#define LEARN_u64(f)
#define LEARN_space(f)

#define A(type, name) LEARN_##type(leg->name)
#define CLASS_READ(lower, UPPER, out)                                        \
    struct rop_##lower {                                                     \
        struct rep_rop     op;                                               \
        struct cfs_##lower leg;                                              \
    };                                                                       \
                                                                             \
    static void fork_##lower(struct rep_rop *op)                             \
    {                                                                        \
        struct rop_##lower *r = container_of(op, struct rop_##lower, op);    \
                                                                             \
        cfs_fork_##lower(&r->leg,                                            \
                         container_of(op->up, struct cfs_##lower, req));     \
    }                                                                        \
                                                                             \
    static void lower##_leg_done(struct cfs_##lower *leg, int status)        \
    {                                                                        \
        leg_done(&container_of(leg, struct rop_##lower, leg)->op, status);   \
    }                                                                        \
                                                                             \
    static void send_##lower(struct rep_rop *op, unsigned m)                 \
    {                                                                        \
        struct rop_##lower *r = container_of(op, struct rop_##lower, op);    \
                                                                             \
        cfs_wind_##lower(op->rep->xl->child[m], &r->leg, lower##_leg_done);  \
    }                                                                        \
                                                                             \
    static void join_##lower(struct rep_rop *op)                             \
    {                                                                        \
        struct rop_##lower *r = container_of(op, struct rop_##lower, op);    \
                                                                             \
        cfs_join_##lower(container_of(op->up, struct cfs_##lower, req),      \
                         &r->leg);                                           \
    }                                                                        \
                                                                             \
    static void learn_##lower(struct rep *rep, struct cfs_req *req)          \
    {                                                                        \
        struct cfs_##lower *leg =                                            \
            container_of(req, struct cfs_##lower, req);                      \
                                                                             \
        out                                                                  \
        learn(rep, &leg->req);                                               \
    }                                                                        \
                                                                             \
    static const struct rep_rop_type type_##lower = {                        \
        fork_##lower, send_##lower, join_##lower, learn_##lower};
#define CLASS_CHANGE(lower, UPPER, out)
#define CLASS_SYNC(lower, UPPER, out)
#define CLASS_LOCAL(lower, UPPER, out)
#define CLASS_CTL(lower, UPPER, out)
#define FOP(lower, UPPER, class, in, out) CLASS_##class(lower, UPPER, out)
#include "core/fops.def"
#undef FOP
#undef A
#undef CLASS_READ
#undef CLASS_CHANGE
#undef CLASS_SYNC
#undef CLASS_LOCAL
#undef CLASS_CTL

/* -- begin, and what the core asks for ------------------------------------- */

/* The inode that a read is about: the first input of each. */
static struct cfs_gfid subject(struct cfs_req *req)
{
    switch (req->fop) {
    case CFS_FOP_LOOKUP:
        return container_of(req, struct cfs_lookup, req)->parent;
    case CFS_FOP_GETATTR:
        return container_of(req, struct cfs_getattr, req)->gfid;
    case CFS_FOP_READLINK:
        return container_of(req, struct cfs_readlink, req)->gfid;
    case CFS_FOP_READ:
        return container_of(req, struct cfs_read, req)->gfid;
    case CFS_FOP_READDIR:
        return container_of(req, struct cfs_readdir, req)->gfid;
    case CFS_FOP_GETXATTR:
        return container_of(req, struct cfs_getxattr, req)->gfid;
    case CFS_FOP_LISTXATTR:
        return container_of(req, struct cfs_listxattr, req)->gfid;
    case CFS_FOP_STATFS:
        return container_of(req, struct cfs_statfs, req)->gfid;
    case CFS_FOP_LSEEK:
        return container_of(req, struct cfs_lseek, req)->gfid;
    default:
        assert(!"not a read");
        return (struct cfs_gfid){0};
    }
}

static void read_begin(struct cfs_xl *xl, struct rep_rop *op,
                       struct cfs_req *up, struct cfs_req *leg,
                       const struct rep_rop_type *type)
{
    struct rep *rep = xl->priv;

    if (rep->stage >= REP_CLOSING) {
        cfs_unwind(up, -ENOTCONN);
        return;
    }
    rep->n_reads++;
    op->rep = rep;
    op->type = type;
    op->up = up;
    op->leg = leg;
    op->core.subject = subject(up);
    op->core.want = rep_known(&rep->core, op->core.subject);
    rep_read_start(&rep->core, &op->core, rep_now(rep));
    rep_arm(rep);
}

void rep_io_read(struct rep_core *c, struct rep_read *rd, unsigned m)
{
    struct rep_rop *op = container_of(rd, struct rep_rop, core);

    op->type->fork(op);
    op->leg->epoch = c->view.epoch;
    op->leg->want = rd->want;
    op->type->send(op, m);
}

void rep_io_read_end(struct rep_core *c, struct rep_read *rd, int status)
{
    struct rep_rop *op = container_of(rd, struct rep_rop, core);

    if (status == 0) {
        op->type->learn(op->rep, op->leg);
        op->type->join(op);
    }
    cfs_unwind(op->up, status);
}

/* close(2): every write was answered when all members had it. */
void rep_read_flush(struct cfs_xl *xl, struct cfs_flush *up)
{
    cfs_unwind_flush(up, 0);
}

/* -- the operations -------------------------------------------------------- */

#define CLASS_READ(lower, UPPER)                                             \
    void rep_read_##lower(struct cfs_xl *xl, struct cfs_##lower *up)         \
    {                                                                        \
        struct rop_##lower *r =                                              \
            cfs_call_new(up->req.call, struct rop_##lower);                  \
                                                                             \
        up->req.fop = CFS_FOP_##UPPER;                                       \
        read_begin(xl, &r->op, &up->req, &r->leg.req, &type_##lower);        \
    }
#define CLASS_CHANGE(lower, UPPER)
#define CLASS_SYNC(lower, UPPER)
#define CLASS_LOCAL(lower, UPPER)
#define CLASS_CTL(lower, UPPER)
#define FOP(lower, UPPER, class, in, out) CLASS_##class(lower, UPPER)
#include "core/fops.def"
