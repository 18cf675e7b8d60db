/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_etcd.c - the configuration store on etcd: the suite, then what
 * happens when etcd dies, hangs, is rolled back, is somebody else's. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/etcd_rig.h"
#include "tests/unit/store_suite.h"

#define LINEAGE 2

static struct etcd_rig *rig_of(struct fix *f)
{
    return f->engine;
}

static int open_store(struct fix *f, struct cfs_err *err)
{
    return store_open_etcd(f->loop, NULL, f->dir, f->lineage,
                           &rig_of(f)->to, &f->s, err);
}

static int mark(void *arg)
{
    return 0;
}

/* From an empty embedded store to etcd. */
static void found(struct fix *f)
{
    struct cfs_err err = {0};

    assert_int_equal(store_open_sqlite(f->loop, NULL, f->dir, &f->s, &err),
                     0);
    f->pending++;
    store_to_etcd(f->s, &rig_of(f)->to, LINEAGE, mark, on_done, f);
    cfs_loop_run_until(f->loop, all_answered, f);
    if (f->status < 0)
        fail_msg("%s", f->text);
}

static int start(void **state, unsigned n, bool tls)
{
    const char *lacks = etcd_rig_lacks(tls);
    struct fix *f;

    if (lacks) {
        print_message("skipped: %s\n", lacks);
        *state = NULL;
        return 0;
    }
    f = calloc(1, sizeof *f);
    fix_init(f);
    f->lineage = LINEAGE;
    f->open = open_store;
    f->engine = calloc(1, sizeof(struct etcd_rig));
    etcd_rig_start(f->engine, n, tls);
    found(f);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return start(state, 1, false);
}

static int teardown(void **state)
{
    struct fix *f = *state;

    if (!f)
        return 0;
    etcd_rig_end(f->engine);
    free(f->engine);
    fix_fini(f);
    free(f);
    return 0;
}

#define NEEDS_ETCD(state) do { if (!*(state)) skip(); } while (0)

/* The suite, skipped where there is no etcd. */
#define WRAP(name)                                                           \
    static void name##_(void **state)                                        \
    {                                                                        \
        NEEDS_ETCD(state);                                                   \
        name(state);                                                         \
    }
STORE_SUITE(WRAP)

#define S(name) {#name, name##_, setup, teardown, NULL},

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_SUITE(S)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
