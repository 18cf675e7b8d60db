/* SPDX-License-Identifier: Apache-2.0 */
/* simloop.c - see simloop.h. A few timers and jobs at a time: lists, searched
 * from end to end. */
#include "tests/unit/simloop.h"

#include <stdio.h>
#include <stdlib.h>

#define EPOCH_SEC 1000000000

/* A job under way; job->impl. */
struct work {
    struct cfs_list link; /* in loop.works, as they began */
    struct cfs_job *job;
    uint64_t        at;   /* of work(), then of done() */
    uint64_t        end;  /* of done() */
    size_t          begun;
    bool            worked;
};

struct cfs_loop {
    struct cfs_list   tasks;
    struct cfs_list   hooks[CFS_STAGE_N];
    struct cfs_list   works;
    struct cfs_timer *timer[64];
    size_t            n_timers;
    uint64_t          timer_seq;
    uint64_t          now;
    uint64_t          rnd;
    uint64_t          job_ns;
    uint64_t          slow_ns;
    bool              stopped;
    const struct simloop_watch *watch;
};

uint64_t simloop_random(uint64_t *seed, uint64_t below)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (z ^ (z >> 31)) % below;
}

/* -- its life ------------------------------------------------------------- */

int cfs_loop_new(struct cfs_loop **ret, struct cfs_err *err)
{
    struct cfs_loop *loop = calloc(1, sizeof *loop);

    if (!loop)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    cfs_list_init(&loop->tasks);
    cfs_list_init(&loop->works);
    for (unsigned i = 0; i < CFS_STAGE_N; i++)
        cfs_list_init(&loop->hooks[i]);
    loop->now = CFS_SEC;
    simloop_seed(loop, 1, 1, 1);
    *ret = loop;
    return 0;
}

void cfs_loop_free(struct cfs_loop *loop)
{
    if (!loop)
        return;
    assert(cfs_list_empty(&loop->works));
    free(loop);
}

void simloop_seed(struct cfs_loop *loop, uint64_t seed, uint64_t job_ns,
                  uint64_t slow_ns)
{
    loop->rnd = seed;
    loop->job_ns = job_ns;
    loop->slow_ns = slow_ns;
}

void simloop_watch(struct cfs_loop *loop, const struct simloop_watch *w)
{
    loop->watch = w;
}

/* -- time and randomness -------------------------------------------------- */

uint64_t cfs_now(struct cfs_loop *loop)
{
    return loop->now;
}

uint64_t cfs_now_fresh(struct cfs_loop *loop)
{
    return loop->now;
}

uint64_t cfs_ran(struct cfs_loop *loop)
{
    return loop->now;
}

/* Jobs take no time for those who do them. */
uint64_t cfs_clock(void)
{
    return CFS_SEC;
}

struct cfs_time cfs_realtime(struct cfs_loop *loop)
{
    return (struct cfs_time){EPOCH_SEC + (int64_t)(loop->now / CFS_SEC),
                             (uint32_t)(loop->now % CFS_SEC)};
}

void cfs_random(struct cfs_loop *loop, void *ret, size_t len)
{
    uint8_t *p = ret;

    while (len-- > 0)
        *p++ = (uint8_t)simloop_random(&loop->rnd, 256);
}

struct uv_loop_s *cfs_loop_uv(struct cfs_loop *loop)
{
    return NULL;
}

void cfs_loop_spin(struct cfs_loop *loop, uint64_t ns)
{
    /* it never sleeps */
}

/* -- tasks and hooks ------------------------------------------------------ */

void cfs_task_post(struct cfs_loop *loop, struct cfs_task *t)
{
    assert(t->link.next);
    if (cfs_list_empty(&t->link))
        cfs_list_add_tail(&loop->tasks, &t->link);
}

void cfs_task_cancel(struct cfs_task *t)
{
    cfs_list_del(&t->link);
}

void cfs_hook_ask(struct cfs_loop *loop, struct cfs_hook *h)
{
    assert(h->link.next);
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

        t->run(t);
    }
}

static bool run_hooks(struct cfs_loop *loop, enum cfs_stage stage)
{
    struct cfs_list round, *l;

    if (cfs_list_empty(&loop->hooks[stage]))
        return false;
    cfs_list_init(&round);
    cfs_list_splice(&round, &loop->hooks[stage]);
    while ((l = cfs_list_pop(&round)) != NULL) {
        struct cfs_hook *h = cfs_list_entry(l, struct cfs_hook, link);

        h->run(h);
    }
    return true;
}

static void finish_turn(struct cfs_loop *loop)
{
    do {
        run_tasks(loop);
    } while (run_hooks(loop, CFS_STAGE_COMMIT) ||
             run_hooks(loop, CFS_STAGE_SEND));
}

/* -- timers --------------------------------------------------------------- */

void cfs_timer_init(struct cfs_loop *loop, struct cfs_timer *t,
                    void (*fire)(struct cfs_timer *))
{
    *t = (struct cfs_timer){.loop = loop, .fire = fire};
}

void cfs_timer_stop(struct cfs_timer *t)
{
    struct cfs_loop *loop = t->loop;

    if (t->at == 0)
        return;
    loop->timer[t->at - 1] = loop->timer[--loop->n_timers];
    loop->timer[t->at - 1]->at = t->at;
    t->at = 0;
}

void cfs_timer_start(struct cfs_timer *t, uint64_t after_ns)
{
    struct cfs_loop *loop = t->loop;

    cfs_timer_stop(t);
    assert(loop->n_timers < CFS_ARRAY_SIZE(loop->timer));
    t->due = after_ns > UINT64_MAX - loop->now ? UINT64_MAX
                                               : loop->now + after_ns;
    t->seq = ++loop->timer_seq;
    loop->timer[loop->n_timers++] = t;
    t->at = loop->n_timers;
}

bool cfs_timer_active(const struct cfs_timer *t)
{
    return t->at != 0;
}

void cfs_timer_fini(struct cfs_timer *t)
{
    cfs_timer_stop(t);
}

static struct cfs_timer *first_timer(struct cfs_loop *loop)
{
    struct cfs_timer *best = NULL;

    for (size_t i = 0; i < loop->n_timers; i++) {
        struct cfs_timer *t = loop->timer[i];

        if (!best || t->due < best->due ||
            (t->due == best->due && t->seq < best->seq))
            best = t;
    }
    return best;
}

/* -- the pool ------------------------------------------------------------- */

void cfs_job_run(struct cfs_loop *loop, struct cfs_job *j,
                 void (*work)(struct cfs_job *),
                 void (*done)(struct cfs_job *))
{
    struct work *w = calloc(1, sizeof *w);
    uint64_t ns = loop->job_ns;

    if (!w)
        abort();
    j->loop = loop;
    j->impl = w;
    j->work = work;
    j->done = done;
    if (simloop_random(&loop->rnd, 16) == 0)
        ns = loop->slow_ns;
    w->job = j;
    w->end = loop->now + 1 + simloop_random(&loop->rnd, ns);
    w->at = simloop_random(&loop->rnd, 2) ? w->end : loop->now + 1;
    w->begun = loop->watch ? loop->watch->begun(loop->watch->ctx) : 0;
    cfs_list_add_tail(&loop->works, &w->link);
}

static struct work *first_work(struct cfs_loop *loop)
{
    struct work *best = NULL;

    for (struct cfs_list *l = loop->works.next; l != &loop->works;
         l = l->next) {
        struct work *w = cfs_list_entry(l, struct work, link);

        if (!best || w->at < best->at)
            best = w;
    }
    return best;
}

static void step_work(struct cfs_loop *loop, struct work *w)
{
    const struct simloop_watch *watch = loop->watch;
    struct cfs_job *j = w->job;

    if (!w->worked) {
        if (watch)
            watch->working(watch->ctx, w->begun);
        j->work(j);
        if (watch)
            watch->worked(watch->ctx);
        w->worked = true;
        w->at = w->end;
        return;
    }
    cfs_list_del(&w->link);
    free(w);
    j->impl = NULL;
    j->done(j);
}

/* -- turns ---------------------------------------------------------------- */

/* The next event that is due by @until. False: there is none. */
static bool turn(struct cfs_loop *loop, uint64_t until)
{
    struct cfs_timer *t = first_timer(loop);
    struct work *w = first_work(loop);
    uint64_t at = w && (!t || w->at <= t->due) ? w->at
                  : t                          ? t->due
                                               : UINT64_MAX;

    if ((!t && !w) || at > until)
        return false;
    if (at > loop->now)
        loop->now = at;
    if (w && w->at == at) {
        step_work(loop, w);
    } else {
        cfs_timer_stop(t);
        t->fire(t);
    }
    finish_turn(loop);
    return true;
}

void simloop_pass(struct cfs_loop *loop, uint64_t ns)
{
    uint64_t until = loop->now + ns;

    finish_turn(loop);
    while (turn(loop, until))
        ;
    if (loop->now < until)
        loop->now = until;
}

void cfs_loop_run_until(struct cfs_loop *loop, bool (*done)(void *arg),
                        void *arg)
{
    finish_turn(loop);
    while (!(done && done(arg)) && turn(loop, UINT64_MAX))
        ;
}

static bool is_stopped(void *arg)
{
    return ((struct cfs_loop *)arg)->stopped;
}

void cfs_loop_run(struct cfs_loop *loop)
{
    loop->stopped = false;
    cfs_loop_run_until(loop, is_stopped, loop);
}

void cfs_loop_stop(struct cfs_loop *loop)
{
    loop->stopped = true;
}
