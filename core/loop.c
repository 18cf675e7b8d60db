/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - the loop on libuv; the order of a turn is in loop.h.
 *
 * libuv calls our prepare handle last before it polls: there the turn ends,
 * with tasks and hooks, so that nothing that was posted can be slept over.
 * Callbacks of the poll that follows are the next turn's events.
 *
 * Timers are a binary heap over one timerfd on CLOCK_BOOTTIME, which counts
 * while the machine sleeps and is finer than libuv's milliseconds. The
 * timerfd is set only when something is due earlier than it is set for: most
 * timers are time-outs that are stopped long before.
 *
 * A pause. When nothing ran for long (SIGSTOP, a virtual machine that was
 * stopped, storage that hung under a page of ours), what was due meanwhile is
 * nobody's fault: what others sent waits unread in sockets. So the time by
 * which the first timer is late is given to all of them, and a little more,
 * for the input to go first. It is seen by whoever reads the clock first in a
 * turn, so that nobody meets a time of which the pause is not known. A process
 * that is late again soon is slow, and must not put off its timers for ever.
 *
 * Spinning. After work was done the loop may poll without sleep for a while:
 * being woken costs more than most operations. It does so only while that has
 * paid lately (score), and it offers the processor to others at each poll;
 * when somebody took it, there is no idle processor to spin on.
 */
#include "core/loop.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

#include "core/mem.h"

/* Threads of the pool, unless UV_THREADPOOL_SIZE says otherwise. They sleep on
 * devices: as many as a device likes to have requests in its queue. */
#define POOL_THREADS "16"

#define SCORE_MAX  8u
#define SCORE_SPIN 2u
/* Somebody else ran, if offering the processor took longer. */
#define YIELD_MAX (10 * CFS_MS / 1000)

/* So late is a pause; and how long what came meanwhile goes before timers. */
#define PAUSE_MIN   (250 * CFS_MS)
#define INPUT_FIRST (50 * CFS_MS)
#define SOON_MAX    CFS_SEC /* no pause begins so soon after another */

/* What libuv wants for a job; kept for the next one. */
struct work {
    uv_work_t       uv;
    struct cfs_job *job;
    struct work    *next;
};

struct cfs_loop {
    uv_loop_t       uv;
    uv_prepare_t    turn_end;
    uv_idle_t       spinning; /* active: libuv does not sleep */
    uv_poll_t       timer_poll;
    int             timer_fd;
    struct cfs_list tasks;
    struct cfs_list hooks[CFS_STAGE_N];

    uint64_t now;    /* 0: not read in this turn */
    uint64_t read;   /* when the clock was read last */
    uint64_t paused; /* ns, in all */
    uint64_t excused; /* until then no other pause begins */

    struct cfs_timer **heap; /* from 1; the parent of i is i / 2 */
    size_t             n_timers;
    size_t             heap_size;
    uint64_t           timer_seq;
    uint64_t           armed; /* what the timerfd is set for; 0: nothing */

    struct work *free_work;
    unsigned     jobs;

    uint64_t spin_ns;
    uint64_t idle_since;
    unsigned score;
    bool     active; /* something happened in this turn */

    bool running;
    bool stopping;
    bool until; /* in cfs_loop_run_until() */
    bool (*done)(void *arg);
    void *done_arg;
};

static uint64_t clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * CFS_SEC + (uint64_t)ts.tv_nsec;
}

/* Whether we stood still until @now: then so did our timers. Their order
 * stays. */
static void look_for_pause(struct cfs_loop *loop, uint64_t now)
{
    uint64_t from = loop->read, late;

    loop->read = now;
    if (!loop->running || loop->n_timers == 0)
        return;
    if (from < loop->heap[1]->due)
        from = loop->heap[1]->due;
    if (now < from || now - from < PAUSE_MIN || from < loop->excused)
        return;
    late = now - from;
    loop->paused += late;
    loop->excused = now + (late < SOON_MAX ? late : SOON_MAX);
    late += INPUT_FIRST;
    for (size_t i = 1; i <= loop->n_timers; i++) {
        uint64_t *due = &loop->heap[i]->due;

        *due = late > UINT64_MAX - *due ? UINT64_MAX : *due + late;
    }
}

uint64_t cfs_now_fresh(struct cfs_loop *loop)
{
    loop->now = clock_ns();
    look_for_pause(loop, loop->now);
    return loop->now;
}

uint64_t cfs_now(struct cfs_loop *loop)
{
    /* Outside of a run there are no turns, so nothing is kept. */
    if (loop->now == 0 || !loop->running)
        return cfs_now_fresh(loop);
    return loop->now;
}

uint64_t cfs_ran(struct cfs_loop *loop)
{
    uint64_t now = cfs_now(loop);

    return now - loop->paused;
}

uint64_t cfs_clock(void)
{
    return clock_ns();
}

struct cfs_time cfs_realtime(struct cfs_loop *loop)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (struct cfs_time){ts.tv_sec, (uint32_t)ts.tv_nsec};
}

void cfs_random(struct cfs_loop *loop, void *ret, size_t len)
{
    uint8_t *at = ret;

    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);

        if (n < 0) {
            assert(errno == EINTR);
            continue;
        }
        at += n;
        len -= (size_t)n;
    }
}

struct uv_loop_s *cfs_loop_uv(struct cfs_loop *loop)
{
    return &loop->uv;
}

/* -- tasks and hooks ------------------------------------------------------ */

void cfs_task_post(struct cfs_loop *loop, struct cfs_task *t)
{
    assert(t->link.next); /* cfs_task_init() was called */
    if (cfs_list_empty(&t->link))
        cfs_list_add_tail(&loop->tasks, &t->link);
}

void cfs_task_cancel(struct cfs_task *t)
{
    cfs_list_del(&t->link);
}

void cfs_hook_ask(struct cfs_loop *loop, struct cfs_hook *h)
{
    assert(h->link.next); /* cfs_hook_init() was called */
    if (cfs_list_empty(&h->link))
        cfs_list_add_tail(&loop->hooks[h->stage], &h->link);
}

void cfs_hook_cancel(struct cfs_hook *h)
{
    cfs_list_del(&h->link);
}

static void run_tasks(struct cfs_loop *loop)
{
    struct cfs_list *l;

    while ((l = cfs_list_pop(&loop->tasks)) != NULL) {
        struct cfs_task *t = cfs_list_entry(l, struct cfs_task, link);

        loop->active = true;
        t->run(t);
    }
}

/* Those asked for until now; false: none. */
static bool run_hooks(struct cfs_loop *loop, enum cfs_stage stage)
{
    struct cfs_list round, *l;

    if (cfs_list_empty(&loop->hooks[stage]))
        return false;
    loop->active = true;
    cfs_list_init(&round);
    cfs_list_splice(&round, &loop->hooks[stage]);
    while ((l = cfs_list_pop(&round)) != NULL) {
        struct cfs_hook *h = cfs_list_entry(l, struct cfs_hook, link);

        h->run(h);
    }
    return true;
}

/* Steps 2 to 4 of a turn. */
static void finish_turn(struct cfs_loop *loop)
{
    do {
        run_tasks(loop);
    } while (run_hooks(loop, CFS_STAGE_COMMIT) ||
             run_hooks(loop, CFS_STAGE_SEND));
}

/* -- timers --------------------------------------------------------------- */

static bool earlier(const struct cfs_timer *a, const struct cfs_timer *b)
{
    if (a->due != b->due)
        return a->due < b->due;
    return a->seq < b->seq;
}

static void heap_put(struct cfs_loop *loop, size_t at, struct cfs_timer *t)
{
    loop->heap[at] = t;
    t->at = at;
}

static void sift_up(struct cfs_loop *loop, size_t at, struct cfs_timer *t)
{
    for (; at > 1 && earlier(t, loop->heap[at / 2]); at /= 2)
        heap_put(loop, at, loop->heap[at / 2]);
    heap_put(loop, at, t);
}

static void sift_down(struct cfs_loop *loop, size_t at, struct cfs_timer *t)
{
    for (;;) {
        size_t kid = 2 * at;

        if (kid > loop->n_timers)
            break;
        if (kid < loop->n_timers &&
            earlier(loop->heap[kid + 1], loop->heap[kid]))
            kid++;
        if (!earlier(loop->heap[kid], t))
            break;
        heap_put(loop, at, loop->heap[kid]);
        at = kid;
    }
    heap_put(loop, at, t);
}

void cfs_timer_init(struct cfs_loop *loop, struct cfs_timer *t,
                    void (*fire)(struct cfs_timer *))
{
    *t = (struct cfs_timer){.loop = loop, .fire = fire};
}

void cfs_timer_stop(struct cfs_timer *t)
{
    struct cfs_loop *loop = t->loop;
    size_t at = t->at;
    struct cfs_timer *last;

    if (at == 0)
        return;
    t->at = 0;
    last = loop->heap[loop->n_timers--];
    if (last == t)
        return;
    if (at > 1 && earlier(last, loop->heap[at / 2]))
        sift_up(loop, at, last);
    else
        sift_down(loop, at, last);
}

static void heap_grow(struct cfs_loop *loop)
{
    size_t size = loop->heap_size ? 2 * loop->heap_size : 64;

    loop->heap = cfs_must_realloc(loop->heap, size * sizeof *loop->heap);
    loop->heap_size = size;
}

void cfs_timer_start(struct cfs_timer *t, uint64_t after_ns)
{
    struct cfs_loop *loop = t->loop;
    uint64_t now = cfs_now(loop);

    cfs_timer_stop(t);
    t->due = after_ns > UINT64_MAX - now ? UINT64_MAX : now + after_ns;
    t->seq = ++loop->timer_seq;
    if (loop->n_timers + 1 >= loop->heap_size)
        heap_grow(loop);
    sift_up(loop, ++loop->n_timers, t);
}

bool cfs_timer_active(const struct cfs_timer *t)
{
    return t->at != 0;
}

void cfs_timer_fini(struct cfs_timer *t)
{
    cfs_timer_stop(t);
}

/* Fire what is due; what is started meanwhile waits for the next time. */
static void on_timer_fd(uv_poll_t *poll, int status, int events)
{
    struct cfs_loop *loop = container_of(poll, struct cfs_loop, timer_poll);
    uint64_t now = cfs_now_fresh(loop);
    uint64_t seq = loop->timer_seq;
    uint64_t count;

    if (read(loop->timer_fd, &count, sizeof count) < 0)
        assert(errno == EAGAIN);
    loop->armed = 0;
    while (loop->n_timers > 0) {
        struct cfs_timer *t = loop->heap[1];

        if (t->due > now || t->seq > seq)
            break;
        loop->active = true;
        cfs_timer_stop(t);
        t->fire(t);
    }
}

static void arm_timer_fd(struct cfs_loop *loop)
{
    struct itimerspec at = {0};
    uint64_t due;
    int rc;

    if (loop->n_timers == 0)
        return;
    due = loop->heap[1]->due;
    if (loop->armed != 0 && loop->armed <= due)
        return;
    at.it_value.tv_sec = (time_t)(due / CFS_SEC);
    at.it_value.tv_nsec = (long)(due % CFS_SEC);
    rc = timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    assert(rc == 0);
    loop->armed = due;
}

/* -- the pool ------------------------------------------------------------- */

static void on_work(uv_work_t *uv)
{
    struct work *w = container_of(uv, struct work, uv);

    w->job->work(w->job);
}

static void on_work_done(uv_work_t *uv, int status)
{
    struct work *w = container_of(uv, struct work, uv);
    struct cfs_job *j = w->job;
    struct cfs_loop *loop = j->loop;

    loop->active = true;
    loop->jobs--;
    w->next = loop->free_work;
    loop->free_work = w;
    j->impl = NULL;
    j->done(j);
}

void cfs_job_run(struct cfs_loop *loop, struct cfs_job *j,
                 void (*work)(struct cfs_job *),
                 void (*done)(struct cfs_job *))
{
    struct work *w = loop->free_work;
    int rc;

    if (w) {
        loop->free_work = w->next;
    } else {
        w = cfs_must_calloc(sizeof *w);
    }
    w->job = j;
    j->loop = loop;
    j->impl = w;
    j->work = work;
    j->done = done;
    loop->jobs++;
    rc = uv_queue_work(&loop->uv, &w->uv, on_work, on_work_done);
    assert(rc == 0);
}

/* -- turns ---------------------------------------------------------------- */

void cfs_loop_spin(struct cfs_loop *loop, uint64_t ns)
{
    loop->spin_ns = ns;
    loop->score = 0;
}

/* Work came: would spinning have met it? */
static void spin_learn(struct cfs_loop *loop, uint64_t at)
{
    bool met = at - loop->idle_since <= loop->spin_ns;

    if (met && loop->score < SCORE_MAX)
        loop->score++;
    else if (!met && loop->score > 0)
        loop->score--;
}

/* Whether to poll without sleep. */
static bool spin_on(struct cfs_loop *loop)
{
    uint64_t began, now;

    if (loop->spin_ns == 0)
        return false;
    if (loop->active) {
        spin_learn(loop, cfs_now(loop));
        loop->idle_since = clock_ns();
        return loop->score >= SCORE_SPIN;
    }
    if (!uv_is_active((uv_handle_t *)&loop->spinning))
        return false;
    began = clock_ns();
    if (began - loop->idle_since > loop->spin_ns)
        return false;
    sched_yield();
    now = clock_ns();
    if (now - began > YIELD_MAX) {
        loop->score /= 2;
        return false;
    }
    return true;
}

static void on_spin(uv_idle_t *idle)
{
}

/* Nothing will ever happen again by itself. */
static bool nothing_left(struct cfs_loop *loop)
{
    bool alive;

    if (loop->n_timers > 0 || loop->jobs > 0)
        return false;
    uv_unref((uv_handle_t *)&loop->turn_end);
    alive = uv_loop_alive(&loop->uv) != 0;
    uv_ref((uv_handle_t *)&loop->turn_end);
    return !alive;
}

static bool run_until_over(struct cfs_loop *loop)
{
    if (loop->done && loop->done(loop->done_arg))
        return true;
    return nothing_left(loop);
}

static void on_turn_end(uv_prepare_t *prepare)
{
    struct cfs_loop *loop = container_of(prepare, struct cfs_loop, turn_end);

    finish_turn(loop);
    if (loop->stopping || (loop->until && run_until_over(loop))) {
        loop->stopping = true;
        uv_stop(&loop->uv); /* libuv will not sleep any more */
        return;
    }
    arm_timer_fd(loop);
    if (spin_on(loop))
        uv_idle_start(&loop->spinning, on_spin);
    else
        uv_idle_stop(&loop->spinning);
    loop->active = false;
    loop->now = 0;
}

void cfs_loop_run(struct cfs_loop *loop)
{
    assert(!loop->running);
    loop->running = true;
    loop->now = 0;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    /* libuv polled once more after the last turn. */
    finish_turn(loop);
    loop->stopping = false;
    loop->running = false;
}

void cfs_loop_run_until(struct cfs_loop *loop, bool (*done)(void *arg),
                        void *arg)
{
    loop->until = true;
    loop->done = done;
    loop->done_arg = arg;
    cfs_loop_run(loop);
    loop->until = false;
    loop->done = NULL;
}

void cfs_loop_stop(struct cfs_loop *loop)
{
    loop->stopping = true;
}

/* -- life ----------------------------------------------------------------- */

/* Everything that cannot fail once libuv's loop and the timerfd are there. */
static void add_handles(struct cfs_loop *loop)
{
    uv_prepare_init(&loop->uv, &loop->turn_end);
    uv_prepare_start(&loop->turn_end, on_turn_end);
    uv_idle_init(&loop->uv, &loop->spinning);
    /* The prepare handle alone keeps uv_run() going. */
    uv_unref((uv_handle_t *)&loop->spinning);
    uv_unref((uv_handle_t *)&loop->timer_poll);
}

int cfs_loop_new(struct cfs_loop **ret, struct cfs_err *err)
{
    struct cfs_loop *loop = calloc(1, sizeof *loop);
    int rc;

    if (!loop)
        return cfs_err_set(err, -ENOMEM, "event loop: out of memory");
    setenv("UV_THREADPOOL_SIZE", POOL_THREADS, 0); /* before its first job */
    cfs_list_init(&loop->tasks);
    for (unsigned i = 0; i < CFS_STAGE_N; i++)
        cfs_list_init(&loop->hooks[i]);

    loop->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->timer_fd < 0) {
        rc = cfs_err_set(err, -errno, "timerfd: %s", strerror(errno));
        goto fail_alloc;
    }
    rc = uv_loop_init(&loop->uv);
    if (rc < 0) {
        cfs_err_set(err, rc, "event loop: %s", uv_strerror(rc));
        goto fail_fd;
    }
    rc = uv_poll_init(&loop->uv, &loop->timer_poll, loop->timer_fd);
    if (rc < 0) {
        cfs_err_set(err, rc, "event loop: %s", uv_strerror(rc));
        goto fail_uv;
    }
    uv_poll_start(&loop->timer_poll, UV_READABLE, on_timer_fd);
    add_handles(loop);
    *ret = loop;
    return 0;

fail_uv:
    uv_loop_close(&loop->uv);
fail_fd:
    close(loop->timer_fd);
fail_alloc:
    free(loop);
    return rc;
}

/* Stop what is still embedded elsewhere, so that no link points here. */
static void forget_all(struct cfs_loop *loop)
{
    while (cfs_list_pop(&loop->tasks))
        ;
    for (unsigned i = 0; i < CFS_STAGE_N; i++)
        while (cfs_list_pop(&loop->hooks[i]))
            ;
    while (loop->n_timers > 0)
        cfs_timer_stop(loop->heap[1]);
}

void cfs_loop_free(struct cfs_loop *loop)
{
    struct work *w;
    int rc;

    if (!loop)
        return;
    assert(!loop->running);
    uv_close((uv_handle_t *)&loop->turn_end, NULL);
    uv_close((uv_handle_t *)&loop->spinning, NULL);
    uv_close((uv_handle_t *)&loop->timer_poll, NULL);
    /* Jobs in the pool, and handles that were closed, finish here. */
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    finish_turn(loop);
    forget_all(loop);
    rc = uv_loop_close(&loop->uv);
    assert(rc == 0); /* else somebody left a handle open */
    close(loop->timer_fd);
    while ((w = loop->free_work) != NULL) {
        loop->free_work = w->next;
        free(w);
    }
    free(loop->heap);
    free(loop);
}
