/* SPDX-License-Identifier: Apache-2.0 */
/* test_dev_stall.c - when a brick says that its device does not answer
 * (xlators/storage/block/stall.h). */
#include "core/loop.h"
#include "tests/unit/cfs_test.h"
#include "xlators/storage/block/stall.h"

#define OP   (2 * CFS_SEC)
#define NONE UINT64_MAX

static const uint64_t start = 500 * CFS_SEC;

/* Looks, as often as they are due, from @from until @until; how often the
 * level changed. */
static unsigned looks(struct stall *s, uint64_t from, uint64_t until,
                      uint64_t oldest)
{
    unsigned n = 0;

    for (uint64_t now = from; now <= until; now += stall_wait(OP))
        n += stall_look(s, now, oldest, OP);
    return n;
}

static void it_is_slow_then_gone_then_well(void **state)
{
    struct stall s = {0};

    looks(&s, start - CFS_SEC, start, NONE);
    looks(&s, start + CFS_SEC, start + 3 * CFS_SEC, start);
    assert_int_equal(s.level, STALL_NONE);
    assert_true(stall_look(&s, start + 4 * CFS_SEC, start, OP));
    assert_int_equal(s.level, STALL_SLOW);
    assert_int_equal(looks(&s, start + 5 * CFS_SEC, start + 9 * CFS_SEC,
                           start), 0);
    assert_true(stall_look(&s, start + 10 * CFS_SEC, start, OP));
    assert_int_equal(s.level, STALL_GONE);
    assert_int_equal(looks(&s, start + 11 * CFS_SEC, start + 60 * CFS_SEC,
                           start), 0);
    assert_true(stall_look(&s, start + 61 * CFS_SEC, NONE, OP));
    assert_int_equal(s.level, STALL_NONE);
}

/* Each I/O takes long, but less than that. */
static void a_slow_device_answers(void **state)
{
    struct stall s = {0};

    for (uint64_t now = start; now < start + 300 * CFS_SEC; now += CFS_SEC)
        stall_look(&s, now, now - now % (9 * CFS_SEC), OP);
    assert_int_not_equal(s.level, STALL_GONE);
}

/* SIGSTOP, a machine that sleeps: the I/O may have ended long ago, and nobody
 * could say so. */
static void who_stood_still_begins_anew(void **state)
{
    struct stall s = {0};

    looks(&s, start, start + 3 * CFS_SEC, start);
    assert_false(stall_look(&s, start + 60 * CFS_SEC, start, OP));
    assert_int_equal(s.level, STALL_NONE);
    looks(&s, start + 61 * CFS_SEC, start + 69 * CFS_SEC, start);
    assert_int_equal(s.level, STALL_SLOW);
    looks(&s, start + 70 * CFS_SEC, start + 70 * CFS_SEC, start);
    assert_int_equal(s.level, STALL_GONE);
}

static void without_an_op_timeout_nothing_is_said(void **state)
{
    struct stall s = {0};

    assert_false(stall_look(&s, start + 999 * CFS_SEC, start, 0));
    assert_int_equal(stall_wait(0), 0);
    s.level = STALL_GONE; /* it was switched off */
    assert_true(stall_look(&s, start + 999 * CFS_SEC, start, 0));
    assert_int_equal(s.level, STALL_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_slow_then_gone_then_well),
        cmocka_unit_test(a_slow_device_answers),
        cmocka_unit_test(who_stood_still_begins_anew),
        cmocka_unit_test(without_an_op_timeout_nothing_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
