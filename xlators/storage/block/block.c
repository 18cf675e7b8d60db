/* SPDX-License-Identifier: Apache-2.0 */
/* block.c - storage/block: a brick's device as a translator; see README.md.
 *
 * Life     init takes the device, and has the pool open the store (seconds,
 *          when a journal is to be replayed or the device is slow); what is
 *          asked meanwhile waits. When it is open and PARENT_UP was there:
 *          CHILD_UP. It cannot be opened: CHILD_DOWN with the reason, once.
 *          PARENT_DOWN: no more requests, the graph is held until the last
 *          ones are answered and the last checkpoint is written; fini closes
 *          what an early end left open.
 * Stall    a device that does not answer for some time, and again: DEVICE;
 *          brick_info says how it is (stall.h).
 * Failure  a device that fails for good: CHILD_DOWN with the reason. It comes
 *          back by a restart only.
 */
#include "xlators/storage/block/ops.h"

#include <stdlib.h>

#include "core/dump.h"
#include "core/graph.h"
#include "core/mem.h"

/* What all that was admitted may need, with the checkpoint under way. */
#define MEMORY_RESERVE ((size_t)16 << 20)

struct block {
    /* options */
    char           *device;
    struct cfs_uuid brick_id; /* null: whichever it is */
    struct cfs_uuid cluster;  /* as well */
    uint64_t        cache_size;
    uint64_t        checkpoint_ms;
    uint64_t        small_file;
    bool            discard;
    bool            grow;
    uint32_t        copies;
    uint64_t        op_timeout_ms;
    uint32_t        compression; /* enum compression */

    struct cfs_xl     *xl;
    struct ops        *ops; /* NULL: not yet open, or closed */
    struct ops_opening opening;
    struct cfs_list    early; /* struct early: what came before it was open */
    bool               is_opening;
    bool               parent_up;
    bool               up;
    bool               closing;
};

/* A request that waits until the store is open. */
struct early {
    struct cfs_list link;
    struct cfs_req *req;
};

enum compression { COMPRESS_OFF, COMPRESS_LZ4 };

static const char *const compressions[] = {"off", "lz4", NULL};

static const struct cfs_opt block_opts[] = {
    {.name = "device", .type = CFS_OPT_STR,
     .at = offsetof(struct block, device), .flags = CFS_OPT_REQUIRED,
     .help = "the block device or image file that the brick is"},
    {.name = "brick-id", .type = CFS_OPT_UUID,
     .at = offsetof(struct block, brick_id),
     .help = "refuse a device that holds another brick"},
    {.name = "cluster-id", .type = CFS_OPT_UUID,
     .at = offsetof(struct block, cluster),
     .help = "refuse a brick of another cluster"},
    {.name = "cache-size", .type = CFS_OPT_SIZE,
     .at = offsetof(struct block, cache_size), .def = "256M",
     .min = 4u << 20, .max = UINT64_C(1) << 40, .flags = CFS_OPT_RECONF,
     .help = "memory for nodes of the tree"},
    {.name = "checkpoint-interval", .type = CFS_OPT_MS,
     .at = offsetof(struct block, checkpoint_ms), .def = "5s",
     .min = 100, .max = 3600000, .flags = CFS_OPT_RECONF,
     .help = "the longest time between checkpoints"},
    {.name = "small-file", .type = CFS_OPT_SIZE,
     .at = offsetof(struct block, small_file), .def = "1280",
     .max = 4096, .flags = CFS_OPT_RECONF,
     .help = "files up to this size are kept in the tree"},
    {.name = "metadata-copies", .type = CFS_OPT_U32,
     .at = offsetof(struct block, copies), .def = "0", .max = 2,
     .help = "copies of the tree's nodes (0: as the brick was made)"},
    {.name = "discard", .type = CFS_OPT_BOOL,
     .at = offsetof(struct block, discard), .def = "off",
     .flags = CFS_OPT_RECONF,
     .help = "tell the device, or an image's file system, what is free"},
    {.name = "op-timeout", .type = CFS_OPT_MS,
     .at = offsetof(struct block, op_timeout_ms), .def = "2s",
     .max = 600000, .flags = CFS_OPT_RECONF,
     .help = "a device that does not answer for five times this is told of; "
             "0: never"},
    {.name = "compression", .type = CFS_OPT_ENUM, .words = compressions,
     .at = offsetof(struct block, compression), .def = "off",
     .flags = CFS_OPT_RECONF,
     .help = "compress file data on the device"},
    {.name = "grow", .type = CFS_OPT_BOOL,
     .at = offsetof(struct block, grow), .def = "on",
     .help = "grow at a start with a device that became larger"},
    {0},
};

/* -- life ----------------------------------------------------------------- */

static void on_poison(void *ctx, int status)
{
    struct block *b = ctx;
    struct cfs_err err = {0};

    cfs_err_set(&err, -CFS_E_POISONED, "%s: %s", b->device,
                ops_reason(b->ops));
    b->up = false;
    cfs_notify_up(b->xl, (struct cfs_event){.type = CFS_EV_CHILD_DOWN,
                                            .err = &err});
}

/* It still serves what it can. */
static void on_stall(void *ctx)
{
    struct block *b = ctx;

    cfs_notify_up(b->xl, (struct cfs_event){.type = CFS_EV_DEVICE});
}

static int check_id(struct block *b, struct cfs_err *err)
{
    char want[CFS_UUID_STR], have[CFS_UUID_STR];
    struct eng_info info;

    eng_info(ops_engine(b->ops), &info);
    if (!cfs_uuid_is_null(b->brick_id) &&
        !cfs_uuid_eq(b->brick_id, info.format.brick)) {
        cfs_uuid_print(b->brick_id, want);
        cfs_uuid_print(info.format.brick, have);
        return cfs_err_set(err, -EINVAL, "%s holds brick %s, not %s",
                           b->device, have, want);
    }
    if (!cfs_uuid_is_null(b->cluster) &&
        !cfs_uuid_is_null(info.format.cluster) &&
        !cfs_uuid_eq(b->cluster, info.format.cluster)) {
        cfs_uuid_print(b->cluster, want);
        cfs_uuid_print(info.format.cluster, have);
        return cfs_err_set(err, -EINVAL, "%s is a brick of cluster %s, and "
                           "this one is %s: only its own cluster may serve it",
                           b->device, have, want);
    }
    return 0;
}

/* Those that wait: done, or, when it did not open, answered with @rc. */
static void let_in(struct block *b, int rc)
{
    struct cfs_list *l;

    while ((l = cfs_list_pop(&b->early)) != NULL) {
        struct cfs_req *req = cfs_list_entry(l, struct early, link)->req;

        if (rc == 0)
            ops_submit(b->ops, req);
        else
            cfs_unwind(req, rc);
    }
}

static void say_up(struct block *b)
{
    if (b->up || !b->parent_up || !b->ops)
        return;
    b->up = true;
    cfs_notify_up(b->xl, (struct cfs_event){.type = CFS_EV_CHILD_UP});
}

/* Those that may change while it runs, or have while it was opened. */
static void take_options(struct block *b)
{
    if (!b->ops)
        return;
    ops_reconfigure(b->ops, b->small_file, b->compression == COMPRESS_LZ4);
    eng_reconfigure(ops_engine(b->ops), b->cache_size, b->checkpoint_ms);
    eng_set_discard(ops_engine(b->ops), b->discard);
    ops_set_op_timeout(b->ops, b->op_timeout_ms);
}

static void close_ops(struct block *b);

/* The reason, and who can do something about it. */
static void say_damaged(const char *device, struct cfs_err *err)
{
    struct cfs_err why = {0};

    cfs_err_set(&why, -CFS_E_CORRUPT, "%s; see fsck.clusterfs %s", err->text,
                device);
    *err = why;
}

static void on_opened(struct ops_opening *w)
{
    struct block *b = container_of(w, struct block, opening);
    int rc = w->rc;

    b->is_opening = false;
    b->ops = w->ops;
    if (rc == 0) {
        ops_on_poison(b->ops, on_poison, b);
        ops_on_stall(b->ops, on_stall, b);
        take_options(b);
        rc = check_id(b, &w->err);
    } else {
        w->dev->ops->close(w->dev);
        if (rc == -CFS_E_CORRUPT)
            say_damaged(b->device, &w->err);
    }
    if (b->closing) { /* stopped meanwhile */
        let_in(b, -ENOTCONN);
        close_ops(b);
        return;
    }
    if (rc < 0)
        cfs_notify_up(b->xl, (struct cfs_event){.type = CFS_EV_CHILD_DOWN,
                                                .err = &w->err});
    else
        say_up(b);
    let_in(b, rc);
}

static int block_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct block *b = xl->priv;
    struct ops_opening *w = &b->opening;
    int rc;

    b->xl = xl;
    cfs_list_init(&b->early);
    cfs_mem_reserve(MEMORY_RESERVE);
    rc = cfs_dev_open(b->device, 0, &w->dev, err);
    if (rc < 0)
        return rc;
    w->config = ops_config_default;
    w->config.eng.cache_size = b->cache_size;
    w->config.eng.checkpoint_ms = b->checkpoint_ms;
    w->config.eng.sparse_image = w->dev->sparse;
    w->config.eng.discard = b->discard;
    w->config.eng.no_grow = !b->grow;
    w->config.eng.copies = b->copies;
    w->config.eng.packs = b->compression == COMPRESS_LZ4;
    w->config.pack = b->compression == COMPRESS_LZ4;
    w->config.small_file = b->small_file;
    w->done = on_opened;
    b->is_opening = true;
    ops_open_start(xl->loop, xl->log, xl->name, w);
    return 0;
}

static void closed(void *ctx, int status)
{
    struct block *b = ctx;

    if (status < 0)
        cfs_log_error(b->xl->log, b->xl->name, "closing %s: %s", b->device,
                      cfs_err_str(status));
    b->ops = NULL;
    if (b->closing)
        cfs_graph_release(b->xl->graph);
    b->closing = false;
}

static void close_ops(struct block *b)
{
    if (b->ops)
        ops_close(b->ops, closed, b);
    else
        closed(b, 0); /* it never opened */
}

static bool is_closed(void *arg)
{
    const struct block *b = arg;

    return !b->ops && !b->is_opening;
}

static void stop(struct block *b)
{
    if ((!b->ops && !b->is_opening) || b->closing)
        return;
    b->closing = true;
    cfs_graph_hold(b->xl->graph);
    if (!b->is_opening)
        close_ops(b);
}

/* After a failed init, or without PARENT_DOWN, it waits; else, which may be
 * from inside the loop, nothing is left to do. */
static void block_fini(struct cfs_xl *xl)
{
    struct block *b = xl->priv;

    stop(b);
    if (!is_closed(b))
        cfs_loop_run_until(xl->loop, is_closed, b);
}

static int block_reconfigure(struct cfs_xl *xl, struct cfs_err *err)
{
    struct block *b = xl->priv;

    take_options(b);
    return 0; /* else when it is open */
}

static void block_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    struct block *b = xl->priv;

    switch (ev->type) {
    case CFS_EV_PARENT_UP:
        b->parent_up = true;
        say_up(b);
        break;
    case CFS_EV_PARENT_DOWN:
        stop(b);
        break;
    default:
        break; /* the bottom: nobody is below */
    }
}

/* -- statedump ------------------------------------------------------------ */

static void dump_engine(struct cfs_dump *d, const struct eng_info *i)
{
    cfs_dump_put(d, "blocks", "%llu", (unsigned long long)i->blocks);
    cfs_dump_put(d, "free", "%llu", (unsigned long long)i->free);
    cfs_dump_put(d, "pending", "%llu", (unsigned long long)i->pending);
    cfs_dump_put(d, "generation", "%llu", (unsigned long long)i->generation);
    cfs_dump_put(d, "cached", "%llu", (unsigned long long)i->cached);
    cfs_dump_put(d, "dirty-nodes", "%llu", (unsigned long long)i->dirty);
    cfs_dump_put(d, "checkpoints", "%llu",
                 (unsigned long long)i->checkpoints);
    cfs_dump_put(d, "flushes", "%llu", (unsigned long long)i->flushes);
    cfs_dump_put(d, "discarded", "%llu", (unsigned long long)i->discarded);
    cfs_dump_put(d, "second-reads", "%llu",
                 (unsigned long long)i->second_reads);
    cfs_dump_put(d, "poisoned", "%d", i->poisoned);
}

static void dump_ops(struct cfs_dump *d, const struct ops_stat *s,
                     const struct cfs_brick *i)
{
    cfs_dump_put(d, "incarnation", "%llu",
                 (unsigned long long)i->incarnation);
    cfs_dump_put(d, "epoch", "%llu", (unsigned long long)i->view.epoch);
    cfs_dump_put(d, "inodes", "%llu", (unsigned long long)i->inodes);
    cfs_dump_put(d, "dirty", "%llu", (unsigned long long)i->dirty);
    cfs_dump_put(d, "oplog", "%llu", (unsigned long long)i->oplog);
    cfs_dump_put(d, "position", "%llu", (unsigned long long)i->pos);
    cfs_dump_put(d, "durable", "%llu", (unsigned long long)i->durable);
    cfs_dump_put(d, "sessions", "%u", i->n_sessions);
    cfs_dump_put(d, "in-flight", "%llu", (unsigned long long)s->in_flight);
    cfs_dump_put(d, "put-aside", "%llu", (unsigned long long)s->put_aside);
    cfs_dump_put(d, "repeats", "%llu", (unsigned long long)s->repeats);
    cfs_dump_put(d, "answers", "%llu", (unsigned long long)s->answers);
    cfs_dump_put(d, "removals", "%llu", (unsigned long long)s->removals);
    cfs_dump_put(d, "ahead", "%llu", (unsigned long long)s->ahead);
}

static void block_dump(struct cfs_xl *xl, struct cfs_dump *d)
{
    struct block *b = xl->priv;
    struct cfs_brick *brick;
    struct eng_info info;
    struct ops_stat stat;

    cfs_dump_put(d, "device", "%s", b->device);
    if (!b->ops)
        return;
    brick = calloc(1, sizeof *brick);
    if (!brick)
        return;
    eng_info(ops_engine(b->ops), &info);
    ops_stat(b->ops, &stat);
    ops_info(b->ops, brick);
    dump_ops(d, &stat, brick);
    dump_engine(d, &info);
    free(brick);
}

/* -- operations ----------------------------------------------------------- */

static void submit(struct cfs_xl *xl, struct cfs_req *req)
{
    struct block *b = xl->priv;
    struct early *e;

    if (b->ops) {
        ops_submit(b->ops, req);
    } else if (b->is_opening && !b->closing) {
        e = cfs_call_new(req->call, struct early);
        e->req = req;
        cfs_list_add_tail(&b->early, &e->link);
    } else {
        cfs_unwind(req, -ENOTCONN);
    }
}

#define FOP(lower, UPPER, class, in, out)                                    \
    static void block_##lower(struct cfs_xl *xl, struct cfs_##lower *op)     \
    {                                                                        \
        submit(xl, &op->req);                                                \
    }
#include "core/fops.def"
#undef FOP

static const struct cfs_fops block_fops = {
#define FOP(lower, UPPER, class, in, out) .lower = block_##lower,
#include "core/fops.def"
#undef FOP
};

__attribute__((visibility("default")))
const struct cfs_xl_type cfs_xl_type = {
    .name = "storage/block",
    .priv_size = sizeof(struct block),
    .opts = block_opts,
    .init = block_init,
    .fini = block_fini,
    .reconfigure = block_reconfigure,
    .notify = block_notify,
    .dump = block_dump,
    .fops = &block_fops,
};
