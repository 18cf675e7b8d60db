/* SPDX-License-Identifier: Apache-2.0 */
/* graph.c - a graph's life, and the calls that go through it; see graph.h.
 *
 * Shape      a tree: each translator but the top has one parent. Children are
 *            added before their parent, so that the order of addition is
 *            bottom-up, and its reverse top-down.
 * Calls      an ended call waits, with the first chunk of its arena, for the
 *            next cfs_call_begin(), the last ended first.
 *
 * (1) init runs once, from the top down; fini once for each whose init ran,
 *     also if it failed, from the bottom up.
 * (2) on_stopped runs once, from the loop, when stop was asked for, and holds
 *     and calls are 0.
 */
#include "core/graph.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/mem.h"
#include "core/xl_type.h"

#define CALLS_KEPT 512u

/* A call and the link that its users need not see. */
struct call_slot {
    struct cfs_call   call;
    struct call_slot *next;
};

/* A translator, and what only its graph needs. */
struct node {
    struct cfs_xl  xl;
    bool           init_ran;
    struct cfs_kv *opts; /* as given; its strings are ours */
    size_t         n_opts;
};

struct graph {
    struct cfs_graph  pub;
    struct call_slot *free_calls;
    unsigned          n_free_calls;
    bool              stopping;
    bool              stopped;
    struct cfs_task   stopped_task;
};

static struct graph *impl_of(struct cfs_graph *g)
{
    return container_of(g, struct graph, pub);
}

static struct node *node_of(struct cfs_xl *xl)
{
    return container_of(xl, struct node, xl);
}

/* -- construction --------------------------------------------------------- */

static void run_stopped(struct cfs_task *t)
{
    struct graph *g = container_of(t, struct graph, stopped_task);

    if (g->stopped || g->pub.holds > 0 || g->pub.calls > 0)
        return;
    g->stopped = true;
    if (g->pub.on_stopped)
        g->pub.on_stopped(&g->pub); /* may free it */
}

int cfs_graph_new(struct cfs_loop *loop, struct cfs_log *log,
                  struct cfs_host *host, struct cfs_graph **ret)
{
    struct graph *g = calloc(1, sizeof *g);

    if (!g)
        return -ENOMEM;
    g->pub.loop = loop;
    g->pub.log = log;
    g->pub.host = host;
    cfs_task_init(&g->stopped_task, run_stopped);
    *ret = &g->pub;
    return 0;
}

static void free_opts(struct cfs_kv *opts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free((char *)opts[i].key);
        free((char *)opts[i].value);
    }
    free(opts);
}

static int copy_opts(const struct cfs_kv *opts, size_t n, struct cfs_kv **ret)
{
    struct cfs_kv *copy = calloc(n + 1, sizeof *copy);

    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        copy[i].key = strdup(opts[i].key);
        copy[i].value = strdup(opts[i].value);
        if (!copy[i].key || !copy[i].value) {
            free_opts(copy, i + 1);
            return -ENOMEM;
        }
    }
    *ret = copy;
    return 0;
}

static void node_free(struct node *n)
{
    const struct cfs_xl_type *type = n->xl.type;

    if (n->init_ran && type->fini)
        type->fini(&n->xl);
    if (n->xl.priv)
        cfs_opt_free(type->opts, n->xl.priv);
    free(n->xl.priv);
    free(n->xl.child);
    free(n->xl.parent);
    free((char *)n->xl.name);
    free_opts(n->opts, n->n_opts);
    free(n);
}

void cfs_graph_free(struct cfs_graph *g)
{
    struct graph *impl;
    struct call_slot *slot;

    if (!g)
        return;
    impl = impl_of(g);
    assert(g->calls == 0);
    cfs_task_cancel(&impl->stopped_task);
    for (unsigned i = 0; i < g->n; i++)
        node_free(node_of(g->xl[i]));
    while ((slot = impl->free_calls) != NULL) {
        impl->free_calls = slot->next;
        cfs_arena_fini(&slot->call.arena);
        free(slot);
    }
    free(g->xl);
    free(impl);
}

/* The children's addresses, checked, in a new array. */
static int find_children(struct cfs_graph *g, const char *name,
                         const char *const *children, size_t n,
                         struct cfs_xl ***ret, struct cfs_err *err)
{
    struct cfs_xl **list = calloc(n + 1, sizeof *list);

    if (!list)
        return cfs_err_set(err, -ENOMEM, "%s: out of memory", name);
    for (size_t i = 0; i < n; i++) {
        struct cfs_xl *c = cfs_graph_find(g, children[i]);
        int rc = 0;

        if (!c)
            rc = cfs_err_set(err, -ENOENT, "%s: no volume '%s' before it",
                             name, children[i]);
        else if (c->n_parent > 0)
            rc = cfs_err_set(err, -EINVAL, "%s: '%s' is below '%s' already",
                             name, children[i], c->parent[0]->name);
        for (size_t k = 0; rc == 0 && k < i; k++)
            if (list[k] == c)
                rc = cfs_err_set(err, -EINVAL, "%s: '%s' is named twice",
                                 name, children[i]);
        if (rc < 0) {
            free(list);
            return rc;
        }
        list[i] = c;
    }
    *ret = list;
    return 0;
}

static int check_count(const struct cfs_xl_type *type, const char *name,
                       size_t n, struct cfs_err *err)
{
    if (n >= type->children_min && n <= type->children_max)
        return 0;
    if (type->children_min == type->children_max)
        return cfs_err_set(err, -EINVAL,
                           "%s: %s takes %u subvolumes, given are %zu", name,
                           type->name, type->children_min, n);
    return cfs_err_set(err, -EINVAL,
                       "%s: %s takes %u to %u subvolumes, given are %zu", name,
                       type->name, type->children_min, type->children_max, n);
}

/* Room for one more translator, and for a parent of each child. */
static int reserve(struct cfs_graph *g, struct cfs_xl **children, size_t n)
{
    struct cfs_xl **xl = reallocarray(g->xl, g->n + 1, sizeof(*xl));

    if (!xl)
        return -ENOMEM;
    g->xl = xl;
    for (size_t i = 0; i < n; i++) {
        if (!children[i]->parent)
            children[i]->parent = calloc(1, sizeof(*children[i]->parent));
        if (!children[i]->parent)
            return -ENOMEM;
    }
    return 0;
}

/* A new translator with its options, not yet in the graph. */
static int node_new(struct cfs_graph *g, const char *name,
                    const struct cfs_xl_type *type, const struct cfs_kv *opts,
                    size_t n_opts, struct node **ret, struct cfs_err *err)
{
    struct node *n = calloc(1, sizeof *n);
    int rc;

    if (!n)
        return cfs_err_set(err, -ENOMEM, "%s: out of memory", name);
    n->xl.type = type;
    n->xl.graph = g;
    n->xl.loop = g->loop;
    n->xl.log = g->log;
    n->xl.host = g->host;
    n->xl.name = strdup(name);
    n->xl.priv = calloc(1, type->priv_size ? type->priv_size : 1);
    rc = copy_opts(opts, n_opts, &n->opts);
    if (rc == 0)
        n->n_opts = n_opts;
    if (rc < 0 || !n->xl.name || !n->xl.priv)
        rc = cfs_err_set(err, -ENOMEM, "%s: out of memory", name);
    else
        rc = cfs_opt_load(type->opts, n->xl.priv, opts, n_opts, false, name,
                          err);
    if (rc < 0) {
        node_free(n);
        return rc;
    }
    *ret = n;
    return 0;
}

static void adopt(struct cfs_xl *parent, struct cfs_xl *child)
{
    assert(child->n_parent == 0);
    child->parent[0] = parent;
    child->n_parent = 1;
}

int cfs_graph_add(struct cfs_graph *g, const char *name, const char *type,
                  const struct cfs_kv *opts, size_t n_opts,
                  const char *const *children, size_t n_children,
                  struct cfs_err *err)
{
    const struct cfs_xl_type *t;
    struct cfs_xl **list = NULL;
    struct node *n = NULL;
    int rc;

    if (cfs_graph_find(g, name))
        return cfs_err_set(err, -EEXIST, "%s: there are two of this name",
                           name);
    rc = cfs_xl_type_load(type, &t, err);
    if (rc < 0) {
        cfs_err_wrap(err, "%s", name);
        return rc;
    }
    rc = check_count(t, name, n_children, err);
    if (rc < 0)
        return rc;
    rc = find_children(g, name, children, n_children, &list, err);
    if (rc < 0)
        return rc;
    rc = reserve(g, list, n_children);
    if (rc < 0) {
        free(list);
        return cfs_err_set(err, rc, "%s: out of memory", name);
    }
    rc = node_new(g, name, t, opts, n_opts, &n, err);
    if (rc < 0) {
        free(list);
        return rc;
    }
    n->xl.child = list;
    n->xl.n_child = (unsigned)n_children;
    for (size_t i = 0; i < n_children; i++)
        adopt(&n->xl, list[i]);
    cfs_xl_fill_fops(&n->xl);
    g->xl[g->n++] = &n->xl;
    g->top = &n->xl;
    return 0;
}

int cfs_graph_add_top(struct cfs_graph *g, const char *name, const char *type,
                      const struct cfs_kv *opts, size_t n_opts,
                      struct cfs_err *err)
{
    assert(g->top);
    return cfs_graph_add(g, name, type, opts, n_opts,
                         (const char *const[]){g->top->name}, 1, err);
}

/* -- life ----------------------------------------------------------------- */

int cfs_graph_init(struct cfs_graph *g, struct cfs_err *err)
{
    if (!g->top)
        return cfs_err_set(err, -EINVAL, "no volume in the graph");
    for (unsigned i = 0; i + 1 < g->n; i++)
        if (g->xl[i]->n_parent == 0)
            return cfs_err_set(err, -EINVAL, "'%s' is not below '%s'",
                               g->xl[i]->name, g->top->name);
    for (unsigned i = g->n; i-- > 0;) {
        struct cfs_xl *xl = g->xl[i];
        int rc;

        node_of(xl)->init_ran = true;
        rc = xl->type->init ? xl->type->init(xl, err) : 0;
        if (rc < 0) {
            /* Every failed start has a reason, if only the code's. */
            cfs_err_set(err, rc, "%s: %s", xl->name, cfs_err_str(rc));
            return rc;
        }
        xl->inited = true;
    }
    return 0;
}

void cfs_graph_event(struct cfs_graph *g, struct cfs_event ev)
{
    struct cfs_xl *top = g->top;

    assert(cfs_event_goes_down(ev.type));
    ev.from = NULL;
    if (top->type->notify)
        top->type->notify(top, &ev);
    else
        cfs_notify_pass(top, &ev);
}

void cfs_graph_parent_up(struct cfs_graph *g)
{
    cfs_graph_event(g, (struct cfs_event){.type = CFS_EV_PARENT_UP});
}

/* Once stop was asked for: see whether it is done. */
static void check_stopped(struct graph *g)
{
    if (g->stopping && g->pub.holds == 0 && g->pub.calls == 0)
        cfs_task_post(g->pub.loop, &g->stopped_task);
}

void cfs_graph_stop(struct cfs_graph *g)
{
    struct graph *impl = impl_of(g);

    if (impl->stopping)
        return;
    impl->stopping = true;
    cfs_graph_event(g, (struct cfs_event){.type = CFS_EV_PARENT_DOWN});
    check_stopped(impl);
}

void cfs_graph_hold(struct cfs_graph *g)
{
    g->holds++;
}

void cfs_graph_release(struct cfs_graph *g)
{
    assert(g->holds > 0);
    g->holds--;
    check_stopped(impl_of(g));
}

/* Load @opts; when the translator itself does not want them, the ones from
 * before are given back to it. */
static int reconfigure(struct cfs_xl *xl, const struct cfs_kv *opts,
                       size_t n_opts, struct cfs_err *err)
{
    struct node *n = node_of(xl);
    const char *name = xl->name;
    struct cfs_kv *copy;
    int rc;

    rc = copy_opts(opts, n_opts, &copy);
    if (rc < 0)
        return cfs_err_set(err, rc, "%s: out of memory", name);
    rc = cfs_opt_load(xl->type->opts, xl->priv, opts, n_opts, true, name, err);
    if (rc == 0 && xl->type->reconfigure) {
        rc = xl->type->reconfigure(xl, err);
        if (rc < 0) {
            cfs_opt_load(xl->type->opts, xl->priv, n->opts, n->n_opts, true,
                         name, NULL);
            xl->type->reconfigure(xl, NULL);
        }
    }
    if (rc < 0) {
        free_opts(copy, n_opts);
        return rc;
    }
    free_opts(n->opts, n->n_opts);
    n->opts = copy;
    n->n_opts = n_opts;
    return 0;
}

/* The value that @opts has for @o; NULL: its default. */
static const char *given(const struct cfs_opt *o, const struct cfs_kv *opts,
                         size_t n_opts)
{
    while (n_opts-- > 0)
        if (strcmp(opts[n_opts].key, o->name) == 0)
            return opts[n_opts].value;
    return NULL;
}

/* Of @next the options that may change while @xl runs, of what it runs with
 * the others. Malloc'ed, like what copy_opts() makes. */
static int what_may_change(struct cfs_xl *xl, const struct cfs_kv *next,
                           size_t n_next, struct cfs_kv **ret, size_t *ret_n)
{
    const struct node *n = node_of(xl);
    size_t max = 0, used = 0;
    struct cfs_kv *mixed;
    int rc;

    for (const struct cfs_opt *o = xl->type->opts; o && o->name; o++)
        max++;
    mixed = calloc(max + 1, sizeof *mixed);
    if (!mixed)
        return -ENOMEM;
    for (const struct cfs_opt *o = xl->type->opts; o && o->name; o++) {
        const char *value = o->flags & CFS_OPT_RECONF
                                ? given(o, next, n_next)
                                : given(o, n->opts, n->n_opts);

        if (value)
            mixed[used++] = (struct cfs_kv){o->name, value};
    }
    rc = copy_opts(mixed, used, ret);
    free(mixed);
    if (rc == 0)
        *ret_n = used;
    return rc;
}

int cfs_graph_reconfigure(struct cfs_graph *g, const char *name,
                          const struct cfs_kv *opts, size_t n_opts,
                          struct cfs_err *err)
{
    struct cfs_xl *xl = cfs_graph_find(g, name);
    struct cfs_err why = {0};
    struct cfs_kv *mixed;
    size_t n_mixed = 0;
    int rc;

    if (!xl)
        return cfs_err_set(err, -ENOENT, "no volume '%s' in the graph", name);
    rc = reconfigure(xl, opts, n_opts, &why);
    if (rc != -EBUSY && rc != -ENOENT) {
        if (rc < 0)
            cfs_err_set(err, rc, "%s", why.text);
        return rc;
    }
    rc = what_may_change(xl, opts, n_opts, &mixed, &n_mixed);
    if (rc < 0)
        return cfs_err_set(err, rc, "%s: out of memory", name);
    rc = reconfigure(xl, mixed, n_mixed, err);
    free_opts(mixed, n_mixed);
    if (rc < 0)
        return rc;
    cfs_err_set(err, why.code, "%s", why.text);
    return 1;
}

/* -- looking -------------------------------------------------------------- */

struct cfs_xl *cfs_graph_find(struct cfs_graph *g, const char *name)
{
    for (unsigned i = 0; i < g->n; i++)
        if (strcmp(g->xl[i]->name, name) == 0)
            return g->xl[i];
    return NULL;
}

struct cfs_xl *cfs_graph_find_type(struct cfs_graph *g, const char *type)
{
    for (unsigned i = 0; i < g->n; i++)
        if (strcmp(g->xl[i]->type->name, type) == 0)
            return g->xl[i];
    return NULL;
}

/* A dump is for whoever is asked for help. */
static bool is_secret(const struct cfs_opt *o)
{
    return strstr(o->name, "-secret") && o->type == CFS_OPT_STR;
}

static void dump_xl(const struct cfs_xl *xl, struct cfs_dump *d)
{
    const struct cfs_opt *o = xl->type->opts;
    char key[128], value[512];

    cfs_dump_section(d, "xlator.%s", xl->name);
    cfs_dump_put(d, "type", "%s", xl->type->name);
    cfs_dump_put(d, "inited", "%d", xl->inited);
    for (unsigned i = 0; i < xl->n_child; i++)
        cfs_dump_put(d, "child", "%s", xl->child[i]->name);
    for (; o && o->name; o++) {
        snprintf(key, sizeof key, "option.%s", o->name);
        cfs_dump_put(d, key, "%s",
                     is_secret(o)
                         ? "(not shown)"
                         : cfs_opt_print(o, xl->priv, value, sizeof value));
    }
    if (xl->inited && xl->type->dump)
        xl->type->dump((struct cfs_xl *)xl, d);
}

void cfs_graph_dump(struct cfs_graph *g, struct cfs_dump *d)
{
    cfs_dump_section(d, "graph");
    cfs_dump_put(d, "top", "%s", g->top ? g->top->name : "");
    cfs_dump_put(d, "holds", "%u", g->holds);
    cfs_dump_put(d, "calls", "%u", g->calls);
    cfs_dump_put(d, "stopping", "%d", impl_of(g)->stopping);
    for (unsigned i = g->n; i-- > 0;)
        dump_xl(g->xl[i], d);
}

/* -- calls ---------------------------------------------------------------- */

struct cfs_call *cfs_call_begin(struct cfs_graph *g)
{
    struct graph *impl = impl_of(g);
    struct call_slot *slot = impl->free_calls;

    if (slot) {
        impl->free_calls = slot->next;
        impl->n_free_calls--;
    } else {
        slot = cfs_must_alloc(sizeof *slot);
        slot->call.loop = g->loop;
        slot->call.graph = g;
        cfs_arena_init(&slot->call.arena);
    }
    slot->call.uid = slot->call.gid = slot->call.pid = 0;
    slot->call.owner = NULL;
    g->calls++;
    return &slot->call;
}

void cfs_call_end(struct cfs_call *call)
{
    struct call_slot *slot = container_of(call, struct call_slot, call);
    struct graph *g = impl_of(call->graph);

    assert(g->pub.calls > 0);
    g->pub.calls--;
    if (g->n_free_calls < CALLS_KEPT) {
        cfs_arena_reset(&call->arena);
        slot->next = g->free_calls;
        g->free_calls = slot;
        g->n_free_calls++;
    } else {
        cfs_arena_fini(&call->arena);
        free(slot);
    }
    check_stopped(g);
}
