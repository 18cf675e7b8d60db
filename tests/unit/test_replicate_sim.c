/* SPDX-License-Identifier: Apache-2.0 */
/* test_replicate_sim.c - the core of replication against three modelled
 * members, in virtual time: one seed decides every delay, lost connection,
 * killed, failed or hung member, and view.
 *
 * Model     a member keeps for each inode its version, and for each change
 *           number its first answer. A request that was under way when its
 *           connection broke may still arrive, until the session attaches
 *           anew. A killed or failed member leaves at the next view, which
 *           reaches each member and the client at its own time. A hung one
 *           keeps its connection for a while longer.
 * Checked   I1: what was answered 0 is at every member of the newest view.
 *           I5: a member applies a change once, at the versions it expects; a
 *           number never comes with other content, nor below acked_below.
 *           I6: what is cleared is durable at every brick.
 *           I8: a read sees what was answered before it began.
 *           In the end: everything was answered, members are equal.
 * Planted   a lost leg that counts as answered, a member that forgets its
 *           answers, positions that are durable only in words: each must be
 *           found.
 */
#include "cfs_test.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "xlators/cluster/replicate/replicate_core.h"

#define MEMBERS 3u
#define INODES  6u
#define OPS     150u
#define NOS     4096u
#define EVENTS  8192u
#define SEEDS   400u

enum bug { BUG_NONE, BUG_LOST_IS_OK, BUG_FORGETFUL, BUG_NOT_DURABLE };

enum kind {
    EV_NEW_OP,
    EV_FAULT,
    EV_RECONNECT,
    EV_CUT,
    EV_VIEW_TO_MEMBER,
    EV_VIEW_TO_CLIENT,
    EV_DECIDE,  /* mgmtd forms the next view */
    EV_DURABLE, /* a member's flush */
    EV_REQUEST, /* reaches the member */
    EV_REPLY,   /* reaches the client */
};

enum what { W_CHANGE, W_READ, W_OPEN, W_ATTACH, W_INFO, W_CLEAR };

struct event {
    enum kind         kind;
    uint64_t          at;
    uint64_t          seq;
    unsigned          m;
    /* requests and replies */
    enum what         what;
    uint32_t          life;   /* the client's count of connections */
    bool              silent; /* nobody waits for the reply any more */
    uint64_t          epoch;
    struct op        *op;
    bool              look;   /* W_READ: of op->look, not op->rd */
    struct cfs_change wire;
    struct cfs_gfid   gfid;
    struct cfs_version want;
    int               status;
    struct cfs_post   post;
    struct cfs_view   view;
    uint64_t          below;
    unsigned          n_clear;
    struct cfs_touch  clear[64];
};

struct answer {
    bool     known;
    int      status;
    uint64_t pos;
};

struct member {
    bool               killed;
    bool               failed;
    bool               hung; /* answers nothing, for ever */
    uint32_t           conn; /* the attached connection's life; 0: none */
    struct cfs_view    view;
    struct cfs_version version[INODES];
    uint64_t           by[INODES]; /* the change that made it: content */
    struct answer      answer[NOS];
    bool               applied[NOS];
    uint64_t           acked_below;
    uint64_t           pos;
    uint64_t           durable;
    uint64_t           version_pos[INODES]; /* record of that version */
};

/* An operation of the client. */
struct op {
    struct rep_change ch;
    struct rep_read   rd;
    bool              is_read;
    bool              answered;
    bool              released;
    unsigned          inode;  /* of a read */
    struct cfs_version floor; /* a read must see at least this */
    struct cfs_version seen;
    struct cfs_gfid   pick[CFS_TOUCH_MAX];
    unsigned          n;
    struct rep_read   look;
};

struct content {
    bool              known;
    unsigned          n;
    struct cfs_touch  touch[CFS_TOUCH_MAX];
    bool              acked;
};

struct sim {
    struct rep_core core;
    uint64_t        rng;
    uint64_t        now;
    uint64_t        seq;
    enum bug        bug;
    struct event    ev[EVENTS]; /* to come, in no order */
    unsigned        n_ev;
    struct member   m[MEMBERS];
    struct cfs_view view; /* mgmtd's */
    bool            deciding;
    struct op       op[OPS];
    unsigned        n_ops;
    bool            calm; /* no more faults */
    struct content  content[NOS];
    struct cfs_version acked[INODES];
    uint64_t        failures; /* waited for too long */
    char            broken[256]; /* the first promise that was */
};

static struct sim *sim; /* one at a time; the core's owner too */

/* -- chance and time ------------------------------------------------------ */

static uint64_t rnd(uint64_t below)
{
    sim->rng ^= sim->rng << 13;
    sim->rng ^= sim->rng >> 7;
    sim->rng ^= sim->rng << 17;
    return sim->rng % below;
}

static uint64_t delay(void)
{
    if (rnd(50) == 0)
        return CFS_MS * (1 + rnd(400));
    return 1000 * (50 + rnd(2000));
}

static void broken(const char *what)
{
    if (!sim->broken[0])
        snprintf(sim->broken, sizeof sim->broken, "%s at %.6f s", what,
                 (double)sim->now / 1e9);
}

static struct event *post(enum kind kind, unsigned m, uint64_t after)
{
    struct event *e = &sim->ev[sim->n_ev++];

    assert_true(sim->n_ev < EVENTS);
    memset(e, 0, sizeof *e);
    e->kind = kind;
    e->m = m;
    e->at = sim->now + after;
    e->seq = sim->seq++;
    return e;
}

static struct cfs_gfid inode(unsigned i)
{
    return cfs_gfid_make(100 + 37 * (uint64_t)i);
}

static unsigned inode_of(struct cfs_gfid g)
{
    for (unsigned i = 0; i < INODES; i++)
        if (cfs_gfid_eq(inode(i), g))
            return i;
    fail_msg("no such inode");
    return 0;
}

/* -- a member ------------------------------------------------------------- */

static bool in_view(const struct cfs_view *v, unsigned m)
{
    for (unsigned i = 0; i < v->n_sync; i++)
        if (v->m[i].brick.b[0] == m + 1)
            return true;
    return false;
}

static void check_content(const struct cfs_change *w)
{
    struct content *c = &sim->content[w->no];

    if (!c->known) {
        c->known = true;
        c->n = w->n;
        memcpy(c->touch, w->touch, sizeof c->touch);
    } else if (c->n != w->n ||
               memcmp(c->touch, w->touch, w->n * sizeof w->touch[0]) != 0) {
        broken("a change number came with other content");
    }
}

static int apply(struct member *m, const struct cfs_change *w,
                 struct cfs_post *ret_post)
{
    struct answer *a = &m->answer[w->no];
    int status = 0;

    check_content(w);
    if (w->no < m->acked_below)
        broken("a change came below acked_below");
    if (w->acked_below > m->acked_below)
        m->acked_below = w->acked_below;
    if (m->failed)
        return -CFS_E_POISONED;
    if (a->known && !(sim->bug == BUG_FORGETFUL && rnd(2))) {
        ret_post->pos = a->pos;
        return a->status;
    }
    for (unsigned i = 0; i < w->n; i++)
        if (cfs_version_cmp(w->touch[i].expect,
                            m->version[inode_of(w->touch[i].gfid)]) != 0)
            status = -CFS_E_VERSION;
    if (status == 0 && w->no % 11 == 0)
        status = -EEXIST; /* a result like any other */
    if (status == 0) {
        if (m->applied[w->no])
            broken("a member applied a change twice (I5)");
        m->applied[w->no] = true;
        m->pos++;
        for (unsigned i = 0; i < w->n; i++) {
            unsigned k = inode_of(w->touch[i].gfid);

            m->version[k] = w->touch[i].make;
            m->version_pos[k] = m->pos;
            m->by[k] = w->no;
        }
    }
    *a = (struct answer){true, status, status == 0 ? m->pos : 0};
    ret_post->pos = a->pos;
    return status;
}

/* I6: at every brick, not just here. */
static void check_clear(const struct event *e)
{
    for (unsigned k = 0; k < MEMBERS; k++) {
        const struct member *m = &sim->m[k];

        for (unsigned i = 0; i < e->n_clear; i++) {
            unsigned n = inode_of(e->clear[i].gfid);

            if (cfs_version_cmp(m->version[n], e->clear[i].expect) == 0 &&
                m->version_pos[n] >= m->durable)
                broken("an inode was cleared that is not durable everywhere");
            if (cfs_version_cmp(m->version[n], e->clear[i].expect) < 0)
                broken("an inode was cleared that a brick has not");
        }
        for (uint64_t no = 1; no < e->below; no++)
            if (m->answer[no].known && m->answer[no].status == 0 &&
                m->answer[no].pos >= m->durable)
                broken("a change was cleared that is not durable everywhere");
    }
}

static int serve(struct member *m, struct event *e, struct cfs_post *ret_post)
{
    switch (e->what) {
    case W_OPEN:
        return e->epoch == m->view.epoch ? 0 : -CFS_E_EPOCH;
    case W_ATTACH:
        if (e->epoch != m->view.epoch)
            return -CFS_E_EPOCH;
        m->conn = e->life;
        return 0;
    case W_INFO:
        return 0;
    case W_CHANGE:
    case W_READ:
    case W_CLEAR:
        break;
    }
    if (m->conn != e->life)
        return -CFS_E_SESSION;
    if (e->epoch != m->view.epoch)
        return -CFS_E_EPOCH;
    if (e->what == W_CLEAR) {
        check_clear(e);
        return 0;
    }
    if (e->what == W_CHANGE)
        return apply(m, &e->wire, ret_post);
    if (m->failed)
        return -EIO;
    if (cfs_version_cmp(m->version[inode_of(e->gfid)], e->want) < 0)
        return -CFS_E_VERSION;
    return 0;
}

static void request_arrives(struct event *e)
{
    struct member *m = &sim->m[e->m];
    struct cfs_post p = {0};
    struct event *r;
    int status;

    if (m->hung && !m->killed) {
        r = post(EV_REQUEST, e->m, 0);
        e->at = sim->now + CFS_SEC; /* it stays where it is */
        e->seq = r->seq;
        *r = *e;
        return;
    }
    if (m->killed || (e->silent && m->conn != e->life))
        return; /* its connection was closed behind it */
    status = serve(m, e, &p);
    if (e->silent)
        return;
    p.epoch = m->view.epoch;
    p.incarnation = 1;
    p.free = 1 << 30;
    p.durable = sim->bug == BUG_NOT_DURABLE ? m->pos + 1 : m->durable;
    r = post(EV_REPLY, e->m, delay());
    r->what = e->what;
    r->life = e->life;
    r->op = e->op;
    r->look = e->look;
    r->gfid = e->gfid;
    r->status = status;
    r->post = p;
    r->view = m->view;
    if (e->what == W_READ)
        r->want = m->version[inode_of(e->gfid)];
}

/* -- the client's side ---------------------------------------------------- */

static struct event *request(enum what what, unsigned m)
{
    struct event *e = post(EV_REQUEST, m, delay());

    e->what = what;
    e->life = sim->core.m[m].life;
    e->epoch = sim->core.view.epoch;
    if (!sim->core.m[m].connected || sim->m[m].killed) {
        e->kind = EV_REPLY;
        e->status = -ENOTCONN;
    }
    return e;
}

static void io_open(struct rep_core *c, unsigned m, uint32_t given_up)
{
    request(W_OPEN, m);
}

static void io_attach(struct rep_core *c, unsigned m)
{
    request(W_ATTACH, m);
}

static void io_info(struct rep_core *c, unsigned m)
{
    request(W_INFO, m);
}

static void io_clear(struct rep_core *c, unsigned m)
{
    struct event *e = request(W_CLEAR, m);

    e->below = c->clear.below;
    for (unsigned i = 0; i < c->clear.n && i < 64; i++) {
        const uint8_t *p = c->clear.packed + (size_t)i * REP_CLEAR_PACKED;
        uint64_t v[2];

        memcpy(e->clear[i].gfid.b, p, 16);
        memcpy(v, p + 16, 16);
        e->clear[i].expect = (struct cfs_version){le64toh(v[0]),
                                                  le64toh(v[1])};
        e->n_clear++;
    }
}

static void io_look(struct rep_core *c, struct rep_change *ch,
                    struct cfs_gfid g)
{
    struct op *op = container_of(ch, struct op, ch);

    memset(&op->look, 0, sizeof op->look);
    op->look.subject = g;
    rep_read_start(c, &op->look, sim->now);
}

static void start_change(struct op *op)
{
    for (unsigned i = 0; i < op->n; i++)
        rep_change_add(&op->ch, op->pick[i], REP_TOUCH_CHANGE);
    rep_change_start(&sim->core, &op->ch, sim->now);
}

static void io_again(struct rep_core *c, struct rep_change *ch)
{
    for (unsigned k = 0; k < MEMBERS; k++)
        if (in_view(&sim->view, k) && sim->m[k].applied[ch->wire.no])
            broken("a change that was applied is made once more (I5)");
    start_change(container_of(ch, struct op, ch));
}

static void io_send(struct rep_core *c, struct rep_change *ch, unsigned m)
{
    struct event *e = request(W_CHANGE, m);

    e->op = container_of(ch, struct op, ch);
    e->wire = ch->wire;
    if (ch->wire.no >= NOS)
        fail_msg("too many change numbers");
}

static void io_answer(struct rep_core *c, struct rep_change *ch, int status,
                      int m)
{
    struct op *op = container_of(ch, struct op, ch);

    if (op->answered)
        broken("answered twice");
    op->answered = true;
    if (status < 0) {
        sim->failures += status != -EEXIST;
        return;
    }
    sim->content[ch->wire.no].acked = true;
    for (unsigned i = 0; i < ch->wire.n; i++)
        sim->acked[inode_of(ch->wire.touch[i].gfid)] = ch->wire.touch[i].make;
    for (unsigned k = 0; k < MEMBERS; k++)
        if (in_view(&sim->view, k) &&
            (!sim->m[k].answer[ch->wire.no].known ||
             sim->m[k].answer[ch->wire.no].status != 0))
            broken("a change was acknowledged that a member has not (I1)");
}

static void io_release(struct rep_core *c, struct rep_change *ch)
{
    struct op *op = container_of(ch, struct op, ch);

    if (!op->answered || op->released)
        broken("released too early, or twice");
    op->released = true;
}

static struct op *op_of_read(struct rep_read *rd, bool *ret_look)
{
    for (unsigned i = 0; i < sim->n_ops; i++) {
        *ret_look = rd == &sim->op[i].look;
        if (*ret_look || rd == &sim->op[i].rd)
            return &sim->op[i];
    }
    fail_msg("a read that nobody asked for");
    return NULL;
}

static void io_read(struct rep_core *c, struct rep_read *rd, unsigned m)
{
    bool look;
    struct event *e = request(W_READ, m);

    e->op = op_of_read(rd, &look);
    e->look = look;
    e->gfid = rd->subject;
    e->want = rd->want;
}

static void io_read_end(struct rep_core *c, struct rep_read *rd, int status)
{
    bool look;
    struct op *op = op_of_read(rd, &look);
    struct cfs_attr attr = {.gfid = rd->subject, .version = op->seen};

    if (look) {
        rep_change_looked(c, &op->ch, status, &attr, sim->now);
        return;
    }
    op->answered = true;
    if (status < 0)
        sim->failures++;
    else if (cfs_version_cmp(op->seen, op->floor) < 0)
        broken("a read missed what was answered before it (I8)");
    if (status == 0)
        rep_learn(c, rd->subject, op->seen);
}

static void io_differs(struct rep_core *c, unsigned m)
{
}

static void io_want_view(struct rep_core *c)
{
    struct event *e = post(EV_VIEW_TO_CLIENT, 0, delay());

    e->view = sim->view;
}

static struct cfs_time io_realtime(struct rep_core *c)
{
    return (struct cfs_time){(int64_t)(sim->now / CFS_SEC), 0};
}

static void io_nothing(struct rep_core *c)
{
}

static void io_refused(struct rep_core *c, const struct cfs_session *holder)
{
}

static void io_note(struct rep_core *c, enum cfs_log_level level,
                    const char *text)
{
}

static const struct rep_io io = {
    .session_open = io_open, .session_attach = io_attach, .info = io_info,
    .clear = io_clear, .look = io_look, .again = io_again, .send = io_send,
    .answer = io_answer, .release = io_release, .read = io_read,
    .read_end = io_read_end, .flush = io_nothing, .up = io_nothing,
    .down = io_nothing, .refused = io_refused,
    .held_up = io_refused, .session = io_nothing,
    .want_view = io_want_view, .differs = io_differs, .idle = io_nothing,
    .realtime = io_realtime,
    .note = io_note,
};

static void reply_arrives(struct event *e)
{
    struct rep_core *c = &sim->core;
    struct cfs_session s = {.no = 1};
    int status = e->status;

    if (sim->bug == BUG_LOST_IS_OK && status == -ENOTCONN &&
        e->what == W_CHANGE)
        status = 0;
    switch (e->what) {
    case W_OPEN:
        rep_opened(c, status, &s, &s, sim->now);
        return;
    case W_ATTACH:
        rep_attached(c, e->m, status, &e->view, sim->now);
        return;
    case W_INFO:
        rep_info(c, e->m, &e->post, sim->now);
        return;
    case W_CLEAR:
        rep_cleared(c, e->m, status, sim->now);
        return;
    case W_CHANGE:
        rep_change_answered(c, &e->op->ch, e->m, status, &e->post, sim->now);
        return;
    case W_READ:
        e->op->seen = e->want;
        rep_read_answered(c, e->look ? &e->op->look : &e->op->rd, status,
                          sim->now);
        return;
    }
}

/* -- what goes wrong ------------------------------------------------------ */

/* Requests that were sent on it are answered -ENOTCONN; half of those under way
 * still arrive. */
static void cut(unsigned m)
{
    uint32_t life = sim->core.m[m].life;

    for (unsigned i = 0, n = sim->n_ev; i < n; i++) {
        struct event *e = &sim->ev[i], *r;

        if (e->m != m || e->life != life || e->silent ||
            (e->kind != EV_REQUEST && e->kind != EV_REPLY))
            continue;
        if (e->kind == EV_REQUEST) {
            r = post(EV_REPLY, m, 0);
            r->what = e->what;
            r->op = e->op;
            r->look = e->look;
            r->gfid = e->gfid;
            if (rnd(2)) {
                e->silent = true;
                e = r;
            } else {
                r->at = r->seq = 0; /* in place of the request */
                *e = *r;
                sim->n_ev--;
                e->seq = sim->seq++;
            }
        }
        e->at = sim->now;
        e->status = -ENOTCONN;
        e->post = (struct cfs_post){0};
        e->life = life;
        e->silent = true; /* the reply is settled */
    }
    rep_disconnected(&sim->core, m, sim->now);
    if (!sim->m[m].killed)
        post(EV_RECONNECT, m, rnd(12) == 0 ? CFS_SEC * (5 + rnd(30))
                                           : CFS_MS * (5 + rnd(500)));
}

static bool is_well(const struct member *m)
{
    return !m->killed && !m->failed && !m->hung;
}

static unsigned members_alive(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < MEMBERS; i++)
        n += in_view(&sim->view, i) && is_well(&sim->m[i]);
    return n;
}

static void mgmtd_hears(void)
{
    uint64_t after = rnd(10) == 0 ? CFS_SEC * (1 + rnd(30))
                                  : CFS_MS * (1 + rnd(200));

    if (!sim->deciding)
        post(EV_DECIDE, 0, after);
    sim->deciding = true;
}

static void fault(void)
{
    unsigned m = (unsigned)rnd(MEMBERS);
    uint64_t what = rnd(10);

    if (sim->calm)
        return;
    post(EV_FAULT, 0, CFS_MS * (1 + rnd(300)));
    if (what < 7) {
        if (sim->core.m[m].connected)
            cut(m);
    } else if (what == 7) {
        mgmtd_hears(); /* a new view, of the same members */
    } else if (in_view(&sim->view, m) && members_alive() > 1 &&
               is_well(&sim->m[m]) && rnd(30) == 0) {
        if (what == 8) {
            sim->m[m].killed = true;
            if (sim->core.m[m].connected)
                cut(m);
        } else if (rnd(2)) {
            sim->m[m].failed = true;
        } else {
            sim->m[m].hung = true;
            post(EV_CUT, m, CFS_SEC * (1 + rnd(30)));
        }
        mgmtd_hears();
    }
}

static void decide(void)
{
    struct cfs_view v = sim->view;
    struct event *e;

    sim->deciding = false;
    v.n_sync = 0;
    for (unsigned i = 0; i < sim->view.n_sync; i++) {
        unsigned m = sim->view.m[i].brick.b[0] - 1u;

        if (is_well(&sim->m[m]))
            v.m[v.n_sync++] = sim->view.m[i];
    }
    v.epoch++;
    sim->view = v;
    for (unsigned m = 0; m < MEMBERS; m++) {
        e = post(EV_VIEW_TO_MEMBER, m, delay());
        e->view = v;
    }
    e = post(EV_VIEW_TO_CLIENT, 0, delay());
    e->view = v;
}

/* Whenever nothing is under way, members of the view are equal. */
static void check_equal(void)
{
    const struct member *first = NULL;

    for (unsigned i = 0; i < sim->n_ev; i++)
        if (sim->ev[i].kind == EV_REQUEST && sim->ev[i].what == W_CHANGE)
            return;
    if (!cfs_list_empty(&sim->core.changes))
        return;
    for (unsigned k = 0; k < MEMBERS; k++) {
        const struct member *m = &sim->m[k];

        if (!in_view(&sim->view, k))
            continue;
        if (first && (memcmp(first->version, m->version, sizeof m->version) ||
                      memcmp(first->by, m->by, sizeof m->by)))
            broken("nothing is under way, and members differ (I9)");
        first = m;
    }
}

static void check_end(void)
{
    check_equal();
    for (unsigned k = 0; k < MEMBERS; k++)
        for (unsigned no = 1; in_view(&sim->view, k) && no < NOS; no++)
            if (sim->content[no].acked &&
                (!sim->m[k].answer[no].known ||
                 sim->m[k].answer[no].status != 0))
                broken("a member lacks an acknowledged change (I1)");
    for (unsigned i = 0; i < OPS; i++)
        if (!sim->op[i].answered ||
            (!sim->op[i].is_read && !sim->op[i].released))
            broken("an operation did not end");
}

/* -- a run ---------------------------------------------------------------- */

static void new_op(void)
{
    struct op *op = &sim->op[sim->n_ops++];
    unsigned n = 1 + (unsigned)rnd(3), at = (unsigned)rnd(INODES);

    check_equal();
    if (sim->n_ops < OPS)
        post(EV_NEW_OP, 0, rnd(10) == 0 ? CFS_SEC : 1000 * rnd(8000));
    op->is_read = rnd(3) == 0;
    if (op->is_read) {
        op->inode = at;
        op->floor = sim->acked[at];
        op->rd.subject = inode(at);
        op->rd.want = rep_known(&sim->core, op->rd.subject);
        rep_read_start(&sim->core, &op->rd, sim->now);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        op->pick[op->n++] = inode((at + i * 5) % INODES);
    start_change(op);
}

static void run_event(struct event *e)
{
    struct member *m = &sim->m[e->m];

    switch (e->kind) {
    case EV_NEW_OP:
        new_op();
        return;
    case EV_FAULT:
        fault();
        return;
    case EV_RECONNECT:
        if (!m->killed)
            rep_connected(&sim->core, e->m, sim->now);
        return;
    case EV_CUT:
        if (sim->core.m[e->m].connected)
            cut(e->m);
        m->killed = true;
        return;
    case EV_VIEW_TO_MEMBER:
        if (e->view.epoch > m->view.epoch)
            m->view = e->view;
        return;
    case EV_VIEW_TO_CLIENT:
        rep_view(&sim->core, &e->view, sim->now);
        return;
    case EV_DECIDE:
        decide();
        return;
    case EV_DURABLE:
        m->durable = m->pos + 1;
        if (!sim->calm)
            post(EV_DURABLE, e->m, CFS_MS * (100 + rnd(3000)));
        return;
    case EV_REQUEST:
        request_arrives(e);
        return;
    case EV_REPLY:
        reply_arrives(e);
        return;
    }
}

/* The next event, or the core's timer; false: nothing is left. */
static bool step(void)
{
    struct event *next = NULL;
    struct event e;

    for (unsigned i = 0; i < sim->n_ev; i++) {
        struct event *c = &sim->ev[i];

        if (!next || c->at < next->at ||
            (c->at == next->at && c->seq < next->seq))
            next = c;
    }
    if (sim->core.due != REP_NEVER && (!next || sim->core.due < next->at)) {
        if (sim->core.due > sim->now)
            sim->now = sim->core.due;
        rep_tick(&sim->core, sim->now);
        return true;
    }
    if (!next)
        return false;
    e = *next;
    *next = sim->ev[--sim->n_ev];
    sim->now = e.at;
    run_event(&e);
    return true;
}

static bool all_done(void)
{
    if (sim->n_ops < OPS || sim->core.n_changes || sim->core.n_reads ||
        sim->core.n_orphans)
        return false;
    return cfs_list_empty(&sim->core.changes);
}

/* Returns what was broken, "" if nothing. */
static const char *run(uint64_t seed, enum bug bug)
{
    struct cfs_uuid brick[MEMBERS] = {0};
    uint64_t calm_at, steps = 0;

    memset(sim, 0, sizeof *sim);
    sim->rng = seed * 0x9e3779b97f4a7c15u + 1;
    sim->now = CFS_SEC;
    sim->bug = bug;
    sim->view.epoch = 1;
    sim->view.n_sync = MEMBERS;
    for (unsigned i = 0; i < MEMBERS; i++) {
        brick[i].b[0] = (uint8_t)(i + 1);
        sim->view.m[i] = (struct cfs_member){brick[i], 1};
        for (unsigned k = 0; k < INODES; k++)
            sim->m[i].version[k] = (struct cfs_version){1, 1};
    }
    assert_int_equal(rep_core_init(&sim->core, &io, sim, brick, MEMBERS,
                                   sim->now), 0);
    sim->core.spread = seed % 2;
    rep_start(&sim->core, sim->now);
    for (unsigned i = 0; i < MEMBERS; i++) {
        sim->m[i].view = sim->view;
        sim->core.m[i].life = 1;
        rep_connected(&sim->core, i, sim->now);
        post(EV_DURABLE, i, CFS_MS * (1 + rnd(1000)));
    }
    post(EV_NEW_OP, 0, CFS_MS);
    if (seed % 8)
        post(EV_FAULT, 0, CFS_MS * (1 + rnd(200)));
    calm_at = sim->now + CFS_SEC * (20 + rnd(20));
    while (!sim->broken[0] && steps++ < 400000 && step()) {
        if (sim->now > calm_at)
            sim->calm = true;
        if (sim->calm && all_done() && sim->now > calm_at + CFS_SEC * 60)
            break;
    }
    if (!sim->broken[0])
        check_end();
    rep_core_fini(&sim->core);
    return sim->broken;
}

static void promises_hold_under_faults(void **state)
{
    uint64_t failures = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        const char *what = run(seed, BUG_NONE);

        if (what[0])
            fail_msg("seed %llu: %s", (unsigned long long)seed, what);
        failures += sim->failures;
    }
    print_message("%u seeds, %u operations each; %llu waited for "
                  "too long\n", SEEDS, OPS, (unsigned long long)failures);
}

static void must_find(enum bug bug, uint64_t within)
{
    for (uint64_t seed = 1; seed <= within; seed++)
        if (run(seed, bug)[0])
            return;
    fail_msg("%llu seeds did not find it", (unsigned long long)within);
}

static void a_lost_leg_that_counts_is_found(void **state)
{
    must_find(BUG_LOST_IS_OK, 50);
}

static void a_member_that_forgets_answers_is_found(void **state)
{
    must_find(BUG_FORGETFUL, 50);
}

static void clearing_what_is_not_durable_is_found(void **state)
{
    must_find(BUG_NOT_DURABLE, 50);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promises_hold_under_faults),
        cmocka_unit_test(a_lost_leg_that_counts_is_found),
        cmocka_unit_test(a_member_that_forgets_answers_is_found),
        cmocka_unit_test(clearing_what_is_not_durable_is_found),
    };
    int rc;

    sim = calloc(1, sizeof *sim);
    if (argc > 1) {
        const char *what = run(strtoull(argv[1], NULL, 10), BUG_NONE);

        printf("seed %s: %s\n", argv[1], what[0] ? what : "all well");
        free(sim);
        return 0;
    }
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(sim);
    return rc;
}
