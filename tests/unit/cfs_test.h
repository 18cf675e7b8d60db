/* SPDX-License-Identifier: Apache-2.0 */
/* cfs_test.h - what every unit test includes: cmocka with the headers that it
 * needs before it, and checks on bytes that it lacks.
 */
#ifndef CFS_TESTS_UNIT_CFS_TEST_H
#define CFS_TESTS_UNIT_CFS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base.h"

/* A name that borrows a C string. */
static inline struct cfs_name cfs_test_name(const char *s)
{
    return (struct cfs_name){s, (uint32_t)strlen(s)};
}

#define assert_gfid_equal(a, b) assert_true(cfs_gfid_eq(a, b))

#endif
