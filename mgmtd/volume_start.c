/* SPDX-License-Identifier: Apache-2.0 */
/* volume_start.c - the verb: record that the volume shall run, and wait until
 * its set serves: a view is decided, and durable at its members.
 *
 * After a restart of mgmtd the set serves as soon as one of its members has
 * signed in again: the others are waited for, but for VIEW_COMING at most, so that
 * nobody is warned of a brick that is only a moment later.
 *
 * A volume of which no brick can be started is put back, so that the command
 * has happened as a whole or not at all. Bricks that cannot be started beside
 * others that serve are warnings in the answer.
 */
#include <stdio.h>

#include "mgmtd/mgmtd.h"

#define PATIENCE (120 * CFS_SEC)

struct start {
    struct command *c;
    struct volume  *vol;
    struct vol_wait wait;
    enum vol_state  before;
    bool            all; /* the wait is for all members */
    struct cfs_err  err;
};

static void start_end(struct start *st, json_t *json)
{
    struct command *c = st->c;
    struct cfs_err err = st->err;

    volume_unref(st->vol);
    free(st);
    if (json)
        command_ok(c, json);
    else
        command_fail(c, &err);
}

static json_t *warnings(const struct volume *vol)
{
    json_t *list = mem_ok(json_array());

    for (unsigned i = 0; i < vol->n; i++) {
        const struct brick *b = &vol->brick[i];
        char text[CFS_ERR_TEXT + 256];

        if (view_has(vol, b) && b->here)
            continue;
        if (b->state == BRICK_FAULTY)
            snprintf(text, sizeof text, "brick %s:%.200s does not start: %s",
                     b->node, b->path, b->reason);
        else
            snprintf(text, sizeof text, "brick %s:%.200s is not in sync%s%s",
                     b->node, b->path, *view_out_reason(vol, b) ? ": " : "",
                     view_out_reason(vol, b));
        json_array_append_new(list, mem_ok(json_string(text)));
    }
    return list;
}

static bool none_can(const struct volume *vol)
{
    for (unsigned i = 0; i < vol->n; i++)
        if (vol->brick[i].state != BRICK_FAULTY)
            return false;
    return true;
}

static bool is_over(struct vol_wait *w)
{
    const struct start *st = cfs_list_entry(w, struct start, wait);
    const struct volume *vol = w->vol;

    return vol->gone || vol->state != VOL_STARTED || *vol->held ||
           none_can(vol) ||
           (view_settled(vol) && !(st->all && view_one_is_coming(vol)));
}

/* -- a start that failed ------------------------------------------------- */

static void on_put_back(void *arg, int status, const struct cfs_err *err)
{
    start_end(arg, NULL);
}

static void put_back(struct start *st)
{
    json_t *rec = mem_ok(json_deep_copy(st->vol->rec));

    rec_volume_set_state(rec, st->before);
    volume_replace(st->vol, rec, on_put_back, st);
}

static void describe_failure(struct start *st)
{
    const struct volume *vol = st->vol;
    const struct brick *b = &vol->brick[0];

    if (*vol->held)
        cfs_err_set(&st->err, -EIO, "volume %s cannot serve: %s", vol->name,
                    vol->held);
    else if (none_can(vol))
        cfs_err_set(&st->err, -EIO, "volume %s does not start: brick "
                    "%s:%.200s: %s", vol->name, b->node, b->path, b->reason);
    else if (vol->gone || vol->state != VOL_STARTED)
        cfs_err_set(&st->err, -ECANCELED, "volume %s was stopped meanwhile",
                    vol->name);
    else
        cfs_err_set(&st->err, -ETIMEDOUT, "volume %s is started, but does not "
                    "serve yet; see: clusterfs volume status %s", vol->name,
                    vol->name);
}

static void on_waited(struct vol_wait *w, bool in_time)
{
    struct start *st = cfs_list_entry(w, struct start, wait);
    struct volume *vol = st->vol;

    if (!vol->gone && vol->state == VOL_STARTED && !*vol->held &&
        view_settled(vol)) {
        if (!st->all && view_one_is_coming(vol)) {
            st->all = true;
            volume_wait(vol, &st->wait, VIEW_COMING, is_over, on_waited);
            return;
        }
        start_end(st, mem_ok(json_pack("{s:s,s:o}", "name", vol->name,
                                       "warnings", warnings(vol))));
        return;
    }
    describe_failure(st);
    if (vol->state == VOL_STARTED && none_can(vol) &&
        st->before != VOL_STARTED)
        put_back(st);
    else
        start_end(st, NULL);
}

/* -- the verb ------------------------------------------------------------ */

static void on_committed(void *arg, int status, const struct cfs_err *err)
{
    struct start *st = arg;

    if (status < 0) {
        st->err = *err;
        start_end(st, NULL);
        return;
    }
    volume_wait(st->vol, &st->wait, PATIENCE, is_over, on_waited);
}

static void record(struct start *st)
{
    json_t *rec = mem_ok(json_deep_copy(st->vol->rec));

    rec_volume_set_state(rec, VOL_STARTED);
    rec_volume_set_request(rec, st->c->id);
    rec_volume_need_secret(st->vol->m->host.loop, rec);
    volume_replace(st->vol, rec, on_committed, st);
}

void volume_start(struct command *c)
{
    struct cfs_err err = {0};
    struct volume *vol;
    struct start *st;
    bool force = command_flag(c, "force");

    if (volume_need(c->m, command_str(c, "name"), &vol, &err) < 0) {
        command_fail(c, &err);
        return;
    }
    if (vol->state == VOL_STARTED && !force &&
        !rec_volume_is_request(vol->rec, c->id)) {
        cfs_err_set(&err, -EALREADY, "volume %s is started already; to start "
                    "its bricks that are faulty, add --force", vol->name);
        command_fail(c, &err);
        return;
    }
    st = mem_new(sizeof *st);
    st->c = c;
    st->vol = volume_ref(vol);
    st->before = vol->state;
    vol->forced = force;
    if (vol->state != VOL_STARTED) {
        record(st);
        return;
    }
    for (unsigned i = 0; i < vol->n && force; i++)
        brick_forgive(&vol->brick[i]);
    volume_changed(vol);
    volume_wait(vol, &st->wait, PATIENCE, is_over, on_waited);
}
