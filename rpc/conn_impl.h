/* SPDX-License-Identifier: Apache-2.0 */
/* conn_impl.h - the inside of a connection, shared by the files that each do
 * one thing with it. Private to rpc.
 *
 *     addr.c     text to socket addresses
 *     conn.c     life: connect, up, down, retry, keepalive, close
 *     conn_rx.c  bytes from the socket to frames
 *     conn_tx.c  frames to bytes on the socket
 *     tls_conn.c the same, through TLS
 *     call.c     frames to calls and answers
 *     listen.c   accept
 *
 * Life of an outgoing connection (an accepted one starts at SECURE, with TLS,
 * or at UP, and is freed where the other waits):
 *
 *     WAIT -> RESOLVE -> CONNECT -> (SECURE ->) UP -> DOWN -> WAIT ...
 *
 * DOWN lasts until the end of the turn's tasks so far: the calls that were in
 * flight are answered by tasks, and events->down comes after them.
 *
 * (1) fd >= 0 exactly in CONNECT, SECURE and UP.
 * (2) Callbacks to the owner run with busy > 0; a connection that is closed
 *     meanwhile is freed when busy is 0 again. After each callback the state
 *     is looked at before anything else.
 */
#ifndef CFS_RPC_CONN_IMPL_H
#define CFS_RPC_CONN_IMPL_H

#include <sys/socket.h>
#include <sys/un.h>

#include <uv.h>

#include "rpc/conn.h"

#define RPC_BUCKETS  256u /* of calls in flight, by xid; a power of 2 */
#define RPC_ADDR_MAX 8u   /* of one name */

enum rpc_state {
    RPC_WAIT,
    RPC_RESOLVE,
    RPC_CONNECT,
    RPC_SECURE, /* TLS handshake */
    RPC_UP,
    RPC_DOWN,
    RPC_CLOSED,
};

/* A socket address of any family. */
struct rpc_sockaddr {
    union {
        struct sockaddr         any;
        struct sockaddr_storage storage;
        struct sockaddr_un      un;
    };
    socklen_t len;
};

/* Received and not yet handed on: chunk[start, end). While a payload is
 * being received, its frame's header and body are all that is in there. */
struct rpc_rx {
    struct cfs_buf chunk;
    uint32_t       start;
    uint32_t       end;
    bool           have_hdr;
    bool           paused; /* back-pressure: the socket is not read */
    struct rpc_hdr hdr;    /* of the frame at start */
    struct cfs_buf payload;
    uint32_t       got;      /* bytes of the payload */
    uint32_t       in_chunk; /* of these, still to be passed over in chunk */
};

/* Bytes on their way out, part of a chunk or of somebody's payload. */
struct rpc_seg {
    struct cfs_buf buf; /* one reference */
    bool           reply;
};

struct rpc_tx {
    struct cfs_buf  chunk; /* headers, bodies, small payloads */
    uint32_t        used;  /* bytes of it */
    struct rpc_seg *seg;   /* [head, n) are to be sent */
    unsigned        head, n, cap;
    uint64_t        replies;   /* bytes of them */
    bool            blocked;   /* the socket is full */
    uint64_t        moved;     /* when it last took a byte */
    uint32_t        lz4_skip;  /* payloads not to try, after one that did */
    uint32_t        lz4_next;  /* not pay; how many the next time */
};

/* A call that came in. */
struct rpc_in {
    struct rpc_msg m;
    struct cfs_buf chunk; /* where m.body is */
};

struct rpc_resolve;
struct rpc_secure;

struct rpc_conn {
    struct cfs_loop          *loop;
    struct cfs_log           *log;
    char                      who[64];
    struct rpc_opts           opts;
    const struct rpc_program *programs;
    unsigned                  n_programs;
    struct rpc_events         events;
    void                     *ctx;
    void                     *user;

    struct rpc_listener *listener; /* NULL: outgoing */
    struct cfs_list      link;     /* in listener->conns */

    enum rpc_state      state;
    unsigned            busy;
    struct rpc_addr     addr;
    char                name[300];
    bool                local;
    bool                told; /* the owner that it was up */
    int                 fd;
    uv_poll_t          *poll;
    int                 polled; /* what it waits for: UV_* */
    struct cfs_task     task;   /* begin, and down */
    struct cfs_task     resume;
    struct cfs_hook     flush;
    struct cfs_timer    timer; /* retry, connect time-out, ticks */
    struct cfs_err      why;   /* of DOWN */
    uint64_t            heard;
    uint64_t            deaf;   /* last: we stood still, or did not listen */
    uint64_t            ticked;
    uint64_t            delay_ms; /* before the next attempt */
    struct rpc_resolve *resolve;
    struct rpc_sockaddr to[RPC_ADDR_MAX];
    unsigned            n_to, at_to;

    struct rpc_rx rx;
    struct rpc_tx tx;
    struct rpc_secure *sec; /* TLS, in SECURE and UP; NULL: plain */

    struct cfs_list calls[RPC_BUCKETS];
    uint32_t        xid;
    struct rpc_call ping;
    bool            pinging;
    struct cfs_list msgs; /* struct rpc_in, not answered */
    unsigned        n_msgs;
    struct cfs_list spare; /* struct rpc_in */
};

/* -- addr.c --------------------------------------------------------------- */

/* The address if it can be had without asking anybody: Unix, numeric.
 * 1: *ret is it; 0: a name; -EINVAL. */
int  rpc_addr_literal(const struct rpc_addr *a, struct rpc_sockaddr *ret);
bool rpc_addr_is_unix(const struct rpc_addr *a);

/* Look @a up in the pool; done() comes once, unless it is cancelled. */
struct rpc_resolve *rpc_resolve_start(
    struct cfs_loop *loop, const struct rpc_addr *a, struct rpc_conn *c,
    void (*done)(struct rpc_conn *c, int rc, const struct rpc_sockaddr *to,
                 unsigned n));
void rpc_resolve_cancel(struct rpc_resolve *r); /* NULL is fine */

/* "1.2.3.4:5", for people. */
/* Of a TCP address. */
uint16_t rpc_sockaddr_port(const struct rpc_sockaddr *s);
void     rpc_sockaddr_set_port(struct rpc_sockaddr *s, uint16_t port);
/* @port of any of our addresses. */
void     rpc_sockaddr_any(sa_family_t family, uint16_t port,
                          struct rpc_sockaddr *ret);
void rpc_sockaddr_print(const struct rpc_sockaddr *s, char *ret, size_t size);
/* Without the port; an IPv4 address as such, also one that came over IPv6. */
void rpc_sockaddr_host(const struct rpc_sockaddr *s, char *ret, size_t size);

/* -- conn.c --------------------------------------------------------------- */

/* The handshake of @c was refused, for c->why: one line in the log, if there
 * were not too many of them. */
void rpc_listener_refused(struct rpc_listener *l, const struct rpc_conn *c);

/* An accepted socket becomes a connection of @l. NULL: no memory, closed. */
struct rpc_conn *rpc_conn_accept(struct rpc_listener *l, int fd);

/* The connection ends, for @code (negative) and the reason in words. */
void rpc_conn_fail(struct rpc_conn *c, int code, const char *fmt, ...)
    CFS_PRINTF(3, 4);

void rpc_conn_enter(struct rpc_conn *c);
void rpc_conn_leave(struct rpc_conn *c);
/* Wait for what the present state of rx and tx needs. */
void rpc_conn_poll(struct rpc_conn *c);

/* -- conn_rx.c ------------------------------------------------------------ */

void rpc_rx_readable(struct rpc_conn *c);
void rpc_rx_drop(struct rpc_conn *c);
void rpc_rx_parse(struct rpc_conn *c);

/* -- conn_tx.c ------------------------------------------------------------ */

/* @h: lengths are filled in. @body is copied, @payload referenced. */
void rpc_tx_frame(struct rpc_conn *c, struct rpc_hdr *h, struct cfs_blob body,
                  struct cfs_buf payload);
void rpc_tx_flush(struct rpc_conn *c);
void rpc_tx_drop(struct rpc_conn *c);

/* -- call.c --------------------------------------------------------------- */

/* A whole frame; @body is in rx.chunk, @payload's reference is handed over.
 * -EBADMSG with the reason: it cannot be from a sane peer. */
int rpc_frame_in(struct rpc_conn *c, const struct rpc_hdr *h,
                 struct cfs_blob body, struct cfs_buf payload,
                 const char **ret_why);
/* The connection ended: answer every call, let go of every message. */
void rpc_calls_drop(struct rpc_conn *c);
void rpc_ping(struct rpc_conn *c);
/* Whether so much is unanswered that nothing more should be read. */
bool rpc_pressed(const struct rpc_conn *c);
/* Go on reading, if it was stopped and half of the pressure is gone. */
void rpc_relieve(struct rpc_conn *c);

/* -- listen.c ------------------------------------------------------------- */

struct rpc_listener {
    struct cfs_loop          *loop;
    struct cfs_log           *log;
    char                      who[64];
    struct rpc_opts           opts;
    const struct rpc_program *programs;
    unsigned                  n_programs;
    struct rpc_events         events;
    rpc_guard                *may; /* NULL: everything */
    void                     *ctx;
    struct rpc_addr           addr;
    uint16_t                  port;
    int                       fd;
    uv_poll_t                *poll;
    struct cfs_timer          pause; /* no descriptors left: try again */
    struct cfs_list           conns;
    unsigned                  n_raw; /* of them in SECURE */
    struct cfs_timer          quiet; /* refusals are logged again */
    unsigned                  refused;
    dev_t                     dev; /* of the Unix socket's name */
    ino_t                     ino;
};

#endif
