/* SPDX-License-Identifier: Apache-2.0 */
/* peer.h - the other nodes' mgmtds: lines to them, and program PEER.
 *
 * Each pair of members has one line: the node with the lower number connects.
 * It is up after GREET, in which both say cluster, lineage, node, software and
 * protocol version; whoever is of another cluster, detached, or behind in
 * lineage is refused (the one that meets a higher lineage stops its engine and
 * says that it must rejoin).
 *
 * Bodies are JSON objects (mgmt.def: peer_json): fields that are not known are
 * ignored; numbers above 2^53 travel as strings. A procedure's handler says
 * in peer_procs[] (peer_prog.c); who may call it, in access.c. Each handler
 * stands beside the mechanism that it serves and is listed there.
 *
 * Liveness   rpc's pings: a peer that was not heard for 2 s is "silent"
 *            (peer_heard()); its line is closed after 6 s.
 */
#ifndef CFS_MGMTD_PEER_H
#define CFS_MGMTD_PEER_H

#include "mgmtd/mgmtd.h"

/* A member of the cluster, from its record node/NAME; this node is one too. */
struct peer {
    struct cfs_list  link; /* m->peers, in order of number */
    struct mgmtd    *m;
    struct cfs_uuid  id;
    char            *name;
    uint32_t         number;
    char            *host; /* address that others reach it at */
    uint16_t         port;
    bool             self;
    bool             gone; /* its record was deleted: in m->peers_gone */
    json_t          *rec;
    struct cfs_task  leave; /* it was this node */

    struct rpc_conn *conn; /* NULL: no line */
    bool             ours; /* we connect: @conn is ours to close */
    struct rpc_call  greet;
    bool             greeting; /* that call is under way */
    bool             up;       /* greeted */
    uint64_t         away;     /* not up: since that cfs_ran(), ns */
    uint64_t         revision; /* of its copy, as it said last */
    char             version[32];
    struct cfs_uuid  instance; /* of its mgmtd: a new one at each start */
    char             problem[CFS_ERR_TEXT]; /* why it is not up */
};

int  peers_load(struct mgmtd *m, struct cfs_err *err); /* and watch node/ */
void peers_close(struct mgmtd *m); /* lines, watch */
void peers_free(struct mgmtd *m);  /* when nobody has one any more */
struct peer *peer_find(struct mgmtd *m, const char *name);
/* Whose line that is; NULL: nobody's who has greeted. */
struct peer *peer_of(struct mgmtd *m, const struct rpc_msg *msg);
struct peer *peer_self(struct mgmtd *m); /* NULL: not a member of anything */
unsigned     peers_count(const struct mgmtd *m); /* self included */
/* Boot time ns at which it was last heard; now for self. */
uint64_t     peer_heard(const struct peer *p);
/* For how long, in ns, it has not been heard while we listened; when it is not
 * up, since its line was lost. */
uint64_t     peer_silence(const struct peer *p);

/* -- calls --------------------------------------------------------------- */

/* @result is borrowed, NULL unless status is 0; @text why not. Never from
 * inside. -ENOTCONN: no line. */
typedef void peer_done(void *arg, int status, json_t *result,
                       const char *text);
/* @args is taken over. To self: the handler is run here. */
void peer_call(struct peer *p, uint32_t proc, json_t *args,
               uint32_t timeout_ms, peer_done *done, void *arg);
/* To every other member that is up; no answer matters. @args is borrowed. */
void peers_tell(struct mgmtd *m, uint32_t proc, json_t *args);

/* A call that came in; exactly one of the answers, which frees it. */
struct peer_req {
    struct mgmtd    *m;
    struct peer     *from; /* NULL: a stranger, or one that has not greeted */
    struct rpc_msg  *msg;  /* NULL: we asked ourselves */
    struct peer_out *out;  /* then this waits for the answer */
    json_t          *args;
};
void peer_reply(struct peer_req *req, json_t *result); /* taken over */
void peer_fail(struct peer_req *req, const struct cfs_err *err);

typedef void peer_handler(struct peer_req *req);

/* Handlers, by the file that has them. */
peer_handler peer_on_greet, peer_on_join, peer_on_invite, peer_on_leave,
    peer_on_sign, peer_on_ca_keys;                     /* peer_*.c */
peer_handler engine_on_status, engine_on_prepare;      /* engine*.c */
peer_handler node_on_prepare, node_on_undo;            /* node_prepare.c */
peer_handler node_on_bricks, node_on_brick_call;       /* node_brick.c */
peer_handler silence_on_ask, silence_on_report;        /* silence.c */

/* -- events -------------------------------------------------------------- */

/* Called when a line comes up or goes down, or a member comes or goes: for
 * whoever has to do with nodes. They stand in listeners[] in peer.c. */
typedef void peer_listener(struct peer *p);
peer_listener node_peer_changed;   /* bricks: node_brick.c */
peer_listener engine_peer_changed; /* engine.c */

/* -- between the files of it --------------------------------------------- */

/* The program as it is offered. */
void peer_program(struct mgmtd *m, struct rpc_program *ret);
/* On a line that is no member's (yet); as peer_call(). */
void peer_call_on(struct rpc_conn *c, uint32_t proc, json_t *args,
                  uint32_t timeout_ms, peer_done *done, void *arg);

/* Whose record in node/ is @rec; @key names it. */
struct rec_node {
    struct cfs_uuid id;
    uint64_t        number;
    const char     *host;
    uint64_t        port;
    const char     *serial;
};
int rec_node_read(const json_t *rec, const char *key, struct rec_node *ret,
                  struct cfs_err *err);

void peers_changed(struct peer *p);
/* peer_join.c: this node forgets its cluster, and starts anew. */
int node_leave(struct mgmtd *m, struct cfs_err *err);
/* Into @t: it was a member. */
void peer_put_detached(struct store_txn *t, const struct peer *p,
                       int64_t now);
/* Of its certificates; the caller's. */
json_t *peer_serials(const struct peer *p);
/* The line of @p ends, for @why. */
void peer_drop_line(struct peer *p, const char *why);
/* An accepted line went down. */
void peer_line_lost(struct mgmtd *m, struct rpc_conn *c, const char *why);
/* "HOST:PORT", with brackets where they are needed. malloc'ed. */
char *peer_address(const char *host, uint16_t port);

#endif
