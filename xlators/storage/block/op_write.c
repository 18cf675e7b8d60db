/* SPDX-License-Identifier: Apache-2.0 */
/* op_write.c - write and copy: bytes into a file, in line or in blocks.
 *
 * A file whose bytes fit the bound (ops_config.small_file) keeps them in the
 * tree, and its record in the journal holds them; once it has outgrown that
 * it has blocks, until it is empty again. Either way it counts the same
 * number of blocks.
 */
#include <sys/stat.h>

#include "xlators/storage/block/engine/bytes.h"
#include "xlators/storage/block/ops_impl.h"

#define AHEAD_PACKED (4u * CFS_BLOCK)

static bool fits_in_line(const struct ops *o, const struct rec_inode *i,
                         uint64_t end)
{
    if (!(i->flags & REC_INLINE) && (i->blocks > 0 || (i->flags & REC_LOST)))
        return false;
    return end <= o->config.small_file;
}

/* The old bytes in line with the patches on them. */
static int stage_bytes(struct op *op, const struct plan_ino *ino,
                       const struct stage_patch *patch, unsigned n,
                       uint64_t end)
{
    struct stage *st = stage_get(op);
    struct cfs_blob old = {0};
    uint32_t len = (uint32_t)end;
    uint8_t *bytes;
    int rc;

    if (ino->rec.flags & REC_INLINE) {
        rc = look_small(op->o, ino->gfid, &old);
        if (rc < 0)
            return rc;
    }
    if (old.len > len)
        len = old.len;
    bytes = cfs_arena_alloc(op->arena, len);
    if (old.len > 0)
        memcpy(bytes, old.p, old.len);
    for (unsigned i = 0; i < n; i++) {
        if (patch[i].data)
            memcpy(bytes + patch[i].offset, patch[i].data, patch[i].len);
        else
            memset(bytes + patch[i].offset, 0, patch[i].len);
    }
    st->how |= JREC_INLINE;
    st->bytes = (struct cfs_blob){bytes, len};
    st->ready = true;
    return 0;
}

/* Into blocks; what was in line goes with it. */
static int stage_out(struct op *op, const struct plan_ino *ino,
                     const struct stage_patch *patch, unsigned n)
{
    struct stage_patch all[STAGE_PATCHES];
    struct cfs_blob old;
    unsigned at = 0;
    int rc;

    if (ino->rec.flags & REC_INLINE) {
        rc = look_small(op->o, ino->gfid, &old);
        if (rc < 0)
            return rc;
        all[at++] = (struct stage_patch){
            .len = old.len,
            .data = cfs_arena_dup(op->arena, old.p, old.len),
        };
    }
    assert(at + n <= STAGE_PATCHES);
    memcpy(all + at, patch, n * sizeof *patch);
    return stage_blocks(op, ino, all, at + n, 0);
}

int write_patches(struct op *op, struct plan *p, struct plan_ino *ino,
                  const struct stage_patch *patch, unsigned n, uint64_t end)
{
    struct stage *st = stage_get(op);
    int rc = 0;

    /* What is in line must go with it. */
    if (st->ahead && (ino->rec.flags & REC_INLINE))
        stage_undo(op);
    if (!st->ready) {
        if (fits_in_line(p->o, &ino->rec, end))
            rc = stage_bytes(op, ino, patch, n, end);
        else
            rc = stage_out(op, ino, patch, n);
        if (rc != 0)
            return rc;
    }
    return stage_store(p, ino);
}

/* -- write ---------------------------------------------------------------- */

/* The bytes are those that were sent. */
static int check_sums(const struct cfs_write *r)
{
    const uint8_t *sums = r->sums.p, *data = r->data.data;
    uint64_t at = r->offset, end = r->offset + r->data.len, want;
    uint64_t n = (end + CFS_BLOCK - 1) / CFS_BLOCK - at / CFS_BLOCK;

    if (r->sums.len != n * sizeof want)
        return -EINVAL;
    while (at < end) {
        uint64_t next = (at / CFS_BLOCK + 1) * CFS_BLOCK;
        uint64_t upto = next < end ? next : end;

        memcpy(&want, sums, sizeof want);
        if (block_sum(data, (size_t)(upto - at)) != le64toh(want))
            return -CFS_E_CHECKSUM;
        sums += sizeof want;
        data += upto - at;
        at = upto;
    }
    return 0;
}

/* Whether the thread that writes the data may do that: its checksums are of
 * what is written, block for block, and nothing else needs them before. */
static bool may_check_later(const struct op *op, const struct cfs_write *r)
{
    const struct ops *o = op->o;

    return r->offset % CFS_BLOCK == 0 && r->data.len % CFS_BLOCK == 0 &&
           r->sums.len == r->data.len / CFS_BLOCK * sizeof(uint64_t) &&
           r->data.len >= o->config.ahead_min &&
           r->data.len > o->config.small_file &&
           !(o->config.pack && eng_packs(o->e));
}

/* The bytes are those that were sent, or else nothing comes of @st. */
static int check_once(const struct op *op, struct stage *st)
{
    const struct cfs_write *r = (const struct cfs_write *)op->req;
    int rc;

    if (st->ready || (st->data_len > 0 && !st->unchecked))
        return 0;
    st->unchecked = may_check_later(op, r);
    rc = st->unchecked ? 0 : check_sums(r);
    if (rc == 0)
        st->data_len = r->data.len;
    return rc;
}

/* How long a write must be to be staged ahead. One that is to be packed goes through the
 * pool however short it is. */
static uint32_t ahead_min(const struct ops *o)
{
    const uint32_t min = o->config.ahead_min;

    if (o->config.pack && eng_packs(o->e) && min > AHEAD_PACKED)
        return AHEAD_PACKED;
    return min;
}

bool write_ahead(struct op *op, const struct stage *before)
{
    const struct cfs_write *r = (const struct cfs_write *)op->req;
    struct stage_patch patch = {r->offset, r->data.len, r->data.data,
                                r->sums.p};
    bool later;

    if (r->offset % CFS_BLOCK != 0 || r->data.len % CFS_BLOCK != 0 ||
        r->data.len < ahead_min(op->o) ||
        r->data.len <= op->o->config.small_file ||
        r->data.len > CFS_IO_MAX || r->offset > CFS_FILE_MAX - r->data.len)
        return false;
    if (!admit_ahead(op))
        return false;
    later = may_check_later(op, r);
    if (!later && check_sums(r) < 0)
        return false;
    return stage_ahead(op, &patch, before, later);
}

static int open_file(struct plan *p, struct cfs_gfid g, struct plan_ino **ret)
{
    int rc = plan_inode(p, g, ret);

    if (rc < 0)
        return rc;
    if (S_ISDIR((*ret)->rec.mode))
        return -EISDIR;
    return S_ISREG((*ret)->rec.mode) ? 0 : -EINVAL;
}

/* It has bytes up to @end now. */
static void grew(struct plan *p, struct plan_ino *i, uint64_t end)
{
    if (end > i->rec.size)
        i->rec.size = end;
    plan_stamp(p, i, true);
}

int plan_write(struct op *op, struct plan *p)
{
    const struct cfs_write *r = (const struct cfs_write *)op->req;
    struct stage *st = stage_get(op);
    struct stage_patch patch = {r->offset, r->data.len, r->data.data,
                                r->sums.p};
    struct plan_ino *i;
    int rc;

    if (r->data.len == 0 || r->data.len > CFS_IO_MAX ||
        (r->flags & ~(CFS_WRITE_APPEND | CFS_WRITE_KILL_SUID)) != 0)
        return -EINVAL;
    if (r->offset > CFS_FILE_MAX - r->data.len)
        return -EFBIG;
    rc = open_file(p, r->gfid, &i);
    if (rc < 0)
        return rc;
    if ((r->flags & CFS_WRITE_APPEND) && r->offset != i->rec.size)
        return -EINVAL;
    rc = check_once(op, st);
    if (rc < 0)
        return rc;
    rc = write_patches(op, p, i, &patch, 1, r->offset + r->data.len);
    if (rc != 0)
        return rc;
    grew(p, i, r->offset + r->data.len);
    if (r->flags & CFS_WRITE_KILL_SUID)
        kill_suid(&i->rec);
    p->out[0] = i;
    return 0;
}

/* -- copy ----------------------------------------------------------------- */

static void copy_fetched(struct fetch *f, int status)
{
    struct op *op = f->owner;

    if (status < 0) {
        op_end(op, status);
        return;
    }
    f->pending = 0;
    op_again(op);
}

/* The source's bytes: 0 when they are there. */
static int copy_source(struct op *op, const struct plan_ino *src, uint32_t n)
{
    const struct cfs_copy *r = (const struct cfs_copy *)op->req;
    struct fetch *f = op->state;
    int rc;

    if (f && f->buf.data)
        return 0;
    if (!f)
        f = op->state = cfs_arena_alloc(op->arena, sizeof *f);
    *f = (struct fetch){
        .o = op->o,
        .arena = op->arena,
        .offset = r->src_offset,
        .len = n,
        .done = copy_fetched,
        .owner = op,
    };
    rc = fetch_begin(f, src->gfid, &src->rec);
    if (rc < 0)
        return rc;
    return rc == 1 ? 0 : OP_WAIT;
}

int plan_copy(struct op *op, struct plan *p)
{
    const struct cfs_copy *r = (const struct cfs_copy *)op->req;
    struct stage_patch patch = {.offset = r->offset};
    struct plan_ino *i, *src;
    uint32_t n = r->size;
    int rc;

    if (n == 0 || n > CFS_IO_MAX)
        return -EINVAL;
    if (r->offset > CFS_FILE_MAX - n)
        return -EFBIG;
    rc = open_file(p, r->gfid, &i);
    if (rc == 0)
        rc = open_file(p, r->src, &src);
    if (rc < 0)
        return rc;
    if (r->src_offset >= src->rec.size)
        n = 0;
    else if (n > src->rec.size - r->src_offset)
        n = (uint32_t)(src->rec.size - r->src_offset);
    p->copied = n;
    p->out[0] = i;
    if (n == 0)
        return 0;
    if (!stage_get(op)->ready) {
        rc = copy_source(op, src, n);
        if (rc != 0)
            return rc;
        patch.len = n;
        patch.data = ((struct fetch *)op->state)->data;
    }
    rc = write_patches(op, p, i, &patch, 1, r->offset + n);
    if (rc != 0)
        return rc;
    grew(p, i, r->offset + n);
    return 0;
}
