/* SPDX-License-Identifier: Apache-2.0 */
/* test_fop_codec.c - every operation there and back; nothing else gets in.
 * Bodies are decoded from memory of their exact size, so that a sanitizer
 * sees a byte that is read beyond. */
#include "tests/unit/cfs_test.h"

#include <fcntl.h>

#include "rpc/programs.h"
#include "tests/unit/fop_fill.h"

#define ROUNDS 50

static bool travels(enum cfs_fop fop)
{
    return cfs_fop_class(fop) != CFS_CLASS_LOCAL;
}

/* @body in a malloc of its exact size. */
static struct cfs_blob exact(struct cfs_blob body)
{
    void *p = malloc(body.len > 0 ? body.len : 1);

    memcpy(p, body.p, body.len);
    return (struct cfs_blob){p, body.len};
}

static int unpack(struct cfs_call *call, enum cfs_fop fop,
                  struct cfs_blob body, struct cfs_buf payload,
                  struct cfs_req **ret)
{
    struct cfs_blob b = exact(body);
    int rc = cfs_fop_unpack(call, fop, b, payload, ret);

    free((void *)b.p);
    return rc;
}

static void every_request_comes_back_as_it_went(void **state)
{
    for (enum cfs_fop fop = 0; fop < CFS_FOP_N; fop++) {
        for (unsigned i = 0; travels(fop) && i < ROUNDS; i++) {
            struct cfs_call call = {0};
            struct cfs_req *req, *got;

            cfs_arena_init(&call.arena);
            req = fill_request(&call, fop);
            if (unpack(&call, fop, cfs_fop_pack(&call.arena, req),
                       cfs_fop_payload(req), &got) < 0)
                fail_msg("%s is refused", cfs_fop_name(fop));
            assert_ptr_equal(got->call, &call);
            if (!same_request(req, got))
                fail_msg("%s differs", cfs_fop_name(fop));
            cfs_arena_fini(&call.arena);
        }
    }
}

static void every_reply_comes_back_as_it_went(void **state)
{
    for (enum cfs_fop fop = 0; fop < CFS_FOP_N; fop++) {
        for (unsigned i = 0; travels(fop) && i < ROUNDS; i++) {
            struct cfs_call call = {0};
            struct cfs_req *req, *got;
            struct cfs_blob body;
            struct cfs_buf payload;
            int rc;

            cfs_arena_init(&call.arena);
            req = fill_request(&call, fop);
            fill_reply(req);
            got = fill_fork(req);
            body = exact(cfs_fop_pack_reply(&call.arena, req, &payload));
            rc = cfs_fop_unpack_reply(got, body, payload);
            free((void *)body.p);
            if (rc < 0)
                fail_msg("the reply of %s is refused", cfs_fop_name(fop));
            if (!same_reply(req, got))
                fail_msg("the reply of %s differs", cfs_fop_name(fop));
            cfs_arena_fini(&call.arena);
        }
    }
}

static void a_failure_carries_post_and_nothing_else(void **state)
{
    for (enum cfs_fop fop = 0; fop < CFS_FOP_N; fop++) {
        struct cfs_call call = {0};
        struct cfs_req *req, *got;
        struct cfs_blob body;
        struct cfs_buf payload;

        if (!travels(fop))
            continue;
        cfs_arena_init(&call.arena);
        req = fill_request(&call, fop);
        fill_reply(req);
        req->status = -CFS_E_EPOCH;
        got = fill_fork(req);
        got->status = req->status;
        body = cfs_fop_pack_reply(&call.arena, req, &payload);
        assert_int_equal(payload.len, 0);
        assert_int_equal(cfs_fop_unpack_reply(got, body, payload), 0);
        assert_memory_equal(&req->post, &got->post, sizeof req->post);
        cfs_arena_fini(&call.arena);
    }
}

static void a_refused_session_learns_who_holds_the_volume(void **state)
{
    struct cfs_call call = {0};
    struct cfs_session_open *op, *got;
    struct cfs_buf payload;
    struct cfs_blob body;

    cfs_arena_init(&call.arena);
    op = (void *)fill_request(&call, CFS_FOP_SESSION_OPEN);
    fill_session(&call.arena, &op->holder);
    op->req.status = -CFS_E_IN_USE;
    got = (void *)fill_fork(&op->req);
    got->req.status = -CFS_E_IN_USE;
    body = cfs_fop_pack_reply(&call.arena, &op->req, &payload);
    assert_int_equal(cfs_fop_unpack_reply(&got->req, body, payload), 0);
    assert_memory_equal(&got->holder, &op->holder, sizeof op->holder);
    cfs_arena_fini(&call.arena);
}

/* Every field is required: no prefix of a body is a body. */
static void no_truncated_request_is_accepted(void **state)
{
    for (enum cfs_fop fop = 0; fop < CFS_FOP_N; fop++) {
        struct cfs_call call = {0};
        struct cfs_req *req, *got;
        struct cfs_blob body;

        if (!travels(fop))
            continue;
        cfs_arena_init(&call.arena);
        req = fill_request(&call, fop);
        body = cfs_fop_pack(&call.arena, req);
        for (uint32_t len = 0; len < body.len; len++)
            if (unpack(&call, fop, (struct cfs_blob){body.p, len},
                       cfs_fop_payload(req), &got) == 0)
                fail_msg("%s cut to %u of %u", cfs_fop_name(fop), len,
                         body.len);
        cfs_arena_fini(&call.arena);
    }
}

/* What is accepted of damaged bytes is a request: packed and unpacked again
 * it is the same. */
static void damaged_requests_are_refused_or_whole(void **state)
{
    srandom(7);
    for (unsigned i = 0; i < 20000; i++) {
        const enum cfs_fop fop = (enum cfs_fop)(random() % CFS_FOP_N);
        struct cfs_call call = {0};
        struct cfs_req *req, *got, *again;
        struct cfs_blob body;

        if (!travels(fop))
            continue;
        cfs_arena_init(&call.arena);
        req = fill_request(&call, fop);
        body = cfs_fop_pack(&call.arena, req);
        for (long n = 1 + random() % 4; n > 0; n--)
            ((uint8_t *)body.p)[random() % body.len] = (uint8_t)random();
        if (unpack(&call, fop, body, cfs_fop_payload(req), &got) == 0) {
            body = cfs_fop_pack(&call.arena, got);
            assert_int_equal(unpack(&call, fop, body, cfs_fop_payload(got),
                                    &again), 0);
            assert_true(same_request(got, again));
        }
        cfs_arena_fini(&call.arena);
    }
}

static void damaged_replies_never_crash(void **state)
{
    srandom(8);
    for (unsigned i = 0; i < 20000; i++) {
        const enum cfs_fop fop = (enum cfs_fop)(random() % CFS_FOP_N);
        struct cfs_call call = {0};
        struct cfs_buf payload;
        struct cfs_req *req, *got;
        struct cfs_blob body;

        if (!travels(fop))
            continue;
        cfs_arena_init(&call.arena);
        req = fill_request(&call, fop);
        fill_reply(req);
        req->status = random() % 4 == 0 ? -EIO : 0;
        got = fill_fork(req);
        got->status = req->status;
        body = cfs_fop_pack_reply(&call.arena, req, &payload);
        for (long n = 1 + random() % 4; n > 0; n--)
            ((uint8_t *)body.p)[random() % body.len] = (uint8_t)random();
        body.len = (uint32_t)random() % (body.len + 1);
        body = exact(body);
        cfs_fop_unpack_reply(got, body, payload);
        free((void *)body.p);
        cfs_arena_fini(&call.arena);
    }
}

static void random_bytes_never_crash(void **state)
{
    srandom(9);
    for (unsigned i = 0; i < 50000; i++) {
        const enum cfs_fop fop = (enum cfs_fop)(random() % CFS_FOP_N);
        struct cfs_call call = {0};
        struct cfs_req *got;
        uint8_t b[200];
        const uint32_t len = (uint32_t)random() % sizeof b;

        cfs_arena_init(&call.arena);
        for (uint32_t j = 0; j < len; j++)
            b[j] = (uint8_t)random();
        unpack(&call, fop, (struct cfs_blob){b, len}, (struct cfs_buf){0},
               &got);
        cfs_arena_fini(&call.arena);
    }
}

/* -- single rules --------------------------------------------------------- */

/* What becomes of @op's request. */
static int verdict(struct cfs_req *req)
{
    struct cfs_req *got;

    return unpack(req->call, req->fop, cfs_fop_pack(&req->call->arena, req),
                  cfs_fop_payload(req), &got);
}

#define RULE(lower, UPPER, want, ...)                                        \
    do {                                                                     \
        struct cfs_call call_ = {0};                                         \
        struct cfs_##lower *op;                                              \
        cfs_arena_init(&call_.arena);                                        \
        op = (void *)fill_request(&call_, CFS_FOP_##UPPER);                  \
        assert_int_equal(verdict(&op->req), 0);                              \
        __VA_ARGS__;                                                         \
        assert_int_equal(verdict(&op->req), want);                           \
        cfs_arena_fini(&call_.arena);                                        \
    } while (0)

static void names_that_no_entry_can_have_are_refused(void **state)
{
    RULE(lookup, LOOKUP, -EINVAL, op->name = cfs_test_name("a/b"));
    RULE(lookup, LOOKUP, -EINVAL, op->name = cfs_test_name("."));
    RULE(lookup, LOOKUP, -EINVAL, op->name = cfs_test_name(".."));
    RULE(lookup, LOOKUP, -EBADMSG, op->name = cfs_test_name(""));
    RULE(lookup, LOOKUP, -EBADMSG, op->name = ((struct cfs_name){"a\0b", 3}));
    RULE(create, CREATE, -EINVAL, op->name = cfs_test_name("/"));
    RULE(rename, RENAME, -EINVAL, op->newname = cfs_test_name("x/y"));
    RULE(link, LINK, -EINVAL, op->newname = cfs_test_name(".."));
    /* an xattr's name may have any byte */
    RULE(getxattr, GETXATTR, 0, op->name = cfs_test_name("user.a/b"));
}

static void a_name_of_256_bytes_is_refused(void **state)
{
    char name[256];

    memset(name, 'n', sizeof name);
    RULE(lookup, LOOKUP, 0, op->name = ((struct cfs_name){name, 255}));
    RULE(lookup, LOOKUP, -EBADMSG, op->name = ((struct cfs_name){name, 256}));
}

static void offsets_and_sizes_do_not_overflow(void **state)
{
    RULE(read, READ, -EINVAL, op->size = CFS_IO_MAX + 1);
    RULE(read, READ, -EINVAL, op->offset = UINT64_MAX);
    RULE(read, READ, -EINVAL, op->offset = CFS_FILE_MAX; op->size = 1);
    RULE(read, READ, 0, op->offset = CFS_FILE_MAX; op->size = 0);
    RULE(write, WRITE, -EINVAL, op->offset = CFS_FILE_MAX;
         op->sums.len = 0);
    RULE(setattr, SETATTR, -EINVAL, op->size = CFS_FILE_MAX + 1);
    RULE(fallocate, FALLOCATE, -EINVAL, op->size = CFS_FALLOC_STEP + 1);
    RULE(fallocate, FALLOCATE, -EINVAL, op->size = 0);
    RULE(fallocate, FALLOCATE, -EINVAL, op->offset = UINT64_MAX - 1);
    RULE(copy, COPY, -EINVAL, op->src_offset = CFS_FILE_MAX);
    RULE(copy, COPY, -EINVAL, op->size = CFS_IO_MAX + 1);
    RULE(lseek, LSEEK, -EINVAL, op->offset = CFS_FILE_MAX + 1);
    RULE(readdir, READDIR, -EINVAL, op->size = CFS_IO_MAX + 1);
}

static void unknown_flags_and_modes_are_refused(void **state)
{
    RULE(lseek, LSEEK, -EINVAL, op->whence = SEEK_END);
    RULE(rename, RENAME, -EINVAL, op->flags = 3);
    RULE(rename, RENAME, -EINVAL, op->flags = 4);
    RULE(setattr, SETATTR, -EINVAL, op->mask = 0x200);
    RULE(write, WRITE, -EINVAL, op->flags = 4);
    RULE(setxattr, SETXATTR, -EINVAL, op->flags = 3);
    RULE(fallocate, FALLOCATE, -EINVAL, op->mode = FALLOC_FL_PUNCH_HOLE);
    RULE(fallocate, FALLOCATE, -EINVAL, op->mode = FALLOC_FL_COLLAPSE_RANGE);
    RULE(create, CREATE, -EINVAL, op->mode = 0644);
    RULE(create, CREATE, -EINVAL, op->mode = S_IFREG | 0x80000000);
    RULE(unlink, UNLINK, -EINVAL, op->rmdir = 2);
    RULE(fsync, FSYNC, -EINVAL, op->datasync = 2);
}

static void sums_must_fit_their_data(void **state)
{
    RULE(write, WRITE, -EINVAL, op->sums.len -= 8);
    RULE(write, WRITE, -EINVAL, op->sums.len -= 1);
    RULE(write, WRITE, 0, op->sums.len = 0);
}

static void a_symlink_has_a_target_and_nothing_else_has(void **state)
{
    RULE(create, CREATE, -EINVAL, op->mode = S_IFLNK | 0777;
         op->target.len = 0);
    RULE(create, CREATE, -EINVAL, op->mode = S_IFREG | 0644;
         op->target = ((struct cfs_blob){"x", 1}));
    RULE(create, CREATE, -EINVAL, op->mode = S_IFLNK | 0777;
         op->target = ((struct cfs_blob){"x\0y", 3}));
}

static void only_a_change_carries_a_change(void **state)
{
    struct cfs_change *change;

    RULE(setattr, SETATTR, -EINVAL, op->req.change = NULL);
    RULE(getattr, GETATTR, -EINVAL,
         change = cfs_call_new(op->req.call, struct cfs_change);
         fill_change(change); op->req.change = change);
    RULE(setattr, SETATTR, -EBADMSG, op->req.change->n = 0);
    RULE(setattr, SETATTR, -EBADMSG, op->req.change->session = 0);
    RULE(setattr, SETATTR, -EBADMSG,
         op->req.change->acked_below = op->req.change->no + 1);
    RULE(setattr, SETATTR, -EBADMSG,
         op->req.change->touch[0].make.epoch = 0;
         op->req.change->touch[0].expect.epoch = 1);
    RULE(setattr, SETATTR, -EBADMSG, op->req.change->now.nsec = 1000000000);
}

static void a_payload_belongs_to_an_operation_that_has_one(void **state)
{
    struct cfs_call call = {0};
    struct cfs_req *req, *got;
    struct cfs_blob body;
    struct cfs_buf buf;

    cfs_arena_init(&call.arena);
    fill_buf(&call.arena, &buf);
    req = fill_request(&call, CFS_FOP_GETATTR);
    body = cfs_fop_pack(&call.arena, req);
    assert_int_equal(unpack(&call, CFS_FOP_GETATTR, body, buf, &got),
                     -EBADMSG);
    req = fill_request(&call, CFS_FOP_WRITE);
    body = cfs_fop_pack(&call.arena, req);
    buf = cfs_fop_payload(req);
    buf.len--;
    assert_int_equal(unpack(&call, CFS_FOP_WRITE, body, buf, &got), -EBADMSG);
    cfs_arena_fini(&call.arena);
}

static void flush_does_not_travel(void **state)
{
    struct cfs_call call = {0};
    struct cfs_req *got;

    cfs_arena_init(&call.arena);
    assert_int_equal(unpack(&call, CFS_FOP_FLUSH, (struct cfs_blob){"", 0},
                            (struct cfs_buf){0}, &got), -EBADMSG);
    assert_int_equal(rpc_fop_proc(CFS_FOP_FLUSH), 0);
    cfs_arena_fini(&call.arena);
}

static void replies_fit_what_was_asked(void **state)
{
    struct cfs_call call = {0};
    struct cfs_read *op, *got;
    struct cfs_blob body;
    struct cfs_buf payload;

    cfs_arena_init(&call.arena);
    op = (void *)fill_request(&call, CFS_FOP_READ);
    op->size = 4096;
    fill_reply(&op->req);
    got = (void *)fill_fork(&op->req);
    body = cfs_fop_pack_reply(&call.arena, &op->req, &payload);
    assert_int_equal(cfs_fop_unpack_reply(&got->req, body, payload), 0);
    got = (void *)fill_fork(&op->req);
    got->size = op->data.len - 1; /* asked for less than came */
    assert_true(cfs_fop_unpack_reply(&got->req, body, payload) < 0);
    cfs_arena_fini(&call.arena);
}

static void every_operation_that_travels_has_one_number(void **state)
{
    unsigned n = 0;

    for (enum cfs_fop fop = 0; fop < CFS_FOP_N; fop++) {
        const uint32_t proc = rpc_fop_proc(fop);
        enum cfs_fop back;

        assert_int_equal(proc != 0, travels(fop));
        if (proc == 0)
            continue;
        assert_int_equal(rpc_fop_of_proc(proc, &back), 0);
        assert_int_equal(back, fop);
        n++;
    }
    assert_int_equal(n, RPC_FOP_PROC_N - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_comes_back_as_it_went),
        cmocka_unit_test(every_reply_comes_back_as_it_went),
        cmocka_unit_test(a_failure_carries_post_and_nothing_else),
        cmocka_unit_test(a_refused_session_learns_who_holds_the_volume),
        cmocka_unit_test(no_truncated_request_is_accepted),
        cmocka_unit_test(damaged_requests_are_refused_or_whole),
        cmocka_unit_test(damaged_replies_never_crash),
        cmocka_unit_test(random_bytes_never_crash),
        cmocka_unit_test(names_that_no_entry_can_have_are_refused),
        cmocka_unit_test(a_name_of_256_bytes_is_refused),
        cmocka_unit_test(offsets_and_sizes_do_not_overflow),
        cmocka_unit_test(unknown_flags_and_modes_are_refused),
        cmocka_unit_test(sums_must_fit_their_data),
        cmocka_unit_test(a_symlink_has_a_target_and_nothing_else_has),
        cmocka_unit_test(only_a_change_carries_a_change),
        cmocka_unit_test(a_payload_belongs_to_an_operation_that_has_one),
        cmocka_unit_test(flush_does_not_travel),
        cmocka_unit_test(replies_fit_what_was_asked),
        cmocka_unit_test(every_operation_that_travels_has_one_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
