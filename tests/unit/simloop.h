/* SPDX-License-Identifier: Apache-2.0 */
/* simloop.h - core/loop.h once more, for tests in which one seed decides
 * everything: time is virtual and stands still while anything can be done, the
 * pool's jobs run on the loop's thread, each after a random while.
 *
 * A program that has simloop.c among its sources has this loop instead of the
 * real one.
 *
 * A job's work() is done at a random moment between its begin and its done().
 * What a device promises about a flush counts from the begin, so a watcher is
 * told of both.
 */
#ifndef CFS_TESTS_SIMLOOP_H
#define CFS_TESTS_SIMLOOP_H

#include "core/loop.h"

struct simloop_watch {
    size_t (*begun)(void *ctx);                /* a job begins */
    void (*working)(void *ctx, size_t begun);  /* now its work is done */
    void (*worked)(void *ctx);
    void *ctx;
};

/* From here on @seed decides. A job takes up to @job_ns, one in 16 up to
 * @slow_ns. */
void simloop_seed(struct cfs_loop *loop, uint64_t seed, uint64_t job_ns,
                  uint64_t slow_ns);
/* NULL: nobody watches. Borrowed. */
void simloop_watch(struct cfs_loop *loop, const struct simloop_watch *w);

/* Let @ns pass: everything that is due in them happens. */
void simloop_pass(struct cfs_loop *loop, uint64_t ns);

/* A repeatable random number below @below. */
uint64_t simloop_random(uint64_t *seed, uint64_t below);

#endif
