/* SPDX-License-Identifier: Apache-2.0 */
/* test_conn.c - connections: calls both ways, order, payloads, pressure,
 * reconnecting, silence, and bytes that are no frames.
 *
 * Each test has one loop with both ends in it: a listener whose program has
 * the procedures below, and a connection to it. Where the other end has to
 * misbehave it is a bare socket.
 */
#include "tests/unit/cfs_test.h"

#include <lz4.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"

#define TEST_PROGRAM 1000u
#define LIMIT        (10 * CFS_SEC) /* no wait in here is longer */

enum {
    ECHO_ = 1, /* body and payload back */
    FAIL = 2,  /* -EBUSY, "told to fail" */
    HOLD = 3,  /* kept in ends.held until the test answers */
    DROP = 4,  /* the handler closes the connection */
    HUGE_ = 5, /* an answer over the limit */
};

#define HELD_MAX 4096

struct ends {
    struct cfs_loop     *loop;
    struct cfs_log      *log;
    struct rpc_listener *listener;
    struct rpc_conn     *conn;
    struct rpc_conn     *accepted; /* the newest */
    char                 path[64];
    struct rpc_opts      opts;

    unsigned       ups, downs;         /* of conn */
    unsigned       peer_ups, peer_downs;
    struct cfs_err why, peer_why;
    struct rpc_msg *held[HELD_MAX];
    unsigned       n_held;
    unsigned       n_handled;
    struct rpc_program program;
};

/* -- the other end --------------------------------------------------------------- */

static void on_echo(struct rpc_msg *msg, void *ctx)
{
    struct ends *e = ctx;

    e->n_handled++;
    rpc_reply(msg, msg->body, msg->payload);
}

static void on_fail(struct rpc_msg *msg, void *ctx)
{
    rpc_reply_error(msg, -EBUSY, "told to\nfail");
}

static void on_hold(struct rpc_msg *msg, void *ctx)
{
    struct ends *e = ctx;

    assert_true(e->n_held < HELD_MAX);
    e->held[e->n_held++] = msg;
}

static void on_drop(struct rpc_msg *msg, void *ctx)
{
    struct rpc_conn *c = msg->conn;

    rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
    rpc_conn_reset(c, "told to");
}

static void on_huge(struct rpc_msg *msg, void *ctx)
{
    static char huge[CFS_RPC_BODY_MAX + 1];

    rpc_reply(msg, (struct cfs_blob){huge, sizeof huge},
              (struct cfs_buf){0});
}

static const struct rpc_proc procs[] = {
    [ECHO_] = {"echo", on_echo}, [FAIL] = {"fail", on_fail},
    [HOLD] = {"hold", on_hold},  [DROP] = {"drop", on_drop},
    [HUGE_] = {"huge", on_huge},
};

static void on_up(struct rpc_conn *c, void *ctx)
{
    ((struct ends *)ctx)->ups++;
}

static void on_down(struct rpc_conn *c, const struct cfs_err *why, void *ctx)
{
    struct ends *e = ctx;

    e->downs++;
    e->why = *why;
}

static void on_peer_up(struct rpc_conn *c, void *ctx)
{
    struct ends *e = ctx;

    e->peer_ups++;
    e->accepted = c;
}

static void on_peer_down(struct rpc_conn *c, const struct cfs_err *why,
                         void *ctx)
{
    struct ends *e = ctx;

    e->peer_downs++;
    e->peer_why = *why;
    if (e->accepted == c)
        e->accepted = NULL;
}

/* -- waiting ------------------------------------------------------------------------ */

static uint64_t wait_end;
static struct cfs_timer wait_timer;

static void on_wait_timer(struct cfs_timer *t)
{
}

/* Run the loop until @cond holds for @e; the test fails after LIMIT. */
static bool (*wait_cond)(struct ends *e);

static bool wait_done(void *arg)
{
    struct ends *e = arg;

    return wait_cond(e) || cfs_now_fresh(e->loop) >= wait_end;
}

static void wait_for(struct ends *e, bool (*cond)(struct ends *e),
                     const char *what)
{
    wait_cond = cond;
    wait_end = cfs_now_fresh(e->loop) + LIMIT;
    cfs_timer_init(e->loop, &wait_timer, on_wait_timer);
    cfs_timer_start(&wait_timer, LIMIT + CFS_MS);
    cfs_loop_run_until(e->loop, wait_done, e);
    cfs_timer_fini(&wait_timer);
    if (!cond(e))
        fail_msg("never: %s", what);
}

#define WAIT(e, cond) wait_for(e, cond, #cond)

static bool is_up(struct ends *e)
{
    return rpc_conn_is_up(e->conn) && e->accepted != NULL;
}

static bool is_down(struct ends *e)
{
    return e->downs > 0;
}

static bool peer_is_down(struct ends *e)
{
    return e->peer_downs > 0;
}

static bool is_up_again(struct ends *e)
{
    return e->ups >= 2;
}

/* Let the loop run for @ns. */
static uint64_t pause_end;

static bool pause_done(struct ends *e)
{
    return cfs_now_fresh(e->loop) >= pause_end;
}

static struct cfs_timer pause_timer;

static void pause_for(struct ends *e, uint64_t ns)
{
    pause_end = cfs_now_fresh(e->loop) + ns;
    cfs_timer_init(e->loop, &pause_timer, on_wait_timer);
    cfs_timer_start(&pause_timer, ns);
    wait_for(e, pause_done, "time passes");
    cfs_timer_fini(&pause_timer);
}

/* -- set-up -------------------------------------------------------------------------- */

static void listen_on(struct ends *e, const char *text)
{
    static const struct rpc_events events = {on_peer_up, on_peer_down};
    struct rpc_addr addr;
    struct cfs_err err = {0};

    e->program = (struct rpc_program){
        .number = TEST_PROGRAM,
        .version = 3,
        .version_min = 2,
        .name = "test",
        .procs = procs,
        .n_procs = CFS_ARRAY_SIZE(procs),
        .ctx = e,
    };
    assert_int_equal(rpc_addr_parse(text, &addr, &err), 0);
    if (rpc_listen(e->loop, e->log, "listener", &addr, 49152, 60999, &e->opts,
                   &e->program, 1, &events, e, &e->listener, &err) < 0)
        fail_msg("%s", err.text);
}

static void connect_to(struct ends *e, const char *text)
{
    static const struct rpc_events events = {on_up, on_down};
    struct rpc_addr addr;
    struct cfs_err err = {0};

    assert_int_equal(rpc_addr_parse(text, &addr, &err), 0);
    assert_int_equal(rpc_connect(e->loop, e->log, "connection", &addr,
                                 &e->opts, &e->program, 1, &events, e,
                                 &e->conn, &err), 0);
}

static void begin(struct ends *e)
{
    struct cfs_err err = {0};

    memset(e, 0, sizeof *e);
    e->opts = rpc_opts_default;
    e->opts.reconnect_ms = 10;
    snprintf(e->path, sizeof e->path, "/tmp/cfs-test-conn.%d.sock", getpid());
    assert_int_equal(cfs_log_open(&e->log, "/dev/null", CFS_LOG_TRACE,
                                  CFS_LOG_PLAIN, &err), 0);
    assert_int_equal(cfs_loop_new(&e->loop, &err), 0);
}

/* Both ends over a Unix socket, up. */
static void begin_unix(struct ends *e)
{
    char text[80];

    if (e->loop == NULL)
        begin(e);
    snprintf(text, sizeof text, "unix:%s", e->path);
    listen_on(e, text);
    connect_to(e, text);
    WAIT(e, is_up);
}

static void begin_tcp(struct ends *e)
{
    char text[80];

    if (e->loop == NULL)
        begin(e);
    listen_on(e, "127.0.0.1:0");
    snprintf(text, sizeof text, "127.0.0.1:%u",
             rpc_listener_port(e->listener));
    connect_to(e, text);
    WAIT(e, is_up);
}

static void end(struct ends *e)
{
    for (unsigned i = 0; i < e->n_held; i++)
        if (e->held[i] != NULL)
            rpc_reply(e->held[i], (struct cfs_blob){0}, (struct cfs_buf){0});
    rpc_conn_close(e->conn);
    rpc_listener_close(e->listener);
    cfs_loop_free(e->loop);
    cfs_log_close(e->log);
    cfs_buf_pool_drain();
}

/* -- calls ---------------------------------------------------------------------------- */

struct caller {
    struct rpc_call call;
    bool            done;
    int             status;
    bool            replied;
    char            body[256];
    uint32_t        body_len;
    char            text[CFS_ERR_TEXT];
    struct cfs_buf  payload;
    unsigned        order; /* of the answers */
};

static unsigned answers;
static struct caller *awaited;

static void on_called(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct caller *c = container_of(call, struct caller, call);

    assert_false(c->done); /* exactly once */
    c->done = true;
    c->status = status;
    c->order = ++answers;
    if (reply == NULL)
        return;
    c->replied = true;
    c->body_len = reply->body.len;
    if (reply->body.len <= sizeof c->body && reply->body.len > 0)
        memcpy(c->body, reply->body.p, reply->body.len);
    if (rpc_reply_text(reply) != NULL)
        snprintf(c->text, sizeof c->text, "%s", rpc_reply_text(reply));
    c->payload = cfs_buf_ref(reply->payload);
}

static bool awaited_done(struct ends *e)
{
    return awaited->done;
}

static void send_call(struct ends *e, struct rpc_conn *c,
                      struct caller *caller, uint32_t proc, const char *body,
                      struct cfs_buf payload)
{
    memset(caller, 0, sizeof *caller);
    rpc_call(c, &caller->call, &e->program, proc,
             (struct cfs_blob){body, (uint32_t)strlen(body)}, payload, 0,
             on_called);
    assert_false(caller->done); /* never from inside */
}

static void await(struct ends *e, struct caller *caller)
{
    awaited = caller;
    WAIT(e, awaited_done);
}

static struct cfs_buf pattern(uint32_t len, bool compressible)
{
    struct cfs_buf b = cfs_buf_new(len);

    for (uint32_t i = 0; i < len; i++)
        b.data[i] = compressible ? (uint8_t)(i / 64) : (uint8_t)random();
    return b;
}

/* -- tests ------------------------------------------------------------------------------ */

static void a_call_is_answered_over_both_kinds_of_socket(void **state)
{
    for (unsigned tcp = 0; tcp < 2; tcp++) {
        struct ends e = {0};
        struct caller c;

        if (tcp)
            begin_tcp(&e);
        else
            begin_unix(&e);
        assert_int_equal(rpc_conn_is_local(e.conn), !tcp);
        send_call(&e, e.conn, &c, ECHO_, "hello", (struct cfs_buf){0});
        await(&e, &c);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.body_len, 5);
        assert_memory_equal(c.body, "hello", 5);
        end(&e);
    }
}

static void the_accepting_end_may_call_too(void **state)
{
    struct ends e = {0};
    struct caller c;

    begin_unix(&e);
    send_call(&e, e.accepted, &c, ECHO_, "back", (struct cfs_buf){0});
    await(&e, &c);
    assert_int_equal(c.status, 0);
    assert_memory_equal(c.body, "back", 4);
    end(&e);
}

static void an_error_comes_with_its_text_cleaned(void **state)
{
    struct ends e = {0};
    struct caller c;

    begin_unix(&e);
    send_call(&e, e.conn, &c, FAIL, "", (struct cfs_buf){0});
    await(&e, &c);
    assert_int_equal(c.status, -EBUSY);
    assert_true(c.replied);
    assert_string_equal(c.text, "told to?fail");
    end(&e);
}

static void what_is_not_offered_is_refused(void **state)
{
    struct ends e = {0};
    struct caller c;

    begin_unix(&e);
    send_call(&e, e.conn, &c, 99, "", (struct cfs_buf){0});
    await(&e, &c);
    assert_int_equal(c.status, -ENOSYS);
    e.program.version = 4; /* the array is shared: what we call with */
    e.program.version_min = 4;
    send_call(&e, e.conn, &c, ECHO_, "", (struct cfs_buf){0});
    e.program.version = 3;
    e.program.version_min = 2;
    await(&e, &c);
    assert_int_equal(c.status, -EPROTONOSUPPORT);
    e.program.number = TEST_PROGRAM + 1;
    send_call(&e, e.conn, &c, ECHO_, "", (struct cfs_buf){0});
    e.program.number = TEST_PROGRAM;
    await(&e, &c);
    assert_int_equal(c.status, -EPROTONOSUPPORT);
    end(&e);
}

static void an_older_version_in_the_range_is_served(void **state)
{
    struct ends e = {0};
    struct rpc_program old;
    struct caller c = {0};

    begin_unix(&e);
    old = e.program;
    old.version = 2;
    rpc_call(e.conn, &c.call, &old, ECHO_, (struct cfs_blob){0},
             (struct cfs_buf){0}, 0, on_called);
    await(&e, &c);
    assert_int_equal(c.status, 0);
    end(&e);
}

static void dump_lists_programs_with_their_ranges(void **state)
{
    struct ends e = {0};
    struct caller c = {0};
    struct mgmt_dump_reply r;
    struct cfs_arena a;

    begin_unix(&e);
    rpc_call(e.conn, &c.call, &rpc_to_dump, RPC_DUMP_LIST,
             (struct cfs_blob){0}, (struct cfs_buf){0}, 0, on_called);
    await(&e, &c);
    assert_int_equal(c.status, 0);
    cfs_arena_init(&a);
    assert_int_equal(mgmt_unpack_dump_reply(
                         &a, (struct cfs_blob){c.body, c.body_len}, &r), 0);
    assert_int_equal(r.programs.n, 2);
    assert_int_equal(r.programs.p[0].number, TEST_PROGRAM);
    assert_int_equal(r.programs.p[0].version_min, 2);
    assert_int_equal(r.programs.p[0].version, 3);
    assert_int_equal(r.programs.p[1].number, RPC_DUMP);
    cfs_arena_fini(&a);
    end(&e);
}

#define MANY 3000

static bool many_done(struct ends *e)
{
    return answers >= MANY;
}

/* Calls are handled in the order of sending; more than fit into a chunk. */
static void calls_are_handled_in_order(void **state)
{
    struct caller *many = calloc(MANY, sizeof *many);
    struct ends e = {0};
    char body[200];

    begin_unix(&e);
    answers = 0;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(body, sizeof body, "%0*u", (int)(i % 190) + 1, i);
        send_call(&e, e.conn, &many[i], ECHO_, body, (struct cfs_buf){0});
    }
    WAIT(&e, many_done);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(many[i].status, 0);
        assert_int_equal(many[i].order, i + 1);
        assert_int_equal(strtoul(many[i].body, NULL, 10), i);
    }
    end(&e);
    free(many);
}

static bool held_three(struct ends *e)
{
    return e->n_held == 3;
}

static void replies_come_in_any_order(void **state)
{
    struct caller c[3];
    struct ends e = {0};

    begin_unix(&e);
    for (unsigned i = 0; i < 3; i++)
        send_call(&e, e.conn, &c[i], HOLD, "x", (struct cfs_buf){0});
    WAIT(&e, held_three);
    answers = 0;
    for (unsigned i = 3; i-- > 0;) {
        rpc_reply(e.held[i], (struct cfs_blob){0}, (struct cfs_buf){0});
        await(&e, &c[i]);
        assert_int_equal(c[i].order, 3 - i);
    }
    e.n_held = 0;
    end(&e);
}

/* All sizes around what is copied, fits a chunk, or takes many reads. */
static void payloads_arrive_whole_and_aligned(void **state)
{
    static const uint32_t sizes[] = {
        1,      100,    2048,       2049,           4096,
        16383,  32768,  32769,      65536,          131072,
        262143, 524288, 1024 * 1024, CFS_RPC_PAYLOAD_MAX};
    struct ends e = {0};
    struct caller c[CFS_ARRAY_SIZE(sizes)];
    struct cfs_buf sent[CFS_ARRAY_SIZE(sizes)];

    begin_unix(&e);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(sizes); i++) {
        sent[i] = pattern(sizes[i], false);
        send_call(&e, e.conn, &c[i], ECHO_, "with a payload", sent[i]);
    }
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(sizes); i++) {
        await(&e, &c[i]);
        assert_int_equal(c[i].status, 0);
        assert_int_equal(c[i].payload.len, sizes[i]);
        assert_memory_equal(c[i].payload.data, sent[i].data, sizes[i]);
        assert_int_equal((uintptr_t)c[i].payload.data % 4096, 0);
        cfs_buf_unref(&c[i].payload);
        cfs_buf_unref(&sent[i]);
    }
    end(&e);
}

/* A payload that nobody counts may be overwritten as soon as it was sent. */
static void a_foreign_payload_is_copied(void **state)
{
    struct ends e = {0};
    struct caller c;
    uint8_t mine[10000];

    begin_unix(&e);
    memset(mine, 'a', sizeof mine);
    send_call(&e, e.conn, &c, ECHO_, "",
              (struct cfs_buf){NULL, mine, sizeof mine});
    memset(mine, 'b', sizeof mine);
    await(&e, &c);
    assert_int_equal(c.payload.data[0], 'a');
    assert_int_equal(c.payload.data[sizeof mine - 1], 'a');
    cfs_buf_unref(&c.payload);
    end(&e);
}

static void lz4_payloads_come_out_as_they_went_in(void **state)
{
    struct ends e = {0};
    struct caller c;
    struct cfs_buf b;

    begin(&e);
    e.opts.lz4 = true;
    begin_tcp(&e);
    for (unsigned i = 0; i < 20; i++) {
        b = pattern(50000 + i, i % 3 != 0);
        send_call(&e, e.conn, &c, ECHO_, "squeeze", b);
        await(&e, &c);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.payload.len, b.len);
        assert_memory_equal(c.payload.data, b.data, b.len);
        cfs_buf_unref(&c.payload);
        cfs_buf_unref(&b);
    }
    end(&e);
}

/* A reply as it is on the wire: compressed, and back to what it was. */
static void lz4_is_used_when_it_pays(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct rpc_hdr h = {.program = TEST_PROGRAM, .version = 3,
                        .procedure = ECHO_, .payload_len = 50000,
                        .raw_len = 50000};
    static uint8_t frame[CFS_RPC_HDR + 50000], back[sizeof frame];
    struct ends e = {0};
    struct cfs_buf b = pattern(50000, true);
    const char *why;
    int fd;

    begin(&e);
    e.opts.lz4 = true;
    begin_tcp(&e);
    rpc_hdr_pack(&h, frame);
    memcpy(frame + CFS_RPC_HDR, b.data, b.len);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons(rpc_listener_port(e.listener));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (void *)&in, sizeof in), 0);
    assert_int_equal(send(fd, frame, sizeof frame, 0), (ssize_t)sizeof frame);
    pause_for(&e, 50 * CFS_MS);
    assert_int_equal(recv(fd, frame, CFS_RPC_HDR, MSG_WAITALL), CFS_RPC_HDR);
    assert_int_equal(rpc_hdr_unpack(frame, &h, &why), 0);
    assert_true((h.flags & CFS_RPC_LZ4) != 0);
    assert_true(h.payload_len < 5000 && h.raw_len == 50000);
    assert_int_equal(recv(fd, frame, h.payload_len, MSG_WAITALL),
                     (ssize_t)h.payload_len);
    assert_int_equal(LZ4_decompress_safe((char *)frame, (char *)back,
                                         (int)h.payload_len, sizeof back),
                     50000);
    assert_memory_equal(back, b.data, b.len);
    close(fd);
    cfs_buf_unref(&b);
    end(&e);
}

static void what_is_too_long_is_refused_before_it_is_sent(void **state)
{
    static char huge[CFS_RPC_BODY_MAX + 1];
    struct ends e = {0};
    struct caller c = {0};

    begin_unix(&e);
    rpc_call(e.conn, &c.call, &e.program, ECHO_,
             (struct cfs_blob){huge, sizeof huge}, (struct cfs_buf){0}, 0,
             on_called);
    await(&e, &c);
    assert_int_equal(c.status, -EMSGSIZE);
    send_call(&e, e.conn, &c, HUGE_, "", (struct cfs_buf){0});
    await(&e, &c);
    assert_int_equal(c.status, -EMSGSIZE);
    assert_int_equal(e.downs, 0);
    end(&e);
}

static bool held_some(struct ends *e)
{
    return e->n_held > 0;
}

static void calls_in_flight_end_with_the_connection(void **state)
{
    struct ends e = {0};
    struct caller c[2];

    begin_unix(&e);
    send_call(&e, e.conn, &c[0], HOLD, "", (struct cfs_buf){0});
    WAIT(&e, held_some);
    rpc_conn_reset(e.conn, "test");
    send_call(&e, e.conn, &c[1], ECHO_, "", (struct cfs_buf){0});
    assert_false(c[0].done);
    WAIT(&e, is_down);
    assert_true(c[0].done && c[1].done); /* before the down event */
    assert_int_equal(c[0].status, -ENOTCONN);
    assert_false(c[0].replied);
    assert_int_equal(c[1].status, -ENOTCONN);
    WAIT(&e, peer_is_down);
    assert_null(e.held[0]->conn); /* its reply will vanish */
    end(&e);
}

static void a_lost_connection_is_made_again(void **state)
{
    struct ends e = {0};
    struct caller c;

    begin_unix(&e);
    send_call(&e, e.conn, &c, DROP, "", (struct cfs_buf){0});
    WAIT(&e, is_up_again);
    assert_int_equal(e.downs, 1);
    assert_true(c.done);
    WAIT(&e, is_up);
    send_call(&e, e.conn, &c, ECHO_, "again", (struct cfs_buf){0});
    await(&e, &c);
    assert_int_equal(c.status, 0);
    end(&e);
}

static bool tried_twice(struct ends *e)
{
    return e->downs >= 2;
}

static void a_listener_that_comes_late_is_found(void **state)
{
    struct ends e = {0};
    char text[80];

    begin(&e);
    snprintf(text, sizeof text, "unix:%s", e.path);
    connect_to(&e, text);
    WAIT(&e, tried_twice);
    assert_int_equal(e.ups, 0);
    assert_non_null(strstr(e.why.text, e.path)); /* a reason to read */
    listen_on(&e, text);
    WAIT(&e, is_up);
    end(&e);
}

static void a_name_is_looked_up(void **state)
{
    struct ends e = {0};
    char text[80];

    begin(&e);
    listen_on(&e, "127.0.0.1:0");
    snprintf(text, sizeof text, "localhost:%u",
             rpc_listener_port(e.listener));
    connect_to(&e, text);
    WAIT(&e, is_up);
    end(&e);
}

static void redirect_goes_elsewhere(void **state)
{
    struct ends e = {0};
    struct rpc_addr addr;
    char text[80];

    begin(&e);
    snprintf(text, sizeof text, "unix:%s", e.path);
    listen_on(&e, text);
    connect_to(&e, "unix:/nonexistent/socket");
    WAIT(&e, is_down);
    assert_int_equal(rpc_addr_parse(text, &addr, NULL), 0);
    rpc_conn_redirect(e.conn, &addr);
    WAIT(&e, is_up);
    end(&e);
}

static void a_call_times_out_and_its_late_reply_is_ignored(void **state)
{
    struct ends e = {0};
    struct caller c = {0}, next;

    begin_unix(&e);
    rpc_call(e.conn, &c.call, &e.program, HOLD, (struct cfs_blob){0},
             (struct cfs_buf){0}, 20, on_called);
    await(&e, &c);
    assert_int_equal(c.status, -ETIMEDOUT);
    rpc_reply(e.held[0], (struct cfs_blob){0}, (struct cfs_buf){0});
    e.n_held = 0;
    send_call(&e, e.conn, &next, ECHO_, "", (struct cfs_buf){0});
    await(&e, &next);
    assert_int_equal(next.status, 0);
    assert_int_equal(e.downs, 0);
    end(&e);
}

/* -- pressure ----------------------------------------------------------------------- */

static bool held_limit(struct ends *e)
{
    return e->n_held >= e->opts.max_calls;
}

static void calls_over_the_limit_wait_in_the_socket(void **state)
{
    struct caller c[40];
    struct ends e = {0};

    begin(&e);
    e.opts.max_calls = 8;
    begin_unix(&e);
    answers = 0;
    for (unsigned i = 0; i < 40; i++)
        send_call(&e, e.conn, &c[i], HOLD, "x", (struct cfs_buf){0});
    WAIT(&e, held_limit);
    pause_for(&e, 20 * CFS_MS);
    assert_int_equal(e.n_held, 8); /* and no more */
    for (unsigned done = 0; done < 40;) {
        for (unsigned i = done; i < e.n_held; i++) {
            rpc_reply(e.held[i], (struct cfs_blob){0}, (struct cfs_buf){0});
            e.held[i] = NULL;
        }
        done = e.n_held;
        await(&e, &c[done - 1]);
        pause_for(&e, CFS_MS);
        assert_true(e.n_held - done <= 8);
    }
    assert_int_equal(answers, 40);
    e.n_held = 0;
    end(&e);
}

/* A peer that asks and never reads: it is not read any more, and what waits
 * for it is bounded. */
static void a_peer_that_does_not_read_is_not_read(void **state)
{
    struct ends e = {0};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct rpc_hdr h = {.xid = 1,
                        .program = TEST_PROGRAM,
                        .version = 3,
                        .procedure = ECHO_,
                        .payload_len = 65536,
                        .raw_len = 65536};
    static uint8_t frame[CFS_RPC_HDR + 65536];
    size_t off = 0;
    unsigned sent = 0, before;
    int fd;

    begin(&e);
    e.opts.send_high = 1024 * 1024;
    begin_unix(&e);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    memcpy(un.sun_path, e.path, strlen(e.path));
    assert_int_equal(connect(fd, (void *)&un, sizeof un), 0);
    rpc_hdr_pack(&h, frame);
    for (unsigned idle = 0; idle < 20;) {
        ssize_t n = send(fd, frame + off, sizeof frame - off, MSG_NOSIGNAL);

        if (n < 0) {
            pause_for(&e, CFS_MS);
            idle++;
            continue;
        }
        idle = 0;
        off += (size_t)n;
        if (off == sizeof frame) {
            off = 0;
            sent++;
        }
        assert_true(sent < 2000); /* else it takes all we have */
    }
    before = e.n_handled;
    assert_true(before >= 16);
    pause_for(&e, 20 * CFS_MS);
    assert_int_equal(e.n_handled, before);

    /* It reads after all: the rest is served. */
    for (unsigned idle = 0; idle < 50;) {
        static uint8_t sink[65536];

        if (recv(fd, sink, sizeof sink, 0) < 0) {
            pause_for(&e, CFS_MS);
            idle++;
        } else {
            idle = 0;
        }
    }
    assert_true(e.n_handled >= sent);
    close(fd);
    end(&e);
}

/* -- silence ------------------------------------------------------------------------- */

static void pings_keep_a_silent_connection_up(void **state)
{
    struct ends e = {0};

    begin(&e);
    e.opts.keepalive_ms = 20;
    e.opts.idle_ms = 200;
    begin_unix(&e);
    pause_for(&e, 500 * CFS_MS);
    assert_int_equal(e.downs + e.peer_downs, 0);
    end(&e);
}

static void a_dead_peer_is_given_up(void **state)
{
    struct ends e = {0};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char text[80];
    int fd;

    begin(&e);
    e.opts.keepalive_ms = 20;
    e.opts.idle_ms = 100;
    /* It accepts, in the kernel, and that is all. */
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(un.sun_path, e.path, strlen(e.path));
    unlink(e.path);
    assert_int_equal(bind(fd, (void *)&un, sizeof un), 0);
    assert_int_equal(listen(fd, 5), 0);
    snprintf(text, sizeof text, "unix:%s", e.path);
    connect_to(&e, text);
    WAIT(&e, is_down);
    assert_int_equal(e.ups, 1);
    assert_int_equal(e.why.code, -ETIMEDOUT);
    close(fd);
    unlink(e.path);
    end(&e);
}

/* -- bytes that are no frames --------------------------------------------------------- */

static int bare_socket(struct ends *e)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    memcpy(un.sun_path, e->path, strlen(e->path));
    assert_int_equal(connect(fd, (void *)&un, sizeof un), 0);
    return fd;
}

/* The connection that sends @bytes is closed; the other one is served on. */
static void check_closed_by(struct ends *e, const void *bytes, size_t len,
                            const char *reason)
{
    const unsigned before = e->peer_downs;
    struct caller c;
    int fd = bare_socket(e);

    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    e->peer_downs = 0;
    WAIT(e, peer_is_down);
    e->peer_downs += before;
    if (strstr(e->peer_why.text, reason) == NULL)
        fail_msg("closed for \"%s\", not \"%s\"", e->peer_why.text, reason);
    send_call(e, e->conn, &c, ECHO_, "alive", (struct cfs_buf){0});
    await(e, &c);
    assert_int_equal(c.status, 0);
    close(fd);
}

static void a_bad_frame_closes_its_connection_alone(void **state)
{
    struct ends e = {0};
    uint8_t b[CFS_RPC_HDR + 64] = {0};
    struct rpc_hdr h = {.program = TEST_PROGRAM, .version = 3,
                        .procedure = ECHO_};

    begin_unix(&e);
    check_closed_by(&e,
                    "GET / HTTP/1.1\r\nHost: x\r\n\r\n                      "
                    "                             ",
                    60, "magic");
    h.body_len = CFS_RPC_BODY_MAX + 1;
    rpc_hdr_pack(&h, b);
    check_closed_by(&e, b, CFS_RPC_HDR, "too long");
    h.body_len = 0;
    h.flags = CFS_RPC_LZ4;
    h.payload_len = 64;
    h.raw_len = 4096;
    rpc_hdr_pack(&h, b); /* zeros: no LZ4 */
    check_closed_by(&e, b, sizeof b, "decompress");
    h.flags = 0x100;
    rpc_hdr_pack(&h, b);
    check_closed_by(&e, b, CFS_RPC_HDR, "flags");
    assert_int_equal(e.downs, 0);
    end(&e);
}

static void a_frame_cut_short_is_dropped_with_its_connection(void **state)
{
    struct ends e = {0};
    uint8_t b[CFS_RPC_HDR + 10] = {0};
    struct rpc_hdr h = {.program = TEST_PROGRAM, .version = 3,
                        .procedure = ECHO_, .body_len = 100,
                        .payload_len = 5000, .raw_len = 5000};
    int fd;

    begin_unix(&e);
    rpc_hdr_pack(&h, b);
    fd = bare_socket(&e);
    assert_int_equal(send(fd, b, sizeof b, 0), (ssize_t)sizeof b);
    pause_for(&e, 5 * CFS_MS);
    close(fd);
    WAIT(&e, peer_is_down);
    assert_int_equal(e.n_handled, 0);
    end(&e);
}

/* A reply to nobody is ignored; a reply to something else is a lie. */
static void strange_replies_do_no_harm(void **state)
{
    struct ends e = {0};
    uint8_t b[CFS_RPC_HDR];
    struct rpc_hdr h = {.flags = CFS_RPC_REPLY, .xid = 4711,
                        .program = TEST_PROGRAM, .version = 3,
                        .procedure = ECHO_};
    struct caller c;
    int fd;

    begin_unix(&e);
    rpc_hdr_pack(&h, b);
    fd = bare_socket(&e);
    assert_int_equal(send(fd, b, sizeof b, 0), (ssize_t)sizeof b);
    pause_for(&e, 5 * CFS_MS);
    assert_int_equal(e.peer_downs, 0);
    send_call(&e, e.accepted, &c, ECHO_, "", (struct cfs_buf){0});
    h.xid = c.call.xid;
    h.procedure = FAIL;
    rpc_hdr_pack(&h, b);
    assert_int_equal(send(fd, b, sizeof b, 0), (ssize_t)sizeof b);
    WAIT(&e, peer_is_down);
    assert_non_null(strstr(e.peer_why.text, "another call"));
    assert_int_equal(c.status, -ENOTCONN);
    close(fd);
    end(&e);
}

/* Streams of valid and damaged frames, cut anywhere. */
static void random_streams_never_crash(void **state)
{
    struct ends e = {0};

    begin_unix(&e);
    srandom(3);
    for (unsigned round = 0; round < 300; round++) {
        uint8_t b[8192];
        size_t len = 0;
        int fd = bare_socket(&e);

        while (len < 6000) {
            struct rpc_hdr h = {
                .flags = random() % 4 == 0 ? CFS_RPC_LZ4 : 0,
                .xid = (uint32_t)random(),
                .program = random() % 2 ? TEST_PROGRAM : RPC_DUMP,
                .version = (uint32_t)random() % 4,
                .procedure = (uint32_t)random() % 7,
                .body_len = (uint32_t)random() % 300,
                .payload_len = 1 + (uint32_t)random() % 500,
            };

            if (h.procedure == HOLD)
                h.procedure = ECHO_;
            h.raw_len = (h.flags & CFS_RPC_LZ4) ? 4 * h.payload_len
                                                : h.payload_len;
            rpc_hdr_pack(&h, b + len);
            if (random() % 20 == 0)
                b[len + (size_t)random() % CFS_RPC_HDR] ^= 1;
            len += CFS_RPC_HDR + h.body_len + h.payload_len;
        }
        (void)!send(fd, b, len - (size_t)random() % 1000, MSG_NOSIGNAL);
        pause_for(&e, CFS_MS / 2);
        close(fd);
    }
    assert_int_equal(e.downs, 0); /* ours, to the same listener */
    end(&e);
}

/* -- names and rights ------------------------------------------------------------------- */

static void addresses_are_checked(void **state)
{
    static const char *const bad[] = {
        "",       "host",         "host:",        "host:x",  "host:70000",
        ":5",     "unix:",        "::1:5",        "[::1]",   "host:-1",
        "host: 5"};
    static const char *const good[] = {"unix:/a", "h:1", "[::1]:65535",
                                       "1.2.3.4:0"};
    struct rpc_addr a;
    char text[300] = "unix:/";

    for (size_t i = 0; i < CFS_ARRAY_SIZE(bad); i++) {
        struct cfs_err err = {0};

        if (rpc_addr_parse(bad[i], &a, &err) != -EINVAL)
            fail_msg("%s is accepted", bad[i]);
        assert_true(err.text[0] != '\0');
    }
    for (size_t i = 0; i < CFS_ARRAY_SIZE(good); i++)
        assert_int_equal(rpc_addr_parse(good[i], &a, NULL), 0);
    memset(text + 6, 'p', 120);
    assert_int_equal(rpc_addr_parse(text, &a, NULL), -EINVAL);
}

static void a_unix_peer_is_known_and_the_socket_is_ours_alone(void **state)
{
    struct ends e = {0};
    uint32_t pid = 0, uid = 1;
    struct stat st;

    begin_unix(&e);
    assert_int_equal(rpc_conn_peer_cred(e.accepted, &pid, &uid), 0);
    assert_int_equal(pid, getpid());
    assert_int_equal(uid, getuid());
    assert_int_equal(stat(e.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    end(&e);
    assert_int_equal(stat(e.path, &st), -1); /* it is gone with its owner */
}

static void a_stale_socket_is_replaced_a_live_one_is_not(void **state)
{
    struct ends e = {0};
    struct rpc_listener *second;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct rpc_addr addr;
    struct cfs_err err = {0};
    char text[80];
    int fd;

    begin(&e);
    memcpy(un.sun_path, e.path, strlen(e.path));
    unlink(e.path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (void *)&un, sizeof un), 0);
    close(fd); /* its owner was killed: the name is still there */
    begin_unix(&e);
    snprintf(text, sizeof text, "unix:%s", e.path);
    assert_int_equal(rpc_addr_parse(text, &addr, NULL), 0);
    assert_int_equal(rpc_listen(e.loop, e.log, "second", &addr, 0, 0, NULL,
                                NULL, 0, NULL, NULL, &second, &err),
                     -EADDRINUSE);
    assert_non_null(strstr(err.text, e.path));
    end(&e);
}

static void a_free_port_is_taken_from_the_range(void **state)
{
    struct ends e = {0};
    struct rpc_listener *second;
    struct rpc_addr addr;
    struct cfs_err err = {0};
    uint16_t port;

    begin(&e);
    listen_on(&e, "127.0.0.1:0");
    port = rpc_listener_port(e.listener);
    assert_in_range(port, 49152, 60999);
    assert_int_equal(rpc_addr_parse("127.0.0.1:0", &addr, NULL), 0);
    assert_int_equal(rpc_listen(e.loop, e.log, "second", &addr, port, port,
                                NULL, NULL, 0, NULL, NULL, &second, &err),
                     -EADDRINUSE);
    end(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_answered_over_both_kinds_of_socket),
        cmocka_unit_test(the_accepting_end_may_call_too),
        cmocka_unit_test(an_error_comes_with_its_text_cleaned),
        cmocka_unit_test(what_is_not_offered_is_refused),
        cmocka_unit_test(an_older_version_in_the_range_is_served),
        cmocka_unit_test(dump_lists_programs_with_their_ranges),
        cmocka_unit_test(calls_are_handled_in_order),
        cmocka_unit_test(replies_come_in_any_order),
        cmocka_unit_test(payloads_arrive_whole_and_aligned),
        cmocka_unit_test(a_foreign_payload_is_copied),
        cmocka_unit_test(lz4_payloads_come_out_as_they_went_in),
        cmocka_unit_test(lz4_is_used_when_it_pays),
        cmocka_unit_test(what_is_too_long_is_refused_before_it_is_sent),
        cmocka_unit_test(calls_in_flight_end_with_the_connection),
        cmocka_unit_test(a_lost_connection_is_made_again),
        cmocka_unit_test(a_listener_that_comes_late_is_found),
        cmocka_unit_test(a_name_is_looked_up),
        cmocka_unit_test(redirect_goes_elsewhere),
        cmocka_unit_test(a_call_times_out_and_its_late_reply_is_ignored),
        cmocka_unit_test(calls_over_the_limit_wait_in_the_socket),
        cmocka_unit_test(a_peer_that_does_not_read_is_not_read),
        cmocka_unit_test(pings_keep_a_silent_connection_up),
        cmocka_unit_test(a_dead_peer_is_given_up),
        cmocka_unit_test(a_bad_frame_closes_its_connection_alone),
        cmocka_unit_test(a_frame_cut_short_is_dropped_with_its_connection),
        cmocka_unit_test(strange_replies_do_no_harm),
        cmocka_unit_test(random_streams_never_crash),
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(a_unix_peer_is_known_and_the_socket_is_ours_alone),
        cmocka_unit_test(a_stale_socket_is_replaced_a_live_one_is_not),
        cmocka_unit_test(a_free_port_is_taken_from_the_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
