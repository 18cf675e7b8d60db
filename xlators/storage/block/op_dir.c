/* SPDX-License-Identifier: Apache-2.0 */
/* op_dir.c - readdir: entries in the order of their cookies, and with each,
 * when asked, its attributes.
 *
 * The directory is held all the while, so what was found stays true: a run
 * that is put aside goes on where it was.
 */
#include <sys/stat.h>

#include "core/dirent.h"
#include "xlators/storage/block/ops_impl.h"

struct listing {
    struct cfs_arena  *arena;
    struct cfs_dirent *entry;
    unsigned           n, cap;
    unsigned           n_attr; /* of these, with attributes */
    uint32_t           left;   /* bytes */
    bool               plus;
    bool               full;
    bool               listed; /* all that fits, or all there is */
    uint64_t           cookie; /* of the last entry */
    int                rc;
};

static int listing_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct listing *l = ctx;
    struct rec_cookie c;
    struct cfs_dirent *e;
    struct rec_id id;
    uint32_t size;

    l->rc = rec_key_parse(key, &id);
    if (l->rc == 0)
        l->rc = rec_cookie_unpack(value, &c);
    if (l->rc < 0)
        return 1;
    size = CFS_DIRENT_FIXED + c.name.len + (l->plus ? CFS_ATTR_PACKED : 0);
    if (size > l->left) {
        l->full = true;
        return 1;
    }
    if (l->n == l->cap) {
        struct cfs_dirent *old = l->entry;

        l->cap = l->cap ? 2 * l->cap : 32;
        l->entry = cfs_arena_alloc(l->arena, l->cap * sizeof *l->entry);
        if (l->n > 0)
            memcpy(l->entry, old, l->n * sizeof *old);
    }
    e = &l->entry[l->n++];
    *e = (struct cfs_dirent){
        .gfid = c.child,
        .cookie = id.n,
        .type = c.type,
        .name = {cfs_arena_dup(l->arena, c.name.s, c.name.len), c.name.len},
    };
    l->left -= size;
    l->cookie = id.n;
    return 0;
}

static int list(struct op *op, struct cfs_gfid g, struct listing *l)
{
    struct rec_key lo, hi, all;
    int rc;

    if (l->cookie == UINT64_MAX)
        return 0;
    rec_key_gfid(&all, REC_COOKIE, g);
    rec_key_after(&hi, &all);
    rec_key_gfid_u64(&lo, REC_COOKIE, g, l->cookie + 1);
    rc = eng_scan(op->o->e, rec_key_blob(&lo), rec_key_blob(&hi),
                  listing_each, l);
    return rc < 0 ? rc : l->rc;
}

static int add_attrs(struct op *op, struct listing *l)
{
    struct rec_inode ino;
    int rc;

    for (; l->n_attr < l->n; l->n_attr++) {
        struct cfs_dirent *e = &l->entry[l->n_attr];

        rc = look_inode(op->o, e->gfid, &ino);
        if (rc == -ENOENT || rc == -CFS_E_CORRUPT)
            continue; /* listed without; a lookup will say why */
        if (rc < 0)
            return rc;
        rec_inode_attr(&ino, e->gfid, &e->attr);
        e->has_attr = true;
    }
    return 0;
}

static void give(struct op *op, const struct listing *l)
{
    struct cfs_readdir *r = (struct cfs_readdir *)op->req;
    struct cfs_buf b = cfs_buf_new(r->size);
    uint8_t *at = b.data;

    cfs_arena_keep(op->arena, b);
    for (unsigned i = 0; i < l->n; i++) {
        bool fits = cfs_dirent_put(&at, b.data + b.len, &l->entry[i]);

        assert(fits);
    }
    b.len = (uint32_t)(at - b.data);
    r->entries = b;
    r->eof = !l->full;
}

int read_readdir(struct op *op, struct cfs_gfid g, const struct rec_inode *i)
{
    struct cfs_readdir *r = (struct cfs_readdir *)op->req;
    struct listing *l = op->state;
    int rc;

    if (!S_ISDIR(i->mode))
        return -ENOTDIR;
    if (r->size == 0 || r->size > CFS_IO_MAX)
        return -EINVAL;
    if (!l) {
        l = op->state = cfs_arena_alloc(op->arena, sizeof *l);
        l->arena = op->arena;
        l->left = r->size;
        l->plus = r->plus;
        l->cookie = r->cookie;
    }
    if (!l->listed) {
        rc = list(op, g, l);
        if (rc < 0)
            return rc;
        l->listed = true;
    }
    if (l->n == 0 && l->full)
        return -EINVAL; /* not even one fits */
    if (l->plus) {
        rc = add_attrs(op, l);
        if (rc < 0)
            return rc;
    }
    give(op, l);
    return 0;
}
