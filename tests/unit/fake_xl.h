/* SPDX-License-Identifier: Apache-2.0 */
/* fake_xl.h - translators for tests: "test/fake" keeps every operation that
 * is wound to it until the test answers; "test/pass" implements nothing. Both
 * write down what happens to them, in order, in one trace:
 *
 *   "init:top init:leaf parent-up:top parent-up:leaf fini:leaf fini:top"
 *
 * A test makes a graph of them below the translator that it is about, turns
 * the loop, takes the operations that arrived, fills in their outputs, and
 * answers them:
 *
 *   fake_turn(loop);
 *   req = fake_take(leaf);
 *   assert_int_equal(req->fop, CFS_FOP_GETATTR);
 *   cfs_unwind(req, 0);
 *   fake_turn(loop);
 */
#ifndef CFS_TESTS_UNIT_FAKE_XL_H
#define CFS_TESTS_UNIT_FAKE_XL_H

#include <stdio.h>

#include "core/graph.h"

#define FAKE_OPS_MAX 256u

struct fake_xl {
    bool            fail_init; /* option fail-init */
    bool            keep_up;   /* option keep-up: holds the graph from
                                  PARENT_UP until fake_let_go() */
    uint64_t        number;    /* option number, may change */
    uint64_t        fixed;     /* option fixed, may not */
    char           *secret;    /* option fake-secret */
    bool            refuse;    /* the next reconfigure() fails */
    unsigned        n;
    struct cfs_req *ops[FAKE_OPS_MAX]; /* not yet taken, oldest first */
};

static char fake_trace[8192];

__attribute__((unused)) static void fake_note(const char *what,
                                              const char *who)
{
    size_t at = strlen(fake_trace);

    snprintf(fake_trace + at, sizeof fake_trace - at, "%s%s:%s",
             at > 0 ? " " : "", what, who);
}

static const struct cfs_opt fake_opts[] = {
    {.name = "fail-init", .type = CFS_OPT_BOOL, .def = "off",
     .at = offsetof(struct fake_xl, fail_init)},
    {.name = "keep-up", .type = CFS_OPT_BOOL, .def = "off",
     .at = offsetof(struct fake_xl, keep_up)},
    {.name = "number", .type = CFS_OPT_U64, .def = "1", .max = 100,
     .at = offsetof(struct fake_xl, number), .flags = CFS_OPT_RECONF},
    {.name = "fixed", .type = CFS_OPT_U64, .def = "1",
     .at = offsetof(struct fake_xl, fixed)},
    {.name = "fake-secret", .type = CFS_OPT_STR, .def = "4711",
     .at = offsetof(struct fake_xl, secret)},
    {.name = NULL},
};

static int fake_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct fake_xl *f = xl->priv;

    fake_note("init", xl->name);
    if (f->fail_init)
        return cfs_err_set(err, -EIO, "%s: told to fail", xl->name);
    return 0;
}

static void fake_fini(struct cfs_xl *xl)
{
    fake_note("fini", xl->name);
}

static int fake_reconfigure(struct cfs_xl *xl, struct cfs_err *err)
{
    struct fake_xl *f = xl->priv;

    fake_note("reconfigure", xl->name);
    if (f->refuse) {
        f->refuse = false;
        return cfs_err_set(err, -EINVAL, "%s: told to refuse", xl->name);
    }
    return 0;
}

static const char *fake_event_name(enum cfs_event_type type)
{
    static const char *const names[] = {
        [CFS_EV_PARENT_UP] = "parent-up",
        [CFS_EV_PARENT_DOWN] = "parent-down",
        [CFS_EV_COUNT_ANEW] = "count-anew",
        [CFS_EV_VIEW] = "view",
        [CFS_EV_CHILD_CONNECTING] = "child-connecting",
        [CFS_EV_CHILD_UP] = "child-up",
        [CFS_EV_CHILD_DOWN] = "child-down",
        [CFS_EV_AUTH_FAILED] = "auth-failed",
        [CFS_EV_NEW_VIEW] = "new-view",
        [CFS_EV_WANT_VIEW] = "want-view",
        [CFS_EV_DIFFERS] = "differs",
        [CFS_EV_SESSION] = "session",
        [CFS_EV_LISTENING] = "listening",
    };

    return names[type];
}

static void fake_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    struct fake_xl *f = xl->priv;

    fake_note(fake_event_name(ev->type), xl->name);
    if (f->keep_up && ev->type == CFS_EV_PARENT_UP)
        cfs_graph_hold(xl->graph);
    cfs_notify_pass(xl, ev);
}

static void fake_push(struct cfs_xl *xl, struct cfs_req *req)
{
    struct fake_xl *f = xl->priv;

    assert(f->n < FAKE_OPS_MAX);
    f->ops[f->n++] = req;
}

#define FOP(lower, UPPER, class, in, out)                                    \
    static void fake_##lower(struct cfs_xl *xl, struct cfs_##lower *op)      \
    {                                                                        \
        fake_push(xl, &op->req);                                             \
    }
#include "core/fops.def"
#undef FOP

static const struct cfs_fops fake_fops = {
#define FOP(lower, UPPER, class, in, out) .lower = fake_##lower,
#include "core/fops.def"
#undef FOP
};

static const struct cfs_xl_type fake_type = {
    .name = "test/fake",
    .children_min = 0,
    .children_max = 8,
    .priv_size = sizeof(struct fake_xl),
    .opts = fake_opts,
    .init = fake_init,
    .fini = fake_fini,
    .reconfigure = fake_reconfigure,
    .notify = fake_notify,
    .fops = &fake_fops,
};

static const struct cfs_xl_type fake_pass_type = {
    .name = "test/pass",
    .children_min = 0,
    .children_max = 8,
    .priv_size = sizeof(struct fake_xl),
    .opts = fake_opts,
    .init = fake_init,
    .fini = fake_fini,
};

/* Make both types known, and forget the trace. */
__attribute__((unused)) static void fake_setup(void)
{
    cfs_graph_builtin(&fake_type);
    cfs_graph_builtin(&fake_pass_type);
    fake_trace[0] = '\0';
}

/* The oldest operation that waits at @xl, a "test/fake"; NULL. */
__attribute__((unused)) static struct cfs_req *fake_take(struct cfs_xl *xl)
{
    struct fake_xl *f = xl->priv;
    struct cfs_req *req;

    if (f->n == 0)
        return NULL;
    req = f->ops[0];
    f->n--;
    memmove(f->ops, f->ops + 1, f->n * sizeof f->ops[0]);
    return req;
}

/* End the hold of option keep-up. */
__attribute__((unused)) static void fake_let_go(struct cfs_xl *xl)
{
    fake_note("let-go", xl->name);
    cfs_graph_release(xl->graph);
}

__attribute__((unused)) static bool fake_at_once(void *arg)
{
    return true;
}

/* One turn: every task and hook that there is, and what they make; no timer,
 * no socket. */
__attribute__((unused)) static void fake_turn(struct cfs_loop *loop)
{
    cfs_loop_run_until(loop, fake_at_once, NULL);
}

#endif
