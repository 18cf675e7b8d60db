/* SPDX-License-Identifier: Apache-2.0 */
/* victim.h - a small brick with every kind of object in it, images of it that
 * are to be damaged, and what a client sees of such an image.
 *
 * Its history is recorded from the first byte that mkfs wrote, so that any
 * block may be given back what it held before its last write. It ends either
 * by a clean stop, or by a kill with a journal that is to be applied: then the
 * last VICTIM_TAIL changes came after the last fsync, nothing on the device
 * says that they are durable, and a brick that has lost the end of its journal
 * may be as it was before any of them.
 *
 * Ownership  images are the caller's; one is looked at at a time.
 */
#ifndef CFS_TESTS_VICTIM_H
#define CFS_TESTS_VICTIM_H

#include "server/fsck.h"
#include "tests/unit/recdev.h"
#include "tests/unit/store_fix.h"

#define VICTIM_SIZE  ((uint64_t)32 << 20)
#define VICTIM_TAIL  4u
#define VICTIM_INODES 160u

/* What a block is there for. */
enum victim_area {
    VICTIM_SUPER,  /* superblocks, checkpoint records */
    VICTIM_MAP,    /* indexes, pages of the space map */
    VICTIM_NODE,
    VICTIM_JOURNAL,
    VICTIM_OTHER,  /* data, large values */
    VICTIM_FREE,   /* never written, the heartbeat region */
    VICTIM_AREAS,
};

/* A block that was written. */
struct victim_block {
    uint64_t         lba;
    enum victim_area area;
    bool             live; /* after the last checkpoint, or by it */
    bool             tail; /* last by a change that may be lost */
    uint8_t         *old;  /* before its last write, 4096 bytes */
};

struct victim {
    struct fix       f;    /* who made it, then who looks */
    struct recdev   *dev;  /* as it was left, recorded from there */
    struct reccut   *cut;
    struct victim_block *block; /* in order of lba */
    unsigned         n_blocks;
    struct cfs_gfid  gfid[VICTIM_INODES];
    unsigned         n;
    size_t           live;   /* events before the last checkpoint */
    unsigned         states; /* in which it may be; the last is the right one */
    uint64_t         want[VICTIM_TAIL + 1][VICTIM_INODES];
    uint8_t         *buf;
};

void victim_make(struct victim *v, bool killed);
void victim_free(struct victim *v);

/* As it was left, for the caller to damage and to free. */
struct recdev *victim_image(struct victim *v);

/* What came of an image. */
struct victim_look {
    bool     opened;   /* fsck could look at it */
    bool     started;  /* brickd would have served it */
    uint64_t findings; /* of fsck */
    unsigned errors;   /* inodes that could not be read */
    unsigned states;   /* bit i: what could be read is as in state i */
    bool     lied;     /* something that was read never was; told on stderr */
};

/* Look at @image as fsck does, and as a client of a brickd does. */
void victim_look(struct victim *v, struct recdev *image,
                 struct victim_look *ret);

/* The halves of it, without a word about what was wrong: open for reading and
 * check; start, serve. 0, or the error of the open. */
int victim_fsck(struct victim *v, uint64_t *ret_findings);
int victim_start(struct victim *v);

/* Everything that a client can see of @g: 0 and a hash, or an error. */
int victim_see(struct victim *v, struct cfs_gfid g, uint64_t *ret);

#endif
