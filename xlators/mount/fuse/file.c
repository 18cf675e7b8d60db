/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - open files: open, read, write, flush, fsync, release.
 *
 * There is nothing behind a handle: the kernel keeps an inode as long as a
 * file of it is open, and every request names the inode.
 *
 * Checksums are made here for what is written and verified here for what is
 * read: from here to the brick's disk nobody trusts anybody with the data.
 */
#include "xlators/mount/fuse/fm.h"

#include "core/sums.h"

#include <fcntl.h>

/* Up to here data is copied, and the read buffer used again. */
#define COPY_MAX (64u * 1024u)

/* How often an append runs after the file's moving end. */
#define APPEND_TRIES 16u

/* -- open, release --------------------------------------------------------- */

struct open {
    struct fm_op          op;
    struct cfs_inode     *inode;
    struct fuse_file_info fi;
    struct cfs_setattr    w;
};

static void open_flags(struct fuse_file_info *fi)
{
    /* Pages of a file that changed meanwhile: AUTO_INVAL_DATA sees to them. */
    fi->keep_cache = 1;
    /* Nothing can be delayed for a handle that never writes. */
    fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
}

static void open_truncated(struct cfs_setattr *w, int status)
{
    struct open *o = container_of(w, struct open, w);

    if (status < 0) {
        fm_reply_err(&o->op, status);
        return;
    }
    fm_node_learn(o->inode, &w->attr);
    fuse_reply_open(o->op.req, &o->fi);
    fm_op_end(&o->op);
}

void fm_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fm *fm = fm_of(req);
    struct open *o;

    open_flags(fi);
    if (!(fi->flags & O_TRUNC)) {
        fuse_reply_open(req, fi);
        return;
    }
    o = FM_OP_NEW(fm, req, open);
    o->inode = fm_node(fm, ino);
    o->fi = *fi;
    o->w.req.call = o->op.call;
    o->w.gfid = o->inode->gfid;
    o->w.mask = CFS_SET_SIZE | CFS_SET_MTIME_NOW;
    if (fm_wants_kill(fm->raw, fm->raw_len))
        o->w.mask |= CFS_SET_KILL_SUID;
    cfs_wind_setattr(fm->child, &o->w, open_truncated);
}

void fm_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fuse_reply_err(req, 0);
}

/* -- read ------------------------------------------------------------------ */

struct read {
    struct fm_op    op;
    struct cfs_read w;
};

static void read_done(struct cfs_read *w, int status)
{
    struct read *r = container_of(w, struct read, w);
    struct fm *fm = r->op.fm;

    if (status == 0 &&
        (w->data.len > w->size ||
         !cfs_sums_match(w->offset, w->data.data, w->data.len, w->sums))) {
        char text[CFS_UUID_STR];

        cfs_gfid_print(w->gfid, text);
        cfs_log_error(fm->xl->log, fm->xl->name,
                      "read gfid=%s offset=%llu size=%u: %s", text,
                      (unsigned long long)w->offset, w->size,
                      cfs_err_str(-CFS_E_CHECKSUM));
        status = -CFS_E_CHECKSUM;
    }
    if (status < 0)
        fm_reply_err(&r->op, status);
    else
        fm_reply_buf(&r->op, w->data.data, w->data.len);
}

void fm_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
             struct fuse_file_info *fi)
{
    struct fm *fm = fm_of(req);
    struct read *r = FM_OP_NEW(fm, req, read);

    if (off < 0 || size > CFS_IO_MAX) {
        fm_reply_err(&r->op, -EINVAL);
        return;
    }
    if (size == 0 || (uint64_t)off >= CFS_FILE_MAX) {
        fm_reply_buf(&r->op, NULL, 0);
        return;
    }
    r->w.req.call = r->op.call;
    r->w.gfid = fm_node(fm, ino)->gfid;
    r->w.offset = (uint64_t)off;
    r->w.size = (uint32_t)size;
    cfs_wind_read(fm->child, &r->w, read_done);
}

/* -- write ----------------------------------------------------------------- */

struct write {
    struct fm_op       op;
    struct cfs_inode  *inode;
    bool               sync; /* O_DIRECT and O_DSYNC: durable at the answer */
    unsigned           tries;
    struct cfs_write   w;
    struct cfs_getattr end;
    struct cfs_fsync   fsync;
};

static void write_wind(struct write *wr);

static void write_synced(struct cfs_fsync *w, int status)
{
    struct write *wr = container_of(w, struct write, fsync);

    if (status < 0) {
        fm_reply_err(&wr->op, status);
        return;
    }
    fuse_reply_write(wr->op.req, wr->w.data.len);
    fm_op_end(&wr->op);
}

static void append_end_known(struct cfs_getattr *w, int status)
{
    struct write *wr = container_of(w, struct write, end);

    /* If the end was right, the write was refused for something else. */
    if (status == 0 && w->attr.size == wr->w.offset)
        status = wr->w.req.status;
    if (status < 0) {
        fm_reply_err(&wr->op, status);
        return;
    }
    wr->w.offset = w->attr.size;
    write_wind(wr);
}

static void write_done(struct cfs_write *w, int status)
{
    struct write *wr = container_of(w, struct write, w);
    struct fm *fm = wr->op.fm;

    /* The kernel's idea of the end may be old: append at the present one. */
    if (status == -EINVAL && (w->flags & CFS_WRITE_APPEND) &&
        wr->tries++ < APPEND_TRIES) {
        memset(&wr->end, 0, sizeof wr->end);
        wr->end.req.call = wr->op.call;
        wr->end.gfid = w->gfid;
        cfs_wind_getattr(fm->child, &wr->end, append_end_known);
        return;
    }
    if (status < 0) {
        fm_reply_err(&wr->op, status);
        return;
    }
    fm_node_learn(wr->inode, &w->attr);
    if (wr->sync) {
        wr->fsync.req.call = wr->op.call;
        wr->fsync.gfid = w->gfid;
        wr->fsync.datasync = 1;
        cfs_wind_fsync(fm->child, &wr->fsync, write_synced);
        return;
    }
    fuse_reply_write(wr->op.req, w->data.len);
    fm_op_end(&wr->op);
}

static void write_wind(struct write *wr)
{
    struct cfs_write *w = &wr->w;
    uint32_t n = cfs_sums_count(w->offset, w->data.len);
    uint8_t *sums;

    if (w->offset > CFS_FILE_MAX - w->data.len) {
        fm_reply_err(&wr->op, -EFBIG);
        return;
    }
    sums = cfs_arena_alloc(&wr->op.call->arena, 8 * (size_t)n);
    cfs_sums(w->offset, w->data.data, w->data.len, sums);
    w->sums = (struct cfs_blob){sums, 8 * n};
    cfs_wind_write(wr->op.fm->child, w, write_done);
}

/* The data for the call's life. */
static struct cfs_buf write_data(struct fm_op *op, const char *data,
                                 uint32_t size)
{
    struct fm *fm = op->fm;
    struct cfs_buf buf;

    if (size <= COPY_MAX) {
        buf = cfs_buf_new(size);
        memcpy(buf.data, data, size);
        buf.len = size;
        cfs_arena_keep(&op->call->arena, buf);
        return buf;
    }
    buf = fm->in;
    assert(data >= (char *)buf.data &&
           data + size <= (char *)buf.mem->data + buf.mem->size);
    buf.data += data - (char *)buf.data;
    buf.len = size;
    cfs_arena_keep(&op->call->arena, buf);
    fm->in = (struct cfs_buf){0};
    return buf;
}

void fm_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
              off_t off, struct fuse_file_info *fi)
{
    struct fm *fm = fm_of(req);
    struct write *wr = FM_OP_NEW(fm, req, write);
    bool kill = fm_wants_kill(fm->raw, fm->raw_len);

    wr->inode = fm_node(fm, ino);
    if (off < 0 || size == 0 || size > CFS_IO_MAX ||
        (uint64_t)off > CFS_FILE_MAX) {
        fm_reply_err(&wr->op, off > 0 && size > 0 ? -EFBIG : -EINVAL);
        return;
    }
    wr->w.req.call = wr->op.call;
    wr->w.gfid = wr->inode->gfid;
    wr->w.offset = (uint64_t)off;
    wr->w.data = write_data(&wr->op, data, (uint32_t)size);
    /* Pages of a mapping have their place, whatever the handle says. */
    if ((fi->flags & O_APPEND) && !fi->writepage)
        wr->w.flags |= CFS_WRITE_APPEND;
    if (kill)
        wr->w.flags |= CFS_WRITE_KILL_SUID;
    /* Otherwise the kernel sends an FSYNC itself. */
    wr->sync = (fi->flags & O_DIRECT) && (fi->flags & O_DSYNC);
    write_wind(wr);
}

/* -- flush, fsync ---------------------------------------------------------- */

struct flush {
    struct fm_op     op;
    struct cfs_flush w;
};

static void flush_done(struct cfs_flush *w, int status)
{
    struct flush *f = container_of(w, struct flush, w);

    fm_reply_err(&f->op, status);
}

void fm_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fm *fm = fm_of(req);
    struct flush *f = FM_OP_NEW(fm, req, flush);

    f->w.req.call = f->op.call;
    f->w.gfid = fm_node(fm, ino)->gfid;
    cfs_wind_flush(fm->child, &f->w, flush_done);
}

struct fsync {
    struct fm_op     op;
    struct cfs_fsync w;
};

static void fsync_done(struct cfs_fsync *w, int status)
{
    struct fsync *f = container_of(w, struct fsync, w);

    fm_reply_err(&f->op, status);
}

/* Of directories, too. */
void fm_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
              struct fuse_file_info *fi)
{
    struct fm *fm = fm_of(req);
    struct fsync *f = FM_OP_NEW(fm, req, fsync);

    f->w.req.call = f->op.call;
    f->w.gfid = fm_node(fm, ino)->gfid;
    f->w.datasync = datasync != 0;
    cfs_wind_fsync(fm->child, &f->w, fsync_done);
}
