/* SPDX-License-Identifier: Apache-2.0 */
/* op_space.c - truncate, punch, allocate, zero: which blocks a file has.
 *
 * Bytes of a file's last block behind its size are zeros, always; so a file
 * grows without a look at its data, and shrinking writes the block of the new
 * end anew, or, where it is packed, notes where it ends. A file that loses
 * more than CUT_CHUNKS chunks at once gets a mark instead: what is below reads
 * as a hole from then on, and is freed step by step (removal.c).
 */
#include <linux/falloc.h>
#include <sys/stat.h>

#include "xlators/storage/block/ops_impl.h"

#define CUT_CHUNKS 64u

static uint64_t up(uint64_t bytes)
{
    return (bytes + CFS_BLOCK - 1) / CFS_BLOCK;
}

/* -- lists of chunks ------------------------------------------------------ */

static int list_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct chunk_list *l = ctx;
    struct rec_id id;

    if (rec_key_parse(key, &id) < 0)
        return -CFS_E_CORRUPT;
    if (l->n == l->max) {
        l->more = true;
        return 1;
    }
    l->index[l->n++] = id.n;
    return 0;
}

int list_chunks(struct plan *p, struct cfs_gfid g, uint64_t from,
                uint64_t end, unsigned max, struct chunk_list *ret)
{
    struct rec_key lo, hi;
    int rc;

    *ret = (struct chunk_list){
        .index = cfs_arena_alloc(p->arena, max * sizeof *ret->index),
        .max = max,
    };
    rec_key_gfid_u64(&lo, REC_CHUNK, g, from);
    rec_key_gfid_u64(&hi, REC_CHUNK, g, end);
    rc = eng_scan(p->o->e, rec_key_blob(&lo), rec_key_blob(&hi), list_each,
                  ret);
    return rc < 0 ? rc : 0;
}

/* Unmap blocks [@from, @end) chunk by chunk. */
static int unmap_range(struct plan *p, struct plan_ino *ino, uint64_t from,
                       uint64_t end)
{
    while (from < end) {
        uint64_t index = from / CHUNK_BLOCKS;
        uint64_t next = (index + 1) * CHUNK_BLOCKS;
        uint64_t upto = next < end ? next : end;
        struct plan_chunk *c;
        int rc;

        rc = plan_chunk(p, ino, index, &c);
        if (rc < 0)
            return rc;
        plan_unmap(p, ino, c, (unsigned)(from % CHUNK_BLOCKS),
                   (unsigned)(upto - index * CHUNK_BLOCKS));
        from = upto;
    }
    return 0;
}

/* -- truncate ------------------------------------------------------------- */

/* Counts the blocks of whole chunks that a mark will hide, some in each run. */
struct cut {
    uint64_t next; /* chunk */
    uint64_t n;
};

/* How many blocks of @ino lie in chunks from @from on; OP_LATER. */
static int count_blocks(struct op *op, struct plan *p,
                        const struct plan_ino *ino, uint64_t from,
                        uint64_t *ret)
{
    struct cut *cut = op->state;
    struct chunk_list l;
    struct rec_chunk c;
    int rc;

    if (!cut) {
        cut = op->state = cfs_arena_alloc(op->arena, sizeof *cut);
        cut->next = from;
    }
    rc = list_chunks(p, ino->gfid, cut->next, CHUNK_END, CUT_CHUNKS, &l);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < l.n; i++) {
        rc = look_chunk(p->o, ino->gfid, &ino->rec, l.index[i], &c);
        if (rc < 0 && rc != -ENOENT)
            return rc;
        if (rc == 0)
            cut->n += (unsigned)__builtin_popcount(c.mapped);
        cut->next = l.index[i] + 1;
    }
    *ret = cut->n;
    return l.more ? OP_LATER : 0;
}

/* Everything from chunk @from on is below one mark now. */
static int hide(struct plan *p, struct plan_ino *ino, uint64_t from)
{
    uint64_t start = from;
    struct look_mark m;
    struct rec_key k;
    int rc;

    for (uint64_t at = from; ino->rec.marks > 0; at = m.end) {
        rc = look_mark(p->o, ino->gfid, at, &m);
        if (rc == -ENOENT)
            break;
        if (rc < 0)
            return rc;
        if (m.start < start)
            start = m.start;
        rec_key_gfid_u64(&k, REC_REMOVAL, ino->gfid, m.end);
        plan_del(p, &k);
        ino->rec.marks--;
    }
    put_mark(p, ino->gfid, start, CHUNK_END);
    ino->rec.marks++;
    ino->changed = true;
    return 0;
}

/* Drop whole chunks from @from on: at once when they are few. */
static int cut_chunks(struct op *op, struct plan *p, struct plan_ino *ino,
                      uint64_t from)
{
    struct stage *st = stage_get(op);
    struct chunk_list l;
    int rc;

    if (!(st->how & JREC_MARK)) {
        rc = list_chunks(p, ino->gfid, from, CHUNK_END, CUT_CHUNKS, &l);
        if (rc < 0)
            return rc;
        if (!l.more || p->replay) {
            for (unsigned i = 0; i < l.n && rc == 0; i++)
                rc = unmap_range(p, ino, l.index[i] * CHUNK_BLOCKS,
                                 (l.index[i] + 1) * CHUNK_BLOCKS);
            return rc;
        }
    }
    if (!st->cut_known) {
        st->cut = ino->rec.blocks; /* of an emptied file: all */
        rc = from > 0 ? count_blocks(op, p, ino, from, &st->cut) : 0;
        if (rc != 0)
            return rc;
        st->cut_known = true;
        st->how |= JREC_MARK;
    }
    ino->rec.blocks -= st->cut < ino->rec.blocks ? st->cut : ino->rec.blocks;
    return hide(p, ino, from);
}

static int cut_blocks(struct op *op, struct plan *p, struct plan_ino *ino,
                      uint64_t block)
{
    uint64_t whole = (block + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS;
    int rc;

    if (ino->rec.blocks == 0)
        return 0;
    rc = unmap_range(p, ino, block, whole * CHUNK_BLOCKS);
    return rc < 0 ? rc : cut_chunks(op, p, ino, whole);
}

/* Zeros over a part of a block: nothing where it has no data, noted where it
 * is packed and one of its ends goes, else to be staged: @ret. The note is the
 * plan's, so it is taken each time, when the others are staged and in a replay
 * too. */
static int zero_part(struct plan *p, struct plan_ino *ino,
                     const struct stage_patch *z, bool *ret)
{
    const uint64_t block = z->offset / CFS_BLOCK;
    const unsigned at = (unsigned)(block % CHUNK_BLOCKS);
    const uint32_t from = (uint32_t)(z->offset % CFS_BLOCK);
    struct plan_chunk *c;
    int rc;

    *ret = false;
    if (ino->rec.flags & REC_INLINE) {
        *ret = block == 0;
        return 0;
    }
    rc = plan_chunk(p, ino, block / CHUNK_BLOCKS, &c);
    if (rc < 0)
        return rc;
    if ((c->rec.packed >> at & 1) &&
        rec_chunk_cut(&c->rec, at, from, from + z->len))
        c->changed = ino->changed = true;
    else
        *ret = (c->rec.mapped & ~c->rec.unwritten) >> at & 1;
    return 0;
}

/* The bytes in line, at most @keep of them, [@from, @upto) as zeros. */
static int change_line(struct plan *p, struct plan_ino *ino, uint64_t keep,
                       uint64_t from, uint64_t upto)
{
    struct cfs_blob old;
    struct rec_key k;
    uint32_t len;
    uint8_t *v;
    int rc;

    rc = look_small(p->o, ino->gfid, &old);
    if (rc < 0)
        return rc;
    len = old.len < keep ? old.len : (uint32_t)keep;
    rec_key_gfid(&k, REC_SMALL, ino->gfid);
    ino->changed = true;
    if (len == 0) {
        plan_del(p, &k);
        ino->rec.flags &= (uint8_t)~REC_INLINE;
        ino->rec.blocks = 0;
        return 0;
    }
    v = cfs_arena_dup(p->arena, old.p, len);
    if (upto > len)
        upto = len;
    if (from < upto)
        memset(v + from, 0, (size_t)(upto - from));
    plan_put(p, &k, v, len);
    return 0;
}

static int shrink(struct op *op, struct plan *p, struct plan_ino *ino,
                  uint64_t size)
{
    struct stage *st = stage_get(op);
    struct stage_patch tail = {
        .offset = size,
        .len = (uint32_t)(up(size) * CFS_BLOCK - size),
    };
    bool edge = false;
    int rc;

    if (ino->rec.flags & REC_INLINE)
        return change_line(p, ino, size, 0, 0);
    if (tail.len > 0 && size < ino->rec.size) {
        rc = zero_part(p, ino, &tail, &edge);
        if (rc == 0 && edge && !st->ready)
            rc = stage_blocks(op, ino, &tail, 1, ENG_RESERVE);
        if (rc != 0)
            return rc;
    }
    rc = stage_store(p, ino);
    return rc < 0 ? rc : cut_blocks(op, p, ino, up(size));
}

int resize(struct op *op, struct plan *p, struct plan_ino *ino, uint64_t size)
{
    int rc;

    if (S_ISDIR(ino->rec.mode))
        return -EISDIR;
    if (!S_ISREG(ino->rec.mode))
        return -EINVAL;
    if (size > CFS_FILE_MAX)
        return -EFBIG;
    /* Blocks may lie behind the end (FALLOC_FL_KEEP_SIZE); they go, too. */
    if (size <= ino->rec.size) {
        p->flags |= ENG_RESERVE;
        rc = shrink(op, p, ino, size);
        if (rc != 0)
            return rc;
    }
    if (size == 0)
        ino->rec.flags &= (uint8_t)~REC_LOST;
    ino->rec.size = size;
    ino->changed = true;
    return 0;
}

/* -- fallocate ------------------------------------------------------------ */

struct range {
    uint64_t offset;
    uint64_t end;   /* bytes */
    uint64_t first; /* whole blocks in it */
    uint64_t last;
};

/* The whole blocks within the range; at the end of the file a part counts as
 * whole. */
static void find_whole(struct range *g, uint64_t size)
{
    g->first = up(g->offset);
    g->last = g->end >= size ? up(g->end) : g->end / CFS_BLOCK;
    if (g->last < g->first)
        g->last = g->first;
}

/* Zeros for the parts of blocks at both ends; how many are to be staged. */
static int zero_edges(struct plan *p, struct plan_ino *ino,
                      const struct range *g, struct stage_patch *patch)
{
    uint64_t head = g->first * CFS_BLOCK, tail = g->last * CFS_BLOCK;
    bool staged;
    int n = 0, rc;

    if (head > g->end)
        head = g->end;
    if (head > g->offset) {
        patch[n] = (struct stage_patch){
            .offset = g->offset, .len = (uint32_t)(head - g->offset)};
        rc = zero_part(p, ino, &patch[n], &staged);
        if (rc < 0)
            return rc;
        n += staged;
    }
    if (tail >= head && g->end > tail) {
        patch[n] = (struct stage_patch){
            .offset = tail, .len = (uint32_t)(g->end - tail)};
        rc = zero_part(p, ino, &patch[n], &staged);
        if (rc < 0)
            return rc;
        n += staged;
    }
    return n;
}

static int punch(struct op *op, struct plan *p, struct plan_ino *ino,
                 const struct range *g)
{
    struct stage *st = stage_get(op);
    struct stage_patch edge[2];
    int rc;

    p->flags |= ENG_RESERVE;
    if (ino->rec.flags & REC_INLINE)
        return change_line(p, ino, g->first == 0 && g->last > 0 ? 0 : SMALL_MAX,
                           g->offset, g->end);
    rc = zero_edges(p, ino, g, edge);
    if (rc > 0)
        rc = st->ready ? 0 : stage_blocks(op, ino, edge, (unsigned)rc,
                                          ENG_RESERVE);
    if (rc != 0)
        return rc;
    rc = stage_store(p, ino);
    return rc < 0 ? rc : unmap_range(p, ino, g->first, g->last);
}

/* Whether the file needs a new, unwritten block at @at of @c: where it has
 * none, and with @zero where it has data. */
static bool wants_block(const struct plan_chunk *c, unsigned at, bool zero)
{
    if (!(c->rec.mapped >> at & 1))
        return true;
    return zero && !(c->rec.unwritten >> at & 1);
}

static int count_wanted(struct plan *p, struct plan_ino *ino, uint64_t from,
                        uint64_t end, bool zero, uint32_t *ret)
{
    struct plan_chunk *c = NULL;
    uint32_t n = 0;

    for (uint64_t b = from; b < end; b++) {
        if (!c || b % CHUNK_BLOCKS == 0) {
            int rc = plan_chunk(p, ino, b / CHUNK_BLOCKS, &c);

            if (rc < 0)
                return rc;
        }
        n += wants_block(c, (unsigned)(b % CHUNK_BLOCKS), zero);
    }
    *ret = n;
    return 0;
}

static int give_blocks(struct plan *p, struct plan_ino *ino, uint64_t from,
                       uint64_t end, bool zero)
{
    struct plan_chunk *c = NULL;
    struct stage_cursor cur;
    uint64_t lba;

    stage_reserved(p->stage, &cur);
    for (uint64_t b = from; b < end; b++) {
        unsigned at = (unsigned)(b % CHUNK_BLOCKS);

        if (!c || at == 0) {
            int rc = plan_chunk(p, ino, b / CHUNK_BLOCKS, &c);

            if (rc < 0)
                return rc;
        }
        if (!wants_block(c, at, zero))
            continue;
        if (!stage_next(p->stage, &cur, &lba))
            return -CFS_E_CORRUPT; /* only in a replay */
        plan_unmap(p, ino, c, at, at + 1);
        c->rec.mapped |= 1u << at;
        c->rec.unwritten |= 1u << at;
        c->rec.lba[at] = lba;
        c->changed = true;
        ino->rec.blocks++;
    }
    ino->changed = true;
    return 0;
}

/* Data to be written first: what was in line, zeros at the edges. */
static int allocate_stage(struct op *op, struct plan *p,
                          struct plan_ino *ino, const struct range *g,
                          bool zero)
{
    struct stage_patch patch[STAGE_PATCHES];
    const bool ready = stage_get(op)->ready;
    struct cfs_blob old;
    int n = 0, rc;

    if (!ready && (ino->rec.flags & REC_INLINE)) {
        rc = look_small(p->o, ino->gfid, &old);
        if (rc < 0)
            return rc;
        patch[n++] = (struct stage_patch){
            .len = old.len,
            .data = cfs_arena_dup(op->arena, old.p, old.len),
        };
    }
    if (zero) {
        rc = zero_edges(p, ino, g, patch + n);
        if (rc < 0)
            return rc;
        n += rc;
    }
    return n > 0 && !ready ? stage_blocks(op, ino, patch, (unsigned)n, 0) : 0;
}

/* Blocks for the whole range; with @zero none of it keeps its data. */
static int allocate(struct op *op, struct plan *p, struct plan_ino *ino,
                    const struct range *g, bool zero)
{
    struct stage *st = stage_get(op);
    uint64_t from = zero ? g->first : g->offset / CFS_BLOCK;
    uint64_t end = zero ? g->last : up(g->end);
    uint32_t n = 0;
    int rc = 0;

    if (zero && (ino->rec.flags & REC_INLINE) && from == 0 && end > 0)
        rc = change_line(p, ino, 0, 0, 0); /* nothing of it stays */
    if (rc == 0)
        rc = allocate_stage(op, p, ino, g, zero);
    if (rc != 0)
        return rc;
    rc = stage_store(p, ino);
    if (rc == 0 && from < end)
        rc = plan_carve(p, ino, from / CHUNK_BLOCKS,
                        (end - 1) / CHUNK_BLOCKS + 1);
    if (rc == 0)
        rc = count_wanted(p, ino, from, end, zero, &n);
    if (rc < 0)
        return rc;
    if (!st->reserved && n > 0) {
        rc = stage_reserve(op, n, 0);
        if (rc < 0)
            return rc;
        st->reserved = true;
    }
    return give_blocks(p, ino, from, end, zero);
}

int plan_fallocate(struct op *op, struct plan *p)
{
    const struct cfs_fallocate *r = (const struct cfs_fallocate *)op->req;
    const uint32_t keep = r->mode & FALLOC_FL_KEEP_SIZE;
    const uint32_t mode = r->mode & ~(uint32_t)FALLOC_FL_KEEP_SIZE;
    struct range g = {.offset = r->offset, .end = r->offset + r->size};
    struct plan_ino *i;
    int rc;

    if (r->size == 0 || r->size > CFS_FALLOC_STEP ||
        r->offset > CFS_FILE_MAX)
        return -EINVAL;
    if (g.end > CFS_FILE_MAX)
        return -EFBIG;
    if (mode != 0 && mode != FALLOC_FL_ZERO_RANGE &&
        !(mode == FALLOC_FL_PUNCH_HOLE && keep))
        return -EOPNOTSUPP;
    rc = plan_inode(p, r->gfid, &i);
    if (rc < 0)
        return rc;
    if (!S_ISREG(i->rec.mode))
        return S_ISDIR(i->rec.mode) ? -EISDIR : -ENODEV;
    find_whole(&g, i->rec.size);
    if (mode == FALLOC_FL_PUNCH_HOLE)
        rc = punch(op, p, i, &g);
    else
        rc = allocate(op, p, i, &g, mode == FALLOC_FL_ZERO_RANGE);
    if (rc != 0)
        return rc;
    if (!keep && g.end > i->rec.size)
        i->rec.size = g.end;
    plan_stamp(p, i, true);
    p->out[0] = i;
    return 0;
}
