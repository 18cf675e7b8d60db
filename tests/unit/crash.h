/* SPDX-License-Identifier: Apache-2.0 */
/* crash.h - a brick that is worked with while its device is recorded, and the
 * images that a power cut or a kill at any moment of that may leave, opened
 * and compared with the model.
 *
 * One seed decides a run: operations, how long the pool takes, which images.
 *
 * crash_run()   makes the run (crash_run.c);
 * crash_look()  looks at images of it (crash_look.c). An image is good when
 *               it opens; fsck finds nothing; each inode is as it was after
 *               some number of changes, the same for all; all are there that
 *               an fsync covered, or, after a kill, that were answered; the
 *               incarnation is new, and so is each generation that is written
 *               from then on; it takes changes.
 */
#ifndef CFS_TESTS_CRASH_H
#define CFS_TESTS_CRASH_H

#include "tests/unit/crash_model.h"
#include "tests/unit/recdev.h"
#include "tests/unit/simloop.h"
#include "tests/unit/store_fix.h"

#define CRASH_SYNCS 4u

/* What a run consists of; chances are of 100. */
struct crash_mix {
    const char *name;
    unsigned    mib;      /* of the device; a sixteenth is the journal's */
    unsigned    changes;
    unsigned    files;    /* names in use in each directory */
    unsigned    names;    /* chance of a change of names, not of bytes */
    unsigned    xattrs;   /* chance of a change of attributes */
    unsigned    syncs;
    unsigned    shift;    /* bytes of a write: the maximum >> up to this */
    uint32_t    xattr;    /* bytes of one, at most */
    bool        large;    /* few are much smaller */
    uint64_t    cache;    /* bytes; who looks at images has the least */
    unsigned    left;     /* blocks that are left free; 0: all */
    uint64_t    ckpt_ms;  /* between checkpoints */
    uint64_t    job_ns;   /* what the pool takes, */
    uint64_t    slow_ns;  /* now and then */
    uint64_t    pass_ns;  /* between operations, at most */
    bool        faults;   /* flushes or writes fail in the end */
};

#define CRASH_MIXES 7u
extern const struct crash_mix crash_mixes[CRASH_MIXES];

/* Whether the run of @seed is one with storage.discard, on a device. */
static inline bool crash_discards(uint64_t seed)
{
    return (seed - 1) / CRASH_MIXES / 2 % 2 == 1;
}

/* What a run did, and how often. */
#define CRASH_DID(X)                                                         \
    X(create) X(mkdir) X(rmdir) X(link) X(unlink) X(rename) X(replace)       \
    X(purge) X(overwrite) X(append) X(several_at_once) X(stream) X(ahead)    \
    X(truncate) X(punch)                                                     \
    X(zero) X(fallocate) X(mode) X(setxattr) X(removexattr) X(fsync)         \
    X(clear) X(checkpoint) X(journal_wrap) X(pack) X(packs) X(hole)          \
    X(widened)
enum crash_did {
#define X(name) DID_##name,
    CRASH_DID(X)
#undef X
    DID_N
};

/* For runs whose device fails at a chosen operation. */
extern const struct crash_mix crash_short_mix;

/* What the device does: the @after-th operation of @kind, and @times - 1
 * behind it. */
struct crash_fault {
    enum recdev_fault kind;
    uint64_t          after;
    uint64_t          times;
};

/* An fsync on its way. */
struct crash_sync {
    struct cfs_fsync op;
    struct cfs_call  call;
    struct fix_wait  w;
    bool             busy;
    unsigned         changes; /* that it makes durable */
};

struct crash {
    struct fix       f;
    struct recdev   *dev;
    struct m_model   m;
    const struct crash_mix *mix;
    uint64_t         seed;
    uint64_t         rnd;
    uint64_t         incarnation;
    struct cfs_gfid  ballast; /* a file at whose bytes nobody looks */
    uint64_t         ballast_size;
    struct crash_sync sync[CRASH_SYNCS];
    struct simloop_watch watch;
    unsigned         did[DID_N];
    uint8_t         *buf; /* M_SIZE bytes */
    bool             lossy; /* writes are lost: any error is to be expected */
    /* There is no memory: a change may be refused, and that is told. */
    void           (*refused)(struct crash *c);
    bool             over; /* the engine failed: that was the last change */
};

/* A run to its end, compared with the model. */
void crash_run(struct crash *c, uint64_t seed);
void crash_run_failing(struct crash *c, const struct crash_mix *mix,
                       uint64_t seed, const struct crash_fault *fault);
/* Its parts: @c has its mix, seed, and what may be expected. */
void crash_begin(struct crash *c, const struct crash_fault *fault);
void crash_steps(struct crash *c);
void crash_finish(struct crash *c);
/* No more than mix->left blocks are free from now on: the ballast grows. */
void crash_take_space(struct crash *c);
/* Every name and file of it goes, and is purged. */
void crash_empty(struct crash *c);
void crash_end(struct crash *c);

/* A number that follows from every write and flush of the run: the same seed
 * has the same one, however the program was built and wherever its memory
 * lies. */
uint64_t crash_trace(const struct crash *c);

struct crash_figures {
    unsigned images;
    unsigned again;  /* of these, of a start that was itself cut */
    unsigned killed; /* of these, of a kill */
    unsigned paused; /* starts that took checkpoints on their way */
    unsigned torn;   /* images with blocks of which only a part is there */
    unsigned bad;
};

/* Look at @images of them. Stops at the first that is not good, whose seed
 * and event are printed. */
void crash_look(struct crash *c, unsigned images, struct crash_figures *f);

/* What is left when a write was lost, and the brick is killed at the end. */
enum crash_lost {
    CRASH_FOUND, /* it does not open, or fsck has findings */
    CRASH_WAS,   /* it is as it was after some number of changes */
    CRASH_WRONG,
};
enum crash_lost crash_look_lost(struct crash *c);

/* How inode @g of the open brick looks. */
void crash_see(struct fix *f, struct cfs_gfid g, uint8_t *buf,
               struct m_seen *ret);

#endif
