/* SPDX-License-Identifier: Apache-2.0 */
/* store_engine.h - between the store and its engines.
 *
 * The store (store.c) checks shapes, queues transactions and gives the engine
 * one at a time; the engine makes it durable, and says so from the loop with
 * store_committed(). Reads go straight to the engine's local copy.
 */
#ifndef CFS_MGMTD_STORE_ENGINE_H
#define CFS_MGMTD_STORE_ENGINE_H

#include "mgmtd/store.h"

enum store_op_type {
    STORE_IF,        /* .token */
    STORE_IF_ABSENT,
    STORE_PUT,       /* .text */
    STORE_DELETE,
    STORE_DELETE_PREFIX,
};

struct store_op {
    enum store_op_type type;
    char              *key;
    char              *text; /* JSON */
    uint64_t           token;
};

/* A record that a transaction changed; text NULL: it is gone. */
struct store_change {
    char *key;
    char *text;
};

struct store_txn {
    struct cfs_list      link;
    struct store_op     *op;
    size_t               n_ops;
    struct store_change *change; /* filled by the engine */
    size_t               n_changes;
    int                  bad; /* against the shapes; told at commit */
    char                 bad_key[64];
    store_done          *done;
    void                *arg;
};

struct store_engine {
    const char *name;
    /* The text of @key, malloc'ed, verified. */
    int (*get)(struct store *s, const char *key, char **ret_text,
               uint64_t *ret_token, struct cfs_err *err);
    int (*range)(struct store *s, const char *prefix,
                 int (*each)(void *arg, const char *key, const char *text,
                             uint64_t token, struct cfs_err *err),
                 void *arg, struct cfs_err *err);
    void (*commit)(struct store *s, struct store_txn *t);
    void (*close)(struct store *s);
};

/* The head of each engine's own struct. */
struct store {
    const struct store_engine *engine;
    struct cfs_loop           *loop;
    struct cfs_log            *log;
    uint64_t                   lineage;
    uint64_t                   revision; /* of the local copy */
    struct cfs_list            queue;    /* transactions; the first is the
                                            engine's */
    bool                       busy;
    struct cfs_list            currents;
    struct cfs_list            watches;
    struct cfs_task            task; /* takes the next one from the queue */
};

void store_init(struct store *s, const struct store_engine *engine,
                struct cfs_loop *loop, struct cfs_log *log);

/* From the loop: the transaction given to commit() is done. On success
 * s->revision is the new one, and t->change says what changed. */
void store_committed(struct store *s, struct store_txn *t, int status,
                     const struct cfs_err *err);

/* Note a change for the watchers. Copies. */
void store_txn_changed(struct store_txn *t, const char *key,
                       const char *text);

#endif
