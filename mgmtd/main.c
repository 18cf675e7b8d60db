/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - clusterfs-mgmtd: the management daemon of a node. See mgmtd.h.
 *
 * Start: who we are, and the store (its own copy, whether or not etcd is
 * there); certificates; peers, volumes and views are read; this node's etcd is
 * started, or adopted; bricks that run already are looked for; listen; start
 * those that should run and do not. Then ready: nothing here waits for another
 * node or for etcd. SIGTERM ends this process only: bricks, etcd and mounts go
 * on.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mgmtd/creating.h"
#include "mgmtd/engine.h"
#include "core/opt.h"
#include "mgmtd/join.h"
#include "mgmtd/node.h"
#include "mgmtd/trust.h"

#define WHO "mgmtd"

#define ANEW_AFTER (200 * CFS_MS)

/* "/b-UUID.sock" */
#define SOCKET_NAME (3 + CFS_UUID_STR - 1 + 5)

static void on_stop(struct cfs_host *h)
{
    cfs_log_info(h->log, WHO, "ending; bricks and mounts go on");
    cfs_host_stop(h);
}

static void on_anew(struct cfs_timer *t)
{
    struct mgmtd *m = cfs_list_entry(t, struct mgmtd, anew_timer);

    m->anew = true;
    cfs_host_stop(&m->host);
}

void mgmtd_start_anew(struct mgmtd *m)
{
    if (!cfs_timer_active(&m->anew_timer))
        cfs_timer_start(&m->anew_timer, ANEW_AFTER);
}

/* The same process id, for whoever supervises it; in the foreground, which is
 * where it is already. */
static void start_anew(char **argv, int argc)
{
    char **again = mem_new(((size_t)argc + 2) * sizeof *again);

    for (int i = 0; i < argc; i++)
        again[i] = argv[i];
    again[argc] = "--no-daemon";
    execv("/proc/self/exe", again);
    fprintf(stderr, "clusterfs-mgmtd: cannot start anew: %s\n",
            strerror(errno));
    free(again);
}

static void on_dump(struct cfs_host *h, struct cfs_dump *d)
{
    struct mgmtd *m = h->spec->owner;

    cfs_dump_section(d, "store");
    cfs_dump_put(d, "engine", "%s", store_engine_name(m->store));
    cfs_dump_put(d, "lineage", "%llu",
                 (unsigned long long)store_lineage(m->store));
    cfs_dump_put(d, "revision", "%llu",
                 (unsigned long long)store_revision(m->store));
    cfs_list_for_each(l, &m->volumes) {
        struct volume *vol = cfs_list_entry(l, struct volume, link);

        cfs_dump_section(d, "volume %s", vol->name);
        cfs_dump_put(d, "state", "%s", vol_state_str(vol->state));
        cfs_dump_put(d, "epoch", "%llu",
                     (unsigned long long)vol->view.epoch);
        cfs_dump_put(d, "told", "%llu", (unsigned long long)vol->told);
        cfs_dump_put(d, "held", "%s", vol->held);
        for (unsigned i = 0; i < vol->n; i++) {
            const struct brick *b = &vol->brick[i];

            cfs_dump_section(d, "brick %s", b->path);
            cfs_dump_put(d, "state", "%s", brick_state_str(b));
            cfs_dump_put(d, "here", "%d", b->here);
            cfs_dump_put(d, "known", "%llu", (unsigned long long)b->known);
            cfs_dump_put(d, "incarnation", "%llu",
                         (unsigned long long)b->info.incarnation);
            cfs_dump_put(d, "seen", "%llu", (unsigned long long)b->seen);
            cfs_dump_put(d, "pid", "%u", b->pid);
            cfs_dump_put(d, "in-view", "%d", view_has(vol, b));
            cfs_dump_put(d, "reason", "%s", b->reason);
        }
    }
}

/* Is there a cluster, and which? m->cluster is what this node would found. */
static int load_cluster(struct mgmtd *m, struct cfs_err *err)
{
    json_t *rec;
    int rc = store_get(m->store, REC_CLUSTER, &rec, NULL, err);

    if (rc == -ENOENT) {
        *err = (struct cfs_err){0};
        return 0;
    }
    if (rc < 0)
        return rc;
    rc = rec_uuid(rec, "the cluster's record", "id", &m->cluster, err);
    m->founded = rc == 0;
    json_decref(rec);
    return rc;
}

static int check_dirs(struct mgmtd *m, struct cfs_err *err)
{
    struct sockaddr_un un;
    char *bricks;
    int rc;

    if (strlen(m->host.dirs.run) + SOCKET_NAME >= sizeof un.sun_path)
        return cfs_err_set(err, -ENAMETOOLONG, "--run-dir %s: too long for "
                           "the sockets in it; at most %zu bytes",
                           m->host.dirs.run,
                           sizeof un.sun_path - SOCKET_NAME - 1);
    bricks = mem_printf("%s/bricks", m->host.dirs.log);
    rc = cfs_mkdirs(bricks, 0755);
    if (rc < 0)
        cfs_err_set(err, rc, "%s: %s", bricks, cfs_err_str(rc));
    free(bricks);
    return rc;
}

/* Who we are to others. */
static int open_trust(struct mgmtd *m, struct cfs_err *err)
{
    char *dir = mem_printf("%s/trust", m->host.dirs.state);
    int rc = trust_open(dir, m->node, m->node_id, &m->trust, err);

    free(dir);
    if (rc == 0 && m->certificate_s > 0)
        trust_set_life(m->trust, m->certificate_s);
    /* What a detach, or a founding, that was cut off left. */
    if (rc == 0 && !m->founded && engine_is_nobodys(m) &&
        !engine_joining(m) && trust_is_founded(m->trust))
        rc = trust_forget(m->trust, err);
    return rc;
}

static int set_listen(void *arg, const char *value, struct cfs_err *err)
{
    struct mgmtd *m = arg;

    free(m->listen);
    m->listen = mem_str(value);
    return 0;
}

static int set_life(void *arg, const char *value, struct cfs_err *err)
{
    struct mgmtd *m = arg;
    uint64_t ms;

    if (cfs_parse_ms(value, &ms) < 0 || ms < 10000 ||
        ms / 1000 > 10u * 365 * 24 * 3600)
        return cfs_err_set(err, -EINVAL, "expected a time like 365d");
    m->certificate_s = (long)(ms / 1000);
    return 0;
}

static int set_quota(void *arg, const char *value, struct cfs_err *err)
{
    struct mgmtd *m = arg;
    uint64_t bytes;

    if (cfs_parse_size(value, &bytes) < 0 || bytes < (1u << 20) ||
        bytes > (UINT64_C(8) << 30))
        return cfs_err_set(err, -EINVAL, "expected a size from 1M to 8G");
    m->etcd_quota = bytes;
    return 0;
}

static int start(struct mgmtd *m, struct cfs_err *err)
{
    int rc = check_dirs(m, err);

    if (rc == 0)
        rc = cfs_boot_id(&m->boot);
    if (rc == 0)
        rc = engine_open(m, err);
    if (rc == 0)
        m->instance = uuid_new(m);
    if (rc == 0)
        rc = load_cluster(m, err);
    if (rc == 0)
        rc = open_trust(m, err);
    if (rc == 0)
        rc = engine_check_home(m, err);
    if (rc == 0)
        rc = peers_load(m, err);
    if (rc == 0)
        rc = volumes_load(m, err);
    if (rc < 0)
        return rc;
    engine_run(m);
    brick_find_processes(m);
    rc = lines_listen(m, err);
    if (rc < 0)
        return rc;
    cfs_list_for_each(l, &m->volumes) {
        struct volume *vol = cfs_list_entry(l, struct volume, link);

        volume_reconcile(vol);
        spec_need_secret(vol);
    }
    join_resume(m);
    creating_start(m);
    return 0;
}

int main(int argc, char **argv)
{
    static struct mgmtd m;
    static const struct cfs_arg args[] = {
        {"listen", 0, "ADDRESS", "only there, not on all addresses", &m,
         set_listen},
        {"certificate-life", 0, "TIME",
         "of certificates that this node signs (365d)", &m, set_life},
        {"etcd-quota", 0, "SIZE",
         "at which this node's etcd takes no more (1G)", &m, set_quota},
        {0},
    };
    struct cfs_host_spec spec = {
        .program = "clusterfs-mgmtd",
        .synopsis = "",
        .about = "The management daemon of a clusterfs node.",
        .args = args,
        .own_log = true,
        .own_pid = true,
        .on_stop = on_stop,
        .on_dump = on_dump,
        .owner = &m,
    };
    struct cfs_err err = {0};
    int status;

    cfs_list_init(&m.volumes);
    cfs_list_init(&m.lines);
    cfs_list_init(&m.commands);
    cfs_list_init(&m.preparing);
    cfs_list_init(&m.peers);
    cfs_list_init(&m.peers_gone);
    if (cfs_host_init(&m.host, &spec, argc, argv, &err) < 0) {
        fprintf(stderr, "%s: %s\n", spec.program, err.text);
        return 1;
    }
    cfs_timer_init(m.host.loop, &m.anew_timer, on_anew);
    creating_init(&m);
    ports_load(&m);
    if (start(&m, &err) < 0) {
        cfs_host_fail(&m.host, &err);
        status = 1;
    } else {
        cfs_log_info(m.host.log, WHO, "node %s, port %u, store %s, revision "
                     "%llu", m.node, m.host.port, store_engine_name(m.store),
                     (unsigned long long)store_revision(m.store));
        cfs_host_ready(&m.host);
        status = cfs_host_run(&m.host);
    }
    cfs_timer_fini(&m.anew_timer);
    join_close(&m);
    peers_close(&m);
    lines_close(&m);
    ports_close(&m);
    engine_end(&m);
    creating_stop(&m);
    store_close(m.store);
    engine_close(&m);
    volumes_close(&m);
    peers_free(&m);
    trust_close(m.trust);
    free(m.listen);
    free(m.node);
    cfs_host_fini(&m.host);
    if (m.anew)
        start_anew(argv, argc);
    return status;
}
