/* SPDX-License-Identifier: Apache-2.0 */
/* authority.c - signing, revoking, renewing; see authority.h.
 *
 * An order to the authority is a JSON object, the same whether it is carried
 * out here or sent:
 *   {"ca", "csr", "name", "id"?, "host"?}     -> {"cert"}
 *   {"ca", "old": PEM, "name"}                -> {"cert"}, for its key
 *   {"ca", "revoked": [serials], "number"}    -> {"crl"}
 * Nodes trust each other wholly (each may write the store), so a voter signs
 * what a member asks for.
 */
#include "mgmtd/authority.h"

#include <stdio.h>

#include "mgmtd/engine.h"
#include "mgmtd/revoked.h"

#define WHO "trust"

#define SIGN_MS     5000u
#define RECHECK     (1 * CFS_SEC)    /* after a list: LEAVE goes out first */
#define LOOK_EVERY  (600 * CFS_SEC)  /* whether to renew */
#define LOOK_FIRST  (10 * CFS_SEC)
#define LOOK_SHORT  (1 * CFS_SEC)    /* with --certificate-life */
#define SERIALS_MAX 16384u
#define KEEP_SERIALS 4u /* of a node's certificates that may still be good */

struct authority {
    struct mgmtd      *m;
    struct store_watch on_ca;
    struct cfs_timer   recheck;
    struct cfs_timer   renew;
    bool               renewing;
    char              *cert; /* new one, until its serial is recorded */
};

static const char *ca_word(enum trust_ca ca)
{
    return ca == TRUST_NODES ? "nodes" : "clients";
}

/* -- orders, here -------------------------------------------------------- */

static const char *text_in(const json_t *o, const char *field)
{
    return json_string_value(json_object_get(o, field));
}

static int do_sign(struct mgmtd *m, enum trust_ca ca, const json_t *order,
                   json_t **ret, struct cfs_err *err)
{
    const char *csr = text_in(order, "csr"), *name = text_in(order, "name");
    const char *host = text_in(order, "host"), *text = text_in(order, "id");
    struct cfs_uuid id;
    char *cert;
    int rc;

    if (!csr || !name || (text && cfs_uuid_parse(text, &id) < 0))
        return cfs_err_set(err, -EBADMSG, "a bad order to sign");
    rc = trust_sign(m->trust, ca, csr, name, text ? &id : NULL, host, &cert,
                    err);
    if (rc == 0) {
        *ret = mem_ok(json_pack("{s:s}", "cert", cert));
        free(cert);
    }
    return rc;
}

static int do_sign_again(struct mgmtd *m, enum trust_ca ca,
                         const json_t *order, json_t **ret,
                         struct cfs_err *err)
{
    const char *name = text_in(order, "name");
    char *cert;
    int rc;

    if (!name)
        return cfs_err_set(err, -EBADMSG, "a bad order to sign");
    rc = trust_sign_again(m->trust, ca, text_in(order, "old"), name, &cert,
                          err);
    if (rc == 0) {
        *ret = mem_ok(json_pack("{s:s}", "cert", cert));
        free(cert);
    }
    return rc;
}

static int do_revoke(struct mgmtd *m, enum trust_ca ca, const json_t *order,
                     json_t **ret, struct cfs_err *err)
{
    json_t *serials = json_object_get(order, "revoked");
    json_int_t number = json_integer_value(json_object_get(order, "number"));
    size_t n = json_array_size(serials);
    const char **list;
    char *crl;
    int rc;

    if (n > SERIALS_MAX)
        return cfs_err_set(err, -E2BIG, "too many revoked certificates");
    list = mem_new((n + 1) * sizeof *list);
    for (size_t i = 0; i < n; i++) {
        list[i] = json_string_value(json_array_get(serials, i));
        if (!list[i])
            list[i] = "";
    }
    rc = trust_revoke(m->trust, ca, list, n,
                      number > 0 ? (uint64_t)number : n + 1, &crl, err);
    if (rc == 0) {
        *ret = mem_ok(json_pack("{s:s}", "crl", crl));
        free(crl);
    }
    free(list);
    return rc;
}

static int carry_out(struct mgmtd *m, const json_t *order, json_t **ret,
                     struct cfs_err *err)
{
    const char *word = text_in(order, "ca");
    enum trust_ca ca;

    if (!word || (strcmp(word, "nodes") != 0 && strcmp(word, "clients") != 0))
        return cfs_err_set(err, -EBADMSG, "an order to no authority");
    ca = strcmp(word, "nodes") == 0 ? TRUST_NODES : TRUST_CLIENTS;
    if (json_object_get(order, "revoked"))
        return do_revoke(m, ca, order, ret, err);
    return text_in(order, "old") ? do_sign_again(m, ca, order, ret, err)
                                 : do_sign(m, ca, order, ret, err);
}

void peer_on_sign(struct peer_req *req)
{
    struct cfs_err err = {0};
    json_t *result;

    if (carry_out(req->m, req->args, &result, &err) < 0)
        peer_fail(req, &err);
    else
        peer_reply(req, result);
}

/* -- orders, wherever ---------------------------------------------------- */

struct order {
    struct mgmtd   *m;
    json_t         *what;
    uint32_t        after; /* number of the member that was asked last */
    struct cfs_task task;
    peer_done      *done;
    void           *arg;
    int             status;
    json_t         *result;
    char            text[CFS_ERR_TEXT];
};

static void order_end(struct order *o)
{
    o->done(o->arg, o->status, o->result, o->text);
    json_decref(o->result);
    json_decref(o->what);
    free(o);
}

static struct peer *next_up(struct mgmtd *m, uint32_t after)
{
    cfs_list_for_each(l, &m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);

        if (!p->self && p->up && p->number > after)
            return p;
    }
    return NULL;
}

static void ask_next(struct order *o);

static void on_answer(void *arg, int status, json_t *result, const char *text)
{
    struct order *o = arg;

    if (status == -EACCES || status == -ENOTCONN || status == -ETIMEDOUT) {
        ask_next(o);
        return;
    }
    o->status = status;
    o->result = json_incref(result);
    snprintf(o->text, sizeof o->text, "%s", text);
    order_end(o);
}

static void ask_next(struct order *o)
{
    struct peer *p = next_up(o->m, o->after);

    if (p) {
        o->after = p->number;
        peer_call(p, RPC_PEER_SIGN, json_incref(o->what), SIGN_MS, on_answer,
                  o);
        return;
    }
    o->status = -EAGAIN;
    snprintf(o->text, sizeof o->text, "no node that has the authorities' keys "
             "can be reached (those that vote: clusterfs cluster status)");
    order_end(o);
}

static void begin(struct cfs_task *t)
{
    struct order *o = container_of(t, struct order, task);
    struct cfs_err err = {0};

    if (!trust_has_ca_keys(o->m->trust)) {
        ask_next(o);
        return;
    }
    o->status = carry_out(o->m, o->what, &o->result, &err);
    snprintf(o->text, sizeof o->text, "%s", err.text);
    order_end(o);
}

/* @what is taken over. */
static void give(struct mgmtd *m, json_t *what, peer_done *done, void *arg)
{
    struct order *o = mem_new(sizeof *o);

    o->m = m;
    o->what = what;
    o->done = done;
    o->arg = arg;
    cfs_task_init(&o->task, begin);
    cfs_task_post(m->host.loop, &o->task);
}

void authority_sign(struct mgmtd *m, enum trust_ca ca, const char *csr,
                    const char *name, const struct cfs_uuid *id,
                    const char *host, peer_done *done, void *arg)
{
    json_t *what = mem_ok(json_pack("{s:s,s:s,s:s}", "ca", ca_word(ca), "csr",
                                    csr, "name", name));

    if (id)
        json_object_set_new(what, "id", rec_json_uuid(*id));
    if (host)
        json_object_set_new(what, "host", mem_ok(json_string(host)));
    give(m, what, done, arg);
}

void authority_sign_again(struct mgmtd *m, enum trust_ca ca, const char *old,
                          const char *name, peer_done *done, void *arg)
{
    give(m, mem_ok(json_pack("{s:s,s:s,s:s}", "ca", ca_word(ca), "old", old,
                             "name", name)), done, arg);
}

/* -- revoking ------------------------------------------------------------ */

struct revoking {
    struct mgmtd      *m;
    enum trust_ca      ca;
    json_t            *rec;
    uint64_t           token;
    struct store_txn  *t;
    authority_revoked *done;
    void              *arg;
};

static void on_crl(void *arg, int status, json_t *result, const char *text)
{
    struct revoking *r = arg;
    const char *key = r->ca == TRUST_NODES ? "ca/nodes" : "ca/clients";
    const char *crl = text_in(result, "crl");
    struct cfs_err err = {0};

    if (status == 0 && crl) {
        json_object_set_new(r->rec, "crl", mem_ok(json_string(crl)));
        store_txn_if(r->t, key, r->token);
        store_txn_put(r->t, key, r->rec);
        r->done(r->arg, r->t, revoked_number(r->rec), NULL);
    } else {
        cfs_err_set(&err, status < 0 ? status : -EBADMSG, "%s", text);
        r->done(r->arg, r->t, 0, &err);
    }
    json_decref(r->rec);
    free(r);
}

void authority_revoke(struct mgmtd *m, enum trust_ca ca, json_t *serials,
                      struct store_txn *t, authority_revoked *done, void *arg)
{
    const char *key = ca == TRUST_NODES ? "ca/nodes" : "ca/clients";
    struct revoking *r = mem_new(sizeof *r);
    struct cfs_err err = {0};

    *r = (struct revoking){.m = m, .ca = ca, .t = t, .done = done,
                           .arg = arg};
    if (store_get(m->store, key, &r->rec, &r->token, &err) < 0) {
        done(arg, t, 0, &err);
        free(r);
        return;
    }
    revoked_add(r->rec, serials, cfs_realtime(m->host.loop).sec,
                trust_longest_life(m->trust));
    json_object_set_new(r->rec, "number", rec_json_u64(
        revoked_number(r->rec) + 1));
    give(m, mem_ok(json_pack("{s:s,s:O,s:O}", "ca", ca_word(ca), "revoked",
                             json_object_get(r->rec, "revoked"), "number",
                             json_object_get(r->rec, "number"))), on_crl, r);
}

/* -- keys for a node that becomes a voter -------------------------------- */

void peer_on_ca_keys(struct peer_req *req)
{
    const struct trust_grant grant = {
        .node_ca_key = text_in(req->args, "node_ca_key"),
        .client_ca_key = text_in(req->args, "client_ca_key"),
    };
    struct cfs_err err = {0};

    if (!grant.node_ca_key || !grant.client_ca_key)
        cfs_err_set(&err, -EBADMSG, "no keys");
    else
        trust_accept(req->m->trust, &grant, &err);
    if (err.code < 0)
        peer_fail(req, &err);
    else
        peer_reply(req, NULL);
}

/* -- who is not believed any more ---------------------------------------- */

/* A list that cannot be put on disk counts all the same; it is tried again
 * now and then, since etcd goes by the file. */
static void take_list(struct authority *a, const char *key, const json_t *rec)
{
    const enum trust_ca ca =
        strcmp(key, "ca/nodes") == 0 ? TRUST_NODES : TRUST_CLIENTS;
    const char *crl = text_in(rec, "crl");
    struct cfs_err err = {0};
    int rc;

    if (!crl || !*crl || !trust_is_founded(a->m->trust))
        return;
    rc = trust_set_crl(a->m->trust, ca, crl, &err);
    if (rc < 0)
        cfs_log_error(a->m->host.log, WHO, "%s: %s", key, err.text);
    if (rc <= 0)
        cfs_timer_start(&a->recheck, RECHECK);
    if (rc == 0)
        engine_trust_changed(a->m);
}

static void on_ca(struct store_watch *w, const char *key, json_t *value,
                  uint64_t token)
{
    if (value)
        take_list(container_of(w, struct authority, on_ca), key, value);
}

static int each_ca(void *arg, const char *key, json_t *value, uint64_t token,
                   struct cfs_err *err)
{
    take_list(arg, key, value);
    return 0;
}

static void on_recheck(struct cfs_timer *t)
{
    struct authority *a = container_of(t, struct authority, recheck);

    rpc_tls_recheck(trust_tls(a->m->trust));
}

/* -- renewal ------------------------------------------------------------- */

static void renewed(struct authority *a, int status, const char *text)
{
    a->renewing = false;
    free(a->cert);
    a->cert = NULL;
    if (status < 0)
        cfs_log_warning(a->m->host.log, WHO, "this node's certificate is to "
                        "be renewed, but: %s", text);
}

static void on_recorded(void *arg, int status, const struct cfs_err *err)
{
    struct authority *a = arg;
    const struct trust_grant grant = {.cert = a->cert};
    struct cfs_err why = {0};

    if (status < 0) {
        renewed(a, status, err->text);
        return;
    }
    status = trust_accept(a->m->trust, &grant, &why);
    if (status == 0) {
        cfs_log_info(a->m->host.log, WHO, "this node's certificate was "
                     "renewed");
        engine_trust_changed(a->m);
    }
    renewed(a, status, why.text);
}

/* Whatever is renewed at half of its life: of those before not more than a few
 * may still be good. */
void authority_note_serial(json_t *rec, const char *cert)
{
    json_t *old = json_object_get(rec, "serials");
    char serial[TRUST_SERIAL];

    if (!json_is_array(old)) {
        old = mem_ok(json_array());
        json_object_set_new(rec, "serials", old);
    }
    if (json_object_get(rec, "serial"))
        json_array_append(old, json_object_get(rec, "serial"));
    while (json_array_size(old) > KEEP_SERIALS)
        json_array_remove(old, 0);
    trust_serial_of(cert, serial);
    json_object_set_new(rec, "serial", mem_ok(json_string(serial)));
    json_object_set_new(rec, "cert", mem_ok(json_string(cert)));
}

/* The one that is in use is older than those when the new ones could not be
 * put on disk. */
static void keep_used(struct mgmtd *m, json_t *list)
{
    char used[TRUST_SERIAL];

    trust_serial(m->trust, used);
    if (!revoked_has(list, used))
        json_array_insert_new(list, 0, mem_ok(json_string(used)));
}

/* The new serial number first, so that no certificate is unknown to whoever
 * detaches this node. */
static void on_signed(void *arg, int status, json_t *result, const char *text)
{
    struct authority *a = arg;
    const char *cert = text_in(result, "cert");
    struct peer *self = peer_self(a->m);
    uint64_t token;
    json_t *rec;
    char *key;

    key = mem_printf("node/%s", a->m->node);
    if (status < 0 || !cert || !self ||
        store_get(a->m->store, key, &rec, &token, NULL) < 0) {
        renewed(a, status < 0 ? status : -EBADMSG, text);
        free(key);
        return;
    }
    a->cert = mem_str(cert);
    authority_note_serial(rec, cert);
    keep_used(a->m, json_object_get(rec, "serials"));
    store_replace(a->m->store, key, token, rec, on_recorded, a);
    free(key);
}

static void on_renew(struct cfs_timer *timer)
{
    struct authority *a = container_of(timer, struct authority, renew);
    struct mgmtd *m = a->m;
    const struct peer *self = peer_self(m);
    struct cfs_err err = {0};
    char *csr;

    cfs_timer_start(timer, m->certificate_s > 0 ? LOOK_SHORT : LOOK_EVERY);
    store_range(m->store, "ca/", each_ca, a, NULL);
    if (a->renewing || !self || !trust_is_founded(m->trust) ||
        (cfs_realtime(m->host.loop).sec < trust_half_life(m->trust) &&
         trust_is_for(m->trust, self->host)))
        return;
    if (trust_request(m->trust, &csr, &err) < 0) {
        renewed(a, err.code, err.text);
        return;
    }
    a->renewing = true;
    authority_sign(m, TRUST_NODES, csr, m->node, &m->node_id, self->host,
                   on_signed, a);
    free(csr);
}

void authority_renew(struct mgmtd *m)
{
    if (m->authority)
        cfs_timer_start(&m->authority->renew, 0);
}

/* -- life ---------------------------------------------------------------- */

int authority_start(struct mgmtd *m, struct cfs_err *err)
{
    struct authority *a = mem_new(sizeof *a);

    a->m = m;
    m->authority = a;
    cfs_timer_init(m->host.loop, &a->recheck, on_recheck);
    cfs_timer_init(m->host.loop, &a->renew, on_renew);
    cfs_timer_start(&a->renew, LOOK_FIRST);
    a->on_ca.prefix = "ca/";
    a->on_ca.changed = on_ca;
    store_watch(m->store, &a->on_ca);
    return store_range(m->store, "ca/", each_ca, a, err);
}

void authority_stop(struct mgmtd *m)
{
    struct authority *a = m->authority;

    if (!a)
        return;
    store_unwatch(&a->on_ca);
    cfs_timer_fini(&a->recheck);
    cfs_timer_fini(&a->renew);
    free(a->cert);
    free(a);
    m->authority = NULL;
}
