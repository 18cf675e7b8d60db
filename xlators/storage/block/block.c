/* SPDX-License-Identifier: Apache-2.0 */
/* block.c - storage/block: a brick's device as a translator; see README.md.
 *
 * Life     init opens the device (blocking: the journal is replayed);
 *          PARENT_UP: CHILD_UP; PARENT_DOWN: no more requests, the graph is
 *          held until the last ones are answered and the last checkpoint is
 *          written; fini closes what an early end left open.
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
    uint64_t        cache_size;
    uint64_t        checkpoint_ms;
    uint64_t        small_file;
    bool            grow;

    struct cfs_xl  *xl;
    struct ops     *ops; /* NULL: closed */
    bool            up;
    bool            closing;
};

static const struct cfs_opt block_opts[] = {
    {.name = "device", .type = CFS_OPT_STR,
     .at = offsetof(struct block, device), .flags = CFS_OPT_REQUIRED,
     .help = "the block device or image file that the brick is"},
    {.name = "brick-id", .type = CFS_OPT_UUID,
     .at = offsetof(struct block, brick_id),
     .help = "refuse a device that holds another brick"},
    {.name = "cache-size", .type = CFS_OPT_SIZE,
     .at = offsetof(struct block, cache_size), .def = "256M",
     .min = 4u << 20, .max = UINT64_C(1) << 40, .flags = CFS_OPT_RECONF,
     .help = "memory for nodes of the tree"},
    {.name = "checkpoint-interval", .type = CFS_OPT_MS,
     .at = offsetof(struct block, checkpoint_ms), .def = "5s",
     .min = 100, .max = 3600000, .flags = CFS_OPT_RECONF,
     .help = "the longest time between checkpoints"},
    {.name = "small-file", .type = CFS_OPT_SIZE,
     .at = offsetof(struct block, small_file), .def = "2048",
     .max = 4096, .flags = CFS_OPT_RECONF,
     .help = "files up to this size are kept in the tree"},
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

static int check_id(struct block *b, struct cfs_err *err)
{
    char want[CFS_UUID_STR], have[CFS_UUID_STR];
    struct eng_info info;

    eng_info(ops_engine(b->ops), &info);
    if (cfs_uuid_is_null(b->brick_id) ||
        cfs_uuid_eq(b->brick_id, info.format.brick))
        return 0;
    cfs_uuid_print(b->brick_id, want);
    cfs_uuid_print(info.format.brick, have);
    return cfs_err_set(err, -EINVAL, "%s holds brick %s, not %s", b->device,
                       have, want);
}

static int block_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct block *b = xl->priv;
    struct ops_config config = ops_config_default;
    struct cfs_dev *dev;
    int rc;

    b->xl = xl;
    cfs_mem_reserve(MEMORY_RESERVE);
    rc = cfs_dev_open(b->device, 0, &dev, err);
    if (rc < 0)
        return rc;
    config.eng.cache_size = b->cache_size;
    config.eng.checkpoint_ms = b->checkpoint_ms;
    config.eng.sparse_image = dev->sparse;
    config.eng.no_grow = !b->grow;
    config.small_file = b->small_file;
    rc = ops_open(xl->loop, xl->log, xl->name, dev, &config, &b->ops, err);
    if (rc < 0) {
        dev->ops->close(dev);
        return rc;
    }
    ops_on_poison(b->ops, on_poison, b);
    return check_id(b, err);
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

static bool is_closed(void *arg)
{
    return !((struct block *)arg)->ops;
}

/* After a failed init, or without PARENT_DOWN. */
static void block_fini(struct cfs_xl *xl)
{
    struct block *b = xl->priv;

    if (!b->ops)
        return;
    if (!b->closing)
        ops_close(b->ops, closed, b);
    cfs_loop_run_until(xl->loop, is_closed, b);
}

static int block_reconfigure(struct cfs_xl *xl, struct cfs_err *err)
{
    struct block *b = xl->priv;

    if (!b->ops)
        return 0;
    ops_reconfigure(b->ops, b->small_file);
    eng_reconfigure(ops_engine(b->ops), b->cache_size, b->checkpoint_ms);
    return 0;
}

static void stop(struct block *b)
{
    if (!b->ops || b->closing)
        return;
    b->closing = true;
    cfs_graph_hold(b->xl->graph);
    ops_close(b->ops, closed, b);
}

static void block_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    struct block *b = xl->priv;

    switch (ev->type) {
    case CFS_EV_PARENT_UP:
        b->up = true;
        cfs_notify_up(xl, (struct cfs_event){.type = CFS_EV_CHILD_UP});
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

    if (!b->ops) {
        cfs_unwind(req, -ENOTCONN);
        return;
    }
    ops_submit(b->ops, req);
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
