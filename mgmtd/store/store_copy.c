/* SPDX-License-Identifier: Apache-2.0 */
/* store_copy.c - see store_copy.h. */
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

#include "core/file.h"
#include "mgmtd/mem.h"
#include "mgmtd/store/store_copy.h"

#define FORMAT 1
#define FILE_NAME "store.db"

struct store_copy {
    char            *dir;
    int              lock_fd;
    sqlite3         *reader; /* the loop's */
    sqlite3         *writer; /* the job's, while one runs */
    struct copy_head head;
};

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

int copy_get(struct store_copy *c, const char *key, char **ret_text,
             uint64_t *ret_token, struct cfs_err *err)
{
    uint64_t token, sum;
    int rc = lookup(c->reader, key, ret_text, &token, &sum, err);

    if (rc == 0 && ret_token)
        *ret_token = token;
    return rc;
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

int copy_range(struct store_copy *c, const char *prefix, copy_each *each,
               void *arg, struct cfs_err *err)
{
    const char *key, *value;
    uint64_t token, sum;
    sqlite3_stmt *st;
    int rc, step;

    rc = select_prefix(c->reader, prefix, &st, err);
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
        rc = sql_error(c->reader, err);
    sqlite3_finalize(st);
    return rc;
}

/* -- the head ------------------------------------------------------------ */

/* nonce and writer came later: a head without them has none. */
static int head_put(sqlite3 *db, const struct copy_head *h,
                    struct cfs_err *err)
{
    char text[160];
    sqlite3_stmt *st;
    int rc;

    snprintf(text, sizeof text, "%d %" PRIu64 " %" PRIu64 " %" PRIu64
             " %016" PRIx64 " %s %s", FORMAT, h->lineage, h->revision,
             h->count, h->xor, *h->nonce ? h->nonce : "-",
             *h->writer ? h->writer : "-");
    if (sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO head(one, text, sum) "
                           "VALUES (1, ?1, ?2)", -1, &st, NULL) != SQLITE_OK)
        return sql_error(db, err);
    sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)sum_of("head", 0, text));
    rc = sqlite3_step(st) == SQLITE_DONE ? 0 : sql_error(db, err);
    sqlite3_finalize(st);
    return rc;
}

static int head_parse(const char *text, uint64_t sum, struct copy_head *ret,
                      struct cfs_err *err)
{
    struct copy_head h = {.nonce = "-", .writer = "-"};
    int format;

    if (!text || sum_of("head", 0, text) != sum ||
        sscanf(text, "%d %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNx64
               " %16s %16s", &format, &h.lineage, &h.revision, &h.count,
               &h.xor, h.nonce, h.writer) < 5)
        return damaged("head", err);
    if (format > FORMAT)
        return cfs_err_set(err, -EPROTONOSUPPORT, "the configuration store is "
                           "of format %d, made by a newer version; this one "
                           "knows formats up to %d", format, FORMAT);
    *ret = h;
    return 0;
}

/* -ENOENT: the file is new. */
static int head_get(sqlite3 *db, struct copy_head *ret, struct cfs_err *err)
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

/* -- changing ------------------------------------------------------------ */

void store_changes_add(struct store_changes *l, const char *key,
                       const char *text, uint64_t token)
{
    l->v = mem_grow(l->v, l->n, sizeof *l->v);
    l->v[l->n++] = (struct store_change){
        .key = mem_str(key),
        .text = text ? mem_str(text) : NULL,
        .token = token,
    };
}

void store_changes_free(struct store_changes *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].key);
        free(l->v[i].text);
    }
    free(l->v);
    *l = (struct store_changes){0};
}

int copy_begin(struct store_copy *c, struct copy_head *ret,
               struct cfs_err *err)
{
    int rc = run(c->writer, "BEGIN IMMEDIATE", err);

    if (rc < 0)
        return rc;
    rc = head_get(c->writer, ret, err);
    if (rc < 0)
        copy_abort(c);
    return rc;
}

int copy_commit(struct store_copy *c, const struct copy_head *h,
                struct cfs_err *err)
{
    int rc = head_put(c->writer, h, err);

    if (rc == 0)
        rc = run(c->writer, "COMMIT", err);
    if (rc == 0)
        c->head = *h;
    else
        copy_abort(c);
    return rc;
}

void copy_abort(struct store_copy *c)
{
    sqlite3_exec(c->writer, "ROLLBACK", NULL, NULL, NULL);
}

int copy_token(struct store_copy *c, const char *key, uint64_t *ret,
               struct cfs_err *err)
{
    uint64_t sum;

    return lookup(c->writer, key, NULL, ret, &sum, err);
}

static int insert(struct store_copy *c, struct copy_head *h, const char *key,
                  const char *text, uint64_t token, struct cfs_err *err)
{
    uint64_t sum = sum_of(key, token, text);
    sqlite3_stmt *st;
    int rc;

    if (sqlite3_prepare_v2(c->writer, "INSERT OR REPLACE INTO "
                           "records(key, value, token, sum) "
                           "VALUES (?1, ?2, ?3, ?4)", -1, &st, NULL) !=
        SQLITE_OK)
        return sql_error(c->writer, err);
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, text, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, (sqlite3_int64)token);
    sqlite3_bind_int64(st, 4, (sqlite3_int64)sum);
    rc = sqlite3_step(st) == SQLITE_DONE ? 0 : sql_error(c->writer, err);
    sqlite3_finalize(st);
    h->xor ^= sum;
    h->count++;
    return rc;
}

int copy_put(struct store_copy *c, struct copy_head *h, const char *key,
             const char *text, uint64_t token, struct store_changes *log,
             struct cfs_err *err)
{
    uint64_t old, sum;
    struct cfs_err why = {0};
    int rc = lookup(c->writer, key, NULL, &old, &sum, &why);

    if (rc < 0 && rc != -ENOENT)
        return cfs_err_set(err, rc, "%s", why.text);
    if (rc == 0) {
        h->xor ^= sum;
        h->count--;
    }
    rc = insert(c, h, key, text, token, err);
    if (rc == 0)
        store_changes_add(log, key, text, token);
    return rc;
}

int copy_delete(struct store_copy *c, struct copy_head *h, const char *key,
                uint64_t token, struct store_changes *log,
                struct cfs_err *err)
{
    uint64_t old, sum;
    struct cfs_err why = {0};
    sqlite3_stmt *st;
    int rc = lookup(c->writer, key, NULL, &old, &sum, &why);

    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return cfs_err_set(err, rc, "%s", why.text);
    h->xor ^= sum;
    h->count--;
    if (sqlite3_prepare_v2(c->writer, "DELETE FROM records WHERE key = ?1",
                           -1, &st, NULL) != SQLITE_OK)
        return sql_error(c->writer, err);
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    rc = sqlite3_step(st) == SQLITE_DONE ? 0 : sql_error(c->writer, err);
    sqlite3_finalize(st);
    if (rc == 0)
        store_changes_add(log, key, NULL, token);
    return rc;
}

int copy_delete_prefix(struct store_copy *c, struct copy_head *h,
                       const char *prefix, uint64_t token,
                       struct store_changes *log, struct cfs_err *err)
{
    sqlite3_stmt *st;
    char **key = NULL;
    size_t n = 0;
    int rc = select_prefix(c->writer, prefix, &st, err);

    if (rc < 0)
        return rc;
    while (sqlite3_step(st) == SQLITE_ROW) {
        key = mem_grow(key, n, sizeof *key);
        key[n++] = mem_str((const char *)sqlite3_column_text(st, 0));
    }
    sqlite3_finalize(st);
    for (size_t i = 0; i < n; i++) {
        if (rc == 0)
            rc = copy_delete(c, h, key[i], token, log, err);
        free(key[i]);
    }
    free(key);
    return rc;
}

/* The rows as they stand, in order of keys; those that are damaged have an
 * empty text, which no record has. */
static int rows_as_they_are(struct store_copy *c, struct store_changes *ret,
                            struct cfs_err *err)
{
    sqlite3_stmt *st;
    int rc = 0, step;

    if (sqlite3_prepare_v2(c->writer, COLUMNS "ORDER BY key", -1, &st, NULL)
        != SQLITE_OK)
        return sql_error(c->writer, err);
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(st, 0), *k, *text;
        uint64_t token, sum;

        if (row_get(st, &k, &text, &token, &sum, NULL) < 0) {
            text = "";
            token = 0;
        }
        store_changes_add(ret, key ? key : "", text, token);
    }
    if (step != SQLITE_DONE)
        rc = sql_error(c->writer, err);
    sqlite3_finalize(st);
    return rc;
}

static void differences(const struct store_changes *old,
                        const struct store_changes *all, uint64_t gone_token,
                        struct store_changes *log)
{
    size_t i = 0, k = 0;

    while (i < old->n || k < all->n) {
        const struct store_change *o = &old->v[i], *a = &all->v[k];
        int order = i == old->n ? 1 : k == all->n ? -1 : strcmp(o->key, a->key);

        if (order < 0)
            store_changes_add(log, o->key, NULL, gone_token);
        else if (order > 0 || o->token != a->token ||
                 strcmp(o->text, a->text) != 0)
            store_changes_add(log, a->key, a->text, a->token);
        i += order <= 0;
        k += order >= 0;
    }
}

int copy_replace(struct store_copy *c, struct copy_head *h,
                 const struct store_changes *all, struct store_changes *log,
                 struct cfs_err *err)
{
    struct store_changes old = {0};
    int rc = rows_as_they_are(c, &old, err);

    if (rc == 0)
        rc = run(c->writer, "DELETE FROM records", err);
    h->count = 0;
    h->xor = 0;
    for (size_t i = 0; i < all->n && rc == 0; i++)
        rc = insert(c, h, all->v[i].key, all->v[i].text, all->v[i].token,
                    err);
    if (rc == 0)
        differences(&old, all, h->revision, log);
    store_changes_free(&old);
    return rc;
}

/* -- life ---------------------------------------------------------------- */

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
    uint64_t   count;
    uint64_t   xor;
    copy_each *each;
    void      *arg;
};

static int tally_one(void *arg, const char *key, const char *text,
                     uint64_t token, struct cfs_err *err)
{
    struct tally *t = arg;

    t->count++;
    t->xor ^= sum_of(key, token, text);
    return t->each ? t->each(t->arg, key, text, token, err) : 0;
}

int copy_read_all(struct store_copy *c, struct copy_head *ret,
                  copy_each *each, void *arg, struct cfs_err *err)
{
    struct tally t = {.each = each, .arg = arg};
    struct copy_head h;
    int rc = run(c->reader, "BEGIN", err);

    if (rc < 0)
        return rc;
    rc = head_get(c->reader, &h, err);
    if (rc == 0)
        rc = copy_range(c, "", tally_one, &t, err);
    if (rc == 0 && (t.count != h.count || t.xor != h.xor))
        rc = cfs_err_set(err, -CFS_E_CORRUPT, "the configuration store is "
                         "damaged: it has %" PRIu64 " records that do not "
                         "add up to the %" PRIu64 " that it should have",
                         t.count, h.count);
    sqlite3_exec(c->reader, "COMMIT", NULL, NULL, NULL);
    if (rc == 0)
        *ret = h;
    return rc;
}

int copy_verify(struct store_copy *c, struct cfs_err *err)
{
    struct copy_head h;

    return copy_read_all(c, &h, NULL, NULL, err);
}

static int open_files(struct store_copy *c, uint64_t lineage,
                      struct cfs_err *err)
{
    char *path = mem_printf("%s/%s", c->dir, FILE_NAME);
    mode_t mask = umask(0077);
    int rc;

    rc = open_db(path, &c->writer, err);
    if (rc == 0)
        rc = make_tables(c->writer, err);
    if (rc == 0)
        rc = head_get(c->writer, &c->head, err);
    if (rc == -ENOENT) {
        c->head = (struct copy_head){.lineage = lineage, .nonce = "-",
                                     .writer = "-"};
        rc = head_put(c->writer, &c->head, err);
    }
    if (rc == 0)
        rc = open_db(path, &c->reader, err);
    umask(mask);
    if (rc < 0)
        cfs_err_wrap(err, "%s", path);
    free(path);
    return rc;
}

static void close_files(struct store_copy *c)
{
    sqlite3_close(c->reader);
    sqlite3_close(c->writer);
    c->reader = c->writer = NULL;
}

int copy_open(const char *dir, struct store_copy **ret, struct cfs_err *err)
{
    struct store_copy *c = mem_new(sizeof *c);
    int rc;

    c->dir = mem_str(dir);
    c->lock_fd = -1;
    rc = lock_dir(dir, &c->lock_fd, err);
    if (rc < 0)
        copy_close(c);
    else
        *ret = c;
    return rc;
}

int copy_load(struct store_copy *c, uint64_t lineage, struct cfs_err *err)
{
    return open_files(c, lineage, err);
}

int copy_renew(struct store_copy *c, uint64_t lineage, struct cfs_err *err)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    int rc = 0;

    close_files(c);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(parts) && rc == 0; i++) {
        char *from = mem_printf("%s/%s%s", c->dir, FILE_NAME, parts[i]);
        char *to = mem_printf("%s/%s.damaged%s", c->dir, FILE_NAME, parts[i]);

        if (rename(from, to) < 0 && errno != ENOENT)
            rc = cfs_err_set(err, -errno, "%s: %s", from, strerror(errno));
        free(from);
        free(to);
    }
    return rc < 0 ? rc : open_files(c, lineage, err);
}

const struct copy_head *copy_head(const struct store_copy *c)
{
    return &c->head;
}

int copy_set_durable(struct store_copy *c, bool durable, struct cfs_err *err)
{
    return run(c->writer, durable ? "PRAGMA synchronous=FULL"
                                  : "PRAGMA synchronous=NORMAL", err);
}

void copy_close(struct store_copy *c)
{
    if (!c)
        return;
    close_files(c);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    free(c->dir);
    free(c);
}

/* -- a file made from outside -------------------------------------------- */

/* What the old file's log still holds goes into it and the log away: beside
 * another file it would be taken for that one's. One that is damaged is put
 * aside with its log. */
static int fold_old(struct store_copy *c, struct cfs_err *err)
{
    struct cfs_err why = {0};
    int rc = open_files(c, 1, &why);

    if (rc == 0)
        rc = run(c->writer, "PRAGMA wal_checkpoint(TRUNCATE)", &why);
    if (rc == 0) {
        close_files(c);
        return 0;
    }
    rc = copy_renew(c, 1, err);
    if (rc == 0)
        close_files(c);
    return rc;
}

static int fill_new(struct store_copy *c, const char *path,
                    const struct copy_head *head,
                    const struct store_changes *all, struct cfs_err *err)
{
    struct copy_head h = *head;
    struct store_changes log = {0};
    mode_t mask = umask(0077);
    int rc;

    if (unlink(path) < 0 && errno != ENOENT)
        rc = cfs_err_set(err, -errno, "%s: %s", path, strerror(errno));
    else
        rc = open_db(path, &c->writer, err);
    umask(mask);
    if (rc == 0)
        rc = run(c->writer, "BEGIN", err);
    if (rc == 0)
        rc = make_tables(c->writer, err);
    if (rc == 0)
        rc = copy_replace(c, &h, all, &log, err);
    if (rc == 0)
        rc = copy_commit(c, &h, err);
    if (rc == 0)
        rc = run(c->writer, "PRAGMA wal_checkpoint(TRUNCATE)", err);
    store_changes_free(&log);
    close_files(c);
    return rc;
}

static int put_in_place(const char *from, const char *to,
                        struct cfs_err *err)
{
    int rc = rename(from, to) < 0 ? -errno : cfs_sync_folder(to);

    return rc == 0 ? 0 : cfs_err_set(err, rc, "%s: %s", to, strerror(-rc));
}

int copy_make(const char *dir, const struct copy_head *head,
              const struct store_changes *all, struct cfs_err *err)
{
    char *to = mem_printf("%s/%s", dir, FILE_NAME);
    char *from = mem_printf("%s/%s.new", dir, FILE_NAME);
    struct store_copy *c = NULL;
    int rc = copy_open(dir, &c, err);

    if (rc == 0)
        rc = fill_new(c, from, head, all, err);
    if (rc == 0)
        rc = fold_old(c, err);
    if (rc == 0)
        rc = put_in_place(from, to, err);
    if (rc < 0)
        cfs_err_wrap(err, "%s", to);
    copy_close(c);
    free(from);
    free(to);
    return rc;
}
