/* SPDX-License-Identifier: Apache-2.0 */
/* dev_mem.c - a device in memory, for unit tests. */
#include <stdlib.h>
#include <sys/mman.h>

#include "xlators/storage/block/engine/dev.h"

struct dev_mem {
    struct cfs_dev dev;
    uint8_t       *bytes;
};

static struct dev_mem *self(struct cfs_dev *d)
{
    return container_of(d, struct dev_mem, dev);
}

static int mem_read(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                    void *buf, size_t len)
{
    if (off > d->size || len > d->size - off)
        return -EIO;
    memcpy(buf, self(d)->bytes + off, len);
    return 0;
}

static int mem_write(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                     const struct iovec *iov, int n_iov, size_t len)
{
    if (off > d->size || len > d->size - off)
        return -EIO;
    for (int i = 0; i < n_iov; i++) {
        memcpy(self(d)->bytes + off, iov[i].iov_base, iov[i].iov_len);
        off += iov[i].iov_len;
    }
    return 0;
}

static int mem_range(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    return 0;
}

static int mem_whole(struct cfs_dev *d)
{
    return 0;
}

static int mem_discard(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    if (off > d->size || len > d->size - off)
        return -EIO;
    memset(self(d)->bytes + off, 0, len);
    return 0;
}

static void mem_close(struct cfs_dev *d)
{
    munmap(self(d)->bytes, d->size);
    free(self(d));
}

static const struct cfs_dev_ops mem_ops = {
    .read = mem_read,
    .read_many = cfs_dev_read_each,
    .write = mem_write,
    .start_write_out = mem_range,
    .wait_write_out = mem_range,
    .flush = mem_whole,
    .drop_cache = mem_whole,
    .allocate = mem_range,
    .discard = mem_discard,
    .close = mem_close,
};

int cfs_dev_mem(uint64_t size, struct cfs_dev **ret)
{
    struct dev_mem *m = calloc(1, sizeof *m);

    if (!m)
        return -ENOMEM;
    m->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->bytes == MAP_FAILED) {
        free(m);
        return -ENOMEM;
    }
    m->dev = (struct cfs_dev){.ops = &mem_ops, .size = size,
                              .path = "memory"};
    *ret = &m->dev;
    return 0;
}
