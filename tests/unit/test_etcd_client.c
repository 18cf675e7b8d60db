/* SPDX-License-Identifier: Apache-2.0 */
/* test_etcd_client.c - requests to real etcds, to members that hang or are
 * gone, and to servers that are none. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/cfs_test.h"
#include "tests/unit/etcd_rig.h"

struct fix {
    struct cfs_loop    *loop;
    struct etcd_client *c;
    struct etcd_rig     rig;
    pid_t               liar;
    bool                answered;
    int                 status;
    bool                doubt;
    json_t             *reply;
    char                text[CFS_ERR_TEXT];
};

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    struct cfs_err err = {0};

    assert_int_equal(cfs_loop_new(&f->loop, &err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    etcd_client_free(f->c);
    json_decref(f->reply);
    cfs_loop_free(f->loop);
    etcd_rig_end(&f->rig);
    if (f->liar) {
        kill(f->liar, SIGKILL);
        waitpid(f->liar, NULL, 0);
    }
    free(f);
    return 0;
}

static void client(struct fix *f, const struct etcd_target *to)
{
    struct cfs_err err = {0};

    etcd_client_free(f->c);
    f->c = NULL;
    if (etcd_client_new(f->loop, NULL, to, &f->c, &err) < 0)
        fail_msg("%s", err.text);
}

static void start(struct fix *f, unsigned n, bool tls)
{
    const char *lacks = etcd_rig_lacks(tls);

    if (lacks) {
        print_message("skipped: %s\n", lacks);
        skip();
    }
    etcd_rig_start(&f->rig, n, tls);
    client(f, &f->rig.to);
}

static void on_done(void *arg, int status, json_t *reply,
                    const struct cfs_err *err)
{
    struct fix *f = arg;

    f->answered = true;
    f->status = status;
    f->doubt = etcd_in_doubt(f->c);
    json_decref(f->reply);
    f->reply = json_incref(reply);
    memcpy(f->text, err->text, sizeof f->text);
}

static bool is_answered(void *arg)
{
    return ((struct fix *)arg)->answered;
}

static int wait_answer(struct fix *f)
{
    cfs_loop_run_until(f->loop, is_answered, f);
    assert_true(f->answered);
    return f->status;
}

static json_t *put_body(const char *key, const char *value)
{
    return json_pack("{s:o,s:o}", "key", etcd_json_b64(key), "value",
                     etcd_json_b64(value));
}

static int put_within(struct fix *f, const char *key, const char *value,
                      uint32_t try_ms)
{
    f->answered = false;
    etcd_post(f->c, "/v3/kv/put", put_body(key, value), try_ms, 10000,
              on_done, f);
    return wait_answer(f);
}

/* On a busy disk it may be given up, repeated, and carried out twice. */
static int put(struct fix *f, const char *key, const char *value)
{
    return put_within(f, key, value, 300);
}

static int put_once(struct fix *f, const char *key, const char *value)
{
    return put_within(f, key, value, 10000);
}

/* malloc'ed; NULL: not there. */
static char *get(struct fix *f, const char *key)
{
    json_t *kv;
    char *value;

    f->answered = false;
    etcd_post(f->c, "/v3/kv/range", json_pack("{s:o}", "key",
              etcd_json_b64(key)), 300, 10000, on_done, f);
    assert_int_equal(wait_answer(f), 0);
    kv = json_array_get(json_object_get(f->reply, "kvs"), 0);
    if (!kv)
        return NULL;
    assert_int_equal(etcd_text(kv, "value", &value), 0);
    return value;
}

static void expect(struct fix *f, const char *key, const char *value)
{
    char *is = get(f, key);

    assert_non_null(is);
    assert_string_equal(is, value);
    free(is);
}

/* -- base64, numbers ----------------------------------------------------- */

static void base64_comes_back_and_what_is_none_is_refused(void **state)
{
    static const char *const bad[] = {"A", "AA", "AAA", "A===", "AAA!",
                                      "=AAA", "AA=A", "AAAA=", "AA\nA",
                                      "====", "AAA-"};
    uint8_t all[256], *back;
    size_t len;
    char *text;

    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)(i * 7);
    for (size_t n = 0; n <= 256; n++) {
        text = etcd_b64(all, n);
        assert_int_equal(etcd_unb64(text, &back, &len), 0);
        assert_int_equal(len, n);
        assert_memory_equal(back, all, n);
        free(text);
        free(back);
    }
    text = etcd_b64("foob", 4);
    assert_string_equal(text, "Zm9vYg=="); /* RFC 4648 */
    free(text);
    for (size_t i = 0; i < CFS_ARRAY_SIZE(bad); i++)
        assert_int_equal(etcd_unb64(bad[i], &back, &len), -EBADMSG);
}

static void numbers_are_strings_and_absent_when_zero(void **state)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:i}", "max",
                          "18446744073709551615", "over",
                          "18446744073709551616", "neg", "-1", "word", "x",
                          "empty", "", "int", 5);
    uint64_t n = 9;

    assert_int_equal(etcd_number(o, "max", &n), 0);
    assert_true(n == UINT64_MAX);
    assert_int_equal(etcd_number(o, "none", &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(etcd_number(o, "over", &n), -EBADMSG);
    assert_int_equal(etcd_number(o, "neg", &n), -EBADMSG);
    assert_int_equal(etcd_number(o, "word", &n), -EBADMSG);
    assert_int_equal(etcd_number(o, "empty", &n), -EBADMSG);
    assert_int_equal(etcd_number(o, "int", &n), -EBADMSG);
    json_decref(o);
}

/* -- real members -------------------------------------------------------- */

static void what_one_member_takes_it_tells(void **state)
{
    struct fix *f = *state;

    start(f, 1, false);
    assert_int_equal(put(f, "a", "1"), 0);
    assert_true(etcd_u64(json_object_get(f->reply, "header"), "revision") > 0);
    expect(f, "a", "1");
    assert_null(get(f, "b"));
    f->answered = false;
    etcd_post(f->c, "/v3/kv/range", json_pack("{s:o,s:s}", "key",
              etcd_json_b64("a"), "revision", "99"), 300, 5000, on_done, f);
    assert_int_equal(wait_answer(f), -ERANGE);
    f->answered = false;
    etcd_post(f->c, "/v3/kv/nonsense", json_object(), 300, 700, on_done, f);
    assert_int_not_equal(wait_answer(f), 0);
}

static void a_member_that_hangs_or_is_gone_is_left_for_the_next(void **state)
{
    struct fix *f = *state;
    uint64_t began;

    start(f, 3, false);
    assert_int_equal(put(f, "a", "1"), 0);
    for (unsigned i = 0; i < 3; i++) {
        char key[8];

        etcd_rig_signal(&f->rig, i, SIGSTOP);
        /* Each its own key: a try that hung is carried out later. */
        snprintf(key, sizeof key, "s%u", i);
        began = cfs_now(f->loop);
        assert_int_equal(put(f, key, "1"), 0);
        assert_true(cfs_now(f->loop) - began < 5 * CFS_SEC);
        expect(f, key, "1");
        etcd_rig_signal(&f->rig, i, SIGCONT);
    }
    etcd_rig_kill(&f->rig, 0);
    assert_int_equal(put(f, "a", "k"), 0);
    expect(f, "a", "k");
}

static uint64_t answered_by(struct fix *f)
{
    assert_int_equal(put(f, "who", "1"), 0);
    return etcd_u64(json_object_get(f->reply, "header"), "member_id");
}

/* Who was asked instead of a node's own etcd may be far, or sick. */
static void one_that_is_well_again_is_asked_first_again(void **state)
{
    struct fix *f = *state;
    struct etcd_target alone;
    uint64_t own, began;

    start(f, 3, false);
    alone = f->rig.to;
    alone.n = 1;
    client(f, &alone);
    own = answered_by(f);
    client(f, &f->rig.to);
    etcd_rig_signal(&f->rig, 0, SIGSTOP);
    assert_true(answered_by(f) != own);
    etcd_rig_signal(&f->rig, 0, SIGCONT);
    began = cfs_now(f->loop);
    do { /* it needs a moment, to learn who leads */
        etcd_client_go_home(f->c);
    } while (answered_by(f) != own && cfs_now(f->loop) - began < 20 * CFS_SEC);
    assert_true(answered_by(f) == own);
}

/* Two of three are gone; the message says which. */
static void without_a_majority_it_says_who_is_missing(void **state)
{
    struct fix *f = *state;

    start(f, 3, false);
    assert_int_equal(put(f, "a", "1"), 0);
    etcd_rig_kill(&f->rig, 1);
    etcd_rig_kill(&f->rig, 2);
    f->answered = false;
    etcd_post(f->c, "/v3/kv/put", put_body("a", "2"), 300, 1500, on_done, f);
    wait_answer(f);
    assert_true(f->status == -EHOSTUNREACH || f->status == -ETIMEDOUT);
    assert_non_null(strstr(f->text, f->rig.to.url[1]));
    assert_non_null(strstr(f->text, f->rig.to.url[2]));
}

/* Nothing listens: it is certain that nothing happened. */
static void where_nobody_listens_nothing_can_have_happened(void **state)
{
    struct fix *f = *state;
    struct etcd_target to = {.n = 1, .url = {"http://127.99.99.99:1"},
                             .name = {"n7"}};

    client(f, &to);
    f->answered = false;
    etcd_post(f->c, "/v3/kv/put", put_body("a", "2"), 300, 400, on_done, f);
    assert_int_equal(wait_answer(f), -EHOSTUNREACH);
    assert_non_null(strstr(f->text, "n7"));
}

struct seen {
    struct fix        *f;
    struct etcd_watch *w;
    bool               created;
    unsigned           events;
    unsigned           stop_after;
    int                ended;
};

static void on_event(void *arg, json_t *result)
{
    struct seen *s = arg;

    if (json_object_get(result, "created"))
        s->created = true;
    s->events += (unsigned)json_array_size(json_object_get(result, "events"));
    if (s->stop_after && s->events >= s->stop_after) {
        etcd_watch_stop(s->w);
        s->w = NULL;
    }
}

static void on_ended(void *arg, int status, const struct cfs_err *err)
{
    struct seen *s = arg;

    assert_int_equal(status, err->code);
    s->ended = status;
}

static const struct etcd_watch_events events = {on_event, on_ended};

static bool saw_two_or_end(void *arg)
{
    struct seen *s = arg;

    return s->events >= 2 || s->ended;
}

static bool saw_end(void *arg)
{
    return ((struct seen *)arg)->ended != 0;
}

static void a_watch_tells_its_prefix_from_its_revision_on(void **state)
{
    struct fix *f = *state;
    struct seen s = {.f = f}, late = {.f = f, .stop_after = 2};
    uint64_t at;

    start(f, 1, false);
    assert_int_equal(put_once(f, "p/a", "1"), 0);
    at = etcd_u64(json_object_get(f->reply, "header"), "revision");
    etcd_watch_start(f->c, "p/", at, &events, &s, &s.w);
    assert_int_equal(put_once(f, "q/a", "1"), 0);
    assert_int_equal(put_once(f, "p/b", "1"), 0);
    cfs_loop_run_until(f->loop, saw_two_or_end, &s);
    assert_true(s.created);
    assert_int_equal(s.events, 2);
    etcd_watch_start(f->c, "p/", at, &events, &late, &late.w);
    cfs_loop_run_until(f->loop, saw_two_or_end, &late);
    assert_null(late.w); /* stopped itself, from inside */
    etcd_rig_kill(&f->rig, 0);
    cfs_loop_run_until(f->loop, saw_end, &s);
    assert_int_equal(s.ended, -EHOSTUNREACH);
    etcd_watch_stop(s.w);
}

static void a_watch_from_before_a_compaction_says_so(void **state)
{
    struct fix *f = *state;
    struct seen s = {.f = f};
    char at[24];

    start(f, 1, false);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(put(f, "p/a", "1"), 0);
    snprintf(at, sizeof at, "%" PRIu64,
             etcd_u64(json_object_get(f->reply, "header"), "revision"));
    f->answered = false;
    etcd_post(f->c, "/v3/kv/compaction", json_pack("{s:s}", "revision", at),
              300, 5000, on_done, f);
    assert_int_equal(wait_answer(f), 0);
    etcd_watch_start(f->c, "p/", 2, &events, &s, &s.w);
    cfs_loop_run_until(f->loop, saw_end, &s);
    assert_int_equal(s.ended, -ESTALE);
    etcd_watch_stop(s.w);
}

static void only_its_own_authority_is_believed(void **state)
{
    struct fix *f = *state;
    struct etcd_target other;

    start(f, 1, true);
    assert_int_equal(put(f, "a", "1"), 0);
    expect(f, "a", "1");

    /* The server's certificate is not of the authority that we know. */
    other = f->rig.to;
    strcpy(other.ca, "/etc/ssl/certs/ca-certificates.crt");
    if (access(other.ca, R_OK) < 0)
        strcpy(other.ca, other.key);
    client(f, &other);
    f->answered = false;
    etcd_post(f->c, "/v3/kv/range", json_pack("{s:o}", "key",
              etcd_json_b64("a")), 3000, 3000, on_done, f);
    assert_int_equal(wait_answer(f), -EACCES);

    /* It was revoked. */
    other = f->rig.to;
    snprintf(other.crl, sizeof other.crl, "%.60s/node.crl", f->rig.dir);
    client(f, &other);
    f->answered = false;
    etcd_post(f->c, "/v3/kv/range", json_pack("{s:o}", "key",
              etcd_json_b64("a")), 3000, 3000, on_done, f);
    assert_int_equal(wait_answer(f), -EACCES);

    /* We have none, so the server does not believe us. */
    other = f->rig.to;
    other.cert[0] = other.key[0] = '\0';
    client(f, &other);
    f->answered = false;
    etcd_post(f->c, "/v3/kv/range", json_pack("{s:o}", "key",
              etcd_json_b64("a")), 300, 1000, on_done, f);
    assert_int_not_equal(wait_answer(f), 0);
}

/* -- servers that lie ---------------------------------------------------- */

/* A child that answers each connection with @text, then with x's for ever
 * when @flood, and closes it. */
static void liar(struct fix *f, const char *text, bool flood)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct etcd_target to = {.n = 1};

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    getsockname(fd, (struct sockaddr *)&at, &len);
    snprintf(to.url[0], sizeof to.url[0], "http://127.0.0.1:%u",
             ntohs(at.sin_port));
    f->liar = fork();
    if (f->liar == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        for (;;) {
            int conn = accept(fd, NULL, NULL);
            char in[4096];

            if (read(conn, in, sizeof in) < 0)
                _exit(1);
            memset(in, 'x', sizeof in);
            if (write(conn, text, strlen(text)) < 0)
                flood = false;
            while (flood && write(conn, in, sizeof in) > 0)
                ;
            close(conn);
        }
    }
    close(fd);
    client(f, &to);
}

static void liar_end(struct fix *f)
{
    kill(f->liar, SIGKILL);
    waitpid(f->liar, NULL, 0);
    f->liar = 0;
    etcd_client_free(f->c);
    f->c = NULL;
}

#define OK "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

static void what_is_no_etcds_answer_is_refused(void **state)
{
    static const char *const lies[] = {
        OK "Content-Length: 2\r\n\r\n[]",
        OK "Content-Length: 0\r\n\r\n",
        OK "Content-Length: 9\r\n\r\n{\"a\":1,\"a",
        OK "Content-Length: 50\r\n\r\n{\"a\":",
        OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK "Content-Length: 15\r\n\r\n{\"a\":1,\"a\":2}  ",
        OK "Content-Length: 26\r\n\r\n{\"error\":{\"message\":[1,2]}}",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
        "Content-Length: 2\r\n\r\n{}",
        "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "",
    };
    struct fix *f = *state;

    for (size_t i = 0; i < CFS_ARRAY_SIZE(lies); i++) {
        liar(f, lies[i], false);
        f->answered = false;
        etcd_post(f->c, "/v3/kv/put", put_body("a", "1"), 300, 250, on_done,
                  f);
        if (wait_answer(f) == 0)
            fail_msg("taken: %s", lies[i]);
        liar_end(f);
    }
}

static void an_answer_without_end_is_cut_off(void **state)
{
    struct fix *f = *state;
    struct seen s = {.f = f};

    liar(f, OK "\r\n", true);
    f->answered = false;
    etcd_post(f->c, "/v3/kv/range", put_body("a", "1"), 20000, 20000, on_done,
              f);
    assert_int_equal(wait_answer(f), -EMSGSIZE);
    etcd_watch_start(f->c, "p/", 2, &events, &s, &s.w);
    cfs_loop_run_until(f->loop, saw_end, &s);
    assert_int_equal(s.ended, -EMSGSIZE);
    etcd_watch_stop(s.w);
}

static void a_watch_that_is_told_rubbish_ends(void **state)
{
    static const char *const lies[] = {
        OK "Content-Length: 3\r\n\r\n[]\n",
        OK "Content-Length: 13\r\n\r\n{\"result\":[]}\n",
        OK "Content-Length: 14\r\n\r\n{\"result\":[]}\n",
        OK "Content-Length: 14\r\n\r\n{\"result\":{}}\n",
        OK "Content-Length: 10\r\n\r\n{\"error\":5}",
        "HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nNot Found",
        "",
    };
    struct fix *f = *state;

    for (size_t i = 0; i < CFS_ARRAY_SIZE(lies); i++) {
        struct seen s = {.f = f};

        liar(f, lies[i], false);
        etcd_watch_start(f->c, "p/", 2, &events, &s, &s.w);
        cfs_loop_run_until(f->loop, saw_end, &s);
        assert_true(s.ended < 0);
        assert_int_equal(s.events, 0);
        etcd_watch_stop(s.w);
        liar_end(f);
    }
}

/* Freed with requests and watches under way: nothing is called, nothing
 * leaks (the sanitizers see it). */
static void a_client_can_go_at_any_time(void **state)
{
    struct fix *f = *state;
    struct seen s = {.f = f};

    start(f, 1, false);
    etcd_watch_start(f->c, "p/", 2, &events, &s, &s.w);
    for (unsigned i = 0; i < 10; i++)
        etcd_post(f->c, "/v3/kv/put", put_body("a", "1"), 300, 5000, on_done,
                  f);
    etcd_client_free(f->c);
    f->c = NULL;
    assert_false(f->answered);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_comes_back_and_what_is_none_is_refused),
        cmocka_unit_test(numbers_are_strings_and_absent_when_zero),
        T(what_one_member_takes_it_tells),
        T(a_member_that_hangs_or_is_gone_is_left_for_the_next),
        T(one_that_is_well_again_is_asked_first_again),
        T(without_a_majority_it_says_who_is_missing),
        T(where_nobody_listens_nothing_can_have_happened),
        T(a_watch_tells_its_prefix_from_its_revision_on),
        T(a_watch_from_before_a_compaction_says_so),
        T(only_its_own_authority_is_believed),
        T(what_is_no_etcds_answer_is_refused),
        T(an_answer_without_end_is_cut_off),
        T(a_watch_that_is_told_rubbish_ends),
        T(a_client_can_go_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
