/* SPDX-License-Identifier: Apache-2.0 */
/* space.c - fallocate, lseek for data and holes, copy_file_range.
 *
 * What may be long is done in pieces, one after another: no step below is
 * unbounded. A copy stops after COPY_STEP bytes: copy_file_range(2) may do
 * less than it was asked for, and its callers go on.
 */
#include "xlators/mount/fuse/fm.h"

#include <linux/falloc.h>
#include <unistd.h>

#define COPY_STEP CFS_FALLOC_STEP

/* -- fallocate ------------------------------------------------------------- */

struct falloc {
    struct fm_op         op;
    struct cfs_inode    *inode;
    uint64_t             end;
    struct cfs_fallocate w;
};

static void falloc_done(struct cfs_fallocate *w, int status)
{
    struct falloc *f = container_of(w, struct falloc, w);
    uint64_t at = w->offset + w->size;

    if (status == 0)
        fm_node_learn(f->inode, &w->attr);
    if (status < 0 || at == f->end) {
        fm_reply_err(&f->op, status);
        return;
    }
    w->offset = at;
    w->size = fm_piece(at, f->end - at, CFS_FALLOC_STEP);
    cfs_wind_fallocate(f->op.fm->child, w, falloc_done);
}

static int falloc_check(int mode, off_t off, off_t len)
{
    switch (mode) {
    case 0:
    case FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_ZERO_RANGE:
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
        break;
    default:
        return -EOPNOTSUPP;
    }
    if (off < 0 || len <= 0)
        return -EINVAL;
    if ((uint64_t)off > CFS_FILE_MAX || (uint64_t)len > CFS_FILE_MAX ||
        (uint64_t)off + (uint64_t)len > CFS_FILE_MAX)
        return -EFBIG;
    return 0;
}

void fm_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
                  off_t len, struct fuse_file_info *fi)
{
    struct fm *fm = fm_of(req);
    struct falloc *f = FM_OP_NEW(fm, req, falloc);
    int rc = falloc_check(mode, off, len);

    if (rc < 0) {
        fm_reply_err(&f->op, rc);
        return;
    }
    f->inode = fm_node(fm, ino);
    f->end = (uint64_t)off + (uint64_t)len;
    f->w.req.call = f->op.call;
    f->w.gfid = f->inode->gfid;
    f->w.mode = (uint32_t)mode;
    f->w.offset = (uint64_t)off;
    f->w.size = fm_piece((uint64_t)off, (uint64_t)len, CFS_FALLOC_STEP);
    cfs_wind_fallocate(fm->child, &f->w, falloc_done);
}

/* -- lseek ----------------------------------------------------------------- */

struct lseek {
    struct fm_op     op;
    struct cfs_lseek w;
};

static void lseek_done(struct cfs_lseek *w, int status)
{
    struct lseek *l = container_of(w, struct lseek, w);

    if (status < 0) {
        fm_reply_err(&l->op, status);
        return;
    }
    fuse_reply_lseek(l->op.req, (off_t)w->found);
    fm_op_end(&l->op);
}

void fm_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
              struct fuse_file_info *fi)
{
    struct fm *fm = fm_of(req);
    struct lseek *l = FM_OP_NEW(fm, req, lseek);

    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
        fm_reply_err(&l->op, -EINVAL);
        return;
    }
    if (off < 0) {
        fm_reply_err(&l->op, -ENXIO);
        return;
    }
    l->w.req.call = l->op.call;
    l->w.gfid = fm_node(fm, ino)->gfid;
    l->w.offset = (uint64_t)off;
    l->w.whence = (uint32_t)whence;
    cfs_wind_lseek(fm->child, &l->w, lseek_done);
}

/* -- copy_file_range ------------------------------------------------------- */

struct copy {
    struct fm_op      op;
    struct cfs_inode *inode; /* the destination */
    uint64_t          done;
    uint64_t          left;
    struct cfs_copy   w;
};

static void copy_answer(struct copy *c)
{
    fuse_reply_write(c->op.req, c->done);
    fm_op_end(&c->op);
}

static void copy_done(struct cfs_copy *w, int status)
{
    struct copy *c = container_of(w, struct copy, w);

    if (status == 0 && w->copied > w->size)
        status = -EIO;
    if (status < 0) {
        if (c->done > 0)
            copy_answer(c); /* what was copied, was */
        else
            fm_reply_err(&c->op, status);
        return;
    }
    fm_node_learn(c->inode, &w->attr);
    c->done += w->copied;
    c->left -= w->copied;
    if (c->left == 0 || w->copied < w->size) {
        copy_answer(c);
        return;
    }
    w->offset += w->copied;
    w->src_offset += w->copied;
    w->size = (uint32_t)fm_piece(w->offset, c->left, CFS_IO_MAX);
    cfs_wind_copy(c->op.fm->child, w, copy_done);
}

void fm_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                        struct fuse_file_info *fi_in, fuse_ino_t ino_out,
                        off_t off_out, struct fuse_file_info *fi_out,
                        size_t len, int flags)
{
    struct fm *fm = fm_of(req);
    struct copy *c = FM_OP_NEW(fm, req, copy);
    uint64_t in = (uint64_t)off_in, out = (uint64_t)off_out;

    if (flags != 0 || off_in < 0 || off_out < 0) {
        fm_reply_err(&c->op, -EINVAL);
        return;
    }
    if (len > COPY_STEP)
        len = COPY_STEP;
    if (out > CFS_FILE_MAX - len) {
        fm_reply_err(&c->op, -EFBIG);
        return;
    }
    c->inode = fm_node(fm, ino_out);
    c->left = len;
    if (len == 0 || in >= CFS_FILE_MAX) {
        copy_answer(c);
        return;
    }
    c->w.req.call = c->op.call;
    c->w.gfid = c->inode->gfid;
    c->w.offset = out;
    c->w.src = fm_node(fm, ino_in)->gfid;
    c->w.src_offset = in;
    c->w.size = (uint32_t)fm_piece(out, len, CFS_IO_MAX);
    cfs_wind_copy(fm->child, &c->w, copy_done);
}
