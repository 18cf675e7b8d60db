/* SPDX-License-Identifier: Apache-2.0 */
/* store_etcd.c - etcd as the authority: the copy of it on this node, and how
 * it follows. How transactions get there is in store_etcd_txn.c.
 *
 * The copy is at (lineage, revision, nonce). To follow on from there:
 *
 *   check   etcd is asked for the nonce of that revision, as of that revision.
 *           The same: the copy is a point of etcd's history. Another one, or a
 *           revision in the future, or compacted: read.
 *   watch   from revision + 1 on; each revision is applied as it was made, one
 *           job and one SQLite transaction for each. When the watch ends,
 *           check.
 *   read    all records at one revision, which then are the copy; watchers
 *           hear of each difference. Then watch.
 *   poll    each second (and for store_current()) a linearizable read of the
 *           head. A revision below the copy's: etcd was rolled back, read. One
 *           that the copy has not reached a second later: the watch is one
 *           that was cut off, so it is started at another member.
 *
 * An etcd that is rolled back and goes on from there passes every comparison
 * of revisions once it has caught up; the nonces are for that.
 *
 * The watch is on all keys, not on ours alone, so that every revision of etcd
 * comes by and the copy's revision is comparable with etcd's.
 *
 * While etcd there is of another lineage, or has no head, nothing is taken
 * from it and nothing sent to it; polls go on, and say so in store_health().
 */
#include "mgmtd/store/store_etcd.h"

#include <inttypes.h>
#include <stdio.h>

#include "mgmtd/mem.h"

#define WHO "store"

#define POLL_NS     CFS_SEC
#define RETRY_NS    (200 * CFS_MS)
#define FAILED_NS   (2 * CFS_SEC)  /* the copy cannot be written */
#define LATE_NS     (500 * CFS_MS) /* the watch does not tell */
#define CURRENT_NS  (3 * CFS_SEC) /* older than this is not current */
#define REREAD_NS   (10 * CFS_SEC) /* damage is not mended more often */
#define BATCHES_MAX (16u << 20)   /* bytes heard and not applied */

static void batches_free(struct store_etcd *et);

/* Later, after something failed. */
static void follow_later(struct store_etcd *et)
{
    if (!cfs_timer_active(&et->step_timer))
        cfs_timer_start(&et->step_timer, RETRY_NS);
}

static void on_step_timer(struct cfs_timer *t)
{
    et_follow(cfs_list_entry(t, struct store_etcd, step_timer));
}

static void set_problem(struct store_etcd *et, const struct cfs_err *err)
{
    if (!*et->problem)
        cfs_log_warning(et->s->log, WHO, "%s", err->text);
    memcpy(et->problem, err->text, sizeof et->problem);
}

static void want_read(struct store_etcd *et, const char *why)
{
    if (!et->need_read)
        cfs_log_info(et->s->log, WHO, "all records are read again: %s", why);
    et->need_read = true;
    et->need_check = false;
    etcd_watch_stop(et->watch);
    et->watch = NULL;
    batches_free(et);
}

/* -- whose life it is ---------------------------------------------------- */

static void on_live(void *arg, int status, json_t *reply,
                    const struct cfs_err *err)
{
    struct store_etcd *et = arg;

    et->going_live = false;
    if (status == 0)
        et_follow(et);
    else
        follow_later(et);
}

/* The switch ended, durably, with our marker; only this was left to do. */
static void go_live(struct store_etcd *et, const struct et_head *h)
{
    char nonce[COPY_ID], *live, *by;

    if (et->going_live)
        return;
    et->going_live = true;
    et_nonce(et->s->loop, nonce);
    live = et_head_text(et->lineage, NULL);
    by = et_by_text(nonce);
    etcd_post(et->c, "/v3/kv/txn",
              et_txn(json_pack("[o]", et_cmp_value(ET_HEAD, h->text)),
                     json_pack("[oo]", et_put(ET_HEAD, live),
                               et_put(ET_BY "switch", by)), NULL),
              ET_TRY_MS, ET_COMMIT_MS, on_live, et);
    free(live);
    free(by);
}

int et_judge_head(struct store_etcd *et, const struct et_head *h,
                  struct cfs_err *err)
{
    bool stranger = h->lineage != et->lineage;

    if (stranger && !et->stranger) {
        etcd_watch_stop(et->watch);
        et->watch = NULL;
        batches_free(et);
        et->need_check = true;
    }
    et->stranger = stranger;
    if (h->mod == 0)
        return cfs_err_set(err, -ESTALE, "etcd is empty, or not this "
                           "cluster's: it holds no configuration");
    if (stranger)
        return cfs_err_set(err, -ESTALE, "etcd holds the configuration of "
                           "another life of this cluster (lineage %" PRIu64
                           ", here %" PRIu64 ")%s", h->lineage, et->lineage,
                           h->lineage > et->lineage ?
                           ": this node must rejoin" : "");
    if (!h->live) {
        go_live(et, h);
        return cfs_err_set(err, -EAGAIN, "the switch to etcd is being ended");
    }
    return 0;
}

/* -- the copy: one job at a time ----------------------------------------- */

static void batch_free(struct et_batch *b)
{
    cfs_list_del(&b->link);
    store_changes_free(&b->changes);
    free(b);
}

static void batches_free(struct store_etcd *et)
{
    cfs_list_for_each_safe(l, &et->batches)
        batch_free(cfs_list_entry(l, struct et_batch, link));
    et->batch_bytes = 0;
    et->heard = et->batch ? et->batch->revision : et->s->revision;
}

static int apply_batch(struct store_etcd *et, struct copy_head *h)
{
    const struct et_batch *b = et->batch;
    struct store_copy *c = et->s->copy;
    int rc = 0;

    h->revision = b->revision;
    memcpy(h->nonce, b->nonce, sizeof h->nonce);
    for (size_t i = 0; i < b->changes.n && rc == 0; i++) {
        const struct store_change *ch = &b->changes.v[i];

        if (ch->text)
            rc = copy_put(c, h, ch->key, ch->text, ch->token, &et->changes,
                          &et->err);
        else
            rc = copy_delete(c, h, ch->key, ch->token, &et->changes,
                             &et->err);
    }
    return rc;
}

static int apply_image(struct store_etcd *et, struct copy_head *h)
{
    h->lineage = et->lineage;
    h->revision = et->image->revision;
    memcpy(h->nonce, et->image->nonce, sizeof h->nonce);
    return copy_replace(et->s->copy, h, &et->image->all, &et->changes,
                        &et->err);
}

/* A copy that is a little old is read on from there, so only what cannot be
 * had again waits for the disk: a new lineage. */
static void work(struct cfs_job *job)
{
    struct store_etcd *et = cfs_list_entry(job, struct store_etcd, job);
    struct store_copy *c = et->s->copy;
    struct copy_head h;
    int rc = copy_set_durable(c, et->image != NULL, &et->err);

    if (rc == 0)
        rc = copy_begin(c, &h, &et->err);
    if (rc == 0) {
        memcpy(h.writer, et->writer, sizeof h.writer);
        rc = et->image ? apply_image(et, &h) : apply_batch(et, &h);
        if (rc == 0)
            rc = copy_commit(c, &h, &et->err);
        else
            copy_abort(c);
    }
    et->status = rc;
}

static void image_free(struct et_image *image)
{
    if (!image)
        return;
    store_changes_free(&image->all);
    free(image);
}

static void work_failed(struct store_etcd *et)
{
    struct cfs_err err = {0};

    if (et->status == -CFS_E_CORRUPT && et->image) {
        /* Not even SQLite can read it. */
        cfs_log_error(et->s->log, WHO, "%s: a new copy is begun",
                      et->err.text);
        if (copy_renew(et->s->copy, et->lineage, &err) < 0)
            set_problem(et, &err);
    }
    if (et->status != -CFS_E_CHECKSUM) {
        set_problem(et, &et->err);
        cfs_timer_start(&et->step_timer, FAILED_NS);
    }
    want_read(et, et->err.text);
}

/* The copy has all that etcd had when it was asked last. */
static void note_current(struct store_etcd *et)
{
    struct store *s = et->s;

    if (et->authority == 0 || s->lineage != et->lineage || et->need_read ||
        et->read || s->revision < et->authority)
        return;
    et->current_at = et->polled_at;
    et->problem[0] = '\0';
}

static void work_took(struct store_etcd *et, struct store_changes *changes)
{
    if (et->image)
        et->heard = copy_head(et->s->copy)->revision;
    store_tell(et->s, changes);
    note_current(et);
    if (et->image && et->s->sw)
        store_switch_end(et->s, 0, &(struct cfs_err){0});
    store_answer_askers(et->s, 0, NULL);
    et_txn_step(et);
}

static void work_done(struct cfs_job *job)
{
    struct store_etcd *et = cfs_list_entry(job, struct store_etcd, job);
    struct store_changes changes = et->changes;

    et->changes = (struct store_changes){0};
    et->working = false;
    if (!et->c)
        ; /* the store is being closed */
    else if (et->status < 0)
        work_failed(et);
    else
        work_took(et, &changes);
    store_changes_free(&changes);
    if (et->batch)
        batch_free(et->batch);
    et->batch = NULL;
    image_free(et->image);
    et->image = NULL;
    if (et->c)
        et_follow(et);
}

static void start_work(struct store_etcd *et)
{
    et->working = true;
    et->err = (struct cfs_err){0};
    cfs_job_run(et->s->loop, &et->job, work, work_done);
}

/* -- reading everything -------------------------------------------------- */

static void on_read(void *arg, int status, struct et_image *image,
                    const struct cfs_err *err)
{
    struct store_etcd *et = arg;
    struct cfs_err why = *err;

    et->read = NULL;
    if (status == 0)
        status = et_judge_head(et, &image->head, &why);
    if (status < 0) {
        set_problem(et, &why);
        follow_later(et);
        return;
    }
    et->image = mem_new(sizeof *et->image);
    *et->image = *image;
    image->all = (struct store_changes){0};
    et->need_read = false;
    et->read_at = cfs_now(et->s->loop);
    start_work(et);
}

/* -- whether the copy is a point of etcd's history ----------------------- */

static void on_check(void *arg, int status, json_t *reply,
                     const struct cfs_err *err)
{
    struct store_etcd *et = arg;
    struct cfs_err why = *err;
    struct et_head head;
    char nonce[COPY_ID];

    et->checking = false;
    if (status == -ESTALE || status == -ERANGE) {
        want_read(et, err->text);
        et_follow(et);
        return;
    }
    if (status == 0 && et_head_read(et_range(reply, 0), &head) < 0)
        status = cfs_err_set(&why, -EBADMSG, "etcd's head record makes no "
                             "sense");
    if (status == 0)
        status = et_judge_head(et, &head, &why);
    if (status < 0) {
        set_problem(et, &why);
        follow_later(et);
        return;
    }
    et_nonce_read(reply, 1, nonce);
    if (*nonce == '-' || strcmp(nonce, copy_head(et->s->copy)->nonce) != 0)
        want_read(et, "etcd's history is not the one that we know");
    et->need_check = false;
    et_follow(et);
}

static void start_check(struct store_etcd *et)
{
    const struct copy_head *h = copy_head(et->s->copy);

    if (h->lineage != et->lineage || h->revision == 0) {
        want_read(et, "nothing of this life is here yet");
        et_follow(et);
        return;
    }
    et->checking = true;
    etcd_post(et->c, "/v3/kv/txn",
              et_txn(NULL, json_pack("[oo]", et_get(ET_HEAD),
                                     et_get_nonce(h->revision)), NULL),
              ET_TRY_MS, ET_POLL_MS, on_check, et);
}

/* -- the watch ----------------------------------------------------------- */

static struct et_batch *batch_for(struct store_etcd *et, uint64_t revision)
{
    struct et_batch *b;

    if (!cfs_list_empty(&et->batches)) {
        b = cfs_list_entry(et->batches.prev, struct et_batch, link);
        if (b->revision == revision)
            return b;
    }
    if (revision <= et->heard)
        return NULL;
    b = mem_new(sizeof *b);
    cfs_list_init(&b->link);
    b->revision = revision;
    strcpy(b->nonce, "-");
    cfs_list_add_tail(&et->batches, &b->link);
    et->heard = revision;
    return b;
}

/* False: it cannot be so. All events of a revision come in one result, in
 * order of revisions. */
static bool take_event(struct store_etcd *et, const json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *kv = json_object_get(event, "kv");
    bool deleted = type && strcmp(type, "DELETE") == 0;
    struct et_batch *b;
    uint64_t revision;
    char *key;

    if (etcd_number(kv, "mod_revision", &revision) < 0)
        return false;
    b = batch_for(et, revision);
    if (!b)
        return false;
    if (et_record(kv, deleted, et->lineage, &b->changes)) {
        const struct store_change *c = &b->changes.v[b->changes.n - 1];
        size_t bytes = strlen(c->key) + (c->text ? strlen(c->text) : 0) + 64;

        b->bytes += bytes;
        et->batch_bytes += bytes;
        return true;
    }
    if (!deleted && etcd_text(kv, "key", &key) == 0) {
        if (strncmp(key, ET_BY, strlen(ET_BY)) == 0)
            et_by_read(kv, b->nonce);
        free(key);
    }
    return true;
}

static void on_event(void *arg, json_t *result)
{
    struct store_etcd *et = arg;
    const json_t *events = json_object_get(result, "events");

    for (size_t i = 0; i < json_array_size(events); i++)
        if (!take_event(et, json_array_get(events, i))) {
            want_read(et, "the watch tells what cannot be so");
            break;
        }
    if (et->batch_bytes > BATCHES_MAX) { /* it goes on when they are applied */
        etcd_watch_stop(et->watch);
        et->watch = NULL;
        et->need_check = true;
    }
    et_follow(et);
}

static void on_ended(void *arg, int status, const struct cfs_err *err)
{
    struct store_etcd *et = arg;

    etcd_watch_stop(et->watch);
    et->watch = NULL;
    if (status == -ESTALE || status == -EMSGSIZE)
        want_read(et, err->text);
    else
        et->need_check = true;
    cfs_log_debug(et->s->log, WHO, "%s", err->text);
    follow_later(et);
}

static const struct etcd_watch_events watch_events = {on_event, on_ended};

void et_watch_is_late(struct store_etcd *et)
{
    if (!et->watch)
        return;
    etcd_watch_leave(et->watch);
    et->watch = NULL;
    et->need_check = true;
    et_follow(et);
}

/* -- what to do next ----------------------------------------------------- */

void et_follow(struct store_etcd *et)
{
    if (et->working || et->read || et->checking || et->stranger)
        return;
    if (!cfs_list_empty(&et->batches)) {
        et->batch = cfs_list_entry(cfs_list_pop(&et->batches),
                                   struct et_batch, link);
        et->batch_bytes -= et->batch->bytes;
        start_work(et);
    } else if (cfs_timer_active(&et->step_timer)) {
        return;
    } else if (et->need_read) {
        et_read_start(et->c, et->lineage, on_read, et, &et->read);
    } else if (et->need_check) {
        start_check(et);
    } else if (!et->watch) {
        etcd_watch_start(et->c, "", et->heard + 1, &watch_events, et,
                         &et->watch);
    }
}

/* -- comparing with the authority ---------------------------------------- */

#define ASKED UINT64_MAX /* want of an asker whom a poll under way is for */

static void mark_askers(struct store_etcd *et, uint64_t from, uint64_t to)
{
    cfs_list_for_each(l, &et->s->askers) {
        struct store_asker *a = cfs_list_entry(l, struct store_asker, link);

        if (a->want == from)
            a->want = to;
    }
}

static bool asker_waits(const struct store_etcd *et)
{
    cfs_list_for_each(l, &et->s->askers)
        if (cfs_list_entry(l, struct store_asker, link)->want == 0)
            return true;
    return false;
}

/* The watch tells less than etcd has, for a while now. */
static void look_at_watch(struct store_etcd *et, uint64_t revision)
{
    uint64_t now = cfs_now(et->s->loop);

    if (et->heard >= revision) {
        et->behind = 0;
    } else if (et->behind == 0 || et->heard >= et->behind) {
        et->behind = revision;
        et->behind_at = now;
    } else if (now - et->behind_at > LATE_NS) {
        et->behind = 0;
        et_watch_is_late(et);
    }
}

/* At @floor the copy was when etcd was asked. */
static void compare(struct store_etcd *et, uint64_t revision, uint64_t floor)
{
    struct store *s = et->s;

    et->authority = revision;
    et->polled_at = et->poll_sent_at;
    if (s->lineage == et->lineage && revision < floor) {
        cfs_log_warning(s->log, WHO, "etcd's revision fell from %" PRIu64
                        " to %" PRIu64 ": changes that were made are gone",
                        floor, revision);
        want_read(et, "etcd's revision fell");
    }
    note_current(et);
    look_at_watch(et, revision);
    et_follow(et);
}

void et_poll_failed(struct store_etcd *et, const struct cfs_err *err)
{
    set_problem(et, err);
    mark_askers(et, ASKED, 0);
    store_answer_askers(et->s, ET_CURRENT_MS * CFS_MS, err);
    cfs_timer_start(&et->poll_timer, asker_waits(et) ? RETRY_NS : POLL_NS);
}

static void on_poll(void *arg, int status, json_t *reply,
                    const struct cfs_err *err)
{
    struct store_etcd *et = arg;
    struct cfs_err why = *err;
    struct et_head head;
    uint64_t revision = et_revision(reply);

    et->polling = false;
    if (status == 0 && (et_head_read(reply, &head) < 0 || revision == 0))
        status = cfs_err_set(&why, -EBADMSG, "etcd's head record makes no "
                             "sense");
    if (status == 0)
        status = et_judge_head(et, &head, &why);
    if (status < 0) {
        et_poll_failed(et, &why);
        return;
    }
    mark_askers(et, ASKED, revision);
    compare(et, revision, et->poll_floor);
    store_answer_askers(et->s, ET_CURRENT_MS * CFS_MS, &(struct cfs_err){
        .code = -ETIMEDOUT, .text = "this node's copy of the configuration "
        "does not follow etcd"});
    cfs_timer_start(&et->poll_timer, asker_waits(et) ? 1
                    : et->behind ? RETRY_NS : POLL_NS);
}

/* Before, what may still take effect of our own is settled: so whoever waits
 * in store_current() after a transaction of unknown fate knows it then. */
void et_poll(struct store_etcd *et)
{
    if (et->polling)
        return;
    if (et->unsettled && !et->stranger) {
        et->poll_wanted = true;
        et_txn_step(et);
        return;
    }
    et->polling = true;
    et->poll_wanted = false;
    et->poll_floor = et->s->revision;
    et->poll_sent_at = cfs_now(et->s->loop);
    mark_askers(et, 0, ASKED);
    etcd_post(et->c, "/v3/kv/range",
              mem_ok(json_pack("{s:o}", "key", etcd_json_b64(ET_HEAD))),
              ET_TRY_MS, ET_POLL_MS, on_poll, et);
}

static void on_poll_timer(struct cfs_timer *t)
{
    et_poll(cfs_list_entry(t, struct store_etcd, poll_timer));
}

static void et_current(struct store *s)
{
    if (!s->etcd->polling && !s->etcd->poll_wanted)
        cfs_timer_start(&s->etcd->poll_timer, 1);
}

/* -- life ---------------------------------------------------------------- */

static void et_damaged(struct store *s)
{
    struct store_etcd *et = s->etcd;
    uint64_t now = cfs_now(s->loop);

    if (et->need_read || et->read || now - et->read_at < REREAD_NS)
        return;
    want_read(et, "a record of this node's copy is damaged");
    follow_later(et);
}

static void et_health(const struct store *s, struct store_health *ret)
{
    const struct store_etcd *et = s->etcd;
    uint64_t now = cfs_now(s->loop);

    ret->many = true;
    ret->authority = et->authority;
    ret->since = et->current_at;
    ret->current = et->current_at && now - et->current_at < CURRENT_NS;
    if (ret->current)
        return;
    snprintf(ret->problem, sizeof ret->problem, "%s", *et->problem ?
             et->problem : "this node's copy is not as new as etcd yet");
}

static bool is_idle(void *arg)
{
    return !((struct store_etcd *)arg)->working;
}

static void et_close(struct store *s)
{
    struct store_etcd *et = s->etcd;

    etcd_client_free(et->c); /* nothing is answered any more */
    et->c = NULL;
    et_read_free(et->read);
    cfs_timer_fini(&et->poll_timer);
    cfs_timer_fini(&et->step_timer);
    et_txn_fini(et);
    if (et->working) {
        et->stranger = true; /* nothing follows the job */
        cfs_loop_run_until(s->loop, is_idle, et);
        cfs_timer_stop(&et->step_timer);
    }
    batches_free(et);
    free(et);
    s->etcd = NULL;
}

static const struct store_engine engine = {
    .name = "etcd",
    .commit = et_commit,
    .current = et_current,
    .damaged = et_damaged,
    .health = et_health,
    .close = et_close,
};

void store_etcd_attach(struct store *s, uint64_t lineage,
                       struct etcd_client *c)
{
    struct store_etcd *et = mem_new(sizeof *et);

    et->s = s;
    et->c = c;
    et->lineage = lineage;
    et->need_check = true;
    et->heard = copy_head(s->copy)->revision;
    cfs_list_init(&et->batches);
    cfs_timer_init(s->loop, &et->poll_timer, on_poll_timer);
    cfs_timer_init(s->loop, &et->step_timer, on_step_timer);
    et_txn_init(et);
    s->etcd = et;
    s->engine = &engine;
    cfs_timer_start(&et->poll_timer, 1);
}

/* A copy that is damaged is read again; what of it is whole is served. */
static int load_copy(struct store *s, uint64_t lineage, bool *ret_damaged,
                     struct cfs_err *err)
{
    struct cfs_err why = {0};
    int rc = copy_load(s->copy, lineage, &why);

    *ret_damaged = false;
    if (rc == -CFS_E_CHECKSUM || rc == -CFS_E_CORRUPT) {
        cfs_log_error(s->log, WHO, "%s: a new copy is begun", why.text);
        return copy_renew(s->copy, lineage, err);
    }
    if (rc == 0) {
        rc = copy_verify(s->copy, &why);
        *ret_damaged = rc == -CFS_E_CHECKSUM || rc == -CFS_E_CORRUPT;
        if (*ret_damaged) {
            cfs_log_error(s->log, WHO, "%s", why.text);
            rc = 0;
        }
    }
    return rc < 0 ? cfs_err_set(err, rc, "%s", why.text) : 0;
}

int store_open_etcd(struct cfs_loop *loop, struct cfs_log *log,
                    const char *dir, uint64_t lineage,
                    const struct etcd_target *to, struct store **ret,
                    struct cfs_err *err)
{
    struct etcd_client *c;
    struct store *s;
    bool damaged;
    int rc = store_new(&engine, loop, log, dir, &s, err);

    assert(lineage > 0 && lineage <= STORE_LINEAGE_MAX);
    if (rc < 0)
        return rc;
    rc = load_copy(s, lineage, &damaged, err);
    if (rc == 0 && copy_head(s->copy)->lineage > lineage)
        rc = cfs_err_set(err, -ESTALE, "%s/store.db is of lineage %" PRIu64
                         ", newer than this node's %" PRIu64 ": it must not "
                         "go back", dir, copy_head(s->copy)->lineage, lineage);
    if (rc == 0)
        rc = etcd_client_new(loop, log, to, &c, err);
    if (rc < 0) {
        store_free(s);
        return rc;
    }
    store_take_head(s);
    store_etcd_attach(s, lineage, c);
    if (damaged)
        want_read(s->etcd, "this node's copy is damaged");
    *ret = s;
    return 0;
}

void store_retarget(struct store *s, const struct etcd_target *to)
{
    if (s->etcd)
        etcd_client_retarget(s->etcd->c, to);
}

void store_go_home(struct store *s)
{
    if (s->etcd)
        etcd_client_go_home(s->etcd->c);
}

void et_adopt(struct store *s, struct et_image *image)
{
    struct store_etcd *et = s->etcd;

    et->image = mem_new(sizeof *et->image);
    *et->image = *image;
    image->all = (struct store_changes){0};
    start_work(et);
}
