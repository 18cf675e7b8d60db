/* SPDX-License-Identifier: Apache-2.0 */
/* conv.h - between the kernel's words and ours: pure functions, no state.
 *
 * Shapes  the kernel's structs are those of linux/fuse.h, in host order.
 *         Directory offsets: 0 start, 1 behind ".", 2 behind "..", then the
 *         brick's cookie + FM_COOKIE_SHIFT.
 */
#ifndef CFS_XLATORS_MOUNT_FUSE_CONV_H
#define CFS_XLATORS_MOUNT_FUSE_CONV_H

#include "core/fop.h"

#include <linux/fuse.h>
#include <sys/stat.h>

#define FM_COOKIE_SHIFT 2u
#define FM_BLKSIZE      (128u * 1024u) /* st_blksize: what cp reads at once */

void fm_stat(const struct cfs_attr *a, struct stat *ret);

/* CFS_SET_* for the FATTR_* bits of a SETATTR. */
uint32_t fm_set_mask(uint32_t valid);

/* What the kernel wants of set-user-ID bits is in flags that libfuse hides:
 * whether the request at @in, of @len bytes in all, asks to clear them. */
bool fm_wants_kill(const struct fuse_in_header *in, size_t len);

/* The bytes of the next piece of [@offset, @offset + @left): at most @max (a
 * multiple of CFS_BLOCK), ending on a block's border or at the end. */
uint64_t fm_piece(uint64_t offset, uint64_t left, uint64_t max);

/* -- extended attributes --------------------------------------------------- */

/* Whether @name is of a kind that is kept: user, trusted, security. What the
 * kernel would have to enforce (system.posix_acl_*) is not. */
bool fm_xattr_kept(struct cfs_name name);

/* Take the names that an application without CAP_SYS_ADMIN must not see out
 * of @names; they go to @ret (as large as @names.len). The bytes used. A
 * name without its NUL ends the list. */
uint32_t fm_xattr_filter(struct cfs_blob names, bool privileged, char *ret);

/* -- INIT ------------------------------------------------------------------ */

struct fm_init {
    uint32_t max_background;
    uint32_t page_size;
};

/* The flags that a mount uses, of those @offered. */
uint64_t fm_init_flags(uint64_t offered);

/* Make libfuse's answer to @in the one we mean. */
void fm_init_patch(const struct fuse_init_in *in, const struct fm_init *want,
                   struct fuse_init_out *out);

#endif
