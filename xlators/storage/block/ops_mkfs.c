/* SPDX-License-Identifier: Apache-2.0 */
/* ops_mkfs.c - an empty brick: the engine's, with a root directory in it. */
#include "xlators/storage/block/ops_impl.h"

struct making {
    bool            ended;
    int             status;
};

static void made(void *ctx, int status)
{
    struct making *m = ctx;

    m->ended = true;
    if (m->status == 0)
        m->status = status;
}

static bool is_made(void *arg)
{
    return ((struct making *)arg)->ended;
}

static void genesis_done(struct op *op, int status)
{
    struct making *m = op->state;

    if (status < 0)
        m->status = status;
    ops_close(op->o, made, m);
}

static int make_root(struct cfs_loop *loop, struct cfs_dev *dev,
                     struct cfs_time now, struct cfs_err *err)
{
    struct ops_config config = ops_config_default;
    struct making m = {0};
    struct ops *o;
    struct op *op;
    int rc;

    config.eng.blocking = true;
    rc = ops_open(loop, NULL, "mkfs", dev, &config, &o, err);
    if (rc < 0)
        return rc;
    op = op_own_new(o, JREC_GENESIS, plan_own_genesis, genesis_done);
    op->own->now = now;
    op->state = &m;
    op_begin(op);
    cfs_loop_run_until(loop, is_made, &m);
    if (m.status < 0)
        cfs_err_set(err, m.status, "the root directory: %s",
                    cfs_err_str(m.status));
    return m.status;
}

int ops_mkfs(struct cfs_dev *dev, const struct eng_format *format,
             struct cfs_time now, struct cfs_err *err)
{
    struct cfs_dev_loan loan;
    struct cfs_loop *loop;
    int rc;

    rc = eng_mkfs(dev, format, err);
    if (rc == 0)
        rc = cfs_loop_new(&loop, err);
    if (rc < 0)
        return rc;
    cfs_dev_lend(&loan, dev);
    rc = make_root(loop, dev, now, err);
    cfs_dev_take_back(&loan);
    cfs_loop_free(loop);
    return rc;
}
