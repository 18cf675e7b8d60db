/* SPDX-License-Identifier: Apache-2.0 */
/* crash_look.c - what a power cut or a kill may have left, looked at. */
#include "tests/unit/crash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/dirent.h"
#include "server/fsck.h"
#include "xlators/storage/block/engine/format.h"

#define PER_EVENT  4u /* images of a cut at one event */
#define PER_AGAIN  6u /* of a start that was cut */
#define READ_BYTES (64u << 10)

/* Who looks: a client of the same session with a loop of its own. */
struct looker {
    struct crash *c;
    struct fix    f;
    struct crash_figures *figures;
};

/* What an image must be. */
struct want {
    unsigned lo, hi;        /* changes */
    uint64_t incarnation;   /* a higher one */
    uint64_t gen;           /* nodes written now have a higher one */
};

static bool bad(const char *fmt, uint64_t a, uint64_t b)
{
    fprintf(stderr, fmt, a, b);
    fputc('\n', stderr);
    return false;
}

/* -- an inode ------------------------------------------------------------- */

static void see_bytes(struct fix *f, struct cfs_gfid g, uint8_t *buf,
                      struct m_seen *ret)
{
    uint64_t at = 0;

    assert_true(ret->size <= M_SIZE);
    while (at < ret->size) {
        int n = fix_read(f, g, at, buf + at, READ_BYTES);

        assert_true(n > 0);
        at += (uint64_t)n;
    }
    ret->data = m_hash(buf, ret->size);
}

static void see_names(struct fix *f, struct cfs_gfid g, struct m_seen *ret)
{
    struct cfs_readdir op = {.req.fop = CFS_FOP_READDIR};
    struct cfs_dirent e;

    op.gfid = g;
    op.size = READ_BYTES;
    do {
        const uint8_t *at;

        fix_begin(f);
        op.req = (struct cfs_req){.fop = CFS_FOP_READDIR,
                                  .epoch = f->view.epoch};
        assert_int_equal(fix_do(f, &op.req), 0);
        at = op.entries.data;
        while (cfs_dirent_next(&at, op.entries.data + op.entries.len, &e) ==
               1) {
            ret->names += m_hash_name(e.name.s, e.name.len, e.gfid);
            op.cookie = e.cookie;
        }
    } while (!op.eof);
}

static void see_xattrs(struct fix *f, struct cfs_gfid g, uint8_t *buf,
                       struct m_seen *ret)
{
    struct cfs_listxattr op = {.req.fop = CFS_FOP_LISTXATTR};
    char names[256];
    size_t len;

    op.gfid = g;
    fix_begin(f);
    op.req.epoch = f->view.epoch;
    assert_int_equal(fix_do(f, &op.req), 0);
    assert_true(op.names.len < sizeof names);
    if (op.names.len > 0)
        memcpy(names, op.names.p, op.names.len);
    names[op.names.len] = 0;
    for (const char *at = names; *at; at += len + 1) {
        int n = fix_getxattr(f, g, at, buf, M_SIZE);

        assert_true(n >= 0);
        len = strlen(at);
        ret->xattrs += m_hash_xattr(at, len,
                                    (struct cfs_blob){buf, (uint32_t)n});
    }
}

void crash_see(struct fix *f, struct cfs_gfid g, uint8_t *buf,
               struct m_seen *ret)
{
    struct cfs_attr a;
    int rc = fix_getattr(f, g, &a);

    *ret = (struct m_seen){0};
    if (rc == -ENOENT)
        return;
    assert_int_equal(rc, 0);
    *ret = (struct m_seen){
        .there = 1,
        .mode = a.mode,
        .nlink = a.nlink,
        .uid = a.uid,
        .seq = a.version.seq,
        .size = a.size,
        .data = m_hash(NULL, 0),
        .ctime = a.ctime,
        .mtime = a.mtime,
    };
    if (S_ISDIR(a.mode)) {
        ret->size = 0;
        see_names(f, g, ret);
    } else {
        see_bytes(f, g, buf, ret);
    }
    see_xattrs(f, g, buf, ret);
}

/* -- a brick -------------------------------------------------------------- */

static void found(void *ctx, const struct fsck_finding *f)
{
    char gfid[CFS_UUID_STR];

    cfs_gfid_print(f->gfid, gfid);
    fprintf(stderr, "fsck: %s %s (%s): %s\n", gfid, f->path ? f->path : "-",
            f->kind, f->text);
}

static void no_progress(void *ctx, const char *what, uint64_t done,
                        uint64_t of)
{
}

/* fsck.clusterfs of the brick, whose journal is applied in memory only. */
static bool fsck_says(struct looker *l, void (*tell)(
                                            void *ctx,
                                            const struct fsck_finding *f))
{
    struct fsck_config config = {
        .data = true, .found = tell, .progress = no_progress};
    const struct ops_config usual = l->f.config;
    struct fsck_result r = {0};
    struct cfs_brick info;
    struct rec_brick counts;

    l->f.config.eng.read_only = true;
    l->f.config.eng.blocking = true;
    if (fix_start(&l->f) < 0) {
        l->f.config = usual;
        return false;
    }
    ops_info(l->f.ops, &info);
    counts = (struct rec_brick){
        .session_max = info.session_max,
        .inodes = info.inodes,
        .dirty = info.dirty,
        .oplog = info.oplog,
    };
    config.counts = &counts;
    fsck_run(l->f.loop, ops_engine(l->f.ops), &config, &r);
    fix_halt(&l->f);
    l->f.config = usual;
    return r.findings == 0 && !r.incomplete;
}

static bool fsck_clean(struct looker *l)
{
    return fsck_says(l, found);
}

/* All inodes are as they were after one and the same number of changes. */
static bool compare(struct looker *l, const struct want *want)
{
    const struct m_model *m = &l->c->m;
    unsigned lo = want->lo, hi = want->hi, inodes;
    struct cfs_brick info;
    struct m_seen seen;

    for (unsigned i = 0; i < m->n_ino; i++) {
        if (m->ino[i].n_states == 0)
            continue;
        crash_see(&l->f, m->ino[i].gfid, l->c->buf, &seen);
        if (!m_was(m, i, &seen, &lo, &hi))
            return false;
    }
    ops_info(l->f.ops, &info);
    inodes = lo > 0 ? m->change[lo - 1].inodes : m->inodes_at_first;
    return info.inodes == inodes ||
           bad("%" PRIu64 " inodes; there should be %" PRIu64, info.inodes,
               inodes);
}

/* It goes on as if nothing had been; or it is full. */
static bool takes_changes(struct looker *l)
{
    struct cfs_gfid g;
    char got[9];
    int rc = fix_create(&l->f, cfs_gfid_root, "after", S_IFREG | 0644, &g);

    if (rc == -ENOSPC && l->c->mix->left > 0)
        return true;
    return rc == 0 && fix_write(&l->f, g, 100000, "and so on", 9) == 0 &&
           fix_fsync(&l->f, g) == 0 &&
           fix_read(&l->f, g, 100000, got, 9) == 9 &&
           memcmp(got, "and so on", 9) == 0;
}

/* The lowest and highest generation of nodes written by events @from to @to;
 * UINT64_MAX and 0: none was. */
static void gens(const struct recdev *r, size_t from, size_t to,
                 uint64_t *lowest, uint64_t *highest)
{
    for (size_t i = from; i < to; i++) {
        const uint8_t *p;
        uint64_t off;
        size_t len;

        p = recdev_event(r, i, &off, &len);
        for (size_t at = 0; p && at + CFS_BLOCK <= len; at += CFS_BLOCK) {
            struct fmt_node h;

            memcpy(&h, p + at, sizeof h);
            if (h.magic != FMT_NODE_MAGIC || h.lba * CFS_BLOCK != off + at)
                continue;
            if (h.gen < *lowest)
                *lowest = h.gen;
            if (h.gen > *highest)
                *highest = h.gen;
        }
    }
}

static bool gens_are_new(struct recdev *image, uint64_t gen)
{
    uint64_t lowest = UINT64_MAX, highest = 0;

    gens(image, 0, recdev_events(image), &lowest, &highest);
    return lowest > gen || bad("a node is written with generation %#" PRIx64
                               ", and %#" PRIx64 " was in use", lowest, gen);
}

/* Open it for good, as the next start of brickd would. */
static bool start(struct looker *l, const struct want *want)
{
    struct eng_info info;
    uint64_t incarnation;

    simloop_seed(l->f.loop, want->hi, CFS_MS, CFS_MS);
    if (fix_start(&l->f) < 0)
        return bad("it does not open", 0, 0);
    incarnation = eng_incarnation(ops_engine(l->f.ops));
    if (incarnation <= want->incarnation)
        return bad("this is incarnation %" PRIu64 ", and %" PRIu64
                   " was before", incarnation, want->incarnation);
    eng_info(ops_engine(l->f.ops), &info);
    l->figures->paused += info.checkpoints > 1;
    fix_next_view(&l->f, true);
    fix_attach(&l->f);
    return true;
}

/* @kind: every way of looking has its turn. */
static bool image_is_good(struct looker *l, struct recdev *image,
                          const struct want *want, unsigned kind)
{
    l->figures->images++;
    l->figures->torn += recdev_torn(image) > 0;
    fix_put_on(&l->f, recdev_open(image));
    if (kind % 2 == 0 && !fsck_clean(l))
        return false;
    if (!start(l, want) || !compare(l, want))
        return false;
    if (kind % 4 == 0) {
        recdev_kill(image); /* what it writes now, nobody will see */
        fix_halt(&l->f);
        return true;
    }
    if (kind % 4 == 1 && !takes_changes(l))
        return bad("it takes no changes", 0, 0);
    fix_halt(&l->f);
    return kind % 2 == 0 || fsck_clean(l);
}

/* The start of a brick on @image is cut, too, anywhere. */
static bool start_can_be_cut(struct looker *l, struct recdev *image,
                             const struct want *want, uint64_t rnd)
{
    struct want again = *want;
    struct reccut *cut;
    uint64_t lowest = UINT64_MAX, incarnation;
    size_t opened, n;
    bool ok;

    recdev_record(image);
    fix_put_on(&l->f, recdev_open(image));
    if (!start(l, want))
        return false;
    opened = recdev_events(image);
    incarnation = eng_incarnation(ops_engine(l->f.ops));
    fix_halt(&l->f);
    ok = gens_are_new(image, want->gen);
    n = recdev_events(image);
    cut = reccut_new(image);
    for (unsigned k = 0; k < PER_AGAIN && ok; k++) {
        size_t at = n * k / PER_AGAIN +
                    simloop_random(&rnd, n / PER_AGAIN + 1);
        struct recdev *second = reccut_image(cut, at, rnd);

        again.gen = want->gen;
        gens(image, 0, at, &lowest, &again.gen);
        if (at >= opened)
            again.incarnation = incarnation;
        l->figures->again++;
        ok = image_is_good(l, second, &again, k);
        if (!ok)
            fprintf(stderr, "  (cut again at %zu of %zu)\n", at, n);
        recdev_free(second);
    }
    reccut_free(cut);
    return ok;
}

/* -- all over a run ------------------------------------------------------- */

static int by_event(const void *a, const void *b)
{
    const size_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* @n events in order: anywhere, or right before or behind a flush. */
static size_t *choose(struct recdev *r, unsigned n, uint64_t *rnd)
{
    size_t all = recdev_events(r), *v = malloc((n + 1) * sizeof *v);

    for (unsigned i = 0; i < n; i++) {
        size_t at = simloop_random(rnd, all + 1);

        if (i % 2 == 0) {
            while (at < all && !recdev_is_flush(r, at))
                at++;
            if (at < all)
                at += simloop_random(rnd, 2);
        }
        v[i] = at;
    }
    qsort(v, n, sizeof *v, by_event);
    return v;
}

/* One image of a crash at @event. */
static bool look_once(struct looker *l, struct reccut *cut, size_t event,
                      unsigned k, struct want *want, uint64_t seed)
{
    struct crash *c = l->c;
    struct recdev *image;
    bool ok, killed = k == 0;

    if (killed) {
        m_bounds_killed(&c->m, event, &want->lo, &want->hi);
        image = reccut_killed(cut, event);
        l->figures->killed++;
    } else {
        m_bounds(&c->m, event, &want->lo, &want->hi);
        image = reccut_image(cut, event, seed);
    }
    if (seed % 24 == 0)
        ok = start_can_be_cut(l, image, want, seed);
    else
        ok = image_is_good(l, image, want, (unsigned)(seed / 24));
    if (!ok)
        fprintf(stderr, "  ^ seed %" PRIu64 " (%s): %s at event %zu of %zu, "
                "image %" PRIu64 "\n", c->seed, c->mix->name,
                killed ? "killed" : "power cut", event,
                recdev_events(c->dev), seed);
    recdev_free(image);
    return ok;
}

void crash_look(struct crash *c, unsigned images, struct crash_figures *f)
{
    struct looker l = {.c = c, .figures = f};
    struct want want = {.incarnation = c->incarnation};
    struct reccut *cut = reccut_new(c->dev);
    unsigned n = (images + PER_EVENT - 1) / PER_EVENT, before = f->images;
    uint64_t rnd = c->seed, lowest = UINT64_MAX;
    size_t *event = choose(c->dev, n, &rnd), done = 0;

    fix_twin(&l.f, &c->f);
    l.f.config.eng.cache_size = 1;
    for (unsigned i = 0; i < n && !f->bad && f->images < before + images;
         i++) {
        gens(c->dev, done, event[i], &lowest, &want.gen);
        done = event[i];
        for (unsigned k = 0; k < PER_EVENT && !f->bad; k++)
            f->bad += !look_once(&l, cut, event[i], k, &want,
                                 simloop_random(&rnd, UINT32_MAX));
    }
    free(event);
    reccut_free(cut);
    if (!f->bad)
        fix_close(&l.f);
}

static void not_told(void *ctx, const struct fsck_finding *f)
{
}

enum crash_lost crash_look_lost(struct crash *c)
{
    struct crash_figures figures = {0};
    struct looker l = {.c = c, .figures = &figures};
    struct want want = {.hi = c->m.n_changes, .incarnation = c->incarnation};
    struct reccut *cut = reccut_new(c->dev);
    struct recdev *image = reccut_killed(cut, recdev_events(c->dev));
    enum crash_lost ret = CRASH_FOUND;

    fix_twin(&l.f, &c->f);
    l.f.config.eng.cache_size = 1;
    fix_put_on(&l.f, recdev_open(image));
    if (fsck_says(&l, not_told))
        ret = start(&l, &want) && compare(&l, &want) ? CRASH_WAS
                                                     : CRASH_WRONG;
    fix_close(&l.f);
    recdev_free(image);
    reccut_free(cut);
    return ret;
}
