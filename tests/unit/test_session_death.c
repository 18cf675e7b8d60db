/* SPDX-License-Identifier: Apache-2.0 */
/* test_session_death.c - mgmtd/session.c: a client's death is carried to its
 * end, whatever breaks in between, and nobody is thrown out for it who has
 * all that the others have. The bricks are faked here. */
#include "tests/unit/cfs_test.h"

#include <stdlib.h>

#include "mgmtd/silence.h"

#define BRICKS 3u
#define NO     7u

/* A brick's side, and the calls that it has not answered. */
static struct fake {
    uint32_t state; /* of session NO; CFS_SESSION_CLOSED: none */
    uint8_t  tail;  /* what it changed last */
    bool     lost;  /* it takes the next fence, its answer does not come */
    unsigned fences, closes;
} fake[BRICKS];

static struct call {
    struct brick *b;
    uint32_t      proc; /* 0: a refresh */
    brick_done   *done;
    void         *arg;
} calls[64];
static unsigned n_calls;
static struct volume *vol;

/* -- what session.c stands on ---------------------------------------------- */

void brick_call(struct brick *b, uint32_t proc, struct cfs_blob body,
                uint32_t timeout_ms, brick_done *done, void *arg)
{
    assert_true(n_calls < CFS_ARRAY_SIZE(calls));
    calls[n_calls++] = (struct call){b, proc, done, arg};
}

void brick_refresh(struct brick *b, uint32_t timeout_ms, brick_done *done,
                   void *arg)
{
    brick_call(b, 0, (struct cfs_blob){0}, 0, done, arg);
}

bool view_has(const struct volume *v, const struct brick *b)
{
    return !b->differs;
}

struct brick *view_master(struct volume *v)
{
    return &v->brick[0];
}

bool view_settled(const struct volume *v)
{
    return true;
}

void volume_changed(struct volume *v)
{
}

void silence_doubt(struct volume *v)
{
}

int pidwatch_new(struct cfs_loop *loop, uint32_t pid, uint64_t start,
                 void (*ended)(void *arg, int status), void *arg,
                 struct pidwatch **ret)
{
    return -ESRCH; /* it is dead */
}

void pidwatch_free(struct pidwatch *w)
{
}

/* -- the bricks ------------------------------------------------------------ */

static void take_info(struct brick *b)
{
    const struct fake *f = &fake[b->index];

    b->info.n_sessions = f->state != CFS_SESSION_CLOSED;
    b->info.session[0] = (struct cfs_session){
        .no = NO, .state = f->state, .boot = vol->m->boot, .pid = 1};
    snprintf(b->info.session[0].node, sizeof b->info.session[0].node, "%s",
             cfs_node_name());
}

static void serve(const struct call *c)
{
    struct fake *f = &fake[c->b->index];
    struct mgmt_fence_reply reply = {0};
    struct cfs_blob body = {0};
    struct cfs_arena a;
    int status = 0;

    cfs_arena_init(&a);
    if (c->proc == 0) {
        take_info(c->b);
    } else if (c->proc == RPC_BRICK_FENCE) {
        f->fences++;
        reply.tail = (struct cfs_blob){&f->tail,
                                       f->state != CFS_SESSION_CLOSED};
        if (f->state == CFS_SESSION_LIVE)
            f->state = CFS_SESSION_FENCED;
        body = mgmt_pack_fence_reply(&a, &reply);
        if (f->lost)
            status = -ENOTCONN;
        f->lost = false;
    } else {
        assert_int_equal(c->proc, RPC_BRICK_CLOSE_SESSION);
        f->closes++;
        f->state = CFS_SESSION_CLOSED;
    }
    c->done(c->b, c->arg, status, status ? (struct cfs_blob){0} : body, "");
    cfs_arena_fini(&a);
}

/* A timer that session.c waits for is due. */
static void run_timers(void)
{
    cfs_list_for_each_safe(l, &vol->sessions) {
        struct session *s = cfs_list_entry(l, struct session, link);

        if (cfs_timer_active(&s->retry))
            cfs_timer_stop(&s->retry);
    }
}

/* Calls made while others are answered come behind them. */
static void settle(void)
{
    for (unsigned i = 0; i < 100; i++) {
        sessions_look(vol);
        for (unsigned k = 0; k < n_calls; k++) {
            struct call c = calls[k];

            serve(&c);
        }
        n_calls = 0;
        run_timers();
    }
}

static void start(uint32_t state)
{
    struct mgmtd *m = vol->m;

    for (unsigned i = 0; i < BRICKS; i++) {
        fake[i] = (struct fake){.state = state, .tail = 1};
        vol->brick[i] = (struct brick){.vol = vol, .index = i, .here = true,
                                       .path = (char *)(uintptr_t)"/b"};
    }
    m->boot = (struct cfs_uuid){{1}};
}

static void hear_all(void)
{
    for (unsigned i = 0; i < BRICKS; i++) {
        take_info(&vol->brick[i]);
        sessions_heard(&vol->brick[i]);
    }
}

static int setup(void **state)
{
    struct cfs_err err = {0};

    vol = calloc(1, sizeof *vol);
    vol->m = calloc(1, sizeof *vol->m);
    vol->name = (char *)(uintptr_t)"v";
    vol->n = BRICKS;
    vol->state = VOL_STARTED;
    cfs_list_init(&vol->sessions);
    assert_int_equal(cfs_loop_new(&vol->m->host.loop, &err), 0);
    assert_int_equal(cfs_log_open(&vol->m->host.log, NULL, CFS_LOG_ERROR,
                                  CFS_LOG_PLAIN, &err), 0);
    n_calls = 0;
    return 0;
}

static int teardown(void **state)
{
    sessions_free(vol);
    cfs_log_close(vol->m->host.log);
    cfs_loop_free(vol->m->host.loop);
    free(vol->m);
    free(vol);
    return 0;
}

static void expect_closed(void)
{
    assert_true(sessions_none(vol));
    for (unsigned i = 0; i < BRICKS; i++)
        if (!vol->brick[i].differs)
            assert_int_equal(fake[i].state, CFS_SESSION_CLOSED);
}

static unsigned n_differ(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < BRICKS; i++)
        n += vol->brick[i].differs;
    return n;
}

/* -- tests ----------------------------------------------------------------- */

static void a_dead_session_is_closed_everywhere(void **state)
{
    start(CFS_SESSION_LIVE);
    hear_all();
    settle();
    expect_closed();
    assert_int_equal(n_differ(), 0);
}

static void who_differs_leaves(void **state)
{
    start(CFS_SESSION_LIVE);
    fake[2].tail = 2;
    hear_all();
    settle();
    assert_true(vol->brick[2].differs);
    assert_int_equal(n_differ(), 1);
}

/* All have fenced it when the step is repeated: it is not over yet. */
static void a_fence_that_was_lost_is_repeated_and_compared(void **state)
{
    start(CFS_SESSION_LIVE);
    fake[1].lost = true;
    fake[2].tail = 2;
    hear_all();
    settle();
    assert_true(vol->brick[2].differs);
    vol->brick[2].here = true;
    expect_closed();
}

/* The mgmtd before this one was killed behind its fences. */
static void a_session_found_fenced_is_compared_and_closed(void **state)
{
    start(CFS_SESSION_FENCED);
    fake[1].tail = 2;
    hear_all();
    settle();
    assert_true(vol->brick[1].differs);
    assert_int_equal(n_differ(), 1);
}

/* Or between closing at one and at the next; or the client's own goodbye did
 * not reach all. */
static void who_has_not_closed_it_yet_does_not_differ(void **state)
{
    for (unsigned closed = 0; closed < BRICKS; closed++) {
        start(CFS_SESSION_LIVE);
        fake[closed].state = CFS_SESSION_CLOSED;
        hear_all();
        /* The master had forgotten it. */
        take_info(&vol->brick[2]);
        sessions_heard(&vol->brick[2]);
        take_info(&vol->brick[1]);
        sessions_heard(&vol->brick[1]);
        settle();
        assert_int_equal(n_differ(), 0);
        expect_closed();
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_dead_session_is_closed_everywhere),
        T(who_differs_leaves),
        T(a_fence_that_was_lost_is_repeated_and_compared),
        T(a_session_found_fenced_is_compared_and_closed),
        T(who_has_not_closed_it_yet_does_not_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
