/* SPDX-License-Identifier: Apache-2.0 */
/* busy_core.h - the busiest inodes, in bounded memory: the space-saving sketch
 * (Metwally, Agrawal, El Abbadi 2005).
 *
 * BUSY_MAX inodes are counted. One that comes when all places are taken gets
 * the place of the least counted, and that one's count as its own, which is
 * remembered as @over: by so much at most the count is too high. So of n
 * operations every inode with more than n / BUSY_MAX is among them.
 *
 * What an inode was called is known if a lookup or a creation of it came by
 * while it was counted: both count.
 */
#ifndef CFS_IO_STATS_BUSY_CORE_H
#define CFS_IO_STATS_BUSY_CORE_H

#include "core/base.h"

#define BUSY_MAX  128u
#define BUSY_NAME 96u

/* Bytes and kinds count from when the inode got its place. */
struct busy_inode {
    struct cfs_gfid gfid;
    uint64_t        ops;
    uint64_t        over;
    uint64_t        reads; /* operations that change nothing */
    uint64_t        changes;
    uint64_t        read;    /* bytes */
    uint64_t        written; /* bytes */
    struct cfs_gfid parent;  /* of @name; null: not known */
    uint16_t        name_len;
    char            name[BUSY_NAME]; /* its beginning, if it is longer */
};

struct busy {
    unsigned          n;
    struct busy_inode inode[BUSY_MAX];
    uint64_t          ops[BUSY_MAX]; /* of each, close together */
    uint8_t           slot[2 * BUSY_MAX]; /* by hash: place + 1, or 0 */
};

void busy_clear(struct busy *b);
/* One more operation on @gfid. The place stays good until the next call. */
struct busy_inode *busy_count(struct busy *b, struct cfs_gfid gfid);
void busy_name(struct busy_inode *i, struct cfs_gfid parent,
               struct cfs_name name);
/* Places in order of operations, most first, into @ret; how many. */
unsigned busy_order(const struct busy *b, uint8_t ret[static BUSY_MAX]);

#endif
