/* SPDX-License-Identifier: Apache-2.0 */
/* change_core.c - the life of a change. No I/O; see replicate_core.h.
 *
 *   NAMES -> SLOTS -> LOOKING -> SPACE -> READY -> SENT -> (settled)
 *     ^                                              |
 *     +---- every member: not at that version, ------+
 *           or a name is something else
 *
 *   SLOTS    a place in the queue of each inode, taken in order of gfid: who
 *            is first in all of them goes on
 *   LOOKING  versions that the table does not know are asked for, one by one
 *   READY    waits until every member of the view is attached
 *   SENT     one leg to each member. A leg that is lost goes out again when
 *            its member is attached again; in a new view all legs go out
 *            again, same number, same content. Settled when all answered in
 *            the present epoch:
 *              the same from all      that is the result
 *              not the same           whoever could not do what others did
 *                                     must leave: wait for the next view
 *
 * Whoever waits longer than network.wait is answered: -ENOTCONN when nothing
 * was sent, else -EIO, and then the change goes on as an orphan until it is
 * settled: members that differ would never agree again.
 */
#include "xlators/cluster/replicate/replicate_int.h"

static void advance(struct rep_core *c, struct rep_change *ch);

uint64_t rep_acked_below(const struct rep_core *c)
{
    if (cfs_list_empty(&c->numbered))
        return c->next_no;
    return cfs_list_entry(c->numbered.next, struct rep_change, numbered)
        ->wire.no;
}

/* -- slots ----------------------------------------------------------------- */

/* A bucket holds places of several inodes, in order of arrival. The first of
 * an inode has it. */
static struct cfs_list *bucket_of(struct rep_core *c, struct cfs_gfid g)
{
    uint32_t h = 0;

    for (size_t i = 0; i < sizeof g.b; i++)
        h = (h ^ g.b[i]) * 16777619u;
    return &c->slots[h % REP_SLOT_BUCKETS];
}

static struct rep_slot *slot_first(struct rep_core *c, struct cfs_gfid g)
{
    struct cfs_list *b = bucket_of(c, g);

    cfs_list_for_each(it, b) {
        struct rep_slot *s = cfs_list_entry(it, struct rep_slot, link);

        if (cfs_gfid_eq(s->gfid, g))
            return s;
    }
    return NULL;
}

/* Touched inodes in the order in which slots are taken. */
static void sort_slots(struct rep_change *ch)
{
    for (unsigned i = 0; i < ch->wire.n; i++) {
        unsigned at = i;

        while (at > 0 && cfs_gfid_cmp(ch->wire.touch[i].gfid,
                                      ch->slot[at - 1].gfid) < 0) {
            ch->slot[at].gfid = ch->slot[at - 1].gfid;
            at--;
        }
        ch->slot[at].gfid = ch->wire.touch[i].gfid;
        ch->slot[i].ch = ch;
    }
}

/* True: all are held. Else it is queued for the next one that it needs. */
static bool slots_take(struct rep_core *c, struct rep_change *ch)
{
    if (ch->n_slots > 0 &&
        slot_first(c, ch->slot[ch->n_slots - 1].gfid)->ch != ch)
        return false;
    while (ch->n_slots < ch->wire.n) {
        struct rep_slot *s = &ch->slot[ch->n_slots];

        cfs_list_add_tail(bucket_of(c, s->gfid), &s->link);
        ch->n_slots++;
        if (slot_first(c, s->gfid) != s)
            return false;
    }
    return true;
}

/* Leave all queues; whoever comes first now goes on. */
static void slots_leave(struct rep_core *c, struct rep_change *ch)
{
    unsigned n = ch->n_slots;

    for (unsigned i = 0; i < n; i++)
        cfs_list_del(&ch->slot[i].link);
    ch->n_slots = 0;
    for (unsigned i = 0; i < n; i++) {
        struct rep_slot *next = slot_first(c, ch->slot[i].gfid);

        if (next && next->ch->state == REP_CH_SLOTS)
            advance(c, next->ch);
    }
}

/* -- ends ------------------------------------------------------------------ */

/* Nothing more will happen to it but the return of legs that are out. */
static void retire(struct rep_core *c, struct rep_change *ch)
{
    ch->state = REP_CH_DYING;
    cfs_list_del(&ch->waiting);
    if (ch->flying == 0) {
        cfs_list_del(&ch->link);
        c->io->release(c, ch);
    }
    rep_check_idle(c);
}

static void unnumber(struct rep_core *c, struct rep_change *ch)
{
    if (cfs_list_empty(&ch->numbered))
        return;
    cfs_list_del(&ch->numbered);
    assert(c->flying_bytes >= ch->size);
    c->flying_bytes -= ch->size;
}

static void answer(struct rep_core *c, struct rep_change *ch, int status,
                   int m)
{
    assert(!ch->answered && c->n_changes > 0);
    ch->answered = true;
    c->n_changes--;
    c->io->answer(c, ch, status, m);
}

/* It is over, with this result. */
static void end(struct rep_core *c, struct rep_change *ch, int status, int m)
{
    unnumber(c, ch);
    if (ch->answered)
        c->n_orphans--;
    else
        answer(c, ch, status, m);
    slots_leave(c, ch);
    retire(c, ch);
}

static void forget_touched(struct rep_core *c, const struct rep_change *ch)
{
    for (unsigned i = 0; i < ch->wire.n; i++)
        rep_versions_forget(c->versions, ch->wire.touch[i].gfid);
}

/* Nobody waits for it any more. What was sent must still be settled, unless
 * it changes nothing. */
static void give_up(struct rep_core *c, struct rep_change *ch)
{
    if (ch->state != REP_CH_SENT || ch->sync) {
        end(c, ch, ch->state == REP_CH_SENT ? -EIO : -ENOTCONN, -1);
        return;
    }
    rep_note(c, CFS_LOG_WARNING, "change %llu waited for too long: answered "
             "EIO, repeated until members agree",
             (unsigned long long)ch->wire.no);
    c->n_orphans++;
    answer(c, ch, -EIO, -1);
    rep_check_idle(c);
}

static void wait_for_set(struct rep_core *c, struct rep_change *ch)
{
    if (ch->since == 0)
        ch->since = rep_wait_since(c, ch->started);
    cfs_list_del(&ch->waiting);
    cfs_list_add_tail(&c->waiting, &ch->waiting);
    if (!ch->answered)
        rep_due(c, ch->since + c->wait);
}

/* -- settling -------------------------------------------------------------- */

/* Look again what there is, and send it as another change. A leg to a member
 * that left the view may still be out: it belongs to an older epoch. */
static void start_over(struct rep_core *c, struct rep_change *ch)
{
    unnumber(c, ch);
    slots_leave(c, ch);
    ch->state = REP_CH_NAMES;
    ch->wire.n = 0;
    for (unsigned i = 0; i < c->n; i++)
        if (ch->leg[i].state == REP_LEG_ANSWERED)
            ch->leg[i].state = REP_LEG_IDLE;
    c->io->again(c, ch);
}

static void settle_same(struct rep_core *c, struct rep_change *ch, int status,
                        unsigned m)
{
    if ((status == -CFS_E_VERSION || status == -CFS_E_CONFLICT) &&
        !ch->sync) {
        forget_touched(c, ch);
        if (ch->answered || ++ch->tries >= REP_TRIES) {
            end(c, ch, -EIO, -1);
            return;
        }
        start_over(c, ch);
        return;
    }
    if (status == 0 && !ch->sync) {
        for (unsigned i = 0; i < ch->wire.n; i++)
            rep_learn(c, ch->wire.touch[i].gfid, ch->wire.touch[i].make);
        rep_clear_push(c, ch);
    } else if (status < 0 && cfs_err_class(status) == EIO) {
        forget_touched(c, ch);
    } else if (status == -CFS_E_VERSION) {
        status = -EIO; /* an fsync: what it should make durable is gone */
    }
    end(c, ch, status, (int)m);
}

/* Whether the answer of member @i counts. */
static bool counts(const struct rep_core *c, const struct rep_change *ch,
                   unsigned i)
{
    return c->m[i].in_view &&
           (c->m[i].in_sync || ch->leg[i].status != -CFS_E_BEHIND);
}

/* The member that should leave, one after the other: where one could do it,
 * who could not; else who failed for a reason of its own; else who says
 * something else than the first. */
static unsigned who_differs(const struct rep_core *c,
                            const struct rep_change *ch)
{
    unsigned model = c->n;

    for (unsigned i = 0; i < c->n; i++) {
        int status = ch->leg[i].status;

        if (!counts(c, ch, i))
            continue;
        if (model == c->n || status == 0 ||
            (cfs_err_class(ch->leg[model].status) == EIO &&
             cfs_err_class(status) != EIO))
            model = i;
        if (status == 0)
            break;
    }
    for (unsigned i = 0; i < c->n; i++)
        if (counts(c, ch, i) && ch->leg[i].status != ch->leg[model].status)
            return i;
    return c->n;
}

/* Every member of the view answered in this epoch. */
static void settle(struct rep_core *c, struct rep_change *ch)
{
    unsigned first = c->n;
    bool same = true;

    for (unsigned i = 0; i < c->n; i++) {
        const struct rep_leg *leg = &ch->leg[i];

        if (!counts(c, ch, i))
            continue;
        if (first == c->n)
            first = i;
        else if (leg->status != ch->leg[first].status)
            same = false;
    }
    if (same && first < c->n) {
        settle_same(c, ch, ch->leg[first].status, first);
        return;
    }
    if (!ch->told) {
        ch->told = true;
        for (unsigned i = 0; i < c->n; i++)
            if (c->m[i].in_view)
                rep_note(c, CFS_LOG_WARNING, "members disagree on change "
                         "%llu: member %u says: %s",
                         (unsigned long long)ch->wire.no, i,
                         cfs_err_str(ch->leg[i].status));
    }
    if (first < c->n)
        rep_differs(c, who_differs(c, ch));
    wait_for_set(c, ch);
}

/* -- sending --------------------------------------------------------------- */

/* Times of changes strictly increase, whatever the clock does. */
static struct cfs_time next_time(struct rep_core *c)
{
    struct cfs_time t = c->io->realtime(c);

    if (cfs_time_cmp(t, c->last_time) <= 0) {
        t = c->last_time;
        if (++t.nsec == 1000000000) {
            t.nsec = 0;
            t.sec++;
        }
    }
    return c->last_time = t;
}

static void number(struct rep_core *c, struct rep_change *ch)
{
    ch->state = REP_CH_SENT;
    if (ch->sync)
        return;
    ch->wire.session = c->session.no;
    ch->wire.no = c->next_no++;
    ch->wire.now = next_time(c);
    for (unsigned i = 0; i < ch->wire.n; i++) {
        struct cfs_touch *t = &ch->wire.touch[i];

        t->make = t->expect;
        if (ch->kind[i] != REP_TOUCH_KEEP)
            t->make = (struct cfs_version){c->view.epoch, t->expect.seq + 1};
    }
    cfs_list_add_tail(&c->numbered, &ch->numbered);
    /* A repeat says the same: members that have applied the same changes then
     * remember the same answers, which is what is compared at our death. */
    ch->wire.acked_below = rep_acked_below(c);
    c->flying_bytes += ch->size;
}

/* Send what must go out, as far as members are there. */
static void drive_legs(struct rep_core *c, struct rep_change *ch)
{
    unsigned open = 0;
    bool blocked = false;

    for (unsigned i = 0; i < c->n; i++) {
        struct rep_leg *leg = &ch->leg[i];

        if (!c->m[i].in_view)
            continue;
        if (leg->state == REP_LEG_ANSWERED && leg->epoch == c->view.epoch)
            continue;
        open++;
        if (leg->state == REP_LEG_FLYING)
            continue;
        if (!rep_ready(c, i)) {
            blocked = true;
            continue;
        }
        leg->state = REP_LEG_FLYING;
        leg->epoch = c->view.epoch;
        leg->gen = c->m[i].gen;
        ch->flying++;
        c->io->send(c, ch, i);
    }
    if (blocked || c->foreign)
        wait_for_set(c, ch);
    else if (open == 0)
        settle(c, ch);
}

/* -- getting ready --------------------------------------------------------- */

/* The touched inodes' versions; false: one is being asked for. */
static bool versions_known(struct rep_core *c, struct rep_change *ch)
{
    for (unsigned i = 0; i < ch->wire.n; i++) {
        struct cfs_touch *t = &ch->wire.touch[i];

        t->expect = (struct cfs_version){0};
        if (ch->kind[i] == REP_TOUCH_NEW ||
            rep_versions_get(c->versions, t->gfid, &t->expect))
            continue;
        ch->state = REP_CH_LOOKING;
        ch->look = t->gfid;
        c->io->look(c, ch, t->gfid);
        return false;
    }
    return true;
}

/* Whether @size bytes more fit on the fullest member, beside what is under
 * way. Where nothing is known, the brick decides. */
static bool fits(const struct rep_core *c, uint64_t size)
{
    for (unsigned i = 0; i < c->n; i++) {
        const struct cfs_post *p = &c->m[i].post;

        if (c->m[i].in_view && p->epoch != 0 &&
            p->free < c->flying_bytes + size)
            return false;
    }
    return true;
}

/* 0: go on; 1: figures are being asked for; -ENOSPC. */
static int space_known(struct rep_core *c, struct rep_change *ch)
{
    if (ch->size == 0 || fits(c, ch->size))
        return 0;
    if (ch->space_asked)
        return rep_polling(c) ? 1 : -ENOSPC;
    ch->space_asked = true;
    return rep_poll(c) ? 1 : -ENOSPC;
}

/* The set is usable: number and send, unless there is no room. */
static void try_send(struct rep_core *c, struct rep_change *ch)
{
    int rc;

    /* The session may be another since the versions were looked up. */
    if (!versions_known(c, ch))
        return;
    ch->state = REP_CH_READY;
    if (!c->usable) {
        wait_for_set(c, ch);
        return;
    }
    rc = space_known(c, ch);
    if (rc < 0) {
        end(c, ch, rc, -1);
    } else if (rc > 0) {
        ch->state = REP_CH_SPACE;
        wait_for_set(c, ch);
    } else {
        number(c, ch);
        drive_legs(c, ch);
    }
}

static void advance(struct rep_core *c, struct rep_change *ch)
{
    cfs_list_del(&ch->waiting);
    switch (ch->state) {
    case REP_CH_SLOTS:
        if (slots_take(c, ch))
            try_send(c, ch);
        else
            rep_due(c, c->now + c->wait);
        return;
    case REP_CH_READY:
    case REP_CH_SPACE:
        try_send(c, ch);
        return;
    case REP_CH_SENT:
        drive_legs(c, ch);
        return;
    case REP_CH_NAMES:
    case REP_CH_LOOKING:
    case REP_CH_DYING:
        return;
    }
}

/* -- what the owner tells -------------------------------------------------- */

void rep_change_add(struct rep_change *ch, struct cfs_gfid g,
                    enum rep_touch_kind kind)
{
    if (cfs_gfid_is_null(g))
        return;
    for (unsigned i = 0; i < ch->wire.n; i++)
        if (cfs_gfid_eq(ch->wire.touch[i].gfid, g))
            return;
    assert(ch->wire.n < CFS_TOUCH_MAX);
    ch->kind[ch->wire.n] = kind;
    ch->wire.touch[ch->wire.n++] = (struct cfs_touch){.gfid = g};
}

/* Known to the core from its first start, or its failure before that. */
static void enlist(struct rep_core *c, struct rep_change *ch)
{
    if (ch->link.next)
        return;
    ch->started = c->now;
    cfs_list_init(&ch->waiting);
    cfs_list_init(&ch->numbered);
    cfs_list_add_tail(&c->changes, &ch->link);
    c->n_changes++;
}

void rep_change_start(struct rep_core *c, struct rep_change *ch, uint64_t now)
{
    c->now = now;
    assert(ch->state == REP_CH_NAMES);
    enlist(c, ch);
    sort_slots(ch);
    ch->state = REP_CH_SLOTS;
    advance(c, ch);
}

void rep_change_fail(struct rep_core *c, struct rep_change *ch, int status,
                     uint64_t now)
{
    c->now = now;
    assert(ch->state == REP_CH_NAMES);
    enlist(c, ch);
    end(c, ch, status, -1);
}

void rep_change_looked(struct rep_core *c, struct rep_change *ch, int status,
                       const struct cfs_attr *attr, uint64_t now)
{
    c->now = now;
    assert(ch->state == REP_CH_LOOKING);
    if (status == 0 && attr->version.seq == 0)
        status = -EIO;
    if (status < 0) {
        end(c, ch, status, -1);
        return;
    }
    rep_learn(c, ch->look, attr->version);
    ch->state = REP_CH_READY;
    advance(c, ch);
}

void rep_change_answered(struct rep_core *c, struct rep_change *ch,
                         unsigned m, int status, const struct cfs_post *post,
                         uint64_t now)
{
    struct rep_leg *leg = &ch->leg[m];

    c->now = now;
    rep_post(c, m, post);
    assert(leg->state == REP_LEG_FLYING && ch->flying > 0);
    ch->flying--;
    leg->state = REP_LEG_IDLE;
    if (rep_not_an_answer(status)) {
        rep_doubt(c, m, leg->gen, status);
    } else {
        leg->state = REP_LEG_ANSWERED;
        leg->status = status;
        leg->pos = post->pos;
    }
    if (ch->state == REP_CH_DYING)
        retire(c, ch);
    else
        advance(c, ch);
}

/* -- what the set tells ---------------------------------------------------- */

void rep_changes_drive(struct rep_core *c)
{
    struct cfs_list todo;
    struct cfs_list *it;

    cfs_list_init(&todo);
    cfs_list_splice(&todo, &c->waiting);
    while ((it = cfs_list_pop(&todo)) != NULL)
        advance(c, cfs_list_entry(it, struct rep_change, waiting));
}

void rep_changes_new_view(struct rep_core *c)
{
    cfs_list_for_each(it, &c->changes) {
        struct rep_change *ch = cfs_list_entry(it, struct rep_change, link);

        if (ch->state == REP_CH_SENT && cfs_list_empty(&ch->waiting))
            cfs_list_add_tail(&c->waiting, &ch->waiting);
    }
}

/* Since when @ch waits for the set, itself or behind another that does. */
static uint64_t waits_since(struct rep_core *c, const struct rep_change *ch)
{
    uint64_t started = ch->started;

    while (ch->state == REP_CH_SLOTS)
        ch = slot_first(c, ch->slot[ch->n_slots - 1].gfid)->ch;
    if (cfs_list_empty(&ch->waiting))
        return REP_NEVER;
    return ch->since > started ? ch->since : started;
}

/* When the patience of who waits for @ch ends; REP_NEVER: not at all. */
static uint64_t patience(struct rep_core *c, const struct rep_change *ch)
{
    uint64_t since;

    if (ch->answered || ch->state == REP_CH_DYING)
        return REP_NEVER;
    since = waits_since(c, ch);
    return since == REP_NEVER ? REP_NEVER : since + c->wait;
}

void rep_changes_expire(struct rep_core *c)
{
    struct cfs_list late;
    struct cfs_list *it;

    cfs_list_init(&late);
    cfs_list_for_each_safe(at, &c->changes) {
        struct rep_change *ch = cfs_list_entry(at, struct rep_change, link);
        uint64_t until = patience(c, ch);

        if (c->now < until) {
            rep_due(c, until);
            continue;
        }
        cfs_list_del(&ch->link);
        cfs_list_add_tail(&late, &ch->link);
    }
    while ((it = cfs_list_pop(&late)) != NULL) {
        struct rep_change *ch = cfs_list_entry(it, struct rep_change, link);

        cfs_list_add_tail(&c->changes, it);
        /* The end of one before it may have let it go on. */
        if (c->now >= patience(c, ch))
            give_up(c, ch);
    }
}

void rep_changes_abandon(struct rep_core *c)
{
    struct cfs_list sent;
    struct cfs_list *it;

    cfs_list_init(&sent);
    cfs_list_splice(&sent, &c->numbered);
    while ((it = cfs_list_pop(&sent)) != NULL) {
        struct rep_change *ch = cfs_list_entry(it, struct rep_change, numbered);

        c->flying_bytes -= ch->size;
        end(c, ch, -EIO, -1);
    }
    assert(c->flying_bytes == 0);
}

void rep_drop_all(struct rep_core *c, uint64_t now)
{
    c->now = now;
    rep_changes_abandon(c);
}
