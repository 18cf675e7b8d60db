/* SPDX-License-Identifier: Apache-2.0 */
/* volume_delete.c - the verb: one transaction takes the volume, its view and
 * the claims on its devices. What is on the devices stays, and the answer says
 * where. The answer stays a while, too: a mgmtd that was started since gives it
 * to a repeat of the request.
 */
#include "mgmtd/node.h"

struct del {
    struct command *c;
    struct volume  *vol;
    json_t         *answer; /* "bricks": "HOST:/PATH" each */
};

static void on_committed(void *arg, int status, const struct cfs_err *err)
{
    struct del *d = arg;
    struct command *c = d->c;
    json_t *answer = d->answer;

    volume_unref(d->vol);
    free(d);
    if (status < 0) {
        json_decref(answer);
        command_fail(c, err);
    } else {
        command_ok(c, answer);
    }
}

static json_t *answer_of(const struct volume *vol)
{
    json_t *bricks = mem_ok(json_array());

    for (unsigned i = 0; i < vol->n; i++)
        json_array_append_new(
            bricks, mem_ok(json_sprintf("%s:%s", vol->brick[i].node,
                                        vol->brick[i].path)));
    return mem_ok(json_pack("{s:s,s:o}", "name", vol->name, "bricks", bricks));
}

/* -- repeats ------------------------------------------------------------- */

/* Whether a life of mgmtd before this one has done what @c asks for; then it
 * is answered. A volume that has the name by now is another one. */
static bool is_repeat(struct command *c)
{
    char *key = rec_deleted_key(command_str(c, "name"));
    json_t *rec = NULL, *answer = NULL;
    struct cfs_err err = {0};

    if (store_get(c->m->store, key, &rec, NULL, &err) == 0)
        answer = rec_deleted_answer(rec, c->id);
    free(key);
    if (answer)
        command_ok(c, json_incref(answer));
    json_decref(rec);
    return answer != NULL;
}

#define DROP_AT_ONCE 32u /* a transaction has an end */

/* Into @t: what a repeat is told; what no repeat asks for any more goes. */
struct keep {
    struct store_txn *t;
    const char       *key; /* that is put: no other change to it */
    int64_t           now; /* s */
    unsigned          dropped;
};

static int drop_old(void *arg, const char *key, json_t *value, uint64_t token,
                    struct cfs_err *err)
{
    struct keep *k = arg;

    if (k->dropped == DROP_AT_ONCE || strcmp(key, k->key) == 0 ||
        !rec_deleted_is_old(value, k->now))
        return 0;
    store_txn_delete(k->t, key);
    k->dropped++;
    return 0;
}

static int keep_answer(struct command *c, struct store_txn *t,
                       const struct del *d, struct cfs_err *err)
{
    char *key = rec_deleted_key(d->vol->name);
    struct keep k = {t, key, cfs_realtime(c->m->host.loop).sec, 0};
    json_t *rec = rec_deleted_new(c->id, k.now, d->answer);
    int rc = store_range(c->m->store, REC_DELETED, drop_old, &k, err);

    if (rc == 0)
        store_txn_put(t, key, rec);
    json_decref(rec);
    free(key);
    return rc;
}

/* -- the verb ------------------------------------------------------------ */

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

static void drop_records(const struct claim *cl)
{
    char *key = rec_volume_key(cl->vol->name);

    store_txn_if(cl->t, key, cl->vol->token);
    store_txn_delete(cl->t, key);
    free(key);
    key = rec_view_key(cl->vol->set);
    store_txn_delete(cl->t, key);
    free(key);
    key = rec_view_past_prefix(cl->vol->set);
    store_txn_delete_prefix(cl->t, key);
    free(key);
}

static int plan(struct command *c, struct claim *cl, struct del *d,
                struct cfs_err *err)
{
    int rc = check(c, &cl->vol, err);

    if (rc == 0)
        rc = store_range(c->m->store, "brick/", drop_claim, cl, err);
    if (rc < 0)
        return rc;
    drop_records(cl);
    *d = (struct del){c, cl->vol, answer_of(cl->vol)};
    rc = keep_answer(c, cl->t, d, err);
    if (rc < 0)
        json_decref(d->answer);
    return rc;
}

void volume_delete(struct command *c)
{
    struct claim cl = {0};
    struct cfs_err err = {0};
    struct del *d;

    if (is_repeat(c))
        return;
    cl.t = store_txn_new();
    d = mem_new(sizeof *d);
    if (plan(c, &cl, d, &err) < 0) {
        store_txn_free(cl.t);
        free(d);
        command_fail(c, &err);
        return;
    }
    volume_ref(d->vol);
    store_commit(c->m->store, cl.t, on_committed, d);
}
