/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache.c - memory: nodes keep to cache-size, dirty ones to their half of
 * it, however many files there are and however fast they are written. */
#include "tests/unit/cfs_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"

#define MIB   ((uint64_t)1024 * 1024)
#define CACHE (4 * MIB)
#define FILES 150000u
#define VALUE 120u
/* What an operation pins, and what comes in one turn before the eviction. */
#define SLACK (CACHE / 16)

struct world {
    struct cfs_loop *loop;
    struct cfs_log  *log;
    struct eng      *e;
    bool             ready;
    bool             closed;
    uint64_t         most;       /* bytes of nodes */
    uint64_t         most_dirty;
};

static int replay_nothing(void *ctx, struct eng *e, const struct eng_rec *rec)
{
    return 0;
}

static void set_up(struct world *w)
{
    struct eng_config conf = eng_config_default;
    struct eng_format f = {.label = "cache"};
    struct cfs_err err = {0};
    struct cfs_dev *dev;

    *w = (struct world){0};
    conf.cache_size = CACHE;
    assert_int_equal(cfs_loop_new(&w->loop, &err), 0);
    assert_int_equal(cfs_log_open(&w->log, NULL, CFS_LOG_ERROR, CFS_LOG_PLAIN,
                                  &err), 0);
    assert_int_equal(cfs_dev_mem(512 * MIB, &dev), 0);
    assert_int_equal(eng_mkfs(dev, &f, &err), 0);
    assert_int_equal(eng_open(w->loop, w->log, dev, &conf, replay_nothing, w,
                              &w->e, &err), 0);
}

static void on_closed(void *ctx, int status)
{
    assert_int_equal(status, 0);
    ((struct world *)ctx)->closed = true;
}

static bool is_set(void *arg)
{
    return *(bool *)arg;
}

static void tear_down(struct world *w)
{
    eng_close(w->e, true, on_closed, w);
    cfs_loop_run_until(w->loop, is_set, &w->closed);
    cfs_log_close(w->log);
    cfs_loop_free(w->loop);
}

static void look(struct world *w)
{
    struct eng_info i;

    eng_info(w->e, &i);
    if (i.cached > w->most)
        w->most = i.cached;
    if (i.dirty > w->most_dirty)
        w->most_dirty = i.dirty;
}

struct patience {
    struct eng_wait wait;
    struct world   *w;
};

static void on_ready(struct eng_wait *wait)
{
    container_of(wait, struct patience, wait)->w->ready = true;
}

/* What -CFS_E_MISS was about has come; its node is not kept. */
static void wait_for_it(struct world *w)
{
    struct patience p = {.w = w};

    w->ready = false;
    eng_wait(w->e, &p.wait, on_ready);
    cfs_loop_run_until(w->loop, is_set, &w->ready);
    eng_wait_end(w->e, &p.wait);
    look(w);
}

static uint32_t key_of(uint32_t i, char ret[static 32])
{
    /* Scattered, so that each change meets another leaf. */
    return (uint32_t)snprintf(ret, 32, "%08x-%08x", i * 2654435761u, i);
}

static void on_turn(struct cfs_task *t)
{
}

static bool at_once(void *arg)
{
    return true;
}

/* One turn of the loop: the eviction, the journal's write. */
static void turn(struct world *w)
{
    struct cfs_task t;

    look(w);
    cfs_task_init(&t, on_turn);
    cfs_task_post(w->loop, &t);
    cfs_loop_run_until(w->loop, at_once, NULL);
    cfs_task_cancel(&t);
    look(w);
}

static void put(struct world *w, uint32_t i)
{
    static const uint8_t bytes[VALUE];
    struct eng_rec rec = {.type = 1, .body = {bytes, 32}};
    char text[32];
    struct cfs_blob key = {text, key_of(i, text)};
    int rc;

    for (;;) {
        rc = eng_touch(w->e, key);
        if (rc == 0)
            rc = eng_begin(w->e, 1, key.len + VALUE, 200, 0);
        if (rc != -CFS_E_MISS)
            break;
        wait_for_it(w);
    }
    assert_int_equal(rc, 0);
    eng_put(w->e, key, (struct cfs_blob){bytes, VALUE});
    eng_commit(w->e, &rec, NULL);
}

static void get(struct world *w, uint32_t i)
{
    char text[32];
    struct cfs_blob key = {text, key_of(i, text)}, value;
    int rc;

    while ((rc = eng_get(w->e, key, &value)) == -CFS_E_MISS)
        wait_for_it(w);
    assert_int_equal(rc, 0);
    assert_int_equal(value.len, VALUE);
}

/* Many times as many bytes as the cache may have, 32 changes in a turn. */
static void nodes_keep_to_the_cache_size(void **state)
{
    uint32_t rnd = 1;
    struct world w;

    set_up(&w);
    for (uint32_t i = 0; i < FILES; i++) {
        put(&w, i);
        if (i % 32 == 0)
            turn(&w);
    }
    print_message("writer: %.3f of cache-size, dirty %.3f of its half\n",
                  (double)w.most / CACHE,
                  (double)w.most_dirty / ((double)CACHE / 2));
    assert_true(w.most_dirty <= CACHE / 2);
    assert_true(w.most <= CACHE + SLACK);
    w.most = 0;
    for (uint32_t i = 0; i < FILES / 10; i++) {
        rnd = rnd * 1664525u + 1013904223u;
        get(&w, (rnd >> 8) % FILES);
        if (i % 32 == 0)
            turn(&w);
    }
    print_message("walk: %.3f of cache-size\n", (double)w.most / CACHE);
    assert_true(w.most <= CACHE + SLACK);
    tear_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_keep_to_the_cache_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
