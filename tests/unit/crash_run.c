/* SPDX-License-Identifier: Apache-2.0 */
/* crash_run.c - the run: operations at random, each made in the model too when
 * the brick has done it. Checkpoints and fsyncs go on all the while. */
#include "tests/unit/crash.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/rec.h"

#define BATCH_MAX 6u
#define ANSWERS   30u /* that are not to be forgotten */

const struct crash_mix crash_mixes[CRASH_MIXES] = {
    {.name = "all kinds", .mib = 32, .changes = 900, .files = 12,
     .names = 25, .xattrs = 15, .syncs = 10, .shift = 16, .xattr = M_XATTR,
     .ckpt_ms = 30, .job_ns = CFS_MS / 2, .slow_ns = 20 * CFS_MS,
     .pass_ns = CFS_MS / 4},
    {.name = "storm of names", .mib = 32, .changes = 2000, .files = 60,
     .names = 90, .xattrs = 3, .syncs = 5, .shift = 18, .xattr = M_XATTR,
     .ckpt_ms = 20, .job_ns = CFS_MS / 4, .slow_ns = 10 * CFS_MS,
     .pass_ns = CFS_MS / 20},
    {.name = "little space", .mib = 32, .changes = 900, .files = 8,
     .names = 15, .xattrs = 10, .syncs = 8, .shift = 12, .xattr = M_XATTR,
     .left = 1500, .ckpt_ms = 20, .job_ns = CFS_MS / 2,
     .slow_ns = 30 * CFS_MS, .pass_ns = CFS_MS / 4},
    {.name = "the journal wraps", .mib = 32, .changes = 1500, .files = 10,
     .names = 10, .xattrs = 70, .syncs = 6, .shift = 16, .xattr = M_XATTR,
     .large = true, .cache = 64 << 20, .ckpt_ms = 2000,
     .job_ns = 5 * CFS_MS, .slow_ns = 300 * CFS_MS, .pass_ns = CFS_MS / 8},
    {.name = "checkpoint upon checkpoint", .mib = 32, .changes = 900,
     .files = 20, .names = 40, .xattrs = 20, .syncs = 5, .shift = 16,
     .xattr = M_XATTR, .ckpt_ms = 1, .job_ns = CFS_MS / 4,
     .slow_ns = 4 * CFS_MS, .pass_ns = CFS_MS / 2},
    {.name = "replay in little memory", .mib = 64, .changes = 5000,
     .files = 150, .names = 3, .xattrs = 85, .syncs = 1, .shift = 6,
     .xattr = 2600, .large = true, .cache = 64 << 20, .left = 6000,
     .ckpt_ms = 10000, .job_ns = 60 * CFS_MS, .slow_ns = 600 * CFS_MS,
     .pass_ns = CFS_MS / 50},
    {.name = "a device that fails", .mib = 32, .changes = 400, .files = 10,
     .names = 25, .xattrs = 15, .syncs = 15, .shift = 16, .xattr = M_XATTR,
     .ckpt_ms = 10, .job_ns = CFS_MS / 2, .slow_ns = 10 * CFS_MS,
     .pass_ns = CFS_MS / 4, .faults = true},
};

const struct crash_mix crash_short_mix = {
    .name = "short", .mib = 32, .changes = 40, .files = 5, .names = 25,
    .xattrs = 20, .syncs = 30, .shift = 12, .xattr = 9000, .ckpt_ms = 5,
    .job_ns = CFS_MS / 2, .slow_ns = 2 * CFS_MS, .pass_ns = CFS_MS,
    .faults = true};

/* Whether its brick compresses its data. Runs of each mix do. */
static bool is_packed(const struct crash *c)
{
    return c->seed % 5 == 1 || c->seed % 5 == 4;
}

/* Whether it does from the start on: else it is told to in the middle. */
static bool is_packed_at_first(const struct crash *c)
{
    return is_packed(c) && c->seed % 2 == 1;
}

static uint64_t rnd(struct crash *c, uint64_t below)
{
    return simloop_random(&c->rnd, below);
}

/* One that is small as often as large. Two draws in one expression would come
 * in the order that the compiler likes. */
static uint64_t rnd_any(struct crash *c, uint64_t below, unsigned shifts)
{
    uint64_t v = rnd(c, below);

    return v >> rnd(c, shifts);
}

static bool chance(struct crash *c, unsigned of_100)
{
    return rnd(c, 100) < of_100;
}

static size_t events(const struct crash *c)
{
    return recdev_events(c->dev);
}

static struct m_inode *ino(struct crash *c, unsigned i)
{
    return &c->m.ino[i];
}

/* -- changes -------------------------------------------------------------- */

/* Whether a change that ended with @rc has to be in the model: also when the
 * device failed under it, for it may have got there. */
static bool settled(struct crash *c, int rc)
{
    if (rc == -ENOSPC && c->mix->left > 0)
        return false;
    if (rc == -ENOMEM && c->refused) {
        c->refused(c);
        return false;
    }
    if (rc < 0 && c->lossy) {
        c->over = true;
        return false;
    }
    if (rc == -CFS_E_POISONED && c->mix->faults)
        c->over = true;
    else
        assert_int_equal(rc, 0);
    return true;
}

/* The same of one that gives space back: it always can. */
static bool settled_freeing(struct crash *c, int rc)
{
    assert_int_not_equal(rc, -ENOSPC);
    return settled(c, rc);
}

static void changed(struct crash *c, enum crash_did what,
                    const struct m_touch *t, unsigned n, size_t begun)
{
    c->did[what]++;
    m_changed(&c->m, t, n, c->f.now, begun, c->over ? SIZE_MAX : events(c));
}

/* Where data is packed, two of three writes can be: of 128 bytes up to 96 are
 * the same. */
static void fill(struct crash *c, uint32_t len)
{
    uint64_t v = rnd(c, UINT64_MAX);
    const uint8_t same = (uint8_t)v;
    const uint32_t some = is_packed(c) ? 48 * (uint32_t)(v % 3) : 0;

    for (uint32_t i = 0; i < len; i++, v = v * 0xd1342543de82ef95u + 1)
        c->buf[i] = i % 128 < some ? same : (uint8_t)(v >> 56);
}

/* -- names ---------------------------------------------------------------- */

static void create(struct crash *c, unsigned dir, unsigned name)
{
    size_t begun = events(c);
    struct cfs_gfid g, d = ino(c, c->m.dir[dir])->gfid;
    char buf[M_NAME_STR];
    unsigned i;

    g = cfs_gfid_make(c->f.next_ino);
    if (!settled(c, fix_create(&c->f, d, m_name(name, buf), S_IFREG | 0644,
                               NULL)))
        return;
    i = m_new(&c->m, g, S_IFREG | 0644);
    ino(c, i)->now.there = 1;
    ino(c, i)->now.nlink = 1;
    m_set_name(&c->m, dir, name, i);
    changed(c, DID_create,
            (struct m_touch[]){{c->m.dir[dir], true}, {i, true}}, 2, begun);
}

static void unlink_name(struct crash *c, unsigned dir, unsigned name);

/* Each name in @dir goes. */
static void empty_dir(struct crash *c, unsigned dir)
{
    for (unsigned name = 0; name < c->mix->files && !c->over; name++)
        if (c->m.name[dir][name] != 0)
            unlink_name(c, dir, name);
}

/* Directory @dir (not the root) comes or goes, with all that is in it. */
static void toggle_dir(struct crash *c, unsigned dir)
{
    struct m_inode *root;
    size_t begun;
    unsigned name = M_NAMES - dir, old = c->m.dir[dir], i;
    struct cfs_gfid g = cfs_gfid_make(c->f.next_ino);
    char buf[M_NAME_STR];

    /* Not where so many names are that a run would be about nothing else. */
    if (old != 0 && c->mix->files <= 60 && chance(c, 50))
        empty_dir(c, dir);
    root = ino(c, 0);
    begun = events(c);
    if (old == 0) {
        if (!settled(c, fix_create(&c->f, root->gfid, m_name(name, buf),
                                   S_IFDIR | 0755, NULL)))
            return;
        i = m_new(&c->m, g, S_IFDIR | 0755);
        ino(c, i)->now.there = 1;
        ino(c, i)->now.nlink = 2;
        ino(c, 0)->now.nlink++;
        c->m.dir[dir] = i;
        m_set_name(&c->m, 0, name, i);
        changed(c, DID_mkdir, (struct m_touch[]){{0, true}, {i, true}}, 2,
                begun);
    } else if (ino(c, old)->now.names == 0) {
        if (!settled_freeing(c, fix_unlink(&c->f, root->gfid,
                                           m_name(name, buf), true)))
            return;
        m_set_name(&c->m, 0, name, 0);
        c->m.dir[dir] = 0;
        root->now.nlink--;
        ino(c, old)->now.nlink = 0;
        changed(c, DID_rmdir, (struct m_touch[]){{0, true}, {old, false}}, 2,
                begun);
    }
}

/* Nobody has the unlinked inode open. */
static void purge(struct crash *c, unsigned i)
{
    size_t begun = events(c);

    if (c->over || ino(c, i)->now.nlink > 0 ||
        !settled_freeing(c, fix_purge(&c->f, ino(c, i)->gfid)))
        return;
    ino(c, i)->now.there = 0;
    changed(c, DID_purge, &(struct m_touch){i, false}, 1, begun);
}

static void unlink_name(struct crash *c, unsigned dir, unsigned name)
{
    unsigned i = c->m.name[dir][name];
    size_t begun = events(c);
    char buf[M_NAME_STR];

    if (!settled_freeing(c, fix_unlink(&c->f, ino(c, c->m.dir[dir])->gfid,
                                       m_name(name, buf), false)))
        return;
    m_set_name(&c->m, dir, name, 0);
    ino(c, i)->now.nlink--;
    changed(c, DID_unlink,
            (struct m_touch[]){{c->m.dir[dir], true}, {i, false}}, 2, begun);
    purge(c, i);
}

static void link_name(struct crash *c, unsigned i, unsigned dir,
                      unsigned name)
{
    size_t begun = events(c);
    char buf[M_NAME_STR];

    if (!settled(c, fix_link(&c->f, ino(c, i)->gfid,
                             ino(c, c->m.dir[dir])->gfid,
                             m_name(name, buf))))
        return;
    m_set_name(&c->m, dir, name, i);
    ino(c, i)->now.nlink++;
    changed(c, DID_link,
            (struct m_touch[]){{c->m.dir[dir], true}, {i, false}}, 2, begun);
}

static void rename_name(struct crash *c, unsigned dir, unsigned name,
                        unsigned to_dir, unsigned to_name)
{
    unsigned i = c->m.name[dir][name], victim = c->m.name[to_dir][to_name];
    struct m_touch t[4] = {{c->m.dir[dir], true}, {i, false}};
    size_t begun = events(c);
    char buf[M_NAME_STR], to_buf[M_NAME_STR];
    unsigned n = 2;

    if (i == victim)
        return; /* two names of one file: nothing happens */
    if (!settled(c, fix_rename(&c->f, ino(c, c->m.dir[dir])->gfid,
                               m_name(name, buf),
                               ino(c, c->m.dir[to_dir])->gfid,
                               m_name(to_name, to_buf), 0)))
        return;
    m_set_name(&c->m, dir, name, 0);
    m_set_name(&c->m, to_dir, to_name, i);
    if (dir != to_dir)
        t[n++] = (struct m_touch){c->m.dir[to_dir], true};
    if (victim) {
        t[n++] = (struct m_touch){victim, false};
        ino(c, victim)->now.nlink--;
    }
    changed(c, victim ? DID_replace : DID_rename, t, n, begun);
    if (victim)
        purge(c, victim);
}

/* -- bytes ---------------------------------------------------------------- */

static void pick_range(struct crash *c, uint64_t *at, uint32_t *len)
{
    *at = rnd_any(c, M_SIZE, 12);
    *len = 1 + (uint32_t)rnd_any(c, M_SIZE / 2, c->mix->shift);
    if (*len > M_SIZE - *at)
        *len = (uint32_t)(M_SIZE - *at);
}

/* What the chunk that was just written, punched or cut at @at has: packs, several
 * of them, holes in them. */
static void count_packs(struct crash *c, struct cfs_gfid g, uint64_t at)
{
    struct rec_chunk chunk;
    struct rec_key k;
    struct cfs_blob v;

    rec_key_gfid_u64(&k, REC_CHUNK, g, at / CHUNK_BYTES);
    if (eng_get(ops_engine(c->f.ops), rec_key_blob(&k), &v) < 0 ||
        rec_chunk_unpack(v, &chunk) < 0)
        return;
    c->did[DID_pack] += chunk.n_pack > 0;
    c->did[DID_packs] += chunk.n_pack > 1;
    c->did[DID_hole] += chunk.n_hole > 0;
}

static void write_file(struct crash *c, unsigned i)
{
    size_t begun = events(c);
    enum crash_did what;
    uint64_t at;
    uint32_t len;

    pick_range(c, &at, &len);
    if (chance(c, 30) && ino(c, i)->now.size <= M_SIZE - len)
        at = ino(c, i)->now.size;
    fill(c, len);
    if (!settled(c, fix_write(&c->f, ino(c, i)->gfid, at, c->buf, len)))
        return;
    what = at < ino(c, i)->now.size ? DID_overwrite : DID_append;
    m_write(ino(c, i), at, c->buf, len, at + len);
    changed(c, what, &(struct m_touch){i, true}, 1, begun);
    count_packs(c, ino(c, i)->gfid, at);
}

static void resize_file(struct crash *c, unsigned i)
{
    size_t begun = events(c);
    uint64_t size;
    uint32_t len;
    int rc;

    pick_range(c, &size, &len);
    rc = fix_truncate(&c->f, ino(c, i)->gfid, size);
    if (!(size < ino(c, i)->now.size ? settled_freeing : settled)(c, rc))
        return;
    m_truncate(ino(c, i), size);
    changed(c, DID_truncate, &(struct m_touch){i, true}, 1, begun);
    count_packs(c, ino(c, i)->gfid, size);
}

static void space_of_file(struct crash *c, unsigned i)
{
    static const uint32_t modes[] = {
        FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE, 0};
    uint32_t mode = modes[rnd(c, 3)], len;
    size_t begun = events(c);
    uint64_t at;
    int rc;

    pick_range(c, &at, &len);
    rc = fix_fallocate(&c->f, ino(c, i)->gfid, mode, at, len);
    if (!(mode & FALLOC_FL_PUNCH_HOLE ? settled_freeing : settled)(c, rc))
        return;
    m_write(ino(c, i), at, NULL, mode ? len : 0,
            mode & FALLOC_FL_KEEP_SIZE ? 0 : at + len);
    changed(c, mode == 0 ? DID_fallocate
               : mode & FALLOC_FL_KEEP_SIZE ? DID_punch : DID_zero,
            &(struct m_touch){i, true}, 1, begun);
    count_packs(c, ino(c, i)->gfid, at);
}

/* Several files at once, in one turn of the loop. */
struct batch {
    unsigned          ino[BATCH_MAX];
    struct cfs_write  w[BATCH_MAX];
    struct cfs_change change[BATCH_MAX];
    struct fix_wait   wait[BATCH_MAX];
    unsigned          n;
    bool              stream; /* all into one file, one behind the other */
};

/* Write @k begins where the one before ends, and comes before that is done. */
static void chain(struct batch *b, unsigned k, uint32_t len)
{
    const struct cfs_touch *t = &b->change[k - 1].touch[0];
    struct cfs_touch *u = &b->change[k].touch[0];

    b->w[k].offset = b->w[k - 1].offset + len;
    u->expect = t->make;
    u->make = (struct cfs_version){t->make.epoch, t->make.seq + 1};
}

static void post_batch(struct crash *c, struct batch *b)
{
    struct fix *f = &c->f;

    for (unsigned k = 0; k < b->n; k++) {
        b->change[k] = *fix_change(f, 1, &ino(c, b->ino[k])->gfid);
        b->change[k].acked_below = 1;
    }
    fix_begin(f);
    for (unsigned k = 0; k < b->n; k++) {
        struct cfs_write *w = &b->w[k];
        uint32_t len;

        *w = (struct cfs_write){
            .req = {.fop = CFS_FOP_WRITE, .epoch = f->view.epoch,
                    .change = &b->change[k]}};
        w->gfid = ino(c, b->ino[k])->gfid;
        pick_range(c, &w->offset, &len);
        if (b->stream) {
            len = (1 + (uint32_t)b->change[0].no % 4) * CFS_BLOCK;
            w->offset &= 15 * CFS_BLOCK;
            if (k > 0)
                chain(b, k, len);
        }
        fill(c, len);
        w->data = cfs_buf_new(len);
        memcpy(w->data.data, c->buf, len);
        cfs_arena_keep(&f->call.arena, w->data);
        w->sums = fix_sums(f, w->offset, c->buf, len);
        fix_post(f, &w->req, &b->wait[k]);
    }
}

/* Make them in the model in the order in which the brick did. */
static void settle_batch(struct crash *c, struct batch *b, size_t begun)
{
    uint64_t last = 0;

    for (unsigned done = 0; done < b->n; done++) {
        unsigned next = BATCH_MAX;

        for (unsigned k = 0; k < b->n; k++)
            if (b->wait[k].status == 0 && b->w[k].req.post.pos > last &&
                (next == BATCH_MAX ||
                 b->w[k].req.post.pos < b->w[next].req.post.pos))
                next = k;
        if (next == BATCH_MAX)
            break;
        last = b->w[next].req.post.pos;
        fix_learn(&c->f, &b->change[next]);
        c->f.now = b->change[next].now;
        m_write(ino(c, b->ino[next]), b->w[next].offset,
                b->w[next].data.data, b->w[next].data.len,
                b->w[next].offset + b->w[next].data.len);
        changed(c, b->stream ? DID_stream : DID_several_at_once,
                &(struct m_touch){b->ino[next], true}, 1, begun);
    }
    for (unsigned k = 0; k < b->n; k++) {
        int rc = b->wait[k].status;

        /* After one that failed those behind it do not fit. */
        if (b->stream && k > 0 && b->wait[k - 1].status < 0 &&
            rc == -CFS_E_VERSION)
            continue;
        if (rc < 0)
            assert_false(settled(c, rc));
    }
}

static void write_files(struct crash *c)
{
    struct batch b = {0};
    struct cfs_time end;
    size_t begun = events(c);

    for (unsigned tries = 0; tries < 4 * BATCH_MAX && b.n < BATCH_MAX;
         tries++) {
        unsigned d = (unsigned)rnd(c, M_DIRS);
        unsigned i = c->m.name[d][rnd(c, c->mix->files)];
        bool twice = false;

        for (unsigned k = 0; k < b.n; k++)
            twice = twice || b.ino[k] == i;
        if (i != 0 && !twice)
            b.ino[b.n++] = i;
    }
    b.stream = b.n > 1 && chance(c, 40);
    for (unsigned k = 1; b.stream && k < b.n; k++)
        b.ino[k] = b.ino[0];
    post_batch(c, &b);
    end = c->f.now;
    fix_wait_all(&c->f, b.wait, b.n);
    settle_batch(c, &b, begun);
    c->f.now = end;
}

/* -- attributes ----------------------------------------------------------- */

static void change_mode(struct crash *c, unsigned i)
{
    struct cfs_setattr op = {0};
    size_t begun = events(c);

    op.mask = CFS_SET_MODE | CFS_SET_UID;
    op.mode = 0600 | (uint32_t)rnd(c, 0100);
    op.uid = (uint32_t)rnd(c, 5000);
    op.gfid = ino(c, i)->gfid;
    if (!settled(c, fix_setattr(&c->f, &op)))
        return;
    ino(c, i)->now.mode = S_IFREG | op.mode;
    ino(c, i)->now.uid = op.uid;
    changed(c, DID_mode, &(struct m_touch){i, false}, 1, begun);
}

static void change_xattr(struct crash *c, unsigned i)
{
    unsigned x = (unsigned)rnd(c, M_XATTRS);
    uint32_t len = (uint32_t)rnd_any(c, c->mix->xattr, 12);
    size_t begun = events(c);
    struct m_inode *it = ino(c, i);
    uint64_t hash = 0;
    char name[M_NAME_STR];
    int rc;

    if (c->mix->large)
        len = c->mix->xattr / 2 + (uint32_t)rnd(c, c->mix->xattr / 2);
    m_name(x, name);
    if (it->xattr[x] && chance(c, 30)) {
        rc = fix_removexattr(&c->f, it->gfid, name);
    } else {
        fill(c, len);
        hash = m_hash_xattr(name, strlen(name),
                            (struct cfs_blob){c->buf, len});
        rc = fix_setxattr(&c->f, it->gfid, name, c->buf, len, 0);
    }
    if (!settled(c, rc))
        return;
    it->now.xattrs += hash - it->xattr[x];
    it->xattr[x] = hash;
    changed(c, hash ? DID_setxattr : DID_removexattr,
            &(struct m_touch){i, false}, 1, begun);
}

/* -- fsync ---------------------------------------------------------------- */

static void reap_syncs(struct crash *c)
{
    for (unsigned k = 0; k < CRASH_SYNCS; k++) {
        struct crash_sync *s = &c->sync[k];

        if (!s->busy || !s->w.done)
            continue;
        c->did[DID_fsync] += s->w.status == 0;
        if (s->w.status == 0)
            m_note_sync(&c->m, events(c), s->changes);
        else if (s->w.status != -ENOENT) /* gone since */
            assert_true(settled(c, s->w.status) ||
                        s->w.status == -ENOMEM);
        cfs_arena_fini(&s->call.arena);
        s->busy = false;
    }
}

/* Begin one; others may be under way. */
static void start_sync(struct crash *c, unsigned i)
{
    struct crash_sync *s = c->sync;

    while (s < c->sync + CRASH_SYNCS && s->busy)
        s++;
    if (s == c->sync + CRASH_SYNCS)
        return;
    s->changes = ino(c, i)->last;
    s->busy = true;
    s->op = (struct cfs_fsync){
        .req = {.fop = CFS_FOP_FSYNC, .epoch = c->f.view.epoch,
                .want = fix_version(&c->f, ino(c, i)->gfid)}};
    s->op.gfid = ino(c, i)->gfid;
    cfs_arena_init(&s->call.arena);
    s->call.loop = c->f.loop;
    fix_post_on(&c->f, &s->call, &s->op.req, &s->w);
}

static void wait_syncs(struct crash *c)
{
    for (unsigned k = 0; k < CRASH_SYNCS; k++)
        if (c->sync[k].busy)
            fix_wait_all(&c->f, &c->sync[k].w, 1);
    reap_syncs(c);
}

/* Everything is durable here, and so it is everywhere. */
static void clear(struct crash *c, unsigned i)
{
    struct cfs_clear op = {.req.fop = CFS_FOP_CLEAR};
    struct cfs_version v = fix_version(&c->f, ino(c, i)->gfid);
    uint64_t packed[4];
    int rc = fix_fsync(&c->f, ino(c, i)->gfid);

    if (rc == 0) {
        m_note_sync(&c->m, events(c), ino(c, i)->last);
        memcpy(packed, ino(c, i)->gfid.b, 16);
        packed[2] = htole64(v.epoch);
        packed[3] = htole64(v.seq);
        op.session = c->f.session.no;
        op.below = c->f.change_no;
        op.inodes = (struct cfs_blob){packed, sizeof packed};
        op.req.epoch = c->f.view.epoch;
        fix_begin(&c->f);
        rc = fix_do(&c->f, &op.req);
    }
    c->did[DID_clear] += rc == 0;
    settled(c, rc);
}

/* -- the run -------------------------------------------------------------- */

static void change_names(struct crash *c, unsigned dir, unsigned name)
{
    unsigned to = (unsigned)rnd(c, M_DIRS);
    unsigned to_name = (unsigned)rnd(c, c->mix->files);
    unsigned i = c->m.name[dir][name];
    bool there = to == 0 || c->m.dir[to] != 0;

    switch (rnd(c, 8)) {
    case 0:
        toggle_dir(c, 1 + (unsigned)rnd(c, M_DIRS - 1));
        break;
    case 1:
        if (there && c->m.name[to][to_name] == 0)
            link_name(c, i, to, to_name);
        break;
    case 2:
    case 3:
    case 4:
        if (there)
            rename_name(c, dir, name, to, to_name);
        break;
    default:
        unlink_name(c, dir, name);
        break;
    }
}

static void change_bytes(struct crash *c, unsigned i)
{
    switch (rnd(c, 8)) {
    case 0:
        resize_file(c, i);
        break;
    case 1:
        space_of_file(c, i);
        break;
    case 2:
        if (!c->mix->faults) {
            write_files(c);
            break;
        }
        /* fallthrough */
    default:
        write_file(c, i);
        break;
    }
}

static void step(struct crash *c)
{
    unsigned dir = (unsigned)rnd(c, M_DIRS);
    unsigned name = (unsigned)rnd(c, c->mix->files), i;

    if (is_packed(c) && c->m.n_changes == c->mix->changes / 5)
        ops_reconfigure(c->f.ops, c->f.config.small_file, true);
    if (dir > 0 && c->m.dir[dir] == 0) {
        toggle_dir(c, dir);
        return;
    }
    i = c->m.name[dir][name];
    if (i == 0)
        create(c, dir, name);
    else if (chance(c, c->mix->names))
        change_names(c, dir, name);
    else if (!chance(c, c->mix->xattrs))
        change_bytes(c, i);
    else if (chance(c, 15))
        change_mode(c, i);
    else
        change_xattr(c, i);
    i = c->m.name[dir][name];
    if (i != 0 && !c->over && chance(c, c->mix->syncs))
        start_sync(c, i);
    if (i != 0 && !c->over && chance(c, 1))
        clear(c, i);
}

static size_t job_begun(void *ctx)
{
    return events(ctx);
}

static void job_working(void *ctx, size_t begun)
{
    recdev_flush_from(((struct crash *)ctx)->dev, begun);
}

static void job_worked(void *ctx)
{
    recdev_flush_from(((struct crash *)ctx)->dev, SIZE_MAX);
}

static uint64_t free_blocks(struct crash *c)
{
    struct eng_info info;

    eng_info(ops_engine(c->f.ops), &info);
    return info.free;
}

void crash_take_space(struct crash *c)
{
    uint64_t n = 1;

    while (n > 0 && free_blocks(c) > c->mix->left) {
        int rc;

        n = (free_blocks(c) - c->mix->left) * CFS_BLOCK;
        if (n > CFS_FALLOC_STEP)
            n = CFS_FALLOC_STEP;
        /* The records of the last ones need space, too. */
        while ((rc = fix_fallocate(&c->f, c->ballast, 0,
                                   c->ballast_size, n)) == -ENOSPC && n > 0)
            n = n / 2 / CFS_BLOCK * CFS_BLOCK;
        assert_true(rc == 0 || n == 0);
        c->ballast_size += n;
    }
}

/* Data is taken from the store's start on, as nodes are after a start. */
static void turn_round(struct eng *e)
{
    struct eng_ext x[1024];
    unsigned n = 0, got;

    do {
        assert_int_equal(eng_alloc(e, 16, 0, 0, &x[n], 1, &got), 0);
    } while (x[n].lba > x[0].lba - (x[0].lba - eng_first_lba(e)) / 4 &&
             ++n < CFS_ARRAY_SIZE(x) - 1);
    for (unsigned i = 0; i <= n; i++)
        eng_unalloc(e, x[i]);
}

/* An empty brick on which recording begins. */
static void set_up(struct crash *c, const struct crash_fault *fault)
{
    struct ops_config config = ops_config_default;
    struct m_seen root;

    config.eng.cache_size = c->mix->cache;
    config.eng.checkpoint_ms = c->mix->ckpt_ms;
    config.small_file = c->seed % 2 ? 0 : config.small_file;
    config.ahead_min = CFS_BLOCK;
    config.pack = config.eng.packs = is_packed_at_first(c);
    c->dev = recdev_new((uint64_t)c->mix->mib << 20);
    config.eng.discard = crash_discards(c->seed);
    recdev_block(c->dev, config.eng.discard);
    fix_open_on(&c->f, &config, recdev_open(c->dev));
    c->f.acked_below = 1;
    c->buf = malloc(M_SIZE);
    c->incarnation = eng_incarnation(ops_engine(c->f.ops));
    if (c->mix->left > 0) {
        assert_int_equal(fix_create(&c->f, cfs_gfid_root, "ballast",
                                    S_IFREG | 0600, &c->ballast), 0);
        crash_take_space(c);
    }
    if (c->mix->left > 1000)
        turn_round(ops_engine(c->f.ops));
    fix_settle(&c->f);
    crash_see(&c->f, cfs_gfid_root, c->buf, &root);
    m_init(&c->m, &root, c->mix->left ? 2 : 1);
    recdev_cached(c->dev, c->mix->large);
    recdev_record(c->dev);
    c->watch = (struct simloop_watch){job_begun, job_working, job_worked, c};
    simloop_watch(c->f.loop, &c->watch);
    simloop_seed(c->f.loop, c->seed, c->mix->job_ns, c->mix->slow_ns);
    if (fault)
        recdev_fail(c->dev, fault->kind, fault->after, fault->times);
    else if (c->mix->faults)
        /* More than one: who goes on after the first meets the next. */
        recdev_fail(c->dev, c->seed / CRASH_MIXES % 3 == 2 ? RECDEV_WRITE
                                                           : RECDEV_FLUSH,
                    5 + rnd(c, 30), 5);
}

/* The brick as it is now agrees with the model. */
static void compare(struct crash *c)
{
    struct m_seen seen;

    for (unsigned i = 0; i < c->m.n_ino; i++) {
        unsigned lo = c->m.n_changes, hi = c->m.n_changes;

        crash_see(&c->f, ino(c, i)->gfid, c->buf, &seen);
        assert_true(m_was(&c->m, i, &seen, &lo, &hi));
    }
}

/* The engine has failed: the brick says so and why, promises nothing more,
 * and reads nothing that it could not keep. */
static void check_poisoned(struct crash *c)
{
    struct cfs_brick *info = calloc(1, sizeof *info);
    struct cfs_attr a;

    fix_info(&c->f, info);
    assert_true(info->poisoned);
    assert_true(strlen(info->reason) > 0);
    free(info);
    assert_int_equal(fix_getattr(&c->f, cfs_gfid_root, &a),
                     -CFS_E_POISONED);
    assert_int_equal(fix_fsync(&c->f, cfs_gfid_root), -CFS_E_POISONED);
    assert_int_equal(fix_create(&c->f, cfs_gfid_root, "late", S_IFREG | 0600,
                                NULL), -CFS_E_POISONED);
}

void crash_begin(struct crash *c, const struct crash_fault *fault)
{
    c->rnd = c->seed * 7919;
    c->lossy = fault && fault->kind == RECDEV_LOSE;
    set_up(c, fault);
}

void crash_steps(struct crash *c)
{
    /* Of a device that is full not much can be changed. */
    unsigned left = 6 * c->mix->changes;

    while (c->m.n_changes < c->mix->changes && !c->over && left-- > 0) {
        step(c);
        if (c->f.change_no > ANSWERS)
            c->f.acked_below = c->f.change_no - ANSWERS;
        simloop_pass(c->f.loop, rnd(c, c->mix->pass_ns));
        reap_syncs(c);
    }
    wait_syncs(c);
}

void crash_empty(struct crash *c)
{
    for (unsigned dir = M_DIRS; dir-- > 0;) {
        if (dir > 0 && c->m.dir[dir] == 0)
            continue;
        empty_dir(c, dir);
        while (dir > 0 && c->m.dir[dir] != 0)
            toggle_dir(c, dir);
    }
}

void crash_finish(struct crash *c)
{
    struct ops_stat stat;
    struct eng_info info;

    if (c->mix->faults && !c->lossy) {
        /* What has failed shows itself now, not while we look. */
        recdev_fail(c->dev, RECDEV_WRITE, 0, 0);
        recdev_fail(c->dev, RECDEV_FLUSH, 0, 0);
        fix_settle(&c->f);
    }
    eng_info(ops_engine(c->f.ops), &info);
    c->over = c->over || info.poisoned; /* between two operations */
    ops_stat(c->f.ops, &stat);
    c->did[DID_ahead] = (unsigned)stat.ahead;
    c->did[DID_widened] = (unsigned)stat.widened;
    c->did[DID_checkpoint] = (unsigned)info.checkpoints;
    c->did[DID_journal_wrap] =
        (unsigned)(eng_pos(ops_engine(c->f.ops)) /
                   ops_engine(c->f.ops)->jrn.size);
    if (c->over && !c->lossy)
        check_poisoned(c);
    else if (!c->lossy)
        compare(c);
    recdev_kill(c->dev);
    fix_halt(&c->f);
}

void crash_run_failing(struct crash *c, const struct crash_mix *mix,
                       uint64_t seed, const struct crash_fault *fault)
{
    *c = (struct crash){.mix = mix, .seed = seed};
    crash_begin(c, fault);
    crash_steps(c);
    crash_finish(c);
}

void crash_run(struct crash *c, uint64_t seed)
{
    crash_run_failing(c, &crash_mixes[seed % CRASH_MIXES], seed, NULL);
}

uint64_t crash_trace(const struct crash *c)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < recdev_events(c->dev); i++) {
        uint64_t where[2];
        size_t len;
        const uint8_t *p = recdev_event(c->dev, i, &where[0], &len);

        where[1] = len;
        sum = XXH3_64bits_withSeed(where, sizeof where, sum);
        if (p)
            sum = XXH3_64bits_withSeed(p, len, sum);
    }
    return sum;
}

void crash_end(struct crash *c)
{
    fix_close(&c->f);
    recdev_free(c->dev);
    m_fini(&c->m);
    free(c->buf);
    cfs_buf_pool_drain();
}
