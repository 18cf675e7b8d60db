/* SPDX-License-Identifier: Apache-2.0 */
/* voters_core.h - which nodes run an etcd: the next single step, without any
 * I/O. Given what shall be (records), what etcd says of its members, and whom
 * we hear, vt_decide() names one step; engine.c carries it out and asks again.
 *
 * The rules, by number (tests name them):
 *
 *  1  1 or 2 nodes that stay: one voter; 3 or 4: three; 5 and more: five.
 *     Never two or four, but on the way from one odd number to the next: the
 *     way up begins only when two candidates are heard; when it was left in
 *     the middle and no candidate is to be expected, it goes back down.
 *  2  One change at a time: while there is a learner nothing else begins. A
 *     learner that has caught up is promoted; one that is not wanted any more,
 *     or not heard for half a minute, is removed.
 *  3  New voters: those that are heard, in order of number, first those that
 *     already have been voters. When there are too many: first one that is not
 *     heard goes, then the highest number.
 *  4  A voter that leaves the cluster is removed first, and another added
 *     afterwards when rule 1 wants it; if rule 8 forbids that (it is the only
 *     one), another is added first.
 *  5  A voter that is not heard is left alone for a while (10 min): it may
 *     come back. Then it is removed, if there is a candidate for its place.
 *  6  A member that etcd has and no node's record names was added by a step
 *     that was cut off: it is removed.
 *  7  A voter whose own directory is lost says so (wiped) and is not counted
 *     as heard: its member is removed, and it is a candidate like others.
 *  8  No step begins without a majority of heard voters, and none leaves fewer
 *     than a majority of what will be.
 *  9  A voter whose node has another address than etcd knows is told to the
 *     others, as long as rule 8 allows it.
 */
#ifndef CFS_MGMTD_VOTERS_CORE_H
#define CFS_MGMTD_VOTERS_CORE_H

#include "core/fop.h"

#define VT_NODES_MAX   64u
#define VT_MEMBERS_MAX 16u

#define VT_LEARNER_PATIENCE ((uint64_t)30 * 1000 * 1000 * 1000)
#define VT_VOTER_PATIENCE   ((uint64_t)600 * 1000 * 1000 * 1000)

struct vt_node {
    uint32_t number;
    bool     heard;
    uint64_t silent_ns; /* for how long it has not been heard; 0 if heard */
    bool     leaving;
    bool     wiped;     /* it says that its member's directory is gone */
    bool     was_voter;
    bool     moved;     /* etcd, or the record, has another address of it */
    uint64_t member;    /* by the record; 0: none */
};

struct vt_member { /* by etcd's list */
    uint64_t id;
    bool     learner;
    bool     caught_up; /* a learner: near the leader's index */
};

struct vt_state {
    unsigned         n_nodes;
    struct vt_node   node[VT_NODES_MAX];
    unsigned         n_members;
    struct vt_member member[VT_MEMBERS_MAX];
};

enum vt_verb { VT_NOTHING, VT_ADD, VT_PROMOTE, VT_REMOVE, VT_MOVE };

struct vt_step {
    enum vt_verb verb;
    unsigned     node;   /* index; VT_ADD, VT_MOVE */
    uint64_t     member; /* VT_PROMOTE, VT_REMOVE, VT_MOVE */
    const char  *why;    /* one line; static */
};

/* Voters for @n_nodes that stay. */
unsigned vt_wanted(unsigned n_nodes);
void     vt_decide(const struct vt_state *s, struct vt_step *ret);

#endif
