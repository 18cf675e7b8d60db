/* SPDX-License-Identifier: Apache-2.0 */
/* format.h - what lies on the device, byte by byte. docs/store.md tells the
 * story; the structs here are the bytes.
 *
 * Shapes     all integers are little-endian; no struct has padding. Addresses
 *            (lba) are in blocks of 4096 bytes from the device's start.
 * Checksums  XXH3-64, seeded with the store's nonce, so that nothing from an
 *            earlier life of the device is ever taken for ours. Only the
 *            superblock, which carries the nonce, has seed 0; and blocks of
 *            file data, whose checksums come from the client.
 *
 *   block 0         superblock
 *   16, 32          checkpoint records, used in turn, up to 64 KiB each
 *   63              superblock, a spare one for repairs
 *   64              heartbeat region
 *   ...             journal
 *   ...             groups, of GROUP_BLOCKS each; the last may be shorter
 *   end - 64        superblock and checkpoint records again
 *
 * A group begins with its index (two places), then the two places of each of
 * its map pages; the rest is for tree nodes, large values and file data.
 */
#ifndef CFS_BLOCK_FORMAT_H
#define CFS_BLOCK_FORMAT_H

#include "core/base.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the structs below are the bytes on the device"
#endif

#define FMT_SUPER_MAGIC 0x31425346434c4631ull /* "1FLCFSB1" */
#define FMT_CKPT_MAGIC  0x54504b43u           /* "CKPT" */
#define FMT_NODE_MAGIC  0x45444f4eu           /* "NODE" */
#define FMT_INDEX_MAGIC 0x58444e49u           /* "INDX" */
#define FMT_REC_MAGIC   0x4c4e524au           /* "JRNL" */
#define FMT_BEAT_MAGIC  0x54414542u           /* "BEAT" */
#define FMT_VERSION     1u

/* Feature flags known to this code. An unknown one is ignored (compat),
 * allows reading only (ro_compat), or forbids everything (incompat). */
#define FMT_FIXED     1u /* compat: it does not grow with its device by itself */
#define FMT_COMPAT    FMT_FIXED
#define FMT_RO_COMPAT 0u
#define FMT_TWICE     1u /* incompat: nodes and values may have second copies */
#define FMT_PACKED    4u /* incompat: chunks may have packs (pack.h); 2 was
                            another form of them, and is unknown */
#define FMT_INCOMPAT  (FMT_TWICE | FMT_PACKED)

/* Where things lie in the first and the last AREA_BLOCKS blocks. */
#define AREA_BLOCKS 64u
#define SLOT_A      16u
#define SLOT_B      32u
#define SLOT_BLOCKS 16u
#define SUPER_SPARE 63u /* at the start only */
#define SLOT_BYTES  (SLOT_BLOCKS * CFS_BLOCK)

#define MAP_BLOCKS    32768u              /* that one map page covers */
#define GROUP_PAGES   128u                /* map pages in a group */
#define GROUP_BLOCKS  (GROUP_PAGES * MAP_BLOCKS)
#define GROUP_HEAD    (2u + 2u * GROUP_PAGES) /* index and map places */
#define GROUP_MIN     1024u               /* a shorter last group is unused */

#define NODE_SIZE  CFS_BLOCK
#define NODE_LEVELS 20u /* more than any tree can have */

/* Where a block of the tree lies and what it must be. Zero: nowhere. In
 * memory an lba with PTR_TEMP is the number of a node that has no place yet;
 * on the device there is none. */
#define PTR_TEMP ((uint64_t)1 << 63)

struct fmt_ptr {
    uint64_t lba;
    uint64_t lba2; /* the same bytes once more; 0: nowhere */
    uint64_t gen;  /* of the checkpoint that wrote it */
    uint64_t sum;
};

struct fmt_super {
    uint64_t        magic;
    uint32_t        version;
    uint32_t        block;     /* 4096 */
    uint64_t        compat;
    uint64_t        ro_compat;
    uint64_t        incompat;
    struct cfs_uuid brick;
    struct cfs_uuid cluster;
    char            label[64];
    uint64_t        nonce;
    uint64_t        size;      /* of the store, in blocks */
    uint64_t        hb_lba;
    uint64_t        hb_blocks;
    uint64_t        jrn_lba;
    uint64_t        jrn_blocks;
    uint64_t        grp_lba;
    uint64_t        grp_blocks; /* all groups together */
    uint64_t        made;       /* seconds since 1970 */
    uint8_t         zero[3880];
    uint64_t        sum;        /* of all before it */
};

/* A slot of the heartbeat region (beat.h). One that was never used is zeros. */
#define FMT_SERVICE 32u
struct fmt_beat {
    uint32_t        magic;
    uint32_t        format;     /* 1 */
    struct cfs_uuid brick;
    uint32_t        slot;       /* this one */
    uint32_t        session;
    uint32_t        node;       /* its number */
    uint32_t        dead_ms;
    uint64_t        generation; /* 0: it left */
    uint64_t        seq;
    uint64_t        time;       /* ns since 1970 */
    char            name[CFS_NODE_MAX];
    char            service[FMT_SERVICE];
    uint8_t         zero[3928];
    uint64_t        sum;        /* of all before it */
};

#define CKPT_CLEAN 1u /* nothing was appended to the journal after it */

/* A checkpoint record: the whole state in one place. The tops of the groups
 * follow it. */
struct fmt_ckpt {
    uint32_t        magic;
    uint32_t        len;         /* bytes, with the tops */
    struct cfs_uuid brick;
    uint64_t        seq;         /* seq & 1 chooses the slot */
    uint64_t        gen;         /* incarnation << 32 | number in it */
    uint64_t        incarnation;
    uint32_t        flags;
    uint32_t        level;       /* of the root; a leaf has 0 */
    struct fmt_ptr  root;
    uint64_t        jrn_start;   /* replay begins here */
    uint64_t        jrn_chain;   /* what the record there has as prev */
    uint64_t        free;        /* blocks */
    uint64_t        time;        /* seconds since 1970 */
    uint32_t        n_groups;
    uint32_t        last_blocks; /* of the last group; all others are whole.
                                    0: as the superblock has it */
    uint64_t        sum;         /* of the record, with this as 0 */
};

#define PLACE_NONE 0xffu /* never written: everything in it is free */

struct fmt_top {
    uint64_t sum;   /* of the group's index */
    uint32_t free;  /* blocks in the group */
    uint8_t  place; /* 0, 1, PLACE_NONE */
    uint8_t  zero[3];
};

#define GROUPS_MAX                                                           \
    ((SLOT_BYTES - sizeof(struct fmt_ckpt)) / sizeof(struct fmt_top))

/* A group's index: one entry for each map page. */
struct fmt_index {
    uint32_t       magic;
    uint32_t       zero;
    uint64_t       lba; /* of the group */
    uint64_t       gen;
    uint8_t        zero2[2024];
    struct fmt_top page[GROUP_PAGES];
};

/* The head of a tree node. Slots (u16 offsets, sorted by key) follow, cells
 * grow down from the end. A cell: u16 key length, u16 value length (bit 15:
 * large), key, value. A value is: in an inner node the fmt_ptr of the child;
 * in a leaf the bytes, or, when large, u32 length and a fmt_ptr for each
 * block of it. An inner node's first key is a lower bound that nobody
 * compares. */
struct fmt_node {
    uint32_t magic;
    uint8_t  level;
    uint8_t  zero;
    uint16_t n;    /* slots */
    uint16_t heap; /* where the lowest cell begins */
    uint16_t used; /* bytes of all cells */
    uint32_t zero2;
    uint64_t gen;
    uint64_t lba;
};

#define CELL_HEAD  4u
#define CELL_LARGE 0x8000u
#define NODE_ROOM  (NODE_SIZE - sizeof(struct fmt_node))
/* A key and value that need more lie outside: any three fit in a node. */
#define CELL_MAX   (NODE_ROOM / 3 - sizeof(uint16_t))

/* A journal record: this head, n_ext times (u64 lba, u32 n), n_sums times
 * u64, the body, zeros up to a multiple of 8. */
struct fmt_rec {
    uint32_t        magic;
    uint16_t        type;
    uint16_t        n_ext;
    uint32_t        len; /* of all of it */
    uint32_t        n_sums;
    uint32_t        body;
    uint32_t        zero;
    struct cfs_uuid brick;
    uint64_t        pos;
    uint64_t        incarnation;
    uint64_t        prev;    /* the predecessor's sum */
    uint64_t        durable; /* known durable when this was written */
    uint64_t        ckpt;    /* seq of the newest durable checkpoint */
    uint64_t        sum;     /* of all of it, with this as 0 */
};

#define REC_EXT_BYTES 12u
#define REC_ALIGN     8u

_Static_assert(sizeof(struct fmt_super) == CFS_BLOCK, "one block");
_Static_assert(sizeof(struct fmt_index) == CFS_BLOCK, "one block");
_Static_assert(sizeof(struct fmt_beat) == CFS_BLOCK, "one block");
_Static_assert(sizeof(struct fmt_ckpt) == 136, "no padding");
_Static_assert(sizeof(struct fmt_node) == 32, "no padding");
_Static_assert(sizeof(struct fmt_rec) == 88, "no padding");
_Static_assert(sizeof(struct fmt_top) == 16, "no padding");

#endif
