/* SPDX-License-Identifier: Apache-2.0 */
#include "cfs_test.h"

#include <stdlib.h>

#include "core/dump.h"
#include "fake_xl.h"

/* A graph, its loop, and what reached its owner. */
struct fixture {
    struct cfs_loop  *loop;
    struct cfs_graph *g;
    unsigned          stopped;
};

static void on_event(struct cfs_graph *g, const struct cfs_event *ev)
{
    assert_ptr_equal(ev->from, g->top);
    fake_note(fake_event_name(ev->type), "owner");
}

static void on_stopped(struct cfs_graph *g)
{
    struct fixture *f = g->owner;

    f->stopped++;
}

static int open_graph(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    fake_setup();
    if (!f || cfs_loop_new(&f->loop, NULL) < 0 ||
        cfs_graph_new(f->loop, NULL, NULL, &f->g) < 0)
        return -1;
    f->g->on_event = on_event;
    f->g->on_stopped = on_stopped;
    f->g->owner = f;
    *state = f;
    return 0;
}

static int close_graph(void **state)
{
    struct fixture *f = *state;

    cfs_graph_free(f->g);
    cfs_loop_free(f->loop);
    cfs_buf_pool_drain();
    free(f);
    return 0;
}

static int add(struct fixture *f, const char *name, const char *type,
               const char *below, const char *below2, const char *key,
               const char *value, struct cfs_err *err)
{
    const char *children[] = {below, below2};
    struct cfs_kv kv = {key, value};

    return cfs_graph_add(f->g, name, type, &kv, key ? 1 : 0, children,
                         below2 ? 2 : below ? 1 : 0, err);
}

/* top - mid - { left, right } */
static void build(struct fixture *f, const char *mid_type)
{
    assert_int_equal(
        add(f, "left", "test/fake", NULL, NULL, NULL, NULL, NULL), 0);
    assert_int_equal(
        add(f, "right", "test/fake", NULL, NULL, NULL, NULL, NULL), 0);
    assert_int_equal(
        add(f, "mid", mid_type, "left", "right", NULL, NULL, NULL), 0);
    assert_int_equal(cfs_graph_add_top(f->g, "top", "test/fake", NULL, 0, NULL),
                     0);
}

static struct cfs_xl *xl(struct fixture *f, const char *name)
{
    struct cfs_xl *x = cfs_graph_find(f->g, name);

    assert_non_null(x);
    return x;
}

static void init_goes_down_and_fini_up(void **state)
{
    struct fixture *f = *state;

    build(f, "test/fake");
    assert_string_equal(fake_trace, "");
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    assert_string_equal(fake_trace,
                        "init:top init:mid init:right init:left");
    fake_trace[0] = '\0';
    cfs_graph_free(f->g);
    f->g = NULL;
    assert_string_equal(fake_trace,
                        "fini:left fini:right fini:mid fini:top");
}

static void a_failed_init_is_finished_where_it_began(void **state)
{
    struct fixture *f = *state;
    struct cfs_err err = {0};

    assert_int_equal(
        add(f, "leaf", "test/fake", NULL, NULL, NULL, NULL, NULL), 0);
    assert_int_equal(
        add(f, "mid", "test/fake", "leaf", NULL, "fail-init", "on", NULL), 0);
    assert_int_equal(cfs_graph_add_top(f->g, "top", "test/fake", NULL, 0, NULL),
                     0);
    assert_int_equal(cfs_graph_init(f->g, &err), -EIO);
    assert_string_equal(err.text, "mid: told to fail");
    cfs_graph_free(f->g);
    f->g = NULL;
    /* never of the leaf, which was not begun */
    assert_string_equal(fake_trace, "init:top init:mid fini:mid fini:top");
}

static void parent_up_goes_down(void **state)
{
    struct fixture *f = *state;

    build(f, "test/fake");
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    fake_trace[0] = '\0';
    cfs_graph_parent_up(f->g);
    assert_string_equal(fake_trace, "parent-up:top parent-up:mid "
                                    "parent-up:left parent-up:right");
}

static void child_up_goes_up_to_the_owner(void **state)
{
    struct fixture *f = *state;

    build(f, "test/fake");
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    fake_trace[0] = '\0';
    cfs_notify_up(xl(f, "left"), (struct cfs_event){.type = CFS_EV_CHILD_UP});
    assert_string_equal(fake_trace,
                        "child-up:mid child-up:top child-up:owner");
}

static void whether_a_translator_is_up_is_known(void **state)
{
    struct fixture *f = *state;

    build(f, "test/fake");
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    assert_false(xl(f, "left")->up);
    cfs_notify_up(xl(f, "left"), (struct cfs_event){.type = CFS_EV_CHILD_UP});
    cfs_notify_up(xl(f, "left"), (struct cfs_event){.type = CFS_EV_SESSION});
    assert_true(xl(f, "left")->up);
    assert_true(xl(f, "mid")->up); /* it passed the event on */
    assert_false(xl(f, "right")->up);
    cfs_notify_up(xl(f, "left"), (struct cfs_event){.type = CFS_EV_CHILD_DOWN});
    assert_false(xl(f, "left")->up);
}

static void a_translator_without_notify_passes_events(void **state)
{
    struct fixture *f = *state;
    struct cfs_view view = {.epoch = 4};

    build(f, "test/pass");
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    fake_trace[0] = '\0';
    cfs_graph_event(
        f->g, (struct cfs_event){.type = CFS_EV_VIEW, .view = &view});
    assert_string_equal(fake_trace, "view:top view:left view:right");
    fake_trace[0] = '\0';
    cfs_notify_up(xl(f, "right"),
                  (struct cfs_event){.type = CFS_EV_CHILD_DOWN});
    assert_string_equal(fake_trace, "child-down:top child-down:owner");
}

static void bad_graphs_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *name, *type, *below, *below2, *key, *value;
        int         rc;
        const char *text;
    } bad[] = {
        {"left", "test/fake", NULL, NULL, NULL, NULL, -EEXIST,
         "left: there are two of this name"},
        {"x", "no-slash", NULL, NULL, NULL, NULL, -EINVAL,
         "x: 'no-slash' is not a type: expected CLASS/NAME"},
        {"x", "../etc", NULL, NULL, NULL, NULL, -EINVAL,
         "x: '../etc' is not a type: expected CLASS/NAME"},
        {"x", "a/../b", NULL, NULL, NULL, NULL, -EINVAL,
         "x: 'a/../b' is not a type: expected CLASS/NAME"},
        {"x", "test/none", NULL, NULL, NULL, NULL, -ENOENT,
         "x: unknown type 'test/none': there is no /nowhere/test/none.so"},
        {"x", "test/fake", "nobody", NULL, NULL, NULL, -ENOENT,
         "x: no volume 'nobody' before it"},
        {"x", "test/fake", "left", NULL, NULL, NULL, -EINVAL,
         "x: 'left' is below 'mid' already"},
        {"x", "test/fake", "top", "top", NULL, NULL, -EINVAL,
         "x: 'top' is named twice"},
        {"x", "test/fake", NULL, NULL, "nubmer", "3", -ENOENT,
         "x: unknown option 'nubmer'; do you mean 'number'?"},
        {"x", "test/fake", NULL, NULL, "number", "101", -EINVAL,
         "x: number = 101: expected 0 to 100"},
        {"x", "test/single", "top", NULL, NULL, NULL, -EINVAL,
         "x: test/single takes 2 subvolumes, given are 1"},
    };
    static const struct cfs_xl_type single = {
        .name = "test/single", .children_min = 2, .children_max = 2};
    struct fixture *f = *state;

    setenv("CLUSTERFS_XLATOR_DIR", "/nowhere", 1);
    cfs_graph_builtin(&single);
    build(f, "test/fake");
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(bad); i++) {
        struct cfs_err err = {0};

        assert_int_equal(add(f, bad[i].name, bad[i].type, bad[i].below,
                             bad[i].below2, bad[i].key, bad[i].value, &err),
                         bad[i].rc);
        assert_string_equal(err.text, bad[i].text);
        assert_int_equal(add(f, bad[i].name, bad[i].type, bad[i].below,
                             bad[i].below2, bad[i].key, bad[i].value, NULL),
                         bad[i].rc);
    }
    assert_int_equal(f->g->n, 4);
    assert_int_equal(cfs_graph_init(f->g, NULL), 0); /* unharmed */
}

static void everything_must_be_below_the_top(void **state)
{
    struct fixture *f = *state;
    struct cfs_err err = {0};

    assert_int_equal(cfs_graph_init(f->g, NULL), -EINVAL);
    add(f, "lost", "test/fake", NULL, NULL, NULL, NULL, NULL);
    add(f, "top", "test/fake", NULL, NULL, NULL, NULL, NULL);
    assert_int_equal(cfs_graph_init(f->g, &err), -EINVAL);
    assert_string_equal(err.text, "'lost' is not below 'top'");
    assert_string_equal(fake_trace, "");
}

/* -- operations ----------------------------------------------------------- */

struct probe {
    struct cfs_getattr op;
    struct cfs_call   *call;
    unsigned           done;
    int                status;
};

static void probe_done(struct cfs_getattr *op, int status)
{
    struct probe *p = container_of(op, struct probe, op);

    p->done++;
    p->status = status;
}

/* chain: top (pass) - mid (pass) - leaf (fake) */
static void build_chain(struct fixture *f)
{
    add(f, "leaf", "test/fake", NULL, NULL, NULL, NULL, NULL);
    add(f, "mid", "test/pass", "leaf", NULL, NULL, NULL, NULL);
    add(f, "top", "test/pass", "mid", NULL, NULL, NULL, NULL);
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
}

static struct probe *probe_begin(struct fixture *f, struct cfs_gfid gfid)
{
    struct cfs_call *call = cfs_call_begin(f->g);
    struct probe *p = cfs_call_new(call, struct probe);

    p->call = call;
    p->op.req.call = call;
    p->op.gfid = gfid;
    return p;
}

static void an_operation_left_out_passes(void **state)
{
    struct fixture *f = *state;
    struct cfs_getattr *seen;
    struct probe *p;

    build_chain(f);
    p = probe_begin(f, cfs_gfid_make(9));
    cfs_wind_getattr(f->g->top, &p->op, probe_done);
    seen = container_of(fake_take(xl(f, "leaf")), struct cfs_getattr, req);
    assert_ptr_equal(seen, &p->op); /* the same request, not a copy */
    assert_int_equal(seen->req.fop, CFS_FOP_GETATTR);
    cfs_unwind_getattr(seen, -ENOENT);
    assert_int_equal(p->done, 0);
    fake_turn(f->loop);
    assert_int_equal(p->done, 1);
    assert_int_equal(p->status, -ENOENT);
    cfs_call_end(p->call);
}

static void unwinding_never_calls_back_from_inside(void **state)
{
    struct fixture *f = *state;
    struct probe *p;

    add(f, "leaf", "test/pass", NULL, NULL, NULL, NULL, NULL);
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    p = probe_begin(f, cfs_gfid_root);
    /* A leaf without the operation refuses at once, but not from inside. */
    cfs_wind_getattr(f->g->top, &p->op, probe_done);
    assert_int_equal(p->done, 0);
    fake_turn(f->loop);
    assert_int_equal(p->done, 1);
    assert_int_equal(p->status, -EOPNOTSUPP);
    cfs_call_end(p->call);
}

static void several_children_make_a_choice_necessary(void **state)
{
    struct fixture *f = *state;
    struct probe *p;

    build(f, "test/pass");
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    p = probe_begin(f, cfs_gfid_root);
    cfs_wind_getattr(xl(f, "mid"), &p->op, probe_done);
    fake_turn(f->loop);
    assert_int_equal(p->status, -EOPNOTSUPP);
    cfs_call_end(p->call);
}

/* Every operation by its head alone: wind, unwind, done() of that operation. */
static void any_request_travels_by_its_head(void **state)
{
    struct fixture *f = *state;
    struct cfs_call *call;
    unsigned n = 0;

    build_chain(f);
    call = cfs_call_begin(f->g);
    for (unsigned i = 0; i < CFS_FOP_N; i++) {
        enum cfs_fop fop = (enum cfs_fop)i;
        struct cfs_req *req = cfs_arena_alloc(&call->arena, cfs_fop_size(fop));

        req->call = call;
        req->fop = fop;
        cfs_wind(f->g->top, req);
        assert_ptr_equal(fake_take(xl(f, "leaf")), req);
        n++;
    }
    assert_int_equal(n, CFS_FOP_N);
    assert_string_equal(cfs_fop_name(CFS_FOP_WRITE), "write");
    assert_int_equal(cfs_fop_class(CFS_FOP_WRITE), CFS_CLASS_CHANGE);
    assert_int_equal(cfs_fop_class(CFS_FOP_FSYNC), CFS_CLASS_SYNC);
    cfs_call_end(call);
}

static void fork_copies_inputs_and_join_outputs(void **state)
{
    struct fixture *f = *state;
    struct cfs_call *call;
    struct cfs_change change = {.no = 3};
    struct cfs_write up = {0}, leg;

    build_chain(f);
    call = cfs_call_begin(f->g);
    memset(&leg, 0xff, sizeof leg);
    up.req.call = call;
    up.req.fop = CFS_FOP_WRITE;
    up.req.epoch = 7;
    up.req.change = &change;
    up.req.want = (struct cfs_version){1, 2};
    up.req.status = -EIO;
    up.offset = 4096;
    up.flags = CFS_WRITE_APPEND;
    up.gfid = cfs_gfid_make(5);
    up.attr.size = 1;
    cfs_fork_write(&leg, &up);
    assert_ptr_equal(leg.req.call, call);
    assert_int_equal(leg.req.fop, CFS_FOP_WRITE);
    assert_int_equal(leg.req.epoch, 7);
    assert_ptr_equal(leg.req.change, &change);
    assert_int_equal(leg.req.want.seq, 2);
    assert_int_equal(leg.req.status, 0);
    assert_int_equal(leg.offset, 4096);
    assert_int_equal(leg.flags, CFS_WRITE_APPEND);
    assert_gfid_equal(leg.gfid, up.gfid);
    assert_int_equal(leg.attr.size, 0); /* an output */
    assert_null(leg.done);

    leg.attr.size = 8192;
    leg.req.post.pos = 11;
    leg.offset = 0;
    cfs_join_write(&up, &leg);
    assert_int_equal(up.attr.size, 8192);
    assert_int_equal(up.req.post.pos, 11);
    assert_int_equal(up.offset, 4096); /* an input */
    cfs_call_end(call);
}

static void an_ended_call_is_used_again_clean(void **state)
{
    struct fixture *f = *state;
    struct cfs_call *call, *again;
    uint8_t *p;
    struct cfs_buf b = cfs_buf_new(4096), mine = cfs_buf_ref(b);

    build_chain(f);
    call = cfs_call_begin(f->g);
    call->uid = 1000;
    p = cfs_arena_alloc(&call->arena, 500);
    memset(p, 0xff, 500);
    cfs_arena_keep(&call->arena, b);
    assert_int_equal(f->g->calls, 1);
    cfs_call_end(call);
    assert_int_equal(f->g->calls, 0);
    assert_int_equal(mine.mem->refs, 1);

    again = cfs_call_begin(f->g);
    assert_ptr_equal(again, call);
    assert_int_equal(again->uid, 0);
    assert_ptr_equal(again->graph, f->g);
    assert_ptr_equal(again->loop, f->loop);
    p = cfs_arena_alloc(&again->arena, 500);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(p[i], 0);
    cfs_call_end(again);
    cfs_buf_unref(&mine);
}

/* -- the end -------------------------------------------------------------- */

static void stop_waits_for_holds_and_calls(void **state)
{
    struct fixture *f = *state;
    struct cfs_call *call;

    add(f, "leaf", "test/fake", NULL, NULL, "keep-up", "on", NULL);
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    cfs_graph_parent_up(f->g);
    call = cfs_call_begin(f->g);
    fake_trace[0] = '\0';
    cfs_graph_stop(f->g);
    assert_string_equal(fake_trace, "parent-down:leaf");
    fake_turn(f->loop);
    assert_int_equal(f->stopped, 0);
    cfs_call_end(call);
    fake_turn(f->loop);
    assert_int_equal(f->stopped, 0);
    fake_let_go(xl(f, "leaf"));
    assert_int_equal(f->stopped, 0); /* from the loop */
    fake_turn(f->loop);
    assert_int_equal(f->stopped, 1);
    cfs_graph_stop(f->g);
    fake_turn(f->loop);
    assert_int_equal(f->stopped, 1); /* once */
}

static void stop_is_not_over_while_new_work_comes(void **state)
{
    struct fixture *f = *state;

    add(f, "leaf", "test/fake", NULL, NULL, NULL, NULL, NULL);
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    cfs_graph_stop(f->g);
    cfs_graph_hold(f->g); /* before the loop came to say it */
    fake_turn(f->loop);
    assert_int_equal(f->stopped, 0);
    cfs_graph_release(f->g);
    fake_turn(f->loop);
    assert_int_equal(f->stopped, 1);
}

static void on_stopped_free(struct cfs_graph *g)
{
    struct fixture *f = g->owner;

    f->stopped++;
    f->g = NULL;
    cfs_graph_free(g);
}

static void the_owner_may_free_it_when_stopped(void **state)
{
    struct fixture *f = *state;

    f->g->on_stopped = on_stopped_free;
    add(f, "leaf", "test/fake", NULL, NULL, NULL, NULL, NULL);
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    cfs_graph_stop(f->g);
    fake_turn(f->loop);
    assert_int_equal(f->stopped, 1);
}

/* -- change while running ------------------------------------------------- */

static int reconfigure(struct fixture *f, const char *key, const char *value,
                       struct cfs_err *err)
{
    struct cfs_kv kv = {key, value};

    return cfs_graph_reconfigure(f->g, "leaf", &kv, 1, err);
}

static void options_change_while_running(void **state)
{
    struct fixture *f = *state;
    struct cfs_err err = {0};
    struct fake_xl *leaf;

    add(f, "leaf", "test/fake", NULL, NULL, "number", "5", NULL);
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    leaf = f->g->top->priv;
    assert_int_equal(leaf->number, 5);
    fake_trace[0] = '\0';

    assert_int_equal(reconfigure(f, "number", "6", NULL), 0);
    assert_int_equal(leaf->number, 6);
    assert_string_equal(fake_trace, "reconfigure:leaf");

    /* What cannot change stays; what is not said any more is the default. */
    assert_int_equal(reconfigure(f, "fixed", "2", &err), 1);
    assert_non_null(strstr(err.text, "'fixed' cannot change"));
    assert_int_equal(leaf->number, 1);
    assert_int_equal(reconfigure(f, "number", "6", NULL), 0);
    assert_int_equal(cfs_graph_reconfigure(f->g, "x", NULL, 0, NULL),
                     -ENOENT);

    /* What the translator refuses is taken back. */
    leaf->refuse = true;
    assert_int_equal(reconfigure(f, "number", "7", NULL), -EINVAL);
    assert_int_equal(leaf->number, 6);
    assert_int_equal(cfs_graph_reconfigure(f->g, "leaf", NULL, 0, NULL), 0);
    assert_int_equal(leaf->number, 1);
}

/* A brick that runs while everything around it was upgraded. */
static void options_of_a_newer_program_leave_the_others_be(void **state)
{
    struct fixture *f = *state;
    const struct cfs_kv kv[] = {{"from-the-future", "x"}, {"number", "8"}};
    struct cfs_err err = {0};
    struct fake_xl *leaf;

    add(f, "leaf", "test/fake", NULL, NULL, "number", "5", NULL);
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    leaf = f->g->top->priv;
    assert_int_equal(cfs_graph_reconfigure(f->g, "leaf", kv, 2, &err), 1);
    assert_non_null(strstr(err.text, "unknown option 'from-the-future'"));
    assert_int_equal(leaf->number, 8);
}

static void the_dump_shows_every_translator(void **state)
{
    struct fixture *f = *state;
    struct cfs_dump d;
    size_t size;
    char *text;

    build(f, "test/fake");
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    d.out = open_memstream(&text, &size);
    cfs_graph_dump(f->g, &d);
    cfs_dump_put(&d, "hostile", "%s", "a\nb=[c]\x1b");
    fclose(d.out);
    assert_non_null(strstr(text, "[xlator.top]\ntype=test/fake\ninited=1\n"
                                 "child=mid\n"));
    assert_non_null(strstr(text, "[xlator.left]\n"));
    assert_non_null(strstr(text, "option.number=1\n"));
    assert_non_null(strstr(text, "option.fake-secret=(not shown)\n"));
    assert_null(strstr(text, "4711"));
    assert_non_null(strstr(text, "hostile=a\\x0ab=[c]\\x1b\n"));
    free(text);
}

/* -- an entry point like fuse --------------------------------------------- */

static unsigned served;

static void gate_notify(struct cfs_xl *x, const struct cfs_event *ev)
{
    if (ev->type == CFS_EV_CHILD_UP)
        served++;
    cfs_notify_pass(x, ev);
}

/* replicate's rule: one CHILD_UP, when every child is up */
static void all_up_notify(struct cfs_xl *x, const struct cfs_event *ev)
{
    struct fake_xl *priv = x->priv;

    if (ev->type != CFS_EV_CHILD_UP)
        cfs_notify_pass(x, ev);
    else if (++priv->number == x->n_child)
        cfs_notify_up(x, *ev);
}

static void the_top_serves_only_after_child_up(void **state)
{
    static const struct cfs_xl_type gate = {.name = "test/gate",
                                            .children_max = 1,
                                            .notify = gate_notify};
    static const struct cfs_xl_type all_up = {.name = "test/all-up",
                                              .children_max = 8,
                                              .priv_size =
                                                  sizeof(struct fake_xl),
                                              .notify = all_up_notify};
    struct fixture *f = *state;

    served = 0;
    cfs_graph_builtin(&gate);
    cfs_graph_builtin(&all_up);
    add(f, "a", "test/fake", NULL, NULL, NULL, NULL, NULL);
    add(f, "b", "test/fake", NULL, NULL, NULL, NULL, NULL);
    add(f, "set", "test/all-up", "a", "b", NULL, NULL, NULL);
    assert_int_equal(
        cfs_graph_add_top(f->g, "fuse", "test/gate", NULL, 0, NULL), 0);
    assert_int_equal(cfs_graph_init(f->g, NULL), 0);
    cfs_graph_parent_up(f->g);
    assert_int_equal(served, 0);
    cfs_notify_up(xl(f, "a"), (struct cfs_event){.type = CFS_EV_CHILD_UP});
    assert_int_equal(served, 0);
    cfs_notify_up(xl(f, "b"), (struct cfs_event){.type = CFS_EV_CHILD_UP});
    assert_int_equal(served, 1);
}

#define GRAPH_TEST(f)                                                        \
    cmocka_unit_test_setup_teardown(f, open_graph, close_graph)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GRAPH_TEST(init_goes_down_and_fini_up),
        GRAPH_TEST(a_failed_init_is_finished_where_it_began),
        GRAPH_TEST(parent_up_goes_down),
        GRAPH_TEST(child_up_goes_up_to_the_owner),
        GRAPH_TEST(whether_a_translator_is_up_is_known),
        GRAPH_TEST(a_translator_without_notify_passes_events),
        GRAPH_TEST(bad_graphs_are_refused_with_a_reason),
        GRAPH_TEST(everything_must_be_below_the_top),
        GRAPH_TEST(an_operation_left_out_passes),
        GRAPH_TEST(unwinding_never_calls_back_from_inside),
        GRAPH_TEST(several_children_make_a_choice_necessary),
        GRAPH_TEST(any_request_travels_by_its_head),
        GRAPH_TEST(fork_copies_inputs_and_join_outputs),
        GRAPH_TEST(an_ended_call_is_used_again_clean),
        GRAPH_TEST(stop_waits_for_holds_and_calls),
        GRAPH_TEST(stop_is_not_over_while_new_work_comes),
        GRAPH_TEST(the_owner_may_free_it_when_stopped),
        GRAPH_TEST(options_change_while_running),
        GRAPH_TEST(options_of_a_newer_program_leave_the_others_be),
        GRAPH_TEST(the_dump_shows_every_translator),
        GRAPH_TEST(the_top_serves_only_after_child_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
