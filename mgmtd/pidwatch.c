/* SPDX-License-Identifier: Apache-2.0 */
/* pidwatch.c - see pidwatch.h. */
#include "mgmtd/pidwatch.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "core/host.h"
#include "mgmtd/mem.h"

struct pidwatch {
    uv_poll_t poll;
    int       fd;
    uint32_t  pid;
    void (*ended)(void *arg, int status);
    void *arg;
};

static void on_closed(uv_handle_t *h)
{
    struct pidwatch *w = h->data;

    close(w->fd);
    free(w);
}

void pidwatch_free(struct pidwatch *w)
{
    if (w)
        uv_close((uv_handle_t *)&w->poll, on_closed);
}

static void nobody_cares(void *arg, int status)
{
}

void pidwatch_disown(struct pidwatch *w)
{
    if (w)
        w->ended = nobody_cares;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct pidwatch *w = poll->data;
    int how = -1;

    if (waitpid((pid_t)w->pid, &how, WNOHANG) <= 0)
        how = -1;
    pidwatch_free(w);
    w->ended(w->arg, how);
}

int pidwatch_new(struct cfs_loop *loop, uint32_t pid, uint64_t start,
                 void (*ended)(void *arg, int status), void *arg,
                 struct pidwatch **ret)
{
    struct pidwatch *w;
    uint64_t now;
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);

    if (fd < 0)
        return -errno;
    /* Looked at behind pidfd_open: what it says belongs to this process, or
     * to a later one, which differs. */
    if (start && (cfs_pid_start(pid, &now) < 0 || now != start)) {
        close(fd);
        return -ESRCH;
    }
    w = mem_new(sizeof *w);
    w->fd = fd;
    w->pid = pid;
    w->ended = ended;
    w->arg = arg;
    w->poll.data = w;
    if (uv_poll_init(cfs_loop_uv(loop), &w->poll, fd) < 0) {
        close(fd);
        free(w);
        return -EIO;
    }
    if (uv_poll_start(&w->poll, UV_READABLE, on_readable) < 0) {
        pidwatch_free(w);
        return -EIO;
    }
    *ret = w;
    return 0;
}
