/* SPDX-License-Identifier: Apache-2.0 */
/* store_switch.c - from the embedded engine to etcd, in place: from one to
 * many (store_to_etcd), and a node that joins (store_follow_etcd).
 *
 * From one to many. Transactions wait. Then, at the new etcd:
 *
 *   begin    head := filling, with a random id; what an attempt that was cut
 *            off left there goes. Only if head is not live: an etcd in use is
 *            never touched.
 *   fill     the records, some at a time, each time only if head is filling
 *            with our id: what is sent twice, or comes late from an attempt
 *            that was given up, does nothing.
 *   compare  everything is read back, and must be what is here.
 *   mark     the caller's marker, durable: from here on etcd is the authority.
 *   adopt    the copy takes the tokens that etcd gave; watchers hear of every
 *            record. The engine makes head live (store_etcd.c), before
 *            anything else.
 *
 * A crash before the mark leaves the embedded authority untouched, and one
 * after it etcd, whose head whoever opens the store makes live. Everything
 * before the mark may be done again from the start.
 */
#include "mgmtd/store/store_etcd.h"

#include <inttypes.h>
#include <stdio.h>

#include "mgmtd/mem.h"

#define WHO "store"

#define TRY_MS      2000u /* etcd has just been started */
#define TOTAL_MS    10000u
#define BATCH_OPS   100u
#define BATCH_BYTES (512u * 1024u)

struct store_switch {
    struct store        *s;
    struct etcd_client  *c;
    struct etcd_target   to;
    uint64_t             lineage;
    char                *filling; /* head's text */
    struct store_changes all;     /* what is here */
    size_t               at;      /* sent so far */
    struct et_read      *read;
    bool                 begun;
    struct cfs_task      task;
    int (*mark)(void *arg);
    store_done          *done;
    void                *arg;
};

void store_switch_free(struct store_switch *sw)
{
    if (!sw)
        return;
    cfs_task_cancel(&sw->task);
    etcd_client_free(sw->c);
    et_read_free(sw->read);
    store_changes_free(&sw->all);
    free(sw->filling);
    free(sw);
}

void store_switch_end(struct store *s, int status, const struct cfs_err *err)
{
    struct store_switch *sw = s->sw;
    store_done *done = sw->done;
    void *arg = sw->arg;

    s->sw = NULL;
    store_switch_free(sw);
    store_pause(s, false);
    done(arg, status, err);
}

static void fail(struct store_switch *sw, const struct cfs_err *err)
{
    struct cfs_err why = {0};

    cfs_err_set(&why, err->code, "the configuration cannot go to etcd, and "
                "stays where it is: %.350s", err->text);
    store_switch_end(sw->s, err->code, &why);
}

static void fail_with(struct store_switch *sw, int code, const char *text)
{
    struct cfs_err err = {0};

    cfs_err_set(&err, code, "%s", text);
    fail(sw, &err);
}

/* -- mark, adopt --------------------------------------------------------- */

/* What waits compared records that did not change: only their tokens did. */
static void renew_tokens(struct store *s, const struct store_changes *old,
                         const struct store_changes *now)
{
    cfs_list_for_each(l, &s->queue) {
        struct store_txn *t = cfs_list_entry(l, struct store_txn, link);

        for (size_t i = 0; i < t->n_ops; i++)
            for (size_t k = 0; k < old->n; k++)
                if (t->op[i].type == STORE_IF &&
                    t->op[i].token == old->v[k].token &&
                    strcmp(t->op[i].key, old->v[k].key) == 0) {
                    t->op[i].token = now->v[k].token;
                    break;
                }
    }
}

static void adopt(struct store_switch *sw, struct et_image *image)
{
    struct store *s = sw->s;

    free(s->sqlite);
    s->sqlite = NULL;
    store_etcd_attach(s, sw->lineage, sw->c);
    sw->c = NULL;
    renew_tokens(s, &sw->all, &image->all);
    et_adopt(s, image); /* store_switch_end(), when the copy has it */
}

static bool same(const struct store_changes *here,
                 const struct store_changes *there)
{
    if (here->n != there->n)
        return false;
    for (size_t i = 0; i < here->n; i++)
        if (strcmp(here->v[i].key, there->v[i].key) != 0 ||
            strcmp(here->v[i].text, there->v[i].text) != 0)
            return false;
    return true;
}

static void on_read(void *arg, int status, struct et_image *image,
                    const struct cfs_err *err)
{
    struct store_switch *sw = arg;

    sw->read = NULL;
    if (status < 0)
        fail(sw, err);
    else if (strcmp(image->head.text, sw->filling) != 0 ||
             !same(&sw->all, &image->all))
        fail_with(sw, -EIO, "what etcd has is not what was put there");
    else if ((status = sw->mark(sw->arg)) < 0)
        fail_with(sw, status, cfs_err_str(status));
    else
        adopt(sw, image);
}

/* -- begin, fill --------------------------------------------------------- */

/* Each transaction has a nonce, as all have. */
static void append_nonce(struct store_switch *sw, json_t *ops)
{
    char nonce[COPY_ID], *text;

    et_nonce(sw->s->loop, nonce);
    text = et_by_text(nonce);
    json_array_append_new(ops, et_put(ET_BY "switch", text));
    free(text);
}

static void fill(struct store_switch *sw);

/* "else" read the head: perhaps an earlier try of ours was carried out. */
static void on_filled(void *arg, int status, json_t *reply,
                      const struct cfs_err *err)
{
    struct store_switch *sw = arg;
    struct et_head head;

    if (status < 0) {
        fail(sw, err);
        return;
    }
    if (!json_is_true(json_object_get(reply, "succeeded")) &&
        (et_head_read(et_range(reply, 0), &head) < 0 ||
         strcmp(head.text, sw->filling) != 0)) {
        fail_with(sw, -EBUSY, "somebody else writes to this etcd");
        return;
    }
    fill(sw);
}

static void fill(struct store_switch *sw)
{
    const struct store_changes *all = &sw->all;
    json_t *ops;
    size_t bytes = 0;

    if (sw->at == all->n) {
        et_read_start(sw->c, sw->lineage, on_read, sw, &sw->read);
        return;
    }
    ops = mem_ok(json_array());
    while (sw->at < all->n && bytes < BATCH_BYTES &&
           json_array_size(ops) < BATCH_OPS) {
        const struct store_change *r = &all->v[sw->at++];
        char *key = mem_printf(ET_REC "%s", r->key);

        json_array_append_new(ops, et_put(key, r->text));
        bytes += strlen(key) + strlen(r->text);
        free(key);
    }
    append_nonce(sw, ops);
    etcd_post(sw->c, "/v3/kv/txn",
              et_txn(json_pack("[o]", et_cmp_value(ET_HEAD, sw->filling)),
                     ops, json_pack("[o]", et_get(ET_HEAD))),
              TRY_MS, TOTAL_MS, on_filled, sw);
}

static void on_head(void *arg, int status, json_t *reply,
                    const struct cfs_err *err)
{
    struct store_switch *sw = arg;
    struct et_head head;
    json_t *ops;

    if (status < 0) {
        fail(sw, err);
    } else if (et_head_read(reply, &head) < 0) {
        fail_with(sw, -EBADMSG, "there is something else in it");
    } else if (head.live) {
        fail_with(sw, -EEXIST, "it holds the configuration of a cluster");
    } else {
        ops = json_pack("[oo]", et_put(ET_HEAD, sw->filling),
                        et_delete_prefix(ET_REC));
        append_nonce(sw, ops);
        etcd_post(sw->c, "/v3/kv/txn",
                  et_txn(json_pack("[o]", et_cmp_mod(ET_HEAD, head.mod)), ops,
                         json_pack("[o]", et_get(ET_HEAD))),
                  TRY_MS, TOTAL_MS, on_filled, sw);
    }
}

static int collect(void *arg, const char *key, const char *text,
                   uint64_t token, struct cfs_err *err)
{
    store_changes_add(arg, key, text, token);
    return 0;
}

/* The transaction that was under way is done, and no other begins. */
static void begin(struct cfs_task *task)
{
    struct store_switch *sw = cfs_list_entry(task, struct store_switch, task);
    struct cfs_err err = {0};
    char id[COPY_ID];
    int rc;

    if (sw->s->busy || sw->begun)
        return;
    sw->begun = true;
    et_nonce(sw->s->loop, id);
    sw->filling = et_head_text(sw->lineage, id);
    rc = copy_range(sw->s->copy, "", collect, &sw->all, &err);
    if (rc == 0)
        rc = etcd_client_new(sw->s->loop, sw->s->log, &sw->to, &sw->c, &err);
    if (rc < 0) {
        fail(sw, &err);
        return;
    }
    etcd_post(sw->c, "/v3/kv/range",
              mem_ok(json_pack("{s:o}", "key", etcd_json_b64(ET_HEAD))),
              TRY_MS, TOTAL_MS, on_head, sw);
}

void store_switch_idle(struct store *s)
{
    cfs_task_post(s->loop, &s->sw->task);
}

void store_to_etcd(struct store *s, const struct etcd_target *to,
                   uint64_t lineage, int (*mark)(void *arg), store_done *done,
                   void *arg)
{
    struct store_switch *sw = mem_new(sizeof *sw);

    assert(s->sqlite && !s->sw && lineage > s->lineage &&
           lineage <= STORE_LINEAGE_MAX);
    sw->s = s;
    sw->to = *to;
    sw->lineage = lineage;
    sw->mark = mark;
    sw->done = done;
    sw->arg = arg;
    cfs_task_init(&sw->task, begin);
    s->sw = sw;
    store_pause(s, true);
    store_switch_idle(s);
}

/* -- joining ------------------------------------------------------------- */

int store_follow_etcd(struct store *s, const struct etcd_target *to,
                      uint64_t lineage, struct cfs_err *err)
{
    struct etcd_client *c;
    int rc;

    assert(lineage <= STORE_LINEAGE_MAX);
    if (s->sw || (s->sqlite ? s->busy || !cfs_list_empty(&s->queue)
                            : s->etcd->working))
        return cfs_err_set(err, -EBUSY, "the configuration is being changed; "
                           "try again");
    if (lineage <= s->lineage)
        return cfs_err_set(err, -ESTALE, "the configuration here is of "
                           "lineage %" PRIu64 ", not older than the "
                           "cluster's %" PRIu64, s->lineage, lineage);
    rc = etcd_client_new(s->loop, s->log, to, &c, err);
    if (rc < 0)
        return rc;
    if (s->sqlite) {
        free(s->sqlite);
        s->sqlite = NULL;
    } else {
        /* Of another life: what waits is decided by the new one, where the
         * tokens of the old one are in conflict. */
        s->engine->close(s);
        s->busy = false;
        cfs_task_post(s->loop, &s->task);
    }
    store_etcd_attach(s, lineage, c);
    if (!cfs_list_empty(&s->askers))
        s->engine->current(s);
    return 0;
}
