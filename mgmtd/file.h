/* SPDX-License-Identifier: Apache-2.0 */
/* file.h - small text files of the daemon's own, read and replaced whole.
 *
 * Errors  negative, and the message names the file. */
#ifndef CFS_MGMTD_FILE_H
#define CFS_MGMTD_FILE_H

#include <sys/types.h>

#include "core/err.h"

#define FILE_TEXT_MAX (4u * 1024u * 1024u)

/* *ret is malloc'ed, ends with a NUL, and has none inside. -ENOENT (silent:
 * err stays empty), -EFBIG, -CFS_E_CORRUPT (NUL inside), -errno. */
int file_get(const char *path, char **ret, struct cfs_err *err);
/* Replace or make it, by rename: the old or the new text is there whatever
 * happens, the new one durably when this returns 0. */
int file_put(const char *path, const char *text, mode_t mode,
             struct cfs_err *err);
/* Durably; one that is not there is fine. */
int file_remove(const char *path, struct cfs_err *err);

#endif
