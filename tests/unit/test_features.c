/* SPDX-License-Identifier: Apache-2.0 */
/* test_features.c - a brick with a feature that this version does not know,
 * as each program that meets it has to treat it (docs/store.md): a compatible
 * one is ignored, and kept; with a read-compatible one it may be read and not
 * written; with an incompatible one, or another format, it is left alone.
 */
#include "tests/unit/cfs_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/commands.h"
#include "xlators/storage/block/engine/super.h"

#define SIZE ((off_t)40 << 20)
#define BIT  (UINT64_C(1) << 63) /* none that is ever given early */

static char dir[64];

/* -- the brick ------------------------------------------------------------ */

enum kind { COMPAT, RO_COMPAT, INCOMPAT, VERSION };

static void mark(enum kind kind)
{
    static const off_t at[] = {0, SUPER_SPARE * CFS_BLOCK,
                               SIZE - AREA_BLOCKS * CFS_BLOCK};
    struct fmt_super *sb = malloc(sizeof *sb);
    char path[80];
    int fd;

    snprintf(path, sizeof path, "%s/brick", dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pread(fd, sb, sizeof *sb, at[i]), sizeof *sb);
        sb->compat |= kind == COMPAT ? BIT : 0;
        sb->ro_compat |= kind == RO_COMPAT ? BIT : 0;
        sb->incompat |= kind == INCOMPAT ? BIT : 0;
        sb->version += kind == VERSION;
        sb->sum = super_sum(sb);
        assert_int_equal(pwrite(fd, sb, sizeof *sb, at[i]), sizeof *sb);
    }
    close(fd);
    free(sb);
}

static void make(enum kind kind)
{
    assert_int_equal(cmd("rm -rf $D/*; mkfs.clusterfs --size 40M $D/brick"),
                     0);
    mark(kind);
    assert_int_equal(cmd("cp $D/brick $D/before"), 0);
}

/* brickd until it serves, or ends by itself; its exit status. */
static int serve(void)
{
    return cmd("cd $D; printf 'volume b\\n type storage/block\\n option device "
               "%%s\\nend-volume\\nvolume s\\n type protocol/server\\n option "
               "brick-id ab000000-0000-0000-0000-000000000002\\n option "
               "listen-path %%s\\n subvolumes b\\nend-volume\\n' "
               "$D/brick $D/sock > vol; clusterfs-brickd --no-daemon --run-dir "
               "$D --state-dir $D --log-dir $D --log-file $D/log --volfile "
               "$D/vol & p=$!; for i in $(seq 200); do "
               "grep -q ' serving;' log 2>/dev/null && break; "
               "kill -0 $p 2>/dev/null || break; sleep 0.05; done; "
               "kill $p 2>/dev/null; wait $p; s=$?; cat log; exit $s");
}

static void assert_untouched(void)
{
    assert_int_equal(cmd("cmp $D/brick $D/before"), 0);
}

/* -- the kinds ------------------------------------------------------------ */

static void a_compatible_feature_is_ignored_and_kept(void **state)
{
    make(COMPAT);
    assert_int_equal(cmd("fsck.clusterfs $D/brick"), 0);
    assert_int_equal(cmd("debugfs.clusterfs tree $D/brick"), 0);
    assert_untouched();
    assert_int_equal(serve(), 0);
    assert_said("serving");
    assert_int_equal(cmd("fsck.clusterfs $D/brick"), 0);
    assert_int_equal(cmd("debugfs.clusterfs super $D/brick"), 0);
    assert_said("8000000000000000");
    assert_int_equal(cmd("truncate -s 100M $D/brick && fsck.clusterfs --grow "
                         "$D/brick"), 0);
    assert_int_equal(cmd("debugfs.clusterfs super $D/brick"), 0);
    assert_said("8000000000000000");
}

static void with_a_read_compatible_one_it_is_read_only(void **state)
{
    make(RO_COMPAT);
    assert_int_equal(cmd("fsck.clusterfs $D/brick"), 0);
    assert_int_equal(cmd("debugfs.clusterfs super $D/brick"), 0);
    assert_said("8000000000000000");
    assert_int_equal(cmd("debugfs.clusterfs tree $D/brick"), 0);
    assert_int_equal(serve(), 1);
    assert_said("with which this program can only read it");
    assert_untouched();
    assert_int_equal(cmd("truncate -s 100M $D/brick $D/before && "
                         "fsck.clusterfs --grow $D/brick"), 8);
    assert_said("can only read it");
    assert_untouched();
}

static void with_an_incompatible_one_it_is_left_alone(void **state)
{
    static const char *const says[] = {
        [INCOMPAT] = "features that this program does not know",
        [VERSION] = "format version 2"};

    for (unsigned kind = INCOMPAT; kind <= VERSION; kind++) {
        make((enum kind)kind);
        assert_int_equal(cmd("fsck.clusterfs $D/brick"), 8);
        assert_said(says[kind]);
        assert_int_not_equal(cmd("debugfs.clusterfs tree $D/brick"), 0);
        assert_said(says[kind]);
        assert_int_equal(serve(), 1);
        assert_said(says[kind]);
        assert_int_equal(cmd("truncate -s 100M $D/brick $D/before && "
                             "fsck.clusterfs --grow $D/brick"), 8);
        assert_untouched();
        assert_int_not_equal(cmd("mkfs.clusterfs $D/brick"), 0);
        assert_said("--force");
        assert_untouched();
        assert_int_equal(cmd("mkfs.clusterfs --force $D/brick"), 0);
        assert_int_equal(cmd("fsck.clusterfs $D/brick"), 0);
    }
}

static void mkfs_makes_none(void **state)
{
    assert_int_equal(cmd("rm -rf $D/*; mkfs.clusterfs --size 40M $D/brick"),
                     0);
    assert_int_equal(cmd("debugfs.clusterfs super $D/brick"), 0);
    assert_said("incompatible 0");
}

static int set_up(void **state)
{
    cfs_test_dir(dir, "features");
    commands_in(dir, TOOLS);
    setenv("CLUSTERFS_XLATOR_DIR", XLATORS, 1);
    setenv("CLUSTERFS_CONFIG_DIR", dir, 1);
    setenv("CLUSTERFS_STATE_DIR", dir, 1);
    setenv("CLUSTERFS_RUN_DIR", dir, 1);
    setenv("CLUSTERFS_LOG_DIR", dir, 1);
    return 0;
}

static int clean_up(void **state)
{
    return cmd("rm -rf -- \"$D\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_compatible_feature_is_ignored_and_kept),
        cmocka_unit_test(with_a_read_compatible_one_it_is_read_only),
        cmocka_unit_test(with_an_incompatible_one_it_is_left_alone),
        cmocka_unit_test(mkfs_makes_none),
    };

    return cmocka_run_group_tests(tests, set_up, clean_up);
}
