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
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base.h"

/* A name that borrows a C string. */
static inline struct cfs_name cfs_test_name(const char *s)
{
    return (struct cfs_name){s, (uint32_t)strlen(s)};
}

/* Where a test may put files: tests/run.py gives each program a directory of
 * its own, and takes it away, whatever has become of the program. */
static inline const char *cfs_test_tmp(void)
{
    const char *tmp = getenv("TMPDIR");

    /* There are sockets, whose paths are to be short. */
    return tmp && *tmp && strlen(tmp) < 36 ? tmp : "/var/tmp";
}

/* A new directory for files of the test, removed by it; @dir has room for 64
 * bytes. */
static inline void cfs_test_dir(char *dir, const char *name)
{
    snprintf(dir, 64, "%s/cfs-%.14s-XXXXXX", cfs_test_tmp(), name);
    assert_non_null(mkdtemp(dir));
}

#define assert_gfid_equal(a, b) assert_true(cfs_gfid_eq(a, b))

#endif
