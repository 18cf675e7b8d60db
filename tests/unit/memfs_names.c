/* SPDX-License-Identifier: Apache-2.0 */
/* memfs_names.c - debug/memfs: what looks up and changes names. */
#include "tests/unit/memfs_fops.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The directory @gfid, or NULL with why not. */
static struct mnode *find_dir(struct memfs *m, struct cfs_gfid gfid,
                              int *ret_rc)
{
    struct mnode *dir = memfs_find(m, gfid);

    *ret_rc = dir == NULL || dir->attr.nlink == 0 ? -ENOENT
              : !S_ISDIR(dir->attr.mode)          ? -ENOTDIR
                                                  : 0;
    return *ret_rc < 0 ? NULL : dir;
}

void memfs_lookup(struct cfs_xl *xl, struct cfs_lookup *op)
{
    struct memfs *m = xl->priv;
    struct mentry *e;
    struct mnode *dir;
    int rc;

    dir = find_dir(m, op->parent, &rc);
    if (dir == NULL) {
        cfs_unwind_lookup(op, rc);
        return;
    }
    e = memfs_entry(m, dir, op->name);
    if (e != NULL)
        op->attr = e->child->attr;
    cfs_unwind_lookup(op, e == NULL ? -ENOENT : 0);
}

/* -- create, link ---------------------------------------------------------- */

static void fill_new(struct memfs *m, struct mnode *n, const struct mnode *dir,
                     uint32_t uid, uint32_t gid)
{
    n->attr.uid = uid;
    n->attr.gid = gid;
    if (dir->attr.mode & S_ISGID) {
        n->attr.gid = dir->attr.gid;
        if (S_ISDIR(n->attr.mode))
            n->attr.mode |= S_ISGID;
    }
    memfs_touch(m, n, true);
    n->attr.atime = n->attr.btime = n->attr.mtime;
}

static void name_it(struct memfs *m, struct mnode *dir, struct cfs_name name,
                    struct mnode *n)
{
    memfs_entry_add(m, dir, name, n);
    if (!S_ISDIR(n->attr.mode))
        n->attr.nlink++;
    memfs_touch(m, n, false);
    memfs_touch(m, dir, true);
}

void memfs_create(struct cfs_xl *xl, struct cfs_create *op)
{
    struct memfs *m = xl->priv;
    struct mnode *dir, *n;
    int rc;

    dir = find_dir(m, op->parent, &rc);
    if (rc == 0 && memfs_entry(m, dir, op->name) != NULL)
        rc = -EEXIST;
    if (rc == 0 && memfs_find(m, op->gfid) != NULL)
        rc = -EINVAL; /* identities are never given twice */
    if (rc < 0) {
        cfs_unwind_create(op, rc);
        return;
    }
    n = memfs_make(m, op->gfid, op->mode);
    n->attr.rdev = op->rdev;
    if (S_ISLNK(op->mode)) {
        n->target = strndup(op->target.p, op->target.len);
        n->attr.size = op->target.len;
    }
    fill_new(m, n, dir, op->uid, op->gid);
    name_it(m, dir, op->name, n);
    op->attr = n->attr;
    op->dir = dir->attr;
    cfs_unwind_create(op, 0);
}

void memfs_link(struct cfs_xl *xl, struct cfs_link *op)
{
    struct memfs *m = xl->priv;
    struct mnode *n = memfs_find(m, op->gfid), *dir;
    int rc;

    dir = find_dir(m, op->newparent, &rc);
    if (rc == 0 && (n == NULL || n->attr.nlink == 0))
        rc = -ENOENT;
    if (rc == 0 && S_ISDIR(n->attr.mode))
        rc = -EPERM;
    if (rc == 0 && n->attr.nlink >= CFS_LINK_MAX)
        rc = -EMLINK;
    if (rc == 0 && memfs_entry(m, dir, op->newname) != NULL)
        rc = -EEXIST;
    if (rc < 0) {
        cfs_unwind_link(op, rc);
        return;
    }
    name_it(m, dir, op->newname, n);
    op->attr = n->attr;
    op->dir = dir->attr;
    cfs_unwind_link(op, 0);
}

int memfs_hidden_create(struct memfs *m, struct mnode *dir,
                        struct cfs_name name)
{
    struct mnode *n;

    if (memfs_entry(m, dir, name) != NULL)
        return -EEXIST;
    n = memfs_make(m, cfs_gfid_make((uint64_t)9999 << 32 | ++m->hidden),
                   S_IFREG | 0600);
    fill_new(m, n, dir, 0, 0);
    name_it(m, dir, name, n);
    return 0;
}

/* -- unlink ---------------------------------------------------------------- */

static void unname(struct memfs *m, struct mnode *dir, struct mentry *e)
{
    struct mnode *n = e->child;

    memfs_entry_del(m, e);
    n->attr.nlink = S_ISDIR(n->attr.mode) ? 0 : n->attr.nlink - 1;
    memfs_touch(m, n, false);
    memfs_touch(m, dir, true);
}

static bool hint_wrong(struct cfs_gfid hint, const struct mentry *e)
{
    if (cfs_gfid_is_null(hint))
        return false;
    return e == NULL || !cfs_gfid_eq(hint, e->child->attr.gfid);
}

static int may_remove(const struct mnode *n, bool rmdir)
{
    if (rmdir && !S_ISDIR(n->attr.mode))
        return -ENOTDIR;
    if (!rmdir && S_ISDIR(n->attr.mode))
        return -EISDIR;
    return cfs_list_empty(&n->entries) ? 0 : -ENOTEMPTY;
}

void memfs_unlink(struct cfs_xl *xl, struct cfs_unlink *op)
{
    struct memfs *m = xl->priv;
    struct mentry *e = NULL;
    struct mnode *dir, *n;
    int rc;

    dir = find_dir(m, op->parent, &rc);
    if (rc == 0)
        e = memfs_entry(m, dir, op->name);
    if (rc == 0 && hint_wrong(op->child, e))
        rc = -CFS_E_CONFLICT;
    else if (rc == 0 && e == NULL)
        rc = -ENOENT;
    else if (rc == 0)
        rc = may_remove(e->child, op->rmdir != 0);
    if (rc < 0) {
        cfs_unwind_unlink(op, rc);
        return;
    }
    n = e->child;
    unname(m, dir, e);
    op->attr = n->attr;
    op->dir = dir->attr;
    cfs_unwind_unlink(op, 0);
}

int memfs_hidden_remove(struct memfs *m, struct mnode *dir,
                        struct cfs_name name)
{
    struct mentry *e = memfs_entry(m, dir, name);
    struct mnode *n;

    if (e == NULL)
        return -ENOENT;
    n = e->child;
    unname(m, dir, e);
    if (n->attr.nlink == 0)
        memfs_free(m, n);
    return 0;
}

/* -- rename ---------------------------------------------------------------- */

struct move {
    struct mnode  *dir, *newdir;
    struct mentry *e, *v; /* v: NULL, there is no victim */
};

static int may_replace(const struct mnode *n, const struct mnode *victim)
{
    if (S_ISDIR(n->attr.mode) && !S_ISDIR(victim->attr.mode))
        return -ENOTDIR;
    if (!S_ISDIR(n->attr.mode) && S_ISDIR(victim->attr.mode))
        return -EISDIR;
    return cfs_list_empty(&victim->entries) ? 0 : -ENOTEMPTY;
}

static int rename_check(struct memfs *m, const struct cfs_rename *op,
                        struct move *ret)
{
    int rc;

    ret->dir = find_dir(m, op->parent, &rc);
    if (rc < 0)
        return rc;
    ret->newdir = find_dir(m, op->newparent, &rc);
    if (rc < 0)
        return rc;
    ret->e = memfs_entry(m, ret->dir, op->name);
    ret->v = memfs_entry(m, ret->newdir, op->newname);
    if (hint_wrong(op->child, ret->e) || hint_wrong(op->victim, ret->v))
        return -CFS_E_CONFLICT;
    if (ret->e == NULL)
        return -ENOENT;
    if (op->flags & RENAME_EXCHANGE)
        return ret->v == NULL ? -ENOENT : 0;
    if (ret->v != NULL && (op->flags & RENAME_NOREPLACE))
        return -EEXIST;
    if (ret->v != NULL && ret->v->child != ret->e->child)
        return may_replace(ret->e->child, ret->v->child);
    return 0;
}

void memfs_rename(struct cfs_xl *xl, struct cfs_rename *op)
{
    struct memfs *m = xl->priv;
    struct mnode *n, *victim;
    struct move mv;
    int rc;

    rc = rename_check(m, op, &mv);
    if (rc < 0) {
        cfs_unwind_rename(op, rc);
        return;
    }
    n = mv.e->child;
    victim = mv.v == NULL ? NULL : mv.v->child;
    if (n != victim) {
        memfs_entry_del(m, mv.e);
        if (victim != NULL && (op->flags & RENAME_EXCHANGE)) {
            memfs_entry_del(m, mv.v);
            memfs_entry_add(m, mv.dir, op->name, victim);
            memfs_touch(m, victim, false);
        } else if (victim != NULL) {
            unname(m, mv.newdir, mv.v);
        }
        memfs_entry_add(m, mv.newdir, op->newname, n);
        memfs_touch(m, n, false);
        memfs_touch(m, mv.dir, true);
        memfs_touch(m, mv.newdir, true);
    }
    op->attr = n->attr;
    if (victim != NULL)
        op->victim_attr = victim->attr;
    op->dir = mv.dir->attr;
    op->newdir = mv.newdir->attr;
    cfs_unwind_rename(op, 0);
}

/* -- purge ----------------------------------------------------------------- */

void memfs_purge(struct cfs_xl *xl, struct cfs_purge *op)
{
    struct memfs *m = xl->priv;
    struct mnode *n = memfs_find(m, op->gfid);
    int rc = n == NULL ? -ENOENT : n->attr.nlink > 0 ? -EBUSY : 0;

    if (rc == 0)
        memfs_free(m, n);
    cfs_unwind_purge(op, rc);
}
