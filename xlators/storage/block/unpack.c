/* SPDX-License-Identifier: Apache-2.0 */
/* unpack.c - packed blocks on their way in: the whole pack is read, opened in
 * the pool, and each block that is wanted is verified against its own
 * checksum and laid where it belongs. When all that it holds is wanted, in one
 * piece, LZ4 writes it there; else to a buffer of its own.
 */
#include "core/xxh3.h"
#include "xlators/storage/block/ops_impl.h"
#include "xlators/storage/block/pack.h"

static bool is_wanted(const struct unpack *u, unsigned at)
{
    return (u->c.packed >> at & 1) && u->to[at];
}

/* Where the first block goes, when all go there in one piece; NULL. */
static uint8_t *in_one_piece(const struct unpack *u)
{
    uint8_t *first = NULL;

    for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
        if (!(u->c.pack.held >> i & 1))
            continue;
        if (!is_wanted(u, i))
            return NULL;
        if (!first)
            first = u->to[i];
        if (u->to[i] != first + pack_offset(&u->c.pack, i))
            return NULL;
    }
    return first;
}

static int open_all(const struct unpack *u)
{
    uint8_t *plain = u->plain.data ? u->plain.data : in_one_piece(u);
    int rc = pack_open(&u->c.pack, u->stored.data, plain);

    for (unsigned i = 0; i < CHUNK_BLOCKS && rc == 0; i++) {
        uint8_t *from = plain + pack_offset(&u->c.pack, i);

        if (!is_wanted(u, i))
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

    u->status = open_all(u);
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
    struct unpack *u = container_of(io, struct unpack, io);

    if (io->status < 0) {
        finish(u, io->status);
        return;
    }
    if (!in_one_piece(u))
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

void unpack_start(struct ops *o, struct unpack *u)
{
    const uint32_t n = rec_pack_blocks(&u->c.pack);

    u->loop = o->loop;
    u->stored = cfs_buf_new(n * CFS_BLOCK);
    u->io.ext = (struct eng_ext){u->c.pack.lba, n};
    u->io.data = u->stored.data;
    u->io.done = on_read;
    eng_data_read(o->e, &u->io);
}
