/* SPDX-License-Identifier: Apache-2.0 */
/* op_ctl.c - control: sessions given, attached, closed, fenced; views;
 * clearing; what a brick says of itself.
 *
 * What they change is a record of the brick's own (op_own_new). Most wait
 * until it is durable; a view is in force only then.
 */
#include "xlators/storage/block/ops_impl.h"

#define VIEWS_KEPT 8u
/* How far a number that another member gave may be above all known here. */
#define SESSION_AHEAD UINT64_C(65536)

/* A control request whose change is on its way. */
struct ctl {
    int  step;
    void (*then)(struct op *op); /* it is durable: answer */
    struct rec_session session;
    struct cfs_view    view;
    uint32_t           at;    /* clear: bytes of inodes done */
    uint32_t           most;  /* at once; 0: as many as a record has */
    uint64_t           below; /* clear: operation log done */
};

static struct ctl *ctl_get(struct op *op)
{
    if (!op->state)
        op->state = cfs_arena_alloc(op->arena, sizeof(struct ctl));
    return op->state;
}

static bool is_poisoned(const struct ops *o)
{
    struct eng_info info;

    eng_info(o->e, &info);
    return info.poisoned != 0;
}

static void durable(struct eng_done *d)
{
    struct op *op = container_of(d, struct op, done);
    struct ctl *ctl = op->state;

    if (d->status < 0)
        op_end(op, d->status);
    else
        ctl->then(op);
}

/* @then when everything so far is durable. */
static int make_durable(struct op *op, void (*then)(struct op *))
{
    ctl_get(op)->then = then;
    op->done.done = durable;
    eng_sync(op->o->e, &op->done);
    return OP_WAIT;
}

static void own_committed(struct op *own, int status)
{
    struct op *op = own->state;
    struct ctl *ctl = op->state;

    ctl->session = own->own->session;
    if (status < 0)
        op_end(op, status);
    else
        make_durable(op, ctl->then);
}

/* Commit @own for @op, make it durable, then @then. */
static int commit_own(struct op *op, struct op *own,
                      void (*then)(struct op *))
{
    ctl_get(op)->then = then;
    own->state = op;
    op_begin(own);
    return OP_WAIT;
}

static void answer_ok(struct op *op)
{
    op->done.pos = 0;
    op_end(op, 0);
}

/* -- sessions ------------------------------------------------------------- */

int plan_own_session(struct op *op, struct plan *p)
{
    struct rec_session *rec = &op->own->session;
    const struct session *oldest = session_oldest_closed(p->o);
    const struct session *s = session_find(p->o, rec->s.no);
    uint8_t v[REC_SESSION_MAX];
    struct rec_key k;

    /* It may have gone on while this was put aside. */
    if (s && rec->acked < s->rec.acked)
        rec->acked = s->rec.acked;
    if (rec->s.no == 0) /* to be given: not in a replay */
        rec->s.no = p->o->brick.session_max + 1;
    if (rec->s.no == 0)
        return -ENOSPC; /* after four thousand million */
    rec_key_session(&k, rec->s.no);
    plan_put(p, &k, v, rec_session_pack(rec, v));
    if (rec->s.state == CFS_SESSION_CLOSED && oldest) {
        rec_key_session(&k, oldest->rec.s.no);
        plan_del(p, &k);
    }
    return 0;
}

static void session_applied(struct ops *o, const struct rec_session *rec,
                            uint64_t pos)
{
    struct session *oldest = session_oldest_closed(o), *s;

    if (rec->s.state == CFS_SESSION_CLOSED && oldest) {
        if (oldest->rec.s.no >= o->brick.session_floor) {
            o->brick.session_floor = oldest->rec.s.no + 1;
            o->brick_changed = true;
        }
        session_drop(o, oldest);
    }
    s = session_put(o, rec);
    s->pos = pos;
    s->closing = false;
    if (rec->s.state == CFS_SESSION_CLOSED)
        answers_drop(o, s);
}

/* @rec is how the session is from now on. */
static int write_session(struct op *op, const struct rec_session *rec,
                         void (*then)(struct op *))
{
    struct op *own = op_own_new(op->o, JREC_SESSION, plan_own_session,
                                own_committed);

    own->own->session = *rec;
    return commit_own(op, own, then);
}

static void opened(struct op *op)
{
    struct cfs_session_open *r = (struct cfs_session_open *)op->req;
    const struct ctl *ctl = op->state;

    r->session = ctl->session.s;
    r->session.state = CFS_SESSION_LIVE;
    answer_ok(op);
}

int run_session_open(struct op *op)
{
    struct cfs_session_open *r = (struct cfs_session_open *)op->req;
    struct rec_session rec = {.s = r->who};

    if (is_poisoned(op->o))
        return -CFS_E_POISONED;
    if (!op->o->in_sync)
        return -CFS_E_NOT_MEMBER;
    rec.s.no = 0;
    rec.s.state = SESSION_GIVEN;
    return write_session(op, &rec, opened);
}

static bool same_process(const struct cfs_session *a,
                         const struct cfs_session *b)
{
    return cfs_uuid_eq(a->boot, b->boot) && a->pid == b->pid &&
           a->pid_start == b->pid_start &&
           strncmp(a->node, b->node, sizeof a->node) == 0;
}

/* A session without an owner is of before there were owners; the first to
 * come back to it becomes that. */
static bool other_owner(const struct cfs_session *s,
                        const struct cfs_session *by)
{
    return s->owner[0] != '\0' &&
           strncmp(s->owner, by->owner, sizeof s->owner) != 0;
}

static void attached(struct op *op)
{
    struct cfs_session_attach *r = (struct cfs_session_attach *)op->req;

    r->view = op->o->view;
    answer_ok(op);
}

int run_session_attach(struct op *op)
{
    struct cfs_session_attach *r = (struct cfs_session_attach *)op->req;
    struct ops *o = op->o;
    struct session *s = session_find(o, r->session.no);
    struct rec_session rec = {.s = r->session};

    if (is_poisoned(o))
        return -CFS_E_POISONED;
    if (!o->member)
        return -CFS_E_NOT_MEMBER;
    if (r->session.no == 0 ||
        (!s && r->session.no < o->brick.session_floor) ||
        (uint64_t)r->session.no > o->brick.session_max + SESSION_AHEAD)
        return -CFS_E_SESSION;
    if (s && (!same_process(&s->rec.s, &r->session) || s->closing ||
              s->rec.s.state == CFS_SESSION_CLOSED ||
              s->rec.s.state == CFS_SESSION_FENCED))
        return -CFS_E_SESSION;
    if (s && other_owner(&s->rec.s, &r->session))
        return -EACCES;
    if (s && s->rec.s.state == CFS_SESSION_LIVE &&
        strcmp(s->rec.s.owner, r->session.owner) == 0) {
        if (s->pos >= eng_durable(o->e))
            return make_durable(op, attached);
        r->view = o->view;
        return 0;
    }
    if (s)
        rec.acked = s->rec.acked;
    rec.s.state = CFS_SESSION_LIVE;
    return write_session(op, &rec, attached);
}

int run_session_close(struct op *op)
{
    struct cfs_session_close *r = (struct cfs_session_close *)op->req;
    struct ops *o = op->o;
    struct session *s = session_find(o, r->session);
    struct rec_session rec;
    int rc;

    if (is_poisoned(o))
        return -CFS_E_POISONED;
    if (!s)
        return r->session < o->brick.session_floor ? 0 : -CFS_E_SESSION;
    if (s->rec.s.state == CFS_SESSION_CLOSED)
        return 0;
    s->closing = true;
    rc = purge_orphans(op, r->session);
    if (rc != 0)
        return rc;
    s = session_find(o, r->session);
    if (!s || s->rec.s.state == CFS_SESSION_CLOSED)
        return 0; /* somebody else was quicker */
    if (!answers_written(s))
        return OP_LATER; /* they go with the session */
    rec = s->rec;
    rec.s.state = CFS_SESSION_CLOSED;
    op->state = NULL; /* the scan's; now a struct ctl */
    return write_session(op, &rec, answer_ok);
}

static void fenced(struct op *op)
{
    struct cfs_session_fence *r = (struct cfs_session_fence *)op->req;
    struct session *s = session_find(op->o, r->session);
    uint8_t *tail = cfs_arena_alloc(op->arena, SESSION_TAIL);

    r->tail = (struct cfs_blob){tail, 0};
    if (s && s->rec.s.state != CFS_SESSION_CLOSED) {
        session_tail(s, tail);
        r->tail.len = SESSION_TAIL;
    }
    answer_ok(op);
}

int run_session_fence(struct op *op)
{
    struct cfs_session_fence *r = (struct cfs_session_fence *)op->req;
    struct ops *o = op->o;
    struct session *s = session_find(o, r->session);
    struct rec_session rec = {0};

    if (is_poisoned(o))
        return -CFS_E_POISONED;
    if (r->session == 0)
        return -EINVAL;
    if ((uint64_t)r->session > o->brick.session_max + SESSION_AHEAD)
        return -CFS_E_SESSION; /* nobody has given it */
    if (!s && r->session < o->brick.session_floor)
        return make_durable(op, fenced); /* closed long ago */
    if (s && (s->rec.s.state == CFS_SESSION_FENCED ||
              s->rec.s.state == CFS_SESSION_CLOSED))
        return make_durable(op, fenced);
    if (s)
        rec = s->rec;
    rec.s.no = r->session;
    rec.s.state = CFS_SESSION_FENCED;
    return write_session(op, &rec, fenced);
}

/* -- views ---------------------------------------------------------------- */

struct view_keys {
    struct rec_key first;
    unsigned       n;
};

static int view_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct view_keys *v = ctx;

    if (v->n++ == 0 && key.len <= sizeof v->first.b) {
        v->first.len = (uint16_t)key.len;
        memcpy(v->first.b, key.p, key.len);
    }
    return 0;
}

int plan_own_view(struct op *op, struct plan *p)
{
    const struct cfs_view *view = &op->own->view;
    struct view_keys keys = {.n = 0};
    uint8_t v[REC_VIEW_MAX];
    struct rec_key k, hi;
    int rc;

    rec_key_table(&k, REC_VIEW);
    rec_key_after(&hi, &k);
    rc = eng_scan(p->o->e, rec_key_blob(&k), rec_key_blob(&hi), view_each,
                  &keys);
    if (rc < 0)
        return rc;
    if (keys.n >= VIEWS_KEPT)
        plan_del(p, &keys.first);
    rec_key_view(&k, view->lineage, view->epoch);
    plan_put(p, &k, v, rec_view_pack(view, v));
    return 0;
}

int view_cmp(const struct cfs_view *a, const struct cfs_view *b)
{
    if (a->lineage != b->lineage)
        return a->lineage < b->lineage ? -1 : 1;
    return a->epoch < b->epoch ? -1 : a->epoch > b->epoch;
}

static void view_in_force(struct op *op)
{
    const struct cfs_view_set *r = (const struct cfs_view_set *)op->req;
    struct ops *o = op->o;

    if (view_cmp(&r->view, &o->view) > 0) {
        o->view = r->view;
        view_judge(o);
        cfs_log_info(o->log, o->who, "view: epoch=%llu %s",
                     (unsigned long long)o->view.epoch,
                     o->in_sync  ? "in sync"
                     : o->member ? "syncing"
                                 : "out");
    }
    answer_ok(op);
}

int run_view_set(struct op *op)
{
    const struct cfs_view_set *r = (const struct cfs_view_set *)op->req;
    struct ops *o = op->o;
    struct op *own;

    if (is_poisoned(o))
        return -CFS_E_POISONED;
    if (r->view.epoch == 0 || r->view.n_sync == 0 ||
        r->view.n_sync > CFS_SET_MAX || r->view.n_syncing > CFS_SET_MAX ||
        r->view.n_sync + r->view.n_syncing > CFS_SET_MAX)
        return -EINVAL;
    if (o->view.epoch > 0 && !cfs_uuid_eq(o->view.set, r->view.set))
        return -EINVAL; /* another set's */
    if (view_cmp(&r->view, &o->view) < 0)
        return 0;
    if (view_cmp(&r->view, &o->view) == 0)
        return cfs_uuid_eq(r->view.id, o->view.id) ? 0 : -CFS_E_CONFLICT;
    own = op_own_new(o, JREC_VIEW, plan_own_view, own_committed);
    own->own->view = r->view;
    return commit_own(op, own, view_in_force);
}

/* -- clearing ------------------------------------------------------------- */

static bool named_before(struct cfs_blob inodes, uint32_t i)
{
    const uint8_t *p = inodes.p;

    for (uint32_t j = 0; j < i; j++)
        if (memcmp(p + 32 * (size_t)j, p + 32 * (size_t)i, 16) == 0)
            return true;
    return false;
}

/* The dirty entry of an inode that is not there any more goes with its
 * tombstone. */
static int clear_purged(struct plan *p, const struct cfs_touch *t)
{
    struct cfs_version tomb;
    struct rec_key k;
    struct cfs_blob v;
    int rc;

    rec_key_gfid(&k, REC_TOMB, t->gfid);
    rc = eng_get(p->o->e, rec_key_blob(&k), &v);
    if (rc == 0)
        rc = rec_tomb_unpack(v, &tomb);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    if (cfs_version_cmp(tomb, t->expect) != 0)
        return 0;
    plan_del(p, &k);
    rec_key_gfid(&k, REC_DIRTY, t->gfid);
    rc = eng_get(p->o->e, rec_key_blob(&k), &v);
    if (rc == 0) {
        plan_del(p, &k);
        p->d_dirty--;
    }
    return rc == -ENOENT ? 0 : rc;
}

static int clear_inode(struct plan *p, const struct cfs_touch *t)
{
    uint8_t v[REC_INODE_MAX];
    struct rec_inode i;
    struct rec_key k;
    int rc;

    rc = look_inode(p->o, t->gfid, &i);
    if (rc == -ENOENT)
        return clear_purged(p, t);
    if (rc < 0)
        return rc;
    if (i.dirty == 0 || cfs_version_cmp(i.version, t->expect) != 0)
        return 0; /* it has changed since: later */
    i.dirty = 0;
    rec_key_gfid(&k, REC_INODE, t->gfid);
    plan_put(p, &k, v, rec_inode_pack(&i, v));
    rec_key_gfid(&k, REC_DIRTY, t->gfid);
    plan_del(p, &k);
    p->d_dirty--;
    return 0;
}

#define CLEAR_OPLOG 32u /* entries in one record */

struct oplog_list {
    struct plan *p;
    unsigned     n;
    uint64_t     last;
};

static int oplog_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct oplog_list *l = ctx;
    struct rec_key k;
    struct rec_id id;

    if (rec_key_parse(key, &id) < 0)
        return -CFS_E_CORRUPT;
    if (l->n == CLEAR_OPLOG)
        return 1;
    l->last = id.n;
    l->n++;
    rec_key_change(&k, REC_OPLOG, id.session, id.n);
    plan_del(l->p, &k);
    l->p->d_oplog--;
    return 0;
}

int plan_own_clear(struct op *op, struct plan *p)
{
    struct jrec_own *own = op->own;
    struct oplog_list l = {.p = p};
    struct rec_key lo, hi;
    int rc;

    for (uint32_t i = 0; i < own->inodes.len / 32; i++) {
        struct cfs_touch t = jrec_inode_at(own->inodes, i);

        if (named_before(own->inodes, i))
            continue;
        rc = clear_inode(p, &t);
        if (rc < 0)
            return rc;
    }
    rec_key_change(&lo, REC_OPLOG, own->session.s.no, 0);
    rec_key_change(&hi, REC_OPLOG, own->session.s.no, own->n);
    rc = eng_scan(p->o->e, rec_key_blob(&lo), rec_key_blob(&hi), oplog_each,
                  &l);
    if (rc > 0)
        own->n = l.last + 1; /* the rest in another record */
    return rc < 0 ? rc : 0;
}

static void cleared(struct op *own, int status)
{
    struct op *op = own->state;
    struct ctl *ctl = op->state;

    if (status == -ENOSPC && own->own->inodes.len > 32) {
        ctl->most = own->own->inodes.len / 2 & ~31u; /* they lie apart */
        op_again(op);
        return;
    }
    if (status < 0) {
        op_end(op, status);
        return;
    }
    ctl->below = own->own->n;
    ctl->at += own->own->inodes.len;
    op_again(op);
}

int run_clear(struct op *op)
{
    const struct cfs_clear *r = (const struct cfs_clear *)op->req;
    struct ctl *ctl = ctl_get(op);
    uint32_t len = r->inodes.len - ctl->at;
    struct op *own;
    int rc;

    rc = admit_member(op);
    if (rc < 0)
        return rc;
    if (r->inodes.len % 32 != 0)
        return -EINVAL;
    if (ctl->step > 0 && len == 0 && ctl->below >= r->below)
        return 0;
    ctl->step = 1;
    if (ctl->most == 0)
        ctl->most = 32 * JREC_CLEAR_INODES;
    if (len > ctl->most)
        len = ctl->most;
    own = op_own_new(op->o, JREC_CLEAR, plan_own_clear, cleared);
    own->own->session.s.no = r->session;
    own->own->n = r->below;
    own->own->inodes.len = len;
    if (len > 0)
        own->own->inodes.p = cfs_arena_dup(
            own->arena, (const uint8_t *)r->inodes.p + ctl->at, len);
    own->state = op;
    op_begin(own);
    return OP_WAIT;
}

/* -- the rest ------------------------------------------------------------- */

int run_brick_info(struct op *op)
{
    ops_info(op->o, &((struct cfs_brick_info *)op->req)->brick);
    return 0;
}

int plan_own_clean(struct op *op, struct plan *p)
{
    return 0; /* only the brick's own record, which a freeze puts */
}

int plan_own_genesis(struct op *op, struct plan *p)
{
    struct plan_ino *root = plan_inode_new(p, cfs_gfid_root);

    root->rec = (struct rec_inode){
        .version = {1, 1},
        .mode = 040755,
        .nlink = 2,
        .parent = cfs_gfid_root,
        .atime = p->now,
        .mtime = p->now,
        .ctime = p->now,
        .btime = p->now,
    };
    return 0;
}

/* Whether @v counts this brick in sync in a life after its last repair. */
static bool heals(const struct ops *o, const struct cfs_view *v)
{
    struct eng_info info;

    eng_info(o->e, &info);
    for (uint32_t i = 0; i < v->n_sync; i++)
        if (cfs_uuid_eq(v->m[i].brick, info.format.brick))
            return v->m[i].incarnation > o->brick.repaired;
    return false;
}

void own_applied(struct ops *o, enum jrec_type type,
                 const struct jrec_own *own, uint64_t pos)
{
    switch (type) {
    case JREC_SESSION:
        session_applied(o, &own->session, pos);
        break;
    case JREC_VIEW:
        if (heals(o, &own->view))
            o->brick.repaired = 0;
        o->brick.clean = false;
        o->brick_changed = true;
        break;
    case JREC_CLEAN:
        o->brick.clean = true;
        o->brick_changed = true;
        break;
    case JREC_PURGE:
        removal_kick(o);
        break;
    default:
        break;
    }
}
