/* SPDX-License-Identifier: Apache-2.0 */
/* ops_main.h - tests of operations, each on a brick of its own, that run in
 * several ways: with ample memory, with little, and (OPS_ON_FAKE_ENGINE, linked
 * with fake_eng.c) when whatever is looked at may have to be waited for.
 */
#ifndef CFS_TESTS_UNIT_OPS_MAIN_H
#define CFS_TESTS_UNIT_OPS_MAIN_H

#include "tests/unit/store_fix.h"

int ops_setup(void **state); /* *state: struct fix */
int ops_teardown(void **state);
int ops_main(const struct CMUnitTest *tests, size_t n);

#endif
