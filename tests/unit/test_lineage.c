/* SPDX-License-Identifier: Apache-2.0 */
/* test_lineage.c - a configuration as a document, and its next life. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mgmtd/keep_trust.h"
#include "mgmtd/record.h"
#include "mgmtd/revoked.h"
#include "mgmtd/store/store_doc.h"
#include "tests/unit/sh.h"

#define JUMP ((json_int_t)1 << 32)

struct fix {
    struct cfs_loop *loop;
    char             dir[64];
    struct store    *s;
    bool             done;
    int              status;
};

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    struct cfs_err err = {0};

    cfs_test_dir(f->dir, "lineage");
    assert_int_equal(cfs_loop_new(&f->loop, &err), 0);
    assert_int_equal(store_open_sqlite(f->loop, NULL, f->dir, &f->s, &err),
                     0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    store_close(f->s);
    cfs_loop_free(f->loop);
    assert_int_equal(sh("rm -rf %s", f->dir), 0);
    free(f);
    return 0;
}

static void on_done(void *arg, int status, const struct cfs_err *err)
{
    struct fix *f = arg;

    f->done = true;
    f->status = status;
}

static bool is_done(void *arg)
{
    return ((struct fix *)arg)->done;
}

/* A configuration with one record of each kind. */
static void fill(struct fix *f)
{
    static const char *const records[][2] = {
        {"ca/nodes", "{\"cert\":\"x\",\"future\":[1]}"},
        {"client/c1", "{\"generation\":3,\"v\":1}"},
        {"engine", "{\"lineage\":2}"},
        {"node/n1", "{\"number\":1}"},
        {"token/abcd", "{\"end\":99}"},
        {"view-past/7/00000000000000000005", "{\"id\":\"i\"}"},
        {"view/7", "{\"epoch\":5,\"future\":\"kept\",\"id\":\"i\",\"in_sync\":"
         "[{\"brick\":\"b\",\"incarnation\":2}],\"out\":{\"b2\":{}},"
         "\"syncing\":[],\"v\":1}"},
        {"volume/demo", "{\"generation\":7,\"state\":\"started\"}"},
    };
    struct store_txn *t = store_txn_new();

    for (size_t i = 0; i < CFS_ARRAY_SIZE(records); i++) {
        json_t *v = json_loads(records[i][1], 0, NULL);

        store_txn_put(t, records[i][0], v);
        json_decref(v);
    }
    f->done = false;
    store_commit(f->s, t, on_done, f);
    cfs_loop_run_until(f->loop, is_done, f);
    assert_int_equal(f->status, 0);
}

static json_t *doc_of(struct fix *f)
{
    struct cfs_err err = {0};
    json_t *doc;

    fill(f);
    doc = store_export(f->s, &err);
    assert_non_null(doc);
    assert_int_equal(store_doc_check(doc, &err), 0);
    return doc;
}

static json_t *value_of(json_t *doc, const char *key)
{
    json_t *rec;
    size_t i;

    json_array_foreach(json_object_get(doc, "records"), i, rec)
        if (strcmp(json_string_value(json_object_get(rec, "key")), key) == 0)
            return json_object_get(rec, "value");
    return NULL;
}

static json_int_t number(json_t *o, const char *field)
{
    return json_integer_value(json_object_get(o, field));
}

static void a_document_becomes_the_same_store_of_a_higher_lineage(void **state)
{
    struct fix *f = *state;
    json_t *doc = doc_of(f), *again, *rec;
    uint64_t revision = store_revision(f->s), old_token, token;
    struct cfs_err err = {0};
    size_t i;

    assert_int_equal(store_get(f->s, "node/n1", &rec, &old_token, NULL), 0);
    json_decref(rec);
    assert_int_equal(store_import_sqlite(f->dir, doc, 5, &err), -EBUSY);
    store_close(f->s);
    f->s = NULL;
    err = (struct cfs_err){0};
    assert_int_equal(store_import_sqlite(f->dir, doc, 1, &err), -EINVAL);
    assert_int_equal(store_import_sqlite(f->dir, doc, 5, NULL), 0);
    assert_int_equal(store_open_sqlite(f->loop, NULL, f->dir, &f->s, &err),
                     0);
    assert_int_equal(store_lineage(f->s), 5);
    assert_true(store_revision(f->s) > revision);
    again = store_export(f->s, &err);
    assert_int_equal(json_array_size(json_object_get(again, "records")),
                     json_array_size(json_object_get(doc, "records")));
    json_array_foreach(json_object_get(doc, "records"), i, rec)
        assert_true(json_equal(rec, json_array_get(json_object_get(again,
                                   "records"), i)));
    assert_int_equal(store_get(f->s, "node/n1", &rec, &token, NULL), 0);
    json_decref(rec);
    assert_int_not_equal(token, old_token);
    json_decref(again);
    json_decref(doc);
}

/* With its log beside it, as a killed mgmtd leaves it. */
static void what_was_there_before_is_gone_whole(void **state)
{
    struct fix *f = *state;
    json_t *doc = doc_of(f), *rec;
    char path[128];
    struct stat st;
    struct cfs_err err = {0};

    fill(f); /* once more: the log is not empty */
    assert_int_equal(sh("cd %s && mkdir killed && cp store.db store.db-wal "
                        "store.db-shm killed", f->dir), 0);
    snprintf(path, sizeof path, "%s/killed", f->dir);
    json_object_set_new(value_of(doc, "node/n1"), "number", json_integer(1));
    assert_int_equal(store_import_sqlite(path, doc, 2, &err), 0);
    snprintf(path, sizeof path, "%s/killed/store.db-wal", f->dir);
    assert_int_equal(stat(path, &st), -1);
    store_close(f->s);
    f->s = NULL;
    snprintf(path, sizeof path, "%s/killed", f->dir);
    assert_int_equal(store_open_sqlite(f->loop, NULL, path, &f->s, &err), 0);
    assert_int_equal(store_lineage(f->s), 2);
    assert_int_equal(store_get(f->s, "volume/demo", &rec, NULL, &err), 0);
    json_decref(rec);
    json_decref(doc);
}

static void a_damaged_document_is_refused(void **state)
{
    struct fix *f = *state;
    json_t *doc = doc_of(f), *bad, *records;

    bad = json_deep_copy(doc);
    json_object_set_new(value_of(bad, "volume/demo"), "generation",
                        json_integer(8));
    assert_int_equal(store_doc_check(bad, NULL), -CFS_E_CHECKSUM);
    json_decref(bad);
    bad = json_deep_copy(doc);
    json_object_set_new(bad, "lineage", json_integer(2));
    assert_int_equal(store_doc_check(bad, NULL), -CFS_E_CHECKSUM);
    json_object_set_new(bad, "format", json_integer(2));
    assert_int_equal(store_doc_check(bad, NULL), -EPROTONOSUPPORT);
    json_decref(bad);
    bad = json_deep_copy(doc);
    records = json_object_get(bad, "records");
    json_array_append(records, json_array_get(records, 0));
    assert_int_equal(store_doc_check(bad, NULL), -CFS_E_CORRUPT);
    json_array_clear(records);
    json_array_append_new(records, json_string("x"));
    assert_int_equal(store_doc_check(bad, NULL), -CFS_E_CORRUPT);
    json_decref(bad);
    bad = json_array();
    assert_int_equal(store_doc_check(bad, NULL), -CFS_E_CORRUPT);
    json_decref(bad);
    assert_int_equal(store_doc_check(doc, NULL), 0);
    json_decref(doc);
}

static void in_the_next_life_nobody_is_in_sync_and_numbers_jump(void **state)
{
    struct fix *f = *state;
    json_t *doc = doc_of(f), *view, *forming;
    struct cfs_err err = {0};

    assert_int_equal(store_reborn(doc, &err), 0);
    assert_int_equal(store_doc_check(doc, &err), 0);
    assert_int_equal(number(value_of(doc, "volume/demo"), "generation"),
                     7 + JUMP);
    assert_string_equal(json_string_value(json_object_get(value_of(doc,
                            "volume/demo"), "state")), "started");
    assert_int_equal(number(value_of(doc, "client/c1"), "generation"),
                     3 + JUMP);
    view = value_of(doc, "view/7");
    assert_int_equal(number(view, "epoch"), 5 + JUMP);
    assert_int_equal(json_array_size(json_object_get(view, "in_sync")), 0);
    assert_true(json_is_array(json_object_get(view, "in_sync")));
    assert_int_equal(json_array_size(json_object_get(view, "syncing")), 0);
    assert_null(json_object_get(view, "out"));
    forming = json_object_get(view, "forming");
    assert_int_equal(number(forming, "lineage"), 1);
    assert_int_equal(number(forming, "epoch"), 5);
    assert_string_not_equal(json_string_value(json_object_get(view, "id")),
                            "i");
    json_decref(doc);
}

static void in_the_next_life_the_rest_stays_but_tokens_and_voters(void **state)
{
    struct fix *f = *state;
    json_t *doc = doc_of(f), *old = json_deep_copy(doc);
    static const char *const stay[] = {"node/n1",
                                       "view-past/7/00000000000000000005"};

    assert_int_equal(store_reborn(doc, NULL), 0);
    for (size_t i = 0; i < CFS_ARRAY_SIZE(stay); i++)
        assert_true(json_equal(value_of(doc, stay[i]),
                               value_of(old, stay[i])));
    assert_string_equal(json_string_value(json_object_get(value_of(doc,
                            "view/7"), "future")), "kept");
    assert_non_null(json_object_get(value_of(doc, "ca/nodes"), "future"));
    assert_int_equal(number(value_of(doc, "ca/nodes"), "number"), JUMP);
    assert_null(value_of(doc, "token/abcd"));
    assert_null(value_of(doc, "engine"));
    json_decref(doc);
    json_decref(old);
}

/* A second rebuild, before the set was formed after the first. */
static void the_word_of_the_last_view_outlives_two_lives(void **state)
{
    struct fix *f = *state;
    json_t *doc = doc_of(f), *view;

    assert_int_equal(store_reborn(doc, NULL), 0);
    assert_int_equal(store_reborn(doc, NULL), 0);
    view = value_of(doc, "view/7");
    assert_int_equal(number(view, "epoch"), 5 + 2 * JUMP);
    assert_int_equal(number(json_object_get(view, "forming"), "epoch"), 5);
    json_decref(doc);
}

static void a_record_without_its_number_changes_nothing(void **state)
{
    struct fix *f = *state;
    json_t *doc, *before, *v = json_pack("{s:s}", "epoch", "high");
    struct store_txn *t = store_txn_new();
    struct cfs_err err = {0};

    store_txn_put(t, "view/8", v);
    json_decref(v);
    store_commit(f->s, t, on_done, f);
    doc = doc_of(f);
    before = json_deep_copy(doc);
    assert_int_equal(store_reborn(doc, &err), -CFS_E_CORRUPT);
    assert_non_null(strstr(err.text, "view/8"));
    assert_true(json_equal(doc, before));
    json_decref(before);
    json_decref(doc);
}

/* -- restored while a cluster runs ---------------------------------------- */

/* A document of these records, which are in order; ends with NULL. */
static json_t *doc_with(const char *const (*records)[2])
{
    json_t *doc = json_pack("{s:i,s:i,s:i,s:[]}", "format", 1, "lineage", 1,
                            "revision", 9, "records");

    for (; (*records)[0]; records++) {
        json_t *value = json_loads((*records)[1], 0, NULL);

        assert_non_null(value);
        json_array_append_new(json_object_get(doc, "records"),
                              json_pack("{s:s,s:o}", "key", (*records)[0],
                                        "value", value));
    }
    store_doc_seal(doc);
    return doc;
}

static bool is_revoked(json_t *doc, const char *ca, const char *serial)
{
    return revoked_has(json_object_get(value_of(doc, ca), "revoked"), serial);
}

static void who_was_put_out_since_the_backup_stays_out(void **state)
{
    static const char *const backup[][2] = {
        {"ca/clients", "{\"cert\":\"C\",\"number\":4,\"revoked\":[\"01\"]}"},
        {"ca/nodes", "{\"cert\":\"N\",\"number\":2,\"revoked\":[]}"},
        {"client/back", "{\"generation\":1,\"serial\":\"05\"}"},
        {"client/gone", "{\"generation\":1,\"serial\":\"02\"}"},
        {"client/stays", "{\"generation\":3,\"serial\":\"03\","
         "\"volumes\":[\"v\"]}"},
        {"cluster", "{\"id\":\"x\",\"last_number\":3}"},
        {"node/n1", "{\"id\":\"i1\",\"number\":1}"},
        {"node/n2", "{\"id\":\"i2\",\"number\":2}"},
        {"node/n3", "{\"id\":\"i3\",\"number\":3}"},
        {"volume/v", "{\"generation\":7}"},
        {NULL, NULL}};
    static const char *const running[][2] = {
        {"ca/clients", "{\"cert\":\"C\",\"number\":9,\"revoked\":[\"02\","
         "\"05\"],\"since\":{\"02\":50}}"},
        {"ca/nodes", "{\"cert\":\"N\",\"number\":8,\"revoked\":[\"0A\"]}"},
        {"client/back", "{\"generation\":2,\"serial\":\"06\",\"list\":8}"},
        {"client/gone", "{\"generation\":1,\"removed\":true,\"list\":9}"},
        {"client/new", "{\"generation\":1,\"serial\":\"07\"}"},
        {"client/stays", "{\"generation\":3,\"serial\":\"04\","
         "\"serials\":[\"03\"]}"},
        {"cluster", "{\"id\":\"x\",\"last_number\":5}"},
        {"detached/i2", "{\"name\":\"n2\",\"number\":2}"},
        {"detached/i3", "{\"name\":\"n3\",\"number\":3}"},
        {"node/n1", "{\"id\":\"i1\",\"number\":1,\"serial\":\"0B\"}"},
        {"node/n3", "{\"id\":\"i5\",\"number\":5}"},
        {"volume/w", "{\"generation\":1}"},
        {NULL, NULL}};
    static const char *const out[] = {"01", "02", "05"};
    json_t *doc = doc_with(backup), *now = doc_with(running), *told;
    struct cfs_err err = {0};

    assert_int_equal(keep_trust(doc, now, &told, &err), 0);
    assert_int_equal(store_doc_check(doc, &err), 0);
    for (size_t i = 0; i < CFS_ARRAY_SIZE(out); i++)
        assert_true(is_revoked(doc, "ca/clients", out[i]));
    assert_true(is_revoked(doc, "ca/nodes", "0A"));
    assert_int_equal(number(value_of(doc, "ca/clients"), "number"), 9);
    assert_true(json_is_true(json_object_get(value_of(doc, "client/gone"),
                                             "removed")));
    assert_int_equal(number(value_of(doc, "client/back"), "generation"), 2);
    assert_non_null(value_of(doc, "client/new"));
    assert_int_equal(json_array_size(json_object_get(
                         value_of(doc, "client/stays"), "serials")), 1);
    assert_null(value_of(doc, "node/n2"));
    assert_string_equal(json_string_value(json_object_get(
                            value_of(doc, "node/n3"), "id")), "i5");
    assert_non_null(value_of(doc, "detached/i3"));
    assert_int_equal(number(value_of(doc, "cluster"), "last_number"), 5);
    /* What is configured is the backup's. */
    assert_non_null(value_of(doc, "volume/v"));
    assert_null(value_of(doc, "volume/w"));
    assert_string_equal(json_string_value(json_array_get(json_object_get(
                            told, "clients"), 0)), "gone");
    assert_int_equal(json_array_size(json_object_get(told, "clients")), 1);
    assert_int_equal(json_array_size(json_object_get(told, "nodes")), 2);
    json_decref(told);

    /* And the numbers go on from above all that anybody may have seen. */
    assert_int_equal(store_reborn(doc, &err), 0);
    assert_int_equal(number(value_of(doc, "ca/clients"), "number"), JUMP + 9);
    assert_int_equal(number(value_of(doc, "client/new"), "list"), JUMP + 9);
    assert_int_equal(number(value_of(doc, "client/gone"), "list"), 9);
    json_decref(doc);
    json_decref(now);
}

/* This node's copy may be older than the backup. */
static void nobody_comes_back_by_an_old_copy(void **state)
{
    static const char *const backup[][2] = {
        {"ca/clients", "{\"cert\":\"C\",\"number\":9,\"revoked\":[\"01\"]}"},
        {"client/a", "{\"generation\":1,\"removed\":true}"},
        {"client/b", "{\"generation\":4}"},
        {NULL, NULL}};
    static const char *const old[][2] = {
        {"ca/clients", "{\"cert\":\"C\",\"number\":2,\"revoked\":[]}"},
        {"client/a", "{\"generation\":1}"},
        {"client/b", "{\"generation\":3,\"removed\":true}"},
        {NULL, NULL}};
    json_t *doc = doc_with(backup), *now = doc_with(old), *told;
    struct cfs_err err = {0};

    assert_int_equal(keep_trust(doc, now, &told, &err), 0);
    assert_true(is_revoked(doc, "ca/clients", "01"));
    assert_int_equal(number(value_of(doc, "ca/clients"), "number"), 9);
    assert_true(json_is_true(json_object_get(value_of(doc, "client/a"),
                                             "removed")));
    assert_int_equal(number(value_of(doc, "client/b"), "generation"), 4);
    json_decref(told);
    json_object_set_new(doc, "checksum", json_string("0"));
    assert_int_equal(keep_trust(doc, now, &told, &err), -CFS_E_CHECKSUM);
    json_decref(doc);
    json_decref(now);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_document_becomes_the_same_store_of_a_higher_lineage),
        T(what_was_there_before_is_gone_whole),
        T(a_damaged_document_is_refused),
        T(in_the_next_life_nobody_is_in_sync_and_numbers_jump),
        T(in_the_next_life_the_rest_stays_but_tokens_and_voters),
        T(the_word_of_the_last_view_outlives_two_lives),
        T(a_record_without_its_number_changes_nothing),
        cmocka_unit_test(who_was_put_out_since_the_backup_stays_out),
        cmocka_unit_test(nobody_comes_back_by_an_old_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
