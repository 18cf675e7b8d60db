/* SPDX-License-Identifier: Apache-2.0 */
/* data.h - blocks of file data: their I/O, the pace at which written bytes
 * leave the page cache, the image's growth.
 *
 * (1) Bytes that were written and are not on the device are bounded; beyond
 *     that a write waits until earlier ones are there.
 * (2) One pacing job at a time: while it starts and awaits the write-out of
 *     one batch, the next is collected.
 */
#ifndef CFS_BLOCK_DATA_H
#define CFS_BLOCK_DATA_H

#include "xlators/storage/block/engine/space.h"

struct pace {
    struct extv    batch;  /* written, in blocks; write-out not begun */
    struct extv    going;  /* the pool's */
    uint64_t       batched;   /* bytes in batch */
    uint64_t       unwritten; /* bytes in both, and being copied */
    uint64_t       bound;     /* bytes: some 50 ms of the device */
    uint64_t       began;
    struct cfs_job job;
    bool           running;
    int            rc;

    struct cfs_list waiting; /* eng_io.link: writes, until the bound allows */
    struct cfs_list reads; /* eng_io.link, in order of start */
    uint64_t       *seen;  /* SEEN places of large reads, by hash */
    unsigned        io;    /* reads and writes in flight */

    /* A sparse image: blocks are allocated ahead. */
    struct cfs_job  back_job;
    struct cfs_timer back_timer; /* tries again after a failure */
    uint32_t        back_page;
    bool            backing;
    bool            back_failed; /* the image's file system is full */
    int             back_rc;
};

void data_init(struct eng *e);
void data_fini(struct eng *e);

/* @len bytes at byte @off are in the page cache: have them written out. */
void data_wrote(struct eng *e, uint64_t off, uint64_t len);
/* Whether @len more bytes may be written in line. */
bool data_may_inline(const struct eng *e, uint64_t len);

/* The engine is poisoned: no write waits any more. */
void data_fail(struct eng *e);

/* The epoch of the oldest read in flight; UINT64_MAX: none. */
uint64_t data_oldest_read(const struct eng *e);

/* Sparse images: learn what is allocated; see to it that enough is. */
void data_back_open(struct eng *e);
void data_back_ahead(struct eng *e);
/* Whether @page is being allocated now. */
bool data_backs_page(const struct eng *e, uint32_t page);
/* Whether enough stays allocated ahead without @n free blocks. */
bool data_may_unback(const struct eng *e, uint64_t n);
/* More may become usable than is now. */
bool data_may_back(const struct eng *e);
bool data_idle(const struct eng *e);

#endif
