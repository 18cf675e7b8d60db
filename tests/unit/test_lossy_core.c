/* SPDX-License-Identifier: Apache-2.0 */
/* test_lossy_core.c - what counts as a network that loses much, and what never
 * does (rpc/lossy_core.h). A model of a connection answers one question after
 * another; each look is an eighth of a second after the last.
 */
#include "rpc/lossy_core.h"
#include "core/loop.h"
#include "tests/unit/cfs_test.h"

#define OP   (2 * CFS_SEC)
#define LOOK (125 * CFS_MS)

/* Somebody asks, waits, asks again. */
struct line {
    struct lossy    l;
    struct rpc_loss loss;
    uint64_t        now;
    uint64_t        worst; /* the highest level so far */
};

static struct line line_new(void)
{
    return (struct line){.now = 1000 * CFS_SEC};
}

static void look(struct line *t, uint64_t from)
{
    lossy_look(&t->l, t->now, from, OP, &t->loss);
    if (t->l.level > t->worst)
        t->worst = t->l.level;
}

/* Answers come at once for @ns: the last one just now. */
static void is_well(struct line *t, uint64_t ns)
{
    for (uint64_t end = t->now + ns; t->now < end;) {
        t->now += LOOK;
        look(t, t->now - CFS_MS);
    }
}

/* One wait of @ns, then an answer. In it, from @at on, TCP's clock has run
 * out; UINT64_MAX: it never does. */
static void waits(struct line *t, uint64_t ns, uint64_t at)
{
    const uint64_t from = t->now;

    while (t->now + LOOK < from + ns) {
        t->now += LOOK;
        if (t->now - from >= at) {
            t->loss.resent += t->loss.backoff == 0;
            t->loss.backoff = 1;
        }
        look(t, from);
    }
    t->now = from + ns;
    t->loss.backoff = 0;
    look(t, t->now);
}

static void waits_for_a_network_that_loses_add_up(void **state)
{
    struct line t = line_new();

    is_well(&t, 10 * CFS_SEC);
    assert_int_equal(t.l.level, 0);
    for (unsigned i = 0; i < 3; i++)
        waits(&t, 600 * CFS_MS, 250 * CFS_MS);
    assert_true(t.l.level >= LOSSY_BAD(OP));
    assert_true(t.l.level <= 1800 * CFS_MS);
}

static void bad_within_an_op_timeout_of_waiting(void **state)
{
    struct line t = line_new();
    uint64_t began = t.now;

    is_well(&t, CFS_SEC); /* what was well before takes nothing off */
    began = t.now;
    while (t.l.level < LOSSY_BAD(OP))
        waits(&t, 400 * CFS_MS, 250 * CFS_MS);
    assert_true(t.now - began <= OP);
}

/* While it is not known whose a wait is, it is nobody's; then it counts from
 * its beginning. */
static void a_wait_counts_from_its_beginning_once_it_is_known(void **state)
{
    struct line t = line_new();
    uint64_t from = t.now;

    for (unsigned i = 1; i <= 4; i++) {
        t.now += LOOK;
        look(&t, from);
    }
    assert_int_equal(t.l.level, 0);
    t.now += LOOK;
    t.loss.backoff = 1;
    look(&t, from);
    assert_int_equal(t.l.level, 5 * LOOK);
}

static void a_slow_disk_or_a_busy_process_is_no_loss(void **state)
{
    struct line t = line_new();

    for (unsigned i = 0; i < 100; i++)
        waits(&t, 1900 * CFS_MS, UINT64_MAX);
    assert_int_equal(t.worst, 0);
}

/* Much is on its way, some of it is lost, each answer takes a second. */
static void a_full_or_slow_link_is_no_loss(void **state)
{
    struct line t = line_new();

    for (unsigned i = 0; i < 200; i++) {
        uint64_t from = t.now;

        for (unsigned k = 0; k < 8; k++) {
            t.now += LOOK;
            t.loss.resent += 5;
            t.loss.unacked = 40;
            look(&t, from);
        }
    }
    assert_int_equal(t.worst, 0);
}

/* A packet in a hundred, with one question at a time. */
static void a_packet_lost_here_and_there_is_none(void **state)
{
    struct line t = line_new();

    for (unsigned i = 0; i < 500; i++) {
        t.loss.resent++; /* and what was sent again arrived: a wait of 210 ms */
        waits(&t, 210 * CFS_MS, UINT64_MAX);
        if (i % 10 == 0) {
            waits(&t, 450 * CFS_MS, 250 * CFS_MS); /* twice in a row */
            is_well(&t, CFS_SEC);
        }
    }
    assert_true(t.worst < LOSSY_DOUBT(OP));
}

/* A switch that is away for less than op-timeout, once in a while. */
static void one_interruption_is_forgotten(void **state)
{
    struct line t = line_new();

    for (unsigned i = 0; i < 10; i++) {
        waits(&t, 1400 * CFS_MS, 250 * CFS_MS);
        assert_true(t.worst < LOSSY_BAD(OP));
        is_well(&t, 3 * CFS_SEC);
        assert_int_equal(t.l.level, 0);
    }
}

static void other_time_takes_half_of_itself_off(void **state)
{
    struct line t = line_new();
    uint64_t level;

    waits(&t, CFS_SEC, 250 * CFS_MS);
    level = t.l.level;
    is_well(&t, CFS_SEC);
    assert_true(t.l.level <= level - 450 * CFS_MS);
    assert_true(t.l.level >= level - 500 * CFS_MS);
    t.now += CFS_SEC;
    look(&t, 0); /* nobody asked anything meanwhile */
    assert_true(t.l.level < 100 * CFS_MS);
}

/* Loss of 30% of the time ends nowhere, of half of it does: whether a member
 * may go does not depend on how long one looks. */
static void a_third_of_the_time_is_the_limit(void **state)
{
    struct line t = line_new(), u = line_new();

    for (unsigned i = 0; i < 300; i++) {
        waits(&t, 500 * CFS_MS, 250 * CFS_MS);
        is_well(&t, 1250 * CFS_MS);
    }
    assert_true(t.worst < LOSSY_BAD(OP));
    for (unsigned i = 0; i < 20; i++) {
        waits(&u, 500 * CFS_MS, 250 * CFS_MS);
        is_well(&u, 500 * CFS_MS);
    }
    assert_true(u.worst >= LOSSY_BAD(OP));
}

static void a_new_connection_counts_from_nothing(void **state)
{
    struct line t = line_new();

    t.loss.resent = 1000;
    is_well(&t, CFS_SEC);
    t.loss.resent = 0; /* another connection */
    waits(&t, CFS_SEC, UINT64_MAX);
    assert_int_equal(t.worst, 0);
}

static void who_stood_still_knows_nothing(void **state)
{
    struct line t = line_new();

    waits(&t, 1200 * CFS_MS, 250 * CFS_MS);
    t.now += 60 * CFS_SEC;
    lossy_reset(&t.l);
    look(&t, t.now);
    assert_int_equal(t.l.level, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_a_network_that_loses_add_up),
        cmocka_unit_test(bad_within_an_op_timeout_of_waiting),
        cmocka_unit_test(a_wait_counts_from_its_beginning_once_it_is_known),
        cmocka_unit_test(a_slow_disk_or_a_busy_process_is_no_loss),
        cmocka_unit_test(a_full_or_slow_link_is_no_loss),
        cmocka_unit_test(a_packet_lost_here_and_there_is_none),
        cmocka_unit_test(one_interruption_is_forgotten),
        cmocka_unit_test(other_time_takes_half_of_itself_off),
        cmocka_unit_test(a_third_of_the_time_is_the_limit),
        cmocka_unit_test(a_new_connection_counts_from_nothing),
        cmocka_unit_test(who_stood_still_knows_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
