/* SPDX-License-Identifier: Apache-2.0 */
/* volume_create.c - the verb: check, look at the devices on their nodes, make
 * them bricks, and then, in one transaction, the volume.
 *
 *     args -> look -> claims are durable (creating.h) -> make -> commit
 *
 * Before the last transaction there is no volume, and whatever was made is
 * taken back when a step fails, or when a mgmtd died, once that is back. The
 * first volume of all comes with the cluster, so it has no claims: if mgmtd is
 * killed then, image files remain; the next create says so, and --force takes
 * them.
 */
#include <stdio.h>

#include "core/opt.h"
#include "mgmtd/access.h"
#include "mgmtd/address.h"
#include "mgmtd/creating.h"
#include "mgmtd/engine.h"
#include "volfiles/voption.h"

#define COMING (5 * CFS_SEC)

struct create {
    struct command *c;
    const char     *name;
    uint64_t        replica; /* 0: not said */
    json_t         *options; /* borrowed from the command, or own empty one */
    struct prep     prep;
    struct creating creating;
    bool            begun; /* it has a record */
    bool            founding; /* the transaction makes the cluster, too */
    struct cfs_err  err;
    struct cfs_timer coming; /* nodes that are not met yet */
    uint64_t        patient_until;
};

/* -- the arguments ------------------------------------------------------- */

static bool is_this_node(const struct mgmtd *m, const char *host)
{
    const char *const names[] = {m->node, cfs_node_name(), "localhost",
                                 "127.0.0.1", "::1"};

    for (size_t i = 0; i < CFS_ARRAY_SIZE(names); i++)
        if (strcmp(names[i], host) == 0)
            return true;
    return false;
}

/* A member, by its name or its address. */
static const char *node_called(struct mgmtd *m, const char *host)
{
    if (peer_find(m, host))
        return peer_find(m, host)->name;
    cfs_list_for_each(l, &m->peers) {
        const struct peer *p = cfs_list_entry(l, struct peer, link);

        if (!p->gone && p->host && address_same(p->host, host))
            return p->name;
    }
    return is_this_node(m, host) ? m->node : NULL;
}

/* "HOST:/PATH", or "HOST" for a path of our choice, into @b. An IPv6 address
 * may be in brackets. */
static int parse_brick(struct mgmtd *m, const char *text,
                       struct prep_brick *b, struct cfs_err *err)
{
    const char *colon = strstr(text, ":/"), *node;
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    char host[300];

    if (len == 0 || len >= sizeof host || (!colon && strchr(text, '/')))
        return cfs_err_set(err, -EINVAL, "brick '%.200s': expected HOST:/PATH, "
                           "such as %s:/srv/brick.img", text, m->node);
    memcpy(host, text, len);
    host[len] = '\0';
    if (host[0] == '[' && host[len - 1] == ']') {
        memmove(host, host + 1, len - 2);
        host[len - 2] = '\0';
    }
    node = node_called(m, host);
    if (!node)
        return cfs_err_set(err, -EINVAL, "brick '%.200s': there is no node "
                           "'%.100s' in this cluster (see: clusterfs peer "
                           "list); for this one say %s or localhost", text,
                           host, m->node);
    if (colon && strlen(colon + 1) >= 4096)
        return cfs_err_set(err, -ENAMETOOLONG, "a brick's path is longer than "
                           "4095 bytes");
    b->node = mem_str(node);
    b->path = mem_str(colon ? colon + 1 : "");
    return 0;
}

static int check_count(const struct create *cr, size_t n, struct cfs_err *err)
{
    uint64_t r = cr->replica;

    if (n == 0)
        return cfs_err_set(err, -EINVAL, "no bricks are named");
    if (r == 0 && n > 1)
        return cfs_err_set(err, -EINVAL, "%zu bricks, but not how many copies "
                           "of a file there shall be; for one on each brick "
                           "say: replica %zu", n, n);
    if (r > CFS_SET_MAX)
        return cfs_err_set(err, -EINVAL, "replica %llu: at most %u copies are "
                           "possible", (unsigned long long)r, CFS_SET_MAX);
    if (r > 0 && n % r != 0)
        return cfs_err_set(err, -EINVAL, "%zu bricks are not a multiple of "
                           "replica %llu", n, (unsigned long long)r);
    if (r > 0 && n != r)
        return cfs_err_set(err, -EINVAL, "%zu bricks with replica %llu: a "
                           "volume has one set of replicas yet, so name %llu "
                           "bricks", n, (unsigned long long)r,
                           (unsigned long long)r);
    return 0;
}

static int check_options(struct create *cr, struct cfs_err *err)
{
    const char *key;
    json_t *value;

    cr->options = json_object_get(cr->c->args, "options");
    if (json_is_object(cr->options))
        json_incref(cr->options);
    else
        cr->options = mem_ok(json_object());
    json_object_foreach(cr->options, key, value) {
        int rc;

        if (!json_is_string(value))
            return cfs_err_set(err, -EINVAL, "option %s: no text", key);
        rc = cfs_vopt_check(key, json_string_value(value), "--option", err);
        if (rc == 0)
            rc = access_option_check(key, json_string_value(value), err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* How many nodes have bricks. */
static unsigned count_nodes(const struct prep *p)
{
    unsigned n = 0;

    for (unsigned i = 0; i < p->n; i++) {
        bool first = true;

        for (unsigned k = 0; k < i; k++)
            first = first && strcmp(p->brick[k].node, p->brick[i].node) != 0;
        n += first;
    }
    return n;
}

/* Of two nodes neither can tell the other's end from a cut between them. */
static int check_witness(const struct create *cr, struct cfs_err *err)
{
    if (cr->prep.force || count_nodes(&cr->prep) < 2 ||
        peers_count(cr->c->m) != 2)
        return 0;
    return cfs_err_set(err, -EPERM, "the cluster has two nodes: when either "
                       "is lost, the other cannot know whether it goes on "
                       "elsewhere, and so can drop nothing: the volume would "
                       "stop with any of both. Let a third node join (it may "
                       "run clusterfs-mgmtd alone: clusterfs peer token), or "
                       "say --force");
}

static int read_args(struct create *cr, struct cfs_err *err)
{
    struct mgmtd *m = cr->c->m;
    json_t *bricks = json_object_get(cr->c->args, "bricks");
    size_t n = json_array_size(bricks);
    int rc = cfs_volume_name_check(cr->name, err);

    cr->replica = (uint64_t)json_integer_value(
        json_object_get(cr->c->args, "replica"));
    if (rc == 0 && volume_find(m, cr->name))
        rc = cfs_err_set(err, -EEXIST, "a volume '%s' exists already",
                         cr->name);
    if (rc == 0)
        rc = check_count(cr, n, err);
    if (rc == 0)
        rc = check_options(cr, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *text = json_string_value(json_array_get(bricks, i));

        cr->prep.n = (unsigned)i + 1;
        rc = parse_brick(m, text ? text : "", &cr->prep.brick[i], err);
        cr->prep.brick[i].id = uuid_new(m);
        cr->prep.brick[i].index = (unsigned)i;
    }
    cr->prep.size = (uint64_t)json_integer_value(
        json_object_get(cr->c->args, "brick_size"));
    cr->prep.sparse = command_flag(cr->c, "sparse");
    cr->prep.force = command_flag(cr->c, "force");
    cr->prep.now = cfs_realtime(m->host.loop);
    cr->prep.volume = cr->name;
    return rc;
}

/* -- the end ------------------------------------------------------------- */

static void create_free(struct create *cr)
{
    cfs_timer_fini(&cr->coming);
    creating_end(&cr->creating);
    prep_fini(&cr->prep);
    json_decref(cr->options);
    free(cr);
}

static void fail(struct create *cr)
{
    struct command *c = cr->c;
    struct cfs_err err = cr->err;

    create_free(cr);
    command_fail(c, &err);
}

static unsigned nodes_of(const struct volume *vol)
{
    unsigned n = 0;

    for (unsigned i = 0; i < vol->n; i++) {
        bool first = true;

        for (unsigned k = 0; k < i; k++)
            first = first &&
                    strcmp(vol->brick[k].node, vol->brick[i].node) != 0;
        n += first;
    }
    return n;
}

static json_t *warnings(const struct volume *vol)
{
    json_t *list = mem_ok(json_array());

    if (nodes_of(vol) < vol->n)
        json_array_append_new(list, mem_ok(json_string(
            "several copies are on one node: they are lost together")));
    if (nodes_of(vol) > 1 && peers_count(vol->m) == 2)
        json_array_append_new(list, mem_ok(json_string(
            "the cluster has two nodes: the volume stops when either of them "
            "is lost, until a third one joins")));
    return list;
}

/* Its request's, and that of a repeat of it. */
static void answer(struct command *c, const struct volume *vol)
{
    command_ok(c, mem_ok(json_pack("{s:s,s:o,s:o}", "name", vol->name, "id",
                                   rec_json_uuid(vol->id), "warnings",
                                   warnings(vol))));
}

/* It is made; done. */
static void succeed(struct create *cr)
{
    struct command *c = cr->c;
    const struct volume *vol = volume_find(c->m, cr->name);
    struct cfs_err gone = {0};

    if (!vol)
        cfs_err_set(&gone, -ECANCELED, "volume %s was created, and deleted by "
                    "somebody else right after", cr->name);
    create_free(cr);
    if (vol)
        answer(c, vol);
    else
        command_fail(c, &gone);
}

static void on_undone(void *arg, int status, const struct cfs_err *err)
{
    struct create *cr = arg;
    const struct volume *vol = volume_find(cr->c->m, cr->name);
    char why[CFS_ERR_TEXT];

    if (vol && rec_volume_is_request(vol->rec, cr->c->id)) {
        succeed(cr); /* the commit whose outcome was not heard */
        return;
    }
    if (status < 0 && status != -CFS_E_CONFLICT) {
        snprintf(why, sizeof why, "%s", cr->err.text);
        cfs_err_set(&cr->err, cr->err.code, "%.300s; what was made of it is "
                    "taken back when that is possible (%.150s)", why,
                    err->text);
    }
    fail(cr);
}

static void undo(struct create *cr)
{
    if (cr->begun)
        creating_undo(&cr->creating, on_undone, cr);
    else
        node_prep_undo(cr->c->m, &cr->prep, on_undone, cr);
}

static void commit(struct create *cr);

static void on_committed(void *arg, int status, const struct cfs_err *err)
{
    struct create *cr = arg;
    struct command *c = cr->c;

    if (status == -CFS_E_CONFLICT && cr->founding && c->m->founded) {
        commit(cr); /* another first one founded the cluster */
        return;
    }
    if (status < 0) {
        if (status == -CFS_E_CONFLICT)
            cfs_err_set(&cr->err, status, "volume %s was made by somebody else "
                        "meanwhile, or this node was cut off for so long that "
                        "another one took back what it had begun", cr->name);
        else
            cr->err = *err;
        undo(cr);
        return;
    }
    c->m->founded = true;
    succeed(cr);
}

/* -- the record ---------------------------------------------------------- */

static void commit(struct create *cr)
{
    struct mgmtd *m = cr->c->m;
    struct store_txn *t = store_txn_new();
    struct rec_volume v = {
        .name = cr->name,
        .id = uuid_new(m),
        .generation = 1,
        .state = VOL_CREATED,
        .set = uuid_new(m),
        .n_bricks = cr->prep.n,
        .options = cr->options,
    };
    char *key;
    json_t *rec;

    /* The cluster is founded with its first volume. */
    cr->founding = !m->founded;
    if (cr->founding && cluster_found_put(m, t, NULL, NULL, &cr->err) < 0) {
        store_txn_free(t);
        undo(cr);
        return;
    }
    for (unsigned i = 0; i < cr->prep.n; i++) {
        const struct prep_brick *b = &cr->prep.brick[i];

        v.brick[i] = (struct rec_brick){b->id, b->node, b->path, b->size};
        if (!cr->begun)
            creating_claim(t, b, cr->name, NULL);
    }
    if (cr->begun)
        creating_finish(&cr->creating, t);
    key = rec_volume_key(cr->name);
    rec = rec_volume_new(&v, cr->prep.now.sec);
    rec_volume_need_secret(m->host.loop, rec);
    rec_volume_set_request(rec, cr->c->id);
    store_txn_if_absent(t, key);
    store_txn_put(t, key, rec);
    json_decref(rec);
    free(key);
    store_commit(m->store, t, on_committed, cr);
}

/* -- the devices --------------------------------------------------------- */

static void on_made(void *arg, int status, const struct cfs_err *err)
{
    struct create *cr = arg;

    if (status < 0) {
        cr->err = *err;
        undo(cr);
        return;
    }
    commit(cr);
}

/* Whether another create works on the same device, before there is a cluster
 * in which it could have a claim. */
static bool is_reserved(const struct create *cr, const char *path)
{
    cfs_list_for_each(l, &cr->c->m->creating) {
        const struct creating *other =
            cfs_list_entry(l, struct creating, link);

        for (unsigned i = 0; i < other->prep->n && other != &cr->creating; i++)
            if (other->prep->brick[i].canonical &&
                strcmp(other->prep->brick[i].canonical, path) == 0)
                return true;
    }
    return false;
}

static int check_free(struct create *cr, const struct prep_brick *b,
                      struct cfs_err *err)
{
    const char *name;
    json_t *rec;
    char *key;
    int rc;

    if (!b->canonical)
        return cfs_err_set(err, -EBADMSG, "node %s does not say what %s is",
                           b->node, b->path);
    key = rec_brick_key(b->node, b->canonical);
    if (strlen(key) > STORE_KEY_MAX) {
        free(key);
        return cfs_err_set(err, -ENAMETOOLONG, "%s: the path is too long",
                           b->path);
    }
    rc = store_get(cr->c->m->store, key, &rec, NULL, err);
    free(key);
    if (rc == -ENOENT) {
        *err = (struct cfs_err){0};
        if (is_reserved(cr, b->canonical))
            return cfs_err_set(err, -EBUSY, "%s: another volume is being made "
                               "on it right now", b->path);
        return 0;
    }
    if (rc < 0)
        return rc;
    name = json_string_value(json_object_get(rec, "volume"));
    if (json_object_get(rec, "creating"))
        rc = cfs_err_set(err, -EBUSY, "%s:%s: another volume, %s, is being "
                         "made on it right now, or what is left of that is "
                         "still to be taken back", b->node, b->path,
                         name ? name : "?");
    else
        rc = cfs_err_set(err, -CFS_E_IN_USE, "%s is a brick of volume %s "
                         "already", b->path, name ? name : "?");
    json_decref(rec);
    return rc;
}

static void on_begun(void *arg, int status, const struct cfs_err *err)
{
    struct create *cr = arg;

    if (status == -CFS_E_CONFLICT)
        cfs_err_set(&cr->err, status, "volume %s, or one of another name on "
                    "the same devices, was made by somebody else meanwhile",
                    cr->name);
    else if (status < 0)
        cr->err = *err;
    if (status < 0) {
        fail(cr);
        return;
    }
    cr->begun = true;
    node_prep_make(cr->c->m, &cr->prep, on_made, cr);
}

static void on_looked(void *arg, int status, const struct cfs_err *err)
{
    struct create *cr = arg;
    struct mgmtd *m = cr->c->m;

    if (status < 0)
        cr->err = *err;
    for (unsigned i = 0; i < cr->prep.n && status == 0; i++)
        status = check_free(cr, &cr->prep.brick[i], &cr->err);
    if (status < 0) {
        fail(cr);
        return;
    }
    cr->prep.cluster = m->cluster;
    if (m->founded) {
        creating_begin(&cr->creating, on_begun, cr);
        return;
    }
    cfs_list_add_tail(&m->creating, &cr->creating.link);
    node_prep_make(m, &cr->prep, on_made, cr);
}

static bool all_here(const struct create *cr)
{
    struct mgmtd *m = cr->c->m;

    for (unsigned i = 0; i < cr->prep.n; i++) {
        const struct peer *p = peer_find(m, cr->prep.brick[i].node);

        if (p && !p->self && !p->up)
            return false;
    }
    return true;
}

/* A node that joined just now, or was started, is met in a moment; and a
 * repeat, to a mgmtd started since then, lets it take back the first try. */
static void look_when_here(struct cfs_timer *t)
{
    struct create *cr = cfs_list_entry(t, struct create, coming);
    struct mgmtd *m = cr->c->m;

    if ((!all_here(cr) || creating_is_left(m, cr->name)) &&
        cfs_ran(m->host.loop) < cr->patient_until)
        cfs_timer_start(&cr->coming, 100 * CFS_MS);
    else
        node_prep_look(m, &cr->prep, on_looked, cr);
}

void volume_create(struct command *c)
{
    struct volume *vol = volume_find(c->m, command_str(c, "name"));
    struct create *cr;

    if (vol && rec_volume_is_request(vol->rec, c->id)) {
        answer(c, vol);
        return; /* a repeat, to a mgmtd that was started since */
    }
    cr = mem_new(sizeof *cr);
    cr->c = c;
    cr->name = command_str(c, "name");
    cfs_timer_init(c->m->host.loop, &cr->coming, look_when_here);
    cr->creating = (struct creating){
        .m = c->m, .id = uuid_new(c->m), .prep = &cr->prep};
    cfs_list_init(&cr->creating.link);
    if (read_args(cr, &cr->err) < 0 || check_witness(cr, &cr->err) < 0) {
        fail(cr);
        return;
    }
    cr->patient_until = cfs_ran(c->m->host.loop) + COMING;
    look_when_here(&cr->coming);
}
