/* SPDX-License-Identifier: Apache-2.0 */
/* dev_file.c - a block device or an image file.
 *
 * Three descriptors, because the kernel reports a failed write-back once to
 * each: one for reads, writes and flushes, whose flush must see every failure;
 * one around the page cache; one for write-out ahead of a flush, which must
 * not take a failure away from the first.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "xlators/storage/block/engine/dev.h"
#include "xlators/storage/block/engine/dev_aio.h"

struct dev_file {
    struct cfs_dev dev;
    int            fd;
    int            direct;   /* is fd where O_DIRECT cannot be had */
    int            write_out;
    char           path[];
};

static struct dev_file *self(struct cfs_dev *d)
{
    return container_of(d, struct dev_file, dev);
}

/* Given to the file system of an image, and waited for outside (dev_aio.h):
 * bytes, or -errno. -ENOSYS: that cannot be had. */
static ssize_t transfer_aio(struct dev_file *f, bool write,
                            enum cfs_dev_via via, const struct iovec *iov,
                            int n_iov, uint64_t off)
{
    if (via != CFS_DEV_DIRECT || !f->dev.is_file || f->direct == f->fd)
        return -ENOSYS;
    return dev_aio(f->direct, write, iov, n_iov, off);
}

static ssize_t read_some(struct dev_file *f, enum cfs_dev_via via,
                         const struct iovec *iov, uint64_t off)
{
    ssize_t n = transfer_aio(f, false, via, iov, 1, off);

    if (n != -ENOSYS)
        return n;
    n = preadv2(via == CFS_DEV_DIRECT ? f->direct : f->fd, iov, 1, (off_t)off,
                via == CFS_DEV_CACHED ? RWF_NOWAIT : 0);
    return n < 0 ? -errno : n;
}

static int file_read(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                     void *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        struct iovec iov = {(uint8_t *)buf + done, len - done};
        ssize_t n = read_some(self(d), via, &iov, off + done);

        if (n == -EINTR)
            continue;
        if (via == CFS_DEV_CACHED && (n >= 0 ? (size_t)n < len : n != -EIO))
            return -EAGAIN; /* not there, or NOWAIT cannot be had */
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        done += (size_t)n;
    }
    return 0;
}

static void file_read_many(struct cfs_dev *d, struct cfs_dev_read *r,
                           unsigned n)
{
    struct dev_file *f = self(d);
    unsigned done = f->direct != f->fd ? dev_aio_read(f->direct, r, n) : 0;

    for (unsigned i = 0; i < n; i++)
        if (i >= done || r[i].rc == -EAGAIN)
            r[i].rc = file_read(d, CFS_DEV_DIRECT, r[i].off, r[i].buf,
                                r[i].len);
}

/* Forget the first @n bytes of @iov. */
static void iov_advance(struct iovec **iov, int *n_iov, size_t n)
{
    while (n > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        ++*iov;
        --*n_iov;
    }
    if (n > 0) {
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

#define IOV_MAX_HERE 64

/* While a plain direct write to a file is on its way to the device, its file
 * system lets no other write through the page cache (the journal's, from the
 * loop) to the file. So it goes in pieces. */
#define DIRECT_PIECE (256u * 1024u)

static ssize_t write_some(struct dev_file *f, enum cfs_dev_via via,
                          const struct iovec *iov, int n_iov, uint64_t off)
{
    struct iovec piece = *iov;
    ssize_t n = transfer_aio(f, true, via, iov, n_iov, off);

    if (n != -ENOSYS)
        return n;
    if (via == CFS_DEV_DIRECT && f->dev.is_file &&
        piece.iov_len > DIRECT_PIECE) {
        piece.iov_len = DIRECT_PIECE;
        iov = &piece;
        n_iov = 1;
    }
    n = pwritev(via == CFS_DEV_DIRECT ? f->direct : f->fd, iov, n_iov,
                (off_t)off);
    return n < 0 ? -errno : n;
}

static int file_write(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                      const struct iovec *iov, int n_iov, size_t len)
{
    struct iovec copy[IOV_MAX_HERE], *at = copy;
    size_t done = 0;

    assert(n_iov <= IOV_MAX_HERE);
    memcpy(copy, iov, (size_t)n_iov * sizeof *iov);
    while (done < len) {
        ssize_t n = write_some(self(d), via, at, n_iov, off + done);

        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        done += (size_t)n;
        iov_advance(&at, &n_iov, (size_t)n);
    }
    return 0;
}

static int sync_range(struct dev_file *f, uint64_t off, uint64_t len,
                      unsigned how)
{
    int rc;

    do {
        rc = sync_file_range(f->write_out, (off_t)off, (off_t)len, how);
    } while (rc < 0 && errno == EINTR);
    /* Where the kernel has no such call, flushes alone do it. */
    return rc < 0 && errno != ENOSYS && errno != ESPIPE ? -errno : 0;
}

static int file_start_write_out(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    return sync_range(self(d), off, len, SYNC_FILE_RANGE_WRITE);
}

static int file_wait_write_out(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    return sync_range(self(d), off, len,
                      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                          SYNC_FILE_RANGE_WAIT_AFTER);
}

static int file_flush(struct cfs_dev *d)
{
    /* Not repeated after EINTR: what a second call says is not the first's. */
    return fdatasync(self(d)->fd) < 0 ? -errno : 0;
}

static int file_drop_cache(struct cfs_dev *d)
{
    int rc;

    if (fsync(self(d)->fd) < 0)
        return -errno;
    rc = posix_fadvise(self(d)->fd, 0, 0, POSIX_FADV_DONTNEED);
    return -rc;
}

static int file_allocate(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    if (!d->is_file)
        return 0;
    return fallocate(self(d)->fd, FALLOC_FL_KEEP_SIZE, (off_t)off,
                     (off_t)len) < 0
               ? -errno
               : 0;
}

static uint64_t file_room(struct cfs_dev *d)
{
    struct statvfs st;

    if (!d->is_file || fstatvfs(self(d)->fd, &st) < 0)
        return 0;
    return (uint64_t)st.f_bavail * st.f_frsize;
}

/* While a hole is punched, a file system lets no write (the journal's, from
 * the loop) into the same file. */
#define PUNCH_PIECE ((uint64_t)4 * 1024 * 1024)

static int punch(struct dev_file *f, uint64_t off, uint64_t len)
{
    for (uint64_t at = 0; at < len; at += PUNCH_PIECE) {
        uint64_t n = len - at < PUNCH_PIECE ? len - at : PUNCH_PIECE;
        int rc;

        do {
            rc = fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           (off_t)(off + at), (off_t)n);
        } while (rc < 0 && errno == EINTR);
        if (rc < 0)
            return -errno;
    }
    return 0;
}

static int file_discard(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    struct dev_file *f = self(d);
    uint64_t range[2] = {off, len};

    if (d->is_file)
        return punch(f, off, len);
    return ioctl(f->fd, BLKDISCARD, range) < 0 ? -errno : 0;
}

static void file_close(struct cfs_dev *d)
{
    struct dev_file *f = self(d);

    if (f->write_out >= 0)
        close(f->write_out);
    if (f->direct >= 0 && f->direct != f->fd)
        close(f->direct);
    if (f->fd >= 0)
        close(f->fd);
    free(f);
}

static const struct cfs_dev_ops file_ops = {
    .read = file_read,
    .read_many = file_read_many,
    .write = file_write,
    .start_write_out = file_start_write_out,
    .wait_write_out = file_wait_write_out,
    .flush = file_flush,
    .drop_cache = file_drop_cache,
    .allocate = file_allocate,
    .room = file_room,
    .discard = file_discard,
    .close = file_close,
};

/* -- opening --------------------------------------------------------------- */

/* The same file once more, with an error state and flags of its own. */
static int open_again(int fd, int flags)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC);
}

static int not_opened(const struct dev_file *f, int mode, struct cfs_err *err)
{
    const int rc = -errno;

    if (rc == -EBUSY)
        return cfs_err_set(err, rc, "%s is in use (mounted, or opened "
                           "exclusively)", f->path);
    if (rc == -EACCES || rc == -EPERM)
        return cfs_err_set(err, rc, "%s may not be opened for %s by this "
                           "user: %s", f->path,
                           mode == O_RDONLY ? "reading" : "writing",
                           strerror(errno));
    return cfs_err_set(err, rc, "%s: %s", f->path, strerror(errno));
}

/* A block device that is set read-only can be opened for writing all the
 * same. */
static int check_writable(const struct dev_file *f, struct cfs_err *err)
{
    int ro = 0;

    if (ioctl(f->fd, BLKROGET, &ro) == 0 && ro)
        return cfs_err_set(err, -EROFS, "%s is read-only (blockdev --setrw "
                           "makes it writable)", f->path);
    return 0;
}

static int learn_size(struct dev_file *f, struct cfs_err *err)
{
    struct stat st;
    uint64_t size;

    if (fstat(f->fd, &st) < 0)
        return cfs_err_set(err, -errno, "%s: %s", f->path, strerror(errno));
    if (S_ISBLK(st.st_mode)) {
        if (ioctl(f->fd, BLKGETSIZE64, &size) < 0)
            return cfs_err_set(err, -errno, "%s: size: %s", f->path,
                               strerror(errno));
    } else if (S_ISREG(st.st_mode)) {
        size = (uint64_t)st.st_size;
        f->dev.is_file = true;
        f->dev.sparse = (uint64_t)st.st_blocks * 512 < size;
    } else {
        return cfs_err_set(err, -EINVAL,
                           "%s is neither a block device nor a file", f->path);
    }
    f->dev.size = size & ~(uint64_t)(CFS_BLOCK - 1);
    return 0;
}

static int open_all(struct dev_file *f, unsigned flags, struct cfs_err *err)
{
    int mode = flags & CFS_DEV_READ_ONLY ? O_RDONLY : O_RDWR;
    bool lock = !(flags & CFS_DEV_NO_LOCK);
    struct stat st;
    int excl = 0;

    /* Some others cannot even be opened without waiting for somebody. */
    if (stat(f->path, &st) == 0 && !S_ISBLK(st.st_mode) &&
        !S_ISREG(st.st_mode))
        return cfs_err_set(err, -EINVAL,
                           "%s is neither a block device nor a file", f->path);
    if (lock && stat(f->path, &st) == 0 && S_ISBLK(st.st_mode))
        excl = O_EXCL;
    f->fd = open(f->path, mode | excl | O_CLOEXEC);
    if (f->fd < 0)
        return not_opened(f, mode, err);
    if (mode != O_RDONLY && check_writable(f, err) < 0)
        return -EROFS;
    if (lock && flock(f->fd, LOCK_EX | LOCK_NB) < 0)
        return cfs_err_set(err, -EBUSY, "%s is in use by another process",
                           f->path);
    /* The kernel reads what is asked for, and nothing near it. Its read-ahead
     * knows nothing of files; and it would bring blocks that others write
     * around the page cache into it, in pieces with blocks that are written
     * through it: what cannot be thrown out after a direct write is reported
     * as an error of the next flush. */
    posix_fadvise(f->fd, 0, 0, POSIX_FADV_RANDOM);
    f->direct = open_again(f->fd, mode | O_DIRECT);
    if (f->direct < 0)
        f->direct = f->fd; /* a file system without it */
    f->write_out = open_again(f->fd, mode);
    if (f->write_out < 0)
        return cfs_err_set(err, -errno, "%s: %s", f->path, strerror(errno));
    return learn_size(f, err);
}

int cfs_dev_open(const char *path, unsigned flags, struct cfs_dev **ret,
                 struct cfs_err *err)
{
    size_t len = strlen(path) + 1;
    struct dev_file *f = calloc(1, sizeof *f + len);
    int rc;

    if (!f)
        return cfs_err_set(err, -ENOMEM, "%s: no memory", path);
    f->dev.ops = &file_ops;
    f->fd = f->direct = f->write_out = -1;
    memcpy(f->path, path, len);
    f->dev.path = f->path;
    rc = open_all(f, flags, err);
    if (rc < 0) {
        file_close(&f->dev);
        return rc;
    }
    *ret = &f->dev;
    return 0;
}
