/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - what all engines of the store have in common: shapes of keys and
 * values, JSON, the queue of transactions, watchers. */
#include "mgmtd/mem.h"
#include "mgmtd/store_engine.h"

#include <stdio.h>

uint64_t store_lineage(const struct store *s)
{
    return s->lineage;
}

uint64_t store_revision(const struct store *s)
{
    return s->revision;
}

const char *store_engine_name(const struct store *s)
{
    return s->engine->name;
}

/* -- reading ------------------------------------------------------------- */

static int decode(const char *key, const char *text, json_t **ret,
                  struct cfs_err *err)
{
    json_error_t why;
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &why);

    if (!json_is_object(value)) {
        json_decref(value);
        return cfs_err_set(err, -CFS_E_CORRUPT, "the store's record '%s' is "
                           "no JSON object", key);
    }
    *ret = value;
    return 0;
}

int store_get(struct store *s, const char *key, json_t **ret,
              uint64_t *ret_token, struct cfs_err *err)
{
    uint64_t token;
    char *text;
    int rc;

    rc = s->engine->get(s, key, &text, &token, err);
    if (rc < 0)
        return rc;
    rc = decode(key, text, ret, err);
    free(text);
    if (rc == 0 && ret_token)
        *ret_token = token;
    return rc;
}

struct walk {
    store_each *each;
    void       *arg;
};

static int walk_one(void *arg, const char *key, const char *text,
                    uint64_t token, struct cfs_err *err)
{
    struct walk *w = arg;
    json_t *value;
    int rc = decode(key, text, &value, err);

    if (rc < 0)
        return rc;
    rc = w->each(w->arg, key, value, token, err);
    json_decref(value);
    return rc;
}

int store_range(struct store *s, const char *prefix, store_each *each,
                void *arg, struct cfs_err *err)
{
    struct walk w = {each, arg};

    return s->engine->range(s, prefix, walk_one, &w, err);
}

/* -- building transactions ----------------------------------------------- */

struct store_txn *store_txn_new(void)
{
    struct store_txn *t = mem_new(sizeof *t);

    cfs_list_init(&t->link);
    return t;
}

void store_txn_free(struct store_txn *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_ops; i++) {
        free(t->op[i].key);
        free(t->op[i].text);
    }
    for (size_t i = 0; i < t->n_changes; i++) {
        free(t->change[i].key);
        free(t->change[i].text);
    }
    free(t->op);
    free(t->change);
    free(t);
}

static bool key_valid(const char *key)
{
    size_t len = strlen(key);

    if (len == 0 || len > STORE_KEY_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return false;
    return true;
}

static bool is_condition(enum store_op_type type)
{
    return type == STORE_IF || type == STORE_IF_ABSENT;
}

static void bad(struct store_txn *t, const char *key, int why)
{
    if (t->bad)
        return;
    t->bad = why;
    snprintf(t->bad_key, sizeof t->bad_key, "%s", key);
}

static struct store_op *add_op(struct store_txn *t, enum store_op_type type,
                               const char *key)
{
    struct store_op *op;
    size_t n = 0;

    if (!key_valid(key))
        bad(t, key, -EINVAL);
    for (size_t i = 0; i < t->n_ops; i++) {
        if (is_condition(t->op[i].type) != is_condition(type))
            continue;
        n++;
        if (strcmp(t->op[i].key, key) == 0)
            bad(t, key, -EINVAL);
    }
    if (n >= STORE_OPS_MAX)
        bad(t, key, -E2BIG);
    t->op = mem_grow(t->op, t->n_ops, sizeof *t->op);
    op = &t->op[t->n_ops++];
    *op = (struct store_op){.type = type, .key = mem_str(key)};
    return op;
}

void store_txn_if(struct store_txn *t, const char *key, uint64_t token)
{
    add_op(t, STORE_IF, key)->token = token;
}

void store_txn_if_absent(struct store_txn *t, const char *key)
{
    add_op(t, STORE_IF_ABSENT, key);
}

void store_txn_put(struct store_txn *t, const char *key, json_t *value)
{
    struct store_op *op = add_op(t, STORE_PUT, key);

    assert(json_is_object(value));
    op->text = mem_ok(json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS));
    if (strlen(op->text) > STORE_VALUE_MAX)
        bad(t, key, -E2BIG);
}

void store_txn_delete(struct store_txn *t, const char *key)
{
    add_op(t, STORE_DELETE, key);
}

void store_txn_delete_prefix(struct store_txn *t, const char *prefix)
{
    add_op(t, STORE_DELETE_PREFIX, prefix);
}

void store_txn_changed(struct store_txn *t, const char *key, const char *text)
{
    struct store_change *c;

    t->change = mem_grow(t->change, t->n_changes, sizeof *t->change);
    c = &t->change[t->n_changes++];
    c->key = mem_str(key);
    c->text = text ? mem_str(text) : NULL;
}

/* -- committing ---------------------------------------------------------- */

struct current {
    struct cfs_list link;
    store_done     *done;
    void           *arg;
};

/* Answer a transaction that never reached the engine. */
static void refuse(struct store *s, struct store_txn *t)
{
    struct cfs_err err = {0};

    cfs_err_set(&err, t->bad, "the store cannot take the record '%s': %s",
                t->bad_key,
                t->bad == -E2BIG ? "too large" : "a bad or repeated key");
    s->busy = true;
    store_committed(s, t, t->bad, &err);
}

static void run_queue(struct cfs_task *task)
{
    struct store *s = cfs_list_entry(task, struct store, task);
    struct cfs_list *l;

    while ((l = cfs_list_pop(&s->currents))) {
        struct current *c = cfs_list_entry(l, struct current, link);

        c->done(c->arg, 0, &(struct cfs_err){0});
        free(c);
    }
    if (s->busy || cfs_list_empty(&s->queue))
        return;
    l = s->queue.next;
    struct store_txn *t = cfs_list_entry(l, struct store_txn, link);

    if (t->bad) {
        refuse(s, t);
        return;
    }
    s->busy = true;
    s->engine->commit(s, t);
}

void store_commit(struct store *s, struct store_txn *t, store_done *done,
                  void *arg)
{
    t->done = done;
    t->arg = arg;
    cfs_list_add_tail(&s->queue, &t->link);
    cfs_task_post(s->loop, &s->task);
}

void store_current(struct store *s, store_done *done, void *arg)
{
    struct current *c = mem_new(sizeof *c);

    c->done = done;
    c->arg = arg;
    cfs_list_add_tail(&s->currents, &c->link);
    cfs_task_post(s->loop, &s->task);
}

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static void tell_watchers(struct store *s, const struct store_change *c)
{
    json_t *value = NULL;

    if (c->text)
        value = mem_ok(json_loads(c->text, 0, NULL));
    cfs_list_for_each_safe(l, &s->watches) {
        struct store_watch *w = cfs_list_entry(l, struct store_watch, link);

        if (starts_with(c->key, w->prefix))
            w->changed(w, c->key, value, s->revision);
    }
    json_decref(value);
}

void store_committed(struct store *s, struct store_txn *t, int status,
                     const struct cfs_err *err)
{
    assert(s->busy && s->queue.next == &t->link);
    cfs_list_del(&t->link);
    s->busy = false;
    if (status == 0)
        for (size_t i = 0; i < t->n_changes; i++)
            tell_watchers(s, &t->change[i]);
    t->done(t->arg, status, err);
    store_txn_free(t);
    if (!cfs_list_empty(&s->queue))
        cfs_task_post(s->loop, &s->task);
}

/* -- watching, life ------------------------------------------------------ */

void store_watch(struct store *s, struct store_watch *w)
{
    cfs_list_add_tail(&s->watches, &w->link);
}

void store_unwatch(struct store_watch *w)
{
    cfs_list_del(&w->link);
}

void store_init(struct store *s, const struct store_engine *engine,
                struct cfs_loop *loop, struct cfs_log *log)
{
    s->engine = engine;
    s->loop = loop;
    s->log = log;
    cfs_list_init(&s->queue);
    cfs_list_init(&s->currents);
    cfs_list_init(&s->watches);
    cfs_task_init(&s->task, run_queue);
}

void store_close(struct store *s)
{
    struct cfs_list *l;

    if (!s)
        return;
    cfs_task_cancel(&s->task);
    while ((l = cfs_list_pop(&s->currents)))
        free(cfs_list_entry(l, struct current, link));
    s->engine->close(s);
}
