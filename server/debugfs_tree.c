/* SPDX-License-Identifier: Apache-2.0 */
/* debugfs_tree.c - every object of a brick, one line each, in order of paths;
 * what two replicas must agree on and nothing else, so that equal replicas
 * print equal trees.
 */
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/xxh3.h"
#include "server/debugfs.h"
#include "xlators/storage/block/pack.h"

#define DEPTH_MAX 4096u /* deeper would be a loop */
#define ENTRIES   512u  /* of a directory, at a time */
#define CHUNKS    64u   /* of a file, at a time */

/* -- contents ------------------------------------------------------------- */

struct chunk_at {
    uint64_t         index;
    struct rec_chunk rec;
};

/* Chunks that are no part of the file any more. */
struct mark {
    uint64_t start;
    uint64_t end;
};

struct digest {
    struct tool_brick *b;
    struct cfs_gfid    gfid;
    uint64_t           size;
    XXH3_state_t      *state;
    uint8_t           *buf; /* CHUNK_BYTES */
    uint8_t           *plain; /* as large: what a pack holds */
    struct chunk_at   *chunk;
    unsigned           n;
    struct mark       *mark;
    unsigned           n_mark;
};

/* One block of the file, zeros behind its end. */
static void add_block(struct digest *d, uint64_t block, uint8_t *data)
{
    static const uint8_t zeros[CFS_BLOCK];
    const uint64_t at = block * CFS_BLOCK;
    const uint64_t number = htole64(block);

    if (at >= d->size)
        return;
    if (d->size - at < CFS_BLOCK)
        memset(data + (d->size - at), 0, CFS_BLOCK - (size_t)(d->size - at));
    if (memcmp(data, zeros, CFS_BLOCK) == 0)
        return;
    XXH3_128bits_update(d->state, &number, sizeof number);
    XXH3_128bits_update(d->state, data, CFS_BLOCK);
}

static int add_small(struct digest *d)
{
    struct rec_key k;
    struct cfs_blob v;
    int rc;

    rec_key_gfid(&k, REC_SMALL, d->gfid);
    rc = eng_get(d->b->e, rec_key_blob(&k), &v);
    if (rc < 0)
        return rc == -ENOENT ? -CFS_E_CORRUPT : rc;
    if (v.len > CFS_BLOCK)
        return -CFS_E_CORRUPT;
    memset(d->buf, 0, CFS_BLOCK);
    memcpy(d->buf, v.p, v.len);
    add_block(d, 0, d->buf);
    return 0;
}

/* Written blocks of @c from @at on that lie behind one another. */
static unsigned run_of(const struct rec_chunk *c, unsigned at)
{
    const uint32_t written = c->mapped & ~c->unwritten & ~c->packed;
    unsigned n = 0;

    while (at + n < CHUNK_BLOCKS && (written >> (at + n) & 1) &&
           c->lba[at + n] == c->lba[at] + n)
        n++;
    return n;
}

/* @open: the pack that .plain has. */
static int add_packed(struct digest *d, const struct chunk_at *c, unsigned i,
                      const struct rec_pack **open)
{
    const struct rec_pack *p = rec_chunk_pack_of(&c->rec, i);
    uint8_t *data = d->plain + pack_offset(p, i);
    int rc = 0;

    if (*open != p)
        rc = tool_unpack(d->b->loop, d->b->e, p, d->plain);
    *open = p;
    if (rc == 0)
        rc = pack_block(&c->rec, i, data);
    if (rc == 0)
        add_block(d, c->index * CHUNK_BLOCKS + i, data);
    return rc;
}

static int add_chunk(struct digest *d, const struct chunk_at *c)
{
    const struct rec_pack *open = NULL;

    for (unsigned i = 0, n; i < CHUNK_BLOCKS; i += n ? n : 1) {
        int rc = 0;

        n = run_of(&c->rec, i);
        if (c->rec.packed >> i & 1)
            rc = add_packed(d, c, i, &open);
        if (rc < 0)
            return rc;
        if (n == 0)
            continue;
        rc = tool_read(d->b->loop, d->b->e, c->rec.lba[i], n, d->buf);
        if (rc < 0)
            return rc;
        for (unsigned j = 0; j < n; j++) {
            uint8_t *data = d->buf + (size_t)j * CFS_BLOCK;

            if (XXH3_64bits(data, CFS_BLOCK) != c->rec.sum[i + j])
                return -CFS_E_CHECKSUM;
            add_block(d, c->index * CHUNK_BLOCKS + i + j, data);
        }
    }
    return 0;
}

static bool is_removed(const struct digest *d, uint64_t index)
{
    for (unsigned i = 0; i < d->n_mark; i++)
        if (index >= d->mark[i].start && index < d->mark[i].end)
            return true;
    return false;
}

static int chunk_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct digest *d = ctx;
    struct chunk_at *c = &d->chunk[d->n];
    struct rec_id id;

    if (rec_key_parse(key, &id) < 0 || rec_chunk_unpack(value, &c->rec) < 0)
        return -CFS_E_CORRUPT;
    c->index = id.n;
    if (!is_removed(d, id.n))
        d->n++;
    return d->n == CHUNKS ? TOOL_PAUSE : 0;
}

static int chunks_pause(void *ctx)
{
    struct digest *d = ctx;
    int rc = 0;

    for (unsigned i = 0; i < d->n && rc == 0; i++)
        rc = add_chunk(d, &d->chunk[i]);
    d->n = 0;
    return rc;
}

static int mark_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct digest *d = ctx;
    struct rec_id id;
    uint64_t start;

    if (rec_key_parse(key, &id) < 0 || rec_removal_unpack(value, &start) < 0)
        return -CFS_E_CORRUPT;
    d->mark = tool_realloc(d->mark, (d->n_mark + 1) * sizeof *d->mark);
    d->mark[d->n_mark].start = start;
    d->mark[d->n_mark++].end = id.n;
    return 0;
}

static int add_chunks(struct digest *d, const struct rec_inode *ino)
{
    struct tool_scan marks = {d->b->e, mark_each, NULL, d};
    struct tool_scan chunks = {d->b->e, chunk_each, chunks_pause, d};
    struct rec_key k;
    int rc = 0;

    rec_key_gfid(&k, REC_REMOVAL, d->gfid);
    if (ino->marks > 0)
        rc = tool_scan_prefix(&marks, &k);
    if (rc < 0)
        return rc;
    rec_key_gfid(&k, REC_CHUNK, d->gfid);
    d->chunk = tool_realloc(NULL, CHUNKS * sizeof *d->chunk);
    rc = tool_scan_prefix(&chunks, &k);
    free(d->chunk);
    free(d->mark);
    return rc;
}

int debugfs_digest(struct tool_brick *b, struct cfs_gfid g,
                   const struct rec_inode *ino, char ret[static DIGEST_STR])
{
    struct digest d = {.b = b, .gfid = g, .size = ino->size};
    XXH128_hash_t h;
    int rc;

    d.state = XXH3_createState();
    d.buf = aligned_alloc(CFS_BLOCK, CHUNK_BYTES);
    d.plain = aligned_alloc(CFS_BLOCK, CHUNK_BYTES);
    if (!d.state || !d.buf || !d.plain)
        abort();
    XXH3_128bits_reset(d.state);
    rc = ino->flags & REC_INLINE ? add_small(&d) : add_chunks(&d, ino);
    h = XXH3_128bits_digest(d.state);
    if (rc == 0)
        snprintf(ret, DIGEST_STR, "%016" PRIx64 "%016" PRIx64,
                 (uint64_t)h.high64, (uint64_t)h.low64);
    free(d.buf);
    free(d.plain);
    XXH3_freeState(d.state);
    return rc;
}

/* -- lines ---------------------------------------------------------------- */

struct tree {
    struct debugfs *d;
    unsigned        depth;
    uint64_t        bad; /* objects that could not be read */
};

static int xattr_line(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct rec_id id;

    if (rec_key_parse(key, &id) < 0)
        return -CFS_E_CORRUPT;
    fputs(" xattr:", stdout);
    tool_put_escaped(stdout, id.name.s, id.name.len);
    putchar('=');
    tool_put_escaped(stdout, value.p, value.len);
    return 0;
}

static int target_line(struct tree *t, struct cfs_gfid g)
{
    struct rec_key k;
    struct cfs_blob v;
    int rc;

    rec_key_gfid(&k, REC_SMALL, g);
    rc = eng_get(t->d->b.e, rec_key_blob(&k), &v);
    if (rc < 0)
        return rc;
    fputs(" target=", stdout);
    tool_put_escaped(stdout, v.p, v.len);
    return 0;
}

static int content_line(struct tree *t, struct cfs_gfid g,
                        const struct rec_inode *i)
{
    char digest[DIGEST_STR];
    int rc = debugfs_digest(&t->d->b, g, i, digest);

    if (rc == 0)
        printf(" content=%s", digest);
    return rc;
}

static const char *type_word(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "dir";
    case S_IFLNK:
        return "symlink";
    case S_IFCHR:
        return "char";
    case S_IFBLK:
        return "block";
    case S_IFIFO:
        return "fifo";
    default:
        return "socket";
    }
}

static void attr_line(struct cfs_gfid g, const struct rec_inode *i)
{
    char gfid[CFS_UUID_STR], mtime[TOOL_TIME_STR], ctime[TOOL_TIME_STR];
    struct cfs_attr a;

    rec_inode_attr(i, g, &a);
    cfs_gfid_print(g, gfid);
    printf(" %s mode=%04o uid=%" PRIu32 " gid=%" PRIu32 " nlink=%" PRIu32
           " size=%" PRIu64 " mtime=%s ctime=%s version=%" PRIu64 ".%" PRIu64
           " gfid=%s", type_word(i->mode), i->mode & 07777, i->uid, i->gid,
           i->nlink, a.size, tool_time(i->mtime, mtime),
           tool_time(i->ctime, ctime), i->version.epoch, i->version.seq, gfid);
    if (S_ISCHR(i->mode) || S_ISBLK(i->mode))
        printf(" rdev=%u:%u", major((dev_t)i->rdev), minor((dev_t)i->rdev));
}

/* The line of one object, whose path is printed; *ret its type. */
static int object_line(struct tree *t, struct cfs_gfid g, uint32_t *ret)
{
    struct tool_scan xattrs = {t->d->b.e, xattr_line, NULL, NULL};
    struct rec_inode i;
    struct rec_key k;
    struct cfs_blob v;
    int rc;

    *ret = 0;
    rec_key_gfid(&k, REC_INODE, g);
    rc = eng_get(t->d->b.e, rec_key_blob(&k), &v);
    if (rc == 0)
        rc = rec_inode_unpack(v, &i);
    if (rc < 0)
        return rc;
    *ret = i.mode & S_IFMT;
    attr_line(g, &i);
    rec_key_gfid(&k, REC_XATTR, g);
    if (i.n_xattr > 0)
        rc = tool_scan_prefix(&xattrs, &k);
    if (rc == 0 && S_ISLNK(i.mode))
        rc = target_line(t, g);
    if (rc == 0 && S_ISREG(i.mode))
        rc = content_line(t, g, &i);
    return rc;
}

static uint32_t put_object(struct tree *t, const char *path,
                           struct cfs_gfid g)
{
    uint32_t type;
    int rc;

    fputs(path, stdout);
    rc = object_line(t, g, &type);
    if (rc < 0) {
        printf(" unreadable: %s", cfs_err_str(rc));
        t->bad++;
    }
    putchar('\n');
    return type;
}

/* -- directories ---------------------------------------------------------- */

struct entry {
    struct cfs_gfid child;
    uint8_t         len;
    char            name[CFS_NAME_MAX];
};

/* Some entries of a directory, in order of names. */
struct listing {
    struct tree    *t;
    const char     *path; /* of the directory: "" for the root's */
    struct entry    entry[ENTRIES];
    unsigned        n;
};

static int entry_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct listing *l = ctx;
    struct entry *e = &l->entry[l->n];
    struct rec_dirent d;
    struct rec_id id;

    if (rec_key_parse(key, &id) < 0 || rec_dirent_unpack(value, &d) < 0)
        return -CFS_E_CORRUPT;
    e->child = d.child;
    e->len = (uint8_t)id.name.len;
    memcpy(e->name, id.name.s, id.name.len);
    return ++l->n == ENTRIES ? TOOL_PAUSE : 0;
}

static int put_dir(struct tree *t, const char *path, struct cfs_gfid g);

static int entries_pause(void *ctx)
{
    struct listing *l = ctx;
    int rc = 0;

    for (unsigned i = 0; i < l->n && rc == 0; i++) {
        const struct entry *e = &l->entry[i];
        char *name = tool_escape(e->name, e->len);
        char *path = tool_format("%s/%s", l->path, name);

        if (put_object(l->t, path, e->child) == S_IFDIR)
            rc = put_dir(l->t, path, e->child);
        free(name);
        free(path);
    }
    l->n = 0;
    return rc;
}

/* Everything below directory @g. */
static int put_dir(struct tree *t, const char *path, struct cfs_gfid g)
{
    struct listing *l;
    struct tool_scan scan = {t->d->b.e, entry_each, entries_pause, NULL};
    struct rec_key k;
    int rc;

    if (t->depth == DEPTH_MAX)
        return -ELOOP;
    l = tool_realloc(NULL, sizeof *l);
    l->t = t;
    l->path = path;
    l->n = 0;
    scan.ctx = l;
    t->depth++;
    rec_key_gfid(&k, REC_DIRENT, g);
    rc = tool_scan_prefix(&scan, &k);
    t->depth--;
    free(l);
    return rc;
}

/* What has no path any more. */
static int orphan_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct listing *l = ctx;
    struct rec_id id;

    if (rec_key_parse(key, &id) < 0)
        return -CFS_E_CORRUPT;
    l->entry[l->n].child = id.gfid;
    return ++l->n == ENTRIES ? TOOL_PAUSE : 0;
}

static int orphans_pause(void *ctx)
{
    struct listing *l = ctx;

    for (unsigned i = 0; i < l->n; i++)
        put_object(l->t, "(unlinked)", l->entry[i].child);
    l->n = 0;
    return 0;
}

static int put_orphans(struct tree *t)
{
    struct listing *l = tool_realloc(NULL, sizeof *l);
    struct tool_scan scan = {t->d->b.e, orphan_each, orphans_pause, l};
    struct rec_key k;
    int rc;

    l->t = t;
    l->n = 0;
    rec_key_table(&k, REC_ORPHAN);
    rc = tool_scan_prefix(&scan, &k);
    free(l);
    return rc;
}

int debugfs_tree(struct debugfs *d, struct cfs_err *err)
{
    struct tree t = {.d = d};
    int rc;

    put_object(&t, "/", cfs_gfid_root);
    rc = put_dir(&t, "", cfs_gfid_root);
    if (rc == 0)
        rc = put_orphans(&t);
    if (rc < 0)
        return cfs_err_set(err, rc, "%s: %s", d->path, cfs_err_str(rc));
    if (t.bad > 0)
        return cfs_err_set(err, -EIO, "%s: %" PRIu64 " objects could not be "
                           "read", d->path, t.bad);
    return 0;
}
