/* SPDX-License-Identifier: Apache-2.0 */
/* op_names.c - changes of names: create, unlink, rename, link.
 *
 * A new entry's cookie is the sequence number of the version that the change
 * makes of the directory: the same on every replica, and never used again. No
 * change makes two new entries in one directory (an exchange keeps both
 * cookies).
 */
#include <stdio.h> /* RENAME_* */
#include <sys/stat.h>

#include "core/dirent.h"
#include "xlators/storage/block/ops_impl.h"

/* -- parts ---------------------------------------------------------------- */

/* A directory in which names may change. */
static int open_dir(struct plan *p, struct cfs_gfid g, struct plan_ino **ret)
{
    int rc = plan_inode(p, g, ret);

    if (rc < 0)
        return rc;
    if (!S_ISDIR((*ret)->rec.mode))
        return -ENOTDIR;
    return (*ret)->rec.nlink == 0 ? -ENOENT : 0;
}

/* The sequence number that @c makes of directory @g. */
static uint64_t new_cookie(const struct cfs_change *c, struct cfs_gfid g)
{
    const struct cfs_touch *t = touch_of(c, g);

    return t ? t->make.seq : 0; /* untouched: plan_finish() refuses */
}

static void put_entry(struct plan *p, struct cfs_gfid dir,
                      struct cfs_name name, const struct plan_ino *child,
                      uint64_t cookie)
{
    struct rec_dirent d = {child->gfid, child->rec.mode & S_IFMT, cookie};
    struct rec_cookie c = {child->gfid, child->rec.mode & S_IFMT, name};
    uint8_t v[REC_COOKIE_MAX];
    struct rec_key k;

    rec_key_name(&k, REC_DIRENT, dir, name);
    plan_put(p, &k, v, rec_dirent_pack(&d, v));
    rec_key_gfid_u64(&k, REC_COOKIE, dir, cookie);
    plan_put(p, &k, v, rec_cookie_pack(&c, v));
}

static void del_entry(struct plan *p, struct cfs_gfid dir,
                      struct cfs_name name, const struct rec_dirent *d)
{
    struct rec_key k;

    rec_key_name(&k, REC_DIRENT, dir, name);
    plan_del(p, &k);
    rec_key_gfid_u64(&k, REC_COOKIE, dir, d->cookie);
    plan_del(p, &k);
}

/* One name less: nobody's names left means an orphan, until it is purged. */
static void lose_name(struct plan *p, struct plan_ino *i)
{
    uint8_t v[REC_ORPHAN_MAX];
    struct rec_key k;

    if (S_ISDIR(i->rec.mode))
        i->rec.nlink = 0;
    else if (i->rec.nlink > 0)
        i->rec.nlink--;
    plan_stamp(p, i, false);
    if (i->rec.nlink > 0)
        return;
    rec_key_gfid(&k, REC_ORPHAN, i->gfid);
    plan_put(p, &k, v, rec_orphan_pack(p->session, v));
}

/* Whether @i, which has the name that goes, may go as the caller wants:
 * @want_dir as a directory. */
static int may_go(const struct plan_ino *i, bool want_dir)
{
    if (want_dir && !S_ISDIR(i->rec.mode))
        return -ENOTDIR;
    if (!want_dir && S_ISDIR(i->rec.mode))
        return -EISDIR;
    return want_dir && i->rec.entries > 0 ? -ENOTEMPTY : 0;
}


/* -- create --------------------------------------------------------------- */

static int check_create(const struct cfs_create *r)
{
    const uint32_t type = r->mode & S_IFMT;

    if (!cfs_name_valid(r->name) || cfs_gfid_is_null(r->gfid) ||
        (r->mode & ~(uint32_t)(S_IFMT | 07777)) != 0)
        return -EINVAL;
    switch (type) {
    case S_IFLNK:
        if (r->target.len == 0 || memchr(r->target.p, 0, r->target.len))
            return -EINVAL;
        return r->target.len > CFS_SYMLINK_MAX ? -ENAMETOOLONG : 0;
    case S_IFREG:
    case S_IFDIR:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return r->target.len > 0 ? -EINVAL : 0;
    default:
        return -EINVAL;
    }
}

/* A gfid is used once. What is left of a purged file, or tells of it, would
 * become the new one's: -CFS_E_CONFLICT. */
static int check_gfid(struct plan *p, struct cfs_gfid g)
{
    struct look_mark mark;
    struct plan_ino *i;
    struct cfs_blob v;
    struct rec_key k;
    int rc;

    rc = plan_inode(p, g, &i);
    if (rc == -ENOENT) {
        rec_key_gfid(&k, REC_TOMB, g);
        rc = eng_get(p->o->e, rec_key_blob(&k), &v);
    }
    if (rc == -ENOENT)
        rc = look_mark(p->o, g, 0, &mark);
    if (rc == -ENOENT)
        return 0;
    return rc == 0 ? -CFS_E_CONFLICT : rc;
}

static void fill_new(struct plan *p, const struct cfs_create *r,
                     const struct plan_ino *dir, struct plan_ino *i)
{
    struct rec_inode *rec = &i->rec;

    *rec = (struct rec_inode){
        .mode = r->mode,
        .nlink = S_ISDIR(r->mode) ? 2 : 1,
        .uid = r->uid,
        .gid = r->gid,
        .size = r->target.len,
        .atime = p->now,
        .mtime = p->now,
        .ctime = p->now,
        .btime = p->now,
    };
    if (S_ISCHR(r->mode) || S_ISBLK(r->mode))
        rec->rdev = r->rdev;
    if (S_ISDIR(r->mode))
        rec->parent = dir->gfid;
    if (dir->rec.mode & S_ISGID) {
        rec->gid = dir->rec.gid;
        if (S_ISDIR(r->mode))
            rec->mode |= S_ISGID;
    }
}

int plan_create(struct op *op, struct plan *p)
{
    const struct cfs_create *r = (const struct cfs_create *)op->req;
    struct plan_ino *dir, *i;
    struct rec_dirent d;
    struct rec_key k;
    int rc;

    rc = check_create(r);
    if (rc == 0)
        rc = open_dir(p, r->parent, &dir);
    if (rc < 0)
        return rc;
    rc = look_dirent(p->o, r->parent, r->name, &d);
    if (rc != -ENOENT)
        return rc == 0 ? -EEXIST : rc;
    if (S_ISDIR(r->mode) && dir->rec.nlink >= CFS_LINK_MAX)
        return -EMLINK;
    rc = check_gfid(p, r->gfid);
    if (rc < 0)
        return rc;

    i = plan_inode_new(p, r->gfid);
    fill_new(p, r, dir, i);
    if (S_ISLNK(r->mode)) {
        rec_key_gfid(&k, REC_SMALL, r->gfid);
        plan_put(p, &k, r->target.p, r->target.len);
    }
    dir->rec.entries++;
    if (S_ISDIR(r->mode))
        dir->rec.nlink++;
    plan_stamp(p, dir, true);
    put_entry(p, r->parent, r->name, i,
              new_cookie(op->req->change, r->parent));
    p->out[0] = i;
    p->out[1] = dir;
    return 0;
}

/* -- unlink --------------------------------------------------------------- */

int plan_unlink(struct op *op, struct plan *p)
{
    const struct cfs_unlink *r = (const struct cfs_unlink *)op->req;
    struct plan_ino *dir, *i;
    struct rec_dirent d;
    int rc;

    p->flags |= ENG_RESERVE;
    rc = open_dir(p, r->parent, &dir);
    if (rc == 0)
        rc = look_dirent(p->o, r->parent, r->name, &d);
    if (rc < 0)
        return rc;
    if (!cfs_gfid_eq(d.child, r->child))
        return -CFS_E_CONFLICT;
    rc = plan_inode(p, d.child, &i);
    if (rc < 0)
        return rc == -ENOENT ? -CFS_E_CORRUPT : rc;
    rc = may_go(i, r->rmdir);
    if (rc < 0)
        return rc;

    del_entry(p, r->parent, r->name, &d);
    dir->rec.entries--;
    if (r->rmdir)
        dir->rec.nlink--;
    plan_stamp(p, dir, true);
    lose_name(p, i);
    p->out[0] = i;
    p->out[1] = dir;
    return 0;
}

/* -- link ----------------------------------------------------------------- */

int plan_link(struct op *op, struct plan *p)
{
    const struct cfs_link *r = (const struct cfs_link *)op->req;
    struct plan_ino *dir, *i;
    struct rec_dirent d;
    int rc;

    if (!cfs_name_valid(r->newname))
        return -EINVAL;
    rc = open_dir(p, r->newparent, &dir);
    if (rc == 0)
        rc = plan_inode(p, r->gfid, &i);
    if (rc < 0)
        return rc;
    if (S_ISDIR(i->rec.mode))
        return -EPERM;
    if (i->rec.nlink == 0)
        return -ENOENT;
    rc = look_dirent(p->o, r->newparent, r->newname, &d);
    if (rc != -ENOENT)
        return rc == 0 ? -EEXIST : rc;
    if (i->rec.nlink >= CFS_LINK_MAX)
        return -EMLINK;

    i->rec.nlink++;
    plan_stamp(p, i, false);
    dir->rec.entries++;
    plan_stamp(p, dir, true);
    put_entry(p, r->newparent, r->newname, i,
              new_cookie(op->req->change, r->newparent));
    p->out[0] = i;
    p->out[1] = dir;
    return 0;
}

/* -- rename --------------------------------------------------------------- */

struct renaming {
    const struct cfs_rename *r;
    struct plan_ino   *dir;
    struct plan_ino   *newdir;
    struct plan_ino   *child;
    struct plan_ino   *victim; /* NULL: the new name is free */
    struct rec_dirent  from;
    struct rec_dirent  to;
};

/* -EINVAL when directory @top is @g or above it. */
static int not_above(struct ops *o, struct cfs_gfid top, struct cfs_gfid g)
{
    struct rec_inode i;
    int rc;

    /* A loop would be damage; deeper than this would be one. */
    for (unsigned depth = 0; depth < 1u << 20; depth++) {
        if (cfs_gfid_eq(g, top))
            return -EINVAL;
        if (cfs_gfid_eq(g, cfs_gfid_root))
            return 0;
        rc = look_inode(o, g, &i);
        if (rc < 0)
            return rc == -ENOENT ? -CFS_E_CORRUPT : rc;
        g = i.parent;
    }
    return -CFS_E_CORRUPT;
}

/* What stands at both names. */
static int rename_find(struct plan *p, struct renaming *n)
{
    const struct cfs_rename *r = n->r;
    int rc;

    rc = open_dir(p, r->parent, &n->dir);
    if (rc == 0)
        rc = open_dir(p, r->newparent, &n->newdir);
    if (rc == 0)
        rc = look_dirent(p->o, r->parent, r->name, &n->from);
    if (rc < 0)
        return rc;
    if (!cfs_gfid_eq(n->from.child, r->child))
        return -CFS_E_CONFLICT;
    rc = plan_inode(p, n->from.child, &n->child);
    if (rc < 0)
        return rc == -ENOENT ? -CFS_E_CORRUPT : rc;
    rc = look_dirent(p->o, r->newparent, r->newname, &n->to);
    if (rc == -ENOENT) {
        if (!cfs_gfid_is_null(r->victim))
            return -CFS_E_CONFLICT;
        return r->flags & RENAME_EXCHANGE ? -ENOENT : 0;
    }
    if (rc < 0)
        return rc;
    if (r->flags & RENAME_NOREPLACE)
        return -EEXIST;
    if (!cfs_gfid_eq(n->to.child, r->victim))
        return -CFS_E_CONFLICT;
    rc = plan_inode(p, n->to.child, &n->victim);
    return rc == -ENOENT ? -CFS_E_CORRUPT : rc;
}

/* Directories change their place only where the tree stays a tree, and their
 * new parent can have one more. */
static int rename_check(struct plan *p, const struct renaming *n)
{
    const bool moves = n->dir != n->newdir;
    const bool exchange = n->r->flags & RENAME_EXCHANGE;
    const bool dir = S_ISDIR(n->child->rec.mode);
    const bool victim_dir = n->victim && S_ISDIR(n->victim->rec.mode);
    int rc = 0;

    if (dir && moves)
        rc = not_above(p->o, n->child->gfid, n->newdir->gfid);
    if (rc == 0 && exchange && victim_dir && moves)
        rc = not_above(p->o, n->victim->gfid, n->dir->gfid);
    if (rc == 0 && n->victim && !exchange)
        rc = may_go(n->victim, dir);
    if (rc < 0)
        return rc;
    if (moves && dir && !victim_dir &&
        n->newdir->rec.nlink >= CFS_LINK_MAX)
        return -EMLINK;
    if (moves && exchange && victim_dir && !dir &&
        n->dir->rec.nlink >= CFS_LINK_MAX)
        return -EMLINK;
    return 0;
}

/* Directory @i is now in @to, and not in @from. */
static void move_dir(struct plan_ino *i, struct plan_ino *from,
                     struct plan_ino *to)
{
    if (!S_ISDIR(i->rec.mode))
        return;
    i->rec.parent = to->gfid;
    from->rec.nlink--;
    to->rec.nlink++;
}

static void do_exchange(struct plan *p, struct renaming *n)
{
    const struct cfs_rename *r = n->r;

    put_entry(p, r->parent, r->name, n->victim, n->from.cookie);
    put_entry(p, r->newparent, r->newname, n->child, n->to.cookie);
    move_dir(n->child, n->dir, n->newdir);
    move_dir(n->victim, n->newdir, n->dir);
    plan_stamp(p, n->victim, false);
}

static void do_rename(struct plan *p, struct renaming *n, uint64_t cookie)
{
    const struct cfs_rename *r = n->r;

    if (n->victim) {
        del_entry(p, r->newparent, r->newname, &n->to);
        n->newdir->rec.entries--;
        if (S_ISDIR(n->victim->rec.mode))
            n->newdir->rec.nlink--;
        lose_name(p, n->victim);
    }
    del_entry(p, r->parent, r->name, &n->from);
    n->dir->rec.entries--;
    put_entry(p, r->newparent, r->newname, n->child, cookie);
    n->newdir->rec.entries++;
    move_dir(n->child, n->dir, n->newdir);
}

int plan_rename(struct op *op, struct plan *p)
{
    const struct cfs_rename *r = (const struct cfs_rename *)op->req;
    struct renaming n = {.r = r};
    int rc;

    if (!cfs_name_valid(r->newname) ||
        (r->flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0 ||
        r->flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    rc = rename_find(p, &n);
    if (rc < 0)
        return rc;
    p->out[0] = n.child;
    p->out[1] = n.victim;
    p->out[2] = n.dir;
    p->out[3] = n.newdir;
    if (n.victim == n.child)
        return 0; /* two names of one file: nothing but versions */
    rc = rename_check(p, &n);
    if (rc < 0)
        return rc;

    if (r->flags & RENAME_EXCHANGE)
        do_exchange(p, &n);
    else
        do_rename(p, &n, new_cookie(op->req->change, r->newparent));
    plan_stamp(p, n.child, false);
    plan_stamp(p, n.dir, true);
    if (n.newdir != n.dir)
        plan_stamp(p, n.newdir, true);
    return 0;
}
