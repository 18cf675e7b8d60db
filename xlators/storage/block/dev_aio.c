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
#include "xlators/storage/block/dev_aio.h"

#include <assert.h>
#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local aio_context_t context;
static _Thread_local bool refused;

static bool have_context(void)
{
    if (context == 0 && !refused)
        refused = syscall(SYS_io_setup, 1, &context) < 0;
    return !refused;
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
    long n;

    if (!have_context() || syscall(SYS_io_submit, context, 1L, &list) != 1)
        return -ENOSYS;
    do {
        n = syscall(SYS_io_getevents, context, 1L, 1L, &ev, NULL);
    } while (n < 0 && errno == EINTR);
    assert(n == 1); /* the kernel has our memory until then */
    return (ssize_t)ev.res;
}
