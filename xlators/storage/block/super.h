/* SPDX-License-Identifier: Apache-2.0 */
/* super.h - superblock and checkpoint records: where everything begins.
 *
 * Both lie at both ends of the device. A superblock never changes after mkfs;
 * records are written in turn to two slots, so that a torn one leaves its
 * predecessor.
 */
#ifndef CFS_BLOCK_SUPER_H
#define CFS_BLOCK_SUPER_H

#include "xlators/storage/block/engine.h"
#include "xlators/storage/block/format.h"

/* Lay out a store of @blocks blocks: -ENOSPC (too small), -EFBIG. */
int super_layout(uint64_t blocks, struct fmt_super *sb);

uint64_t super_sum(const struct fmt_super *sb);

/* Read and check it, from either end. -EINVAL: no store, or features that
 * @read_only does not make up for; -CFS_E_CORRUPT: geometry out of bounds. */
int super_read(struct cfs_dev *dev, bool read_only, struct fmt_super *ret,
               struct cfs_err *err);

/* The newest whole checkpoint record of the four into @slot (SLOT_BYTES,
 * aligned). -CFS_E_CORRUPT: there is none. */
int super_read_ckpt(struct cfs_dev *dev, const struct fmt_super *sb,
                    uint8_t *slot, struct cfs_err *err);

/* Where slot @seq & 1 lies at the start (@end false) or at the end. */
uint64_t super_slot_lba(const struct fmt_super *sb, uint64_t seq, bool end);

static inline const struct fmt_top *ckpt_tops(const uint8_t *slot)
{
    return (const struct fmt_top *)(const void *)(slot +
                                                  sizeof(struct fmt_ckpt));
}

#endif
