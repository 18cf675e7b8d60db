/* SPDX-License-Identifier: Apache-2.0 */
/* test_stall.c - a device that does nothing for a second never stops the loop,
 * whatever it was at when it began: a read, a write, a flush, a checkpoint, a
 * start. Timers fire (by them go beats), what is in memory is read, changes
 * are answered; then all ends as it should.
 *
 * Here is cfs_dev_open(), so that the translator gets the device of the test.
 */
#include "tests/unit/cfs_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/graph.h"
#include "tests/unit/recdev.h"
#include "tests/unit/store_fix.h"

#define SIZE   ((uint64_t)256 << 20)
#define STALL  (1000 * CFS_MS)
#define TICK   (5 * CFS_MS)
/* Who ends the stall is the loop: one that waits for the device does so for
 * ever, and is ended. How late a beat comes says more about the machine. */
#define FOREVER 60 /* seconds */
#define WRITES 160u
#define LATER  10u

extern const struct cfs_xl_type cfs_xl_storage_block;

static struct recdev *device; /* of the next cfs_dev_open() */

int cfs_dev_open(const char *path, unsigned flags, struct cfs_dev **ret,
                 struct cfs_err *err)
{
    *ret = recdev_open(device);
    return 0;
}

/* -- the loop's pulse ----------------------------------------------------- */

struct pulse {
    struct cfs_timer timer;
    uint64_t         last;
    uint64_t         end;
    uint64_t         gap; /* the longest */
    unsigned         beats;
    bool             over;
};

static void on_beat(struct cfs_timer *t)
{
    struct pulse *p = container_of(t, struct pulse, timer);
    uint64_t now = cfs_now_fresh(t->loop);

    if (now - p->last > p->gap)
        p->gap = now - p->last;
    p->last = now;
    p->beats++;
    p->over = now >= p->end;
    if (!p->over)
        cfs_timer_start(t, TICK);
}

static void pulse_start(struct pulse *p, struct cfs_loop *loop, uint64_t ns)
{
    *p = (struct pulse){0};
    cfs_timer_init(loop, &p->timer, on_beat);
    p->last = cfs_now_fresh(loop);
    p->end = p->last + ns;
    cfs_timer_start(&p->timer, TICK);
}

static bool is_over(void *arg)
{
    return ((struct pulse *)arg)->over;
}

/* -- a brick at work ------------------------------------------------------ */

/* What is under way when the device stalls. */
struct work {
    struct cfs_call  call;
    struct cfs_read  read;
    struct cfs_fsync fsync;
    struct cfs_write write[WRITES];
    struct cfs_change change[WRITES];
    struct eng_done  ckpt;
    struct fix_wait  wait[WRITES + LATER];
    unsigned         n;
    struct cfs_write later[LATER];
    struct cfs_change later_change[LATER];
    bool             ckpt_done;
};

typedef void starter(struct fix *f, struct work *w, struct cfs_gfid g);

static void start_read(struct fix *f, struct work *w, struct cfs_gfid g)
{
    recdev_cached(device, false);
    w->read = (struct cfs_read){.req = {.fop = CFS_FOP_READ,
                                        .epoch = f->view.epoch}};
    w->read.gfid = g;
    w->read.size = 100000;
    fix_post_on(f, &w->call, &w->read.req, &w->wait[w->n++]);
}

static void start_flush(struct fix *f, struct work *w, struct cfs_gfid g)
{
    assert_int_equal(fix_write(f, g, 0, "news", 4), 0);
    w->fsync = (struct cfs_fsync){.req = {.fop = CFS_FOP_FSYNC,
                                          .epoch = f->view.epoch}};
    w->fsync.gfid = g;
    fix_post_on(f, &w->call, &w->fsync.req, &w->wait[w->n++]);
}

/* @n writes of @len bytes. */
static void start_many(struct fix *f, struct work *w, struct cfs_gfid g,
                       unsigned n, uint32_t len)
{
    const uint32_t sums = len / CFS_BLOCK * 8;

    for (unsigned i = 0; i < n; i++) {
        struct cfs_write *op = &w->write[i];

        w->change[i] = *fix_change(f, 1, &g);
        fix_learn(f, &w->change[i]);
        *op = (struct cfs_write){.req = {.fop = CFS_FOP_WRITE,
                                         .epoch = f->view.epoch,
                                         .change = &w->change[i]}};
        op->gfid = g;
        op->offset = (uint64_t)i * len;
        op->data = cfs_buf_new(len);
        memset(op->data.data, (int)i, len);
        cfs_arena_keep(&w->call.arena, op->data);
        op->sums = (struct cfs_blob){
            cfs_arena_alloc(&w->call.arena, sums), sums};
        memcpy((void *)(uintptr_t)op->sums.p,
               fix_sums(f, op->offset, op->data.data, len).p, sums);
        fix_post_on(f, &w->call, &op->req, &w->wait[w->n++]);
    }
}

/* Those that go around the page cache. */
static void start_writes(struct fix *f, struct work *w, struct cfs_gfid g)
{
    start_many(f, w, g, 24, 1 << 20);
}

/* More than may be in the page cache and not on the device. */
static void start_small_writes(struct fix *f, struct work *w,
                               struct cfs_gfid g)
{
    start_many(f, w, g, WRITES, 128 * 1024);
}

static void on_ckpt(struct eng_done *d)
{
    container_of(d, struct work, ckpt)->ckpt_done = true;
}

static bool ckpt_is_done(void *arg)
{
    return ((struct work *)arg)->ckpt_done;
}

static void start_checkpoint(struct fix *f, struct work *w, struct cfs_gfid g)
{
    w->ckpt.done = on_ckpt;
    eng_checkpoint(ops_engine(f->ops), &w->ckpt);
}

/* A change that nobody waits for yet: what the page cache does not take. */
static void change_later(struct fix *f, struct work *w, struct cfs_gfid g,
                         unsigned i)
{
    static const char byte = 'y';
    struct cfs_write *op = &w->later[i];

    w->later_change[i] = *fix_change(f, 1, &g);
    fix_learn(f, &w->later_change[i]);
    *op = (struct cfs_write){.req = {.fop = CFS_FOP_WRITE,
                                     .epoch = f->view.epoch,
                                     .change = &w->later_change[i]}};
    op->gfid = g;
    op->data = cfs_buf_new(1);
    op->data.data[0] = (uint8_t)byte;
    cfs_arena_keep(&w->call.arena, op->data);
    op->sums = (struct cfs_blob){
        cfs_arena_dup(&w->call.arena, fix_sums(f, 0, &byte, 1).p, 8), 8};
    fix_post_on(f, &w->call, &op->req, &w->wait[w->n++]);
}

/* A lookup, and a change of another file, now and then until it is over. */
static unsigned live(struct fix *f, struct pulse *p, struct work *w,
                     struct cfs_gfid small, bool file_too)
{
    unsigned lookups = 0, changes = 0;

    while (!p->over) {
        uint64_t at = p->last;
        struct cfs_attr a;

        assert_int_equal(fix_lookup(f, cfs_gfid_root, "small", &a), 0);
        lookups++;
        if (!file_too) {
            char byte = (char)changes++;

            assert_int_equal(fix_write(f, small, 0, &byte, 1), 0);
        } else if (p->end - p->last < STALL / 2 && changes < LATER) {
            change_later(f, w, small, changes++);
        }
        while (p->last == at && !p->over) {
            struct pulse soon;

            pulse_start(&soon, f->loop, TICK);
            cfs_loop_run_until(f->loop, is_over, &soon);
            cfs_timer_fini(&soon.timer);
        }
    }
    assert_true(lookups > 0);
    return changes;
}

static void stall_during(starter *start, bool file_too, const char *what)
{
    struct ops_config config = ops_config_default;
    struct fix f;
    struct work w = {0};
    struct pulse p;
    struct cfs_gfid big, small;
    uint8_t *data = fix_pattern(1 << 20, 1);
    unsigned changes;

    config.eng.checkpoint_ms = 3600 * 1000;
    device = recdev_new(SIZE);
    recdev_cached(device, true);
    fix_open_on(&f, &config, recdev_open(device));
    f.acked_below = 1; /* several are on their way at once */
    big = fix_file(&f, "big");
    small = fix_file(&f, "small");
    assert_int_equal(fix_write(&f, big, 0, data, 1 << 20), 0);
    assert_int_equal(fix_write(&f, small, 0, "x", 1), 0);
    fix_idle(&f);
    cfs_arena_init(&w.call.arena);
    w.call.loop = f.loop;

    alarm(FOREVER);
    recdev_stall(device, true, file_too);
    pulse_start(&p, f.loop, STALL);
    start(&f, &w, big);
    changes = live(&f, &p, &w, small, file_too);
    if (start == start_read)
        assert_false(w.wait[0].done);
    recdev_stall(device, false, false);
    fix_wait_all(&f, w.wait, w.n);
    for (unsigned i = 0; i < w.n; i++)
        assert_int_equal(w.wait[i].status, 0);
    if (start == start_checkpoint)
        cfs_loop_run_until(f.loop, ckpt_is_done, &w);
    print_message("           %s%s: %u beats, %llu ms at most, %u changes\n",
                  what, file_too ? " of an image" : "", p.beats,
                  (unsigned long long)(p.gap / CFS_MS), changes);
    assert_true(changes > 0);
    alarm(0);
    cfs_timer_fini(&p.timer);
    cfs_arena_fini(&w.call.arena);
    f.check = fix_fsck;
    fix_close(&f);
    recdev_free(device);
    cfs_buf_pool_drain();
    free(data);
}

#define STALL_TEST(name, start)                                              \
    static void name(void **state)                                           \
    {                                                                        \
        stall_during(start, false, #start);                                  \
        stall_during(start, true, #start);                                   \
    }
STALL_TEST(a_read_that_hangs_stops_nobody_else, start_read)
STALL_TEST(a_flush_that_hangs_stops_nobody_else, start_flush)
STALL_TEST(writes_that_hang_stop_nobody_else, start_writes)
STALL_TEST(a_checkpoint_that_hangs_stops_nobody, start_checkpoint)

/* Not of an image: the very first write of its stall may be the loop's. */
static void nor_do_writes_to_the_page_cache(void **state)
{
    stall_during(start_small_writes, false, "start_small_writes");
}

/* What a checkpoint puts into the tree before it freezes it belongs into leaves
 * that nobody may have looked at for long. Here they left memory: they are to
 * be read, and not by the loop. */
static void a_checkpoint_that_needs_leaves_stops_nobody(void **state)
{
    struct ops_config config = ops_config_default;
    struct cfs_gfid small = {0};
    struct pulse p;
    struct work w = {0};
    struct fix f;
    char name[32];

    config.eng.checkpoint_ms = 3600 * 1000;
    device = recdev_new(SIZE);
    recdev_cached(device, true);
    fix_open_on(&f, &config, recdev_open(device));
    f.acked_below = 1; /* all answers are kept */
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "file-%u", i);
        fix_file(&f, name);
    }
    small = fix_file(&f, "small");
    fix_settle(&f);
    eng_reconfigure(ops_engine(f.ops), 0, config.eng.checkpoint_ms);
    eng_trim(ops_engine(f.ops));
    eng_reconfigure(ops_engine(f.ops), config.eng.cache_size,
                    config.eng.checkpoint_ms);
    f.acked_below = 0; /* none is needed any more */
    assert_int_equal(fix_write(&f, small, 0, "x", 1), 0);

    alarm(FOREVER);
    recdev_stall(device, true, false);
    pulse_start(&p, f.loop, STALL);
    start_checkpoint(&f, &w, small);
    assert_true(live(&f, &p, &w, small, false) > 0);
    assert_false(w.ckpt_done);
    recdev_stall(device, false, false);
    cfs_loop_run_until(f.loop, ckpt_is_done, &w);
    alarm(0);
    cfs_timer_fini(&p.timer);
    f.check = fix_fsck;
    fix_close(&f);
    recdev_free(device);
    cfs_buf_pool_drain();
}

/* -- a start -------------------------------------------------------------- */

struct brick {
    struct cfs_loop  *loop;
    struct cfs_log   *log;
    struct cfs_graph *graph;
    struct cfs_brick_info info;
    bool              answered;
    bool              stopped;
    int               status;
    unsigned          up, down;
    char              reason[CFS_ERR_TEXT];
};

static void on_event(struct cfs_graph *g, const struct cfs_event *ev)
{
    struct brick *b = g->owner;

    b->up += ev->type == CFS_EV_CHILD_UP;
    if (ev->type == CFS_EV_CHILD_DOWN) {
        b->down++;
        snprintf(b->reason, sizeof b->reason, "%s", ev->err->text);
    }
}

/* As brickd does: there and then. */
static void on_stopped(struct cfs_graph *g)
{
    struct brick *b = g->owner;

    b->stopped = true;
    cfs_graph_free(g);
    b->graph = NULL;
}

static bool is_stopped(void *arg)
{
    return ((struct brick *)arg)->stopped;
}

static bool is_answered(void *arg)
{
    return ((struct brick *)arg)->answered;
}

static void info_done(struct cfs_brick_info *op, int status)
{
    struct brick *b = container_of(op, struct brick, info);

    b->answered = true;
    b->status = status;
    cfs_call_end(op->req.call);
}

/* A new device with a brick on it, and a graph that is not up yet. */
static void brick_make(struct brick *b, const char *brick_id)
{
    struct cfs_kv opts[] = {{"device", "recorded"}, {"brick-id", brick_id}};
    struct eng_format format = {.brick = {{9}}};
    struct cfs_err err = {0};
    struct cfs_dev *dev;

    *b = (struct brick){0};
    device = recdev_new((uint64_t)32 << 20);
    dev = recdev_open(device);
    assert_int_equal(ops_mkfs(dev, &format, (struct cfs_time){1, 2}, NULL), 0);
    dev->ops->close(dev);
    assert_int_equal(cfs_loop_new(&b->loop, NULL), 0);
    assert_int_equal(cfs_log_open(&b->log, "/dev/null", CFS_LOG_ERROR,
                                  CFS_LOG_PLAIN, NULL), 0);
    assert_int_equal(cfs_graph_new(b->loop, b->log, NULL, &b->graph), 0);
    cfs_graph_builtin(&cfs_xl_storage_block);
    b->graph->owner = b;
    b->graph->on_event = on_event;
    b->graph->on_stopped = on_stopped;
    if (cfs_graph_add(b->graph, "brick", "storage/block", opts,
                      brick_id ? 2 : 1, NULL, 0, &err) < 0)
        fail_msg("%s", err.text);
}

static void brick_start(struct brick *b)
{
    struct cfs_call *call;

    assert_int_equal(cfs_graph_init(b->graph, NULL), 0);
    cfs_graph_parent_up(b->graph);
    call = cfs_call_begin(b->graph);
    b->info.req.call = call;
    cfs_wind_brick_info(b->graph->top, &b->info, info_done);
}

static void brick_free(struct brick *b)
{
    cfs_graph_free(b->graph);
    cfs_log_close(b->log);
    cfs_loop_free(b->loop);
    recdev_free(device);
    cfs_buf_pool_drain();
}

static void brick_stop(struct brick *b)
{
    cfs_graph_stop(b->graph);
    cfs_loop_run_until(b->loop, is_stopped, b);
    assert_true(b->answered);
    brick_free(b);
}

static void a_start_that_hangs_stops_nobody(void **state)
{
    struct brick b;
    struct pulse p;

    brick_make(&b, NULL);
    recdev_stall(device, true, false);
    pulse_start(&p, b.loop, STALL);
    brick_start(&b);
    cfs_loop_run_until(b.loop, is_over, &p);
    assert_true(p.beats > 1);
    assert_false(b.answered);
    assert_int_equal(b.up + b.down, 0);
    recdev_stall(device, false, false);
    cfs_loop_run_until(b.loop, is_answered, &b);
    assert_int_equal(b.status, 0);
    assert_int_equal(b.info.brick.incarnation, 2);
    assert_int_equal(b.up, 1);
    cfs_timer_fini(&p.timer);
    brick_stop(&b);
}

static void a_brick_may_be_stopped_while_it_starts(void **state)
{
    struct brick b;
    struct pulse p;

    brick_make(&b, NULL);
    recdev_stall(device, true, false);
    brick_start(&b);
    cfs_graph_stop(b.graph);
    pulse_start(&p, b.loop, 50 * CFS_MS);
    cfs_loop_run_until(b.loop, is_over, &p);
    assert_false(b.stopped);
    recdev_stall(device, false, false);
    cfs_loop_run_until(b.loop, is_stopped, &b);
    assert_int_equal(b.status, -ENOTCONN);
    assert_int_equal(b.up + b.down, 0);
    cfs_timer_fini(&p.timer);
    brick_free(&b);
}

static void a_brick_that_cannot_start_says_why(void **state)
{
    struct brick b;

    brick_make(&b, NULL);
    memset(recdev_bytes(device), 0, recdev_size(device));
    brick_start(&b);
    cfs_loop_run_until(b.loop, is_answered, &b);
    assert_int_equal(b.status, -EINVAL);
    assert_int_equal(b.down, 1);
    assert_non_null(strstr(b.reason, "there is no clusterfs store"));
    brick_stop(&b);

    brick_make(&b, "11111111-2222-3333-4444-555555555555");
    brick_start(&b);
    cfs_loop_run_until(b.loop, is_answered, &b);
    assert_int_equal(b.status, -EINVAL);
    assert_int_equal(b.down, 1);
    assert_non_null(strstr(b.reason, "holds brick"));
    brick_stop(&b);

    /* And a graph that is given up at once leaves nothing running. */
    brick_make(&b, NULL);
    assert_int_equal(cfs_graph_init(b.graph, NULL), 0);
    brick_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_that_hangs_stops_nobody_else),
        cmocka_unit_test(a_flush_that_hangs_stops_nobody_else),
        cmocka_unit_test(writes_that_hang_stop_nobody_else),
        cmocka_unit_test(nor_do_writes_to_the_page_cache),
        cmocka_unit_test(a_checkpoint_that_hangs_stops_nobody),
        cmocka_unit_test(a_checkpoint_that_needs_leaves_stops_nobody),
        cmocka_unit_test(a_start_that_hangs_stops_nobody),
        cmocka_unit_test(a_brick_may_be_stopped_while_it_starts),
        cmocka_unit_test(a_brick_that_cannot_start_says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
