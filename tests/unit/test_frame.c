/* SPDX-License-Identifier: Apache-2.0 */
/* test_frame.c - the header of a frame: what is written is read, and nothing
 * else is. */
#include "tests/unit/cfs_test.h"

#include <stdlib.h>
#include <xxhash.h>

#include "rpc/frame.h"

static const struct rpc_hdr sample = {
    .flags = CFS_RPC_REPLY | CFS_RPC_LZ4,
    .body_len = 1234,
    .payload_len = 5000,
    .xid = 0xfffffffe,
    .program = 7,
    .version = 1,
    .procedure = 16,
    .status = -2048,
    .raw_len = 8192,
};

static void check_refused(const struct rpc_hdr *h)
{
    uint8_t b[CFS_RPC_HDR];
    struct rpc_hdr out = {.xid = 77};
    const char *why = NULL;

    rpc_hdr_pack(h, b);
    assert_int_equal(rpc_hdr_unpack(b, &out, &why), -EBADMSG);
    assert_non_null(why);
    assert_int_equal(out.xid, 77); /* untouched */
}

static void what_is_packed_is_unpacked(void **state)
{
    uint8_t b[CFS_RPC_HDR];
    struct rpc_hdr out;
    const char *why;

    rpc_hdr_pack(&sample, b);
    assert_int_equal(rpc_hdr_unpack(b, &out, &why), 0);
    assert_int_equal(out.flags, sample.flags);
    assert_int_equal(out.body_len, sample.body_len);
    assert_int_equal(out.payload_len, sample.payload_len);
    assert_int_equal(out.xid, sample.xid);
    assert_int_equal(out.program, sample.program);
    assert_int_equal(out.version, sample.version);
    assert_int_equal(out.procedure, sample.procedure);
    assert_int_equal(out.status, sample.status);
    assert_int_equal(out.raw_len, sample.raw_len);
}

/* docs/wire.md shows this frame; other implementations rely on it. */
static void the_bytes_are_as_documented(void **state)
{
    static const uint8_t want[40] = {
        'C', 'F', 'S', '1', 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0,
        1,   0,   0,   0,   1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    };
    const struct rpc_hdr h = {
        .body_len = 3, .xid = 9, .program = 1, .version = 1, .procedure = 2};
    uint8_t b[CFS_RPC_HDR];
    uint64_t sum;

    rpc_hdr_pack(&h, b);
    assert_memory_equal(b, want, sizeof want);
    memcpy(&sum, b + 40, sizeof sum);
    assert_true(sum == XXH3_64bits(want, sizeof want));
}

static void lengths_over_their_bounds_are_refused(void **state)
{
    struct rpc_hdr h = {.body_len = CFS_RPC_BODY_MAX + 1};

    check_refused(&h);
    h = (struct rpc_hdr){.payload_len = CFS_RPC_PAYLOAD_MAX + 1,
                         .raw_len = CFS_RPC_PAYLOAD_MAX + 1};
    check_refused(&h);
    h = (struct rpc_hdr){.flags = CFS_RPC_LZ4,
                         .payload_len = 100,
                         .raw_len = CFS_RPC_PAYLOAD_MAX + 1};
    check_refused(&h);
    h = (struct rpc_hdr){.body_len = UINT32_MAX, .payload_len = UINT32_MAX,
                         .raw_len = UINT32_MAX};
    check_refused(&h);
}

static void lengths_at_their_bounds_are_accepted(void **state)
{
    const struct rpc_hdr h = {.body_len = CFS_RPC_BODY_MAX,
                              .payload_len = CFS_RPC_PAYLOAD_MAX,
                              .raw_len = CFS_RPC_PAYLOAD_MAX};
    uint8_t b[CFS_RPC_HDR];
    struct rpc_hdr out;
    const char *why;

    rpc_hdr_pack(&h, b);
    assert_int_equal(rpc_hdr_unpack(b, &out, &why), 0);
}

static void contradictions_are_refused(void **state)
{
    const struct rpc_hdr bad[] = {
        {.flags = 0x8},
        {.flags = 0x8000},
        {.payload_len = 1, .raw_len = 2},
        {.payload_len = 2, .raw_len = 1},
        {.flags = CFS_RPC_LZ4},
        {.flags = CFS_RPC_LZ4, .payload_len = 10, .raw_len = 10},
        {.flags = CFS_RPC_LZ4, .payload_len = 10, .raw_len = 9},
        {.status = -5},
        {.status = 5},
        {.flags = CFS_RPC_REPLY, .status = 1},
        {.flags = CFS_RPC_REPLY, .status = -4096},
        {.flags = CFS_RPC_REPLY, .status = INT32_MIN},
        {.flags = CFS_RPC_TEXT},
        {.flags = CFS_RPC_REPLY | CFS_RPC_TEXT},
    };

    for (size_t i = 0; i < CFS_ARRAY_SIZE(bad); i++)
        check_refused(&bad[i]);
}

static void one_flipped_bit_anywhere_is_refused(void **state)
{
    uint8_t b[CFS_RPC_HDR];
    struct rpc_hdr out;
    const char *why;

    rpc_hdr_pack(&sample, b);
    for (unsigned bit = 0; bit < 8 * CFS_RPC_HDR; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(rpc_hdr_unpack(b, &out, &why), -EBADMSG);
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(rpc_hdr_unpack(b, &out, &why), 0);
}

static void other_magic_and_version_are_told_apart(void **state)
{
    uint8_t b[CFS_RPC_HDR];
    struct rpc_hdr out;
    const char *why;

    rpc_hdr_pack(&sample, b);
    b[0] = 'X';
    assert_int_equal(rpc_hdr_unpack(b, &out, &why), -EBADMSG);
    assert_non_null(strstr(why, "magic"));
    rpc_hdr_pack(&sample, b);
    b[4] = 2;
    assert_int_equal(rpc_hdr_unpack(b, &out, &why), -EBADMSG);
    assert_non_null(strstr(why, "version"));
}

/* Even with a right checksum, what is accepted is within its bounds. */
static void random_headers_are_refused_or_sane(void **state)
{
    unsigned accepted = 0;

    srandom(1);
    for (unsigned i = 0; i < 200000; i++) {
        struct rpc_hdr out;
        uint8_t b[CFS_RPC_HDR];
        const char *why;
        uint64_t sum;

        for (unsigned j = 0; j < sizeof b; j++)
            b[j] = random() % 3 == 0 ? (uint8_t)random() : 0;
        memcpy(b, "CFS1\1\0", 6);
        sum = XXH3_64bits(b, 40);
        memcpy(b + 40, &sum, sizeof sum);
        if (rpc_hdr_unpack(b, &out, &why) < 0)
            continue;
        accepted++;
        assert_true(out.body_len <= CFS_RPC_BODY_MAX);
        assert_true(out.payload_len <= out.raw_len);
        assert_true(out.raw_len <= CFS_RPC_PAYLOAD_MAX);
        assert_true(out.status <= 0);
    }
    assert_true(accepted > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_is_unpacked),
        cmocka_unit_test(the_bytes_are_as_documented),
        cmocka_unit_test(lengths_over_their_bounds_are_refused),
        cmocka_unit_test(lengths_at_their_bounds_are_accepted),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(one_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(other_magic_and_version_are_told_apart),
        cmocka_unit_test(random_headers_are_refused_or_sane),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
