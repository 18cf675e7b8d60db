/* SPDX-License-Identifier: Apache-2.0 */
/* graph.h - translators put together: construct, init, events, teardown.
 *
 * Life   new -> add (children first, last = top) -> load -> init (from the top
 *        down) -> PARENT_UP -> ... -> stop (PARENT_DOWN, then waits until no
 *        translator holds it) -> free (fini from the bottom up).
 * Calls  an entry point (fuse, protocol/server, a daemon) begins a call for
 *        each operation and ends it after the last done().
 */
#ifndef CFS_CORE_GRAPH_H
#define CFS_CORE_GRAPH_H

#include "core/xlator.h"

struct cfs_graph {
    struct cfs_loop *loop;
    struct cfs_log  *log;
    struct cfs_host *host;
    struct cfs_xl  **xl; /* in order of addition; the last is the top */
    unsigned         n;
    struct cfs_xl   *top;
    unsigned         holds;
    unsigned         calls; /* begun, not ended */
    /* An event that reached the top's parents. May be NULL. */
    void (*on_event)(struct cfs_graph *g, const struct cfs_event *ev);
    void (*on_stopped)(struct cfs_graph *g);
    void *owner;
};

int  cfs_graph_new(struct cfs_loop *loop, struct cfs_log *log,
                   struct cfs_host *host, struct cfs_graph **ret);
void cfs_graph_free(struct cfs_graph *g); /* NULL is fine */

/* Add one. @type is found among cfs_graph_builtin() types, then as
 * DIR/TYPE.so in the translator directory (or, in a build directory, as
 * DIR/TYPE/NAME.so). @children are names added before.
 * Errors: -EEXIST (name), -ENOENT (type, child), -EINVAL (number of children,
 * a child that has a parent, an option). */
int cfs_graph_add(struct cfs_graph *g, const char *name, const char *type,
                  const struct cfs_kv *opts, size_t n_opts,
                  const char *const *children, size_t n_children,
                  struct cfs_err *err);

/* Put one more on top of the present top. */
int cfs_graph_add_top(struct cfs_graph *g, const char *name, const char *type,
                      const struct cfs_kv *opts, size_t n_opts,
                      struct cfs_err *err);

/* Make @type known without a shared object (tests, tools). */
void cfs_graph_builtin(const struct cfs_xl_type *type);

/* The directory of shared objects; default: CLUSTERFS_XLATOR_DIR in the
 * environment, else the one of the installation. */
const char *cfs_graph_xlator_dir(void);

/* Exactly one top, everything reachable from it; then init from the top down.
 * After an error the graph can only be freed. */
int cfs_graph_init(struct cfs_graph *g, struct cfs_err *err);

void cfs_graph_parent_up(struct cfs_graph *g);

/* Give the translator @name its options again (same topology). All are
 * checked before any is changed. 1: those among them that cannot change while
 * it runs were left as they were, and those that this program does not know (a
 * newer mgmtd speaks of them) aside; err names the first; the others changed.
 */
int cfs_graph_reconfigure(struct cfs_graph *g, const char *name,
                          const struct cfs_kv *opts, size_t n_opts,
                          struct cfs_err *err);

/* PARENT_DOWN; on_stopped once holds and calls are 0. */
void cfs_graph_stop(struct cfs_graph *g);
void cfs_graph_hold(struct cfs_graph *g);
void cfs_graph_release(struct cfs_graph *g);

struct cfs_xl *cfs_graph_find(struct cfs_graph *g, const char *name);
/* The first translator of @type, or NULL. */
struct cfs_xl *cfs_graph_find_type(struct cfs_graph *g, const char *type);
/* From the top down. */
void cfs_graph_event(struct cfs_graph *g, struct cfs_event ev);
void cfs_graph_dump(struct cfs_graph *g, struct cfs_dump *d);

struct cfs_call *cfs_call_begin(struct cfs_graph *g);
void             cfs_call_end(struct cfs_call *call);

#endif
