/* SPDX-License-Identifier: Apache-2.0 */
#include "cfs_test.h"

#include "core/buf.h"

static int drain(void **state)
{
    cfs_buf_pool_drain();
    return 0;
}

static void buffers_are_aligned_and_large_enough(void **state)
{
    static const uint32_t sizes[] = {0,    1,     4096,    4097,   8192,
                                     8193, 65536, 1000000, 1 << 20, 2 << 20};

    for (size_t i = 0; i < CFS_ARRAY_SIZE(sizes); i++) {
        struct cfs_buf b = cfs_buf_new(sizes[i]);

        assert_int_equal((uintptr_t)b.data % 4096, 0);
        assert_int_equal(b.len, sizes[i]);
        assert_true(b.mem->size >= sizes[i]);
        assert_true(b.mem->size < 2 * (sizes[i] < 4096 ? 4096 : sizes[i]));
        memset(b.data, 0xa5, b.mem->size);
        cfs_buf_unref(&b);
        assert_null(b.mem);
        assert_null(b.data);
    }
}

static void freed_memory_is_used_again(void **state)
{
    struct cfs_buf b = cfs_buf_new(100000);
    uint8_t *data = b.data;

    cfs_buf_unref(&b);
    b = cfs_buf_new(70000); /* the same class */
    assert_ptr_equal(b.data, data);
    cfs_buf_unref(&b);
}

/* Halves of a huge page: each is used again, and goes when both are free. */
static void large_buffers_are_apart_and_used_again(void **state)
{
    enum { N = 200 }; /* several times what is kept */
    static struct cfs_buf b[N];
    struct cfs_buf one;
    uint8_t *data;

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < N; i++) {
            b[i] = cfs_buf_new(i % 3 ? 1 << 20 : 2 << 20);
            memset(b[i].data, (int)i, b[i].len);
        }
        for (unsigned i = 0; i < N; i++)
            for (uint32_t k = 0; k < b[i].len; k += 4095)
                assert_int_equal(b[i].data[k], i);
        /* Some for good, in an order of their own. */
        for (unsigned i = 0; i < N; i++)
            if (i * 7 % N > round)
                cfs_buf_unref(&b[i * 7 % N]);
        cfs_buf_pool_drain();
        for (unsigned i = 0; i <= round; i++) {
            assert_int_equal(b[i].data[b[i].len - 1], i);
            cfs_buf_unref(&b[i]);
        }
        assert_null(b[0].data);
    }
    one = cfs_buf_new(1 << 20);
    data = one.data;
    cfs_buf_unref(&one);
    one = cfs_buf_new(1 << 20);
    assert_ptr_equal(one.data, data);
    cfs_buf_unref(&one);
}

static void a_second_reference_keeps_it(void **state)
{
    struct cfs_buf b = cfs_buf_new(5000), other, window;

    b.data[10] = 42;
    window = cfs_buf_ref(b);
    window.data += 10;
    window.len = 1;
    cfs_buf_unref(&b);
    other = cfs_buf_new(5000);
    assert_ptr_not_equal(other.data, window.data - 10);
    other.data[10] = 43;
    assert_int_equal(window.data[0], 42);
    cfs_buf_unref(&other);
    cfs_buf_unref(&window);
}

/* Somebody else's bytes have no count. */
static void borrowed_bytes_pass_through(void **state)
{
    uint8_t bytes[4] = {1, 2, 3, 4};
    struct cfs_buf b = {NULL, bytes, 4}, c = cfs_buf_ref(b);

    assert_ptr_equal(c.data, bytes);
    cfs_buf_unref(&b);
    cfs_buf_unref(&c);
    assert_int_equal(bytes[3], 4);
}

static void assert_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i], 0);
}

static void arena_memory_is_zero_and_apart(void **state)
{
    struct cfs_arena a;
    uint8_t *p[200];

    cfs_arena_init(&a);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < CFS_ARRAY_SIZE(p); i++) {
            p[i] = cfs_arena_alloc(&a, i * 7);
            assert_int_equal((uintptr_t)p[i] % 16, 0);
            assert_zero(p[i], i * 7);
            memset(p[i], (int)i + 1, i * 7);
        }
        for (unsigned i = 0; i < CFS_ARRAY_SIZE(p); i++)
            for (unsigned k = 0; k < i * 7; k++)
                assert_int_equal(p[i][k], i + 1);
        cfs_arena_reset(&a);
    }
    cfs_arena_fini(&a);
}

static void arena_gives_more_than_a_chunk(void **state)
{
    struct cfs_arena a;
    uint8_t *big, *small, *next;

    cfs_arena_init(&a);
    small = cfs_arena_alloc(&a, 32);
    big = cfs_arena_alloc(&a, 3u << 20);
    assert_zero(big, 3u << 20);
    memset(big, 1, 3u << 20);
    /* The chunk in use is not given up for it. */
    next = cfs_arena_alloc(&a, 32);
    assert_ptr_equal(next, small + 32);
    cfs_arena_fini(&a);
}

static void arena_keeps_its_first_chunk_over_a_reset(void **state)
{
    struct cfs_arena a;
    void *first;

    cfs_arena_init(&a);
    first = cfs_arena_alloc(&a, 100);
    for (unsigned i = 0; i < 100; i++)
        cfs_arena_alloc(&a, 1000);
    cfs_arena_reset(&a);
    assert_ptr_equal(cfs_arena_alloc(&a, 100), first);
    cfs_arena_fini(&a);
}

static void arena_holds_buffers_to_its_end(void **state)
{
    struct cfs_buf b = cfs_buf_new(4096), mine = cfs_buf_ref(b), c;
    struct cfs_arena a;

    cfs_arena_init(&a);
    cfs_arena_keep(&a, b);
    assert_int_equal(mine.mem->refs, 2);
    cfs_arena_keep(&a, (struct cfs_buf){0});
    cfs_arena_fini(&a);
    assert_int_equal(mine.mem->refs, 1);

    c = mine;
    cfs_arena_keep(&a, cfs_buf_ref(mine));
    cfs_arena_reset(&a);
    assert_int_equal(c.mem->refs, 1);
    cfs_arena_fini(&a);
    cfs_buf_unref(&mine);
}

static void arena_copies(void **state)
{
    struct cfs_arena a;
    char text[] = "hello";
    char *copy;

    cfs_arena_init(&a);
    copy = cfs_arena_dup(&a, text, sizeof text);
    text[0] = 'j';
    assert_string_equal(copy, "hello");
    assert_non_null(cfs_arena_dup(&a, NULL, 0));
    cfs_arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_are_aligned_and_large_enough),
        cmocka_unit_test(freed_memory_is_used_again),
        cmocka_unit_test(large_buffers_are_apart_and_used_again),
        cmocka_unit_test(a_second_reference_keeps_it),
        cmocka_unit_test(borrowed_bytes_pass_through),
        cmocka_unit_test(arena_memory_is_zero_and_apart),
        cmocka_unit_test(arena_gives_more_than_a_chunk),
        cmocka_unit_test(arena_keeps_its_first_chunk_over_a_reset),
        cmocka_unit_test(arena_holds_buffers_to_its_end),
        cmocka_unit_test(arena_copies),
    };

    return cmocka_run_group_tests(tests, NULL, drain);
}
