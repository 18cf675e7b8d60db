/* SPDX-License-Identifier: Apache-2.0 */
/* engine_space.c - etcd is over its quota. It has raised the alarm NOSPACE for
 * all members, and takes only what deletes; but each transaction of ours puts
 * something (store_etcd.h), so that nothing can be changed at all, and nothing
 * deleted.
 *
 * What the records take is small: it is what they were before that fills it,
 * which etcd itself forgets every five minutes only, and pages that are free
 * and not given back. So the node that acts for the voters makes room:
 *
 *     compaction of all but the last few revisions (never up to the newest: a
 *     kill in the middle of that can step the revision back)
 *       -> each voter is defragmented, one after the other: it does not answer
 *          meanwhile
 *       -> the alarms are listed, and called off
 *
 * Cut off anywhere, or with an alarm that comes again, it is begun anew.
 */
#include <inttypes.h>
#include <stdio.h>

#include "mgmtd/engine_impl.h"

#define WHO "engine"

#define KEEP       10u /* revisions */
#define TRY_MS     2000u
#define TOTAL_MS   8000u
#define DEFRAG_MS  60000u
#define AGAIN      (10 * CFS_SEC)

struct space {
    struct engine *e;
    unsigned       voter; /* that is being defragmented */
    json_t        *alarms;
};

static void space_end(struct space *s, int status, const struct cfs_err *err)
{
    struct engine *e = s->e;

    if (status < 0)
        cfs_log_warning(e->m->host.log, WHO, "etcd is over its quota, and no "
                        "room can be made: %s", err->text);
    else
        cfs_log_warning(e->m->host.log, WHO, "etcd was over its quota: old "
                        "revisions are gone, and it takes changes again");
    e->space = NULL;
    e->space_at = cfs_now(e->m->host.loop);
    json_decref(s->alarms);
    free(s);
}

/* -- the alarms ------------------------------------------------------------ */

static void call_off(struct space *s);

static void on_called_off(void *arg, int status, json_t *reply,
                          const struct cfs_err *err)
{
    if (status < 0)
        space_end(arg, status, err);
    else
        call_off(arg);
}

/* The next one; they are all of etcd's, and only NOSPACE is ours to end. */
static void call_off(struct space *s)
{
    json_t *body = NULL;

    while (!body && json_array_size(s->alarms) > 0) {
        const json_t *a = json_array_get(s->alarms, 0);
        const char *what = json_string_value(json_object_get(a, "alarm"));

        if (what && strcmp(what, "NOSPACE") == 0)
            body = mem_ok(json_pack(
                "{s:s,s:o,s:s}", "action", "DEACTIVATE", "memberID",
                etcd_json_u64(etcd_u64(a, "memberID")), "alarm", what));
        json_array_remove(s->alarms, 0);
    }
    if (body)
        etcd_post(s->e->client, "/v3/maintenance/alarm", body, TRY_MS,
                  TOTAL_MS, on_called_off, s);
    else
        space_end(s, 0, NULL);
}

static void on_alarms(void *arg, int status, json_t *reply,
                      const struct cfs_err *err)
{
    struct space *s = arg;

    if (status < 0) {
        space_end(s, status, err);
        return;
    }
    s->alarms = json_incref(json_object_get(reply, "alarms"));
    call_off(s);
}

/* -- room ------------------------------------------------------------------ */

static void defragment(struct space *s);

static void on_defragmented(void *arg, int status, json_t *reply,
                            const struct cfs_err *err)
{
    struct space *s = arg;

    if (status < 0) /* one that is away does it when its turn comes again */
        cfs_log_warning(s->e->m->host.log, WHO, "defragmenting: %s",
                        err->text);
    s->voter++;
    defragment(s);
}

static void defragment(struct space *s)
{
    struct engine *e = s->e;

    if (s->voter < e->target.n)
        etcd_post_to(e->client, s->voter, "/v3/maintenance/defragment",
                     mem_ok(json_object()), DEFRAG_MS, on_defragmented, s);
    else
        etcd_post(e->client, "/v3/maintenance/alarm",
                  mem_ok(json_pack("{s:s}", "action", "GET")), TRY_MS,
                  TOTAL_MS, on_alarms, s);
}

static void on_compacted(void *arg, int status, json_t *reply,
                         const struct cfs_err *err)
{
    struct space *s = arg;

    if (status < 0 && status != -ESTALE) /* it is already */
        space_end(s, status, err);
    else
        defragment(s);
}

void space_look(struct engine *e)
{
    struct space *s;

    if (!e->no_space || e->space || !e->answers || !e->client ||
        (e->space_at && cfs_now(e->m->host.loop) - e->space_at < AGAIN) ||
        !members_are_ours(e))
        return;
    s = e->space = mem_new(sizeof *s);
    s->e = e;
    cfs_log_error(e->m->host.log, WHO, "etcd is over its quota (%" PRIu64
                  " bytes): making room", e->db_size);
    if (e->revision > KEEP)
        etcd_post(e->client, "/v3/kv/compaction",
                  mem_ok(json_pack("{s:o,s:b}", "revision",
                                   etcd_json_u64(e->revision - KEEP),
                                   "physical", 1)),
                  TRY_MS, TOTAL_MS, on_compacted, s);
    else
        defragment(s);
}

void space_close(struct engine *e)
{
    if (!e->space)
        return;
    json_decref(e->space->alarms);
    free(e->space);
    e->space = NULL;
}
