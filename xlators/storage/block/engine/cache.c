/* SPDX-License-Identifier: Apache-2.0 */
/* cache.c - nodes in memory: reading, verifying, pinning, evicting. The
 * states and invariants are in cache.h. */
#include "xlators/storage/block/engine/cache.h"

#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"

#define SLAB_BYTES  (1024u * 1024u)
#define KIDS_FIRST  16u
#define EVICT_STEPS 256u /* nodes looked at in one turn; more, */
#define EVICT_EACH  16u  /* for each that there is too many, */
#define EVICT_MOST  8192u /* up to this */

/* A read in flight. The pool sees only this. */
struct nread {
    struct cfs_job  job;
    struct eng     *eng;
    struct node    *node;
    uint8_t        *page;
    unsigned        parts;
    unsigned        level;
    int             rc;
    struct fmt_ptr  at[];
};

/* -- memory ---------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__)
/* Each page on its own, so that the sanitizer watches it. */
uint8_t *cache_page_new(struct eng *e)
{
    return eng_alloc_aligned(NODE_SIZE);
}

void cache_page_free(struct eng *e, uint8_t *page)
{
    free(page);
}
#else
/* Its pages are touched when they are taken, one by one: memory that the
 * kernel has to find costs microseconds a page. */
static void slab_add(struct cache *c)
{
    uint8_t *slab = eng_alloc_aligned(SLAB_BYTES);

    memcpy(slab, &c->slabs, sizeof c->slabs);
    c->slabs = slab;
    c->fresh = slab + NODE_SIZE;
}

uint8_t *cache_page_new(struct eng *e)
{
    struct cache *c = &e->cache;
    uint8_t *page;

    if (c->free_pages) {
        page = c->free_pages;
        memcpy(&c->free_pages, page, sizeof c->free_pages);
        return page;
    }
    if (!c->fresh)
        slab_add(c);
    page = c->fresh;
    c->fresh = page + NODE_SIZE < (uint8_t *)c->slabs + SLAB_BYTES
                   ? page + NODE_SIZE
                   : NULL;
    return page;
}

void cache_page_free(struct eng *e, uint8_t *page)
{
    struct cache *c = &e->cache;

    if (!page)
        return;
    memcpy(page, &c->free_pages, sizeof c->free_pages);
    c->free_pages = page;
}
#endif

static uint8_t *bytes_new(struct eng *e, unsigned level, uint32_t len)
{
    if (level == LEVEL_VALUE)
        return eng_alloc_aligned(len_blocks(len) * (size_t)CFS_BLOCK);
    return cache_page_new(e);
}

static void bytes_free(struct eng *e, unsigned level, uint8_t *page)
{
    if (level == LEVEL_VALUE)
        free(page);
    else
        cache_page_free(e, page);
}

size_t cache_node_bytes(const struct node *n)
{
    return node_parts(n) * (size_t)CFS_BLOCK;
}

struct node *cache_node_new(struct eng *e, unsigned level, uint32_t len)
{
    struct cache *c = &e->cache;
    struct node *n = c->free_nodes;

    if (n)
        c->free_nodes = n->parent;
    else
        n = eng_calloc(sizeof *n);
    *n = (struct node){.level = (uint8_t)level, .len = len};
    cfs_list_init(&n->lru);
    cfs_list_init(&n->waiters);
    n->at = level == LEVEL_VALUE ? eng_calloc(VALUE_PARTS * sizeof *n->at)
                                 : &n->at_one;
    return n;
}

void cache_node_free(struct eng *e, struct node *n, bool keep_page)
{
    struct cache *c = &e->cache;

    assert(n->pins == 0 && n->n_kids == 0 && cfs_list_empty(&n->waiters));
    cfs_list_del(&n->lru);
    if (n->page && !keep_page) {
        c->bytes -= cache_node_bytes(n);
        bytes_free(e, n->level, n->page);
    }
    if (n->at != &n->at_one)
        free(n->at);
    free(n->kid);
    n->parent = c->free_nodes;
    c->free_nodes = n;
}

static void on_evict(struct cfs_task *t);
static void on_wake(struct cfs_task *t);

void cache_init(struct eng *e)
{
    struct cache *c = &e->cache;

    cfs_list_init(&c->clean);
    cfs_list_init(&c->late_waiters);
    cfs_task_init(&c->evict, on_evict);
    cfs_task_init(&c->wake, on_wake);
    c->max = e->conf.cache_size;
}

/* Free @n and all below it that is in memory. */
static void free_subtree(struct eng *e, struct node *n)
{
    for (unsigned i = 0; n->kid && i < page_n(n->page); i++) {
        if (n->kid[i]) {
            free_subtree(e, n->kid[i]);
            n->n_kids--;
        }
    }
    n->pins = 0;
    cfs_list_init(&n->waiters);
    cache_node_free(e, n, false);
}

void cache_fini(struct eng *e)
{
    struct cache *c = &e->cache;

    assert(c->reads == 0);
    if (e->tree.root)
        free_subtree(e, e->tree.root);
    e->tree.root = NULL;
    cfs_task_cancel(&c->evict);
    cfs_task_cancel(&c->wake);
    while (c->free_nodes) {
        struct node *n = c->free_nodes;

        c->free_nodes = n->parent;
        free(n);
    }
    while (c->slabs) {
        void *slab = c->slabs;

        memcpy(&c->slabs, slab, sizeof c->slabs);
        free(slab);
    }
}

/* -- children -------------------------------------------------------------- */

void cache_need_kids(struct node *n)
{
    unsigned want = page_n(n->page) + 1;

    if (want <= n->kid_cap)
        return;
    if (want < KIDS_FIRST)
        want = KIDS_FIRST;
    want += want / 2;
    n->kid = eng_realloc(n->kid, want * sizeof(struct node *));
    memset(n->kid + n->kid_cap, 0,
           (want - n->kid_cap) * sizeof(struct node *));
    n->kid_cap = (uint16_t)want;
}

void cache_attach(struct node *parent, unsigned slot, struct node *kid)
{
    cache_need_kids(parent);
    assert(!parent->kid[slot]);
    parent->kid[slot] = kid;
    parent->n_kids++;
    kid->parent = parent;
}

unsigned cache_slot_of(const struct node *parent, const struct node *kid)
{
    unsigned n = page_n(parent->page);

    for (unsigned i = 0; i < n; i++) {
        if (parent->kid[i] == kid)
            return i;
    }
    assert(!"a child that its parent does not know");
    return 0;
}

/* -- reading --------------------------------------------------------------- */

/* Whether a pointer's places can be any. */
static bool places_ok(const struct eng *e, const struct fmt_ptr *at)
{
    return space_valid(e, (struct eng_ext){at->lba, 1}) &&
           (at->lba2 == 0 || ((e->sb.incompat & FMT_TWICE) &&
                              space_valid(e, (struct eng_ext){at->lba2, 1})));
}

int cache_verify(struct eng *e, const uint8_t *page, unsigned level,
                 const struct fmt_ptr *at)
{
    const struct fmt_node *h = page_chead(page);

    if (!places_ok(e, at))
        return -CFS_E_CORRUPT;
    if (eng_sum(e, page, CFS_BLOCK) != at->sum)
        return -CFS_E_CORRUPT;
    if (level == LEVEL_VALUE)
        return 0;
    if (h->gen != at->gen || h->lba != at->lba)
        return -CFS_E_CORRUPT;
    return page_check(page, level);
}

/* One block from its second place. */
static int read_second(struct eng *e, const struct fmt_ptr *at, unsigned level,
                       uint8_t *page)
{
    int rc;

    if (at->lba2 == 0)
        return -CFS_E_CORRUPT;
    rc = eng_read(e, CFS_DEV_DIRECT, at->lba2, page, 1);
    if (rc == 0)
        rc = cache_verify(e, page, level, at);
    if (rc == 0)
        e->second_reads++;
    return rc;
}

int cache_read_parts(struct eng *e, const struct fmt_ptr *at, unsigned parts,
                     unsigned level, uint8_t *page)
{
    for (unsigned i = 0; i < parts;) {
        unsigned n = 1;
        int rc;

        if (!places_ok(e, &at[i]))
            return -CFS_E_CORRUPT;
        while (i + n < parts && at[i + n].lba == at[i].lba + n &&
               places_ok(e, &at[i + n]))
            n++;
        rc = eng_read(e, CFS_DEV_DIRECT, at[i].lba,
                      page + i * (size_t)CFS_BLOCK, n);
        for (; n > 0; n--, i++) {
            uint8_t *to = page + i * (size_t)CFS_BLOCK;
            int one = rc < 0 ? rc : cache_verify(e, to, level, &at[i]);

            if (one < 0 && read_second(e, &at[i], level, to) == 0)
                one = 0;
            if (one < 0)
                return one;
        }
    }
    return 0;
}

unsigned cache_run(const struct eng *e, const uint8_t *page, unsigned slot,
                   unsigned max)
{
    uint64_t first = page_ptr(page, slot, 0).lba;
    unsigned n = 1;

    if (!space_valid(e, (struct eng_ext){first, 1}))
        return 1; /* cache_read_parts() says so */
    while (n < max && slot + n < page_n(page) &&
           page_ptr(page, slot + n, 0).lba == first + n &&
           space_valid(e, (struct eng_ext){first, n + 1}))
        n++;
    return n;
}

static void on_read_work(struct cfs_job *j)
{
    struct nread *r = container_of(j, struct nread, job);

    r->rc = cache_read_parts(r->eng, r->at, r->parts, r->level, r->page);
}

/* @n's page is there, or @rc says why not. */
static void settle(struct eng *e, struct node *n, uint8_t *page, int rc)
{
    if (rc < 0) {
        bytes_free(e, n->level, page);
        n->state = NODE_FAILED;
        n->err = rc;
        cfs_log_error(e->log, "store", "%s: node at block %llu: %s",
                      e->dev->path, (unsigned long long)n->at[0].lba,
                      cfs_err_str(rc));
        return;
    }
    n->page = page;
    n->state = NODE_READY;
    e->cache.bytes += cache_node_bytes(n);
    cache_add_clean(e, n);
}

/* Forget a child whose read failed, so that the next one tries again. */
static void drop_failed(struct eng *e, struct node *n)
{
    struct node *parent = n->parent;

    if (n->state != NODE_FAILED || n->pins > 0 || !parent)
        return;
    parent->kid[cache_slot_of(parent, n)] = NULL;
    parent->n_kids--;
    cache_node_free(e, n, false);
}

static void wake(struct node *n)
{
    struct cfs_list all, *l;

    cfs_list_init(&all);
    cfs_list_splice(&all, &n->waiters);
    while ((l = cfs_list_pop(&all)) != NULL) {
        struct eng_wait *w = cfs_list_entry(l, struct eng_wait, link);

        w->ready(w);
    }
}

static void on_read_done(struct cfs_job *j)
{
    struct nread *r = container_of(j, struct nread, job);
    struct eng *e = r->eng;
    struct node *n = r->node;

    e->cache.reads--;
    if (n->state == NODE_READING && !n->dead)
        settle(e, n, r->page, r->rc);
    else /* read in line meanwhile, or taken out of the tree */
        bytes_free(e, r->level, r->page);
    if (n->state == NODE_READING)
        n->state = NODE_FAILED;
    free(r);
    wake(n);
    n->pins--;
    if (n->dead)
        cache_unref_dead(e, n);
    else
        drop_failed(e, n);
    cache_ask_evict(e);
    eng_close_step(e);
}

static void read_start(struct eng *e, struct node *n)
{
    unsigned parts = node_parts(n);
    struct nread *r = eng_calloc(sizeof *r + parts * sizeof r->at[0]);

    r->eng = e;
    r->node = n;
    r->parts = parts;
    r->level = n->level;
    r->page = bytes_new(e, n->level, n->len);
    memcpy(r->at, n->at, parts * sizeof r->at[0]);
    n->state = NODE_READING;
    n->pins++; /* until its waiters have been told */
    e->cache.reads++;
    cfs_job_run(e->loop, &r->job, on_read_work, on_read_done);
}

static int read_in_line(struct eng *e, struct node *n)
{
    uint8_t *page = bytes_new(e, n->level, n->len);
    int rc = cache_read_parts(e, n->at, node_parts(n), n->level, page);

    e->cache.in_line++;
    settle(e, n, page, rc);
    cache_ask_evict(e);
    return rc;
}

#define RUN_AHEAD 64u /* leaves read at once where nobody else waits */

static struct node *kid_new(struct eng *e, struct node *p, unsigned slot);

/* The child of @p in @slot, which was not in memory, as @page has it. */
static struct node *adopt_page(struct eng *e, struct node *p, unsigned slot,
                               const uint8_t *page)
{
    struct node *n = kid_new(e, p, slot);
    uint8_t *copy = cache_page_new(e);

    memcpy(copy, page, NODE_SIZE);
    settle(e, n, copy, 0);
    return n;
}

/* In line, for a scan: the leaves behind slot @slot of @p that lie behind one
 * another come with one read. Those that are not what they should be stay
 * unread, and are found out when somebody wants them. */
static void read_ahead(struct eng *e, struct node *p, unsigned slot)
{
    unsigned n = cache_run(e, p->page, slot, RUN_AHEAD);
    uint8_t *buf;

    if (n < 2)
        return;
    e->cache.in_line++;
    buf = eng_alloc_aligned(n * (size_t)NODE_SIZE);
    if (eng_read(e, CFS_DEV_DIRECT, page_ptr(p->page, slot, 0).lba, buf,
                 n) < 0)
        n = 0;
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *got = buf + i * (size_t)NODE_SIZE;
        struct fmt_ptr at = page_ptr(p->page, slot + i, 0);

        if (!(p->kid && p->kid[slot + i]) &&
            cache_verify(e, got, p->level - 1u, &at) == 0)
            adopt_page(e, p, slot + i, got);
    }
    free(buf);
}

/* The child that slot @slot of @p refers to, not yet read. */
static struct node *kid_new(struct eng *e, struct node *p, unsigned slot)
{
    struct node *n;

    if (p->level > 0)
        n = cache_node_new(e, p->level - 1u, 0);
    else
        n = cache_node_new(e, LEVEL_VALUE,
                           ref_len(page_val(p->page, slot)));
    for (unsigned i = 0; i < node_parts(n); i++)
        n->at[i] = page_ptr(p->page, slot, i);
    cache_attach(p, slot, n);
    n->state = NODE_READING;
    return n;
}

void cache_adopt(struct eng *e, struct node *p, unsigned slot,
                 struct family *f)
{
    struct node *n = p->kid ? p->kid[slot] : NULL;

    if (!n)
        n = adopt_page(e, p, slot, f->page);
    for (unsigned i = 0; i < page_n(n->page); i++) {
        const uint8_t *leaf = family_leaf(f, i);

        if (leaf && !(n->kid && n->kid[i]))
            adopt_page(e, n, i, leaf);
    }
    ahead_done(f);
}

struct node *cache_claim(struct eng *e, struct node *p, unsigned slot)
{
    struct fmt_ptr at = page_ptr(p->page, slot, 0);

    assert(e->in_line && p->level > 0);
    return places_ok(e, &at) ? kid_new(e, p, slot) : NULL;
}

void cache_claimed(struct eng *e, struct node *n, uint8_t *page, int rc)
{
    e->cache.in_line++;
    if (rc == 0)
        rc = cache_verify(e, page, n->level, &n->at[0]);
    if (rc == 0) {
        settle(e, n, page, 0);
        n->ref = true;
        return;
    }
    cache_page_free(e, page);
    n->state = NODE_FAILED;
    drop_failed(e, n);
}

int cache_kid(struct eng *e, struct node *p, unsigned slot, struct node **ret)
{
    struct node *n = p->kid ? p->kid[slot] : NULL;
    bool fresh = !n;
    int rc;

    if (n && n->state == NODE_READY) {
        if (!n->ref)
            n->ref = true;
        *ret = n;
        return 0;
    }
    if (fresh && e->conf.blocking && e->in_line && p->level == 1) {
        read_ahead(e, p, slot);
        n = p->kid ? p->kid[slot] : NULL;
        fresh = !n;
        if (n) {
            n->ref = true;
            *ret = n;
            return 0;
        }
    }
    if (fresh)
        n = kid_new(e, p, slot);
    if (n->state == NODE_FAILED)
        return n->err;
    if (e->in_line) {
        rc = read_in_line(e, n);
        if (rc < 0) {
            if (fresh)
                drop_failed(e, n);
            return rc;
        }
        n->ref = true;
        *ret = n;
        return 0;
    }
    if (fresh)
        read_start(e, n);
    e->cache.miss = n;
    return -CFS_E_MISS;
}

void cache_prefetch(struct eng *e, struct node *p, unsigned slot)
{
    if (!e->in_line && (!p->kid || !p->kid[slot]))
        read_start(e, kid_new(e, p, slot));
}

int cache_read_root(struct eng *e, const struct fmt_ptr *at, unsigned level,
                    struct node **ret)
{
    struct node *n = cache_node_new(e, level, 0);
    int rc;

    n->at[0] = *at;
    rc = read_in_line(e, n);
    if (rc < 0) {
        cache_node_free(e, n, false);
        return rc;
    }
    *ret = n;
    return 0;
}

/* -- waiting --------------------------------------------------------------- */

/* Waiters who asked when their node was there already. */
static void on_wake(struct cfs_task *t)
{
    struct eng *e = container_of(t, struct eng, cache.wake);
    struct cfs_list all, *l;

    cfs_list_init(&all);
    cfs_list_splice(&all, &e->cache.late_waiters);
    while ((l = cfs_list_pop(&all)) != NULL) {
        struct eng_wait *w = cfs_list_entry(l, struct eng_wait, link);

        w->ready(w);
    }
}

void eng_wait(struct eng *e, struct eng_wait *w,
              void (*ready)(struct eng_wait *))
{
    struct node *n = e->cache.miss;

    cfs_list_init(&w->link);
    w->ready = ready;
    w->impl = n;
    if (!n) {
        cfs_list_add_tail(&e->slow, &w->link);
        return;
    }
    n->pins++;
    if (n->state == NODE_READING) {
        cfs_list_add_tail(&n->waiters, &w->link);
    } else {
        cfs_list_add_tail(&e->cache.late_waiters, &w->link);
        cfs_task_post(e->loop, &e->cache.wake);
    }
}

void eng_wait_end(struct eng *e, struct eng_wait *w)
{
    struct node *n = w->impl;

    cfs_list_del(&w->link);
    w->impl = NULL;
    if (!n)
        return;
    assert(n->pins > 0);
    n->pins--;
    if (n->dead)
        cache_unref_dead(e, n);
    else
        drop_failed(e, n);
}

/* -- leaving --------------------------------------------------------------- */

/* @n is not in the tree any more; free it unless a waiter, a read or a
 * checkpoint still knows it. */
void cache_unref_dead(struct eng *e, struct node *n)
{
    if (n->pins > 0 || n->epoch != 0 || n->was_epoch != 0)
        return;
    cache_node_free(e, n, false);
}

void cache_kill(struct eng *e, struct node *n)
{
    n->dead = true;
    n->parent = NULL;
    cfs_list_del(&n->lru);
    cache_unref_dead(e, n);
}

void cache_add_clean(struct eng *e, struct node *n)
{
    cfs_list_del(&n->lru);
    cfs_list_add_tail(&e->cache.clean, &n->lru);
}

void cache_ask_evict(struct eng *e)
{
    if (e->cache.bytes > e->cache.max && e->loop && !e->replaying)
        cfs_task_post(e->loop, &e->cache.evict);
}

static void evict(struct eng *e, struct node *n)
{
    struct node *parent = n->parent;

    parent->kid[cache_slot_of(parent, n)] = NULL;
    parent->n_kids--;
    cache_node_free(e, n, false);
}

/* The clock: one look at each node, a second chance for those in use. */
static void evict_some(struct eng *e, size_t steps)
{
    struct cache *c = &e->cache;

    for (; steps > 0 && c->bytes > c->max; steps--) {
        struct cfs_list *l = cfs_list_pop(&c->clean);
        struct node *n;

        if (!l)
            return;
        n = cfs_list_entry(l, struct node, lru);
        if (n->ref || n->pins > 0 || n->n_kids > 0 || !n->parent) {
            n->ref = false;
            cfs_list_add_tail(&c->clean, &n->lru);
        } else {
            evict(e, n);
        }
    }
}

/* All nodes may have been used since the hand passed them, so that a whole
 * round frees nothing: the further behind, the faster it goes. */
static void on_evict(struct cfs_task *t)
{
    struct eng *e = container_of(t, struct eng, cache.evict);
    const struct cache *c = &e->cache;
    uint64_t over = c->bytes > c->max ? (c->bytes - c->max) / NODE_SIZE : 0;
    uint64_t steps = EVICT_STEPS + EVICT_EACH * over;

    if (c->held > 0)
        return;
    evict_some(e, steps < EVICT_MOST ? steps : EVICT_MOST);
}

void cache_evict_now(struct eng *e)
{
    /* Twice round, at most, and inner nodes after their children. */
    evict_some(e, 3 * (e->cache.bytes / NODE_SIZE));
}
