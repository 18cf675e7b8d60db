/* SPDX-License-Identifier: Apache-2.0 */
/* op_attr.c - changes of attributes: setattr, setxattr, removexattr. */
#include <sys/stat.h>
#include <sys/xattr.h>

#include "xlators/storage/block/ops_impl.h"

#define SET_ALL                                                              \
    (CFS_SET_MODE | CFS_SET_UID | CFS_SET_GID | CFS_SET_SIZE |               \
     CFS_SET_ATIME | CFS_SET_MTIME | CFS_SET_ATIME_NOW |                     \
     CFS_SET_MTIME_NOW | CFS_SET_KILL_SUID)

void kill_suid(struct rec_inode *i)
{
    i->mode &= ~(uint32_t)S_ISUID;
    if (i->mode & S_IXGRP)
        i->mode &= ~(uint32_t)S_ISGID;
}

static void set_times(struct plan *p, const struct cfs_setattr *r,
                      struct rec_inode *i)
{
    if (r->mask & CFS_SET_ATIME)
        i->atime = r->atime;
    if (r->mask & CFS_SET_ATIME_NOW)
        i->atime = p->now;
    if (r->mask & CFS_SET_MTIME)
        i->mtime = r->mtime;
    if (r->mask & CFS_SET_MTIME_NOW)
        i->mtime = i->ctime; /* automatic: it grows */
}

int plan_setattr(struct op *op, struct plan *p)
{
    const struct cfs_setattr *r = (const struct cfs_setattr *)op->req;
    struct plan_ino *i;
    int rc;

    if ((r->mask & ~SET_ALL) != 0 || r->atime.nsec >= 1000000000u ||
        r->mtime.nsec >= 1000000000u)
        return -EINVAL;
    rc = plan_inode(p, r->gfid, &i);
    if (rc < 0)
        return rc;
    if (r->mask & CFS_SET_SIZE) {
        rc = resize(op, p, i, r->size);
        if (rc != 0)
            return rc;
    }
    if (r->mask & CFS_SET_MODE)
        i->rec.mode = (i->rec.mode & S_IFMT) | (r->mode & 07777);
    if (r->mask & CFS_SET_UID)
        i->rec.uid = r->uid;
    if (r->mask & CFS_SET_GID)
        i->rec.gid = r->gid;
    if (r->mask & CFS_SET_KILL_SUID)
        kill_suid(&i->rec);
    plan_stamp(p, i, r->mask & CFS_SET_SIZE);
    set_times(p, r, &i->rec);
    p->out[0] = i;
    return 0;
}

static bool xattr_name_valid(struct cfs_name n)
{
    return n.len > 0 && n.len <= CFS_NAME_MAX && !memchr(n.s, 0, n.len);
}

int plan_setxattr(struct op *op, struct plan *p)
{
    const struct cfs_setxattr *r = (const struct cfs_setxattr *)op->req;
    struct plan_ino *i;
    struct cfs_blob old;
    struct rec_key k;
    int rc;

    if (!xattr_name_valid(r->name) || r->value.len > CFS_XATTR_MAX ||
        (r->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE)) != 0)
        return -EINVAL;
    rc = plan_inode(p, r->gfid, &i);
    if (rc < 0)
        return rc;
    rec_key_name(&k, REC_XATTR, r->gfid, r->name);
    rc = i->rec.n_xattr > 0 ? eng_get(p->o->e, rec_key_blob(&k), &old)
                            : -ENOENT;
    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (rc == 0 && (r->flags & XATTR_CREATE))
        return -EEXIST;
    if (rc == -ENOENT) {
        if (r->flags & XATTR_REPLACE)
            return -ENODATA;
        if (i->rec.n_xattr >= XATTR_COUNT)
            return -ENOSPC;
        i->rec.n_xattr++;
    }
    plan_put(p, &k, r->value.p, r->value.len);
    plan_stamp(p, i, false);
    p->out[0] = i;
    return 0;
}

int plan_removexattr(struct op *op, struct plan *p)
{
    const struct cfs_removexattr *r = (const struct cfs_removexattr *)op->req;
    struct plan_ino *i;
    struct cfs_blob old;
    struct rec_key k;
    int rc;

    if (!xattr_name_valid(r->name))
        return -EINVAL;
    p->flags |= ENG_RESERVE;
    rc = plan_inode(p, r->gfid, &i);
    if (rc < 0)
        return rc;
    rec_key_name(&k, REC_XATTR, r->gfid, r->name);
    rc = i->rec.n_xattr > 0 ? eng_get(p->o->e, rec_key_blob(&k), &old)
                            : -ENOENT;
    if (rc < 0)
        return rc == -ENOENT ? -ENODATA : rc;
    i->rec.n_xattr--;
    plan_del(p, &k);
    plan_stamp(p, i, false);
    p->out[0] = i;
    return 0;
}
