/* SPDX-License-Identifier: Apache-2.0 */
/* test_prefetch.c - an operation on what is not in memory has all the leaves
 * read at once that its request names, and not one behind the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/recdev.h"
#include "tests/unit/store_fix.h"
#include "xlators/storage/block/engine/engine_int.h"

#define DIRS  12u
#define FILES 150u /* in each */

struct cold {
    struct fix      fix;
    struct recdev  *dev;
    struct cfs_gfid dir[DIRS];
    struct cfs_gfid file[DIRS][FILES];
    struct cfs_call call;
    struct cfs_change change;
    struct fix_wait wait;
};

static void name_of(unsigned i, char ret[static 32])
{
    snprintf(ret, 32, "a-file-that-has-number-%u", i);
}

/* Many files with two blocks each; then only the inner nodes are in memory,
 * and what the look at a file of the first directory has brought. */
static struct cold *cold_new(void)
{
    static uint8_t data[8192];
    struct cold *c = calloc(1, sizeof *c);
    struct fix *f = &c->fix;
    struct cfs_attr attr;
    char name[32];

    c->dev = recdev_new(FIX_SIZE);
    fix_open_on(f, &ops_config_default, recdev_open(c->dev));
    for (unsigned d = 0; d < DIRS; d++) {
        snprintf(name, sizeof name, "dir-%u", d);
        assert_int_equal(fix_create(f, cfs_gfid_root, name, S_IFDIR | 0755,
                                    &c->dir[d]), 0);
        for (unsigned i = 0; i < FILES; i++) {
            name_of(i, name);
            assert_int_equal(fix_create(f, c->dir[d], name, S_IFREG | 0644,
                                        &c->file[d][i]), 0);
            assert_int_equal(fix_write(f, c->file[d][i], 0, data,
                                       sizeof data), 0);
        }
    }
    fix_reopen(f, FIX_CLEAN);
    assert_int_equal(fix_getattr(f, c->file[0][0], &attr), 0);
    name_of(0, name);
    assert_int_equal(fix_lookup(f, c->dir[0], name, &attr), 0);
    assert_int_equal(fix_write(f, c->file[0][0], 0, data, sizeof data), 0);
    cfs_arena_init(&c->call.arena);
    c->call.loop = f->loop;
    return c;
}

static void cold_free(struct cold *c)
{
    cfs_arena_fini(&c->call.arena);
    fix_close(&c->fix);
    recdev_free(c->dev);
    free(c);
}

static bool at_once(void *arg)
{
    return true; /* one turn */
}

/* Begin @req while no read of the device ends: how many are under way. Then it
 * ends as it should. */
static unsigned reads_at_once(struct cold *c, struct cfs_req *req)
{
    const struct eng *e = ops_engine(c->fix.ops);
    unsigned n;

    recdev_hold(c->dev, RECDEV_READ, true);
    fix_post_on(&c->fix, &c->call, req, &c->wait);
    cfs_loop_run_until(c->fix.loop, at_once, NULL);
    n = e->cache.reads;
    assert_false(c->wait.done);
    recdev_hold(c->dev, RECDEV_READ, false);
    fix_wait_all(&c->fix, &c->wait, 1);
    assert_int_equal(c->wait.status, 0);
    return n;
}

static void a_write_reads_its_inode_and_its_chunk_at_once(void **state)
{
    static uint8_t data[4096];
    struct cold *c = cold_new();
    struct fix *f = &c->fix;
    struct cfs_gfid g = c->file[9][100];
    struct cfs_write w = {.req = {.fop = CFS_FOP_WRITE,
                                  .epoch = f->view.epoch,
                                  .change = &c->change}};

    c->change = *fix_change(f, 1, &g);
    w.gfid = g;
    w.offset = 4096;
    w.data = (struct cfs_buf){.data = data, .len = sizeof data};
    w.sums = fix_sums(f, w.offset, data, sizeof data);
    assert_true(reads_at_once(c, &w.req) >= 2);
    fix_learn(f, &c->change);
    cold_free(c);
}

static void a_rename_reads_names_and_inodes_at_once(void **state)
{
    struct cold *c = cold_new();
    struct fix *f = &c->fix;
    struct cfs_gfid all[] = {c->dir[4], c->dir[8], c->file[4][70]};
    struct cfs_rename r = {.req = {.fop = CFS_FOP_RENAME,
                                   .epoch = f->view.epoch,
                                   .change = &c->change}};
    char name[32];

    name_of(70, name);
    c->change = *fix_change(f, 3, all);
    r.parent = all[0];
    r.name = (struct cfs_name){name, (uint32_t)strlen(name)};
    r.newparent = all[1];
    r.newname = (struct cfs_name){"another", 7};
    r.child = all[2];
    assert_true(reads_at_once(c, &r.req) >= 4);
    fix_learn(f, &c->change);
    cold_free(c);
}

/* What a start reads of nodes: one by one, and together with others. */
static const struct cfs_dev_ops *real_ops;
static unsigned alone, together;

static int count_read(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                      void *buf, size_t len)
{
    alone += via == CFS_DEV_DIRECT;
    return real_ops->read(d, via, off, buf, len);
}

static void count_reads(struct cfs_dev *d, struct cfs_dev_read *r, unsigned n)
{
    together += n;
    real_ops->read_many(d, r, n);
    alone -= n; /* that device takes them one at a time, from us */
}

/* One file in three, all over the tree: a new size, new bytes, another name,
 * no more. */
static void change_many(struct cold *c)
{
    static uint8_t data[4096] = "changed";
    struct fix *f = &c->fix;
    char from[32], to[32];

    for (unsigned i = 0; i < FILES; i += 3) {
        for (unsigned d = 0; d < DIRS; d++) {
            struct cfs_gfid g = c->file[d][i];

            name_of(i, from);
            snprintf(to, sizeof to, "renamed-%u", i);
            assert_int_equal(fix_write(f, g, 4096, data, sizeof data), 0);
            if (i % 2)
                assert_int_equal(fix_rename(f, c->dir[d], from, c->dir[d], to,
                                            0), 0);
        }
    }
}

static void a_replay_reads_what_it_needs_many_at_a_time(void **state)
{
    struct cold *c = cold_new();
    struct fix *f = &c->fix;
    struct cfs_attr attr;
    char name[32];
    uint8_t got[8];

    change_many(c);
    fix_kill(f);
    real_ops = f->loan.own;
    f->loan.ops.read = count_read;
    f->loan.ops.read_many = count_reads;
    alone = together = 0;
    assert_int_equal(fix_start(f), 0);
    fix_next_view(f, true);
    fix_attach(f);
    assert_in_range(together, 100, 1000);
    assert_in_range(alone, 1, together - 1);
    for (unsigned d = 0; d < DIRS; d++) {
        snprintf(name, sizeof name, "renamed-%u", 99);
        assert_int_equal(fix_lookup(f, c->dir[d], name, &attr), 0);
        assert_int_equal(fix_read(f, c->file[d][99], 4096, got, sizeof got),
                         sizeof got);
        assert_memory_equal(got, "changed", sizeof got);
    }
    cold_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_reads_its_inode_and_its_chunk_at_once),
        cmocka_unit_test(a_rename_reads_names_and_inodes_at_once),
        cmocka_unit_test(a_replay_reads_what_it_needs_many_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
