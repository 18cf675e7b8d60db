/* SPDX-License-Identifier: Apache-2.0 */
/* protocol_rig.h - protocol/client and protocol/server: two graphs in one
 * process, a socket between them, and below the server a translator that keeps
 * each operation until the test answers it.
 */
#ifndef CFS_TESTS_UNIT_PROTOCOL_RIG_H
#define CFS_TESTS_UNIT_PROTOCOL_RIG_H

#include "tests/unit/cfs_test.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"
#include "tests/unit/fake_xl.h"
#include "tests/unit/fop_fill.h"

/* A program takes what it needs of this. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"

extern const struct cfs_xl_type cfs_xl_protocol_client;
extern const struct cfs_xl_type cfs_xl_protocol_server;

#define LIMIT   (10 * CFS_SEC)
#define SESSION 42u
#define BRICK   "11111111-2222-3333-4444-555555555555"
#define OTHER   "99999999-2222-3333-4444-555555555555"

/* One side's graph, and what its top has told. */
struct side {
    struct cfs_graph *graph;
    unsigned          connecting, up, down, auth, want_view, new_view;
    struct cfs_err    err;   /* of the last CHILD_DOWN */
    struct cfs_err    refused; /* of the last AUTH_FAILED */
    uint64_t          new_epoch;
    uint16_t          port; /* LISTENING */
    char              listening[100];
    bool              stopped;
};

struct world {
    struct cfs_loop *loop;
    struct cfs_log  *log;
    struct side      server;
    struct side      client;
    struct side      second; /* another client */
    struct cfs_xl   *leaf;
    char             path[80];
};

/* -- waiting -------------------------------------------------------------- */

#include "tests/unit/world_wait.h"

static void pause_for(struct world *w, uint64_t ns)
{
    wait_some(w, never, ns);
}

static bool is_connecting(struct world *w)
{
    return w->client.connecting > 0;
}

static bool is_up(struct world *w)
{
    return w->client.up > 0;
}

static bool is_down(struct world *w)
{
    return w->client.down > 0;
}

static bool is_refused(struct world *w)
{
    return w->client.auth > 0;
}

static bool second_is_connecting(struct world *w)
{
    return w->second.connecting > 0;
}

static bool leaf_has_one(struct world *w)
{
    return ((struct fake_xl *)w->leaf->priv)->n > 0;
}

static bool client_stopped(struct world *w)
{
    return w->client.stopped;
}

static bool server_stopped(struct world *w)
{
    return w->server.stopped;
}

/* -- graphs --------------------------------------------------------------- */

static void on_event(struct cfs_graph *g, const struct cfs_event *ev)
{
    struct side *s = g->owner;

    switch (ev->type) {
    case CFS_EV_CHILD_CONNECTING:
        s->connecting++;
        break;
    case CFS_EV_CHILD_UP:
        s->up++;
        break;
    case CFS_EV_CHILD_DOWN:
        s->down++;
        s->err = *ev->err;
        break;
    case CFS_EV_AUTH_FAILED:
        s->auth++;
        s->refused = *ev->err;
        break;
    case CFS_EV_WANT_VIEW:
        s->want_view++;
        break;
    case CFS_EV_NEW_VIEW:
        s->new_view++;
        s->new_epoch = ev->view->epoch;
        break;
    case CFS_EV_LISTENING:
        s->port = ev->port;
        if (ev->path != NULL)
            snprintf(s->listening, sizeof s->listening, "%s", ev->path);
        break;
    default:
        break;
    }
}

static void on_stopped(struct cfs_graph *g)
{
    ((struct side *)g->owner)->stopped = true;
}

static void new_graph(struct world *w, struct side *s)
{
    memset(s, 0, sizeof *s);
    assert_int_equal(cfs_graph_new(w->loop, w->log, NULL, &s->graph), 0);
    s->graph->owner = s;
    s->graph->on_event = on_event;
    s->graph->on_stopped = on_stopped;
}

static void start_graph(struct side *s)
{
    struct cfs_err err = {0};

    if (cfs_graph_init(s->graph, &err) < 0)
        fail_msg("%s", err.text);
    cfs_graph_parent_up(s->graph);
}

static void start_server(struct world *w)
{
    static const char *const leaf[] = {"leaf"};
    const struct cfs_kv opts[] = {{"brick-id", BRICK},
                                  {"listen-path", w->path},
                                  {"max-calls", "4"}};
    struct cfs_err err = {0};

    new_graph(w, &w->server);
    assert_int_equal(cfs_graph_add(w->server.graph, "leaf", "test/fake", NULL,
                                   0, NULL, 0, &err), 0);
    if (cfs_graph_add(w->server.graph, "server", "protocol/server", opts,
                      CFS_ARRAY_SIZE(opts), leaf, 1, &err) < 0)
        fail_msg("%s", err.text);
    start_graph(&w->server);
    w->leaf = cfs_graph_find(w->server.graph, "leaf");
}

static void start_client(struct world *w, struct side *s,
                         const struct cfs_kv *opts, size_t n)
{
    struct cfs_err err = {0};

    new_graph(w, s);
    if (cfs_graph_add(s->graph, "client", "protocol/client", opts, n, NULL, 0,
                      &err) < 0)
        fail_msg("%s", err.text);
    start_graph(s);
}

static void start_client_unix(struct world *w, struct side *s)
{
    const struct cfs_kv opts[] = {{"brick-id", BRICK},
                                  {"remote-path", w->path},
                                  {"reconnect-delay", "10ms"}};

    start_client(w, s, opts, CFS_ARRAY_SIZE(opts));
}

static void begin(struct world *w)
{
    struct cfs_err err = {0};

    memset(w, 0, sizeof *w);
    fake_setup();
    cfs_graph_builtin(&cfs_xl_protocol_client);
    cfs_graph_builtin(&cfs_xl_protocol_server);
    snprintf(w->path, sizeof w->path, "%s/cfs-test-protocol.%d.sock",
             cfs_test_tmp(), getpid());
    assert_int_equal(cfs_log_open(&w->log, "/dev/null", CFS_LOG_TRACE,
                                  CFS_LOG_PLAIN, &err), 0);
    assert_int_equal(cfs_loop_new(&w->loop, &err), 0);
}

static void begin_both(struct world *w)
{
    begin(w);
    start_server(w);
    start_client_unix(w, &w->client);
    WAIT(w, is_connecting);
}

static void stop_side(struct world *w, struct side *s,
                      bool (*stopped)(struct world *w))
{
    if (s->graph == NULL)
        return;
    if (!s->stopped) {
        cfs_graph_stop(s->graph);
        WAIT(w, stopped);
    }
    cfs_graph_free(s->graph);
    s->graph = NULL;
}

static bool second_stopped(struct world *w)
{
    return w->second.stopped;
}

static void end(struct world *w)
{
    stop_side(w, &w->second, second_stopped);
    stop_side(w, &w->client, client_stopped);
    stop_side(w, &w->server, server_stopped);
    cfs_loop_free(w->loop);
    cfs_log_close(w->log);
    cfs_buf_pool_drain();
}

/* -- operations ----------------------------------------------------------- */

static unsigned n_done;
static unsigned ups_at_done; /* CHILD_UP events before it */
static struct side *done_side;

#define FOP(lower, UPPER, class, in, out)                                    \
    static void done_##lower(struct cfs_##lower *op, int status)             \
    {                                                                        \
        op->req.status = status;                                             \
        n_done++;                                                            \
        if (done_side != NULL)                                               \
            ups_at_done = done_side->up;                                     \
    }
#include "core/fops.def"
#undef FOP

/* A request of @fop on the client's graph, as replicate would send it. */
static struct cfs_req *new_op(struct side *s, enum cfs_fop fop)
{
    struct cfs_call *call = cfs_call_begin(s->graph);
    struct cfs_req *req = fill_request(call, fop);
    void *op = req;

    req->epoch = 1;
    if (req->change != NULL)
        req->change->session = SESSION;
    if (fop == CFS_FOP_SESSION_ATTACH)
        ((struct cfs_session_attach *)op)->session.no = SESSION;
    if (fop == CFS_FOP_CLEAR)
        ((struct cfs_clear *)op)->session = SESSION;
    if (fop == CFS_FOP_SESSION_CLOSE)
        ((struct cfs_session_close *)op)->session = SESSION;
    return req;
}

static void wind(struct side *s, struct cfs_req *req)
{
    struct cfs_xl *to = s->graph->top;

    n_done = 0;
    switch (req->fop) {
#define FOP(lower, UPPER, class, in, out)                                    \
    case CFS_FOP_##UPPER:                                                    \
        cfs_wind_##lower(to, (void *)req, done_##lower);                     \
        break;
#include "core/fops.def"
#undef FOP
    case CFS_FOP_N:
        break;
    }
    assert_int_equal(n_done, 0); /* never from inside */
}

static bool op_done(struct world *w)
{
    return n_done > 0;
}

static struct cfs_req *take(struct world *w)
{
    WAIT(w, leaf_has_one);
    return fake_take(w->leaf);
}

/* Wind @req; the server refuses it or the leaf answers it with @status. */
static void ask(struct world *w, struct side *s, struct cfs_req *req,
                int status)
{
    struct cfs_req *below;

    wind(s, req);
    below = take(w);
    fill_reply(below);
    below->post.epoch = 1;
    cfs_unwind(below, status);
    WAIT(w, op_done);
}

static void end_op(struct cfs_req *req)
{
    cfs_call_end(req->call);
}

static void attach(struct world *w, struct side *s)
{
    struct cfs_req *req = new_op(s, CFS_FOP_SESSION_ATTACH), *below;
    void *op;

    wind(s, req);
    below = take(w);
    op = below;
    fill_reply(below);
    below->post.epoch = 1;
    ((struct cfs_session_attach *)op)->view.epoch = 1;
    cfs_unwind(below, 0);
    WAIT(w, op_done);
    assert_int_equal(req->status, 0);
    end_op(req);
}

static int refused(struct world *w, struct side *s, struct cfs_req *req)
{
    int status;

    wind(s, req);
    WAIT(w, op_done);
    assert_null(fake_take(w->leaf)); /* it did not get that far */
    status = req->status;
    end_op(req);
    return status;
}

static bool travels_as_client(enum cfs_fop fop)
{
    switch (fop) {
    case CFS_FOP_SESSION_FENCE:
    case CFS_FOP_VIEW_SET:
    case CFS_FOP_BRICK_INFO:
        return false;
    default:
        return cfs_fop_class(fop) != CFS_CLASS_LOCAL;
    }
}

#endif
