/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_fix_int.h - between fsck_fix.c and fsck_trace.c. */
#ifndef CFS_SERVER_FSCK_FIX_INT_H
#define CFS_SERVER_FSCK_FIX_INT_H

#include "server/fsck_int.h"

enum fix_kind {
    FIX_DEL,    /* .key */
    FIX_PUT,    /* .key, .value */
    FIX_SET,    /* .gfid, .field, .n or .other */
    FIX_NAMES,  /* .gfid; .n: one stays */
    FIX_FORGET, /* .gfid */
    FIX_COOKIE, /* .key: of the entry */
    FIX_UNMAP,  /* .gfid; .n: the block */
    FIX_DOUBLE, /* the same; .lba, .sum, .tree */
    FIX_BRICK,  /* .brick */
    FIX_CUT,    /* .n: the level; .key: the lower bound */
    FIX_REWRITE, /* the same: it stays, in new places */
    FIX_LINK,   /* .gfid */
};

struct fix {
    enum fix_kind    kind;
    enum fsck_field  field;
    struct cfs_gfid  gfid;
    struct cfs_gfid  other;
    uint64_t         n;
    uint64_t         lba;
    uint64_t         sum;
    bool             summed;
    bool             tree;
    uint16_t         key_len;
    uint32_t         len;
    uint8_t         *key;
    uint8_t         *value;
    struct rec_brick brick;
};

/* A reference to an inode that has no record. */
struct trace {
    struct cfs_gfid gfid;
    enum fsck_trace what;
    uint64_t        n;
    uint8_t        *key; /* TRACE_NAME: of the entry */
    uint16_t        key_len;
};

struct fsck_fixes {
    struct fix       *v;
    size_t            n, cap;
    struct trace     *trace;
    size_t            n_trace, cap_trace;
    struct fsck_tail *tail;
    size_t            n_tail, cap_tail;
    bool              cuts; /* there are some: all else waits */
    bool              changed; /* records */
    struct cfs_time   now;
};

struct fix_keys {
    struct rec_key *v;
    size_t          n, cap;
};

void *mend_copy(const void *p, size_t len);
void  mend_put(struct eng *e, const struct rec_key *k, const void *v,
              uint32_t len);
bool  mend_inode_get(struct eng *e, struct cfs_gfid g, struct rec_inode *ret);
/* With a version that no replica has. */
void  mend_inode_put(struct eng *e, struct cfs_gfid g, struct rec_inode *i);
void  mend_forget(struct eng *e, struct cfs_gfid g);

/* Make inodes of traces, or take these away (fsck_trace.c). */
uint64_t mend_traces(struct fsck_fixes *x, struct eng *e);

#endif
