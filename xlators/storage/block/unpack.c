/* SPDX-License-Identifier: Apache-2.0 */
/* unpack.c - packed blocks of a chunk on their way in: those of its packs in
 * which something is wanted are read whole, opened in the pool one by one, and
 * each block that is wanted is verified against its own checksum and laid where
 * it belongs. When all that a pack holds is wanted, in one piece, LZ4 writes it
 * there; else to a buffer beside. Packs that lie behind one another, as those
 * of a stream do, are read at once.
 */
#include "core/xxh3.h"
#include "xlators/storage/block/ops_impl.h"
#include "xlators/storage/block/pack.h"

/* The blocks of @p that are wanted. */
static uint32_t wanted(const struct unpack *u, const struct rec_pack *p)
{
    uint32_t ret = 0;

    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if ((p->live >> i & 1) && u->to[i])
            ret |= UINT32_C(1) << i;
    return ret;
}

/* Where @p's first block goes, when all go there in one piece; NULL. */
static uint8_t *in_one_piece(const struct unpack *u, const struct rec_pack *p)
{
    const unsigned first = (unsigned)__builtin_ctz(p->held);

    if (wanted(u, p) != p->held)
        return NULL;
    for (unsigned i = first; i < CHUNK_BLOCKS; i++)
        if ((p->held >> i & 1) &&
            u->to[i] != u->to[first] + pack_offset(p, i))
            return NULL;
    return u->to[first];
}

/* @plain has room for what it holds; NULL: it goes in one piece. */
static int open_pack(const struct unpack *u, const struct rec_pack *p,
                     const uint8_t *stored, uint8_t *plain)
{
    const uint32_t want = wanted(u, p);
    int rc;

    if (!plain)
        plain = in_one_piece(u, p);
    rc = pack_open(p, stored, 31 - (unsigned)__builtin_clz(want), plain);
    for (unsigned i = 0; i < CHUNK_BLOCKS && rc == 0; i++) {
        uint8_t *from = plain + pack_offset(p, i);

        if (!(want >> i & 1))
            continue;
        rc = pack_block(&u->c, i, from);
        if (rc < 0)
            break;
        if (u->sum[i] && (u->c.cut >> i & 1))
            *u->sum[i] = XXH3_64bits(from, CFS_BLOCK);
        if (from != u->to[i])
            memcpy(u->to[i], from, CFS_BLOCK);
    }
    return rc;
}

static void on_open_work(struct cfs_job *j)
{
    struct unpack *u = container_of(j, struct unpack, job);
    const uint8_t *stored = u->stored.data;

    u->status = 0;
    for (unsigned i = 0; i < u->c.n_pack && u->status == 0; i++) {
        const struct rec_pack *p = &u->c.pack[i];

        if (wanted(u, p) == 0)
            continue;
        u->status = open_pack(u, p, stored,
                              in_one_piece(u, p) ? NULL : u->plain.data);
        stored += (size_t)rec_pack_blocks(p) * CFS_BLOCK;
    }
}

static void finish(struct unpack *u, int status)
{
    cfs_buf_unref(&u->stored);
    if (u->plain.data)
        cfs_buf_unref(&u->plain);
    u->done(u, status);
}

static void on_open_done(struct cfs_job *j)
{
    struct unpack *u = container_of(j, struct unpack, job);

    finish(u, u->status);
}

static void on_read(struct eng_io *io)
{
    struct unpack_io *r = container_of(io, struct unpack_io, io);
    struct unpack *u = r->u;

    if (io->status < 0)
        u->status = io->status;
    if (--u->pending > 0)
        return;
    if (u->status < 0) {
        finish(u, u->status);
        return;
    }
    for (unsigned i = 0; i < u->c.n_pack && !u->plain.data; i++)
        if (wanted(u, &u->c.pack[i]) && !in_one_piece(u, &u->c.pack[i]))
            u->plain = cfs_buf_new(CHUNK_BYTES);
    cfs_job_run(u->loop, &u->job, on_open_work, on_open_done);
}

struct unpack *unpack_new(struct cfs_arena *a, const struct rec_chunk *c,
                          void (*done)(struct unpack *u, int status),
                          void *owner)
{
    struct unpack *u = cfs_arena_alloc(a, sizeof *u);

    u->c = *c;
    u->done = done;
    u->owner = owner;
    return u;
}

/* The runs in which what is wanted lies: how many. */
static unsigned find_runs(struct unpack *u)
{
    unsigned n = 0;

    for (unsigned i = 0; i < u->c.n_pack; i++) {
        const struct rec_pack *p = &u->c.pack[i];
        struct eng_ext *last = n ? &u->io[n - 1].io.ext : NULL;

        if (wanted(u, p) == 0)
            continue;
        if (last && last->lba + last->n == p->lba)
            last->n += rec_pack_blocks(p);
        else
            u->io[n++].io.ext = (struct eng_ext){p->lba, rec_pack_blocks(p)};
    }
    return n;
}

void unpack_start(struct ops *o, struct unpack *u)
{
    const unsigned n = find_runs(u);
    uint32_t blocks = 0;

    assert(n > 0);
    u->loop = o->loop;
    u->status = 0;
    u->pending = n;
    for (unsigned i = 0; i < n; i++)
        blocks += u->io[i].io.ext.n;
    u->stored = cfs_buf_new(blocks * CFS_BLOCK);
    blocks = 0;
    for (unsigned i = 0; i < n; i++) {
        struct eng_io *io = &u->io[i].io;

        u->io[i].u = u;
        io->data = u->stored.data + (size_t)blocks * CFS_BLOCK;
        io->done = on_read;
        blocks += io->ext.n;
        eng_data_read(o->e, io);
    }
}
