/* SPDX-License-Identifier: Apache-2.0 */
/* recdev.c - the recorder and its power cuts.
 *
 * The image lies in a memfd. A cut maps what was durable privately and puts
 * pieces of the writes since on top, so that an image costs only what differs.
 */
#include "tests/unit/recdev.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/loop.h"

#define PIECE 512u

struct event {
    uint64_t off;
    size_t   len;    /* 0: a flush */
    size_t   covers; /* a flush: the events that it made durable */
    bool     lost;   /* a write that a flush failed to make durable */
    uint8_t *data;   /* NULL: discarded */
};

struct fault {
    uint64_t after;
    uint64_t times;
};

struct recdev {
    uint64_t        size;
    uint8_t        *bytes;
    uint8_t        *base; /* as it was when recording began */
    int             base_fd;
    bool            recording;
    bool            dead;
    bool            block;
    uint64_t        discarded;
    bool            cached; /* everything is in the page cache */
    struct event   *ev;
    size_t          n;
    size_t          cap;
    size_t          covered;    /* events that flushes covered or lost */
    size_t          flush_from; /* what flushes cover, at most */
    struct fault    fault[RECDEV_FAULTS];
    unsigned        failed;
    unsigned        torn; /* blocks */
    bool            held[RECDEV_FAULTS];
    bool            stalled;
    bool            file_too;
    uint64_t        stalled_at;
    pthread_mutex_t lock;
    pthread_cond_t  let_go;
};

struct recdev_handle {
    struct cfs_dev dev;
    struct recdev *r;
};

static struct recdev *of(struct cfs_dev *d)
{
    return container_of(d, struct recdev_handle, dev)->r;
}

/* Whether the next operation of @kind fails. Under the lock. */
static bool fails(struct recdev *r, enum recdev_fault kind)
{
    struct fault *f = &r->fault[kind];

    if (f->times == 0 || r->dead)
        return false;
    if (f->after > 0) {
        f->after--;
        return false;
    }
    f->times--;
    r->failed++;
    return true;
}

static void wait_while_held(struct recdev *r, enum recdev_fault kind)
{
    while (r->held[kind])
        pthread_cond_wait(&r->let_go, &r->lock);
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * CFS_SEC + (uint64_t)ts.tv_nsec;
}

/* @cached: what the page cache takes. */
static void wait_while_stalled(struct recdev *r, bool cached)
{
    while (r->stalled &&
           (!cached || (r->file_too &&
                        now_ns() - r->stalled_at > 200 * CFS_MS)))
        pthread_cond_wait(&r->let_go, &r->lock);
}

static struct event *add_event(struct recdev *r)
{
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 1024;
        r->ev = realloc(r->ev, r->cap * sizeof *r->ev);
        assert(r->ev);
    }
    r->ev[r->n] = (struct event){0};
    return &r->ev[r->n++];
}

/* -- the device ----------------------------------------------------------- */

static int rec_read(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                    void *buf, size_t len)
{
    struct recdev *r = of(d);
    int rc = 0;

    assert(off <= r->size && len <= r->size - off);
    pthread_mutex_lock(&r->lock);
    if (via != CFS_DEV_CACHED) {
        wait_while_held(r, RECDEV_READ);
        wait_while_stalled(r, false);
    }
    if (via == CFS_DEV_CACHED && !r->cached)
        rc = -EAGAIN;
    else if (fails(r, RECDEV_READ))
        rc = -EIO;
    else
        memcpy(buf, r->bytes + off, len);
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static void record(struct recdev *r, uint64_t off, size_t len)
{
    struct event *ev = add_event(r);

    ev->off = off;
    ev->len = len;
    ev->data = malloc(len);
    assert(ev->data);
    memcpy(ev->data, r->bytes + off, len);
}

static int rec_write(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                     const struct iovec *iov, int n_iov, size_t len)
{
    struct recdev *r = of(d);
    uint64_t at = off;
    int rc = 0;

    assert(off % CFS_BLOCK == 0 && len % CFS_BLOCK == 0);
    assert(off <= r->size && len <= r->size - off);
    pthread_mutex_lock(&r->lock);
    wait_while_held(r, RECDEV_WRITE);
    wait_while_stalled(r, via == CFS_DEV_BUFFERED);
    if (fails(r, RECDEV_WRITE)) {
        rc = -EIO;
    } else if (!r->dead && !fails(r, RECDEV_LOSE)) {
        for (int i = 0; i < n_iov; i++) {
            memcpy(r->bytes + at, iov[i].iov_base, iov[i].iov_len);
            at += iov[i].iov_len;
        }
        if (r->recording)
            record(r, off, len);
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int rec_flush(struct cfs_dev *d)
{
    struct recdev *r = of(d);
    int rc = 0;

    pthread_mutex_lock(&r->lock);
    wait_while_held(r, RECDEV_FLUSH);
    wait_while_stalled(r, false);
    if (fails(r, RECDEV_FLUSH)) {
        for (size_t i = r->covered; i < r->n; i++)
            r->ev[i].lost = true;
        r->covered = r->n;
        rc = -EIO;
    } else if (r->recording && !r->dead && !fails(r, RECDEV_NO_FLUSH)) {
        size_t covers = r->n < r->flush_from ? r->n : r->flush_from;

        if (covers > r->covered)
            r->covered = covers;
        add_event(r)->covers = covers;
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int rec_range(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    return 0;
}

static uint8_t garbage(const struct recdev *r)
{
    return r->block ? 0xdb : 0;
}

static int rec_discard(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    struct recdev *r = of(d);
    int rc = 0;

    assert(off % CFS_BLOCK == 0 && len % CFS_BLOCK == 0 && len > 0);
    assert(off <= r->size && len <= r->size - off);
    pthread_mutex_lock(&r->lock);
    wait_while_held(r, RECDEV_DISCARD);
    wait_while_stalled(r, false);
    if (fails(r, RECDEV_DISCARD)) {
        rc = -EOPNOTSUPP;
    } else if (!r->dead) {
        memset(r->bytes + off, garbage(r), len);
        r->discarded += len;
        if (r->recording) {
            struct event *ev = add_event(r);

            ev->off = off;
            ev->len = len;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int rec_wait_out(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    struct recdev *r = of(d);

    pthread_mutex_lock(&r->lock);
    wait_while_stalled(r, false);
    pthread_mutex_unlock(&r->lock);
    return 0;
}

static int rec_allocate(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    struct recdev *r = of(d);
    int rc;

    pthread_mutex_lock(&r->lock);
    wait_while_held(r, RECDEV_ALLOCATE);
    rc = fails(r, RECDEV_ALLOCATE) ? -ENOSPC : 0;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static void rec_close(struct cfs_dev *d)
{
    free(container_of(d, struct recdev_handle, dev));
}

static const struct cfs_dev_ops rec_ops = {
    .read = rec_read,
    .read_many = cfs_dev_read_each,
    .write = rec_write,
    .start_write_out = rec_range,
    .wait_write_out = rec_wait_out,
    .flush = rec_flush,
    .drop_cache = rec_flush,
    .allocate = rec_allocate,
    .discard = rec_discard,
    .close = rec_close,
};

struct cfs_dev *recdev_open(struct recdev *r)
{
    struct recdev_handle *h = calloc(1, sizeof *h);

    assert(h);
    r->dead = false;
    h->r = r;
    h->dev = (struct cfs_dev){.ops = &rec_ops, .size = r->size,
                              .is_file = !r->block, .path = "recorded"};
    return &h->dev;
}

/* -- the image ------------------------------------------------------------ */

static uint8_t *map(uint64_t size, int flags, int fd)
{
    uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

    assert(p != MAP_FAILED);
    return p;
}

static struct recdev *make(uint64_t size)
{
    struct recdev *r = calloc(1, sizeof *r);

    assert(r);
    r->size = size;
    r->base_fd = -1;
    r->flush_from = SIZE_MAX;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->let_go, NULL);
    return r;
}

struct recdev *recdev_new(uint64_t size)
{
    struct recdev *r = make(size);

    r->bytes = map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    return r;
}

static void forget_events(struct recdev *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->ev[i].data);
    r->n = r->covered = 0;
    if (r->base) {
        munmap(r->base, r->size);
        close(r->base_fd);
        r->base = NULL;
    }
}

void recdev_free(struct recdev *r)
{
    if (!r)
        return;
    forget_events(r);
    free(r->ev);
    munmap(r->bytes, r->size);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->let_go);
    free(r);
}

void recdev_block(struct recdev *r, bool on)
{
    r->block = on;
}

uint64_t recdev_discarded(struct recdev *r)
{
    uint64_t n;

    pthread_mutex_lock(&r->lock);
    n = r->discarded;
    pthread_mutex_unlock(&r->lock);
    return n;
}

uint8_t *recdev_bytes(struct recdev *r)
{
    return r->bytes;
}

uint64_t recdev_size(const struct recdev *r)
{
    return r->size;
}

/* Copy only what is not zero: images are mostly empty. */
static void copy_blocks(uint8_t *to, const uint8_t *from, uint64_t size)
{
    static const uint8_t zero[CFS_BLOCK];

    for (uint64_t at = 0; at < size; at += CFS_BLOCK) {
        if (memcmp(from + at, zero, CFS_BLOCK) != 0)
            memcpy(to + at, from + at, CFS_BLOCK);
    }
}

void recdev_resize(struct recdev *r, uint64_t size, uint8_t fill)
{
    uint64_t keep = size < r->size ? size : r->size;
    uint8_t *bytes = map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                         -1);

    forget_events(r);
    r->recording = false;
    copy_blocks(bytes, r->bytes, keep);
    if (fill != 0)
        memset(bytes + keep, fill, size - keep);
    munmap(r->bytes, r->size);
    r->bytes = bytes;
    r->size = size;
}

static int memfd(uint64_t size)
{
    int fd = memfd_create("recdev", MFD_CLOEXEC);
    int rc = ftruncate(fd, (off_t)size);

    assert(fd >= 0 && rc == 0);
    return fd;
}

void recdev_record(struct recdev *r)
{
    forget_events(r);
    r->base_fd = memfd(r->size);
    r->base = map(r->size, MAP_SHARED, r->base_fd);
    copy_blocks(r->base, r->bytes, r->size);
    r->recording = true;
}

size_t recdev_events(struct recdev *r)
{
    size_t n;

    pthread_mutex_lock(&r->lock);
    n = r->n;
    pthread_mutex_unlock(&r->lock);
    return n;
}

bool recdev_is_flush(const struct recdev *r, size_t event)
{
    return event < r->n && r->ev[event].len == 0;
}

void recdev_cached(struct recdev *r, bool on)
{
    r->cached = on;
}

void recdev_flush_from(struct recdev *r, size_t event)
{
    r->flush_from = event;
}

const uint8_t *recdev_event(const struct recdev *r, size_t event,
                            uint64_t *ret_off, size_t *ret_len)
{
    const struct event *ev = &r->ev[event];

    assert(event < r->n);
    *ret_off = ev->off;
    *ret_len = ev->len;
    return ev->data;
}

void recdev_fail(struct recdev *r, enum recdev_fault kind, uint64_t after,
                 uint64_t times)
{
    pthread_mutex_lock(&r->lock);
    r->fault[kind] = (struct fault){after, times};
    pthread_mutex_unlock(&r->lock);
}

unsigned recdev_failed(struct recdev *r)
{
    unsigned n;

    pthread_mutex_lock(&r->lock);
    n = r->failed;
    pthread_mutex_unlock(&r->lock);
    return n;
}

void recdev_hold(struct recdev *r, enum recdev_fault kind, bool on)
{
    pthread_mutex_lock(&r->lock);
    r->held[kind] = on;
    pthread_cond_broadcast(&r->let_go);
    pthread_mutex_unlock(&r->lock);
}

void recdev_stall(struct recdev *r, bool on, bool file_too)
{
    pthread_mutex_lock(&r->lock);
    r->stalled = on;
    r->file_too = file_too;
    r->stalled_at = now_ns();
    pthread_cond_broadcast(&r->let_go);
    pthread_mutex_unlock(&r->lock);
}

void recdev_kill(struct recdev *r)
{
    pthread_mutex_lock(&r->lock);
    r->dead = true;
    pthread_mutex_unlock(&r->lock);
}

/* -- power cuts ----------------------------------------------------------- */

struct reccut {
    const struct recdev *r;
    uint8_t             *durable; /* shared mapping of fd */
    int                  fd;
    size_t               done; /* events below this are in durable */
    size_t               seen; /* events looked at for flushes */
};

struct reccut *reccut_new(const struct recdev *r)
{
    struct reccut *c = calloc(1, sizeof *c);

    assert(c && r->base);
    c->r = r;
    c->fd = memfd(r->size);
    c->durable = map(r->size, MAP_SHARED, c->fd);
    copy_blocks(c->durable, r->base, r->size);
    return c;
}

void reccut_free(struct reccut *c)
{
    munmap(c->durable, c->r->size);
    close(c->fd);
    free(c);
}

static uint64_t next_random(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* The blocks of a discard that have lost their bytes. */
static void discard(const struct recdev *r, uint8_t *bytes, size_t event,
                    uint64_t rnd)
{
    const struct event *ev = &r->ev[event];

    rnd ^= event * 0x2545f4914f6cdd1dull;
    for (size_t at = 0; at < ev->len; at += CFS_BLOCK)
        if (next_random(&rnd) % 2)
            memset(bytes + ev->off + at, garbage(r), CFS_BLOCK);
}

/* Everything that a flush before @event covers is durable. */
static void advance(struct reccut *c, size_t event)
{
    size_t covered = c->done;

    assert(event >= c->seen);
    for (; c->seen < event; c->seen++) {
        const struct event *ev = &c->r->ev[c->seen];

        if (ev->len == 0 && ev->covers > covered)
            covered = ev->covers;
    }
    for (; c->done < covered; c->done++) {
        const struct event *ev = &c->r->ev[c->done];

        if (ev->len > 0 && !ev->data)
            discard(c->r, c->durable, c->done, 0);
        else if (ev->len > 0 && !(ev->lost && c->done % 2))
            memcpy(c->durable + ev->off, ev->data, ev->len);
    }
}

/* How a seed treats what was not flushed: pieces or whole blocks or whole
 * writes, and how many of them survive. */
struct mood {
    size_t   grain;
    unsigned chance; /* of 256 */
};

static struct mood mood_of(uint64_t *rnd)
{
    static const unsigned chances[] = {0, 256, 128, 128, 32, 224};
    static const size_t grains[] = {PIECE, CFS_BLOCK, SIZE_MAX};
    uint64_t v = next_random(rnd);

    return (struct mood){grains[v % 3], chances[(v >> 8) % 6]};
}

/* Pieces of the write at hand that are there, block by block. */
static void count_torn(struct recdev *r, size_t at, size_t n, bool there,
                       unsigned *pieces)
{
    *pieces += there;
    if ((at + n) % CFS_BLOCK != 0)
        return;
    r->torn += *pieces > 0 && *pieces < CFS_BLOCK / PIECE;
    *pieces = 0;
}

static struct recdev *image(struct reccut *c, size_t event, struct mood m,
                            uint64_t rnd)
{
    struct recdev *r = make(c->r->size);

    r->block = c->r->block;
    advance(c, event);
    r->bytes = map(r->size, MAP_PRIVATE | MAP_NORESERVE, c->fd);
    for (size_t i = c->done; i < event; i++) {
        const struct event *ev = &c->r->ev[i];
        unsigned pieces = 0;
        size_t n;

        if (!ev->data && ev->len > 0) {
            discard(c->r, r->bytes, i, next_random(&rnd));
            continue;
        }
        for (size_t at = 0; at < ev->len; at += n) {
            bool there = next_random(&rnd) % 256 < m.chance;

            n = ev->len - at < m.grain ? ev->len - at : m.grain;
            if (there)
                memcpy(r->bytes + ev->off + at, ev->data + at, n);
            if (m.grain == PIECE)
                count_torn(r, at, n, there, &pieces);
        }
    }
    return r;
}

struct recdev *reccut_image(struct reccut *c, size_t event, uint64_t seed)
{
    uint64_t rnd = seed * 0x2545f4914f6cdd1dull + event;
    struct mood m = mood_of(&rnd);

    return image(c, event, m, rnd);
}

unsigned recdev_torn(const struct recdev *r)
{
    return r->torn;
}

struct recdev *reccut_killed(struct reccut *c, size_t event)
{
    return image(c, event, (struct mood){SIZE_MAX, 256}, 0);
}
