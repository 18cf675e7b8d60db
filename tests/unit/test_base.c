/* SPDX-License-Identifier: Apache-2.0 */
#include "cfs_test.h"

static void inode_number_and_gfid_agree(void **state)
{
    uint64_t ino = 0x0123456789abcdefu;
    struct cfs_gfid g = cfs_gfid_make(ino);

    assert_true(cfs_gfid_ino(g) == ino);
    assert_int_equal(g.b[8], 0x01);
    assert_int_equal(g.b[15], 0xef);
    assert_true(cfs_gfid_ino(cfs_gfid_root) == 1);
    assert_gfid_equal(cfs_gfid_root, cfs_gfid_make(1));
}

static void uuid_survives_text(void **state)
{
    struct cfs_uuid u, v;
    char text[CFS_UUID_STR];

    for (unsigned i = 0; i < 16; i++)
        u.b[i] = (uint8_t)(i * 17);
    cfs_uuid_print(u, text);
    assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
    assert_int_equal(cfs_uuid_parse(text, &v), 0);
    assert_true(cfs_uuid_eq(u, v));
    assert_int_equal(
        cfs_uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &v), 0);
    assert_true(cfs_uuid_eq(u, v));
}

static void bad_uuids_are_refused_and_leave_no_trace(void **state)
{
    static const char *const bad[] = {
        "",
        "0",
        "00112233",
        "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeeff0",
        "00112233-4455-6677-8899-aabbccddeefg",
        "001122334455-6677-8899-aabbccddeeff-",
        "0011223344556677-8899-aabbccddeeff",
        " 00112233-4455-6677-8899-aabbccddeeff",
    };
    struct cfs_uuid was, u;

    memset(&was, 0x5a, sizeof was);
    u = was;
    for (size_t i = 0; i < CFS_ARRAY_SIZE(bad); i++) {
        assert_int_equal(cfs_uuid_parse(bad[i], &u), -EINVAL);
        assert_true(cfs_uuid_eq(u, was));
    }
}

static void versions_order_by_epoch_first(void **state)
{
    struct cfs_version a = {1, 9}, b = {2, 3};

    assert_true(cfs_version_cmp(a, b) < 0);
    assert_true(cfs_version_cmp(b, a) > 0);
    assert_int_equal(cfs_version_cmp(a, a), 0);
    b.epoch = 1;
    assert_true(cfs_version_cmp(a, b) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inode_number_and_gfid_agree),
        cmocka_unit_test(uuid_survives_text),
        cmocka_unit_test(bad_uuids_are_refused_and_leave_no_trace),
        cmocka_unit_test(versions_order_by_epoch_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
