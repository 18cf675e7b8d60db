/* SPDX-License-Identifier: Apache-2.0 */
/* jrec.h - what the file system writes in the journal: one record a change.
 *
 * Shapes  the record's type is enum jrec_type; its body is little-endian, byte
 *         by byte in docs/store.md. Addresses and checksums of the blocks that
 *         a change brought are the record's own (struct eng_rec).
 * Errors  unpacking trusts nothing: -CFS_E_CORRUPT, ret_* untouched. What
 *         comes back points into the body.
 */
#ifndef CFS_BLOCK_JREC_H
#define CFS_BLOCK_JREC_H

#include "xlators/storage/block/rec.h"

enum jrec_type {
    JREC_GENESIS = 1, /* mkfs: the root directory, at .now */
    JREC_CLEAN,       /* it stopped cleanly, in sync in the newest view */
    JREC_CHANGE,      /* a client's change */
    JREC_VIEW,        /* .view is the newest view */
    JREC_SESSION,     /* .session is so from now on */
    JREC_CLEAR,       /* .session.s.no's operation log below .n, .inodes */
    JREC_PURGE,       /* the orphan .gfid of a session that ended */
    JREC_REMOVE,      /* below the mark (.gfid, .n): chunks before .upto */
};

/* Blocks of a file that a change brought, all of them in the order of their
 * addresses in the record. */
struct jrec_seg {
    uint64_t block;
    uint32_t n;
};

#define JREC_SEGS 3u

#define JREC_INLINE 0x1u /* .bytes are the file's new bytes in line */
#define JREC_MARK   0x2u /* what was cut off is freed step by step */
#define JREC_PACKED 0x4u /* there are .packs */

/* Blocks @block .. @block + @n - 1, of one chunk and of one of the ranges,
 * that were packed: they have rec_pack_blocks() in one extent in place of
 * their own. */
struct jrec_pack {
    uint64_t block;
    uint8_t  n;
    uint32_t len;
    uint64_t pack_sum;          /* of what is stored */
    uint64_t sum[CHUNK_BLOCKS]; /* of each block */
};

/* As many as a change's data may be in: one in each chunk. */
#define JREC_PACKS     12u
#define JREC_PACK_MAX  (21u + 8u * CHUNK_BLOCKS)

struct jrec_change {
    enum cfs_fop    fop;
    uint8_t         how; /* JREC_INLINE, JREC_MARK, JREC_PACKED */
    uint8_t         n_seg;
    struct jrec_seg seg[JREC_SEGS];
    uint32_t        data_len; /* of the payload, which is not here */
    uint64_t        cut; /* JREC_MARK: blocks below the mark that counted */
    uint8_t         n_pack;
    struct cfs_blob packs; /* as jrec_packs_pack() makes them */
    struct cfs_blob bytes;
    struct cfs_blob request; /* as rpc/fop_codec.h packs it */
};

/* The body is written to @ret, of jrec_change_size() bytes. */
size_t jrec_change_size(const struct jrec_change *c);
void   jrec_change_pack(const struct jrec_change *c, uint8_t *ret);
int    jrec_change_unpack(struct cfs_blob body, struct jrec_change *ret);

/* Packs in order, as bytes (at most JREC_PACK_MAX each), and back: of what
 * jrec_change_unpack() gave, which has checked them. */
uint32_t jrec_packs_pack(const struct jrec_pack *v, unsigned n, uint8_t *ret);
void     jrec_packs_unpack(const struct jrec_change *c, struct jrec_pack *ret);

/* The pack that this is, less its address. */
struct rec_pack jrec_pack_rec(const struct jrec_pack *p);

/* The records of the other types. */
struct jrec_own {
    struct cfs_time    now;
    uint64_t           n;
    uint64_t           upto;
    struct cfs_gfid    gfid;
    struct cfs_version version;
    struct cfs_view    view;
    struct rec_session session;
    struct cfs_blob    inodes; /* of 32 bytes: gfid, epoch, seq */
};

/* Inodes in one record of type JREC_CLEAR at most. */
#define JREC_CLEAR_INODES 32u
#define JREC_OWN_MAX      (1024u + 32u * JREC_CLEAR_INODES)

uint32_t jrec_own_pack(enum jrec_type type, const struct jrec_own *o,
                       uint8_t ret[static JREC_OWN_MAX]);
int      jrec_own_unpack(enum jrec_type type, struct cfs_blob body,
                         struct jrec_own *ret);

/* The i-th of packed inodes (jrec_own.inodes, clear.inodes). */
struct cfs_touch jrec_inode_at(struct cfs_blob inodes, uint32_t i);

#endif
