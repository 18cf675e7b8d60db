/* SPDX-License-Identifier: Apache-2.0 */
/* conn_rx.c - bytes from the socket to frames.
 *
 * The socket is read into a chunk. A frame whose header and body are there is
 * handed on where it lies (its message holds the chunk). A payload gets a
 * buffer of its own, aligned for device and fuse: the part that came with the
 * chunk is copied, the rest is received into it directly, together with what
 * follows into the chunk.
 *
 * Through TLS it is the same, but for the second part of such a read: what
 * follows is read by itself.
 *
 * Nothing is allocated for a length before the header's checks have passed.
 */
#include <lz4.h>

#include "rpc/tls_impl.h"

#define CHUNK    (32u * 1024u)
#define ROOM_MIN 4096u
/* Bytes of one connection before the others have their turn. */
#define TURN_MAX (4u * 1024u * 1024u)

/* Make room for the rest of the frame at rx->start, or a little more. */
static void make_room(struct rpc_rx *rx)
{
    const uint32_t used = rx->end - rx->start;
    uint32_t want = ROOM_MIN;
    struct cfs_buf next;

    if (rx->have_hdr && CFS_RPC_HDR + rx->hdr.body_len > used + want)
        want = CFS_RPC_HDR + rx->hdr.body_len - used;
    if (rx->chunk.mem != NULL && used == 0 && rx->chunk.mem->refs == 1)
        rx->start = rx->end = 0;
    if (rx->chunk.mem != NULL && rx->chunk.len - rx->end >= want)
        return;
    next = cfs_buf_new(used + want > CHUNK ? used + want : CHUNK);
    if (used > 0)
        memcpy(next.data, rx->chunk.data + rx->start, used);
    cfs_buf_unref(&rx->chunk);
    rx->chunk = next;
    rx->start = 0;
    rx->end = used;
}

/* One recvmsg. Bytes, with what was asked for; 0 at the end; -errno. */
static ssize_t receive(struct rpc_conn *c, size_t *ret_asked, bool more,
                       struct cfs_err *why)
{
    struct rpc_rx *rx = &c->rx;
    struct iovec iov[2];
    struct msghdr m = {.msg_iov = iov};
    size_t into_payload = 0;
    ssize_t n;

    if (rx->payload.mem != NULL) {
        into_payload = rx->payload.len - rx->got;
        iov[m.msg_iovlen++] =
            (struct iovec){rx->payload.data + rx->got, into_payload};
    } else {
        make_room(rx);
    }
    if (rx->chunk.len > rx->end)
        iov[m.msg_iovlen++] = (struct iovec){rx->chunk.data + rx->end,
                                             rx->chunk.len - rx->end};
    *ret_asked = into_payload + rx->chunk.len - rx->end;
    if (c->sec != NULL) {
        n = rpc_tls_recv(c, iov[0].iov_base, iov[0].iov_len, more, why);
    } else {
        do {
            n = recvmsg(c->fd, &m, MSG_DONTWAIT);
        } while (n < 0 && errno == EINTR);
        if (n < 0)
            n = cfs_err_set(why, -errno, "%s", strerror(errno));
    }
    if (n < 0)
        return n;

    if ((size_t)n < into_payload)
        into_payload = (size_t)n;
    rx->got += (uint32_t)into_payload;
    rx->end += (uint32_t)((size_t)n - into_payload);
    return n;
}

/* The payload's buffer, with what of it came in the chunk. */
static void begin_payload(struct rpc_rx *rx)
{
    const uint32_t at = rx->start + CFS_RPC_HDR + rx->hdr.body_len;
    const uint32_t there = rx->end - at;
    const uint32_t len = rx->hdr.payload_len;

    rx->payload = cfs_buf_new(len);
    rx->got = there < len ? there : len;
    memcpy(rx->payload.data, rx->chunk.data + at, rx->got);
    if (there < len)
        rx->end = at; /* the next frame will follow the body */
    else
        rx->in_chunk = len;
}

static int decompress(struct rpc_rx *rx, const char **ret_why)
{
    struct cfs_buf raw = cfs_buf_new(rx->hdr.raw_len);
    int n = LZ4_decompress_safe((const char *)rx->payload.data,
                                (char *)raw.data, (int)rx->payload.len,
                                (int)raw.len);

    if (n < 0 || (uint32_t)n != raw.len) {
        cfs_buf_unref(&raw);
        *ret_why = "a payload that does not decompress";
        return -EBADMSG;
    }
    cfs_buf_unref(&rx->payload);
    rx->payload = raw;
    return 0;
}

/* The frame at rx->start is whole: hand it on. */
static int frame_done(struct rpc_conn *c, const char **ret_why)
{
    struct rpc_rx *rx = &c->rx;
    const struct rpc_hdr hdr = rx->hdr;
    const struct cfs_blob body = {rx->chunk.data + rx->start + CFS_RPC_HDR,
                                  hdr.body_len};
    struct cfs_buf payload;

    if ((hdr.flags & CFS_RPC_LZ4) != 0 && decompress(rx, ret_why) < 0)
        return -EBADMSG;
    payload = rx->payload;
    rx->payload = (struct cfs_buf){0};
    rx->got = 0;
    rx->have_hdr = false;
    rx->start += CFS_RPC_HDR + hdr.body_len + rx->in_chunk;
    rx->in_chunk = 0;
    return rpc_frame_in(c, &hdr, body, payload, ret_why);
}

/* 1: handed a frame on; 0: more bytes are needed; -EBADMSG. */
static int parse_one(struct rpc_conn *c, const char **ret_why)
{
    struct rpc_rx *rx = &c->rx;
    int rc;

    if (!rx->have_hdr) {
        if (rx->end - rx->start < CFS_RPC_HDR)
            return 0;
        rc = rpc_hdr_unpack(rx->chunk.data + rx->start, &rx->hdr, ret_why);
        if (rc < 0)
            return rc;
        rx->have_hdr = true;
    }
    if (rx->hdr.body_len > c->opts.body_max) {
        *ret_why = "a body that is too long for who it is";
        return -EBADMSG;
    }
    if (rx->hdr.payload_len > c->opts.payload_max ||
        rx->hdr.raw_len > c->opts.payload_max) {
        *ret_why = "a payload that is too long for who it is";
        return -EBADMSG;
    }
    if (rx->end - rx->start < CFS_RPC_HDR + rx->hdr.body_len)
        return 0;
    if (rx->hdr.payload_len > 0) {
        if (rx->payload.mem == NULL)
            begin_payload(rx);
        if (rx->got < rx->hdr.payload_len)
            return 0;
    }
    rc = frame_done(c, ret_why);
    return rc < 0 ? rc : 1;
}

void rpc_rx_parse(struct rpc_conn *c)
{
    const char *why = NULL;
    int rc;

    while (c->state == RPC_UP) {
        if (rpc_pressed(c)) {
            c->rx.paused = true;
            rpc_conn_poll(c);
            return;
        }
        rc = parse_one(c, &why);
        if (rc == 0)
            return;
        if (rc < 0 && c->state == RPC_UP) {
            cfs_log_warning(c->log, c->who, "%s: bad frame: %s", c->name, why);
            rpc_conn_fail(c, rc, "bad frame: %s", why);
        }
    }
}

void rpc_rx_readable(struct rpc_conn *c)
{
    size_t total = 0;

    while (c->state == RPC_UP && !c->rx.paused) {
        struct cfs_err why = {0};
        size_t asked;
        ssize_t n = receive(c, &asked, total < TURN_MAX, &why);

        if (n == -EAGAIN)
            return;
        if (n < 0) {
            rpc_conn_fail(c, (int)n, "cannot receive: %s", why.text);
            return;
        }
        if (n == 0) {
            rpc_conn_fail(c, -ECONNRESET, "closed by the other side");
            return;
        }
        c->heard = cfs_now(c->loop);
        rpc_rx_parse(c);
        total += (size_t)n;
        if (c->sec != NULL)
            continue; /* what TLS has in its hands no poll would tell */
        if ((size_t)n < asked || total >= TURN_MAX)
            return; /* empty; or let others go on: the poll will tell again */
    }
}

void rpc_rx_drop(struct rpc_conn *c)
{
    cfs_buf_unref(&c->rx.chunk);
    cfs_buf_unref(&c->rx.payload);
    c->rx = (struct rpc_rx){0};
}
