/* SPDX-License-Identifier: Apache-2.0 */
/* test_lock_server.c - features/lock-server over a fake brick that keeps a
 * table of sessions, as storage/block does.
 */
#include "cfs_test.h"

#include <stdlib.h>

#include "fake_xl.h"
#include "xlators/features/lock-server/sessions_core.h"

extern const struct cfs_xl_type cfs_xl_type;

struct fixture {
    struct cfs_loop   *loop;
    struct cfs_graph  *g;
    struct cfs_xl     *leaf;
    struct cfs_brick   brick; /* what the fake brick says of itself */
    uint32_t           last_no;
    unsigned           opens, attaches;
    bool               keep_infos; /* brick_info waits for the test */
    struct cfs_req    *kept[8];
    unsigned           n_kept;
    int                status;
    unsigned           done;
    struct cfs_session session;
    struct cfs_session holder;
};

static struct fixture *fix;

static struct cfs_uuid id(uint8_t n)
{
    return (struct cfs_uuid){{n}};
}

/* -- the fake brick -------------------------------------------------------- */

static void keep_session(const struct cfs_session *s)
{
    struct cfs_brick *b = &fix->brick;

    for (unsigned i = 0; i < b->n_sessions; i++)
        if (b->session[i].no == s->no)
            return;
    b->session[b->n_sessions++] = *s;
}

static void drop_session(uint32_t no)
{
    struct cfs_brick *b = &fix->brick;

    for (unsigned i = 0; i < b->n_sessions; i++)
        if (b->session[i].no == no)
            b->session[i--] = b->session[--b->n_sessions];
}

static void fence_session(uint32_t no)
{
    struct cfs_brick *b = &fix->brick;

    for (unsigned i = 0; i < b->n_sessions; i++)
        if (b->session[i].no == no)
            b->session[i].state = CFS_SESSION_FENCED;
}

static void serve(struct cfs_req *req)
{
    switch (req->fop) {
    case CFS_FOP_BRICK_INFO:
        container_of(req, struct cfs_brick_info, req)->brick = fix->brick;
        break;
    case CFS_FOP_SESSION_OPEN: {
        struct cfs_session_open *o =
            container_of(req, struct cfs_session_open, req);

        assert_int_equal(o->who.no, 0);
        fix->opens++;
        o->session = o->who;
        o->session.no = ++fix->last_no;
        break;
    }
    case CFS_FOP_SESSION_ATTACH: {
        struct cfs_session_attach *a =
            container_of(req, struct cfs_session_attach, req);

        fix->attaches++;
        keep_session(&a->session);
        a->view = fix->brick.view;
        break;
    }
    case CFS_FOP_SESSION_CLOSE:
        drop_session(container_of(req, struct cfs_session_close, req)->session);
        break;
    case CFS_FOP_SESSION_FENCE:
        fence_session(
            container_of(req, struct cfs_session_fence, req)->session);
        break;
    default:
        break;
    }
    cfs_unwind(req, 0);
}

static void turn(void)
{
    struct cfs_req *req;

    fake_turn(fix->loop);
    while ((req = fake_take(fix->leaf)) != NULL) {
        if (fix->keep_infos && req->fop == CFS_FOP_BRICK_INFO)
            fix->kept[fix->n_kept++] = req;
        else
            serve(req);
        fake_turn(fix->loop);
    }
}

/* -- what a client asks ---------------------------------------------------- */

static struct cfs_session mount_by(uint32_t pid)
{
    return (struct cfs_session){.pid = pid, .pid_start = 1000 + pid,
                                .boot = id(9), .node = "node",
                                .service = "mount", .where = "/mnt"};
}

static void open_done(struct cfs_session_open *op, int status)
{
    fix->done++;
    fix->status = status;
    fix->session = op->session;
    fix->holder = op->holder;
    cfs_call_end(op->req.call);
}

static void open_start(const struct cfs_session *who, uint64_t epoch)
{
    struct cfs_call *c = cfs_call_begin(fix->g);
    struct cfs_session_open *o = cfs_call_new(c, struct cfs_session_open);

    o->req.call = c;
    o->req.epoch = epoch;
    o->who = *who;
    cfs_wind_session_open(fix->g->top, o, open_done);
    turn();
}

static int open_as(uint32_t pid)
{
    struct cfs_session s = mount_by(pid);

    open_start(&s, 1);
    return fix->status;
}

static void attach_done(struct cfs_session_attach *op, int status)
{
    fix->done++;
    fix->status = status;
    cfs_call_end(op->req.call);
}

static int attach(const struct cfs_session *s, uint64_t epoch)
{
    struct cfs_call *c = cfs_call_begin(fix->g);
    struct cfs_session_attach *a = cfs_call_new(c, struct cfs_session_attach);

    a->req.call = c;
    a->req.epoch = epoch;
    a->session = *s;
    cfs_wind_session_attach(fix->g->top, a, attach_done);
    turn();
    return fix->status;
}

static void close_done(struct cfs_session_close *op, int status)
{
    fix->status = status;
    cfs_call_end(op->req.call);
}

static void fence_done(struct cfs_session_fence *op, int status)
{
    fix->status = status;
    cfs_call_end(op->req.call);
}

static int open_graph(void **state)
{
    const char *leaf[] = {"leaf"};

    fix = calloc(1, sizeof *fix);
    fake_setup();
    cfs_graph_builtin(&cfs_xl_type);
    if (!fix || cfs_loop_new(&fix->loop, NULL) < 0 ||
        cfs_graph_new(fix->loop, NULL, NULL, &fix->g) < 0 ||
        cfs_graph_add(fix->g, "leaf", "test/fake", NULL, 0, NULL, 0, NULL) ||
        cfs_graph_add(fix->g, "ls", "features/lock-server", NULL, 0, leaf, 1,
                      NULL) ||
        cfs_graph_init(fix->g, NULL))
        return -1;
    fix->leaf = cfs_graph_find(fix->g, "leaf");
    fix->brick.brick = id(1);
    fix->brick.incarnation = 4;
    fix->brick.view = (struct cfs_view){.epoch = 1, .n_sync = 2};
    fix->brick.view.m[0] = (struct cfs_member){id(1), 4};
    fix->brick.view.m[1] = (struct cfs_member){id(2), 1};
    return 0;
}

static int close_graph(void **state)
{
    assert_int_equal(fix->g->calls, 0);
    cfs_graph_free(fix->g);
    cfs_loop_free(fix->loop);
    cfs_buf_pool_drain();
    free(fix);
    return 0;
}

/* -- tests ----------------------------------------------------------------- */

static void the_master_gives_a_number(void **state)
{
    fix->last_no = 41;
    assert_int_equal(open_as(100), 0);
    assert_int_equal(fix->session.no, 42);
    assert_int_equal(attach(&fix->session, 1), 0);
    assert_int_equal(fix->brick.n_sessions, 1);
}

static void only_the_master_of_the_current_view_does(void **state)
{
    struct cfs_session who = mount_by(100);

    open_start(&who, 2);
    assert_int_equal(fix->status, -CFS_E_EPOCH);
    fix->brick.view.m[0].brick = id(3);
    assert_int_equal(open_as(100), -CFS_E_NOT_MEMBER);
    fix->brick.view.m[0] = (struct cfs_member){id(1), 3}; /* its last life */
    assert_int_equal(open_as(100), -CFS_E_NOT_MEMBER);
    assert_int_equal(fix->opens, 0);
}

static void a_live_mount_excludes_another(void **state)
{
    assert_int_equal(open_as(100), 0);
    assert_int_equal(attach(&fix->session, 1), 0);
    assert_int_equal(open_as(200), -CFS_E_IN_USE);
    assert_int_equal(fix->holder.pid, 100);
    assert_string_equal(fix->holder.where, "/mnt");
    assert_int_equal(fix->opens, 1);
}

/* Somebody else knows all that its process says of itself. */
static void a_session_is_its_opener_s_alone(void **state)
{
    struct cfs_session s = mount_by(100), other;

    strcpy(s.owner, "alice");
    open_start(&s, 1);
    assert_int_equal(fix->status, 0);
    other = s = fix->session;
    assert_string_equal(s.owner, "alice");
    strcpy(other.owner, "node:n1");
    assert_int_equal(attach(&other, 1), -EACCES); /* reserved */
    assert_int_equal(attach(&s, 1), 0);
    assert_int_equal(attach(&other, 1), -EACCES);
    other.owner[0] = '\0';
    assert_int_equal(attach(&other, 1), -EACCES);
    assert_int_equal(fix->attaches, 1); /* the brick never heard of it */
    assert_int_equal(attach(&s, 1), 0);
}

static void another_client_cannot_take_a_reserved_number_away(void **state)
{
    struct cfs_session s = mount_by(100), other = mount_by(100);

    strcpy(s.owner, "alice");
    strcpy(other.owner, "bob");
    open_start(&s, 1);
    assert_int_equal(fix->status, 0);
    s = fix->session;
    open_start(&other, 1);
    assert_int_equal(fix->status, -CFS_E_IN_USE);
    assert_int_equal(attach(&s, 1), 0);
}

static void other_services_are_not_excluded(void **state)
{
    struct cfs_session who = mount_by(200);

    assert_int_equal(open_as(100), 0);
    assert_int_equal(attach(&fix->session, 1), 0);
    strcpy(who.service, "shd");
    open_start(&who, 1);
    assert_int_equal(fix->status, 0);
}

static void a_number_is_reserved_until_it_is_attached(void **state)
{
    assert_int_equal(open_as(100), 0);
    assert_int_equal(open_as(200), -CFS_E_IN_USE);
    /* The same process has lost the answer, and asks again. */
    assert_int_equal(open_as(100), 0);
    assert_int_equal(fix->session.no, 2);
}

static void of_two_that_open_at_once_one_gets_on(void **state)
{
    struct cfs_session a = mount_by(100), b = mount_by(200);

    fix->keep_infos = true;
    open_start(&a, 1);
    open_start(&b, 1);
    assert_int_equal(fix->n_kept, 1); /* the second waits for its turn */
    fix->keep_infos = false;
    serve(fix->kept[0]);
    turn();
    assert_int_equal(fix->done, 2);
    assert_int_equal(fix->opens, 1);
}

static void close_session(uint32_t no)
{
    struct cfs_call *c = cfs_call_begin(fix->g);
    struct cfs_session_close *close = cfs_call_new(c, struct cfs_session_close);

    close->req.call = c;
    close->session = no;
    cfs_wind_session_close(fix->g->top, close, close_done);
    turn();
}

static void a_closed_session_excludes_nobody(void **state)
{
    assert_int_equal(open_as(100), 0);
    assert_int_equal(attach(&fix->session, 1), 0);
    close_session(fix->session.no);
    assert_int_equal(open_as(200), 0);
}

/* Between the two, members are compared. */
static void a_fenced_session_excludes_others_until_it_is_closed(void **state)
{
    struct cfs_call *c = cfs_call_begin(fix->g);
    struct cfs_session_fence *fence = cfs_call_new(c, struct cfs_session_fence);
    uint32_t no;

    assert_int_equal(open_as(100), 0);
    assert_int_equal(attach(&fix->session, 1), 0);
    no = fix->session.no;
    fence->req.call = c;
    fence->session = no;
    cfs_wind_session_fence(fix->g->top, fence, fence_done);
    turn();
    assert_int_equal(open_as(200), -CFS_E_IN_USE);
    close_session(no);
    assert_int_equal(open_as(200), 0);
}

static void an_attachment_must_be_of_this_view(void **state)
{
    struct cfs_session s = mount_by(100);

    s.no = 7; /* given by another member: recorded here */
    assert_int_equal(attach(&s, 2), -CFS_E_EPOCH);
    assert_int_equal(attach(&s, 1), 0);
    fix->brick.view.m[0].brick = id(3); /* we are out */
    assert_int_equal(attach(&s, 1), -CFS_E_NOT_MEMBER);
    s.no = 0;
    assert_int_equal(attach(&s, 1), -EINVAL);
}

static void a_number_belongs_to_one_process(void **state)
{
    struct cfs_session s = mount_by(100), thief = mount_by(200);

    s.no = thief.no = 7;
    assert_int_equal(attach(&s, 1), 0);
    assert_int_equal(attach(&s, 1), 0); /* on a new connection */
    assert_int_equal(attach(&thief, 1), -CFS_E_SESSION);
}

static void a_text_that_does_not_end_is_refused(void **state)
{
    struct cfs_session s = mount_by(100);

    memset(s.where, 'x', sizeof s.where);
    open_start(&s, 1);
    assert_int_equal(fix->status, -EINVAL);
    s.no = 1;
    assert_int_equal(attach(&s, 1), -EINVAL);
}

/* A reservation that nobody attached ends by itself. */
static void a_reservation_ends(void **state)
{
    struct ls_sessions t;
    struct cfs_session a = mount_by(100), b = mount_by(200), holder;

    ls_sessions_init(&t);
    a.no = 1;
    assert_int_equal(ls_opened(&t, &a, 1000), 0);
    assert_int_equal(ls_may_open(&t, &fix->brick, 1, &b, 1001, &holder),
                     -CFS_E_IN_USE);
    assert_int_equal(ls_may_open(&t, &fix->brick, 1, &b, 1000 + LS_RESERVED,
                                 &holder), 0);
    ls_sessions_fini(&t);
}

#define T(f) cmocka_unit_test_setup_teardown(f, open_graph, close_graph)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_master_gives_a_number),
        T(only_the_master_of_the_current_view_does),
        T(a_live_mount_excludes_another),
        T(a_session_is_its_opener_s_alone),
        T(another_client_cannot_take_a_reserved_number_away),
        T(other_services_are_not_excluded),
        T(a_number_is_reserved_until_it_is_attached),
        T(of_two_that_open_at_once_one_gets_on),
        T(a_closed_session_excludes_nobody),
        T(a_fenced_session_excludes_others_until_it_is_closed),
        T(an_attachment_must_be_of_this_view),
        T(a_number_belongs_to_one_process),
        T(a_text_that_does_not_end_is_refused),
        T(a_reservation_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
