/* SPDX-License-Identifier: Apache-2.0 */
/* look.c - records found in the tree and decoded. */
#include "core/dirent.h"
#include "xlators/storage/block/ops_impl.h"

int look_inode(struct ops *o, struct cfs_gfid g, struct rec_inode *ret)
{
    struct rec_key k;
    struct cfs_blob v;
    int rc;

    rec_key_gfid(&k, REC_INODE, g);
    rc = eng_get(o->e, rec_key_blob(&k), &v);
    return rc < 0 ? rc : rec_inode_unpack(v, ret);
}

int look_dirent(struct ops *o, struct cfs_gfid dir, struct cfs_name name,
                struct rec_dirent *ret)
{
    struct rec_key k;
    struct cfs_blob v;
    int rc;

    if (!cfs_name_valid(name))
        return -ENOENT;
    rec_key_name(&k, REC_DIRENT, dir, name);
    rc = eng_get(o->e, rec_key_blob(&k), &v);
    return rc < 0 ? rc : rec_dirent_unpack(v, ret);
}

/* The first record of a scan, as a mark. */
struct mark_found {
    struct look_mark mark;
    int              rc;
};

static int mark_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct mark_found *f = ctx;
    struct rec_id id;

    f->rc = rec_key_parse(key, &id);
    if (f->rc == 0)
        f->rc = rec_removal_unpack(value, &f->mark.start);
    if (f->rc == 0)
        f->mark.end = id.n;
    return 1;
}

int look_mark(struct ops *o, struct cfs_gfid g, uint64_t from,
              struct look_mark *ret)
{
    struct mark_found f = {.rc = -ENOENT};
    struct rec_key lo, hi, all;
    int rc;

    if (from == UINT64_MAX)
        return -ENOENT;
    rec_key_gfid(&all, REC_REMOVAL, g);
    rec_key_after(&hi, &all);
    rec_key_gfid_u64(&lo, REC_REMOVAL, g, from + 1);
    rc = eng_scan(o->e, rec_key_blob(&lo), rec_key_blob(&hi), mark_each, &f);
    if (rc < 0)
        return rc;
    if (f.rc == 0)
        *ret = f.mark;
    return f.rc;
}

int look_any_chunk(struct ops *o, struct cfs_gfid g, uint64_t chunk,
                   struct rec_chunk *ret)
{
    struct rec_chunk c;
    struct rec_key k;
    struct cfs_blob v;
    int rc;

    rec_key_gfid_u64(&k, REC_CHUNK, g, chunk);
    rc = eng_get(o->e, rec_key_blob(&k), &v);
    if (rc == 0)
        rc = rec_chunk_unpack(v, &c);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < c.n_pack; i++) {
        const struct eng_ext ext = {c.pack[i].lba,
                                    rec_pack_blocks(&c.pack[i])};

        if (!eng_packs(o->e) || !eng_ext_valid(o->e, ext))
            return -CFS_E_CORRUPT;
    }
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if (((c.mapped & ~c.packed) >> i & 1) &&
            !eng_ext_valid(o->e, (struct eng_ext){c.lba[i], 1}))
            return -CFS_E_CORRUPT;
    *ret = c;
    return 0;
}

int look_chunk(struct ops *o, struct cfs_gfid g, const struct rec_inode *ino,
               uint64_t chunk, struct rec_chunk *ret)
{
    struct look_mark m;
    int rc;

    if (ino->marks > 0) {
        rc = look_mark(o, g, chunk, &m);
        if (rc < 0 && rc != -ENOENT)
            return rc;
        if (rc == 0 && m.start <= chunk)
            return -ENOENT;
    }
    return look_any_chunk(o, g, chunk, ret);
}

int look_small(struct ops *o, struct cfs_gfid g, struct cfs_blob *ret)
{
    struct rec_key k;
    int rc;

    rec_key_gfid(&k, REC_SMALL, g);
    rc = eng_get(o->e, rec_key_blob(&k), ret);
    if (rc == -ENOENT)
        return -CFS_E_CORRUPT; /* whoever asks knows that it is there */
    if (rc == 0 && (ret->len == 0 || ret->len > SMALL_MAX))
        return -CFS_E_CORRUPT;
    return rc;
}
