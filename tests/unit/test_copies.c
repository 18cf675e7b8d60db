/* SPDX-License-Identifier: Apache-2.0 */
/* test_copies.c - nodes and values that are written twice: either copy is
 * enough, the next change mends the other, and with one copy nothing is. */
#include "tests/unit/cfs_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/eng_rig.h"

#define MIB  ((uint64_t)1024 * 1024)
#define KEYS 2000u

static int put_nth(struct rig *r, unsigned i, unsigned round)
{
    static uint8_t val[9000];
    char key[32];

    memset(val, (int)((i + round) & 255), sizeof val);
    return rig_put(r, (struct cfs_blob){key, (uint32_t)snprintf(
                                                 key, sizeof key, "key%06u",
                                                 i * 7919 % 1000000)},
                   (struct cfs_blob){val, i % 50 == 0 ? 9000 : i % 300});
}

static void put_all(struct rig *r, unsigned round)
{
    for (unsigned i = 0; i < KEYS; i++)
        assert_int_equal(put_nth(r, i, round), 0);
}

static void make(struct rig *r, unsigned copies)
{
    rig_init(r, 64 * MIB);
    r->conf.copies = copies;
    r->conf.cache_size = 4 * MIB;
    assert_int_equal(rig_open(r, NULL), 0);
    put_all(r, 0);
    assert_int_equal(rig_checkpoint(r), 0);
}

/* Every block of the tree. */
struct blocks {
    uint64_t lba[8192];
    unsigned n;
    uint64_t half; /* second copies lie behind it */
    unsigned copies_bad;
};

static void on_used(void *ctx, struct eng_ext ext, const char *what)
{
    struct blocks *b = ctx;

    if (strcmp(what, "space map") == 0)
        return;
    assert_true(b->n < CFS_ARRAY_SIZE(b->lba));
    b->lba[b->n++] = ext.lba;
}

static void on_bad(void *ctx, const char *fmt, ...)
{
    fail_msg("a tree that can be read is called bad");
}

static void on_copy(void *ctx, unsigned level, struct cfs_blob lo,
                    uint64_t lba)
{
    ((struct blocks *)ctx)->copies_bad++;
}

static struct blocks *look(struct rig *r)
{
    struct blocks *b = test_calloc(1, sizeof *b);
    const struct eng_check check = {
        .ctx = b, .bad = on_bad, .used = on_used, .copy = on_copy};

    b->half = (eng_first_lba(r->eng) + eng_end_lba(r->eng)) / 2;
    assert_int_equal(eng_check(r->eng, &check), 0);
    return b;
}

/* How many. */
static unsigned flip(struct rig *r, const struct blocks *b, bool second)
{
    unsigned n = 0;

    for (unsigned i = 0; i < b->n; i++) {
        if ((b->lba[i] >= b->half) != second)
            continue;
        recdev_bytes(r->dev)[b->lba[i] * CFS_BLOCK + 999] ^= 4;
        n++;
    }
    return n;
}

static uint64_t second_reads(struct rig *r)
{
    struct eng_info info;

    eng_info(r->eng, &info);
    return info.second_reads;
}

static void either_copy_of_every_node_is_enough(void **state)
{
    for (unsigned second = 0; second < 2; second++) {
        struct blocks *b;
        struct rig r;
        unsigned n;

        make(&r, 2);
        b = look(&r);
        rig_close(&r, true);
        n = flip(&r, b, second);
        assert_int_equal(n, b->n / 2);
        test_free(b);
        assert_int_equal(rig_open(&r, NULL), 0);
        assert_true(rig_matches(&r, &r.model));
        assert_int_equal(second_reads(&r) > 0, !second);
        b = look(&r);
        assert_int_equal(b->copies_bad, n);
        test_free(b);
        /* The next change writes both anew. */
        put_all(&r, 1);
        assert_int_equal(rig_checkpoint(&r), 0);
        b = look(&r);
        assert_int_equal(b->copies_bad, 0);
        test_free(b);
        assert_true(rig_check(&r, 0));
        rig_fini(&r);
    }
}

static void without_a_second_copy_it_is_an_error(void **state)
{
    struct blocks *b;
    struct rig r;

    make(&r, 1);
    b = look(&r);
    rig_close(&r, true);
    flip(&r, b, false);
    test_free(b);
    assert_int_equal(rig_open(&r, NULL), -CFS_E_CORRUPT);
    rig_fini(&r);
}

/* Two copies, then one, then two: a brick in between has both kinds. */
static void the_number_may_change_at_a_start(void **state)
{
    struct blocks *b;
    struct rig r;
    unsigned twice;

    make(&r, 2);
    b = look(&r);
    twice = b->n;
    test_free(b);
    rig_close(&r, true);
    for (unsigned round = 1; round < 4; round++) {
        r.conf.copies = round % 2 ? 1 : 2;
        assert_int_equal(rig_open(&r, NULL), 0);
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(put_nth(&r, i, round), 0);
        assert_int_equal(rig_checkpoint(&r), 0);
        assert_true(rig_matches(&r, &r.model));
        assert_true(rig_check(&r, 0));
        if (round == 3) {
            put_all(&r, 9);
            assert_int_equal(rig_checkpoint(&r), 0);
            b = look(&r);
            assert_true(b->n < twice * 3 / 4);
            test_free(b);
        }
        rig_kill(&r);
    }
    r.conf.copies = 0; /* as it is marked */
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(r.eng->copies, 2);
    assert_true(rig_matches(&r, &r.model));
    rig_fini(&r);
}

/* Space for both is seen to before a change. */
static void a_full_store_stays_whole(void **state)
{
    struct rig r;
    unsigned i;
    int rc = 0;

    make(&r, 2);
    r.impatient = false;
    for (i = 0; i < 200000 && rc == 0; i++)
        rc = put_nth(&r, i * 50, 3); /* large ones */
    assert_int_equal(rc, -ENOSPC);
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_true(rig_matches(&r, &r.model));
    assert_true(rig_check(&r, 0));
    rig_kill(&r);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_true(rig_matches(&r, &r.model));
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(either_copy_of_every_node_is_enough),
        cmocka_unit_test(without_a_second_copy_it_is_an_error),
        cmocka_unit_test(the_number_may_change_at_a_start),
        cmocka_unit_test(a_full_store_stays_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
