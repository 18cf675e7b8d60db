/* SPDX-License-Identifier: Apache-2.0 */
/* stage.c - the data that a change brings, on its way to the device.
 *
 * What happens, in order: the blocks that the bytes touch are found
 * (stage_blocks), and free ones taken in their place; those of which a part
 * stays are read and verified; the whole is laid together, with a checksum for
 * each block, packed if that is wanted (stage_pack.c), and written; then the
 * operation runs again, and finds the stage ready. No block of a file is ever
 * overwritten. One that was allocated and not written yet is exchanged for
 * another, too: for that the reserve may be used, since as much comes back; so
 * what fallocate promised holds on a full device.
 *
 * A write that follows another of the same file, block upon block, may begin
 * with this before its turn (stage_ahead()): whole blocks need nothing of what
 * is there. It is applied in its turn all the same, or given back. One that is
 * to be packed takes no blocks before its turn, for nobody knows how many: it
 * is only packed; and in its turn the file may have no room for another pack.
 *
 * An overwrite of some blocks of a chunk whose packs keep many that are not in
 * use any more takes all the rest of the chunk with it (stage_widen()): read
 * and verified, with the checksums that it has, and packed as if it had come
 * together.
 *
 * In a replay the stage is what the record says, and ready from the start.
 */
#include "core/xxh3.h"
#include "xlators/storage/block/engine/bytes.h"
#include "xlators/storage/block/ops_impl.h"

/* One block of the staged ones, while it is being worked out. */
struct stage_block {
    uint64_t block;   /* of the file */
    uint64_t old_lba; /* to be read first; 0: nothing to keep */
    uint64_t old_sum;
    struct unpack *old_pack; /* or it is in this one */
};

/* What the file has of the staged blocks. */
struct found {
    uint32_t owned;  /* allocated and not written */
    uint32_t packed;
};

struct stage_io {
    struct eng_io io;
    struct stage *st;
    uint64_t      sum; /* of a block that is read */
};

uint64_t block_sum(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}

struct stage *stage_get(struct op *op)
{
    if (!op->stage) {
        op->stage = cfs_arena_alloc(op->arena, sizeof *op->stage);
        op->stage->op = op;
    }
    if (op->plan)
        op->plan->stage = op->stage;
    return op->stage;
}

void stage_drop(struct op *op)
{
    struct stage *st = op->stage;

    if (!st)
        return;
    assert(st->pending == 0);
    for (unsigned i = 0; i < st->n_fresh; i++)
        eng_unalloc(op->o->e, st->fresh[i]);
    st->n_fresh = 0;
}

void stage_undo(struct op *op)
{
    struct stage *st = op->stage;

    assert(st->ahead);
    stage_drop(op);
    *st = (struct stage){.op = op, .data_len = st->data_len,
                         .unchecked = st->unchecked};
}

/* -- which blocks --------------------------------------------------------- */

/* The blocks of the patches as at most JREC_SEGS ranges, in order, apart. */
static void find_segs(struct stage *st)
{
    st->n_seg = 0;
    for (unsigned i = 0; i < st->n_patch; i++) {
        uint64_t from = st->patch[i].offset / CFS_BLOCK;
        uint64_t end = (st->patch[i].offset + st->patch[i].len +
                        CFS_BLOCK - 1) / CFS_BLOCK;
        struct jrec_seg *last = st->n_seg ? &st->seg[st->n_seg - 1] : NULL;

        /* Patches come in order of their offsets. */
        if (last && from <= last->block + last->n) {
            if (end > last->block + last->n)
                last->n = (uint32_t)(end - last->block);
            continue;
        }
        assert(st->n_seg < JREC_SEGS);
        st->seg[st->n_seg++] = (struct jrec_seg){
            from, (uint32_t)(end - from)};
    }
}

uint32_t stage_blocks_n(const struct stage *st)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < st->n_seg; i++)
        n += st->seg[i].n;
    return n;
}

/* Whether patches cover all bytes of @block that are within @size. */
static bool covered(const struct stage *st, uint64_t block, uint64_t size)
{
    uint64_t at = block * CFS_BLOCK;
    uint64_t end = at + CFS_BLOCK < size ? at + CFS_BLOCK : size;

    for (unsigned i = 0; i < st->n_patch && at < end; i++)
        if (st->patch[i].offset <= at &&
            st->patch[i].offset + st->patch[i].len > at)
            at = st->patch[i].offset + st->patch[i].len;
    return at >= end;
}

static void unpack_done(struct unpack *u, int status);

/* A packed block of which a part stays. */
static void keep_packed(struct stage *st, struct stage_block *b,
                        const struct rec_chunk *chunk, struct unpack **u)
{
    if (!*u)
        *u = unpack_new(st->op->arena, chunk, unpack_done, st);
    b->old_pack = *u;
}

/* Find what is there of each staged block. */
static int find_blocks(struct op *op, const struct plan_ino *ino,
                       struct stage_block *b, struct found *ret)
{
    struct stage *st = op->stage;
    struct rec_chunk chunk = {0};
    struct unpack *u = NULL; /* of the chunk at hand */
    uint64_t have = UINT64_MAX;
    int rc;

    *ret = (struct found){0};
    for (unsigned s = 0; s < st->n_seg; s++) {
        for (uint32_t i = 0; i < st->seg[s].n; i++, b++) {
            unsigned at;

            b->block = st->seg[s].block + i;
            at = (unsigned)(b->block % CHUNK_BLOCKS);
            if (b->block / CHUNK_BLOCKS != have) {
                have = b->block / CHUNK_BLOCKS;
                u = NULL;
                rc = look_chunk(op->o, ino->gfid, &ino->rec, have, &chunk);
                if (rc == -ENOENT)
                    chunk.mapped = chunk.packed = 0;
                else if (rc < 0)
                    return rc;
            }
            if (!(chunk.mapped >> at & 1) && (ino->rec.flags & REC_LOST) &&
                !covered(st, b->block, ino->rec.size))
                return -CFS_E_CHECKSUM; /* the rest of it is not known */
            if (!(chunk.mapped >> at & 1))
                continue;
            ret->packed += chunk.packed >> at & 1;
            if (chunk.unwritten >> at & 1) {
                ret->owned++;
                continue;
            }
            if (covered(st, b->block, ino->rec.size))
                continue;
            b->old_sum = chunk.sum[at];
            if (chunk.packed >> at & 1)
                keep_packed(st, b, &chunk, &u);
            else
                b->old_lba = chunk.lba[at];
        }
    }
    return 0;
}

/* The address behind the block before @block: there the file goes on. */
static int find_goal(struct op *op, const struct plan_ino *ino,
                     uint64_t block, uint64_t *ret)
{
    struct rec_chunk c;
    unsigned at;
    int rc;

    *ret = 0;
    if (block == 0)
        return 0;
    block--;
    rc = look_chunk(op->o, ino->gfid, &ino->rec, block / CHUNK_BLOCKS, &c);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return rc;
    at = (unsigned)(block % CHUNK_BLOCKS);
    if (c.packed >> at & 1) {
        const struct rec_pack *p = rec_chunk_pack_of(&c, at);

        *ret = p->lba + rec_pack_blocks(p);
    } else if (c.mapped >> at & 1) {
        *ret = c.lba[at] + 1;
    }
    return 0;
}

/* Whether more is likely to follow: a long write, or one at the end of a file
 * that has become large. */
#define STREAM_BLOCKS 16u
static bool is_stream(const struct stage_block *b, uint32_t n,
                      const struct rec_inode *ino)
{
    return n >= STREAM_BLOCKS ||
           (b[0].block >= STREAM_BLOCKS &&
            b[0].block >= ino->size / CFS_BLOCK);
}

void stage_add_ext(struct stage *st, uint64_t lba, uint32_t n)
{
    struct eng_ext *last = st->n_ext ? &st->ext[st->n_ext - 1] : NULL;

    if (last && last->lba + last->n == lba) {
        last->n += n;
        return;
    }
    if (st->n_ext == st->cap_ext) {
        struct eng_ext *old = st->ext;

        st->cap_ext = st->cap_ext ? 2 * st->cap_ext : 8;
        st->ext = cfs_arena_alloc(st->op->arena,
                                  st->cap_ext * sizeof *st->ext);
        if (st->n_ext > 0)
            memcpy(st->ext, old, st->n_ext * sizeof *old);
    }
    st->ext[st->n_ext++] = (struct eng_ext){lba, n};
}

/* Free blocks for all @n staged ones. */
static int take_blocks(struct op *op, uint32_t n, uint64_t goal,
                       unsigned flags)
{
    struct stage *st = op->stage;
    unsigned got;
    int rc;

    st->fresh = cfs_arena_alloc(op->arena, n * sizeof *st->fresh);
    rc = eng_alloc(op->o->e, n, goal, flags, st->fresh, n, &got);
    if (rc < 0)
        return rc;
    st->n_fresh = got;
    st->n_ext = 0;
    for (unsigned i = 0; i < got; i++)
        stage_add_ext(st, st->fresh[i].lba, st->fresh[i].n);
    return 0;
}

int stage_reserve(struct op *op, uint32_t n, uint64_t goal)
{
    const unsigned most = 8192; /* extents: the record stays small */
    struct stage *st = stage_get(op);
    struct eng_ext *got, *both;
    unsigned n_got, max = n < most ? n : most;
    int rc;

    got = cfs_arena_alloc(op->arena, max * sizeof *got);
    rc = eng_alloc(op->o->e, n, goal, 0, got, max, &n_got);
    if (rc < 0)
        return rc;
    both = cfs_arena_alloc(op->arena, (st->n_fresh + n_got) * sizeof *both);
    if (st->n_fresh > 0)
        memcpy(both, st->fresh, st->n_fresh * sizeof *both);
    memcpy(both + st->n_fresh, got, n_got * sizeof *both);
    st->fresh = both;
    st->n_fresh += n_got;
    for (unsigned i = 0; i < n_got; i++)
        stage_add_ext(st, got[i].lba, got[i].n);
    return 0;
}

/* -- bytes ---------------------------------------------------------------- */

/* Where @block's bytes are in the buffer; NULL: it is not staged. */
static uint8_t *block_at(struct stage *st, uint64_t block)
{
    uint8_t *p = st->buf.data;

    for (unsigned s = 0; s < st->n_seg; s++) {
        if (block >= st->seg[s].block &&
            block < st->seg[s].block + st->seg[s].n)
            return p + (block - st->seg[s].block) * CFS_BLOCK;
        p += (size_t)st->seg[s].n * CFS_BLOCK;
    }
    return NULL;
}

static void lay_patch(struct stage *st, const struct stage_patch *patch)
{
    uint8_t *to = block_at(st, patch->offset / CFS_BLOCK) +
                  patch->offset % CFS_BLOCK;

    if (patch->data == to || patch->len == 0)
        return; /* the buffer is the sender's own */
    if (patch->data)
        memcpy(to, patch->data, patch->len);
    else
        memset(to, 0, patch->len);
}

/* The sender's checksum of @block, when it is of the whole block. */
static bool sent_sum(const struct stage *st, uint64_t block, uint64_t *ret)
{
    const struct stage_patch *p = &st->patch[st->n_patch - 1];
    uint64_t first = p->offset / CFS_BLOCK, sum;

    if (!p->sums || block * CFS_BLOCK < p->offset ||
        (block + 1) * CFS_BLOCK > p->offset + p->len)
        return false;
    memcpy(&sum, p->sums + (block - first) * sizeof sum, sizeof sum);
    *ret = le64toh(sum);
    return true;
}

/* Of a widened one: whether it stays as it is. */
static bool is_kept(const struct stage *st, uint64_t block)
{
    const struct stage_patch *p = &st->patch[0];

    return st->kept && ((block + 1) * CFS_BLOCK <= p->offset ||
                        block * CFS_BLOCK >= p->offset + p->len);
}

static void make_sums(struct stage *st)
{
    const uint8_t *p = st->buf.data;
    uint32_t n = 0;

    for (unsigned s = 0; s < st->n_seg; s++)
        for (uint32_t i = 0; i < st->seg[s].n; i++, n++, p += CFS_BLOCK)
            if (is_kept(st, st->seg[s].block + i))
                st->sums[n] = st->kept[n];
            else if (!sent_sum(st, st->seg[s].block + i, &st->sums[n]))
                st->sums[n] = block_sum(p, CFS_BLOCK);
    st->n_sums = n;
}

static bool is_aligned(const void *p)
{
    return (uintptr_t)p % CFS_BLOCK == 0;
}

/* A buffer for the blocks: the sender's bytes themselves where they are whole
 * blocks, else zeros. */
static void make_buffer(struct op *op)
{
    struct stage *st = op->stage;
    const struct stage_patch *p = &st->patch[0];
    uint32_t len = stage_blocks_n(st) * CFS_BLOCK;

    if (st->n_patch == 1 && p->data && p->offset % CFS_BLOCK == 0 &&
        p->len == len && is_aligned(p->data)) {
        st->buf = (struct cfs_buf){.data = (uint8_t *)p->data, .len = len};
        return;
    }
    st->buf = cfs_buf_new(len);
    cfs_arena_keep(op->arena, st->buf);
    memset(st->buf.data, 0, len);
}

/* -- input and output ----------------------------------------------------- */

static void io_ended(struct stage *st, int status, void (*next)(struct stage *))
{
    if (status < 0 && st->status == 0)
        st->status = status;
    if (--st->pending == 0)
        next(st);
}

static void written(struct stage *st)
{
    st->ready = true;
    if (st->ahead && !st->squeezed) {
        st->op->o->n_ahead--;
        if (st->awaited)
            op_again(st->op);
        return;
    }
    if (st->status < 0) {
        op_end(st->op, st->status);
        return;
    }
    op_again(st->op);
}

static void write_done(struct eng_io *io)
{
    io_ended(container_of(io, struct stage_io, io)->st, io->status, written);
}

/* .out goes to .ext. */
static void write_laid(struct stage *st)
{
    struct eng *e = st->op->o->e;
    const uint64_t *sums = st->unchecked ? st->sums : NULL;
    uint32_t left = stage_stored(st);
    uint8_t *data = st->out.data;

    st->pending = 1; /* until all are on their way */
    for (unsigned i = 0; left > 0; i++) {
        struct stage_io *io = cfs_arena_alloc(st->op->arena, sizeof *io);

        io->st = st;
        io->io.ext = st->ext[i];
        if (io->io.ext.n > left)
            io->io.ext.n = left;
        io->io.data = data;
        io->io.sums = sums;
        io->io.done = write_done;
        data += (size_t)io->io.ext.n * CFS_BLOCK;
        if (sums)
            sums += io->io.ext.n;
        left -= io->io.ext.n;
        st->pending++;
        eng_data_write(e, &io->io);
    }
    io_ended(st, 0, written);
}

static void packed_ahead(struct stage *st)
{
    st->squeezed = true;
    st->op->o->n_ahead--;
    if (st->awaited)
        op_again(st->op);
}

static void write_out(struct stage *st)
{
    if (st->status < 0 && st->kept) { /* perhaps one that is not needed */
        struct op *op = st->op;

        stage_drop(op);
        *st = (struct stage){.op = op, .data_len = st->data_len,
                             .narrow = true};
        op_again(op);
        return;
    }
    if (st->status < 0) { /* a block could not be read */
        op_end(st->op, st->status);
        return;
    }
    for (unsigned i = 0; i < st->n_patch; i++)
        lay_patch(st, &st->patch[i]);
    make_sums(st);
    st->out = st->buf;
    if (st->unchecked)
        st->n_try = 0; /* the option has come since that was left for later */
    if (st->n_try > 0)
        stage_pack(st, st->ahead ? packed_ahead : write_laid);
    else
        write_laid(st);
}

static void unpack_done(struct unpack *u, int status)
{
    io_ended(u->owner, status, write_out);
}

/* Packed blocks, each pack once. */
static void read_packed(struct stage *st, const struct stage_block *b,
                        uint32_t n)
{
    struct unpack *last = NULL;

    for (uint32_t i = 0; i < n; i++) {
        const unsigned at = (unsigned)(b[i].block % CHUNK_BLOCKS);

        if (!b[i].old_pack)
            continue;
        b[i].old_pack->to[at] = block_at(st, b[i].block);
        if (st->kept) /* as it is with its holes */
            b[i].old_pack->sum[at] = &st->kept[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!b[i].old_pack || b[i].old_pack == last)
            continue;
        last = b[i].old_pack;
        st->pending++;
        unpack_start(st->op->o, last);
    }
}

static void read_done(struct eng_io *io)
{
    io_ended(container_of(io, struct stage_io, io)->st, io->status,
             write_out);
}

static void read_old(struct stage *st, const struct stage_block *b,
                     uint32_t n)
{
    st->pending = 1;
    for (uint32_t i = 0; i < n; i++) {
        struct stage_io *io;

        if (b[i].old_lba == 0)
            continue;
        io = cfs_arena_alloc(st->op->arena, sizeof *io);
        io->st = st;
        io->sum = b[i].old_sum;
        io->io.sums = &io->sum;
        io->io.ext = (struct eng_ext){b[i].old_lba, 1};
        io->io.data = block_at(st, b[i].block);
        io->io.done = read_done;
        st->pending++;
        eng_data_read(st->op->o->e, &io->io);
    }
    read_packed(st, b, n);
    io_ended(st, 0, write_out);
}

/* What was packed ahead gets its blocks: OP_WAIT. 0: they are not to be had in
 * one piece, or a chunk has too many packs; it is as if nothing had been done
 * ahead. */
static int place_packed(struct op *op, const struct plan_ino *ino)
{
    struct stage *st = op->stage;
    uint64_t goal;
    bool takes;
    int rc;

    rc = stage_takes_packs(op, ino, &takes);
    if (rc == 0)
        rc = find_goal(op, ino, st->seg[0].block, &goal);
    if (rc < 0)
        return rc;
    if (!takes) {
        stage_undo(op);
        return 0;
    }
    rc = take_blocks(op, stage_stored(st), goal, ENG_STREAM);
    if (rc == -CFS_E_MISS)
        return rc;
    if (rc < 0 || st->n_ext > 1) {
        stage_undo(op);
        return 0;
    }
    write_laid(st);
    return OP_WAIT;
}

int stage_blocks(struct op *op, const struct plan_ino *ino,
                 const struct stage_patch *patch, unsigned n, unsigned flags)
{
    struct stage *st = stage_get(op);
    struct stage_block *b;
    struct found found;
    uint32_t n_blocks;
    uint64_t goal;
    int wide, rc;

    assert(!st->ready && n > 0 && n <= STAGE_PATCHES);
    if (st->squeezed) {
        rc = place_packed(op, ino);
        if (rc != 0)
            return rc;
    }
    memcpy(st->patch, patch, n * sizeof *patch);
    st->n_patch = n;
    find_segs(st);
    wide = stage_widen(op, ino);
    n_blocks = stage_blocks_n(st);
    b = cfs_arena_alloc(op->arena, n_blocks * sizeof *b);
    rc = wide < 0 ? wide : find_blocks(op, ino, b, &found);
    if (rc == 0)
        rc = stage_may_pack(op, ino);
    if (rc == 0)
        rc = find_goal(op, ino, b[0].block, &goal);
    if (rc == 0) {
        if (found.packed > 0) /* a part of a pack gives nothing back */
            flags &= ~ENG_RESERVE;
        st->flags = found.owned == n_blocks ? ENG_RESERVE : flags;
        rc = take_blocks(op, n_blocks, goal,
                         st->flags | (!wide && is_stream(b, n_blocks,
                                                         &ino->rec)
                                          ? ENG_STREAM : 0));
    }
    if (rc < 0) {
        st->n_seg = 0;
        return rc;
    }
    st->sums = cfs_arena_alloc(op->arena, (st->n_try > 0 ? 2 : 1) * n_blocks *
                                              sizeof *st->sums);
    make_buffer(op);
    if (wide) {
        st->kept = cfs_arena_alloc(op->arena, n_blocks * sizeof *st->kept);
        for (uint32_t i = 0; i < n_blocks; i++)
            st->kept[i] = b[i].old_sum;
    }
    read_old(st, b, n_blocks);
    return OP_WAIT;
}

/* -- ahead ---------------------------------------------------------------- */

/* At once, of all files: the pool has other work, too. */
#define AHEAD_MAX  8u
/* Nothing is staged ahead that takes more than this part of what is free: it
 * could be what somebody whose turn it is needs. */
#define AHEAD_PART 8u

static bool follows(const struct stage_patch *patch,
                    const struct stage *before)
{
    const struct jrec_seg *seg;

    if (before->n_seg == 0)
        return false;
    seg = &before->seg[before->n_seg - 1];
    return seg->block + seg->n == patch->offset / CFS_BLOCK;
}

static bool take_ahead(struct op *op, uint32_t n, const struct stage *before)
{
    const struct eng_ext *ext;
    struct eng_info info;

    if (before->n_ext == 0)
        return false;
    ext = &before->ext[before->n_ext - 1];
    eng_info(op->o->e, &info);
    return info.free >= (uint64_t)n * AHEAD_PART &&
           take_blocks(op, n, ext->lba + ext->n, ENG_STREAM) == 0;
}

bool stage_ahead(struct op *op, const struct stage_patch *patch,
                 const struct stage *before, bool unchecked)
{
    const bool packs = op->o->config.pack && eng_packs(op->o->e);
    uint32_t n = patch->len / CFS_BLOCK;
    struct stage *st;

    if (!follows(patch, before) || op->o->n_ahead == AHEAD_MAX)
        return false;
    st = stage_get(op);
    st->patch[0] = *patch;
    st->n_patch = 1;
    find_segs(st);
    if (packs ? !stage_pack_ahead(st) : !take_ahead(op, n, before)) {
        op->stage = NULL;
        return false;
    }
    st->data_len = patch->len;
    st->unchecked = unchecked;
    st->ahead = true;
    st->sums = cfs_arena_alloc(op->arena, (packs ? 2 : 1) * n *
                                              sizeof *st->sums);
    make_buffer(op);
    op->o->n_ahead++;
    op->o->stat.ahead++;
    write_out(st);
    return true;
}

/* -- into the file -------------------------------------------------------- */

bool stage_next(const struct stage *st, struct stage_cursor *c,
                uint64_t *ret_lba)
{
    if (c->ext == st->n_ext)
        return false;
    *ret_lba = st->ext[c->ext].lba + c->at;
    if (++c->at == st->ext[c->ext].n) {
        c->ext++;
        c->at = 0;
    }
    return true;
}

void stage_reserved(const struct stage *st, struct stage_cursor *ret)
{
    uint64_t lba;

    *ret = (struct stage_cursor){0};
    for (uint32_t n = stage_stored(st); n > 0; n--)
        if (!stage_next(st, ret, &lba))
            return;
}

static int store_bytes(struct plan *p, struct plan_ino *ino)
{
    const struct stage *st = p->stage;
    bool was = ino->rec.flags & REC_INLINE;
    struct rec_key k;

    rec_key_gfid(&k, REC_SMALL, ino->gfid);
    if (st->bytes.len > 0)
        plan_put(p, &k, st->bytes.p, st->bytes.len);
    else if (was)
        plan_del(p, &k);
    ino->rec.flags = st->bytes.len > 0 ? REC_INLINE : 0;
    ino->rec.blocks = st->bytes.len > 0;
    ino->changed = true;
    return 0;
}

/* A file that was in line has blocks from now on; its bytes are staged. */
static void leave_line(struct plan *p, struct plan_ino *ino)
{
    struct rec_key k;

    rec_key_gfid(&k, REC_SMALL, ino->gfid);
    plan_del(p, &k);
    ino->rec.flags &= (uint8_t)~REC_INLINE;
    ino->rec.blocks = 0;
}

static void store_block(struct plan *p, struct plan_ino *ino,
                        struct plan_chunk *c, unsigned at, uint64_t lba,
                        uint64_t sum)
{
    uint32_t bit = 1u << at;

    if (!(c->rec.mapped & bit))
        ino->rec.blocks++;
    else if ((c->rec.packed & bit) || c->rec.lba[at] != lba)
        plan_drop(p, &c->rec, at);
    c->rec.mapped |= bit;
    c->rec.unwritten &= ~bit;
    c->rec.lba[at] = lba;
    c->rec.sum[at] = sum;
    c->changed = true;
}

/* How far the staged blocks have been stored. */
struct stored {
    struct stage_cursor cur;
    uint32_t            sum;
    unsigned            pack;
};

/* Those at @block are packed: how many of the file's; 0: they are not. */
static int store_packed(struct plan *p, struct plan_ino *ino,
                        struct plan_chunk *c, uint64_t block, uint32_t left,
                        struct stored *d)
{
    const struct stage *st = p->stage;
    const struct jrec_pack *pk = &st->pack[d->pack];
    struct rec_pack rec;
    int rc;

    if (d->pack == st->n_pack || pk->block != block)
        return 0;
    rec = jrec_pack_rec(pk);
    if (pk->n > left || rec_pack_blocks(&rec) > st->n_sums - d->sum)
        return -CFS_E_CORRUPT;
    rc = stage_store_pack(p, ino, c, pk, &d->cur);
    d->sum += rec_pack_blocks(&rec);
    d->pack++;
    return rc < 0 ? rc : pk->n;
}

static int store_seg(struct plan *p, struct plan_ino *ino,
                     const struct jrec_seg *seg, struct stored *d)
{
    const struct stage *st = p->stage;
    struct plan_chunk *c = NULL;
    uint64_t lba;
    uint32_t n;
    int rc;

    rc = plan_carve(p, ino, seg->block / CHUNK_BLOCKS,
                    (seg->block + seg->n - 1) / CHUNK_BLOCKS + 1);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < seg->n; i += n) {
        uint64_t block = seg->block + i;

        if (!c || block % CHUNK_BLOCKS == 0) {
            rc = plan_chunk(p, ino, block / CHUNK_BLOCKS, &c);
            if (rc < 0)
                return rc;
        }
        rc = store_packed(p, ino, c, block, seg->n - i, d);
        if (rc < 0)
            return rc;
        n = (uint32_t)rc;
        if (n > 0)
            continue;
        n = 1;
        if (!stage_next(st, &d->cur, &lba) || d->sum == st->n_sums)
            return -CFS_E_CORRUPT;
        store_block(p, ino, c, (unsigned)(block % CHUNK_BLOCKS), lba,
                    st->sums[d->sum++]);
    }
    return 0;
}

int stage_store(struct plan *p, struct plan_ino *ino)
{
    const struct stage *st = p->stage;
    struct stored d = {0};
    int rc;

    if (st->how & JREC_INLINE)
        return store_bytes(p, ino);
    p->flags |= st->flags;
    if (st->n_seg > 0 && (ino->rec.flags & REC_INLINE))
        leave_line(p, ino);
    for (unsigned i = 0; i < st->n_seg; i++) {
        rc = store_seg(p, ino, &st->seg[i], &d);
        if (rc < 0)
            return rc;
    }
    if (d.pack != st->n_pack)
        return -CFS_E_CORRUPT;
    if (st->n_seg > 0)
        ino->changed = true;
    return 0;
}
