/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_open.c - a damaged brick opened for a repair, in the state from which
 * least is lost.
 *
 * The newest checkpoint has a tree of its own, of which parts may be damaged
 * that the tree of the one before does not share. That one lies on the device
 * until the next checkpoint begins to be written, and so does, most times,
 * the journal between the two. Applied to the older tree it gives the newest
 * one's records, and goes on with what came after (eng_config.older, which
 * demands that it reaches that far). So a brick that rots at rest loses
 * nothing by a bad node.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "server/fsck_repair.h"

void fsck_brick_counts(const struct ops *ops, struct rec_brick *ret)
{
    struct cfs_brick *b = tool_realloc(NULL, sizeof *b);

    ops_info(ops, b);
    *ret = (struct rec_brick){
        .session_max = b->session_max,
        .inodes = b->inodes,
        .dirty = b->dirty,
        .oplog = b->oplog,
    };
    free(b);
}

static void tell(const struct fsck_repair_config *c, const char *kind,
                 const char *text)
{
    const struct fsck_finding f = {.kind = kind, .text = text};

    c->found(c->ctx, &f);
}

/* -- one attempt after another on one device ------------------------------ */

struct attempt {
    struct cfs_loop *loop;
    struct cfs_dev  *dev; /* lent */
    const char      *path;
};

static int try_open(const struct attempt *a, unsigned flags,
                    struct tool_brick *ret, struct cfs_err *err)
{
    return tool_open_on(a->loop, a->dev, a->path, TOOL_REPAIR | flags, ret,
                        err);
}

/* -- whether all of it is there -------------------------------------------- */

static void on_bad(void *ctx, const char *fmt, ...)
{
}

static void on_used(void *ctx, struct eng_ext ext, const char *what)
{
}

static void on_lost(void *ctx, unsigned level, struct cfs_blob lo,
                    struct cfs_blob hi)
{
    uint64_t *lost = ctx;

    ++*lost;
}

/* Nodes and values that cannot be read, whatever was below them. */
static uint64_t count_lost(struct eng *e)
{
    uint64_t lost = 0;
    const struct eng_check c = {.ctx = &lost, .bad = on_bad, .used = on_used,
                                .lost = on_lost, .no_map = true};

    eng_check(e, &c);
    return lost;
}

static void on_found(void *ctx, const struct fsck_finding *f)
{
}

static bool is_sound(const struct tool_brick *b,
                     const struct fsck_repair_config *config)
{
    struct rec_brick counts;
    const struct fsck_config check = {
        .counts = &counts,
        .no_map = true,
        .found = on_found,
        .progress = config->progress,
        .ctx = config->ctx,
    };
    struct fsck_result r;

    fsck_brick_counts(b->ops, &counts);
    fsck_run(b->loop, b->e, &check, &r);
    return r.findings == 0 && !r.incomplete;
}

/* -- opening --------------------------------------------------------------- */

/* The newest checkpoint's records, from the one before it and the journal. */
static bool rebuild(const struct attempt *a,
                    const struct fsck_repair_config *config,
                    struct tool_brick *ret)
{
    struct cfs_err why = {0};

    if (try_open(a, TOOL_OLDER, ret, &why) < 0)
        return false;
    if (is_sound(ret, config))
        return true;
    tool_close_keep(ret);
    return false;
}

/* Without the journal; changes are lost by it. */
static int give_up(const struct attempt *a,
                   const struct fsck_repair_config *config,
                   struct tool_brick *ret, const struct cfs_err *damage)
{
    static const unsigned flags[] = {
        TOOL_REPAIR,
        TOOL_REPAIR | TOOL_NO_JOURNAL,
        TOOL_REPAIR | TOOL_NO_JOURNAL | TOOL_OLDER,
    };
    static const char *const given_up[] = {
        "the journal is given up: changes since the newest checkpoint",
        "the journal is given up: changes since the newest checkpoint",
        "the newest checkpoint is given up for the one before it: all changes "
        "since that one are lost",
    };
    struct cfs_err why = {0};

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(flags); i++) {
        if (tool_bare_on(a->loop, a->dev, flags[i], NULL, NULL, ret, &why) < 0)
            continue;
        tell(config, "journal", damage->text);
        tell(config, "journal", given_up[i]);
        return 0;
    }
    return -CFS_E_CORRUPT;
}

static int open_best(const struct attempt *a,
                     const struct fsck_repair_config *config,
                     struct tool_brick *ret, struct fsck_early *early,
                     struct cfs_err *err)
{
    int rc = try_open(a, 0, ret, err);
    const bool opened = rc == 0;
    uint64_t lost;

    if (!opened && rc != -CFS_E_CORRUPT && rc != -CFS_E_CHECKSUM)
        return rc;
    lost = opened ? count_lost(ret->e) : 0;
    if (opened && lost == 0)
        return 0;
    if (opened) {
        tool_close_keep(ret);
        cfs_err_set(err, -CFS_E_CORRUPT, "%s: what cannot be read of the "
                    "tree: %" PRIu64 " nodes or values", a->path, lost);
    }
    if (rebuild(a, config, ret)) {
        tell(config, "tree", err->text);
        tell(config, "tree", "the checkpoint before the newest, and the "
             "journal, have all of it");
        early->findings = 1;
        return 0;
    }
    if (opened) {
        *err = (struct cfs_err){0};
        return try_open(a, 0, ret, err);
    }
    if (give_up(a, config, ret, err) < 0)
        return rc;
    *early = (struct fsck_early){.findings = 1, .lost = true};
    return 0;
}

int fsck_repair_open(struct cfs_loop *loop, struct cfs_dev *dev,
                     const char *path, const struct fsck_repair_config *config,
                     struct tool_brick *ret, struct fsck_early *ret_early,
                     struct cfs_err *err)
{
    struct attempt a = {.loop = loop, .dev = dev, .path = path};
    struct cfs_dev_loan loan;
    int rc;

    *ret_early = (struct fsck_early){0};
    cfs_dev_lend(&loan, dev);
    rc = open_best(&a, config, ret, ret_early, err);
    cfs_dev_take_back(&loan);
    if (rc == 0)
        *err = (struct cfs_err){0}; /* of an attempt */
    return rc;
}
