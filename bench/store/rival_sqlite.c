/* SPDX-License-Identifier: Apache-2.0 */
/* rival_sqlite.c - the same records in SQLite: WAL, synchronous=FULL. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/store/store.h"

struct lite {
    sqlite3      *db;
    sqlite3_stmt *put;
    sqlite3_stmt *get;
};

static void run(struct lite *l, const char *sql)
{
    char *why = NULL;

    if (sqlite3_exec(l->db, sql, NULL, NULL, &why) != SQLITE_OK) {
        fprintf(stderr, "store: sqlite: %s: %s\n", sql, why);
        exit(1);
    }
}

static void *lite_open(const char *path, uint64_t cache, uint64_t size)
{
    struct lite *l = need(calloc(1, sizeof *l));
    char sql[64];

    if (sqlite3_open(path, &l->db) != SQLITE_OK)
        die("sqlite", -EIO, NULL);
    run(l, "PRAGMA journal_mode=WAL");
    run(l, "PRAGMA synchronous=FULL");
    snprintf(sql, sizeof sql, "PRAGMA cache_size=-%llu",
             (unsigned long long)cache / 1024);
    run(l, sql);
    run(l, "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID");
    if (sqlite3_prepare_v2(l->db, "INSERT OR REPLACE INTO kv VALUES (?, ?)",
                           -1, &l->put, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(l->db, "SELECT v FROM kv WHERE k = ?", -1, &l->get,
                           NULL) != SQLITE_OK)
        die("sqlite", -EIO, NULL);
    return l;
}

static void lite_begin(void *h)
{
    run(h, "BEGIN");
}

static void lite_put(void *h, struct cfs_blob key, struct cfs_blob value)
{
    struct lite *l = h;

    sqlite3_bind_blob(l->put, 1, key.p, (int)key.len, SQLITE_STATIC);
    sqlite3_bind_blob(l->put, 2, value.p, (int)value.len, SQLITE_STATIC);
    if (sqlite3_step(l->put) != SQLITE_DONE)
        die("sqlite put", -EIO, NULL);
    sqlite3_reset(l->put);
}

static bool lite_get(void *h, struct cfs_blob key)
{
    struct lite *l = h;
    bool found;

    sqlite3_bind_blob(l->get, 1, key.p, (int)key.len, SQLITE_STATIC);
    found = sqlite3_step(l->get) == SQLITE_ROW;
    sqlite3_reset(l->get);
    return found;
}

static void lite_commit(void *h)
{
    run(h, "COMMIT");
}

static void lite_close(void *h)
{
    struct lite *l = h;

    sqlite3_finalize(l->put);
    sqlite3_finalize(l->get);
    sqlite3_close(l->db);
    free(l);
}

static void lite_remove(const char *path)
{
    static const char *const end[] = {"", "-wal", "-shm"};

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(end); i++) {
        char name[4096];

        snprintf(name, sizeof name, "%s%s", path, end[i]);
        unlink(name);
    }
}

const struct rival rival_sqlite = {
    .name = "sqlite",
    .open = lite_open,
    .begin = lite_begin,
    .put = lite_put,
    .get = lite_get,
    .commit = lite_commit,
    .close = lite_close,
    .remove = lite_remove,
};
