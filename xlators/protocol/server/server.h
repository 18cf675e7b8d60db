/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - the inside of protocol/server, shared by its files:
 *
 *     server.c    translator, listening, connections
 *     greet.c     the greeting, with the proof of who both are
 *     serve.c     a call becomes an operation, its end the reply
 *     admission.c which calls are let in
 */
#ifndef CFS_PROTOCOL_SERVER_H
#define CFS_PROTOCOL_SERVER_H

#include "core/graph.h"
#include "rpc/mgmt_codec.h"
#include "rpc/proof.h"
#include "rpc/programs.h"

#define SRV_PROGRAMS 2u

struct srv {
    /* options */
    char           *path;    /* NULL or "": no Unix socket */
    char           *address; /* NULL or "": no TCP */
    uint32_t        port;    /* 0: any free one */
    struct cfs_uuid brick;
    struct cfs_uuid volume;
    char           *node;    /* whose root is at the Unix socket */
    char           *secret;  /* in hex; NULL or "": none */
    uint64_t        number;  /* of it */
    char           *before;  /* the one with the number before; or none */
    char           *removed; /* clients; NULL: none */
    uint32_t        max_calls;
    uint64_t        idle_ms;

    struct cfs_xl       *xl;
    struct rpc_listener *on_path;
    struct rpc_listener *on_tcp;
    char                 at[256]; /* the address that on_tcp is on */
    struct cfs_list      conns; /* struct srv_conn */
    struct rpc_program   programs[SRV_PROGRAMS];
    struct rpc_proc      fop_procs[RPC_FOP_PROC_N];
    bool                 open;     /* PARENT_UP came: calls are served */
    bool                 stopping; /* PARENT_DOWN: no more of them */
    unsigned             in_flight;
    uint64_t             served;
    uint64_t             refused;
};

/* One client's connection. Its session is what session_attach made it; a
 * connection without one may do next to nothing. */
struct srv_conn {
    struct cfs_list  link;
    struct srv      *srv;
    struct rpc_conn *c;
    char             host[64]; /* its address; "" on the Unix socket */
    bool             greeted; /* it wants this brick */
    bool             challenged; /* a proof is waited for */
    bool             proved;     /* it is the client that it says */
    char            *client;     /* who it says it is; NULL: nobody yet */
    uint64_t         generation; /* of its secret */
    uint64_t         number;     /* of the volume's that it follows from */
    uint8_t          want[RPC_PROOF];
    uint32_t         session; /* 0: none is attached */
};

/* -- admission.c ---------------------------------------------------------- */

/* 0, or a status with the reason in words. */
int srv_admit(const struct srv_conn *sc, const struct cfs_req *req,
              const char **ret_why);

/* -- greet.c -------------------------------------------------------------- */

extern const struct rpc_proc srv_session_procs[];
extern const uint32_t        srv_session_n_procs;

bool srv_has_secret(const struct srv *srv);
/* The volume's secret of that number; NULL: not known (any more, or yet). */
const char *srv_secret(const struct srv *srv, uint64_t number);
int  srv_check_options(const struct srv *srv, struct cfs_err *err);

/* Who is behind @sc, which has greeted: "" when nobody has told us our node's
 * name. As mgmtd names it in the volfile of a client, so that one is the same
 * on the Unix socket and over TCP. */
void srv_owner(const struct srv_conn *sc, char ret[static CFS_OWNER_MAX]);

/* -- serve.c -------------------------------------------------------------- */

rpc_handler srv_on_fop;

/* -- server.c ------------------------------------------------------------- */

/* @sc has attached @session: an older connection of it is closed. */
void srv_attached(struct srv_conn *sc, uint32_t session);
void srv_op_ended(struct srv *srv);

#endif
