/* SPDX-License-Identifier: Apache-2.0 */
/* test_replay_same.c - the journal, applied again, makes the very records that
 * were there; so does the same history at another brick (I9). On the engine
 * that misses at random, whose records can be compared. */
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/fake_eng.h"
#include "tests/unit/store_fix.h"

#define ROOT cfs_gfid_root

/* Answers, the brick's own record and the sessions' are put into the tree at
 * checkpoints, not by the changes that alter them. */
#define LATE "ABS"

/* What lies where is each brick's own; so are its views. */
#define OWN "ABSKV"

static uint64_t rnd(uint64_t *seed, uint64_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (*seed >> 33) % below;
}

#define DIRS  5
#define NAMES 8

struct history {
    struct fix     *f;
    struct cfs_gfid dir[DIRS];
    uint64_t        seed;
};

/* Blocks in more chunks than a truncation frees at once. */
static void step_sparse(struct history *h, struct cfs_gfid g)
{
    for (uint64_t i = 0; i < 150; i++)
        assert_int_equal(fix_write(h->f, g, i * 131072 + 4097 * (i % 5), &i,
                                   sizeof i), 0);
}

static void step_data(struct history *h, struct cfs_gfid g)
{
    static uint8_t buf[200000];
    struct fix *f = h->f;
    uint64_t at = rnd(&h->seed, UINT64_C(1) << rnd(&h->seed, 26));
    uint32_t len = 1 + (uint32_t)(rnd(&h->seed, sizeof buf - 1) >>
                                  rnd(&h->seed, 18));
    int rc;

    memset(buf, (int)rnd(&h->seed, 256), len);
    switch (rnd(&h->seed, 8)) {
    case 0:
        rc = fix_truncate(f, g, at);
        break;
    case 1:
        rc = fix_fallocate(f, g, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           at, len);
        break;
    case 2:
        rc = fix_fallocate(f, g, FALLOC_FL_ZERO_RANGE, at, len);
        break;
    case 3:
        rc = fix_fallocate(f, g, FALLOC_FL_KEEP_SIZE, at, len);
        break;
    case 4:
        rc = fix_copy(f, g, at / 2, g, at, len, NULL);
        break;
    case 5:
        if (rnd(&h->seed, 4) == 0)
            step_sparse(h, g);
        rc = fix_truncate(f, g, at % (20 * 131072));
        break;
    default:
        rc = fix_write(f, g, at, buf, len);
        break;
    }
    assert_int_equal(rc, 0);
}

/* What a name may be refused for; everything else is a fault. */
static void expect_sane(int rc)
{
    static const int sane[] = {0, -EEXIST, -ENOENT, -EISDIR, -ENOTDIR, -EBUSY,
                               -ENOTEMPTY, -EPERM, -ENODATA, -EINVAL};

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(sane); i++)
        if (rc == sane[i])
            return;
    fail_msg("%s", cfs_err_str(rc));
}

static void step_names(struct history *h, struct cfs_gfid dir,
                       const char *name, struct cfs_gfid dir2,
                       const char *name2)
{
    struct fix *f = h->f;
    struct cfs_attr a = {0};
    bool there = fix_lookup(f, dir, name, &a) == 0;
    int rc;

    switch (rnd(&h->seed, 7)) {
    case 0:
        rc = fix_unlink(f, dir, name, S_ISDIR(a.mode));
        if (rc == 0)
            expect_sane(fix_purge(f, a.gfid)); /* another name is left */
        break;
    case 1:
        rc = fix_rename(f, dir, name, dir2, name2,
                        (uint32_t)rnd(&h->seed, 3)); /* flags 0, 1, 2 */
        break;
    case 2:
        rc = there ? fix_link(f, a.gfid, dir2, name2) : 0;
        break;
    case 3:
        rc = fix_symlink(f, dir, name, "to/somewhere", NULL);
        break;
    case 4:
        rc = there ? fix_setxattr(f, a.gfid, name2, name,
                                  (uint32_t)strlen(name), 0) : 0;
        break;
    case 5:
        rc = there ? fix_removexattr(f, a.gfid, name2) : 0;
        break;
    default:
        rc = fix_create(f, dir, name, S_IFREG | 0644, NULL);
        break;
    }
    expect_sane(rc);
}

static void step(struct history *h)
{
    struct cfs_gfid dir = h->dir[rnd(&h->seed, DIRS)];
    struct cfs_gfid dir2 = h->dir[rnd(&h->seed, DIRS)];
    char name[16], name2[16];
    struct cfs_attr a;

    snprintf(name, sizeof name, "n%u", (unsigned)rnd(&h->seed, NAMES));
    snprintf(name2, sizeof name2, "n%u", (unsigned)rnd(&h->seed, NAMES));
    if (rnd(&h->seed, 2) && fix_lookup(h->f, dir, name, &a) == 0 &&
        S_ISREG(a.mode))
        step_data(h, a.gfid);
    else
        step_names(h, dir, name, dir2, name2);
}

static void begin(struct history *h, struct fix *f, uint64_t seed)
{
    char name[16];

    *h = (struct history){.f = f, .seed = seed};
    fix_open(f, NULL);
    h->dir[0] = ROOT;
    for (unsigned i = 1; i < DIRS; i++) {
        snprintf(name, sizeof name, "dir%u", i);
        assert_int_equal(fix_create(f, h->dir[i / 2], name, S_IFDIR | 0755,
                                    &h->dir[i]), 0);
    }
}

static uint64_t digest(struct fix *f, const char *without)
{
    return fake_eng_digest(ops_engine(f->ops), without);
}

static void a_replay_makes_the_same_records(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    struct history h;

    for (uint64_t seed = 1; seed <= 6; seed++) {
        uint64_t live;

        /* Checkpoints only at its own times: here, when it settles. */
        fake_eng_chances(seed % 2 ? 9 : 0, 9, 0, seed);
        begin(&h, f, seed);
        for (unsigned round = 0; round < 4; round++) {
            for (unsigned i = 0; i < 250; i++)
                step(&h);
            if (round == 2)
                fix_settle(f);
            fix_idle(f);
            live = digest(f, LATE);
            fix_kill(f);
            assert_int_equal(fix_start(f), 0);
            assert_int_equal(digest(f, LATE), live);
            fix_kill(f); /* a second time, from the same journal */
            assert_int_equal(fix_start(f), 0);
            assert_int_equal(digest(f, LATE), live);
            fix_next_view(f, true);
            fix_attach(f);
        }
        fix_close(f);
    }
    fake_eng_forget();
    free(f);
}

/* Whatever a brick had to wait for, and whenever it made checkpoints. */
static void the_same_history_makes_the_same_records(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    struct history h;
    uint64_t want = 0, got;

    for (unsigned brick = 0; brick < 4; brick++) {
        fake_eng_chances(brick * 3, brick * 2, brick * 10, 77 + brick);
        begin(&h, f, 4711);
        for (unsigned i = 0; i < 800; i++)
            step(&h);
        fix_idle(f);
        got = digest(f, OWN);
        if (brick == 0)
            want = got;
        assert_int_equal(got, want);
        fix_close(f);
    }
    fake_eng_forget();
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replay_makes_the_same_records),
        cmocka_unit_test(the_same_history_makes_the_same_records),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
