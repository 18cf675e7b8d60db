/* SPDX-License-Identifier: Apache-2.0 */
/* view_core.c - see view_core.h for the rules. */
#include "mgmtd/view_core.h"

const char *vc_out_str(enum vc_out out)
{
    switch (out) {
    case VC_OUT_NOT:
        break;
    case VC_OUT_ENDED:
        return "its process ended while others went on";
    case VC_OUT_RESTARTED:
        return "it was restarted while others went on";
    case VC_OUT_POISONED:
        return "its storage failed";
    case VC_OUT_STALLED:
        return "its device did not answer any more";
    case VC_OUT_DIFFERS:
        return "it had not done what the others did";
    case VC_OUT_SILENT:
        return "it did not answer in time, and was reached by fewer than "
               "the others";
    case VC_OUT_UNCLEAN:
        return "it was not stopped cleanly, and another brick serves";
    case VC_OUT_MISSING:
        return "it did not come back when the others did";
    case VC_OUT_REPLACED:
        return "it came back as an older copy or wiped";
    case VC_OUT_REPAIRED:
        return "fsck.clusterfs changed it, and another brick has all";
    }
    return "";
}

static int index_of(const struct vc_set *set, struct cfs_uuid id)
{
    for (unsigned i = 0; i < set->n; i++)
        if (cfs_uuid_eq(set->brick[i].id, id))
            return (int)i;
    return -1;
}

static bool knows(const struct vc_brick *b, const struct cfs_view *v)
{
    return b->view_epoch == v->epoch && cfs_uuid_eq(b->view_id, v->id);
}

static void new_view(struct vc_decision *d, const struct vc_set *set,
                     const char *why)
{
    d->verdict = VC_NEW;
    d->why = why;
    d->view = (struct cfs_view){
        .set = set->view->set,
        .epoch = set->view->epoch + 1,
    };
}

static void add_member(struct vc_decision *d, const struct vc_brick *b,
                       uint64_t incarnation)
{
    d->view.m[d->view.n_sync++] =
        (struct cfs_member){.brick = b->id, .incarnation = incarnation};
}

/* -- rule 3 -------------------------------------------------------------- */

static void decide_first(const struct vc_set *set, struct vc_decision *d)
{
    new_view(d, set, "first start: the bricks are new");
    for (unsigned i = 0; i < set->n; i++) {
        const struct vc_brick *b = &set->brick[i];

        if (b->here && !b->poisoned) {
            add_member(d, b, b->incarnation);
        } else if (b->here || !b->hopeless) {
            d->verdict = VC_WAIT;
            d->why = "the first start waits for all bricks";
            return;
        } else {
            d->out[i] = VC_OUT_MISSING;
        }
    }
    if (d->view.n_sync == 0) {
        d->verdict = VC_WAIT;
        d->why = "no brick can be started";
    }
}

/* -- rules 4 and 5 ------------------------------------------------------- */

enum status { SERVING, LOST, UNKNOWN };

/* But for rule 12. */
static enum status seen(const struct vc_brick *b, const struct cfs_member *m,
                        enum vc_out *ret_out)
{
    *ret_out = VC_OUT_NOT;
    if (b->differs)
        *ret_out = VC_OUT_DIFFERS;
    else if (b->here && b->incarnation != m->incarnation)
        *ret_out = VC_OUT_RESTARTED;
    else if (b->here && b->other)
        *ret_out = VC_OUT_REPLACED;
    else if (b->here && b->poisoned)
        *ret_out = VC_OUT_POISONED;
    else if (!b->here && b->ended)
        *ret_out = VC_OUT_ENDED;
    else if (b->silent)
        *ret_out = VC_OUT_SILENT;
    if (*ret_out != VC_OUT_NOT)
        return LOST;
    return b->here ? SERVING : UNKNOWN;
}

/* Rule 12: another one serves, and its device answers. */
static bool other_devices_answer(const struct vc_set *set)
{
    const struct cfs_view *v = set->view;

    for (unsigned k = 0; k < v->n_sync; k++) {
        int i = index_of(set, v->m[k].brick);
        enum vc_out out;

        if (i >= 0 && set->brick[i].stalled == 0 &&
            seen(&set->brick[i], &v->m[k], &out) == SERVING)
            return true;
    }
    return false;
}

/* How it stands with member @m of the view; *ret_out: if lost, why. */
static enum status status_of(const struct vc_set *set,
                             const struct vc_brick *b,
                             const struct cfs_member *m, enum vc_out *ret_out)
{
    enum status s = seen(b, m, ret_out);

    if (s != SERVING || b->stalled < CFS_STALLED_MAX ||
        !other_devices_answer(set))
        return s;
    *ret_out = VC_OUT_STALLED;
    return LOST;
}

static void decide_without_lost(const struct vc_set *set,
                                struct vc_decision *d)
{
    const struct cfs_view *v = set->view;

    new_view(d, set, "a member was lost");
    for (unsigned k = 0; k < v->n_sync; k++) {
        int i = index_of(set, v->m[k].brick);
        enum vc_out out;

        if (i < 0)
            continue;
        if (status_of(set, &set->brick[i], &v->m[k], &out) == LOST)
            d->out[i] = out;
        else
            add_member(d, &set->brick[i], v->m[k].incarnation);
    }
}

/* -- rules 6 to 8 -------------------------------------------------------- */

enum back { NOT_BACK, BACK, BACK_CLEAN, COMING, OLD, REPAIRED };

static enum back back_of(const struct vc_set *set, const struct vc_brick *b,
                         const struct cfs_member *m)
{
    if (!b->here)
        return b->hopeless ? NOT_BACK : COMING;
    if (b->incarnation <= m->incarnation && !b->poisoned && !b->differs)
        return OLD;
    if (b->view_epoch == 0 && set->view->epoch > 1)
        return OLD;
    if (b->poisoned || b->differs)
        return NOT_BACK;
    if (b->repaired)
        return REPAIRED;
    return b->clean && knows(b, set->view) ? BACK_CLEAN : BACK;
}

/* Rule 7, its last sentence. */
static bool nobody_was_told(const struct vc_set *set)
{
    if (set->view->epoch != 1)
        return false;
    for (unsigned k = 0; k < set->view->n_sync; k++) {
        int i = index_of(set, set->view->m[k].brick);

        if (i < 0 || !set->brick[i].here || set->brick[i].poisoned ||
            set->brick[i].repaired || set->brick[i].view_epoch != 0)
            return false;
    }
    return true;
}

static enum vc_out out_of(enum back back, const struct vc_brick *b)
{
    switch (back) {
    case OLD:
        return VC_OUT_REPLACED;
    case BACK:
    case BACK_CLEAN:
        return VC_OUT_UNCLEAN;
    case REPAIRED:
        return VC_OUT_REPAIRED;
    case COMING:
    case NOT_BACK:
        break;
    }
    if (b->differs)
        return VC_OUT_DIFFERS;
    return b->here && b->poisoned ? VC_OUT_POISONED : VC_OUT_MISSING;
}

/* The one that serves alone: the first that knows the present view, else the
 * first. */
static int lone(const struct vc_set *set, const enum back back[CFS_SET_MAX])
{
    const struct cfs_view *v = set->view;
    int first = -1;

    for (unsigned k = 0; k < v->n_sync; k++) {
        int i = index_of(set, v->m[k].brick);

        if (i < 0 || back[i] != BACK)
            continue;
        if (knows(&set->brick[i], v))
            return i;
        if (first < 0)
            first = i;
    }
    return first;
}

static void form_again(const struct vc_set *set, const enum back back[],
                       bool all, bool clean, struct vc_decision *d)
{
    const struct cfs_view *v = set->view;
    int alone = all || clean ? -1 : lone(set, back);

    new_view(d, set, alone < 0 ? "all members were restarted, and had stopped "
                                 "cleanly"
                               : "all members were restarted, and none had "
                                 "stopped cleanly: the first one serves");
    for (unsigned k = 0; k < v->n_sync; k++) {
        int i = index_of(set, v->m[k].brick);

        if (i < 0)
            continue;
        if (all || (clean ? back[i] == BACK_CLEAN : i == alone))
            add_member(d, &set->brick[i], set->brick[i].incarnation);
        else
            d->out[i] = out_of(back[i], &set->brick[i]);
    }
}

static void decide_again(const struct vc_set *set, struct vc_decision *d)
{
    const struct cfs_view *v = set->view;
    enum back back[CFS_SET_MAX] = {0};
    unsigned coming = 0, clean = 0, unclean = 0, repaired = 0;

    for (unsigned k = 0; k < v->n_sync; k++) {
        int i = index_of(set, v->m[k].brick);

        if (i < 0)
            continue;
        back[i] = back_of(set, &set->brick[i], &v->m[k]);
        coming += back[i] == COMING;
        clean += back[i] == BACK_CLEAN;
        unclean += back[i] == BACK;
        repaired += back[i] == REPAIRED;
    }
    if (repaired == v->n_sync) { /* rule 10: there is no other */
        for (unsigned i = 0; i < set->n; i++)
            back[i] = back[i] == REPAIRED ? BACK : back[i];
        unclean = repaired;
    }
    if (clean + unclean == 0) {
        d->verdict = VC_WAIT;
        d->why = repaired > 0 ? "of the last view only members are back that "
                                "fsck.clusterfs has changed"
                              : "no member of the last view is back";
    } else if (coming > 0 && !set->waited) {
        d->verdict = VC_WAIT;
        d->why = "members of the last view are still to come back";
    } else {
        form_again(set, back, nobody_was_told(set), clean > 0, d);
    }
}

/* -- the decision -------------------------------------------------------- */

/* Rules 3 to 10. */
static void decide(const struct vc_set *set, struct vc_decision *ret)
{
    const struct cfs_view *v = set->view;
    unsigned n[3] = {0}, silent = 0;

    if (v->epoch == 0) {
        decide_first(set, ret);
        return;
    }
    for (unsigned k = 0; k < v->n_sync; k++) {
        int i = index_of(set, v->m[k].brick);
        enum vc_out out = VC_OUT_NOT;

        n[i < 0 ? LOST : status_of(set, &set->brick[i], &v->m[k], &out)]++;
        silent += i >= 0 && out == VC_OUT_SILENT;
    }
    if (n[LOST] == 0)
        return;
    if (n[SERVING] > 0)
        decide_without_lost(set, ret);
    else if (silent == 0)
        decide_again(set, ret);
}

/* -- rule 11 ------------------------------------------------------------- */

static int view_order(const struct cfs_view *a, const struct cfs_view *b)
{
    if (a->lineage != b->lineage)
        return a->lineage < b->lineage ? -1 : 1;
    return a->epoch < b->epoch ? -1 : a->epoch > b->epoch;
}

/* The newest view that a brick remembers, into @ret; epoch 0: none does.
 * False: there are two such; *ret_about has the second. */
static bool newest_view(const struct vc_set *set, struct cfs_view *ret,
                        unsigned *ret_about)
{
    bool one = true;

    *ret = (struct cfs_view){.set = set->view->set};
    for (unsigned i = 0; i < set->n; i++) {
        const struct vc_brick *b = &set->brick[i];
        int order;

        if (!b->here || !b->remembers || b->remembers->epoch == 0)
            continue;
        order = view_order(b->remembers, ret);
        if (order > 0) {
            *ret = *b->remembers;
            one = true;
        } else if (order == 0 && !cfs_uuid_eq(b->remembers->id, ret->id)) {
            one = false;
            *ret_about = i;
        }
    }
    return one;
}

static bool all_are_here(const struct vc_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        if (!set->brick[i].here)
            return false;
    return true;
}

static void decide_reborn(const struct vc_set *set, struct vc_decision *d)
{
    struct vc_set as = *set;
    struct cfs_view last;

    if (!set->forced && !all_are_here(set)) {
        d->verdict = VC_WAIT;
        d->why = "the configuration was restored: all bricks are waited for "
                 "(volume start --force goes on without those that are "
                 "missing, and loses what only they have)";
        return;
    }
    if (!newest_view(set, &last, &d->about)) {
        d->verdict = VC_HOLD;
        d->why = "two bricks remember different last views";
        return;
    }
    as.view = &last;
    as.waited = true;
    for (unsigned i = 0; i < as.n; i++)
        as.brick[i].ended |= !as.brick[i].here;
    decide(&as, d);
    if (d->verdict == VC_KEEP && last.n_sync > 0) {
        decide_without_lost(&as, d);
        d->why = "the configuration was restored, and the bricks went on";
    } else if (d->verdict == VC_KEEP) {
        d->verdict = VC_WAIT;
        d->why = "no brick remembers who was in sync";
    }
    if (d->verdict == VC_NEW)
        d->view.epoch = set->view->epoch + 1;
}

void vc_decide(const struct vc_set *set, struct vc_decision *ret)
{
    const struct cfs_view *v = set->view;

    *ret = (struct vc_decision){.verdict = VC_KEEP, .why = ""};
    if (!set->active)
        return;
    if (v->epoch > 0 && v->n_sync == 0) {
        decide_reborn(set, ret);
        return;
    }
    for (unsigned i = 0; i < set->n; i++)
        if (set->brick[i].here && set->brick[i].foreign) {
            ret->verdict = VC_HOLD;
            ret->about = i;
            ret->why = "a brick remembers a view that the configuration "
                       "never had";
            return;
        }
    decide(set, ret);
}
