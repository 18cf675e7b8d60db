/* SPDX-License-Identifier: Apache-2.0 */
/* attr.c - attributes, the text of symbolic links, space. */
#include "xlators/mount/fuse/fm.h"

/* -- getattr --------------------------------------------------------------- */

struct getattr {
    struct fm_op       op;
    struct cfs_inode  *inode;
    struct cfs_getattr w;
};

static void getattr_done(struct cfs_getattr *w, int status)
{
    struct getattr *g = container_of(w, struct getattr, w);

    if (status < 0)
        fm_reply_err(&g->op, status);
    else
        fm_reply_attr(&g->op, g->inode, &w->attr);
}

void fm_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fm *fm = fm_of(req);
    struct getattr *g = FM_OP_NEW(fm, req, getattr);

    g->inode = fm_node(fm, ino);
    g->w.req.call = g->op.call;
    g->w.gfid = g->inode->gfid;
    cfs_wind_getattr(fm->child, &g->w, getattr_done);
}

/* -- setattr --------------------------------------------------------------- */

struct setattr {
    struct fm_op       op;
    struct cfs_inode  *inode;
    struct cfs_setattr w;
};

static void setattr_done(struct cfs_setattr *w, int status)
{
    struct setattr *s = container_of(w, struct setattr, w);

    if (status < 0)
        fm_reply_err(&s->op, status);
    else
        fm_reply_attr(&s->op, s->inode, &w->attr);
}

static struct cfs_time time_of(struct timespec ts)
{
    return (struct cfs_time){.sec = ts.tv_sec, .nsec = (uint32_t)ts.tv_nsec};
}

static bool time_valid(struct timespec ts)
{
    return ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000;
}

void fm_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi)
{
    struct fm *fm = fm_of(req);
    struct setattr *s = FM_OP_NEW(fm, req, setattr);
    uint32_t mask = fm_set_mask((uint32_t)to_set);

    s->inode = fm_node(fm, ino);
    if ((mask & CFS_SET_SIZE) && (uint64_t)attr->st_size > CFS_FILE_MAX) {
        fm_reply_err(&s->op, -EFBIG);
        return;
    }
    if (((mask & CFS_SET_ATIME) && !time_valid(attr->st_atim)) ||
        ((mask & CFS_SET_MTIME) && !time_valid(attr->st_mtim))) {
        fm_reply_err(&s->op, -EINVAL);
        return;
    }
    if (mask == 0) {
        /* Only times that we keep ourselves: show what there is. */
        struct getattr *g = cfs_call_new(s->op.call, struct getattr);

        g->op = s->op;
        g->inode = s->inode;
        g->w.req.call = g->op.call;
        g->w.gfid = g->inode->gfid;
        cfs_wind_getattr(fm->child, &g->w, getattr_done);
        return;
    }
    s->w.req.call = s->op.call;
    s->w.gfid = s->inode->gfid;
    s->w.mask = mask;
    s->w.mode = attr->st_mode & 07777;
    s->w.uid = attr->st_uid;
    s->w.gid = attr->st_gid;
    s->w.size = (uint64_t)attr->st_size;
    s->w.atime = time_of(attr->st_atim);
    s->w.mtime = time_of(attr->st_mtim);
    cfs_wind_setattr(fm->child, &s->w, setattr_done);
}

/* -- readlink -------------------------------------------------------------- */

struct readlink {
    struct fm_op        op;
    struct cfs_readlink w;
};

static void readlink_done(struct cfs_readlink *w, int status)
{
    struct readlink *r = container_of(w, struct readlink, w);

    if (status == 0 && w->target.len > CFS_SYMLINK_MAX)
        status = -EIO;
    if (status < 0)
        fm_reply_err(&r->op, status);
    else
        fm_reply_buf(&r->op, w->target.p, w->target.len);
}

void fm_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct fm *fm = fm_of(req);
    struct readlink *r = FM_OP_NEW(fm, req, readlink);

    r->w.req.call = r->op.call;
    r->w.gfid = fm_node(fm, ino)->gfid;
    cfs_wind_readlink(fm->child, &r->w, readlink_done);
}

/* -- statfs ---------------------------------------------------------------- */

struct statfs {
    struct fm_op      op;
    struct cfs_statfs w;
};

static void statfs_done(struct cfs_statfs *w, int status)
{
    struct statfs *s = container_of(w, struct statfs, w);
    const struct cfs_space *sp = &w->space;

    if (status < 0) {
        fm_reply_err(&s->op, status);
    } else {
        struct statvfs st = {
            .f_bsize = CFS_BLOCK,
            .f_frsize = CFS_BLOCK,
            .f_blocks = sp->total / CFS_BLOCK,
            .f_bfree = sp->free / CFS_BLOCK,
            .f_bavail = sp->avail / CFS_BLOCK,
            .f_files = sp->files,
            .f_ffree = sp->ffree,
            .f_favail = sp->ffree,
            .f_namemax = CFS_NAME_MAX,
        };

        fuse_reply_statfs(s->op.req, &st);
        fm_op_end(&s->op);
    }
}

void fm_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct fm *fm = fm_of(req);
    struct statfs *s = FM_OP_NEW(fm, req, statfs);

    s->w.req.call = s->op.call;
    s->w.gfid = fm_node(fm, ino)->gfid;
    cfs_wind_statfs(fm->child, &s->w, statfs_done);
}
