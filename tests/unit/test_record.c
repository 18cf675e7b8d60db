/* SPDX-License-Identifier: Apache-2.0 */
/* test_record.c - the store's records: there and back, what a newer version
 * wrote survives, damage is named. */
#include <stdlib.h>

#include "mgmtd/record.h"
#include "mgmtd/revoked.h"
#include "tests/unit/cfs_test.h"

static struct cfs_uuid id(uint8_t n)
{
    struct cfs_uuid u = {{0}};

    u.b[15] = n;
    return u;
}

static json_t *volume(void)
{
    json_t *options = json_pack("{s:s}", "network.compression", "lz4"), *rec;
    struct rec_volume v = {
        .name = "demo",
        .id = id(1),
        .generation = 7,
        .state = VOL_CREATED,
        .set = id(2),
        .n_bricks = 2,
        .brick = {{id(3), "n1", "/srv/a b.img", 1u << 30},
                  {id(4), "n1", "/dev/sdx", 2u << 30}},
        .options = options,
    };

    rec = rec_volume_new(&v, 1234567890);
    json_decref(options);
    return rec;
}

static void a_volume_comes_back_as_it_was_written(void **state)
{
    json_t *rec = volume();
    struct rec_volume v;
    struct cfs_err err = {0};

    assert_int_equal(rec_volume_read(rec, &v, &err), 0);
    assert_string_equal(v.name, "demo");
    assert_true(cfs_uuid_eq(v.id, id(1)) && cfs_uuid_eq(v.set, id(2)));
    assert_int_equal(v.generation, 7);
    assert_int_equal(v.state, VOL_CREATED);
    assert_int_equal(v.n_bricks, 2);
    assert_true(cfs_uuid_eq(v.brick[1].id, id(4)));
    assert_string_equal(v.brick[0].path, "/srv/a b.img");
    assert_int_equal(v.brick[1].size, 2u << 30);
    assert_string_equal(json_string_value(json_object_get(v.options,
                            "network.compression")), "lz4");
    json_decref(rec);
}

static void a_new_state_raises_the_generation_and_keeps_the_rest(void **state)
{
    json_t *rec = volume();
    struct rec_volume v;

    json_object_set_new(rec, "future", json_integer(42));
    rec_volume_set_state(rec, VOL_STARTED);
    assert_int_equal(rec_volume_read(rec, &v, NULL), 0);
    assert_int_equal(v.state, VOL_STARTED);
    assert_int_equal(v.generation, 8);
    assert_int_equal(json_integer_value(json_object_get(rec, "future")), 42);
    json_decref(rec);
}

/* Each field, taken away or made something else, is an error that names it. */
static void a_field_that_is_missing_is_named(void **state)
{
    static const char *const fields[] = {"v", "name", "id", "generation",
                                         "state", "sets"};

    for (size_t i = 0; i < CFS_ARRAY_SIZE(fields); i++) {
        for (int wrong = 0; wrong < 2; wrong++) {
            json_t *rec = volume();
            struct rec_volume v;
            struct cfs_err err = {0};

            if (wrong)
                json_object_set_new(rec, fields[i], json_true());
            else
                json_object_del(rec, fields[i]);
            assert_int_equal(rec_volume_read(rec, &v, &err), -CFS_E_CORRUPT);
            assert_non_null(strstr(err.text, fields[i]));
            json_decref(rec);
        }
    }
}

static void too_many_bricks_are_no_volume(void **state)
{
    json_t *rec = volume();
    json_t *bricks = json_object_get(json_array_get(json_object_get(rec,
                         "sets"), 0), "bricks");
    struct rec_volume v;
    struct cfs_err err = {0};

    for (unsigned i = 0; i < CFS_SET_MAX; i++)
        json_array_append(bricks, json_array_get(bricks, 0));
    assert_int_equal(rec_volume_read(rec, &v, &err), -CFS_E_CORRUPT);
    json_decref(rec);
}

static void a_record_of_a_newer_version_is_refused(void **state)
{
    json_t *rec = volume();
    struct rec_volume v;
    struct cfs_err err = {0};

    json_object_set_new(rec, "v", json_integer(REC_VERSION + 1));
    assert_int_equal(rec_volume_read(rec, &v, &err), -EPROTONOSUPPORT);
    json_decref(rec);
}

static void a_view_comes_back_as_it_was_written(void **state)
{
    struct cfs_view v = {.set = id(9), .epoch = 3, .id = id(8), .n_sync = 2,
                         .n_syncing = 1,
                         .m = {{id(1), 5}, {id(2), 6}, {id(3), 7}}};
    json_t *rec = json_pack("{s:s}", "future", "kept");
    struct cfs_view back;
    struct cfs_err err = {0};

    rec_view_write(rec, &v);
    assert_int_equal(rec_view_read(rec, id(9), 4, &back, &err), 0);
    v.lineage = 4;
    assert_memory_equal(&back, &v, sizeof v);
    assert_string_equal(json_string_value(json_object_get(rec, "future")),
                        "kept");
    json_object_set_new(rec, "in_sync", json_array());
    assert_int_equal(rec_view_read(rec, id(9), 4, &back, &err),
                     -CFS_E_CORRUPT);
    json_decref(rec);
}

static void keys_hold_any_path_and_sort(void **state)
{
    char *key = rec_brick_key("n1", "/srv/a b%\xc3\xa4");
    char *one = rec_view_past_key(id(1), 9), *two;

    two = rec_view_past_key(id(1), 10);
    assert_string_equal(key, "brick/n1/srv/a%20b%25%C3%A4");
    assert_true(strcmp(one, two) < 0);
    free(key);
    free(one);
    free(two);
}

static void a_renewed_secret_keeps_the_one_before(void **state)
{
    json_t *rec = volume();
    struct cfs_loop *loop;
    struct cfs_err err = {0};
    char first[80], second[80];

    assert_int_equal(cfs_loop_new(&loop, &err), 0);
    assert_null(rec_volume_secret(rec));
    rec_volume_need_secret(loop, rec);
    snprintf(first, sizeof first, "%s", rec_volume_secret(rec));
    assert_int_equal(rec_volume_secret_number(rec), 1);
    assert_null(rec_volume_secret_before(rec));
    assert_int_equal(rec_volume_secret_list(rec, true), 0);

    rec_volume_renew_secret(loop, rec, 17, true);
    snprintf(second, sizeof second, "%s", rec_volume_secret(rec));
    assert_string_not_equal(first, second);
    assert_int_equal(rec_volume_secret_number(rec), 2);
    assert_string_equal(rec_volume_secret_before(rec), first);
    assert_int_equal(rec_volume_secret_list(rec, false), 17);
    assert_int_equal(rec_volume_secret_list(rec, true), 0);

    rec_volume_renew_secret(loop, rec, 40, true);
    assert_string_equal(rec_volume_secret_before(rec), second);
    assert_int_equal(rec_volume_secret_list(rec, true), 17);

    rec_volume_renew_secret(loop, rec, 50, false);
    assert_int_equal(rec_volume_secret_number(rec), 4);
    assert_null(rec_volume_secret_before(rec));
    assert_int_equal(rec_volume_secret_list(rec, true), 50);
    cfs_loop_free(loop);
    json_decref(rec);
}

static json_t *words(const char *a, const char *b)
{
    return json_pack(b ? "[s,s]" : "[s]", a, b);
}

static void the_revoked_are_forgotten_when_nothing_of_theirs_is_good(void **s)
{
    json_t *rec = json_pack("{s:[s]}", "revoked", "01"), *list;
    json_t *more = words("02", "01"), *last = words("03", NULL);

    revoked_add(rec, more, 1000, 100); /* of 01 it was not said since when */
    list = json_object_get(rec, "revoked");
    assert_int_equal(json_array_size(list), 2);
    revoked_add(rec, last, 1100, 100);
    assert_int_equal(json_array_size(list), 3);
    revoked_add(rec, last, 1101, 100);
    assert_int_equal(json_array_size(list), 1);
    assert_true(revoked_has(list, "03"));
    assert_int_equal(json_object_size(json_object_get(rec, "since")), 1);
    json_decref(rec);
    json_decref(more);
    json_decref(last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_volume_comes_back_as_it_was_written),
        cmocka_unit_test(a_new_state_raises_the_generation_and_keeps_the_rest),
        cmocka_unit_test(a_field_that_is_missing_is_named),
        cmocka_unit_test(too_many_bricks_are_no_volume),
        cmocka_unit_test(a_record_of_a_newer_version_is_refused),
        cmocka_unit_test(a_view_comes_back_as_it_was_written),
        cmocka_unit_test(keys_hold_any_path_and_sort),
        cmocka_unit_test(a_renewed_secret_keeps_the_one_before),
        cmocka_unit_test(
            the_revoked_are_forgotten_when_nothing_of_theirs_is_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
