/* SPDX-License-Identifier: Apache-2.0 */
/* test_full_large.c - the smallest brick there can be, full, and what gives
 * space back in the largest pieces that there are: files of many chunks are
 * cut, punched, purged and freed, records of clearing are as long as can be.
 * What these may need of the tree at once must be less than the reserve. */
#include <endian.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/store_fix.h"

#define ROOT   cfs_gfid_root
#define BRICK  ((uint64_t)32 << 20)
#define CHUNK  ((uint64_t)CHUNK_BLOCKS * CFS_BLOCK)
#define CHUNKS 60u   /* of a file that is freed at once */
#define CROWD  1500u /* inodes, so that some lie far apart */
#define APART  40u   /* of these, cleared at once */

struct brick {
    struct fix      f;
    struct cfs_gfid thin[3]; /* with a block in each of their chunks */
    struct cfs_gfid big;
    struct cfs_gfid crowd[CROWD];
};

static uint64_t free_bytes(struct brick *b)
{
    struct cfs_brick info;

    fix_settle(&b->f);
    fix_info(&b->f, &info);
    return info.free;
}

/* Write to .big until there is no more space: a block each @step bytes, or, 0,
 * all of it. */
static void fill_up(struct brick *b, uint64_t step)
{
    uint32_t len = step > 0 ? CFS_BLOCK : CFS_IO_MAX;
    uint8_t *data = fix_noise(len, 1);
    bool settled = false;
    uint64_t at = 0;

    while (len >= CFS_BLOCK) {
        int rc = fix_write(&b->f, b->big, at, data, len);

        assert_true(rc == 0 || rc == -ENOSPC);
        if (rc == 0) {
            at += step > 0 ? step : len;
            settled = false;
        } else if (!settled) {
            fix_settle(&b->f);
            settled = true;
        } else {
            len /= 2;
        }
    }
    free(data);
}

static void make(struct brick *b, unsigned copies, uint64_t step)
{
    struct ops_config config = ops_config_default;
    uint8_t *data = fix_noise(CFS_BLOCK, 2);
    struct cfs_dev *dev;
    char name[32];

    config.eng.copies = copies;
    config.eng.checkpoint_ms = 3600 * 1000;
    assert_int_equal(cfs_dev_mem(BRICK, &dev), 0);
    fix_open_on(&b->f, &config, dev);
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(name, sizeof name, "crowd-%u", i);
        b->crowd[i] = fix_file(&b->f, name);
    }
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(b->thin); i++) {
        snprintf(name, sizeof name, "thin-%u", i);
        b->thin[i] = fix_file(&b->f, name);
        for (unsigned k = 0; k < CHUNKS; k++)
            assert_int_equal(fix_write(&b->f, b->thin[i], k * CHUNK, data,
                                       CFS_BLOCK), 0);
    }
    b->big = fix_file(&b->f, "big");
    fill_up(b, step);
    free(data);
}

/* Inodes that lie far apart in the tree are clean from now on. */
static void clear_some(struct brick *b)
{
    uint8_t list[APART * 32], *at = list;
    struct cfs_clear op = {.req.fop = CFS_FOP_CLEAR,
                           .session = b->f.session.no,
                           .inodes = {list, sizeof list}};
    struct cfs_brick was, is;

    for (unsigned i = 0; i < APART; i++, at += 32) {
        struct cfs_gfid g = b->crowd[i * (CROWD / APART)];
        struct cfs_version v = fix_version(&b->f, g);
        uint64_t epoch = htole64(v.epoch), seq = htole64(v.seq);

        memcpy(at, &g, 16);
        memcpy(at + 16, &epoch, 8);
        memcpy(at + 24, &seq, 8);
    }
    fix_info(&b->f, &was);
    fix_begin(&b->f);
    op.req.epoch = b->f.view.epoch;
    assert_int_equal(fix_do(&b->f, &op.req), 0);
    fix_info(&b->f, &is);
    assert_int_equal(is.dirty, was.dirty - APART);
}

static void free_all_of_it(struct brick *b)
{
    struct fix *f = &b->f;
    char name[32];

    assert_int_equal(fix_truncate(f, b->thin[0], 0), 0);
    fix_settle(f);
    assert_int_equal(fix_fallocate(f, b->thin[1], FALLOC_FL_PUNCH_HOLE |
                                   FALLOC_FL_KEEP_SIZE, 0, CHUNKS * CHUNK), 0);
    fix_settle(f);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(b->thin); i++) {
        snprintf(name, sizeof name, "thin-%u", i);
        assert_int_equal(fix_unlink(f, ROOT, name, false), 0);
        assert_int_equal(fix_purge(f, b->thin[i]), 0);
        fix_settle(f);
    }
    assert_int_equal(fix_unlink(f, ROOT, "big", false), 0);
    assert_int_equal(fix_purge(f, b->big), 0);
}

static void fill_and_free(unsigned copies, uint64_t step)
{
    struct brick *b = calloc(1, sizeof *b);
    uint64_t was, full;

    make(b, copies, step);
    full = free_bytes(b);
    assert_true(full < BRICK / 64);
    clear_some(b);
    free_all_of_it(b);
    was = free_bytes(b);
    assert_true(was > BRICK / 3);
    fix_kill(&b->f);
    fix_fsck(&b->f);
    assert_int_equal(fix_start(&b->f), 0);
    assert_true(free_bytes(b) > BRICK / 3);
    fix_next_view(&b->f, true);
    fix_attach(&b->f);
    fix_close(&b->f);
    free(b);
}

static void a_full_brick_gives_up_large_files(void **state)
{
    fill_and_free(1, 0);
    fill_and_free(2, 0);
}

/* The largest that metadata can be. */
static void also_those_that_are_mostly_holes(void **state)
{
    fill_and_free(1, CHUNK);
    fill_and_free(2, CHUNK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_brick_gives_up_large_files),
        cmocka_unit_test(also_those_that_are_mostly_holes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
