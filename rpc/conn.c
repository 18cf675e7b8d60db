/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c - the life of a connection; states in conn_impl.h.
 *
 * Trying to connect: all addresses of the name, one after the other; then the
 * owner hears why it did not work (events->down), and it begins anew after a
 * delay that doubles up to BACKOFF times reconnect_ms. A connection that lasts
 * until its first tick sets the delay back.
 *
 * Silence is counted only while this process runs: a tick that comes much too
 * late (we were stopped, or the machine slept) begins the count anew.
 */
#include "rpc/conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rpc/tls_impl.h"

#define BACKOFF     16u
#define SOCKBUF     (4 * 1024 * 1024)
#define TICK_MIN_MS 10u

const struct rpc_opts rpc_opts_default = {
    .keepalive_ms = 2000,
    .idle_ms = 30000,
    .reconnect_ms = 200,
    .connect_ms = 10000,
    .send_high = 64u * 1024u * 1024u,
    .max_calls = 1024,
    .body_max = CFS_RPC_BODY_MAX,
    .payload_max = CFS_RPC_PAYLOAD_MAX,
    .max_raw = 64,
};

static void begin(struct rpc_conn *c);
static void try_next(struct rpc_conn *c);

/* -- memory --------------------------------------------------------------- */

static void conn_free(struct rpc_conn *c)
{
    struct cfs_list *l;

    rpc_tls_unref(c->opts.tls);
    while ((l = cfs_list_pop(&c->spare)) != NULL)
        free(cfs_list_entry(l, struct rpc_in, m.link));
    free(c);
}

void rpc_conn_enter(struct rpc_conn *c)
{
    c->busy++;
}

void rpc_conn_leave(struct rpc_conn *c)
{
    assert(c->busy > 0);
    if (--c->busy == 0 && c->state == RPC_CLOSED)
        conn_free(c);
}

/* -- the socket ----------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *h)
{
    free(h);
}

static void drop_socket(struct rpc_conn *c)
{
    rpc_tls_end(c);
    if (c->poll != NULL)
        uv_close((uv_handle_t *)c->poll, on_handle_closed);
    c->poll = NULL;
    c->polled = 0;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

/* The error that a socket waits to tell, negative; or @otherwise. */
static int socket_error(int fd, int otherwise)
{
    int e = 0;
    socklen_t len = sizeof e;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
        return -errno;
    return e != 0 ? -e : otherwise;
}

static void connected(struct rpc_conn *c);
static void secure(struct rpc_conn *c);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct rpc_conn *c = poll->data;

    rpc_conn_enter(c);
    if (c->state == RPC_CONNECT) {
        int rc = socket_error(c->fd, 0);

        if (rc == 0) {
            connected(c);
        } else {
            c->why = (struct cfs_err){0};
            cfs_err_set(&c->why, rc, "%s", strerror(-rc));
            try_next(c);
        }
    } else if (c->state == RPC_SECURE) {
        secure(c);
    } else if (c->state == RPC_UP && status < 0) {
        int rc = socket_error(c->fd, -ECONNRESET);

        if (c->sec != NULL)
            rpc_rx_readable(c); /* TLS may have said why */
        if (c->state == RPC_UP)
            rpc_conn_fail(c, rc, "%s", strerror(-rc));
    } else {
        if (c->state == RPC_UP && (events & UV_WRITABLE) != 0)
            rpc_tx_flush(c);
        if (c->state == RPC_UP && (events & UV_READABLE) != 0)
            rpc_rx_readable(c);
    }
    rpc_conn_leave(c);
}

void rpc_conn_poll(struct rpc_conn *c)
{
    int want = 0;

    if (c->state == RPC_CONNECT)
        want = UV_WRITABLE;
    else if (c->state == RPC_UP || c->state == RPC_SECURE)
        want = (c->rx.paused ? 0 : UV_READABLE) |
               (c->tx.blocked ? UV_WRITABLE : 0);
    if (want == c->polled || c->poll == NULL)
        return;
    if (want == 0)
        uv_poll_stop(c->poll);
    else
        uv_poll_start(c->poll, want, on_poll);
    c->polled = want;
}

/* Take @fd. -errno: it stays the caller's. */
static int adopt(struct rpc_conn *c, int fd)
{
    uv_poll_t *poll = malloc(sizeof *poll);
    int rc;

    if (poll == NULL)
        return -ENOMEM;
    rc = uv_poll_init_socket(cfs_loop_uv(c->loop), poll, fd);
    if (rc < 0) {
        free(poll);
        return rc;
    }
    poll->data = c;
    c->poll = poll;
    c->fd = fd;
    return 0;
}

/* Large buffers between processes of one host; TCP sizes its own. */
static void tune(const struct rpc_conn *c)
{
    const int on = 1, size = SOCKBUF;

    if (!c->local) {
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return;
    }
    if (setsockopt(c->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
        setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* -- silence -------------------------------------------------------------- */

static uint64_t tick_ms(const struct rpc_conn *c)
{
    uint64_t ms = c->opts.keepalive_ms / 2;

    if (c->opts.idle_ms > 0 && (ms == 0 || c->opts.idle_ms / 4 < ms))
        ms = c->opts.idle_ms / 4;
    if (ms == 0)
        return 0;
    return ms < TICK_MIN_MS ? TICK_MIN_MS : ms;
}

static void start_tick(struct rpc_conn *c)
{
    c->ticked = cfs_now(c->loop);
    if (tick_ms(c) > 0)
        cfs_timer_start(&c->timer, tick_ms(c) * CFS_MS);
    else
        cfs_timer_stop(&c->timer);
}

/* The last tick is long ago: this process did not run. */
static bool stood_still(const struct rpc_conn *c, uint64_t now)
{
    return tick_ms(c) > 0 && now > c->ticked + 3 * tick_ms(c) * CFS_MS;
}

/* For how long it has been silent while we listened. */
static uint64_t silence_of(const struct rpc_conn *c, uint64_t now)
{
    const uint64_t from = c->heard > c->deaf ? c->heard : c->deaf;

    return now > from ? now - from : 0;
}

static void tick(struct rpc_conn *c)
{
    const uint64_t now = cfs_now(c->loop);
    const uint64_t idle = c->opts.idle_ms * CFS_MS;

    if (stood_still(c, now)) {
        c->deaf = now;
        c->tx.moved = now;
    }
    start_tick(c);
    c->delay_ms = c->opts.reconnect_ms;
    if (idle > 0 && c->tx.blocked && now - c->tx.moved >= idle) {
        rpc_conn_fail(c, -ETIMEDOUT, "it read nothing for %u ms",
                      c->opts.idle_ms);
        return;
    }
    if (c->rx.paused) {
        c->deaf = now; /* it is we who do not listen */
        return;
    }
    if (idle > 0 && silence_of(c, now) >= idle)
        rpc_conn_fail(c, -ETIMEDOUT, "nothing heard for %u ms",
                      c->opts.idle_ms);
    else if (c->opts.keepalive_ms > 0 && !c->pinging &&
             silence_of(c, now) >= c->opts.keepalive_ms * CFS_MS)
        rpc_ping(c);
}

/* -- up ------------------------------------------------------------------- */

static void go_up(struct rpc_conn *c)
{
    c->state = RPC_UP;
    c->heard = cfs_now(c->loop);
    c->why = (struct cfs_err){0};
    tune(c);
    start_tick(c);
    rpc_conn_poll(c);
    c->told = true;
    if (c->events.up != NULL)
        c->events.up(c, c->ctx);
}

/* The socket is there: the handshake, or at once up. */
static void go_on(struct rpc_conn *c)
{
    if (c->opts.tls == NULL || c->local) {
        go_up(c);
        return;
    }
    c->state = RPC_SECURE;
    if (c->listener != NULL)
        c->listener->n_raw++;
    cfs_timer_start(&c->timer, c->opts.connect_ms * CFS_MS);
    if (rpc_tls_begin(c) < 0)
        rpc_conn_fail(c, -ENOMEM, "out of memory");
    else
        secure(c);
}

static void secure(struct rpc_conn *c)
{
    struct cfs_err why = {0};
    int rc = rpc_tls_step(c, &why);

    if (rc < 0) {
        rpc_conn_fail(c, rc, "%s", why.text);
        return;
    }
    if (rc == 0) {
        rpc_conn_poll(c);
        return;
    }
    if (c->listener != NULL)
        c->listener->n_raw--;
    go_up(c);
    if (c->state == RPC_UP)
        rpc_rx_readable(c); /* what came with the handshake's end */
}

static void connected(struct rpc_conn *c)
{
    if (!c->local)
        rpc_sockaddr_print(&c->to[c->at_to - 1], c->name, sizeof c->name);
    go_on(c);
}

/* -- connecting ----------------------------------------------------------- */

/* Root connects from a port that only root can have (rpc_conn_is_privileged);
 * where none is free the kernel chooses, and the peer may refuse. */
static void bind_privileged(struct rpc_conn *c, int fd, sa_family_t family)
{
    const unsigned lo = 512, n = IPPORT_RESERVED - lo;
    uint16_t start;

    if (family == AF_UNIX || geteuid() != 0)
        return;
    cfs_random(c->loop, &start, sizeof start);
    for (unsigned i = 0; i < n; i++) {
        struct rpc_sockaddr any;

        rpc_sockaddr_any(family, (uint16_t)(lo + (start + i) % n), &any);
        if (bind(fd, &any.any, any.len) == 0 || errno != EADDRINUSE)
            return;
    }
}

/* 1: connected; 0: under way; -errno. */
static int try_address(struct rpc_conn *c, const struct rpc_sockaddr *to)
{
    int fd, rc;

    fd = socket(to->any.sa_family,
                SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    bind_privileged(c, fd, to->any.sa_family);
    do {
        rc = connect(fd, &to->any, to->len) == 0 ? 1 : -errno;
    } while (rc == -EINTR);
    if (rc == 1 || rc == -EINPROGRESS) {
        int rc2 = adopt(c, fd);

        if (rc2 == 0)
            return rc == 1 ? 1 : 0;
        rc = rc2;
    }
    close(fd);
    return rc;
}

/* The next address of the name; the failure of the last one is in c->why. */
static void try_next(struct rpc_conn *c)
{
    drop_socket(c);
    while (c->at_to < c->n_to) {
        int rc = try_address(c, &c->to[c->at_to++]);

        if (rc == 1) {
            connected(c);
            return;
        }
        if (rc == 0) {
            c->state = RPC_CONNECT;
            cfs_timer_start(&c->timer, c->opts.connect_ms * CFS_MS);
            rpc_conn_poll(c);
            return;
        }
        c->why = (struct cfs_err){0};
        cfs_err_set(&c->why, rc, "%s", strerror(-rc));
    }
    rpc_conn_fail(c, c->why.code, "cannot connect to %s: %s", c->addr.text,
                  c->why.text);
}

static void on_resolved(struct rpc_conn *c, int rc,
                        const struct rpc_sockaddr *to, unsigned n)
{
    c->resolve = NULL;
    rpc_conn_enter(c);
    if (rc < 0) {
        rpc_conn_fail(c, rc, "%s: the name is not known", c->addr.text);
    } else {
        memcpy(c->to, to, n * sizeof *to);
        c->n_to = n;
        c->at_to = 0;
        try_next(c);
    }
    rpc_conn_leave(c);
}

static void begin(struct rpc_conn *c)
{
    c->local = rpc_addr_is_unix(&c->addr);
    snprintf(c->name, sizeof c->name, "%s", c->addr.text);
    if (rpc_addr_literal(&c->addr, &c->to[0]) > 0) {
        c->n_to = 1;
        c->at_to = 0;
        try_next(c);
        return;
    }
    c->state = RPC_RESOLVE;
    c->resolve = rpc_resolve_start(c->loop, &c->addr, c, on_resolved);
    if (c->resolve == NULL)
        rpc_conn_fail(c, -EINVAL, "%s: not an address", c->addr.text);
}

/* -- down ----------------------------------------------------------------- */

/* Everything that belongs to the present attempt or connection. */
static void drop_present(struct rpc_conn *c)
{
    rpc_resolve_cancel(c->resolve);
    c->resolve = NULL;
    drop_socket(c);
    cfs_timer_stop(&c->timer);
    cfs_hook_cancel(&c->flush);
    cfs_task_cancel(&c->resume);
    rpc_rx_drop(c);
    rpc_tx_drop(c);
}

void rpc_conn_fail(struct rpc_conn *c, int code, const char *fmt, ...)
{
    char text[CFS_ERR_TEXT];
    va_list ap;

    assert(c->state == RPC_WAIT || c->state == RPC_RESOLVE ||
           c->state == RPC_CONNECT || c->state == RPC_SECURE ||
           c->state == RPC_UP);
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->why = (struct cfs_err){0};
    cfs_err_set(&c->why, code, "%s", text);
    cfs_log_debug(c->log, c->who, "%s: down: %s", c->name, text);

    if (c->listener != NULL && c->state == RPC_SECURE) {
        c->listener->n_raw--;
        rpc_listener_refused(c->listener, c);
    }
    c->state = RPC_DOWN;
    drop_present(c);
    rpc_calls_drop(c);
    cfs_task_post(c->loop, &c->task);
}

static void tell_down(struct rpc_conn *c)
{
    const struct cfs_err why = c->why;

    c->state = RPC_WAIT;
    if (c->listener == NULL) {
        cfs_timer_start(&c->timer, c->delay_ms * CFS_MS);
        if (c->delay_ms < (uint64_t)BACKOFF * c->opts.reconnect_ms)
            c->delay_ms *= 2;
    }
    if (c->events.down != NULL && (c->listener == NULL || c->told))
        c->events.down(c, &why, c->ctx);
    if (c->listener != NULL && c->state != RPC_CLOSED)
        rpc_conn_close(c);
}

/* After the tasks of the calls that ended with the connection; or, the first
 * time, as soon as nobody is on the stack. */
static void on_task(struct cfs_task *t)
{
    struct rpc_conn *c = container_of(t, struct rpc_conn, task);

    rpc_conn_enter(c);
    if (c->state == RPC_DOWN)
        tell_down(c);
    else if (c->state == RPC_WAIT)
        begin(c);
    rpc_conn_leave(c);
}

static void on_resume(struct cfs_task *t)
{
    struct rpc_conn *c = container_of(t, struct rpc_conn, resume);

    rpc_conn_enter(c);
    if (c->state == RPC_UP && c->rx.paused) {
        c->rx.paused = false;
        c->deaf = cfs_now(c->loop);
        rpc_rx_parse(c);
        if (c->state == RPC_UP && c->sec != NULL)
            rpc_rx_readable(c);
        rpc_conn_poll(c);
    }
    rpc_conn_leave(c);
}

static void on_flush(struct cfs_hook *h)
{
    struct rpc_conn *c = container_of(h, struct rpc_conn, flush);

    rpc_conn_enter(c);
    if (c->state == RPC_UP)
        rpc_tx_flush(c);
    rpc_conn_leave(c);
}

static void on_timer(struct cfs_timer *t)
{
    struct rpc_conn *c = container_of(t, struct rpc_conn, timer);

    rpc_conn_enter(c);
    switch (c->state) {
    case RPC_WAIT:
        begin(c);
        break;
    case RPC_CONNECT:
        c->why = (struct cfs_err){0};
        cfs_err_set(&c->why, -ETIMEDOUT, "no answer within %u ms",
                    c->opts.connect_ms);
        try_next(c);
        break;
    case RPC_SECURE:
        rpc_conn_fail(c, -ETIMEDOUT, "no TLS handshake within %u ms",
                      c->opts.connect_ms);
        break;
    case RPC_UP:
        tick(c);
        break;
    case RPC_RESOLVE:
    case RPC_DOWN:
    case RPC_CLOSED:
        break;
    }
    rpc_conn_leave(c);
}

/* -- from outside --------------------------------------------------------- */

static struct rpc_conn *conn_new(struct cfs_loop *loop, struct cfs_log *log,
                                 const char *who)
{
    struct rpc_conn *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->loop = loop;
    c->log = log;
    snprintf(c->who, sizeof c->who, "%s", who);
    c->state = RPC_WAIT;
    c->fd = -1;
    cfs_list_init(&c->link);
    cfs_list_init(&c->msgs);
    cfs_list_init(&c->spare);
    for (unsigned i = 0; i < RPC_BUCKETS; i++)
        cfs_list_init(&c->calls[i]);
    cfs_task_init(&c->task, on_task);
    cfs_task_init(&c->resume, on_resume);
    cfs_hook_init(&c->flush, CFS_STAGE_SEND, on_flush);
    cfs_timer_init(loop, &c->timer, on_timer);
    return c;
}

int rpc_connect(struct cfs_loop *loop, struct cfs_log *log, const char *who,
                const struct rpc_addr *addr, const struct rpc_opts *opts,
                const struct rpc_program *programs, unsigned n_programs,
                const struct rpc_events *events, void *ctx,
                struct rpc_conn **ret, struct cfs_err *err)
{
    struct rpc_conn *c = conn_new(loop, log, who);

    if (c == NULL)
        return cfs_err_set(err, -ENOMEM, "%s: out of memory", who);
    c->addr = *addr;
    c->opts = opts != NULL ? *opts : rpc_opts_default;
    rpc_tls_ref(c->opts.tls);
    c->delay_ms = c->opts.reconnect_ms;
    c->programs = programs;
    c->n_programs = n_programs;
    if (events != NULL)
        c->events = *events;
    c->ctx = ctx;
    cfs_task_post(loop, &c->task);
    *ret = c;
    return 0;
}

struct rpc_conn *rpc_conn_accept(struct rpc_listener *l, int fd)
{
    struct rpc_conn *c = conn_new(l->loop, l->log, l->who);

    if (c == NULL || adopt(c, fd) < 0) {
        free(c);
        close(fd);
        return NULL;
    }
    c->listener = l;
    c->addr = l->addr;
    c->local = rpc_addr_is_unix(&l->addr);
    c->opts = l->opts;
    rpc_tls_ref(c->opts.tls);
    c->programs = l->programs;
    c->n_programs = l->n_programs;
    c->events = l->events;
    c->ctx = l->ctx;
    cfs_list_add_tail(&l->conns, &c->link);
    if (c->local) {
        uint32_t pid = 0, uid = 0;

        rpc_conn_peer_cred(c, &pid, &uid);
        snprintf(c->name, sizeof c->name, "%s pid=%u", c->addr.text, pid);
    } else {
        struct rpc_sockaddr peer = {.len = sizeof peer.storage};

        getpeername(fd, &peer.any, &peer.len);
        rpc_sockaddr_print(&peer, c->name, sizeof c->name);
    }
    rpc_conn_enter(c);
    go_on(c);
    rpc_conn_leave(c);
    return c;
}

void rpc_conn_redirect(struct rpc_conn *c, const struct rpc_addr *addr)
{
    assert(c->listener == NULL && c->state != RPC_CLOSED);
    c->addr = *addr;
    if (c->state == RPC_RESOLVE || c->state == RPC_CONNECT ||
        c->state == RPC_SECURE || c->state == RPC_UP)
        rpc_conn_fail(c, -ECONNABORTED, "going to %s", addr->text);
}

void rpc_conn_reset(struct rpc_conn *c, const char *why)
{
    if (c->state == RPC_RESOLVE || c->state == RPC_CONNECT ||
        c->state == RPC_SECURE || c->state == RPC_UP)
        rpc_conn_fail(c, -ECONNRESET, "%s", why);
}

void rpc_conn_close(struct rpc_conn *c)
{
    if (c == NULL || c->state == RPC_CLOSED)
        return;
    if (c->listener != NULL && c->state == RPC_SECURE)
        c->listener->n_raw--;
    c->state = RPC_CLOSED;
    drop_present(c);
    rpc_calls_drop(c);
    cfs_task_cancel(&c->task);
    cfs_timer_fini(&c->timer);
    cfs_list_del(&c->link);
    if (c->busy == 0)
        conn_free(c);
}

void rpc_conn_limit(struct rpc_conn *c, uint32_t max_calls, uint32_t body_max)
{
    const bool known = body_max == CFS_RPC_BODY_MAX;
    const uint64_t bytes = (uint64_t)max_calls * body_max;
    const uint32_t high = rpc_opts_default.send_high;

    assert(body_max <= CFS_RPC_BODY_MAX);
    c->opts.max_calls = max_calls;
    c->opts.body_max = body_max;
    c->opts.payload_max = known ? CFS_RPC_PAYLOAD_MAX : body_max;
    c->opts.send_high = known || bytes > high ? high : (uint32_t)bytes;
    rpc_relieve(c);
}

void rpc_conn_set_patience(struct rpc_conn *c, uint32_t keepalive_ms,
                           uint32_t idle_ms)
{
    c->opts.keepalive_ms = keepalive_ms;
    c->opts.idle_ms = idle_ms;
    if (c->state == RPC_UP)
        start_tick(c);
}

void rpc_conn_set_lz4(struct rpc_conn *c, bool on)
{
    c->opts.lz4 = on;
}

bool rpc_conn_is_up(const struct rpc_conn *c)
{
    return c->state == RPC_UP;
}

bool rpc_conn_is_local(const struct rpc_conn *c)
{
    return c->local;
}

int rpc_conn_peer_cred(const struct rpc_conn *c, uint32_t *ret_pid,
                       uint32_t *ret_uid)
{
    struct ucred cred;
    socklen_t len = sizeof cred;

    if (!c->local)
        return -ENOTSUP;
    if (c->fd < 0)
        return -ENOTCONN;
    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -errno;
    *ret_pid = (uint32_t)cred.pid;
    *ret_uid = (uint32_t)cred.uid;
    return 0;
}

bool rpc_conn_is_privileged(const struct rpc_conn *c)
{
    struct rpc_sockaddr peer = {.len = sizeof peer.storage};
    uint32_t pid, uid;

    if (c->local)
        return rpc_conn_peer_cred(c, &pid, &uid) == 0 &&
               (uid == 0 || uid == geteuid());
    if (geteuid() != 0)
        return true;
    return c->fd >= 0 && getpeername(c->fd, &peer.any, &peer.len) == 0 &&
           rpc_sockaddr_port(&peer) < IPPORT_RESERVED;
}

void rpc_conn_peer_host(const struct rpc_conn *c, char *ret, size_t len)
{
    struct rpc_sockaddr peer = {.len = sizeof peer.storage};

    if (len > 0)
        ret[0] = '\0';
    if (!c->local && c->fd >= 0 &&
        getpeername(c->fd, &peer.any, &peer.len) == 0)
        rpc_sockaddr_host(&peer, ret, len);
}

const char *rpc_conn_name(const struct rpc_conn *c)
{
    return c->name;
}

void *rpc_conn_user(const struct rpc_conn *c)
{
    return c->user;
}

void rpc_conn_set_user(struct rpc_conn *c, void *user)
{
    c->user = user;
}

uint64_t rpc_conn_heard(const struct rpc_conn *c)
{
    return c->heard;
}

uint64_t rpc_conn_silence(const struct rpc_conn *c, uint64_t now)
{
    return stood_still(c, now) ? 0 : silence_of(c, now);
}

/* Also of a connection that is still being made. */
void rpc_conn_loss(const struct rpc_conn *c, struct rpc_loss *ret)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    *ret = (struct rpc_loss){0};
    if (c->local || c->fd < 0 ||
        getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return;
    *ret = (struct rpc_loss){
        .resent = info.tcpi_total_retrans,
        .backoff = info.tcpi_retransmits,
        .unacked = info.tcpi_unacked,
    };
}
