/* SPDX-License-Identifier: Apache-2.0 */
/* rec_repl.c - values of the records of replication: who changed what, which
 * views and sessions there are, what was answered; see rec.h.
 */
#include "core/dirent.h"
#include "xlators/storage/block/rec_impl.h"

uint32_t rec_dirty_pack(const struct rec_dirty *d,
                        uint8_t ret[static REC_DIRTY_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_u32(&w, d->session);
    wr_version(&w, d->clean);
    return wrote(&w, ret);
}

int rec_dirty_unpack(struct cfs_blob v, struct rec_dirty *ret)
{
    struct rd r = open_value(v);
    struct rec_dirty d;

    d.session = rd_u32(&r);
    d.clean = rd_version(&r);
    if (!rd_done(&r) || d.session == 0)
        return -CFS_E_CORRUPT;
    *ret = d;
    return 0;
}

uint32_t rec_tomb_pack(struct cfs_version v, uint8_t ret[static REC_TOMB_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_version(&w, v);
    return wrote(&w, ret);
}

int rec_tomb_unpack(struct cfs_blob v, struct cfs_version *ret)
{
    struct rd r = open_value(v);
    struct cfs_version version = rd_version(&r);

    if (!rd_done(&r))
        return -CFS_E_CORRUPT;
    *ret = version;
    return 0;
}

uint32_t rec_orphan_pack(uint32_t session, uint8_t ret[static REC_ORPHAN_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_u32(&w, session);
    return wrote(&w, ret);
}

int rec_orphan_unpack(struct cfs_blob v, uint32_t *ret_session)
{
    struct rd r = open_value(v);
    uint32_t session = rd_u32(&r);

    if (!rd_done(&r))
        return -CFS_E_CORRUPT;
    *ret_session = session;
    return 0;
}

/* -- views and sessions --------------------------------------------------- */

uint32_t rec_view_pack(const struct cfs_view *v,
                       uint8_t ret[static REC_VIEW_MAX])
{
    const uint32_t n = v->n_sync + v->n_syncing;
    struct wr w = {ret};

    assert(n <= CFS_SET_MAX);
    wr_u8(&w, REC_FMT);
    wr_bytes(&w, v->set.b, sizeof v->set.b);
    wr_u64(&w, v->lineage);
    wr_u64(&w, v->epoch);
    wr_bytes(&w, v->id.b, sizeof v->id.b);
    wr_u8(&w, (uint8_t)v->n_sync);
    wr_u8(&w, (uint8_t)v->n_syncing);
    for (uint32_t i = 0; i < n; i++) {
        wr_bytes(&w, v->m[i].brick.b, sizeof v->m[i].brick.b);
        wr_u64(&w, v->m[i].incarnation);
    }
    return wrote(&w, ret);
}

int rec_view_unpack(struct cfs_blob b, struct cfs_view *ret)
{
    struct rd r = open_value(b);
    struct cfs_view v = {0};

    rd_bytes(&r, v.set.b, sizeof v.set.b);
    v.lineage = rd_u64(&r);
    v.epoch = rd_u64(&r);
    rd_bytes(&r, v.id.b, sizeof v.id.b);
    v.n_sync = rd_u8(&r);
    v.n_syncing = rd_u8(&r);
    if (r.bad || v.n_sync + v.n_syncing > CFS_SET_MAX)
        return -CFS_E_CORRUPT;
    for (uint32_t i = 0; i < v.n_sync + v.n_syncing; i++) {
        rd_bytes(&r, v.m[i].brick.b, sizeof v.m[i].brick.b);
        v.m[i].incarnation = rd_u64(&r);
    }
    if (!rd_done(&r))
        return -CFS_E_CORRUPT;
    *ret = v;
    return 0;
}

static void put_text(struct wr *w, const char *s, size_t size)
{
    size_t len = strnlen(s, size - 1);

    wr_u16(w, (uint16_t)len);
    wr_bytes(w, s, len);
}

/* A text of at most @size - 1 bytes without NUL, into @ret of @size. */
static void get_text(struct rd *r, char *ret, size_t size)
{
    uint16_t len = rd_u16(r);

    if (len >= size)
        r->bad = true;
    if (r->bad)
        return;
    memset(ret, 0, size);
    rd_bytes(r, ret, len);
    if (strlen(ret) != len)
        r->bad = true;
}

uint32_t rec_session_pack(const struct rec_session *s,
                          uint8_t ret[static REC_SESSION_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_u8(&w, (uint8_t)s->s.state);
    wr_u32(&w, s->s.pid);
    wr_u32(&w, s->s.dead_ms);
    wr_u64(&w, s->s.pid_start);
    wr_bytes(&w, s->s.boot.b, sizeof s->s.boot.b);
    wr_u64(&w, s->acked);
    put_text(&w, s->s.node, sizeof s->s.node);
    put_text(&w, s->s.service, sizeof s->s.service);
    put_text(&w, s->s.where, sizeof s->s.where);
    if (s->s.owner[0] != '\0')
        put_text(&w, s->s.owner, sizeof s->s.owner);
    assert(w.at <= ret + REC_SESSION_MAX);
    return wrote(&w, ret);
}

int rec_session_unpack(struct cfs_blob v, uint32_t no, struct rec_session *ret)
{
    struct rd r = open_value(v);
    struct rec_session s = {0};

    s.s.no = no;
    s.s.state = rd_u8(&r);
    s.s.pid = rd_u32(&r);
    s.s.dead_ms = rd_u32(&r);
    s.s.pid_start = rd_u64(&r);
    rd_bytes(&r, s.s.boot.b, sizeof s.s.boot.b);
    s.acked = rd_u64(&r);
    get_text(&r, s.s.node, sizeof s.s.node);
    get_text(&r, s.s.service, sizeof s.s.service);
    get_text(&r, s.s.where, sizeof s.s.where);
    if (!r.bad && rd_left(&r) > 0) /* else of before there were owners */
        get_text(&r, s.s.owner, sizeof s.s.owner);
    if (!rd_done(&r) || s.s.state > SESSION_GIVEN)
        return -CFS_E_CORRUPT;
    *ret = s;
    return 0;
}

/* -- answers -------------------------------------------------------------- */

uint32_t rec_answer_pack(const struct rec_answer *a,
                         uint8_t ret[static REC_ANSWER_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_u8(&w, (uint8_t)a->fop);
    wr_u32(&w, (uint32_t)a->status);
    wr_u64(&w, a->pos);
    wr_u32(&w, a->copied);
    wr_u8(&w, (uint8_t)a->n);
    for (unsigned i = 0; i < a->n; i++) {
        bool there = !cfs_gfid_is_null(a->attr[i].gfid);

        if (there)
            cfs_attr_pack(&a->attr[i], w.at);
        else
            memset(w.at, 0, CFS_ATTR_PACKED);
        w.at += CFS_ATTR_PACKED;
    }
    assert(w.at <= ret + REC_ANSWER_MAX);
    return wrote(&w, ret);
}

int rec_answer_unpack(struct cfs_blob v, struct rec_answer *ret)
{
    static const uint8_t none[CFS_ATTR_PACKED];
    struct rd r = open_value(v);
    struct rec_answer a = {0};

    a.fop = (enum cfs_fop)rd_u8(&r);
    a.status = (int)rd_u32(&r);
    a.pos = rd_u64(&r);
    a.copied = rd_u32(&r);
    a.n = rd_u8(&r);
    if (r.bad || (unsigned)a.fop >= CFS_FOP_N || a.status > 0 ||
        a.n > ANSWER_ATTRS)
        return -CFS_E_CORRUPT;
    for (unsigned i = 0; i < a.n; i++) {
        const uint8_t *p = rd_ptr(&r, CFS_ATTR_PACKED);

        if (!p)
            return -CFS_E_CORRUPT;
        if (memcmp(p, none, sizeof none) != 0 &&
            cfs_attr_unpack(p, &a.attr[i]) < 0)
            return -CFS_E_CORRUPT;
    }
    if (!rd_done(&r))
        return -CFS_E_CORRUPT;
    *ret = a;
    return 0;
}

/* -- the rest ------------------------------------------------------------- */

uint32_t rec_brick_pack(const struct rec_brick *b,
                        uint8_t ret[static REC_BRICK_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_u32(&w, b->session_max);
    wr_u32(&w, b->session_floor);
    wr_u8(&w, (uint8_t)(b->clean | (b->repaired > 0) << 1));
    wr_u64(&w, b->inodes);
    wr_u64(&w, b->dirty);
    wr_u64(&w, b->oplog);
    if (b->repaired > 0)
        wr_u64(&w, b->repaired);
    return wrote(&w, ret);
}

int rec_brick_unpack(struct cfs_blob v, struct rec_brick *ret)
{
    struct rd r = open_value(v);
    struct rec_brick b;
    uint8_t clean;

    b.session_max = rd_u32(&r);
    b.session_floor = rd_u32(&r);
    clean = rd_u8(&r);
    b.inodes = rd_u64(&r);
    b.dirty = rd_u64(&r);
    b.oplog = rd_u64(&r);
    b.repaired = clean >> 1 ? rd_u64(&r) : 0;
    if (!rd_done(&r) || clean > 3 || (clean >> 1 && b.repaired == 0))
        return -CFS_E_CORRUPT;
    b.clean = clean & 1;
    *ret = b;
    return 0;
}

int rec_oplog_unpack(struct cfs_blob v, enum cfs_fop *ret_fop,
                     struct cfs_blob *ret_request)
{
    struct rd r = open_value(v);
    uint8_t fop = rd_u8(&r);

    if (r.bad || fop >= CFS_FOP_N || rd_left(&r) == 0)
        return -CFS_E_CORRUPT;
    *ret_fop = (enum cfs_fop)fop;
    ret_request->len = (uint32_t)rd_left(&r);
    ret_request->p = rd_ptr(&r, ret_request->len);
    return 0;
}
