/* SPDX-License-Identifier: Apache-2.0 */
#include "cfs_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/inode.h"

static int open_table(void **state)
{
    *state = cfs_itable_new();
    return 0;
}

static int close_table(void **state)
{
    cfs_itable_free(*state);
    return 0;
}

/* Known to the kernel by one lookup, and to nobody else. */
static struct cfs_inode *looked_up(struct cfs_itable *t, uint64_t ino,
                                   uint32_t mode)
{
    struct cfs_inode *i = cfs_inode_get(t, cfs_gfid_make(ino), mode);
    struct cfs_gfid gfid;

    i->nlookup++;
    assert_false(cfs_inode_unref(t, i, &gfid));
    return i;
}

static void the_root_is_always_there(void **state)
{
    struct cfs_gfid gfid;
    struct cfs_inode *root = cfs_itable_root(*state);

    assert_gfid_equal(root->gfid, cfs_gfid_root);
    assert_ptr_equal(cfs_inode_find(*state, cfs_gfid_root), root);
    assert_true(S_ISDIR(root->mode));
    assert_false(cfs_inode_forget(*state, root, UINT64_MAX, &gfid));
    assert_ptr_equal(cfs_inode_find(*state, cfs_gfid_root), root);
}

static void an_inode_is_there_once(void **state)
{
    struct cfs_inode *i = cfs_inode_get(*state, cfs_gfid_make(5), S_IFREG);
    struct cfs_gfid gfid;

    assert_ptr_equal(cfs_inode_get(*state, cfs_gfid_make(5), S_IFREG), i);
    assert_ptr_equal(cfs_inode_find(*state, cfs_gfid_make(5)), i);
    assert_int_equal(i->refs, 2);
    assert_int_equal(cfs_itable_count(*state), 2);
    assert_false(cfs_inode_unref(*state, i, &gfid));
    assert_false(cfs_inode_unref(*state, i, &gfid));
    assert_null(cfs_inode_find(*state, cfs_gfid_make(5)));
    assert_int_equal(cfs_itable_count(*state), 1);
}

static void the_kernels_lookups_keep_it(void **state)
{
    struct cfs_inode *i = looked_up(*state, 5, S_IFREG);
    struct cfs_gfid gfid;

    i->nlookup += 2;
    assert_false(cfs_inode_forget(*state, i, 2, &gfid));
    assert_ptr_equal(cfs_inode_find(*state, cfs_gfid_make(5)), i);
    assert_false(cfs_inode_forget(*state, i, 1, &gfid));
    assert_null(cfs_inode_find(*state, cfs_gfid_make(5)));
}

static void the_last_user_of_an_unlinked_one_is_told(void **state)
{
    struct cfs_inode *i = looked_up(*state, 5, S_IFREG);
    struct cfs_gfid gfid = {0};

    cfs_inode_ref(i); /* an open handle */
    i->nlink = 0;
    assert_false(cfs_inode_forget(*state, i, 1, &gfid));
    assert_true(cfs_gfid_is_null(gfid)); /* untouched */
    assert_true(cfs_inode_unref(*state, i, &gfid));
    assert_gfid_equal(gfid, cfs_gfid_make(5));
    assert_int_equal(cfs_itable_count(*state), 1);
}

static void names_are_found_replaced_and_dropped(void **state)
{
    struct cfs_inode *root = cfs_itable_root(*state);
    struct cfs_inode *a = looked_up(*state, 5, S_IFREG);
    struct cfs_inode *b = looked_up(*state, 6, S_IFREG);

    assert_null(cfs_dentry_find(*state, root, cfs_test_name("x")));
    cfs_dentry_set(*state, root, cfs_test_name("x"), a);
    cfs_dentry_set(*state, root, cfs_test_name("xx"), b);
    assert_ptr_equal(cfs_dentry_find(*state, root, cfs_test_name("x")), a);
    cfs_dentry_set(*state, root, cfs_test_name("x"), b);
    assert_ptr_equal(cfs_dentry_find(*state, root, cfs_test_name("x")), b);
    assert_true(cfs_list_empty(&a->names));
    cfs_dentry_drop(*state, root, cfs_test_name("x"));
    cfs_dentry_drop(*state, root, cfs_test_name("x"));
    assert_null(cfs_dentry_find(*state, root, cfs_test_name("x")));
    assert_ptr_equal(cfs_dentry_find(*state, root, cfs_test_name("xx")), b);
}

static void the_same_name_in_two_directories_is_two(void **state)
{
    struct cfs_inode *d1 = looked_up(*state, 5, S_IFDIR);
    struct cfs_inode *d2 = looked_up(*state, 6, S_IFDIR);
    struct cfs_inode *f = looked_up(*state, 7, S_IFREG);

    cfs_dentry_set(*state, d1, cfs_test_name("x"), f);
    assert_null(cfs_dentry_find(*state, d2, cfs_test_name("x")));
    cfs_dentry_set(*state, d2, cfs_test_name("x"), f); /* a hard link */
    cfs_dentry_drop(*state, d1, cfs_test_name("x"));
    assert_ptr_equal(cfs_dentry_find(*state, d2, cfs_test_name("x")), f);
}

static void a_parent_is_one_that_has_a_name(void **state)
{
    struct cfs_inode *root = cfs_itable_root(*state);
    struct cfs_inode *d = looked_up(*state, 5, S_IFDIR);
    struct cfs_inode *f = looked_up(*state, 7, S_IFREG);

    assert_null(cfs_inode_parent(f));
    cfs_dentry_set(*state, d, cfs_test_name("x"), f);
    cfs_dentry_set(*state, root, cfs_test_name("y"), f);
    assert_ptr_equal(cfs_inode_parent(f), d);
    cfs_dentry_drop(*state, d, cfs_test_name("x"));
    assert_ptr_equal(cfs_inode_parent(f), root);
}

/* A directory that the kernel forgot stays for the names below it, and goes,
 * with all above it, when the last of them goes. */
static void directories_stay_for_the_names_below(void **state)
{
    struct cfs_inode *root = cfs_itable_root(*state);
    struct cfs_inode *a = looked_up(*state, 5, S_IFDIR);
    struct cfs_inode *b = looked_up(*state, 6, S_IFDIR);
    struct cfs_inode *f = looked_up(*state, 7, S_IFREG);
    struct cfs_gfid gfid;

    cfs_dentry_set(*state, root, cfs_test_name("a"), a);
    cfs_dentry_set(*state, a, cfs_test_name("b"), b);
    cfs_dentry_set(*state, b, cfs_test_name("f"), f);
    assert_false(cfs_inode_forget(*state, a, 1, &gfid));
    assert_false(cfs_inode_forget(*state, b, 1, &gfid));
    assert_int_equal(cfs_itable_count(*state), 4);
    assert_ptr_equal(cfs_dentry_find(*state, b, cfs_test_name("f")), f);
    assert_false(cfs_inode_forget(*state, f, 1, &gfid));
    assert_int_equal(cfs_itable_count(*state), 1);
    assert_null(cfs_dentry_find(*state, root, cfs_test_name("a")));
}

static void dropping_the_last_name_frees_what_it_kept(void **state)
{
    struct cfs_inode *root = cfs_itable_root(*state);
    struct cfs_inode *a = looked_up(*state, 5, S_IFDIR);
    struct cfs_inode *f = looked_up(*state, 7, S_IFREG);
    struct cfs_gfid gfid;

    cfs_dentry_set(*state, root, cfs_test_name("a"), a);
    cfs_dentry_set(*state, a, cfs_test_name("f"), f);
    assert_false(cfs_inode_forget(*state, a, 1, &gfid));
    cfs_dentry_drop(*state, a, cfs_test_name("f"));
    assert_null(cfs_inode_find(*state, cfs_gfid_make(5)));
    assert_ptr_equal(cfs_inode_find(*state, cfs_gfid_make(7)), f);
    assert_true(cfs_list_empty(&f->names));
}

/* A removed directory is not kept by stale names below it. */
static void an_unlinked_directory_goes_with_its_names(void **state)
{
    struct cfs_inode *a = looked_up(*state, 5, S_IFDIR);
    struct cfs_inode *f = looked_up(*state, 7, S_IFREG);
    struct cfs_gfid gfid;

    cfs_dentry_set(*state, a, cfs_test_name("f"), f);
    a->nlink = 0;
    assert_true(cfs_inode_forget(*state, a, 1, &gfid));
    assert_gfid_equal(gfid, cfs_gfid_make(5));
    assert_true(cfs_list_empty(&f->names));
}

/* A brick may claim anything. */
static void impossible_trees_do_no_harm(void **state)
{
    struct cfs_inode *a = looked_up(*state, 5, S_IFDIR);
    struct cfs_inode *b = looked_up(*state, 6, S_IFDIR);
    struct cfs_gfid gfid;

    cfs_dentry_set(*state, a, cfs_test_name("x"), b);
    cfs_dentry_set(*state, a, cfs_test_name("x"), a); /* itself: forgotten */
    assert_null(cfs_dentry_find(*state, a, cfs_test_name("x")));
    cfs_dentry_set(*state, a, cfs_test_name("x"), b);
    cfs_dentry_set(*state, b, cfs_test_name("y"), a); /* a circle */
    cfs_inode_forget(*state, a, 1, &gfid);
    cfs_inode_forget(*state, b, 1, &gfid);
    cfs_dentry_drop(*state, a, cfs_test_name("x"));
    assert_int_equal(cfs_itable_count(*state), 1);
}

/* Against a plain array, over growth and back. */
static void many_inodes_and_names(void **state)
{
    enum { N = 20000 };
    struct cfs_inode *root = cfs_itable_root(*state);
    static struct cfs_inode *all[N];
    struct cfs_gfid gfid;
    char name[32];

    for (unsigned i = 0; i < N; i++) {
        all[i] = looked_up(*state, i + 10, S_IFREG);
        snprintf(name, sizeof name, "file-%u", i);
        cfs_dentry_set(*state, root, cfs_test_name(name), all[i]);
    }
    assert_int_equal(cfs_itable_count(*state), N + 1);
    for (unsigned i = 0; i < N; i += 3)
        cfs_inode_forget(*state, all[i], 1, &gfid);
    for (unsigned i = 0; i < N; i++) {
        struct cfs_inode *want = i % 3 == 0 ? NULL : all[i];

        snprintf(name, sizeof name, "file-%u", i);
        assert_ptr_equal(cfs_inode_find(*state, cfs_gfid_make(i + 10)), want);
        assert_ptr_equal(cfs_dentry_find(*state, root, cfs_test_name(name)),
                         want);
    }
    assert_int_equal(cfs_itable_count(*state), N + 1 - (N + 2) / 3);
}

#define TABLE_TEST(f)                                                        \
    cmocka_unit_test_setup_teardown(f, open_table, close_table)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLE_TEST(the_root_is_always_there),
        TABLE_TEST(an_inode_is_there_once),
        TABLE_TEST(the_kernels_lookups_keep_it),
        TABLE_TEST(the_last_user_of_an_unlinked_one_is_told),
        TABLE_TEST(names_are_found_replaced_and_dropped),
        TABLE_TEST(the_same_name_in_two_directories_is_two),
        TABLE_TEST(a_parent_is_one_that_has_a_name),
        TABLE_TEST(directories_stay_for_the_names_below),
        TABLE_TEST(dropping_the_last_name_frees_what_it_kept),
        TABLE_TEST(an_unlinked_directory_goes_with_its_names),
        TABLE_TEST(impossible_trees_do_no_harm),
        TABLE_TEST(many_inodes_and_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
