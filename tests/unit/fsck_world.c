/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_world.c - see fsck_world.h. */
#include "tests/unit/fsck_world.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* -- a brick with everything in it ---------------------------------------- */

static struct cfs_gfid make(struct world *w, struct cfs_gfid dir,
                            const char *name, uint32_t mode)
{
    struct cfs_gfid g;

    assert_int_equal(fix_create(&w->f, dir, name, mode, &g), 0);
    return g;
}

static void fill(struct world *w, struct cfs_gfid g, uint64_t offset,
                 uint32_t len)
{
    uint8_t *data = malloc(len);

    for (uint32_t i = 0; i < len; i++)
        data[i] = (uint8_t)(1 + i % 251);
    assert_int_equal(fix_write(&w->f, g, offset, data, len), 0);
    free(data);
}

/* Bits and pieces that no test damages. */
static void furnish(struct world *w)
{
    static const uint8_t long_value[60000] = {1, 2, 3};
    struct fix *f = &w->f;
    struct cfs_gfid g;

    make(w, w->dir, "empty", S_IFREG | 0600);
    make(w, w->other, "fifo", S_IFIFO | 0600);
    make(w, w->other, "device", S_IFCHR | 0600);
    make(w, w->other, "socket", S_IFSOCK | 0600);
    g = make(w, w->other, "with\nnewline \\ and blank", S_IFREG | 0600);
    assert_int_equal(fix_link(f, g, w->dir, "linked"), 0);
    assert_int_equal(fix_setxattr(f, g, "user.long", long_value,
                                  sizeof long_value, 0), 0);
    assert_int_equal(fix_setxattr(f, g, "user.empty", "", 0, 0), 0);
    g = make(w, w->other, "sparse", S_IFREG | 0600);
    fill(w, g, (uint64_t)1 << 40, 5000);
    assert_int_equal(fix_fallocate(f, g, FALLOC_FL_KEEP_SIZE,
                                   (uint64_t)2 << 40, 100000), 0);
    assert_int_equal(fix_fallocate(f, g, 0, 10000, 20000), 0);
    g = make(w, w->other, "cut", S_IFREG | 0600);
    fill(w, g, 0, 3 * CHUNK_BYTES);
    assert_int_equal(fix_truncate(f, g, 100), 0);
    g = make(w, w->dir, "moved", S_IFDIR | 0755);
    assert_int_equal(fix_rename(f, w->dir, "moved", w->other, "moved", 0), 0);
}

void world_open(struct world *w)
{
    world_open_as(w, &ops_config_default);
}

void world_open_as(struct world *w, const struct ops_config *as)
{
    struct ops_config config = *as;
    struct fix *f = &w->f;

    config.eng.checkpoint_ms = 3600 * 1000; /* not while the test runs */
    fix_open(f, &config);
    w->dir = make(w, cfs_gfid_root, "dir", S_IFDIR | 0755);
    w->other = make(w, cfs_gfid_root, "other", S_IFDIR | 0755);
    w->sub = make(w, w->dir, "sub", S_IFDIR | 0755);
    w->small = make(w, w->dir, "small", S_IFREG | 0644);
    fill(w, w->small, 0, 100);
    w->big = make(w, w->dir, "big", S_IFREG | 0644);
    fill(w, w->big, 0, 2 * CHUNK_BYTES + 10);
    assert_int_equal(fix_setxattr(f, w->big, "user.a", "b", 1, 0), 0);
    w->second = make(w, w->sub, "second", S_IFREG | 0644);
    fill(w, w->second, 0, 5000);
    assert_int_equal(fix_symlink(f, cfs_gfid_root, "link", "dir/big",
                                 &w->link), 0);
    furnish(w);
    w->gone = make(w, w->dir, "gone", S_IFREG | 0644);
    fill(w, w->gone, 0, 9000);
    assert_int_equal(fix_setxattr(f, w->gone, "user.a", "b", 1, 0), 0);
    assert_int_equal(fix_unlink(f, w->dir, "gone", false), 0);
    w->purged = make(w, w->dir, "purged", S_IFREG | 0644);
    assert_int_equal(fix_unlink(f, w->dir, "purged", false), 0);
    assert_int_equal(fix_purge(f, w->purged), 0);
}

static void on_ops_closed(void *ctx, int status)
{
    *(bool *)ctx = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

void world_stop(struct world *w)
{
    bool closed = false;

    ops_close(w->f.ops, on_ops_closed, &closed);
    cfs_loop_run_until(w->f.loop, is_true, &closed);
    w->f.open = false;
}

/* -- looking for damage --------------------------------------------------- */

static void on_found(void *ctx, const struct fsck_finding *f)
{
    struct found *all = ctx;

    if (f->known)
        all->known++;
    else if (all->n < CFS_ARRAY_SIZE(all->line))
        all->line[all->n++] = tool_format("%s|%s|%s", f->kind,
                                          f->path ? f->path : "-", f->text);
}

void found_free(struct found *all)
{
    for (unsigned i = 0; i < all->n; i++)
        free(all->line[i]);
    all->n = 0;
}

void found_print(const struct found *all)
{
    for (unsigned i = 0; i < all->n; i++)
        print_message("found: %s\n", all->line[i]);
}

static int no_replay(void *ctx, struct eng *e, const struct eng_rec *rec)
{
    return 0;
}

struct eng *world_open_bare(struct world *w, bool read_only)
{
    struct eng_config config = eng_config_default;
    struct cfs_err err = {0};
    struct eng *e;

    config.blocking = true;
    config.read_only = read_only;
    if (eng_open(w->f.loop, w->f.log, w->f.dev, &config, no_replay, NULL, &e,
                 &err) < 0)
        fail_msg("open: %s", err.text);
    return e;
}

void world_close_bare(struct world *w, struct eng *e)
{
    bool closed = false;

    eng_close(e, true, on_ops_closed, &closed);
    cfs_loop_run_until(w->f.loop, is_true, &closed);
}

void found_check(struct world *w, bool data, bool journal, struct found *ret)
{
    struct fsck_config config = {
        .data = data,
        .journal = journal,
        .found = on_found,
        .ctx = ret,
    };
    struct eng *e = world_open_bare(w, true);

    ret->n = ret->known = 0;
    fsck_run(w->f.loop, e, &config, &ret->r);
    world_close_bare(w, e);
}

void found_check_applied(struct world *w, struct found *ret)
{
    struct fsck_config config = {.data = true, .found = on_found, .ctx = ret};
    struct rec_brick counts = {0};
    struct cfs_brick *info = calloc(1, sizeof *info);

    w->f.config.eng.blocking = w->f.config.eng.read_only = true;
    assert_int_equal(fix_start(&w->f), 0);
    ops_info(w->f.ops, info);
    counts.session_max = info->session_max;
    counts.inodes = info->inodes;
    counts.dirty = info->dirty;
    counts.oplog = info->oplog;
    config.counts = &counts;
    ret->n = ret->known = 0;
    fsck_run(w->f.loop, ops_engine(w->f.ops), &config, &ret->r);
    world_stop(w);
    free(info);
}

static int keep_key(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct world_keys *k = ctx;

    if (key.len > sizeof k->key->b)
        return 0;
    k->key = realloc(k->key, (k->n + 1) * sizeof *k->key);
    assert_non_null(k->key);
    k->key[k->n].len = (uint16_t)key.len;
    memcpy(k->key[k->n++].b, key.p, key.len);
    return 0;
}

void world_keys(struct eng *e, struct world_keys *ret)
{
    const struct cfs_blob all = {0};

    *ret = (struct world_keys){0};
    assert_int_equal(eng_scan(e, all, all, keep_key, ret), 0);
}

uint32_t world_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}
