/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt.h - checkpoints: freeze, write, flush, record, flush, finish.
 *
 *   idle     -> writing   ckpt_freeze(): epochs move on, blocks are reserved
 *   writing  -> flushing  the pool wrote nodes and space map
 *   flushing -> record    they are durable
 *   record   -> settling  the pool wrote the record at both ends
 *   settling -> finish    it is durable: journal and freed blocks are free
 *   finish   -> idle      every frozen node knows its address, in small steps
 *
 * (1) Nothing that is durable refers to what is not: the record is written
 *     when all below it is durable, and freed blocks and the journal behind it
 *     are used when the record is.
 * (2) The freeze takes time in proportion to nothing.
 */
#ifndef CFS_BLOCK_CKPT_H
#define CFS_BLOCK_CKPT_H

#include "xlators/storage/block/engine/journal.h"
#include "xlators/storage/block/engine/space.h"
#include "xlators/storage/block/engine/super.h"
#include "xlators/storage/block/engine/tree.h"

enum ckpt_phase {
    CKPT_IDLE,
    CKPT_WRITING,
    CKPT_FLUSHING,
    CKPT_RECORD,
    CKPT_SETTLING,
    CKPT_FINISH,
};

struct ckpt {
    enum ckpt_phase phase;
    bool            asked; /* another one is wanted */
    uint64_t        epoch; /* that it froze */
    uint64_t        durable_epoch; /* the newest that is durable */
    struct cfs_task task;  /* freezes */
    struct cfs_task step;  /* of the finish */
    struct cfs_timer timer;
    struct cfs_job  job;
    struct jrn_flush flush;
    int             rc;
    bool            preparing; /* .wait: for leaves that the freeze needs */
    unsigned        prepared;  /* so often */
    struct eng_wait wait;
    struct cfs_list next; /* eng_done.link: wait for one that freezes later */
    struct cfs_list now;  /* eng_done.link: wait for this one */
    uint64_t        count;
    uint64_t        load;  /* eng_fill() at its freeze */
    uint64_t        began; /* ns: this half of it: writing, making durable */
    uint64_t        took_write; /* ns: the halves of those before */
    uint64_t        took_rest;

    /* Frozen: what the pool writes. */
    struct dirt    *list;
    uint32_t        n_list;
    uint32_t        cap_list;
    uint32_t        at;      /* the finish has come this far */
    uint32_t        root_idx; /* the root's number in the list, or... */
    struct fmt_ptr  root;    /* ...where it lies */
    uint64_t        blocks;  /* of all nodes of the list */
    uint64_t        written; /* of these; the pool counts */
    struct extv     ext;     /* where they go, */
    struct extv     ext2;    /* and their second copies */
    struct fmt_ptr *result;  /* for each block */
    uint64_t        cap_result;
    struct mdirt   *maps;
    size_t          n_maps;
    size_t          cap_maps;
    uint64_t        jrn_start;
    uint64_t        jrn_records; /* committed before the last freeze */
    struct fmt_ckpt rec;
    struct fmt_super *mark; /* as it is to be from now on; NULL: as it is */
    uint8_t        *slot;   /* SLOT_BYTES: the record as written */
    uint8_t        *bounce; /* CKPT_RUN bytes */
    uint8_t        *bounce2; /* the same, for second copies */
};

#define CKPT_RUN (1024u * 1024u)
#define ROOT_CLEAN UINT32_MAX

void ckpt_init(struct eng *e);
void ckpt_fini(struct eng *e);
void ckpt_start_timer(struct eng *e);
void ckpt_kick(struct eng *e);          /* soon */
int  ckpt_inline(struct eng *e, bool clean); /* now, all of it; it is idle */
void ckpt_fail(struct eng *e);          /* poisoned */
bool ckpt_idle(const struct eng *e);

/* How far it has come, as well as can be told: of CKPT_WHOLE. */
#define CKPT_WHOLE 1024u
uint64_t ckpt_progress(const struct eng *e);

/* The pool's part of a checkpoint (ckpt_write.c). */
int ckpt_write(struct eng *e);

/* Write the record at both ends (blocking, not flushed). */
int ckpt_write_record(struct eng *e);

/* A new life: the newest record once more, with the next incarnation, not
 * clean; @restart: the journal is empty, and begins anew. Durable. */
int ckpt_new_life(struct eng *e, bool restart);

#endif
