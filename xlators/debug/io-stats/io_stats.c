/* SPDX-License-Identifier: Apache-2.0 */
/* io_stats.c - debug/io-stats: how often each operation came by, how it ended,
 * how many bytes it moved and how long it took; see README.md.
 *
 * Shapes     latencies in a histogram of powers of two: bucket 0 is below
 *            1 us, bucket k is [2^(k-1), 2^k) us, the last takes the rest.
 * Units      ns where measured, us where shown.
 * Dump       a line for each operation that came: its name and a JSON object.
 */
#include "core/xlator.h"

#include <stdio.h>

#define BUCKETS 32u

struct counters {
    uint64_t count;
    uint64_t errors;
    uint64_t bytes;
    uint64_t timed;    /* of count: with latency-measurement on */
    uint64_t total_ns; /* of these */
    uint64_t max_ns;
    uint64_t bucket[BUCKETS];
};

struct ios {
    bool            measure; /* option */
    bool            measured;
    uint32_t        level;      /* option: of the process's log */
    uint32_t        level_then; /* as the process was started */
    uint64_t        since; /* boot time, ns */
    uint64_t        in_flight;
    struct counters fop[CFS_FOP_N];
};

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

    return k < BUCKETS ? k : BUCKETS - 1;
}

static void count(struct cfs_xl *xl, enum cfs_fop fop, uint64_t began,
                  uint64_t bytes, int status)
{
    struct ios *ios = xl->priv;
    struct counters *c = &ios->fop[fop];
    uint64_t ns;

    ios->in_flight--;
    c->count++;
    if (status < 0)
        c->errors++;
    else
        c->bytes += bytes;
    if (began == 0)
        return;
    ns = cfs_now_fresh(xl->loop) - began;
    c->timed++;
    c->total_ns += ns;
    if (ns > c->max_ns)
        c->max_ns = ns;
    c->bucket[bucket_of(ns)]++;
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
        count(t->xl, CFS_FOP_##UPPER, t->began, (uint64_t)0 in out, status); \
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

/* -- showing --------------------------------------------------------------- */

/* The latency in us below which @part (of 1000) of the operations were: the
 * upper end of its bucket. */
static uint64_t quantile_us(const struct counters *c, uint64_t part)
{
    uint64_t want = (c->timed * part + 999) / 1000, seen = 0;

    for (unsigned k = 0; k < BUCKETS; k++) {
        seen += c->bucket[k];
        if (seen >= want)
            return (uint64_t)1 << k;
    }
    return c->max_ns / 1000;
}

/* "[n, n, ...]" up to the last bucket that is not empty. */
static void put_histogram(const struct counters *c, char *buf, size_t len)
{
    unsigned last = 0;
    size_t at = 1;

    for (unsigned k = 0; k < BUCKETS; k++)
        if (c->bucket[k])
            last = k;
    buf[0] = '[';
    for (unsigned k = 0; k <= last && at < len; k++)
        at += (size_t)snprintf(buf + at, len - at, "%s%llu", k ? "," : "",
                               (unsigned long long)c->bucket[k]);
    if (at < len)
        snprintf(buf + at, len - at, "]");
}

static void dump_fop(struct cfs_dump *d, const char *name,
                     const struct counters *c)
{
    char histogram[BUCKETS * 21 + 3];

    if (c->timed == 0) {
        cfs_dump_put(d, name, "{\"count\":%llu,\"errors\":%llu,"
                     "\"bytes\":%llu}", (unsigned long long)c->count,
                     (unsigned long long)c->errors,
                     (unsigned long long)c->bytes);
        return;
    }
    put_histogram(c, histogram, sizeof histogram);
    cfs_dump_put(d, name, "{\"count\":%llu,\"errors\":%llu,\"bytes\":%llu,"
                 "\"timed\":%llu,\"mean_us\":%.1f,\"p50_us\":%llu,"
                 "\"p99_us\":%llu,\"max_us\":%.1f,\"log2_us\":%s}",
                 (unsigned long long)c->count, (unsigned long long)c->errors,
                 (unsigned long long)c->bytes, (unsigned long long)c->timed,
                 (double)c->total_ns / (double)c->timed / 1e3,
                 (unsigned long long)quantile_us(c, 500),
                 (unsigned long long)quantile_us(c, 990),
                 (double)c->max_ns / 1e3, histogram);
}

static void ios_dump(struct cfs_xl *xl, struct cfs_dump *d)
{
    const struct ios *ios = xl->priv;

    cfs_dump_put(d, "seconds", "%.3f",
                 (double)(cfs_now_fresh(xl->loop) - ios->since) / 1e9);
    cfs_dump_put(d, "in_flight", "%llu", (unsigned long long)ios->in_flight);
    for (unsigned f = 0; f < CFS_FOP_N; f++)
        if (ios->fop[f].count > 0)
            dump_fop(d, cfs_fop_name((enum cfs_fop)f), &ios->fop[f]);
}

/* -- life ------------------------------------------------------------------ */

static void start_anew(struct cfs_xl *xl)
{
    struct ios *ios = xl->priv;

    memset(ios->fop, 0, sizeof ios->fop);
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

const struct cfs_xl_type cfs_xl_type = {
    .name = "debug/io-stats",
    .children_min = 1,
    .children_max = 1,
    .priv_size = sizeof(struct ios),
    .opts = ios_opts,
    .init = ios_init,
    .reconfigure = ios_reconfigure,
    .dump = ios_dump,
    .fops = &ios_fops,
};
