/* SPDX-License-Identifier: Apache-2.0 */
/* test_brickd.c - the daemon of a brick, between its command line and its
 * graph: beside it in this process a mgmtd that serves a volfile and writes
 * down who signs in; below it a store that keeps each operation until the test
 * answers it.
 */
#include "tests/unit/cfs_test.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"
#include "server/brickd.h"
#include "tests/unit/fake_xl.h"

#define ID "11111111-2222-3333-4444-555555555555"

#define VOLFILE(leaf_options)                                                \
    "volume leaf\n    type test/fake\n" leaf_options "end-volume\n"          \
    "volume top\n    type protocol/server\n    subvolumes leaf\n"            \
    "end-volume\n"

/* protocol/server, as far as brickd sees it. */
static void top_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    cfs_notify_pass(xl, ev);
    if (ev->type == CFS_EV_PARENT_UP)
        cfs_notify_up(xl, (struct cfs_event){.type = CFS_EV_LISTENING,
                                             .path = "/run/b.sock",
                                             .port = 49999});
}

static const struct cfs_xl_type top_type = {
    .name = "protocol/server",
    .children_min = 1,
    .children_max = 1,
    .notify = top_notify,
};

/* mgmtd, as far as a brick sees it. */
struct fake_mgmtd {
    struct rpc_listener *listener;
    struct rpc_conn     *line; /* the brick's; NULL: it is not connected */
    const char          *volfile;
    uint64_t             generation;
    const char          *refuse; /* GETSPEC, with these words */
    bool                 silent; /* GETSPEC stays unanswered */
    unsigned             specs;  /* asked for */
    unsigned             sign_ins;
    struct mgmt_signin   last;
    char                 last_path[64];
    struct rpc_program   programs[2];
};

struct fixture {
    char              dir[64];
    struct cfs_host_spec spec;
    struct brickd     b;
    struct fake_mgmtd m;
    bool              ended; /* the loop was told to stop */

    /* the last call of program BRICK */
    struct rpc_call call;
    bool            answered;
    int             status;
    struct cfs_arena arena; /* of the answer's body */
    struct cfs_blob body;
};

/* -- the fake mgmtd ------------------------------------------------------- */

static void on_getspec(struct rpc_msg *msg, void *ctx)
{
    struct fixture *f = ctx;
    struct mgmt_getspec_reply r = {
        .checksum = f->m.generation,
        .text = f->m.volfile,
        .lineage = 1,
        .generation = f->m.generation,
    };
    struct mgmt_getspec q;
    struct cfs_arena a;

    cfs_arena_init(&a);
    assert_int_equal(mgmt_unpack_getspec(&a, msg->body, &q), 0);
    assert_string_equal(q.key, "brick:" ID);
    f->m.specs++;
    if (f->m.refuse != NULL || f->m.silent) {
        rpc_reply_error(msg, f->m.silent ? -EAGAIN : -ENOENT, f->m.refuse);
    } else {
        if (q.known == r.checksum)
            r.text = "";
        rpc_reply(msg, mgmt_pack_getspec_reply(&a, &r), (struct cfs_buf){0});
    }
    cfs_arena_fini(&a);
}

static void on_signin(struct rpc_msg *msg, void *ctx)
{
    struct fixture *f = ctx;
    struct cfs_arena a;

    cfs_arena_init(&a);
    assert_int_equal(mgmt_unpack_signin(&a, msg->body, &f->m.last), 0);
    snprintf(f->m.last_path, sizeof f->m.last_path, "%s", f->m.last.path);
    cfs_arena_fini(&a);
    f->m.sign_ins++;
    rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
}

static void on_line_up(struct rpc_conn *c, void *ctx)
{
    ((struct fixture *)ctx)->m.line = c;
}

static void on_line_down(struct rpc_conn *c, const struct cfs_err *why,
                         void *ctx)
{
    ((struct fixture *)ctx)->m.line = NULL;
}

static void mgmtd_start(struct fixture *f)
{
    static const struct rpc_proc handshake[] = {
        [RPC_HANDSHAKE_GETSPEC] = {"getspec", on_getspec},
    };
    static const struct rpc_proc portmap[] = {
        [RPC_PORTMAP_SIGNIN] = {"signin", on_signin},
    };
    static const struct rpc_events events = {on_line_up, on_line_down};
    struct cfs_err err = {0};
    struct rpc_addr addr;
    char text[128];

    f->m.programs[0] = rpc_to_handshake;
    f->m.programs[0].procs = handshake;
    f->m.programs[0].n_procs = CFS_ARRAY_SIZE(handshake);
    f->m.programs[1] = rpc_to_portmap;
    f->m.programs[1].procs = portmap;
    f->m.programs[1].n_procs = CFS_ARRAY_SIZE(portmap);
    f->m.programs[0].ctx = f->m.programs[1].ctx = f;
    snprintf(text, sizeof text, "unix:%s/mgmtd.sock", f->dir);
    assert_int_equal(rpc_addr_parse(text, &addr, &err), 0);
    assert_int_equal(rpc_listen(f->b.host.loop, f->b.host.log, "mgmtd", &addr,
                                0, 0, NULL, f->m.programs, 2, &events, f,
                                &f->m.listener, &err), 0);
}

static void mgmtd_end(struct fixture *f)
{
    rpc_listener_close(f->m.listener);
    f->m.listener = NULL;
    f->m.line = NULL;
}

/* -- set up --------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    return remove(path);
}

static void on_dump(struct cfs_host *h, struct cfs_dump *d)
{
    brickd_dump(h->spec->owner, d);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char args[5][96], *argv[8] = {"clusterfs-brickd", "--no-daemon"};
    struct cfs_err err = {0};
    int argc = 2;

    *state = f;
    fake_setup();
    cfs_graph_builtin(&top_type);
    cfs_test_dir(f->dir, "brickd");
    for (unsigned i = 0; i < 5; i++) {
        static const char *const names[] = {"config-dir", "state-dir",
                                            "run-dir", "log-dir", "log-file"};

        snprintf(args[i], sizeof args[i], "--%s=%s%s", names[i], f->dir,
                 i == 4 ? "/brickd.log" : "");
        argv[argc++] = args[i];
    }
    f->spec = (struct cfs_host_spec){
        .program = "clusterfs-brickd",
        .about = "a test",
        .on_dump = on_dump,
        .owner = &f->b,
    };
    assert_int_equal(cfs_host_init(&f->b.host, &f->spec, argc, argv, &err), 0);
    assert_int_equal(cfs_uuid_parse(ID, &f->b.id), 0);
    f->m.volfile = VOLFILE("");
    f->m.generation = 1;
    cfs_arena_init(&f->arena);
    mgmtd_start(f);
    return 0;
}

/* -- waiting -------------------------------------------------------------- */

static bool (*wait_cond)(struct fixture *f);
static bool wait_over;

static void on_deadline(struct cfs_timer *t)
{
    wait_over = true;
}

static bool wait_done(void *arg)
{
    return wait_over || wait_cond(arg);
}

static void wait_until(struct fixture *f, bool (*cond)(struct fixture *f))
{
    struct cfs_timer deadline;

    wait_cond = cond;
    wait_over = false;
    cfs_timer_init(f->b.host.loop, &deadline, on_deadline);
    cfs_timer_start(&deadline, 20 * CFS_SEC);
    cfs_loop_run_until(f->b.host.loop, wait_done, f);
    cfs_timer_fini(&deadline);
    assert_true(cond(f));
}

static bool has_ended(struct fixture *f)
{
    return f->b.state == BRICKD_ENDED;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    brickd_stop(&f->b);
    wait_until(f, has_ended);
    brickd_fini(&f->b);
    if (f->m.listener != NULL)
        mgmtd_end(f);
    cfs_arena_fini(&f->arena);
    cfs_host_fini(&f->b.host);
    cfs_buf_pool_drain();
    nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static struct cfs_xl *leaf(struct fixture *f)
{
    return cfs_graph_find(f->b.graph, "leaf");
}

static bool op_came(struct fixture *f)
{
    return f->b.graph != NULL &&
           ((struct fake_xl *)leaf(f)->priv)->n > 0;
}

static bool volfile_asked(struct fixture *f)
{
    return f->m.specs > 0;
}

static bool signed_in(struct fixture *f)
{
    return f->m.sign_ins == 1;
}

static bool signed_in_again(struct fixture *f)
{
    return f->m.sign_ins == 2;
}

static bool is_stopping(struct fixture *f)
{
    return f->b.state == BRICKD_STOPPING;
}

static bool number_is_55(struct fixture *f)
{
    return ((struct fake_xl *)leaf(f)->priv)->number == 55;
}

/* The store's account of itself. */
static void answer_info(struct fixture *f, uint64_t incarnation)
{
    struct cfs_brick_info *op;
    struct cfs_req *req;

    wait_until(f, op_came);
    req = fake_take(leaf(f));
    assert_int_equal(req->fop, CFS_FOP_BRICK_INFO);
    op = container_of(req, struct cfs_brick_info, req);
    op->brick.brick = f->b.id;
    op->brick.incarnation = incarnation;
    cfs_unwind(req, 0);
}

/* Up to the state in which a brick spends its life. */
static void serve(struct fixture *f)
{
    struct cfs_err err = {0};

    assert_int_equal(brickd_start(&f->b, &err), 0);
    answer_info(f, 7);
    wait_until(f, signed_in);
    assert_int_equal(f->b.state, BRICKD_SERVING);
}

/* -- calls ---------------------------------------------------------------- */

static bool was_answered(struct fixture *f)
{
    return f->answered;
}

static void on_answer(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct fixture *f = container_of(call, struct fixture, call);

    f->answered = true;
    f->status = status;
    f->body = (struct cfs_blob){0};
    if (reply != NULL && status == 0)
        f->body = (struct cfs_blob){
            cfs_arena_dup(&f->arena, reply->body.p, reply->body.len),
            reply->body.len};
}

static void call_brick(struct fixture *f, enum rpc_brick_proc proc,
                       struct cfs_blob body)
{
    f->answered = false;
    rpc_call(f->m.line, &f->call, &rpc_to_brick, proc, body,
             (struct cfs_buf){0}, 0, on_answer);
}

/* The operation that the call has become. */
static void *called_op(struct fixture *f, enum cfs_fop fop)
{
    struct cfs_req *req;

    wait_until(f, op_came);
    req = fake_take(leaf(f));
    assert_int_equal(req->fop, fop);
    assert_false(f->answered);
    return req;
}

static void expect_status(struct fixture *f, int status)
{
    wait_until(f, was_answered);
    assert_int_equal(f->status, status);
}

/* -- tests ---------------------------------------------------------------- */

static void a_brick_signs_in_once_its_store_has_said_who_it_is(void **state)
{
    struct fixture *f = *state;

    serve(f);
    assert_true(cfs_uuid_eq(f->m.last.brick, f->b.id));
    assert_int_equal(f->m.last.pid, getpid());
    assert_int_equal(f->m.last.port, 49999);
    assert_string_equal(f->m.last_path, "/run/b.sock");
    assert_int_equal(f->m.last.info.incarnation, 7);
    assert_int_equal(f->m.last.info.poisoned, 0);
}

static void info_is_the_stores_account(void **state)
{
    struct fixture *f = *state;
    struct mgmt_brick_msg msg;
    struct cfs_brick_info *op;

    serve(f);
    call_brick(f, RPC_BRICK_INFO, (struct cfs_blob){0});
    op = called_op(f, CFS_FOP_BRICK_INFO);
    op->brick.brick = f->b.id;
    op->brick.incarnation = 8;
    op->brick.total = 20000;
    op->brick.free = 12345;
    cfs_unwind_brick_info(op, 0);
    expect_status(f, 0);
    assert_int_equal(mgmt_unpack_brick_msg(&f->arena, f->body, &msg), 0);
    assert_int_equal(msg.brick.incarnation, 8);
    assert_int_equal(msg.brick.free, 12345);
}

static void a_view_is_acknowledged_when_the_store_has_it(void **state)
{
    struct fixture *f = *state;
    struct mgmt_view_msg msg = {.view = {.epoch = 5, .n_sync = 1}};
    struct cfs_view_set *op;

    serve(f);
    msg.view.m[0].brick = f->b.id;
    msg.view.m[0].incarnation = 7;
    call_brick(f, RPC_BRICK_VIEW_SET, mgmt_pack_view_msg(&f->arena, &msg));
    op = called_op(f, CFS_FOP_VIEW_SET);
    assert_int_equal(op->view.epoch, 5);
    assert_int_equal(op->view.m[0].incarnation, 7);
    cfs_unwind_view_set(op, 0);
    expect_status(f, 0);
}

static void a_fence_brings_the_tail_back(void **state)
{
    struct fixture *f = *state;
    struct mgmt_session_no msg = {.session = 42};
    struct mgmt_fence_reply reply;
    struct cfs_session_fence *op;

    serve(f);
    call_brick(f, RPC_BRICK_FENCE, mgmt_pack_session_no(&f->arena, &msg));
    op = called_op(f, CFS_FOP_SESSION_FENCE);
    assert_int_equal(op->session, 42);
    op->tail = (struct cfs_blob){"digest", 6};
    cfs_unwind_session_fence(op, 0);
    expect_status(f, 0);
    assert_int_equal(mgmt_unpack_fence_reply(&f->arena, f->body, &reply), 0);
    assert_int_equal(reply.tail.len, 6);
    assert_memory_equal(reply.tail.p, "digest", 6);
}

static void what_the_store_refuses_is_refused(void **state)
{
    struct fixture *f = *state;
    struct mgmt_session_no msg = {.session = 43};
    struct cfs_session_close *op;

    serve(f);
    call_brick(f, RPC_BRICK_CLOSE_SESSION,
               mgmt_pack_session_no(&f->arena, &msg));
    op = called_op(f, CFS_FOP_SESSION_CLOSE);
    assert_int_equal(op->session, 43);
    cfs_unwind_session_close(op, -CFS_E_SESSION);
    expect_status(f, -CFS_E_SESSION);
}

static void a_body_that_makes_no_sense_reaches_nothing(void **state)
{
    static const struct {
        enum rpc_brick_proc proc;
        int                 status;
    } calls[] = {
        {RPC_BRICK_VIEW_SET, -EBADMSG},
        {RPC_BRICK_FENCE, -EBADMSG},
        {RPC_BRICK_CLOSE_SESSION, -EBADMSG},
        {RPC_BRICK_TERMINATE, -EBADMSG},
        {RPC_BRICK_PROFILE, -EBADMSG},
        {99, -ENOSYS},
    };
    struct fixture *f = *state;

    serve(f);
    for (size_t i = 0; i < CFS_ARRAY_SIZE(calls); i++) {
        call_brick(f, calls[i].proc, (struct cfs_blob){"\xff\xff\xff", 3});
        expect_status(f, calls[i].status);
        assert_false(op_came(f));
    }
    assert_int_equal(f->b.state, BRICKD_SERVING);
}

static void before_it_serves_it_can_be_asked_nothing_but_to_end(void **state)
{
    struct fixture *f = *state;
    struct mgmt_terminate msg = {.clean = 1};
    struct cfs_err err = {0};

    f->m.silent = true;
    assert_int_equal(brickd_start(&f->b, &err), 0);
    wait_until(f, volfile_asked);
    call_brick(f, RPC_BRICK_INFO, (struct cfs_blob){0});
    expect_status(f, -EAGAIN);
    call_brick(f, RPC_BRICK_TERMINATE, mgmt_pack_terminate(&f->arena, &msg));
    expect_status(f, 0);
    assert_int_equal(f->b.state, BRICKD_ENDED);
}

static void a_clean_end_is_told_when_the_graph_is_at_rest(void **state)
{
    struct fixture *f = *state;
    struct mgmt_terminate msg = {.clean = 1};

    f->m.volfile = VOLFILE("    option keep-up on\n");
    serve(f);
    call_brick(f, RPC_BRICK_TERMINATE, mgmt_pack_terminate(&f->arena, &msg));
    wait_until(f, is_stopping);
    fake_turn(f->b.host.loop);
    assert_false(f->answered);
    fake_let_go(leaf(f));
    expect_status(f, 0);
    assert_int_equal(f->b.state, BRICKD_ENDED);
    assert_null(f->b.graph);
    assert_non_null(strstr(fake_trace, "parent-down:leaf let-go:leaf "
                                       "fini:leaf"));
    assert_int_equal(f->b.host.status, 0);
}

static void a_stop_waits_for_the_operation_in_flight(void **state)
{
    struct fixture *f = *state;
    struct mgmt_session_no msg = {.session = 1};
    struct cfs_session_close *op;

    serve(f);
    call_brick(f, RPC_BRICK_CLOSE_SESSION,
               mgmt_pack_session_no(&f->arena, &msg));
    op = called_op(f, CFS_FOP_SESSION_CLOSE);
    brickd_stop(&f->b);
    fake_turn(f->b.host.loop);
    assert_int_equal(f->b.state, BRICKD_STOPPING);
    cfs_unwind_session_close(op, 0);
    wait_until(f, has_ended);
    assert_int_equal(f->b.host.status, 0);
}

static void a_store_that_fails_is_told_to_mgmtd(void **state)
{
    struct fixture *f = *state;
    struct cfs_err err = {-EIO, "the device is gone"};

    serve(f);
    cfs_notify_up(leaf(f), (struct cfs_event){.type = CFS_EV_CHILD_DOWN,
                                              .err = &err});
    wait_until(f, op_came);
    cfs_unwind(fake_take(leaf(f)), -CFS_E_POISONED); /* brick_info */
    wait_until(f, signed_in_again);
    assert_int_equal(f->m.last.info.poisoned, 1);
    assert_string_equal(f->m.last.info.reason, "the device is gone");
    assert_int_equal(f->b.state, BRICKD_SERVING);
}

static void it_goes_on_without_mgmtd_and_signs_in_when_it_is_back(void **state)
{
    struct fixture *f = *state;

    serve(f);
    mgmtd_end(f);
    mgmtd_start(f);
    wait_until(f, signed_in_again);
    assert_int_equal(f->b.state, BRICKD_SERVING);
    assert_int_equal(f->m.last.info.incarnation, 7);
    assert_non_null(f->b.graph);
}

static void a_brick_that_nobody_knows_does_not_start(void **state)
{
    struct fixture *f = *state;
    struct cfs_err err = {0};

    f->m.refuse = "no volume has this brick";
    assert_int_equal(brickd_start(&f->b, &err), 0);
    wait_until(f, has_ended);
    assert_int_equal(f->b.host.status, 1);
}

static void a_store_that_does_not_open_ends_the_process(void **state)
{
    struct fixture *f = *state;
    struct cfs_err err = {0};

    f->m.volfile = VOLFILE("    option fail-init on\n");
    assert_int_equal(brickd_start(&f->b, &err), 0);
    wait_until(f, has_ended);
    assert_int_equal(f->b.host.status, 1);
    assert_null(f->b.graph);
    assert_int_equal(f->m.sign_ins, 0);
}

static void a_volfile_that_is_no_bricks_is_refused(void **state)
{
    struct fixture *f = *state;
    struct cfs_err err = {0};

    f->m.volfile = "volume v\n    type test/fake\nend-volume\n";
    assert_int_equal(brickd_start(&f->b, &err), 0);
    wait_until(f, has_ended);
    assert_int_equal(f->b.host.status, 1);
}

static void a_changed_volfile_gives_new_options(void **state)
{
    struct fixture *f = *state;
    struct mgmt_volfile_changed msg = {.key = "brick:" ID, .lineage = 1,
                                       .generation = 2};

    serve(f);
    f->m.volfile = VOLFILE("    option number 55\n");
    f->m.generation = 2;
    f->answered = false;
    rpc_call(f->m.line, &f->call, &rpc_to_handshake,
             RPC_HANDSHAKE_VOLFILE_CHANGED,
             mgmt_pack_volfile_changed(&f->arena, &msg), (struct cfs_buf){0},
             0, on_answer);
    wait_until(f, number_is_55);
    assert_int_equal(f->b.state, BRICKD_SERVING);
}

static void a_statedump_names_its_file(void **state)
{
    struct fixture *f = *state;
    struct mgmt_statedump_reply reply;
    char text[4096];
    size_t n;
    FILE *in;

    serve(f);
    call_brick(f, RPC_BRICK_STATEDUMP, (struct cfs_blob){0});
    expect_status(f, 0);
    assert_int_equal(mgmt_unpack_statedump_reply(&f->arena, f->body, &reply),
                     0);
    in = fopen(reply.path, "r");
    assert_non_null(in);
    n = fread(text, 1, sizeof text - 1, in);
    fclose(in);
    text[n] = '\0';
    assert_non_null(strstr(text, "id=" ID));
    assert_non_null(strstr(text, "state=serving"));
    assert_non_null(strstr(text, "[xlator.leaf]"));
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(a_brick_signs_in_once_its_store_has_said_who_it_is),
        UNIT(info_is_the_stores_account),
        UNIT(a_view_is_acknowledged_when_the_store_has_it),
        UNIT(a_fence_brings_the_tail_back),
        UNIT(what_the_store_refuses_is_refused),
        UNIT(a_body_that_makes_no_sense_reaches_nothing),
        UNIT(before_it_serves_it_can_be_asked_nothing_but_to_end),
        UNIT(a_clean_end_is_told_when_the_graph_is_at_rest),
        UNIT(a_stop_waits_for_the_operation_in_flight),
        UNIT(a_store_that_fails_is_told_to_mgmtd),
        UNIT(it_goes_on_without_mgmtd_and_signs_in_when_it_is_back),
        UNIT(a_brick_that_nobody_knows_does_not_start),
        UNIT(a_store_that_does_not_open_ends_the_process),
        UNIT(a_volfile_that_is_no_bricks_is_refused),
        UNIT(a_changed_volfile_gives_new_options),
        UNIT(a_statedump_names_its_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
