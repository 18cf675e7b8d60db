/* SPDX-License-Identifier: Apache-2.0 */
/* memfs_xl.h - a bottom for test graphs: a whole file system in memory, with
 * the conditions and errors of core/fops.def.
 *
 *     cfs_graph_builtin(&memfs_xl_type);   then "type debug/memfs"
 *
 * It knows its parents' mistakes: a write with wrong checksums is
 * -CFS_E_CHECKSUM, a hint (unlink.child, rename.child, .victim) that is wrong
 * -CFS_E_CONFLICT, an append that is not at the end -EINVAL, a purge of what
 * has a name -EBUSY.
 *
 * A test in another process speaks to it through extended attributes:
 *   trusted.memfs.inodes     get: how many inodes there are, in decimal
 *   trusted.memfs.corrupt    set on a file: what is read of it is damaged
 *   trusted.memfs.create     set on a directory: makes an empty file (0600,
 *                            root's) of that name, as another client would
 *   trusted.memfs.remove     likewise removes a name
 *   trusted.memfs.append     set on a file: appends the value, likewise
 */
#ifndef CFS_TESTS_UNIT_MEMFS_XL_H
#define CFS_TESTS_UNIT_MEMFS_XL_H

#include "core/xlator.h"

extern const struct cfs_xl_type memfs_xl_type;

#endif
