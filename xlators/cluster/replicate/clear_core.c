/* SPDX-License-Identifier: Apache-2.0 */
/* clear_core.c - which changes every brick of the set has durably, so that
 * they may leave dirty indexes and operation logs (I6, I7). No I/O; see
 * replicate_core.h.
 *
 * Settled changes wait in a ring, in order, with the journal position that
 * each brick gave them. The oldest leaves when every brick's durable position
 * has passed it; batches go to all bricks, one at a time, and are repeated
 * until all have answered. While a brick of the set is out, nothing is
 * cleared and nothing remembered: the bricks' own indexes are what heal works
 * from.
 *
 * A brick that restarted and is in sync has every change that was
 * acknowledged, and a start makes durable what it finds: what was in the ring
 * before counts as durable there once the new incarnation has spoken.
 */
#include "xlators/cluster/replicate/replicate_int.h"

#include <endian.h>
#include <stdlib.h>

static struct rep_done *at(struct rep_clear *cl, uint64_t i)
{
    return &cl->ring[i & (cl->cap - 1)];
}

/* Twice the room; false: at the bound, or no memory. */
static bool grow(struct rep_clear *cl)
{
    uint32_t cap = cl->cap ? cl->cap * 2 : 256;
    struct rep_done *ring;

    if (cap > REP_CLEAR_MAX)
        return false;
    ring = calloc(cap, sizeof *ring);
    if (!ring)
        return false;
    for (uint64_t i = cl->head; i < cl->head + cl->count; i++)
        ring[i & (cap - 1)] = *at(cl, i);
    free(cl->ring);
    cl->ring = ring;
    cl->cap = cap;
    return true;
}

static void push(struct rep_core *c, const struct rep_change *ch,
                 const struct cfs_touch *t)
{
    struct rep_clear *cl = &c->clear;
    struct rep_done *d;

    if (cl->count == cl->cap && !grow(cl)) {
        /* Its entries stay on the bricks until the inode changes again. */
        cl->head++;
        cl->count--;
        cl->left_out++;
    }
    d = at(cl, cl->head + cl->count++);
    *d = (struct rep_done){ch->wire.no, t->gfid, t->make, {0}};
    for (unsigned i = 0; i < c->n; i++)
        d->pos[i] = ch->leg[i].pos;
}

void rep_clear_push(struct rep_core *c, const struct rep_change *ch)
{
    struct rep_clear *cl = &c->clear;

    if (c->view.n_sync < c->n)
        return;
    for (unsigned i = 0; i < ch->wire.n; i++)
        if (ch->kind[i] != REP_TOUCH_KEEP)
            push(c, ch, &ch->wire.touch[i]);
    if (cl->at == 0 && cl->count > 0)
        cl->at = c->now + REP_CLEAR_EVERY;
    if (cl->at)
        rep_due(c, cl->at);
    if (cl->count > REP_CLEAR_MAX / 2 && !cl->flushing) {
        cl->flushing = true;
        c->io->flush(c);
    }
}

void rep_clear_drop(struct rep_core *c)
{
    struct rep_clear *cl = &c->clear;

    cl->head += cl->count;
    cl->count = 0;
    cl->out = false;
    cl->at = 0;
    cl->sent_below = 0;
}

static bool durable_everywhere(struct rep_core *c, uint64_t i)
{
    const struct rep_done *d = at(&c->clear, i);

    for (unsigned k = 0; k < c->n; k++) {
        const struct rep_member *m = &c->m[k];

        if (m->post.epoch == 0)
            return false;
        if (i >= m->renewed_at && m->post.durable <= d->pos[k])
            return false;
    }
    return true;
}

static void pack(struct rep_clear *cl, const struct rep_done *d)
{
    uint8_t *p = cl->packed + (size_t)cl->n++ * REP_CLEAR_PACKED;
    uint64_t v[2] = {htole64(d->version.epoch), htole64(d->version.seq)};

    memcpy(p, d->gfid.b, sizeof d->gfid.b);
    memcpy(p + sizeof d->gfid.b, v, sizeof v);
}

/* The next batch; false: there is nothing to say. */
static bool fill(struct rep_core *c)
{
    struct rep_clear *cl = &c->clear;

    cl->n = 0;
    while (cl->count > 0 && cl->n < REP_CLEAR_BATCH &&
           durable_everywhere(c, cl->head)) {
        const struct rep_done *d = at(cl, cl->head);
        struct cfs_version now = rep_known(c, d->gfid);

        /* Changed again: a later entry speaks for it. */
        if (cfs_version_cmp(now, d->version) <= 0)
            pack(cl, d);
        cl->head++;
        cl->count--;
    }
    cl->below = rep_acked_below(c);
    for (uint64_t i = cl->head; i < cl->head + cl->count; i++)
        if (at(cl, i)->no < cl->below)
            cl->below = at(cl, i)->no;
    return cl->n > 0 || cl->below > cl->sent_below;
}

static void send(struct rep_core *c)
{
    for (unsigned i = 0; i < c->n; i++)
        if (!c->m[i].cleared) {
            c->m[i].clearing = true;
            c->io->clear(c, i);
        }
}

bool rep_clear_now(struct rep_core *c, uint64_t now)
{
    struct rep_clear *cl = &c->clear;

    c->now = now;
    if (!rep_complete(c))
        return false;
    for (unsigned i = 0; i < c->n; i++)
        if (c->m[i].clearing)
            return true;
    if (!cl->out && !fill(c))
        return cl->count > 0 && rep_poll(c);
    if (!cl->out)
        for (unsigned i = 0; i < c->n; i++)
            c->m[i].cleared = false;
    cl->out = true;
    send(c);
    return true;
}

void rep_cleared(struct rep_core *c, unsigned m, int status, uint64_t now)
{
    struct rep_clear *cl = &c->clear;

    c->now = now;
    assert(c->m[m].clearing);
    c->m[m].clearing = false;
    if (!cl->out)
        return; /* dropped meanwhile */
    if (status == 0)
        c->m[m].cleared = true;
    for (unsigned i = 0; i < c->n; i++)
        if (!c->m[i].cleared)
            return; /* the timer repeats what failed */
    cl->out = false;
    cl->sent_below = cl->below;
    if (cl->n == REP_CLEAR_BATCH)
        rep_clear_now(c, now);
}

void rep_flushed(struct rep_core *c, int status, uint64_t now)
{
    c->now = now;
    c->clear.flushing = false;
    if (status == 0)
        rep_clear_now(c, now);
}

void rep_clear_tick(struct rep_core *c)
{
    struct rep_clear *cl = &c->clear;

    if (cl->at == 0)
        return;
    if (c->now >= cl->at) {
        cl->at = 0;
        rep_clear_now(c, c->now);
        if (cl->count > 0)
            rep_poll(c); /* idle: nobody else tells positions */
        if (cl->count > 0 || cl->out)
            cl->at = c->now + REP_CLEAR_EVERY;
    }
    if (cl->at)
        rep_due(c, cl->at);
}
