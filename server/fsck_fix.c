/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_fix.c - the list of what mends a brick, and how it is done to records
 * in memory. What an inode without a record becomes is in fsck_trace.c. */
#include "server/fsck_fix_int.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "core/xxh3.h"

#define LOST_FOUND     "lost+found"
#define LOST_FOUND_INO 2u /* no session ever makes it: theirs begin at 1 << 32 */
#define SESSIONS_LOST  1024u /* numbers that may have been given in vain */

/* -- the list ------------------------------------------------------------- */

struct fsck_fixes *fsck_fixes_new(struct cfs_time now)
{
    struct fsck_fixes *x = tool_realloc(NULL, sizeof *x);

    *x = (struct fsck_fixes){.now = now};
    return x;
}

static void clear(struct fsck_fixes *x)
{
    for (size_t i = 0; i < x->n; i++) {
        free(x->v[i].key);
        free(x->v[i].value);
    }
    for (size_t i = 0; i < x->n_trace; i++)
        free(x->trace[i].key);
    x->n = x->n_trace = 0;
    x->cuts = false;
}

void fsck_fixes_free(struct fsck_fixes *x)
{
    if (!x)
        return;
    clear(x);
    free(x->v);
    free(x->trace);
    free(x->tail);
    free(x);
}

uint64_t fsck_fixes_count(const struct fsck_fixes *x)
{
    return x->n + x->n_trace;
}

bool fsck_fixes_changed(const struct fsck_fixes *x)
{
    return x->changed;
}

bool fsck_fixes_cut(const struct fsck_fixes *x)
{
    return x->cuts;
}

const struct fsck_tail *fsck_fixes_tails(const struct fsck_fixes *x,
                                         size_t *ret_n)
{
    *ret_n = x->n_tail;
    return x->tail;
}

void *mend_copy(const void *p, size_t len)
{
    void *copy = tool_realloc(NULL, len + 1);

    if (len > 0)
        memcpy(copy, p, len);
    return copy;
}

static struct fix *add(struct fsck *f, enum fix_kind kind)
{
    static struct fix nobody; /* what is written there nobody reads */
    struct fsck_fixes *x = f->config->fixes;

    if (!x)
        return &nobody;
    FSCK_GROW(x->v, x->n, x->cap);
    x->v[x->n] = (struct fix){.kind = kind};
    return &x->v[x->n++];
}

static void add_key(struct fsck *f, enum fix_kind kind, struct cfs_blob key,
                    const void *v, uint32_t len)
{
    struct fix *x;

    if (!f->config->fixes)
        return;
    x = add(f, kind);
    x->key = mend_copy(key.p, key.len);
    x->key_len = (uint16_t)key.len;
    if (v)
        x->value = mend_copy(v, len);
    x->len = len;
}

void fsck_fix_this(struct fsck *f)
{
    add_key(f, FIX_DEL, f->key, NULL, 0);
}

void fsck_fix_del(struct fsck *f, const struct rec_key *k)
{
    add_key(f, FIX_DEL, rec_key_blob(k), NULL, 0);
}

void fsck_fix_put(struct fsck *f, const struct rec_key *k, const void *v,
                  uint32_t len)
{
    add_key(f, FIX_PUT, rec_key_blob(k), v, len);
}

void fsck_fix_set(struct fsck *f, struct cfs_gfid g, enum fsck_field field,
                  int64_t n)
{
    struct fix *x = add(f, FIX_SET);

    x->gfid = g;
    x->field = field;
    x->n = (uint64_t)n;
}

void fsck_fix_parent(struct fsck *f, struct cfs_gfid g,
                     struct cfs_gfid parent)
{
    struct fix *x = add(f, FIX_SET);

    x->gfid = g;
    x->field = SET_PARENT;
    x->other = parent;
}

void fsck_fix_link(struct fsck *f, struct cfs_gfid g)
{
    add(f, FIX_LINK)->gfid = g;
}

void fsck_fix_names(struct fsck *f, struct cfs_gfid g, bool keep_one)
{
    struct fix *x = add(f, FIX_NAMES);

    x->gfid = g;
    x->n = keep_one;
}

void fsck_fix_forget(struct fsck *f, struct cfs_gfid g)
{
    add(f, FIX_FORGET)->gfid = g;
}

void fsck_fix_cookie(struct fsck *f, struct cfs_gfid dir,
                     struct cfs_name name)
{
    struct rec_key k;

    rec_key_name(&k, REC_DIRENT, dir, name);
    add_key(f, FIX_COOKIE, rec_key_blob(&k), NULL, 0);
}

void fsck_fix_unmap(struct fsck *f, struct cfs_gfid g, uint64_t block)
{
    struct fix *x = add(f, FIX_UNMAP);

    x->gfid = g;
    x->n = block;
}

void fsck_fix_double(struct fsck *f, struct cfs_gfid g, uint64_t block,
                     uint64_t lba, const uint64_t *sum, bool tree)
{
    struct fix *x = add(f, FIX_DOUBLE);

    x->gfid = g;
    x->n = block;
    x->lba = lba;
    x->summed = sum != NULL;
    x->sum = sum ? *sum : 0;
    x->tree = tree;
}

void fsck_fix_tail(struct fsck *f, struct cfs_gfid g, uint64_t block)
{
    struct fsck_fixes *x = f->config->fixes;

    if (!x)
        return;
    FSCK_GROW(x->tail, x->n_tail, x->cap_tail);
    x->tail[x->n_tail++] = (struct fsck_tail){g, block};
}

void fsck_fix_brick(struct fsck *f)
{
    struct fix *x = add(f, FIX_BRICK);

    x->brick = (struct rec_brick){
        .session_max = f->session_seen,
        .inodes = f->r->inodes,
        .dirty = f->r->dirty,
        .oplog = f->r->oplog,
    };
}

void fsck_fix_cut(struct fsck *f, unsigned level, struct cfs_blob lo)
{
    if (!f->config->fixes)
        return;
    f->config->fixes->cuts = true;
    add_key(f, FIX_CUT, lo, NULL, 0);
    f->config->fixes->v[f->config->fixes->n - 1].n = level;
}

void fsck_fix_rewrite(struct fsck *f, unsigned level, struct cfs_blob lo)
{
    if (!f->config->fixes)
        return;
    add_key(f, FIX_REWRITE, lo, NULL, 0);
    f->config->fixes->v[f->config->fixes->n - 1].n = level;
}

/* -- records -------------------------------------------------------------- */

void mend_put(struct eng *e, const struct rec_key *k, const void *v,
             uint32_t len)
{
    eng_put(e, rec_key_blob(k), (struct cfs_blob){v, len});
}

bool mend_inode_get(struct eng *e, struct cfs_gfid g, struct rec_inode *ret)
{
    struct cfs_blob v;
    struct rec_key k;

    rec_key_gfid(&k, REC_INODE, g);
    return eng_get(e, rec_key_blob(&k), &v) == 0 &&
           rec_inode_unpack(v, ret) == 0;
}

void mend_inode_put(struct eng *e, struct cfs_gfid g, struct rec_inode *i)
{
    uint8_t v[REC_INODE_MAX];
    struct rec_key k;

    i->version.epoch = 0;
    if (i->version.seq == 0)
        i->version.seq = 1;
    rec_key_gfid(&k, REC_INODE, g);
    mend_put(e, &k, v, rec_inode_pack(i, v));
}

static void set_field(const struct fix *x, struct rec_inode *i)
{
    switch (x->field) {
    case SET_NLINK:
        i->nlink = (uint32_t)x->n;
        break;
    case SET_PARENT:
        i->parent = x->other;
        break;
    case SET_DIRTY:
        i->dirty = (uint32_t)x->n;
        break;
    case SET_SIZE:
        i->size = x->n;
        break;
    case MIN_SIZE:
        if (i->size < x->n && x->n <= CFS_FILE_MAX)
            i->size = x->n;
        break;
    case MIN_SEQ:
        if (i->version.seq < x->n)
            i->version.seq = x->n;
        break;
    case SET_FLAG:
        if (S_ISREG(i->mode))
            i->flags |= (uint8_t)x->n;
        break;
    case CLEAR_FLAG:
        i->flags &= (uint8_t)~x->n;
        break;
    case LESS_COUNT:
        if (S_ISDIR(i->mode))
            i->entries -= x->n;
        else
            i->blocks -= x->n;
        break;
    case LESS_MARKS:
        i->marks -= (uint32_t)x->n;
        break;
    case LESS_XATTRS:
        i->n_xattr = (uint16_t)(i->n_xattr - x->n);
        break;
    }
}

static bool do_set(struct eng *e, const struct fix *x)
{
    struct rec_inode i;

    if (!mend_inode_get(e, x->gfid, &i))
        return false;
    set_field(x, &i);
    if (i.n_xattr > XATTR_COUNT)
        i.n_xattr = XATTR_COUNT;
    mend_inode_put(e, x->gfid, &i);
    return true;
}

/* The keys below a prefix. */
static int keep_key(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct fix_keys *k = ctx;

    FSCK_GROW(k->v, k->n, k->cap);
    k->v[k->n].len = (uint16_t)key.len;
    memcpy(k->v[k->n++].b, key.p, key.len);
    return 0;
}

static void del_all(struct eng *e, const struct rec_key *prefix)
{
    struct fix_keys all = {0};
    struct tool_scan scan = {e, keep_key, NULL, &all};

    tool_scan_prefix(&scan, prefix);
    for (size_t i = 0; i < all.n; i++)
        eng_del(e, rec_key_blob(&all.v[i]));
    free(all.v);
}

void mend_forget(struct eng *e, struct cfs_gfid g)
{
    static const enum rec_table tables[] = {
        REC_INODE, REC_SMALL, REC_CHUNK, REC_XATTR, REC_DIRENT, REC_COOKIE,
        REC_ORPHAN,
    };
    struct rec_key k;

    for (size_t i = 0; i < CFS_ARRAY_SIZE(tables); i++) {
        rec_key_gfid(&k, tables[i], g);
        del_all(e, &k);
    }
}

/* -- names ---------------------------------------------------------------- */

/* Entry @name of @dir, which exists, with a cookie of its own. */
static void put_entry(struct eng *e, struct cfs_gfid dir, struct cfs_name name,
                      struct cfs_gfid child, uint32_t type)
{
    struct rec_cookie c = {child, type, name};
    uint8_t v[REC_COOKIE_MAX];
    struct rec_dirent d = {child, type, 0};
    struct rec_inode i;
    struct cfs_blob was;
    struct rec_key k;

    if (!mend_inode_get(e, dir, &i))
        return;
    d.cookie = ++i.version.seq;
    rec_key_name(&k, REC_DIRENT, dir, name);
    if (eng_get(e, rec_key_blob(&k), &was) < 0) {
        i.entries++;
        i.nlink += S_ISDIR(type);
    }
    mend_put(e, &k, v, rec_dirent_pack(&d, v));
    rec_key_gfid_u64(&k, REC_COOKIE, dir, d.cookie);
    mend_put(e, &k, v, rec_cookie_pack(&c, v));
    mend_inode_put(e, dir, &i);
}

static bool do_cookie(struct eng *e, const struct fix *x)
{
    struct cfs_blob key = {x->key, x->key_len}, v;
    struct rec_dirent d;
    struct rec_id id;

    if (rec_key_parse(key, &id) < 0 || eng_get(e, key, &v) < 0 ||
        rec_dirent_unpack(v, &d) < 0)
        return false;
    put_entry(e, id.gfid, id.name, d.child, d.type);
    return true;
}

/* The directory for what has no name; it is made when there is none. */
static struct cfs_gfid lost_found(struct fsck_fixes *x, struct eng *e)
{
    const struct cfs_gfid g = cfs_gfid_make(LOST_FOUND_INO);
    struct cfs_name name = {LOST_FOUND, sizeof LOST_FOUND - 1};
    struct rec_inode i;
    struct rec_dirent d;
    struct cfs_blob v;
    struct rec_key k;

    rec_key_name(&k, REC_DIRENT, cfs_gfid_root, name);
    if (eng_get(e, rec_key_blob(&k), &v) == 0) {
        if (rec_dirent_unpack(v, &d) == 0 && S_ISDIR(d.type) &&
            mend_inode_get(e, d.child, &i) && S_ISDIR(i.mode))
            return d.child;
        name = (struct cfs_name){LOST_FOUND ".clusterfs",
                                 sizeof LOST_FOUND ".clusterfs" - 1};
    }
    if (!mend_inode_get(e, g, &i)) {
        i = (struct rec_inode){
            .mode = S_IFDIR | 0700, .nlink = 2, .parent = cfs_gfid_root,
            .atime = x->now, .mtime = x->now, .ctime = x->now,
            .btime = x->now,
        };
        mend_inode_put(e, g, &i);
    }
    put_entry(e, cfs_gfid_root, name, g, S_IFDIR);
    return g;
}

static bool do_link(struct fsck_fixes *x, struct eng *e, struct cfs_gfid g)
{
    char text[1 + CFS_UUID_STR] = "#";
    struct cfs_gfid dir;
    struct rec_inode i;
    struct rec_key k;

    if (!mend_inode_get(e, g, &i) || cfs_gfid_eq(g, cfs_gfid_root))
        return false;
    dir = lost_found(x, e);
    if (cfs_gfid_eq(g, dir))
        return true;
    if (S_ISDIR(i.mode)) {
        i.parent = dir;
        if (i.nlink < 2)
            i.nlink = 2;
    } else {
        i.nlink = 1;
    }
    mend_inode_put(e, g, &i);
    rec_key_gfid(&k, REC_ORPHAN, g);
    eng_del(e, rec_key_blob(&k));
    cfs_gfid_print(g, text + 1);
    put_entry(e, dir, (struct cfs_name){text, (uint32_t)strlen(text)}, g,
              i.mode & S_IFMT);
    return true;
}

/* The entries that name .gfid. */
struct names {
    struct cfs_gfid gfid;
    struct fix_keys keys;
};

static int name_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct names *n = ctx;
    struct rec_dirent d;

    if (rec_dirent_unpack(value, &d) == 0 && cfs_gfid_eq(d.child, n->gfid))
        keep_key(&n->keys, key, value);
    return 0;
}

/* Entry and cookie. */
static void unname(struct eng *e, const struct rec_key *entry)
{
    struct rec_dirent d;
    struct cfs_blob v;
    struct rec_key k;
    struct rec_id id;

    if (eng_get(e, rec_key_blob(entry), &v) < 0 ||
        rec_dirent_unpack(v, &d) < 0 ||
        rec_key_parse(rec_key_blob(entry), &id) < 0)
        return;
    rec_key_gfid_u64(&k, REC_COOKIE, id.gfid, d.cookie);
    eng_del(e, rec_key_blob(entry));
    eng_del(e, rec_key_blob(&k));
}

static bool do_names(struct eng *e, const struct fix *x)
{
    struct names n = {.gfid = x->gfid};
    struct tool_scan scan = {e, name_each, NULL, &n};
    struct rec_inode i;
    struct rec_key k;
    struct rec_id id;
    size_t keep = 0;

    rec_key_table(&k, REC_DIRENT);
    tool_scan_prefix(&scan, &k);
    if (mend_inode_get(e, x->gfid, &i))
        for (size_t at = n.keys.n; at-- > 0;)
            if (rec_key_parse(rec_key_blob(&n.keys.v[at]), &id) == 0 &&
                cfs_gfid_eq(id.gfid, i.parent))
                keep = at;
    for (size_t at = 0; at < n.keys.n; at++)
        if (x->n == 0 || at != keep)
            unname(e, &n.keys.v[at]);
    free(n.keys.v);
    return true;
}

/* -- blocks --------------------------------------------------------------- */

static bool chunk_of(struct eng *e, struct cfs_gfid g, uint64_t block,
                     struct rec_key *k, struct rec_chunk *ret)
{
    struct cfs_blob v;

    rec_key_gfid_u64(k, REC_CHUNK, g, block / CHUNK_BLOCKS);
    return eng_get(e, rec_key_blob(k), &v) == 0 &&
           rec_chunk_unpack(v, ret) == 0;
}

/* A block of a pack goes with all others that are in it. */
static void unmap(struct eng *e, struct cfs_gfid g, uint64_t block)
{
    uint32_t bits = 1u << block % CHUNK_BLOCKS;
    uint8_t buf[REC_CHUNK_MAX];
    struct rec_chunk c;
    struct rec_key k;

    if (!chunk_of(e, g, block, &k, &c) || !(c.mapped & bits))
        return;
    if (c.packed & bits)
        bits = rec_chunk_pack_of(&c, block % CHUNK_BLOCKS)->live;
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if (bits >> i & 1)
            rec_chunk_drop(&c, i);
    if (c.mapped != 0)
        mend_put(e, &k, buf, rec_chunk_pack(&c, buf));
    else
        eng_del(e, rec_key_blob(&k));
}

/* Whether what lies at .lba is the block's, or its pack's. */
static bool sum_is(struct cfs_loop *loop, struct eng *e, const struct fix *x)
{
    uint8_t *data = aligned_alloc(CFS_BLOCK, CHUNK_BYTES);
    struct rec_chunk c;
    struct rec_key k;
    bool same;

    if (!data)
        abort();
    if (chunk_of(e, x->gfid, x->n, &k, &c) &&
        (c.packed >> x->n % CHUNK_BLOCKS & 1))
        same = tool_unpack(loop, e,
                           rec_chunk_pack_of(&c, x->n % CHUNK_BLOCKS),
                           data) == 0;
    else
        same = tool_read(loop, e, x->lba, 1, data) == 0 &&
               XXH3_64bits(data, CFS_BLOCK) == x->sum;
    free(data);
    return same;
}

/* Of the owners of one block that is keeps it whose checksum it has, else the
 * first. Those of one block follow each other. */
static void share(struct cfs_loop *loop, struct eng *e, struct fix *const *v,
                  size_t n)
{
    size_t keep = v[0]->tree ? n : 0;

    for (size_t i = 0; i < n && !v[0]->tree; i++) {
        if (v[i]->summed && sum_is(loop, e, v[i])) {
            keep = i;
            break;
        }
    }
    for (size_t i = 0; i < n; i++)
        if (i != keep)
            unmap(e, v[i]->gfid, v[i]->n);
}

static int by_lba(const void *a, const void *b)
{
    const struct fix *x = *(struct fix *const *)a;
    const struct fix *y = *(struct fix *const *)b;

    if (x->lba != y->lba)
        return x->lba < y->lba ? -1 : 1;
    return x < y ? -1 : x > y;
}

static uint64_t do_doubles(struct fsck_fixes *x, struct cfs_loop *loop,
                           struct eng *e)
{
    struct fix **v = tool_realloc(NULL, (x->n + 1) * sizeof(struct fix *));
    size_t n = 0, many;

    for (size_t i = 0; i < x->n; i++)
        if (x->v[i].kind == FIX_DOUBLE)
            v[n++] = &x->v[i];
    if (n > 0)
        qsort(v, n, sizeof(struct fix *), by_lba);
    for (size_t i = 0; i < n; i += many) {
        for (many = 1; i + many < n && v[i + many]->lba == v[i]->lba; many++)
            ;
        share(loop, e, v + i, many);
    }
    free(v);
    return n;
}

/* -- the brick ------------------------------------------------------------ */

static bool do_brick(struct eng *e, const struct fix *x)
{
    uint8_t buf[REC_BRICK_MAX];
    struct rec_brick b;
    struct cfs_blob v;
    struct rec_key k;

    rec_key_table(&k, REC_BRICK);
    if (eng_get(e, rec_key_blob(&k), &v) < 0 || rec_brick_unpack(v, &b) < 0)
        b = (struct rec_brick){.session_max =
                                   x->brick.session_max + SESSIONS_LOST};
    if (b.session_max < x->brick.session_max)
        b.session_max = x->brick.session_max;
    b.inodes = x->brick.inodes;
    b.dirty = x->brick.dirty;
    b.oplog = x->brick.oplog;
    mend_put(e, &k, buf, rec_brick_pack(&b, buf));
    return true;
}

/* -- all of them ---------------------------------------------------------- */

static bool do_one(struct eng *e, const struct fix *x)
{
    switch (x->kind) {
    case FIX_DEL:
        eng_del(e, (struct cfs_blob){x->key, x->key_len});
        return true;
    case FIX_PUT:
        eng_put(e, (struct cfs_blob){x->key, x->key_len},
                (struct cfs_blob){x->value, x->len});
        return true;
    case FIX_SET:
        return do_set(e, x);
    case FIX_NAMES:
        return do_names(e, x);
    case FIX_FORGET:
        mend_forget(e, x->gfid);
        return true;
    case FIX_COOKIE:
        return do_cookie(e, x);
    case FIX_UNMAP:
        unmap(e, x->gfid, x->n);
        return true;
    case FIX_BRICK:
        return do_brick(e, x);
    case FIX_CUT:
        eng_cut(e, (unsigned)x->n, (struct cfs_blob){x->key, x->key_len});
        return true;
    case FIX_REWRITE:
        eng_rewrite(e, (unsigned)x->n, (struct cfs_blob){x->key, x->key_len});
        return true;
    case FIX_LINK:
    case FIX_DOUBLE:
        break;
    }
    return false;
}

#define TRIM_EVERY 1024u

uint64_t fsck_fixes_apply(struct fsck_fixes *x, struct cfs_loop *loop,
                          struct eng *e)
{
    uint64_t done = 0, many;

    for (size_t i = 0; i < x->n; i++) {
        /* What was found where nodes are missing means nothing. */
        if (!x->cuts || x->v[i].kind == FIX_CUT) {
            bool did = do_one(e, &x->v[i]);

            done += did;
            x->changed |= did && x->v[i].kind != FIX_REWRITE;
        }
        if (i % TRIM_EVERY == 0)
            eng_trim(e);
    }
    many = done;
    if (!x->cuts) {
        done += do_doubles(x, loop, e);
        done += mend_traces(x, e);
        if (done == 0)
            for (size_t i = 0; i < x->n; i++)
                if (x->v[i].kind == FIX_LINK)
                    done += do_link(x, e, x->v[i].gfid);
    }
    x->changed |= many < done;
    eng_trim(e);
    clear(x);
    return done;
}
