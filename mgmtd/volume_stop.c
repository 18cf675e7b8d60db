/* SPDX-License-Identifier: Apache-2.0 */
/* volume_stop.c - the verb: no clients, then the record, then the bricks end,
 * each after a last checkpoint that is marked clean.
 *
 *     wait for members that are still to sign in: only they know sessions
 *       -> ask the members for sessions -> none, or --force: declare them dead
 *       -> all are closed -> commit "stopped" -> bricks end -> answer
 *
 * From the commit on the volume is stopped, whatever happens: a mgmtd that
 * starts later ends the bricks that still run.
 */
#include <stdio.h>

#include "mgmtd/node.h"

#define CLOSE_PATIENCE (30 * CFS_SEC)
#define END_PATIENCE   (150 * CFS_SEC)
#define ANSWER_MS      5000u

struct stop {
    struct command *c;
    struct volume  *vol;
    struct vol_wait wait;
    bool            force;
    unsigned        pending;
    struct cfs_err  err;
};

static json_t *warnings(const struct volume *vol)
{
    json_t *list = mem_ok(json_array());

    for (unsigned i = 0; i < vol->n; i++) {
        const struct brick *b = &vol->brick[i];

        if (b->state == BRICK_UNKNOWN)
            json_array_append_new(list, mem_ok(json_sprintf(
                "node %s cannot be reached: its brick %.200s is ended when "
                "the node is back", b->node, b->path)));
    }
    return list;
}

static void stop_end(struct stop *st)
{
    struct command *c = st->c;
    struct cfs_err err = st->err;
    json_t *json = mem_ok(json_pack("{s:s,s:o}", "name", st->vol->name,
                                    "warnings", warnings(st->vol)));

    st->vol->stopping = false;
    volume_unref(st->vol);
    free(st);
    if (err.code == 0) {
        command_ok(c, json);
        return;
    }
    json_decref(json);
    command_fail(c, &err);
}

/* -- the bricks end ------------------------------------------------------ */

static bool all_ended(struct vol_wait *w)
{
    for (unsigned i = 0; i < w->vol->n; i++)
        if (!brick_has_ended(&w->vol->brick[i]))
            return false;
    return true;
}

static void on_ended(struct vol_wait *w, bool in_time)
{
    struct stop *st = cfs_list_entry(w, struct stop, wait);

    for (unsigned i = 0; i < w->vol->n && !in_time; i++) {
        const struct brick *b = &w->vol->brick[i];

        if (!brick_has_ended(b))
            cfs_err_set(&st->err, -ETIMEDOUT, "volume %s is stopped, but "
                        "brick %s:%.200s, process %u, does not end; it is "
                        "waited for", w->vol->name, b->node, b->path, b->pid);
    }
    stop_end(st);
}

static void on_committed(void *arg, int status, const struct cfs_err *err)
{
    struct stop *st = arg;

    if (status < 0) {
        st->err = *err;
        stop_end(st);
        return;
    }
    volume_wait(st->vol, &st->wait, END_PATIENCE, all_ended, on_ended);
}

static void record(struct stop *st)
{
    json_t *rec = mem_ok(json_deep_copy(st->vol->rec));

    rec_volume_set_state(rec, VOL_STOPPED);
    rec_volume_set_request(rec, st->c->id);
    volume_replace(st->vol, rec, on_committed, st);
}

/* -- the clients --------------------------------------------------------- */

static bool closed_all(struct vol_wait *w)
{
    return sessions_none(w->vol) || w->vol->state != VOL_STARTED;
}

static void on_closed_all(struct vol_wait *w, bool in_time)
{
    struct stop *st = cfs_list_entry(w, struct stop, wait);

    if (w->vol->state != VOL_STARTED)
        cfs_err_set(&st->err, -ECANCELED, "volume %s was stopped meanwhile",
                    w->vol->name);
    else if (!in_time && !st->force)
        cfs_err_set(&st->err, -EBUSY, "volume %s: the session of a client "
                    "that died cannot be closed; see: clusterfs volume status "
                    "%s, or stop it with --force", w->vol->name, w->vol->name);
    if (st->err.code)
        stop_end(st);
    else
        record(st);
}

/* A client whose process lives. */
static const struct session *mounted(const struct volume *vol)
{
    cfs_list_for_each(l, &vol->sessions) {
        const struct session *s = cfs_list_entry(l, struct session, link);

        if (!s->dead)
            return s;
    }
    return NULL;
}

static void look_at_clients(struct stop *st)
{
    struct volume *vol = st->vol;
    const struct session *s = mounted(vol);

    if (s && !st->force) {
        cfs_err_set(&st->err, -EBUSY, "volume %s is mounted on %s:%s (process "
                    "%u); unmount it first, or stop it with --force, which "
                    "breaks the mount", vol->name, s->s.node, s->s.where,
                    s->s.pid);
        stop_end(st);
        return;
    }
    if (st->force)
        sessions_kill(vol);
    volume_wait(vol, &st->wait, CLOSE_PATIENCE, closed_all, on_closed_all);
}

static void on_asked(struct brick *b, void *arg, int status,
                     struct cfs_blob body, const char *text)
{
    struct stop *st = arg;

    if (status == 0)
        sessions_heard(b);
    if (--st->pending == 0)
        look_at_clients(st);
}

static bool nobody_is_coming(struct vol_wait *w)
{
    return w->vol->state != VOL_STARTED || !view_one_is_coming(w->vol);
}

static void on_come(struct vol_wait *w, bool in_time)
{
    struct stop *st = cfs_list_entry(w, struct stop, wait);

    st->pending = st->vol->n;
    for (unsigned i = 0; i < st->vol->n; i++)
        brick_refresh(&st->vol->brick[i], ANSWER_MS, on_asked, st);
}

/* -- the verb ------------------------------------------------------------ */

void volume_stop(struct command *c)
{
    struct cfs_err err = {0};
    struct volume *vol;
    struct stop *st;

    if (volume_need(c->m, command_str(c, "name"), &vol, &err) == 0) {
        if (vol->state != VOL_STARTED &&
            !rec_volume_is_request(vol->rec, c->id))
            cfs_err_set(&err, -EALREADY, "volume %s is not started",
                        vol->name);
        else if (vol->stopping)
            cfs_err_set(&err, -EBUSY, "volume %s is being stopped already",
                        vol->name);
    }
    if (err.code) {
        command_fail(c, &err);
        return;
    }
    st = mem_new(sizeof *st);
    st->c = c;
    st->vol = volume_ref(vol);
    st->force = command_flag(c, "force");
    if (vol->state != VOL_STARTED) { /* a repeat: the rest of it */
        volume_wait(vol, &st->wait, END_PATIENCE, all_ended, on_ended);
        return;
    }
    vol->stopping = true;
    volume_wait(vol, &st->wait, VIEW_COMING, nobody_is_coming, on_come);
}
