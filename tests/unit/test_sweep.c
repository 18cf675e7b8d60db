/* SPDX-License-Identifier: Apache-2.0 */
/* test_sweep.c - a tool's walk through all of a tree, for which the pool reads
 * ahead: it finds what is there, and says what is damaged, exactly as if it
 * read alone. */
#include "tests/unit/cfs_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/eng_rig.h"

#define MIB  ((uint64_t)1024 * 1024)
#define KEYS 20000u /* a tree of three levels */

static int put_nth(struct rig *r, unsigned i)
{
    static uint8_t val[6000];
    char key[32];

    memset(val, (int)(i & 255), sizeof val);
    return rig_put(r, (struct cfs_blob){key, (uint32_t)snprintf(
                                                 key, sizeof key, "key%06u",
                                                 i * 7919 % 1000000)},
                   (struct cfs_blob){val, i % 500 == 0 ? 6000 : i % 60});
}

static void open_tool(struct rig *r)
{
    r->conf.blocking = r->conf.read_only = true;
    assert_int_equal(rig_open(r, NULL), 0);
}

/* A store at rest, opened as a tool does. */
static void make(struct rig *r, unsigned copies)
{
    rig_init(r, 64 * MIB);
    r->conf.copies = copies;
    r->conf.cache_size = 4 * MIB;
    assert_int_equal(rig_open(r, NULL), 0);
    for (unsigned i = 0; i < KEYS; i++)
        assert_int_equal(put_nth(r, i), 0);
    rig_settle(r);
    rig_close(r, true);
    open_tool(r);
    assert_int_equal(tree_level(&r->eng->tree), 2);
}

/* What a sweep gives must be the model, record by record. */
struct seen {
    const struct model *m;
    size_t              n;
    size_t              stop; /* after so many; 0: never */
};

static int each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct seen *s = ctx;
    const struct model_rec *w = &s->m->v[s->n];

    assert_true(s->n < s->m->n);
    assert_int_equal(key.len, w->klen);
    assert_memory_equal(key.p, w->key, key.len);
    assert_int_equal(value.len, w->vlen);
    if (value.len > 0)
        assert_memory_equal(value.p, w->key + w->klen, value.len);
    return ++s->n == s->stop;
}

static int sweep(struct rig *r, struct seen *s)
{
    const struct cfs_blob none = {NULL, 0};

    s->m = &r->model;
    s->n = 0;
    return eng_sweep(r->eng, none, none, each, s);
}

static void it_gives_every_record_once(void **state)
{
    struct seen s = {0};
    struct rig r;

    make(&r, 1);
    for (unsigned round = 0; round < 3; round++) {
        const uint64_t before = r.eng->ahead.clock;

        assert_int_equal(sweep(&r, &s), 0);
        assert_int_equal(s.n, r.model.n);
        eng_trim(r.eng);
        assert_true(r.eng->cache.bytes <= r.conf.cache_size);
        /* What was found in memory is not read again. */
        assert_true(round > 0 || r.eng->ahead.clock > before);
    }
    assert_true(rig_check(&r, 0));
    rig_fini(&r);
}

/* Up to a key: what comes behind it is not read. */
static void it_reads_no_further_than_it_is_to_go(void **state)
{
    const struct cfs_blob none = {NULL, 0};
    struct seen s = {0};
    struct cfs_blob hi;
    struct rig r;

    make(&r, 1);
    s.m = &r.model;
    hi = (struct cfs_blob){r.model.v[10].key, r.model.v[10].klen};
    assert_int_equal(eng_sweep(r.eng, none, hi, each, &s), 0);
    assert_int_equal(s.n, 10);
    assert_int_equal(r.eng->ahead.clock, 1);
    rig_fini(&r);
}

/* Whoever ends a sweep early may close at once: what is being read for it
 * ends first. */
static void what_is_on_its_way_ends_before_a_close(void **state)
{
    const struct cfs_blob none = {NULL, 0};
    struct seen s = {.stop = 1};
    struct cfs_blob hi;
    struct rig r;

    make(&r, 1);
    s.m = &r.model;
    hi = (struct cfs_blob){r.model.v[10].key, r.model.v[10].klen};
    assert_int_equal(eng_sweep(r.eng, none, hi, each, &s), 1);
    assert_int_equal(r.eng->ahead.busy, 0);
    recdev_hold(r.dev, RECDEV_READ, true);
    assert_int_equal(sweep(&r, &s), 1);
    assert_true(r.eng->ahead.busy > 0);
    recdev_hold(r.dev, RECDEV_READ, false);
    rig_close(&r, true);
    rig_fini(&r);
}

/* -- damage ---------------------------------------------------------------- */

struct bad {
    struct rig *r;
    unsigned    n;
    char        text[256];
    uint64_t   *lba; /* of all nodes and values */
    size_t      n_lba;
};

static void on_bad(void *ctx, const char *fmt, ...)
{
    struct bad *b = ctx;
    va_list ap;

    va_start(ap, fmt);
    if (b->n++ == 0)
        vsnprintf(b->text, sizeof b->text, fmt, ap);
    va_end(ap);
}

static void on_used(void *ctx, struct eng_ext ext, const char *what)
{
    struct bad *b = ctx;

    if (b->lba && strcmp(what, "node") == 0)
        b->lba[b->n_lba++] = ext.lba;
}

static int check(struct rig *r, struct bad *b)
{
    const struct eng_check c = {.ctx = b, .bad = on_bad, .used = on_used};

    b->r = r;
    b->n = 0;
    return eng_check(r->eng, &c);
}

/* Each node in its turn: the walk names it, and a sweep stops there. */
static void a_damaged_node_is_found_where_it_is(void **state)
{
    uint64_t seed = 5;
    struct bad b = {.lba = test_calloc(4096, sizeof *b.lba)};
    struct rig r;
    size_t n;

    make(&r, 1);
    assert_int_equal(check(&r, &b), 0);
    n = b.n_lba;
    assert_true(n > 300 && n < 4096);
    rig_close(&r, true);
    /* The root is the first; without it there is no start. */
    for (size_t i = 1; i < n; i += i < 12 ? 1 : 1 + rig_random(&seed) % 40) {
        uint8_t *at = recdev_bytes(r.dev) + b.lba[i] * CFS_BLOCK +
                      rig_random(&seed) % CFS_BLOCK;
        struct bad found = {0};
        struct seen s = {0};
        char place[32];

        snprintf(place, sizeof place, "at block %llu:",
                 (unsigned long long)b.lba[i]);
        *at ^= 1;
        open_tool(&r);
        assert_int_equal(check(&r, &found), -CFS_E_CORRUPT);
        assert_int_equal(found.n, 1);
        assert_non_null(strstr(found.text, place));
        assert_int_equal(sweep(&r, &s), -CFS_E_CORRUPT);
        assert_true(s.n < r.model.n);
        rig_close(&r, true);
        *at ^= 1;
    }
    test_free(b.lba);
    rig_fini(&r);
}

static void a_second_copy_is_as_good(void **state)
{
    struct bad b = {.lba = test_calloc(8192, sizeof *b.lba)};
    struct seen s = {0};
    uint64_t half;
    struct rig r;

    make(&r, 2);
    assert_int_equal(check(&r, &b), 0);
    half = (eng_first_lba(r.eng) + eng_end_lba(r.eng)) / 2;
    rig_close(&r, true);
    for (size_t i = 0; i < b.n_lba; i++)
        if (b.lba[i] < half && i % 3 != 0)
            recdev_bytes(r.dev)[b.lba[i] * CFS_BLOCK + 77] ^= 1;
    open_tool(&r);
    assert_int_equal(sweep(&r, &s), 0);
    assert_int_equal(s.n, r.model.n);
    test_free(b.lba);
    rig_fini(&r);
}

/* One that failed ahead is made once more, and tells then. */
static void a_read_that_fails_gives_no_wrong_record(void **state)
{
    unsigned borne = 0;
    struct rig r;

    make(&r, 1);
    for (unsigned nth = 0; nth < 90; nth += 3) {
        struct seen s = {0};
        int rc;

        rig_close(&r, true);
        open_tool(&r);
        recdev_fail(r.dev, RECDEV_READ, nth, nth % 2 ? 1 : UINT64_MAX);
        rc = sweep(&r, &s);
        assert_true(rc == 0 ? s.n == r.model.n
                            : rc == -EIO && s.n < r.model.n);
        borne += rc == 0;
        recdev_fail(r.dev, RECDEV_READ, 0, 0);
        assert_int_equal(sweep(&r, &s), 0);
        assert_int_equal(s.n, r.model.n);
    }
    assert_in_range(borne, 1, 29);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gives_every_record_once),
        cmocka_unit_test(it_reads_no_further_than_it_is_to_go),
        cmocka_unit_test(what_is_on_its_way_ends_before_a_close),
        cmocka_unit_test(a_damaged_node_is_found_where_it_is),
        cmocka_unit_test(a_second_copy_is_as_good),
        cmocka_unit_test(a_read_that_fails_gives_no_wrong_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
