/* SPDX-License-Identifier: Apache-2.0 */
/* test_packs.c - compressed data: it takes fewer blocks and reads back the
 * same; what cannot be compressed stays as it is; a pack goes with its last
 * block; a brick without the option never has one; damaged and made-up packs
 * are errors of their file, and a repair makes the brick sound again. */
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "server/fsck_repair.h"
#include "tests/unit/store_fix.h"
#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/pack.h"

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static int set_up(void **state, bool packs)
{
    struct fix *f = calloc(1, sizeof *f);
    struct ops_config config = ops_config_default;

    config.pack = config.eng.packs = packs;
    fix_open(f, &config);
    f->check = fix_fsck;
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return set_up(state, true);
}

static int setup_without(void **state)
{
    return set_up(state, false);
}

static int teardown(void **state)
{
    fix_close(*state);
    free(*state);
    cfs_buf_pool_drain();
    return 0;
}

/* -- looking at records --------------------------------------------------- */

static struct rec_chunk chunk_of(struct fix *f, struct cfs_gfid g,
                                 uint64_t index)
{
    return fix_chunk(ops_engine(f->ops), g, index);
}

static void put_chunk(struct fix *f, struct cfs_gfid g, uint64_t index,
                      const struct rec_chunk *c)
{
    struct eng *e = ops_engine(f->ops);
    uint8_t v[REC_CHUNK_MAX];
    uint32_t len = rec_chunk_pack(c, v);
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_CHUNK, g, index);
    assert_int_equal(eng_touch(e, rec_key_blob(&k)), 0);
    assert_int_equal(eng_begin(e, 1, k.len + len, 0, ENG_RESERVE), 0);
    eng_put(e, rec_key_blob(&k), (struct cfs_blob){v, len});
}

static uint64_t free_blocks(struct fix *f)
{
    struct eng_info info;

    fix_settle(f);
    eng_info(ops_engine(f->ops), &info);
    return info.free;
}

static bool is_marked(struct fix *f)
{
    return ops_engine(f->ops)->sb.incompat & FMT_PACKED;
}

/* -- space ---------------------------------------------------------------- */

static void compressible_data_takes_fewer_blocks(void **state)
{
    const uint32_t size = 1 << 20, n = 8;
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *p = fix_pattern(size, 3);
    uint64_t before = free_blocks(f), took;
    struct cfs_attr a;

    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(fix_write(f, g, i * size, p, size), 0);
    took = before - free_blocks(f); /* as statfs has it */
    print_message("%u blocks took %u\n", n * size / CFS_BLOCK,
                  (unsigned)took);
    assert_true(took < n * size / CFS_BLOCK / 2);
    /* The file shows what it holds, as on a replica that does without. */
    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.blocks, n * size / 512);
    fix_reopen(f, FIX_KILL);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *got = malloc(size);

        assert_int_equal(fix_read(f, g, i * size, got, size), size);
        assert_memory_equal(got, p, size);
        free(got);
    }
    assert_int_equal(fix_truncate(f, g, 0), 0);
    fix_idle(f);
    assert_true(free_blocks(f) + 20 > before);
    free(p);
}

static void what_cannot_be_compressed_stays_as_it_is(void **state)
{
    const uint32_t size = 1 << 20;
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "noise"), h = fix_file(f, "short");
    uint8_t *p = fix_noise(size, 1), *q = fix_pattern(size, 1);

    assert_int_equal(fix_write(f, g, 0, p, size), 0);
    for (unsigned i = 0; i < size / CHUNK_BYTES; i++)
        assert_int_equal(chunk_of(f, g, i).packed, 0);
    fix_expect(f, g, p, size);
    /* Three blocks are not worth it, four are. */
    assert_int_equal(fix_write(f, h, 0, q, 3 * CFS_BLOCK), 0);
    assert_int_equal(chunk_of(f, h, 0).packed, 0);
    assert_int_equal(fix_write(f, h, 4 * CFS_BLOCK, q, 4 * CFS_BLOCK), 0);
    assert_int_equal(chunk_of(f, h, 0).packed, 0xf0);
    free(p);
    free(q);
}

static void a_pack_goes_with_its_last_block(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *p = fix_pattern(CHUNK_BYTES, 9), *q = fix_noise(CHUNK_BYTES, 9);
    struct rec_pack first;
    struct rec_chunk c;
    uint64_t left;

    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    assert_int_equal(chunk_of(f, g, 0).packed, UINT32_MAX);
    first = chunk_of(f, g, 0).pack[0];
    left = free_blocks(f);
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
        unsigned at = i * 7 % CHUNK_BLOCKS;

        assert_int_equal(fix_write(f, g, at * CFS_BLOCK + 10,
                                   q + at * CFS_BLOCK + 10, 4000), 0);
        memcpy(p + at * CFS_BLOCK + 10, q + at * CFS_BLOCK + 10, 4000);
        c = chunk_of(f, g, 0);
        assert_int_equal(c.mapped, UINT32_MAX);
        assert_false(c.packed >> at & 1);
        assert_int_equal(__builtin_popcount(c.packed), CHUNK_BLOCKS - 1 - i);
        if (i % 8 == 3) {
            fix_expect(f, g, p, CHUNK_BYTES);
            fix_reopen(f, FIX_KILL);
        }
    }
    assert_true(left + rec_pack_blocks(&first) + 10 >
                free_blocks(f) + CHUNK_BLOCKS);
    fix_expect(f, g, p, CHUNK_BYTES);
    /* All of it anew: one pack again. */
    memset(p, 5, CHUNK_BYTES);
    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    assert_int_equal(chunk_of(f, g, 0).packed, UINT32_MAX);
    assert_int_equal(rec_pack_blocks(&(struct rec_pack){
        .len = chunk_of(f, g, 0).pack[0].len}), 1);
    fix_expect(f, g, p, CHUNK_BYTES);
    free(p);
    free(q);
}

/* Written bit by bit: each of these sizes has all of the file packed. */
static void a_stream_of_small_writes_is_compressed(void **state)
{
    static const uint32_t io[] = {16384, 32768, 65536, 50000, 100000, 131072,
                                  200000};
    const uint32_t size = 8 * CHUNK_BYTES;
    struct fix *f = *state;
    uint8_t *p = fix_pattern(size, 2);

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(io); i++) {
        const uint64_t before = free_blocks(f);
        struct cfs_gfid g;
        char name[16];
        uint64_t took;

        snprintf(name, sizeof name, "file-%u", i);
        g = fix_file(f, name);
        for (uint32_t at = 0; at < size; at += io[i])
            assert_int_equal(fix_write(f, g, at, p + at,
                                       io[i] < size - at ? io[i] : size - at),
                             0);
        took = before - free_blocks(f);
        print_message("by %u bytes: %u of %u blocks\n", io[i],
                      (unsigned)took, size / CFS_BLOCK);
        assert_true(took < size / CFS_BLOCK / 2);
        fix_expect(f, g, p, size);
        fix_reopen(f, i % 2 ? FIX_CLEAN : FIX_KILL);
        fix_expect(f, g, p, size);
    }
    free(p);
}

/* What the chunk takes of the device. */
static unsigned blocks_of(const struct rec_chunk *c)
{
    unsigned n = (unsigned)__builtin_popcount(c->mapped & ~c->packed);

    for (unsigned i = 0; i < c->n_pack; i++)
        n += rec_pack_blocks(&c->pack[i]);
    return n;
}

/* Also where each new pack leaves only a little of those before. */
static void packs_never_take_more_than_twice_the_space(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *p = fix_pattern(CHUNK_BYTES, 3), *q = fix_noise(CHUNK_BYTES, 3);
    unsigned most = 0, packs = 0;

    for (unsigned round = 0; round < 60; round++) {
        const bool whole = round % 10 == 0;
        const uint32_t noise = round / 10 % 2 ? CFS_BLOCK / 2 : 3800;
        unsigned from = whole ? 0 : round * 5 % 13;
        unsigned n = whole ? CHUNK_BLOCKS : 4 + round * 11 % 15;
        struct rec_chunk c;

        /* A pack saves one block, or two; or half of all. */
        if (whole)
            memcpy(p, q, CHUNK_BYTES);
        for (unsigned i = 0; i < CHUNK_BLOCKS && whole; i++)
            memset(p + i * CFS_BLOCK + noise, 1, CFS_BLOCK - noise);
        memset(p + from * CFS_BLOCK + CFS_BLOCK - 100, (int)round, 100);
        assert_int_equal(fix_write(f, g, from * CFS_BLOCK,
                                   p + from * CFS_BLOCK, n * CFS_BLOCK), 0);
        c = chunk_of(f, g, 0);
        most = blocks_of(&c) > most ? blocks_of(&c) : most;
        packs = c.n_pack > packs ? c.n_pack : packs;
        fix_expect(f, g, p, CHUNK_BYTES);
        if (round % 9 == 8)
            fix_reopen(f, round % 2 ? FIX_CLEAN : FIX_KILL);
    }
    print_message("at most %u blocks, %u packs\n", most, packs);
    assert_true(most > CHUNK_BLOCKS && most < 2 * CHUNK_BLOCKS && packs > 2);
    assert_int_equal(fix_truncate(f, g, 0), 0);
    free(p);
    free(q);
}

static unsigned most_blocks(struct fix *f, struct cfs_gfid g, unsigned chunks)
{
    unsigned most = 0;

    for (unsigned i = 0; i < chunks; i++) {
        const struct rec_chunk c = chunk_of(f, g, i);

        most = blocks_of(&c) > most ? blocks_of(&c) : most;
    }
    return most;
}

/* Block by block: what keeps too much is packed anew, holes and all. */
static void random_overwrites_do_not_undo_it(void **state)
{
    const unsigned chunks = 4, blocks = (chunks - 1) * CHUNK_BLOCKS + 20;
    const uint32_t size = blocks * CFS_BLOCK - 100;
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *p = fix_pattern(blocks * CFS_BLOCK, 3);
    unsigned most = 0, packs = 0;
    uint64_t rnd = 5;

    for (unsigned i = 0; i < blocks; i++) { /* of which a half can be saved */
        uint8_t *q = fix_noise(CFS_BLOCK / 2, i);

        memcpy(p + i * CFS_BLOCK, q, CFS_BLOCK / 2);
        free(q);
    }
    assert_int_equal(fix_write(f, g, 0, p, size), 0);
    for (unsigned round = 0; round < 500; round++) {
        const uint32_t part = round % 3 ? CFS_BLOCK : 1 + round % 900;
        uint32_t at;

        rnd = rnd * 0xd1342543de82ef95u + 1;
        at = (uint32_t)(rnd >> 40) % blocks * CFS_BLOCK;
        if (at + part > size)
            continue;
        if (round % 7 == 0) {
            assert_int_equal(fix_fallocate(f, g, PUNCH, at + 50, 10), 0);
            memset(p + at + 50, 0, 10);
        } else {
            p[at + part / 2] = (uint8_t)round;
            assert_int_equal(fix_write(f, g, at, p + at, part), 0);
        }
        if (round % 50 == 49) {
            fix_expect(f, g, p, size);
            fix_reopen(f, round % 100 == 49 ? FIX_KILL : FIX_CLEAN);
            fix_expect(f, g, p, size);
        }
        most = most_blocks(f, g, chunks) > most ? most_blocks(f, g, chunks)
                                                : most;
    }
    for (unsigned i = 0; i < chunks; i++)
        packs += chunk_of(f, g, i).n_pack > 0;
    print_message("at most %u blocks, %u of %u chunks have packs\n", most,
                  packs, chunks);
    assert_true(most > CHUNK_BLOCKS);
    assert_true(most <= CHUNK_BLOCKS + CHUNK_BLOCKS / 4);
    assert_int_equal(packs, chunks);
    free(p);
}

/* The ninth waits for one of the others to go. */
static void a_chunk_has_eight_packs(void **state)
{
    const uint32_t part = 4 * CFS_BLOCK;
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *p = fix_pattern(CHUNK_BYTES, 2);

    for (uint32_t at = 0; at < CHUNK_BYTES; at += part)
        assert_int_equal(fix_write(f, g, at, p + at, part), 0);
    assert_int_equal(chunk_of(f, g, 0).packed, UINT32_MAX);
    assert_int_equal(chunk_of(f, g, 0).n_pack, CHUNK_PACKS);
    /* In the middle of two. */
    assert_int_equal(fix_write(f, g, part / 2, p + part / 2, part), 0);
    assert_int_equal(chunk_of(f, g, 0).packed, ~(uint32_t)0x3c);
    fix_expect(f, g, p, CHUNK_BYTES);
    fix_reopen(f, FIX_KILL);
    /* In place of one. */
    assert_int_equal(fix_write(f, g, 5 * part, p, part), 0);
    memcpy(p + 5 * part, p, part);
    assert_int_equal(chunk_of(f, g, 0).packed, ~(uint32_t)0x3c);
    /* In place of two, which makes room for one more. */
    assert_int_equal(fix_fallocate(f, g, PUNCH, 6 * part, 2 * part), 0);
    memset(p + 6 * part, 0, 2 * part);
    assert_int_equal(chunk_of(f, g, 0).n_pack, CHUNK_PACKS - 2);
    assert_int_equal(fix_write(f, g, part / 2, p + part / 2, part), 0);
    assert_int_equal(chunk_of(f, g, 0).packed, 0xffffff);
    fix_expect(f, g, p, CHUNK_BYTES);
    fix_reopen(f, FIX_CLEAN);
    fix_expect(f, g, p, CHUNK_BYTES);
    free(p);
}

/* -- ahead of their turn -------------------------------------------------- */

#define STREAM 5u

/* Write the chunks at @p at once, in their order. */
static void write_stream(struct fix *f, struct cfs_gfid g, const uint8_t *p)
{
    static struct cfs_change change[STREAM];
    static struct cfs_write w[STREAM];
    struct fix_wait wait[STREAM];

    fix_begin(f);
    for (unsigned i = 0; i < STREAM; i++) {
        change[i] = *fix_change(f, 1, &g);
        change[i].acked_below = 1;
        change[i].touch[0].expect.seq += i;
        change[i].touch[0].make.seq += i;
        w[i] = (struct cfs_write){.req = {.fop = CFS_FOP_WRITE,
                                          .epoch = f->view.epoch,
                                          .change = &change[i]}};
        w[i].gfid = g;
        w[i].offset = i * CHUNK_BYTES;
        w[i].data = cfs_buf_new(CHUNK_BYTES);
        memcpy(w[i].data.data, p + i * CHUNK_BYTES, CHUNK_BYTES);
        cfs_arena_keep(&f->call.arena, w[i].data);
        w[i].sums = fix_sums(f, w[i].offset, w[i].data.data, CHUNK_BYTES);
    }
    for (unsigned i = 0; i < STREAM; i++)
        fix_post(f, &w[i].req, &wait[i]);
    fix_wait_all(f, wait, STREAM);
    for (unsigned i = 0; i < STREAM; i++)
        assert_int_equal(wait[i].status, 0);
    fix_learn(f, &change[STREAM - 1]);
}

static uint64_t ahead(const struct fix *f)
{
    struct ops_stat s;

    ops_stat(f->ops, &s);
    return s.ahead;
}

/* Half of each chunk can be saved. */
static uint8_t *half_noise(void)
{
    uint8_t *p = fix_pattern(STREAM * CHUNK_BYTES, 1);

    for (unsigned i = 0; i < STREAM; i++) {
        uint8_t *q = fix_noise(CHUNK_BYTES / 2, i);

        memcpy(p + i * CHUNK_BYTES, q, CHUNK_BYTES / 2);
        free(q);
    }
    return p;
}

/* But for the first, which had its blocks before it was packed. */
static void what_is_packed_ahead_lies_in_one_piece(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "stream");
    uint8_t *p = half_noise();
    unsigned runs = 1;

    write_stream(f, g, p);
    assert_true(ahead(f) > 0);
    for (unsigned i = 0; i < STREAM; i++) {
        const struct rec_chunk c = chunk_of(f, g, i);
        const struct rec_chunk last = i ? chunk_of(f, g, i - 1) : c;

        assert_int_equal(c.packed, UINT32_MAX);
        runs += i > 0 && c.pack[0].lba != last.pack[0].lba +
                                             rec_pack_blocks(&last.pack[0]);
    }
    assert_true(runs <= 2);
    fix_reopen(f, FIX_KILL);
    fix_expect(f, g, p, STREAM * CHUNK_BYTES);
    free(p);
}

/* On a full brick what fallocate has promised is had all the same: it is as if
 * nothing had been done ahead. */
static void what_is_packed_ahead_gets_its_due(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "stream"), all = fix_file(f, "all");
    uint8_t *p = half_noise(), *q = fix_noise(1 << 20, 7);
    uint32_t len = 1 << 20;
    uint64_t at = 0;

    assert_int_equal(fix_fallocate(f, g, 0, 0, STREAM * CHUNK_BYTES), 0);
    while (len >= CFS_BLOCK) {
        if (fix_write(f, all, at, q, len) == 0)
            at += len;
        else
            len /= 2;
    }
    write_stream(f, g, p);
    assert_true(ahead(f) > 0);
    fix_expect(f, g, p, STREAM * CHUNK_BYTES);
    fix_reopen(f, FIX_KILL);
    fix_expect(f, g, p, STREAM * CHUNK_BYTES);
    free(p);
    free(q);
}

/* -- cutting -------------------------------------------------------------- */

/* A cut in every way, and what follows it: also after a kill. */
static void what_is_cut_off_reads_as_zeros(void **state)
{
    static const struct {
        uint32_t mode; /* 1: a write of 7s; 2: truncate to .at, and back */
        uint32_t at, len;
        unsigned cut;  /* blocks of which only a part is left */
    } step[] = {
        {PUNCH, 5000, 10000, 2},
        {PUNCH, 4900, 300, 2},    /* more of the same block */
        {PUNCH, 14000, 2000, 2},
        {PUNCH, 4120, 100, 2},    /* bytes stay on both sides */
        {PUNCH, 4300, 100, 2},    /* twice */
        {PUNCH, 4200, 120, 2},    /* and these become one */
        {PUNCH, 20000, 2000, 4},
        {FALLOC_FL_ZERO_RANGE, 30000, 10000, 6},
        {FALLOC_FL_ZERO_RANGE, 10, 10, 7},
        {2, 100001, 0, 8},
        {1, 100000, 10, 7},       /* written elsewhere */
        {2, 41000, 0, 8},
        {1, 36864, 4096, 7},
        {PUNCH, 0, 100, 7},
        {PUNCH, 50, 4046, 7},     /* nothing is left of it */
        {2, 33000, 0, 6},
        {2, 0, 0, 0},
    };
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *p = fix_pattern(CHUNK_BYTES, 5);

    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(step); i++) {
        const uint32_t at = step[i].at, len = step[i].len;

        if (step[i].mode == 2) {
            assert_int_equal(fix_truncate(f, g, at), 0);
            if (at == 0)
                break;
            assert_int_equal(fix_truncate(f, g, CHUNK_BYTES), 0);
            memset(p + at, 0, CHUNK_BYTES - at);
        } else if (step[i].mode == 1) {
            memset(p + at, 7, len);
            assert_int_equal(fix_write(f, g, at, p + at, len), 0);
        } else {
            assert_int_equal(fix_fallocate(f, g, step[i].mode, at, len), 0);
            memset(p + at, 0, len);
        }
        if (__builtin_popcount(chunk_of(f, g, 0).cut) != (int)step[i].cut)
            fail_msg("step %u: cut %x", i, chunk_of(f, g, 0).cut);
        fix_expect(f, g, p, CHUNK_BYTES);
        fix_reopen(f, i % 2 ? FIX_KILL : FIX_CLEAN); /* fsck looks, too */
        fix_expect(f, g, p, CHUNK_BYTES);
    }
    free(p);
}

/* Random bytes into @g until nothing fits any more. */
static void fill_up(struct fix *f, struct cfs_gfid g)
{
    uint8_t *q = fix_noise(1 << 20, 7);
    uint32_t len = 1 << 20;
    uint64_t at = 0;

    while (len >= CFS_BLOCK) {
        if (fix_write(f, g, at, q, len) == 0)
            at += len;
        else
            len /= 2;
    }
    assert_true(free_blocks(f) < 64);
    free(q);
}

/* Of holes with bytes on both sides a chunk notes a number, and then writes
 * the block anew, as far as there is one; whatever reaches the end of a block
 * always can be done. */
static void a_chunk_notes_many_holes(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file"), all = fix_file(f, "all");
    uint8_t *p = fix_pattern(CHUNK_BYTES, 4);
    uint32_t at = 10 * CFS_BLOCK + 100, packed;

    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    fill_up(f, all);
    for (unsigned i = 0; i < CHUNK_MIDDLE; i++) {
        const uint32_t hole = i / 4 * CFS_BLOCK + 100 + i % 4 * 1000;

        assert_int_equal(fix_fallocate(f, g, PUNCH, hole, 500), 0);
        memset(p + hole, 0, 500);
    }
    assert_int_equal(chunk_of(f, g, 0).n_hole, CHUNK_MIDDLE);
    /* What filling up has left over. */
    for (; fix_fallocate(f, g, PUNCH, at, 10) == 0; at += CFS_BLOCK)
        memset(p + at, 0, 10);
    assert_int_equal(fix_fallocate(f, g, PUNCH, at, 10), -ENOSPC);
    packed = chunk_of(f, g, 0).packed;
    assert_true(packed >> 28);
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
        assert_int_equal(fix_fallocate(f, g, PUNCH, i * CFS_BLOCK, 20), 0);
        assert_int_equal(fix_fallocate(f, g, PUNCH, (i + 1) * CFS_BLOCK - 20,
                                       20), 0);
        memset(p + i * CFS_BLOCK, 0, 20);
        memset(p + (i + 1) * CFS_BLOCK - 20, 0, 20);
    }
    assert_int_equal(chunk_of(f, g, 0).n_hole,
                     CHUNK_MIDDLE + 2 * (unsigned)__builtin_popcount(packed));
    fix_expect(f, g, p, CHUNK_BYTES);
    fix_reopen(f, FIX_KILL);
    fix_expect(f, g, p, CHUNK_BYTES);
    assert_int_equal(fix_truncate(f, all, 0), 0); /* there is a block again */
    fix_idle(f);
    fix_settle(f);
    assert_int_equal(fix_fallocate(f, g, PUNCH, at, 10), 0);
    memset(p + at, 0, 10);
    assert_int_equal(chunk_of(f, g, 0).packed,
                     packed & ~(UINT32_C(1) << at / CFS_BLOCK));
    fix_reopen(f, FIX_CLEAN);
    fix_expect(f, g, p, CHUNK_BYTES);
    assert_int_equal(fix_truncate(f, g, 70001), 0);
    fix_expect(f, g, p, 70001);
    free(p);
}

static void a_full_brick_lets_packed_files_shrink(void **state)
{
    const unsigned n = 300;
    struct fix *f = *state;
    struct cfs_gfid g[300], all = fix_file(f, "all");
    uint8_t *p = fix_pattern(CHUNK_BYTES, 6);
    uint64_t left;

    for (unsigned i = 0; i < n; i++) {
        char name[16];

        snprintf(name, sizeof name, "file-%u", i);
        g[i] = fix_file(f, name);
        assert_int_equal(fix_write(f, g[i], 0, p, CHUNK_BYTES), 0);
    }
    fill_up(f, all);
    left = free_blocks(f);
    for (unsigned i = 0; i < n; i++) {
        const uint32_t size = 1 + i * 400;

        assert_int_equal(fix_fallocate(f, g[i], PUNCH, size / 3,
                                       CFS_BLOCK + i), 0);
        assert_int_equal(fix_fallocate(f, g[i], PUNCH, 1, 1 + i), 0);
        assert_int_equal(fix_fallocate(f, g[i], PUNCH, 1000, 2000), 0);
        assert_int_equal(fix_truncate(f, g[i], size), 0);
    }
    assert_true(free_blocks(f) + 8 >= left);
    fix_reopen(f, FIX_KILL);
    for (unsigned i = 0; i < n; i++) {
        const uint32_t size = 1 + i * 400;
        uint8_t *want = malloc(CHUNK_BYTES);

        memcpy(want, p, CHUNK_BYTES);
        memset(want + size / 3, 0, CFS_BLOCK + i);
        memset(want + 1, 0, 1 + i);
        memset(want + 1000, 0, 2000);
        fix_expect(f, g[i], want, size);
        free(want);
    }
    free(p);
}

/* -- the feature ---------------------------------------------------------- */

static void without_the_option_there_is_no_pack(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "plain"), h;
    uint8_t *p = fix_pattern(CHUNK_BYTES, 4);
    struct rec_chunk c;
    uint8_t byte;

    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    assert_int_equal(chunk_of(f, g, 0).packed, 0);
    assert_false(is_marked(f));
    /* With it from the next start on, which the superblock says for good. */
    f->config.pack = f->config.eng.packs = true;
    fix_reopen(f, FIX_CLEAN);
    assert_true(is_marked(f));
    h = fix_file(f, "packed");
    assert_int_equal(fix_write(f, h, 0, p, CHUNK_BYTES), 0);
    c = chunk_of(f, h, 0);
    assert_int_equal(c.packed, UINT32_MAX);
    f->config.pack = f->config.eng.packs = false;
    fix_reopen(f, FIX_KILL);
    assert_true(is_marked(f));
    fix_expect(f, g, p, CHUNK_BYTES);
    fix_expect(f, h, p, CHUNK_BYTES);
    assert_int_equal(fix_write(f, h, 0, p, CHUNK_BYTES), 0);
    assert_int_equal(chunk_of(f, h, 0).packed, 0);
    /* One in a brick that does not say so is damage. */
    f->check = NULL;
    ops_engine(f->ops)->sb.incompat &= ~(uint64_t)FMT_PACKED;
    put_chunk(f, h, 0, &c);
    assert_int_equal(fix_read(f, h, 0, &byte, 1), -CFS_E_CORRUPT);
    free(p);
}

/* Set while it runs: nothing is compressed before the superblock says so,
 * durably; reset: nothing any more; both without a start. */
static void the_option_may_change_while_it_runs(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *p = fix_pattern(CHUNK_BYTES, 4);
    struct cfs_gfid h;

    ops_reconfigure(f->ops, f->config.small_file, true);
    assert_false(is_marked(f));
    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    assert_int_equal(chunk_of(f, g, 0).packed, 0);
    fix_settle(f);
    assert_true(is_marked(f));
    assert_int_equal(eng_copies(ops_engine(f->ops)), 0); /* none differs */
    h = fix_file(f, "packed");
    assert_int_equal(fix_write(f, h, 0, p, CHUNK_BYTES), 0);
    assert_int_equal(chunk_of(f, h, 0).packed, UINT32_MAX);
    fix_reopen(f, FIX_KILL);
    assert_true(is_marked(f));
    fix_expect(f, g, p, CHUNK_BYTES);
    fix_expect(f, h, p, CHUNK_BYTES);
    ops_reconfigure(f->ops, f->config.small_file, true);
    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    assert_int_equal(chunk_of(f, g, 0).packed, UINT32_MAX);
    ops_reconfigure(f->ops, f->config.small_file, false);
    assert_int_equal(fix_write(f, h, 0, p, CHUNK_BYTES), 0);
    assert_int_equal(chunk_of(f, h, 0).packed, 0);
    fix_expect(f, g, p, CHUNK_BYTES);
    free(p);
}

/* -- damage --------------------------------------------------------------- */

static void write_blocks(struct fix *f, uint64_t lba, uint8_t *data,
                         uint32_t n)
{
    struct iovec iov = {data, n * CFS_BLOCK};

    assert_int_equal(f->dev->ops->write(f->dev, CFS_DEV_BUFFERED,
                                        lba * CFS_BLOCK, &iov, 1,
                                        n * CFS_BLOCK), 0);
}

static void read_blocks(struct fix *f, uint64_t lba, uint8_t *data,
                        uint32_t n)
{
    assert_int_equal(f->dev->ops->read(f->dev, CFS_DEV_BUFFERED,
                                       lba * CFS_BLOCK, data,
                                       n * CFS_BLOCK), 0);
}

static void flip(struct fix *f, const struct rec_chunk *c, uint32_t at)
{
    uint8_t *data = aligned_alloc(CFS_BLOCK, CFS_BLOCK);

    read_blocks(f, c->pack[0].lba + at / CFS_BLOCK, data, 1);
    data[at % CFS_BLOCK] ^= 0x20;
    write_blocks(f, c->pack[0].lba + at / CFS_BLOCK, data, 1);
    free(data);
}

static void a_damaged_pack_is_never_returned(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file"), h = fix_file(f, "other");
    uint8_t *p = fix_pattern(CHUNK_BYTES, 7), *got = malloc(CHUNK_BYTES);
    struct rec_chunk c;

    f->check = NULL; /* which would find it, too */
    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    c = chunk_of(f, g, 0);
    /* Also in the zeros behind LZ4's bytes. */
    for (uint32_t at = 0; at < rec_pack_blocks(&c.pack[0]) * CFS_BLOCK;
         at += 777) {
        flip(f, &c, at);
        assert_int_equal(fix_read(f, g, 0, got, CHUNK_BYTES),
                         -CFS_E_CHECKSUM);
        assert_int_equal(fix_read(f, g, 50000, got, 1), -CFS_E_CHECKSUM);
        flip(f, &c, at);
    }
    fix_expect(f, g, p, CHUNK_BYTES);
    flip(f, &c, 100);
    /* Nor does it get into a new block. */
    assert_int_equal(fix_write(f, g, 8200, "x", 1), -CFS_E_CHECKSUM);
    assert_int_equal(fix_copy(f, g, 8000, h, 0, 1000, NULL),
                     -CFS_E_CHECKSUM);
    /* A hole needs no look at it, and makes it no better. */
    assert_int_equal(fix_fallocate(f, g, PUNCH, 8200, 50), 0);
    assert_int_equal(fix_read(f, g, 8200, got, 1), -CFS_E_CHECKSUM);
    /* What replaces it whole makes it good. */
    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    fix_expect(f, g, p, CHUNK_BYTES);
    free(p);
    free(got);
}

/* What is written anew with the rest of its chunk, because much of it is not
 * in use any more, is written alone when the rest cannot be had. */
static void a_damaged_pack_does_not_keep_others_from_being_written(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *p = half_noise(), *got = malloc(CHUNK_BYTES);
    struct rec_chunk c;

    f->check = NULL; /* which would find it, too */
    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    c = chunk_of(f, g, 0);
    flip(f, &c, 100);
    for (unsigned i = 0; i < CHUNK_BLOCKS - 1; i++) {
        assert_int_equal(fix_write(f, g, i * CFS_BLOCK, p + i * CFS_BLOCK,
                                   CFS_BLOCK), 0);
        c = chunk_of(f, g, 0);
        assert_int_equal(__builtin_popcount(c.packed), CHUNK_BLOCKS - 1 - i);
    }
    assert_true(blocks_of(&c) > CHUNK_BLOCKS + CHUNK_BLOCKS / 4);
    assert_int_equal(fix_read(f, g, 0, got, CHUNK_BYTES - CFS_BLOCK),
                     CHUNK_BYTES - CFS_BLOCK);
    assert_memory_equal(got, p, CHUNK_BYTES - CFS_BLOCK);
    assert_int_equal(fix_read(f, g, CHUNK_BYTES - 1, got, 1),
                     -CFS_E_CHECKSUM);
    assert_int_equal(fix_write(f, g, CHUNK_BYTES - 1, p, 1), -CFS_E_CHECKSUM);
    assert_int_equal(fix_write(f, g, CHUNK_BYTES - CFS_BLOCK,
                               p + CHUNK_BYTES - CFS_BLOCK, CFS_BLOCK), 0);
    fix_expect(f, g, p, CHUNK_BYTES);
    free(p);
    free(got);
}

/* A pack whose checksum is right, and whose rest is @seed's. */
static void forge(struct fix *f, struct cfs_gfid g,
                  const struct rec_chunk *good, unsigned seed)
{
    const uint32_t n = rec_pack_blocks(&good->pack[0]);
    uint8_t *data = aligned_alloc(CFS_BLOCK, CHUNK_BYTES);
    uint8_t *noise = fix_noise(CHUNK_BYTES, seed);
    struct rec_chunk c = *good;

    read_blocks(f, c.pack[0].lba, data, n);
    switch (seed % 5) {
    case 0: /* any bytes */
        memcpy(data, noise, n * CFS_BLOCK);
        break;
    case 1: /* some others */
        for (unsigned i = 0; i < 1 + seed % 7; i++)
            data[(noise[2 * i] * 256u + noise[2 * i + 1]) % c.pack[0].len] ^=
                noise[40 + i] | 1;
        break;
    case 2: /* shorter */
        c.pack[0].len = 1 + (noise[0] * 256u + noise[1]) % (c.pack[0].len - 1);
        break;
    case 3: /* it holds fewer than its bytes are */
        c.packed = c.mapped = 0xffff;
        c.pack[0].held = c.pack[0].live = 0xffff;
        c.pack[0].len = c.pack[0].len < 15 * CFS_BLOCK ? c.pack[0].len : 15 * CFS_BLOCK;
        break;
    default: /* a block is not what the record says */
        c.sum[noise[0] % CHUNK_BLOCKS] ^= 1;
    }
    c.pack[0].sum = XXH3_64bits(data, rec_pack_blocks(&c.pack[0]) * CFS_BLOCK);
    write_blocks(f, c.pack[0].lba, data, n);
    put_chunk(f, g, 0, &c);
    free(data);
    free(noise);
}

static void a_forged_pack_is_an_error(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = fix_file(f, "file");
    uint8_t *p = fix_pattern(CHUNK_BYTES, 8), *got = malloc(CHUNK_BYTES);
    uint8_t *was = aligned_alloc(CFS_BLOCK, CHUNK_BYTES);
    struct rec_chunk good, c;

    f->check = NULL;
    assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
    good = chunk_of(f, g, 0);
    read_blocks(f, good.pack[0].lba, was, rec_pack_blocks(&good.pack[0]));
    for (unsigned seed = 0; seed < 200; seed++) {
        forge(f, g, &good, seed);
        assert_int_equal(fix_read(f, g, 0, got, CHUNK_BYTES),
                         -CFS_E_CHECKSUM);
        write_blocks(f, good.pack[0].lba, was, rec_pack_blocks(&good.pack[0]));
    }
    for (unsigned i = 0; i < 3; i++) {
        static const uint64_t lba[] = {1, 300, (UINT64_C(1) << 48) - 2};

        c = good;
        c.pack[0].lba = lba[i];
        put_chunk(f, g, 0, &c);
        assert_int_equal(fix_read(f, g, 0, got, 1), -CFS_E_CORRUPT);
        assert_int_equal(fix_write(f, g, 1, "x", 1), -CFS_E_CORRUPT);
        assert_int_equal(fix_truncate(f, g, 0), -CFS_E_CORRUPT);
    }
    put_chunk(f, g, 0, &good);
    fix_expect(f, g, p, CHUNK_BYTES);
    free(was);
    free(p);
    free(got);
}

/* -- fsck ----------------------------------------------------------------- */

static void on_found(void *ctx, const struct fsck_finding *found)
{
    unsigned *n = ctx;

    *n += !found->known; /* else a repair has said that it is lost */
    if (getenv("CFS_TELL"))
        print_message("  %s: %s\n", found->kind, found->text);
}

static void repair(struct fix *f, unsigned *ret_found)
{
    struct fsck_repair_config config = {.data = true, .found = on_found,
                                        .ctx = ret_found};
    struct fsck_repair_result r = {0};
    struct cfs_err err = {0};
    struct tool_brick b;
    struct fsck_early early;

    *ret_found = 0;
    assert_int_equal(fsck_repair_open(f->loop, f->dev, "test", &config, &b,
                                      &early, &err), 0);
    if (fsck_repair(&b, &early, &config, &r, &err) < 0)
        fail_msg("repair: %s", err.text);
    tool_close_keep(&b);
}

enum plant { FLIPPED, STRANGE, SHARED, INTO, BEHIND, N_PLANT };

/* Something is wrong with @g's pack; @h's may be involved. */
static void plant(struct fix *f, enum plant what, struct cfs_gfid g,
                  struct cfs_gfid h)
{
    struct rec_chunk c = chunk_of(f, g, 0), other = chunk_of(f, h, 0);

    switch (what) {
    case FLIPPED:
        flip(f, &c, 50);
        return;
    case STRANGE:
        c.pack[0].lba = 2;
        break;
    case SHARED:
        c.pack[0].lba = other.pack[0].lba;
        break;
    case INTO: /* overlaps in some blocks */
        c.pack[0].lba = other.pack[0].lba + 1;
        break;
    default: /* more blocks than its file counts */
        c.packed &= ~(uint32_t)2;
        c.pack[0].live &= ~(uint32_t)2;
        c.mapped &= ~(uint32_t)2;
    }
    put_chunk(f, g, 0, &c);
}

static void a_repair_makes_it_sound_and_keeps_the_rest(void **state)
{
    uint8_t *p = fix_pattern(CHUNK_BYTES, 11), *got = malloc(CHUNK_BYTES);
    uint8_t *q = fix_pattern(CHUNK_BYTES, 12);
    uint8_t *noise = fix_noise(CHUNK_BYTES / 2, 3);
    struct ops_config config = ops_config_default;

    /* Packs of more than a block. */
    memcpy(p, noise, CHUNK_BYTES / 2);
    memcpy(q + CHUNK_BYTES / 2, noise, CHUNK_BYTES / 2);
    config.pack = config.eng.packs = true;
    for (int what = 0; what < N_PLANT; what++) {
        struct fix *f = calloc(1, sizeof *f);
        struct cfs_gfid g, h;
        unsigned found;

        fix_open(f, &config);
        g = fix_file(f, "bad");
        h = fix_file(f, "good");
        assert_int_equal(fix_write(f, g, 0, p, CHUNK_BYTES), 0);
        assert_int_equal(fix_write(f, h, 0, q, CHUNK_BYTES), 0);
        plant(f, (enum plant)what, g, h);
        fix_halt(f);
        repair(f, &found);
        assert_true(found > 0);
        repair(f, &found);
        assert_int_equal(found, 0);
        fix_fsck(f);
        assert_int_equal(fix_start(f), 0);
        fix_next_view(f, true);
        fix_expect(f, h, q, CHUNK_BYTES);
        assert_true(fix_read(f, g, CFS_BLOCK, got, CFS_BLOCK) < 0);
        fix_close(f);
        free(f);
    }
    free(noise);
    free(p);
    free(q);
    free(got);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(compressible_data_takes_fewer_blocks),
        T(what_cannot_be_compressed_stays_as_it_is),
        T(a_pack_goes_with_its_last_block),
        T(a_stream_of_small_writes_is_compressed),
        T(packs_never_take_more_than_twice_the_space),
        T(random_overwrites_do_not_undo_it),
        T(a_chunk_has_eight_packs),
        T(what_is_packed_ahead_lies_in_one_piece),
        T(what_is_packed_ahead_gets_its_due),
        T(what_is_cut_off_reads_as_zeros),
        T(a_chunk_notes_many_holes),
        T(a_full_brick_lets_packed_files_shrink),
        cmocka_unit_test_setup_teardown(without_the_option_there_is_no_pack,
                                        setup_without, teardown),
        cmocka_unit_test_setup_teardown(the_option_may_change_while_it_runs,
                                        setup_without, teardown),
        T(a_damaged_pack_is_never_returned),
        T(a_damaged_pack_does_not_keep_others_from_being_written),
        T(a_forged_pack_is_an_error),
        cmocka_unit_test(a_repair_makes_it_sound_and_keeps_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
