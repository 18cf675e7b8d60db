/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - the engine alone: keys and values as storage/block makes them,
 * IN_FLIGHT operations at a time, new ones in each turn of the loop as
 * requests come.
 *
 * A create is two gets, six puts (the inode, its parent's, the name, the
 * cookie, two entries of the dirty index) and one record of the journal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/store/store.h"

#define FILES_DIR 4096u /* files in one directory */

/* -- keys ------------------------------------------------------------------ */

static void be64(uint8_t *to, uint64_t v)
{
    for (unsigned k = 0; k < 8; k++)
        to[k] = (uint8_t)(v >> (56 - 8 * k));
}

/* A table's letter, an id of 16 bytes, and what follows. */
static struct key key_of(char table, uint64_t id, const char *name,
                         uint64_t num)
{
    struct key k = {.len = 17};

    k.b[0] = (uint8_t)table;
    be64(k.b + 9, id);
    if (name) {
        k.len += (uint32_t)snprintf((char *)k.b + 17, 40, "%s%08" PRIu64,
                                    name, num);
    } else if (num) {
        be64(k.b + 17, num);
        k.len += 8;
    }
    return k;
}

struct key inode_key(uint64_t i)
{
    return key_of('I', ((uint64_t)1 << 32) + i, NULL, 0);
}

void update_puts(uint64_t i, struct puts *p)
{
    p->key[0] = inode_key(i);
    p->len[0] = 152;
    p->n = 1;
}

void create_puts(uint64_t i, struct puts *p)
{
    uint64_t dir = 1 + i / FILES_DIR;

    update_puts(i, p);
    p->key[1] = key_of('I', dir, NULL, 0);
    p->len[1] = 152;
    p->key[2] = key_of('N', dir, "file-", i);
    p->len[2] = 32;
    p->key[3] = key_of('C', dir, NULL, i + 1);
    p->len[3] = 14;
    p->key[4] = key_of('D', ((uint64_t)1 << 32) + i, NULL, 0);
    p->len[4] = 24;
    p->key[5] = key_of('D', dir, NULL, 0);
    p->len[5] = 24;
    p->n = CREATE_PUTS;
}

/* -- load ------------------------------------------------------------------ */

struct op;

struct waiter {
    struct eng_wait w;
    struct op      *op;
};

/* One operation on its way. */
struct op {
    struct eng_done done;
    struct waiter   wait[8];
    unsigned        n_wait;
    struct load    *load;
    uint64_t        i; /* which file */
    uint64_t        began;
    uint64_t        starved; /* load.starved when it began */
};

struct load {
    struct bench           *b;
    const struct load_spec *spec;
    struct load_result     *ret;
    struct cfs_timer        more; /* in the next turn of the loop */
    uint64_t                started;
    uint64_t                finished;
    uint64_t                rnd;
    uint64_t                starved; /* rig_starved(), lately */
    uint64_t                looked;  /* when it was read */
    struct op               op[IN_FLIGHT];
    struct op              *idle[IN_FLIGHT];
    unsigned                n_idle;

    struct cfs_timer tick; /* fsyncs beside them */
    struct eng_done  sync;
    bool             syncing;
    uint64_t         sync_began;
};

static void op_go(struct op *op);

static void op_waits_end(struct op *op)
{
    while (op->n_wait > 0)
        eng_wait_end(op->load->b->eng, &op->wait[--op->n_wait].w);
}

#define LONG_WAIT (CFS_MS / 4)
#define LOOK_EACH (CFS_MS / 10)

/* How long this thread has waited for a processor, in all. */
static uint64_t starved(struct load *l, uint64_t now)
{
    if (now - l->looked > LOOK_EACH) {
        l->starved = rig_starved();
        l->looked = now;
    }
    return l->starved;
}

static void op_ended(struct op *op)
{
    struct load *l = op->load;
    uint64_t now = now_ns(l->b), wait = now - op->began, others = 0;

    times_add(&l->ret->waits, wait);
    if (wait > LONG_WAIT)
        others = starved(l, now) - op->starved;
    times_add(&l->ret->own, wait > others ? wait - others : 0);
    l->finished++;
    l->idle[l->n_idle++] = op;
    if (!cfs_timer_active(&l->more))
        cfs_timer_start(&l->more, 0);
}

static void on_op_done(struct eng_done *d)
{
    if (d->status < 0)
        die("commit", d->status, NULL);
    op_ended(container_of(d, struct op, done));
}

static void on_op_ready(struct eng_wait *w)
{
    struct op *op = container_of(w, struct waiter, w)->op;

    if (op->n_wait == CFS_ARRAY_SIZE(op->wait))
        op_waits_end(op);
    op_go(op);
}

static void op_aside(struct op *op)
{
    struct waiter *w = &op->wait[op->n_wait++];

    w->op = op;
    eng_wait(op->load->b->eng, &w->w, on_op_ready);
}

static int op_admit(struct op *op, const struct puts *p)
{
    struct eng *e = op->load->b->eng;
    struct cfs_blob got;
    int rc = 0;

    for (unsigned i = 0; i < p->n && rc == 0; i++)
        rc = eng_touch(e, blob_of(&p->key[i]));
    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        rc = eng_get(e, blob_of(&p->key[i == 0 ? 0 : p->n / 2]), &got);
        if (rc == -ENOENT)
            rc = 0;
    }
    return rc < 0 ? rc : eng_begin(e, p->n, p->n * 200, 300, 0);
}

static void op_lookup(struct op *op)
{
    struct key k = inode_key(op->i);
    struct cfs_blob got;
    int rc = eng_get(op->load->b->eng, blob_of(&k), &got);

    if (rc == -CFS_E_MISS) {
        op_aside(op);
        return;
    }
    if (rc < 0)
        die("get", rc, NULL);
    op_waits_end(op);
    op_ended(op);
}

static void op_go(struct op *op)
{
    static const uint8_t bytes[256];
    struct eng *e = op->load->b->eng;
    struct eng_rec rec = {.type = 1, .body = {bytes, 220}};
    struct puts p;
    int rc;

    if (op->load->spec->kind == LOAD_LOOKUP) {
        op_lookup(op);
        return;
    }
    if (op->load->spec->kind == LOAD_CREATE)
        create_puts(op->i, &p);
    else
        update_puts(op->i, &p);
    rc = op_admit(op, &p);
    if (rc == -CFS_E_MISS) {
        op_aside(op);
        return;
    }
    if (rc < 0)
        die("begin", rc, NULL);
    for (unsigned i = 0; i < p.n; i++)
        eng_put(e, blob_of(&p.key[i]), (struct cfs_blob){bytes, p.len[i]});
    op->done.done = on_op_done;
    eng_commit(e, &rec, &op->done);
    op_waits_end(op);
}

static void look(struct load *l)
{
    struct eng_info i;

    eng_info(l->b->eng, &i);
    if (i.cached > l->ret->cached_max)
        l->ret->cached_max = i.cached;
    if (i.dirty > l->ret->dirty_max)
        l->ret->dirty_max = i.dirty;
}

static void on_more(struct cfs_timer *t)
{
    struct load *l = container_of(t, struct load, more);
    const struct load_spec *s = l->spec;

    look(l);
    for (unsigned n = l->n_idle; n > 0 && l->started < s->count; n--) {
        struct op *op = l->idle[--l->n_idle];

        op->i = s->kind == LOAD_CREATE ? s->first + l->started
                                       : next_random(&l->rnd) % s->files;
        l->started++;
        op->began = now_ns(l->b);
        op->starved = starved(l, op->began);
        op_go(op);
    }
}

static void on_synced(struct eng_done *d)
{
    struct load *l = container_of(d, struct load, sync);

    if (d->status < 0)
        die("sync", d->status, NULL);
    times_add(&l->ret->syncs, now_ns(l->b) - l->sync_began);
    l->syncing = false;
}

static void on_tick(struct cfs_timer *t)
{
    struct load *l = container_of(t, struct load, tick);

    if (!l->syncing) {
        l->syncing = true;
        l->sync_began = now_ns(l->b);
        l->sync.done = on_synced;
        eng_sync(l->b->eng, &l->sync);
    }
    cfs_timer_start(t, CFS_SEC / l->spec->syncs);
}

static bool load_is_done(void *arg)
{
    const struct load *l = arg;

    return l->finished == l->spec->count && !l->syncing;
}

void load_run(struct bench *b, const struct load_spec *spec,
              struct load_result *ret)
{
    struct load *l = need(calloc(1, sizeof *l));
    uint64_t began = now_ns(b);

    *ret = (struct load_result){0};
    l->b = b;
    l->spec = spec;
    l->ret = ret;
    l->rnd = spec->count + spec->kind;
    cfs_timer_init(b->loop, &l->more, on_more);
    cfs_timer_init(b->loop, &l->tick, on_tick);
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        l->op[i].load = l;
        l->idle[l->n_idle++] = &l->op[i];
    }
    cfs_timer_start(&l->more, 0);
    if (spec->syncs)
        cfs_timer_start(&l->tick, CFS_SEC / spec->syncs);
    cfs_loop_run_until(b->loop, load_is_done, l);
    cfs_timer_fini(&l->tick);
    cfs_timer_fini(&l->more);
    ret->s = (double)(now_ns(b) - began) / 1e9;
    free(l);
}
