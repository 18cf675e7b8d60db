/* SPDX-License-Identifier: Apache-2.0 */
/* dev_aio.c - see dev_aio.h. The kernel's own asynchronous I/O (io_submit(2)),
 * which is there for images where io_uring often is forbidden.
 *
 * A thread's context is made at its first request and goes with the process:
 * to destroy one costs some 30 ms, and as many as there are cost no more when
 * they go together. By so much later a brick on an image ends, killed ones
 * too. Where the system has no more of them (fs.aio-max-nr), the thread uses
 * the plain calls.
 */
#include "xlators/storage/block/engine/dev_aio.h"

#include <assert.h>
#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "xlators/storage/block/engine/dev.h"

#define MANY 64u /* reads at once */

struct context {
    aio_context_t context;
    bool          refused;
};

static _Thread_local struct context single, many;

static bool have_context(struct context *c, unsigned events)
{
    if (c->context == 0 && !c->refused)
        c->refused = syscall(SYS_io_setup, events, &c->context) < 0;
    return !c->refused;
}

/* Until @n of what was begun have ended, or some and a signal came: how many.
 * The kernel has our memory until then. */
static long wait_for(const struct context *c, long n, struct io_event *ret)
{
    long got;

    do {
        got = syscall(SYS_io_getevents, c->context, n, n, ret, NULL);
    } while (got < 0 && errno == EINTR);
    assert(got > 0);
    return got;
}

unsigned dev_aio_read(int fd, struct cfs_dev_read *r, unsigned n)
{
    struct iocb cb[MANY], *list[MANY];
    struct io_event ev[MANY];
    long begun, left;

    if (n > MANY)
        n = MANY;
    for (unsigned i = 0; i < n; i++) {
        cb[i] = (struct iocb){
            .aio_lio_opcode = IOCB_CMD_PREAD,
            .aio_fildes = (uint32_t)fd,
            .aio_buf = (uint64_t)(uintptr_t)r[i].buf,
            .aio_nbytes = r[i].len,
            .aio_offset = (int64_t)r[i].off,
            .aio_data = i,
        };
        list[i] = &cb[i];
    }
    if (!have_context(&many, MANY))
        return 0;
    begun = syscall(SYS_io_submit, many.context, (long)n, list);
    if (begun < 0)
        return 0;
    for (left = begun; left > 0;) {
        const long got = wait_for(&many, left, ev);

        for (long i = 0; i < got; i++) {
            struct cfs_dev_read *one = &r[ev[i].data];

            one->rc = ev[i].res < 0 ? (int)ev[i].res
                      : (size_t)ev[i].res < one->len ? -EAGAIN : 0;
        }
        left -= got;
    }
    return (unsigned)begun;
}

ssize_t dev_aio(int fd, bool write, const struct iovec *iov, int n_iov,
                uint64_t off)
{
    struct iocb cb = {
        .aio_lio_opcode = write ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV,
        .aio_fildes = (uint32_t)fd,
        .aio_buf = (uint64_t)(uintptr_t)iov,
        .aio_nbytes = (unsigned)n_iov,
        .aio_offset = (int64_t)off,
    };
    struct iocb *list = &cb;
    struct io_event ev;

    if (!have_context(&single, 1) ||
        syscall(SYS_io_submit, single.context, 1L, &list) != 1)
        return -ENOSYS;
    wait_for(&single, 1, &ev);
    return (ssize_t)ev.res;
}
