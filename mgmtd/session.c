/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - the sessions of clients, and what follows when one dies.
 *
 * Which sessions are live is what the members of the view say; a client's own
 * word is only a reason to ask them. The process behind a session that was
 * opened on this machine is watched (its id, and when it started).
 *
 * A death, at every member of the view, one step after the other:
 *   ASK    is it still open there? If nowhere, it was closed: the end.
 *   FENCE  it is refused from now on, durably, and the member gives a digest
 *          of the changes that not all members are known to have answered
 *   -      members whose digest is not the master's leave the view, and that
 *          view is settled
 *   CLOSE  its orphans are purged; the volume can be mounted again
 *
 * A step that fails (a member died, the view changed) leads back to the
 * first one, later: each of them may be repeated, by another mgmtd too. A
 * member that has closed it says so by an empty digest: then they had been
 * compared before, or the client had said goodbye, with nothing in flight.
 */
#include <stdio.h>

#include "mgmtd/silence.h"

#define WHO "session"
#define RETRY (500 * CFS_MS)
#define ANSWER_MS 4000u /* each step may be repeated */

enum step { ASK, FENCE, PART, CLOSE };

static void on_retry(struct cfs_timer *t)
{
    volume_changed(cfs_list_entry(t, struct session, retry)->vol);
}

static void forget_tails(struct session *s)
{
    for (unsigned i = 0; i < CFS_SET_MAX; i++) {
        free((void *)(uintptr_t)s->member[i].tail.p);
        s->member[i].tail = (struct cfs_blob){0};
    }
}

static void session_drop(struct session *s)
{
    cfs_list_del(&s->link);
    pidwatch_free(s->watch);
    cfs_timer_fini(&s->retry);
    forget_tails(s);
    free(s);
}

void sessions_free(struct volume *vol)
{
    cfs_list_for_each_safe(l, &vol->sessions)
        session_drop(cfs_list_entry(l, struct session, link));
}

void sessions_let_go(struct volume *vol)
{
    cfs_list_for_each(l, &vol->sessions) {
        struct session *s = cfs_list_entry(l, struct session, link);

        pidwatch_free(s->watch);
        s->watch = NULL;
    }
}

bool sessions_none(const struct volume *vol)
{
    return cfs_list_empty(&vol->sessions);
}

static struct session *find(struct volume *vol, uint32_t no)
{
    cfs_list_for_each(l, &vol->sessions) {
        struct session *s = cfs_list_entry(l, struct session, link);

        if (s->s.no == no)
            return s;
    }
    return NULL;
}

bool session_is_of(const struct volume *vol, uint32_t no, const char *owner)
{
    cfs_list_for_each(l, &vol->sessions) {
        const struct session *s = cfs_list_entry(l, struct session, link);

        if (s->s.no == no)
            return *owner && strcmp(s->s.owner, owner) == 0;
    }
    return false;
}

void session_declare_dead(struct volume *vol, uint32_t no, const char *why)
{
    struct session *s = find(vol, no);

    if (!s || s->dead)
        return;
    cfs_log_warning(vol->m->host.log, WHO, "volume %s: session %u of %s is "
                    "declared dead: %s", vol->name, no, s->s.node, why);
    s->dead = true;
    volume_changed(vol);
}

void sessions_kill(struct volume *vol)
{
    cfs_list_for_each(l, &vol->sessions)
        cfs_list_entry(l, struct session, link)->dead = true;
    volume_changed(vol);
}

/* -- hearing of them ----------------------------------------------------- */

static void on_process_ended(void *arg, int status)
{
    struct session *s = arg;

    s->watch = NULL;
    s->dead = true;
    cfs_log_info(s->vol->m->host.log, WHO, "volume %s: process %u of session "
                 "%u has ended", s->vol->name, s->s.pid, s->s.no);
    volume_changed(s->vol);
}

/* Whether the process behind it can be watched from here, and does live. */
static void watch_process(struct session *s)
{
    struct mgmtd *m = s->vol->m;

    bool this_node = strcmp(s->s.node, cfs_node_name()) == 0;

    /* Containers share a boot, but not their processes' ids. */
    if (this_node && cfs_uuid_eq(s->s.boot, m->boot))
        s->dead = pidwatch_new(m->host.loop, s->s.pid, s->s.pid_start,
                               on_process_ended, s, &s->watch) < 0;
    else if (this_node)
        s->dead = true; /* this machine has been started anew since */
    if (s->s.state == CFS_SESSION_FENCED)
        s->dead = true; /* somebody, an earlier mgmtd perhaps, has begun */
}

static void add(struct volume *vol, const struct cfs_session *live)
{
    struct session *s = mem_new(sizeof *s);

    s->vol = vol;
    s->s = *live;
    cfs_timer_init(vol->m->host.loop, &s->retry, on_retry);
    cfs_list_add_tail(&vol->sessions, &s->link);
    watch_process(s);
    cfs_log_info(vol->m->host.log, WHO, "volume %s: session %u of %s, process "
                 "%u, %s%s", vol->name, s->s.no, s->s.node, s->s.pid,
                 s->s.where, s->dead ? ": its process is gone" : "");
}

/* Whether @b says that session @no is live, or fenced and not closed. It
 * lists only so many. */
static bool lists(const struct brick *b, uint32_t no)
{
    if (b->info.n_sessions > CFS_INFO_SESSIONS)
        return true;
    for (unsigned i = 0; i < b->info.n_sessions; i++)
        if (b->info.session[i].no == no)
            return true;
    return false;
}

void sessions_heard(struct brick *b)
{
    struct volume *vol = b->vol;

    if (!view_has(vol, b))
        return;
    for (unsigned i = 0; i < b->info.n_sessions && i < CFS_INFO_SESSIONS; i++)
        if (b->info.session[i].state != CFS_SESSION_CLOSED &&
            !find(vol, b->info.session[i].no))
            add(vol, &b->info.session[i]);
    if (b != view_master(vol))
        return;
    cfs_list_for_each_safe(l, &vol->sessions) {
        struct session *s = cfs_list_entry(l, struct session, link);

        if (!s->dead && !s->busy && !lists(b, s->s.no))
            session_drop(s); /* a clean goodbye */
    }
    volume_changed(vol);
}

static void on_heard(struct brick *b, void *arg, int status,
                     struct cfs_blob body, const char *text)
{
    if (status == 0)
        sessions_heard(b);
}

void sessions_ask(struct volume *vol)
{
    for (unsigned i = 0; i < vol->n; i++)
        if (vol->brick[i].here)
            brick_refresh(&vol->brick[i], ANSWER_MS, on_heard, NULL);
}

/* -- a death ------------------------------------------------------------- */

static void next_step(struct session *s);

/* Calls hold the volume, and a session that is busy is not dropped. */
static struct session *answered(void *arg, int status)
{
    struct session *s = arg;

    assert(s->pending > 0);
    s->pending--;
    if (status < 0)
        s->failed = true;
    return s;
}

static void on_asked(struct brick *b, void *arg, int status,
                     struct cfs_blob body, const char *text)
{
    struct session *s = answered(arg, status);

    if (s->pending == 0)
        next_step(s);
}

static void on_fenced(struct brick *b, void *arg, int status,
                      struct cfs_blob body, const char *text)
{
    struct session *s = arg;
    struct mgmt_fence_reply msg;
    struct cfs_arena a;

    cfs_arena_init(&a);
    if (status == 0)
        status = mgmt_unpack_fence_reply(&a, body, &msg);
    if (status == 0) {
        struct cfs_blob *tail = &s->member[b->index].tail;

        tail->len = msg.tail.len;
        tail->p = mem_ok(malloc(msg.tail.len + 1));
        if (msg.tail.len > 0)
            memcpy((void *)(uintptr_t)tail->p, msg.tail.p, msg.tail.len);
    } else if (status != -ENOTCONN) {
        cfs_log_warning(s->vol->m->host.log, WHO, "%s cannot fence session "
                        "%u: %s", b->path, s->s.no, text);
    }
    cfs_arena_fini(&a);
    answered(s, status);
    if (s->pending == 0)
        next_step(s);
}

static void on_closed(struct brick *b, void *arg, int status,
                      struct cfs_blob body, const char *text)
{
    struct session *s = answered(arg, status);

    if (status < 0 && status != -ENOTCONN)
        cfs_log_warning(s->vol->m->host.log, WHO, "%s cannot close session "
                        "%u: %s", b->path, s->s.no, text);
    if (s->pending == 0)
        next_step(s);
}

/* Call every member of the view. No answer comes before all are out. */
static void call_members(struct session *s)
{
    struct volume *vol = s->vol;
    struct mgmt_session_no msg = {.session = s->s.no};
    struct cfs_arena a;

    s->failed = false;
    s->pending = 0;
    cfs_arena_init(&a);
    for (unsigned i = 0; i < vol->n; i++) {
        struct brick *b = &vol->brick[i];

        s->member[i].asked = view_has(vol, b);
        if (!s->member[i].asked)
            continue;
        s->pending++;
        if (s->step == ASK)
            brick_refresh(b, ANSWER_MS, on_asked, s);
        else if (s->step == FENCE)
            brick_call(b, RPC_BRICK_FENCE, mgmt_pack_session_no(&a, &msg),
                       ANSWER_MS, on_fenced, s);
        else
            brick_call(b, RPC_BRICK_CLOSE_SESSION,
                       mgmt_pack_session_no(&a, &msg), ANSWER_MS, on_closed,
                       s);
    }
    cfs_arena_fini(&a);
    assert(s->pending > 0);
    silence_doubt(vol); /* none of them should hold it up */
}

static bool open_somewhere(const struct session *s)
{
    const struct volume *vol = s->vol;

    for (unsigned i = 0; i < vol->n; i++)
        if (s->member[i].asked && lists(&vol->brick[i], s->s.no))
            return true;
    return false;
}

/* Members whose digest is not the master's differ. */
static void compare_tails(struct session *s)
{
    struct volume *vol = s->vol;
    const struct brick *master = view_master(vol);
    const struct cfs_blob *want;

    if (!master || !s->member[master->index].asked) {
        s->failed = true; /* the view changed meanwhile */
        return;
    }
    for (unsigned i = 0; i < vol->n; i++)
        if (s->member[i].asked && s->member[i].tail.len == 0)
            return;
    want = &s->member[master->index].tail;
    for (unsigned i = 0; i < vol->n; i++) {
        const struct cfs_blob *tail = &s->member[i].tail;

        if (!s->member[i].asked || !view_has(vol, &vol->brick[i]))
            continue;
        if (tail->len == want->len &&
            (tail->len == 0 || memcmp(tail->p, want->p, tail->len) == 0))
            continue;
        cfs_log_warning(vol->m->host.log, WHO, "%s differs from %s in what "
                        "session %u changed last: it leaves the view",
                        vol->brick[i].path, master->path, s->s.no);
        vol->brick[i].differs = true;
    }
}

static void rest(struct session *s)
{
    s->busy = false;
    s->step = ASK;
    forget_tails(s);
    cfs_timer_start(&s->retry, RETRY);
}

static void finish(struct session *s)
{
    struct volume *vol = s->vol;

    cfs_log_info(vol->m->host.log, WHO, "volume %s: session %u of %s, process "
                 "%u, is closed", vol->name, s->s.no, s->s.node, s->s.pid);
    session_drop(s);
    volume_changed(vol);
}

static void next_step(struct session *s)
{
    if (s->failed) {
        rest(s);
        return;
    }
    switch ((enum step)s->step) {
    case ASK:
        if (!open_somewhere(s)) {
            finish(s);
            return;
        }
        s->step = FENCE;
        forget_tails(s);
        call_members(s);
        break;
    case FENCE:
        compare_tails(s);
        forget_tails(s);
        if (s->failed) {
            rest(s);
            return;
        }
        s->step = PART; /* sessions_look() goes on */
        volume_changed(s->vol);
        break;
    case PART:
        break;
    case CLOSE:
        finish(s);
        break;
    }
}

/* All members of the view are here, have the view, and none differs. */
static bool ready(const struct volume *vol)
{
    if (vol->state != VOL_STARTED || vol->deciding || !view_settled(vol))
        return false;
    for (unsigned i = 0; i < vol->n; i++)
        if (view_has(vol, &vol->brick[i]) &&
            (!vol->brick[i].here || vol->brick[i].differs))
            return false;
    return true;
}

void sessions_look(struct volume *vol)
{
    if (!ready(vol))
        return;
    cfs_list_for_each(l, &vol->sessions) {
        struct session *s = cfs_list_entry(l, struct session, link);

        if (s->busy && s->step == PART) {
            s->step = CLOSE;
            call_members(s);
        } else if (s->dead && !s->busy && !cfs_timer_active(&s->retry)) {
            s->busy = true;
            s->step = ASK;
            call_members(s);
        }
    }
}
