/* SPDX-License-Identifier: Apache-2.0 */
/* op.c - an operation's life: its turn at its inodes, its runs, its end.
 *
 * Each inode that an operation is about has a queue, in order of arrival;
 * readers go together, a change goes alone. An operation enters all its queues
 * at once, so that none waits in a circle. It runs when it is granted in all:
 *
 *   begin -> [blocked] -> run -> end
 *                          |  ^
 *                          v  |  a node was read, data is written, there is
 *                        aside   space again, or simply the next turn
 *
 * A change leaves its queues as soon as it is applied: the next one sees what
 * it did, and its record is written before theirs are.
 */
#include <stdlib.h>

#include "core/mem.h"
#include "rpc/fop_codec.h"
#include "xlators/storage/block/ops_impl.h"

/* One inode with operations in progress. */
struct op_ino {
    struct cfs_list hash; /* or ops.ino_free */
    struct cfs_list queue;
    struct cfs_gfid gfid;
};

/* A node that an operation waits for, or has waited for and pins. */
struct op_wait {
    struct cfs_list link;
    struct eng_wait w;
    struct op      *op;
};

/* -- queues --------------------------------------------------------------- */

static struct cfs_list *ino_bucket(struct ops *o, struct cfs_gfid g)
{
    uint64_t low;

    memcpy(&low, g.b + 8, sizeof low);
    low *= UINT64_C(0x9e3779b97f4a7c15);
    return &o->ino[low >> 52 & (INO_BUCKETS - 1)];
}

static struct op_ino *ino_get(struct ops *o, struct cfs_gfid g)
{
    struct cfs_list *bucket = ino_bucket(o, g), *link;
    struct op_ino *i;

    cfs_list_for_each(it, bucket) {
        i = cfs_list_entry(it, struct op_ino, hash);
        if (cfs_gfid_eq(i->gfid, g))
            return i;
    }
    link = cfs_list_pop(&o->ino_free);
    if (link) {
        i = cfs_list_entry(link, struct op_ino, hash);
    } else {
        i = cfs_must_alloc(sizeof *i);
    }
    i->gfid = g;
    cfs_list_init(&i->queue);
    cfs_list_add_tail(bucket, &i->hash);
    return i;
}

void op_hold(struct op *op, struct cfs_gfid g, bool shared)
{
    struct op_hold *h;

    for (unsigned i = 0; i < op->n_holds; i++) {
        h = &op->hold[i];
        if (cfs_gfid_eq(h->ino->gfid, g)) {
            h->shared = h->shared && shared;
            return;
        }
    }
    assert(op->n_holds < OP_HOLDS);
    h = &op->hold[op->n_holds++];
    *h = (struct op_hold){.op = op, .shared = shared};
    h->ino = ino_get(op->o, g);
    cfs_list_add_tail(&h->ino->queue, &h->link);
}

/* Let those at the head of the queue go on: one change, or all readers up to
 * the first change. */
static void ino_grant(struct op_ino *ino)
{
    cfs_list_for_each(it, &ino->queue) {
        struct op_hold *h = cfs_list_entry(it, struct op_hold, link);
        bool first = h->link.prev == &ino->queue;

        if (!first && !h->shared)
            return;
        if (!h->granted) {
            h->granted = true;
            if (--h->op->blocked == 0)
                op_again(h->op);
        }
        if (!h->shared)
            return;
    }
}

/* Writes behind the one at the head whose data may be on its way already. */
#define AHEAD_OPS 3u

/* Blocks one upon the other, written one by one, would leave the device idle
 * between them: those that wait for their turn write their data meanwhile. */
static void ino_ahead(struct op_ino *ino)
{
    const struct op *before = NULL;
    unsigned n = 0;

    cfs_list_for_each(it, &ino->queue) {
        struct op *op = cfs_list_entry(it, struct op_hold, link)->op;

        if (!op->req || op->req->fop != CFS_FOP_WRITE || op->n_holds != 1)
            return;
        if (before && n++ == AHEAD_OPS)
            return;
        if (!op->stage && (!before || !write_ahead(op, before->stage)))
            return;
        before = op;
    }
}

void op_inos_free(struct ops *o)
{
    struct cfs_list *it;

    while ((it = cfs_list_pop(&o->ino_free)) != NULL)
        free(cfs_list_entry(it, struct op_ino, hash));
}

void op_release(struct op *op)
{
    for (unsigned i = 0; i < op->n_holds; i++) {
        struct op_ino *ino = op->hold[i].ino;

        cfs_list_del(&op->hold[i].link);
        if (cfs_list_empty(&ino->queue)) {
            cfs_list_del(&ino->hash);
            cfs_list_add_head(&op->o->ino_free, &ino->hash);
        } else {
            ino_grant(ino);
        }
    }
    op->n_holds = 0;
}

/* Whether @h, just added at the tail, may go on at once. */
static bool hold_grantable(const struct op_hold *h)
{
    const struct op_hold *before;

    if (h->link.prev == &h->ino->queue)
        return true;
    before = cfs_list_entry(h->link.prev, struct op_hold, link);
    return h->shared && before->shared && before->granted;
}

/* -- put aside ------------------------------------------------------------ */

static void miss_ready(struct eng_wait *w)
{
    struct op_wait *wait = container_of(w, struct op_wait, w);

    op_again(wait->op);
}

/* Run again when what the engine missed is there. */
static void put_aside(struct op *op)
{
    struct op_wait *wait = cfs_arena_alloc(op->arena, sizeof *wait);

    wait->op = op;
    op->o->stat.put_aside++;
    eng_wait(op->o->e, &wait->w, miss_ready);
    if (cfs_list_empty(&op->waits))
        op_prefetch(op);
    cfs_list_add_tail(&op->waits, &wait->link);
}

static void unpin(struct op *op)
{
    struct cfs_list *it;

    while ((it = cfs_list_pop(&op->waits)) != NULL)
        eng_wait_end(op->o->e, &cfs_list_entry(it, struct op_wait, link)->w);
}

void op_later_fire(struct cfs_timer *t)
{
    struct ops *o = container_of(t, struct ops, later_timer);
    struct cfs_list *it;

    while ((it = cfs_list_pop(&o->later)) != NULL)
        op_again(cfs_list_entry(it, struct op, later));
}

void op_space_again(struct ops *o)
{
    struct cfs_list *it;

    while ((it = cfs_list_pop(&o->spaceless)) != NULL)
        op_again(cfs_list_entry(it, struct op, later));
}

static void run_later(struct op *op)
{
    struct ops *o = op->o;

    cfs_list_add_tail(&o->later, &op->later);
    if (!cfs_timer_active(&o->later_timer))
        cfs_timer_start(&o->later_timer, 0);
}

/* -- reads ---------------------------------------------------------------- */

static int read_run(struct op *op)
{
    struct cfs_gfid gfid;
    struct rec_inode ino;
    int rc;

    rc = op->req->fop == CFS_FOP_FSYNC ? admit_member(op) : admit_read(op);
    if (rc != 0)
        return rc;
    memcpy(&gfid, (const char *)op->req + op->type->gfid_at, sizeof gfid);
    rc = look_inode(op->o, gfid, &ino);
    if (rc < 0)
        return rc;
    if (cfs_version_cmp(ino.version, op->req->want) < 0)
        return -CFS_E_VERSION;
    return op->type->read(op, gfid, &ino);
}

/* -- changes -------------------------------------------------------------- */

/* The record of a client's change. Its size is known before its plan is
 * finished: the request and the stage are. */
static struct jrec_change change_record(const struct op *op)
{
    const struct stage *st = op->stage;
    struct jrec_change c = {.fop = op->req->fop, .request = op->request};

    if (!st)
        return c;
    c.how = st->how;
    c.n_pack = st->n_pack;
    c.packs = st->packs;
    c.bytes = st->bytes;
    c.n_seg = (uint8_t)st->n_seg;
    memcpy(c.seg, st->seg, sizeof c.seg);
    c.data_len = st->data_len;
    c.cut = st->cut;
    return c;
}

static void change_written(struct eng_done *d)
{
    struct op *op = container_of(d, struct op, done);
    struct answer *a = op->answer;
    struct cfs_list *it;

    a->written = true;
    while ((it = cfs_list_pop(&a->followers)) != NULL) {
        struct op *f = cfs_list_entry(it, struct op, follow);

        if (d->status == 0)
            answer_give(f, &a->a);
        op_end(f, d->status);
    }
    if (d->status == 0)
        answer_give(op, &a->a);
    op_end(op, d->status);
}

static void change_commit(struct op *op, const struct jrec_change *c)
{
    const struct stage *st = op->stage;
    size_t len = jrec_change_size(c);
    uint8_t *body = cfs_arena_alloc(op->arena, len);
    struct eng_rec rec = {
        .type = JREC_CHANGE,
        .body = {body, (uint32_t)len},
    };

    jrec_change_pack(c, body);
    if (st) {
        rec.ext = st->ext;
        rec.n_ext = st->n_ext;
        rec.sums = st->sums;
        rec.n_sums = st->n_sums;
        op->stage->n_fresh = 0; /* the record names them */
    }
    op->done.done = change_written;
    eng_commit(op->o->e, &rec, &op->done);
}

/* Everything was asked: do it. */
static void change_apply(struct op *op, struct plan *p)
{
    struct jrec_change c = change_record(op);

    plan_apply(p);
    change_commit(op, &c);
    change_applied(op, p, false);
    op_release(op);
    unpin(op);
}

static size_t record_size(const struct op *op)
{
    struct jrec_change c = change_record(op);
    size_t size = jrec_change_size(&c);

    if (op->stage)
        size += op->stage->n_ext * sizeof(struct eng_ext) +
                op->stage->n_sums * sizeof(uint64_t);
    return size;
}

static int change_plan(struct op *op, struct plan *p)
{
    const struct cfs_change *c = op->req->change;
    int rc;

    p->now = c->now;
    p->session = c->session;
    rc = admit_versions(p, c);
    if (rc == 0)
        rc = op->type->plan(op, p);
    if (rc != 0)
        return rc;
    if (!op->request.p)
        op->request = cfs_fop_pack(op->arena, op->req);
    p->fop = op->req->fop;
    p->request = op->request;
    return plan_finish(p, c);
}

/* A change that fails uses up no version and leaves no record; but its repeat
 * gets the same answer. */
static void remember_failure(struct op *op, int status)
{
    const struct cfs_change *c = op->req->change;
    struct session *s = session_find(op->o, c->session);
    struct rec_answer a = {.fop = op->req->fop, .status = status};

    if (status_is_refusal(status) || !s)
        return;
    answers_acked(op->o, s, c->acked_below, false);
    answer_add(op->o, s, c->no, &a, false)->written = true;
}

static int change_run(struct op *op)
{
    struct plan *p = op->plan;
    int rc;

    if (op->stage && op->stage->pending > 0) { /* ahead */
        op->stage->awaited = true;
        ino_ahead(op->hold[0].ino);
        return OP_WAIT;
    }
    rc = admit_change(op);
    if (rc != 0)
        return rc;
    if (op->stage && op->stage->ahead && op->stage->status < 0)
        return op->stage->status;
    if (!p)
        p = op->plan = cfs_arena_alloc(op->arena, sizeof *p);
    plan_init(p, op->o, op->arena);
    p->stage = op->stage;
    rc = change_plan(op, p);
    if (rc == 0)
        rc = plan_ready(p, record_size(op));
    if (rc == 0) {
        change_apply(op, p);
        return OP_WAIT;
    }
    if (rc == OP_WAIT && op->n_holds > 0)
        ino_ahead(op->hold[0].ino);
    /* Its own blocks, allocated and not written, may be its due. */
    if (rc == -ENOSPC && op->stage && op->stage->ahead) {
        stage_undo(op);
        op_again(op);
        return OP_WAIT;
    }
    /* What removals are about to free is waited for. */
    if (rc == -ENOSPC && op->o->remover)
        return OP_SPACE;
    if (rc < 0 && rc != -CFS_E_MISS)
        remember_failure(op, rc);
    return rc;
}

/* -- the brick's own ------------------------------------------------------ */

static void own_written(struct eng_done *d)
{
    struct op *op = container_of(d, struct op, done);

    op_end(op, d->status);
}

static int own_run(struct op *op)
{
    struct plan *p = op->plan;
    uint8_t *body;
    struct eng_rec rec = {.type = (uint16_t)op->own_type};
    int rc;

    if (!p)
        p = op->plan = cfs_arena_alloc(op->arena, sizeof *p);
    plan_init(p, op->o, op->arena);
    p->now = op->own->now;
    p->flags = ENG_RESERVE;
    rc = op->own_plan(op, p);
    if (rc == 0)
        rc = plan_finish(p, NULL);
    if (rc == 0)
        rc = plan_ready(p, JREC_OWN_MAX);
    if (rc != 0)
        return rc;
    body = cfs_arena_alloc(op->arena, JREC_OWN_MAX);
    rec.body = (struct cfs_blob){
        body, jrec_own_pack(op->own_type, op->own, body)};
    plan_apply(p);
    op->done.done = own_written;
    eng_commit(op->o->e, &rec, &op->done);
    own_applied(op->o, op->own_type, op->own, op->done.pos);
    op_release(op);
    unpin(op);
    return OP_WAIT;
}

struct op *op_own_new(struct ops *o, enum jrec_type type,
                      int (*plan)(struct op *, struct plan *),
                      void (*done)(struct op *, int))
{
    struct op *op = cfs_must_calloc(sizeof *op);

    op->o = o;
    cfs_arena_init(&op->own_arena);
    op->arena = &op->own_arena;
    op->own = cfs_arena_alloc(op->arena, sizeof *op->own);
    op->own_type = type;
    op->own_plan = plan;
    op->own_done = done;
    return op;
}

/* -- life ----------------------------------------------------------------- */

static void run(struct op *op)
{
    int rc;

    if (op->own_plan)
        rc = own_run(op);
    else if (op->type->read)
        rc = read_run(op);
    else if (op->type->plan)
        rc = change_run(op);
    else
        rc = op->type->run(op);
    if (rc == OP_WAIT)
        return;
    if (rc == -CFS_E_MISS)
        put_aside(op);
    else if (rc == OP_LATER)
        run_later(op);
    else if (rc == OP_SPACE)
        cfs_list_add_tail(&op->o->spaceless, &op->later);
    else
        op_end(op, rc);
}

static void run_task(struct cfs_task *t)
{
    run(container_of(t, struct op, again));
}

void op_again(struct op *op)
{
    cfs_task_post(op->o->loop, &op->again);
}

void op_begin(struct op *op)
{
    cfs_task_init(&op->again, run_task);
    cfs_list_init(&op->waits);
    cfs_list_init(&op->later);
    cfs_list_init(&op->follow);
    cfs_list_add_tail(&op->o->running, &op->link);
    op->o->stat.in_flight++;
    for (unsigned i = 0; i < op->n_holds; i++) {
        op->hold[i].granted = hold_grantable(&op->hold[i]);
        if (!op->hold[i].granted)
            op->blocked++;
    }
    if (op->blocked == 0)
        run(op);
    else
        ino_ahead(op->hold[0].ino);
}

void op_end(struct op *op, int status)
{
    struct ops *o = op->o;
    struct cfs_req *req = op->req;

    assert(status <= 0);
    stage_drop(op);
    op_release(op);
    unpin(op);
    cfs_list_del(&op->link);
    o->stat.in_flight--;
    if (op->own_plan) {
        op->own_done(op, status);
        cfs_arena_fini(&op->own_arena);
        free(op);
    } else {
        post_fill(op, status == 0 ? op->done.pos : 0);
        cfs_unwind(req, status);
    }
    if (cfs_list_empty(&o->running))
        ops_idle(o);
}
