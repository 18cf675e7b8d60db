/* SPDX-License-Identifier: Apache-2.0 */
/* test_voters_core.c - which nodes run an etcd, rule by rule
 * (mgmtd/voters_core.h), and random lives of clusters.
 *
 * A cluster is written as a word, one letter a node, in order of number:
 *   v heard voter   V silent voter   X silent for long   w wiped voter
 *   o heard other   O silent other   x silent for long   b was a voter
 *   l learner       c caught up      L silent learner    q leaving voter
 *   m heard voter at another address                     M silent one
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mgmtd/voters_core.h"
#include "tests/unit/cfs_test.h"

#define MINUTE ((uint64_t)60 * 1000 * 1000 * 1000)

static void add_member(struct vt_state *s, char c, struct vt_node *n)
{
    n->member = 100 + n->number;
    s->member[s->n_members++] = (struct vt_member){
        .id = n->member,
        .learner = strchr("lcL", c) != NULL,
        .caught_up = c == 'c',
    };
}

static struct vt_state state_of(const char *word)
{
    struct vt_state s = {0};

    for (const char *c = word; *c; c++) {
        struct vt_node *n = &s.node[s.n_nodes++];

        n->number = s.n_nodes;
        n->heard = strchr("VXOxLM", *c) == NULL;
        n->silent_ns = n->heard ? 0 : strchr("Xx", *c) ? 11 * MINUTE : MINUTE;
        n->wiped = *c == 'w';
        n->leaving = *c == 'q';
        n->was_voter = *c == 'b';
        n->moved = *c == 'm' || *c == 'M';
        if (strchr("vVXwlcLqmM", *c))
            add_member(&s, *c, n);
    }
    return s;
}

/* The step in words: "add 2", "promote 3", "remove 1", "remove stray", "move 2",
 * "-". */
static const char *words(const struct vt_state *s, char ret[static 32])
{
    struct vt_step step;
    unsigned number = 0;

    vt_decide(s, &step);
    assert_non_null(step.why);
    if (step.verb == VT_NOTHING)
        return "-";
    if (step.verb == VT_ADD)
        number = s->node[step.node].number;
    for (unsigned i = 0; i < s->n_nodes && step.verb != VT_ADD; i++)
        if (s->node[i].member == step.member)
            number = s->node[i].number;
    snprintf(ret, 32, "%s %s%.0u",
             step.verb == VT_ADD ? "add"
             : step.verb == VT_PROMOTE ? "promote"
             : step.verb == VT_MOVE ? "move" : "remove",
             number ? "" : "stray", number);
    return ret;
}

#define DECIDES(word, expected)                                              \
    do {                                                                     \
        struct vt_state state_ = state_of(word);                             \
        char text_[32];                                                      \
        assert_string_equal(words(&state_, text_), expected);                \
    } while (0)

static void rule_1_the_number_of_voters_is_odd(void **state)
{
    assert_int_equal(vt_wanted(1), 1);
    assert_int_equal(vt_wanted(2), 1);
    assert_int_equal(vt_wanted(3), 3);
    assert_int_equal(vt_wanted(4), 3);
    assert_int_equal(vt_wanted(5), 5);
    assert_int_equal(vt_wanted(60), 5);
    DECIDES("v", "-");
    DECIDES("vo", "-");
    DECIDES("voo", "add 2");
    DECIDES("vvo", "add 3");
    DECIDES("vvv", "-");
    DECIDES("vvvo", "-");
    DECIDES("vvvoo", "add 4");
    DECIDES("vvvvo", "add 5");
    DECIDES("vvvvvoo", "-");
    /* Two voters are less available than one: the second comes only when a
     * third is there. */
    DECIDES("voO", "-");
    DECIDES("vvvoO", "-");
    /* Left in the middle: wait for the one that is missing, then go back. */
    DECIDES("vvO", "-");
    DECIDES("vvx", "remove 2");
    /* Fewer nodes than voters. */
    DECIDES("vv", "remove 2");
    DECIDES("vvvv", "remove 4");
}

static void rule_2_one_change_at_a_time(void **state)
{
    DECIDES("vlo", "-");
    DECIDES("vco", "promote 2");
    DECIDES("vLo", "remove 2");
    DECIDES("vvcoo", "promote 3");
    DECIDES("vvlwo", "-");
    struct vt_state s = state_of("vLo");
    char text[32];

    s.node[1].silent_ns = VT_LEARNER_PATIENCE - 1;
    assert_string_equal(words(&s, text), "-");
    s = state_of("vco");
    s.node[1].heard = false;
    s.node[1].silent_ns = 1;
    assert_string_equal(words(&s, text), "-");
    s.node[1].leaving = true;
    assert_string_equal(words(&s, text), "remove 2");
    s.node[1].leaving = false;
    s.node[1].wiped = true;
    assert_string_equal(words(&s, text), "remove 2");
}

static void rule_3_who_was_a_voter_comes_first(void **state)
{
    DECIDES("ovbo", "add 3");
    DECIDES("vOoo", "add 3");
    DECIDES("vvVv", "remove 3");
}

static void rule_4_who_leaves_is_removed_first(void **state)
{
    DECIDES("vqvo", "remove 2");
    DECIDES("vqv", "remove 2");
    /* The only one: another takes its place first. */
    DECIDES("qo", "add 2");
    DECIDES("qc", "promote 2");
    DECIDES("qv", "remove 1");
    DECIDES("qO", "-");
    DECIDES("q", "-");
    /* Its vote is needed while another voter is silent. */
    DECIDES("vqVo", "add 4");
}

static void rule_5_who_is_silent_may_come_back(void **state)
{
    DECIDES("vvVo", "-");
    DECIDES("vvXo", "remove 3");
    DECIDES("vvX", "-");
    DECIDES("vvXO", "-");
    DECIDES("vvoX", "remove 4");
}

static void rule_6_a_member_of_no_record_is_removed(void **state)
{
    struct vt_state s = state_of("voo");
    char text[32];

    s.member[s.n_members++] = (struct vt_member){.id = 7, .learner = true};
    assert_string_equal(words(&s, text), "remove stray");
    s = state_of("vvv");
    s.member[s.n_members++] = (struct vt_member){.id = 7};
    assert_string_equal(words(&s, text), "remove stray");
}

static void rule_7_who_lost_its_directory_is_removed_and_added(void **state)
{
    DECIDES("vvw", "remove 3");
    DECIDES("wvvo", "remove 1");
    DECIDES("w", "-");
    DECIDES("vvb", "add 3");
}

static void rule_8_a_majority_stays(void **state)
{
    DECIDES("vVV", "-");
    DECIDES("vww", "-");
    DECIDES("vwV", "-");
    DECIDES("vXXoo", "-");
    DECIDES("vvvXXo", "remove 4");
    DECIDES("vvVw", "-");
}

static void rule_9_who_moved_is_told_to_the_others(void **state)
{
    DECIDES("vvm", "move 3");
    DECIDES("m", "move 1");
    DECIDES("vvM", "move 3"); /* perhaps that is why */
    DECIDES("mvvl", "move 1");
    DECIDES("vMV", "-");
    DECIDES("vmm", "move 2");
}

/* -- random lives -------------------------------------------------------- */

struct life {
    struct vt_state s;
    uint64_t        next_id;
    unsigned        next_number;
};

static unsigned draw(unsigned below)
{
    return (unsigned)rand() % below;
}

static bool is_voter_here(const struct vt_state *s, const struct vt_member *m)
{
    for (unsigned i = 0; i < s->n_nodes; i++)
        if (s->node[i].member == m->id)
            return s->node[i].heard && !s->node[i].wiped;
    return false;
}

static void count_voters(const struct vt_state *s, unsigned *ret_voters,
                         unsigned *ret_heard, unsigned *ret_learners)
{
    *ret_voters = *ret_heard = *ret_learners = 0;
    for (unsigned i = 0; i < s->n_members; i++) {
        if (s->member[i].learner) {
            ++*ret_learners;
            continue;
        }
        ++*ret_voters;
        *ret_heard += is_voter_here(s, &s->member[i]);
    }
}

static void join(struct life *l)
{
    if (l->s.n_nodes < 9)
        l->s.node[l->s.n_nodes++] = (struct vt_node){
            .number = ++l->next_number, .heard = true};
}

static void event(struct life *l)
{
    struct vt_node *n = &l->s.node[draw(l->s.n_nodes)];

    switch (draw(7)) {
    case 0:
        join(l);
        break;
    case 1:
        n->leaving = true;
        break;
    case 2:
        n->heard = false;
        n->silent_ns = draw(20) * MINUTE;
        break;
    case 3:
        n->wiped = n->member != 0;
        break;
    default:
        n->heard = true;
        n->silent_ns = 0;
        break;
    }
}

/* What engine.c does with a step; some are cut off in the middle. */
static void carry_out(struct life *l, const struct vt_step *step)
{
    struct vt_state *s = &l->s;
    unsigned at = 0;

    if (step->verb == VT_ADD) {
        s->member[s->n_members++] = (struct vt_member){
            .id = ++l->next_id, .learner = true, .caught_up = draw(2) == 0};
        if (draw(5) != 0)
            s->node[step->node].member = l->next_id;
        return;
    }
    while (at < s->n_members && s->member[at].id != step->member)
        at++;
    assert_true(at < s->n_members);
    if (step->verb == VT_PROMOTE) {
        assert_true(s->member[at].learner && s->member[at].caught_up);
        s->member[at].learner = false;
        for (unsigned i = 0; i < s->n_nodes; i++)
            if (s->node[i].member == step->member)
                s->node[i].was_voter = true;
        return;
    }
    s->member[at] = s->member[--s->n_members];
    for (unsigned i = 0; i < s->n_nodes; i++)
        if (s->node[i].member == step->member) {
            s->node[i].member = 0;
            s->node[i].wiped = false;
        }
}

static void forget_those_that_left(struct life *l)
{
    for (unsigned i = 0; i < l->s.n_nodes; i++)
        if (l->s.node[i].leaving && l->s.node[i].member == 0 &&
            l->s.n_nodes > 1)
            l->s.node[i--] = l->s.node[--l->s.n_nodes];
}

/* Whatever happens: never two learners, never a step that takes the majority
 * away, and none without one. */
static bool one_step(struct life *l)
{
    unsigned voters, heard, learners, voters_after, heard_after;
    struct vt_step step;

    count_voters(&l->s, &voters, &heard, &learners);
    vt_decide(&l->s, &step);
    for (unsigned i = 0; i < l->s.n_members; i++)
        l->s.member[i].caught_up |= l->s.member[i].learner && draw(2) == 0;
    if (step.verb == VT_NOTHING)
        return false;
    assert_true(heard >= voters / 2 + 1);
    assert_true(step.verb != VT_ADD || learners == 0);
    carry_out(l, &step);
    forget_those_that_left(l);
    count_voters(&l->s, &voters_after, &heard_after, &learners);
    assert_true(learners <= 1);
    assert_true(voters_after >= 1 && heard_after >= voters_after / 2 + 1);
    assert_true(voters_after + 1 >= voters && voters_after <= voters + 1);
    assert_true(voters_after <= 6);
    return true;
}

/* When everybody is heard again it ends, at the wanted number. */
static void settle(struct life *l)
{
    unsigned voters, heard, learners, staying = 0, idle = 0;

    for (unsigned i = 0; i < l->s.n_nodes; i++) {
        l->s.node[i].heard = true;
        l->s.node[i].silent_ns = 0;
        l->s.node[i].leaving &= l->s.n_nodes > 1 && i > 0;
        staying += !l->s.node[i].leaving;
    }
    count_voters(&l->s, &voters, &heard, &learners);
    if (heard < voters / 2 + 1)
        return; /* too many directories are lost: cluster rebuild */
    for (unsigned n = 0; idle < 20; n++) {
        assert_true(n < 200);
        idle = one_step(l) ? 0 : idle + 1;
    }
    count_voters(&l->s, &voters, &heard, &learners);
    assert_int_equal(learners, 0);
    assert_int_equal(voters, vt_wanted(staying));
    assert_int_equal(heard, voters);
}

static void whatever_happens_a_majority_stays_and_it_ends(void **state)
{
    for (unsigned seed = 1; seed <= 3000; seed++) {
        struct life l = {.next_number = 0, .next_id = 1000};

        srand(seed);
        join(&l);
        l.s.node[0].member = ++l.next_id;
        l.s.member[l.s.n_members++] = (struct vt_member){.id = l.next_id};
        for (unsigned i = 0; i < 60; i++) {
            if (draw(3) == 0)
                event(&l);
            one_step(&l);
        }
        settle(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_1_the_number_of_voters_is_odd),
        cmocka_unit_test(rule_2_one_change_at_a_time),
        cmocka_unit_test(rule_3_who_was_a_voter_comes_first),
        cmocka_unit_test(rule_4_who_leaves_is_removed_first),
        cmocka_unit_test(rule_5_who_is_silent_may_come_back),
        cmocka_unit_test(rule_6_a_member_of_no_record_is_removed),
        cmocka_unit_test(rule_7_who_lost_its_directory_is_removed_and_added),
        cmocka_unit_test(rule_8_a_majority_stays),
        cmocka_unit_test(rule_9_who_moved_is_told_to_the_others),
        cmocka_unit_test(whatever_happens_a_majority_stays_and_it_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
