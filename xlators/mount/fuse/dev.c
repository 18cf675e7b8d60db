/* SPDX-License-Identifier: Apache-2.0 */
/* dev.c - /dev/fuse: requests in, answers out.
 *
 * libfuse decodes and encodes; reading, writing and waiting are ours
 * (fuse_session_custom_io), for three reasons: one loop serves everything; the
 * device is drained at each wake-up; and libfuse's INIT answer leaves out
 * flags that we need, so it is rewritten on its way out (conv.c).
 *
 * A request is read to where the data of a WRITE, behind its two headers, is
 * block-aligned: data that is large stays there until it is on the wire, and
 * the next request gets another buffer. Small data is copied (file.c).
 */
#include "xlators/mount/fuse/fm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

/* Where a request begins in its buffer. */
#define IN_AT \
    (CFS_BLOCK - sizeof(struct fuse_in_header) - sizeof(struct fuse_write_in))
/* What the kernel insists on being able to write: max_write and its headers. */
#define IN_SIZE (CFS_BLOCK - IN_AT + CFS_IO_MAX)

int fm_dev_open(struct fm *fm, struct cfs_err *err)
{
    int fd;

    fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENODEV))
        return cfs_err_set(err, -errno,
                           "/dev/fuse is missing: no fuse in this kernel "
                           "(modprobe fuse)");
    if (fd < 0)
        return cfs_err_set(err, -errno, "/dev/fuse: %s", strerror(errno));
    fm->fd = fd;
    return 0;
}

/* -- what libfuse calls ---------------------------------------------------- */

static ssize_t dev_read(int fd, void *buf, size_t len, void *userdata)
{
    return read(fd, buf, len);
}

static ssize_t dev_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    struct fm *fm = userdata;
    const struct fuse_out_header *out = iov[0].iov_base;
    struct fuse_init_out init;
    ssize_t n;

    if (!fm->inited && out->unique == fm->init_unique) {
        if (out->error == 0 && count == 2 && iov[1].iov_len == sizeof init) {
            struct fm_init want = {
                .max_background = fm->max_background,
                .page_size = (uint32_t)sysconf(_SC_PAGESIZE),
            };

            memcpy(&init, iov[1].iov_base, sizeof init);
            fm_init_patch(&fm->init_in, &want, &init);
            iov[1].iov_base = &init;
            fm->inited = true;
        } else {
            fm->init_failed = true;
        }
    }
    n = writev(fd, iov, count);
    if (n < 0 && errno != ENOENT) {
        cfs_log_debug(fm->xl->log, fm->xl->name, "answering: %s",
                      strerror(errno));
        /* libfuse takes it for an interrupted request, and is quiet. */
        errno = ENOENT;
    }
    return n;
}

/* -- requests -------------------------------------------------------------- */

/* What libfuse takes on trust: that the lengths agree. */
static bool in_valid(const struct fuse_in_header *in, size_t len)
{
    const struct fuse_write_in *w = (const void *)(in + 1);

    if (len < sizeof *in || in->len != len)
        return false;
    if (in->opcode == FUSE_WRITE &&
        (len < sizeof *in + sizeof *w || w->size > CFS_IO_MAX ||
         len != sizeof *in + sizeof *w + w->size))
        return false;
    /* The oldest INIT: versions, read-ahead, flags. */
    return in->opcode != FUSE_INIT || len >= sizeof *in + 16;
}

static void note_init(struct fm *fm, const struct fuse_in_header *in)
{
    size_t n = in->len - sizeof *in;

    fm->init_unique = in->unique;
    memset(&fm->init_in, 0, sizeof fm->init_in);
    memcpy(&fm->init_in, in + 1,
           n < sizeof fm->init_in ? n : sizeof fm->init_in);
}

/* Read and start one request. 0, or -EAGAIN: none is there; -ENODEV. */
static int take_one(struct fm *fm)
{
    struct fuse_buf buf = {0};
    const struct fuse_in_header *in;
    ssize_t n;

    if (fm->in.mem == NULL)
        fm->in = cfs_buf_new((uint32_t)(IN_AT + IN_SIZE));
    n = read(fm->fd, fm->in.data + IN_AT, IN_SIZE);
    if (n < 0) {
        /* ENOENT: the request was interrupted before it was read. */
        if (errno == ENOENT || errno == EINTR)
            return 0;
        return -errno;
    }

    in = (const void *)(fm->in.data + IN_AT);
    if (!in_valid(in, (size_t)n)) {
        cfs_log_error(fm->xl->log, fm->xl->name,
                      "a request of %zd bytes that makes no sense", n);
        return 0;
    }
    if (!fm->inited && in->opcode == FUSE_INIT)
        note_init(fm, in);
    fm->raw = in;
    fm->raw_len = (size_t)n;
    buf.mem = fm->in.data + IN_AT;
    buf.size = (size_t)n;
    fuse_session_process_buf(fm->se, &buf);
    fm->raw = NULL;
    return 0;
}

static void poll_start(struct fm *fm);

static void drain(struct fm *fm)
{
    bool was_inited = fm->inited;
    int rc = 0;

    while (rc == 0 && fm->calls < fm->max_calls)
        rc = take_one(fm);

    if (rc == 0) {
        /* Full: whoever ends a call wakes us. */
        uv_poll_stop(fm->poll);
        fm->polling = false;
    } else if (rc != -EAGAIN) {
        if (rc != -ENODEV)
            cfs_log_error(fm->xl->log, fm->xl->name, "/dev/fuse: %s",
                          strerror(-rc));
        fm_device_gone(fm);
        return;
    }
    if (fm->inited && !was_inited)
        fm_started(fm);
    if (fm->init_failed) {
        cfs_log_error(fm->xl->log, fm->xl->name,
                      "this kernel's fuse protocol %u.%u is not understood",
                      fm->init_in.major, fm->init_in.minor);
        fm_device_gone(fm);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct fm *fm = poll->data;

    /* An unmount shows as an error of poll; libuv has stopped then. What
     * it means is for read to say. */
    drain(fm);
    if (status < 0 && fm->state == FM_SERVING && fm->polling)
        poll_start(fm);
}

static void poll_start(struct fm *fm)
{
    fm->polling = true;
    uv_poll_start(fm->poll, UV_READABLE, on_poll);
}

void fm_dev_resume(struct fm *fm)
{
    if (fm->state == FM_SERVING && !fm->polling && fm->calls < fm->max_calls)
        poll_start(fm);
}

/* -- life ------------------------------------------------------------------ */

static void libfuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
    /* No context is given to us; what matters comes as an error too. */
    if (level <= FUSE_LOG_ERR)
        vfprintf(stderr, fmt, ap);
}

int fm_dev_serve(struct fm *fm, struct cfs_err *err)
{
    static const struct fuse_custom_io io = {
        .writev = dev_writev,
        .read = dev_read,
    };
    char *argv[] = {(char *)"clusterfs", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    int rc;

    fuse_set_log_func(libfuse_log);
    fm->se = fuse_session_new(&args, &fm_ops, sizeof fm_ops, fm);
    fuse_opt_free_args(&args);
    if (fm->se == NULL)
        return cfs_err_set(err, -ENOMEM, "libfuse gives no session");
    rc = fuse_session_custom_io(fm->se, &io, fm->fd);
    if (rc < 0)
        return cfs_err_set(err, rc, "libfuse: %s", strerror(-rc));

    fm->poll = calloc(1, sizeof *fm->poll);
    if (fm->poll == NULL)
        return cfs_err_set(err, -ENOMEM, "no memory");
    rc = uv_poll_init(cfs_loop_uv(fm->xl->loop), fm->poll, fm->fd);
    if (rc < 0) {
        free(fm->poll);
        fm->poll = NULL;
        return cfs_err_set(err, rc, "/dev/fuse: %s", uv_strerror(rc));
    }
    fm->poll->data = fm;
    poll_start(fm);
    return 0;
}

static void free_poll(uv_handle_t *h)
{
    free(h);
}

void fm_dev_stop(struct fm *fm)
{
    if (fm->poll != NULL)
        uv_close((uv_handle_t *)fm->poll, free_poll);
    fm->poll = NULL;
    fm->polling = false;
}

void fm_dev_close(struct fm *fm)
{
    fm_dev_stop(fm);
    if (fm->se != NULL) {
        fuse_session_exit(fm->se);
        fuse_session_destroy(fm->se); /* closes the device */
        fm->se = NULL;
    } else if (fm->fd >= 0) {
        close(fm->fd);
    }
    fm->fd = -1;
    cfs_buf_unref(&fm->in);
}
