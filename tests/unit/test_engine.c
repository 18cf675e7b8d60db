/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine.c - what the block store's engine promises as a whole: what was
 * answered survives a kill, what was synced a power cut; a full device, a
 * failing device, a device with flipped bits. */
#include "tests/unit/cfs_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/eng_rig.h"
#include "xlators/storage/block/engine/engine_int.h"

#define MIB ((uint64_t)1024 * 1024)

static struct cfs_blob str(const char *s)
{
    return (struct cfs_blob){s, (uint32_t)strlen(s)};
}

/* Record number @i: the same for all who ask. */
static struct cfs_blob nth_key(char *buf, unsigned i)
{
    int n = snprintf(buf, 32, "key%08u", i * 2654435761u % 100000000u);

    return (struct cfs_blob){buf, (uint32_t)n};
}

static int put_nth(struct rig *r, unsigned i, unsigned round)
{
    char key[32], val[256];
    int n = snprintf(val, sizeof val, "value %u of round %u %0*u", i, round,
                     (int)(i % 100), 7);

    return rig_put(r, nth_key(key, i), (struct cfs_blob){val, (uint32_t)n});
}

static void a_fresh_store_is_empty_and_clean(void **state)
{
    struct rig r;
    struct cfs_blob val;
    struct eng_info info;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(rig_get(&r, str("nothing"), &val), -ENOENT);
    eng_info(r.eng, &info);
    assert_true(info.was_clean);
    assert_int_equal(eng_incarnation(r.eng), 1);
    assert_true(rig_check(&r, 0));
    rig_fini(&r);
}

static void what_was_committed_is_there_after_a_clean_stop(void **state)
{
    struct rig r;
    struct eng_info info;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(put_nth(&r, i, 0), 0);
    assert_true(rig_matches(&r, &r.model));
    rig_close(&r, true);
    assert_int_equal(rig_open(&r, NULL), 0);
    eng_info(r.eng, &info);
    assert_true(info.was_clean);
    assert_int_equal(r.records, 0);
    assert_true(rig_matches(&r, &r.model));
    assert_true(rig_check(&r, 0));
    rig_fini(&r);
}

static void what_was_answered_survives_a_kill(void **state)
{
    struct rig r;
    struct eng_info info;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 1000; i++) {
            assert_int_equal(put_nth(&r, i * (round + 1), round), 0);
            if (i == 500 && round % 2 == 0)
                assert_int_equal(rig_checkpoint(&r), 0);
        }
        rig_settle(&r);
        rig_kill(&r);
        assert_int_equal(rig_open(&r, NULL), 0);
        eng_info(r.eng, &info);
        assert_false(info.was_clean);
        assert_int_equal(r.records, round % 2 == 0 ? 499 : 1000);
        assert_int_equal(eng_incarnation(r.eng), round + 2);
        assert_true(rig_matches(&r, &r.model));
        assert_true(rig_check(&r, 0));
    }
    rig_fini(&r);
}

/* -- a device that fails --------------------------------------------------- */

struct told {
    unsigned times;
    int      status;
};

static void on_poison(void *ctx, int status)
{
    struct told *t = ctx;

    t->times++;
    t->status = status;
}

/* What must hold once a write or flush has failed: nothing is promised any
 * more, and a start afterwards finds what was promised before. */
static void is_poisoned(struct rig *r, const struct told *t)
{
    struct eng_info info;
    struct cfs_blob val;

    eng_info(r->eng, &info);
    assert_int_equal(info.poisoned, -EIO);
    assert_int_equal(t->times, 1);
    assert_int_equal(t->status, -EIO);
    assert_int_not_equal(strlen(eng_poison_reason(r->eng)), 0);
    assert_int_equal(put_nth(r, 5, 5), -CFS_E_POISONED);
    assert_int_equal(rig_sync(r), -CFS_E_POISONED);
    assert_int_equal(rig_checkpoint(r), -CFS_E_POISONED);
    assert_int_equal(rig_get(r, str("nothing"), &val), -ENOENT);
    rig_close(r, true);
    assert_int_equal(r->status, -CFS_E_POISONED);
}

static void a_failed_write_or_flush_poisons(void **state)
{
    enum { JOURNAL, FLUSH, CHECKPOINT, RECORD, DATA, CASES };

    for (unsigned what = 0; what < CASES; what++) {
        struct rig r;
        struct model promised = {0};
        struct told told = {0};
        struct eng_ext ext;
        unsigned n;
        uint8_t *data = aligned_alloc(4096, 4096);

        rig_init(&r, 64 * MIB);
        assert_int_equal(rig_open(&r, NULL), 0);
        eng_on_poison(r.eng, on_poison, &told);
        for (unsigned i = 0; i < 500; i++)
            assert_int_equal(put_nth(&r, i, 0), 0);
        assert_int_equal(rig_sync(&r), 0);
        model_copy(&promised, &r.model);
        memset(data, 7, 4096);
        switch (what) {
        case JOURNAL:
            recdev_fail(r.dev, RECDEV_WRITE, 0, 1);
            put_nth(&r, 1000, 0);
            rig_settle(&r);
            assert_int_equal(r.status, -CFS_E_POISONED);
            break;
        case FLUSH:
            recdev_fail(r.dev, RECDEV_FLUSH, 0, 1);
            put_nth(&r, 1000, 0);
            assert_int_equal(rig_sync(&r), -CFS_E_POISONED);
            break;
        case CHECKPOINT:
            recdev_fail(r.dev, RECDEV_WRITE, 0, 1);
            assert_int_equal(rig_checkpoint(&r), -CFS_E_POISONED);
            break;
        case RECORD: /* nodes, map, index, then the record */
            recdev_fail(r.dev, RECDEV_WRITE, 3, 1);
            assert_int_equal(rig_checkpoint(&r), -CFS_E_POISONED);
            break;
        case DATA:
            assert_int_equal(eng_alloc(r.eng, 1, 0, 0, &ext, 1, &n), 0);
            recdev_fail(r.dev, RECDEV_WRITE, 0, 1);
            assert_int_equal(rig_write_data(&r, ext, data),
                             -CFS_E_POISONED);
            break;
        }
        is_poisoned(&r, &told);
        assert_int_equal(rig_open(&r, NULL), 0);
        if (what == FLUSH) /* written, and the kill was no power cut */
            assert_true(rig_matches(&r, &r.model));
        else
            assert_true(rig_matches(&r, &promised));
        assert_true(rig_check(&r, 0));
        rig_fini(&r);
        model_clear(&promised);
        free(data);
    }
}

static void a_failed_read_is_told_and_tried_again(void **state)
{
    struct rig r;
    struct cfs_blob val;
    char key[32];
    unsigned failed = 0;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(put_nth(&r, i, 0), 0);
    rig_settle(&r);
    rig_close(&r, true);
    assert_int_equal(rig_open(&r, NULL), 0);
    recdev_fail(r.dev, RECDEV_READ, 1, 3);
    for (unsigned i = 0; i < 20; i++)
        failed += rig_get(&r, nth_key(key, i * 100), &val) == -EIO;
    assert_in_range(failed, 1, 3);
    assert_true(rig_matches(&r, &r.model));
    assert_int_equal(put_nth(&r, 1, 2), 0);
    rig_fini(&r);
}

/* -- a device that is slow ------------------------------------------------- */

/* A flush that hangs holds up nobody but those who wait for it. */
static void changes_go_on_while_a_flush_hangs(void **state)
{
    struct rig r;
    struct eng_done *sync;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(put_nth(&r, 0, 0), 0);
    rig_settle(&r);
    recdev_hold(r.dev, RECDEV_FLUSH, true);
    sync = rig_done(&r);
    eng_sync(r.eng, sync);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(put_nth(&r, i, 1), 0);
        rig_settle_to(&r, 1);
    }
    assert_int_equal(r.in_flight, 1);
    recdev_hold(r.dev, RECDEV_FLUSH, false);
    rig_settle(&r);
    assert_int_equal(r.status, 0);
    rig_fini(&r);
}

/* All who ask while one flush is on its way share the next. */
static void one_flush_serves_all(void **state)
{
    struct eng_info before, after;
    struct rig r;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    eng_info(r.eng, &before);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(put_nth(&r, i, 0), 0);
        eng_sync(r.eng, rig_done(&r));
    }
    rig_settle(&r);
    eng_info(r.eng, &after);
    assert_in_range(after.flushes - before.flushes, 1, 2);
    assert_true(eng_durable(r.eng) > 0);
    rig_fini(&r);
}

/* -- space ----------------------------------------------------------------- */

static uint64_t free_blocks(const struct rig *r)
{
    struct eng_info info;

    eng_info(r->eng, &info);
    return info.free;
}

/* Put large values until there is no space; how many there are. */
static unsigned fill(struct rig *r, uint8_t *val, unsigned from)
{
    char key[32];
    unsigned i = from;
    int rc;

    while ((rc = rig_put(r, nth_key(key, i),
                         (struct cfs_blob){val, ENG_VALUE_MAX})) == 0)
        i++;
    assert_int_equal(rc, -ENOSPC);
    return i;
}

static void a_full_store_refuses_before_it_changes_anything(void **state)
{
    uint8_t *val = calloc(1, ENG_VALUE_MAX);
    struct eng_ext ext;
    uint64_t empty;
    struct rig r;
    unsigned n, got;
    char key[32];

    rig_init(&r, 32 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    empty = free_blocks(&r);
    for (unsigned round = 0; round < 3; round++) {
        n = fill(&r, val, 0);
        assert_true(n > 250);
        assert_int_equal(eng_alloc(r.eng, 64, 0, 0, &ext, 1, &got), -ENOSPC);
        assert_true(rig_matches(&r, &r.model));
        rig_settle(&r);
        rig_kill(&r);
        assert_int_equal(rig_open(&r, NULL), 0);
        assert_true(rig_matches(&r, &r.model));
        assert_true(rig_check(&r, 0));
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(rig_del(&r, nth_key(key, i)), 0);
        assert_int_equal(rig_checkpoint(&r), 0);
        assert_int_equal(rig_checkpoint(&r), 0);
        assert_int_equal(free_blocks(&r), empty);
    }
    rig_fini(&r);
    free(val);
}

/* Overwriting over and over needs space that only checkpoints give back:
 * changes wait for it, and never hear -ENOSPC. */
static void freed_space_is_waited_for(void **state)
{
    uint8_t *val = calloc(1, ENG_VALUE_MAX);
    struct rig r;
    char key[32];
    unsigned n;

    rig_init(&r, 32 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    n = fill(&r, val, 0) - 40;
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(rig_del(&r, nth_key(key, n + i)), 0);
    for (unsigned i = 0; i < 600; i++) {
        val[0] = (uint8_t)i;
        assert_int_equal(rig_put(&r, nth_key(key, i % n),
                                 (struct cfs_blob){val, ENG_VALUE_MAX}), 0);
    }
    assert_true(rig_matches(&r, &r.model));
    rig_fini(&r);
    free(val);
}

/* Blocks named by a record, then freed by another. */
static void commit_free(struct rig *r, struct eng_ext ext, bool take)
{
    struct eng_rec rec = {.ext = &ext, .n_ext = 1};
    struct rig_op op = {.free = ext};
    struct rig_op none = {.key = str("taken"), .val = str("yes")};

    if (take)
        assert_int_equal(rig_change(r, &none, 1, &rec, 0), 0);
    else
        assert_int_equal(rig_change(r, &op, 1, NULL, 0), 0);
}

static void a_freed_block_comes_back_after_a_checkpoint(void **state)
{
    struct eng_ext ext, again;
    struct rig r;
    unsigned n;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(eng_alloc(r.eng, 8, 0, 0, &ext, 1, &n), 0);
    commit_free(&r, ext, true);
    assert_int_equal(rig_checkpoint(&r), 0);
    commit_free(&r, ext, false);
    assert_int_equal(eng_alloc(r.eng, 8, ext.lba, 0, &again, 1, &n), 0);
    assert_int_not_equal(again.lba, ext.lba);
    eng_unalloc(r.eng, again);
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_int_equal(eng_alloc(r.eng, 8, ext.lba, 0, &again, 1, &n), 0);
    assert_int_equal(again.lba, ext.lba);
    eng_unalloc(r.eng, again);
    rig_fini(&r);
}

struct slow_read {
    struct eng_io io;
    bool          done;
};

static void on_slow_read(struct eng_io *io)
{
    container_of(io, struct slow_read, io)->done = true;
}

static void a_block_being_read_is_not_reused(void **state)
{
    struct slow_read read = {.io = {.done = on_slow_read}};
    struct eng_ext ext, again;
    struct rig r;
    unsigned n;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(eng_alloc(r.eng, 8, 0, 0, &ext, 1, &n), 0);
    commit_free(&r, ext, true);
    assert_int_equal(rig_checkpoint(&r), 0);

    recdev_hold(r.dev, RECDEV_READ, true);
    read.io.ext = ext;
    read.io.data = aligned_alloc(4096, 8 * 4096);
    eng_data_read(r.eng, &read.io);
    commit_free(&r, ext, false);
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    assert_false(read.done);
    assert_int_equal(eng_alloc(r.eng, 8, ext.lba, 0, &again, 1, &n), 0);
    assert_int_not_equal(again.lba, ext.lba);
    eng_unalloc(r.eng, again);

    recdev_hold(r.dev, RECDEV_READ, false);
    rig_run(&r, &read.done);
    assert_int_equal(eng_alloc(r.eng, 8, ext.lba, 0, &again, 1, &n), 0);
    assert_int_equal(again.lba, ext.lba);
    eng_unalloc(r.eng, again);
    free(read.io.data);
    rig_fini(&r);
}

/* In a sparse image only what its file system has given counts. */
static void a_sparse_image_counts_what_is_allocated(void **state)
{
    uint8_t *val = calloc(1, ENG_VALUE_MAX);
    struct rig r;

    rig_init(&r, 1024 * MIB);
    r.conf.sparse_image = true;
    recdev_fail(r.dev, RECDEV_ALLOCATE, 3, 1000);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_in_range(free_blocks(&r), 256 * MIB / 4096, 400 * MIB / 4096);
    fill(&r, val, 0);
    rig_settle(&r);
    assert_true(rig_matches(&r, &r.model));
    rig_fini(&r);
    free(val);
}

/* -- freezing -------------------------------------------------------------- */

static void on_freeze(void *ctx)
{
    struct rig *r = ctx;

    eng_put(r->eng, str("kept in memory"), str("until now"));
}

static void what_is_put_at_the_freeze_is_in_that_checkpoint(void **state)
{
    struct cfs_blob val;
    struct rig r;

    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(put_nth(&r, i, 0), 0);
    rig_settle(&r);
    rig_close(&r, true);
    assert_int_equal(rig_open(&r, NULL), 0);
    eng_on_freeze(r.eng, on_freeze, &r);
    assert_int_equal(put_nth(&r, 1, 1), 0);
    assert_int_equal(rig_get(&r, str("kept in memory"), &val), -ENOENT);
    assert_int_equal(rig_checkpoint(&r), 0);
    rig_kill(&r);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(rig_get(&r, str("kept in memory"), &val), 0);
    assert_memory_equal(val.p, "until now", val.len);
    rig_fini(&r);
}

/* -- a device that takes its time ------------------------------------------ */

/* Two who make their next change when the last was answered, until there is no
 * room for more, or the sync has ended. */
struct steady {
    struct eng_done done[2];
    struct eng_done sync;
    struct eng     *eng;
    bool            synced;
    bool            over;
};

static void commit_next(struct steady *s, struct eng_done *d)
{
    struct eng_rec rec = {.type = 1, .body = str("again and again")};

    s->over = s->synced || eng_begin(s->eng, 0, 0, 100, ENG_RESERVE) != 0;
    if (!s->over)
        eng_commit(s->eng, &rec, d);
}

static struct steady steady; /* who has made a change cannot be told apart */

static void on_committed(struct eng_done *d)
{
    assert_int_equal(d->status, 0);
    commit_next(&steady, d);
}

static void on_synced(struct eng_done *d)
{
    assert_int_equal(d->status, 0);
    steady.synced = true;
}

static bool is_writing(void *arg)
{
    return steady.eng->jrn.writing;
}

static void on_io(struct eng_io *io)
{
}

static bool has_hung(const struct eng *e)
{
    uint64_t oldest = eng_io_oldest(e), now = cfs_now_fresh(e->loop);

    return oldest < now && now - oldest > 100 * CFS_MS;
}

/* A store on a device that hangs at a read, until reads are held no more: its
 * journal is written by the pool meanwhile. */
static void rig_hang(struct rig *r, struct eng_io *io)
{
    unsigned n;

    rig_init(r, 64 * MIB);
    assert_int_equal(rig_open(r, NULL), 0);
    assert_int_equal(eng_alloc(r->eng, 1, 0, 0, &io->ext, 1, &n), 0);
    recdev_hold(r->dev, RECDEV_READ, true);
    eng_data_read(r->eng, io);
    while (!has_hung(r->eng))
        usleep(1000);
}

/* New records come while the journal is written: there is always more. */
static void a_sync_is_not_put_off_by_those_who_go_on(void **state)
{
    uint8_t *data = aligned_alloc(CFS_BLOCK, CFS_BLOCK);
    struct eng_io io = {.data = data, .done = on_io};
    struct steady *s = &steady;
    struct rig r;

    rig_hang(&r, &io);
    *s = (struct steady){.done = {{.done = on_committed},
                                  {.done = on_committed}},
                         .sync.done = on_synced, .eng = r.eng};
    recdev_hold(r.dev, RECDEV_WRITE, true);
    commit_next(s, &s->done[0]);
    eng_sync(r.eng, &s->sync);
    cfs_loop_run_until(r.loop, is_writing, NULL);
    commit_next(s, &s->done[1]);
    recdev_hold(r.dev, RECDEV_WRITE, false);
    rig_run(&r, &s->over);
    recdev_hold(r.dev, RECDEV_READ, false);
    assert_true(s->synced);
    eng_unalloc(r.eng, io.ext);
    rig_fini(&r);
    free(data);
}

struct answer {
    struct eng_done done;
    int             status;
    bool            came;
};

static void on_answer(struct eng_done *d)
{
    struct answer *a = container_of(d, struct answer, done);

    a->status = d->status;
    a->came = true;
}

static bool all_answered(void *arg)
{
    const struct answer *a = arg;

    return a[0].came && a[1].came && a[2].came;
}

/* While the pool writes one record, a sync comes, and another record: what is
 * answered is what is written, and no more. Once the second write fails. */
static void records_behind_a_write_wait_for_their_own(void **state)
{
    const struct eng_rec rec = {.type = 1, .body = {"x", 1}};
    uint8_t *data = aligned_alloc(CFS_BLOCK, CFS_BLOCK);

    for (unsigned bad = 0; bad < 2; bad++) {
        struct answer a[3] = {{.done = {.done = on_answer}},
                              {.done = {.done = on_answer}},
                              {.done = {.done = on_answer}}};
        struct eng_io io = {.data = data, .done = on_io};
        struct rig r;

        rig_hang(&r, &io);
        recdev_hold(r.dev, RECDEV_WRITE, true);
        eng_commit(r.eng, &rec, &a[0].done);
        steady.eng = r.eng;
        cfs_loop_run_until(r.loop, is_writing, NULL);
        eng_sync(r.eng, &a[1].done);
        eng_commit(r.eng, &rec, &a[2].done);
        if (bad)
            recdev_fail(r.dev, RECDEV_WRITE, 1, 1);
        recdev_hold(r.dev, RECDEV_WRITE, false);
        cfs_loop_run_until(r.loop, all_answered, a);
        recdev_hold(r.dev, RECDEV_READ, false);
        assert_int_equal(a[0].status, 0);
        assert_int_equal(a[1].status, bad ? -CFS_E_POISONED : 0);
        assert_int_equal(a[2].status, bad ? -CFS_E_POISONED : 0);
        eng_unalloc(r.eng, io.ext);
        rig_fini(&r);
    }
    free(data);
}

/* -- flipped bits, flags --------------------------------------------------- */

struct seen {
    const struct model *m;
    bool                wrong;
};

static int no_wrong_record(void *ctx, struct cfs_blob key, struct cfs_blob val)
{
    struct seen *s = ctx;
    const struct model_rec *w = model_get(s->m, key);

    if (!w || w->vlen != val.len ||
        memcmp(w->key + w->klen, val.p, val.len) != 0)
        s->wrong = true;
    return 0;
}

/* Read every record once; -CFS_E_CORRUPT, -EIO or 0, but never a wrong one
 * and never one too few without saying so. */
static void look_at_all(struct rig *r, unsigned *errors)
{
    struct seen s = {.m = &r->model};
    struct cfs_blob none = {NULL, 0}, val;
    int rc;

    rc = eng_scan(r->eng, none, none, no_wrong_record, &s);
    assert_false(s.wrong);
    *errors += rc < 0;
    for (size_t i = 0; i < r->model.n; i++) {
        const struct model_rec *w = &r->model.v[i];

        rc = eng_get(r->eng, (struct cfs_blob){w->key, w->klen}, &val);
        if (rc == 0)
            assert_true(val.len == w->vlen &&
                        memcmp(val.p, w->key + w->klen, val.len) == 0);
        else
            assert_int_equal(rc, -CFS_E_CORRUPT);
    }
}

static void a_flipped_bit_is_noticed(void **state)
{
    uint64_t rnd = 1;
    unsigned refused = 0, errors = 0, trials = 800;
    struct rig r;

    rig_init(&r, 32 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(put_nth(&r, i, 0), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    for (unsigned i = 0; i < 30; i++)
        assert_int_equal(put_nth(&r, i * 97, 1), 0);
    assert_int_equal(rig_sync(&r), 0);
    /* It states that all before it is durable, and changes nothing. */
    assert_int_equal(put_nth(&r, 0, 1), 0);
    assert_int_equal(rig_sync(&r), 0);
    rig_kill(&r);

    r.conf.read_only = r.conf.blocking = true;
    for (unsigned t = 0; t < trials; t++) {
        uint8_t *bytes = recdev_bytes(r.dev), zero[512] = {0};
        uint64_t at;
        uint8_t mask = (uint8_t)(1u << rig_random(&rnd) % 8);

        do { /* somewhere where something is */
            at = rig_random(&rnd) % recdev_size(r.dev);
        } while (memcmp(bytes + at / 512 * 512, zero, 512) == 0);
        bytes[at] ^= mask;
        if (rig_open(&r, NULL) < 0) {
            refused++;
        } else {
            look_at_all(&r, &errors);
            rig_close(&r, false);
        }
        bytes[at] ^= mask;
    }
    printf("           %u trials: %u refused, %u errors\n", trials, refused,
           errors);
    assert_true(refused > 0 && errors > 0);
    r.conf.read_only = r.conf.blocking = false;
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_true(rig_matches(&r, &r.model));
    rig_fini(&r);
}

/* Set a feature flag in all superblocks. */
static void set_flags(struct rig *r, uint64_t compat, uint64_t ro,
                      uint64_t incompat)
{
    uint64_t at[] = {0, SUPER_SPARE * CFS_BLOCK,
                     recdev_size(r->dev) - AREA_BLOCKS * CFS_BLOCK};

    for (unsigned i = 0; i < 3; i++) {
        struct fmt_super *sb =
            (struct fmt_super *)(void *)(recdev_bytes(r->dev) + at[i]);

        sb->compat = compat;
        sb->ro_compat = ro;
        sb->incompat = incompat;
        sb->sum = super_sum(sb);
    }
}

static void an_unknown_feature_is_treated_as_its_kind_says(void **state)
{
    struct rig r;

    rig_init(&r, 32 * MIB);
    set_flags(&r, 1u << 31, 0, 0);
    assert_int_equal(rig_open(&r, NULL), 0);
    rig_close(&r, true);
    set_flags(&r, 0, 1, 0);
    assert_int_equal(rig_open(&r, NULL), -EINVAL);
    r.conf.read_only = true;
    assert_int_equal(rig_open(&r, NULL), 0);
    rig_close(&r, true);
    set_flags(&r, 0, 0, 1u << 31);
    assert_int_equal(rig_open(&r, NULL), -EINVAL);
    rig_fini(&r);
}

static void wipe_end(struct rig *r, bool last)
{
    uint8_t *at = recdev_bytes(r->dev);

    if (last)
        at += recdev_size(r->dev) - CFS_BLOCK * AREA_BLOCKS;
    memset(at, 0, AREA_BLOCKS * CFS_BLOCK);
}

/* Either end of the device is enough, and a start mends the other. */
static void a_lost_superblock_is_found_at_the_other_end(void **state)
{
    struct rig r;
    struct cfs_err err = {0};

    rig_init(&r, 32 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(put_nth(&r, 1, 1), 0);
    rig_settle(&r);
    rig_close(&r, true);
    for (unsigned i = 0; i < 4; i++) {
        wipe_end(&r, i % 2);
        assert_int_equal(rig_open(&r, NULL), 0);
        assert_true(rig_matches(&r, &r.model));
        rig_close(&r, true);
    }
    wipe_end(&r, false);
    wipe_end(&r, true);
    assert_int_equal(rig_open(&r, &err), -EINVAL);
    rig_fini(&r);
}

/* A file system made over it leaves the other end as it was. */
static void a_start_that_is_somebody_elses_is_not_written(void **state)
{
    struct rig r;
    struct cfs_err err = {0};

    rig_init(&r, 32 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(put_nth(&r, 1, 1), 0);
    rig_close(&r, true);
    memset(recdev_bytes(r.dev), 0, 1024);
    memset(recdev_bytes(r.dev) + 1024, 0x53, 3072);
    assert_int_equal(rig_open(&r, &err), -EUCLEAN);
    r.conf.read_only = true;
    assert_int_equal(rig_open(&r, NULL), 0);
    rig_close(&r, true);
    rig_fini(&r);
}

/* An open that wrote nothing: for fsck and debugfs. */
static void a_read_only_open_writes_nothing(void **state)
{
    struct rig r;

    rig_init(&r, 32 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(put_nth(&r, i, 0), 0);
    rig_settle(&r);
    rig_kill(&r);
    r.conf.read_only = r.conf.blocking = true;
    recdev_record(r.dev);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_true(rig_matches(&r, &r.model));
    assert_true(rig_check(&r, 0));
    assert_int_equal(put_nth(&r, 1, 1), -EROFS);
    rig_close(&r, true);
    assert_int_equal(recdev_events(r.dev), 0);
    rig_fini(&r);
}

/* -- large reads ------------------------------------------------------------ */

static const struct cfs_dev_ops *own_ops;
static unsigned via[3];

static int count_via(struct cfs_dev *d, enum cfs_dev_via how, uint64_t off,
                     void *buf, size_t len)
{
    via[how]++;
    return own_ops->read(d, how, off, buf, len);
}

static void what_is_read_twice_goes_through_the_page_cache(void **state)
{
    struct cfs_dev_ops ops;
    struct eng_ext ext[2];
    uint8_t *data = aligned_alloc(4096, MIB), *got = aligned_alloc(4096, MIB);
    struct rig r;
    unsigned n;

    memset(data, 7, MIB);
    rig_init(&r, 64 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(eng_alloc(r.eng, MIB / 4096, 0, ENG_STREAM, &ext[i],
                                   1, &n), 0);
        assert_int_equal(rig_write_data(&r, ext[i], data), 0);
    }
    own_ops = r.eng->dev->ops;
    ops = *own_ops;
    ops.read = count_via;
    r.eng->dev->ops = &ops;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(rig_read_data(&r, ext[i], got), 0);
    assert_int_equal(via[CFS_DEV_DIRECT], 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(rig_read_data(&r, ext[0], got), 0);
    assert_int_equal(via[CFS_DEV_DIRECT], 2);
    assert_int_equal(via[CFS_DEV_BUFFERED], 2);
    assert_memory_equal(got, data, MIB);
    r.eng->dev->ops = own_ops;
    rig_close(&r, true);
    rig_fini(&r);
    free(data);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_store_is_empty_and_clean),
        cmocka_unit_test(what_was_committed_is_there_after_a_clean_stop),
        cmocka_unit_test(what_was_answered_survives_a_kill),
        cmocka_unit_test(a_failed_write_or_flush_poisons),
        cmocka_unit_test(a_failed_read_is_told_and_tried_again),
        cmocka_unit_test(changes_go_on_while_a_flush_hangs),
        cmocka_unit_test(one_flush_serves_all),
        cmocka_unit_test(a_full_store_refuses_before_it_changes_anything),
        cmocka_unit_test(freed_space_is_waited_for),
        cmocka_unit_test(a_freed_block_comes_back_after_a_checkpoint),
        cmocka_unit_test(a_block_being_read_is_not_reused),
        cmocka_unit_test(a_sparse_image_counts_what_is_allocated),
        cmocka_unit_test(what_is_put_at_the_freeze_is_in_that_checkpoint),
        cmocka_unit_test(a_sync_is_not_put_off_by_those_who_go_on),
        cmocka_unit_test(records_behind_a_write_wait_for_their_own),
        cmocka_unit_test(a_flipped_bit_is_noticed),
        cmocka_unit_test(an_unknown_feature_is_treated_as_its_kind_says),
        cmocka_unit_test(a_lost_superblock_is_found_at_the_other_end),
        cmocka_unit_test(a_start_that_is_somebody_elses_is_not_written),
        cmocka_unit_test(a_read_only_open_writes_nothing),
        cmocka_unit_test(what_is_read_twice_goes_through_the_page_cache),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
