/* SPDX-License-Identifier: Apache-2.0 */
/* test_tools.c - mkfs, fsck and debugfs as they are called: what they make and
 * refuse, what they print, how they exit. */
#include "tests/unit/commands.h"
#include "tests/unit/fsck_world.h"
#include "xlators/storage/block/engine/beat.h"
#include "xlators/storage/block/engine/super.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

static char dir[64];

static bool is_there(const char *name)
{
    char path[256];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return stat(path, &st) == 0;
}

static int open_file(const char *name, int flags)
{
    char path[256];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, flags, 0600);
    assert_true(fd >= 0);
    return fd;
}

/* -- mkfs ----------------------------------------------------------------- */

static void mkfs_makes_a_brick_in_a_new_file(void **state)
{
    struct stat st;
    int fd;

    assert_int_equal(cmd("mkfs.clusterfs --size 64M --label 'a brick' "
                         "--brick-id 00112233-4455-6677-8899-aabbccddeeff "
                         "$D/new"), 0);
    assert_said("brick 00112233-4455-6677-8899-aabbccddeeff");
    assert_int_equal(cmd("fsck.clusterfs $D/new"), 0);
    assert_said("00112233-4455-6677-8899-aabbccddeeff, a brick");
    assert_said("1 directories");
    fd = open_file("new", O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    close(fd);
    assert_true((uint64_t)st.st_size == 64 * MIB);
    assert_true((uint64_t)st.st_blocks * 512 >= 64 * MIB);

    assert_int_equal(cmd("mkfs.clusterfs --size 64M --sparse --json $D/holes"),
                     0);
    assert_said("\"created\": true");
    fd = open_file("holes", O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    close(fd);
    assert_true((uint64_t)st.st_blocks * 512 < 32 * MIB);
}

static void mkfs_leaves_nothing_when_it_fails(void **state)
{
    assert_int_equal(cmd("mkfs.clusterfs --size 1M $D/tiny"), 1);
    assert_said("too few");
    assert_false(is_there("tiny"));
    assert_int_equal(cmd("mkfs.clusterfs $D/nowhere"), 1);
    assert_said("--size");
    assert_false(is_there("nowhere"));
    close(open_file("empty", O_CREAT | O_WRONLY));
    assert_int_equal(cmd("mkfs.clusterfs --size 1M $D/empty"), 1);
    assert_int_equal(cmd("stat -c %%s $D/empty"), 0);
    assert_string_equal(output, "0\n");
}

static void mkfs_refuses_wrong_usage(void **state)
{
    assert_int_equal(cmd("mkfs.clusterfs"), 2);
    assert_int_equal(cmd("mkfs.clusterfs --size lots $D/x"), 2);
    assert_int_equal(cmd("mkfs.clusterfs --size 64M --time then $D/x"), 2);
    assert_int_equal(cmd("mkfs.clusterfs --size 64M --brick-id 7 $D/x"), 2);
    assert_int_equal(cmd("mkfs.clusterfs --size 64M --label \"$(printf "
                         "'%%064d' 1)\" $D/x"), 2);
    assert_int_equal(cmd("mkfs.clusterfs --size 64M $D"), 1);
    assert_said("is a directory");
    assert_false(is_there("x"));
}

/* A signature as mkswap writes it. */
static void sign_as_swap(const char *name)
{
    const uint32_t head[] = {1, 1000}; /* version, last page */
    int fd = open_file(name, O_CREAT | O_RDWR);

    assert_int_equal(ftruncate(fd, 64 << 20), 0);
    assert_int_equal(pwrite(fd, head, sizeof head, 1024), sizeof head);
    assert_int_equal(pwrite(fd, "SWAPSPACE2", 10, 4086), 10);
    close(fd);
}

static void mkfs_overwrites_only_what_it_is_told_to(void **state)
{
    char sign[10];
    int fd;

    sign_as_swap("swap");
    assert_int_equal(cmd("mkfs.clusterfs $D/swap"), 1);
    assert_said("holds swap");
    assert_said("--force");
    fd = open_file("swap", O_RDONLY);
    assert_int_equal(pread(fd, sign, 10, 4086), 10);
    assert_memory_equal(sign, "SWAPSPACE2", 10);
    assert_int_equal(cmd("mkfs.clusterfs --force --label one $D/swap"), 0);
    assert_said("wiped swap");
    assert_int_equal(pread(fd, sign, 10, 4086), 10);
    assert_memory_not_equal(sign, "SWAPSPACE2", 10);
    close(fd);

    assert_int_equal(cmd("mkfs.clusterfs $D/swap"), 1);
    assert_said("a clusterfs brick");
    assert_said("label one");
    assert_int_equal(cmd("fsck.clusterfs $D/swap"), 0);
    assert_int_equal(cmd("mkfs.clusterfs --force $D/swap"), 0);
}

static void nobody_touches_a_brick_in_use(void **state)
{
    int fd;

    assert_int_equal(cmd("mkfs.clusterfs --size 64M --sparse $D/used"), 0);
    fd = open_file("used", O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(cmd("mkfs.clusterfs --force $D/used"), 1);
    assert_said("in use");
    assert_int_equal(cmd("fsck.clusterfs $D/used"), 8);
    assert_said("in use");
    assert_int_equal(cmd("debugfs.clusterfs tree $D/used"), 1);
    assert_said("--live");
    assert_int_equal(cmd("debugfs.clusterfs --live tree $D/used"), 0);
    assert_said("/ dir ");
    assert_int_equal(cmd("debugfs.clusterfs --live super $D/used"), 0);
    close(fd);
    assert_int_equal(cmd("debugfs.clusterfs tree $D/used"), 0);
}

static void replicas_made_alike_have_the_same_tree(void **state)
{
    assert_int_equal(cmd("mkfs.clusterfs --size 64M --sparse --time 1000.5 "
                         "$D/a && "
                         "mkfs.clusterfs --size 96M --sparse --time 1000.5 "
                         "$D/b && "
                         "mkfs.clusterfs --size 96M --sparse --time 1001 "
                         "$D/c"), 0);
    assert_int_equal(cmd("debugfs.clusterfs tree $D/a >$D/a.tree && "
                         "debugfs.clusterfs tree $D/b >$D/b.tree && "
                         "debugfs.clusterfs tree $D/c >$D/c.tree"), 0);
    assert_int_equal(cmd("cat $D/a.tree"), 0);
    assert_said("mtime=1000.500000000");
    assert_int_equal(cmd("cmp $D/a.tree $D/b.tree"), 0);
    assert_int_equal(cmd("cmp $D/a.tree $D/c.tree"), 1);
}

/* -- on a brick with everything in it ------------------------------------- */

/* What lies on @dev, as a file. */
static void save(struct cfs_dev *dev, const char *name)
{
    const size_t step = 1u << 20;
    int fd = open_file(name, O_CREAT | O_TRUNC | O_RDWR);
    uint8_t *buf = aligned_alloc(4096, step);

    assert_int_equal(ftruncate(fd, (off_t)dev->size), 0);
    for (uint64_t at = 0; at < dev->size; at += step) {
        assert_int_equal(dev->ops->read(dev, CFS_DEV_BUFFERED, at, buf, step),
                         0);
        if (buf[0] == 0 && memcmp(buf, buf + 1, step - 1) == 0)
            continue;
        assert_int_equal(pwrite(fd, buf, step, (off_t)at), step);
    }
    free(buf);
    close(fd);
}

static void save_world(const char *killed, const char *stopped)
{
    struct world w;

    world_open(&w);
    fix_kill(&w.f);
    save(w.f.dev, killed);
    assert_int_equal(fix_start(&w.f), 0);
    world_stop(&w);
    save(w.f.dev, stopped);
    fix_close(&w.f);
}

static void a_tree_is_told_alike_with_its_journal_and_without(void **state)
{
    save_world("killed", "stopped");
    assert_int_equal(cmd("fsck.clusterfs $D/killed"), 0);
    assert_int_equal(cmd("fsck.clusterfs $D/stopped"), 0);
    assert_int_equal(cmd("debugfs.clusterfs journal $D/killed"), 0);
    assert_said("create epoch 1 session 1 change 1 now ");
    assert_int_equal(cmd("debugfs.clusterfs journal $D/stopped"), 0);
    assert_string_equal(output, "");
    assert_int_equal(cmd("debugfs.clusterfs tree $D/killed >$D/k.tree"), 0);
    assert_int_equal(cmd("debugfs.clusterfs tree $D/stopped >$D/s.tree"), 0);
    assert_int_equal(cmd("cmp $D/k.tree $D/s.tree"), 0);
    assert_int_equal(cmd("debugfs.clusterfs --checkpoint tree $D/killed"), 0);
    assert_non_null(strstr(output, "/ dir "));
    assert_null(strstr(output, "/dir "));
}

static void a_tree_has_a_line_for_each_object(void **state)
{
    save_world("killed", "stopped");
    assert_int_equal(cmd("debugfs.clusterfs tree $D/stopped"), 0);
    assert_said("\n/dir dir mode=0755 ");
    assert_said("\n/dir/linked file mode=0600 uid=1000 gid=1001 nlink=2 ");
    assert_said("\n/dir/sub/second file ");
    assert_said("\n/link symlink ");
    assert_said(" target=dir/big\n");
    assert_said("\n/other/device char ");
    assert_said("\n/other/fifo fifo ");
    assert_said("\n/other/with\\x0anewline\\x20\\x5c\\x20and\\x20blank file ");
    assert_said(" xattr:user.empty= xattr:user.long=\\x01\\x02\\x03\\x00");
    assert_said("\n(unlinked) file ");
    assert_null(strstr(output, "unreadable"));
    assert_true(strstr(output, "\n/dir/big ") < strstr(output, "\n/dir/sub "));
    assert_true(strstr(output, "\n/dir/sub/second ") <
                strstr(output, "\n/link "));
}

static void the_content_of_files_is_told_by_its_bytes(void **state)
{
    struct cfs_gfid g;
    struct world w;
    char sparse[33];

    world_open(&w);
    assert_int_equal(fix_create(&w.f, cfs_gfid_root, "x1", S_IFREG | 0600,
                                &g), 0);
    assert_int_equal(fix_write(&w.f, g, 300000, "end", 3), 0);
    assert_int_equal(fix_create(&w.f, cfs_gfid_root, "x2", S_IFREG | 0600,
                                &g), 0);
    assert_int_equal(fix_fallocate(&w.f, g, 0, 0, 300003), 0);
    assert_int_equal(fix_write(&w.f, g, 5000, "\0\0\0", 3), 0);
    assert_int_equal(fix_write(&w.f, g, 300000, "end", 3), 0);
    assert_int_equal(fix_create(&w.f, cfs_gfid_root, "x3", S_IFREG | 0600,
                                &g), 0);
    assert_int_equal(fix_write(&w.f, g, 300000, "enD", 3), 0);
    world_stop(&w);
    save(w.f.dev, "content");
    fix_close(&w.f);
    assert_int_equal(cmd("debugfs.clusterfs tree $D/content | "
                         "sed -n 's/^.x1 .*content=//p'"), 0);
    assert_int_equal(strlen(output), 33);
    memcpy(sparse, output, sizeof sparse);
    assert_int_equal(cmd("debugfs.clusterfs tree $D/content | "
                         "sed -n 's/^.x2 .*content=//p'"), 0);
    assert_memory_equal(output, sparse, sizeof sparse);
    assert_int_equal(cmd("debugfs.clusterfs tree $D/content | "
                         "sed -n 's/^.x3 .*content=//p'"), 0);
    assert_memory_not_equal(output, sparse, sizeof sparse);
}

static void every_record_has_its_words(void **state)
{
    save_world("killed", "stopped");
    assert_int_equal(cmd("debugfs.clusterfs dump $D/stopped >$D/dump"), 0);
    assert_int_equal(cmd("grep -E 'damaged|unknown' $D/dump"), 1);
    assert_int_equal(cmd("cut -d' ' -f1 $D/dump | sort -u | tr '\\n' ' '"),
                     0);
    assert_string_equal(output,
                        "answer brick: chunk cookie dirty entry inode oplog "
                        "orphan session small tombstone view xattr ");
    assert_int_equal(cmd("debugfs.clusterfs dump $D/stopped session"), 0);
    assert_said("session 1: live node here service mount pid 42 ");
    assert_int_equal(cmd("debugfs.clusterfs sessions $D/stopped"), 0);
    assert_said("session 1: live");
    assert_int_equal(cmd("debugfs.clusterfs views $D/stopped"), 0);
    assert_said("view lineage 1 epoch 1: set ");
    assert_int_equal(cmd("debugfs.clusterfs dirty $D/stopped"), 0);
    assert_said(": by session 1 since ");
    assert_said("oplog session 1 change 1: create epoch 1 ");
    assert_int_equal(cmd("debugfs.clusterfs stat $D/stopped /dir/big"), 0);
    assert_said(": file mode 0644 ");
    assert_said("\nchunk ");
    assert_said("\nxattr ");
    assert_said("\ncontent ");
    assert_int_equal(cmd("debugfs.clusterfs stat $D/stopped '/other/with"
                         "\\x0anewline\\x20\\x5c\\x20and\\x20blank'"), 0);
    assert_said("nlink 2 ");
    assert_int_equal(cmd("debugfs.clusterfs stat $D/stopped /dir/none"), 1);
    assert_said("/dir/none: ");
}

/* -- heartbeats ----------------------------------------------------------- */

static void put_slot(unsigned slot, const struct beat *b, bool bad)
{
    struct fmt_beat *block = aligned_alloc(CFS_BLOCK, sizeof *block);
    struct iovec iov = {block, CFS_BLOCK};
    struct fmt_super sb;
    struct cfs_dev *dev;
    char path[80];

    snprintf(path, sizeof path, "%s/beats", dir);
    assert_non_null(block);
    assert_int_equal(cfs_dev_open(path, 0, &dev, NULL), 0);
    assert_int_equal(super_read(dev, true, &sb, NULL), 0);
    beat_pack(&sb, slot, b, block);
    if (bad)
        block->name[0] = 'W';
    assert_int_equal(dev->ops->write(dev, CFS_DEV_BUFFERED,
                                     (sb.hb_lba + slot) * CFS_BLOCK, &iov, 1,
                                     CFS_BLOCK), 0);
    dev->ops->close(dev);
    free(block);
}

static void heartbeats_have_their_words(void **state)
{
    struct beat b = {.session = 7, .node = 2, .name = "web 1",
                     .service = "mount", .generation = 0xfeed, .seq = 1000,
                     .time = 1700000000000000005, .dead_ms = 12000};

    assert_int_equal(cmd("mkfs.clusterfs --size 40M $D/beats"), 0);
    assert_int_equal(cmd("debugfs.clusterfs heartbeat $D/beats"), 0);
    assert_said("0 of 64 slots used");
    put_slot(0, &b, false);
    b.generation = 0;
    put_slot(5, &b, false);
    put_slot(63, &b, true);
    assert_int_equal(cmd("debugfs.clusterfs heartbeat $D/beats"), 0);
    assert_said("slot 0: session 7 node 2 web\\x201 service mount generation "
                "feed sequence 1000 time 1700000000.000000005 dead after "
                "12000 ms\n");
    assert_said("slot 5: session 7 node 2 web\\x201 service mount left "
                "sequence 1000 ");
    assert_said("slot 63: damaged, or torn\n");
    assert_said("3 of 64 slots used");
    /* Damage there is nothing that fsck would mend. */
    assert_int_equal(cmd("fsck.clusterfs $D/beats"), 0);
}

static void fsck_says_by_its_exit_what_it_found(void **state)
{
    struct world w;
    struct eng *e;
    struct rec_chunk c;

    assert_int_equal(cmd("fsck.clusterfs"), 16);
    assert_int_equal(cmd("fsck.clusterfs --repair $D/x </dev/null"), 16);
    assert_said("nobody to ask");
    assert_int_equal(cmd("fsck.clusterfs -n -y $D/x"), 16);
    assert_int_equal(cmd("fsck.clusterfs -y --grow $D/x"), 16);
    assert_int_equal(cmd("fsck.clusterfs $D/not-there"), 8);
    assert_int_equal(cmd("dd if=/dev/zero of=$D/zeros bs=1M count=64"), 0);
    assert_int_equal(cmd("fsck.clusterfs $D/zeros"), 8);
    assert_said("no clusterfs store");

    world_open(&w);
    world_stop(&w);
    e = world_open_bare(&w, true);
    c = fix_chunk(e, w.big, 0);
    world_close_bare(&w, e);
    damage_flip(&w, c.lba[5], 99);
    save(w.f.dev, "flipped");
    fix_close(&w.f);
    assert_int_equal(cmd("fsck.clusterfs $D/flipped"), 4);
    assert_said("/dir/big (inode ");
    assert_said("block 5 of it, at ");
    assert_said("1 error left uncorrected");
    assert_int_equal(cmd("fsck.clusterfs --json $D/flipped"), 4);
    assert_said("\"kind\": \"checksum\"");
    assert_said("\"path\": \"/dir/big\"");
    assert_int_equal(cmd("fsck.clusterfs --no-data $D/flipped"), 0);
    assert_int_equal(cmd("debugfs.clusterfs tree $D/flipped"), 1);
    assert_said("unreadable: ");
}

/* The path of a repair: told, refused, done, and nothing is left. */
static void fsck_repairs_what_it_is_told_to(void **state)
{
    assert_int_equal(cmd("fsck.clusterfs --repair -n $D/flipped"), 4);
    assert_said("block 5 of it, at ");
    assert_said("1 error left uncorrected");
    assert_said("All of it can be corrected, but for what is lost");
    assert_int_equal(cmd("fsck.clusterfs -p $D/flipped"), 4);
    assert_said("something is lost: run it with --repair");
    assert_int_equal(cmd("fsck.clusterfs -y -C 1 --json $D/flipped"), 1);
    assert_said("\"lost_files\": 1");
    assert_said("\"written\": true");
    assert_said("0 0 "); /* of the progress */
    assert_int_equal(cmd("fsck.clusterfs $D/flipped"), 0);
    assert_said("known: /dir/big");
    assert_said("1 file could not be saved as a whole in a repair");
    assert_int_equal(cmd("fsck.clusterfs -y $D/flipped"), 0);
    assert_said("clean");

    /* A lost superblock loses nothing. */
    assert_int_equal(cmd("dd if=/dev/zero of=$D/flipped bs=4096 count=1 "
                         "conv=notrunc"), 0);
    assert_int_equal(cmd("fsck.clusterfs $D/flipped"), 4);
    assert_said("the superblock at the start is damaged");
    assert_int_equal(cmd("fsck.clusterfs -p $D/flipped"), 1);
    assert_int_equal(cmd("fsck.clusterfs $D/flipped"), 0);
    assert_int_equal(cmd("fsck.clusterfs -y $D/zeros"), 8);
}

/* A session's record is read at every start: damaged, it keeps the brick from
 * being opened, but not fsck from looking at the rest. */
static void fsck_looks_at_what_cannot_be_opened(void **state)
{
    struct rec_key k;
    struct world w;
    struct eng *e;

    world_open(&w);
    world_stop(&w);
    e = world_open_bare(&w, false);
    rec_key_session(&k, 1);
    assert_int_equal(eng_touch(e, rec_key_blob(&k)), 0);
    assert_int_equal(eng_begin(e, 1, 100, 100, 0), 0);
    eng_put(e, rec_key_blob(&k), (struct cfs_blob){"?", 1});
    world_close_bare(&w, e);
    save(w.f.dev, "unopened");
    fix_close(&w.f);
    assert_int_equal(cmd("fsck.clusterfs $D/unopened"), 4);
    assert_said("the record of session 1 is damaged");
    assert_said("2 errors left uncorrected");
    assert_int_equal(cmd("cp $D/unopened $D/unopened2"), 0);
    assert_int_equal(cmd("fsck.clusterfs -y $D/unopened2"), 1);
    assert_said("the checkpoint before the newest, and the journal, have all");
    assert_int_equal(cmd("fsck.clusterfs $D/unopened2"), 0);
    assert_int_equal(cmd("debugfs.clusterfs tree $D/unopened"), 1);
    assert_said("--checkpoint");
    assert_int_equal(cmd("debugfs.clusterfs --checkpoint tree $D/unopened"),
                     0);
}

/* Its first record is lost, and a later one knows that it was durable. */
static void fsck_looks_behind_a_damaged_journal(void **state)
{
    struct world w;

    world_open(&w);
    fix_kill(&w.f);
    save(w.f.dev, "journal");
    fix_close(&w.f);
    assert_int_equal(cmd("fsck.clusterfs $D/journal"), 0);
    assert_int_equal(cmd("at=$(debugfs.clusterfs super $D/journal | "
                         "sed -n 's/.*(byte \\([0-9]*\\).*/\\1/p' | "
                         "sort -n | tail -n 1); printf x | dd of=$D/journal "
                         "bs=1 seek=$((at + 70)) conv=notrunc"), 0);
    assert_int_equal(cmd("debugfs.clusterfs tree $D/journal"), 1);
    assert_said("a later record knows that more was durable; --checkpoint");
    assert_int_equal(cmd("debugfs.clusterfs --checkpoint tree $D/journal"),
                     0);
    assert_said("/ dir ");
    assert_int_equal(cmd("fsck.clusterfs $D/journal"), 4);
    assert_said("the newest checkpoint, without the journal");
    assert_said("1 error left uncorrected");
    assert_int_equal(cmd("fsck.clusterfs -p $D/journal"), 4);
    assert_int_equal(cmd("fsck.clusterfs -y $D/journal"), 1);
    assert_said("the journal is given up");
    assert_said("it is no copy of the volume's other bricks");
    assert_int_equal(cmd("fsck.clusterfs $D/journal"), 0);
}

static int make_dir(void **state)
{
    cfs_test_dir(dir, "tools");
    commands_in(dir, TOOLS);
    return 0;
}

static int remove_dir(void **state)
{
    return cmd("rm -rf -- \"$D\"");
}

/* -- growth --------------------------------------------------------------- */

static void fsck_grows_a_brick_with_its_file(void **state)
{
    assert_int_equal(cmd("mkfs.clusterfs --size 40M $D/growing"), 0);
    assert_int_equal(cmd("fsck.clusterfs --grow $D/growing"), 0);
    assert_said("40.0 MiB, as large as its device");
    assert_int_equal(cmd("truncate -s 100M $D/growing"), 0);
    assert_int_equal(cmd("fsck.clusterfs --grow -n $D/growing"), 0);
    assert_said("would grow from 40.0 MiB to 100.0 MiB");
    assert_int_equal(cmd("fsck.clusterfs --grow --json $D/growing"), 0);
    assert_said("\"before\": 41943040");
    assert_said("\"after\": 104857600");
    assert_said("\"changed\": true");
    assert_int_equal(cmd("fsck.clusterfs $D/growing"), 0);
    assert_said(" of 95.7 MiB");
    assert_int_equal(cmd("truncate -s 90M $D/growing"), 0);
    assert_int_equal(cmd("fsck.clusterfs --grow $D/growing"), 4);
    assert_said("it has shrunk; make it as large again");
}

/* A brick made smaller than its device, until somebody wants it larger. */
static void fsck_grows_a_brick_of_a_chosen_size(void **state)
{
    assert_int_equal(cmd("truncate -s 80M $D/chosen"), 0);
    assert_int_equal(cmd("mkfs.clusterfs --size 50M $D/chosen"), 0);
    assert_int_equal(cmd("debugfs.clusterfs super $D/chosen"), 0);
    assert_said("does not grow by itself");
    assert_int_equal(cmd("fsck.clusterfs --grow $D/chosen"), 0);
    assert_said("has grown from 50.0 MiB to 80.0 MiB");
    assert_int_equal(cmd("fsck.clusterfs $D/chosen"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mkfs_makes_a_brick_in_a_new_file),
        cmocka_unit_test(mkfs_leaves_nothing_when_it_fails),
        cmocka_unit_test(mkfs_refuses_wrong_usage),
        cmocka_unit_test(mkfs_overwrites_only_what_it_is_told_to),
        cmocka_unit_test(nobody_touches_a_brick_in_use),
        cmocka_unit_test(replicas_made_alike_have_the_same_tree),
        cmocka_unit_test(a_tree_is_told_alike_with_its_journal_and_without),
        cmocka_unit_test(a_tree_has_a_line_for_each_object),
        cmocka_unit_test(the_content_of_files_is_told_by_its_bytes),
        cmocka_unit_test(every_record_has_its_words),
        cmocka_unit_test(heartbeats_have_their_words),
        cmocka_unit_test(fsck_says_by_its_exit_what_it_found),
        cmocka_unit_test(fsck_repairs_what_it_is_told_to),
        cmocka_unit_test(fsck_looks_at_what_cannot_be_opened),
        cmocka_unit_test(fsck_looks_behind_a_damaged_journal),
        cmocka_unit_test(fsck_grows_a_brick_with_its_file),
        cmocka_unit_test(fsck_grows_a_brick_of_a_chosen_size),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
