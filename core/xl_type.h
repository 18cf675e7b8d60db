/* SPDX-License-Identifier: Apache-2.0 */
/* xl_type.h - a translator's type by its name: one that is built in, or a
 * shared object in the translator directory. For graph.c.
 */
#ifndef CFS_CORE_XL_TYPE_H
#define CFS_CORE_XL_TYPE_H

#include "core/xlator.h"

/* @name is "class/name" (letters, digits, '-', '_'): it may come from a
 * volfile that somebody sent. What was loaded stays for the process's life.
 * Errors: -EINVAL (name; not a translator), -ENOENT (no such file). */
int cfs_xl_type_load(const char *name, const struct cfs_xl_type **ret,
                     struct cfs_err *err);

#endif
