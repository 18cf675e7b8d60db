/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_trace.c - inodes whose record is missing, though something refers to
 * them. Is there a directory's entry or a file's data among it, the inode is
 * made anew: names and data are kept; owner, mode and times are lost, and a
 * file's true end. Is there not, or says a tombstone that it was purged, all
 * that refers to it goes.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "server/fsck_fix_int.h"

void fsck_fix_trace(struct fsck *f, struct cfs_gfid g, enum fsck_trace what,
                    uint64_t n)
{
    struct fsck_fixes *x = f->config->fixes;
    struct trace *last, t = {.gfid = g, .what = what, .n = n};

    if (!x)
        return;
    last = x->n_trace > 0 ? &x->trace[x->n_trace - 1] : NULL;
    if (what == TRACE_NAME) {
        t.key = mend_copy(f->key.p, f->key.len);
        t.key_len = (uint16_t)f->key.len;
    } else if (last && last->what == what && cfs_gfid_eq(last->gfid, g)) {
        if (last->n < n)
            last->n = n;
        return;
    }
    FSCK_GROW(x->trace, x->n_trace, x->cap_trace);
    x->trace[x->n_trace++] = t;
}

/* What all traces of one inode say together. */
struct evidence {
    struct cfs_gfid gfid;
    uint32_t        named; /* as what; 0: not at all */
    bool            entries;
    bool            small;
    uint64_t        small_len;
    uint64_t        end; /* of its chunks; 0: none */
};

static void learn(struct evidence *v, const struct trace *t)
{
    switch (t->what) {
    case TRACE_NAME:
        v->named = (uint32_t)t->n;
        break;
    case TRACE_ENTRIES:
        v->entries = true;
        break;
    case TRACE_CHUNK:
        if (v->end < t->n)
            v->end = t->n;
        break;
    case TRACE_SMALL:
        v->small = true;
        v->small_len = t->n;
        break;
    case TRACE_XATTR:
        break;
    }
}

/* What it was; 0: there is nothing to be kept of it. */
static uint32_t type_of(struct eng *e, const struct evidence *v)
{
    struct cfs_blob tomb;
    struct rec_key k;

    if (cfs_gfid_eq(v->gfid, cfs_gfid_root))
        return S_IFDIR;
    rec_key_gfid(&k, REC_TOMB, v->gfid);
    if (eng_get(e, rec_key_blob(&k), &tomb) == 0)
        return 0;
    if (v->entries)
        return S_IFDIR;
    if (v->end > 0)
        return S_IFREG;
    if (v->small && v->small_len > 0)
        return v->named == S_IFLNK ? S_IFLNK : S_IFREG;
    return 0;
}

static void make(struct fsck_fixes *x, struct eng *e, const struct evidence *v,
                 uint32_t type)
{
    struct rec_inode i = {
        .mode = type | (type == S_IFDIR ? 0700 : type == S_IFLNK ? 0777
                                                                : 0600),
        .nlink = type == S_IFDIR ? 2 : 1,
        .parent = cfs_gfid_root,
        .atime = x->now, .mtime = x->now, .ctime = x->now, .btime = x->now,
    };

    if (type == S_IFLNK) {
        i.size = v->small_len;
    } else if (type == S_IFREG && v->end == 0) {
        i.size = v->small_len;
        i.flags = REC_INLINE;
        i.blocks = 1;
    } else if (type == S_IFREG) {
        i.size = v->end <= CFS_FILE_MAX ? v->end : CFS_FILE_MAX;
        i.flags = REC_LOST;
    }
    mend_inode_put(e, v->gfid, &i);
}

static int by_gfid(const void *a, const void *b)
{
    const struct trace *x = a, *y = b;
    int c = cfs_gfid_cmp(x->gfid, y->gfid);

    return c != 0 ? c : (int)x->what - (int)y->what;
}

static void settle(struct fsck_fixes *x, struct eng *e, const struct trace *t,
                   size_t n)
{
    struct evidence v = {.gfid = t->gfid};
    uint32_t type;

    for (size_t i = 0; i < n; i++)
        learn(&v, &t[i]);
    type = type_of(e, &v);
    if (type != 0) {
        make(x, e, &v, type);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (t[i].what == TRACE_NAME)
            eng_del(e, (struct cfs_blob){t[i].key, t[i].key_len});
    mend_forget(e, v.gfid);
}

uint64_t mend_traces(struct fsck_fixes *x, struct eng *e)
{
    uint64_t done = 0;
    size_t n;

    if (x->n_trace > 0)
        qsort(x->trace, x->n_trace, sizeof *x->trace, by_gfid);
    for (size_t i = 0; i < x->n_trace; i += n, done++) {
        for (n = 1; i + n < x->n_trace &&
                    cfs_gfid_eq(x->trace[i + n].gfid, x->trace[i].gfid); n++)
            ;
        settle(x, e, &x->trace[i], n);
    }
    return done;
}
