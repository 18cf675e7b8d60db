/* SPDX-License-Identifier: Apache-2.0 */
/* test_many_sessions.c - more sessions than one would think of, numbers that
 * nobody gave, views that arrive in another order than they were made, times
 * at the end of time. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/store_fix.h"

#define ROOT cfs_gfid_root
#define MANY 1200u

static int setup(void **state)
{
    struct ops_config config = ops_config_default;
    struct fix *f = calloc(1, sizeof *f);

    config.eng.checkpoint_ms = 3600 * 1000; /* only when asked for */
    fix_open(f, &config);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fix_close(*state);
    free(*state);
    return 0;
}

/* As large as a session's record can be. */
static void open_another(struct fix *f)
{
    struct cfs_session_open op = {.req.fop = CFS_FOP_SESSION_OPEN};

    fix_begin(f);
    op.who = f->session;
    memset(op.who.node, 'n', sizeof op.who.node - 1);
    memset(op.who.service, 's', sizeof op.who.service - 1);
    memset(op.who.where, 'w', sizeof op.who.where - 1);
    memset(op.who.owner, 'o', sizeof op.who.owner - 1);
    op.req.epoch = f->view.epoch;
    assert_int_equal(fix_do(f, &op.req), 0);
    f->session = op.session;
    f->change_no = 0;
    fix_attach(f);
}

/* A checkpoint that comes when each of them has changed something stores what
 * is to be stored of all of them. */
static void a_checkpoint_bears_any_number_of_sessions(void **state)
{
    struct cfs_session *s = calloc(MANY, sizeof *s);
    struct fix *f = *state;
    struct cfs_attr a;
    char name[32];

    for (unsigned i = 0; i < MANY; i++) {
        open_another(f);
        s[i] = f->session;
    }
    fix_settle(f);
    for (unsigned i = 0; i < MANY; i++) {
        f->session = s[i];
        f->change_no = 1;
        snprintf(name, sizeof name, "file-%u", i);
        assert_int_equal(fix_create(f, ROOT, name, S_IFREG | 0600, NULL), 0);
    }
    free(s);
    fix_settle(f);
    fix_kill(f);
    fix_fsck(f);
    assert_int_equal(fix_start(f), 0);
    fix_next_view(f, true);
    for (unsigned i = 0; i < MANY; i += 100) {
        snprintf(name, sizeof name, "file-%u", i);
        assert_int_equal(fix_lookup(f, ROOT, name, &a), 0);
    }
}

static int count_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    ++*(unsigned *)ctx;
    return 0;
}

static unsigned answers_in_tree(struct fix *f)
{
    struct rec_key lo, hi;
    unsigned n = 0;
    int rc;

    rec_key_table(&lo, REC_ANSWER);
    rec_key_after(&hi, &lo);
    do {
        n = 0;
        rc = eng_scan(ops_engine(f->ops), rec_key_blob(&lo),
                      rec_key_blob(&hi), count_each, &n);
        fix_idle(f);
    } while (rc == -CFS_E_MISS);
    assert_int_equal(rc, 0);
    return n;
}

/* An answer that was stored leaves the tree when its client has it, if need be
 * some at each checkpoint, and also those that a kill kept from it. */
static void answers_that_nobody_needs_go(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");

    f->acked_below = 1;
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(fix_truncate(f, g, i), 0);
    fix_settle(f);
    assert_true(answers_in_tree(f) >= 3000);
    f->acked_below = 0;
    assert_int_equal(fix_truncate(f, g, 0), 0);
    fix_kill(f);
    assert_int_equal(fix_start(f), 0);
    fix_next_view(f, true);
    fix_attach(f);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(fix_truncate(f, g, i), 0);
        fix_settle(f);
    }
    assert_true(answers_in_tree(f) < 10);
}

#define SMALL_BRICK ((uint64_t)32 << 20)
#define CROWD       500u /* sessions on it */
#define ANSWERS     25u  /* of each, not acknowledged: a leaf full */

/* What is free but for the reserve goes to @g. */
static void fill_up(struct fix *f, struct cfs_gfid g)
{
    uint8_t *data = fix_noise(1 << 20, 1);
    uint64_t at = 0;

    for (uint32_t len = 1 << 20; len >= CFS_BLOCK;) {
        int rc = fix_write(f, g, at, data, len);

        assert_true(rc == 0 || rc == -ENOSPC);
        at += rc == 0 ? len : 0;
        len = rc == 0 ? len : len / 2;
    }
    free(data);
}

/* One change of each session, that frees something. */
static void each_cuts_a_file(struct fix *f, const struct cfs_session *s,
                             uint64_t change_no, uint64_t acked_below,
                             struct cfs_gfid g, uint64_t *size)
{
    for (unsigned i = 0; i < CROWD; i++) {
        f->session = s[i];
        f->change_no = change_no;
        f->acked_below = acked_below;
        assert_int_equal(fix_truncate(f, g, --*size), 0);
    }
}

/* What a checkpoint stores of sessions, and drops, has its place among the
 * tree's leaves where it has it: each record may cost a leaf of its own. There
 * must be blocks for all of them on a device on which nothing else is left. */
static void crowd_a_full_brick(unsigned copies)
{
    struct cfs_session *s = calloc(CROWD, sizeof *s);
    struct ops_config config = ops_config_default;
    struct cfs_dev *dev;
    struct cfs_gfid g, big;
    uint64_t size = CROWD * 8;
    struct fix small, *f = &small;

    config.eng.copies = copies;
    config.eng.checkpoint_ms = 3600 * 1000;
    assert_int_equal(cfs_dev_mem(SMALL_BRICK, &dev), 0);
    fix_open_on(f, &config, dev);
    g = fix_file(f, "file");
    big = fix_file(f, "big");
    for (unsigned i = 0; i < CROWD; i++) {
        open_another(f);
        s[i] = f->session;
        f->acked_below = 1;
        for (unsigned k = 0; k < ANSWERS; k++)
            assert_int_equal(fix_truncate(f, g, size), 0);
    }
    fix_settle(f);
    open_another(f);
    fill_up(f, big);
    fix_settle(f);
    each_cuts_a_file(f, s, ANSWERS, ANSWERS / 2, g, &size);
    fix_settle(f);
    each_cuts_a_file(f, s, ANSWERS + 1, ANSWERS / 2 + 1, g, &size);
    fix_kill(f);
    fix_fsck(f);
    assert_int_equal(fix_start(f), 0);
    fix_next_view(f, true);
    f->session = s[0];
    f->acked_below = 0;
    f->change_no = ANSWERS + 2;
    fix_attach(f);
    assert_int_equal(fix_unlink(f, ROOT, "big", false), 0);
    assert_int_equal(fix_purge(f, big), 0);
    free(s);
    fix_close(f);
}

static void a_full_brick_bears_many_sessions(void **state)
{
    crowd_a_full_brick(1);
    crowd_a_full_brick(2);
}

/* A fence is for a session that this brick may not have heard of; but not for
 * one that cannot have been given: no number would be left. */
static void a_fence_does_not_use_up_all_numbers(void **state)
{
    struct fix *f = *state;
    struct cfs_session_fence op = {.req.fop = CFS_FOP_SESSION_FENCE,
                                   .session = UINT32_MAX};

    fix_begin(f);
    op.req.epoch = f->view.epoch;
    assert_int_equal(fix_do(f, &op.req), -CFS_E_SESSION);
    fix_begin(f);
    op.session = f->session.no + 1000;
    assert_int_equal(fix_do(f, &op.req), 0);
    open_another(f);
    assert_true(f->session.no > op.session);
}

/* Two that are told of views at once: the later one counts, also after a
 * kill. */
static void a_kill_does_not_bring_back_an_earlier_view(void **state)
{
    struct fix *f = *state;
    struct cfs_view first = f->view, second = f->view;
    struct cfs_view_set op[2] = {{.req.fop = CFS_FOP_VIEW_SET},
                                 {.req.fop = CFS_FOP_VIEW_SET}};
    struct cfs_brick *info = calloc(1, sizeof *info);
    struct fix_wait w[2];

    first.epoch += 1;
    first.id.b[0] ^= 1;
    second.epoch += 2;
    second.id.b[0] ^= 2;
    fix_begin(f);
    op[0].view = second;
    op[1].view = first;
    fix_post(f, &op[0].req, &w[0]);
    fix_post(f, &op[1].req, &w[1]);
    fix_wait_all(f, w, 2);
    assert_int_equal(w[0].status, 0);
    fix_info(f, info);
    assert_int_equal(info->view.epoch, second.epoch);
    fix_kill(f);
    assert_int_equal(fix_start(f), 0);
    fix_info(f, info);
    assert_int_equal(info->view.epoch, second.epoch);
    f->view = second;
    free(info);
}

/* A client may say that it is the end of time; time does not go back. */
static void a_time_at_its_end_stays_there(void **state)
{
    const struct cfs_time usual = ((struct fix *)*state)->now;
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    struct cfs_attr a;

    f->now = (struct cfs_time){INT64_MAX, 998999999};
    assert_int_equal(fix_setxattr(f, g, "user.a", "", 0, 0), 0);
    f->now = usual;
    assert_int_equal(fix_setxattr(f, g, "user.a", "b", 1, 0), 0);
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.ctime.sec, INT64_MAX);
    assert_int_equal(a.ctime.nsec, 999999999);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_checkpoint_bears_any_number_of_sessions),
        T(answers_that_nobody_needs_go),
        cmocka_unit_test(a_full_brick_bears_many_sessions),
        T(a_fence_does_not_use_up_all_numbers),
        T(a_kill_does_not_bring_back_an_earlier_view),
        T(a_time_at_its_end_stays_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
