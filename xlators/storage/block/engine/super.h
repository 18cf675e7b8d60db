/* SPDX-License-Identifier: Apache-2.0 */
/* super.h - superblock and checkpoint records: where everything begins.
 *
 * Both lie at both ends of the device. A superblock changes after mkfs only
 * when the store grows (grow.c) or gets a feature (mend_super(), and with a
 * checkpoint start_mark()); records are written in turn to two slots, so that
 * a torn one leaves its predecessor. A third copy of the superblock lies
 * behind the slots at the start. No start uses it: only whoever asks for it
 * (eng_restore()).
 *
 * A record may be of a smaller store than the superblock: then the store has
 * grown since, and what the record does not know is free.
 */
#ifndef CFS_BLOCK_SUPER_H
#define CFS_BLOCK_SUPER_H

#include "xlators/storage/block/engine/engine.h"
#include "xlators/storage/block/engine/format.h"

/* Bytes by which a device must have become larger. */
#define GROW_MIN ((uint64_t)1024 * 1024)

/* Lay out a store of @blocks blocks: -ENOSPC (too small), -EFBIG. */
int super_layout(uint64_t blocks, struct fmt_super *sb);

uint64_t super_sum(const struct fmt_super *sb);

/* Read and check it, from either end. -EINVAL: no store, or features that
 * @read_only does not make up for; -CFS_E_CORRUPT: geometry out of bounds. */
int super_read(struct cfs_dev *dev, bool read_only, struct fmt_super *ret,
               struct cfs_err *err);

/* The newest whole checkpoint record of the four into @slot (SLOT_BYTES,
 * aligned). -CFS_E_CORRUPT: there is none. @older: the one before it, with
 * sequence and incarnation as if it had come next. */
int super_read_ckpt(struct cfs_dev *dev, const struct fmt_super *sb,
                    bool older, uint8_t *slot, struct cfs_err *err);

/* Which copies of the superblock @sb are not whole, or say something else:
 * ENG_SUPER_*. The spare one, which only repairs read, may be of the store
 * before it grew. */
unsigned super_copies(struct cfs_dev *dev, const struct fmt_super *sb);

/* Write all anew, durably, if one of them is not whole: 1. 0: they are. */
int super_mend(struct cfs_dev *dev, const struct fmt_super *sb);

/* Write all superblocks, durably; zeros over @blocks blocks from @lba on. @sb
 * is aligned to 4096. */
int super_write(struct cfs_dev *dev, const struct fmt_super *sb);
int super_write_zeros(struct cfs_dev *dev, uint64_t lba, uint64_t blocks);

/* Blocks of the groups that the record @c knows. */
uint64_t super_ckpt_blocks(const struct fmt_super *sb,
                           const struct fmt_ckpt *c);

/* What @sb becomes on a device of @blocks blocks. False: it stays as it is,
 * for they are not at least 1 MiB more. */
bool super_larger(const struct fmt_super *sb, uint64_t blocks,
                  struct fmt_super *ret);

/* Make the store on @dev, which is @sb, as large as @to says; @slot is its
 * newest record. Blocking; durable when it returns 0. A power cut leaves
 * either of the two. */
int super_grow(struct cfs_dev *dev, const struct fmt_super *sb,
               const struct fmt_super *to, const uint8_t *slot);

/* Where slot @seq & 1 lies at the start (@end false) or at the end. */
uint64_t super_slot_lba(const struct fmt_super *sb, uint64_t seq, bool end);

static inline const struct fmt_top *ckpt_tops(const uint8_t *slot)
{
    return (const struct fmt_top *)(const void *)(slot +
                                                  sizeof(struct fmt_ckpt));
}

#endif
