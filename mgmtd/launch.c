/* SPDX-License-Identifier: Apache-2.0 */
/* launch.c - see launch.h. posix_spawn, so that a big process forks cheaply. */
#include "mgmtd/launch.h"

#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/host.h"
#include "mgmtd/mem.h"

extern char **environ;

int spawn_find_in_path(const char *name, char **ret)
{
    const char *path = getenv("PATH");
    char *copy = mem_str(path ? path : "/usr/local/bin:/usr/sbin:/usr/bin");
    char *save = NULL;

    for (char *d = strtok_r(copy, ":", &save); d;
         d = strtok_r(NULL, ":", &save)) {
        char *try = mem_printf("%s/%s", d, name);

        if (access(try, X_OK) == 0) {
            free(copy);
            *ret = try;
            return 0;
        }
        free(try);
    }
    free(copy);
    return -ENOENT;
}

int spawn_find(const char *name, char **ret, struct cfs_err *err)
{
    static const char *const beside[] = {"", "../server/", "../sbin/"};
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

    exe[n > 0 ? n : 0] = '\0';
    dirname(exe);
    for (size_t i = 0; i < CFS_ARRAY_SIZE(beside); i++) {
        char *try = mem_printf("%s/%s%s", exe, beside[i], name);

        if (access(try, X_OK) == 0) {
            *ret = try;
            return 0;
        }
        free(try);
    }
    if (spawn_find_in_path(name, ret) == 0)
        return 0;
    return cfs_err_set(err, -ENOENT, "%s is not installed beside "
                       "clusterfs-mgmtd", name);
}

/* Our environment less what systemd meant for us alone, and less what would
 * change an etcd that we start. Borrowed strings. */
static char **child_environment(void)
{
    size_t n = 0, at = 0;
    char **env;

    while (environ[n])
        n++;
    env = mem_new((n + 1) * sizeof *env);
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "NOTIFY_SOCKET=", 14) != 0 &&
            strncmp(environ[i], "WATCHDOG_", 9) != 0 &&
            strncmp(environ[i], "ETCD_", 5) != 0)
            env[at++] = environ[i];
    return env;
}

/* @flags beside the signals' reset: POSIX_SPAWN_SETSID or 0. */
static int start(char *const argv[], posix_spawn_file_actions_t *files,
                 int flags, pid_t *ret, struct cfs_err *err)
{
    posix_spawnattr_t attr;
    sigset_t none, all;
    char **env = child_environment();
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, (short)(POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF | flags));
    rc = posix_spawn(ret, argv[0], files, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    free(env);
    if (rc != 0)
        return cfs_err_set(err, -rc, "cannot start %s: %s", argv[0],
                           strerror(rc));
    return 0;
}

int spawn_detached(char *const argv[], const char *output, uint32_t *ret_pid,
                   struct cfs_err *err)
{
    posix_spawn_file_actions_t files;
    pid_t pid;
    int rc;

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, output,
                                     O_WRONLY | O_CREAT | O_TRUNC | O_APPEND,
                                     0640);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    rc = start(argv, &files, POSIX_SPAWN_SETSID, &pid, err);
    posix_spawn_file_actions_destroy(&files);
    if (rc == 0)
        *ret_pid = (uint32_t)pid;
    return rc;
}

/* Keep the first @len - 1 bytes of what comes, read all. */
static void drain(int fd, char *output, size_t len)
{
    char more[512];
    size_t at = 0;
    ssize_t n;

    while ((n = read(fd, more, sizeof more)) > 0 || (n < 0 && errno == EINTR))
        for (ssize_t i = 0; i < n; i++)
            if (at + 1 < len)
                output[at++] = more[i];
    while (at > 0 && output[at - 1] == '\n')
        at--;
    output[at] = '\0';
}

int spawn_wait(char *const argv[], char *output, size_t len,
               struct cfs_err *err)
{
    posix_spawn_file_actions_t files;
    int fds[2], status = 0, rc;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return cfs_err_set(err, -errno, "pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, fds[1], 1);
    posix_spawn_file_actions_adddup2(&files, fds[1], 2);
    rc = start(argv, &files, 0, &pid, err);
    posix_spawn_file_actions_destroy(&files);
    close(fds[1]);
    if (rc == 0) {
        drain(fds[0], output, len);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        rc = WIFEXITED(status) ? WEXITSTATUS(status)
                               : 128 + WTERMSIG(status);
    }
    close(fds[0]);
    return rc;
}

void spawn_last_words(const char *path, const char *program, char *ret,
                      size_t len)
{
    char tail[2 * CFS_ERR_TEXT], *line;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    size_t skip = strlen(program);
    ssize_t n = 0;

    if (size > 0) {
        off_t from = size > (off_t)sizeof tail - 1
                         ? size - (off_t)sizeof tail + 1 : 0;

        n = pread(fd, tail, sizeof tail - 1, from);
    }
    if (fd >= 0)
        close(fd);
    while (n > 0 && (tail[n - 1] == '\n' || tail[n - 1] == ' '))
        n--;
    tail[n > 0 ? n : 0] = '\0';
    line = strrchr(tail, '\n');
    line = line ? line + 1 : tail;
    if (strncmp(line, program, skip) == 0 && strncmp(line + skip, ": ", 2) == 0)
        line += skip + 2;
    snprintf(ret, len, "%.*s", (int)len - 1, line);
}

/* -- processes that run --------------------------------------------------- */

const char *spawned_arg(const struct spawned *p, const char *name)
{
    const char *end = p->args + p->len;

    for (const char *at = p->args; at < end; at += strlen(at) + 1)
        if (strcmp(at, name) == 0) {
            at += strlen(at) + 1;
            return at < end ? at : NULL;
        }
    return NULL;
}

/* The command line of @pid, if it is a @program's. */
static bool look_at(uint32_t pid, const char *program, char *args, size_t max,
                    struct spawned *ret)
{
    char path[64];
    const char *base;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, args, max - 1);
    close(fd);
    if (n <= 0 || cfs_pid_start(pid, &ret->start) < 0)
        return false;
    args[n] = '\0';
    base = strrchr(args, '/');
    ret->pid = pid;
    ret->args = args;
    ret->len = (size_t)n;
    return strcmp(base ? base + 1 : args, program) == 0;
}

void spawn_scan(const char *program,
                bool (*each)(void *arg, const struct spawned *p), void *arg)
{
    DIR *proc = opendir("/proc");
    char args[16384];
    struct dirent *e;
    bool more = true;

    if (!proc)
        return;
    while (more && (e = readdir(proc))) {
        char *end;
        unsigned long pid = strtoul(e->d_name, &end, 10);
        struct spawned p;

        if (*end == '\0' && pid > 0 &&
            look_at((uint32_t)pid, program, args, sizeof args, &p))
            more = each(arg, &p);
    }
    closedir(proc);
}
