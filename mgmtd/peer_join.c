/* SPDX-License-Identifier: Apache-2.0 */
/* peer_join.c - a member takes a new node in (JOIN); a node that is nobody's
 * is invited (INVITE).
 *
 * JOIN      look (token, name, id) -> etcd, if the engine is embedded yet ->
 *           with a token that replaces a node: that one's etcd member away ->
 *           sign -> one transaction -> answer
 *
 * What was looked at is looked at again before each step that somebody could
 * have been faster in (check_name()), and by the transaction: the token and the
 * cluster's record (numbers come from it) are as they were read, the name is
 * still free, or its owner's record as it was. If they are not, it begins
 * anew, a few times.
 */
#include <stdio.h>

#include "mgmtd/authority.h"
#include "mgmtd/engine.h"
#include "mgmtd/join.h"

#define WHO   "join"
#define TRIES 8u
#define NUMBER_WANTED_MAX 254u /* as cluster.conf has them */

struct taking {
    struct peer_req *req;
    struct mgmtd    *m;
    const char      *name, *csr; /* in req->args */
    struct cfs_uuid  id;
    char             host[256];
    uint16_t         port;
    char            *cert;
    unsigned         tries;
    /* as they were read */
    char            *token_key;
    json_t          *token_rec;
    uint64_t         token;
    uint64_t         number;
    uint64_t         wanted; /* number that it asks for; 0: any */
};

static const char *text_in(const json_t *o, const char *field)
{
    return json_string_value(json_object_get(o, field));
}

static char *node_key(const char *name)
{
    return mem_printf("node/%s", name);
}

/* -- the end ------------------------------------------------------------- */

static void forget_read(struct taking *t)
{
    free(t->token_key);
    json_decref(t->token_rec);
    t->token_key = NULL;
    t->token_rec = NULL;
}

static void taking_free(struct taking *t)
{
    forget_read(t);
    free(t->cert);
    free(t);
}

static void refuse(struct taking *t, const struct cfs_err *err)
{
    struct peer_req *req = t->req;

    if (strangers_may_log(t->m))
        cfs_log_warning(t->m->host.log, WHO, "%s, who wants to join as "
                        "%.64s, is refused: %s",
                        *t->host ? t->host : "somebody",
                        t->name ? t->name : "?", err->text);
    taking_free(t);
    peer_fail(req, err);
}

static void answer(struct taking *t, const char *cert)
{
    struct mgmtd *m = t->m;
    struct peer_req *req = t->req;
    json_t *result = mem_ok(json_pack(
        "{s:s,s:s,s:s,s:s*,s:s*,s:o}", "cert", cert, "node_ca",
        trust_ca_cert(m->trust, TRUST_NODES), "client_ca",
        trust_ca_cert(m->trust, TRUST_CLIENTS), "node_crl",
        trust_crl(m->trust, TRUST_NODES), "client_crl",
        trust_crl(m->trust, TRUST_CLIENTS), "engine", engine_info(m)));

    taking_free(t);
    peer_reply(req, result);
}

/* It has a token: what follows may take longer than a stranger is given. */
static void has_business(const struct peer_req *req)
{
    struct line *line = line_of(req->msg);

    if (line)
        line_admit(line);
}

/* -- looking ------------------------------------------------------------- */

static bool name_valid(const char *s)
{
    size_t len = strlen(s);

    return len > 0 && len < CFS_NODE_MAX &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789._-") == len;
}

static int read_args(struct taking *t, struct cfs_err *err)
{
    const json_t *a = t->req->args;
    const char *host = text_in(a, "host");
    uint64_t port = 0;

    t->name = text_in(a, "name");
    t->csr = text_in(a, "csr");
    if (!t->name || !t->csr || rec_uuid(a, "JOIN", "id", &t->id, err) < 0 ||
        rec_u64(a, "JOIN", "port", &port, err) < 0 || port == 0 ||
        port > UINT16_MAX) {
        *err = (struct cfs_err){0};
        return cfs_err_set(err, -EBADMSG, "a bad request to join");
    }
    t->port = (uint16_t)port;
    rec_u64(a, "JOIN", "number", &t->wanted, NULL);
    if (!name_valid(t->name))
        return cfs_err_set(err, -EINVAL, "'%.64s' is no name for a node: "
                           "letters, digits, '.', '-', '_'", t->name);
    if (host && *host) {
        if (strlen(host) >= sizeof t->host ||
            strspn(host, "abcdefghijklmnopqrstuvwxyz"
                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_") !=
                strlen(host))
            return cfs_err_set(err, -EINVAL, "'%.64s' is no address", host);
        snprintf(t->host, sizeof t->host, "%s", host);
    } else {
        rpc_conn_peer_host(t->req->msg->conn, t->host, sizeof t->host);
    }
    return 0;
}

/* A repeat: it is a member already, by this very token, with this key. Its
 * certificate, malloc'ed; NULL: it is not. */
static char *repeat(struct taking *t)
{
    struct peer *p = peer_find(t->m, t->name);
    const char *cert = p ? text_in(p->rec, "cert") : NULL;
    const char *by = p ? text_in(p->rec, "token") : NULL;
    uint8_t secret[TRUST_SECRET];
    char hash[65];

    if (!cert || !by || !cfs_uuid_eq(p->id, t->id) ||
        join_unhex(text_in(t->req->args, "secret"), secret) < 0)
        return NULL;
    trust_token_hash(secret, hash);
    if (strcmp(by, hash) != 0 || !trust_same_key(cert, t->csr))
        return NULL;
    return mem_str(cert);
}

/* A member that is nobody's any more, after a restore or a rebuild elsewhere:
 * who it is, its key proves. It keeps its number. */
static bool rejoins(const struct taking *t)
{
    const struct peer *p = peer_find(t->m, t->name);
    const char *cert = p ? text_in(p->rec, "cert") : NULL;

    return cert && cfs_uuid_eq(p->id, t->id) && trust_same_key(cert, t->csr);
}

static int check_name(struct taking *t, struct cfs_err *err)
{
    const char *replace = text_in(t->token_rec, "replace");

    cfs_list_for_each(l, &t->m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (cfs_uuid_eq(p->id, t->id) && strcmp(p->name, t->name) != 0)
            return cfs_err_set(err, -EEXIST, "it is a member already, as %s",
                               p->name);
    }
    if (replace && strcmp(replace, t->name) != 0)
        return cfs_err_set(err, -EACCES, "the token is for a node that takes "
                           "the place of %s, not for %s", replace, t->name);
    if (!peer_find(t->m, t->name) || replace || rejoins(t))
        return 0;
    return cfs_err_set(err, -EEXIST, "a node %s is a member already. If that "
                       "node was wiped: 'clusterfs peer token --replace %s' on "
                       "a member gives a token to take its place; if this is "
                       "another one, give it another name", t->name, t->name);
}

static int has_number(void *arg, const char *key, json_t *rec, uint64_t token,
                      struct cfs_err *err)
{
    const struct taking *t = arg;

    return (uint64_t)json_integer_value(json_object_get(rec, "number")) ==
           t->wanted;
}

/* Nobody has, or had, the number that it wants. */
static bool may_have(struct taking *t)
{
    cfs_list_for_each(l, &t->m->peers)
        if (cfs_list_entry(l, struct peer, link)->number == t->wanted)
            return false;
    return store_range(t->m->store, "detached/", has_number, t, NULL) == 0;
}

static void choose_number(struct taking *t, uint64_t last)
{
    t->number = last + 1;
    if (t->wanted == 0 || t->wanted > NUMBER_WANTED_MAX)
        return;
    if (may_have(t))
        t->number = t->wanted;
    else
        cfs_log_warning(t->m->host.log, WHO, "%s is number %llu by its "
                        "cluster.conf, which another node has or had: it gets "
                        "%llu", t->name, (unsigned long long)t->wanted,
                        (unsigned long long)t->number);
}

/* Numbers are never used again: the cluster's record has the highest. */
static int read_number(struct taking *t, json_t **ret_rec, uint64_t *ret_token,
                       struct cfs_err *err)
{
    uint64_t last = 0;
    int rc = store_get(t->m->store, REC_CLUSTER, ret_rec, ret_token, err);

    if (rc < 0)
        return rc;
    rec_u64(*ret_rec, "cluster", "last_number", &last, &(struct cfs_err){0});
    cfs_list_for_each(l, &t->m->peers)
        if (cfs_list_entry(l, struct peer, link)->number > last)
            last = cfs_list_entry(l, struct peer, link)->number;
    choose_number(t, last);
    json_object_set_new(*ret_rec, "last_number",
                        rec_json_u64(t->number > last ? t->number : last));
    return 0;
}

/* -- the transaction ----------------------------------------------------- */

static void look(struct taking *t);

static void on_committed(void *arg, int status, const struct cfs_err *err)
{
    struct taking *t = arg;

    if (status == -CFS_E_CONFLICT && ++t->tries < TRIES) {
        forget_read(t);
        look(t);
        return;
    }
    if (status < 0) {
        struct cfs_err why = *err;

        if (status == -CFS_E_CONFLICT || status == -EHOSTUNREACH)
            why.code = -EAGAIN; /* ask again: it may even have happened */
        refuse(t, &why);
        return;
    }
    cfs_log_info(t->m->host.log, WHO, "%s joined, at %s, as number %llu",
                 t->name, t->host, (unsigned long long)t->number);
    answer(t, t->cert);
}

static json_t *node_record(const struct taking *t)
{
    char serial[TRUST_SERIAL];

    trust_serial_of(t->cert, serial);
    return mem_ok(json_pack("{s:i,s:o,s:o,s:s,s:i,s:s,s:s,s:s}", "v",
                            REC_VERSION, "id", rec_json_uuid(t->id), "number",
                            rec_json_u64(t->number), "host", t->host, "port",
                            (int)t->port, "serial", serial, "cert", t->cert,
                            "token", t->token_key + strlen("token/")));
}

void peer_put_detached(struct store_txn *t, const struct peer *p, int64_t now)
{
    char id[CFS_UUID_STR], *key;
    json_t *rec;

    cfs_uuid_print(p->id, id);
    key = mem_printf("detached/%s", id);
    rec = mem_ok(json_pack("{s:i,s:s,s:i,s:I}", "v", REC_VERSION, "name",
                           p->name, "number", (int)p->number, "when",
                           (json_int_t)now));
    store_txn_put(t, key, rec);
    json_decref(rec);
    free(key);
}

json_t *peer_serials(const struct peer *p)
{
    json_t *list = json_copy(json_object_get(p->rec, "serials"));

    if (!json_is_array(list)) {
        json_decref(list);
        list = mem_ok(json_array());
    }
    json_array_append(list, json_object_get(p->rec, "serial"));
    return list;
}

/* Somebody may have taken the name, or come under another one, while this one
 * waited: whoever has no token to replace a member replaces none. The cluster's
 * record, which each member's transaction changes, is read in the same turn. */
static void put_rest(void *arg, struct store_txn *txn, uint64_t number,
                     const struct cfs_err *err)
{
    struct taking *t = arg;
    struct cfs_err why = {0};
    char *key = node_key(t->name);
    uint64_t cluster_token;
    json_t *cluster, *rec;

    if (err || check_name(t, &why) < 0 ||
        read_number(t, &cluster, &cluster_token, &why) < 0) {
        store_txn_free(txn);
        refuse(t, err ? err : &why);
        free(key);
        return;
    }
    store_txn_if(txn, REC_CLUSTER, cluster_token);
    store_txn_put(txn, REC_CLUSTER, cluster);
    store_txn_if(txn, t->token_key, t->token);
    store_txn_delete(txn, t->token_key);
    rec = node_record(t);
    store_txn_put(txn, key, rec);
    store_commit(t->m->store, txn, on_committed, t);
    json_decref(rec);
    json_decref(cluster);
    free(key);
}

/* The record of a node that rejoins, which was @rec. */
static void put_again(struct taking *t, struct store_txn *txn,
                      const char *key, const struct peer *old, json_t *rec)
{
    char serial[TRUST_SERIAL];

    trust_serial_of(t->cert, serial);
    json_object_set_new(rec, "serials", peer_serials(old));
    json_object_set_new(rec, "serial", mem_ok(json_string(serial)));
    json_object_set_new(rec, "cert", mem_ok(json_string(t->cert)));
    json_object_set_new(rec, "host", mem_ok(json_string(t->host)));
    json_object_set_new(rec, "port", json_integer(t->port));
    json_object_set_new(rec, "token", mem_ok(json_string(
        t->token_key + strlen("token/"))));
    store_txn_put(txn, key, rec);
    store_txn_if(txn, t->token_key, t->token);
    store_txn_delete(txn, t->token_key);
    t->number = old->number;
    store_commit(t->m->store, txn, on_committed, t);
}

static void commit(struct taking *t)
{
    struct store_txn *txn = store_txn_new();
    struct peer *old = peer_find(t->m, t->name);
    char *key = node_key(t->name);
    uint64_t token;
    json_t *rec, *serials;

    if (!old) {
        store_txn_if_absent(txn, key);
        put_rest(t, txn, 0, NULL);
    } else if (store_get(t->m->store, key, &rec, &token, NULL) == 0) {
        store_txn_if(txn, key, token);
        if (rejoins(t)) {
            put_again(t, txn, key, old, rec);
            json_decref(rec);
            free(key);
            return;
        }
        if (!cfs_uuid_eq(old->id, t->id))
            peer_put_detached(txn, old,
                              cfs_realtime(t->m->host.loop).sec);
        serials = peer_serials(old);
        authority_revoke(t->m, TRUST_NODES, serials, txn, put_rest, t);
        json_decref(serials);
        json_decref(rec);
    } else {
        store_txn_free(txn);
        forget_read(t);
        look(t);
    }
    free(key);
}

/* -- before it ----------------------------------------------------------- */

static void on_signed(void *arg, int status, json_t *result, const char *text)
{
    struct taking *t = arg;
    const char *cert = text_in(result, "cert");
    struct cfs_err err = {0};

    if (status < 0 || !cert) {
        cfs_err_set(&err, status < 0 ? status : -EBADMSG, "%s", text);
        refuse(t, &err);
        return;
    }
    free(t->cert);
    t->cert = mem_str(cert);
    commit(t);
}

static void on_old_away(void *arg, int status, const struct cfs_err *err)
{
    struct taking *t = arg;

    if (status < 0) {
        refuse(t, err);
        return;
    }
    authority_sign(t->m, TRUST_NODES, t->csr, t->name, &t->id, t->host,
                   on_signed, t);
}

static void on_many(void *arg, int status, const struct cfs_err *err)
{
    struct taking *t = arg;

    struct cfs_err why = {0};

    if (status < 0 && status != -EALREADY) {
        refuse(t, err);
        return;
    }
    if (check_name(t, &why) < 0) { /* somebody was faster */
        refuse(t, &why);
        return;
    }
    if (peer_find(t->m, t->name) && !rejoins(t))
        engine_remove_node(t->m, t->name, on_old_away, t);
    else
        on_old_away(t, 0, NULL);
}

static void look(struct taking *t)
{
    const char *secret = text_in(t->req->args, "secret");
    struct cfs_err err = {0};
    char *cert = repeat(t);

    if (cert) {
        answer(t, cert);
        free(cert);
        return;
    }
    if (join_token_look(t->m, JOIN_MEMBER, secret ? secret : "",
                        &t->token_key, &t->token_rec, &t->token, &err) < 0 ||
        check_name(t, &err) < 0) {
        refuse(t, &err);
        return;
    }
    has_business(t->req);
    engine_go_etcd(t->m, on_many, t);
}

void peer_on_join(struct peer_req *req)
{
    struct mgmtd *m = req->m;
    struct taking *t = mem_new(sizeof *t);
    struct cfs_err err = {0};

    t->req = req;
    t->m = m;
    if (!req->msg || !req->msg->conn)
        cfs_err_set(&err, -EINVAL, "not to oneself");
    else if (!m->founded || !trust_is_founded(m->trust))
        cfs_err_set(&err, -EACCES, "this node is of no cluster itself");
    else
        read_args(t, &err);
    if (err.code < 0)
        refuse(t, &err);
    else
        look(t);
}

/* -- being invited ------------------------------------------------------- */

struct invited {
    struct peer_req *req;
    struct mgmtd    *m;
};

static void on_joined(void *arg, int status, const struct cfs_err *err)
{
    struct invited *i = arg;

    if (status < 0)
        peer_fail(i->req, err);
    else
        peer_reply(i->req, mem_ok(json_pack("{s:s}", "name", i->m->node)));
    free(i);
}

static void on_used(void *arg, int status, const struct cfs_err *err)
{
    struct invited *i = arg;
    const char *token = text_in(i->req->args, "token");

    if (status < 0)
        on_joined(i, status, err);
    else
        join_begin(i->m, token ? token : "", NULL,
                   text_in(i->req->args, "as"), on_joined, i);
}

void peer_on_invite(struct peer_req *req)
{
    struct mgmtd *m = req->m;
    const char *secret = text_in(req->args, "secret");
    struct invited *i;
    struct store_txn *t;
    struct cfs_err err = {0};
    uint64_t token;
    json_t *rec;
    char *key;

    if (!engine_is_nobodys(m))
        cfs_err_set(&err, -EALREADY, "node %s is of a cluster already",
                    m->node);
    else
        join_token_look(m, JOIN_INVITE, secret ? secret : "", &key, &rec,
                        &token, &err);
    if (err.code < 0) {
        if (strangers_may_log(m))
            cfs_log_warning(m->host.log, WHO, "an invitation is refused: %s",
                            err.text);
        peer_fail(req, &err);
        return;
    }
    has_business(req);
    i = mem_new(sizeof *i);
    i->req = req;
    i->m = m;
    t = store_txn_new();
    store_txn_if(t, key, token);
    store_txn_delete(t, key);
    store_commit(m->store, t, on_used, i);
    json_decref(rec);
    free(key);
}

/* -- being told to leave ------------------------------------------------- */

int node_leave(struct mgmtd *m, struct cfs_err *err)
{
    int rc = m->leaving ? 0 : trust_forget(m->trust, err);

    if (m->leaving || rc < 0)
        return rc;
    m->leaving = true;
    return engine_forget(m, err);
}

/* A node that was not told, or not reached, is refused by everybody; then an
 * operator says it here: peer detach NAME --force. */
void peer_on_leave(struct peer_req *req)
{
    struct mgmtd *m = req->m;
    struct cfs_uuid cluster, id;
    struct cfs_err err = {0};

    if (!req->from)
        cfs_err_set(&err, -EINVAL, "not to oneself");
    else if (rec_uuid(req->args, "LEAVE", "cluster", &cluster, &err) == 0 &&
             rec_uuid(req->args, "LEAVE", "id", &id, &err) == 0 &&
             (!cfs_uuid_eq(cluster, m->cluster) ||
              !cfs_uuid_eq(id, m->node_id)))
        cfs_err_set(&err, -EXDEV, "that is another node, or cluster");
    if (err.code < 0) {
        peer_fail(req, &err);
        return;
    }
    cfs_log_warning(m->host.log, WHO, "%s says that this node was detached "
                    "from the cluster: it is nobody's now", req->from->name);
    peer_reply(req, NULL);
    if (node_leave(m, &err) < 0)
        cfs_log_error(m->host.log, WHO, "%s", err.text);
}
