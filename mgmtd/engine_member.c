/* SPDX-License-Identifier: Apache-2.0 */
/* engine_member.c - look at etcd's members, every two seconds, and decide what
 * to do about them.
 *
 *   every node     asks its own etcd how it does
 *   who acts       asks the other nodes for the same (PEER.ENGINE_STATUS),
 *                  then etcd's leader for its list of members
 *                    -> the record is set right where a step was cut off
 *                    -> vt_decide() -> step_run()
 *                    -> nothing to do: an etcd whose binary was replaced is
 *                       started anew, one at a time
 *
 * A node is heard when it answered in this round, and its etcd too, if it has
 * one. Each step begins with a claim in the record (engine_step.c), so two
 * that act by mistake do not act on one state.
 */
#include <inttypes.h>
#include <stdio.h>

#include "mgmtd/engine_impl.h"
#include "mgmtd/voters_core.h"

#define WHO "engine"

#define EVERY      (2 * CFS_SEC)
#define ANSWER_MS  2000u
#define SELF_MS    1500u
#define NOTE_EVERY (20 * CFS_SEC)

/* A learner that is so near the leader's index has caught up. */
#define NEAR 500u

#define DETACH_PATIENCE (90 * CFS_SEC)

struct answer {
    struct round *round;
    struct peer  *peer;
    json_t       *status; /* NULL: not heard */
};

struct round {
    struct engine *e;
    unsigned       pending;
    unsigned       n;
    struct answer  answer[VT_NODES_MAX];
    bool           stale; /* the engine does not want it any more */
};

static uint64_t now(const struct engine *e)
{
    return cfs_now(e->m->host.loop);
}

const char *member_node(const struct engine *e, uint64_t id)
{
    const char *name;
    json_t *v;

    json_object_foreach(json_object_get(e->rec, "voters"), name, v)
        if (hex_of(v, "member") == id)
            return name;
    return NULL;
}

bool members_are_ours(struct engine *e)
{
    cfs_list_for_each(l, &e->m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);
        const json_t *v = voter_of(e->rec, p->name);

        if (!voter_is(v, "voter") && !voter_is(v, "leaving"))
            continue;
        if (p->self)
            return true;
        if (p->up)
            return false; /* m->peers is in order of number */
    }
    return false;
}

/* -- this node's own etcd -------------------------------------------------- */

static void note_index(struct engine *e)
{
    if (mark_is_fresh(e) || now(e) - e->noted < NOTE_EVERY)
        return;
    /* What it had applied when we last wrote is on its disk by now. */
    e->noted = now(e);
    index_note(e, e->applied);
}

/* An alarm is every member's, whoever raised it. */
static bool says_no_space(const json_t *reply)
{
    const json_t *line;
    size_t i;

    json_array_foreach(json_object_get(reply, "errors"), i, line) {
        const char *s = json_string_value(line);

        if (s && strstr(s, "NOSPACE"))
            return true;
    }
    return false;
}

static void on_self(void *arg, int status, json_t *reply,
                    const struct cfs_err *err)
{
    struct engine *e = arg;
    const json_t *head = json_object_get(reply, "header");
    const char *version = json_string_value(json_object_get(reply, "version"));

    e->asking = false;
    e->answers = status == 0 && e->proc.state == ETCD_RUNNING &&
                 etcd_u64(head, "member_id") == mark_member(e);
    if (!e->answers)
        return;
    note_index(e); /* of the time before */
    e->heard = cfs_ran(e->m->host.loop);
    e->leader = etcd_u64(reply, "leader");
    e->index = etcd_u64(reply, "raftIndex");
    e->applied = etcd_u64(reply, "raftAppliedIndex");
    e->revision = etcd_u64(head, "revision");
    e->db_size = etcd_u64(reply, "dbSize");
    e->no_space = says_no_space(reply);
    snprintf(e->version, sizeof e->version, "%s", version ? version : "");
    if (e->leader != 0)
        engine_go_home(e);
    space_look(e);
}

static void ask_self(struct engine *e)
{
    if (e->asking || !e->self || e->proc.state != ETCD_RUNNING)
        return;
    e->asking = true;
    etcd_post(e->self, "/v3/maintenance/status", mem_ok(json_object()),
              SELF_MS, SELF_MS, on_self, e);
}

/* -- the record, set right ------------------------------------------------ */

static const json_t *in_list(const json_t *list, uint64_t id)
{
    const json_t *m;
    size_t i;

    json_array_foreach(json_object_get(list, "members"), i, m)
        if (etcd_u64(m, "ID") == id)
            return m;
    return NULL;
}

static bool fix_voters(const json_t *list, json_t *rec)
{
    json_t *voters = json_object_get(rec, "voters"), *v;
    bool changed = false;
    const char *name;
    void *next;

    json_object_foreach_safe(voters, next, name, v) {
        const json_t *m = in_list(list, hex_of(v, "member"));
        bool learner = json_is_true(json_object_get(m, "isLearner"));

        if (!m) {
            json_object_del(voters, name);
            changed = true;
        } else if (!learner && voter_is(v, "learner")) {
            json_object_set_new(v, "state", json_string("voter"));
            changed = true;
        }
    }
    return changed;
}

/* Is the node of this entry of "leaving" still one of the cluster? */
static bool still_leaving(struct engine *e, const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    struct peer *p = name ? peer_find(e->m, name) : NULL;
    struct cfs_uuid id;

    return p && rec_uuid(entry, "engine", "id", &id, NULL) == 0 &&
           cfs_uuid_eq(id, p->id);
}

static bool fix_leaving(struct engine *e, json_t *rec)
{
    json_t *leaving = json_object_get(rec, "leaving");
    bool changed = false;

    for (size_t i = json_array_size(leaving); i-- > 0;)
        if (!still_leaving(e, json_array_get(leaving, i))) {
            json_array_remove(leaving, i);
            changed = true;
        }
    return changed;
}

static void on_fixed(void *arg, int status, const struct cfs_err *err)
{
    struct engine *e = arg;

    members_look(e, status < 0 ? EVERY : 100 * CFS_MS);
}

/* True: it was wrong, and is being set right. */
static bool fix_record(struct engine *e, const json_t *list)
{
    json_t *rec = mem_ok(json_deep_copy(e->rec));
    bool changed = fix_voters(list, rec);

    changed |= fix_leaving(e, rec);
    if (!changed) {
        json_decref(rec);
        return false;
    }
    step_commit(e, rec, on_fixed, e);
    return true;
}

/* -- deciding ------------------------------------------------------------- */

static bool name_in(const json_t *array, const char *name)
{
    const json_t *x;
    size_t i;

    json_array_foreach(array, i, x) {
        const char *s = json_is_object(x)
                            ? json_string_value(json_object_get(x, "name"))
                            : json_string_value(x);

        if (s && strcmp(s, name) == 0)
            return true;
    }
    return false;
}

static void fill_node(struct engine *e, const struct answer *a,
                      struct vt_node *n)
{
    const json_t *v = voter_of(e->rec, a->peer->name);
    const json_t *s = a->status;
    const char *wiped = json_string_value(json_object_get(s, "wiped"));
    bool votes = v && !voter_is(v, "learner");

    n->number = a->peer->number;
    n->member = hex_of(v, "member");
    n->leaving = name_in(json_object_get(e->rec, "leaving"), a->peer->name);
    n->was_voter = name_in(json_object_get(e->rec, "past"), a->peer->name);
    n->heard = s && (!votes || json_is_true(json_object_get(s, "answers")));
    if (!s)
        n->silent_ns = peer_silence(a->peer);
    else if (!n->heard)
        n->silent_ns = etcd_u64(s, "silent_ms") * CFS_MS;
    n->wiped = n->member && s &&
               ((wiped && *wiped) ||
                (votes && hex_of(s, "member") != n->member));
    if (n->wiped)
        n->heard = true; /* it is there, and says so */
}

static bool is_url(const json_t *value, const char *url)
{
    const char *s = json_string_value(value);

    return s && strcmp(s, url) == 0;
}

/* Whether record and etcd's list have the voter on @p where it is. */
static bool has_moved(struct engine *e, const struct peer *p,
                      const json_t *list)
{
    const json_t *v = voter_of(e->rec, p->name);
    const json_t *m = in_list(list, hex_of(v, "member"));
    char *client, *peer;
    bool moved;

    if (!v || !m || !p->host || !*p->host)
        return false;
    client = etcd_client_url(p->host, p->port);
    peer = etcd_peer_url(p->host, p->port);
    moved = !is_url(json_object_get(v, "client"), client) ||
            !is_url(json_object_get(v, "peer"), peer) ||
            !is_url(json_array_get(json_object_get(m, "peerURLs"), 0), peer);
    free(client);
    free(peer);
    return moved;
}

static void fill(struct round *r, const json_t *list, struct vt_state *s)
{
    struct engine *e = r->e;
    const json_t *m;
    size_t i;

    *s = (struct vt_state){.n_nodes = r->n};
    for (unsigned k = 0; k < r->n; k++) {
        fill_node(e, &r->answer[k], &s->node[k]);
        s->node[k].moved = has_moved(e, r->answer[k].peer, list);
    }
    json_array_foreach(json_object_get(list, "members"), i, m) {
        struct vt_member *to = &s->member[s->n_members];

        if (s->n_members == VT_MEMBERS_MAX)
            break;
        s->n_members++;
        *to = (struct vt_member){
            .id = etcd_u64(m, "ID"),
            .learner = json_is_true(json_object_get(m, "isLearner")),
        };
        for (unsigned k = 0; k < r->n && to->learner; k++)
            if (hex_of(r->answer[k].status, "member") == to->id)
                to->caught_up =
                    json_is_true(
                        json_object_get(r->answer[k].status, "ready")) &&
                    etcd_u64(r->answer[k].status, "applied") + NEAR >=
                        e->index;
    }
}

/* A learner that does not know that it is one. */
static bool tell_learner(struct round *r, const json_t *list)
{
    for (unsigned k = 0; k < r->n; k++) {
        const struct answer *a = &r->answer[k];
        const json_t *v = voter_of(r->e->rec, a->peer->name);

        if (a->status && voter_is(v, "learner") &&
            hex_of(a->status, "member") != hex_of(v, "member")) {
            step_prepare(r->e, a->peer, list);
            return true;
        }
    }
    return false;
}

/* Nothing else is to be done and all are well: one etcd at a time begins to
 * run the binary that is installed now. */
static void renew_binary(struct round *r)
{
    struct peer *old = NULL;

    for (unsigned k = 0; k < r->n; k++) {
        const json_t *s = r->answer[k].status;

        if (!voter_of(r->e->rec, r->answer[k].peer->name))
            continue;
        if (!json_is_true(json_object_get(s, "answers")))
            return;
        if (!old && json_is_true(json_object_get(s, "old")))
            old = r->answer[k].peer;
    }
    if (!old)
        return;
    cfs_log_info(r->e->m->host.log, WHO, "the etcd of %s is started anew: its "
                 "binary was replaced", old->name);
    peer_call(old, RPC_PEER_ENGINE_PREPARE, mem_ok(json_pack("{s:b}",
              "restart", 1)), ANSWER_MS, NULL, NULL);
}

static void decide(struct round *r, const json_t *list)
{
    struct engine *e = r->e;
    struct vt_state s;
    struct vt_step step;

    if (fix_record(e, list) || tell_learner(r, list))
        return;
    fill(r, list, &s);
    vt_decide(&s, &step);
    if (step.verb == VT_NOTHING) {
        snprintf(e->waiting, sizeof e->waiting, "%s", step.why);
        if (s.n_members == vt_wanted(s.n_nodes))
            renew_binary(r);
        return;
    }
    e->waiting[0] = '\0';
    step_run(e, &step, step.verb == VT_ADD || step.verb == VT_MOVE
                           ? r->answer[step.node].peer : NULL, list);
}

/* -- a round -------------------------------------------------------------- */

static void round_free(struct round *r)
{
    for (unsigned k = 0; k < r->n; k++)
        json_decref(r->answer[k].status);
    if (r->e && r->e->round == r)
        r->e->round = NULL;
    free(r);
}

static void on_list(void *arg, int status, json_t *reply,
                    const struct cfs_err *err)
{
    struct round *r = arg;
    struct engine *e = r->e;

    if (status < 0)
        snprintf(e->waiting, sizeof e->waiting, "%.*s",
                 (int)sizeof e->waiting - 1, err->text);
    else if (!r->stale && !e->step && e->rec && members_are_ours(e))
        decide(r, reply);
    round_free(r);
}

/* Its index in the target: the list of another member may be old. */
static int index_of_leader(struct round *r)
{
    struct engine *e = r->e;
    uint64_t leader = e->answers ? e->leader : 0;
    const char *name, *url;

    for (unsigned k = 0; k < r->n && !leader; k++)
        leader = hex_of(r->answer[k].status, "leader");
    name = leader ? member_node(e, leader) : NULL;
    if (!name)
        return -1;
    if (strcmp(name, e->m->node) == 0)
        return 0;
    url = json_string_value(json_object_get(voter_of(e->rec, name), "client"));
    for (unsigned i = 0; i < e->target.n; i++)
        if (url && strcmp(e->target.url[i], url) == 0)
            return (int)i;
    return -1;
}

static void all_in(struct round *r)
{
    int leader = r->stale ? -1 : index_of_leader(r);

    if (leader < 0) {
        round_free(r);
        return;
    }
    etcd_post_to(r->e->client, (unsigned)leader, "/v3/cluster/member/list",
                 mem_ok(json_object()), ANSWER_MS, on_list, r);
}

static void on_status(void *arg, int status, json_t *result, const char *text)
{
    struct answer *a = arg;

    if (status == 0)
        a->status = json_incref(result);
    if (--a->round->pending == 0)
        all_in(a->round);
}

static void begin_round(struct engine *e)
{
    struct round *r = e->round = mem_new(sizeof *r);

    r->e = e;
    r->pending = 1;
    cfs_list_for_each(l, &e->m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);
        struct answer *a = &r->answer[r->n];

        if (r->n == VT_NODES_MAX)
            break;
        r->n++;
        a->round = r;
        a->peer = p;
        if (p->self) {
            a->status = engine_own_status(e);
        } else if (p->up) {
            r->pending++;
            peer_call(p, RPC_PEER_ENGINE_STATUS, mem_ok(json_object()),
                      ANSWER_MS, on_status, a);
        }
    }
    if (--r->pending == 0)
        all_in(r);
}

void members_on_timer(struct engine *e)
{
    if (!mark_is_etcd(e))
        return;
    engine_start_etcd(e);
    ask_self(e);
    if (!e->round && !e->step && !e->go && e->client && e->rec &&
        members_are_ours(e))
        begin_round(e);
    members_look(e, EVERY);
}

void members_look(struct engine *e, uint64_t after_ns)
{
    if (e->over)
        return;
    if (cfs_timer_active(&e->look) && e->look.due <= now(e) + after_ns)
        return;
    cfs_timer_start(&e->look, after_ns);
}

void engine_peer_changed(struct peer *p)
{
    struct engine *e = p->m->engine;

    if (!e || !e->running || !mark_is_etcd(e))
        return;
    /* Answers point at peers. */
    if (p->gone && e->round)
        for (unsigned k = 0; k < e->round->n; k++)
            e->round->stale |= e->round->answer[k].peer == p;
    members_look(e, 200 * CFS_MS);
}

/* -- being one ------------------------------------------------------------ */

void engine_on_status(struct peer_req *req)
{
    peer_reply(req, engine_own_status(req->m->engine));
}

static int check_prepare(struct engine *e, const json_t *args,
                         struct cfs_err *err)
{
    if (!mark_is_etcd(e) ||
        etcd_u64(args, "lineage") != store_lineage(e->m->store))
        return cfs_err_set(err, -ESTALE, "node %s is of another lineage",
                           e->m->node);
    if (hex_of(args, "member") == 0 ||
        !json_is_string(json_object_get(args, "initial")) ||
        !json_is_string(json_object_get(args, "token")))
        return cfs_err_set(err, -EBADMSG, "a bad request to be a member");
    return 0;
}

static int become_member(struct engine *e, const json_t *args,
                         struct cfs_err *err)
{
    json_t *next = mark_copy(e);
    char *program;
    int rc = etcd_proc_find(&program, err);

    if (rc < 0) {
        json_decref(next);
        return rc;
    }
    free(program);
    json_object_set_new(next, "member", json_hex(hex_of(args, "member")));
    json_object_set_new(next, "since", json_hex(hex_of(args, "since")));
    json_object_set_new(next, "fresh", json_true());
    json_object_set_new(
        next, "initial",
        mem_ok(json_pack("{s:O,s:O}", "cluster",
                         json_object_get(args, "initial"), "token",
                         json_object_get(args, "token"))));
    rc = mark_save(e, next, err);
    if (rc < 0)
        return rc;
    e->wiped[0] = '\0';
    engine_put_aside(e);
    return 0;
}

void engine_on_prepare(struct peer_req *req)
{
    struct engine *e = req->m->engine;
    struct cfs_err err = {0};
    int rc;

    if (json_is_true(json_object_get(req->args, "restart"))) {
        if (e->proc.state == ETCD_RUNNING && mark_is_etcd(e))
            etcd_proc_stop(&e->proc);
        peer_reply(req, mem_ok(json_object()));
        return;
    }
    rc = check_prepare(e, req->args, &err);
    if (rc == 0 && hex_of(req->args, "member") != mark_member(e))
        rc = become_member(e, req->args, &err);
    if (rc == 0)
        rc = engine_connect(e, &err);
    if (rc < 0) {
        peer_fail(req, &err);
        return;
    }
    engine_start_etcd(e);
    peer_reply(req, mem_ok(json_object()));
}

/* -- a node leaves -------------------------------------------------------- */

#define REMOVAL_TRIES 20u
#define REMOVAL_AGAIN (100 * CFS_MS)

struct removal {
    struct cfs_list  link;
    struct engine   *e;
    char            *name;
    struct cfs_timer timer;
    bool             committing; /* on_leaving() will come */
    bool             seen;       /* the record came earlier than that */
    unsigned         tries;
    store_done      *done;
    void            *arg;
};

static void removal_end(struct removal *r, const struct cfs_err *err)
{
    struct cfs_err copy = *err;

    cfs_list_del(&r->link);
    cfs_timer_fini(&r->timer);
    if (r->done)
        r->done(r->arg, copy.code, &copy);
    free(r->name);
    free(r);
}

static void on_removal_late(struct cfs_timer *t)
{
    struct removal *r = cfs_list_entry(t, struct removal, timer);
    struct cfs_err err = {0};
    const char *why = r->e->problem[0] ? r->e->problem : r->e->waiting;

    if (r->committing) {
        cfs_timer_start(t, CFS_SEC);
        return;
    }
    if (!voter_of(r->e->rec, r->name)) {
        removal_end(r, &err);
        return;
    }
    cfs_err_set(&err, -ETIMEDOUT, "the etcd of node %s is still needed%s%s",
                r->name, *why ? ": " : "", why);
    removal_end(r, &err);
}

void members_record_changed(struct engine *e)
{
    cfs_list_for_each_safe(l, &e->removals) {
        struct removal *r = cfs_list_entry(l, struct removal, link);

        /* From the timer, not from inside a transaction. */
        if (voter_of(e->rec, r->name) ||
            !name_in(json_object_get(e->rec, "leaving"), r->name))
            continue;
        r->seen = true;
        if (!r->committing)
            cfs_timer_start(&r->timer, 0);
    }
}

static void on_removal_begin(struct cfs_timer *t);

static void on_leaving(void *arg, int status, const struct cfs_err *err)
{
    struct removal *r = arg;

    r->committing = false;
    if (status == -CFS_E_CONFLICT && ++r->tries < REMOVAL_TRIES) {
        cfs_timer_fini(&r->timer); /* a step of the voters came first */
        cfs_timer_init(r->e->m->host.loop, &r->timer, on_removal_begin);
        cfs_timer_start(&r->timer, REMOVAL_AGAIN);
        return;
    }
    if (status < 0) {
        removal_end(r, err);
        return;
    }
    if (r->seen)
        cfs_timer_start(&r->timer, 0);
    members_look(r->e, 0);
}

static void on_removal_begin(struct cfs_timer *t)
{
    struct removal *r = cfs_list_entry(t, struct removal, timer);
    struct engine *e = r->e;
    struct peer *p = peer_find(e->m, r->name);
    struct cfs_err err = {0};
    json_t *rec;

    if (e->over)
        return;
    cfs_timer_fini(t);
    cfs_timer_init(e->m->host.loop, t, on_removal_late);
    if (!mark_is_etcd(e) || !e->rec || !p) {
        removal_end(r, &err);
        return;
    }
    cfs_timer_start(t, DETACH_PATIENCE);
    if (name_in(json_object_get(e->rec, "leaving"), r->name)) {
        members_record_changed(e);
        return;
    }
    rec = mem_ok(json_deep_copy(e->rec));
    json_array_append_new(json_object_get(rec, "leaving"),
                          mem_ok(json_pack("{s:s,s:o}", "name", r->name, "id",
                                           rec_json_uuid(p->id))));
    r->committing = true;
    step_commit(e, rec, on_leaving, r);
}

void engine_remove_node(struct mgmtd *m, const char *name, store_done *done,
                        void *arg)
{
    struct removal *r = mem_new(sizeof *r);

    r->e = m->engine;
    r->name = mem_str(name);
    r->done = done;
    r->arg = arg;
    cfs_list_add_tail(&r->e->removals, &r->link);
    cfs_timer_init(m->host.loop, &r->timer, on_removal_begin);
    cfs_timer_start(&r->timer, 0);
}

void members_close(struct engine *e)
{
    struct cfs_list *l;

    /* Requests end without their done(): nobody else frees it. */
    if (e->round)
        round_free(e->round);
    while ((l = cfs_list_pop(&e->removals))) {
        struct removal *r = cfs_list_entry(l, struct removal, link);

        cfs_timer_fini(&r->timer);
        free(r->name);
        free(r);
    }
}
