/* SPDX-License-Identifier: Apache-2.0 */
/* test_rec.c - records of the tree and of the journal: what is packed comes
 * back, keys sort by their fields, and no bytes whatever are trusted. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/cfs_test.h"
#include "xlators/storage/block/jrec.h"

static uint64_t seed = 1;

static uint64_t rnd(void)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return seed >> 16;
}

static struct cfs_gfid any_gfid(void)
{
    struct cfs_gfid g;

    for (unsigned i = 0; i < sizeof g.b; i++)
        g.b[i] = (uint8_t)rnd();
    return g;
}

static struct cfs_time any_time(void)
{
    return (struct cfs_time){(int64_t)rnd() - (1 << 30),
                             (uint32_t)(rnd() % 1000000000)};
}

/* -- keys ----------------------------------------------------------------- */

static int key_cmp(const struct rec_key *a, const struct rec_key *b)
{
    size_t n = a->len < b->len ? a->len : b->len;
    int c = memcmp(a->b, b->b, n);

    return c != 0 ? c : (int)a->len - (int)b->len;
}

static void keys_sort_by_their_fields(void **state)
{
    struct cfs_gfid g = any_gfid();
    struct rec_key a, b, hi;

    for (unsigned i = 0; i < 1000; i++) {
        uint64_t x = rnd() >> (rnd() % 48), y = rnd() >> (rnd() % 48);

        rec_key_gfid_u64(&a, REC_CHUNK, g, x);
        rec_key_gfid_u64(&b, REC_CHUNK, g, y);
        assert_int_equal(key_cmp(&a, &b) < 0, x < y);
        rec_key_change(&a, REC_OPLOG, 5, x);
        rec_key_change(&b, REC_OPLOG, 5, y);
        assert_int_equal(key_cmp(&a, &b) < 0, x < y);
        rec_key_view(&a, x, 9);
        rec_key_view(&b, y, 1);
        assert_int_equal(key_cmp(&a, &b) < 0, x < y);
    }
    rec_key_gfid(&a, REC_CHUNK, g);
    rec_key_after(&hi, &a);
    rec_key_gfid_u64(&b, REC_CHUNK, g, UINT64_MAX);
    assert_true(key_cmp(&a, &b) < 0 && key_cmp(&b, &hi) < 0);
}

static void the_key_after_all_ones_is_still_after(void **state)
{
    struct cfs_gfid g;
    struct rec_key a, hi, next;

    memset(g.b, 0xff, sizeof g.b);
    rec_key_gfid(&a, REC_CHUNK, g);
    rec_key_after(&hi, &a);
    rec_key_table(&next, (enum rec_table)(REC_CHUNK + 1));
    assert_int_equal(key_cmp(&hi, &next), 0);
}

static void keys_come_apart_as_they_were_made(void **state)
{
    struct cfs_gfid g = any_gfid();
    struct rec_key k;
    struct rec_id id;

    rec_key_name(&k, REC_DIRENT, g, cfs_test_name("name"));
    assert_int_equal(rec_key_parse(rec_key_blob(&k), &id), 0);
    assert_int_equal(id.table, REC_DIRENT);
    assert_gfid_equal(id.gfid, g);
    assert_int_equal(id.name.len, 4);
    rec_key_gfid_u64(&k, REC_REMOVAL, g, END_XATTRS);
    assert_int_equal(rec_key_parse(rec_key_blob(&k), &id), 0);
    assert_true(id.n == END_XATTRS);
    rec_key_change(&k, REC_ANSWER, 7, 8);
    assert_int_equal(rec_key_parse(rec_key_blob(&k), &id), 0);
    assert_int_equal(id.session, 7);
    assert_int_equal(id.n, 8);
    k.len--;
    assert_int_equal(rec_key_parse(rec_key_blob(&k), &id), -CFS_E_CORRUPT);
    rec_key_name(&k, REC_DIRENT, g, cfs_test_name("a/b"));
    assert_int_equal(rec_key_parse(rec_key_blob(&k), &id), -CFS_E_CORRUPT);
}

/* -- values --------------------------------------------------------------- */

static struct rec_inode any_inode(uint32_t type)
{
    struct rec_inode i = {
        .version = {rnd(), rnd()},
        .mode = type | (rnd() & 07777),
        .nlink = (uint32_t)rnd(),
        .uid = (uint32_t)rnd(),
        .gid = (uint32_t)rnd(),
        .dirty = (uint32_t)rnd(),
        .n_xattr = (uint16_t)(rnd() % (XATTR_COUNT + 1)),
        .size = rnd() % CFS_FILE_MAX,
        .atime = any_time(),
        .mtime = any_time(),
        .ctime = any_time(),
        .btime = any_time(),
    };

    if (S_ISREG(type)) {
        i.blocks = rnd();
        i.marks = (uint32_t)rnd();
        i.flags = rnd() % 2 ? REC_INLINE : 0;
    } else if (S_ISDIR(type)) {
        i.parent = any_gfid();
        i.entries = rnd();
    } else if (S_ISCHR(type) || S_ISBLK(type)) {
        i.rdev = rnd();
    }
    return i;
}

static void inodes_come_back(void **state)
{
    static const uint32_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR,
                                     S_IFBLK, S_IFIFO, S_IFSOCK};
    uint8_t v[REC_INODE_MAX];

    for (unsigned n = 0; n < 700; n++) {
        struct rec_inode i = any_inode(types[n % 7]), back;
        uint32_t len = rec_inode_pack(&i, v);

        memset(&back, 0, sizeof back);
        assert_int_equal(rec_inode_unpack((struct cfs_blob){v, len}, &back),
                         0);
        assert_memory_equal(&i, &back, sizeof i);
        for (uint32_t cut = 0; cut < len; cut++)
            assert_int_equal(rec_inode_unpack((struct cfs_blob){v, cut},
                                              &back), -CFS_E_CORRUPT);
    }
}

static struct rec_chunk any_chunk(void)
{
    struct rec_chunk c = {0};
    uint64_t lba = 1 + rnd() % 1000;

    do {
        for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
            uint64_t r = rnd() % 8;

            if (r == 0)
                continue;
            lba = r == 1 ? rnd() % (UINT64_C(1) << 47) : lba + 1;
            c.mapped |= 1u << i;
            c.lba[i] = lba;
            if (r == 2)
                c.unwritten |= 1u << i;
            else
                c.sum[i] = rnd();
        }
    } while (!c.mapped);
    return c;
}

/* Block @at is in @p now. */
static void pack_one(struct rec_chunk *c, struct rec_pack *p, unsigned at)
{
    p->live |= 1u << at;
    c->packed |= 1u << at;
    c->mapped |= 1u << at;
    c->unwritten &= ~(1u << at);
    c->lba[at] = 0;
    c->sum[at] = rnd();
}

static void any_holes(struct rec_chunk *c, unsigned at)
{
    for (uint64_t n = rnd() % 4; n > 0; n--) {
        uint32_t from = (uint32_t)(rnd() % CFS_BLOCK);

        rec_chunk_cut(c, at, from,
                      from + (uint32_t)(rnd() % (CFS_BLOCK - from)) + 1);
    }
}

/* With packs in place of some of its blocks, which may hold others, too. */
static struct rec_chunk any_packed(void)
{
    struct rec_chunk c = any_chunk();
    const unsigned n = 1 + (unsigned)(rnd() % CHUNK_PACKS);
    const unsigned part = CHUNK_BLOCKS / n;

    for (unsigned k = 0; k < n; k++) {
        struct rec_pack *p = &c.pack[k];
        const unsigned from = (n - 1 - k) * part;

        *p = (struct rec_pack){.lba = rnd() >> 17, .sum = rnd()};
        for (unsigned i = from; i < from + part; i++) {
            p->held |= 1u << i;
            if (i == from || rnd() % 4 != 0)
                pack_one(&c, p, i);
        }
        if (from > 0 && rnd() % 2)
            p->held |= 1; /* which is elsewhere, or nowhere */
        p->len = 1 + (uint32_t)(rnd() % ((part - 1) * CFS_BLOCK));
    }
    c.n_pack = (uint8_t)n;
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if ((c.packed >> i & 1) && rnd() % 3 == 0)
            any_holes(&c, i);
    return c;
}

static void chunks_come_back(void **state)
{
    uint8_t v[REC_CHUNK_MAX];
    struct rec_chunk back;

    for (unsigned n = 0; n < 2000; n++) {
        struct rec_chunk c = any_chunk();
        uint32_t len = rec_chunk_pack(&c, v);

        assert_int_equal(rec_chunk_unpack((struct cfs_blob){v, len}, &back),
                         0);
        assert_memory_equal(&c, &back, sizeof c);
    }
}

static void packed_chunks_come_back(void **state)
{
    uint8_t v[REC_CHUNK_MAX], w[REC_CHUNK_MAX];
    struct rec_chunk back;

    for (unsigned n = 0; n < 2000; n++) {
        struct rec_chunk c = any_packed();
        uint32_t len = rec_chunk_pack(&c, v);

        assert_int_equal(rec_chunk_unpack((struct cfs_blob){v, len}, &back),
                         0);
        assert_int_equal(back.mapped, c.mapped);
        assert_int_equal(back.unwritten, c.unwritten);
        assert_int_equal(back.packed, c.packed);
        assert_int_equal(back.cut, c.cut);
        assert_memory_equal(back.lba, c.lba, sizeof c.lba);
        assert_int_equal(rec_chunk_pack(&back, w), len);
        assert_memory_equal(v, w, len);
        for (uint32_t cut = 0; cut < len; cut++)
            assert_int_equal(rec_chunk_unpack((struct cfs_blob){v, cut},
                                              &back), -CFS_E_CORRUPT);
    }
}

static void a_pack_that_cannot_be_is_refused(void **state)
{
    const struct rec_chunk good = {
        .mapped = 0xfff, .packed = 0xff, .n_pack = 2, .n_hole = 3,
        .pack = {{.lba = 500, .len = 9000, .held = 0x1f, .live = 0xf},
                 {.lba = 900, .len = 4096, .held = 0xf0, .live = 0xf0}},
        .hole = {{1, 0, 9}, {2, 9, 10}, {2, 12, 4096}},
        .lba = {[8] = 900, 901, 902, 903}};
    struct rec_chunk bad[17], back;
    uint8_t v[REC_CHUNK_MAX];
    uint32_t len = rec_chunk_pack(&good, v);

    assert_int_equal(rec_chunk_unpack((struct cfs_blob){v, len}, &back), 0);
    assert_int_equal(back.cut, 6);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(bad); i++)
        bad[i] = good;
    bad[0].pack[0].len = 0;
    bad[1].pack[0].len = 4 * CFS_BLOCK + 1; /* saves nothing */
    bad[2].pack[0].len = UINT32_MAX;
    bad[3].pack[0].held = 0x1e; /* not what is in it */
    bad[4].pack[0].held = 0;
    bad[5].pack[1].live = 0xe8; /* in both */
    bad[6].pack[1].live = 0;
    bad[7].n_pack = 0;
    bad[8].hole[2].at = 8; /* what is not packed */
    bad[9].hole[2].at = CHUNK_BLOCKS;
    bad[10].hole[0] = (struct rec_hole){1, 10, 9};
    bad[11].hole[0] = (struct rec_hole){1, 9, 9};
    bad[12].hole[2].upto = 4097;
    bad[13].hole[2].from = 10; /* is one with that before */
    bad[14].hole[0].at = 3; /* not in order */
    bad[15].pack[1] = (struct rec_pack){.lba = 900, .len = 30 * CFS_BLOCK,
                                        .held = UINT32_MAX, .live = 0xf0};
    bad[16].pack[1].live = 0x1f0; /* lies elsewhere, too */
    bad[16].pack[1].held = 0x1f0;
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(bad); i++) {
        len = rec_chunk_pack(&bad[i], v);
        if (rec_chunk_unpack((struct cfs_blob){v, len}, &back) !=
            -CFS_E_CORRUPT)
            fail_msg("number %u", i);
    }
    /* More than there can be: behind the runs, and behind the packs. */
    len = rec_chunk_pack(&good, v);
    v[10] = CHUNK_PACKS + 1;
    assert_int_equal(rec_chunk_unpack((struct cfs_blob){v, len}, &back),
                     -CFS_E_CORRUPT);
    v[10] = 2;
    assert_int_equal(v[11 + 2 * 26], 3);
    v[11 + 2 * 26] = CHUNK_HOLES + 1;
    assert_int_equal(rec_chunk_unpack((struct cfs_blob){v, len}, &back),
                     -CFS_E_CORRUPT);
}

/* Against a map of the bytes. */
static void cutting_is_exact_or_refused(void **state)
{
    uint8_t v[REC_CHUNK_MAX];
    unsigned refused = 0;

    for (unsigned n = 0; n < 100; n++) {
        struct rec_chunk c = any_packed();
        const unsigned at = (unsigned)__builtin_ctz(c.packed);
        bool live[CFS_BLOCK];

        memset(live, true, sizeof live);
        for (unsigned i = 0; i < c.n_hole; i++)
            if (c.hole[i].at == at)
                memset(live + c.hole[i].from, false,
                       c.hole[i].upto - c.hole[i].from);
        for (unsigned k = 0; k < 100; k++) {
            uint32_t from = (uint32_t)(rnd() % CFS_BLOCK);
            uint32_t upto = from + (uint32_t)((rnd() % (CFS_BLOCK - from)) >>
                                              (k % 50 ? 7 : rnd() % 12)) + 1;
            const struct rec_chunk was = c;
            unsigned i = 0;

            if (k % 5 == 3)
                from = 0, upto = 1 + (uint32_t)(rnd() % 20);
            if (k % 5 == 4)
                from = CFS_BLOCK - 1 - (uint32_t)(rnd() % 20), upto = CFS_BLOCK;
            if (!rec_chunk_cut(&c, at, from, upto)) {
                assert_true(from > 0 && upto < CFS_BLOCK);
                assert_true(c.n_hole >= CHUNK_MIDDLE);
                assert_memory_equal(&c, &was, sizeof c);
                refused++;
                continue;
            }
            assert_true(c.cut >> at & 1);
            memset(live + from, false, upto - from);
            for (uint32_t b = 0; b < CFS_BLOCK; b++) {
                while (i < c.n_hole && (c.hole[i].at < at ||
                                        (c.hole[i].at == at &&
                                         c.hole[i].upto <= b)))
                    i++;
                assert_int_equal(live[b], i == c.n_hole ||
                                              c.hole[i].at != at ||
                                              b < c.hole[i].from);
            }
        }
        /* As it can be stored. */
        assert_int_equal(rec_chunk_unpack((struct cfs_blob){v,
                                              rec_chunk_pack(&c, v)}, &c), 0);
    }
    assert_true(refused > 100);
}

static void dropping_gives_each_block_back_once(void **state)
{
    for (unsigned n = 0; n < 500; n++) {
        struct rec_chunk c = any_packed();
        uint32_t plain = (uint32_t)__builtin_popcount(c.mapped & ~c.packed);
        uint32_t in_packs = 0;

        for (unsigned i = 0; i < c.n_pack; i++)
            in_packs += rec_pack_blocks(&c.pack[i]);
        while (c.mapped) {
            unsigned at = (unsigned)(rnd() % CHUNK_BLOCKS);
            const unsigned packs = c.n_pack;
            struct rec_pack p = {0};
            struct eng_ext x;

            if (!(c.mapped >> at & 1))
                continue;
            if (c.packed >> at & 1)
                p = *rec_chunk_pack_of(&c, at);
            x = rec_chunk_drop(&c, at);
            if (p.live == 0) {
                assert_int_equal(x.n, 1);
                plain--;
            } else if (p.live == 1u << at) {
                assert_int_equal(x.lba, p.lba);
                assert_int_equal(c.n_pack, packs - 1);
                in_packs -= x.n;
            } else {
                assert_int_equal(x.n, 0);
                assert_int_equal(c.n_pack, packs);
            }
            for (unsigned i = 0; i < c.n_hole; i++)
                assert_true(c.packed >> c.hole[i].at & 1);
        }
        assert_int_equal(plain, 0);
        assert_int_equal(in_packs, 0);
        assert_int_equal(c.n_hole, 0);
    }
}

static void a_contiguous_chunk_is_small(void **state)
{
    struct rec_chunk c = {.mapped = UINT32_MAX};
    uint8_t v[REC_CHUNK_MAX];

    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        c.lba[i] = 5000 + i;
    /* 128 KiB of data: a fifth of a per cent. */
    assert_true(rec_chunk_pack(&c, v) <= 268);
    c.unwritten = UINT32_MAX;
    assert_int_equal(rec_chunk_pack(&c, v), 10);
}

static void the_rest_comes_back(void **state)
{
    struct cfs_view view = {.lineage = rnd(), .epoch = rnd(), .n_sync = 2,
                            .n_syncing = 3}, view2;
    struct rec_session s = {.s = {.no = 9, .pid = 3, .pid_start = rnd(),
                                  .state = SESSION_GIVEN}, .acked = rnd()}, s2;
    struct rec_brick b = {.session_max = 3, .session_floor = 2,
                          .clean = true, .inodes = 4, .dirty = 5,
                          .oplog = 6}, b2;
    struct rec_dirty d = {5, {1, 2}}, d2;
    uint8_t v[REC_SESSION_MAX];
    uint32_t len;

    for (unsigned i = 0; i < 5; i++)
        view.m[i] = (struct cfs_member){{{(uint8_t)i}}, rnd()};
    len = rec_view_pack(&view, v);
    assert_int_equal(rec_view_unpack((struct cfs_blob){v, len}, &view2), 0);
    assert_memory_equal(&view, &view2, sizeof view);
    memset(s.s.where, 'w', sizeof s.s.where - 1);
    strcpy(s.s.node, "node");
    len = rec_session_pack(&s, v);
    assert_int_equal(rec_session_unpack((struct cfs_blob){v, len}, 9, &s2),
                     0);
    assert_memory_equal(&s, &s2, sizeof s);
    memset(s.s.node, 'n', sizeof s.s.node - 1);
    memset(s.s.service, 's', sizeof s.s.service - 1);
    memset(s.s.owner, 'o', sizeof s.s.owner - 1);
    len = rec_session_pack(&s, v);
    assert_int_equal(rec_session_unpack((struct cfs_blob){v, len}, 9, &s2),
                     0);
    assert_memory_equal(&s, &s2, sizeof s);
    assert_int_equal(rec_session_unpack((struct cfs_blob){v, len - 1}, 9, &s2),
                     -CFS_E_CORRUPT);
    len = rec_brick_pack(&b, v);
    assert_int_equal(rec_brick_unpack((struct cfs_blob){v, len}, &b2), 0);
    assert_int_equal(b.oplog, b2.oplog);
    assert_int_equal(b.session_floor, b2.session_floor);
    assert_int_equal(b.clean, b2.clean);
    len = rec_dirty_pack(&d, v);
    assert_int_equal(rec_dirty_unpack((struct cfs_blob){v, len}, &d2), 0);
    assert_int_equal(d2.clean.seq, 2);
}

static void answers_come_back(void **state)
{
    struct rec_answer a = {.fop = CFS_FOP_RENAME, .pos = rnd(), .n = 4}, b;
    uint8_t v[REC_ANSWER_MAX];
    uint32_t len;

    for (unsigned i = 0; i < 4; i++) {
        struct rec_inode ino = any_inode(S_IFREG);

        if (i != 1) /* no victim */
            rec_inode_attr(&ino, any_gfid(), &a.attr[i]);
    }
    len = rec_answer_pack(&a, v);
    assert_int_equal(rec_answer_unpack((struct cfs_blob){v, len}, &b), 0);
    assert_memory_equal(&a, &b, sizeof a);
}

/* -- hostile bytes -------------------------------------------------------- */

/* Whatever a decoder accepts is what its packer would write. */
static void decode_all(struct cfs_blob b)
{
    uint8_t v[REC_ANSWER_MAX], c[REC_CHUNK_MAX];
    struct rec_inode ino;
    struct rec_chunk chunk;
    struct rec_dirent de;
    struct rec_cookie co;
    struct rec_session s;
    struct rec_answer *a = malloc(sizeof *a);
    struct cfs_view view;
    struct rec_id id;

    if (rec_inode_unpack(b, &ino) == 0) {
        assert_int_equal(rec_inode_pack(&ino, v), b.len);
        assert_memory_equal(v, b.p, b.len);
    }
    if (rec_chunk_unpack(b, &chunk) == 0)
        assert_true(chunk.mapped != 0 &&
                    (chunk.unwritten & ~chunk.mapped) == 0 &&
                    (chunk.packed & ~chunk.mapped) == 0 &&
                    (chunk.packed & chunk.unwritten) == 0 &&
                    (chunk.cut & ~chunk.packed) == 0 &&
                    chunk.n_pack <= CHUNK_PACKS &&
                    chunk.n_hole <= CHUNK_HOLES &&
                    rec_chunk_pack(&chunk, c) == b.len);
    if (rec_dirent_unpack(b, &de) == 0)
        assert_true(de.cookie > 0);
    if (rec_cookie_unpack(b, &co) == 0)
        assert_true(co.name.len > 0 && co.name.len <= CFS_NAME_MAX);
    if (rec_session_unpack(b, 1, &s) == 0)
        assert_true(strlen(s.s.where) < sizeof s.s.where);
    if (rec_answer_unpack(b, a) == 0)
        assert_true(a->n <= ANSWER_ATTRS);
    if (rec_view_unpack(b, &view) == 0)
        assert_true(view.n_sync + view.n_syncing <= CFS_SET_MAX);
    if (rec_key_parse(b, &id) == 0)
        assert_true(id.name.len <= CFS_NAME_MAX);
    free(a);
}

static void decode_journal(struct cfs_blob b)
{
    struct jrec_own *own = malloc(sizeof *own);
    struct jrec_change c;

    if (jrec_change_unpack(b, &c) == 0) {
        struct jrec_pack pack[JREC_PACKS];

        assert_true(c.n_seg <= JREC_SEGS && c.n_pack <= JREC_PACKS);
        jrec_packs_unpack(&c, pack);
    }
    for (int type = 0; type < 12; type++)
        if (jrec_own_unpack((enum jrec_type)type, b, own) == 0)
            assert_true(own->inodes.len % 32 == 0);
    free(own);
}

/* An exact copy, so that a sanitizer sees a step beyond it. */
static void decode_copy(const uint8_t *p, uint32_t len)
{
    uint8_t *copy = malloc(len ? len : 1);

    memcpy(copy, p, len);
    decode_all((struct cfs_blob){copy, len});
    decode_journal((struct cfs_blob){copy, len});
    free(copy);
}

static void mutate(uint8_t *v, uint32_t len)
{
    for (unsigned n = 0; n < 50; n++) {
        uint8_t m[REC_CHUNK_MAX];
        uint32_t cut = rnd() % 4 == 0 ? (uint32_t)(rnd() % (len + 1)) : len;

        memcpy(m, v, len);
        for (unsigned i = 0; i < 1 + rnd() % 3; i++)
            m[rnd() % len] = (uint8_t)rnd();
        decode_copy(m, cut);
    }
}

static void no_bytes_are_trusted(void **state)
{
    const struct jrec_pack two[] = {
        {.block = 3, .n = 4, .len = 5000, .pack_sum = 6, .sum = {1, 2, 3, 4}},
        {.block = 32, .n = 5, .len = 4096, .pack_sum = 9}};
    uint8_t v[2048], packs[2 * JREC_PACK_MAX];

    for (unsigned n = 0; n < 300; n++) {
        struct rec_inode i = any_inode(n % 2 ? S_IFREG : S_IFDIR);
        struct rec_chunk c = n % 2 ? any_chunk() : any_packed();
        struct rec_cookie co = {any_gfid(), S_IFREG, cfs_test_name("n")};
        struct jrec_change jc = {
            .fop = CFS_FOP_WRITE, .n_seg = 2, .seg = {{1, 1}, {5, 9}},
            .request = {"request", 7}};

        mutate(v, rec_inode_pack(&i, v));
        mutate(v, rec_chunk_pack(&c, v));
        mutate(v, rec_cookie_pack(&co, v));
        if (n % 2) {
            jc.how = JREC_PACKED;
            jc.n_pack = 2;
            jc.packs = (struct cfs_blob){packs, jrec_packs_pack(two, 2,
                                                                packs)};
        }
        jrec_change_pack(&jc, v);
        mutate(v, (uint32_t)jrec_change_size(&jc));
        for (unsigned k = 0; k < sizeof v; k++)
            v[k] = (uint8_t)rnd();
        decode_copy(v, (uint32_t)(rnd() % sizeof v));
    }
}

static void bodies_of_the_journal_come_back(void **state)
{
    uint8_t inodes[64], *v = malloc(JREC_OWN_MAX);
    struct jrec_own o = {.n = 77, .upto = 88, .gfid = any_gfid(),
                         .version = {3, 4}, .now = {5, 6}}, back;
    struct jrec_change c = {
        .fop = CFS_FOP_WRITE, .how = JREC_INLINE, .n_seg = 3,
        .seg = {{1, 2}, {3, 4}, {5, 6}}, .data_len = 9, .cut = 10,
        .bytes = {"bytes", 5}, .request = {"request", 7}}, c2;

    memset(inodes, 1, sizeof inodes);
    o.inodes = (struct cfs_blob){inodes, 64};
    for (int t = JREC_GENESIS; t <= JREC_REMOVE; t++) {
        enum jrec_type type = (enum jrec_type)t;
        uint32_t len;

        if (type == JREC_CHANGE)
            continue;
        len = jrec_own_pack(type, &o, v);
        assert_int_equal(jrec_own_unpack(type, (struct cfs_blob){v, len},
                                         &back), 0);
        if (type == JREC_CLEAR)
            assert_int_equal(jrec_inode_at(back.inodes, 1).expect.seq,
                             UINT64_C(0x0101010101010101));
        if (type == JREC_REMOVE)
            assert_int_equal(back.upto, 88);
        if (type == JREC_PURGE)
            assert_gfid_equal(back.gfid, o.gfid);
    }
    jrec_change_pack(&c, v);
    assert_int_equal(jrec_change_unpack(
        (struct cfs_blob){v, (uint32_t)jrec_change_size(&c)}, &c2), 0);
    assert_int_equal(c2.seg[2].block, 5);
    assert_int_equal(c2.cut, 10);
    assert_memory_equal(c2.bytes.p, "bytes", 5);
    assert_memory_equal(c2.request.p, "request", 7);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_sort_by_their_fields),
        cmocka_unit_test(the_key_after_all_ones_is_still_after),
        cmocka_unit_test(keys_come_apart_as_they_were_made),
        cmocka_unit_test(inodes_come_back),
        cmocka_unit_test(chunks_come_back),
        cmocka_unit_test(packed_chunks_come_back),
        cmocka_unit_test(a_pack_that_cannot_be_is_refused),
        cmocka_unit_test(cutting_is_exact_or_refused),
        cmocka_unit_test(dropping_gives_each_block_back_once),
        cmocka_unit_test(a_contiguous_chunk_is_small),
        cmocka_unit_test(the_rest_comes_back),
        cmocka_unit_test(answers_come_back),
        cmocka_unit_test(no_bytes_are_trusted),
        cmocka_unit_test(bodies_of_the_journal_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
