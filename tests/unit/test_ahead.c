/* SPDX-License-Identifier: Apache-2.0 */
/* test_ahead.c - writes of one file that are in progress together take their
 * data to the device before their turn; they are applied in their turn all
 * the same, and what is refused leaves nothing behind. */
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/ops_main.h"

#define N   8u
#define LEN (128u * 1024u) /* a chunk: these may be packed, too */

struct queue {
    struct cfs_write  w[N];
    struct cfs_change change[N];
    struct fix_wait   wait[N];
    uint8_t          *bytes; /* N * LEN */
};

static struct queue *queue_new(void)
{
    struct queue *q = calloc(1, sizeof *q);

    q->bytes = fix_pattern(N * LEN, 7);
    return q;
}

static void queue_free(struct queue *q)
{
    free(q->bytes);
    free(q);
}

/* Write @i, which expects what the one before makes. */
static void make(struct fix *f, struct queue *q, unsigned i, struct cfs_gfid g,
                 uint64_t offset)
{
    struct cfs_change *c = &q->change[i];
    struct cfs_write *w = &q->w[i];

    *c = *fix_change(f, 1, &g);
    c->acked_below = 1;
    c->touch[0].expect.seq += i;
    c->touch[0].make.seq += i;
    *w = (struct cfs_write){.req = {.fop = CFS_FOP_WRITE,
                                    .epoch = f->view.epoch,
                                    .change = c}};
    w->gfid = g;
    w->offset = offset;
    w->data = cfs_buf_new(LEN);
    memcpy(w->data.data, q->bytes + i * LEN, LEN);
    cfs_arena_keep(&f->call.arena, w->data);
    w->sums = fix_sums(f, offset, w->data.data, LEN);
}

static void make_all(struct fix *f, struct queue *q, struct cfs_gfid g,
                     uint64_t offset)
{
    fix_begin(f);
    for (unsigned i = 0; i < N; i++)
        make(f, q, i, g, offset + (uint64_t)i * LEN);
}

static void post_all(struct fix *f, struct queue *q)
{
    for (unsigned i = 0; i < N; i++)
        fix_post(f, &q->w[i].req, &q->wait[i]);
    fix_wait_all(f, q->wait, N);
}

static uint64_t ahead(const struct fix *f)
{
    struct ops_stat s;

    ops_stat(f->ops, &s);
    return s.ahead;
}

static uint64_t free_blocks(struct fix *f)
{
    struct eng_info info;

    fix_settle(f);
    eng_info(ops_engine(f->ops), &info);
    return info.free + info.pending;
}

static void a_stream_is_written_ahead_and_applied_in_order(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "stream");
    struct queue *q = queue_new();

    make_all(f, q, g, 0);
    post_all(f, q);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(q->wait[i].status, 0);
        assert_true(i == 0 ||
                    q->w[i].req.post.pos > q->w[i - 1].req.post.pos);
    }
    assert_true(ahead(f) > 0);
    fix_learn(f, &q->change[N - 1]);
    fix_expect(f, g, q->bytes, N * LEN);
    fix_reopen(f, FIX_KILL);
    fix_expect(f, g, q->bytes, N * LEN);
    queue_free(q);
}

/* One in the middle is refused: those behind it expect a version that never
 * comes. What was written for them is free again. */
static void what_is_refused_in_its_turn_leaves_nothing(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "stream");
    struct queue *q = queue_new();
    uint64_t before = free_blocks(f), now;

    make_all(f, q, g, 0);
    q->change[3].touch[0].expect.seq += 9;
    q->change[3].touch[0].make.seq += 9;
    post_all(f, q);
    assert_true(ahead(f) > 0);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(q->wait[i].status, i < 3 ? 0 : -CFS_E_VERSION);
    fix_learn(f, &q->change[2]);
    fix_expect(f, g, q->bytes, 3 * LEN);
    now = free_blocks(f);
    assert_true(before < now + 3 * LEN / CFS_BLOCK + 16);
    queue_free(q);
}

/* Whoever writes it finds out, in its turn or ahead of it. */
static void wrong_checksums_and_other_epochs_leave_nothing(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "stream");
    struct queue *q = queue_new();
    uint64_t before = free_blocks(f);

    make_all(f, q, g, 0);
    q->w[1].data.data[5000] ^= 1;
    for (unsigned i = 2; i < N; i++)
        q->w[i].req.epoch++;
    post_all(f, q);
    assert_true(ahead(f) <= 1);
    assert_int_equal(q->wait[0].status, 0);
    assert_int_equal(q->wait[1].status, -CFS_E_CHECKSUM);
    for (unsigned i = 2; i < N; i++)
        assert_int_equal(q->wait[i].status, -CFS_E_EPOCH);
    fix_learn(f, &q->change[0]);
    fix_expect(f, g, q->bytes, LEN);
    assert_true(before < free_blocks(f) + LEN / CFS_BLOCK + 64);
    queue_free(q);
}

/* A repeat that comes while the first is in progress: done once. */
static void a_repeat_in_the_queue_is_answered_once_applied(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "stream");
    struct queue *q = queue_new();
    struct cfs_write again;
    struct fix_wait last;

    make_all(f, q, g, 0);
    again = q->w[2];
    for (unsigned i = 0; i < N; i++)
        fix_post(f, &q->w[i].req, &q->wait[i]);
    fix_post(f, &again.req, &last);
    fix_wait_all(f, q->wait, N);
    fix_wait_all(f, &last, 1);
    assert_int_equal(last.status, 0);
    fix_learn(f, &q->change[N - 1]);
    fix_expect(f, g, q->bytes, N * LEN);
    queue_free(q);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, ops_setup, ops_teardown)
    const struct CMUnitTest tests[] = {
        T(a_stream_is_written_ahead_and_applied_in_order),
        T(what_is_refused_in_its_turn_leaves_nothing),
        T(wrong_checksums_and_other_epochs_leave_nothing),
        T(a_repeat_in_the_queue_is_answered_once_applied),
    };

    return ops_main(tests, CFS_ARRAY_SIZE(tests));
}
