/* SPDX-License-Identifier: Apache-2.0 */
/* presence.c - sessions whose process nobody can watch: on a machine without
 * mgmtd, or on a node that is lost.
 *
 * Every few seconds the node of the set's master asks the members of the view
 * which sessions have a connection, and when each was heard last (BRICK.
 * CLIENTS; clients ping). One that no member has heard for a dead time is
 * declared dead; what follows is session.c's. Sessions of processes on this
 * machine are left to their pidwatch, which is never wrong.
 *
 * Judged is only when every member of the view has answered: one that did not
 * may be the one that hears the client, and is out of the view soon if it does
 * not come back. And only time counts in which all could have heard it: after a
 * round that failed, or rounds that were far apart (this process stood still),
 * the counting begins anew, as a client that lost its connections meanwhile, or
 * whose bricks were started anew, takes a moment to come back. The judgement is
 * of the time at which the round began: this process may have stood still since.
 */
#include <stdio.h>

#include "mgmtd/node.h"

#define EVERY     (3 * CFS_SEC)
#define ANSWER_MS 2500u
#define DEAD_TIME (12 * CFS_SEC)
#define GAP       (8 * CFS_SEC) /* more than from one round to the next */
#define ENTRY     8u /* bytes: session, ms since it was heard */

/* One round of questions; it holds the volume. */
struct round {
    struct volume *vol;
    unsigned       pending;
    bool           failed; /* a member did not answer */
    uint64_t       began;
};

static bool is_wanted(struct volume *vol)
{
    const struct brick *master = view_master(vol);

    if (vol->gone || vol->state != VOL_STARTED || !master ||
        !brick_is_local(master))
        return false;
    cfs_list_for_each(l, &vol->sessions) {
        const struct session *s = cfs_list_entry(l, struct session, link);

        if (!s->watch && !s->dead)
            return true;
    }
    return false;
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static void heard(struct volume *vol, uint32_t no, uint64_t at)
{
    cfs_list_for_each(l, &vol->sessions) {
        struct session *s = cfs_list_entry(l, struct session, link);

        if (s->s.no == no && at > s->heard)
            s->heard = at;
    }
}

static void judge(struct round *r)
{
    struct volume *vol = r->vol;
    const bool anew = r->failed || r->began - vol->looked > GAP;

    vol->looked = r->began;
    cfs_list_for_each(l, &vol->sessions) {
        struct session *s = cfs_list_entry(l, struct session, link);

        if (s->watch || s->dead)
            continue;
        if (s->heard == 0 || anew)
            s->heard = r->began; /* from when we look at it */
        if (r->began > s->heard && r->began - s->heard > DEAD_TIME)
            session_declare_dead(vol, s->s.no, "no brick has heard its "
                                                  "client for 12 s");
    }
}

static void round_end(struct round *r)
{
    struct volume *vol = r->vol;

    if (--r->pending > 0)
        return;
    vol->rounds = false;
    judge(r);
    free(r);
    presence_look(vol);
    volume_unref(vol);
}

static void on_clients(struct brick *b, void *arg, int status,
                       struct cfs_blob body, const char *text)
{
    struct round *r = arg;
    struct mgmt_clients_reply msg;
    struct cfs_arena a;

    cfs_arena_init(&a);
    if (status == 0 && mgmt_unpack_clients_reply(&a, body, &msg) == 0) {
        const uint8_t *p = msg.clients.p;

        if (msg.clients.len >= CFS_CLIENTS_MAX * ENTRY)
            r->failed = true; /* there are more: of those it says nothing */
        for (uint32_t i = 0; i + ENTRY <= msg.clients.len; i += ENTRY) {
            uint64_t idle = le32(p + i + 4) * CFS_MS;

            heard(r->vol, le32(p + i), r->began > idle ? r->began - idle : 0);
        }
    } else {
        r->failed = true;
    }
    cfs_arena_fini(&a);
    round_end(r);
}

static void on_timer(struct cfs_timer *t)
{
    struct volume *vol = cfs_list_entry(t, struct volume, presence);
    struct round *r;

    if (!is_wanted(vol))
        return;
    r = mem_new(sizeof *r);
    r->vol = volume_ref(vol);
    r->began = cfs_now_fresh(vol->m->host.loop);
    r->pending = 1;
    vol->rounds = true;
    for (unsigned i = 0; i < vol->n; i++) {
        if (!view_has(vol, &vol->brick[i]))
            continue;
        if (!vol->brick[i].here) {
            r->failed = true;
            continue;
        }
        r->pending++;
        brick_call(&vol->brick[i], RPC_BRICK_CLIENTS, (struct cfs_blob){0},
                   ANSWER_MS, on_clients, r);
    }
    round_end(r);
}

void presence_look(struct volume *vol)
{
    if (!vol->rounds && !cfs_timer_active(&vol->presence) && is_wanted(vol))
        cfs_timer_start(&vol->presence, EVERY);
}

void presence_init(struct volume *vol)
{
    cfs_timer_init(vol->m->host.loop, &vol->presence, on_timer);
}

void presence_fini(struct volume *vol)
{
    cfs_timer_fini(&vol->presence);
}
