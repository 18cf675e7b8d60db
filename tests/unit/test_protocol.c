/* SPDX-License-Identifier: Apache-2.0 */
/* test_protocol.c - protocol/client and protocol/server: sessions, and what
 * becomes of operations on the way. */
#include "tests/unit/protocol_rig.h"

static void child_up_comes_after_attach_and_not_before(void **state)
{
    struct world w;
    struct cfs_req *req;

    begin_both(&w);
    pause_for(&w, 20 * CFS_MS);
    assert_int_equal(w.client.up, 0); /* a connection is not enough */
    req = new_op(&w.client, CFS_FOP_SESSION_ATTACH);
    ask(&w, &w.client, req, -CFS_E_SESSION);
    assert_int_equal(req->status, -CFS_E_SESSION);
    assert_int_equal(w.client.up, 0); /* nor is a refused session */
    end_op(req);
    done_side = &w.client;
    ups_at_done = 99;
    attach(&w, &w.client);
    WAIT(&w, is_up);
    assert_int_equal(ups_at_done, 0); /* its done() ran before */
    done_side = NULL;
    attach(&w, &w.client);
    assert_int_equal(w.client.up, 1); /* once for a connection */
    end(&w);
}

static void every_operation_arrives_and_is_answered_in_full(void **state)
{
    struct world w;

    begin_both(&w);
    attach(&w, &w.client);
    for (enum cfs_fop fop = 0; fop < CFS_FOP_N; fop++) {
        struct cfs_req *req, *below;

        if (!travels_as_client(fop) || fop == CFS_FOP_SESSION_CLOSE)
            continue;
        req = new_op(&w.client, fop);
        wind(&w.client, req);
        below = take(&w);
        if (!same_request(req, below))
            fail_msg("%s arrives changed", cfs_fop_name(fop));
        fill_reply(below);
        cfs_unwind(below, 0);
        WAIT(&w, op_done);
        assert_int_equal(req->status, 0);
        end_op(req);
    }
    end(&w);
}

static void outputs_are_what_the_brick_gave(void **state)
{
    struct world w;
    struct cfs_read *op;
    struct cfs_read *below;
    uint8_t want[8192];

    begin_both(&w);
    attach(&w, &w.client);
    op = (void *)new_op(&w.client, CFS_FOP_READ);
    op->offset = 4096;
    op->size = 8192;
    wind(&w.client, &op->req);
    below = (void *)take(&w);
    fill_reply(&below->req);
    cfs_arena_keep(&below->req.call->arena, below->data = cfs_buf_new(8192));
    fill_bytes(below->data.data, 8192);
    memcpy(want, below->data.data, 8192);
    fill_sums(&below->req.call->arena, 4096, 8192, &below->sums);
    below->req.post.pos = 77;
    cfs_unwind_read(below, 0);
    WAIT(&w, op_done);
    assert_int_equal(op->data.len, 8192);
    assert_memory_equal(op->data.data, want, 8192);
    assert_int_equal(op->sums.len, 16);
    assert_int_equal(op->req.post.pos, 77);
    end_op(&op->req);
    end(&w);
}

static void a_failure_brings_its_status_and_the_brick_s_epoch(void **state)
{
    struct world w;
    struct cfs_req *req, *below;

    begin_both(&w);
    attach(&w, &w.client);
    req = new_op(&w.client, CFS_FOP_SETATTR);
    wind(&w.client, req);
    below = take(&w);
    below->post.epoch = 9;
    below->post.incarnation = 3;
    cfs_unwind(below, -CFS_E_EPOCH);
    WAIT(&w, op_done);
    assert_int_equal(req->status, -CFS_E_EPOCH);
    assert_int_equal(req->post.epoch, 9);
    assert_int_equal(req->post.incarnation, 3);
    assert_int_equal(w.client.want_view, 1);
    end_op(req);
    end(&w);
}

static void a_newer_epoch_is_asked_for_once(void **state)
{
    const struct cfs_view view = {.epoch = 9};
    struct world w;

    begin_both(&w);
    attach(&w, &w.client);
    for (unsigned epoch = 5; epoch <= 11; epoch++) {
        struct cfs_req *req = new_op(&w.client, CFS_FOP_GETATTR), *below;

        if (epoch == 7)
            cfs_graph_event(w.client.graph,
                            (struct cfs_event){.type = CFS_EV_VIEW,
                                               .view = &view});
        wind(&w.client, req);
        below = take(&w);
        fill_reply(below);
        below->post.epoch = epoch / 2 * 2; /* each twice */
        cfs_unwind(below, 0);
        WAIT(&w, op_done);
        end_op(req);
    }
    /* 4, 6 before the view; 10 after it */
    assert_int_equal(w.client.want_view, 3);
    end(&w);
}

static void attach_tells_of_the_view(void **state)
{
    struct world w;

    begin_both(&w);
    attach(&w, &w.client);
    assert_int_equal(w.client.new_view, 1);
    assert_int_equal(w.client.new_epoch, 1);
    end(&w);
}

static void without_a_session_nothing_is_read_or_changed(void **state)
{
    struct world w;

    begin_both(&w);
    for (enum cfs_fop fop = 0; fop < CFS_FOP_N; fop++) {
        if (!travels_as_client(fop) || fop == CFS_FOP_SESSION_OPEN ||
            fop == CFS_FOP_SESSION_ATTACH)
            continue;
        assert_int_equal(refused(&w, &w.client, new_op(&w.client, fop)),
                         -CFS_E_SESSION);
    }
    end(&w);
}

static void another_session_s_number_is_refused(void **state)
{
    struct world w;
    struct cfs_req *req;
    void *op;

    begin_both(&w);
    attach(&w, &w.client);
    req = new_op(&w.client, CFS_FOP_WRITE);
    req->change->session = SESSION + 1;
    assert_int_equal(refused(&w, &w.client, req), -CFS_E_SESSION);
    op = req = new_op(&w.client, CFS_FOP_CLEAR);
    ((struct cfs_clear *)op)->session = SESSION + 1;
    assert_int_equal(refused(&w, &w.client, req), -CFS_E_SESSION);
    op = req = new_op(&w.client, CFS_FOP_SESSION_CLOSE);
    ((struct cfs_session_close *)op)->session = SESSION + 1;
    assert_int_equal(refused(&w, &w.client, req), -CFS_E_SESSION);
    end(&w);
}

static void what_is_mgmtd_s_is_refused_to_clients(void **state)
{
    struct world w;

    begin_both(&w);
    attach(&w, &w.client);
    assert_int_equal(
        refused(&w, &w.client, new_op(&w.client, CFS_FOP_SESSION_FENCE)),
        -EPERM);
    assert_int_equal(
        refused(&w, &w.client, new_op(&w.client, CFS_FOP_VIEW_SET)), -EPERM);
    assert_int_equal(
        refused(&w, &w.client, new_op(&w.client, CFS_FOP_BRICK_INFO)),
        -EPERM);
    end(&w);
}

static void after_goodbye_the_session_is_over(void **state)
{
    struct world w;
    struct cfs_req *req;

    begin_both(&w);
    attach(&w, &w.client);
    req = new_op(&w.client, CFS_FOP_SESSION_CLOSE);
    ask(&w, &w.client, req, 0);
    assert_int_equal(req->status, 0);
    end_op(req);
    assert_int_equal(
        refused(&w, &w.client, new_op(&w.client, CFS_FOP_GETATTR)),
        -CFS_E_SESSION);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(child_up_comes_after_attach_and_not_before),
        cmocka_unit_test(every_operation_arrives_and_is_answered_in_full),
        cmocka_unit_test(outputs_are_what_the_brick_gave),
        cmocka_unit_test(a_failure_brings_its_status_and_the_brick_s_epoch),
        cmocka_unit_test(a_newer_epoch_is_asked_for_once),
        cmocka_unit_test(attach_tells_of_the_view),
        cmocka_unit_test(without_a_session_nothing_is_read_or_changed),
        cmocka_unit_test(another_session_s_number_is_refused),
        cmocka_unit_test(what_is_mgmtd_s_is_refused_to_clients),
        cmocka_unit_test(after_goodbye_the_session_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
