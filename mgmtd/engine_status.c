/* SPDX-License-Identifier: Apache-2.0 */
/* engine_status.c - how the engine does, for other nodes (PEER.ENGINE_STATUS)
 * and for people (cluster status), and why a change cannot be made now. */
#include <inttypes.h>
#include <stdio.h>

#include "mgmtd/engine_impl.h"
#include "mgmtd/voters_core.h"

#define ANSWER_MS 2000u

static json_t *json_u64_text(uint64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, n);
    return mem_ok(json_string(text));
}

/* Text that came from outside may be no UTF-8; JSON must be. */
static json_t *json_text(const char *s)
{
    json_t *t = json_string(s);
    char *ascii;

    if (t)
        return t;
    ascii = mem_str(s);
    for (char *p = ascii; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    t = mem_ok(json_string(ascii));
    free(ascii);
    return t;
}

json_t *engine_own_status(struct engine *e)
{
    uint64_t member = mark_member(e);
    bool answers = e->answers && e->proc.state == ETCD_RUNNING;
    uint64_t silent = cfs_ran(e->m->host.loop) - e->heard;
    struct store_health h;

    store_health(e->m->store, &h);
    return mem_ok(json_pack(
        "{s:s,s:s,s:o,s:o,s:b,s:s,s:s,s:i,s:b,s:b,s:o,s:o,s:o,s:s,s:o,s:o,"
        "s:o,s:b,s:o}",
        "node", e->m->node, "engine", mark_is_etcd(e) ? "etcd" : "sqlite",
        "lineage", json_u64_text(store_lineage(e->m->store)), "revision",
        json_u64_text(store_revision(e->m->store)), "current",
        !h.many || h.current, "member", mark_str(e, "member"), "state",
        etcd_state_str(e->proc.state), "pid", (int)e->proc.pid, "answers",
        answers, "ready", answers && !mark_is_fresh(e) && member, "leader",
        json_hex(answers ? e->leader : 0), "applied",
        json_u64_text(answers ? e->applied : 0), "index",
        json_u64_text(answers ? e->index : 0), "version",
        answers ? e->version : "", "silent_ms",
        json_u64_text(answers ? 0 : silent / CFS_MS), "wiped",
        json_text(e->wiped), "reason",
        json_text(e->proc.state == ETCD_WAITING ? e->proc.reason : ""), "old",
        etcd_proc_is_old(&e->proc), "problem", json_text(e->problem)));
}

/* -- who is missing -------------------------------------------------------- */

static bool votes(struct engine *e, const char *node)
{
    const json_t *v = voter_of(e->rec, node);

    return voter_is(v, "voter") || voter_is(v, "leaving");
}

/* Append ", NAME" (or "NAME") to @text. */
static void list_name(char *text, size_t len, const char *name)
{
    size_t at = strlen(text);

    if (at + strlen(name) + 3 < len)
        snprintf(text + at, len - at, "%s%s", at ? ", " : "", name);
}

struct missing {
    unsigned n;         /* voters */
    char     all[160];  /* their names */
    char     lost[160]; /* of those that we do not hear, or whose etcd does
                           not run: as much as this node can know by itself */
};

static void look_who_is_missing(struct engine *e, struct missing *ret)
{
    *ret = (struct missing){.n = 0};
    cfs_list_for_each(l, &e->m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (!votes(e, p->name))
            continue;
        ret->n++;
        list_name(ret->all, sizeof ret->all, p->name);
        if (p->self ? !e->answers : !p->up)
            list_name(ret->lost, sizeof ret->lost, p->name);
    }
}

/* Why nothing can be changed, as the end of a sentence. */
static void say_why(struct engine *e, char *ret, size_t len)
{
    struct missing who;

    look_who_is_missing(e, &who);
    if (who.n == 1)
        snprintf(ret, len, "the etcd of node %s, which keeps it, %s", who.all,
                 *who.lost ? "cannot be reached" : "does not answer yet");
    else if (*who.lost)
        snprintf(ret, len, "that takes a majority of %s; %s cannot be reached",
                 who.all, who.lost);
    else
        snprintf(ret, len, "that takes a majority of %s, which have not "
                 "agreed on a leader yet", who.all);
}

static bool is_about_reach(int code)
{
    return code == -EHOSTUNREACH || code == -EAGAIN || code == -ETIMEDOUT;
}

void engine_explain(struct mgmtd *m, struct cfs_err *err)
{
    struct engine *e = m->engine;
    struct store_health h;
    char why[400];

    if (e && mark_is_etcd(e) && err->code == -ENOSPC) {
        snprintf(err->text, sizeof err->text, "the configuration cannot be "
                 "changed now: etcd is over its quota. Room is being made: "
                 "try again in some seconds; see: clusterfs cluster status");
        return;
    }
    if (!e || !mark_is_etcd(e) || !is_about_reach(err->code))
        return;
    store_health(m->store, &h);
    if (h.current)
        return;
    say_why(e, why, sizeof why);
    snprintf(err->text, sizeof err->text, "the configuration cannot be "
             "changed now: %s. What runs goes on; see: clusterfs cluster "
             "status", why);
}

char *engine_note(struct mgmtd *m)
{
    struct engine *e = m->engine;
    struct store_health h;
    char why[400];

    if (!e || !mark_is_etcd(e))
        return NULL;
    store_health(m->store, &h);
    if (h.current)
        return NULL;
    say_why(e, why, sizeof why);
    return mem_printf("the configuration cannot be asked or changed now, and "
                      "this is what node %s knew last: %s", m->node, why);
}

/* -- cluster status -------------------------------------------------------- */

struct show {
    struct command *c;
    unsigned        pending;
    unsigned        n;
    struct shown {
        struct show *show;
        struct peer *peer;
        json_t      *status;
        char         why[CFS_ERR_TEXT]; /* there is none */
    } node[VT_NODES_MAX];
};

static const char *role(struct engine *e, const char *node)
{
    const char *s = json_string_value(
        json_object_get(voter_of(e->rec, node), "state"));

    return s ? s : "";
}

static void put_lag(json_t *o, const struct show *sh, const json_t *status)
{
    uint64_t best = 0, own = etcd_u64(status, "revision");

    for (unsigned i = 0; i < sh->n; i++) {
        uint64_t r = etcd_u64(sh->node[i].status, "revision");

        best = r > best ? r : best;
    }
    json_object_set_new(o, "revision", json_integer((json_int_t)own));
    json_object_set_new(o, "lag", json_integer((json_int_t)(best - own)));
}

static const char *text_of(const json_t *o, const char *field)
{
    const char *s = json_string_value(json_object_get(o, field));

    return s ? s : "";
}

/* One line on what is the matter with this node; "" when nothing is. */
static const char *trouble(const struct shown *n)
{
    if (!n->status)
        return n->why;
    if (*text_of(n->status, "wiped"))
        return text_of(n->status, "wiped");
    if (*text_of(n->status, "reason"))
        return text_of(n->status, "reason");
    return text_of(n->status, "problem");
}

static json_t *show_node(struct engine *e, const struct show *sh,
                         const struct shown *n)
{
    struct peer *p = n->peer;
    uint64_t silent = peer_silence(p);
    json_t *o = mem_ok(json_pack(
        "{s:s,s:I,s:s,s:i,s:b,s:b,s:s,s:s,s:s,s:o}", "name", p->name,
        "number", (json_int_t)p->number, "host", p->host ? p->host : "",
        "port", (int)p->port, "self", p->self, "heard", n->status != NULL,
        "role", role(e, p->name), "etcd", text_of(n->status, "state"),
        "version", text_of(n->status, "version"), "problem",
        json_text(trouble(n))));

    if (n->status)
        put_lag(o, sh, n->status);
    else
        json_object_set_new(o, "silent_s",
                            json_integer((json_int_t)(silent / CFS_SEC)));
    return o;
}

static const char *leader_of(const struct show *sh, struct engine *e)
{
    for (unsigned i = 0; i < sh->n; i++) {
        uint64_t id = hex_of(sh->node[i].status, "leader");
        const char *name = id ? member_node(e, id) : NULL;

        if (name)
            return name;
    }
    return "";
}

static void put_problems(struct engine *e, json_t *o,
                         const struct store_health *h)
{
    json_t *list = mem_ok(json_array());
    char *note = engine_note(e->m);

    if (json_object_get(e->mark, "superseded")) {
        json_array_append_new(list, mem_ok(json_string(
            "the cluster was restored or rebuilt without this node: it must "
            "join again (clusterfs peer token there, then clusterfs peer join "
            "here)")));
    }
    if (note)
        json_array_append_new(list, json_text(note));
    if (e->answers && e->no_space)
        json_array_append_new(list, mem_ok(json_string(
            "etcd is over its quota, and takes no changes until room is made, "
            "which the voters do by themselves; if this stays, raise the quota "
            "(clusterfs-mgmtd --etcd-quota) on each of them")));
    if (note && h->problem[0])
        json_array_append_new(list, json_text(h->problem));
    if (e->waiting[0] && strcmp(e->waiting, "all is as it should be") != 0)
        json_array_append_new(list, json_text(e->waiting));
    free(note);
    json_object_set_new(o, "problems", list);
}

static json_t *heading(struct engine *e, const struct show *sh)
{
    struct mgmtd *m = e->m;
    const char *name = NULL;
    struct store_health h;
    json_t *rec = NULL, *o;

    store_health(m->store, &h);
    if (store_get(m->store, REC_CLUSTER, &rec, NULL, NULL) == 0)
        name = json_string_value(json_object_get(rec, "name"));
    o = mem_ok(json_pack(
        "{s:s,s:b,s:o,s:s,s:s,s:I,s:I,s:b,s:s,s:s}", "name", name ? name : "",
        "founded", m->founded, "id", rec_json_uuid(m->cluster), "node",
        m->node, "engine", mark_is_etcd(e) ? "etcd" : "sqlite", "lineage",
        (json_int_t)store_lineage(m->store), "revision",
        (json_int_t)store_revision(m->store), "current",
        !h.many || h.current, "leader", leader_of(sh, e), "doing", e->doing));
    json_decref(rec);
    put_problems(e, o, &h);
    return o;
}

static void show_all(struct show *sh)
{
    struct engine *e = sh->c->m->engine;
    json_t *o = heading(e, sh), *nodes = mem_ok(json_array());

    for (unsigned i = 0; i < sh->n; i++)
        json_array_append_new(nodes, show_node(e, sh, &sh->node[i]));
    for (unsigned i = 0; i < sh->n; i++)
        json_decref(sh->node[i].status);
    json_object_set_new(o, "nodes", nodes);
    command_ok(sh->c, o);
    free(sh);
}

static void on_status(void *arg, int status, json_t *result, const char *text)
{
    struct shown *n = arg;

    if (status == 0)
        n->status = json_incref(result);
    else
        snprintf(n->why, sizeof n->why, "%s", text);
    if (--n->show->pending == 0)
        show_all(n->show);
}

void cluster_status(struct command *c)
{
    struct engine *e = c->m->engine;
    struct show *sh = mem_new(sizeof *sh);

    sh->c = c;
    sh->pending = 1;
    cfs_list_for_each(l, &c->m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);
        struct shown *n = &sh->node[sh->n];

        if (sh->n == VT_NODES_MAX)
            break;
        sh->n++;
        n->show = sh;
        n->peer = p;
        if (p->self) {
            n->status = engine_own_status(e);
        } else if (p->up) {
            sh->pending++;
            peer_call(p, RPC_PEER_ENGINE_STATUS, mem_ok(json_object()),
                      ANSWER_MS, on_status, n);
        } else {
            snprintf(n->why, sizeof n->why, "%s",
                     p->problem[0] ? p->problem : "it is not heard");
        }
    }
    if (--sh->pending == 0)
        show_all(sh);
}
