/* SPDX-License-Identifier: Apache-2.0 */
/* test_view_core.c - who is in the next view, rule by rule (view_core.h). */
#include "mgmtd/view_core.h"
#include "tests/unit/cfs_test.h"

/* A set of three bricks, 'a' 'b' 'c', in sync in epoch 5, incarnation 10. */
struct fix {
    struct cfs_view    view;
    struct vc_set      set;
    struct vc_decision d;
};

static struct cfs_uuid id(char c)
{
    struct cfs_uuid u = {{0}};

    u.b[0] = (uint8_t)c;
    return u;
}

static struct fix three(void)
{
    struct fix f = {0};

    f.view.set = id('S');
    f.view.epoch = 5;
    f.view.id = id('5');
    f.view.n_sync = 3;
    f.set.active = true;
    f.set.n = 3;
    for (unsigned i = 0; i < 3; i++) {
        struct vc_brick *b = &f.set.brick[i];

        b->id = id((char)('a' + i));
        b->here = true;
        b->incarnation = 10;
        b->view_epoch = 5;
        b->view_id = id('5');
        f.view.m[i] = (struct cfs_member){b->id, 10};
    }
    return f;
}

/* The decision in letters: "keep", "wait", "hold", or the members of the new
 * view in order. */
static const char *decide(struct fix *f, char text[static 16])
{
    f->set.view = &f->view;
    vc_decide(&f->set, &f->d);
    switch (f->d.verdict) {
    case VC_KEEP:
        return "keep";
    case VC_WAIT:
        return "wait";
    case VC_HOLD:
        return "hold";
    case VC_NEW:
        break;
    }
    assert_int_equal(f->d.view.epoch, f->view.epoch + 1);
    assert_true(cfs_uuid_eq(f->d.view.set, f->view.set));
    for (unsigned i = 0; i < f->d.view.n_sync; i++)
        text[i] = (char)f->d.view.m[i].brick.b[0];
    text[f->d.view.n_sync] = '\0';
    return text;
}

#define DECIDES(f, want)                                                     \
    do {                                                                     \
        char text_[16];                                                      \
        assert_string_equal(decide(f, text_), want);                         \
    } while (0)

static void gone(struct fix *f, unsigned i)
{
    f->set.brick[i].here = false;
    f->set.brick[i].ended = true;
}

static void unknown(struct fix *f, unsigned i)
{
    f->set.brick[i].here = false;
    f->set.brick[i].ended = false;
}

static void restarted(struct fix *f, unsigned i, bool clean)
{
    f->set.brick[i].here = true;
    f->set.brick[i].ended = false;
    f->set.brick[i].incarnation++;
    f->set.brick[i].clean = clean;
}

static void nothing_happens_while_all_serve(void **state)
{
    struct fix f = three();

    DECIDES(&f, "keep");
}

static void rule_1_a_volume_that_stops_keeps_its_view(void **state)
{
    struct fix f = three();

    f.set.active = false;
    gone(&f, 0);
    restarted(&f, 1, true);
    DECIDES(&f, "keep");
}

static void rule_2_an_unknown_view_stops_all_decisions(void **state)
{
    struct fix f = three();

    gone(&f, 0);
    f.set.brick[2].foreign = true;
    DECIDES(&f, "hold");
    assert_int_equal(f.d.about, 2);
}

static void rule_2_goes_before_a_first_view(void **state)
{
    struct fix f = three();

    f.view = (struct cfs_view){.set = id('S')};
    f.set.brick[1].foreign = true;
    DECIDES(&f, "hold");
}

static void rule_3_the_first_view_has_all_bricks_in_order(void **state)
{
    struct fix f = three();

    f.view = (struct cfs_view){.set = id('S')};
    for (unsigned i = 0; i < 3; i++) {
        f.set.brick[i].incarnation = i + 1;
        f.set.brick[i].view_epoch = 0;
    }
    DECIDES(&f, "abc");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(f.d.view.m[i].incarnation, i + 1);
}

static void rule_3_the_first_view_waits_for_all(void **state)
{
    struct fix f = three();

    f.view = (struct cfs_view){.set = id('S')};
    for (unsigned i = 0; i < 3; i++)
        f.set.brick[i].view_epoch = 0;
    f.set.waited = true;
    gone(&f, 1);
    DECIDES(&f, "wait");
    restarted(&f, 1, true);
    f.set.brick[1].poisoned = true;
    DECIDES(&f, "wait");
    unknown(&f, 1);
    DECIDES(&f, "wait");
}

static void rule_3_who_cannot_be_started_is_not_in_it(void **state)
{
    struct fix f = three();

    f.view = (struct cfs_view){.set = id('S')};
    for (unsigned i = 0; i < 3; i++)
        f.set.brick[i].view_epoch = 0;
    gone(&f, 1);
    f.set.brick[1].hopeless = true;
    DECIDES(&f, "ac");
    assert_int_equal(f.d.out[1], VC_OUT_MISSING);
    for (unsigned i = 0; i < 3; i++) {
        gone(&f, i);
        f.set.brick[i].hopeless = true;
    }
    DECIDES(&f, "wait");
}

static void rule_4_each_kind_of_loss_leads_to_a_view_without_it(void **state)
{
    for (unsigned i = 0; i < 3; i++) {
        static const char *const rest[] = {"bc", "ac", "ab"};
        struct fix f = three();

        gone(&f, i);
        DECIDES(&f, rest[i]);
        assert_int_equal(f.d.out[i], VC_OUT_ENDED);
        assert_int_equal(f.d.view.m[0].incarnation, 10);
        restarted(&f, i, true); /* even if it was stopped cleanly */
        DECIDES(&f, rest[i]);
        assert_int_equal(f.d.out[i], VC_OUT_RESTARTED);
        f = three();
        f.set.brick[i].poisoned = true;
        DECIDES(&f, rest[i]);
        assert_int_equal(f.d.out[i], VC_OUT_POISONED);
        f = three();
        f.set.brick[i].differs = true;
        DECIDES(&f, rest[i]);
        assert_int_equal(f.d.out[i], VC_OUT_DIFFERS);
    }
}

static void rule_4_several_may_be_lost_at_once(void **state)
{
    struct fix f = three();

    gone(&f, 0);
    restarted(&f, 1, false);
    DECIDES(&f, "c");
}

static void rule_4_a_silent_member_goes_while_another_serves(void **state)
{
    struct fix f = three();

    f.set.brick[0].silent = true;
    DECIDES(&f, "bc");
    assert_int_equal(f.d.out[0], VC_OUT_SILENT);
    unknown(&f, 1);
    DECIDES(&f, "bc"); /* nobody judged that one */
}

static void rule_4_silence_is_no_end_when_no_other_serves(void **state)
{
    struct fix f = three();

    f.set.brick[0].silent = true;
    unknown(&f, 1);
    unknown(&f, 2);
    DECIDES(&f, "keep");
    gone(&f, 1);
    gone(&f, 2);
    DECIDES(&f, "keep");
}

static void rule_5_the_unknown_stays(void **state)
{
    struct fix f = three();

    unknown(&f, 0);
    unknown(&f, 1);
    DECIDES(&f, "keep");
    gone(&f, 2);
    f.set.brick[0].here = true;
    DECIDES(&f, "ab");
    for (unsigned i = 0; i < 3; i++)
        unknown(&f, i);
    f.set.waited = true;
    DECIDES(&f, "keep");
}

static void rule_6_all_are_waited_for_but_not_for_ever(void **state)
{
    struct fix f = three();

    for (unsigned i = 0; i < 3; i++)
        gone(&f, i);
    DECIDES(&f, "wait");
    restarted(&f, 1, true);
    DECIDES(&f, "wait");
    unknown(&f, 0); /* started, but not ready */
    DECIDES(&f, "wait");
    f.set.waited = true;
    DECIDES(&f, "b");
    assert_int_equal(f.d.out[0], VC_OUT_MISSING);
    assert_int_equal(f.d.out[2], VC_OUT_MISSING);
}

static void rule_6_who_cannot_come_is_not_waited_for(void **state)
{
    struct fix f = three();

    restarted(&f, 0, true);
    restarted(&f, 2, true);
    gone(&f, 1);
    DECIDES(&f, "wait");
    f.set.brick[1].hopeless = true;
    DECIDES(&f, "ac");
}

static void rule_6_the_grace_period_alone_forms_no_view(void **state)
{
    struct fix f = three();

    for (unsigned i = 0; i < 3; i++)
        gone(&f, i);
    f.set.waited = true;
    DECIDES(&f, "wait");
}

static void rule_6_the_last_member_comes_back_alone(void **state)
{
    struct fix f = three();

    f.view.n_sync = 1;
    f.view.m[0] = (struct cfs_member){id('b'), 10};
    gone(&f, 1);
    DECIDES(&f, "wait");
    restarted(&f, 1, false);
    DECIDES(&f, "b");
    assert_int_equal(f.d.view.m[0].incarnation, 11);
    assert_int_equal(f.d.out[0], VC_OUT_NOT); /* it was out before */
}

static void rule_7_after_a_clean_stop_all_are_in_sync(void **state)
{
    struct fix f = three();

    for (unsigned i = 0; i < 3; i++)
        restarted(&f, i, true);
    DECIDES(&f, "abc");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(f.d.view.m[i].incarnation, 11);
}

static void rule_7_those_that_did_not_stop_cleanly_are_out(void **state)
{
    struct fix f = three();

    restarted(&f, 0, false);
    restarted(&f, 1, true);
    restarted(&f, 2, true);
    DECIDES(&f, "bc");
    assert_int_equal(f.d.out[0], VC_OUT_UNCLEAN);
}

static void rule_7_clean_in_an_older_view_is_not_clean(void **state)
{
    struct fix f = three();

    for (unsigned i = 0; i < 3; i++)
        restarted(&f, i, true);
    f.set.brick[1].view_epoch = 4;
    f.set.brick[1].view_id = id('4');
    DECIDES(&f, "ac");
    f.set.brick[2].view_id = id('x'); /* the epoch alone is not enough */
    DECIDES(&f, "a");
}

static void rule_7_after_an_unclean_stop_one_serves_alone(void **state)
{
    struct fix f = three();

    for (unsigned i = 0; i < 3; i++)
        restarted(&f, i, false);
    DECIDES(&f, "a");
    assert_int_equal(f.d.out[1], VC_OUT_UNCLEAN);
    assert_int_equal(f.d.out[2], VC_OUT_UNCLEAN);
    f.set.brick[0].view_epoch = 4; /* never told of the last view */
    f.set.brick[0].view_id = id('4');
    DECIDES(&f, "b");
}

static void rule_7_a_first_view_that_nobody_was_told_of(void **state)
{
    struct fix f = three();

    f.view.epoch = 1;
    for (unsigned i = 0; i < 3; i++) {
        restarted(&f, i, false);
        f.set.brick[i].view_epoch = 0;
    }
    DECIDES(&f, "abc");
    f.set.brick[1].view_epoch = 1; /* one was: it may have served */
    f.set.brick[1].view_id = f.view.id;
    DECIDES(&f, "b");
}

static void rule_10_what_fsck_changed_waits_for_the_others(void **state)
{
    struct fix f = three();

    gone(&f, 0);
    gone(&f, 1);
    gone(&f, 2);
    restarted(&f, 0, true);
    f.set.brick[0].repaired = true;
    f.set.waited = true;
    DECIDES(&f, "wait");
    restarted(&f, 1, false);
    DECIDES(&f, "b");
    assert_int_equal(f.d.out[0], VC_OUT_REPAIRED);
}

static void rule_10_when_all_were_changed_the_first_serves(void **state)
{
    struct fix f = three();

    for (unsigned i = 0; i < 3; i++) {
        restarted(&f, i, true);
        f.set.brick[i].repaired = true;
    }
    DECIDES(&f, "a");
}

static void rule_8_an_old_copy_or_a_wiped_brick_is_not_back(void **state)
{
    struct fix f = three();

    restarted(&f, 0, true);
    f.set.brick[0].incarnation = 7;
    restarted(&f, 1, false);
    f.set.brick[1].view_epoch = 0;
    gone(&f, 2);
    f.set.waited = true;
    DECIDES(&f, "wait");
    restarted(&f, 2, false);
    DECIDES(&f, "c");
    assert_int_equal(f.d.out[0], VC_OUT_REPLACED);
    assert_int_equal(f.d.out[1], VC_OUT_REPLACED);
}

static void rule_8_a_copy_that_comes_to_the_same_incarnation(void **state)
{
    struct fix f = three();

    /* One that is put back while others serve. */
    f.set.brick[2].other = true;
    DECIDES(&f, "ab");
    assert_int_equal(f.d.out[2], VC_OUT_REPLACED);
    /* All were restarted, and one of them with the device of before: it is
     * not the only one that serves. */
    restarted(&f, 0, true);
    restarted(&f, 1, true);
    DECIDES(&f, "ab");
    assert_int_equal(f.d.out[2], VC_OUT_REPLACED);
    /* Alone, it is not the last one either. */
    gone(&f, 0);
    gone(&f, 1);
    f.set.waited = true;
    DECIDES(&f, "wait");
}

static void rule_9_who_is_out_stays_out(void **state)
{
    struct fix f = three();

    f.view.n_sync = 2; /* c is out */
    restarted(&f, 2, true);
    DECIDES(&f, "keep");
    gone(&f, 2);
    DECIDES(&f, "keep");
    restarted(&f, 2, true);
    restarted(&f, 0, true);
    restarted(&f, 1, true);
    DECIDES(&f, "ab");
    restarted(&f, 0, false);
    restarted(&f, 1, false);
    DECIDES(&f, "a");
}

/* What is decided, taken as the view, needs no further decision. */
static void a_decision_settles(void **state)
{
    for (unsigned bits = 0; bits < 4 * 4 * 4; bits++) {
        struct fix f = three();

        for (unsigned i = 0; i < 3; i++)
            switch ((bits >> (2 * i)) & 3) {
            case 1:
                gone(&f, i);
                break;
            case 2:
                restarted(&f, i, false);
                break;
            case 3:
                restarted(&f, i, true);
                break;
            }
        f.set.waited = true;
        f.set.view = &f.view;
        vc_decide(&f.set, &f.d);
        if (f.d.verdict != VC_NEW)
            continue;
        assert_true(f.d.view.n_sync > 0);
        f.view = f.d.view;
        DECIDES(&f, "keep");
    }
}

/* The same set, whose configuration was restored: the store says nobody is in
 * sync; @last is what the bricks remember. */
static struct fix reborn(struct cfs_view *last)
{
    struct fix f = three();

    *last = f.view;
    last->lineage = 2;
    for (unsigned i = 0; i < 3; i++) {
        f.set.brick[i].remembers = last;
        f.set.brick[i].foreign = true;
    }
    f.view.epoch = 1000;
    f.view.id = id(0);
    f.view.n_sync = 0;
    return f;
}

static void rule_11_bricks_that_went_on_go_on(void **state)
{
    struct cfs_view last;
    struct fix f = reborn(&last);

    DECIDES(&f, "abc");
    assert_int_equal(f.d.view.epoch, 1001);
    f = reborn(&last);
    restarted(&f, 1, true);
    DECIDES(&f, "ac");
}

static void rule_11_all_bricks_are_waited_for_unless_forced(void **state)
{
    struct cfs_view last;
    struct fix f = reborn(&last);

    gone(&f, 2);
    f.set.brick[2].hopeless = true;
    f.set.waited = true;
    DECIDES(&f, "wait");
    f.set.forced = true;
    DECIDES(&f, "ab");
    for (unsigned i = 0; i < 3; i++)
        gone(&f, i);
    DECIDES(&f, "wait");
}

static void rule_11_the_newest_view_that_is_remembered_counts(void **state)
{
    struct cfs_view last, newer;
    struct fix f = reborn(&last);

    /* Brick a was lost in the last view; it remembers the one before. */
    newer = last;
    newer.epoch++;
    newer.id = id('6');
    newer.n_sync = 2;
    newer.m[0] = last.m[1];
    newer.m[1] = last.m[2];
    for (unsigned i = 0; i < 3; i++)
        f.set.brick[i].remembers = i == 0 ? &last : &newer;
    DECIDES(&f, "bc");
    /* A later life counts more than a higher epoch. */
    last.lineage = 3;
    DECIDES(&f, "abc");
    /* Two that differ: an operator must look. */
    last.lineage = 2;
    last.epoch = newer.epoch;
    DECIDES(&f, "hold");
}

static void rule_11_after_a_stop_the_rules_of_a_restart_hold(void **state)
{
    struct cfs_view last;
    struct fix f = reborn(&last);

    for (unsigned i = 0; i < 3; i++)
        restarted(&f, i, true);
    DECIDES(&f, "abc");
    for (unsigned i = 0; i < 3; i++)
        f.set.brick[i].clean = false;
    DECIDES(&f, "a");
    /* Who was in sync is missing: nobody else takes its place. */
    last.n_sync = 1;
    gone(&f, 0);
    f.set.forced = true;
    DECIDES(&f, "wait");
}

static void rule_11_new_bricks_start_as_new_ones(void **state)
{
    struct cfs_view last;
    struct fix f = reborn(&last);

    last = (struct cfs_view){.set = f.view.set};
    for (unsigned i = 0; i < 3; i++)
        f.set.brick[i].view_epoch = 0;
    DECIDES(&f, "abc");
    assert_int_equal(f.d.view.epoch, 1001);
}

static void rule_12_a_device_that_does_not_answer_is_left_behind(void **state)
{
    struct fix f = three();

    f.set.brick[0].stalled = 1;
    DECIDES(&f, "keep");
    f.set.brick[0].stalled = 2;
    DECIDES(&f, "bc");
    assert_int_equal(f.d.out[0], VC_OUT_STALLED);
    f.set.brick[2].stalled = 1; /* one is left of which all is well */
    DECIDES(&f, "bc");
    f.set.brick[2].stalled = 2;
    DECIDES(&f, "b");
}

static void rule_12_when_all_devices_stop_nobody_goes(void **state)
{
    struct fix f = three();

    for (unsigned i = 0; i < 3; i++)
        f.set.brick[i].stalled = 1;
    f.set.brick[1].stalled = 2; /* the first to be sure */
    DECIDES(&f, "keep");
    for (unsigned i = 0; i < 3; i++)
        f.set.brick[i].stalled = 2;
    DECIDES(&f, "keep");
    f.set.brick[2].stalled = 0; /* one is back before the others */
    DECIDES(&f, "c");
}

static void rule_12_the_last_one_that_serves_stays(void **state)
{
    struct fix f = three();

    f.set.brick[1].stalled = 2;
    f.set.brick[0].silent = true;
    unknown(&f, 2);
    DECIDES(&f, "bc");
    f.set.brick[2].here = true;
    f.set.brick[2].poisoned = true; /* no other that serves */
    f.set.brick[0].silent = false;
    gone(&f, 0);
    DECIDES(&f, "b");
    assert_int_equal(f.d.out[1], VC_OUT_NOT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_while_all_serve),
        cmocka_unit_test(rule_1_a_volume_that_stops_keeps_its_view),
        cmocka_unit_test(rule_2_an_unknown_view_stops_all_decisions),
        cmocka_unit_test(rule_2_goes_before_a_first_view),
        cmocka_unit_test(rule_3_the_first_view_has_all_bricks_in_order),
        cmocka_unit_test(rule_3_the_first_view_waits_for_all),
        cmocka_unit_test(rule_3_who_cannot_be_started_is_not_in_it),
        cmocka_unit_test(rule_4_each_kind_of_loss_leads_to_a_view_without_it),
        cmocka_unit_test(rule_4_several_may_be_lost_at_once),
        cmocka_unit_test(rule_4_a_silent_member_goes_while_another_serves),
        cmocka_unit_test(rule_4_silence_is_no_end_when_no_other_serves),
        cmocka_unit_test(rule_5_the_unknown_stays),
        cmocka_unit_test(rule_6_all_are_waited_for_but_not_for_ever),
        cmocka_unit_test(rule_6_who_cannot_come_is_not_waited_for),
        cmocka_unit_test(rule_6_the_grace_period_alone_forms_no_view),
        cmocka_unit_test(rule_6_the_last_member_comes_back_alone),
        cmocka_unit_test(rule_7_after_a_clean_stop_all_are_in_sync),
        cmocka_unit_test(rule_7_those_that_did_not_stop_cleanly_are_out),
        cmocka_unit_test(rule_7_clean_in_an_older_view_is_not_clean),
        cmocka_unit_test(rule_7_after_an_unclean_stop_one_serves_alone),
        cmocka_unit_test(rule_10_what_fsck_changed_waits_for_the_others),
        cmocka_unit_test(rule_10_when_all_were_changed_the_first_serves),
        cmocka_unit_test(rule_7_a_first_view_that_nobody_was_told_of),
        cmocka_unit_test(rule_8_an_old_copy_or_a_wiped_brick_is_not_back),
        cmocka_unit_test(rule_8_a_copy_that_comes_to_the_same_incarnation),
        cmocka_unit_test(rule_9_who_is_out_stays_out),
        cmocka_unit_test(rule_11_bricks_that_went_on_go_on),
        cmocka_unit_test(rule_11_all_bricks_are_waited_for_unless_forced),
        cmocka_unit_test(rule_11_the_newest_view_that_is_remembered_counts),
        cmocka_unit_test(rule_11_after_a_stop_the_rules_of_a_restart_hold),
        cmocka_unit_test(rule_11_new_bricks_start_as_new_ones),
        cmocka_unit_test(a_decision_settles),
        cmocka_unit_test(
            rule_12_a_device_that_does_not_answer_is_left_behind),
        cmocka_unit_test(rule_12_when_all_devices_stop_nobody_goes),
        cmocka_unit_test(rule_12_the_last_one_that_serves_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
