/* SPDX-License-Identifier: Apache-2.0 */
/* launch.h - start other programs of clusterfs. */
#ifndef CFS_MGMTD_LAUNCH_H
#define CFS_MGMTD_LAUNCH_H

#include "core/err.h"

/* Where @name is: beside this program, in ../server (a build tree), or in
 * PATH. Malloc'ed. -ENOENT. */
int spawn_find(const char *name, char **ret, struct cfs_err *err);

/* Start @argv[0] in a session of its own, so that it outlives us; stdin from
 * /dev/null, stdout and stderr into the new file @output. */
int spawn_detached(char *const argv[], const char *output, uint32_t *ret_pid,
                   struct cfs_err *err);

/* Run @argv[0] to its end; blocks, for pool threads. Its exit status, 0 to
 * 255; 128 and more for a signal; or negative. What it wrote, up to @len - 1
 * bytes, is in @output, without a newline at the end. */
int spawn_wait(char *const argv[], char *output, size_t len,
               struct cfs_err *err);

#endif
