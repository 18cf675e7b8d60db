/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c - the pool of counted buffers, and arenas; see buf.h.
 *
 * Freed memory waits in a list per size class, the last freed first (it is
 * still in the processor's caches). A class keeps at most CLASS_KEEP bytes;
 * what is more goes back to the system. Arenas take their chunks from a list
 * of the same kind, so that a call in steady state allocates nothing.
 *
 * What is large lies in huge pages: a megabyte that a device is to fill or to
 * take is one piece for it, and not 256 whose pages are looked up one by one;
 * and what is new costs one page fault. Buffers of half such a page come as
 * twins, and go back together: so a class may keep more than CLASS_KEEP for
 * as long as the others of its twins are in use.
 *
 * Under AddressSanitizer what is not handed out is poisoned.
 */
#include "core/buf.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "core/mem.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#endif

#define CLASS_MIN  4096u
#define CLASS_N    10u /* 4 KiB to 2 MiB */
#define CLASS_KEEP (32u * 1024u * 1024u)

#define HUGE_SIZE  (2u * 1024u * 1024u)

#define CHUNK_SIZE (16u * 1024u)
#define CHUNK_KEEP 512u
#define ALIGN      16u

struct size_class {
    struct cfs_list free; /* all zero: nothing was freed yet */
    unsigned        n_free;
};

/* In front of what an arena hands out. */
struct chunk {
    struct cfs_list link;
    size_t          size; /* this header included */
};

#define CHUNK_HEAD ((sizeof(struct chunk) + ALIGN - 1) & ~(size_t)(ALIGN - 1))

/* A buffer that lives as long as the arena. */
struct kept {
    struct cfs_list link;
    struct cfs_buf  buf;
};

/* The memory that this process has at hand; touched by the loop thread. */
static struct size_class classes[CLASS_N];
static struct chunk     *free_chunks; /* linked by link.next */
static unsigned          n_free_chunks;

static unsigned class_of(uint32_t len)
{
    if (len <= CLASS_MIN)
        return 0;
    return 32u - (unsigned)__builtin_clz((len - 1) / CLASS_MIN);
}

static struct cfs_mem *mem_new(uint8_t *data, uint32_t size)
{
    struct cfs_mem *m = cfs_must_aligned(ALIGN, (sizeof *m + ALIGN - 1) &
                                                    ~(size_t)(ALIGN - 1));

    *m = (struct cfs_mem){.size = size, .data = data};
    cfs_list_init(&m->link);
    return m;
}

static void class_put(struct size_class *class, struct cfs_mem *m)
{
    ASAN_POISON_MEMORY_REGION(m->data, m->size);
    if (!class->free.next)
        cfs_list_init(&class->free);
    cfs_list_add_head(&class->free, &m->link);
    class->n_free++;
}

static struct cfs_mem *class_take(struct size_class *class)
{
    struct cfs_list *l = class->free.next ? cfs_list_pop(&class->free) : NULL;
    struct cfs_mem *m = l ? cfs_list_entry(l, struct cfs_mem, link) : NULL;

    if (!m)
        return NULL;
    class->n_free--;
    ASAN_UNPOISON_MEMORY_REGION(m->data, m->size);
    return m;
}

static struct cfs_mem *mem_small(uint32_t size)
{
    return mem_new(cfs_must_aligned(CLASS_MIN, size), size);
}

/* In a huge page; its twin, if it has one, is free. */
static struct cfs_mem *mem_huge(struct size_class *class, uint32_t size)
{
    uint8_t *page = cfs_must_aligned(HUGE_SIZE, HUGE_SIZE);
    struct cfs_mem *m;

    (void)madvise(page, HUGE_SIZE, MADV_HUGEPAGE);
    m = mem_new(page, size);
    if (size < HUGE_SIZE) {
        m->twin = mem_new(page + size, size);
        m->twin->twin = m;
        class_put(class, m->twin);
    }
    return m;
}

struct cfs_buf cfs_buf_new(uint32_t len)
{
    unsigned k = class_of(len);
    struct cfs_mem *m;

    assert(k < CLASS_N);
    m = class_take(&classes[k]);
    if (!m)
        m = 2 * (CLASS_MIN << k) < HUGE_SIZE
                ? mem_small(CLASS_MIN << k)
                : mem_huge(&classes[k], CLASS_MIN << k);
    m->refs = 1;
    return (struct cfs_buf){m, m->data, len};
}

struct cfs_buf cfs_buf_ref(struct cfs_buf b)
{
    if (b.mem) {
        assert(b.mem->refs > 0 && b.mem->refs < UINT32_MAX);
        b.mem->refs++;
    }
    return b;
}

/* One that is in no list, with its twin. */
static void mem_free(struct cfs_mem *m)
{
    struct cfs_mem *twin = m->twin;
    uint8_t *data = m->data;

    ASAN_UNPOISON_MEMORY_REGION(m->data, m->size);
    if (twin) {
        ASAN_UNPOISON_MEMORY_REGION(twin->data, twin->size);
        if (twin->data < data)
            data = twin->data;
        free(twin);
    }
    free(data);
    free(m);
}

/* Whether @m, which nobody has any more, may go back to the system. */
static bool may_free(struct size_class *class, const struct cfs_mem *m)
{
    return (uint64_t)(class->n_free + 1) * m->size > CLASS_KEEP &&
           (!m->twin || m->twin->refs == 0);
}

static void twin_take(struct size_class *class, struct cfs_mem *m)
{
    if (!m->twin)
        return;
    cfs_list_del(&m->twin->link);
    class->n_free--;
}

void cfs_buf_unref(struct cfs_buf *b)
{
    struct cfs_mem *m = b->mem;
    struct size_class *class;

    *b = (struct cfs_buf){0};
    if (!m)
        return;
    assert(m->refs > 0);
    if (--m->refs > 0)
        return;
    class = &classes[class_of(m->size)];
    if (may_free(class, m)) {
        twin_take(class, m);
        mem_free(m);
    } else {
        class_put(class, m);
    }
}

static struct chunk *chunk_get(size_t payload, bool apart)
{
    size_t size = CHUNK_HEAD + payload;
    struct chunk *c;

    if (size <= CHUNK_SIZE) {
        size = CHUNK_SIZE;
        c = apart ? NULL : free_chunks;
        if (c) {
            free_chunks = (struct chunk *)(void *)c->link.next;
            n_free_chunks--;
            return c;
        }
    }
    c = cfs_must_aligned(ALIGN, size);
    c->size = size;
    ASAN_POISON_MEMORY_REGION((uint8_t *)c + CHUNK_HEAD, size - CHUNK_HEAD);
    return c;
}

static void chunk_put(struct chunk *c, bool apart)
{
    uint8_t *payload = (uint8_t *)c + CHUNK_HEAD;

    if (c->size == CHUNK_SIZE && !apart && n_free_chunks < CHUNK_KEEP) {
        ASAN_POISON_MEMORY_REGION(payload, c->size - CHUNK_HEAD);
        c->link.next = (struct cfs_list *)(void *)free_chunks;
        free_chunks = c;
        n_free_chunks++;
    } else {
        ASAN_UNPOISON_MEMORY_REGION(payload, c->size - CHUNK_HEAD);
        free(c);
    }
}

void cfs_buf_pool_drain(void)
{
    for (unsigned k = 0; k < CLASS_N; k++) {
        struct size_class *class = &classes[k], rest = {0};
        struct cfs_mem *m;

        while ((m = class_take(class)) != NULL) {
            if (m->twin && m->twin->refs > 0) {
                class_put(&rest, m);
                continue;
            }
            twin_take(class, m);
            mem_free(m);
        }
        while ((m = class_take(&rest)) != NULL)
            class_put(class, m);
    }
    while (free_chunks) {
        struct chunk *c = free_chunks;

        free_chunks = (struct chunk *)(void *)c->link.next;
        free(c);
    }
    n_free_chunks = 0;
}

void cfs_arena_init(struct cfs_arena *a)
{
    cfs_list_init(&a->chunks);
    cfs_list_init(&a->bufs);
    a->at = a->end = NULL;
    a->apart = false;
}

void cfs_arena_init_apart(struct cfs_arena *a)
{
    cfs_arena_init(a);
    a->apart = true;
}

static void drop_bufs(struct cfs_arena *a)
{
    cfs_list_for_each_safe(it, &a->bufs)
        cfs_buf_unref(&cfs_list_entry(it, struct kept, link)->buf);
    cfs_list_init(&a->bufs);
}

void cfs_arena_fini(struct cfs_arena *a)
{
    drop_bufs(a);
    cfs_list_for_each_safe(it, &a->chunks)
        chunk_put(cfs_list_entry(it, struct chunk, link), a->apart);
    cfs_list_init(&a->chunks);
    a->at = a->end = NULL;
}

void cfs_arena_reset(struct cfs_arena *a)
{
    struct chunk *first;

    drop_bufs(a);
    if (cfs_list_empty(&a->chunks))
        return;
    first = cfs_list_entry(cfs_list_pop(&a->chunks), struct chunk, link);
    while (!cfs_list_empty(&a->chunks))
        chunk_put(cfs_list_entry(cfs_list_pop(&a->chunks), struct chunk,
                                 link), a->apart);
    if (first->size != CHUNK_SIZE) {
        chunk_put(first, a->apart);
        a->at = a->end = NULL;
        return;
    }
    cfs_list_add_tail(&a->chunks, &first->link);
    a->at = (uint8_t *)first + CHUNK_HEAD;
    a->end = (uint8_t *)first + first->size;
    ASAN_POISON_MEMORY_REGION(a->at, first->size - CHUNK_HEAD);
}

/* Where the present chunk has no room: another one. What is left of it is
 * used from now on, if that is more than what is left of the present one. */
static void *alloc_slow(struct cfs_arena *a, size_t size)
{
    struct chunk *c = chunk_get(size, a->apart);
    uint8_t *p = (uint8_t *)c + CHUNK_HEAD;
    uint8_t *end = (uint8_t *)c + c->size;

    cfs_list_add_tail(&a->chunks, &c->link);
    if (end - (p + size) > a->end - a->at) {
        a->at = p + size;
        a->end = end;
    }
    return p;
}

void *cfs_arena_alloc(struct cfs_arena *a, size_t size)
{
    void *p;

    assert(size <= SIZE_MAX / 2);
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if ((size_t)(a->end - a->at) >= size && a->at) {
        p = a->at;
        a->at += size;
    } else {
        p = alloc_slow(a, size);
    }
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    return memset(p, 0, size);
}

void *cfs_arena_dup(struct cfs_arena *a, const void *p, size_t len)
{
    void *copy = cfs_arena_alloc(a, len);

    if (len > 0)
        memcpy(copy, p, len);
    return copy;
}

void cfs_arena_keep(struct cfs_arena *a, struct cfs_buf b)
{
    struct kept *k;

    if (!b.mem)
        return;
    assert(!a->apart);
    k = cfs_arena_alloc(a, sizeof *k);
    k->buf = b;
    cfs_list_add_tail(&a->bufs, &k->link);
}
