/* SPDX-License-Identifier: Apache-2.0 */
/* test_attr_cache.c - what dlm-lock keeps of attributes is never older than
 * what the mount was last answered. */
#include "tests/unit/cfs_test.h"
#include "xlators/features/dlm-lock/attr_cache.h"

static struct cfs_attr attr_of(uint64_t ino, uint64_t seq)
{
    return (struct cfs_attr){
        .gfid = cfs_gfid_make(ino),
        .version = {1, seq},
        .size = seq * 100,
    };
}

/* What is known of @ino: its version's number, or 0. */
static uint64_t known(struct attr_cache *c, uint64_t ino)
{
    struct cfs_attr a;

    return attr_cache_get(c, cfs_gfid_make(ino), &a) ? a.version.seq : 0;
}

static void learn(struct attr_cache *c, uint64_t ino, uint64_t seq,
                  uint64_t asked)
{
    struct cfs_attr a = attr_of(ino, seq);

    attr_cache_learn(c, &a, asked);
}

static void changed(struct attr_cache *c, uint64_t ino, uint64_t seq)
{
    struct cfs_attr a = attr_of(ino, seq);

    attr_cache_changed(c, a.gfid, &a);
}

static void what_was_learnt_is_given(void **state)
{
    struct attr_cache *c = attr_cache_new(16);

    assert_int_equal(known(c, 2), 0);
    learn(c, 2, 7, attr_cache_ask(c));
    assert_int_equal(known(c, 2), 7);
    attr_cache_free(c);
}

static void nothing_is_given_while_a_change_is_in_flight(void **state)
{
    struct attr_cache *c = attr_cache_new(16);

    learn(c, 2, 7, attr_cache_ask(c));
    attr_cache_change(c, cfs_gfid_make(2));
    assert_int_equal(known(c, 2), 0);
    changed(c, 2, 8);
    assert_int_equal(known(c, 2), 8);
    attr_cache_free(c);
}

static void an_answer_that_a_change_overtook_is_not_learnt(void **state)
{
    struct attr_cache *c = attr_cache_new(16);
    uint64_t asked = attr_cache_ask(c);

    attr_cache_change(c, cfs_gfid_make(2));
    learn(c, 2, 7, asked);
    assert_int_equal(known(c, 2), 0);
    attr_cache_changed(c, cfs_gfid_make(2), NULL); /* it failed */
    learn(c, 2, 7, asked);
    assert_int_equal(known(c, 2), 0);
    learn(c, 2, 9, attr_cache_ask(c));
    assert_int_equal(known(c, 2), 9);
    attr_cache_free(c);
}

static void a_late_answer_is_refused_after_the_inode_was_thrown_out(void **state)
{
    struct attr_cache *c = attr_cache_new(4);
    uint64_t asked = attr_cache_ask(c);

    attr_cache_change(c, cfs_gfid_make(2));
    changed(c, 2, 8);
    for (uint64_t ino = 10; ino < 20; ino++)
        learn(c, ino, 1, attr_cache_ask(c));
    assert_int_equal(known(c, 2), 0);
    learn(c, 2, 7, asked);
    assert_int_equal(known(c, 2), 0);
    attr_cache_free(c);
}

static void it_keeps_to_its_bound_but_for_changes_in_flight(void **state)
{
    struct attr_cache *c = attr_cache_new(4);

    for (uint64_t ino = 2; ino < 8; ino++)
        attr_cache_change(c, cfs_gfid_make(ino));
    assert_int_equal(attr_cache_count(c), 6);
    for (uint64_t ino = 2; ino < 8; ino++)
        changed(c, ino, 3);
    for (uint64_t ino = 20; ino < 100; ino++)
        learn(c, ino, 1, attr_cache_ask(c));
    assert_int_equal(attr_cache_count(c), 4);
    assert_int_equal(known(c, 99), 1);
    attr_cache_free(c);
}

static void after_a_clear_nothing_old_comes_back(void **state)
{
    struct attr_cache *c = attr_cache_new(16);
    uint64_t asked = attr_cache_ask(c);

    learn(c, 2, 7, asked);
    attr_cache_change(c, cfs_gfid_make(3));
    attr_cache_clear(c);
    assert_int_equal(known(c, 2), 0);
    learn(c, 2, 7, asked);
    assert_int_equal(known(c, 2), 0);
    changed(c, 3, 4);
    assert_int_equal(known(c, 3), 4);
    attr_cache_free(c);
}

static void of_size_zero_it_keeps_nothing(void **state)
{
    struct attr_cache *c = attr_cache_new(0);

    learn(c, 2, 7, attr_cache_ask(c));
    attr_cache_change(c, cfs_gfid_make(2));
    changed(c, 2, 8);
    assert_int_equal(known(c, 2), 0);
    assert_int_equal(attr_cache_count(c), 0);
    attr_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_learnt_is_given),
        cmocka_unit_test(nothing_is_given_while_a_change_is_in_flight),
        cmocka_unit_test(an_answer_that_a_change_overtook_is_not_learnt),
        cmocka_unit_test(
            a_late_answer_is_refused_after_the_inode_was_thrown_out),
        cmocka_unit_test(it_keeps_to_its_bound_but_for_changes_in_flight),
        cmocka_unit_test(after_a_clear_nothing_old_comes_back),
        cmocka_unit_test(of_size_zero_it_keeps_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
