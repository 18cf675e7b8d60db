/* SPDX-License-Identifier: Apache-2.0 */
/* test_mgmt.c - a daemon's line to mgmtd: volfile, views, signing in, moving
 * to another server. The servers are listeners in the same loop that answer
 * what their struct says.
 */
#include "tests/unit/cfs_test.h"
#include "tests/unit/tls_any.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rpc/mgmt.h"
#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"

#define LIMIT (10 * CFS_SEC)

/* One mgmtd. */
struct server {
    struct rpc_listener *listener;
    struct rpc_conn     *line; /* the newest */
    struct rpc_program   programs[3];
    struct rpc_addr      addr;
    int                  refuse; /* GETSPEC */
    const char          *volfile;
    uint64_t             checksum;
    uint64_t             lineage;
    uint64_t             generation;
    uint64_t             epoch;
    unsigned             getspecs, signins, client_signins, view_gets;
    uint64_t             known; /* of the last GETSPEC */
    char                 key[100];
    uint32_t             port; /* of the last sign-in */
    uint32_t             session;
};

struct world {
    struct cfs_loop *loop;
    struct cfs_log  *log;
    struct server    server[2];
    struct rpc_tls  *tls; /* NULL: no server is asked over TCP */
    struct mgmt     *mgmt;
    unsigned         volfiles, views, refusals, brick_calls;
    char             text[100];
    uint64_t         volfile_epoch;
    uint64_t         epoch;
    struct cfs_err   refused;
    bool             close_in_volfile;
};

/* -- the server's side ---------------------------------------------------- */

static struct cfs_view view_of(const struct server *s)
{
    return (struct cfs_view){.lineage = s->lineage, .epoch = s->epoch};
}

static void on_getspec(struct rpc_msg *msg, void *ctx)
{
    struct server *s = ctx;
    struct mgmt_getspec m;
    struct mgmt_getspec_reply r = {
        .checksum = s->checksum,
        .view = view_of(s),
        .lineage = s->lineage,
        .generation = s->generation,
    };
    struct cfs_arena a;

    cfs_arena_init(&a);
    assert_int_equal(mgmt_unpack_getspec(&a, msg->body, &m), 0);
    s->getspecs++;
    s->known = m.known;
    snprintf(s->key, sizeof s->key, "%s", m.key);
    r.text = m.known == s->checksum ? "" : s->volfile;
    if (s->refuse < 0)
        rpc_reply_error(msg, s->refuse, "no such volume");
    else
        rpc_reply(msg, mgmt_pack_getspec_reply(&a, &r), (struct cfs_buf){0});
    cfs_arena_fini(&a);
}

static void on_signin(struct rpc_msg *msg, void *ctx)
{
    struct server *s = ctx;
    struct mgmt_signin m;
    struct cfs_arena a;

    cfs_arena_init(&a);
    assert_int_equal(mgmt_unpack_signin(&a, msg->body, &m), 0);
    cfs_arena_fini(&a);
    s->signins++;
    s->port = m.port;
    rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
}

static void on_client_signin(struct rpc_msg *msg, void *ctx)
{
    struct server *s = ctx;
    struct mgmt_client_signin m;
    struct cfs_arena a;

    cfs_arena_init(&a);
    assert_int_equal(mgmt_unpack_client_signin(&a, msg->body, &m), 0);
    cfs_arena_fini(&a);
    s->client_signins++;
    s->session = m.session.no;
    rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
}

static void on_view_get(struct rpc_msg *msg, void *ctx)
{
    struct server *s = ctx;
    const struct mgmt_view_msg r = {view_of(s)};
    struct cfs_arena a;

    s->view_gets++;
    cfs_arena_init(&a);
    rpc_reply(msg, mgmt_pack_view_msg(&a, &r), (struct cfs_buf){0});
    cfs_arena_fini(&a);
}

static void on_line(struct rpc_conn *c, void *ctx)
{
    ((struct server *)ctx)->line = c;
}

static void on_line_lost(struct rpc_conn *c, const struct cfs_err *why,
                         void *ctx)
{
    struct server *s = ctx;

    if (s->line == c)
        s->line = NULL;
}

static void start_server(struct world *w, unsigned i)
{
    static const struct rpc_proc handshake[] = {
        [RPC_HANDSHAKE_GETSPEC] = {"getspec", on_getspec}};
    static const struct rpc_proc portmap[] = {
        [RPC_PORTMAP_SIGNIN] = {"signin", on_signin},
        [RPC_PORTMAP_CLIENT_SIGNIN] = {"client_signin", on_client_signin}};
    static const struct rpc_proc view[] = {
        [RPC_VIEW_GET] = {"get", on_view_get}};
    static const struct rpc_events events = {on_line, on_line_lost};
    struct rpc_opts opts = rpc_opts_default;
    struct server *s = &w->server[i];
    struct cfs_err err = {0};

    s->programs[0] = rpc_to_handshake;
    s->programs[0].procs = handshake;
    s->programs[0].n_procs = CFS_ARRAY_SIZE(handshake);
    s->programs[1] = rpc_to_portmap;
    s->programs[1].procs = portmap;
    s->programs[1].n_procs = CFS_ARRAY_SIZE(portmap);
    s->programs[2] = rpc_to_view;
    s->programs[2].procs = view;
    s->programs[2].n_procs = CFS_ARRAY_SIZE(view);
    for (unsigned k = 0; k < 3; k++)
        s->programs[k].ctx = s;
    opts.tls = w->tls; /* a Unix socket takes no notice */
    if (rpc_listen(w->loop, w->log, "mgmtd", &s->addr, 49152, 60999, &opts,
                   s->programs, 3, &events, s, &s->listener, &err) < 0)
        fail_msg("%s", err.text);
}

static void stop_server(struct server *s)
{
    rpc_listener_close(s->listener);
    s->listener = NULL;
    s->line = NULL;
}

/* -- the daemon's side ---------------------------------------------------- */

static void on_volfile(struct mgmt *m, const char *text, size_t len,
                       const struct cfs_view *view, void *ctx)
{
    struct world *w = ctx;

    w->volfiles++;
    assert_int_equal(strlen(text), len);
    snprintf(w->text, sizeof w->text, "%s", text);
    w->volfile_epoch = view->epoch;
    if (w->close_in_volfile) {
        mgmt_close(m);
        w->mgmt = NULL;
    }
}

static void on_view(struct mgmt *m, const struct cfs_view *view, void *ctx)
{
    struct world *w = ctx;

    w->views++;
    w->epoch = view->epoch;
}

static void on_refused(struct mgmt *m, const struct cfs_err *why, void *ctx)
{
    struct world *w = ctx;

    w->refusals++;
    w->refused = *why;
}

static void on_brick_call(struct rpc_msg *msg, void *ctx)
{
    struct world *w = ctx;

    w->brick_calls++;
    assert_int_equal(msg->hdr.procedure, RPC_BRICK_STATEDUMP);
    rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
}

static const struct mgmt_events events = {
    .volfile = on_volfile,
    .view = on_view,
    .refused = on_refused,
    .brick_call = on_brick_call,
};

/* -- waiting -------------------------------------------------------------- */

#include "tests/unit/world_wait.h"

static bool has_volfile(struct world *w)
{
    return w->volfiles > 0;
}

static bool has_view(struct world *w)
{
    return w->views > 0;
}

static bool has_refusal(struct world *w)
{
    return w->refusals > 0;
}

static bool second_has_line(struct world *w)
{
    return w->server[1].getspecs > 0;
}

static bool has_signin(struct world *w)
{
    return w->server[0].signins + w->server[0].client_signins > 0;
}

static bool has_brick_call(struct world *w)
{
    return w->brick_calls > 0;
}

/* -- set-up --------------------------------------------------------------- */

static void begin(struct world *w)
{
    struct cfs_err err = {0};
    char text[100];

    memset(w, 0, sizeof *w);
    assert_int_equal(cfs_log_open(&w->log, "/dev/null", CFS_LOG_TRACE,
                                  CFS_LOG_PLAIN, &err), 0);
    assert_int_equal(cfs_loop_new(&w->loop, &err), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct server *s = &w->server[i];

        snprintf(text, sizeof text, "unix:%s/cfs-test-mgmt.%d.%u",
                 cfs_test_tmp(), getpid(), i);
        assert_int_equal(rpc_addr_parse(text, &s->addr, &err), 0);
        s->volfile = "volume x\n";
        s->checksum = 11;
        s->lineage = 1;
        s->generation = 1;
        s->epoch = 5;
    }
}

static void open_line(struct world *w)
{
    const struct rpc_addr servers[] = {w->server[0].addr, w->server[1].addr};
    struct cfs_err err = {0};

    assert_int_equal(mgmt_open(w->loop, w->log, servers, 2, NULL, "volume:demo",
                               &events, w, &w->mgmt, &err), 0);
    mgmt_set_patience(w->mgmt, 300);
}

static void begin_with_volfile(struct world *w)
{
    begin(w);
    start_server(w, 0);
    open_line(w);
    WAIT(w, has_volfile);
}

static void end(struct world *w)
{
    mgmt_close(w->mgmt);
    for (unsigned i = 0; i < 2; i++)
        stop_server(&w->server[i]);
    rpc_tls_unref(w->tls);
    cfs_loop_free(w->loop);
    cfs_log_close(w->log);
    cfs_buf_pool_drain();
}

/* A call of ours to the daemon, as mgmtd makes them. */
static struct rpc_call push_call;
static int push_status;

static void on_pushed(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    push_status = status;
}

static bool is_pushed(struct world *w)
{
    return push_status <= 0;
}

static int push(struct world *w, const struct rpc_program *prog, uint32_t proc,
                struct cfs_blob body)
{
    push_status = 1;
    rpc_call(w->server[0].line, &push_call, prog, proc, body,
             (struct cfs_buf){0}, 0, on_pushed);
    WAIT(w, is_pushed);
    return push_status;
}

static int push_view(struct world *w, uint64_t lineage, uint64_t epoch)
{
    const struct mgmt_view_msg m = {{.lineage = lineage, .epoch = epoch}};
    struct cfs_arena a;
    int rc;

    cfs_arena_init(&a);
    rc = push(w, &rpc_to_view, RPC_VIEW_PUSH, mgmt_pack_view_msg(&a, &m));
    cfs_arena_fini(&a);
    return rc;
}

/* -- tests ---------------------------------------------------------------- */

static void the_volfile_comes_with_the_view(void **state)
{
    struct world w;

    begin_with_volfile(&w);
    assert_string_equal(w.text, "volume x\n");
    assert_int_equal(w.volfile_epoch, 5);
    assert_string_equal(w.server[0].key, "volume:demo");
    assert_int_equal(w.server[0].known, 0);
    assert_int_equal(w.views, 0);
    end(&w);
}

static void an_unchanged_volfile_is_not_told_again(void **state)
{
    struct world w;

    begin_with_volfile(&w);
    stop_server(&w.server[0]);
    w.server[0].epoch = 6;
    start_server(&w, 0);
    WAIT(&w, has_view); /* at the new connection */
    assert_int_equal(w.epoch, 6);
    assert_int_equal(w.volfiles, 1);
    assert_int_equal(w.server[0].known, 11);
    end(&w);
}

static void a_changed_volfile_is_fetched_when_mgmtd_says_so(void **state)
{
    const struct mgmt_volfile_changed m = {.key = "volume:demo"};
    struct cfs_arena a;
    struct world w;

    begin_with_volfile(&w);
    w.volfiles = 0;
    w.server[0].volfile = "volume y\n";
    w.server[0].checksum = 12;
    w.server[0].generation = 2;
    cfs_arena_init(&a);
    assert_int_equal(push(&w, &rpc_to_handshake,
                          RPC_HANDSHAKE_VOLFILE_CHANGED,
                          mgmt_pack_volfile_changed(&a, &m)), 0);
    cfs_arena_fini(&a);
    WAIT(&w, has_volfile);
    assert_string_equal(w.text, "volume y\n");
    end(&w);
}

static void views_are_taken_in_order_only(void **state)
{
    struct world w;

    begin_with_volfile(&w);
    assert_int_equal(push_view(&w, 1, 8), 0);
    assert_int_equal(w.epoch, 8);
    assert_int_equal(push_view(&w, 1, 7), 0);
    assert_int_equal(w.epoch, 8);
    assert_int_equal(push_view(&w, 2, 3), 0); /* a new life of the store */
    assert_int_equal(w.epoch, 3);
    assert_int_equal(push_view(&w, 1, 100), 0);
    assert_int_equal(w.epoch, 3);
    assert_int_equal(w.views, 2);
    end(&w);
}

static void a_wanted_view_comes(void **state)
{
    struct world w;

    begin_with_volfile(&w);
    w.server[0].epoch = 9;
    mgmt_want_view(w.mgmt);
    WAIT(&w, has_view);
    assert_int_equal(w.epoch, 9);
    assert_int_equal(w.server[0].view_gets, 1);
    end(&w);
}

static void a_dead_server_is_left_for_the_next(void **state)
{
    struct mgmt_brick_hello *brick = calloc(1, sizeof *brick);
    struct mgmt_client_hello client = {.volume = "demo"};
    struct world w;

    begin_with_volfile(&w);
    brick->port = 49200;
    client.session.no = 4;
    mgmt_sign_in_brick(w.mgmt, brick);
    mgmt_sign_in_client(w.mgmt, &client);
    WAIT(&w, has_signin);
    start_server(&w, 1);
    stop_server(&w.server[0]);
    WAIT(&w, second_has_line);
    wait_some(&w, never, 20 * CFS_MS);
    assert_int_equal(w.server[1].signins, 1); /* and says it there again */
    assert_int_equal(w.server[1].port, 49200);
    assert_int_equal(w.server[1].client_signins, 1);
    assert_int_equal(w.server[1].session, 4);
    assert_int_equal(w.volfiles, 1);
    end(&w);
    free(brick);
}

static void the_second_server_does_when_the_first_is_not_there(void **state)
{
    struct world w;

    begin(&w);
    start_server(&w, 1);
    open_line(&w);
    WAIT(&w, has_volfile);
    end(&w);
}

static void a_server_with_an_older_lineage_is_not_believed(void **state)
{
    struct world w;

    begin(&w);
    w.server[0].lineage = 3;
    w.server[1].lineage = 2;
    w.server[1].generation = 99;
    w.server[1].checksum = 55;
    w.server[1].epoch = 1000;
    start_server(&w, 0);
    open_line(&w);
    WAIT(&w, has_volfile);
    start_server(&w, 1);
    stop_server(&w.server[0]);
    WAIT(&w, second_has_line);
    wait_some(&w, never, 50 * CFS_MS);
    assert_int_equal(w.volfiles, 1);
    assert_int_equal(w.views, 0);
    end(&w);
}

static void a_refusal_is_told_with_its_reason(void **state)
{
    struct world w;

    begin(&w);
    w.server[0].refuse = -ENOENT;
    start_server(&w, 0);
    open_line(&w);
    WAIT(&w, has_refusal);
    assert_int_equal(w.refused.code, -ENOENT);
    assert_non_null(strstr(w.refused.text, "no such volume"));
    assert_int_equal(w.volfiles, 0);
    end(&w);
}

static void a_server_that_is_not_ready_is_asked_again(void **state)
{
    struct world w;

    begin(&w);
    w.server[0].refuse = -EAGAIN;
    start_server(&w, 0);
    open_line(&w);
    wait_some(&w, never, 100 * CFS_MS);
    assert_int_equal(w.server[0].getspecs, 1);
    assert_int_equal(w.refusals, 0);
    w.server[0].refuse = 0;
    WAIT(&w, has_volfile);
    end(&w);
}

static void mgmtd_s_calls_reach_the_brick(void **state)
{
    struct world w;

    begin_with_volfile(&w);
    assert_int_equal(push(&w, &rpc_to_brick, RPC_BRICK_STATEDUMP,
                          (struct cfs_blob){0}), 0);
    assert_true(has_brick_call(&w));
    assert_int_equal(push(&w, &rpc_to_brick, 99, (struct cfs_blob){0}),
                     -ENOSYS);
    assert_int_equal(push(&w, &rpc_to_view, RPC_VIEW_PUSH,
                          (struct cfs_blob){"junk", 4}), -EBADMSG);
    end(&w);
}

static void the_line_may_be_closed_from_its_own_event(void **state)
{
    struct world w;

    begin(&w);
    w.close_in_volfile = true;
    start_server(&w, 0);
    open_line(&w);
    WAIT(&w, has_volfile);
    assert_null(w.mgmt);
    wait_some(&w, never, 10 * CFS_MS);
    end(&w);
}

/* -- servers that were not given ------------------------------------------ */

static bool first_is_asked_again(struct world *w)
{
    return w->server[0].getspecs >= 2;
}

/* Server 0 on this machine, server 1 on a port. The line shows nothing. */
static struct rpc_tls *begin_with_tcp(struct world *w)
{
    struct rpc_tls *shows;
    struct cfs_err err = {0};

    begin(w);
    w->tls = tls_any_new();
    assert_int_equal(rpc_addr_parse("127.0.0.1:0", &w->server[1].addr, &err),
                     0);
    start_server(w, 1);
    assert_int_equal(rpc_tls_new(&shows, &err), 0);
    rpc_tls_any_server(shows);
    return shows;
}

/* A client that was given one server goes on to another that its volfile
 * named; and back, when this machine's own is there again. */
static void servers_are_learnt_and_home_is_preferred(void **state)
{
    struct world w;
    struct rpc_tls *shows = begin_with_tcp(&w);
    struct cfs_err err = {0};
    char volfile[200];

    snprintf(volfile, sizeof volfile, "volume x\n%s127.0.0.1:%u\n",
             MGMT_SERVER_LINE, rpc_listener_port(w.server[1].listener));
    w.server[0].volfile = w.server[1].volfile = volfile;
    start_server(&w, 0);
    assert_int_equal(mgmt_open(w.loop, w.log, &w.server[0].addr, 1, shows,
                               "volume:demo", &events, &w, &w.mgmt, &err), 0);
    mgmt_set_patience(w.mgmt, 300);
    WAIT(&w, has_volfile);
    stop_server(&w.server[0]);
    assert_false(wait_some(&w, second_has_line, 250 * CFS_MS));
    WAIT(&w, second_has_line);
    assert_int_equal(w.server[1].known, w.server[0].checksum);
    start_server(&w, 0);
    WAIT(&w, first_is_asked_again);
    rpc_tls_unref(shows);
    end(&w);
}

/* A volfile cannot send a client to a socket on its machine, or make it ask
 * without TLS. */
static void only_ports_are_learnt_and_only_with_tls(void **state)
{
    for (unsigned tls = 0; tls < 2; tls++) {
        struct world w;
        struct rpc_tls *shows = begin_with_tcp(&w);
        struct cfs_err err = {0};
        char volfile[400];

        if (tls) {
            snprintf(volfile, sizeof volfile, "volume x\n%s%s\nxx%s"
                     "127.0.0.1:%u\n", MGMT_SERVER_LINE,
                     "unix:/tmp/cfs-test-mgmt.none", MGMT_SERVER_LINE,
                     rpc_listener_port(w.server[1].listener));
        } else {
            snprintf(volfile, sizeof volfile, "volume x\n%s127.0.0.1:%u\n",
                     MGMT_SERVER_LINE,
                     rpc_listener_port(w.server[1].listener));
        }
        w.server[0].volfile = volfile;
        start_server(&w, 0);
        assert_int_equal(mgmt_open(w.loop, w.log, &w.server[0].addr, 1,
                                   tls ? shows : NULL, "volume:demo",
                                   &events, &w, &w.mgmt, &err), 0);
        mgmt_set_patience(w.mgmt, 100);
        WAIT(&w, has_volfile);
        stop_server(&w.server[0]);
        assert_false(wait_some(&w, second_has_line, 2 * CFS_SEC));
        start_server(&w, 0);
        WAIT(&w, first_is_asked_again);
        rpc_tls_unref(shows);
        end(&w);
    }
}

static void who_is_refused_by_its_certificate_is_told(void **state)
{
    struct world w;
    struct rpc_tls *pinned, *shows = begin_with_tcp(&w);
    const uint8_t print[RPC_TLS_PRINT] = {1};
    struct rpc_addr addr;
    struct cfs_err err = {0};
    char text[80];

    snprintf(text, sizeof text, "127.0.0.1:%u",
             rpc_listener_port(w.server[1].listener));
    assert_int_equal(rpc_addr_parse(text, &addr, &err), 0);
    assert_int_equal(rpc_tls_new(&pinned, &err), 0);
    rpc_tls_pin(pinned, print);
    start_server(&w, 0);
    assert_int_equal(mgmt_open(w.loop, w.log, &addr, 1, pinned, "volume:demo",
                               &events, &w, &w.mgmt, &err), 0);
    WAIT(&w, has_refusal);
    assert_int_equal(w.refused.code, -EKEYREJECTED);
    rpc_tls_unref(pinned);
    rpc_tls_unref(shows);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_volfile_comes_with_the_view),
        cmocka_unit_test(an_unchanged_volfile_is_not_told_again),
        cmocka_unit_test(a_changed_volfile_is_fetched_when_mgmtd_says_so),
        cmocka_unit_test(views_are_taken_in_order_only),
        cmocka_unit_test(a_wanted_view_comes),
        cmocka_unit_test(a_dead_server_is_left_for_the_next),
        cmocka_unit_test(the_second_server_does_when_the_first_is_not_there),
        cmocka_unit_test(a_server_with_an_older_lineage_is_not_believed),
        cmocka_unit_test(a_refusal_is_told_with_its_reason),
        cmocka_unit_test(a_server_that_is_not_ready_is_asked_again),
        cmocka_unit_test(mgmtd_s_calls_reach_the_brick),
        cmocka_unit_test(the_line_may_be_closed_from_its_own_event),
        cmocka_unit_test(servers_are_learnt_and_home_is_preferred),
        cmocka_unit_test(only_ports_are_learnt_and_only_with_tls),
        cmocka_unit_test(who_is_refused_by_its_certificate_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
