/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - the inodes that the kernel knows: their ids, what is learnt of
 * them, their end.
 */
#include "xlators/mount/fuse/fm.h"

struct cfs_inode *fm_node(struct fm *fm, fuse_ino_t ino)
{
    if (ino == FUSE_ROOT_ID)
        return cfs_itable_root(fm->inodes);
    return (struct cfs_inode *)(uintptr_t)ino;
}

fuse_ino_t fm_ino(const struct fm *fm, const struct cfs_inode *inode)
{
    if (inode == cfs_itable_root(fm->inodes))
        return FUSE_ROOT_ID;
    return (uintptr_t)inode;
}

void fm_node_learn(struct cfs_inode *inode, const struct cfs_attr *attr)
{
    inode->mode = attr->mode;
    /* An answer that was overtaken by an unlink's must not revive it. */
    if (inode->nlink != 0)
        inode->nlink = attr->nlink;
}

double fm_lease(const struct fm *fm)
{
    return (double)fm->lease_ms / 1000.0;
}

struct cfs_inode *fm_node_entry(struct fm *fm, const struct cfs_attr *attr,
                                struct fuse_entry_param *ret)
{
    struct cfs_inode *inode = cfs_inode_find(fm->inodes, attr->gfid);
    struct cfs_gfid gone;
    bool made = inode == NULL;

    inode = cfs_inode_get(fm->inodes, attr->gfid, attr->mode);
    if (made)
        inode->nlink = attr->nlink;
    else
        fm_node_learn(inode, attr);
    inode->nlookup++;
    cfs_inode_unref(fm->inodes, inode, &gone); /* the lookup keeps it */

    *ret = (struct fuse_entry_param){
        .ino = fm_ino(fm, inode),
        .attr_timeout = fm_lease(fm),
        .entry_timeout = fm_lease(fm),
    };
    fm_stat(attr, &ret->attr);
    return inode;
}

/* -- the end of an inode --------------------------------------------------- */

struct fm_purge {
    struct fm_op     op;
    struct cfs_purge w;
};

static void purge_done(struct cfs_purge *w, int status)
{
    struct fm_purge *p = container_of(w, struct fm_purge, w);

    if (status < 0) {
        char text[CFS_UUID_STR];

        cfs_gfid_print(w->gfid, text);
        cfs_log_debug(p->op.fm->xl->log, p->op.fm->xl->name,
                      "purge gfid=%s: %s", text, cfs_err_str(status));
    }
    fm_op_end(&p->op);
}

static void purge(struct fm *fm, struct cfs_gfid gfid)
{
    struct fm_purge *p = FM_OP_NEW(fm, NULL, fm_purge);

    p->w.req.call = p->op.call;
    p->w.gfid = gfid;
    cfs_wind_purge(fm->child, &p->w, purge_done);
}

void fm_node_forget(struct fm *fm, struct cfs_inode *inode, uint64_t n)
{
    struct cfs_gfid gone;

    if (inode == cfs_itable_root(fm->inodes))
        return;
    if (cfs_inode_forget(fm->inodes, inode, n, &gone))
        purge(fm, gone);
}

void fm_node_unlinked(struct fm *fm, const struct cfs_attr *attr)
{
    struct cfs_inode *inode = cfs_inode_find(fm->inodes, attr->gfid);
    struct cfs_gfid gone;

    if (inode == NULL) {
        if (attr->nlink == 0)
            purge(fm, attr->gfid);
        return;
    }
    /* Only names below it may have kept it: then this is its end. */
    cfs_inode_ref(inode);
    fm_node_learn(inode, attr);
    if (cfs_inode_unref(fm->inodes, inode, &gone))
        purge(fm, gone);
}

struct cfs_gfid fm_node_hint(struct fm *fm, struct cfs_inode *dir,
                             struct cfs_name name)
{
    struct cfs_inode *inode = cfs_dentry_find(fm->inodes, dir, name);

    return inode == NULL ? (struct cfs_gfid){0} : inode->gfid;
}

void fm_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
    struct fm *fm = fm_of(req);

    fm_node_forget(fm, fm_node(fm, ino), n);
    fuse_reply_none(req);
}

void fm_forget_multi(fuse_req_t req, size_t count,
                     struct fuse_forget_data *forgets)
{
    struct fm *fm = fm_of(req);

    for (size_t i = 0; i < count; i++)
        fm_node_forget(fm, fm_node(fm, forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

int fm_gfid_new(struct fm *fm, struct cfs_gfid *ret)
{
    if (fm->session == 0)
        return -ENOTCONN;
    if (fm->counter == UINT32_MAX) {
        cfs_log_error(fm->xl->log, fm->xl->name,
                      "session %u has used up its inode numbers: mount again "
                      "to create more files",
                      fm->session);
        return -EOVERFLOW;
    }
    fm->counter++;
    *ret = cfs_gfid_make((uint64_t)fm->session << 32 | fm->counter);
    return 0;
}
