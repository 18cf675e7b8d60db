/* SPDX-License-Identifier: Apache-2.0 */
/* found.c - a cluster begins, of this node: cluster create, or the first
 * volume create.
 *
 *     keys and certificates of both authorities are made (files; a repeat
 *     goes on with them)
 *       -> one transaction: cluster, node/NAME, ca/nodes, ca/clients
 *
 * cluster.conf, if there is one, says the cluster's name, this node's address
 * and its number; a node that joins takes the latter two from it (join.c).
 */
#include <stdio.h>

#include "mgmtd/address.h"
#include "mgmtd/cluster_conf.h"
#include "mgmtd/engine_impl.h"
#include "mgmtd/file.h"
#include "mgmtd/trust.h"

#define WHO "engine"

/* -- what is not given ----------------------------------------------------- */

/* Found in cluster.conf; empty without one. */
static int read_conf(struct mgmtd *m, struct cluster_conf *ret,
                     struct cfs_err *err)
{
    char *path = mem_printf("%s/cluster.conf", m->host.dirs.config), *text;
    int rc = file_get(path, &text, err);

    *ret = (struct cluster_conf){0};
    if (rc == -ENOENT) {
        *err = (struct cfs_err){0};
        rc = 0;
    } else if (rc == 0) {
        rc = cluster_conf_parse(text, ret, err);
        free(text);
    }
    free(path);
    return rc;
}

/* This node in @conf; NULL: it is not in it. -EINVAL: with a number that no
 * record can have. */
static int own_of(const struct cluster_conf *conf, const char *node,
                  const struct conf_node **ret, struct cfs_err *err)
{
    *ret = cluster_conf_find(conf, node);
    if (*ret && (*ret)->number == 0)
        return cfs_err_set(err, -EINVAL, "cluster.conf: node %s has the number "
                           "0; here numbers begin with 1", node);
    return 0;
}

int conf_of_node(struct mgmtd *m, struct conf_node *ret, struct cfs_err *err)
{
    struct cluster_conf *conf = mem_new(sizeof *conf);
    const struct conf_node *own = NULL;
    int rc = read_conf(m, conf, err);

    *ret = (struct conf_node){0};
    if (rc == 0)
        rc = own_of(conf, m->node, &own, err);
    if (rc == 0 && own)
        *ret = *own;
    free(conf);
    return rc;
}

static int check_host(const char *host, struct cfs_err *err)
{
    if (strlen(host) > ADDRESS_MAX || strspn(host, "abcdefghijklmnopqrstuvwxyz"
                                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789.-:") != strlen(host))
        return cfs_err_set(err, -EINVAL, "'%.100s' is no address or host "
                           "name", host);
    return 0;
}

/* -- the records ----------------------------------------------------------- */

static void put_ca(struct mgmtd *m, struct store_txn *t, enum trust_ca ca)
{
    bool nodes = ca == TRUST_NODES;
    char *path = mem_printf("%s/%s.crl", trust_dir(m->trust),
                            nodes ? "node" : "client");
    const char *cert = trust_ca_cert(m->trust, ca);
    char *crl = NULL;
    json_t *rec;

    file_get(path, &crl, NULL);
    rec = mem_ok(json_pack("{s:i,s:s,s:s,s:[]}", "v", REC_VERSION, "cert",
                           cert ? cert : "", "crl", crl ? crl : "",
                           "revoked"));
    store_txn_put(t, nodes ? "ca/nodes" : "ca/clients", rec);
    json_decref(rec);
    free(crl);
    free(path);
}

static void put_node(struct mgmtd *m, struct store_txn *t, uint64_t number,
                     const char *host)
{
    char *key = mem_printf("node/%s", m->node), serial[TRUST_SERIAL];
    char *path = mem_printf("%s/node.crt", trust_dir(m->trust));
    char *cert = NULL;
    json_t *rec;

    trust_serial(m->trust, serial);
    file_get(path, &cert, NULL);
    rec = mem_ok(json_pack("{s:i,s:o,s:o,s:s,s:i,s:s,s:s}", "v", REC_VERSION,
                           "id", rec_json_uuid(m->node_id), "number",
                           rec_json_u64(number), "host", host, "port",
                           (int)m->host.port, "serial", serial, "cert",
                           cert ? cert : ""));
    store_txn_put(t, key, rec);
    json_decref(rec);
    free(cert);
    free(path);
    free(key);
}

int cluster_found_put(struct mgmtd *m, struct store_txn *t, const char *name,
                      const char *host, struct cfs_err *err)
{
    struct cluster_conf *conf = mem_new(sizeof *conf);
    const struct conf_node *own = NULL;
    char address[ADDRESS_MAX + 1];
    json_t *rec;
    int rc = read_conf(m, conf, err);

    if (rc == 0)
        rc = own_of(conf, m->node, &own, err);
    if (rc == 0 && !host && !own) {
        address_first(address, sizeof address);
        host = address;
    } else if (!host && own)
        host = own->address;
    if (rc == 0)
        rc = check_host(host, err);
    if (rc == 0)
        rc = trust_found(m->trust, m->cluster, host, err);
    if (rc == 0) {
        rec = mem_ok(json_pack("{s:i,s:o,s:s}", "v", REC_VERSION, "id",
                               rec_json_uuid(m->cluster), "name",
                               name ? name : conf->name));
        store_txn_if_absent(t, REC_CLUSTER);
        store_txn_put(t, REC_CLUSTER, rec);
        json_decref(rec);
        put_node(m, t, own ? own->number : 1, host);
        put_ca(m, t, TRUST_NODES);
        put_ca(m, t, TRUST_CLIENTS);
    }
    free(conf);
    return rc;
}

/* -- founding -------------------------------------------------------------- */

struct founding {
    struct mgmtd    *m;
    struct cfs_timer timer;
    struct cfs_err   err;
    store_done      *done;
    void            *arg;
};

static void founding_end(struct founding *f)
{
    struct cfs_err err = f->err;

    cfs_timer_fini(&f->timer);
    f->done(f->arg, err.code, &err);
    free(f);
}

static void on_timer(struct cfs_timer *t)
{
    founding_end(cfs_list_entry(t, struct founding, timer));
}

static void on_founded(void *arg, int status, const struct cfs_err *err)
{
    struct founding *f = arg;

    if (status < 0)
        f->err = *err;
    else
        f->m->founded = true;
    founding_end(f);
}

void cluster_found(struct mgmtd *m, const char *name, const char *host,
                   store_done *done, void *arg)
{
    struct founding *f = mem_new(sizeof *f);
    struct store_txn *t;

    f->m = m;
    f->done = done;
    f->arg = arg;
    cfs_timer_init(m->host.loop, &f->timer, on_timer);
    t = store_txn_new();
    if (m->founded ||
        cluster_found_put(m, t, name, host, &f->err) < 0) {
        store_txn_free(t);
        cfs_timer_start(&f->timer, 0);
        return;
    }
    store_commit(m->store, t, on_founded, f);
}

/* -- founding anew --------------------------------------------------------- */

static void on_found_again(void *arg, int status, const struct cfs_err *err)
{
    struct mgmtd *m = arg;

    if (status < 0)
        cfs_log_error(m->host.log, WHO, "%s", err->text);
}

void cluster_found_again(struct mgmtd *m)
{
    struct peer *self = peer_find(m, m->node);
    struct cfs_err err = {0};
    struct store_txn *t;

    if (!m->founded || !self || trust_is_founded(m->trust))
        return;
    cfs_log_warning(m->host.log, WHO, "the authorities' keys are lost: they "
                    "are made anew, and certificates of before are refused");
    if (trust_found(m->trust, m->cluster, self->host, &err) < 0) {
        cfs_log_error(m->host.log, WHO, "%s", err.text);
        return;
    }
    t = store_txn_new();
    put_node(m, t, self->number, self->host);
    put_ca(m, t, TRUST_NODES);
    put_ca(m, t, TRUST_CLIENTS);
    store_commit(m->store, t, on_found_again, m);
}

/* -- the verb -------------------------------------------------------------- */

static void on_created(void *arg, int status, const struct cfs_err *err)
{
    struct command *c = arg;
    struct mgmtd *m = c->m;

    if (status < 0) {
        command_fail(c, err);
        return;
    }
    command_ok(c, mem_ok(json_pack(
        "{s:s,s:o,s:s,s:s,s:i}", "name", command_str(c, "name"), "id",
        rec_json_uuid(m->cluster), "node", m->node, "host",
        engine_host(m->engine), "port", (int)m->host.port)));
}

void cluster_create(struct command *c)
{
    const char *name = command_str(c, "name"), *host = command_str(c, "host");
    struct cfs_err err = {0};
    char id[CFS_UUID_STR];

    if (c->m->founded) {
        cfs_uuid_print(c->m->cluster, id);
        cfs_err_set(&err, -EALREADY, "this node is of a cluster already (%s); "
                    "see: clusterfs cluster status", id);
        command_fail(c, &err);
        return;
    }
    cluster_found(c->m, *name ? name : NULL, *host ? host : NULL, on_created,
                  c);
}
