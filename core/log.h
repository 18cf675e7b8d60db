/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one line an event, to a file, stderr, or in journald's format.
 *
 * A line: 2026-11-21T14:00:00.123456Z LEVEL WHO: message key=value. WHO is the
 * translator's or module's name. The same call site speaks at most
 * CFS_LOG_BURST times in five seconds; then one line says how many were left
 * out. Libraries (core, rpc, volfiles) log nothing above debug, except where
 * nobody else could know.
 *
 * Threads    any.
 */
#ifndef CFS_CORE_LOG_H
#define CFS_CORE_LOG_H

#include "core/err.h"

enum cfs_log_level {
    CFS_LOG_ERROR,
    CFS_LOG_WARNING,
    CFS_LOG_INFO,
    CFS_LOG_DEBUG,
    CFS_LOG_TRACE,
};

enum cfs_log_format { CFS_LOG_PLAIN, CFS_LOG_JOURNALD };

#define CFS_LOG_BURST 20

struct cfs_log;

/* To @path (created 0640, appended), or to stderr when NULL. */
int  cfs_log_open(struct cfs_log **ret, const char *path,
                  enum cfs_log_level level, enum cfs_log_format format,
                  struct cfs_err *err);
int  cfs_log_reopen(struct cfs_log *log, struct cfs_err *err);
void cfs_log_close(struct cfs_log *log); /* NULL is fine */
void cfs_log_set_level(struct cfs_log *log, enum cfs_log_level level);
enum cfs_log_level cfs_log_get_level(const struct cfs_log *log);
int  cfs_log_level_parse(const char *s, enum cfs_log_level *ret);

/* One per call site, static, zero: counts for the rate limit. */
struct cfs_log_site {
    uint64_t window; /* s */
    unsigned said;
    unsigned left_out;
};

void cfs_log_at(struct cfs_log *log, struct cfs_log_site *site,
                enum cfs_log_level level, const char *who, const char *fmt,
                ...) CFS_PRINTF(5, 6);
bool cfs_log_wants(const struct cfs_log *log, enum cfs_log_level level);

/* Macro only because each call site has its own counter. */
#define cfs_log(log, level, who, ...)                                        \
    do {                                                                     \
        static struct cfs_log_site site_;                                    \
        if (cfs_log_wants(log, level))                                       \
            cfs_log_at(log, &site_, level, who, __VA_ARGS__);                \
    } while (0)

#define cfs_log_error(log, who, ...)                                         \
    cfs_log(log, CFS_LOG_ERROR, who, __VA_ARGS__)
#define cfs_log_warning(log, who, ...)                                       \
    cfs_log(log, CFS_LOG_WARNING, who, __VA_ARGS__)
#define cfs_log_info(log, who, ...)                                          \
    cfs_log(log, CFS_LOG_INFO, who, __VA_ARGS__)
#define cfs_log_debug(log, who, ...)                                         \
    cfs_log(log, CFS_LOG_DEBUG, who, __VA_ARGS__)
#define cfs_log_trace(log, who, ...)                                         \
    cfs_log(log, CFS_LOG_TRACE, who, __VA_ARGS__)

#endif
