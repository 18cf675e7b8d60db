/* SPDX-License-Identifier: Apache-2.0 */
/* victim.c - see victim.h. */
#include "tests/unit/victim.h"

#include <inttypes.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "core/dirent.h"
#include "tests/unit/simloop.h"
#include "xlators/storage/block/engine/format.h"

#define ROOT      cfs_gfid_root
#define BUF       ((uint64_t)1 << 20)
#define DIRS      4u
#define SMALL     100u
#define LARGE     14u

/* -- the brick ------------------------------------------------------------ */

static struct cfs_gfid add(struct victim *v, struct cfs_gfid dir,
                           const char *name, uint32_t mode)
{
    struct cfs_gfid g;

    assert_int_equal(fix_create(&v->f, dir, name, mode, &g), 0);
    assert_true(v->n < VICTIM_INODES);
    v->gfid[v->n++] = g;
    return g;
}

/* Every other one can be compressed. */
static void write_some(struct victim *v, struct cfs_gfid g, uint64_t at,
                       uint32_t len, unsigned seed)
{
    uint8_t *p = seed % 2 ? fix_noise(len, seed) : fix_pattern(len, seed);

    assert_int_equal(fix_write(&v->f, g, at, p, len), 0);
    free(p);
}

static void add_small_files(struct victim *v, const struct cfs_gfid *dir)
{
    for (unsigned i = 0; i < SMALL; i++) {
        struct cfs_gfid g;
        char name[32];

        snprintf(name, sizeof name, "small-%u", i * 7919 % 1000);
        g = add(v, dir[i % DIRS], name, S_IFREG | 0644);
        write_some(v, g, 0, 20 + i * 17, i);
        if (i % 9 == 0)
            assert_int_equal(fix_setxattr(&v->f, g, "user.note", v->buf,
                                          i * 10, 0), 0);
    }
}

static void add_large_files(struct victim *v, const struct cfs_gfid *dir)
{
    for (unsigned i = 0; i < LARGE; i++) {
        struct cfs_gfid g;
        char name[32];

        snprintf(name, sizeof name, "large-%u", i);
        g = add(v, dir[i % DIRS], name, S_IFREG | 0600);
        write_some(v, g, i % 3 ? 0 : 70000, 3000 + i * 9000, i);
        if (i % 4 == 1)
            assert_int_equal(fix_fallocate(&v->f, g, 0, 200000, 30000), 0);
        if (i % 4 == 2)
            assert_int_equal(fix_setxattr(&v->f, g, "user.long", v->buf,
                                          9000 + 3000 * i, 0), 0);
        if (i % 4 == 3 || i % 4 == 0)
            assert_int_equal(
                fix_fallocate(&v->f, g,
                              FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              i % 3 ? 5000 : 75000, 9000), 0);
    }
}

static void checkpoint(struct victim *v)
{
    fix_settle(&v->f);
}

/* Changes of what there is: blocks are freed, and taken again. */
static void change_some(struct victim *v, const struct cfs_gfid *dir,
                        unsigned seed)
{
    for (unsigned i = 0; i < v->n; i += 5) {
        struct cfs_attr a;

        assert_int_equal(fix_getattr(&v->f, v->gfid[i], &a), 0);
        if (S_ISREG(a.mode))
            write_some(v, v->gfid[i], a.size / 2, 300 + 1000 * (i % 9), seed);
    }
    for (unsigned i = 0; i < 6; i++) {
        char name[32], to[32];

        snprintf(name, sizeof name, "small-%u",
                 (seed * 10 + i) * 7919 % 1000);
        snprintf(to, sizeof to, "moved-%u-%u", seed, i);
        assert_int_equal(fix_rename(&v->f, dir[(seed * 10 + i) % DIRS], name,
                                    dir[i % DIRS], to, 0), 0);
    }
}

static void furnish(struct victim *v)
{
    struct cfs_gfid dir[DIRS], g;
    char name[32];

    v->gfid[v->n++] = ROOT;
    for (unsigned i = 0; i < DIRS; i++) {
        snprintf(name, sizeof name, "dir-%u", i);
        dir[i] = add(v, i < 2 ? ROOT : dir[i - 2], name, S_IFDIR | 0755);
    }
    add_small_files(v, dir);
    checkpoint(v);
    add_large_files(v, dir);
    assert_int_equal(fix_symlink(&v->f, dir[1], "link", "dir-0/large-0", &g),
                     0);
    v->gfid[v->n++] = g;
    assert_int_equal(fix_link(&v->f, v->gfid[20], dir[3], "second"), 0);
    add(v, dir[2], "fifo", S_IFIFO | 0600);
    checkpoint(v);
    change_some(v, dir, 1);
    v->live = recdev_events(v->dev);
    checkpoint(v);
    change_some(v, dir, 2);
    g = add(v, dir[2], "gone", S_IFREG | 0600);
    write_some(v, g, 0, 9000, 1);
    assert_int_equal(fix_unlink(&v->f, dir[2], "gone", false), 0);
}

/* -- its states ----------------------------------------------------------- */

static void remember(struct victim *v)
{
    for (unsigned i = 0; i < v->n; i++)
        assert_int_equal(victim_see(v, v->gfid[i], &v->want[v->states][i]),
                         0);
    v->states++;
}

/* One change after another that no fsync covers, each a state of its own, in
 * several blocks of the journal: were there one, a write that went there would
 * take all that says that what was lost with it had been durable. */
static void add_tail(struct victim *v)
{
    for (unsigned i = 0; i < VICTIM_TAIL; i++) {
        if (i % 2)
            write_some(v, v->gfid[1 + DIRS + SMALL + i], 1000, 9000, i + 50);
        else
            assert_int_equal(fix_setxattr(&v->f, v->gfid[10 + i], "user.tail",
                                          v->buf, 5000, 0), 0);
        fix_idle(&v->f);
        remember(v);
    }
}

/* -- what was written ----------------------------------------------------- */

static enum victim_area area_of(const struct fmt_super *sb, uint64_t lba,
                                const uint8_t *p)
{
    struct fmt_node h;

    memcpy(&h, p, sizeof h);
    if (lba < AREA_BLOCKS || lba >= sb->size - AREA_BLOCKS)
        return VICTIM_SUPER;
    if (lba < sb->jrn_lba)
        return VICTIM_FREE;
    if (lba < sb->grp_lba)
        return VICTIM_JOURNAL;
    if (lba < sb->grp_lba + GROUP_HEAD)
        return VICTIM_MAP;
    return h.magic == FMT_NODE_MAGIC && h.lba == lba ? VICTIM_NODE
                                                     : VICTIM_OTHER;
}

/* Replay the recording; what each block held before it was last written. Any
 * block from event @tail on is the tail's. */
static void learn_blocks(struct victim *v, size_t tail)
{
    uint64_t blocks = VICTIM_SIZE / CFS_BLOCK;
    struct victim_block *at = calloc(blocks, sizeof *at);
    uint8_t *now = calloc(blocks, CFS_BLOCK);
    const uint8_t *bytes = recdev_bytes(v->dev);
    struct fmt_super sb;

    assert_true(at && now);
    memcpy(&sb, bytes, sizeof sb);
    for (size_t e = 0; e < recdev_events(v->dev); e++) {
        uint64_t off;
        size_t len;
        const uint8_t *p = recdev_event(v->dev, e, &off, &len);

        for (size_t k = 0; k < len; k += CFS_BLOCK) {
            struct victim_block *b = &at[(off + k) / CFS_BLOCK];

            if (!b->old)
                b->old = malloc(CFS_BLOCK);
            memcpy(b->old, now + off + k, CFS_BLOCK);
            memcpy(now + off + k, p + k, CFS_BLOCK);
            b->live = e >= v->live;
            b->tail = e >= tail;
        }
    }
    assert_memory_equal(now, bytes, VICTIM_SIZE);
    v->block = calloc(blocks, sizeof *v->block);
    for (uint64_t lba = 0; lba < blocks; lba++) {
        if (!at[lba].old)
            continue;
        at[lba].lba = lba;
        at[lba].area = area_of(&sb, lba, now + lba * CFS_BLOCK);
        v->block[v->n_blocks++] = at[lba];
    }
    free(now);
    free(at);
}

void victim_make(struct victim *v, bool killed)
{
    struct ops_config config = ops_config_default;
    struct cfs_log *silent;
    size_t tail = SIZE_MAX;

    *v = (struct victim){.buf = fix_pattern((uint32_t)BUF, 3)};
    config.eng.cache_size = 4 << 20;
    config.eng.checkpoint_ms = 3600 * 1000;
    config.pack = config.eng.packs = true;
    v->dev = recdev_new(VICTIM_SIZE);
    recdev_record(v->dev);
    fix_open_on(&v->f, &config, recdev_open(v->dev));
    furnish(v);
    if (killed) {
        assert_int_equal(fix_fsync(&v->f, v->gfid[1]), 0);
        fix_idle(&v->f);
        tail = recdev_events(v->dev);
        remember(v);
        add_tail(v);
        recdev_kill(v->dev);
    } else {
        assert_int_equal(fix_session_close(&v->f, v->f.session.no), 0);
        fix_idle(&v->f);
        v->n--; /* the orphan went with its session */
        remember(v);
    }
    fix_halt(&v->f);
    learn_blocks(v, tail);
    /* Of what is wrong with an image nobody wants to read. */
    assert_int_equal(cfs_log_open(&silent, "/dev/null", CFS_LOG_ERROR,
                                  CFS_LOG_PLAIN, NULL), 0);
    cfs_log_close(v->f.log);
    v->f.log = silent;
    recdev_record(v->dev);
    v->cut = reccut_new(v->dev);
}

void victim_free(struct victim *v)
{
    fix_close(&v->f);
    reccut_free(v->cut);
    recdev_free(v->dev);
    for (unsigned i = 0; i < v->n_blocks; i++)
        free(v->block[i].old);
    free(v->block);
    free(v->buf);
    cfs_buf_pool_drain();
}

struct recdev *victim_image(struct victim *v)
{
    return reccut_killed(v->cut, 0);
}

/* -- what a client sees --------------------------------------------------- */

struct seen {
    XXH3_state_t *h;
    int           rc;
};

static void add_bytes(struct seen *s, const void *p, size_t len)
{
    XXH3_64bits_update(s->h, p, len);
}

/* Of a file that has a forged size, the first and last of them. */
static void see_bytes(struct victim *v, struct cfs_gfid g, uint64_t size,
                      struct seen *s)
{
    for (uint64_t at = 0; at < size && s->rc == 0;) {
        if (at == 4 * BUF && size > 8 * BUF)
            at = size - BUF;
        int n = fix_read(&v->f, g, at, v->buf, (uint32_t)BUF);

        if (n <= 0) {
            s->rc = n < 0 ? n : -EBADMSG; /* nothing, below its size */
        } else {
            add_bytes(s, v->buf, (size_t)n);
            at += (uint64_t)n;
        }
    }
}

static void see_link(struct victim *v, struct cfs_gfid g, struct seen *s)
{
    struct cfs_readlink op = {.req = {.fop = CFS_FOP_READLINK,
                                      .epoch = v->f.view.epoch}};

    op.gfid = g;
    fix_begin(&v->f);
    s->rc = fix_do(&v->f, &op.req);
    if (s->rc == 0)
        add_bytes(s, op.target.p, op.target.len);
}

/* The names in @n bytes of v->buf, each of which must be found by itself. */
static void see_entries(struct victim *v, struct cfs_gfid g, uint32_t n,
                        struct seen *s, uint64_t *cookie)
{
    const uint8_t *at = v->buf;
    struct cfs_dirent e;
    struct cfs_attr a;

    while (s->rc == 0 && cfs_dirent_next(&at, v->buf + n, &e) == 1) {
        char name[256];

        memcpy(name, e.name.s, e.name.len);
        name[e.name.len] = 0;
        add_bytes(s, name, e.name.len + 1);
        add_bytes(s, &e.gfid, sizeof e.gfid);
        add_bytes(s, &e.cookie, sizeof e.cookie);
        *cookie = e.cookie;
        s->rc = fix_lookup(&v->f, g, name, &a);
        if (s->rc == 0)
            add_bytes(s, &a.gfid, sizeof a.gfid);
    }
}

static void see_names(struct victim *v, struct cfs_gfid g, struct seen *s)
{
    uint64_t cookie = 0;
    uint32_t eof = 0;

    while (s->rc == 0 && !eof) {
        struct cfs_readdir op = {.req = {.fop = CFS_FOP_READDIR,
                                         .epoch = v->f.view.epoch}};
        uint32_t n;

        op.gfid = g;
        op.cookie = cookie;
        op.size = 64 << 10;
        fix_begin(&v->f);
        s->rc = fix_do(&v->f, &op.req);
        if (s->rc < 0)
            return;
        eof = op.eof;
        n = (uint32_t)op.entries.len;
        if (n == 0)
            return;
        memcpy(v->buf, op.entries.data, n);
        see_entries(v, g, n, s, &cookie);
    }
}

static void see_xattrs(struct victim *v, struct cfs_gfid g, struct seen *s)
{
    struct cfs_listxattr op = {.req = {.fop = CFS_FOP_LISTXATTR,
                                       .epoch = v->f.view.epoch}};
    char names[512];

    op.gfid = g;
    fix_begin(&v->f);
    s->rc = fix_do(&v->f, &op.req);
    if (s->rc < 0 || op.names.len == 0)
        return;
    if (op.names.len >= sizeof names) {
        s->rc = -EBADMSG;
        return;
    }
    memcpy(names, op.names.p, op.names.len);
    names[op.names.len] = 0;
    add_bytes(s, names, op.names.len);
    for (const char *at = names; *at && s->rc == 0; at += strlen(at) + 1) {
        int n = fix_getxattr(&v->f, g, at, v->buf, (uint32_t)BUF);

        if (n < 0)
            s->rc = n;
        else
            add_bytes(s, v->buf, (size_t)n);
    }
}

int victim_see(struct victim *v, struct cfs_gfid g, uint64_t *ret)
{
    struct seen s = {.h = XXH3_createState()};
    uint8_t packed[CFS_ATTR_PACKED];
    struct cfs_attr a = {0};

    XXH3_64bits_reset(s.h);
    s.rc = fix_getattr(&v->f, g, &a);
    if (s.rc == 0) {
        cfs_attr_pack(&a, packed);
        add_bytes(&s, packed, sizeof packed);
        if (S_ISDIR(a.mode))
            see_names(v, g, &s);
        else if (S_ISLNK(a.mode))
            see_link(v, g, &s);
        else if (S_ISREG(a.mode))
            see_bytes(v, g, a.size, &s);
    }
    if (s.rc == 0)
        see_xattrs(v, g, &s);
    if (s.rc == 0)
        *ret = XXH3_64bits_digest(s.h);
    XXH3_freeState(s.h);
    return s.rc;
}

/* -- looking -------------------------------------------------------------- */

static int open_brick(struct victim *v, bool read_only)
{
    struct cfs_err err = {0};
    struct ops_config config = v->f.config;
    int rc;

    config.eng.read_only = config.eng.blocking = read_only;
    rc = ops_open(v->f.loop, v->f.log, "victim", v->f.dev, &config, &v->f.ops,
                  &err);
    v->f.open = rc == 0;
    return rc;
}

static void ignore_found(void *ctx, const struct fsck_finding *f)
{
}

static void ignore_progress(void *ctx, const char *what, uint64_t done,
                            uint64_t of)
{
}

int victim_fsck(struct victim *v, uint64_t *ret_findings)
{
    struct fsck_config config = {.data = true, .found = ignore_found,
                                 .progress = ignore_progress};
    struct fsck_result r = {0};
    struct cfs_brick *info;
    struct rec_brick counts;
    int rc = open_brick(v, true);

    if (rc < 0)
        return rc;
    info = calloc(1, sizeof *info);
    ops_info(v->f.ops, info);
    counts = (struct rec_brick){
        .session_max = info->session_max,
        .inodes = info->inodes,
        .dirty = info->dirty,
        .oplog = info->oplog,
    };
    config.counts = &counts;
    fsck_run(v->f.loop, ops_engine(v->f.ops), &config, &r);
    fix_halt(&v->f);
    free(info);
    *ret_findings = r.findings + r.incomplete;
    return 0;
}

int victim_start(struct victim *v)
{
    struct cfs_session_attach op = {.req.fop = CFS_FOP_SESSION_ATTACH};
    int rc = open_brick(v, false);

    if (rc < 0)
        return rc;
    v->f.n_known = 0;
    v->f.view.epoch++;
    v->f.view.m[0].incarnation = eng_incarnation(ops_engine(v->f.ops));
    v->f.view.id.b[1]++;
    if (fix_view(&v->f, &v->f.view) < 0)
        return 0; /* then it serves nobody: each read fails */
    op.session = v->f.session;
    op.req.epoch = v->f.view.epoch;
    fix_begin(&v->f);
    (void)fix_do(&v->f, &op.req);
    return 0;
}

/* An error that says that something is wrong with the device; not that what
 * is asked for is not there. */
static bool is_honest(int rc)
{
    return rc == -CFS_E_CORRUPT || rc == -CFS_E_CHECKSUM || rc == -EIO ||
           rc == -CFS_E_POISONED;
}

static void see_all(struct victim *v, struct victim_look *ret)
{
    ret->states = (1u << v->states) - 1;
    for (unsigned i = 0; i < v->n; i++) {
        uint64_t got = 0;
        int rc = victim_see(v, v->gfid[i], &got);

        if (rc < 0) {
            ret->errors++;
            if (is_honest(rc))
                continue;
            fprintf(stderr, "inode %u: %s\n", i, cfs_err_str(rc));
            ret->lied = true;
        }
        for (unsigned k = 0; k < v->states && rc == 0; k++)
            if (v->want[k][i] != got)
                ret->states &= ~(1u << k);
        if (ret->states == 0 && !ret->lied) {
            fprintf(stderr, "inode %u is as it never was\n", i);
            ret->lied = true;
        }
    }
}

void victim_look(struct victim *v, struct recdev *image,
                 struct victim_look *ret)
{
    *ret = (struct victim_look){0};
    fix_put_on(&v->f, recdev_open(image));
    ret->opened = victim_fsck(v, &ret->findings) == 0;
    if (victim_start(v) < 0)
        return;
    ret->started = true;
    see_all(v, ret);
    fix_halt(&v->f);
}
