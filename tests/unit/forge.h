/* SPDX-License-Identifier: Apache-2.0 */
/* forge.h - an image of a store under change, and its checksums made right
 * again, so that what was changed is looked at.
 *
 * Errors     none: what is too broken to be made right stays as it is.
 * Ownership  the bytes are somebody else's.
 */
#ifndef CFS_TESTS_FORGE_H
#define CFS_TESTS_FORGE_H

#include "xlators/storage/block/engine/format.h"

struct forge {
    uint8_t          *bytes;
    uint64_t          size;
    struct fmt_super *sb; /* the one at the start */
};

struct forge forge_of(uint8_t *bytes, uint64_t size);

/* @lba lies within the image. */
uint8_t *forge_block(const struct forge *im, uint64_t lba);
bool     forge_has(const struct forge *im, uint64_t lba, uint64_t n);
uint64_t forge_sum(const struct forge *im, const void *p, size_t len);

/* The newest checkpoint record, in its slot at the start. */
struct fmt_ckpt *forge_newest(const struct forge *im);

/* The record's checksum, and the same record at both ends. */
void forge_seal_record(const struct forge *im, struct fmt_ckpt *c);

/* Every checksum from the leaves and large values up to the root in @c. Each
 * node is visited once. Not the record itself. */
void forge_seal_tree(const struct forge *im, struct fmt_ckpt *c);

/* Map pages, indexes, the tops behind @c. */
void forge_seal_map(const struct forge *im, struct fmt_ckpt *c);

/* The records of the journal from @c's start on, chained anew. */
void forge_seal_journal(const struct forge *im, const struct fmt_ckpt *c);

/* Both superblocks, the one at the start twice. */
void forge_seal_super(const struct forge *im);

/* The @n-th node of the tree, counted as they are met; or NULL. */
uint8_t *forge_node(const struct forge *im, unsigned n);
/* The @n-th record of the journal, and its length; or NULL. */
uint8_t *forge_rec(const struct forge *im, unsigned n, uint32_t *ret_len);

#endif
