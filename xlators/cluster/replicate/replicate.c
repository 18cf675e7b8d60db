/* SPDX-License-Identifier: Apache-2.0 */
/* replicate.c - cluster/replicate: every change to all members of the view in
 * one round trip, reads from one of them; see README.md and
 * docs/replication.md.
 */
#include "xlators/cluster/replicate/replicate.h"

#include <stdio.h>
#include <string.h>

static const char *const policies[] = {"first", "spread", NULL};

static const struct cfs_opt rep_opts[] = {
    {.name = "set", .type = CFS_OPT_UUID, .at = offsetof(struct rep, set),
     .flags = CFS_OPT_REQUIRED, .help = "the replica set"},
    {.name = "members", .type = CFS_OPT_STR,
     .at = offsetof(struct rep, members), .flags = CFS_OPT_REQUIRED,
     .help = "the bricks' identities, in the order of the subvolumes"},
    {.name = "node", .type = CFS_OPT_STR, .at = offsetof(struct rep, node),
     .help = "this node's name, as others are shown it"},
    {.name = "service", .type = CFS_OPT_STR,
     .at = offsetof(struct rep, service), .def = "mount",
     .help = "what the session is for"},
    {.name = "where", .type = CFS_OPT_STR, .at = offsetof(struct rep, where),
     .help = "the mount point, as others are shown it"},
    {.name = "network.wait", .type = CFS_OPT_MS,
     .at = offsetof(struct rep, wait_ms), .def = "15s", .min = 1,
     .max = 3600 * 1000, .flags = CFS_OPT_RECONF,
     .help = "how long operations wait for a usable set before they fail"},
    {.name = "read-policy", .type = CFS_OPT_ENUM,
     .at = offsetof(struct rep, policy), .def = "first", .words = policies,
     .flags = CFS_OPT_RECONF,
     .help = "which in-sync member is read: first, or spread by file"},
    {0},
};

/* -- what the core tells --------------------------------------------------- */

static const char *member_name(void *owner, unsigned m)
{
    struct rep *rep = owner;

    return rep->xl->child[m]->name;
}

static void rep_io_up(struct rep_core *c)
{
    struct rep *rep = rep_of(c);

    cfs_log_info(rep->xl->log, rep->xl->name, "the set can be served: "
                 "session %u, view %llu", c->session.no,
                 (unsigned long long)c->view.epoch);
    cfs_notify_up(rep->xl, (struct cfs_event){.type = CFS_EV_CHILD_UP});
}

static void rep_io_down(struct rep_core *c)
{
    struct rep *rep = rep_of(c);
    struct cfs_err err = {0};
    char text[CFS_ERR_TEXT];

    rep_missing(c, text, sizeof text, member_name);
    cfs_err_set(&err, -ENOTCONN, "the set cannot be served: %s", text);
    cfs_log_warning(rep->xl->log, rep->xl->name, "%s", err.text);
    cfs_notify_up(rep->xl, (struct cfs_event){.type = CFS_EV_CHILD_DOWN,
                                              .err = &err});
}

static void rep_io_refused(struct rep_core *c,
                           const struct cfs_session *holder)
{
    struct rep *rep = rep_of(c);
    struct cfs_err err = {0};

    cfs_err_set(&err, -CFS_E_IN_USE, "the volume is mounted already: on node "
                "%s, %s, by process %u (session %u); one mount at a time, "
                "until there are cluster-wide locks",
                holder->node, holder->where[0] ? holder->where : "?",
                holder->pid, holder->no);
    cfs_log_error(rep->xl->log, rep->xl->name, "%s", err.text);
    cfs_notify_up(rep->xl, (struct cfs_event){.type = CFS_EV_AUTH_FAILED,
                                              .err = &err});
}

static void rep_io_held_up(struct rep_core *c,
                           const struct cfs_session *holder)
{
    struct rep *rep = rep_of(c);
    struct cfs_err err = {0};

    cfs_err_set(&err, -CFS_E_IN_USE, "the volume was mounted on node %s, %s, "
                "by process %u (session %u), which is not heard: waiting until "
                "that session is closed", holder->node,
                holder->where[0] ? holder->where : "?", holder->pid,
                holder->no);
    cfs_log_warning(rep->xl->log, rep->xl->name, "%s", err.text);
    cfs_notify_up(rep->xl, (struct cfs_event){.type = CFS_EV_HELD_UP,
                                              .err = &err});
}

static void rep_io_session(struct rep_core *c)
{
    cfs_notify_up(rep_of(c)->xl,
                  (struct cfs_event){.type = CFS_EV_SESSION,
                                     .session = &c->session});
}

static void rep_io_want_view(struct rep_core *c)
{
    cfs_notify_up(rep_of(c)->xl,
                  (struct cfs_event){.type = CFS_EV_WANT_VIEW});
}

static void rep_io_differs(struct rep_core *c, unsigned m)
{
    cfs_notify_up(rep_of(c)->xl,
                  (struct cfs_event){.type = CFS_EV_DIFFERS,
                                     .view = &c->view,
                                     .brick = &c->m[m].brick});
}

static struct cfs_time rep_io_realtime(struct rep_core *c)
{
    return cfs_realtime(rep_of(c)->xl->loop);
}

static void rep_io_note(struct rep_core *c, enum cfs_log_level level,
                        const char *text)
{
    struct rep *rep = rep_of(c);

    cfs_log(rep->xl->log, level, rep->xl->name, "%s", text);
}

static const struct rep_io rep_io = {
    .session_open = rep_io_session_open,
    .session_attach = rep_io_session_attach,
    .info = rep_io_info,
    .clear = rep_io_clear,
    .look = rep_io_look,
    .again = rep_io_again,
    .send = rep_io_send,
    .answer = rep_io_answer,
    .release = rep_io_release,
    .read = rep_io_read,
    .read_end = rep_io_read_end,
    .flush = rep_io_flush,
    .up = rep_io_up,
    .down = rep_io_down,
    .refused = rep_io_refused,
    .held_up = rep_io_held_up,
    .session = rep_io_session,
    .want_view = rep_io_want_view,
    .differs = rep_io_differs,
    .idle = rep_io_idle,
    .realtime = rep_io_realtime,
    .note = rep_io_note,
};

/* -- time ------------------------------------------------------------------ */

static void timer_fired(struct cfs_timer *t)
{
    struct rep *rep = container_of(t, struct rep, timer);

    rep->armed = REP_NEVER;
    rep_tick(&rep->core, rep_now(rep));
    rep_arm(rep);
}

void rep_arm(struct rep *rep)
{
    uint64_t due = rep->core.due, now;

    if (due >= rep->armed)
        return;
    now = rep_now(rep);
    rep->armed = due;
    cfs_timer_start(&rep->timer, due > now ? due - now : 0);
}

/* -- life ------------------------------------------------------------------ */

/* "UUID UUID ...", one for each child. */
static int parse_members(struct rep *rep, struct cfs_uuid *ret,
                         struct cfs_err *err)
{
    const char *at = rep->members;
    unsigned n = 0;

    while (*(at += strspn(at, " \t,"))) {
        size_t len = strcspn(at, " \t,");
        char word[CFS_UUID_STR];

        if (n == CFS_SET_MAX || len >= sizeof word)
            break;
        memcpy(word, at, len);
        word[len] = '\0';
        if (cfs_uuid_parse(word, &ret[n]) < 0)
            break;
        for (unsigned i = 0; i < n; i++)
            if (cfs_uuid_eq(ret[i], ret[n]))
                return cfs_err_set(err, -EINVAL, "%s: brick %s is named twice",
                                   rep->xl->name, word);
        n++;
        at += len;
    }
    if (*at)
        return cfs_err_set(err, -EINVAL, "%s: members: no brick identity at "
                           "'%.40s'", rep->xl->name, at);
    if (n != rep->xl->n_child)
        return cfs_err_set(err, -EINVAL, "%s: %u members for %u subvolumes",
                           rep->xl->name, n, rep->xl->n_child);
    return 0;
}

static void apply_options(struct rep *rep)
{
    rep->core.wait = rep->wait_ms * CFS_MS;
    rep->core.spread = rep->policy == REP_POLICY_SPREAD;
}

static int rep_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct rep *rep = xl->priv;
    struct cfs_uuid brick[CFS_SET_MAX];
    int rc;

    rep->xl = xl;
    rep->armed = REP_NEVER;
    rc = parse_members(rep, brick, err);
    if (rc < 0)
        return rc;
    rc = rep_core_init(&rep->core, &rep_io, rep, brick, xl->n_child,
                       rep_now(rep));
    if (rc < 0)
        return cfs_err_set(err, rc, "%s: out of memory", xl->name);
    rep->core.set = rep->set;
    apply_options(rep);
    cfs_timer_init(xl->loop, &rep->timer, timer_fired);
    cfs_timer_init(xl->loop, &rep->stop_timer, rep_stop_timer);
    cfs_task_init(&rep->stop_task, rep_stop_task);
    rep->inited = true;
    return 0;
}

static void rep_fini(struct cfs_xl *xl)
{
    struct rep *rep = xl->priv;

    if (rep->inited) {
        cfs_task_cancel(&rep->stop_task);
        cfs_timer_fini(&rep->timer);
        cfs_timer_fini(&rep->stop_timer);
    }
    rep_core_fini(&rep->core);
}

static int rep_reconfigure(struct cfs_xl *xl, struct cfs_err *err)
{
    apply_options(xl->priv);
    return 0;
}

/* -- events ---------------------------------------------------------------- */

static unsigned child_index(const struct cfs_xl *xl, const struct cfs_xl *from)
{
    unsigned i = 0;

    while (xl->child[i] != from)
        i++;
    assert(i < xl->n_child);
    return i;
}

/* A view that a brick told of: everybody should know. */
static void new_view(struct rep *rep, const struct cfs_event *ev)
{
    struct cfs_event up = *ev;

    if (rep_view(&rep->core, ev->view, rep_now(rep)))
        cfs_notify_down(rep->xl, (struct cfs_event){.type = CFS_EV_VIEW,
                                                    .view = ev->view});
    cfs_notify_up(rep->xl, up);
}

static void rep_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    struct rep *rep = xl->priv;
    uint64_t now = rep_now(rep);

    switch (ev->type) {
    case CFS_EV_PARENT_UP:
        rep_start(&rep->core, now);
        cfs_notify_down(xl, *ev);
        break;
    case CFS_EV_PARENT_DOWN:
        rep_stop_begin(rep);
        break;
    case CFS_EV_VIEW:
        cfs_notify_down(xl, *ev);
        rep_view(&rep->core, ev->view, now);
        break;
    case CFS_EV_CHILD_CONNECTING:
        rep_connected(&rep->core, child_index(xl, ev->from), now);
        break;
    case CFS_EV_CHILD_DOWN:
        rep_disconnected(&rep->core, child_index(xl, ev->from), now);
        break;
    case CFS_EV_CHILD_UP:
        break; /* the answer to session_attach has told */
    case CFS_EV_NEW_VIEW:
        new_view(rep, ev);
        break;
    default:
        cfs_notify_pass(xl, ev);
    }
    rep_arm(rep);
}

/* -- statedump ------------------------------------------------------------- */

static const char *const session_states[] = {
    [REP_SESSION_NONE] = "none",
    [REP_SESSION_OPENING] = "opening",
    [REP_SESSION_OPEN] = "open",
    [REP_SESSION_REFUSED] = "refused",
};

static void dump_member(struct cfs_xl *xl, const struct rep_core *c,
                        unsigned i, struct cfs_dump *d)
{
    const struct rep_member *m = &c->m[i];

    cfs_dump_put(d, xl->child[i]->name, "%s%s%s incarnation=%llu durable=%llu "
                 "free=%llu%s%s",
                 m->in_sync ? "in-sync" : m->in_view ? "syncing" : "out",
                 m->connected ? " connected" : "",
                 m->attached ? " attached" : "",
                 (unsigned long long)m->incarnation,
                 (unsigned long long)m->post.durable,
                 (unsigned long long)m->post.free, m->why ? " why=" : "",
                 m->why ? cfs_err_str(m->why) : "");
}

static void rep_dump(struct cfs_xl *xl, struct cfs_dump *d)
{
    struct rep *rep = xl->priv;
    const struct rep_core *c = &rep->core;

    cfs_dump_put(d, "view", "%llu", (unsigned long long)c->view.epoch);
    cfs_dump_put(d, "session", "%u", c->session.no);
    cfs_dump_put(d, "session_state", "%s", session_states[c->ss]);
    cfs_dump_put(d, "usable", "%d", c->usable);
    for (unsigned i = 0; i < c->n; i++)
        dump_member(xl, c, i, d);
    cfs_dump_put(d, "changes", "%llu", (unsigned long long)rep->n_changes);
    cfs_dump_put(d, "reads", "%llu", (unsigned long long)rep->n_reads);
    cfs_dump_put(d, "changes_in_flight", "%u", c->n_changes);
    cfs_dump_put(d, "changes_orphaned", "%u", c->n_orphans);
    cfs_dump_put(d, "reads_in_flight", "%u", c->n_reads);
    cfs_dump_put(d, "next_change", "%llu", (unsigned long long)c->next_no);
    cfs_dump_put(d, "bytes_in_flight", "%llu",
                 (unsigned long long)c->flying_bytes);
    cfs_dump_put(d, "versions", "%u", rep_versions_count(c->versions));
    cfs_dump_put(d, "to_clear", "%u", c->clear.count);
    cfs_dump_put(d, "clear_left_out", "%llu",
                 (unsigned long long)c->clear.left_out);
}

/* -- the type -------------------------------------------------------------- */

/* Operations of class CTL are between daemons and single bricks: nobody sends
 * them here. */
static const struct cfs_fops rep_fops = {
#define REP_CHANGE(lower) .lower = rep_change_##lower,
#define REP_SYNC(lower) .lower = rep_change_##lower,
#define REP_READ(lower) .lower = rep_read_##lower,
#define REP_LOCAL(lower) .lower = rep_read_##lower,
#define REP_CTL(lower)
#define FOP(lower, UPPER, class, in, out) REP_##class(lower)
#include "core/fops.def"
#undef FOP
};

const struct cfs_xl_type cfs_xl_type = {
    .name = "cluster/replicate",
    .children_min = 1,
    .children_max = CFS_SET_MAX,
    .priv_size = sizeof(struct rep),
    .opts = rep_opts,
    .init = rep_init,
    .fini = rep_fini,
    .reconfigure = rep_reconfigure,
    .notify = rep_notify,
    .dump = rep_dump,
    .fops = &rep_fops,
};
