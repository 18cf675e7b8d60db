/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c - the other nodes: they follow the records node/NAME; and a line to
 * each.
 *
 *   record comes -> the lower number connects -> TLS: a node of this name ->
 *   GREET: cluster, lineage, id -> up
 *
 * A line that is not up carries nothing but GREET (peer_prog.c). When both ends
 * are new to each other the one that connects may learn of the other's record
 * earlier than the other of its own: GREET is refused then (-EAGAIN), and
 * tried again with the connection.
 *
 * A node that greets while another process that is that node is heard on its
 * line is refused, and told of (engine_home.c has the rest of it).
 */
#include "mgmtd/peer.h"

#include <stdio.h>

#include "mgmtd/authority.h"
#include "mgmtd/engine.h"
#include "mgmtd/trust.h"

#define WHO "peer"

#define KEEPALIVE_MS 500u
#define IDLE_MS      6000u
#define GREET_MS     5000u
#define LEAVE_MS     900u
#define TWIN_NS      CFS_SEC /* twice KEEPALIVE_MS */
#define TWIN_SURE    5u      /* refusals */
#define PROTOCOL     1

static peer_listener *const listeners[] = {
    engine_peer_changed,
    node_peer_changed,
};

void peers_changed(struct peer *p)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(listeners); i++)
        listeners[i](p);
}

/* -- finding ------------------------------------------------------------- */

struct peer *peer_find(struct mgmtd *m, const char *name)
{
    cfs_list_for_each(l, &m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

struct peer *peer_self(struct mgmtd *m)
{
    cfs_list_for_each(l, &m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (p->self)
            return p;
    }
    return NULL;
}

static struct peer *peer_by_conn(struct mgmtd *m, const struct rpc_conn *c)
{
    cfs_list_for_each(l, &m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (p->conn == c)
            return p;
    }
    cfs_list_for_each(l, &m->peers_gone) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (p->conn == c)
            return p;
    }
    return NULL;
}

struct peer *peer_of(struct mgmtd *m, const struct rpc_msg *msg)
{
    struct peer *p = msg->conn ? peer_by_conn(m, msg->conn) : NULL;

    return p && p->up ? p : NULL;
}

unsigned peers_count(const struct mgmtd *m)
{
    unsigned n = 0;

    cfs_list_for_each(l, &m->peers)
        n++;
    return n;
}

uint64_t peer_heard(const struct peer *p)
{
    if (p->self)
        return cfs_now(p->m->host.loop);
    return p->up && p->conn ? rpc_conn_heard(p->conn) : 0;
}

uint64_t peer_silence(const struct peer *p)
{
    struct cfs_loop *loop = p->m->host.loop;

    if (p->self)
        return 0;
    return p->up && p->conn ? rpc_conn_silence(p->conn, cfs_now(loop))
                            : cfs_ran(loop) - p->away;
}

char *peer_address(const char *host, uint16_t port)
{
    return strchr(host, ':') ? mem_printf("[%s]:%u", host, port)
                             : mem_printf("%s:%u", host, port);
}

/* -- greeting ------------------------------------------------------------ */

static json_t *greeting(struct mgmtd *m)
{
    return mem_ok(json_pack(
        "{s:o,s:o,s:o,s:s,s:s,s:i,s:o,s:o}", "cluster",
        rec_json_uuid(m->cluster), "lineage",
        rec_json_u64(store_lineage(m->store)), "id",
        rec_json_uuid(m->node_id), "name", m->node, "version", CFS_VERSION,
        "protocol", PROTOCOL, "revision",
        rec_json_u64(store_revision(m->store)), "instance",
        rec_json_uuid(m->instance)));
}

static void problem(struct peer *p, const char *text)
{
    if (strcmp(p->problem, text) == 0)
        return;
    snprintf(p->problem, sizeof p->problem, "%s", text);
    if (*text)
        cfs_log_warning(p->m->host.log, WHO, "%s: %s", p->name, text);
}

/* All zeros: it does not say. */
static struct cfs_uuid instance_in(const json_t *g)
{
    struct cfs_uuid u = {{0}};

    rec_uuid(g, "a greeting", "instance", &u, NULL);
    return u;
}

static void went_up(struct peer *p, const json_t *g)
{
    const char *version = json_string_value(json_object_get(g, "version"));

    rec_u64(g, "a greeting", "revision", &p->revision, &(struct cfs_err){0});
    snprintf(p->version, sizeof p->version, "%s", version ? version : "?");
    p->instance = instance_in(g);
    p->m->refused_as_twin = 0;
    p->problem[0] = '\0';
    p->up = true;
    cfs_log_info(p->m->host.log, WHO, "%s is here (%s, %s)", p->name,
                 rpc_conn_name(p->conn), p->version);
    peers_changed(p);
}

/* Whether @g can be from @p, as it is known here. */
static int check_greeting(struct peer *p, const json_t *g,
                          struct cfs_err *err)
{
    struct mgmtd *m = p->m;
    const uint64_t mine = store_lineage(m->store);
    struct cfs_uuid cluster, id;
    uint64_t lineage;
    int rc;

    rc = rec_uuid(g, "a greeting", "cluster", &cluster, err);
    if (rc == 0)
        rc = rec_uuid(g, "a greeting", "id", &id, err);
    if (rc == 0)
        rc = rec_u64(g, "a greeting", "lineage", &lineage, err);
    if (rc < 0)
        return rc;
    if (!cfs_uuid_eq(cluster, m->cluster))
        return cfs_err_set(err, -EXDEV, "it is of another cluster");
    if (!cfs_uuid_eq(id, p->id))
        return cfs_err_set(err, -EACCES, "it is another node, of the same "
                           "name");
    if (lineage > mine) {
        m->lineage_ahead = lineage;
        engine_superseded(m, lineage);
        return cfs_err_set(err, -ESTALE, "the cluster's configuration was "
                           "rebuilt or restored without %s (its life %llu, "
                           "here %llu): %s must be detached and join anew",
                           m->node, (unsigned long long)lineage,
                           (unsigned long long)mine, m->node);
    }
    if (lineage < mine)
        return cfs_err_set(err, -ESTALE, "the cluster's configuration was "
                           "rebuilt or restored without %s (its life %llu, "
                           "here %llu): %s must be detached and join anew",
                           p->name, (unsigned long long)lineage,
                           (unsigned long long)mine, p->name);
    return 0;
}

/* Is another process that is node @p too on a line of its own, and well? One
 * that was started anew has none any more, or is silent there. */
static int check_twin(struct peer *p, const struct rpc_conn *c,
                      const json_t *g, struct cfs_err *err)
{
    const uint64_t now = cfs_now(p->m->host.loop);
    struct cfs_uuid said = instance_in(g);

    if (!p->up || !p->conn || p->conn == c || cfs_uuid_is_null(said) ||
        cfs_uuid_is_null(p->instance) || cfs_uuid_eq(said, p->instance) ||
        now - rpc_conn_heard(p->conn) > TWIN_NS)
        return 0;
    return cfs_err_set(err, -EBUSY, "%s is node %s, which is here already, at "
                       "%s: was its state directory copied?", rpc_conn_name(c),
                       p->name, rpc_conn_name(p->conn));
}

/* They called us. */
void peer_on_greet(struct peer_req *req)
{
    struct mgmtd *m = req->m;
    struct rpc_conn *c = req->msg ? req->msg->conn : NULL;
    struct cfs_err err = {0};
    const char *name;
    struct peer *p;

    if (!c) { /* ourselves, or gone already */
        peer_reply(req, greeting(m));
        return;
    }
    rpc_conn_peer(c, &name);
    p = peer_find(m, name);
    if (p && p->self) {
        cfs_err_set(&err, -EACCES, "%s is node %.64s too, as this one is: was "
                    "its state directory copied?", rpc_conn_name(c), name);
        problem(p, err.text);
    } else if (!p) {
        cfs_err_set(&err, -EAGAIN, "no node %.64s is a member, as far as %s "
                    "knows", name, m->node);
    } else if (check_greeting(p, req->args, &err) == 0 &&
               check_twin(p, c, req->args, &err) == 0) {
        if (p->conn && p->conn != c)
            peer_drop_line(p, "it connected anew");
        p->conn = c;
        p->ours = false;
        rpc_conn_set_patience(c, KEEPALIVE_MS, IDLE_MS);
        rpc_conn_limit(c, rpc_opts_default.max_calls, CFS_RPC_BODY_MAX);
        json_t *args = json_incref(req->args);

        peer_reply(req, greeting(m));
        went_up(p, args);
        json_decref(args);
        return;
    } else {
        if (err.code == -EBUSY)
            cfs_log_warning(m->host.log, WHO, "%s", err.text);
        else
            problem(p, err.text);
        /* One that is behind, or ahead, must know: it reads it from ours. */
        if (err.code == -ESTALE) {
            peer_reply(req, greeting(m));
            return;
        }
    }
    peer_fail(req, &err);
}

static void greeted(struct peer *p, struct rpc_msg *reply)
{
    struct mgmt_peer_json r;
    struct cfs_err err = {0};
    struct cfs_arena a;
    json_t *g = NULL;

    cfs_arena_init(&a);
    if (mgmt_unpack_peer_json(&a, reply->body, &r) == 0)
        g = json_loads(r.json, JSON_REJECT_DUPLICATES, NULL);
    cfs_arena_fini(&a);
    if (check_greeting(p, g, &err) == 0) {
        went_up(p, g);
    } else {
        problem(p, err.text);
        rpc_conn_reset(p->conn, err.text);
    }
    json_decref(g);
}

/* We called them. */
static void on_greet_reply(struct rpc_call *call, int status,
                           struct rpc_msg *reply)
{
    struct peer *p = container_of(call, struct peer, greet);
    const char *text = reply ? rpc_reply_text(reply) : NULL;

    p->greeting = false;
    if (!p->conn || !p->ours || !rpc_conn_is_up(p->conn))
        return;
    if (status == 0) {
        greeted(p, reply);
        return;
    }
    problem(p, text ? text : cfs_err_str(status));
    rpc_conn_reset(p->conn, "the greeting was refused");
    /* Not at once: after a crash somebody may think for a moment that our
     * last process is still there. */
    if (status == -EBUSY && ++p->m->refused_as_twin == TWIN_SURE)
        engine_is_twin(p->m);
}

static void greet(struct peer *p)
{
    json_t *g = greeting(p->m);
    char *text = mem_ok(json_dumps(g, JSON_COMPACT));
    struct cfs_arena a;

    cfs_arena_init(&a);
    p->greeting = true;
    rpc_call(p->conn, &p->greet, &rpc_to_peer, RPC_PEER_GREET,
             mgmt_pack_peer_json(&a, &(struct mgmt_peer_json){.json = text}),
             (struct cfs_buf){0}, GREET_MS, on_greet_reply);
    cfs_arena_fini(&a);
    free(text);
    json_decref(g);
}

/* -- lines --------------------------------------------------------------- */

static void went_down(struct peer *p, const char *why)
{
    const bool was_up = p->up;

    p->up = false;
    if (was_up)
        p->away = cfs_ran(p->m->host.loop);
    if (p->gone)
        return;
    if (!p->problem[0] || was_up)
        problem(p, why);
    if (was_up)
        peers_changed(p);
}

static void on_up(struct rpc_conn *c, void *ctx)
{
    struct peer *p = ctx;
    const char *name;

    rpc_conn_peer(c, &name);
    if (strcmp(name, p->name) != 0) {
        char *why = mem_printf("at %s is %.64s", rpc_conn_name(c), name);

        problem(p, why);
        rpc_conn_reset(c, why);
        free(why);
        return;
    }
    if (!p->greeting)
        greet(p);
}

static void on_down(struct rpc_conn *c, const struct cfs_err *why, void *ctx)
{
    struct peer *p = ctx;

    if (p->gone)
        peer_drop_line(p, why->text);
    else
        went_down(p, why->text);
}

static void connect_to(struct peer *p)
{
    static const struct rpc_events events = {on_up, on_down};
    struct mgmtd *m = p->m;
    struct rpc_opts opts = rpc_opts_default;
    struct cfs_err err = {0};
    struct rpc_addr addr;
    char *text = peer_address(p->host, p->port);

    opts.tls = trust_tls(m->trust);
    opts.keepalive_ms = KEEPALIVE_MS;
    opts.idle_ms = IDLE_MS;
    opts.connect_ms = 5000;
    p->ours = true;
    if (rpc_addr_parse(text, &addr, &err) < 0 ||
        rpc_connect(m->host.loop, m->host.log, WHO, &addr, &opts,
                    &m->peer_program, 1, &events, p, &p->conn, &err) < 0)
        problem(p, err.text);
    free(text);
}

void peer_drop_line(struct peer *p, const char *why)
{
    struct rpc_conn *c = p->conn;

    p->conn = NULL;
    if (c && p->ours)
        rpc_conn_close(c);
    else if (c)
        rpc_conn_reset(c, why);
    if (c)
        went_down(p, why);
}

void peer_line_lost(struct mgmtd *m, struct rpc_conn *c, const char *why)
{
    struct peer *p = peer_by_conn(m, c);

    if (!p)
        return;
    p->conn = NULL;
    went_down(p, why);
}

/* -- records ------------------------------------------------------------- */

int rec_node_read(const json_t *rec, const char *key, struct rec_node *ret,
                  struct cfs_err *err)
{
    struct rec_node r = {0};
    int rc = rec_uuid(rec, key, "id", &r.id, err);

    if (rc == 0)
        rc = rec_u64(rec, key, "number", &r.number, err);
    if (rc == 0)
        rc = rec_str(rec, key, "host", &r.host, err);
    if (rc == 0)
        rc = rec_u64(rec, key, "port", &r.port, err);
    if (rc < 0)
        return rc;
    if (r.number == 0 || r.number > UINT32_MAX || r.port == 0 ||
        r.port > UINT16_MAX)
        return cfs_err_set(err, -CFS_E_CORRUPT, "%s: number or port out of "
                           "range", key);
    r.serial = json_string_value(json_object_get(rec, "serial"));
    if (!r.serial)
        r.serial = "";
    *ret = r;
    return 0;
}

static void peer_free(struct peer *p)
{
    cfs_list_del(&p->link);
    json_decref(p->rec);
    free(p->name);
    free(p->host);
    free(p);
}

static void on_left(void *arg, int status, json_t *result, const char *text)
{
    peer_drop_line(arg, "it was detached");
}

/* It hears of it from everybody who has a line to it; that line carries
 * nothing else from now on. */
static void say_goodbye(struct peer *p)
{
    json_t *args = mem_ok(json_pack("{s:o,s:o}", "cluster",
                                    rec_json_uuid(p->m->cluster), "id",
                                    rec_json_uuid(p->id)));

    peer_call_on(p->conn, RPC_PEER_LEAVE, args, LEAVE_MS, on_left, p);
}

/* Our own copy of the configuration says that we are out. */
static void on_leave(struct cfs_task *t)
{
    struct peer *p = container_of(t, struct peer, leave);
    struct cfs_err err = {0};

    cfs_log_warning(p->m->host.log, WHO, "this node was detached from the "
                    "cluster: it is nobody's now");
    if (node_leave(p->m, &err) < 0)
        cfs_log_error(p->m->host.log, WHO, "%s", err.text);
}

/* Those who have it in their hands look at .gone; the memory stays until the
 * end, there are not many. */
static void peer_gone(struct peer *p)
{
    const bool was_up = p->up && !p->self;

    cfs_log_info(p->m->host.log, WHO, "%s is no member any more", p->name);
    p->gone = true;
    p->up = false;
    cfs_list_del(&p->link);
    cfs_list_add_tail(&p->m->peers_gone, &p->link);
    if (was_up)
        say_goodbye(p);
    else
        peer_drop_line(p, "it was detached");
    if (p->self) {
        cfs_task_init(&p->leave, on_leave);
        cfs_task_post(p->m->host.loop, &p->leave);
    }
    peers_changed(p);
}

static void insert(struct mgmtd *m, struct peer *p)
{
    struct cfs_list *before = &m->peers;

    cfs_list_for_each(l, &m->peers)
        if (cfs_list_entry(l, struct peer, link)->number > p->number) {
            before = l;
            break;
        }
    cfs_list_add_tail(before, &p->link);
}

/* Who connects to whom: also anew, when an address or our own number became
 * known. */
static void connect_all(struct mgmtd *m)
{
    const struct peer *self = peer_self(m);

    cfs_list_for_each(l, &m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (self && !p->self && !p->conn && self->number < p->number)
            connect_to(p);
    }
}

/* True: it was somewhere else before. */
static bool set_place(struct peer *p, const struct rec_node *r)
{
    bool moved = p->host != NULL;

    if (p->host && strcmp(p->host, r->host) == 0 && p->port == r->port)
        return false;
    free(p->host);
    p->host = mem_str(r->host);
    p->port = (uint16_t)r->port;
    if (p->conn && p->ours) {
        char *text = peer_address(p->host, p->port);
        struct rpc_addr addr;

        if (rpc_addr_parse(text, &addr, NULL) == 0)
            rpc_conn_redirect(p->conn, &addr);
        free(text);
    }
    return moved;
}

static void peer_add(struct mgmtd *m, const char *name, json_t *rec,
                     const struct rec_node *r)
{
    struct peer *p = mem_new(sizeof *p);

    p->m = m;
    p->id = r->id;
    p->name = mem_str(name);
    p->number = (uint32_t)r->number;
    p->away = cfs_ran(m->host.loop);
    p->self = cfs_uuid_eq(r->id, m->node_id);
    if (p->self)
        m->founded = true; /* also when the copy was empty at our start */
    p->rec = json_incref(rec);
    set_place(p, r);
    insert(m, p);
    if (p->self)
        engine_placed(m);
    else
        snprintf(p->problem, sizeof p->problem, "not connected yet");
    peers_changed(p);
}

static int take(struct mgmtd *m, const char *key, json_t *rec,
                struct cfs_err *err)
{
    const char *name = key + strlen("node/");
    struct peer *p = peer_find(m, name);
    struct rec_node r;
    int rc;

    if (!rec) {
        if (p)
            peer_gone(p);
        return 0;
    }
    rc = rec_node_read(rec, key, &r, err);
    if (rc < 0)
        return rc;
    if (p && (!cfs_uuid_eq(p->id, r.id) || p->number != r.number)) {
        peer_gone(p); /* another one took its name */
        p = NULL;
    }
    if (!p) {
        peer_add(m, name, rec, &r);
        return 0;
    }
    json_decref(p->rec);
    p->rec = json_incref(rec);
    if (set_place(p, &r)) {
        cfs_log_info(m->host.log, WHO, "%s is at %s now", name, p->host);
        if (p->self)
            engine_moved(m);
        peers_changed(p);
    }
    return 0;
}

static void on_node(struct store_watch *w, const char *key, json_t *value,
                    uint64_t token)
{
    struct mgmtd *m = container_of(w, struct mgmtd, on_node);
    struct cfs_err err = {0};

    if (take(m, key, value, &err) < 0)
        cfs_log_error(m->host.log, WHO, "%s", err.text);
    connect_all(m);
}

static int each_node(void *arg, const char *key, json_t *value,
                     uint64_t token, struct cfs_err *err)
{
    return take(arg, key, value, err);
}

/* -- life ---------------------------------------------------------------- */

int peers_load(struct mgmtd *m, struct cfs_err *err)
{
    int rc;

    peer_program(m, &m->peer_program);
    rc = store_range(m->store, "node/", each_node, m, err);
    if (rc < 0)
        return rc;
    m->on_node.prefix = "node/";
    m->on_node.changed = on_node;
    store_watch(m->store, &m->on_node);
    connect_all(m);
    return authority_start(m, err);
}

static void close_lines(struct cfs_list *peers)
{
    cfs_list_for_each(l, peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (p->conn && p->ours)
            rpc_conn_close(p->conn);
        p->conn = NULL;
        p->up = false;
    }
}

/* Calls that are under way end unanswered: the process does, too. */
void peers_close(struct mgmtd *m)
{
    authority_stop(m);
    if (m->on_node.changed)
        store_unwatch(&m->on_node);
    close_lines(&m->peers);
    close_lines(&m->peers_gone);
}

void peers_free(struct mgmtd *m)
{
    cfs_list_for_each_safe(l, &m->peers)
        peer_free(cfs_list_entry(l, struct peer, link));
    cfs_list_for_each_safe(l, &m->peers_gone)
        peer_free(cfs_list_entry(l, struct peer, link));
}
