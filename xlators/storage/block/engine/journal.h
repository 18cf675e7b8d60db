/* SPDX-License-Identifier: Apache-2.0 */
/* journal.h - the circular journal: append, write once a turn, flush for many.
 *
 * Shapes     a position counts bytes since the store was made; it lies at
 *            position modulo the journal's size. A record begins where its
 *            predecessor ended, or at the next block.
 *
 *   start       replay would begin here: the newest durable checkpoint's
 *   durable     all below is safe from a power cut
 *   written     all below is in the page cache: safe from our own death
 *   end         of the newest record
 *   pos         where the next one goes: there, or at the next block
 *
 * durable and written are ends of records (or a start), so that a record that
 * states the first says exactly how far the chain must reach.
 *
 * (1) start, written <= end (but start may be pos) <= pos <= start + size.
 * (2) One write and one flush at a time. A block that a flush covers is not
 *     written again: after it the next record begins at a new block.
 * (3) done() of a commit runs after its write, of a sync after its flush, and
 *     after a failure of either, with -CFS_E_POISONED.
 */
#ifndef CFS_BLOCK_JOURNAL_H
#define CFS_BLOCK_JOURNAL_H

#include "xlators/storage/block/engine/engine.h"
#include "xlators/storage/block/engine/format.h"

/* Records on their way to the device. */
struct jrn_buf {
    uint8_t *data; /* aligned */
    size_t   cap;
    size_t   len;  /* bytes filled */
    uint64_t pos;  /* of data[0]; a multiple of the block */
};

/* Somebody who waits for a flush that began after he came. */
struct jrn_flush {
    struct cfs_list link;
    void (*done)(struct eng *e, struct jrn_flush *f);
};

struct jrn {
    uint64_t base; /* byte offset on the device */
    uint64_t size;
    uint64_t start;
    uint64_t durable;
    uint64_t written;
    uint64_t end;
    uint64_t pos;
    uint64_t chain; /* sum of the newest record */
    uint64_t records; /* committed in this life */
    uint64_t least;   /* that a replay must reach at least */

    struct jrn_buf buf;     /* being filled */
    struct jrn_buf going;   /* being written by the pool */
    struct cfs_hook hook;
    struct cfs_list commits; /* eng_done.link, in order of pos */
    struct cfs_job  write_job;
    bool            writing;
    int             write_rc;

    struct cfs_job  flush_job;
    bool            flushing;
    int             flush_rc;
    uint64_t        flush_pos; /* durable after the flush in flight */
    struct cfs_list syncs;   /* eng_done.link, in order of pos */
    struct cfs_list want;    /* jrn_flush.link: the next flush */
    struct cfs_list in_flush; /* jrn_flush.link: the one in flight */
    uint64_t        flushes;
};

void jrn_init(struct eng *e);
void jrn_fini(struct eng *e);

/* Go on behind @pos, an empty journal's start. */
void jrn_set(struct eng *e, uint64_t pos, uint64_t chain);

/* Whether a record of @len bytes fits now. */
bool   jrn_room(const struct eng *e, size_t len, bool reserve);
size_t jrn_rec_bytes(size_t n_ext, size_t n_sums, size_t body);

/* One flush, joined with all who want one; done() later, also when poisoned. */
void jrn_want_flush(struct eng *e, struct jrn_flush *f);

/* A durable checkpoint: replay begins at @start. */
void jrn_advance(struct eng *e, uint64_t start);

/* The engine is poisoned: nobody waits any more. */
void jrn_fail(struct eng *e);
bool jrn_idle(const struct eng *e);

/* After a clean stop: that no later life has begun there. If one has, its
 * checkpoint records are lost, in all their copies. -CFS_E_CORRUPT, -EIO. */
int  jrn_confirm(struct eng *e, struct cfs_err *err);
/* What is in the journal behind the newest checkpoint: find its end, mark the
 * blocks that its records name. Nothing is written. -CFS_E_CORRUPT, -EIO. */
struct jscan;
int  jrn_examine(struct eng *e, struct jscan **ret, struct cfs_err *err);
/* Apply it; then pos is its end. Also: what @replay returns. */
int  jrn_apply(struct jscan *sc, eng_replay *replay, void *ctx,
               struct cfs_err *err);
void jscan_free(struct jscan *sc); /* NULL is fine */

#endif
