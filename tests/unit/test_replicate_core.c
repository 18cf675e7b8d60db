/* SPDX-License-Identifier: Apache-2.0 */
/* test_replicate_core.c - the rules of replication that need time: what the
 * core asks for is written down, and answered by the test, at times that the
 * test chooses. Also the table of versions.
 */
#include "cfs_test.h"

#include <stdlib.h>

#include "xlators/cluster/replicate/replicate_core.h"

#define N 3u

struct fixture {
    struct rep_core core;
    uint64_t        now;
    unsigned        opens, attaches[N], sends[N], wants, ups, downs,
                    refused, held_up;
    uint32_t        given_up;
    unsigned        answers, releases;
    int             status; /* of the last answer */
    unsigned        differs, who;
    struct cfs_time time;
};

static struct fixture *fix;

static void on_open(struct rep_core *c, unsigned m, uint32_t given_up)
{
    fix->opens++;
    fix->given_up = given_up;
}

static void on_attach(struct rep_core *c, unsigned m)
{
    fix->attaches[m]++;
}

static void on_member(struct rep_core *c, unsigned m)
{
}

static void on_look(struct rep_core *c, struct rep_change *ch,
                    struct cfs_gfid g)
{
}

static void on_again(struct rep_core *c, struct rep_change *ch)
{
}

static void on_send(struct rep_core *c, struct rep_change *ch, unsigned m)
{
    fix->sends[m]++;
}

static void on_answer(struct rep_core *c, struct rep_change *ch, int status,
                      int m)
{
    fix->answers++;
    fix->status = status;
}

static void on_release(struct rep_core *c, struct rep_change *ch)
{
    fix->releases++;
}

static void on_read(struct rep_core *c, struct rep_read *rd, unsigned m)
{
}

static void on_read_end(struct rep_core *c, struct rep_read *rd, int status)
{
}

static void on_nothing(struct rep_core *c)
{
}

static void on_up(struct rep_core *c)
{
    fix->ups++;
}

static void on_down(struct rep_core *c)
{
    fix->downs++;
}

static void on_refused(struct rep_core *c, const struct cfs_session *holder)
{
    fix->refused++;
}

static void on_held_up(struct rep_core *c, const struct cfs_session *holder)
{
    fix->held_up++;
}

static void on_want(struct rep_core *c)
{
    fix->wants++;
}

static void on_differs(struct rep_core *c, unsigned m)
{
    fix->differs++;
    fix->who = m;
}

static struct cfs_time on_realtime(struct rep_core *c)
{
    return fix->time;
}

static void on_note(struct rep_core *c, enum cfs_log_level level,
                    const char *text)
{
}

static const struct rep_io io = {
    .session_open = on_open, .session_attach = on_attach, .info = on_member,
    .clear = on_member, .look = on_look, .again = on_again, .send = on_send,
    .answer = on_answer, .release = on_release, .read = on_read,
    .read_end = on_read_end, .flush = on_nothing, .up = on_up,
    .down = on_down, .refused = on_refused,
    .held_up = on_held_up, .session = on_nothing,
    .want_view = on_want, .differs = on_differs, .idle = on_nothing,
    .realtime = on_realtime,
    .note = on_note,
};

/* -- driving -------------------------------------------------------------- */

static struct cfs_uuid brick(unsigned i)
{
    return (struct cfs_uuid){{(uint8_t)(i + 1)}};
}

static struct cfs_view view_of(uint64_t epoch, unsigned mask)
{
    struct cfs_view v = {.epoch = epoch};

    for (unsigned i = 0; i < N; i++)
        if (mask >> i & 1)
            v.m[v.n_sync++] = (struct cfs_member){brick(i), 1};
    return v;
}

static void view(uint64_t epoch, unsigned mask)
{
    struct cfs_view v = view_of(epoch, mask);

    assert_true(rep_view(&fix->core, &v, fix->now));
}

/* Time passes, as the core's timer sees it. */
static void pass(uint64_t ns)
{
    uint64_t end = fix->now + ns;

    while (fix->core.due <= end) {
        if (fix->core.due > fix->now)
            fix->now = fix->core.due;
        rep_tick(&fix->core, fix->now);
    }
    fix->now = end;
}

static void attached(unsigned m, int status)
{
    rep_attached(&fix->core, m, status, &fix->core.view, fix->now);
}

static void opened(uint32_t no)
{
    struct cfs_session s = {.no = no};

    rep_opened(&fix->core, 0, &s, &s, fix->now);
}

static void serve_all(void)
{
    view(1, 7);
    for (unsigned i = 0; i < N; i++)
        rep_connected(&fix->core, i, fix->now);
    opened(1);
    for (unsigned i = 0; i < N; i++)
        attached(i, 0);
    assert_true(fix->core.usable);
}

static void change(struct rep_change *ch, uint64_t ino)
{
    struct cfs_gfid g = cfs_gfid_make(ino);

    rep_learn(&fix->core, g, (struct cfs_version){1, 1});
    rep_change_add(ch, g, REP_TOUCH_CHANGE);
    rep_change_start(&fix->core, ch, fix->now);
}

static void answered(struct rep_change *ch, unsigned m, int status)
{
    struct cfs_post post = {.epoch = 1, .incarnation = 1};

    rep_change_answered(&fix->core, ch, m, status, &post, fix->now);
}

static int open_core(void **state)
{
    struct cfs_uuid bricks[N] = {brick(0), brick(1), brick(2)};

    fix = calloc(1, sizeof *fix);
    if (!fix)
        return -1;
    fix->now = 1000 * CFS_SEC;
    if (rep_core_init(&fix->core, &io, fix, bricks, N, fix->now) < 0)
        return -1;
    rep_start(&fix->core, fix->now);
    return 0;
}

static int close_core(void **state)
{
    rep_core_fini(&fix->core);
    free(fix);
    return 0;
}

/* -- the set -------------------------------------------------------------- */

static void the_first_event_waits_ten_seconds_at_most(void **state)
{
    view(1, 7);
    rep_connected(&fix->core, 0, fix->now);
    opened(1);
    attached(0, 0);
    pass(9 * CFS_SEC);
    assert_int_equal(fix->ups + fix->downs, 0);
    pass(2 * CFS_SEC);
    assert_int_equal(fix->downs, 1);
    pass(20 * CFS_SEC);
    assert_int_equal(fix->downs, 1);
    view(2, 1); /* the others are out: now it can be served */
    attached(0, 0);
    assert_int_equal(fix->ups, 1);
}

static void a_new_view_is_no_reason_to_say_down(void **state)
{
    serve_all();
    view(2, 7);
    assert_false(fix->core.usable);
    assert_int_equal(fix->downs, 0);
    for (unsigned i = 0; i < N; i++)
        attached(i, 0);
    assert_true(fix->core.usable);
    assert_int_equal(fix->ups, 1);
}

static void older_and_foreign_views_are_not_taken(void **state)
{
    struct cfs_view v = view_of(4, 7);

    view(5, 7);
    assert_false(rep_view(&fix->core, &v, fix->now));
    v.epoch = 6;
    v.n_sync = 0;
    assert_false(rep_view(&fix->core, &v, fix->now));
    v = view_of(6, 7);
    v.n_syncing = CFS_SET_MAX; /* more than fit */
    assert_false(rep_view(&fix->core, &v, fix->now));
    v = view_of(1, 7);
    v.lineage = 1; /* a later life of the store */
    assert_true(rep_view(&fix->core, &v, fix->now));
    v = view_of(9, 7);
    assert_false(rep_view(&fix->core, &v, fix->now));
}

static void a_view_with_an_unknown_brick_is_not_served(void **state)
{
    struct cfs_view v = view_of(2, 7);

    serve_all();
    v.m[v.n_sync++] = (struct cfs_member){brick(77), 1};
    assert_true(rep_view(&fix->core, &v, fix->now));
    for (unsigned i = 0; i < N; i++)
        rep_connected(&fix->core, i, fix->now);
    assert_false(fix->core.usable);
}

static void a_member_that_lacks_the_view_is_asked_again_soon(void **state)
{
    view(1, 7);
    for (unsigned i = 0; i < N; i++)
        rep_connected(&fix->core, i, fix->now);
    opened(1);
    attached(1, -CFS_E_EPOCH);
    assert_int_equal(fix->attaches[1], 1);
    assert_true(fix->wants > 0);
    pass(100 * CFS_MS);
    assert_int_equal(fix->attaches[1], 2);
}

static void an_answer_of_an_older_connection_attaches_nothing(void **state)
{
    view(1, 7);
    rep_connected(&fix->core, 0, fix->now);
    opened(1);
    assert_int_equal(fix->attaches[0], 1);
    rep_disconnected(&fix->core, 0, fix->now);
    rep_connected(&fix->core, 0, fix->now);
    attached(0, 0); /* of the first */
    assert_false(fix->core.m[0].attached);
    assert_int_equal(fix->attaches[0], 2);
}

static void a_session_that_is_refused_at_once_is_not_hammered(void **state)
{
    view(1, 7);
    rep_connected(&fix->core, 0, fix->now);
    opened(1);
    attached(0, -CFS_E_SESSION);
    assert_int_equal(fix->opens, 1);
    pass(2 * CFS_SEC);
    assert_int_equal(fix->opens, 2);
    assert_int_equal(fix->given_up, 1);
}

/* The master says that session 3 has the volume, and in which state. */
static void in_use(enum cfs_session_state state)
{
    struct cfs_session s = {0}, holder = {.no = 3, .state = state};

    rep_opened(&fix->core, -CFS_E_IN_USE, &s, &holder, fix->now);
}

static void who_lives_keeps_others_out_after_three_answers(void **state)
{
    view(1, 7);
    rep_connected(&fix->core, 0, fix->now);
    for (unsigned i = 1; i < 3; i++) {
        in_use(CFS_SESSION_LIVE);
        assert_int_equal(fix->opens, i);
        pass(CFS_SEC);
        assert_int_equal(fix->opens, i + 1);
    }
    in_use(CFS_SESSION_LIVE);
    assert_int_equal(fix->refused, 1);
    pass(10 * CFS_SEC);
    assert_int_equal(fix->opens, 3);
    assert_int_equal(fix->held_up, 0);
}

static void who_is_silent_is_waited_for(void **state)
{
    view(1, 7);
    rep_connected(&fix->core, 0, fix->now);
    in_use(CFS_SESSION_LIVE);
    pass(CFS_SEC);
    in_use(CFS_SESSION_LIVE);
    pass(CFS_SEC);
    for (unsigned i = 0; i < 20; i++) {
        in_use(CFS_SESSION_FENCED);
        pass(CFS_SEC);
    }
    assert_int_equal(fix->held_up, 1);
    assert_int_equal(fix->refused, 0);
    opened(4);
    attached(0, 0);
    assert_int_equal(fix->core.session.no, 4);
}

static void a_session_answer_of_an_older_view_is_not_used(void **state)
{
    view(1, 7);
    rep_connected(&fix->core, 0, fix->now);
    rep_connected(&fix->core, 1, fix->now);
    view(2, 6); /* another master */
    opened(1);
    assert_int_equal(fix->core.session.no, 0);
    assert_int_equal(fix->opens, 2);
}

/* -- changes -------------------------------------------------------------- */

static void who_queues_behind_a_stuck_change_fails_with_it(void **state)
{
    struct rep_change ch[4] = {0};

    serve_all();
    for (unsigned i = 0; i < N; i++)
        rep_disconnected(&fix->core, i, fix->now);
    for (unsigned i = 0; i < 4; i++)
        change(&ch[i], 10);
    pass(14 * CFS_SEC);
    assert_int_equal(fix->answers, 0);
    pass(2 * CFS_SEC);
    assert_int_equal(fix->answers, 4);
    assert_int_equal(fix->releases, 4);
    assert_int_equal(fix->status, -ENOTCONN);
}

static void a_slow_answer_is_waited_for(void **state)
{
    struct rep_change a = {0}, b = {0};

    serve_all();
    change(&a, 10);
    change(&b, 10);
    pass(100 * CFS_SEC);
    assert_int_equal(fix->answers, 0);
    for (unsigned i = 0; i < N; i++)
        answered(&a, i, 0);
    for (unsigned i = 0; i < N; i++)
        answered(&b, i, 0);
    assert_int_equal(fix->answers, 2);
    assert_int_equal(fix->status, 0);
}

static void an_answer_of_an_older_view_does_not_settle(void **state)
{
    struct rep_change ch = {0};

    serve_all();
    change(&ch, 10);
    answered(&ch, 0, 0);
    view(2, 7);
    answered(&ch, 1, 0);
    answered(&ch, 2, 0);
    assert_int_equal(fix->answers, 0);
    for (unsigned i = 0; i < N; i++)
        attached(i, 0);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(fix->sends[i], 2);
        answered(&ch, i, 0);
    }
    assert_int_equal(fix->answers, 1);
}

/* Nobody else knows of it: the device of the one works, but for a block. */
static void who_cannot_do_what_others_did_is_named(void **state)
{
    static const struct {
        int      says[N];
        unsigned who;
    } t[] = {
        {{0, 0, -CFS_E_CHECKSUM}, 2},
        {{-CFS_E_CORRUPT, 0, 0}, 0},
        {{-EIO, -ENOSPC, 0}, 0},
        {{-CFS_E_CORRUPT, -EEXIST, -EEXIST}, 0},
        {{-EEXIST, -EEXIST, -ENOSPC}, 2},
    };

    serve_all();
    for (unsigned k = 0; k < CFS_ARRAY_SIZE(t); k++) {
        struct rep_change *ch = calloc(1, sizeof *ch);

        pass(CFS_SEC);
        change(ch, 10 + k);
        for (unsigned i = 0; i < N; i++)
            answered(ch, i, t[k].says[i]);
        assert_int_equal(fix->differs, 1);
        assert_int_equal(fix->who, t[k].who);
        pass(3 * CFS_SEC); /* it may not have been heard */
        assert_in_range(fix->differs, 4, 8);
        view(2 + k, 7 & ~(1u << t[k].who));
        for (unsigned i = 0; i < N; i++)
            if (i != t[k].who)
                attached(i, 0);
        for (unsigned i = 0; i < N; i++)
            if (i != t[k].who)
                answered(ch, i, 0);
        assert_int_equal(fix->status, 0);
        free(ch);
        /* All are members again. */
        rep_core_fini(&fix->core);
        free(fix);
        open_core(state);
        serve_all();
    }
}

/* What members remember follows from it, and is compared at a death. */
static void a_repeat_says_the_same_acked_below(void **state)
{
    struct rep_change first = {0}, second = {0};

    serve_all();
    change(&first, 10);
    change(&second, 11);
    assert_int_equal(second.wire.acked_below, 1);
    answered(&second, 1, 0);
    answered(&second, 2, 0);
    for (unsigned i = 0; i < N; i++)
        answered(&first, i, 0);
    assert_int_equal(fix->answers, 1);
    rep_disconnected(&fix->core, 0, fix->now);
    answered(&second, 0, -ENOTCONN);
    rep_connected(&fix->core, 0, fix->now);
    attached(0, 0);
    assert_int_equal(fix->sends[0], 3);
    assert_int_equal(second.wire.acked_below, 1);
    answered(&second, 0, 0);
    assert_int_equal(fix->answers, 2);
}

static void an_orphan_keeps_acked_below_and_its_inode(void **state)
{
    struct rep_change a = {0}, b = {0}, other = {0};

    serve_all();
    change(&a, 10);
    answered(&a, 0, 0);
    answered(&a, 1, 0);
    rep_disconnected(&fix->core, 2, fix->now);
    answered(&a, 2, -ENOTCONN);
    pass(16 * CFS_SEC);
    assert_int_equal(fix->status, -EIO);
    assert_int_equal(fix->releases, 0);
    change(&b, 10);
    rep_connected(&fix->core, 2, fix->now);
    attached(2, 0);
    change(&other, 20);
    assert_int_equal(other.wire.acked_below, 1);
    assert_int_equal(fix->sends[0], 2); /* a and other, not b */
    answered(&a, 2, 0);
    assert_int_equal(fix->releases, 1);
    assert_int_equal(fix->answers, 1);
    assert_int_equal(fix->sends[0], 3);
    assert_int_equal(b.wire.touch[0].expect.seq, 2);
    for (unsigned i = 0; i < N; i++) {
        answered(&b, i, 0);
        answered(&other, i, 0);
    }
    assert_int_equal(fix->answers, 3);
}

static void a_leg_that_nobody_waits_for_holds_memory_only(void **state)
{
    struct rep_change ch = {0};

    serve_all();
    change(&ch, 10);
    answered(&ch, 0, 0);
    answered(&ch, 1, 0);
    view(2, 3); /* member 2 hangs, and is dropped */
    attached(0, 0);
    attached(1, 0);
    answered(&ch, 0, 0);
    answered(&ch, 1, 0);
    assert_int_equal(fix->answers, 1);
    assert_int_equal(fix->releases, 0);
    answered(&ch, 2, -ENOTCONN);
    assert_int_equal(fix->releases, 1);
}

static void times_of_changes_increase_whatever_the_clock_does(void **state)
{
    struct rep_change a = {0}, b = {0}, c = {0};

    serve_all();
    fix->time = (struct cfs_time){100, 999999999};
    change(&a, 10);
    change(&b, 20);
    fix->time.sec = 50;
    change(&c, 30);
    assert_true(cfs_time_cmp(a.wire.now, b.wire.now) < 0);
    assert_true(cfs_time_cmp(b.wire.now, c.wire.now) < 0);
    assert_int_equal(b.wire.now.sec, 101);
    for (unsigned i = 0; i < N; i++) {
        answered(&a, i, 0);
        answered(&b, i, 0);
        answered(&c, i, 0);
    }
}

/* -- versions ------------------------------------------------------------- */

static void versions_never_fall(void **state)
{
    struct rep_versions *t = rep_versions_new(8);
    struct cfs_gfid g = cfs_gfid_make(5);
    struct cfs_version v = {0};

    assert_false(rep_versions_get(t, g, &v));
    rep_versions_learn(t, g, (struct cfs_version){2, 3});
    rep_versions_learn(t, g, (struct cfs_version){1, 9});
    assert_true(rep_versions_get(t, g, &v));
    assert_int_equal(v.epoch, 2);
    assert_int_equal(v.seq, 3);
    rep_versions_forget(t, g);
    assert_false(rep_versions_get(t, g, &v));
    assert_int_equal(rep_versions_count(t), 0);
    rep_versions_free(t);
}

static void the_least_recently_used_version_goes_first(void **state)
{
    struct rep_versions *t = rep_versions_new(100);
    struct cfs_version v;

    for (uint64_t i = 0; i < 100; i++)
        rep_versions_learn(t, cfs_gfid_make(i + 1),
                           (struct cfs_version){1, i + 1});
    assert_true(rep_versions_get(t, cfs_gfid_make(1), &v)); /* used again */
    for (uint64_t i = 100; i < 150; i++)
        rep_versions_learn(t, cfs_gfid_make(i + 1),
                           (struct cfs_version){1, i + 1});
    assert_int_equal(rep_versions_count(t), 100);
    assert_true(rep_versions_get(t, cfs_gfid_make(1), &v));
    for (uint64_t i = 1; i < 51; i++)
        assert_false(rep_versions_get(t, cfs_gfid_make(i + 1), &v));
    for (uint64_t i = 51; i < 150; i++) {
        assert_true(rep_versions_get(t, cfs_gfid_make(i + 1), &v));
        assert_int_equal(v.seq, i + 1);
    }
    rep_versions_clear(t);
    assert_int_equal(rep_versions_count(t), 0);
    assert_false(rep_versions_get(t, cfs_gfid_make(1), &v));
    rep_versions_learn(t, cfs_gfid_make(1), (struct cfs_version){1, 1});
    assert_true(rep_versions_get(t, cfs_gfid_make(1), &v));
    rep_versions_free(t);
}

#define T(f) cmocka_unit_test_setup_teardown(f, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_first_event_waits_ten_seconds_at_most),
        T(a_new_view_is_no_reason_to_say_down),
        T(older_and_foreign_views_are_not_taken),
        T(a_view_with_an_unknown_brick_is_not_served),
        T(a_member_that_lacks_the_view_is_asked_again_soon),
        T(an_answer_of_an_older_connection_attaches_nothing),
        T(a_session_that_is_refused_at_once_is_not_hammered),
        T(who_lives_keeps_others_out_after_three_answers),
        T(who_is_silent_is_waited_for),
        T(a_session_answer_of_an_older_view_is_not_used),
        T(who_queues_behind_a_stuck_change_fails_with_it),
        T(a_slow_answer_is_waited_for),
        T(an_answer_of_an_older_view_does_not_settle),
        T(who_cannot_do_what_others_did_is_named),
        T(a_repeat_says_the_same_acked_below),
        T(an_orphan_keeps_acked_below_and_its_inode),
        T(a_leg_that_nobody_waits_for_holds_memory_only),
        T(times_of_changes_increase_whatever_the_clock_does),
        cmocka_unit_test(versions_never_fall),
        cmocka_unit_test(the_least_recently_used_version_goes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
