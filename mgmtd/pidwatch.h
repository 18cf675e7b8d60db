/* SPDX-License-Identifier: Apache-2.0 */
/* pidwatch.h - hear of a process's end, whoever its parent is.
 *
 * A pidfd on the loop: no races with reused ids, no SIGCHLD. A child of ours
 * is reaped here; of others the exit status cannot be known.
 */
#ifndef CFS_MGMTD_PIDWATCH_H
#define CFS_MGMTD_PIDWATCH_H

#include "core/loop.h"

struct pidwatch;

/* @start: as cfs_pid_start() says, or 0 for a child that was just forked.
 * @ended runs once, from the loop; the watch is over then, and freed.
 * @status as from waitpid(), or -1 when it was not our child.
 * -ESRCH: no such process, or another one has its id now. */
int pidwatch_new(struct cfs_loop *loop, uint32_t pid, uint64_t start,
                 void (*ended)(void *arg, int status), void *arg,
                 struct pidwatch **ret);

/* Watch no longer. NULL is fine. */
void pidwatch_free(struct pidwatch *w);

/* Tell nobody, but reap it at its end if it is a child. NULL is fine. */
void pidwatch_disown(struct pidwatch *w);

#endif
