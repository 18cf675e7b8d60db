/* SPDX-License-Identifier: Apache-2.0 */
/* conn.h - connections that carry calls both ways, over TCP or a Unix socket.
 *
 * Either end may call the other; a program is a table of procedures. A call
 * is answered by the reply with its xid, or, when the connection ends first,
 * by -ENOTCONN. Calls on one connection are handled in order of arrival;
 * replies come in any order.
 *
 * Wire       rpc/frame.h. A bad frame closes the connection with one log line.
 * Batching   everything that is sent in a turn of the loop leaves in one
 *            writev at CFS_STAGE_SEND; a socket is read until it is empty.
 * Payload    received straight into a cfs_buf; sent from one, referenced until
 *            it is out.
 * Limits     body CFS_RPC_BODY_MAX, payload CFS_RPC_PAYLOAD_MAX, both checked
 *            before anything is allocated. A connection is not read
 *            while max_calls of its calls are unanswered, or its peer leaves
 *            send_high bytes of replies unread; it goes on at half of that.
 * Time       keepalive pings (program DUMP, procedure PING) after
 *            keepalive_ms of silence; idle_ms without a byte closes with
 *            -ETIMEDOUT. A reconnect is tried after reconnect_ms, doubling to
 *            16 times that, until a connection lasts a second or so.
 * TLS        see rpc/tls.h: a connection that has it is "up" when its
 *            handshake is done; an accepted one that does not get there is
 *            never heard of, but in the log.
 * Threads    the loop thread.
 */
#ifndef CFS_RPC_CONN_H
#define CFS_RPC_CONN_H

#include "core/buf.h"
#include "core/log.h"
#include "core/loop.h"
#include "rpc/frame.h"
#include "rpc/lossy_core.h"

struct rpc_conn;
struct rpc_msg;
struct rpc_tls;

/* Where to connect or listen: "unix:/path" or "HOST:PORT" / "[v6]:PORT". */
struct rpc_addr {
    char text[256];
};
int rpc_addr_parse(const char *s, struct rpc_addr *ret, struct cfs_err *err);

struct rpc_opts {
    uint32_t keepalive_ms; /* 2000 */
    uint32_t idle_ms;      /* 30000; 0: never */
    uint32_t reconnect_ms; /* 200 */
    uint32_t connect_ms;   /* 10000 */
    uint32_t send_high;    /* bytes of replies, 64 MiB */
    uint32_t max_calls;    /* of the peer, unanswered: 1024 */
    bool     lz4;          /* compress payloads when it pays */
    uint32_t body_max;     /* bytes in a call's body, CFS_RPC_BODY_MAX */
    uint32_t payload_max;  /* behind it, CFS_RPC_PAYLOAD_MAX */
    uint32_t max_raw;      /* of a TLS listener: in handshakes at a time; 64 */
    struct rpc_tls *tls;   /* rpc/tls.h; NULL: plain. A reference is taken */
};
extern const struct rpc_opts rpc_opts_default;

/* A call that came in. Owned by rpc until answered: exactly one of
 * rpc_reply(), rpc_reply_error() for each. body and payload are valid until
 * then (payload: rpc_msg.payload may be kept with cfs_buf_ref). */
struct rpc_msg {
    struct cfs_list  link; /* rpc's own */
    struct rpc_conn *conn; /* NULL once the connection ended: replies vanish */
    struct rpc_hdr   hdr;
    struct cfs_blob  body;
    struct cfs_buf   payload;
    void            *user;
};

typedef void rpc_handler(struct rpc_msg *msg, void *ctx);

struct rpc_proc {
    const char  *name;
    rpc_handler *handle; /* NULL: no such procedure */
};

struct rpc_program {
    uint32_t               number;
    uint32_t               version;     /* the highest; used in calls */
    uint32_t               version_min; /* 0: only @version */
    const char            *name;
    const struct rpc_proc *procs;
    uint32_t               n_procs;
    void                  *ctx; /* given to handlers */
};

/* What the owner of connections wants to hear. */
struct rpc_events {
    void (*up)(struct rpc_conn *c, void *ctx); /* connected or accepted */
    /* Ended: calls in flight have been answered -ENOTCONN. An accepted
     * connection is gone after this; an outgoing one tries again. Also after
     * each attempt to connect that failed. */
    void (*down)(struct rpc_conn *c, const struct cfs_err *why, void *ctx);
};

/* Whether the peer may call @procedure of @program, which is offered: asked
 * before each call is handled. One that it may not is answered -EACCES, with
 * *ret_why. */
typedef bool rpc_guard(struct rpc_conn *c, uint32_t program,
                       uint32_t procedure, const char **ret_why, void *ctx);

/* An outgoing call. The caller owns it until done(). */
struct rpc_call {
    struct cfs_list  link;
    struct cfs_task  task;
    struct rpc_conn *conn;
    uint32_t         xid;
    uint32_t         program, procedure;
    int              status;
    struct cfs_timer timer;
    bool             timed;
    /* @reply is NULL when status is not the peer's. Valid during done(). */
    void (*done)(struct rpc_call *call, int status, struct rpc_msg *reply);
};

/* Connect, and reconnect for ever, to @addr. @programs: what the peer may
 * call on it. Both arrays are borrowed. */
int rpc_connect(struct cfs_loop *loop, struct cfs_log *log, const char *who,
                const struct rpc_addr *addr, const struct rpc_opts *opts,
                const struct rpc_program *programs, unsigned n_programs,
                const struct rpc_events *events, void *ctx,
                struct rpc_conn **ret, struct cfs_err *err);

/* Go to another address; the present connection, if any, is closed. */
void rpc_conn_redirect(struct rpc_conn *c, const struct rpc_addr *addr);
void rpc_conn_reset(struct rpc_conn *c, const char *why); /* close; retry */
void rpc_conn_close(struct rpc_conn *c); /* for good; no more events */

/* The handshake is done, or there is none: what a peer may, from now on. A
 * @body_max below CFS_RPC_BODY_MAX is for who is not known: payloads are no
 * longer than it either, and of replies that it does not read no more than
 * @max_calls such are kept. */
void rpc_conn_limit(struct rpc_conn *c, uint32_t max_calls, uint32_t body_max);

/* As in rpc_opts, from now on. */
void rpc_conn_set_patience(struct rpc_conn *c, uint32_t keepalive_ms,
                           uint32_t idle_ms);

/* Whether payloads that this end sends may be compressed, from now on. */
void rpc_conn_set_lz4(struct rpc_conn *c, bool on);

bool  rpc_conn_is_up(const struct rpc_conn *c);
bool  rpc_conn_is_local(const struct rpc_conn *c); /* Unix socket */
/* Of a Unix peer. -ENOTSUP on TCP. */
int   rpc_conn_peer_cred(const struct rpc_conn *c, uint32_t *ret_pid,
                         uint32_t *ret_uid);
/* Whether the peer is root, or who we are, as far as its machine's kernel can
 * be believed: a Unix peer's uid; over TCP a port below 1024, which
 * rpc_connect() takes where it may. Anybody will do for us when we are not
 * root ourselves. */
bool  rpc_conn_is_privileged(const struct rpc_conn *c);
const char *rpc_conn_name(const struct rpc_conn *c); /* peer, for the log */
void *rpc_conn_user(const struct rpc_conn *c);
void  rpc_conn_set_user(struct rpc_conn *c, void *user);
/* When the peer was last heard, boot time ns. */
uint64_t rpc_conn_heard(const struct rpc_conn *c);
/* For how long at @now, in ns, the peer has been silent while we listened: 0
 * also after we stood still, as its words may wait in the socket. */
uint64_t rpc_conn_silence(const struct rpc_conn *c, uint64_t now);
/* What its network loses. */
void rpc_conn_loss(const struct rpc_conn *c, struct rpc_loss *ret);
/* Ask whether it is there, unless that is under way; its answer is heard. */
void rpc_conn_ping(struct rpc_conn *c);

/* @body is copied; @payload referenced. timeout_ms 0: none.
 * done() always comes, never from inside. */
void rpc_call(struct rpc_conn *c, struct rpc_call *call,
              const struct rpc_program *prog, uint32_t procedure,
              struct cfs_blob body, struct cfs_buf payload,
              uint32_t timeout_ms,
              void (*done)(struct rpc_call *, int, struct rpc_msg *));

void rpc_reply(struct rpc_msg *msg, struct cfs_blob body,
               struct cfs_buf payload);
/* As rpc_reply(), with a status (0 or negative) of the program's own and a
 * body that goes with it. */
void rpc_reply_status(struct rpc_msg *msg, int status, struct cfs_blob body,
                      struct cfs_buf payload);
/* status negative; @text may be NULL. */
void rpc_reply_error(struct rpc_msg *msg, int status, const char *text);
/* The text that came with an error reply, or NULL. */
const char *rpc_reply_text(const struct rpc_msg *reply);

struct rpc_listener;
/* Accept on @addr. TCP port 0: any free one in [lo, hi]. */
int rpc_listen(struct cfs_loop *loop, struct cfs_log *log, const char *who,
               const struct rpc_addr *addr, uint16_t lo, uint16_t hi,
               const struct rpc_opts *opts,
               const struct rpc_program *programs, unsigned n_programs,
               const struct rpc_events *events, void *ctx,
               struct rpc_listener **ret, struct cfs_err *err);
/* For the connections that it accepts from now on. */
void     rpc_listener_guard(struct rpc_listener *l, rpc_guard *may);
uint16_t rpc_listener_port(const struct rpc_listener *l); /* 0: Unix */
void     rpc_listener_close(struct rpc_listener *l); /* its connections too */

#endif
