/* SPDX-License-Identifier: Apache-2.0 */
/* fake_eng.c - see fake_eng.h. */
#include "tests/unit/fake_eng.h"

#include <stdlib.h>
#include <xxhash.h>

#define BLOCKS_FROM 4096u /* the first that is handed out */

struct item {
    uint8_t *key;
    uint8_t *value;
    uint32_t key_len;
    uint32_t value_len;
};

struct map {
    struct item *item;
    size_t       n, cap;
};

struct fake_rec {
    struct eng_rec rec; /* owns what it points to */
};

/* What is on the device. */
static struct disk {
    bool             made;
    struct eng_format format;
    struct map       tree; /* of the last checkpoint */
    struct fake_rec *rec;
    size_t           n_rec, cap_rec;
    uint8_t         *used; /* one byte a block */
    uint64_t         incarnation;
    uint64_t         pos;
} disk;

static struct {
    unsigned miss, slow, ckpt;
    uint64_t seed;
    unsigned missed;
} chance;

struct eng {
    struct cfs_loop  *loop;
    struct cfs_dev   *dev;
    struct eng_config conf;
    struct map        tree;
    struct eng_ext   *freed; /* reusable after the next checkpoint */
    size_t            n_freed, cap_freed;
    struct cfs_hook   hook;
    struct cfs_list   commits; /* eng_done */
    struct cfs_list   waits;   /* struct fake_wait */
    struct cfs_timer  timer;   /* lets waits go */
    uint64_t          missed_key; /* the last one; 0: space */
    uint64_t          durable;
    uint64_t          blocks;
    bool              replaying;
    void (*on_freeze)(void *ctx);
    void             *freeze_ctx;
    unsigned          since_ckpt;
};

/* eng_wait.impl */
struct fake_wait {
    struct cfs_list  link;
    struct eng_wait *w;
    uint64_t         key; /* pinned */
    bool             told;
};

const struct eng_config eng_config_default = {
    .cache_size = 1 << 20, .checkpoint_ms = 5000};

static void *xrealloc(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p && size > 0)
        abort();
    return p;
}

static uint64_t rnd(void)
{
    chance.seed = chance.seed * UINT64_C(6364136223846793005) + 1;
    return chance.seed >> 33;
}

void fake_eng_chances(unsigned miss, unsigned slow, unsigned ckpt,
                      uint64_t seed)
{
    chance.miss = miss;
    chance.slow = slow;
    chance.ckpt = ckpt;
    chance.seed = seed;
    chance.missed = 0;
}

unsigned fake_eng_missed(void)
{
    return chance.missed;
}

/* -- the map -------------------------------------------------------------- */

static int key_cmp(const struct item *i, struct cfs_blob key)
{
    size_t n = i->key_len < key.len ? i->key_len : key.len;
    int c = memcmp(i->key, key.p, n);

    if (c != 0)
        return c;
    return i->key_len < key.len ? -1 : i->key_len > key.len;
}

/* The first item that is not below @key. */
static size_t map_find(const struct map *m, struct cfs_blob key)
{
    size_t lo = 0, hi = m->n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (key_cmp(&m->item[mid], key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool map_has(const struct map *m, size_t at, struct cfs_blob key)
{
    return at < m->n && key_cmp(&m->item[at], key) == 0;
}

static uint8_t *dup(const void *p, size_t len)
{
    uint8_t *d = xrealloc(NULL, len ? len : 1);

    if (len > 0)
        memcpy(d, p, len);
    return d;
}

static void map_put(struct map *m, struct cfs_blob key, struct cfs_blob value)
{
    size_t at = map_find(m, key);

    if (map_has(m, at, key)) {
        free(m->item[at].value);
    } else {
        if (m->n == m->cap) {
            m->cap = m->cap ? 2 * m->cap : 64;
            m->item = xrealloc(m->item, m->cap * sizeof *m->item);
        }
        memmove(&m->item[at + 1], &m->item[at],
                (m->n - at) * sizeof *m->item);
        m->n++;
        m->item[at].key = dup(key.p, key.len);
        m->item[at].key_len = key.len;
    }
    m->item[at].value = dup(value.p, value.len);
    m->item[at].value_len = value.len;
}

static void map_del(struct map *m, struct cfs_blob key)
{
    size_t at = map_find(m, key);

    if (!map_has(m, at, key))
        return;
    free(m->item[at].key);
    free(m->item[at].value);
    m->n--;
    memmove(&m->item[at], &m->item[at + 1], (m->n - at) * sizeof *m->item);
}

static void map_free(struct map *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free(m->item[i].key);
        free(m->item[i].value);
    }
    free(m->item);
    *m = (struct map){0};
}

static void map_copy(struct map *to, const struct map *from)
{
    map_free(to);
    for (size_t i = 0; i < from->n; i++) {
        const struct item *it = &from->item[i];

        map_put(to, (struct cfs_blob){it->key, it->key_len},
                (struct cfs_blob){it->value, it->value_len});
    }
}

uint64_t fake_eng_digest(const struct eng *e, const char *tables)
{
    XXH3_state_t *s = XXH3_createState();
    uint64_t sum;

    XXH3_64bits_reset(s);
    for (size_t i = 0; i < e->tree.n; i++) {
        const struct item *it = &e->tree.item[i];

        if (strchr(tables, it->key[0]))
            continue;
        XXH3_64bits_update(s, it->key, it->key_len);
        XXH3_64bits_update(s, it->value, it->value_len);
    }
    sum = XXH3_64bits_digest(s);
    XXH3_freeState(s);
    return sum;
}

/* -- missing -------------------------------------------------------------- */

static uint64_t key_hash(struct cfs_blob key)
{
    return XXH3_64bits(key.p, key.len) | 1;
}

static bool pinned(const struct eng *e, uint64_t key)
{
    cfs_list_for_each(it, &e->waits)
        if (cfs_list_entry(it, struct fake_wait, link)->key == key)
            return true;
    return false;
}

static bool misses(struct eng *e, struct cfs_blob key)
{
    if (e->replaying || e->conf.blocking || chance.miss == 0 ||
        rnd() % chance.miss != 0 || pinned(e, key_hash(key)))
        return false;
    e->missed_key = key_hash(key);
    chance.missed++;
    return true;
}

static bool must_slow(struct eng *e)
{
    if (e->replaying || e->conf.blocking || chance.slow == 0 ||
        rnd() % chance.slow != 0)
        return false;
    e->missed_key = 0;
    chance.missed++;
    return true;
}

static void on_timer(struct cfs_timer *t)
{
    struct eng *e = container_of(t, struct eng, timer);
    bool again = false;

    cfs_list_for_each_safe(it, &e->waits) {
        struct fake_wait *f = cfs_list_entry(it, struct fake_wait, link);

        if (f->told)
            continue;
        if (rnd() % 2 == 0) {
            again = true;
            continue;
        }
        f->told = true;
        f->w->ready(f->w);
    }
    if (again)
        cfs_timer_start(&e->timer, 0);
}

void eng_wait(struct eng *e, struct eng_wait *w,
              void (*ready)(struct eng_wait *))
{
    struct fake_wait *f = xrealloc(NULL, sizeof *f);

    *f = (struct fake_wait){.w = w, .key = e->missed_key};
    w->impl = f;
    w->ready = ready;
    cfs_list_add_tail(&e->waits, &f->link);
    if (!cfs_timer_active(&e->timer))
        cfs_timer_start(&e->timer, 0);
}

void eng_wait_end(struct eng *e, struct eng_wait *w)
{
    struct fake_wait *f = w->impl;

    cfs_list_del(&f->link);
    free(f);
}

/* -- reading -------------------------------------------------------------- */

int eng_get(struct eng *e, struct cfs_blob key, struct cfs_blob *ret)
{
    size_t at = map_find(&e->tree, key);

    assert(key.len > 0 && key.len <= ENG_KEY_MAX);
    if (misses(e, key))
        return -CFS_E_MISS;
    if (!map_has(&e->tree, at, key))
        return -ENOENT;
    *ret = (struct cfs_blob){e->tree.item[at].value,
                             e->tree.item[at].value_len};
    return 0;
}

int eng_scan(struct eng *e, struct cfs_blob lo, struct cfs_blob hi,
             eng_each *fn, void *ctx)
{
    if (misses(e, lo))
        return -CFS_E_MISS;
    for (size_t at = map_find(&e->tree, lo); at < e->tree.n; at++) {
        const struct item *it = &e->tree.item[at];
        struct cfs_blob key = {it->key, it->key_len};
        int rc;

        if (hi.len > 0 && key_cmp(it, hi) >= 0)
            break;
        if (misses(e, key))
            return -CFS_E_MISS;
        rc = fn(ctx, key, (struct cfs_blob){it->value, it->value_len});
        if (rc != 0)
            return rc;
    }
    return 0;
}

int eng_touch(struct eng *e, struct cfs_blob key)
{
    return misses(e, key) ? -CFS_E_MISS : 0;
}

void eng_prefetch(struct eng *e, struct cfs_blob key)
{
    assert(key.len > 0 && key.len <= ENG_KEY_MAX);
}

/* -- changing ------------------------------------------------------------- */

int eng_begin(struct eng *e, unsigned puts, size_t bytes, size_t rec,
              unsigned flags)
{
    return must_slow(e) ? -CFS_E_MISS : 0;
}

void eng_put(struct eng *e, struct cfs_blob key, struct cfs_blob value)
{
    assert(key.len > 0 && key.len <= ENG_KEY_MAX);
    assert(value.len <= ENG_VALUE_MAX);
    map_put(&e->tree, key, value);
}

void eng_del(struct eng *e, struct cfs_blob key)
{
    map_del(&e->tree, key);
}

static void use(struct eng_ext ext, bool used)
{
    for (uint32_t i = 0; i < ext.n; i++) {
        assert(disk.used[ext.lba + i] != used); /* twice */
        disk.used[ext.lba + i] = used;
    }
}

static void forget_recs(void)
{
    for (size_t i = 0; i < disk.n_rec; i++) {
        free((void *)disk.rec[i].rec.ext);
        free((void *)disk.rec[i].rec.sums);
        free((void *)disk.rec[i].rec.body.p);
    }
    disk.n_rec = 0;
}

static void checkpoint(struct eng *e)
{
    if (e->on_freeze)
        e->on_freeze(e->freeze_ctx);
    map_copy(&disk.tree, &e->tree);
    forget_recs();
    for (size_t i = 0; i < e->n_freed; i++)
        use(e->freed[i], false);
    e->n_freed = 0;
    e->durable = disk.pos;
    e->since_ckpt = 0;
}

static void done_task(struct cfs_task *t)
{
    struct eng_done *d = container_of(t, struct eng_done, task);

    d->done(d);
}

static void post_done(struct eng *e, struct eng_done *d)
{
    d->status = 0;
    cfs_task_init(&d->task, done_task);
    cfs_task_post(e->loop, &d->task);
}

static void on_commit(struct cfs_hook *h)
{
    struct eng *e = container_of(h, struct eng, hook);
    struct cfs_list *it;

    while ((it = cfs_list_pop(&e->commits)) != NULL)
        post_done(e, cfs_list_entry(it, struct eng_done, link));
    if (chance.ckpt > 0 && e->since_ckpt > 0 && rnd() % chance.ckpt == 0)
        checkpoint(e);
}

uint64_t eng_commit(struct eng *e, const struct eng_rec *rec,
                    struct eng_done *d)
{
    struct eng_rec *r;
    uint64_t pos = disk.pos;

    if (disk.n_rec == disk.cap_rec) {
        disk.cap_rec = disk.cap_rec ? 2 * disk.cap_rec : 64;
        disk.rec = xrealloc(disk.rec, disk.cap_rec * sizeof *disk.rec);
    }
    r = &disk.rec[disk.n_rec++].rec;
    *r = *rec;
    r->pos = pos;
    r->ext = (void *)dup(rec->ext, rec->n_ext * sizeof *rec->ext);
    r->sums = (void *)dup(rec->sums, rec->n_sums * sizeof *rec->sums);
    r->body.p = dup(rec->body.p, rec->body.len);
    disk.pos += 64 + rec->body.len;
    e->since_ckpt++;
    if (d) {
        d->pos = pos;
        cfs_list_init(&d->link);
        cfs_list_add_tail(&e->commits, &d->link);
    }
    cfs_hook_ask(e->loop, &e->hook);
    return pos;
}

uint64_t eng_pos(const struct eng *e)
{
    return disk.pos;
}

uint64_t eng_durable(const struct eng *e)
{
    return e->durable;
}

uint64_t eng_incarnation(const struct eng *e)
{
    return disk.incarnation;
}

void eng_sync(struct eng *e, struct eng_done *d)
{
    e->durable = disk.pos;
    post_done(e, d);
}

void eng_checkpoint(struct eng *e, struct eng_done *d)
{
    checkpoint(e);
    if (d)
        post_done(e, d);
}

void eng_on_freeze(struct eng *e, void (*fn)(void *ctx), void *ctx)
{
    e->on_freeze = fn;
    e->freeze_ctx = ctx;
}

void eng_look_ahead(struct eng *e,
                    void (*look)(void *ctx, const struct eng_rec *rec),
                    void *ctx)
{
    /* Everything is in memory. */
}

void eng_before_freeze(struct eng *e, int (*fn)(void *ctx))
{
    /* Its freezes miss nothing. */
}

bool eng_side_by_side(struct eng *e, struct cfs_blob a, struct cfs_blob b)
{
    return false;
}

unsigned eng_freeze_puts(const struct eng *e)
{
    return 64;
}

bool eng_freeze_room(const struct eng *e)
{
    return true;
}

/* -- data ----------------------------------------------------------------- */

static uint64_t count_free(const struct eng *e)
{
    uint64_t n = 0;

    for (uint64_t i = BLOCKS_FROM; i < e->blocks; i++)
        n += !disk.used[i];
    return n;
}

int eng_alloc(struct eng *e, uint32_t n, uint64_t goal, unsigned flags,
              struct eng_ext *ret, unsigned max, unsigned *ret_n)
{
    unsigned got = 0;

    if (must_slow(e))
        return -CFS_E_MISS;
    if (count_free(e) < n)
        checkpoint(e);
    if (count_free(e) < n)
        return -ENOSPC;
    for (uint64_t i = BLOCKS_FROM; n > 0; i++) {
        struct eng_ext *last = got ? &ret[got - 1] : NULL;

        if (disk.used[i])
            continue;
        disk.used[i] = 1;
        n--;
        if (last && last->lba + last->n == i) {
            last->n++;
        } else {
            assert(got < max);
            ret[got++] = (struct eng_ext){i, 1};
        }
    }
    *ret_n = got;
    return 0;
}

void eng_unalloc(struct eng *e, struct eng_ext ext)
{
    use(ext, false);
}

bool eng_ext_valid(const struct eng *e, struct eng_ext ext)
{
    return ext.n > 0 && ext.lba >= BLOCKS_FROM &&
           ext.lba < e->blocks && ext.n <= e->blocks - ext.lba;
}

void eng_free(struct eng *e, struct eng_ext ext)
{
    for (uint32_t i = 0; i < ext.n; i++)
        assert(disk.used[ext.lba + i]);
    if (e->n_freed == e->cap_freed) {
        e->cap_freed = e->cap_freed ? 2 * e->cap_freed : 64;
        e->freed = xrealloc(e->freed, e->cap_freed * sizeof *e->freed);
    }
    e->freed[e->n_freed++] = ext;
}

static void io_task(struct cfs_task *t)
{
    struct eng_io *io = container_of(t, struct eng_io, task);

    io->done(io);
}

static void do_io(struct eng *e, struct eng_io *io, bool write)
{
    size_t len = (size_t)io->ext.n * CFS_BLOCK;
    struct iovec iov = {io->data, len};

    assert((uintptr_t)io->data % CFS_BLOCK == 0);
    assert(io->ext.n > 0 && disk.used[io->ext.lba]);
    if (write)
        io->status = eng_io_verify(io);
    if (write && io->status == 0)
        io->status = e->dev->ops->write(e->dev, CFS_DEV_BUFFERED,
                                        io->ext.lba * CFS_BLOCK, &iov, 1,
                                        len);
    else if (!write)
        io->status = e->dev->ops->read(e->dev, CFS_DEV_BUFFERED,
                                       io->ext.lba * CFS_BLOCK, io->data,
                                       len);
    if (!write && io->status == 0)
        io->status = eng_io_verify(io);
    cfs_task_init(&io->task, io_task);
    cfs_task_post(e->loop, &io->task);
}

void eng_data_read(struct eng *e, struct eng_io *io)
{
    do_io(e, io, false);
}

void eng_data_write(struct eng *e, struct eng_io *io)
{
    do_io(e, io, true);
}

/* -- life ----------------------------------------------------------------- */

int eng_mkfs(struct cfs_dev *dev, const struct eng_format *f,
             struct cfs_err *err)
{
    fake_eng_forget();
    disk.made = true;
    disk.format = *f;
    disk.used = calloc(1, dev->size / CFS_BLOCK);
    disk.pos = 1;
    return disk.used ? 0 : -ENOMEM;
}

void fake_eng_forget(void)
{
    map_free(&disk.tree);
    forget_recs();
    free(disk.rec);
    free(disk.used);
    disk = (struct disk){0};
}

static int replay_all(struct eng *e, eng_replay *replay, void *ctx)
{
    int rc;

    e->replaying = true;
    rc = replay(ctx, e, NULL);
    for (size_t i = 0; i < disk.n_rec && rc == 0; i++)
        rc = replay(ctx, e, &disk.rec[i].rec);
    e->replaying = false;
    return rc;
}

int eng_load(struct cfs_loop *loop, struct cfs_log *log, struct cfs_dev *dev,
             const struct eng_config *config, eng_replay *replay, void *ctx,
             struct eng **ret, struct cfs_err *err)
{
    struct eng *e = calloc(1, sizeof *e);
    int rc;

    assert(disk.made && e);
    e->loop = loop;
    e->dev = dev;
    e->conf = *config;
    e->blocks = dev->size / CFS_BLOCK;
    e->durable = disk.pos;
    cfs_hook_init(&e->hook, CFS_STAGE_COMMIT, on_commit);
    cfs_list_init(&e->commits);
    cfs_list_init(&e->waits);
    cfs_timer_init(loop, &e->timer, on_timer);
    map_copy(&e->tree, &disk.tree);
    disk.incarnation++;
    *ret = e;
    rc = replay_all(e, replay, ctx);
    if (rc < 0) {
        map_free(&e->tree);
        free(e->freed);
        cfs_timer_fini(&e->timer);
        free(e);
        return cfs_err_set(err, rc, "replay");
    }
    return 0;
}

void eng_start(struct eng *e)
{
}

/* A close that waits for a turn, as the real one does. */
struct closing {
    struct cfs_task task;
    struct eng     *e;
    void (*done)(void *ctx, int status);
    void           *ctx;
};

static void close_task(struct cfs_task *t)
{
    struct closing c = *container_of(t, struct closing, task);
    struct eng *e = c.e;

    assert(cfs_list_empty(&e->waits));
    free(container_of(t, struct closing, task));
    e->dev->ops->close(e->dev);
    map_free(&e->tree);
    free(e->freed);
    cfs_timer_fini(&e->timer);
    cfs_hook_cancel(&e->hook);
    free(e);
    c.done(c.ctx, 0);
}

void eng_close(struct eng *e, bool clean, void (*done)(void *ctx, int status),
               void *ctx)
{
    struct closing *c = xrealloc(NULL, sizeof *c);

    if (clean)
        checkpoint(e);
    *c = (struct closing){.e = e, .done = done, .ctx = ctx};
    cfs_task_init(&c->task, close_task);
    cfs_task_post(e->loop, &c->task);
}

void eng_want_packs(struct eng *e)
{
}

bool eng_packs(const struct eng *e)
{
    return true;
}

uint64_t eng_growable(const struct eng *e)
{
    return 0; /* its device has all its blocks */
}

void eng_info(const struct eng *e, struct eng_info *ret)
{
    *ret = (struct eng_info){
        .format = disk.format,
        .blocks = e->blocks - BLOCKS_FROM,
        .free = e->blocks - BLOCKS_FROM,
    };
}

uint64_t eng_io_oldest(const struct eng *e)
{
    return UINT64_MAX;
}

const char *eng_poison_reason(const struct eng *e)
{
    return "";
}

void eng_on_poison(struct eng *e, void (*fn)(void *ctx, int status),
                   void *ctx)
{
}
