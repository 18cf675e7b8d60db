/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - a start: what is kept in memory is loaded, then the journal's
 * records are applied again, through the plans that applied them first, less
 * the checks of admission (view, session, space). Whatever does not fit is
 * damage: the open fails.
 */
#include <stdlib.h>

#include "core/mem.h"
#include "rpc/fop_codec.h"
#include "xlators/storage/block/ops_impl.h"

/* -- what is kept in memory ----------------------------------------------- */

struct loading {
    struct ops *o;
    int         rc;
};

static int load_session(struct loading *l, const struct rec_id *id,
                        struct cfs_blob value)
{
    struct rec_session rec;
    int rc = rec_session_unpack(value, id->session, &rec);

    if (rc == 0)
        session_put(l->o, &rec);
    return rc;
}

static int load_answer(struct loading *l, const struct rec_id *id,
                       struct cfs_blob value)
{
    struct session *s = session_find(l->o, id->session);
    struct dead_answer *d;
    struct rec_answer a;
    int rc;

    rc = rec_answer_unpack(value, &a);
    if (rc < 0)
        return rc;
    if (s && id->n >= s->rec.acked && s->rec.s.state != CFS_SESSION_CLOSED) {
        answer_add_stored(l->o, s, id->n, &a);
        return 0;
    }
    d = cfs_must_calloc(sizeof *d);
    d->session = id->session;
    d->no = id->n;
    cfs_list_add_tail(&l->o->dead, &d->link);
    return 0;
}

static int load_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct loading *l = ctx;
    struct rec_id id;

    l->rc = rec_key_parse(key, &id);
    if (l->rc < 0)
        return 1;
    switch (id.table) {
    case REC_BRICK:
        l->rc = rec_brick_unpack(value, &l->o->brick);
        break;
    case REC_VIEW: /* the newest comes last */
        l->rc = rec_view_unpack(value, &l->o->view);
        break;
    case REC_SESSION:
        l->rc = load_session(l, &id, value);
        break;
    case REC_ANSWER:
        l->rc = load_answer(l, &id, value);
        break;
    default:
        break;
    }
    return l->rc < 0;
}

static int load(struct ops *o)
{
    static const enum rec_table tables[] = {REC_BRICK, REC_VIEW, REC_SESSION,
                                            REC_ANSWER};
    struct loading l = {.o = o};
    struct rec_key lo, hi;
    int rc;

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(tables); i++) {
        rec_key_table(&lo, tables[i]);
        rec_key_after(&hi, &lo);
        rc = eng_scan(o->e, rec_key_blob(&lo), rec_key_blob(&hi), load_each,
                      &l);
        if (rc < 0)
            return rc;
        if (l.rc < 0)
            return l.rc;
    }
    return 0;
}

/* -- records -------------------------------------------------------------- */

static int apply(struct plan *p, const struct cfs_change *c)
{
    int rc = plan_finish(p, c);

    if (rc == 0)
        rc = plan_ready(p, 0);
    if (rc == 0)
        plan_apply(p);
    return rc;
}

/* The stage as the record has it. */
static void replay_stage(struct op *op, const struct eng_rec *rec,
                         const struct jrec_change *c)
{
    struct stage *st = stage_get(op);

    st->ready = true;
    st->reserved = true;
    st->cut_known = true;
    st->how = c->how;
    st->cut = c->cut;
    st->bytes = c->bytes;
    memcpy(st->seg, c->seg, sizeof st->seg);
    st->n_seg = c->n_seg;
    st->ext = (struct eng_ext *)rec->ext;
    st->n_ext = rec->n_ext;
    st->sums = (uint64_t *)rec->sums;
    st->n_sums = rec->n_sums;
    st->data_len = c->data_len;
    if (c->n_pack > 0) {
        st->n_pack = c->n_pack;
        st->pack = cfs_arena_alloc(op->arena, c->n_pack * sizeof *st->pack);
        jrec_packs_unpack(c, st->pack);
    }
}

static int plan_change(struct op *op, struct plan *p,
                       const struct jrec_change *jc)
{
    const struct cfs_change *c = op->req->change;
    int rc;

    if (!c || !op->type->plan || !session_find(op->o, c->session))
        return -CFS_E_CORRUPT;
    p->now = c->now;
    p->session = c->session;
    p->fop = jc->fop;
    p->request = jc->request;
    rc = admit_versions(p, c);
    if (rc == 0)
        rc = op->type->plan(op, p);
    if (rc == 0)
        rc = apply(p, c);
    if (rc == 0)
        change_applied(op, p, true);
    return rc;
}

/* @op gets its request and type; the bytes that it brought are not there. */
static int request_of(struct op *op, struct cfs_call *call,
                      const struct jrec_change *c)
{
    static uint8_t nothing; /* where bytes lie that nobody looks at */
    struct cfs_buf payload = {0};
    int rc;

    if (c->data_len > 0)
        payload = (struct cfs_buf){.data = &nothing, .len = c->data_len};
    rc = cfs_fop_unpack(call, c->fop, c->request, payload, &op->req);
    if (rc == 0)
        op->type = &op_types[c->fop];
    return rc;
}

static int replay_change(struct ops *o, const struct eng_rec *rec)
{
    struct cfs_call call = {.loop = o->loop};
    struct op op = {.o = o, .arena = &call.arena};
    struct plan p = {0};
    struct jrec_change c;
    int rc;

    rc = jrec_change_unpack(rec->body, &c);
    if (rc < 0)
        return rc;
    if (c.n_pack > 0 && !eng_packs(o->e))
        return -CFS_E_CORRUPT;
    cfs_arena_init_apart(&call.arena);
    plan_init(&p, o, &call.arena);
    p.replay = true;
    op.plan = &p;
    op.done.pos = rec->pos;
    rc = request_of(&op, &call, &c);
    if (rc == 0) {
        replay_stage(&op, rec, &c);
        rc = plan_change(&op, &p, &c);
    }
    cfs_arena_fini(&call.arena);
    return rc;
}

static int (*own_plan_of(uint16_t type))(struct op *, struct plan *)
{
    switch (type) {
    case JREC_GENESIS:
        return plan_own_genesis;
    case JREC_CLEAN:
        return plan_own_clean;
    case JREC_VIEW:
        return plan_own_view;
    case JREC_SESSION:
        return plan_own_session;
    case JREC_CLEAR:
        return plan_own_clear;
    case JREC_PURGE:
        return plan_own_purge;
    case JREC_REMOVE:
        return plan_own_remove;
    default:
        return NULL;
    }
}

static int replay_own(struct ops *o, const struct eng_rec *rec)
{
    int (*plan)(struct op *, struct plan *) = own_plan_of(rec->type);
    struct cfs_arena arena;
    struct jrec_own own;
    struct op op = {.o = o, .arena = &arena, .own = &own};
    struct plan p = {0};
    int rc;

    if (!plan)
        return -CFS_E_CORRUPT;
    rc = jrec_own_unpack((enum jrec_type)rec->type, rec->body, &own);
    if (rc < 0)
        return rc;
    cfs_arena_init_apart(&arena);
    plan_init(&p, o, &arena);
    p.replay = true;
    p.now = own.now;
    p.flags = ENG_RESERVE;
    op.plan = &p;
    rc = plan(&op, &p);
    if (rc == 0)
        rc = apply(&p, NULL);
    if (rc == 0 && rec->type == JREC_VIEW && view_cmp(&own.view, &o->view) > 0)
        o->view = own.view; /* they may have come in another order */
    if (rc == 0)
        own_applied(o, (enum jrec_type)rec->type, &own, rec->pos);
    cfs_arena_fini(&arena);
    return rc;
}

/* -- looking ahead --------------------------------------------------------- */

/* What does not fit says so when its turn comes. */
static void look_at_change(struct ops *o, const struct jrec_change *c)
{
    struct cfs_call call = {.loop = o->loop};
    struct op op = {.o = o, .arena = &call.arena};

    cfs_arena_init_apart(&call.arena);
    if (request_of(&op, &call, c) == 0)
        op_prefetch(&op);
    cfs_arena_fini(&call.arena);
}

static void look(void *ctx, const struct eng_rec *rec)
{
    struct ops *o = ctx;
    struct jrec_change c;
    struct jrec_own own;

    if (rec->type == JREC_CHANGE) {
        if (jrec_change_unpack(rec->body, &c) == 0)
            look_at_change(o, &c);
    } else if (own_plan_of(rec->type) &&
               jrec_own_unpack((enum jrec_type)rec->type, rec->body,
                               &own) == 0) {
        own_prefetch(o, (enum jrec_type)rec->type, &own);
    }
}

int replay(void *ctx, struct eng *e, const struct eng_rec *rec)
{
    struct ops *o = ctx;
    int rc;

    o->e = e;
    if (!rec) {
        eng_look_ahead(e, look, o);
        eng_on_freeze(e, freeze, o);
        eng_before_freeze(e, before_freeze);
        return load(o);
    }
    rc = rec->type == JREC_CHANGE ? replay_change(o, rec)
                                  : replay_own(o, rec);
    if (rc < 0)
        cfs_log_error(o->log, o->who,
                      "journal: record at %llu of type %u: %s",
                      (unsigned long long)rec->pos, rec->type,
                      cfs_err_str(rc));
    return rc < 0 && rc != -EIO ? -CFS_E_CORRUPT : rc;
}

void change_applied(struct op *op, const struct plan *p, bool replayed)
{
    const struct cfs_change *c = op->req->change;
    struct rec_answer a = {
        .fop = op->req->fop,
        .pos = op->done.pos,
        .copied = p->copied,
        .n = op_types[op->req->fop].n_out,
    };
    struct session *s = session_find(op->o, c->session);

    for (unsigned i = 0; i < a.n; i++)
        if (p->out[i])
            rec_inode_attr(&p->out[i]->rec, p->out[i]->gfid, &a.attr[i]);
    session_spilled(op->o, p);
    op->answer = answer_add(op->o, s, c->no, &a, true);
    op->answer->written = replayed;
    answers_acked(op->o, s, c->acked_below, true);
    if (op->req->fop == CFS_FOP_PURGE ||
        (op->stage && (op->stage->how & JREC_MARK)))
        removal_kick(op->o);
}
