/* SPDX-License-Identifier: Apache-2.0 */
/* test_forged.c - records that somebody made up, in a tree whose checksums
 * are right: whatever is asked of such a brick fails for what is damaged, and
 * ends neither the process nor its good sense (I10). CFS_FORGERIES says how
 * many random ones (60). */
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/store_fix.h"
#include "xlators/storage/block/rec.h"

#define ROOT cfs_gfid_root

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);

    fix_open(f, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fix_close(*state);
    free(*state);
    cfs_buf_pool_drain();
    return 0;
}

/* -- forging -------------------------------------------------------------- */

static void put_raw(struct fix *f, struct cfs_blob key, struct cfs_blob value)
{
    struct eng *e = ops_engine(f->ops);

    assert_int_equal(eng_touch(e, key), 0);
    assert_int_equal(eng_begin(e, 1, key.len + value.len, 0, ENG_RESERVE), 0);
    eng_put(e, key, value);
}

static void get_chunk(struct fix *f, struct cfs_gfid g, struct rec_chunk *ret)
{
    *ret = fix_chunk(ops_engine(f->ops), g, 0);
}

static void put_chunk(struct fix *f, struct cfs_gfid g,
                      const struct rec_chunk *c)
{
    uint8_t v[REC_CHUNK_MAX];
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_CHUNK, g, 0);
    put_raw(f, rec_key_blob(&k), (struct cfs_blob){v, rec_chunk_pack(c, v)});
}

/* A file of three blocks. */
static struct cfs_gfid make_file(struct fix *f, const char *name)
{
    static uint8_t bytes[3 * CFS_BLOCK];
    struct cfs_gfid g;

    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / CFS_BLOCK);
    assert_int_equal(fix_create(f, ROOT, name, S_IFREG | 0644, &g), 0);
    assert_int_equal(fix_write(f, g, 0, bytes, sizeof bytes), 0);
    return g;
}

static bool is_poisoned(struct fix *f)
{
    struct cfs_brick *info = calloc(1, sizeof *info);
    bool poisoned;

    fix_info(f, info);
    poisoned = info->poisoned;
    free(info);
    return poisoned;
}

/* -- addresses ------------------------------------------------------------ */

static void an_address_that_cannot_be_is_damage_of_its_file(void **state)
{
    static const uint64_t lba[] = {1, 300, UINT64_C(1) << 40,
                                   (UINT64_C(1) << 48) - 4,
                                   FIX_SIZE / CFS_BLOCK - 1};
    struct fix *f = *state;
    uint8_t byte;

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(lba); i++) {
        char name[8];
        struct cfs_gfid g, good;
        struct rec_chunk c;

        snprintf(name, sizeof name, "f%u", i);
        g = make_file(f, name);
        get_chunk(f, g, &c);
        c.lba[1] = lba[i];
        put_chunk(f, g, &c);
        assert_int_equal(fix_read(f, g, CFS_BLOCK, &byte, 1),
                         -CFS_E_CORRUPT);
        assert_int_equal(fix_write(f, g, CFS_BLOCK + 1, "x", 1),
                         -CFS_E_CORRUPT);
        assert_int_equal(fix_truncate(f, g, CFS_BLOCK + 1), -CFS_E_CORRUPT);
        assert_int_equal(fix_unlink(f, ROOT, name, false), 0);
        assert_int_equal(fix_purge(f, g), -CFS_E_CORRUPT);
        assert_false(is_poisoned(f));
        snprintf(name, sizeof name, "g%u", i);
        good = make_file(f, name);
        assert_int_equal(fix_read(f, good, 0, &byte, 1), 1);
    }
}

static void an_inode_may_claim_any_number_of_removals(void **state)
{
    struct fix *f = *state;
    struct cfs_gfid g = make_file(f, "a");
    uint8_t v[REC_INODE_MAX];
    struct rec_inode i;
    struct cfs_blob was;
    struct rec_key k;
    uint64_t at;

    rec_key_gfid(&k, REC_INODE, g);
    assert_int_equal(eng_get(ops_engine(f->ops), rec_key_blob(&k), &was), 0);
    assert_int_equal(rec_inode_unpack(was, &i), 0);
    i.marks = UINT32_MAX;
    put_raw(f, rec_key_blob(&k), (struct cfs_blob){v, rec_inode_pack(&i, v)});
    assert_int_equal(fix_lseek(f, g, 0, SEEK_HOLE, &at), -CFS_E_CORRUPT);
}

/* -- anything ------------------------------------------------------------- */

static uint64_t next(uint64_t *rnd)
{
    *rnd ^= *rnd << 13;
    *rnd ^= *rnd >> 7;
    return *rnd ^= *rnd << 17;
}

struct pick {
    uint64_t left; /* records to pass */
    uint8_t  key[512];
    uint32_t key_len;
    uint8_t  value[ENG_VALUE_MAX];
    uint32_t value_len;
    uint64_t n;
};

static int pick_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct pick *p = ctx;

    p->n++;
    if (p->left == 0 || --p->left > 0)
        return 0;
    memcpy(p->key, key.p, key.len);
    p->key_len = key.len;
    memcpy(p->value, value.p, value.len);
    p->value_len = value.len;
    return 1;
}

static void scan(struct fix *f, struct pick *p, uint64_t left)
{
    const uint8_t lo = 0, hi = 0xff;

    *p = (struct pick){.left = left};
    assert_true(eng_scan(ops_engine(f->ops), (struct cfs_blob){&lo, 1},
                         (struct cfs_blob){&hi, 1}, pick_each, p) >= 0);
}

/* Change some bytes of some record's value. */
static void forge_any(struct fix *f, uint64_t *rnd)
{
    struct pick *p = calloc(1, sizeof *p);

    scan(f, p, 0);
    scan(f, p, 1 + next(rnd) % p->n);
    assert_true(p->key_len > 0);
    for (unsigned n = 1 + (unsigned)(next(rnd) % 4); n > 0; n--) {
        /* The first byte is a format: it would only be refused. */
        uint8_t *at = p->value + (p->value_len > 1
                                      ? 1 + next(rnd) % (p->value_len - 1)
                                      : 0);

        if (next(rnd) % 3)
            *at = (uint8_t)(next(rnd) % 2 ? next(rnd) : 0xff);
        else
            *at ^= (uint8_t)(1u << next(rnd) % 8);
    }
    if (next(rnd) % 8 == 0)
        p->value_len = (uint32_t)(next(rnd) % (p->value_len + 1));
    if (p->value_len > 0)
        put_raw(f, (struct cfs_blob){p->key, p->key_len},
                (struct cfs_blob){p->value, p->value_len});
    free(p);
}

struct world {
    struct cfs_gfid dir, sub, file, small, sparse, link;
};

static void make_world(struct fix *f, struct world *w)
{
    uint32_t big = 1 << 20;
    uint8_t *bytes = calloc(1, big);

    assert_int_equal(fix_create(f, ROOT, "d", S_IFDIR | 0755, &w->dir), 0);
    assert_int_equal(fix_create(f, w->dir, "s", S_IFDIR | 0755, &w->sub), 0);
    w->file = make_file(f, "f");
    assert_int_equal(fix_create(f, w->dir, "small", S_IFREG | 0644,
                                &w->small), 0);
    assert_int_equal(fix_write(f, w->small, 0, "hello", 5), 0);
    assert_int_equal(fix_create(f, ROOT, "sparse", S_IFREG | 0644,
                                &w->sparse), 0);
    assert_int_equal(fix_write(f, w->sparse, 5 << 20, bytes, big), 0);
    assert_int_equal(fix_fallocate(f, w->sparse, 0, 0, 1 << 19), 0);
    assert_int_equal(fix_symlink(f, ROOT, "l", "d/small", &w->link), 0);
    assert_int_equal(fix_setxattr(f, w->file, "user.a", "1", 1, 0), 0);
    assert_int_equal(fix_link(f, w->file, w->dir, "f2"), 0);
    free(bytes);
}

/* The fixture knows versions that are not there any more. */
static void see(struct fix *f, struct cfs_gfid g)
{
    struct cfs_attr a;

    (void)fix_getattr(f, g, &a);
}

static void use(struct fix *f, const struct world *w)
{
    static uint8_t buf[64 << 10];
    const struct cfs_gfid all[] = {ROOT,     w->dir,    w->sub, w->file,
                                   w->small, w->sparse, w->link};
    uint64_t at;
    uint32_t n;

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(all); i++) {
        see(f, all[i]);
        (void)fix_read(f, all[i], 0, buf, sizeof buf);
        (void)fix_read(f, all[i], 5 << 20, buf, sizeof buf);
        (void)fix_lseek(f, all[i], 0, SEEK_DATA, &at);
        (void)fix_lseek(f, all[i], 0, SEEK_HOLE, &at);
        (void)fix_getxattr(f, all[i], "user.a", buf, 16);
    }
    (void)fix_write(f, w->small, 3, buf, 3000);
    (void)fix_write(f, w->file, 100, buf, 5000);
    (void)fix_write(f, w->sparse, (5 << 20) + 100, buf, 200000 % sizeof buf);
    (void)fix_copy(f, w->file, 0, w->sparse, 12345, 9000, &n);
    (void)fix_fallocate(f, w->sparse,
                        FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 77,
                        300000);
    (void)fix_fallocate(f, w->file, FALLOC_FL_ZERO_RANGE, 5, 9000);
    (void)fix_fallocate(f, w->sparse, 0, 0, 2 << 20);
    (void)fix_setxattr(f, w->file, "user.b", "22", 2, 0);
    (void)fix_removexattr(f, w->file, "user.a");
    (void)fix_truncate(f, w->sparse, 5000);
    (void)fix_truncate(f, w->file, 4097);
    (void)fix_rename(f, ROOT, "f", w->sub, "g", 0);
    (void)fix_rename(f, w->dir, "s", ROOT, "s2", 0);
    (void)fix_create(f, w->dir, "n", S_IFREG | 0600, NULL);
    (void)fix_unlink(f, w->dir, "f2", false);
    (void)fix_unlink(f, w->sub, "g", false);
    (void)fix_unlink(f, ROOT, "sparse", false);
    (void)fix_purge(f, w->sparse);
    (void)fix_unlink(f, ROOT, "d", true);
    (void)fix_session_close(f, f->session.no);
}

static void no_record_ends_the_process(void **state)
{
    const char *s = getenv("CFS_FORGERIES");
    unsigned n = s ? (unsigned)strtoul(s, NULL, 0) : 60;
    struct ops_config config = ops_config_default;

    for (unsigned seed = 1; seed <= n; seed++) {
        struct fix *f = calloc(1, sizeof *f);
        uint64_t rnd = seed * UINT64_C(0x9e3779b97f4a7c15);
        struct world w;

        if (getenv("CFS_FORGERY"))
            seed = (unsigned)strtoul(getenv("CFS_FORGERY"), NULL, 0);
        rnd = seed * UINT64_C(0x9e3779b97f4a7c15);
        config.pack = config.eng.packs = seed % 2;
        fix_open(f, &config);
        make_world(f, &w);
        for (unsigned k = 1 + (unsigned)(next(&rnd) % 2); k > 0; k--)
            forge_any(f, &rnd);
        use(f, &w);
        fix_kill(f);
        (void)fix_start(f);
        fix_close(f);
        free(f);
        if (getenv("CFS_FORGERY"))
            break;
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_address_that_cannot_be_is_damage_of_its_file),
        T(an_inode_may_claim_any_number_of_removals),
        cmocka_unit_test(no_record_ends_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
