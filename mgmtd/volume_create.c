/* SPDX-License-Identifier: Apache-2.0 */
/* volume_create.c - the verb: check, look at the devices, make them bricks,
 * and then, in one transaction, the volume.
 *
 *     args -> prep_look() -> free? reserved -> prep_make() -> commit
 *
 * Before the transaction there is no volume, and whatever was made is taken
 * back when a step fails. If mgmtd is killed there, image files remain that
 * belong to no volume; the next create says so, and --force takes them.
 */
#include <ctype.h>
#include <stdio.h>

#include "mgmtd/engine.h"
#include "mgmtd/mgmtd.h"
#include "mgmtd/prepare.h"
#include "volfiles/voption.h"

struct create {
    struct command *c;
    const char     *name;
    uint64_t        replica; /* 0: not said */
    json_t         *options; /* borrowed from the command, or own empty one */
    struct prep     prep;
    struct cfs_list link; /* in mgmtd.preparing, from prep_look() on */
    struct cfs_job  job;
    bool            founding; /* the transaction makes the cluster, too */
    int             status;
    struct cfs_err  err;
};

/* -- the arguments ------------------------------------------------------- */

static int check_name(const char *name, struct cfs_err *err)
{
    size_t len = strlen(name);
    bool ok = len > 0 && len <= REC_NAME_MAX &&
              isalnum((unsigned char)name[0]);

    for (size_t i = 0; i < len && ok; i++)
        ok = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]);
    if (!ok)
        return cfs_err_set(err, -EINVAL, "'%.80s' cannot name a volume: 1 to "
                           "%u letters, digits, '-', '_' and '.', the first "
                           "a letter or digit", name, REC_NAME_MAX);
    return 0;
}

static bool is_this_node(const struct mgmtd *m, const char *host, size_t len)
{
    const char *const names[] = {m->node, cfs_node_name(), "localhost",
                                 "127.0.0.1", "[::1]"};

    for (size_t i = 0; i < CFS_ARRAY_SIZE(names); i++)
        if (strlen(names[i]) == len && strncmp(names[i], host, len) == 0)
            return true;
    return false;
}

/* "HOST:/PATH" into @b. */
static int parse_brick(const struct mgmtd *m, const char *text,
                       struct prep_brick *b, struct cfs_err *err)
{
    const char *colon = strstr(text, ":/");

    if (!colon || colon == text)
        return cfs_err_set(err, -EINVAL, "brick '%.200s': expected HOST:/PATH, "
                           "such as %s:/srv/brick.img", text, m->node);
    if (!is_this_node(m, text, (size_t)(colon - text)))
        return cfs_err_set(err, -EINVAL, "brick '%.200s': '%.*s' is not this "
                           "node, and other nodes cannot join yet; say %s, "
                           "localhost or 127.0.0.1", text,
                           (int)(colon - text), text, m->node);
    if (strlen(colon + 1) >= 4096)
        return cfs_err_set(err, -ENAMETOOLONG, "a brick's path is longer than "
                           "4095 bytes");
    b->path = mem_str(colon + 1);
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
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_args(struct create *cr, struct cfs_err *err)
{
    struct mgmtd *m = cr->c->m;
    json_t *bricks = json_object_get(cr->c->args, "bricks");
    size_t n = json_array_size(bricks);
    int rc = check_name(cr->name, err);

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
    cfs_list_del(&cr->link);
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

static void undo_work(struct cfs_job *job)
{
    prep_undo(&cfs_list_entry(job, struct create, job)->prep);
}

static void undo_done(struct cfs_job *job)
{
    fail(cfs_list_entry(job, struct create, job));
}

static void commit(struct create *cr);

static void on_committed(void *arg, int status, const struct cfs_err *err)
{
    struct create *cr = arg;
    struct command *c = cr->c;
    struct volume *vol;
    json_t *result;

    if (status == -CFS_E_CONFLICT && cr->founding && c->m->founded) {
        commit(cr); /* another first one founded the cluster */
        return;
    }
    if (status < 0) {
        if (status == -CFS_E_CONFLICT)
            cfs_err_set(&cr->err, status, "volume %s, or one of its bricks, "
                        "was made by somebody else meanwhile", cr->name);
        else
            cr->err = *err;
        cfs_job_run(c->m->host.loop, &cr->job, undo_work, undo_done);
        return;
    }
    c->m->founded = true;
    vol = volume_find(c->m, cr->name);
    result = mem_ok(json_pack("{s:s,s:o}", "name", cr->name, "id",
                              vol ? rec_json_uuid(vol->id) : json_null()));
    create_free(cr);
    command_ok(c, result);
}

/* -- the record ---------------------------------------------------------- */

static void put_brick(struct store_txn *t, const struct create *cr,
                      const struct prep_brick *b)
{
    char *key = rec_brick_key(cr->c->m->node, b->canonical);
    json_t *rec = mem_ok(json_pack("{s:i,s:s,s:o}", "v", REC_VERSION,
                                   "volume", cr->name, "brick",
                                   rec_json_uuid(b->id)));

    store_txn_if_absent(t, key);
    store_txn_put(t, key, rec);
    json_decref(rec);
    free(key);
}

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
        cfs_job_run(m->host.loop, &cr->job, undo_work, undo_done);
        return;
    }
    key = rec_volume_key(cr->name);
    for (unsigned i = 0; i < cr->prep.n; i++) {
        const struct prep_brick *b = &cr->prep.brick[i];

        v.brick[i] = (struct rec_brick){b->id, m->node, b->path, b->size};
        put_brick(t, cr, b);
    }
    rec = rec_volume_new(&v, cr->prep.now.sec);
    rec_volume_need_secret(m->host.loop, rec);
    store_txn_if_absent(t, key);
    store_txn_put(t, key, rec);
    json_decref(rec);
    free(key);
    store_commit(m->store, t, on_committed, cr);
}

/* -- the devices --------------------------------------------------------- */

static void make_work(struct cfs_job *job)
{
    struct create *cr = cfs_list_entry(job, struct create, job);

    cr->status = prep_make(&cr->prep, &cr->err);
}

static void make_done(struct cfs_job *job)
{
    struct create *cr = cfs_list_entry(job, struct create, job);

    if (cr->status < 0)
        fail(cr);
    else
        commit(cr);
}

/* Whether another create works on the same device. */
static bool is_reserved(const struct create *cr, const char *path)
{
    cfs_list_for_each(l, &cr->c->m->preparing) {
        struct create *other = cfs_list_entry(l, struct create, link);

        for (unsigned i = 0; i < other->prep.n && other != cr; i++)
            if (strcmp(other->prep.brick[i].canonical, path) == 0)
                return true;
    }
    return false;
}

static int check_free(struct create *cr, const struct prep_brick *b,
                      struct cfs_err *err)
{
    char *key = rec_brick_key(cr->c->m->node, b->canonical);
    json_t *rec;
    int rc;

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
    if (rc == 0) {
        const char *name = json_string_value(json_object_get(rec, "volume"));

        rc = cfs_err_set(err, -CFS_E_IN_USE, "%s is a brick of volume %s "
                         "already", b->path, name ? name : "?");
        json_decref(rec);
    }
    return rc;
}

static void look_work(struct cfs_job *job)
{
    struct create *cr = cfs_list_entry(job, struct create, job);

    cr->status = prep_look(&cr->prep, &cr->err);
}

static void look_done(struct cfs_job *job)
{
    struct create *cr = cfs_list_entry(job, struct create, job);
    struct mgmtd *m = cr->c->m;

    for (unsigned i = 0; i < cr->prep.n && cr->status == 0; i++)
        cr->status = check_free(cr, &cr->prep.brick[i], &cr->err);
    if (cr->status < 0) {
        fail(cr);
        return;
    }
    cfs_list_add_tail(&m->preparing, &cr->link);
    cr->prep.cluster = m->cluster;
    cfs_job_run(m->host.loop, &cr->job, make_work, make_done);
}

void volume_create(struct command *c)
{
    struct create *cr = mem_new(sizeof *cr);

    cr->c = c;
    cr->name = command_str(c, "name");
    cfs_list_init(&cr->link);
    if (read_args(cr, &cr->err) < 0) {
        fail(cr);
        return;
    }
    cfs_job_run(c->m->host.loop, &cr->job, look_work, look_done);
}
