/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - counted, block-aligned buffers for bulk data; the arena of a call.
 *
 * Bulk data moves between socket, fuse and device without being copied: a
 * cfs_buf is a window on a counted cfs_mem.
 *
 * Shapes     memory comes in size classes of 4 KiB * 2^k up to 2 MiB, aligned
 *            to 4096, kept for reuse per process. From 1 MiB on it lies in
 *            huge pages where the system has them.
 * Threads    counts change on the loop thread only; pool threads may read and
 *            write the bytes of a buffer that their job holds.
 * Errors     allocation cannot fail: it ends the process (the kernel
 *            overcommits; a limit is what admission is for).
 */
#ifndef CFS_CORE_BUF_H
#define CFS_CORE_BUF_H

#include "core/list.h"

struct cfs_mem {
    struct cfs_list link; /* in its class's free list */
    struct cfs_mem *twin; /* the other half of its huge page, or NULL */
    uint32_t        refs;
    uint32_t        size;
    uint8_t        *data; /* @size bytes, aligned to 4096 */
};

/* A window. Zero is "nothing". Borrowed unless a header says otherwise. */
struct cfs_buf {
    struct cfs_mem *mem; /* NULL: somebody else's bytes */
    uint8_t        *data;
    uint32_t        len;
};

/* @len bytes, contents undefined, one reference. len <= 2 MiB. */
struct cfs_buf cfs_buf_new(uint32_t len);
struct cfs_buf cfs_buf_ref(struct cfs_buf b);      /* one more reference */
void           cfs_buf_unref(struct cfs_buf *b);   /* zeroes *b */
void           cfs_buf_pool_drain(void);           /* for leak checks */

/* What a call allocates, aligned to 16, all freed at its end. */
struct cfs_arena {
    struct cfs_list chunks;
    uint8_t        *at;
    uint8_t        *end;
    struct cfs_list bufs; /* kept alive until the end */
    bool            apart;
};

void  cfs_arena_init(struct cfs_arena *a);
/* One for another thread than the loop's: its memory is not from the pool, and
 * nothing is kept in it (cfs_arena_keep()). */
void  cfs_arena_init_apart(struct cfs_arena *a);
void  cfs_arena_fini(struct cfs_arena *a);
void  cfs_arena_reset(struct cfs_arena *a); /* empty; keeps a first chunk */
void *cfs_arena_alloc(struct cfs_arena *a, size_t size); /* zeroed */
void *cfs_arena_dup(struct cfs_arena *a, const void *p, size_t len);

/* Hold @b's memory until the arena ends. Takes over the caller's reference. */
void cfs_arena_keep(struct cfs_arena *a, struct cfs_buf b);

#endif
