/* SPDX-License-Identifier: Apache-2.0 */
/* store_suite.c - see store_suite.h. */
#include "tests/unit/store_suite.h"

#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void reopen(struct fix *f)
{
    struct cfs_err err = {0};

    store_close(f->s);
    f->s = NULL;
    if (f->open(f, &err) < 0)
        fail_msg("%s", err.text);
}

void fix_init(struct fix *f)
{
    struct cfs_err err = {0};

    cfs_test_dir(f->dir, "store");
    assert_int_equal(cfs_loop_new(&f->loop, &err), 0);
}

static int unlink_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    return remove(path);
}

void fix_fini(struct fix *f)
{
    store_close(f->s);
    cfs_loop_free(f->loop);
    nftw(f->dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

void sql(struct fix *f, const char *text)
{
    char path[128];
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/store.db", f->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

void on_done(void *arg, int status, const struct cfs_err *err)
{
    struct fix *f = arg;

    f->pending--;
    f->status = status;
    memcpy(f->text, err->text, sizeof f->text);
}

bool all_answered(void *arg)
{
    return ((struct fix *)arg)->pending == 0;
}

void commit_only(struct fix *f, struct store_txn *t)
{
    f->pending++;
    store_commit(f->s, t, on_done, f);
}

int commit(struct fix *f, struct store_txn *t)
{
    commit_only(f, t);
    cfs_loop_run_until(f->loop, all_answered, f);
    return f->status;
}

/* {"n": @n} under @key. */
void put_op(struct store_txn *t, const char *key, int n)
{
    json_t *v = json_pack("{s:i}", "n", n);

    store_txn_put(t, key, v);
    json_decref(v);
}

int put(struct fix *f, const char *key, int n)
{
    struct store_txn *t = store_txn_new();

    put_op(t, key, n);
    return commit(f, t);
}

int put_surely(struct fix *f, const char *key, int n)
{
    int rc = put(f, key, n);

    for (int i = 0; i < 10 && rc == -ETIMEDOUT; i++)
        rc = put(f, key, n);
    return rc;
}

/* The n of @key, or the negative error. */
int get(struct fix *f, const char *key, uint64_t *ret_token)
{
    json_t *v;
    int n = store_get(f->s, key, &v, ret_token, NULL);

    if (n == 0) {
        n = (int)json_integer_value(json_object_get(v, "n"));
        json_decref(v);
    }
    return n;
}

int current(struct fix *f)
{
    f->pending++;
    f->status = -1;
    store_current(f->s, on_done, f);
    cfs_loop_run_until(f->loop, all_answered, f);
    return f->status;
}

/* -- the suite ----------------------------------------------------------- */

void what_was_put_is_read_and_survives_a_restart(void **state)
{
    struct fix *f = *state;
    uint64_t before, after, revision;

    assert_int_equal(get(f, "a/b", NULL), -ENOENT);
    assert_int_equal(put(f, "a/b", 7), 0);
    assert_int_equal(get(f, "a/b", &before), 7);
    revision = store_revision(f->s);
    assert_true(revision > 0);
    reopen(f);
    assert_int_equal(get(f, "a/b", &after), 7);
    assert_int_equal(before, after);
    assert_int_equal(store_revision(f->s), revision);
    assert_int_equal(store_lineage(f->s), f->lineage);
}

void a_token_changes_with_each_change_of_its_record(void **state)
{
    struct fix *f = *state;
    uint64_t one, two, other;

    put(f, "a", 1);
    get(f, "a", &one);
    put(f, "b", 1);
    get(f, "a", &other);
    assert_int_equal(one, other);
    put(f, "a", 1);
    get(f, "a", &two);
    assert_int_not_equal(one, two);
}

void a_failed_comparison_changes_nothing(void **state)
{
    struct fix *f = *state;
    struct store_txn *t = store_txn_new();
    uint64_t old, revision;

    put(f, "a", 1);
    get(f, "a", &old);
    put(f, "a", 2);
    revision = store_revision(f->s);
    store_txn_if(t, "a", old);
    put_op(t, "a", 3);
    put_op(t, "b", 3);
    assert_int_equal(commit(f, t), -CFS_E_CONFLICT);
    assert_non_null(strstr(f->text, "'a'"));
    assert_int_equal(get(f, "a", NULL), 2);
    assert_int_equal(get(f, "b", NULL), -ENOENT);
    assert_int_equal(store_revision(f->s), revision);
}

void absent_means_absent(void **state)
{
    struct fix *f = *state;
    struct store_txn *t = store_txn_new();

    store_txn_if_absent(t, "a");
    put_op(t, "a", 1);
    assert_int_equal(commit(f, t), 0);
    t = store_txn_new();
    store_txn_if_absent(t, "a");
    put_op(t, "a", 2);
    assert_int_equal(commit(f, t), -CFS_E_CONFLICT);
    t = store_txn_new();
    store_txn_if(t, "never", 1);
    put_op(t, "a", 3);
    assert_int_equal(commit(f, t), -CFS_E_CONFLICT);
    assert_int_equal(get(f, "a", NULL), 1);
}

/* Two who read the same and both want to change it. */
void of_two_proposals_one_wins(void **state)
{
    struct fix *f = *state;
    struct store_txn *one = store_txn_new(), *two = store_txn_new();
    uint64_t token;

    put(f, "view", 1);
    get(f, "view", &token);
    store_txn_if(one, "view", token);
    put_op(one, "view", 10);
    store_txn_if(two, "view", token);
    put_op(two, "view", 20);
    commit_only(f, one);
    assert_int_equal(commit(f, two), -CFS_E_CONFLICT);
    assert_int_equal(get(f, "view", NULL), 10);
}

int list_one(void *arg, const char *key, json_t *value, uint64_t token,
                    struct cfs_err *err)
{
    struct list *l = arg;
    size_t at = strlen(l->text);

    snprintf(l->text + at, sizeof l->text - at, "%s=%d ", key,
             (int)json_integer_value(json_object_get(value, "n")));
    return 0;
}

const char *keys(struct fix *f, const char *prefix, struct list *l)
{
    l->text[0] = '\0';
    assert_int_equal(store_range(f->s, prefix, list_one, l, NULL), 0);
    return l->text;
}

void a_range_has_its_prefix_only_and_is_in_order(void **state)
{
    struct fix *f = *state;
    struct list l;

    put(f, "v/b", 2);
    put(f, "v/a", 1);
    put(f, "v0", 9);
    put(f, "u/z", 9);
    put(f, "v/~", 3);
    assert_string_equal(keys(f, "v/", &l), "v/a=1 v/b=2 v/~=3 ");
    assert_string_equal(keys(f, "", &l), "u/z=9 v/a=1 v/b=2 v/~=3 v0=9 ");
    assert_string_equal(keys(f, "x", &l), "");
}

void deleting_a_prefix_leaves_the_others(void **state)
{
    struct fix *f = *state;
    struct store_txn *t = store_txn_new();
    struct list l;

    put(f, "v/a", 1);
    put(f, "v/b", 2);
    put(f, "v0", 3);
    put(f, "x", 4);
    store_txn_delete_prefix(t, "v/");
    store_txn_delete(t, "x");
    store_txn_delete(t, "never-there");
    assert_int_equal(commit(f, t), 0);
    assert_string_equal(keys(f, "", &l), "v0=3 ");
    reopen(f);
    assert_string_equal(keys(f, "", &l), "v0=3 ");
}

void on_change(struct store_watch *w, const char *key, json_t *value,
                      uint64_t token)
{
    struct seen *s = cfs_list_entry(w, struct seen, w);
    size_t at = strlen(s->text);
    uint64_t now = 0;

    snprintf(s->text + at, sizeof s->text - at, "%s%s ", value ? "+" : "-",
             key);
    s->pending_then = s->f->pending;
    if (value) { /* the copy shows it already */
        assert_true(get(s->f, key, &now) >= 0);
        assert_int_equal(now, token);
    }
}

void watchers_see_changes_under_their_prefix_before_done(void **state)
{
    struct fix *f = *state;
    struct seen s = {.w = {.prefix = "v/", .changed = on_change}, .f = f};
    struct store_txn *t = store_txn_new();

    store_watch(f->s, &s.w);
    put_op(t, "v/a", 1);
    put_op(t, "w", 1);
    assert_int_equal(commit(f, t), 0);
    assert_string_equal(s.text, "+v/a ");
    assert_int_equal(s.pending_then, 1);
    t = store_txn_new();
    store_txn_if_absent(t, "v/a");
    put_op(t, "v/b", 1);
    assert_int_equal(commit(f, t), -CFS_E_CONFLICT);
    assert_string_equal(s.text, "+v/a ");
    t = store_txn_new();
    store_txn_delete(t, "v/a");
    commit(f, t);
    assert_string_equal(s.text, "+v/a -v/a ");
    store_unwatch(&s.w);
    put(f, "v/c", 1);
    assert_string_equal(s.text, "+v/a -v/a ");
}

void fields_that_we_do_not_know_survive(void **state)
{
    struct fix *f = *state;
    struct store_txn *t = store_txn_new();
    json_t *v = json_pack("{s:i,s:{s:[i,s]}}", "n", 1, "future", "x", 1, "y");

    store_txn_put(t, "a", v);
    json_decref(v);
    assert_int_equal(commit(f, t), 0);
    assert_int_equal(store_get(f->s, "a", &v, NULL, NULL), 0);
    json_object_set_new(v, "n", json_integer(2));
    t = store_txn_new();
    store_txn_put(t, "a", v);
    json_decref(v);
    assert_int_equal(commit(f, t), 0);
    reopen(f);
    assert_int_equal(store_get(f->s, "a", &v, NULL, NULL), 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(
                            json_object_get(v, "future"), "x"), 1)), "y");
    assert_int_equal(json_integer_value(json_object_get(v, "n")), 2);
    json_decref(v);
}

/* A refused transaction does not hold up those behind it. */
void bad_shapes_are_refused(void **state)
{
    struct fix *f = *state;
    struct store_txn *t;
    char *big = calloc(1, STORE_VALUE_MAX + 1), key[32];
    json_t *v;

    assert_int_equal(put(f, "", 1), -EINVAL);
    assert_int_equal(put(f, "a b", 1), -EINVAL);
    assert_int_equal(put(f, "a\xff", 1), -EINVAL);
    memset(big, 'x', STORE_VALUE_MAX);
    v = json_pack("{s:s}", "x", big);
    t = store_txn_new();
    store_txn_put(t, "big", v);
    json_decref(v);
    free(big);
    assert_int_equal(commit(f, t), -E2BIG);
    assert_non_null(strstr(f->text, "'big'"));
    t = store_txn_new();
    put_op(t, "a", 1);
    put_op(t, "a", 2);
    assert_int_equal(commit(f, t), -EINVAL);
    t = store_txn_new();
    for (unsigned i = 0; i <= STORE_OPS_MAX; i++) {
        snprintf(key, sizeof key, "k%u", i);
        put_op(t, key, 1);
    }
    assert_int_equal(commit(f, t), -E2BIG);
    assert_int_equal(put(f, "a", 3), 0);
    assert_int_equal(get(f, "a", NULL), 3);
}

void a_current_read_is_answered(void **state)
{
    struct fix *f = *state;

    assert_int_equal(current(f), 0);
}
