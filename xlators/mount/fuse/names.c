/* SPDX-License-Identifier: Apache-2.0 */
/* names.c - lookup, and what changes names: create and its kin, unlink,
 * rename, link.
 *
 * The table of names (core/inode.h) is a hint: unlink and rename say which
 * inodes they expect, so that replicate need not ask. When a hint was wrong
 * they are sent once more without any.
 */
#include "xlators/mount/fuse/fm.h"

#include <linux/fs.h>

/* -- lookup ---------------------------------------------------------------- */

struct lookup {
    struct fm_op      op;
    struct cfs_inode *dir;
    struct cfs_lookup w;
};

static void lookup_done(struct cfs_lookup *w, int status)
{
    struct lookup *l = container_of(w, struct lookup, w);
    struct fm *fm = l->op.fm;

    if (status == 0) {
        fm_reply_entry(&l->op, l->dir, w->name, &w->attr);
        return;
    }
    if (status == -ENOENT) {
        cfs_dentry_drop(fm->inodes, l->dir, w->name);
        if (fm->lease_ms != 0) {
            /* "There is no such name" may be remembered, too. */
            struct fuse_entry_param e = {.entry_timeout = fm_lease(fm)};

            fuse_reply_entry(l->op.req, &e);
            fm_op_end(&l->op);
            return;
        }
    }
    fm_reply_err(&l->op, status);
}

void fm_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fm *fm = fm_of(req);
    struct lookup *l = FM_OP_NEW(fm, req, lookup);
    int rc;

    l->dir = fm_node(fm, parent);
    rc = fm_name(&l->op, name, &l->w.name);
    if (rc < 0) {
        fm_reply_err(&l->op, rc);
        return;
    }
    l->w.req.call = l->op.call;
    l->w.parent = l->dir->gfid;
    cfs_wind_lookup(fm->child, &l->w, lookup_done);
}

/* -- create, mknod, mkdir, symlink ----------------------------------------- */

struct create {
    struct fm_op          op;
    struct cfs_inode     *dir;
    bool                  open; /* CREATE: the answer has a handle */
    bool                  excl;
    struct fuse_file_info fi;
    struct cfs_create     w;
};

static void create_done(struct cfs_create *w, int status)
{
    struct create *c = container_of(w, struct create, w);

    /* The kernel took it for absent, and somebody else made it. The kernel
     * must look it up and open it itself: only so does it check whether this
     * caller may. ESTALE makes it do that. */
    if (status == -EEXIST && c->open && !c->excl)
        status = -ESTALE;
    if (status < 0)
        fm_reply_err(&c->op, status);
    else if (c->open)
        fm_reply_create(&c->op, c->dir, w->name, &w->attr, &c->fi);
    else
        fm_reply_entry(&c->op, c->dir, w->name, &w->attr);
}

static struct create *create_new(fuse_req_t req, fuse_ino_t parent,
                                 const char *name, mode_t mode)
{
    struct fm *fm = fm_of(req);
    struct create *c = FM_OP_NEW(fm, req, create);
    int rc;

    c->dir = fm_node(fm, parent);
    rc = fm_name(&c->op, name, &c->w.name);
    if (rc == 0)
        rc = fm_gfid_new(fm, &c->w.gfid);
    if (rc < 0) {
        fm_reply_err(&c->op, rc);
        return NULL;
    }
    c->w.req.call = c->op.call;
    c->w.parent = c->dir->gfid;
    c->w.mode = mode;
    c->w.uid = c->op.call->uid;
    c->w.gid = c->op.call->gid;
    return c;
}

void fm_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
              dev_t rdev)
{
    struct create *c = create_new(req, parent, name, mode);

    if (c == NULL)
        return;
    if (S_ISCHR(mode) || S_ISBLK(mode))
        c->w.rdev = rdev;
    cfs_wind_create(c->op.fm->child, &c->w, create_done);
}

void fm_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct create *c = create_new(req, parent, name, S_IFDIR | (mode & 07777));

    if (c != NULL)
        cfs_wind_create(c->op.fm->child, &c->w, create_done);
}

void fm_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
                const char *name)
{
    size_t len = strlen(target);
    struct create *c;

    c = create_new(req, parent, name, S_IFLNK | 0777);
    if (c == NULL)
        return;
    if (len == 0 || len > CFS_SYMLINK_MAX) {
        fm_reply_err(&c->op, len == 0 ? -ENOENT : -ENAMETOOLONG);
        return;
    }
    c->w.target.p = cfs_arena_dup(&c->op.call->arena, target, len);
    c->w.target.len = (uint32_t)len;
    cfs_wind_create(c->op.fm->child, &c->w, create_done);
}

void fm_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi)
{
    struct create *c = create_new(req, parent, name, S_IFREG | (mode & 07777));

    if (c == NULL)
        return;
    c->open = true;
    c->excl = (fi->flags & O_EXCL) != 0;
    c->fi = *fi;
    c->fi.keep_cache = 1;
    cfs_wind_create(c->op.fm->child, &c->w, create_done);
}

/* -- unlink, rmdir --------------------------------------------------------- */

/* Whether @status may come from a hint that was wrong. */
static bool is_conflict(int status)
{
    return status == -CFS_E_CONFLICT || status == -CFS_E_VERSION;
}

struct unlink {
    struct fm_op      op;
    struct cfs_inode *dir;
    struct cfs_unlink w;
};

static void unlink_done(struct cfs_unlink *w, int status)
{
    struct unlink *u = container_of(w, struct unlink, w);
    struct fm *fm = u->op.fm;

    if (is_conflict(status) && !cfs_gfid_is_null(w->child)) {
        w->child = (struct cfs_gfid){0};
        cfs_wind_unlink(fm->child, w, unlink_done);
        return;
    }
    if (status == 0 || status == -ENOENT)
        cfs_dentry_drop(fm->inodes, u->dir, w->name);
    if (status == 0)
        fm_node_unlinked(fm, &w->attr);
    fm_reply_err(&u->op, status);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name,
                        bool rmdir)
{
    struct fm *fm = fm_of(req);
    struct unlink *u = FM_OP_NEW(fm, req, unlink);
    int rc;

    u->dir = fm_node(fm, parent);
    rc = fm_name(&u->op, name, &u->w.name);
    if (rc < 0) {
        fm_reply_err(&u->op, rc);
        return;
    }
    u->w.req.call = u->op.call;
    u->w.parent = u->dir->gfid;
    u->w.child = fm_node_hint(fm, u->dir, u->w.name);
    u->w.rmdir = rmdir;
    cfs_wind_unlink(fm->child, &u->w, unlink_done);
}

void fm_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    remove_name(req, parent, name, false);
}

void fm_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    remove_name(req, parent, name, true);
}

/* -- rename ---------------------------------------------------------------- */

struct rename {
    struct fm_op      op;
    struct cfs_inode *dir;
    struct cfs_inode *newdir;
    struct cfs_rename w;
};

/* @name in @dir is now the inode of @attr, if the kernel knows that. */
static void set_name(struct fm *fm, struct cfs_inode *dir, struct cfs_name name,
                     const struct cfs_attr *attr)
{
    struct cfs_inode *inode = cfs_inode_find(fm->inodes, attr->gfid);

    if (inode == NULL) {
        cfs_dentry_drop(fm->inodes, dir, name);
        return;
    }
    fm_node_learn(inode, attr);
    cfs_dentry_set(fm->inodes, dir, name, inode);
}

static void rename_learn(struct rename *r)
{
    struct fm *fm = r->op.fm;
    struct cfs_rename *w = &r->w;
    bool had_victim = !cfs_gfid_is_null(w->victim_attr.gfid);

    /* Two names of one inode: both stay. */
    if (had_victim && cfs_gfid_eq(w->attr.gfid, w->victim_attr.gfid))
        return;
    if (w->flags & RENAME_EXCHANGE) {
        set_name(fm, r->dir, w->name, &w->victim_attr);
        set_name(fm, r->newdir, w->newname, &w->attr);
        return;
    }
    cfs_dentry_drop(fm->inodes, r->dir, w->name);
    set_name(fm, r->newdir, w->newname, &w->attr);
    if (had_victim)
        fm_node_unlinked(fm, &w->victim_attr);
}

static void rename_done(struct cfs_rename *w, int status)
{
    struct rename *r = container_of(w, struct rename, w);
    bool hinted =
        !cfs_gfid_is_null(w->child) || !cfs_gfid_is_null(w->victim);

    if (is_conflict(status) && hinted) {
        w->child = (struct cfs_gfid){0};
        w->victim = (struct cfs_gfid){0};
        cfs_wind_rename(r->op.fm->child, w, rename_done);
        return;
    }
    if (status == 0)
        rename_learn(r);
    fm_reply_err(&r->op, status);
}

void fm_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
               fuse_ino_t newparent, const char *newname, unsigned int flags)
{
    struct fm *fm = fm_of(req);
    struct rename *r = FM_OP_NEW(fm, req, rename);
    int rc;

    r->dir = fm_node(fm, parent);
    r->newdir = fm_node(fm, newparent);
    rc = fm_name(&r->op, name, &r->w.name);
    if (rc == 0)
        rc = fm_name(&r->op, newname, &r->w.newname);
    if (rc == 0 && (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)))
        rc = -EINVAL;
    if (rc < 0) {
        fm_reply_err(&r->op, rc);
        return;
    }
    r->w.req.call = r->op.call;
    r->w.parent = r->dir->gfid;
    r->w.newparent = r->newdir->gfid;
    r->w.flags = flags;
    r->w.child = fm_node_hint(fm, r->dir, r->w.name);
    r->w.victim = fm_node_hint(fm, r->newdir, r->w.newname);
    cfs_wind_rename(fm->child, &r->w, rename_done);
}

/* -- link ------------------------------------------------------------------ */

struct link {
    struct fm_op      op;
    struct cfs_inode *dir;
    struct cfs_link   w;
};

static void link_done(struct cfs_link *w, int status)
{
    struct link *l = container_of(w, struct link, w);

    if (status < 0)
        fm_reply_err(&l->op, status);
    else
        fm_reply_entry(&l->op, l->dir, w->newname, &w->attr);
}

void fm_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
             const char *newname)
{
    struct fm *fm = fm_of(req);
    struct link *l = FM_OP_NEW(fm, req, link);
    int rc;

    l->dir = fm_node(fm, newparent);
    rc = fm_name(&l->op, newname, &l->w.newname);
    if (rc < 0) {
        fm_reply_err(&l->op, rc);
        return;
    }
    l->w.req.call = l->op.call;
    l->w.gfid = fm_node(fm, ino)->gfid;
    l->w.newparent = l->dir->gfid;
    cfs_wind_link(fm->child, &l->w, link_done);
}
