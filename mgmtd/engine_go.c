/* SPDX-License-Identifier: Apache-2.0 */
/* engine_go.c - from the embedded engine to etcd with one member, this node.
 *
 *     an etcd left from an attempt that was cut off, or from an earlier life
 *     of the cluster, is ended
 *       -> its directory is put aside: it never was the authority
 *       -> a fresh etcd is started          if it ends: stop, say its reason
 *       -> it answers, with a leader
 *       -> the record engine names it       in the embedded store
 *       -> store_to_etcd(): all records go over and are compared;
 *          engine.json says "etcd", durably: the one step that decides
 *       -> done
 *
 * Killed before engine.json is renamed, the embedded engine is the authority,
 * and the next attempt begins at the top; behind it etcd is. A lineage that an
 * attempt would have had is used again: nobody ever saw it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "mgmtd/engine_impl.h"

#define WHO "engine"

#define READY_WITHIN (20 * CFS_SEC)
#define ASK_EVERY    (100 * CFS_MS)
#define ASK_MS       1000u

enum go_state {
    GO_CLEARING,  /* an etcd of an earlier attempt is ended */
    GO_STARTING,  /* a fresh one, until it answers */
    GO_RECORDING, /* the record engine */
    GO_COPYING,
    GO_STOPPING,  /* it failed: etcd is ended */
};

struct waiter {
    struct cfs_list link;
    store_done     *done;
    void           *arg;
};

struct go {
    struct engine     *e;
    enum go_state      state;
    struct cfs_list    waiters;
    struct cfs_timer   timer;
    uint64_t           until;
    uint64_t           lineage;
    uint64_t           member;
    char              *token;
    struct etcd_target target;
    bool               asking;
    struct cfs_err     err;
};

/* -- the end -------------------------------------------------------------- */

static void go_free(struct go *go)
{
    go->e->go = NULL;
    cfs_timer_fini(&go->timer);
    free(go->token);
    free(go);
}

static void finish(struct go *go)
{
    struct engine *e = go->e;
    struct cfs_err err = go->err;
    struct cfs_list waiters, *l;

    cfs_list_init(&waiters);
    while ((l = cfs_list_pop(&go->waiters)))
        cfs_list_add_tail(&waiters, l);
    go_free(go);
    if (err.code == 0) {
        engine_load_record(e); /* whom to connect to */
        if (engine_connect(e, &err) < 0)
            cfs_log_error(e->m->host.log, WHO, "%s", err.text);
        err = (struct cfs_err){0};
        members_look(e, CFS_SEC);
    } else {
        cfs_log_error(e->m->host.log, WHO, "%s", err.text);
        etcd_client_free(e->self);
        e->self = NULL;
    }
    while ((l = cfs_list_pop(&waiters))) {
        struct waiter *w = cfs_list_entry(l, struct waiter, link);

        w->done(w->arg, err.code, &err);
        free(w);
    }
}

/* Nothing has happened yet: end etcd, then say why. */
static void give_up(struct go *go)
{
    assert(go->err.code);
    cfs_timer_stop(&go->timer);
    if (go->e->proc.state == ETCD_NONE) {
        finish(go);
        return;
    }
    go->state = GO_STOPPING;
    etcd_proc_stop(&go->e->proc);
}

void go_end(struct engine *e)
{
    if (e->go)
        cfs_timer_stop(&e->go->timer);
}

void go_close(struct engine *e)
{
    struct cfs_list *l;

    if (!e->go)
        return;
    while ((l = cfs_list_pop(&e->go->waiters)))
        free(cfs_list_entry(l, struct waiter, link));
    go_free(e->go);
}

/* -- the records ---------------------------------------------------------- */

/* The step that decides. */
static int mark(void *arg)
{
    struct go *go = arg;
    struct engine *e = go->e;
    json_t *next = mark_copy(e);
    char *url = etcd_client_url(engine_host(e), e->m->host.port);

    json_object_set_new(next, "engine", mem_ok(json_string("etcd")));
    json_object_set_new(next, "lineage",
                        json_integer((json_int_t)go->lineage));
    json_object_set_new(next, "token", mem_ok(json_string(go->token)));
    json_object_set_new(next, "cluster", rec_json_uuid(e->m->cluster));
    json_object_set_new(next, "member", json_hex(go->member));
    json_object_set_new(next, "voters", mem_ok(json_pack("[s]", url)));
    json_object_del(next, "fresh");
    json_object_del(next, "since");
    free(url);
    return mark_save(e, next, &go->err);
}

static void on_copied(void *arg, int status, const struct cfs_err *err)
{
    struct go *go = arg;

    if (go->e->over)
        return;
    if (status == 0 || mark_is_etcd(go->e)) {
        cfs_log_info(go->e->m->host.log, WHO, "the configuration is kept in "
                     "etcd from now on, lineage %" PRIu64, go->lineage);
        etcd_proc_first(&go->e->proc, NULL, NULL, false);
        go->err = (struct cfs_err){0};
        finish(go);
        return;
    }
    if (go->err.code == 0)
        go->err = *err;
    give_up(go);
}

static void on_recorded(void *arg, int status, const struct cfs_err *err)
{
    struct go *go = arg;

    if (go->e->over)
        return;
    if (status < 0) {
        go->err = *err;
        give_up(go);
        return;
    }
    go->state = GO_COPYING;
    store_to_etcd(go->e->m->store, &go->target, go->lineage, mark, on_copied,
                  go);
}

static void put_record(struct go *go)
{
    struct engine *e = go->e;
    struct store_txn *t = store_txn_new();
    json_t *rec = record_new(e, go->lineage, go->token);
    char *client = etcd_client_url(engine_host(e), e->m->host.port);
    char *peer = etcd_peer_url(engine_host(e), e->m->host.port);

    json_object_set_new(
        json_object_get(rec, "voters"), e->m->node,
        mem_ok(json_pack("{s:o,s:s,s:s,s:s}", "member", json_hex(go->member),
                         "client", client, "peer", peer, "state", "voter")));
    store_txn_put(t, REC_ENGINE, rec);
    go->state = GO_RECORDING;
    store_commit(e->m->store, t, on_recorded, go);
    json_decref(rec);
    free(client);
    free(peer);
}

/* -- the process ---------------------------------------------------------- */

static void on_answer(void *arg, int status, json_t *reply,
                      const struct cfs_err *err)
{
    struct go *go = arg;

    go->asking = false;
    if (go->state != GO_STARTING)
        return;
    if (status == 0 && etcd_u64(reply, "leader") != 0) {
        go->member = etcd_u64(json_object_get(reply, "header"), "member_id");
        cfs_timer_stop(&go->timer);
        put_record(go);
    }
}

static void on_timer(struct cfs_timer *t)
{
    struct go *go = cfs_list_entry(t, struct go, timer);
    struct engine *e = go->e;

    if (cfs_ran(e->m->host.loop) > go->until) {
        cfs_err_set(&go->err, -ETIMEDOUT, "etcd was started, but does not "
                    "answer; see %s", e->proc.log_path);
        give_up(go);
        return;
    }
    if (!go->asking) {
        go->asking = true;
        etcd_post(e->self, "/v3/maintenance/status", mem_ok(json_object()),
                  ASK_MS, ASK_MS, on_answer, go);
    }
    cfs_timer_start(t, ASK_EVERY);
}

static void start_etcd(struct go *go)
{
    struct engine *e = go->e;
    const char *host = engine_host(e);
    char *peer = etcd_peer_url(host, e->m->host.port);
    char *initial = mem_printf("%s=%s", e->m->node, peer);

    go->state = GO_STARTING;
    engine_put_aside(e);
    etcd_proc_name(&e->proc, e->m->node, host);
    etcd_proc_first(&e->proc, initial, go->token, false);
    free(initial);
    free(peer);
    if (etcd_proc_start(&e->proc, &go->err) < 0) {
        give_up(go);
        return;
    }
    go->until = cfs_ran(e->m->host.loop) + READY_WITHIN;
    cfs_timer_start(&go->timer, ASK_EVERY);
}

void go_process_ended(struct engine *e)
{
    struct go *go = e->go;

    switch (go->state) {
    case GO_CLEARING:
        if (e->proc.state == ETCD_NONE)
            start_etcd(go);
        else
            etcd_proc_stop(&e->proc);
        return;
    case GO_STARTING:
        cfs_err_set(&go->err, -EIO, "etcd was started, and ended: %s",
                    e->proc.reason);
        give_up(go);
        return;
    case GO_STOPPING:
        if (e->proc.state == ETCD_NONE)
            finish(go);
        else
            etcd_proc_stop(&e->proc);
        return;
    case GO_RECORDING:
    case GO_COPYING:
        return; /* it is started again; the copy fails, or goes on */
    }
}

/* -- the beginning -------------------------------------------------------- */

static int check(struct engine *e, struct cfs_err *err)
{
    char *program;
    int rc;

    if (!e->m->founded)
        return cfs_err_set(err, -EINVAL, "there is no cluster yet on this "
                           "node; make one: clusterfs cluster create");
    rc = etcd_proc_find(&program, err);
    if (rc == 0)
        free(program);
    return rc;
}

static void begin(struct go *go)
{
    struct engine *e = go->e;

    go->lineage = store_lineage(e->m->store) + 1;
    go->token = engine_token(e, go->lineage);
    if (check(e, &go->err) < 0 || engine_connect(e, &go->err) < 0) {
        finish(go);
        return;
    }
    snprintf(go->target.ca, sizeof go->target.ca, "%s/node-ca.crt",
             e->proc.trust);
    snprintf(go->target.cert, sizeof go->target.cert, "%s/node.crt",
             e->proc.trust);
    snprintf(go->target.key, sizeof go->target.key, "%s/node.key",
             e->proc.trust);
    snprintf(go->target.crl, sizeof go->target.crl, "%s/node.crl",
             e->proc.trust);
    char *url = etcd_client_url("127.0.0.1", e->m->host.port);

    snprintf(go->target.url[0], sizeof go->target.url[0], "%s", url);
    go->target.n = 1;
    free(url);
    if (etcd_proc_adopt(&e->proc) || e->proc.state != ETCD_NONE) {
        go->state = GO_CLEARING; /* of an attempt, or of an earlier life */
        etcd_proc_stop(&e->proc);
    } else
        start_etcd(go);
}

struct already {
    struct cfs_task task;
    store_done     *done;
    void           *arg;
};

static void on_already(struct cfs_task *t)
{
    struct already *a = cfs_list_entry(t, struct already, task);

    a->done(a->arg, 0, &(struct cfs_err){0});
    free(a);
}

static void on_begin(struct cfs_timer *t)
{
    struct go *go = cfs_list_entry(t, struct go, timer);

    cfs_timer_fini(t);
    cfs_timer_init(go->e->m->host.loop, t, on_timer);
    begin(go);
}

void engine_go_etcd(struct mgmtd *m, store_done *done, void *arg)
{
    struct engine *e = m->engine;
    struct waiter *w;
    struct go *go;

    if (mark_is_etcd(e) && !e->go) {
        struct already *a = mem_new(sizeof *a);

        a->done = done;
        a->arg = arg;
        cfs_task_init(&a->task, on_already);
        cfs_task_post(m->host.loop, &a->task);
        return;
    }
    w = mem_new(sizeof *w);
    w->done = done;
    w->arg = arg;
    if (!e->go) {
        go = e->go = mem_new(sizeof *go);
        go->e = e;
        cfs_list_init(&go->waiters);
        cfs_timer_init(m->host.loop, &go->timer, on_begin);
        cfs_timer_start(&go->timer, 0);
    }
    cfs_list_add_tail(&e->go->waiters, &w->link);
}
