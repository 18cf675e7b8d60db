/* SPDX-License-Identifier: Apache-2.0 */
/* silence_core.h - whether a member of a view that somebody does not hear is
 * dropped: the judgement, without any I/O.
 *
 * Observers are the clients of the volume (each by its session) and the
 * mgmtds, each of which asks the bricks itself while somebody is in doubt.
 * What an observer says of a member: whether it has asked it anything, and the
 * time since the last answer, counted only while the observer ran and had
 * something outstanding. A member is *reached* by who asked and has an answer
 * within op-timeout (2 s), *missed* by who asked and has none, and nothing is
 * said of it by who did not ask.
 *
 * The rules, by number (tests name them):
 *
 *  1  Judged only with reports from more than half of the nodes that have
 *     members of the view or voters; the asking node counts as one. And of a
 *     member only with reports from more than half of those but its own:
 *     else one node with a sick network and the member's own, which cannot
 *     speak for it, would be enough.
 *  2  A member that somebody outside its own node misses, and nobody outside
 *     it reaches, is dropped; so is one that somebody misses and nobody at all
 *     reaches.
 *  3  Else it is dropped if the clients that miss it outnumber those that
 *     reach it. Equal numbers: it stays; but of several members that are each
 *     missed by half, the last in the view goes.
 *  4  A client that misses a member which stays, and which somebody reaches,
 *     is to be fenced, after a dead time.
 *  5  By rule 3 the members in sync never become fewer than min-copies, but
 *     for members that nobody at all reaches. And nobody goes unless a member
 *     in sync remains that somebody reaches: else nothing would be won.
 *  6  Reports older than half of op-timeout do not count. An observer that
 *     stood still begins its counting anew.
 *  7  Order of acting: nodes of the view's members in order, then the rest,
 *     200 ms apart: sl_delay().
 *  8  A client that misses several members on other nodes while others reach
 *     them, or reaches them badly (rule 9), and so more than half of those, is
 *     itself cut off: what it says does not count against anybody in rule 3.
 *  9  A client that reaches a member, but whose network loses so much that it
 *     gets nowhere (lossy_core.h), reaches it *badly*. In rule 3 it counts
 *     against the member, if no mgmtd outside the member's node reaches it
 *     well, and those of more than half of the nodes but its own reach it
 *     badly or miss it: else the network that is bad may be the client's. It
 *     is not fenced.
 * 10  Silence tells members apart only while somebody speaks. An observer that
 *     has heard none of them for half of op-timeout is *deaf*: whom it misses
 *     does not count as missed, and when it hears one again, its counting of
 *     the others begins anew: sl_listen(). And nobody goes unless a member in
 *     sync that stays was heard within half of op-timeout: of members that
 *     fell silent together, none goes for having been heard a moment earlier,
 *     or for being the last to answer again.
 */
#ifndef CFS_MGMTD_SILENCE_CORE_H
#define CFS_MGMTD_SILENCE_CORE_H

#include "core/fop.h"

#define SL_REPORTS_MAX 256u
#define SL_VOTERS_MAX  8u
#define SL_NEVER       UINT64_MAX

struct sl_heard {
    bool     asked;
    uint64_t age_ns;   /* since the last answer; SL_NEVER: there was none */
    uint64_t lossy_ns; /* the level of loss on the way there */
};

struct sl_report {
    uint32_t        node;    /* number of the observer's node; 0: of none */
    bool            client;  /* else a mgmtd */
    uint32_t        session; /* of a client; 0: it has none yet */
    uint64_t        made_ns; /* how long ago */
    struct sl_heard heard[CFS_SET_MAX]; /* by member, in the view's order */
};

struct sl_question {
    uint32_t n_members;
    uint32_t n_sync;                   /* the first are in sync */
    uint32_t member_node[CFS_SET_MAX];
    unsigned n_voter_nodes;
    uint32_t voter_node[SL_VOTERS_MAX];
    unsigned min_copies;
    uint64_t op_timeout_ns;
    unsigned n;
    struct sl_report report[SL_REPORTS_MAX];
};

/* What an observer keeps from one report to the next. */
struct sl_ear {
    uint64_t deaf_at; /* when it last was; 0: never */
};

enum sl_verdict { SL_STAYS, SL_DROPPED, SL_UNKNOWN /* too few reports */ };

struct sl_judgement {
    enum sl_verdict member[CFS_SET_MAX];
    unsigned        n_dropped;
    unsigned        n_fence;
    uint32_t        fence[SL_REPORTS_MAX]; /* sessions */
};

/* Rule 10: what an observer says at @now, in the light of when it was deaf. */
void     sl_listen(struct sl_ear *ear, const struct sl_question *q,
                   struct sl_report *r, uint64_t now);
void     sl_judge(const struct sl_question *q, struct sl_judgement *ret);
/* Whether a report says that something is wrong: a judgement is due. */
bool     sl_is_wrong(const struct sl_question *q, const struct sl_report *r);
uint64_t sl_delay(const struct sl_question *q, uint32_t my_node);

#endif
