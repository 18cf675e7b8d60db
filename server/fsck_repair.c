/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_repair.c - rounds of checking and mending, then one checkpoint; see
 * fsck_repair.h. */
#include "server/fsck_repair.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "core/xxh3.h"
#include "server/fsck_fix.h"
#include "xlators/storage/block/pack.h"

/* Each round leaves less to be mended; a brick that needs more than this is
 * beyond us. */
#define ROUNDS_MAX 64u
/* Blocks that one more changed record may cost. */
#define PER_RECORD 24u

/* -- a round -------------------------------------------------------------- */

struct mend {
    struct tool_brick               *b;
    const struct fsck_repair_config *config;
    struct fsck_repair_result       *r;
    struct fsck_fixes               *fixes;
    bool settled; /* nothing is kept in memory outside the tree */
    bool last;    /* this round is for the notes */
};

static void on_found(void *ctx, const struct fsck_finding *f)
{
    const struct mend *m = ctx;

    if (m->last ? f->known : m->r->rounds == 1)
        m->config->found(m->config->ctx, f);
}

static void on_progress(void *ctx, const char *what, uint64_t done,
                        uint64_t of)
{
    const struct mend *m = ctx;

    if (m->config->progress)
        m->config->progress(m->config->ctx, what, done, of);
}

static void check(struct mend *m, const struct rec_brick *counts, bool data,
                  bool no_map, struct fsck_result *ret)
{
    const struct fsck_config config = {
        .data = data,
        .journal = !m->b->ops,
        .no_map = no_map,
        .counts = counts,
        .fixes = m->fixes,
        .found = on_found,
        .progress = on_progress,
        .ctx = m,
    };

    fsck_run(m->b->loop, m->b->e, &config, ret);
}

/* What ops keep in memory goes into the tree, when all of that can be
 * reached. */
static void settle(struct mend *m)
{
    if (!m->settled)
        eng_settle(m->b->e);
    m->settled = true;
}

static void apply(struct mend *m)
{
    const bool cuts = fsck_fixes_cut(m->fixes);

    if (!cuts)
        settle(m);
    m->r->fixes += fsck_fixes_apply(m->fixes, m->b->loop, m->b->e);
    if (cuts)
        m->r->lost = true;
    settle(m);
}

unsigned fsck_tell_copies(unsigned bad,
                          void (*found)(void *ctx,
                                        const struct fsck_finding *f),
                          void *ctx)
{
    static const struct {
        unsigned    bit;
        const char *text;
    } words[] = {
        {ENG_SUPER_FIRST, "the superblock at the start is damaged"},
        {ENG_SUPER_LAST, "the superblock at the end is damaged"},
        {ENG_SUPER_SPARE, "the spare superblock is damaged"},
    };
    unsigned n = 0;

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(words); i++) {
        const struct fsck_finding f = {.kind = "superblock",
                                       .text = words[i].text};

        if (!(bad & words[i].bit))
            continue;
        found(ctx, &f);
        n++;
    }
    return n;
}

/* The first round: as fsck without a repair. */
static void first_round(struct mend *m, unsigned early)
{
    static const struct fsck_finding map = {
        .kind = "map",
        .text = "parts of the space map cannot be read",
    };
    struct fsck_result *r = &m->r->first;
    struct rec_brick counts;

    m->r->rounds = 1;
    if (m->b->ops)
        fsck_brick_counts(m->b->ops, &counts);
    check(m, m->b->ops ? &counts : NULL, m->config->data,
          eng_map_lost(m->b->e), r);
    r->findings += early + fsck_tell_copies(eng_copies(m->b->e),
                                            m->config->found, m->config->ctx);
    if (eng_map_lost(m->b->e)) {
        m->config->found(m->config->ctx, &map);
        r->findings++;
    }
}

/* Until the checker finds nothing; ->last then has who owns each block. */
static int rounds(struct mend *m, struct cfs_err *err)
{
    struct fsck_result *last = &m->r->last;

    apply(m);
    while (m->r->rounds < ROUNDS_MAX) {
        m->r->rounds++;
        check(m, NULL, false, true, last);
        if (last->findings == 0 && !last->incomplete)
            return 0;
        if (fsck_fixes_count(m->fixes) == 0)
            break;
        free(last->owned);
        last->owned = NULL;
        apply(m);
    }
    return cfs_err_set(err, -CFS_E_CORRUPT,
                       "after %u rounds %" PRIu64 " errors are left that "
                       "cannot be mended", m->r->rounds, last->findings);
}

/* -- the end -------------------------------------------------------------- */

/* One block of a chunk, packed or not; @data has room for all of a chunk. */
static int read_block(struct mend *m, const struct rec_chunk *c, unsigned at,
                      uint8_t *data)
{
    const struct rec_pack *p;
    int rc;

    if (!(c->packed >> at & 1))
        return tool_read(m->b->loop, m->b->e, c->lba[at], 1, data);
    p = rec_chunk_pack_of(c, at);
    rc = tool_unpack(m->b->loop, m->b->e, p, data);
    if (rc == 0)
        rc = pack_block(c, at, data + pack_offset(p, at));
    if (rc == 0)
        memmove(data, data + pack_offset(p, at), CFS_BLOCK);
    return rc;
}

/* The last block of a file once more, with zeros behind its end. */
static int mend_tail(struct mend *m, const struct fsck_tail *t, uint8_t *data)
{
    uint32_t at = (uint32_t)(t->block % CHUNK_BLOCKS);
    uint8_t buf[REC_INODE_MAX > REC_CHUNK_MAX ? REC_INODE_MAX
                                              : REC_CHUNK_MAX];
    struct eng *e = m->b->e;
    struct rec_inode i;
    struct eng_ext ext, old;
    struct rec_chunk c;
    struct cfs_blob v;
    struct rec_key k, ik;
    unsigned n;
    int rc;

    rec_key_gfid(&ik, REC_INODE, t->gfid);
    if (eng_get(e, rec_key_blob(&ik), &v) < 0 ||
        rec_inode_unpack(v, &i) < 0 || i.size / CFS_BLOCK != t->block)
        return 0; /* mended otherwise meanwhile */
    rec_key_gfid_u64(&k, REC_CHUNK, t->gfid, t->block / CHUNK_BLOCKS);
    if (eng_get(e, rec_key_blob(&k), &v) < 0 || rec_chunk_unpack(v, &c) < 0 ||
        !((c.mapped & ~c.unwritten) >> at & 1))
        return 0;
    rc = read_block(m, &c, at, data);
    if (rc == 0)
        rc = eng_alloc(e, 1, 0, ENG_RESERVE, &ext, 1, &n);
    if (rc < 0)
        return rc;
    memset(data + i.size % CFS_BLOCK, 0, CFS_BLOCK - i.size % CFS_BLOCK);
    rc = tool_write(m->b->loop, e, ext.lba, 1, data);
    if (rc < 0)
        return rc;
    eng_repair_take(e, ext);
    old = rec_chunk_drop(&c, at);
    if (old.n > 0)
        eng_free(e, old);
    c.mapped |= 1u << at;
    c.lba[at] = ext.lba;
    c.sum[at] = XXH3_64bits(data, CFS_BLOCK);
    eng_put(e, rec_key_blob(&k),
            (struct cfs_blob){buf, rec_chunk_pack(&c, buf)});
    i.version.epoch = 0;
    eng_put(e, rec_key_blob(&ik),
            (struct cfs_blob){buf, rec_inode_pack(&i, buf)});
    return 0;
}

static int mend_tails(struct mend *m, struct cfs_err *err)
{
    uint8_t *data = aligned_alloc(CFS_BLOCK, CHUNK_BYTES);
    const struct fsck_tail *t;
    int rc = 0;
    size_t n;

    if (!data)
        abort();
    t = fsck_fixes_tails(m->fixes, &n);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = mend_tail(m, &t[i], data);
    free(data);
    return rc < 0 ? cfs_err_set(err, rc, "zeros behind the end of a file: %s",
                                cfs_err_str(rc))
                  : 0;
}

/* The brick says of itself that it is no copy of the others. */
static void mark_repaired(struct mend *m)
{
    uint8_t buf[REC_BRICK_MAX];
    struct rec_brick b;
    struct cfs_blob v;
    struct rec_key k;

    rec_key_table(&k, REC_BRICK);
    if (eng_get(m->b->e, rec_key_blob(&k), &v) < 0 ||
        rec_brick_unpack(v, &b) < 0)
        return; /* a sound brick has one */
    b.clean = false;
    b.repaired = eng_incarnation(m->b->e);
    eng_put(m->b->e, rec_key_blob(&k),
            (struct cfs_blob){buf, rec_brick_pack(&b, buf)});
}

static int write_all(struct mend *m, struct cfs_err *err)
{
    size_t tails;
    int rc;

    fsck_fixes_tails(m->fixes, &tails);
    rc = eng_repair_begin(m->b->e, m->r->last.owned,
                          (tails + 1) * PER_RECORD, err);
    if (rc < 0 || m->config->dry)
        return rc;
    if (m->config->confirm && !m->config->confirm(m->config->ctx, m->r))
        return cfs_err_set(err, -ECANCELED, "nothing was written");
    rc = mend_tails(m, err);
    if (rc < 0)
        return rc;
    if (m->r->changed)
        mark_repaired(m);
    m->r->written = true;
    rc = eng_repair(m->b->e, err);
    m->r->mended = rc == 0;
    return rc;
}

int fsck_repair(struct tool_brick *b, const struct fsck_early *early,
                const struct fsck_repair_config *config,
                struct fsck_repair_result *ret, struct cfs_err *err)
{
    struct mend m = {.b = b, .config = config, .r = ret,
                     .settled = !b->ops};
    struct timespec now;
    size_t tails;
    int rc = 0;

    *ret = (struct fsck_repair_result){0};
    clock_gettime(CLOCK_REALTIME, &now);
    m.fixes = fsck_fixes_new((struct cfs_time){now.tv_sec,
                                               (uint32_t)now.tv_nsec});
    first_round(&m, early->findings);
    free(ret->first.owned);
    ret->first.owned = NULL;
    ret->last = ret->first;
    if (ret->first.findings > 0 || ret->first.incomplete) {
        rc = rounds(&m, err);
        fsck_fixes_tails(m.fixes, &tails);
        ret->changed = fsck_fixes_changed(m.fixes) || tails > 0 ||
                       early->lost;
        ret->lost |= early->lost || ret->last.lost_files >
                                      ret->first.lost_files;
        if (rc == 0)
            rc = write_all(&m, err);
    }
    free(ret->last.owned);
    ret->last.owned = NULL;
    fsck_fixes_free(m.fixes);
    return rc;
}
