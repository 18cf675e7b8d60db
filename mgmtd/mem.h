/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h - allocation that cannot fail: mgmtd holds little, and one that has
 * no memory left for it cannot do anything sensible but end; its bricks and
 * mounts go on. And the little that all of mgmtd wants of strings.
 */
#ifndef CFS_MGMTD_MEM_H
#define CFS_MGMTD_MEM_H

#include <stdlib.h>
#include <string.h>

#include "core/base.h"

static inline void *mem_ok(void *p)
{
    if (!p)
        abort();
    return p;
}

/* Zeroed. */
static inline void *mem_new(size_t size)
{
    return mem_ok(calloc(1, size));
}

static inline char *mem_str(const char *s)
{
    return mem_ok(strdup(s));
}

char *mem_printf(const char *fmt, ...) CFS_PRINTF(1, 2);

/* Room for one more of @size bytes in @array, which has @n and grows by
 * doubling. */
static inline void *mem_grow(void *array, size_t n, size_t size)
{
    if (n & (n - 1))
        return array;
    return mem_ok(reallocarray(array, n ? 2 * n : 1, size));
}

static inline bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

#endif
