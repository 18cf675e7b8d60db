/* SPDX-License-Identifier: Apache-2.0 */
/* conn_tx.c - frames to bytes on the socket.
 *
 * Headers, bodies and small payloads are laid one behind the other in a
 * chunk; larger payloads are referenced where they are. What has gathered in
 * a turn leaves in one sendmsg at its end (in several, if it has more than
 * IOVS parts); what the socket does not take waits until it is writable.
 */
#include <lz4.h>
#include <stdlib.h>

#include "core/mem.h"
#include "rpc/tls_impl.h"

#define CHUNK    (64u * 1024u)
#define COPY_MAX 2048u /* a payload up to this is copied: cheaper than a part */
#define IOVS     64

#define LZ4_MIN      4096u /* below, the round trip is all that counts */
#define LZ4_SKIP_MAX 64u

/* -- the queue ------------------------------------------------------------ */

static struct rpc_seg *seg_add(struct rpc_tx *tx)
{
    if (tx->n == tx->cap && tx->head > 0) {
        memmove(tx->seg, tx->seg + tx->head,
                (tx->n - tx->head) * sizeof *tx->seg);
        tx->n -= tx->head;
        tx->head = 0;
    }
    if (tx->n == tx->cap) {
        const unsigned cap = tx->cap ? 2 * tx->cap : 64;

        tx->seg = cfs_must_realloc(tx->seg, cap * sizeof *tx->seg);
        tx->cap = cap;
    }
    return &tx->seg[tx->n++];
}

/* @len bytes at the end of the chunk, in the queue already; the caller fills
 * them in. */
static uint8_t *chunk_add(struct rpc_tx *tx, uint32_t len, bool reply)
{
    struct rpc_seg *last = tx->n > tx->head ? &tx->seg[tx->n - 1] : NULL;
    uint8_t *at;

    if (tx->chunk.mem == NULL || tx->chunk.len - tx->used < len) {
        cfs_buf_unref(&tx->chunk);
        tx->chunk = cfs_buf_new(len > CHUNK ? len : CHUNK);
        tx->used = 0;
        last = NULL;
    }
    at = tx->chunk.data + tx->used;
    tx->used += len;
    if (last != NULL && last->reply == reply &&
        last->buf.mem == tx->chunk.mem &&
        last->buf.data + last->buf.len == at) {
        last->buf.len += len;
        return at;
    }
    *seg_add(tx) = (struct rpc_seg){
        .buf = cfs_buf_ref((struct cfs_buf){tx->chunk.mem, at, len}),
        .reply = reply,
    };
    return at;
}

static void payload_add(struct rpc_tx *tx, struct cfs_buf payload, bool reply)
{
    if (payload.len <= COPY_MAX) {
        memcpy(chunk_add(tx, payload.len, reply), payload.data, payload.len);
    } else if (payload.mem != NULL) {
        *seg_add(tx) = (struct rpc_seg){cfs_buf_ref(payload), reply};
    } else { /* somebody else's bytes: they may be gone when it is sent */
        struct cfs_buf copy = cfs_buf_new(payload.len);

        memcpy(copy.data, payload.data, payload.len);
        *seg_add(tx) = (struct rpc_seg){copy, reply};
    }
}

/* -- compression ---------------------------------------------------------- */

/* @payload compressed, in *ret with a reference, if that pays: an eighth less.
 * Data that does not compress is tried less and less often. */
static bool compress(struct rpc_conn *c, struct cfs_buf payload,
                     struct cfs_buf *ret)
{
    struct rpc_tx *tx = &c->tx;
    struct cfs_buf out;
    int n;

    if (!c->opts.lz4 || c->local || payload.len < LZ4_MIN)
        return false;
    if (tx->lz4_skip > 0) {
        tx->lz4_skip--;
        return false;
    }
    out = cfs_buf_new(payload.len - payload.len / 8);
    n = LZ4_compress_default((const char *)payload.data, (char *)out.data,
                             (int)payload.len, (int)out.len);
    if (n <= 0) {
        cfs_buf_unref(&out);
        tx->lz4_next = tx->lz4_next ? 2 * tx->lz4_next : 1;
        if (tx->lz4_next > LZ4_SKIP_MAX)
            tx->lz4_next = LZ4_SKIP_MAX;
        tx->lz4_skip = tx->lz4_next;
        return false;
    }
    tx->lz4_next = 0;
    out.len = (uint32_t)n;
    *ret = out;
    return true;
}

void rpc_tx_frame(struct rpc_conn *c, struct rpc_hdr *h, struct cfs_blob body,
                  struct cfs_buf payload)
{
    const bool reply = (h->flags & CFS_RPC_REPLY) != 0;
    struct cfs_buf packed = {0};
    uint8_t *at;

    assert(c->state == RPC_UP);
    assert(body.len <= CFS_RPC_BODY_MAX && payload.len <= CFS_RPC_PAYLOAD_MAX);
    h->body_len = body.len;
    h->raw_len = payload.len;
    if (compress(c, payload, &packed)) {
        h->flags |= CFS_RPC_LZ4;
        payload = packed;
    }
    h->payload_len = payload.len;

    if (c->tx.head == c->tx.n)
        c->tx.moved = cfs_now(c->loop);
    at = chunk_add(&c->tx, CFS_RPC_HDR + body.len, reply);
    rpc_hdr_pack(h, at);
    if (body.len > 0)
        memcpy(at + CFS_RPC_HDR, body.p, body.len);
    if (payload.len > 0)
        payload_add(&c->tx, payload, reply);
    cfs_buf_unref(&packed);
    if (reply)
        c->tx.replies += CFS_RPC_HDR + body.len + payload.len;
    if (!c->tx.blocked)
        cfs_hook_ask(c->loop, &c->flush);
}

/* -- to the socket -------------------------------------------------------- */

/* @n bytes are out. */
static void sent(struct rpc_tx *tx, size_t n)
{
    while (n > 0) {
        struct rpc_seg *s = &tx->seg[tx->head];
        const uint32_t part = n < s->buf.len ? (uint32_t)n : s->buf.len;

        if (s->reply)
            tx->replies -= part;
        s->buf.data += part;
        s->buf.len -= part;
        n -= part;
        if (s->buf.len == 0) {
            cfs_buf_unref(&s->buf);
            tx->head++;
        }
    }
    if (tx->head == tx->n) {
        tx->head = tx->n = 0;
        if (tx->chunk.mem != NULL && tx->chunk.mem->refs == 1)
            tx->used = 0;
    }
}

/* One sendmsg. Bytes taken, or -errno. */
static ssize_t send_some(struct rpc_conn *c, struct cfs_err *why)
{
    const struct rpc_tx *tx = &c->tx;
    struct iovec iov[IOVS];
    struct msghdr m = {.msg_iov = iov};
    ssize_t n;

    if (c->sec != NULL)
        return rpc_tls_send(c, why);
    for (unsigned i = tx->head; i < tx->n && m.msg_iovlen < IOVS; i++) {
        iov[m.msg_iovlen].iov_base = tx->seg[i].buf.data;
        iov[m.msg_iovlen++].iov_len = tx->seg[i].buf.len;
    }
    do {
        n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? cfs_err_set(why, -errno, "%s", strerror(errno)) : n;
}

void rpc_tx_flush(struct rpc_conn *c)
{
    struct rpc_tx *tx = &c->tx;
    bool moved = false;

    tx->blocked = false;
    while (tx->head < tx->n || rpc_tls_unsent(c)) {
        struct cfs_err why = {0};
        ssize_t n = send_some(c, &why);

        if (n == -EAGAIN) {
            tx->blocked = true;
            break;
        }
        if (n < 0) {
            rpc_conn_fail(c, (int)n, "cannot send: %s", why.text);
            return;
        }
        sent(tx, (size_t)n);
        moved = true;
    }
    if (moved)
        tx->moved = cfs_now(c->loop);
    rpc_conn_poll(c);
    rpc_relieve(c);
}

void rpc_tx_drop(struct rpc_conn *c)
{
    struct rpc_tx *tx = &c->tx;

    for (unsigned i = tx->head; i < tx->n; i++)
        cfs_buf_unref(&tx->seg[i].buf);
    cfs_buf_unref(&tx->chunk);
    free(tx->seg);
    *tx = (struct rpc_tx){0};
}
