/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - the inside of protocol/client, shared by its files:
 *
 *     client.c  translator, events
 *     line.c    where the brick is, the connection
 *     greet.c   the greeting, with the proof of who both are
 *     forward.c operations to calls, replies to unwinds
 *     silence.c whether the brick answers in time
 */
#ifndef CFS_PROTOCOL_CLIENT_H
#define CFS_PROTOCOL_CLIENT_H

#include "core/graph.h"
#include "rpc/mgmt_codec.h"
#include "rpc/proof.h"
#include "rpc/programs.h"

enum cl_state {
    CL_DOWN,     /* no connection, or not greeted */
    CL_READY,    /* the brick is the right one: CHILD_CONNECTING was sent */
    CL_ATTACHED, /* the brick has accepted the session: CHILD_UP */
};

struct cl {
    /* options */
    char           *host;
    uint32_t        port; /* 0: ask the portmap */
    char           *path; /* NULL or "": TCP */
    uint32_t        mgmt_port;
    struct cfs_uuid brick;
    struct cfs_uuid volume;
    char           *client;     /* our name; NULL or "": no proof is made */
    char           *secret;     /* in hex; as the name */
    uint64_t        generation; /* of the secret */
    uint64_t        number;     /* of the volume's secret that it is of */
    uint32_t        compression; /* enum cl_compression */
    uint64_t        idle_ms;
    uint64_t        keepalive_ms;
    uint64_t        reconnect_ms;
    uint64_t        connect_ms;

    struct cfs_xl     *xl;
    enum cl_state      state;
    struct rpc_conn   *conn;
    struct rpc_addr    addr;
    struct rpc_program fop; /* with the version that both ends know */
    bool               told_down;    /* CHILD_DOWN was the last word */
    bool               told_refused; /* AUTH_FAILED, for the same reason */

    /* the greeting: all of it has to be answered */
    struct rpc_call dump;
    struct rpc_call challenge;
    struct rpc_call prove;
    struct rpc_call hello;
    unsigned        greetings;
    uint8_t         nonce[RPC_NONCE];

    /* asking the portmap */
    struct rpc_conn *portmap;
    struct rpc_call  port_call;
    struct cfs_timer port_timer;

    uint64_t epoch;  /* the newest view's that this graph knows */
    uint64_t wanted; /* that CFS_EV_WANT_VIEW was sent for */

    /* silence.c */
    bool             member;      /* of the newest view */
    uint64_t         op_timeout_ms;
    struct cfs_timer silence;
    uint64_t         since;       /* something is outstanding since then */
    uint64_t         due;         /* of the timer: it may come late */
    uint64_t         paused;      /* how long we had in all, as .since knows */
    uint64_t         probe_until; /* somebody else is in doubt until then */
    bool             complained;  /* the last word was a long silence */
    struct lossy     lossy;

    unsigned        in_flight;
    bool            stopping; /* PARENT_DOWN; the graph is held till closed */
    struct cfs_task up_task;
    struct cfs_task stop_task;
    uint64_t        sent; /* operations, for the statedump */
    uint64_t        lost; /* of them, with the connection */
};

enum cl_compression { CL_COMPRESSION_OFF, CL_COMPRESSION_LZ4 };

/* -- line.c --------------------------------------------------------------- */

void cl_line_init(struct cl *cl);
void cl_line_open(struct cl *cl);
void cl_line_close(struct cl *cl);
/* The brick has another address now, as far as options say. */
void cl_line_moved(struct cl *cl);

/* -- greet.c -------------------------------------------------------------- */

void cl_greet_init(struct cl *cl);
void cl_greet(struct cl *cl); /* a connection has come up */
void cl_greet_stop(struct cl *cl);

/* -- silence.c ------------------------------------------------------------ */

void cl_silence_init(struct cl *cl);
void cl_silence_fini(struct cl *cl);
void cl_silence_begin(struct cl *cl); /* the first of what is outstanding */
void cl_silence_lost(struct cl *cl);  /* the connection */
void cl_silence_probe(struct cl *cl); /* the host asks */

/* -- forward.c ------------------------------------------------------------ */

extern const struct cfs_fops cl_fops;

/* -- client.c ------------------------------------------------------------- */

void cl_attached(struct cl *cl); /* session_attach was answered with 0 */
void cl_down(struct cl *cl, const struct cfs_err *why);
void cl_heard_epoch(struct cl *cl, uint64_t epoch);
void cl_heard_view(struct cl *cl, const struct cfs_view *view);
void cl_op_ended(struct cl *cl);

#endif
