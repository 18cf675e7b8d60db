/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.h - little-endian fields, written one after the other and read back
 * without ever leaving the bytes that are there.
 *
 * A writer is given enough room (its caller knows the bound). A reader that
 * is asked for more than is left turns bad, returns zeros from then on, and is
 * asked once at its end: rd_done().
 */
#ifndef CFS_BLOCK_BYTES_H
#define CFS_BLOCK_BYTES_H

#include <endian.h>

#include "core/base.h"

struct wr {
    uint8_t *at;
};

static inline void wr_bytes(struct wr *w, const void *p, size_t len)
{
    if (len > 0)
        memcpy(w->at, p, len);
    w->at += len;
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
    *w->at++ = v;
}

static inline void wr_u16(struct wr *w, uint16_t v)
{
    v = htole16(v);
    wr_bytes(w, &v, sizeof v);
}

static inline void wr_u32(struct wr *w, uint32_t v)
{
    v = htole32(v);
    wr_bytes(w, &v, sizeof v);
}

static inline void wr_u48(struct wr *w, uint64_t v)
{
    assert(v >> 48 == 0);
    v = htole64(v);
    wr_bytes(w, &v, 6);
}

static inline void wr_u64(struct wr *w, uint64_t v)
{
    v = htole64(v);
    wr_bytes(w, &v, sizeof v);
}

static inline void wr_version(struct wr *w, struct cfs_version v)
{
    wr_u64(w, v.epoch);
    wr_u64(w, v.seq);
}

static inline void wr_time(struct wr *w, struct cfs_time t)
{
    wr_u64(w, (uint64_t)t.sec);
    wr_u32(w, t.nsec);
}

struct rd {
    const uint8_t *at;
    const uint8_t *end;
    bool           bad;
};

static inline struct rd rd_open(struct cfs_blob b)
{
    const uint8_t *p = b.p;

    return (struct rd){p, p ? p + b.len : p, false};
}

static inline size_t rd_left(const struct rd *r)
{
    return (size_t)(r->end - r->at);
}

/* The next @len bytes where they lie; NULL when there are not so many. */
static inline const uint8_t *rd_ptr(struct rd *r, size_t len)
{
    const uint8_t *p = r->at;

    if (r->bad || rd_left(r) < len) {
        r->bad = true;
        return NULL;
    }
    r->at += len;
    return p;
}

static inline void rd_bytes(struct rd *r, void *ret, size_t len)
{
    const uint8_t *p = rd_ptr(r, len);

    if (p && len > 0)
        memcpy(ret, p, len);
    else
        memset(ret, 0, len);
}

static inline uint8_t rd_u8(struct rd *r)
{
    uint8_t v;

    rd_bytes(r, &v, sizeof v);
    return v;
}

static inline uint16_t rd_u16(struct rd *r)
{
    uint16_t v;

    rd_bytes(r, &v, sizeof v);
    return le16toh(v);
}

static inline uint32_t rd_u32(struct rd *r)
{
    uint32_t v;

    rd_bytes(r, &v, sizeof v);
    return le32toh(v);
}

static inline uint64_t rd_u48(struct rd *r)
{
    uint64_t v = 0;

    rd_bytes(r, &v, 6);
    return le64toh(v);
}

static inline uint64_t rd_u64(struct rd *r)
{
    uint64_t v;

    rd_bytes(r, &v, sizeof v);
    return le64toh(v);
}

static inline struct cfs_version rd_version(struct rd *r)
{
    struct cfs_version v;

    v.epoch = rd_u64(r);
    v.seq = rd_u64(r);
    return v;
}

static inline struct cfs_time rd_time(struct rd *r)
{
    struct cfs_time t;

    t.sec = (int64_t)rd_u64(r);
    t.nsec = rd_u32(r);
    if (t.nsec >= 1000000000u)
        r->bad = true;
    return t;
}

/* Whether all was there, and nothing is left. */
static inline bool rd_done(const struct rd *r)
{
    return !r->bad && r->at == r->end;
}

#endif
