/* SPDX-License-Identifier: Apache-2.0 */
/* removal.c - inodes purged, and what is below removal marks freed, in steps
 * of bounded size, each with its record in the journal.
 *
 * A mark (start, end) hides chunks; one whose end is END_XATTRS belongs to a
 * purged inode and stands for its extended attributes too, once its start has
 * reached CHUNK_END. One step is in progress at a time, in the queue of its
 * inode like any change; the next begins when its record is written.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "xlators/storage/block/ops_impl.h"

#define STEP_CHUNKS   64u
#define PURGE_BLOCKS  64u /* freed at once */
#define PURGE_XATTRS  8u

/* -- purging -------------------------------------------------------------- */

static int del_xattr_each(void *ctx, struct cfs_blob key,
                          struct cfs_blob value)
{
    struct plan *p = ctx;
    struct rec_key k;

    if (key.len > sizeof k.b)
        return -CFS_E_CORRUPT;
    k.len = (uint16_t)key.len;
    memcpy(k.b, key.p, key.len);
    plan_del(p, &k);
    return 0;
}

static int del_xattrs(struct plan *p, struct cfs_gfid g)
{
    struct rec_key lo, hi;
    unsigned n_put = p->n_put;
    int rc;

    rec_key_gfid(&lo, REC_XATTR, g);
    rec_key_after(&hi, &lo);
    rc = eng_scan(p->o->e, rec_key_blob(&lo), rec_key_blob(&hi),
                  del_xattr_each, p);
    if (rc < 0)
        p->n_put = n_put;
    return rc;
}

static int free_chunk(struct plan *p, struct cfs_gfid g, uint64_t index)
{
    struct rec_chunk c;
    struct rec_key k;
    int rc;

    rc = look_any_chunk(p->o, g, index, &c);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if (c.mapped >> i & 1)
            plan_drop(p, &c, i);
    rec_key_gfid_u64(&k, REC_CHUNK, g, index);
    plan_del(p, &k);
    return 0;
}

static int free_all_chunks(struct plan *p, struct cfs_gfid g)
{
    struct chunk_list l;
    int rc;

    rc = list_chunks(p, g, 0, CHUNK_END, PURGE_BLOCKS, &l);
    for (unsigned i = 0; i < l.n && rc == 0; i++)
        rc = free_chunk(p, g, l.index[i]);
    return rc;
}

/* One mark in place of all that there are. */
static int mark_all(struct plan *p, struct plan_ino *ino, uint64_t end)
{
    struct look_mark m = {0};
    struct rec_key k;
    int rc;

    for (uint32_t i = 0; i < ino->rec.marks; i++) {
        rc = look_mark(p->o, ino->gfid, m.end, &m);
        if (rc == -ENOENT)
            return -CFS_E_CORRUPT;
        if (rc < 0)
            return rc;
        rec_key_gfid_u64(&k, REC_REMOVAL, ino->gfid, m.end);
        plan_del(p, &k);
    }
    put_mark(p, ino->gfid, 0, end);
    return 0;
}

int purge_inode(struct plan *p, struct plan_ino *ino, struct cfs_version tomb)
{
    const struct rec_inode *i = &ino->rec;
    const bool few_blocks = i->marks == 0 && i->blocks <= PURGE_BLOCKS;
    const bool few_xattrs = i->n_xattr <= PURGE_XATTRS;
    uint8_t v[REC_TOMB_MAX];
    struct rec_key k;
    int rc = 0;

    rec_key_gfid(&k, REC_ORPHAN, ino->gfid);
    plan_del(p, &k);
    rec_key_gfid(&k, REC_TOMB, ino->gfid);
    plan_put(p, &k, v, rec_tomb_pack(tomb, v));
    if ((i->flags & REC_INLINE) || S_ISLNK(i->mode)) {
        rec_key_gfid(&k, REC_SMALL, ino->gfid);
        plan_del(p, &k);
    }
    if (few_blocks && !(i->flags & REC_INLINE) && i->blocks > 0)
        rc = free_all_chunks(p, ino->gfid);
    if (rc == 0 && few_xattrs && i->n_xattr > 0)
        rc = del_xattrs(p, ino->gfid);
    if (rc == 0 && (!few_blocks || !few_xattrs))
        rc = mark_all(p, ino, few_xattrs ? CHUNK_END : END_XATTRS);
    if (rc < 0)
        return rc;
    ino->gone = true;
    p->d_inodes--;
    return 0;
}

int plan_purge(struct op *op, struct plan *p)
{
    const struct cfs_purge *r = (const struct cfs_purge *)op->req;
    const struct cfs_touch *t = touch_of(op->req->change, r->gfid);
    struct plan_ino *i;
    int rc;

    if (!t)
        return -EINVAL;
    p->flags |= ENG_RESERVE;
    rc = plan_inode(p, r->gfid, &i);
    if (rc < 0)
        return rc;
    if (i->rec.nlink > 0)
        return -EBUSY;
    return purge_inode(p, i, t->make);
}

/* -- what a session left -------------------------------------------------- */

int plan_own_purge(struct op *op, struct plan *p)
{
    struct plan_ino *i;
    int rc;

    rc = plan_inode(p, op->own->gfid, &i);
    if (rc < 0)
        return rc;
    if (i->rec.nlink > 0)
        return -EBUSY;
    return purge_inode(p, i, op->own->version);
}

struct orphan {
    uint32_t        session;
    struct cfs_gfid gfid;
    struct rec_key  from; /* the scan goes on here */
    bool            found;
    unsigned        seen;
    int             rc;
};

#define ORPHANS_SEEN 1024u

static int orphan_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct orphan *o = ctx;
    struct rec_id id;
    uint32_t session;

    o->rc = rec_key_parse(key, &id);
    if (o->rc == 0)
        o->rc = rec_orphan_unpack(value, &session);
    if (o->rc < 0)
        return 1;
    /* On behind it, whatever becomes of it: the smallest greater key. */
    rec_key_gfid(&o->from, REC_ORPHAN, id.gfid);
    o->from.b[o->from.len++] = 0;
    if (session != o->session)
        return ++o->seen == ORPHANS_SEEN;
    o->found = true;
    o->gfid = id.gfid;
    return 1;
}

static void orphan_purged(struct op *op, int status)
{
    struct op *waits = op->state;

    if (status < 0 && status != -ENOENT && status != -EBUSY) {
        op_end(waits, status);
        return;
    }
    op_again(waits);
}

/* Begin to purge @g; @op goes on after. */
static int purge_one(struct op *op, struct cfs_gfid g)
{
    struct rec_inode i;
    struct op *own;
    int rc;

    rc = look_inode(op->o, g, &i);
    if (rc < 0)
        return rc == -ENOENT ? -CFS_E_CORRUPT : rc;
    own = op_own_new(op->o, JREC_PURGE, plan_own_purge, orphan_purged);
    own->own->gfid = g;
    own->own->version = (struct cfs_version){
        i.version.epoch, i.version.seq + 1};
    own->state = op;
    op_hold(own, g, false);
    op_begin(own);
    return OP_WAIT;
}

int purge_orphans(struct op *op, uint32_t session)
{
    struct orphan *o = op->state;
    struct rec_key all, hi;
    int rc;

    if (!o) {
        o = op->state = cfs_arena_alloc(op->arena, sizeof *o);
        o->session = session;
        rec_key_table(&o->from, REC_ORPHAN);
    }
    o->found = false;
    o->seen = 0;
    o->rc = 0;
    rec_key_table(&all, REC_ORPHAN);
    rec_key_after(&hi, &all);
    rc = eng_scan(op->o->e, rec_key_blob(&o->from), rec_key_blob(&hi),
                  orphan_each, o);
    if (rc < 0)
        return rc;
    if (o->rc < 0)
        return o->rc;
    if (o->found)
        return purge_one(op, o->gfid);
    return rc > 0 ? OP_LATER : 0;
}

/* -- steps ---------------------------------------------------------------- */

/* The chunks before .upto go; worked out the first time, given in a replay. */
static int step_chunks(struct op *op, struct plan *p, uint64_t start,
                       uint64_t end)
{
    struct jrec_own *own = op->own;
    struct chunk_list l;
    int rc;

    if (p->replay)
        end = own->upto;
    rc = list_chunks(p, own->gfid, start, end, STEP_CHUNKS, &l);
    for (unsigned i = 0; i < l.n && rc == 0; i++)
        rc = free_chunk(p, own->gfid, l.index[i]);
    if (rc == 0 && !p->replay)
        own->upto = l.more ? l.index[l.n - 1] + 1 : end;
    return rc;
}

/* The mark is done: it goes, and its file has one less. */
static int step_last(struct plan *p, struct cfs_gfid g, const struct rec_key *k)
{
    struct plan_ino *i;
    int rc;

    plan_del(p, k);
    rc = plan_inode(p, g, &i);
    if (rc == -ENOENT)
        return 0; /* purged */
    if (rc == 0 && i->rec.marks > 0) {
        i->rec.marks--;
        i->changed = true;
    }
    return rc;
}

int plan_own_remove(struct op *op, struct plan *p)
{
    struct jrec_own *own = op->own;
    uint64_t start, end = own->n < CHUNK_END ? own->n : CHUNK_END;
    struct rec_key k;
    struct cfs_blob v;
    int rc;

    rec_key_gfid_u64(&k, REC_REMOVAL, own->gfid, own->n);
    rc = eng_get(p->o->e, rec_key_blob(&k), &v);
    if (rc == 0)
        rc = rec_removal_unpack(v, &start);
    if (rc < 0)
        return rc;
    if (start >= end) { /* only attributes are left */
        own->upto = own->n;
        rc = del_xattrs(p, own->gfid);
        return rc < 0 ? rc : step_last(p, own->gfid, &k);
    }
    rc = step_chunks(op, p, start, end);
    if (rc < 0)
        return rc;
    if (own->upto >= own->n)
        return step_last(p, own->gfid, &k);
    put_mark(p, own->gfid, own->upto, own->n);
    return 0;
}

static void step_done(struct op *op, int status)
{
    struct ops *o = op->o;

    o->remover = NULL;
    if (status == 0)
        o->stat.removals++;
    else if (status != -ENOENT) /* the mark may have been cut meanwhile */
        cfs_log_warning(o->log, o->who, "freeing what was removed: %s",
                        cfs_err_str(status));
    if (status == 0 || status == -ENOENT)
        removal_kick(o);
    op_space_again(o);
}

static int first_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct rec_id *id = ctx;

    return rec_key_parse(key, id) < 0 ? -CFS_E_CORRUPT : 1;
}

/* Looks for the first mark, for the step that it then becomes. */
static int find_step(struct op *op, struct plan *p)
{
    struct ops *o = op->o;
    struct rec_key lo, hi;
    struct rec_id id;
    struct op *step;
    int rc;

    rec_key_table(&lo, REC_REMOVAL);
    rec_key_after(&hi, &lo);
    rc = eng_scan(o->e, rec_key_blob(&lo), rec_key_blob(&hi), first_each,
                  &id);
    if (rc < 0)
        return rc;
    if (rc == 0 || o->closing)
        return -ENODATA;
    step = op_own_new(o, JREC_REMOVE, plan_own_remove, step_done);
    step->own->gfid = id.gfid;
    step->own->n = id.n;
    op->state = step;
    return -ECANCELED; /* this one has done its work */
}

static void found_step(struct op *op, int status)
{
    struct ops *o = op->o;
    struct op *step = op->state;

    o->remover = NULL;
    if (status == -ECANCELED) {
        o->remover = step;
        op_hold(step, step->own->gfid, false);
        op_begin(step);
        return;
    }
    if (status != -ENODATA)
        cfs_log_warning(o->log, o->who, "looking for what to free: %s",
                        cfs_err_str(status));
    op_space_again(o);
}

void removal_kick(struct ops *o)
{
    if (o->remover || o->closing)
        return;
    o->remover = op_own_new(o, JREC_REMOVE, find_step, found_step);
    op_begin(o->remover);
}
