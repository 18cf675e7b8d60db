/* SPDX-License-Identifier: Apache-2.0 */
/* test_beat.c - a heartbeat slot says what was written to it, or that it is
 * damaged: torn, misplaced, of another brick or store, or made up. */
#include "tests/unit/cfs_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "tests/unit/eng_rig.h"
#include "xlators/storage/block/engine/beat.h"

#define MIB ((uint64_t)1024 * 1024)

static const struct fmt_super store = {
    .brick = {{1, 2, 3}}, .nonce = 0x1234567890abcdefull, .hb_blocks = 64};

static struct beat some(void)
{
    return (struct beat){.session = 7, .node = 2, .name = "web1",
                         .service = "mount", .generation = 0xfeed,
                         .seq = 1000, .time = 1700000000123456789ull,
                         .dead_ms = 12000};
}

static void assert_same(const struct beat *a, const struct beat *b)
{
    assert_int_equal(a->session, b->session);
    assert_int_equal(a->node, b->node);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->service, b->service);
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->time, b->time);
    assert_int_equal(a->dead_ms, b->dead_ms);
}

static void what_was_written_is_read(void **state)
{
    struct fmt_beat block;
    struct beat b = some(), got;

    for (unsigned i = 0; i < 3; i++) {
        if (i == 1)
            b.generation = 0; /* it left */
        if (i == 2) {
            memset(b.name, 'x', sizeof b.name - 1);
            memset(b.service, 0, sizeof b.service);
        }
        beat_pack(&store, 9, &b, &block);
        assert_int_equal(beat_unpack(&store, 9, &block, &got), 0);
        assert_same(&b, &got);
    }
    memset(&block, 0, sizeof block);
    assert_int_equal(beat_unpack(&store, 9, &block, &got), -ENOENT);
}

static void any_other_byte_is_damage(void **state)
{
    struct fmt_beat block;
    struct beat b = some(), got;
    uint8_t *bytes = (uint8_t *)&block;

    beat_pack(&store, 9, &b, &block);
    for (size_t i = 0; i < sizeof block; i++) {
        bytes[i] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(beat_unpack(&store, 9, &block, &got),
                         -CFS_E_CORRUPT);
        bytes[i] ^= (uint8_t)(1u << i % 8);
    }
    assert_int_equal(beat_unpack(&store, 9, &block, &got), 0);
}

/* Each piece of 512 bytes of one beat, the rest of the one before. */
static void a_torn_beat_is_damage(void **state)
{
    struct fmt_beat old, new, torn;
    struct beat b = some(), got;

    beat_pack(&store, 9, &b, &old);
    b.seq++;
    beat_pack(&store, 9, &b, &new);
    for (unsigned mask = 0; mask < 256; mask++) {
        int rc;

        for (unsigned i = 0; i < 8; i++)
            memcpy((uint8_t *)&torn + 512 * i,
                   (const uint8_t *)(mask >> i & 1 ? &new : &old) + 512 * i,
                   512);
        rc = beat_unpack(&store, 9, &torn, &got);
        /* What changes lies in the first piece and in the last. */
        assert_int_equal(rc, (mask & 1) == (mask >> 7) ? 0 : -CFS_E_CORRUPT);
    }
}

static void another_place_or_store_is_damage(void **state)
{
    struct fmt_super other = store;
    struct fmt_beat block;
    struct beat b = some(), got;

    beat_pack(&store, 9, &b, &block);
    assert_int_equal(beat_unpack(&store, 8, &block, &got), -CFS_E_CORRUPT);
    other.nonce++;
    assert_int_equal(beat_unpack(&other, 9, &block, &got), -CFS_E_CORRUPT);
    other = store;
    other.brick.b[0]++;
    assert_int_equal(beat_unpack(&other, 9, &block, &got), -CFS_E_CORRUPT);
}

static int sealed(struct fmt_beat *block)
{
    struct beat got;

    block->sum = XXH3_64bits_withSeed(block, offsetof(struct fmt_beat, sum),
                                      store.nonce);
    return beat_unpack(&store, 9, block, &got);
}

/* With a checksum that is right. */
static void what_nobody_would_write_is_damage(void **state)
{
    struct fmt_beat good, x;
    struct beat b = some();

    beat_pack(&store, 9, &b, &good);
    x = good;
    assert_int_equal(sealed(&x), 0);
    x.format = 2;
    assert_int_equal(sealed(&x), -CFS_E_CORRUPT);
    x = good;
    x.session = 0;
    assert_int_equal(sealed(&x), -CFS_E_CORRUPT);
    x = good;
    x.dead_ms = 0;
    assert_int_equal(sealed(&x), -CFS_E_CORRUPT);
    x = good;
    memset(x.name, 'n', sizeof x.name);
    assert_int_equal(sealed(&x), -CFS_E_CORRUPT);
    memset(x.name, 0, sizeof x.name);
    assert_int_equal(sealed(&x), -CFS_E_CORRUPT);
    x = good;
    x.name[10] = 'y';
    assert_int_equal(sealed(&x), -CFS_E_CORRUPT);
    x = good;
    x.service[1] = '\n';
    assert_int_equal(sealed(&x), -CFS_E_CORRUPT);
    x = good;
    x.service[1] = 0x1b;
    assert_int_equal(sealed(&x), -CFS_E_CORRUPT);
}

static void a_brick_has_its_slots_apart_from_all_else(void **state)
{
    struct beat b = some(), got;
    unsigned slots;
    struct rig r;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    slots = eng_hb_slots(r.eng);
    assert_int_equal(slots, 64);
    assert_int_equal(eng_beat_read(r.eng, 0, &got), -ENOENT);
    for (unsigned i = 0; i < slots; i++) {
        b.session = i + 1;
        assert_int_equal(eng_beat_write(r.eng, i, &b), 0);
    }
    rig_close(&r, true);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < slots; i++) {
        b.session = i + 1;
        assert_int_equal(eng_beat_read(r.eng, i, &got), 0);
        assert_same(&b, &got);
    }
    assert_true(rig_check(&r, 0));
    /* A beat that cannot be written is nobody's undoing. */
    recdev_fail(r.dev, RECDEV_WRITE, 0, 1);
    assert_int_equal(eng_beat_write(r.eng, 3, &b), -EIO);
    assert_int_equal(rig_checkpoint(&r), 0);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(any_other_byte_is_damage),
        cmocka_unit_test(a_torn_beat_is_damage),
        cmocka_unit_test(another_place_or_store_is_damage),
        cmocka_unit_test(what_nobody_would_write_is_damage),
        cmocka_unit_test(a_brick_has_its_slots_apart_from_all_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
