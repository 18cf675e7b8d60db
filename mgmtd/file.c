/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - small files, replaced whole and durably; see file.h. */
#include "mgmtd/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "mgmtd/mem.h"

static int failed(struct cfs_err *err, const char *path)
{
    const int rc = -errno;

    return cfs_err_set(err, rc, "%s: %s", path, strerror(-rc));
}

/* The whole of @fd. @len: bytes that it should have. */
static int read_all(int fd, char *to, size_t len)
{
    size_t at = 0;

    while (at < len) {
        ssize_t n = read(fd, to + at, len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0) {
            errno = EIO; /* it shrank */
            return -EIO;
        }
        at += (size_t)n;
    }
    to[len] = '\0';
    return 0;
}

int file_get(const char *path, char **ret, struct cfs_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *text;
    int rc;

    if (fd < 0)
        return errno == ENOENT ? -ENOENT : failed(err, path);
    if (fstat(fd, &st) < 0) {
        rc = failed(err, path);
        close(fd);
        return rc;
    }
    if (st.st_size > FILE_TEXT_MAX) {
        close(fd);
        return cfs_err_set(err, -EFBIG, "%s: too long", path);
    }
    text = mem_new((size_t)st.st_size + 1);
    rc = read_all(fd, text, (size_t)st.st_size);
    if (rc < 0)
        failed(err, path);
    else if (strlen(text) != (size_t)st.st_size)
        rc = cfs_err_set(err, -CFS_E_CORRUPT, "%s: not a text", path);
    close(fd);
    if (rc < 0)
        free(text);
    else
        *ret = text;
    return rc;
}

static int sync_folder(const char *path, struct cfs_err *err)
{
    int rc = cfs_sync_folder(path);

    return rc == 0 ? 0 : cfs_err_set(err, rc, "the folder of %s: %s", path,
                                     strerror(-rc));
}

/* @text into the new file @path, durably. */
static int write_new(const char *path, const char *text, mode_t mode,
                     struct cfs_err *err)
{
    int fd, rc;

    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(err, path);
    rc = cfs_write_all(fd, text, strlen(text));
    if (rc < 0)
        cfs_err_set(err, rc, "%s: %s", path, strerror(-rc));
    if (rc == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
        rc = failed(err, path);
    if (close(fd) < 0 && rc == 0)
        rc = failed(err, path);
    if (rc < 0)
        unlink(path);
    return rc;
}

int file_put(const char *path, const char *text, mode_t mode,
             struct cfs_err *err)
{
    char *tmp = mem_printf("%s.new", path);
    int rc = write_new(tmp, text, mode, err);

    if (rc == 0 && rename(tmp, path) < 0) {
        rc = failed(err, path);
        unlink(tmp);
    }
    free(tmp);
    return rc == 0 ? sync_folder(path, err) : rc;
}

int file_remove(const char *path, struct cfs_err *err)
{
    if (unlink(path) < 0)
        return errno == ENOENT ? 0 : failed(err, path);
    return sync_folder(path, err);
}
