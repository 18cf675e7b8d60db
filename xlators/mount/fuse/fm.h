/* SPDX-License-Identifier: Apache-2.0 */
/* fm.h - the inside of mount/fuse: one mount, one request of the kernel.
 *
 * Life of a mount   init: mounted, nothing is read yet, callers wait
 *                   -> first CHILD_UP below: the root is read (FM_PROBING)
 *                   -> the device is read, INIT answered (FM_SERVING)
 *                   -> CHILD_UP goes up: the file system serves
 *                   -> the device says ENODEV (FM_GONE): unmounted, or
 *                      aborted; CHILD_DOWN with -ENODEV goes up
 * Life of a request fm_op_new() begins a call in whose arena everything of
 *                   the request lies; one fm_reply_*() answers the kernel and
 *                   ends the call, after the last done().
 * Ownership         what libfuse hands over (names, data) is gone when its
 *                   handler returns, so handlers copy it into the arena; the
 *                   data of large writes is the read buffer itself, kept.
 *
 * (1) Node ids are addresses of cfs_inode, and the kernel uses only those that
 *     it still counts a lookup of. It is trusted with that.
 * (2) An inode whose last name is gone is purged when the kernel forgets it,
 *     or at once when the kernel does not know it.
 * (3) No call into the file system that is mounted here is made from the loop
 *     thread: it would wait for itself. umount(2) is such a call.
 */
#ifndef CFS_XLATORS_MOUNT_FUSE_FM_H
#define CFS_XLATORS_MOUNT_FUSE_FM_H

#define FUSE_USE_VERSION 314

#include "core/graph.h"
#include "core/inode.h"
#include "core/xlator.h"
#include "xlators/mount/fuse/conv.h"

#include <fuse3/fuse_lowlevel.h>

enum fm_state {
    FM_MOUNTED,
    FM_PROBING,
    FM_SERVING,
    FM_GONE,
};

struct uv_poll_s;

/* How a mount ends: in the pool, because umount(2) may wait for us. */
struct fm_umount {
    struct cfs_job   job;
    struct cfs_timer timer; /* users that outstay the detached mount */
    bool             running;
    bool             lazy; /* in: do not try the plain way first */
    bool             busy; /* out: detached, but in use */
    int              status;
};

struct fm {
    /* options */
    char    *mountpoint;
    char    *source;
    char    *mount_options;
    uint32_t fd_given;
    bool     allow_other;
    bool     utab;
    uint64_t lease_ms;
    uint64_t grace_ms;
    uint32_t spin_us;
    uint32_t max_background;
    uint32_t max_calls;
    uint32_t read_ahead_kb;

    struct cfs_xl     *xl;
    struct cfs_xl     *child;
    struct cfs_itable *inodes;

    enum fm_state        state;
    int                  fd;       /* the device; -1: closed */
    bool                 mounted;  /* by us, and not known to be undone */
    uint32_t             dev_major, dev_minor; /* st_dev of the mount */
    struct fuse_session *se;
    struct uv_poll_s    *poll;
    bool                 polling;
    bool                 inited;   /* INIT has been answered */
    bool                 init_failed;
    bool                 ready;    /* CHILD_UP was sent up */
    bool                 in_utab;
    uint64_t             init_unique;
    struct fuse_init_in  init_in;

    struct cfs_buf               in;  /* the next request goes here */
    const struct fuse_in_header *raw; /* the one being handed to libfuse */
    size_t                       raw_len;

    unsigned calls; /* begun, not ended */
    bool     held;  /* the graph */
    bool     down;  /* PARENT_DOWN came */
    bool     told;  /* the end was told upward */
    struct cfs_task finish; /* looks whether it is over */

    uint32_t session; /* number of the last one; 0: none yet */
    uint32_t counter; /* of inodes made in it */

    struct cfs_timer probe_timer;
    struct cfs_job   settle; /* read-ahead and utab, once INIT is answered */
    bool             settling;
    struct fm_umount umount;
};

/* First in each request's struct. */
struct fm_op {
    struct fm       *fm;
    struct cfs_call *call;
    fuse_req_t       req; /* NULL: our own (purge) */
};

/* -- fuse.c: the translator ------------------------------------------------ */

void fm_probe_root(struct fm *fm);
void fm_started(struct fm *fm);   /* INIT has been answered */
void fm_device_gone(struct fm *fm);
void fm_maybe_finish(struct fm *fm); /* something ended */

/* -- dev.c: the device ----------------------------------------------------- */

int  fm_dev_open(struct fm *fm, struct cfs_err *err);
int  fm_dev_serve(struct fm *fm, struct cfs_err *err);
void fm_dev_resume(struct fm *fm); /* after a call has ended */
void fm_dev_stop(struct fm *fm);   /* read no more */
void fm_dev_close(struct fm *fm);  /* no call is in flight */

/* -- mount.c: mount(2), umount(2), utab, read-ahead ------------------------ */

int  fm_mount(struct fm *fm, struct cfs_err *err);
/* Blocking; for the pool, or before the loop runs. */
int  fm_umount_now(struct fm *fm, bool lazy, bool *ret_busy);
void fm_utab_add(const struct fm *fm);
void fm_utab_remove(const struct fm *fm); /* also what umount(2) left */
int  fm_read_ahead_set(const struct fm *fm);

/* -- op.c: requests and their answers -------------------------------------- */

/* A request's struct, zeroed; @size includes its struct fm_op. */
void *fm_op_new(struct fm *fm, fuse_req_t req, size_t size);
#define FM_OP_NEW(fm, req, type)                                             \
    ((struct type *)fm_op_new(fm, req, sizeof(struct type)))
void fm_op_end(struct fm_op *op);

/* Each answers and ends. status: 0 or negative. */
void fm_reply_err(struct fm_op *op, int status);
void fm_reply_buf(struct fm_op *op, const void *data, size_t len);
void fm_reply_attr(struct fm_op *op, struct cfs_inode *inode,
                   const struct cfs_attr *attr);
/* @name in @dir is the inode of @attr; the kernel counts a lookup of it. */
void fm_reply_entry(struct fm_op *op, struct cfs_inode *dir,
                    struct cfs_name name, const struct cfs_attr *attr);
void fm_reply_create(struct fm_op *op, struct cfs_inode *dir,
                     struct cfs_name name, const struct cfs_attr *attr,
                     struct fuse_file_info *fi);

static inline struct fm *fm_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* Copy @s into the call. 0, or -ENAMETOOLONG, -EINVAL. */
int fm_name(struct fm_op *op, const char *s, struct cfs_name *ret);

/* -- node.c: inodes that the kernel knows ---------------------------------- */

struct cfs_inode *fm_node(struct fm *fm, fuse_ino_t ino);
fuse_ino_t        fm_ino(const struct fm *fm, const struct cfs_inode *inode);

/* What @attr tells of its inode. */
void fm_node_learn(struct cfs_inode *inode, const struct cfs_attr *attr);

/* Count one lookup of the inode of @attr, and fill @ret for the kernel. Undo:
 * fm_node_forget(..., 1). */
struct cfs_inode *fm_node_entry(struct fm *fm, const struct cfs_attr *attr,
                                struct fuse_entry_param *ret);
void fm_node_forget(struct fm *fm, struct cfs_inode *inode, uint64_t n);

/* A name of @attr's inode was removed. */
void fm_node_unlinked(struct fm *fm, const struct cfs_attr *attr);

/* The gfid of what @name in @dir is thought to be, or null. */
struct cfs_gfid fm_node_hint(struct fm *fm, struct cfs_inode *dir,
                             struct cfs_name name);

/* An inode's identity, never given before. -ENOTCONN: no session. -EOVERFLOW:
 * this session has made four thousand million. */
int fm_gfid_new(struct fm *fm, struct cfs_gfid *ret);

/* The inode was made just now: it has no extended attributes. */
void fm_xattr_none(struct fm *fm, struct cfs_inode *inode);

/* Kernel time-outs, in its unit: seconds. */
double fm_lease(const struct fm *fm);

/* -- what the kernel asks: names.c, attr.c, file.c, space.c, dir.c, xattr.c  */

extern const struct fuse_lowlevel_ops fm_ops;

#define FM_HANDLER(name, ...) void fm_##name(fuse_req_t req, __VA_ARGS__)

FM_HANDLER(lookup, fuse_ino_t parent, const char *name);
FM_HANDLER(forget, fuse_ino_t ino, uint64_t n);
FM_HANDLER(forget_multi, size_t count, struct fuse_forget_data *forgets);
FM_HANDLER(mknod, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
FM_HANDLER(mkdir, fuse_ino_t parent, const char *name, mode_t mode);
FM_HANDLER(symlink, const char *target, fuse_ino_t parent, const char *name);
FM_HANDLER(create, fuse_ino_t parent, const char *name, mode_t mode,
           struct fuse_file_info *fi);
FM_HANDLER(unlink, fuse_ino_t parent, const char *name);
FM_HANDLER(rmdir, fuse_ino_t parent, const char *name);
FM_HANDLER(rename, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
           const char *newname, unsigned int flags);
FM_HANDLER(link, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);

FM_HANDLER(getattr, fuse_ino_t ino, struct fuse_file_info *fi);
FM_HANDLER(setattr, fuse_ino_t ino, struct stat *attr, int to_set,
           struct fuse_file_info *fi);
FM_HANDLER(readlink, fuse_ino_t ino);
FM_HANDLER(statfs, fuse_ino_t ino);

FM_HANDLER(open, fuse_ino_t ino, struct fuse_file_info *fi);
FM_HANDLER(read, fuse_ino_t ino, size_t size, off_t off,
           struct fuse_file_info *fi);
FM_HANDLER(write, fuse_ino_t ino, const char *data, size_t size, off_t off,
           struct fuse_file_info *fi);
FM_HANDLER(flush, fuse_ino_t ino, struct fuse_file_info *fi);
FM_HANDLER(release, fuse_ino_t ino, struct fuse_file_info *fi);
FM_HANDLER(fsync, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

FM_HANDLER(fallocate, fuse_ino_t ino, int mode, off_t off, off_t len,
           struct fuse_file_info *fi);
FM_HANDLER(lseek, fuse_ino_t ino, off_t off, int whence,
           struct fuse_file_info *fi);
FM_HANDLER(copy_file_range, fuse_ino_t ino_in, off_t off_in,
           struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
           struct fuse_file_info *fi_out, size_t len, int flags);

FM_HANDLER(opendir, fuse_ino_t ino, struct fuse_file_info *fi);
FM_HANDLER(readdir, fuse_ino_t ino, size_t size, off_t off,
           struct fuse_file_info *fi);
FM_HANDLER(readdirplus, fuse_ino_t ino, size_t size, off_t off,
           struct fuse_file_info *fi);
FM_HANDLER(releasedir, fuse_ino_t ino, struct fuse_file_info *fi);

FM_HANDLER(setxattr, fuse_ino_t ino, const char *name, const char *value,
           size_t size, int flags);
FM_HANDLER(getxattr, fuse_ino_t ino, const char *name, size_t size);
FM_HANDLER(listxattr, fuse_ino_t ino, size_t size);
FM_HANDLER(removexattr, fuse_ino_t ino, const char *name);

#endif
