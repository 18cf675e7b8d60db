/* SPDX-License-Identifier: Apache-2.0 */
/* volume_delete.c - the verb: one transaction takes the volume, its view and
 * the claims on its devices. What is on the devices stays, and the answer says
 * where.
 */
#include "mgmtd/node.h"

struct del {
    struct command *c;
    struct volume  *vol;
    json_t         *bricks; /* "HOST:/PATH" */
};

static void on_committed(void *arg, int status, const struct cfs_err *err)
{
    struct del *d = arg;
    struct command *c = d->c;
    json_t *bricks = d->bricks;
    char *name = mem_str(d->vol->name);

    volume_unref(d->vol);
    free(d);
    if (status < 0) {
        json_decref(bricks);
        command_fail(c, err);
    } else {
        command_ok(c, mem_ok(json_pack("{s:s,s:o}", "name", name, "bricks",
                                       bricks)));
    }
    free(name);
}

/* The claim on the device of @b: its canonical path may have changed since,
 * so it is found by what it says. */
struct claim {
    struct store_txn *t;
    struct volume    *vol;
};

static int drop_claim(void *arg, const char *key, json_t *value,
                      uint64_t token, struct cfs_err *err)
{
    struct claim *cl = arg;
    struct cfs_uuid id;

    if (rec_uuid(value, key, "brick", &id, NULL) < 0)
        return 0;
    for (unsigned i = 0; i < cl->vol->n; i++)
        if (cfs_uuid_eq(cl->vol->brick[i].id, id))
            store_txn_delete(cl->t, key);
    return 0;
}

static int check(struct command *c, struct volume **ret, struct cfs_err *err)
{
    struct volume *vol;
    int rc = volume_need(c->m, command_str(c, "name"), &vol, err);

    if (rc < 0)
        return rc;
    if (vol->state == VOL_STARTED)
        return cfs_err_set(err, -EBUSY, "volume %s is started; stop it first: "
                           "clusterfs volume stop %s", vol->name, vol->name);
    for (unsigned i = 0; i < vol->n; i++)
        if (!brick_has_ended(&vol->brick[i]))
            return cfs_err_set(err, -EBUSY, "volume %s: brick %.200s, process "
                               "%u, has not ended yet", vol->name,
                               vol->brick[i].path, vol->brick[i].pid);
    *ret = vol;
    return 0;
}

void volume_delete(struct command *c)
{
    struct claim cl = {.t = store_txn_new()};
    struct cfs_err err = {0};
    struct del *d;
    char *key;
    int rc;

    rc = check(c, &cl.vol, &err);
    if (rc == 0)
        rc = store_range(c->m->store, "brick/", drop_claim, &cl, &err);
    if (rc < 0) {
        store_txn_free(cl.t);
        command_fail(c, &err);
        return;
    }
    d = mem_new(sizeof *d);
    d->c = c;
    d->vol = volume_ref(cl.vol);
    d->bricks = mem_ok(json_array());
    for (unsigned i = 0; i < cl.vol->n; i++)
        json_array_append_new(
            d->bricks, mem_ok(json_sprintf("%s:%s", cl.vol->brick[i].node,
                                           cl.vol->brick[i].path)));
    key = rec_volume_key(cl.vol->name);
    store_txn_if(cl.t, key, cl.vol->token);
    store_txn_delete(cl.t, key);
    free(key);
    key = rec_view_key(cl.vol->set);
    store_txn_delete(cl.t, key);
    free(key);
    key = rec_view_past_prefix(cl.vol->set);
    store_txn_delete_prefix(cl.t, key);
    free(key);
    store_commit(c->m->store, cl.t, on_committed, d);
}
