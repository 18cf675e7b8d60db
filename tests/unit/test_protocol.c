/* SPDX-License-Identifier: Apache-2.0 */
/* test_protocol.c - protocol/client and protocol/server: two graphs in one
 * process, a socket between them, and below the server a translator that keeps
 * each operation until the test answers it.
 */
#include "tests/unit/cfs_test.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"
#include "tests/unit/fake_xl.h"
#include "tests/unit/fop_fill.h"

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

/* -- waiting ------------------------------------------------------------------------ */

static uint64_t wait_end;
static bool (*wait_cond)(struct world *w);

static void on_wait_timer(struct cfs_timer *t)
{
}

static bool wait_done(void *arg)
{
    struct world *w = arg;

    return wait_cond(w) || cfs_now_fresh(w->loop) >= wait_end;
}

static bool wait_some(struct world *w, bool (*cond)(struct world *w),
                      uint64_t ns)
{
    struct cfs_timer timer;

    wait_cond = cond;
    wait_end = cfs_now_fresh(w->loop) + ns;
    cfs_timer_init(w->loop, &timer, on_wait_timer);
    cfs_timer_start(&timer, ns + CFS_MS);
    cfs_loop_run_until(w->loop, wait_done, w);
    cfs_timer_fini(&timer);
    return cond(w);
}

#define WAIT(w, cond)                                                        \
    do {                                                                     \
        if (!wait_some(w, cond, LIMIT))                                      \
            fail_msg("never: %s", #cond);                                    \
    } while (0)

static bool never(struct world *w)
{
    return false;
}

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

/* -- graphs -------------------------------------------------------------------------- */

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
    snprintf(w->path, sizeof w->path, "/tmp/cfs-test-protocol.%d.sock",
             getpid());
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

/* -- operations ------------------------------------------------------------------------ */

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

/* -- tests ------------------------------------------------------------------------------ */

static void child_up_comes_after_attach_and_not_before(void **state)
{
    struct world w;
    struct cfs_req *req;

    begin_both(&w);
    pause_for(&w, 20 * CFS_MS);
    assert_int_equal(w.client.up, 0); /* a connection is not enough */
    req = new_op(&w.client, CFS_FOP_SESSION_ATTACH);
    ask(&w, &w.client, req, -CFS_E_SESSION);
    assert_int_equal(req->status, -CFS_E_SESSION);
    assert_int_equal(w.client.up, 0); /* nor is a refused session */
    end_op(req);
    done_side = &w.client;
    ups_at_done = 99;
    attach(&w, &w.client);
    WAIT(&w, is_up);
    assert_int_equal(ups_at_done, 0); /* its done() ran before */
    done_side = NULL;
    attach(&w, &w.client);
    assert_int_equal(w.client.up, 1); /* once for a connection */
    end(&w);
}

static void every_operation_arrives_and_is_answered_in_full(void **state)
{
    struct world w;

    begin_both(&w);
    attach(&w, &w.client);
    for (enum cfs_fop fop = 0; fop < CFS_FOP_N; fop++) {
        struct cfs_req *req, *below;

        if (!travels_as_client(fop) || fop == CFS_FOP_SESSION_CLOSE)
            continue;
        req = new_op(&w.client, fop);
        wind(&w.client, req);
        below = take(&w);
        if (!same_request(req, below))
            fail_msg("%s arrives changed", cfs_fop_name(fop));
        fill_reply(below);
        cfs_unwind(below, 0);
        WAIT(&w, op_done);
        assert_int_equal(req->status, 0);
        end_op(req);
    }
    end(&w);
}

static void outputs_are_what_the_brick_gave(void **state)
{
    struct world w;
    struct cfs_read *op;
    struct cfs_read *below;
    uint8_t want[8192];

    begin_both(&w);
    attach(&w, &w.client);
    op = (void *)new_op(&w.client, CFS_FOP_READ);
    op->offset = 4096;
    op->size = 8192;
    wind(&w.client, &op->req);
    below = (void *)take(&w);
    fill_reply(&below->req);
    cfs_arena_keep(&below->req.call->arena, below->data = cfs_buf_new(8192));
    fill_bytes(below->data.data, 8192);
    memcpy(want, below->data.data, 8192);
    fill_sums(&below->req.call->arena, 4096, 8192, &below->sums);
    below->req.post.pos = 77;
    cfs_unwind_read(below, 0);
    WAIT(&w, op_done);
    assert_int_equal(op->data.len, 8192);
    assert_memory_equal(op->data.data, want, 8192);
    assert_int_equal(op->sums.len, 16);
    assert_int_equal(op->req.post.pos, 77);
    end_op(&op->req);
    end(&w);
}

static void a_failure_brings_its_status_and_the_brick_s_epoch(void **state)
{
    struct world w;
    struct cfs_req *req, *below;

    begin_both(&w);
    attach(&w, &w.client);
    req = new_op(&w.client, CFS_FOP_SETATTR);
    wind(&w.client, req);
    below = take(&w);
    below->post.epoch = 9;
    below->post.incarnation = 3;
    cfs_unwind(below, -CFS_E_EPOCH);
    WAIT(&w, op_done);
    assert_int_equal(req->status, -CFS_E_EPOCH);
    assert_int_equal(req->post.epoch, 9);
    assert_int_equal(req->post.incarnation, 3);
    assert_int_equal(w.client.want_view, 1);
    end_op(req);
    end(&w);
}

static void a_newer_epoch_is_asked_for_once(void **state)
{
    const struct cfs_view view = {.epoch = 9};
    struct world w;

    begin_both(&w);
    attach(&w, &w.client);
    for (unsigned epoch = 5; epoch <= 11; epoch++) {
        struct cfs_req *req = new_op(&w.client, CFS_FOP_GETATTR), *below;

        if (epoch == 7)
            cfs_graph_event(w.client.graph,
                            (struct cfs_event){.type = CFS_EV_VIEW,
                                               .view = &view});
        wind(&w.client, req);
        below = take(&w);
        fill_reply(below);
        below->post.epoch = epoch / 2 * 2; /* each twice */
        cfs_unwind(below, 0);
        WAIT(&w, op_done);
        end_op(req);
    }
    /* 4, 6 before the view; 10 after it */
    assert_int_equal(w.client.want_view, 3);
    end(&w);
}

static void attach_tells_of_the_view(void **state)
{
    struct world w;

    begin_both(&w);
    attach(&w, &w.client);
    assert_int_equal(w.client.new_view, 1);
    assert_int_equal(w.client.new_epoch, 1);
    end(&w);
}

static void without_a_session_nothing_is_read_or_changed(void **state)
{
    struct world w;

    begin_both(&w);
    for (enum cfs_fop fop = 0; fop < CFS_FOP_N; fop++) {
        if (!travels_as_client(fop) || fop == CFS_FOP_SESSION_OPEN ||
            fop == CFS_FOP_SESSION_ATTACH)
            continue;
        assert_int_equal(refused(&w, &w.client, new_op(&w.client, fop)),
                         -CFS_E_SESSION);
    }
    end(&w);
}

static void another_session_s_number_is_refused(void **state)
{
    struct world w;
    struct cfs_req *req;
    void *op;

    begin_both(&w);
    attach(&w, &w.client);
    req = new_op(&w.client, CFS_FOP_WRITE);
    req->change->session = SESSION + 1;
    assert_int_equal(refused(&w, &w.client, req), -CFS_E_SESSION);
    op = req = new_op(&w.client, CFS_FOP_CLEAR);
    ((struct cfs_clear *)op)->session = SESSION + 1;
    assert_int_equal(refused(&w, &w.client, req), -CFS_E_SESSION);
    op = req = new_op(&w.client, CFS_FOP_SESSION_CLOSE);
    ((struct cfs_session_close *)op)->session = SESSION + 1;
    assert_int_equal(refused(&w, &w.client, req), -CFS_E_SESSION);
    end(&w);
}

static void what_is_mgmtd_s_is_refused_to_clients(void **state)
{
    struct world w;

    begin_both(&w);
    attach(&w, &w.client);
    assert_int_equal(
        refused(&w, &w.client, new_op(&w.client, CFS_FOP_SESSION_FENCE)),
        -EPERM);
    assert_int_equal(
        refused(&w, &w.client, new_op(&w.client, CFS_FOP_VIEW_SET)), -EPERM);
    assert_int_equal(
        refused(&w, &w.client, new_op(&w.client, CFS_FOP_BRICK_INFO)),
        -EPERM);
    end(&w);
}

static void after_goodbye_the_session_is_over(void **state)
{
    struct world w;
    struct cfs_req *req;

    begin_both(&w);
    attach(&w, &w.client);
    req = new_op(&w.client, CFS_FOP_SESSION_CLOSE);
    ask(&w, &w.client, req, 0);
    assert_int_equal(req->status, 0);
    end_op(req);
    assert_int_equal(
        refused(&w, &w.client, new_op(&w.client, CFS_FOP_GETATTR)),
        -CFS_E_SESSION);
    end(&w);
}

static void a_lost_brick_unwinds_everything_and_is_told_once(void **state)
{
    struct world w;
    struct cfs_req *req, *late;

    begin_both(&w);
    attach(&w, &w.client);
    WAIT(&w, is_up);
    req = new_op(&w.client, CFS_FOP_WRITE);
    wind(&w.client, req);
    cfs_unwind(take(&w), -EIO); /* its answer will be lost with the brick */
    w.client.down = 0;
    cfs_graph_stop(w.server.graph);
    WAIT(&w, is_down);
    assert_int_equal(n_done, 1);
    assert_int_equal(req->status, -ENOTCONN);
    end_op(req);
    assert_true(w.client.err.code < 0 && w.client.err.text[0] != '\0');
    stop_side(&w, &w.server, server_stopped);
    pause_for(&w, 100 * CFS_MS); /* several attempts */
    assert_int_equal(w.client.down, 1);

    late = new_op(&w.client, CFS_FOP_GETATTR);
    wind(&w.client, late);
    fake_turn(w.loop);
    assert_int_equal(n_done, 1);
    assert_int_equal(late->status, -ENOTCONN);
    end_op(late);

    w.client.connecting = w.client.up = 0;
    start_server(&w);
    WAIT(&w, is_connecting);
    pause_for(&w, 10 * CFS_MS);
    assert_int_equal(w.client.up, 0); /* the session has to be attached */
    attach(&w, &w.client);
    WAIT(&w, is_up);
    end(&w);
}

static void a_brick_that_was_never_there_is_down_with_a_reason(void **state)
{
    struct world w;

    begin(&w);
    start_client_unix(&w, &w.client);
    WAIT(&w, is_down);
    assert_non_null(strstr(w.client.err.text, w.path));
    pause_for(&w, 60 * CFS_MS);
    assert_int_equal(w.client.down, 1);
    end(&w);
}

static void a_session_that_comes_back_closes_its_old_connection(void **state)
{
    struct world w;
    struct cfs_req *req;

    begin_both(&w);
    attach(&w, &w.client);
    WAIT(&w, is_up);
    w.client.down = w.client.connecting = 0;
    start_client_unix(&w, &w.second);
    WAIT(&w, second_is_connecting);
    assert_int_equal(w.client.down, 0); /* not by connecting alone */
    attach(&w, &w.second);
    WAIT(&w, is_down);
    req = new_op(&w.second, CFS_FOP_GETATTR);
    ask(&w, &w.second, req, 0);
    assert_int_equal(req->status, 0);
    end_op(req);
    end(&w);
}

static void another_brick_at_the_address_is_refused(void **state)
{
    struct world w;
    const struct cfs_kv opts[] = {{"brick-id", OTHER},
                                  {"remote-path", w.path},
                                  {"reconnect-delay", "10ms"}};

    begin(&w);
    start_server(&w);
    start_client(&w, &w.client, opts, CFS_ARRAY_SIZE(opts));
    WAIT(&w, is_refused);
    assert_non_null(strstr(w.client.refused.text, BRICK));
    WAIT(&w, is_down);
    pause_for(&w, 60 * CFS_MS);
    assert_int_equal(w.client.auth, 1);
    assert_int_equal(w.client.connecting, 0);
    end(&w);
}

static void a_brick_with_another_protocol_is_refused(void **state)
{
    struct world w;
    struct rpc_program fop = rpc_to_fop;
    struct rpc_listener *l;
    struct rpc_addr addr;
    struct cfs_err err = {0};
    char text[100];

    begin(&w);
    fop.version_min = fop.version = RPC_FOP_VERSION + 7;
    snprintf(text, sizeof text, "unix:%s", w.path);
    assert_int_equal(rpc_addr_parse(text, &addr, &err), 0);
    assert_int_equal(rpc_listen(w.loop, w.log, "future", &addr, 0, 0, NULL,
                                &fop, 1, NULL, NULL, &l, &err), 0);
    start_client_unix(&w, &w.client);
    WAIT(&w, is_refused);
    assert_int_equal(w.client.refused.code, -EPROTONOSUPPORT);
    assert_int_equal(w.client.connecting, 0);
    rpc_listener_close(l);
    end(&w);
}

/* -- the portmap ---------------------------------------------------------------------- */

static uint16_t port_to_tell;

static void on_port_by_brick(struct rpc_msg *msg, void *ctx)
{
    struct mgmt_port_by_brick m;
    struct cfs_arena a;
    char id[CFS_UUID_STR];

    cfs_arena_init(&a);
    assert_int_equal(mgmt_unpack_port_by_brick(&a, msg->body, &m), 0);
    cfs_uuid_print(m.brick, id);
    assert_string_equal(id, BRICK);
    if (port_to_tell == 0)
        rpc_reply_error(msg, -ENOENT, "that brick is not running");
    else
        rpc_reply(msg,
                  mgmt_pack_port_reply(
                      &a, &(struct mgmt_port_reply){.port = port_to_tell}),
                  (struct cfs_buf){0});
    cfs_arena_fini(&a);
}

static void a_brick_s_port_is_asked_of_its_mgmtd(void **state)
{
    static const struct rpc_proc procs[] = {
        [RPC_PORTMAP_PORT_BY_BRICK] = {"port_by_brick", on_port_by_brick},
    };
    struct rpc_program portmap = rpc_to_portmap;
    struct rpc_listener *l;
    struct rpc_addr addr;
    struct cfs_err err = {0};
    struct world w;
    char port[8];
    const struct cfs_kv opts[] = {{"brick-id", BRICK},
                                  {"remote-host", "127.0.0.1"},
                                  {"management-port", port},
                                  {"reconnect-delay", "10ms"}};

    begin(&w);
    portmap.procs = procs;
    portmap.n_procs = CFS_ARRAY_SIZE(procs);
    assert_int_equal(rpc_addr_parse("127.0.0.1:0", &addr, &err), 0);
    assert_int_equal(rpc_listen(w.loop, w.log, "mgmtd", &addr, 49152, 60999,
                                NULL, &portmap, 1, NULL, NULL, &l, &err), 0);
    snprintf(port, sizeof port, "%u", rpc_listener_port(l));
    port_to_tell = 0;
    start_client(&w, &w.client, opts, CFS_ARRAY_SIZE(opts));
    WAIT(&w, is_down);
    assert_non_null(strstr(w.client.err.text, "not running"));
    start_server(&w);
    assert_string_equal(w.server.listening, w.path);
    assert_in_range(w.server.port, 49152, 60999);
    port_to_tell = w.server.port;
    WAIT(&w, is_connecting);
    attach(&w, &w.client);
    WAIT(&w, is_up);

    /* It starts anew, on another port, perhaps. */
    w.client.connecting = w.client.down = 0;
    stop_side(&w, &w.server, server_stopped);
    WAIT(&w, is_down);
    start_server(&w);
    port_to_tell = w.server.port;
    WAIT(&w, is_connecting);
    rpc_listener_close(l);
    end(&w);
}

/* -- hostile and slow ------------------------------------------------------------------ */

static int raw_call(struct world *w, uint32_t program, uint32_t proc,
                    const void *body, uint32_t len)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct rpc_hdr h = {.program = program, .version = 1, .procedure = proc,
                        .body_len = len};
    uint8_t b[CFS_RPC_HDR + 512];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    memcpy(un.sun_path, w->path, strlen(w->path));
    assert_int_equal(connect(fd, (void *)&un, sizeof un), 0);
    rpc_hdr_pack(&h, b);
    memcpy(b + CFS_RPC_HDR, body, len);
    assert_int_equal(send(fd, b, CFS_RPC_HDR + len, 0),
                     (ssize_t)(CFS_RPC_HDR + len));
    pause_for(w, 10 * CFS_MS);
    return fd;
}

/* Whether the other side has hung up, after what it may have answered. */
static bool is_hung_up(int fd)
{
    uint8_t sink[4096];
    ssize_t n;

    while ((n = recv(fd, sink, sizeof sink, MSG_DONTWAIT)) > 0)
        ;
    return n == 0 || errno != EAGAIN;
}

static void a_body_that_is_no_request_closes_its_connection_alone(
    void **state)
{
    struct world w;
    struct cfs_req *req;
    int fd;

    begin_both(&w);
    attach(&w, &w.client);
    fd = raw_call(&w, RPC_FOP, rpc_fop_proc(CFS_FOP_WRITE), "garbage", 7);
    assert_true(is_hung_up(fd));
    close(fd);
    assert_null(fake_take(w.leaf));
    req = new_op(&w.client, CFS_FOP_GETATTR);
    ask(&w, &w.client, req, 0);
    assert_int_equal(req->status, 0);
    end_op(req);
    end(&w);
}

static void a_client_that_names_no_brick_is_refused(void **state)
{
    struct world w;
    struct cfs_call call = {0};
    struct cfs_blob body;
    struct rpc_hdr h;
    uint8_t b[CFS_RPC_HDR];
    const char *why;
    int fd;

    begin_both(&w);
    cfs_arena_init(&call.arena);
    body = cfs_fop_pack(&call.arena,
                        fill_request(&call, CFS_FOP_SESSION_OPEN));
    fd = raw_call(&w, RPC_FOP, rpc_fop_proc(CFS_FOP_SESSION_OPEN), body.p,
                  body.len);
    assert_int_equal(recv(fd, b, sizeof b, 0), sizeof b);
    assert_int_equal(rpc_hdr_unpack(b, &h, &why), 0);
    assert_int_equal(h.status, -CFS_E_SESSION);
    assert_null(fake_take(w.leaf));
    close(fd);
    cfs_arena_fini(&call.arena);
    end(&w);
}

static void calls_over_the_limit_do_not_reach_the_brick(void **state)
{
    struct world w;
    struct cfs_req *req[10], *below;
    struct fake_xl *leaf;
    unsigned done = 0;

    begin_both(&w);
    attach(&w, &w.client);
    leaf = w.leaf->priv;
    for (unsigned i = 0; i < 10; i++) {
        req[i] = new_op(&w.client, CFS_FOP_GETATTR);
        wind(&w.client, req[i]);
    }
    while (done < 10) {
        pause_for(&w, 10 * CFS_MS);
        assert_true(leaf->n > 0 && leaf->n <= 4);
        while ((below = fake_take(w.leaf)) != NULL) {
            fill_reply(below);
            cfs_unwind(below, 0);
            done++;
        }
    }
    pause_for(&w, 10 * CFS_MS);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(req[i]->status, 0);
        end_op(req[i]);
    }
    end(&w);
}

/* -- stopping ---------------------------------------------------------------------------- */

static void a_client_that_stops_waits_for_its_answers(void **state)
{
    struct world w;
    struct cfs_req *req, *below;

    begin_both(&w);
    attach(&w, &w.client);
    req = new_op(&w.client, CFS_FOP_SESSION_CLOSE);
    wind(&w.client, req);
    cfs_graph_stop(w.client.graph);
    below = take(&w);
    assert_false(w.client.stopped);
    cfs_unwind(below, 0);
    WAIT(&w, op_done);
    assert_int_equal(req->status, 0);
    end_op(req);
    WAIT(&w, client_stopped);
    end(&w);
}

static void a_server_that_stops_holds_back_the_brick_until_it_is_idle(
    void **state)
{
    struct world w;
    struct cfs_req *req, *below;

    begin_both(&w);
    attach(&w, &w.client);
    req = new_op(&w.client, CFS_FOP_SETATTR);
    wind(&w.client, req);
    below = take(&w);
    fake_trace[0] = '\0';
    cfs_graph_stop(w.server.graph);
    WAIT(&w, op_done);
    assert_int_equal(req->status, -ENOTCONN);
    assert_null(strstr(fake_trace, "parent-down"));
    assert_false(w.server.stopped);
    fill_reply(below);
    cfs_unwind(below, 0);
    WAIT(&w, server_stopped);
    assert_non_null(strstr(fake_trace, "parent-down:leaf"));
    end_op(req);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(child_up_comes_after_attach_and_not_before),
        cmocka_unit_test(every_operation_arrives_and_is_answered_in_full),
        cmocka_unit_test(outputs_are_what_the_brick_gave),
        cmocka_unit_test(a_failure_brings_its_status_and_the_brick_s_epoch),
        cmocka_unit_test(a_newer_epoch_is_asked_for_once),
        cmocka_unit_test(attach_tells_of_the_view),
        cmocka_unit_test(without_a_session_nothing_is_read_or_changed),
        cmocka_unit_test(another_session_s_number_is_refused),
        cmocka_unit_test(what_is_mgmtd_s_is_refused_to_clients),
        cmocka_unit_test(after_goodbye_the_session_is_over),
        cmocka_unit_test(a_lost_brick_unwinds_everything_and_is_told_once),
        cmocka_unit_test(a_brick_that_was_never_there_is_down_with_a_reason),
        cmocka_unit_test(a_session_that_comes_back_closes_its_old_connection),
        cmocka_unit_test(another_brick_at_the_address_is_refused),
        cmocka_unit_test(a_brick_with_another_protocol_is_refused),
        cmocka_unit_test(a_brick_s_port_is_asked_of_its_mgmtd),
        cmocka_unit_test(
            a_body_that_is_no_request_closes_its_connection_alone),
        cmocka_unit_test(a_client_that_names_no_brick_is_refused),
        cmocka_unit_test(calls_over_the_limit_do_not_reach_the_brick),
        cmocka_unit_test(a_client_that_stops_waits_for_its_answers),
        cmocka_unit_test(
            a_server_that_stops_holds_back_the_brick_until_it_is_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
