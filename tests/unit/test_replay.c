/* SPDX-License-Identifier: Apache-2.0 */
/* test_replay.c - a brickd that dies at any point has lost nothing that it had
 * answered, and what it had not answered it has done as a whole or not at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/dirent.h"
#include "tests/unit/store_fix.h"

#define ROOT cfs_gfid_root
#define N    120 /* changes in flight */

/* Every third change writes to the file made before. */
struct flight {
    struct cfs_change change[N];
    union {
        struct cfs_req    req;
        struct cfs_create create;
        struct cfs_write  write;
    } op[N];
    struct fix_wait   wait[N];
    char              name[N][16];
    struct cfs_gfid   gfid[N];
    uint8_t           data[N][5000];
    uint32_t          len[N];
    uint64_t          dir_seq; /* of the root, before */
};

static void number(struct fix *f, struct cfs_change *c)
{
    *c = (struct cfs_change){.session = f->session.no, .no = ++f->change_no,
                             .acked_below = 1, .now = f->now};
}

static void make_create(struct fix *f, struct flight *l, unsigned i,
                        struct cfs_version *dir)
{
    struct cfs_change *c = &l->change[i];

    snprintf(l->name[i], sizeof l->name[i], "file-%u", i);
    l->gfid[i] = fix_new_gfid(f);
    number(f, c);
    c->n = 2;
    c->touch[0] = (struct cfs_touch){ROOT, *dir, {f->view.epoch,
                                                  dir->seq + 1}};
    c->touch[1] = (struct cfs_touch){l->gfid[i], {0, 0}, {f->view.epoch, 1}};
    *dir = c->touch[0].make;
}

static void make_write(struct fix *f, struct flight *l, unsigned i)
{
    struct cfs_change *c = &l->change[i];

    l->len[i] = i % 2 ? 100 : 5000;
    memset(l->data[i], (int)i, sizeof l->data[i]);
    l->gfid[i] = l->gfid[i - 1];
    number(f, c);
    c->n = 1;
    c->touch[0] = (struct cfs_touch){l->gfid[i], {f->view.epoch, 1},
                                     {f->view.epoch, 2}};
}

static void make_all(struct fix *f, struct flight *l)
{
    struct cfs_version dir = fix_version(f, ROOT);

    l->dir_seq = dir.seq;
    for (unsigned i = 0; i < N; i++) {
        if (i % 3 == 2)
            make_write(f, l, i);
        else
            make_create(f, l, i, &dir);
    }
}

static void post_one(struct fix *f, struct flight *l, unsigned i)
{
    struct cfs_req head = {.epoch = f->view.epoch, .change = &l->change[i]};

    memset(&l->op[i], 0, sizeof l->op[i]);
    if (i % 3 == 2) {
        struct cfs_write *w = &l->op[i].write;

        head.fop = CFS_FOP_WRITE;
        w->gfid = l->gfid[i];
        w->data = cfs_buf_new(l->len[i]);
        memcpy(w->data.data, l->data[i], l->len[i]);
        cfs_arena_keep(&f->call.arena, w->data);
        w->sums = fix_sums(f, 0, l->data[i], l->len[i]);
    } else {
        struct cfs_create *c = &l->op[i].create;

        head.fop = CFS_FOP_CREATE;
        c->parent = ROOT;
        c->name = cfs_test_name(l->name[i]);
        c->gfid = l->gfid[i];
        c->mode = S_IFREG | 0644;
    }
    l->op[i].req = head;
    fix_post(f, &l->op[i].req, &l->wait[i]);
}

struct some {
    struct flight *l;
    unsigned       n;
};

static bool some_done(void *arg)
{
    const struct some *s = arg;
    unsigned n = 0;

    for (unsigned i = 0; i < N; i++)
        n += s->l->wait[i].done;
    return n >= s->n;
}

static void expect_file(struct fix *f, const struct flight *l, unsigned i)
{
    uint8_t got[5001];

    assert_int_equal(fix_read(f, l->gfid[i], 0, got, sizeof got), l->len[i]);
    assert_memory_equal(got, l->data[i], l->len[i]);
}

/* What was answered is there. Creates are in the order of their versions, so
 * those that are there are the first ones. */
static void check_after_kill(struct fix *f, const struct flight *l,
                             const bool *answered)
{
    bool gone = false;
    struct cfs_attr a;

    for (unsigned i = 0; i < N; i++) {
        int rc;

        if (i % 3 == 2) {
            if (answered[i])
                expect_file(f, l, i);
            continue;
        }
        rc = fix_lookup(f, ROOT, l->name[i], &a);
        assert_true(rc == 0 || rc == -ENOENT);
        assert_false(rc == 0 && gone);
        gone = gone || rc < 0;
        assert_false(gone && answered[i]);
        assert_int_equal(fix_getattr(f, l->gfid[i], &a), rc);
    }
}

static unsigned count_names(struct fix *f)
{
    struct cfs_readdir op = {.req.fop = CFS_FOP_READDIR};
    const uint8_t *at, *end;
    struct cfs_dirent e;
    unsigned n = 0;

    op.gfid = ROOT;
    op.size = CFS_IO_MAX;
    op.req.epoch = f->view.epoch;
    fix_begin(f);
    assert_int_equal(fix_do(f, &op.req), 0);
    at = op.entries.data;
    end = at + op.entries.len;
    while (cfs_dirent_next(&at, end, &e) == 1)
        n++;
    return n;
}

/* Kill after @n answers; then everything is sent again, as a client would in
 * the next view: all of it is there once. */
static void die_after(unsigned n)
{
    struct fix *f = calloc(1, sizeof *f);
    struct flight *l = calloc(1, sizeof *l);
    struct some some = {l, n};
    bool answered[N];
    struct cfs_attr a;

    fix_open(f, NULL);
    f->check = fix_fsck;
    make_all(f, l);
    fix_begin(f);
    for (unsigned i = 0; i < N; i++)
        post_one(f, l, i);
    cfs_loop_run_until(f->loop, some_done, &some);
    for (unsigned i = 0; i < N; i++) {
        answered[i] = l->wait[i].done;
        if (answered[i])
            assert_int_equal(l->wait[i].status, 0);
    }
    fix_reopen(f, FIX_KILL);
    check_after_kill(f, l, answered);

    fix_begin(f);
    for (unsigned i = 0; i < N; i++)
        post_one(f, l, i);
    fix_wait_all(f, l->wait, N);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(l->wait[i].status, 0);
    assert_int_equal(count_names(f), N * 2 / 3);
    assert_int_equal(fix_getattr(f, ROOT, &a), 0);
    assert_int_equal(a.version.seq, l->dir_seq + N * 2 / 3);
    for (unsigned i = 2; i < N; i += 3)
        expect_file(f, l, i);
    fix_close(f);
    free(f);
    free(l);
}

static void what_was_answered_is_there_after_a_kill(void **state)
{
    for (unsigned n = 0; n <= N; n += 12)
        die_after(n);
}

/* The same start again and again, killed each time before anything new. */
static void a_journal_may_be_replayed_many_times(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    struct flight *l = calloc(1, sizeof *l);
    bool answered[N];

    fix_open(f, NULL);
    f->check = fix_fsck;
    make_all(f, l);
    fix_begin(f);
    for (unsigned i = 0; i < N; i++)
        post_one(f, l, i);
    fix_wait_all(f, l->wait, N);
    memset(answered, true, sizeof answered);
    for (unsigned round = 0; round < 5; round++) {
        fix_reopen(f, FIX_KILL);
        check_after_kill(f, l, answered);
        assert_int_equal(count_names(f), N * 2 / 3);
    }
    fix_close(f);
    free(f);
    free(l);
}

/* A stop is clean for the engine whoever is still there: its journal is not
 * looked at. For the view it is clean only without sessions. All that is kept
 * in memory comes back: the session, the answers that repeats get. */
static void a_stop_with_a_session_leaves_an_empty_journal(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    struct flight *l = calloc(1, sizeof *l);
    struct cfs_brick before, after;
    struct eng_info info;

    fix_open(f, NULL);
    f->check = fix_fsck;
    make_all(f, l);
    fix_begin(f);
    for (unsigned i = 0; i < N; i++)
        post_one(f, l, i);
    fix_wait_all(f, l->wait, N);
    fix_info(f, &before);
    fix_reopen(f, FIX_STOP);
    eng_info(ops_engine(f->ops), &info);
    assert_true(info.was_clean);
    fix_info(f, &after);
    assert_false(after.clean);
    assert_int_equal(after.n_sessions, before.n_sessions);
    assert_true(after.n_sessions > 0);
    assert_int_equal(after.inodes, before.inodes);
    assert_int_equal(after.dirty, before.dirty);
    assert_int_equal(after.oplog, before.oplog);

    fix_begin(f);
    for (unsigned i = 0; i < N; i++)
        post_one(f, l, i);
    fix_wait_all(f, l->wait, N);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(l->wait[i].status, 0);
    assert_int_equal(count_names(f), N * 2 / 3);
    fix_close(f);
    free(f);
    free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_answered_is_there_after_a_kill),
        cmocka_unit_test(a_journal_may_be_replayed_many_times),
        cmocka_unit_test(a_stop_with_a_session_leaves_an_empty_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
