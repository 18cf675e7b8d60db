/* SPDX-License-Identifier: Apache-2.0 */
/* test_busy.c - the sketch of the busiest inodes against exact counts. */
#include "cfs_test.h"

#include "xlators/debug/io-stats/busy_core.h"

#define INODES 3000u
#define OPS    60000u

static uint64_t seed;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static struct busy     busy;
static uint64_t        exact[INODES];

/* A few inodes take half of all, in changing places. */
static unsigned draw(void)
{
    return next() % 2 ? (unsigned)(next() % 20) * 37 % INODES
                      : (unsigned)(next() % INODES);
}

static struct cfs_gfid gfid(unsigned i)
{
    return cfs_gfid_make(((uint64_t)7 << 32) + i);
}

static const struct busy_inode *find(unsigned i)
{
    for (unsigned p = 0; p < busy.n; p++)
        if (cfs_gfid_eq(busy.inode[p].gfid, gfid(i)))
            return &busy.inode[p];
    return NULL;
}

static void the_busiest_are_there_and_counts_are_bounded(void **state)
{
    for (seed = 1; seed < 2000000; seed = seed * 31 + 7) {
        uint64_t was = seed;

        busy_clear(&busy);
        memset(exact, 0, sizeof exact);
        for (unsigned n = 0; n < OPS; n++) {
            unsigned i = draw();

            exact[i]++;
            assert_true(cfs_gfid_eq(busy_count(&busy, gfid(i))->gfid,
                                    gfid(i)));
        }
        assert_int_equal(busy.n, BUSY_MAX);
        for (unsigned i = 0; i < INODES; i++) {
            const struct busy_inode *b = find(i);

            if (!b) {
                assert_true(exact[i] <= OPS / BUSY_MAX);
                continue;
            }
            assert_true(b->ops >= exact[i]);
            assert_true(b->ops - b->over <= exact[i]);
        }
        seed = was;
    }
}

static void the_order_is_by_operations(void **state)
{
    uint8_t order[BUSY_MAX];

    busy_clear(&busy);
    for (unsigned i = 0; i < 50; i++)
        for (unsigned n = 0; n <= i * 7 % 50; n++)
            busy_count(&busy, gfid(i));
    assert_int_equal(busy_order(&busy, order), 50);
    for (unsigned i = 1; i < 50; i++)
        assert_true(busy.inode[order[i - 1]].ops >=
                    busy.inode[order[i]].ops);
    assert_int_equal(busy.inode[order[0]].ops, 50);
}

static void a_name_is_kept_and_a_long_one_is_cut(void **state)
{
    char text[255];
    struct busy_inode *b;

    busy_clear(&busy);
    memset(text, 'x', sizeof text);
    b = busy_count(&busy, gfid(1));
    busy_name(b, gfid(2), (struct cfs_name){"a", 1});
    assert_int_equal(b->name_len, 1);
    busy_name(b, gfid(2), (struct cfs_name){text, sizeof text});
    assert_int_equal(b->name_len, BUSY_NAME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_busiest_are_there_and_counts_are_bounded),
        cmocka_unit_test(the_order_is_by_operations),
        cmocka_unit_test(a_name_is_kept_and_a_long_one_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
