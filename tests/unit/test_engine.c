/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine.c - what the block store's engine promises as a whole: what was
 * answered survives a kill, what was synced a power cut; a full device, a
 * failing device, a device with flipped bits. */
#include "tests/unit/cfs_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/eng_rig.h"

#define MIB ((uint64_t)1024 * 1024)

static struct cfs_blob str(const char *s)
{
    return (struct cfs_blob){s, (uint32_t)strlen(s)};
}

/* Record number @i: the same for all who ask. */
static struct cfs_blob nth_key(char *buf, unsigned i)
{
    int n = snprintf(buf, 32, "key%08u", i * 2654435761u % 100000000u);

    return (struct cfs_blob){buf, (uint32_t)n};
}

static int put_nth(struct rig *r, unsigned i, unsigned round)
{
    char key[32], val[256];
    int n = snprintf(val, sizeof val, "value %u of round %u %0*u", i, round,
                     (int)(i % 100), 7);

    return rig_put(r, nth_key(key, i), (struct cfs_blob){val, (uint32_t)n});
}

static void a_fresh_store_is_empty_and_clean(void **state)
{
    struct rig r;
    struct cfs_blob val;
    struct eng_info info;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(rig_get(&r, str("nothing"), &val), -ENOENT);
    eng_info(r.eng, &info);
    assert_true(info.was_clean);
    assert_int_equal(eng_incarnation(r.eng), 1);
    assert_true(rig_check(&r, 0));
    rig_fini(&r);
}

static void what_was_committed_is_there_after_a_clean_stop(void **state)
{
    struct rig r;
    struct eng_info info;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(put_nth(&r, i, 0), 0);
    assert_true(rig_matches(&r, &r.model));
    rig_close(&r, true);
    assert_int_equal(rig_open(&r, NULL), 0);
    eng_info(r.eng, &info);
    assert_true(info.was_clean);
    assert_int_equal(r.records, 0);
    assert_true(rig_matches(&r, &r.model));
    assert_true(rig_check(&r, 0));
    rig_fini(&r);
}

static void what_was_answered_survives_a_kill(void **state)
{
    struct rig r;
    struct eng_info info;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 1000; i++) {
            assert_int_equal(put_nth(&r, i * (round + 1), round), 0);
            if (i == 500 && round % 2 == 0)
                assert_int_equal(rig_checkpoint(&r), 0);
        }
        rig_settle(&r);
        rig_kill(&r);
        assert_int_equal(rig_open(&r, NULL), 0);
        eng_info(r.eng, &info);
        assert_false(info.was_clean);
        assert_int_equal(r.records, round % 2 == 0 ? 499 : 1000);
        assert_int_equal(eng_incarnation(r.eng), round + 2);
        assert_true(rig_matches(&r, &r.model));
        assert_true(rig_check(&r, 0));
    }
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_store_is_empty_and_clean),
        cmocka_unit_test(what_was_committed_is_there_after_a_clean_stop),
        cmocka_unit_test(what_was_answered_survives_a_kill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
