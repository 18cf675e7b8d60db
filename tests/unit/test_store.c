/* SPDX-License-Identifier: Apache-2.0 */
/* test_store.c - the configuration store on the embedded engine: the suite,
 * then what only this engine promises. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/unit/store_suite.h"

static int open_store(struct fix *f, struct cfs_err *err)
{
    return store_open_sqlite(f->loop, NULL, f->dir, &f->s, err);
}

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    struct cfs_err err = {0};

    fix_init(f);
    f->lineage = 1;
    f->open = open_store;
    assert_int_equal(open_store(f, &err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fix_fini(*state);
    free(*state);
    return 0;
}

/* -- the embedded engine ------------------------------------------------- */

static void expect_refusal(struct fix *f, int code, const char *why)
{
    struct cfs_err err = {0};

    store_close(f->s);
    f->s = NULL;
    assert_int_equal(f->open(f, &err), code);
    assert_null(f->s);
    if (!strstr(err.text, why))
        fail_msg("'%s' does not say '%s'", err.text, why);
}

static void a_damaged_record_is_an_error_that_names_it(void **state)
{
    struct fix *f = *state;
    struct cfs_err err = {0};
    struct list l = {""};
    json_t *v = NULL;

    put(f, "v/a", 1);
    put(f, "v/b", 2);
    sql(f, "UPDATE records SET value = '{\"n\":3}' WHERE key = 'v/b'");
    assert_int_equal(get(f, "v/a", NULL), 1);
    assert_int_equal(store_get(f->s, "v/b", &v, NULL, &err),
                     -CFS_E_CHECKSUM);
    assert_non_null(strstr(err.text, "'v/b'"));
    assert_int_equal(store_range(f->s, "v/", list_one, &l, NULL),
                     -CFS_E_CHECKSUM);
    assert_int_equal(put(f, "v/b", 4), -CFS_E_CHECKSUM);
    expect_refusal(f, -CFS_E_CHECKSUM, "'v/b'");
}

static void a_record_that_was_lost_is_noticed(void **state)
{
    struct fix *f = *state;

    put(f, "v/a", 1);
    put(f, "v/b", 2);
    sql(f, "DELETE FROM records WHERE key = 'v/b'");
    expect_refusal(f, -CFS_E_CORRUPT, "do not add up");
}

static void a_store_of_a_newer_version_is_refused(void **state)
{
    struct fix *f = *state;

    /* As store_sqlite.c says: key, NUL, token, value. */
    static const char summed[] = "head\0\0\0\0\0\0\0\0\0"
                                 "99 1 0 0 0000000000000000";
    char text[160];

    snprintf(text, sizeof text, "UPDATE head SET text = '%s', sum = %lld",
             summed + 13, (long long)XXH3_64bits(summed, sizeof summed - 1));
    sql(f, text);
    expect_refusal(f, -EPROTONOSUPPORT, "format 99");
}

static void two_never_share_a_directory(void **state)
{
    struct fix *f = *state;
    struct store *other = NULL;
    struct cfs_err err = {0};
    char pid[32];

    assert_int_equal(store_open_sqlite(f->loop, NULL, f->dir, &other, &err),
                     -EBUSY);
    assert_null(other);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(err.text, pid));
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    struct fix *f = *state;
    char path[128];
    FILE *file;

    store_close(f->s);
    f->s = NULL;
    snprintf(path, sizeof path, "%s/store.db", f->dir);
    file = fopen(path, "w");
    for (int i = 0; i < 4096; i++)
        fputs("rubbish ", file);
    fclose(file);
    expect_refusal(f, -CFS_E_CORRUPT, "store.db");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown),

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_SUITE(T)
        T(a_damaged_record_is_an_error_that_names_it)
        T(a_record_that_was_lost_is_noticed)
        T(a_store_of_a_newer_version_is_refused)
        T(two_never_share_a_directory)
        T(a_file_that_is_no_database_is_refused)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
