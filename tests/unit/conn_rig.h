/* SPDX-License-Identifier: Apache-2.0 */
/* conn_rig.h - both ends of a connection in one loop: a listener whose program
 * has the procedures below, and a connection to it. Where the other end has to
 * misbehave a test takes a bare socket.
 */
#ifndef CFS_TESTS_UNIT_CONN_RIG_H
#define CFS_TESTS_UNIT_CONN_RIG_H

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

/* A program takes what it needs of this. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"

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

/* -- the other end -------------------------------------------------------- */

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

/* -- waiting -------------------------------------------------------------- */

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

/* Let the loop run for @ns, and for some turns also when the process gets no
 * processor for all of that time. */
#define PAUSE_PIECES 10u

static uint64_t pause_end;

static bool pause_done(struct ends *e)
{
    return cfs_now_fresh(e->loop) >= pause_end;
}

static struct cfs_timer pause_timer;

static void pause_for(struct ends *e, uint64_t ns)
{
    ns /= PAUSE_PIECES;
    for (unsigned i = 0; i < PAUSE_PIECES; i++) {
        pause_end = cfs_now_fresh(e->loop) + ns;
        cfs_timer_init(e->loop, &pause_timer, on_wait_timer);
        cfs_timer_start(&pause_timer, ns);
        wait_for(e, pause_done, "time passes");
        cfs_timer_fini(&pause_timer);
    }
}

/* -- set-up --------------------------------------------------------------- */

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
    snprintf(e->path, sizeof e->path, "%s/cfs-test-conn.%d.sock",
             cfs_test_tmp(), getpid());
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

/* -- calls ---------------------------------------------------------------- */

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

#endif
