/* SPDX-License-Identifier: Apache-2.0 */
/* fop_check.c - one function for each operation whose inputs or outputs can
 * be wrong; each is true when they are right. See fop_check.h. */
#include "rpc/fop_check.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h> /* RENAME_* */
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/dirent.h"

#define SET_ALL                                                              \
    (CFS_SET_MODE | CFS_SET_UID | CFS_SET_GID | CFS_SET_SIZE |               \
     CFS_SET_ATIME | CFS_SET_MTIME | CFS_SET_ATIME_NOW | CFS_SET_MTIME_NOW | \
     CFS_SET_KILL_SUID)

#define MODE_ALL ((uint32_t)(S_IFMT | 07777))

/* clear.inodes: gfid, epoch, seq. */
#define CLEAR_INODE 32u

/* -- parts ---------------------------------------------------------------- */

static bool is_inode(struct cfs_gfid g)
{
    return !cfs_gfid_is_null(g);
}

static bool is_range(uint64_t offset, uint64_t size)
{
    return offset <= CFS_FILE_MAX && size <= CFS_FILE_MAX - offset;
}

/* One sum for each block that [offset, offset + len) touches; or none. */
static bool are_sums(struct cfs_blob sums, uint64_t offset, uint32_t len)
{
    uint64_t first, last;

    if (sums.len == 0)
        return true;
    if (len == 0)
        return false;
    first = offset / CFS_BLOCK;
    last = (offset + len - 1) / CFS_BLOCK;
    return sums.len == (last - first + 1) * sizeof(uint64_t);
}

/* The codec has seen to length and NULs; xattrs may have any other byte. */
static bool is_xattr(struct cfs_name n)
{
    return n.len > 0 && n.len <= CFS_NAME_MAX;
}

static bool is_type(uint32_t mode)
{
    return cfs_type_valid(mode & S_IFMT) && (mode & ~MODE_ALL) == 0;
}

static bool is_target(struct cfs_blob t)
{
    return t.len > 0 && t.len <= CFS_SYMLINK_MAX &&
           memchr(t.p, '\0', t.len) == NULL;
}

static bool is_fallocate_mode(uint32_t mode)
{
    switch (mode) {
    case 0:
    case FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_ZERO_RANGE:
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
        return true;
    default:
        return false;
    }
}

/* -- inputs --------------------------------------------------------------- */

static bool check_lookup(const struct cfs_lookup *op)
{
    return is_inode(op->parent) && cfs_name_valid(op->name);
}

static bool check_read(const struct cfs_read *op)
{
    return is_inode(op->gfid) && op->size <= CFS_IO_MAX &&
           is_range(op->offset, op->size);
}

static bool check_readdir(const struct cfs_readdir *op)
{
    return is_inode(op->gfid) && op->size <= CFS_IO_MAX && op->plus <= 1;
}

static bool check_getxattr(const struct cfs_getxattr *op)
{
    return is_inode(op->gfid) && is_xattr(op->name);
}

static bool check_lseek(const struct cfs_lseek *op)
{
    return is_inode(op->gfid) && op->offset <= CFS_FILE_MAX &&
           (op->whence == SEEK_DATA || op->whence == SEEK_HOLE);
}

static bool check_fsync(const struct cfs_fsync *op)
{
    return is_inode(op->gfid) && op->datasync <= 1;
}

static bool check_create(const struct cfs_create *op)
{
    if (!is_inode(op->parent) || !is_inode(op->gfid) ||
        cfs_gfid_eq(op->parent, op->gfid) || !cfs_name_valid(op->name) ||
        !is_type(op->mode))
        return false;
    return S_ISLNK(op->mode) ? is_target(op->target) : op->target.len == 0;
}

static bool check_unlink(const struct cfs_unlink *op)
{
    return is_inode(op->parent) && cfs_name_valid(op->name) && op->rmdir <= 1;
}

static bool check_rename(const struct cfs_rename *op)
{
    return is_inode(op->parent) && is_inode(op->newparent) &&
           cfs_name_valid(op->name) && cfs_name_valid(op->newname) &&
           (op->flags == 0 || op->flags == RENAME_NOREPLACE ||
            op->flags == RENAME_EXCHANGE);
}

static bool check_link(const struct cfs_link *op)
{
    return is_inode(op->gfid) && is_inode(op->newparent) &&
           cfs_name_valid(op->newname);
}

static bool check_setattr(const struct cfs_setattr *op)
{
    return is_inode(op->gfid) && (op->mask & ~SET_ALL) == 0 &&
           (op->mode & ~MODE_ALL) == 0 && op->size <= CFS_FILE_MAX;
}

static bool check_write(const struct cfs_write *op)
{
    return is_inode(op->gfid) && op->data.len > 0 &&
           op->data.len <= CFS_IO_MAX &&
           is_range(op->offset, op->data.len) &&
           are_sums(op->sums, op->offset, op->data.len) &&
           (op->flags & ~(CFS_WRITE_APPEND | CFS_WRITE_KILL_SUID)) == 0;
}

static bool check_setxattr(const struct cfs_setxattr *op)
{
    return is_inode(op->gfid) && is_xattr(op->name) &&
           op->value.len <= CFS_XATTR_MAX &&
           (op->flags == 0 || op->flags == XATTR_CREATE ||
            op->flags == XATTR_REPLACE);
}

static bool check_removexattr(const struct cfs_removexattr *op)
{
    return is_inode(op->gfid) && is_xattr(op->name);
}

static bool check_fallocate(const struct cfs_fallocate *op)
{
    return is_inode(op->gfid) && is_fallocate_mode(op->mode) &&
           op->size > 0 && op->size <= CFS_FALLOC_STEP &&
           is_range(op->offset, op->size);
}

static bool check_copy(const struct cfs_copy *op)
{
    return is_inode(op->gfid) && is_inode(op->src) && op->size > 0 &&
           op->size <= CFS_IO_MAX && is_range(op->offset, op->size) &&
           is_range(op->src_offset, op->size);
}

static bool check_clear(const struct cfs_clear *op)
{
    return op->session != 0 && op->inodes.len % CLEAR_INODE == 0;
}

static bool check_inputs(const struct cfs_req *req)
{
    const void *op = req;

    switch (req->fop) {
    case CFS_FOP_LOOKUP:
        return check_lookup(op);
    case CFS_FOP_GETATTR:
        return is_inode(((const struct cfs_getattr *)op)->gfid);
    case CFS_FOP_READLINK:
        return is_inode(((const struct cfs_readlink *)op)->gfid);
    case CFS_FOP_READ:
        return check_read(op);
    case CFS_FOP_READDIR:
        return check_readdir(op);
    case CFS_FOP_GETXATTR:
        return check_getxattr(op);
    case CFS_FOP_LISTXATTR:
        return is_inode(((const struct cfs_listxattr *)op)->gfid);
    case CFS_FOP_LSEEK:
        return check_lseek(op);
    case CFS_FOP_FSYNC:
        return check_fsync(op);
    case CFS_FOP_CREATE:
        return check_create(op);
    case CFS_FOP_UNLINK:
        return check_unlink(op);
    case CFS_FOP_RENAME:
        return check_rename(op);
    case CFS_FOP_LINK:
        return check_link(op);
    case CFS_FOP_SETATTR:
        return check_setattr(op);
    case CFS_FOP_WRITE:
        return check_write(op);
    case CFS_FOP_SETXATTR:
        return check_setxattr(op);
    case CFS_FOP_REMOVEXATTR:
        return check_removexattr(op);
    case CFS_FOP_FALLOCATE:
        return check_fallocate(op);
    case CFS_FOP_COPY:
        return check_copy(op);
    case CFS_FOP_PURGE:
        return is_inode(((const struct cfs_purge *)op)->gfid);
    case CFS_FOP_SESSION_ATTACH:
        return ((const struct cfs_session_attach *)op)->session.no != 0;
    case CFS_FOP_SESSION_CLOSE:
        return ((const struct cfs_session_close *)op)->session != 0;
    case CFS_FOP_SESSION_FENCE:
        return ((const struct cfs_session_fence *)op)->session != 0;
    case CFS_FOP_CLEAR:
        return check_clear(op);
    case CFS_FOP_STATFS: /* of the volume: any gfid will do */
    case CFS_FOP_SESSION_OPEN:
    case CFS_FOP_VIEW_SET:
    case CFS_FOP_BRICK_INFO:
        return true;
    case CFS_FOP_FLUSH:
    case CFS_FOP_N:
        break;
    }
    return false; /* does not travel */
}

int cfs_fop_check(const struct cfs_req *req)
{
    const bool changes = cfs_fop_class(req->fop) == CFS_CLASS_CHANGE;

    if (changes != (req->change != NULL))
        return -EINVAL;
    return check_inputs(req) ? 0 : -EINVAL;
}

/* -- outputs -------------------------------------------------------------- */

static bool reply_read(const struct cfs_read *op)
{
    return op->data.len <= op->size &&
           are_sums(op->sums, op->offset, op->data.len);
}

/* A list of names, each ended by its NUL, none empty. */
static bool reply_listxattr(const struct cfs_listxattr *op)
{
    const char *s = op->names.p;
    uint32_t left = op->names.len;

    while (left > 0) {
        const size_t len = strnlen(s, left);

        if (len == 0 || len == left || len > CFS_NAME_MAX)
            return false;
        s += len + 1;
        left -= (uint32_t)len + 1;
    }
    return true;
}

static bool reply_getattr(const struct cfs_getattr *op)
{
    return cfs_gfid_eq(op->attr.gfid, op->gfid);
}

static bool reply_create(const struct cfs_create *op)
{
    return cfs_gfid_eq(op->attr.gfid, op->gfid);
}

static bool check_outputs(const struct cfs_req *req)
{
    const void *op = req;

    switch (req->fop) {
    case CFS_FOP_LOOKUP:
        return is_inode(((const struct cfs_lookup *)op)->attr.gfid);
    case CFS_FOP_GETATTR:
        return reply_getattr(op);
    case CFS_FOP_READLINK:
        return is_target(((const struct cfs_readlink *)op)->target);
    case CFS_FOP_READ:
        return reply_read(op);
    case CFS_FOP_READDIR:
        return ((const struct cfs_readdir *)op)->entries.len <=
                   ((const struct cfs_readdir *)op)->size &&
               ((const struct cfs_readdir *)op)->eof <= 1;
    case CFS_FOP_LISTXATTR:
        return reply_listxattr(op);
    case CFS_FOP_LSEEK:
        return ((const struct cfs_lseek *)op)->found <= CFS_FILE_MAX;
    case CFS_FOP_CREATE:
        return reply_create(op);
    case CFS_FOP_COPY:
        return ((const struct cfs_copy *)op)->copied <=
               ((const struct cfs_copy *)op)->size;
    case CFS_FOP_SESSION_OPEN:
        return ((const struct cfs_session_open *)op)->session.no != 0;
    default:
        return true;
    }
}

int cfs_fop_check_reply(const struct cfs_req *req)
{
    return check_outputs(req) ? 0 : -EINVAL;
}
