/* SPDX-License-Identifier: Apache-2.0 */
/* rec.h - the records of a brick's tree: what is kept of files, names, views
 * and sessions, as keys and values.
 *
 * Shapes   a key is a table byte, then fields big-endian, so that it sorts by
 *          them; a value is little-endian and starts with its format (1;
 *          3: a chunk with packs), except xattrs, small files and symbolic
 *          links, which are the bytes themselves: docs/store.md, byte by byte.
 * Units    sizes in bytes, blocks and addresses of 4096 bytes, chunks of 32
 *          blocks.
 * Errors   unpacking trusts nothing: -CFS_E_CORRUPT, ret_* untouched.
 *
 * (1) A dirent and a cookie record of the same entry stand and fall together.
 * (2) A file has bytes inline or chunks, never both.
 * (3) A chunk below a removal mark of its file is no part of the file.
 */
#ifndef CFS_BLOCK_REC_H
#define CFS_BLOCK_REC_H

#include "core/fop.h"
#include "xlators/storage/block/engine/engine.h"

enum rec_table {
    REC_ANSWER  = 'A', /* session 4, number 8 */
    REC_BRICK   = 'B', /* - */
    REC_COOKIE  = 'C', /* directory 16, cookie 8 */
    REC_DIRTY   = 'D', /* gfid 16 */
    REC_DIRENT  = 'E', /* directory 16, name */
    REC_SMALL   = 'F', /* gfid 16: a small file's bytes, a link's target */
    REC_INODE   = 'I', /* gfid 16 */
    REC_CHUNK   = 'K', /* gfid 16, index 8 */
    REC_ORPHAN  = 'N', /* gfid 16 */
    REC_OPLOG   = 'O', /* session 4, number 8 */
    REC_REMOVAL = 'R', /* gfid 16, end 8 */
    REC_SESSION = 'S', /* number 4 */
    REC_TOMB    = 'T', /* gfid 16 */
    REC_VIEW    = 'V', /* lineage 8, epoch 8 */
    REC_XATTR   = 'X', /* gfid 16, name */
};

#define REC_FMT        1
#define REC_FMT_PACKED 3 /* of a chunk that has packs */

#define CHUNK_BLOCKS 32u
#define CHUNK_BYTES  (CHUNK_BLOCKS * CFS_BLOCK)
/* Above every chunk of every file; as a mark's end: its extended attributes
 * too (END_XATTRS). */
#define CHUNK_END    (CFS_FILE_MAX / CHUNK_BYTES + 1)
#define END_XATTRS   UINT64_MAX
#define SMALL_MAX    4096u /* bytes in line at most: one block */
#define XATTR_COUNT  256u /* of one inode: listxattr's answer is bounded */

/* -- keys ----------------------------------------------------------------- */

struct rec_key {
    uint16_t len;
    uint8_t  b[ENG_KEY_MAX];
};

static inline struct cfs_blob rec_key_blob(const struct rec_key *k)
{
    return (struct cfs_blob){k->b, k->len};
}

void rec_key_table(struct rec_key *k, enum rec_table t);
void rec_key_gfid(struct rec_key *k, enum rec_table t, struct cfs_gfid g);
void rec_key_gfid_u64(struct rec_key *k, enum rec_table t, struct cfs_gfid g,
                      uint64_t n);
void rec_key_name(struct rec_key *k, enum rec_table t, struct cfs_gfid g,
                  struct cfs_name name);
void rec_key_session(struct rec_key *k, uint32_t no);
void rec_key_change(struct rec_key *k, enum rec_table t, uint32_t session,
                    uint64_t no);
void rec_key_view(struct rec_key *k, uint64_t lineage, uint64_t epoch);

/* The first key that does not begin with @k's bytes: the end of a scan. */
void rec_key_after(struct rec_key *ret, const struct rec_key *k);

/* A key taken apart; which fields count depends on the table. */
struct rec_id {
    enum rec_table  table;
    struct cfs_gfid gfid;
    uint64_t        n;       /* cookie, chunk, end, change number, epoch */
    uint64_t        lineage;
    uint32_t        session;
    struct cfs_name name;    /* points into the key */
};
int rec_key_parse(struct cfs_blob key, struct rec_id *ret);

/* -- inodes --------------------------------------------------------------- */

#define REC_INLINE 0x1u /* bytes are in REC_SMALL */
/* A repair could not save all of it: what looks like a hole may be lost data,
 * and cannot be read. Until the file is emptied or healed. */
#define REC_LOST   0x2u

struct rec_inode {
    struct cfs_version version;
    uint32_t           mode;
    uint32_t           nlink;
    uint32_t           uid;
    uint32_t           gid;
    uint32_t           dirty;   /* session in its dirty entry; 0: clean */
    uint16_t           n_xattr;
    uint8_t            flags;   /* REC_INLINE, REC_LOST */
    uint64_t           size;
    struct cfs_time    atime;
    struct cfs_time    mtime;
    struct cfs_time    ctime;
    struct cfs_time    btime;
    uint64_t           blocks;  /* files: of 4096 bytes, that hold data */
    uint32_t           marks;   /* files: removal marks in it */
    uint64_t           rdev;    /* devices */
    struct cfs_gfid    parent;  /* directories */
    uint64_t           entries; /* directories */
};

#define REC_INODE_MAX 120u
uint32_t rec_inode_pack(const struct rec_inode *i,
                        uint8_t ret[static REC_INODE_MAX]);
int      rec_inode_unpack(struct cfs_blob v, struct rec_inode *ret);
void     rec_inode_attr(const struct rec_inode *i, struct cfs_gfid gfid,
                        struct cfs_attr *ret);

/* -- names ---------------------------------------------------------------- */

struct rec_dirent {
    struct cfs_gfid child;
    uint32_t        type; /* S_IFMT of the child */
    uint64_t        cookie;
};

#define REC_DIRENT_MAX 26u
uint32_t rec_dirent_pack(const struct rec_dirent *d,
                         uint8_t ret[static REC_DIRENT_MAX]);
int      rec_dirent_unpack(struct cfs_blob v, struct rec_dirent *ret);

struct rec_cookie {
    struct cfs_gfid child;
    uint32_t        type;
    struct cfs_name name; /* points into the value */
};

#define REC_COOKIE_MAX (18u + CFS_NAME_MAX)
uint32_t rec_cookie_pack(const struct rec_cookie *c,
                         uint8_t ret[static REC_COOKIE_MAX]);
int      rec_cookie_unpack(struct cfs_blob v, struct rec_cookie *ret);

/* -- data ----------------------------------------------------------------- */

/* Blocks of one chunk that were compressed together (pack.h): LZ4's output,
 * then zeros to the end of its last block. */
struct rec_pack {
    uint64_t lba;
    uint32_t len;  /* bytes of LZ4's */
    uint32_t held; /* bit i: block i's bytes are in it, in use or not */
    uint32_t live; /* those in use */
    uint64_t sum;  /* XXH3-64 of all bytes of its blocks on the device */
};

/* How many blocks of the device it takes: fewer than it holds. */
static inline uint32_t rec_pack_blocks(const struct rec_pack *p)
{
    return p->len / CFS_BLOCK + (p->len % CFS_BLOCK != 0);
}

/* Bytes [.from, .upto) of block .at, which read as zeros. */
struct rec_hole {
    uint8_t  at;
    uint16_t from;
    uint16_t upto;
};

#define CHUNK_PACKS  8u  /* of one chunk; all their blocks: CHUNK_BLOCKS */
/* Noted in one chunk with bytes of their block on both sides, so many; those
 * that reach an end of their block always can be. */
#define CHUNK_MIDDLE 32u
#define CHUNK_HOLES  (CHUNK_MIDDLE + 2u * CHUNK_BLOCKS)

/* Where a chunk's blocks lie. A block that is not mapped is a hole; one that
 * is unwritten belongs to the file and reads as zeros. One that is packed has
 * no address: its bytes are in the pack whose .live it is a part of, until it
 * is written elsewhere or unmapped; with the last of them the pack goes. What
 * is cut out of a packed block is only noted (rec_chunk_cut()): so a file
 * shrinks without a block being taken. */
struct rec_chunk {
    uint32_t mapped;    /* bit i: block i */
    uint32_t unwritten; /* a part of mapped */
    uint32_t packed;    /* a part of mapped, apart from .unwritten: .live of
                           all packs, which are apart from each other */
    uint32_t cut;       /* a part of packed: there are .hole in it */
    uint8_t  n_pack;
    uint8_t  n_hole;
    struct rec_pack pack[CHUNK_PACKS];
    struct rec_hole hole[CHUNK_HOLES]; /* in order, with bytes in between */
    uint64_t lba[CHUNK_BLOCKS]; /* packed: 0 */
    uint64_t sum[CHUNK_BLOCKS]; /* XXH3-64 of the 4096 bytes, uncut */
};

#define REC_CHUNK_MAX (4u + CHUNK_BLOCKS * (8u + 8u) + CHUNK_PACKS * 26u + \
                       CHUNK_HOLES * 5u)
/* The pack that packed block @at is in. */
const struct rec_pack *rec_chunk_pack_of(const struct rec_chunk *c,
                                         unsigned at);
/* Whether a pack of @blocks may come, in which are the file's blocks @held. */
bool rec_chunk_takes(const struct rec_chunk *c, uint32_t held,
                     uint32_t blocks);
/* Unmap block @at, which is mapped: the blocks of the device that nothing in
 * the chunk is in any more; .n 0: none. */
struct eng_ext rec_chunk_drop(struct rec_chunk *c, unsigned at);
/* Zeros in [@from, @upto) of packed block @at are noted. False, and nothing
 * is: bytes stay on both sides of them, and there are CHUNK_MIDDLE such. */
bool rec_chunk_cut(struct rec_chunk *c, unsigned at, uint32_t from,
                   uint32_t upto);
/* A pack whose .held is 2 to 32 blocks, saves at least one of them. */
bool rec_pack_valid(const struct rec_pack *p);
uint32_t rec_chunk_pack(const struct rec_chunk *c,
                        uint8_t ret[static REC_CHUNK_MAX]);
int      rec_chunk_unpack(struct cfs_blob v, struct rec_chunk *ret);

/* Chunks [start, end) of a file are to be freed; the end is in the key. */
#define REC_REMOVAL_MAX 9u
uint32_t rec_removal_pack(uint64_t start, uint8_t ret[static REC_REMOVAL_MAX]);
int      rec_removal_unpack(struct cfs_blob v, uint64_t *ret_start);

/* -- replication ---------------------------------------------------------- */

struct rec_dirty {
    uint32_t           session; /* that changed it last */
    struct cfs_version clean;   /* the last version that all had durably */
};

#define REC_DIRTY_MAX 21u
uint32_t rec_dirty_pack(const struct rec_dirty *d,
                        uint8_t ret[static REC_DIRTY_MAX]);
int      rec_dirty_unpack(struct cfs_blob v, struct rec_dirty *ret);

#define REC_TOMB_MAX 17u
uint32_t rec_tomb_pack(struct cfs_version v, uint8_t ret[static REC_TOMB_MAX]);
int      rec_tomb_unpack(struct cfs_blob v, struct cfs_version *ret);

#define REC_ORPHAN_MAX 5u
uint32_t rec_orphan_pack(uint32_t session, uint8_t ret[static REC_ORPHAN_MAX]);
int      rec_orphan_unpack(struct cfs_blob v, uint32_t *ret_session);

#define REC_VIEW_MAX (51u + 24u * CFS_SET_MAX)
uint32_t rec_view_pack(const struct cfs_view *v,
                       uint8_t ret[static REC_VIEW_MAX]);
int      rec_view_unpack(struct cfs_blob b, struct cfs_view *ret);

/* A number that was given and not yet attached: never seen outside. */
#define SESSION_GIVEN 3u

struct rec_session {
    struct cfs_session s;
    uint64_t           acked; /* acked_below of its last applied change */
};

#define REC_SESSION_MAX (47u + CFS_NODE_MAX + 32u + 256u + CFS_OWNER_MAX)
uint32_t rec_session_pack(const struct rec_session *s,
                          uint8_t ret[static REC_SESSION_MAX]);
int      rec_session_unpack(struct cfs_blob v, uint32_t no,
                            struct rec_session *ret);

/* The answer to a change: the outputs of its operation, in their order. */
#define ANSWER_ATTRS 4u

struct rec_answer {
    enum cfs_fop    fop;
    int             status;
    uint64_t        pos;
    uint32_t        copied;
    unsigned        n; /* of attr */
    struct cfs_attr attr[ANSWER_ATTRS]; /* null gfid: no such inode */
};

#define REC_ANSWER_MAX (19u + 136u * ANSWER_ATTRS)
uint32_t rec_answer_pack(const struct rec_answer *a,
                         uint8_t ret[static REC_ANSWER_MAX]);
int      rec_answer_unpack(struct cfs_blob v, struct rec_answer *ret);

/* What there is one of. */
struct rec_brick {
    uint32_t session_max; /* the highest number ever given */
    uint32_t session_floor; /* all below are closed, and forgotten */
    bool     clean;       /* nothing changed since it stopped, in sync and
                             without a session, in its newest view */
    uint64_t repaired;    /* the life in which fsck changed records, which no
                             view in which it was in sync has followed; 0 */
    uint64_t inodes;
    uint64_t dirty;       /* entries */
    uint64_t oplog;
};

#define REC_BRICK_MAX 42u
uint32_t rec_brick_pack(const struct rec_brick *b,
                        uint8_t ret[static REC_BRICK_MAX]);
int      rec_brick_unpack(struct cfs_blob v, struct rec_brick *ret);

/* An entry of the operation log: format 1, operation 1, then the request as
 * rpc/fop_codec.h packs it. */
#define REC_OPLOG_HEAD 2u
int rec_oplog_unpack(struct cfs_blob v, enum cfs_fop *ret_fop,
                     struct cfs_blob *ret_request);

#endif
