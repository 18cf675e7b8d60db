/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - the block store's engine: one device; a checksummed
 * copy-on-write tree of keys and values; a journal in front of it; blocks of
 * data beside it. It knows nothing of files: ops (ops.h) do.
 *
 * (1) A change is in the journal (page cache of the device) before it is
 *     answered: eng_commit()'s done comes after the turn's one write.
 * (2) A freed block is reused only after a durable checkpoint without it, and
 *     not while a read of it is in flight.
 * (3) Operations never wait for a checkpoint; near their bounds (journal,
 *     dirty nodes, reusable space) changes are put aside for a while.
 * (4) A cache miss never blocks the loop: -CFS_E_MISS, eng_wait(), start
 *     again. Only an engine opened with ENG_BLOCKING (tools) or in replay
 *     reads in line.
 * (5) A failed write or flush poisons the engine for good: every later call
 *     that changes returns -CFS_E_POISONED, no done() reports success.
 *
 * Shapes     block 4096 B; addresses (lba) in blocks from the device's start;
 *            key 1..300 B, value 0..65536 B (large ones lie in own blocks).
 *            Keys sort as memcmp, shorter first.
 * Threads    the loop thread; reads, flushes, checkpoints go to the pool.
 * Ownership  arguments are borrowed for the call. Pointers that come back
 *            (values, keys) are valid until the next eng_ call that changes,
 *            or the end of the turn.
 * Errors     0 or negative, with nothing changed and ret_* untouched.
 */
#ifndef CFS_BLOCK_ENGINE_H
#define CFS_BLOCK_ENGINE_H

#include "core/buf.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/xxh3.h"
#include "xlators/storage/block/engine/dev.h"

struct eng;

#define ENG_KEY_MAX   300u
#define ENG_VALUE_MAX 65536u
#define ENG_REC_MAX   (256u * 1024u) /* bytes of a record: ext, sums, body */

struct eng_ext {
    uint64_t lba;
    uint32_t n; /* blocks */
};

/* How a brick is made. */
struct eng_format {
    struct cfs_uuid brick;
    struct cfs_uuid cluster; /* null: none yet */
    char            label[64];
    uint64_t        size;    /* bytes to use; 0: all of the device */
    unsigned        copies;  /* of the tree's nodes and values: 1 (or 0), 2 */
    uint64_t        made;    /* s since the epoch; 0: now */
};

struct eng_config {
    uint64_t cache_size;     /* bytes of nodes, 256 MiB */
    uint64_t checkpoint_ms;  /* 5000 */
    bool     blocking;       /* read misses in line */
    bool     read_only;      /* nothing is written; replay stays in memory */
    bool     sparse_image;   /* preallocate ahead; only that counts as space */
    unsigned copies;         /* as eng_format's, from now on; 0: as made */
    bool     discard;        /* give free space back to what lies below */
    bool     packs;          /* there may be packs from now on: eng_packs() */
    bool     no_grow;        /* stay small on a device that became larger */
    bool     repair;         /* see eng_repair(); with .blocking, .read_only */
    bool     no_journal;     /* repair: as the checkpoint has it */
    bool     older;          /* repair: as the checkpoint before the newest has
                                it, with a journal that reaches the newest
                                (else -CFS_E_CORRUPT) or with .no_journal */
};
extern const struct eng_config eng_config_default;

/* A journal record as it was committed. */
struct eng_rec {
    uint64_t              pos;
    uint16_t              type; /* the committer's */
    const struct eng_ext *ext;  /* data blocks that it brought */
    unsigned              n_ext;
    const uint64_t       *sums; /* XXH3-64 of the first blocks, in order; the
                                   rest was not written */
    unsigned              n_sums;
    struct cfs_blob       body;
};

/* Apply @rec again, through the code that applied it first. An error is
 * damage: the open fails. Called once with @rec NULL before any record, also
 * when there is none: load what is kept in memory. Reads never miss here. */
typedef int eng_replay(void *ctx, struct eng *e, const struct eng_rec *rec);

/* At that first call: @look is told of records before their turn, and says
 * with eng_prefetch() what they will be about. It reads and changes nothing. */
void eng_look_ahead(struct eng *e,
                    void (*look)(void *ctx, const struct eng_rec *rec),
                    void *ctx);

/* Make an empty store on @dev (blocking). */
int eng_mkfs(struct cfs_dev *dev, const struct eng_format *f,
             struct cfs_err *err);

/* Make the store on @dev, which is sound and in nobody's use, as large as the
 * device, durably (blocking); also one of a chosen size. Nothing else in it
 * changes. Bytes before and after; both the same: it is as large already.
 * @dry: only say so. */
int eng_grow(struct cfs_dev *dev, bool dry, uint64_t *ret_before,
             uint64_t *ret_after, struct cfs_err *err);

/* Open (blocking, up to seconds): newest checkpoint, journal, replay. @dev is
 * taken over on success and closed by eng_close(). Errors: -EINVAL (no store,
 * unknown incompatible feature), -CFS_E_CORRUPT, -EIO; err says what. */
int eng_open(struct cfs_loop *loop, struct cfs_log *log, struct cfs_dev *dev,
             const struct eng_config *config, eng_replay *replay, void *ctx,
             struct eng **ret, struct cfs_err *err);

/* Its two halves: all that blocks, in whatever thread, which touches nothing
 * of the loop; then, in the loop's, what goes on by itself from then on. What
 * @replay is given is not shared with anybody meanwhile. */
int  eng_load(struct cfs_loop *loop, struct cfs_log *log, struct cfs_dev *dev,
              const struct eng_config *config, eng_replay *replay, void *ctx,
              struct eng **ret, struct cfs_err *err);
void eng_start(struct eng *e);

/* Last checkpoint, marked clean iff @clean; then done. Waits for what is in
 * flight. Without a checkpoint when poisoned or read-only. */
void eng_close(struct eng *e, bool clean, void (*done)(void *ctx, int status),
               void *ctx);

/* Identity and figures. */
struct eng_info {
    struct eng_format format;
    bool     was_clean;      /* how it was before this open */
    uint64_t blocks;         /* of the device that can hold data or nodes */
    uint64_t free;           /* blocks a change may take now */
    uint64_t pending;        /* freed, reusable after the next checkpoint */
    uint64_t generation;     /* of the newest checkpoint */
    uint64_t cached;         /* bytes of nodes in memory */
    uint64_t dirty;          /* of these, not in a checkpoint */
    uint64_t checkpoints;    /* since open */
    uint64_t flushes;
    uint64_t discarded;      /* blocks, since open */
    uint64_t second_reads;   /* the first copy was bad, the second was not */
    int      poisoned;       /* 0, or the error */
};
void        eng_info(const struct eng *e, struct eng_info *ret);
/* Of a running one: what is beyond a smaller bound is written and let go as
 * soon as it can be. */
void        eng_reconfigure(struct eng *e, uint64_t cache_size,
                            uint64_t checkpoint_ms);
/* There may be packs from now on: eng_packs() says so with the end of the next
 * checkpoint. */
void        eng_want_packs(struct eng *e);
/* Whether free space is discarded. A device that refused it once is asked
 * again when it was off in between. */
void        eng_set_discard(struct eng *e, bool on);
/* Blocks beyond .free that a sparse image is likely to get, or that are being
 * discarded: a change that needs them waits until they are there. It asks the
 * file system. */
uint64_t    eng_growable(const struct eng *e);
/* When the oldest of what waits for the device began (boot time, ns);
 * UINT64_MAX: nothing does. */
uint64_t eng_io_oldest(const struct eng *e);
/* Whether records may say that data is packed: on the device the superblock
 * says so, durably. What this engine's user keeps is of no concern to it. */
bool        eng_packs(const struct eng *e);
const char *eng_poison_reason(const struct eng *e);
/* Called once when the engine becomes poisoned. */
void eng_on_poison(struct eng *e, void (*fn)(void *ctx, int status), void *ctx);

/* -- reading the tree ------------------------------------------------------ */

/* -ENOENT, -CFS_E_MISS, -CFS_E_CORRUPT (this node; others still serve). */
int eng_get(struct eng *e, struct cfs_blob key, struct cfs_blob *ret_value);

/* Each record with lo <= key < hi in order (hi.len 0: no bound) until @fn
 * returns non-zero, which is returned; 0 at the end. @fn does not change the
 * tree. -CFS_E_MISS: all that was given before stands; wait, then go on from
 * the last key given. */
typedef int eng_each(void *ctx, struct cfs_blob key, struct cfs_blob value);
int eng_scan(struct eng *e, struct cfs_blob lo, struct cfs_blob hi,
             eng_each *fn, void *ctx);

/* What an operation that got -CFS_E_MISS (or was told to wait by eng_begin)
 * waits for. ready() comes later, once; the node stays in the cache until
 * eng_wait_end(). One operation may hold several. */
struct eng_wait {
    struct cfs_list link;
    void           *impl;
    void (*ready)(struct eng_wait *w);
};
void eng_wait(struct eng *e, struct eng_wait *w,
              void (*ready)(struct eng_wait *));
void eng_wait_end(struct eng *e, struct eng_wait *w); /* unpin, or cancel */

/* -- changing it ----------------------------------------------------------- */

/* Everything between eng_begin() and eng_commit() happens in one turn of the
 * loop and cannot fail: all that could was asked before.
 *   1. eng_touch() each key that will be put or deleted: its leaf is cached;
 *   2. eng_begin(): space for the worst case is there;
 *   3. eng_put(), eng_del(), eng_free();
 *   4. eng_commit(): the record; done() once it is written.
 * In replay, ops call the same in the same order; eng_commit() is not
 * called. */

/* 0 or -CFS_E_MISS. */
int eng_touch(struct eng *e, struct cfs_blob key);

/* Whether both, which are touched, belong in one leaf. */
bool eng_side_by_side(struct eng *e, struct cfs_blob a, struct cfs_blob b);

/* @key's leaf is likely to be wanted: have it read, if it is not in memory.
 * What the last -CFS_E_MISS was about stays what eng_wait() waits for. */
void eng_prefetch(struct eng *e, struct cfs_blob key);

#define ENG_RESERVE 1u /* may use the reserve: deletes, views, sessions */

#define ENG_STREAM  2u /* eng_alloc(): more will follow behind these blocks */

/* At most @puts puts and deletes, whose keys and values have @bytes in all,
 * and a record of @rec bytes (extents, sums, body). Each put may cost a dozen
 * blocks in the worst case, so keep a change below a hundred. One that goes
 * into the leaf of the one before costs ENG_BESIDE_BYTES at most, and need not
 * be counted as a put. -ENOSPC; -CFS_E_MISS: slow down, eng_wait();
 * -CFS_E_POISONED. */
#define ENG_BESIDE_BYTES ((size_t)2 * CFS_BLOCK)
int eng_begin(struct eng *e, unsigned puts, size_t bytes, size_t rec,
              unsigned flags);

void eng_put(struct eng *e, struct cfs_blob key, struct cfs_blob value);
void eng_del(struct eng *e, struct cfs_blob key); /* absent: nothing happens */

struct eng_done {
    struct cfs_list link;
    struct cfs_task task;
    uint64_t        pos;
    int             status; /* 0, or -CFS_E_POISONED */
    void (*done)(struct eng_done *d);
};

/* Append the record; its position is returned, and d->pos. @d may be NULL.
 * Data blocks it names must have been written (eng_data_write done). */
uint64_t eng_commit(struct eng *e, const struct eng_rec *rec,
                    struct eng_done *d);

uint64_t eng_pos(const struct eng *e);     /* the next record's position */
uint64_t eng_durable(const struct eng *e); /* below this all is durable */
/* Which life of this store this is: counts opens for writing, durably. */
uint64_t eng_incarnation(const struct eng *e);

/* @d once everything committed so far is durable. One flush serves all who
 * wait. */
void eng_sync(struct eng *e, struct eng_done *d);

/* Start a checkpoint now (done: durable). */
void eng_checkpoint(struct eng *e, struct eng_done *d);

/* Called in the turn in which a checkpoint freezes the tree, before it does:
 * the last chance to put what is kept in memory (answers). Puts made here
 * need no eng_touch(), no eng_begin() and no record, but few nodes: at most
 * ENG_FREEZE_BYTES of keys and values at one freeze. In replay it is called
 * too, between two records, when memory is short. */
#define ENG_FREEZE_BYTES (256u * 1024u)
void eng_on_freeze(struct eng *e, void (*fn)(void *ctx), void *ctx);
/* Called before, when the engine has a loop to come back to, in the same turn
 * at last: it touches what will be put, and the checkpoint waits while it says
 * -CFS_E_MISS (but not for ever, should other keys be wanted each time). What
 * it has not touched would be read by the loop. */
void eng_before_freeze(struct eng *e, int (*fn)(void *ctx));
/* Each of them may change a leaf of its own, and more: so many have their
 * blocks in any case, however full the store is; a further one does while
 * eng_freeze_room(). */
unsigned eng_freeze_puts(const struct eng *e);
bool     eng_freeze_room(const struct eng *e);

/* -- blocks of data -------------------------------------------------------- */

/* Take @n blocks, as few extents as possible, near @goal (0: anywhere), at
 * most @max extents (n always suffice): -ENOSPC, -CFS_E_POISONED, or
 * -CFS_E_MISS: space comes back with the next checkpoint, eng_wait(). They
 * belong to the caller until a record names them or eng_unalloc(); a
 * checkpoint before that does not count them. */
int  eng_alloc(struct eng *e, uint32_t n, uint64_t goal, unsigned flags,
               struct eng_ext *ret, unsigned max, unsigned *ret_n);
void eng_unalloc(struct eng *e, struct eng_ext ext); /* at once reusable */
/* Whether @ext can hold data at all: what a record says of addresses is not
 * to be believed. All below ask for one that can. */
bool eng_ext_valid(const struct eng *e, struct eng_ext ext);
/* Within a change: reusable after the checkpoint that does not need them. */
void eng_free(struct eng *e, struct eng_ext ext);

/* Block I/O of whole blocks. done() later; -EIO. Extents being read are not
 * reused meanwhile. A write that fails poisons. What is read, or is about to
 * be written, is verified by the thread that does it, against @sums if they
 * are given: -CFS_E_CHECKSUM, and nothing is written. */
struct eng_io {
    struct cfs_job  job;
    struct eng     *eng;
    struct cfs_list link;
    struct cfs_task task;
    struct eng_ext  ext;
    uint8_t        *data; /* ext.n * 4096 bytes, aligned to 4096, borrowed */
    const uint64_t *sums; /* XXH3-64 of each block, borrowed; or NULL */
    uint64_t        epoch; /* the engine's */
    bool            write;
    bool            direct; /* a read around the page cache */
    int             status;
    void (*done)(struct eng_io *io);
};
/* 0 or -CFS_E_CHECKSUM: of @io's bytes. Any thread. */
static inline int eng_io_verify(const struct eng_io *io)
{
    for (uint32_t i = 0; io->sums && i < io->ext.n; i++)
        if (XXH3_64bits(io->data + (size_t)i * 4096, 4096) != io->sums[i])
            return -CFS_E_CHECKSUM;
    return 0;
}
void eng_data_read(struct eng *e, struct eng_io *io);
void eng_data_write(struct eng *e, struct eng_io *io);

/* -- for tools ------------------------------------------------------------- */

/* An engine opened with blocking, whose loop does not run, gives memory back
 * only here. All pointers that came back end. */
void eng_trim(struct eng *e);

/* What the device has at @ext, whatever the page cache has. Blocking; any
 * thread. */
int eng_read_now(struct eng *e, struct eng_ext ext, void *buf);

/* As eng_scan(), for a tool, from outside its loop: the pool reads what comes
 * next. @fn may read records, but not sweep. */
int eng_sweep(struct eng *e, struct cfs_blob lo, struct cfs_blob hi,
              eng_each *fn, void *ctx);

/* Walk everything below the newest checkpoint (and the journal): each node
 * verified against its parent, each block counted. @node(lba, n) for every
 * tree node's and overflow value's blocks. Blocking. */
#define ENG_LARGE 255u

struct eng_check {
    void *ctx;
    void (*bad)(void *ctx, const char *fmt, ...) CFS_PRINTF(2, 3);
    void (*used)(void *ctx, struct eng_ext ext, const char *what);
    /* NULL, or: with a node of @level all keys from @lo up to @hi (hi.len 0:
     * the end) are lost; with a large value (ENG_LARGE) the record @lo. */
    void (*lost)(void *ctx, unsigned level, struct cfs_blob lo,
                 struct cfs_blob hi);
    /* NULL, or: a copy of a node of @level in which @lo would be (of the value
     * of the record @lo), at @lba, is bad, and another is not. */
    void (*copy)(void *ctx, unsigned level, struct cfs_blob lo, uint64_t lba);
    void (*progress)(void *ctx, uint64_t nodes); /* now and then; or NULL */
    bool no_map; /* whatever the space map says */
};
int eng_check(struct eng *e, const struct eng_check *c);
/* Whether the space map says that @lba is in use. */
bool eng_in_use(const struct eng *e, uint64_t lba);
uint64_t eng_first_lba(const struct eng *e);
uint64_t eng_end_lba(const struct eng *e);

/* Give all free space back to what lies below (docs/store.md), for a tool, of a
 * store that it has found sound, on a device that can be written: blocks that
 * neither the newest checkpoint nor the journal needs. Blocking; @progress
 * (or NULL) is told now and then. Bytes that were, or with @dry would be;
 * some may have been on an error: -EOPNOTSUPP, ... */
int eng_discard_free(struct eng *e, bool dry,
                     void (*progress)(void *ctx, uint64_t done, uint64_t of),
                     void *ctx, uint64_t *ret_bytes);

/* A repair. An engine opened with .repair bears a space map that is wrong or
 * in part unreadable, changes to records are made as always but stay in memory,
 * and nothing is written until eng_repair(). */

/* Take out of the tree what eng_check.lost() said. */
void eng_cut(struct eng *e, unsigned level, struct cfs_blob lo);
/* Write anew, in all its copies, what eng_check.copy() said. */
void eng_rewrite(struct eng *e, unsigned level, struct cfs_blob lo);
/* What ops keep in memory goes into the tree; they are not asked again. */
void eng_settle(struct eng *e);
/* Whether parts of the space map could not be read. */
bool eng_map_lost(const struct eng *e);

#define ENG_SUPER_FIRST 1u /* the superblock at the start is not whole, */
#define ENG_SUPER_LAST  2u /* or the one at the end, */
#define ENG_SUPER_SPARE 4u /* or the spare one, */
#define ENG_SUPER_OLD   8u /* or that is older, which is no damage */
unsigned eng_copies(struct eng *e);

/* The superblock once more wherever it is not whole, durably, whatever lies
 * there (blocking): of a store on @dev of which one copy is left, and a
 * checkpoint record that proves it. @ret_bad: ENG_SUPER_* before; 0: nothing
 * was written. @dry: nothing is. -EINVAL: there is none. */
int eng_restore(struct cfs_dev *dev, bool dry, unsigned *ret_bad,
                struct cfs_err *err);

/* The blocks in use are those set in @owned (a bit for each block from
 * eng_first_lba() on); the space map says so from now on, blocks can be
 * allocated and written, and eng_incarnation() is the new life's. -ENOSPC:
 * @more of them and the tree's new nodes do not fit beside what the device
 * holds now. */
int eng_repair_begin(struct eng *e, const uint64_t *owned, uint64_t more,
                     struct cfs_err *err);
/* Blocks that eng_alloc() gave: a record refers to them from now on. */
void eng_repair_take(struct eng *e, struct eng_ext ext);
/* Write it: superblocks that are not whole, then one checkpoint, clean as the
 * engine understands it, in a new life. A power cut leaves the old state or
 * the new. The engine is then only to be closed. */
int eng_repair(struct eng *e, struct cfs_err *err);

/* Slots of the heartbeat region (beat.h); small devices have fewer. */
#define ENG_HB_SLOTS 4096u
unsigned eng_hb_slots(const struct eng *e);

#endif
