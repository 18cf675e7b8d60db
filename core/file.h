/* SPDX-License-Identifier: Apache-2.0 */
/* file.h - the two steps of a durable file that libc leaves to each caller.
 * They block: not for a loop that serves, but for small files.
 */
#ifndef CFS_CORE_FILE_H
#define CFS_CORE_FILE_H

#include <stddef.h>

/* All @len bytes, however many calls that takes. 0 or -errno: how much is
 * written then is not known. */
int cfs_write_all(int fd, const void *data, size_t len);

/* What was made, renamed or removed in the folder of @path survives a power
 * cut. 0 or -errno. */
int cfs_sync_folder(const char *path);

#endif
