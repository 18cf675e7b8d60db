/* SPDX-License-Identifier: Apache-2.0 */
/* creating.c - see creating.h. */
#include "mgmtd/creating.h"

#include <stdio.h>

#define WHO "create"

static char *key_of(struct cfs_uuid id)
{
    char text[CFS_UUID_STR];

    cfs_uuid_print(id, text);
    return mem_printf("creating/%s", text);
}

/* -- the record ---------------------------------------------------------- */

void creating_claim(struct store_txn *t, const struct prep_brick *b,
                    const char *volume, const struct cfs_uuid *id)
{
    char *key = rec_brick_key(b->node, b->canonical);
    json_t *rec = mem_ok(json_pack("{s:i,s:s,s:o}", "v", REC_VERSION,
                                   "volume", volume, "brick",
                                   rec_json_uuid(b->id)));

    if (id) {
        json_object_set_new(rec, "creating", rec_json_uuid(*id));
        store_txn_if_absent(t, key);
    }
    store_txn_put(t, key, rec);
    json_decref(rec);
    free(key);
}

static json_t *record(const struct creating *c)
{
    json_t *list = mem_ok(json_array());

    for (unsigned i = 0; i < c->prep->n; i++) {
        const struct prep_brick *b = &c->prep->brick[i];

        json_array_append_new(
            list, mem_ok(json_pack("{s:s,s:s,s:s,s:o,s:b,s:o}", "node",
                                   b->node, "path", b->path, "canonical",
                                   b->canonical, "id", rec_json_uuid(b->id),
                                   "exists", (int)b->exists, "size",
                                   rec_json_u64(b->size))));
    }
    return mem_ok(json_pack("{s:i,s:s,s:s,s:o,s:o}", "v", REC_VERSION,
                            "volume", c->prep->volume, "by", c->m->node,
                            "cluster", rec_json_uuid(c->prep->cluster),
                            "bricks", list));
}

/* A commit of it, and who waits. */
struct commit {
    struct creating *c;
    store_done      *done;
    void            *arg;
};

static void on_begun(void *arg, int status, const struct cfs_err *err)
{
    struct commit k = *(struct commit *)arg;
    struct cfs_err e = {0};
    json_t *rec;
    char *key;

    free(arg);
    if (status == 0) {
        key = key_of(k.c->id);
        status = store_get(k.c->m->store, key, &rec, &k.c->token, &e);
        free(key);
        if (status == 0)
            json_decref(rec);
        err = &e;
    }
    k.done(k.arg, status, err);
}

void creating_begin(struct creating *c, store_done *done, void *arg)
{
    struct store_txn *t = store_txn_new();
    struct commit *k = mem_new(sizeof *k);
    char *key = key_of(c->id), *volume = rec_volume_key(c->prep->volume);
    json_t *rec = record(c);

    *k = (struct commit){c, done, arg};
    cfs_list_add_tail(&c->m->creating, &c->link);
    for (unsigned i = 0; i < c->prep->n; i++)
        creating_claim(t, &c->prep->brick[i], c->prep->volume, &c->id);
    store_txn_if_absent(t, volume);
    store_txn_if_absent(t, key);
    store_txn_put(t, key, rec);
    store_commit(c->m->store, t, on_begun, k);
    json_decref(rec);
    free(volume);
    free(key);
}

void creating_finish(struct creating *c, struct store_txn *t)
{
    char *key = key_of(c->id);

    store_txn_if(t, key, c->token);
    store_txn_delete(t, key);
    for (unsigned i = 0; i < c->prep->n; i++)
        creating_claim(t, &c->prep->brick[i], c->prep->volume, NULL);
    free(key);
}

void creating_end(struct creating *c)
{
    cfs_list_del(&c->link);
}

/* -- undoing ------------------------------------------------------------- */

static void on_forgotten(void *arg, int status, const struct cfs_err *err)
{
    struct commit k = *(struct commit *)arg;

    free(arg);
    k.done(k.arg, status, err);
}

static void on_undone(void *arg, int status, const struct cfs_err *err)
{
    struct commit *k = arg;
    struct creating *c = k->c;
    struct store_txn *t;
    char *key;

    if (status < 0) {
        on_forgotten(k, status, err);
        return;
    }
    t = store_txn_new();
    key = key_of(c->id);
    store_txn_if(t, key, c->token);
    store_txn_delete(t, key);
    free(key);
    for (unsigned i = 0; i < c->prep->n; i++) {
        const struct prep_brick *b = &c->prep->brick[i];

        key = rec_brick_key(b->node, b->canonical);
        store_txn_delete(t, key);
        free(key);
    }
    store_commit(c->m->store, t, on_forgotten, k);
}

void creating_undo(struct creating *c, store_done *done, void *arg)
{
    struct commit *k = mem_new(sizeof *k);

    *k = (struct commit){c, done, arg};
    node_prep_undo(c->m, c->prep, on_undone, k);
}

/* -- what was left behind ------------------------------------------------ */

struct rest {
    struct creating c;
    struct prep     prep;
    char           *volume;
};

static void rest_end(void *arg, int status, const struct cfs_err *err)
{
    struct rest *r = arg;
    struct cfs_log *log = r->c.m->host.log;

    if (status < 0)
        cfs_log_warning(log, WHO, "volume %s was not made; what is left of it "
                        "cannot be taken back yet: %s", r->volume, err->text);
    else
        cfs_log_info(log, WHO, "volume %s was not made; what was left of it "
                     "is taken back", r->volume);
    creating_end(&r->c);
    prep_fini(&r->prep);
    free(r->volume);
    free(r);
}

static bool is_running(struct mgmtd *m, struct cfs_uuid id)
{
    cfs_list_for_each(l, &m->creating)
        if (cfs_uuid_eq(cfs_list_entry(l, struct creating, link)->id, id))
            return true;
    return false;
}

static bool is_ours(struct mgmtd *m, const char *by)
{
    const struct peer *lowest = NULL;

    if (strcmp(by, m->node) == 0)
        return true;
    if (peer_find(m, by) || cfs_list_empty(&m->peers))
        return false;
    lowest = cfs_list_entry(m->peers.next, struct peer, link);
    return lowest->self;
}

static int take_brick(const json_t *o, const char *what, struct prep_brick *b,
                      struct cfs_err *err)
{
    const char *node, *path, *canonical;
    int rc = rec_str(o, what, "node", &node, err);

    if (rc == 0)
        rc = rec_str(o, what, "path", &path, err);
    if (rc == 0)
        rc = rec_str(o, what, "canonical", &canonical, err);
    if (rc == 0)
        rc = rec_uuid(o, what, "id", &b->id, err);
    if (rc == 0)
        rc = rec_u64(o, what, "size", &b->size, err);
    if (rc < 0)
        return rc;
    b->node = mem_str(node);
    b->path = mem_str(path);
    b->canonical = mem_str(canonical);
    b->exists = json_is_true(json_object_get(o, "exists"));
    return 0;
}

static int rest_read(struct rest *r, const char *key, const json_t *rec,
                     struct cfs_err *err)
{
    const json_t *list = json_object_get(rec, "bricks");
    const char *volume;
    int rc = rec_str(rec, key, "volume", &volume, err);

    if (rc == 0)
        rc = rec_uuid(rec, key, "cluster", &r->prep.cluster, err);
    if (rc == 0 && json_array_size(list) > CFS_SET_MAX)
        rc = cfs_err_set(err, -CFS_E_CORRUPT, "%s: too many bricks", key);
    if (rc < 0)
        return rc;
    r->volume = mem_str(volume);
    r->prep.volume = r->volume;
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        r->prep.n = (unsigned)i + 1;
        rc = take_brick(json_array_get(list, i), key, &r->prep.brick[i], err);
    }
    return rc;
}

static int look_at(void *arg, const char *key, json_t *rec, uint64_t token,
                   struct cfs_err *err)
{
    struct mgmtd *m = arg;
    const char *by = json_string_value(json_object_get(rec, "by"));
    struct cfs_err e = {0};
    struct cfs_uuid id;
    struct rest *r;

    if (!by || cfs_uuid_parse(key + strlen("creating/"), &id) < 0 ||
        is_running(m, id) || !is_ours(m, by))
        return 0;
    r = mem_new(sizeof *r);
    r->c = (struct creating){
        .m = m, .id = id, .token = token, .prep = &r->prep};
    cfs_list_add_tail(&m->creating, &r->c.link);
    if (rest_read(r, key, rec, &e) == 0) {
        creating_undo(&r->c, rest_end, r);
        return 0;
    }
    if (!r->volume)
        r->volume = mem_str("?");
    rest_end(r, e.code, &e);
    return 0;
}

void creating_look(struct mgmtd *m)
{
    struct cfs_err err = {0};

    if (store_range(m->store, "creating/", look_at, m, &err) < 0)
        cfs_log_error(m->host.log, WHO, "%s", err.text);
}
