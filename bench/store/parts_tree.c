/* SPDX-License-Identifier: Apache-2.0 */
/* parts_tree.c - the engine alone, and the rivals on the same records. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/store/store.h"

#define FSYNCS       40u /* rounds of */
#define FSYNCS_ROUND 50u
#define LOOKUPS      1000000u

static void add_load(struct bench *b, const char *name,
                     const struct load_spec *s, const struct load_result *r)
{
    char what[64];

    report_add(&b->report, name, (double)s->count / r->s, "/s");
    snprintf(what, sizeof what, "%s: wait, median", name);
    report_add(&b->report, what, (double)times_at(&r->waits, 0.5) / 1e6, "ms");
    snprintf(what, sizeof what, "%s: wait, 99.9%%", name);
    report_add(&b->report, what, (double)times_at(&r->waits, 0.999) / 1e6,
               "ms");
}

/* The longest wait, and what of it was not the scheduler's: the thread was
 * ready, and others ran. The aim is about the rest. */
static void longest(struct bench *b, const char *name,
                    const struct load_result *r, double aim)
{
    char what[64];

    snprintf(what, sizeof what, "%s: longest wait", name);
    report_add(&b->report, what, (double)r->waits.max / 1e6, "ms");
    snprintf(what, sizeof what, "%s: longest, processor in hand", name);
    report_aim(&b->report, what, (double)r->own.max / 1e6, "ms",
               aim > 0 ? AIM_MAX : AIM_NONE, aim);
}

/* -- lookups in memory ----------------------------------------------------- */

static void warm_lookups(struct bench *b)
{
    uint64_t near = b->files < 100000 ? b->files : 100000;
    uint64_t rnd = 7, began = 0, misses = 0;
    struct cfs_blob got;

    for (int warm = 1; warm >= 0; warm--) {
        began = now_ns(b);
        for (unsigned i = 0; i < LOOKUPS; i++) {
            struct key k = inode_key(b->files - 1 - next_random(&rnd) % near);

            misses += eng_get(b->eng, blob_of(&k), &got) != 0;
        }
    }
    if (misses > 0)
        report_add(&b->report, "lookups that were not in memory",
                   (double)misses, "");
    report_aim(&b->report, "lookup of a cached record",
               (double)(now_ns(b) - began) / LOOKUPS / 1e3, "us", AIM_MAX, 1);
}

/* -- fsync ----------------------------------------------------------------- */

struct step {
    struct bench   *b;
    struct eng_io   io;
    struct eng_done done;
    struct cfs_task go;
    struct eng_ext  ext;
    struct times    t;
    uint64_t        began;
    unsigned        left;
};

static void on_step_synced(struct eng_done *d)
{
    struct step *s = container_of(d, struct step, done);

    times_add(&s->t, now_ns(s->b) - s->began);
    if (--s->left > 0)
        cfs_task_post(s->b->loop, &s->go);
}

static void on_step_written(struct eng_io *io)
{
    struct step *s = container_of(io, struct step, io);
    struct eng *e = s->b->eng;
    struct key k = inode_key(0);
    uint64_t sum = 1;
    struct eng_rec rec = {.type = 1, .ext = &s->ext, .n_ext = 1,
                          .sums = &sum, .n_sums = 1, .body = {s->io.data, 200}};

    if (io->status < 0)
        die("write", io->status, NULL);
    if (eng_touch(e, blob_of(&k)) < 0 || eng_begin(e, 1, 200, 320, 0) < 0)
        die("begin", -EAGAIN, NULL);
    eng_put(e, blob_of(&k), (struct cfs_blob){s->io.data, 152});
    eng_commit(e, &rec, NULL);
    eng_free(e, s->ext);
    s->done.done = on_step_synced;
    eng_sync(e, &s->done);
}

/* An overwrite of 4 KiB: a new block, its record, a flush. */
static void on_step(struct cfs_task *t)
{
    struct step *s = container_of(t, struct step, go);
    unsigned n;
    int rc = eng_alloc(s->b->eng, 1, 0, 0, &s->ext, 1, &n);

    if (rc < 0)
        die("alloc", rc, NULL);
    s->began = now_ns(s->b);
    s->io.ext = s->ext;
    s->io.done = on_step_written;
    eng_data_write(s->b->eng, &s->io);
}

static bool step_is_done(void *arg)
{
    return ((struct step *)arg)->left == 0;
}

/* The bare calls, on a file beside the store on the same disk. */
struct bare {
    struct bench  *b;
    int            fd;
    uint8_t       *buf;
    uint64_t       rnd;
    struct cfs_job job; /* the same in a thread of the pool, and back */
    struct times   t;
    uint64_t       began;
    unsigned       left;
};

static void bare_fsync(struct bare *v)
{
    if (pwrite(v->fd, v->buf, 4096,
               (off_t)(next_random(&v->rnd) % 16384 * 4096)) != 4096 ||
        fdatasync(v->fd) < 0)
        die("bare write", -errno, NULL);
}

static void on_bare_work(struct cfs_job *j)
{
    bare_fsync(container_of(j, struct bare, job));
}

static void bare_go(struct bare *v);

static void on_bare_done(struct cfs_job *j)
{
    struct bare *v = container_of(j, struct bare, job);

    times_add(&v->t, now_ns(v->b) - v->began);
    if (--v->left > 0)
        bare_go(v);
}

static void bare_go(struct bare *v)
{
    v->began = now_ns(v->b);
    cfs_job_run(v->b->loop, &v->job, on_bare_work, on_bare_done);
}

static bool bare_is_done(void *arg)
{
    return ((struct bare *)arg)->left == 0;
}

static void bare_round(struct bare *v, bool in_pool)
{
    memset(&v->t, 0, sizeof v->t);
    v->left = FSYNCS_ROUND;
    if (in_pool) {
        bare_go(v);
        cfs_loop_run_until(v->b->loop, bare_is_done, v);
        return;
    }
    for (; v->left > 0; v->left--) {
        v->began = now_ns(v->b);
        bare_fsync(v);
        times_add(&v->t, now_ns(v->b) - v->began);
    }
}

static void add_fsyncs(struct bench *b, const char *name,
                       const struct times *t)
{
    char what[64];

    snprintf(what, sizeof what, "%s, median", name);
    report_add(&b->report, what, (double)times_at(t, 0.5) / 1e3, "us");
    snprintf(what, sizeof what, "%s, 99%%", name);
    report_add(&b->report, what, (double)times_at(t, 0.99) / 1e3, "us");
}

/* The store, the bare calls, and these in the pool, in turns. A loop that
 * never waits for the device can at best do what the third does. */
static void fsync_rounds(struct bench *b, struct step *s, struct bare *v)
{
    enum { STORE, BARE, POOL, KINDS };
    struct times *all = need(calloc(KINDS, sizeof *all));
    double ratio[FSYNCS], in_pool[FSYNCS];

    for (unsigned i = 0; i < FSYNCS; i++) {
        double store, bare;

        memset(&s->t, 0, sizeof s->t);
        s->left = FSYNCS_ROUND;
        cfs_task_post(b->loop, &s->go);
        cfs_loop_run_until(b->loop, step_is_done, s);
        times_join(&all[STORE], &s->t);
        store = (double)times_at(&s->t, 0.5);
        bare_round(v, false);
        times_join(&all[BARE], &v->t);
        bare = (double)times_at(&v->t, 0.5);
        ratio[i] = store / bare;
        bare_round(v, true);
        times_join(&all[POOL], &v->t);
        in_pool[i] = (double)times_at(&v->t, 0.5) / bare;
    }
    add_fsyncs(b, "4 KiB overwrite and fsync", &all[STORE]);
    add_fsyncs(b, "bare pwrite and fdatasync", &all[BARE]);
    add_fsyncs(b, "the same by another thread, and back", &all[POOL]);
    report_add(&b->report, "by another thread / bare, median of rounds",
               median(in_pool, FSYNCS), "times");
    report_aim(&b->report, "fsync: store / bare, median of rounds",
               median(ratio, FSYNCS), "times", AIM_MAX, 1.5);
    free(all);
}

static void fsyncs(struct bench *b)
{
    struct step *s = need(calloc(1, sizeof *s));
    struct bare *v = need(calloc(1, sizeof *v));
    char path[4096];

    s->b = v->b = b;
    s->io.data = need(aligned_alloc(4096, 4096));
    memset(s->io.data, 3, 4096);
    cfs_task_init(&s->go, on_step);
    v->fd = rig_plain(b, ".bare", 64u << 20, path, sizeof path);
    v->buf = need(aligned_alloc(4096, 4096));
    memset(v->buf, 1, 4096);
    fsync_rounds(b, s, v);
    close(v->fd);
    unlink(path);
    free(v->buf);
    free(v);
    free(s->io.data);
    free(s);
}

void part_fsync(struct bench *b)
{
    struct load_result *r = need(calloc(1, sizeof *r));
    struct load_spec s = {.kind = LOAD_CREATE, .count = 100000};

    report_part(&b->report, "fsync");
    rig_make(b, false);
    rig_open(b, false);
    load_run(b, &s, r);
    rig_checkpoint(b);
    fsyncs(b);
    rig_close(b, true);
    rig_remove(b);
    free(r);
}

/* -- the parts ------------------------------------------------------------- */

void part_tree(struct bench *b)
{
    struct load_result *r = need(calloc(1, sizeof *r));
    struct load_spec s = {.kind = LOAD_CREATE, .count = b->files};
    double alone;

    report_part(&b->report, "engine");
    rig_make(b, false);
    rig_open(b, false);
    load_run(b, &s, r);
    alone = (double)s.count / r->s;
    add_load(b, "creates", &s, r);
    report_aim(&b->report, "creates", alone, "/s", AIM_MIN, 300000);
    longest(b, "creates", r, 2);
    report_add(&b->report, "longest pause of a thread that does nothing",
               (double)rig_pause(b, (uint64_t)(r->s * 1e9)) / 1e6, "ms");
    report_add(&b->report, "nodes in memory, most / cache-size",
               (double)r->cached_max / (double)b->cache, "times");
    report_add(&b->report, "dirty nodes, most / their bound",
               (double)r->dirty_max / ((double)b->cache / 2), "times");
    report_add(&b->report, "a checkpoint now", (double)rig_checkpoint(b) / 1e6,
               "ms");
    warm_lookups(b);

    s = (struct load_spec){.kind = LOAD_CREATE, .first = b->files,
                           .count = b->files / 2, .syncs = 200};
    load_run(b, &s, r);
    add_load(b, "creates beside 200 fsyncs/s", &s, r);
    longest(b, "creates beside 200 fsyncs/s", r, 2);
    report_aim(&b->report, "beside 200 fsyncs/s / alone",
               (double)s.count / r->s / alone, "times", AIM_MIN, 2.0 / 3);
    report_add(&b->report, "these fsyncs, median",
               (double)times_at(&r->syncs, 0.5) / 1e3, "us");

    s = (struct load_spec){.kind = LOAD_UPDATE, .files = b->files,
                           .count = b->files / 4};
    load_run(b, &s, r);
    add_load(b, "random updates", &s, r);
    longest(b, "random updates", r, 0);
    report_add(&b->report, "clean close", rig_close(b, true) * 1e3, "ms");
    report_add(&b->report, "open again", rig_open(b, false) * 1e3, "ms");
    rig_close(b, true);
    rig_remove(b);
    free(r);
}

/* -- rivals ---------------------------------------------------------------- */

#define BATCH 10000u /* creates in a transaction */

static void put_all(const struct rival *v, void *h, const struct puts *p)
{
    static const uint8_t bytes[256];

    for (unsigned k = 0; k < p->n; k++)
        v->put(h, blob_of(&p->key[k]), (struct cfs_blob){bytes, p->len[k]});
}

static double rival_changes(struct bench *b, const struct rival *v, void *h,
                            bool create, uint64_t count, uint64_t *longest_ns)
{
    uint64_t began = now_ns(b), rnd = 5;

    *longest_ns = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t t = now_ns(b);
        struct puts p;

        if (i % BATCH == 0)
            v->begin(h);
        if (create)
            create_puts(i, &p);
        else
            update_puts(next_random(&rnd) % b->files, &p);
        v->get(h, blob_of(&p.key[0]));
        v->get(h, blob_of(&p.key[p.n / 2]));
        put_all(v, h, &p);
        if ((i + 1) % BATCH == 0 || i + 1 == count)
            v->commit(h);
        t = now_ns(b) - t;
        if (t > *longest_ns)
            *longest_ns = t;
    }
    return (double)count * 1e9 / (double)(now_ns(b) - began);
}

static void rival_lookups(struct bench *b, const struct rival *v, void *h)
{
    uint64_t near = b->files < 100000 ? b->files : 100000;
    uint64_t rnd = 7, began;
    const unsigned n = LOOKUPS / 5;

    v->begin(h);
    began = now_ns(b);
    for (unsigned i = 0; i < n; i++) {
        struct key k = inode_key(b->files - 1 - next_random(&rnd) % near);

        v->get(h, blob_of(&k));
    }
    report_add(&b->report, "lookup of a cached record",
               (double)(now_ns(b) - began) / n / 1e3, "us");
    v->commit(h);
}

static void rival_fsyncs(struct bench *b, const struct rival *v, void *h)
{
    struct times *t = need(calloc(1, sizeof *t));

    for (unsigned i = 0; i < 1000; i++) {
        uint64_t began = now_ns(b);
        struct puts p;

        create_puts(b->files + i, &p);
        v->begin(h);
        put_all(v, h, &p);
        v->commit(h);
        times_add(t, now_ns(b) - began);
    }
    report_add(&b->report, "create and fsync alone, median",
               (double)times_at(t, 0.5) / 1e3, "us");
    free(t);
}

static void run_rival(struct bench *b, const struct rival *v)
{
    uint64_t wait;
    char path[4096];
    void *h;

    report_part(&b->report, v->name);
    snprintf(path, sizeof path, "%s.%s", b->path, v->name);
    v->remove(path);
    h = v->open(path, b->cache, b->size);
    report_add(&b->report, "creates",
               rival_changes(b, v, h, true, b->files, &wait), "/s");
    report_add(&b->report, "creates: longest wait", (double)wait / 1e6, "ms");
    rival_lookups(b, v, h);
    rival_fsyncs(b, v, h);
    report_add(&b->report, "random updates",
               rival_changes(b, v, h, false, b->files / 4, &wait), "/s");
    report_add(&b->report, "random updates: longest wait", (double)wait / 1e6,
               "ms");
    v->close(h);
    v->remove(path);
}

void part_rivals(struct bench *b)
{
    run_rival(b, &rival_sqlite);
#ifdef WITH_LMDB
    run_rival(b, &rival_lmdb);
#else
    printf("\nLMDB: built without it (liblmdb-dev)\n");
#endif
}
