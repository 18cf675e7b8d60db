/* SPDX-License-Identifier: Apache-2.0 */
/* mgmt.h - a daemon's line to mgmtd: fetch a volfile, sign in, learn views and
 * changes. Used by brickd, the client, and shd.
 *
 * Life     connects to the first of its servers, moves to the next when one
 *          dies, for ever; at each connection it signs in again and fetches
 *          its volfile again (unchanged: only the view is passed on). Those
 *          that a volfile names are servers, too. When the first is this
 *          machine's (a Unix socket), it goes back there once that lives.
 * Program  HANDSHAKE, PORTMAP, VIEW towards mgmtd; mgmtd calls BRICK (on a
 *          brick's line) and pushes VOLFILE_CHANGED, VIEW back.
 */
#ifndef CFS_RPC_MGMT_H
#define CFS_RPC_MGMT_H

#include "core/fop.h"
#include "rpc/conn.h"

struct mgmt;

/* In a client's volfile, at the start of a line: HOST:PORT of a mgmtd of its
 * cluster follows. */
#define MGMT_SERVER_LINE "# mgmtd "

/* What a brick says of itself at sign-in. */
struct mgmt_brick_hello {
    struct cfs_uuid  brick;
    uint32_t         pid;
    uint16_t         port;      /* TCP, 0: none */
    char             path[256]; /* Unix socket */
    struct cfs_brick info;
};

/* What a client says of itself, again whenever its session changes. */
struct mgmt_client_hello {
    char               volume[256];
    struct cfs_session session; /* no 0: none yet */
};

struct mgmt_events {
    /* The volfile, the first time and whenever it changed; and the view of
     * the volume's set (epoch 0: none yet). */
    void (*volfile)(struct mgmt *m, const char *text, size_t len,
                    const struct cfs_view *view, void *ctx);
    void (*view)(struct mgmt *m, const struct cfs_view *view, void *ctx);
    /* mgmtd is in doubt about a brick: report for a while. May be NULL. */
    void (*probe)(struct mgmt *m, void *ctx);
    /* mgmtd refuses: unknown or stopped volume, ... (final), or no server
     * answered in time. */
    void (*refused)(struct mgmt *m, const struct cfs_err *why, void *ctx);
    /* mgmtd calls program BRICK on this line. The handler replies. */
    rpc_handler *brick_call; /* NULL: refused */
    /* Of who shows credentials that are to be kept new (rpc/creds.h): the
     * number of the list that it has; and what it should have. NULL: not
     * asked for. */
    uint64_t (*trust_known)(void *ctx);
    void (*trust)(struct mgmt *m, const char *crl, const char *cert,
                  void *ctx);
};

/* @servers: addresses, tried in order. @tls: what we show to those over TCP;
 * may be NULL where there are only Unix sockets. @key: "volume:NAME" or
 * "brick:UUID". */
int mgmt_open(struct cfs_loop *loop, struct cfs_log *log,
              const struct rpc_addr *servers, unsigned n, struct rpc_tls *tls,
              const char *key,
              const struct mgmt_events *events, void *ctx, struct mgmt **ret,
              struct cfs_err *err);
void mgmt_close(struct mgmt *m);
/* With a mgmtd of this machine that is not there, before others are asked:
 * 3000. */
void mgmt_set_patience(struct mgmt *m, uint32_t ms);

/* Say it now, and again at each new connection. Copied. */
void mgmt_sign_in_brick(struct mgmt *m, const struct mgmt_brick_hello *hello);
void mgmt_sign_in_client(struct mgmt *m, const struct mgmt_client_hello *hello);
void mgmt_want_view(struct mgmt *m); /* events->view will come */
/* Ask what credentials should be by now, as at each connection and with each
 * new volfile: events->trust may come. */
void mgmt_want_trust(struct mgmt *m);
/* How long a brick has not answered this client (core/xlator.h). Told while
 * there is a line; nothing is kept. */
struct cfs_silence;
void mgmt_report(struct mgmt *m, const struct cfs_silence *s);
/* In view @epoch, @brick could not do what others did: the next view should
 * be without it. */
void mgmt_differs(struct mgmt *m, uint64_t epoch, struct cfs_uuid brick);

#endif
