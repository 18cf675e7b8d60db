/* SPDX-License-Identifier: Apache-2.0 */
#include "cfs_test.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "core/dirent.h"

static struct cfs_attr sample_attr(void)
{
    return (struct cfs_attr){
        .gfid = cfs_gfid_make(77),
        .version = {3, 4},
        .mode = S_IFREG | 04755,
        .nlink = 2,
        .uid = 1000,
        .gid = UINT32_MAX,
        .rdev = 0x123456789abcu,
        .size = (uint64_t)5 << 32,
        .blocks = 99,
        .atime = {-1, 999999999},
        .mtime = {1700000000, 1},
        .ctime = {1700000001, 2},
        .btime = {INT64_MAX, 0},
    };
}

static struct cfs_dirent sample(const char *name, bool with_attr)
{
    struct cfs_dirent e = {
        .gfid = cfs_gfid_make(77),
        .cookie = 0xfedcba9876543210u,
        .type = S_IFREG,
        .name = cfs_test_name(name),
        .has_attr = with_attr,
    };

    if (with_attr)
        e.attr = sample_attr();
    return e;
}

static void attributes_survive(void **state)
{
    struct cfs_attr a = sample_attr(), b;
    uint8_t bytes[CFS_ATTR_PACKED];

    cfs_attr_pack(&a, bytes);
    memset(&b, 0, sizeof b);
    assert_int_equal(cfs_attr_unpack(bytes, &b), 0);
    assert_gfid_equal(a.gfid, b.gfid);
    assert_int_equal(cfs_version_cmp(a.version, b.version), 0);
    assert_int_equal(a.mode, b.mode);
    assert_int_equal(a.nlink, b.nlink);
    assert_int_equal(a.uid, b.uid);
    assert_int_equal(a.gid, b.gid);
    assert_true(a.rdev == b.rdev);
    assert_true(a.size == b.size);
    assert_true(a.blocks == b.blocks);
    assert_int_equal(cfs_time_cmp(a.atime, b.atime), 0);
    assert_int_equal(cfs_time_cmp(a.mtime, b.mtime), 0);
    assert_int_equal(cfs_time_cmp(a.ctime, b.ctime), 0);
    assert_int_equal(cfs_time_cmp(a.btime, b.btime), 0);
}

static void bad_attributes_are_refused(void **state)
{
    struct cfs_attr good = sample_attr(), a, untouched;
    uint8_t bytes[CFS_ATTR_PACKED];

    memset(&untouched, 0x5a, sizeof untouched);
    for (unsigned what = 0; what < 5; what++) {
        struct cfs_attr bad = good, got = untouched;

        switch (what) {
        case 0:
            bad.mode = 0644; /* no type */
            break;
        case 1:
            bad.mode = S_IFREG | 0200000;
            break;
        case 2:
            bad.atime.nsec = 1000000000;
            break;
        case 3:
            bad.btime.nsec = UINT32_MAX;
            break;
        case 4:
            bad.size = CFS_FILE_MAX + 1;
            break;
        }
        cfs_attr_pack(&bad, bytes);
        assert_int_equal(cfs_attr_unpack(bytes, &got), -EBADMSG);
        assert_memory_equal(&got, &untouched, sizeof got);
    }
    cfs_attr_pack(&good, bytes);
    bytes[CFS_ATTR_PACKED - 1] = 1; /* what must be zero */
    assert_int_equal(cfs_attr_unpack(bytes, &a), -EBADMSG);
}

static void entries_survive_in_order(void **state)
{
    static const char *const names[] = {"a", "...", "b c\n\xff", "zz"};
    uint8_t bytes[2048], *at = bytes;
    const uint8_t *from = bytes;
    struct cfs_dirent e;

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(names); i++) {
        e = sample(names[i], i % 2 == 1);
        assert_true(cfs_dirent_put(&at, bytes + sizeof bytes, &e));
    }
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(names); i++) {
        assert_int_equal(cfs_dirent_next(&from, at, &e), 1);
        assert_int_equal(e.name.len, strlen(names[i]));
        assert_memory_equal(e.name.s, names[i], e.name.len);
        assert_true(e.cookie == 0xfedcba9876543210u);
        assert_int_equal(e.type, S_IFREG);
        assert_int_equal(e.has_attr, i % 2 == 1);
        if (e.has_attr)
            assert_int_equal(e.attr.mode, S_IFREG | 04755);
    }
    assert_ptr_equal(from, at);
    assert_int_equal(cfs_dirent_next(&from, at, &e), 0);
}

static void put_writes_all_or_nothing(void **state)
{
    struct cfs_dirent e = sample("name", true);
    size_t need = CFS_DIRENT_FIXED + 4 + CFS_ATTR_PACKED;
    uint8_t bytes[256], clean[256];

    memset(clean, 0xee, sizeof clean);
    for (size_t room = 0; room <= need; room++) {
        uint8_t *at = bytes;
        bool ok;

        memset(bytes, 0xee, sizeof bytes);
        ok = cfs_dirent_put(&at, bytes + room, &e);
        assert_int_equal(ok, room == need);
        assert_int_equal(at - bytes, ok ? need : 0);
        if (!ok)
            assert_memory_equal(bytes, clean, sizeof bytes);
    }
}

static void every_cut_is_noticed(void **state)
{
    struct cfs_dirent e = sample("name", true), got;
    uint8_t bytes[256], *end = bytes;

    assert_true(cfs_dirent_put(&end, bytes + sizeof bytes, &e));
    for (const uint8_t *cut = bytes + 1; cut < end; cut++) {
        const uint8_t *at = bytes;

        assert_int_equal(cfs_dirent_next(&at, cut, &got), -EBADMSG);
        assert_ptr_equal(at, bytes);
    }
}

/* One entry with @name, of which nothing was checked on the way in. */
static int parse_raw(const char *name, uint16_t len, uint16_t flags,
                     uint32_t type)
{
    uint8_t bytes[512] = {0};
    const uint8_t *at = bytes;
    struct cfs_dirent got;

    memcpy(bytes + 24, &type, 4);
    memcpy(bytes + 28, &len, 2);
    memcpy(bytes + 30, &flags, 2);
    memcpy(bytes + 32, name, len < 300 ? len : 300);
    return cfs_dirent_next(&at, bytes + sizeof bytes, &got);
}

static void bad_entries_are_refused(void **state)
{
    char longname[301];

    memset(longname, 'n', sizeof longname);
    assert_int_equal(parse_raw("ok", 2, 0, S_IFDIR), 1);
    assert_int_equal(parse_raw(longname, 255, 0, S_IFDIR), 1);
    assert_int_equal(parse_raw(longname, 256, 0, S_IFDIR), -EBADMSG);
    assert_int_equal(parse_raw(longname, UINT16_MAX, 0, S_IFDIR), -EBADMSG);
    assert_int_equal(parse_raw("", 0, 0, S_IFDIR), -EBADMSG);
    assert_int_equal(parse_raw(".", 1, 0, S_IFDIR), -EBADMSG);
    assert_int_equal(parse_raw("..", 2, 0, S_IFDIR), -EBADMSG);
    assert_int_equal(parse_raw("a/b", 3, 0, S_IFDIR), -EBADMSG);
    assert_int_equal(parse_raw("a\0b", 3, 0, S_IFDIR), -EBADMSG);
    assert_int_equal(parse_raw("ok", 2, 2, S_IFDIR), -EBADMSG);
    assert_int_equal(parse_raw("ok", 2, 0, 0), -EBADMSG);
    assert_int_equal(parse_raw("ok", 2, 0, S_IFDIR | 0755), -EBADMSG);
    /* Attributes that are all zero have no type. */
    assert_int_equal(parse_raw("ok", 2, 1, S_IFDIR), -EBADMSG);
}

static void attributes_must_belong_to_the_entry(void **state)
{
    struct cfs_dirent e = sample("name", true), got;
    uint8_t bytes[256], *end = bytes;
    const uint8_t *at = bytes;

    e.attr.gfid = cfs_gfid_make(78);
    assert_true(cfs_dirent_put(&end, bytes + sizeof bytes, &e));
    assert_int_equal(cfs_dirent_next(&at, end, &got), -EBADMSG);
    e = sample("name", true);
    e.attr.mode = S_IFDIR | 0755;
    end = bytes;
    assert_true(cfs_dirent_put(&end, bytes + sizeof bytes, &e));
    assert_int_equal(cfs_dirent_next(&at, end, &got), -EBADMSG);
}

/* Any bytes at all: each step moves, or ends; never a read out of bounds (the
 * sanitizer watches: the buffer is exactly as long as it says). */
static void random_bytes_do_no_harm(void **state)
{
    unsigned seed = 20261121;
    unsigned taken = 0;

    for (unsigned round = 0; round < 20000; round++) {
        size_t len = (size_t)rand_r(&seed) % 400;
        uint8_t *bytes = malloc(len + 1);
        uint8_t *end = bytes;
        const uint8_t *at = bytes;
        struct cfs_dirent e;

        /* Something valid first, so that deeper checks are reached. */
        for (unsigned i = 0; i < 2; i++) {
            e = sample("abcdefgh", (round & 1) != 0);
            if (!cfs_dirent_put(&end, bytes + len, &e))
                break;
        }
        while (end < bytes + len)
            *end++ = (uint8_t)rand_r(&seed);
        for (unsigned flips = round % 4; flips > 0 && len > 0; flips--)
            bytes[(size_t)rand_r(&seed) % len] ^= (uint8_t)rand_r(&seed);
        for (;;) {
            const uint8_t *was = at;
            int rc = cfs_dirent_next(&at, bytes + len, &e);

            if (rc <= 0) {
                assert_ptr_equal(at, was);
                break;
            }
            assert_true(at > was && at <= bytes + len);
            assert_true(cfs_name_valid(e.name));
            taken++;
        }
        free(bytes);
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_survive),
        cmocka_unit_test(bad_attributes_are_refused),
        cmocka_unit_test(entries_survive_in_order),
        cmocka_unit_test(put_writes_all_or_nothing),
        cmocka_unit_test(every_cut_is_noticed),
        cmocka_unit_test(bad_entries_are_refused),
        cmocka_unit_test(attributes_must_belong_to_the_entry),
        cmocka_unit_test(random_bytes_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
