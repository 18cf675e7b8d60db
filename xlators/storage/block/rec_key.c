/* SPDX-License-Identifier: Apache-2.0 */
/* rec_key.c - keys of the tree's records, made and taken apart; see rec.h. */
#include "core/dirent.h"
#include "xlators/storage/block/engine/bytes.h"
#include "xlators/storage/block/rec.h"

static void key_u8(struct rec_key *k, uint8_t v)
{
    k->b[k->len++] = v;
}

static void key_bytes(struct rec_key *k, const void *p, size_t len)
{
    assert(k->len + len <= sizeof k->b);
    memcpy(k->b + k->len, p, len);
    k->len = (uint16_t)(k->len + len);
}

static void key_u32(struct rec_key *k, uint32_t v)
{
    v = htobe32(v);
    key_bytes(k, &v, sizeof v);
}

static void key_u64(struct rec_key *k, uint64_t v)
{
    v = htobe64(v);
    key_bytes(k, &v, sizeof v);
}

void rec_key_table(struct rec_key *k, enum rec_table t)
{
    k->len = 0;
    key_u8(k, (uint8_t)t);
}

void rec_key_gfid(struct rec_key *k, enum rec_table t, struct cfs_gfid g)
{
    rec_key_table(k, t);
    key_bytes(k, g.b, sizeof g.b);
}

void rec_key_gfid_u64(struct rec_key *k, enum rec_table t, struct cfs_gfid g,
                      uint64_t n)
{
    rec_key_gfid(k, t, g);
    key_u64(k, n);
}

void rec_key_name(struct rec_key *k, enum rec_table t, struct cfs_gfid g,
                  struct cfs_name name)
{
    assert(name.len <= CFS_NAME_MAX);
    rec_key_gfid(k, t, g);
    key_bytes(k, name.s, name.len);
}

void rec_key_session(struct rec_key *k, uint32_t no)
{
    rec_key_table(k, REC_SESSION);
    key_u32(k, no);
}

void rec_key_change(struct rec_key *k, enum rec_table t, uint32_t session,
                    uint64_t no)
{
    rec_key_table(k, t);
    key_u32(k, session);
    key_u64(k, no);
}

void rec_key_view(struct rec_key *k, uint64_t lineage, uint64_t epoch)
{
    rec_key_table(k, REC_VIEW);
    key_u64(k, lineage);
    key_u64(k, epoch);
}

void rec_key_after(struct rec_key *ret, const struct rec_key *k)
{
    *ret = *k;
    while (ret->len > 0 && ret->b[ret->len - 1] == 0xff)
        ret->len--;
    assert(ret->len > 0); /* a table byte is never 0xff */
    ret->b[ret->len - 1]++;
}

static uint32_t get_be32(struct rd *r)
{
    uint32_t v;

    rd_bytes(r, &v, sizeof v);
    return be32toh(v);
}

static uint64_t get_be64(struct rd *r)
{
    uint64_t v;

    rd_bytes(r, &v, sizeof v);
    return be64toh(v);
}

static bool parse_name(struct rd *r, bool dirent, struct cfs_name *ret)
{
    size_t len = rd_left(r);

    if (r->bad || len == 0 || len > CFS_NAME_MAX)
        return false;
    ret->len = (uint32_t)len;
    ret->s = (const char *)rd_ptr(r, len);
    if (dirent)
        return cfs_name_valid(*ret);
    return !memchr(ret->s, 0, len);
}

int rec_key_parse(struct cfs_blob key, struct rec_id *ret)
{
    struct rd r = rd_open(key);
    struct rec_id id = {.table = (enum rec_table)rd_u8(&r)};
    bool ok = true;

    switch (id.table) {
    case REC_BRICK:
        break;
    case REC_VIEW:
        id.lineage = get_be64(&r);
        id.n = get_be64(&r);
        break;
    case REC_SESSION:
        id.session = get_be32(&r);
        break;
    case REC_ANSWER:
    case REC_OPLOG:
        id.session = get_be32(&r);
        id.n = get_be64(&r);
        break;
    case REC_DIRTY:
    case REC_SMALL:
    case REC_INODE:
    case REC_ORPHAN:
    case REC_TOMB:
        rd_bytes(&r, id.gfid.b, sizeof id.gfid.b);
        break;
    case REC_COOKIE:
    case REC_CHUNK:
    case REC_REMOVAL:
        rd_bytes(&r, id.gfid.b, sizeof id.gfid.b);
        id.n = get_be64(&r);
        break;
    case REC_DIRENT:
    case REC_XATTR:
        rd_bytes(&r, id.gfid.b, sizeof id.gfid.b);
        ok = parse_name(&r, id.table == REC_DIRENT, &id.name);
        break;
    default:
        ok = false;
    }
    if (!ok || !rd_done(&r))
        return -CFS_E_CORRUPT;
    *ret = id;
    return 0;
}
