/* SPDX-License-Identifier: Apache-2.0 */
/* peer_cmd.c - the verbs of the CLI about nodes: token, join, probe, detach,
 * status, list. */
#include <stdio.h>

#include "mgmtd/authority.h"
#include "mgmtd/engine.h"
#include "mgmtd/join.h"

#define WHO "peer"

#define PROBE_MS 130000u

/* -- token --------------------------------------------------------------- */

static void on_token(void *arg, json_t *token, const struct cfs_err *err)
{
    if (token)
        command_ok(arg, json_incref(token));
    else
        command_fail(arg, err);
}

void peer_token(struct command *c)
{
    struct mgmtd *m = c->m;
    const char *replace = command_str(c, "replace");
    json_int_t seconds =
        json_integer_value(json_object_get(c->args, "seconds"));
    struct cfs_err err = {0};
    char *address;

    if (seconds <= 0)
        seconds = JOIN_TOKEN_SECONDS;
    if (*replace && !peer_find(m, replace))
        cfs_err_set(&err, -ENOENT, "there is no node %.64s to be replaced; "
                    "see: clusterfs peer list", replace);
    else if (*replace && peer_find(m, replace)->up)
        cfs_err_set(&err, -EBUSY, "node %s is up: only one that is lost can "
                    "be replaced", replace);
    else if (*replace && peer_find(m, replace)->self)
        cfs_err_set(&err, -EINVAL, "node %s is this one", replace);
    if (err.code < 0) {
        command_fail(c, &err);
        return;
    }
    address = *command_str(c, "host")
                  ? peer_address(command_str(c, "host"), m->host.port)
                  : join_own_address(m);
    join_token_new(m, m->founded ? JOIN_MEMBER : JOIN_INVITE, address, seconds,
                   replace, on_token, c);
    free(address);
}

/* -- join ---------------------------------------------------------------- */

static void on_joined(void *arg, int status, const struct cfs_err *err)
{
    struct command *c = arg;
    const struct peer *self = peer_self(c->m);
    char id[CFS_UUID_STR];

    if (status < 0) {
        command_fail(c, err);
        return;
    }
    cfs_uuid_print(c->m->cluster, id);
    command_ok(c, mem_ok(json_pack("{s:s,s:s,s:i}", "name", c->m->node,
                                   "cluster", id, "number",
                                   self ? (int)self->number : 0)));
}

void peer_join(struct command *c)
{
    join_begin(c->m, command_str(c, "token"), command_str(c, "host"),
               command_str(c, "as"), on_joined, c);
}

/* -- probe --------------------------------------------------------------- */

struct probe {
    struct command    *c;
    struct trust_token token;
    char              *address;
    char              *own_token;
    struct rpc_tls    *tls;
    struct rpc_conn   *conn;
    bool               calling;
    struct cfs_timer   timer;
    struct cfs_err     err;
    json_t            *result;
};

static void probe_end(struct cfs_timer *t)
{
    struct probe *p = container_of(t, struct probe, timer);
    struct command *c = p->c;

    if (p->calling) { /* its answer, or the end of the line, comes here too */
        rpc_conn_reset(p->conn, "no answer in time");
        return;
    }
    rpc_conn_close(p->conn);
    rpc_tls_unref(p->tls);
    cfs_timer_fini(&p->timer);
    if (p->result)
        command_ok(c, p->result);
    else
        command_fail(c, &p->err);
    explicit_bzero(&p->token, sizeof p->token);
    free(p->own_token);
    free(p->address);
    free(p);
}

static void on_invited(void *arg, int status, json_t *result, const char *text)
{
    struct probe *p = arg;

    p->calling = false;
    if (status == 0)
        p->result = json_incref(result);
    else
        cfs_err_set(&p->err, status, "%s: %s", p->address, text);
    cfs_timer_start(&p->timer, 0);
}

static void on_probe_up(struct rpc_conn *conn, void *ctx)
{
    struct probe *p = ctx;
    char secret[65];
    json_t *args;

    if (p->calling || p->result || p->err.code < 0)
        return;
    join_hex(p->token.secret, secret);
    args = mem_ok(json_pack("{s:s,s:s,s:s}", "secret", secret, "token",
                            p->own_token, "as", command_str(p->c, "as")));
    explicit_bzero(secret, sizeof secret);
    p->calling = true;
    cfs_timer_stop(&p->timer);
    peer_call_on(conn, RPC_PEER_INVITE, args, PROBE_MS, on_invited, p);
}

static void on_probe_down(struct rpc_conn *conn, const struct cfs_err *why,
                          void *ctx)
{
    struct probe *p = ctx;

    if (p->calling || p->result || p->err.code < 0)
        return;
    if (why->code == -EKEYREJECTED)
        cfs_err_set(&p->err, why->code, "%s is not who made the token (%s); "
                    "is the address right?", p->address, why->text);
    else
        cfs_err_set(&p->err, why->code, "%s; does clusterfs-mgmtd run there?",
                    why->text);
    cfs_timer_start(&p->timer, 0);
}

static int probe_connect(struct probe *p, struct cfs_err *err)
{
    static const struct rpc_events events = {on_probe_up, on_probe_down};
    struct mgmtd *m = p->c->m;
    struct rpc_opts opts = rpc_opts_default;
    struct rpc_addr addr;
    int rc = rpc_addr_parse(p->address, &addr, err);

    if (rc == 0)
        rc = rpc_tls_new(&p->tls, err);
    if (rc < 0)
        return rc;
    rpc_tls_pin(p->tls, p->token.print);
    opts.tls = p->tls;
    opts.connect_ms = 5000;
    return rpc_connect(m->host.loop, m->host.log, WHO, &addr, &opts, NULL, 0,
                       &events, p, &p->conn, err);
}

static void on_own_token(void *arg, json_t *token, const struct cfs_err *err)
{
    struct probe *p = arg;

    if (!token)
        p->err = *err;
    else
        p->own_token = mem_str(
            json_string_value(json_object_get(token, "token")));
    if (!token || probe_connect(p, &p->err) < 0)
        cfs_timer_start(&p->timer, 0);
}

void peer_probe(struct command *c)
{
    struct mgmtd *m = c->m;
    const char *host = command_str(c, "host");
    struct probe *p = mem_new(sizeof *p);
    struct rpc_addr addr;
    char *address;

    p->c = c;
    cfs_timer_init(m->host.loop, &p->timer, probe_end);
    if (!m->founded)
        cfs_err_set(&p->err, -EINVAL, "this node is of no cluster itself; to "
                    "begin one: clusterfs cluster create");
    else
        trust_token_parse(command_str(c, "token"), &p->token, &p->err);
    if (p->err.code < 0) {
        cfs_timer_start(&p->timer, 0);
        return;
    }
    p->address = !*host ? mem_str(p->token.address)
                 : rpc_addr_parse(host, &addr, NULL) == 0
                     ? mem_str(host) : peer_address(host, CFS_PORT_MGMTD);
    address = join_own_address(m);
    join_token_new(m, JOIN_MEMBER, address, JOIN_TOKEN_SECONDS, NULL,
                   on_own_token, p);
    free(address);
}

/* -- detach -------------------------------------------------------------- */

struct detach {
    struct command *c;
    struct peer    *p;
    bool            was_up;
};

static void on_detached(void *arg, int status, const struct cfs_err *err)
{
    struct detach *d = arg;
    struct command *c = d->c;

    if (status < 0)
        command_fail(c, err);
    else
        command_ok(c, mem_ok(json_pack("{s:s,s:b}", "name", d->p->name,
                                       "told", d->was_up)));
    free(d);
}

static void on_revoked(void *arg, struct store_txn *t, uint64_t number,
                       const struct cfs_err *err)
{
    struct detach *d = arg;
    struct mgmtd *m = d->c->m;
    char *key;

    if (err) {
        store_txn_free(t);
        on_detached(d, err->code, err);
        return;
    }
    key = mem_printf("node/%s", d->p->name);
    store_txn_delete(t, key);
    free(key);
    d->was_up = d->p->up;
    peer_put_detached(t, d->p, cfs_realtime(m->host.loop).sec);
    store_commit(m->store, t, on_detached, d);
}

static void on_engine_without(void *arg, int status,
                              const struct cfs_err *err)
{
    struct detach *d = arg;
    struct mgmtd *m = d->c->m;
    struct store_txn *t;
    json_t *rec, *serials;
    uint64_t token;
    char *key;

    if (status < 0) {
        on_detached(d, status, err);
        return;
    }
    key = mem_printf("node/%s", d->p->name);
    if (d->p->gone || store_get(m->store, key, &rec, &token, NULL) < 0) {
        struct cfs_err why = {0};

        cfs_err_set(&why, -ENOENT, "node %s is no member any more",
                    d->p->name);
        on_detached(d, why.code, &why);
        free(key);
        return;
    }
    t = store_txn_new();
    store_txn_if(t, key, token);
    serials = peer_serials(d->p);
    authority_revoke(m, TRUST_NODES, serials, t, on_revoked, d);
    json_decref(serials);
    json_decref(rec);
    free(key);
}

/* The first volume that has a brick on @node; NULL: none. */
static const char *volume_on(struct mgmtd *m, const char *node)
{
    cfs_list_for_each(l, &m->volumes) {
        struct volume *vol = cfs_list_entry(l, struct volume, link);

        for (unsigned i = 0; i < vol->n; i++)
            if (strcmp(vol->brick[i].node, node) == 0)
                return vol->name;
    }
    return NULL;
}

static int check_detach(struct command *c, struct peer *p, struct cfs_err *err)
{
    const char *name = command_str(c, "name"), *vol;

    if (!p)
        return cfs_err_set(err, -ENOENT, "there is no node %.64s; see: "
                           "clusterfs peer list", name);
    vol = volume_on(c->m, p->name);
    if (vol && !command_flag(c, "force"))
        return cfs_err_set(err, -EBUSY, "volume %s has a brick on node %s: "
                           "remove it from there first; --force detaches the "
                           "node all the same, and its bricks are lost to "
                           "their volumes", vol, p->name);
    if (p->self && !command_flag(c, "force"))
        return cfs_err_set(err, -EINVAL, "%s is this node: detach it on "
                           "another one. If it was detached there and does "
                           "not know: --force makes it forget its cluster",
                           p->name);
    return 0;
}

/* This node forgets its cluster; the others are not asked. */
static void forget_here(struct command *c)
{
    struct mgmtd *m = c->m;
    struct cfs_err err = {0};

    cfs_log_warning(m->host.log, WHO, "this node is told to forget its "
                    "cluster");
    if (node_leave(m, &err) < 0)
        command_fail(c, &err);
    else
        command_ok(c, mem_ok(json_pack("{s:s,s:b}", "name", m->node, "told",
                                       1)));
}

void peer_detach(struct command *c)
{
    struct peer *p = peer_find(c->m, command_str(c, "name"));
    struct cfs_err err = {0};
    struct detach *d;

    if (check_detach(c, p, &err) < 0) {
        command_fail(c, &err);
        return;
    }
    if (p->self) {
        forget_here(c);
        return;
    }
    d = mem_new(sizeof *d);
    d->c = c;
    d->p = p;
    engine_remove_node(c->m, p->name, on_engine_without, d);
}

/* -- status, list -------------------------------------------------------- */

/* What another node said may have been cut inside of a character. */
static json_t *text_of(const char *s)
{
    char *ascii = mem_str(s);
    json_t *text = json_string(s);

    for (char *p = ascii; *p && !text; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    if (!text)
        text = mem_ok(json_string(ascii));
    free(ascii);
    return text;
}

static json_t *describe(struct peer *p)
{
    const uint64_t now = cfs_now(p->m->host.loop), heard = peer_heard(p);
    json_t *o = mem_ok(json_pack(
        "{s:s,s:i,s:o,s:s,s:i,s:b,s:b,s:o,s:o}", "name", p->name, "number",
        (int)p->number, "id", rec_json_uuid(p->id), "host", p->host, "port",
        (int)p->port, "self", p->self, "up", p->self || p->up, "version",
        text_of(p->self ? CFS_VERSION : p->version), "problem",
        text_of(p->problem)));

    if (heard)
        json_object_set_new(o, "silent_ms", mem_ok(json_integer(
            (json_int_t)((now > heard ? now - heard : 0) / CFS_MS))));
    return o;
}

void peer_list(struct command *c)
{
    struct mgmtd *m = c->m;
    json_t *list = mem_ok(json_array()), *o;

    cfs_list_for_each(l, &m->peers)
        json_array_append_new(list,
                              describe(cfs_list_entry(l, struct peer, link)));
    o = mem_ok(json_pack("{s:b,s:s,s:o}", "founded", m->founded, "node",
                         m->node, "peers", list));
    if (m->join)
        json_object_set_new(o, "joining", json_true());
    command_ok(c, o);
}
