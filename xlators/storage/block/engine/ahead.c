/* SPDX-License-Identifier: Apache-2.0 */
/* ahead.c - families of nodes, read by the pool before a walk comes to them;
 * see ahead.h. */
#include "xlators/storage/block/engine/ahead.h"

#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"

bool ahead_may(const struct eng *e)
{
    return e->conf.blocking && e->conf.read_only && e->loop && !e->loading &&
           !e->replaying && !e->closing;
}

/* -- in the pool ----------------------------------------------------------- */

static bool can_be(const struct eng *e, const struct fmt_ptr *at)
{
    return space_valid(e, (struct eng_ext){at->lba, 1});
}

static bool read_page(struct family *f)
{
    struct eng *e = f->eng;

    return eng_read(e, CFS_DEV_DIRECT, f->at.lba, f->page, 1) == 0 &&
           cache_verify(e, f->page, 1, &f->at) == 0;
}

/* The leaves from slot @slot on that lie behind one another: how many. */
static unsigned read_run(struct family *f, unsigned slot)
{
    const struct fmt_ptr first = page_ptr(f->page, slot, 0);
    uint8_t *to = f->leaf + slot * (size_t)NODE_SIZE;
    struct eng *e = f->eng;
    unsigned n;

    if (!can_be(e, &first))
        return 1;
    n = cache_run(e, f->page, slot, FAMILY_MAX);
    if (eng_read(e, CFS_DEV_DIRECT, first.lba, to, n) < 0)
        return n;
    for (unsigned i = 0; i < n; i++) {
        const struct fmt_ptr at = page_ptr(f->page, slot + i, 0);

        f->leaf_sound[slot + i] =
            cache_verify(e, to + i * (size_t)NODE_SIZE, 0, &at) == 0;
    }
    return n;
}

static void on_work(struct cfs_job *j)
{
    struct family *f = container_of(j, struct family, job);

    f->sound = read_page(f);
    for (unsigned i = 0; f->sound && i < page_n(f->page);)
        i += read_run(f, i);
}

/* -- in the loop ----------------------------------------------------------- */

static void on_done(struct cfs_job *j)
{
    struct family *f = container_of(j, struct family, job);
    struct eng *e = f->eng;

    f->busy = false;
    e->ahead.busy--;
    eng_close_step(e);
}

static bool is_at(const struct family *f, const struct fmt_ptr *at)
{
    return f->at.lba == at->lba && f->at.gen == at->gen &&
           f->at.sum == at->sum;
}

static struct family *find(struct ahead *a, const struct fmt_ptr *at)
{
    for (unsigned i = 0; i < AHEAD; i++)
        if (is_at(&a->fam[i], at))
            return &a->fam[i];
    return NULL;
}

/* Room for one more: what nobody waits for, or has waited for longest before
 * clock @since. NULL. */
static struct family *room(struct ahead *a, uint64_t since)
{
    struct family *old = NULL;

    for (unsigned i = 0; i < AHEAD; i++) {
        struct family *f = &a->fam[i];

        if (f->at.lba == 0)
            return f;
        if (!f->busy && f->since < since && (!old || f->since < old->since))
            old = f;
    }
    return old;
}

static void start(struct eng *e, struct family *f, const struct fmt_ptr *at)
{
    if (!f->page) {
        f->page = eng_alloc_aligned(NODE_SIZE);
        f->leaf = eng_alloc_aligned(FAMILY_MAX * (size_t)NODE_SIZE);
    }
    f->eng = e;
    f->at = *at;
    f->busy = true;
    f->sound = false;
    memset(f->leaf_sound, 0, sizeof f->leaf_sound);
    e->ahead.busy++;
    cfs_job_run(e->loop, &f->job, on_work, on_done);
}

/* Whether much of the family in slot @slot is yet to be read. One that is not
 * on the device as the tree has it cannot be. */
static bool is_wanted(const struct eng *e, const uint8_t *page,
                      const struct node *n, unsigned slot,
                      struct fmt_ptr *ret_at)
{
    const struct node *kid = n && n->kid ? n->kid[slot] : NULL;

    *ret_at = page_ptr(page, slot, 0);
    if (!can_be(e, ret_at))
        return false;
    return !kid || (kid->state == NODE_READY && kid->epoch == 0 &&
                    2u * kid->n_kids < page_n(kid->page));
}

/* Have @slot and what comes behind it read. */
static void look_ahead(struct eng *e, const uint8_t *page,
                       const struct node *n, unsigned slot, struct cfs_blob hi)
{
    struct ahead *a = &e->ahead;
    const uint64_t since = a->clock + 1;

    for (unsigned i = slot; i < page_n(page) && i < slot + AHEAD; i++) {
        struct fmt_ptr at;
        struct family *f;

        if (i > slot && hi.len > 0 && blob_cmp(page_key(page, i), hi) >= 0)
            return;
        if (!is_wanted(e, page, n, i, &at))
            continue;
        f = find(a, &at);
        if (!f) {
            f = room(a, since);
            if (!f)
                return;
            start(e, f, &at);
        }
        f->since = ++a->clock;
    }
}

static bool is_there(void *arg)
{
    const struct family *f = arg;

    return !f->busy;
}

struct family *ahead_step(struct eng *e, const uint8_t *page,
                          const struct node *n, unsigned slot,
                          struct cfs_blob hi)
{
    struct fmt_ptr at;
    struct family *f;

    look_ahead(e, page, n, slot, hi);
    if (!is_wanted(e, page, n, slot, &at))
        return NULL;
    f = find(&e->ahead, &at);
    if (!f)
        return NULL;
    if (f->busy) {
        e->cache.held++;
        cfs_loop_run_until(e->loop, is_there, f);
        e->cache.held--;
    }
    if (f->sound)
        return f;
    ahead_done(f);
    return NULL;
}

void ahead_done(struct family *f)
{
    if (f)
        f->at.lba = 0;
}

void ahead_fini(struct eng *e)
{
    assert(e->ahead.busy == 0);
    for (unsigned i = 0; i < AHEAD; i++) {
        free(e->ahead.fam[i].page);
        free(e->ahead.fam[i].leaf);
    }
}
