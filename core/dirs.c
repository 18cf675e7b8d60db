/* SPDX-License-Identifier: Apache-2.0 */
/* dirs.c - where an instance keeps its files, and who and when we are: the
 * node's name, this boot, the start of a process; see host.h.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/host.h"

char *cfs_path_absolute(const char *path)
{
    char cwd[PATH_MAX], *ret;

    if (path[0] == '/')
        return strdup(path);
    if (!getcwd(cwd, sizeof cwd))
        return NULL;
    if (asprintf(&ret, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, path) < 0)
        return NULL;
    return ret;
}

/* The variable's value as an absolute path, or @def. Malloc'ed; NULL. */
static char *dir_of(const char *variable, const char *def)
{
    const char *value = getenv(variable);

    return cfs_path_absolute(value && *value ? value : def);
}

int cfs_dirs_default(struct cfs_dirs *ret)
{
    struct cfs_dirs d = {
        .config = dir_of("CLUSTERFS_CONFIG_DIR", "/etc/clusterfs"),
        .state = dir_of("CLUSTERFS_STATE_DIR", "/var/lib/clusterfs"),
        .run = dir_of("CLUSTERFS_RUN_DIR", "/run/clusterfs"),
        .log = dir_of("CLUSTERFS_LOG_DIR", "/var/log/clusterfs"),
    };

    if (!d.config || !d.state || !d.run || !d.log) {
        cfs_dirs_free(&d);
        return -ENOMEM;
    }
    *ret = d;
    return 0;
}

void cfs_dirs_free(struct cfs_dirs *d)
{
    free(d->config);
    free(d->state);
    free(d->run);
    free(d->log);
    *d = (struct cfs_dirs){0};
}

int cfs_mkdirs(const char *path, mode_t mode)
{
    char part[PATH_MAX];
    size_t len = strlen(path);

    if (len >= sizeof part)
        return -ENAMETOOLONG;
    memcpy(part, path, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (part[i] != '/')
            continue;
        part[i] = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return -errno;
        part[i] = '/';
    }
    if (mkdir(part, mode) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

const char *cfs_node_name(void)
{
    static char name[CFS_NODE_MAX];

    if (gethostname(name, sizeof name) < 0 && errno != ENAMETOOLONG)
        memcpy(name, "localhost", sizeof "localhost");
    name[sizeof name - 1] = '\0';
    return name;
}

/* The start of a small file, NUL-terminated. */
static int read_file(const char *path, char *buf, size_t len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = read(fd, buf, len - 1);
    if (n < 0)
        n = -errno;
    close(fd);
    if (n < 0)
        return (int)n;
    buf[n] = '\0';
    return 0;
}

int cfs_boot_id(struct cfs_uuid *ret)
{
    char text[64];
    int rc = read_file("/proc/sys/kernel/random/boot_id", text, sizeof text);

    if (rc < 0)
        return rc;
    text[strcspn(text, "\n")] = '\0';
    return cfs_uuid_parse(text, ret);
}

int cfs_machine_id(struct cfs_uuid *ret)
{
    char text[64], grouped[CFS_UUID_STR];
    int rc = read_file("/etc/machine-id", text, sizeof text);

    if (rc < 0)
        return rc;
    text[strcspn(text, "\n")] = '\0';
    if (strlen(text) != 32)
        return -ENOENT;
    snprintf(grouped, sizeof grouped, "%.8s-%.4s-%.4s-%.4s-%.12s", text,
             text + 8, text + 12, text + 16, text + 20);
    return cfs_uuid_parse(grouped, ret) == 0 ? 0 : -ENOENT;
}

int cfs_pid_start(uint32_t pid, uint64_t *ret)
{
    char path[64], text[1024], *at, *end;
    unsigned long long v;
    int rc;

    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    rc = read_file(path, text, sizeof text);
    if (rc == -ENOENT || rc == -ESRCH)
        return -ESRCH;
    if (rc < 0)
        return rc;
    /* Field 2 is the name in parentheses, which may hold spaces and more
     * parentheses; 20 fields after it is the start. */
    at = strrchr(text, ')');
    if (!at)
        return -EBADMSG;
    for (unsigned field = 2; field < 22; field++) {
        at = strchr(at + 1, ' ');
        if (!at)
            return -EBADMSG;
    }
    errno = 0;
    v = strtoull(at, &end, 10);
    if (errno != 0 || end == at)
        return -EBADMSG;
    *ret = v;
    return 0;
}
