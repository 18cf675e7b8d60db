/* SPDX-License-Identifier: Apache-2.0 */
/* test_hostile.c - forged images: something is changed and every checksum
 * above it made right again, as somebody would who wants to do harm. Opening,
 * reading, checking and changing such a store may fail, but never crashes,
 * hangs, or leaves its memory. CFS_FORGERIES says how many (400). */
#include "tests/unit/cfs_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "tests/unit/eng_rig.h"
#include "tests/unit/forge.h"

#define MIB ((uint64_t)1024 * 1024)

static unsigned wanted(void)
{
    const char *s = getenv("CFS_FORGERIES");

    return s ? (unsigned)strtoul(s, NULL, 0) : 400;
}

/* -- forgeries ------------------------------------------------------------- */

static void scribble(uint8_t *p, size_t len, uint64_t *rnd)
{
    unsigned n = 1 + (unsigned)(rig_random(rnd) % 4);

    while (n-- > 0) {
        uint64_t v = rig_random(rnd);
        uint8_t *at = p + rig_random(rnd) % len;

        switch (v % 4) {
        case 0:
            *at ^= (uint8_t)(1u << (v >> 8) % 8);
            break;
        case 1:
            *at = (uint8_t)(v >> 8);
            break;
        case 2:
            *at = (uint8_t)(v & 256 ? 0xff : 0);
            break;
        case 3:
            ++*at;
            break;
        }
    }
}

/* A node somewhere below the root. */
static void lie_in_node(const struct forge *im, uint64_t *rnd)
{
    struct fmt_ckpt *c = forge_newest(im);
    uint8_t *page[NODE_LEVELS];
    unsigned slot[NODE_LEVELS], n = 0;
    struct fmt_ptr at = c->root, p;

    for (;;) {
        page[n] = forge_block(im, at.lba);
        if (page_level(page[n]) == 0 || rig_random(rnd) % 4 == 0)
            break;
        slot[n] = (unsigned)(rig_random(rnd) % page_n(page[n]));
        at = page_ptr(page[n], slot[n], 0);
        n++;
    }
    /* The head, the slots, a pointer, or anything. */
    switch (rig_random(rnd) % 4) {
    case 0:
        scribble(page[n], sizeof(struct fmt_node), rnd);
        break;
    case 1:
        scribble(page[n] + sizeof(struct fmt_node), 2 * page_n(page[n]) + 1,
                 rnd);
        break;
    case 2: /* the lengths of a cell */
        scribble(page_cell(page[n],
                           (unsigned)(rig_random(rnd) % page_n(page[n]))),
                 CELL_HEAD, rnd);
        break;
    case 3:
        scribble(page[n], NODE_SIZE, rnd);
        break;
    }
    while (n > 0) {
        n--;
        p = page_ptr(page[n], slot[n], 0);
        p.sum = forge_sum(im, page[n + 1] , NODE_SIZE);
        page_set_ptr(page[n], slot[n], 0, &p);
    }
    c->root.sum = forge_sum(im, page[0], NODE_SIZE);
    forge_seal_record(im, c);
}

/* One child in the place of another: twice in the tree. */
static void lie_in_graph(const struct forge *im, uint64_t *rnd)
{
    struct fmt_ckpt *c = forge_newest(im);
    uint8_t *root = forge_block(im, c->root.lba);
    struct fmt_ptr p;
    unsigned n = page_n(root);

    if (page_level(root) == 0)
        return;
    p = page_ptr(root, (unsigned)(rig_random(rnd) % n), 0);
    for (unsigned k = 0; k < 3; k++)
        page_set_ptr(root, (unsigned)(rig_random(rnd) % n), 0, &p);
    c->root.sum = forge_sum(im, root, NODE_SIZE);
    forge_seal_record(im, c);
}

static void lie_in_record(const struct forge *im, uint64_t *rnd)
{
    struct fmt_ckpt *c = forge_newest(im);

    scribble((uint8_t *)c + 24, c->len - 24, rnd);
    forge_seal_record(im, c);
}

static void lie_in_map(const struct forge *im, uint64_t *rnd)
{
    struct fmt_ckpt *c = forge_newest(im);
    struct fmt_top *top = (struct fmt_top *)(void *)(c + 1);
    uint8_t *ixp = forge_block(im, im->sb->grp_lba + top->place);
    struct fmt_index *ix = (struct fmt_index *)(void *)ixp;
    uint8_t *map = forge_block(im, im->sb->grp_lba + 2 + ix->page[0].place);

    if (rig_random(rnd) % 2) {
        scribble(map, rig_random(rnd) % 2 ? 400 : CFS_BLOCK, rnd);
        ix->page[0].sum = forge_sum(im, map, CFS_BLOCK);
        if (rig_random(rnd) % 2) {
            ix->page[0].free = 0;
            for (unsigned i = 0; i < CFS_BLOCK; i++)
                ix->page[0].free += 8u - (unsigned)__builtin_popcount(map[i]);
        }
    } else {
        scribble(ixp + 2048, 64, rnd);
    }
    top->sum = forge_sum(im, ixp, CFS_BLOCK);
    forge_seal_record(im, c);
}

static void lie_in_super(const struct forge *im, uint64_t *rnd)
{
    /* From the features on; the nonce, or nothing would be right. */
    uint64_t nonce = im->sb->nonce;

    scribble(im->bytes + offsetof(struct fmt_super, size), 64, rnd);
    im->sb->nonce = nonce;
    im->sb->sum = super_sum(im->sb);
}

/* A record of the journal, and all checksums behind it. */
static void lie_in_journal(const struct forge *im, uint64_t *rnd)
{
    struct fmt_ckpt *c = forge_newest(im);
    uint64_t size = im->sb->jrn_blocks * CFS_BLOCK, chain = c->jrn_chain;
    uint8_t *jrn = forge_block(im, im->sb->jrn_lba);
    uint64_t pos = c->jrn_start;
    unsigned victim = (unsigned)(rig_random(rnd) % 60);

    for (unsigned i = 0;; i++) {
        struct fmt_rec *h = (struct fmt_rec *)(void *)(jrn + pos % size);
        uint32_t len;

        if (h->magic != FMT_REC_MAGIC || h->pos != pos) {
            if (pos % CFS_BLOCK == 0)
                return;
            pos = (pos + CFS_BLOCK - 1) / CFS_BLOCK * CFS_BLOCK;
            i--;
            continue;
        }
        len = h->len;
        if (i == victim)
            scribble((uint8_t *)h + 4, rig_random(rnd) % 2 ? 20 : len - 4,
                     rnd);
        h->prev = chain;
        h->sum = 0;
        h->sum = chain = forge_sum(im, h, h->len < 65536 ? h->len : len);
        pos += len;
    }
}

/* -- the victim ------------------------------------------------------------ */

static int look(void *ctx, struct cfs_blob key, struct cfs_blob val)
{
    uint64_t *sum = ctx;

    *sum += XXH3_64bits(key.p, key.len);
    if (val.len > 0)
        *sum += XXH3_64bits(val.p, val.len);
    return 0;
}

static void count_bad(void *ctx, const char *fmt, ...)
{
    ++*(unsigned *)ctx;
}

static void ignore_used(void *ctx, struct eng_ext ext, const char *what)
{
}

/* Use it in every way. Returns whether it opened. */
static bool use(struct rig *r, uint64_t *rnd)
{
    struct cfs_blob none = {NULL, 0}, val;
    unsigned bad = 0;
    struct eng_check check = {
        .ctx = &bad, .bad = count_bad, .used = ignore_used};
    uint64_t sum = 0;
    char key[32];

    if (rig_open(r, NULL) < 0)
        return false;
    (void)eng_check(r->eng, &check);
    (void)eng_scan(r->eng, none, none, look, &sum);
    for (unsigned i = 0; i < 60; i++) {
        struct cfs_blob k = {key, (uint32_t)snprintf(
                                      key, sizeof key, "k%06" PRIu64,
                                      rig_random(rnd) % 3000)};

        (void)rig_get(r, k, &val);
        if (i % 3 == 0)
            (void)rig_put(r, k, (struct cfs_blob){key, 20});
        else if (i % 3 == 1)
            (void)rig_del(r, k);
        if (i % 20 == 19 && !r->conf.read_only)
            (void)rig_checkpoint(r);
    }
    rig_settle(r);
    if (rig_random(rnd) % 2)
        rig_close(r, true);
    else
        rig_kill(r);
    return true;
}

static void make_victim(struct rig *r)
{
    uint8_t *val = calloc(1, 6000);
    char key[32];

    rig_init(r, 32 * MIB);
    assert_int_equal(rig_open(r, NULL), 0);
    for (unsigned i = 0; i < 3000; i++) {
        struct cfs_blob k = {key, (uint32_t)snprintf(key, sizeof key,
                                                     "k%06u", i)};

        assert_int_equal(rig_put(r, k, (struct cfs_blob){
                                           val, i % 100 ? i % 90 : 6000}), 0);
    }
    assert_int_equal(rig_checkpoint(r), 0);
    for (unsigned i = 0; i < 60; i++) {
        struct cfs_blob k = {key, (uint32_t)snprintf(key, sizeof key,
                                                     "k%06u", i * 31)};
        struct eng_ext ext;
        struct eng_rec rec = {.ext = &ext, .n_ext = i % 4 == 0};
        struct rig_op op = {.key = k, .val = {val, i}};
        unsigned n;

        if (i % 4 == 0)
            assert_int_equal(eng_alloc(r->eng, 3, 0, 0, &ext, 1, &n), 0);
        assert_int_equal(rig_change(r, &op, 1, &rec, 0), 0);
    }
    assert_int_equal(rig_sync(r), 0);
    rig_kill(r);
    free(val);
}

typedef void forger(const struct forge *im, uint64_t *rnd);

static void try_all(forger *forge, unsigned n)
{
    struct rig victim, r;
    struct reccut *cut;
    unsigned opened = 0;

    make_victim(&victim);
    recdev_record(victim.dev);
    cut = reccut_new(victim.dev);
    rig_init(&r, 0);
    r.conf.cache_size = 4 * MIB;
    for (unsigned i = 0; i < n; i++) {
        uint64_t rnd = i;
        struct forge im;

        rig_swap_image(&r, reccut_image(cut, 0, 0));
        im = forge_of(recdev_bytes(r.dev), recdev_size(r.dev));
        forge(&im, &rnd);
        r.conf.read_only = r.conf.blocking = i % 3 == 0;
        opened += use(&r, &rnd);
        if (i % 3 == 1)
            (void)use(&r, &rnd);
        model_clear(&r.model);
    }
    printf("           %u of %u opened\n", opened, n);
    rig_fini(&r);
    reccut_free(cut);
    rig_fini(&victim);
}

static void a_forged_node_does_no_harm(void **state)
{
    try_all(lie_in_node, 2 * wanted());
}

static void a_tree_that_is_none_does_no_harm(void **state)
{
    try_all(lie_in_graph, wanted() / 8);
}

static void a_forged_checkpoint_record_does_no_harm(void **state)
{
    try_all(lie_in_record, wanted());
}

static void a_forged_space_map_does_no_harm(void **state)
{
    try_all(lie_in_map, wanted() / 2);
}

static void a_forged_superblock_does_no_harm(void **state)
{
    try_all(lie_in_super, wanted() / 2);
}

static void a_forged_journal_does_no_harm(void **state)
{
    try_all(lie_in_journal, wanted());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forged_node_does_no_harm),
        cmocka_unit_test(a_tree_that_is_none_does_no_harm),
        cmocka_unit_test(a_forged_checkpoint_record_does_no_harm),
        cmocka_unit_test(a_forged_space_map_does_no_harm),
        cmocka_unit_test(a_forged_superblock_does_no_harm),
        cmocka_unit_test(a_forged_journal_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
