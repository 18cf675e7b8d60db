/* SPDX-License-Identifier: Apache-2.0 */
/* line.c - where the brick is, and the connection to it.
 *
 * The address is a Unix socket, a host and port, or a host whose management
 * daemon knows the port; the latter is asked again after each loss of the
 * connection, because a brick that starts anew has another port. It is asked as
 * a stranger, and whoever answers is believed: who the brick is, it proves
 * itself (greet.c).
 */
#include <stdio.h>
#include <stdlib.h>

#include "rpc/tls.h"
#include "xlators/protocol/client/client.h"

#define PORT_ASK_MS 5000u
#define PORT_AGAIN  (1 * CFS_SEC)

static void ask_port(struct cl *cl);

/* -- the connection ------------------------------------------------------- */

static void on_up(struct rpc_conn *c, void *ctx)
{
    cl_greet(ctx);
}

static void on_down(struct rpc_conn *c, const struct cfs_err *why, void *ctx)
{
    struct cl *cl = ctx;
    struct cfs_err err = {0};

    cfs_err_set(&err, why->code, "%s: %s", cl->addr.text, why->text);
    cfs_log_debug(cl->xl->log, cl->xl->name, "down: %s", err.text);
    cl_down(cl, &err);
    if (cl->port == 0 && !rpc_conn_is_local(c))
        ask_port(cl);
}

/* -- the brick's port ----------------------------------------------------- */

static void connect_brick(struct cl *cl, const struct rpc_addr *addr)
{
    static const struct rpc_events events = {on_up, on_down};
    struct rpc_opts opts = rpc_opts_default;
    struct cfs_err err = {0};

    opts.idle_ms = (uint32_t)cl->idle_ms;
    opts.keepalive_ms = (uint32_t)cl->keepalive_ms;
    opts.reconnect_ms = (uint32_t)cl->reconnect_ms;
    opts.connect_ms = (uint32_t)cl->connect_ms;
    opts.lz4 = cl->compression == CL_COMPRESSION_LZ4;
    if (cl->conn != NULL) {
        if (strcmp(cl->addr.text, addr->text) != 0)
            rpc_conn_redirect(cl->conn, addr);
    } else if (rpc_connect(cl->xl->loop, cl->xl->log, cl->xl->name, addr,
                           &opts, NULL, 0, &events, cl, &cl->conn, &err) < 0) {
        cl_down(cl, &err);
    }
    cl->addr = *addr;
}

static int tcp_addr(const char *host, uint32_t port, struct rpc_addr *ret,
                    struct cfs_err *err)
{
    const bool v6 = strchr(host, ':') != NULL;
    char text[sizeof ret->text];

    snprintf(text, sizeof text, "%s%s%s:%u", v6 ? "[" : "", host,
             v6 ? "]" : "", port);
    return rpc_addr_parse(text, ret, err);
}

/* It did not work: say why, once, and ask again later. */
static void port_failed(struct cl *cl, int code, const char *why)
{
    struct cfs_err err = {0};

    rpc_conn_close(cl->portmap);
    cl->portmap = NULL;
    cfs_err_set(&err, code, "%s: where is the brick? %s", cl->host, why);
    cl_down(cl, &err);
    cfs_timer_start(&cl->port_timer, PORT_AGAIN);
}

static void on_port(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct cl *cl = container_of(call, struct cl, port_call);
    struct mgmt_port_reply r = {0};
    struct rpc_addr addr;
    struct cfs_err err = {0};
    struct cfs_arena a;
    const char *text;

    if (cl->portmap == NULL)
        return;
    if (reply == NULL || status < 0) {
        text = reply != NULL ? rpc_reply_text(reply) : NULL;
        port_failed(cl, status, text != NULL ? text : cfs_err_str(status));
        return;
    }
    cfs_arena_init(&a);
    if (mgmt_unpack_port_reply(&a, reply->body, &r) < 0 || r.port == 0 ||
        r.port > UINT16_MAX) {
        port_failed(cl, -ENOENT, "it has no TCP port");
    } else if (tcp_addr(cl->host, r.port, &addr, &err) < 0) {
        port_failed(cl, err.code, err.text);
    } else {
        rpc_conn_close(cl->portmap);
        cl->portmap = NULL;
        connect_brick(cl, &addr);
    }
    cfs_arena_fini(&a);
}

static void on_portmap_up(struct rpc_conn *c, void *ctx)
{
    struct cl *cl = ctx;
    const struct mgmt_port_by_brick msg = {.brick = cl->brick};
    struct cfs_arena a;

    cfs_arena_init(&a);
    rpc_call(c, &cl->port_call, &rpc_to_portmap, RPC_PORTMAP_PORT_BY_BRICK,
             mgmt_pack_port_by_brick(&a, &msg), (struct cfs_buf){0},
             PORT_ASK_MS, on_port);
    cfs_arena_fini(&a);
}

static void on_portmap_down(struct rpc_conn *c, const struct cfs_err *why,
                            void *ctx)
{
    struct cl *cl = ctx;

    port_failed(cl, why->code, why->text);
}

static void ask_port(struct cl *cl)
{
    static const struct rpc_events events = {on_portmap_up, on_portmap_down};
    struct rpc_opts opts = rpc_opts_default;
    struct cfs_err err = {0};
    struct rpc_addr addr;

    if (cl->portmap != NULL || cfs_timer_active(&cl->port_timer))
        return;
    if (rpc_tls_new(&opts.tls, &err) == 0)
        rpc_tls_any_server(opts.tls);
    if (opts.tls == NULL ||
        tcp_addr(cl->host, cl->mgmt_port, &addr, &err) < 0 ||
        rpc_connect(cl->xl->loop, cl->xl->log, cl->xl->name, &addr, &opts,
                    NULL, 0, &events, cl, &cl->portmap, &err) < 0)
        port_failed(cl, err.code, err.text);
    rpc_tls_unref(opts.tls); /* the connection has its own */
}

static void on_port_timer(struct cfs_timer *t)
{
    cl_line_open(container_of(t, struct cl, port_timer));
}

/* -- open and close ------------------------------------------------------- */

void cl_line_init(struct cl *cl)
{
    cfs_timer_init(cl->xl->loop, &cl->port_timer, on_port_timer);
    cl_greet_init(cl);
    cfs_task_init(&cl->port_call.task, NULL);
}

void cl_line_open(struct cl *cl)
{
    struct cfs_err err = {0};
    struct rpc_addr addr;
    char text[sizeof addr.text];
    int rc;

    if (cl->conn != NULL || cl->portmap != NULL || cl->stopping)
        return;
    if (cl->path != NULL && *cl->path != '\0') {
        snprintf(text, sizeof text, "unix:%s", cl->path);
        rc = rpc_addr_parse(text, &addr, &err);
    } else if (cl->port != 0) {
        rc = tcp_addr(cl->host, cl->port, &addr, &err);
    } else {
        ask_port(cl);
        return;
    }
    if (rc < 0)
        cl_down(cl, &err);
    else
        connect_brick(cl, &addr);
}

/* A port that nobody knows just now is no news. */
void cl_line_moved(struct cl *cl)
{
    struct cfs_err err = {0};
    struct rpc_addr addr;

    if ((cl->path != NULL && *cl->path != '\0') || cl->port == 0 ||
        (cl->conn == NULL && cl->portmap == NULL &&
         !cfs_timer_active(&cl->port_timer)) || cl->stopping)
        return;
    if (tcp_addr(cl->host, cl->port, &addr, &err) < 0) {
        cfs_log_warning(cl->xl->log, cl->xl->name, "%s", err.text);
        return;
    }
    rpc_conn_close(cl->portmap);
    cl->portmap = NULL;
    cfs_timer_stop(&cl->port_timer);
    connect_brick(cl, &addr);
}

void cl_line_close(struct cl *cl)
{
    rpc_conn_close(cl->portmap);
    rpc_conn_close(cl->conn);
    cl->portmap = cl->conn = NULL;
    cfs_timer_stop(&cl->port_timer);
    /* Their ends are queued now, and nobody waits for them. */
    cl_greet_stop(cl);
    cfs_task_cancel(&cl->port_call.task);
}
