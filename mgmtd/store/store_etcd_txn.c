/* SPDX-License-Identifier: Apache-2.0 */
/* store_etcd_txn.c - transactions at etcd: at most once, and the answer is
 * the truth, although requests are given up after 0.3 s and sent again.
 *
 * Each life of a mgmtd has a record of its own, by = /clusterfs/by/WRITER. One
 * transaction of it is under way at a time. It is sent as
 *
 *     if    head is live and of our lineage,
 *           by was last changed at revision B, and the caller's comparisons
 *     then  the caller's operations, and by := a fresh nonce N
 *     else  read head, by, and the versions of what the caller compared
 *
 * and each repeat is the same request. Let a try be one such request, sent to
 * one member. A try that is never answered may still be carried out later.
 *
 * At most once. Only we put to by, and each try that is carried out changes
 * it: its revision is above B from then on and never B again. So of all tries
 * with the same B at most one is carried out.
 *
 * The answer is the truth.
 *  - "then": it happened, now. No other try can happen.
 *  - "else" and by holds N: it happened, by an earlier try.
 *  - "else" and by was changed at B' other than B, and does not hold N: an
 *    old try of something else did that. Ours did not happen and, since B is
 *    past, no try of ours can: send it anew with B'.
 *  - "else" and by is at B: one of the caller's comparisons failed. If no
 *    earlier try was left unanswered: a conflict. Otherwise that try may still
 *    come, and hold by then (a record that was there may be gone again): it is
 *    settled first.
 *  - no answer from anybody: if no try went out, nothing happened. Otherwise
 *    nobody can know yet (-ETIMEDOUT); B stays in doubt ("unsettled").
 *
 * To settle: if head is ours and by is at B, then by := a fresh nonce S.
 * Carried out, B is past: no old try can happen any more. Not carried out
 * since by has moved: what it holds says which old try happened, and B is past
 * too. Sent again and again, S tells its own repeats. A new life settles
 * first, so that its first B is above 0 (0, no record, could come back when
 * the record is deleted), and deletes its predecessor's record; so does
 * store_current() and the next transaction after one of unknown fate.
 *
 * An answer is given when the copy has come as far as it (store_etcd.c), a
 * conflict too: who reads then, and tries again, does not meet it again.
 */
#include "mgmtd/store/store_etcd.h"

#include <stdio.h>

#include "mgmtd/mem.h"

#define LATE_NS (300 * CFS_MS) /* until another member's watch is tried */
#define AGAIN_NS (50 * CFS_MS)
#define PATIENCE_NS (ET_COMMIT_MS * CFS_MS)

/* -- answering ----------------------------------------------------------- */

static void answer(struct store_etcd *et)
{
    struct store_txn *t = et->txn;

    et->txn = NULL;
    et->done = false;
    cfs_timer_stop(&et->wait_timer);
    store_committed(et->s, t, et->result, &et->result_err);
}

/* The fate is known: answered once the copy is at @want. */
static void try_answer(struct store_etcd *et)
{
    bool has = et->s->lineage == et->lineage && et->s->revision >= et->want;

    if (et->want > 0 && !has) {
        if (!cfs_timer_active(&et->wait_timer))
            cfs_timer_start(&et->wait_timer, LATE_NS);
        return;
    }
    answer(et);
}

static void decide(struct store_etcd *et, int status, uint64_t want,
                   const struct cfs_err *err)
{
    et->done = true;
    et->result = status;
    et->result_err = err ? *err : (struct cfs_err){0};
    et->want = want;
    et->since = cfs_ran(et->s->loop);
    et->conflict = false;
    try_answer(et);
}

static void fail(struct store_etcd *et, int status, const struct cfs_err *err)
{
    struct cfs_err why = {0};

    cfs_err_set(&why, status, "%s: %.300s", status == -ETIMEDOUT ?
                "it is not known whether the change was made" :
                "nothing was changed", err->text);
    decide(et, status, 0, &why);
}

static void on_wait(struct cfs_timer *timer)
{
    struct store_etcd *et = cfs_list_entry(timer, struct store_etcd,
                                           wait_timer);
    bool over = cfs_ran(et->s->loop) - et->since > PATIENCE_NS;

    if (!et->done) {
        et_txn_step(et);
        return;
    }
    if (over && et->result == 0) {
        et->result = cfs_err_set(&et->result_err, -ETIMEDOUT, "the change was "
                                 "made, but this node's copy of the "
                                 "configuration does not follow");
    }
    if (over) {
        answer(et);
        return;
    }
    cfs_timer_start(&et->wait_timer, LATE_NS);
    if (et->heard < et->want)
        et_watch_is_late(et);
}

/* -- what an "else" says ------------------------------------------------- */

struct verdict {
    uint64_t revision; /* when it was read */
    uint64_t by_mod;
    char     nonce[COPY_ID];
};

/* 0; -EAGAIN: a little later again; or the error. */
static int read_else(struct store_etcd *et, const json_t *reply,
                     struct verdict *ret, struct cfs_err *err)
{
    const json_t *by = et_first(et_range(reply, 1));
    struct et_head head;

    ret->revision = et_revision(reply);
    if (ret->revision == 0 || !et_range(reply, 0) || !et_range(reply, 1) ||
        et_head_read(et_range(reply, 0), &head) < 0 ||
        etcd_number(by, "mod_revision", &ret->by_mod) < 0)
        return cfs_err_set(err, -EBADMSG, "etcd's answer makes no sense");
    et_by_read(by, ret->nonce);
    return et_judge_head(et, &head, err);
}

static json_t *compare_base(const struct store_etcd *et)
{
    char *live = et_head_text(et->lineage, NULL);
    char *by = et_by_key(et->writer);
    json_t *ret = mem_ok(json_pack("[oo]", et_cmp_value(ET_HEAD, live),
                                   et_cmp_mod(by, et->by_mod)));

    free(live);
    free(by);
    return ret;
}

static json_t *read_base(const struct store_etcd *et)
{
    char *by = et_by_key(et->writer);
    json_t *ret = mem_ok(json_pack("[oo]", et_get(ET_HEAD), et_get(by)));

    free(by);
    return ret;
}

static void append_by(const struct store_etcd *et, json_t *ops,
                      const char *nonce)
{
    char *by = et_by_key(et->writer), *text = et_by_text(nonce);

    json_array_append_new(ops, et_put(by, text));
    free(by);
    free(text);
}

static bool again_later(struct store_etcd *et)
{
    if (cfs_ran(et->s->loop) - et->since > PATIENCE_NS)
        return false;
    cfs_timer_start(&et->wait_timer, AGAIN_NS);
    return true;
}

/* -- settling ------------------------------------------------------------ */

static void settle_failed(struct store_etcd *et, int status,
                          const struct cfs_err *err)
{
    if (et->txn && et->conflict)
        fail(et, -ETIMEDOUT, err);
    else if (et->txn && !(status == -EAGAIN && again_later(et)))
        fail(et, status == -ETIMEDOUT ? -EHOSTUNREACH : status, err);
    if (et->poll_wanted) {
        et->poll_wanted = false;
        et_poll_failed(et, err);
    }
}

static void settled(struct store_etcd *et, const char *by_nonce,
                    uint64_t revision)
{
    bool happened = et->conflict && strcmp(by_nonce, et->nonce) == 0;

    et->unsettled = et->by_mod == 0;
    if (!et->unsettled)
        strcpy(et->old_writer, "-");
    if (et->txn && happened) {
        decide(et, 0, et->by_mod, NULL);
    } else if (et->txn && et->conflict) {
        struct cfs_err err = et->result_err;

        decide(et, -CFS_E_CONFLICT, revision, &err);
    } else {
        et_txn_step(et);
    }
    if (et->poll_wanted)
        et_poll(et);
}

static void on_settle(void *arg, int status, json_t *reply,
                      const struct cfs_err *err)
{
    struct store_etcd *et = arg;
    struct cfs_err why = *err;
    struct verdict v = {0};

    et->sending = false;
    if (status == 0 && json_is_true(json_object_get(reply, "succeeded"))) {
        et->by_mod = et_revision(reply);
        settled(et, et->settle_nonce, et->by_mod);
        return;
    }
    if (status == 0)
        status = read_else(et, reply, &v, &why);
    if (status == 0 && v.by_mod == et->by_mod)
        status = cfs_err_set(&why, -EBADMSG, "etcd's answer makes no sense");
    if (status < 0) {
        settle_failed(et, status, &why);
        return;
    }
    et->by_mod = v.by_mod;
    settled(et, v.nonce, v.revision);
}

static void send_settle(struct store_etcd *et)
{
    json_t *ops = mem_ok(json_array());

    et->sending = true;
    et_nonce(et->s->loop, et->settle_nonce);
    append_by(et, ops, et->settle_nonce);
    if (*et->old_writer != '-') {
        char *old = et_by_key(et->old_writer);

        json_array_append_new(ops, et_delete(old));
        free(old);
    }
    etcd_post(et->c, "/v3/kv/txn",
              et_txn(compare_base(et), ops, read_base(et)), ET_TRY_MS,
              et->txn ? ET_COMMIT_MS : ET_POLL_MS, on_settle, et);
}

/* -- a transaction ------------------------------------------------------- */

static uint64_t revision_of(const struct store_op *op)
{
    return op->type == STORE_IF_ABSENT ? 0 :
           op->token & (((uint64_t)1 << STORE_REVISION_BITS) - 1);
}

/* A token of another lineage, or of none, never compares equal. */
static bool can_hold(const struct store_etcd *et, const struct store_op *op)
{
    return op->type != STORE_IF ||
           (op->token >> STORE_REVISION_BITS == et->lineage &&
            revision_of(op) > 0);
}

static void set_conflict(const char *key, struct cfs_err *err)
{
    cfs_err_set(err, -CFS_E_CONFLICT, "'%s' was changed by somebody else "
                "first", key);
}

/* Which of the comparisons failed, by the versions that were read. */
static void name_conflict(const struct store_etcd *et, const json_t *reply,
                          struct cfs_err *err)
{
    const struct store_txn *t = et->txn;
    size_t at = 2;

    for (size_t i = 0; i < t->n_ops; i++) {
        if (!store_op_is_condition(&t->op[i]))
            continue;
        if (etcd_u64(et_first(et_range(reply, at++)), "mod_revision") !=
            revision_of(&t->op[i])) {
            set_conflict(t->op[i].key, err);
            return;
        }
    }
    cfs_err_set(err, -CFS_E_CONFLICT, "somebody else changed it first");
}

static void not_carried_out(struct store_etcd *et, const json_t *reply,
                            bool doubt)
{
    struct cfs_err err = {0};
    struct verdict v = {0};
    int rc = read_else(et, reply, &v, &err);

    if (rc == 0 && strcmp(v.nonce, et->nonce) == 0) {
        et->by_mod = v.by_mod;
        decide(et, 0, v.by_mod, NULL);
    } else if (rc == 0 && v.by_mod != et->by_mod) {
        et->by_mod = v.by_mod;
        et->unsettled = v.by_mod == 0;
        et_txn_step(et);
    } else if (rc == 0) {
        name_conflict(et, reply, &err);
        if (!doubt) {
            decide(et, -CFS_E_CONFLICT, v.revision, &err);
            return;
        }
        et->result_err = err;
        et->conflict = true;
        et->unsettled = true;
        et_txn_step(et);
    } else if (rc == -EAGAIN && !doubt && again_later(et)) {
        return;
    } else {
        et->unsettled |= doubt;
        fail(et, doubt ? -ETIMEDOUT : rc, &err);
    }
}

static void on_txn(void *arg, int status, json_t *reply,
                   const struct cfs_err *err)
{
    struct store_etcd *et = arg;
    bool doubt = etcd_in_doubt(et->c) || status == -ETIMEDOUT;
    uint64_t revision;

    et->sending = false;
    if (status < 0) {
        et->unsettled |= doubt;
        fail(et, doubt ? -ETIMEDOUT : status, err);
        return;
    }
    if (!json_is_true(json_object_get(reply, "succeeded"))) {
        not_carried_out(et, reply, doubt);
        return;
    }
    revision = et_revision(reply);
    et->by_mod = revision;
    et->unsettled = revision == 0;
    decide(et, 0, revision, NULL);
}

static json_t *operations(const struct store_etcd *et)
{
    const struct store_txn *t = et->txn;
    json_t *ops = mem_ok(json_array());

    for (size_t i = 0; i < t->n_ops; i++) {
        const struct store_op *op = &t->op[i];
        char *key = mem_printf(ET_REC "%s", op->key);

        if (op->type == STORE_PUT)
            json_array_append_new(ops, et_put(key, op->text));
        else if (op->type == STORE_DELETE)
            json_array_append_new(ops, et_delete(key));
        else if (op->type == STORE_DELETE_PREFIX)
            json_array_append_new(ops, et_delete_prefix(key));
        free(key);
    }
    append_by(et, ops, et->nonce);
    return ops;
}

static void send_txn(struct store_etcd *et)
{
    const struct store_txn *t = et->txn;
    json_t *compare = compare_base(et), *other = read_base(et);
    struct cfs_err err = {0};

    for (size_t i = 0; i < t->n_ops; i++) {
        char *key;

        if (!store_op_is_condition(&t->op[i]))
            continue;
        if (!can_hold(et, &t->op[i])) {
            set_conflict(t->op[i].key, &err);
            break;
        }
        key = mem_printf(ET_REC "%s", t->op[i].key);
        json_array_append_new(compare, et_cmp_mod(key,
                                                  revision_of(&t->op[i])));
        json_array_append_new(other, et_get_version(key));
        free(key);
    }
    if (err.code) {
        json_decref(compare);
        json_decref(other);
        decide(et, -CFS_E_CONFLICT, 0, &err);
        return;
    }
    et->sending = true;
    etcd_post(et->c, "/v3/kv/txn", et_txn(compare, operations(et), other),
              ET_TRY_MS, ET_COMMIT_MS, on_txn, et);
}

void et_txn_step(struct store_etcd *et)
{
    if (et->sending || cfs_timer_active(&et->wait_timer)) {
        if (et->done)
            try_answer(et);
        return;
    }
    if (et->done)
        try_answer(et);
    else if (et->unsettled && (et->txn || et->poll_wanted))
        send_settle(et);
    else if (et->txn)
        send_txn(et);
}

void et_commit(struct store *s, struct store_txn *t)
{
    struct store_etcd *et = s->etcd;

    et->txn = t;
    et->done = false;
    et->conflict = false;
    et->since = cfs_ran(s->loop);
    et_nonce(s->loop, et->nonce);
    et_txn_step(et);
}

void et_txn_init(struct store_etcd *et)
{
    snprintf(et->old_writer, COPY_ID, "%s", copy_head(et->s->copy)->writer);
    et_nonce(et->s->loop, et->writer);
    et->unsettled = true;
    cfs_timer_init(et->s->loop, &et->wait_timer, on_wait);
}

void et_txn_fini(struct store_etcd *et)
{
    cfs_timer_fini(&et->wait_timer);
}
