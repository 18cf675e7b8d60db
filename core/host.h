/* SPDX-License-Identifier: Apache-2.0 */
/* host.h - what every daemon's main has in common: arguments, directories,
 * log, daemonizing with a readiness pipe, pid file, signals, statedump.
 *
 * A start: cfs_host_init() parses the command line and the environment, opens
 * the log, and, unless --no-daemon, forks; the parent waits on a pipe until
 * the child says cfs_host_ready() (parent exits 0), cfs_host_fail() (parent
 * prints the message, exits 1), or dies (parent says so, with the log to
 * read). The caller then builds its graph or server and runs the loop.
 * In the background stdout and stderr are the log (or nothing, without one),
 * and the working directory becomes / at cfs_host_ready(). In the foreground
 * cfs_host_fail() prints, and cfs_host_ready() tells systemd, if it asked.
 *
 * Signals    TERM, INT -> on_stop, once; a second one within 10 s is ignored.
 *            HUP -> log reopened. USR1 -> statedump to
 *            RUN_DIR/dump.PROGRAM.PID.TIME. PIPE ignored.
 * Directories  --config-dir --state-dir --run-dir --log-dir, or the
 *            environment's CLUSTERFS_CONFIG_DIR _STATE_DIR _RUN_DIR _LOG_DIR,
 *            or /etc/clusterfs, /var/lib/clusterfs, /run/clusterfs,
 *            /var/log/clusterfs. Made (0755; state 0700) where missing.
 */
#ifndef CFS_CORE_HOST_H
#define CFS_CORE_HOST_H

#include "core/graph.h"

#define CFS_PORT_MGMTD 24007

struct cfs_dirs {
    char *config;
    char *state;
    char *run;
    char *log;
};

/* One argument of a program beyond the common ones. */
struct cfs_arg {
    const char *name;  /* long name without "--" */
    char        letter; /* or 0 */
    const char *value; /* placeholder ("FILE"), or NULL: a flag */
    const char *help;
    void       *arg;
    /* Called for each time it is given. -EINVAL with err. */
    int (*set)(void *arg, const char *value, struct cfs_err *err);
};

struct cfs_host_spec {
    const char           *program; /* "clusterfs-brickd" */
    const char           *synopsis; /* after the options: "MOUNTPOINT" */
    const char           *about;   /* one line */
    const struct cfs_arg *args;    /* ends with a NULL name; may be NULL */
    bool                  own_log; /* default log: LOG_DIR/program.log */
    bool                  own_pid; /* default pid file: RUN_DIR/program.pid */
    /* NULL, or the default log's name in LOG_DIR, malloc'ed, once arguments
     * are known ("bricks/a.log"); NULL from it: as if it were not there. */
    char *(*log_name)(struct cfs_host *h);
    void (*on_stop)(struct cfs_host *h);
    void (*on_dump)(struct cfs_host *h, struct cfs_dump *d);
    void *owner;
};

struct cfs_host {
    const struct cfs_host_spec *spec;
    struct cfs_loop            *loop;
    struct cfs_log             *log;
    struct cfs_dirs             dirs;
    char                       *log_path; /* NULL: stderr */
    char                       *pid_path; /* NULL: none */
    uint16_t                    port;     /* mgmtd's: --port,
                                             CLUSTERFS_PORT, 24007 */
    bool                        foreground;
    int                         ready_fd; /* -1 once told */
    char                      **rest;     /* arguments after the options */
    int                         n_rest;
    int                         status;   /* exit status of the process */
    void                       *impl;
};

/* On --help and --version it prints and exits 0; on a wrong command line it
 * prints the reason and exits 2. Other errors: returned.
 * The common options: the directories, --port, --log-level, --log-file
 * (a path, or - for stderr), --log-format plain|journald, --pid-file,
 * --no-daemon, --help, --version. */
int  cfs_host_init(struct cfs_host *h, const struct cfs_host_spec *spec,
                   int argc, char **argv, struct cfs_err *err);
void cfs_host_ready(struct cfs_host *h);
void cfs_host_fail(struct cfs_host *h, const struct cfs_err *err);
int  cfs_host_run(struct cfs_host *h); /* the loop; returns exit status */
void cfs_host_stop(struct cfs_host *h); /* ends the loop */
/* Write a statedump now, as SIGUSR1 does. @ret_path is malloc'ed. */
int  cfs_host_dump(struct cfs_host *h, char **ret_path, struct cfs_err *err);
void cfs_host_fini(struct cfs_host *h);

/* The directories alone, from the environment, for short-lived tools. */
int  cfs_dirs_default(struct cfs_dirs *ret);
void cfs_dirs_free(struct cfs_dirs *d);

/* @path as seen from /; malloc'ed, NULL when there is no memory. */
char *cfs_path_absolute(const char *path);
/* Make @path, with @mode, and what is missing above it (0755). */
int cfs_mkdirs(const char *path, mode_t mode);

/* This node's name (hostname up to CFS_NODE_MAX - 1 bytes). */
const char *cfs_node_name(void);
/* This boot; this installation of an operating system (/etc/machine-id;
 * -ENOENT: it has no name); when @pid started (/proc/PID/stat field 22).
 * -ESRCH. */
int cfs_boot_id(struct cfs_uuid *ret);
int cfs_machine_id(struct cfs_uuid *ret);
int cfs_pid_start(uint32_t pid, uint64_t *ret);

#endif
