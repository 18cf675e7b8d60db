/* SPDX-License-Identifier: Apache-2.0 */
/* client_cmd.c - the verbs client add, remove, list: machines that are no
 * nodes, and mount volumes by a certificate.
 *
 *   client/NAME  {"serial", "serials", "cert", "volumes": [...],
 *                 "generation", "removed", "when", "list": number of the
 *                 list of revoked ones (revoked.h) with which it was removed}
 *
 * The record stays when the client is removed: its generation, by which bricks
 * know the client's secret (spec.c), must not be used again.
 */
#include <stdio.h>

#include "mgmtd/authority.h"

#define NAME_LEN_MAX 48u

struct adding {
    struct command *c;
    const char     *name;
    char           *key; /* the client's private one, PEM */
    char           *cert;
    char           *rec_key;
    json_t         *rec;
    uint64_t        token; /* 0: there was none */
};

static void adding_free(struct adding *a)
{
    if (a->key)
        explicit_bzero(a->key, strlen(a->key));
    free(a->key);
    free(a->cert);
    free(a->rec_key);
    json_decref(a->rec);
    free(a);
}

static void add_failed(struct adding *a, const struct cfs_err *err)
{
    struct command *c = a->c;
    struct cfs_err copy = *err;

    adding_free(a);
    command_fail(c, &copy);
}

/* -- add ----------------------------------------------------------------- */

/* The one file to copy: rpc/creds.h. */
static char *credentials(const struct adding *a)
{
    struct mgmtd *m = a->c->m;
    const char *list = trust_crl(m->trust, TRUST_NODES);
    char *servers = mem_str(""), id[CFS_UUID_STR], *text;

    cfs_list_for_each(l, &m->peers) {
        const struct peer *p = cfs_list_entry(l, struct peer, link);
        char *address = peer_address(p->host, p->port);
        char *more = mem_printf("%s# server %s\n", servers, address);

        free(servers);
        free(address);
        servers = more;
    }
    cfs_uuid_print(m->cluster, id);
    text = mem_printf("# clusterfs: credentials of client %s of cluster %s\n"
                      "%s%s%s%s%s", a->name, id, servers, a->key, a->cert,
                      trust_ca_cert(m->trust, TRUST_NODES), list ? list : "");
    free(servers);
    return text;
}

static void on_added(void *arg, int status, const struct cfs_err *err)
{
    struct adding *a = arg;
    struct command *c = a->c;
    json_t *result;
    char *text;

    if (status < 0) {
        add_failed(a, err);
        return;
    }
    text = credentials(a);
    result = mem_ok(json_pack("{s:s,s:s,s:O}", "name", a->name, "credentials",
                              text, "volumes",
                              json_object_get(a->rec, "volumes")));
    explicit_bzero(text, strlen(text));
    free(text);
    adding_free(a);
    command_ok(c, result);
}

static void on_signed(void *arg, int status, json_t *result, const char *text)
{
    struct adding *a = arg;
    struct mgmtd *m = a->c->m;
    const char *cert = json_string_value(json_object_get(result, "cert"));
    struct cfs_err err = {0};
    struct store_txn *t;

    if (status < 0 || !cert) {
        cfs_err_set(&err, status < 0 ? status : -EBADMSG, "%s", text);
        add_failed(a, &err);
        return;
    }
    a->cert = mem_str(cert);
    json_object_del(a->rec, "serials"); /* they are revoked */
    json_object_del(a->rec, "serial");
    authority_note_serial(a->rec, cert);
    t = store_txn_new();
    if (a->token)
        store_txn_if(t, a->rec_key, a->token);
    else
        store_txn_if_absent(t, a->rec_key);
    store_txn_put(t, a->rec_key, a->rec);
    store_commit(m->store, t, on_added, a);
}

static int check_volumes(struct mgmtd *m, const json_t *volumes,
                         struct cfs_err *err)
{
    struct volume *vol;
    int rc = 0;

    for (size_t i = 0; i < json_array_size(volumes) && rc == 0; i++) {
        const char *s = json_string_value(json_array_get(volumes, i));

        rc = s ? volume_need(m, s, &vol, err)
               : cfs_err_set(err, -EINVAL, "volumes that are no names");
    }
    return rc;
}

static int check_name(const char *name, struct cfs_err *err)
{
    size_t len = strlen(name);

    if (len == 0 || len > NAME_LEN_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789._-") != len)
        return cfs_err_set(err, -EINVAL, "'%.80s' is no name for a client: 1 "
                           "to %u letters, digits, '.', '-', '_'", name,
                           NAME_LEN_MAX);
    return 0;
}

/* The record as it will be, but for the serial number. */
static int make_record(struct adding *a, struct cfs_err *err)
{
    struct mgmtd *m = a->c->m;
    json_t *volumes = json_object_get(a->c->args, "volumes");
    uint64_t generation = 0;
    int rc = store_get(m->store, a->rec_key, &a->rec, &a->token, err);

    if (rc == -ENOENT) {
        *err = (struct cfs_err){0};
        a->rec = mem_ok(json_pack("{s:i}", "v", REC_VERSION));
        a->token = 0;
    } else if (rc < 0) {
        return rc;
    } else if (!json_is_true(json_object_get(a->rec, "removed"))) {
        return cfs_err_set(err, -EEXIST, "there is a client %s already; for "
                           "new credentials: clusterfs client remove %s, then "
                           "add it again", a->name, a->name);
    } else {
        rec_u64(a->rec, a->rec_key, "generation", &generation,
                &(struct cfs_err){0});
    }
    json_object_set_new(a->rec, "generation", rec_json_u64(generation + 1));
    json_object_set_new(a->rec, "removed", json_false());
    json_object_set_new(a->rec, "when", mem_ok(json_integer(
        (json_int_t)cfs_realtime(m->host.loop).sec)));
    if (json_is_array(volumes))
        json_object_set(a->rec, "volumes", volumes);
    else
        json_object_set_new(a->rec, "volumes", mem_ok(json_array()));
    return 0;
}

void client_add(struct command *c)
{
    struct mgmtd *m = c->m;
    struct adding *a = mem_new(sizeof *a);
    struct cfs_err err = {0};
    char *csr;

    a->c = c;
    a->name = command_str(c, "name");
    a->rec_key = mem_printf("client/%s", a->name);
    if (check_name(a->name, &err) == 0 &&
        check_volumes(m, json_object_get(c->args, "volumes"), &err) == 0 &&
        !trust_is_founded(m->trust))
        cfs_err_set(&err, -EINVAL, "this node is of no cluster yet; to begin "
                    "one: clusterfs cluster create");
    if (err.code == 0)
        make_record(a, &err);
    if (err.code == 0)
        trust_new_key(a->name, &a->key, &csr, &err);
    if (err.code < 0) {
        add_failed(a, &err);
        return;
    }
    authority_sign(m, TRUST_CLIENTS, csr, a->name, NULL, NULL, on_signed, a);
    free(csr);
}

/* -- remove -------------------------------------------------------------- */

struct removing {
    struct command *c;
    char           *key;
    json_t         *rec;
    uint64_t        token;
};

static void remove_end(void *arg, int status, const struct cfs_err *err)
{
    struct removing *r = arg;
    struct command *c = r->c;
    struct cfs_err copy = *err;

    free(r->key);
    json_decref(r->rec);
    free(r);
    if (status < 0)
        command_fail(c, &copy);
    else
        command_ok(c, mem_ok(json_pack("{s:s}", "name",
                                       command_str(c, "name"))));
}

static void on_revoked(void *arg, struct store_txn *t, uint64_t number,
                       const struct cfs_err *err)
{
    struct removing *r = arg;

    if (err) {
        store_txn_free(t);
        remove_end(r, err->code, err);
        return;
    }
    json_object_set_new(r->rec, "removed", json_true());
    json_object_set_new(r->rec, "list", rec_json_u64(number));
    store_txn_put(t, r->key, r->rec);
    store_commit(r->c->m->store, t, remove_end, r);
}

void client_remove(struct command *c)
{
    struct mgmtd *m = c->m;
    struct removing *r = mem_new(sizeof *r);
    struct cfs_err err = {0};
    struct store_txn *t;
    json_t *serials;
    int rc;

    r->c = c;
    r->key = mem_printf("client/%s", command_str(c, "name"));
    rc = check_name(command_str(c, "name"), &err);
    if (rc == 0)
        rc = store_get(m->store, r->key, &r->rec, &r->token, &err);
    if (rc == -ENOENT ||
        (rc == 0 && json_is_true(json_object_get(r->rec, "removed")))) {
        err = (struct cfs_err){0};
        rc = cfs_err_set(&err, -ENOENT, "there is no client %s; see: "
                         "clusterfs client list", command_str(c, "name"));
    }
    if (rc < 0) {
        remove_end(r, rc, &err);
        return;
    }
    t = store_txn_new();
    store_txn_if(t, r->key, r->token);
    serials = json_copy(json_object_get(r->rec, "serials"));
    if (!json_is_array(serials)) {
        json_decref(serials);
        serials = mem_ok(json_array());
    }
    json_array_append(serials, json_object_get(r->rec, "serial"));
    authority_revoke(m, TRUST_CLIENTS, serials, t, on_revoked, r);
    json_decref(serials);
}

/* -- list ---------------------------------------------------------------- */

struct listing {
    struct mgmtd *m;
    const char   *only; /* that client sees itself; NULL: all */
    json_t       *list;
};

/* Lines to this node. */
static unsigned connected(struct mgmtd *m, const char *name)
{
    unsigned n = 0;

    cfs_list_for_each(l, &m->lines) {
        const struct line *line = cfs_list_entry(l, struct line, link);

        if (line->role == RPC_PEER_CLIENT && strcmp(line->name, name) == 0)
            n++;
    }
    return n;
}

static int list_one(void *arg, const char *key, json_t *rec, uint64_t token,
                    struct cfs_err *err)
{
    struct listing *li = arg;
    const char *name = key + strlen("client/");
    json_t *volumes = json_object_get(rec, "volumes");

    if (json_is_true(json_object_get(rec, "removed")) ||
        (li->only && strcmp(li->only, name) != 0))
        return 0;
    json_array_append_new(li->list, mem_ok(json_pack(
        "{s:s,s:O,s:I,s:i}", "name", name, "volumes",
        json_is_array(volumes) ? volumes : json_null(), "when",
        json_integer_value(json_object_get(rec, "when")), "connected",
        (int)connected(li->m, name))));
    return 0;
}

void client_list(struct command *c)
{
    struct listing li = {c->m, c->client, mem_ok(json_array())};
    struct cfs_err err = {0};

    if (store_range(c->m->store, "client/", list_one, &li, &err) < 0) {
        json_decref(li.list);
        command_fail(c, &err);
        return;
    }
    command_ok(c, mem_ok(json_pack("{s:o}", "clients", li.list)));
}
