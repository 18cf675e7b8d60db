/* SPDX-License-Identifier: Apache-2.0 */
/* volume.c - the volumes in memory: they follow the store's records. */
#include <stdio.h>

#include "mgmtd/node.h"
#include "mgmtd/silence.h"

#define WHO "volume"

struct cfs_uuid uuid_new(struct mgmtd *m)
{
    struct cfs_uuid u;

    cfs_random(m->host.loop, u.b, sizeof u.b);
    u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x40);
    u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
    return u;
}

/* -- finding ------------------------------------------------------------- */

struct volume *volume_find(struct mgmtd *m, const char *name)
{
    cfs_list_for_each(l, &m->volumes) {
        struct volume *vol = cfs_list_entry(l, struct volume, link);

        if (strcmp(vol->name, name) == 0)
            return vol;
    }
    return NULL;
}

static const char *near_name(struct mgmtd *m, const char *name)
{
    const char **words = NULL, *near;
    size_t n = 0;

    cfs_list_for_each(l, &m->volumes) {
        words = mem_grow(words, n, sizeof *words);
        words[n++] = cfs_list_entry(l, struct volume, link)->name;
    }
    words = mem_grow(words, n, sizeof *words);
    words[n] = NULL;
    near = cfs_nearest(name, words);
    free(words);
    return near;
}

int volume_need(struct mgmtd *m, const char *name, struct volume **ret,
                struct cfs_err *err)
{
    struct volume *vol = volume_find(m, name);
    const char *near;

    if (vol) {
        *ret = vol;
        return 0;
    }
    near = near_name(m, name);
    if (near)
        return cfs_err_set(err, -ENOENT, "there is no volume '%.80s'; do you "
                           "mean '%s'?", name, near);
    return cfs_err_set(err, -ENOENT, "there is no volume '%.80s'; 'clusterfs "
                       "volume list' shows all", name);
}

struct brick *brick_find(struct mgmtd *m, struct cfs_uuid id)
{
    cfs_list_for_each(l, &m->volumes) {
        struct volume *vol = cfs_list_entry(l, struct volume, link);

        for (unsigned i = 0; i < vol->n; i++)
            if (cfs_uuid_eq(vol->brick[i].id, id))
                return &vol->brick[i];
    }
    return NULL;
}

/* -- changing ------------------------------------------------------------ */

void volume_replace(struct volume *vol, json_t *rec, store_done *done,
                    void *arg)
{
    char *key = rec_volume_key(vol->name);

    store_replace(vol->m->store, key, vol->token, rec, done, arg);
    free(key);
}

/* -- waiting ------------------------------------------------------------- */

static void wait_over(struct vol_wait *w, bool in_time)
{
    struct volume *vol = w->vol;

    cfs_list_del(&w->link);
    cfs_timer_stop(&w->timer);
    cfs_timer_fini(&w->timer);
    w->done(w, in_time); /* may free w */
    volume_unref(vol);
}

static void wait_timeout(struct cfs_timer *t)
{
    wait_over(cfs_list_entry(t, struct vol_wait, timer), false);
}

/* The first wait that is ready; its done() may change anything. */
static struct vol_wait *ready_wait(struct volume *vol)
{
    cfs_list_for_each(l, &vol->waits) {
        struct vol_wait *w = cfs_list_entry(l, struct vol_wait, link);

        if (w->ready(w))
            return w;
    }
    return NULL;
}

static void look(struct cfs_task *t)
{
    struct volume *vol = volume_ref(cfs_list_entry(t, struct volume, look));
    struct vol_wait *w;

    node_tell_bricks(vol);
    view_look(vol);
    sessions_look(vol);
    presence_look(vol);
    while ((w = ready_wait(vol)))
        wait_over(w, true);
    volume_unref(vol);
}

void volume_changed(struct volume *vol)
{
    cfs_task_post(vol->m->host.loop, &vol->look);
}

void volume_wait(struct volume *vol, struct vol_wait *w, uint64_t ns,
                 bool (*ready)(struct vol_wait *),
                 void (*done)(struct vol_wait *, bool))
{
    w->vol = volume_ref(vol);
    w->ready = ready;
    w->done = done;
    cfs_list_add_tail(&vol->waits, &w->link);
    cfs_timer_init(vol->m->host.loop, &w->timer, wait_timeout);
    cfs_timer_start(&w->timer, ns);
    volume_changed(vol);
}

/* -- life ---------------------------------------------------------------- */

struct volume *volume_ref(struct volume *vol)
{
    vol->refs++;
    return vol;
}

void volume_unref(struct volume *vol)
{
    assert(vol->refs > 0);
    if (--vol->refs > 0)
        return;
    cfs_task_cancel(&vol->look);
    sessions_free(vol);
    view_fini(vol);
    presence_fini(vol);
    for (unsigned i = 0; i < vol->n; i++)
        brick_fini(&vol->brick[i]);
    json_decref(vol->rec);
    free(vol->name);
    free(vol);
}

static void take_record(struct volume *vol, json_t *rec, uint64_t token,
                        const struct rec_volume *v)
{
    json_incref(rec);
    json_decref(vol->rec);
    vol->rec = rec;
    vol->token = token;
    vol->generation = v->generation;
    vol->state = v->state;
}

static struct volume *volume_new(struct mgmtd *m, json_t *rec, uint64_t token,
                                 const struct rec_volume *v)
{
    struct volume *vol = mem_new(sizeof *vol);

    vol->m = m;
    vol->refs = 1;
    vol->name = mem_str(v->name);
    vol->id = v->id;
    vol->set = v->set;
    cfs_list_init(&vol->sessions);
    cfs_list_init(&vol->waits);
    cfs_task_init(&vol->look, look);
    take_record(vol, rec, token, v);
    vol->n = v->n_bricks;
    for (unsigned i = 0; i < vol->n; i++)
        brick_init(&vol->brick[i], vol, i, &v->brick[i]);
    view_init(vol);
    presence_init(vol);
    cfs_list_add_tail(&m->volumes, &vol->link);
    for (unsigned i = 0; i < vol->n; i++)
        node_ask_brick(&vol->brick[i]);
    return vol;
}

static void volume_drop(struct volume *vol)
{
    cfs_list_del(&vol->link);
    vol->gone = true;
    vol->state = VOL_STOPPED;
    silence_end(vol);
    for (unsigned i = 0; i < vol->n; i++)
        brick_stop(&vol->brick[i]);
    volume_changed(vol);
    volume_unref(vol);
}

/* -- following the store ------------------------------------------------- */

static int load_one(void *arg, const char *key, json_t *rec, uint64_t token,
                    struct cfs_err *err)
{
    struct mgmtd *m = arg;
    struct rec_volume v;
    int rc = rec_volume_read(rec, &v, err);

    if (rc == 0)
        rc = view_load(volume_new(m, rec, token, &v), err);
    return rc;
}

void volume_spec_changed(struct volume *vol)
{
    struct mgmt_volfile_changed msg = {
        .lineage = store_lineage(vol->m->store),
        .generation = vol->generation,
    };
    struct cfs_arena a;

    for (unsigned i = 0; i <= vol->n; i++) {
        char id[CFS_UUID_STR], *key;

        if (i < vol->n) {
            cfs_uuid_print(vol->brick[i].id, id);
            key = mem_printf("brick:%s", id);
        } else {
            key = mem_printf("volume:%s", vol->name);
        }
        msg.key = key;
        cfs_arena_init(&a);
        lines_push(vol->m, key, &rpc_to_handshake,
                   RPC_HANDSHAKE_VOLFILE_CHANGED,
                   mgmt_pack_volfile_changed(&a, &msg));
        cfs_arena_fini(&a);
        free(key);
    }
}

static void volume_record(struct store_watch *w, const char *key, json_t *rec,
                          uint64_t token)
{
    struct mgmtd *m = cfs_list_entry(w, struct mgmtd, on_volume);
    struct volume *vol = volume_find(m, key + strlen(w->prefix));
    struct cfs_err err = {0};
    struct rec_volume v;
    bool ran;

    if (rec && rec_volume_read(rec, &v, &err) < 0) {
        cfs_log_error(m->host.log, WHO, "%s", err.text);
        return;
    }
    /* Deleted, or made anew under the same name. */
    if (vol && (!rec || !cfs_uuid_eq(v.id, vol->id))) {
        volume_drop(vol);
        vol = NULL;
    }
    if (!rec)
        return;
    ran = vol && vol->state == VOL_STARTED;
    if (vol)
        take_record(vol, rec, token, &v);
    else
        vol = volume_new(m, rec, token, &v);
    if (ran && vol->state == VOL_STARTED)
        volume_spec_changed(vol);
    cfs_log_info(m->host.log, WHO, "volume %s is %s, generation %llu",
                 vol->name, vol_state_str(vol->state),
                 (unsigned long long)vol->generation);
    volume_reconcile(vol);
}

static void view_record(struct store_watch *w, const char *key, json_t *rec,
                        uint64_t token)
{
    struct mgmtd *m = cfs_list_entry(w, struct mgmtd, on_view);
    struct cfs_uuid set;
    struct cfs_err err = {0};

    if (!rec || cfs_uuid_parse(key + strlen(w->prefix), &set) < 0)
        return;
    cfs_list_for_each(l, &m->volumes) {
        struct volume *vol = cfs_list_entry(l, struct volume, link);

        if (!cfs_uuid_eq(vol->set, set))
            continue;
        if (view_load(vol, &err) < 0)
            cfs_log_error(m->host.log, WHO, "%s", err.text);
        return;
    }
}

int volumes_load(struct mgmtd *m, struct cfs_err *err)
{
    int rc = store_range(m->store, "volume/", load_one, m, err);

    if (rc < 0)
        return rc;
    m->on_volume.prefix = "volume/";
    m->on_volume.changed = volume_record;
    m->on_view.prefix = "view/";
    m->on_view.changed = view_record;
    store_watch(m->store, &m->on_volume);
    store_watch(m->store, &m->on_view);
    specs_watch(m);
    return 0;
}

/* At the end. Who waits for an answer that does not come any more keeps its
 * volume; what the loop holds must be closed all the same, for else it would
 * never end. */
void volumes_close(struct mgmtd *m)
{
    struct cfs_list *l;

    while ((l = cfs_list_pop(&m->volumes))) {
        struct volume *vol = cfs_list_entry(l, struct volume, link);

        silence_end(vol);
        sessions_let_go(vol);
        for (unsigned i = 0; i < vol->n; i++)
            brick_let_go(&vol->brick[i]);
        volume_unref(vol);
    }
}

void volume_reconcile(struct volume *vol)
{
    for (unsigned i = 0; i < vol->n; i++) {
        if (vol->state == VOL_STARTED)
            brick_start(&vol->brick[i]);
        else
            brick_stop(&vol->brick[i]);
    }
    volume_changed(vol);
}
