/* SPDX-License-Identifier: Apache-2.0 */
/* store_sqlite.c - the embedded engine: the authority of a cluster of one
 * node. The copy is the authority itself: a transaction is compared and
 * carried out in it, by the pool, and is on the disk when COMMIT returns.
 */
#include "mgmtd/mem.h"
#include "mgmtd/store/store_engine.h"

struct store_sqlite {
    struct store        *s;
    struct cfs_job       job;
    struct store_txn    *txn; /* what the job works on */
    struct store_changes changes;
    int                  status;
    struct cfs_err       err;
};

/* -- committing, on a pool thread ---------------------------------------- */

static int conflict(const char *key, struct cfs_err *err)
{
    return cfs_err_set(err, -CFS_E_CONFLICT, "'%s' was changed by somebody "
                       "else first", key);
}

static int check(struct store_copy *c, const struct store_op *op,
                 struct cfs_err *err)
{
    uint64_t token;
    struct cfs_err why = {0};
    int rc = copy_token(c, op->key, &token, &why);

    if (rc == -ENOENT)
        return op->type == STORE_IF_ABSENT ? 0 : conflict(op->key, err);
    if (rc < 0)
        return cfs_err_set(err, rc, "%s", why.text);
    if (op->type == STORE_IF_ABSENT || token != op->token)
        return conflict(op->key, err);
    return 0;
}

static int apply(struct store_sqlite *sq, struct copy_head *h,
                 struct cfs_err *err)
{
    struct store_copy *c = sq->s->copy;
    const struct store_txn *t = sq->txn;
    uint64_t token = store_token(h->lineage, ++h->revision);
    int rc = 0;

    for (size_t i = 0; i < t->n_ops && rc == 0; i++)
        if (store_op_is_condition(&t->op[i]))
            rc = check(c, &t->op[i], err);
    for (size_t i = 0; i < t->n_ops && rc == 0; i++) {
        const struct store_op *op = &t->op[i];

        if (op->type == STORE_PUT)
            rc = copy_put(c, h, op->key, op->text, token, &sq->changes, err);
        else if (op->type == STORE_DELETE)
            rc = copy_delete(c, h, op->key, token, &sq->changes, err);
        else if (op->type == STORE_DELETE_PREFIX)
            rc = copy_delete_prefix(c, h, op->key, token, &sq->changes, err);
    }
    return rc;
}

static void commit_work(struct cfs_job *job)
{
    struct store_sqlite *sq = cfs_list_entry(job, struct store_sqlite, job);
    struct store_copy *c = sq->s->copy;
    struct copy_head h;
    int rc;

    sq->err = (struct cfs_err){0};
    rc = copy_begin(c, &h, &sq->err);
    if (rc == 0) {
        rc = apply(sq, &h, &sq->err);
        if (rc == 0 && sq->changes.n > 0)
            rc = copy_commit(c, &h, &sq->err);
        else
            copy_abort(c); /* nothing to be done, or not to be done */
    }
    sq->status = rc;
}

static void commit_done(struct cfs_job *job)
{
    struct store_sqlite *sq = cfs_list_entry(job, struct store_sqlite, job);
    struct store_txn *t = sq->txn;
    struct store_changes changes = sq->changes;

    sq->txn = NULL;
    sq->changes = (struct store_changes){0};
    if (sq->status == 0)
        store_tell(sq->s, &changes);
    store_changes_free(&changes);
    store_committed(sq->s, t, sq->status, &sq->err);
}

static void sq_commit(struct store *s, struct store_txn *t)
{
    s->sqlite->txn = t;
    cfs_job_run(s->loop, &s->sqlite->job, commit_work, commit_done);
}

/* -- life ---------------------------------------------------------------- */

static bool is_idle(void *arg)
{
    return !((struct store_sqlite *)arg)->txn;
}

static void sq_close(struct store *s)
{
    if (s->sqlite->txn)
        cfs_loop_run_until(s->loop, is_idle, s->sqlite);
    free(s->sqlite);
    s->sqlite = NULL;
}

static const struct store_engine engine = {
    .name = "sqlite",
    .commit = sq_commit,
    .close = sq_close,
};

void store_sqlite_attach(struct store *s)
{
    s->engine = &engine;
    s->sqlite = mem_new(sizeof *s->sqlite);
    s->sqlite->s = s;
}

int store_open_sqlite(struct cfs_loop *loop, struct cfs_log *log,
                      const char *dir, struct store **ret, struct cfs_err *err)
{
    struct store *s;
    int rc = store_new(&engine, loop, log, dir, &s, err);

    if (rc < 0)
        return rc;
    rc = copy_load(s->copy, 1, err);
    if (rc == 0)
        rc = copy_verify(s->copy, err);
    if (rc < 0) {
        store_free(s);
        return rc;
    }
    store_take_head(s);
    store_sqlite_attach(s);
    *ret = s;
    return 0;
}
