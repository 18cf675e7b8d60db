/* SPDX-License-Identifier: Apache-2.0 */
/* mount.c - mount(2) and umount(2), libmount's table, the kernel's read-ahead.
 *
 * The file system type is fuse.clusterfs. Only root mounts: nothing set-user-
 * ID is involved. Its own table (utab) makes umount(8) call our helper.
 *
 * The mount point is looked at before the mount and never after it from the
 * loop thread: a stat of it would be a request to ourselves. What is mounted
 * there is read from /proc/self/mountinfo.
 */
#include "xlators/mount/fuse/fm.h"

#include <fcntl.h>
#include <libmount.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FS_TYPE "fuse.clusterfs"

/* -- options --------------------------------------------------------------- */

struct flag_word {
    const char   *word;
    unsigned long set;
    unsigned long clear;
};

static const struct flag_word flag_words[] = {
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"noatime", MS_NOATIME, 0},
    {"atime", 0, MS_NOATIME},
    {"nodiratime", MS_NODIRATIME, 0},
    {"diratime", 0, MS_NODIRATIME},
    {"relatime", MS_RELATIME, 0},
    {"norelatime", 0, MS_RELATIME},
    {"strictatime", MS_STRICTATIME, 0},
    {"nostrictatime", 0, MS_STRICTATIME},
    {"lazytime", MS_LAZYTIME, 0},
    {"nolazytime", 0, MS_LAZYTIME},
    {"sync", MS_SYNCHRONOUS, 0},
    {"async", 0, MS_SYNCHRONOUS},
    {"dirsync", MS_DIRSYNC, 0},
    /* Always so, or said by an option of the translator. */
    {"default_permissions", 0, 0},
    {"allow_other", 0, 0},
};

/* Options with a value that the kernel understands. */
static const char *const data_words[] = {
    "max_read=", "context=", "fscontext=", "defcontext=", "rootcontext=",
};

struct mount_args {
    unsigned long flags;
    char          data[1024];
};

static bool is_flag(struct mount_args *a, const char *word, size_t len)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(flag_words); i++) {
        const struct flag_word *f = &flag_words[i];

        if (strlen(f->word) != len || memcmp(f->word, word, len) != 0)
            continue;
        a->flags = (a->flags & ~f->clear) | f->set;
        return true;
    }
    return false;
}

static bool is_data(const char *word, size_t len)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(data_words); i++) {
        size_t n = strlen(data_words[i]);

        if (len > n && memcmp(data_words[i], word, n) == 0)
            return true;
    }
    return false;
}

static int add_data(struct mount_args *a, const char *word, size_t len)
{
    size_t used = strlen(a->data);

    if (used + len + 2 > sizeof a->data)
        return -E2BIG;
    snprintf(a->data + used, sizeof a->data - used, ",%.*s", (int)len, word);
    return 0;
}

/* The length of the option at @s; a comma in double quotes is part of it. */
static size_t word_len(const char *s)
{
    bool quoted = false;
    size_t n;

    for (n = 0; s[n] != '\0' && (quoted || s[n] != ','); n++) {
        if (s[n] == '"')
            quoted = !quoted;
    }
    return n;
}

static int parse_options(const char *s, struct mount_args *a,
                         struct cfs_err *err)
{
    while (*s != '\0') {
        size_t len = word_len(s);
        int rc = 0;

        if (len > 0 && !is_flag(a, s, len)) {
            if (!is_data(s, len))
                return cfs_err_set(err, -EINVAL,
                                   "unknown mount option '%.*s'", (int)len, s);
            rc = add_data(a, s, len);
        }
        if (rc < 0)
            return cfs_err_set(err, rc, "too many mount options");
        s += len + (s[len] == ',');
    }
    return 0;
}

/* -- what is mounted where ------------------------------------------------- */

/* The device number of what is on top of the mount point. -ENOENT: nothing;
 * its type goes to @ret_ours. */
static int top_mount(const char *path, dev_t *ret_dev, bool *ret_ours)
{
    struct libmnt_table *tb;
    struct libmnt_fs *fs;
    int rc = -ENOENT;

    tb = mnt_new_table_from_file("/proc/self/mountinfo");
    if (tb == NULL)
        return -EIO;
    fs = mnt_table_find_target(tb, path, MNT_ITER_BACKWARD);
    if (fs != NULL) {
        const char *type = mnt_fs_get_fstype(fs);

        *ret_dev = mnt_fs_get_devno(fs);
        *ret_ours = type != NULL && strcmp(type, FS_TYPE) == 0;
        rc = 0;
    }
    mnt_unref_table(tb);
    return rc;
}

static int do_mount(struct fm *fm, mode_t rootmode, struct mount_args *a,
                    struct cfs_err *err)
{
    char data[sizeof a->data + 256];

    snprintf(data, sizeof data,
             "fd=%d,rootmode=%o,user_id=%u,group_id=%u,default_permissions%s%s",
             fm->fd, (unsigned)rootmode & S_IFMT, (unsigned)getuid(),
             (unsigned)getgid(), fm->allow_other ? ",allow_other" : "",
             a->data);
    if (mount(fm->source, fm->mountpoint, FS_TYPE, a->flags, data) == 0)
        return 0;
    if (errno == EPERM)
        return cfs_err_set(err, -EPERM, "%s: only root can mount",
                           fm->mountpoint);
    return cfs_err_set(err, -errno, "mounting on %s: %s", fm->mountpoint,
                       strerror(errno));
}

int fm_mount(struct fm *fm, struct cfs_err *err)
{
    struct mount_args args = {.flags = 0};
    struct stat st;
    bool ours;
    dev_t dev;
    int rc;

    rc = parse_options(fm->mount_options, &args, err);
    if (rc < 0)
        return rc;
    if (fm->fd_given != 0) {
        fm->fd = (int)fm->fd_given;
        fcntl(fm->fd, F_SETFD, FD_CLOEXEC);
    } else {
        if (stat(fm->mountpoint, &st) < 0)
            return cfs_err_set(err, -errno, "%s: %s", fm->mountpoint,
                               strerror(errno));
        if (!S_ISDIR(st.st_mode))
            return cfs_err_set(err, -ENOTDIR, "%s is not a directory",
                               fm->mountpoint);
        rc = fm_dev_open(fm, err);
        if (rc < 0)
            return rc;
        rc = do_mount(fm, st.st_mode, &args, err);
        if (rc < 0)
            return rc;
    }
    fm->mounted = true;
    rc = top_mount(fm->mountpoint, &dev, &ours);
    if (rc < 0 || !ours)
        return cfs_err_set(err, -EIO, "%s: the mount is not to be seen in "
                           "/proc/self/mountinfo", fm->mountpoint);
    fm->dev_major = major(dev);
    fm->dev_minor = minor(dev);
    return 0;
}

int fm_umount_now(struct fm *fm, bool lazy, bool *ret_busy)
{
    bool ours;
    dev_t dev;
    int rc;

    *ret_busy = false;
    rc = top_mount(fm->mountpoint, &dev, &ours);
    if (rc == -ENOENT)
        return 0; /* somebody else did it */
    if (rc < 0)
        return rc;
    if (major(dev) != fm->dev_major || minor(dev) != fm->dev_minor)
        return -EBUSY; /* another mount covers ours: not ours to undo */

    if (!lazy) {
        if (umount2(fm->mountpoint, UMOUNT_NOFOLLOW) == 0)
            return 0;
        if (errno != EBUSY)
            return -errno;
        *ret_busy = true;
    }
    if (umount2(fm->mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
        return -errno;
    return 0;
}

/* -- beside the mount ------------------------------------------------------ */

/* As `mount -i -f -o _netdev` does: only an option for user space makes
 * libmount keep an entry. */
void fm_utab_add(const struct fm *fm)
{
    struct libmnt_context *cxt = mnt_new_context();

    if (cxt == NULL)
        return;
    mnt_context_disable_canonicalize(cxt, 1);
    mnt_context_disable_helpers(cxt, 1);
    mnt_context_enable_fake(cxt, 1);
    if (mnt_context_set_fstype(cxt, FS_TYPE) == 0 &&
        mnt_context_set_source(cxt, fm->source) == 0 &&
        mnt_context_set_target(cxt, fm->mountpoint) == 0 &&
        mnt_context_set_options(cxt, "_netdev") == 0)
        mnt_context_mount(cxt);
    mnt_free_context(cxt);
}

void fm_utab_remove(const struct fm *fm)
{
    struct libmnt_update *upd;
    bool ours;
    dev_t dev;

    /* An entry of the next mount there is not ours to remove. */
    if (top_mount(fm->mountpoint, &dev, &ours) == 0 && ours)
        return;
    upd = mnt_new_update();
    if (upd == NULL)
        return;
    if (mnt_update_set_fs(upd, 0, fm->mountpoint, NULL) == 0)
        mnt_update_table(upd, NULL);
    mnt_free_update(upd);
}

int fm_read_ahead_set(const struct fm *fm)
{
    char path[64], text[16];
    ssize_t n;
    int fd, len;

    if (fm->read_ahead_kb == 0)
        return 0;
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb",
             fm->dev_major, fm->dev_minor);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    len = snprintf(text, sizeof text, "%u", fm->read_ahead_kb);
    n = write(fd, text, (size_t)len);
    close(fd);
    return n == len ? 0 : -EIO;
}
