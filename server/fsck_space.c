/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_space.c - who owns each block, and what the space map says.
 *
 * A block that is found to have two owners, or to be free in the map and
 * somebody's, is noted; at the end the chunks are walked once more to say
 * whose it is.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/fsck_int.h"
#include "server/words.h"

#define DOUBTED_MAX 65536u

static const struct cfs_gfid nobody;

static bool get_bit(const uint64_t *map, uint64_t i)
{
    return map[i / 64] >> (i % 64) & 1;
}

static void set_bit(uint64_t *map, uint64_t i)
{
    map[i / 64] |= (uint64_t)1 << (i % 64);
}

static void doubt(struct fsck *f, uint64_t lba, enum fsck_doubt why)
{
    if (f->n_doubted == DOUBTED_MAX)
        return;
    FSCK_GROW(f->doubted, f->n_doubted, f->cap_doubted);
    f->doubted[f->n_doubted++] = (struct fsck_doubted){lba, why};
}

/* -- the tree ------------------------------------------------------------- */

static void on_bad(void *ctx, const char *fmt, ...)
{
    struct fsck *f = ctx;
    char *text;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        abort();
    fsck_find(f, "tree", nobody, "%s", text);
    free(text);
}

static void on_used(void *ctx, struct eng_ext ext, const char *what)
{
    struct fsck *f = ctx;

    for (uint32_t i = 0; i < ext.n; i++) {
        uint64_t lba = ext.lba + i;

        if (!tool_usable(f->e, lba, 1))
            continue; /* the heads of groups */
        f->r->tree_blocks++;
        if (get_bit(f->owned, lba - f->first))
            fsck_find(f, "double", nobody,
                      "block %" PRIu64 " is used twice by the tree, here as "
                      "a %s", lba, what);
        set_bit(f->owned, lba - f->first);
        set_bit(f->tree, lba - f->first);
    }
}

static uint64_t *new_map(uint64_t bits)
{
    uint64_t *map = calloc(bits / 64 + 1, sizeof *map);

    if (!map)
        abort();
    return map;
}

/* What was below it is lost: it is cut out, when there is to be a repair. */
static void on_lost(void *ctx, unsigned level, struct cfs_blob lo,
                    struct cfs_blob hi)
{
    char *from = words_bound(lo), *to = words_bound(hi);
    struct fsck *f = ctx;

    if (level == ENG_LARGE)
        fsck_find(f, "lost", nobody, "lost: %s", from);
    else
        fsck_find(f, "lost", nobody, "lost: all from %s up to %s", from, to);
    fsck_fix_cut(f, level, lo);
    free(from);
    free(to);
}

static void on_copy(void *ctx, unsigned level, struct cfs_blob lo,
                    uint64_t lba)
{
    struct fsck *f = ctx;

    fsck_find(f, "copy", nobody, "one of two copies of a %s, at block %" PRIu64
              ", is damaged", level == ENG_LARGE ? "value" : "node", lba);
    fsck_fix_rewrite(f, level, lo);
}

static void on_nodes(void *ctx, uint64_t nodes)
{
    const struct fsck_config *c = ((struct fsck *)ctx)->config;

    if (c->progress)
        c->progress(c->ctx, "nodes of the tree", nodes, 0);
}

void fsck_tree(struct fsck *f)
{
    const struct eng_check check = {
        .ctx = f,
        .bad = on_bad,
        .used = on_used,
        .lost = f->config->fixes ? on_lost : NULL,
        .copy = on_copy,
        .progress = on_nodes,
        .no_map = f->config->no_map,
    };
    int rc;

    f->first = eng_first_lba(f->e);
    f->end = eng_end_lba(f->e);
    f->owned = new_map(f->end - f->first);
    f->tree = new_map(f->end - f->first);
    rc = eng_check(f->e, &check);
    if (rc < 0 && f->r->findings == 0)
        on_bad(f, "it cannot be walked: %s", cfs_err_str(rc));
    eng_trim(f->e);
}

/* -- data ----------------------------------------------------------------- */

bool fsck_claim(struct fsck *f, uint64_t lba)
{
    if (!tool_usable(f->e, lba, 1))
        return false;
    f->r->data_blocks++;
    if (get_bit(f->owned, lba - f->first))
        doubt(f, lba, DOUBT_DOUBLE);
    set_bit(f->owned, lba - f->first);
    return true;
}

/* -- the space map -------------------------------------------------------- */

/* A run of blocks of one kind. */
struct run {
    uint64_t lba;
    uint64_t n;
};

static void tell_run(struct fsck *f, struct run *r, const char *kind,
                     const char *text)
{
    if (r->n == 1)
        fsck_find(f, kind, nobody, "block %" PRIu64 " is %s", r->lba, text);
    else if (r->n > 1)
        fsck_find(f, kind, nobody,
                  "blocks %" PRIu64 " to %" PRIu64 " (%" PRIu64 ") are %s",
                  r->lba, r->lba + r->n - 1, r->n, text);
    r->n = 0;
}

static void add_to_run(struct fsck *f, struct run *r, uint64_t lba,
                       const char *kind, const char *text)
{
    if (r->n > 0 && r->lba + r->n != lba)
        tell_run(f, r, kind, text);
    if (r->n++ == 0)
        r->lba = lba;
}

static void compare_maps(struct fsck *f)
{
    static const char lost[] = "in use in the space map, and nobody's";
    struct run run = {0};

    for (uint64_t lba = f->first; lba < f->end; lba++) {
        bool owned, used;

        if (!tool_usable(f->e, lba, 1))
            continue;
        f->r->blocks++;
        owned = get_bit(f->owned, lba - f->first);
        used = eng_in_use(f->e, lba);
        if (used && !owned && !f->config->journal)
            add_to_run(f, &run, lba, "lost", lost);
        else if (owned && !used && !get_bit(f->tree, lba - f->first))
            doubt(f, lba, DOUBT_UNMARKED); /* nodes: eng_check() says it */
    }
    tell_run(f, &run, "lost", lost);
}

/* -- whose they are ------------------------------------------------------- */

static int by_lba(const void *a, const void *b)
{
    const struct fsck_doubted *x = a, *y = b;

    if (x->lba != y->lba)
        return x->lba < y->lba ? -1 : 1;
    return (int)x->why - (int)y->why;
}

/* The first doubt of @lba; NULL. */
static const struct fsck_doubted *doubt_of(const struct fsck *f, uint64_t lba)
{
    size_t lo = 0, hi = f->n_doubted;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (f->doubted[mid].lba < lba)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == f->n_doubted || f->doubted[lo].lba != lba)
        return NULL;
    return &f->doubted[lo];
}

/* Of block @i of @c, which is at @lba or in the pack that is there. */
static void tell_doubt(struct fsck *f, const struct rec_id *id,
                       const struct rec_chunk *c, unsigned i, uint64_t lba)
{
    const bool written = !(c->unwritten >> i & 1);
    const struct fsck_doubted *d = doubt_of(f, lba);
    const uint64_t block = id->n * CHUNK_BLOCKS + i;

    if (!d)
        return;
    if (d->why == DOUBT_UNMARKED) {
        fsck_find(f, "unmarked", id->gfid,
                  "block %" PRIu64 " of it, at %" PRIu64 ", is free in the "
                  "space map", block, lba);
    } else {
        fsck_fix_double(f, id->gfid, block, lba, written ? &c->sum[i] : NULL,
                        get_bit(f->tree, lba - f->first));
        fsck_find(f, "double", id->gfid,
                  "block %" PRIu64 " of it, at %" PRIu64 ", belongs to %s, "
                  "too", block, lba,
                  get_bit(f->tree, lba - f->first) ? "the tree"
                                                   : "somebody else");
    }
}

static void owner_each(struct fsck *f, const struct rec_id *id,
                       struct cfs_blob value)
{
    struct rec_chunk c;

    if (rec_chunk_unpack(value, &c) < 0)
        return;
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if ((c.mapped & ~c.packed) >> i & 1)
            tell_doubt(f, id, &c, i, c.lba[i]);
    for (unsigned p = 0; p < c.n_pack; p++)
        for (uint32_t i = 0; i < rec_pack_blocks(&c.pack[p]); i++)
            tell_doubt(f, id, &c, (unsigned)__builtin_ctz(c.pack[p].live),
                       c.pack[p].lba + i);
}

void fsck_space(struct fsck *f)
{
    static const struct fsck_pass owners = {
        .table = REC_CHUNK,
        .what = "owners of blocks",
        .each = owner_each,
    };

    if (!f->config->no_map)
        compare_maps(f);
    if (f->n_doubted == 0)
        return;
    qsort(f->doubted, f->n_doubted, sizeof *f->doubted, by_lba);
    fsck_pass(f, &owners);
}
