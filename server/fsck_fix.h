/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_fix.h - what mends what the checker finds.
 *
 * Each check that finds something says here what would mend it; nothing is
 * changed meanwhile. When the check is over, fsck_fixes_apply() changes the
 * records in memory, and the check is made again: what one fix brings to
 * light is the next round's. So the fixes are small and local, and the checker
 * itself says when it is done.
 *
 * What they keep to:
 * (1) Nothing that may be somebody's data is thrown away for being in no
 *     place: inodes without names go to /lost+found, an inode whose record is
 *     lost is made anew from what refers to it.
 * (2) Lost data never becomes good: a file that lost some is marked
 *     (REC_LOST), and what cannot be known of it cannot be read.
 * (3) An inode that was changed has a version that no other replica has
 *     (epoch 0).
 *
 * Without fixes (f->config->fixes NULL) all of these do nothing.
 */
#ifndef CFS_SERVER_FSCK_FIX_H
#define CFS_SERVER_FSCK_FIX_H

#include "server/fsck.h"

struct fsck;

/* Fields of an inode's record. MIN: at least; LESS: by so many less. */
enum fsck_field {
    SET_NLINK,
    SET_PARENT,
    SET_DIRTY,
    SET_SIZE,
    MIN_SIZE,
    MIN_SEQ,
    SET_FLAG,
    CLEAR_FLAG,
    LESS_COUNT, /* blocks; entries */
    LESS_MARKS,
    LESS_XATTRS,
};

void fsck_fix_this(struct fsck *f); /* the record at hand goes */
void fsck_fix_put(struct fsck *f, const struct rec_key *k, const void *v,
                  uint32_t len);
void fsck_fix_del(struct fsck *f, const struct rec_key *k);
void fsck_fix_set(struct fsck *f, struct cfs_gfid g, enum fsck_field field,
                  int64_t n);
void fsck_fix_parent(struct fsck *f, struct cfs_gfid g,
                     struct cfs_gfid parent);
/* It has no name: one in /lost+found, when nothing else is left to mend. */
void fsck_fix_link(struct fsck *f, struct cfs_gfid g);
/* Of a directory's names one stays, in its parent if there is one; or none. */
void fsck_fix_names(struct fsck *f, struct cfs_gfid g, bool keep_one);
/* The inode goes with all that is its. */
void fsck_fix_forget(struct fsck *f, struct cfs_gfid g);
/* Entry @name gets a cookie that no other has. */
void fsck_fix_cookie(struct fsck *f, struct cfs_gfid dir,
                     struct cfs_name name);
/* Block @block of @g is no part of it any more; or is its, or another's. */
void fsck_fix_unmap(struct fsck *f, struct cfs_gfid g, uint64_t block);
void fsck_fix_double(struct fsck *f, struct cfs_gfid g, uint64_t block,
                     uint64_t lba, const uint64_t *sum, bool tree);
/* Zeros behind the end of @g, in its last block. */
void fsck_fix_tail(struct fsck *f, struct cfs_gfid g, uint64_t block);
/* The brick's record is made anew from what was counted. */
void fsck_fix_brick(struct fsck *f);
void fsck_fix_cut(struct fsck *f, unsigned level, struct cfs_blob lo);
void fsck_fix_rewrite(struct fsck *f, unsigned level, struct cfs_blob lo);

/* Something refers to inode @g, which has no record. */
enum fsck_trace {
    TRACE_NAME,    /* an entry, the record at hand; @n: its type */
    TRACE_ENTRIES, /* it is a directory, for it has some */
    TRACE_CHUNK,   /* @n: where it ends, in bytes */
    TRACE_SMALL,   /* @n: bytes */
    TRACE_XATTR,
};
void fsck_fix_trace(struct fsck *f, struct cfs_gfid g, enum fsck_trace what,
                    uint64_t n);

/* -- all of them ---------------------------------------------------------- */

/* A last block whose end is to be zeros. */
struct fsck_tail {
    struct cfs_gfid gfid;
    uint64_t        block;
};

struct fsck_fixes *fsck_fixes_new(struct cfs_time now);
void fsck_fixes_free(struct fsck_fixes *x);
uint64_t fsck_fixes_count(const struct fsck_fixes *x);
/* Whether any of them changed a record, not only where it lies. */
bool fsck_fixes_changed(const struct fsck_fixes *x);
/* Whether parts of the tree are to be cut out first. */
bool fsck_fixes_cut(const struct fsck_fixes *x);
/* Change the records; the fixes are gone. How many had an effect. */
uint64_t fsck_fixes_apply(struct fsck_fixes *x, struct cfs_loop *loop,
                          struct eng *e);
/* What is left for the end: they need blocks. */
const struct fsck_tail *fsck_fixes_tails(const struct fsck_fixes *x,
                                         size_t *ret_n);

#endif
