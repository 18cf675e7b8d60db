/* SPDX-License-Identifier: Apache-2.0 */
/* rival_lmdb.c - the same records in LMDB, with its defaults: each commit is
 * durable. */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/store/store.h"

struct lightning {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi  dbi;
};

static void ok(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "store: lmdb: %s: %s\n", what, mdb_strerror(rc));
    exit(1);
}

static void lightning_begin(void *h)
{
    struct lightning *l = h;

    ok(mdb_txn_begin(l->env, NULL, 0, &l->txn), "begin");
}

static void lightning_commit(void *h)
{
    struct lightning *l = h;

    ok(mdb_txn_commit(l->txn), "commit");
}

static void *lightning_open(const char *path, uint64_t cache, uint64_t size)
{
    struct lightning *l = need(calloc(1, sizeof *l));

    ok(mdb_env_create(&l->env), "create");
    ok(mdb_env_set_mapsize(l->env, (size_t)size * 2), "mapsize");
    ok(mdb_env_open(l->env, path, MDB_NOSUBDIR, 0600), "open");
    lightning_begin(l);
    ok(mdb_dbi_open(l->txn, NULL, 0, &l->dbi), "dbi");
    lightning_commit(l);
    return l;
}

static MDB_val val_of(struct cfs_blob b)
{
    return (MDB_val){b.len, (void *)(uintptr_t)b.p};
}

static void lightning_put(void *h, struct cfs_blob key, struct cfs_blob value)
{
    struct lightning *l = h;
    MDB_val k = val_of(key), v = val_of(value);

    ok(mdb_put(l->txn, l->dbi, &k, &v, 0), "put");
}

static bool lightning_get(void *h, struct cfs_blob key)
{
    struct lightning *l = h;
    MDB_val k = val_of(key), v;

    return mdb_get(l->txn, l->dbi, &k, &v) == 0;
}

static void lightning_close(void *h)
{
    struct lightning *l = h;

    mdb_env_close(l->env);
    free(l);
}

static void lightning_remove(const char *path)
{
    char name[4096];

    unlink(path);
    snprintf(name, sizeof name, "%s-lock", path);
    unlink(name);
}

const struct rival rival_lmdb = {
    .name = "lmdb",
    .open = lightning_open,
    .begin = lightning_begin,
    .put = lightning_put,
    .get = lightning_get,
    .commit = lightning_commit,
    .close = lightning_close,
    .remove = lightning_remove,
};
