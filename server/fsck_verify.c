/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_verify.c - the checksums of file data: a batch of blocks is sorted by
 * address, read in runs, and verified. A run that cannot be read is read once
 * more block by block.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

#include "server/fsck_int.h"
#include "xlators/storage/block/pack.h"

static int by_address(const void *a, const void *b)
{
    const struct fsck_block *x = a, *y = b;

    return (x->lba > y->lba) - (x->lba < y->lba);
}

/* Bytes of the file's last block behind its size. */
static bool tail_is_zero(const struct fsck_ino *i, uint64_t block,
                         const uint8_t *data)
{
    if (block != i->size / CFS_BLOCK || i->size % CFS_BLOCK == 0)
        return true;
    for (uint64_t at = i->size % CFS_BLOCK; at < CFS_BLOCK; at++)
        if (data[at] != 0)
            return false;
    return true;
}

/* A block that cannot be had any more: no news where a repair has said so. */
static void bad_block(struct fsck *f, const struct fsck_block *b, int rc)
{
    const struct fsck_ino *i = &f->ino[b->ino];
    const bool known = i->flags & INO_LOST;
    const char *kind = rc < 0 ? "read" : "checksum";

    (known ? fsck_known : fsck_find)(
        f, kind, i->gfid, "block %" PRIu64 " of it, at %" PRIu64 ", %s%s",
        b->block, b->lba, rc < 0 ? "cannot be read: "
                                 : "does not match its checksum",
        rc < 0 ? cfs_err_str(rc) : "");
    if (!known)
        fsck_fix_set(f, i->gfid, SET_FLAG, REC_LOST);
}

/* @right: its checksum is. */
static void check_block(struct fsck *f, const struct fsck_block *b,
                        const uint8_t *data, bool right)
{
    const struct fsck_ino *i = &f->ino[b->ino];

    f->r->verified++;
    if (!right) {
        bad_block(f, b, 0);
    } else if (!tail_is_zero(i, b->block, data)) {
        fsck_find(f, "size", i->gfid,
                  "has bytes other than zero behind its end, in block %"
                  PRIu64, b->block);
        fsck_fix_tail(f, i->gfid, b->block);
    }
}

static void check_run(struct fsck *f, const struct fsck_block *b, unsigned n,
                      uint8_t *buf)
{
    int rc = tool_read(f->loop, f->e, b->lba, n, buf);

    if (rc < 0 && n > 1) {
        for (unsigned i = 0; i < n; i++)
            check_run(f, b + i, 1, buf);
        return;
    }
    if (rc < 0)
        bad_block(f, b, rc);
    for (unsigned i = 0; i < n && rc == 0; i++) {
        const uint8_t *data = buf + (size_t)i * CFS_BLOCK;

        check_block(f, b + i, data,
                    XXH3_64bits(data, CFS_BLOCK) == b[i].sum);
    }
}

/* One that cannot be read, or opened, is bad data in all that is in it. */
static void check_pack(struct fsck *f, const struct fsck_pack *p,
                       uint8_t *plain)
{
    int rc = tool_unpack(f->loop, f->e, &p->c, plain);

    for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
        const struct fsck_block b = {p->c.pack.lba, p->c.sum[i],
                                     p->index * CHUNK_BLOCKS + i, p->ino};
        uint8_t *data = plain + pack_offset(&p->c.pack, i);

        if (!(p->c.packed >> i & 1))
            continue;
        if (rc == 0)
            check_block(f, &b, data, pack_block(&p->c, i, data) == 0);
        else
            bad_block(f, &b, rc == -CFS_E_CHECKSUM ? 0 : rc);
    }
}

static void verify_packs(struct fsck *f)
{
    uint8_t *plain;

    if (f->n_pack == 0)
        return;
    plain = aligned_alloc(CFS_BLOCK, CHUNK_BYTES);
    if (!plain)
        abort();
    for (unsigned i = 0; i < f->n_pack; i++)
        check_pack(f, &f->pack[i], plain);
    free(plain);
    f->n_pack = 0;
}

void fsck_verify(struct fsck *f)
{
    const struct fsck_block *b = f->batch;
    uint8_t *buf;

    verify_packs(f);
    if (f->n_batch == 0)
        return;
    buf = aligned_alloc(CFS_BLOCK, TOOL_RUN * CFS_BLOCK);
    if (!buf)
        abort();
    qsort(f->batch, f->n_batch, sizeof *f->batch, by_address);
    for (unsigned at = 0, n; at < f->n_batch; at += n) {
        for (n = 1; at + n < f->n_batch && n < TOOL_RUN; n++)
            if (b[at + n].lba != b[at].lba + n)
                break;
        check_run(f, b + at, n, buf);
    }
    free(buf);
    f->n_batch = 0;
}
