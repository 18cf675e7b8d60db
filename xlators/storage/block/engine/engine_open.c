/* SPDX-License-Identifier: Apache-2.0 */
/* engine_open.c - a start: what the page cache still holds is written back
 * and forgotten; superblock; the newest checkpoint record; space map and
 * root; the journal is examined (after a clean stop, the place of its first
 * record). Up to here nothing is written, and a damaged store stays as it is.
 * Then it grows, if its device has; a new life is made durable; the journal is
 * applied; and, unless the last end was clean, a checkpoint follows, so that
 * the journal begins empty, with a chain that nothing old can continue.
 */
#include <stdlib.h>

#include "core/xxh3.h"
#include "xlators/storage/block/engine/engine_int.h"

/* What the first record of a life has as its predecessor's checksum. */
static uint64_t first_chain(const struct eng *e)
{
    return eng_sum(e, &e->incarnation, sizeof e->incarnation);
}

/* -- the steps ------------------------------------------------------------- */

/* What an earlier life left in the page cache goes to the device, and the
 * result is known. If that life did not end well, by the checkpoint record in
 * @slot, journal and data are then read as the device has them; all else is,
 * anyway. */
static int settle_cache(struct eng *e, const uint8_t *slot,
                        struct cfs_err *err)
{
    const struct fmt_ckpt *c = (const struct fmt_ckpt *)(const void *)slot;
    const struct cfs_dev_ops *ops = e->dev->ops;
    int rc = e->conf.read_only       ? 0
             : c->flags & CKPT_CLEAN ? ops->flush(e->dev)
                                     : ops->drop_cache(e->dev);

    return rc < 0 ? cfs_err_set(err, rc, "write-back of what was cached: %s",
                                cfs_err_str(rc))
                  : 0;
}

static int load_state(struct eng *e, const uint8_t *slot, struct cfs_err *err)
{
    int rc;

    memcpy(&e->last, slot, sizeof e->last);
    e->was_clean = e->last.flags & CKPT_CLEAN;
    e->incarnation = e->last.incarnation + !e->conf.read_only;
    if (e->conf.older && !e->conf.no_journal && e->was_clean)
        return cfs_err_set(err, -CFS_E_CORRUPT, "the checkpoint before the "
                           "newest has the same tree");
    if (e->conf.no_journal)
        e->was_clean = true;
    if (e->last.jrn_start > UINT64_MAX / 2 ||
        e->last.jrn_start % REC_ALIGN != 0)
        return cfs_err_set(err, -CFS_E_CORRUPT,
                           "the checkpoint record is out of bounds");
    space_init(e);
    rc = space_load(e, slot, err);
    if (rc < 0)
        return rc;
    data_back_open(e);
    rc = tree_load(e, &e->last.root, e->last.level);
    if (rc < 0)
        cfs_err_set(err, rc, "the root of the tree: %s", cfs_err_str(rc));
    return rc;
}

static int new_life(struct eng *e, struct cfs_err *err)
{
    int rc;

    jrn_set(e, e->last.jrn_start,
            e->was_clean ? first_chain(e) : e->last.jrn_chain);
    e->jrn.start = e->last.jrn_start;
    if (e->conf.read_only)
        return 0;
    rc = ckpt_new_life(e, e->was_clean);
    if (rc < 0)
        return cfs_err_set(err, rc, "write of the checkpoint record: %s",
                           cfs_err_str(rc));
    e->jrn.start = e->last.jrn_start;
    return 0;
}

static int apply_journal(struct eng *e, struct jscan *sc, eng_replay *replay,
                         void *ctx, struct cfs_err *err)
{
    int rc = 0;

    e->replaying = e->in_line = true;
    if (replay)
        rc = replay(ctx, e, NULL);
    if (rc < 0)
        return cfs_err_set(err, rc, "what the store keeps in memory: %s",
                           e->poisoned ? e->reason : cfs_err_str(rc));
    if (sc)
        rc = jrn_apply(sc, replay, ctx, err);
    if (rc == 0 && !e->was_clean && !e->conf.read_only) {
        jrn_set(e, e->jrn.pos, first_chain(e));
        rc = ckpt_inline(e, false);
        if (rc < 0)
            cfs_err_set(err, rc, "checkpoint: %s", cfs_err_str(rc));
    }
    e->replaying = false;
    e->in_line = e->conf.blocking;
    return rc;
}

/* On a device that became larger all that follows is about the larger store;
 * on the device it grows when it is known to be sound. */
static void want_growth(struct eng *e, struct fmt_super *ret_small)
{
    *ret_small = e->sb;
    if (!e->conf.no_grow && !e->conf.read_only && !(e->sb.compat & FMT_FIXED))
        super_larger(ret_small, e->dev->size / CFS_BLOCK, &e->sb);
}

/* A superblock that cannot be read, or was torn while it was changed; or that
 * does not say yet that there may be second copies, or packs. */
static int mend_super(struct eng *e, struct cfs_err *err)
{
    const uint64_t want = (e->copies == 2 ? FMT_TWICE : 0) |
                          (e->conf.packs ? FMT_PACKED : 0);
    bool marked = (want & ~e->sb.incompat) != 0;
    int rc;

    if (e->conf.read_only)
        return 0;
    if (marked) {
        e->sb.incompat |= want;
        e->sb.sum = super_sum(&e->sb);
    }
    rc = super_mend(e->dev, &e->sb);
    if (rc < 0)
        return cfs_err_set(err, rc, "write of the superblock: %s",
                           cfs_err_str(rc));
    if (rc > 0 && !marked)
        cfs_log_warning(e->log, "store", "%s: a copy of its superblock was "
                        "damaged, and is written anew", e->dev->path);
    return 0;
}

static int grow(struct eng *e, const struct fmt_super *small,
                const uint8_t *slot, struct cfs_err *err)
{
    int rc;

    if (small->size == e->sb.size)
        return mend_super(e, err);
    rc = super_grow(e->dev, small, &e->sb, slot);
    if (rc < 0)
        return cfs_err_set(err, rc, "growth to the device's size: %s",
                           cfs_err_str(rc));
    cfs_log_info(e->log, "store", "%s has grown from %llu to %llu bytes",
                 e->dev->path, (unsigned long long)(small->size * CFS_BLOCK),
                 (unsigned long long)(e->sb.size * CFS_BLOCK));
    return mend_super(e, err);
}

/* The record to begin with; *ret_least: what a replay must reach. */
static int choose_ckpt(struct eng *e, uint8_t *slot, uint64_t *ret_least,
                       struct cfs_err *err)
{
    const struct fmt_ckpt *c = (const struct fmt_ckpt *)(const void *)slot;
    int rc = super_read_ckpt(e->dev, &e->sb, false, slot, err);

    *ret_least = 0;
    if (rc < 0 || !e->conf.older)
        return rc;
    if (!e->conf.no_journal)
        *ret_least = c->jrn_start;
    return super_read_ckpt(e->dev, &e->sb, true, slot, err);
}

static int open_store(struct eng *e, eng_replay *replay, void *ctx,
                      struct cfs_err *err)
{
    uint8_t *slot = eng_alloc_aligned(SLOT_BYTES);
    struct fmt_super *small = eng_alloc_aligned(sizeof *small);
    struct jscan *sc = NULL;
    uint64_t least = 0;
    int rc = super_read(e->dev, e->conf.read_only && !e->conf.repair, &e->sb,
                        err);

    if (rc == 0)
        rc = choose_ckpt(e, slot, &least, err);
    if (rc == 0)
        rc = settle_cache(e, slot, err);
    if (rc == 0) {
        want_growth(e, small);
        eng_setup(e);
        e->jrn.least = least;
        rc = load_state(e, slot, err);
        if (rc == 0 && !e->was_clean)
            rc = jrn_examine(e, &sc, err);
        else if (rc == 0 && !e->conf.no_journal)
            rc = jrn_confirm(e, err);
        if (rc == 0)
            rc = grow(e, small, slot, err);
        if (rc == 0)
            rc = new_life(e, err);
        if (rc == 0)
            rc = apply_journal(e, sc, replay, ctx, err);
        jscan_free(sc);
        if (rc < 0)
            eng_teardown(e);
    } else {
        free(e);
    }
    free(small);
    free(slot);
    return rc;
}

int eng_load(struct cfs_loop *loop, struct cfs_log *log, struct cfs_dev *dev,
             const struct eng_config *config, eng_replay *replay, void *ctx,
             struct eng **ret, struct cfs_err *err)
{
    struct eng *e = eng_calloc(sizeof *e);
    int rc;

    e->loop = loop;
    e->log = log;
    e->dev = dev;
    e->conf = *config;
    e->loading = true;
    if (e->conf.cache_size < 4u * 1024 * 1024)
        e->conf.cache_size = 4u * 1024 * 1024;
    if (e->conf.checkpoint_ms == 0)
        e->conf.checkpoint_ms = eng_config_default.checkpoint_ms;
    rc = open_store(e, replay, ctx, err);
    if (rc < 0) {
        cfs_err_wrap(err, "%s", dev->path);
        return rc;
    }
    *ret = e;
    return 0;
}

void eng_start(struct eng *e)
{
    e->loading = false;
    if (!e->conf.read_only)
        ckpt_start_timer(e);
    cache_ask_evict(e);
    discard_kick(e);
}

int eng_open(struct cfs_loop *loop, struct cfs_log *log, struct cfs_dev *dev,
             const struct eng_config *config, eng_replay *replay, void *ctx,
             struct eng **ret, struct cfs_err *err)
{
    int rc = eng_load(loop, log, dev, config, replay, ctx, ret, err);

    if (rc == 0)
        eng_start(*ret);
    return rc;
}
