/* SPDX-License-Identifier: Apache-2.0 */
/* op_prefetch.c - the nodes that an operation is going to need, all at once.
 *
 * An operation looks for one record after the other. Where nodes are not in
 * memory each would cost a wait of its own; so at its first miss, and not
 * before (in memory there is nothing to gain), the leaves of all records that
 * its request names begin to be read. Nobody waits for these: who needs
 * another one, or comes before it is there, misses again.
 *
 * In a replay the same is said of the records that come next (warm.h), those
 * of the brick's own changes too.
 */
#include "core/dirent.h"
#include "xlators/storage/block/ops_impl.h"

static void ask(const struct ops *o, const struct rec_key *k)
{
    eng_prefetch(o->e, rec_key_blob(k));
}

static void ask_gfid(const struct ops *o, enum rec_table t, struct cfs_gfid g)
{
    struct rec_key k;

    rec_key_gfid(&k, t, g);
    ask(o, &k);
}

static void ask_name(const struct op *op, struct cfs_gfid dir,
                     struct cfs_name name)
{
    struct rec_key k;

    if (!cfs_name_valid(name))
        return;
    rec_key_name(&k, REC_DIRENT, dir, name);
    ask(op->o, &k);
}

/* The chunks of bytes [@at, @at + @len): they lie side by side, so the first
 * and the last. A file that may be in line has none. */
static void ask_chunks(const struct op *op, struct cfs_gfid g, uint64_t at,
                       uint64_t len)
{
    struct rec_key k;

    if (len == 0 || at > CFS_FILE_MAX - len ||
        at + len <= op->o->config.small_file)
        return;
    rec_key_gfid_u64(&k, REC_CHUNK, g, at / CHUNK_BYTES);
    ask(op->o, &k);
    rec_key_gfid_u64(&k, REC_CHUNK, g, (at + len - 1) / CHUNK_BYTES);
    ask(op->o, &k);
}

static void ask_touched(const struct op *op, const struct cfs_change *c)
{
    for (uint32_t i = 0; i < c->n && i < CFS_TOUCH_MAX; i++) {
        ask_gfid(op->o, REC_INODE, c->touch[i].gfid);
        ask_gfid(op->o, REC_DIRTY, c->touch[i].gfid);
    }
}

void op_prefetch(const struct op *op)
{
    const union {
        const struct cfs_req    *req;
        const struct cfs_lookup *lookup;
        const struct cfs_read   *read;
        const struct cfs_create *create;
        const struct cfs_unlink *unlink;
        const struct cfs_rename *rename;
        const struct cfs_link   *link;
        const struct cfs_write  *write;
        const struct cfs_copy   *copy;
    } r = {op->req};

    if (!r.req)
        return; /* the brick's own: small steps, in the background */
    if (op->type->plan && r.req->change)
        ask_touched(op, r.req->change);
    switch (r.req->fop) {
    case CFS_FOP_LOOKUP:
        ask_name(op, r.lookup->parent, r.lookup->name);
        break;
    case CFS_FOP_READ:
        if (r.read->offset >= op->o->config.small_file)
            ask_chunks(op, r.read->gfid, r.read->offset, r.read->size);
        break;
    case CFS_FOP_CREATE:
        ask_name(op, r.create->parent, r.create->name);
        break;
    case CFS_FOP_UNLINK:
        ask_name(op, r.unlink->parent, r.unlink->name);
        break;
    case CFS_FOP_RENAME:
        ask_name(op, r.rename->parent, r.rename->name);
        ask_name(op, r.rename->newparent, r.rename->newname);
        break;
    case CFS_FOP_LINK:
        ask_name(op, r.link->newparent, r.link->newname);
        break;
    case CFS_FOP_WRITE:
        ask_chunks(op, r.write->gfid, r.write->offset, r.write->data.len);
        break;
    case CFS_FOP_COPY:
        ask_chunks(op, r.copy->gfid, r.copy->offset, r.copy->size);
        ask_chunks(op, r.copy->src, r.copy->src_offset, r.copy->size);
        break;
    default:
        break;
    }
}

void own_prefetch(const struct ops *o, enum jrec_type type,
                  const struct jrec_own *own)
{
    switch (type) {
    case JREC_CLEAR:
        for (uint32_t i = 0; i < own->inodes.len / 32; i++) {
            struct cfs_gfid g = jrec_inode_at(own->inodes, i).gfid;

            ask_gfid(o, REC_INODE, g);
            ask_gfid(o, REC_DIRTY, g);
        }
        break;
    case JREC_PURGE:
    case JREC_REMOVE:
        ask_gfid(o, REC_INODE, own->gfid);
        break;
    default:
        break;
    }
}
