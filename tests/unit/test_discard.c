/* SPDX-License-Identifier: Apache-2.0 */
/* test_discard.c - free space is given back to the device or to the image's
 * file system, and nothing that anybody needs is. */
#include "tests/unit/cfs_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/eng_rig.h"

#define MIB      ((uint64_t)1024 * 1024)
#define FILES    60u
#define FILE_MAX 96u /* blocks */
#define EXTS     64u

/* A file: its extents, and what its blocks are made of. */
struct file {
    struct eng_ext ext[EXTS];
    unsigned       n;
    uint64_t       seed;
};

static struct cfs_blob name(unsigned file, char *buf)
{
    return (struct cfs_blob){buf, (uint32_t)snprintf(buf, 16, "file%04u",
                                                     file)};
}

static bool get_file(struct rig *r, unsigned no, struct file *ret)
{
    char buf[16];
    const struct model_rec *rec = model_get(&r->model, name(no, buf));

    if (rec)
        memcpy(ret, rec->key + rec->klen, sizeof *ret);
    return rec != NULL;
}

static void fill_ext(const struct file *f, unsigned i, uint8_t *to)
{
    for (uint64_t b = 0; b < f->ext[i].n; b++) {
        uint64_t v = f->seed + i * 1000 + b;

        for (size_t at = 0; at < CFS_BLOCK; at += 8) {
            uint64_t x = rig_random(&v);

            memcpy(to + b * CFS_BLOCK + at, &x, sizeof x);
        }
    }
}

static void write_bytes(struct rig *r, const struct file *f)
{
    for (unsigned i = 0; i < f->n; i++) {
        uint8_t *data = aligned_alloc(CFS_BLOCK, f->ext[i].n * CFS_BLOCK);

        fill_ext(f, i, data);
        assert_int_equal(rig_write_data(r, f->ext[i], data), 0);
        free(data);
    }
}

/* File @no becomes @n new blocks (0: it goes), in one change. @bytes: they are
 * written, too. What eng_alloc() said. */
static int put_file(struct rig *r, unsigned no, uint32_t n, bool bytes,
                    uint64_t seed)
{
    struct file f = {.seed = seed}, old;
    struct rig_op ops[EXTS + 1] = {0};
    struct eng_rec rec = {.ext = f.ext};
    unsigned k = 0;
    char buf[16];
    int rc = 0;

    while (n > 0 && (rc = eng_alloc(r->eng, n, 0, 0, f.ext, EXTS, &f.n)) ==
                        -CFS_E_MISS)
        rig_wait(r);
    rig_wait_end(r);
    if (rc < 0)
        return rc;
    if (bytes)
        write_bytes(r, &f);
    rec.n_ext = f.n;
    if (get_file(r, no, &old))
        for (unsigned i = 0; i < old.n; i++)
            ops[k++] = (struct rig_op){.free = old.ext[i]};
    ops[k++] = (struct rig_op){.key = name(no, buf)};
    if (n > 0)
        ops[k - 1].val = (struct cfs_blob){&f, sizeof f};
    assert_int_equal(rig_change(r, ops, k, &rec, ENG_RESERVE), 0);
    return 0;
}

/* Every byte of @f is what was written; how many blocks there are. */
static uint64_t check_file(struct rig *r, const struct file *f)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < f->n; i++) {
        size_t len = (size_t)f->ext[i].n * CFS_BLOCK;
        uint8_t *got = aligned_alloc(CFS_BLOCK, len);
        uint8_t *want = malloc(len);

        fill_ext(f, i, want);
        assert_int_equal(rig_read_data(r, f->ext[i], got), 0);
        assert_memory_equal(got, want, len);
        n += f->ext[i].n;
        free(got);
        free(want);
    }
    return n;
}

static uint64_t check_bytes(struct rig *r)
{
    uint64_t n = 0;
    struct file f;

    for (unsigned no = 0; no < FILES; no++)
        if (get_file(r, no, &f))
            n += check_file(r, &f);
    return n;
}

/* The file as the store has it. */
static bool read_file(struct rig *r, unsigned no, struct file *ret)
{
    struct cfs_blob val;
    char buf[16];
    int rc = rig_get(r, name(no, buf), &val);

    if (rc == -ENOENT)
        return false;
    assert_int_equal(rc, 0);
    assert_int_equal(val.len, sizeof *ret);
    memcpy(ret, val.p, sizeof *ret);
    return true;
}

/* -- waiting --------------------------------------------------------------- */

static bool is_quiet(void *arg)
{
    const struct eng *e = ((struct rig *)arg)->eng;

    return !e->discard.running && !cfs_timer_active(&e->discard.timer);
}

/* Until everything that can be is discarded. */
static void quiet(struct rig *r)
{
    cfs_loop_run_until(r->loop, is_quiet, r);
}

static uint64_t discarded(const struct rig *r)
{
    struct eng_info info;

    eng_info(r->eng, &info);
    return info.discarded;
}

/* As statfs(2) has it: what can be had without anything being deleted. */
static uint64_t avail(const struct rig *r)
{
    struct eng_info info;

    eng_info(r->eng, &info);
    return info.free + eng_growable(r->eng);
}

static void on_device(struct rig *r, uint64_t size)
{
    rig_init(r, size);
    r->conf.discard = true;
    recdev_block(r->dev, true);
    assert_int_equal(rig_open(r, NULL), 0);
}

/* -- a device -------------------------------------------------------------- */

static void freed_runs_are_discarded_after_the_checkpoint_and_once(
    void **state)
{
    struct rig r;
    uint64_t n;

    on_device(&r, 64 * MIB);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(put_file(&r, i, 64, true, i * 1000000), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    n = recdev_discarded(r.dev);
    for (unsigned i = 0; i < 40; i += 2)
        assert_int_equal(put_file(&r, i, 0, false, 0), 0);
    rig_settle(&r);
    quiet(&r);
    assert_int_equal(recdev_discarded(r.dev), n);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    assert_in_range(recdev_discarded(r.dev) - n, 20 * 48 * CFS_BLOCK,
                    20 * 64 * CFS_BLOCK);
    assert_int_equal(discarded(&r) * CFS_BLOCK, recdev_discarded(r.dev));
    n = recdev_discarded(r.dev);
    assert_int_equal(rig_put(&r, (struct cfs_blob){"x", 1},
                             (struct cfs_blob){"y", 1}), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    assert_in_range(recdev_discarded(r.dev), n, n + MIB);
    assert_int_equal(check_bytes(&r), 20 * 64);
    assert_true(rig_check(&r, 20 * 64));
    rig_fini(&r);
}

/* Pieces of one block each, freed in any order, are one run. */
static void small_pieces_next_to_each_other_are_a_run(void **state)
{
    struct rig r;

    on_device(&r, 64 * MIB);
    for (unsigned i = 0; i < 600; i++)
        assert_int_equal(put_file(&r, i, 1, false, 0), 0);
    for (unsigned i = 0; i < 600; i++)
        assert_int_equal(put_file(&r, i * 7 % 600, 0, false, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    assert_in_range(discarded(&r), 500, 700);
    rig_fini(&r);
}

/* More than one job takes: each part is free once, and none twice. */
static void what_takes_several_jobs_comes_back_once(void **state)
{
    struct rig r;
    uint64_t before;

    on_device(&r, 640 * MIB);
    before = avail(&r);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(put_file(&r, i, 2500, false, 0), 0);
    assert_int_equal(put_file(&r, 50, 100, true, 9), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    for (unsigned i = 0; i < 40; i += 2) /* so that they are no one run */
        assert_int_equal(put_file(&r, i, 0, false, 0), 0);
    for (unsigned i = 1; i < 40; i += 4)
        assert_int_equal(put_file(&r, i, 0, false, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    assert_true(discarded(&r) > 2 * 32768);
    assert_int_equal(discarded(&r) * CFS_BLOCK, recdev_discarded(r.dev));
    assert_in_range(avail(&r), before - 100 - 10 * 2500 - 64,
                    before - 100 - 10 * 2500);
    assert_true(rig_check(&r, 100 + 10 * 2500));
    rig_fini(&r);
}

/* What a start frees on its way is not discarded: there is no loop yet to
 * come back to. */
static void a_start_discards_nothing(void **state)
{
    uint64_t n;
    struct rig r;

    on_device(&r, 64 * MIB);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(put_file(&r, i, 64, true, i * 1000000), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    for (unsigned i = 0; i < 40; i += 2)
        assert_int_equal(put_file(&r, i, 0, false, 0), 0);
    rig_settle(&r);
    rig_kill(&r);
    n = recdev_discarded(r.dev);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_true(r.records > 0);
    assert_false(r.eng->discard.running);
    assert_int_equal(discard_pending(r.eng), 0);
    quiet(&r);
    assert_int_equal(recdev_discarded(r.dev), n);
    assert_int_equal(check_bytes(&r), 20 * 64);
    assert_true(rig_check(&r, 20 * 64));
    rig_fini(&r);
}

struct reading {
    struct eng_io io;
    bool          done;
};

static void on_read(struct eng_io *io)
{
    container_of(io, struct reading, io)->done = true;
}

static void a_block_that_is_being_read_is_not_discarded(void **state)
{
    uint8_t *got = aligned_alloc(CFS_BLOCK, 64 * CFS_BLOCK);
    uint8_t *want = malloc(64 * CFS_BLOCK);
    struct reading rd = {.io = {.data = got, .done = on_read}};
    struct file f;
    struct rig r;

    on_device(&r, 64 * MIB);
    assert_int_equal(put_file(&r, 0, 64, true, 7), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    assert_true(get_file(&r, 0, &f));
    assert_int_equal(f.n, 1);
    fill_ext(&f, 0, want);
    rd.io.ext = f.ext[0];
    recdev_hold(r.dev, RECDEV_READ, true);
    eng_data_read(r.eng, &rd.io);
    assert_int_equal(put_file(&r, 0, 0, false, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    assert_int_equal(recdev_discarded(r.dev), 0);
    recdev_hold(r.dev, RECDEV_READ, false);
    rig_run(&r, &rd.done);
    assert_int_equal(rd.io.status, 0);
    assert_memory_equal(got, want, 64 * CFS_BLOCK);
    quiet(&r);
    assert_in_range(recdev_discarded(r.dev), 48 * CFS_BLOCK, 64 * CFS_BLOCK);
    rig_fini(&r);
    free(got);
    free(want);
}

/* While the device takes its time with one lot, what waits behind it can be
 * had; the blocks at hand cannot; and statfs counts both. */
static void who_is_short_of_space_need_not_wait_for_discards(void **state)
{
    struct eng_ext going;
    uint64_t before;
    struct file f;
    struct rig r;

    on_device(&r, 64 * MIB);
    before = avail(&r);
    assert_int_equal(put_file(&r, 0, 2048, false, 0), 0);
    assert_int_equal(put_file(&r, 1, 4096, false, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    recdev_hold(r.dev, RECDEV_DISCARD, true);
    assert_true(get_file(&r, 0, &f));
    assert_int_equal(f.n, 1);
    going = f.ext[0];
    assert_int_equal(put_file(&r, 0, 0, false, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_int_equal(put_file(&r, 1, 0, false, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_in_range(avail(&r), before - 64, before);
    assert_int_equal(put_file(&r, 2, (uint32_t)before - 2048 - 500, false, 0),
                     0);
    assert_int_equal(recdev_discarded(r.dev), 0);
    assert_true(get_file(&r, 2, &f));
    for (unsigned i = 0; i < f.n; i++)
        assert_true(f.ext[i].lba + f.ext[i].n <= going.lba ||
                    f.ext[i].lba >= going.lba + going.n);
    recdev_hold(r.dev, RECDEV_DISCARD, false);
    assert_int_equal(put_file(&r, 3, 1800, false, 0), 0); /* waits for it */
    assert_in_range(recdev_discarded(r.dev), 2032 * CFS_BLOCK, 8 * MIB);
    rig_fini(&r);
}

static void a_device_that_refuses_is_asked_no_more(void **state)
{
    struct rig r;
    uint64_t before;

    on_device(&r, 64 * MIB);
    before = avail(&r);
    recdev_fail(r.dev, RECDEV_DISCARD, 0, 1);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(put_file(&r, i, 64, true, i), 0);
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(put_file(&r, i, 0, false, 0), 0);
        if (round == 2) {
            eng_set_discard(r.eng, false);
            eng_set_discard(r.eng, true);
        }
        assert_int_equal(rig_checkpoint(&r), 0);
        quiet(&r);
        assert_in_range(avail(&r), before - 64, before);
        assert_int_equal(recdev_failed(r.dev), 1);
        eng_set_discard(r.eng, true); /* as other options are changed */
        if (round < 2)
            assert_int_equal(recdev_discarded(r.dev), 0);
    }
    assert_true(recdev_discarded(r.dev) > 4 * MIB);
    assert_int_equal(r.eng->poisoned, 0);
    rig_fini(&r);
}

static void live_data_is_untouched_by_random_work(void **state)
{
    uint64_t rnd = 11, n;
    struct rig r;

    on_device(&r, 48 * MIB);
    r.conf.discard = true;
    for (unsigned i = 0; i < 3000; i++) {
        unsigned no = (unsigned)(rig_random(&rnd) % FILES);
        uint32_t len = (uint32_t)(rig_random(&rnd) % FILE_MAX);

        assert_int_equal(put_file(&r, no, len, true, rig_random(&rnd)), 0);
        if (rig_random(&rnd) % 16 == 0)
            eng_checkpoint(r.eng, rig_done(&r));
        if (rig_random(&rnd) % 700 == 0)
            eng_set_discard(r.eng, false);
        else if (rig_random(&rnd) % 100 == 0)
            eng_set_discard(r.eng, true);
        if (i % 500 == 499)
            check_bytes(&r);
        if (i % 1000 == 600) {
            rig_settle(&r);
            rig_kill(&r);
            assert_int_equal(rig_open(&r, NULL), 0);
        }
    }
    rig_settle(&r);
    quiet(&r);
    n = check_bytes(&r);
    assert_true(rig_check(&r, n));
    assert_true(recdev_discarded(r.dev) > 48 * MIB);
    rig_close(&r, true);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(check_bytes(&r), n);
    rig_fini(&r);
}

/* -- an image -------------------------------------------------------------- */

#define PAGE_BLOCKS 32768u

static uint64_t allocated(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void an_image_shrinks_when_its_files_go(void **state)
{
    char dir[64], path[80];
    struct eng_format form = {.label = "image"};
    struct cfs_err err = {0};
    struct cfs_dev *dev;
    uint64_t before, full, small;
    struct file f;
    struct rig r;
    int fd;

    cfs_test_dir(dir, "discard");
    snprintf(path, sizeof path, "%s/image", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 2048 * (off_t)MIB), 0);
    close(fd);
    assert_int_equal(cfs_dev_open(path, 0, &dev, &err), 0);
    assert_int_equal(eng_mkfs(dev, &form, &err), 0);
    dev->ops->close(dev);
    rig_init(&r, 0);
    r.image = path;
    r.conf.sparse_image = true;
    r.conf.discard = true;
    assert_int_equal(rig_open(&r, &err), 0);
    before = avail(&r);
    assert_int_equal(put_file(&r, 0, 64, true, 5), 0);
    for (unsigned i = 1; i <= 12; i++)
        assert_int_equal(put_file(&r, i, PAGE_BLOCKS, false, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    full = allocated(path);
    assert_true(full > 1536 * MIB);
    for (unsigned i = 1; i <= 12; i++)
        assert_int_equal(put_file(&r, i, 0, false, 0), 0);
    rig_settle(&r);
    assert_int_equal(allocated(path), full);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    small = allocated(path);
    print_message("%llu MiB, then %llu\n", (unsigned long long)(full / MIB),
                  (unsigned long long)(small / MIB));
    assert_true(small < 900 * MIB);
    assert_in_range(avail(&r), before - 200, before);
    assert_true(get_file(&r, 0, &f));
    assert_int_equal(check_file(&r, &f), 64);

    rig_close(&r, true); /* a start does not take it all again */
    assert_int_equal(rig_open(&r, &err), 0);
    quiet(&r);
    assert_true(allocated(path) < small + 200 * MIB);
    assert_in_range(avail(&r), before - 200, before);
    for (unsigned i = 1; i <= 12; i++) /* and it can all be had again */
        assert_int_equal(put_file(&r, i, PAGE_BLOCKS, false, 0), 0);
    rig_settle(&r);
    assert_true(allocated(path) > 1536 * MIB);
    assert_true(rig_check(&r, 12 * PAGE_BLOCKS + 64));
    assert_int_equal(check_file(&r, &f), 64);
    rig_fini(&r);
    unlink(path);
    rmdir(dir);
}

/* An image in memory of which @n pages were in use, and were punched. */
static void punched(struct rig *r, unsigned n)
{
    rig_init(r, 1024 * MIB);
    r->conf.discard = true;
    r->conf.sparse_image = true;
    assert_int_equal(rig_open(r, NULL), 0);
    assert_int_equal(put_file(r, 0, 64, true, 5), 0);
    for (unsigned i = 1; i <= n; i++)
        assert_int_equal(put_file(r, i, PAGE_BLOCKS, false, 0), 0);
    assert_int_equal(rig_checkpoint(r), 0);
    for (unsigned i = 1; i <= n; i++)
        assert_int_equal(put_file(r, i, 0, false, 0), 0);
    assert_int_equal(rig_checkpoint(r), 0);
    quiet(r);
    assert_true(discarded(r) >= 2 * PAGE_BLOCKS);
}

/* Somebody else took the file system's space meanwhile: -ENOSPC, before
 * anything has changed; what is still allocated can be had, also after a
 * start. */
static void what_was_punched_may_be_had_no_more(void **state)
{
    unsigned got = 0, again = 0;
    struct file f;
    struct rig r;

    punched(&r, 6);
    recdev_fail(r.dev, RECDEV_ALLOCATE, 0, UINT64_MAX);
    while (put_file(&r, 1 + got, PAGE_BLOCKS / 4, false, 0) == 0)
        got++;
    rig_settle(&r);
    assert_in_range(got, 8, 20); /* 256 MiB and more */
    assert_int_equal(r.eng->poisoned, 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_true(get_file(&r, 0, &f));
    assert_int_equal(check_file(&r, &f), 64);
    for (unsigned i = 0; i < got; i++)
        assert_int_equal(put_file(&r, 1 + i, 0, false, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    quiet(&r);
    while (put_file(&r, 1 + again, PAGE_BLOCKS / 4, false, 0) == 0)
        again++;
    assert_in_range(again, 8, got);
    assert_true(rig_check(&r, again * PAGE_BLOCKS / 4 + 64));
    rig_fini(&r);
}

/* A start leaves pages unallocated in which nothing is, and punches them once
 * more: those that are allocated again meanwhile, to be used, are not punched,
 * and the one that is just being punched is not allocated. */
static bool is_punching(void *arg)
{
    return ((struct rig *)arg)->eng->discard.running;
}

static bool is_not_backing(void *arg)
{
    return !((struct rig *)arg)->eng->pace.backing;
}

static void punched_and_started(struct rig *r)
{
    punched(r, 6);
    rig_close(r, true);
    recdev_hold(r->dev, RECDEV_DISCARD, true);
    assert_int_equal(rig_open(r, NULL), 0);
    eng_set_discard(r->eng, true);
    cfs_loop_run_until(r->loop, is_punching, r);
    assert_false(r->eng->space.page[r->eng->discard.page].backed);
}

static void a_page_that_is_being_allocated_is_not_punched(void **state)
{
    unsigned no = 1;
    uint32_t page;
    struct rig r;

    punched_and_started(&r);
    recdev_hold(r.dev, RECDEV_ALLOCATE, true);
    while (!r.eng->pace.backing)
        assert_int_equal(put_file(&r, no++, 1024, false, 0), 0);
    page = r.eng->pace.back_page;
    assert_true(r.eng->space.page[page].used);
    recdev_hold(r.dev, RECDEV_DISCARD, false);
    quiet(&r);
    assert_true(r.eng->pace.backing);
    assert_true(r.eng->space.page[page].used);
    recdev_hold(r.dev, RECDEV_ALLOCATE, false);
    rig_fini(&r);
}

static void a_page_that_is_being_punched_is_not_allocated(void **state)
{
    unsigned no = 1;
    uint32_t page;
    struct rig r;

    punched_and_started(&r);
    page = r.eng->discard.page;
    while (eng_avail(r.eng, 0) >= 1024) {
        assert_int_equal(put_file(&r, no++, 1024, false, 0), 0);
        cfs_loop_run_until(r.loop, is_not_backing, &r);
    }
    assert_true(r.eng->discard.running);
    assert_int_equal(r.eng->discard.page, page);
    assert_false(r.eng->space.page[page].backed);
    recdev_hold(r.dev, RECDEV_DISCARD, false);
    quiet(&r);
    rig_fini(&r);
}

static int half_way(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    return -EIO;
}

static int not_at_all(struct cfs_dev *d, uint64_t off, uint64_t len)
{
    return -EOPNOTSUPP;
}

static unsigned backed_pages(const struct rig *r)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < r->eng->space.n_pages; i++)
        n += r->eng->space.page[i].backed;
    return n;
}

/* A punch that failed may have gone half-way: the page is to be allocated
 * anew. One that cannot be had leaves it as it was. */
static void a_punch_that_fails_may_have_been_done(void **state)
{
    for (unsigned known = 0; known < 2; known++) {
        struct cfs_dev_ops ops;
        unsigned before;
        struct rig r;

        rig_init(&r, 1024 * MIB);
        r.conf.discard = r.conf.sparse_image = true;
        assert_int_equal(rig_open(&r, NULL), 0);
        for (unsigned i = 1; i <= 6; i++)
            assert_int_equal(put_file(&r, i, PAGE_BLOCKS, false, 0), 0);
        assert_int_equal(rig_checkpoint(&r), 0);
        quiet(&r);
        ops = *r.eng->dev->ops;
        ops.discard = known ? not_at_all : half_way;
        r.eng->dev->ops = &ops;
        for (unsigned i = 1; i <= 6; i++)
            assert_int_equal(put_file(&r, i, 0, false, 0), 0);
        rig_settle(&r);
        before = backed_pages(&r);
        assert_int_equal(rig_checkpoint(&r), 0);
        quiet(&r);
        assert_int_equal(backed_pages(&r), before - !known);
        assert_int_equal(r.eng->poisoned, 0);
        rig_fini(&r);
    }
}

/* What a cut left: file 0 is there, file 9 if it was synced, and whole. */
static void look_at(struct recdev *image, bool discard, bool synced)
{
    struct file f;
    struct rig r;

    rig_init(&r, 0);
    r.conf.discard = discard;
    r.conf.sparse_image = true;
    rig_swap_image(&r, image);
    assert_int_equal(rig_open(&r, NULL), 0);
    quiet(&r);
    assert_true(read_file(&r, 0, &f));
    assert_int_equal(check_file(&r, &f), 64);
    if (read_file(&r, 9, &f))
        check_file(&r, &f);
    else
        assert_false(synced);
    assert_int_equal(put_file(&r, 10, 100, true, 4), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_true(read_file(&r, 0, &f));
    assert_int_equal(check_file(&r, &f), 64);
    rig_fini(&r);
}

/* The pages go, are punched, and are in use once more: the power is cut at any
 * moment of it. */
static void a_cut_finds_no_hole_in_what_is_in_use(void **state)
{
    size_t from, n, synced;
    struct reccut *c;
    struct rig r;

    rig_init(&r, 768 * MIB);
    r.conf.discard = true;
    r.conf.sparse_image = true;
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(put_file(&r, 0, 64, true, 5), 0);
    for (unsigned i = 1; i <= 4; i++)
        assert_int_equal(put_file(&r, i, PAGE_BLOCKS, false, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    recdev_record(r.dev);
    for (unsigned i = 1; i <= 4; i++)
        assert_int_equal(put_file(&r, i, 0, false, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    from = recdev_events(r.dev);
    quiet(&r);
    assert_true(discarded(&r) >= PAGE_BLOCKS);
    for (unsigned i = 1; i <= 4; i++)
        assert_int_equal(put_file(&r, i, PAGE_BLOCKS, false, 0), 0);
    assert_int_equal(put_file(&r, 9, 3000, true, 6), 0);
    assert_int_equal(rig_sync(&r), 0);
    synced = recdev_events(r.dev);
    assert_int_equal(rig_checkpoint(&r), 0);
    n = recdev_events(r.dev);
    rig_kill(&r);
    c = reccut_new(r.dev);
    for (size_t at = from > 3 ? from - 3 : 0; at <= n; at++)
        look_at(reccut_image(c, at, at), at % 5 == 0, at >= synced);
    reccut_free(c);
    rig_fini(&r);
}

/* -- at rest --------------------------------------------------------------- */

/* A store full of holes of all lengths, at any places: only what is free
 * goes. */
static void at_rest_only_free_blocks_go(void **state)
{
    uint64_t rnd = 3, n, would, did;
    struct rig r;

    rig_init(&r, 64 * MIB);
    recdev_block(r.dev, true);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(put_file(&r, (unsigned)(rig_random(&rnd) % FILES),
                                  (uint32_t)(rig_random(&rnd) % FILE_MAX),
                                  true, rig_random(&rnd)), 0);
    rig_settle(&r);
    n = check_bytes(&r);
    rig_close(&r, true);
    r.conf.read_only = true;
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(eng_discard_free(r.eng, true, NULL, NULL, &would), 0);
    assert_int_equal(recdev_discarded(r.dev), 0);
    assert_int_equal(eng_discard_free(r.eng, false, NULL, NULL, &did), 0);
    assert_int_equal(did, would);
    assert_int_equal(recdev_discarded(r.dev), did);
    assert_true(did > 32 * MIB);
    rig_close(&r, true);
    r.conf.read_only = false;
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(check_bytes(&r), n);
    assert_true(rig_check(&r, n));
    rig_fini(&r);
}

/* One argument: only the tests that it matches. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            freed_runs_are_discarded_after_the_checkpoint_and_once),
        cmocka_unit_test(small_pieces_next_to_each_other_are_a_run),
        cmocka_unit_test(what_takes_several_jobs_comes_back_once),
        cmocka_unit_test(a_start_discards_nothing),
        cmocka_unit_test(a_block_that_is_being_read_is_not_discarded),
        cmocka_unit_test(
            who_is_short_of_space_need_not_wait_for_discards),
        cmocka_unit_test(a_device_that_refuses_is_asked_no_more),
        cmocka_unit_test(live_data_is_untouched_by_random_work),
        cmocka_unit_test(an_image_shrinks_when_its_files_go),
        cmocka_unit_test(what_was_punched_may_be_had_no_more),
        cmocka_unit_test(a_page_that_is_being_allocated_is_not_punched),
        cmocka_unit_test(a_page_that_is_being_punched_is_not_allocated),
        cmocka_unit_test(a_punch_that_fails_may_have_been_done),
        cmocka_unit_test(a_cut_finds_no_hole_in_what_is_in_use),
        cmocka_unit_test(at_rest_only_free_blocks_go),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
