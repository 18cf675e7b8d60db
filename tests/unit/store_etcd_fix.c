/* SPDX-License-Identifier: Apache-2.0 */
/* store_etcd_fix.c - see store_etcd_fix.h. */
#include "tests/unit/store_etcd_fix.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct etcd_rig *rig_of(struct fix *f)
{
    return f->engine;
}

static int open_store(struct fix *f, struct cfs_err *err)
{
    return store_open_etcd(f->loop, NULL, f->dir, f->lineage,
                           &rig_of(f)->to, &f->s, err);
}

int mark_ok(void *arg)
{
    return 0;
}

int go_etcd(struct fix *f, int (*mark)(void *arg))
{
    f->pending++;
    store_to_etcd(f->s, &rig_of(f)->to, f->lineage, mark, on_done, f);
    cfs_loop_run_until(f->loop, all_answered, f);
    return f->status;
}

static int start(void **state, unsigned n, bool tls, bool switched)
{
    const char *lacks = etcd_rig_lacks(tls);
    struct cfs_err err = {0};
    struct fix *f;

    if (lacks) {
        print_message("skipped: %s\n", lacks);
        *state = NULL;
        return 0;
    }
    f = calloc(1, sizeof *f);
    fix_init(f);
    f->lineage = LINEAGE;
    f->open = open_store;
    f->engine = calloc(1, sizeof(struct etcd_rig));
    etcd_rig_start(f->engine, n, tls);
    assert_int_equal(store_open_sqlite(f->loop, NULL, f->dir, &f->s, &err),
                     0);
    if (switched && go_etcd(f, mark_ok) < 0)
        fail_msg("%s", f->text);
    *state = f;
    return 0;
}

int etcd_setup_one(void **state)
{
    return start(state, 1, false, true);
}

int etcd_setup_three(void **state)
{
    return start(state, 3, false, true);
}

int etcd_setup_tls(void **state)
{
    return start(state, 1, true, true);
}

int etcd_setup_before(void **state)
{
    return start(state, 1, false, false);
}

int etcd_teardown(void **state)
{
    struct fix *f = *state;

    if (!f)
        return 0;
    etcd_rig_end(f->engine);
    free(f->engine);
    fix_fini(f);
    free(f);
    return 0;
}

/* -- other nodes --------------------------------------------------------- */

struct fix *node_new(struct fix *f, const struct etcd_target *to)
{
    struct fix *n = calloc(1, sizeof *n);
    struct cfs_err err = {0};

    cfs_test_dir(n->dir, "store");
    n->loop = f->loop;
    n->lineage = LINEAGE;
    n->open = open_store;
    n->engine = f->engine;
    assert_int_equal(store_open_sqlite(n->loop, NULL, n->dir, &n->s, &err),
                     0);
    if (store_follow_etcd(n->s, to ? to : &rig_of(f)->to, LINEAGE, &err) < 0)
        fail_msg("%s", err.text);
    until_current(n, 60000);
    return n;
}

void node_free(struct fix *n)
{
    store_close(n->s);
    rig_remove(n->dir);
    free(n);
}

/* -- waiting ------------------------------------------------------------- */

struct wait {
    struct cfs_timer timer;
    struct fix      *f;
    const char      *key;
    int              n;
    uint64_t         until;
    bool             over;
};

static void on_time(struct cfs_timer *t)
{
    struct wait *w = cfs_list_entry(t, struct wait, timer);

    if (cfs_now(w->f->loop) >= w->until)
        w->over = true;
    else
        cfs_timer_start(t, 5 * CFS_MS);
}

static bool is_over(void *arg)
{
    return ((struct wait *)arg)->over;
}

static bool has_value(void *arg)
{
    struct wait *w = arg;

    return w->over || get(w->f, w->key, NULL) == w->n;
}

static bool has_current(void *arg)
{
    struct wait *w = arg;
    struct store_health h;

    store_health(w->f->s, &h);
    return w->over || h.current;
}

static bool wait_for(struct wait *w, struct fix *f, uint64_t ms,
                     bool (*done)(void *))
{
    w->f = f;
    w->until = cfs_now(f->loop) + ms * CFS_MS;
    cfs_timer_init(f->loop, &w->timer, on_time);
    cfs_timer_start(&w->timer, 5 * CFS_MS);
    cfs_loop_run_until(f->loop, done, w);
    cfs_timer_fini(&w->timer);
    return !w->over;
}

void run_for(struct fix *f, uint64_t ms)
{
    struct wait w = {.over = false};

    wait_for(&w, f, ms, is_over);
}

void until_is(struct fix *f, const char *key, int n, uint64_t ms)
{
    struct wait w = {.key = key, .n = n};

    if (!wait_for(&w, f, ms, has_value))
        fail_msg("'%s' is %d, not %d", key, get(f, key, NULL), n);
}

void until_current(struct fix *f, uint64_t ms)
{
    struct wait w = {.over = false};
    struct store_health h;

    if (wait_for(&w, f, ms, has_current))
        return;
    store_health(f->s, &h);
    fail_msg("not current: %s", h.problem);
}

static bool has_said(void *arg)
{
    struct wait *w = arg;
    struct store_health h;

    store_health(w->f->s, &h);
    return w->over || strstr(h.problem, w->key);
}

void until_said(struct fix *f, const char *what, uint64_t ms)
{
    struct wait w = {.key = what};
    struct store_health h;

    if (wait_for(&w, f, ms, has_said))
        return;
    store_health(f->s, &h);
    fail_msg("the problem is no \"%s\": %s", what, h.problem);
}

/* -- etcd itself --------------------------------------------------------- */

struct asked {
    bool    done;
    int     status;
    json_t *reply;
};

static void on_reply(void *arg, int status, json_t *reply,
                     const struct cfs_err *err)
{
    struct asked *a = arg;

    a->done = true;
    a->status = status;
    a->reply = json_incref(reply);
}

static bool is_asked(void *arg)
{
    return ((struct asked *)arg)->done;
}

json_t *ask_etcd(struct fix *f, const char *path, json_t *body)
{
    struct etcd_client *c;
    struct asked a = {.done = false};

    assert_int_equal(etcd_client_new(f->loop, NULL, &rig_of(f)->to, &c, NULL),
                     0);
    etcd_post(c, path, body, 1000, 10000, on_reply, &a);
    cfs_loop_run_until(f->loop, is_asked, &a);
    etcd_client_free(c);
    assert_int_equal(a.status, 0);
    return a.reply;
}

void raw_put(struct fix *f, const char *key, const char *text)
{
    json_decref(ask_etcd(f, "/v3/kv/put",
                         json_pack("{s:o,s:o}", "key", etcd_json_b64(key),
                                   "value", etcd_json_b64(text))));
}
