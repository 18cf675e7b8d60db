/* SPDX-License-Identifier: Apache-2.0 */
/* engine_int.h - the engine's inside, shared by its files and by nobody else
 * but their tests. */
#ifndef CFS_BLOCK_ENGINE_INT_H
#define CFS_BLOCK_ENGINE_INT_H

#include <stdatomic.h>

#include "xlators/storage/block/engine/ahead.h"
#include "xlators/storage/block/engine/ckpt.h"
#include "xlators/storage/block/engine/data.h"
#include "xlators/storage/block/engine/discard.h"

/* Threads of the pool, and the loop's; what finds no slot is not known. */
#define ENG_IO_SLOTS 20u

struct eng {
    struct cfs_loop  *loop;
    struct cfs_log   *log;
    struct cfs_dev   *dev;
    struct eng_config conf;
    struct fmt_super  sb;
    struct fmt_ckpt   last; /* newest durable checkpoint record */
    uint64_t incarnation;
    uint64_t epoch;    /* of changes now; grows at each freeze, from 2 */
    bool     was_clean;
    bool     loading;  /* in eng_load(): the loop is not to be touched */
    bool     replaying;
    bool     freezing; /* in on_freeze */
    bool     closing;
    bool     in_line;  /* misses are read in line */
    unsigned copies;    /* of nodes and values that are written: 1, 2 */
    _Atomic uint64_t second_reads;
    uint64_t dirty_max; /* bytes of dirty and frozen nodes */

    int             poisoned;
    char            reason[CFS_ERR_TEXT];
    struct cfs_task poison_task;
    void (*on_poison)(void *ctx, int status);
    void *poison_ctx;
    void (*on_freeze)(void *ctx);
    int (*before_freeze)(void *ctx); /* the same context */
    void *freeze_ctx;

    struct cfs_list  slow;      /* eng_wait.link: put aside by eng_begin() */
    struct cfs_task  slow_task; /* wakes them all */
    struct cfs_timer slow_timer; /* wakes some, in each tick */
    uint64_t         credit;    /* changes that may still pass in this tick, */
    uint64_t         granted;   /* of so many */
    uint64_t         tick_load; /* eng_fill() at its start */
    uint64_t         cost;      /* of a change, in the same */

    struct cfs_task close_task;
    void (*closed)(void *ctx, int status);
    void *closed_ctx;
    bool  close_clean;
    bool  final_done;

    /* When each of what waits for the device began; 0: nothing there. */
    _Atomic uint64_t io[ENG_IO_SLOTS];

    struct cache cache;
    struct warm *warm; /* while a replay looks ahead, else NULL */
    void (*look)(void *ctx, const struct eng_rec *rec); /* or NULL */
    void *look_ctx;
    struct ahead ahead;
    struct tree  tree;
    struct space space;
    struct jrn   jrn;
    struct ckpt  ckpt;
    struct pace  pace;
    struct discard discard;
};

/* Fail for good: @code and why. The first reason stays. */
void eng_poison(struct eng *e, int code, const char *fmt, ...)
    CFS_PRINTF(3, 4);

/* What was waited for may be there: space, journal, dirty nodes. */
void eng_wake_slow(struct eng *e);

/* What was freed and is in no checkpoint and no read any more is free. */
void eng_release_freed(struct eng *e);

/* When closing: goes on when nothing is in flight. */
void eng_close_step(struct eng *e);

/* Queue d's done(). */
void eng_done_post(struct eng *e, struct eng_done *d, int status);

/* The parts that need no device; and all of them again. */
void eng_setup(struct eng *e);
void eng_teardown(struct eng *e);

/* Drop everything in memory as a kill would; nothing is written. The device
 * is closed. For tests; nothing may be in flight. */
void eng_drop(struct eng *e);

/* Around whatever may wait for the device. Any thread. */
unsigned eng_io_begin(struct eng *e);
void     eng_io_end(struct eng *e, unsigned io);

/* Whole blocks, any thread. */
int eng_read(struct eng *e, enum cfs_dev_via via, uint64_t lba, void *buf,
             uint64_t blocks);
int eng_write(struct eng *e, enum cfs_dev_via via, uint64_t lba,
              const void *buf, uint64_t blocks);

/* The checksum of metadata. */
uint64_t eng_sum(const struct eng *e, const void *p, size_t len);

/* Blocks that changes (@flags: ENG_RESERVE) may take now; negative: none. */
int64_t eng_avail(const struct eng *e, unsigned flags);

/* How near its bound the nearest of what fills up is: journal, dirty nodes. */
uint64_t eng_fill(const struct eng *e);

/* @lack blocks are missing: -CFS_E_MISS when they come back by themselves
 * (and are being seen to), -ENOSPC. */
int eng_short_of_space(struct eng *e, int64_t lack);

/* Memory: they end the process when there is none. */
void *eng_calloc(size_t len);
void *eng_realloc(void *p, size_t len);
void *eng_alloc_aligned(size_t len);

#endif
