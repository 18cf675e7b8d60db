/* SPDX-License-Identifier: Apache-2.0 */
/* dev.h - the device under a brick: a block device or an image file, behind a
 * table, so that tests can record, cut and fail every write and flush.
 *
 * Units      bytes; offsets and lengths are multiples of 4096, memory is
 *            aligned to 4096.
 * Threads    any but close, which comes last.
 * Errors     0 or -errno. A short transfer is -EIO.
 */
#ifndef CFS_BLOCK_DEV_H
#define CFS_BLOCK_DEV_H

#include <sys/uio.h>

#include "core/err.h"

struct cfs_dev;

/* How bytes travel. */
enum cfs_dev_via {
    CFS_DEV_BUFFERED, /* the page cache: journal, file data */
    CFS_DEV_DIRECT,   /* around it: nodes, space map, checkpoint records */
    CFS_DEV_CACHED,   /* reads only: -EAGAIN where it would have to wait */
};

/* One of several reads. */
struct cfs_dev_read {
    uint64_t off;
    void    *buf;
    size_t   len;
    int      rc; /* out */
};

struct cfs_dev_ops {
    int (*read)(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                void *buf, size_t len);
    /* Direct ones, as many at a time as the device takes; waits for all. */
    void (*read_many)(struct cfs_dev *d, struct cfs_dev_read *r, unsigned n);
    int (*write)(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                 const struct iovec *iov, int n_iov, size_t len);
    /* Have buffered writes leave the page cache; wait until they have. */
    int (*start_write_out)(struct cfs_dev *d, uint64_t off, uint64_t len);
    int (*wait_write_out)(struct cfs_dev *d, uint64_t off, uint64_t len);
    int (*flush)(struct cfs_dev *d);
    int (*drop_cache)(struct cfs_dev *d); /* write back, report, forget */
    int (*allocate)(struct cfs_dev *d, uint64_t off, uint64_t len);
    uint64_t (*room)(struct cfs_dev *d); /* bytes that allocate() may still
                                            get; NULL: no bound is known */
    /* These bytes are nobody's: they read as anything until written. An
     * image's are not allocated any more. -EOPNOTSUPP: nothing was done. */
    int (*discard)(struct cfs_dev *d, uint64_t off, uint64_t len);
    void (*close)(struct cfs_dev *d);
};

struct cfs_dev {
    const struct cfs_dev_ops *ops;
    uint64_t                  size; /* bytes, a multiple of 4096 */
    bool                      is_file;
    bool                      sparse; /* a file with holes */
    const char               *path;   /* for messages */
};

/* read_many of a device that takes one at a time. */
static inline void cfs_dev_read_each(struct cfs_dev *d, struct cfs_dev_read *r,
                                     unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        r[i].rc = d->ops->read(d, CFS_DEV_DIRECT, r[i].off, r[i].buf,
                               r[i].len);
}

/* A device that is lent to who would close it: until it is taken back, close
 * does nothing. */
struct cfs_dev_loan {
    struct cfs_dev           *dev;
    const struct cfs_dev_ops *own;
    struct cfs_dev_ops        ops; /* the same, but for close */
};

static inline void cfs_dev_stays_open(struct cfs_dev *d)
{
}

static inline void cfs_dev_lend(struct cfs_dev_loan *l, struct cfs_dev *d)
{
    *l = (struct cfs_dev_loan){d, d->ops, *d->ops};
    l->ops.close = cfs_dev_stays_open;
    d->ops = &l->ops;
}

static inline void cfs_dev_take_back(struct cfs_dev_loan *l)
{
    l->dev->ops = l->own;
}

#define CFS_DEV_READ_ONLY 1u
#define CFS_DEV_NO_LOCK   2u /* look at it beside its owner (debugfs) */

/* Open @path exclusively (O_EXCL on a device, flock on a file).
 * -EBUSY: somebody has it. */
int cfs_dev_open(const char *path, unsigned flags, struct cfs_dev **ret,
                 struct cfs_err *err);

/* A device in memory, for unit tests. */
int cfs_dev_mem(uint64_t size, struct cfs_dev **ret);

#endif
