/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - what all engines of the store have in common: shapes of keys and
 * values, JSON, the queue of transactions, watchers. */
#include "mgmtd/mem.h"
#include "mgmtd/store/store_engine.h"

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

/* What etcd has can be read again. */
static void note_damage(struct store *s, int rc)
{
    if ((rc == -CFS_E_CHECKSUM || rc == -CFS_E_CORRUPT) && s->engine->damaged)
        s->engine->damaged(s);
}

int store_get(struct store *s, const char *key, json_t **ret,
              uint64_t *ret_token, struct cfs_err *err)
{
    uint64_t token;
    char *text;
    int rc;

    rc = copy_get(s->copy, key, &text, &token, err);
    note_damage(s, rc);
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
    int rc = copy_range(s->copy, prefix, walk_one, &w, err);

    note_damage(s, rc);
    return rc;
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
    free(t->op);
    free(t);
}

bool store_key_valid(const char *key)
{
    size_t len = strlen(key);

    if (len == 0 || len > STORE_KEY_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return false;
    return true;
}

static void bad(struct store_txn *t, const char *key, int why)
{
    if (t->bad)
        return;
    t->bad = why;
    snprintf(t->bad_key, sizeof t->bad_key, "%s", key);
}

/* Two operations on one key; or one on a key under a prefix that goes. */
static bool overlap(const struct store_op *a, const struct store_op *b)
{
    if (a->type == STORE_DELETE_PREFIX && str_starts(b->key, a->key))
        return true;
    if (b->type == STORE_DELETE_PREFIX && str_starts(a->key, b->key))
        return true;
    return strcmp(a->key, b->key) == 0;
}

static struct store_op *add_op(struct store_txn *t, enum store_op_type type,
                               const char *key)
{
    struct store_op op = {.type = type, .key = mem_str(key)};
    size_t n = 0;

    if (!store_key_valid(key))
        bad(t, key, -EINVAL);
    for (size_t i = 0; i < t->n_ops; i++) {
        if (store_op_is_condition(&t->op[i]) != store_op_is_condition(&op))
            continue;
        n++;
        if (overlap(&t->op[i], &op))
            bad(t, key, -EINVAL);
    }
    if (n >= STORE_OPS_MAX)
        bad(t, key, -E2BIG);
    t->bytes += strlen(key);
    t->op = mem_grow(t->op, t->n_ops, sizeof *t->op);
    t->op[t->n_ops] = op;
    return &t->op[t->n_ops++];
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
    t->bytes += strlen(op->text);
    if (strlen(op->text) > STORE_VALUE_MAX || t->bytes > STORE_TXN_MAX)
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

/* -- the queue ----------------------------------------------------------- */

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
    struct store_txn *t;

    if (!s->engine->current)
        store_answer_askers(s, 0, NULL);
    if (s->busy || s->paused || cfs_list_empty(&s->queue))
        return;
    t = cfs_list_entry(s->queue.next, struct store_txn, link);
    if (t->bad) {
        refuse(s, t);
        return;
    }
    s->busy = true;
    s->engine->commit(s, t);
}

void store_wake(struct store *s)
{
    cfs_task_post(s->loop, &s->task);
}

void store_pause(struct store *s, bool paused)
{
    s->paused = paused;
    store_wake(s);
}

void store_commit(struct store *s, struct store_txn *t, store_done *done,
                  void *arg)
{
    t->done = done;
    t->arg = arg;
    cfs_list_add_tail(&s->queue, &t->link);
    store_wake(s);
}

void store_replace(struct store *s, const char *key, uint64_t token,
                   json_t *rec, store_done *done, void *arg)
{
    struct store_txn *t = store_txn_new();

    store_txn_if(t, key, token);
    store_txn_put(t, key, rec);
    json_decref(rec);
    store_commit(s, t, done, arg);
}

void store_committed(struct store *s, struct store_txn *t, int status,
                     const struct cfs_err *err)
{
    assert(s->busy && s->queue.next == &t->link);
    cfs_list_del(&t->link);
    s->busy = false;
    if (!cfs_list_empty(&s->queue))
        store_wake(s);
    if (s->sw)
        store_switch_idle(s);
    t->done(t->arg, status, err);
    store_txn_free(t);
}

void store_current(struct store *s, store_done *done, void *arg)
{
    struct store_asker *a = mem_new(sizeof *a);

    a->since = cfs_ran(s->loop);
    a->done = done;
    a->arg = arg;
    cfs_list_add_tail(&s->askers, &a->link);
    if (s->engine->current)
        s->engine->current(s);
    else
        store_wake(s);
}

/* Those that are answered leave the list first: done() may ask again. */
void store_answer_askers(struct store *s, uint64_t patience_ns,
                         const struct cfs_err *err)
{
    uint64_t now = cfs_ran(s->loop);
    struct cfs_list out, *l;

    cfs_list_init(&out);
    cfs_list_for_each_safe(it, &s->askers) {
        struct store_asker *a = cfs_list_entry(it, struct store_asker, link);
        bool has = !s->engine->current ||
                   (a->want > 0 && a->want <= s->revision);

        if (!has && (patience_ns == 0 || now - a->since < patience_ns))
            continue;
        a->want = has ? 1 : 0;
        cfs_list_del(&a->link);
        cfs_list_add_tail(&out, &a->link);
    }
    while ((l = cfs_list_pop(&out))) {
        struct store_asker *a = cfs_list_entry(l, struct store_asker, link);

        if (a->want)
            a->done(a->arg, 0, &(struct cfs_err){0});
        else
            a->done(a->arg, err->code, err);
        free(a);
    }
}

/* -- watching ------------------------------------------------------------ */

/* A value that is no JSON object is nobody's record: reading it is an error
 * that names it, and watchers keep what they had. */
static void tell_one(struct store *s, const struct store_change *c)
{
    json_t *value = NULL;

    if (c->text && decode(c->key, c->text, &value, NULL) < 0) {
        cfs_log_error(s->log, "store", "the record '%s' is no JSON object",
                      c->key);
        return;
    }
    cfs_list_for_each_safe(l, &s->watches) {
        struct store_watch *w = cfs_list_entry(l, struct store_watch, link);

        if (str_starts(c->key, w->prefix))
            w->changed(w, c->key, value, c->token);
    }
    json_decref(value);
}

void store_tell(struct store *s, const struct store_changes *changes)
{
    store_take_head(s);
    for (size_t i = 0; i < changes->n; i++)
        tell_one(s, &changes->v[i]);
}

void store_watch(struct store *s, struct store_watch *w)
{
    cfs_list_add_tail(&s->watches, &w->link);
}

void store_unwatch(struct store_watch *w)
{
    cfs_list_del(&w->link);
}

void store_health(const struct store *s, struct store_health *ret)
{
    *ret = (struct store_health){.current = true, .authority = s->revision,
                                 .since = cfs_now(s->loop)};
    if (s->engine->health)
        s->engine->health(s, ret);
}

/* -- life ---------------------------------------------------------------- */

int store_new(const struct store_engine *engine, struct cfs_loop *loop,
              struct cfs_log *log, const char *dir, struct store **ret,
              struct cfs_err *err)
{
    struct store *s = mem_new(sizeof *s);
    int rc = copy_open(dir, &s->copy, err);

    if (rc < 0) {
        free(s);
        return rc;
    }
    s->engine = engine;
    s->loop = loop;
    s->log = log;
    cfs_list_init(&s->queue);
    cfs_list_init(&s->askers);
    cfs_list_init(&s->watches);
    cfs_task_init(&s->task, run_queue);
    *ret = s;
    return 0;
}

void store_free(struct store *s)
{
    copy_close(s->copy);
    free(s);
}

void store_take_head(struct store *s)
{
    s->lineage = copy_head(s->copy)->lineage;
    s->revision = copy_head(s->copy)->revision;
}

void store_close(struct store *s)
{
    struct cfs_list *l;

    if (!s)
        return;
    s->paused = true; /* nothing else begins while the engine ends */
    store_switch_free(s->sw);
    s->sw = NULL;
    s->engine->close(s);
    cfs_task_cancel(&s->task);
    while ((l = cfs_list_pop(&s->askers)))
        free(cfs_list_entry(l, struct store_asker, link));
    while ((l = cfs_list_pop(&s->queue)))
        store_txn_free(cfs_list_entry(l, struct store_txn, link));
    store_free(s);
}
