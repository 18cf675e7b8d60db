/* SPDX-License-Identifier: Apache-2.0 */
/* spec.c - volfiles: made from the volume's record, for whoever asks.
 *
 *   a brick's    for root on this machine: it has the volume's secret, and who
 *                is not believed any more
 *   a client's   here: the sockets of bricks on this node; elsewhere, and for
 *                bricks of other nodes: host and port. With it comes the
 *                client's own secret, if we know who asks, and that nobody
 *                else on its machine can ask the same
 *
 * Names of clients (rpc/proof.h), each with a generation:
 *   node:NAME    root on a member of the cluster; its number
 *   NAME         by the record client/NAME
 *   host:ADDRESS without a certificate, by the volume's auth.allow; from a
 *                port that only root has there
 * Who is out: records client/NAME that say "removed", and what a client was
 * before it was added again (which volumes are for it does not change without
 * that, so who is not meant here has no secret of this volume); detached/ID;
 * everybody by auth.allow, as it was before it changed.
 *
 * Bricks cannot remember them for ever. When clients that were removed since
 * the volume's secret was made fill RENEW_AT bytes, the secret is renewed: who
 * was removed before the secret before it (which stays good for those who have
 * not heard of the new one) has none that counts, and is not named any more.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "mgmtd/address.h"
#include "mgmtd/node.h"
#include "mgmtd/revoked.h"
#include "rpc/mgmt.h"
#include "rpc/proof.h"

#define WHO         "spec"
#define OPTIONS_MAX 64
#define RENEW_AT    (4u * 1024u) /* bytes; so there is room for what else is in
                                    the list, and for much at once */

bool line_is_here(const struct line *line)
{
    return line->trusted;
}

/* -- who asks ------------------------------------------------------------ */

struct reader {
    bool     here;
    char     name[RPC_CLIENT_NAME + 1]; /* "": nobody knows */
    uint64_t generation;
};

static void set_reader(struct reader *r, const char *kind, const char *name,
                       uint64_t generation)
{
    char text[RPC_CLIENT_NAME + 1];
    int n = snprintf(text, sizeof text, "%s%s", kind, name);

    if (n <= 0 || (size_t)n >= sizeof text)
        return;
    memcpy(r->name, text, sizeof text);
    r->generation = generation;
}

static uint64_t client_generation(struct mgmtd *m, const char *name)
{
    char *key = mem_printf("client/%s", name);
    json_t *rec;
    uint64_t n = 0;

    if (store_get(m->store, key, &rec, NULL, &(struct cfs_err){0}) == 0) {
        rec_u64(rec, key, "generation", &n, &(struct cfs_err){0});
        json_decref(rec);
    }
    free(key);
    return n;
}

/* Grows when the volume's auth.allow changes: volume_set.c. */
static uint64_t allow_generation(const struct volume *vol)
{
    uint64_t n = 0;

    rec_u64(vol->rec, "the volume", "allow_generation", &n,
            &(struct cfs_err){0});
    return n;
}

static void who_reads(const struct line *line, const struct volume *vol,
                      struct reader *ret)
{
    struct mgmtd *m = line->m;
    const struct peer *self = peer_self(m);
    const struct peer *p = peer_find(m, line->name);
    char host[64];

    *ret = (struct reader){.here = line_is_here(line)};
    if (ret->here) {
        set_reader(ret, "node:", m->node, self ? self->number : 0);
    } else if (line->role == RPC_PEER_NODE) {
        if (p)
            set_reader(ret, "node:", p->name, p->number);
    } else if (line->role == RPC_PEER_CLIENT) {
        set_reader(ret, "", line->name, client_generation(m, line->name));
    } else if (rpc_conn_is_privileged(line->conn)) { /* auth.allow */
        rpc_conn_peer_host(line->conn, host, sizeof host);
        set_reader(ret, "host:", host, allow_generation(vol));
    }
}

void line_owner(const struct line *line, const struct volume *vol,
                char ret[static CFS_OWNER_MAX])
{
    struct reader r;

    static_assert(sizeof r.name <= CFS_OWNER_MAX, "one shape");
    who_reads(line, vol, &r);
    snprintf(ret, CFS_OWNER_MAX, "%s", r.name);
}

/* -- who is not believed any more ---------------------------------------- */

struct removed {
    const struct volume *vol;
    char                 text[CFS_VOLFILE_WORD + 1];
    size_t               len;
    size_t               fresh; /* bytes since the secret is there */
    bool                 full;
};

static void add_removed(struct removed *r, const char *name,
                        uint64_t generation)
{
    char one[RPC_CLIENT_NAME + 32];
    int n = snprintf(one, sizeof one, "%s%s=%llu", r->len ? "," : "", name,
                     (unsigned long long)generation);

    if (n < 0 || (size_t)n >= sizeof one ||
        r->len + (size_t)n >= sizeof r->text) {
        r->full = true;
        return;
    }
    memcpy(r->text + r->len, one, (size_t)n + 1);
    r->len += (size_t)n;
}

/* Whether the record, in its present generation, names @volume. */
static bool is_meant(const json_t *rec, const char *volume)
{
    const json_t *list = json_object_get(rec, "volumes");

    if (!json_is_array(list) || json_array_size(list) == 0)
        return true; /* all */
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));

        if (s && (strcmp(s, volume) == 0 || strcmp(s, "*") == 0))
            return true;
    }
    return false;
}

bool spec_client_may(const json_t *rec, const char *volume)
{
    return !json_is_true(json_object_get(rec, "removed")) &&
           is_meant(rec, volume);
}

/* With which list of revoked ones that was (revoked.h) decides whether it can
 * have had a secret that still counts. 0: an older version did not say. */
static int look_at_client(void *arg, const char *key, json_t *rec,
                          uint64_t token, struct cfs_err *err)
{
    struct removed *r = arg;
    const json_t *vol = r->vol->rec;
    const char *name = key + strlen("client/");
    json_int_t g = json_integer_value(json_object_get(rec, "generation"));
    json_int_t list = json_integer_value(json_object_get(rec, "list"));
    size_t before = r->len;

    if (g < 0)
        g = 0;
    if (list > 0 && (uint64_t)list <= rec_volume_secret_list(vol, true))
        return 0;
    if (json_is_true(json_object_get(rec, "removed")) &&
        is_meant(rec, r->vol->name))
        add_removed(r, name, (uint64_t)g);
    else if (g > 1)
        add_removed(r, name, (uint64_t)g - 1);
    if (list > 0 && (uint64_t)list > rec_volume_secret_list(vol, false))
        r->fresh += r->len - before;
    return 0;
}

/* Of one name the last number says it all. */
static int look_at_detached(void *arg, const char *key, json_t *rec,
                            uint64_t token, struct cfs_err *err)
{
    const char *node = json_string_value(json_object_get(rec, "name"));
    json_int_t number = json_integer_value(json_object_get(rec, "number"));
    json_t *last = arg;

    if (node && number >= json_integer_value(json_object_get(last, node)))
        json_object_set_new(last, node, mem_ok(json_integer(number)));
    return 0;
}

static void add_detached(struct removed *r, json_t *last)
{
    const char *node;
    json_t *number;

    json_object_foreach(last, node, number) {
        char name[RPC_CLIENT_NAME + 1];
        int n = snprintf(name, sizeof name, "node:%s", node);

        if (n > 0 && (size_t)n < sizeof name)
            add_removed(r, name, (uint64_t)json_integer_value(number));
    }
}

static int list_removed(struct volume *vol, struct removed *ret,
                        struct cfs_err *err)
{
    json_t *detached = mem_ok(json_object());
    int rc;

    *ret = (struct removed){.vol = vol};
    rc = store_range(vol->m->store, "client/", look_at_client, ret, err);
    if (rc == 0)
        rc = store_range(vol->m->store, "detached/", look_at_detached,
                         detached, err);
    add_detached(ret, detached);
    json_decref(detached);
    if (rc == 0 && allow_generation(vol) > 0)
        add_removed(ret, "host:*", allow_generation(vol) - 1);
    if (rc == 0 && ret->full)
        rc = cfs_err_set(err, -E2BIG, "volume %s: too many clients and nodes "
                         "were removed for its bricks to remember", vol->name);
    return rc;
}

/* -- the volume's secret --------------------------------------------------- */

static void on_secret(void *arg, int status, const struct cfs_err *err)
{
    struct volume *vol = arg;

    if (status < 0 && status != -CFS_E_CONFLICT)
        cfs_log_warning(vol->m->host.log, WHO, "volume %s: a secret for its "
                        "clients cannot be stored: %s", vol->name, err->text);
    volume_unref(vol);
}

/* @rec becomes the volume's record; taken over. A transaction that comes too
 * late changes nothing. */
static void put_secret(struct volume *vol, struct store_txn *t, json_t *rec)
{
    char *key = rec_volume_key(vol->name);

    rec_volume_set_state(rec, vol->state);
    store_txn_if(t, key, vol->token);
    store_txn_put(t, key, rec);
    store_commit(vol->m->store, t, on_secret, volume_ref(vol));
    json_decref(rec);
    free(key);
}

/* The first brick's node does it. */
void spec_need_secret(struct volume *vol)
{
    json_t *rec;

    if (vol->state != VOL_STARTED || vol->gone ||
        rec_volume_secret(vol->rec) || !brick_is_local(&vol->brick[0]))
        return;
    rec = mem_ok(json_deep_copy(vol->rec));
    rec_volume_need_secret(vol->m->host.loop, rec);
    put_secret(vol, store_txn_new(), rec);
}

/* Whoever has a brick does it: of several one gets through. @full: not even
 * those of the secret before find room, so that one counts no more; a client
 * that has not heard of the new one yet has to wait for it then. */
static void renew_secret(struct volume *vol, bool full)
{
    struct store_txn *t;
    uint64_t token;
    json_t *rec, *ca;

    if (vol->gone || !rec_volume_secret(vol->rec) ||
        store_get(vol->m->store, "ca/clients", &ca, &token,
                  &(struct cfs_err){0}) < 0)
        return;
    cfs_log_info(vol->m->host.log, WHO, "volume %s: many clients were removed: "
                 "its secret is renewed, and they are forgotten", vol->name);
    rec = mem_ok(json_deep_copy(vol->rec));
    rec_volume_renew_secret(vol->m->host.loop, rec, revoked_number(ca),
                            !full);
    t = store_txn_new();
    store_txn_if(t, "ca/clients", token);
    put_secret(vol, t, rec);
    json_decref(ca);
}

/* -- what is told -------------------------------------------------------- */

/* The address on which local bricks listen for TCP: nobody but this machine
 * has to reach those of a single node without clients elsewhere. */
static int any_client(void *arg, const char *key, json_t *rec, uint64_t token,
                      struct cfs_err *err)
{
    *(bool *)arg = true;
    return 1;
}

static const char *listen_address(struct volume *vol)
{
    const json_t *options = json_object_get(vol->rec, "options");
    bool elsewhere = !node_is_alone(vol->m) ||
                     json_object_get(options, "auth.allow") != NULL;

    if (!rec_volume_secret(vol->rec))
        return "127.0.0.1";
    store_range(vol->m->store, "client/", any_client, &elsewhere, NULL);
    if (!elsewhere)
        return "127.0.0.1";
    return address_any();
}

struct told {
    struct cfs_vg_volume vol;
    struct cfs_vg_brick  brick[CFS_SET_MAX];
    struct cfs_kv        opts[OPTIONS_MAX];
    struct removed       removed;
    struct reader        reader;
    char                 secret[RPC_SECRET_TEXT]; /* the client's */
};

static void tell_bricks(struct volume *vol, struct told *t, bool for_brick)
{
    const char *address = listen_address(vol);

    for (unsigned i = 0; i < vol->n; i++) {
        struct brick *b = &vol->brick[i];
        bool here = brick_is_local(b) && (for_brick || t->reader.here);

        t->brick[i] = (struct cfs_vg_brick){
            .id = b->id,
            .host = brick_host(b),
            .device = b->path,
            .socket = here ? b->socket : NULL,
            .port = here ? 0 : b->port,
            .address = address,
        };
    }
}

static size_t tell_options(struct volume *vol, struct told *t)
{
    json_t *options = json_object_get(vol->rec, "options"), *value;
    const char *key;
    size_t n = 0;

    json_object_foreach(options, key, value)
        if (n < OPTIONS_MAX && json_is_string(value))
            t->opts[n++] = (struct cfs_kv){key, json_string_value(value)};
    return n;
}

static void tell_secret(struct volume *vol, struct told *t)
{
    const char *text = rec_volume_secret(vol->rec);
    uint8_t of_volume[RPC_SECRET], secret[RPC_SECRET];

    if (!text || !*t->reader.name || rpc_secret_parse(text, of_volume) < 0)
        return;
    rpc_client_secret(of_volume, t->reader.name, t->reader.generation,
                      secret);
    rpc_secret_print(secret, t->secret);
    t->vol.client = t->reader.name;
    t->vol.client_generation = t->reader.generation;
    t->vol.client_secret = t->secret;
}

static void describe(struct volume *vol, struct told *t, bool for_brick)
{
    tell_bricks(vol, t, for_brick);
    t->vol = (struct cfs_vg_volume){
        .name = vol->name,
        .id = vol->id,
        .cluster = vol->m->cluster,
        .generation = vol->generation,
        .lineage = store_lineage(vol->m->store),
        .set = vol->set,
        .brick = t->brick,
        .n_bricks = vol->n,
        .opts = t->opts,
        .n_opts = tell_options(vol, t),
        .secret_number = rec_volume_secret_number(vol->rec),
    };
    if (for_brick) {
        t->vol.node = vol->m->node;
        t->vol.secret = rec_volume_secret(vol->rec);
        t->vol.secret_before = rec_volume_secret_before(vol->rec);
        t->vol.removed = t->removed.text;
    } else {
        tell_secret(vol, t);
    }
}

/* Whom else a client can ask: for rpc/mgmt.c, which reads these comments. */
static void add_servers(struct mgmtd *m, char **text)
{
    cfs_list_for_each(l, &m->peers) {
        const struct peer *p = cfs_list_entry(l, struct peer, link);
        char *address = peer_address(p->host, p->port);
        char *more = mem_printf("%s%s%s\n", *text, MGMT_SERVER_LINE, address);

        free(*text);
        free(address);
        *text = more;
    }
}

static int print(struct mgmtd *m, struct told *t, const struct brick *b,
                 char **ret, struct cfs_err *err)
{
    struct cfs_volfile *v;
    int rc = b ? cfs_vg_brick(&t->vol, b->index, &v, err)
               : cfs_vg_client(&t->vol, &v, err);

    if (rc < 0)
        return rc;
    rc = cfs_volfile_print(v, ret, NULL);
    cfs_volfile_free(v);
    if (rc == 0 && !b)
        add_servers(m, ret);
    if (rc == 0 && strlen(*ret) > MGMT_TEXT_MAX) {
        free(*ret);
        rc = cfs_err_set(err, -E2BIG, "the volfile is too long");
    }
    return rc;
}

int spec_make(struct volume *vol, const struct brick *b,
              const struct line *line, char **ret, struct cfs_err *err)
{
    struct told *t;
    int rc = 0;

    if (b && !line->trusted)
        return cfs_err_set(err, -EACCES, "a brick's volfile is for root on "
                           "its own node");
    if (b && !brick_is_local(b))
        return cfs_err_set(err, -EXDEV, "this brick belongs to node %s, this "
                           "is %s", b->node, vol->m->node);
    t = mem_new(sizeof *t);
    who_reads(line, vol, &t->reader);
    if (b) {
        rc = list_removed(vol, &t->removed, err);
        if (t->removed.full || t->removed.fresh > RENEW_AT)
            renew_secret(vol, t->removed.full);
    }
    if (rc == 0) {
        describe(vol, t, b != NULL);
        rc = print(vol->m, t, b, ret, err);
    }
    explicit_bzero(t->secret, sizeof t->secret);
    free(t);
    return rc;
}

/* -- changes ------------------------------------------------------------- */

static void all_changed(struct mgmtd *m)
{
    cfs_list_for_each(l, &m->volumes) {
        struct volume *vol = cfs_list_entry(l, struct volume, link);

        if (vol->state == VOL_STARTED)
            volume_spec_changed(vol);
    }
}

static void client_record(struct store_watch *w, const char *key, json_t *rec,
                          uint64_t token)
{
    all_changed(cfs_list_entry(w, struct mgmtd, on_client));
}

static void detached_record(struct store_watch *w, const char *key,
                            json_t *rec, uint64_t token)
{
    all_changed(cfs_list_entry(w, struct mgmtd, on_detached));
}

void specs_watch(struct mgmtd *m)
{
    m->on_client.prefix = "client/";
    m->on_client.changed = client_record;
    store_watch(m->store, &m->on_client);
    m->on_detached.prefix = "detached/";
    m->on_detached.changed = detached_record;
    store_watch(m->store, &m->on_detached);
}
