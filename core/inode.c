/* SPDX-License-Identifier: Apache-2.0 */
/* inode.c - the table of inodes and names that a mount knows; see inode.h.
 *
 * A name ties a directory to a child. It goes when it is dropped, or when
 * either of them goes. It keeps its directory, unless that was unlinked, but
 * never its child: so what nobody uses goes, and with it, upwards, the
 * directories that were kept only for its names.
 *
 * (1) An inode is in the table iff the kernel or somebody else refers to it,
 *     or it is not unlinked and has a name below it.
 * (2) A (directory, name) is there at most once.
 */
#include "core/inode.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/htable.h"
#include "core/mem.h"

struct cfs_dentry {
    struct cfs_list   hash;
    struct cfs_list   of_inode;
    struct cfs_list   of_parent;
    struct cfs_inode *dir;
    struct cfs_inode *child;
    uint64_t          h;
    uint32_t          len;
    char              name[];
};

struct cfs_itable {
    struct cfs_htable inodes;
    struct cfs_htable names;
    struct cfs_list   doomed; /* while a drop is under way */
    struct cfs_inode *root;
};

/* Hashes are not the same in each process: addresses are random. So nobody
 * can choose names that all fall into one bucket. */
static uint64_t seed(void)
{
    static const char here;

    return (uint64_t)(uintptr_t)&here;
}

static uint64_t gfid_hash(struct cfs_gfid g)
{
    return XXH3_64bits_withSeed(g.b, sizeof g.b, seed());
}

static uint64_t inode_hash(const struct cfs_list *l)
{
    return gfid_hash(cfs_list_entry(l, struct cfs_inode, hash)->gfid);
}

static uint64_t name_hash(const struct cfs_inode *dir, struct cfs_name name)
{
    return XXH3_64bits_withSeed(name.s, name.len,
                                seed() ^ (uint64_t)(uintptr_t)dir);
}

static uint64_t dentry_hash(const struct cfs_list *l)
{
    return cfs_list_entry(l, struct cfs_dentry, hash)->h;
}

/* -- inodes --------------------------------------------------------------- */

static struct cfs_inode *inode_new(struct cfs_itable *t, struct cfs_gfid g,
                                   uint32_t mode)
{
    struct cfs_inode *i = cfs_must_alloc(sizeof *i);

    *i = (struct cfs_inode){.gfid = g, .mode = mode, .nlink = 1};
    cfs_list_init(&i->hash);
    cfs_list_init(&i->names);
    cfs_list_init(&i->entries);
    cfs_htable_add(&t->inodes, &i->hash);
    return i;
}

struct cfs_itable *cfs_itable_new(void)
{
    struct cfs_itable *t = cfs_must_alloc(sizeof *t);

    cfs_htable_init(&t->inodes, inode_hash);
    cfs_htable_init(&t->names, dentry_hash);
    cfs_list_init(&t->doomed);
    t->root = inode_new(t, cfs_gfid_root, 0040000);
    t->root->refs = 1; /* never dropped */
    return t;
}

static void dentry_free(struct cfs_itable *t, struct cfs_dentry *d)
{
    cfs_htable_del(&t->names, &d->hash);
    cfs_list_del(&d->of_inode);
    cfs_list_del(&d->of_parent);
    free(d);
}

static bool in_use(const struct cfs_inode *i)
{
    if (i->nlookup > 0 || i->refs > 0)
        return true;
    return i->nlink > 0 && !cfs_list_empty(&i->entries);
}

/* Take out @i, which nobody uses, and every directory that was kept for the
 * names of what is taken out. */
static void inode_drop(struct cfs_itable *t, struct cfs_inode *i)
{
    struct cfs_list *l;

    cfs_htable_del(&t->inodes, &i->hash);
    cfs_list_add_tail(&t->doomed, &i->hash);
    while ((l = cfs_list_pop(&t->doomed)) != NULL) {
        i = cfs_list_entry(l, struct cfs_inode, hash);
        while ((l = cfs_list_pop(&i->entries)) != NULL)
            dentry_free(t, cfs_list_entry(l, struct cfs_dentry, of_parent));
        while ((l = cfs_list_pop(&i->names)) != NULL) {
            struct cfs_dentry *d =
                cfs_list_entry(l, struct cfs_dentry, of_inode);
            struct cfs_inode *dir = d->dir;

            dentry_free(t, d);
            if (!in_use(dir)) {
                /* Else whoever unlinked it would have had to purge it. */
                assert(dir->nlink > 0);
                cfs_htable_del(&t->inodes, &dir->hash);
                cfs_list_add_tail(&t->doomed, &dir->hash);
            }
        }
        free(i);
    }
}

void cfs_itable_free(struct cfs_itable *t)
{
    struct cfs_list *b;

    if (!t)
        return;
    for (uint64_t n = 0; t->names.count > 0; n++) {
        b = cfs_htable_bucket(&t->names, n);
        while (!cfs_list_empty(b))
            dentry_free(t, cfs_list_entry(b->next, struct cfs_dentry, hash));
    }
    for (uint64_t n = 0; t->inodes.count > 0; n++) {
        b = cfs_htable_bucket(&t->inodes, n);
        while (!cfs_list_empty(b)) {
            struct cfs_inode *i =
                cfs_list_entry(b->next, struct cfs_inode, hash);

            cfs_htable_del(&t->inodes, &i->hash);
            free(i);
        }
    }
    cfs_htable_fini(&t->names);
    cfs_htable_fini(&t->inodes);
    free(t);
}

struct cfs_inode *cfs_itable_root(struct cfs_itable *t)
{
    return t->root;
}

size_t cfs_itable_count(const struct cfs_itable *t)
{
    return t->inodes.count;
}

struct cfs_inode *cfs_inode_find(struct cfs_itable *t, struct cfs_gfid g)
{
    struct cfs_list *b = cfs_htable_bucket(&t->inodes, gfid_hash(g));

    cfs_list_for_each(it, b)
    {
        struct cfs_inode *i = cfs_list_entry(it, struct cfs_inode, hash);

        if (cfs_gfid_eq(i->gfid, g))
            return i;
    }
    return NULL;
}

struct cfs_inode *cfs_inode_get(struct cfs_itable *t, struct cfs_gfid g,
                                uint32_t mode)
{
    struct cfs_inode *i = cfs_inode_find(t, g);

    if (!i)
        i = inode_new(t, g, mode);
    return cfs_inode_ref(i);
}

struct cfs_inode *cfs_inode_ref(struct cfs_inode *i)
{
    assert(i->refs < UINT32_MAX);
    i->refs++;
    return i;
}

struct cfs_inode *cfs_inode_parent(const struct cfs_inode *i)
{
    if (cfs_list_empty(&i->names))
        return NULL;
    return cfs_list_entry(i->names.next, struct cfs_dentry, of_inode)->dir;
}

/* After a reference went. */
static bool inode_settle(struct cfs_itable *t, struct cfs_inode *i,
                         struct cfs_gfid *ret_gfid)
{
    struct cfs_gfid gfid = i->gfid;
    bool unlinked = i->nlink == 0;

    if (in_use(i))
        return false;
    inode_drop(t, i);
    if (unlinked)
        *ret_gfid = gfid;
    return unlinked;
}

bool cfs_inode_unref(struct cfs_itable *t, struct cfs_inode *i,
                     struct cfs_gfid *ret_gfid)
{
    assert(i->refs > 0);
    i->refs--;
    return inode_settle(t, i, ret_gfid);
}

bool cfs_inode_forget(struct cfs_itable *t, struct cfs_inode *i, uint64_t n,
                      struct cfs_gfid *ret_gfid)
{
    i->nlookup -= n < i->nlookup ? n : i->nlookup;
    return inode_settle(t, i, ret_gfid);
}

/* -- names ---------------------------------------------------------------- */

static struct cfs_dentry *dentry_find(struct cfs_itable *t,
                                      const struct cfs_inode *dir,
                                      struct cfs_name name)
{
    uint64_t h = name_hash(dir, name);
    struct cfs_list *b = cfs_htable_bucket(&t->names, h);

    cfs_list_for_each(it, b)
    {
        struct cfs_dentry *d = cfs_list_entry(it, struct cfs_dentry, hash);

        if (d->h == h && d->dir == dir && d->len == name.len &&
            memcmp(d->name, name.s, name.len) == 0)
            return d;
    }
    return NULL;
}

struct cfs_inode *cfs_dentry_find(struct cfs_itable *t, struct cfs_inode *dir,
                                  struct cfs_name name)
{
    struct cfs_dentry *d = dentry_find(t, dir, name);

    return d ? d->child : NULL;
}

void cfs_dentry_set(struct cfs_itable *t, struct cfs_inode *dir,
                    struct cfs_name name, struct cfs_inode *child)
{
    struct cfs_dentry *d = dentry_find(t, dir, name);

    if (child == dir) {
        /* A brick that says so is wrong; the name is not known, then. */
        cfs_dentry_drop(t, dir, name);
        return;
    }
    if (d) {
        cfs_list_del(&d->of_inode);
    } else {
        d = cfs_must_alloc(sizeof *d + name.len);
        d->dir = dir;
        d->h = name_hash(dir, name);
        d->len = name.len;
        memcpy(d->name, name.s, name.len);
        cfs_list_init(&d->hash);
        cfs_htable_add(&t->names, &d->hash);
        cfs_list_init(&d->of_parent);
        cfs_list_add_tail(&dir->entries, &d->of_parent);
        cfs_list_init(&d->of_inode);
    }
    d->child = child;
    cfs_list_add_tail(&child->names, &d->of_inode);
}

void cfs_dentry_drop(struct cfs_itable *t, struct cfs_inode *dir,
                     struct cfs_name name)
{
    struct cfs_dentry *d = dentry_find(t, dir, name);

    if (!d)
        return;
    dentry_free(t, d);
    if (!in_use(dir)) {
        assert(dir->nlink > 0);
        inode_drop(t, dir);
    }
}
