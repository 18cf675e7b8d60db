/* SPDX-License-Identifier: Apache-2.0 */
/* dirent.h - how readdir's entries lie in its buffer.
 *
 * Shapes  little-endian: gfid 16, cookie 8, type 4 (S_IFMT), name length 2,
 *         flags 2 (1: attributes follow), the name, then attributes (packed,
 *         CFS_ATTR_PACKED bytes) where flagged. No padding.
 */
#ifndef CFS_CORE_DIRENT_H
#define CFS_CORE_DIRENT_H

#include "core/base.h"

#define CFS_DIRENT_FIXED 32
#define CFS_ATTR_PACKED  136

struct cfs_dirent {
    struct cfs_gfid gfid;
    uint64_t        cookie;
    uint32_t        type;
    struct cfs_name name; /* points into the buffer */
    bool            has_attr;
    struct cfs_attr attr;
};

/* Append @e at *@at; false, nothing written, when it would pass @end. */
bool cfs_dirent_put(uint8_t **at, const uint8_t *end,
                    const struct cfs_dirent *e);

/* The entry at *@at, which moves behind it. 1: one; 0: the end; -EBADMSG. The
 * name is checked: 1 to 255 bytes, no NUL, no '/', not "." or "..". */
int cfs_dirent_next(const uint8_t **at, const uint8_t *end,
                    struct cfs_dirent *ret);

void cfs_attr_pack(const struct cfs_attr *a,
                   uint8_t ret[static CFS_ATTR_PACKED]);
/* -EBADMSG: no valid type, nanoseconds out of range. */
int  cfs_attr_unpack(const uint8_t b[static CFS_ATTR_PACKED],
                     struct cfs_attr *ret);

/* Whether @type (S_IFMT) is a file's that POSIX knows. */
bool cfs_type_valid(uint32_t type);

/* Whether @n may name a directory entry. */
bool cfs_name_valid(struct cfs_name n);

#endif
