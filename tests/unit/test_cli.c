/* SPDX-License-Identifier: Apache-2.0 */
/* test_cli.c - the clusterfs command: what it refuses by itself and in which
 * words, what it asks mgmtd for, how it shows what comes back. mgmtd is a
 * process of the test's own.
 */
#include "tests/unit/cfs_test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "core/log.h"
#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"

/* -- command lines -------------------------------------------------------- */

#define WORDS_MAX 24

static const struct cli_command commands[] = {
    {.group = "volume", .verb = "create", .synopsis = "NAME BRICK...",
     .about = "make one", .force = "even so",
     .options = CLI_OPT_JSON | CLI_OPT_FORCE | CLI_OPT_SPARSE |
                CLI_OPT_BRICK_SIZE | CLI_OPT_OPTION,
     .words_min = 2, .words_max = 100, .args = cli_create_args},
    {.group = "volume", .verb = "stop", .synopsis = "NAME",
     .about = "stop one", .force = "even mounted",
     .options = CLI_OPT_JSON | CLI_OPT_FORCE | CLI_OPT_YES,
     .words_min = 1, .words_max = 1, .args = cli_force_args},
    {.group = "volume", .verb = "set", .synopsis = "NAME OPTION VALUE",
     .about = "set some", .options = CLI_OPT_JSON, .words_min = 2,
     .words_max = 100, .args = cli_set_args},
    {.group = "volume", .verb = "reset", .synopsis = "NAME [OPTION...]",
     .about = "reset some", .options = CLI_OPT_JSON | CLI_OPT_YES,
     .words_min = 1, .words_max = 100, .args = cli_reset_args},
    {.group = "volume", .verb = "profile", .synopsis = "NAME start",
     .about = "figures", .options = CLI_OPT_JSON, .words_min = 2,
     .words_max = 2, .args = cli_profile_args},
    {.group = "volume", .verb = "list", .synopsis = "", .about = "list all",
     .options = CLI_OPT_JSON, .args = cli_name_args},
    {.group = NULL},
};

/* A command line, from words with blanks between them. */
struct typed {
    char            text[512];
    struct cli_line line;
    struct cfs_err  err;
    json_t         *args;
    int             rc;
};

static struct typed typed(const char *text)
{
    struct typed t = {.rc = 0};
    const char *argv[WORDS_MAX] = {"clusterfs"};
    char *copy = strdup(text), *at;
    int argc = 1;

    for (at = strtok(copy, " "); at; at = strtok(NULL, " ")) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = at;
    }
    t.rc = cli_parse(commands, argc, argv, &t.line, &t.err);
    t.args = json_object();
    if (t.rc == 0 && t.line.cmd && !cli_has(&t.line, CLI_OPT_HELP))
        t.rc = t.line.cmd->args(&t.line, t.args, &t.err);
    free(copy);
    return t;
}

static void forget(struct typed *t)
{
    cli_line_free(&t->line);
    json_decref(t->args);
}

/* @text is refused, and the reason contains @why. */
static void refused(const char *text, const char *why)
{
    struct typed t = typed(text);

    if (t.rc != -EINVAL || !strstr(t.err.text, why))
        fail_msg("'%s': status %d, '%s' does not tell of '%s'", text, t.rc,
                 t.err.text, why);
    forget(&t);
}

/* @text makes a request with the arguments @json. */
static void asks(const char *text, const char *json)
{
    struct typed t = typed(text);
    json_t *expected = json_loads(json, 0, NULL);

    assert_non_null(expected);
    if (t.rc != 0 || !json_equal(t.args, expected)) {
        char *got = json_dumps(t.args, JSON_COMPACT);

        fail_msg("'%s': status %d (%s), %s", text, t.rc, t.err.text, got);
    }
    json_decref(expected);
    forget(&t);
}

static void create_says_everything_to_mgmtd(void **state)
{
    asks("volume create v localhost:/b/1.img",
         "{\"name\": \"v\", \"replica\": 0, \"brick_size\": 0,"
         " \"bricks\": [\"localhost:/b/1.img\"], \"options\": {},"
         " \"sparse\": false, \"force\": false}");
    asks("volume create v replica 2 a:/1 b:/2 --brick-size 2G --sparse "
         "--force --option network.compression=lz4",
         "{\"name\": \"v\", \"replica\": 2, \"brick_size\": 2147483648,"
         " \"bricks\": [\"a:/1\", \"b:/2\"],"
         " \"options\": {\"network.compression\": \"lz4\"},"
         " \"sparse\": true, \"force\": true}");
    asks("--brick-size=1M volume --sparse create v a:/1",
         "{\"name\": \"v\", \"replica\": 0, \"brick_size\": 1048576,"
         " \"bricks\": [\"a:/1\"], \"options\": {}, \"sparse\": true,"
         " \"force\": false}");
}

static void bricks_that_are_no_multiple_are_refused(void **state)
{
    refused("volume create v replica 3 h:/1 h:/2", "multiple");
    refused("volume create v replica 2 h:/1", "multiple");
}

static void several_bricks_need_their_replica(void **state)
{
    refused("volume create v h:/1 h:/2 h:/3", "replica 3");
    refused("volume create v replica 0 h:/1", "replica");
    refused("volume create v replica 9 h:/1", "1 to 5");
    refused("volume create v replica two h:/1", "replica two");
    refused("volume create v h:/1 replica", "needs a number");
    refused("volume create v replica 1 replica 1 h:/1", "twice");
}

static void a_brick_given_twice_is_refused(void **state)
{
    refused("volume create v replica 2 h:/1 h:/1", "twice");
    refused("volume create v replica 2 h:/a/1 h://a//1/", "twice");
}

static void what_is_no_brick_is_refused(void **state)
{
    refused("volume create v /only/a/path", "HOST:/PATH");
    refused("volume create v host:relative", "HOST:/PATH");
    refused("volume create v :/path", "HOST:/PATH");
    refused("volume create v host:/", "HOST:/PATH");
    refused("volume create v h:/\xff\xfe", "UTF-8");
    refused("volume create v replica 2", "no bricks");
}

static void bad_names_are_refused(void **state)
{
    refused("volume create no/slash h:/1", "cannot name a volume");
    refused("volume create .hidden h:/1", "cannot name a volume");
    refused("volume create -- --force h:/1", "cannot name a volume");
    refused("volume stop a:b", "cannot name a volume");
    refused("volume create "
            "a123456789012345678901234567890123456789012345678901234567890123"
            " h:/1", "63");
}

static void bad_options_are_refused(void **state)
{
    refused("volume create v h:/1 --brick-size lots", "500M");
    refused("volume create v h:/1 --brick-size 0", "500M");
    refused("volume create v h:/1 --brick-size", "needs a value");
    refused("volume create v h:/1 --sparse=yes", "no value");
    refused("volume create v h:/1 --option x", "KEY=VALUE");
    refused("volume create v h:/1 --option x=1 --option x=2", "twice");
    refused("volume list --force", "--force");
    refused("--force volume list", "no option --force");
    refused("volume list extra", "unexpected 'extra'");
    refused("volume stop", "needs more: NAME");
}

static void options_are_set_in_pairs(void **state)
{
    asks("volume set v a 1 b=2 c x=y",
         "{\"name\":\"v\",\"options\":"
         "{\"a\":\"1\",\"b\":\"2\",\"c\":\"x=y\"}}");
    asks("volume reset v a b",
         "{\"name\":\"v\",\"options\":[\"a\",\"b\"]}");
    asks("volume reset v", "{\"name\":\"v\",\"options\":[]}");
    refused("volume set v a", "to which value?");
    refused("volume set v a 1 b", "to which value?");
    refused("volume set v a 1 a=2", "given twice");
    refused("volume set v", "needs more");
    refused("volume set -v a 1", "unknown option");
    asks("volume profile v info",
         "{\"name\":\"v\",\"action\":\"info\"}");
    refused("volume profile v strat", "do you mean 'start'?");
}

static void a_near_miss_is_named(void **state)
{
    refused("volum list", "do you mean 'volume'?");
    refused("volume crate v h:/1", "do you mean 'volume create'?");
    refused("volume list --jsn", "do you mean --json?");
    refused("volume create v h:/1 --brik-size=1", "do you mean --brick-size?");
    refused("xyzzy", "unknown command 'xyzzy'");
    refused("volume", "no command is given");
    refused("", "no command is given");
}

static void help_of_anything_is_given(void **state)
{
    static const char *const lines[][2] = {
        {"--help", "volume create"},
        {"volume --help", "volume stop"},
        {"help volume create", "--brick-size SIZE"},
        {"volume create -h", "--force"},
    };

    for (size_t i = 0; i < CFS_ARRAY_SIZE(lines); i++) {
        struct typed t = typed(lines[i][0]);
        char *text = NULL;
        size_t len;
        FILE *out = open_memstream(&text, &len);

        assert_true(cli_has(&t.line, CLI_OPT_HELP));
        cli_help(out, commands, &t.line);
        fclose(out);
        assert_non_null(strstr(text, lines[i][1]));
        free(text);
        forget(&t);
    }
}

/* -- text ----------------------------------------------------------------- */

static void sizes_are_rounded_to_a_tenth(void **state)
{
    static const struct {
        uint64_t    bytes;
        const char *text;
    } sizes[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1 KiB"},
        {1536, "1.5 KiB"},
        {1024 * 1024 - 1, "1 MiB"},
        {10ull << 30, "10 GiB"},
        {(10ull << 30) + (700ull << 20), "10.7 GiB"},
        {2ull << 40, "2 TiB"},
        {UINT64_MAX, "16 EiB"},
    };
    char buf[SIZE_TEXT];

    for (size_t i = 0; i < CFS_ARRAY_SIZE(sizes); i++)
        assert_string_equal(size_text(sizes[i].bytes, buf), sizes[i].text);
}

static void text_from_outside_plays_no_tricks(void **state)
{
    static const char *const texts[][2] = {
        {"plain", "plain"},
        {"\033[2Jgone", "\\x1b[2Jgone"},
        {"a\nb\177", "a\\x0ab\\x7f"},
        {"gr\303\274n \346\226\207", "gr\303\274n \346\226\207"},
        {"\302\233m", "\\xc2\\x9bm"},       /* CSI of eight bits */
        {"\342\200\256x", "\\xe2\\x80\\xaex"}, /* right to left */
        {"\300\257", "\\xc0\\xaf"},         /* not the shortest */
        {"\355\240\200", "\\xed\\xa0\\x80"}, /* half a pair */
        {"cut\342\202", "cut\\xe2\\x82"},
    };

    for (size_t i = 0; i < CFS_ARRAY_SIZE(texts); i++) {
        char *safe = safe_text(texts[i][0]);

        assert_string_equal(safe, texts[i][1]);
        free(safe);
    }
}

/* What @show prints of @json. Malloc'ed. */
static char *shown(void (*show)(FILE *, const json_t *), const char *json)
{
    json_t *answer = json_loads(json, 0, NULL);
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(answer);
    show(out, answer);
    fclose(out);
    json_decref(answer);
    return text;
}

static void columns_are_aligned(void **state)
{
    char *text = shown(cli_list_show,
                       "[{\"name\": \"v\", \"state\": \"started\","
                       "  \"replica\": 3, \"bricks\": 3},"
                       " {\"name\": \"gr\303\274n\", \"state\": \"stopped\","
                       "  \"replica\": 1, \"bricks\": 12}]");

    assert_string_equal(text,
                        "VOLUME  STATE    REPLICA  BRICKS\n"
                        "v       started        3       3\n"
                        "gr\303\274n    stopped        1      12\n");
    free(text);
    text = shown(cli_list_show, "[]");
    assert_string_equal(text, "There are no volumes.\n");
    free(text);
}

static void status_shows_what_is_wrong(void **state)
{
    char *text = shown(
        cli_status_show,
        "{\"name\": \"v\", \"state\": \"started\", \"replica\": 2,"
        " \"bricks\": ["
        "  {\"brick\": \"n:/1\", \"state\": \"in-sync\", \"reason\": \"\","
        "   \"pid\": 12, \"port\": 49152, \"total\": 2147483648,"
        "   \"free\": 1073741824},"
        "  {\"brick\": \"n:/2\", \"state\": \"faulty\","
        "   \"reason\": \"no such device\", \"pid\": null, \"port\": null,"
        "   \"size\": 2147483648, \"log\": \"/l/2.log\"}],"
        " \"view\": {\"epoch\": 4, \"in_sync\": 1, \"settled\": true},"
        " \"clients\": [{\"session\": 7, \"host\": \"n\", \"pid\": 99,"
        "   \"service\": \"mount\", \"where\": \"/mnt\\u001b\","
        "   \"state\": \"live\"}],"
        " \"space\": {\"total\": 2147483648, \"free\": 1073741824,"
        "   \"inodes\": 5}, \"problem\": \"\"}");

    assert_string_equal(
        text,
        "Volume v: started, replica 2; epoch 4, 1 in sync\n"
        "  BRICK  STATE    PID   PORT   FREE   SIZE\n"
        "  n:/1   in-sync   12  49152  1 GiB  2 GiB\n"
        "  n:/2   faulty     -      -      -  2 GiB\n"
        "  n:/2 is faulty: no such device\n"
        "    log: /l/2.log\n"
        "  CLIENT  WHERE     PID  SESSION  HOST  STATE\n"
        "  mount   /mnt\\x1b   99        7  n     live\n"
        "  1 GiB free of 2 GiB, 5 inodes\n");
    free(text);
}

/* An answer of another version, or of a broken mgmtd: less is shown. */
static void an_answer_that_lacks_everything_is_shown(void **state)
{
    static void (*const shows[])(FILE *, const json_t *) = {
        cli_create_show, cli_start_show, cli_stop_show,  cli_delete_show,
        cli_list_show,   cli_info_show,  cli_status_show,
    };
    static const char *const answers[] = {
        "{}", "[]", "[{}, 1, null]",
        "{\"name\": 1, \"state\": [], \"replica\": \"x\", \"bricks\": {},"
        " \"view\": 3, \"clients\": [1], \"space\": \"\", \"warnings\": [2],"
        " \"options\": {\"a\": 1}, \"created\": -1}",
        "{\"state\": \"started\", \"bricks\": [[], 1], \"options\": []}",
    };

    for (size_t i = 0; i < CFS_ARRAY_SIZE(shows); i++)
        for (size_t k = 0; k < CFS_ARRAY_SIZE(answers); k++)
            free(shown(shows[i], answers[k]));
}

/* -- asking: a mgmtd in another process ----------------------------------- */

struct fake {
    char     dir[64];
    pid_t    pid;
    unsigned lose;   /* so many requests, connection and all */
    unsigned status; /* of its answer */
    bool     trash;  /* its answer is no JSON */
};

struct fake_mgmtd {
    const struct fake *f;
    struct cfs_uuid    id; /* of the first request */
    unsigned           requests;
};

static void on_request(struct rpc_msg *msg, void *ctx)
{
    struct fake_mgmtd *m = ctx;
    struct mgmt_cli_request q;
    struct mgmt_cli_reply r = {.exit_status = m->f->status};
    struct cfs_arena a;
    char json[600];

    cfs_arena_init(&a);
    if (mgmt_unpack_cli_request(&a, msg->body, &q) < 0)
        _exit(70);
    if (m->requests++ == 0)
        m->id = q.id;
    if (m->requests <= m->f->lose) {
        struct rpc_conn *c = msg->conn;

        rpc_reply_error(msg, -EAGAIN, NULL);
        rpc_conn_reset(c, "to be lost"); /* before the reply is out */
    } else {
        /* What it was asked, and whether by the same id each time. */
        snprintf(json, sizeof json,
                 "{\"verb\": \"%s\", \"args\": %s, \"same\": %s}", q.verb,
                 q.args, cfs_uuid_eq(m->id, q.id) ? "true" : "false");
        r.json = m->f->trash ? "{" : json;
        r.error = r.exit_status ? "it cannot be" : "";
        rpc_reply(msg, mgmt_pack_cli_reply(&a, &r), (struct cfs_buf){0});
    }
    cfs_arena_fini(&a);
}

/* The child: listen, tell @ready, serve until killed. */
static void fake_main(const struct fake *f, int ready)
{
    static const struct rpc_proc procs[] = {
        [RPC_CLI_REQUEST] = {"request", on_request},
    };
    struct rpc_program prog = rpc_to_cli;
    struct fake_mgmtd m = {.f = f};
    struct rpc_listener *listener;
    struct cfs_err err = {0};
    struct cfs_loop *loop;
    struct rpc_addr addr;
    char text[128];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prog.procs = procs;
    prog.n_procs = CFS_ARRAY_SIZE(procs);
    prog.ctx = &m;
    snprintf(text, sizeof text, "unix:%s/mgmtd.sock", f->dir);
    if (cfs_loop_new(&loop, &err) < 0 ||
        rpc_addr_parse(text, &addr, &err) < 0 ||
        rpc_listen(loop, NULL, "fake", &addr, 0, 0, NULL, &prog, 1, NULL, &m,
                   &listener, &err) < 0 ||
        write(ready, "", 1) != 1)
        _exit(71);
    cfs_loop_run(loop);
}

static void fake_start(struct fake *f)
{
    int fds[2];
    char c;

    cfs_test_dir(f->dir, "cli");
    assert_int_equal(pipe(fds), 0);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        fake_main(f, fds[1]);
        _exit(72);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &c, 1), 1);
    close(fds[0]);
}

static void fake_end(struct fake *f)
{
    char path[128];

    kill(f->pid, SIGKILL);
    waitpid(f->pid, NULL, 0);
    snprintf(path, sizeof path, "%s/mgmtd.sock", f->dir);
    unlink(path);
    rmdir(f->dir);
}

static int ask(const struct fake *f, struct cli_answer *ret,
               struct cfs_err *err)
{
    json_t *args = json_pack("{s:s}", "name", "v");
    int rc = cli_ask(&(struct cli_where){.run_dir = f->dir}, "volume-status",
                     args, NULL, ret, err);

    json_decref(args);
    return rc;
}

static void the_answer_comes_back(void **state)
{
    struct fake f = {.lose = 0};
    struct cli_answer a = {0};
    struct cfs_err err = {0};

    fake_start(&f);
    assert_int_equal(ask(&f, &a, &err), 0);
    assert_int_equal(a.status, 0);
    assert_string_equal(
        json_string_value(json_object_get(a.json, "verb")), "volume-status");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(a.json, "args"),
                                          "name")), "v");
    cli_answer_free(&a);
    fake_end(&f);
}

static void a_lost_request_is_repeated_under_the_same_id(void **state)
{
    struct fake f = {.lose = 2};
    struct cli_answer a = {0};
    struct cfs_err err = {0};

    fake_start(&f);
    assert_int_equal(ask(&f, &a, &err), 0);
    assert_true(json_is_true(json_object_get(a.json, "same")));
    cli_answer_free(&a);
    fake_end(&f);
}

static void a_refusal_comes_with_its_reason(void **state)
{
    struct fake f = {.status = 1};
    struct cli_answer a = {0};
    struct cfs_err err = {0};

    fake_start(&f);
    assert_int_equal(ask(&f, &a, &err), 0);
    assert_int_equal(a.status, 1);
    assert_string_equal(a.error, "it cannot be");
    assert_null(a.json);
    cli_answer_free(&a);
    fake_end(&f);
}

static void an_answer_that_is_none_is_an_error(void **state)
{
    struct fake f = {.trash = true};
    struct cli_answer a = {0};
    struct cfs_err err = {0};

    fake_start(&f);
    assert_int_equal(ask(&f, &a, &err), -EBADMSG);
    assert_null(a.json);
    fake_end(&f);
}

static void nobody_there_is_said_at_once(void **state)
{
    struct fake f = {.dir = "/tmp/cfs-test-cli-nowhere"};
    struct cli_answer a = {0};
    struct cfs_err err = {0};

    assert_int_equal(ask(&f, &a, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/tmp/cfs-test-cli-nowhere/mgmtd.sock"));
    assert_non_null(strstr(err.text, "To start it"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_says_everything_to_mgmtd),
        cmocka_unit_test(bricks_that_are_no_multiple_are_refused),
        cmocka_unit_test(several_bricks_need_their_replica),
        cmocka_unit_test(a_brick_given_twice_is_refused),
        cmocka_unit_test(what_is_no_brick_is_refused),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(options_are_set_in_pairs),
        cmocka_unit_test(a_near_miss_is_named),
        cmocka_unit_test(help_of_anything_is_given),
        cmocka_unit_test(sizes_are_rounded_to_a_tenth),
        cmocka_unit_test(text_from_outside_plays_no_tricks),
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(status_shows_what_is_wrong),
        cmocka_unit_test(an_answer_that_lacks_everything_is_shown),
        cmocka_unit_test(the_answer_comes_back),
        cmocka_unit_test(a_lost_request_is_repeated_under_the_same_id),
        cmocka_unit_test(a_refusal_comes_with_its_reason),
        cmocka_unit_test(an_answer_that_is_none_is_an_error),
        cmocka_unit_test(nobody_there_is_said_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
