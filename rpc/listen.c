/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c - a listening socket and the connections that it accepted. */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/tls_impl.h"

#define BACKLOG  256
#define PAUSE_MS 100u /* when there are no descriptors left */
#define REFUSALS 5u   /* logged within QUIET_MS; of more only the number */
#define QUIET_MS 10000u

/* -- strangers ------------------------------------------------------------ */

static void on_quiet(struct cfs_timer *t)
{
    struct rpc_listener *l = container_of(t, struct rpc_listener, quiet);

    if (l->refused > REFUSALS)
        cfs_log_info(l->log, l->who, "%u more connections were refused within "
                     "%u s", l->refused - REFUSALS, QUIET_MS / 1000);
    l->refused = 0;
}

void rpc_listener_refused(struct rpc_listener *l, const struct rpc_conn *c)
{
    if (l->refused++ == 0)
        cfs_timer_start(&l->quiet, QUIET_MS * CFS_MS);
    if (l->refused <= REFUSALS)
        cfs_log_info(l->log, l->who, "%s: refused: %s", c->name, c->why.text);
}

/* Somebody who opens connections and says nothing must not keep others out:
 * of those that have not proven anything the oldest goes. */
static void make_room(struct rpc_listener *l)
{
    cfs_list_for_each(it, &l->conns) {
        struct rpc_conn *c = cfs_list_entry(it, struct rpc_conn, link);

        if (c->state == RPC_SECURE) {
            rpc_conn_fail(c, -EBUSY, "too many connections at once");
            return;
        }
    }
}

/* -- accepting ------------------------------------------------------------ */

static void on_accept(uv_poll_t *poll, int status, int events);

static void accept_again(struct cfs_timer *t)
{
    struct rpc_listener *l = container_of(t, struct rpc_listener, pause);

    uv_poll_start(l->poll, UV_READABLE, on_accept);
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct rpc_listener *l = poll->data;

    for (;;) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            if (l->opts.tls != NULL && l->n_raw >= l->opts.max_raw)
                make_room(l);
            rpc_conn_accept(l, fd);
            if (poll->data == NULL)
                return; /* the owner closed the listener */
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN) {
            cfs_log_warning(l->log, l->who, "%s: cannot accept: %s",
                            l->addr.text, strerror(errno));
            uv_poll_stop(l->poll);
            cfs_timer_start(&l->pause, PAUSE_MS * CFS_MS);
        }
        return;
    }
}

/* -- binding -------------------------------------------------------------- */

static int new_socket(int family)
{
    const int on = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return fd;
}

/* Whether nobody listens any more where the name @at still is. */
static bool is_stale(const struct rpc_sockaddr *at)
{
    int fd = new_socket(AF_UNIX);
    bool stale;

    if (fd < 0)
        return false;
    stale = connect(fd, &at->any, at->len) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

/* For root, or whoever runs this, alone. */
static int bind_unix(struct rpc_listener *l, const struct rpc_sockaddr *at)
{
    struct stat st;
    int rc;

    fchmod(l->fd, 0600);
    rc = bind(l->fd, &at->any, at->len) == 0 ? 0 : -errno;
    if (rc == -EADDRINUSE && is_stale(at)) {
        unlink(at->un.sun_path);
        rc = bind(l->fd, &at->any, at->len) == 0 ? 0 : -errno;
    }
    if (rc == 0 && stat(at->un.sun_path, &st) == 0) {
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    return rc;
}

/* The port of @at, or any free one of [lo, hi], from a random one on.
 * listen(2) belongs to it: two may have bound a port, one may listen. */
static int bind_tcp(struct rpc_listener *l, struct rpc_sockaddr *at,
                    uint16_t lo, uint16_t hi)
{
    const uint16_t fixed = rpc_sockaddr_port(at);
    uint32_t n = 1, first = 0;
    int rc = -EADDRINUSE;

    if (fixed == 0) {
        assert(lo <= hi);
        n = (uint32_t)hi - lo + 1;
        cfs_random(l->loop, &first, sizeof first);
    }
    for (uint32_t i = 0; i < n && rc == -EADDRINUSE; i++) {
        const uint16_t port =
            (uint16_t)(fixed != 0 ? fixed : lo + (first % n + i) % n);

        rpc_sockaddr_set_port(at, port);
        l->port = port;
        rc = bind(l->fd, &at->any, at->len) == 0 ? 0 : -errno;
        if (rc == 0 && listen(l->fd, BACKLOG) < 0) {
            rc = -errno; /* the socket is bound now: take another */
            close(l->fd);
            l->fd = new_socket(at->any.sa_family);
            if (l->fd < 0)
                return l->fd;
        }
    }
    return rc;
}

static int open_socket(struct rpc_listener *l, uint16_t lo, uint16_t hi,
                       struct cfs_err *err)
{
    struct rpc_sockaddr at;
    int rc;

    if (rpc_addr_literal(&l->addr, &at) <= 0)
        return cfs_err_set(err, -EINVAL, "%s: listening needs a numeric "
                           "address or a path", l->addr.text);
    l->fd = new_socket(at.any.sa_family);
    if (l->fd < 0)
        return cfs_err_set(err, l->fd, "cannot make a socket: %s",
                           strerror(-l->fd));
    if (at.any.sa_family == AF_UNIX) {
        rc = bind_unix(l, &at);
        if (rc == 0 && listen(l->fd, BACKLOG) < 0)
            rc = -errno;
    } else {
        /* "::" is IPv4 too, whatever the machine's default is. */
        if (at.any.sa_family == AF_INET6)
            setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0},
                       sizeof(int));
        rc = bind_tcp(l, &at, lo, hi);
    }
    if (rc < 0)
        return cfs_err_set(err, rc, "cannot listen on %s: %s", l->addr.text,
                           strerror(-rc));
    return 0;
}

/* -- life ----------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *h)
{
    free(h);
}

int rpc_listen(struct cfs_loop *loop, struct cfs_log *log, const char *who,
               const struct rpc_addr *addr, uint16_t lo, uint16_t hi,
               const struct rpc_opts *opts,
               const struct rpc_program *programs, unsigned n_programs,
               const struct rpc_events *events, void *ctx,
               struct rpc_listener **ret, struct cfs_err *err)
{
    struct rpc_listener *l = calloc(1, sizeof *l);
    int rc;

    if (l == NULL)
        return cfs_err_set(err, -ENOMEM, "%s: out of memory", who);
    l->loop = loop;
    l->log = log;
    snprintf(l->who, sizeof l->who, "%s", who);
    l->opts = opts != NULL ? *opts : rpc_opts_default;
    rpc_tls_ref(l->opts.tls);
    l->programs = programs;
    l->n_programs = n_programs;
    if (events != NULL)
        l->events = *events;
    l->ctx = ctx;
    l->addr = *addr;
    l->fd = -1;
    cfs_list_init(&l->conns);
    cfs_timer_init(loop, &l->pause, accept_again);
    cfs_timer_init(loop, &l->quiet, on_quiet);

    rc = open_socket(l, lo, hi, err);
    if (rc < 0)
        goto fail;
    l->poll = malloc(sizeof *l->poll);
    if (l->poll == NULL) {
        rc = cfs_err_set(err, -ENOMEM, "%s: out of memory", who);
        goto fail;
    }
    rc = uv_poll_init_socket(cfs_loop_uv(loop), l->poll, l->fd);
    if (rc < 0) {
        cfs_err_set(err, rc, "%s: %s", l->addr.text, uv_strerror(rc));
        free(l->poll);
        goto fail;
    }
    l->poll->data = l;
    uv_poll_start(l->poll, UV_READABLE, on_accept);
    *ret = l;
    return 0;

fail:
    if (l->fd >= 0)
        close(l->fd);
    rpc_tls_unref(l->opts.tls);
    free(l);
    return rc;
}

void rpc_listener_guard(struct rpc_listener *l, rpc_guard *may)
{
    l->may = may;
}

uint16_t rpc_listener_port(const struct rpc_listener *l)
{
    return l->port;
}

/* The socket's name goes, if it is still ours. */
static void remove_name(const struct rpc_listener *l)
{
    struct rpc_sockaddr at;
    struct stat st;

    if (!rpc_addr_is_unix(&l->addr) || rpc_addr_literal(&l->addr, &at) <= 0)
        return;
    if (stat(at.un.sun_path, &st) == 0 && st.st_dev == l->dev &&
        st.st_ino == l->ino)
        unlink(at.un.sun_path);
}

void rpc_listener_close(struct rpc_listener *l)
{
    if (l == NULL)
        return;
    while (!cfs_list_empty(&l->conns))
        rpc_conn_close(cfs_list_entry(l->conns.next, struct rpc_conn, link));
    remove_name(l);
    cfs_timer_fini(&l->pause);
    cfs_timer_fini(&l->quiet);
    rpc_tls_unref(l->opts.tls);
    l->poll->data = NULL;
    uv_close((uv_handle_t *)l->poll, on_handle_closed);
    close(l->fd);
    free(l);
}
