/* SPDX-License-Identifier: Apache-2.0 */
/* voters_core.c - see voters_core.h, which has the rules by number. */
#include "mgmtd/voters_core.h"

/* What the rules ask about, counted once. */
struct tally {
    const struct vt_state *s;
    unsigned voters;     /* by etcd's list */
    unsigned heard;      /* of them, with what they know */
    unsigned wanted;     /* rule 1 */
    unsigned candidates; /* that are heard */
    bool     expected;   /* one more may be heard soon */
};

unsigned vt_wanted(unsigned n_nodes)
{
    if (n_nodes <= 2)
        return 1;
    return n_nodes <= 4 ? 3 : 5;
}

/* The node whose record names member @id; NULL: none. */
static const struct vt_node *node_of(const struct vt_state *s, uint64_t id)
{
    for (unsigned i = 0; i < s->n_nodes; i++)
        if (s->node[i].member == id)
            return &s->node[i];
    return NULL;
}

static bool counts_as_heard(const struct vt_node *n)
{
    return n && n->heard && !n->wiped;
}

static bool could_be_voter(const struct vt_node *n)
{
    return n->member == 0 && !n->leaving;
}

static struct tally count(const struct vt_state *s)
{
    struct tally t = {.s = s};
    unsigned staying = 0;

    for (unsigned i = 0; i < s->n_members; i++) {
        if (s->member[i].learner)
            continue;
        t.voters++;
        t.heard += counts_as_heard(node_of(s, s->member[i].id));
    }
    for (unsigned i = 0; i < s->n_nodes; i++) {
        const struct vt_node *n = &s->node[i];

        staying += !n->leaving;
        t.candidates += could_be_voter(n) && n->heard;
        t.expected |= could_be_voter(n) && !n->heard &&
                      n->silent_ns < VT_VOTER_PATIENCE;
    }
    t.wanted = vt_wanted(staying);
    return t;
}

/* Rule 8. */
static bool is_majority(unsigned heard, unsigned voters)
{
    return heard >= voters / 2 + 1;
}

static struct vt_step nothing(const char *why)
{
    return (struct vt_step){.verb = VT_NOTHING, .why = why};
}

static struct vt_step remove_member(uint64_t id, const char *why)
{
    return (struct vt_step){.verb = VT_REMOVE, .member = id, .why = why};
}

/* May voter @m go, by rule 8? */
static bool can_go(const struct tally *t, const struct vt_member *m)
{
    bool heard = counts_as_heard(node_of(t->s, m->id));

    return t->voters > 1 && is_majority(t->heard - heard, t->voters - 1);
}

/* -- rule 3 -------------------------------------------------------------- */

static bool is_better(const struct vt_node *a, const struct vt_node *b)
{
    if (a->was_voter != b->was_voter)
        return a->was_voter;
    return a->number < b->number;
}

static bool add_candidate(const struct tally *t, const char *why,
                          struct vt_step *ret)
{
    const struct vt_state *s = t->s;
    const struct vt_node *best = NULL;

    for (unsigned i = 0; i < s->n_nodes; i++) {
        const struct vt_node *n = &s->node[i];

        if (could_be_voter(n) && n->heard && (!best || is_better(n, best)))
            best = n;
    }
    if (!best)
        return false;
    *ret = (struct vt_step){
        .verb = VT_ADD, .node = (unsigned)(best - s->node), .why = why};
    return true;
}

/* Of two voters, the one that goes first when there are too many. */
static bool goes_before(const struct vt_node *a, const struct vt_node *b)
{
    bool a_heard = counts_as_heard(a), b_heard = counts_as_heard(b);

    if (a_heard != b_heard)
        return !a_heard;
    return a->number > b->number;
}

static bool drop_one(const struct tally *t, const char *why,
                     struct vt_step *ret)
{
    const struct vt_node *first = NULL;

    for (unsigned i = 0; i < t->s->n_members; i++) {
        const struct vt_member *m = &t->s->member[i];
        const struct vt_node *n = node_of(t->s, m->id);

        if (!m->learner && n && can_go(t, m) &&
            (!first || goes_before(n, first)))
            first = n;
    }
    if (!first)
        return false;
    *ret = remove_member(first->member, why);
    return true;
}

/* -- the rules ----------------------------------------------------------- */

/* Rules 2 and 6 for learners. */
static bool look_at_learners(const struct tally *t, struct vt_step *ret)
{
    const struct vt_state *s = t->s;

    for (unsigned i = 0; i < s->n_members; i++) {
        const struct vt_member *m = &s->member[i];
        const struct vt_node *n = node_of(s, m->id);

        if (!m->learner)
            continue;
        if (!n)
            *ret = remove_member(m->id, "a step that was cut off added it");
        else if (n->leaving)
            *ret = remove_member(m->id, "its node leaves the cluster");
        else if (n->wiped)
            *ret = remove_member(m->id, "its directory is lost");
        else if (!n->heard && n->silent_ns >= VT_LEARNER_PATIENCE)
            *ret = remove_member(m->id, "its node is not heard");
        else if (n->heard && m->caught_up)
            *ret = (struct vt_step){.verb = VT_PROMOTE, .member = m->id,
                                    .why = "it has caught up"};
        else
            *ret = nothing("a new voter is catching up");
        return true;
    }
    return false;
}

/* Rule 6 for voters, rule 7. */
static bool look_at_lost(const struct tally *t, struct vt_step *ret)
{
    for (unsigned i = 0; i < t->s->n_members; i++) {
        const struct vt_member *m = &t->s->member[i];
        const struct vt_node *n = node_of(t->s, m->id);

        if ((n && !n->wiped) || !can_go(t, m))
            continue;
        *ret = remove_member(m->id, n ? "its directory is lost"
                                      : "no node's record names it");
        return true;
    }
    return false;
}

/* Rule 4. */
static bool look_at_leaving(const struct tally *t, struct vt_step *ret)
{
    bool stuck = false;

    for (unsigned i = 0; i < t->s->n_members; i++) {
        const struct vt_member *m = &t->s->member[i];
        const struct vt_node *n = node_of(t->s, m->id);

        if (!n || !n->leaving)
            continue;
        if (can_go(t, m)) {
            *ret = remove_member(m->id, "its node leaves the cluster");
            return true;
        }
        stuck = true;
    }
    if (!stuck)
        return false;
    if (!add_candidate(t, "it takes the place of one that leaves", ret))
        *ret = nothing("a voter that leaves is needed until another node is "
                       "heard");
    return true;
}

/* Rule 9. It need not be heard: perhaps that is why. */
static bool look_at_moved(const struct tally *t, struct vt_step *ret)
{
    for (unsigned i = 0; i < t->s->n_members; i++) {
        const struct vt_node *n = node_of(t->s, t->s->member[i].id);

        if (!n || !n->moved || n->wiped || n->leaving)
            continue;
        *ret = (struct vt_step){.verb = VT_MOVE,
                                .node = (unsigned)(n - t->s->node),
                                .member = n->member,
                                .why = "its node has another address"};
        return true;
    }
    return false;
}

/* Rules 1, 3. */
static bool look_at_number(const struct tally *t, struct vt_step *ret)
{
    if (t->voters > t->wanted)
        return drop_one(t, "fewer voters are wanted", ret);
    if (t->voters == t->wanted)
        return false;
    if (t->voters % 2 == 1 && t->candidates < 2) {
        *ret = nothing("more voters are wanted, but too few nodes are heard");
        return true;
    }
    if (add_candidate(t, "more voters are wanted", ret))
        return true;
    if (t->voters % 2 == 0 && !t->expected &&
        drop_one(t, "an odd number of voters is better", ret))
        return true;
    *ret = nothing("another voter is wanted, but no node for it is heard");
    return true;
}

/* Rule 5. */
static bool look_at_silent(const struct tally *t, struct vt_step *ret)
{
    if (t->candidates == 0)
        return false;
    for (unsigned i = 0; i < t->s->n_members; i++) {
        const struct vt_member *m = &t->s->member[i];
        const struct vt_node *n = node_of(t->s, m->id);

        if (!n || n->heard || n->silent_ns < VT_VOTER_PATIENCE ||
            !can_go(t, m))
            continue;
        *ret = remove_member(m->id, "its node has not been heard for long");
        return true;
    }
    return false;
}

void vt_decide(const struct vt_state *s, struct vt_step *ret)
{
    const struct tally t = count(s);

    if (!is_majority(t.heard, t.voters))
        *ret = nothing("a majority of the voters is missing");
    else if (!look_at_moved(&t, ret) && !look_at_learners(&t, ret) &&
             !look_at_lost(&t, ret) &&
             !look_at_leaving(&t, ret) && !look_at_number(&t, ret) &&
             !look_at_silent(&t, ret))
        *ret = nothing("all is as it should be");
}
