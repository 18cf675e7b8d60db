/* SPDX-License-Identifier: Apache-2.0 */
#include "cfs_test.h"

#include <limits.h>

#include "core/err.h"

static void the_first_error_stays(void **state)
{
    struct cfs_err err = {0};

    assert_int_equal(cfs_err_set(&err, -EIO, "disk %d", 3), -EIO);
    assert_int_equal(cfs_err_set(&err, -EINVAL, "later"), -EINVAL);
    assert_int_equal(err.code, -EIO);
    assert_string_equal(err.text, "disk 3");
}

static void nobody_needs_to_listen(void **state)
{
    assert_int_equal(cfs_err_set(NULL, -EIO, "x"), -EIO);
    assert_int_equal(cfs_err_wrap(NULL, "x"), 0);
}

static void wrap_puts_the_place_in_front(void **state)
{
    struct cfs_err err = {0};

    cfs_err_set(&err, -ENOENT, "no such key");
    assert_int_equal(cfs_err_wrap(&err, "line %d", 7), -ENOENT);
    assert_string_equal(err.text, "line 7: no such key");
}

static void wrap_cuts_what_is_too_long(void **state)
{
    struct cfs_err err = {0};
    char text[CFS_ERR_TEXT];

    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    cfs_err_set(&err, -EIO, "%s", text);
    cfs_err_wrap(&err, "who");
    assert_int_equal(strlen(err.text), CFS_ERR_TEXT - 1);
    assert_memory_equal(err.text, "who: aaaa", 9);
    cfs_err_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.text), CFS_ERR_TEXT - 1);
    assert_memory_equal(err.text, "aaaa", 4);
}

static void applications_see_the_class(void **state)
{
    assert_int_equal(cfs_err_class(0), 0);
    assert_int_equal(cfs_err_class(-ENOENT), ENOENT);
    assert_int_equal(cfs_err_class(-CFS_E_VERSION), ESTALE);
    assert_int_equal(cfs_err_class(-CFS_E_IN_USE), EBUSY);
}

/* Status numbers come from peers, too. */
static void nonsense_is_an_input_output_error(void **state)
{
    assert_int_equal(cfs_err_class(5), EIO);
    assert_int_equal(cfs_err_class(INT_MIN), EIO);
    assert_int_equal(cfs_err_class(-1500), EIO);
    assert_int_equal(cfs_err_class(-4000), EIO);
}

static void every_code_has_words(void **state)
{
    assert_string_equal(cfs_err_str(-CFS_E_CHECKSUM),
                        "block checksum mismatch");
    assert_string_equal(cfs_err_str(-ENOENT), "No such file or directory");
    assert_string_equal(cfs_err_str(0), "success");
    assert_non_null(cfs_err_str(-3999));
    assert_non_null(cfs_err_str(INT_MIN));
    assert_non_null(cfs_err_str(INT_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_stays),
        cmocka_unit_test(nobody_needs_to_listen),
        cmocka_unit_test(wrap_puts_the_place_in_front),
        cmocka_unit_test(wrap_cuts_what_is_too_long),
        cmocka_unit_test(applications_see_the_class),
        cmocka_unit_test(nonsense_is_an_input_output_error),
        cmocka_unit_test(every_code_has_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
