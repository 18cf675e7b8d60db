/* SPDX-License-Identifier: Apache-2.0 */
/* test_fsck_calls.c - fsck.clusterfs as somebody calls it who is in trouble:
 * each way in which it cannot do what it is asked for has its words and its
 * exit status; lost superblocks are had back; free space is given back.
 */
#include "tests/unit/cfs_test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/commands.h"
#include "xlators/storage/block/engine/super.h"

#define MIB  ((off_t)1 << 20)
#define SIZE (40 * MIB)
#define LAST (SIZE - AREA_BLOCKS * CFS_BLOCK)

static char dir[64];

static void assert_run(const char *command, int status, const char *said)
{
    int rc = cmd("%s", command);

    if (rc != status || !strstr(output, said))
        fail_msg("%s: exit %d, said: %s", command, rc, output);
}

static void make(void)
{
    assert_run("rm -rf $D/*; mkfs.clusterfs --size 40M $D/brick", 0, "");
}

/* -- what cannot be checked ----------------------------------------------- */

static void what_is_no_brick_is_told(void **state)
{
    make();
    assert_run("fsck.clusterfs $D/none", 8, "No such file");
    assert_run("fsck.clusterfs --json $D/none 2>/dev/null", 8,
               "\"trouble\": ");
    assert_run("fsck.clusterfs $D", 8, "neither a block device nor a file");
    assert_run("fsck.clusterfs /dev/null", 8, "neither a block device");
    assert_run("mkfifo $D/fifo; timeout 20 fsck.clusterfs $D/fifo", 8,
               "neither a block device nor a file");
    assert_run(": > $D/empty; fsck.clusterfs $D/empty", 8,
               "there is no clusterfs store");
    assert_run("truncate -s 50M $D/zeros; fsck.clusterfs -y $D/zeros", 8,
               "there is no clusterfs store");
    assert_run("fsck.clusterfs --superblock -y $D/zeros", 8,
               "no whole superblock");
    assert_run("fsck.clusterfs --discard $D/zeros", 8,
               "there is no clusterfs store");
}

static void a_device_that_has_shrunk_is_told(void **state)
{
    static const char *const sizes[] = {"30M", "100K", "8K"};
    char line[200];

    make();
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(sizes); i++) {
        snprintf(line, sizeof line, "truncate -s %s $D/brick; fsck.clusterfs "
                 "$D/brick", sizes[i]);
        assert_run(line, 4, "it has shrunk; make it as large again");
    }
    make();
    assert_run("truncate -s 30M $D/brick; fsck.clusterfs -y $D/brick", 4,
               "it has shrunk");
    assert_run("fsck.clusterfs --superblock -y $D/brick", 4, "it has shrunk");
    assert_run("fsck.clusterfs --grow $D/brick", 4, "it has shrunk");
    assert_run("fsck.clusterfs --json $D/brick", 4, "\"clean\": false");
}

/* The same members, whatever came of it. */
static void json_that_tells_of_damage_is_whole(void **state)
{
    static const char *const members[] = {"clean", "incomplete", "errors",
                                          "findings", "gfid", "path",
                                          "known", "repair"};

    make();
    assert_int_equal(cmd("truncate -s 30M $D/brick"), 0);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(members); i++)
        assert_run("fsck.clusterfs --json $D/brick", 4, members[i]);
}

static void progress_wants_an_open_descriptor(void **state)
{
    make();
    assert_run("fsck.clusterfs -C x $D/brick", 16, "an open file descriptor");
    assert_run("fsck.clusterfs -C 9 $D/brick 9>&-", 16, "descriptor");
    assert_run("fsck.clusterfs -C 9 $D/brick 9>&1", 0, "1 1 1 ");
}

static void a_brick_in_use_is_left_alone(void **state)
{
    static const char *const calls[] = {"", "-y", "--grow", "--discard",
                                        "--superblock -y"};
    char line[200];
    int fd;

    make();
    snprintf(line, sizeof line, "%s/brick", dir);
    fd = open(line, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(calls); i++) {
        snprintf(line, sizeof line, "fsck.clusterfs %s $D/brick", calls[i]);
        assert_run(line, 8, "in use by another process; stop the volume");
    }
    close(fd);
    assert_run("fsck.clusterfs $D/brick", 0, "clean");
}

static void who_may_not_is_told(void **state)
{
    /* Not as another user: the way to the tools may be root's alone. */
    const char *as = geteuid() == 0
                         ? "setpriv --inh-caps=-all --bounding-set="
                           "-dac_override,-dac_read_search "
                         : "";
    char line[200];

    make();
    snprintf(line, sizeof line, "chmod 000 $D/brick; %sfsck.clusterfs "
             "$D/brick", as);
    assert_run(line, 8, "may not be opened for reading by this user");
    snprintf(line, sizeof line, "chmod 444 $D/brick; %sfsck.clusterfs "
             "$D/brick", as);
    assert_run(line, 0, "clean");
    snprintf(line, sizeof line, "%sfsck.clusterfs -y $D/brick", as);
    assert_run(line, 8, "may not be opened for writing by this user");
}

/* Where there are loop devices for us. */
static void a_read_only_device_is_checked_and_not_written(void **state)
{
    static const char *const calls[] = {"-y", "--grow", "--discard",
                                        "--superblock -y"};
    char line[200];

    make();
    if (cmd("losetup -f --show -r $D/brick > $D/loop") != 0)
        skip();
    assert_int_equal(cmd("fsck.clusterfs $(cat $D/loop)"), 0);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(calls); i++) {
        snprintf(line, sizeof line, "fsck.clusterfs %s $(cat $D/loop)",
                 calls[i]);
        if (cmd("%s", line) != 8 || !strstr(output, "is read-only"))
            print_error("%s: %s\n", line, output);
        assert_non_null(strstr(output, "is read-only"));
    }
    assert_int_equal(cmd("losetup -d $(cat $D/loop)"), 0);
}

/* A check that cannot end: it tells its progress to a pipe that is full. */
static void canceled(char *const argv[])
{
    int in[2], err[2], status;
    char text[256];
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    assert_int_equal(fcntl(in[1], F_SETFL, O_NONBLOCK), 0);
    while (write(in[1], output, 512) > 0)
        ;
    assert_int_equal(fcntl(in[1], F_SETFL, 0), 0);
    pid = fork();
    if (pid == 0) {
        dup2(in[1], 9);
        dup2(err[1], STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(err[1]);
    /* It waits as soon as it writes; only a little is made of that. */
    for (unsigned i = 0; i < 500; i++) {
        char path[64], wchan[64] = "";
        FILE *f;

        snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
        f = fopen(path, "r");
        if (f && fgets(wchan, sizeof wchan, f) && strstr(wchan, " 0x9 "))
            i = 500;
        if (f)
            fclose(f);
        usleep(10000);
    }
    assert_int_equal(kill(pid, SIGINT), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    n = read(err[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(err[0]);
    close(in[0]);
    close(in[1]);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 32)
        fail_msg("%s %s: status %x: %s", argv[0], argv[1], status, text);
    assert_non_null(strstr(text, "canceled; nothing was written"));
}

static void whoever_cancels_it_is_told_that_nothing_was_written(void **state)
{
    char brick[80];
    char *const check[] = {"fsck.clusterfs", "-C", "9", brick, NULL};
    char *const repair[] = {"fsck.clusterfs", "-y", "-C", "9", brick, NULL};
    char *const discard[] = {"fsck.clusterfs", "--discard", "-C", "9", brick,
                             NULL};

    make();
    snprintf(brick, sizeof brick, "%s/brick", dir);
    assert_int_equal(cmd("cp $D/brick $D/before"), 0);
    canceled(check);
    canceled(repair);
    canceled(discard);
    assert_run("cmp $D/brick $D/before && fsck.clusterfs $D/brick", 0,
               "clean");
}

/* -- superblocks ---------------------------------------------------------- */

static void overwrite(off_t at, size_t len, int byte)
{
    char path[80], *junk = malloc(len);
    int fd;

    assert_non_null(junk);
    memset(junk, byte, len);
    snprintf(path, sizeof path, "%s/brick", dir);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, junk, len, at), len);
    close(fd);
    free(junk);
}

/* Of three copies any one is enough; it is used only when that is asked for. */
static void a_superblock_is_had_back_from_any_copy(void **state)
{
    static const off_t at[] = {0, SUPER_SPARE * CFS_BLOCK, LAST};

    for (unsigned keep = 0; keep < 3; keep++) {
        make();
        for (unsigned i = 0; i < 3; i++)
            if (i != keep)
                overwrite(at[i], CFS_BLOCK, 0x5a);
        assert_int_equal(cmd("cp $D/brick $D/before"), 0);
        assert_int_equal(cmd("fsck.clusterfs $D/brick"), 4);
        assert_run("fsck.clusterfs --superblock -n $D/brick", 4,
                   "can be written anew");
        assert_run("fsck.clusterfs --superblock $D/brick </dev/null", 16,
                   "nobody to ask");
        assert_int_equal(cmd("cmp $D/brick $D/before"), 0);
        assert_run("fsck.clusterfs --superblock -y $D/brick", 1,
                   "is written anew");
        assert_run("fsck.clusterfs $D/brick", 0, "clean");
        assert_run("fsck.clusterfs --superblock -y --json $D/brick", 0,
                   "\"changed\": false");
    }
}

static void without_both_ends_it_says_what_may_help(void **state)
{
    make();
    overwrite(0, CFS_BLOCK, 0);
    overwrite(LAST, CFS_BLOCK, 0);
    assert_run("fsck.clusterfs $D/brick", 4, "--superblock writes them anew");
    assert_run("fsck.clusterfs -y $D/brick", 4, "--superblock");
    assert_run("mkfs.clusterfs --size 40M $D/brick", 1, "--force");
    make();
    overwrite(0, AREA_BLOCKS * CFS_BLOCK, 0);
    overwrite(LAST, CFS_BLOCK, 0);
    assert_run("fsck.clusterfs --superblock -y $D/brick", 8,
               "no whole superblock");
}

static void each_copy_that_is_lost_is_named(void **state)
{
    char first[100], last[100];

    make();
    overwrite(LAST, CFS_BLOCK, 0x5a);
    overwrite(SUPER_SPARE * CFS_BLOCK, CFS_BLOCK, 0);
    assert_run("fsck.clusterfs $D/brick", 4,
               "the superblock at the end is damaged\n"
               "the spare superblock is damaged\n");
    assert_run("fsck.clusterfs $D/brick", 4, "2 errors left uncorrected");
    assert_run("fsck.clusterfs -n --repair $D/brick", 4,
               "2 errors left uncorrected");
    snprintf(first, sizeof first, "copies     at block 0 whole, at block %u "
             "damaged, at block 63 damaged\n", (unsigned)(LAST / CFS_BLOCK));
    assert_run("debugfs.clusterfs super $D/brick", 0, first);
    assert_run("fsck.clusterfs -p $D/brick", 1, "2 errors corrected");
    snprintf(last, sizeof last, "copies     at block 0 whole, at block %u "
             "whole, at block 63 whole\n", (unsigned)(LAST / CFS_BLOCK));
    assert_run("debugfs.clusterfs super $D/brick", 0, last);
}

/* Over whatever is there: not what -p may do. */
static void a_superblock_is_not_written_without_a_word(void **state)
{
    make();
    overwrite(0, CFS_BLOCK, 0x5a);
    assert_run("fsck.clusterfs --superblock -p $D/brick", 16, "-y or -n");
    assert_run("fsck.clusterfs --superblock -n $D/brick", 4,
               "can be written anew");
}

/* No file may become longer: nothing can be written to the second half. */
static void a_repair_that_cannot_be_written_says_so(void **state)
{
    static const char no_room[] =
        "bash -c 'trap \"\" XFSZ; ulimit -f 20480; fsck.clusterfs -y %s"
        "$D/brick' 2>&1";
    char line[200];

    make();
    overwrite(0, CFS_BLOCK, 0);
    snprintf(line, sizeof line, no_room, "");
    assert_run(line, 8, "the brick is as it was, or repaired as a whole");
    assert_run(line, 8, "1 error left uncorrected");
    snprintf(line, sizeof line, no_room, "--json ");
    assert_run(line, 8, "\"clean\": false");
    assert_run(line, 8, "\"written\": false");
    assert_run("fsck.clusterfs -y $D/brick", 1, "1 error corrected");
}

/* A partition table, as made by mistake: both ends lose what it writes. */
static void a_partition_table_over_it_costs_nothing(void **state)
{
    make();
    overwrite(0, 34 * 512, 0x11);
    overwrite(SIZE - 33 * 512, 33 * 512, 0x11);
    assert_run("fsck.clusterfs -y $D/brick", 4, "fsck.clusterfs --superblock");
    assert_run("fsck.clusterfs --superblock -y $D/brick", 1, "at the start");
    assert_run("fsck.clusterfs $D/brick", 0, "clean");
}

/* One that proves itself by no record is not believed. */
static void a_superblock_of_another_store_is_not_taken(void **state)
{
    make();
    assert_int_equal(cmd("cp $D/brick $D/old; mkfs.clusterfs --force --size "
                         "40M $D/brick; dd if=$D/old of=$D/brick bs=4096 "
                         "count=1 skip=63 seek=63 conv=notrunc"), 0);
    assert_run("fsck.clusterfs $D/brick", 4, "superblock is damaged");
    overwrite(0, CFS_BLOCK, 0);
    overwrite(LAST, CFS_BLOCK, 0);
    assert_run("fsck.clusterfs --superblock -y $D/brick", 4,
               "there is no whole checkpoint record");
}

/* -- free space ----------------------------------------------------------- */

static uint64_t allocated(void)
{
    char path[80];
    struct stat st;

    snprintf(path, sizeof path, "%s/brick", dir);
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void free_space_is_given_back_when_nothing_is_wrong(void **state)
{
    uint64_t all;

    make();
    all = allocated();
    assert_true(all >= (uint64_t)SIZE);
    assert_run("fsck.clusterfs --discard -n $D/brick", 0,
               "of free space can be given back");
    assert_int_equal(allocated(), all);
    assert_run("fsck.clusterfs --discard --json $D/brick", 0,
               "\"discarded_bytes\": 3");
    assert_true(allocated() < all / 4);
    assert_run("fsck.clusterfs $D/brick", 0, "clean");
    assert_run("fsck.clusterfs --discard --repair -y $D/brick", 16,
               "one at a time");
    make();
    overwrite(LAST, CFS_BLOCK, 0);
    assert_run("fsck.clusterfs --discard $D/brick", 4,
               "not given back while something is wrong");
    assert_true(allocated() >= (uint64_t)SIZE);
}

static int set_up(void **state)
{
    cfs_test_dir(dir, "fsck");
    commands_in(dir, TOOLS);
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int clean_up(void **state)
{
    return cmd("rm -rf -- \"$D\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_brick_is_told),
        cmocka_unit_test(a_device_that_has_shrunk_is_told),
        cmocka_unit_test(json_that_tells_of_damage_is_whole),
        cmocka_unit_test(progress_wants_an_open_descriptor),
        cmocka_unit_test(a_brick_in_use_is_left_alone),
        cmocka_unit_test(who_may_not_is_told),
        cmocka_unit_test(a_read_only_device_is_checked_and_not_written),
        cmocka_unit_test(whoever_cancels_it_is_told_that_nothing_was_written),
        cmocka_unit_test(a_superblock_is_had_back_from_any_copy),
        cmocka_unit_test(without_both_ends_it_says_what_may_help),
        cmocka_unit_test(each_copy_that_is_lost_is_named),
        cmocka_unit_test(a_superblock_is_not_written_without_a_word),
        cmocka_unit_test(a_repair_that_cannot_be_written_says_so),
        cmocka_unit_test(a_partition_table_over_it_costs_nothing),
        cmocka_unit_test(a_superblock_of_another_store_is_not_taken),
        cmocka_unit_test(free_space_is_given_back_when_nothing_is_wrong),
    };

    return cmocka_run_group_tests(tests, set_up, clean_up);
}
