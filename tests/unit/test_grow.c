/* SPDX-License-Identifier: Apache-2.0 */
/* test_grow.c - a store becomes as large as its device, at a start or by
 * eng_grow(); with the power cut anywhere on the way it is the old one or the
 * new one, and whole; a device that shrank is refused. */
#include "tests/unit/cfs_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/eng_rig.h"

#define MIB   ((uint64_t)1024 * 1024)
#define GIB   (1024 * MIB)
#define SMALL (40 * MIB)
#define DATA  64u /* blocks of data in the store */

/* Sizes to grow to: within a page of the map; by pages; by groups. */
static const uint64_t larger[] = {SMALL + MIB, SMALL + 7 * MIB + 12288,
                                  300 * MIB, 33 * GIB};

/* -- a small store with things in it --------------------------------------- */

static struct cfs_blob key_of(unsigned i, char buf[static 32])
{
    return (struct cfs_blob){buf, (uint32_t)snprintf(buf, 32, "key%05u", i)};
}

static void put_some(struct rig *r, unsigned from, unsigned n)
{
    uint8_t val[900];
    char key[32];

    for (unsigned i = from; i < from + n; i++) {
        memset(val, (int)(i & 255), sizeof val);
        assert_int_equal(rig_put(r, key_of(i, key),
                                 (struct cfs_blob){val, sizeof val}), 0);
    }
}

static uint8_t pattern(unsigned i)
{
    return (uint8_t)(i * 7 + 1);
}

/* DATA blocks, named by one record; its value is where they are. */
static void put_data(struct rig *r)
{
    struct eng_ext ext[4];
    struct rig_op op = {.key = {"data", 4}, .val = {ext, sizeof ext[0]}};
    struct eng_rec rec = {.ext = ext, .n_ext = 1};
    uint8_t *data = aligned_alloc(CFS_BLOCK, DATA * CFS_BLOCK);
    unsigned n;

    for (unsigned i = 0; i < DATA; i++)
        memset(data + i * CFS_BLOCK, pattern(i), CFS_BLOCK);
    assert_int_equal(eng_alloc(r->eng, DATA, 0, 0, ext, 4, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(rig_write_data(r, ext[0], data), 0);
    assert_int_equal(rig_change(r, &op, 1, &rec, 0), 0);
    free(data);
}

static void assert_data(struct rig *r)
{
    uint8_t *data = aligned_alloc(CFS_BLOCK, DATA * CFS_BLOCK);
    struct cfs_blob val;
    struct eng_ext ext;

    assert_int_equal(rig_get(r, (struct cfs_blob){"data", 4}, &val), 0);
    assert_int_equal(val.len, sizeof ext);
    memcpy(&ext, val.p, sizeof ext);
    assert_int_equal(rig_read_data(r, ext, data), 0);
    for (unsigned i = 0; i < DATA; i++)
        assert_int_equal(data[i * CFS_BLOCK + 17], pattern(i));
    free(data);
}

/* SMALL, and closed; with @kill its journal is to be replayed. */
static void make(struct rig *r, bool kill)
{
    rig_init(r, SMALL);
    assert_int_equal(rig_open(r, NULL), 0);
    put_data(r);
    put_some(r, 0, 300);
    assert_int_equal(rig_checkpoint(r), 0);
    put_some(r, 200, 200);
    rig_settle(r);
    if (kill)
        rig_kill(r);
    else
        rig_close(r, true);
}

static uint64_t store_size(struct rig *r)
{
    struct eng_info info;

    eng_info(r->eng, &info);
    return info.format.size;
}

static uint64_t usable(struct rig *r)
{
    struct eng_info info;

    eng_info(r->eng, &info);
    return info.blocks;
}

static void assert_whole(struct rig *r)
{
    assert_true(rig_matches(r, &r->model));
    assert_data(r);
    assert_true(rig_check(r, DATA));
}

/* -- growth ---------------------------------------------------------------- */

static void grows(uint64_t size, bool kill)
{
    struct rig r;
    uint64_t before;

    make(&r, kill);
    recdev_resize(r.dev, size, 0);
    r.conf.no_grow = true;
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(store_size(&r), SMALL);
    before = usable(&r);
    if (kill)
        rig_kill(&r);
    else
        rig_close(&r, true);
    r.conf.no_grow = false;
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(store_size(&r), size & ~(uint64_t)(CFS_BLOCK - 1));
    /* What is new can be used but for the heads of groups and, at most, what
     * is too short for a group. */
    assert_true(usable(&r) > before);
    assert_true(usable(&r) - before <= (size - SMALL) / CFS_BLOCK);
    assert_true(usable(&r) - before + GROUP_MIN + 3 * GROUP_HEAD >=
                (size - SMALL) / CFS_BLOCK);
    assert_whole(&r);
    put_some(&r, 1000, 2000); /* more than the small one had room for nodes */
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_whole(&r);
    rig_close(&r, true);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_whole(&r);
    rig_kill(&r);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_whole(&r);
    rig_fini(&r);
}

static void a_start_grows_with_the_device(void **state)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(larger); i++) {
        grows(larger[i], false);
        grows(larger[i], true);
    }
}

/* What lies where the store ends no more is used: the whole device fills. */
static void what_is_new_can_be_filled(void **state)
{
    struct eng_ext ext[256];
    struct eng_info info;
    struct rig r;
    unsigned n;

    make(&r, false);
    recdev_resize(r.dev, 200 * MIB, 0);
    assert_int_equal(rig_open(&r, NULL), 0);
    eng_info(r.eng, &info);
    assert_true(info.free > 140 * MIB / CFS_BLOCK);
    assert_int_equal(eng_alloc(r.eng, (uint32_t)info.free, 0, 0, ext, 256,
                               &n), 0);
    for (unsigned i = 0; i < n; i++)
        eng_unalloc(r.eng, ext[i]);
    assert_whole(&r);
    rig_fini(&r);
}

static void a_few_blocks_more_are_not_worth_it(void **state)
{
    struct rig r;

    make(&r, false);
    recdev_resize(r.dev, SMALL + MIB - CFS_BLOCK, 0);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(store_size(&r), SMALL);
    rig_fini(&r);
}

/* Twice, and by what was somebody else's before. */
static void it_grows_again_and_into_garbage(void **state)
{
    struct rig r;

    make(&r, true);
    recdev_resize(r.dev, 64 * MIB, 0xa5);
    assert_int_equal(rig_open(&r, NULL), 0);
    rig_kill(&r);
    recdev_resize(r.dev, 150 * MIB, 0x5a);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(store_size(&r), 150 * MIB);
    assert_whole(&r);
    rig_fini(&r);
}

/* -- what is refused ------------------------------------------------------- */

static void assert_refused(struct rig *r, const char *why)
{
    struct cfs_err err = {0};

    assert_int_equal(rig_open(r, &err), -CFS_E_CORRUPT);
    if (!strstr(err.text, why))
        fail_msg("%s", err.text);
}

static void a_device_that_shrank_is_refused(void **state)
{
    struct rig r;

    make(&r, false);
    recdev_resize(r.dev, 64 * MIB, 0);
    assert_int_equal(rig_open(&r, NULL), 0);
    rig_close(&r, true);
    recdev_resize(r.dev, 63 * MIB, 0);
    assert_refused(&r, "it has shrunk; make it as large again");
    /* Back to where it was once: its old superblock may still lie there. */
    recdev_resize(r.dev, SMALL, 0);
    assert_refused(&r, "shrunk");
    memset(recdev_bytes(r.dev), 0, CFS_BLOCK);
    assert_refused(&r, "has the device shrunk?");
    rig_fini(&r);
}

/* A store that was made smaller than its device stays so. */
static void a_chosen_size_is_kept(void **state)
{
    struct eng_format f = {.size = SMALL};
    uint64_t before, after;
    struct cfs_dev *dev;
    struct rig r;

    rig_init(&r, 64 * MIB);
    dev = recdev_open(r.dev);
    assert_int_equal(eng_mkfs(dev, &f, NULL), 0);
    dev->ops->close(dev);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(store_size(&r), SMALL);
    put_data(&r);
    rig_close(&r, true);

    dev = recdev_open(r.dev);
    assert_int_equal(eng_grow(dev, true, &before, &after, NULL), 0);
    assert_int_equal(eng_grow(dev, false, &before, &after, NULL), 0);
    assert_int_equal(before, SMALL);
    assert_int_equal(after, 64 * MIB);
    assert_int_equal(eng_grow(dev, false, &before, &after, NULL), 0);
    assert_int_equal(before, after);
    dev->ops->close(dev);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(store_size(&r), 64 * MIB);
    assert_whole(&r);
    rig_fini(&r);
}

/* By eng_grow(), on a larger device that nobody has open. */
static void grow_at_rest(struct rig *r)
{
    uint64_t before, after;
    struct cfs_dev *dev;

    recdev_resize(r->dev, 64 * MIB, 0);
    dev = recdev_open(r->dev);
    assert_int_equal(eng_grow(dev, false, &before, &after, NULL), 0);
    dev->ops->close(dev);
}

/* eng_grow() is no start: the journal and the life stay. */
static void growth_off_line_changes_nothing_else(void **state)
{
    uint64_t incarnation;
    struct rig r;

    make(&r, true);
    grow_at_rest(&r);
    assert_int_equal(rig_open(&r, NULL), 0);
    incarnation = eng_incarnation(r.eng);
    assert_int_equal(incarnation, 2);
    assert_true(r.records > 0);
    assert_whole(&r);
    rig_fini(&r);
}

/* -- either end is enough -------------------------------------------------- */

static void a_grown_store_has_its_copies_at_the_new_end(void **state)
{
    struct rig r;

    make(&r, true);
    recdev_resize(r.dev, 64 * MIB, 0);
    assert_int_equal(rig_open(&r, NULL), 0);
    rig_close(&r, true);
    /* The superblock and both slots at the start. */
    memset(recdev_bytes(r.dev), 0, AREA_BLOCKS * CFS_BLOCK);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(store_size(&r), 64 * MIB);
    assert_whole(&r);
    rig_fini(&r);
}

/* From the moment on that it has grown, without a start. */
static void so_has_one_that_grew_at_rest(void **state)
{
    struct rig r;

    make(&r, true);
    grow_at_rest(&r);
    memset(recdev_bytes(r.dev), 0, AREA_BLOCKS * CFS_BLOCK);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(store_size(&r), 64 * MIB);
    assert_whole(&r);
    rig_fini(&r);
}

/* -- power cuts ------------------------------------------------------------ */

/* The image opens, read-only, small and grown, and is whole in each. */
static void look(struct rig *from, struct recdev *image, uint64_t size)
{
    struct cfs_err err = {0};
    struct rig r;

    rig_init(&r, 0);
    model_copy(&r.model, &from->model);
    r.dev = image;
    for (unsigned how = 0; how < 3; how++) {
        r.conf.read_only = r.conf.blocking = how == 0;
        r.conf.no_grow = how == 1;
        if (rig_open(&r, &err) < 0)
            fail_msg("it does not open: %s", err.text);
        if (how == 2)
            assert_int_equal(store_size(&r), size);
        else
            assert_true(store_size(&r) == SMALL || store_size(&r) == size);
        assert_whole(&r);
        if (how == 1)
            rig_kill(&r);
        else
            rig_close(&r, true);
    }
    rig_fini(&r);
}

static void cut_while_growing(uint64_t size, bool kill, bool off_line)
{
    uint64_t before, after;
    struct reccut *cut;
    struct rig r;
    size_t events;

    make(&r, kill);
    recdev_resize(r.dev, size, 0x77);
    recdev_record(r.dev);
    if (off_line) {
        struct cfs_dev *dev = recdev_open(r.dev);

        assert_int_equal(eng_grow(dev, false, &before, &after, NULL), 0);
        dev->ops->close(dev);
    } else {
        assert_int_equal(rig_open(&r, NULL), 0);
        assert_int_equal(rig_checkpoint(&r), 0);
    }
    cut = reccut_new(r.dev);
    events = recdev_events(r.dev);
    assert_true(events >= 4);
    for (size_t at = 0; at <= events; at++)
        for (uint64_t seed = 0; seed < 12; seed++)
            look(&r, reccut_image(cut, at, seed), size);
    reccut_free(cut);
    if (!off_line)
        rig_kill(&r);
    rig_fini(&r);
}

static void a_cut_leaves_the_old_size_or_the_new(void **state)
{
    cut_while_growing(SMALL + 3 * MIB, true, false);
    cut_while_growing(SMALL + 3 * MIB, false, false);
    cut_while_growing(170 * MIB, true, false);
    cut_while_growing(SMALL + MIB, true, true);
    cut_while_growing(170 * MIB, false, true);
}

/* A write or flush that fails on the way is no growth, and no damage. */
static void a_device_that_fails_stays_small(void **state)
{
    static const enum recdev_fault kinds[] = {RECDEV_WRITE, RECDEV_FLUSH};

    for (unsigned i = 0; i < 4; i++) {
        struct cfs_err err = {0};
        struct rig r;

        make(&r, true);
        recdev_resize(r.dev, 64 * MIB, 0);
        /* The first flush is that of what the page cache held. */
        recdev_fail(r.dev, kinds[i % 2], i / 2 + i % 2, 1);
        assert_int_equal(rig_open(&r, &err), -EIO);
        assert_non_null(strstr(err.text, "growth"));
        assert_int_equal(rig_open(&r, NULL), 0);
        assert_whole(&r);
        rig_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_grows_with_the_device),
        cmocka_unit_test(what_is_new_can_be_filled),
        cmocka_unit_test(a_few_blocks_more_are_not_worth_it),
        cmocka_unit_test(it_grows_again_and_into_garbage),
        cmocka_unit_test(a_device_that_shrank_is_refused),
        cmocka_unit_test(a_chosen_size_is_kept),
        cmocka_unit_test(growth_off_line_changes_nothing_else),
        cmocka_unit_test(a_grown_store_has_its_copies_at_the_new_end),
        cmocka_unit_test(so_has_one_that_grew_at_rest),
        cmocka_unit_test(a_cut_leaves_the_old_size_or_the_new),
        cmocka_unit_test(a_device_that_fails_stays_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
