/* SPDX-License-Identifier: Apache-2.0 */
/* silence_core.h - whether a member of a view that somebody does not hear is
 * dropped: the judgement, without any I/O.
 *
 * Reports come from observers: mgmtds, and the sessions and bricks that report
 * to them. Each says what it last heard of each brick of the set, as an age:
 * time since the last answer, counted only while the observer ran and had
 * something outstanding to it.
 *
 * The rules, by number (tests name them); op-timeout is 2 s by default:
 *
 *  1  Judged only with reports from more than half of the nodes that have
 *     members of the view or voters; the asking node counts as one.
 *  2  A member that nobody outside its own node has heard within op-timeout,
 *     while at least one outside observer had something outstanding to it, is
 *     dropped.
 *  3  Else it is dropped if the sessions that miss it outnumber those that
 *     reach it. Equal numbers: it stays; but of two members that are each
 *     missed by half, the later in the view goes.
 *  4  A session that misses a member which stays is to be fenced, after a
 *     dead time.
 *  5  By these rules members that answer are never dropped below min-copies;
 *     those that nobody hears are.
 *  6  Reports older than half of op-timeout, or that were made before their
 *     observer last stood still (a gap in its own clock ticks), do not count.
 *  7  Order of acting: nodes of the view's members in order, then the rest,
 *     200 ms apart: sl_delay().
 */
#ifndef CFS_MGMTD_SILENCE_CORE_H
#define CFS_MGMTD_SILENCE_CORE_H

#include "core/fop.h"

#define SL_REPORTS_MAX 256u
#define SL_NEVER       UINT64_MAX

struct sl_report {
    uint32_t node;       /* number of the observer's node */
    uint32_t session;    /* 0: the observer is a mgmtd or a brick */
    uint64_t made_ns;    /* how long ago it was made */
    /* By member of the view, in its order: age of the last answer while
     * something was outstanding; 0: answered, or nothing was asked of it;
     * SL_NEVER: outstanding, and never answered. */
    uint64_t age_ns[CFS_SET_MAX];
    bool     reached[CFS_SET_MAX]; /* answered within op-timeout */
};

struct sl_question {
    uint32_t n_members;
    uint32_t member_node[CFS_SET_MAX]; /* node of each member, in order */
    uint32_t n_sync;                   /* the first are in sync */
    unsigned n_voter_nodes;
    uint32_t voter_node[8];
    unsigned min_copies;
    uint64_t op_timeout_ns;
    unsigned n;
    struct sl_report report[SL_REPORTS_MAX];
};

enum sl_verdict { SL_STAYS, SL_DROPPED, SL_UNKNOWN /* too few reports */ };

struct sl_judgement {
    enum sl_verdict member[CFS_SET_MAX];
    unsigned        n_fence;
    uint32_t        fence[SL_REPORTS_MAX]; /* sessions */
};

void     sl_judge(const struct sl_question *q, struct sl_judgement *ret);
uint64_t sl_delay(const struct sl_question *q, uint32_t my_node);

#endif
