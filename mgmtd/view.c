/* SPDX-License-Identifier: Apache-2.0 */
/* view.c - views: ask the core (view_core.h) who shall be in the next one,
 * make it a transaction, tell the bricks, then the clients.
 *
 *     something happened -> view_look() -> VC_NEW -> commit -> record changed
 *       -> view_load(): VIEW_SET to every brick that is here, out or not
 *       -> each member answered: durable there: "told" -> clients
 *
 * A transaction succeeds only if view and volume are still as they were read.
 * Whoever loses reads the winner's, and judges anew.
 */
#include <inttypes.h>
#include <stdio.h>

#include "mgmtd/node.h"

#define WHO "view"

/* How long members that may still come back are waited for, from when the
 * first of them is back. A start may have a long journal to go through. */
#define GRACE (30 * CFS_SEC)
#define RETRY CFS_SEC
#define AGAIN (100 * CFS_MS) /* after another's decision: it is on its way */

#define TURN  (200 * CFS_MS)

#define TOLD_MS 5000u /* for a brick to make a view durable */

static bool in_sync(const struct cfs_view *v, struct cfs_uuid brick)
{
    for (uint32_t i = 0; i < v->n_sync; i++)
        if (cfs_uuid_eq(v->m[i].brick, brick))
            return true;
    return false;
}

bool view_has(const struct volume *vol, const struct brick *b)
{
    return in_sync(&vol->view, b->id);
}

struct brick *view_master(struct volume *vol)
{
    for (uint32_t k = 0; k < vol->view.n_sync; k++)
        for (unsigned i = 0; i < vol->n; i++)
            if (vol->brick[i].here &&
                cfs_uuid_eq(vol->brick[i].id, vol->view.m[k].brick))
                return &vol->brick[i];
    return NULL;
}

/* A member that is back in another incarnation serves nothing in this view:
 * the next one is due. */
bool view_settled(const struct volume *vol)
{
    unsigned n = 0;

    for (uint32_t k = 0; k < vol->view.n_sync; k++) {
        const struct cfs_member *m = &vol->view.m[k];

        for (unsigned i = 0; i < vol->n; i++) {
            const struct brick *b = &vol->brick[i];

            if (!b->here || !cfs_uuid_eq(b->id, m->brick))
                continue;
            if (b->info.incarnation != m->incarnation ||
                b->known < vol->view.epoch)
                return false;
            n++;
        }
    }
    return n > 0;
}

bool view_one_is_coming(const struct volume *vol)
{
    for (unsigned i = 0; i < vol->n; i++) {
        const struct brick *b = &vol->brick[i];

        if (view_has(vol, b) && !b->here &&
            (b->state == BRICK_STARTING || b->state == BRICK_UP ||
             b->state == BRICK_UNKNOWN))
            return true;
    }
    return false;
}

struct cfs_view view_for_clients(const struct volume *vol)
{
    struct cfs_view none = {.set = vol->set, .lineage = vol->view.lineage};

    return view_settled(vol) ? vol->view : none;
}

void view_differs(struct volume *vol, struct cfs_uuid id)
{
    struct brick *who = NULL;
    bool another = false;

    for (unsigned i = 0; i < vol->n; i++) {
        struct brick *b = &vol->brick[i];

        if (!view_has(vol, b))
            continue;
        if (cfs_uuid_eq(b->id, id))
            who = b;
        else if (b->here && !b->differs && !b->info.poisoned)
            another = true;
    }
    if (!who || who->differs || !another)
        return;
    cfs_log_warning(vol->m->host.log, WHO, "%s could not do what others did, "
                    "says a client: it leaves the view", who->path);
    who->differs = true;
    volume_changed(vol);
}

const char *view_out_reason(const struct volume *vol, const struct brick *b)
{
    char id[CFS_UUID_STR];
    const char *why;

    cfs_uuid_print(b->id, id);
    why = json_string_value(json_object_get(json_object_get(
              json_object_get(vol->view_rec, "out"), id), "why"));
    return why ? why : "";
}

/* -- lives --------------------------------------------------------------- */

/* Beside a member's incarnation the record has the "life" of its process: a
 * brick whose device was put back from a copy counts its incarnations once
 * more, and comes to one that a view has. */
static const char *const lists[] = {"in_sync", "syncing"};

/* 0: it says none. */
static uint64_t life_in(const json_t *rec, struct cfs_uuid brick,
                        uint64_t incarnation)
{
    struct cfs_uuid id;
    uint64_t n;
    json_t *m;
    size_t k;

    for (size_t i = 0; i < CFS_ARRAY_SIZE(lists); i++)
        json_array_foreach(json_object_get(rec, lists[i]), k, m)
            if (rec_uuid(m, "a member", "brick", &id, NULL) == 0 &&
                cfs_uuid_eq(id, brick) &&
                rec_u64(m, "a member", "incarnation", &n, NULL) == 0 &&
                n == incarnation)
                return (uint64_t)json_integer_value(json_object_get(m,
                                                                    "life"));
    return 0;
}

/* In the incarnation that the view has, but not the process that it means. */
static bool is_other(const struct volume *vol, const struct brick *b)
{
    uint64_t life = life_in(vol->view_rec, b->id, b->info.incarnation);

    return b->here && life != 0 && b->life != 0 && life != b->life;
}

static void put_life(const struct volume *vol, json_t *member)
{
    struct cfs_uuid id;
    uint64_t incarnation, life;

    if (rec_uuid(member, "a member", "brick", &id, NULL) < 0 ||
        rec_u64(member, "a member", "incarnation", &incarnation, NULL) < 0)
        return;
    life = life_in(vol->view_rec, id, incarnation);
    for (unsigned i = 0; i < vol->n && life == 0; i++) {
        const struct brick *b = &vol->brick[i];

        if (b->here && cfs_uuid_eq(b->id, id) &&
            b->info.incarnation == incarnation)
            life = b->life;
    }
    if (life != 0)
        json_object_set_new(member, "life",
                            mem_ok(json_integer((json_int_t)life)));
}

/* Of all members of the next view, whose record @rec is. */
static void put_lives(const struct volume *vol, json_t *rec)
{
    json_t *m;
    size_t k;

    for (size_t i = 0; i < CFS_ARRAY_SIZE(lists); i++)
        json_array_foreach(json_object_get(rec, lists[i]), k, m)
            put_life(vol, m);
}

/* -- telling ------------------------------------------------------------- */

static void on_told(struct brick *b, void *arg, int status,
                    struct cfs_blob body, const char *text)
{
    uint64_t epoch = (uint64_t)(uintptr_t)arg;

    if (status < 0) {
        if (status != -ENOTCONN)
            cfs_log_warning(b->vol->m->host.log, WHO, "%s does not take the "
                            "view of epoch %" PRIu64 ": %s", b->path, epoch,
                            text);
        if (status == -ETIMEDOUT && epoch == b->vol->view.epoch)
            view_tell(b);
        return;
    }
    if (b->known < epoch)
        b->known = epoch;
    volume_changed(b->vol);
}

void view_tell(struct brick *b)
{
    struct mgmt_view_msg msg = {.view = b->vol->view};
    struct cfs_arena a;

    /* Each node tells its own. */
    if (msg.view.epoch == 0 || msg.view.n_sync == 0 || !b->here ||
        !brick_is_local(b) || is_other(b->vol, b))
        return;
    cfs_arena_init(&a);
    brick_call(b, RPC_BRICK_VIEW_SET, mgmt_pack_view_msg(&a, &msg), TOLD_MS,
               on_told, (void *)(uintptr_t)msg.view.epoch);
    cfs_arena_fini(&a);
}

static void tell_clients(struct volume *vol)
{
    struct mgmt_view_msg msg = {.view = vol->view};
    char *key = mem_printf("volume:%s", vol->name);
    struct cfs_arena a;

    cfs_arena_init(&a);
    lines_push(vol->m, key, &rpc_to_view, RPC_VIEW_PUSH,
               mgmt_pack_view_msg(&a, &msg));
    cfs_arena_fini(&a);
    free(key);
}

int view_load(struct volume *vol, struct cfs_err *err)
{
    char *key = rec_view_key(vol->set);
    struct cfs_view view;
    uint64_t token;
    json_t *rec;
    int rc = store_get(vol->m->store, key, &rec, &token, err);

    free(key);
    if (rc == -ENOENT) {
        *err = (struct cfs_err){0};
        return 0;
    }
    if (rc < 0)
        return rc;
    rc = rec_view_read(rec, vol->set, store_lineage(vol->m->store), &view,
                       err);
    if (rc < 0) {
        json_decref(rec);
        return rc;
    }
    json_decref(vol->view_rec);
    vol->view_rec = rec;
    vol->view_token = token;
    if (view.lineage != vol->view.lineage) {
        /* The same views in another life: bricks and clients are told. What
         * other nodes' bricks know comes from there, perhaps before our own
         * copy of the store has the view. */
        vol->told = 0;
        for (unsigned i = 0; i < vol->n; i++)
            if (brick_is_local(&vol->brick[i]))
                vol->brick[i].known = 0;
    }
    vol->view = view;
    if (view.n_sync > 0)
        vol->forced = false;
    cfs_timer_stop(&vol->turn);
    for (unsigned i = 0; i < vol->n; i++) {
        if (!view_has(vol, &vol->brick[i]))
            vol->brick[i].differs = false;
        view_tell(&vol->brick[i]);
    }
    volume_changed(vol);
    return 0;
}

/* -- deciding ------------------------------------------------------------ */

/* The set was formed again in this lineage, after a restore: the store does
 * not know all views of those before. */
static uint64_t formed_in(const struct volume *vol)
{
    return (uint64_t)json_integer_value(
        json_object_get(vol->view_rec, "formed"));
}

/* Whether the store never had the view that @b remembers. */
static bool is_foreign(struct volume *vol, const struct brick *b)
{
    const struct cfs_view *v = &b->info.view;
    struct cfs_uuid id = {{0}};
    struct cfs_err err = {0};
    json_t *rec;
    char *key;
    int rc;

    if (v->epoch == 0 || v->lineage < formed_in(vol))
        return false;
    if (!cfs_uuid_eq(v->set, vol->set) ||
        v->lineage > store_lineage(vol->m->store))
        return true;
    if (v->epoch == vol->view.epoch)
        return !cfs_uuid_eq(v->id, vol->view.id);
    key = rec_view_past_key(vol->set, v->epoch);
    rc = store_get(vol->m->store, key, &rec, NULL, &err);
    free(key);
    if (rc < 0) {
        if (rc != -ENOENT)
            cfs_log_error(vol->m->host.log, WHO, "%s", err.text);
        return true;
    }
    rc = rec_uuid(rec, "the record of a past view", "id", &id, &err);
    json_decref(rec);
    return rc < 0 || !cfs_uuid_eq(id, v->id);
}

static void on_current(void *arg, int status, const struct cfs_err *err)
{
    struct volume *vol = arg;

    vol->asking = false;
    if (status == 0) {
        vol->current_for = vol->asked_for;
        volume_changed(vol);
    } else {
        vol->retry = true;
        cfs_timer_start(&vol->grace, RETRY);
    }
    volume_unref(vol);
}

/* Whether our copy of the store was as new as the authority after we heard of
 * @v. Until then a view that we do not know proves nothing: its home may have
 * been told before us. */
static bool is_current(struct volume *vol, const struct cfs_view *v)
{
    if (v->epoch <= vol->view.epoch || v->epoch <= vol->current_for)
        return true;
    if (!vol->asking) {
        vol->asking = true;
        vol->asked_for = v->epoch;
        store_current(vol->m->store, on_current, volume_ref(vol));
    }
    return false;
}

/* False: first it must be known whether our copy of the store is current. */
static bool describe(struct volume *vol, struct vc_set *ret)
{
    bool sure = true;

    *ret = (struct vc_set){
        .view = &vol->view,
        .active = vol->state == VOL_STARTED && !vol->gone,
        .waited = vol->waited,
        .forced = vol->forced,
        .n = vol->n,
    };
    for (unsigned i = 0; i < vol->n; i++) {
        struct brick *b = &vol->brick[i];

        ret->brick[i] = (struct vc_brick){
            .id = b->id,
            .here = b->here,
            .incarnation = b->info.incarnation,
            .other = is_other(vol, b),
            .clean = b->info.clean,
            .repaired = b->info.repaired,
            .poisoned = b->info.poisoned,
            .stalled = b->info.stalled,
            .view_epoch = b->info.view.epoch,
            .view_id = b->info.view.id,
            .remembers = &b->info.view,
            .foreign = ret->active && b->here && is_foreign(vol, b),
            .ended = b->ended,
            .hopeless = b->state == BRICK_FAULTY,
            .differs = b->differs,
            .silent = b->silent_in == vol->view.epoch && b->silent_in > 0,
        };
        if (ret->brick[i].foreign && !is_current(vol, &b->info.view))
            sure = false;
    }
    return sure;
}

/* The record of the next view: the old one, changed. */
static json_t *next_record(struct volume *vol, const struct vc_decision *d,
                           const struct cfs_view *v)
{
    json_t *rec, *out;
    struct cfs_time now = cfs_realtime(vol->m->host.loop);

    rec = vol->view_rec ? mem_ok(json_deep_copy(vol->view_rec))
                        : mem_ok(json_object());
    rec_view_write(rec, v);
    put_lives(vol, rec);
    if (json_object_del(rec, "forming") == 0)
        json_object_set_new(rec, "formed",
                            json_integer((json_int_t)v->lineage));
    json_object_set_new(rec, "volume", mem_ok(json_string(vol->name)));
    json_object_set_new(rec, "why", mem_ok(json_string(d->why)));
    json_object_set_new(rec, "time", mem_ok(json_integer(now.sec)));
    out = json_object_get(rec, "out");
    if (!json_is_object(out)) {
        out = mem_ok(json_object());
        json_object_set_new(rec, "out", out);
    }
    for (unsigned i = 0; i < vol->n; i++) {
        char id[CFS_UUID_STR];

        cfs_uuid_print(vol->brick[i].id, id);
        if (in_sync(v, vol->brick[i].id))
            json_object_del(out, id);
        else if (d->out[i] != VC_OUT_NOT)
            json_object_set_new(
                out, id,
                mem_ok(json_pack("{s:s,s:I}", "why", vc_out_str(d->out[i]),
                                 "since", (json_int_t)now.sec)));
    }
    return rec;
}

static void on_committed(void *arg, int status, const struct cfs_err *err)
{
    struct volume *vol = arg;

    vol->deciding = false;
    if (status == -CFS_E_CONFLICT) {
        vol->retry = true;
        cfs_timer_start(&vol->grace, AGAIN);
    } else if (status < 0) {
        cfs_log_error(vol->m->host.log, WHO, "volume %s: the new view cannot "
                      "be stored: %s", vol->name, err->text);
        snprintf(vol->unstored, sizeof vol->unstored, "%s", err->text);
        vol->retry = true;
        cfs_timer_start(&vol->grace, RETRY);
    } else {
        vol->unstored[0] = '\0';
        volume_changed(vol);
    }
    volume_unref(vol);
}

static void commit(struct volume *vol, const struct vc_decision *d)
{
    struct store_txn *t = store_txn_new();
    struct cfs_view v = d->view;
    char *volume_key = rec_volume_key(vol->name);
    char *key = rec_view_key(vol->set);
    char *past_key = rec_view_past_key(vol->set, v.epoch);
    json_t *rec, *past;

    v.lineage = store_lineage(vol->m->store);
    v.id = uuid_new(vol->m);
    rec = next_record(vol, d, &v);
    past = mem_ok(json_pack("{s:i,s:o}", "v", REC_VERSION, "id",
                            rec_json_uuid(v.id)));
    store_txn_if(t, volume_key, vol->token);
    if (vol->view.epoch > 0)
        store_txn_if(t, key, vol->view_token);
    else
        store_txn_if_absent(t, key);
    store_txn_put(t, key, rec);
    store_txn_put(t, past_key, past);
    cfs_log_info(vol->m->host.log, WHO, "volume %s: view of epoch %" PRIu64
                 " with %u of %u bricks: %s", vol->name, v.epoch, v.n_sync,
                 vol->n, d->why);
    vol->deciding = true;
    store_commit(vol->m->store, t, on_committed, volume_ref(vol));
    json_decref(rec);
    json_decref(past);
    free(volume_key);
    free(key);
    free(past_key);
}

/* VC_WAIT: the grace period counts from when the first member is back. */
static void wait_for_members(struct volume *vol)
{
    if (!view_master(vol) || vol->waited || cfs_timer_active(&vol->grace))
        return;
    cfs_timer_start(&vol->grace, GRACE);
}

static void on_grace(struct cfs_timer *t)
{
    struct volume *vol = cfs_list_entry(t, struct volume, grace);

    if (!vol->retry)
        vol->waited = true;
    vol->retry = false;
    volume_changed(vol);
}

/* -- whose turn ---------------------------------------------------------- */

static void on_turn(struct cfs_timer *t)
{
    struct volume *vol = cfs_list_entry(t, struct volume, turn);

    vol->turn_for = vol->view.epoch + 1;
    volume_changed(vol);
}

/* Whether this decision rests on what happened here. */
static bool knows_best(const struct volume *vol, const struct vc_decision *d)
{
    for (unsigned i = 0; i < vol->n; i++) {
        const struct brick *b = &vol->brick[i];

        if (d->out[i] != VC_OUT_NOT &&
            (brick_is_local(b) || b->differs ||
             d->out[i] == VC_OUT_SILENT))
            return true;
    }
    return false;
}

/* The node of the first brick that will be in sync acts at once, as does who
 * knows best; the others, in order of the bricks, 200 ms apart, in case that
 * those are gone. */
static bool is_our_turn(struct volume *vol, const struct vc_decision *d)
{
    uint64_t place = 0;

    if (vol->turn_for == d->view.epoch || node_is_alone(vol->m) ||
        knows_best(vol, d))
        return true;
    for (unsigned i = 0; i < vol->n; i++) {
        const struct brick *b = &vol->brick[i];

        if (in_sync(&d->view, b->id) && brick_is_local(b))
            break;
        place += in_sync(&d->view, b->id);
    }
    if (place == 0)
        return true;
    if (!cfs_timer_active(&vol->turn))
        cfs_timer_start(&vol->turn, place * TURN);
    return false;
}

static void hold(struct volume *vol, const struct vc_decision *d)
{
    char text[sizeof vol->held];

    snprintf(text, sizeof text, "%.150s: %s", vol->brick[d->about].path,
             d->why);
    if (strcmp(text, vol->held) == 0)
        return;
    memcpy(vol->held, text, sizeof text);
    cfs_log_error(vol->m->host.log, WHO, "volume %s gets no new view: %s",
                  vol->name, vol->held);
}

void view_look(struct volume *vol)
{
    struct vc_decision d;
    struct vc_set set;

    if (vol->view.epoch > vol->told && view_settled(vol)) {
        vol->told = vol->view.epoch;
        tell_clients(vol);
    }
    if (vol->deciding || vol->retry)
        return;
    if (!describe(vol, &set))
        return;
    vc_decide(&set, &d);
    if (d.verdict != VC_HOLD)
        vol->held[0] = '\0';
    vol->waiting = d.verdict == VC_WAIT ? d.why : "";
    switch (d.verdict) {
    case VC_KEEP:
        cfs_timer_stop(&vol->grace);
        vol->waited = false;
        break;
    case VC_WAIT:
        wait_for_members(vol);
        break;
    case VC_NEW:
        if (is_our_turn(vol, &d))
            commit(vol, &d);
        break;
    case VC_HOLD:
        hold(vol, &d);
        break;
    }
}

void view_init(struct volume *vol)
{
    cfs_timer_init(vol->m->host.loop, &vol->grace, on_grace);
    cfs_timer_init(vol->m->host.loop, &vol->turn, on_turn);
    vol->waiting = "";
}

void view_fini(struct volume *vol)
{
    cfs_timer_fini(&vol->grace);
    cfs_timer_fini(&vol->turn);
    json_decref(vol->view_rec);
}
