/* SPDX-License-Identifier: Apache-2.0 */
/* forge.c - see forge.h. Nothing of an image is believed: it is forged. */
#include "tests/unit/forge.h"

#include <stdlib.h>
#include <xxhash.h>

#include "xlators/storage/block/engine/engine.h"
#include "xlators/storage/block/engine/node.h"
#include "xlators/storage/block/engine/super.h"

#define NODES_MAX 20000u

struct forge forge_of(uint8_t *bytes, uint64_t size)
{
    return (struct forge){bytes, size,
                          (struct fmt_super *)(void *)bytes};
}

bool forge_has(const struct forge *im, uint64_t lba, uint64_t n)
{
    uint64_t blocks = im->size / CFS_BLOCK;

    return lba < blocks && n <= blocks - lba;
}

uint8_t *forge_block(const struct forge *im, uint64_t lba)
{
    assert(forge_has(im, lba, 1));
    return im->bytes + lba * CFS_BLOCK;
}

uint64_t forge_sum(const struct forge *im, const void *p, size_t len)
{
    return XXH3_64bits_withSeed(p, len, im->sb->nonce);
}

/* -- superblock and checkpoint record ------------------------------------- */

struct fmt_ckpt *forge_newest(const struct forge *im)
{
    struct fmt_ckpt *a = (struct fmt_ckpt *)(void *)forge_block(im, SLOT_A);
    struct fmt_ckpt *b = (struct fmt_ckpt *)(void *)forge_block(im, SLOT_B);

    return a->magic != FMT_CKPT_MAGIC || b->seq > a->seq ? b : a;
}

void forge_seal_record(const struct forge *im, struct fmt_ckpt *c)
{
    uint64_t off = (uint64_t)((uint8_t *)c - im->bytes);
    uint64_t end = im->size / CFS_BLOCK - AREA_BLOCKS;
    uint32_t len = c->len < SLOT_BYTES ? c->len : SLOT_BYTES;

    if (len < sizeof *c)
        return;
    c->sum = 0;
    c->sum = forge_sum(im, c, len);
    memcpy(forge_block(im, end) + off, c, SLOT_BYTES);
}

void forge_seal_super(const struct forge *im)
{
    im->sb->sum = super_sum(im->sb);
    memcpy(forge_block(im, im->size / CFS_BLOCK - AREA_BLOCKS), im->sb,
           CFS_BLOCK);
    memcpy(forge_block(im, SUPER_SPARE), im->sb, CFS_BLOCK);
}

/* -- the tree ------------------------------------------------------------- */

/* Whether slot @i of @pg lies within it, whatever else it may be. */
static bool slot_ok(const uint8_t *pg, unsigned i)
{
    unsigned off;

    if (sizeof(struct fmt_node) + (i + 1) * sizeof(uint16_t) > NODE_SIZE)
        return false;
    off = page_slots(pg)[i];
    return off + CELL_HEAD <= NODE_SIZE &&
           off + CELL_HEAD + page_key(pg, i).len + page_val(pg, i).len <=
               NODE_SIZE;
}

/* How many pointers there are room for in slot @i. */
static unsigned ptrs_in(const uint8_t *pg, unsigned i)
{
    struct cfs_blob v = page_val(pg, i);

    if (page_level(pg) > 0 && !page_large(pg, i))
        return v.len == sizeof(struct fmt_ptr);
    if (!page_large(pg, i) || v.len < sizeof(uint32_t))
        return 0;
    return (unsigned)((v.len - sizeof(uint32_t)) / sizeof(struct fmt_ptr));
}

struct walk {
    const struct forge *im;
    uint8_t            *seen; /* a byte for each block */
    unsigned            n;    /* nodes met */
    unsigned            want; /* the number of the one that is looked for */
    uint8_t            *found;
    bool                seal;
};

static void walk_node(struct walk *w, uint64_t lba, unsigned depth);

/* What the pointers of slot @i refer to, and then their checksums. */
static void walk_slot(struct walk *w, uint8_t *pg, unsigned i, unsigned depth)
{
    unsigned n = ptrs_in(pg, i);

    for (unsigned k = 0; k < n; k++) {
        struct fmt_ptr p = page_ptr(pg, i, k);

        if (!forge_has(w->im, p.lba, 1))
            continue;
        if (!page_large(pg, i))
            walk_node(w, p.lba, depth + 1);
        if (!w->seal)
            continue;
        p.sum = forge_sum(w->im, forge_block(w->im, p.lba), CFS_BLOCK);
        page_set_ptr(pg, i, k, &p);
    }
}

static void walk_node(struct walk *w, uint64_t lba, unsigned depth)
{
    uint8_t *pg;

    if (depth > NODE_LEVELS || w->n >= NODES_MAX ||
        !forge_has(w->im, lba, 1) || w->seen[lba])
        return;
    w->seen[lba] = 1;
    pg = forge_block(w->im, lba);
    if (w->n++ == w->want)
        w->found = pg;
    for (unsigned i = 0; i < page_n(pg) && slot_ok(pg, i); i++)
        walk_slot(w, pg, i, depth);
}

static void walk_tree(struct walk *w, const struct fmt_ckpt *c)
{
    w->seen = calloc(w->im->size / CFS_BLOCK, 1);
    assert(w->seen);
    walk_node(w, c->root.lba, 0);
    free(w->seen);
}

void forge_seal_tree(const struct forge *im, struct fmt_ckpt *c)
{
    struct walk w = {.im = im, .want = UINT32_MAX, .seal = true};

    if (!forge_has(im, c->root.lba, 1))
        return;
    walk_tree(&w, c);
    c->root.sum = forge_sum(im, forge_block(im, c->root.lba), CFS_BLOCK);
}

uint8_t *forge_node(const struct forge *im, unsigned n)
{
    struct walk w = {.im = im, .want = UINT32_MAX};
    const struct fmt_ckpt *c = forge_newest(im);

    walk_tree(&w, c);
    if (w.n == 0)
        return NULL;
    w = (struct walk){.im = im, .want = n % w.n};
    walk_tree(&w, c);
    return w.found;
}

/* -- the space map -------------------------------------------------------- */

void forge_seal_map(const struct forge *im, struct fmt_ckpt *c)
{
    struct fmt_top *top = (struct fmt_top *)(void *)(c + 1);
    uint64_t lba = im->sb->grp_lba;
    struct fmt_index *ix;

    /* Stores here have one group. */
    if (top->place > 1 || !forge_has(im, lba, GROUP_HEAD))
        return;
    ix = (struct fmt_index *)(void *)forge_block(im, lba + top->place);
    for (unsigned i = 0; i < GROUP_PAGES; i++) {
        struct fmt_top *page = &ix->page[i];

        if (page->place < 2)
            page->sum = forge_sum(
                im, forge_block(im, lba + 2 + 2 * i + page->place), CFS_BLOCK);
    }
    top->sum = forge_sum(im, ix, CFS_BLOCK);
}

/* -- the journal ---------------------------------------------------------- */

/* The record at *@pos or at the next block, whose own length is *@ret_len. */
static struct fmt_rec *rec_at(const struct forge *im, uint64_t *pos)
{
    uint64_t size = im->sb->jrn_blocks * CFS_BLOCK;
    uint64_t base = im->sb->jrn_lba * CFS_BLOCK;

    for (unsigned i = 0; i < 2; i++) {
        uint64_t off = *pos % size;
        struct fmt_rec *h = (struct fmt_rec *)(void *)(im->bytes + base + off);

        if (off + sizeof *h <= size && h->magic == FMT_REC_MAGIC &&
            h->pos == *pos && h->len >= sizeof *h && h->len % REC_ALIGN == 0 &&
            h->len <= size - off)
            return h;
        *pos = (*pos + CFS_BLOCK - 1) / CFS_BLOCK * CFS_BLOCK;
    }
    return NULL;
}

static bool journal_ok(const struct forge *im, const struct fmt_ckpt *c)
{
    return im->sb->jrn_blocks > 0 &&
           forge_has(im, im->sb->jrn_lba, im->sb->jrn_blocks) &&
           c->jrn_start % REC_ALIGN == 0 && c->jrn_start < UINT64_MAX / 2;
}

void forge_seal_journal(const struct forge *im, const struct fmt_ckpt *c)
{
    uint64_t pos = c->jrn_start, chain = c->jrn_chain;
    struct fmt_rec *h;

    if (!journal_ok(im, c))
        return;
    while ((h = rec_at(im, &pos)) != NULL &&
           pos - c->jrn_start < im->sb->jrn_blocks * CFS_BLOCK) {
        h->prev = chain;
        h->sum = 0;
        h->sum = chain = forge_sum(im, h, h->len);
        pos += h->len;
    }
}

uint8_t *forge_rec(const struct forge *im, unsigned n, uint32_t *ret_len)
{
    const struct fmt_ckpt *c = forge_newest(im);
    uint64_t pos = c->jrn_start;
    struct fmt_rec *h, *last = NULL;

    if (!journal_ok(im, c))
        return NULL;
    while ((h = rec_at(im, &pos)) != NULL &&
           pos - c->jrn_start < im->sb->jrn_blocks * CFS_BLOCK) {
        last = h;
        if (n-- == 0)
            break;
        pos += h->len;
    }
    if (last)
        *ret_len = last->len;
    return (uint8_t *)last;
}
