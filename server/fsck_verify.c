/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_verify.c - the checksums of file data: a batch of blocks is sorted by
 * address, read in runs, several at a time, and verified.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

#include "server/fsck_int.h"

#define READS 4u /* at a time */

struct read {
    struct eng_io  io;
    struct verify *v;
    unsigned       at; /* its first block in the batch */
    uint8_t       *buf;
};

struct verify {
    struct fsck *f;
    unsigned     at; /* the next block to be read */
    unsigned     pending;
    struct read  read[READS];
};

static int by_address(const void *a, const void *b)
{
    const struct fsck_block *x = a, *y = b;

    return (x->lba > y->lba) - (x->lba < y->lba);
}

/* Bytes of the file's last block behind its size. */
static bool tail_is_zero(const struct fsck_ino *i, uint64_t block,
                         const uint8_t *data)
{
    if (block != i->size / CFS_BLOCK || i->size % CFS_BLOCK == 0)
        return true;
    for (uint64_t at = i->size % CFS_BLOCK; at < CFS_BLOCK; at++)
        if (data[at] != 0)
            return false;
    return true;
}

static void check_block(struct fsck *f, const struct fsck_block *b,
                        const uint8_t *data)
{
    const struct fsck_ino *i = &f->ino[b->ino];

    f->r->verified++;
    if (XXH3_64bits(data, CFS_BLOCK) != b->sum)
        fsck_find(f, "checksum", i->gfid,
                  "block %" PRIu64 " of it, at %" PRIu64 ", does not match "
                  "its checksum", b->block, b->lba);
    else if (!tail_is_zero(i, b->block, data))
        fsck_find(f, "size", i->gfid,
                  "has bytes other than zero behind its end, in block %"
                  PRIu64, b->block);
}

static void on_read(struct eng_io *io);

/* The longest run at the front of what is left. */
static void read_next(struct verify *v, struct read *r)
{
    const struct fsck_block *b = v->f->batch + v->at;
    unsigned left = v->f->n_batch - v->at, n = 1;

    while (n < left && n < TOOL_RUN && b[n].lba == b[n - 1].lba + 1)
        n++;
    r->io = (struct eng_io){
        .ext = {b->lba, n},
        .data = r->buf,
        .done = on_read,
    };
    r->v = v;
    r->at = v->at;
    v->at += n;
    v->pending++;
    eng_data_read(v->f->e, &r->io);
}

static void on_read(struct eng_io *io)
{
    struct read *r = container_of(io, struct read, io);
    struct verify *v = r->v;
    const struct fsck_block *b = v->f->batch + r->at;

    for (uint32_t i = 0; i < io->ext.n; i++) {
        if (io->status == 0)
            check_block(v->f, &b[i], r->buf + (size_t)i * CFS_BLOCK);
        else
            fsck_find(v->f, "read", v->f->ino[b[i].ino].gfid,
                      "block %" PRIu64 " of it, at %" PRIu64 " in a run of "
                      "%u, cannot be read: %s", b[i].block, b[i].lba,
                      io->ext.n, cfs_err_str(io->status));
    }
    v->pending--;
    if (v->at < v->f->n_batch)
        read_next(v, r);
}

static bool all_read(void *arg)
{
    const struct verify *v = arg;

    return v->pending == 0;
}

void fsck_verify(struct fsck *f)
{
    struct verify v = {.f = f};

    if (f->n_batch == 0)
        return;
    qsort(f->batch, f->n_batch, sizeof *f->batch, by_address);
    for (unsigned i = 0; i < READS && v.at < f->n_batch; i++) {
        v.read[i].buf = aligned_alloc(CFS_BLOCK, TOOL_RUN * CFS_BLOCK);
        if (!v.read[i].buf)
            abort();
        read_next(&v, &v.read[i]);
    }
    cfs_loop_run_until(f->loop, all_read, &v);
    for (unsigned i = 0; i < READS; i++)
        free(v.read[i].buf);
    f->n_batch = 0;
}
