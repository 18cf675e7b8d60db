/* SPDX-License-Identifier: Apache-2.0 */
/* dev_aio.h - direct I/O on an image file that does not keep others out of it.
 *
 * A file system holds a file's lock while it does a direct read or write, and
 * needs it alone for a write to the page cache: so the journal's, by the loop,
 * would wait for every read of a node and for every run of a checkpoint. It
 * holds the lock until the device has answered whoever waits in the call; for
 * a request that is asynchronous, only until the device has it. So these are
 * asynchronous, and the thread that made one waits for it outside the lock.
 *
 * Threads    any; each has one request at a time.
 */
#ifndef CFS_BLOCK_DEV_AIO_H
#define CFS_BLOCK_DEV_AIO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/* Bytes, or -errno. -ENOSYS: nothing was begun, since it cannot be had here;
 * the plain calls can. */
ssize_t dev_aio(int fd, bool write, const struct iovec *iov, int n_iov,
                uint64_t off);

/* Begins up to @n reads together, and waits for them: how many of the first
 * there were (0: none can be had here), each with .rc: 0; -EAGAIN: it was
 * short; or another -errno. */
struct cfs_dev_read;
unsigned dev_aio_read(int fd, struct cfs_dev_read *r, unsigned n);

#endif
