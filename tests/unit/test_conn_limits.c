/* SPDX-License-Identifier: Apache-2.0 */
/* test_conn_limits.c - connections under pressure, in silence, and given bytes
 * that are no frames; addresses and the rights on sockets. */
#include "tests/unit/conn_rig.h"

/* -- pressure ------------------------------------------------------------- */

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

/* -- silence -------------------------------------------------------------- */

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

/* A connection to who accepts, in the kernel, and that is all. */
static int connect_to_dead_peer(struct ends *e)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char text[80];

    memcpy(un.sun_path, e->path, strlen(e->path));
    unlink(e->path);
    assert_int_equal(bind(fd, (void *)&un, sizeof un), 0);
    assert_int_equal(listen(fd, 5), 0);
    snprintf(text, sizeof text, "unix:%s", e->path);
    connect_to(e, text);
    return fd;
}

static void a_dead_peer_is_given_up(void **state)
{
    struct ends e = {0};
    int fd;

    begin(&e);
    e.opts.keepalive_ms = 20;
    e.opts.idle_ms = 100;
    fd = connect_to_dead_peer(&e);
    WAIT(&e, is_down);
    assert_int_equal(e.ups, 1);
    assert_int_equal(e.why.code, -ETIMEDOUT);
    close(fd);
    unlink(e.path);
    end(&e);
}

static bool has_been_silent(struct ends *e)
{
    return e->ups > 0 &&
           rpc_conn_silence(e->conn, cfs_now_fresh(e->loop)) > 100 * CFS_MS;
}

static void while_we_stand_still_nobody_is_silent(void **state)
{
    struct ends e = {0};
    uint64_t now, heard;
    int fd;

    begin(&e);
    e.opts.keepalive_ms = 200; /* a tick in 100 ms */
    fd = connect_to_dead_peer(&e);
    WAIT(&e, has_been_silent);
    heard = rpc_conn_heard(e.conn);
    usleep(400 * 1000);
    now = cfs_now_fresh(e.loop);
    assert_true(now - rpc_conn_heard(e.conn) > 500 * CFS_MS);
    assert_int_equal(rpc_conn_silence(e.conn, now), 0);
    WAIT(&e, has_been_silent);
    assert_int_equal(rpc_conn_heard(e.conn), heard); /* nor has it spoken */
    close(fd);
    unlink(e.path);
    end(&e);
}

/* -- bytes that are no frames --------------------------------------------- */

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

/* -- names and rights ----------------------------------------------------- */

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
        cmocka_unit_test(calls_over_the_limit_wait_in_the_socket),
        cmocka_unit_test(a_peer_that_does_not_read_is_not_read),
        cmocka_unit_test(pings_keep_a_silent_connection_up),
        cmocka_unit_test(a_dead_peer_is_given_up),
        cmocka_unit_test(while_we_stand_still_nobody_is_silent),
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
