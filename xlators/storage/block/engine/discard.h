/* SPDX-License-Identifier: Apache-2.0 */
/* discard.h - freed space is given back to what lies below the store: to a
 * device that is told what it need not keep, or to the file system in which
 * an image lies (`storage.discard`).
 *
 * (1) Only blocks that anybody could take: the checkpoint without them is
 *     durable, and reads that began before have ended.
 * (2) While the pool discards blocks they are taken, so that nobody writes
 *     them; then they are free. One job at a time.
 * (3) A device: runs of at least 64 KiB, once each. They are held back between
 *     freed and free; who is short of space gets what waits at once.
 * (4) An image: whole map pages (128 MiB) in which nothing is. They are not
 *     backed from then on: later use is allocated ahead, so that ENOSPC stays
 *     decided before anything has changed. As much as is to be there ahead, and
 *     a page more, stays.
 * (5) A discard that fails costs nothing but that: it is said once, and nothing
 *     is discarded any more.
 *
 * Units      blocks.
 * Threads    the loop's; jobs in the pool touch only .going, .at and .to.
 */
#ifndef CFS_BLOCK_DISCARD_H
#define CFS_BLOCK_DISCARD_H

#include "xlators/storage/block/engine/space.h"

struct discard {
    bool             on;      /* asked for, and possible */
    bool             refused; /* it failed: off until asked for anew */
    bool             running;
    bool             look;    /* an image: pages may have become empty */
    struct cfs_job   job;
    struct cfs_timer timer;   /* between two jobs */
    int              rc;
    uint64_t         began;
    uint64_t         done;    /* discarded so far */
    uint64_t         round;   /* by the job at hand */

    /* A device. */
    struct cfs_list queue;    /* struct freed: taken, waiting */
    struct freed   *going;    /* in order once .sorted; done up to .at */
    bool            sorted;
    size_t          at;
    size_t          to;

    /* An image. */
    struct eng_ext  run;      /* of a page, taken */
    uint32_t        page;
};

void discard_init(struct eng *e);
void discard_fini(struct eng *e);

/* Switch it; on again after a failure only from off. */
void discard_set(struct eng *e, bool on);

/* Whether freed blocks go through discard_add(). */
bool discard_wants(const struct eng *e);
/* Takes over @f, whose blocks are taken and nobody's. */
void discard_add(struct eng *e, struct freed *f);
/* Blocks have become free: go on, or begin. */
void discard_kick(struct eng *e);

/* Space is short: what only waits for its turn is free at once. Whether there
 * was any, or a job will give some back. */
bool discard_yield(struct eng *e);

/* Blocks of a device that are free as soon as they are discarded. */
uint64_t discard_pending(const struct eng *e);
/* These, or those of an image that may be backed again thereafter. */
uint64_t discard_held(const struct eng *e);
/* Whether @page of an image is being punched. */
bool discard_has_page(const struct eng *e, uint32_t page);
bool discard_idle(const struct eng *e);

#endif
