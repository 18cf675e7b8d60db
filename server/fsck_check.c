/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_check.c - the checker's order, its findings, its walks over tables. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/fsck_int.h"

/* -- findings ------------------------------------------------------------- */

static void enqueue(struct fsck *f, bool known, const char *kind,
                    struct cfs_gfid gfid, const char *fmt, va_list ap)
{
    struct fsck_queued *q;

    FSCK_GROW(f->queue, f->n_queue, f->cap_queue);
    q = &f->queue[f->n_queue++];
    *q = (struct fsck_queued){.kind = kind, .gfid = gfid, .known = known};
    if (vasprintf(&q->text, fmt, ap) < 0)
        abort();
}

void fsck_find(struct fsck *f, const char *kind, struct cfs_gfid gfid,
               const char *fmt, ...)
{
    va_list ap;

    if (f->r->findings++ >= FSCK_TOLD_MAX)
        return;
    va_start(ap, fmt);
    enqueue(f, false, kind, gfid, fmt, ap);
    va_end(ap);
}

void fsck_known(struct fsck *f, const char *kind, struct cfs_gfid gfid,
                const char *fmt, ...)
{
    va_list ap;

    if (f->n_known++ >= FSCK_TOLD_MAX)
        return;
    va_start(ap, fmt);
    enqueue(f, true, kind, gfid, fmt, ap);
    va_end(ap);
}

void fsck_tell(struct fsck *f)
{
    if (!f->names_known)
        return;
    for (size_t i = 0; i < f->n_queue; i++) {
        struct fsck_queued *q = &f->queue[i];
        char *path = cfs_gfid_is_null(q->gfid) ? NULL : fsck_path(f, q->gfid);
        struct fsck_finding finding = {q->kind, q->gfid, path, q->text,
                                       q->known};

        f->config->found(f->config->ctx, &finding);
        free(path);
        free(q->text);
    }
    f->n_queue = 0;
}

bool fsck_whole(struct fsck *f, int rc, struct cfs_gfid g, const char *what)
{
    if (rc < 0) {
        fsck_find(f, "record", g, "the record of its %s is damaged", what);
        fsck_fix_this(f);
    }
    return rc == 0;
}

/* -- inodes --------------------------------------------------------------- */

uint32_t fsck_ino(struct fsck *f, struct cfs_gfid g)
{
    uint32_t lo = 0, hi = f->n_ino;

    /* Mostly it is the one that was found last, or the next. */
    for (uint32_t i = f->last; i < f->n_ino && i <= f->last + 1; i++)
        if (cfs_gfid_eq(f->ino[i].gfid, g))
            return f->last = i;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = cfs_gfid_cmp(f->ino[mid].gfid, g);

        if (c == 0)
            return f->last = mid;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return FSCK_NONE;
}

/* -- passes --------------------------------------------------------------- */

#define PROGRESS_EVERY 4096u

struct walk {
    struct fsck            *f;
    const struct fsck_pass *pass;
    char                   *last; /* the last key, escaped; NULL: none */
};

static void progress(const struct walk *w)
{
    const struct fsck_config *c = w->f->config;

    if (!c->progress)
        return;
    if (w->pass->table == REC_CHUNK) /* what takes long is their data */
        c->progress(c->ctx, "blocks of data", w->f->r->data_blocks,
                    w->f->in_use > w->f->r->tree_blocks
                        ? w->f->in_use - w->f->r->tree_blocks
                        : 0);
    else
        c->progress(c->ctx, w->pass->what, w->f->seen, w->pass->of);
}

static int walk_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct walk *w = ctx;
    struct fsck *f = w->f;
    struct rec_id id;

    if (f->seen++ % PROGRESS_EVERY == 0)
        progress(w);
    f->key = key;
    if (rec_key_parse(key, &id) < 0) {
        char *text = tool_escape(key.p, key.len);

        fsck_find(f, "key", (struct cfs_gfid){0},
                  "a record of %s has the key %s, which cannot be",
                  w->pass->what, text);
        fsck_fix_this(f);
        free(text);
        return 0;
    }
    w->pass->each(f, &id, value);
    return w->pass->full && w->pass->full(f) ? TOOL_PAUSE : 0;
}

static int walk_pause(void *ctx)
{
    struct walk *w = ctx;

    if (w->pass->settle)
        w->pass->settle(w->f);
    fsck_tell(w->f);
    return 0;
}

void fsck_pass(struct fsck *f, const struct fsck_pass *p)
{
    struct walk w = {.f = f, .pass = p};
    struct tool_scan scan = {f->e, walk_each, walk_pause, &w};
    struct rec_key k;
    int rc;

    f->seen = 0;
    rec_key_table(&k, p->table);
    rc = tool_scan_prefix(&scan, &k);
    progress(&w);
    if (rc < 0) {
        f->r->incomplete = true;
        fsck_find(f, "tree", (struct cfs_gfid){0},
                  "the %s behind the first %" PRIu64 " cannot be read: %s",
                  p->what, f->seen, cfs_err_str(rc));
    }
}

/* -- keys of no table ----------------------------------------------------- */

static int strange_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    char *text = tool_escape(key.p, key.len);
    struct fsck *f = ctx;

    f->key = key;
    fsck_fix_this(f);
    fsck_find(f, "key", (struct cfs_gfid){0},
              "there is a record with the key %s, of no known table", text);
    free(text);
    return 0;
}

static bool is_table(unsigned c)
{
    static const char tables[] = {
        REC_ANSWER, REC_BRICK,  REC_COOKIE,  REC_DIRTY,   REC_DIRENT,
        REC_SMALL,  REC_INODE,  REC_CHUNK,   REC_ORPHAN,  REC_OPLOG,
        REC_REMOVAL, REC_SESSION, REC_TOMB,  REC_VIEW,    REC_XATTR,
    };

    return memchr(tables, (int)c, sizeof tables) != NULL;
}

static void strange_keys(struct fsck *f)
{
    struct tool_scan scan = {f->e, strange_each, NULL, f};

    for (unsigned c = 0, n; c < 256; c += n + 1) {
        uint8_t lo, hi;
        int rc;

        for (n = 0; c + n < 256 && !is_table(c + n); n++)
            ;
        if (n == 0)
            continue;
        lo = (uint8_t)c;
        hi = (uint8_t)(c + n);
        /* No key is shorter than one byte. */
        rc = tool_scan(&scan, (struct cfs_blob){&lo, 1},
                       (struct cfs_blob){&hi, c + n < 256});
        if (rc < 0)
            f->r->incomplete = true; /* its node is a finding already */
    }
}

/* -- all of it ------------------------------------------------------------ */

static void check_count(struct fsck *f, const char *what, uint64_t says,
                        uint64_t are)
{
    if (says == are)
        return;
    fsck_find(f, "brick", (struct cfs_gfid){0},
              "the brick counts %" PRIu64 " %s; there are %" PRIu64, says,
              what, are);
    fsck_fix_brick(f);
}

static void check_counts(struct fsck *f)
{
    const struct rec_brick *b = f->config->counts ? f->config->counts
                                                  : &f->brick;
    const struct cfs_gfid none = {0};

    if (!f->has_brick) {
        fsck_find(f, "brick", none, "the brick's own record is missing");
        fsck_fix_brick(f);
        return;
    }
    if (f->few_sessions)
        fsck_fix_brick(f);
    check_count(f, "inodes", b->inodes, f->r->inodes);
    check_count(f, "entries in the dirty index", b->dirty, f->r->dirty);
    check_count(f, "entries in the operation log", b->oplog, f->r->oplog);
}

static void fsck_free(struct fsck *f)
{
    free(f->ino);
    free(f->mark);
    free(f->queue);
    if (f->config->fixes)
        f->r->owned = f->owned;
    else
        free(f->owned);
    free(f->tree);
    free(f->doubted);
    free(f->batch);
    free(f->pack);
}

void fsck_run(struct cfs_loop *loop, struct eng *e,
              const struct fsck_config *config, struct fsck_result *ret)
{
    struct fsck f = {.loop = loop, .e = e, .config = config, .r = ret};
    struct eng_info info;

    *ret = (struct fsck_result){0};
    eng_info(e, &info);
    f.in_use = info.blocks - info.free;
    fsck_tree(&f);
    fsck_inodes(&f);
    fsck_marks(&f);
    fsck_names(&f);
    f.names_known = true;
    fsck_tell(&f);
    fsck_small(&f);
    fsck_xattrs(&f);
    fsck_chunks(&f);
    fsck_repl(&f);
    strange_keys(&f);
    /* What is missing may be among what cannot be read. */
    if (!ret->incomplete) {
        fsck_shape(&f);
        fsck_counts(&f);
        check_counts(&f);
        fsck_space(&f);
    }
    fsck_tell(&f);
    fsck_free(&f);
}
