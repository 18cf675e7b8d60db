/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - a slotted page: search, insert, remove, and the check that makes
 * a page from the device safe to work on. */
#include "xlators/storage/block/engine/node.h"

#include "xlators/storage/block/engine/engine.h"

void page_init(uint8_t *pg, unsigned level)
{
    memset(pg, 0, NODE_SIZE);
    *page_head(pg) = (struct fmt_node){
        .magic = FMT_NODE_MAGIC,
        .level = (uint8_t)level,
        .heap = NODE_SIZE,
    };
}

unsigned page_search(const uint8_t *pg, struct cfs_blob key, bool *ret_exact)
{
    unsigned lo = 0, hi = page_n(pg);

    *ret_exact = false;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        int c = blob_cmp(page_key(pg, mid), key);

        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
            if (c == 0)
                *ret_exact = true;
        }
    }
    return lo;
}

unsigned page_child(const uint8_t *pg, struct cfs_blob key)
{
    unsigned lo = 1, hi = page_n(pg);

    /* The last slot from 1 on whose key is not above @key, or 0. */
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;

        if (blob_cmp(page_key(pg, mid), key) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - 1;
}

static uint16_t *slots(uint8_t *pg)
{
    return (uint16_t *)(void *)(pg + sizeof(struct fmt_node));
}

/* Move all cells to the end, so that the free bytes are in one piece. */
static void compact(uint8_t *pg)
{
    uint8_t old[NODE_SIZE];
    struct fmt_node *h = page_head(pg);
    unsigned at = NODE_SIZE;

    memcpy(old, pg, NODE_SIZE);
    for (unsigned i = 0; i < h->n; i++) {
        const uint8_t *c = page_cell(old, i);
        unsigned len = CELL_HEAD + u16_at(c) + (u16_at(c + 2) & ~CELL_LARGE);

        at -= len;
        memcpy(pg + at, c, len);
        slots(pg)[i] = (uint16_t)at;
    }
    h->heap = (uint16_t)at;
    assert(NODE_SIZE - at == h->used);
}

void page_insert(uint8_t *pg, unsigned i, const struct cell *c)
{
    struct fmt_node *h = page_head(pg);
    size_t len = cell_bytes(c->key.len, c->val.len);
    uint16_t klen = (uint16_t)c->key.len;
    uint16_t vlen = (uint16_t)(c->val.len | (c->large ? CELL_LARGE : 0));
    uint16_t *s = slots(pg);
    uint8_t *at;

    assert(i <= h->n && page_fits(pg, c));
    if (sizeof *h + (h->n + 1u) * sizeof *s + len > h->heap)
        compact(pg);
    memmove(s + i + 1, s + i, (h->n - i) * sizeof *s);
    h->heap = (uint16_t)(h->heap - len);
    h->used = (uint16_t)(h->used + len);
    h->n++;
    s[i] = h->heap;
    at = pg + h->heap;
    memcpy(at, &klen, sizeof klen);
    memcpy(at + 2, &vlen, sizeof vlen);
    if (klen > 0)
        memcpy(at + CELL_HEAD, c->key.p, klen);
    if (c->val.len > 0)
        memcpy(at + CELL_HEAD + klen, c->val.p, c->val.len);
}

void page_remove(uint8_t *pg, unsigned i)
{
    struct fmt_node *h = page_head(pg);
    uint16_t *s = slots(pg);
    const uint8_t *c = page_cell(pg, i);
    size_t len = cell_bytes(u16_at(c), u16_at(c + 2) & ~CELL_LARGE);

    if (s[i] == h->heap)
        h->heap = (uint16_t)(h->heap + len);
    h->used = (uint16_t)(h->used - len);
    h->n--;
    memmove(s + i, s + i + 1, (h->n - i) * sizeof *s);
    if (h->n == 0)
        h->heap = NODE_SIZE;
}

static uint8_t *ptr_at(const uint8_t *pg, unsigned i, unsigned part)
{
    const uint8_t *v = page_val(pg, i).p;

    if (page_large(pg, i))
        v += sizeof(uint32_t);
    return (uint8_t *)(uintptr_t)v + part * sizeof(struct fmt_ptr);
}

unsigned page_ptrs(const uint8_t *pg, unsigned i)
{
    if (page_level(pg) > 0)
        return 1;
    return page_large(pg, i) ? len_blocks(ref_len(page_val(pg, i))) : 0;
}

struct fmt_ptr page_ptr(const uint8_t *pg, unsigned i, unsigned part)
{
    struct fmt_ptr p;

    memcpy(&p, ptr_at(pg, i, part), sizeof p);
    return p;
}

void page_set_ptr(uint8_t *pg, unsigned i, unsigned part,
                  const struct fmt_ptr *p)
{
    memcpy(ptr_at(pg, i, part), p, sizeof *p);
}

static bool ptrs_ok(const uint8_t *pg, unsigned i)
{
    for (unsigned k = 0; k < page_ptrs(pg, i); k++) {
        if (page_ptr(pg, i, k).lba & PTR_TEMP)
            return false;
    }
    return true;
}

/* Slot @i of @pg as a whole within the page, of the kind that @level has. */
static bool cell_ok(const uint8_t *pg, unsigned i, unsigned level)
{
    const struct fmt_node *h = page_chead(pg);
    unsigned off = page_slots(pg)[i];
    unsigned klen, vlen;

    if (off < h->heap || off + CELL_HEAD > NODE_SIZE)
        return false;
    klen = u16_at(pg + off);
    vlen = u16_at(pg + off + 2) & ~CELL_LARGE;
    if (klen > ENG_KEY_MAX || off + CELL_HEAD + klen + vlen > NODE_SIZE)
        return false;
    if (level > 0)
        return vlen == sizeof(struct fmt_ptr) && !page_large(pg, i) &&
               ptrs_ok(pg, i);
    if (klen == 0)
        return false;
    if (page_large(pg, i)) {
        uint32_t len;

        if (vlen < sizeof len)
            return false;
        len = ref_len(page_val(pg, i));
        return len > 0 && len <= ENG_VALUE_MAX &&
               vlen == sizeof len + len_blocks(len) * sizeof(struct fmt_ptr) &&
               ptrs_ok(pg, i);
    }
    return cell_bytes(klen, vlen) <= CELL_MAX;
}

int page_check(const uint8_t *pg, unsigned level)
{
    const struct fmt_node *h = page_chead(pg);
    size_t used = 0;

    if (h->magic != FMT_NODE_MAGIC || h->level != level || h->zero != 0 ||
        h->n > NODE_ROOM / (CELL_HEAD + sizeof(uint16_t)) ||
        h->heap > NODE_SIZE ||
        sizeof *h + h->n * sizeof(uint16_t) > h->heap)
        return -CFS_E_CORRUPT;
    if (level > 0 && h->n == 0)
        return -CFS_E_CORRUPT;
    for (unsigned i = 0; i < h->n; i++) {
        if (!cell_ok(pg, i, level))
            return -CFS_E_CORRUPT;
        /* The first key of an inner node is any bound: it was another slot's,
         * when those before it have gone, and need not be below the next. */
        if (i > (level > 0) &&
            blob_cmp(page_key(pg, i - 1), page_key(pg, i)) >= 0)
            return -CFS_E_CORRUPT;
        used += cell_bytes(page_key(pg, i).len, page_val(pg, i).len);
    }
    return used == h->used && used <= (size_t)(NODE_SIZE - h->heap)
               ? 0
               : -CFS_E_CORRUPT;
}
