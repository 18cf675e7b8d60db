/* SPDX-License-Identifier: Apache-2.0 */
/* test_strangers.c - a real mgmtd's TCP port: every procedure of every program
 * is tried by a stranger, by a client and by a node that has not greeted; and
 * strangers in numbers do not keep others out.
 *
 * What each may is written down here once more, by hand: a row that is missing
 * or too generous in mgmtd/access.c fails.
 */
#include "tests/unit/sh.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log.h"
#include "rpc/creds.h"
#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"

#define PROGRAMS_MAX 12u
#define PROCS_MAX    40u
#define LIMIT        (20 * CFS_SEC)

static char root[64], dirs[360];
static uint16_t port;
static struct cfs_loop *loop;
static struct cfs_log *logger;

/* -- the daemon ----------------------------------------------------------- */

static uint16_t free_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    close(fd);
    return ntohs(in.sin_port);
}

static int start_daemon(void **state)
{
    struct cfs_err err = {0};

    cfs_test_dir(root, "strangers");
    port = free_port();
    snprintf(dirs, sizeof dirs,
             "CLUSTERFS_CONFIG_DIR=%s/e CLUSTERFS_STATE_DIR=%s/s "
             "CLUSTERFS_RUN_DIR=%s/r CLUSTERFS_LOG_DIR=%s/l", root, root,
             root, root);
    if (sh("%s %s --port %u", dirs, MGMTD, port) != 0 ||
        sh("%s %s cluster create --address 127.0.0.1 >/dev/null", dirs,
           CLI) != 0 ||
        sh("%s %s client add desk -o %s/desk.pem >/dev/null", dirs, CLI,
           root) != 0)
        return -1;
    if (cfs_log_open(&logger, "/dev/null", CFS_LOG_ERROR, CFS_LOG_PLAIN,
                     &err) < 0)
        return -1;
    return cfs_loop_new(&loop, &err);
}

static int end_daemon(void **state)
{
    cfs_loop_free(loop);
    cfs_log_close(logger);
    return sh("p=$(cat %s/r/clusterfs-mgmtd.pid) && kill $p && "
              "while kill -0 $p 2>/dev/null; do sleep 0.05; done; rm -rf %s",
              root, root);
}

/* -- a connection --------------------------------------------------------- */

struct end {
    struct rpc_creds creds;
    struct rpc_conn *conn;
    bool             down;
    struct rpc_call  call;
    bool             done;
    int              status;
    char             text[256]; /* with it */
    json_t          *json;      /* of a command's answer; NULL: none */
    char             error[256];
};

static void on_down(struct rpc_conn *c, const struct cfs_err *why, void *ctx)
{
    ((struct end *)ctx)->down = true;
}

static uint64_t until;

static bool is_up_or_late(void *arg)
{
    const struct end *e = arg;

    return rpc_conn_is_up(e->conn) || cfs_now_fresh(loop) > until;
}

static bool is_done_or_late(void *arg)
{
    const struct end *e = arg;

    return e->done || cfs_now_fresh(loop) > until;
}

enum who { STRANGER, CLIENT, NODE };

/* @file: a client's credentials. */
static void open_with(struct end *e, enum who who, const char *file)
{
    static const struct rpc_events events = {.down = on_down};
    struct rpc_opts opts = rpc_opts_default;
    char path[128], state[80];
    struct rpc_addr addr;
    struct cfs_err err = {0};

    snprintf(path, sizeof path, "%s/%s", root, file);
    snprintf(state, sizeof state, "%s/%s", root, who == NODE ? "s" : "none");
    *e = (struct end){0};
    assert_int_equal(rpc_creds_find(who == CLIENT ? path : NULL, "/nowhere",
                                    state, &e->creds, &err), 0);
    snprintf(path, sizeof path, "127.0.0.1:%u", port);
    assert_int_equal(rpc_addr_parse(path, &addr, &err), 0);
    opts.tls = e->creds.tls;
    opts.reconnect_ms = 20;
    assert_int_equal(rpc_connect(loop, logger, "test", &addr, &opts, NULL, 0,
                                 &events, e, &e->conn, &err), 0);
    until = cfs_now_fresh(loop) + LIMIT;
    cfs_loop_run_until(loop, is_up_or_late, e);
    assert_true(rpc_conn_is_up(e->conn));
}

static void open_end(struct end *e, enum who who)
{
    open_with(e, who, "desk.pem");
}

static void close_end(struct end *e)
{
    json_decref(e->json);
    rpc_conn_close(e->conn);
    rpc_creds_fini(&e->creds);
}

static void on_done(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct end *e = container_of(call, struct end, call);

    e->done = true;
    e->status = status;
    snprintf(e->text, sizeof e->text, "%s",
             reply && rpc_reply_text(reply) ? rpc_reply_text(reply) : "");
}

static int call(struct end *e, uint32_t program, uint32_t proc,
                struct cfs_blob body)
{
    const struct rpc_program p = {.number = program, .version = 1};

    e->done = false;
    rpc_call(e->conn, &e->call, &p, proc, body, (struct cfs_buf){0}, 0,
             on_done);
    until = cfs_now_fresh(loop) + LIMIT;
    cfs_loop_run_until(loop, is_done_or_late, e);
    assert_true(e->done);
    return e->status;
}

/* -- everything ----------------------------------------------------------- */

/* What gets past the door; what is asked is nonsense, so nothing is done. */
static bool may(enum who who, uint32_t program, uint32_t proc)
{
    switch (program) {
    case RPC_DUMP:
        return proc == RPC_DUMP_LIST || proc == RPC_DUMP_PING;
    case RPC_HANDSHAKE:
        return proc == RPC_HANDSHAKE_GETSPEC ||
               (proc == RPC_HANDSHAKE_TRUST && who == CLIENT);
    case RPC_VIEW:
        return proc == RPC_VIEW_GET || proc == RPC_VIEW_DIFFERS ||
               proc == RPC_VIEW_REPORT;
    case RPC_PORTMAP:
        return proc == RPC_PORTMAP_CLIENT_SIGNIN ||
               proc == RPC_PORTMAP_SIGNOUT ||
               proc == RPC_PORTMAP_PORT_BY_BRICK;
    case RPC_CLI:
        return proc == RPC_CLI_REQUEST && who == CLIENT;
    case RPC_PEER:
        if (proc == RPC_PEER_GREET)
            return who == NODE;
        return (proc == RPC_PEER_JOIN || proc == RPC_PEER_INVITE) &&
               who == STRANGER;
    default:
        return false;
    }
}

static void each_procedure_is_for_whom_it_is_meant(void **state)
{
    for (enum who who = STRANGER; who <= NODE; who++) {
        struct end e;

        open_end(&e, who);
        for (uint32_t program = 0; program < PROGRAMS_MAX; program++)
            for (uint32_t proc = 0; proc < PROCS_MAX; proc++) {
                int rc = call(&e, program, proc, (struct cfs_blob){0});
                bool kept_out = rc == -EACCES || rc == -ENOSYS ||
                                rc == -EPROTONOSUPPORT;

                if (kept_out == may(who, program, proc))
                    fail_msg("who %d: program %u, procedure %u: %d", who,
                             program, proc, rc);
            }
        assert_false(e.down);
        close_end(&e);
    }
}

static int command_with(struct end *e, const char *verb, uint8_t id,
                        const char *args)
{
    struct mgmt_cli_request q = {.verb = verb, .args = args,
                                 .id = {{id, (uint8_t)getpid()}}};
    struct cfs_arena a;
    int rc;

    cfs_arena_init(&a);
    rc = call(e, RPC_CLI, RPC_CLI_REQUEST, mgmt_pack_cli_request(&a, &q));
    cfs_arena_fini(&a);
    return rc;
}

static int command(struct end *e, const char *verb, uint8_t id)
{
    return command_with(e, verb, id, "{}");
}

static void a_client_gives_no_commands(void **state)
{
    static const char *const reads[] = {"volume-list", "volume-info",
                                        "volume-status", "peer-status",
                                        "peer-list", "client-list"};
    static const char *const changes[] = {
        "volume-create", "volume-start", "volume-stop", "volume-delete",
        "volume-set", "volume-reset", "peer-token", "peer-join",
        "peer-probe", "peer-detach", "client-add", "client-remove",
        "cluster-create", "cluster-backup", "cluster-restore",
        "cluster-rebuild", "no-such-verb", ""};
    struct end e;

    open_end(&e, CLIENT);
    for (uint8_t i = 0; i < CFS_ARRAY_SIZE(reads); i++)
        assert_int_equal(command(&e, reads[i], (uint8_t)(1 + i)), 0);
    for (uint8_t i = 0; i < CFS_ARRAY_SIZE(changes); i++)
        if (command(&e, changes[i], (uint8_t)(100 + i)) != -EACCES)
            fail_msg("%s", changes[i]);
    assert_int_equal(command_with(&e, "volume-profile", 140,
                                  "{\"action\": \"start\"}"), -EACCES);
    assert_int_equal(command_with(&e, "volume-profile", 141,
                                  "{\"action\": \"info\"}"), 0);
    assert_int_equal(command(&e, "volume-list", 141), -EINVAL);
    close_end(&e);
}

/* -- what a client sees --------------------------------------------------- */

static void on_command_done(struct rpc_call *call, int status,
                            struct rpc_msg *reply)
{
    struct end *e = container_of(call, struct end, call);
    struct mgmt_cli_reply r;
    struct cfs_arena a;

    cfs_arena_init(&a);
    if (status == 0 && mgmt_unpack_cli_reply(&a, reply->body, &r) == 0) {
        status = (int)r.exit_status;
        snprintf(e->error, sizeof e->error, "%s", r.error);
        e->json = json_loads(r.json, JSON_DECODE_ANY, NULL);
    }
    cfs_arena_fini(&a);
    e->done = true;
    e->status = status;
}

/* -> the exit status; the answer is @e's. */
static int asked(struct end *e, const char *verb, uint8_t id, const char *name)
{
    char args[128];
    struct mgmt_cli_request q = {.verb = verb, .args = args,
                                 .id = {{id, 1, (uint8_t)getpid()}}};
    const struct rpc_program p = {.number = RPC_CLI, .version = 1};
    struct cfs_arena a;

    snprintf(args, sizeof args, "{\"name\": \"%s\", \"action\": \"info\"}",
             name);
    json_decref(e->json);
    e->json = NULL;
    e->done = false;
    *e->error = '\0';
    cfs_arena_init(&a);
    rpc_call(e->conn, &e->call, &p, RPC_CLI_REQUEST,
             mgmt_pack_cli_request(&a, &q), (struct cfs_buf){0}, 0,
             on_command_done);
    cfs_arena_fini(&a);
    until = cfs_now_fresh(loop) + LIMIT;
    cfs_loop_run_until(loop, is_done_or_late, e);
    assert_true(e->done);
    return e->status;
}

static const char *name_at(const json_t *list, size_t i)
{
    return json_string_value(json_object_get(json_array_get(list, i),
                                             "name"));
}

static void a_client_sees_the_volumes_that_are_for_it(void **state)
{
    static const char *const all[] = {"volume-list", "volume-info",
                                      "volume-status"};
    static const char *const one[] = {"volume-info", "volume-status",
                                      "volume-get", "volume-top",
                                      "volume-profile"};
    struct end lamp, desk;
    uint8_t id = 1;

    for (char c = 'a'; c <= 'b'; c++)
        assert_int_equal(sh("%s %s volume create %c1 127.0.0.1:%s/%c1.img "
                            "--brick-size 1G --sparse >/dev/null", dirs, CLI,
                            c, root, c), 0);
    assert_int_equal(sh("%s %s client add lamp --volume b1 -o %s/lamp.pem "
                        ">/dev/null", dirs, CLI, root), 0);
    open_with(&lamp, CLIENT, "lamp.pem");
    open_end(&desk, CLIENT);
    for (size_t i = 0; i < CFS_ARRAY_SIZE(all); i++) {
        assert_int_equal(asked(&lamp, all[i], id++, ""), 0);
        assert_int_equal(json_array_size(lamp.json), 1);
        assert_string_equal(name_at(lamp.json, 0), "b1");
        assert_int_equal(asked(&desk, all[i], id++, ""), 0);
        assert_int_equal(json_array_size(desk.json), 2);
    }
    for (size_t i = 0; i < CFS_ARRAY_SIZE(one); i++) {
        char there[256];

        assert_int_equal(asked(&lamp, one[i], id++, "a1"), 1);
        assert_non_null(strstr(lamp.error, "no volume a1 for client lamp"));
        strcpy(there, lamp.error);
        memcpy(strstr(there, "a1"), "c1", 2);
        assert_int_equal(asked(&lamp, one[i], id++, "c1"), 1);
        assert_string_equal(lamp.error, there);
        asked(&lamp, one[i], id++, "b1");
        assert_null(strstr(lamp.error, "no volume"));
    }
    assert_int_equal(asked(&lamp, "client-list", id++, ""), 0);
    assert_int_equal(json_array_size(json_object_get(lamp.json, "clients")),
                     1);
    assert_string_equal(name_at(json_object_get(lamp.json, "clients"), 0),
                        "lamp");
    close_end(&lamp);
    close_end(&desk);
    for (char c = 'a'; c <= 'b'; c++)
        assert_int_equal(sh("%s %s volume delete %c1 --yes >/dev/null", dirs,
                            CLI, c), 0);
    assert_int_equal(sh("%s %s client remove lamp --yes >/dev/null", dirs,
                        CLI), 0);
}

/* Another one's answer is not to be had by its number. */
static void an_answer_is_for_who_asked(void **state)
{
    struct end lamp, desk;

    assert_int_equal(sh("rm -f %s/lamp.pem && %s %s client add lamp -o "
                        "%s/lamp.pem >/dev/null", root, dirs, CLI, root), 0);
    open_with(&lamp, CLIENT, "lamp.pem");
    open_end(&desk, CLIENT);
    assert_int_equal(asked(&desk, "volume-list", 250, ""), 0);
    assert_int_equal(asked(&desk, "volume-list", 250, ""), 0);
    assert_int_equal(asked(&lamp, "volume-list", 250, ""), -EINVAL);
    close_end(&lamp);
    close_end(&desk);
    assert_int_equal(sh("%s %s client remove lamp --yes >/dev/null && rm "
                        "%s/lamp.pem", dirs, CLI, root), 0);
}

/* -- the command ---------------------------------------------------------- */

static void every_command_answers_in_json_too(void **state)
{
    assert_int_equal(sh("%s --help | awk '/^  (cluster|client|peer|volume) "
                        "/ {print $1, $2}' >%s/verbs && test $(wc -l "
                        "<%s/verbs) -ge 27", CLI, root, root), 0);
    assert_int_equal(sh("while read -r c; do %s $c --help | grep -q -e --json "
                        "|| exit 1; done <%s/verbs", CLI, root), 0);
    assert_int_equal(sh("%s %s client add pen -o %s/pen.pem --json | python3 "
                        "-c 'import json, sys; a = json.load(sys.stdin); "
                        "assert a == {\"name\": \"pen\", \"volumes\": [], "
                        "\"file\": \"%s/pen.pem\"}, a' && grep -q "
                        "'PRIVATE KEY' %s/pen.pem", dirs, CLI, root, root,
                        root), 0);
    assert_int_equal(sh("%s %s client add ink --json | python3 -c 'import "
                        "json, sys; assert \"PRIVATE KEY\" in "
                        "json.load(sys.stdin)[\"credentials\"]'", dirs, CLI),
                     0);
    assert_int_equal(sh("%s %s client add nib 2>/dev/null", dirs, CLI),
                     2 << 8);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(sh("%s %s client remove %s --yes --json | grep -q "
                            "name", dirs, CLI, i ? "pen" : "ink"), 0);
}

/* -- volumes -------------------------------------------------------------- */

/* By whatever a stranger asks, with the words of the answers. */
static void ask_for(struct end *e, const char *name, char words[2][256])
{
    char key[80];
    const struct mgmt_getspec spec = {.key = key};
    const struct mgmt_client_signin in = {.volume = name};
    struct cfs_arena a;

    snprintf(key, sizeof key, "volume:%s", name);
    cfs_arena_init(&a);
    assert_int_equal(call(e, RPC_HANDSHAKE, RPC_HANDSHAKE_GETSPEC,
                          mgmt_pack_getspec(&a, &spec)), -EACCES);
    strcpy(words[0], e->text);
    assert_int_equal(call(e, RPC_PORTMAP, RPC_PORTMAP_CLIENT_SIGNIN,
                          mgmt_pack_client_signin(&a, &in)), -EACCES);
    strcpy(words[1], e->text);
    cfs_arena_fini(&a);
}

static void a_volume_that_is_there_looks_like_one_that_is_not(void **state)
{
    char there[2][256], not[2][256];
    struct end e;

    assert_int_equal(sh("%s %s volume create v1 127.0.0.1:%s/b.img "
                        "--brick-size 1G --sparse >/dev/null", dirs, CLI,
                        root), 0);
    open_end(&e, STRANGER);
    ask_for(&e, "v1", there);
    ask_for(&e, "v2", not);
    for (unsigned i = 0; i < 2; i++) {
        char *name = strstr(there[i], "v1");

        assert_non_null(name);
        memcpy(name, "v2", 2);
        assert_string_equal(there[i], not[i]);
    }
    close_end(&e);
    assert_int_equal(sh("%s %s volume delete v1 --yes >/dev/null", dirs, CLI),
                     0);
}

/* -- removed clients ------------------------------------------------------ */

/* Root here, on the Unix socket. */
static void open_root(struct end *e)
{
    static const struct rpc_events events = {.down = on_down};
    char path[128];
    struct rpc_addr addr;
    struct cfs_err err = {0};

    *e = (struct end){0};
    snprintf(path, sizeof path, "unix:%s/r/mgmtd.sock", root);
    assert_int_equal(rpc_addr_parse(path, &addr, &err), 0);
    assert_int_equal(rpc_connect(loop, logger, "test", &addr, NULL, NULL, 0,
                                 &events, e, &e->conn, &err), 0);
    until = cfs_now_fresh(loop) + LIMIT;
    cfs_loop_run_until(loop, is_up_or_late, e);
}

static char spec[MGMT_TEXT_MAX + 1];

static void on_spec(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct end *e = container_of(call, struct end, call);
    struct mgmt_getspec_reply r;
    struct cfs_arena a;

    cfs_arena_init(&a);
    assert_int_equal(status, 0);
    assert_int_equal(mgmt_unpack_getspec_reply(&a, reply->body, &r), 0);
    snprintf(spec, sizeof spec, "%s", r.text);
    cfs_arena_fini(&a);
    e->done = true;
}

/* What the brick is told, into spec; -> the number of the volume's secret. */
static int fetch(struct end *e, const char *brick)
{
    char key[80];
    const struct mgmt_getspec q = {.key = key};
    const struct rpc_program p = {.number = RPC_HANDSHAKE, .version = 1};
    struct cfs_arena a;
    const char *at;

    snprintf(key, sizeof key, "brick:%s", brick);
    e->done = false;
    cfs_arena_init(&a);
    rpc_call(e->conn, &e->call, &p, RPC_HANDSHAKE_GETSPEC,
             mgmt_pack_getspec(&a, &q), (struct cfs_buf){0}, 0, on_spec);
    cfs_arena_fini(&a);
    until = cfs_now_fresh(loop) + LIMIT;
    cfs_loop_run_until(loop, is_done_or_late, e);
    assert_true(e->done);
    at = strstr(spec, "secret-number ");
    return at ? atoi(at + strlen("secret-number ")) : 0;
}

/* The word behind @option. */
static const char *word_of(const char *option, char *ret, size_t len)
{
    const char *at = strstr(spec, option);

    *ret = '\0';
    if (at)
        snprintf(ret, len, "%.*s", (int)strcspn(at + strlen(option), "\n"),
                 at + strlen(option));
    return ret;
}

/* So many come and go, with names that begin with @letter. */
static void come_and_go(struct end *e, char letter, unsigned n)
{
    static uint32_t id;
    char name[49], args[100];
    struct mgmt_cli_request q = {.args = args};
    struct cfs_arena a;

    memset(name, letter, 48);
    name[48] = '\0';
    for (unsigned i = 0; i < 2 * n; i++) {
        sprintf(name + 44, "%04u", i / 2);
        snprintf(args, sizeof args, "{\"name\": \"%s\"}", name);
        q.verb = i % 2 ? "client-remove" : "client-add";
        memset(q.id.b, 0x5a, 16);
        memcpy(q.id.b, &(uint32_t){++id}, 4);
        cfs_arena_init(&a);
        assert_int_equal(call(e, RPC_CLI, RPC_CLI_REQUEST,
                              mgmt_pack_cli_request(&a, &q)), 0);
        cfs_arena_fini(&a);
    }
}

/* A brick cannot remember everybody who ever was removed, and need not. */
static void who_was_removed_long_ago_is_forgotten(void **state)
{
    char first[80], second[80], word[80], brick[64];
    struct end e;
    uint64_t late;

    assert_int_equal(sh("%s %s volume create r1 127.0.0.1:%s/r1.img "
                        "--brick-size 1G --sparse >/dev/null", dirs, CLI,
                        root), 0);
    open_root(&e);
    assert_int_equal(asked(&e, "volume-info", 77, "r1"), 0);
    snprintf(brick, sizeof brick, "%s", json_string_value(json_object_get(
        json_array_get(json_object_get(e.json, "bricks"), 0), "id")));
    assert_int_equal(fetch(&e, brick), 1);
    word_of("volume-secret ", first, sizeof first);
    come_and_go(&e, 'a', 50);
    assert_int_equal(fetch(&e, brick), 1); /* there is room */
    come_and_go(&e, 'b', 33);
    for (late = cfs_now_fresh(loop) + LIMIT; fetch(&e, brick) == 1;)
        assert_true(cfs_now_fresh(loop) < late);
    /* Nobody of them is let in by the one before. */
    assert_string_equal(word_of("volume-secret-before ", word, sizeof word),
                        first);
    assert_string_not_equal(word_of("volume-secret ", second, sizeof second),
                            first);
    assert_non_null(strstr(spec, "aaaa0000="));
    assert_non_null(strstr(spec, "bbbb0032="));
    come_and_go(&e, 'c', 83);
    for (late = cfs_now_fresh(loop) + LIMIT; fetch(&e, brick) == 2;)
        assert_true(cfs_now_fresh(loop) < late);
    assert_int_equal(fetch(&e, brick), 3);
    assert_string_equal(word_of("volume-secret-before ", word, sizeof word),
                        second);
    assert_null(strstr(spec, "aaaa0"));
    assert_null(strstr(spec, "bbbb0"));
    assert_non_null(strstr(spec, "cccc0082="));
    close_end(&e);
    assert_int_equal(sh("%s %s volume delete r1 --yes >/dev/null", dirs, CLI),
                     0);
}

/* -- in numbers ----------------------------------------------------------- */

static void what_a_stranger_sends_is_bounded(void **state)
{
    static char big[100 * 1024];
    struct end e;

    open_end(&e, STRANGER);
    assert_int_equal(call(&e, RPC_PEER, RPC_PEER_JOIN,
                          (struct cfs_blob){big, sizeof big}), -ENOTCONN);
    close_end(&e);
    open_end(&e, CLIENT);
    assert_int_equal(call(&e, RPC_HANDSHAKE, RPC_HANDSHAKE_GETSPEC,
                          (struct cfs_blob){big, sizeof big}), -EBADMSG);
    close_end(&e);
}

static int bare(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

static unsigned daemons_files(void)
{
    char path[128], pid[32] = "";
    unsigned n = 0;
    struct dirent *entry;
    FILE *f;
    DIR *d;

    snprintf(path, sizeof path, "%s/r/clusterfs-mgmtd.pid", root);
    f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(fgets(pid, sizeof pid, f));
    fclose(f);
    pid[strcspn(pid, "\n")] = '\0';
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    d = opendir(path);
    assert_non_null(d);
    while ((entry = readdir(d)) != NULL)
        n++;
    closedir(d);
    return n;
}

static void silent_ones_in_numbers_keep_nobody_out(void **state)
{
    int fd[300];
    struct end e;

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(fd); i++)
        fd[i] = bare();
    open_end(&e, CLIENT);
    assert_int_equal(command(&e, "volume-list", 90), 0);
    assert_true(daemons_files() < 150);
    close_end(&e);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(fd); i++)
        close(fd[i]);
}

static void strangers_in_numbers_keep_nobody_out(void **state)
{
    enum { N = 100 };
    static struct end s[N];
    unsigned up = 0;
    struct end e;

    for (unsigned i = 0; i < N; i++)
        open_end(&s[i], STRANGER);
    open_end(&e, NODE);
    assert_int_equal(call(&e, RPC_DUMP, RPC_DUMP_PING, (struct cfs_blob){0}),
                     0);
    for (unsigned i = 0; i < N; i++)
        up += !s[i].down;
    assert_true(up <= 65);
    assert_true(daemons_files() < 150);
    for (unsigned i = 0; i < N; i++)
        close_end(&s[i]);
    close_end(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_procedure_is_for_whom_it_is_meant),
        cmocka_unit_test(a_client_gives_no_commands),
        cmocka_unit_test(a_client_sees_the_volumes_that_are_for_it),
        cmocka_unit_test(an_answer_is_for_who_asked),
        cmocka_unit_test(every_command_answers_in_json_too),
        cmocka_unit_test(a_volume_that_is_there_looks_like_one_that_is_not),
        cmocka_unit_test(who_was_removed_long_ago_is_forgotten),
        cmocka_unit_test(what_a_stranger_sends_is_bounded),
        cmocka_unit_test(silent_ones_in_numbers_keep_nobody_out),
        cmocka_unit_test(strangers_in_numbers_keep_nobody_out),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_daemon, end_daemon);
}
