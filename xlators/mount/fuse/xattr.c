/* SPDX-License-Identifier: Apache-2.0 */
/* xattr.c - extended attributes.
 *
 * The kernel asks for security.capability before writes, again each time it
 * has read attributes anew. That there is none is remembered for the kernel's
 * lease, as a time in the inode's owner word; only somebody who sets it can
 * change that, and on this mount we see who does.
 */
#include "xlators/mount/fuse/fm.h"

#include <linux/xattr.h>

#define CAPABILITY "security.capability"

static bool is_capability(struct cfs_name name)
{
    return name.len == sizeof CAPABILITY - 1 &&
           memcmp(name.s, CAPABILITY, name.len) == 0;
}

/* ms of boot time, never 0 */
static uintptr_t now_ms(struct fm *fm)
{
    return (uintptr_t)(cfs_now(fm->xl->loop) / CFS_MS) + 1;
}

static void no_capability_until(struct cfs_inode *inode, uintptr_t ms)
{
    inode->owner = (void *)ms;
}

void fm_xattr_none(struct fm *fm, struct cfs_inode *inode)
{
    no_capability_until(inode, now_ms(fm) + (uintptr_t)fm->lease_ms);
}

static bool has_no_capability(struct fm *fm, const struct cfs_inode *inode)
{
    return (uintptr_t)inode->owner > now_ms(fm);
}

/* -ENAMETOOLONG; -EOPNOTSUPP: a kind that is not kept. */
static int xattr_name(struct fm_op *op, const char *s, struct cfs_name *ret)
{
    size_t len = strlen(s);
    struct cfs_name name;

    if (len == 0 || len > CFS_NAME_MAX)
        return -ERANGE;
    name.len = (uint32_t)len;
    name.s = cfs_arena_dup(&op->call->arena, s, len);
    if (!fm_xattr_kept(name))
        return -EOPNOTSUPP;
    *ret = name;
    return 0;
}

/* -- get, list ------------------------------------------------------------- */

/* @size 0 asks for the length only. */
static void reply_value(struct fm_op *op, const void *p, size_t len,
                        size_t size)
{
    if (size == 0) {
        fuse_reply_xattr(op->req, len);
        fm_op_end(op);
    } else if (len > size) {
        fm_reply_err(op, -ERANGE);
    } else {
        fm_reply_buf(op, p, len);
    }
}

struct getxattr {
    struct fm_op        op;
    struct cfs_inode   *inode;
    size_t              size;
    struct cfs_getxattr w;
};

static void getxattr_done(struct cfs_getxattr *w, int status)
{
    struct getxattr *g = container_of(w, struct getxattr, w);
    struct fm *fm = g->op.fm;

    if (status == -ENODATA && is_capability(w->name))
        fm_xattr_none(fm, g->inode);
    if (status < 0)
        fm_reply_err(&g->op, status);
    else
        reply_value(&g->op, w->value.p, w->value.len, g->size);
}

void fm_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct fm *fm = fm_of(req);
    struct getxattr *g = FM_OP_NEW(fm, req, getxattr);
    int rc;

    g->inode = fm_node(fm, ino);
    g->size = size;
    rc = xattr_name(&g->op, name, &g->w.name);
    if (rc == 0 && is_capability(g->w.name) && has_no_capability(fm, g->inode))
        rc = -ENODATA;
    if (rc < 0) {
        fm_reply_err(&g->op, rc);
        return;
    }
    g->w.req.call = g->op.call;
    g->w.gfid = g->inode->gfid;
    cfs_wind_getxattr(fm->child, &g->w, getxattr_done);
}

struct listxattr {
    struct fm_op         op;
    size_t               size;
    struct cfs_listxattr w;
};

static void listxattr_done(struct cfs_listxattr *w, int status)
{
    struct listxattr *l = container_of(w, struct listxattr, w);
    uint32_t len;
    char *list;

    if (status < 0) {
        fm_reply_err(&l->op, status);
        return;
    }
    list = cfs_arena_alloc(&l->op.call->arena, w->names.len + 1);
    len = fm_xattr_filter(w->names, l->op.call->uid == 0, list);
    reply_value(&l->op, list, len, l->size);
}

void fm_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct fm *fm = fm_of(req);
    struct listxattr *l = FM_OP_NEW(fm, req, listxattr);

    l->size = size;
    l->w.req.call = l->op.call;
    l->w.gfid = fm_node(fm, ino)->gfid;
    cfs_wind_listxattr(fm->child, &l->w, listxattr_done);
}

/* -- set, remove ----------------------------------------------------------- */

struct setxattr {
    struct fm_op        op;
    struct cfs_inode   *inode;
    struct cfs_setxattr w;
};

static void setxattr_done(struct cfs_setxattr *w, int status)
{
    struct setxattr *s = container_of(w, struct setxattr, w);

    /* An answer "none" may have come meanwhile. */
    if (is_capability(w->name))
        no_capability_until(s->inode, 0);
    fm_reply_err(&s->op, status);
}

void fm_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                 const char *value, size_t size, int flags)
{
    struct fm *fm = fm_of(req);
    struct setxattr *s = FM_OP_NEW(fm, req, setxattr);
    int rc;

    s->inode = fm_node(fm, ino);
    rc = xattr_name(&s->op, name, &s->w.name);
    if (rc == 0 && size > CFS_XATTR_MAX)
        rc = -E2BIG;
    if (rc == 0 && (flags & ~(XATTR_CREATE | XATTR_REPLACE)))
        rc = -EINVAL;
    if (rc < 0) {
        fm_reply_err(&s->op, rc);
        return;
    }
    if (is_capability(s->w.name))
        no_capability_until(s->inode, 0);
    s->w.req.call = s->op.call;
    s->w.gfid = s->inode->gfid;
    s->w.value.p = cfs_arena_dup(&s->op.call->arena, value, size);
    s->w.value.len = (uint32_t)size;
    s->w.flags = (uint32_t)flags;
    cfs_wind_setxattr(fm->child, &s->w, setxattr_done);
}

struct removexattr {
    struct fm_op           op;
    struct cfs_removexattr w;
};

static void removexattr_done(struct cfs_removexattr *w, int status)
{
    struct removexattr *r = container_of(w, struct removexattr, w);

    fm_reply_err(&r->op, status);
}

void fm_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct fm *fm = fm_of(req);
    struct removexattr *r = FM_OP_NEW(fm, req, removexattr);
    int rc;

    rc = xattr_name(&r->op, name, &r->w.name);
    if (rc < 0) {
        fm_reply_err(&r->op, rc);
        return;
    }
    r->w.req.call = r->op.call;
    r->w.gfid = fm_node(fm, ino)->gfid;
    cfs_wind_removexattr(fm->child, &r->w, removexattr_done);
}
