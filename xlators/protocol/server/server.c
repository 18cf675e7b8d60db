/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - protocol/server: a brick's graph, offered to clients; see
 * README.md. Here: listening, connections, the end.
 */
#include "rpc/tls.h"
#include "xlators/protocol/server/server.h"

#include <stdio.h>
#include <stdlib.h>

#define PORT_LOW  49152u
#define PORT_HIGH 60999u

/* Over TCP anybody may connect. Of those that have not greeted (strangers, and
 * mgmtds that look whether the brick answers) there are so many, and they are
 * given no room. */
#define STRANGERS      64u
#define STRANGER_CALLS 4u
#define STRANGER_BODY  (8u * 1024u)

/* -- connections ---------------------------------------------------------- */

static void conn_free(struct srv_conn *sc)
{
    free(sc->client);
    rpc_conn_set_user(sc->c, NULL);
    cfs_list_del(&sc->link);
    free(sc);
}

static bool is_stranger(const struct srv_conn *sc)
{
    return !sc->greeted && !rpc_conn_is_local(sc->c);
}

static unsigned strangers_of(const struct srv *srv, const char *host)
{
    unsigned n = 0;

    cfs_list_for_each(it, &srv->conns) {
        const struct srv_conn *sc = cfs_list_entry(it, struct srv_conn, link);

        n += is_stranger(sc) && (!host || strcmp(sc->host, host) == 0);
    }
    return n;
}

/* Of too many strangers one goes: the oldest of the address that has most, so
 * that one machine does not drive out the others. */
static void make_room(struct srv *srv)
{
    struct srv_conn *out = NULL;
    struct rpc_conn *c;
    unsigned most = 0;

    if (strangers_of(srv, NULL) <= STRANGERS)
        return;
    cfs_list_for_each(it, &srv->conns) {
        struct srv_conn *sc = cfs_list_entry(it, struct srv_conn, link);
        unsigned n = is_stranger(sc) ? strangers_of(srv, sc->host) : 0;

        if (n > most) {
            most = n;
            out = sc;
        }
    }
    c = out->c;
    cfs_log_info(srv->xl->log, srv->xl->name, "%s: closed: %u connections "
                 "that name no brick", rpc_conn_name(c), STRANGERS + 1);
    conn_free(out);
    rpc_conn_close(c);
}

static void on_up(struct rpc_conn *c, void *ctx)
{
    struct srv *srv = ctx;
    struct srv_conn *sc = calloc(1, sizeof *sc);

    if (sc == NULL) {
        rpc_conn_close(c);
        return;
    }
    sc->srv = srv;
    sc->c = c;
    cfs_list_add_tail(&srv->conns, &sc->link);
    rpc_conn_set_user(c, sc);
    cfs_log_debug(srv->xl->log, srv->xl->name, "%s: connected",
                  rpc_conn_name(c));
    if (rpc_conn_is_local(c))
        return;
    rpc_conn_peer_host(c, sc->host, sizeof sc->host);
    rpc_conn_limit(c, STRANGER_CALLS, STRANGER_BODY);
    make_room(srv);
}

/* The session lives on: its client comes back, or somebody declares it dead. */
static void on_down(struct rpc_conn *c, const struct cfs_err *why, void *ctx)
{
    struct srv *srv = ctx;
    struct srv_conn *sc = rpc_conn_user(c);

    if (sc->session != 0)
        cfs_log_info(srv->xl->log, srv->xl->name,
                     "%s: connection lost session=%u: %s", rpc_conn_name(c),
                     sc->session, why->text);
    conn_free(sc);
}

void srv_attached(struct srv_conn *sc, uint32_t session)
{
    struct srv *srv = sc->srv;

    cfs_list_for_each_safe(it, &srv->conns) {
        struct srv_conn *old = cfs_list_entry(it, struct srv_conn, link);
        struct rpc_conn *c = old->c;

        if (old == sc || old->session != session)
            continue;
        cfs_log_info(srv->xl->log, srv->xl->name,
                     "%s: session=%u has come back on %s: closed",
                     rpc_conn_name(c), session, rpc_conn_name(sc->c));
        conn_free(old);
        rpc_conn_close(c);
    }
    sc->session = session;
    cfs_log_info(srv->xl->log, srv->xl->name, "%s: attached session=%u",
                 rpc_conn_name(sc->c), session);
}

static void set_programs(struct srv *srv)
{
    enum cfs_fop fop;

    for (uint32_t i = 0; i < RPC_FOP_PROC_N; i++)
        if (rpc_fop_of_proc(i, &fop) == 0)
            srv->fop_procs[i] =
                (struct rpc_proc){cfs_fop_name(fop), srv_on_fop};
    srv->programs[0] = rpc_to_fop;
    srv->programs[0].version_min = RPC_FOP_VERSION_MIN;
    srv->programs[0].procs = srv->fop_procs;
    srv->programs[0].n_procs = RPC_FOP_PROC_N;
    srv->programs[0].ctx = srv;
    srv->programs[1] = rpc_to_session;
    srv->programs[1].procs = srv_session_procs;
    srv->programs[1].n_procs = srv_session_n_procs;
    srv->programs[1].ctx = srv;
}

/* -- listening ------------------------------------------------------------ */

static int listen_at(struct srv *srv, const char *text,
                     struct rpc_listener **ret, struct cfs_err *err)
{
    static const struct rpc_events events = {on_up, on_down};
    struct rpc_opts opts = rpc_opts_default;
    struct rpc_addr addr;
    int rc;

    opts.max_calls = srv->max_calls;
    opts.idle_ms = (uint32_t)srv->idle_ms;
    rc = rpc_addr_parse(text, &addr, err);
    if (rc == 0)
        rc = rpc_listen(srv->xl->loop, srv->xl->log, srv->xl->name, &addr,
                        PORT_LOW, PORT_HIGH, &opts, srv->programs,
                        SRV_PROGRAMS, &events, srv, ret, err);
    if (rc < 0)
        return cfs_err_wrap(err, "%s", srv->xl->name);
    return 0;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

static int listen_tcp(struct srv *srv, struct rpc_listener **ret,
                      struct cfs_err *err)
{
    const char *host = srv->address;
    const bool v6 = strchr(host, ':') != NULL;
    char text[512];

    if (!srv_has_secret(srv) && !is_loopback(host))
        return cfs_err_set(err, -EACCES, "%s: it listens on %s only with a "
                           "secret that clients must prove to know "
                           "(volume-secret)", srv->xl->name, host);
    snprintf(text, sizeof text, "%s%s%s:%u", v6 ? "[" : "", host,
             v6 ? "]" : "", srv->port);
    return listen_at(srv, text, ret, err);
}

static int listen_all(struct srv *srv, struct cfs_err *err)
{
    const char *host = srv->address;
    char text[512];
    int rc;

    if (srv->path != NULL && *srv->path != '\0') {
        snprintf(text, sizeof text, "unix:%s", srv->path);
        rc = listen_at(srv, text, &srv->on_path, err);
        if (rc < 0)
            return rc;
    }
    if (host != NULL && *host != '\0') {
        rc = listen_tcp(srv, &srv->on_tcp, err);
        if (rc < 0)
            return rc;
    }
    snprintf(srv->at, sizeof srv->at, "%s", host != NULL ? host : "");
    if (srv->on_path == NULL && srv->on_tcp == NULL)
        return cfs_err_set(err, -EINVAL,
                           "%s: neither listen-path nor listen-address",
                           srv->xl->name);
    return 0;
}

static void close_all(struct srv *srv)
{
    while (!cfs_list_empty(&srv->conns))
        conn_free(cfs_list_entry(srv->conns.next, struct srv_conn, link));
    rpc_listener_close(srv->on_path);
    rpc_listener_close(srv->on_tcp);
    srv->on_path = srv->on_tcp = NULL;
}

/* -- events --------------------------------------------------------------- */

static void open_up(struct srv *srv)
{
    struct cfs_event ev = {.type = CFS_EV_LISTENING};

    srv->open = true;
    if (srv->on_path != NULL)
        ev.path = srv->path;
    if (srv->on_tcp != NULL)
        ev.port = rpc_listener_port(srv->on_tcp);
    cfs_log_info(srv->xl->log, srv->xl->name, "listening on %s port=%u",
                 ev.path != NULL ? ev.path : "TCP only", ev.port);
    cfs_notify_up(srv->xl, ev);
}

/* Options changed: another address, other clients. */
static int relisten(struct srv *srv, struct cfs_err *err)
{
    const char *host = srv->address != NULL ? srv->address : "";
    struct rpc_listener *fresh = NULL;
    int rc;

    if (strcmp(host, srv->at) == 0)
        return 0;
    if (*host == '\0' && srv->on_path == NULL)
        return cfs_err_set(err, -EINVAL, "%s: it would listen nowhere",
                           srv->xl->name);
    if (*host != '\0') {
        rc = listen_tcp(srv, &fresh, err);
        if (rc < 0)
            return rc;
    }
    cfs_list_for_each_safe(it, &srv->conns) {
        struct srv_conn *sc = cfs_list_entry(it, struct srv_conn, link);

        if (!rpc_conn_is_local(sc->c))
            conn_free(sc);
    }
    rpc_listener_close(srv->on_tcp);
    srv->on_tcp = fresh;
    snprintf(srv->at, sizeof srv->at, "%s", host);
    if (srv->open)
        open_up(srv);
    return 0;
}

/* Who was let in by what does not count any more goes. */
static void recheck(struct srv *srv)
{
    cfs_list_for_each_safe(it, &srv->conns) {
        struct srv_conn *sc = cfs_list_entry(it, struct srv_conn, link);
        struct rpc_conn *c = sc->c;
        const char *why = NULL;

        if (sc->client == NULL)
            continue;
        if (rpc_client_is_removed(srv->removed, sc->client, sc->generation))
            why = "was removed";
        else if (srv_secret(srv, sc->number) == NULL)
            why = "has to prove itself with a newer secret";
        if (why == NULL)
            continue;
        cfs_log_warning(srv->xl->log, srv->xl->name, "%s: client %s %s: "
                        "closed session=%u", rpc_conn_name(c), sc->client, why,
                        sc->session);
        conn_free(sc);
        rpc_conn_close(c);
    }
}

/* What is below stops when nothing of ours is in flight there any more. */
static void stopped(struct srv *srv)
{
    cfs_notify_down(srv->xl, (struct cfs_event){.type = CFS_EV_PARENT_DOWN});
    cfs_graph_release(srv->xl->graph);
}

void srv_op_ended(struct srv *srv)
{
    assert(srv->in_flight > 0);
    if (--srv->in_flight == 0 && srv->stopping)
        stopped(srv);
}

static void stop(struct srv *srv)
{
    if (srv->stopping)
        return;
    srv->stopping = true;
    srv->open = false;
    close_all(srv);
    cfs_graph_hold(srv->xl->graph);
    if (srv->in_flight == 0)
        stopped(srv);
}

#define PING_AFTER (250 * CFS_MS)

static void list_clients(struct srv *srv, struct cfs_clients *ret)
{
    const uint64_t now = cfs_now_fresh(srv->xl->loop);

    ret->n = 0;
    cfs_list_for_each(it, &srv->conns) {
        const struct srv_conn *sc = cfs_list_entry(it, struct srv_conn, link);
        const uint64_t silence = rpc_conn_silence(sc->c, now);

        if (sc->session == 0 || ret->n == CFS_CLIENTS_MAX)
            continue;
        if (ret->ping && silence > PING_AFTER)
            rpc_conn_ping(sc->c);
        ret->c[ret->n].session = sc->session;
        ret->c[ret->n++].idle_ns = silence;
    }
}

static void srv_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    struct srv *srv = xl->priv;

    switch (ev->type) {
    case CFS_EV_PARENT_UP:
        cfs_notify_pass(xl, ev);
        open_up(srv);
        break;
    case CFS_EV_PARENT_DOWN:
        stop(srv);
        break;
    case CFS_EV_CLIENTS:
        list_clients(srv, ev->clients);
        break;
    default:
        cfs_notify_pass(xl, ev);
        break;
    }
}

/* -- the translator ------------------------------------------------------- */

static int srv_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct srv *srv = xl->priv;
    int rc;

    srv->xl = xl;
    cfs_list_init(&srv->conns);
    set_programs(srv);
    rc = srv_check_options(srv, err);
    return rc < 0 ? rc : listen_all(srv, err);
}

static int srv_reconfigure(struct cfs_xl *xl, struct cfs_err *err)
{
    struct srv *srv = xl->priv;
    struct cfs_err none = {0};
    int rc;

    if (err == NULL)
        err = &none;
    rc = srv_check_options(srv, err);
    if (rc == 0)
        rc = relisten(srv, err);
    if (rc == 0)
        recheck(srv);
    return rc;
}

static void srv_fini(struct cfs_xl *xl)
{
    close_all(xl->priv);
}

static void srv_dump(struct cfs_xl *xl, struct cfs_dump *d)
{
    const struct srv *srv = xl->priv;

    if (srv->on_tcp != NULL)
        cfs_dump_put(d, "port", "%u", rpc_listener_port(srv->on_tcp));
    if (srv->on_path != NULL)
        cfs_dump_put(d, "path", "%s", srv->path);
    cfs_dump_put(d, "in-flight", "%u", srv->in_flight);
    cfs_dump_put(d, "served", "%llu", (unsigned long long)srv->served);
    cfs_dump_put(d, "refused", "%llu", (unsigned long long)srv->refused);
    cfs_list_for_each(it, &srv->conns) {
        const struct srv_conn *sc = cfs_list_entry(it, struct srv_conn, link);

        cfs_dump_put(d, "connection", "%s session=%u client=%s",
                     rpc_conn_name(sc->c), sc->session,
                     sc->client != NULL ? sc->client : "");
    }
}

static const struct cfs_opt srv_opts[] = {
    {.name = "listen-path", .type = CFS_OPT_STR,
     .at = offsetof(struct srv, path), .help = "a Unix socket to listen on"},
    {.name = "listen-address", .type = CFS_OPT_STR,
     .at = offsetof(struct srv, address), .def = "127.0.0.1",
     .flags = CFS_OPT_RECONF,
     .help = "a numeric address to listen on; empty: no TCP"},
    {.name = "listen-port", .type = CFS_OPT_U32,
     .at = offsetof(struct srv, port), .def = "0", .max = UINT16_MAX,
     .help = "0: any free one from 49152 to 60999"},
    {.name = "brick-id", .type = CFS_OPT_UUID,
     .at = offsetof(struct srv, brick), .flags = CFS_OPT_REQUIRED,
     .help = "the brick that is served"},
    {.name = "volume-id", .type = CFS_OPT_UUID,
     .at = offsetof(struct srv, volume), .help = "the volume, in proofs"},
    {.name = "node", .type = CFS_OPT_STR,
     .at = offsetof(struct srv, node), .flags = CFS_OPT_RECONF,
     .help = "this node's name: who root on the Unix socket is"},
    {.name = "volume-secret", .type = CFS_OPT_STR,
     .at = offsetof(struct srv, secret), .flags = CFS_OPT_RECONF,
     .help = "from which clients' secrets follow: 64 hex digits; without it "
             "nobody is served over TCP but root on this machine"},
    {.name = "secret-number", .type = CFS_OPT_U64,
     .at = offsetof(struct srv, number), .def = "1",
     .flags = CFS_OPT_RECONF, .help = "of volume-secret"},
    {.name = "volume-secret-before", .type = CFS_OPT_STR,
     .at = offsetof(struct srv, before), .flags = CFS_OPT_RECONF,
     .help = "the one with the number before, which clients may still have"},
    {.name = "removed-clients", .type = CFS_OPT_STR,
     .at = offsetof(struct srv, removed), .flags = CFS_OPT_RECONF,
     .help = "who is refused: NAME=GENERATION,..."},
    {.name = "max-calls", .type = CFS_OPT_U32,
     .at = offsetof(struct srv, max_calls), .def = "256", .min = 1,
     .max = 65536,
     .help = "in flight on one connection; then it is not read"},
    {.name = "idle-timeout", .type = CFS_OPT_MS,
     .at = offsetof(struct srv, idle_ms), .def = "30s", .max = 3600000,
     .help = "silence after which a connection is given up; 0: never"},
    {.name = NULL},
};

__attribute__((visibility("default"))) const struct cfs_xl_type cfs_xl_type = {
    .name = "protocol/server",
    .children_min = 1,
    .children_max = 1,
    .priv_size = sizeof(struct srv),
    .opts = srv_opts,
    .init = srv_init,
    .fini = srv_fini,
    .reconfigure = srv_reconfigure,
    .notify = srv_notify,
    .dump = srv_dump,
};
