/* SPDX-License-Identifier: Apache-2.0 */
/* set_core.c - the set as this client sees it: view, session, attachment, and
 * whether it can be served. No I/O; see replicate_core.h.
 *
 *   NONE --master is there--> OPENING --number--> OPEN --fenced--> NONE
 *                                |
 *                                +--in use, never served--> REFUSED
 *
 * A member is attached for one connection and one epoch: after a reconnect,
 * and in each new view, session_attach is asked again before anything else.
 * So a member that is attached has this view, this session, and this line.
 */
#include "xlators/cluster/replicate/replicate_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define RETRY_SOON (50 * CFS_MS)  /* a brick that has not the view yet */
#define RETRY_LATE (1 * CFS_SEC)  /* anything else */

/* Somebody has the volume. A master pings whom it has not heard for a moment,
 * and says whether it has within a second: of a node that was lost a moment ago
 * that is true at first, and not at the third question. */
#define IN_USE_AGAIN (700 * CFS_MS)
#define IN_USE_SURE  3u
#define WANT_EVERY (500 * CFS_MS) /* mgmtd is asked for a view */

int rep_core_init(struct rep_core *c, const struct rep_io *io, void *owner,
                  const struct cfs_uuid *bricks, unsigned n, uint64_t now)
{
    assert(n > 0 && n <= CFS_SET_MAX);
    *c = (struct rep_core){
        .io = io,
        .owner = owner,
        .n = n,
        .wait = 15 * CFS_SEC,
        .now = now,
        .due = REP_NEVER,
        .down_since = now,
        .first_by = REP_NEVER,
        .next_no = 1,
    };
    for (unsigned i = 0; i < n; i++)
        c->m[i].brick = bricks[i];
    cfs_list_init(&c->changes);
    cfs_list_init(&c->waiting);
    cfs_list_init(&c->numbered);
    cfs_list_init(&c->reads);
    cfs_list_init(&c->reads_waiting);
    for (unsigned i = 0; i < REP_SLOT_BUCKETS; i++)
        cfs_list_init(&c->slots[i]);
    c->versions = rep_versions_new(REP_VERSIONS);
    return c->versions ? 0 : -ENOMEM;
}

void rep_core_fini(struct rep_core *c)
{
    rep_versions_free(c->versions);
    free(c->clear.ring);
    c->versions = NULL;
    c->clear.ring = NULL;
}

void rep_note(struct rep_core *c, enum cfs_log_level level, const char *fmt,
              ...)
{
    char text[CFS_ERR_TEXT];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->io->note(c, level, text);
}

void rep_learn(struct rep_core *c, struct cfs_gfid g, struct cfs_version v)
{
    if (!cfs_gfid_is_null(g) && (v.epoch || v.seq))
        rep_versions_learn(c->versions, g, v);
}

struct cfs_version rep_known(struct rep_core *c, struct cfs_gfid g)
{
    struct cfs_version v = {0};

    rep_versions_get(c->versions, g, &v);
    return v;
}

static bool may_ask(struct rep_core *c, uint64_t *at)
{
    if (c->now < *at) {
        rep_due(c, *at);
        return false;
    }
    *at = c->now + WANT_EVERY;
    return true;
}

void rep_want_view(struct rep_core *c)
{
    if (may_ask(c, &c->want_at))
        c->io->want_view(c);
}

void rep_differs(struct rep_core *c, unsigned m)
{
    if (may_ask(c, &c->differs_at)) {
        rep_due(c, c->differs_at);
        c->io->differs(c, m);
    }
}

uint64_t rep_wait_since(const struct rep_core *c, uint64_t started)
{
    if (c->usable)
        return c->now;
    return started > c->down_since ? started : c->down_since;
}

bool rep_not_an_answer(int status)
{
    switch (status) {
    case -ENOTCONN:
    case -ETIMEDOUT:
    case -CFS_E_EPOCH:
    case -CFS_E_NOT_MEMBER:
    case -CFS_E_SESSION:
        return true;
    default:
        return false;
    }
}

/* -- what can be served ---------------------------------------------------- */

static bool view_known(const struct rep_core *c)
{
    return c->view.epoch != 0 && !c->foreign;
}

/* The child that is the view's first member. */
static unsigned master(const struct rep_core *c)
{
    for (unsigned i = 0; i < c->n; i++)
        if (cfs_uuid_eq(c->m[i].brick, c->view.m[0].brick))
            return i;
    return c->n;
}

static bool all_attached(const struct rep_core *c)
{
    if (!view_known(c) || c->ss != REP_SESSION_OPEN)
        return false;
    for (unsigned i = 0; i < c->n; i++)
        if (c->m[i].in_view && !rep_ready(c, i))
            return false;
    return true;
}

/* At least reads are served, perhaps after a new view's attachments. */
static bool any_attached(const struct rep_core *c)
{
    if (!view_known(c) || c->ss != REP_SESSION_OPEN)
        return false;
    for (unsigned i = 0; i < c->n; i++)
        if (c->m[i].in_sync && c->m[i].attached)
            return true;
    return false;
}

bool rep_complete(const struct rep_core *c)
{
    return c->usable && c->view.n_sync == c->n;
}

void rep_missing(const struct rep_core *c, char *buf, size_t len,
                 const char *(*name)(void *owner, unsigned m))
{
    size_t at = 0;

    buf[0] = '\0';
    if (c->view.epoch == 0) {
        snprintf(buf, len, "no view of the set is known");
        return;
    }
    if (c->foreign) {
        snprintf(buf, len, "the view names bricks that the volfile lacks");
        return;
    }
    for (unsigned i = 0; i < c->n && at < len; i++) {
        const struct rep_member *m = &c->m[i];
        const char *why = "not connected";

        if (!m->in_view || rep_ready(c, i))
            continue;
        if (m->connected)
            why = m->why ? cfs_err_str(m->why) : "no session yet";
        at += (size_t)snprintf(buf + at, len - at, "%s%s: %s",
                               at ? "; " : "", name(c->owner, i), why);
    }
}

static void judge(struct rep_core *c)
{
    bool was = c->usable;

    c->usable = all_attached(c);
    if (c->usable)
        c->session_used = true;
    else if (was)
        c->down_since = c->now;
    if (!c->started || c->stopping)
        return;
    if (c->usable && !c->is_up) {
        c->is_up = c->was_up = c->told = true;
        c->io->up(c);
    } else if (c->is_up && !any_attached(c)) {
        c->is_up = false;
        c->io->down(c);
    } else if (!c->told && c->now >= c->first_by) {
        c->told = true;
        c->io->down(c);
    } else if (!c->told) {
        rep_due(c, c->first_by);
    }
}

/* -- asking for session and attachment ------------------------------------- */

static void ask_session(struct rep_core *c)
{
    unsigned m = master(c);

    if (c->ss != REP_SESSION_NONE || !view_known(c) || !c->m[m].connected)
        return;
    if (c->now < c->open_at) {
        rep_due(c, c->open_at);
        return;
    }
    c->ss = REP_SESSION_OPENING;
    c->open_epoch = c->view.epoch;
    c->io->session_open(c, m, c->given_up);
}

static void ask_attach(struct rep_core *c, unsigned i)
{
    struct rep_member *m = &c->m[i];

    if (!m->in_view || !m->connected || m->asked || rep_ready(c, i))
        return;
    if (c->now < m->retry_at) {
        rep_due(c, m->retry_at);
        return;
    }
    m->asked = true;
    m->ask_life = m->life;
    m->ask_epoch = c->view.epoch;
    c->io->session_attach(c, i);
}

/* Everything that may help now: called after each event of the set. */
static void kick(struct rep_core *c)
{
    if (c->started) {
        ask_session(c);
        if (c->ss == REP_SESSION_OPEN && view_known(c))
            for (unsigned i = 0; i < c->n; i++)
                ask_attach(c, i);
    }
    judge(c);
    if (!view_known(c) && c->started)
        rep_want_view(c);
    rep_changes_drive(c);
    rep_reads_drive(c);
}

void rep_doubt(struct rep_core *c, unsigned i, uint32_t gen, int status)
{
    struct rep_member *m = &c->m[i];

    if (status == -CFS_E_EPOCH || status == -CFS_E_NOT_MEMBER)
        rep_want_view(c);
    if (!m->attached || m->gen != gen)
        return; /* it has been attached anew since, or is about to be */
    m->attached = false;
    m->why = status;
    m->retry_at = status == -CFS_E_SESSION ? c->now : c->now + RETRY_SOON;
    rep_due(c, m->retry_at);
    judge(c);
}

/* A brick refuses this session for ever. */
static void session_lost(struct rep_core *c)
{
    rep_note(c, CFS_LOG_WARNING, "session %u has been fenced: what it had in "
             "flight fails", c->session.no);
    c->given_up = c->session.no;
    c->session.no = 0;
    c->ss = REP_SESSION_NONE;
    c->open_at = c->session_used ? c->now : c->now + RETRY_LATE;
    for (unsigned i = 0; i < c->n; i++)
        c->m[i].attached = false;
    rep_versions_clear(c->versions);
    rep_clear_drop(c);
    judge(c);
    rep_changes_abandon(c);
    c->next_no = 1;
    c->io->session(c);
}

static void in_use(struct rep_core *c, const struct cfs_session *holder)
{
    if (holder->state == CFS_SESSION_LIVE && ++c->in_use == IN_USE_SURE) {
        c->ss = REP_SESSION_REFUSED;
        c->io->refused(c, holder);
        return;
    }
    c->open_at = c->now + IN_USE_AGAIN;
    if (holder->state == CFS_SESSION_LIVE)
        return;
    c->in_use = 0;
    if (!c->held_up)
        c->io->held_up(c, holder);
    c->held_up = true;
}

void rep_opened(struct rep_core *c, int status,
                const struct cfs_session *session,
                const struct cfs_session *holder, uint64_t now)
{
    c->now = now;
    assert(c->ss == REP_SESSION_OPENING);
    c->ss = REP_SESSION_NONE;
    if (c->open_epoch != c->view.epoch) {
        /* Another master now: ask that one. */
    } else if (status == 0) {
        c->ss = REP_SESSION_OPEN;
        c->session = *session;
        c->session_used = false;
        c->io->session(c);
    } else if (status == -CFS_E_IN_USE && !c->was_up) {
        in_use(c, holder);
    } else {
        bool view = status == -CFS_E_EPOCH || status == -CFS_E_NOT_MEMBER;

        if (view)
            rep_want_view(c);
        else if (status != -ENOTCONN)
            rep_note(c, CFS_LOG_WARNING, "no session: %s",
                     cfs_err_str(status));
        c->open_at = now + (view ? RETRY_SOON : RETRY_LATE);
    }
    kick(c);
}

void rep_attached(struct rep_core *c, unsigned i, int status,
                  const struct cfs_view *view, uint64_t now)
{
    struct rep_member *m = &c->m[i];
    bool current;

    c->now = now;
    assert(m->asked);
    m->asked = false;
    current = m->ask_life == m->life && m->connected &&
              m->ask_epoch == c->view.epoch && c->ss == REP_SESSION_OPEN;
    if (!current) {
        kick(c);
        return;
    }
    if (status == -CFS_E_SESSION) {
        session_lost(c);
    } else if (status < 0) {
        bool soon = status == -CFS_E_EPOCH || status == -ENOTCONN;

        m->why = status;
        m->retry_at = now + (soon ? RETRY_SOON : RETRY_LATE);
        if (status == -CFS_E_EPOCH || status == -CFS_E_NOT_MEMBER)
            rep_want_view(c);
    } else {
        m->attached = true;
        m->epoch = c->view.epoch;
        m->gen++;
        m->why = 0;
        if (view->epoch > c->view.epoch && rep_view(c, view, now))
            return;
        if (m->post.epoch == 0 && !m->info_asked) {
            m->info_asked = true;
            c->io->info(c, i);
        }
    }
    kick(c);
}

/* -- events ---------------------------------------------------------------- */

void rep_start(struct rep_core *c, uint64_t now)
{
    c->now = now;
    c->started = true;
    c->first_by = now + REP_FIRST_EVENT;
    c->down_since = now;
    kick(c);
}

void rep_check_idle(struct rep_core *c)
{
    if (c->stopping && c->n_changes == 0 && c->n_reads == 0)
        c->io->idle(c);
}

void rep_stop(struct rep_core *c, uint64_t now)
{
    c->now = now;
    c->stopping = true;
    rep_check_idle(c);
}

void rep_tick(struct rep_core *c, uint64_t now)
{
    c->now = now;
    if (now < c->due)
        return;
    c->due = REP_NEVER;
    kick(c);
    rep_changes_expire(c);
    rep_reads_expire(c);
    rep_clear_tick(c);
    if (!cfs_list_empty(&c->waiting))
        rep_want_view(c);
}

void rep_connected(struct rep_core *c, unsigned i, uint64_t now)
{
    c->now = now;
    c->m[i].connected = true;
    c->m[i].retry_at = now;
    if (c->ss == REP_SESSION_NONE && i == master(c))
        c->open_at = now;
    kick(c);
}

void rep_disconnected(struct rep_core *c, unsigned i, uint64_t now)
{
    struct rep_member *m = &c->m[i];

    c->now = now;
    m->connected = m->attached = false;
    m->life++;
    m->why = 0;
    kick(c);
}

static bool view_valid(const struct rep_core *c, const struct cfs_view *v)
{
    if (v->epoch == 0 || v->n_sync == 0 || v->n_sync > CFS_SET_MAX ||
        v->n_syncing > CFS_SET_MAX - v->n_sync)
        return false;
    if (!cfs_uuid_is_null(c->set) && !cfs_uuid_eq(c->set, v->set))
        return false;
    return v->lineage > c->view.lineage ||
           (v->lineage == c->view.lineage && v->epoch > c->view.epoch);
}

/* Take over what @v says of child @i. */
static bool enter(struct rep_core *c, unsigned i, const struct cfs_view *v)
{
    struct rep_member *m = &c->m[i];

    m->in_view = m->in_sync = false;
    for (unsigned k = 0; k < v->n_sync + v->n_syncing; k++) {
        if (!cfs_uuid_eq(v->m[k].brick, m->brick))
            continue;
        m->in_view = true;
        m->in_sync = k < v->n_sync;
        if (m->incarnation != v->m[k].incarnation) {
            m->post = (struct cfs_post){0};
            m->renewed_at = c->clear.head + c->clear.count;
            m->incarnation = v->m[k].incarnation;
        }
        break;
    }
    m->retry_at = c->now;
    return m->in_view;
}

bool rep_view(struct rep_core *c, const struct cfs_view *v, uint64_t now)
{
    unsigned mine = 0;

    c->now = now;
    if (!view_valid(c, v))
        return false;
    for (unsigned i = 0; i < c->n; i++)
        mine += enter(c, i, v);
    c->view = *v;
    c->foreign = mine != v->n_sync + v->n_syncing;
    if (v->n_sync < c->n)
        rep_clear_drop(c); /* the bricks keep what heal will need */
    rep_note(c, c->foreign ? CFS_LOG_ERROR : CFS_LOG_INFO,
             "view %llu: %u in sync, %u syncing, of %u%s",
             (unsigned long long)v->epoch, v->n_sync, v->n_syncing, c->n,
             c->foreign ? "; it names bricks that the volfile lacks" : "");
    c->open_at = now;
    rep_changes_new_view(c);
    kick(c);
    return true;
}

/* -- figures --------------------------------------------------------------- */

void rep_post(struct rep_core *c, unsigned i, const struct cfs_post *post)
{
    struct rep_member *m = &c->m[i];

    if (post->epoch == 0 || post->incarnation != m->incarnation)
        return;
    if (post->durable < m->post.durable) {
        /* An older reply: positions only grow. */
        m->post.free = post->free;
        return;
    }
    m->post = *post;
}

bool rep_polling(const struct rep_core *c)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->m[i].info_asked)
            return true;
    return false;
}

bool rep_poll(struct rep_core *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (!rep_ready(c, i) || c->m[i].info_asked)
            continue;
        c->m[i].info_asked = true;
        c->io->info(c, i);
    }
    return rep_polling(c);
}

void rep_info(struct rep_core *c, unsigned i, const struct cfs_post *post,
              uint64_t now)
{
    c->now = now;
    assert(c->m[i].info_asked);
    c->m[i].info_asked = false;
    rep_post(c, i, post);
    if (!rep_polling(c))
        rep_changes_drive(c); /* who asked for figures of space */
}
