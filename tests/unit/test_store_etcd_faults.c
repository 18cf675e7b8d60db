/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_etcd_faults.c - the configuration store while etcd is killed,
 * hangs, is rolled back, and while requests and answers are lost or late. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/store_etcd_fix.h"

static unsigned seed(void)
{
    static unsigned value;

    if (!value) {
        const char *given = getenv("CFS_SEED");

        value = given ? (unsigned)atoi(given) : (unsigned)time(NULL);
        print_message("seed %u (CFS_SEED)\n", value);
    }
    return value++;
}

/* -- answers that are lost ------------------------------------------------ */

/* A child between us and etcd, a process for each connection. Of the requests
 * on it, one in one_in each: the answer is lost; the request itself is held
 * back until long after it was given up, or for hold_ms. Or, mute: what a
 * watch tells is swallowed, but for its first words. */
struct proxy {
    unsigned           one_in; /* 0: none */
    unsigned           hold_ms; /* 0: by chance */
    bool               mute;
    pid_t              pid;
    struct etcd_target to;
};

static bool by_chance(const struct proxy *p)
{
    return p->one_in > 0 && (unsigned)rand() % p->one_in == 0;
}

static void hold(const struct proxy *p)
{
    if (by_chance(p))
        usleep(p->hold_ms ? p->hold_ms * 1000
               : 400000 + (unsigned)rand() % 500000);
}

static bool pass(int to, const char *bytes, ssize_t n)
{
    return n > 0 && write(to, bytes, (size_t)n) == n;
}

static void serve(const struct proxy *px, int client, int etcd, unsigned dice)
{
    static char buf[1 << 16];
    bool lose = false, watch = false;
    unsigned told = 0;

    srand(dice);
    for (;;) {
        struct pollfd p[2] = {{client, POLLIN, 0}, {etcd, POLLIN, 0}};

        poll(p, 2, -1);
        if (p[0].revents) {
            ssize_t n = read(client, buf, sizeof buf - 1);

            buf[n > 0 ? n : 0] = '\0';
            watch |= strncmp(buf, "POST /v3/watch", 14) == 0;
            lose = !px->hold_ms && by_chance(px);
            hold(px);
            if (!pass(etcd, buf, n))
                return;
        }
        if (p[1].revents && lose) {
            usleep(10000); /* it was carried out */
            return;
        }
        if (p[1].revents) {
            ssize_t n = read(etcd, buf, sizeof buf);
            bool swallow = px->mute && watch && told++ > 0;

            if (n <= 0 || (!swallow && !pass(client, buf, n)))
                return;
        }
    }
}

static int dial(const char *ip, unsigned port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, ip, &at.sin_addr);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
        _exit(1);
    return fd;
}

static void proxy_run(const struct proxy *p, int listener, const char *ip,
                      unsigned dice)
{
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int client = accept(listener, NULL, NULL);

        dice += 7;
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            serve(p, client, dial(ip, 24008), dice);
            _exit(0);
        }
        close(client);
    }
}

static void proxy_start(struct proxy *p, struct fix *f)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned dice = seed();

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 64), 0);
    getsockname(fd, (struct sockaddr *)&at, &len);
    p->to = (struct etcd_target){.n = 1};
    snprintf(p->to.url[0], sizeof p->to.url[0], "http://127.0.0.1:%u",
             ntohs(at.sin_port));
    p->pid = fork();
    if (p->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int other = 3; other < 256; other++)
            if (other != fd)
                close(other); /* locks, among them */
        proxy_run(p, fd, rig_of(f)->ip, dice);
    }
    close(fd);
}

static void proxy_end(struct proxy *p)
{
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
}

struct history {
    struct store_watch w;
    int                v[1000];
    int                n;
};

static void on_history(struct store_watch *w, const char *key, json_t *value,
                       uint64_t token)
{
    struct history *h = cfs_list_entry(w, struct history, w);

    assert_true(h->n < 1000);
    h->v[h->n++] = value ? (int)json_integer_value(json_object_get(value,
                                                                   "n")) : 0;
}

#define ROUNDS 16

/* One node whose requests are lost, late and repeated, and one that has none
 * of that, put in turn, without any comparison: a transaction that was
 * carried out twice, or later than it was answered, would be seen. */
static void whatever_is_lost_a_transaction_happens_once(void **state)
{
    struct fix *f = *state, *n;
    struct history h = {.w = {.prefix = "x", .changed = on_history}};
    struct proxy p = {.one_in = 4};

    NEEDS_ETCD(state);
    n = node_new(f, NULL);
    proxy_start(&p, f);
    store_watch(n->s, &h.w);
    store_retarget(f->s, &p.to);
    for (int i = 1; i <= ROUNDS; i++) {
        if (put(f, "x", i) < 0)
            fail_msg("round %d: %s", i, f->text);
        if (put(n, "x", -i) < 0)
            fail_msg("round %d: %s", i, n->text);
    }
    run_for(n, 1200); /* what is still held back comes now */
    for (int i = 0; i < h.n; i++)
        if (h.v[i] != (i % 2 ? -(i / 2 + 1) : i / 2 + 1))
            fail_msg("change %d is %d", i, h.v[i]);
    assert_int_equal(h.n, 2 * ROUNDS);
    proxy_end(&p);
    node_free(n);
}

/* The same with a record that comes and goes: "absent" is true again and
 * again, and a late try must not find it so. Each of the two makes it, then
 * the other takes it away. */
static void a_late_try_finds_no_new_chance(void **state)
{
    struct fix *f = *state, *n;
    struct history h = {.w = {.prefix = "x", .changed = on_history}};
    struct proxy p = {.one_in = 3};
    int made = 0;

    NEEDS_ETCD(state);
    n = node_new(f, NULL);
    proxy_start(&p, f);
    store_watch(n->s, &h.w);
    store_retarget(f->s, &p.to);
    for (int i = 1; i <= ROUNDS; i++) {
        struct store_txn *t = store_txn_new();
        uint64_t began;
        int rc;

        if (i % 2)
            put(n, "x", 1000);
        began = cfs_now(f->loop);
        store_txn_if_absent(t, "x");
        put_op(t, "x", i);
        rc = commit(f, t);
        if (i % 2)
            assert_int_equal(rc, -CFS_E_CONFLICT);
        else
            assert_int_equal(rc, 0);
        made += rc == 0;
        began = cfs_now(f->loop) - began;
        t = store_txn_new();
        store_txn_delete(t, "x");
        assert_int_equal(commit(n, t), 0);
        if (began > 250 * CFS_MS) /* some try is still on its way */
            run_for(f, 700);
    }
    run_for(n, 1200);
    assert_int_equal(get(n, "x", NULL), -ENOENT);
    assert_int_equal(h.n, 2 * ROUNDS); /* each put and each delete */
    assert_int_equal(made, ROUNDS / 2);
    proxy_end(&p);
    node_free(n);
}

/* A transaction that nobody answered, and that still is on its way: after
 * store_current() it is known what became of it, and stays so. */
static void an_unknown_fate_is_known_after_a_current_read(void **state)
{
    struct fix *f = *state;
    struct proxy p = {.one_in = 1, .hold_ms = 5400};
    int now;

    NEEDS_ETCD(state);
    assert_int_equal(put(f, "x", 1), 0);
    proxy_start(&p, f);
    store_retarget(f->s, &p.to);
    assert_int_equal(put(f, "x", 2), -ETIMEDOUT);
    assert_non_null(strstr(f->text, "not known"));
    assert_int_equal(get(f, "x", NULL), 1); /* reads go on */
    store_retarget(f->s, &rig_of(f)->to);
    assert_int_equal(current(f), 0);
    now = get(f, "x", NULL);
    assert_true(now == 1 || now == 2);
    run_for(f, 2000); /* the first tries arrive */
    assert_int_equal(current(f), 0);
    assert_int_equal(get(f, "x", NULL), now);
    assert_int_equal(put(f, "x", 3), 0);
    assert_int_equal(get(f, "x", NULL), 3);
    proxy_end(&p);
}

/* The watch stands, and tells nothing: as one does at a member that is cut off
 * from the others. */
static void a_watch_that_has_fallen_silent_is_left(void **state)
{
    struct fix *f = *state, *n;
    struct proxy p = {.mute = true};
    struct etcd_target to = {.n = 2};
    uint64_t began;

    NEEDS_ETCD(state);
    n = node_new(f, NULL);
    proxy_start(&p, f);
    memcpy(to.url[0], p.to.url[0], sizeof to.url[0]);
    memcpy(to.url[1], rig_of(f)->to.url[0], sizeof to.url[1]);
    store_close(f->s);
    f->s = NULL;
    assert_int_equal(store_open_etcd(f->loop, NULL, f->dir, f->lineage, &to,
                                     &f->s, NULL), 0);
    run_for(f, 300);
    /* Another one's change, found by the comparison of each second. */
    assert_int_equal(put(n, "a", 1), 0);
    until_is(f, "a", 1, 4000);
    /* One's own: its answer waits for the copy. */
    store_close(f->s);
    assert_int_equal(store_open_etcd(f->loop, NULL, f->dir, f->lineage, &to,
                                     &f->s, NULL), 0);
    run_for(f, 300);
    began = cfs_now(f->loop);
    assert_int_equal(put(f, "a", 2), 0);
    assert_true(cfs_now(f->loop) - began < 4 * CFS_SEC);
    assert_int_equal(get(f, "a", NULL), 2);
    proxy_end(&p);
    node_free(n);
}

/* -- kills ---------------------------------------------------------------- */

struct killer {
    struct cfs_timer timer;
    struct etcd_rig *rig;
    unsigned         kills;
};

static void on_kill(struct cfs_timer *t)
{
    struct killer *k = cfs_list_entry(t, struct killer, timer);
    unsigned i = (unsigned)rand() % k->rig->n;

    if (k->rig->pid[i]) {
        etcd_rig_kill(k->rig, i);
        k->kills++;
    }
    etcd_rig_run(k->rig, i);
    cfs_timer_start(t, (400 + (uint64_t)rand() % 500) * CFS_MS);
}

/* Transactions of two records each, one after the other, while etcd dies. */
static void what_was_answered_is_there_and_nothing_by_halves(void **state)
{
    struct fix *f = *state, *n;
    struct killer k = {.rig = NULL};
    int answer[4000], i = 0;
    uint64_t end;
    char a[32], b[32];

    NEEDS_ETCD(state);
    srand(seed());
    k.rig = rig_of(f);
    cfs_timer_init(f->loop, &k.timer, on_kill);
    cfs_timer_start(&k.timer, 100 * CFS_MS);
    for (end = cfs_now(f->loop) + 6 * CFS_SEC;
         cfs_now(f->loop) < end && i < 4000; i++) {
        struct store_txn *t = store_txn_new();

        snprintf(a, sizeof a, "p/%04d/a", i);
        snprintf(b, sizeof b, "p/%04d/b", i);
        put_op(t, a, i);
        put_op(t, b, i);
        answer[i] = commit(f, t);
        if (answer[i] == 0)
            assert_int_equal(get(f, b, NULL), i);
    }
    cfs_timer_fini(&k.timer);
    assert_true(k.kills > 3);
    n = node_new(f, NULL);
    for (int r = 0; r < i; r++) {
        int x, y;

        snprintf(a, sizeof a, "p/%04d/a", r);
        snprintf(b, sizeof b, "p/%04d/b", r);
        x = get(n, a, NULL);
        y = get(n, b, NULL);
        assert_int_equal(x, y);
        if (answer[r] == 0)
            assert_int_equal(x, r);
        else if (answer[r] != -ETIMEDOUT)
            assert_int_equal(x, -ENOENT);
        assert_int_equal(get(f, a, NULL), x);
    }
    print_message("%d transactions, %u kills\n", i, k.kills);
    node_free(n);
}

/* A process of its own that commits pairs, and says so after each answer. */
static void commit_and_tell(struct fix *f, int first, int fd)
{
    struct cfs_err err = {0};
    char a[32], b[32];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (cfs_loop_new(&f->loop, &err) < 0 || f->open(f, &err) < 0)
        _exit(1);
    f->pending = 0;
    for (int i = first;; i++) {
        struct store_txn *t = store_txn_new();

        snprintf(a, sizeof a, "p/%05d/a", i);
        snprintf(b, sizeof b, "p/%05d/b", i);
        put_op(t, a, i);
        put_op(t, b, i);
        if (commit(f, t) < 0 || write(fd, &i, sizeof i) < 0)
            _exit(1);
    }
}

/* The last that it said it was answered; -1: none. */
static int run_and_kill(struct fix *f, int first)
{
    int p[2], i, last = -1;
    pid_t pid;

    assert_int_equal(pipe(p), 0);
    pid = fork();
    if (pid == 0)
        commit_and_tell(f, first, p[1]);
    close(p[1]);
    usleep(80000 + (unsigned)rand() % 300000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while (read(p[0], &i, sizeof i) == sizeof i)
        last = i;
    close(p[0]);
    return last;
}

/* Ourselves killed, at any point of a transaction, again and again. */
static void killed_it_keeps_what_was_answered_and_nothing_by_halves(
    void **state)
{
    struct fix *f = *state;
    int answered = 0;

    NEEDS_ETCD(state);
    srand(seed());
    for (int round = 0; round < 10; round++) {
        int first = round * 1000, last;
        char a[32], b[32];

        store_close(f->s);
        f->s = NULL;
        last = run_and_kill(f, first);
        assert_int_equal(f->open(f, NULL), 0);
        assert_int_equal(current(f), 0);
        for (int i = first; i < (last < 0 ? first : last) + 3; i++) {
            int x, y;

            snprintf(a, sizeof a, "p/%05d/a", i);
            snprintf(b, sizeof b, "p/%05d/b", i);
            x = get(f, a, NULL);
            y = get(f, b, NULL);
            assert_int_equal(x, y);
            if (i <= last)
                assert_int_equal(x, i);
        }
        answered += last < 0 ? 0 : last - first + 1;
    }
    print_message("%d answered\n", answered);
    assert_true(answered > 0);
}

static void members_die_and_hang_and_the_store_goes_on(void **state)
{
    struct fix *f = *state, *n;
    char key[16];

    NEEDS_ETCD(state);
    n = node_new(f, NULL);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "kill%u", i);
        etcd_rig_kill(rig_of(f), i);
        if (put_surely(f, key, 1) < 0)
            fail_msg("%s", f->text);
        until_is(n, key, 1, 20000);
        etcd_rig_run(rig_of(f), i);
        until_current(n, 20000);
        run_for(f, 500);
        snprintf(key, sizeof key, "stop%u", i);
        etcd_rig_signal(rig_of(f), i, SIGSTOP);
        if (put_surely(f, key, 1) < 0)
            fail_msg("%s", f->text);
        until_is(n, key, 1, 20000);
        etcd_rig_signal(rig_of(f), i, SIGCONT);
        run_for(f, 500);
    }
    node_free(n);
}

static void without_a_majority_it_reads_and_says_who_is_missing(void **state)
{
    struct fix *f = *state;
    struct store_health h;

    NEEDS_ETCD(state);
    assert_int_equal(put(f, "a", 1), 0);
    until_current(f, 3000);
    etcd_rig_kill(rig_of(f), 1);
    etcd_rig_kill(rig_of(f), 2);
    assert_true(put(f, "a", 2) < 0);
    assert_true(f->status == -EHOSTUNREACH || f->status == -ETIMEDOUT);
    assert_non_null(strstr(f->text, rig_of(f)->to.url[1]));
    assert_non_null(strstr(f->text, rig_of(f)->to.url[2]));
    assert_int_equal(get(f, "a", NULL), 1);
    assert_true(current(f) < 0);
    store_health(f->s, &h);
    assert_true(h.many && !h.current);
    assert_non_null(strstr(h.problem, rig_of(f)->to.url[2]));
    reopen(f); /* it starts without them, too */
    assert_int_equal(get(f, "a", NULL), 1);
    etcd_rig_kill(rig_of(f), 0);
    run_for(f, 1000);
    for (unsigned i = 0; i < 3; i++)
        etcd_rig_run(rig_of(f), i);
    assert_int_equal(current(f), 0);
    assert_int_equal(put(f, "b", 3), 0);
    until_current(f, 3000);
}

/* -- rolled back ---------------------------------------------------------- */

static void an_etcd_that_was_rolled_back_is_noticed(void **state)
{
    struct fix *f = *state;
    struct seen s = {.w = {.prefix = "v/", .changed = on_change}, .f = f};
    struct etcd_rig *rig;

    NEEDS_ETCD(state);
    rig = rig_of(f);
    put(f, "v/a", 1);
    put(f, "v/b", 1);
    etcd_rig_kill(rig, 0);
    etcd_rig_save(rig, 0);
    etcd_rig_run(rig, 0);
    put(f, "v/b", 2);
    put(f, "v/c", 1);
    until_current(f, 5000);
    etcd_rig_kill(rig, 0);
    etcd_rig_roll_back(rig, 0);
    store_watch(f->s, &s.w);
    etcd_rig_run(rig, 0);
    until_is(f, "v/c", -ENOENT, 10000);
    assert_int_equal(get(f, "v/b", NULL), 1);
    assert_string_equal(s.text, "+v/b -v/c ");
    assert_int_equal(put(f, "v/d", 1), 0);
    store_unwatch(&s.w);
}

/* It went on from there, further than the copy ever was. */
static void a_history_that_went_another_way_is_noticed(void **state)
{
    struct fix *f = *state, *n;
    struct etcd_rig *rig;

    NEEDS_ETCD(state);
    rig = rig_of(f);
    assert_int_equal(put_surely(f, "a", 1), 0);
    etcd_rig_kill(rig, 0);
    etcd_rig_save(rig, 0);
    etcd_rig_run(rig, 0);
    assert_int_equal(put_surely(f, "a", 2), 0);
    assert_int_equal(put_surely(f, "lost", 1), 0);
    store_close(f->s);
    f->s = NULL;
    etcd_rig_kill(rig, 0);
    etcd_rig_roll_back(rig, 0);
    etcd_rig_run(rig, 0);
    n = node_new(f, NULL);
    for (int i = 0; i < 20; i++)
        assert_int_equal(put_surely(n, "other", i), 0);
    assert_int_equal(f->open(f, NULL), 0);
    assert_int_equal(get(f, "lost", NULL), 1);
    assert_int_equal(current(f), 0);
    assert_int_equal(get(f, "lost", NULL), -ENOENT);
    assert_int_equal(get(f, "a", NULL), 1);
    assert_int_equal(get(f, "other", NULL), 19);
    node_free(n);
}

/* Its directory is gone: nothing is taken for "all was deleted". */
static void an_empty_etcd_empties_no_copy(void **state)
{
    struct fix *f = *state;
    struct store_health h;

    NEEDS_ETCD(state);
    put(f, "a", 1);
    etcd_rig_kill(rig_of(f), 0);
    etcd_rig_wipe(rig_of(f), 0);
    etcd_rig_run(rig_of(f), 0);
    until_said(f, "empty", 30000);
    assert_int_equal(get(f, "a", NULL), 1);
    assert_int_equal(put(f, "a", 2), -ESTALE);
    store_health(f->s, &h);
    assert_false(h.current);
    reopen(f);
    run_for(f, 1000);
    assert_int_equal(get(f, "a", NULL), 1);
}

#define T(name)                                                              \
    cmocka_unit_test_setup_teardown(name, etcd_setup_one, etcd_teardown)
#define T3(name)                                                             \
    cmocka_unit_test_setup_teardown(name, etcd_setup_three, etcd_teardown)

/* One argument: which tests, with * and ?. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(whatever_is_lost_a_transaction_happens_once),
        T(a_late_try_finds_no_new_chance),
        T(an_unknown_fate_is_known_after_a_current_read),
        T(a_watch_that_has_fallen_silent_is_left),
        T3(what_was_answered_is_there_and_nothing_by_halves),
        T(killed_it_keeps_what_was_answered_and_nothing_by_halves),
        T3(members_die_and_hang_and_the_store_goes_on),
        T3(without_a_majority_it_reads_and_says_who_is_missing),
        T(an_etcd_that_was_rolled_back_is_noticed),
        T(a_history_that_went_another_way_is_noticed),
        T(an_empty_etcd_empties_no_copy),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
