/* SPDX-License-Identifier: Apache-2.0 */
/* store_engine.h - between the store and its engines.
 *
 * The store (store.c) checks shapes, queues transactions and gives the engine
 * one at a time; the engine makes it durable in the authority and in the copy,
 * tells what changed with store_tell(), and says so with store_committed().
 * Reads go straight to the copy (store_copy.h).
 *
 * Tokens carry the lineage, so that none ever matches in another one:
 * lineage << 40 | revision (of the authority: etcd's mod_revision).
 */
#ifndef CFS_MGMTD_STORE_ENGINE_H
#define CFS_MGMTD_STORE_ENGINE_H

#include "mgmtd/store/store.h"
#include "mgmtd/store/store_copy.h"

#define STORE_REVISION_BITS 40
#define STORE_LINEAGE_MAX   ((1u << 23) - 1)

static inline uint64_t store_token(uint64_t lineage, uint64_t revision)
{
    return lineage << STORE_REVISION_BITS | revision;
}

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

struct store_txn {
    struct cfs_list  link;
    struct store_op *op;
    size_t           n_ops;
    size_t           bytes; /* of keys and texts */
    int              bad;   /* against the shapes; told at commit */
    char             bad_key[64];
    store_done      *done;
    void            *arg;
};

bool store_key_valid(const char *key); /* against store.h's shapes */

static inline bool store_op_is_condition(const struct store_op *op)
{
    return op->type == STORE_IF || op->type == STORE_IF_ABSENT;
}

/* Who waits in store_current(). */
struct store_asker {
    struct cfs_list link;
    uint64_t        since; /* cfs_ran() */
    uint64_t        want;  /* revision; 0: not known yet */
    store_done     *done;
    void           *arg;
};

struct store_engine {
    const char *name;
    void (*commit)(struct store *s, struct store_txn *t);
    /* s->askers has a new one; NULL: the copy is the authority. */
    void (*current)(struct store *s);
    /* A record of the copy was found damaged; NULL: nothing to be done. */
    void (*damaged)(struct store *s);
    void (*health)(const struct store *s, struct store_health *ret);
    /* The engine's part of @s goes; waits for its job. */
    void (*close)(struct store *s);
};

struct store_sqlite;
struct store_etcd;
struct store_switch;

struct store {
    const struct store_engine *engine;
    struct store_sqlite       *sqlite; /* one of these two */
    struct store_etcd         *etcd;
    struct store_switch       *sw;     /* from the one to the other, or NULL */
    struct store_copy         *copy;
    struct cfs_loop           *loop;
    struct cfs_log            *log;
    uint64_t                   lineage;  /* of the copy, as the watchers */
    uint64_t                   revision; /* were told */
    struct cfs_list            queue;    /* transactions; the first is the
                                            engine's, when busy */
    bool                       busy;
    bool                       paused;   /* the engine gets no new one */
    struct cfs_list            askers;
    struct cfs_list            watches;
    struct cfs_task            task; /* takes the next one from the queue */
};

/* The lock is taken; no file is open yet. */
int  store_new(const struct store_engine *engine, struct cfs_loop *loop,
               struct cfs_log *log, const char *dir, struct store **ret,
               struct cfs_err *err);
void store_free(struct store *s);
/* s->lineage and revision from the copy. */
void store_take_head(struct store *s);

/* The copy's new head and these changes: watchers hear of them. */
void store_tell(struct store *s, const struct store_changes *changes);
/* The transaction given to commit() is done. */
void store_committed(struct store *s, struct store_txn *t, int status,
                     const struct cfs_err *err);
/* Look at the queue, in this turn. */
void store_wake(struct store *s);
void store_pause(struct store *s, bool paused);

/* Askers whose revision the copy has, and those older than @patience_ns with
 * @err; 0: no patience ends now. */
void store_answer_askers(struct store *s, uint64_t patience_ns,
                         const struct cfs_err *err);

/* store_sqlite.c, store_etcd.c: the engine's part of @s, made and taken. */
void store_sqlite_attach(struct store *s);
struct etcd_client; /* taken over */
void store_etcd_attach(struct store *s, uint64_t lineage,
                       struct etcd_client *c);
/* store_switch.c. Freed: done() is not called. */
void store_switch_free(struct store_switch *sw); /* NULL is fine */
void store_switch_idle(struct store *s); /* no transaction is under way */
void store_switch_end(struct store *s, int status, const struct cfs_err *err);

#endif
