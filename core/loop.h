/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - one thread that touches state: timers, deferred tasks, the pool,
 * time and randomness. The only way to any of them, so that a simulator can
 * stand in its place.
 *
 * A turn of the loop:
 *   1. events: sockets, the fuse device, timers, finished pool jobs;
 *   2. tasks until none is left (unwinds are tasks);
 *   3. CFS_STAGE_COMMIT hooks that were asked for (the journal's one write),
 *      then the tasks they made (answers);
 *   4. CFS_STAGE_SEND hooks that were asked for (one send per connection),
 *      then the tasks they made; back to 3 while any hook is asked for;
 *   5. sleep.
 * So whatever came in one turn is written once and sent once.
 *
 * Threads    everything from the loop thread, but a job's work().
 * Ownership  callers embed timers, tasks, hooks and jobs, and keep them until
 *            they fired or were stopped. Nothing here is allocated per event.
 * Units      ns; CLOCK_BOOTTIME for durations, CLOCK_REALTIME for stamps.
 */
#ifndef CFS_CORE_LOOP_H
#define CFS_CORE_LOOP_H

#include "core/err.h"
#include "core/list.h"

struct cfs_loop;
struct uv_loop_s;

#define CFS_MS ((uint64_t)1000000)
#define CFS_SEC ((uint64_t)1000000000)

/* Run @run once, later in this turn. Zero-initialise, then cfs_task_init(). */
struct cfs_task {
    struct cfs_list link;
    void (*run)(struct cfs_task *t);
};

/* All but fire is the loop's own. A zeroed one is a stopped one. */
struct cfs_timer {
    struct cfs_loop *loop;
    uint64_t         due; /* boot time, ns */
    uint64_t         seq; /* order of equals: as they were started */
    size_t           at;  /* its place in the heap; 0: stopped */
    void (*fire)(struct cfs_timer *t);
};

enum cfs_stage { CFS_STAGE_COMMIT, CFS_STAGE_SEND, CFS_STAGE_N };

/* Something to do once at the end of a turn in which it was asked for. */
struct cfs_hook {
    struct cfs_list link;
    enum cfs_stage  stage;
    void (*run)(struct cfs_hook *h);
};

/* Blocking work: @work on a pool thread, then @done on the loop. @work may
 * touch only what the job owns. */
struct cfs_job {
    struct cfs_loop *loop;
    void            *impl;
    struct cfs_list  link;
    void (*work)(struct cfs_job *j);
    void (*done)(struct cfs_job *j);
};

/* The real loop, on libuv. Errors: -ENOMEM, or what libuv says. */
int  cfs_loop_new(struct cfs_loop **ret, struct cfs_err *err);
void cfs_loop_free(struct cfs_loop *loop); /* NULL is fine */

/* Run until cfs_loop_stop(); or, for tests, until nothing is left to do or
 * @done says so. */
void cfs_loop_run(struct cfs_loop *loop);
void cfs_loop_stop(struct cfs_loop *loop);
void cfs_loop_run_until(struct cfs_loop *loop, bool (*done)(void *arg),
                        void *arg);

/* For those who own file descriptors (rpc, fuse); NULL in a simulator. */
struct uv_loop_s *cfs_loop_uv(struct cfs_loop *loop);

/* Keep polling without sleep for up to @ns after an event as long as events
 * keep coming (0, the default: never). See docs/core.md. */
void cfs_loop_spin(struct cfs_loop *loop, uint64_t ns);

/* Now, read once per turn and after each callback that asks anew. */
uint64_t        cfs_now(struct cfs_loop *loop);      /* boot time, ns */
uint64_t        cfs_now_fresh(struct cfs_loop *loop);
uint64_t        cfs_clock(void); /* boot time, ns; any thread */
/* The same without the pauses in which this process stood still, as far as
 * they were noticed: for how long it has been waiting for others. Timers count
 * by this, too. */
uint64_t        cfs_ran(struct cfs_loop *loop);
struct cfs_time cfs_realtime(struct cfs_loop *loop);
void            cfs_random(struct cfs_loop *loop, void *ret, size_t len);

static inline void cfs_task_init(struct cfs_task *t,
                                 void (*run)(struct cfs_task *))
{
    cfs_list_init(&t->link);
    t->run = run;
}

/* Queue @t at the end, unless it is queued. */
void cfs_task_post(struct cfs_loop *loop, struct cfs_task *t);
void cfs_task_cancel(struct cfs_task *t);

static inline void cfs_hook_init(struct cfs_hook *h, enum cfs_stage stage,
                                 void (*run)(struct cfs_hook *))
{
    cfs_list_init(&h->link);
    h->stage = stage;
    h->run = run;
}

void cfs_hook_ask(struct cfs_loop *loop, struct cfs_hook *h);
void cfs_hook_cancel(struct cfs_hook *h);

/* One shot; starting a started timer moves it. A stopped timer does not fire,
 * even when it was due. Free the timer only after cfs_timer_fini(). */
void cfs_timer_init(struct cfs_loop *loop, struct cfs_timer *t,
                    void (*fire)(struct cfs_timer *));
void cfs_timer_start(struct cfs_timer *t, uint64_t after_ns);
void cfs_timer_stop(struct cfs_timer *t);
bool cfs_timer_active(const struct cfs_timer *t);
void cfs_timer_fini(struct cfs_timer *t);

void cfs_job_run(struct cfs_loop *loop, struct cfs_job *j,
                 void (*work)(struct cfs_job *),
                 void (*done)(struct cfs_job *));

#endif
