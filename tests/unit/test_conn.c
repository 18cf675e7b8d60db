/* SPDX-License-Identifier: Apache-2.0 */
/* test_conn.c - connections: calls both ways, order, payloads, compression,
 * losing and finding each other. */
#include "tests/unit/conn_rig.h"

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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
