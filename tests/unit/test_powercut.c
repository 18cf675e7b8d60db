/* SPDX-License-Identifier: Apache-2.0 */
/* test_powercut.c - a recorded run of the engine, cut at any write: the image
 * opens, is whole, is at a state that there once was, and at none before what
 * was synced. CFS_CUTS in the environment says how many images (600). */
#include "tests/unit/cfs_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "tests/unit/eng_rig.h"

#define MIB      ((uint64_t)1024 * 1024)
#define FILES    40u
#define KEYS     400u
#define OPS      4u
#define LEFT     400 /* blocks, when space is short */

/* A data block that a file consists of. */
struct block {
    struct eng_ext ext;
    uint64_t       seed; /* of its bytes */
};

/* One change of the run, as it can be made again on the model. */
struct change {
    struct rig_op op[OPS];
    unsigned      n;
};

/* At @event everything before change @changes was synced. */
struct synced {
    size_t   event;
    unsigned changes;
};

struct history {
    struct change *change;
    unsigned       n;
    unsigned       cap;
    struct synced *sync;
    unsigned       n_sync;
    unsigned      *at_event; /* per change: events when it was committed */
};

static unsigned images_wanted(void)
{
    const char *s = getenv("CFS_CUTS");

    return s ? (unsigned)strtoul(s, NULL, 0) : 600;
}

/* -- history --------------------------------------------------------------- */

static struct cfs_blob dup_blob(struct cfs_blob b)
{
    uint8_t *p = malloc(b.len + 1u);

    memcpy(p, b.p, b.len);
    return (struct cfs_blob){p, b.len};
}

static void remember(struct history *h, const struct rig_op *ops, unsigned n,
                     size_t events)
{
    struct change *c;

    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 256;
        h->change = realloc(h->change, h->cap * sizeof *h->change);
        h->at_event = realloc(h->at_event, h->cap * sizeof *h->at_event);
    }
    h->at_event[h->n] = (unsigned)events;
    c = &h->change[h->n++];
    c->n = 0;
    for (unsigned i = 0; i < n; i++) {
        struct rig_op op = ops[i];

        if (!op.key.p)
            continue;
        op.key = dup_blob(op.key);
        if (op.val.p)
            op.val = dup_blob(op.val);
        c->op[c->n++] = op;
    }
}

static void forget(struct history *h)
{
    for (unsigned i = 0; i < h->n; i++) {
        for (unsigned k = 0; k < h->change[i].n; k++) {
            free((void *)(uintptr_t)h->change[i].op[k].key.p);
            free((void *)(uintptr_t)h->change[i].op[k].val.p);
        }
    }
    free(h->change);
    free(h->at_event);
    free(h->sync);
    *h = (struct history){0};
}

static void note_sync(struct history *h, size_t event, unsigned changes)
{
    h->sync = realloc(h->sync, (h->n_sync + 1) * sizeof *h->sync);
    h->sync[h->n_sync++] = (struct synced){event, changes};
}

/* The model after the first @n changes. */
static void model_at(const struct history *h, unsigned n, struct model *m)
{
    model_clear(m);
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < h->change[i].n; k++) {
            const struct rig_op *op = &h->change[i].op[k];

            if (op->val.p)
                model_put(m, op->key, op->val);
            else
                model_del(m, op->key);
        }
    }
}

/* -- the run --------------------------------------------------------------- */

static void fill_block(uint64_t seed, uint8_t *to)
{
    for (unsigned i = 0; i < CFS_BLOCK; i += 8) {
        uint64_t v = rig_random(&seed);

        memcpy(to + i, &v, sizeof v);
    }
}

static struct cfs_blob file_key(unsigned file, char *buf)
{
    return (struct cfs_blob){buf, (uint32_t)snprintf(buf, 16, "file%02u",
                                                     file)};
}

static struct cfs_blob count_val(unsigned *n)
{
    return (struct cfs_blob){n, sizeof *n};
}

static const struct cfs_blob count_key = {"change", 6};

/* Write a new block of a file; the old one is freed in the same change. */
static int write_file(struct rig *r, struct history *h, uint64_t *rnd)
{
    uint8_t *data = aligned_alloc(CFS_BLOCK, CFS_BLOCK);
    unsigned no = h->n + 1, got, n = 0;
    struct block b = {.seed = rig_random(rnd)};
    const struct model_rec *old;
    struct rig_op ops[OPS] = {0};
    struct eng_rec rec = {.ext = &b.ext, .n_ext = 1, .n_sums = 1};
    char name[16];
    struct cfs_blob key = file_key((unsigned)(rig_random(rnd) % FILES), name);
    uint64_t sum;
    int rc;

    while ((rc = eng_alloc(r->eng, 1, 0, 0, &b.ext, 1, &got)) == -CFS_E_MISS)
        rig_wait(r);
    rig_wait_end(r);
    assert_int_equal(rc, 0);
    fill_block(b.seed, data);
    sum = XXH3_64bits(data, CFS_BLOCK);
    rec.sums = &sum;
    assert_int_equal(rig_write_data(r, b.ext, data), 0);
    old = model_get(&r->model, key);
    if (old) {
        struct block was;

        memcpy(&was, old->key + old->klen, sizeof was);
        ops[n++] = (struct rig_op){.free = was.ext};
    }
    ops[n++] = (struct rig_op){.key = key, .val = {&b, sizeof b}};
    ops[n++] = (struct rig_op){.key = count_key, .val = count_val(&no)};
    remember(h, ops, n, recdev_events(r->dev));
    rc = rig_change(r, ops, n, &rec, 0);
    free(data);
    return rc;
}

/* Put or delete a few records; one in @large values is large. */
static int change_records(struct rig *r, struct history *h, uint64_t *rnd,
                          unsigned large)
{
    static uint8_t bytes[9000];
    struct rig_op ops[OPS] = {0};
    char key[OPS][64];
    unsigned n = 1 + (unsigned)(rig_random(rnd) % (OPS - 1)), no = h->n + 1;

    for (unsigned i = 0; i + 1 < n; i++) {
        unsigned k = (unsigned)(rig_random(rnd) % KEYS);
        uint32_t len = (uint32_t)(rig_random(rnd) % 300);

        if (rig_random(rnd) % large == 0)
            len = (uint32_t)(rig_random(rnd) % sizeof bytes);
        ops[i].key = (struct cfs_blob){
            key[i], (uint32_t)snprintf(key[i], 64, "record%06u%*s",
                                       k * 7919 % 1000000, (int)(k % 40), "")};
        if (rig_random(rnd) % 3 != 0)
            ops[i].val = (struct cfs_blob){bytes + rig_random(rnd) % 100 % 9,
                                           len > 8900 ? 8900 : len};
    }
    memset(bytes, (int)(rig_random(rnd) & 255), sizeof bytes);
    ops[n - 1] = (struct rig_op){.key = count_key, .val = count_val(&no)};
    remember(h, ops, n, recdev_events(r->dev));
    return rig_change(r, ops, n, NULL, 0);
}

static void run(struct rig *r, struct history *h, unsigned changes,
                uint64_t rnd, unsigned large)
{
    for (unsigned i = 0; i < changes; i++) {
        unsigned dice = (unsigned)(rig_random(&rnd) % 100);
        int rc = dice < 40 ? write_file(r, h, &rnd)
                           : change_records(r, h, &rnd, large);

        assert_int_equal(rc, 0);
        if (dice % 10 == 3)
            rig_settle(r);
        if (dice % 25 == 7)
            eng_checkpoint(r->eng, rig_done(r));
        if (dice % 20 == 11) {
            assert_int_equal(rig_sync(r), 0);
            note_sync(h, recdev_events(r->dev), h->n);
        }
    }
    rig_settle(r);
}

/* -- looking at what a cut left -------------------------------------------- */

/* How many changes must be there, and how many can be. */
static void bounds(const struct history *h, size_t event, unsigned *lo,
                   unsigned *hi)
{
    *lo = 0;
    *hi = 0;
    for (unsigned i = 0; i < h->n_sync && h->sync[i].event <= event; i++)
        *lo = h->sync[i].changes;
    while (*hi < h->n && h->at_event[*hi] <= event)
        ++*hi;
}

static bool data_is(struct rig *r, const struct model *m, unsigned *ret_n)
{
    uint8_t *got = aligned_alloc(CFS_BLOCK, CFS_BLOCK);
    uint8_t *want = malloc(CFS_BLOCK);
    bool ok = true;

    *ret_n = 0;
    for (unsigned f = 0; f < FILES; f++) {
        char name[16];
        const struct model_rec *rec = model_get(m, file_key(f, name));
        struct block b;

        if (!rec)
            continue;
        ++*ret_n;
        memcpy(&b, rec->key + rec->klen, sizeof b);
        fill_block(b.seed, want);
        if (rig_read_data(r, b.ext, got) != 0 ||
            memcmp(got, want, CFS_BLOCK) != 0) {
            fprintf(stderr, "%s: block %" PRIu64 " is not what it was\n",
                    name, b.ext.lba);
            ok = false;
        }
    }
    free(got);
    free(want);
    return ok;
}

static unsigned changes_in(struct rig *r)
{
    struct cfs_blob val;
    unsigned n = 0;

    if (rig_get(r, count_key, &val) == 0 && val.len == sizeof n)
        memcpy(&n, val.p, sizeof n);
    return n;
}

/* The open store of @r is at one of the states lo to hi, as a whole. */
static bool state_is_good(struct rig *r, const struct history *h, unsigned lo,
                          unsigned hi)
{
    struct model m = {0};
    unsigned n = changes_in(r), data;
    bool ok = n >= lo && n <= hi;

    if (!ok)
        fprintf(stderr, "%u changes are there; %u were synced, %u made\n", n,
                lo, hi);
    if (ok) {
        model_at(h, n, &m);
        ok = rig_matches(r, &m) && data_is(r, &m, &data) &&
             rig_check(r, data);
    }
    model_clear(&m);
    return ok;
}

/* It opens, is good, and takes changes. */
static bool image_is_good(struct rig *r, struct recdev *image,
                          const struct history *h, size_t event)
{
    struct cfs_err err = {0};
    unsigned lo, hi;
    bool ok;

    rig_swap_image(r, image);
    bounds(h, event, &lo, &hi);
    if (rig_open(r, &err) < 0) {
        fprintf(stderr, "it does not open: %s\n", err.text);
        return false;
    }
    ok = state_is_good(r, h, lo, hi);
    if (ok)
        ok = rig_put(r, (struct cfs_blob){"one more", 8},
                     (struct cfs_blob){"x", 1}) == 0 &&
             rig_checkpoint(r) == 0;
    rig_close(r, true);
    return ok;
}

/* -- the tests ------------------------------------------------------------- */

struct record_of_run {
    struct rig     rig;
    struct history h;
};

static void record_run(struct record_of_run *rr, unsigned changes,
                       uint64_t seed, unsigned large)
{
    struct eng *e;
    struct eng_ext ext[64];
    unsigned n;

    rig_init(&rr->rig, 32 * MIB);
    rr->rig.conf.cache_size = 4 * MIB;
    rr->rig.conf.copies = seed == 2 ? 2 : 1;
    assert_int_equal(rig_open(&rr->rig, NULL), 0);
    e = rr->rig.eng;
    /* Hold nearly all blocks, so that what is freed is soon taken again. */
    if (seed % 2 == 1)
        assert_int_equal(eng_alloc(e, (uint32_t)(eng_avail(e, 0) - LEFT), 0,
                                   0, ext, 64, &n), 0);
    recdev_record(rr->rig.dev);
    run(&rr->rig, &rr->h, changes, seed, large);
}

static void end_run(struct record_of_run *rr)
{
    rig_fini(&rr->rig);
    forget(&rr->h);
}

/* How many of @n images are not good. */
static unsigned cut_all_over(struct record_of_run *rr, unsigned n,
                             uint64_t seed, bool stop_at_first)
{
    struct reccut *cut = reccut_new(rr->rig.dev);
    size_t events = recdev_events(rr->rig.dev);
    unsigned bad = 0;
    struct rig look;

    rig_init(&look, 0);
    look.conf.cache_size = 4 * MIB;
    for (unsigned i = 0; i < n && !(bad && stop_at_first); i++) {
        size_t event = events * i / n;

        if (image_is_good(&look, reccut_image(cut, event, seed + i), &rr->h,
                          event))
            continue;
        if (!stop_at_first)
            fprintf(stderr, "  ^ event %zu of %zu, seed %" PRIu64 "\n", event,
                    events, seed + i);
        bad++;
    }
    rig_fini(&look);
    reccut_free(cut);
    return bad;
}

static void a_cut_leaves_a_state_that_was(void **state)
{
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct record_of_run rr = {0};

        record_run(&rr, 700, seed, 50);
        assert_int_equal(cut_all_over(&rr, images_wanted() / 4, seed * 1000,
                                      false), 0);
        end_run(&rr);
    }
}

/* Large records, so that the journal goes round. */
static void so_does_a_cut_when_the_journal_wraps(void **state)
{
    struct record_of_run rr = {0};

    record_run(&rr, 3500, 3, 2);
    assert_true(eng_pos(rr.rig.eng) > rr.rig.eng->jrn.size * 3 / 2);
    assert_int_equal(cut_all_over(&rr, images_wanted() / 4, 3000, false), 0);
    end_run(&rr);
}

/* The start after a cut is cut too. */
static void a_cut_start_can_be_started_again(void **state)
{
    struct record_of_run rr = {0};
    struct reccut *cut, *again;
    struct rig first, look;
    unsigned n = images_wanted() / 4, tries = 6;

    record_run(&rr, 500, 77, 50);
    cut = reccut_new(rr.rig.dev);
    rig_init(&first, 0);
    rig_init(&look, 0);
    for (unsigned i = 0; i < tries; i++) {
        size_t event = recdev_events(rr.rig.dev) * (i + 1) / (tries + 1);

        rig_swap_image(&first, reccut_image(cut, event, i));
        recdev_record(first.dev);
        assert_int_equal(rig_open(&first, NULL), 0);
        again = reccut_new(first.dev);
        for (unsigned k = 0; k < n / tries; k++) {
            size_t at = recdev_events(first.dev) * k / (n / tries);

            assert_true(image_is_good(&look, reccut_image(again, at, k),
                                      &rr.h, event));
        }
        reccut_free(again);
        rig_kill(&first);
    }
    rig_fini(&first);
    rig_fini(&look);
    reccut_free(cut);
    end_run(&rr);
}

/* The checker is worth something: without flushes it finds damage. */
static void a_flush_left_out_is_noticed(void **state)
{
    struct record_of_run rr = {0};
    unsigned bad;

    rig_init(&rr.rig, 32 * MIB);
    assert_int_equal(rig_open(&rr.rig, NULL), 0);
    recdev_record(rr.rig.dev);
    recdev_fail(rr.rig.dev, RECDEV_NO_FLUSH, 5, 1000000);
    run(&rr.rig, &rr.h, 400, 5, 50);
    fprintf(stderr, "(what follows is expected)\n");
    bad = cut_all_over(&rr, 200, 9, true);
    fprintf(stderr, "(until here)\n");
    assert_true(bad > 0);
    end_run(&rr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_leaves_a_state_that_was),
        cmocka_unit_test(so_does_a_cut_when_the_journal_wraps),
        cmocka_unit_test(a_cut_start_can_be_started_again),
        cmocka_unit_test(a_flush_left_out_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
