/* SPDX-License-Identifier: Apache-2.0 */
#include "cfs_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <uv.h>

#include "core/loop.h"

static int open_loop(void **state)
{
    struct cfs_loop *loop;

    if (cfs_loop_new(&loop, NULL) < 0)
        return -1;
    *state = loop;
    return 0;
}

static int close_loop(void **state)
{
    cfs_loop_free(*state);
    return 0;
}

/* What happened, one letter each, in order. */
static char trace[256];

static void note(char c)
{
    size_t n = strlen(trace);

    assert_true(n + 1 < sizeof trace);
    trace[n] = c;
    trace[n + 1] = '\0';
}

static bool at_once(void *arg)
{
    return true;
}

/* Something that does each kind of thing when it runs. */
struct thing {
    struct cfs_loop *loop;
    char             name;
    struct cfs_task  task;
    struct cfs_hook  hook;
    struct cfs_timer timer;
    struct cfs_job   job;
    struct cfs_task *then_task; /* post it when run */
    struct cfs_hook *then_hook; /* ask for it when run */
    struct cfs_timer *then_stop;
    unsigned         times;
    pthread_t        thread;
};

static void act(struct thing *th)
{
    note(th->name);
    th->times++;
    if (th->then_task)
        cfs_task_post(th->loop, th->then_task);
    if (th->then_hook)
        cfs_hook_ask(th->loop, th->then_hook);
    if (th->then_stop)
        cfs_timer_stop(th->then_stop);
}

static void run_task(struct cfs_task *t)
{
    act(container_of(t, struct thing, task));
}

static void run_hook(struct cfs_hook *h)
{
    act(container_of(h, struct thing, hook));
}

static void run_timer(struct cfs_timer *t)
{
    act(container_of(t, struct thing, timer));
}

static void thing_init(struct thing *th, void *loop, char name,
                       enum cfs_stage stage)
{
    *th = (struct thing){.loop = loop, .name = name};
    cfs_task_init(&th->task, run_task);
    cfs_hook_init(&th->hook, stage, run_hook);
    cfs_timer_init(loop, &th->timer, run_timer);
    trace[0] = '\0';
}

static void tasks_run_in_order_and_once(void **state)
{
    struct thing a, b;

    thing_init(&a, *state, 'a', CFS_STAGE_COMMIT);
    thing_init(&b, *state, 'b', CFS_STAGE_COMMIT);
    cfs_task_post(*state, &a.task);
    cfs_task_post(*state, &b.task);
    cfs_task_post(*state, &a.task); /* queued already */
    assert_string_equal(trace, ""); /* never from inside */
    cfs_loop_run_until(*state, NULL, NULL);
    assert_string_equal(trace, "ab");
}

static void a_cancelled_task_does_not_run(void **state)
{
    struct thing a;

    thing_init(&a, *state, 'a', CFS_STAGE_COMMIT);
    cfs_task_post(*state, &a.task);
    cfs_task_cancel(&a.task);
    cfs_task_cancel(&a.task);
    cfs_loop_run_until(*state, NULL, NULL);
    assert_string_equal(trace, "");
}

/* tasks, commit, its tasks, send, its tasks, and again while asked for */
static void a_turn_has_its_order(void **state)
{
    struct thing commit, send, late, t1, t2, t3;

    thing_init(&commit, *state, 'C', CFS_STAGE_COMMIT);
    thing_init(&send, *state, 'S', CFS_STAGE_SEND);
    thing_init(&late, *state, 'L', CFS_STAGE_COMMIT);
    thing_init(&t1, *state, '1', CFS_STAGE_COMMIT);
    thing_init(&t2, *state, '2', CFS_STAGE_COMMIT);
    thing_init(&t3, *state, '3', CFS_STAGE_COMMIT);
    t1.then_hook = &commit.hook;
    commit.then_task = &t2.task;  /* the answer ... */
    t2.then_hook = &send.hook;    /* ... is sent in the same turn */
    send.then_task = &t3.task;
    t3.then_hook = &late.hook;    /* back to the first stage */
    cfs_hook_ask(*state, &send.hook);
    cfs_task_post(*state, &t1.task);
    cfs_loop_run_until(*state, at_once, NULL);
    assert_string_equal(trace, "1C2S3L");
}

static void a_hook_asked_for_twice_runs_once(void **state)
{
    struct thing a, b;

    thing_init(&a, *state, 'a', CFS_STAGE_SEND);
    thing_init(&b, *state, 'b', CFS_STAGE_SEND);
    cfs_hook_ask(*state, &a.hook);
    cfs_hook_ask(*state, &a.hook);
    cfs_hook_ask(*state, &b.hook);
    cfs_hook_cancel(&b.hook);
    cfs_loop_run_until(*state, at_once, NULL);
    assert_string_equal(trace, "a");
}

static void timers_fire_in_order_of_time(void **state)
{
    struct thing th[40];
    char want[41] = "";

    for (unsigned i = 0; i < 40; i++)
        thing_init(&th[i], *state, (char)('0' + i), CFS_STAGE_COMMIT);
    /* 17 is prime to 40: every delay once, in a mixed order */
    for (unsigned i = 0; i < 40; i++)
        cfs_timer_start(&th[i].timer, (uint64_t)(i * 17 % 40) * CFS_MS / 10);
    for (unsigned i = 0; i < 40; i++)
        want[i * 17 % 40] = (char)('0' + i);
    cfs_loop_run_until(*state, NULL, NULL);
    assert_string_equal(trace, want);
}

static struct cfs_timer *starting[4];

static void run_start_all(struct cfs_task *t)
{
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(starting); i++)
        cfs_timer_start(starting[i], CFS_MS);
}

static void equal_timers_fire_as_they_were_started(void **state)
{
    struct thing a, b, c;
    struct cfs_task start_all;

    thing_init(&a, *state, 'a', CFS_STAGE_COMMIT);
    thing_init(&b, *state, 'b', CFS_STAGE_COMMIT);
    thing_init(&c, *state, 'c', CFS_STAGE_COMMIT);
    /* In one turn, where time stands still. */
    cfs_task_init(&start_all, run_start_all);
    starting[0] = &b.timer;
    starting[1] = &a.timer;
    starting[2] = &c.timer;
    starting[3] = &b.timer; /* moves it behind */
    cfs_task_post(*state, &start_all);
    cfs_loop_run_until(*state, NULL, NULL);
    assert_string_equal(trace, "acb");
}

static void a_timer_never_fires_early(void **state)
{
    struct thing a;
    uint64_t began = cfs_now_fresh(*state);

    thing_init(&a, *state, 'a', CFS_STAGE_COMMIT);
    cfs_timer_start(&a.timer, 20 * CFS_MS);
    assert_true(cfs_timer_active(&a.timer));
    cfs_loop_run_until(*state, NULL, NULL);
    assert_false(cfs_timer_active(&a.timer));
    assert_int_equal(a.times, 1);
    assert_true(cfs_now_fresh(*state) - began >= 20 * CFS_MS);
}

/* Even when both were due at the same instant. */
static void a_stopped_timer_does_not_fire(void **state)
{
    struct thing a, b, c;

    thing_init(&a, *state, 'a', CFS_STAGE_COMMIT);
    thing_init(&b, *state, 'b', CFS_STAGE_COMMIT);
    thing_init(&c, *state, 'c', CFS_STAGE_COMMIT);
    a.then_stop = &b.timer;
    cfs_timer_start(&a.timer, CFS_MS);
    cfs_timer_start(&b.timer, CFS_MS);
    cfs_timer_start(&c.timer, CFS_MS);
    cfs_timer_stop(&c.timer);
    cfs_timer_stop(&c.timer);
    cfs_loop_run_until(*state, NULL, NULL);
    assert_string_equal(trace, "a");
    cfs_timer_fini(&b.timer);
}

/* A heap keeps its order whatever is taken out of its middle. */
static void timers_stop_in_any_order(void **state)
{
    enum { N = 300 };
    static struct thing th[N];
    unsigned seed = 7, left = 0;

    for (unsigned i = 0; i < N; i++) {
        thing_init(&th[i], *state, 'x', CFS_STAGE_COMMIT);
        cfs_timer_start(&th[i].timer, (uint64_t)rand_r(&seed) % 3000000);
    }
    for (unsigned i = 0; i < N; i++)
        if (rand_r(&seed) % 4 != 0)
            cfs_timer_stop(&th[i].timer);
    for (unsigned i = 0; i < N; i++)
        left += cfs_timer_active(&th[i].timer);
    assert_in_range(left, 1, 200);
    cfs_loop_run_until(*state, NULL, NULL);
    assert_int_equal(strlen(trace), left);
}

struct restart {
    struct cfs_timer timer;
    struct cfs_task  task;
    unsigned         fired;
    unsigned         fired_at_task;
};

static void restart_fire(struct cfs_timer *t)
{
    struct restart *r = container_of(t, struct restart, timer);

    cfs_task_post(t->loop, &r->task);
    if (++r->fired < 3)
        cfs_timer_start(t, 0);
}

static void restart_task(struct cfs_task *t)
{
    struct restart *r = container_of(t, struct restart, task);

    if (r->fired_at_task == 0)
        r->fired_at_task = r->fired;
}

/* A timer that starts itself cannot keep the turn from its end. */
static void a_timer_started_by_a_timer_waits_for_the_next_turn(void **state)
{
    struct restart r = {0};

    cfs_timer_init(*state, &r.timer, restart_fire);
    cfs_task_init(&r.task, restart_task);
    cfs_timer_start(&r.timer, 0);
    cfs_loop_run_until(*state, NULL, NULL);
    assert_int_equal(r.fired, 3);
    assert_int_equal(r.fired_at_task, 1);
}

/* -- pauses --------------------------------------------------------------- */

/* A process that stands still for @still_ms in the fire of a timer, while
 * somebody sends it something; its first answer brings another. */
struct pause {
    struct thing a, b;
    uv_poll_t    poll;
    int          fd[2];
    unsigned     still_ms;
    unsigned     told;
    uint64_t     ran, now; /* when it began */
};

static void pause_fire(struct cfs_timer *t)
{
    struct pause *p = container_of(t, struct pause, a.timer);

    act(&p->a);
    assert_int_equal(write(p->fd[1], "x", 1), 1);
    usleep(p->still_ms * 1000);
}

static void pause_input(uv_poll_t *poll, int status, int events)
{
    struct pause *p = container_of(poll, struct pause, poll);
    char c;

    assert_int_equal(read(p->fd[0], &c, 1), 1);
    note('i');
    if (++p->told < 3)
        assert_int_equal(write(p->fd[1], "x", 1), 1);
}

static bool pause_over(void *arg)
{
    const struct pause *p = arg;

    return p->b.times > 0 && p->told == 3;
}

static void pause_run(struct pause *p, struct cfs_loop *loop,
                      unsigned still_ms)
{
    *p = (struct pause){.still_ms = still_ms};
    thing_init(&p->a, loop, 'a', CFS_STAGE_COMMIT);
    thing_init(&p->b, loop, 'b', CFS_STAGE_COMMIT);
    p->a.timer.fire = pause_fire;
    assert_int_equal(pipe(p->fd), 0);
    uv_poll_init(cfs_loop_uv(loop), &p->poll, p->fd[0]);
    uv_poll_start(&p->poll, UV_READABLE, pause_input);
    p->now = cfs_now(loop);
    p->ran = cfs_ran(loop);
    cfs_timer_start(&p->a.timer, 5 * CFS_MS);
    cfs_timer_start(&p->b.timer, 10 * CFS_MS);
    cfs_loop_run_until(loop, pause_over, p);
    uv_close((uv_handle_t *)&p->poll, NULL);
    uv_run(cfs_loop_uv(loop), UV_RUN_NOWAIT);
    close(p->fd[0]);
    close(p->fd[1]);
}

static void what_waited_during_a_pause_goes_before_timers(void **state)
{
    struct pause p;

    pause_run(&p, *state, 400);
    assert_string_equal(trace, "aiiib");
}

static void a_pause_is_no_time_that_was_waited(void **state)
{
    struct pause p;

    pause_run(&p, *state, 1000);
    assert_true(cfs_now_fresh(*state) - p.now >= CFS_SEC);
    assert_true(cfs_ran(*state) - p.ran < 500 * CFS_MS);
}

static void slow_fire(struct cfs_timer *t)
{
    usleep(300 * 1000);
    act(container_of(t, struct thing, timer));
    if (strlen(trace) < 6)
        cfs_timer_start(t, 0);
}

/* Always late: that is no pause. */
static void who_is_slow_does_not_put_off_timers_for_ever(void **state)
{
    struct thing a, b;

    thing_init(&a, *state, 'a', CFS_STAGE_COMMIT);
    thing_init(&b, *state, 'b', CFS_STAGE_COMMIT);
    a.timer.fire = slow_fire;
    cfs_timer_start(&a.timer, 0);
    cfs_timer_start(&b.timer, 30 * CFS_MS);
    cfs_loop_run_until(*state, NULL, NULL);
    assert_non_null(strchr(trace, 'b'));
    assert_true(strchr(trace, 'b') - trace <= 4);
}

static void job_work(struct cfs_job *j)
{
    struct thing *th = container_of(j, struct thing, job);

    th->thread = pthread_self();
}

static void job_done(struct cfs_job *j)
{
    act(container_of(j, struct thing, job));
}

static void jobs_work_elsewhere_and_finish_here(void **state)
{
    struct thing th[8];
    struct thing after;

    thing_init(&after, *state, 'z', CFS_STAGE_SEND);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 8; i++) {
            thing_init(&th[i], *state, 'j', CFS_STAGE_COMMIT);
            th[i].then_task = i == 0 ? &after.task : NULL;
            cfs_job_run(*state, &th[i].job, job_work, job_done);
        }
        assert_string_equal(trace, "");
        cfs_loop_run_until(*state, NULL, NULL);
        for (unsigned i = 0; i < 8; i++) {
            assert_int_equal(th[i].times, 1);
            assert_false(pthread_equal(th[i].thread, pthread_self()));
        }
        assert_int_equal(after.times, round + 1);
    }
}

struct reader {
    uv_poll_t       poll;
    struct thing   *then;
    int             fd;
    struct cfs_loop *loop;
};

static void on_readable(uv_poll_t *p, int status, int events)
{
    struct reader *r = container_of(p, struct reader, poll);
    char c;

    assert_int_equal(read(r->fd, &c, 1), 1);
    note(c);
    cfs_task_post(r->loop, &r->then->task);
    uv_close((uv_handle_t *)p, NULL);
}

/* Two sockets that are readable at once share one commit and one send. */
static void what_comes_in_one_turn_is_sent_once(void **state)
{
    struct thing task, commit, send;
    struct reader r[2];

    thing_init(&task, *state, 't', CFS_STAGE_COMMIT);
    thing_init(&commit, *state, 'C', CFS_STAGE_COMMIT);
    thing_init(&send, *state, 'S', CFS_STAGE_SEND);
    task.then_hook = &commit.hook;
    commit.then_hook = &send.hook;
    for (unsigned i = 0; i < 2; i++) {
        int fds[2];

        assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
        assert_int_equal(write(fds[1], "r", 1), 1);
        close(fds[1]);
        r[i] = (struct reader){.then = &task, .fd = fds[0], .loop = *state};
        uv_poll_init(cfs_loop_uv(*state), &r[i].poll, fds[0]);
        uv_poll_start(&r[i].poll, UV_READABLE, on_readable);
    }
    cfs_loop_run_until(*state, NULL, NULL);
    assert_string_equal(trace, "rrtCS");
    close(r[0].fd);
    close(r[1].fd);
}

static void stop_fire(struct cfs_timer *t)
{
    cfs_loop_stop(t->loop);
    act(container_of(t, struct thing, timer));
}

/* What the last turn left to do is done before the loop returns. */
static void stop_ends_after_the_turn(void **state)
{
    struct thing a, b, c, send;

    thing_init(&a, *state, 'a', CFS_STAGE_COMMIT);
    thing_init(&b, *state, 'b', CFS_STAGE_COMMIT);
    thing_init(&c, *state, 'c', CFS_STAGE_COMMIT);
    thing_init(&send, *state, 'S', CFS_STAGE_SEND);
    cfs_timer_init(*state, &a.timer, stop_fire);
    a.then_task = &b.task;
    b.then_hook = &send.hook;
    cfs_timer_start(&a.timer, 0);
    cfs_timer_start(&c.timer, 3600 * CFS_SEC);
    cfs_loop_run(*state);
    assert_string_equal(trace, "abS");
    /* and it can be run again */
    cfs_loop_run_until(*state, at_once, NULL);
    cfs_timer_stop(&c.timer);
}

struct clock {
    struct cfs_task  task;
    struct cfs_loop *loop;
    bool             stood_still;
    bool             went_on;
};

static void run_clock(struct cfs_task *t)
{
    struct clock *c = container_of(t, struct clock, task);
    uint64_t began = cfs_now(c->loop), fresh;

    for (unsigned i = 0; i < 1000; i++)
        sched_yield();
    c->stood_still = cfs_now(c->loop) == began;
    fresh = cfs_now_fresh(c->loop);
    c->went_on = fresh > began && cfs_now(c->loop) == fresh;
}

static void now_stands_still_within_a_turn(void **state)
{
    struct clock c = {.loop = *state};
    uint64_t before = cfs_now(*state);

    cfs_task_init(&c.task, run_clock);
    cfs_task_post(*state, &c.task);
    cfs_loop_run_until(*state, NULL, NULL);
    assert_true(c.stood_still);
    assert_true(c.went_on);
    assert_true(cfs_now(*state) > before); /* not what was read then */
}

static void randomness_differs(void **state)
{
    uint8_t a[300], b[300];

    cfs_random(*state, a, sizeof a);
    cfs_random(*state, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void spinning_changes_no_result(void **state)
{
    struct thing th[20];
    uint64_t began = cfs_now_fresh(*state);

    cfs_loop_spin(*state, CFS_MS / 20);
    for (unsigned i = 0; i < 20; i++) {
        thing_init(&th[i], *state, 'x', CFS_STAGE_COMMIT);
        cfs_timer_start(&th[i].timer, i * CFS_MS / 50 + 5 * CFS_MS * (i == 19));
    }
    cfs_loop_run_until(*state, NULL, NULL);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(th[i].times, 1);
    assert_true(cfs_now_fresh(*state) - began >= 5 * CFS_MS);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, open_loop, close_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(tasks_run_in_order_and_once),
        LOOP_TEST(a_cancelled_task_does_not_run),
        LOOP_TEST(a_turn_has_its_order),
        LOOP_TEST(a_hook_asked_for_twice_runs_once),
        LOOP_TEST(timers_fire_in_order_of_time),
        LOOP_TEST(equal_timers_fire_as_they_were_started),
        LOOP_TEST(a_timer_never_fires_early),
        LOOP_TEST(a_stopped_timer_does_not_fire),
        LOOP_TEST(timers_stop_in_any_order),
        LOOP_TEST(a_timer_started_by_a_timer_waits_for_the_next_turn),
        LOOP_TEST(what_waited_during_a_pause_goes_before_timers),
        LOOP_TEST(a_pause_is_no_time_that_was_waited),
        LOOP_TEST(who_is_slow_does_not_put_off_timers_for_ever),
        LOOP_TEST(jobs_work_elsewhere_and_finish_here),
        LOOP_TEST(what_comes_in_one_turn_is_sent_once),
        LOOP_TEST(stop_ends_after_the_turn),
        LOOP_TEST(now_stands_still_within_a_turn),
        LOOP_TEST(randomness_differs),
        LOOP_TEST(spinning_changes_no_result),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
