/* SPDX-License-Identifier: Apache-2.0 */
/* test_memory.c - there is no memory: not for the n-th allocation of a run,
 * for every n; or for none that goes beyond what is in use at some moment.
 *
 * What was begun is ended: nothing is half changed, and no process ends. What
 * would begin is refused with -ENOMEM, until there is memory again; then all
 * goes on. The brick stays what its model says, and a kill leaves it good.
 */
#include "tests/unit/crash.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/mem.h"

#ifdef __SANITIZE_ADDRESS__
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

#define RESERVE ((size_t)8 << 20)

/* The memory that there is. */
static struct {
    uint64_t tries;   /* so far */
    uint64_t fail_at; /* that one fails; 0: none */
    uint64_t stop_at; /* from that one on there is no more than now */
    size_t   limit;   /* bytes in use, at most; 0: any */
    unsigned failed;
} mem;

static size_t in_use(void)
{
#ifdef __SANITIZE_ADDRESS__
    return __sanitizer_get_current_allocated_bytes();
#else
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
#endif
}

static bool there_is_none(size_t size)
{
    mem.tries++;
    if (mem.tries == mem.stop_at)
        mem.limit = in_use();
    return mem.tries == mem.fail_at ||
           (mem.limit > 0 && in_use() + size > mem.limit);
}

/* The one of the library is not used here. */
void *cfs_mem_try(void *old, size_t align, size_t size, bool zero)
{
    if (there_is_none(size)) {
        mem.failed++;
        return NULL;
    }
    if (align > 0)
        return aligned_alloc(align, size);
    return zero ? calloc(1, size) : realloc(old, size);
}

static unsigned refusals;

/* Memory is there again after the fifth. */
static void on_refused(struct crash *c)
{
    if (++refusals == 5)
        mem.limit = 0;
}

/* A run in which memory fails. How many tries it made; 0: it failed nowhere,
 * for the run has fewer. */
static uint64_t run(uint64_t seed, uint64_t fail_at, uint64_t stop_at)
{
    struct crash c = {.mix = &crash_short_mix, .seed = seed,
                      .refused = on_refused};
    static const struct crash_fault none = {.kind = RECDEV_READ};
    struct crash_figures f = {0};
    uint64_t tries;

    cfs_buf_pool_drain();
    memset(&mem, 0, sizeof mem);
    refusals = 0;
    crash_begin(&c, &none);
    cfs_mem_reserve(RESERVE);
    mem.tries = 0;
    mem.fail_at = fail_at;
    mem.stop_at = stop_at;
    crash_steps(&c);
    crash_finish(&c);
    tries = mem.tries;
    assert_false(c.over);
    mem.fail_at = mem.stop_at = mem.limit = 0;
    cfs_mem_reserve(0);
    if (mem.failed > 0)
        crash_look(&c, 4, &f);
    if (f.bad)
        fail_msg("seed %" PRIu64 ", try %" PRIu64, seed, fail_at + stop_at);
    crash_end(&c);
    return mem.failed > 0 ? tries : 0;
}

static void any_allocation_may_fail(void **state)
{
    uint64_t n = 1;

    while (run(4, n, 0) > 0)
        n++;
    printf("           %" PRIu64 " allocations\n", n - 1);
    assert_true(n > 50);
}

static void requests_are_refused_while_there_is_no_memory(void **state)
{
    unsigned refused = 0, runs = 0;

    for (uint64_t n = 1; run(5, 0, n) > 0; n++, runs++)
        refused += refusals > 0;
    printf("           %u of %u runs had requests refused\n", refused, runs);
    assert_true(refused > runs / 2 && refused > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(requests_are_refused_while_there_is_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
