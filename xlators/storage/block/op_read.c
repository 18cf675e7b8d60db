/* SPDX-License-Identifier: Apache-2.0 */
/* op_read.c - operations that only look: lookup, getattr, readlink, read,
 * getxattr, listxattr, lseek, statfs, fsync.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "xlators/storage/block/ops_impl.h"

int read_lookup(struct op *op, struct cfs_gfid g, const struct rec_inode *i)
{
    struct cfs_lookup *r = (struct cfs_lookup *)op->req;
    struct rec_dirent d;
    struct rec_inode child;
    int rc;

    if (!S_ISDIR(i->mode))
        return -ENOTDIR;
    rc = look_dirent(op->o, g, r->name, &d);
    if (rc < 0)
        return rc;
    rc = look_inode(op->o, d.child, &child);
    if (rc < 0)
        return rc == -ENOENT ? -CFS_E_CORRUPT : rc;
    rec_inode_attr(&child, d.child, &r->attr);
    return 0;
}

int read_getattr(struct op *op, struct cfs_gfid g, const struct rec_inode *i)
{
    struct cfs_getattr *r = (struct cfs_getattr *)op->req;

    rec_inode_attr(i, g, &r->attr);
    return 0;
}

int read_readlink(struct op *op, struct cfs_gfid g, const struct rec_inode *i)
{
    struct cfs_readlink *r = (struct cfs_readlink *)op->req;
    struct cfs_blob v;
    int rc;

    if (!S_ISLNK(i->mode))
        return -EINVAL;
    rc = look_small(op->o, g, &v);
    if (rc < 0)
        return rc;
    if (v.len == 0 || v.len > CFS_SYMLINK_MAX || memchr(v.p, 0, v.len))
        return -CFS_E_CORRUPT;
    r->target.p = cfs_arena_dup(op->arena, v.p, v.len);
    r->target.len = v.len;
    return 0;
}

/* -- read ----------------------------------------------------------------- */

static void read_give(struct op *op, const struct fetch *f)
{
    struct cfs_read *r = (struct cfs_read *)op->req;

    r->data = f->buf; /* the arena keeps it */
    r->data.data = f->data;
    r->data.len = f->len;
    r->sums = fetch_sums(f);
}

static void read_fetched(struct fetch *f, int status)
{
    struct op *op = f->owner;

    if (status == 0)
        read_give(op, f);
    op_end(op, status);
}

int read_read(struct op *op, struct cfs_gfid g, const struct rec_inode *i)
{
    struct cfs_read *r = (struct cfs_read *)op->req;
    struct fetch *f;
    uint32_t len = r->size;
    int rc;

    if (S_ISDIR(i->mode))
        return -EISDIR;
    if (!S_ISREG(i->mode) || len > CFS_IO_MAX)
        return -EINVAL;
    rec_inode_attr(i, g, &r->attr);
    r->data = (struct cfs_buf){0};
    r->sums = (struct cfs_blob){0};
    if (r->offset >= i->size || len == 0)
        return 0;
    if (len > i->size - r->offset)
        len = (uint32_t)(i->size - r->offset);
    f = cfs_arena_alloc(op->arena, sizeof *f);
    *f = (struct fetch){
        .o = op->o,
        .arena = op->arena,
        .offset = r->offset,
        .len = len,
        .done = read_fetched,
        .owner = op,
    };
    rc = fetch_begin(f, g, i);
    if (rc < 0)
        return rc;
    if (rc == 1) {
        read_give(op, f);
        return 0;
    }
    /* What it reads stays as it is, whatever others do to the file now. */
    op_release(op);
    return OP_WAIT;
}

/* -- extended attributes -------------------------------------------------- */

int read_getxattr(struct op *op, struct cfs_gfid g, const struct rec_inode *i)
{
    struct cfs_getxattr *r = (struct cfs_getxattr *)op->req;
    struct rec_key k;
    struct cfs_blob v;
    int rc;

    if (i->n_xattr == 0 || r->name.len > CFS_NAME_MAX)
        return -ENODATA;
    rec_key_name(&k, REC_XATTR, g, r->name);
    rc = eng_get(op->o->e, rec_key_blob(&k), &v);
    if (rc < 0)
        return rc == -ENOENT ? -ENODATA : rc;
    r->value.p = cfs_arena_dup(op->arena, v.p, v.len);
    r->value.len = v.len;
    return 0;
}

struct names {
    uint8_t *at;
    uint8_t *end;
    int      rc;
};

static int names_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct names *n = ctx;
    struct rec_id id;

    n->rc = rec_key_parse(key, &id);
    if (n->rc < 0)
        return 1;
    if ((size_t)(n->end - n->at) < id.name.len + 1u) {
        n->rc = -CFS_E_CORRUPT; /* setxattr lets no more in */
        return 1;
    }
    memcpy(n->at, id.name.s, id.name.len);
    n->at[id.name.len] = 0;
    n->at += id.name.len + 1;
    return 0;
}

int read_listxattr(struct op *op, struct cfs_gfid g,
                   const struct rec_inode *i)
{
    struct cfs_listxattr *r = (struct cfs_listxattr *)op->req;
    size_t size = (CFS_NAME_MAX + 1u) * (size_t)i->n_xattr;
    struct rec_key lo, hi;
    struct names n = {0};
    uint8_t *buf;
    int rc;

    r->names = (struct cfs_blob){0};
    if (i->n_xattr == 0)
        return 0;
    if (size > CFS_XATTR_MAX)
        size = CFS_XATTR_MAX;
    buf = cfs_arena_alloc(op->arena, size);
    n.at = buf;
    n.end = buf + size;
    rec_key_gfid(&lo, REC_XATTR, g);
    rec_key_after(&hi, &lo);
    rc = eng_scan(op->o->e, rec_key_blob(&lo), rec_key_blob(&hi), names_each,
                  &n);
    if (rc < 0)
        return rc;
    if (n.rc < 0)
        return n.rc;
    r->names = (struct cfs_blob){buf, (uint32_t)(n.at - buf)};
    return 0;
}

/* -- lseek ---------------------------------------------------------------- */

#define SEEK_CHUNKS 1024u /* looked at in one turn */

/* The chunks from one on; where the answer is found, the scan ends. */
struct seek {
    struct look_mark *mark;
    uint32_t          n_marks;
    bool              data;  /* what is looked for */
    uint64_t          block; /* everything before is the other thing */
    unsigned          seen;
    bool              found;
    int               rc;
};

static bool is_data(const struct rec_chunk *c, unsigned at)
{
    return (c->mapped & ~c->unwritten) >> at & 1;
}

static bool is_stale(const struct seek *s, uint64_t chunk)
{
    for (uint32_t i = 0; i < s->n_marks; i++)
        if (chunk >= s->mark[i].start && chunk < s->mark[i].end)
            return true;
    return false;
}

static int seek_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct seek *s = ctx;
    struct rec_chunk c;
    struct rec_id id;

    s->rc = rec_key_parse(key, &id);
    if (s->rc == 0)
        s->rc = rec_chunk_unpack(value, &c);
    if (s->rc < 0)
        return 1;
    if (is_stale(s, id.n))
        c.mapped = c.unwritten = 0;
    if (id.n * CHUNK_BLOCKS > s->block) {
        if (!s->data) {
            s->found = true; /* chunks are missing: a hole */
            return 1;
        }
        s->block = id.n * CHUNK_BLOCKS;
    }
    for (; s->block < (id.n + 1) * CHUNK_BLOCKS; s->block++)
        if (is_data(&c, (unsigned)(s->block % CHUNK_BLOCKS)) == s->data) {
            s->found = true;
            return 1;
        }
    return ++s->seen == SEEK_CHUNKS;
}

static int seek_answer(const struct seek *s, struct cfs_lseek *r,
                       uint64_t size)
{
    uint64_t at = s->block * CFS_BLOCK;

    if (at < r->offset)
        at = r->offset;
    if (s->data && (!s->found || at >= size))
        return -ENXIO;
    r->found = at < size ? at : size; /* a hole is behind the end, too */
    return 0;
}

static int seek_small(struct op *op, struct cfs_gfid g, struct cfs_lseek *r,
                      uint64_t size)
{
    struct cfs_blob v;
    uint64_t end;
    int rc;

    rc = look_small(op->o, g, &v);
    if (rc < 0)
        return rc;
    /* Its data ends with a block, as it would outside the tree. */
    end = v.len > 0 ? CFS_BLOCK : 0;
    if (end > size)
        end = size;
    if (r->whence == SEEK_DATA) {
        if (r->offset >= end)
            return -ENXIO;
        r->found = r->offset;
    } else {
        r->found = r->offset < end ? end : r->offset;
    }
    return 0;
}

/* All marks of @g, which are as many as its inode says. */
static int seek_marks(struct op *op, struct cfs_gfid g, uint32_t n,
                      struct seek *s)
{
    uint64_t from = 0;
    uint32_t cap = 0;
    int rc;

    for (s->n_marks = 0; s->n_marks < n; s->n_marks++) {
        struct look_mark *old = s->mark, m;

        rc = look_mark(op->o, g, from, &m);
        if (rc < 0)
            return rc == -ENOENT ? -CFS_E_CORRUPT : rc;
        if (s->n_marks == cap) {
            cap = cap ? 2 * cap : 16;
            s->mark = cfs_arena_alloc(op->arena, cap * sizeof m);
            if (s->n_marks > 0)
                memcpy(s->mark, old, s->n_marks * sizeof m);
        }
        s->mark[s->n_marks] = m;
        from = m.end;
    }
    return 0;
}

int read_lseek(struct op *op, struct cfs_gfid g, const struct rec_inode *i)
{
    struct cfs_lseek *r = (struct cfs_lseek *)op->req;
    struct seek *s = op->state;
    struct rec_key lo, hi, all;
    int rc;

    if (!S_ISREG(i->mode) || (r->whence != SEEK_DATA && r->whence != SEEK_HOLE))
        return -EINVAL;
    if (r->offset >= i->size)
        return -ENXIO;
    if (i->flags & REC_INLINE)
        return seek_small(op, g, r, i->size);
    if (!s) {
        s = op->state = cfs_arena_alloc(op->arena, sizeof *s);
        s->data = r->whence == SEEK_DATA;
        s->block = r->offset / CFS_BLOCK;
    }
    s->seen = 0;
    rc = seek_marks(op, g, i->marks, s);
    if (rc < 0)
        return rc;
    rec_key_gfid(&all, REC_CHUNK, g);
    rec_key_after(&hi, &all);
    rec_key_gfid_u64(&lo, REC_CHUNK, g, s->block / CHUNK_BLOCKS);
    rc = eng_scan(op->o->e, rec_key_blob(&lo), rec_key_blob(&hi), seek_each,
                  s);
    if (rc < 0)
        return rc;
    if (s->rc < 0)
        return s->rc;
    if (rc > 0 && !s->found)
        return OP_LATER; /* the inode is held: nothing changes meanwhile */
    return seek_answer(s, r, i->size);
}

/* -- the rest ------------------------------------------------------------- */

int run_statfs(struct op *op)
{
    struct cfs_statfs *r = (struct cfs_statfs *)op->req;
    struct eng_info info;
    uint64_t avail;
    int rc;

    rc = admit_read(op);
    if (rc != 0)
        return rc;
    eng_info(op->o->e, &info);
    avail = info.free + eng_growable(op->o->e);
    r->space = (struct cfs_space){
        .total = info.blocks * CFS_BLOCK,
        .free = (avail + info.pending) * CFS_BLOCK,
        .avail = avail * CFS_BLOCK,
        /* A small file with its name takes about a kilobyte. */
        .files = op->o->brick.inodes + avail * (CFS_BLOCK / 1024),
        .ffree = avail * (CFS_BLOCK / 1024),
    };
    return 0;
}

static void synced(struct eng_done *d)
{
    struct op *op = container_of(d, struct op, done);
    int status = d->status;

    d->pos = 0; /* it made no record */
    op_end(op, status);
}

int read_fsync(struct op *op, struct cfs_gfid g, const struct rec_inode *i)
{
    op_release(op);
    op->done.done = synced;
    eng_sync(op->o->e, &op->done);
    return OP_WAIT;
}
