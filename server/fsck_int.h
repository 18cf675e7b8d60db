/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_int.h - what the files of the checker share. */
#ifndef CFS_SERVER_FSCK_INT_H
#define CFS_SERVER_FSCK_INT_H

#include "server/fsck_fix.h"

#define FSCK_NONE UINT32_MAX /* no such inode */

enum {
    INO_BROKEN  = 0x01, /* its record cannot be read: nothing is known of it */
    INO_INLINE  = 0x02,
    INO_SMALL   = 0x04, /* has a record of bytes in line */
    INO_ORPHAN  = 0x08, /* is in the table of orphans */
    INO_DIRTY   = 0x10, /* is in the dirty index */
    INO_WALKING = 0x20, /* the way to the root leads through it, */
    INO_REACHED = 0x40, /* and is known to end */
    INO_LOST    = 0x80, /* a repair could not save all of it */
};

/* What is kept of an inode. Counts start with what its record says; each
 * record that is found takes one away. */
struct fsck_ino {
    struct cfs_gfid gfid;
    uint64_t        seq;   /* of its version */
    uint64_t        size;  /* bytes; directories: see fsck_names.c */
    int64_t         count; /* files: blocks; directories: entries */
    uint32_t        nlink;
    uint32_t        found; /* names of it */
    int32_t         part;  /* files: marks; directories: directories in it */
    uint32_t        named_in; /* the first directory that names it */
    uint32_t        parent;   /* directories: as its record says */
    uint32_t        dirty;    /* session */
    int16_t         n_xattr;
    uint8_t         type; /* S_IFMT >> 12; broken: 0 */
    uint8_t         flags;
};

struct fsck_mark {
    struct cfs_gfid gfid;
    uint64_t        start;
    uint64_t        end;
};

/* A block of data whose checksum is to be verified. */
struct fsck_block {
    uint64_t lba;
    uint64_t sum;
    uint64_t block; /* of the file */
    uint32_t ino;
    int      rc;    /* once it is verified */
    uint16_t end;   /* bytes of it that are the file's; zeros follow, */
    bool     tail;  /* or do not */
};

#define FSCK_BATCH 16384u /* blocks verified together */

/* A finding that waits to be told, or a block whose owners are looked for. */
struct fsck_queued {
    const char     *kind;
    struct cfs_gfid gfid;
    char           *text;
    bool            known;
};

/* A pack that is to be opened, and its blocks verified. */
#define FSCK_PACKS 256u
struct fsck_pack {
    uint32_t         ino;
    uint64_t         size;  /* of the file */
    uint64_t         index; /* of the chunk */
    struct rec_chunk c;
    struct rec_pack  p;     /* one of its */
    int              rc;    /* once it is verified, of the pack, */
    uint32_t         bad;   /* of its blocks: those with other bytes, */
    uint32_t         tail;  /* and with some behind the file's end */
};

enum fsck_doubt { DOUBT_DOUBLE, DOUBT_UNMARKED };

struct fsck_doubted {
    uint64_t        lba;
    enum fsck_doubt why;
};

struct fsck {
    struct cfs_loop          *loop;
    struct eng               *e;
    const struct fsck_config *config;
    struct fsck_result       *r;

    struct fsck_ino *ino; /* sorted by gfid */
    uint32_t         n_ino, cap_ino;
    uint32_t         last; /* where the last one was found */
    struct fsck_mark *mark; /* sorted by gfid, end */
    size_t           n_mark, cap_mark;

    struct fsck_queued *queue;
    size_t           n_queue, cap_queue;
    uint64_t         n_known;
    bool             names_known; /* paths can be told */

    uint64_t  first, end; /* addresses */
    uint64_t *owned;      /* bit: somebody owns the block */
    uint64_t *tree;       /* bit: it is the tree's */
    struct fsck_doubted *doubted;
    size_t    n_doubted, cap_doubted;

    struct fsck_block  *batch; /* being collected */
    unsigned            n_batch;
    struct fsck_pack   *pack;  /* beside them */
    unsigned            n_pack;
    struct fsck_verify *verify;

    uint64_t  in_use; /* blocks, about: for the progress */
    struct rec_brick brick;
    bool      has_brick;
    bool      few_sessions; /* there are higher numbers than it says */
    uint64_t  seen; /* records of the pass */
    struct cfs_blob key; /* of the record at hand */
    uint32_t  session_seen; /* the highest number of a session anywhere */
};

/* Room for one more in @p, which has @n of @cap. */
#define FSCK_GROW(p, n, cap)                                                 \
    do {                                                                     \
        if ((n) == (cap)) {                                                  \
            (cap) = (cap) ? 2 * (cap) : 64;                                  \
            (p) = tool_realloc((p), (size_t)(cap) * sizeof *(p));            \
        }                                                                    \
    } while (0)

/* -- findings (fsck_check.c) ---------------------------------------------- */

/* @gfid null: of no inode. */
void fsck_find(struct fsck *f, const char *kind, struct cfs_gfid gfid,
               const char *fmt, ...) CFS_PRINTF(4, 5);
/* The same of what a repair has said before. */
void fsck_known(struct fsck *f, const char *kind, struct cfs_gfid gfid,
                const char *fmt, ...) CFS_PRINTF(4, 5);
void fsck_tell(struct fsck *f); /* those that wait, once paths are known */

/* -- passes (fsck_check.c) ------------------------------------------------ */

/* All records of one table. */
struct fsck_pass {
    enum rec_table table;
    const char    *what; /* in the plural */
    uint64_t       of;   /* how many there should be; 0: not known */
    void (*each)(struct fsck *f, const struct rec_id *id,
                 struct cfs_blob value);
    /* Whether what each() left is to be dealt with now, and that. May run the
     * loop. */
    bool (*full)(const struct fsck *f);
    void (*settle)(struct fsck *f);
};
void fsck_pass(struct fsck *f, const struct fsck_pass *p);

/* The inode's number in f->ino; FSCK_NONE. */
uint32_t fsck_ino(struct fsck *f, struct cfs_gfid g);

static inline uint32_t fsck_mode(const struct fsck_ino *i)
{
    return (uint32_t)i->type << 12;
}

/* Whether the record of @g whose value was unpacked with @rc is whole. */
bool fsck_whole(struct fsck *f, int rc, struct cfs_gfid g, const char *what);

/* -- names (fsck_names.c) ------------------------------------------------- */

void  fsck_inodes(struct fsck *f);
void  fsck_names(struct fsck *f);
void  fsck_shape(struct fsck *f); /* the tree of directories */
char *fsck_path(struct fsck *f, struct cfs_gfid g); /* NULL: none is known */

/* -- what belongs to inodes (fsck_data.c) --------------------------------- */

void fsck_marks(struct fsck *f);
void fsck_small(struct fsck *f);
void fsck_chunks(struct fsck *f);
void fsck_xattrs(struct fsck *f);
void fsck_counts(struct fsck *f); /* what each inode says against what it has */
/* Whether chunk @index of @g is below a mark. */
bool fsck_marked(const struct fsck *f, struct cfs_gfid g, uint64_t index);

/* -- blocks (fsck_space.c, fsck_verify.c) --------------------------------- */

/* How many bytes of its block @block are of a file of @size; zeros follow. */
static inline uint16_t fsck_end_in(uint64_t size, uint64_t block)
{
    if (block != size / CFS_BLOCK || size % CFS_BLOCK == 0)
        return CFS_BLOCK;
    return size % CFS_BLOCK;
}

void fsck_tree(struct fsck *f);
/* @lba is a block of file data: whether it can be, and is nobody else's. */
bool fsck_claim(struct fsck *f, uint64_t lba);
void fsck_space(struct fsck *f);
/* The batch, which is then empty, meanwhile; tells what came of the one before
 * it. fsck_verify_end(): of all. */
void fsck_verify(struct fsck *f);
void fsck_verify_end(struct fsck *f);

/* -- the rest (fsck_repl.c) ----------------------------------------------- */

void fsck_repl(struct fsck *f);

#endif
