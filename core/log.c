/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - one write(2) for each event; format and limits in log.h.
 *
 * What comes from outside (names, messages of peers) may hold any bytes: those
 * that are not printable are written as \xNN, so that nobody can forge a line.
 * A line is cut at LINE_LEN bytes.
 */
#include "core/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"

#define LINE_LEN 4096u
#define WINDOW_S 5u

struct cfs_log {
    char               *path; /* NULL: stderr */
    int                 fd;
    enum cfs_log_level  level;
    enum cfs_log_format format;
};

static const char *const level_names[] = {"error", "warning", "info", "debug",
                                          "trace"};
static const char *const level_marks[] = {"ERROR", "WARNING", "INFO", "DEBUG",
                                          "TRACE"};
/* syslog(3)'s priorities, for journald */
static const int level_priority[] = {3, 4, 6, 7, 7};

/* Guards the counters of call sites, which may be shared by threads and
 * logs, and the file that reopening changes. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int open_file(const char *path, struct cfs_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

    if (fd < 0)
        return cfs_err_set(err, -errno, "log %s: %s", path, strerror(errno));
    return fd;
}

int cfs_log_open(struct cfs_log **ret, const char *path,
                 enum cfs_log_level level, enum cfs_log_format format,
                 struct cfs_err *err)
{
    struct cfs_log *log = calloc(1, sizeof *log);
    int fd;

    if (!log)
        return cfs_err_set(err, -ENOMEM, "log: out of memory");
    log->level = level;
    log->format = format;
    log->fd = STDERR_FILENO;
    if (path) {
        fd = open_file(path, err);
        if (fd < 0) {
            free(log);
            return fd;
        }
        log->fd = fd;
        log->path = strdup(path);
        if (!log->path) {
            cfs_log_close(log);
            return cfs_err_set(err, -ENOMEM, "log: out of memory");
        }
    }
    *ret = log;
    return 0;
}

int cfs_log_reopen(struct cfs_log *log, struct cfs_err *err)
{
    int fd, old;

    if (!log->path)
        return 0;
    fd = open_file(log->path, err);
    if (fd < 0)
        return fd;
    pthread_mutex_lock(&lock);
    old = log->fd;
    log->fd = fd;
    pthread_mutex_unlock(&lock);
    close(old);
    return 0;
}

void cfs_log_close(struct cfs_log *log)
{
    if (!log)
        return;
    if (log->fd != STDERR_FILENO)
        close(log->fd);
    free(log->path);
    free(log);
}

void cfs_log_set_level(struct cfs_log *log, enum cfs_log_level level)
{
    log->level = level;
}

enum cfs_log_level cfs_log_get_level(const struct cfs_log *log)
{
    return log->level;
}

int cfs_log_level_parse(const char *s, enum cfs_log_level *ret)
{
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(level_names); i++) {
        if (strcasecmp(s, level_names[i]) == 0) {
            *ret = (enum cfs_log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

bool cfs_log_wants(const struct cfs_log *log, enum cfs_log_level level)
{
    return log && level <= log->level;
}

/* Count this line at @site. False: it is one too many. *ret_left_out is how
 * many were left out in the window that has ended, if any. */
static bool site_allows(struct cfs_log_site *site, unsigned *ret_left_out)
{
    struct timespec ts;
    uint64_t window;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    window = (uint64_t)ts.tv_sec / WINDOW_S + 1;
    *ret_left_out = 0;
    if (site->window != window) {
        *ret_left_out = site->left_out;
        *site = (struct cfs_log_site){.window = window};
    }
    if (site->said >= CFS_LOG_BURST) {
        site->left_out++;
        return false;
    }
    site->said++;
    return true;
}

/* What stands before the message; its length. */
static size_t put_head(const struct cfs_log *log, enum cfs_log_level level,
                       const char *who, char *line, size_t size)
{
    struct timespec ts;
    struct tm tm;
    int n;

    if (log->format == CFS_LOG_JOURNALD) {
        n = snprintf(line, size, "<%d>%s: ", level_priority[level], who);
    } else {
        clock_gettime(CLOCK_REALTIME, &ts);
        gmtime_r(&ts.tv_sec, &tm);
        n = snprintf(line, size,
                     "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ %s %s: ",
                     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                     tm.tm_min, tm.tm_sec, ts.tv_nsec / 1000,
                     level_marks[level], who);
    }
    if (n < 0)
        return 0;
    return (size_t)n < size ? (size_t)n : size - 1;
}

/* @text without control characters into @line; its length. */
static size_t put_clean(const char *text, char *line, size_t size)
{
    size_t at = 0;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = c >= 0x20 && c != 0x7f;

        if (at + (plain ? 1 : 4) > size)
            break;
        if (plain)
            line[at++] = *text;
        else
            at += (size_t)sprintf(line + at, "\\x%02x", c);
    }
    return at;
}

static void put_line(const struct cfs_log *log, enum cfs_log_level level,
                     const char *who, const char *text)
{
    char line[LINE_LEN];
    char *at = line;
    /* sprintf's NUL needs a byte, the line's end takes it. */
    size_t size = sizeof line - 1;

    at += put_head(log, level, who, line, size / 2);
    at += put_clean(text, at, size - (size_t)(at - line));
    *at++ = '\n';
    /* Of a failure there is nobody to tell. */
    (void)cfs_write_all(log->fd, line, (size_t)(at - line));
}

void cfs_log_at(struct cfs_log *log, struct cfs_log_site *site,
                enum cfs_log_level level, const char *who, const char *fmt,
                ...)
{
    char text[LINE_LEN];
    int keep = errno;
    unsigned left_out;
    bool say;
    va_list ap;

    pthread_mutex_lock(&lock);
    say = site_allows(site, &left_out);
    if (left_out > 0) {
        snprintf(text, sizeof text, "%u more lines like the next one were"
                 " left out", left_out);
        put_line(log, level, who, text);
    }
    if (say) {
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        put_line(log, level, who, text);
    }
    pthread_mutex_unlock(&lock);
    errno = keep;
}
