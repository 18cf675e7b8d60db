/* SPDX-License-Identifier: Apache-2.0 */
/* test_ops.c - what each operation does to names and attributes, and what it
 * refuses. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "core/dirent.h"
#include "tests/unit/ops_main.h"

#define ROOT cfs_gfid_root

/* -- names ---------------------------------------------------------------- */

static void a_new_brick_has_an_empty_root(void **state)
{
    struct fix *f = *state;
    struct cfs_attr a;

    assert_int_equal(fix_getattr(f, ROOT, &a), 0);
    assert_int_equal(a.mode, S_IFDIR | 0755);
    assert_int_equal(a.nlink, 2);
    assert_int_equal(a.version.epoch, 1);
    assert_int_equal(a.version.seq, 1);
    assert_int_equal(a.mtime.sec, 1);
    assert_int_equal(a.mtime.nsec, 2);
    assert_int_equal(fix_lookup(f, ROOT, "x", &a), -ENOENT);
}

static void create_makes_every_type(void **state)
{
    static const uint32_t types[] = {S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK};
    struct fix *f = *state;
    struct cfs_attr a, dir;
    struct cfs_gfid g;
    char name[16];

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(types); i++) {
        snprintf(name, sizeof name, "n%u", i);
        assert_int_equal(fix_create(f, ROOT, name, types[i] | 0640, &g), 0);
        assert_int_equal(fix_lookup(f, ROOT, name, &a), 0);
        assert_gfid_equal(a.gfid, g);
        assert_int_equal(a.mode, types[i] | 0640);
        assert_int_equal(a.nlink, types[i] == S_IFDIR ? 2 : 1);
        assert_int_equal(a.uid, 1000);
        assert_int_equal(a.gid, 1001);
        assert_int_equal(a.version.seq, 1);
        assert_int_equal(cfs_time_cmp(a.mtime, f->now), 0);
        assert_int_equal(cfs_time_cmp(a.btime, f->now), 0);
    }
    assert_int_equal(fix_getattr(f, ROOT, &dir), 0);
    assert_int_equal(dir.nlink, 3);
    assert_int_equal(dir.version.seq, 5);
    assert_int_equal(cfs_time_cmp(dir.mtime, f->now), 0);
}

static void create_refuses(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid file = fix_file(f, "file"), dir = fix_dir(f, ROOT, "d");

    assert_int_equal(fix_create(f, ROOT, "file", S_IFREG, NULL), -EEXIST);
    assert_int_equal(fix_create(f, file, "x", S_IFREG, NULL), -ENOTDIR);
    assert_int_equal(fix_create(f, ROOT, "a/b", S_IFREG, NULL), -EINVAL);
    assert_int_equal(fix_create(f, ROOT, "..", S_IFREG, NULL), -EINVAL);
    assert_int_equal(fix_create(f, ROOT, "", S_IFREG, NULL), -EINVAL);
    assert_int_equal(fix_create(f, ROOT, "x", S_IFREG | 0x100000, NULL),
                     -EINVAL);
    assert_int_equal(fix_create(f, ROOT, "x", 0644, NULL), -EINVAL);
    assert_int_equal(fix_unlink(f, ROOT, "d", true), 0);
    assert_int_equal(fix_create(f, dir, "x", S_IFREG, NULL), -ENOENT);
}

static void set_group_id_directories_pass_their_group_on(void **state)
{
    struct fix *f = *state;
    struct cfs_setattr op = {.gid = 77, .mode = 02775};
    struct cfs_gfid dir = fix_dir(f, ROOT, "d"), sub;
    struct cfs_attr a;

    op.gfid = dir;
    op.mask = CFS_SET_GID | CFS_SET_MODE;
    assert_int_equal(fix_setattr(f, &op), 0);
    assert_int_equal(fix_create(f, dir, "sub", S_IFDIR | 0755, &sub), 0);
    assert_int_equal(fix_getattr(f, sub, &a), 0);
    assert_int_equal(a.gid, 77);
    assert_int_equal(a.mode, S_IFDIR | 02755);
    assert_int_equal(fix_create(f, dir, "file", S_IFREG | 0644, &sub), 0);
    assert_int_equal(fix_getattr(f, sub, &a), 0);
    assert_int_equal(a.gid, 77);
    assert_int_equal(a.mode, S_IFREG | 0644);
}

static void a_symbolic_link_keeps_its_target(void **state)
{
    struct fix *f = *state;
    struct cfs_readlink op = {.req.fop = CFS_FOP_READLINK};
    char longest[CFS_SYMLINK_MAX + 2];
    struct cfs_attr a;

    memset(longest, 'x', sizeof longest);
    longest[CFS_SYMLINK_MAX] = 0;
    assert_int_equal(fix_symlink(f, ROOT, "l", longest, &op.gfid), 0);
    assert_int_equal(fix_getattr(f, op.gfid, &a), 0);
    assert_int_equal(a.size, CFS_SYMLINK_MAX);
    fix_begin(f);
    op.req.epoch = f->view.epoch;
    assert_int_equal(fix_do(f, &op.req), 0);
    assert_int_equal(op.target.len, CFS_SYMLINK_MAX);
    assert_memory_equal(op.target.p, longest, CFS_SYMLINK_MAX);
    longest[CFS_SYMLINK_MAX] = 'x';
    longest[CFS_SYMLINK_MAX + 1] = 0;
    assert_int_equal(fix_symlink(f, ROOT, "m", longest, NULL), -ENAMETOOLONG);
}

static void unlink_leaves_an_orphan_until_it_is_purged(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t buf[8];
    struct cfs_attr a;

    assert_int_equal(fix_write(f, g, 0, "content", 7), 0);
    assert_int_equal(fix_purge(f, g), -EBUSY);
    assert_int_equal(fix_unlink(f, ROOT, "file", false), 0);
    assert_int_equal(fix_lookup(f, ROOT, "file", &a), -ENOENT);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.nlink, 0);
    assert_int_equal(fix_read(f, g, 0, buf, 8), 7);
    assert_int_equal(fix_purge(f, g), 0);
    assert_int_equal(fix_getattr(f, g, &a), -ENOENT);
}

static void unlink_and_rmdir_refuse(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid dir = fix_dir(f, ROOT, "d");
    struct cfs_attr a;

    fix_file(f, "file");
    fix_dir(f, dir, "sub");
    assert_int_equal(fix_unlink(f, ROOT, "file", true), -ENOTDIR);
    assert_int_equal(fix_unlink(f, ROOT, "d", false), -EISDIR);
    assert_int_equal(fix_unlink(f, ROOT, "d", true), -ENOTEMPTY);
    assert_int_equal(fix_unlink(f, ROOT, "none", false), -ENOENT);
    assert_int_equal(fix_unlink(f, dir, "sub", true), 0);
    assert_int_equal(fix_unlink(f, ROOT, "d", true), 0);
    assert_int_equal(fix_getattr(f, ROOT, &a), 0);
    assert_int_equal(a.nlink, 2);
}

static void a_link_is_another_name(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "a"), dir = fix_dir(f, ROOT, "d");
    struct cfs_attr a;

    assert_int_equal(fix_link(f, g, dir, "b"), 0);
    assert_int_equal(fix_lookup(f, dir, "b", &a), 0);
    assert_gfid_equal(a.gfid, g);
    assert_int_equal(a.nlink, 2);
    assert_int_equal(fix_link(f, g, dir, "b"), -EEXIST);
    assert_int_equal(fix_link(f, dir, ROOT, "c"), -EPERM);
    assert_int_equal(fix_unlink(f, ROOT, "a", false), 0);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.nlink, 1);
    assert_int_equal(fix_purge(f, g), -EBUSY);
    assert_int_equal(fix_unlink(f, dir, "b", false), 0);
    assert_int_equal(fix_link(f, g, dir, "b"), -ENOENT);
}

static void rename_moves_and_replaces(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid a = fix_file(f, "a"), b = fix_file(f, "b");
    struct cfs_gfid d = fix_dir(f, ROOT, "d"), e = fix_dir(f, d, "e");
    struct cfs_attr at;

    assert_int_equal(fix_rename(f, ROOT, "a", d, "a2", 0), 0);
    assert_int_equal(fix_lookup(f, ROOT, "a", &at), -ENOENT);
    assert_int_equal(fix_lookup(f, d, "a2", &at), 0);
    assert_gfid_equal(at.gfid, a);
    assert_int_equal(fix_rename(f, d, "a2", ROOT, "b", RENAME_NOREPLACE),
                     -EEXIST);
    assert_int_equal(fix_rename(f, d, "a2", ROOT, "b", 0), 0);
    assert_int_equal(fix_getattr(f, b, &at), 0);
    assert_int_equal(at.nlink, 0);
    assert_int_equal(fix_rename(f, ROOT, "b", d, "e", 0), -EISDIR);
    assert_int_equal(fix_rename(f, d, "e", ROOT, "b", 0), -ENOTDIR);
    assert_int_equal(fix_rename(f, d, "e", ROOT, "e", 0), 0);
    assert_int_equal(fix_getattr(f, d, &at), 0);
    assert_int_equal(at.nlink, 2);
    assert_int_equal(fix_getattr(f, ROOT, &at), 0);
    assert_int_equal(at.nlink, 4);
    assert_int_equal(fix_rename(f, ROOT, "e", ROOT, "d", 0), 0);
    assert_int_equal(fix_lookup(f, ROOT, "d", &at), 0);
    assert_gfid_equal(at.gfid, e);
    assert_int_equal(fix_getattr(f, ROOT, &at), 0);
    assert_int_equal(at.nlink, 3);
}

static void rename_of_two_names_of_one_file_does_nothing(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "a");
    struct cfs_attr a;

    assert_int_equal(fix_link(f, g, ROOT, "b"), 0);
    assert_int_equal(fix_rename(f, ROOT, "a", ROOT, "b", 0), 0);
    assert_int_equal(fix_lookup(f, ROOT, "a", &a), 0);
    assert_int_equal(fix_lookup(f, ROOT, "b", &a), 0);
    assert_int_equal(a.nlink, 2);
    assert_int_equal(cfs_version_cmp(a.version, fix_version(f, g)), 0);
}

static void no_directory_is_moved_below_itself(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid a = fix_dir(f, ROOT, "a"), b = fix_dir(f, a, "b");
    struct cfs_gfid c = fix_dir(f, b, "c");

    fix_file(f, "file");
    assert_int_equal(fix_rename(f, ROOT, "a", a, "x", 0), -EINVAL);
    assert_int_equal(fix_rename(f, ROOT, "a", c, "x", 0), -EINVAL);
    assert_int_equal(fix_rename(f, b, "c", ROOT, "a", 0), -ENOTEMPTY);
    assert_int_equal(fix_rename(f, ROOT, "file", b, "c", RENAME_EXCHANGE), 0);
    assert_int_equal(fix_rename(f, b, "c", ROOT, "a", RENAME_EXCHANGE),
                     -EINVAL);
    assert_int_equal(fix_rename(f, ROOT, "file", c, "x", 0), -EINVAL);
}

static void exchange_swaps_files_and_directories(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid d = fix_dir(f, ROOT, "d"), e = fix_dir(f, d, "e");
    struct cfs_gfid g = fix_file(f, "file");
    struct cfs_attr a;

    assert_int_equal(fix_rename(f, ROOT, "file", d, "e", RENAME_EXCHANGE), 0);
    assert_int_equal(fix_lookup(f, ROOT, "file", &a), 0);
    assert_gfid_equal(a.gfid, e);
    assert_int_equal(fix_lookup(f, d, "e", &a), 0);
    assert_gfid_equal(a.gfid, g);
    assert_int_equal(fix_getattr(f, d, &a), 0);
    assert_int_equal(a.nlink, 2);
    assert_int_equal(fix_getattr(f, ROOT, &a), 0);
    assert_int_equal(a.nlink, 4);
    assert_int_equal(fix_rename(f, ROOT, "file", d, "no", RENAME_EXCHANGE),
                     -ENOENT);
    assert_int_equal(fix_rename(f, ROOT, "file", ROOT, "d", RENAME_EXCHANGE),
                     0);
    assert_int_equal(fix_lookup(f, ROOT, "d", &a), 0);
    assert_gfid_equal(a.gfid, e);
}

/* -- readdir -------------------------------------------------------------- */

/* Lists @dir in pieces of @size bytes; names in @ret, how many. */
static unsigned list(struct fix *f, struct cfs_gfid dir, uint32_t size,
                     bool plus, char (*ret)[32], unsigned max)
{
    struct cfs_readdir op = {.req.fop = CFS_FOP_READDIR};
    struct cfs_dirent e;
    unsigned n = 0;

    op.gfid = dir;
    op.size = size;
    op.plus = plus;
    do {
        const uint8_t *at, *end;

        fix_begin(f);
        op.req = (struct cfs_req){.fop = CFS_FOP_READDIR,
                                  .epoch = f->view.epoch};
        assert_int_equal(fix_do(f, &op.req), 0);
        at = op.entries.data;
        end = at + op.entries.len;
        while (cfs_dirent_next(&at, end, &e) == 1) {
            assert_true(n < max);
            assert_true(e.cookie > op.cookie);
            assert_int_equal(e.has_attr, plus);
            if (plus)
                assert_gfid_equal(e.attr.gfid, e.gfid);
            op.cookie = e.cookie;
            snprintf(ret[n++], 32, "%.*s", (int)e.name.len, e.name.s);
        }
    } while (!op.eof);
    return n;
}

static void readdir_lists_each_entry_once_in_order_of_creation(void **state)
{
    struct fix *f = *state;
    char want[300][32], got[300][32];

    for (unsigned i = 0; i < 300; i++) {
        snprintf(want[i], 32, "file-%u", i * 7919 % 300);
        fix_file(f, want[i]);
    }
    for (unsigned plus = 0; plus < 2; plus++) {
        assert_int_equal(list(f, ROOT, 500, plus, got, 300), 300);
        for (unsigned i = 0; i < 300; i++)
            assert_string_equal(got[i], want[i]);
        assert_int_equal(list(f, ROOT, CFS_IO_MAX, plus, got, 300), 300);
    }
}

static void readdir_neither_skips_nor_repeats_while_entries_go(void **state)
{
    struct fix *f = *state;
    struct cfs_readdir op = {.req.fop = CFS_FOP_READDIR};
    struct cfs_dirent e;
    const uint8_t *at;
    char name[32];
    unsigned n = 0;

    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "%02u", i);
        fix_file(f, name);
    }
    op.gfid = ROOT;
    op.size = 40; /* one entry */
    for (;; n++) {
        fix_begin(f);
        op.req = (struct cfs_req){.fop = CFS_FOP_READDIR,
                                  .epoch = f->view.epoch};
        assert_int_equal(fix_do(f, &op.req), 0);
        at = op.entries.data;
        if (cfs_dirent_next(&at, at + op.entries.len, &e) != 1)
            break;
        op.cookie = e.cookie;
        snprintf(name, sizeof name, "%.*s", (int)e.name.len, e.name.s);
        assert_int_equal(atoi(name), n);
        assert_int_equal(fix_unlink(f, ROOT, name, false), 0);
    }
    assert_int_equal(n, 20);
    assert_true(op.eof);
}

/* -- attributes ----------------------------------------------------------- */

static void setattr_sets_what_the_mask_says(void **state)
{
    struct fix *f = *state;
    struct cfs_setattr op = {.mode = 04711, .uid = 5, .gid = 6,
                             .atime = {-5, 1}, .mtime = {1 << 20, 999999999}};
    struct cfs_attr a;

    op.gfid = fix_file(f, "file");
    op.mask = CFS_SET_MODE | CFS_SET_UID | CFS_SET_GID | CFS_SET_ATIME |
              CFS_SET_MTIME;
    assert_int_equal(fix_setattr(f, &op), 0);
    assert_int_equal(fix_getattr(f, op.gfid, &a), 0);
    assert_int_equal(a.mode, S_IFREG | 04711);
    assert_int_equal(a.uid, 5);
    assert_int_equal(a.gid, 6);
    assert_int_equal(cfs_time_cmp(a.atime, op.atime), 0);
    assert_int_equal(cfs_time_cmp(a.mtime, op.mtime), 0);
    assert_int_equal(cfs_time_cmp(a.ctime, f->now), 0);
    op.mask = CFS_SET_KILL_SUID | CFS_SET_MTIME_NOW;
    assert_int_equal(fix_setattr(f, &op), 0);
    assert_int_equal(fix_getattr(f, op.gfid, &a), 0);
    assert_int_equal(a.mode, S_IFREG | 0711);
    assert_int_equal(cfs_time_cmp(a.mtime, f->now), 0);
}

static void automatic_times_grow_when_the_clock_does_not(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    struct cfs_attr a, b;

    assert_int_equal(fix_write(f, g, 0, "1", 1), 0);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    f->now = (struct cfs_time){1, 0};
    assert_int_equal(fix_write(f, g, 0, "2", 1), 0);
    assert_int_equal(fix_getattr(f, g, &b), 0);
    assert_true(cfs_time_cmp(b.mtime, a.mtime) > 0);
    assert_true(cfs_time_cmp(b.ctime, a.ctime) > 0);
    assert_int_equal(b.mtime.sec, a.mtime.sec);
}

static void xattrs_are_kept_and_listed(void **state)
{
    struct fix *f = *state;
    struct cfs_listxattr op = {.req.fop = CFS_FOP_LISTXATTR};
    uint8_t *big = fix_pattern(CFS_XATTR_MAX, 3), *got = malloc(CFS_XATTR_MAX);
    struct cfs_gfid g = fix_file(f, "file");

    assert_int_equal(fix_getxattr(f, g, "user.a", got, CFS_XATTR_MAX),
                     -ENODATA);
    assert_int_equal(fix_setxattr(f, g, "user.b", big, CFS_XATTR_MAX, 0), 0);
    assert_int_equal(fix_setxattr(f, g, "user.a", "", 0, XATTR_CREATE), 0);
    assert_int_equal(fix_setxattr(f, g, "user.a", "1", 1, XATTR_CREATE),
                     -EEXIST);
    assert_int_equal(fix_setxattr(f, g, "user.c", "1", 1, XATTR_REPLACE),
                     -ENODATA);
    assert_int_equal(fix_getxattr(f, g, "user.b", got, CFS_XATTR_MAX),
                     CFS_XATTR_MAX);
    assert_memory_equal(got, big, CFS_XATTR_MAX);
    assert_int_equal(fix_getxattr(f, g, "user.a", got, 1), 0);
    op.gfid = g;
    op.req.epoch = f->view.epoch;
    fix_begin(f);
    assert_int_equal(fix_do(f, &op.req), 0);
    assert_int_equal(op.names.len, 14);
    assert_memory_equal(op.names.p, "user.a\0user.b\0", 14);
    assert_int_equal(fix_removexattr(f, g, "user.b"), 0);
    assert_int_equal(fix_removexattr(f, g, "user.b"), -ENODATA);
    assert_int_equal(fix_getxattr(f, g, "user.b", got, CFS_XATTR_MAX),
                     -ENODATA);
    free(big);
    free(got);
}

static void xattrs_of_one_inode_are_bounded(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    struct cfs_attr a;
    char name[32];
    int rc = 0;

    for (unsigned i = 0; rc == 0; i++) {
        assert_true(i <= 256);
        snprintf(name, sizeof name, "user.%u", i);
        rc = fix_setxattr(f, g, name, "v", 1, 0);
    }
    assert_int_equal(rc, -ENOSPC);
    /* They go with it, step by step. */
    assert_int_equal(fix_unlink(f, ROOT, "file", false), 0);
    assert_int_equal(fix_purge(f, g), 0);
    assert_int_equal(fix_getattr(f, g, &a), -ENOENT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, ops_setup, ops_teardown)
    const struct CMUnitTest tests[] = {
        T(a_new_brick_has_an_empty_root),
        T(create_makes_every_type),
        T(create_refuses),
        T(set_group_id_directories_pass_their_group_on),
        T(a_symbolic_link_keeps_its_target),
        T(unlink_leaves_an_orphan_until_it_is_purged),
        T(unlink_and_rmdir_refuse),
        T(a_link_is_another_name),
        T(rename_moves_and_replaces),
        T(rename_of_two_names_of_one_file_does_nothing),
        T(no_directory_is_moved_below_itself),
        T(exchange_swaps_files_and_directories),
        T(readdir_lists_each_entry_once_in_order_of_creation),
        T(readdir_neither_skips_nor_repeats_while_entries_go),
        T(setattr_sets_what_the_mask_says),
        T(automatic_times_grow_when_the_clock_does_not),
        T(xattrs_are_kept_and_listed),
        T(xattrs_of_one_inode_are_bounded),
    };

    return ops_main(tests, CFS_ARRAY_SIZE(tests));
}
