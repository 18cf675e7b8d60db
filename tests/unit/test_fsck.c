/* SPDX-License-Identifier: Apache-2.0 */
/* test_fsck.c - a sound brick with every kind of object is clean, with its
 * journal and without; every kind of damage that is planted in one is found,
 * named and told with the path that it concerns, and nothing else is. */
#include "tests/unit/fsck_world.h"

#include <stdlib.h>
#include <sys/stat.h>

static void assert_clean(struct found *all)
{
    found_print(all);
    assert_int_equal(all->n, 0);
    assert_int_equal(all->r.findings, 0);
    assert_false(all->r.incomplete);
    found_free(all);
}

static void a_sound_brick_is_clean(void **state)
{
    struct world w;
    struct found all;

    world_open(&w);
    world_stop(&w);
    found_check(&w, true, false, &all);
    assert_clean(&all);
    assert_int_equal(all.r.directories, 5);
    assert_int_equal(all.r.orphans, 1);
    assert_true(all.r.verified >= 2 * CHUNK_BLOCKS + 1 + 2 + 3);
    found_check(&w, false, false, &all);
    assert_clean(&all);
    assert_int_equal(all.r.verified, 0);
    fix_close(&w.f);
}

static void a_killed_brick_is_clean_with_its_journal(void **state)
{
    struct world w;
    struct found all;

    world_open(&w);
    fix_kill(&w.f);
    found_check_applied(&w, &all);
    assert_clean(&all);
    assert_int_equal(all.r.directories, 5);
    found_check_applied(&w, &all); /* the first look changed nothing */
    assert_clean(&all);
    found_check(&w, true, true, &all); /* as before all of it */
    assert_clean(&all);
    assert_int_equal(all.r.directories, 1);
    fix_close(&w.f);
}

/* -- each damage is found, and nothing else ------------------------------- */

static bool was_found(const struct found *all, const char *what)
{
    for (unsigned i = 0; i < all->n; i++)
        if (strcmp(all->line[i], what) == 0)
            return true;
    return false;
}

/* @line with each number as "#", in place. */
static void hide_numbers(char *line)
{
    char *text = strrchr(line, '|'), *to = text;

    for (const char *s = text; *s; s++) {
        bool digit = *s >= '0' && *s <= '9';

        if (digit && to > text && to[-1] == '#')
            continue;
        *to++ = digit ? '#' : *s;
    }
    *to = '\0';
}

static void expect(const struct damage *d, struct found *all)
{
    unsigned n = 0;

    for (unsigned i = 0; i < all->n; i++)
        hide_numbers(all->line[i]);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(d->line) && d->line[i]; i++, n++)
        if (!was_found(all, d->line[i])) {
            found_print(all);
            fail_msg("%s: not found: %s", d->name, d->line[i]);
        }
    if (all->n != n) {
        found_print(all);
        fail_msg("%s: %u findings instead of %u", d->name, all->n, n);
    }
    assert_int_equal(all->r.findings, n);
    assert_false(all->r.incomplete);
}

/* A copy of what lies on @dev. */
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

static void every_damage_is_found_and_nothing_else(void **state)
{
    struct cfs_dev *sound;
    struct world w;

    world_open(&w);
    world_stop(&w);
    sound = w.f.dev;
    for (size_t i = 0; i < n_damages; i++) {
        struct found all;
        struct cfs_dev *dev = copy_dev(sound);
        struct cfs_dev_loan loan;

        cfs_dev_lend(&loan, dev);
        w.f.dev = dev;
        damage_plant(&w, &damages[i]);
        found_check(&w, true, false, &all);
        expect(&damages[i], &all);
        found_free(&all);
        cfs_dev_take_back(&loan);
        dev->ops->close(dev);
    }
    w.f.dev = sound;
    fix_close(&w.f);
}

/* -- damage of the tree itself -------------------------------------------- */

struct nodes {
    uint64_t lba[4096];
    unsigned n;
};

static void on_used(void *ctx, struct eng_ext ext, const char *what)
{
    struct nodes *nodes = ctx;

    if (strcmp(what, "node") == 0 && nodes->n < CFS_ARRAY_SIZE(nodes->lba))
        nodes->lba[nodes->n++] = ext.lba;
}

static void on_bad(void *ctx, const char *fmt, ...)
{
    fail_msg("a sound tree is called bad");
}

static void a_damaged_node_is_found_and_not_taken_for_missing_records(
    void **state)
{
    struct nodes nodes = {.n = 0};
    const struct eng_check collect = {
        .ctx = &nodes, .bad = on_bad, .used = on_used};
    struct world w;
    struct eng *e;

    world_open(&w);
    world_stop(&w);
    e = world_open_bare(&w, true);
    assert_int_equal(eng_check(e, &collect), 0);
    world_close_bare(&w, e);
    assert_true(nodes.n > 3);
    for (unsigned i = 1; i < nodes.n; i++) { /* without the root, none opens */
        struct found all;

        damage_flip(&w, nodes.lba[i], 2000);
        found_check(&w, true, false, &all);
        assert_true(all.r.incomplete);
        assert_true(all.n >= 2); /* the node, and the records in it */
        for (unsigned j = 0; j < all.n; j++)
            if (strncmp(all.line[j], "lost|", 5) == 0 ||
                strncmp(all.line[j], "nlink|", 6) == 0 ||
                strncmp(all.line[j], "brick|", 6) == 0)
                fail_msg("node %u: %s", i, all.line[j]);
        found_free(&all);
        damage_flip(&w, nodes.lba[i], 2000);
    }
    fix_close(&w.f);
}

/* -- data that takes more than one batch to verify ------------------------ */

#define MIB ((uint64_t)1 << 20)
#define LARGE (150 * MIB) /* three batches */

static uint64_t lba_of(struct world *w, struct cfs_gfid g, uint64_t block)
{
    struct eng *e = world_open_bare(w, true);
    struct rec_chunk c = fix_chunk(e, g, block / CHUNK_BLOCKS);

    world_close_bare(w, e);
    return c.lba[block % CHUNK_BLOCKS];
}

static void make_large(struct world *w, struct cfs_gfid *ret)
{
    struct ops_config config = ops_config_default;
    uint8_t *data = malloc(MIB);
    struct cfs_dev *dev;

    memset(w, 0, sizeof *w);
    assert_non_null(data);
    assert_int_equal(cfs_dev_mem(256 * MIB, &dev), 0);
    fix_open_on(&w->f, &config, dev);
    assert_int_equal(fix_create(&w->f, cfs_gfid_root, "large", S_IFREG | 0600,
                                ret), 0);
    for (uint64_t at = 0; at < LARGE; at += MIB) {
        memset(data, (int)(1 + at / MIB % 251), MIB);
        assert_int_equal(fix_write(&w->f, *ret, at, data, MIB), 0);
    }
    free(data);
    world_stop(w);
}

static void every_block_of_a_large_file_is_verified(void **state)
{
    static const uint64_t hurt[] = {0, 16383, 16384, 30000,
                                    LARGE / CFS_BLOCK - 1};
    struct cfs_gfid g;
    struct found all;
    struct world w;

    make_large(&w, &g);
    found_check(&w, true, false, &all);
    assert_int_equal(all.r.verified, LARGE / CFS_BLOCK);
    assert_clean(&all);
    for (size_t i = 0; i < CFS_ARRAY_SIZE(hurt); i++)
        damage_flip(&w, lba_of(&w, g, hurt[i]), 100);
    found_check(&w, true, false, &all);
    assert_int_equal(all.r.verified, LARGE / CFS_BLOCK);
    assert_int_equal(all.n, CFS_ARRAY_SIZE(hurt));
    for (size_t i = 0; i < CFS_ARRAY_SIZE(hurt); i++) {
        char *start = tool_format("checksum|/large|block %llu of it, at ",
                                  (unsigned long long)hurt[i]);
        unsigned n = 0;

        for (unsigned j = 0; j < all.n; j++)
            n += strncmp(all.line[j], start, strlen(start)) == 0;
        assert_int_equal(n, 1);
        free(start);
    }
    found_free(&all);
    fix_close(&w.f);
}

/* -- records that somebody made up ---------------------------------------- */

/* One bit of a record's value, or of its key. */
static void garble(struct eng *e, const struct rec_key *old, uint64_t *seed)
{
    uint8_t value[ENG_VALUE_MAX];
    struct rec_key k = *old;
    struct cfs_blob v;

    if (eng_get(e, rec_key_blob(old), &v) < 0)
        return; /* changed in an earlier round */
    memcpy(value, v.p, v.len);
    v.p = value;
    if (v.len > 0 && world_random(seed) % 4 > 0)
        value[world_random(seed) % v.len] ^= (uint8_t)(
            1u << world_random(seed) % 8);
    else
        k.b[world_random(seed) % k.len] ^= (uint8_t)(
            1u << world_random(seed) % 8);
    assert_int_equal(eng_touch(e, rec_key_blob(&k)), 0);
    assert_int_equal(eng_begin(e, 1, k.len + v.len, 100, 0), 0);
    eng_put(e, rec_key_blob(&k), v);
}

static void no_record_can_keep_it_from_going_on(void **state)
{
    struct world_keys keys = {0};
    uint64_t seed = 20;
    struct found found;
    struct world w;
    struct eng *e;

    world_open(&w);
    world_stop(&w);
    for (unsigned round = 0; round < 60; round++) {
        e = world_open_bare(&w, false);
        if (round == 0)
            world_keys(e, &keys);
        for (unsigned i = 0; i < 1 + round / 4; i++)
            garble(e, &keys.key[world_random(&seed) % keys.n], &seed);
        world_close_bare(&w, e);
        found_check(&w, true, false, &found);
        assert_false(found.r.incomplete);
        found_free(&found);
    }
    assert_true(found.r.findings > 100);
    free(keys.key);
    fix_close(&w.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_brick_is_clean),
        cmocka_unit_test(a_killed_brick_is_clean_with_its_journal),
        cmocka_unit_test(every_damage_is_found_and_nothing_else),
        cmocka_unit_test(
            a_damaged_node_is_found_and_not_taken_for_missing_records),
        cmocka_unit_test(every_block_of_a_large_file_is_verified),
        cmocka_unit_test(no_record_can_keep_it_from_going_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
