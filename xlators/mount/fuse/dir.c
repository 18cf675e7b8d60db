/* SPDX-License-Identifier: Apache-2.0 */
/* dir.c - reading directories.
 *
 * A directory's handle is nothing: the offset says where to go on (conv.h). An
 * entry in our packing is never smaller than in the kernel's, so what the
 * brick fits into a size the kernel's form of it fits, too; should it ever
 * not, the rest is asked for again.
 *
 * "." and ".." are made here. readdirplus counts a lookup of every entry that
 * it gives with attributes; those two come without.
 */
#include "xlators/mount/fuse/fm.h"

#include "core/dirent.h"

struct readdir {
    struct fm_op       op;
    struct cfs_inode  *dir;
    bool               plus;
    char              *out; /* the kernel's form */
    size_t             size;
    size_t             used;
    struct cfs_readdir w;
};

/* -- filling --------------------------------------------------------------- */

static bool put_plain(struct readdir *r, const char *name, uint64_t ino,
                      uint32_t type, uint64_t off)
{
    struct stat st = {.st_ino = ino, .st_mode = type};
    size_t n;

    n = fuse_add_direntry(r->op.req, r->out + r->used, r->size - r->used, name,
                          &st, (off_t)off);
    if (n > r->size - r->used)
        return false;
    r->used += n;
    return true;
}

/* With @e->ino 0 the kernel takes nothing but name, number and type. */
static bool put_plus(struct readdir *r, const char *name,
                     const struct fuse_entry_param *e, uint64_t off)
{
    size_t n;

    n = fuse_add_direntry_plus(r->op.req, r->out + r->used, r->size - r->used,
                               name, e, (off_t)off);
    if (n > r->size - r->used)
        return false;
    r->used += n;
    return true;
}

static bool put_bare(struct readdir *r, const char *name, uint64_t ino,
                     uint32_t type, uint64_t off)
{
    struct fuse_entry_param e = {.attr = {.st_ino = ino, .st_mode = type}};

    return r->plus ? put_plus(r, name, &e, off)
                   : put_plain(r, name, ino, type, off);
}

static bool put_dots(struct readdir *r, uint64_t off)
{
    uint64_t self = cfs_gfid_ino(r->dir->gfid);
    const struct cfs_inode *up = cfs_inode_parent(r->dir);

    if (off == 0 && !put_bare(r, ".", self, S_IFDIR, 1))
        return false;
    if (off <= 1 &&
        !put_bare(r, "..", up == NULL ? self : cfs_gfid_ino(up->gfid),
                  S_IFDIR, 2))
        return false;
    return true;
}

static bool put_entry(struct readdir *r, const struct cfs_dirent *e)
{
    struct fm *fm = r->op.fm;
    uint64_t off = e->cookie + FM_COOKIE_SHIFT;
    char name[CFS_NAME_MAX + 1];
    struct fuse_entry_param param;
    struct cfs_inode *inode;

    memcpy(name, e->name.s, e->name.len);
    name[e->name.len] = '\0';
    if (!r->plus || !e->has_attr || !cfs_gfid_eq(e->gfid, e->attr.gfid))
        return put_bare(r, name, cfs_gfid_ino(e->gfid), e->type, off);

    inode = fm_node_entry(fm, &e->attr, &param);
    cfs_dentry_set(fm->inodes, r->dir, e->name, inode);
    if (put_plus(r, name, &param, off))
        return true;
    fm_node_forget(fm, inode, 1);
    return false;
}

/* The kernel did not take it: what it was to have counted is not counted. */
static void forget_entries(struct readdir *r)
{
    struct fm *fm = r->op.fm;
    const uint8_t *at = r->w.entries.data;
    const uint8_t *end = at + r->w.entries.len;
    struct cfs_dirent e;

    while (cfs_dirent_next(&at, end, &e) > 0) {
        struct cfs_inode *inode = cfs_inode_find(fm->inodes, e.gfid);

        if (e.has_attr && inode != NULL && inode->nlookup > 0)
            fm_node_forget(fm, inode, 1);
    }
}

static void readdir_done(struct cfs_readdir *w, int status)
{
    struct readdir *r = container_of(w, struct readdir, w);
    const uint8_t *at, *end;
    struct cfs_dirent e;
    int rc = 1;

    if (status < 0) {
        fm_reply_err(&r->op, status);
        return;
    }
    at = w->entries.data;
    end = at + w->entries.len;
    while (rc > 0) {
        rc = cfs_dirent_next(&at, end, &e);
        if (rc > 0 && !put_entry(r, &e))
            break;
    }
    if (rc < 0 && r->used == 0) {
        fm_reply_err(&r->op, -EIO);
        return;
    }
    if (fuse_reply_buf(r->op.req, r->out, r->used) < 0 && r->plus)
        forget_entries(r);
    fm_op_end(&r->op);
}

/* -- what the kernel asks -------------------------------------------------- */

static void read_entries(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                         bool plus)
{
    struct fm *fm = fm_of(req);
    struct readdir *r = FM_OP_NEW(fm, req, readdir);

    if (size > CFS_IO_MAX)
        size = CFS_IO_MAX;
    r->dir = fm_node(fm, ino);
    r->plus = plus;
    r->size = size;
    r->out = cfs_arena_alloc(&r->op.call->arena, size);
    if (!put_dots(r, (uint64_t)off)) {
        fm_reply_buf(&r->op, r->out, r->used);
        return;
    }
    r->w.req.call = r->op.call;
    r->w.gfid = r->dir->gfid;
    if ((uint64_t)off > FM_COOKIE_SHIFT)
        r->w.cookie = (uint64_t)off - FM_COOKIE_SHIFT;
    r->w.size = (uint32_t)(size - r->used);
    r->w.plus = plus;
    cfs_wind_readdir(fm->child, &r->w, readdir_done);
}

void fm_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                struct fuse_file_info *fi)
{
    read_entries(req, ino, size, off, false);
}

void fm_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    read_entries(req, ino, size, off, true);
}

void fm_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fuse_reply_open(req, fi);
}

void fm_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fuse_reply_err(req, 0);
}
