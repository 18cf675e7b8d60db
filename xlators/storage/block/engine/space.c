/* SPDX-License-Identifier: Apache-2.0 */
/* space.c - the space map: who takes which block, and when it is free again.
 *
 * Data and nodes are taken from two places that move on: nodes from the start
 * of the store, data from an eighth of it on, so that they mix as late as
 * possible and nodes keep finding runs. */
#include "xlators/storage/block/engine/space.h"

#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"

void extv_push(struct extv *v, struct eng_ext ext)
{
    struct eng_ext *last = v->n > 0 ? &v->v[v->n - 1] : NULL;

    if (last && last->lba + last->n == ext.lba &&
        last->n <= UINT32_MAX - ext.n) {
        last->n += ext.n;
        return;
    }
    if (v->n == v->cap) {
        v->cap = v->cap ? 2 * v->cap : 64;
        v->v = eng_realloc(v->v, v->cap * sizeof *v->v);
    }
    v->v[v->n++] = ext;
}

void extv_fini(struct extv *v)
{
    free(v->v);
    *v = (struct extv){0};
}

/* -- bits ------------------------------------------------------------------ */

static bool bit(const uint64_t *map, uint32_t i)
{
    return map[i / 64] >> (i % 64) & 1;
}

/* The bits of word @w that lie in [from, to). */
static uint64_t word_mask(uint32_t w, uint32_t from, uint32_t to)
{
    uint32_t lo = w * 64 > from ? 0 : from - w * 64;
    uint32_t hi = to - w * 64 < 64 ? to - w * 64 : 64;
    uint64_t m = hi == 64 ? ~(uint64_t)0 : ((uint64_t)1 << hi) - 1;

    return m & (~(uint64_t)0 << lo);
}

static void bits_set(uint64_t *map, uint32_t from, uint32_t n, bool on)
{
    for (uint32_t w = from / 64; w * 64 < from + n; w++) {
        uint64_t m = word_mask(w, from, from + n);

        map[w] = on ? map[w] | m : map[w] & ~m;
    }
}

/* Whether all (@on) or none of them are set. */
static bool bits_are(const uint64_t *map, uint32_t from, uint32_t n, bool on)
{
    for (uint32_t w = from / 64; w * 64 < from + n; w++) {
        uint64_t m = word_mask(w, from, from + n);

        if ((map[w] & m) != (on ? m : 0))
            return false;
    }
    return true;
}

/* The first bit from @at on that is @on; MAP_BLOCKS: none. */
static uint32_t bits_find(const uint64_t *map, uint32_t at, bool on)
{
    while (at < MAP_BLOCKS) {
        uint64_t w = (on ? map[at / 64] : ~map[at / 64]) >> (at % 64);

        if (w != 0)
            return at + (uint32_t)__builtin_ctzll(w);
        at = (at / 64 + 1) * 64;
    }
    return MAP_BLOCKS;
}

static uint32_t bits_count_clear(const uint64_t *map)
{
    uint32_t n = 0;

    for (uint32_t w = 0; w < MAP_WORDS; w++)
        n += (uint32_t)__builtin_popcountll(~map[w]);
    return n;
}

/* -- pages ----------------------------------------------------------------- */

/* The part of @ext, from @*at on, that lies in one page. */
struct piece {
    uint32_t page;
    uint32_t from;
    uint32_t n;
};

static bool next_piece(const struct space *s, struct eng_ext ext,
                       uint64_t *at, struct piece *ret)
{
    uint64_t off = ext.lba - s->lba + *at;
    uint64_t left = ext.n - *at;

    if (left == 0)
        return false;
    ret->page = (uint32_t)(off / MAP_BLOCKS);
    ret->from = (uint32_t)(off % MAP_BLOCKS);
    ret->n = MAP_BLOCKS - ret->from;
    if (ret->n > left)
        ret->n = (uint32_t)left;
    *at += ret->n;
    return true;
}

/* Mark what no one may ever take: the groups' heads, what lies behind the
 * end. These bits are the same in taken and live. */
static void fixed_bits(const struct space *s, uint32_t page, uint64_t *map)
{
    uint64_t lba = space_page_lba(s, page);

    memset(map, 0, MAP_WORDS * sizeof *map);
    if (page % GROUP_PAGES == 0)
        bits_set(map, 0, GROUP_HEAD, true);
    if (s->end - lba < MAP_BLOCKS) {
        uint32_t n = (uint32_t)(s->end - lba);

        bits_set(map, n, MAP_BLOCKS - n, true);
    }
}

struct eng_ext space_page_all(const struct space *s, uint32_t page)
{
    uint64_t lba = space_page_lba(s, page);
    uint32_t head = page % GROUP_PAGES == 0 ? GROUP_HEAD : 0;
    uint32_t n = s->end - lba < MAP_BLOCKS ? (uint32_t)(s->end - lba)
                                           : MAP_BLOCKS;

    return (struct eng_ext){lba + head, n - head};
}

/* The live bits of @p are about to change. */
static void live_touch(struct eng *e, uint32_t page)
{
    struct space *s = &e->space;
    struct mpage *p = &s->page[page];

    if (p->epoch == e->epoch)
        return;
    if (p->epoch != 0) {
        uint8_t *copy = cache_page_new(e);

        memcpy(copy, p->live, NODE_SIZE);
        p->live = (uint64_t *)(void *)copy;
    }
    p->epoch = e->epoch;
    if (s->n_dirty == s->cap_dirty) {
        s->cap_dirty = s->cap_dirty ? 2 * s->cap_dirty : 64;
        s->dirty = eng_realloc(s->dirty, s->cap_dirty * sizeof *s->dirty);
    }
    s->dirty[s->n_dirty++] = (struct mdirt){page, p->live};
}

static void count_free(struct space *s, struct mpage *p, int64_t n)
{
    uint64_t *sum = p->backed ? &s->free : &s->unbacked;

    p->free = (uint32_t)(p->free + n);
    *sum = (uint64_t)((int64_t)*sum + n);
}

static void take(struct eng *e, const struct piece *pc)
{
    struct mpage *p = &e->space.page[pc->page];

    p->used = true;
    bits_set(p->taken, pc->from, pc->n, true);
    count_free(&e->space, p, -(int64_t)pc->n);
    if (p->longest > p->free)
        p->longest = p->free;
}

static void untake(struct eng *e, const struct piece *pc)
{
    struct mpage *p = &e->space.page[pc->page];

    bits_set(p->taken, pc->from, pc->n, false);
    count_free(&e->space, p, pc->n);
    p->longest = p->free;
}

static struct freed *freed_new(uint64_t epoch)
{
    struct freed *f = eng_calloc(sizeof *f);

    cfs_list_init(&f->link);
    f->epoch = epoch;
    return f;
}

void space_init(struct eng *e)
{
    struct space *s = &e->space;

    s->lba = e->sb.grp_lba;
    s->end = s->lba + e->sb.grp_blocks;
    s->n_pages = (uint32_t)((e->sb.grp_blocks + MAP_BLOCKS - 1) / MAP_BLOCKS);
    s->n_groups = (s->n_pages + GROUP_PAGES - 1) / GROUP_PAGES;
    s->page = eng_calloc(s->n_pages * sizeof *s->page);
    s->disk = eng_calloc(s->n_pages * sizeof *s->disk);
    s->top = eng_calloc(s->n_groups * sizeof *s->top);
    cfs_list_init(&s->releasing);
    s->freed = freed_new(e->epoch);
    for (uint32_t i = 0; i < s->n_groups; i++)
        s->top[i].place = PLACE_NONE;
    for (uint32_t i = 0; i < s->n_pages; i++) {
        struct mpage *p = &s->page[i];

        s->disk[i].place = PLACE_NONE;
        p->taken = (uint64_t *)(void *)cache_page_new(e);
        p->live = (uint64_t *)(void *)cache_page_new(e);
        fixed_bits(s, i, p->taken);
        fixed_bits(s, i, p->live);
        p->free = p->longest = bits_count_clear(p->taken);
        p->backed = true;
        s->free += p->free;
        s->disk[i].free = p->free;
        s->top[i / GROUP_PAGES].free += p->free;
    }
    s->usable = s->free;
    s->reserve = s->usable / 64;
    if (s->reserve < 512u * e->copies)
        s->reserve = 512u * e->copies;
    if (s->reserve > 262144)
        s->reserve = 262144;
    s->floor = s->reserve / 4;
    if (s->floor < 192u * e->copies)
        s->floor = 192u * e->copies;
    s->node_next = s->lba;
    s->copy_next = s->lba + e->sb.grp_blocks / 2;
    s->data_next = s->lba + e->sb.grp_blocks / 8;
}

void space_fini(struct eng *e)
{
    struct space *s = &e->space;
    struct cfs_list *l;

    for (uint32_t i = 0; s->page && i < s->n_pages; i++) {
        cache_page_free(e, (uint8_t *)s->page[i].taken);
        cache_page_free(e, (uint8_t *)s->page[i].live);
    }
    if (s->freed)
        cfs_list_add_tail(&s->releasing, &s->freed->link);
    while (s->freed && (l = cfs_list_pop(&s->releasing)) != NULL) {
        struct freed *f = cfs_list_entry(l, struct freed, link);

        extv_fini(&f->ext);
        free(f);
    }
    free(s->page);
    free(s->disk);
    free(s->top);
    free(s->dirty);
    *s = (struct space){0};
}

/* -- reading it ------------------------------------------------------------ */

/* A group's index, verified. */
static int read_index(struct eng *e, uint32_t group, struct fmt_top top,
                      struct fmt_index *ix)
{
    uint64_t lba = space_page_lba(&e->space, group * GROUP_PAGES);
    int rc = eng_read(e, CFS_DEV_DIRECT, lba + top.place, ix, 1);

    if (rc < 0)
        return rc;
    if (eng_sum(e, ix, sizeof *ix) != top.sum ||
        ix->magic != FMT_INDEX_MAGIC || ix->lba != lba)
        return -CFS_E_CORRUPT;
    return 0;
}

/* The live bits of a page as read: what is fixed must be there. */
static int take_page(struct eng *e, uint32_t page, const uint64_t *bits)
{
    struct space *s = &e->space;
    struct mpage *p = &s->page[page];
    uint32_t was = p->free;

    for (uint32_t w = 0; w < MAP_WORDS; w++) {
        if ((bits[w] & p->taken[w]) != p->taken[w])
            return -CFS_E_CORRUPT;
    }
    memcpy(p->taken, bits, NODE_SIZE);
    memcpy(p->live, bits, NODE_SIZE);
    p->free = p->longest = bits_count_clear(bits);
    p->used = true;
    s->free -= was - p->free;
    return p->free == s->disk[page].free ? 0 : -CFS_E_CORRUPT;
}

/* All map pages of a group, both places, lie behind each other: one read. */
static int load_group(struct eng *e, uint32_t group, struct fmt_index *ix,
                      uint8_t *buf)
{
    struct space *s = &e->space;
    uint32_t first = group * GROUP_PAGES;
    uint32_t n = s->n_pages - first < GROUP_PAGES ? s->n_pages - first
                                                  : GROUP_PAGES;
    int rc = read_index(e, group, s->top[group], ix);

    if (rc < 0)
        return rc;
    rc = eng_read(e, CFS_DEV_DIRECT, space_page_lba(s, first) + 2, buf, 2 * n);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < n; i++) {
        struct fmt_top t = ix->page[i];
        const uint8_t *at = buf + (2 * i + t.place) * (size_t)CFS_BLOCK;

        if (t.place == PLACE_NONE)
            continue;
        if (t.place > 1)
            return -CFS_E_CORRUPT;
        s->disk[first + i] = t;
        if (eng_sum(e, at, CFS_BLOCK) != t.sum)
            rc = -CFS_E_CORRUPT;
        else
            rc = take_page(e, first + i, (const uint64_t *)(const void *)at);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The maps end with block @old of the groups, where the store ended when they
 * were written: what is behind it is free. The page and the index in which
 * that was are written anew. */
static void widen(struct eng *e, uint64_t old)
{
    struct space *s = &e->space;
    uint32_t page = (uint32_t)(old / MAP_BLOCKS);
    uint32_t from = (uint32_t)(old % MAP_BLOCKS);
    uint64_t end = s->end - s->lba;
    struct piece pc = {.page = page, .from = from};

    if (old >= end || old % GROUP_BLOCKS == 0)
        return;
    live_touch(e, page);
    if (s->disk[page].place == PLACE_NONE || from == 0)
        return;
    pc.n = end - old < MAP_BLOCKS - from ? (uint32_t)(end - old)
                                         : MAP_BLOCKS - from;
    bits_set(s->page[page].live, pc.from, pc.n, false);
    untake(e, &pc);
}

int space_load(struct eng *e, const uint8_t *slot, struct cfs_err *err)
{
    const struct fmt_ckpt *c = (const struct fmt_ckpt *)(const void *)slot;
    const struct fmt_top *top = ckpt_tops(slot);
    struct space *s = &e->space;
    size_t len = 2 * (size_t)GROUP_PAGES * CFS_BLOCK;
    struct fmt_index *ix = eng_alloc_aligned(sizeof *ix);
    uint8_t *buf = eng_alloc_aligned(len);
    int rc = 0;

    for (uint32_t g = 0; g < c->n_groups && rc == 0; g++) {
        s->top[g] = top[g];
        if (top[g].place == PLACE_NONE)
            continue;
        rc = top[g].place > 1 ? -CFS_E_CORRUPT : load_group(e, g, ix, buf);
        if (rc < 0 && e->conf.repair) {
            s->lost = true;
            rc = 0;
        }
        if (rc < 0)
            cfs_err_set(err, rc, "the space map of group %u: %s", g,
                        cfs_err_str(rc));
    }
    free(ix);
    free(buf);
    if (rc == 0)
        widen(e, super_ckpt_blocks(&e->sb, c));
    return rc;
}

bool space_valid(const struct eng *e, struct eng_ext ext)
{
    const struct space *s = &e->space;
    uint64_t off;

    if (ext.n == 0 || ext.n > GROUP_BLOCKS || ext.lba < s->lba ||
        ext.lba >= s->end || ext.n > s->end - ext.lba)
        return false;
    off = (ext.lba - s->lba) % GROUP_BLOCKS;
    return off >= GROUP_HEAD && off + ext.n <= GROUP_BLOCKS;
}

bool space_live(const struct eng *e, uint64_t lba)
{
    const struct space *s = &e->space;
    uint64_t off = lba - s->lba;

    return lba >= s->lba && lba < s->end &&
           bit(s->page[off / MAP_BLOCKS].live, (uint32_t)(off % MAP_BLOCKS));
}

/* -- taking ---------------------------------------------------------------- */

/* A run of up to @want free blocks of @page from @from on: the first of that
 * length, or none. Learns how long the longest is. */
static bool find_in_page(struct mpage *p, uint32_t from, uint32_t want,
                         uint32_t *ret)
{
    uint32_t at = from, longest = 0;

    while ((at = bits_find(p->taken, at, false)) < MAP_BLOCKS) {
        uint32_t to = bits_find(p->taken, at, true);

        if (to - at >= want) {
            *ret = at;
            return true;
        }
        if (to - at > longest)
            longest = to - at;
        at = to;
    }
    if (from == 0)
        p->longest = longest;
    return false;
}

/* The same, outside the windows of all streams but the one at @goal. */
static bool find_outside(struct space *s, uint32_t page, uint32_t from,
                         uint32_t want, uint64_t goal, uint32_t *ret)
{
    uint64_t lba = space_page_lba(s, page);

    while (find_in_page(&s->page[page], from, want, ret)) {
        uint64_t behind = window_behind(
            s, (struct eng_ext){lba + *ret, want}, goal);

        if (behind == 0)
            return true;
        if (behind - lba >= MAP_BLOCKS)
            return false;
        from = (uint32_t)(behind - lba);
    }
    return false;
}

/* A free run of @want (<= MAP_BLOCKS) blocks, searched from @start around. */
static bool find_run(struct eng *e, uint64_t start, uint32_t want,
                     uint64_t goal, struct eng_ext *ret)
{
    struct space *s = &e->space;
    uint64_t off = start - s->lba;
    uint32_t first = (uint32_t)(off / MAP_BLOCKS);

    for (uint32_t k = 0; k <= s->n_pages; k++) {
        uint32_t page = (uint32_t)(((uint64_t)first + k) % s->n_pages);
        uint32_t from = k == 0 ? (uint32_t)(off % MAP_BLOCKS) : 0;
        struct mpage *p = &s->page[page];
        uint32_t at;

        if (!p->backed || p->longest < want ||
            !find_outside(s, page, from, want, goal, &at))
            continue;
        *ret = (struct eng_ext){space_page_lba(s, page) + at, want};
        return true;
    }
    return false;
}

void space_take(struct eng *e, struct eng_ext ext)
{
    struct piece pc;
    uint64_t at = 0;

    while (next_piece(&e->space, ext, &at, &pc))
        take(e, &pc);
}

/* The longest free run that begins exactly at @lba, up to @want. */
static uint32_t run_at(const struct eng *e, uint64_t lba, uint32_t want)
{
    const struct space *s = &e->space;
    uint64_t off = lba - s->lba;
    const struct mpage *p;
    uint32_t from, to;

    if (lba < s->lba || lba >= s->end)
        return 0;
    p = &s->page[off / MAP_BLOCKS];
    from = (uint32_t)(off % MAP_BLOCKS);
    if (!p->backed || bit(p->taken, from))
        return 0;
    to = bits_find(p->taken, from, true);
    return to - from < want ? to - from : want;
}

static void unalloc_all(struct eng *e, const struct eng_ext *ext, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        space_unalloc(e, ext[i]);
}

/* All @n blocks behind each other: at @goal, or, for a stream, where it has
 * room to go on. */
static bool alloc_whole(struct eng *e, uint32_t n, uint64_t goal, bool stream,
                        struct eng_ext *ret)
{
    struct space *s = &e->space;
    struct eng_ext x = {goal, n};
    uint32_t more = stream ? window_want(s, goal, n) : 0;
    uint32_t here = run_at(e, goal, n + more);
    uint64_t near = goal >= s->lba && goal < s->end ? goal : s->data_next;

    if (here >= n && window_behind(s, x, goal) == 0) {
        x.n = here;
        if (window_behind(s, x, goal) != 0)
            here = n;
        more = stream && more > 0 ? here - n : 0;
    } else if (more > 0 && find_run(e, near, n + more, goal, &x)) {
        if (goal == 0)
            s->data_next = x.lba + x.n < s->end ? x.lba + x.n : s->lba;
    } else {
        return false;
    }
    x.n = n;
    space_take(e, x);
    window_took(s, goal, x, more);
    *ret = x;
    return true;
}

int space_alloc(struct eng *e, uint32_t n, uint64_t goal, bool stream,
                struct eng_ext *ret, unsigned max, unsigned *ret_n)
{
    struct space *s = &e->space;
    uint64_t near = goal >= s->lba && goal < s->end ? goal : s->data_next;
    uint32_t want = n < MAP_BLOCKS ? n : MAP_BLOCKS;
    unsigned got = 0;

    if (n > s->free)
        return -ENOSPC;
    if (alloc_whole(e, n, goal, stream, ret)) {
        *ret_n = 1;
        return 0;
    }
    for (uint32_t left = n; left > 0;) {
        struct eng_ext x;

        if (want > left)
            want = left;
        if (!find_run(e, near, want, goal, &x)) {
            if (windows_forget(s))
                continue;
            assert(want > 1);
            want /= 2;
            continue;
        }
        if (got == max) {
            unalloc_all(e, ret, got);
            return -ENOSPC;
        }
        space_take(e, x);
        ret[got++] = x;
        left -= x.n;
        near = x.lba;
        if (goal == 0)
            s->data_next = x.lba + x.n < s->end ? x.lba + x.n : s->lba;
    }
    *ret_n = got;
    return 0;
}

void space_unalloc(struct eng *e, struct eng_ext ext)
{
    struct space *s = &e->space;
    struct piece pc;
    uint64_t at = 0;

    while (next_piece(s, ext, &at, &pc)) {
        assert(bits_are(s->page[pc.page].taken, pc.from, pc.n, true));
        assert(bits_are(s->page[pc.page].live, pc.from, pc.n, false));
        untake(e, &pc);
    }
}

void space_reserve_nodes(struct eng *e, uint64_t n, bool second,
                         struct extv *ret)
{
    struct space *s = &e->space;
    uint64_t *next = second ? &s->copy_next : &s->node_next;
    uint32_t want = 256;

    assert(n <= s->free);
    while (n > 0) {
        struct eng_ext x;

        if (want > n)
            want = (uint32_t)n;
        if (!find_run(e, *next, want, 0, &x)) {
            if (windows_forget(s))
                continue;
            assert(want > 1);
            want /= 2;
            continue;
        }
        space_take(e, x);
        space_commit(e, x);
        extv_push(ret, x);
        n -= x.n;
        *next = x.lba + x.n < s->end ? x.lba + x.n : s->lba;
    }
}

/* Before a repair the map may say anything of a block; here it only comes to
 * say what is so, and space_rebuild() counts. What was in use stays taken. */
static void loosely(struct eng *e, struct eng_ext ext, bool live)
{
    struct space *s = &e->space;
    struct piece pc;
    uint64_t at = 0;

    if (!space_valid(e, ext))
        return;
    while (next_piece(s, ext, &at, &pc)) {
        bits_set(s->page[pc.page].taken, pc.from, pc.n, true);
        bits_set(s->page[pc.page].live, pc.from, pc.n, live);
    }
}

void space_commit(struct eng *e, struct eng_ext ext)
{
    struct space *s = &e->space;
    struct piece pc;
    uint64_t at = 0;

    if (e->conf.repair && !s->rebuilt) {
        loosely(e, ext, true);
        return;
    }
    while (next_piece(s, ext, &at, &pc)) {
        live_touch(e, pc.page);
        assert(bits_are(s->page[pc.page].taken, pc.from, pc.n, true));
        assert(bits_are(s->page[pc.page].live, pc.from, pc.n, false));
        bits_set(s->page[pc.page].live, pc.from, pc.n, true);
    }
}

int space_mark(struct eng *e, struct eng_ext ext)
{
    struct space *s = &e->space;
    struct piece pc;
    uint64_t at = 0;

    if (!space_valid(e, ext))
        return -CFS_E_CORRUPT;
    if (e->conf.repair) {
        loosely(e, ext, false);
        return 0;
    }
    while (next_piece(s, ext, &at, &pc)) {
        if (!bits_are(s->page[pc.page].taken, pc.from, pc.n, false))
            return -CFS_E_CORRUPT;
    }
    space_take(e, ext);
    return 0;
}

/* -- giving back ----------------------------------------------------------- */

int space_free(struct eng *e, struct eng_ext ext)
{
    struct space *s = &e->space;
    struct piece pc;
    uint64_t at = 0;

    if (e->conf.repair && !s->rebuilt) {
        loosely(e, ext, false);
        return 0;
    }
    if (!space_valid(e, ext))
        return -CFS_E_CORRUPT;
    while (next_piece(s, ext, &at, &pc)) {
        if (!bits_are(s->page[pc.page].live, pc.from, pc.n, true))
            return -CFS_E_CORRUPT;
    }
    at = 0;
    while (next_piece(s, ext, &at, &pc)) {
        live_touch(e, pc.page);
        bits_set(s->page[pc.page].live, pc.from, pc.n, false);
    }
    extv_push(&s->freed->ext, ext);
    s->freed->blocks += ext.n;
    s->pending += ext.n;
    return 0;
}

void space_rebuild(struct eng *e, const uint64_t *owned)
{
    struct space *s = &e->space;
    uint64_t words = (s->end - s->lba + 63) / 64;

    s->rebuilt = true;
    s->free = 0;
    for (uint32_t i = 0; i < s->n_pages; i++) {
        struct mpage *p = &s->page[i];
        uint64_t first = (uint64_t)i * MAP_WORDS;
        bool any = s->disk[i].place != PLACE_NONE;

        fixed_bits(s, i, p->live);
        for (uint32_t w = 0; w < MAP_WORDS && first + w < words; w++) {
            any |= owned[first + w] != 0;
            p->live[w] |= owned[first + w];
            p->taken[w] |= p->live[w];
        }
        p->free = p->longest = bits_count_clear(p->taken);
        s->free += p->free;
        if (any) /* else it was never written, and is free as before */
            live_touch(e, i);
    }
}

void space_freeze(struct eng *e)
{
    struct space *s = &e->space;

    cfs_list_add_tail(&s->releasing, &s->freed->link);
    s->freed = freed_new(e->epoch + 1);
}

void space_return(struct eng *e, struct eng_ext ext)
{
    struct piece pc;
    uint64_t at = 0;

    while (next_piece(&e->space, ext, &at, &pc))
        untake(e, &pc);
    e->space.pending -= ext.n;
}

void space_release(struct eng *e, uint64_t epoch)
{
    struct space *s = &e->space;

    while (!cfs_list_empty(&s->releasing)) {
        struct freed *f =
            cfs_list_entry(s->releasing.next, struct freed, link);

        if (f->epoch > epoch)
            return;
        cfs_list_del(&f->link);
        if (discard_wants(e)) {
            discard_add(e, f);
            continue;
        }
        for (size_t i = 0; i < f->ext.n; i++)
            space_return(e, f->ext.v[i]);
        extv_fini(&f->ext);
        free(f);
    }
}

void space_back(struct eng *e, uint32_t page, bool backed)
{
    struct space *s = &e->space;
    struct mpage *p = &s->page[page];

    if (p->backed == backed)
        return;
    if (backed) {
        s->unbacked -= p->free;
        s->free += p->free;
    } else {
        s->free -= p->free;
        s->unbacked += p->free;
    }
    p->backed = backed;
}
