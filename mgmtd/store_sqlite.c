/* SPDX-License-Identifier: Apache-2.0 */
/* store_sqlite.c - the embedded engine: the authority of a cluster of one
 * node, in one SQLite file.
 *
 * Two connections to it in write-ahead mode: the loop thread reads on one,
 * and one transaction at a time is committed on the other by the pool, with
 * synchronous=FULL: the log is on the disk before COMMIT returns.
 *
 * Tables   records(key, value, token, sum): sum is the XXH3-64 of key, NUL,
 *          token (8 B little-endian), value.
 *          head: one row: format, lineage, revision, number of records, and
 *          the exclusive or of all their sums, with a sum of its own. So a
 *          record that was lost, or came back, is noticed at the next start.
 * Lock     flock on DIR/lock, which also says who holds it.
 *
 * (1) head's revision, count and xor describe the records of the same
 *     committed state.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "mgmtd/mem.h"
#include "mgmtd/store_engine.h"

#define FORMAT 1
#define FILE_NAME "store.db"

struct head {
    uint64_t lineage;
    uint64_t revision;
    uint64_t count;
    uint64_t xor;
};

struct sq {
    struct store      s;
    int               lock_fd;
    sqlite3          *reader; /* the loop's */
    sqlite3          *writer; /* the job's, while one runs */
    struct head       head;   /* of the writer */
    struct cfs_job    job;
    struct store_txn *txn; /* what the job works on */
    int               status;
    struct cfs_err    err;
};

static struct sq *sq_of(struct store *s)
{
    return cfs_list_entry(s, struct sq, s);
}

/* -- errors, sums -------------------------------------------------------- */

static int sql_error(sqlite3 *db, struct cfs_err *err)
{
    int code = sqlite3_errcode(db) & 0xff;
    int rc = -EIO;

    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        rc = -CFS_E_CORRUPT;
    else if (code == SQLITE_FULL)
        rc = -ENOSPC;
    else if (code == SQLITE_NOMEM)
        rc = -ENOMEM;
    else if (code == SQLITE_BUSY)
        rc = -EBUSY;
    return cfs_err_set(err, rc, "the configuration store: %s",
                       sqlite3_errmsg(db));
}

static int run(sqlite3 *db, const char *sql, struct cfs_err *err)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sql_error(db, err);
    return 0;
}

static uint64_t sum_of(const char *key, uint64_t token, const char *value)
{
    uint8_t le[8];
    XXH3_state_t *x = mem_ok(XXH3_createState());
    uint64_t sum;

    for (unsigned i = 0; i < 8; i++)
        le[i] = (uint8_t)(token >> (8 * i));
    XXH3_64bits_reset(x);
    XXH3_64bits_update(x, key, strlen(key) + 1);
    XXH3_64bits_update(x, le, sizeof le);
    XXH3_64bits_update(x, value, strlen(value));
    sum = XXH3_64bits_digest(x);
    XXH3_freeState(x);
    return sum;
}

static int damaged(const char *key, struct cfs_err *err)
{
    return cfs_err_set(err, -CFS_E_CHECKSUM, "the store's record '%s' is "
                       "damaged: its checksum does not match", key);
}

/* Columns key, value, token, sum of the present row, verified. The strings
 * are SQLite's, good until the next step. */
static int row_get(sqlite3_stmt *st, const char **ret_key,
                   const char **ret_value, uint64_t *ret_token,
                   uint64_t *ret_sum, struct cfs_err *err)
{
    const char *key = (const char *)sqlite3_column_text(st, 0);
    const char *value = (const char *)sqlite3_column_text(st, 1);
    uint64_t token = (uint64_t)sqlite3_column_int64(st, 2);
    uint64_t sum = (uint64_t)sqlite3_column_int64(st, 3);

    if (!key || !value ||
        strlen(value) != (size_t)sqlite3_column_bytes(st, 1) ||
        sum_of(key, token, value) != sum)
        return damaged(key ? key : "?", err);
    *ret_key = key;
    *ret_value = value;
    *ret_token = token;
    *ret_sum = sum;
    return 0;
}

#define COLUMNS "SELECT key, value, token, sum FROM records "

/* -- reading ------------------------------------------------------------- */

/* What stands under @key; ret_text may be NULL. -ENOENT. */
static int lookup(sqlite3 *db, const char *key, char **ret_text,
                  uint64_t *ret_token, uint64_t *ret_sum, struct cfs_err *err)
{
    const char *k, *value;
    sqlite3_stmt *st;
    int rc;

    if (sqlite3_prepare_v2(db, COLUMNS "WHERE key = ?1", -1, &st, NULL) !=
        SQLITE_OK)
        return sql_error(db, err);
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    rc = sqlite3_step(st);
    if (rc == SQLITE_DONE)
        rc = cfs_err_set(err, -ENOENT, "the store has no record '%s'", key);
    else if (rc != SQLITE_ROW)
        rc = sql_error(db, err);
    else
        rc = row_get(st, &k, &value, ret_token, ret_sum, err);
    if (rc == 0 && ret_text)
        *ret_text = mem_str(value);
    sqlite3_finalize(st);
    return rc;
}

static int sq_get(struct store *s, const char *key, char **ret_text,
                  uint64_t *ret_token, struct cfs_err *err)
{
    uint64_t sum;

    return lookup(sq_of(s)->reader, key, ret_text, ret_token, &sum, err);
}

/* The rows whose key starts with @prefix: [prefix, prefix's successor). Keys
 * are printable ASCII, so the last byte can be raised by one. */
static int select_prefix(sqlite3 *db, const char *prefix, sqlite3_stmt **ret,
                         struct cfs_err *err)
{
    char *end = *prefix ? mem_str(prefix) : mem_str("\x7f");

    if (*prefix)
        end[strlen(end) - 1]++;
    if (sqlite3_prepare_v2(db, COLUMNS
                           "WHERE key >= ?1 AND key < ?2 ORDER BY key",
                           -1, ret, NULL) != SQLITE_OK) {
        free(end);
        return sql_error(db, err);
    }
    sqlite3_bind_text(*ret, 1, prefix, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(*ret, 2, end, -1, SQLITE_TRANSIENT);
    free(end);
    return 0;
}

static int sq_range(struct store *s, const char *prefix,
                    int (*each)(void *, const char *, const char *, uint64_t,
                                struct cfs_err *),
                    void *arg, struct cfs_err *err)
{
    sqlite3 *db = sq_of(s)->reader;
    const char *key, *value;
    uint64_t token, sum;
    sqlite3_stmt *st;
    int rc, step;

    rc = select_prefix(db, prefix, &st, err);
    if (rc < 0)
        return rc;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        rc = row_get(st, &key, &value, &token, &sum, err);
        if (rc == 0)
            rc = each(arg, key, value, token, err);
        if (rc < 0)
            break;
    }
    if (rc >= 0 && step != SQLITE_DONE)
        rc = sql_error(db, err);
    sqlite3_finalize(st);
    return rc;
}

/* -- the head ------------------------------------------------------------ */

static void head_text(const struct head *h, char *ret, size_t len)
{
    snprintf(ret, len, "%d %" PRIu64 " %" PRIu64 " %" PRIu64 " %016" PRIx64,
             FORMAT, h->lineage, h->revision, h->count, h->xor);
}

static int head_put(sqlite3 *db, const struct head *h, struct cfs_err *err)
{
    char text[128];
    sqlite3_stmt *st;
    int rc;

    head_text(h, text, sizeof text);
    if (sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO head(one, text, sum) "
                           "VALUES (1, ?1, ?2)", -1, &st, NULL) != SQLITE_OK)
        return sql_error(db, err);
    sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)sum_of("head", 0, text));
    rc = sqlite3_step(st) == SQLITE_DONE ? 0 : sql_error(db, err);
    sqlite3_finalize(st);
    return rc;
}

static int head_parse(const char *text, uint64_t sum, struct head *ret,
                      struct cfs_err *err)
{
    struct head h;
    int format;

    if (!text || sum_of("head", 0, text) != sum ||
        sscanf(text, "%d %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNx64,
               &format, &h.lineage, &h.revision, &h.count, &h.xor) != 5)
        return damaged("head", err);
    if (format > FORMAT)
        return cfs_err_set(err, -EPROTONOSUPPORT, "the configuration store is "
                           "of format %d, made by a newer version; this one "
                           "knows formats up to %d", format, FORMAT);
    *ret = h;
    return 0;
}

/* -ENOENT: the file is new. */
static int head_get(sqlite3 *db, struct head *ret, struct cfs_err *err)
{
    sqlite3_stmt *st;
    int rc;

    if (sqlite3_prepare_v2(db, "SELECT text, sum FROM head WHERE one = 1", -1,
                           &st, NULL) != SQLITE_OK)
        return sql_error(db, err);
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        rc = head_parse((const char *)sqlite3_column_text(st, 0),
                        (uint64_t)sqlite3_column_int64(st, 1), ret, err);
    else
        rc = rc == SQLITE_DONE ? -ENOENT : sql_error(db, err);
    sqlite3_finalize(st);
    return rc;
}

/* -- committing, on a pool thread ---------------------------------------- */

static int conflict(const char *key, struct cfs_err *err)
{
    return cfs_err_set(err, -CFS_E_CONFLICT, "'%s' was changed by somebody "
                       "else first", key);
}

static int check(struct sq *sq, const struct store_op *op, struct cfs_err *err)
{
    uint64_t token, sum;
    struct cfs_err why = {0};
    int rc = lookup(sq->writer, op->key, NULL, &token, &sum, &why);

    if (rc == -ENOENT)
        return op->type == STORE_IF_ABSENT ? 0 : conflict(op->key, err);
    if (rc < 0)
        return cfs_err_set(err, rc, "%s", why.text);
    if (op->type == STORE_IF_ABSENT || token != op->token)
        return conflict(op->key, err);
    return 0;
}

static int put(struct sq *sq, struct head *h, struct store_txn *t,
               const struct store_op *op, struct cfs_err *err)
{
    uint64_t sum = sum_of(op->key, h->revision, op->text);
    uint64_t old_token, old_sum;
    sqlite3_stmt *st;
    int rc;

    rc = lookup(sq->writer, op->key, NULL, &old_token, &old_sum, NULL);
    if (rc < 0 && rc != -ENOENT)
        return damaged(op->key, err);
    if (rc == 0)
        h->xor ^= old_sum;
    else
        h->count++;
    h->xor ^= sum;
    if (sqlite3_prepare_v2(sq->writer, "INSERT OR REPLACE INTO records"
                           "(key, value, token, sum) VALUES (?1, ?2, ?3, ?4)",
                           -1, &st, NULL) != SQLITE_OK)
        return sql_error(sq->writer, err);
    sqlite3_bind_text(st, 1, op->key, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, op->text, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, (sqlite3_int64)h->revision);
    sqlite3_bind_int64(st, 4, (sqlite3_int64)sum);
    rc = sqlite3_step(st) == SQLITE_DONE ? 0 : sql_error(sq->writer, err);
    sqlite3_finalize(st);
    store_txn_changed(t, op->key, op->text);
    return rc;
}

static int delete_one(struct sq *sq, struct head *h, struct store_txn *t,
                      const char *key, struct cfs_err *err)
{
    uint64_t token, sum;
    sqlite3_stmt *st;
    int rc = lookup(sq->writer, key, NULL, &token, &sum, NULL);

    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return damaged(key, err);
    h->xor ^= sum;
    h->count--;
    if (sqlite3_prepare_v2(sq->writer, "DELETE FROM records WHERE key = ?1",
                           -1, &st, NULL) != SQLITE_OK)
        return sql_error(sq->writer, err);
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    rc = sqlite3_step(st) == SQLITE_DONE ? 0 : sql_error(sq->writer, err);
    sqlite3_finalize(st);
    store_txn_changed(t, key, NULL);
    return rc;
}

static int delete_prefix(struct sq *sq, struct head *h, struct store_txn *t,
                         const char *prefix, struct cfs_err *err)
{
    sqlite3_stmt *st;
    char **key = NULL;
    size_t n = 0;
    int rc = select_prefix(sq->writer, prefix, &st, err);

    if (rc < 0)
        return rc;
    while (sqlite3_step(st) == SQLITE_ROW) {
        key = mem_grow(key, n, sizeof *key);
        key[n++] = mem_str((const char *)sqlite3_column_text(st, 0));
    }
    sqlite3_finalize(st);
    for (size_t i = 0; i < n; i++) {
        if (rc == 0)
            rc = delete_one(sq, h, t, key[i], err);
        free(key[i]);
    }
    free(key);
    return rc;
}

static int apply(struct sq *sq, struct head *h, struct store_txn *t,
                 struct cfs_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < t->n_ops && rc == 0; i++)
        if (t->op[i].type == STORE_IF || t->op[i].type == STORE_IF_ABSENT)
            rc = check(sq, &t->op[i], err);
    h->revision++;
    for (size_t i = 0; i < t->n_ops && rc == 0; i++) {
        const struct store_op *op = &t->op[i];

        if (op->type == STORE_PUT)
            rc = put(sq, h, t, op, err);
        else if (op->type == STORE_DELETE)
            rc = delete_one(sq, h, t, op->key, err);
        else if (op->type == STORE_DELETE_PREFIX)
            rc = delete_prefix(sq, h, t, op->key, err);
    }
    if (rc == 0 && t->n_changes > 0)
        rc = head_put(sq->writer, h, err);
    return rc;
}

static void commit_work(struct cfs_job *job)
{
    struct sq *sq = cfs_list_entry(job, struct sq, job);
    struct head h = {0};
    struct cfs_err err = {0};
    int rc;

    /* The head is read anew each time: after a COMMIT that failed nobody
     * knows which one is there. */
    rc = run(sq->writer, "BEGIN IMMEDIATE", &err);
    if (rc == 0) {
        rc = head_get(sq->writer, &h, &err);
        if (rc == 0)
            rc = apply(sq, &h, sq->txn, &err);
        if (rc == 0)
            rc = run(sq->writer, "COMMIT", &err);
        if (rc < 0)
            sqlite3_exec(sq->writer, "ROLLBACK", NULL, NULL, NULL);
    }
    if (rc == 0 && sq->txn->n_changes > 0)
        sq->head = h;
    sq->status = rc;
    sq->err = err;
}

static void commit_done(struct cfs_job *job)
{
    struct sq *sq = cfs_list_entry(job, struct sq, job);
    struct store_txn *t = sq->txn;

    sq->txn = NULL;
    if (sq->status == 0)
        sq->s.revision = sq->head.revision;
    store_committed(&sq->s, t, sq->status, &sq->err);
}

static void sq_commit(struct store *s, struct store_txn *t)
{
    struct sq *sq = sq_of(s);

    sq->txn = t;
    cfs_job_run(s->loop, &sq->job, commit_work, commit_done);
}

/* -- opening ------------------------------------------------------------- */

/* A mgmtd that was just killed has the lock until its last thread is gone,
 * which may be in the middle of a flush. */
static int lock_patiently(int fd)
{
    const struct timespec step = {.tv_nsec = 20 * 1000 * 1000};
    int rc = 0;

    for (unsigned i = 0; i < 100; i++) {
        rc = flock(fd, LOCK_EX | LOCK_NB);
        if (rc == 0 || errno != EWOULDBLOCK)
            break;
        nanosleep(&step, NULL);
    }
    return rc;
}

static int lock_dir(const char *dir, int *ret_fd, struct cfs_err *err)
{
    char *path = mem_printf("%s/lock", dir);
    char pid[32] = "";
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int rc = 0;

    if (fd < 0) {
        rc = cfs_err_set(err, -errno, "%s: %s", path, strerror(errno));
        free(path);
        return rc;
    }
    free(path);
    if (lock_patiently(fd) < 0) {
        ssize_t n = read(fd, pid, sizeof pid - 1);

        pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
        rc = cfs_err_set(err, -EBUSY, "%s: another clusterfs-mgmtd%s%s uses "
                         "this directory", dir, *pid ? ", process " : "", pid);
        close(fd);
        return rc;
    }
    snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) == 0 && pwrite(fd, pid, strlen(pid), 0) < 0)
        rc = 0; /* it only helps the message above */
    *ret_fd = fd;
    return 0;
}

static int open_db(const char *path, sqlite3 **ret, struct cfs_err *err)
{
    sqlite3 *db = NULL;
    int rc = 0;

    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE |
                        SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        rc = db ? sql_error(db, err)
                : cfs_err_set(err, -ENOMEM, "out of memory");
    if (rc == 0) {
        sqlite3_busy_timeout(db, 5000); /* somebody looks with sqlite3(1) */
        rc = run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;", err);
    }
    if (rc < 0) {
        sqlite3_close(db);
        return rc;
    }
    *ret = db;
    return 0;
}

static int make_tables(sqlite3 *db, struct cfs_err *err)
{
    return run(db,
               "CREATE TABLE IF NOT EXISTS records("
               " key TEXT PRIMARY KEY, value TEXT NOT NULL,"
               " token INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;"
               "CREATE TABLE IF NOT EXISTS head("
               " one INTEGER PRIMARY KEY CHECK (one = 1),"
               " text TEXT NOT NULL, sum INTEGER NOT NULL);", err);
}

struct tally {
    uint64_t count;
    uint64_t xor;
};

static int tally_one(void *arg, const char *key, const char *text,
                     uint64_t token, struct cfs_err *err)
{
    struct tally *t = arg;

    t->count++;
    t->xor ^= sum_of(key, token, text);
    return 0;
}

/* Every record is whole, and together they are what the head says. */
static int verify(struct sq *sq, struct cfs_err *err)
{
    struct tally t = {0};
    int rc = sq_range(&sq->s, "", tally_one, &t, err);

    if (rc < 0)
        return rc;
    if (t.count != sq->head.count || t.xor != sq->head.xor)
        return cfs_err_set(err, -CFS_E_CORRUPT, "the configuration store is "
                           "damaged: it has %" PRIu64 " records that do not "
                           "add up to the %" PRIu64 " that it should have",
                           t.count, sq->head.count);
    return 0;
}

static int open_files(struct sq *sq, const char *dir, struct cfs_err *err)
{
    char *path = mem_printf("%s/%s", dir, FILE_NAME);
    mode_t mask = umask(0077);
    int rc;

    rc = open_db(path, &sq->writer, err);
    if (rc == 0)
        rc = make_tables(sq->writer, err);
    if (rc == 0)
        rc = head_get(sq->writer, &sq->head, err);
    if (rc == -ENOENT) {
        sq->head = (struct head){.lineage = 1};
        rc = head_put(sq->writer, &sq->head, err);
    }
    if (rc == 0)
        rc = open_db(path, &sq->reader, err);
    umask(mask);
    if (rc < 0)
        cfs_err_wrap(err, "%s", path);
    free(path);
    return rc;
}

static void sq_free(struct sq *sq)
{
    sqlite3_close(sq->reader);
    sqlite3_close(sq->writer);
    if (sq->lock_fd >= 0)
        close(sq->lock_fd);
    free(sq);
}

static bool is_idle(void *arg)
{
    struct sq *sq = arg;

    return !sq->txn;
}

static void sq_close(struct store *s)
{
    struct sq *sq = sq_of(s);
    struct cfs_list *l;

    if (sq->txn)
        cfs_loop_run_until(s->loop, is_idle, sq);
    cfs_task_cancel(&s->task);
    while ((l = cfs_list_pop(&s->queue)))
        store_txn_free(cfs_list_entry(l, struct store_txn, link));
    sq_free(sq);
}

static const struct store_engine engine = {
    .name = "sqlite",
    .get = sq_get,
    .range = sq_range,
    .commit = sq_commit,
    .close = sq_close,
};

int store_open_sqlite(struct cfs_loop *loop, struct cfs_log *log,
                      const char *dir, struct store **ret, struct cfs_err *err)
{
    struct sq *sq = mem_new(sizeof *sq);
    int rc;

    store_init(&sq->s, &engine, loop, log);
    sq->lock_fd = -1;
    rc = lock_dir(dir, &sq->lock_fd, err);
    if (rc == 0)
        rc = open_files(sq, dir, err);
    if (rc == 0)
        rc = verify(sq, err);
    if (rc < 0) {
        sq_free(sq);
        return rc;
    }
    sq->s.lineage = sq->head.lineage;
    sq->s.revision = sq->head.revision;
    *ret = &sq->s;
    return 0;
}
