/* SPDX-License-Identifier: Apache-2.0 */
/* op_admit.c - who may do what: views, sessions, repeats, versions.
 *
 * The order of the checks of a change is the order of what may be said about
 * it: this brick serves at all; in this view; this session; this change is not
 * known yet; its inodes are at the versions that it expects. A refusal here
 * is no result: nothing is remembered, the same change may come again.
 */
#include "xlators/storage/block/ops_impl.h"

void view_judge(struct ops *o)
{
    const struct cfs_view *v = &o->view;

    o->member = o->in_sync = false;
    for (uint32_t i = 0; i < v->n_sync + v->n_syncing; i++) {
        if (!cfs_uuid_eq(v->m[i].brick, o->brick_id) ||
            v->m[i].incarnation != o->incarnation)
            continue;
        o->member = true;
        o->in_sync = i < v->n_sync;
    }
}

int admit_member(const struct op *op)
{
    const struct ops *o = op->o;
    struct eng_info info;

    eng_info(o->e, &info);
    if (info.poisoned)
        return -CFS_E_POISONED;
    if (o->view.epoch == 0)
        return -CFS_E_NOT_MEMBER;
    if (op->req->epoch != o->view.epoch)
        return -CFS_E_EPOCH;
    return o->member ? 0 : -CFS_E_NOT_MEMBER;
}

int admit_read(const struct op *op)
{
    int rc = admit_member(op);

    if (rc < 0)
        return rc;
    return op->o->in_sync ? 0 : -CFS_E_BEHIND;
}

/* A number that was seen before gets what it got then; while that is not in
 * the journal yet, it waits for it. */
static int admit_repeat(struct op *op, struct session *s)
{
    const struct cfs_change *c = op->req->change;
    struct answer *a = answer_find(s, c->no);

    if (!a) {
        if (c->no < s->rec.acked)
            return -EINVAL; /* it said that it has the answer */
        return s->n_answers >= ANSWERS_MAX ? -ENOBUFS : 0;
    }
    if (a->a.fop != op->req->fop)
        return -EINVAL;
    op->o->stat.repeats++;
    op_release(op);
    if (!a->written) {
        cfs_list_add_tail(&a->followers, &op->follow);
        return OP_WAIT;
    }
    answer_give(op, &a->a);
    op_end(op, a->a.status);
    return OP_WAIT;
}

/* What any change must look like, whoever sends it. */
static int admit_form(const struct cfs_req *req)
{
    const struct cfs_change *c = req->change;

    if (!c || c->n == 0 || c->n > CFS_TOUCH_MAX || c->no == 0 ||
        c->session == 0 || c->now.nsec >= 1000000000u)
        return -EINVAL;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct cfs_touch *t = &c->touch[i];

        if (touch_of(c, t->gfid) != t)
            return -EINVAL; /* twice */
        if (cfs_version_cmp(t->make, t->expect) == 0)
            continue;
        if (t->make.seq != t->expect.seq + 1 ||
            t->make.epoch < t->expect.epoch || t->make.epoch > req->epoch)
            return -EINVAL;
    }
    return 0;
}

int admit_change(struct op *op)
{
    struct session *s;
    int rc;

    rc = admit_member(op);
    if (rc == 0)
        rc = admit_form(op->req);
    if (rc < 0)
        return rc;
    s = session_find(op->o, op->req->change->session);
    if (!s || s->rec.s.state != CFS_SESSION_LIVE || s->closing)
        return -CFS_E_SESSION;
    return admit_repeat(op, s);
}

bool admit_ahead(const struct op *op)
{
    struct session *s;

    if (admit_member(op) != 0 || admit_form(op->req) != 0)
        return false;
    s = session_find(op->o, op->req->change->session);
    return s && s->rec.s.state == CFS_SESSION_LIVE && !s->closing &&
           !answer_find(s, op->req->change->no);
}

int admit_versions(struct plan *p, const struct cfs_change *c)
{
    const struct cfs_version none = {0, 0};

    for (uint32_t i = 0; i < c->n; i++) {
        const struct cfs_touch *t = &c->touch[i];
        struct cfs_version have = none;
        struct plan_ino *ino;
        int rc;

        rc = plan_inode(p, t->gfid, &ino);
        if (rc == 0)
            have = ino->rec.version;
        else if (rc != -ENOENT)
            return rc;
        if (cfs_version_cmp(have, t->expect) != 0)
            return -CFS_E_VERSION;
    }
    return 0;
}

bool status_is_refusal(int status)
{
    switch (status) {
    case -CFS_E_EPOCH:
    case -CFS_E_NOT_MEMBER:
    case -CFS_E_SESSION:
    case -CFS_E_VERSION:
    case -CFS_E_BEHIND:
    case -CFS_E_POISONED:
    case -CFS_E_MISS:
    case -ENOBUFS:
        return true;
    default:
        return false;
    }
}

void post_fill(struct op *op, uint64_t pos)
{
    const struct ops *o = op->o;
    struct eng_info info;

    eng_info(o->e, &info);
    op->req->post = (struct cfs_post){
        .epoch = o->view.epoch,
        .incarnation = o->incarnation,
        .pos = pos,
        .durable = eng_durable(o->e),
        .free = info.free * CFS_BLOCK,
    };
}
