/* SPDX-License-Identifier: Apache-2.0 */
/* brick.c - the life of a brick's daemon; its states are in brickd.h. */
#include "server/brickd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/dump.h"

static const char who[] = "brickd";

static const char *const state_names[] = {
    [BRICKD_WAITING] = "waiting",   [BRICKD_STARTING] = "starting",
    [BRICKD_SERVING] = "serving",   [BRICKD_STOPPING] = "stopping",
    [BRICKD_ENDED] = "ended",
};

/* -- the end -------------------------------------------------------------- */

/* In a turn of its own: what was replied in the last one has been sent. */
static void on_leave(struct cfs_timer *t)
{
    struct brickd *b = container_of(t, struct brickd, leave);

    cfs_host_stop(&b->host);
}

static void end(struct brickd *b)
{
    struct cfs_list *l;

    b->state = BRICKD_ENDED;
    while ((l = cfs_list_pop(&b->enders)) != NULL) {
        struct ender *e = cfs_list_entry(l, struct ender, link);

        rpc_reply(e->msg, (struct cfs_blob){0}, (struct cfs_buf){0});
        free(e);
    }
    cfs_timer_start(&b->leave, 0);
}

/* It cannot start. */
static void fail(struct brickd *b, const struct cfs_err *err)
{
    cfs_host_fail(&b->host, err);
    end(b);
}

static void on_stopped(struct cfs_graph *g)
{
    struct brickd *b = g->owner;

    cfs_graph_free(g);
    b->graph = NULL;
    b->below = NULL;
    cfs_log_info(b->host.log, who, "stopped");
    end(b);
}

void brickd_stop(struct brickd *b)
{
    switch (b->state) {
    case BRICKD_WAITING:
        end(b);
        break;
    case BRICKD_STARTING:
    case BRICKD_SERVING:
        cfs_log_info(b->host.log, who, "stopping");
        b->state = BRICKD_STOPPING;
        b->graph->on_stopped = on_stopped;
        cfs_graph_stop(b->graph);
        break;
    case BRICKD_STOPPING:
    case BRICKD_ENDED:
        break;
    }
}

void brickd_abandon(struct brickd *b)
{
    cfs_log_warning(b->host.log, who, "told to end without a checkpoint");
    end(b);
}

/* -- signing in ----------------------------------------------------------- */

/* The brick's own account, asked for to be told to mgmtd. */
struct account {
    struct cfs_brick_info op;
    struct brickd        *b;
};

/* What mgmtd hears; a store that failed may have nothing more to say. */
static void fill_hello(struct brickd *b, const struct cfs_brick *info)
{
    struct cfs_brick *ret = &b->hello.info;

    if (info != NULL)
        *ret = *info;
    ret->brick = b->hello.brick;
    if (b->failed.code == 0)
        return;
    ret->poisoned = 1;
    if (ret->reason[0] == '\0')
        snprintf(ret->reason, sizeof ret->reason, "%s", b->failed.text);
}

static void account_done(struct cfs_brick_info *op, int status)
{
    struct account *a = container_of(op, struct account, op);
    struct brickd *b = a->b;

    if (status < 0 && b->failed.code == 0)
        cfs_err_set(&b->failed, status, "the store does not say how it is: %s",
                    cfs_err_str(status));
    fill_hello(b, status == 0 ? &op->brick : NULL);
    cfs_call_end(op->req.call);
    if (b->state != BRICKD_STARTING && b->state != BRICKD_SERVING)
        return;
    if (b->mgmt != NULL)
        mgmt_sign_in_brick(b->mgmt, &b->hello);
    if (b->state == BRICKD_STARTING) {
        b->state = BRICKD_SERVING;
        cfs_log_info(b->host.log, who, "serving; incarnation=%llu %s",
                     (unsigned long long)b->hello.info.incarnation,
                     b->hello.info.clean ? "after a clean stop"
                                         : "after no clean stop");
        cfs_host_ready(&b->host);
    }
}

/* Ask the store for its account, and sign in with it. */
static void sign_in(struct brickd *b)
{
    struct cfs_call *call = cfs_call_begin(b->graph);
    struct account *a = cfs_call_new(call, struct account);

    a->b = b;
    a->op.req.call = call;
    cfs_wind_brick_info(b->below, &a->op, account_done);
}

static void on_listening(struct brickd *b, const struct cfs_event *ev)
{
    struct mgmt_brick_hello *h = &b->hello;

    h->port = ev->port;
    snprintf(h->path, sizeof h->path, "%s", ev->path ? ev->path : "");
    sign_in(b);
}

/* Its reason is the process's. */
static void on_store_not_opened(struct brickd *b, const struct cfs_event *ev)
{
    struct cfs_err err = {0};

    if (ev->err)
        err = *ev->err;
    cfs_err_set(&err, -EIO, "the store cannot be opened");
    cfs_host_fail(&b->host, &err);
    brickd_stop(b);
}

static void on_store_failed(struct brickd *b, const struct cfs_event *ev)
{
    const char *text = ev->err && *ev->err->text ? ev->err->text
                                                 : "the store has failed";

    if (b->failed.code < 0)
        return;
    cfs_err_set(&b->failed, -CFS_E_POISONED, "%s", text);
    cfs_log_error(b->host.log, who, "%s; nothing is served any more", text);
    if (b->state == BRICKD_SERVING)
        sign_in(b);
}

static void on_event(struct cfs_graph *g, const struct cfs_event *ev)
{
    struct brickd *b = g->owner;

    if (b->state != BRICKD_STARTING && b->state != BRICKD_SERVING)
        return;
    if (ev->type == CFS_EV_LISTENING)
        on_listening(b, ev);
    else if (ev->type == CFS_EV_DEVICE && b->state == BRICKD_SERVING)
        sign_in(b);
    else if (ev->type == CFS_EV_CHILD_UP)
        b->opened = true;
    else if (ev->type == CFS_EV_CHILD_DOWN && !b->opened &&
             b->state == BRICKD_STARTING)
        on_store_not_opened(b, ev);
    else if (ev->type == CFS_EV_CHILD_DOWN)
        on_store_failed(b, ev);
}

/* -- the graph ------------------------------------------------------------ */

static int build(struct brickd *b, struct cfs_graph *g,
                 const struct cfs_volfile *v, struct cfs_err *err)
{
    int rc = cfs_volfile_build(g, v, err);

    if (rc < 0)
        return rc;
    if (strcmp(g->top->type->name, "protocol/server") != 0)
        return cfs_err_set(err, -EINVAL,
                           "the volfile's last volume '%s' is of type %s: a "
                           "brick's is protocol/server", g->top->name,
                           g->top->type->name);
    return cfs_graph_init(g, err);
}

/* From the volfile to a brick that listens, while its store is opened. */
static int make_graph(struct brickd *b, const char *text, size_t len,
                      struct cfs_err *err)
{
    struct cfs_volfile *v;
    struct cfs_graph *g;
    int rc = cfs_volfile_parse(text, len, &v, err);

    if (rc < 0) {
        cfs_err_wrap(err, "volfile");
        return rc;
    }
    rc = cfs_graph_new(b->host.loop, b->host.log, &b->host, &g);
    if (rc < 0) {
        cfs_volfile_free(v);
        return cfs_err_set(err, rc, "out of memory");
    }
    g->owner = b;
    g->on_event = on_event;
    rc = build(b, g, v, err);
    if (rc < 0) {
        cfs_graph_free(g);
        cfs_volfile_free(v);
        return rc;
    }
    b->volfile = v;
    b->graph = g;
    b->below = g->top->child[0];
    b->state = BRICKD_STARTING;
    cfs_graph_parent_up(g);
    return 0;
}

/* The volfile changed while the brick runs: new options, if nothing else. */
static void change_graph(struct brickd *b, const char *text, size_t len)
{
    struct cfs_volfile *v;
    struct cfs_err err = {0};
    int rc = cfs_volfile_parse(text, len, &v, &err);

    if (rc == 0) {
        rc = cfs_volfile_reconfigure(b->graph, b->volfile, v, &err);
        if (rc < 0) {
            cfs_volfile_free(v);
        } else {
            cfs_volfile_free(b->volfile);
            b->volfile = v;
        }
    }
    if (rc == 0)
        cfs_log_info(b->host.log, who, "the volfile changed: taken over");
    else
        cfs_log_warning(b->host.log, who, "the volfile changed%s: %s%s",
                        rc > 0 ? ", and is taken over but for this" : "",
                        err.text, rc > 0 || rc == -EBUSY
                                      ? "; it counts from the next start on"
                                      : "");
}

/* -- mgmtd ---------------------------------------------------------------- */

static void on_volfile(struct mgmt *m, const char *text, size_t len,
                       const struct cfs_view *view, void *ctx)
{
    struct brickd *b = ctx;
    struct cfs_err err = {0};

    if (b->state == BRICKD_WAITING) {
        if (make_graph(b, text, len, &err) < 0)
            fail(b, &err);
    } else if (b->state == BRICKD_STARTING || b->state == BRICKD_SERVING) {
        change_graph(b, text, len);
    }
}

static void on_refused(struct mgmt *m, const struct cfs_err *why, void *ctx)
{
    struct brickd *b = ctx;

    if (b->state == BRICKD_WAITING)
        fail(b, why);
    else
        cfs_log_warning(b->host.log, who, "%s", why->text);
}

/* Views that a brick acts on come by BRICK.VIEW_SET alone: the answer to that
 * says that they are durable. */
static const struct mgmt_events mgmt_events = {
    .volfile = on_volfile,
    .refused = on_refused,
    .brick_call = brickd_on_call,
};

static int ask_mgmtd(struct brickd *b, struct cfs_err *err)
{
    char text[512], key[64], id[CFS_UUID_STR];
    struct rpc_addr addr;
    int rc;

    if (b->server != NULL)
        snprintf(text, sizeof text, "%s", b->server);
    else
        snprintf(text, sizeof text, "unix:%s/mgmtd.sock", b->host.dirs.run);
    rc = rpc_addr_parse(text, &addr, err);
    if (rc < 0)
        return rc;
    cfs_uuid_print(b->id, id);
    snprintf(key, sizeof key, "brick:%s", id);
    return mgmt_open(b->host.loop, b->host.log, &addr, 1, NULL, key,
                     &mgmt_events, b, &b->mgmt, err);
}

/* -- from outside --------------------------------------------------------- */

/* The whole file, malloc'ed. */
static int read_volfile(const char *path, char **ret, size_t *ret_len,
                        struct cfs_err *err)
{
    char *text = malloc(CFS_VOLFILE_MAX + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    size_t len = 0;
    ssize_t n = 1;

    if (text == NULL || fd < 0)
        rc = text == NULL ? -ENOMEM : -errno;
    while (rc == 0 && n > 0) {
        n = read(fd, text + len, CFS_VOLFILE_MAX + 1 - len);
        if (n < 0)
            rc = -errno;
        else
            len += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    if (rc < 0) {
        free(text);
        return cfs_err_set(err, rc, "%s: %s", path, cfs_err_str(rc));
    }
    *ret = text;
    *ret_len = len;
    return 0;
}

static int start_from_file(struct brickd *b, struct cfs_err *err)
{
    size_t len = 0;
    char *text = NULL;
    int rc = read_volfile(b->volfile_path, &text, &len, err);

    if (rc < 0)
        return rc;
    rc = make_graph(b, text, len, err);
    free(text);
    return rc;
}

int brickd_start(struct brickd *b, struct cfs_err *err)
{
    cfs_list_init(&b->enders);
    cfs_timer_init(b->host.loop, &b->leave, on_leave);
    b->hello.brick = b->id;
    b->hello.pid = (uint32_t)getpid();
    return b->volfile_path != NULL ? start_from_file(b, err)
                                   : ask_mgmtd(b, err);
}

void brickd_dump(struct brickd *b, struct cfs_dump *d)
{
    char id[CFS_UUID_STR];

    cfs_uuid_print(b->id, id);
    cfs_dump_section(d, "brick");
    cfs_dump_put(d, "id", "%s", id);
    cfs_dump_put(d, "state", "%s", state_names[b->state]);
    if (b->failed.code < 0)
        cfs_dump_put(d, "failed", "%s", b->failed.text);
    if (b->graph != NULL)
        cfs_graph_dump(b->graph, d);
}

void brickd_fini(struct brickd *b)
{
    mgmt_close(b->mgmt);
    b->mgmt = NULL;
    if (b->graph != NULL)
        return; /* operations of it are in flight */
    cfs_timer_fini(&b->leave);
    cfs_volfile_free(b->volfile);
    free(b->server);
    free(b->volfile_path);
}
