/* SPDX-License-Identifier: Apache-2.0 */
/* prepare.h - make devices into bricks, for volume create.
 *
 * Two steps on a pool thread: prep_look() finds out what the devices are, and
 * changes nothing; prep_make() runs mkfs.clusterfs on each. A prep_make()
 * that fails takes back what it did; prep_undo() does when a later step fails.
 *
 * Threads  a pool thread (all of it blocks); between the calls the loop may
 *          read and change the struct.
 * Errors   for people: they name the brick and the option that overrides.
 */
#ifndef CFS_MGMTD_PREPARE_H
#define CFS_MGMTD_PREPARE_H

#include "core/fop.h"

struct prep_brick {
    char           *node;      /* whose device it is (node_prepare.c) */
    unsigned        index;     /* in the volume */
    char           *path;      /* as given: absolute; "": prep_look() chooses */
    char           *canonical; /* from prep_look(): without links */
    struct cfs_uuid id;
    uint64_t        size;   /* bytes; 0 before: prep_make() decides */
    bool            exists; /* a device or file was there before */
    bool            made;   /* by prep_make() */
    bool            undone; /* by node_prep_undo() */
};

struct prep {
    unsigned          n;
    struct prep_brick brick[CFS_SET_MAX];
    uint64_t          size;    /* of each, bytes; 0: by the free space */
    bool              sparse;
    bool              force;
    struct cfs_uuid   cluster;
    struct cfs_time   now;     /* the same for all replicas */
    const char       *volume;
    const char       *dir; /* for bricks without a path: DIR/bricks */
};

int  prep_look(struct prep *p, struct cfs_err *err);
int  prep_make(struct prep *p, struct cfs_err *err);
/* Take back what a prep_make() made, in this process or in another one: what
 * is not a brick with that identity, or an empty file, is left alone. -EBUSY:
 * the mkfs of another process, which ended, is still at work there. */
int  prep_undo(struct prep *p, struct cfs_err *err);
void prep_fini(struct prep *p);

#endif
