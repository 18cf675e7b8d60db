/* SPDX-License-Identifier: Apache-2.0 */
/* rec.c - values of the records of files and names, as bytes and back. */
#include <sys/stat.h>

#include "core/dirent.h"
#include "xlators/storage/block/rec_impl.h"

/* -- inodes --------------------------------------------------------------- */

static void pack_by_type(const struct rec_inode *i, struct wr *w)
{
    switch (i->mode & S_IFMT) {
    case S_IFREG:
        wr_u64(w, i->blocks);
        wr_u32(w, i->marks);
        break;
    case S_IFDIR:
        wr_bytes(w, i->parent.b, sizeof i->parent.b);
        wr_u64(w, i->entries);
        break;
    case S_IFCHR:
    case S_IFBLK:
        wr_u64(w, i->rdev);
        break;
    default:
        break;
    }
}

uint32_t rec_inode_pack(const struct rec_inode *i,
                        uint8_t ret[static REC_INODE_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_u8(&w, i->flags);
    wr_u16(&w, i->n_xattr);
    wr_u32(&w, i->mode);
    wr_u32(&w, i->nlink);
    wr_u32(&w, i->uid);
    wr_u32(&w, i->gid);
    wr_u32(&w, i->dirty);
    wr_version(&w, i->version);
    wr_u64(&w, i->size);
    wr_time(&w, i->atime);
    wr_time(&w, i->mtime);
    wr_time(&w, i->ctime);
    wr_time(&w, i->btime);
    pack_by_type(i, &w);
    assert(w.at <= ret + REC_INODE_MAX);
    return wrote(&w, ret);
}

static void unpack_by_type(struct rec_inode *i, struct rd *r)
{
    switch (i->mode & S_IFMT) {
    case S_IFREG:
        i->blocks = rd_u64(r);
        i->marks = rd_u32(r);
        break;
    case S_IFDIR:
        rd_bytes(r, i->parent.b, sizeof i->parent.b);
        i->entries = rd_u64(r);
        break;
    case S_IFCHR:
    case S_IFBLK:
        i->rdev = rd_u64(r);
        break;
    default:
        break;
    }
}

int rec_inode_unpack(struct cfs_blob v, struct rec_inode *ret)
{
    struct rd r = open_value(v);
    struct rec_inode i = {0};

    i.flags = rd_u8(&r);
    i.n_xattr = rd_u16(&r);
    i.mode = rd_u32(&r);
    i.nlink = rd_u32(&r);
    i.uid = rd_u32(&r);
    i.gid = rd_u32(&r);
    i.dirty = rd_u32(&r);
    i.version = rd_version(&r);
    i.size = rd_u64(&r);
    i.atime = rd_time(&r);
    i.mtime = rd_time(&r);
    i.ctime = rd_time(&r);
    i.btime = rd_time(&r);
    unpack_by_type(&i, &r);
    if (!rd_done(&r) || !cfs_type_valid(i.mode & S_IFMT) ||
        (i.mode & ~(uint32_t)(S_IFMT | 07777)) != 0 ||
        (i.flags & ~(REC_INLINE | REC_LOST)) != 0 || i.size > CFS_FILE_MAX ||
        i.n_xattr > XATTR_COUNT)
        return -CFS_E_CORRUPT;
    if (i.flags != 0 && !S_ISREG(i.mode))
        return -CFS_E_CORRUPT;
    *ret = i;
    return 0;
}

void rec_inode_attr(const struct rec_inode *i, struct cfs_gfid gfid,
                    struct cfs_attr *ret)
{
    *ret = (struct cfs_attr){
        .gfid = gfid,
        .version = i->version,
        .mode = i->mode,
        .nlink = i->nlink,
        .uid = i->uid,
        .gid = i->gid,
        .rdev = i->rdev,
        .size = S_ISDIR(i->mode) ? CFS_BLOCK : i->size,
        .blocks = i->blocks * (CFS_BLOCK / 512),
        .atime = i->atime,
        .mtime = i->mtime,
        .ctime = i->ctime,
        .btime = i->btime,
    };
}

/* -- names ---------------------------------------------------------------- */

uint32_t rec_dirent_pack(const struct rec_dirent *d,
                         uint8_t ret[static REC_DIRENT_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_u8(&w, (uint8_t)(d->type >> 12));
    wr_bytes(&w, d->child.b, sizeof d->child.b);
    wr_u64(&w, d->cookie);
    return wrote(&w, ret);
}

int rec_dirent_unpack(struct cfs_blob v, struct rec_dirent *ret)
{
    struct rd r = open_value(v);
    struct rec_dirent d;

    d.type = (uint32_t)rd_u8(&r) << 12;
    rd_bytes(&r, d.child.b, sizeof d.child.b);
    d.cookie = rd_u64(&r);
    if (!rd_done(&r) || !cfs_type_valid(d.type) || d.cookie == 0)
        return -CFS_E_CORRUPT;
    *ret = d;
    return 0;
}

uint32_t rec_cookie_pack(const struct rec_cookie *c,
                         uint8_t ret[static REC_COOKIE_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_u8(&w, (uint8_t)(c->type >> 12));
    wr_bytes(&w, c->child.b, sizeof c->child.b);
    wr_bytes(&w, c->name.s, c->name.len);
    return wrote(&w, ret);
}

int rec_cookie_unpack(struct cfs_blob v, struct rec_cookie *ret)
{
    struct rd r = open_value(v);
    struct rec_cookie c;

    c.type = (uint32_t)rd_u8(&r) << 12;
    rd_bytes(&r, c.child.b, sizeof c.child.b);
    if (r.bad || !cfs_type_valid(c.type) || rd_left(&r) > CFS_NAME_MAX)
        return -CFS_E_CORRUPT;
    c.name.len = (uint32_t)rd_left(&r);
    c.name.s = (const char *)rd_ptr(&r, c.name.len);
    if (!cfs_name_valid(c.name))
        return -CFS_E_CORRUPT;
    *ret = c;
    return 0;
}

/* -- data ----------------------------------------------------------------- */

#define RUN_UNWRITTEN 0x80u

/* How many blocks from @at on lie behind one another, all written or all
 * unwritten. */
static unsigned run_length(const struct rec_chunk *c, unsigned at)
{
    bool unwritten = c->unwritten >> at & 1;
    const uint32_t plain = c->mapped & ~c->packed;
    unsigned n = 1;

    while (at + n < CHUNK_BLOCKS && (plain >> (at + n) & 1) &&
           (c->unwritten >> (at + n) & 1) == unwritten &&
           c->lba[at + n] == c->lba[at] + n)
        n++;
    return n;
}

bool rec_pack_valid(const struct rec_pack *p)
{
    return p->len > 0 && p->lba >> 48 == 0 &&
           rec_pack_blocks(p) < (uint32_t)__builtin_popcount(p->held);
}

static unsigned pack_index(const struct rec_chunk *c, unsigned at)
{
    unsigned i = 0;

    while (i + 1 < c->n_pack && !(c->pack[i].live >> at & 1))
        i++;
    assert(i < c->n_pack && (c->pack[i].live >> at & 1));
    return i;
}

const struct rec_pack *rec_chunk_pack_of(const struct rec_chunk *c,
                                         unsigned at)
{
    return &c->pack[pack_index(c, at)];
}

bool rec_chunk_takes(const struct rec_chunk *c, uint32_t held,
                     uint32_t blocks)
{
    unsigned n = 1;

    for (unsigned i = 0; i < c->n_pack; i++) {
        if ((c->pack[i].live & ~held) == 0)
            continue; /* it goes */
        blocks += rec_pack_blocks(&c->pack[i]);
        n++;
    }
    return n <= CHUNK_PACKS && blocks <= CHUNK_BLOCKS;
}

/* Holes [@from, @upto) of the array become @n others. */
static void put_holes(struct rec_chunk *c, unsigned from, unsigned upto,
                      const struct rec_hole *v, unsigned n)
{
    memmove(&c->hole[from + n], &c->hole[upto],
            (c->n_hole - upto) * sizeof *c->hole);
    if (n > 0)
        memcpy(&c->hole[from], v, n * sizeof *v);
    c->n_hole = (uint8_t)(c->n_hole - (upto - from) + n);
}

static bool is_middle(const struct rec_hole *h)
{
    return h->from > 0 && h->upto < CFS_BLOCK;
}

static unsigned middles(const struct rec_chunk *c)
{
    unsigned n = 0;

    for (unsigned i = 0; i < c->n_hole; i++)
        n += is_middle(&c->hole[i]);
    return n;
}

/* The first hole that is not before byte @from of block @at. */
static unsigned hole_at(const struct rec_chunk *c, unsigned at, uint32_t from)
{
    unsigned i = 0;

    while (i < c->n_hole &&
           (c->hole[i].at < at ||
            (c->hole[i].at == at && c->hole[i].upto < from)))
        i++;
    return i;
}

static struct eng_ext drop_packed(struct rec_chunk *c, unsigned at)
{
    const unsigned i = pack_index(c, at);
    struct rec_pack *p = &c->pack[i];
    struct eng_ext ret = {0};

    put_holes(c, hole_at(c, at, 0), hole_at(c, at + 1, 0), NULL, 0);
    p->live &= ~(1u << at);
    if (p->live != 0)
        return ret;
    ret = (struct eng_ext){p->lba, rec_pack_blocks(p)};
    c->n_pack--;
    memmove(p, p + 1, (c->n_pack - i) * sizeof *p);
    return ret;
}

struct eng_ext rec_chunk_drop(struct rec_chunk *c, unsigned at)
{
    const uint32_t bit = 1u << at;
    struct eng_ext ret = {c->lba[at], 1};

    assert(c->mapped & bit);
    if (c->packed & bit)
        ret = drop_packed(c, at);
    c->mapped &= ~bit;
    c->unwritten &= ~bit;
    c->packed &= ~bit;
    c->cut &= ~bit;
    return ret;
}

bool rec_chunk_cut(struct rec_chunk *c, unsigned at, uint32_t from,
                   uint32_t upto)
{
    const unsigned first = hole_at(c, at, from);
    struct rec_hole h = {(uint8_t)at, (uint16_t)from, (uint16_t)upto};
    unsigned end = first;

    assert((c->packed >> at & 1) && from <= upto && upto <= CFS_BLOCK);
    if (from == upto)
        return true;
    for (; end < c->n_hole && c->hole[end].at == at &&
           c->hole[end].from <= h.upto; end++) { /* they become one */
        if (c->hole[end].from < h.from)
            h.from = c->hole[end].from;
        if (c->hole[end].upto > h.upto)
            h.upto = c->hole[end].upto;
    }
    if (end == first && is_middle(&h) && middles(c) == CHUNK_MIDDLE)
        return false;
    assert(end > first || c->n_hole < CHUNK_HOLES);
    put_holes(c, first, end, &h, 1);
    c->cut |= 1u << at;
    return true;
}

static void wr_packs(struct wr *w, const struct rec_chunk *c)
{
    wr_u8(w, c->n_pack);
    for (unsigned i = 0; i < c->n_pack; i++) {
        wr_u48(w, c->pack[i].lba);
        wr_u32(w, c->pack[i].len);
        wr_u64(w, c->pack[i].sum);
        wr_u32(w, c->pack[i].held);
        wr_u32(w, c->pack[i].live);
    }
    wr_u8(w, c->n_hole);
    for (unsigned i = 0; i < c->n_hole; i++) {
        wr_u8(w, c->hole[i].at);
        wr_u16(w, c->hole[i].from);
        wr_u16(w, c->hole[i].upto);
    }
}

static void rd_holes(struct rd *r, struct rec_chunk *c)
{
    const unsigned n = rd_u8(r);

    if (n > CHUNK_HOLES)
        r->bad = true;
    for (unsigned i = 0; i < n && !r->bad; i++) {
        const struct rec_hole *last = i ? &c->hole[i - 1] : NULL;
        struct rec_hole h = {.at = rd_u8(r)};

        h.from = rd_u16(r);
        h.upto = rd_u16(r);
        if (h.at >= CHUNK_BLOCKS || !(c->packed >> h.at & 1) ||
            h.from >= h.upto || h.upto > CFS_BLOCK ||
            (last && (h.at < last->at ||
                      (h.at == last->at && h.from <= last->upto)))) {
            r->bad = true;
            return;
        }
        c->cut |= 1u << h.at;
        c->hole[c->n_hole++] = h;
    }
    if (middles(c) > CHUNK_MIDDLE)
        r->bad = true;
}

/* Behind the runs, which say what is mapped beside them. */
static void rd_packs(struct rd *r, struct rec_chunk *c)
{
    const unsigned n = rd_u8(r);
    uint32_t blocks = 0;

    if (n == 0 || n > CHUNK_PACKS)
        r->bad = true;
    for (unsigned i = 0; i < n && !r->bad; i++) {
        struct rec_pack p = {.lba = rd_u48(r)};

        p.len = rd_u32(r);
        p.sum = rd_u64(r);
        p.held = rd_u32(r);
        p.live = rd_u32(r);
        if (p.live == 0 || (p.live & ~p.held) != 0 ||
            (p.live & c->mapped) != 0 || !rec_pack_valid(&p)) {
            r->bad = true;
            return;
        }
        blocks += rec_pack_blocks(&p);
        c->mapped |= p.live;
        c->packed |= p.live;
        c->pack[c->n_pack++] = p;
    }
    if (blocks > CHUNK_BLOCKS)
        r->bad = true;
    rd_holes(r, c);
}

uint32_t rec_chunk_pack(const struct rec_chunk *c,
                        uint8_t ret[static REC_CHUNK_MAX])
{
    uint8_t *runs;
    struct wr w = {ret};
    unsigned n;

    wr_u8(&w, c->packed ? REC_FMT_PACKED : REC_FMT);
    runs = w.at;
    wr_u8(&w, 0);
    for (unsigned i = 0; i < CHUNK_BLOCKS; i += n) {
        n = 1;
        if (!((c->mapped & ~c->packed) >> i & 1))
            continue;
        n = run_length(c, i);
        wr_u8(&w, (uint8_t)i);
        wr_u8(&w, (uint8_t)(n | (c->unwritten >> i & 1 ? RUN_UNWRITTEN : 0)));
        wr_u48(&w, c->lba[i]);
        ++*runs;
    }
    if (c->packed)
        wr_packs(&w, c);
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if ((c->mapped & ~c->unwritten) >> i & 1)
            wr_u64(&w, c->sum[i]);
    assert(w.at <= ret + REC_CHUNK_MAX);
    return wrote(&w, ret);
}

static void unpack_run(struct rd *r, struct rec_chunk *c, unsigned *at)
{
    unsigned first = rd_u8(r);
    unsigned n = rd_u8(r);
    uint64_t lba = rd_u48(r);
    bool unwritten = n & RUN_UNWRITTEN;

    n &= ~RUN_UNWRITTEN;
    if (r->bad || first < *at || n == 0 || first + n > CHUNK_BLOCKS) {
        r->bad = true;
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        c->mapped |= 1u << (first + i);
        if (unwritten)
            c->unwritten |= 1u << (first + i);
        c->lba[first + i] = lba + i;
    }
    *at = first + n;
}

int rec_chunk_unpack(struct cfs_blob v, struct rec_chunk *ret)
{
    struct rd r = rd_open(v);
    unsigned fmt = rd_u8(&r), n_runs = rd_u8(&r), at = 0;
    struct rec_chunk c = {0};

    if (fmt != REC_FMT && fmt != REC_FMT_PACKED)
        return -CFS_E_CORRUPT;
    for (unsigned i = 0; i < n_runs && !r.bad; i++)
        unpack_run(&r, &c, &at);
    if (fmt == REC_FMT_PACKED)
        rd_packs(&r, &c);
    for (unsigned i = 0; i < CHUNK_BLOCKS && !r.bad; i++)
        if ((c.mapped & ~c.unwritten) >> i & 1)
            c.sum[i] = rd_u64(&r);
    if (!rd_done(&r) || c.mapped == 0)
        return -CFS_E_CORRUPT;
    *ret = c;
    return 0;
}

uint32_t rec_removal_pack(uint64_t start, uint8_t ret[static REC_REMOVAL_MAX])
{
    struct wr w = {ret};

    wr_u8(&w, REC_FMT);
    wr_u64(&w, start);
    return wrote(&w, ret);
}

int rec_removal_unpack(struct cfs_blob v, uint64_t *ret_start)
{
    struct rd r = open_value(v);
    uint64_t start = rd_u64(&r);

    if (!rd_done(&r))
        return -CFS_E_CORRUPT;
    *ret_start = start;
    return 0;
}
