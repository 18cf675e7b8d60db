/* SPDX-License-Identifier: Apache-2.0 */
/* engine.c - see engine.h: the start, whom to ask, this node's own etcd. */
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mgmtd/engine_impl.h"
#include "mgmtd/trust.h"

#define WHO "engine"

/* -- small things --------------------------------------------------------- */

json_t *voter_of(const json_t *rec, const char *node)
{
    return json_object_get(json_object_get(rec, "voters"), node);
}

bool voter_is(const json_t *voter, const char *state)
{
    const char *s = json_string_value(json_object_get(voter, "state"));

    return s && strcmp(s, state) == 0;
}

json_t *record_new(struct engine *e, uint64_t lineage, const char *token)
{
    return mem_ok(json_pack("{s:i,s:I,s:I,s:s,s:{},s:[],s:[]}", "v",
                            REC_VERSION, "serial",
                            (json_int_t)e->rec_serial + 1, "lineage",
                            (json_int_t)lineage, "token", token, "voters",
                            "past", "leaving"));
}

char *engine_token(struct engine *e, uint64_t lineage)
{
    char id[CFS_UUID_STR];
    uint32_t salt;

    cfs_uuid_print(e->m->cluster, id);
    cfs_random(e->m->host.loop, &salt, sizeof salt);
    return mem_printf("cfs-%s-%" PRIu64 "-%08x", id, lineage, salt);
}

const char *engine_host(struct engine *e)
{
    struct peer *self = peer_find(e->m, e->m->node);

    return self && self->host && *self->host ? self->host : "127.0.0.1";
}

/* -- the directory -------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    remove(path);
    return 0;
}

static void put_aside_now(struct engine *e)
{
    char *aside = mem_printf("%s.aside", e->proc.dir);

    e->aside = false;
    if (access(e->proc.dir, F_OK) == 0) {
        nftw(aside, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        if (rename(e->proc.dir, aside) == 0)
            cfs_log_warning(e->m->host.log, WHO, "what was in %s is now in %s",
                            e->proc.dir, aside);
        else
            cfs_log_error(e->m->host.log, WHO, "%s cannot be renamed: %s",
                          e->proc.dir, strerror(errno));
    }
    free(aside);
}

void engine_put_aside(struct engine *e)
{
    etcd_proc_adopt(&e->proc);
    if (e->proc.state == ETCD_NONE) {
        put_aside_now(e);
        return;
    }
    e->aside = true;
    etcd_proc_stop(&e->proc);
}

void engine_check_dir(struct engine *e)
{
    uint64_t member = mark_member(e), least = index_read(e, member);
    const char *dir = e->proc.dir;
    struct etcd_dir d = {0};
    struct cfs_err err = {0};
    char before[sizeof e->wiped];

    memcpy(before, e->wiped, sizeof before);
    e->wiped[0] = '\0';
    if (etcd_dir_look(dir, &d, &err) < 0)
        snprintf(e->wiped, sizeof e->wiped, "%s", err.text);
    else if (!d.there && !mark_is_fresh(e))
        snprintf(e->wiped, sizeof e->wiped, "%.200s, the directory of this "
                 "node's etcd, is gone or empty", dir);
    else if (d.there && d.member != member)
        snprintf(e->wiped, sizeof e->wiped, "%.200s is not this node's: it is "
                 "of etcd member %016" PRIx64 ", this node is %016" PRIx64,
                 dir, d.member, member);
    else if (d.there && d.index < least)
        snprintf(e->wiped, sizeof e->wiped, "%.200s was put back from an old "
                 "copy: it ends at %" PRIu64 ", but had got to %" PRIu64
                 " at least", dir, d.index, least);
    if (e->wiped[0] && strcmp(e->wiped, before) != 0)
        cfs_log_error(e->m->host.log, WHO, "%s; etcd is not started on it",
                      e->wiped);
}

/* The directory is this member's from now on: lost, it is missed. */
static void no_longer_fresh(struct engine *e)
{
    struct cfs_err err = {0};
    struct etcd_dir d;
    json_t *next;

    if (!mark_is_fresh(e) || etcd_dir_look(e->proc.dir, &d, NULL) < 0 ||
        !d.there || d.member != mark_member(e))
        return;
    next = mark_copy(e);
    json_object_del(next, "fresh");
    json_object_del(next, "initial");
    if (mark_save(e, next, &err) < 0)
        cfs_log_error(e->m->host.log, WHO, "%s", err.text);
    etcd_proc_first(&e->proc, NULL, NULL, false);
}

void engine_start_etcd(struct engine *e)
{
    const json_t *initial = json_object_get(e->mark, "initial");
    struct cfs_err err = {0};

    if (!mark_is_etcd(e) || mark_member(e) == 0 || e->aside ||
        e->proc.state != ETCD_NONE)
        return;
    etcd_proc_name(&e->proc, e->m->node, engine_host(e));
    if (!etcd_proc_adopt(&e->proc)) {
        engine_check_dir(e);
        if (e->wiped[0])
            return;
        if (mark_is_fresh(e))
            etcd_proc_first(&e->proc,
                            json_string_value(
                                json_object_get(initial, "cluster")),
                            json_string_value(
                                json_object_get(initial, "token")), true);
        if (etcd_proc_start(&e->proc, &err) < 0) {
            cfs_log_error(e->m->host.log, WHO, "%s", err.text);
            snprintf(e->problem, sizeof e->problem, "%s", err.text);
        }
    }
}

/* A leader knows how far each member got, and a member that is told of more
 * than it has ends at once: whatever our own note says (it may be as old),
 * this directory is an old copy. */
static void note_old_copy(struct engine *e)
{
    const char *said = strstr(e->proc.reason, "tocommit(");
    struct cfs_err err = {0};
    uint64_t got, has;

    if (!said || sscanf(said, "tocommit(%" SCNu64 ") is out of range "
                        "[lastIndex(%" SCNu64 ")]", &got, &has) != 2 ||
        has >= got)
        return;
    if (index_put(e, got, &err) < 0)
        cfs_log_error(e->m->host.log, WHO, "%s", err.text); /* it ends again */
}

static void on_process_ended(void *arg)
{
    struct engine *e = arg;

    e->answers = false;
    if (e->go)
        go_process_ended(e);
    else if (e->aside && e->proc.state == ETCD_NONE) {
        put_aside_now(e);
        engine_start_etcd(e); /* if it is a member again */
    } else if (e->aside)
        etcd_proc_stop(&e->proc);
    else if (e->proc.state == ETCD_WAITING) {
        note_old_copy(e);
        engine_check_dir(e);
        if (e->wiped[0])
            etcd_proc_stop(&e->proc);
    } else if (e->running && !e->wiped[0])
        engine_start_etcd(e); /* it was ended to be started anew */
}

/* -- whom to ask ---------------------------------------------------------- */

static void add_url(struct etcd_target *to, const char *url, const char *name)
{
    if (!url || to->n == ETCD_TARGETS || strlen(url) >= sizeof to->url[0])
        return;
    for (unsigned i = 0; i < to->n; i++)
        if (strcmp(to->url[i], url) == 0)
            return;
    snprintf(to->name[to->n], sizeof to->name[0], "%s", name);
    strcpy(to->url[to->n++], url);
}

/* The node that offers @url, by the record; "". */
static const char *node_at(struct engine *e, const char *url)
{
    const char *name;
    json_t *v;

    json_object_foreach(json_object_get(e->rec, "voters"), name, v) {
        const char *client = json_string_value(json_object_get(v, "client"));

        if (client && url && strcmp(client, url) == 0)
            return name;
    }
    return "";
}

static void target_files(struct engine *e, struct etcd_target *to)
{
    const char *dir = e->proc.trust;

    *to = (struct etcd_target){0};
    snprintf(to->ca, sizeof to->ca, "%s/node-ca.crt", dir);
    snprintf(to->cert, sizeof to->cert, "%s/node.crt", dir);
    snprintf(to->key, sizeof to->key, "%s/node.key", dir);
    snprintf(to->crl, sizeof to->crl, "%s/node.crl", dir);
}

/* This node's own etcd, by the loopback: whatever its network does. */
static char *own_url(struct engine *e)
{
    return etcd_client_url("127.0.0.1", e->m->host.port);
}

static bool is_voting(const json_t *voter)
{
    return voter_is(voter, "voter") || voter_is(voter, "leaving");
}

static void make_target(struct engine *e)
{
    const json_t *urls = json_object_get(e->mark, "voters"), *u;
    const char *node = mark_str(e, "node"); /* m->node comes later */
    char *own = own_url(e);
    size_t i;

    target_files(e, &e->target);
    if (is_voting(voter_of(e->rec, node)) && mark_member(e))
        add_url(&e->target, own, node);
    free(own);
    json_array_foreach(urls, i, u) {
        const char *url = json_string_value(u), *name = node_at(e, url);

        /* Ours is there already, by another name. */
        if (e->target.n == 0 || strcmp(name, node) != 0)
            add_url(&e->target, url, name);
    }
}

/* The voters' client URLs by the record; NULL: it names none. */
static json_t *voters_by_record(const struct engine *e)
{
    json_t *urls = mem_ok(json_array());
    const char *name;
    json_t *v;

    json_object_foreach(json_object_get(e->rec, "voters"), name, v)
        if (is_voting(v) && strcmp(name, e->m->node) != 0)
            json_array_append(urls, json_object_get(v, "client"));
    v = voter_of(e->rec, e->m->node);
    if (is_voting(v))
        json_array_append(urls, json_object_get(v, "client"));
    if (json_array_size(urls) > 0)
        return urls;
    json_decref(urls);
    return NULL;
}

void engine_go_home(struct engine *e)
{
    char *own = own_url(e);

    if (e->client && e->target.n > 0 &&
        strcmp(e->target.url[0], own) == 0) {
        etcd_client_go_home(e->client);
        store_go_home(e->m->store);
    }
    free(own);
}

void engine_retarget(struct engine *e)
{
    json_t *urls = voters_by_record(e), *next;
    struct cfs_err err = {0};

    if (!mark_is_etcd(e)) {
        json_decref(urls);
        return;
    }
    if (urls && !json_equal(urls, json_object_get(e->mark, "voters"))) {
        next = mark_copy(e);
        json_object_set(next, "voters", urls);
        if (mark_save(e, next, &err) < 0)
            cfs_log_error(e->m->host.log, WHO, "%s", err.text);
    }
    json_decref(urls);
    make_target(e);
    store_retarget(e->m->store, &e->target);
    if (e->client)
        etcd_client_retarget(e->client, &e->target);
}

int engine_connect(struct engine *e, struct cfs_err *err)
{
    struct cfs_loop *loop = e->m->host.loop;
    struct etcd_target self;
    char *own = own_url(e);
    int rc = 0;

    target_files(e, &self);
    add_url(&self, own, e->m->node);
    free(own);
    if (!e->self)
        rc = etcd_client_new(loop, e->m->host.log, &self, &e->self, err);
    if (rc == 0 && !e->client && mark_is_etcd(e))
        rc = etcd_client_new(loop, e->m->host.log, &e->target, &e->client,
                             err);
    return rc;
}

void engine_trust_changed(struct mgmtd *m)
{
    struct engine *e = m->engine;

    if (e->client)
        engine_retarget(e);
    etcd_client_free(e->self);
    e->self = NULL;
    if (mark_is_etcd(e))
        engine_connect(e, NULL);
}

/* -- the record ----------------------------------------------------------- */

/* The record names another member of ours, or none, and is newer than what we
 * were told when we became one. */
static bool was_removed(const struct engine *e)
{
    uint64_t since = hex_of(e->mark, "since");

    return mark_member(e) && e->rec && e->rec_serial >= since &&
           hex_of(voter_of(e->rec, e->m->node), "member") != mark_member(e);
}

static void forget_member(struct engine *e)
{
    struct cfs_err err = {0};
    json_t *next = mark_copy(e);

    cfs_log_info(e->m->host.log, WHO, "this node's etcd is no member any "
                 "more");
    json_object_del(next, "member");
    json_object_del(next, "fresh");
    json_object_del(next, "initial");
    if (mark_save(e, next, &err) < 0) {
        cfs_log_error(e->m->host.log, WHO, "%s", err.text);
        return;
    }
    e->wiped[0] = '\0';
    engine_put_aside(e);
}

void engine_load_record(struct engine *e)
{
    struct cfs_err err = {0};
    json_t *rec = NULL;
    uint64_t token = 0;

    if (store_get(e->m->store, REC_ENGINE, &rec, &token, &err) < 0 &&
        err.code != -ENOENT)
        cfs_log_error(e->m->host.log, WHO, "%s", err.text);
    json_decref(e->rec);
    e->rec = rec;
    e->rec_token = token;
    e->rec_serial = (uint64_t)json_integer_value(
        json_object_get(rec, "serial"));
    if (!mark_is_etcd(e) || e->go)
        return;
    members_record_changed(e);
    if (was_removed(e))
        forget_member(e);
    engine_retarget(e);
    members_look(e, 100 * CFS_MS);
}

static void on_record(struct store_watch *w, const char *key, json_t *value,
                      uint64_t token)
{
    if (strcmp(key, REC_ENGINE) == 0)
        engine_load_record(cfs_list_entry(w, struct engine, watch));
}

/* -- opening -------------------------------------------------------------- */

/* Names of the SQLite file and what goes with it. */
static void store_aside(struct engine *e)
{
    static const char *const ends[] = {"", "-wal", "-shm"};

    for (size_t i = 0; i < CFS_ARRAY_SIZE(ends); i++) {
        char *from = mem_printf("%s/store.db%s", e->m->host.dirs.state,
                                ends[i]);
        char *to = mem_printf("%s/store.aside%s", e->m->host.dirs.state,
                              ends[i]);

        rename(from, to);
        free(from);
        free(to);
    }
}

/* After a detach, once. */
static int finish_forgetting(struct engine *e, struct cfs_err *err)
{
    json_t *next;

    if (!json_is_true(json_object_get(e->mark, "forget")))
        return 0;
    store_aside(e);
    engine_put_aside(e);
    next = mem_ok(json_pack("{s:i,s:s,s:s}", "v", 1, "engine", "sqlite",
                            "node", mark_str(e, "node")));
    return mark_save(e, next, err);
}

static int open_by_mark(struct engine *e, struct cfs_err *err)
{
    struct mgmtd *m = e->m;

    if (!mark_is_etcd(e))
        return store_open_sqlite(m->host.loop, m->host.log, m->host.dirs.state,
                                 &m->store, err);
    make_target(e);
    return store_open_etcd(m->host.loop, m->host.log, m->host.dirs.state,
                           mark_lineage(e), &e->target, &m->store, err);
}

/* The marker is read before the directory is locked (which the store does),
 * and its last owner may have been in the middle of something: look again. */
static int open_store(struct engine *e, struct cfs_err *err)
{
    for (;;) {
        char *before;
        bool same;
        int rc = mark_read(e, err);

        if (rc == -ENOENT) {
            *err = (struct cfs_err){0};
            rc = 0;
        }
        if (rc == 0)
            rc = home_check_machine(e, err);
        if (rc == 0)
            rc = finish_forgetting(e, err);
        if (rc == 0)
            rc = reborn_finish(e, err);
        if (rc == 0)
            rc = open_by_mark(e, err);
        if (rc < 0)
            return rc;
        before = mem_str(mark_str(e, "sum"));
        rc = mark_read(e, err);
        if (rc == -ENOENT)
            *err = (struct cfs_err){0};
        same = strcmp(before, mark_str(e, "sum")) == 0;
        free(before);
        if (rc < 0 && rc != -ENOENT)
            return rc;
        if (same)
            return 0;
        store_close(e->m->store);
        e->m->store = NULL;
    }
}

/* A store from before there were markers names the node itself. */
static const char *node_name(struct engine *e, json_t **ret_rec)
{
    const char *name = mark_str(e, "node");

    *ret_rec = NULL;
    if (*name)
        return name;
    if (store_get(e->m->store, REC_CLUSTER, ret_rec, NULL, NULL) == 0)
        name = json_string_value(json_object_get(*ret_rec, "node"));
    return name && *name ? name : cfs_node_name();
}

static int identify(struct engine *e, struct cfs_err *err)
{
    struct mgmtd *m = e->m;
    char machine[CFS_UUID_STR] = "";
    json_t *rec, *next;
    bool known, noted;
    int rc = 0;

    m->node = mem_str(node_name(e, &rec));
    json_decref(rec);
    known = cfs_uuid_parse(mark_str(e, "id"), &m->node_id) == 0 &&
            cfs_uuid_parse(mark_str(e, "cluster"), &m->cluster) == 0;
    noted = !home_machine(machine) || *mark_str(e, "machine");
    if (known && noted)
        return 0;
    next = mark_copy(e);
    if (!known) {
        m->node_id = uuid_new(m);
        m->cluster = uuid_new(m);
    }
    if (!noted)
        json_object_set_new(next, "machine", mem_ok(json_string(machine)));
    if (!*mark_str(e, "engine"))
        json_object_set_new(next, "engine", mem_ok(json_string("sqlite")));
    json_object_set_new(next, "node", mem_ok(json_string(m->node)));
    json_object_set_new(next, "id", rec_json_uuid(m->node_id));
    json_object_set_new(next, "cluster", rec_json_uuid(m->cluster));
    rc = mark_save(e, next, err);
    return rc;
}

static void on_look(struct cfs_timer *t)
{
    struct engine *e = cfs_list_entry(t, struct engine, look);

    no_longer_fresh(e);
    members_on_timer(e);
}

int engine_open(struct mgmtd *m, struct cfs_err *err)
{
    struct engine *e = mem_new(sizeof *e);
    char *trust = mem_printf("%s/trust", m->host.dirs.state);
    int rc;

    m->engine = e;
    e->m = m;
    e->mark_path = mem_printf("%s/engine.json", m->host.dirs.state);
    etcd_proc_init(&e->proc, &m->host, trust);
    if (m->etcd_quota)
        e->proc.quota = m->etcd_quota;
    e->proc.ended = on_process_ended;
    e->proc.arg = e;
    cfs_timer_init(m->host.loop, &e->look, on_look);
    home_init(e);
    cfs_list_init(&e->removals);
    free(trust);
    rc = open_store(e, err);
    return rc < 0 ? rc : identify(e, err);
}

void engine_run(struct mgmtd *m)
{
    struct engine *e = m->engine;
    struct cfs_err err = {0};

    e->running = true;
    e->heard = cfs_ran(m->host.loop);
    e->watch.prefix = REC_ENGINE;
    e->watch.changed = on_record;
    store_watch(m->store, &e->watch);
    home_run(e);
    if (!mark_is_etcd(e)) {
        engine_load_record(e);
        cluster_found_again(m);
        return;
    }
    if (engine_connect(e, &err) < 0)
        cfs_log_error(m->host.log, WHO, "%s", err.text);
    engine_start_etcd(e);
    engine_load_record(e);
}

static bool index_is_written(void *arg)
{
    return !((struct engine *)arg)->index_busy;
}

void engine_end(struct mgmtd *m)
{
    struct engine *e = m->engine;

    if (!e)
        return;
    e->over = true;
    cfs_timer_stop(&e->look);
    cfs_timer_stop(&e->home);
    if (e->running)
        store_unwatch(&e->watch);
    go_end(e);
    /* Their requests end without an answer. */
    etcd_client_free(e->client);
    etcd_client_free(e->self);
    e->client = e->self = NULL;
    if (e->index_busy)
        cfs_loop_run_until(m->host.loop, index_is_written, e);
}

void engine_close(struct mgmtd *m)
{
    struct engine *e = m->engine;

    if (!e)
        return;
    go_close(e);
    members_close(e);
    step_close(e);
    space_close(e);
    etcd_proc_fini(&e->proc);
    cfs_timer_fini(&e->look);
    cfs_timer_fini(&e->home);
    json_decref(e->rec);
    json_decref(e->mark);
    free(e->mark_path);
    free(e);
    m->engine = NULL;
}

/* -- joining, leaving ----------------------------------------------------- */

bool engine_is_nobodys(const struct mgmtd *m)
{
    const struct engine *e = m->engine;

    if (json_object_get(e->mark, "superseded"))
        return true;
    return !m->founded && !mark_is_etcd(e);
}

int engine_note_joining(struct mgmtd *m, json_t *what, struct cfs_err *err)
{
    json_t *next = mark_copy(m->engine);

    if (what)
        json_object_set_new(next, "joining", what);
    else
        json_object_del(next, "joining");
    return mark_save(m->engine, next, err);
}

const json_t *engine_joining(const struct mgmtd *m)
{
    return json_object_get(m->engine->mark, "joining");
}

json_t *engine_info(struct mgmtd *m)
{
    struct engine *e = m->engine;
    json_t *urls = voters_by_record(e);

    return mem_ok(json_pack("{s:o,s:I,s:s,s:o}", "cluster",
                            rec_json_uuid(m->cluster), "lineage",
                            (json_int_t)store_lineage(m->store), "token",
                            mark_str(e, "token"), "voters",
                            urls ? urls : json_array()));
}

static int check_info(const json_t *info, struct cfs_uuid *ret_cluster,
                      struct cfs_err *err)
{
    const json_t *urls = json_object_get(info, "voters"), *u;
    bool bad = json_array_size(urls) == 0 ||
               json_array_size(urls) > ETCD_TARGETS ||
               !json_is_string(json_object_get(info, "token")) ||
               json_integer_value(json_object_get(info, "lineage")) < 1;
    size_t i;

    json_array_foreach(urls, i, u) {
        const char *s = json_string_value(u);

        bad |= !s || strncmp(s, "https://", 8) != 0 || strlen(s) >= 300;
    }
    if (bad || rec_uuid(info, "what to follow", "cluster", ret_cluster,
                        NULL) < 0)
        return cfs_err_set(err, -EBADMSG, "the cluster's member said in no "
                           "known form which etcd to follow; is it of another "
                           "version?");
    return 0;
}

int engine_follow(struct mgmtd *m, const json_t *info, struct cfs_err *err)
{
    static const char *const fields[] = {"cluster", "lineage", "token",
                                         "voters"};
    static const char *const over[] = {"joining", "member", "fresh", "initial",
                                       "since", "superseded"};
    struct engine *e = m->engine;
    struct cfs_uuid cluster;
    json_t *next;
    int rc = check_info(info, &cluster, err);

    if (rc < 0)
        return rc;
    next = mark_copy(e);
    json_object_set_new(next, "engine", mem_ok(json_string("etcd")));
    for (size_t i = 0; i < CFS_ARRAY_SIZE(fields); i++)
        json_object_set(next, fields[i], json_object_get(info, fields[i]));
    for (size_t i = 0; i < CFS_ARRAY_SIZE(over); i++)
        json_object_del(next, over[i]);
    rc = mark_save(e, next, err);
    if (rc < 0)
        return rc;
    engine_put_aside(e);
    e->wiped[0] = '\0';
    m->cluster = cluster;
    m->founded = true;
    make_target(e);
    rc = store_follow_etcd(m->store, &e->target, mark_lineage(e), err);
    if (rc == 0)
        rc = engine_connect(e, err);
    if (rc == 0)
        engine_retarget(e);
    return rc;
}

int engine_forget(struct mgmtd *m, struct cfs_err *err)
{
    struct engine *e = m->engine;
    json_t *next = mark_copy(e);
    int rc;

    json_object_set_new(next, "forget", json_true());
    rc = mark_save(e, next, err);
    if (rc < 0)
        return rc;
    etcd_proc_stop(&e->proc);
    mgmtd_start_anew(m);
    return 0;
}

void engine_superseded(struct mgmtd *m, uint64_t lineage)
{
    struct engine *e = m->engine;
    struct cfs_err err = {0};
    json_t *next;

    if (json_object_get(e->mark, "superseded"))
        return;
    cfs_log_error(m->host.log, WHO, "the cluster has begun a new life, number "
                  "%" PRIu64 ", and this node is of number %" PRIu64 ": it "
                  "must join again (see: clusterfs cluster status)", lineage,
                  store_lineage(m->store));
    next = mark_copy(e);
    json_object_set_new(next, "superseded",
                        json_integer((json_int_t)lineage));
    json_object_del(next, "member");
    if (mark_save(e, next, &err) < 0)
        cfs_log_error(m->host.log, WHO, "%s", err.text);
    engine_put_aside(e);
}
