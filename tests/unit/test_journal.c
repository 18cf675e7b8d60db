/* SPDX-License-Identifier: Apache-2.0 */
/* test_journal.c - what a start makes of a journal: a torn tail is the end, a
 * gap in what was durable is damage, and nothing old is ever taken for new. */
#include "tests/unit/cfs_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "tests/unit/eng_rig.h"

#define MIB ((uint64_t)1024 * 1024)

static int put_no(struct rig *r, unsigned i, uint32_t len)
{
    static uint8_t val[8192];
    char key[16];

    memset(val, (int)(i & 255), sizeof val);
    return rig_put(r, (struct cfs_blob){key, (uint32_t)snprintf(
                                                 key, 16, "k%06u", i % 200)},
                   (struct cfs_blob){val, len});
}

static void open_rig(struct rig *r)
{
    rig_init(r, 32 * MIB);
    assert_int_equal(rig_open(r, NULL), 0);
}

/* A block of the journal that a flush covered is left alone until the journal
 * comes round: whatever a device makes of a block that it is writing when the
 * power goes, what was durable stays. */
static void what_a_flush_covered_is_not_written_again(void **state)
{
    static bool written[512], durable[512];
    unsigned flushes = 0, seen = 0;
    uint64_t off, first;
    size_t n, len;
    struct rig r;

    memset(written, 0, sizeof written);
    memset(durable, 0, sizeof durable);
    open_rig(&r);
    first = r.eng->sb.jrn_lba;
    assert_true(r.eng->sb.jrn_blocks <= 512);
    recdev_record(r.dev);
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(put_no(&r, i, 20 + i % 700), 0);
        rig_settle(&r);
        if (i % 3 == 0)
            assert_int_equal(rig_sync(&r), 0);
    }
    assert_true(eng_pos(r.eng) < r.eng->jrn.size);
    n = recdev_events(r.dev);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *bytes = recdev_event(r.dev, i, &off, &len);

        for (unsigned b = 0; recdev_is_flush(r.dev, i) && b < 512; b++)
            durable[b] = written[b];
        flushes += recdev_is_flush(r.dev, i);
        for (uint64_t b = off / CFS_BLOCK; bytes && len > 0; b++) {
            if (b >= first && b < first + 512) {
                assert_false(durable[b - first]);
                written[b - first] = true;
                seen++;
            }
            len -= CFS_BLOCK;
        }
    }
    assert_true(flushes >= 100 && seen >= 300);
    rig_fini(&r);
}

/* The bytes of the journal at @pos. */
static uint8_t *jrn_at(struct rig *r, uint64_t pos)
{
    const struct fmt_super *sb =
        (const struct fmt_super *)(const void *)recdev_bytes(r->dev);

    return recdev_bytes(r->dev) + sb->jrn_lba * CFS_BLOCK +
           pos % (sb->jrn_blocks * CFS_BLOCK);
}

static void the_journal_goes_round(void **state)
{
    uint64_t before;
    struct rig r;

    open_rig(&r);
    before = eng_pos(r.eng);
    for (unsigned i = 0; i < 2500; i++) {
        assert_int_equal(put_no(&r, i, 3000 + i % 1000), 0);
        if (i % 500 == 499) {
            rig_settle(&r);
            rig_kill(&r);
            assert_int_equal(rig_open(&r, NULL), 0);
            assert_true(rig_matches(&r, &r.model));
        }
    }
    assert_true(eng_pos(r.eng) - before > 3 * r.eng->jrn.size);
    assert_true(rig_matches(&r, &r.model));
    assert_true(rig_check(&r, 0));
    rig_fini(&r);
}

/* Ten changes synced, ten not; then something happens to the image. */
struct scene {
    struct rig   rig;
    struct model synced;
    struct model all;
    uint64_t     pos[21]; /* of each record, and the end */
};

static void make_scene(struct scene *s)
{
    *s = (struct scene){0};
    open_rig(&s->rig);
    for (unsigned i = 0; i < 20; i++) {
        s->pos[i] = eng_pos(s->rig.eng);
        assert_int_equal(put_no(&s->rig, i, 700), 0);
        if (i == 9) {
            assert_int_equal(rig_sync(&s->rig), 0);
            model_copy(&s->synced, &s->rig.model);
        }
    }
    s->pos[20] = eng_pos(s->rig.eng);
    rig_settle(&s->rig);
    model_copy(&s->all, &s->rig.model);
    rig_kill(&s->rig);
}

static void end_scene(struct scene *s)
{
    rig_fini(&s->rig);
    model_clear(&s->synced);
    model_clear(&s->all);
}

static void a_torn_tail_is_the_end(void **state)
{
    for (unsigned i = 10; i < 20; i++) {
        struct scene s;

        make_scene(&s);
        jrn_at(&s.rig, s.pos[i])[400] ^= 1;
        assert_int_equal(rig_open(&s.rig, NULL), 0);
        assert_int_equal(s.rig.records, i);
        if (i == 10)
            assert_true(rig_matches(&s.rig, &s.synced));
        assert_true(rig_check(&s.rig, 0));
        end_scene(&s);
    }
}

static void a_gap_in_what_was_durable_is_damage(void **state)
{
    for (unsigned i = 0; i < 10; i++) {
        struct scene s;
        struct cfs_err err = {0};

        make_scene(&s);
        jrn_at(&s.rig, s.pos[i])[300] ^= 1;
        assert_int_equal(rig_open(&s.rig, &err), -CFS_E_CORRUPT);
        assert_non_null(strstr(err.text, "journal is damaged"));
        jrn_at(&s.rig, s.pos[i])[300] ^= 1;
        assert_int_equal(rig_open(&s.rig, NULL), 0);
        assert_true(rig_matches(&s.rig, &s.all));
        end_scene(&s);
    }
}

/* A start that refused has changed nothing: repeated, it refuses again. */
static void damage_is_not_papered_over_by_another_start(void **state)
{
    struct scene s;

    make_scene(&s);
    jrn_at(&s.rig, s.pos[4])[300] ^= 1;
    for (unsigned i = 0; i < 3; i++) {
        recdev_record(s.rig.dev);
        assert_int_equal(rig_open(&s.rig, NULL), -CFS_E_CORRUPT);
        for (size_t ev = 0; ev < recdev_events(s.rig.dev); ev++)
            assert_true(recdev_is_flush(s.rig.dev, ev));
    }
    end_scene(&s);
}

/* A record whose turn never came again is not continued by a new chain. */
static void an_old_tail_is_never_joined_to_a_new_one(void **state)
{
    struct scene s;
    struct cfs_blob val;

    make_scene(&s);
    jrn_at(&s.rig, s.pos[12])[400] ^= 1;
    assert_int_equal(rig_open(&s.rig, NULL), 0);
    assert_int_equal(s.rig.records, 12);
    rig_kill(&s.rig);
    jrn_at(&s.rig, s.pos[12])[400] ^= 1; /* whole again, too late */
    assert_int_equal(rig_open(&s.rig, NULL), 0);
    assert_int_equal(s.rig.records, 0);
    assert_int_equal(rig_get(&s.rig, (struct cfs_blob){"k000012", 7}, &val),
                     -ENOENT);
    end_scene(&s);
}

/* The newest checkpoint record is gone from both ends, but a record of the
 * journal knows of it. */
static void a_lost_checkpoint_is_noticed(void **state)
{
    struct cfs_err err = {0};
    struct rig r;
    uint64_t seq;

    open_rig(&r);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(put_no(&r, i, 100), 0);
    assert_int_equal(rig_checkpoint(&r), 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(put_no(&r, i, 100), 0);
    rig_settle(&r);
    seq = r.eng->last.seq;
    for (unsigned end = 0; end < 2; end++)
        memset(recdev_bytes(r.dev) +
                   super_slot_lba(&r.eng->sb, seq, end) * CFS_BLOCK, 0, 512);
    rig_kill(&r);
    assert_int_equal(rig_open(&r, &err), -CFS_E_CORRUPT);
    assert_non_null(strstr(err.text, "newer checkpoint"));
    rig_fini(&r);
}

/* The same of a life that followed a clean stop: the clean record would have
 * its journal forgotten. */
static void a_lost_life_after_a_clean_stop_is_noticed(void **state)
{
    struct cfs_err err = {0};
    struct rig r;
    uint64_t seq;

    open_rig(&r);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(put_no(&r, i, 100), 0);
    rig_close(&r, true);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_true(r.eng->was_clean);
    seq = r.eng->last.seq;
    assert_int_equal(put_no(&r, 3, 50), 0);
    rig_settle(&r);
    for (unsigned end = 0; end < 2; end++)
        memset(recdev_bytes(r.dev) +
                   super_slot_lba(&r.eng->sb, seq, end) * CFS_BLOCK, 0, 512);
    rig_kill(&r);
    assert_int_equal(rig_open(&r, &err), -CFS_E_CORRUPT);
    assert_non_null(strstr(err.text, "newer checkpoint"));
    rig_fini(&r);
}

/* One data block in a record that was not synced. */
static void commit_data(struct rig *r, struct eng_ext *ext)
{
    uint8_t *data = aligned_alloc(CFS_BLOCK, CFS_BLOCK);
    struct rig_op op = {.key = {"data", 4}, .val = {"here", 4}};
    uint64_t sum;
    struct eng_rec rec = {.ext = ext, .n_ext = 1, .sums = &sum, .n_sums = 1};
    unsigned n;

    memset(data, 9, CFS_BLOCK);
    sum = XXH3_64bits(data, CFS_BLOCK);
    assert_int_equal(eng_alloc(r->eng, 1, 0, 0, ext, 1, &n), 0);
    assert_int_equal(rig_write_data(r, *ext, data), 0);
    assert_int_equal(rig_change(r, &op, 1, &rec, 0), 0);
    rig_settle(r);
    free(data);
}

static void a_record_counts_only_with_its_data(void **state)
{
    for (unsigned synced = 0; synced < 2; synced++) {
        struct eng_ext ext;
        struct cfs_blob val;
        struct rig r;

        open_rig(&r);
        assert_int_equal(put_no(&r, 1, 10), 0);
        assert_int_equal(rig_sync(&r), 0);
        commit_data(&r, &ext);
        if (synced) {
            assert_int_equal(rig_sync(&r), 0);
            assert_int_equal(put_no(&r, 2, 10), 0);
        }
        rig_settle(&r);
        rig_kill(&r);
        recdev_bytes(r.dev)[ext.lba * CFS_BLOCK + 7] ^= 4;
        assert_int_equal(rig_open(&r, NULL), 0);
        /* What was durable counts: its block is found to be bad when it is
         * read. */
        assert_int_equal(rig_get(&r, (struct cfs_blob){"data", 4}, &val),
                         synced ? 0 : -ENOENT);
        assert_int_equal(space_live(r.eng, ext.lba), synced);
        rig_fini(&r);
    }
}

/* Whatever power cuts come: what a start has told is never told again. */
static void an_incarnation_is_durable_when_it_is_told(void **state)
{
    struct rig r, again;
    struct reccut *cut;
    uint64_t told;

    open_rig(&r);
    rig_close(&r, true);
    rig_init(&again, 0);
    for (unsigned i = 0; i < 10; i++) {
        recdev_record(r.dev);
        assert_int_equal(rig_open(&r, NULL), 0);
        told = eng_incarnation(r.eng);
        cut = reccut_new(r.dev);
        rig_swap_image(&again, reccut_image(cut, recdev_events(r.dev), i));
        assert_int_equal(rig_open(&again, NULL), 0);
        assert_true(eng_incarnation(again.eng) > told);
        rig_kill(&again);
        reccut_free(cut);
        rig_close(&r, i % 2);
    }
    rig_fini(&again);
    rig_fini(&r);
}

/* No two lives have the same number, and no checkpoint two of one. */
static void lives_and_generations_are_never_repeated(void **state)
{
    uint64_t last_gen = 0, last_life = 0;
    struct rig r;

    rig_init(&r, 32 * MIB);
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(rig_open(&r, NULL), 0);
        assert_true(eng_incarnation(r.eng) > last_life);
        last_life = eng_incarnation(r.eng);
        for (unsigned k = 0; k < 3; k++) {
            assert_int_equal(put_no(&r, i, 10), 0);
            assert_int_equal(rig_checkpoint(&r), 0);
            assert_true(r.eng->last.gen > last_gen);
            last_gen = r.eng->last.gen;
        }
        if (i % 3 == 0) {
            rig_close(&r, true);
        } else {
            /* One that is written, and never gets its record. */
            recdev_fail(r.dev, RECDEV_FLUSH, 0, 1);
            assert_int_equal(put_no(&r, i, 10), 0);
            assert_int_equal(rig_checkpoint(&r), -CFS_E_POISONED);
            last_gen = r.eng->ckpt.rec.gen;
            rig_kill(&r);
        }
    }
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_true(rig_check(&r, 0));
    rig_fini(&r);
}

static bool begins_to_flush(void *arg)
{
    return ((struct rig *)arg)->eng->ckpt.phase == CKPT_FLUSHING;
}

/* A checkpoint whose flush hangs: the journal behind it stays as it is. */
static void the_journal_is_reused_after_the_checkpoint_only(void **state)
{
    struct rig r;
    unsigned i = 0;
    int rc;

    open_rig(&r);
    for (; i < 100; i++)
        assert_int_equal(put_no(&r, i, 3000), 0);
    rig_settle(&r);
    recdev_record(r.dev);
    recdev_hold(r.dev, RECDEV_FLUSH, true);
    eng_checkpoint(r.eng, rig_done(&r));
    cfs_loop_run_until(r.loop, begins_to_flush, &r);
    r.impatient = true;
    while ((rc = put_no(&r, i, 3000)) == 0)
        i++;
    assert_int_equal(rc, -CFS_E_MISS);
    assert_true(i > 300);
    rig_settle_to(&r, 1);
    recdev_kill(r.dev);
    recdev_hold(r.dev, RECDEV_FLUSH, false);
    rig_kill(&r);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_true(rig_matches(&r, &r.model));
    assert_true(rig_check(&r, 0));
    rig_fini(&r);
}

/* More is dirty than memory may hold: checkpoints on the way, each saying
 * where to go on. The start is cut at each of its writes, and started again. */
static void a_large_replay_takes_checkpoints_on_its_way(void **state)
{
    struct reccut *cut;
    struct rig r, again;
    char key[16];
    uint64_t rnd = 1;
    size_t events;

    rig_init(&r, 256 * MIB);
    r.conf.cache_size = 64 * MIB;
    assert_int_equal(rig_open(&r, NULL), 0);
    for (unsigned i = 0; i < 60000; i++) {
        unsigned k = i < 40000 ? i : (unsigned)(rig_random(&rnd) % 40000);
        struct cfs_blob name = {key, (uint32_t)snprintf(key, 16, "n%06u", k)};

        if (i == 40000)
            assert_int_equal(rig_checkpoint(&r), 0);
        assert_int_equal(rig_put(&r, name,
                                 (struct cfs_blob){"0123456789" "0123456789"
                                                   "0123456789" "0123456789"
                                                   "0123456789", i % 50}), 0);
    }
    rig_settle(&r);
    rig_kill(&r);
    recdev_record(r.dev);
    r.conf.cache_size = 4 * MIB;
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_true(r.eng->ckpt.count >= 3);
    assert_true(rig_check(&r, 0));

    events = recdev_events(r.dev);
    cut = reccut_new(r.dev);
    rig_init(&again, 0);
    again.conf.cache_size = 4 * MIB;
    for (size_t i = 0; i < 40; i++) {
        rig_swap_image(&again, reccut_image(cut, events * i / 40, i));
        assert_int_equal(rig_open(&again, NULL), 0);
        assert_true(rig_matches(&again, &r.model));
        assert_true(rig_check(&again, 0));
        rig_kill(&again);
    }
    rig_fini(&again);
    reccut_free(cut);
    rig_fini(&r);
}

/* The largest record there may be, again and again. */
static void the_largest_record_fits(void **state)
{
    uint8_t *val = malloc(ENG_VALUE_MAX);
    struct rig_op ops[3] = {0};
    struct rig r;

    open_rig(&r);
    for (unsigned i = 0; i < 40; i++) {
        memset(val, (int)i, ENG_VALUE_MAX);
        for (unsigned k = 0; k < 3; k++) {
            ops[k].key = (struct cfs_blob){k == 0 ? "a" : k == 1 ? "b" : "c",
                                           1};
            ops[k].val = (struct cfs_blob){val, ENG_VALUE_MAX};
        }
        assert_int_equal(rig_change(&r, ops, 3, NULL, 0), 0);
    }
    rig_settle(&r);
    rig_kill(&r);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_true(rig_matches(&r, &r.model));
    rig_fini(&r);
    free(val);
}

/* Somebody made the rest of the journal look like the beginnings of the
 * largest records there are, one behind the other: to look at each of them as
 * a whole would take longer than anybody waits. */
static void a_journal_made_of_beginnings_is_given_up(void **state)
{
    uint64_t pos, end;
    struct cfs_err err = {0};
    struct fmt_super sb;
    struct rig r;

    rig_init(&r, 512 * MIB);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(put_no(&r, 1, 100), 0);
    assert_int_equal(rig_sync(&r), 0);
    rig_settle(&r);
    pos = (eng_pos(r.eng) + CFS_BLOCK) / CFS_BLOCK * CFS_BLOCK;
    rig_kill(&r);
    memcpy(&sb, recdev_bytes(r.dev), sizeof sb);
    for (end = pos + 15 * MIB; pos < end; pos += sizeof(struct fmt_rec)) {
        struct fmt_rec h = {.magic = FMT_REC_MAGIC, .len = ENG_REC_MAX,
                            .brick = sb.brick, .pos = pos};
        uint8_t bytes[sizeof h];

        h.body = ENG_REC_MAX - sizeof h;
        memcpy(bytes, &h, sizeof h);
        for (unsigned i = 0; i < sizeof h; i++)
            *jrn_at(&r, pos + i) = bytes[i];
    }
    assert_int_equal(rig_open(&r, &err), -CFS_E_CORRUPT);
    assert_non_null(strstr(err.text, "full of the beginnings of records"));
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_journal_goes_round),
        cmocka_unit_test(what_a_flush_covered_is_not_written_again),
        cmocka_unit_test(a_torn_tail_is_the_end),
        cmocka_unit_test(a_gap_in_what_was_durable_is_damage),
        cmocka_unit_test(damage_is_not_papered_over_by_another_start),
        cmocka_unit_test(an_old_tail_is_never_joined_to_a_new_one),
        cmocka_unit_test(a_lost_checkpoint_is_noticed),
        cmocka_unit_test(a_lost_life_after_a_clean_stop_is_noticed),
        cmocka_unit_test(a_record_counts_only_with_its_data),
        cmocka_unit_test(an_incarnation_is_durable_when_it_is_told),
        cmocka_unit_test(lives_and_generations_are_never_repeated),
        cmocka_unit_test(the_journal_is_reused_after_the_checkpoint_only),
        cmocka_unit_test(a_large_replay_takes_checkpoints_on_its_way),
        cmocka_unit_test(a_journal_made_of_beginnings_is_given_up),
        cmocka_unit_test(the_largest_record_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
