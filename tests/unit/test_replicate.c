/* SPDX-License-Identifier: Apache-2.0 */
/* test_replicate.c - cluster/replicate in a graph, over three fake children.
 * A child answers by itself what it is told to (sessions, versions), and keeps
 * the rest until the test lets it answer, or loses it.
 */
#include "cfs_test.h"

#include <endian.h>
#include <stdlib.h>
#include <xxhash.h>

#include "fake_xl.h"
#include "xlators/cluster/replicate/replicate.h"

#define N        3u
#define HELD_MAX 64u

extern const struct cfs_xl_type cfs_xl_type;

struct brick {
    struct cfs_xl     *xl;
    bool               hold[CFS_FOP_N];   /* keep it for the test */
    int                status[CFS_FOP_N]; /* what it says */
    unsigned           count[CFS_FOP_N];
    struct cfs_req    *held[HELD_MAX];
    unsigned           n_held;
    struct cfs_version version; /* of every inode */
    struct cfs_gfid    child;   /* of every name */
    uint64_t           pos, durable, free;
    bool               bad_sums;
    /* what it was told last */
    struct cfs_change  change;
    uint64_t           epoch;
    struct cfs_version want;
    uint64_t           below;
    uint32_t           cleared; /* bytes of clear.inodes, in all */
    uint32_t           given_up;
};

struct fixture {
    struct cfs_loop  *loop;
    struct cfs_graph *g;
    struct cfs_xl    *rep;
    struct brick      b[N];
    struct cfs_view   view;
    uint32_t          session;
    /* what the owner of the graph heard */
    unsigned          ups, downs, refused, stopped;
    uint32_t          session_told;
    char              why[CFS_ERR_TEXT];
    /* what came back */
    unsigned          done;
    int               status;
};

static struct fixture *fix;

/* -- bricks --------------------------------------------------------------- */

static void reply_read(struct brick *b, struct cfs_read *r)
{
    static uint8_t bytes[4] = {'d', 'a', 't', 'a'};
    uint64_t sum = htole64(XXH3_64bits(bytes, sizeof bytes) + b->bad_sums);

    r->data = (struct cfs_buf){NULL, bytes, sizeof bytes};
    r->sums.p = cfs_arena_dup(&r->req.call->arena, &sum, sizeof sum);
    r->sums.len = sizeof sum;
}

static void fill(struct brick *b, struct cfs_req *req)
{
    switch (req->fop) {
    case CFS_FOP_SESSION_OPEN: {
        struct cfs_session_open *o =
            container_of(req, struct cfs_session_open, req);

        b->given_up = o->who.no;
        o->session = o->who;
        o->session.no = ++fix->session;
        o->holder = (struct cfs_session){.no = 3, .pid = 77,
                                         .node = "other", .where = "/there"};
        return;
    }
    case CFS_FOP_SESSION_ATTACH:
        container_of(req, struct cfs_session_attach, req)->view = fix->view;
        return;
    case CFS_FOP_GETATTR: {
        struct cfs_getattr *g = container_of(req, struct cfs_getattr, req);

        g->attr.gfid = g->gfid;
        g->attr.version = b->version;
        return;
    }
    case CFS_FOP_LOOKUP: {
        struct cfs_lookup *l = container_of(req, struct cfs_lookup, req);

        l->attr.gfid = b->child;
        l->attr.version = b->version;
        return;
    }
    case CFS_FOP_READ:
        reply_read(b, container_of(req, struct cfs_read, req));
        return;
    case CFS_FOP_CLEAR: {
        struct cfs_clear *c = container_of(req, struct cfs_clear, req);

        b->below = c->below;
        b->cleared += c->inodes.len;
        return;
    }
    default:
        return;
    }
}

static void reply(struct brick *b, struct cfs_req *req, int status)
{
    fill(b, req);
    if (status == -ENOTCONN) {
        cfs_unwind(req, status);
        return;
    }
    req->post = (struct cfs_post){.epoch = fix->view.epoch,
                                  .incarnation = 1,
                                  .free = b->free};
    if (req->change)
        req->post.pos = ++b->pos;
    req->post.durable = b->durable;
    cfs_unwind(req, status);
}

static void serve(struct brick *b, struct cfs_req *req)
{
    b->count[req->fop]++;
    b->epoch = req->epoch;
    b->want = req->want;
    if (req->change)
        b->change = *req->change;
    if (b->hold[req->fop]) {
        assert_true(b->n_held < HELD_MAX);
        b->held[b->n_held++] = req;
    } else {
        reply(b, req, b->status[req->fop]);
    }
}

/* Until nobody has anything to say. */
static void turn(void)
{
    bool more;

    do {
        more = false;
        fake_turn(fix->loop);
        for (unsigned i = 0; i < N; i++) {
            struct cfs_req *req;

            while ((req = fake_take(fix->b[i].xl)) != NULL) {
                serve(&fix->b[i], req);
                more = true;
            }
        }
    } while (more);
    fake_turn(fix->loop);
}

/* The oldest that brick @i keeps. */
static struct cfs_req *held(unsigned i)
{
    struct brick *b = &fix->b[i];

    assert_true(b->n_held > 0);
    return b->held[0];
}

static void let(unsigned i, int status)
{
    struct brick *b = &fix->b[i];
    struct cfs_req *req = held(i);

    b->n_held--;
    memmove(b->held, b->held + 1, b->n_held * sizeof b->held[0]);
    reply(b, req, status);
    turn();
}

static void hold_all(enum cfs_fop fop, bool on)
{
    for (unsigned i = 0; i < N; i++)
        fix->b[i].hold[fop] = on;
}

static void event_from(unsigned i, enum cfs_event_type type)
{
    cfs_notify_up(fix->b[i].xl, (struct cfs_event){.type = type});
    turn();
}

/* The connection breaks: what is under way comes back lost. */
static void cut(unsigned i)
{
    struct brick *b = &fix->b[i];
    unsigned n = b->n_held;

    b->n_held = 0;
    for (unsigned k = 0; k < n; k++)
        cfs_unwind(b->held[k], -ENOTCONN);
    event_from(i, CFS_EV_CHILD_DOWN);
}

/* -- a graph -------------------------------------------------------------- */

static void on_event(struct cfs_graph *g, const struct cfs_event *ev)
{
    switch (ev->type) {
    case CFS_EV_CHILD_UP:
        fix->ups++;
        return;
    case CFS_EV_CHILD_DOWN:
        fix->downs++;
        snprintf(fix->why, sizeof fix->why, "%s", ev->err->text);
        return;
    case CFS_EV_AUTH_FAILED:
        fix->refused++;
        snprintf(fix->why, sizeof fix->why, "%s", ev->err->text);
        return;
    case CFS_EV_SESSION:
        fix->session_told = ev->session->no;
        return;
    default:
        return;
    }
}

static void on_stopped(struct cfs_graph *g)
{
    fix->stopped++;
}

static struct cfs_uuid brick_id(unsigned i)
{
    struct cfs_uuid u = {0};

    u.b[15] = (uint8_t)(i + 1);
    return u;
}

static void push_view(void)
{
    cfs_graph_event(fix->g, (struct cfs_event){.type = CFS_EV_VIEW,
                                               .view = &fix->view});
    turn();
}

/* The next view, of the members in @mask. */
static void next_view(unsigned mask)
{
    fix->view.epoch++;
    fix->view.n_sync = 0;
    for (unsigned i = 0; i < N; i++)
        if (mask >> i & 1)
            fix->view.m[fix->view.n_sync++] =
                (struct cfs_member){brick_id(i), 1};
    push_view();
}

static int open_graph(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    const struct cfs_kv opts[] = {
        {"set", "00000000-0000-0000-0000-0000000000c8"},
        {"members", "00000000-0000-0000-0000-000000000001 "
                    "00000000-0000-0000-0000-000000000002 "
                    "00000000-0000-0000-0000-000000000003"},
        {"network.wait", "60ms"},
        {"where", "/mnt"},
    };
    struct cfs_err err = {0};

    fix = calloc(1, sizeof *fix);
    fake_setup();
    cfs_graph_builtin(&cfs_xl_type);
    if (!fix || cfs_loop_new(&fix->loop, NULL) < 0 ||
        cfs_graph_new(fix->loop, NULL, NULL, &fix->g) < 0)
        return -1;
    fix->g->on_event = on_event;
    fix->g->on_stopped = on_stopped;
    for (unsigned i = 0; i < N; i++)
        if (cfs_graph_add(fix->g, names[i], "test/fake", NULL, 0, NULL, 0,
                          &err) < 0)
            return -1;
    if (cfs_graph_add(fix->g, "rep", "cluster/replicate", opts,
                      CFS_ARRAY_SIZE(opts), names, N, &err) < 0 ||
        cfs_graph_init(fix->g, &err) < 0) {
        print_error("%s\n", err.text);
        return -1;
    }
    fix->rep = fix->g->top;
    fix->view.set.b[15] = 0xc8;
    for (unsigned i = 0; i < N; i++) {
        fix->b[i].xl = cfs_graph_find(fix->g, names[i]);
        fix->b[i].version = (struct cfs_version){1, 5};
        fix->b[i].child = cfs_gfid_make(900);
        fix->b[i].free = (uint64_t)1 << 30;
    }
    return 0;
}

/* Everything is there: the session is open, the set is served. */
static int open_mounted(void **state)
{
    if (open_graph(state) < 0)
        return -1;
    cfs_graph_parent_up(fix->g);
    next_view(7);
    for (unsigned i = 0; i < N; i++)
        event_from(i, CFS_EV_CHILD_CONNECTING);
    return fix->ups == 1 ? 0 : -1;
}

static int close_graph(void **state)
{
    for (unsigned i = 0; i < N; i++) {
        memset(fix->b[i].hold, 0, sizeof fix->b[i].hold);
        cut(i);
    }
    cfs_graph_stop(fix->g);
    for (unsigned i = 0; i < 100 && !fix->stopped; i++)
        turn();
    assert_int_equal(fix->stopped, 1);
    cfs_graph_free(fix->g);
    cfs_loop_free(fix->loop);
    cfs_buf_pool_drain();
    free(fix);
    return 0;
}

/* -- operations ----------------------------------------------------------- */

#define DONE(lower)                                                          \
    static void lower##_done(struct cfs_##lower *op, int status)             \
    {                                                                        \
        fix->done++;                                                         \
        fix->status = status;                                                \
    }
DONE(create)
DONE(write)
DONE(unlink)
DONE(fsync)
DONE(read)
#undef DONE

static struct cfs_call *call(void)
{
    return cfs_call_begin(fix->g);
}

static struct cfs_call *write_to(uint64_t ino)
{
    static uint8_t bytes[4] = {'d', 'a', 't', 'a'};
    struct cfs_call *c = call();
    struct cfs_write *w = cfs_call_new(c, struct cfs_write);

    w->req.call = c;
    w->gfid = cfs_gfid_make(ino);
    w->data = (struct cfs_buf){NULL, bytes, sizeof bytes};
    cfs_wind_write(fix->rep, w, write_done);
    turn();
    return c;
}

static struct cfs_call *create_in(uint64_t parent, uint64_t ino)
{
    struct cfs_call *c = call();
    struct cfs_create *w = cfs_call_new(c, struct cfs_create);

    w->req.call = c;
    w->parent = cfs_gfid_make(parent);
    w->gfid = cfs_gfid_make(ino);
    w->name = cfs_test_name("name");
    w->mode = 0100644;
    cfs_wind_create(fix->rep, w, create_done);
    turn();
    return c;
}

static struct cfs_call *read_of(uint64_t ino)
{
    struct cfs_call *c = call();
    struct cfs_read *r = cfs_call_new(c, struct cfs_read);

    r->req.call = c;
    r->gfid = cfs_gfid_make(ino);
    r->size = 4096;
    cfs_wind_read(fix->rep, r, read_done);
    turn();
    return c;
}

static struct cfs_call *fsync_of(uint64_t ino)
{
    struct cfs_call *c = call();
    struct cfs_fsync *s = cfs_call_new(c, struct cfs_fsync);

    s->req.call = c;
    s->gfid = cfs_gfid_make(ino);
    cfs_wind_fsync(fix->rep, s, fsync_done);
    turn();
    return c;
}

static bool is_done(void *arg)
{
    return fix->done >= *(unsigned *)arg;
}

/* Real time passes until @n operations came back. */
static void wait_done(unsigned n)
{
    cfs_loop_run_until(fix->loop, is_done, &n);
}

/* -- sessions ------------------------------------------------------------- */

static void a_mount_opens_at_the_master_and_attaches_everywhere(void **state)
{
    cfs_graph_parent_up(fix->g);
    next_view(7);
    event_from(1, CFS_EV_CHILD_CONNECTING);
    event_from(2, CFS_EV_CHILD_CONNECTING);
    assert_int_equal(fix->b[1].count[CFS_FOP_SESSION_OPEN], 0);
    assert_int_equal(fix->b[1].count[CFS_FOP_SESSION_ATTACH], 0);
    event_from(0, CFS_EV_CHILD_CONNECTING);
    assert_int_equal(fix->b[0].count[CFS_FOP_SESSION_OPEN], 1);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(fix->b[i].count[CFS_FOP_SESSION_ATTACH], 1);
    assert_int_equal(fix->session_told, 1);
    assert_int_equal(fix->ups, 1);
    assert_int_equal(fix->downs, 0);
}

static void it_is_up_only_when_every_member_is_attached(void **state)
{
    fix->b[2].hold[CFS_FOP_SESSION_ATTACH] = true;
    cfs_graph_parent_up(fix->g);
    next_view(7);
    for (unsigned i = 0; i < N; i++)
        event_from(i, CFS_EV_CHILD_CONNECTING);
    assert_int_equal(fix->ups, 0);
    let(2, 0);
    assert_int_equal(fix->ups, 1);
}

static bool is_asked(void *arg)
{
    return fix->b[0].count[CFS_FOP_SESSION_OPEN] == *(unsigned *)arg;
}

static void a_second_mount_is_refused_with_the_holder(void **state)
{
    fix->b[0].status[CFS_FOP_SESSION_OPEN] = -CFS_E_IN_USE;
    cfs_graph_parent_up(fix->g);
    next_view(7);
    for (unsigned i = 0; i < N; i++)
        event_from(i, CFS_EV_CHILD_CONNECTING);
    for (unsigned asked = 2; asked <= 3; asked++) {
        assert_int_equal(fix->refused, 0); /* not before it is certain */
        cfs_loop_run_until(fix->loop, is_asked, &asked);
        turn();
    }
    assert_int_equal(fix->refused, 1);
    assert_non_null(strstr(fix->why, "other"));
    assert_non_null(strstr(fix->why, "/there"));
    assert_non_null(strstr(fix->why, "77"));
    assert_int_equal(fix->ups, 0);
    assert_int_equal(fix->b[0].count[CFS_FOP_SESSION_OPEN], 3);
}

static void a_reconnected_member_is_attached_again(void **state)
{
    cut(1);
    event_from(1, CFS_EV_CHILD_CONNECTING);
    assert_int_equal(fix->b[1].count[CFS_FOP_SESSION_ATTACH], 2);
    assert_int_equal(fix->b[0].count[CFS_FOP_SESSION_ATTACH], 1);
    assert_int_equal(fix->downs, 0);
}

static void a_fenced_session_fails_what_it_sent_and_is_followed(void **state)
{
    struct cfs_call *c;

    hold_all(CFS_FOP_WRITE, true);
    c = write_to(10);
    fix->b[1].hold[CFS_FOP_SESSION_ATTACH] = true;
    cut(1);
    event_from(1, CFS_EV_CHILD_CONNECTING);
    fix->b[1].hold[CFS_FOP_SESSION_ATTACH] = false;
    let(1, -CFS_E_SESSION);
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->status, -EIO);
    cfs_call_end(c);
    assert_int_equal(fix->b[0].count[CFS_FOP_SESSION_OPEN], 2);
    assert_int_equal(fix->b[0].given_up, 1);
    let(0, 0); /* late answers are nobody's */
    let(2, 0);
    assert_int_equal(fix->session_told, 2);
    hold_all(CFS_FOP_WRITE, false);
    cfs_call_end(write_to(10));
    assert_int_equal(fix->status, 0);
    assert_int_equal(fix->b[1].change.session, 2);
    assert_int_equal(fix->b[1].change.no, 1);
}

/* -- changes -------------------------------------------------------------- */

static void a_change_goes_to_all_and_is_answered_by_all(void **state)
{
    struct cfs_call *c;

    hold_all(CFS_FOP_CREATE, true);
    c = create_in(10, 11);
    for (unsigned i = 0; i < N; i++) {
        const struct cfs_change *w = &fix->b[i].change;

        assert_int_equal(fix->b[i].count[CFS_FOP_CREATE], 1);
        assert_int_equal(w->session, 1);
        assert_int_equal(w->no, 1);
        assert_int_equal(w->n, 2);
        assert_int_equal(w->touch[0].expect.seq, 5); /* as getattr said */
        assert_int_equal(w->touch[0].make.seq, 6);
        assert_int_equal(w->touch[1].expect.seq, 0);
        assert_int_equal(w->touch[1].make.seq, 1);
        assert_int_equal(fix->b[i].epoch, 1);
    }
    assert_int_equal(fix->b[0].count[CFS_FOP_GETATTR], 1);
    let(0, 0);
    let(1, 0);
    assert_int_equal(fix->done, 0);
    let(2, 0);
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->status, 0);
    cfs_call_end(c);
}

static void the_version_that_was_made_is_known(void **state)
{
    cfs_call_end(write_to(10));
    cfs_call_end(write_to(10));
    assert_int_equal(fix->done, 2);
    assert_int_equal(fix->b[0].count[CFS_FOP_GETATTR], 1);
    assert_int_equal(fix->b[2].change.touch[0].expect.seq, 6);
    assert_int_equal(fix->b[2].change.touch[0].make.seq, 7);
    cfs_call_end(read_of(10));
    assert_int_equal(fix->b[0].want.seq, 7);
}

static void changes_of_one_inode_go_one_by_one(void **state)
{
    struct cfs_call *a, *b, *c;

    hold_all(CFS_FOP_WRITE, true);
    a = write_to(10);
    b = write_to(10);
    c = write_to(20);
    assert_int_equal(fix->b[0].n_held, 2); /* the first of 10, and 20 */
    for (unsigned i = 0; i < N; i++)
        let(i, 0);
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->b[0].n_held, 2); /* 20, and the second of 10 */
    for (unsigned i = 0; i < N; i++) {
        let(i, 0);
        let(i, 0);
    }
    assert_int_equal(fix->done, 3);
    cfs_call_end(a);
    cfs_call_end(b);
    cfs_call_end(c);
}

static void acked_below_stays_under_what_is_not_answered(void **state)
{
    struct cfs_call *a;

    fix->b[1].hold[CFS_FOP_WRITE] = true;
    a = write_to(10); /* 1, stays open */
    fix->b[1].hold[CFS_FOP_WRITE] = false;
    cfs_call_end(write_to(20));
    cfs_call_end(write_to(30));
    assert_int_equal(fix->b[0].change.no, 3);
    assert_int_equal(fix->b[0].change.acked_below, 1);
    let(1, 0);
    cfs_call_end(a);
    cfs_call_end(write_to(20));
    assert_int_equal(fix->b[0].change.no, 4);
    assert_int_equal(fix->b[0].change.acked_below, 4);
}

static void the_same_error_everywhere_is_the_result(void **state)
{
    for (unsigned i = 0; i < N; i++)
        fix->b[i].status[CFS_FOP_CREATE] = -EEXIST;
    cfs_call_end(create_in(10, 11));
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->status, -EEXIST);
    cfs_call_end(write_to(10));
    assert_int_equal(fix->b[0].change.touch[0].expect.seq, 5); /* unused */
}

static void a_lost_leg_is_repeated_when_its_member_is_back(void **state)
{
    struct cfs_call *c;

    fix->b[1].hold[CFS_FOP_WRITE] = true;
    c = write_to(10);
    cut(1);
    assert_int_equal(fix->done, 0);
    fix->b[1].hold[CFS_FOP_WRITE] = false;
    event_from(1, CFS_EV_CHILD_CONNECTING);
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->status, 0);
    assert_int_equal(fix->b[1].count[CFS_FOP_WRITE], 2);
    assert_int_equal(fix->b[1].change.no, 1);
    assert_int_equal(fix->b[0].count[CFS_FOP_WRITE], 1);
    cfs_call_end(c);
}

static void a_new_view_repeats_with_the_same_number(void **state)
{
    struct cfs_call *c;
    struct cfs_change first;

    fix->b[2].hold[CFS_FOP_WRITE] = true;
    c = write_to(10);
    first = fix->b[0].change;
    cut(2);
    assert_int_equal(fix->done, 0);
    next_view(3);
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->status, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(fix->b[i].count[CFS_FOP_WRITE], 2);
        assert_int_equal(fix->b[i].epoch, 2);
        assert_int_equal(fix->b[i].change.no, first.no);
        assert_memory_equal(fix->b[i].change.touch, first.touch,
                            sizeof first.touch);
        assert_int_equal(fix->b[i].count[CFS_FOP_SESSION_ATTACH], 2);
    }
    assert_int_equal(fix->b[2].count[CFS_FOP_WRITE], 1);
    cfs_call_end(c);
}

static void members_that_disagree_wait_for_a_view(void **state)
{
    struct cfs_call *c;

    fix->b[1].status[CFS_FOP_WRITE] = -EIO;
    c = write_to(10);
    assert_int_equal(fix->done, 0);
    next_view(5);
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->status, 0);
    cfs_call_end(c);
}

static void an_unexpected_version_is_looked_up_again(void **state)
{
    cfs_call_end(write_to(10));
    for (unsigned i = 0; i < N; i++) {
        fix->b[i].version.seq = 9; /* somebody else changed it */
        fix->b[i].hold[CFS_FOP_WRITE] = true;
    }
    fix->done = 0;
    {
        struct cfs_call *c = write_to(10);

        assert_int_equal(fix->b[0].change.touch[0].expect.seq, 6);
        hold_all(CFS_FOP_WRITE, false);
        for (unsigned i = 0; i < N; i++)
            let(i, -CFS_E_VERSION);
        assert_int_equal(fix->done, 1);
        assert_int_equal(fix->status, 0);
        assert_int_equal(fix->b[0].change.touch[0].expect.seq, 9);
        assert_int_equal(fix->b[0].change.no, 3);
        cfs_call_end(c);
    }
}

static void looking_again_has_an_end(void **state)
{
    for (unsigned i = 0; i < N; i++)
        fix->b[i].status[CFS_FOP_WRITE] = -CFS_E_VERSION;
    cfs_call_end(write_to(10));
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->status, -EIO);
    assert_int_equal(fix->b[0].count[CFS_FOP_WRITE], REP_TRIES);
}

static void a_name_that_is_not_known_is_looked_up(void **state)
{
    struct cfs_call *c = call();
    struct cfs_unlink *u = cfs_call_new(c, struct cfs_unlink);

    u->req.call = c;
    u->parent = cfs_gfid_make(10);
    u->name = cfs_test_name("gone");
    cfs_wind_unlink(fix->rep, u, unlink_done);
    turn();
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->b[0].count[CFS_FOP_LOOKUP], 1);
    assert_int_equal(fix->b[0].change.n, 2);
    assert_gfid_equal(fix->b[0].change.touch[1].gfid, cfs_gfid_make(900));
    assert_int_equal(fix->status, 0);
    cfs_call_end(c);
}

static void a_name_that_is_something_else_is_looked_up_again(void **state)
{
    struct cfs_call *c = call();
    struct cfs_unlink *u = cfs_call_new(c, struct cfs_unlink);

    hold_all(CFS_FOP_UNLINK, true);
    u->req.call = c;
    u->parent = cfs_gfid_make(10);
    u->child = cfs_gfid_make(800); /* so the caller thinks */
    u->name = cfs_test_name("gone");
    cfs_wind_unlink(fix->rep, u, unlink_done);
    turn();
    assert_int_equal(fix->b[0].count[CFS_FOP_LOOKUP], 0);
    assert_gfid_equal(fix->b[0].change.touch[1].gfid, cfs_gfid_make(800));
    hold_all(CFS_FOP_UNLINK, false);
    for (unsigned i = 0; i < N; i++)
        let(i, -CFS_E_CONFLICT);
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->status, 0);
    assert_gfid_equal(fix->b[0].change.touch[1].gfid, cfs_gfid_make(900));
    assert_int_equal(fix->b[0].change.no, 2);
    cfs_call_end(c);
}

static void a_full_member_refuses_for_all_before_anything_is_sent(void **state)
{
    fix->b[1].free = 1000;
    cfs_call_end(read_of(10));
    cfs_call_end(fsync_of(10)); /* its reply tells */
    cfs_call_end(write_to(10));
    assert_int_equal(fix->done, 3);
    assert_int_equal(fix->status, -ENOSPC);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(fix->b[i].count[CFS_FOP_WRITE], 0);
    fix->b[1].free = 1 << 20; /* asked anew each time */
    cfs_call_end(write_to(10));
    assert_int_equal(fix->status, 0);
}

static void an_fsync_asks_every_member(void **state)
{
    cfs_call_end(write_to(10));
    cfs_call_end(fsync_of(10));
    assert_int_equal(fix->status, 0);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(fix->b[i].count[CFS_FOP_FSYNC], 1);
        assert_int_equal(fix->b[i].want.seq, 6);
    }
}

/* -- waiting -------------------------------------------------------------- */

static void what_was_not_sent_fails_with_enotconn(void **state)
{
    struct cfs_call *c, *r;

    for (unsigned i = 0; i < N; i++)
        cut(i);
    c = write_to(10);
    r = read_of(10);
    assert_int_equal(fix->done, 0);
    wait_done(1);
    assert_int_equal(fix->status, -ENOTCONN);
    wait_done(2);
    assert_int_equal(fix->status, -ENOTCONN);
    cfs_call_end(c);
    cfs_call_end(r);
}

static void what_was_sent_fails_with_eio_and_is_settled_later(void **state)
{
    struct cfs_call *a, *b;

    fix->b[1].hold[CFS_FOP_WRITE] = true;
    a = write_to(10);
    cut(1);
    wait_done(1);
    assert_int_equal(fix->status, -EIO);
    cfs_call_end(a);
    fix->b[1].hold[CFS_FOP_WRITE] = false;
    fix->done = 0;
    event_from(1, CFS_EV_CHILD_CONNECTING);
    assert_int_equal(fix->b[1].count[CFS_FOP_WRITE], 2); /* it is there too */
    b = write_to(10);
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->status, 0);
    assert_int_equal(fix->b[1].change.touch[0].expect.seq, 6);
    cfs_call_end(b);
}

/* -- reads ---------------------------------------------------------------- */

static void a_read_goes_to_one_and_to_another_when_that_is_lost(void **state)
{
    struct cfs_call *c;

    fix->b[0].hold[CFS_FOP_READ] = true;
    c = read_of(10);
    assert_int_equal(fix->b[1].count[CFS_FOP_READ], 0);
    cut(0);
    assert_int_equal(fix->b[1].count[CFS_FOP_READ], 1);
    assert_int_equal(fix->done, 1);
    assert_int_equal(fix->status, 0);
    cfs_call_end(c);
}

static void data_that_does_not_match_is_read_elsewhere(void **state)
{
    fix->b[0].bad_sums = true;
    cfs_call_end(read_of(10));
    assert_int_equal(fix->status, 0);
    assert_int_equal(fix->b[1].count[CFS_FOP_READ], 1);
    fix->b[1].bad_sums = fix->b[2].bad_sums = true;
    cfs_call_end(read_of(10));
    assert_int_equal(fix->status, -CFS_E_CHECKSUM);
}

/* -- clearing and stopping ------------------------------------------------ */

static void clearing_waits_until_all_have_it_durably(void **state)
{
    struct rep *rep = fix->rep->priv;

    cfs_call_end(write_to(10));
    for (unsigned i = 0; i < N; i++)
        fix->b[i].durable = fix->b[i].pos + 1;
    fix->b[2].durable = fix->b[2].pos; /* not yet */
    cfs_call_end(fsync_of(10));
    rep_clear_now(&rep->core, cfs_now(fix->loop));
    turn();
    assert_int_equal(fix->b[0].cleared, 0);
    fix->b[2].durable++;
    cfs_call_end(fsync_of(10));
    rep_clear_now(&rep->core, cfs_now(fix->loop));
    turn();
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(fix->b[i].cleared, REP_CLEAR_PACKED);
        assert_int_equal(fix->b[i].below, 2);
    }
}

static void nothing_is_cleared_while_a_brick_is_out(void **state)
{
    struct rep *rep = fix->rep->priv;

    cfs_call_end(write_to(10));
    next_view(3);
    cfs_call_end(write_to(20));
    for (unsigned i = 0; i < N; i++)
        fix->b[i].durable = fix->b[i].pos + 1;
    cfs_call_end(fsync_of(10));
    rep_clear_now(&rep->core, cfs_now(fix->loop));
    turn();
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(fix->b[i].count[CFS_FOP_CLEAR], 0);
}

static void a_stop_clears_and_closes_at_every_member(void **state)
{
    struct cfs_call *c;

    hold_all(CFS_FOP_WRITE, true);
    c = write_to(10);
    for (unsigned i = 0; i < N; i++)
        fix->b[i].durable = 100;
    fake_trace[0] = '\0';
    cfs_graph_stop(fix->g);
    turn();
    assert_int_equal(fix->b[0].count[CFS_FOP_SESSION_CLOSE], 0);
    for (unsigned i = 0; i < N; i++)
        let(i, 0);
    assert_int_equal(fix->status, 0);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(fix->b[i].cleared, REP_CLEAR_PACKED);
        assert_int_equal(fix->b[i].count[CFS_FOP_SESSION_CLOSE], 1);
    }
    assert_non_null(strstr(fake_trace, "parent-down:a parent-down:b"));
    assert_int_equal(fix->stopped, 0); /* a call is open */
    cfs_call_end(c);
    turn();
    assert_int_equal(fix->stopped, 1);
}

#define MOUNTED(f) cmocka_unit_test_setup_teardown(f, open_mounted, close_graph)
#define FRESH(f)   cmocka_unit_test_setup_teardown(f, open_graph, close_graph)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(a_mount_opens_at_the_master_and_attaches_everywhere),
        FRESH(it_is_up_only_when_every_member_is_attached),
        FRESH(a_second_mount_is_refused_with_the_holder),
        MOUNTED(a_reconnected_member_is_attached_again),
        MOUNTED(a_fenced_session_fails_what_it_sent_and_is_followed),
        MOUNTED(a_change_goes_to_all_and_is_answered_by_all),
        MOUNTED(the_version_that_was_made_is_known),
        MOUNTED(changes_of_one_inode_go_one_by_one),
        MOUNTED(acked_below_stays_under_what_is_not_answered),
        MOUNTED(the_same_error_everywhere_is_the_result),
        MOUNTED(a_lost_leg_is_repeated_when_its_member_is_back),
        MOUNTED(a_new_view_repeats_with_the_same_number),
        MOUNTED(members_that_disagree_wait_for_a_view),
        MOUNTED(an_unexpected_version_is_looked_up_again),
        MOUNTED(looking_again_has_an_end),
        MOUNTED(a_name_that_is_not_known_is_looked_up),
        MOUNTED(a_name_that_is_something_else_is_looked_up_again),
        MOUNTED(a_full_member_refuses_for_all_before_anything_is_sent),
        MOUNTED(an_fsync_asks_every_member),
        MOUNTED(what_was_not_sent_fails_with_enotconn),
        MOUNTED(what_was_sent_fails_with_eio_and_is_settled_later),
        MOUNTED(a_read_goes_to_one_and_to_another_when_that_is_lost),
        MOUNTED(data_that_does_not_match_is_read_elsewhere),
        MOUNTED(clearing_waits_until_all_have_it_durably),
        MOUNTED(nothing_is_cleared_while_a_brick_is_out),
        MOUNTED(a_stop_clears_and_closes_at_every_member),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
