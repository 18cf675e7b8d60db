/* SPDX-License-Identifier: Apache-2.0 */
/* engine_step.c - change etcd's members by one step. Each may be cut off at
 * any point and repeated: the next look sets right what was left.
 *
 *   claim     the record gets "step": who does what. The transaction fails if
 *             somebody changed the record: only one acts on one state.
 *   request   /v3/cluster/member/add (a learner), promote, remove, update
 *   conclude  the record says what came of it, and "step" is gone
 *   add, then: the node gets the authorities' keys (PEER.CA_KEYS), then is
 *             told to be that member (PEER.ENGINE_PREPARE)
 *
 * cut off    behind an add: a learner that no record names, removed (rule 6);
 *            behind promote or remove: engine_member.c sets the record right;
 *            behind update: it is done once more;
 *            before the node was told: it is told at the next look.
 *
 * Etcd refuses changes of members for some seconds after connections among
 * them changed ("unhealthy cluster"): the step fails, and is tried again at a
 * later look; cluster status says so.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "mgmtd/engine_impl.h"
#include "mgmtd/trust.h"
#include "mgmtd/voters_core.h"

#define WHO "engine"

#define TRY_MS     4000u
#define TOTAL_MS   8000u
#define TELL_MS    10000u
#define SOON       (200 * CFS_MS)
#define AFTER_FAIL (2 * CFS_SEC)

struct step {
    struct engine *e;
    enum vt_verb   verb;
    char          *node;   /* whose etcd it is; "" when nobody's */
    char          *host;   /* VT_ADD, VT_MOVE */
    uint16_t       port;
    uint64_t       member; /* VT_ADD: once it has one */
    json_t        *args;   /* of ENGINE_PREPARE */
};

static void step_free(struct step *s)
{
    s->e->step = NULL;
    s->e->doing[0] = '\0';
    json_decref(s->args);
    free(s->node);
    free(s->host);
    free(s);
}

void step_close(struct engine *e)
{
    if (e->step)
        step_free(e->step);
}

static void step_end(struct step *s, int status, const char *text)
{
    struct engine *e = s->e;
    const char *doing = e->doing;

    if (status < 0) {
        snprintf(e->problem, sizeof e->problem, "%s: %.300s", doing, text);
        cfs_log_warning(e->m->host.log, WHO, "%s", e->problem);
    } else {
        e->problem[0] = '\0';
        cfs_log_info(e->m->host.log, WHO, "%s: done", doing);
    }
    step_free(s);
    members_look(e, status < 0 ? AFTER_FAIL : SOON);
}

/* -- the record ----------------------------------------------------------- */

void step_commit(struct engine *e, json_t *rec, store_done *done, void *arg)
{
    struct store_txn *t = store_txn_new();

    json_object_set_new(rec, "serial",
                        json_integer((json_int_t)e->rec_serial + 1));
    if (e->rec)
        store_txn_if(t, REC_ENGINE, e->rec_token);
    else
        store_txn_if_absent(t, REC_ENGINE);
    store_txn_put(t, REC_ENGINE, rec);
    store_commit(e->m->store, t, done, arg);
    json_decref(rec);
}

/* -- telling the node ------------------------------------------------------ */

static void on_told(void *arg, int status, json_t *result, const char *text)
{
    step_end(arg, status, text);
}

static void tell(struct step *s)
{
    struct peer *p = peer_find(s->e->m, s->node);

    if (!p) {
        step_end(s, -ENOENT, "the node is no member any more");
        return;
    }
    peer_call(p, RPC_PEER_ENGINE_PREPARE, json_incref(s->args), TELL_MS,
              on_told, s);
}

static void on_keys(void *arg, int status, json_t *result, const char *text)
{
    struct step *s = arg;

    if (status < 0)
        step_end(s, status, text);
    else
        tell(s);
}

/* A voter signs: it needs the authorities' keys before it is one. */
static void give_keys(struct step *s)
{
    struct peer *p = peer_find(s->e->m, s->node);
    struct cfs_err err = {0};
    json_t *keys;

    if (!p) {
        step_end(s, -ENOENT, "the node is no member any more");
        return;
    }
    if (p->self) {
        tell(s);
        return;
    }
    keys = trust_ca_keys(s->e->m->trust, &err);
    if (!keys)
        step_end(s, err.code, err.text);
    else
        peer_call(p, RPC_PEER_CA_KEYS, keys, TELL_MS, on_keys, s);
}

/* NAME=URL,... of all of @list; the new one has no name there yet. */
static json_t *prepare_args(struct engine *e, const char *node,
                            uint64_t member, const json_t *list)
{
    char *initial = mem_str(""), token[24];
    const json_t *m;
    size_t i;

    json_array_foreach(json_object_get(list, "members"), i, m) {
        const char *name = json_string_value(json_object_get(m, "name"));
        const char *url = json_string_value(
            json_array_get(json_object_get(m, "peerURLs"), 0));
        char *longer;

        if (etcd_u64(m, "ID") == member)
            name = node;
        if (!name || !*name || !url)
            continue;
        longer = mem_printf("%s%s%s=%s", initial, *initial ? "," : "", name,
                            url);
        free(initial);
        initial = longer;
    }
    snprintf(token, sizeof token, "%" PRIu64, store_lineage(e->m->store));
    json_t *args = mem_ok(json_pack(
        "{s:o,s:o,s:s,s:s,s:s}", "member", json_hex(member), "since",
        json_hex(e->rec_serial), "initial", initial, "token",
        json_string_value(json_object_get(e->rec, "token")), "lineage",
        token));
    free(initial);
    return args;
}

void step_prepare(struct engine *e, struct peer *p, const json_t *list)
{
    struct step *s = mem_new(sizeof *s);

    s->e = e;
    s->verb = VT_ADD;
    s->node = mem_str(p->name);
    s->member = hex_of(voter_of(e->rec, p->name), "member");
    s->args = prepare_args(e, s->node, s->member, list);
    e->step = s;
    snprintf(e->doing, sizeof e->doing, "telling node %.60s to start etcd",
             s->node);
    give_keys(s);
}

/* -- conclude -------------------------------------------------------------- */

static void on_concluded(void *arg, int status, const struct cfs_err *err)
{
    struct step *s = arg;

    if (s->e->over)
        return;
    if (status < 0)
        step_end(s, status, err->text);
    else if (s->verb != VT_ADD)
        step_end(s, 0, "");
    else {
        json_object_set_new(s->args, "since", json_hex(s->e->rec_serial));
        give_keys(s);
    }
}

static void put_added(struct step *s, json_t *voters)
{
    char *client = etcd_client_url(s->host, s->port);
    char *peer = etcd_peer_url(s->host, s->port);

    json_object_set_new(
        voters, s->node,
        mem_ok(json_pack("{s:o,s:s,s:s,s:s}", "member", json_hex(s->member),
                         "client", client, "peer", peer, "state",
                         "learner")));
    free(client);
    free(peer);
}

static void put_moved(struct step *s, json_t *voter)
{
    char *client = etcd_client_url(s->host, s->port);
    char *peer = etcd_peer_url(s->host, s->port);

    json_object_set_new(voter, "client", mem_ok(json_string(client)));
    json_object_set_new(voter, "peer", mem_ok(json_string(peer)));
    free(client);
    free(peer);
}

static void put_past(json_t *rec, const char *node)
{
    json_t *past = json_object_get(rec, "past");

    for (size_t i = 0; i < json_array_size(past); i++) {
        const char *name = json_string_value(json_array_get(past, i));

        if (name && strcmp(name, node) == 0)
            return;
    }
    json_array_append_new(past, mem_ok(json_string(node)));
}

static void conclude(struct step *s)
{
    struct engine *e = s->e;
    json_t *rec = mem_ok(json_deep_copy(e->rec));
    json_t *voters = json_object_get(rec, "voters");

    json_object_del(rec, "step");
    if (s->verb == VT_ADD) {
        put_added(s, voters);
    } else if (s->verb == VT_REMOVE) {
        if (*s->node)
            json_object_del(voters, s->node);
    } else if (s->verb == VT_MOVE) {
        put_moved(s, json_object_get(voters, s->node));
    } else {
        json_t *v = json_object_get(voters, s->node);

        json_object_set_new(v, "state", mem_ok(json_string("voter")));
        put_past(rec, s->node);
    }
    step_commit(e, rec, on_concluded, s);
}

/* -- the request ----------------------------------------------------------- */

static void on_changed(void *arg, int status, json_t *reply,
                       const struct cfs_err *err)
{
    struct step *s = arg;

    if (status < 0) {
        step_end(s, status, err->text);
        return;
    }
    if (s->verb == VT_ADD) {
        s->member = etcd_u64(json_object_get(reply, "member"), "ID");
        s->args = prepare_args(s->e, s->node, s->member, reply);
    }
    conclude(s);
}

static void change(struct step *s)
{
    struct engine *e = s->e;
    const char *path;
    char id[24], *url;
    json_t *body;

    snprintf(id, sizeof id, "%" PRIu64, s->member);
    if (s->verb == VT_ADD) {
        url = etcd_peer_url(s->host, s->port);
        body = mem_ok(json_pack("{s:[s],s:b}", "peerURLs", url, "isLearner",
                                1));
        free(url);
        path = "/v3/cluster/member/add";
    } else if (s->verb == VT_MOVE) {
        url = etcd_peer_url(s->host, s->port);
        body = mem_ok(json_pack("{s:s,s:[s]}", "ID", id, "peerURLs", url));
        free(url);
        path = "/v3/cluster/member/update";
    } else {
        body = mem_ok(json_pack("{s:s}", "ID", id));
        path = s->verb == VT_PROMOTE ? "/v3/cluster/member/promote"
                                     : "/v3/cluster/member/remove";
    }
    etcd_post(e->client, path, body, TRY_MS, TOTAL_MS, on_changed, s);
}

/* -- claim ----------------------------------------------------------------- */

static void on_claimed(void *arg, int status, const struct cfs_err *err)
{
    struct step *s = arg;

    if (s->e->over)
        return;
    if (status < 0)
        step_end(s, status, err->text);
    else
        change(s);
}

static void claim(struct step *s)
{
    static const char *const verbs[] = {
        [VT_ADD] = "add", [VT_PROMOTE] = "promote", [VT_REMOVE] = "remove",
        [VT_MOVE] = "move"};
    struct engine *e = s->e;
    json_t *rec = mem_ok(json_deep_copy(e->rec));
    struct cfs_time t = cfs_realtime(e->m->host.loop);

    json_object_set_new(
        rec, "step",
        mem_ok(json_pack("{s:s,s:s,s:s,s:I}", "verb", verbs[s->verb], "node",
                         s->node, "by", e->m->node, "at",
                         (json_int_t)t.sec)));
    step_commit(e, rec, on_claimed, s);
}

void step_run(struct engine *e, const struct vt_step *step, struct peer *node,
              const json_t *list)
{
    static const char *const words[] = {
        [VT_ADD] = "adding a voter", [VT_PROMOTE] = "promoting a voter",
        [VT_REMOVE] = "removing a voter",
        [VT_MOVE] = "telling where a voter is now"};
    struct step *s = mem_new(sizeof *s);
    const char *name = node ? node->name : member_node(e, step->member);

    s->e = e;
    s->verb = step->verb;
    s->node = mem_str(name ? name : "");
    s->member = step->member;
    if (node) {
        s->host = mem_str(node->host);
        s->port = node->port;
    }
    e->step = s;
    snprintf(e->doing, sizeof e->doing, "%s, %.60s (%.40s)",
             words[step->verb], *s->node ? s->node : "nobody's", step->why);
    cfs_log_info(e->m->host.log, WHO, "%s", e->doing);
    claim(s);
}
