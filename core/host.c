/* SPDX-License-Identifier: Apache-2.0 */
/* host.c - the common start and end of every daemon; see host.h.
 *
 * Readiness  a pipe: the child writes 'R', or 'F' and a message, and closes
 *            it; its end without either means that the child died.
 * Pid file   opened and locked before the fork (the lock belongs to the open
 *            file, so the child has it), written after it.
 */
#include "core/host.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

#include "core/dump.h"
#include "core/host_args.h"

#define STOP_AGAIN (10 * CFS_SEC)

enum { SIG_STOP_TERM, SIG_STOP_INT, SIG_REOPEN, SIG_DUMP, SIG_N };

struct host_impl {
    struct cfs_host *host;
    uv_signal_t      signals[SIG_N];
    int              pid_fd;
    bool             daemon;
    bool             stopping;
    uint64_t         stop_at; /* when the first TERM came */
};

static struct host_impl *impl_of(struct cfs_host *h)
{
    return h->impl;
}

/* -- files ---------------------------------------------------------------- */

static int make_dirs(const struct cfs_dirs *d, struct cfs_err *err)
{
    static const mode_t modes[] = {0755, 0700, 0755, 0755};
    const char *const paths[] = {d->config, d->state, d->run, d->log};

    for (size_t i = 0; i < CFS_ARRAY_SIZE(paths); i++) {
        int rc = cfs_mkdirs(paths[i], modes[i]);

        /* Most programs never look into the configuration directory. */
        if (rc < 0 && i > 0)
            return cfs_err_set(err, rc, "cannot make %s: %s", paths[i],
                               cfs_err_str(rc));
    }
    return 0;
}

/* Where the log goes when nobody says: malloc'ed, or NULL for stderr. */
static int default_log(struct cfs_host *h, char **ret)
{
    char *name = NULL, *path;
    int n;

    if (h->spec->log_name)
        name = h->spec->log_name(h);
    if (!name && !h->spec->own_log) {
        *ret = NULL;
        return 0;
    }
    if (name)
        n = asprintf(&path, "%s/%s", h->dirs.log, name);
    else
        n = asprintf(&path, "%s/%s.log", h->dirs.log, h->spec->program);
    free(name);
    if (n < 0)
        return -ENOMEM;
    *ret = path;
    return 0;
}

/* The folder that @path is in. */
static int make_parent(const char *path)
{
    char *copy = strdup(path);
    char *slash = copy ? strrchr(copy, '/') : NULL;
    int rc = 0;

    if (!copy)
        return -ENOMEM;
    if (slash && slash != copy) {
        *slash = '\0';
        rc = cfs_mkdirs(copy, 0755);
    }
    free(copy);
    return rc;
}

static int open_log(struct cfs_host *h, struct cfs_cmdline *c,
                    struct cfs_err *err)
{
    int rc = 0;

    if (!c->log_file) {
        rc = default_log(h, &h->log_path);
    } else if (strcmp(c->log_file, "-") != 0) {
        h->log_path = c->log_file;
        c->log_file = NULL;
    }
    if (rc == 0 && h->log_path)
        rc = make_parent(h->log_path);
    if (rc < 0)
        return cfs_err_set(err, rc, "log %s: %s",
                           h->log_path ? h->log_path : "", cfs_err_str(rc));
    return cfs_log_open(&h->log, h->log_path, c->level, c->format, err);
}

/* A process that was just killed has its files until the last of its threads
 * is gone: it may be in the middle of a flush. */
static int lock_patiently(int fd)
{
    const struct timespec step = {.tv_nsec = 20 * 1000 * 1000};
    int rc;

    for (unsigned i = 0; i < 150; i++) {
        rc = flock(fd, LOCK_EX | LOCK_NB);
        if (rc == 0 || errno != EWOULDBLOCK)
            return rc;
        nanosleep(&step, NULL);
    }
    return rc;
}

/* Lock the pid file, unless a living process has it: -EBUSY. */
static int lock_pid_file(struct cfs_host *h, struct cfs_err *err)
{
    struct host_impl *impl = impl_of(h);
    struct stat here, there;
    const char *path;
    char pid[32] = "";
    int fd, rc;

    if (!h->pid_path && h->spec->own_pid &&
        asprintf(&h->pid_path, "%s/%s.pid", h->dirs.run, h->spec->program) < 0)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    path = h->pid_path;
    if (!path)
        return 0;
    rc = make_parent(path);
    if (rc < 0)
        return cfs_err_set(err, rc, "pid file %s: %s", path, cfs_err_str(rc));
    for (;;) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
            return cfs_err_set(err, -errno, "pid file %s: %s", path,
                               strerror(errno));
        if (lock_patiently(fd) < 0) {
            rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
            if (pread(fd, pid, sizeof pid - 1, 0) < 0)
                pid[0] = '\0';
            pid[strspn(pid, "0123456789")] = '\0';
            close(fd);
            return cfs_err_set(err, rc, "pid file %s: process %s has it",
                               path, pid[0] ? pid : "(unknown)");
        }
        /* Its last owner may have removed it before we had the lock. */
        if (fstat(fd, &here) == 0 && stat(path, &there) == 0 &&
            here.st_ino == there.st_ino && here.st_dev == there.st_dev)
            break;
        close(fd);
    }
    impl->pid_fd = fd;
    return 0;
}

static int write_pid_file(struct cfs_host *h, struct cfs_err *err)
{
    struct host_impl *impl = impl_of(h);
    char text[32];
    int n;

    if (impl->pid_fd < 0)
        return 0;
    n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(impl->pid_fd, 0) < 0 ||
        pwrite(impl->pid_fd, text, (size_t)n, 0) != n)
        return cfs_err_set(err, -errno, "pid file %s: %s", h->pid_path,
                           strerror(errno));
    return 0;
}

/* In the background: what is printed goes to the log, so that an assertion's
 * last words are kept. */
static void redirect_output(const struct cfs_host *h)
{
    int in = open("/dev/null", O_RDWR | O_CLOEXEC);
    int out = -1;

    if (h->log_path)
        out = open(h->log_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (in < 0)
        return;
    dup2(in, STDIN_FILENO);
    dup2(out >= 0 ? out : in, STDOUT_FILENO);
    dup2(out >= 0 ? out : in, STDERR_FILENO);
    close(in);
    if (out >= 0)
        close(out);
}

/* -- readiness ------------------------------------------------------------ */

/* The parent of the fork: wait for the child's word, and end. */
static void wait_ready(const struct cfs_host *h, int fd, pid_t child)
{
    char word[1 + CFS_ERR_TEXT];
    size_t len = 0;
    int status = 0;
    ssize_t n;

    while (len < sizeof word - 1) {
        n = read(fd, word + len, sizeof word - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    word[len] = '\0';
    if (len > 0 && word[0] == 'R')
        _exit(0);
    if (len > 0 && word[0] == 'F') {
        fprintf(stderr, "%s: %s\n", h->spec->program, word + 1);
        _exit(1);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status))
        fprintf(stderr, "%s: killed by signal %d while it started",
                h->spec->program, WTERMSIG(status));
    else
        fprintf(stderr, "%s: ended with status %d while it started",
                h->spec->program, WEXITSTATUS(status));
    fprintf(stderr, h->log_path ? "; see %s\n" : "%s\n",
            h->log_path ? h->log_path : "");
    _exit(1);
}

static int daemonize(struct cfs_host *h, struct cfs_err *err)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return cfs_err_set(err, -errno, "pipe: %s", strerror(errno));
    fflush(NULL);
    pid = fork();
    if (pid < 0) {
        int rc = -errno;

        close(fds[0]);
        close(fds[1]);
        return cfs_err_set(err, rc, "fork: %s", cfs_err_str(rc));
    }
    if (pid > 0) {
        close(fds[1]);
        wait_ready(h, fds[0], pid);
    }
    close(fds[0]);
    setsid();
    redirect_output(h);
    h->ready_fd = fds[1];
    impl_of(h)->daemon = true;
    return 0;
}

/* Say @state to systemd, if it started us and asked to be told. */
static void notify_systemd(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    int fd;

    if (len == 0 || len >= sizeof addr.sun_path ||
        (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(addr.sun_path, path, len);
    if (path[0] == '@')
        addr.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    close(fd);
}

/* The pipe's word; the parent may have been killed, which is no matter. */
static void tell_parent(struct cfs_host *h, char word, const char *text)
{
    char msg[1 + CFS_ERR_TEXT];
    int n = snprintf(msg, sizeof msg, "%c%s", word, text);
    size_t len = n < 0 ? 0 : (size_t)n;

    if (h->ready_fd < 0)
        return;
    if (len >= sizeof msg)
        len = sizeof msg - 1;
    if (write(h->ready_fd, msg, len) < 0)
        cfs_log_debug(h->log, h->spec->program, "nobody waits for us");
    close(h->ready_fd);
    h->ready_fd = -1;
}

void cfs_host_ready(struct cfs_host *h)
{
    tell_parent(h, 'R', "");
    if (impl_of(h)->daemon && chdir("/") < 0)
        cfs_log_warning(h->log, h->spec->program, "chdir: %s",
                        strerror(errno));
    notify_systemd("READY=1");
}

void cfs_host_fail(struct cfs_host *h, const struct cfs_err *err)
{
    cfs_log_error(h->log, h->spec->program, "%s", err->text);
    /* In the foreground a log on stderr has said it already. */
    if (h->ready_fd >= 0)
        tell_parent(h, 'F', err->text);
    else if (!impl_of(h)->daemon && h->log_path)
        fprintf(stderr, "%s: %s\n", h->spec->program, err->text);
    h->status = 1;
}

/* -- signals -------------------------------------------------------------- */

static void on_term(struct cfs_host *h)
{
    struct host_impl *impl = impl_of(h);
    uint64_t now = cfs_now(h->loop);

    if (impl->stopping) {
        if (now - impl->stop_at < STOP_AGAIN)
            return;
        cfs_log_warning(h->log, h->spec->program,
                        "told to stop again: not waiting any longer");
        h->status = 1;
        cfs_host_stop(h);
        return;
    }
    impl->stopping = true;
    impl->stop_at = now;
    notify_systemd("STOPPING=1");
    if (h->spec->on_stop)
        h->spec->on_stop(h);
    else
        cfs_host_stop(h);
}

static void on_reopen(struct cfs_host *h)
{
    struct cfs_err err = {0};

    if (cfs_log_reopen(h->log, &err) < 0)
        cfs_log_error(h->log, h->spec->program, "%s", err.text);
    else if (impl_of(h)->daemon)
        redirect_output(h);
}

static void write_dump(struct cfs_host *h, struct cfs_dump *d)
{
    cfs_dump_section(d, "process");
    cfs_dump_put(d, "program", "%s", h->spec->program);
    cfs_dump_put(d, "version", "%s", CFS_VERSION);
    cfs_dump_put(d, "pid", "%d", (int)getpid());
    if (h->spec->on_dump)
        h->spec->on_dump(h, d);
}

int cfs_host_dump(struct cfs_host *h, char **ret_path, struct cfs_err *err)
{
    char *path, part[PATH_MAX];
    struct cfs_dump d;
    int fd, rc;

    if (asprintf(&path, "%s/dump.%s.%d.%lld", h->dirs.run, h->spec->program,
                 (int)getpid(), (long long)cfs_realtime(h->loop).sec) < 0)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    /* Under its name it is there as a whole. */
    snprintf(part, sizeof part, "%s/.dump.%d", h->dirs.run, (int)getpid());
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
              0600);
    d.out = fd < 0 ? NULL : fdopen(fd, "w");
    if (d.out) {
        write_dump(h, &d);
        rc = fclose(d.out) == 0 && rename(part, path) == 0 ? 0 : -errno;
        if (rc < 0)
            unlink(part);
    } else {
        rc = -errno;
        if (fd >= 0)
            close(fd);
    }
    if (rc < 0) {
        cfs_err_set(err, rc, "statedump %s: %s", path, cfs_err_str(rc));
        free(path);
        return rc;
    }
    cfs_log_info(h->log, h->spec->program, "statedump in %s", path);
    *ret_path = path;
    return 0;
}

static void on_dump(struct cfs_host *h)
{
    struct cfs_err err = {0};
    char *path;

    if (cfs_host_dump(h, &path, &err) == 0)
        free(path);
    else
        cfs_log_error(h->log, h->spec->program, "%s", err.text);
}

static void on_signal(uv_signal_t *s, int signum)
{
    struct host_impl *impl = s->data;

    switch (signum) {
    case SIGTERM:
    case SIGINT:
        on_term(impl->host);
        break;
    case SIGHUP:
        on_reopen(impl->host);
        break;
    case SIGUSR1:
        on_dump(impl->host);
        break;
    }
}

static int watch_signals(struct cfs_host *h, struct cfs_err *err)
{
    static const int numbers[SIG_N] = {
        [SIG_STOP_TERM] = SIGTERM,
        [SIG_STOP_INT] = SIGINT,
        [SIG_REOPEN] = SIGHUP,
        [SIG_DUMP] = SIGUSR1,
    };
    struct host_impl *impl = impl_of(h);

    for (unsigned i = 0; i < SIG_N; i++) {
        uv_signal_t *s = &impl->signals[i];
        int rc = uv_signal_init(cfs_loop_uv(h->loop), s);

        if (rc == 0) {
            s->data = impl;
            rc = uv_signal_start(s, on_signal, numbers[i]);
        }
        if (rc < 0)
            return cfs_err_set(err, rc, "signals: %s", uv_strerror(rc));
    }
    return 0;
}

/* -- life ----------------------------------------------------------------- */

static int port_from_environment(uint16_t *ret, struct cfs_err *err)
{
    const char *text = getenv("CLUSTERFS_PORT");
    uint64_t port = CFS_PORT_MGMTD;

    if (text && *text &&
        (cfs_parse_u64(text, &port) < 0 || port == 0 || port > UINT16_MAX))
        return cfs_err_set(err, -EINVAL,
                           "CLUSTERFS_PORT=%s: expected a number from 1 to "
                           "65535", text);
    *ret = (uint16_t)port;
    return 0;
}

/* Parse, or end the process. */
static void parse_or_exit(struct cfs_host *h, struct cfs_cmdline *c, int argc,
                          char **argv)
{
    struct cfs_err err = {0};
    int rc = port_from_environment(&h->port, &err);

    if (rc == 0)
        rc = cfs_cmdline_parse(c, h, argc, argv, &err);
    if (rc < 0) {
        fprintf(stderr, "%s: %s\nTry '%s --help'.\n", h->spec->program,
                err.text, h->spec->program);
        exit(2);
    }
    if (c->help) {
        cfs_cmdline_help(c);
        exit(0);
    }
    if (c->version) {
        printf("%s %s\n", h->spec->program, CFS_VERSION);
        exit(0);
    }
}

/* What may fail while there is still a terminal to say it on. */
static int start_before_fork(struct cfs_host *h, struct cfs_cmdline *c,
                             struct cfs_err *err)
{
    int rc;

    rc = make_dirs(&h->dirs, err);
    if (rc < 0)
        return rc;
    rc = open_log(h, c, err);
    if (rc < 0)
        return rc;
    return lock_pid_file(h, err);
}

static int start_after_fork(struct cfs_host *h, struct cfs_err *err)
{
    int rc;

    rc = write_pid_file(h, err);
    if (rc < 0)
        return rc;
    rc = cfs_loop_new(&h->loop, err);
    if (rc < 0)
        return rc;
    return watch_signals(h, err);
}

int cfs_host_init(struct cfs_host *h, const struct cfs_host_spec *spec,
                  int argc, char **argv, struct cfs_err *err)
{
    struct cfs_cmdline c;
    struct host_impl *impl = calloc(1, sizeof *impl);
    int rc;

    *h = (struct cfs_host){.spec = spec, .ready_fd = -1, .impl = impl};
    if (!impl || cfs_dirs_default(&h->dirs) < 0) {
        rc = cfs_err_set(err, -ENOMEM, "out of memory");
        goto fail;
    }
    impl->host = h;
    impl->pid_fd = -1;
    parse_or_exit(h, &c, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    umask(022);

    rc = start_before_fork(h, &c, err);
    free(c.log_file);
    if (rc < 0)
        goto fail;
    if (!h->foreground) {
        rc = daemonize(h, err);
        if (rc < 0)
            goto fail;
    }
    rc = start_after_fork(h, err);
    if (rc == 0)
        return 0;
    if (impl->daemon)
        cfs_host_fail(h, err);

fail:
    cfs_host_fini(h);
    return rc;
}

int cfs_host_run(struct cfs_host *h)
{
    cfs_loop_run(h->loop);
    return h->status;
}

void cfs_host_stop(struct cfs_host *h)
{
    cfs_loop_stop(h->loop);
}

void cfs_host_fini(struct cfs_host *h)
{
    struct host_impl *impl = impl_of(h);

    for (unsigned i = 0; impl && i < SIG_N; i++)
        if (impl->signals[i].loop)
            uv_close((uv_handle_t *)&impl->signals[i], NULL);
    cfs_loop_free(h->loop);
    if (impl && impl->pid_fd >= 0) {
        unlink(h->pid_path);
        close(impl->pid_fd);
    }
    if (h->ready_fd >= 0)
        close(h->ready_fd);
    cfs_log_close(h->log);
    cfs_dirs_free(&h->dirs);
    free(h->log_path);
    free(h->pid_path);
    free(impl);
    h->loop = NULL;
    h->log = NULL;
    h->log_path = h->pid_path = NULL;
    h->impl = NULL;
    h->ready_fd = -1;
}
