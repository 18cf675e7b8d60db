/* SPDX-License-Identifier: Apache-2.0 */
/* stage_pack.c - staged data is compressed, where that saves blocks.
 *
 * A run of a chunk is tried when it is long enough, and even if it saved
 * nothing the chunk's packs would take no more blocks than a chunk has: so what
 * is overwritten again and again, and in packs that keep a block each, never
 * takes more than twice its space. Blocks
 * for all of it as it is were taken before (stage.c); what the packs leave
 * over at the end goes back at once. A pack lies in one extent: one that would
 * go beyond its end stays as it is, too, which is seldom but in a store that
 * is nearly full. What is packed ahead of its turn has no blocks before it.
 *
 * In the order of what is stored, with holes in neither: .out, .ext, .sums.
 */
#include "xlators/storage/block/ops_impl.h"
#include "xlators/storage/block/pack.h"

/* A chunk whose packs keep blocks that are written elsewhere meanwhile is made
 * anew when it would take this part more than without any; if there is so much
 * more free than that takes. */
#define WIDEN_PART 4u
#define WIDEN_FREE 8u

uint32_t stage_stored(const struct stage *st)
{
    uint32_t n = stage_blocks_n(st);

    for (unsigned i = 0; i < st->n_pack; i++) {
        const struct rec_pack p = jrec_pack_rec(&st->pack[i]);

        n -= st->pack[i].n - rec_pack_blocks(&p);
    }
    return n;
}

/* -- which runs ----------------------------------------------------------- */

/* Blocks of @seg from @at on that are in one chunk. */
static unsigned run_in_chunk(const struct jrec_seg *seg, uint32_t at)
{
    uint64_t left = CHUNK_BLOCKS - (seg->block + at) % CHUNK_BLOCKS;

    return (unsigned)(left < seg->n - at ? left : seg->n - at);
}

static uint32_t mask_of(uint64_t block, unsigned n)
{
    return (uint32_t)((((uint64_t)1 << n) - 1) << block % CHUNK_BLOCKS);
}

/* Whether the run could have a pack: one for each chunk. */
static int may_have_pack(struct op *op, const struct plan_ino *ino,
                         const struct stage_try *t, bool *ret)
{
    const struct stage *st = op->stage;
    const struct stage_try *last = st->n_try ? &st->try[st->n_try - 1] : NULL;
    struct rec_chunk c;
    int rc;

    *ret = false;
    if (t->n < PACK_BLOCKS_MIN || st->n_try == JREC_PACKS ||
        (last && last->block / CHUNK_BLOCKS == t->block / CHUNK_BLOCKS))
        return 0;
    rc = look_chunk(op->o, ino->gfid, &ino->rec, t->block / CHUNK_BLOCKS, &c);
    if (rc == 0)
        *ret = rec_chunk_takes(&c, mask_of(t->block, t->n), t->n);
    else if (rc == -ENOENT)
        *ret = true;
    return rc == -ENOENT ? 0 : rc;
}

int stage_may_pack(struct op *op, const struct plan_ino *ino)
{
    struct stage *st = op->stage;
    bool may;

    st->n_try = 0;
    if (!op->o->config.pack || !eng_packs(op->o->e))
        return 0;
    for (unsigned s = 0; s < st->n_seg; s++) {
        for (uint32_t at = 0, n; at < st->seg[s].n; at += n) {
            struct stage_try t = {st->seg[s].block + at, 0};
            int rc;

            t.n = n = run_in_chunk(&st->seg[s], at);
            rc = may_have_pack(op, ino, &t, &may);
            if (rc < 0)
                return rc;
            if (may)
                st->try[st->n_try++] = t;
        }
    }
    return 0;
}

/* What the chunk takes of the device when blocks @mask of it are written
 * elsewhere. */
static uint32_t takes_then(const struct rec_chunk *c, uint32_t mask)
{
    uint32_t n = (uint32_t)__builtin_popcount((c->mapped | mask) &
                                              ~(c->packed & ~mask));

    for (unsigned i = 0; i < c->n_pack; i++)
        if (c->pack[i].live & ~mask)
            n += rec_pack_blocks(&c->pack[i]);
    return n;
}

int stage_widen(struct op *op, const struct plan_ino *ino)
{
    struct stage *st = op->stage;
    const uint64_t index = st->seg[0].block / CHUNK_BLOCKS;
    struct jrec_seg wide = {index * CHUNK_BLOCKS, 0};
    struct eng_info info;
    struct rec_chunk c;
    uint32_t mask;
    uint64_t end;
    int rc;

    if (st->narrow || !op->o->config.pack || !eng_packs(op->o->e) ||
        st->n_patch != 1 || !st->patch[0].data ||
        (ino->rec.flags & (REC_INLINE | REC_LOST)) ||
        run_in_chunk(&st->seg[0], 0) != st->seg[0].n)
        return 0;
    rc = look_chunk(op->o, ino->gfid, &ino->rec, index, &c);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    mask = mask_of(st->seg[0].block, st->seg[0].n);
    wide.n = CHUNK_BLOCKS - (uint32_t)__builtin_clz(c.mapped | mask);
    if (c.n_pack == 0 || c.unwritten != 0 ||
        (c.mapped | mask) != mask_of(0, wide.n) ||
        takes_then(&c, mask) <= wide.n + wide.n / WIDEN_PART)
        return 0;
    end = wide.block + wide.n; /* with data behind the file's: a damaged one */
    if (end > st->seg[0].block + st->seg[0].n &&
        (end - 1) * CFS_BLOCK >= ino->rec.size)
        return 0;
    eng_info(op->o->e, &info);
    if (info.free < (uint64_t)wide.n * WIDEN_FREE)
        return 0;
    st->seg[0] = wide;
    op->o->stat.widened++;
    return 1;
}

bool stage_pack_ahead(struct stage *st)
{
    const struct jrec_seg *seg = &st->seg[0];

    assert(st->n_seg == 1 && st->n_try == 0);
    for (uint32_t at = 0, n; at < seg->n && st->n_try < JREC_PACKS; at += n) {
        n = run_in_chunk(seg, at);
        if (n >= PACK_BLOCKS_MIN)
            st->try[st->n_try++] = (struct stage_try){seg->block + at, n};
    }
    return st->n_try > 0;
}

int stage_takes_packs(struct op *op, const struct plan_ino *ino, bool *ret)
{
    const struct stage *st = op->stage;
    struct rec_chunk c;

    *ret = true;
    for (unsigned i = 0; i < st->n_pack && *ret; i++) {
        const struct jrec_pack *p = &st->pack[i];
        int rc = look_chunk(op->o, ino->gfid, &ino->rec,
                            p->block / CHUNK_BLOCKS, &c);

        if (rc == 0)
            *ret = rec_chunk_takes(&c, mask_of(p->block, p->n), p->n);
        else if (rc != -ENOENT)
            return rc;
    }
    return 0;
}

/* -- in the pool ---------------------------------------------------------- */

/* What is laid out: bytes from .buf to .out, their checksums. */
struct layout {
    struct stage   *st;
    const uint8_t  *from;
    const uint64_t *sum;    /* of the blocks at .from */
    uint32_t        stored; /* blocks in .out, checksums */
    uint64_t       *sums;   /* of these */
    unsigned        try;    /* the next to be tried */
};

static uint8_t *out_at(const struct layout *l)
{
    return l->st->out.data + (size_t)l->stored * CFS_BLOCK;
}

/* Blocks left in the extent that the next one goes to; any number when there
 * is none yet. */
static uint32_t room_in_extent(const struct layout *l)
{
    uint32_t at = l->stored, i = 0;

    if (l->st->n_ext == 0)
        return CHUNK_BLOCKS;
    for (; at >= l->st->ext[i].n; i++)
        at -= l->st->ext[i].n;
    return l->st->ext[i].n - at;
}

/* Whether @n blocks from @block on are packed now. */
static bool lay_packed(struct layout *l, uint64_t block, unsigned n)
{
    struct stage *st = l->st;
    struct jrec_pack *pk = &st->pack[st->n_pack];
    struct rec_pack rec;
    uint32_t got;

    if (l->try == st->n_try || st->try[l->try].block != block)
        return false;
    l->try++;
    got = pack_make(l->from, n, room_in_extent(l), out_at(l), &rec);
    if (got == 0)
        return false;
    *pk = (struct jrec_pack){.block = block, .n = (uint8_t)n, .len = rec.len,
                             .pack_sum = rec.sum};
    memcpy(pk->sum, l->sum, n * sizeof *pk->sum);
    for (uint32_t i = 0; i < got; i++, l->stored++)
        l->sums[l->stored] = block_sum(out_at(l), CFS_BLOCK);
    st->n_pack++;
    return true;
}

static void lay_plain(struct layout *l, unsigned n)
{
    memcpy(out_at(l), l->from, (size_t)n * CFS_BLOCK);
    memcpy(l->sums + l->stored, l->sum, n * sizeof *l->sums);
    l->stored += n;
}

static void on_pack_work(struct cfs_job *j)
{
    struct stage *st = container_of(j, struct stage, job);
    struct layout l = {.st = st, .from = st->buf.data, .sum = st->sums,
                       .sums = st->sums + st->n_sums};

    for (unsigned s = 0; s < st->n_seg; s++) {
        for (uint32_t at = 0, n; at < st->seg[s].n; at += n) {
            n = run_in_chunk(&st->seg[s], at);
            if (!lay_packed(&l, st->seg[s].block + at, n))
                lay_plain(&l, n);
            l.from += (size_t)n * CFS_BLOCK;
            l.sum += n;
        }
    }
}

/* -- and after it --------------------------------------------------------- */

/* The blocks behind the first @n that were taken go back. */
static void give_back(struct stage *st, uint32_t n)
{
    struct eng *e = st->op->o->e;
    unsigned kept = 0;

    for (unsigned i = 0; i < st->n_fresh; i++) {
        struct eng_ext *x = &st->fresh[i];
        const uint32_t keep = x->n < n ? x->n : n;

        if (keep < x->n)
            eng_unalloc(e, (struct eng_ext){x->lba + keep, x->n - keep});
        x->n = keep;
        n -= keep;
        kept += keep > 0;
    }
    st->n_fresh = kept;
    st->n_ext = 0;
    for (unsigned i = 0; i < kept; i++)
        stage_add_ext(st, st->fresh[i].lba, st->fresh[i].n);
}

static void on_pack_done(struct cfs_job *j)
{
    struct stage *st = container_of(j, struct stage, job);
    const uint32_t stored = stage_stored(st);
    uint8_t *packs;

    st->pending = 0;
    if (st->n_pack == 0) { /* as it is */
        st->out = st->buf;
        st->packed(st);
        return;
    }
    st->sums += st->n_sums; /* behind those of the file's blocks */
    st->n_sums = stored;
    give_back(st, stored);
    packs = cfs_arena_alloc(st->op->arena, st->n_pack * JREC_PACK_MAX);
    st->packs = (struct cfs_blob){
        packs, jrec_packs_pack(st->pack, st->n_pack, packs)};
    st->how |= JREC_PACKED;
    st->packed(st);
}

void stage_pack(struct stage *st, void (*done)(struct stage *st))
{
    struct cfs_arena *a = st->op->arena;
    const uint32_t n = stage_blocks_n(st);

    assert(st->n_try > 0 && st->n_pack == 0 && st->n_sums == n);
    st->out = cfs_buf_new(n * CFS_BLOCK);
    cfs_arena_keep(a, st->out);
    st->pack = cfs_arena_alloc(a, st->n_try * sizeof *st->pack);
    st->packed = done;
    st->pending = 1;
    cfs_job_run(st->op->o->loop, &st->job, on_pack_work, on_pack_done);
}

/* -- into the file -------------------------------------------------------- */

int stage_store_pack(struct plan *p, struct plan_ino *ino,
                     struct plan_chunk *c, const struct jrec_pack *pk,
                     struct stage_cursor *cur)
{
    const unsigned first = (unsigned)(pk->block % CHUNK_BLOCKS);
    struct rec_pack rec = jrec_pack_rec(pk);
    uint64_t lba;

    for (uint32_t i = 0; i < rec_pack_blocks(&rec); i++) {
        if (!stage_next(p->stage, cur, &lba))
            return -CFS_E_CORRUPT;
        if (i == 0)
            rec.lba = lba;
        else if (lba != rec.lba + i)
            return -CFS_E_CORRUPT;
    }
    for (unsigned at = first; at < first + pk->n; at++) {
        if (c->rec.mapped >> at & 1)
            plan_drop(p, &c->rec, at);
        else
            ino->rec.blocks++;
        c->rec.lba[at] = 0;
        c->rec.sum[at] = pk->sum[at - first];
    }
    if (!rec_chunk_takes(&c->rec, rec.held, rec_pack_blocks(&rec)))
        return -CFS_E_CORRUPT; /* only in a replay */
    rec.live = rec.held;
    c->rec.pack[c->rec.n_pack++] = rec;
    c->rec.packed |= rec.held;
    c->rec.mapped |= rec.held;
    c->changed = true;
    return 0;
}
