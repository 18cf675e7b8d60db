/* SPDX-License-Identifier: Apache-2.0 */
/* journal_scan.c - reading the journal back at a start.
 *
 *   walk     from the checkpoint's start, each record chained to its
 *            predecessor by that one's checksum, as far as it goes: what is
 *            known durable is the highest that any of them states;
 *   pass 1   beyond that a record counts only if its data blocks are whole
 *            too: the first that is not is the end. The blocks that records
 *            name are marked as taken;
 *   search   behind the end, for whole records that state a later durable
 *            position or a newer checkpoint than the one at hand: they prove
 *            that the end is damage;
 *   pass 2   the records are applied; what the next of them need is read ahead.
 *
 * Everything read is hostile until it is checked. */
#include <inttypes.h>
#include <stdlib.h>

#include "core/xxh3.h"
#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/engine/plant.h"
#include "xlators/storage/block/engine/warm.h"

#define WINDOW (1024u * 1024u)

struct jscan {
    struct eng *eng;
    uint8_t    *win;   /* WINDOW bytes of the journal, */
    uint64_t    win_pos; /* from here on, */
    uint64_t    win_len; /* so many are there */
    uint8_t    *rec;   /* the record at hand, ENG_REC_MAX */
    uint8_t    *block; /* WINDOW bytes, for data */
    struct eng_ext *ext;
    uint64_t       *sums;
    uint64_t    durable; /* the highest position stated so far */
    uint64_t    end;
    uint64_t    looked; /* bytes read and summed up behind the end */
};

static struct jscan *jscan_new(struct eng *e)
{
    struct jscan *sc = eng_calloc(sizeof *sc);

    sc->eng = e;
    sc->win = eng_alloc_aligned(WINDOW);
    sc->rec = eng_alloc_aligned(ENG_REC_MAX);
    sc->block = eng_alloc_aligned(WINDOW);
    sc->ext = eng_calloc(ENG_REC_MAX / REC_EXT_BYTES * sizeof *sc->ext);
    sc->sums = eng_calloc(ENG_REC_MAX);
    return sc;
}

void jscan_free(struct jscan *sc)
{
    if (!sc)
        return;
    free(sc->win);
    free(sc->rec);
    free(sc->block);
    free(sc->ext);
    free(sc->sums);
    free(sc);
}

/* Have the window hold @pos. */
static int fill(struct jscan *sc, uint64_t pos)
{
    const struct jrn *j = &sc->eng->jrn;
    uint64_t from = pos & ~(uint64_t)(CFS_BLOCK - 1), off = from % j->size;
    uint64_t len = j->size - off < WINDOW ? j->size - off : WINDOW;
    int rc;

    if (pos >= sc->win_pos && pos < sc->win_pos + sc->win_len)
        return 0;
    sc->win_len = 0;
    rc = sc->eng->dev->ops->read(sc->eng->dev, CFS_DEV_BUFFERED,
                                 j->base + off, sc->win, len);
    if (rc < 0)
        return rc;
    sc->looked += from < sc->win_pos ? len : 0; /* once more */
    sc->win_pos = from;
    sc->win_len = len;
    return 0;
}

static int get(struct jscan *sc, uint64_t pos, void *ret, size_t len)
{
    uint8_t *to = ret;

    while (len > 0) {
        size_t n;
        int rc = fill(sc, pos);

        if (rc < 0)
            return rc;
        n = (size_t)(sc->win_pos + sc->win_len - pos);
        if (n > len)
            n = len;
        memcpy(to, sc->win + (pos - sc->win_pos), n);
        to += n;
        pos += n;
        len -= n;
    }
    return 0;
}

/* Whether @h may be the head of a record at @pos. */
static bool head_ok(const struct eng *e, const struct fmt_rec *h, uint64_t pos)
{
    if (h->magic != FMT_REC_MAGIC || h->pos != pos ||
        !cfs_uuid_eq(h->brick, e->sb.brick) ||
        h->len < sizeof *h || h->len > ENG_REC_MAX || h->len % REC_ALIGN ||
        h->n_sums > ENG_REC_MAX || h->body > ENG_REC_MAX)
        return false;
    return jrn_rec_bytes(h->n_ext, h->n_sums, h->body) == h->len &&
           pos + h->len <= e->jrn.start + e->jrn.size;
}

/* 1: a whole record at @pos, which is in sc->rec; 0: none; -EIO. */
static int whole_at(struct jscan *sc, uint64_t pos)
{
    struct eng *e = sc->eng;
    struct fmt_rec *h = (struct fmt_rec *)(void *)sc->rec;
    uint64_t sum, got;
    int rc;

    if (pos + sizeof *h > e->jrn.start + e->jrn.size)
        return 0;
    rc = get(sc, pos, sc->rec, sizeof *h);
    if (rc < 0)
        return rc;
    if (!head_ok(e, h, pos))
        return 0;
    rc = get(sc, pos + sizeof *h, sc->rec + sizeof *h, h->len - sizeof *h);
    if (rc < 0)
        return rc;
    sc->looked += h->len;
    sum = h->sum;
    h->sum = 0;
    got = eng_sum(e, sc->rec, h->len);
    h->sum = sum;
    return got == sum;
}

/* The record that follows a predecessor with checksum @chain: at @pos or at
 * the next block. 1, 0 (the end), -EIO. */
static int next_at(struct jscan *sc, uint64_t *pos, uint64_t chain)
{
    const struct fmt_rec *h = (const struct fmt_rec *)(void *)sc->rec;
    uint64_t block = (*pos + CFS_BLOCK - 1) & ~(uint64_t)(CFS_BLOCK - 1);
    int rc = whole_at(sc, *pos);

    if (rc < 0 || (rc == 1 && h->prev == chain))
        return rc;
    if (block == *pos)
        return 0;
    rc = whole_at(sc, block);
    if (rc < 0)
        return rc;
    if (rc == 0 || h->prev != chain)
        return 0;
    *pos = block;
    return 1;
}

/* The record in sc->rec taken apart. -CFS_E_CORRUPT: its extents are not in
 * the groups, or it has more sums than blocks. */
static int parse(struct jscan *sc, struct eng_rec *ret)
{
    const struct fmt_rec *h = (const struct fmt_rec *)(void *)sc->rec;
    const uint8_t *p = sc->rec + sizeof *h;
    uint64_t blocks = 0;

    for (unsigned i = 0; i < h->n_ext; i++, p += REC_EXT_BYTES) {
        memcpy(&sc->ext[i].lba, p, sizeof sc->ext[i].lba);
        memcpy(&sc->ext[i].n, p + 8, sizeof sc->ext[i].n);
        if (!space_valid(sc->eng, sc->ext[i]))
            return -CFS_E_CORRUPT;
        blocks += sc->ext[i].n;
    }
    if (h->n_sums > blocks)
        return -CFS_E_CORRUPT;
    if (h->n_sums > 0)
        memcpy(sc->sums, p, h->n_sums * sizeof *sc->sums);
    p += h->n_sums * sizeof *sc->sums;
    *ret = (struct eng_rec){
        .pos = h->pos,
        .type = h->type,
        .ext = sc->ext,
        .n_ext = h->n_ext,
        .sums = sc->sums,
        .n_sums = h->n_sums,
        .body = {p, h->body},
    };
    return 0;
}

/* Whether the data blocks of @rec are what it says: 1, 0, -EIO. */
static int data_whole(struct jscan *sc, const struct eng_rec *rec)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < rec->n_ext; i++) {
        for (uint32_t at = 0; at < rec->ext[i].n && sum < rec->n_sums;) {
            uint32_t n = rec->ext[i].n - at;
            int rc;

            if (n > WINDOW / CFS_BLOCK)
                n = WINDOW / CFS_BLOCK;
            rc = eng_read(sc->eng, CFS_DEV_BUFFERED, rec->ext[i].lba + at,
                          sc->block, n);
            if (rc < 0)
                return rc;
            for (uint32_t k = 0; k < n && sum < rec->n_sums; k++, sum++) {
                if (XXH3_64bits(sc->block + k * (size_t)CFS_BLOCK,
                                CFS_BLOCK) != rec->sums[sum])
                    return 0;
            }
            at += n;
        }
    }
    return 1;
}

/* -- the passes ------------------------------------------------------------ */

#define NEWER_CKPT "it knows a newer checkpoint than there is"

static int damage(struct cfs_err *err, uint64_t pos, const char *what)
{
    return cfs_err_set(err, -CFS_E_CORRUPT,
                       "the journal is damaged at %" PRIu64 ": %s", pos, what);
}

/* Learn the highest durable position that the chain states. */
static int walk(struct jscan *sc, struct cfs_err *err)
{
    const struct eng *e = sc->eng;
    const struct fmt_rec *h = (const struct fmt_rec *)(void *)sc->rec;
    uint64_t pos = e->last.jrn_start, chain = e->last.jrn_chain;
    int rc;

    sc->durable = pos;
    while ((rc = next_at(sc, &pos, chain)) == 1) {
        if (h->ckpt > e->last.seq)
            return damage(err, pos, NEWER_CKPT);
        if (h->durable > pos)
            return damage(err, pos, "a record that claims to be durable");
        if (h->durable > sc->durable)
            sc->durable = h->durable;
        chain = h->sum;
        pos += h->len;
    }
    return rc < 0 ? cfs_err_set(err, rc, "read of the journal: %s",
                                cfs_err_str(rc))
                  : 0;
}

static int mark(struct jscan *sc, const struct eng_rec *rec)
{
    if (PLANTED(replay_allocates_before_marking) && !sc->eng->replaying)
        return 0;
    for (unsigned i = 0; i < rec->n_ext; i++) {
        int rc = space_mark(sc->eng, rec->ext[i]);

        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Pass 1: sc->end, and the blocks up to there. */
static int pass_one(struct jscan *sc, struct cfs_err *err)
{
    const struct eng *e = sc->eng;
    const struct fmt_rec *h = (const struct fmt_rec *)(void *)sc->rec;
    uint64_t pos = e->last.jrn_start, chain = e->last.jrn_chain;
    struct eng_rec rec;
    int rc;

    sc->end = pos;
    while ((rc = next_at(sc, &pos, chain)) == 1) {
        rc = parse(sc, &rec);
        if (rc < 0)
            return damage(err, pos, "a record's extents");
        if (pos >= sc->durable) {
            rc = data_whole(sc, &rec);
            if (rc <= 0)
                break;
        }
        if (mark(sc, &rec) < 0)
            return damage(err, pos, "a block belongs to two");
        chain = h->sum;
        sc->end = pos += h->len;
    }
    if (rc < 0)
        return cfs_err_set(err, rc, "read behind the journal: %s",
                           cfs_err_str(rc));
    if (sc->end < sc->durable)
        return damage(err, sc->end, "it ends before what was durable");
    if (sc->end < e->jrn.least)
        return damage(err, sc->end, "it ends before the newest checkpoint");
    return 0;
}

/* Records do not overlap: what lies behind the end, from this life and those
 * that ended here before, cannot be looked at so often. Who made it so wants us
 * to be at it for ever. */
#define LOOK_MAX 8u /* times the journal */

/* Whether anything behind the end says that more was durable. */
static int search_behind(struct jscan *sc, struct cfs_err *err)
{
    const struct eng *e = sc->eng;
    const struct fmt_rec *h = (const struct fmt_rec *)(void *)sc->rec;
    uint64_t stop = e->jrn.start + e->jrn.size;

    sc->looked = 0;
    for (uint64_t pos = sc->end; pos < stop; pos += REC_ALIGN) {
        uint32_t magic;
        int rc = fill(sc, pos);

        if (rc < 0)
            return cfs_err_set(err, rc, "read of the journal: %s",
                               cfs_err_str(rc));
        memcpy(&magic, sc->win + (pos - sc->win_pos), sizeof magic);
        if (magic != FMT_REC_MAGIC)
            continue;
        if (sc->looked > LOOK_MAX * e->jrn.size)
            return damage(err, pos, "it is full of the beginnings of records");
        rc = whole_at(sc, pos);
        if (rc < 0)
            return cfs_err_set(err, rc, "read of the journal: %s",
                               cfs_err_str(rc));
        if (rc == 1 && h->durable > sc->end)
            return damage(err, sc->end, "a later record knows that more was "
                                        "durable");
        if (rc == 1 && h->ckpt > e->last.seq)
            return damage(err, pos, NEWER_CKPT);
    }
    return 0;
}

/* Between two records: when too much is dirty, a checkpoint. */
static int make_room(struct eng *e, struct cfs_err *err)
{
    int rc;

    if (e->conf.read_only)
        return 0;
    if (e->cache.bytes > e->cache.max)
        cache_evict_now(e);
    if (e->tree.dirty_blocks * CFS_BLOCK < e->dirty_max)
        return 0;
    rc = ckpt_inline(e, false);
    return rc < 0 ? cfs_err_set(err, rc, "checkpoint while the journal is "
                                         "applied: %s", cfs_err_str(rc))
                  : 0;
}

/* -- looking ahead --------------------------------------------------------- */

/* Records looked at together; of a small cache they may have a quarter. */
#define LOOK_RECORDS 256u
#define LOOK_FIRST   16u
#define LOOK_NODES   4u /* that a record wants, more or less */

/* In a store whose nodes are in memory there would be nothing to gain: so it
 * is looked ahead only where nodes were read for the records before. */
struct look {
    struct jscan *sc;   /* NULL: not yet */
    unsigned      left; /* records until the next look */
    uint64_t      reads; /* cache.in_line at the last */
};

static unsigned look_records(const struct eng *e)
{
    uint64_t most = e->cache.max / (4 * LOOK_NODES * NODE_SIZE);

    return most < LOOK_RECORDS ? (unsigned)most + 1 : LOOK_RECORDS;
}

/* What the next @n records up to @end are about is read. Whatever is wrong
 * with one of them is found out when its turn comes. */
static void look_ahead(struct eng *e, struct look *l, unsigned n, uint64_t end)
{
    uint64_t pos = e->jrn.pos, chain = e->jrn.chain;
    const struct fmt_rec *h;
    struct eng_rec rec;

    if (!l->sc)
        l->sc = jscan_new(e);
    h = (const struct fmt_rec *)(void *)l->sc->rec;
    warm_begin(e);
    for (; n > 0 && pos < end && next_at(l->sc, &pos, chain) == 1 &&
           parse(l->sc, &rec) == 0; n--) {
        e->look(e->look_ctx, &rec);
        chain = h->sum;
        pos += h->len;
    }
    warm_read(e);
}

static void look(struct eng *e, struct look *l, uint64_t end)
{
    uint64_t reads;

    if (l->left-- > 0)
        return;
    reads = e->cache.in_line - l->reads;
    l->reads = e->cache.in_line;
    l->left = look_records(e) - 1;
    if (reads > LOOK_FIRST / 2)
        look_ahead(e, l, l->left + 1, end);
}

/* -- pass 2 ---------------------------------------------------------------- */

/* jrn.pos and .chain follow, so that a checkpoint on the way says where to go
 * on. */
static int apply(struct jscan *sc, struct look *l, eng_replay *replay,
                 void *ctx, struct cfs_err *err)
{
    struct eng *e = sc->eng;
    struct jrn *j = &e->jrn;
    const struct fmt_rec *h = (const struct fmt_rec *)(void *)sc->rec;
    int rc;

    j->pos = e->last.jrn_start;
    j->chain = e->last.jrn_chain;
    while (j->pos < sc->end) {
        uint64_t pos = j->pos;
        struct eng_rec rec;

        rc = make_room(e, err);
        if (rc < 0)
            return rc;
        if (e->look)
            look(e, l, sc->end);
        rc = next_at(sc, &pos, j->chain);
        if (rc < 0)
            return cfs_err_set(err, rc, "read of the journal: %s",
                               cfs_err_str(rc));
        if (rc == 0 || parse(sc, &rec) < 0)
            return damage(err, pos, "it reads differently the second time");
        if (PLANTED(replay_allocates_before_marking) && mark(sc, &rec) < 0)
            return damage(err, pos, "a block belongs to two");
        for (unsigned i = 0; i < rec.n_ext; i++)
            space_commit(e, rec.ext[i]);
        j->records++;
        rc = replay ? replay(ctx, e, &rec) : -EINVAL;
        if (rc == 0 && e->poisoned)
            rc = e->poisoned;
        if (rc < 0)
            return cfs_err_set(err, rc, "the record at %" PRIu64
                               " of the journal cannot be applied: %s", pos,
                               e->poisoned ? e->reason : cfs_err_str(rc));
        j->chain = h->sum;
        j->pos = pos + h->len;
    }
    return 0;
}

int jrn_apply(struct jscan *sc, eng_replay *replay, void *ctx,
              struct cfs_err *err)
{
    struct look l = {.left = LOOK_FIRST};
    int rc;

    l.reads = sc->eng->cache.in_line;
    rc = apply(sc, &l, replay, ctx, err);
    jscan_free(l.sc);
    warm_end(sc->eng);
    return rc;
}

int jrn_confirm(struct eng *e, struct cfs_err *err)
{
    struct jscan *sc = jscan_new(e);
    const struct fmt_rec *h = (const struct fmt_rec *)(void *)sc->rec;
    uint64_t pos = (e->last.jrn_start + CFS_BLOCK - 1) / CFS_BLOCK * CFS_BLOCK;
    int rc;

    e->jrn.start = e->last.jrn_start;
    rc = whole_at(sc, pos);
    if (rc < 0)
        cfs_err_set(err, rc, "read of the journal: %s", cfs_err_str(rc));
    else if (rc == 1 && h->ckpt > e->last.seq)
        rc = damage(err, pos, NEWER_CKPT);
    jscan_free(sc);
    return rc < 0 ? rc : 0;
}

int jrn_examine(struct eng *e, struct jscan **ret, struct cfs_err *err)
{
    struct jscan *sc = jscan_new(e);
    int rc;

    e->jrn.start = e->last.jrn_start;
    rc = walk(sc, err);
    if (rc == 0)
        rc = pass_one(sc, err);
    if (rc == 0)
        rc = search_behind(sc, err);
    if (rc < 0) {
        jscan_free(sc);
        return rc;
    }
    *ret = sc;
    return 0;
}
