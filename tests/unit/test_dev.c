/* SPDX-License-Identifier: Apache-2.0 */
/* test_dev.c - an image file as a device: what is written in one way is read
 * in every other; lengths, ends, many threads at once. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "xlators/storage/block/engine/dev.h"
#include "xlators/storage/block/engine/dev_aio.h"

#define SIZE    ((uint64_t)8 << 20)
#define THREADS 8u
#define ROUNDS  64u

struct image {
    struct cfs_dev *dev;
    char            path[64];
};

static int setup(void **state)
{
    struct image *im = calloc(1, sizeof *im);
    struct cfs_err err = {0};
    int fd;

    snprintf(im->path, sizeof im->path, "./test-dev-%d.img", (int)getpid());
    fd = open(im->path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)SIZE) < 0)
        return -1;
    close(fd);
    *state = im;
    return cfs_dev_open(im->path, 0, &im->dev, &err);
}

static int teardown(void **state)
{
    struct image *im = *state;

    im->dev->ops->close(im->dev);
    unlink(im->path);
    free(im);
    return 0;
}

/* Bytes that tell where they belong. */
static void fill(uint8_t *p, uint64_t off, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = (off + i) * UINT64_C(0x9e3779b97f4a7c15) + seed;

        memcpy(p + i, &v, sizeof v);
    }
}

static int put(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
               uint8_t *p, size_t len)
{
    struct iovec iov = {p, len};

    return d->ops->write(d, via, off, &iov, 1, len);
}

static void each_way_reads_what_each_wrote(void **state)
{
    static const enum cfs_dev_via way[] = {CFS_DEV_BUFFERED, CFS_DEV_DIRECT};
    static const size_t lens[] = {4096, 12288, 256 * 1024, 1028 * 1024};
    struct cfs_dev *d = ((struct image *)*state)->dev;
    uint8_t *p = aligned_alloc(4096, 2 << 20);
    uint8_t *q = aligned_alloc(4096, 2 << 20);
    uint64_t seed = 1;

    for (unsigned w = 0; w < 2; w++) {
        for (unsigned r = 0; r < 2; r++) {
            for (unsigned k = 0; k < CFS_ARRAY_SIZE(lens); k++) {
                uint64_t off = 4096 * (1 + seed % 700);

                fill(p, off, lens[k], ++seed);
                assert_int_equal(put(d, way[w], off, p, lens[k]), 0);
                assert_int_equal(d->ops->read(d, way[r], off, q, lens[k]), 0);
                assert_memory_equal(p, q, lens[k]);
            }
        }
    }
    free(p);
    free(q);
}

static void a_vector_is_written_in_order(void **state)
{
    struct cfs_dev *d = ((struct image *)*state)->dev;
    uint8_t *p = aligned_alloc(4096, 1 << 20);
    uint8_t *q = aligned_alloc(4096, 1 << 20);
    struct iovec iov[3] = {
        {p + 8192, 4096}, {p, 8192}, {p + 12288, 600 * 1024}};
    size_t len = 12288 + 600 * 1024;

    fill(p, 0, 1 << 20, 5);
    assert_int_equal(d->ops->write(d, CFS_DEV_DIRECT, 65536, iov, 3, len), 0);
    assert_int_equal(d->ops->read(d, CFS_DEV_DIRECT, 65536, q, len), 0);
    assert_memory_equal(q, p + 8192, 4096);
    assert_memory_equal(q + 4096, p, 8192);
    assert_memory_equal(q + 12288, p + 12288, 600 * 1024);
    free(p);
    free(q);
}

static void behind_the_end_is_an_error(void **state)
{
    struct cfs_dev *d = ((struct image *)*state)->dev;
    uint8_t *p = aligned_alloc(4096, 16384);

    assert_int_equal(d->ops->read(d, CFS_DEV_DIRECT, SIZE - 4096, p, 8192),
                     -EIO);
    assert_int_equal(d->ops->read(d, CFS_DEV_BUFFERED, SIZE, p, 4096), -EIO);
    free(p);
}

static void errors_are_numbers(void **state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uint8_t *p = aligned_alloc(4096, 4096);
    struct iovec iov = {p, 4096};
    ssize_t n = dev_aio(fd, true, &iov, 1, 0);

    /* Refused before it was begun, or an error of the request itself. */
    assert_true(n == -ENOSYS || n == -EBADF);
    close(fd);
    free(p);
}

struct worker {
    pthread_t       t;
    struct cfs_dev *dev;
    uint64_t        first; /* its own part */
    int             rc;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    uint8_t *p = aligned_alloc(4096, 65536), *q = aligned_alloc(4096, 65536);

    for (unsigned i = 0; i < ROUNDS && w->rc == 0; i++) {
        uint64_t off = w->first + i % 8 * 65536;

        fill(p, off, 65536, i);
        w->rc = put(w->dev, CFS_DEV_DIRECT, off, p, 65536);
        if (w->rc == 0)
            w->rc = w->dev->ops->read(w->dev, CFS_DEV_DIRECT, off, q, 65536);
        if (w->rc == 0 && memcmp(p, q, 65536) != 0)
            w->rc = -EILSEQ;
    }
    free(p);
    free(q);
    return NULL;
}

static void many_threads_get_each_its_own(void **state)
{
    struct cfs_dev *d = ((struct image *)*state)->dev;
    struct worker w[THREADS] = {0};

    for (unsigned i = 0; i < THREADS; i++) {
        w[i].dev = d;
        w[i].first = i * (SIZE / THREADS);
        assert_int_equal(pthread_create(&w[i].t, NULL, work, &w[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(w[i].t, NULL);
        assert_int_equal(w[i].rc, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_way_reads_what_each_wrote, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_vector_is_written_in_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(behind_the_end_is_an_error, setup,
                                        teardown),
        cmocka_unit_test(errors_are_numbers),
        cmocka_unit_test_setup_teardown(many_threads_get_each_its_own, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
