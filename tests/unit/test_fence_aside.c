/* SPDX-License-Identifier: Apache-2.0 */
/* test_fence_aside.c - a fence whose record has to wait for a node, while the
 * session's last change goes on: what that acknowledges stays acknowledged. By
 * the tail that a fence answers bricks are told apart: one that had to read
 * must say the same as one that had not. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/fake_eng.h"
#include "tests/unit/store_fix.h"

#define ROUNDS 60u

static void open_another(struct fix *f)
{
    struct cfs_session_open op = {.req.fop = CFS_FOP_SESSION_OPEN};

    fix_begin(f);
    op.who = f->session;
    op.req.epoch = f->view.epoch;
    assert_int_equal(fix_do(f, &op.req), 0);
    f->session = op.session;
    f->change_no = 0;
    fix_attach(f);
}

/* A fence and a change at once: what the fence says is acknowledged; the
 * change's status. */
static int fence_beside(struct fix *f, struct cfs_gfid g, uint64_t *ret_acked)
{
    struct cfs_session_fence fence = {.req.fop = CFS_FOP_SESSION_FENCE,
                                      .session = f->session.no};
    struct cfs_setxattr set = {.req.fop = CFS_FOP_SETXATTR, .gfid = g,
                               .name = cfs_test_name("user.a"),
                               .value = {"b", 1}};
    struct fix_wait w[2];

    fix_begin(f);
    fence.req.epoch = set.req.epoch = f->view.epoch;
    set.req.change = fix_change(f, 1, &g);
    fix_post(f, &fence.req, &w[0]);
    fix_post(f, &set.req, &w[1]);
    fix_wait_all(f, w, 2);
    assert_int_equal(w[0].status, 0);
    assert_true(fence.tail.len >= sizeof *ret_acked);
    memcpy(ret_acked, fence.tail.p, sizeof *ret_acked);
    if (w[1].status == 0)
        fix_learn(f, &f->change);
    return w[1].status;
}

static void a_fence_keeps_what_was_acknowledged_meanwhile(void **state)
{
    struct ops_config config = ops_config_default;
    struct fix *f = calloc(1, sizeof *f);
    unsigned applied = 0, refused = 0;
    struct cfs_gfid g;

    fake_eng_chances(0, 0, 0, 1);
    fix_open(f, &config);
    g = fix_file(f, "file");
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t acked;
        int rc;

        fake_eng_chances(0, 0, 0, 1);
        open_another(f);
        for (unsigned k = 0; k < 3; k++)
            assert_int_equal(fix_setxattr(f, g, "user.a", "a", 1, 0), 0);
        fake_eng_chances(2, 0, 0, i + 1);
        rc = fence_beside(f, g, &acked);
        if (rc == 0) {
            assert_int_equal(acked, f->change_no);
            applied++;
        } else {
            assert_int_equal(rc, -CFS_E_SESSION);
            assert_int_equal(acked, f->change_no - 1);
            refused++;
        }
    }
    assert_true(applied > 0 && refused > 0);
    fake_eng_chances(0, 0, 0, 1);
    open_another(f);
    fix_close(f);
    fake_eng_forget();
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fence_keeps_what_was_acknowledged_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
