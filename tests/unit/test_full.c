/* SPDX-License-Identifier: Apache-2.0 */
/* test_full.c - a brick with hardly any space, at many levels of it: random
 * operations of all kinds, each done as a whole or refused with -ENOSPC; those
 * that give space back never refused; the model agrees; what is told of the
 * space is so; and when everything is gone all of it has come back.
 */
#include "tests/unit/crash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/rec.h"

static const unsigned levels[] = {1, 4, 16, 40, 80, 150, 300, 600, 1200};

/* With the reserve, of which a brick that is full has used a part; and, in
 * runs with storage.discard, what is free when it is discarded. */
static uint64_t free_blocks(struct crash *c)
{
    const struct eng *e = ops_engine(c->f.ops);

    return e->space.free + discard_held(e);
}

/* Half of what is said to be free can be had; when not even a block can be
 * had, little was said to be free. */
static void space_is_told_truly(struct crash *c)
{
    struct cfs_brick *info = calloc(1, sizeof *info);
    uint8_t *p = fix_pattern(1 << 20, 1);
    struct cfs_gfid g;
    uint64_t half, at = 0;

    fix_settle(&c->f);
    fix_info(&c->f, info);
    half = info->free / CFS_BLOCK / 2;
    assert_true(info->free <= info->total);
    if (fix_create(&c->f, cfs_gfid_root, "probe", S_IFREG | 0600, &g) < 0) {
        assert_true(half < 64);
        goto out;
    }
    while (half > 0) {
        uint32_t n = half < 200 ? (uint32_t)half : 200;

        assert_int_equal(fix_write(&c->f, g, at, p, n * CFS_BLOCK), 0);
        at += n * CFS_BLOCK;
        half -= n;
    }
    while (fix_write(&c->f, g, at, p, CFS_BLOCK) == 0)
        at += CFS_BLOCK;
    fix_settle(&c->f);
    fix_info(&c->f, info);
    assert_true(info->free / CFS_BLOCK < 64);
    assert_int_equal(fix_unlink(&c->f, cfs_gfid_root, "probe", false), 0);
    assert_int_equal(fix_purge(&c->f, g), 0);
out:
    free(p);
    free(info);
}

static uint64_t inodes(struct crash *c)
{
    struct cfs_brick *info = calloc(1, sizeof *info);
    uint64_t n;

    fix_info(&c->f, info);
    n = info->inodes;
    free(info);
    return n;
}

/* Those of the device in which the chunk's data is. */
static unsigned blocks_of_chunk(struct crash *c, struct cfs_gfid g,
                                uint64_t index)
{
    struct rec_chunk chunk;
    struct rec_key k;
    struct cfs_blob v;
    uint8_t byte;
    unsigned n;

    /* So that its record is in memory. */
    assert_true(fix_read(&c->f, g, index * CHUNK_BYTES, &byte, 1) >= 0);
    rec_key_gfid_u64(&k, REC_CHUNK, g, index);
    if (eng_get(ops_engine(c->f.ops), rec_key_blob(&k), &v) == -ENOENT)
        return 0;
    assert_int_equal(rec_chunk_unpack(v, &chunk), 0);
    n = (unsigned)__builtin_popcount(chunk.mapped & ~chunk.packed);
    for (unsigned i = 0; i < chunk.n_pack; i++)
        n += rec_pack_blocks(&chunk.pack[i]);
    return n;
}

/* That are given back when all files go. */
static uint64_t blocks_of_files(struct crash *c)
{
    uint64_t n = 0;

    for (unsigned i = 1; i < c->m.n_ino; i++) {
        const struct cfs_gfid g = c->m.ino[i].gfid;
        struct cfs_attr a;

        if (!c->m.ino[i].now.there || fix_getattr(&c->f, g, &a) < 0 ||
            !S_ISREG(a.mode))
            continue;
        for (uint64_t k = 0; k * CHUNK_BYTES < a.size; k++)
            n += blocks_of_chunk(c, g, k);
    }
    return n;
}

static void at_level(unsigned left, uint64_t seed)
{
    struct crash_mix mix = {
        .name = "full", .mib = 32, .changes = 120, .files = 12, .names = 25,
        .xattrs = 15, .syncs = 5, .shift = 10, .xattr = M_XATTR,
        .left = 1200, .ckpt_ms = 20, .job_ns = CFS_MS / 2,
        .slow_ns = 20 * CFS_MS, .pass_ns = CFS_MS / 4};
    struct crash c = {.mix = &mix, .seed = seed};
    struct crash_figures f = {0};
    uint64_t empty, freed;
    unsigned before;

    crash_begin(&c, NULL);
    crash_steps(&c);
    mix.left = left;
    crash_take_space(&c);
    before = c.m.n_changes;
    mix.changes += 200;
    crash_steps(&c);
    assert_true(c.m.n_changes > before + 20);
    assert_int_equal(inodes(&c), c.m.n_changes
                                     ? c.m.change[c.m.n_changes - 1].inodes
                                     : c.m.inodes_at_first);
    print_message("           %u blocks left: %u changes, %u files\n", left,
                  c.m.n_changes - before, (unsigned)inodes(&c) - 2);
    freed = blocks_of_files(&c);
    fix_settle(&c.f);
    empty = free_blocks(&c);
    crash_empty(&c);
    fix_settle(&c.f);
    /* Less what the deletes themselves put into the operation log. */
    assert_true(free_blocks(&c) + 16 >= empty + freed);
    crash_finish(&c);
    crash_look(&c, 40, &f);
    assert_int_equal(f.bad, 0);
    crash_end(&c);
}

static void at_every_level_nothing_is_lost(void **state)
{
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(levels); i++)
        at_level(levels[i], i + 1);
}

static void what_is_told_of_space_is_so(void **state)
{
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(levels); i += 2) {
        struct crash_mix mix = {
            .name = "told", .mib = 32, .changes = 60, .files = 8,
            .names = 25, .xattrs = 10, .syncs = 5, .shift = 10,
            .xattr = 9000, .left = levels[i], .ckpt_ms = 20,
            .job_ns = CFS_MS / 2, .slow_ns = CFS_MS, .pass_ns = CFS_MS / 4};
        struct crash c = {.mix = &mix, .seed = 40 + i};

        crash_begin(&c, NULL);
        crash_steps(&c);
        space_is_told_truly(&c);
        recdev_kill(c.dev);
        fix_halt(&c.f);
        crash_end(&c);
    }
}

/* All that was there before is there after: to the block. */
static void comes_back(uint64_t seed)
{
    const struct crash_mix mix = {
        .name = "back", .mib = 32, .changes = 600, .files = 12, .names = 25,
        .xattrs = 20, .syncs = 5, .shift = 10, .xattr = M_XATTR,
        .ckpt_ms = 20, .job_ns = CFS_MS / 2, .slow_ns = CFS_MS,
        .pass_ns = CFS_MS / 4};
    struct crash c = {.mix = &mix, .seed = seed};
    uint64_t before;

    crash_begin(&c, NULL);
    fix_settle(&c.f);
    before = free_blocks(&c);
    crash_steps(&c);
    assert_true(free_blocks(&c) + 100 < before);
    crash_empty(&c);
    fix_settle(&c.f);
    fix_settle(&c.f);
    print_message("           %" PRIu64 " blocks before, %" PRIu64
                  " after\n", before, free_blocks(&c));
    assert_true(free_blocks(&c) + 40 >= before);
    crash_finish(&c);
    assert_int_equal(c.did[DID_pack] > 0, c.f.config.pack);
    crash_end(&c);
}

/* Compressed with the second seed. */
static void all_space_comes_back(void **state)
{
    comes_back(77);
    comes_back(79);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_every_level_nothing_is_lost),
        cmocka_unit_test(what_is_told_of_space_is_so),
        cmocka_unit_test(all_space_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
