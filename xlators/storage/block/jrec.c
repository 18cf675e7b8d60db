/* SPDX-License-Identifier: Apache-2.0 */
/* jrec.c - bodies of journal records, as bytes and back; see jrec.h. */
#include "xlators/storage/block/jrec.h"

#include "xlators/storage/block/engine/bytes.h"

#define CHANGE_HEAD (1u + 1u + 1u + 1u + 4u + 4u + 4u + 8u)
#define SEG_BYTES   12u
#define PACKS_HEAD  (1u + 4u)

static size_t packs_size(const struct jrec_change *c)
{
    return c->how & JREC_PACKED ? PACKS_HEAD + c->packs.len : 0;
}

size_t jrec_change_size(const struct jrec_change *c)
{
    return CHANGE_HEAD + c->n_seg * SEG_BYTES + packs_size(c) + c->bytes.len +
           c->request.len;
}

void jrec_change_pack(const struct jrec_change *c, uint8_t *ret)
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_u8(&w, (uint8_t)c->fop);
    wr_u8(&w, c->how);
    wr_u8(&w, c->n_seg);
    wr_u32(&w, c->data_len);
    wr_u32(&w, c->bytes.len);
    wr_u32(&w, c->request.len);
    wr_u64(&w, c->cut);
    for (unsigned i = 0; i < c->n_seg; i++) {
        wr_u64(&w, c->seg[i].block);
        wr_u32(&w, c->seg[i].n);
    }
    if (c->how & JREC_PACKED) {
        wr_u8(&w, c->n_pack);
        wr_u32(&w, c->packs.len);
        wr_bytes(&w, c->packs.p, c->packs.len);
    }
    wr_bytes(&w, c->bytes.p, c->bytes.len);
    wr_bytes(&w, c->request.p, c->request.len);
    assert(w.at == ret + jrec_change_size(c));
}

static void unpack_segs(struct rd *r, struct jrec_change *c)
{
    const uint64_t end = CFS_FILE_MAX / CFS_BLOCK;

    for (unsigned i = 0; i < c->n_seg && !r->bad; i++) {
        c->seg[i].block = rd_u64(r);
        c->seg[i].n = rd_u32(r);
        if (c->seg[i].n == 0 || c->seg[i].block >= end ||
            c->seg[i].n > end - c->seg[i].block)
            r->bad = true;
    }
}

/* -- packs ---------------------------------------------------------------- */

struct rec_pack jrec_pack_rec(const struct jrec_pack *p)
{
    const uint64_t held = ((uint64_t)1 << p->n) - 1;

    return (struct rec_pack){
        .len = p->len,
        .held = (uint32_t)(held << p->block % CHUNK_BLOCKS),
        .sum = p->pack_sum,
    };
}

uint32_t jrec_packs_pack(const struct jrec_pack *v, unsigned n, uint8_t *ret)
{
    struct wr w = {ret};

    for (unsigned i = 0; i < n; i++) {
        wr_u64(&w, v[i].block);
        wr_u8(&w, v[i].n);
        wr_u32(&w, v[i].len);
        wr_u64(&w, v[i].pack_sum);
        for (unsigned k = 0; k < v[i].n; k++)
            wr_u64(&w, v[i].sum[k]);
    }
    return (uint32_t)(w.at - ret);
}

static void rd_pack(struct rd *r, struct jrec_pack *p)
{
    struct rec_pack rec;

    p->block = rd_u64(r);
    p->n = rd_u8(r);
    p->len = rd_u32(r);
    p->pack_sum = rd_u64(r);
    if (p->n == 0 || p->block % CHUNK_BLOCKS + p->n > CHUNK_BLOCKS) {
        r->bad = true;
        return;
    }
    rec = jrec_pack_rec(p);
    if (!rec_pack_valid(&rec))
        r->bad = true;
    for (unsigned k = 0; k < p->n; k++)
        p->sum[k] = rd_u64(r);
}

void jrec_packs_unpack(const struct jrec_change *c, struct jrec_pack *ret)
{
    struct rd r = rd_open(c->packs);

    for (unsigned i = 0; i < c->n_pack; i++)
        rd_pack(&r, &ret[i]);
    assert(rd_done(&r));
}

static void unpack_packs(struct rd *r, struct jrec_change *c)
{
    struct jrec_pack one;
    struct rd in;

    c->n_pack = rd_u8(r);
    c->packs.len = rd_u32(r);
    c->packs.p = rd_ptr(r, c->packs.len);
    if (r->bad || c->n_pack == 0 || c->n_pack > JREC_PACKS) {
        r->bad = true;
        return;
    }
    in = rd_open(c->packs);
    for (unsigned i = 0; i < c->n_pack && !in.bad; i++)
        rd_pack(&in, &one);
    if (!rd_done(&in))
        r->bad = true;
}

int jrec_change_unpack(struct cfs_blob body, struct jrec_change *ret)
{
    struct rd r = rd_open(body);
    struct jrec_change c = {0};

    if (rd_u8(&r) != REC_FMT)
        return -CFS_E_CORRUPT;
    c.fop = (enum cfs_fop)rd_u8(&r);
    c.how = rd_u8(&r);
    c.n_seg = rd_u8(&r);
    c.data_len = rd_u32(&r);
    c.bytes.len = rd_u32(&r);
    c.request.len = rd_u32(&r);
    c.cut = rd_u64(&r);
    if (r.bad || (unsigned)c.fop >= CFS_FOP_N || c.n_seg > JREC_SEGS ||
        (c.how & ~(JREC_INLINE | JREC_MARK | JREC_PACKED)) != 0 ||
        c.data_len > CFS_IO_MAX || c.bytes.len > SMALL_MAX)
        return -CFS_E_CORRUPT;
    unpack_segs(&r, &c);
    if (c.how & JREC_PACKED)
        unpack_packs(&r, &c);
    c.bytes.p = rd_ptr(&r, c.bytes.len);
    c.request.p = rd_ptr(&r, c.request.len);
    if (!rd_done(&r))
        return -CFS_E_CORRUPT;
    *ret = c;
    return 0;
}

uint32_t jrec_own_pack(enum jrec_type type, const struct jrec_own *o,
                       uint8_t ret[static JREC_OWN_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    switch (type) {
    case JREC_GENESIS:
        wr_time(&w, o->now);
        break;
    case JREC_CLEAN:
    case JREC_CHANGE: /* jrec_change_pack() */
        break;
    case JREC_VIEW:
        w.at += rec_view_pack(&o->view, w.at);
        break;
    case JREC_SESSION:
        wr_u32(&w, o->session.s.no);
        w.at += rec_session_pack(&o->session, w.at);
        break;
    case JREC_CLEAR:
        wr_u32(&w, o->session.s.no);
        wr_u64(&w, o->n);
        wr_bytes(&w, o->inodes.p, o->inodes.len);
        break;
    case JREC_PURGE:
        wr_bytes(&w, o->gfid.b, sizeof o->gfid.b);
        wr_version(&w, o->version);
        break;
    case JREC_REMOVE:
        wr_bytes(&w, o->gfid.b, sizeof o->gfid.b);
        wr_u64(&w, o->n);
        wr_u64(&w, o->upto);
        break;
    }
    assert(w.at <= ret + JREC_OWN_MAX);
    return (uint32_t)(w.at - ret);
}

static struct cfs_blob rd_rest(struct rd *r)
{
    uint32_t len = (uint32_t)rd_left(r);

    return (struct cfs_blob){rd_ptr(r, len), len};
}

int jrec_own_unpack(enum jrec_type type, struct cfs_blob body,
                    struct jrec_own *ret)
{
    struct rd r = rd_open(body);
    struct jrec_own o = {0};
    uint32_t no;
    int rc = 0;

    if (rd_u8(&r) != REC_FMT)
        return -CFS_E_CORRUPT;
    switch (type) {
    case JREC_GENESIS:
        o.now = rd_time(&r);
        break;
    case JREC_CLEAN:
        break;
    case JREC_VIEW:
        rc = rec_view_unpack(rd_rest(&r), &o.view);
        break;
    case JREC_SESSION:
        no = rd_u32(&r);
        rc = rec_session_unpack(rd_rest(&r), no, &o.session);
        break;
    case JREC_CLEAR:
        o.session.s.no = rd_u32(&r);
        o.n = rd_u64(&r);
        o.inodes = rd_rest(&r);
        if (o.inodes.len % 32 != 0 ||
            o.inodes.len / 32 > JREC_CLEAR_INODES)
            rc = -CFS_E_CORRUPT;
        break;
    case JREC_PURGE:
        rd_bytes(&r, o.gfid.b, sizeof o.gfid.b);
        o.version = rd_version(&r);
        break;
    case JREC_REMOVE:
        rd_bytes(&r, o.gfid.b, sizeof o.gfid.b);
        o.n = rd_u64(&r);
        o.upto = rd_u64(&r);
        break;
    case JREC_CHANGE:
    default:
        rc = -CFS_E_CORRUPT;
    }
    if (rc < 0 || !rd_done(&r))
        return -CFS_E_CORRUPT;
    *ret = o;
    return 0;
}

struct cfs_touch jrec_inode_at(struct cfs_blob inodes, uint32_t i)
{
    const uint8_t *p = inodes.p;
    struct rd r = {p + 32 * (size_t)i, p + inodes.len, false};
    struct cfs_touch t = {0};

    assert(32 * ((size_t)i + 1) <= inodes.len);
    rd_bytes(&r, t.gfid.b, sizeof t.gfid.b);
    t.expect = rd_version(&r);
    return t;
}
