/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_frame.c - a stream of bytes to a connection. With an odd first byte the
 * headers on the way get their magic, version and checksum put right, so that
 * what is behind them is reached.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "rpc/conn_impl.h"

#define PROGRAM 1000u

static struct cfs_loop *loop;
static struct cfs_log *logger;
static struct rpc_listener *listener;
static struct rpc_program program;
static struct rpc_call call;
static struct rpc_msg *held[1024];
static unsigned n_held;
static struct cfs_timer guard;

static void on_echo(struct rpc_msg *msg, void *ctx)
{
    rpc_reply(msg, msg->body, msg->payload);
}

static void on_hold(struct rpc_msg *msg, void *ctx)
{
    if (n_held < CFS_ARRAY_SIZE(held))
        held[n_held++] = msg;
    else
        rpc_reply_error(msg, -EBUSY, "enough");
}

static void on_drop(struct rpc_msg *msg, void *ctx)
{
    struct rpc_conn *c = msg->conn;

    rpc_reply_error(msg, -EIO, NULL);
    rpc_conn_close(c);
}

static const struct rpc_proc procs[] = {
    {"echo", on_echo}, {"hold", on_hold}, {"drop", on_drop}};

static void on_called(struct rpc_call *c, int status, struct rpc_msg *reply)
{
}

static void on_up(struct rpc_conn *c, void *ctx)
{
    rpc_call(c, &call, &program, 0, (struct cfs_blob){"ask", 3},
             (struct cfs_buf){0}, 0, on_called);
}

static bool gone(void *arg)
{
    return cfs_list_empty(&listener->conns) || !cfs_timer_active(&guard);
}

static void on_guard(struct cfs_timer *t)
{
}

static void set_up(void)
{
    static const struct rpc_events events = {.up = on_up};
    struct rpc_opts opts = rpc_opts_default;
    struct rpc_addr addr;
    int rc;

    opts.max_calls = 16;
    program = (struct rpc_program){.number = PROGRAM, .version = 1,
                                   .name = "fuzz", .procs = procs,
                                   .n_procs = CFS_ARRAY_SIZE(procs)};
    rc = cfs_loop_new(&loop, NULL);
    assert(rc == 0);
    cfs_timer_init(loop, &guard, on_guard);
    rc = cfs_log_open(&logger, "/dev/null", CFS_LOG_ERROR, CFS_LOG_PLAIN,
                      NULL);
    assert(rc == 0);
    rc = rpc_addr_parse("127.0.0.1:0", &addr, NULL);
    assert(rc == 0);
    rc = rpc_listen(loop, logger, "fuzz", &addr, 49152, 60999, &opts,
                    &program, 1, &events, NULL, &listener, NULL);
    assert(rc == 0);
}

static uint32_t get32(const uint8_t *b)
{
    uint32_t v;

    memcpy(&v, b, sizeof v);
    return v;
}

static void put_right(uint8_t *b, size_t size)
{
    size_t at = 0;

    while (size - at >= CFS_RPC_HDR) {
        uint64_t sum;

        memcpy(b + at, "CFS1\1\0", 6);
        sum = XXH3_64bits(b + at, 40);
        memcpy(b + at + 40, &sum, sizeof sum);
        at += CFS_RPC_HDR;
        at += (uint64_t)get32(b + at - 40) + get32(b + at - 36) < size - at
                  ? get32(b + at - 40) + get32(b + at - 36)
                  : size - at;
    }
}

/* -- running it ----------------------------------------------------------- */

/* Until the connection has ended, or waits for the answers that are held. */
static void run(void)
{
    cfs_timer_start(&guard, CFS_MS);
    cfs_loop_run_until(loop, gone, NULL);
    cfs_timer_stop(&guard);
    while (n_held > 0)
        rpc_reply(held[--n_held], (struct cfs_blob){0}, (struct cfs_buf){0});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *b;
    int fd[2], rc;

    if (loop == NULL)
        set_up();
    if (size < 2 || size > 60000)
        return 0;
    rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd);
    assert(rc == 0);
    b = malloc(size);
    memcpy(b, data, size);
    if (data[0] & 1)
        put_right(b + 1, size - 1);
    if (send(fd[1], b + 1, size - 1, MSG_NOSIGNAL) < 0)
        size = 0; /* the socket's buffer is small: it got what fits */
    free(b);
    rpc_conn_accept(listener, fd[0]);
    close(fd[1]);
    while (!cfs_list_empty(&listener->conns))
        run();
    return 0;
}

size_t fuzz_sample(unsigned n, uint8_t *ret, size_t max)
{
    size_t len = 1;

    ret[0] = (uint8_t)(n % 8 != 0);
    for (long frames = 1 + random() % 8; frames > 0; frames--) {
        struct rpc_hdr h = {
            .flags = random() % 6 == 0 ? CFS_RPC_LZ4
                     : random() % 5 == 0 ? CFS_RPC_REPLY : 0,
            .xid = (uint32_t)random() % 4,
            .program = random() % 5 ? PROGRAM : 1,
            .version = 1,
            .procedure = (uint32_t)random() % 4,
            .body_len = (uint32_t)random() % 100,
            .payload_len = random() % 2 ? (uint32_t)random() % 3000 : 0,
        };

        h.raw_len = h.flags & CFS_RPC_LZ4 ? 2 * h.payload_len + 1
                                          : h.payload_len;
        rpc_hdr_pack(&h, ret + len);
        len += CFS_RPC_HDR;
        for (uint32_t i = h.body_len + h.payload_len; i > 0; i--)
            ret[len++] = (uint8_t)random();
    }
    assert(len <= max);
    return len;
}
