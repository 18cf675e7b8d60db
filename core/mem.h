/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h - memory that has to be there, and a reserve of it for when it is not.
 *
 * Between admission and answer nothing may fail for want of memory: what is
 * half done cannot be taken back. So these functions never return NULL. When
 * malloc() has nothing more, they give the reserve back to it and try again;
 * from then on cfs_mem_short() is true, and whoever admits work refuses it
 * (-ENOMEM) until the reserve could be taken again. Only when the reserve does
 * not suffice either, the process ends, with a word about it.
 *
 * Units    bytes.
 * Threads  any; cfs_mem_reserve() and cfs_mem_short(): the loop thread.
 */
#ifndef CFS_CORE_MEM_H
#define CFS_CORE_MEM_H

#include <stdbool.h>
#include <stddef.h>

void *cfs_must_alloc(size_t size);
void *cfs_must_calloc(size_t size);
void *cfs_must_realloc(void *p, size_t size);
/* @align is a power of two, @size a multiple of it. */
void *cfs_must_aligned(size_t align, size_t size);

/* Keep @size bytes aside from now on, address space that nobody touches; 0:
 * nothing. At first there is nothing. */
void cfs_mem_reserve(size_t size);
/* Whether the reserve is spent. Tries to take it again. */
bool cfs_mem_short(void);

/* One attempt, which may fail: the C library's. Tests have their own. */
void *cfs_mem_try(void *old, size_t align, size_t size, bool zero);

#endif
