/* SPDX-License-Identifier: Apache-2.0 */
/* eng_rig.c - see eng_rig.h. */
#include "tests/unit/eng_rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define REC_CHANGE 7

uint64_t rig_random(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* -- the plain map --------------------------------------------------------- */

static int rec_cmp(const struct model_rec *r, struct cfs_blob key)
{
    return blob_cmp((struct cfs_blob){r->key, r->klen}, key);
}

static size_t model_find(const struct model *m, struct cfs_blob key, bool *hit)
{
    size_t lo = 0, hi = m->n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (rec_cmp(&m->v[mid], key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *hit = lo < m->n && rec_cmp(&m->v[lo], key) == 0;
    return lo;
}

static struct model_rec rec_make(struct cfs_blob key, struct cfs_blob val)
{
    struct model_rec r = {.klen = key.len, .vlen = val.len};

    r.key = malloc((size_t)key.len + val.len);
    assert(r.key);
    memcpy(r.key, key.p, key.len);
    if (val.len > 0)
        memcpy(r.key + key.len, val.p, val.len);
    return r;
}

void model_put(struct model *m, struct cfs_blob key, struct cfs_blob val)
{
    bool hit;
    size_t at = model_find(m, key, &hit);

    if (hit) {
        free(m->v[at].key);
    } else {
        if (m->n == m->cap) {
            m->cap = m->cap ? 2 * m->cap : 64;
            m->v = realloc(m->v, m->cap * sizeof *m->v);
            assert(m->v);
        }
        memmove(m->v + at + 1, m->v + at, (m->n - at) * sizeof *m->v);
        m->n++;
    }
    m->v[at] = rec_make(key, val);
}

void model_del(struct model *m, struct cfs_blob key)
{
    bool hit;
    size_t at = model_find(m, key, &hit);

    if (!hit)
        return;
    free(m->v[at].key);
    m->n--;
    memmove(m->v + at, m->v + at + 1, (m->n - at) * sizeof *m->v);
}

const struct model_rec *model_get(const struct model *m, struct cfs_blob key)
{
    bool hit;
    size_t at = model_find(m, key, &hit);

    return hit ? &m->v[at] : NULL;
}

void model_clear(struct model *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->v[i].key);
    free(m->v);
    *m = (struct model){0};
}

void model_copy(struct model *to, const struct model *from)
{
    model_clear(to);
    to->n = to->cap = from->n;
    to->v = calloc(from->n + 1, sizeof *to->v);
    assert(to->v);
    for (size_t i = 0; i < from->n; i++) {
        const struct model_rec *r = &from->v[i];

        to->v[i] = rec_make((struct cfs_blob){r->key, r->klen},
                            (struct cfs_blob){r->key + r->klen, r->vlen});
    }
}

/* -- opening and closing --------------------------------------------------- */

/* Records: per operation u16 key length (0: a free), u32 value length
 * (UINT32_MAX: a delete), key, value. */
static size_t apply_one(struct eng *e, const uint8_t *p, size_t len)
{
    uint16_t klen;
    uint32_t vlen;
    struct cfs_blob key, val;
    struct eng_ext ext;

    if (len < 6)
        return 0;
    memcpy(&klen, p, sizeof klen);
    memcpy(&vlen, p + 2, sizeof vlen);
    if (klen == 0) {
        if (len < 6 + sizeof ext)
            return 0;
        memcpy(&ext, p + 6, sizeof ext);
        eng_free(e, ext);
        return 6 + sizeof ext;
    }
    key = (struct cfs_blob){p + 6, klen};
    if (klen > ENG_KEY_MAX || len < 6u + klen)
        return 0;
    if (vlen == UINT32_MAX) {
        eng_del(e, key);
        return 6u + klen;
    }
    val = (struct cfs_blob){p + 6 + klen, vlen};
    if (vlen > ENG_VALUE_MAX || len < (size_t)6 + klen + vlen)
        return 0;
    eng_put(e, key, val);
    return (size_t)6 + klen + vlen;
}

static int apply(void *ctx, struct eng *e, const struct eng_rec *rec)
{
    struct rig *r = ctx;
    const uint8_t *p, *end;

    if (!rec)
        return 0;
    r->records++;
    if (rec->type != REC_CHANGE)
        return -CFS_E_CORRUPT;
    p = rec->body.p;
    for (end = p + rec->body.len; p < end;) {
        size_t used = apply_one(e, p, (size_t)(end - p));

        if (used == 0)
            return -CFS_E_CORRUPT;
        p += used;
    }
    return 0;
}

void rig_init(struct rig *r, uint64_t size)
{
    struct eng_format f = {.label = "rig"};
    struct cfs_err err = {0};
    struct cfs_dev *dev;
    int rc;

    *r = (struct rig){.conf = eng_config_default};
    r->conf.checkpoint_ms = 3600 * 1000; /* only when asked */
    rc = cfs_loop_new(&r->loop, &err);
    assert(rc == 0);
    rc = cfs_log_open(&r->log, "/dev/null", CFS_LOG_ERROR, CFS_LOG_PLAIN,
                      &err);
    assert(rc == 0);
    if (size == 0)
        return;
    memset(f.brick.b, 0x42, sizeof f.brick.b);
    r->dev = recdev_new(size);
    dev = recdev_open(r->dev);
    rc = eng_mkfs(dev, &f, &err);
    if (rc < 0)
        fprintf(stderr, "mkfs: %s\n", err.text);
    assert(rc == 0);
    dev->ops->close(dev);
}

int rig_open(struct rig *r, struct cfs_err *err)
{
    struct cfs_dev *dev;
    int rc;

    if (!r->image)
        dev = recdev_open(r->dev);
    else if ((rc = cfs_dev_open(r->image, 0, &dev, err)) < 0)
        return rc;
    r->records = 0;
    rc = eng_open(r->loop, r->log, dev, &r->conf, apply, r, &r->eng, err);
    if (rc < 0) {
        r->eng = NULL;
        dev->ops->close(dev);
    }
    return rc;
}

static void on_closed(void *ctx, int status)
{
    struct rig *r = ctx;

    r->closed = true;
    r->status = status;
}

static bool is_closed(void *arg)
{
    return ((struct rig *)arg)->closed;
}

void rig_close(struct rig *r, bool clean)
{
    r->closed = false;
    eng_close(r->eng, clean, on_closed, r);
    cfs_loop_run_until(r->loop, is_closed, r);
    r->eng = NULL;
}

static bool is_idle(void *arg)
{
    const struct eng *e = ((struct rig *)arg)->eng;

    return e->cache.reads == 0 && data_idle(e) && ckpt_idle(e) &&
           discard_idle(e) && !e->jrn.writing && !e->jrn.flushing &&
           cfs_list_empty(&e->ckpt.task.link);
}

void rig_kill(struct rig *r)
{
    recdev_kill(r->dev);
    cfs_loop_run_until(r->loop, is_idle, r);
    eng_drop(r->eng);
    r->eng = NULL;
    r->in_flight = 0;
}

void rig_swap_image(struct rig *r, struct recdev *image)
{
    assert(!r->eng);
    recdev_free(r->dev);
    r->dev = image;
}

void rig_fini(struct rig *r)
{
    if (r->eng)
        rig_close(r, true);
    recdev_free(r->dev);
    model_clear(&r->model);
    cfs_log_close(r->log);
    cfs_loop_free(r->loop);
}

/* -- waiting --------------------------------------------------------------- */

struct rig_one {
    struct eng_done d;
    struct rig     *rig;
};

static void on_done(struct eng_done *d)
{
    struct rig_one *rd = container_of(d, struct rig_one, d);

    rd->rig->status = d->status;
    rd->rig->in_flight--;
    free(rd);
}

struct eng_done *rig_done(struct rig *r)
{
    struct rig_one *rd = calloc(1, sizeof *rd);

    assert(rd);
    rd->rig = r;
    rd->d.done = on_done;
    r->in_flight++;
    return &rd->d;
}

static bool is_settled(void *arg)
{
    const struct rig *r = arg;

    return r->in_flight <= r->left;
}

void rig_settle_to(struct rig *r, unsigned left)
{
    r->left = left;
    cfs_loop_run_until(r->loop, is_settled, r);
}

void rig_settle(struct rig *r)
{
    rig_settle_to(r, 0);
}

static bool flag_is_set(void *arg)
{
    return *(bool *)arg;
}

void rig_run(struct rig *r, bool *until)
{
    cfs_loop_run_until(r->loop, flag_is_set, until);
}

static struct rig *waiting; /* one at a time */

static void on_ready(struct eng_wait *w)
{
    waiting->ready = true;
}

static bool is_ready(void *arg)
{
    return ((struct rig *)arg)->ready;
}

void rig_wait(struct rig *r)
{
    assert(r->n_waits < CFS_ARRAY_SIZE(r->waits));
    waiting = r;
    r->ready = false;
    eng_wait(r->eng, &r->waits[r->n_waits++], on_ready);
    cfs_loop_run_until(r->loop, is_ready, r);
    if (r->n_waits == CFS_ARRAY_SIZE(r->waits))
        rig_wait_end(r);
}

void rig_wait_end(struct rig *r)
{
    while (r->n_waits > 0)
        eng_wait_end(r->eng, &r->waits[--r->n_waits]);
}

/* -- changing -------------------------------------------------------------- */

static size_t encode(const struct rig_op *ops, unsigned n, uint8_t **ret)
{
    size_t len = 0, at = 0;
    uint8_t *buf;

    for (unsigned i = 0; i < n; i++)
        len += 6u + ops[i].key.len + ops[i].val.len + sizeof ops[i].free;
    buf = malloc(len + 1);
    assert(buf);
    for (unsigned i = 0; i < n; i++) {
        uint16_t klen = (uint16_t)ops[i].key.len;
        uint32_t vlen = ops[i].val.p ? ops[i].val.len : UINT32_MAX;

        memcpy(buf + at, &klen, sizeof klen);
        memcpy(buf + at + 2, &vlen, sizeof vlen);
        if (klen > 0)
            memcpy(buf + at + 6, ops[i].key.p, klen);
        at += 6u + klen;
        if (klen == 0) {
            memcpy(buf + at, &ops[i].free, sizeof ops[i].free);
            at += sizeof ops[i].free;
        }
        if (ops[i].val.p) {
            memcpy(buf + at, ops[i].val.p, vlen);
            at += vlen;
        }
    }
    *ret = buf;
    return at;
}

/* 0: admitted, in this turn. */
static int admit(struct rig *r, const struct rig_op *ops, unsigned n,
                 size_t rec, unsigned flags)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < n; i++) {
        int rc = ops[i].key.p ? eng_touch(r->eng, ops[i].key) : 0;

        if (rc < 0)
            return rc;
        bytes += ops[i].key.len + ops[i].val.len;
    }
    return eng_begin(r->eng, n, bytes, rec, flags);
}

int rig_change(struct rig *r, const struct rig_op *ops, unsigned n,
               const struct eng_rec *with, unsigned flags)
{
    struct eng_rec rec = {.type = REC_CHANGE};
    uint8_t *body;
    size_t len = encode(ops, n, &body);
    int rc;

    if (with) {
        rec.ext = with->ext;
        rec.n_ext = with->n_ext;
        rec.sums = with->sums;
        rec.n_sums = with->n_sums;
    }
    while ((rc = admit(r, ops, n,
                       len + rec.n_ext * 12u + rec.n_sums * 8u, flags)) ==
               -CFS_E_MISS &&
           !r->impatient)
        rig_wait(r);
    if (rc == 0) {
        for (unsigned i = 0; i < n; i++) {
            if (!ops[i].key.p) {
                eng_free(r->eng, ops[i].free);
            } else if (ops[i].val.p) {
                eng_put(r->eng, ops[i].key, ops[i].val);
                model_put(&r->model, ops[i].key, ops[i].val);
            } else {
                eng_del(r->eng, ops[i].key);
                model_del(&r->model, ops[i].key);
            }
        }
        rec.body = (struct cfs_blob){body, (uint32_t)len};
        eng_commit(r->eng, &rec, rig_done(r));
    }
    rig_wait_end(r);
    free(body);
    return rc;
}

int rig_put(struct rig *r, struct cfs_blob key, struct cfs_blob val)
{
    struct rig_op op = {.key = key, .val = val};

    return rig_change(r, &op, 1, NULL, 0);
}

int rig_del(struct rig *r, struct cfs_blob key)
{
    struct rig_op op = {.key = key};

    return rig_change(r, &op, 1, NULL, ENG_RESERVE);
}

int rig_get(struct rig *r, struct cfs_blob key, struct cfs_blob *ret)
{
    int rc;

    while ((rc = eng_get(r->eng, key, ret)) == -CFS_E_MISS)
        rig_wait(r);
    rig_wait_end(r);
    return rc;
}

int rig_sync(struct rig *r)
{
    eng_sync(r->eng, rig_done(r));
    rig_settle(r);
    return r->status;
}

int rig_checkpoint(struct rig *r)
{
    eng_checkpoint(r->eng, rig_done(r));
    rig_settle(r);
    return r->status;
}

/* -- looking --------------------------------------------------------------- */

struct match {
    const struct model *m;
    size_t              at;
    uint8_t             last[ENG_KEY_MAX + 1];
    uint32_t            last_len;
};

/* The next key there can be: this one and a zero; behind one of the greatest
 * length, the next of that length. */
static void set_behind(struct match *mt, struct cfs_blob key)
{
    memcpy(mt->last, key.p, key.len);
    mt->last[key.len] = 0;
    mt->last_len = key.len + 1;
    if (key.len < ENG_KEY_MAX)
        return;
    mt->last_len = ENG_KEY_MAX;
    while (mt->last_len > 1 && mt->last[mt->last_len - 1] == 0xff)
        mt->last_len--;
    mt->last[mt->last_len - 1]++;
}

static int match_one(void *ctx, struct cfs_blob key, struct cfs_blob val)
{
    struct match *mt = ctx;
    const struct model_rec *w;

    if (mt->at == mt->m->n)
        return 1;
    w = &mt->m->v[mt->at++];
    if (w->klen != key.len || memcmp(w->key, key.p, key.len) != 0 ||
        w->vlen != val.len ||
        (val.len > 0 && memcmp(w->key + w->klen, val.p, val.len) != 0))
        return 2;
    set_behind(mt, key);
    return 0;
}

bool rig_matches(struct rig *r, const struct model *m)
{
    struct match mt = {.m = m};
    int rc;

    while ((rc = eng_scan(r->eng, (struct cfs_blob){mt.last, mt.last_len},
                          (struct cfs_blob){NULL, 0}, match_one, &mt)) ==
           -CFS_E_MISS)
        rig_wait(r);
    rig_wait_end(r);
    if (rc != 0 || mt.at != m->n) {
        fprintf(stderr, "scan: %d at %zu of %zu\n", rc, mt.at, m->n);
        return false;
    }
    for (size_t i = 0; i < m->n; i += 1 + m->n / 97) {
        const struct model_rec *w = &m->v[i];
        struct cfs_blob val;

        if (rig_get(r, (struct cfs_blob){w->key, w->klen}, &val) != 0 ||
            val.len != w->vlen ||
            (val.len > 0 && memcmp(val.p, w->key + w->klen, val.len) != 0))
            return false;
    }
    return true;
}

struct check {
    struct rig *r;
    unsigned    bad;
    uint64_t    used;
    uint8_t    *map; /* for each block: seen */
};

static void on_bad(void *ctx, const char *fmt, ...)
{
    struct check *c = ctx;
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    c->bad++;
}

static void on_used(void *ctx, struct eng_ext ext, const char *what)
{
    struct check *c = ctx;

    c->used += ext.n;
    for (uint32_t i = 0; i < ext.n; i++) {
        uint8_t *seen = &c->map[ext.lba + i - eng_first_lba(c->r->eng)];

        if (*seen)
            on_bad(c, "block %llu is used twice, now as %s",
                   (unsigned long long)ext.lba + i, what);
        *seen = 1;
    }
}

bool rig_check(struct rig *r, uint64_t data)
{
    struct check c = {.r = r};
    struct eng_check ec = {.ctx = &c, .bad = on_bad, .used = on_used};
    uint64_t first = eng_first_lba(r->eng), end = eng_end_lba(r->eng);
    uint64_t in_use = 0;
    int rc;

    c.map = calloc(end - first, 1);
    assert(c.map);
    rc = eng_check(r->eng, &ec);
    for (uint64_t lba = first; lba < end; lba++)
        in_use += eng_in_use(r->eng, lba);
    free(c.map);
    if (rc == 0 && c.bad == 0 && in_use == c.used + data)
        return true;
    fprintf(stderr, "check: %d, %u bad, %llu in use, %llu seen\n", rc, c.bad,
            (unsigned long long)in_use, (unsigned long long)c.used);
    return false;
}

/* -- data ------------------------------------------------------------------ */

struct rig_io {
    struct eng_io io;
    bool          done;
};

static void on_io(struct eng_io *io)
{
    container_of(io, struct rig_io, io)->done = true;
}

static bool io_is_done(void *arg)
{
    return ((struct rig_io *)arg)->done;
}

int rig_write_data(struct rig *r, struct eng_ext ext, const uint8_t *data)
{
    struct rig_io io = {.io = {.ext = ext, .data = (uint8_t *)(uintptr_t)data,
                               .done = on_io}};

    eng_data_write(r->eng, &io.io);
    cfs_loop_run_until(r->loop, io_is_done, &io);
    return io.io.status;
}

int rig_read_data(struct rig *r, struct eng_ext ext, uint8_t *data)
{
    struct rig_io io = {.io = {.ext = ext, .data = data, .done = on_io}};

    eng_data_read(r->eng, &io.io);
    cfs_loop_run_until(r->loop, io_is_done, &io);
    return io.io.status;
}
