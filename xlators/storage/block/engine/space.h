/* SPDX-License-Identifier: Apache-2.0 */
/* space.h - which blocks are free: a map page for each 32768 blocks, all of
 * them in memory (64 MiB for a store of 1 TiB).
 *
 * The life of a block, two bits for each:
 *   free      not taken, not live
 *   held      taken: space_alloc(); a writer fills it
 *   live      taken, live: space_commit(), or reserved for a node at a freeze;
 *             the tree of the running epoch refers to it
 *   freed     taken: space_free(); the newest durable checkpoint may still
 *             refer to it
 *   free      space_release(): a checkpoint without it is durable, and reads
 *             that began before have ended; perhaps by way of discard_add()
 *
 * (1) What a checkpoint stores is the live bits as they were at its freeze: a
 *     map page that changes afterwards is copied first.
 * (2) free counts the blocks of backed pages that are not taken.
 *
 * Errors     only what a journal or a tree from the device can cause is
 *            returned; all else is our bug.
 */
#ifndef CFS_BLOCK_SPACE_H
#define CFS_BLOCK_SPACE_H

#include "xlators/storage/block/engine/engine.h"
#include "xlators/storage/block/engine/format.h"

#define MAP_WORDS (MAP_BLOCKS / 64)

/* A growing array of extents. */
struct extv {
    struct eng_ext *v;
    size_t          n;
    size_t          cap;
};

struct mpage {
    uint64_t *taken; /* MAP_WORDS; bit set: nobody may take it */
    uint64_t *live;  /* MAP_WORDS; frozen: shared with the checkpoint */
    uint64_t  epoch; /* of the freeze that will write it; 0: unchanged */
    uint32_t  free;  /* bits not set in taken */
    uint32_t  longest; /* no free run is longer; perhaps none is as long */
    bool      backed; /* its blocks really are there (sparse images) */
    bool      used;   /* some were taken since it was punched or never used */
};

/* A map page as a checkpoint writes it. */
struct mdirt {
    uint32_t  page;
    uint64_t *live;
};

/* Blocks that come back when the checkpoint of @epoch is durable. */
struct freed {
    struct cfs_list link;
    uint64_t        epoch;
    uint64_t        blocks;
    struct extv     ext;
};

/* Free blocks ahead of a file that is being written (window.c). */
struct window {
    uint64_t next; /* where its file goes on */
    uint64_t end;  /* behind its last block; 0: there is none */
    uint32_t len;  /* blocks that it had where it began */
    uint64_t used; /* when, on the space's clock */
};

#define WINDOWS 32u

struct space {
    uint64_t      lba;     /* of the first group */
    uint64_t      end;     /* behind the last block of the last group */
    uint32_t      n_pages;
    uint32_t      n_groups;
    struct mpage *page;

    uint64_t usable;   /* blocks for nodes and data */
    uint64_t free;     /* not taken, in backed pages */
    uint64_t unbacked; /* not taken, in pages that are not backed */
    uint64_t reserve;  /* blocks that only ENG_RESERVE may use */
    uint64_t floor;    /* blocks that only a freeze may use */
    uint64_t pending;  /* freed, not yet free */
    bool     lost;     /* repair: parts of the map could not be read */
    bool     rebuilt;  /* repair: what it says is true now */

    struct freed   *freed;     /* in the running epoch */
    struct cfs_list releasing; /* of earlier ones, in order */

    struct mdirt *dirty;
    size_t        n_dirty;
    size_t        cap_dirty;
    uint64_t      node_next; /* where to look first: nodes, */
    uint64_t      copy_next; /* their second copies, */
    uint64_t      data_next; /* data */

    struct window window[WINDOWS];
    unsigned      n_windows;
    uint64_t      window_clock;

    /* What is on the device; between freeze and finish the checkpoint's. */
    struct fmt_top *disk; /* for each map page */
    struct fmt_top *top;  /* for each group */
};

struct eng;

void extv_push(struct extv *v, struct eng_ext ext);
void extv_fini(struct extv *v);

/* Everything free, nothing on the device, all pages backed. */
void space_init(struct eng *e);
void space_fini(struct eng *e);

/* Read the maps that the record in @slot refers to. What it does not know,
 * because the store has grown since, is free. -CFS_E_CORRUPT, -EIO. */
int space_load(struct eng *e, const uint8_t *slot, struct cfs_err *err);

/* Whether @ext lies in the groups and touches none of their heads. */
bool space_valid(const struct eng *e, struct eng_ext ext);
bool space_live(const struct eng *e, uint64_t lba);

/* Nodes and data. @stream: more will follow behind it. -ENOSPC: fewer are
 * free, or more than @max extents. */
int  space_alloc(struct eng *e, uint32_t n, uint64_t goal, bool stream,
                 struct eng_ext *ret, unsigned max, unsigned *ret_n);
void space_unalloc(struct eng *e, struct eng_ext ext);
/* @n blocks for nodes, made live; there are as many. @second: for their second
 * copies, half the store away where there is room. */
void space_reserve_nodes(struct eng *e, uint64_t n, bool second,
                         struct extv *ret);
void space_commit(struct eng *e, struct eng_ext ext);

/* From a journal that is to be replayed: -CFS_E_CORRUPT, taken already. */
int space_mark(struct eng *e, struct eng_ext ext);

/* -CFS_E_CORRUPT: not live. */
int space_free(struct eng *e, struct eng_ext ext);

/* For a repair: the blocks in use are those set in @owned (a bit for each, from
 * the first group on), and nothing else. What the old map or the journal had
 * in use stays taken until the next start. */
void space_rebuild(struct eng *e, const uint64_t *owned);

/* A freeze of the running epoch: what was freed in it is set aside. */
void space_freeze(struct eng *e);
/* All that was freed up to @epoch is free, or about to be discarded. */
void space_release(struct eng *e, uint64_t epoch);
/* @ext, which was freed and is pending, is free. */
void space_return(struct eng *e, struct eng_ext ext);

/* All blocks of a page but those that nobody may ever take. */
struct eng_ext space_page_all(const struct space *s, uint32_t page);
/* Free blocks that nobody is to use; space_unalloc() ends it. */
void space_take(struct eng *e, struct eng_ext ext);

/* The page's blocks were allocated in the image. */
void space_back(struct eng *e, uint32_t page, bool backed);

/* The end of a window that is not that of @goal and overlaps @ext; 0: none. */
uint64_t window_behind(const struct space *s, struct eng_ext ext,
                       uint64_t goal);
/* How many blocks the stream that goes on at @goal should find behind the @n
 * that it asks for; 0: space is short. */
uint32_t window_want(struct space *s, uint64_t goal, uint32_t n);
/* It took @ext, and @more blocks behind it are free. */
void     window_took(struct space *s, uint64_t goal, struct eng_ext ext,
                     uint32_t more);
bool     windows_forget(struct space *s); /* false: there were none */

static inline uint64_t space_page_lba(const struct space *s, uint32_t page)
{
    return s->lba + (uint64_t)page * MAP_BLOCKS;
}

#endif
