/* SPDX-License-Identifier: Apache-2.0 */
/* grow.c - a store becomes as large as its device.
 *
 *   1. at the device's new end, behind the store: the new superblock and the
 *      newest checkpoint record; flush
 *   2. the superblock at the start; flush
 *   3. the spare one; a start sees to it, if this was cut before
 *
 * Until the first block is written the store is the old one, and nothing that
 * it knows of was touched; from then on it is the new one. A torn first block
 * is no superblock, and the one at the end stands in: the new one.
 *
 * The record and the maps below it stay. They say how much of the store they
 * know (super_ckpt_blocks()); a start takes the rest as free, and the next
 * checkpoint says so (space_load()). Journal and heartbeat region keep their
 * size.
 */
#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"

#define GROW_BLOCKS (GROW_MIN / CFS_BLOCK)

bool super_larger(const struct fmt_super *sb, uint64_t blocks,
                  struct fmt_super *ret)
{
    const uint64_t most = sb->grp_lba + GROUPS_MAX * GROUP_BLOCKS +
                          AREA_BLOCKS;
    uint64_t last;

    if (blocks > most)
        blocks = most;
    if (blocks < sb->size + GROW_BLOCKS)
        return false;
    *ret = *sb;
    ret->size = blocks;
    ret->grp_blocks = blocks - AREA_BLOCKS - sb->grp_lba;
    last = ret->grp_blocks % GROUP_BLOCKS;
    if (last < GROUP_MIN)
        ret->grp_blocks -= last;
    ret->compat &= ~(uint64_t)FMT_FIXED;
    ret->sum = super_sum(ret);
    return true;
}

static int write_blocks(struct cfs_dev *dev, uint64_t lba, const void *buf,
                        uint64_t blocks)
{
    struct iovec iov = {(void *)(uintptr_t)buf, blocks * CFS_BLOCK};

    return dev->ops->write(dev, CFS_DEV_DIRECT, lba * CFS_BLOCK, &iov, 1,
                           iov.iov_len);
}

/* Step 1: what @to has in its last blocks. */
static int write_end(struct cfs_dev *dev, const struct fmt_super *to,
                     const uint8_t *slot)
{
    const struct fmt_ckpt *c = (const struct fmt_ckpt *)(const void *)slot;
    uint8_t *area = eng_alloc_aligned(AREA_BLOCKS * CFS_BLOCK);
    uint64_t at = c->seq & 1 ? SLOT_B : SLOT_A;
    int rc;

    memset(area, 0, AREA_BLOCKS * CFS_BLOCK);
    memcpy(area, to, sizeof *to);
    memcpy(area + at * CFS_BLOCK, slot, c->len);
    rc = write_blocks(dev, to->size - AREA_BLOCKS, area, AREA_BLOCKS);
    free(area);
    return rc;
}

int super_grow(struct cfs_dev *dev, const struct fmt_super *sb,
               const struct fmt_super *to, const uint8_t *slot)
{
    struct fmt_super *block = eng_alloc_aligned(sizeof *block);
    int rc;

    assert(to->size >= sb->size + GROW_BLOCKS);
    memcpy(block, to, sizeof *block);
    rc = write_end(dev, to, slot);
    if (rc == 0)
        rc = dev->ops->flush(dev);
    if (rc == 0)
        rc = write_blocks(dev, 0, block, 1);
    if (rc == 0)
        rc = dev->ops->flush(dev);
    if (rc == 0)
        rc = write_blocks(dev, SUPER_SPARE, block, 1);
    if (rc == 0)
        rc = dev->ops->flush(dev);
    free(block);
    return rc;
}

int eng_grow(struct cfs_dev *dev, bool dry, uint64_t *ret_before,
             uint64_t *ret_after, struct cfs_err *err)
{
    struct fmt_super *sb = eng_alloc_aligned(2 * sizeof *sb), *to = sb + 1;
    uint8_t *slot = eng_alloc_aligned(SLOT_BYTES);
    int rc = super_read(dev, dry, sb, err);

    if (rc == 0)
        rc = super_read_ckpt(dev, sb, false, slot, err);
    if (rc == 0 && !super_larger(sb, dev->size / CFS_BLOCK, to))
        *to = *sb;
    if (rc == 0 && to->size != sb->size && !dry) {
        rc = super_grow(dev, sb, to, slot);
        if (rc < 0)
            cfs_err_set(err, rc, "growth: %s", cfs_err_str(rc));
    }
    if (rc == 0) {
        *ret_before = sb->size * CFS_BLOCK;
        *ret_after = to->size * CFS_BLOCK;
    }
    free(slot);
    free(sb);
    return rc;
}
