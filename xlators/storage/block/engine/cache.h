/* SPDX-License-Identifier: Apache-2.0 */
/* cache.h - nodes in memory.
 *
 * The life of a node:
 *   reading -> clean                    cache_kid(), its job
 *   reading -> failed                   until nobody waits for it
 *   clean   -> dirty                    tree_dirty(): its blocks are freed
 *   dirty   -> frozen                   a freeze: epochs move on
 *   frozen  -> dirty and frozen         tree_dirty(): the page is copied; the
 *                                       checkpoint goes on with the old one
 *   frozen  -> clean                    ckpt's finish: it knows its address
 *   dirty and frozen -> dirty           ckpt's finish: its address is freed
 *   clean   -> gone                     eviction
 *   any     -> dead -> gone             taken out of the tree
 *
 * (1) A node's parent is in memory as long as it is; parent->kid[slot] is it.
 * (2) The slot in the parent's page tells the truth about a node that is not
 *     in memory or is clean. That of a dirty or frozen one holds PTR_TEMP with
 *     the node's number in its epoch, so that a frozen page says all that a
 *     checkpoint needs to fill the address in.
 * (3) Only clean nodes with no children in memory and no pins are evicted,
 *     and only in a task of their own: what an operation has reached stays
 *     until it returns to the loop.
 */
#ifndef CFS_BLOCK_CACHE_H
#define CFS_BLOCK_CACHE_H

#include "xlators/storage/block/engine/engine.h"
#include "xlators/storage/block/engine/node.h"

struct family; /* ahead.h */

#define LEVEL_VALUE ENG_LARGE /* a large value: bytes in blocks of its own */
#define VALUE_PARTS (ENG_VALUE_MAX / CFS_BLOCK)

enum node_state { NODE_READY, NODE_READING, NODE_FAILED };

struct node {
    struct node    *parent; /* NULL: the root, or dead */
    struct node   **kid;    /* by slot, in memory or NULL; NULL: no kids */
    uint8_t        *page;   /* NODE_SIZE bytes; a value's blocks */
    struct cfs_list lru;    /* in cache.clean */
    struct cfs_list waiters; /* eng_wait.link */
    struct fmt_ptr *at;     /* parts; at[0].lba 0: not on the device */
    struct fmt_ptr  at_one; /* what at is for a node */
    uint64_t        epoch;  /* in which it is dirty or frozen; 0: clean */
    uint64_t        was_epoch; /* dirty, and frozen in this one; else 0 */
    uint32_t        idx;    /* in the epoch's list */
    uint32_t        len;    /* bytes of a value */
    uint32_t        pins;
    uint16_t        n_kids; /* in memory */
    uint16_t        kid_cap;
    uint16_t        last_slot; /* of the last insertion */
    uint16_t        run;    /* insertions one behind the other */
    uint8_t         level;
    uint8_t         state;  /* enum node_state */
    bool            ref;    /* used since the clock's hand passed */
    bool            dead;
    int             err;    /* of a failed read */
};

struct cache {
    struct cfs_list clean; /* in the order of the clock */
    uint64_t        bytes; /* of pages, frozen copies too */
    uint64_t        max;
    struct node    *miss;  /* what the last -CFS_E_MISS was about; NULL: it
                              was about space */
    unsigned        reads; /* in flight */
    uint64_t        in_line; /* reads by who needed a node, so far */
    unsigned        held;  /* somebody waits who has nodes: none may leave */
    struct cfs_task evict;
    struct cfs_task wake;  /* for late_waiters */
    struct cfs_list late_waiters; /* eng_wait.link: its node is there */
    struct node    *free_nodes; /* linked by parent */
    void           *free_pages; /* linked by their first bytes */
    void           *slabs;      /* linked by their first bytes */
    uint8_t        *fresh;      /* of the newest slab, never used; or NULL */
};

void cache_init(struct eng *e);
void cache_fini(struct eng *e); /* nothing is in flight */

uint8_t *cache_page_new(struct eng *e);
void     cache_page_free(struct eng *e, uint8_t *page);

/* A node of @level without page, ready; @len: bytes of a value. */
struct node *cache_node_new(struct eng *e, unsigned level, uint32_t len);
/* Its page, unless it has none or @keep_page. */
void cache_node_free(struct eng *e, struct node *n, bool keep_page);
size_t cache_node_bytes(const struct node *n);

static inline unsigned node_parts(const struct node *n)
{
    return n->level == LEVEL_VALUE ? len_blocks(n->len) : 1;
}

/* Room for children; slots are the page's. */
void cache_need_kids(struct node *n);
void cache_attach(struct node *parent, unsigned slot, struct node *kid);
unsigned cache_slot_of(const struct node *parent, const struct node *kid);

/* The child of @n in @slot: 0, -CFS_E_MISS (it is being read), -CFS_E_CORRUPT,
 * -EIO. Reads in line when the engine does. */
int cache_kid(struct eng *e, struct node *n, unsigned slot, struct node **ret);
/* The same of a child at level 1 that is not in memory, or whose leaves are not:
 * they are, as far as @f has them sound. @f is done with. */
void cache_adopt(struct eng *e, struct node *n, unsigned slot,
                 struct family *f);
/* The child in @slot, which is not in memory, is going to be read by the
 * caller, in line: NULL, its place cannot be any. And then: its @page (taken
 * over), if @rc is 0 and it is what it should be. If not, it is not in memory,
 * as before. */
struct node *cache_claim(struct eng *e, struct node *n, unsigned slot);
void cache_claimed(struct eng *e, struct node *kid, uint8_t *page, int rc);
/* Begin to read it, if it is not there; nobody waits. */
void cache_prefetch(struct eng *e, struct node *n, unsigned slot);

/* The root of @level at @at, in line. */
int cache_read_root(struct eng *e, const struct fmt_ptr *at, unsigned level,
                    struct node **ret);

/* All parts of a node or value from the device into @page, verified. Any
 * thread; the cache does not know of it. A part that is not what it should be
 * comes from its second place. -CFS_E_CORRUPT, -EIO. */
int cache_read_parts(struct eng *e, const struct fmt_ptr *at, unsigned parts,
                     unsigned level, uint8_t *page);

/* Whether @page, just read, is the node or the part of a value of @level that
 * @at promised. 0, -CFS_E_CORRUPT. Any thread. */
int cache_verify(struct eng *e, const uint8_t *page, unsigned level,
                 const struct fmt_ptr *at);

/* How many children of inner node @page, from @slot on and at most @max, lie
 * behind one another on the device. */
unsigned cache_run(const struct eng *e, const uint8_t *page, unsigned slot,
                   unsigned max);

/* Take @n out: it is in no parent any more. Its struct goes when nothing
 * refers to it. */
void cache_kill(struct eng *e, struct node *n);
void cache_unref_dead(struct eng *e, struct node *n);

void cache_add_clean(struct eng *e, struct node *n);
void cache_ask_evict(struct eng *e);
void cache_evict_now(struct eng *e); /* nobody holds a node */

#endif
