/* SPDX-License-Identifier: Apache-2.0 */
/* sh.h - a line of sh. -> what system(3) says. Of a tool whose words and exit
 * status are tested: tests/unit/commands.h. */
#ifndef CFS_TESTS_UNIT_SH_H
#define CFS_TESTS_UNIT_SH_H

#include "tests/unit/cfs_test.h"

static inline int sh(const char *fmt, ...) CFS_PRINTF(1, 2);

static inline int sh(const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    assert_in_range(n, 1, sizeof line - 1);
    return system(line);
}

#endif
