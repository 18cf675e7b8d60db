/* SPDX-License-Identifier: Apache-2.0 */
/* test_etcd_dir.c - whose an etcd's directory is, read from its log without an
 * etcd. The log is written here as etcd 3.4 writes it; what a real one wrote
 * is looked at in the cluster tests. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mgmtd/store/etcd_dir.h"
#include "tests/unit/cfs_test.h"

#define MEMBER  0x85f2ff96f23e96f5
#define CLUSTER 0xc8a7d9e8fd848659
#define NAME    "0000000000000000-0000000000000000.wal"

struct wal {
    uint8_t b[1 << 16];
    size_t  n;
};

static size_t varint(uint8_t *to, uint64_t v)
{
    size_t n = 0;

    do {
        to[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v);
    return n;
}

static size_t number(uint8_t *to, unsigned field, uint64_t v)
{
    size_t n = varint(to, field << 3);

    return n + varint(to + n, v);
}

/* A frame with a record of @type around @data. */
static void put(struct wal *w, unsigned type, const uint8_t *data, size_t len)
{
    uint8_t rec[512];
    size_t n = number(rec, 1, type), pad;
    uint64_t head;

    n += number(rec + n, 2, 0x12345678); /* its checksum */
    n += varint(rec + n, 3 << 3 | 2);
    n += varint(rec + n, len);
    memcpy(rec + n, data, len);
    n += len;
    pad = (8 - n % 8) % 8;
    head = n | (pad ? (0x80 | (uint64_t)pad) << 56 : 0);
    for (unsigned i = 0; i < 8; i++)
        w->b[w->n++] = (uint8_t)(head >> (8 * i));
    memcpy(w->b + w->n, rec, n);
    memset(w->b + w->n + n, 0, pad);
    w->n += n + pad;
}

static void put_entry(struct wal *w, uint64_t index)
{
    uint8_t e[128];
    size_t n = number(e, 1, 0);

    n += number(e + n, 2, 7);
    n += number(e + n, 3, index);
    n += varint(e + n, 4 << 3 | 2);
    n += varint(e + n, 11);
    memcpy(e + n, "some record", 11);
    put(w, 2, e, n + 11);
}

static struct wal wal_to(uint64_t index)
{
    struct wal w = {.n = 0};
    uint8_t m[32];
    size_t n = number(m, 1, MEMBER);

    n += number(m + n, 2, CLUSTER);
    put(&w, 4, m, 0);
    put(&w, 1, m, n);
    n = number(m, 1, 0);
    put(&w, 5, m, n);
    for (uint64_t i = 1; i <= index; i++)
        put_entry(&w, i);
    return w;
}

static void the_log_says_whose_it_is_and_how_far_it_got(void **state)
{
    struct wal w = wal_to(42);
    struct etcd_dir d;

    assert_int_equal(etcd_wal_read(w.b, w.n, NAME, &d), 0);
    assert_true(d.there);
    assert_true(d.member == MEMBER && d.cluster == CLUSTER);
    assert_int_equal(d.index, 42);
    /* Preallocated room behind it is not looked at. */
    assert_int_equal(etcd_wal_read(w.b, sizeof w.b, NAME, &d), 0);
    assert_int_equal(d.index, 42);
    /* A leader that was overruled: its entries are written over. */
    put_entry(&w, 40);
    assert_int_equal(etcd_wal_read(w.b, w.n, NAME, &d), 0);
    assert_int_equal(d.index, 40);
}

static void a_new_file_without_entries_goes_on_from_the_last(void **state)
{
    struct wal w = wal_to(0);
    struct etcd_dir d;

    assert_int_equal(
        etcd_wal_read(w.b, w.n, "0000000000000003-000000000000002a.wal", &d),
        0);
    assert_int_equal(d.index, 0x29);
}

static void an_end_in_the_middle_of_a_record_is_the_end(void **state)
{
    struct wal w = wal_to(10);
    struct etcd_dir d;

    for (size_t n = w.n; n > 150; n--) {
        assert_int_equal(etcd_wal_read(w.b, n, NAME, &d), 0);
        assert_true(d.member == MEMBER && d.index <= 10);
    }
    assert_int_equal(etcd_wal_read(w.b, 0, NAME, &d), -CFS_E_CORRUPT);
    assert_int_equal(etcd_wal_read(w.b, 20, NAME, &d), -CFS_E_CORRUPT);
}

static void damage_is_no_crash(void **state)
{
    srand(1);
    for (unsigned i = 0; i < 20000; i++) {
        struct wal w = wal_to(5);
        struct etcd_dir d;

        for (unsigned k = 0; k < 4; k++)
            w.b[(size_t)rand() % w.n] = (uint8_t)rand();
        etcd_wal_read(w.b, w.n, NAME, &d);
    }
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    return remove(path);
}

static void the_newest_file_of_a_directory_counts(void **state)
{
    char dir[64], path[200];
    struct etcd_dir d = {.member = 9};
    struct wal old = wal_to(5), new = wal_to(9);
    struct cfs_err err = {0};
    FILE *f;

    cfs_test_dir(dir, "etcd-dir");
    assert_int_equal(etcd_dir_look(dir, &d, &err), 0);
    assert_false(d.there);
    assert_int_equal(d.member, 0);
    snprintf(path, sizeof path, "%s/member", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/member/wal", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(etcd_dir_look(dir, &d, &err), 0);
    assert_false(d.there);
    for (unsigned i = 0; i < 2; i++) {
        const struct wal *w = i ? &new : &old;

        snprintf(path, sizeof path, "%s/member/wal/000000000000000%u-"
                 "0000000000000001.wal", dir, i);
        f = fopen(path, "w");
        assert_int_equal(fwrite(w->b, 1, w->n, f), w->n);
        fclose(f);
    }
    assert_int_equal(etcd_dir_look(dir, &d, &err), 0);
    assert_int_equal(d.index, 9);
    f = fopen(path, "w");
    fputs("something else", f);
    fclose(f);
    assert_int_equal(etcd_dir_look(dir, &d, &err), -CFS_E_CORRUPT);
    assert_non_null(strstr(err.text, path));
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_says_whose_it_is_and_how_far_it_got),
        cmocka_unit_test(a_new_file_without_entries_goes_on_from_the_last),
        cmocka_unit_test(an_end_in_the_middle_of_a_record_is_the_end),
        cmocka_unit_test(damage_is_no_crash),
        cmocka_unit_test(the_newest_file_of_a_directory_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
