/* SPDX-License-Identifier: Apache-2.0 */
/* volume_show.c - the verbs that only look: list, info, status. Without a
 * name they show all volumes, as an array; with one that one, as an object.
 *
 * list and info come from the records. status asks every brick that is here,
 * and shows what the others said last as old.
 */
#include <stdio.h>

#include "mgmtd/node.h"

#define ANSWER_MS 2000u

/* What each verb shows of a volume. */
typedef json_t *show(struct volume *vol);

static void answer(struct command *c, show *show_one)
{
    const char *name = command_str(c, "name");
    struct cfs_err err = {0};
    struct volume *vol;
    json_t *all;

    if (*name) {
        if (volume_need(c->m, name, &vol, &err) < 0)
            command_fail(c, &err);
        else
            command_ok(c, show_one(vol));
        return;
    }
    all = mem_ok(json_array());
    cfs_list_for_each(l, &c->m->volumes) {
        struct volume *one = cfs_list_entry(l, struct volume, link);

        if (command_sees(c, one))
            json_array_append_new(all, show_one(one));
    }
    command_ok(c, all);
}

static void set(json_t *to, const char *key, json_t *value)
{
    json_object_set_new(to, key, mem_ok(value));
}

static void set_u64(json_t *to, const char *key, uint64_t n)
{
    set(to, key, json_integer((json_int_t)n));
}

/* Text that came from outside may be no UTF-8; JSON must be. */
static void set_text(json_t *to, const char *key, const char *text)
{
    json_t *s = json_string(text);
    char *ascii;

    if (!s) {
        ascii = mem_str(text);
        for (char *p = ascii; *p; p++)
            if ((unsigned char)*p >= 0x80)
                *p = '?';
        s = json_string(ascii);
        free(ascii);
    }
    set(to, key, s);
}

/* -- list, info ---------------------------------------------------------- */

static json_t *heading(struct volume *vol)
{
    json_t *o = mem_ok(json_object());

    set_text(o, "name", vol->name);
    set(o, "id", rec_json_uuid(vol->id));
    set_text(o, "state", vol_state_str(vol->state));
    set_u64(o, "replica", vol->n);
    return o;
}

static json_t *brick_heading(const struct brick *b)
{
    json_t *o = mem_ok(json_object());
    char *where = mem_printf("%s:%s", b->node, b->path);

    set_text(o, "brick", where);
    set(o, "id", rec_json_uuid(b->id));
    set_text(o, "host", b->node);
    set_text(o, "path", b->path);
    set_u64(o, "size", b->size);
    free(where);
    return o;
}

static json_t *list_one(struct volume *vol)
{
    json_t *o = heading(vol);

    set_u64(o, "bricks", vol->n);
    return o;
}

static json_t *info_one(struct volume *vol)
{
    json_t *o = heading(vol), *bricks = mem_ok(json_array());
    json_t *options = json_object_get(vol->rec, "options");

    for (unsigned i = 0; i < vol->n; i++)
        json_array_append_new(bricks, brick_heading(&vol->brick[i]));
    set_u64(o, "generation", vol->generation);
    set_u64(o, "lineage", store_lineage(vol->m->store));
    set(o, "set", rec_json_uuid(vol->set));
    json_object_set(o, "created", json_object_get(vol->rec, "created"));
    if (options)
        json_object_set(o, "options", options);
    set(o, "bricks", bricks);
    return o;
}

void volume_list(struct command *c)
{
    answer(c, list_one);
}

void volume_info(struct command *c)
{
    answer(c, info_one);
}

/* -- status -------------------------------------------------------------- */

static const char *brick_state(const struct volume *vol, const struct brick *b)
{
    if (b->state != BRICK_UP)
        return brick_state_str(b);
    if (!b->here)
        return "starting";
    if (b->info.poisoned)
        return "failed";
    if (!view_has(vol, b))
        return vol->view.epoch ? "out" : "starting";
    return "in-sync";
}

static const char *brick_reason(const struct volume *vol,
                                const struct brick *b)
{
    if (vol->state != VOL_STARTED)
        return "";
    if (b->state != BRICK_UP || !b->here || b->info.poisoned)
        return b->reason;
    if (!view_has(vol, b))
        return view_out_reason(vol, b);
    return b->info.stalled ? b->info.reason : "";
}

static json_t *brick_status(struct volume *vol, struct brick *b)
{
    json_t *o = brick_heading(b);

    set_text(o, "state", brick_state(vol, b));
    set_text(o, "reason", brick_reason(vol, b));
    set(o, "pid", b->pid ? json_integer(b->pid) : json_null());
    set(o, "port", b->here && b->port ? json_integer(b->port) : json_null());
    if (brick_is_local(b)) {
        set_text(o, "socket", b->socket);
        set_text(o, "log", b->log);
    }
    if (!b->here)
        return o;
    set_u64(o, "incarnation", b->info.incarnation);
    set_u64(o, "epoch", b->info.view.epoch);
    set_u64(o, "total", b->info.total);
    set_u64(o, "free", b->info.free);
    set_u64(o, "inodes", b->info.inodes);
    set_u64(o, "dirty", b->info.dirty);
    set_u64(o, "oplog", b->info.oplog);
    return o;
}

static json_t *view_status(const struct volume *vol)
{
    json_t *o;
    char id[CFS_UUID_STR];
    char master[4400] = "";

    if (vol->view.epoch == 0)
        return json_null();
    o = mem_ok(json_object());
    for (unsigned i = 0; i < vol->n; i++)
        if (cfs_uuid_eq(vol->brick[i].id, vol->view.m[0].brick))
            snprintf(master, sizeof master, "%s:%s", vol->brick[i].node,
                     vol->brick[i].path);
    cfs_uuid_print(vol->view.id, id);
    set_u64(o, "epoch", vol->view.epoch);
    set_text(o, "id", id);
    set_u64(o, "in_sync", vol->view.n_sync);
    set_text(o, "master", master);
    json_object_set(o, "why", json_object_get(vol->view_rec, "why"));
    json_object_set(o, "since", json_object_get(vol->view_rec, "time"));
    set(o, "settled", json_boolean(view_settled(vol)));
    return o;
}

static json_t *clients_status(const struct volume *vol)
{
    json_t *list = mem_ok(json_array());

    cfs_list_for_each(l, &vol->sessions) {
        const struct session *s = cfs_list_entry(l, struct session, link);
        json_t *o = mem_ok(json_object());

        set_u64(o, "session", s->s.no);
        set_text(o, "host", s->s.node);
        set_u64(o, "pid", s->s.pid);
        set_text(o, "service", s->s.service);
        set_text(o, "where", s->s.where);
        set_text(o, "state", s->dead ? "dying" : "live");
        json_array_append_new(list, o);
    }
    return list;
}

/* What the fullest member has. */
static json_t *space_status(struct volume *vol)
{
    const struct cfs_brick *least = NULL;

    for (unsigned i = 0; i < vol->n; i++) {
        const struct brick *b = &vol->brick[i];

        if (b->here && view_has(vol, b) &&
            (!least || b->info.free < least->free))
            least = &b->info;
    }
    if (!least)
        return json_null();
    return json_pack("{s:I,s:I,s:I}", "total", (json_int_t)least->total,
                     "free", (json_int_t)least->free, "inodes",
                     (json_int_t)least->inodes);
}

static json_t *status_one(struct volume *vol)
{
    json_t *o = heading(vol), *bricks = mem_ok(json_array());

    for (unsigned i = 0; i < vol->n; i++)
        json_array_append_new(bricks, brick_status(vol, &vol->brick[i]));
    set(o, "bricks", bricks);
    set(o, "view", view_status(vol));
    set(o, "clients", clients_status(vol));
    set(o, "space", space_status(vol));
    set_text(o, "problem", *vol->held       ? vol->held
                           : *vol->unstored ? vol->unstored
                                            : vol->waiting);
    return o;
}

/* Bricks that are asked before a status is shown. */
struct asking {
    struct command *c;
    unsigned        pending;
};

static void answered(struct asking *ask)
{
    struct command *c = ask->c;

    if (--ask->pending > 0)
        return;
    free(ask);
    answer(c, status_one);
}

static void on_info(struct brick *b, void *arg, int status,
                    struct cfs_blob body, const char *text)
{
    if (status == 0)
        sessions_heard(b);
    answered(arg);
}

void volume_status(struct command *c)
{
    const char *name = command_str(c, "name");
    struct asking *ask = mem_new(sizeof *ask);

    ask->c = c;
    ask->pending = 1;
    cfs_list_for_each(l, &c->m->volumes) {
        struct volume *vol = cfs_list_entry(l, struct volume, link);

        if ((*name && strcmp(vol->name, name) != 0) || !command_sees(c, vol))
            continue;
        for (unsigned i = 0; i < vol->n; i++) {
            if (!vol->brick[i].here)
                continue;
            ask->pending++;
            brick_refresh(&vol->brick[i], ANSWER_MS, on_info, ask);
        }
    }
    answered(ask);
}
