/* SPDX-License-Identifier: Apache-2.0 */
/* view_core.h - who holds a current copy: the decision, without any I/O.
 *
 * Given the set's view, and what this mgmtd knows of each brick, vc_decide()
 * says whether a new view is due, and which. mgmtd/view.c commits what it
 * says and asks again at every event.
 *
 * The rules, by number (tests name them):
 *
 *  1  Nothing is decided for a volume that is not started, or is stopping.
 *  2  A brick that remembers a view which the store's history does not have
 *     stops all decisions for its set, until an operator has looked: the
 *     configuration, or the brick, is not the one it was.
 *  3  The first view: every brick of the set, once all are there. Only one
 *     that nobody can start is not waited for: there is nothing yet that it
 *     could miss.
 *  4  A member is lost when its process ended, when it is there in another
 *     incarnation, when it says that it is poisoned, or when it differs from
 *     the others: after a client's death, or as a client says. While another
 *     member serves, in the incarnation that the view names, the next view
 *     is without the lost. So it is with one that was judged to be silent
 *     (silence_core.h); but silence is no end: when no other member serves, it
 *     stays.
 *  5  A member of which nothing is known (its process runs, it has not signed
 *     in yet) stays.
 *  6  When no member serves any more, the view is formed again from members
 *     that are back. By I1 each of them has every acknowledged change, after
 *     a power cut every fsynced one. All are waited for, except those that
 *     are known not to come, and nobody longer than the grace period.
 *  7  Of those that are back, all that stopped cleanly in this very view are
 *     equal, and in sync again. If there is none, the first one in order
 *     serves alone. A member that nobody has told of the view, because the
 *     set ended right after its first view was decided, counts as clean when
 *     all members are like that.
 *  8  A brick that is back with a lower incarnation than the view names, or
 *     in the same one as another process, or that remembers no view, is an old
 *     copy or a wiped one: it is not "back", and serves nothing.
 *  9  Bricks that are in no list are out, and stay out until they are healed.
 * 10  A member that fsck has changed may lack acknowledged changes. It serves
 *     again only when all members of the last view are like that.
 *  11 After a restore or a rebuild of the configuration nobody is in sync
 *     (lineage.c): the bricks themselves say what the last view was. All of
 *     the set are waited for, unless the operator forces it; then the newest
 *     view that any of them remembers takes the place of the store's, and
 *     rules 4 to 10 go on from there. Two different newest ones stop it.
 *  12 A member that says that its device does not answer any more (five
 *     op-timeouts) is lost, while another one serves whose device has given no
 *     reason for doubt (two op-timeouts). So where all devices are behind one
 *     that stops for a while, nobody goes; and where there is no other, who
 *     has to wait, waits.
 */
#ifndef CFS_MGMTD_VIEW_CORE_H
#define CFS_MGMTD_VIEW_CORE_H

#include "core/fop.h"

/* One brick of the set, in the volume's order. */
struct vc_brick {
    struct cfs_uuid id;
    bool            here;     /* signed in; what follows is what it said */
    uint64_t        incarnation;
    bool            other;    /* not the process that the view names, by this
                                 very incarnation */
    bool            clean;    /* before this start it was stopped cleanly */
    bool            repaired; /* fsck changed it since it was in sync */
    bool            poisoned;
    unsigned        stalled; /* as cfs_brick.stalled */
    uint64_t        view_epoch; /* the newest view that it knows; 0: none */
    struct cfs_uuid view_id;
    bool            foreign;  /* that view is not in the store's history */
    const struct cfs_view *remembers; /* that view as a whole, for rule 11 */
    /* What this mgmtd found out. */
    bool            ended;    /* not here: its process is known to be gone */
    bool            hopeless; /* not here: nobody tries to start it again */
    bool            differs;  /* from what others have done */
    bool            silent;   /* judged so, in this view */
};

struct vc_set {
    const struct cfs_view *view; /* epoch 0: none yet; nobody in sync though
                                    it has an epoch: rule 11 */
    bool                   active;
    bool                   waited; /* the grace period is over */
    bool                   forced; /* rule 11: without those that are missing */
    unsigned               n;
    struct vc_brick        brick[CFS_SET_MAX];
};

enum vc_verdict {
    VC_KEEP, /* nothing to do */
    VC_WAIT, /* for bricks; ask again at the end of the grace period */
    VC_NEW,
    VC_HOLD, /* rule 2 */
};

/* Why a brick is not in the next view. */
enum vc_out {
    VC_OUT_NOT, /* it is, or was not in the last one either */
    VC_OUT_ENDED,
    VC_OUT_RESTARTED,
    VC_OUT_POISONED,
    VC_OUT_STALLED,
    VC_OUT_DIFFERS,
    VC_OUT_SILENT,
    VC_OUT_UNCLEAN,  /* another one serves alone, or was stopped cleanly */
    VC_OUT_MISSING,  /* did not come back in time */
    VC_OUT_REPLACED, /* an older copy, or wiped */
    VC_OUT_REPAIRED, /* fsck changed it */
};

struct vc_decision {
    enum vc_verdict verdict;
    struct cfs_view view; /* VC_NEW: all but id and lineage */
    enum vc_out     out[CFS_SET_MAX];
    unsigned        about;  /* VC_HOLD: index of the brick */
    const char     *why; /* one line for people; static */
};

void vc_decide(const struct vc_set *set, struct vc_decision *ret);

const char *vc_out_str(enum vc_out out);

#endif
