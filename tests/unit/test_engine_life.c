/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine_life.c - a node's configuration goes from the embedded engine to
 * an etcd of its own, is killed on the way, and looks at what it finds at its
 * next start. A real etcd, real certificates; one node, so no peers.
 *
 * Each life of mgmtd is a child process that opens the engine in the same
 * directory, checks that every record that was ever acknowledged is there,
 * does what the test says, and writes what was acknowledged into a pipe.
 */
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mgmtd/engine_impl.h"
#include "mgmtd/launch.h"
#include "mgmtd/trust.h"
#include "tests/unit/sh.h"

#define RECORDS 150
#define LIMIT_S 40

/* -- what the engine is linked with instead of the rest of mgmtd ----------- */

static struct mgmtd *the;
static struct peer self = {.name = "n1", .number = 1, .host = "127.0.0.1",
                           .self = true, .up = true};

struct peer *peer_find(struct mgmtd *m, const char *name)
{
    return strcmp(name, self.name) == 0 ? &self : NULL;
}

uint64_t peer_heard(const struct peer *p)
{
    return cfs_now(the->host.loop);
}

uint64_t peer_silence(const struct peer *p)
{
    return 0;
}

void peer_call(struct peer *p, uint32_t proc, json_t *args,
               uint32_t timeout_ms, peer_done *done, void *arg)
{
    json_decref(args);
}

void peer_reply(struct peer_req *req, json_t *result)
{
    json_decref(result);
}

void peer_fail(struct peer_req *req, const struct cfs_err *err)
{
}

void command_ok(struct command *c, json_t *json)
{
    json_decref(json);
}

void command_fail(struct command *c, const struct cfs_err *err)
{
}

const char *command_str(const struct command *c, const char *name)
{
    return "";
}

bool command_flag(const struct command *c, const char *name)
{
    return false;
}

void mgmtd_start_anew(struct mgmtd *m)
{
}

bool home_machine(char ret[static CFS_UUID_STR])
{
    return false;
}

int home_check_machine(struct engine *e, struct cfs_err *err)
{
    return 0;
}

void home_init(struct engine *e)
{
    cfs_timer_init(e->m->host.loop, &e->home, NULL);
}

void home_run(struct engine *e)
{
}

struct cfs_uuid uuid_new(struct mgmtd *m)
{
    struct cfs_uuid u;

    cfs_random(m->host.loop, &u, sizeof u);
    return u;
}

/* -- one life -------------------------------------------------------------- */

struct fix {
    char     dir[64];
    uint16_t port;
    int      acked; /* the highest number that was acknowledged */
};

struct life {
    struct mgmtd     m;
    struct fix      *f;
    int              out; /* the pipe */
    int              status;
    bool             over;
    struct cfs_timer limit;
    char             text[CFS_ERR_TEXT];
};

static void on_done(void *arg, int status, const struct cfs_err *err)
{
    struct life *l = arg;

    l->over = true;
    l->status = status;
    memcpy(l->text, err->text, sizeof l->text);
}

static bool is_over(void *arg)
{
    return ((struct life *)arg)->over;
}

static void on_limit(struct cfs_timer *t)
{
    fprintf(stderr, "a life took too long\n");
    _exit(9);
}

static void wait_over(struct life *l)
{
    l->over = false;
    cfs_loop_run_until(l->m.host.loop, is_over, l);
}

static void require(bool ok, const char *what, const char *text)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, text);
    _exit(8);
}

static void found(struct life *l)
{
    struct mgmtd *m = &l->m;
    struct cfs_err err = {0};
    json_t *rec;

    if (store_get(m->store, REC_CLUSTER, &rec, NULL, &err) == 0) {
        rec_uuid(rec, "cluster", "id", &m->cluster, &err);
        m->founded = true;
        json_decref(rec);
        return;
    }
    cluster_found(m, "test", "127.0.0.1", on_done, l);
    wait_over(l);
    require(l->status == 0, "founding", l->text);
}

static struct life *open_life(struct fix *f, int out)
{
    struct life *l = mem_new(sizeof *l);
    struct mgmtd *m = &l->m;
    struct cfs_err err = {0};
    char *trust = mem_printf("%s/trust", f->dir);
    int rc;

    l->f = f;
    l->out = out;
    the = m;
    cfs_list_init(&m->peers);
    cfs_list_add_tail(&m->peers, &self.link);
    m->host.dirs = (struct cfs_dirs){f->dir, f->dir, f->dir, f->dir};
    m->host.port = self.port = f->port;
    rc = cfs_loop_new(&m->host.loop, &err);
    if (rc == 0)
        rc = cfs_log_open(&m->host.log, mem_printf("%s/log", f->dir),
                          CFS_LOG_DEBUG, CFS_LOG_PLAIN, &err);
    if (rc == 0)
        rc = engine_open(m, &err);
    if (rc == 0)
        rc = trust_open(trust, m->node, m->node_id, &m->trust, &err);
    require(rc == 0, "opening", err.text);
    self.id = m->node_id;
    self.name = m->node;
    cfs_timer_init(m->host.loop, &l->limit, on_limit);
    cfs_timer_start(&l->limit, LIMIT_S * CFS_SEC);
    found(l);
    engine_run(m);
    free(trust);
    return l;
}

static void put(struct life *l, int n)
{
    struct store_txn *t = store_txn_new();
    char *key = mem_printf("test/%03d", n % RECORDS);
    json_t *rec = mem_ok(json_pack("{s:i}", "n", n));

    store_txn_put(t, key, rec);
    store_commit(l->m.store, t, on_done, l);
    json_decref(rec);
    free(key);
}

/* Put number @n until it is acknowledged; then the parent may rely on it. */
static void put_surely(struct life *l, int n)
{
    do {
        put(l, n);
        wait_over(l);
    } while (l->status == -EHOSTUNREACH || l->status == -EAGAIN);
    require(l->status == 0, "a change", l->text);
    require(write(l->out, &n, sizeof n) == sizeof n, "the pipe", "");
}

/* Each slot has the last number that was acknowledged for it, or a later one
 * that the process was killed over. */
static void check_records(struct life *l)
{
    for (int n = l->f->acked; n > 0 && n > l->f->acked - RECORDS; n--) {
        char *key = mem_printf("test/%03d", n % RECORDS);
        struct cfs_err err = {0};
        json_t *rec = NULL;
        int rc = store_get(l->m.store, key, &rec, NULL, &err);

        require(rc == 0, "an acknowledged record", err.text);
        require(json_integer_value(json_object_get(rec, "n")) >= n,
                "an acknowledged record", "is old");
        json_decref(rec);
        free(key);
    }
}

static void close_life(struct life *l)
{
    engine_end(&l->m);
    store_close(l->m.store);
    engine_close(&l->m);
    trust_close(l->m.trust);
    _exit(0);
}

/* -- lives ----------------------------------------------------------------- */

static void fill(struct life *l)
{
    for (int n = 1; n <= RECORDS; n++)
        put_surely(l, l->f->acked + n);
}

static void go(struct life *l)
{
    struct store_health h;

    check_records(l);
    engine_go_etcd(&l->m, on_done, l);
    wait_over(l);
    require(l->status == 0, "the switch", l->text);
    store_health(l->m.store, &h);
    require(h.many, "the switch", "did not happen");
    check_records(l);
    for (int n = 1; n <= 20; n++)
        put_surely(l, l->f->acked + n);
}

/* -- the parent's side ----------------------------------------------------- */

static void pause_ms(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000,
                               .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

/* Let a life do @what; kill it after @ms (0: never). Its exit status, or -1
 * when it was killed. */
static int live(struct fix *f, void (*what)(struct life *), unsigned ms)
{
    int fds[2], status, n;
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct life *l;

        close(fds[0]);
        l = open_life(f, fds[1]);
        what(l);
        close_life(l);
    }
    close(fds[1]);
    if (ms) {
        pause_ms(ms);
        kill(pid, SIGKILL);
    }
    waitpid(pid, &status, 0);
    while (read(fds[0], &n, sizeof n) == sizeof n)
        f->acked = n;
    close(fds[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool kill_ours(void *arg, const struct spawned *p)
{
    const struct fix *f = arg;
    const char *dir = spawned_arg(p, "--data-dir");

    if (dir && strncmp(dir, f->dir, strlen(f->dir)) == 0)
        kill((pid_t)p->pid, SIGKILL);
    return true;
}

static void kill_etcd(struct fix *f)
{
    spawn_scan("etcd", kill_ours, f);
}

/* Two free ports behind ours. */
static uint16_t free_port(void)
{
    for (unsigned port = 26000 + (unsigned)getpid() * 7 % 3000;; port += 3) {
        bool all = true;

        for (unsigned i = 1; i <= 2; i++) {
            struct sockaddr_in a = {.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)(port + i))};
            int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

            all &= bind(s, (struct sockaddr *)&a, sizeof a) == 0;
            close(s);
        }
        if (all)
            return (uint16_t)port;
    }
}

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    char *program;

    cfs_test_dir(f->dir, "life");
    f->port = free_port();
    *state = f;
    if (spawn_find_in_path("etcd", &program) < 0)
        skip();
    free(program);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    struct fix *f = *state;

    kill_etcd(f);
    pause_ms(50);
    nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* Whenever it is killed, there is one authority, with every record that was
 * acknowledged, and the switch can be repeated. */
static void killed_during_the_switch_nothing_is_lost(void **state)
{
    struct fix *f = *state;
    bool done = false;

    srand(7);
    assert_int_equal(live(f, fill, 0), 0);
    for (unsigned round = 0; round < 10; round++) {
        int status = live(f, go, 30 + (unsigned)rand() % 900);

        assert_true(status == 0 || status == -1);
        if (round % 3 == 2)
            kill_etcd(f);
    }
    for (unsigned tries = 0; tries < 3 && !done; tries++)
        done = live(f, go, 0) == 0;
    assert_true(done);
}

/* -- directories ----------------------------------------------------------- */

static void write_one(struct life *l)
{
    check_records(l);
    put_surely(l, l->f->acked + 1);
}

/* Etcd must not have been started; e->wiped says why. */
static void expect_wiped(struct life *l, const char *why)
{
    struct engine *e = l->m.engine;

    check_records(l); /* the copy is there, and is read */
    require(strstr(e->wiped, why) != NULL, why, e->wiped);
    require(e->proc.state == ETCD_NONE, why, "etcd was started");
    put(l, 1);
    wait_over(l);
    require(l->status < 0, why, "a change was made");
}

static void expect_gone(struct life *l)
{
    expect_wiped(l, "gone or empty");
}

static void expect_foreign(struct life *l)
{
    expect_wiped(l, "not this node's");
}

static void expect_old(struct life *l)
{
    expect_wiped(l, "put back from an old copy");
}

static void run(struct fix *f, const char *script)
{
    assert_int_equal(sh("cd %s && { %s; }", f->dir, script), 0);
}

static void etcds_directory_is_looked_at_before_it_is_started(void **state)
{
    struct fix *f = *state;

    assert_int_equal(live(f, fill, 0), 0);
    assert_int_equal(live(f, go, 0), 0);
    kill_etcd(f);
    pause_ms(50);

    run(f, "mv etcd kept");
    assert_int_equal(live(f, expect_gone, 0), 0);
    run(f, "mv kept etcd");
    assert_int_equal(live(f, write_one, 0), 0);
    kill_etcd(f);
    pause_ms(50);

    /* It is known to have got further than this copy. */
    run(f, "sed 's/\"index\": \"0000/\"index\": \"0001/' engine.index > i 2>&1 "
           "|| true; M=$(sed -n 's/.*\"member\": \"\\(.*\\)\",/\\1/p' "
           "engine.json); echo \"{\\\"member\\\": \\\"$M\\\", \\\"index\\\": "
           "\\\"00000000000fffff\\\"}\" > engine.index");
    assert_int_equal(live(f, expect_old, 0), 0);
    run(f, "rm engine.index");
    assert_int_equal(live(f, write_one, 0), 0);
    kill_etcd(f);
    pause_ms(50);

    /* Another etcd's. */
    run(f, "mv etcd kept; (timeout 1 etcd --data-dir etcd "
           "--listen-client-urls http://127.0.0.1:0 "
           "--advertise-client-urls http://127.0.0.1:1 "
           "--listen-peer-urls http://127.0.0.1:0 >/dev/null 2>&1; true)");
    assert_int_equal(live(f, expect_foreign, 0), 0);
    run(f, "rm -r etcd; mv kept etcd");
    assert_int_equal(live(f, write_one, 0), 0);
}

/* -- the marker ------------------------------------------------------------ */

static void nothing(struct life *l)
{
}

static void a_damaged_marker_is_an_error_and_not_an_answer(void **state)
{
    struct fix *f = *state;

    assert_int_equal(live(f, fill, 0), 0);
    run(f, "cp engine.json kept; sed -i 's/sqlite/etcd/' engine.json");
    assert_int_equal(live(f, nothing, 0), 8);
    run(f, "echo > engine.json");
    assert_int_equal(live(f, nothing, 0), 8);
    run(f, "mv kept engine.json");
    assert_int_equal(live(f, write_one, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            killed_during_the_switch_nothing_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(
            etcds_directory_is_looked_at_before_it_is_started, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            a_damaged_marker_is_an_error_and_not_an_answer, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
