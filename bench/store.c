/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - the block store alone, in one process: what a brick could do if
 * nothing else cost anything.
 *
 *   store FILE|DEVICE [--size BYTES] [--creates N] [--cache BYTES]
 *
 * A create is what storage/block makes of one: two gets, six puts (the inode,
 * its parent's, the name, the cookie, two entries of the dirty index), one
 * journal record. Up to 256 are in flight. The file is made anew and removed.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/opt.h"
#include "xlators/storage/block/engine.h"

#define IN_FLIGHT 256u
#define FILES_DIR 4096u /* files in one directory */

struct bench {
    struct cfs_loop *loop;
    struct cfs_log  *log;
    struct eng      *eng;
    const char      *path;
    uint64_t         size;
    uint64_t         creates;
    uint64_t         cache;
    bool             closed;
};

/* -- time ------------------------------------------------------------------ */

struct times {
    uint32_t *us10; /* in tenths of a microsecond */
    size_t    n;
    size_t    cap;
};

static void times_add(struct times *t, uint64_t ns)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 4096;
        t->us10 = realloc(t->us10, t->cap * sizeof *t->us10);
        if (!t->us10)
            abort();
    }
    t->us10[t->n++] = ns / 100 > UINT32_MAX ? UINT32_MAX
                                            : (uint32_t)(ns / 100);
}

static int cmp_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* In microseconds; @q of 1. */
static double times_at(struct times *t, double q)
{
    if (t->n == 0)
        return 0;
    qsort(t->us10, t->n, sizeof *t->us10, cmp_u32);
    return t->us10[(size_t)(q * (double)(t->n - 1))] / 10.0;
}

static uint64_t now_ns(struct bench *b)
{
    return cfs_now_fresh(b->loop);
}

/* -- opening and closing --------------------------------------------------- */

static void die(const char *what, int rc, const struct cfs_err *err)
{
    fprintf(stderr, "store: %s: %s\n", what,
            err && err->code ? err->text : cfs_err_str(rc));
    exit(1);
}

static void on_closed(void *ctx, int status)
{
    ((struct bench *)ctx)->closed = true;
    if (status < 0)
        die("close", status, NULL);
}

static bool is_closed(void *arg)
{
    return ((struct bench *)arg)->closed;
}

static int replay_nothing(void *ctx, struct eng *e, const struct eng_rec *rec)
{
    return 0;
}

static double open_store(struct bench *b)
{
    struct eng_config conf = eng_config_default;
    struct cfs_err err = {0};
    struct cfs_dev *dev;
    uint64_t began = now_ns(b);
    int rc = cfs_dev_open(b->path, 0, &dev, &err);

    conf.cache_size = b->cache;
    if (rc < 0)
        die("open", rc, &err);
    rc = eng_open(b->loop, b->log, dev, &conf, replay_nothing, b, &b->eng,
                  &err);
    if (rc < 0)
        die("open", rc, &err);
    return (double)(now_ns(b) - began) / 1e6;
}

static double close_store(struct bench *b)
{
    uint64_t began = now_ns(b);

    b->closed = false;
    eng_close(b->eng, true, on_closed, b);
    cfs_loop_run_until(b->loop, is_closed, b);
    return (double)(now_ns(b) - began) / 1e6;
}

/* An image whose blocks have all been written. */
static void make_image(struct bench *b)
{
    size_t run = 4u << 20;
    uint8_t *zero = aligned_alloc(4096, run);
    int fd = open(b->path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    int direct;

    if (!zero || fd < 0)
        die(b->path, -errno, NULL);
    memset(zero, 0, run);
    direct = open(b->path, O_WRONLY | O_DIRECT | O_CLOEXEC);
    for (uint64_t at = 0; at < b->size; at += run) {
        if (pwrite(direct >= 0 ? direct : fd, zero, run, (off_t)at) !=
            (ssize_t)run)
            die(b->path, -errno, NULL);
    }
    if (fsync(fd) < 0)
        die(b->path, -errno, NULL);
    if (direct >= 0)
        close(direct);
    close(fd);
    free(zero);
}

static void make_store(struct bench *b)
{
    struct eng_format f = {.label = "bench"};
    struct cfs_err err = {0};
    struct cfs_dev *dev;
    struct stat st;
    int rc;

    if (stat(b->path, &st) < 0 || S_ISREG(st.st_mode))
        make_image(b);
    cfs_random(b->loop, &f.brick, sizeof f.brick);
    rc = cfs_dev_open(b->path, 0, &dev, &err);
    if (rc == 0) {
        rc = eng_mkfs(dev, &f, &err);
        dev->ops->close(dev);
    }
    if (rc < 0)
        die("mkfs", rc, &err);
}

/* -- load ------------------------------------------------------------------ */

struct op;

struct waiter {
    struct eng_wait w;
    struct op      *op;
};

/* One change on its way. */
struct op {
    struct eng_done done;
    struct waiter   wait[8];
    unsigned        n_wait;
    struct load    *load;
    uint64_t        i;     /* which file */
    uint64_t        began;
};

enum kind { CREATE, UPDATE };

/* A run of changes, IN_FLIGHT at a time. */
struct load {
    struct bench   *b;
    enum kind       kind;
    struct cfs_timer more; /* in the next turn of the loop, as requests come */
    uint64_t        started;
    uint64_t        finished;
    uint64_t        count;
    uint64_t        first; /* of the files */
    uint64_t        files; /* UPDATE: that exist */
    uint64_t        rnd;
    struct times    waits;
    struct op       op[IN_FLIGHT];
    struct op      *idle[IN_FLIGHT];
    unsigned        n_idle;

    /* fsyncs beside them */
    struct cfs_timer tick;
    uint64_t         sync_every; /* ns; 0: none */
    struct eng_done  sync;
    bool             syncing;
    uint64_t         sync_began;
    struct times     syncs;
};

struct key {
    uint8_t  b[64];
    uint32_t len;
};

static void be64(uint8_t *to, uint64_t v)
{
    for (unsigned k = 0; k < 8; k++)
        to[k] = (uint8_t)(v >> (56 - 8 * k));
}

/* A table's letter, an id of 16 bytes, and what follows. */
static struct key key_of(char table, uint64_t id, const char *name,
                         uint64_t num)
{
    struct key k = {.len = 17};

    k.b[0] = (uint8_t)table;
    be64(k.b + 9, id);
    if (name) {
        k.len += (uint32_t)snprintf((char *)k.b + 17, 40, "%s%08" PRIu64,
                                    name, num);
    } else if (num) {
        be64(k.b + 17, num);
        k.len += 8;
    }
    return k;
}

static struct cfs_blob blob_of(const struct key *k)
{
    return (struct cfs_blob){k->b, k->len};
}

struct puts {
    struct key key[6];
    uint32_t   len[6];
    unsigned   n;
};

static struct key inode_key(uint64_t i)
{
    return key_of('I', ((uint64_t)1 << 32) + i, NULL, 0);
}

static void puts_of(const struct op *op, struct puts *p)
{
    uint64_t i = op->i, dir = 1 + i / FILES_DIR;

    p->key[0] = inode_key(i);
    p->len[0] = 152;
    p->n = 1;
    if (op->load->kind == UPDATE)
        return;
    p->key[1] = key_of('I', dir, NULL, 0);
    p->len[1] = 152;
    p->key[2] = key_of('N', dir, "file-", i);
    p->len[2] = 32;
    p->key[3] = key_of('C', dir, NULL, i + 1);
    p->len[3] = 14;
    p->key[4] = key_of('D', ((uint64_t)1 << 32) + i, NULL, 0);
    p->len[4] = 24;
    p->key[5] = key_of('D', dir, NULL, 0);
    p->len[5] = 24;
    p->n = 6;
}

static void op_go(struct op *op);

static void op_waits_end(struct op *op)
{
    while (op->n_wait > 0)
        eng_wait_end(op->load->b->eng, &op->wait[--op->n_wait].w);
}

static void on_op_done(struct eng_done *d)
{
    struct op *op = container_of(d, struct op, done);
    struct load *l = op->load;

    if (d->status < 0)
        die("commit", d->status, NULL);
    times_add(&l->waits, now_ns(l->b) - op->began);
    l->finished++;
    l->idle[l->n_idle++] = op;
    if (!cfs_timer_active(&l->more))
        cfs_timer_start(&l->more, 0);
}

static void on_op_ready(struct eng_wait *w)
{
    struct op *op = container_of(w, struct waiter, w)->op;

    if (op->n_wait == CFS_ARRAY_SIZE(op->wait))
        op_waits_end(op);
    op_go(op);
}

static int op_admit(struct op *op, const struct puts *p)
{
    struct eng *e = op->load->b->eng;
    struct cfs_blob got;
    int rc = 0;

    for (unsigned i = 0; i < p->n && rc == 0; i++)
        rc = eng_touch(e, blob_of(&p->key[i]));
    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        rc = eng_get(e, blob_of(&p->key[i == 0 ? 0 : p->n / 2]), &got);
        if (rc == -ENOENT)
            rc = 0;
    }
    return rc < 0 ? rc : eng_begin(e, p->n, p->n * 200, 300, 0);
}

static void op_go(struct op *op)
{
    static const uint8_t bytes[256];
    struct eng *e = op->load->b->eng;
    struct eng_rec rec = {.type = 1, .body = {bytes, 220}};
    struct puts p;
    int rc;

    puts_of(op, &p);
    rc = op_admit(op, &p);
    if (rc == -CFS_E_MISS) {
        struct waiter *w = &op->wait[op->n_wait++];

        w->op = op;
        eng_wait(e, &w->w, on_op_ready);
        return;
    }
    if (rc < 0)
        die("begin", rc, NULL);
    for (unsigned i = 0; i < p.n; i++)
        eng_put(e, blob_of(&p.key[i]), (struct cfs_blob){bytes, p.len[i]});
    op->done.done = on_op_done;
    eng_commit(e, &rec, &op->done);
    op_waits_end(op);
}

static uint64_t next_random(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    return z ^ (z >> 31);
}

static void on_more(struct cfs_timer *t)
{
    struct load *l = container_of(t, struct load, more);

    while (l->n_idle > 0 && l->started < l->count) {
        struct op *op = l->idle[--l->n_idle];

        op->i = l->kind == CREATE ? l->first + l->started
                                  : next_random(&l->rnd) % l->files;
        l->started++;
        op->began = now_ns(l->b);
        op_go(op);
    }
}

static void on_synced(struct eng_done *d)
{
    struct load *l = container_of(d, struct load, sync);

    if (d->status < 0)
        die("sync", d->status, NULL);
    times_add(&l->syncs, now_ns(l->b) - l->sync_began);
    l->syncing = false;
}

static void on_tick(struct cfs_timer *t)
{
    struct load *l = container_of(t, struct load, tick);

    if (!l->syncing) {
        l->syncing = true;
        l->sync_began = now_ns(l->b);
        l->sync.done = on_synced;
        eng_sync(l->b->eng, &l->sync);
    }
    cfs_timer_start(t, l->sync_every);
}

static bool load_is_done(void *arg)
{
    const struct load *l = arg;

    return l->finished == l->count && !l->syncing;
}

/* Seconds that it took. */
static double load_run(struct load *l)
{
    uint64_t began = now_ns(l->b);

    cfs_timer_init(l->b->loop, &l->more, on_more);
    cfs_timer_init(l->b->loop, &l->tick, on_tick);
    l->n_idle = 0;
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        l->op[i].load = l;
        l->idle[l->n_idle++] = &l->op[i];
    }
    cfs_timer_start(&l->more, 0);
    if (l->sync_every)
        cfs_timer_start(&l->tick, l->sync_every);
    cfs_loop_run_until(l->b->loop, load_is_done, l);
    cfs_timer_fini(&l->tick);
    cfs_timer_fini(&l->more);
    return (double)(now_ns(l->b) - began) / 1e9;
}

static struct load *load_new(struct bench *b, enum kind kind, uint64_t count)
{
    struct load *l = calloc(1, sizeof *l);

    if (!l)
        abort();
    l->b = b;
    l->kind = kind;
    l->count = count;
    l->rnd = 1;
    return l;
}

static void load_free(struct load *l)
{
    free(l->waits.us10);
    free(l->syncs.us10);
    free(l);
}

static void print_load(const char *what, struct load *l, double s)
{
    printf("%-28s %9.0f/s   waits p50 %.0f p99 %.0f longest %.1f ms\n", what,
           (double)l->count / s, times_at(&l->waits, 0.5),
           times_at(&l->waits, 0.99), times_at(&l->waits, 1) / 1000);
    if (l->syncs.n > 0)
        printf("%-28s p50 %.0f us, p99 %.0f us (%zu)\n", "  fsyncs beside",
               times_at(&l->syncs, 0.5), times_at(&l->syncs, 0.99),
               l->syncs.n);
}

static void run_creates(struct bench *b, uint64_t first, uint64_t count,
                        unsigned syncs)
{
    struct load *l = load_new(b, CREATE, count);
    char what[64];

    l->first = first;
    l->sync_every = syncs ? CFS_SEC / syncs : 0;
    snprintf(what, sizeof what, syncs ? "creates, %u fsyncs/s" : "creates",
             syncs);
    print_load(what, l, load_run(l));
    load_free(l);
}

static void run_updates(struct bench *b, uint64_t files, uint64_t count)
{
    struct load *l = load_new(b, UPDATE, count);

    l->files = files;
    print_load("random updates", l, load_run(l));
    load_free(l);
}

/* -- lookups --------------------------------------------------------------- */

static void run_lookups(struct bench *b, uint64_t files)
{
    uint64_t rnd = 7, began, hits = 0, misses = 0;
    uint64_t near = files < 100000 ? files : 100000;
    struct cfs_blob got;

    for (int warm = 1; warm >= 0; warm--) {
        began = now_ns(b);
        for (unsigned i = 0; i < 1000000; i++) {
            uint64_t at = files - 1 - next_random(&rnd) % near;
            struct key k = inode_key(at);

            if (eng_get(b->eng, blob_of(&k), &got) == 0)
                hits++;
            else
                misses++;
        }
    }
    printf("%-28s %9.0f/s   %.0f ns each (%" PRIu64 " not in memory)\n",
           "lookups among the newest", 1e15 / (double)(now_ns(b) - began),
           (double)(now_ns(b) - began) / 1e6, misses);
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
    bool            finished;
};

static void on_step_synced(struct eng_done *d)
{
    struct step *s = container_of(d, struct step, done);

    times_add(&s->t, now_ns(s->b) - s->began);
    if (--s->left == 0)
        s->finished = true;
    else
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
    return ((struct step *)arg)->finished;
}

/* The bare thing, beside the store on the same disk. */
static void bare_fsyncs(struct bench *b, unsigned count, struct times *ret)
{
    char path[4096];
    uint8_t *buf = aligned_alloc(4096, 4096);
    int fd;

    if (!buf)
        abort();
    memset(buf, 1, 4096);
    snprintf(path, sizeof path, "%s.bare", b->path);
    fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || posix_fallocate(fd, 0, 64 << 20) != 0)
        die(path, -errno, NULL);
    for (unsigned i = 0; i < (64u << 20) / 4096; i++) {
        if (pwrite(fd, buf, 4096, (off_t)i * 4096) != 4096)
            die(path, -errno, NULL);
    }
    fsync(fd);
    for (unsigned i = 0; i < count; i++) {
        uint64_t began = now_ns(b);

        if (pwrite(fd, buf, 4096, (off_t)(i * 7919ull % 16384 * 4096)) !=
                4096 || fdatasync(fd) < 0)
            die(path, -errno, NULL);
        times_add(ret, now_ns(b) - began);
    }
    close(fd);
    unlink(path);
    free(buf);
}

static void run_fsyncs(struct bench *b, unsigned count)
{
    struct step *s = calloc(1, sizeof *s);
    struct times bare = {0};

    if (!s)
        abort();
    s->b = b;
    s->left = count;
    s->io.data = aligned_alloc(4096, 4096);
    if (!s->io.data)
        abort();
    memset(s->io.data, 3, 4096);
    cfs_task_init(&s->go, on_step);
    cfs_task_post(b->loop, &s->go);
    cfs_loop_run_until(b->loop, step_is_done, s);
    bare_fsyncs(b, count, &bare);
    printf("%-28s p50 %.0f us, p99 %.0f us; bare pwrite+fdatasync p50 %.0f, "
           "p99 %.0f: %.2f times\n", "overwrite 4 KiB and fsync",
           times_at(&s->t, 0.5), times_at(&s->t, 0.99),
           times_at(&bare, 0.5), times_at(&bare, 0.99),
           times_at(&s->t, 0.5) / times_at(&bare, 0.5));
    free(s->io.data);
    free(s->t.us10);
    free(bare.us10);
    free(s);
}

/* -- main ------------------------------------------------------------------ */

static void print_info(struct bench *b)
{
    struct eng_info i;

    eng_info(b->eng, &i);
    printf("%-28s %" PRIu64 " MiB cached, %" PRIu64 " checkpoints, %.1f%% "
           "of the store free\n", "", i.cached >> 20, i.checkpoints,
           100.0 * (double)i.free / (double)i.blocks);
}

static void run_all(struct bench *b)
{
    open_store(b);
    run_creates(b, 0, b->creates, 0);
    print_info(b);
    run_lookups(b, b->creates);
    run_creates(b, b->creates, b->creates / 2, 200);
    run_updates(b, b->creates, b->creates / 4);
    print_info(b);
    run_fsyncs(b, 2000);
    printf("%-28s %.0f ms\n", "clean close", close_store(b));
    printf("%-28s %.1f ms\n", "open again", open_store(b));
    close_store(b);
}

static int usage(void)
{
    fprintf(stderr, "usage: store FILE|DEVICE [--size BYTES] [--creates N] "
                    "[--cache BYTES]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct bench b = {.size = (uint64_t)4 << 30, .creates = 1000000,
                      .cache = (uint64_t)256 << 20};
    struct cfs_err err = {0};
    struct stat st;

    if (argc < 2 || argc % 2 != 0)
        return usage();
    b.path = argv[1];
    for (int i = 2; i < argc; i += 2) {
        uint64_t *to = strcmp(argv[i], "--size") == 0      ? &b.size
                       : strcmp(argv[i], "--creates") == 0 ? &b.creates
                       : strcmp(argv[i], "--cache") == 0   ? &b.cache
                                                           : NULL;

        if (!to || cfs_parse_size(argv[i + 1], to) < 0)
            return usage();
    }
    if (cfs_loop_new(&b.loop, &err) < 0 ||
        cfs_log_open(&b.log, NULL, CFS_LOG_WARNING, CFS_LOG_PLAIN, &err) < 0)
        die("start", err.code, &err);
    make_store(&b);
    printf("aims: 300000 creates/s, none waiting more than 2 ms; lookups "
           "below 1 us;\n      fsync within 1.5 times the bare one; 200 "
           "fsyncs/s cost at most a third\n");
    run_all(&b);
    if (stat(b.path, &st) == 0 && S_ISREG(st.st_mode))
        unlink(b.path);
    cfs_log_close(b.log);
    cfs_loop_free(b.loop);
    return 0;
}
