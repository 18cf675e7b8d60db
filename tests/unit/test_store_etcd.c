/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_etcd.c - the configuration store on etcd: the suite; several
 * nodes; the switch from one to many; copies that are damaged, late or of
 * another life. What dies and hangs is in test_store_etcd_faults.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/store_etcd_fix.h"

/* The suite, skipped where there is no etcd. */
#define WRAP(name)                                                           \
    static void name##_(void **state)                                        \
    {                                                                        \
        NEEDS_ETCD(state);                                                   \
        name(state);                                                         \
    }
STORE_SUITE(WRAP)

/* -- several nodes ------------------------------------------------------- */

struct duel {
    struct fix *f;
    int         goal;
    int         done;
    int         conflicts;
};

static void duel_step(struct duel *d);

static void on_duel(void *arg, int status, const struct cfs_err *err)
{
    struct duel *d = arg;

    d->f->pending--;
    if (status == 0)
        d->done++;
    else if (status == -CFS_E_CONFLICT)
        d->conflicts++;
    else
        fail_msg("%s", err->text);
    if (d->done < d->goal)
        duel_step(d);
}

/* One more, if nobody was faster. */
static void duel_step(struct duel *d)
{
    struct store_txn *t = store_txn_new();
    uint64_t token;
    int n = get(d->f, "count", &token);

    store_txn_if(t, "count", token);
    put_op(t, "count", n + 1);
    d->f->pending++;
    store_commit(d->f->s, t, on_duel, d);
}

static bool duel_over(void *arg)
{
    struct duel *d = arg;

    return d[0].done == d[0].goal && d[1].done == d[1].goal;
}

static void of_two_nodes_that_count_none_loses_a_step(void **state)
{
    struct fix *f = *state, *n;
    struct duel d[2] = {{.f = f, .goal = 40}, {.goal = 40}};

    NEEDS_ETCD(state);
    assert_int_equal(put(f, "count", 0), 0);
    n = d[1].f = node_new(f, NULL);
    duel_step(&d[0]);
    duel_step(&d[1]);
    cfs_loop_run_until(f->loop, duel_over, d);
    assert_true(d[0].conflicts + d[1].conflicts > 0);
    until_is(f, "count", 80, 2000);
    until_is(n, "count", 80, 2000);
    /* A loser has the winner's record: it conflicts no more often than it
     * can be beaten. */
    assert_true(d[0].conflicts <= 40 && d[1].conflicts <= 40);
    node_free(n);
}

static void every_node_hears_changes_in_the_same_order(void **state)
{
    struct fix *f = *state, *n;
    struct seen here = {.w = {.prefix = "v/", .changed = on_change}, .f = f};
    struct seen there = {.w = {.prefix = "v/", .changed = on_change}};
    struct store_txn *t = store_txn_new();

    NEEDS_ETCD(state);
    n = there.f = node_new(f, NULL);
    store_watch(f->s, &here.w);
    store_watch(n->s, &there.w);
    put(f, "v/a", 1);
    put(n, "v/b", 1);
    put_op(t, "v/c", 1);
    put_op(t, "v/d", 1);
    store_txn_delete(t, "v/a");
    assert_int_equal(commit(f, t), 0);
    t = store_txn_new();
    store_txn_delete_prefix(t, "v/");
    assert_int_equal(commit(n, t), 0);
    assert_int_equal(current(f), 0);
    assert_int_equal(current(n), 0);
    assert_string_equal(here.text, there.text);
    assert_memory_equal(here.text, "+v/a +v/b ", 10);
    node_free(n);
}

static void a_current_read_shows_what_another_node_was_answered(void **state)
{
    struct fix *f = *state, *n;

    NEEDS_ETCD(state);
    n = node_new(f, NULL);
    for (int i = 1; i <= 30; i++) {
        assert_int_equal(put(f, "a", i), 0);
        assert_int_equal(current(n), 0);
        assert_int_equal(get(n, "a", NULL), i);
    }
    node_free(n);
}

/* More than one page; and records so large that a page must be smaller. */
static void ten_thousand_records_are_read_in_pages(void **state)
{
    struct fix *f = *state, *n;
    char key[32];

    NEEDS_ETCD(state);
    for (int i = 0; i < 10000; i += 100) {
        struct store_txn *t = store_txn_new();

        for (int k = i; k < i + 100; k++) {
            snprintf(key, sizeof key, "many/%05d", k);
            put_op(t, key, k);
        }
        commit_only(f, t);
    }
    cfs_loop_run_until(f->loop, all_answered, f);
    assert_int_equal(f->status, 0);
    n = node_new(f, NULL);
    for (int k = 0; k < 10000; k += 7) {
        snprintf(key, sizeof key, "many/%05d", k);
        assert_int_equal(get(n, key, NULL), k);
    }
    node_free(n);
}

static void large_records_are_read_in_smaller_pages(void **state)
{
    struct fix *f = *state, *n;
    char *big = calloc(1, 240001), key[32];
    json_t *v;

    NEEDS_ETCD(state);
    memset(big, 'x', 240000);
    v = json_pack("{s:i,s:s}", "n", 7, "big", big);
    for (int i = 0; i < 60; i++) {
        struct store_txn *t = store_txn_new();

        snprintf(key, sizeof key, "big/%03d", i);
        store_txn_put(t, key, v);
        assert_int_equal(commit(f, t), 0); /* alone: it has 5 s */
    }
    n = node_new(f, NULL);
    assert_int_equal(get(n, "big/000", NULL), 7);
    assert_int_equal(get(n, "big/059", NULL), 7);
    node_free(n);
    json_decref(v);
    free(big);
}

static void it_works_with_mutual_tls(void **state)
{
    struct fix *f = *state;

    NEEDS_ETCD(state);
    assert_int_equal(put(f, "a", 1), 0);
    reopen(f);
    assert_int_equal(put(f, "a", 2), 0);
    assert_int_equal(current(f), 0);
    assert_int_equal(get(f, "a", NULL), 2);
}

/* -- the copy ------------------------------------------------------------ */

static void a_damaged_record_is_read_again_from_etcd(void **state)
{
    struct fix *f = *state;
    struct seen s = {.w = {.prefix = "v/", .changed = on_change}, .f = f};

    NEEDS_ETCD(state);
    put(f, "v/a", 1);
    put(f, "v/b", 2);
    run_for(f, 50);
    store_close(f->s);
    sql(f, "UPDATE records SET value = '{\"n\":3}' WHERE key = 'v/b'");
    f->s = NULL;
    etcd_rig_kill(rig_of(f), 0);
    assert_int_equal(f->open(f, NULL), 0);
    /* Never as a value; what is whole is served. */
    assert_int_equal(get(f, "v/a", NULL), 1);
    assert_int_equal(get(f, "v/b", NULL), -CFS_E_CHECKSUM);
    store_watch(f->s, &s.w);
    etcd_rig_run(rig_of(f), 0);
    until_is(f, "v/b", 2, 5000);
    assert_string_equal(s.text, "+v/b ");
    store_unwatch(&s.w);
    reopen(f); /* whole again */
    assert_int_equal(get(f, "v/b", NULL), 2);
}

static void damage_is_noticed_and_mended_while_it_runs(void **state)
{
    struct fix *f = *state;
    struct cfs_err err = {0};
    json_t *v;

    NEEDS_ETCD(state);
    put(f, "v/b", 2);
    sql(f, "UPDATE records SET value = '{\"n\":3}' WHERE key = 'v/b'");
    assert_int_equal(store_get(f->s, "v/b", &v, NULL, &err),
                     -CFS_E_CHECKSUM);
    until_is(f, "v/b", 2, 3000);
}

static void a_record_that_the_copy_lost_comes_back(void **state)
{
    struct fix *f = *state;

    NEEDS_ETCD(state);
    put(f, "v/b", 2);
    store_close(f->s);
    sql(f, "DELETE FROM records WHERE key = 'v/b'");
    f->s = NULL;
    assert_int_equal(f->open(f, NULL), 0);
    until_is(f, "v/b", 2, 3000);
}

static void a_copy_that_is_no_database_is_begun_anew(void **state)
{
    struct fix *f = *state;
    char path[128];
    FILE *file;

    NEEDS_ETCD(state);
    put(f, "v/b", 2);
    store_close(f->s);
    snprintf(path, sizeof path, "%s/store.db", f->dir);
    file = fopen(path, "w");
    for (int i = 0; i < 4096; i++)
        fputs("rubbish ", file);
    fclose(file);
    f->s = NULL;
    assert_int_equal(f->open(f, NULL), 0);
    assert_int_equal(current(f), 0);
    assert_int_equal(get(f, "v/b", NULL), 2);
    snprintf(path, sizeof path, "%s/store.db.damaged", f->dir);
    assert_int_equal(access(path, F_OK), 0); /* for whoever wants to look */
}

static uint64_t compact(struct fix *f)
{
    uint64_t at = store_revision(f->s);

    json_decref(ask_etcd(f, "/v3/kv/compaction",
                         json_pack("{s:o}", "revision", etcd_json_u64(at))));
    return at;
}

static void a_copy_from_before_a_compaction_reads_all_again(void **state)
{
    struct fix *f = *state, *n;
    struct seen s = {.w = {.prefix = "v/", .changed = on_change}, .f = f};
    struct store_txn *t = store_txn_new();

    NEEDS_ETCD(state);
    put(f, "v/a", 1);
    put(f, "v/b", 1);
    n = node_new(f, NULL);
    store_close(f->s);
    f->s = NULL;
    for (int i = 2; i < 30; i++)
        put(n, "v/b", i);
    store_txn_delete(t, "v/a");
    commit(n, t);
    put(n, "v/c", 1);
    compact(n);
    put(n, "v/d", 1);
    assert_int_equal(f->open(f, NULL), 0);
    assert_int_equal(get(f, "v/a", NULL), 1); /* the last that it knew */
    store_watch(f->s, &s.w);
    assert_int_equal(current(f), 0);
    assert_int_equal(get(f, "v/a", NULL), -ENOENT);
    assert_int_equal(get(f, "v/b", NULL), 29);
    assert_string_equal(s.text, "-v/a +v/b +v/c +v/d ");
    put(n, "v/e", 1); /* and it follows from there */
    until_is(f, "v/e", 1, 2000);
    node_free(n);
}

static void what_is_no_record_in_etcd_is_an_error_that_names_it(void **state)
{
    struct fix *f = *state;
    struct seen s = {.w = {.prefix = "v/", .changed = on_change}, .f = f};
    struct cfs_err err = {0};
    json_t *v;

    NEEDS_ETCD(state);
    store_watch(f->s, &s.w);
    raw_put(f, "/clusterfs/rec/v/bad", "{\"n\":");
    raw_put(f, "/clusterfs/rec/v/list", "[1]");
    raw_put(f, "/elsewhere", "x");
    assert_int_equal(put(f, "v/good", 1), 0);
    assert_int_equal(current(f), 0);
    assert_string_equal(s.text, "+v/good ");
    assert_int_equal(store_get(f->s, "v/bad", &v, NULL, &err),
                     -CFS_E_CORRUPT);
    assert_non_null(strstr(err.text, "v/bad"));
    assert_int_equal(get(f, "v/list", NULL), -CFS_E_CORRUPT);
    assert_int_equal(put(f, "v/bad", 2), 0);
    assert_int_equal(get(f, "v/bad", NULL), 2);
    store_unwatch(&s.w);
}

/* -- lineages ------------------------------------------------------------ */

static void an_etcd_of_another_life_is_neither_read_nor_written(void **state)
{
    struct fix *f = *state;
    struct store_health h;

    NEEDS_ETCD(state);
    put(f, "a", 1);
    for (int later = 0; later < 2; later++) {
        raw_put(f, "/clusterfs/head", later ?
                "{\"lineage\":\"9\",\"state\":\"live\"}" :
                "{\"lineage\":\"1\",\"state\":\"live\"}");
        raw_put(f, "/clusterfs/rec/a", "{\"n\":66}");
        assert_int_equal(put_surely(f, "a", 2), -ESTALE);
        assert_int_equal(put_surely(f, "b", 2), -ESTALE);
        run_for(f, 1500);
        store_health(f->s, &h);
        assert_false(h.current && *h.problem == '\0' && later);
        assert_int_equal(get(f, "b", NULL), -ENOENT);
    }
    assert_non_null(strstr(h.problem, "rejoin"));
    raw_put(f, "/clusterfs/head", "{\"lineage\":\"2\",\"state\":\"live\"}");
    until_current(f, 5000);
    assert_int_equal(put(f, "b", 3), 0);
}

static void a_copy_never_goes_back_to_a_lower_lineage(void **state)
{
    struct fix *f = *state;
    struct cfs_err err = {0};

    NEEDS_ETCD(state);
    store_close(f->s);
    f->s = NULL;
    f->lineage = 1;
    assert_int_equal(f->open(f, &err), -ESTALE);
    assert_null(f->s);
    f->lineage = LINEAGE;
    assert_int_equal(f->open(f, NULL), 0);
}

static void in_a_new_lineage_everything_is_read_again(void **state)
{
    struct fix *f = *state;
    struct seen s = {.w = {.prefix = "", .changed = on_change}, .f = f};
    uint64_t old, now;

    NEEDS_ETCD(state);
    put(f, "a", 1);
    get(f, "a", &old);
    store_close(f->s);
    f->s = NULL;
    raw_put(f, "/clusterfs/head", "{\"lineage\":\"3\",\"state\":\"live\"}");
    f->lineage = 3;
    assert_int_equal(f->open(f, NULL), 0);
    assert_int_equal(store_lineage(f->s), 2); /* of what is read */
    store_watch(f->s, &s.w);
    assert_int_equal(current(f), 0);
    assert_int_equal(store_lineage(f->s), 3);
    assert_string_equal(s.text, "+a ");
    assert_int_equal(get(f, "a", &now), 1);
    assert_int_not_equal(old, now);
    store_unwatch(&s.w);
}

/* -- from one to many ---------------------------------------------------- */

static void the_switch_takes_every_record_along(void **state)
{
    struct fix *f = *state;
    struct seen s = {.w = {.prefix = "", .changed = on_change}, .f = f};
    struct store_txn *t = store_txn_new();
    uint64_t old;
    char key[16];

    NEEDS_ETCD(state);
    for (int i = 0; i < 250; i++) {
        snprintf(key, sizeof key, "k/%03d", i);
        put(f, key, i);
    }
    get(f, "k/007", &old);
    s.w.prefix = "k/007";
    store_watch(f->s, &s.w);
    /* One that comes meanwhile waits, and is not wrong for it. */
    f->pending++;
    store_to_etcd(f->s, &rig_of(f)->to, LINEAGE, mark_ok, on_done, f);
    store_txn_if(t, "k/007", old);
    put_op(t, "k/007", 1007);
    assert_int_equal(commit(f, t), 0);
    assert_string_equal(store_engine_name(f->s), "etcd");
    assert_string_equal(s.text, "+k/007 +k/007 ");
    store_unwatch(&s.w);
    assert_int_equal(store_lineage(f->s), LINEAGE);
    for (int i = 0; i < 250; i++) {
        snprintf(key, sizeof key, "k/%03d", i);
        assert_int_equal(get(f, key, NULL), i == 7 ? 1007 : i);
    }
    /* A token from before never matches. */
    t = store_txn_new();
    store_txn_if(t, "k/008", old + 1);
    put_op(t, "k/008", 0);
    assert_int_equal(commit(f, t), -CFS_E_CONFLICT);
    reopen(f);
    assert_int_equal(get(f, "k/249", NULL), 249);
    assert_int_equal(current(f), 0);
}

static int mark_fails(void *arg)
{
    return -ENOSPC;
}

static void without_its_marker_the_embedded_store_stays(void **state)
{
    struct fix *f = *state;

    NEEDS_ETCD(state);
    put(f, "a", 1);
    put(f, "gone", 1);
    assert_int_equal(go_etcd(f, mark_fails), -ENOSPC);
    assert_string_equal(store_engine_name(f->s), "sqlite");
    assert_int_equal(store_lineage(f->s), 1);
    struct store_txn *t = store_txn_new();
    put_op(t, "a", 2);
    store_txn_delete(t, "gone");
    assert_int_equal(commit(f, t), 0);
    /* Again, over what the first attempt left there. */
    assert_int_equal(go_etcd(f, mark_ok), 0);
    assert_int_equal(get(f, "a", NULL), 2);
    assert_int_equal(get(f, "gone", NULL), -ENOENT);
    assert_int_equal(put(f, "a", 3), 0);
}

static void without_an_etcd_the_embedded_store_stays(void **state)
{
    struct fix *f = *state;

    NEEDS_ETCD(state);
    put(f, "a", 1);
    etcd_rig_kill(rig_of(f), 0);
    assert_true(go_etcd(f, mark_ok) < 0);
    assert_non_null(strstr(f->text, "stays"));
    assert_int_equal(put(f, "a", 2), 0);
    assert_string_equal(store_engine_name(f->s), "sqlite");
}

static void an_etcd_in_use_is_not_taken(void **state)
{
    struct fix *f = *state, other = {.lineage = 1};
    struct cfs_err err = {0};

    NEEDS_ETCD(state);
    put(f, "a", 1);
    fix_init(&other);
    cfs_loop_free(other.loop);
    other.loop = f->loop;
    other.engine = f->engine;
    assert_int_equal(store_open_sqlite(f->loop, NULL, other.dir, &other.s,
                                       &err), 0);
    other.lineage = 7;
    put(&other, "b", 1);
    assert_int_equal(go_etcd(&other, mark_ok), -EEXIST);
    assert_int_equal(get(&other, "b", NULL), 1);
    store_close(other.s);
    rig_remove(other.dir);
    assert_int_equal(current(f), 0);
    assert_int_equal(get(f, "a", NULL), 1);
    assert_int_equal(get(f, "b", NULL), -ENOENT);
    assert_int_equal(put(f, "a", 2), 0);
}

static int die(void *arg)
{
    _exit(7);
}

/* A process of its own makes the switch, and dies when it has to mark. */
static void switch_and_die(struct fix *f)
{
    struct cfs_err err = {0};
    pid_t pid;
    int status;

    store_close(f->s);
    f->s = NULL;
    pid = fork();
    if (pid == 0) {
        struct cfs_loop *loop;
        struct store *s;

        if (cfs_loop_new(&loop, &err) < 0 ||
            store_open_sqlite(loop, NULL, f->dir, &s, &err) < 0)
            _exit(1);
        store_to_etcd(s, &rig_of(f)->to, LINEAGE, die, on_done, f);
        cfs_loop_run(loop);
        _exit(2);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void killed_before_the_marker_it_is_as_it_was(void **state)
{
    struct fix *f = *state;
    struct cfs_err err = {0};

    NEEDS_ETCD(state);
    put(f, "a", 1);
    switch_and_die(f);
    assert_int_equal(store_open_sqlite(f->loop, NULL, f->dir, &f->s, &err),
                     0);
    assert_int_equal(get(f, "a", NULL), 1);
    assert_int_equal(put(f, "a", 2), 0);
    assert_int_equal(go_etcd(f, mark_ok), 0);
    assert_int_equal(get(f, "a", NULL), 2);
}

/* The marker was there: what the next life finds is a head that nobody has
 * made live. */
static void killed_after_the_marker_it_is_etcds(void **state)
{
    struct fix *f = *state;

    NEEDS_ETCD(state);
    put(f, "a", 1);
    switch_and_die(f);
    assert_int_equal(f->open(f, NULL), 0);
    assert_int_equal(get(f, "a", NULL), 1);
    assert_int_equal(put(f, "a", 2), 0);
    assert_int_equal(store_lineage(f->s), LINEAGE);
    reopen(f);
    assert_int_equal(current(f), 0);
    assert_int_equal(get(f, "a", NULL), 2);
}

static void a_store_can_be_closed_at_any_time(void **state)
{
    struct fix *f = *state;

    NEEDS_ETCD(state);
    put(f, "a", 1);
    for (unsigned ms = 0; ms < 12; ms++) {
        for (int i = 0; i < 3; i++) {
            struct store_txn *t = store_txn_new();

            put_op(t, "a", i);
            store_commit(f->s, t, on_done, f);
        }
        store_current(f->s, on_done, f);
        run_for(f, ms);
        reopen(f);
    }
    f->pending = 0;
    assert_int_equal(put(f, "a", 5), 0);
    assert_int_equal(get(f, "a", NULL), 5);
}

#define S(name) {#name, name##_, etcd_setup_one, etcd_teardown, NULL},
#define T(name)                                                              \
    cmocka_unit_test_setup_teardown(name, etcd_setup_one, etcd_teardown)
#define B(name)                                                              \
    cmocka_unit_test_setup_teardown(name, etcd_setup_before, etcd_teardown)

/* One argument: which tests, with * and ?. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        STORE_SUITE(S)
        T(of_two_nodes_that_count_none_loses_a_step),
        T(every_node_hears_changes_in_the_same_order),
        T(a_current_read_shows_what_another_node_was_answered),
        T(ten_thousand_records_are_read_in_pages),
        T(large_records_are_read_in_smaller_pages),
        cmocka_unit_test_setup_teardown(it_works_with_mutual_tls,
                                        etcd_setup_tls, etcd_teardown),
        T(a_damaged_record_is_read_again_from_etcd),
        T(damage_is_noticed_and_mended_while_it_runs),
        T(a_record_that_the_copy_lost_comes_back),
        T(a_copy_that_is_no_database_is_begun_anew),
        T(a_copy_from_before_a_compaction_reads_all_again),
        T(what_is_no_record_in_etcd_is_an_error_that_names_it),
        T(an_etcd_of_another_life_is_neither_read_nor_written),
        T(a_copy_never_goes_back_to_a_lower_lineage),
        T(in_a_new_lineage_everything_is_read_again),
        B(the_switch_takes_every_record_along),
        B(without_its_marker_the_embedded_store_stays),
        B(without_an_etcd_the_embedded_store_stays),
        T(an_etcd_in_use_is_not_taken),
        B(killed_before_the_marker_it_is_as_it_was),
        B(killed_after_the_marker_it_is_etcds),
        T(a_store_can_be_closed_at_any_time),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
