/* SPDX-License-Identifier: Apache-2.0 */
/* inode.h - the inodes that the kernel knows of on a mount, by gfid, with the
 * names under which they were seen.
 *
 * Shapes     the kernel's node id is the address of the inode (1: the root).
 * Ownership  an inode lives while the kernel counts lookups of it, or it is
 *            referenced (open handles, operations in flight), or a name below
 *            it is in the table.
 */
#ifndef CFS_CORE_INODE_H
#define CFS_CORE_INODE_H

#include "core/list.h"

struct cfs_itable;

struct cfs_inode {
    struct cfs_list  hash;    /* by gfid */
    struct cfs_list  names;   /* cfs_dentry.of_inode */
    struct cfs_list  entries; /* cfs_dentry.of_parent, for a directory */
    struct cfs_gfid  gfid;
    uint64_t         nlookup;
    uint32_t         refs;
    uint32_t         nlink; /* as last seen; 0: unlinked */
    uint32_t         mode;  /* type bits */
    void            *owner; /* the table's user may keep one thing here */
};

struct cfs_itable *cfs_itable_new(void);
void               cfs_itable_free(struct cfs_itable *t);
struct cfs_inode  *cfs_itable_root(struct cfs_itable *t);
size_t             cfs_itable_count(const struct cfs_itable *t);

/* Find; NULL. / Find or make; referenced. */
struct cfs_inode *cfs_inode_find(struct cfs_itable *t, struct cfs_gfid g);
struct cfs_inode *cfs_inode_get(struct cfs_itable *t, struct cfs_gfid g,
                                uint32_t mode);
struct cfs_inode *cfs_inode_ref(struct cfs_inode *i);

/* A directory that has a name of @i, or NULL: none is known. */
struct cfs_inode *cfs_inode_parent(const struct cfs_inode *i);

/* Drop a reference / @n lookups. true: nobody refers to it any more, and it
 * was unlinked: the caller purges it (its gfid is *ret_gfid). */
bool cfs_inode_unref(struct cfs_itable *t, struct cfs_inode *i,
                     struct cfs_gfid *ret_gfid);
bool cfs_inode_forget(struct cfs_itable *t, struct cfs_inode *i, uint64_t n,
                      struct cfs_gfid *ret_gfid);

/* Names: what @name in @dir is known to be. set replaces. */
struct cfs_inode *cfs_dentry_find(struct cfs_itable *t, struct cfs_inode *dir,
                                  struct cfs_name name);
void cfs_dentry_set(struct cfs_itable *t, struct cfs_inode *dir,
                    struct cfs_name name, struct cfs_inode *child);
void cfs_dentry_drop(struct cfs_itable *t, struct cfs_inode *dir,
                     struct cfs_name name);

#endif
