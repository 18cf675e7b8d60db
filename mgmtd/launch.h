/* SPDX-License-Identifier: Apache-2.0 */
/* launch.h - start other programs, and find those that run already. */
#ifndef CFS_MGMTD_LAUNCH_H
#define CFS_MGMTD_LAUNCH_H

#include "core/err.h"

/* Where @name of clusterfs is: beside this program, in ../server (a build
 * tree), or in PATH. Malloc'ed. -ENOENT. */
int spawn_find(const char *name, char **ret, struct cfs_err *err);

/* Where @name of the system is: in PATH. Malloc'ed. -ENOENT, without words. */
int spawn_find_in_path(const char *name, char **ret);

/* Start @argv[0] in a session of its own, so that it outlives us; stdin from
 * /dev/null, stdout and stderr into the new file @output. */
int spawn_detached(char *const argv[], const char *output, uint32_t *ret_pid,
                   struct cfs_err *err);

/* Run @argv[0] to its end; blocks, for pool threads. Its exit status, 0 to
 * 255; 128 and more for a signal; or negative. What it wrote, up to @len - 1
 * bytes, is in @output, without a newline at the end. */
int spawn_wait(char *const argv[], char *output, size_t len,
               struct cfs_err *err);

/* What the process whose output is in @path said last, less "@program: "; ""
 * when it said nothing. */
void spawn_last_words(const char *path, const char *program, char *ret,
                      size_t len);

/* -- processes that run --------------------------------------------------- */

struct spawned {
    uint32_t    pid;
    uint64_t    start; /* as cfs_pid_start() says */
    const char *args;  /* NUL-separated, and one more at the end */
    size_t      len;
};

/* Each process whose argv[0] ends in @program, until @each says false. */
void spawn_scan(const char *program,
                bool (*each)(void *arg, const struct spawned *p), void *arg);
/* The word behind argument @name; NULL: none. */
const char *spawned_arg(const struct spawned *p, const char *name);

#endif
