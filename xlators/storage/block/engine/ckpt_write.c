/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt_write.c - what the pool does for a checkpoint: give frozen nodes their
 * places, fill in those of their children, write them in runs; then the
 * space map and the record.
 *
 * Threads    a pool thread. It sees the frozen list, frozen pages and map
 *            pages, which nobody changes, and space.disk and .top, which are
 *            the checkpoint's until it is done. It never looks at a node.
 */
#include <stdlib.h>

#include "core/xxh3.h"
#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/engine/plant.h"

#define RUN_BLOCKS (CKPT_RUN / CFS_BLOCK)

/* Blocks on their way out, gathered while their places follow each other. */
struct run {
    struct eng        *eng;
    uint8_t           *bounce;
    const struct extv *places; /* that the freeze reserved */
    uint64_t           lba;
    unsigned           n;
    size_t             ext;  /* the next place: extent, */
    uint32_t           used; /* and block in it */
};

static int run_flush(struct run *r)
{
    int rc = 0;

    if (r->n > 0)
        rc = eng_write(r->eng, CFS_DEV_DIRECT, r->lba, r->bounce, r->n);
    if (r->bounce == r->eng->ckpt.bounce) /* second copies are no news */
        __atomic_fetch_add(&r->eng->ckpt.written, r->n, __ATOMIC_RELAXED);
    r->n = 0;
    return rc;
}

/* Memory for the block that will lie at @lba. */
static int run_room(struct run *r, uint64_t lba, uint8_t **ret)
{
    int rc;

    if (r->n == RUN_BLOCKS || (r->n > 0 && lba != r->lba + r->n)) {
        rc = run_flush(r);
        if (rc < 0)
            return rc;
    }
    if (r->n == 0)
        r->lba = lba;
    *ret = r->bounce + r->n * (size_t)CFS_BLOCK;
    r->n++;
    return 0;
}

/* The next of the blocks that the freeze reserved. */
static uint64_t next_place(struct run *r)
{
    const struct extv *v = r->places;
    uint64_t lba;

    assert(r->ext < v->n);
    lba = v->v[r->ext].lba + r->used;
    if (++r->used == v->v[r->ext].n) {
        r->ext++;
        r->used = 0;
    }
    return lba;
}

/* -- order ----------------------------------------------------------------- */

/* Values first, then leaves, then what refers to them; by key, so that what
 * is read together lies together. */
static unsigned rank(const struct dirt *d)
{
    return d->level == LEVEL_VALUE ? 0 : d->level + 1u;
}

static int by_level_and_key(const void *a, const void *b)
{
    const struct dirt *x = *(const struct dirt *const *)a;
    const struct dirt *y = *(const struct dirt *const *)b;

    if (rank(x) != rank(y))
        return rank(x) < rank(y) ? -1 : 1;
    if (x->level != LEVEL_VALUE && page_n(x->page) > 0 &&
        page_n(y->page) > 0) {
        int c = blob_cmp(page_key(x->page, 0), page_key(y->page, 0));

        if (c != 0)
            return c;
    }
    return x < y ? -1 : x > y;
}

static struct dirt **sorted(struct ckpt *c, uint32_t *ret_n)
{
    struct dirt **v = eng_calloc((c->n_list + 1) * sizeof(struct dirt *));
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->n_list; i++) {
        if (c->list[i].node)
            v[n++] = &c->list[i];
    }
    qsort(v, n, sizeof(struct dirt *), by_level_and_key);
    *ret_n = n;
    return v;
}

/* -- nodes ----------------------------------------------------------------- */

/* Put the true pointers where @page has temporary ones. */
static void fill_in(struct ckpt *c, uint8_t *page)
{
    for (unsigned i = 0; i < page_n(page); i++) {
        unsigned parts = page_ptrs(page, i);
        struct fmt_ptr p;
        const struct dirt *d;

        if (parts == 0)
            continue;
        p = page_ptr(page, i, 0);
        if (!(p.lba & PTR_TEMP))
            continue;
        assert(p.gen == c->epoch);
        d = &c->list[p.lba & ~PTR_TEMP];
        assert(d->node);
        for (unsigned k = 0; k < parts; k++)
            page_set_ptr(page, i, k, &c->result[d->first + k]);
    }
}

/* The same bytes once more, in a place of their own. */
static int write_copy(struct run *r, const uint8_t *bytes, uint64_t *ret_lba)
{
    uint64_t lba = next_place(r);
    uint8_t *to;
    int rc = run_room(r, lba, &to);

    if (rc < 0)
        return rc;
    memcpy(to, bytes, CFS_BLOCK);
    *ret_lba = lba;
    return 0;
}

static int write_part(struct run *r, struct run *copy, const struct dirt *d,
                      unsigned part, struct fmt_ptr *ret)
{
    struct eng *e = r->eng;
    uint64_t lba = next_place(r);
    uint8_t *to;
    int rc = run_room(r, lba, &to);

    if (rc < 0)
        return rc;
    memcpy(to, d->page + part * (size_t)CFS_BLOCK, CFS_BLOCK);
    if (PLANTED(node_changed_while_frozen) && d->level == 0 && d->node->page)
        memcpy(to, d->node->page, CFS_BLOCK);
    if (d->level != LEVEL_VALUE) {
        page_head(to)->gen = e->ckpt.rec.gen;
        page_head(to)->lba = lba;
        fill_in(&e->ckpt, to);
    }
    *ret = (struct fmt_ptr){.lba = lba, .gen = e->ckpt.rec.gen,
                            .sum = eng_sum(e, to, CFS_BLOCK)};
    return e->copies == 2 ? write_copy(copy, to, &ret->lba2) : 0;
}

static int write_nodes(struct eng *e)
{
    struct ckpt *c = &e->ckpt;
    struct run r = {.eng = e, .bounce = c->bounce, .places = &c->ext};
    struct run copy = {.eng = e, .bounce = c->bounce2, .places = &c->ext2};
    struct dirt **v;
    uint32_t n, at = 0;
    int rc = 0;

    if (c->blocks > c->cap_result) {
        free(c->result);
        c->result = eng_calloc(c->blocks * sizeof *c->result);
        c->cap_result = c->blocks;
    }
    v = sorted(c, &n);
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        unsigned parts = v[i]->level == LEVEL_VALUE ? len_blocks(v[i]->len)
                                                    : 1;

        v[i]->first = at;
        for (unsigned k = 0; k < parts && rc == 0; k++, at++)
            rc = write_part(&r, &copy, v[i], k, &c->result[at]);
    }
    if (rc == 0)
        rc = run_flush(&r);
    if (rc == 0)
        rc = run_flush(&copy);
    assert(rc < 0 || at == c->blocks);
    free(v);
    return rc;
}

/* -- space map ------------------------------------------------------------- */

static uint8_t other_place(uint8_t place)
{
    return place == 0 ? 1 : 0;
}

static uint32_t count_free(const uint64_t *live)
{
    uint32_t n = 0;

    for (unsigned w = 0; w < MAP_WORDS; w++)
        n += (uint32_t)__builtin_popcountll(~live[w]);
    return n;
}

static int write_page(struct run *r, const struct mdirt *d)
{
    struct eng *e = r->eng;
    struct fmt_top *t = &e->space.disk[d->page];
    uint32_t group = d->page / GROUP_PAGES, i = d->page % GROUP_PAGES;
    uint64_t head = space_page_lba(&e->space, group * GROUP_PAGES);
    uint8_t *to;
    int rc;

    t->place = other_place(t->place);
    rc = run_room(r, head + 2 + 2 * i + t->place, &to);
    if (rc < 0)
        return rc;
    memcpy(to, d->live, CFS_BLOCK);
    t->sum = eng_sum(e, to, CFS_BLOCK);
    t->free = count_free(d->live);
    return 0;
}

static int write_index(struct run *r, uint32_t group)
{
    struct eng *e = r->eng;
    struct space *s = &e->space;
    uint32_t first = group * GROUP_PAGES, n = s->n_pages - first;
    struct fmt_top *top = &s->top[group];
    struct fmt_index *ix;
    uint8_t *to;
    int rc;

    top->place = other_place(top->place);
    rc = run_room(r, space_page_lba(s, first) + top->place, &to);
    if (rc < 0)
        return rc;
    ix = (struct fmt_index *)(void *)to;
    memset(ix, 0, sizeof *ix);
    ix->magic = FMT_INDEX_MAGIC;
    ix->lba = space_page_lba(s, first);
    ix->gen = e->ckpt.rec.gen;
    top->free = 0;
    for (uint32_t i = 0; i < GROUP_PAGES; i++) {
        ix->page[i].place = PLACE_NONE;
        if (i < n) {
            ix->page[i] = s->disk[first + i];
            top->free += ix->page[i].free;
        }
    }
    top->sum = eng_sum(e, to, CFS_BLOCK);
    return 0;
}

static int by_page(const void *a, const void *b)
{
    const struct mdirt *x = a, *y = b;

    return x->page < y->page ? -1 : x->page > y->page;
}

static int write_maps(struct eng *e)
{
    struct ckpt *c = &e->ckpt;
    struct run r = {.eng = e, .bounce = c->bounce};
    uint32_t group = UINT32_MAX;
    int rc = 0;

    if (c->n_maps > 0)
        qsort(c->maps, c->n_maps, sizeof *c->maps, by_page);
    for (size_t i = 0; i < c->n_maps && rc == 0; i++)
        rc = write_page(&r, &c->maps[i]);
    for (size_t i = 0; i < c->n_maps && rc == 0; i++) {
        if (c->maps[i].page / GROUP_PAGES == group)
            continue;
        group = c->maps[i].page / GROUP_PAGES;
        rc = write_index(&r, group);
    }
    return rc < 0 ? rc : run_flush(&r);
}

/* -- the record ------------------------------------------------------------ */

/* The record as bytes, in c->slot. */
static void seal(struct eng *e)
{
    struct ckpt *c = &e->ckpt;
    struct fmt_ckpt *h = (struct fmt_ckpt *)(void *)c->slot;

    c->rec.free = 0;
    for (uint32_t g = 0; g < c->rec.n_groups; g++)
        c->rec.free += e->space.top[g].free;
    c->rec.sum = 0;
    memset(c->slot, 0, SLOT_BYTES);
    memcpy(c->slot, &c->rec, sizeof c->rec);
    memcpy(c->slot + sizeof c->rec, e->space.top,
           c->rec.n_groups * sizeof(struct fmt_top));
    c->rec.sum = h->sum = eng_sum(e, c->slot, c->rec.len);
}

int ckpt_write(struct eng *e)
{
    struct ckpt *c = &e->ckpt;
    int rc = write_nodes(e);

    if (rc == 0)
        rc = write_maps(e);
    if (rc == 0 && c->mark)
        rc = eng_write(e, CFS_DEV_DIRECT, c->mark->size - AREA_BLOCKS, c->mark,
                       1);
    if (rc == 0 && c->mark)
        rc = eng_write(e, CFS_DEV_DIRECT, SUPER_SPARE, c->mark, 1);
    if (rc < 0)
        return rc;
    c->rec.root = c->root_idx == ROOT_CLEAN
                      ? c->root
                      : c->result[c->list[c->root_idx].first];
    seal(e);
    return 0;
}

int ckpt_write_record(struct eng *e)
{
    struct ckpt *c = &e->ckpt;
    uint64_t blocks = (c->rec.len + CFS_BLOCK - 1) / CFS_BLOCK;
    uint64_t seq = c->rec.seq;
    int rc = eng_write(e, CFS_DEV_DIRECT, super_slot_lba(&e->sb, seq, false),
                       c->slot, blocks);

    if (rc == 0)
        rc = eng_write(e, CFS_DEV_DIRECT, super_slot_lba(&e->sb, seq, true),
                       c->slot, blocks);
    if (rc == 0 && c->mark)
        rc = eng_write(e, CFS_DEV_DIRECT, 0, c->mark, 1);
    return rc;
}

int ckpt_new_life(struct eng *e, bool restart)
{
    struct ckpt *c = &e->ckpt;
    int rc;

    c->rec = e->last;
    c->rec.seq++;
    c->rec.incarnation = e->incarnation;
    c->rec.flags &= ~CKPT_CLEAN;
    if (restart) {
        c->rec.jrn_start = e->jrn.pos;
        c->rec.jrn_chain = e->jrn.chain;
    }
    seal(e);
    rc = ckpt_write_record(e);
    if (rc == 0)
        rc = e->dev->ops->flush(e->dev);
    if (rc == 0)
        e->last = c->rec;
    return rc;
}
