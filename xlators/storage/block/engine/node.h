/* SPDX-License-Identifier: Apache-2.0 */
/* node.h - one node of the tree as bytes: a slotted page of keys and values.
 * Pure functions on 4096 bytes; format.h has the layout.
 *
 * (1) Slots are sorted by key; cells lie anywhere behind them.
 * (2) heap and used are true: a page that passed page_check() can be changed
 *     without leaving it.
 */
#ifndef CFS_BLOCK_NODE_H
#define CFS_BLOCK_NODE_H

#include "xlators/storage/block/engine/format.h"

/* What a cell holds. */
struct cell {
    struct cfs_blob key;
    struct cfs_blob val;
    bool            large; /* @val is a reference to a large value */
};

static inline struct fmt_node *page_head(uint8_t *pg)
{
    return (struct fmt_node *)(void *)pg;
}

static inline const struct fmt_node *page_chead(const uint8_t *pg)
{
    return (const struct fmt_node *)(const void *)pg;
}

static inline unsigned page_n(const uint8_t *pg)
{
    return page_chead(pg)->n;
}

static inline unsigned page_level(const uint8_t *pg)
{
    return page_chead(pg)->level;
}

static inline const uint16_t *page_slots(const uint8_t *pg)
{
    return (const uint16_t *)(const void *)(pg + sizeof(struct fmt_node));
}

static inline unsigned u16_at(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint8_t *page_cell(const uint8_t *pg, unsigned i)
{
    return (uint8_t *)(uintptr_t)pg + page_slots(pg)[i];
}

static inline struct cfs_blob page_key(const uint8_t *pg, unsigned i)
{
    const uint8_t *c = page_cell(pg, i);

    return (struct cfs_blob){c + CELL_HEAD, u16_at(c)};
}

static inline struct cfs_blob page_val(const uint8_t *pg, unsigned i)
{
    const uint8_t *c = page_cell(pg, i);

    return (struct cfs_blob){c + CELL_HEAD + u16_at(c),
                             u16_at(c + 2) & ~CELL_LARGE};
}

static inline bool page_large(const uint8_t *pg, unsigned i)
{
    return u16_at(page_cell(pg, i) + 2) & CELL_LARGE;
}

static inline struct cell page_get(const uint8_t *pg, unsigned i)
{
    return (struct cell){page_key(pg, i), page_val(pg, i), page_large(pg, i)};
}

static inline size_t cell_bytes(size_t key, size_t val)
{
    return CELL_HEAD + key + val;
}

/* What a cell takes of a page: itself and its slot. */
static inline size_t cell_cost(const struct cell *c)
{
    return cell_bytes(c->key.len, c->val.len) + sizeof(uint16_t);
}

/* Bytes of @pg in use, of NODE_ROOM. */
static inline size_t page_used(const uint8_t *pg)
{
    return page_chead(pg)->used + page_n(pg) * sizeof(uint16_t);
}

static inline bool page_fits(const uint8_t *pg, const struct cell *c)
{
    return page_used(pg) + cell_cost(c) <= NODE_ROOM;
}

static inline int blob_cmp(struct cfs_blob a, struct cfs_blob b)
{
    uint32_t n = a.len < b.len ? a.len : b.len;
    int c = n > 0 ? memcmp(a.p, b.p, n) : 0;

    if (c != 0)
        return c;
    return (a.len > b.len) - (a.len < b.len);
}

void page_init(uint8_t *pg, unsigned level);

/* The first slot whose key is not below @key; *ret_exact: it is @key. */
unsigned page_search(const uint8_t *pg, struct cfs_blob key, bool *ret_exact);

/* The slot of the child of an inner node in which @key would be. */
unsigned page_child(const uint8_t *pg, struct cfs_blob key);

/* Put @c before slot @i; it fits, and does not point into @pg. */
void page_insert(uint8_t *pg, unsigned i, const struct cell *c);
void page_remove(uint8_t *pg, unsigned i);

/* The pointers in slot @i: one in an inner node, in a large value's reference
 * one for each block. */
unsigned       page_ptrs(const uint8_t *pg, unsigned i);
struct fmt_ptr page_ptr(const uint8_t *pg, unsigned i, unsigned part);
void           page_set_ptr(uint8_t *pg, unsigned i, unsigned part,
                            const struct fmt_ptr *p);

/* A large value's reference. */
static inline uint32_t ref_len(struct cfs_blob ref)
{
    uint32_t len;

    memcpy(&len, ref.p, sizeof len);
    return len;
}

static inline unsigned len_blocks(uint32_t len)
{
    return (len + CFS_BLOCK - 1) / CFS_BLOCK;
}

#define REF_MAX (4u + 16u * (unsigned)sizeof(struct fmt_ptr))

/* A page from the device that is to be a node of @level: -CFS_E_CORRUPT. */
int page_check(const uint8_t *pg, unsigned level);

#endif
