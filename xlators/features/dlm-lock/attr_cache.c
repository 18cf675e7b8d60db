/* SPDX-License-Identifier: Apache-2.0 */
/* attr_cache.c - see attr_cache.h.
 *
 * A clock counts the beginnings and ends of changes. An entry remembers when
 * its inode was last changed; of those that were thrown out the latest such
 * moment is remembered for all together (floor), so that an answer that is
 * late for one of them is refused.
 */
#include "xlators/features/dlm-lock/attr_cache.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/htable.h"

struct entry {
    struct cfs_list hash;
    struct cfs_list use; /* in order of use, the oldest first */
    struct cfs_gfid gfid;
    uint32_t        changing; /* changes in flight */
    bool            known;
    uint64_t        changed; /* when the last one began or ended */
    struct cfs_attr attr;    /* iff known */
};

struct attr_cache {
    struct cfs_htable table;
    struct cfs_list   use;
    size_t            max;
    uint64_t          clock;
    uint64_t          floor;
};

static uint64_t hash_gfid(struct cfs_gfid g)
{
    return cfs_gfid_ino(g) * 0x9e3779b97f4a7c15u >> 16;
}

static uint64_t hash_entry(const struct cfs_list *l)
{
    return hash_gfid(cfs_list_entry(l, const struct entry, hash)->gfid);
}

struct attr_cache *attr_cache_new(size_t max)
{
    struct attr_cache *c = calloc(1, sizeof *c);

    if (!c) {
        fprintf(stderr, "out of memory: a cache of attributes\n");
        abort();
    }
    cfs_htable_init(&c->table, hash_entry);
    cfs_list_init(&c->use);
    c->max = max;
    c->clock = 1;
    return c;
}

static void drop(struct attr_cache *c, struct entry *e)
{
    if (e->changed > c->floor)
        c->floor = e->changed;
    cfs_htable_del(&c->table, &e->hash);
    cfs_list_del(&e->use);
    free(e);
}

void attr_cache_free(struct attr_cache *c)
{
    if (!c)
        return;
    cfs_list_for_each_safe(l, &c->use)
    {
        drop(c, cfs_list_entry(l, struct entry, use));
    }
    cfs_htable_fini(&c->table);
    free(c);
}

static struct entry *find(struct attr_cache *c, struct cfs_gfid g)
{
    struct cfs_list *bucket = cfs_htable_bucket(&c->table, hash_gfid(g));

    cfs_list_for_each(l, bucket)
    {
        struct entry *e = cfs_list_entry(l, struct entry, hash);

        if (cfs_gfid_eq(e->gfid, g))
            return e;
    }
    return NULL;
}

static void make_room(struct attr_cache *c)
{
    cfs_list_for_each_safe(l, &c->use)
    {
        struct entry *e = cfs_list_entry(l, struct entry, use);

        if (c->table.count < c->max)
            return;
        if (e->changing == 0)
            drop(c, e);
    }
}

static struct entry *get(struct attr_cache *c, struct cfs_gfid g)
{
    struct entry *e = find(c, g);

    if (e) {
        cfs_list_del(&e->use);
    } else {
        make_room(c);
        e = calloc(1, sizeof *e);
        if (!e) {
            fprintf(stderr, "out of memory: attributes of an inode\n");
            abort();
        }
        e->gfid = g;
        e->changed = c->floor;
        cfs_htable_add(&c->table, &e->hash);
    }
    cfs_list_add_tail(&c->use, &e->use);
    return e;
}

bool attr_cache_get(struct attr_cache *c, struct cfs_gfid g,
                    struct cfs_attr *ret)
{
    struct entry *e = find(c, g);

    if (!e || !e->known || e->changing > 0)
        return false;
    cfs_list_del(&e->use);
    cfs_list_add_tail(&c->use, &e->use);
    *ret = e->attr;
    return true;
}

uint64_t attr_cache_ask(const struct attr_cache *c)
{
    return c->clock;
}

static void keep(struct entry *e, const struct cfs_attr *attr)
{
    if (e->known && cfs_version_cmp(attr->version, e->attr.version) < 0)
        return;
    e->attr = *attr;
    e->known = true;
}

void attr_cache_learn(struct attr_cache *c, const struct cfs_attr *attr,
                      uint64_t asked)
{
    struct entry *e;

    if (c->max == 0)
        return;
    e = get(c, attr->gfid);
    if (e->changing == 0 && asked > e->changed)
        keep(e, attr);
}

void attr_cache_change(struct attr_cache *c, struct cfs_gfid g)
{
    struct entry *e;

    if (c->max == 0 || cfs_gfid_is_null(g))
        return;
    e = get(c, g);
    e->changing++;
    e->changed = c->clock++;
}

void attr_cache_changed(struct attr_cache *c, struct cfs_gfid g,
                        const struct cfs_attr *attr)
{
    struct entry *e;

    if (c->max == 0 || cfs_gfid_is_null(g))
        return;
    e = find(c, g);
    assert(e && e->changing > 0);
    e->changing--;
    e->changed = c->clock++;
    if (attr)
        keep(e, attr);
}

void attr_cache_clear(struct attr_cache *c)
{
    c->floor = c->clock++;
    cfs_list_for_each_safe(l, &c->use)
    {
        struct entry *e = cfs_list_entry(l, struct entry, use);

        if (e->changing == 0) {
            drop(c, e);
        } else {
            e->known = false;
            e->changed = c->floor;
        }
    }
}

size_t attr_cache_count(const struct attr_cache *c)
{
    return c->table.count;
}
