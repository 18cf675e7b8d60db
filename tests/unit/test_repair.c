/* SPDX-License-Identifier: Apache-2.0 */
/* test_repair.c - fsck --repair: after it a brick is sound, whatever was wrong
 * with it; what was not hurt is as it was; what was lost is never taken for
 * something else; the brick says that it was changed. With the power cut
 * anywhere on the way it is as it was, or mended. */
#include <stdlib.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "server/fsck_repair.h"
#include "tests/unit/fsck_world.h"
#include "tests/unit/recdev.h"
#include "xlators/storage/block/engine/super.h"

/* -- repairing ------------------------------------------------------------ */

static void on_found(void *ctx, const struct fsck_finding *f)
{
    if (getenv("CFS_TELL"))
        print_message("  %s|%s|%s\n", f->kind, f->path ? f->path : "-",
                      f->text);
}

static bool is_no(void *ctx, const struct fsck_repair_result *r)
{
    return false;
}

/* 0, or an error of the opening or the repair. */
static int repair_as(struct world *w, struct fsck_repair_config config,
                     struct fsck_repair_result *ret)
{
    struct cfs_err err = {0};
    struct tool_brick b;
    struct fsck_early early;
    int rc;

    config.found = on_found;
    config.data = true;
    *ret = (struct fsck_repair_result){0};
    rc = fsck_repair_open(w->f.loop, w->f.dev, "test", &config, &b, &early,
                          &err);
    if (rc < 0)
        return rc;
    rc = fsck_repair(&b, &early, &config, ret, &err);
    if (rc < 0 && getenv("CFS_TELL"))
        print_message("  repair: %s\n", err.text);
    tool_close_keep(&b);
    return rc;
}

static int repair(struct world *w, struct fsck_repair_result *ret)
{
    return repair_as(w, (struct fsck_repair_config){0}, ret);
}

static void assert_sound(struct world *w, const char *what)
{
    const struct ops_config usual = w->f.config;
    struct found all;

    found_check_applied(w, &all);
    w->f.config = usual;
    if (all.r.findings != 0 || all.r.incomplete) {
        found_print(&all);
        fail_msg("%s: %llu findings are left", what,
                 (unsigned long long)all.r.findings);
    }
    found_free(&all);
}

/* -- what is in files ----------------------------------------------------- */

/* The inode's record; false: there is none. */
static bool inode_of(struct eng *e, struct cfs_gfid g, struct rec_inode *ret)
{
    struct rec_key k;
    struct cfs_blob v;

    rec_key_gfid(&k, REC_INODE, g);
    return eng_get(e, rec_key_blob(&k), &v) == 0 &&
           rec_inode_unpack(v, ret) == 0;
}

static bool block_is(struct world *w, struct eng *e, struct cfs_gfid g,
                     uint64_t block, uint64_t size)
{
    uint8_t *data = aligned_alloc(4096, 4096);
    struct rec_chunk c;
    struct rec_key k;
    struct cfs_blob v;
    bool same;

    rec_key_gfid_u64(&k, REC_CHUNK, g, block / CHUNK_BLOCKS);
    same = eng_get(e, rec_key_blob(&k), &v) == 0 &&
           rec_chunk_unpack(v, &c) == 0 &&
           (c.mapped >> block % CHUNK_BLOCKS & 1) &&
           tool_read(w->f.loop, e, c.lba[block % CHUNK_BLOCKS], 1, data) == 0;
    for (uint64_t i = 0; i < 4096 && same; i++) {
        uint64_t at = block * 4096 + i;

        same = data[i] == (at < size ? (uint8_t)(1 + at % 251) : 0);
    }
    free(data);
    return same;
}

/* @g has the @size bytes that the world gave it, in blocks. */
static bool intact(struct world *w, struct eng *e, struct cfs_gfid g,
                   uint64_t size)
{
    struct rec_inode i;

    if (!inode_of(e, g, &i) || i.size != size || (i.flags & REC_LOST))
        return false;
    for (uint64_t block = 0; block * 4096 < size; block++)
        if (!block_is(w, e, g, block, size))
            return false;
    return true;
}

static bool concerns(const struct damage *d, const char *path)
{
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(d->line) && d->line[i]; i++)
        if (strstr(d->line[i], path))
            return true;
    return false;
}

static struct rec_brick brick_of(struct eng *e)
{
    struct rec_brick b;
    struct rec_key k;
    struct cfs_blob v;

    rec_key_table(&k, REC_BRICK);
    assert_int_equal(eng_get(e, rec_key_blob(&k), &v), 0);
    assert_int_equal(rec_brick_unpack(v, &b), 0);
    return b;
}

/* What @d does not concern is as it was. */
static void assert_rest_intact(struct world *w, const struct damage *d)
{
    struct eng *e = world_open_bare(w, true);

    if (!concerns(d, "/dir/big") && strcmp(d->name, "removal under way") != 0)
        assert_true(intact(w, e, w->big, 2 * CHUNK_BYTES + 10));
    if (!concerns(d, "/dir/sub/second"))
        assert_true(intact(w, e, w->second, 5000));
    world_close_bare(w, e);
}

/* A device that the fixture may close as often as it likes. */
static void lend(struct world *w, struct cfs_dev_loan *l, struct cfs_dev *dev)
{
    cfs_dev_lend(l, dev);
    w->f.dev = dev;
}

static void give_back(struct world *w, struct cfs_dev_loan *l,
                      struct cfs_dev *own)
{
    cfs_dev_take_back(l);
    l->dev->ops->close(l->dev);
    w->f.dev = own;
}

static struct cfs_dev *copy_dev(struct cfs_dev *dev)
{
    const size_t step = 1u << 20;
    uint8_t *buf = aligned_alloc(4096, step);
    struct iovec iov = {buf, step};
    struct cfs_dev *copy;

    assert_int_equal(cfs_dev_mem(dev->size, &copy), 0);
    for (uint64_t at = 0; at < dev->size; at += step) {
        assert_int_equal(dev->ops->read(dev, CFS_DEV_BUFFERED, at, buf, step),
                         0);
        if (buf[0] != 0 || memcmp(buf, buf + 1, step - 1) != 0)
            assert_int_equal(copy->ops->write(copy, CFS_DEV_BUFFERED, at,
                                              &iov, 1, step), 0);
    }
    free(buf);
    return copy;
}

/* -- each kind of damage -------------------------------------------------- */

/* A start sets this right by itself. */
static bool is_seen_by_start(const struct damage *d)
{
    return strcmp(d->name, "session that nobody gave") == 0;
}

static void every_damage_is_mended_and_nothing_else_changed(void **state)
{
    struct cfs_dev *sound;
    struct world w;

    world_open(&w);
    world_stop(&w);
    sound = w.f.dev;
    for (size_t i = 0; i < n_damages; i++) {
        const struct damage *d = &damages[i];
        bool none = !d->line[0];
        struct fsck_repair_result r;
        struct cfs_dev_loan lent;
        struct eng *e;

        lend(&w, &lent, copy_dev(sound));
        damage_plant(&w, d);
        if (getenv("CFS_TELL"))
            print_message("%s\n", d->name);
        assert_int_equal(repair(&w, &r), 0);
        assert_int_equal(r.written, r.first.findings > 0);
        assert_true(r.written || none || is_seen_by_start(d));
        assert_sound(&w, d->name);
        assert_rest_intact(&w, d);
        e = world_open_bare(&w, true);
        assert_int_equal(brick_of(e).repaired > 0, r.changed);
        if (r.changed)
            assert_false(brick_of(e).clean);
        world_close_bare(&w, e);
        assert_int_equal(repair(&w, &r), 0);
        assert_false(r.written);
        give_back(&w, &lent, sound);
    }
    fix_close(&w.f);
}

/* -- what is lost stays lost ---------------------------------------------- */

static void serve_again(struct world *w)
{
    assert_int_equal(fix_start(&w->f), 0);
    fix_next_view(&w->f, true);
    fix_attach(&w->f);
    w->f.n_known = 0; /* versions are others now */
}

static void plant_no_chunk(struct plant *p)
{
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_CHUNK, p->w->big, 1);
    assert_int_equal(eng_touch(p->e, rec_key_blob(&k)), 0);
    assert_int_equal(eng_begin(p->e, 1, 1000, 1000, 0), 0);
    eng_del(p->e, rec_key_blob(&k));
}

static void lost_data_is_an_error_and_never_zeros(void **state)
{
    static const struct damage lost = {"no chunk", plant_no_chunk, {0}};
    static uint8_t buf[CHUNK_BYTES], one[4096] = {7};
    struct fsck_repair_result r;
    struct world w;

    world_open(&w);
    world_stop(&w);
    damage_plant(&w, &lost);
    assert_int_equal(repair(&w, &r), 0);
    assert_true(r.lost);
    assert_int_equal(r.last.lost_files, 1);
    assert_sound(&w, lost.name);
    serve_again(&w);
    assert_int_equal(fix_read(&w.f, w.big, 0, buf, CHUNK_BYTES), CHUNK_BYTES);
    assert_int_equal(buf[1000], 1 + 1000 % 251);
    assert_int_equal(fix_read(&w.f, w.big, CHUNK_BYTES, buf, 4096),
                     -CFS_E_CHECKSUM);
    assert_int_equal(fix_read(&w.f, w.big, 2 * CHUNK_BYTES, buf, 4096), 10);
    /* What is written anew can be read; a part of a block cannot be added. */
    assert_int_equal(fix_write(&w.f, w.big, CHUNK_BYTES, one, 100),
                     -CFS_E_CHECKSUM);
    assert_int_equal(fix_write(&w.f, w.big, CHUNK_BYTES, one, 4096), 0);
    assert_int_equal(fix_read(&w.f, w.big, CHUNK_BYTES, buf, 4096), 4096);
    assert_int_equal(buf[0], 7);
    assert_int_equal(fix_read(&w.f, w.big, CHUNK_BYTES + 4096, buf, 1),
                     -CFS_E_CHECKSUM);
    /* An empty file has lost nothing. */
    assert_int_equal(fix_truncate(&w.f, w.big, 0), 0);
    assert_int_equal(fix_truncate(&w.f, w.big, 100000), 0);
    assert_int_equal(fix_read(&w.f, w.big, CHUNK_BYTES / 2, buf, 4096), 4096);
    assert_int_equal(buf[0], 0);
    world_stop(&w);
    assert_sound(&w, "afterwards");
    fix_close(&w.f);
}

static void a_bad_block_stays_bad_and_is_no_news(void **state)
{
    static uint8_t buf[8192];
    const struct damage *flip = NULL;
    struct fsck_repair_result r;
    struct cfs_version was, is;
    struct rec_inode i;
    struct found all;
    struct world w;
    struct eng *e;

    for (size_t n = 0; n < n_damages; n++)
        if (strcmp(damages[n].name, "flipped bit") == 0)
            flip = &damages[n];
    assert_non_null(flip);
    world_open(&w);
    world_stop(&w);
    e = world_open_bare(&w, true);
    assert_true(inode_of(e, w.big, &i));
    was = i.version;
    world_close_bare(&w, e);
    damage_plant(&w, flip);
    assert_int_equal(repair(&w, &r), 0);
    assert_true(r.lost);
    found_check(&w, true, false, &all);
    assert_int_equal(all.r.findings, 0);
    assert_int_equal(all.r.lost_files, 1);
    assert_int_equal(all.known, 2); /* the file, and its block */
    found_free(&all);
    e = world_open_bare(&w, true);
    assert_true(inode_of(e, w.big, &i));
    is = i.version;
    world_close_bare(&w, e);
    assert_int_equal(is.epoch, 0);
    assert_int_equal(is.seq, was.seq);
    serve_again(&w);
    assert_int_equal(fix_read(&w.f, w.big, CHUNK_BYTES + 4 * 4096, buf, 4096),
                     -CFS_E_CHECKSUM);
    assert_int_equal(fix_read(&w.f, w.big, CHUNK_BYTES + 2 * 4096, buf, 8192),
                     8192);
    fix_close(&w.f);
}

/* A brick in service again is not repaired for ever. */
static void a_view_ends_being_repaired(void **state)
{
    struct fsck_repair_result r;
    struct cfs_brick *info = test_malloc(sizeof *info);
    struct world w;

    world_open(&w);
    world_stop(&w);
    damage_plant(&w, &damages[2]); /* a count of links */
    assert_int_equal(repair(&w, &r), 0);
    assert_int_equal(fix_start(&w.f), 0);
    ops_info(w.f.ops, info);
    assert_true(info->repaired);
    assert_false(info->clean);
    fix_next_view(&w.f, true);
    ops_info(w.f.ops, info);
    assert_false(info->repaired);
    fix_halt(&w.f);
    assert_int_equal(fix_start(&w.f), 0);
    ops_info(w.f.ops, info);
    assert_false(info->repaired);
    test_free(info);
    fix_close(&w.f);
}

/* -- nodes, maps, superblocks, journal ------------------------------------ */

struct lbas {
    uint64_t lba[4096];
    unsigned n;
};

static void on_used(void *ctx, struct eng_ext ext, const char *what)
{
    struct lbas *all = ctx;

    for (uint32_t i = 0; i < ext.n && i < 8; i++)
        if (all->n < CFS_ARRAY_SIZE(all->lba))
            all->lba[all->n++] = ext.lba + i;
}

static void on_bad(void *ctx, const char *fmt, ...)
{
    fail_msg("a sound tree is called bad");
}

/* Every block of metadata: nodes, values, maps; superblocks, records; the
 * journal's first. */
static void metadata(struct world *w, struct lbas *ret)
{
    const struct eng_check collect = {
        .ctx = ret, .bad = on_bad, .used = on_used};
    struct fmt_super sb;
    struct eng *e = world_open_bare(w, true);

    ret->n = 0;
    assert_int_equal(eng_check(e, &collect), 0);
    world_close_bare(w, e);
    assert_int_equal(super_read(w->f.dev, true, &sb, NULL), 0);
    for (unsigned end = 0; end < 2; end++) {
        uint64_t area = end ? sb.size - AREA_BLOCKS : 0;

        ret->lba[ret->n++] = area;
        ret->lba[ret->n++] = area + SLOT_A;
        ret->lba[ret->n++] = area + SLOT_B;
    }
    for (unsigned i = 0; i < 40; i++)
        ret->lba[ret->n++] = sb.jrn_lba + i;
}

/* Some bits of some of the blocks, or all of a block. */
static void hurt(struct world *w, const struct lbas *all, uint64_t *seed)
{
    unsigned n = 1 + world_random(seed) % 3;

    for (unsigned i = 0; i < n; i++) {
        uint64_t lba = all->lba[world_random(seed) % all->n];
        unsigned bits = world_random(seed) % 8 == 0 ? 400 : 1;

        for (unsigned b = 0; b < bits; b++)
            damage_flip(w, lba, world_random(seed) % 4096);
    }
}

/* Many trials; how many were mended. */
static unsigned trials(struct world *w, unsigned n, uint64_t seed)
{
    struct cfs_dev *sound = w->f.dev;
    unsigned mended = 0;
    struct lbas *all = test_malloc(sizeof *all);

    metadata(w, all);
    for (unsigned i = 0; i < n; i++) {
        struct fsck_repair_result r;
        struct cfs_dev_loan lent;
        int rc;

        lend(w, &lent, copy_dev(sound));
        hurt(w, all, &seed);
        rc = repair(w, &r);
        if (rc == 0) {
            mended++;
            assert_sound(w, "flipped");
        } else {
            /* -EUCLEAN, -EINVAL: it does not look like ours */
            assert_true(rc == -CFS_E_CORRUPT || rc == -EUCLEAN ||
                        rc == -EINVAL);
            assert_false(r.written);
        }
        give_back(w, &lent, sound);
    }
    test_free(all);
    return mended;
}

static void flipped_bits_are_mended_or_refused(void **state)
{
    const unsigned n = getenv("CFS_TRIALS")
                           ? (unsigned)strtoul(getenv("CFS_TRIALS"), NULL, 0)
                           : 60;
    struct world w;

    world_open(&w);
    fix_kill(&w.f);
    /* All but what had no root, no record, no superblock left. */
    assert_true(trials(&w, n, 1) > n * 8 / 10);
    fix_close(&w.f);
    world_open(&w);
    world_stop(&w);
    assert_true(trials(&w, n, 2) > n * 8 / 10);
    fix_close(&w.f);
}

/* With two copies of each node, the first of all of them hurt. */
static void a_second_copy_saves_everything(void **state)
{
    struct ops_config config = ops_config_default;
    struct lbas *all = test_malloc(sizeof *all);
    const struct eng_check collect = {
        .ctx = all, .bad = on_bad, .used = on_used};
    struct fsck_repair_result r;
    struct rec_brick brick;
    struct world w;
    struct eng *e;
    uint64_t half;

    config.eng.copies = 2;
    world_open_as(&w, &config);
    world_stop(&w);
    e = world_open_bare(&w, true);
    half = (eng_first_lba(e) + eng_end_lba(e)) / 2;
    brick = brick_of(e);
    all->n = 0;
    assert_int_equal(eng_check(e, &collect), 0);
    world_close_bare(&w, e);
    for (unsigned i = 0; i < all->n; i++)
        if (all->lba[i] < half)
            damage_flip(&w, all->lba[i], 1000);
    assert_int_equal(repair(&w, &r), 0);
    assert_true(r.first.findings > 10);
    assert_true(r.written && !r.changed && !r.lost);
    assert_sound(&w, "copies");
    e = world_open_bare(&w, true);
    assert_true(intact(&w, e, w.big, 2 * CHUNK_BYTES + 10));
    assert_int_equal(brick_of(e).clean, brick.clean);
    world_close_bare(&w, e);
    assert_int_equal(repair(&w, &r), 0);
    assert_false(r.written);
    test_free(all);
    fix_close(&w.f);
}

/* -- from the checkpoint before ------------------------------------------- */

static int sum_record(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    uint64_t *sum = ctx;

    *sum = XXH3_64bits_withSeed(key.p, key.len, *sum);
    *sum = XXH3_64bits_withSeed(value.p, value.len, *sum);
    return 0;
}

/* Of every record. */
static uint64_t sum_of_all(struct world *w)
{
    const struct cfs_blob all = {0};
    struct eng *e = world_open_bare(w, true);
    uint64_t sum = 0;

    assert_int_equal(eng_scan(e, all, all, sum_record, &sum), 0);
    world_close_bare(w, e);
    return sum;
}

/* A brick that was stopped, with a checkpoint before its last, and all that
 * happened between the two in the journal; ret_root: of its tree. */
static void stopped_later(struct world *w, struct fmt_super *ret_sb,
                          struct fmt_ptr *ret_root)
{
    uint8_t *slot = aligned_alloc(4096, SLOT_BYTES);
    const struct fmt_ckpt *c = (const struct fmt_ckpt *)(const void *)slot;
    char name[16];

    world_open(w);
    fix_settle(&w->f);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "new%u", i);
        fix_file(&w->f, name);
    }
    world_stop(w);
    assert_int_equal(super_read(w->f.dev, true, ret_sb, NULL), 0);
    assert_int_equal(super_read_ckpt(w->f.dev, ret_sb, false, slot, NULL), 0);
    *ret_root = c->root;
    free(slot);
}

/* Any node, the root too, of a tree of which hardly one is as before. */
static void what_rots_at_rest_is_made_anew_and_nothing_is_lost(void **state)
{
    struct lbas *all = test_malloc(sizeof *all);
    const struct eng_check collect = {
        .ctx = all, .bad = on_bad, .used = on_used};
    struct fsck_repair_result r;
    unsigned nodes = 0, whole = 0;
    struct fmt_ptr root;
    struct fmt_super sb;
    struct world w;
    struct eng *e;
    uint64_t sum;

    stopped_later(&w, &sb, &root);
    e = world_open_bare(&w, true);
    all->n = 0;
    assert_int_equal(eng_check(e, &collect), 0);
    world_close_bare(&w, e);
    sum = sum_of_all(&w);
    for (unsigned i = 0; i < all->n; i++) {
        struct cfs_dev *sound = w.f.dev;
        struct cfs_dev_loan lent;

        if (all->lba[i] < sb.grp_lba + GROUP_HEAD)
            continue; /* a map's place */
        nodes++;
        lend(&w, &lent, copy_dev(sound));
        damage_flip(&w, all->lba[i], 100);
        assert_int_equal(repair(&w, &r), 0);
        assert_true(r.mended);
        assert_sound(&w, "rotten");
        if (!r.lost && !r.changed) {
            assert_int_equal(sum_of_all(&w), sum);
            whole++;
        } else {
            assert_true(all->lba[i] != root.lba);
        }
        give_back(&w, &lent, sound);
    }
    assert_true(nodes > 10 && whole > nodes / 2);
    test_free(all);
    fix_close(&w.f);
}

/* Without a journal that reaches the newest checkpoint its changes are gone,
 * and that is told. */
static void without_the_journal_the_checkpoint_before_is_all(void **state)
{
    struct fsck_repair_result r;
    struct fmt_ptr root;
    struct fmt_super sb;
    struct rec_inode i;
    struct world w;
    struct eng *e;

    stopped_later(&w, &sb, &root);
    damage_flip(&w, root.lba, 100);
    for (unsigned k = 0; k < 64; k++)
        damage_flip(&w, sb.jrn_lba + k, 2000);
    assert_int_equal(repair(&w, &r), 0);
    assert_true(r.mended && r.lost && r.changed);
    assert_sound(&w, "older");
    e = world_open_bare(&w, true);
    assert_true(inode_of(e, w.big, &i));
    world_close_bare(&w, e);
    fix_close(&w.f);
}

/* -- records that somebody made up ---------------------------------------- */

/* One bit of a record's value or key; or it goes; or it is under another
 * key. */
static void garble(struct eng *e, const struct world_keys *keys, uint64_t *seed)
{
    static uint8_t value[ENG_VALUE_MAX];
    const struct rec_key *old = &keys->key[world_random(seed) % keys->n];
    struct rec_key k = *old;
    struct cfs_blob v;
    unsigned how = world_random(seed) % 8;

    if (eng_get(e, rec_key_blob(old), &v) < 0)
        return;
    memcpy(value, v.p, v.len);
    v.p = value;
    if (how == 0)
        k = keys->key[world_random(seed) % keys->n];
    else if (how == 1)
        k.b[world_random(seed) % k.len] ^= (uint8_t)(
            1u << world_random(seed) % 8);
    else if (how < 6 && v.len > 0)
        value[world_random(seed) % v.len] ^= (uint8_t)(
            1u << world_random(seed) % 8);
    assert_int_equal(eng_touch(e, rec_key_blob(&k)), 0);
    assert_int_equal(eng_begin(e, 1, k.len + v.len, 100, 0), 0);
    if (how < 6)
        eng_put(e, rec_key_blob(&k), v);
    else
        eng_del(e, rec_key_blob(&k));
}

static void made_up_records_are_mended(void **state)
{
    const unsigned n = getenv("CFS_TRIALS")
                           ? (unsigned)strtoul(getenv("CFS_TRIALS"), NULL, 0)
                           : 60;
    struct world_keys keys = {0};
    struct cfs_dev *sound;
    struct world w;
    struct eng *e;

    world_open(&w);
    world_stop(&w);
    sound = w.f.dev;
    e = world_open_bare(&w, true);
    world_keys(e, &keys);
    world_close_bare(&w, e);
    for (uint64_t i = 0; i < n; i++) {
        struct fsck_repair_result r;
        uint64_t seed = 1000 + i;
        struct cfs_dev_loan lent;

        lend(&w, &lent, copy_dev(sound));
        e = world_open_bare(&w, false);
        for (unsigned k = 0; k < 1 + i / 4; k++)
            garble(e, &keys, &seed);
        world_close_bare(&w, e);
        if (repair(&w, &r) != 0)
            fail_msg("trial %u", (unsigned)i);
        assert_sound(&w, "garbled");
        give_back(&w, &lent, sound);
    }
    free(keys.key);
    fix_close(&w.f);
}

/* -- when it writes ------------------------------------------------------- */

static void it_writes_only_when_it_may(void **state)
{
    struct fsck_repair_result r;
    struct cfs_dev *sound;
    struct cfs_dev_loan lent;
    struct world w;
    uint8_t *a, *b;

    world_open(&w);
    world_stop(&w);
    sound = w.f.dev;
    damage_plant(&w, &damages[3]);
    lend(&w, &lent, copy_dev(sound));
    assert_int_equal(repair_as(&w, (struct fsck_repair_config){.dry = true},
                               &r), 0);
    assert_true(r.changed && !r.written);
    assert_int_equal(repair_as(&w, (struct fsck_repair_config){
                                       .confirm = is_no}, &r), -ECANCELED);
    assert_false(r.written);
    a = aligned_alloc(4096, 1u << 20);
    b = aligned_alloc(4096, 1u << 20);
    for (uint64_t at = 0; at < sound->size; at += 1u << 20) {
        sound->ops->read(sound, CFS_DEV_BUFFERED, at, a, 1u << 20);
        w.f.dev->ops->read(w.f.dev, CFS_DEV_BUFFERED, at, b, 1u << 20);
        assert_memory_equal(a, b, 1u << 20);
    }
    free(a);
    free(b);
    give_back(&w, &lent, sound);
    fix_close(&w.f);
}

/* -- power cuts ----------------------------------------------------------- */

/* The store of @w on a recording device. */
static struct recdev *record(struct world *w)
{
    struct recdev *r = recdev_new(w->f.dev->size);
    uint8_t *to = recdev_bytes(r);

    assert_int_equal(w->f.dev->ops->read(w->f.dev, CFS_DEV_BUFFERED, 0, to,
                                         w->f.dev->size), 0);
    recdev_record(r);
    return r;
}

/* Repair the brick, stopped, with the power cut at each write of it; what is
 * left is repaired again, and looked at. */
static void cut_repairs(struct world *w,
                        void (*look)(struct world *w, const void *arg),
                        const void *arg)
{
    struct fsck_repair_result r;
    struct cfs_dev *own = w->f.dev;
    struct recdev *rec = record(w);
    struct reccut *cut;
    unsigned old = 0;
    struct cfs_dev_loan lent;

    lend(w, &lent, recdev_open(rec));
    assert_int_equal(repair(w, &r), 0);
    assert_true(r.written);
    give_back(w, &lent, own);
    cut = reccut_new(rec);
    for (size_t at = 0; at <= recdev_events(rec); at++) {
        for (uint64_t seed = 0; seed < 3; seed++) {
            struct recdev *image = reccut_image(cut, at, seed);

            lend(w, &lent, recdev_open(image));
            assert_int_equal(repair(w, &r), 0);
            old += r.written;
            look(w, arg);
            give_back(w, &lent, own);
            recdev_free(image);
        }
    }
    assert_true(old > 0);
    reccut_free(cut);
    recdev_free(rec);
}

static void look_mended(struct world *w, const void *arg)
{
    const struct damage *d = arg;

    assert_sound(w, d->name);
    assert_rest_intact(w, d);
}

static void cut_while_repairing(const struct damage *d, uint64_t super)
{
    struct world w;

    world_open(&w);
    world_stop(&w);
    damage_plant(&w, d);
    if (super)
        damage_flip(&w, super - 1, 50);
    cut_repairs(&w, look_mended, d);
    fix_close(&w.f);
}

static void a_cut_repair_can_be_made_again(void **state)
{
    for (size_t i = 0; i < n_damages; i++) {
        if (strcmp(damages[i].name, "bytes behind the end") == 0)
            cut_while_repairing(&damages[i], 1);
        if (strcmp(damages[i].name, "lost blocks") == 0)
            cut_while_repairing(&damages[i], 0);
        if (strcmp(damages[i].name, "damaged inode") == 0)
            cut_while_repairing(&damages[i], 0);
    }
}

static void look_whole(struct world *w, const void *arg)
{
    const uint64_t *sum = arg;

    assert_sound(w, "made anew");
    assert_int_equal(sum_of_all(w), *sum);
}

static void so_can_one_that_makes_the_tree_anew(void **state)
{
    struct fmt_ptr root;
    struct fmt_super sb;
    struct world w;
    uint64_t sum;

    stopped_later(&w, &sb, &root);
    sum = sum_of_all(&w);
    damage_flip(&w, root.lba, 100);
    cut_repairs(&w, look_whole, &sum);
    fix_close(&w.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_damage_is_mended_and_nothing_else_changed),
        cmocka_unit_test(lost_data_is_an_error_and_never_zeros),
        cmocka_unit_test(a_bad_block_stays_bad_and_is_no_news),
        cmocka_unit_test(a_view_ends_being_repaired),
        cmocka_unit_test(flipped_bits_are_mended_or_refused),
        cmocka_unit_test(a_second_copy_saves_everything),
        cmocka_unit_test(what_rots_at_rest_is_made_anew_and_nothing_is_lost),
        cmocka_unit_test(without_the_journal_the_checkpoint_before_is_all),
        cmocka_unit_test(made_up_records_are_mended),
        cmocka_unit_test(it_writes_only_when_it_may),
        cmocka_unit_test(a_cut_repair_can_be_made_again),
        cmocka_unit_test(so_can_one_that_makes_the_tree_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
