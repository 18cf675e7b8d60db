/* SPDX-License-Identifier: Apache-2.0 */
/* io_stats.c - debug/io-stats: how often each operation came by, how it ended,
 * how many bytes it moved and how long it took; see README.md.
 */
#include "xlators/debug/io-stats/io_stats.h"

/* From the second on as enum cfs_log_level. */
static const char *const levels[] = {
    "as-started", "error", "warning", "info", "debug", "trace", NULL,
};

static const struct cfs_opt ios_opts[] = {
    {.name = "latency-measurement", .type = CFS_OPT_BOOL,
     .at = offsetof(struct ios, measure), .def = "on",
     .flags = CFS_OPT_RECONF,
     .help = "time each operation; switching it on starts all figures anew"},
    {.name = "log-level", .type = CFS_OPT_ENUM,
     .at = offsetof(struct ios, level), .def = "as-started", .words = levels,
     .flags = CFS_OPT_RECONF,
     .help = "how much the process logs; as-started: as its command line said"},
    {0},
};

/* -- counting -------------------------------------------------------------- */

static unsigned bucket_of(uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned k = us == 0 ? 0 : 64u - (unsigned)__builtin_clzll(us);

    return k < IOS_BUCKETS ? k : IOS_BUCKETS - 1;
}

static void time_it(struct ios_counters *c, uint64_t ns)
{
    if (c->timed == 0 || ns < c->min_ns)
        c->min_ns = ns;
    if (ns > c->max_ns)
        c->max_ns = ns;
    c->timed++;
    c->total_ns += ns;
    c->bucket[bucket_of(ns)]++;
}

/* The inode that @req is about, and in @ret_name what it is called where that
 * is said; null: none. */
static struct cfs_gfid inode_of(const struct cfs_req *req,
                                struct cfs_gfid *ret_parent,
                                struct cfs_name *ret_name)
{
    switch (req->fop) {
    case CFS_FOP_LOOKUP: {
        const struct cfs_lookup *op = container_of(req, struct cfs_lookup,
                                                   req);
        *ret_parent = op->parent;
        *ret_name = op->name;
        return op->attr.gfid;
    }
    case CFS_FOP_CREATE: {
        const struct cfs_create *op = container_of(req, struct cfs_create,
                                                   req);
        *ret_parent = op->parent;
        *ret_name = op->name;
        return op->gfid;
    }
    case CFS_FOP_UNLINK:
        return container_of(req, struct cfs_unlink, req)->parent;
    case CFS_FOP_RENAME:
        return container_of(req, struct cfs_rename, req)->newparent;
#define ABOUT(lower, UPPER)                                                  \
    case CFS_FOP_##UPPER:                                                    \
        return container_of(req, struct cfs_##lower, req)->gfid
    ABOUT(getattr, GETATTR);
    ABOUT(readlink, READLINK);
    ABOUT(read, READ);
    ABOUT(readdir, READDIR);
    ABOUT(getxattr, GETXATTR);
    ABOUT(listxattr, LISTXATTR);
    ABOUT(lseek, LSEEK);
    ABOUT(fsync, FSYNC);
    ABOUT(link, LINK);
    ABOUT(setattr, SETATTR);
    ABOUT(write, WRITE);
    ABOUT(setxattr, SETXATTR);
    ABOUT(removexattr, REMOVEXATTR);
    ABOUT(fallocate, FALLOCATE);
    ABOUT(copy, COPY);
    ABOUT(purge, PURGE);
#undef ABOUT
    default:
        return (struct cfs_gfid){0};
    }
}

static void note_busy(struct busy *b, const struct cfs_req *req,
                      uint64_t bytes)
{
    struct cfs_gfid parent = {0};
    struct cfs_name name = {0};
    struct cfs_gfid gfid = inode_of(req, &parent, &name);
    struct busy_inode *i;

    if (cfs_gfid_is_null(gfid))
        return;
    i = busy_count(b, gfid);
    if (name.len > 0)
        busy_name(i, parent, name);
    if (cfs_fop_class(req->fop) == CFS_CLASS_CHANGE) {
        i->changes++;
        i->written += bytes;
    } else {
        i->reads++;
        i->read += bytes;
    }
}

static void count(struct cfs_xl *xl, const struct cfs_req *req,
                  uint64_t began, uint64_t bytes, int status)
{
    struct ios *ios = xl->priv;
    struct ios_counters *c = &ios->fop[req->fop];

    ios->in_flight--;
    c->count++;
    if (status < 0) {
        c->errors++;
    } else {
        c->bytes += bytes;
        note_busy(&ios->busy, req, bytes);
    }
    if (began != 0)
        time_it(c, cfs_now_fresh(xl->loop) - began);
}

/* What an operation moved; bulk data is a buf, in or out. */
#define BYTES_gfid(f)    0
#define BYTES_name(f)    0
#define BYTES_blob(f)    0
#define BYTES_attr(f)    0
#define BYTES_time(f)    0
#define BYTES_space(f)   0
#define BYTES_session(f) 0
#define BYTES_view(f)    0
#define BYTES_brick(f)   0
#define BYTES_u32(f)     0
#define BYTES_u64(f)     0
#define BYTES_buf(f)     (f).len

#define A(type, name) + BYTES_##type(op->name)
#define FOP(lower, UPPER, class, in, out)                                    \
    struct ios_##lower {                                                     \
        struct cfs_##lower  op; /* to the child */                           \
        struct cfs_##lower *up;                                              \
        struct cfs_xl      *xl;                                              \
        uint64_t            began; /* 0: not timed */                        \
    };                                                                       \
                                                                             \
    static void lower##_done(struct cfs_##lower *op, int status)             \
    {                                                                        \
        struct ios_##lower *t = container_of(op, struct ios_##lower, op);    \
                                                                             \
        count(t->xl, &op->req, t->began, (uint64_t)0 in out, status);        \
        cfs_join_##lower(t->up, op);                                         \
        cfs_unwind_##lower(t->up, status);                                   \
    }                                                                        \
                                                                             \
    static void ios_##lower(struct cfs_xl *xl, struct cfs_##lower *up)       \
    {                                                                        \
        struct ios *ios = xl->priv;                                          \
        struct ios_##lower *t =                                              \
            cfs_call_new(up->req.call, struct ios_##lower);                  \
                                                                             \
        ios->in_flight++;                                                    \
        t->up = up;                                                          \
        t->xl = xl;                                                          \
        t->began = ios->measure ? cfs_now_fresh(xl->loop) : 0;               \
        cfs_fork_##lower(&t->op, up);                                        \
        cfs_wind_##lower(xl->child[0], &t->op, lower##_done);                \
    }
#include "core/fops.def"
#undef FOP
#undef A

static const struct cfs_fops ios_fops = {
#define FOP(lower, UPPER, class, in, out) .lower = ios_##lower,
#include "core/fops.def"
#undef FOP
};

/* -- life ------------------------------------------------------------------ */

static void start_anew(struct cfs_xl *xl)
{
    struct ios *ios = xl->priv;

    memset(ios->fop, 0, sizeof ios->fop);
    busy_clear(&ios->busy);
    ios->since = cfs_now_fresh(xl->loop);
}

static void set_level(struct cfs_xl *xl)
{
    const struct ios *ios = xl->priv;

    if (!xl->log)
        return;
    cfs_log_set_level(xl->log, ios->level == 0
                                   ? (enum cfs_log_level)ios->level_then
                                   : (enum cfs_log_level)(ios->level - 1));
}

static int ios_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct ios *ios = xl->priv;

    if (xl->log)
        ios->level_then = cfs_log_get_level(xl->log);
    set_level(xl);
    ios->measured = ios->measure;
    start_anew(xl);
    return 0;
}

static int ios_reconfigure(struct cfs_xl *xl, struct cfs_err *err)
{
    struct ios *ios = xl->priv;

    if (ios->measure && !ios->measured)
        start_anew(xl);
    ios->measured = ios->measure;
    set_level(xl);
    return 0;
}

static void ios_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    if (ev->type == CFS_EV_COUNT_ANEW)
        start_anew(xl);
    cfs_notify_pass(xl, ev);
}

const struct cfs_xl_type cfs_xl_type = {
    .name = "debug/io-stats",
    .children_min = 1,
    .children_max = 1,
    .priv_size = sizeof(struct ios),
    .opts = ios_opts,
    .init = ios_init,
    .reconfigure = ios_reconfigure,
    .notify = ios_notify,
    .dump = ios_dump,
    .report = ios_report,
    .fops = &ios_fops,
};
