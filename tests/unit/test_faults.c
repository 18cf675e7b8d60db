/* SPDX-License-Identifier: Apache-2.0 */
/* test_faults.c - each operation of the device fails in its turn: the n-th
 * read, write or flush of a run, once or from then on, for every n; or the
 * n-th write does nothing and says that it did.
 *
 * A brick whose write or flush failed says so, with a reason, and promises
 * nothing more; what it leaves is good as after a crash (crash.h): all that
 * was synced, and after a kill all that was answered. One that cannot read
 * says so for what it cannot read, changes nothing, and goes on. A write that
 * was lost is found, or nobody needed it.
 */
#include "tests/unit/crash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/victim.h"

#define SEEDS  2u /* the first one's brick compresses its data */
#define IMAGES 4u

/* -- writes and flushes --------------------------------------------------- */

/* Whether the fault came, before the run had ended. */
static bool fail_once(uint64_t seed, const struct crash_fault *fault)
{
    struct crash_figures f = {0};
    struct crash c;
    bool failed;

    crash_run_failing(&c, &crash_short_mix, seed, fault);
    failed = recdev_failed(c.dev) > 0;
    if (failed) {
        assert_true(c.over);
        crash_look(&c, IMAGES, &f);
        if (f.bad)
            fail_msg("seed %" PRIu64 ", operation %" PRIu64, seed,
                     fault->after);
    }
    crash_end(&c);
    return failed;
}

static void fail_each(enum recdev_fault kind, unsigned least)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct crash_fault fault = {.kind = kind, .times = 1};

        while (fail_once(seed, &fault)) {
            fault.times = fault.after % 2 ? 1 : UINT64_MAX;
            fault.after++;
        }
        printf("           seed %" PRIu64 ": %" PRIu64 " failed\n", seed,
               fault.after);
        assert_true(fault.after > least);
    }
}

static void any_write_may_fail(void **state)
{
    fail_each(RECDEV_WRITE, 60);
}

static void any_flush_may_fail(void **state)
{
    fail_each(RECDEV_FLUSH, 10);
}

static void lose_each(uint64_t seed, unsigned n[3])
{
    bool failed = true;

    for (uint64_t at = 0; failed; at++) {
        const struct crash_fault fault = {RECDEV_LOSE, at, 1};
        struct crash c;
        enum crash_lost l;

        crash_run_failing(&c, &crash_short_mix, seed, &fault);
        failed = recdev_failed(c.dev) > 0;
        l = crash_look_lost(&c);
        if (l == CRASH_WRONG)
            fail_msg("seed %" PRIu64 ", write %" PRIu64, seed, at);
        n[l]++;
        crash_end(&c);
    }
}

static void any_write_may_be_lost(void **state)
{
    unsigned n[3] = {0};

    lose_each(3, n);
    lose_each(9, n); /* compressed */
    printf("           %u found, %u not needed\n", n[CRASH_FOUND],
           n[CRASH_WAS]);
    assert_true(n[CRASH_FOUND] > 10);
}

/* -- starts --------------------------------------------------------------- */

/* All inodes: right, or -EIO; the number of these. */
static unsigned see_all(struct victim *v)
{
    unsigned errors = 0;

    for (unsigned i = 0; i < v->n; i++) {
        uint64_t got;
        int rc = victim_see(v, v->gfid[i], &got);

        assert_true(rc == 0 || rc == -EIO);
        assert_true(rc < 0 || got == v->want[v->states - 1][i]);
        errors += rc < 0;
    }
    return errors;
}

/* A start fails and says so, and the next one has everything. */
static void start_failing(struct victim *v, enum recdev_fault kind,
                          unsigned least)
{
    bool failed = true;
    unsigned n = 0, refused = 0;

    for (; failed; n++) {
        struct recdev *image = victim_image(v);
        uint64_t findings;
        int rc;

        fix_put_on(&v->f, recdev_open(image));
        recdev_fail(image, kind, n, 1);
        rc = victim_start(v);
        failed = recdev_failed(image) > 0;
        recdev_fail(image, kind, 0, 0);
        if (rc < 0) {
            assert_int_equal(rc, -EIO);
            refused++;
            assert_int_equal(victim_start(v), 0);
        }
        if (!failed || rc < 0 || kind == RECDEV_READ)
            assert_int_equal(see_all(v), 0);
        fix_halt(&v->f);
        assert_int_equal(victim_fsck(v, &findings), 0);
        assert_int_equal(findings, 0);
        fix_put_on(&v->f, recdev_open(v->dev));
        recdev_free(image);
    }
    printf("           %u of %u starts failed\n", refused, n - 1);
    fflush(stdout);
    assert_true(refused >= least);
}

static void a_start_may_fail_and_be_tried_again(void **state)
{
    struct victim *v = calloc(1, sizeof *v);

    victim_make(v, true);
    start_failing(v, RECDEV_READ, 8);
    start_failing(v, RECDEV_WRITE, 4);
    start_failing(v, RECDEV_FLUSH, 2);
    victim_free(v);
    free(v);
}

/* -- reads ---------------------------------------------------------------- */

static void any_read_may_fail(void **state)
{
    struct victim *v = calloc(1, sizeof *v);
    unsigned n = 0, errors = 0;

    victim_make(v, false);
    for (bool failed = true; failed; n++) {
        struct recdev *image = victim_image(v);
        unsigned bad;

        fix_put_on(&v->f, recdev_open(image));
        assert_int_equal(victim_start(v), 0);
        recdev_fail(image, RECDEV_READ, n, 1 + n % 3);
        bad = see_all(v);
        failed = recdev_failed(image) > 0;
        errors += bad;
        recdev_fail(image, RECDEV_READ, 0, 0);
        assert_int_equal(see_all(v), 0);
        fix_halt(&v->f);
        fix_put_on(&v->f, recdev_open(v->dev));
        recdev_free(image);
    }
    printf("           %u reads, %u errors told\n", n - 1, errors);
    assert_true(n > 40 && errors > n / 2);
    victim_free(v);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_write_may_fail),
        cmocka_unit_test(any_flush_may_fail),
        cmocka_unit_test(any_write_may_be_lost),
        cmocka_unit_test(a_start_may_fail_and_be_tried_again),
        cmocka_unit_test(any_read_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
