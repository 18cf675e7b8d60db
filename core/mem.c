/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c - see mem.h. */
#include "core/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static _Atomic(void *) reserve;      /* NULL: spent, or none is wanted */
static size_t          reserve_size; /* that is wanted */

void *cfs_mem_try(void *old, size_t align, size_t size, bool zero)
{
    if (align > 0)
        return aligned_alloc(align, size);
    if (zero)
        return calloc(1, size);
    return realloc(old, size);
}

static void *must(void *old, size_t align, size_t size, bool zero)
{
    void *p;

    if (size == 0)
        size = 1;
    p = cfs_mem_try(old, align, size, zero);
    if (p)
        return p;
    /* When another thread has just spent it, there may be enough now. */
    free(atomic_exchange(&reserve, NULL));
    p = cfs_mem_try(old, align, size, zero);
    if (!p) {
        fprintf(stderr, "out of memory: %zu bytes\n", size);
        abort();
    }
    return p;
}

void *cfs_must_alloc(size_t size)
{
    return must(NULL, 0, size, false);
}

void *cfs_must_calloc(size_t size)
{
    return must(NULL, 0, size, true);
}

void *cfs_must_realloc(void *p, size_t size)
{
    return must(p, 0, size, false);
}

void *cfs_must_aligned(size_t align, size_t size)
{
    return must(NULL, align, size, false);
}

void cfs_mem_reserve(size_t size)
{
    free(atomic_exchange(&reserve, NULL));
    reserve_size = size;
    (void)cfs_mem_short();
}

bool cfs_mem_short(void)
{
    if (reserve_size == 0 || atomic_load(&reserve))
        return false;
    atomic_store(&reserve, cfs_mem_try(NULL, 0, reserve_size, false));
    return !atomic_load(&reserve);
}
