/* SPDX-License-Identifier: Apache-2.0 */
/* fusemem.c - mount/fuse over a file system in memory, for tests of the mount
 * alone.
 *
 *     fusemem MOUNTPOINT [KEY=VALUE...]
 *
 * Options go to mount/fuse, those that begin with "mem." to debug/memfs. Stays
 * in the foreground, prints "serves" once it does, and ends when it is
 * unmounted (0), or with a reason (1). SIGTERM: as a client's.
 */
#include "core/graph.h"
#include "tests/unit/memfs_xl.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define OPTS_MAX 16

extern const struct cfs_xl_type cfs_xl_type; /* mount/fuse */

struct app {
    struct cfs_loop  *loop;
    struct cfs_graph *graph;
    uv_signal_t       term;
    bool              stopped;
};

static void on_event(struct cfs_graph *g, const struct cfs_event *ev)
{
    if (ev->type == CFS_EV_CHILD_UP) {
        puts("serves");
        fflush(stdout);
    } else if (ev->type == CFS_EV_CHILD_DOWN) {
        puts(ev->err->text);
        fflush(stdout);
        cfs_graph_stop(g);
    }
}

static void on_stopped(struct cfs_graph *g)
{
    struct app *app = g->owner;

    app->stopped = true;
    uv_close((uv_handle_t *)&app->term, NULL);
    cfs_loop_stop(app->loop);
}

static void on_term(uv_signal_t *s, int signum)
{
    struct app *app = s->data;

    cfs_graph_stop(app->graph);
}

static int split_opts(int argc, char **argv, struct cfs_kv *fuse,
                      size_t *n_fuse, struct cfs_kv *mem, size_t *n_mem)
{
    for (int i = 0; i < argc; i++) {
        char *eq = strchr(argv[i], '=');

        if (eq == NULL || *n_fuse == OPTS_MAX || *n_mem == OPTS_MAX)
            return -EINVAL;
        *eq = '\0';
        if (strncmp(argv[i], "mem.", 4) == 0)
            mem[(*n_mem)++] = (struct cfs_kv){argv[i] + 4, eq + 1};
        else
            fuse[(*n_fuse)++] = (struct cfs_kv){argv[i], eq + 1};
    }
    return 0;
}

static int build(struct app *app, struct cfs_log *log, int argc, char **argv,
                 struct cfs_err *err)
{
    struct cfs_kv fuse[OPTS_MAX + 1] = {{"mountpoint", argv[1]}};
    struct cfs_kv mem[OPTS_MAX + 1];
    size_t n_fuse = 1, n_mem = 0;
    int rc;

    if (split_opts(argc - 2, argv + 2, fuse, &n_fuse, mem, &n_mem) < 0)
        return cfs_err_set(err, -EINVAL, "expected KEY=VALUE");
    cfs_graph_builtin(&memfs_xl_type);
    cfs_graph_builtin(&cfs_xl_type);
    rc = cfs_graph_new(app->loop, log, NULL, &app->graph);
    if (rc < 0)
        return cfs_err_set(err, rc, "no memory");
    app->graph->owner = app;
    app->graph->on_event = on_event;
    app->graph->on_stopped = on_stopped;
    rc = cfs_graph_add(app->graph, "mem", "debug/memfs", mem, n_mem, NULL, 0,
                       err);
    if (rc == 0)
        rc = cfs_graph_add_top(app->graph, "fuse", "mount/fuse", fuse, n_fuse,
                               err);
    if (rc == 0)
        rc = cfs_graph_init(app->graph, err);
    return rc;
}

int main(int argc, char **argv)
{
    struct app app = {0};
    struct cfs_err err = {0};
    struct cfs_log *log = NULL;
    int rc;

    if (argc < 2) {
        fprintf(stderr, "usage: fusemem MOUNTPOINT [KEY=VALUE...]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    rc = cfs_log_open(&log, NULL, CFS_LOG_INFO, CFS_LOG_PLAIN, &err);
    if (rc == 0)
        rc = cfs_loop_new(&app.loop, &err);
    if (rc == 0)
        rc = build(&app, log, argc, argv, &err);
    if (rc == 0) {
        uv_signal_init(cfs_loop_uv(app.loop), &app.term);
        app.term.data = &app;
        uv_signal_start(&app.term, on_term, SIGTERM);
        cfs_graph_parent_up(app.graph);
        cfs_loop_run(app.loop);
    }
    if (rc < 0)
        fprintf(stderr, "fusemem: %s\n", err.text);
    cfs_graph_free(app.graph);
    cfs_loop_free(app.loop);
    cfs_log_close(log);
    cfs_buf_pool_drain();
    return rc < 0 || !app.stopped;
}
