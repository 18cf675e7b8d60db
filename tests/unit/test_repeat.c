/* SPDX-License-Identifier: Apache-2.0 */
/* test_repeat.c - a change is applied once: in its view, for its session, to
 * its versions; a repeat gets the first answer (I4, I5). What it leaves for
 * replication (I6, I7), and how that is cleared. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/store_fix.h"
#include "xlators/storage/block/rec.h"

#define ROOT cfs_gfid_root

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);

    fix_open(f, NULL);
    f->check = fix_fsck;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fix_close(*state);
    free(*state);
    cfs_buf_pool_drain();
    return 0;
}

/* A creation that can be sent again and again. */
struct creation {
    struct cfs_create op;
    struct cfs_change change;
};

static void prepare(struct fix *f, struct creation *c, const char *name)
{
    memset(c, 0, sizeof *c);
    c->op.parent = ROOT;
    c->op.name = cfs_test_name(name);
    c->op.gfid = fix_new_gfid(f);
    c->op.mode = S_IFREG | 0600;
    c->change = *fix_change(f, 2, (struct cfs_gfid[]){ROOT, c->op.gfid});
}

/* Outputs and post as a new request has them. */
static void renew(struct fix *f, struct creation *c)
{
    c->op.req = (struct cfs_req){.fop = CFS_FOP_CREATE,
                                 .epoch = f->view.epoch,
                                 .change = &c->change};
    c->op.attr = c->op.dir = (struct cfs_attr){0};
}

static int submit(struct fix *f, struct creation *c)
{
    fix_begin(f);
    renew(f, c);
    return fix_do(f, &c->op.req);
}

static void expect_same(const struct creation *a, const struct creation *b)
{
    assert_memory_equal(&a->op.attr, &b->op.attr, sizeof a->op.attr);
    assert_memory_equal(&a->op.dir, &b->op.dir, sizeof a->op.dir);
    assert_int_equal(a->op.req.post.pos, b->op.req.post.pos);
}

/* Keep answers from being forgotten. */
static void hold_answers(struct fix *f)
{
    f->acked_below = 1;
}

static void a_repeat_gets_the_first_answer(void **state)
{
    struct fix *f = *state;
    struct creation c, again;
    struct cfs_attr dir;

    hold_answers(f);
    prepare(f, &c, "a");
    assert_int_equal(submit(f, &c), 0);
    fix_learn(f, &c.change);
    assert_true(c.op.req.post.pos > 0);
    again = c;
    /* The directory has gone on meanwhile. */
    assert_int_equal(fix_create(f, ROOT, "b", S_IFREG, NULL), 0);
    assert_int_equal(submit(f, &again), 0);
    expect_same(&c, &again);
    assert_int_equal(fix_getattr(f, ROOT, &dir), 0);
    assert_int_equal(dir.version.seq, 3);
}

static void a_repeat_in_the_next_view_gets_the_first_answer(void **state)
{
    struct fix *f = *state;
    struct creation c, again;

    hold_answers(f);
    prepare(f, &c, "a");
    assert_int_equal(submit(f, &c), 0);
    fix_next_view(f, true);
    again = c;
    assert_int_equal(submit(f, &again), 0);
    expect_same(&c, &again);
}

static void answers_outlive_the_process(void **state)
{
    static const enum fix_how how[] = {FIX_KILL, FIX_STOP, FIX_KILL};
    struct fix *f = *state;
    struct creation c, again;

    hold_answers(f);
    prepare(f, &c, "a");
    assert_int_equal(submit(f, &c), 0);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(how); i++) {
        if (i == 2)
            fix_settle(f); /* with a checkpoint: the journal is empty */
        fix_reopen(f, how[i]);
        again = c;
        assert_int_equal(submit(f, &again), 0);
        expect_same(&c, &again);
    }
}

static void many_answers_outlive_a_checkpoint(void **state)
{
    struct fix *f = *state;
    struct creation *c = calloc(1500, sizeof *c), again;
    char name[1500][8];

    hold_answers(f);
    for (unsigned i = 0; i < 1500; i++) {
        snprintf(name[i], sizeof name[i], "%u", i);
        prepare(f, &c[i], name[i]);
        assert_int_equal(submit(f, &c[i]), 0);
        fix_learn(f, &c[i].change);
    }
    fix_settle(f);
    fix_reopen(f, FIX_KILL);
    for (unsigned i = 0; i < 1500; i++) {
        again = c[i];
        assert_int_equal(submit(f, &again), 0);
        expect_same(&c[i], &again);
    }
    free(c);
}

static void a_repeat_while_the_first_is_on_its_way_waits_for_it(void **state)
{
    struct fix *f = *state;
    struct creation c, again;
    struct fix_wait w[2];
    struct cfs_attr dir;

    prepare(f, &c, "a");
    again = c;
    fix_begin(f);
    renew(f, &c);
    again.op.req = (struct cfs_req){.fop = CFS_FOP_CREATE,
                                    .epoch = f->view.epoch,
                                    .change = &again.change};
    fix_post(f, &c.op.req, &w[0]);
    fix_post(f, &again.op.req, &w[1]);
    fix_wait_all(f, w, 2);
    assert_int_equal(w[0].status, 0);
    assert_int_equal(w[1].status, 0);
    expect_same(&c, &again);
    assert_int_equal(fix_getattr(f, ROOT, &dir), 0);
    assert_int_equal(dir.version.seq, 2);
}

static void the_repeat_of_a_failure_fails_alike(void **state)
{
    struct fix *f = *state;
    struct creation c;

    hold_answers(f);
    assert_int_equal(fix_create(f, ROOT, "a", S_IFREG, NULL), 0);
    prepare(f, &c, "a");
    assert_int_equal(submit(f, &c), -EEXIST);
    assert_int_equal(fix_unlink(f, ROOT, "a", false), 0);
    assert_int_equal(submit(f, &c), -EEXIST);
}

static void an_acknowledged_answer_is_forgotten(void **state)
{
    struct fix *f = *state;
    struct ops_stat st;
    struct creation c;

    prepare(f, &c, "a");
    assert_int_equal(submit(f, &c), 0);
    fix_learn(f, &c.change);
    assert_int_equal(fix_create(f, ROOT, "b", S_IFREG, NULL), 0);
    assert_int_equal(submit(f, &c), -EINVAL);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(fix_create(f, ROOT, "b", S_IFREG, NULL), -EEXIST);
    ops_stat(f->ops, &st);
    assert_true(st.answers <= 2);
}

static void a_number_never_carries_another_operation(void **state)
{
    struct fix *f = *state;
    struct cfs_setattr op = {.mask = CFS_SET_MODE, .mode = 0777};
    struct creation c;

    hold_answers(f);
    prepare(f, &c, "a");
    assert_int_equal(submit(f, &c), 0);
    fix_learn(f, &c.change);
    op.gfid = c.op.gfid;
    f->change_no--;
    assert_int_equal(fix_setattr(f, &op), -EINVAL);
}

/* -- versions ------------------------------------------------------------- */

static void only_the_expected_version_is_changed(void **state)
{
    struct fix *f = *state;
    struct cfs_version right;
    struct creation c;
    struct cfs_attr a;

    prepare(f, &c, "a");
    right = c.change.touch[0].expect;
    for (int d = -1; d <= 1; d += 2) {
        c.change.touch[0].expect.seq = right.seq + (uint64_t)d;
        c.change.touch[0].make.seq = right.seq + (uint64_t)d + 1;
        assert_int_equal(submit(f, &c), -CFS_E_VERSION);
    }
    c.change.touch[0].expect = (struct cfs_version){right.epoch + 1,
                                                    right.seq};
    c.change.touch[0].make = (struct cfs_version){f->view.epoch,
                                                  right.seq + 1};
    assert_int_equal(submit(f, &c),
                     right.epoch + 1 > f->view.epoch ? -EINVAL
                                                     : -CFS_E_VERSION);
    assert_int_equal(fix_lookup(f, ROOT, "a", &a), -ENOENT);
    /* A refusal is no answer: with the right one it may come again. */
    c.change.touch[0].expect = right;
    assert_int_equal(submit(f, &c), 0);
}

static void a_failed_change_uses_no_version(void **state)
{
    struct fix *f = *state;
    struct cfs_attr before, after;

    assert_int_equal(fix_create(f, ROOT, "a", S_IFREG, NULL), 0);
    assert_int_equal(fix_getattr(f, ROOT, &before), 0);
    assert_int_equal(fix_create(f, ROOT, "a", S_IFREG, NULL), -EEXIST);
    assert_int_equal(fix_getattr(f, ROOT, &after), 0);
    assert_memory_equal(&before, &after, sizeof before);
}

static void a_change_touches_what_it_says(void **state)
{
    struct fix *f = *state;
    struct creation c;

    prepare(f, &c, "a");
    c.change.n = 1; /* not the new inode */
    assert_int_equal(submit(f, &c), -EINVAL);
    prepare(f, &c, "a");
    c.change.touch[1] = c.change.touch[0]; /* twice */
    assert_int_equal(submit(f, &c), -EINVAL);
    prepare(f, &c, "a");
    c.change.touch[0].make.seq++; /* a step of two */
    assert_int_equal(submit(f, &c), -EINVAL);
    prepare(f, &c, "a");
    c.change.n = 0;
    assert_int_equal(submit(f, &c), -EINVAL);
    prepare(f, &c, "a");
    c.change.touch[0].make.epoch = f->view.epoch + 1; /* of the future */
    assert_int_equal(submit(f, &c), -EINVAL);
}

/* A client that touches what has nothing to do with its operation, or too
 * much, is refused; the brick lives. */
static void hostile_touches_are_refused(void **state)
{
    struct fix *f = *state;
    struct cfs_rename r = {.req.fop = CFS_FOP_RENAME};
    struct cfs_setxattr x = {.req.fop = CFS_FOP_SETXATTR};
    struct cfs_gfid g[4], dir[2], file[2];
    uint8_t *value = calloc(1, CFS_XATTR_MAX);
    char name[8];

    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "g%u", i);
        assert_int_equal(fix_create(f, ROOT, name, S_IFREG, &g[i]), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "d%u", i);
        assert_int_equal(fix_create(f, ROOT, name, S_IFDIR, &dir[i]), 0);
        assert_int_equal(fix_create(f, dir[i], "x", S_IFREG, &file[i]), 0);
    }
    r.parent = dir[0];
    r.newparent = dir[1];
    r.name = r.newname = cfs_test_name("x");
    r.child = file[0];
    r.victim = file[1];
    r.req.change = fix_change(f, 4, g);
    r.req.epoch = f->view.epoch;
    fix_begin(f);
    assert_int_equal(fix_do(f, &r.req), -EINVAL);

    x.gfid = g[0];
    x.name = cfs_test_name("user.x");
    x.value = (struct cfs_blob){value, CFS_XATTR_MAX};
    x.req.change = fix_change(f, 2, g);
    x.req.epoch = f->view.epoch;
    fix_begin(f);
    assert_int_equal(fix_do(f, &x.req), -EINVAL);
    x.req.change->n = 5;
    x.req.change->no++;
    x.req = (struct cfs_req){.fop = CFS_FOP_SETXATTR,
                             .epoch = f->view.epoch,
                             .change = x.req.change};
    fix_begin(f);
    assert_int_equal(fix_do(f, &x.req), -EINVAL);
    free(value);
}

static void a_read_names_the_version_that_it_wants(void **state)
{
    struct fix *f = *state;
    struct cfs_getattr op = {.req.fop = CFS_FOP_GETATTR};

    op.gfid = ROOT;
    op.req.epoch = f->view.epoch;
    op.req.want = (struct cfs_version){1, 1};
    fix_begin(f);
    assert_int_equal(fix_do(f, &op.req), 0);
    op.req.want = (struct cfs_version){1, 2};
    fix_begin(f);
    assert_int_equal(fix_do(f, &op.req), -CFS_E_VERSION);
}

/* -- views and sessions --------------------------------------------------- */

static void a_brick_serves_only_in_its_view(void **state)
{
    struct fix *f = *state;
    struct creation c;
    struct cfs_attr a;

    prepare(f, &c, "a");
    f->view.epoch--;
    assert_int_equal(submit(f, &c), -CFS_E_EPOCH);
    assert_int_equal(fix_getattr(f, ROOT, &a), -CFS_E_EPOCH);
    f->view.epoch += 2;
    assert_int_equal(submit(f, &c), -CFS_E_EPOCH);
    f->view.epoch--;
    fix_next_view(f, false);
    assert_int_equal(submit(f, &c), -CFS_E_NOT_MEMBER);
    assert_int_equal(fix_getattr(f, ROOT, &a), -CFS_E_NOT_MEMBER);
    fix_next_view(f, true);
    assert_int_equal(submit(f, &c), 0);
}

static void a_lower_view_is_ignored(void **state)
{
    struct fix *f = *state;
    struct cfs_view old = f->view;
    struct cfs_brick *info = calloc(1, sizeof *info);

    fix_next_view(f, true);
    assert_int_equal(fix_view(f, &old), 0);
    fix_info(f, info);
    assert_int_equal(info->view.epoch, f->view.epoch);
    old = f->view;
    old.id.b[0] ^= 1;
    assert_int_equal(fix_view(f, &old), -CFS_E_CONFLICT);
    old = f->view;
    old.epoch++;
    old.set.b[0] ^= 1;
    assert_int_equal(fix_view(f, &old), -EINVAL);
    free(info);
}

static void a_new_start_is_in_no_view(void **state)
{
    struct fix *f = *state;
    struct cfs_attr a;

    fix_kill(f);
    assert_int_equal(fix_start(f), 0);
    assert_int_equal(fix_getattr(f, ROOT, &a), -CFS_E_NOT_MEMBER);
}

static void a_clean_stop_is_told_and_a_kill_is_not(void **state)
{
    struct fix *f = *state;
    struct cfs_brick *info = calloc(1, sizeof *info);
    uint64_t last;

    fix_info(f, info);
    last = info->incarnation;
    assert_int_equal(fix_session_close(f, f->session.no), 0);
    fix_kill(f);
    assert_int_equal(fix_start(f), 0);
    fix_info(f, info);
    assert_int_equal(info->clean, 0);
    assert_true(info->incarnation > last);
    fix_next_view(f, true);
    fix_halt(f);
    assert_int_equal(fix_start(f), 0);
    fix_info(f, info);
    assert_int_equal(info->clean, 1);
    /* Nothing has happened since: it stays so through a kill, until the next
     * view. */
    fix_kill(f);
    assert_int_equal(fix_start(f), 0);
    fix_info(f, info);
    assert_int_equal(info->clean, 1);
    fix_next_view(f, true);
    fix_kill(f);
    assert_int_equal(fix_start(f), 0);
    fix_info(f, info);
    assert_int_equal(info->clean, 0);
    free(info);
}

static void a_stop_with_a_live_session_is_not_clean(void **state)
{
    struct fix *f = *state;
    struct cfs_brick *info = calloc(1, sizeof *info);

    fix_reopen(f, FIX_STOP);
    fix_info(f, info);
    assert_int_equal(info->clean, 0);
    assert_int_equal(info->n_sessions, 1);
    assert_int_equal(info->session[0].no, f->session.no);
    assert_string_equal(info->session[0].service, "mount");
    free(info);
}

static int fence(struct fix *f, uint32_t no, uint8_t tail[32])
{
    struct cfs_session_fence op = {.req.fop = CFS_FOP_SESSION_FENCE};
    int rc;

    op.session = no;
    fix_begin(f);
    rc = fix_do(f, &op.req);
    if (rc == 0) {
        assert_int_equal(op.tail.len, 32);
        memcpy(tail, op.tail.p, 32);
    }
    return rc;
}

static int attach(struct fix *f, const struct cfs_session *s)
{
    struct cfs_session_attach op = {.req.fop = CFS_FOP_SESSION_ATTACH};

    op.session = *s;
    op.req.epoch = f->view.epoch;
    fix_begin(f);
    return fix_do(f, &op.req);
}

static void a_fenced_session_is_refused_for_ever(void **state)
{
    struct fix *f = *state;
    uint8_t tail[32];

    assert_int_equal(fence(f, f->session.no, tail), 0);
    assert_int_equal(fix_create(f, ROOT, "a", S_IFREG, NULL),
                     -CFS_E_SESSION);
    assert_int_equal(attach(f, &f->session), -CFS_E_SESSION);
    fix_kill(f);
    assert_int_equal(fix_start(f), 0);
    fix_next_view(f, true);
    assert_int_equal(attach(f, &f->session), -CFS_E_SESSION);
    assert_int_equal(fix_session_close(f, f->session.no), 0);
    assert_int_equal(attach(f, &f->session), -CFS_E_SESSION);
}

/* Until it is closed, whoever ends it must be able to go on. */
static void a_fenced_session_is_told_until_it_is_closed(void **state)
{
    struct fix *f = *state;
    struct cfs_brick *info = calloc(1, sizeof *info);
    struct cfs_session_fence op = {.req.fop = CFS_FOP_SESSION_FENCE};
    uint8_t tail[32];

    assert_int_equal(fence(f, f->session.no, tail), 0);
    for (unsigned i = 0; i < 2; i++) {
        fix_info(f, info);
        assert_int_equal(info->n_sessions, 1);
        assert_int_equal(info->session[0].no, f->session.no);
        assert_int_equal(info->session[0].state, CFS_SESSION_FENCED);
        if (i == 0)
            fix_halt(f);
        if (i == 0)
            assert_int_equal(fix_start(f), 0);
    }
    assert_int_equal(info->clean, 0);
    fix_next_view(f, true);
    assert_int_equal(fix_session_close(f, f->session.no), 0);
    fix_info(f, info);
    assert_int_equal(info->n_sessions, 0);
    /* Its answers are gone: it has nothing to compare. */
    op.session = f->session.no;
    fix_begin(f);
    assert_int_equal(fix_do(f, &op.req), 0);
    assert_int_equal(op.tail.len, 0);
    free(info);
}

/* A goodbye in the same turn as changes: their records are not written yet. */
static void a_close_waits_for_answers(void **state)
{
    struct fix *f = *state;
    struct cfs_session_close close = {.req.fop = CFS_FOP_SESSION_CLOSE};
    struct creation c, again;
    struct fix_wait w[3];

    hold_answers(f);
    prepare(f, &c, "a");
    again = c;
    close.session = f->session.no;
    fix_begin(f);
    renew(f, &c);
    renew(f, &again);
    fix_post(f, &c.op.req, &w[0]);
    fix_post(f, &again.op.req, &w[1]);
    fix_post(f, &close.req, &w[2]);
    fix_wait_all(f, w, 3);
    assert_int_equal(w[0].status, 0);
    assert_int_equal(w[1].status, 0);
    assert_int_equal(w[2].status, 0);
    expect_same(&c, &again);
    assert_int_equal(attach(f, &f->session), -CFS_E_SESSION);
}

static void numbers_of_sessions_are_given_once(void **state)
{
    struct fix *f = *state;
    uint32_t last = f->session.no;

    for (unsigned i = 0; i < 70; i++) {
        struct cfs_session old = f->session;

        fix_reopen(f, FIX_CLEAN);
        assert_true(f->session.no > last);
        last = f->session.no;
        assert_int_equal(attach(f, &old), -CFS_E_SESSION);
    }
}

/* What a brick that was started since knows, too. */
static void a_session_keeps_its_owner(void **state)
{
    struct fix *f = *state;
    struct cfs_session mine = f->session, other = f->session;

    assert_string_equal(mine.owner, ""); /* as of before there were owners */
    strcpy(mine.owner, "alice");
    strcpy(other.owner, "bob");
    assert_int_equal(attach(f, &mine), 0);
    assert_int_equal(attach(f, &other), -EACCES);
    assert_int_equal(attach(f, &f->session), -EACCES);
    f->session = mine;
    for (enum fix_how how = FIX_STOP; how <= FIX_KILL; how++) {
        fix_reopen(f, how);
        assert_int_equal(attach(f, &other), -EACCES);
        assert_int_equal(attach(f, &mine), 0);
    }
}

static void another_process_cannot_attach(void **state)
{
    struct fix *f = *state;
    struct cfs_session other = f->session;

    other.pid++;
    assert_int_equal(attach(f, &other), -CFS_E_SESSION);
    assert_int_equal(attach(f, &f->session), 0);
}

static void a_closed_session_leaves_no_orphan(void **state)
{
    struct fix *f = *state;
    struct cfs_brick *info = calloc(1, sizeof *info);
    struct cfs_gfid g[20];
    struct cfs_attr a;
    char name[8];

    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(fix_create(f, ROOT, name, S_IFREG, &g[i]), 0);
        assert_int_equal(fix_write(f, g[i], 0, name, 2), 0);
        assert_int_equal(fix_unlink(f, ROOT, name, false), 0);
    }
    fix_reopen(f, FIX_CLEAN);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(fix_getattr(f, g[i], &a), -ENOENT);
    fix_info(f, info);
    assert_int_equal(info->inodes, 1);
    free(info);
}

/* A client that says goodbye before it has its answers gets them all. */
static void a_session_may_be_closed_with_changes_on_their_way(void **state)
{
    struct fix *f = *state;
    struct cfs_session_close close = {.req.fop = CFS_FOP_SESSION_CLOSE};
    struct creation c[3], again;
    struct fix_wait w[5];

    fix_begin(f);
    for (unsigned i = 0; i < 3; i++) {
        static const char *const names[] = {"a", "b", "c"};

        prepare(f, &c[i], names[i]);
        fix_learn(f, &c[i].change);
    }
    fix_begin(f);
    for (unsigned i = 0; i < 3; i++) {
        renew(f, &c[i]);
        fix_post(f, &c[i].op.req, &w[i]);
    }
    again = c[2];
    again.op.req = (struct cfs_req){.fop = CFS_FOP_CREATE,
                                    .epoch = f->view.epoch,
                                    .change = &again.change};
    fix_post(f, &again.op.req, &w[3]);
    close.session = f->session.no;
    fix_post(f, &close.req, &w[4]);
    fix_wait_all(f, w, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(w[i].status, 0);
    assert_int_equal(submit(f, &again), -CFS_E_SESSION);
}

/* The same changes at two bricks, but for those of @skip. */
static void same_changes(struct fix *f, unsigned skip)
{
    char name[8];

    hold_answers(f);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "%u", i);
        if (i == skip)
            f->change_no++;
        else
            assert_int_equal(fix_create(f, ROOT, name, S_IFREG, NULL), 0);
    }
}

static void tails_tell_bricks_that_differ(void **state)
{
    struct fix *f = *state, *other = calloc(1, sizeof *other);
    uint8_t a[32], b[32];

    for (unsigned skip = 8; skip <= 10; skip++) {
        fix_open(other, NULL);
        if (skip == 8)
            same_changes(f, 10);
        same_changes(other, skip);
        assert_int_equal(fence(f, f->session.no, a), 0);
        assert_int_equal(fence(other, other->session.no, b), 0);
        assert_int_equal(memcmp(a, b, 32) == 0, skip == 10);
        fix_close(other);
    }
    free(other);
}

/* -- what replication needs ----------------------------------------------- */

static int clear(struct fix *f, uint64_t below, const struct cfs_gfid *g,
                 unsigned n)
{
    struct cfs_clear op = {.req.fop = CFS_FOP_CLEAR};
    uint8_t *p, *inodes = malloc(32 * n + 1);
    int rc;

    for (unsigned i = 0; i < n; i++) {
        struct cfs_version v = fix_version(f, g[i]);
        uint64_t epoch = htole64(v.epoch), seq = htole64(v.seq);

        p = inodes + 32 * i;
        memcpy(p, g[i].b, 16);
        memcpy(p + 16, &epoch, 8);
        memcpy(p + 24, &seq, 8);
    }
    op.session = f->session.no;
    op.below = below;
    op.inodes = (struct cfs_blob){inodes, 32 * n};
    op.req.epoch = f->view.epoch;
    fix_begin(f);
    rc = fix_do(f, &op.req);
    free(inodes);
    return rc;
}

static void expect_counts(struct fix *f, uint64_t dirty, uint64_t oplog)
{
    struct cfs_brick *info = calloc(1, sizeof *info);

    fix_info(f, info);
    assert_int_equal(info->dirty, dirty);
    assert_int_equal(info->oplog, oplog);
    free(info);
}

static void changes_leave_marks_until_they_are_cleared(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g[101] = {ROOT};
    char name[8];

    for (unsigned i = 1; i <= 100; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(fix_create(f, ROOT, name, S_IFREG, &g[i]), 0);
    }
    expect_counts(f, 101, 100);
    assert_int_equal(fix_write(f, g[1], 0, "x", 1), 0);
    expect_counts(f, 101, 100); /* it was dirty already; one inode only */
    fix_reopen(f, FIX_KILL);
    expect_counts(f, 101, 100);
    assert_int_equal(clear(f, 51, NULL, 0), 0);
    expect_counts(f, 101, 50);
    assert_int_equal(clear(f, f->change_no + 1, g, 101), 0);
    expect_counts(f, 0, 0);
    fix_reopen(f, FIX_KILL);
    expect_counts(f, 0, 0);
}

static void an_inode_that_changed_since_is_not_cleared(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g;
    struct fix_known was;

    assert_int_equal(fix_create(f, ROOT, "a", S_IFREG, &g), 0);
    was = (struct fix_known){g, fix_version(f, g)};
    assert_int_equal(fix_write(f, g, 0, "x", 1), 0);
    expect_counts(f, 2, 1);
    /* Clear what was, as a late message would. */
    for (unsigned i = 0; i < f->n_known; i++)
        if (cfs_gfid_eq(f->known[i].gfid, g)) {
            struct cfs_version now = f->known[i].version;

            f->known[i].version = was.version;
            assert_int_equal(clear(f, 0, &g, 1), 0);
            f->known[i].version = now;
        }
    expect_counts(f, 2, 1);
    assert_int_equal(clear(f, 0, &g, 1), 0);
    expect_counts(f, 1, 1);
}

static void read_dirty(struct fix *f, struct cfs_gfid g,
                       struct rec_dirty *ret)
{
    struct rec_key k;
    struct cfs_blob v;

    rec_key_gfid(&k, REC_DIRTY, g);
    assert_int_equal(eng_get(ops_engine(f->ops), rec_key_blob(&k), &v), 0);
    assert_int_equal(rec_dirty_unpack(v, ret), 0);
}

static void the_dirty_index_knows_the_last_clean_version(void **state)
{
    struct fix *f = *state;
    struct cfs_version clean;
    struct rec_dirty d;
    struct cfs_gfid g;

    assert_int_equal(fix_create(f, ROOT, "a", S_IFREG, &g), 0);
    assert_int_equal(clear(f, f->change_no + 1,
                           (struct cfs_gfid[]){ROOT, g}, 2), 0);
    clean = fix_version(f, g);
    assert_int_equal(fix_write(f, g, 0, "x", 1), 0);
    read_dirty(f, g, &d);
    assert_int_equal(d.session, f->session.no);
    assert_int_equal(cfs_version_cmp(d.clean, clean), 0);
    fix_reopen(f, FIX_CLEAN); /* another session */
    assert_int_equal(fix_write(f, g, 0, "y", 1), 0);
    read_dirty(f, g, &d);
    assert_int_equal(d.session, f->session.no);
    assert_int_equal(cfs_version_cmp(d.clean, clean), 0);
    expect_counts(f, 1, 0);
}

static void a_purged_inode_is_cleared_with_its_tombstone(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g;

    assert_int_equal(fix_create(f, ROOT, "a", S_IFREG, &g), 0);
    assert_int_equal(fix_unlink(f, ROOT, "a", false), 0);
    assert_int_equal(fix_purge(f, g), 0);
    expect_counts(f, 2, 2);
    assert_int_equal(clear(f, f->change_no + 1,
                           (struct cfs_gfid[]){ROOT, g}, 2), 0);
    expect_counts(f, 0, 0);
}

static void a_gfid_is_never_used_again(void **state)
{
    struct fix *f = *state;
    struct creation c;
    struct cfs_gfid g;

    assert_int_equal(fix_create(f, ROOT, "a", S_IFREG, &g), 0);
    assert_int_equal(fix_unlink(f, ROOT, "a", false), 0);
    assert_int_equal(fix_purge(f, g), 0);
    prepare(f, &c, "b");
    c.op.gfid = c.change.touch[1].gfid = g;
    assert_int_equal(submit(f, &c), -CFS_E_CONFLICT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_repeat_gets_the_first_answer),
        T(a_repeat_in_the_next_view_gets_the_first_answer),
        T(answers_outlive_the_process),
        T(many_answers_outlive_a_checkpoint),
        T(a_repeat_while_the_first_is_on_its_way_waits_for_it),
        T(the_repeat_of_a_failure_fails_alike),
        T(an_acknowledged_answer_is_forgotten),
        T(a_number_never_carries_another_operation),
        T(only_the_expected_version_is_changed),
        T(a_failed_change_uses_no_version),
        T(a_change_touches_what_it_says),
        T(hostile_touches_are_refused),
        T(a_read_names_the_version_that_it_wants),
        T(a_brick_serves_only_in_its_view),
        T(a_lower_view_is_ignored),
        T(a_new_start_is_in_no_view),
        T(a_clean_stop_is_told_and_a_kill_is_not),
        T(a_stop_with_a_live_session_is_not_clean),
        T(a_fenced_session_is_refused_for_ever),
        T(a_fenced_session_is_told_until_it_is_closed),
        T(a_close_waits_for_answers),
        T(numbers_of_sessions_are_given_once),
        T(another_process_cannot_attach),
        T(a_session_keeps_its_owner),
        T(a_closed_session_leaves_no_orphan),
        T(a_session_may_be_closed_with_changes_on_their_way),
        T(tails_tell_bricks_that_differ),
        T(changes_leave_marks_until_they_are_cleared),
        T(an_inode_that_changed_since_is_not_cleared),
        T(the_dirty_index_knows_the_last_clean_version),
        T(a_purged_inode_is_cleared_with_its_tombstone),
        T(a_gfid_is_never_used_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
