/* SPDX-License-Identifier: Apache-2.0 */
/* pack.h - packs: blocks of one chunk compressed together with LZ4, and back.
 * Only bytes: where a pack lies is its record's (struct rec_pack).
 *
 * Shapes  a pack on the device: LZ4's block format, then zeros up to a
 *         multiple of 4096 bytes. Its plain bytes are its blocks, those of
 *         .held, in order, one behind the other.
 * Errors  what is stored is not to be believed: -CFS_E_CHECKSUM when it is not
 *         what was written, or is no LZ4, or not of that length. No more
 *         than the blocks that it holds is ever written to memory.
 * Threads any.
 */
#ifndef CFS_BLOCK_PACK_H
#define CFS_BLOCK_PACK_H

#include "xlators/storage/block/rec.h"

/* A run that is shorter stays as it is: little could be saved. */
#define PACK_BLOCKS_MIN 4u

/* Compress @n blocks to at most @room blocks, fewer than @n, at @to. How many
 * it took, with .len and .sum; 0: they do not fit, @to has anything. */
uint32_t pack_make(const uint8_t *data, unsigned n, uint32_t room,
                   uint8_t *to, struct rec_pack *ret);

/* @stored are rec_pack_blocks() blocks; @to has room for all that it holds.
 * Those up to block @last of the file are wanted: what is behind may come, too,
 * or not. */
int pack_open(const struct rec_pack *p, const uint8_t *stored, unsigned last,
              uint8_t *to);

/* Verify @plain, block @at of @c as its pack has it, and make zeros of what
 * has been cut out. */
int pack_block(const struct rec_chunk *c, unsigned at, uint8_t *plain);

/* Where block @at's bytes are among the plain ones. */
static inline size_t pack_offset(const struct rec_pack *p, unsigned at)
{
    const uint32_t before = p->held & ((UINT32_C(1) << at) - 1);

    return (size_t)__builtin_popcount(before) * CFS_BLOCK;
}

#endif
