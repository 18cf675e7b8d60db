/* SPDX-License-Identifier: Apache-2.0 */
/* dump.h - a statedump: sections of key=value lines, to a stream. Written
 * with cfs_dump_section() and cfs_dump_put() of core/xlator.h.
 */
#ifndef CFS_CORE_DUMP_H
#define CFS_CORE_DUMP_H

#include <stdio.h>

struct cfs_dump {
    FILE *out;
};

#endif
