/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - a change worked out before it is done: inodes and chunks as they
 * will be, keys to put and to delete, blocks to free.
 *
 * A plan only looks. plan_ready() asks the engine for everything that could
 * still fail; plan_apply() then cannot.
 */
#include "xlators/storage/block/ops_impl.h"

#include <sys/stat.h>

void plan_init(struct plan *p, struct ops *o, struct cfs_arena *arena)
{
    struct plan_put *put = p->put;
    struct eng_ext *freed = p->freed;
    struct plan_chunk **chunk = p->chunk;
    unsigned cap_put = p->cap_put, cap_freed = p->cap_freed;
    unsigned cap_chunk = p->cap_chunk;

    *p = (struct plan){
        .o = o,
        .arena = arena,
        .put = put,
        .cap_put = cap_put,
        .freed = freed,
        .cap_freed = cap_freed,
        .chunk = chunk,
        .cap_chunk = cap_chunk,
    };
}

/* Room for one more in an array in the arena: the old one is left behind. */
static void *grow(struct cfs_arena *a, void *old, unsigned n, unsigned *cap,
                  size_t size)
{
    void *p;

    if (n < *cap)
        return old;
    *cap = *cap ? *cap * 2 : 16;
    p = cfs_arena_alloc(a, *cap * size);
    if (n > 0)
        memcpy(p, old, n * size);
    return p;
}

/* -- inodes --------------------------------------------------------------- */

static struct plan_ino *ino_slot(struct plan *p, struct cfs_gfid g)
{
    struct plan_ino *i;

    assert(p->n_ino < PLAN_INODES);
    i = &p->ino[p->n_ino++];
    *i = (struct plan_ino){.gfid = g};
    return i;
}

int plan_inode(struct plan *p, struct cfs_gfid g, struct plan_ino **ret)
{
    struct rec_inode rec;
    struct plan_ino *i;
    int rc;

    for (unsigned n = 0; n < p->n_ino; n++)
        if (cfs_gfid_eq(p->ino[n].gfid, g)) {
            *ret = &p->ino[n];
            return 0;
        }
    rc = look_inode(p->o, g, &rec);
    if (rc < 0)
        return rc;
    i = ino_slot(p, g);
    i->there = true;
    i->rec = rec;
    i->was = rec.version;
    *ret = i;
    return 0;
}

struct plan_ino *plan_inode_new(struct plan *p, struct cfs_gfid g)
{
    struct plan_ino *i = ino_slot(p, g);

    i->made = true;
    i->changed = true;
    p->d_inodes++;
    return i;
}

void plan_stamp(struct plan *p, struct plan_ino *ino, bool data)
{
    struct cfs_time next = ino->rec.ctime;

    if (next.nsec < 999999999u) {
        next.nsec++;
    } else if (next.sec < INT64_MAX) { /* a client may have said anything */
        next.nsec = 0;
        next.sec++;
    }
    ino->rec.ctime = cfs_time_cmp(p->now, next) > 0 ? p->now : next;
    if (data)
        ino->rec.mtime = ino->rec.ctime;
    ino->changed = true;
}

/* -- puts ----------------------------------------------------------------- */

static struct plan_put *put_slot(struct plan *p, const struct rec_key *k)
{
    struct plan_put *put;

    p->put = grow(p->arena, p->put, p->n_put, &p->cap_put, sizeof *p->put);
    put = &p->put[p->n_put++];
    put->key.p = cfs_arena_dup(p->arena, k->b, k->len);
    put->key.len = k->len;
    put->value = (struct cfs_blob){0};
    put->del = false;
    p->bytes += k->len;
    return put;
}

void plan_put(struct plan *p, const struct rec_key *k, const void *value,
              size_t len)
{
    struct plan_put *put = put_slot(p, k);

    assert(len <= ENG_VALUE_MAX);
    put->value.p = cfs_arena_dup(p->arena, value, len);
    put->value.len = (uint32_t)len;
    p->bytes += len;
}

void plan_del(struct plan *p, const struct rec_key *k)
{
    put_slot(p, k)->del = true;
}

void plan_free(struct plan *p, uint64_t lba, uint32_t n)
{
    struct eng_ext *last = p->n_freed ? &p->freed[p->n_freed - 1] : NULL;

    if (n == 0)
        return;
    if (last && last->lba + last->n == lba) {
        last->n += n;
        return;
    }
    p->freed = grow(p->arena, p->freed, p->n_freed, &p->cap_freed,
                    sizeof *p->freed);
    p->freed[p->n_freed++] = (struct eng_ext){lba, n};
}

/* -- chunks --------------------------------------------------------------- */

void plan_drop(struct plan *p, struct rec_chunk *c, unsigned at)
{
    struct eng_ext ext = rec_chunk_drop(c, at);

    plan_free(p, ext.lba, ext.n);
}

static struct plan_chunk *chunk_slot(struct plan *p, struct cfs_gfid g,
                                     uint64_t index)
{
    struct plan_chunk *c = cfs_arena_alloc(p->arena, sizeof *c);

    p->chunk = grow(p->arena, p->chunk, p->n_chunk, &p->cap_chunk,
                    sizeof *p->chunk);
    p->chunk[p->n_chunk++] = c;
    c->gfid = g;
    c->index = index;
    if (index > p->chunk_max)
        p->chunk_max = index;
    return c;
}

int plan_chunk(struct plan *p, const struct plan_ino *ino, uint64_t index,
               struct plan_chunk **ret)
{
    struct plan_chunk *c;
    struct rec_chunk rec;
    int rc;

    for (unsigned i = index <= p->chunk_max ? p->n_chunk : 0; i-- > 0;) {
        c = p->chunk[i];
        if (c->index == index && cfs_gfid_eq(c->gfid, ino->gfid)) {
            *ret = c;
            return 0;
        }
    }
    rc = look_chunk(p->o, ino->gfid, &ino->rec, index, &rec);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    c = chunk_slot(p, ino->gfid, index);
    if (rc == 0) {
        c->there = true;
        c->rec = rec;
    }
    *ret = c;
    return 0;
}

void plan_unmap(struct plan *p, struct plan_ino *ino, struct plan_chunk *c,
                unsigned from, unsigned upto)
{
    for (unsigned i = from; i < upto; i++) {
        if (!(c->rec.mapped >> i & 1))
            continue;
        plan_drop(p, &c->rec, i);
        c->changed = true;
        ino->changed = true;
        if (ino->rec.blocks > 0)
            ino->rec.blocks--;
    }
}

/* Free a stale chunk whole; it is kept in the plan, empty, so that it is not
 * looked for again. */
static int carve_chunk(struct plan *p, struct plan_ino *ino, uint64_t index)
{
    struct plan_chunk *c;
    int rc;

    c = chunk_slot(p, ino->gfid, index);
    rc = look_any_chunk(p->o, ino->gfid, index, &c->rec);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if (c->rec.mapped >> i & 1)
            plan_drop(p, &c->rec, i);
    c->there = true;
    c->changed = true;
    return 0;
}

void put_mark(struct plan *p, struct cfs_gfid g, uint64_t start,
              uint64_t end)
{
    uint8_t v[REC_REMOVAL_MAX];
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_REMOVAL, g, end);
    plan_put(p, &k, v, rec_removal_pack(start, v));
}

/* Cut [@start, @end), which lies in it, out of mark @m. */
static void cut_mark(struct plan *p, struct plan_ino *ino,
                     const struct look_mark *m, uint64_t start, uint64_t end)
{
    struct rec_key k;

    ino->rec.marks--;
    if (m->start < start) {
        put_mark(p, ino->gfid, m->start, start);
        ino->rec.marks++;
    }
    if (m->end > end) { /* under the key that it has */
        put_mark(p, ino->gfid, end, m->end);
        ino->rec.marks++;
    } else {
        rec_key_gfid_u64(&k, REC_REMOVAL, ino->gfid, m->end);
        plan_del(p, &k);
    }
    ino->changed = true;
}

int plan_carve(struct plan *p, struct plan_ino *ino, uint64_t start,
               uint64_t end)
{
    const uint32_t marks = ino->rec.marks;
    uint64_t from = start;
    int rc;

    while (marks > 0 && from < end) {
        struct look_mark m;
        uint64_t lo, hi;

        rc = look_mark(p->o, ino->gfid, from, &m);
        if (rc == -ENOENT || (rc == 0 && m.start >= end))
            return 0;
        if (rc < 0)
            return rc;
        lo = m.start > start ? m.start : start;
        hi = m.end < end ? m.end : end;
        for (uint64_t i = lo; i < hi; i++) {
            rc = carve_chunk(p, ino, i);
            if (rc < 0)
                return rc;
        }
        cut_mark(p, ino, &m, lo, hi);
        from = m.end;
    }
    return 0;
}

/* -- finishing ------------------------------------------------------------ */

static void finish_chunks(struct plan *p)
{
    uint8_t v[REC_CHUNK_MAX];
    struct rec_key k;

    for (unsigned i = 0; i < p->n_chunk; i++) {
        const struct plan_chunk *c = p->chunk[i];

        if (!c->changed)
            continue;
        rec_key_gfid_u64(&k, REC_CHUNK, c->gfid, c->index);
        if (c->rec.mapped)
            plan_put(p, &k, v, rec_chunk_pack(&c->rec, v));
        else if (c->there)
            plan_del(p, &k);
    }
}

/* I6: an inode's first change since it was clean enters it in the dirty index;
 * another session's has its number there. */
static int finish_dirty(struct plan *p, struct plan_ino *i)
{
    struct rec_dirty d = {.clean = i->was};
    uint8_t v[REC_DIRTY_MAX];
    struct cfs_blob old;
    struct rec_key k;
    int rc = 0;

    if (p->session == 0 || i->rec.dirty == p->session)
        return 0;
    rec_key_gfid(&k, REC_DIRTY, i->gfid);
    if (i->rec.dirty == 0) {
        p->d_dirty++;
    } else {
        rc = eng_get(p->o->e, rec_key_blob(&k), &old);
        if (rc == 0)
            rc = rec_dirty_unpack(old, &d);
        if (rc < 0)
            return rc == -ENOENT ? -CFS_E_CORRUPT : rc;
    }
    i->rec.dirty = d.session = p->session;
    plan_put(p, &k, v, rec_dirty_pack(&d, v));
    return 0;
}

static void finish_inode(struct plan *p, const struct plan_ino *i)
{
    uint8_t v[REC_INODE_MAX];
    struct rec_key k;

    rec_key_gfid(&k, REC_INODE, i->gfid);
    if (!i->gone)
        plan_put(p, &k, v, rec_inode_pack(&i->rec, v));
    else if (i->there)
        plan_del(p, &k);
}

const struct cfs_touch *touch_of(const struct cfs_change *c,
                                 struct cfs_gfid g)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (cfs_gfid_eq(c->touch[i].gfid, g))
            return &c->touch[i];
    return NULL;
}

static bool is_planned(const struct plan *p, struct cfs_gfid g)
{
    for (unsigned i = 0; i < p->n_ino; i++)
        if (cfs_gfid_eq(p->ino[i].gfid, g))
            return true;
    return false;
}

/* The touched inodes get their versions. */
static int finish_versions(struct plan *p, const struct cfs_change *c)
{
    int rc;

    for (uint32_t i = 0; i < c->n; i++)
        if (!is_planned(p, c->touch[i].gfid))
            return -EINVAL;
    for (uint32_t i = 0; i < p->n_ino; i++) {
        struct plan_ino *ino = &p->ino[i];
        const struct cfs_touch *t = touch_of(c, ino->gfid);
        bool makes = t && cfs_version_cmp(t->make, t->expect) != 0;

        if ((ino->changed || ino->gone) && !makes)
            return -EINVAL;
        if (!makes)
            continue;
        ino->rec.version = t->make;
        ino->changed = true;
        rc = finish_dirty(p, ino);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* I7: a change to several inodes is kept until all members have it. */
static int finish_oplog(struct plan *p, const struct cfs_change *c)
{
    struct rec_key k;
    unsigned n = 0;
    uint8_t *v;

    for (uint32_t i = 0; i < c->n; i++)
        n += cfs_version_cmp(c->touch[i].make, c->touch[i].expect) != 0;
    if (n < 2)
        return 0;
    if (p->request.len > ENG_VALUE_MAX - REC_OPLOG_HEAD)
        return -EINVAL; /* a large xattr's has no business here */
    v = cfs_arena_alloc(p->arena, REC_OPLOG_HEAD + p->request.len);
    v[0] = REC_FMT;
    v[1] = (uint8_t)p->fop;
    memcpy(v + REC_OPLOG_HEAD, p->request.p, p->request.len);
    rec_key_change(&k, REC_OPLOG, c->session, c->no);
    plan_put(p, &k, v, REC_OPLOG_HEAD + p->request.len);
    p->d_oplog++;
    return 0;
}

int plan_finish(struct plan *p, const struct cfs_change *c)
{
    int rc;

    if (c) {
        rc = finish_versions(p, c);
        if (rc == 0)
            rc = finish_oplog(p, c);
        if (rc < 0)
            return rc;
        session_spill(p->o, p);
    }
    for (unsigned i = 0; i < p->n_ino; i++)
        if (p->ino[i].changed || p->ino[i].gone)
            finish_inode(p, &p->ino[i]);
    finish_chunks(p);
    return 0;
}

/* What many puts cost, of which most lie side by side, as those of a file's
 * chunks do: all of them as if they lay apart is more than a small store keeps
 * for those who free something. */
#define PUTS_MANY 24u
static void cost_of(const struct plan *p, unsigned *ret_puts, size_t *ret_bytes)
{
    *ret_puts = p->n_put;
    *ret_bytes = p->bytes;
    if (p->n_put < PUTS_MANY || p->replay)
        return;
    for (unsigned i = 1; i < p->n_put; i++) {
        if (!eng_side_by_side(p->o->e, p->put[i - 1].key, p->put[i].key))
            continue;
        --*ret_puts;
        *ret_bytes += ENG_BESIDE_BYTES;
    }
}

int plan_ready(struct plan *p, size_t rec_size)
{
    unsigned puts;
    size_t bytes;
    int rc = 0;

    for (unsigned i = 0; i < p->n_put; i++) {
        int one = eng_touch(p->o->e, p->put[i].key);

        if (one < 0 && one != -CFS_E_MISS)
            return one;
        if (one < 0)
            rc = one; /* the others are asked for at once */
    }
    if (rc < 0)
        return rc;
    cost_of(p, &puts, &bytes);
    return eng_begin(p->o->e, puts, bytes, rec_size, p->flags);
}

static uint64_t counted(uint64_t n, int64_t d)
{
    if (d < 0 && (uint64_t)-d > n)
        return 0; /* only a damaged count; fsck will say so */
    return n + (uint64_t)d;
}

void plan_apply(struct plan *p)
{
    struct ops *o = p->o;

    for (unsigned i = 0; i < p->n_put; i++) {
        const struct plan_put *put = &p->put[i];

        if (put->del)
            eng_del(o->e, put->key);
        else
            eng_put(o->e, put->key, put->value);
    }
    for (unsigned i = 0; i < p->n_freed; i++)
        eng_free(o->e, p->freed[i]);
    if (p->d_inodes || p->d_dirty || p->d_oplog) {
        o->brick.inodes = counted(o->brick.inodes, p->d_inodes);
        o->brick.dirty = counted(o->brick.dirty, p->d_dirty);
        o->brick.oplog = counted(o->brick.oplog, p->d_oplog);
        o->brick_changed = true;
    }
}
