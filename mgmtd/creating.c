/* SPDX-License-Identifier: Apache-2.0 */
/* creating.c - see creating.h. */
#include "mgmtd/creating.h"

#include <stdio.h>

#define WHO   "create"
#define AGAIN (2 * CFS_SEC)  /* what is left is looked at again */
#define AWAY  (20 * CFS_SEC) /* a node that began one is not waited for */

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

/* Without the bricks that are undone. */
static json_t *record(const struct creating *c)
{
    json_t *list = mem_ok(json_array());

    for (unsigned i = 0; i < c->prep->n; i++) {
        const struct prep_brick *b = &c->prep->brick[i];

        if (b->undone)
            continue;
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

static void commit_end(struct commit *k, int status, const struct cfs_err *err)
{
    const struct commit copy = *k;

    free(k);
    copy.done(copy.arg, status, err);
}

/* The record was put: it is ours as long as it has this token. */
static int put_by_us(struct creating *c, struct cfs_err *err)
{
    char *key = key_of(c->id);
    json_t *rec;
    const char *by;
    int rc = store_get(c->m->store, key, &rec, &c->token, err);

    free(key);
    if (rc < 0)
        return rc;
    by = json_string_value(json_object_get(rec, "by"));
    if (!by || strcmp(by, c->m->node) != 0)
        rc = cfs_err_set(err, -CFS_E_CONFLICT, "another node takes it back");
    json_decref(rec);
    return rc;
}

static void on_begun(void *arg, int status, const struct cfs_err *err)
{
    struct commit *k = arg;
    struct cfs_err e = {0};

    if (status == 0) {
        status = put_by_us(k->c, &e);
        err = &e;
    }
    commit_end(k, status, err);
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
    creating_look_soon(c->m); /* it may have left something */
}

/* -- undoing ------------------------------------------------------------- */

struct undo {
    struct creating *c;
    store_done      *done;
    void            *arg;
    struct cfs_err   err; /* what could not be undone on its node */
};

static void undo_end(struct undo *u, int status, const struct cfs_err *err)
{
    u->done(u->arg, status, err);
    free(u);
}

static void on_forgotten(void *arg, int status, const struct cfs_err *err)
{
    struct undo *u = arg;

    if (status < 0)
        undo_end(u, status, err);
    else
        undo_end(u, u->err.code, &u->err);
}

/* Step 3: claims of what is undone go; the record, when all is. */
static void on_undone(void *arg, int status, const struct cfs_err *err)
{
    struct undo *u = arg;
    struct creating *c = u->c;
    struct store_txn *t = store_txn_new();
    char *key = key_of(c->id);
    unsigned undone = 0;

    if (status < 0)
        u->err = *err;
    store_txn_if(t, key, c->token);
    for (unsigned i = 0; i < c->prep->n; i++) {
        const struct prep_brick *b = &c->prep->brick[i];
        char *claim;

        if (!b->undone)
            continue;
        undone++;
        claim = rec_brick_key(b->node, b->canonical);
        store_txn_delete(t, claim);
        free(claim);
    }
    if (undone == c->prep->n) {
        store_txn_delete(t, key);
    } else {
        json_t *rec = record(c);

        store_txn_put(t, key, rec);
        json_decref(rec);
    }
    free(key);
    if (undone > 0) {
        store_commit(c->m->store, t, on_forgotten, u);
    } else {
        store_txn_free(t);
        undo_end(u, u->err.code, &u->err);
    }
}

/* Step 2: no transaction can make the volume any more. */
static void on_taken(void *arg, int status, const struct cfs_err *err)
{
    struct undo *u = arg;
    struct cfs_err e = {0};

    if (status == 0) {
        status = put_by_us(u->c, &e);
        err = &e;
    }
    if (status < 0)
        undo_end(u, status, err);
    else
        node_prep_undo(u->c->m, u->c->prep, on_undone, u);
}

/* Step 1: the record's token changes, which creating_finish() relies on. */
void creating_undo(struct creating *c, store_done *done, void *arg)
{
    struct undo *u = mem_new(sizeof *u);
    char *key = key_of(c->id);
    json_t *rec = record(c);

    *u = (struct undo){.c = c, .done = done, .arg = arg};
    json_object_set_new(rec, "undo", json_true());
    store_replace(c->m->store, key, c->token, rec, on_taken, u);
    free(key);
}

/* -- what was left behind ------------------------------------------------ */

struct rest {
    struct creating c;
    struct cfs_list link; /* found by this look */
    struct prep     prep;
    char           *volume;
};

/* One look through the records. */
struct look {
    struct mgmtd   *m;
    struct cfs_list found;
    bool            any; /* of whomever: look again */
};

static void rest_free(struct rest *r)
{
    cfs_list_del(&r->c.link);
    prep_fini(&r->prep);
    free(r->volume);
    free(r);
}

/* It is said once, however often it is tried. */
static void say_problem(struct mgmtd *m, const char *volume, const char *why)
{
    char text[CFS_ERR_TEXT];

    snprintf(text, sizeof text, "volume %.64s was not made; what is left of "
             "it cannot be taken back yet: %.300s", volume, why);
    if (strcmp(m->creating_problem, text) != 0)
        cfs_log_warning(m->host.log, WHO, "%s", text);
    snprintf(m->creating_problem, sizeof m->creating_problem, "%s", text);
}

static void rest_end(void *arg, int status, const struct cfs_err *err)
{
    struct rest *r = arg;
    struct mgmtd *m = r->c.m;

    if (status == 0)
        cfs_log_info(m->host.log, WHO, "volume %s was not made; what was left "
                     "of it is taken back", r->volume);
    else if (status != -CFS_E_CONFLICT) /* else it was made, or is undone */
        say_problem(m, r->volume, err->text);
    rest_free(r);
    creating_look_soon(m);
}

static bool is_running(struct mgmtd *m, struct cfs_uuid id)
{
    cfs_list_for_each(l, &m->creating)
        if (cfs_uuid_eq(cfs_list_entry(l, struct creating, link)->id, id))
            return true;
    return false;
}

/* Whether this is the first of the nodes that are here. */
static bool is_first(struct mgmtd *m)
{
    cfs_list_for_each(l, &m->peers) {
        const struct peer *p = cfs_list_entry(l, struct peer, link);

        if (p->self || p->up)
            return p->self;
    }
    return true; /* a member of nothing */
}

static bool is_ours(struct mgmtd *m, const char *by)
{
    const struct peer *p = peer_find(m, by);

    if (strcmp(by, m->node) == 0)
        return true;
    if (p && (p->up || cfs_ran(m->host.loop) - p->away < AWAY))
        return false;
    return is_first(m);
}

/* Something can be done now. */
static bool is_reachable(struct mgmtd *m, const struct prep *prep)
{
    for (unsigned i = 0; i < prep->n; i++) {
        const struct peer *p = peer_find(m, prep->brick[i].node);

        if (!p || p->self || p->up)
            return true;
    }
    return prep->n == 0;
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
    struct look *look = arg;
    struct mgmtd *m = look->m;
    const char *by = json_string_value(json_object_get(rec, "by"));
    struct cfs_err e = {0};
    struct cfs_uuid id;
    struct rest *r;

    look->any = true;
    if (!by || cfs_uuid_parse(key + strlen("creating/"), &id) < 0 ||
        is_running(m, id) || !is_ours(m, by))
        return 0;
    r = mem_new(sizeof *r);
    r->c = (struct creating){
        .m = m, .id = id, .token = token, .prep = &r->prep};
    cfs_list_init(&r->c.link);
    if (rest_read(r, key, rec, &e) < 0) {
        say_problem(m, r->volume ? r->volume : "?", e.text);
        rest_free(r);
    } else if (!is_reachable(m, &r->prep)) {
        say_problem(m, r->volume, "its nodes cannot be reached");
        rest_free(r);
    } else {
        cfs_list_add_tail(&m->creating, &r->c.link);
        cfs_list_add_tail(&look->found, &r->link);
    }
    return 0;
}

static void look(struct mgmtd *m)
{
    struct look look = {.m = m};
    struct cfs_err err = {0};

    cfs_list_init(&look.found);
    if (store_range(m->store, "creating/", look_at, &look, &err) < 0) {
        cfs_log_error(m->host.log, WHO, "%s", err.text);
        look.any = true;
    }
    cfs_list_for_each_safe(l, &look.found) {
        struct rest *r = cfs_list_entry(l, struct rest, link);

        cfs_list_del(&r->link);
        creating_undo(&r->c, rest_end, r);
    }
    if (look.any)
        cfs_timer_start(&m->creating_timer, AGAIN);
    else
        m->creating_problem[0] = '\0';
}

static void on_timer(struct cfs_timer *t)
{
    look(container_of(t, struct mgmtd, creating_timer));
}

void creating_look_soon(struct mgmtd *m)
{
    if (!cfs_timer_active(&m->creating_timer))
        cfs_timer_start(&m->creating_timer, AGAIN);
}

void creating_look(struct mgmtd *m)
{
    cfs_timer_start(&m->creating_timer, 0);
}

/* Our copy may get to know only now what we began in an earlier life. */
static void on_record(struct store_watch *w, const char *key, json_t *value,
                      uint64_t token)
{
    if (value)
        creating_look_soon(container_of(w, struct mgmtd, on_creating));
}

void creating_start(struct mgmtd *m)
{
    m->on_creating.prefix = "creating/";
    m->on_creating.changed = on_record;
    store_watch(m->store, &m->on_creating);
    creating_look(m);
}

void creating_stop(struct mgmtd *m)
{
    if (m->on_creating.changed)
        store_unwatch(&m->on_creating);
    cfs_timer_fini(&m->creating_timer);
}

void creating_init(struct mgmtd *m)
{
    cfs_list_init(&m->creating);
    cfs_timer_init(m->host.loop, &m->creating_timer, on_timer);
}

/* -- a volume's ---------------------------------------------------------- */

struct search {
    const char *volume, *node;
    bool        found;
};

static int is_of(void *arg, const char *key, json_t *rec, uint64_t token,
                 struct cfs_err *err)
{
    struct search *s = arg;
    const char *volume = json_string_value(json_object_get(rec, "volume"));
    const char *by = json_string_value(json_object_get(rec, "by"));

    if (volume && by && strcmp(volume, s->volume) == 0 &&
        strcmp(by, s->node) == 0)
        s->found = true;
    return 0;
}

bool creating_is_left(struct mgmtd *m, const char *volume)
{
    struct search s = {.volume = volume, .node = m->node};
    struct cfs_err err = {0};

    return store_range(m->store, "creating/", is_of, &s, &err) == 0 && s.found;
}
