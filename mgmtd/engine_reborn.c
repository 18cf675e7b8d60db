/* SPDX-License-Identifier: Apache-2.0 */
/* engine_reborn.c - another life of the configuration: cluster backup, restore
 * and rebuild.
 *
 *   restore   what a backup holds, on this node; but who is believed is as in
 *             the cluster that runs, if there is one (keep_trust.h)
 *   rebuild   what this node's copy holds, when most voters are gone for good
 *
 * The lists of revoked certificates are made anew, with numbers above all that
 * anybody may have seen, where the authorities' keys are.
 *
 * Both begin a new lineage on this node alone, in the embedded engine; the
 * others meet it, stop, and join again. Generations and epochs jump, and no
 * list of who is in sync is taken over (store_reborn()).
 *
 *     the records as they shall be -> STATE_DIR/reborn.json, durably
 *       -> engine.json: "reborn"; from here on it happens, whatever dies
 *       -> this process begins anew: imports the records, puts etcd's
 *          directory aside, engine.json: "sqlite" in the new lineage
 *
 * The CLI loses its line, asks again with the same id, and is answered from
 * engine.json ("done").
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "mgmtd/engine_impl.h"
#include "mgmtd/file.h"
#include "mgmtd/keep_trust.h"
#include "mgmtd/revoked.h"
#include "mgmtd/store/store_doc.h"
#include "mgmtd/trust.h"

#define WHO "engine"
#define FORMAT 1

/* -- backup ---------------------------------------------------------------- */

static json_t *backup_of(struct mgmtd *m, struct cfs_err *err)
{
    json_t *store = store_export(m->store, err);

    if (!store)
        return NULL;
    return mem_ok(json_pack(
        "{s:i,s:o,s:s,s:I,s:o}", "clusterfs-backup", FORMAT, "cluster",
        rec_json_uuid(m->cluster), "node", m->node, "time",
        (json_int_t)cfs_realtime(m->host.loop).sec, "store", store));
}

/* A path that the CLI has made absolute. */
static const char *file_of(struct command *c, struct cfs_err *err)
{
    const char *path = command_str(c, "file");

    if (*path == '/')
        return path;
    cfs_err_set(err, -EINVAL, "'%.200s' is no absolute path", path);
    return NULL;
}

void cluster_backup(struct command *c)
{
    struct cfs_err err = {0};
    const char *path = file_of(c, &err);
    json_t *doc;
    char *text;

    if (path && access(path, F_OK) == 0 && !command_flag(c, "force")) {
        cfs_err_set(&err, -EEXIST, "%.300s is there already; --force writes "
                    "over it", path);
        path = NULL;
    }
    doc = path ? backup_of(c->m, &err) : NULL;
    if (!doc) {
        command_fail(c, &err);
        return;
    }
    text = mem_ok(json_dumps(doc, JSON_INDENT(1)));
    json_decref(doc);
    if (file_put(path, text, 0600, &err) < 0)
        command_fail(c, &err);
    else
        command_ok(c, mem_ok(json_pack(
            "{s:s,s:I,s:I,s:I}", "file", path, "bytes",
            (json_int_t)strlen(text), "revision",
            (json_int_t)store_revision(c->m->store), "lineage",
            (json_int_t)store_lineage(c->m->store))));
    free(text);
}

/* -- a new life ------------------------------------------------------------ */

static char *reborn_path(struct engine *e)
{
    return mem_printf("%s/reborn.json", e->m->host.dirs.state);
}

/* True: that command was done already, by us in an earlier process. */
static bool was_done(struct command *c)
{
    const json_t *done = json_object_get(c->m->engine->mark, "done");
    struct cfs_uuid id;

    if (!done || rec_uuid(done, "done", "id", &id, NULL) < 0 ||
        !cfs_uuid_eq(id, c->id))
        return false;
    command_ok(c, mem_ok(json_deep_copy(done)));
    return true;
}

static uint64_t next_lineage(struct mgmtd *m, const json_t *store)
{
    uint64_t most = store_lineage(m->store);
    uint64_t other = (uint64_t)json_integer_value(
        json_object_get(store, "lineage"));

    if (other > most)
        most = other;
    if (m->lineage_ahead > most)
        most = m->lineage_ahead;
    return most + 1;
}

/* The record @key of the document; NULL: none. Borrowed. */
static json_t *record_in(const json_t *doc, const char *key)
{
    json_t *rec, *found = NULL;
    size_t i;

    json_array_foreach(json_object_get(doc, "records"), i, rec) {
        const char *k = json_string_value(json_object_get(rec, "key"));

        if (k && strcmp(k, key) == 0)
            found = json_object_get(rec, "value");
    }
    return found;
}

/* The list of one authority, by its record; those are on it, too, that this
 * node has in a file. Without the keys it stays as it is. */
static bool make_list(struct mgmtd *m, const json_t *store, enum trust_ca ca)
{
    json_t *rec = record_in(store, ca == TRUST_NODES ? "ca/nodes"
                                                     : "ca/clients");
    const char *cert = json_string_value(json_object_get(rec, "cert"));
    const char **list, *ours = trust_ca_cert(m->trust, ca);
    struct cfs_err err = {0};
    json_t *revoked;
    char *crl;
    size_t n;
    int rc;

    if (!cert || !ours || strcmp(cert, ours) != 0 ||
        !trust_has_ca_keys(m->trust))
        return false;
    revoked = trust_revoked(m->trust, ca);
    revoked_join(rec, revoked);
    json_decref(revoked);
    revoked = json_object_get(rec, "revoked");
    n = json_array_size(revoked);
    list = mem_new((n + 1) * sizeof *list);
    for (size_t i = 0; i < n; i++) {
        const char *s = json_string_value(json_array_get(revoked, i));

        list[i] = s ? s : "";
    }
    rc = trust_revoke(m->trust, ca, list, n, revoked_number(rec), &crl, &err);
    free(list);
    if (rc < 0) {
        cfs_log_warning(m->host.log, WHO, "the list of revoked ones cannot be "
                        "made anew: %s", err.text);
        return false;
    }
    json_object_set_new(rec, "crl", mem_ok(json_string(crl)));
    free(crl);
    return true;
}

/* What was done, as the command will be told: @told is taken over. */
static json_t *note_of(struct command *c, uint64_t lineage, bool keys,
                       json_t *told)
{
    json_t *note = mem_ok(json_pack("{s:I,s:o,s:s,s:b}", "lineage",
                                    (json_int_t)lineage, "id",
                                    rec_json_uuid(c->id), "what", c->verb,
                                    "keys", keys));

    if (told)
        json_object_set_new(note, "trust", told);
    return note;
}

/* Of @store, taken over; @told: about who is believed (keep_trust.h), or
 * NULL. */
static int begin(struct command *c, json_t *store, json_t *told,
                 struct cfs_err *err)
{
    struct mgmtd *m = c->m;
    struct engine *e = m->engine;
    uint64_t lineage = next_lineage(m, store);
    char *path = reborn_path(e), *text;
    bool keys = false;
    json_t *next;
    int rc = store_reborn(store, err);

    if (rc == 0) {
        keys = make_list(m, store, TRUST_NODES);
        keys = make_list(m, store, TRUST_CLIENTS) && keys;
        store_doc_seal(store);
        text = mem_ok(json_dumps(store, JSON_COMPACT));
        rc = file_put(path, text, 0600, err);
        free(text);
    }
    json_decref(store);
    free(path);
    if (rc < 0) {
        json_decref(told);
        return rc;
    }
    next = mark_copy(e);
    json_object_set_new(next, "reborn", note_of(c, lineage, keys, told));
    rc = mark_save(e, next, err);
    if (rc < 0)
        return rc;
    cfs_log_warning(m->host.log, WHO, "%s: the configuration begins lineage %"
                    PRIu64, c->verb, lineage);
    mgmtd_start_anew(m);
    return 0;
}

/* The record of the node called @name in @doc, as a document of the store;
 * NULL: none. Borrowed. */
static const json_t *node_in(const json_t *doc, const char *name)
{
    char *key = mem_printf("node/%s", name);
    const json_t *rec = record_in(doc, key);

    free(key);
    return rec;
}

/* *ret_time: when it was made. */
static json_t *read_backup(struct command *c, json_int_t *ret_time,
                           struct cfs_err *err)
{
    const char *path = file_of(c, err);
    struct cfs_uuid cluster;
    json_t *doc, *store;
    json_error_t why;

    if (!path)
        return NULL;
    doc = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!doc) {
        cfs_err_set(err, -EBADMSG, "%.200s: %.200s", path, why.text);
        return NULL;
    }
    store = json_object_get(doc, "store");
    if (json_integer_value(json_object_get(doc, "clusterfs-backup")) !=
            FORMAT ||
        !json_is_object(store) ||
        rec_uuid(doc, "the backup", "cluster", &cluster, NULL) < 0)
        cfs_err_set(err, -EBADMSG, "%.200s is no backup of a cluster, or one "
                    "of a newer version", path);
    else if (c->m->founded && !cfs_uuid_eq(cluster, c->m->cluster) &&
             !command_flag(c, "force"))
        cfs_err_set(err, -EPERM, "%.200s is of another cluster than this "
                    "node's; --force takes it all the same", path);
    else if (!node_in(store, c->m->node))
        cfs_err_set(err, -EPERM, "%.200s knows no node %s: restore it on one "
                    "of its nodes, or on a new one of the same name", path,
                    c->m->node);
    *ret_time = json_integer_value(json_object_get(doc, "time"));
    if (err->code == 0)
        json_incref(store);
    json_decref(doc);
    return err->code == 0 ? store : NULL;
}

/* Whom the cluster that runs does not believe any more is not believed in
 * @store either; what is to be told of that into *ret_told. */
static int keep(struct command *c, json_t *store, json_int_t time,
                json_t **ret_told, struct cfs_err *err)
{
    struct mgmtd *m = c->m;
    const json_t *cluster = record_in(store, REC_CLUSTER);
    struct cfs_uuid id;
    json_t *running;
    int rc;

    if (!m->founded || !cluster ||
        rec_uuid(cluster, REC_CLUSTER, "id", &id, NULL) < 0 ||
        !cfs_uuid_eq(id, m->cluster)) {
        *ret_told = mem_ok(json_pack("{s:b,s:I}", "kept", 0, "since", time));
        return 0;
    }
    running = store_export(m->store, err);
    if (!running)
        return err->code;
    rc = keep_trust(store, running, ret_told, err);
    json_decref(running);
    if (rc == 0) {
        json_object_set_new(*ret_told, "kept", json_true());
        json_object_set_new(*ret_told, "since", json_integer(time));
    }
    return rc;
}

void cluster_restore(struct command *c)
{
    struct cfs_err err = {0};
    json_t *store, *told = NULL;
    json_int_t time;

    if (was_done(c))
        return;
    store = read_backup(c, &time, &err);
    if (store && keep(c, store, time, &told, &err) < 0) {
        json_decref(store);
        store = NULL;
    }
    if (!store || begin(c, store, told, &err) < 0)
        command_fail(c, &err);
}

void cluster_rebuild(struct command *c)
{
    struct engine *e = c->m->engine;
    struct cfs_err err = {0};
    struct store_health h;
    json_t *store = NULL;

    if (was_done(c))
        return;
    store_health(c->m->store, &h);
    if (!mark_is_etcd(e))
        cfs_err_set(&err, -EINVAL, "this node keeps the configuration by "
                    "itself: there is nothing to rebuild");
    else if (h.current && !command_flag(c, "force"))
        cfs_err_set(&err, -EPERM, "most of the nodes that keep the "
                    "configuration are there: nothing is lost, and nothing is "
                    "to be rebuilt (--force does it all the same)");
    else
        store = store_export(c->m->store, &err);
    if (!store || begin(c, store, NULL, &err) < 0)
        command_fail(c, &err);
}

/* -- at the next start ----------------------------------------------------- */

/* Who this node is in what was restored is decided by its name: one that was
 * set up anew is given the identity that the records know it by. */
static json_t *reborn_mark(struct engine *e, const json_t *what,
                           const json_t *doc)
{
    static const char *const kept[] = {"node", "id", "cluster", "machine",
                                       "address"};
    json_t *next = mem_ok(json_pack(
        "{s:i,s:s,s:O,s:O}", "v", 1, "engine", "sqlite", "lineage",
        json_object_get(what, "lineage"), "done", what));
    json_t *id = json_object_get(node_in(doc, mark_str(e, "node")), "id");

    for (size_t i = 0; i < CFS_ARRAY_SIZE(kept); i++)
        json_object_set(next, kept[i], json_object_get(e->mark, kept[i]));
    if (json_is_string(id))
        json_object_set(next, "id", id);
    return next;
}

static int read_doc(struct engine *e, json_t **ret, struct cfs_err *err)
{
    char *path = reborn_path(e);
    json_error_t why;
    int rc = 0;

    *ret = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!*ret)
        rc = cfs_err_set(err, -CFS_E_CORRUPT, "%s, which a restore was to be "
                         "made of: %s", path, why.text);
    free(path);
    return rc;
}

int reborn_finish(struct engine *e, struct cfs_err *err)
{
    const json_t *what = json_object_get(e->mark, "reborn");
    uint64_t lineage = (uint64_t)json_integer_value(
        json_object_get(what, "lineage"));
    json_t *doc;
    char *path;
    int rc;

    if (!what)
        return 0;
    rc = read_doc(e, &doc, err);
    if (rc < 0)
        return rc;
    rc = store_import_sqlite(e->m->host.dirs.state, doc, lineage, err);
    if (rc == 0)
        rc = mark_save(e, reborn_mark(e, what, doc), err);
    json_decref(doc);
    if (rc < 0)
        return rc;
    path = reborn_path(e);
    unlink(path);
    free(path);
    engine_put_aside(e);
    cfs_log_warning(e->m->host.log, WHO, "the configuration is in lineage %"
                    PRIu64 " now", lineage);
    return 0;
}
