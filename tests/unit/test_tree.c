/* SPDX-License-Identifier: Apache-2.0 */
/* test_tree.c - the tree against a plain sorted map: random puts and deletes
 * of all sizes, with checkpoints, kills and starts in between, in a cache that
 * is far too small. A failing run prints its seed; give it as an argument to
 * repeat it. */
#include "tests/unit/cfs_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/eng_rig.h"

#define MIB ((uint64_t)1024 * 1024)

static uint64_t first_seed = 1;

/* How keys and values of a run look. */
struct taste {
    const char *name;
    unsigned    keys;    /* how many different ones */
    unsigned    key_max; /* bytes */
    unsigned    val_max;
    unsigned    large;   /* of 1000 values: up to ENG_VALUE_MAX */
    unsigned    deletes; /* of 1000 operations */
    bool        ordered; /* keys come in ascending order */
};

static const struct taste tastes[] = {
    {"small", 3000, 24, 60, 0, 300, false},
    {"long keys", 1500, ENG_KEY_MAX, 400, 5, 350, false},
    {"large values", 300, 40, 2000, 200, 400, false},
    {"in order", 4000, 20, 150, 2, 100, true},
    {"mostly deleted", 2000, 60, 500, 10, 560, false},
};

/* Key number @i of @t: its length and bytes follow from the number. */
static struct cfs_blob make_key(const struct taste *t, unsigned i,
                                uint8_t *buf)
{
    uint64_t seed = i;
    unsigned len = 5 + (unsigned)(rig_random(&seed) % (t->key_max - 4));

    if (t->ordered) {
        len = 9;
        for (unsigned k = 0; k < 4; k++)
            buf[5 + k] = (uint8_t)(i >> (24 - 8 * k));
        memcpy(buf, "order", 5);
        return (struct cfs_blob){buf, len};
    }
    for (unsigned k = 0; k < len; k++)
        buf[k] = (uint8_t)(rig_random(&seed) % 3);
    for (unsigned k = 0; k < 4; k++)
        buf[len - 4 + k] = (uint8_t)(i >> (8 * k));
    return (struct cfs_blob){buf, len};
}

static struct cfs_blob make_val(const struct taste *t, uint64_t *seed,
                                uint8_t *buf)
{
    unsigned max = rig_random(seed) % 1000 < t->large ? ENG_VALUE_MAX
                                                      : t->val_max;
    uint32_t len = (uint32_t)(rig_random(seed) % (max + 1));
    uint8_t fill = (uint8_t)rig_random(seed);

    for (uint32_t i = 0; i < len; i++)
        buf[i] = (uint8_t)(fill + i * 7 + i / 251);
    return (struct cfs_blob){buf, len};
}

/* Returns false when it failed because a read did. */
static bool one_step(struct rig *r, const struct taste *t, uint64_t *seed,
                     unsigned step, uint8_t *val_buf)
{
    uint8_t key_buf[ENG_KEY_MAX];
    unsigned i = t->ordered ? step : (unsigned)(rig_random(seed) % t->keys);
    struct cfs_blob key = make_key(t, i, key_buf);
    int rc;

    if (rig_random(seed) % 1000 < t->deletes) {
        if (t->ordered)
            key = make_key(t, (unsigned)(rig_random(seed) % (step + 1)),
                           key_buf);
        rc = rig_del(r, key);
    } else {
        rc = rig_put(r, key, make_val(t, seed, val_buf));
    }
    assert_true(rc == 0 || (rc == -EIO && recdev_failed(r->dev) > 0));
    return rc == 0;
}

static void reopen(struct rig *r, bool kill, bool clean)
{
    struct cfs_err err = {0};
    int rc;

    rig_settle(r);
    if (kill)
        rig_kill(r);
    else
        rig_close(r, clean);
    rc = rig_open(r, &err);
    if (rc < 0)
        fprintf(stderr, "open: %s\n", err.text);
    assert_int_equal(rc, 0);
}

static void run(const struct taste *t, uint64_t seed, unsigned steps)
{
    uint8_t *val = malloc(ENG_VALUE_MAX);
    struct rig r;

    printf("           %s, seed %" PRIu64 "\n", t->name, seed);
    rig_init(&r, 96 * MIB);
    r.conf.cache_size = 4 * MIB;
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < steps; i++) {
        unsigned dice = (unsigned)(rig_random(&seed) % 4000);

        assert_true(one_step(&r, t, &seed, i, val));
        if (dice < 8)
            assert_int_equal(rig_checkpoint(&r), 0);
        else if (dice < 12)
            eng_checkpoint(r.eng, rig_done(&r)); /* goes on beside it */
        else if (dice < 14)
            reopen(&r, true, false);
        else if (dice == 14)
            reopen(&r, false, dice % 2);
        else if (dice < 20)
            assert_true(rig_matches(&r, &r.model));
    }
    rig_settle(&r);
    assert_true(rig_matches(&r, &r.model));
    reopen(&r, true, false);
    assert_true(rig_matches(&r, &r.model));
    assert_true(rig_check(&r, 0));
    reopen(&r, false, true);
    assert_true(rig_matches(&r, &r.model));
    assert_true(rig_check(&r, 0));
    rig_fini(&r);
    free(val);
}

static void it_is_a_sorted_map(void **state)
{
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(tastes); i++)
        run(&tastes[i], first_seed + i, 12000);
}

/* The operation that needed it says so and has changed nothing; so has the
 * next one, when that fails too. */
static void a_read_that_fails_changes_nothing(void **state)
{
    uint8_t *val = malloc(ENG_VALUE_MAX);

    for (unsigned k = 0; k < 3; k++) {
        uint64_t seed = first_seed + k;
        unsigned failed = 0;
        struct rig r;

        rig_init(&r, 96 * MIB);
        r.conf.cache_size = 4 * MIB;
        assert_int_equal(rig_open(&r, NULL), 0);
        for (unsigned i = 0; i < 9000; i++) {
            if (i % 300 == 0) { /* with a cold cache: every leaf is read */
                recdev_fail(r.dev, RECDEV_READ, 0, 0);
                rig_settle(&r);
                assert_true(rig_matches(&r, &r.model));
                rig_close(&r, i % 600 == 0);
                assert_int_equal(rig_open(&r, NULL), 0);
            }
            if (i % 10 == 0)
                recdev_fail(r.dev, RECDEV_READ, rig_random(&seed) % 8,
                            1 + rig_random(&seed) % 3);
            failed += !one_step(&r, &tastes[k], &seed, i, val);
        }
        recdev_fail(r.dev, RECDEV_READ, 0, 0);
        rig_settle(&r);
        assert_true(rig_matches(&r, &r.model));
        assert_true(rig_check(&r, 0));
        printf("           %s: %u operations failed\n", tastes[k].name,
               failed);
        assert_true(failed > 20);
        rig_fini(&r);
    }
    free(val);
}

static void a_tree_that_was_emptied_gives_all_space_back(void **state)
{
    const struct taste *t = &tastes[1];
    uint8_t key[ENG_KEY_MAX], *val = malloc(ENG_VALUE_MAX);
    struct eng_info before, after;
    uint64_t seed = first_seed;
    struct rig r;

    rig_init(&r, 96 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    eng_info(r.eng, &before);
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(rig_put(&r, make_key(t, i, key),
                                 make_val(t, &seed, val)), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_int_equal(tree_level(&r.eng->tree) > 0, 1);
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(rig_del(&r, make_key(t, i, key)), 0);
    assert_int_equal(tree_level(&r.eng->tree), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    eng_info(r.eng, &after);
    assert_int_equal(after.free, before.free);
    assert_int_equal(after.pending, 0);
    rig_fini(&r);
    free(val);
}

static const uint8_t zeros[1200];

/* The first child goes, the next becomes the first; what comes then splits it
 * at a key that is not above the one in the parent's first slot. */
static void a_child_is_split_at_its_first_key(void **state)
{
    struct rig r;
    char key[16];

    rig_init(&r, 32 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (const char *c = "bcdmnopqr"; *c; c++) {
        struct cfs_blob k = {c, 1};

        assert_int_equal(rig_put(&r, k, (struct cfs_blob){zeros, 1200}), 0);
    }
    assert_int_equal(rig_del(&r, (struct cfs_blob){"b", 1}), 0);
    assert_int_equal(rig_del(&r, (struct cfs_blob){"c", 1}), 0);
    for (unsigned i = 0; i < 4; i++) {
        struct cfs_blob k = {key, (uint32_t)snprintf(key, 16, "a%u", 9 - i)};

        assert_int_equal(rig_put(&r, k, (struct cfs_blob){zeros, 1200}), 0);
    }
    rig_settle(&r);
    rig_close(&r, true);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_true(rig_matches(&r, &r.model));
    assert_true(rig_check(&r, 0));
    rig_fini(&r);
}

static void the_cache_keeps_to_its_bound(void **state)
{
    const struct taste *t = &tastes[0];
    uint8_t key[ENG_KEY_MAX], val[64] = {1};
    uint64_t most = 0, seed = first_seed;
    struct rig r;

    rig_init(&r, 128 * MIB);
    r.conf.cache_size = 4 * MIB;
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < 150000; i++) {
        assert_int_equal(rig_put(&r, make_key(t, i, key),
                                 (struct cfs_blob){val, 60}), 0);
        if (r.eng->cache.bytes > most)
            most = r.eng->cache.bytes;
    }
    for (unsigned i = 0; i < 20000; i++) {
        unsigned k = (unsigned)(rig_random(&seed) % 150000);
        struct cfs_blob got;

        assert_int_equal(rig_get(&r, make_key(t, k, key), &got), 0);
        assert_int_equal(got.len, 60);
        if (r.eng->cache.bytes > most)
            most = r.eng->cache.bytes;
    }
    printf("           at most %" PRIu64 " KiB\n", most / 1024);
    assert_true(most <= 4 * MIB + MIB / 2);
    rig_settle(&r);
    assert_true(rig_matches(&r, &r.model));
    rig_fini(&r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_a_sorted_map),
        cmocka_unit_test(a_read_that_fails_changes_nothing),
        cmocka_unit_test(a_tree_that_was_emptied_gives_all_space_back),
        cmocka_unit_test(a_child_is_split_at_its_first_key),
        cmocka_unit_test(the_cache_keeps_to_its_bound),
    };

    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
