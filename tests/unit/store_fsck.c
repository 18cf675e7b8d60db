/* SPDX-License-Identifier: Apache-2.0 */
/* store_fsck.c - the brick of a fixture, at rest, checked as fsck.clusterfs
 * does: a finding fails the test. */
#include "server/fsck.h"
#include "tests/unit/store_fix.h"

static void found(void *ctx, const struct fsck_finding *f)
{
    char gfid[CFS_UUID_STR];

    cfs_gfid_print(f->gfid, gfid);
    print_message("fsck: %s %s (%s): %s\n", gfid, f->path ? f->path : "-",
                  f->kind, f->text);
}

static void no_progress(void *ctx, const char *what, uint64_t done,
                        uint64_t of)
{
}

void fix_fsck(struct fix *f)
{
    const struct ops_config usual = f->config;
    struct fsck_config config = {
        .data = true, .found = found, .progress = no_progress};
    struct fsck_result r = {0};
    struct rec_brick counts;
    struct cfs_brick *info = test_malloc(sizeof *info);

    f->config.eng.read_only = true;
    f->config.eng.blocking = true;
    assert_int_equal(fix_start(f), 0);
    ops_info(f->ops, info);
    counts = (struct rec_brick){
        .session_max = info->session_max,
        .inodes = info->inodes,
        .dirty = info->dirty,
        .oplog = info->oplog,
    };
    config.counts = &counts;
    fsck_run(f->loop, ops_engine(f->ops), &config, &r);
    fix_halt(f);
    f->config = usual;
    test_free(info);
    assert_int_equal(r.findings, 0);
    assert_false(r.incomplete);
}
