/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - sessions, and the answers that were given to them.
 *
 * An answer to a change that was applied is kept in memory from then on, is
 * put into the tree before a checkpoint freezes it (until then the journal
 * tells of it), and is forgotten when the client says that it has it
 * (acked_below of a later change that is applied, so that replicas and
 * replays forget alike). Answers to changes that failed are kept in memory
 * only: a brick that restarts is another incarnation, and out of the view.
 */
#include <limits.h>
#include <stdlib.h>

#include "core/mem.h"
#include "core/xxh3.h"
#include "xlators/storage/block/engine/bytes.h"
#include "xlators/storage/block/ops_impl.h"

/* Unstored answers, changed sessions; beyond that each change stores two. All
 * of them together fit into a freeze. */
#define SPILL_ABOVE    256u
#define SESSIONS_ABOVE 64u
#define SPILL_AT_ONCE  2u
/* Of those that nobody needs any more a freeze drops so many. Leaves of so
 * many are read for that: the pool may have more urgent things to do. */
#define DEAD_AT_ONCE   2048u
#define DEAD_READ      4u
/* Puts of a freeze that are none of these, and the last that come before a
 * change stores them. */
#define FREEZE_OTHERS  (1u + 2u * SPILL_AT_ONCE)

_Static_assert((SPILL_ABOVE + 2) * (REC_ANSWER_MAX + 16) +
               (SESSIONS_ABOVE + 2) * (REC_SESSION_MAX + 16) +
               REC_BRICK_MAX + 16 <= ENG_FREEZE_BYTES, "what a freeze stores");

/* -- sessions ------------------------------------------------------------- */

struct session *session_find(struct ops *o, uint32_t no)
{
    cfs_list_for_each(it, &o->sessions) {
        struct session *s = cfs_list_entry(it, struct session, link);

        if (s->rec.s.no == no)
            return s;
    }
    return NULL;
}

struct session *session_put(struct ops *o, const struct rec_session *rec)
{
    struct session *s = session_find(o, rec->s.no);

    if (!s) {
        s = cfs_must_calloc(sizeof *s);
        cfs_list_init(&s->changed);
        cfs_list_init(&s->applied);
        cfs_list_init(&s->failed);
        cfs_list_add_tail(&o->sessions, &s->link);
    }
    s->rec = *rec;
    if (rec->s.no > o->brick.session_max) {
        o->brick.session_max = rec->s.no;
        o->brick_changed = true;
    }
    return s;
}

/* -- answers -------------------------------------------------------------- */

static struct cfs_list *bucket_of(struct session *s, uint64_t no)
{
    if (!s->bucket) {
        s->bucket = cfs_must_calloc(ANSWER_BUCKETS * sizeof *s->bucket);
        for (unsigned i = 0; i < ANSWER_BUCKETS; i++)
            cfs_list_init(&s->bucket[i]);
    }
    return &s->bucket[no % ANSWER_BUCKETS];
}

struct answer *answer_find(struct session *s, uint64_t no)
{
    cfs_list_for_each(it, bucket_of(s, no)) {
        struct answer *a = cfs_list_entry(it, struct answer, hash);

        if (a->no == no)
            return a;
    }
    return NULL;
}

struct answer *answer_add(struct ops *o, struct session *s, uint64_t no,
                          const struct rec_answer *a, bool applied)
{
    struct answer *n = cfs_must_calloc(sizeof *n);

    n->session = s;
    n->no = no;
    n->a = *a;
    cfs_list_init(&n->unstored);
    cfs_list_init(&n->followers);
    cfs_list_add_tail(applied ? &s->applied : &s->failed, &n->link);
    cfs_list_add_tail(bucket_of(s, no), &n->hash);
    s->n_answers++;
    o->n_answers++;
    if (applied) {
        cfs_list_add_tail(&o->unstored, &n->unstored);
        o->n_unstored++;
    }
    return n;
}

static void now_stored(struct ops *o, struct answer *a)
{
    cfs_list_del(&a->unstored);
    o->n_unstored--;
    a->stored = true;
}

void answer_add_stored(struct ops *o, struct session *s, uint64_t no,
                       const struct rec_answer *a)
{
    struct answer *n = answer_add(o, s, no, a, true);

    n->written = true;
    now_stored(o, n);
}

static void answer_free(struct ops *o, struct answer *a, bool applied)
{
    struct session *s = a->session;

    assert(a->written && cfs_list_empty(&a->followers));
    if (a->stored) {
        struct dead_answer *d = cfs_must_calloc(sizeof *d);

        d->session = s->rec.s.no;
        d->no = a->no;
        cfs_list_add_tail(&o->dead, &d->link);
    } else if (applied) {
        cfs_list_del(&a->unstored);
        o->n_unstored--;
    }
    cfs_list_del(&a->link);
    cfs_list_del(&a->hash);
    s->n_answers--;
    o->n_answers--;
    free(a);
}

static void forget(struct ops *o, struct cfs_list *l, uint64_t below,
                   bool applied)
{
    cfs_list_for_each_safe(it, l) {
        struct answer *a = cfs_list_entry(it, struct answer, link);

        if (a->no >= below || !a->written)
            return; /* a later time will do */
        answer_free(o, a, applied);
    }
}

void answers_acked(struct ops *o, struct session *s, uint64_t below,
                   bool applied)
{
    if (applied && below > s->rec.acked) {
        s->rec.acked = below;
        if (cfs_list_empty(&s->changed)) {
            cfs_list_add_tail(&o->changed, &s->changed);
            o->n_changed++;
        }
    }
    forget(o, &s->failed, below, false);
    forget(o, &s->applied, s->rec.acked, true);
}

bool answers_written(const struct session *s)
{
    cfs_list_for_each(it, &s->applied)
        if (!cfs_list_entry(it, struct answer, link)->written)
            return false;
    return true;
}

void answers_drop(struct ops *o, struct session *s)
{
    cfs_list_for_each_safe(it, &s->failed)
        answer_free(o, cfs_list_entry(it, struct answer, link), false);
    cfs_list_for_each_safe(it, &s->applied)
        answer_free(o, cfs_list_entry(it, struct answer, link), true);
    free(s->bucket);
    s->bucket = NULL;
}

static void now_same(struct ops *o, struct session *s)
{
    if (cfs_list_empty(&s->changed))
        return;
    cfs_list_del(&s->changed);
    o->n_changed--;
}

void session_drop(struct ops *o, struct session *s)
{
    answers_drop(o, s);
    now_same(o, s);
    cfs_list_del(&s->link);
    free(s);
}

struct session *session_oldest_closed(struct ops *o)
{
    struct session *oldest = NULL;
    unsigned n = 0;

    cfs_list_for_each(it, &o->sessions) {
        struct session *s = cfs_list_entry(it, struct session, link);

        if (s->rec.s.state != CFS_SESSION_CLOSED)
            continue;
        n++;
        if (!oldest || s->rec.s.no < oldest->rec.s.no)
            oldest = s;
    }
    return n >= SESSIONS_CLOSED ? oldest : NULL;
}

void sessions_free(struct ops *o)
{
    struct cfs_list *it;

    while (!cfs_list_empty(&o->sessions))
        session_drop(o, cfs_list_entry(o->sessions.next, struct session,
                                       link));
    while ((it = cfs_list_pop(&o->dead)) != NULL)
        free(cfs_list_entry(it, struct dead_answer, link));
}

/* Which outputs of a change's request are attributes, in their order. */
static void outputs(struct cfs_req *req, struct cfs_attr *ret[ANSWER_ATTRS])
{
    switch (req->fop) {
    case CFS_FOP_CREATE:
        ret[0] = &((struct cfs_create *)req)->attr;
        ret[1] = &((struct cfs_create *)req)->dir;
        break;
    case CFS_FOP_UNLINK:
        ret[0] = &((struct cfs_unlink *)req)->attr;
        ret[1] = &((struct cfs_unlink *)req)->dir;
        break;
    case CFS_FOP_RENAME:
        ret[0] = &((struct cfs_rename *)req)->attr;
        ret[1] = &((struct cfs_rename *)req)->victim_attr;
        ret[2] = &((struct cfs_rename *)req)->dir;
        ret[3] = &((struct cfs_rename *)req)->newdir;
        break;
    case CFS_FOP_LINK:
        ret[0] = &((struct cfs_link *)req)->attr;
        ret[1] = &((struct cfs_link *)req)->dir;
        break;
    case CFS_FOP_SETATTR:
        ret[0] = &((struct cfs_setattr *)req)->attr;
        break;
    case CFS_FOP_WRITE:
        ret[0] = &((struct cfs_write *)req)->attr;
        break;
    case CFS_FOP_SETXATTR:
        ret[0] = &((struct cfs_setxattr *)req)->attr;
        break;
    case CFS_FOP_REMOVEXATTR:
        ret[0] = &((struct cfs_removexattr *)req)->attr;
        break;
    case CFS_FOP_FALLOCATE:
        ret[0] = &((struct cfs_fallocate *)req)->attr;
        break;
    case CFS_FOP_COPY:
        ret[0] = &((struct cfs_copy *)req)->attr;
        break;
    default:
        break;
    }
}

void answer_give(struct op *op, const struct rec_answer *a)
{
    struct cfs_attr *out[ANSWER_ATTRS] = {0};

    op->done.pos = a->pos;
    if (a->status < 0)
        return;
    outputs(op->req, out);
    for (unsigned i = 0; i < a->n; i++)
        if (out[i])
            *out[i] = a->attr[i];
    if (op->req->fop == CFS_FOP_COPY)
        ((struct cfs_copy *)op->req)->copied = a->copied;
}

/* -- into the tree -------------------------------------------------------- */

/* On a small store fewer, so that a freeze has blocks for all of them. */
static unsigned spill_above(const struct ops *o)
{
    unsigned n = (eng_freeze_puts(o->e) - FREEZE_OTHERS) / 4 * 3;

    return n < SPILL_ABOVE ? n : SPILL_ABOVE;
}

static unsigned sessions_above(const struct ops *o)
{
    unsigned n = (eng_freeze_puts(o->e) - FREEZE_OTHERS) / 4;

    return n < SESSIONS_ABOVE ? n : SESSIONS_ABOVE;
}

static void spill_sessions(struct ops *o, struct plan *p)
{
    uint8_t v[REC_SESSION_MAX];
    struct rec_key k;
    unsigned n = 0;

    if (o->n_changed <= sessions_above(o))
        return;
    cfs_list_for_each(it, &o->changed) {
        struct session *s = cfs_list_entry(it, struct session, changed);

        if (n == SPILL_AT_ONCE)
            break;
        rec_key_session(&k, s->rec.s.no);
        plan_put(p, &k, v, rec_session_pack(&s->rec, v));
        n++;
    }
    p->spilled_sessions = n;
}

void session_spill(struct ops *o, struct plan *p)
{
    uint8_t v[REC_ANSWER_MAX];
    struct rec_key k;
    unsigned n = 0;

    spill_sessions(o, p);
    if (o->n_unstored <= spill_above(o))
        return;
    cfs_list_for_each(it, &o->unstored) {
        struct answer *a = cfs_list_entry(it, struct answer, unstored);

        if (n == SPILL_AT_ONCE)
            break;
        rec_key_change(&k, REC_ANSWER, a->session->rec.s.no, a->no);
        plan_put(p, &k, v, rec_answer_pack(&a->a, v));
        n++;
    }
    p->spilled = n;
}

void session_spilled(struct ops *o, const struct plan *p)
{
    for (unsigned n = p->spilled; n > 0; n--)
        now_stored(o, cfs_list_entry(o->unstored.next, struct answer,
                                     unstored));
    for (unsigned n = p->spilled_sessions; n > 0; n--)
        now_same(o, cfs_list_entry(o->changed.next, struct session,
                                   changed));
}

static void put(struct ops *o, const struct rec_key *k, const void *v,
                uint32_t len, size_t *room)
{
    assert(*room >= k->len + len); /* the spills keep it little */
    *room -= k->len + len;
    eng_put(o->e, rec_key_blob(k), (struct cfs_blob){v, len});
}

static void freeze_brick(struct ops *o, size_t *room)
{
    uint8_t v[REC_BRICK_MAX];
    struct rec_key k;

    if (!o->brick_changed)
        return;
    rec_key_table(&k, REC_BRICK);
    put(o, &k, v, rec_brick_pack(&o->brick, v), room);
    o->brick_changed = false;
}

static void freeze_sessions(struct ops *o, size_t *room)
{
    uint8_t v[REC_SESSION_MAX];
    struct rec_key k;

    while (!cfs_list_empty(&o->changed)) {
        struct session *s = cfs_list_entry(o->changed.next, struct session,
                                           changed);

        rec_key_session(&k, s->rec.s.no);
        put(o, &k, v, rec_session_pack(&s->rec, v), room);
        now_same(o, s);
    }
}

static void freeze_answers(struct ops *o, size_t *room)
{
    const size_t most = REC_ANSWER_MAX + 16;
    uint8_t v[REC_ANSWER_MAX];
    struct rec_key k;

    while (!cfs_list_empty(&o->unstored)) {
        struct answer *a = cfs_list_entry(o->unstored.next, struct answer,
                                          unstored);

        assert(*room >= most); /* answers_spill() keeps them few */
        rec_key_change(&k, REC_ANSWER, a->session->rec.s.no, a->no);
        put(o, &k, v, rec_answer_pack(&a->a, v), room);
        now_stored(o, a);
    }
    for (; !cfs_list_empty(&o->dead) && *room >= most && o->dead_near > 0 &&
           eng_freeze_room(o->e); o->dead_near--) {
        struct dead_answer *d = cfs_list_entry(
            cfs_list_pop(&o->dead), struct dead_answer, link);

        rec_key_change(&k, REC_ANSWER, d->session, d->no);
        *room -= k.len;
        eng_del(o->e, rec_key_blob(&k));
        free(d);
    }
}

void freeze(void *ctx)
{
    struct ops *o = ctx;
    size_t room = ENG_FREEZE_BYTES;

    freeze_brick(o, &room);
    freeze_sessions(o, &room);
    freeze_answers(o, &room);
    o->dead_near = UINT_MAX; /* who does not ask before may read */
}

/* Touch @k's leaf, as others before: a miss is what counts. */
static void touch(struct ops *o, const struct rec_key *k, int *rc)
{
    int one = eng_touch(o->e, rec_key_blob(k));

    if (one == -CFS_E_MISS || *rc == 0)
        *rc = one;
}

/* Answers that may be dropped: those whose leaves are there. Some more begin
 * to be read, for the next time; the first of all is waited for. */
static int touch_dead(struct ops *o)
{
    unsigned near = 0, missed = 0, n = 0;
    int rc = 0;

    cfs_list_for_each(it, &o->dead) {
        struct dead_answer *d = cfs_list_entry(it, struct dead_answer, link);
        struct rec_key k;

        if (n++ == DEAD_AT_ONCE || missed == DEAD_READ)
            break;
        rec_key_change(&k, REC_ANSWER, d->session, d->no);
        rc = eng_touch(o->e, rec_key_blob(&k));
        if (rc < 0)
            missed++;
        else if (missed == 0)
            near++;
    }
    o->dead_near = near;
    return near == 0 && rc == -CFS_E_MISS ? rc : 0;
}

int before_freeze(void *ctx)
{
    struct ops *o = ctx;
    struct rec_key k;
    int rc = 0;

    rec_key_table(&k, REC_BRICK);
    touch(o, &k, &rc);
    cfs_list_for_each(it, &o->changed) {
        struct session *s = cfs_list_entry(it, struct session, changed);

        rec_key_session(&k, s->rec.s.no);
        touch(o, &k, &rc);
    }
    cfs_list_for_each(it, &o->unstored) {
        struct answer *a = cfs_list_entry(it, struct answer, unstored);

        rec_key_change(&k, REC_ANSWER, a->session->rec.s.no, a->no);
        touch(o, &k, &rc);
    }
    o->dead_near = 0;
    return rc < 0 ? rc : touch_dead(o);
}

/* -- the tail ------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* A digest of the numbers applied from acked_below on: a number carries its
 * content for ever, so equal numbers are equal changes. */
void session_tail(const struct session *s, uint8_t ret[static SESSION_TAIL])
{
    uint64_t *no = cfs_must_calloc((s->n_answers + 1) * sizeof *no);
    uint64_t n = 0;
    struct wr w = {ret};

    cfs_list_for_each(it, &s->applied) {
        const struct answer *a = cfs_list_entry(it, struct answer, link);

        if (a->no >= s->rec.acked)
            no[n++] = a->no;
    }
    qsort(no, n, sizeof *no, by_number);
    wr_u64(&w, s->rec.acked);
    wr_u64(&w, n);
    wr_u64(&w, n > 0 ? no[n - 1] : 0);
    wr_u64(&w, XXH3_64bits(no, n * sizeof *no));
    assert(w.at == ret + SESSION_TAIL);
    free(no);
}
