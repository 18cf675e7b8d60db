/* SPDX-License-Identifier: Apache-2.0 */
/* ops_main.c - see ops_main.h. */
#include "tests/unit/ops_main.h"

#include <stdlib.h>

#ifdef OPS_ON_FAKE_ENGINE
#include "tests/unit/fake_eng.h"
#endif

static struct ops_config config;

int ops_setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);

    fix_open(f, &config);
#ifndef OPS_ON_FAKE_ENGINE
    f->check = fix_fsck;
#endif
    *state = f;
    return 0;
}

int ops_teardown(void **state)
{
    fix_close(*state);
    free(*state);
    cfs_buf_pool_drain();
    return 0;
}

static int run(const char *how, const struct CMUnitTest *tests, size_t n)
{
    return _cmocka_run_group_tests(how, tests, n, NULL, NULL);
}

int ops_main(const struct CMUnitTest *tests, size_t n)
{
    int failed;

    config = ops_config_default;
#ifdef OPS_ON_FAKE_ENGINE
    fake_eng_chances(7, 5, 20, 1);
    failed = run("missing nodes", tests, n);
    assert(fake_eng_missed() > 0);
    fake_eng_chances(2, 2, 5, 2);
    config.small_file = 0;
    failed += run("more of that, nothing in line", tests, n);
    config.pack = true;
    failed += run("more of that, compressed", tests, n);
    fake_eng_forget();
#else
    failed = run("ample memory", tests, n);
    config.eng.cache_size = 1;
    config.eng.checkpoint_ms = 20;
    config.small_file = 0;
    failed += run("little memory, nothing in line", tests, n);
    config.pack = config.eng.packs = true;
    failed += run("the same, compressed", tests, n);
#endif
    return failed;
}
