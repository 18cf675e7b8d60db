/* SPDX-License-Identifier: Apache-2.0 */
/* spot.c - is this a place where a volume can be mounted?
 *
 * What is mounted is read from /proc/self/mountinfo before the path itself is
 * touched: a mount whose client has died or hangs fails or hangs with it.
 */
#include "client/client.h"

#include <libmount.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_ours(const char *path, bool *ret)
{
    struct libmnt_table *tb;
    struct libmnt_fs *fs;
    const char *type;

    tb = mnt_new_table_from_file("/proc/self/mountinfo");
    if (tb == NULL)
        return -EIO;
    fs = mnt_table_find_target(tb, path, MNT_ITER_BACKWARD);
    type = fs == NULL ? NULL : mnt_fs_get_fstype(fs);
    *ret = type != NULL && strcmp(type, "fuse.clusterfs") == 0;
    mnt_unref_table(tb);
    return 0;
}

/* @path without its last part resolved, so that it is not followed into the
 * mount: the folder's real path and the name. malloc'ed; NULL with errno. */
static char *near_path(const char *path)
{
    char *copy = strdup(path), *slash, *dir, *out = NULL;
    size_t len;

    if (copy == NULL)
        return NULL;
    for (len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
        copy[len - 1] = '\0';
    slash = strrchr(copy, '/');
    if (slash == NULL || slash[1] == '\0' || strcmp(slash + 1, ".") == 0 ||
        strcmp(slash + 1, "..") == 0) {
        free(copy);
        return realpath(path, NULL);
    }
    *slash = '\0';
    dir = realpath(*copy == '\0' ? "/" : copy, NULL);
    if (dir != NULL &&
        asprintf(&out, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir,
                 slash + 1) < 0)
        out = NULL;
    free(dir);
    free(copy);
    return out;
}

static int check_free(const char *path, struct cfs_err *err)
{
    bool ours = false;
    int rc = is_ours(path, &ours);

    if (rc < 0)
        return cfs_err_set(err, rc, "/proc/self/mountinfo cannot be read");
    if (ours)
        return cfs_err_set(err, -EBUSY,
                           "%s: a clusterfs is mounted there already", path);
    return 0;
}

int client_spot(const char *path, char **ret, struct cfs_err *err)
{
    char *absolute = cfs_path_absolute(path), *near, *real;
    struct stat st;
    int rc;

    near = absolute == NULL ? NULL : near_path(absolute);
    free(absolute);
    if (near == NULL)
        return cfs_err_set(err, -errno, "%s: %s", path, strerror(errno));
    rc = check_free(near, err);
    if (rc < 0) {
        free(near);
        return rc;
    }
    real = realpath(near, NULL);
    free(near);
    if (real == NULL)
        return cfs_err_set(err, -errno, "%s: %s", path, strerror(errno));
    /* The name itself may have been a link to a mount. */
    rc = check_free(real, err);
    if (rc == 0 && stat(real, &st) < 0)
        rc = cfs_err_set(err, -errno, "%s: %s", path, strerror(errno));
    else if (rc == 0 && !S_ISDIR(st.st_mode))
        rc = cfs_err_set(err, -ENOTDIR, "%s is not a directory", path);
    if (rc < 0) {
        free(real);
        return rc;
    }
    *ret = real;
    return 0;
}
