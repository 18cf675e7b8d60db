/* SPDX-License-Identifier: Apache-2.0 */
/* warm.c - see warm.h. */
#include "xlators/storage/block/engine/warm.h"

#include <stdlib.h>

#include "xlators/storage/block/engine/engine_int.h"

#define KEYS    4096u
#define BYTES   (KEYS * 32u)
#define AT_ONCE 64u /* reads */

struct warm {
    struct cfs_blob key[KEYS];  /* in bytes */
    uint32_t        n;
    uint32_t        used;       /* of bytes */
    uint8_t         bytes[BYTES];
    struct node        *node[AT_ONCE]; /* that are being read */
    struct cfs_dev_read read[AT_ONCE];
    unsigned            n_read;
};

void eng_look_ahead(struct eng *e,
                    void (*look)(void *ctx, const struct eng_rec *rec),
                    void *ctx)
{
    e->look = look;
    e->look_ctx = ctx;
}

void warm_begin(struct eng *e)
{
    assert(e->loading && e->in_line);
    if (!e->warm)
        e->warm = eng_calloc(sizeof *e->warm);
}

void warm_end(struct eng *e)
{
    free(e->warm);
    e->warm = NULL;
}

void warm_add(struct warm *w, struct cfs_blob key)
{
    if (w->n == KEYS || key.len > BYTES - w->used)
        return;
    memcpy(w->bytes + w->used, key.p, key.len);
    w->key[w->n++] = (struct cfs_blob){w->bytes + w->used, key.len};
    w->used += key.len;
}

/* The first node on the way to @key that is not in memory is to be read. */
static void want(struct eng *e, struct warm *w, struct cfs_blob key)
{
    struct node *n = e->tree.root;

    while (n->level > 0) {
        unsigned slot = page_child(n->page, key);
        struct node *kid = n->kid ? n->kid[slot] : NULL;

        if (!kid) {
            kid = cache_claim(e, n, slot);
            if (!kid)
                return;
            w->read[w->n_read] = (struct cfs_dev_read){
                .off = kid->at[0].lba * CFS_BLOCK,
                .buf = cache_page_new(e),
                .len = NODE_SIZE,
            };
            w->node[w->n_read++] = kid;
            return;
        }
        if (kid->state != NODE_READY)
            return; /* it is among them already */
        kid->ref = true;
        n = kid;
    }
}

static void read_all(struct eng *e, struct warm *w)
{
    unsigned io = eng_io_begin(e);

    e->dev->ops->read_many(e->dev, w->read, w->n_read);
    eng_io_end(e, io);
    for (unsigned i = 0; i < w->n_read; i++)
        cache_claimed(e, w->node[i], w->read[i].buf, w->read[i].rc);
    w->n_read = 0;
}

/* One level of what is missing: whether there was any. */
static bool read_level(struct eng *e, struct warm *w)
{
    bool any = false;

    for (uint32_t i = 0; i < w->n; i++) {
        want(e, w, w->key[i]);
        if (w->n_read == AT_ONCE) {
            read_all(e, w);
            any = true;
        }
    }
    if (w->n_read > 0) {
        read_all(e, w);
        any = true;
    }
    return any;
}

void warm_read(struct eng *e)
{
    struct warm *w = e->warm;

    /* No more often than there are levels: what cannot be had stays away. */
    for (unsigned i = 0; i < e->tree.root->level && read_level(e, w); i++)
        ;
    w->n = w->used = 0;
}
