/* SPDX-License-Identifier: Apache-2.0 */
/* test_space.c - the space map: who may take which block, and when. */
#include "tests/unit/cfs_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/eng_rig.h"

#define MIB ((uint64_t)1024 * 1024)

static struct eng_ext take(struct eng *e, uint32_t n, uint64_t goal)
{
    struct eng_ext ext;
    unsigned got;

    assert_int_equal(space_alloc(e, n, goal, false, &ext, 1, &got), 0);
    assert_int_equal(got, 1);
    assert_int_equal(ext.n, n);
    return ext;
}

static void open_rig(struct rig *r, uint64_t size)
{
    rig_init(r, size);
    assert_int_equal(rig_open(r, NULL), 0);
}

static void blocks_lie_where_they_are_wanted(void **state)
{
    struct eng_ext a, b, c;
    struct rig r;

    open_rig(&r, 64 * MIB);
    a = take(r.eng, 10, 0);
    b = take(r.eng, 10, a.lba + a.n);
    assert_int_equal(b.lba, a.lba + a.n);
    c = take(r.eng, 10, a.lba); /* taken: near it */
    assert_int_equal(c.lba, b.lba + b.n);
    space_unalloc(r.eng, b);
    c = take(r.eng, 10, b.lba);
    assert_int_equal(c.lba, b.lba);
    rig_fini(&r);
}

/* Every block is given out once, never a group's head, and the count is
 * right at each step. */
static void every_block_is_given_once(void **state)
{
    struct rig r;
    struct eng *e;
    uint64_t rnd = 3, n = 0;
    uint8_t *seen;

    open_rig(&r, 40 * MIB);
    e = r.eng;
    seen = calloc(e->space.end, 1);
    while (e->space.free > 0) {
        uint32_t want = 1 + (uint32_t)(rig_random(&rnd) % 300);
        struct eng_ext ext[300];
        uint64_t before = e->space.free;
        unsigned got;

        if (want > before)
            want = (uint32_t)before;
        assert_int_equal(space_alloc(e, want, 0, false, ext, 300, &got), 0);
        assert_int_equal(e->space.free, before - want);
        for (unsigned i = 0; i < got; i++) {
            assert_true(space_valid(e, ext[i]));
            for (uint32_t k = 0; k < ext[i].n; k++) {
                assert_int_equal(seen[ext[i].lba + k], 0);
                seen[ext[i].lba + k] = 1;
                n++;
            }
        }
    }
    assert_int_equal(n + 1, e->space.usable); /* the root */
    for (uint64_t lba = e->space.lba; lba < e->space.end; lba++) {
        if (seen[lba])
            space_unalloc(e, (struct eng_ext){lba, 1});
    }
    assert_int_equal(e->space.free + 1, e->space.usable);
    free(seen);
    rig_fini(&r);
}

static void fragments_are_gathered_or_refused(void **state)
{
    struct eng_ext all[64], ext[64];
    unsigned got, n = 0;
    struct rig r;
    struct eng *e;

    open_rig(&r, 32 * MIB);
    e = r.eng;
    assert_int_equal(space_alloc(e, (uint32_t)e->space.free, 0, false, all, 64,
                                 &n), 0);
    for (uint64_t i = 0; i < 64; i++) /* every other block */
        space_unalloc(e, (struct eng_ext){all[0].lba + 2 * i, 1});
    assert_int_equal(space_alloc(e, 8, 0, false, ext, 4, &got), -ENOSPC);
    assert_int_equal(e->space.free, 64);
    assert_int_equal(space_alloc(e, 8, 0, false, ext, 8, &got), 0);
    assert_int_equal(got, 8);
    assert_int_equal(space_alloc(e, 60, 0, false, ext, 64, &got), -ENOSPC);
    for (unsigned i = 0; i < 8; i++)
        space_unalloc(e, ext[i]);
    for (uint64_t i = 0; i < 64; i++)
        take(e, 1, all[0].lba + 2 * i);
    for (unsigned i = 0; i < n; i++)
        space_unalloc(e, all[i]);
    rig_fini(&r);
}

/* Files that grow side by side, a little at a time, and single blocks between
 * them: each file lies in a few long runs. */
static void streams_side_by_side_lie_in_long_runs(void **state)
{
    enum { FILES = 4, TURNS = 256, BLOCKS = 16 };
    struct eng_ext last[FILES] = {{0}};
    unsigned runs[FILES] = {0}, got;
    struct rig r;

    open_rig(&r, 512 * MIB);
    for (unsigned t = 0; t < TURNS; t++) {
        for (unsigned f = 0; f < FILES; f++) {
            uint64_t goal = last[f].n ? last[f].lba + last[f].n : 0;

            assert_int_equal(space_alloc(r.eng, BLOCKS, goal, true, &last[f],
                                         1, &got), 0);
            runs[f] += last[f].lba != goal;
            take(r.eng, 1, 0);
        }
    }
    for (unsigned f = 0; f < FILES; f++)
        assert_in_range(runs[f], 1, 8);
    rig_fini(&r);
}

/* What is kept ahead of streams is nobody's: the last block can be had. */
static void room_ahead_of_streams_is_free_for_all(void **state)
{
    struct eng_ext ext[8];
    struct rig r;
    struct eng *e;
    unsigned got;

    open_rig(&r, 256 * MIB);
    e = r.eng;
    for (unsigned i = 0; i < 2 * WINDOWS; i++) { /* more than are kept */
        assert_int_equal(space_alloc(e, 16, 0, true, ext, 1, &got), 0);
        assert_true(e->space.n_windows <= WINDOWS);
    }
    assert_int_equal(e->space.n_windows, WINDOWS);
    while (e->space.free >= 64)
        take(e, 64, 0);
    while (e->space.free > 0)
        take(e, 1, 0);
    assert_int_equal(e->space.n_windows, 0);
    assert_int_equal(space_alloc(e, 1, 0, true, ext, 1, &got), -ENOSPC);
    rig_fini(&r);
}

/* free -> held -> live -> freed -> free, and no other way. */
static void a_block_lives_as_it_should(void **state)
{
    struct eng_ext a;
    struct rig r;
    struct eng *e;
    uint64_t epoch, free_before;

    open_rig(&r, 64 * MIB);
    e = r.eng;
    free_before = e->space.free;
    a = take(e, 5, 0);
    assert_false(space_live(e, a.lba));
    assert_int_equal(space_free(e, a), -CFS_E_CORRUPT); /* not yet live */
    assert_int_equal(space_mark(e, a), -CFS_E_CORRUPT); /* taken */
    space_commit(e, a);
    assert_true(space_live(e, a.lba + 4));
    assert_int_equal(space_free(e, a), 0);
    assert_false(space_live(e, a.lba));
    assert_int_equal(space_free(e, a), -CFS_E_CORRUPT); /* twice */
    assert_int_equal(e->space.pending, 5);
    assert_int_equal(e->space.free, free_before - 5);
    epoch = e->epoch;
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_true(e->ckpt.durable_epoch >= epoch);
    assert_int_equal(e->space.pending, 0);
    assert_int_equal(e->space.free, free_before);
    rig_fini(&r);
}

static void what_a_journal_names_is_checked(void **state)
{
    struct rig r;
    struct eng *e;

    open_rig(&r, 64 * MIB);
    e = r.eng;
    assert_int_equal(space_mark(e, (struct eng_ext){0, 1}), -CFS_E_CORRUPT);
    assert_int_equal(space_mark(e, (struct eng_ext){e->space.lba, 1}),
                     -CFS_E_CORRUPT);
    assert_int_equal(space_mark(e, (struct eng_ext){e->space.end - 1, 2}),
                     -CFS_E_CORRUPT);
    assert_int_equal(space_mark(e, (struct eng_ext){e->space.end - 1, 0}),
                     -CFS_E_CORRUPT);
    assert_int_equal(space_mark(e, (struct eng_ext){UINT64_MAX, 2}),
                     -CFS_E_CORRUPT);
    assert_int_equal(space_mark(e, (struct eng_ext){e->space.end - 9,
                                                    UINT32_MAX}),
                     -CFS_E_CORRUPT);
    assert_int_equal(space_mark(e, (struct eng_ext){e->space.end - 2, 2}), 0);
    space_unalloc(e, (struct eng_ext){e->space.end - 2, 2});
    rig_fini(&r);
}

/* More than one group, more than one map page, a short last one: all of it
 * comes back as it was written. */
static void a_large_map_is_read_as_it_was_written(void **state)
{
    struct eng_ext ext[8];
    struct rig r;
    unsigned n = 0;

    open_rig(&r, 33 * 1024 * MIB); /* mostly holes */
    assert_int_equal(r.eng->space.n_groups, 3);
    for (uint64_t at = 0; at < 8; at++) {
        uint64_t lba = r.eng->space.lba +
                       (r.eng->sb.grp_blocks - 1000) * at / 7 + 500;
        struct eng_rec rec = {.ext = &ext[n], .n_ext = 1};
        struct rig_op op = {.key = {&at, sizeof at}, .val = {&at, 1}};

        ext[n] = take(r.eng, 100, lba);
        assert_int_equal(rig_change(&r, &op, 1, &rec, 0), 0);
        n++;
    }
    rig_settle(&r);
    for (unsigned round = 0; round < 3; round++) {
        rig_close(&r, round != 1);
        assert_int_equal(rig_open(&r, NULL), 0);
        for (unsigned i = 0; i < n; i++) {
            assert_true(space_live(r.eng, ext[i].lba));
            assert_true(space_live(r.eng, ext[i].lba + 99));
            assert_false(space_live(r.eng, ext[i].lba + 100));
        }
        assert_int_equal(r.eng->space.usable - r.eng->space.free,
                         8 * 100 + 1);
        assert_int_equal(r.eng->last.free, r.eng->space.free);
        if (round == 0) /* only one page of one group changes */
            assert_int_equal(rig_put(&r, (struct cfs_blob){"x", 1},
                                     (struct cfs_blob){"y", 1}), 0);
    }
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_lie_where_they_are_wanted),
        cmocka_unit_test(every_block_is_given_once),
        cmocka_unit_test(fragments_are_gathered_or_refused),
        cmocka_unit_test(streams_side_by_side_lie_in_long_runs),
        cmocka_unit_test(room_ahead_of_streams_is_free_for_all),
        cmocka_unit_test(a_block_lives_as_it_should),
        cmocka_unit_test(what_a_journal_names_is_checked),
        cmocka_unit_test(a_large_map_is_read_as_it_was_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
