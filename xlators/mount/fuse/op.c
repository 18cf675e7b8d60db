/* SPDX-License-Identifier: Apache-2.0 */
/* op.c - a request of the kernel from its beginning to its answer.
 *
 * An answer that the kernel did not take (it has aborted the connection) must
 * not leave a lookup counted: the kernel will never forget what it never got.
 */
#include "xlators/mount/fuse/fm.h"

#include "core/dirent.h"

void *fm_op_new(struct fm *fm, fuse_req_t req, size_t size)
{
    struct cfs_call *call = cfs_call_begin(fm->xl->graph);
    struct fm_op *op;

    if (req != NULL) {
        const struct fuse_ctx *ctx = fuse_req_ctx(req);

        call->uid = ctx->uid;
        call->gid = ctx->gid;
        call->pid = (uint32_t)ctx->pid;
    }
    op = cfs_arena_alloc(&call->arena, size);
    op->fm = fm;
    op->call = call;
    op->req = req;
    fm->calls++;
    return op;
}

void fm_op_end(struct fm_op *op)
{
    struct fm *fm = op->fm;

    assert(fm->calls > 0);
    fm->calls--;
    cfs_call_end(op->call);
    fm_dev_resume(fm);
    fm_maybe_finish(fm);
}

void fm_reply_err(struct fm_op *op, int status)
{
    fuse_reply_err(op->req, status < 0 ? cfs_err_class(status) : 0);
    fm_op_end(op);
}

void fm_reply_buf(struct fm_op *op, const void *data, size_t len)
{
    fuse_reply_buf(op->req, data, len);
    fm_op_end(op);
}

void fm_reply_attr(struct fm_op *op, struct cfs_inode *inode,
                   const struct cfs_attr *attr)
{
    struct stat st;

    fm_node_learn(inode, attr);
    fm_stat(attr, &st);
    fuse_reply_attr(op->req, &st, fm_lease(op->fm));
    fm_op_end(op);
}

void fm_reply_entry(struct fm_op *op, struct cfs_inode *dir,
                    struct cfs_name name, const struct cfs_attr *attr)
{
    struct fuse_entry_param e;
    struct cfs_inode *inode = fm_node_entry(op->fm, attr, &e);

    cfs_dentry_set(op->fm->inodes, dir, name, inode);
    if (fuse_reply_entry(op->req, &e) < 0)
        fm_node_forget(op->fm, inode, 1);
    fm_op_end(op);
}

void fm_reply_create(struct fm_op *op, struct cfs_inode *dir,
                     struct cfs_name name, const struct cfs_attr *attr,
                     struct fuse_file_info *fi)
{
    struct fuse_entry_param e;
    struct cfs_inode *inode = fm_node_entry(op->fm, attr, &e);

    cfs_dentry_set(op->fm->inodes, dir, name, inode);
    fm_xattr_none(op->fm, inode);
    if (fuse_reply_create(op->req, &e, fi) < 0)
        fm_node_forget(op->fm, inode, 1);
    fm_op_end(op);
}

int fm_name(struct fm_op *op, const char *s, struct cfs_name *ret)
{
    size_t len = strlen(s);
    struct cfs_name name;

    if (len > CFS_NAME_MAX)
        return -ENAMETOOLONG;
    name.len = (uint32_t)len;
    name.s = cfs_arena_dup(&op->call->arena, s, len);
    if (!cfs_name_valid(name))
        return -EINVAL;
    *ret = name;
    return 0;
}

const struct fuse_lowlevel_ops fm_ops = {
    .lookup = fm_lookup,
    .forget = fm_forget,
    .forget_multi = fm_forget_multi,
    .getattr = fm_getattr,
    .setattr = fm_setattr,
    .readlink = fm_readlink,
    .mknod = fm_mknod,
    .mkdir = fm_mkdir,
    .unlink = fm_unlink,
    .rmdir = fm_rmdir,
    .symlink = fm_symlink,
    .rename = fm_rename,
    .link = fm_link,
    .open = fm_open,
    .read = fm_read,
    .write = fm_write,
    .flush = fm_flush,
    .release = fm_release,
    .fsync = fm_fsync,
    .opendir = fm_opendir,
    .readdir = fm_readdir,
    .readdirplus = fm_readdirplus,
    .releasedir = fm_releasedir,
    .fsyncdir = fm_fsync,
    .statfs = fm_statfs,
    .setxattr = fm_setxattr,
    .getxattr = fm_getxattr,
    .listxattr = fm_listxattr,
    .removexattr = fm_removexattr,
    .create = fm_create,
    .fallocate = fm_fallocate,
    .lseek = fm_lseek,
    .copy_file_range = fm_copy_file_range,
};
