/* SPDX-License-Identifier: Apache-2.0 */
/* test_protocol_line.c - protocol/client and protocol/server: bricks that are
 * lost, absent, moved or somebody else; hostile and slow peers; stopping. */
#include "tests/unit/protocol_rig.h"
#include "tests/unit/tls_any.h"

#include <netinet/in.h>

/* -- losing the brick ----------------------------------------------------- */

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

/* -- the portmap ---------------------------------------------------------- */

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
    struct rpc_opts speaks_tls = rpc_opts_default;
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
    speaks_tls.tls = tls_any_new();
    portmap.procs = procs;
    portmap.n_procs = CFS_ARRAY_SIZE(procs);
    assert_int_equal(rpc_addr_parse("127.0.0.1:0", &addr, &err), 0);
    assert_int_equal(rpc_listen(w.loop, w.log, "mgmtd", &addr, 49152, 60999,
                                &speaks_tls, &portmap, 1, NULL, NULL, &l,
                                &err), 0);
    rpc_tls_unref(speaks_tls.tls);
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

/* -- hostile and slow ----------------------------------------------------- */

static void raw_send(struct world *w, int fd, uint32_t program, uint32_t proc,
                     const void *body, uint32_t len)
{
    struct rpc_hdr h = {.program = program, .version = 1, .procedure = proc,
                        .body_len = len};
    uint8_t b[CFS_RPC_HDR + 512];

    rpc_hdr_pack(&h, b);
    memcpy(b + CFS_RPC_HDR, body, len);
    assert_int_equal(send(fd, b, CFS_RPC_HDR + len, 0),
                     (ssize_t)(CFS_RPC_HDR + len));
    pause_for(w, 10 * CFS_MS);
}

static int raw_call(struct world *w, uint32_t program, uint32_t proc,
                    const void *body, uint32_t len)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    memcpy(un.sun_path, w->path, strlen(w->path));
    assert_int_equal(connect(fd, (void *)&un, sizeof un), 0);
    raw_send(w, fd, program, proc, body, len);
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

/* What anybody on this machine can do: connect from a port of his own. */
static void a_stranger_on_the_machine_is_refused(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct mgmt_hello hello = {0};
    struct cfs_blob body;
    struct cfs_arena a;
    struct rpc_hdr h;
    struct world w;
    uint8_t b[CFS_RPC_HDR];
    const char *why;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (geteuid() != 0) {
        close(fd);
        skip(); /* then there is nobody else's to be protected */
    }
    begin_both(&w);
    in.sin_port = htons(w.server.port);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (void *)&in, sizeof in), 0);
    cfs_arena_init(&a);
    assert_int_equal(cfs_uuid_parse(BRICK, &hello.brick), 0);
    body = mgmt_pack_hello(&a, &hello);
    raw_send(&w, fd, RPC_SESSION, RPC_SESSION_HELLO, body.p, body.len);
    cfs_arena_fini(&a);
    assert_int_equal(recv(fd, b, sizeof b, MSG_DONTWAIT), sizeof b);
    assert_int_equal(rpc_hdr_unpack(b, &h, &why), 0);
    assert_int_equal(h.status, -EACCES);
    close(fd);
    end(&w);
}

static int stranger_from(const struct world *w, uint32_t address)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    in.sin_addr.s_addr = htonl(address);
    assert_int_equal(bind(fd, (void *)&in, sizeof in), 0);
    in.sin_port = htons(w->server.port);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (void *)&in, sizeof in), 0);
    return fd;
}

/* Who says nothing, a thousand times, has few of the brick's descriptors, and
 * takes none from another machine. */
static void strangers_in_numbers_are_few(void **state)
{
    struct world w;
    int fd[100], other;
    unsigned up = 0;

    begin_both(&w);
    attach(&w, &w.client);
    other = stranger_from(&w, INADDR_LOOPBACK + 1);
    pause_for(&w, 10 * CFS_MS);
    for (unsigned i = 0; i < 100; i++) {
        fd[i] = stranger_from(&w, INADDR_LOOPBACK);
        pause_for(&w, CFS_MS);
    }
    pause_for(&w, 20 * CFS_MS);
    for (unsigned i = 0; i < 100; i++)
        up += !is_hung_up(fd[i]);
    assert_int_equal(up, 63);
    assert_false(is_hung_up(fd[99]));
    assert_false(is_hung_up(other));
    assert_false(is_down(&w));
    for (unsigned i = 0; i < 100; i++)
        close(fd[i]);
    close(other);
    end(&w);
}

/* Nothing is allocated for what a stranger says that it will send. */
static void a_stranger_s_payload_is_not_waited_for(void **state)
{
    struct rpc_hdr h = {.program = RPC_FOP, .version = 1,
                        .procedure = rpc_fop_proc(CFS_FOP_WRITE),
                        .payload_len = 65536, .raw_len = 65536};
    uint8_t b[CFS_RPC_HDR];
    struct world w;
    int fd;

    begin_both(&w);
    fd = stranger_from(&w, INADDR_LOOPBACK);
    rpc_hdr_pack(&h, b);
    assert_int_equal(send(fd, b, sizeof b, 0), sizeof b);
    pause_for(&w, 20 * CFS_MS);
    assert_true(is_hung_up(fd));
    close(fd);
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

/* -- stopping ------------------------------------------------------------- */

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
        cmocka_unit_test(a_lost_brick_unwinds_everything_and_is_told_once),
        cmocka_unit_test(a_brick_that_was_never_there_is_down_with_a_reason),
        cmocka_unit_test(a_session_that_comes_back_closes_its_old_connection),
        cmocka_unit_test(another_brick_at_the_address_is_refused),
        cmocka_unit_test(a_brick_with_another_protocol_is_refused),
        cmocka_unit_test(a_brick_s_port_is_asked_of_its_mgmtd),
        cmocka_unit_test(a_body_that_is_no_request_closes_its_connection_alone),
        cmocka_unit_test(a_stranger_on_the_machine_is_refused),
        cmocka_unit_test(strangers_in_numbers_are_few),
        cmocka_unit_test(a_stranger_s_payload_is_not_waited_for),
        cmocka_unit_test(a_client_that_names_no_brick_is_refused),
        cmocka_unit_test(calls_over_the_limit_do_not_reach_the_brick),
        cmocka_unit_test(a_client_that_stops_waits_for_its_answers),
        cmocka_unit_test(
            a_server_that_stops_holds_back_the_brick_until_it_is_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
