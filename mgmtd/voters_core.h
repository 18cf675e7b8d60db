/* SPDX-License-Identifier: Apache-2.0 */
/* voters_core.h - which nodes run an etcd: the next single step, without any
 * I/O. Given what shall be (records), what etcd says of its members, and whom
 * we hear, vt_decide() names one step; engine.c carries it out and asks again.
 *
 * The rules, by number (tests name them):
 *
 *  1  1 or 2 members of the cluster: one voter; 3 or 4: three; 5 and more:
 *     five. Never two or four, but on the way from one odd number to the next.
 *  2  One change at a time: while there is a learner, or a step is under way,
 *     nothing else begins. A learner that has caught up is promoted; one that
 *     is not heard any more is removed.
 *  3  New voters: those that are heard, in order of number, first those that
 *     already have been voters.
 *  4  A voter that leaves the cluster is removed first; one is added for it
 *     afterwards when rule 1 wants it.
 *  5  A voter that is not heard is not replaced by itself for a while (10
 *     min): then it is removed and another added, if there is a candidate and
 *     the majority stays without it.
 *  6  A member that etcd has and no record names was added by a step that was
 *     cut off: it is removed.
 *  7  A voter whose own directory is lost says so (wiped): its member is
 *     removed, and it is added again as a new one.
 *  8  No step may leave fewer heard voters than a majority of what will be.
 */
#ifndef CFS_MGMTD_VOTERS_CORE_H
#define CFS_MGMTD_VOTERS_CORE_H

#include "core/fop.h"

#define VT_NODES_MAX 64u

struct vt_node {
    uint32_t number;
    bool     heard;
    uint64_t silent_ns; /* since when it is not */
    bool     leaving;
    bool     wiped;     /* it says that its member's directory is gone */
    bool     was_voter;
    uint64_t member;    /* by the record; 0: none */
};

struct vt_member { /* by etcd's list */
    uint64_t id;
    bool     learner;
    bool     caught_up;
    bool     started;
};

struct vt_state {
    unsigned         n_nodes;
    struct vt_node   node[VT_NODES_MAX];
    unsigned         n_members;
    struct vt_member member[16];
};

enum vt_verb { VT_NOTHING, VT_ADD, VT_PROMOTE, VT_REMOVE };

struct vt_step {
    enum vt_verb verb;
    unsigned     node;   /* index; VT_ADD */
    uint64_t     member; /* VT_PROMOTE, VT_REMOVE */
    const char  *why;    /* one line; static */
};

unsigned vt_wanted(unsigned n_nodes);
void     vt_decide(const struct vt_state *s, struct vt_step *ret);

#endif
