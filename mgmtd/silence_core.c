/* SPDX-License-Identifier: Apache-2.0 */
/* silence_core.c - see silence_core.h for the rules. */
#include "mgmtd/silence_core.h"

#include "rpc/lossy_core.h"

#define STEP_NS (200u * (uint64_t)1000000)

/* What the reports say of one member. */
struct tally {
    unsigned reached, missed;         /* by anybody */
    unsigned lately;                  /* of .reached: within half the time */
    unsigned out_reached, out_missed; /* by observers on other nodes */
    unsigned out_well;                /* reached well, by mgmtds there */
    unsigned for_it, against;         /* clients */
    unsigned badly;                   /* of .for_it, who reach it badly */
};

static bool counts(const struct sl_question *q, const struct sl_report *r)
{
    return r->made_ns <= q->op_timeout_ns / 2; /* rule 6 */
}

static bool reached(const struct sl_question *q, const struct sl_report *r,
                    unsigned i)
{
    return r->heard[i].asked && r->heard[i].age_ns <= q->op_timeout_ns;
}

static bool missed(const struct sl_question *q, const struct sl_report *r,
                   unsigned i)
{
    return r->heard[i].asked && r->heard[i].age_ns > q->op_timeout_ns;
}

static bool reached_lately(const struct sl_question *q,
                           const struct sl_report *r, unsigned i)
{
    return reached(q, r, i) &&
           r->heard[i].age_ns + r->made_ns <= q->op_timeout_ns / 2;
}

/* Rule 10. */
static bool is_deaf(const struct sl_question *q, const struct sl_report *r)
{
    for (unsigned i = 0; i < q->n_members; i++)
        if (!r->heard[i].asked || r->heard[i].age_ns <= q->op_timeout_ns / 2)
            return false;
    return true;
}

void sl_listen(struct sl_ear *ear, const struct sl_question *q,
               struct sl_report *r, uint64_t now)
{
    if (is_deaf(q, r)) {
        ear->deaf_at = now;
        return;
    }
    for (unsigned i = 0; i < q->n_members && ear->deaf_at > 0; i++)
        if (r->heard[i].age_ns > now - ear->deaf_at)
            r->heard[i].age_ns = now - ear->deaf_at;
}

static uint64_t level(const struct sl_report *r, unsigned i)
{
    return r->heard[i].lossy_ns;
}

/* Rule 9: what a client says, and an mgmtd, which began to look only when
 * somebody was in doubt. */
static bool reached_badly(const struct sl_question *q,
                          const struct sl_report *r, unsigned i)
{
    return r->client && reached(q, r, i) &&
           level(r, i) >= LOSSY_BAD(q->op_timeout_ns);
}

static bool reached_well(const struct sl_question *q,
                         const struct sl_report *r, unsigned i)
{
    return !r->client && reached(q, r, i) &&
           level(r, i) < LOSSY_POOR(q->op_timeout_ns);
}

bool sl_is_wrong(const struct sl_question *q, const struct sl_report *r)
{
    for (unsigned i = 0; i < q->n_members; i++)
        if (missed(q, r, i) || reached_badly(q, r, i))
            return true;
    return false;
}

/* -- rule 1 -------------------------------------------------------------- */

/* The nodes that must be asked, each once; how many. */
static unsigned electorate(const struct sl_question *q,
                           uint32_t ret[static CFS_SET_MAX + SL_VOTERS_MAX])
{
    unsigned n = 0;

    for (unsigned i = 0; i < q->n_members + q->n_voter_nodes; i++) {
        uint32_t node = i < q->n_members ? q->member_node[i]
                                         : q->voter_node[i - q->n_members];
        bool twice = false;

        for (unsigned k = 0; k < n; k++)
            twice |= ret[k] == node;
        if (!twice)
            ret[n++] = node;
    }
    return n;
}

/* A node's own report; NULL: there is none that counts. */
static const struct sl_report *report_of(const struct sl_question *q,
                                         uint32_t node)
{
    for (unsigned i = 0; i < q->n; i++)
        if (q->report[i].node == node && !q->report[i].client &&
            counts(q, &q->report[i]))
            return &q->report[i];
    return NULL;
}

/* @home: the node that does not count; 0: all do. */
static bool enough_reports(const struct sl_question *q, uint32_t home)
{
    uint32_t node[CFS_SET_MAX + SL_VOTERS_MAX];
    unsigned n = electorate(q, node), asked = 0, heard = 0;

    for (unsigned k = 0; k < n; k++) {
        if (node[k] == home)
            continue;
        asked++;
        heard += report_of(q, node[k]) != NULL;
    }
    return heard * 2 > asked;
}

/* Rule 9: more than half of the nodes but its own say so. */
static bool is_agreed(const struct sl_question *q, unsigned i)
{
    uint32_t node[CFS_SET_MAX + SL_VOTERS_MAX];
    unsigned n = electorate(q, node), asked = 0, agree = 0;

    for (unsigned k = 0; k < n; k++) {
        const struct sl_report *r = report_of(q, node[k]);

        if (node[k] == q->member_node[i])
            continue;
        asked++;
        agree += r && (missed(q, r, i) ||
                       (reached(q, r, i) && !reached_well(q, r, i)));
    }
    return agree * 2 > asked;
}

/* -- counting ------------------------------------------------------------ */

static void count_member(const struct sl_question *q, unsigned i,
                         struct tally *t)
{
    *t = (struct tally){0};
    for (unsigned k = 0; k < q->n; k++) {
        const struct sl_report *r = &q->report[k];
        bool outside = r->node != q->member_node[i];
        bool deaf = is_deaf(q, r);

        if (!counts(q, r))
            continue;
        t->reached += reached(q, r, i);
        t->lately += reached_lately(q, r, i);
        t->missed += missed(q, r, i) && !deaf;
        t->out_reached += outside && reached(q, r, i);
        t->out_missed += outside && missed(q, r, i) && !deaf;
        t->out_well += outside && reached_well(q, r, i);
    }
}

/* Rule 8. */
static bool is_cut_off(const struct sl_question *q, const struct sl_report *r,
                       const struct tally tally[])
{
    unsigned others = 0, lost = 0;

    for (unsigned i = 0; i < q->n_members; i++) {
        if (q->member_node[i] == r->node)
            continue;
        others++;
        lost += (missed(q, r, i) && tally[i].out_reached > 0) ||
                reached_badly(q, r, i);
    }
    return lost >= 2 && lost * 2 > others;
}

static void count_clients(const struct sl_question *q, struct tally tally[])
{
    for (unsigned k = 0; k < q->n; k++) {
        const struct sl_report *r = &q->report[k];
        bool cut_off = is_cut_off(q, r, tally) || is_deaf(q, r);

        if (!r->client || !counts(q, r))
            continue;
        for (unsigned i = 0; i < q->n_members; i++) {
            tally[i].for_it += reached(q, r, i);
            tally[i].against += missed(q, r, i) && !cut_off;
            tally[i].badly += reached_badly(q, r, i) && !cut_off;
        }
    }
}

/* -- rules 2, 3, 5, 10 --------------------------------------------------- */

static unsigned left_in_sync(const struct sl_question *q,
                             const struct sl_judgement *j)
{
    unsigned n = 0;

    for (unsigned i = 0; i < q->n_sync; i++)
        n += j->member[i] == SL_STAYS;
    return n;
}

static bool is_behind_bad_network(const struct sl_question *q,
                                  const struct tally *t, unsigned i)
{
    return t->badly > 0 && t->against + t->badly > t->for_it - t->badly &&
           t->out_well == 0 && is_agreed(q, i);
}

static void drop_missed(const struct sl_question *q, const struct tally tally[],
                        struct sl_judgement *j)
{
    unsigned ties = 0, last_tie = 0;

    for (unsigned i = 0; i < q->n_members; i++) {
        const struct tally *t = &tally[i];

        if (t->out_missed > 0 && t->out_reached == 0 && t->reached > 0 &&
            !enough_reports(q, q->member_node[i])) {
            j->member[i] = SL_UNKNOWN;
        } else if ((t->out_missed > 0 && t->out_reached == 0) ||
                   (t->missed > 0 && t->reached == 0) ||
                   t->against > t->for_it ||
                   is_behind_bad_network(q, t, i)) {
            j->member[i] = SL_DROPPED;
        } else if (t->against > 0 && t->against == t->for_it) {
            ties++;
            last_tie = i;
        }
    }
    if (ties > 1)
        j->member[last_tie] = SL_DROPPED;
}

/* Somebody on another node has an answer of it, or, where nobody else asked
 * it, somebody on its own. */
static bool answers(const struct tally *t)
{
    return t->out_reached > 0 || (t->out_missed == 0 && t->reached > 0);
}

static bool is_reached(const struct tally *t)
{
    return t->reached > 0;
}

/* Take back members, in order of the view, until @want are in sync. */
static void take_back(const struct sl_question *q, const struct tally tally[],
                      unsigned want, bool (*good)(const struct tally *),
                      struct sl_judgement *j)
{
    for (unsigned i = 0; i < q->n_sync && left_in_sync(q, j) < want; i++)
        if (good(&tally[i]))
            j->member[i] = SL_STAYS;
}

static void keep_enough(const struct sl_question *q,
                        const struct tally tally[], struct sl_judgement *j)
{
    take_back(q, tally, q->min_copies, answers, j);
    take_back(q, tally, 1, is_reached, j);
    for (unsigned i = 0; i < q->n_sync; i++)
        if (j->member[i] == SL_STAYS && tally[i].lately > 0)
            return;
    for (unsigned i = 0; i < q->n_members; i++)
        j->member[i] = SL_STAYS;
}

/* -- rule 4 -------------------------------------------------------------- */

static void name_the_fenced(const struct sl_question *q,
                            const struct tally tally[],
                            struct sl_judgement *j)
{
    for (unsigned k = 0; k < q->n; k++) {
        const struct sl_report *r = &q->report[k];
        bool fence = false;

        for (unsigned i = 0; i < q->n_members; i++)
            fence |= j->member[i] == SL_STAYS && is_reached(&tally[i]) &&
                     missed(q, r, i);
        if (fence && r->client && r->session && counts(q, r))
            j->fence[j->n_fence++] = r->session;
    }
}

void sl_judge(const struct sl_question *q, struct sl_judgement *ret)
{
    struct tally tally[CFS_SET_MAX];

    assert(q->n <= SL_REPORTS_MAX && q->n_members <= CFS_SET_MAX &&
           q->n_sync <= q->n_members && q->n_voter_nodes <= SL_VOTERS_MAX);
    *ret = (struct sl_judgement){0};
    if (!enough_reports(q, 0)) {
        for (unsigned i = 0; i < q->n_members; i++)
            ret->member[i] = SL_UNKNOWN;
        return;
    }
    for (unsigned i = 0; i < q->n_members; i++)
        count_member(q, i, &tally[i]);
    count_clients(q, tally);
    drop_missed(q, tally, ret);
    keep_enough(q, tally, ret);
    for (unsigned i = 0; i < q->n_members; i++)
        ret->n_dropped += ret->member[i] == SL_DROPPED;
    name_the_fenced(q, tally, ret);
}

/* -- rule 7 -------------------------------------------------------------- */

uint64_t sl_delay(const struct sl_question *q, uint32_t my_node)
{
    uint32_t node[CFS_SET_MAX + SL_VOTERS_MAX];
    unsigned n = electorate(q, node), at = 0;

    while (at < n && node[at] != my_node)
        at++;
    return at * STEP_NS;
}
