/* SPDX-License-Identifier: Apache-2.0 */
/* host_args.h - the command line of a daemon. For host.c. */
#ifndef CFS_CORE_HOST_ARGS_H
#define CFS_CORE_HOST_ARGS_H

#include "core/host.h"

/* What the common options say, beside what goes into the host itself. */
struct cfs_cmdline {
    struct cfs_host    *host;
    char               *log_file; /* NULL: not given; "-": stderr */
    enum cfs_log_level  level;
    enum cfs_log_format format;
    bool                help;
    bool                version;
};

/* The common options and those of @h's spec, each one's effect. Errors:
 * -EINVAL and the like, err says what is wrong with the command line. */
int cfs_cmdline_parse(struct cfs_cmdline *c, struct cfs_host *h, int argc,
                      char **argv, struct cfs_err *err);

void cfs_cmdline_help(struct cfs_cmdline *c); /* to stdout */

#endif
