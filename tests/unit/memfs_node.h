/* SPDX-License-Identifier: Apache-2.0 */
/* memfs_node.h - the model behind memfs_xl.c: inodes, entries, pages and
 * attributes in memory. Sizes are those of tests: tables are small and fixed.
 */
#ifndef CFS_TESTS_UNIT_MEMFS_NODE_H
#define CFS_TESTS_UNIT_MEMFS_NODE_H

#include "core/fop.h"

#define MEMFS_BUCKETS 4096u

struct mpage {
    uint64_t no; /* of CFS_BLOCK bytes */
    uint8_t *data;
};

struct mxattr {
    struct cfs_list link;
    char           *name;
    uint32_t        name_len;
    void           *value;
    uint32_t        value_len;
};

struct mnode {
    struct cfs_list hash;
    struct cfs_attr attr;
    struct cfs_list entries; /* of a directory, by cookie */
    uint64_t        last_cookie; /* dense: off by one would be seen */
    struct cfs_list xattrs;
    struct mpage   *page; /* sorted by no */
    size_t          n_page;
    size_t          cap_page;
    char           *target;
    bool            corrupt;
};

struct mentry {
    struct cfs_list hash;
    struct cfs_list link;
    struct mnode   *dir;
    struct mnode   *child;
    uint64_t        cookie;
    uint32_t        len;
    char            name[CFS_NAME_MAX];
};

struct memfs {
    struct cfs_xl  *xl;
    struct cfs_list inodes[MEMFS_BUCKETS];
    struct cfs_list names[MEMFS_BUCKETS];
    uint64_t        n_inodes;
    uint64_t        n_blocks;
    uint64_t        hidden; /* inodes made behind the client's back */
    uint64_t        up_after_ms;
    struct cfs_timer up;
};

void memfs_setup(struct memfs *m);
void memfs_clear(struct memfs *m);

struct mnode  *memfs_find(struct memfs *m, struct cfs_gfid gfid);
struct mnode  *memfs_make(struct memfs *m, struct cfs_gfid gfid, uint32_t mode);
void           memfs_free(struct memfs *m, struct mnode *n);
struct mentry *memfs_entry(struct memfs *m, struct mnode *dir,
                           struct cfs_name name);
void memfs_entry_add(struct memfs *m, struct mnode *dir, struct cfs_name name,
                     struct mnode *child);
void memfs_entry_del(struct memfs *m, struct mentry *e);

/* The block's bytes, or NULL: a hole. */
uint8_t *memfs_page(const struct mnode *n, uint64_t no);
uint8_t *memfs_page_make(struct memfs *m, struct mnode *n, uint64_t no);
/* Drop blocks [from, to). */
void memfs_pages_drop(struct memfs *m, struct mnode *n, uint64_t from,
                      uint64_t to);
/* The first block at or behind @no that is there, or UINT64_MAX. */
uint64_t memfs_page_next(const struct mnode *n, uint64_t no);

void memfs_get(const struct mnode *n, uint64_t off, void *to, size_t len);
void memfs_put(struct memfs *m, struct mnode *n, uint64_t off, const void *from,
               size_t len);
void memfs_zero(struct memfs *m, struct mnode *n, uint64_t off, uint64_t len,
                bool punch);
void memfs_truncate(struct memfs *m, struct mnode *n, uint64_t size);

struct mxattr *memfs_xattr(struct mnode *n, struct cfs_name name);
void memfs_xattr_put(struct mnode *n, struct cfs_name name,
                     struct cfs_blob value);
void memfs_xattr_del(struct mxattr *x);

#endif
