/* SPDX-License-Identifier: Apache-2.0 */
/* What mount/fuse says to the kernel and understands of it, without a mount. */
#include "tests/unit/cfs_test.h"

#include "core/sums.h"
#include "xlators/mount/fuse/conv.h"

#include <stdlib.h>

/* -- attributes ------------------------------------------------------------ */

static void stat_shows_every_attribute(void **state)
{
    struct cfs_attr a = {
        .gfid = cfs_gfid_make(((uint64_t)7 << 32) | 9),
        .mode = S_IFCHR | 0640,
        .nlink = 3,
        .uid = 1,
        .gid = 4000000000u,
        .rdev = 0x12345,
        .size = (uint64_t)5 << 30,
        .blocks = 11,
        .atime = {-2, 999999999},
        .mtime = {(int64_t)1 << 33, 1},
        .ctime = {3, 4},
    };
    struct stat st;

    fm_stat(&a, &st);
    assert_int_equal(st.st_ino, ((uint64_t)7 << 32) | 9);
    assert_int_equal(st.st_mode, S_IFCHR | 0640);
    assert_int_equal(st.st_nlink, 3);
    assert_int_equal(st.st_uid, 1);
    assert_int_equal(st.st_gid, 4000000000u);
    assert_int_equal(st.st_rdev, 0x12345);
    assert_int_equal(st.st_size, (int64_t)5 << 30);
    assert_int_equal(st.st_blocks, 11);
    assert_int_equal(st.st_atim.tv_sec, -2);
    assert_int_equal(st.st_atim.tv_nsec, 999999999);
    assert_int_equal(st.st_mtim.tv_sec, (int64_t)1 << 33);
    assert_int_equal(st.st_ctim.tv_nsec, 4);
}

static void setattr_flags_are_translated_each(void **state)
{
    static const uint32_t pairs[][2] = {
        {FATTR_MODE, CFS_SET_MODE},
        {FATTR_UID, CFS_SET_UID},
        {FATTR_GID, CFS_SET_GID},
        {FATTR_ATIME, CFS_SET_ATIME},
        {FATTR_MTIME, CFS_SET_MTIME},
        {FATTR_ATIME | FATTR_ATIME_NOW, CFS_SET_ATIME_NOW},
        {FATTR_MTIME | FATTR_MTIME_NOW, CFS_SET_MTIME_NOW},
        {FATTR_KILL_SUIDGID, CFS_SET_KILL_SUID},
        {FATTR_SIZE, CFS_SET_SIZE | CFS_SET_MTIME_NOW},
        {FATTR_SIZE | FATTR_MTIME, CFS_SET_SIZE | CFS_SET_MTIME},
        {FATTR_FH | FATTR_LOCKOWNER | FATTR_CTIME, 0},
    };

    for (size_t i = 0; i < CFS_ARRAY_SIZE(pairs); i++)
        assert_int_equal(fm_set_mask(pairs[i][0]), pairs[i][1]);
}

/* -- what libfuse hides ---------------------------------------------------- */

static void kill_flags_are_read_from_the_raw_request(void **state)
{
    struct {
        struct fuse_in_header in;
        struct fuse_write_in  w;
    } wr = {.in = {.opcode = FUSE_WRITE}};
    struct {
        struct fuse_in_header in;
        struct fuse_open_in   o;
    } op = {.in = {.opcode = FUSE_OPEN}};

    assert_false(fm_wants_kill(&wr.in, sizeof wr));
    wr.w.write_flags = FUSE_WRITE_CACHE | FUSE_WRITE_LOCKOWNER;
    assert_false(fm_wants_kill(&wr.in, sizeof wr));
    wr.w.write_flags |= FUSE_WRITE_KILL_SUIDGID;
    assert_true(fm_wants_kill(&wr.in, sizeof wr));
    assert_false(fm_wants_kill(&wr.in, sizeof wr.in + 8));
    assert_false(fm_wants_kill(&op.in, sizeof op));
    op.o.open_flags = FUSE_OPEN_KILL_SUIDGID;
    assert_true(fm_wants_kill(&op.in, sizeof op));
    op.in.opcode = FUSE_READ;
    assert_false(fm_wants_kill(&op.in, sizeof op));
}

static void init_asks_for_what_is_offered_only(void **state)
{
    static const uint64_t must =
        FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES |
        FUSE_ATOMIC_O_TRUNC | FUSE_AUTO_INVAL_DATA | FUSE_ASYNC_DIO |
        FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_DO_READDIRPLUS |
        FUSE_READDIRPLUS_AUTO;
    static const uint64_t never =
        FUSE_WRITEBACK_CACHE | FUSE_POSIX_ACL | FUSE_NO_OPEN_SUPPORT |
        FUSE_NO_OPENDIR_SUPPORT | FUSE_HANDLE_KILLPRIV | FUSE_DONT_MASK |
        FUSE_EXPLICIT_INVAL_DATA | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS |
        FUSE_EXPORT_SUPPORT;

    assert_int_equal(fm_init_flags(UINT64_MAX) & must, must);
    assert_int_equal(fm_init_flags(UINT64_MAX) & never, 0);
    for (unsigned i = 0; i < 64; i++) {
        uint64_t one = (uint64_t)1 << i;

        assert_int_equal(fm_init_flags(one) & ~one, 0);
        assert_int_equal(fm_init_flags(~one) & one, 0);
    }
}

static void init_answer_is_rewritten(void **state)
{
    struct fuse_init_in in = {
        .major = 7,
        .minor = 38,
        .max_readahead = 131072,
        .flags = UINT32_MAX,
        .flags2 = UINT32_MAX,
    };
    struct fm_init want = {.max_background = 64, .page_size = 4096};
    struct fuse_init_out out = {.major = 7, .minor = 38, .flags = 1u << 31};

    fm_init_patch(&in, &want, &out);
    assert_int_equal(out.major, 7);
    assert_int_equal(out.flags | (uint64_t)out.flags2 << 32,
                     fm_init_flags(UINT64_MAX));
    assert_int_equal(out.max_write, 1 << 20);
    assert_int_equal(out.max_pages, 256);
    assert_int_equal(out.max_background, 64);
    assert_int_equal(out.congestion_threshold, 48);
    assert_int_equal(out.time_gran, 1);

    in.flags = FUSE_ASYNC_READ; /* an old kernel */
    in.flags2 = 0;
    fm_init_patch(&in, &want, &out);
    assert_int_equal(out.flags, FUSE_ASYNC_READ);
    assert_int_equal(out.max_pages, 0);
    assert_int_equal(out.max_write, 32 * 4096);
}

/* -- pieces and checksums -------------------------------------------------- */

static void pieces_cover_a_range_and_end_on_blocks(void **state)
{
    static const uint64_t offsets[] = {0, 1, 4095, 4096, 1048575, 12345678};
    static const uint64_t lengths[] = {1, 4095, 4096, 4097, 3000000};

    for (size_t i = 0; i < CFS_ARRAY_SIZE(offsets); i++) {
        for (size_t k = 0; k < CFS_ARRAY_SIZE(lengths); k++) {
            uint64_t at = offsets[i], end = at + lengths[k];

            while (at < end) {
                uint64_t n = fm_piece(at, end - at, CFS_IO_MAX);

                assert_in_range(n, 1, CFS_IO_MAX);
                at += n;
                assert_true(at == end || at % CFS_BLOCK == 0);
            }
            assert_int_equal(at, end);
        }
    }
}

static void sums_are_one_per_touched_block(void **state)
{
    assert_int_equal(cfs_sums_count(0, 0), 0);
    assert_int_equal(cfs_sums_count(0, 1), 1);
    assert_int_equal(cfs_sums_count(0, 4096), 1);
    assert_int_equal(cfs_sums_count(0, 4097), 2);
    assert_int_equal(cfs_sums_count(4095, 1), 1);
    assert_int_equal(cfs_sums_count(4095, 2), 2);
    assert_int_equal(cfs_sums_count(4095, 4098), 3);
    assert_int_equal(cfs_sums_count(1, 1 << 20), 257);
}

static void sums_notice_every_flipped_byte(void **state)
{
    static const uint64_t offset = 4000;
    static const uint32_t len = 9000;
    uint8_t *data = calloc(1, len);
    uint8_t sums[8 * 4];
    uint32_t n = cfs_sums_count(offset, len);
    struct cfs_blob blob = {sums, 8 * n};

    assert_int_equal(n, 4);
    cfs_sums(offset, data, len, sums);
    assert_true(cfs_sums_match(offset, data, len, blob));
    for (uint32_t i = 0; i < len; i += 7) {
        data[i] ^= 0x40;
        assert_false(cfs_sums_match(offset, data, len, blob));
        data[i] ^= 0x40;
    }
    for (uint32_t i = 0; i < 8 * n; i++) {
        sums[i] ^= 1;
        assert_false(cfs_sums_match(offset, data, len, blob));
        sums[i] ^= 1;
    }
    blob.len -= 8;
    assert_false(cfs_sums_match(offset, data, len, blob));
    assert_true(cfs_sums_match(0, NULL, 0, (struct cfs_blob){0}));
    free(data);
}

/* Known answer: what `printf clusterfs | xxhsum -H3` prints. */
static void sums_are_little_endian_xxh3(void **state)
{
    uint8_t sum[8];
    uint64_t v = 0;

    cfs_sums(0, "clusterfs", 9, sum);
    for (unsigned i = 8; i-- > 0;)
        v = v << 8 | sum[i];
    assert_int_equal(v, 0x105f909eef8abc50);
}

/* -- extended attributes --------------------------------------------------- */

static void only_enforceable_xattrs_are_kept(void **state)
{
    assert_true(fm_xattr_kept(cfs_test_name("user.a")));
    assert_true(fm_xattr_kept(cfs_test_name("trusted.a")));
    assert_true(fm_xattr_kept(cfs_test_name("security.capability")));
    assert_false(fm_xattr_kept(cfs_test_name("system.posix_acl_access")));
    assert_false(fm_xattr_kept(cfs_test_name("user.")));
    assert_false(fm_xattr_kept(cfs_test_name("user")));
    assert_false(fm_xattr_kept(cfs_test_name("")));
    assert_false(fm_xattr_kept(cfs_test_name("other.a")));
}

static void lists_hide_trusted_names_from_users(void **state)
{
    static const char list[] = "user.a\0trusted.t\0system.x\0security.s";
    struct cfs_blob names = {list, sizeof list};
    char out[sizeof list];
    uint32_t n;

    n = fm_xattr_filter(names, true, out);
    assert_int_equal(n, sizeof "user.a\0trusted.t\0security.s");
    assert_memory_equal(out, "user.a\0trusted.t\0security.s", n);
    n = fm_xattr_filter(names, false, out);
    assert_int_equal(n, sizeof "user.a\0security.s");
    assert_memory_equal(out, "user.a\0security.s", n);
    names.len--; /* the last name lacks its NUL */
    n = fm_xattr_filter(names, true, out);
    assert_int_equal(n, sizeof "user.a\0trusted.t");
    assert_int_equal(fm_xattr_filter((struct cfs_blob){0}, true, out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stat_shows_every_attribute),
        cmocka_unit_test(setattr_flags_are_translated_each),
        cmocka_unit_test(kill_flags_are_read_from_the_raw_request),
        cmocka_unit_test(init_asks_for_what_is_offered_only),
        cmocka_unit_test(init_answer_is_rewritten),
        cmocka_unit_test(pieces_cover_a_range_and_end_on_blocks),
        cmocka_unit_test(sums_are_one_per_touched_block),
        cmocka_unit_test(sums_notice_every_flipped_byte),
        cmocka_unit_test(sums_are_little_endian_xxh3),
        cmocka_unit_test(only_enforceable_xattrs_are_kept),
        cmocka_unit_test(lists_hide_trusted_names_from_users),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
