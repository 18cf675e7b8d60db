/* SPDX-License-Identifier: Apache-2.0 */
/* fop.c - what is generated from fops.def for each operation: its name, class
 * and size, how it is unwound, forked and joined.
 */
#include "core/fop.h"

/* The task's run for each operation: the sender's done(). */
#define FOP(lower, UPPER, class, in, out)                                    \
    static void run_##lower(struct cfs_task *t)                              \
    {                                                                        \
        struct cfs_##lower *op =                                             \
            container_of(t, struct cfs_##lower, req.task);                   \
                                                                             \
        op->done(op, op->req.status);                                        \
    }
#include "core/fops.def"
#undef FOP

struct fop_info {
    const char        *name;
    enum cfs_fop_class class;
    size_t             size;
    void (*run)(struct cfs_task *t);
};

#define FOP(lower, UPPER, class, in, out)                                    \
    [CFS_FOP_##UPPER] = {                                                    \
        #lower, CFS_CLASS_##class, sizeof(struct cfs_##lower), run_##lower},
static const struct fop_info fops[CFS_FOP_N] = {
#include "core/fops.def"
};
#undef FOP

static void queue(struct cfs_req *req, int status,
                  void (*run)(struct cfs_task *))
{
    assert(status <= 0);
    /* Unwound twice, if it is in the queue still. */
    assert(!req->task.link.next || cfs_list_empty(&req->task.link));
    req->status = status;
    cfs_task_init(&req->task, run);
    cfs_task_post(req->call->loop, &req->task);
}

void cfs_unwind(struct cfs_req *req, int status)
{
    assert((unsigned)req->fop < CFS_FOP_N);
    queue(req, status, fops[req->fop].run);
}

#define FOP(lower, UPPER, class, in, out)                                    \
    void cfs_unwind_##lower(struct cfs_##lower *op, int status)              \
    {                                                                        \
        queue(&op->req, status, run_##lower);                                \
    }
#include "core/fops.def"
#undef FOP

/* The head of a request that repeats @up. */
static struct cfs_req fork_req(const struct cfs_req *up)
{
    return (struct cfs_req){
        .call = up->call,
        .fop = up->fop,
        .epoch = up->epoch,
        .want = up->want,
        .change = up->change,
    };
}

#define A(type, name) op->name = up->name;
#define FOP(lower, UPPER, class, in, out)                                    \
    void cfs_fork_##lower(struct cfs_##lower *op,                            \
                          const struct cfs_##lower *up)                      \
    {                                                                        \
        memset(op, 0, sizeof *op);                                           \
        op->req = fork_req(&up->req);                                        \
        in                                                                   \
    }
#include "core/fops.def"
#undef FOP
#undef A

#define A(type, name) up->name = op->name;
#define FOP(lower, UPPER, class, in, out)                                    \
    void cfs_join_##lower(struct cfs_##lower *up,                            \
                          const struct cfs_##lower *op)                      \
    {                                                                        \
        up->req.post = op->req.post;                                         \
        out                                                                  \
    }
#include "core/fops.def"
#undef FOP
#undef A

const char *cfs_fop_name(enum cfs_fop fop)
{
    assert((unsigned)fop < CFS_FOP_N);
    return fops[fop].name;
}

enum cfs_fop_class cfs_fop_class(enum cfs_fop fop)
{
    assert((unsigned)fop < CFS_FOP_N);
    return fops[fop].class;
}

size_t cfs_fop_size(enum cfs_fop fop)
{
    assert((unsigned)fop < CFS_FOP_N);
    return fops[fop].size;
}
