/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c - bytes of a file, read and verified against the checksums that
 * are kept with their addresses. Nothing that does not match is given away.
 */
#include "core/xxh3.h"
#include "xlators/storage/block/engine/bytes.h"
#include "xlators/storage/block/ops_impl.h"

/* One run of blocks on its way in. */
struct fetch_io {
    struct eng_io io;
    struct fetch *f;
};

static uint64_t first_block(const struct fetch *f)
{
    return f->offset / CFS_BLOCK;
}

static uint32_t n_blocks(const struct fetch *f)
{
    uint64_t end = (f->offset + f->len + CFS_BLOCK - 1) / CFS_BLOCK;

    return (uint32_t)(end - first_block(f));
}

static void run_done(struct eng_io *io)
{
    struct fetch_io *r = container_of(io, struct fetch_io, io);
    struct fetch *f = r->f;

    if (io->status < 0 && f->status == 0)
        f->status = io->status;
    if (--f->pending == 0)
        f->done(f, f->status);
}

static int fetch_small(struct fetch *f, struct cfs_gfid g)
{
    struct cfs_blob v;
    uint32_t n = 0;
    int rc;

    rc = look_small(f->o, g, &v);
    if (rc < 0)
        return rc;
    f->buf = cfs_buf_new(f->len);
    cfs_arena_keep(f->arena, f->buf);
    f->data = f->buf.data;
    if (f->offset < v.len) {
        n = v.len - (uint32_t)f->offset;
        if (n > f->len)
            n = f->len;
        memcpy(f->data, (const uint8_t *)v.p + f->offset, n);
    }
    memset(f->data + n, 0, f->len - n);
    f->sums = NULL;
    return 1;
}

static void unpacked(struct unpack *u, int status)
{
    struct fetch *f = u->owner;

    if (status < 0 && f->status == 0)
        f->status = status;
    if (--f->pending == 0)
        f->done(f, f->status);
}

/* Where each block lies; 0: zeros, or in a pack. */
static int find_addresses(struct fetch *f, struct cfs_gfid g,
                          const struct rec_inode *ino, uint64_t *lba,
                          struct unpack **pack)
{
    struct unpack *u = NULL; /* of the chunk at hand */
    struct rec_chunk c = {0};
    uint64_t have = UINT64_MAX;
    int rc;

    for (uint32_t i = 0; i < n_blocks(f); i++) {
        uint64_t block = first_block(f) + i;
        unsigned at = (unsigned)(block % CHUNK_BLOCKS);

        if (block / CHUNK_BLOCKS != have) {
            have = block / CHUNK_BLOCKS;
            u = NULL;
            rc = look_chunk(f->o, g, ino, have, &c);
            if (rc == -ENOENT)
                c.mapped = c.unwritten = c.packed = 0;
            else if (rc < 0)
                return rc;
        }
        if (!(c.mapped >> at & 1) && (ino->flags & REC_LOST))
            return -CFS_E_CHECKSUM;
        if ((c.mapped & ~c.unwritten) >> at & 1) {
            lba[i] = c.lba[at];
            f->sums[i] = c.sum[at];
        }
        if (c.packed >> at & 1) {
            if (!u)
                u = unpack_new(f->arena, &c, unpacked, f);
            lba[i] = 0;
            pack[i] = u;
        }
    }
    return 0;
}

static void read_packs(struct fetch *f, struct unpack *const *pack)
{
    const struct unpack *last = NULL;

    for (uint32_t i = 0; i < n_blocks(f); i++) {
        const unsigned at = (unsigned)((first_block(f) + i) % CHUNK_BLOCKS);

        if (!pack[i])
            continue;
        pack[i]->to[at] = f->buf.data + (size_t)i * CFS_BLOCK;
        pack[i]->sum[at] = &f->sums[i];
    }
    for (uint32_t i = 0; i < n_blocks(f); i++) {
        if (!pack[i] || pack[i] == last)
            continue;
        last = pack[i];
        f->pending++;
        unpack_start(f->o, pack[i]);
    }
}

static void read_runs(struct fetch *f, const uint64_t *lba,
                      struct unpack *const *pack)
{
    uint64_t zeros = 0;

    for (uint32_t i = 0, n; i < n_blocks(f); i += n) {
        uint8_t *to = f->buf.data + (size_t)i * CFS_BLOCK;
        struct fetch_io *r;

        n = 1;
        if (pack[i])
            continue;
        if (lba[i] == 0) {
            memset(to, 0, CFS_BLOCK);
            if (zeros == 0)
                zeros = block_sum(to, CFS_BLOCK);
            f->sums[i] = zeros;
            continue;
        }
        while (i + n < n_blocks(f) && lba[i + n] == lba[i] + n)
            n++;
        r = cfs_arena_alloc(f->arena, sizeof *r);
        r->f = f;
        r->io.ext = (struct eng_ext){lba[i], n};
        r->io.data = to;
        r->io.sums = &f->sums[i];
        r->io.done = run_done;
        f->pending++;
        eng_data_read(f->o->e, &r->io);
    }
}

int fetch_begin(struct fetch *f, struct cfs_gfid g,
                const struct rec_inode *ino)
{
    struct unpack **pack;
    uint64_t *lba;
    int rc;

    assert(f->len > 0);
    if (ino->flags & REC_INLINE)
        return fetch_small(f, g);
    lba = cfs_arena_alloc(f->arena, n_blocks(f) * sizeof *lba);
    pack = cfs_arena_alloc(f->arena, n_blocks(f) * sizeof *pack);
    f->sums = cfs_arena_alloc(f->arena, n_blocks(f) * sizeof *f->sums);
    rc = find_addresses(f, g, ino, lba, pack);
    if (rc < 0)
        return rc;
    f->buf = cfs_buf_new(n_blocks(f) * CFS_BLOCK);
    cfs_arena_keep(f->arena, f->buf);
    f->data = f->buf.data + f->offset % CFS_BLOCK;
    f->pending = 1;
    read_runs(f, lba, pack);
    read_packs(f, pack);
    return --f->pending == 0;
}

struct cfs_blob fetch_sums(const struct fetch *f)
{
    uint64_t *sums = cfs_arena_alloc(f->arena, n_blocks(f) * sizeof *sums);
    uint64_t at = f->offset, end = f->offset + f->len;

    for (uint32_t i = 0; i < n_blocks(f); i++) {
        uint64_t next = (at / CFS_BLOCK + 1) * CFS_BLOCK;
        uint64_t upto = next < end ? next : end;

        if (f->sums && upto - at == CFS_BLOCK)
            sums[i] = htole64(f->sums[i]);
        else
            sums[i] = htole64(block_sum(f->data + (at - f->offset),
                                        (size_t)(upto - at)));
        at = upto;
    }
    return (struct cfs_blob){sums, n_blocks(f) * (uint32_t)sizeof *sums};
}
