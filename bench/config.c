/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - what a change of the configuration costs: the store on the
 * embedded engine, on one etcd and on three, side by side.
 *
 *   config [--rounds N] [--commits N] [--kills N] [--tls]
 *
 * A change is what a new view makes of the store: two comparisons, two records
 * of half a kilobyte. Engines take turns, --commits each time, --rounds times;
 * printed are the median and the 99th percentile of all. Then etcd's leader is
 * killed (-9) --kills times, and the time to the next change that is answered
 * is printed. All etcds, and all copies, are on the one disk of $TMPDIR.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/opt.h"
#include "mgmtd/store/store.h"
#include "tests/unit/etcd_rig.h"

#define LINEAGE 2

struct engine {
    const char      *name;
    unsigned         members; /* 0: embedded */
    struct cfs_loop *loop;
    struct store    *s;
    struct etcd_rig  rig;
    char             dir[64];
    bool             done;
    int              status;
    char             why[CFS_ERR_TEXT];
    uint64_t        *ns;
    size_t           n;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "config: %s: %s\n", what, why);
    exit(1);
}

static void on_done(void *arg, int status, const struct cfs_err *err)
{
    struct engine *e = arg;

    e->done = true;
    e->status = status;
    memcpy(e->why, err->text, sizeof e->why);
}

static bool is_done(void *arg)
{
    return ((struct engine *)arg)->done;
}

static int wait_done(struct engine *e)
{
    cfs_loop_run_until(e->loop, is_done, e);
    e->done = false;
    return e->status;
}

static int mark(void *arg)
{
    return 0;
}

static void engine_open(struct engine *e, struct cfs_loop *loop, bool tls)
{
    struct cfs_err err = {0};

    e->loop = loop;
    strcpy(e->dir, "/tmp/cfs-bench-config-XXXXXX");
    if (!mkdtemp(e->dir) ||
        store_open_sqlite(loop, NULL, e->dir, &e->s, &err) < 0)
        die(e->dir, err.text);
    if (e->members == 0)
        return;
    etcd_rig_start(&e->rig, e->members, tls);
    store_to_etcd(e->s, &e->rig.to, LINEAGE, mark, on_done, e);
    if (wait_done(e) < 0)
        die(e->name, e->why);
}

static void engine_close(struct engine *e)
{
    char cmd[100];

    store_close(e->s);
    if (e->members > 0)
        etcd_rig_end(&e->rig);
    snprintf(cmd, sizeof cmd, "rm -rf %s", e->dir);
    if (system(cmd) != 0)
        die(e->dir, "cannot be removed");
    free(e->ns);
}

/* -- one change ----------------------------------------------------------- */

static void condition(struct engine *e, struct store_txn *t, const char *key)
{
    uint64_t token;
    json_t *rec;

    if (store_get(e->s, key, &rec, &token, NULL) < 0) {
        store_txn_if_absent(t, key);
        return;
    }
    json_decref(rec);
    store_txn_if(t, key, token);
}

static int change(struct engine *e, unsigned i)
{
    static char filling[500];
    struct store_txn *t = store_txn_new();
    char past[64];
    json_t *v;

    memset(filling, 'x', sizeof filling - 1);
    v = json_pack("{s:i,s:s}", "epoch", (int)i, "members", filling);
    snprintf(past, sizeof past, "view-past/s/%010u", i % 100);
    condition(e, t, "volume/v");
    condition(e, t, "view/s");
    store_txn_put(t, "view/s", v);
    store_txn_put(t, past, v);
    json_decref(v);
    store_commit(e->s, t, on_done, e);
    return wait_done(e);
}

static void round_of(struct engine *e, unsigned commits)
{
    e->ns = realloc(e->ns, (e->n + commits) * sizeof *e->ns);
    if (!e->ns)
        die(e->name, "out of memory");
    for (unsigned i = 0; i < commits; i++) {
        uint64_t began = cfs_now_fresh(e->loop);

        if (change(e, (unsigned)e->n) < 0)
            die(e->name, e->why);
        e->ns[e->n++] = cfs_now_fresh(e->loop) - began;
    }
}

static int cmp_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static double at_ms(const uint64_t *ns, size_t n, double q)
{
    return (double)ns[(size_t)(q * (double)(n - 1))] / 1e6;
}

static void report(struct engine *e, const char *what)
{
    qsort(e->ns, e->n, sizeof *e->ns, cmp_u64);
    printf("%-10s %-22s median %7.2f ms   p99 %7.2f ms   worst %7.2f ms\n",
           e->name, what, at_ms(e->ns, e->n, 0.5), at_ms(e->ns, e->n, 0.99),
           at_ms(e->ns, e->n, 1));
    fflush(stdout);
}

/* -- the leader dies ------------------------------------------------------ */

struct asked {
    bool     done;
    uint64_t leader, member;
};

static void on_status(void *arg, int status, json_t *reply,
                      const struct cfs_err *err)
{
    struct asked *a = arg;

    a->done = true;
    if (status < 0)
        return;
    a->leader = etcd_u64(reply, "leader");
    a->member = etcd_u64(json_object_get(reply, "header"), "member_id");
}

static bool is_asked(void *arg)
{
    return ((struct asked *)arg)->done;
}

static unsigned leader_of(struct engine *e)
{
    struct etcd_client *c;
    unsigned found = e->members;

    if (etcd_client_new(e->loop, NULL, &e->rig.to, &c, NULL) < 0)
        die(e->name, "no client");
    for (unsigned i = 0; i < e->members; i++) {
        struct asked a = {.done = false};

        etcd_post_to(c, i, "/v3/maintenance/status", json_object(), 2000,
                     on_status, &a);
        cfs_loop_run_until(e->loop, is_asked, &a);
        if (a.leader != 0 && a.leader == a.member)
            found = i;
    }
    etcd_client_free(c);
    if (found == e->members)
        die(e->name, "has no leader");
    return found;
}

static void failovers(struct engine *e, unsigned kills)
{
    e->n = 0;
    for (unsigned k = 0; k < kills; k++) {
        unsigned leader;
        uint64_t began;

        sleep(3);
        leader = leader_of(e);
        if (change(e, k) < 0)
            die(e->name, e->why);
        etcd_rig_kill(&e->rig, leader);
        began = cfs_now_fresh(e->loop);
        if (change(e, k) < 0)
            die(e->name, e->why);
        e->ns[e->n++] = cfs_now_fresh(e->loop) - began;
        etcd_rig_run(&e->rig, leader);
    }
    report(e, "leader killed");
}

int main(int argc, char **argv)
{
    struct engine e[] = {{.name = "embedded"},
                         {.name = "etcd 1", .members = 1},
                         {.name = "etcd 3", .members = 3}};
    unsigned rounds = 5, commits = 200, kills = 5;
    struct cfs_err err = {0};
    struct cfs_loop *loop;
    bool tls = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--tls") == 0)
            tls = true;
        else if (i + 1 == argc)
            die(argv[i], "needs a number, or is not known");
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = (unsigned)atoi(argv[++i]);
        else if (strcmp(argv[i], "--commits") == 0)
            commits = (unsigned)atoi(argv[++i]);
        else if (strcmp(argv[i], "--kills") == 0)
            kills = (unsigned)atoi(argv[++i]);
        else
            die(argv[i], "is not known");
    }
    if (etcd_rig_lacks(tls))
        die("etcd", etcd_rig_lacks(tls));
    if (rounds * commits == 0 || kills > rounds * commits)
        die("--rounds, --commits, --kills", "make no sense");
    if (cfs_loop_new(&loop, &err) < 0)
        die("loop", err.text);
    for (unsigned k = 0; k < CFS_ARRAY_SIZE(e); k++)
        engine_open(&e[k], loop, tls);
    for (unsigned r = 0; r < rounds; r++)
        for (unsigned k = 0; k < CFS_ARRAY_SIZE(e); k++)
            round_of(&e[k], commits);
    for (unsigned k = 0; k < CFS_ARRAY_SIZE(e); k++)
        report(&e[k], tls ? "change, mutual TLS" : "change");
    if (kills > 0)
        failovers(&e[2], kills);
    for (unsigned k = 0; k < CFS_ARRAY_SIZE(e); k++)
        engine_close(&e[k]);
    cfs_loop_free(loop);
    return 0;
}
