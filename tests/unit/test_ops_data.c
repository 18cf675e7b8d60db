/* SPDX-License-Identifier: Apache-2.0 */
/* test_ops_data.c - what each operation does to bytes and space, and what it
 * refuses; damaged and failing devices; random changes against a model. */
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/ops_main.h"

#define ROOT cfs_gfid_root

/* -- data ----------------------------------------------------------------- */

static void small_files_and_large_ones_read_back(void **state)
{
    static const uint32_t sizes[] = {1, 100, 2047, 2048, 2049, 4095, 4096,
                                     4097, 131071, 131072, 131073, 1 << 20};
    struct fix *f = *state;
    char name[32];

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(sizes); i++) {
        uint8_t *p = fix_pattern(sizes[i], i);
        struct cfs_attr a;
        struct cfs_gfid g;

        snprintf(name, sizeof name, "f%u", sizes[i]);
        g = fix_file(f, name);
        assert_int_equal(fix_write(f, g, 0, p, sizes[i]), 0);
        fix_expect(f, g, p, sizes[i]);
        assert_int_equal(fix_getattr(f, g, &a), 0);
        assert_int_equal(a.blocks, (sizes[i] + 4095) / 4096 * 8);
        free(p);
    }
}

static void a_small_file_grows_out_of_the_tree(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *want = fix_zeros(300000);
    uint8_t *p = fix_pattern(20000, 9);

    memcpy(want, p, 1000);
    assert_int_equal(fix_write(f, g, 0, p, 1000), 0);
    fix_expect(f, g, want, 1000);
    memcpy(want + 1100, p, 150); /* still in the tree, with a hole */
    assert_int_equal(fix_write(f, g, 1100, p, 150), 0);
    fix_expect(f, g, want, 1250);
    memcpy(want + 200001, p, 20000);
    assert_int_equal(fix_write(f, g, 200001, p, 20000), 0);
    fix_expect(f, g, want, 220001);
    free(want);
    free(p);
}

/* Small, so that it is looked at before; large, so that the thread that writes
 * it looks at it; with bytes in line, or blocks, there before. */
static void a_write_with_a_wrong_checksum_is_refused(void **state)
{
    static const uint32_t len[] = {5000, 4096, 1 << 20, (1 << 20) - 1};
    static const uint32_t had[] = {0, 1000, 300000};
    uint8_t *was = fix_pattern(300000, 3);
    struct fix *f = *state;

    for (unsigned k = 0; k < CFS_ARRAY_SIZE(len) * CFS_ARRAY_SIZE(had); k++) {
        uint32_t n = len[k / CFS_ARRAY_SIZE(had)];
        uint32_t old = had[k % CFS_ARRAY_SIZE(had)];
        struct cfs_write op = {.req.fop = CFS_FOP_WRITE};
        char name[16];

        snprintf(name, sizeof name, "file%u", k);
        op.gfid = fix_file(f, name);
        if (old > 0)
            assert_int_equal(fix_write(f, op.gfid, 0, was, old), 0);
        op.req.change = fix_change(f, 1, &op.gfid);
        fix_begin(f);
        op.req.epoch = f->view.epoch;
        op.data = cfs_buf_new(n);
        cfs_arena_keep(&f->call.arena, op.data);
        memset(op.data.data, 1, n);
        op.sums = fix_sums(f, 0, op.data.data, n);
        op.data.data[n - 500] ^= 4;
        assert_int_equal(fix_do(f, &op.req), -CFS_E_CHECKSUM);
        fix_expect(f, op.gfid, was, old);
        assert_int_equal(fix_write(f, op.gfid, old, was, 1000), 0);
    }
    free(was);
}

static void append_wants_the_size(void **state)
{
    struct fix *f = *state;
    struct cfs_write op = {.req.fop = CFS_FOP_WRITE};

    op.gfid = fix_file(f, "file");
    assert_int_equal(fix_write(f, op.gfid, 0, "12345", 5), 0);
    for (uint64_t offset = 4; offset < 6; offset++) {
        struct cfs_change *c = fix_change(f, 1, &op.gfid);

        fix_begin(f);
        op.req = (struct cfs_req){.fop = CFS_FOP_WRITE,
                                  .epoch = f->view.epoch, .change = c};
        op.offset = offset;
        op.flags = CFS_WRITE_APPEND;
        op.data = cfs_buf_new(1);
        cfs_arena_keep(&f->call.arena, op.data);
        op.data.data[0] = '6';
        op.sums = fix_sums(f, offset, op.data.data, 1);
        assert_int_equal(fix_do(f, &op.req), offset == 5 ? 0 : -EINVAL);
        if (offset == 5)
            fix_learn(f, c);
    }
    fix_expect(f, op.gfid, (const uint8_t *)"123456", 6);
}

static void truncate_cuts_and_what_grows_again_is_zeros(void **state)
{
    static const uint64_t sizes[] = {300001, 300001, 131072, 5000, 4096, 1,
                                     0};
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *p = fix_pattern(400000, 1), *want = fix_zeros(500000);
    struct cfs_attr a;

    memcpy(want, p, 400000);
    assert_int_equal(fix_write(f, g, 0, p, 400000), 0);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(sizes); i++) {
        memset(want + sizes[i], 0, 500000 - sizes[i]);
        assert_int_equal(fix_truncate(f, g, sizes[i]), 0);
        fix_expect(f, g, want, sizes[i]);
        assert_int_equal(fix_truncate(f, g, 450000), 0);
        fix_expect(f, g, want, 450000);
        assert_int_equal(fix_getattr(f, g, &a), 0);
        assert_int_equal(a.blocks, (sizes[i] + 4095) / 4096 * 8);
    }
    free(p);
    free(want);
}

static void truncate_works_in_line(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t want[4096] = "0123456789";
    struct cfs_attr a;

    assert_int_equal(fix_write(f, g, 0, want, 10), 0);
    assert_int_equal(fix_truncate(f, g, 4), 0);
    memset(want + 4, 0, 6);
    fix_expect(f, g, want, 4);
    assert_int_equal(fix_truncate(f, g, 3000), 0);
    fix_expect(f, g, want, 3000);
    assert_int_equal(fix_truncate(f, g, 0), 0);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, 0);
}

static void a_large_truncate_is_a_hole_at_once(void **state)
{
    struct fix *f = *state;
    const uint64_t chunk = 128 << 10;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t byte = 7, got[2];
    struct cfs_attr a;
    struct ops_stat st;

    /* One block in each of 400 chunks. */
    for (unsigned i = 0; i < 400; i++)
        assert_int_equal(fix_write(f, g, i * chunk, &byte, 1), 0);
    assert_int_equal(fix_truncate(f, g, 100 * chunk), 0);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, 100 * 8);
    /* Written again in the middle of what is being freed. */
    byte = 9;
    assert_int_equal(fix_write(f, g, 200 * chunk, &byte, 1), 0);
    assert_int_equal(fix_truncate(f, g, 400 * chunk), 0);
    assert_int_equal(fix_read(f, g, 199 * chunk, got, 1), 1);
    assert_int_equal(got[0], 0);
    assert_int_equal(fix_read(f, g, 200 * chunk, got, 2), 2);
    assert_int_equal(got[0], 9);
    assert_int_equal(got[1], 0);
    assert_int_equal(fix_read(f, g, 300 * chunk, got, 1), 1);
    assert_int_equal(got[0], 0);
    assert_int_equal(fix_read(f, g, 99 * chunk, got, 1), 1);
    assert_int_equal(got[0], 7);
    assert_int_equal(fix_truncate(f, g, 0), 0);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, 0);
    ops_stat(f->ops, &st);
    assert_true(st.removals > 0);
}

/* A change that follows at once finds all chunks still there. */
static void what_is_being_freed_may_be_written(void **state)
{
    static const unsigned at[] = {100, 399, 200, 201, 150};
    struct fix *f = *state;
    const uint64_t chunk = 128 << 10;
    struct cfs_gfid g = fix_file(f, "file");
    struct cfs_setattr cut = {.mask = CFS_SET_SIZE};
    struct cfs_write w[5] = {0};
    struct cfs_change c[6];
    struct fix_wait wait[6];
    uint8_t byte = 7, got;
    struct cfs_attr a;

    for (unsigned i = 0; i < 400; i++)
        assert_int_equal(fix_write(f, g, i * chunk, &byte, 1), 0);
    for (unsigned i = 0; i < 6; i++) {
        c[i] = *fix_change(f, 1, &g);
        fix_learn(f, &c[i]);
    }
    fix_begin(f);
    cut.req = (struct cfs_req){.fop = CFS_FOP_SETATTR,
                               .epoch = f->view.epoch, .change = &c[0]};
    cut.gfid = g;
    cut.size = 100 * chunk;
    fix_post(f, &cut.req, &wait[0]);
    for (unsigned i = 0; i < 5; i++) {
        w[i].req = (struct cfs_req){.fop = CFS_FOP_WRITE,
                                    .epoch = f->view.epoch,
                                    .change = &c[i + 1]};
        w[i].gfid = g;
        w[i].offset = at[i] * chunk;
        w[i].data = cfs_buf_new(1);
        w[i].data.data[0] = 9;
        cfs_arena_keep(&f->call.arena, w[i].data);
        w[i].sums = fix_sums(f, w[i].offset, w[i].data.data, 1);
        fix_post(f, &w[i].req, &wait[i + 1]);
    }
    fix_wait_all(f, wait, 6);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(wait[i].status, 0);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, 105 * 8);
    for (unsigned i = 0; i < 400; i++) {
        unsigned want = i < 100 ? 7 : 0;

        for (unsigned k = 0; k < 5; k++)
            want = at[k] == i ? 9 : want;
        if (i == 399)
            assert_int_equal(a.size, 399 * chunk + 1);
        assert_int_equal(fix_read(f, g, i * chunk, &got, 1), 1);
        assert_int_equal(got, want);
    }
}

/* One behind the other, before anything is freed: what a mark hides is counted
 * once, however many blocks a chunk has, and comes back by no later mark, be it
 * in front of the other or behind it. */
static void marks_that_meet_become_one(void **state)
{
    static const unsigned to[] = {300, 100, 400, 200, 400};
    struct fix *f = *state;
    const uint64_t chunk = 128 << 10;
    struct cfs_gfid g = fix_file(f, "file");
    struct cfs_setattr cut[CFS_ARRAY_SIZE(to)] = {0};
    struct cfs_change c[CFS_ARRAY_SIZE(to)];
    struct fix_wait wait[CFS_ARRAY_SIZE(to)];
    uint8_t *p = fix_pattern(3 * 4096, 5), got;
    struct cfs_attr a;

    for (unsigned i = 0; i < 400; i++)
        assert_int_equal(fix_write(f, g, i * chunk, p, 3 * 4096), 0);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(to); i++) {
        c[i] = *fix_change(f, 1, &g);
        fix_learn(f, &c[i]);
    }
    fix_begin(f);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(to); i++) {
        cut[i].req = (struct cfs_req){.fop = CFS_FOP_SETATTR,
                                      .epoch = f->view.epoch,
                                      .change = &c[i]};
        cut[i].gfid = g;
        cut[i].mask = CFS_SET_SIZE;
        cut[i].size = to[i] * chunk;
        fix_post(f, &cut[i].req, &wait[i]);
    }
    fix_wait_all(f, wait, CFS_ARRAY_SIZE(to));
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(to); i++)
        assert_int_equal(wait[i].status, 0);
    assert_int_equal(cut[0].attr.blocks, 300 * 3 * 8);
    assert_int_equal(cut[1].attr.blocks, 100 * 3 * 8);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, 100 * 3 * 8);
    assert_int_equal(a.size, 400 * chunk);
    for (unsigned i = 0; i < 400; i++) {
        assert_int_equal(fix_read(f, g, i * chunk + 4096, &got, 1), 1);
        assert_int_equal(got, i < 100 ? p[4096] : 0);
    }
    free(p);
}

/* Flip a bit of the block on the device that begins with @want's bytes. */
static void damage_block(struct fix *f, const uint8_t want[static 4096])
{
    uint8_t *buf = aligned_alloc(4096, 4096);
    struct iovec iov = {buf, 4096};
    unsigned n = 0;

    for (uint64_t at = 0; at < f->dev->size; at += 4096) {
        assert_int_equal(f->dev->ops->read(f->dev, CFS_DEV_BUFFERED, at, buf,
                                           4096), 0);
        if (memcmp(buf, want, 4096) != 0)
            continue;
        buf[1234] ^= 0x10;
        assert_int_equal(f->dev->ops->write(f->dev, CFS_DEV_BUFFERED, at,
                                            &iov, 1, 4096), 0);
        n++;
    }
    free(buf);
    assert_int_equal(n, 1);
}

static void damaged_data_is_never_returned(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file"), h = fix_file(f, "other");
    uint8_t *p = fix_noise(20000, 77), *got = malloc(20000);

    f->check = NULL; /* which would find it, too */
    assert_int_equal(fix_write(f, g, 0, p, 20000), 0);
    damage_block(f, p + 8192);
    assert_int_equal(fix_read(f, g, 0, got, 20000), -CFS_E_CHECKSUM);
    assert_int_equal(fix_read(f, g, 8192, got, 1), -CFS_E_CHECKSUM);
    assert_int_equal(fix_read(f, g, 0, got, 8192), 8192);
    assert_int_equal(fix_read(f, g, 12288, got, 8192), 20000 - 12288);
    /* Nor does it get into a new block. */
    assert_int_equal(fix_write(f, g, 8200, "x", 1), -CFS_E_CHECKSUM);
    assert_int_equal(fix_truncate(f, g, 8200), -CFS_E_CHECKSUM);
    assert_int_equal(fix_copy(f, g, 8000, h, 0, 1000, NULL),
                     -CFS_E_CHECKSUM);
    /* What replaces it whole makes it good. */
    assert_int_equal(fix_write(f, g, 8192, p + 8192, 4096), 0);
    fix_expect(f, g, p, 20000);
    free(p);
    free(got);
}

static void punch_makes_holes_of_whole_blocks(void **state)
{
    const uint32_t mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *want = fix_pattern(300000, 5);
    struct cfs_attr a;
    uint64_t at;

    assert_int_equal(fix_write(f, g, 0, want, 300000), 0);
    assert_int_equal(fix_fallocate(f, g, FALLOC_FL_PUNCH_HOLE, 0, 1),
                     -EOPNOTSUPP);
    assert_int_equal(fix_fallocate(f, g, mode, 5000, 10000), 0);
    memset(want + 5000, 0, 10000);
    fix_expect(f, g, want, 300000);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, (74 - 1) * 8);
    assert_int_equal(fix_lseek(f, g, 0, SEEK_HOLE, &at), 0);
    assert_int_equal(at, 8192);
    assert_int_equal(fix_lseek(f, g, 8192, SEEK_DATA, &at), 0);
    assert_int_equal(at, 12288);
    assert_int_equal(fix_fallocate(f, g, mode, 100, 200), 0);
    memset(want + 100, 0, 200);
    assert_int_equal(fix_fallocate(f, g, mode, 290000, 1000000), 0);
    memset(want + 290000, 0, 10000);
    fix_expect(f, g, want, 300000);
    assert_int_equal(fix_lseek(f, g, 294912, SEEK_DATA, &at), -ENXIO);
    free(want);
}

static void punch_works_in_line(void **state)
{
    const uint32_t mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t want[] = "0123456789";
    struct cfs_attr a;

    assert_int_equal(fix_write(f, g, 0, want, 10), 0);
    assert_int_equal(fix_fallocate(f, g, mode, 2, 3), 0);
    memset(want + 2, 0, 3);
    fix_expect(f, g, want, 10);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, 8);
    assert_int_equal(fix_fallocate(f, g, mode, 0, 10), 0);
    memset(want, 0, 10);
    fix_expect(f, g, want, 10);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, 0);
}

static void fallocate_takes_space_that_reads_as_zeros(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *want = fix_zeros(1 << 20), *p = fix_pattern(6000, 2);
    struct cfs_attr a;
    uint64_t at;

    memcpy(want, "small", 5);
    assert_int_equal(fix_write(f, g, 0, "small", 5), 0);
    assert_int_equal(fix_fallocate(f, g, FALLOC_FL_KEEP_SIZE, 0, 1 << 20), 0);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.size, 5);
    assert_int_equal(a.blocks, 256 * 8);
    assert_int_equal(fix_fallocate(f, g, 0, 0, 1 << 20), 0);
    fix_expect(f, g, want, 1 << 20);
    assert_int_equal(fix_lseek(f, g, 0, SEEK_HOLE, &at), 0);
    assert_int_equal(at, 4096);
    assert_int_equal(fix_write(f, g, 50000, p, 6000), 0);
    memcpy(want + 50000, p, 6000);
    fix_expect(f, g, want, 1 << 20);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, 256 * 8);
    assert_int_equal(fix_lseek(f, g, 4096, SEEK_DATA, &at), 0);
    assert_int_equal(at, 49152);
    free(want);
    free(p);
}

static void zero_range_leaves_zeros_and_space(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    static uint8_t want[400000];
    uint8_t *p = fix_pattern(300000, 2);
    struct cfs_attr a;

    memcpy(want, p, 300000);
    assert_int_equal(fix_write(f, g, 0, p, 300000), 0);
    assert_int_equal(fix_fallocate(f, g, FALLOC_FL_ZERO_RANGE, 1000, 200000),
                     0);
    memset(want + 1000, 0, 200000);
    fix_expect(f, g, want, 300000);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, 74 * 8);
    assert_int_equal(fix_fallocate(f, g, FALLOC_FL_ZERO_RANGE, 290000,
                                   110000), 0);
    memset(want + 290000, 0, 110000);
    fix_expect(f, g, want, 400000);
    free(p);
}

static void copy_copies_within_the_brick(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid a = fix_file(f, "a"), b = fix_file(f, "b");
    uint8_t *p = fix_pattern(300000, 4), *want = fix_zeros(400000);
    uint32_t copied;

    assert_int_equal(fix_write(f, a, 0, p, 300000), 0);
    assert_int_equal(fix_copy(f, a, 1000, b, 3, 200000, &copied), 0);
    assert_int_equal(copied, 200000);
    memcpy(want + 3, p + 1000, 200000);
    fix_expect(f, b, want, 200003);
    assert_int_equal(fix_copy(f, a, 299000, b, 300000, 5000, &copied), 0);
    assert_int_equal(copied, 1000);
    memcpy(want + 300000, p + 299000, 1000);
    fix_expect(f, b, want, 301000);
    assert_int_equal(fix_copy(f, a, 300000, b, 0, 10, &copied), 0);
    assert_int_equal(copied, 0);
    assert_int_equal(fix_copy(f, b, 0, b, 350000, 10, &copied), 0);
    memcpy(want + 350000, want, 10);
    fix_expect(f, b, want, 350010);
    free(p);
    free(want);
}

static void a_file_may_be_larger_than_the_brick(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    const uint64_t far = CFS_FILE_MAX - 10;
    uint8_t got[20];
    struct cfs_attr a;

    assert_int_equal(fix_write(f, g, far, "0123456789", 10), 0);
    assert_int_equal(fix_write(f, g, far + 1, "0123456789", 10), -EFBIG);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.size, CFS_FILE_MAX);
    assert_int_equal(a.blocks, 8);
    assert_int_equal(fix_read(f, g, far - 5, got, 20), 15);
    assert_memory_equal(got, "\0\0\0\0\0" "0123456789", 15);
    assert_int_equal(fix_truncate(f, g, CFS_FILE_MAX + 1), -EFBIG);
    assert_int_equal(fix_truncate(f, g, 0), 0);
}

/* -- space ---------------------------------------------------------------- */

static void a_full_brick_refuses_writes_and_still_deletes(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file"), h;
    uint8_t *p = fix_noise(1 << 20, 6), *got = malloc(1 << 20);
    struct cfs_brick *info = calloc(1, sizeof *info);
    uint64_t at = 0, free_before;
    int rc;

    fix_info(f, info);
    free_before = info->free;
    while ((rc = fix_write(f, g, at, p, 1 << 20)) == 0) {
        at += 1 << 20;
        assert_true(at < FIX_SIZE);
    }
    assert_int_equal(rc, -ENOSPC);
    for (uint64_t i = 0; i < at; i += 1 << 20) {
        assert_int_equal(fix_read(f, g, i, got, 1 << 20), 1 << 20);
        assert_memory_equal(got, p, 1 << 20);
    }
    assert_int_equal(fix_truncate(f, g, 1 << 20), 0);
    h = fix_file(f, "other");
    assert_int_equal(fix_write(f, h, 0, p, 1 << 20), 0);
    assert_int_equal(fix_unlink(f, ROOT, "file", false), 0);
    assert_int_equal(fix_purge(f, g), 0);
    assert_int_equal(fix_unlink(f, ROOT, "other", false), 0);
    assert_int_equal(fix_purge(f, h), 0);
    fix_settle(f);
    fix_info(f, info);
    assert_true(info->free + (1 << 20) > free_before);
    free(info);
    free(p);
    free(got);
}

#ifndef OPS_ON_FAKE_ENGINE
static void on_poison(void *ctx, int status)
{
    ++*(unsigned *)ctx;
}

/* Changes and fsyncs of several files at once; whatever fails meanwhile, each
 * is answered, and those that say 0 came before. */
static void fail_in_flight(struct fix *f, const struct cfs_gfid *g)
{
    static struct cfs_write w[40];
    static struct cfs_change c[40];
    struct cfs_fsync sync[4] = {0};
    struct fix_wait wait[44];
    bool failed[4] = {false};
    unsigned poisoned = 0;

    ops_on_poison(f->ops, on_poison, &poisoned);
    for (unsigned i = 0; i < 40; i++) {
        c[i] = *fix_change(f, 1, &g[i % 4]);
        fix_learn(f, &c[i]);
    }
    fix_begin(f);
    for (unsigned i = 0; i < 40; i++) {
        w[i] = (struct cfs_write){.req = {.fop = CFS_FOP_WRITE,
                                          .epoch = f->view.epoch,
                                          .change = &c[i]}};
        w[i].gfid = g[i % 4];
        w[i].offset = i * 3000;
        w[i].data = cfs_buf_new(5000);
        memset(w[i].data.data, (int)i, 5000);
        cfs_arena_keep(&f->call.arena, w[i].data);
        w[i].sums = fix_sums(f, w[i].offset, w[i].data.data, 5000);
        fix_post(f, &w[i].req, &wait[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        sync[i].req = (struct cfs_req){.fop = CFS_FOP_FSYNC,
                                       .epoch = f->view.epoch};
        sync[i].gfid = g[i];
        fix_post(f, &sync[i].req, &wait[40 + i]);
    }
    fix_wait_all(f, wait, 44);
    for (unsigned i = 0; i < 44; i++) {
        bool *before = &failed[i % 4];

        assert_true(wait[i].status == 0 ||
                    wait[i].status == -CFS_E_POISONED);
        assert_false(*before && wait[i].status == 0);
        *before = wait[i].status < 0;
    }
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(wait[40 + i].status, -CFS_E_POISONED);
    assert_int_equal(poisoned, 1);
}

static void a_failing_device_ends_the_brick_and_says_so(void **state)
{
    struct fix *f = *state;
    struct cfs_brick *info = calloc(1, sizeof *info);
    struct cfs_gfid g[4];
    char name[8];
    struct cfs_attr a;

    for (unsigned round = 0; round < 12; round++) {
        for (unsigned i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "%u-%u", round, i);
            g[i] = fix_file(f, name);
        }
        if (round % 4 == 3)
            f->flush_fails = true;
        else
            f->writes_left = round * 3;
        fail_in_flight(f, g);
        assert_int_equal(fix_getattr(f, ROOT, &a), -CFS_E_POISONED);
        fix_info(f, info);
        assert_int_equal(info->poisoned, 1);
        assert_true(strlen(info->reason) > 0);
        f->change_no += 100;
        f->n_known = 0; /* what stood is looked up again */
        fix_reopen(f, FIX_KILL);
    }
    free(info);
}
#endif

/* -- against a model ------------------------------------------------------ */

#define M_FILES 12
#define M_SIZE  (700u << 10)

struct model_file {
    struct cfs_gfid gfid;
    bool            there;
    uint64_t        size;
    uint8_t        *data; /* M_SIZE bytes; zeros behind the size */
};

static uint64_t rnd(uint64_t *seed, uint64_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (*seed >> 33) % below;
}

/* One that is small as often as large; drawn in this order. */
static uint64_t rnd_any(uint64_t *seed, uint64_t below)
{
    uint64_t v = rnd(seed, below);

    return v >> rnd(seed, 16);
}

static void model_data_op(struct fix *f, struct model_file *m, uint64_t *seed)
{
    static uint8_t buf[M_SIZE];
    uint64_t at = rnd_any(seed, M_SIZE / 2);
    uint32_t len = 1 + (uint32_t)rnd_any(seed, M_SIZE / 3);
    uint64_t end = at + len;

    switch (rnd(seed, 6)) {
    case 0:
    case 1: /* what may be compressed, and what may not */
        for (uint32_t i = 0; i < len; i++)
            buf[i] = (uint8_t)(at % 2 && i % 64 < 48 ? at : rnd(seed, 256));
        assert_int_equal(fix_write(f, m->gfid, at, buf, len), 0);
        memcpy(m->data + at, buf, len);
        break;
    case 2:
        assert_int_equal(fix_truncate(f, m->gfid, at), 0);
        memset(m->data + at, 0, M_SIZE - at);
        m->size = end = at;
        break;
    case 3:
        assert_int_equal(fix_fallocate(f, m->gfid,
                                       FALLOC_FL_PUNCH_HOLE |
                                           FALLOC_FL_KEEP_SIZE,
                                       at, len), 0);
        memset(m->data + at, 0, len);
        end = 0;
        break;
    case 4:
        assert_int_equal(fix_fallocate(f, m->gfid, FALLOC_FL_ZERO_RANGE, at,
                                       len), 0);
        memset(m->data + at, 0, len);
        break;
    default:
        assert_int_equal(fix_fallocate(f, m->gfid, 0, at, len), 0);
        break;
    }
    if (end > m->size)
        m->size = end;
}

static void model_step(struct fix *f, struct model_file *m, unsigned i,
                       uint64_t *seed)
{
    char name[16];

    snprintf(name, sizeof name, "m%u", i);
    if (!m->there) {
        m->gfid = fix_file(f, name);
        m->there = true;
        m->size = 0;
        memset(m->data, 0, M_SIZE);
    } else if (rnd(seed, 12) == 0) {
        assert_int_equal(fix_unlink(f, ROOT, name, false), 0);
        assert_int_equal(fix_purge(f, m->gfid), 0);
        m->there = false;
    } else {
        model_data_op(f, m, seed);
    }
}

static void model_compare(struct fix *f, struct model_file *m)
{
    char name[16];
    struct cfs_attr a;

    for (unsigned i = 0; i < M_FILES; i++) {
        snprintf(name, sizeof name, "m%u", i);
        if (!m[i].there) {
            assert_int_equal(fix_lookup(f, ROOT, name, &a), -ENOENT);
            continue;
        }
        assert_int_equal(fix_lookup(f, ROOT, name, &a), 0);
        assert_gfid_equal(a.gfid, m[i].gfid);
        fix_expect(f, m[i].gfid, m[i].data, m[i].size);
    }
}

static void random_changes_agree_with_a_model_across_restarts(void **state)
{
    struct fix *f = *state;
    struct model_file m[M_FILES] = {0};
    uint64_t seed = 20261121;

    for (unsigned i = 0; i < M_FILES; i++)
        m[i].data = fix_zeros(M_SIZE);
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned n = 0; n < 60; n++) {
            unsigned i = (unsigned)rnd(&seed, M_FILES);

            model_step(f, &m[i], i, &seed);
        }
        model_compare(f, m);
        fix_reopen(f, (enum fix_how)(round % 3));
        model_compare(f, m);
    }
    for (unsigned i = 0; i < M_FILES; i++)
        free(m[i].data);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, ops_setup, ops_teardown)
    const struct CMUnitTest tests[] = {
        T(small_files_and_large_ones_read_back),
        T(a_small_file_grows_out_of_the_tree),
        T(a_write_with_a_wrong_checksum_is_refused),
        T(append_wants_the_size),
        T(truncate_cuts_and_what_grows_again_is_zeros),
        T(truncate_works_in_line),
        T(a_large_truncate_is_a_hole_at_once),
        T(what_is_being_freed_may_be_written),
        T(marks_that_meet_become_one),
        T(damaged_data_is_never_returned),
        T(punch_makes_holes_of_whole_blocks),
        T(punch_works_in_line),
        T(fallocate_takes_space_that_reads_as_zeros),
        T(zero_range_leaves_zeros_and_space),
        T(copy_copies_within_the_brick),
        T(a_file_may_be_larger_than_the_brick),
        T(a_full_brick_refuses_writes_and_still_deletes),
#ifndef OPS_ON_FAKE_ENGINE
        T(a_failing_device_ends_the_brick_and_says_so),
#endif
        T(random_changes_agree_with_a_model_across_restarts),
    };

    return ops_main(tests, CFS_ARRAY_SIZE(tests));
}
