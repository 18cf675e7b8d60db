/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_repl.c - what replication and sessions keep: orphans, tombstones, the
 * dirty index, the operation log, sessions, answers, views, the brick's own
 * record.
 */
#include <inttypes.h>

#include "rpc/fop_codec.h"
#include "server/fsck_int.h"

static const struct cfs_gfid nobody;

static void orphan_each(struct fsck *f, const struct rec_id *id,
                        struct cfs_blob value)
{
    uint32_t at = fsck_ino(f, id->gfid), session;

    if (!fsck_whole(f, rec_orphan_unpack(value, &session), id->gfid,
                    "being an orphan"))
        return;
    if (at != FSCK_NONE) {
        f->ino[at].flags |= INO_ORPHAN;
        return;
    }
    fsck_find(f, "orphan", id->gfid,
              "is among the orphans, and does not exist");
    fsck_fix_this(f);
}

static void tomb_each(struct fsck *f, const struct rec_id *id,
                      struct cfs_blob value)
{
    struct cfs_version v;

    if (!fsck_whole(f, rec_tomb_unpack(value, &v), id->gfid, "tombstone"))
        return;
    if (fsck_ino(f, id->gfid) != FSCK_NONE) {
        fsck_find(f, "tombstone", id->gfid,
                  "has a tombstone, and still exists");
        fsck_fix_this(f);
    }
}

static bool has_tomb(struct fsck *f, struct cfs_gfid g)
{
    struct cfs_blob v;
    struct rec_key k;

    rec_key_gfid(&k, REC_TOMB, g);
    return eng_get(f->e, rec_key_blob(&k), &v) == 0;
}

static void dirty_each(struct fsck *f, const struct rec_id *id,
                       struct cfs_blob value)
{
    uint32_t at = fsck_ino(f, id->gfid);
    struct rec_dirty d;

    f->r->dirty++;
    if (!fsck_whole(f, rec_dirty_unpack(value, &d), id->gfid,
                    "entry in the dirty index"))
        return;
    if (at == FSCK_NONE) {
        if (!has_tomb(f, id->gfid)) {
            fsck_find(f, "dirty", id->gfid,
                      "is in the dirty index, and neither exists nor has a "
                      "tombstone");
            fsck_fix_this(f);
        }
        return;
    }
    f->ino[at].flags |= INO_DIRTY;
    if ((f->ino[at].flags & INO_BROKEN) || f->ino[at].dirty == d.session)
        return;
    fsck_find(f, "dirty", id->gfid,
              "was changed last by session %" PRIu32 "; the dirty index says %"
              PRIu32, f->ino[at].dirty, d.session);
    fsck_fix_set(f, id->gfid, SET_DIRTY, d.session);
}

static void oplog_each(struct fsck *f, const struct rec_id *id,
                       struct cfs_blob value)
{
    struct cfs_call call = {.loop = f->loop};
    struct cfs_blob request;
    struct cfs_req *req;
    enum cfs_fop fop;
    int rc;

    f->r->oplog++;
    rc = rec_oplog_unpack(value, &fop, &request);
    if (rc == 0) {
        cfs_arena_init(&call.arena);
        rc = cfs_fop_unpack(&call, fop, request, (struct cfs_buf){0}, &req);
        if (rc == 0 &&
            (!req->change || req->change->session != id->session ||
             req->change->no != id->n))
            rc = -CFS_E_CORRUPT;
        cfs_arena_fini(&call.arena);
    }
    if (rc < 0) {
        fsck_find(f, "oplog", nobody,
                  "the operation log's entry of session %" PRIu32
                  ", change %" PRIu64 " is damaged", id->session, id->n);
        fsck_fix_this(f);
    }
}

/* -- sessions, answers, views --------------------------------------------- */

static void brick_each(struct fsck *f, const struct rec_id *id,
                       struct cfs_blob value)
{
    f->has_brick = rec_brick_unpack(value, &f->brick) == 0;
    if (!f->has_brick) {
        fsck_find(f, "record", nobody, "the brick's own record is damaged");
        fsck_fix_this(f);
    }
}

static void session_each(struct fsck *f, const struct rec_id *id,
                         struct cfs_blob value)
{
    const struct rec_brick *b = f->config->counts ? f->config->counts
                                                  : &f->brick;
    struct rec_session s;

    if (rec_session_unpack(value, id->session, &s) < 0) {
        fsck_find(f, "session", nobody,
                  "the record of session %" PRIu32 " is damaged",
                  id->session);
        fsck_fix_this(f);
        return;
    }
    if (f->session_seen < id->session)
        f->session_seen = id->session;
    if (id->session != 0 && (!f->has_brick || id->session <= b->session_max))
        return;
    fsck_find(f, "session", nobody,
              "there is a session %" PRIu32 ", but %" PRIu32
              " is the highest number ever given", id->session,
              b->session_max);
    if (id->session == 0)
        fsck_fix_this(f);
    else
        f->few_sessions = true;
}

static void answer_each(struct fsck *f, const struct rec_id *id,
                        struct cfs_blob value)
{
    struct rec_answer a;

    if (rec_answer_unpack(value, &a) < 0) {
        fsck_find(f, "answer", nobody,
                  "the stored answer of session %" PRIu32 ", change %" PRIu64
                  " is damaged", id->session, id->n);
        fsck_fix_this(f);
    }
}

static void view_each(struct fsck *f, const struct rec_id *id,
                      struct cfs_blob value)
{
    struct cfs_view v;

    if (rec_view_unpack(value, &v) < 0)
        fsck_find(f, "view", nobody,
                  "the record of view %" PRIu64 ".%" PRIu64 " is damaged",
                  id->lineage, id->n);
    else if (v.lineage != id->lineage || v.epoch != id->n)
        fsck_find(f, "view", nobody,
                  "the record of view %" PRIu64 ".%" PRIu64 " is that of %"
                  PRIu64 ".%" PRIu64, id->lineage, id->n, v.lineage, v.epoch);
    else
        return;
    fsck_fix_this(f);
}

void fsck_repl(struct fsck *f)
{
    static const struct fsck_pass passes[] = {
        {.table = REC_BRICK, .what = "brick records", .each = brick_each},
        {.table = REC_ORPHAN, .what = "orphans", .each = orphan_each},
        {.table = REC_TOMB, .what = "tombstones", .each = tomb_each},
        {.table = REC_DIRTY, .what = "dirty inodes", .each = dirty_each},
        {.table = REC_OPLOG, .what = "logged operations", .each = oplog_each},
        {.table = REC_SESSION, .what = "sessions", .each = session_each},
        {.table = REC_ANSWER, .what = "answers", .each = answer_each},
        {.table = REC_VIEW, .what = "views", .each = view_each},
    };

    for (size_t i = 0; i < CFS_ARRAY_SIZE(passes); i++)
        fsck_pass(f, &passes[i]);
}
