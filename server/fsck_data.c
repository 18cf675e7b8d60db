/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_data.c - what belongs to inodes: removal marks, bytes in line, chunks,
 * extended attributes; and whether each has what it says.
 */
#include <inttypes.h>
#include <sys/stat.h>

#include "server/fsck_int.h"

/* Whether @at is an inode that may have @what; a finding if not. */
static bool may_have(struct fsck *f, uint32_t at, struct cfs_gfid g,
                     const char *what)
{
    if (at == FSCK_NONE) {
        fsck_find(f, "leftover", g, "has %s, but there is no such inode",
                  what);
        return false;
    }
    return !(f->ino[at].flags & INO_BROKEN);
}

/* -- removal marks -------------------------------------------------------- */

/* The mark at hand begins where the one before it ends. */
static void fix_overlap(struct fsck *f, const struct rec_id *id,
                        uint64_t start)
{
    uint8_t v[REC_REMOVAL_MAX];
    struct rec_key k;

    if (start >= id->n) {
        fsck_fix_this(f);
        return;
    }
    rec_key_gfid_u64(&k, REC_REMOVAL, id->gfid, id->n);
    fsck_fix_put(f, &k, v, rec_removal_pack(start, v));
}

static void mark_each(struct fsck *f, const struct rec_id *id,
                      struct cfs_blob value)
{
    const struct fsck_mark *before = f->n_mark ? &f->mark[f->n_mark - 1]
                                               : NULL;
    uint32_t at = fsck_ino(f, id->gfid);
    uint64_t start;

    if (!fsck_whole(f, rec_removal_unpack(value, &start), id->gfid,
                    "removal"))
        return;
    if (start >= id->n || (id->n > CHUNK_END && id->n != END_XATTRS)) {
        fsck_find(f, "mark", id->gfid,
                  "a removal mark from chunk %" PRIu64 " to %" PRIu64
                  " cannot be", start, id->n);
        fsck_fix_this(f);
    }
    if (before && cfs_gfid_eq(before->gfid, id->gfid) && before->end > start) {
        fsck_find(f, "mark", id->gfid,
                  "two removal marks overlap at chunk %" PRIu64, start);
        fix_overlap(f, id, before->end);
    }
    FSCK_GROW(f->mark, f->n_mark, f->cap_mark);
    f->mark[f->n_mark++] = (struct fsck_mark){id->gfid, start, id->n};

    /* A mark outlives its purged inode. */
    if (at == FSCK_NONE || (f->ino[at].flags & INO_BROKEN))
        return;
    if (S_ISREG(fsck_mode(&f->ino[at])) && id->n != END_XATTRS) {
        f->ino[at].part--;
        return;
    }
    fsck_find(f, "mark", id->gfid,
              "is a %s that exists; it cannot have such a removal mark",
              tool_type(fsck_mode(&f->ino[at])));
    fsck_fix_this(f);
}

void fsck_marks(struct fsck *f)
{
    static const struct fsck_pass pass = {
        .table = REC_REMOVAL,
        .what = "removal marks",
        .each = mark_each,
    };

    fsck_pass(f, &pass);
}

/* The first mark of @g that ends behind chunk @index; NULL. */
static const struct fsck_mark *find_mark(const struct fsck *f,
                                         struct cfs_gfid g, uint64_t index)
{
    size_t lo = 0, hi = f->n_mark;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = cfs_gfid_cmp(f->mark[mid].gfid, g);

        if (c < 0 || (c == 0 && f->mark[mid].end <= index))
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == f->n_mark || !cfs_gfid_eq(f->mark[lo].gfid, g))
        return NULL;
    return &f->mark[lo];
}

bool fsck_marked(const struct fsck *f, struct cfs_gfid g, uint64_t index)
{
    const struct fsck_mark *m = f->n_mark ? find_mark(f, g, index) : NULL;

    return m && m->start <= index;
}

/* -- bytes in line -------------------------------------------------------- */

static void check_target(struct fsck *f, const struct fsck_ino *i,
                         struct cfs_blob v)
{
    const bool zeros = memchr(v.p, 0, v.len) != NULL;

    if (v.len == i->size && !zeros)
        return;
    fsck_find(f, "size", i->gfid,
              "says that its target has %" PRIu64 " bytes; it has %u", i->size,
              v.len);
    if (v.len == 0 || v.len > CFS_SYMLINK_MAX || zeros)
        fsck_fix_forget(f, i->gfid);
    else
        fsck_fix_set(f, i->gfid, SET_SIZE, v.len);
}

static void small_each(struct fsck *f, const struct rec_id *id,
                       struct cfs_blob value)
{
    uint32_t at = fsck_ino(f, id->gfid);
    struct fsck_ino *i;

    if (at == FSCK_NONE)
        fsck_fix_trace(f, id->gfid, TRACE_SMALL, value.len);
    if (!may_have(f, at, id->gfid, "bytes in the tree"))
        return;
    i = &f->ino[at];
    i->flags |= INO_SMALL;
    if (S_ISLNK(fsck_mode(i))) {
        check_target(f, i, value);
        return;
    }
    if (!(i->flags & INO_INLINE)) {
        fsck_find(f, "inline", id->gfid,
                  "has bytes in the tree, and does not say so");
        if (S_ISREG(fsck_mode(i)) && i->count == 0 && i->size > 0 &&
            i->size <= SMALL_MAX)
            fsck_fix_set(f, id->gfid, SET_FLAG, REC_INLINE);
        else
            fsck_fix_this(f);
        return;
    }
    i->count--;
    if (value.len > 0 && value.len <= SMALL_MAX && value.len <= i->size)
        return;
    fsck_find(f, "size", id->gfid,
              "has %u bytes in the tree, and a size of %" PRIu64,
              value.len, i->size);
    if (value.len == 0 || value.len > SMALL_MAX)
        fsck_fix_this(f);
    else
        fsck_fix_set(f, id->gfid, SET_SIZE, value.len);
}

void fsck_small(struct fsck *f)
{
    static const struct fsck_pass pass = {
        .table = REC_SMALL,
        .what = "small files",
        .each = small_each,
    };

    fsck_pass(f, &pass);
}

/* -- chunks --------------------------------------------------------------- */

static bool claim(struct fsck *f, struct cfs_gfid g, uint64_t block,
                  uint64_t lba)
{
    if (fsck_claim(f, lba))
        return true;
    fsck_find(f, "block", g, "block %" PRIu64 " of it is at %" PRIu64
              ", where no data can be", block, lba);
    fsck_fix_unmap(f, g, block);
    return false;
}

/* The blocks of a chunk's pack; one that cannot be is to be lost whole. */
static bool claim_pack(struct fsck *f, const struct rec_id *id,
                       const struct rec_pack *p)
{
    const uint32_t n = rec_pack_blocks(p);
    const uint64_t block = id->n * CHUNK_BLOCKS +
                           (unsigned)__builtin_ctz(p->live);

    if (!eng_packs(f->e)) {
        fsck_find(f, "block", id->gfid, "block %" PRIu64 " of it is "
                  "compressed, in a brick that has no compressed data", block);
        fsck_fix_unmap(f, id->gfid, block);
        return false;
    }
    if (!tool_usable(f->e, p->lba, n)) {
        fsck_find(f, "block", id->gfid, "block %" PRIu64 " of it is "
                  "compressed, at %" PRIu64 ", where no data can be", block,
                  p->lba);
        fsck_fix_unmap(f, id->gfid, block);
        return false;
    }
    for (uint32_t i = 0; i < n; i++)
        fsck_claim(f, p->lba + i);
    return true;
}

/* All blocks of a chunk that is no part of any file any more. */
static void claim_only(struct fsck *f, const struct rec_id *id,
                       const struct rec_chunk *c)
{
    for (unsigned i = 0; i < c->n_pack; i++)
        claim_pack(f, id, &c->pack[i]);
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if ((c->mapped & ~c->packed) >> i & 1)
            claim(f, id->gfid, id->n * CHUNK_BLOCKS + i, c->lba[i]);
}

/* Block @block has data. */
static void check_end(struct fsck *f, const struct fsck_ino *ino,
                      uint64_t block)
{
    if (block * CFS_BLOCK >= ino->size) {
        fsck_find(f, "size", ino->gfid,
                  "has data in block %" PRIu64 ", behind its end (%" PRIu64
                  " bytes)", block, ino->size);
        fsck_fix_set(f, ino->gfid, MIN_SIZE,
                     (int64_t)((block + 1) * CFS_BLOCK));
    }
}

/* A block that is not packed. */
static void check_block(struct fsck *f, uint32_t at, uint64_t block,
                        const struct rec_chunk *c, unsigned i)
{
    const struct fsck_ino *ino = &f->ino[at];

    if (!claim(f, ino->gfid, block, c->lba[i]) || (c->unwritten >> i & 1))
        return;
    check_end(f, ino, block);
    if (f->config->data)
        f->batch[f->n_batch++] = (struct fsck_block){
            .lba = c->lba[i],
            .sum = c->sum[i],
            .block = block,
            .ino = at,
            .end = fsck_end_in(ino->size, block),
        };
}

/* @which: of the chunk's packs. */
static void check_pack(struct fsck *f, uint32_t at, const struct rec_id *id,
                       const struct rec_chunk *c, unsigned which)
{
    const struct rec_pack *p = &c->pack[which];

    if (!claim_pack(f, id, p))
        return;
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if (p->live >> i & 1)
            check_end(f, &f->ino[at], id->n * CHUNK_BLOCKS + i);
    if (f->config->data)
        f->pack[f->n_pack++] = (struct fsck_pack){
            .ino = at,
            .size = f->ino[at].size,
            .index = id->n,
            .c = *c,
            .p = *p,
        };
}

/* Where the file ends at least that has this chunk. */
static uint64_t chunk_end(const struct rec_id *id, const struct rec_chunk *c)
{
    uint32_t written = c->mapped & ~c->unwritten;

    if (id->n >= CHUNK_END || written == 0)
        return 1;
    return id->n * CHUNK_BYTES +
           (32 - (uint64_t)__builtin_clz(written)) * CFS_BLOCK;
}

/* A file in line that has blocks: the one of them goes that its size does not
 * need. */
static void check_both(struct fsck *f, const struct fsck_ino *i)
{
    struct rec_key k;

    fsck_find(f, "inline", i->gfid, "has bytes in the tree, and blocks, too");
    if ((i->flags & INO_SMALL) && i->size <= SMALL_MAX) {
        fsck_fix_this(f);
        return;
    }
    fsck_fix_set(f, i->gfid, CLEAR_FLAG, REC_INLINE);
    rec_key_gfid(&k, REC_SMALL, i->gfid);
    fsck_fix_del(f, &k);
}

static void chunk_each(struct fsck *f, const struct rec_id *id,
                       struct cfs_blob value)
{
    uint32_t at = fsck_ino(f, id->gfid);
    struct rec_chunk c;
    struct fsck_ino *i;

    if (!fsck_whole(f, rec_chunk_unpack(value, &c), id->gfid, "data")) {
        fsck_fix_set(f, id->gfid, SET_FLAG, REC_LOST);
        return;
    }
    if (fsck_marked(f, id->gfid, id->n)) {
        claim_only(f, id, &c);
        return;
    }
    if (at == FSCK_NONE)
        fsck_fix_trace(f, id->gfid, TRACE_CHUNK, chunk_end(id, &c));
    if (!may_have(f, at, id->gfid, "data") ||
        !S_ISREG(fsck_mode(&f->ino[at]))) {
        if (at != FSCK_NONE && !(f->ino[at].flags & INO_BROKEN)) {
            fsck_find(f, "leftover", id->gfid, "is a %s, and has data",
                      tool_type(fsck_mode(&f->ino[at])));
            fsck_fix_this(f);
        }
        claim_only(f, id, &c);
        return;
    }
    i = &f->ino[at];
    if (i->flags & INO_INLINE)
        check_both(f, i);
    if (id->n >= CHUNK_END) {
        fsck_find(f, "size", id->gfid, "has a chunk %" PRIu64
                  ", behind the end of every file", id->n);
        fsck_fix_this(f);
        claim_only(f, id, &c);
        return;
    }
    i->count -= __builtin_popcount(c.mapped);
    for (unsigned n = 0; n < c.n_pack; n++)
        check_pack(f, at, id, &c, n);
    for (unsigned n = 0; n < CHUNK_BLOCKS; n++)
        if ((c.mapped & ~c.packed) >> n & 1)
            check_block(f, at, id->n * CHUNK_BLOCKS + n, &c, n);
}

static bool batch_full(const struct fsck *f)
{
    return f->n_batch + CHUNK_BLOCKS > FSCK_BATCH ||
           f->n_pack + CHUNK_PACKS > FSCK_PACKS;
}

/* As much as pays. */
static void verify(struct fsck *f)
{
    if (batch_full(f))
        fsck_verify(f);
}

void fsck_chunks(struct fsck *f)
{
    static const struct fsck_pass pass = {
        .table = REC_CHUNK,
        .what = "chunks of data",
        .each = chunk_each,
        .full = batch_full,
        .settle = verify,
    };

    f->batch = tool_realloc(NULL, FSCK_BATCH * sizeof *f->batch);
    f->pack = tool_realloc(NULL, FSCK_PACKS * sizeof *f->pack);
    fsck_pass(f, &pass);
    if (f->config->data)
        fsck_verify_end(f);
}

/* -- extended attributes -------------------------------------------------- */

static void xattr_each(struct fsck *f, const struct rec_id *id,
                       struct cfs_blob value)
{
    uint32_t at = fsck_ino(f, id->gfid);

    /* They outlive their purged inode below a mark. */
    if (at == FSCK_NONE && fsck_marked(f, id->gfid, CHUNK_END))
        return;
    if (at == FSCK_NONE)
        fsck_fix_trace(f, id->gfid, TRACE_XATTR, 0);
    if (!may_have(f, at, id->gfid, "an extended attribute"))
        return;
    f->ino[at].n_xattr--;
}

void fsck_xattrs(struct fsck *f)
{
    static const struct fsck_pass pass = {
        .table = REC_XATTR,
        .what = "extended attributes",
        .each = xattr_each,
    };

    fsck_pass(f, &pass);
}

/* -- what each says against what it has ----------------------------------- */

/* @left: what it counts, less what there is. */
static void check_left(struct fsck *f, const struct fsck_ino *i, int64_t left,
                       const char *kind, const char *what,
                       enum fsck_field field)
{
    if (left == 0)
        return;
    fsck_find(f, kind, i->gfid, "counts %" PRId64 " %s %s than it has",
              left > 0 ? left : -left, left > 0 ? "more" : "fewer", what);
    fsck_fix_set(f, i->gfid, field, left);
    /* Some of its blocks were lost, and nobody knows which. */
    if (field == LESS_COUNT && left > 0 && S_ISREG(fsck_mode(i)))
        fsck_fix_set(f, i->gfid, SET_FLAG, REC_LOST);
}

static void check_orphan(struct fsck *f, const struct fsck_ino *i)
{
    struct rec_key k;

    if (i->nlink == 0 && !(i->flags & INO_ORPHAN)) {
        fsck_find(f, "orphan", i->gfid,
                  "has no name, and is not among the orphans");
        if (i->found == 0)
            fsck_fix_link(f, i->gfid);
    }
    if (i->nlink > 0 && (i->flags & INO_ORPHAN)) {
        fsck_find(f, "orphan", i->gfid,
                  "is among the orphans, and has %u links", i->nlink);
        rec_key_gfid(&k, REC_ORPHAN, i->gfid);
        fsck_fix_del(f, &k);
    }
    if (i->dirty != 0 && !(i->flags & INO_DIRTY)) {
        fsck_find(f, "dirty", i->gfid,
                  "was changed by session %u, and is not in the dirty index",
                  i->dirty);
        fsck_fix_set(f, i->gfid, SET_DIRTY, 0);
    }
}

static void check_bytes(struct fsck *f, const struct fsck_ino *i)
{
    const bool link = S_ISLNK(fsck_mode(i));

    if ((i->flags & INO_SMALL) || (!(i->flags & INO_INLINE) && !link))
        return;
    fsck_find(f, "inline", i->gfid, link ? "its target is missing"
                                         : "its bytes are missing");
    if (link) {
        fsck_fix_forget(f, i->gfid);
        return;
    }
    fsck_fix_set(f, i->gfid, CLEAR_FLAG, REC_INLINE);
    fsck_fix_set(f, i->gfid, SET_FLAG, REC_LOST);
}

static void check_file(struct fsck *f, const struct fsck_ino *i)
{
    if (i->nlink != i->found) {
        fsck_find(f, "nlink", i->gfid, "has %u links, and %u names",
                  i->nlink, i->found);
        if (i->found > 0)
            fsck_fix_set(f, i->gfid, SET_NLINK, i->found);
        else
            fsck_fix_link(f, i->gfid);
    }
    check_left(f, i, i->count, "blocks", "blocks", LESS_COUNT);
    check_left(f, i, i->part, "mark", "removal marks", LESS_MARKS);
    check_bytes(f, i);
}

void fsck_counts(struct fsck *f)
{
    for (uint32_t n = 0; n < f->n_ino; n++) {
        const struct fsck_ino *i = &f->ino[n];

        if (i->flags & INO_BROKEN)
            continue;
        check_orphan(f, i);
        if (S_ISDIR(fsck_mode(i)))
            check_left(f, i, i->count, "entries", "entries", LESS_COUNT);
        else
            check_file(f, i);
        check_left(f, i, i->n_xattr, "xattr", "extended attributes",
                   LESS_XATTRS);
    }
}
