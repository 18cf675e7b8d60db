/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - clusterfs-client: the process behind one mount. See client.h. */
#include "client/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CREDS_EVERY (3600 * CFS_SEC)

/* A dead time, the rounds of questions before it, and a new view. */
#define HELD_UP_MS UINT64_C(20000)

static const char who[] = "client";

static struct client *client_of(struct cfs_graph *g)
{
    return g->owner;
}

/* -- the end --------------------------------------------------------------- */

/* Tell whoever waits for us why, once nothing is mounted any more. */
static void tell_failure(struct client *c)
{
    if (c->failure.code != 0 && c->host.ready_fd >= 0)
        cfs_host_fail(&c->host, &c->failure);
    if (c->failure.code != 0)
        c->host.status = 1;
}

static void stop(struct client *c)
{
    if (c->stopping)
        return;
    c->stopping = true;
    cfs_timer_stop(&c->patience);
    if (c->graph != NULL && c->graph->top->inited) {
        cfs_graph_stop(c->graph);
        return;
    }
    tell_failure(c);
    cfs_host_stop(&c->host);
}

static void fail(struct client *c, const struct cfs_err *why)
{
    if (c->failure.code == 0)
        c->failure = *why;
    stop(c);
}

/* The bricks whose translator has not come up, for a message. */
static void name_missing(struct client *c, char *ret, size_t len)
{
    size_t used = 0;

    *ret = '\0';
    for (unsigned i = 0; c->graph != NULL && i < c->graph->n; i++) {
        const struct cfs_xl *xl = c->graph->xl[i];

        if (xl->n_child > 0 || xl->up || used >= len)
            continue;
        used += (size_t)snprintf(ret + used, len - used, "%s%s",
                                 used > 0 ? ", " : "", xl->name);
    }
}

static void patience_over(struct cfs_timer *t)
{
    struct client *c = container_of(t, struct client, patience);
    const char *what = c->volume != NULL ? c->volume : c->volfile_path;
    unsigned long long s = (unsigned long long)(c->timeout_ms + 999) / 1000;
    struct cfs_err err = {0};
    char missing[300];

    name_missing(c, missing, sizeof missing);
    if (c->held_up.code != 0) {
        fail(c, &c->held_up);
        return;
    }
    if (c->graph == NULL)
        cfs_err_set(&err, -ETIMEDOUT,
                    "%s: no volfile within %llu s from clusterfs-mgmtd at %s",
                    what, s, c->server[0].text);
    else if (*missing != '\0')
        cfs_err_set(&err, -ETIMEDOUT,
                    "%s does not serve within %llu s; bricks that did not "
                    "answer: %s; see the log%s%s", what, s, missing,
                    c->host.log_path != NULL ? " " : "",
                    c->host.log_path != NULL ? c->host.log_path : "");
    else
        cfs_err_set(&err, -ETIMEDOUT,
                    "%s does not serve within %llu s, although its bricks "
                    "answer; see `clusterfs volume status`", what, s);
    fail(c, &err);
}

/* -- what the graph tells -------------------------------------------------- */

static void sign_in(struct client *c, const struct cfs_session *session)
{
    struct mgmt_client_hello hello = {.session = *session};

    if (c->mgmt == NULL || c->volume == NULL)
        return;
    snprintf(hello.volume, sizeof hello.volume, "%s", c->volume);
    mgmt_sign_in_client(c->mgmt, &hello);
}

static void serves(struct client *c)
{
    if (c->ready || c->stopping)
        return;
    c->ready = true;
    cfs_timer_stop(&c->patience);
    cfs_log_info(c->host.log, who, "%s is mounted on %s", c->source,
                 c->mountpoint);
    cfs_host_ready(&c->host);
}

static void went_down(struct client *c, const struct cfs_err *why)
{
    if (why == NULL)
        return;
    if (why->code != -ENODEV) {
        cfs_log_warning(c->host.log, who, "%s", why->text);
        return;
    }
    /* Nothing is mounted any more: by our doing, or somebody's. */
    cfs_log_info(c->host.log, who, "%s", why->text);
    if (!c->ready && c->failure.code == 0)
        c->failure = *why;
    tell_failure(c);
    stop(c);
}

/* Who had the volume is declared dead in HELD_UP_MS: the mount waits for that
 * from now on, and its time starts then. */
static void held_up(struct client *c, const struct cfs_err *why)
{
    if (c->ready || c->stopping)
        return;
    c->held_up = *why;
    cfs_timer_start(&c->patience, (HELD_UP_MS + c->timeout_ms) * CFS_MS);
}

static void on_event(struct cfs_graph *g, const struct cfs_event *ev)
{
    struct client *c = client_of(g);

    switch (ev->type) {
    case CFS_EV_CHILD_UP:
        serves(c);
        break;
    case CFS_EV_CHILD_DOWN:
        went_down(c, ev->err);
        break;
    case CFS_EV_AUTH_FAILED:
        if (!c->ready)
            fail(c, ev->err);
        else
            cfs_log_error(c->host.log, who, "%s", ev->err->text);
        break;
    case CFS_EV_HELD_UP:
        held_up(c, ev->err);
        break;
    case CFS_EV_SESSION:
        sign_in(c, ev->session);
        break;
    case CFS_EV_WANT_VIEW:
        if (c->mgmt != NULL)
            mgmt_want_view(c->mgmt);
        break;
    case CFS_EV_DIFFERS:
        if (c->mgmt != NULL)
            mgmt_differs(c->mgmt, ev->view->epoch, *ev->brick);
        break;
    case CFS_EV_SILENCE:
        if (c->mgmt != NULL)
            mgmt_report(c->mgmt, ev->silence);
        break;
    default:
        break;
    }
}

static void on_stopped(struct cfs_graph *g)
{
    struct client *c = client_of(g);

    c->stopped = true;
    tell_failure(c);
    cfs_host_stop(&c->host);
}

/* -- the graph ------------------------------------------------------------- */

static int set_option(struct cfs_volfile_xl *xl, const char *key,
                      const char *value)
{
    struct cfs_kv *opts;

    for (size_t i = 0; i < xl->n_opts; i++) {
        if (strcmp(xl->opts[i].key, key) == 0)
            return 0; /* the volfile knows better */
    }
    opts = reallocarray(xl->opts, xl->n_opts + 1, sizeof *opts);
    if (opts == NULL)
        return -ENOMEM;
    xl->opts = opts;
    opts[xl->n_opts] = (struct cfs_kv){strdup(key), strdup(value)};
    if (opts[xl->n_opts].key == NULL || opts[xl->n_opts].value == NULL)
        return -ENOMEM;
    xl->n_opts++;
    return 0;
}

/* What only the client knows of its session: who it is, and where. */
static int personalise(struct client *c, struct cfs_volfile *v)
{
    for (size_t i = 0; i < v->n; i++) {
        struct cfs_volfile_xl *xl = &v->xl[i];
        int rc = 0;

        if (strcmp(xl->type, "cluster/replicate") != 0)
            continue;
        rc = set_option(xl, "node", cfs_node_name());
        if (rc == 0)
            rc = set_option(xl, "where", c->mountpoint);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int parse(struct client *c, const char *text, size_t len,
                 struct cfs_volfile **ret, struct cfs_err *err)
{
    struct cfs_volfile *v;
    int rc;

    rc = cfs_volfile_parse(text, len, &v, err);
    if (rc < 0) {
        cfs_err_wrap(err, "volfile");
        return rc;
    }
    rc = personalise(c, v);
    if (rc < 0) {
        cfs_volfile_free(v);
        return cfs_err_set(err, rc, "out of memory");
    }
    *ret = v;
    return 0;
}

static int add_fuse(struct client *c, struct cfs_err *err)
{
    struct cfs_kv opts[CLIENT_OPTS + 4];
    size_t n = 0;

    for (; n < c->n_opts; n++)
        opts[n] = c->opts[n];
    opts[n++] = (struct cfs_kv){"mountpoint", c->mountpoint};
    opts[n++] = (struct cfs_kv){"source", c->source};
    if (c->mount_options[0] != '\0')
        opts[n++] = (struct cfs_kv){"mount-options", c->mount_options};
    return cfs_graph_add_top(c->graph, "fuse", "mount/fuse", opts, n, err);
}

static int build(struct client *c, const char *text, size_t len,
                 const struct cfs_view *view, struct cfs_err *err)
{
    int rc;

    rc = parse(c, text, len, &c->volfile, err);
    if (rc < 0)
        return rc;
    rc = cfs_graph_new(c->host.loop, c->host.log, &c->host, &c->graph);
    if (rc < 0)
        return cfs_err_set(err, rc, "out of memory");
    c->graph->owner = c;
    c->graph->on_event = on_event;
    c->graph->on_stopped = on_stopped;
    rc = cfs_volfile_build(c->graph, c->volfile, err);
    if (rc == 0)
        rc = add_fuse(c, err);
    if (rc == 0)
        rc = cfs_graph_init(c->graph, err);
    if (rc < 0) {
        /* What was mounted is unmounted again. */
        cfs_graph_free(c->graph);
        c->graph = NULL;
        return rc;
    }
    cfs_graph_parent_up(c->graph);
    if (view != NULL && view->epoch != 0)
        cfs_graph_event(c->graph, (struct cfs_event){.type = CFS_EV_VIEW,
                                                     .view = view});
    return 0;
}

/* The volume was changed: its options are taken over in the running graph. */
static void change(struct client *c, const char *text, size_t len)
{
    struct cfs_volfile *next;
    struct cfs_err err = {0};
    int rc;

    if (parse(c, text, len, &next, &err) < 0) {
        cfs_log_error(c->host.log, who, "the new volfile is not used: %s",
                      err.text);
        return;
    }
    if (!cfs_volfile_same_shape(c->volfile, next)) {
        cfs_log_warning(c->host.log, who,
                        "the volume has other bricks or translators now: "
                        "mount it again to use them");
        cfs_volfile_free(next);
        return;
    }
    rc = cfs_volfile_reconfigure(c->graph, c->volfile, next, &err);
    if (rc < 0) {
        cfs_log_warning(c->host.log, who,
                        "the volume's new options are not used: %s",
                        err.text);
        cfs_volfile_free(next);
        return;
    }
    cfs_log_info(c->host.log, who, "the volume's new options are in use%s%s%s",
                 rc > 0 ? ", but for one until the next mount (" : "",
                 rc > 0 ? err.text : "", rc > 0 ? ")" : "");
    cfs_volfile_free(c->volfile);
    c->volfile = next;
}

/* -- what mgmtd tells ------------------------------------------------------ */

static void on_view(struct mgmt *m, const struct cfs_view *view, void *ctx)
{
    struct client *c = ctx;

    if (c->graph != NULL && !c->stopped)
        cfs_graph_event(c->graph, (struct cfs_event){.type = CFS_EV_VIEW,
                                                     .view = view});
}

static void on_probe(struct mgmt *m, void *ctx)
{
    struct client *c = ctx;

    if (c->graph != NULL && !c->stopping)
        cfs_graph_event(c->graph, (struct cfs_event){.type = CFS_EV_PROBE});
}

static void on_volfile(struct mgmt *m, const char *text, size_t len,
                       const struct cfs_view *view, void *ctx)
{
    struct client *c = ctx;
    struct cfs_err err = {0};

    if (c->stopping)
        return;
    if (c->graph == NULL) {
        if (build(c, text, len, view, &err) < 0)
            fail(c, &err);
        return;
    }
    change(c, text, len);
    if (view->epoch != 0)
        on_view(m, view, ctx);
}

static void on_refused(struct mgmt *m, const struct cfs_err *why, void *ctx)
{
    struct client *c = ctx;

    if (c->ready)
        cfs_log_warning(c->host.log, who, "%s", why->text);
    else
        fail(c, why);
}

/* -- credentials ----------------------------------------------------------- */

static uint64_t trust_known(void *ctx)
{
    const struct client *c = ctx;

    return rpc_creds_list(&c->creds);
}

static void on_trust(struct mgmt *m, const char *crl, const char *cert,
                     void *ctx)
{
    struct client *c = ctx;
    struct cfs_err err = {0};
    int rc = rpc_creds_update(&c->creds, crl, cert, &err);

    if (rc > 0)
        cfs_log_info(c->host.log, who, "%s: %s", c->creds.path,
                     *cert != '\0' ? "the certificate was renewed"
                                   : "the list of nodes that are not believed "
                                     "was renewed");
    else if (rc < 0 && c->creds.unsaved)
        cfs_log_warning(c->host.log, who, "%s: what was renewed is in use, "
                        "but cannot be kept for the next mount: let root "
                        "write to that file", err.text);
    else if (rc < 0)
        cfs_log_warning(c->host.log, who, "what mgmtd sends to renew the "
                        "credentials is not used: %s", err.text);
}

/* A node's certificate is renewed while we run; ours, or another process has
 * done it. */
static void on_refresh(struct cfs_timer *t)
{
    struct client *c = container_of(t, struct client, refresh);
    struct cfs_err err = {0};

    if (rpc_creds_refresh(&c->creds, &err) < 0)
        cfs_log_warning(c->host.log, who, "%s", err.text);
    if (c->creds.unsaved)
        on_trust(c->mgmt, "", "", c);
    mgmt_want_trust(c->mgmt);
    cfs_timer_start(t, CREDS_EVERY);
}

/* -- the start ------------------------------------------------------------- */

static int read_file(const char *path, char **ret, size_t *ret_len,
                     struct cfs_err *err)
{
    FILE *f = fopen(path, "re");
    char *text = malloc(CFS_VOLFILE_MAX + 1); /* one more shows "too long" */
    size_t len;
    bool bad;

    if (f == NULL || text == NULL) {
        int rc = f == NULL ? -errno : -ENOMEM;

        if (f != NULL)
            fclose(f);
        free(text);
        return cfs_err_set(err, rc, "%s: %s", path, cfs_err_str(rc));
    }
    len = fread(text, 1, CFS_VOLFILE_MAX + 1, f);
    bad = ferror(f) != 0;
    fclose(f);
    if (bad) {
        free(text);
        return cfs_err_set(err, -EIO, "%s: %s", path, cfs_err_str(-EIO));
    }
    *ret = text;
    *ret_len = len;
    return 0;
}

static int start_from_file(struct client *c, struct cfs_err *err)
{
    char *text = NULL;
    size_t len = 0;
    int rc;

    rc = read_file(c->volfile_path, &text, &len, err);
    if (rc < 0)
        return rc;
    rc = build(c, text, len, NULL, err);
    free(text);
    return rc;
}

static int start_from_mgmtd(struct client *c, struct cfs_err *err)
{
    struct mgmt_events events = {
        .volfile = on_volfile,
        .view = on_view,
        .probe = on_probe,
        .refused = on_refused,
    };
    char key[300];
    int rc, n;

    rc = client_servers(c, err);
    if (rc < 0)
        return rc;
    n = snprintf(key, sizeof key, "volume:%s", c->volume);
    if (n < 0 || (size_t)n >= sizeof key)
        return cfs_err_set(err, -ENAMETOOLONG, "the volume's name is too long");
    rc = rpc_creds_find(c->credentials, c->host.dirs.config,
                        c->host.dirs.state, &c->creds, err);
    if (rc < 0)
        return rc;
    client_more_servers(c);
    if (rpc_creds_is_file(&c->creds)) {
        events.trust_known = trust_known;
        events.trust = on_trust;
    }
    cfs_timer_init(c->host.loop, &c->refresh, on_refresh);
    cfs_timer_start(&c->refresh, CREDS_EVERY);
    return mgmt_open(c->host.loop, c->host.log, c->server, c->n_servers,
                     c->creds.tls, key, &events, c, &c->mgmt, err);
}

static int start(struct client *c, struct cfs_err *err)
{
    int rc = client_args_finish(c, err);

    if (rc < 0)
        return rc;
    cfs_timer_init(c->host.loop, &c->patience, patience_over);
    cfs_timer_start(&c->patience, c->timeout_ms * CFS_MS);
    return c->volfile_path != NULL ? start_from_file(c, err)
                                   : start_from_mgmtd(c, err);
}

static void on_stop(struct cfs_host *h)
{
    struct client *c = h->spec->owner;

    if (!c->ready && c->failure.code == 0)
        cfs_err_set(&c->failure, -EINTR, "told to stop before it was mounted");
    stop(c);
}

static void on_dump(struct cfs_host *h, struct cfs_dump *d)
{
    struct client *c = h->spec->owner;

    cfs_dump_section(d, "client");
    cfs_dump_put(d, "volume", "%s", c->volume != NULL ? c->volume : "");
    cfs_dump_put(d, "mountpoint", "%s", c->mountpoint);
    cfs_dump_put(d, "ready", "%d", c->ready);
    if (c->graph != NULL)
        cfs_graph_dump(c->graph, d);
}

static void finish(struct client *c)
{
    mgmt_close(c->mgmt);
    cfs_volfile_free(c->volfile);
    if (c->patience.loop != NULL)
        cfs_timer_fini(&c->patience);
    if (c->refresh.loop != NULL)
        cfs_timer_fini(&c->refresh);
    /* Told twice to stop, it does not wait for its calls. */
    if (c->graph != NULL && !c->stopped)
        _exit(1);
    cfs_graph_free(c->graph);
    cfs_host_fini(&c->host);
    client_args_free(c);
}

int main(int argc, char **argv)
{
    static struct client c;
    struct cfs_arg args[CLIENT_ARGS];
    const struct cfs_host_spec spec = {
        .program = "clusterfs-client",
        .synopsis = "MOUNTPOINT",
        .about = "mount a clusterfs volume; mount.clusterfs calls this",
        .args = args,
        .own_log = true,
        .log_name = client_log_name,
        .on_stop = on_stop,
        .on_dump = on_dump,
        .owner = &c,
    };
    struct cfs_err err = {0};
    int status;

    client_args_init(&c, args);
    if (cfs_host_init(&c.host, &spec, argc, argv, &err) < 0) {
        fprintf(stderr, "clusterfs-client: %s\n", err.text);
        return 1;
    }
    if (start(&c, &err) < 0) {
        cfs_host_fail(&c.host, &err);
        c.failure = err;
        finish(&c);
        return 1;
    }
    status = cfs_host_run(&c.host);
    finish(&c);
    return status;
}
