/* SPDX-License-Identifier: Apache-2.0 */
/* world_wait.h - waiting for something in a `struct world`, which the file that
 * includes this has: with a .loop, and a LIMIT in ns that no wait exceeds.
 */
#ifndef CFS_TESTS_UNIT_WORLD_WAIT_H
#define CFS_TESTS_UNIT_WORLD_WAIT_H

#define WAIT_PIECES 10u

static uint64_t wait_end;
static bool (*wait_cond)(struct world *w);

static void on_wait_timer(struct cfs_timer *t)
{
}

static bool wait_done(void *arg)
{
    struct world *w = arg;

    return wait_cond(w) || cfs_now_fresh(w->loop) >= wait_end;
}

static bool wait_once(struct world *w, bool (*cond)(struct world *w),
                      uint64_t ns)
{
    struct cfs_timer timer;

    wait_cond = cond;
    wait_end = cfs_now_fresh(w->loop) + ns;
    cfs_timer_init(w->loop, &timer, on_wait_timer);
    cfs_timer_start(&timer, ns + CFS_MS / 10);
    cfs_loop_run_until(w->loop, wait_done, w);
    cfs_timer_fini(&timer);
    return cond(w);
}

/* In pieces: a process that gets no processor for all of a short time has made
 * some turns in it all the same. */
static bool wait_some(struct world *w, bool (*cond)(struct world *w),
                      uint64_t ns)
{
    for (unsigned i = 0; i < WAIT_PIECES; i++)
        if (wait_once(w, cond, ns / WAIT_PIECES))
            return true;
    return false;
}

#define WAIT(w, cond)                                                        \
    do {                                                                     \
        if (!wait_some(w, cond, LIMIT))                                      \
            fail_msg("never: %s", #cond);                                    \
    } while (0)

static bool never(struct world *w)
{
    return false;
}

#endif
