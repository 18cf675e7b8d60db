/* SPDX-License-Identifier: Apache-2.0 */
/* test_access.c - lists of addresses (auth.allow), and who somebody is. What
 * each may call is tried on a real mgmtd in test_strangers.c. */
#include "tests/unit/cfs_test.h"

#include "mgmtd/access.h"
#include "mgmtd/address.h"
#include "rpc/programs.h"

static void addresses_and_networks_are_found_in_a_list(void **state)
{
    static const struct {
        const char *host, *list;
        bool        in;
    } rows[] = {
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3", "10.1.2.4", false},
        {"10.1.2.3", "10.0.0.0/8", true},
        {"11.1.2.3", "10.0.0.0/8", false},
        {"10.1.2.3", "10.1.2.0/31", false},
        {"10.1.2.3", "10.1.2.2/31", true},
        {"10.1.2.3", "10.1.2.3/32", true},
        {"10.1.2.3", "0.0.0.0/0", true},
        {"10.1.2.3", "192.0.2.1, 10.1.2.3", true},
        {"10.1.2.3", "192.0.2.1,10.1.2.3 ,x", true},
        {"10.1.2.3", "*", true},
        {"fd00::1", "*", true},
        {"fd00::1", "fd00::/8", true},
        {"fe80::1", "fd00::/8", false},
        {"fd00::1", "10.0.0.0/8", false},
        {"fd00::1", "0.0.0.0/0", false},
        {"10.1.2.3", "::/0", false},
        {"10.1.2.3", "", false},
        {"10.1.2.3", ",,", false},
        {"10.1.2.3", "10.1.2.3/33", false},
        {"10.1.2.3", "10.1.2.3/-1", false},
        {"10.1.2.3", "10.1.2.3/", false},
        {"10.1.2.3", "10.1.2.3/8x", false},
        {"10.1.2.3", "10.1.2", false},
        {"", "*", false},
        {"desk", "*", false},
    };

    for (size_t i = 0; i < CFS_ARRAY_SIZE(rows); i++)
        if (access_host_in(rows[i].host, rows[i].list) != rows[i].in)
            fail_msg("%s in '%s'", rows[i].host, rows[i].list);
    assert_false(access_host_in("10.1.2.3", NULL));
}

static void a_list_that_is_none_is_named(void **state)
{
    static const char *const good[] = {"", "*", "10.1.2.3",
                                       "10.0.0.0/8,fd00::/8",
                                       " 10.1.2.3 , * "};
    static const char *const bad[] = {"desk", "10.1.2", "10.1.2.3/33",
                                      "10.1.2.3;10.1.2.4", "fd00::/129"};

    for (size_t i = 0; i < CFS_ARRAY_SIZE(good); i++) {
        struct cfs_err err = {0};

        if (access_list_check(good[i], &err) < 0)
            fail_msg("%s", err.text);
    }
    for (size_t i = 0; i < CFS_ARRAY_SIZE(bad); i++) {
        struct cfs_err err = {0};

        assert_int_equal(access_list_check(bad[i], &err), -EINVAL);
        assert_true(*err.text);
    }
}

static void who_somebody_is_decides(void **state)
{
    assert_int_equal(access_of(RPC_PEER_LOCAL, true, false), ACCESS_LOCAL);
    assert_int_equal(access_of(RPC_PEER_LOCAL, false, false),
                     ACCESS_STRANGER);
    assert_int_equal(access_of(RPC_PEER_NODE, false, false), ACCESS_NODE);
    assert_int_equal(access_of(RPC_PEER_NODE, false, true), ACCESS_MEMBER);
    /* Nothing of the PEER program but the greeting, until it has greeted. */
    for (uint32_t proc = 0; proc < RPC_PEER_PROCS; proc++) {
        if (proc != RPC_PEER_GREET)
            assert_non_null(access_refusal(ACCESS_NODE, RPC_PEER, proc));
        assert_non_null(access_refusal(ACCESS_CLIENT, RPC_PEER, proc));
        assert_non_null(access_refusal(ACCESS_LOCAL, RPC_PEER, proc));
    }
    assert_null(access_refusal(ACCESS_MEMBER, RPC_PEER, RPC_PEER_BRICKS));
    assert_null(access_refusal(ACCESS_LOCAL, RPC_CLI, RPC_CLI_REQUEST));
    assert_non_null(access_refusal(ACCESS_LOCAL, 99, 1));
}

static void an_address_is_the_same_however_it_is_written(void **state)
{
    assert_true(address_same("fd00::1", "fd00:0::0:1"));
    assert_true(address_same("FD00::1", "fd00::1"));
    assert_false(address_same("fd00::1", "fd00::2"));
    assert_true(address_same("10.0.0.1", "10.0.0.1"));
    assert_false(address_same("10.0.0.1", "10.0.0.10"));
    assert_true(address_same("n1", "n1"));
    assert_false(address_same("n1", "n1.example.org"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_and_networks_are_found_in_a_list),
        cmocka_unit_test(a_list_that_is_none_is_named),
        cmocka_unit_test(who_somebody_is_decides),
        cmocka_unit_test(an_address_is_the_same_however_it_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
