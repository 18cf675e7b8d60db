/* SPDX-License-Identifier: Apache-2.0 */
/* join_token.c - tokens, made and looked up; see join.h.
 *
 *   token/HASH   {"kind": "join" | "invite", "end", "by", "replace"?}
 *
 * HASH is of the secret, so that who reads the store has no token. A token is
 * used up by the transaction that it allows. Those that are over for a week (so
 * that who comes with one is told so) are removed when a new one is made.
 */
#include "mgmtd/join.h"

#include <stdio.h>

#include "mgmtd/address.h"

#define KEPT (7 * 24 * 3600) /* s */

static const char *const kinds[] = {"join", "invite"};

void join_hex(const uint8_t b[static TRUST_SECRET], char ret[static 65])
{
    for (unsigned i = 0; i < TRUST_SECRET; i++)
        sprintf(ret + 2 * i, "%02x", b[i]);
}

int join_unhex(const char *s, uint8_t ret[static TRUST_SECRET])
{
    static const char digits[] = "0123456789abcdef";

    if (!s || strlen(s) != 2 * TRUST_SECRET)
        return -EINVAL;
    for (unsigned i = 0; i < TRUST_SECRET; i++) {
        const char *hi = strchr(digits, s[2 * i]);
        const char *lo = strchr(digits, s[2 * i + 1]);

        if (!hi || !lo)
            return -EINVAL;
        ret[i] = (uint8_t)((hi - digits) << 4 | (lo - digits));
    }
    return 0;
}

/* -- where we are -------------------------------------------------------- */

char *join_own_address(struct mgmtd *m)
{
    const struct peer *self = peer_self(m);
    char host[ADDRESS_MAX + 1];

    if (self)
        return peer_address(self->host, self->port);
    if (m->listen)
        return peer_address(m->listen, m->host.port);
    address_first(host, sizeof host);
    return peer_address(host, m->host.port);
}

/* -- making -------------------------------------------------------------- */

struct making {
    json_t          *result;
    join_token_done *done;
    void            *arg;
};

static void on_recorded(void *arg, int status, const struct cfs_err *err)
{
    struct making *k = arg;

    k->done(k->arg, status == 0 ? k->result : NULL, err);
    json_decref(k->result);
    free(k);
}

struct sweep {
    struct store_txn *t;
    int64_t           now;
    unsigned          n;
};

static int sweep_one(void *arg, const char *key, json_t *value,
                     uint64_t token, struct cfs_err *err)
{
    struct sweep *s = arg;

    if (json_integer_value(json_object_get(value, "end")) < s->now - KEPT &&
        s->n++ < STORE_OPS_MAX / 2)
        store_txn_delete(s->t, key);
    return 0;
}

void join_token_new(struct mgmtd *m, enum join_kind kind, const char *address,
                    int64_t seconds, const char *replace,
                    join_token_done *done, void *arg)
{
    const int64_t now = cfs_realtime(m->host.loop).sec;
    struct trust_token token = {.end = now + seconds};
    struct making *k = mem_new(sizeof *k);
    struct sweep sweep = {store_txn_new(), now, 0};
    char hash[65], *key, *text;
    json_t *rec;

    snprintf(token.address, sizeof token.address, "%s", address);
    trust_fingerprint(m->trust, token.print);
    cfs_random(m->host.loop, token.secret, sizeof token.secret);
    trust_token_hash(token.secret, hash);
    text = trust_token_print(&token);
    k->done = done;
    k->arg = arg;
    k->result = mem_ok(json_pack("{s:s,s:I,s:s}", "token", text, "end",
                                 (json_int_t)token.end, "kind",
                                 kinds[kind]));
    rec = mem_ok(json_pack("{s:i,s:s,s:I,s:s}", "v", REC_VERSION, "kind",
                           kinds[kind], "end", (json_int_t)token.end, "by",
                           m->node));
    if (replace && *replace)
        json_object_set_new(rec, "replace", mem_ok(json_string(replace)));
    store_range(m->store, "token/", sweep_one, &sweep, NULL);
    key = mem_printf("token/%s", hash);
    store_txn_put(sweep.t, key, rec);
    store_commit(m->store, sweep.t, on_recorded, k);
    explicit_bzero(&token, sizeof token);
    json_decref(rec);
    free(key);
    free(text);
}

/* -- looking up ---------------------------------------------------------- */

int join_token_look(struct mgmtd *m, enum join_kind kind, const char *secret,
                    char **ret_key, json_t **ret_rec, uint64_t *ret_token,
                    struct cfs_err *err)
{
    uint8_t bytes[TRUST_SECRET];
    char hash[65], *key;
    const char *have;
    json_t *rec;
    int rc;

    if (join_unhex(secret, bytes) < 0)
        return cfs_err_set(err, -EBADMSG, "a bad request");
    trust_token_hash(bytes, hash);
    key = mem_printf("token/%s", hash);
    rc = store_get(m->store, key, &rec, ret_token, err);
    if (rc == -ENOENT) {
        free(key);
        *err = (struct cfs_err){0};
        return cfs_err_set(err, -EACCES, "the token is not known here: it was "
                           "used already, or is of another cluster; make a "
                           "new one: clusterfs peer token");
    }
    if (rc < 0) {
        free(key);
        return rc;
    }
    have = json_string_value(json_object_get(rec, "kind"));
    if (!have || strcmp(have, kinds[kind]) != 0)
        rc = cfs_err_set(err, -EACCES, "that token is for something else");
    else if (json_integer_value(json_object_get(rec, "end")) <
             cfs_realtime(m->host.loop).sec)
        rc = cfs_err_set(err, -EACCES, "the token is over; make a new one: "
                         "clusterfs peer token");
    if (rc < 0) {
        json_decref(rec);
        free(key);
        return rc;
    }
    *ret_key = key;
    *ret_rec = rec;
    return 0;
}
