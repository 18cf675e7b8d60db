/* SPDX-License-Identifier: Apache-2.0 */
/* memfs_node.c - see memfs_node.h. */
#include "tests/unit/memfs_node.h"

#include <stdlib.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static void *xcalloc(size_t n)
{
    void *p = calloc(1, n > 0 ? n : 1);

    if (p == NULL)
        abort();
    return p;
}

/* -- inodes ---------------------------------------------------------------- */

static struct cfs_list *inode_bucket(struct memfs *m, struct cfs_gfid gfid)
{
    return &m->inodes[cfs_gfid_ino(gfid) % MEMFS_BUCKETS];
}

struct mnode *memfs_find(struct memfs *m, struct cfs_gfid gfid)
{
    cfs_list_for_each(it, inode_bucket(m, gfid))
    {
        struct mnode *n = cfs_list_entry(it, struct mnode, hash);

        if (cfs_gfid_eq(n->attr.gfid, gfid))
            return n;
    }
    return NULL;
}

struct mnode *memfs_make(struct memfs *m, struct cfs_gfid gfid, uint32_t mode)
{
    struct mnode *n = xcalloc(sizeof *n);

    n->attr.gfid = gfid;
    n->attr.mode = mode;
    n->attr.nlink = S_ISDIR(mode) ? 2 : 0;
    n->attr.version = (struct cfs_version){1, 1};
    cfs_list_init(&n->hash);
    cfs_list_init(&n->entries);
    cfs_list_init(&n->xattrs);
    cfs_list_add_tail(inode_bucket(m, gfid), &n->hash);
    m->n_inodes++;
    return n;
}

void memfs_free(struct memfs *m, struct mnode *n)
{
    struct cfs_list *l;

    while ((l = n->entries.next) != &n->entries)
        memfs_entry_del(m, cfs_list_entry(l, struct mentry, link));
    while ((l = n->xattrs.next) != &n->xattrs)
        memfs_xattr_del(cfs_list_entry(l, struct mxattr, link));
    memfs_pages_drop(m, n, 0, UINT64_MAX);
    free(n->page);
    free(n->target);
    cfs_list_del(&n->hash);
    m->n_inodes--;
    free(n);
}

void memfs_setup(struct memfs *m)
{
    for (unsigned i = 0; i < MEMFS_BUCKETS; i++) {
        cfs_list_init(&m->inodes[i]);
        cfs_list_init(&m->names[i]);
    }
    memfs_make(m, cfs_gfid_root, S_IFDIR | 0755);
}

void memfs_clear(struct memfs *m)
{
    for (unsigned i = 0; i < MEMFS_BUCKETS; i++) {
        struct cfs_list *b = &m->inodes[i];

        while (!cfs_list_empty(b))
            memfs_free(m, cfs_list_entry(b->next, struct mnode, hash));
    }
}

/* -- entries --------------------------------------------------------------- */

static struct cfs_list *name_bucket(struct memfs *m, const struct mnode *dir,
                                    const char *s, uint32_t len)
{
    uint64_t h = XXH3_64bits_withSeed(s, len, cfs_gfid_ino(dir->attr.gfid));

    return &m->names[h % MEMFS_BUCKETS];
}

struct mentry *memfs_entry(struct memfs *m, struct mnode *dir,
                           struct cfs_name name)
{
    cfs_list_for_each(it, name_bucket(m, dir, name.s, name.len))
    {
        struct mentry *e = cfs_list_entry(it, struct mentry, hash);

        if (e->dir == dir && e->len == name.len &&
            memcmp(e->name, name.s, name.len) == 0)
            return e;
    }
    return NULL;
}

void memfs_entry_add(struct memfs *m, struct mnode *dir, struct cfs_name name,
                     struct mnode *child)
{
    struct mentry *e = xcalloc(sizeof *e);

    e->dir = dir;
    e->child = child;
    e->len = name.len;
    memcpy(e->name, name.s, name.len);
    e->cookie = ++dir->last_cookie;
    cfs_list_init(&e->hash);
    cfs_list_init(&e->link);
    cfs_list_add_tail(name_bucket(m, dir, e->name, e->len), &e->hash);
    cfs_list_add_tail(&dir->entries, &e->link);
    if (S_ISDIR(child->attr.mode))
        dir->attr.nlink++;
}

void memfs_entry_del(struct memfs *m, struct mentry *e)
{
    if (S_ISDIR(e->child->attr.mode))
        e->dir->attr.nlink--;
    cfs_list_del(&e->hash);
    cfs_list_del(&e->link);
    free(e);
}

/* -- data ------------------------------------------------------------------ */

/* The index of the first page that is not before @no. */
static size_t page_at(const struct mnode *n, uint64_t no)
{
    size_t lo = 0, hi = n->n_page;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (n->page[mid].no < no)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint8_t *memfs_page(const struct mnode *n, uint64_t no)
{
    size_t i = page_at(n, no);

    return i < n->n_page && n->page[i].no == no ? n->page[i].data : NULL;
}

uint8_t *memfs_page_make(struct memfs *m, struct mnode *n, uint64_t no)
{
    size_t i = page_at(n, no);

    if (i < n->n_page && n->page[i].no == no)
        return n->page[i].data;
    if (n->n_page == n->cap_page) {
        n->cap_page = n->cap_page * 2 + 8;
        n->page = realloc(n->page, n->cap_page * sizeof *n->page);
        if (n->page == NULL)
            abort();
    }
    memmove(n->page + i + 1, n->page + i, (n->n_page - i) * sizeof *n->page);
    n->page[i] = (struct mpage){no, xcalloc(CFS_BLOCK)};
    n->n_page++;
    n->attr.blocks += CFS_BLOCK / 512;
    m->n_blocks++;
    return n->page[i].data;
}

void memfs_pages_drop(struct memfs *m, struct mnode *n, uint64_t from,
                      uint64_t to)
{
    size_t a = page_at(n, from), b = page_at(n, to);

    if (a >= b)
        return;
    for (size_t i = a; i < b; i++)
        free(n->page[i].data);
    memmove(n->page + a, n->page + b, (n->n_page - b) * sizeof *n->page);
    n->n_page -= b - a;
    n->attr.blocks -= (b - a) * (CFS_BLOCK / 512);
    m->n_blocks -= b - a;
}

uint64_t memfs_page_next(const struct mnode *n, uint64_t no)
{
    size_t i = page_at(n, no);

    return i < n->n_page ? n->page[i].no : UINT64_MAX;
}

void memfs_get(const struct mnode *n, uint64_t off, void *to, size_t len)
{
    uint8_t *p = to;

    while (len > 0) {
        size_t in = off % CFS_BLOCK, k = CFS_BLOCK - in;
        const uint8_t *page = memfs_page(n, off / CFS_BLOCK);

        if (k > len)
            k = len;
        if (page != NULL)
            memcpy(p, page + in, k);
        else
            memset(p, 0, k);
        p += k;
        off += k;
        len -= k;
    }
}

void memfs_put(struct memfs *m, struct mnode *n, uint64_t off, const void *from,
               size_t len)
{
    const uint8_t *p = from;

    while (len > 0) {
        size_t in = off % CFS_BLOCK, k = CFS_BLOCK - in;

        if (k > len)
            k = len;
        memcpy(memfs_page_make(m, n, off / CFS_BLOCK) + in, p, k);
        p += k;
        off += k;
        len -= k;
    }
}

void memfs_zero(struct memfs *m, struct mnode *n, uint64_t off, uint64_t len,
                bool punch)
{
    while (len > 0) {
        uint64_t no = off / CFS_BLOCK, in = off % CFS_BLOCK;
        uint64_t k = CFS_BLOCK - in;
        uint8_t *page;

        if (k > len)
            k = len;
        if (k == CFS_BLOCK && punch) {
            memfs_pages_drop(m, n, no, no + 1);
        } else {
            page = punch ? memfs_page(n, no) : memfs_page_make(m, n, no);
            if (page != NULL)
                memset(page + in, 0, k);
        }
        off += k;
        len -= k;
    }
}

void memfs_truncate(struct memfs *m, struct mnode *n, uint64_t size)
{
    uint64_t in = size % CFS_BLOCK;

    if (size < n->attr.size) {
        uint8_t *last = in ? memfs_page(n, size / CFS_BLOCK) : NULL;

        memfs_pages_drop(m, n, (size + CFS_BLOCK - 1) / CFS_BLOCK, UINT64_MAX);
        if (last != NULL)
            memset(last + in, 0, CFS_BLOCK - in);
    }
    n->attr.size = size;
}

/* -- extended attributes --------------------------------------------------- */

struct mxattr *memfs_xattr(struct mnode *n, struct cfs_name name)
{
    cfs_list_for_each(it, &n->xattrs)
    {
        struct mxattr *x = cfs_list_entry(it, struct mxattr, link);

        if (x->name_len == name.len && memcmp(x->name, name.s, name.len) == 0)
            return x;
    }
    return NULL;
}

void memfs_xattr_del(struct mxattr *x)
{
    cfs_list_del(&x->link);
    free(x->name);
    free(x->value);
    free(x);
}

void memfs_xattr_put(struct mnode *n, struct cfs_name name,
                     struct cfs_blob value)
{
    struct mxattr *x = memfs_xattr(n, name);

    if (x != NULL)
        memfs_xattr_del(x);
    x = xcalloc(sizeof *x);
    x->name = xcalloc(name.len);
    x->name_len = name.len;
    memcpy(x->name, name.s, name.len);
    x->value = xcalloc(value.len);
    x->value_len = value.len;
    if (value.len > 0)
        memcpy(x->value, value.p, value.len);
    cfs_list_init(&x->link);
    cfs_list_add_tail(&n->xattrs, &x->link);
}
