/* SPDX-License-Identifier: Apache-2.0 */
/* ask.c - one request to mgmtd, over its Unix socket, and its answer.
 *
 *     connect --fails--> nobody is there: the end
 *        |
 *        v          connection lost
 *     send the request <-----------+   the same id: what mgmtd has done, or
 *        |                         |   is doing, is not done again
 *        v                         |
 *     wait for the answer ---------+-- not back in time: the end
 */
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/host.h"
#include "core/log.h"
#include "rpc/creds.h"
#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"

#define BACK_WITHIN (20 * CFS_SEC) /* a mgmtd that was lost */

/* s: work that takes so long is shown, on a terminal and elsewhere. */
#define SHOW_AFTER 2u
#define SAY_AFTER  10u
#define SAY_EVERY  60u

struct ask {
    struct cfs_loop  *loop;
    struct cfs_log   *log;
    struct rpc_addr   addr;
    struct rpc_creds  creds;
    struct rpc_conn  *conn;
    struct rpc_call   call;
    struct cfs_uuid   id;
    const char       *verb;
    char             *args; /* JSON */
    const char       *doing;
    bool              was_up;
    bool              calling;
    bool              over;
    struct cfs_timer  lost;
    struct cfs_timer  second;
    unsigned          seconds;
    bool              drawn; /* a line is to be wiped */
    struct cli_answer answer;
    struct cfs_err   *err;
    int               rc;
};

static void finish(struct ask *a, int rc)
{
    a->over = true;
    a->rc = rc;
}

/* -- showing that it works ------------------------------------------------ */

static void wipe(struct ask *a)
{
    if (a->drawn)
        fprintf(stderr, "\r\033[K");
    a->drawn = false;
}

static void on_second(struct cfs_timer *t)
{
    struct ask *a = container_of(t, struct ask, second);

    a->seconds++;
    if (isatty(STDERR_FILENO) && a->seconds >= SHOW_AFTER) {
        fprintf(stderr, "\r\033[Kclusterfs-mgmtd %s: %u s", a->doing,
                a->seconds);
        a->drawn = true;
    } else if (!isatty(STDERR_FILENO) &&
               (a->seconds == SAY_AFTER || a->seconds % SAY_EVERY == 0)) {
        fprintf(stderr, "clusterfs-mgmtd %s; %u s until now\n", a->doing,
                a->seconds);
    }
    cfs_timer_start(t, CFS_SEC);
}

/* -- the answer ----------------------------------------------------------- */

static int bad_answer(struct ask *a)
{
    return cfs_err_set(a->err, -EBADMSG, "clusterfs-mgmtd at %s gave an answer "
                       "that is none; is it of another version?",
                       a->addr.text);
}

static int take_answer(struct ask *a, struct rpc_msg *reply)
{
    struct mgmt_cli_reply r;
    struct cfs_arena arena;
    int rc;

    cfs_arena_init(&arena);
    rc = mgmt_unpack_cli_reply(&arena, reply->body, &r);
    if (rc == 0) {
        a->answer.status = r.exit_status;
        a->answer.error = strdup(r.error);
        if (r.exit_status == 0)
            a->answer.json = json_loads(r.json, 0, NULL);
    }
    cfs_arena_fini(&arena);
    if (rc < 0 || (a->answer.status == 0 && !a->answer.json))
        return bad_answer(a);
    return 0;
}

/* mgmtd would not take the request at all: refused, as a failed one is. */
static void take_refusal(struct ask *a, int status, const char *text)
{
    a->answer.status = CLI_FAILED;
    a->answer.error = strdup(text && *text ? text : cfs_err_str(status));
}

static void on_reply(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct ask *a = container_of(call, struct ask, call);

    a->calling = false;
    if (a->over || !reply)
        return; /* the connection has ended; on_down() sees to it */
    if (status < 0)
        take_refusal(a, status, rpc_reply_text(reply));
    finish(a, status < 0 ? 0 : take_answer(a, reply));
}

/* -- the connection ------------------------------------------------------- */

static void on_up(struct rpc_conn *c, void *ctx)
{
    struct ask *a = ctx;
    const struct mgmt_cli_request msg = {
        .id = a->id,
        .verb = a->verb,
        .args = a->args,
    };
    struct cfs_arena arena;

    if (a->was_up) {
        wipe(a);
        fprintf(stderr, "clusterfs-mgmtd is back; asking it again\n");
    }
    a->was_up = true;
    cfs_timer_stop(&a->lost);
    if (a->calling)
        return;
    a->calling = true;
    cfs_arena_init(&arena);
    rpc_call(c, &a->call, &rpc_to_cli, RPC_CLI_REQUEST,
             mgmt_pack_cli_request(&arena, &msg), (struct cfs_buf){0}, 0,
             on_reply);
    cfs_arena_fini(&arena);
}

static int nobody_there(struct ask *a, const struct cfs_err *why)
{
    if (a->creds.tls)
        return cfs_err_set(a->err, why->code, "%s", why->text);
    if (why->code == -EACCES || why->code == -EPERM)
        return cfs_err_set(a->err, why->code, "%s; only root may command "
                           "clusterfs", why->text);
    return cfs_err_set(a->err, why->code, "%s\nclusterfs-mgmtd does not run, "
                       "or has another run directory (--run-dir, "
                       "CLUSTERFS_RUN_DIR).\nTo start it: systemctl start "
                       "clusterfs-mgmtd, or run clusterfs-mgmtd.", why->text);
}

static void on_down(struct rpc_conn *c, const struct cfs_err *why, void *ctx)
{
    struct ask *a = ctx;

    if (a->over)
        return;
    if (!a->was_up || why->code == -EKEYREJECTED) {
        finish(a, nobody_there(a, why));
    } else if (!cfs_timer_active(&a->lost)) {
        wipe(a);
        fprintf(stderr, "The connection to clusterfs-mgmtd is lost: %s\n",
                why->text);
        cfs_timer_start(&a->lost, BACK_WITHIN);
    }
}

static void on_lost(struct cfs_timer *t)
{
    struct ask *a = container_of(t, struct ask, lost);

    finish(a, cfs_err_set(a->err, -ENOTCONN, "clusterfs-mgmtd at %s does not "
                          "come back; whether it did what was asked is not "
                          "known: look, before you try again",
                          a->addr.text));
}

/* -- from outside --------------------------------------------------------- */

static bool is_over(void *arg)
{
    const struct ask *a = arg;

    return a->over;
}

static void run(struct ask *a)
{
    static const struct rpc_events events = {on_up, on_down};
    struct rpc_opts opts = rpc_opts_default;

    cfs_random(a->loop, a->id.b, sizeof a->id.b);
    cfs_timer_init(a->loop, &a->lost, on_lost);
    cfs_timer_init(a->loop, &a->second, on_second);
    opts.tls = a->creds.tls;
    a->rc = rpc_connect(a->loop, a->log, "cli", &a->addr, &opts, NULL, 0,
                        &events, a, &a->conn, a->err);
    if (a->rc < 0)
        return;
    if (a->doing)
        cfs_timer_start(&a->second, CFS_SEC);
    cfs_loop_run_until(a->loop, is_over, a);
    wipe(a);
    rpc_conn_close(a->conn);
    cfs_timer_fini(&a->lost);
    cfs_timer_fini(&a->second);
}

/* Where to ask, and what to show there. */
static int find_mgmtd(struct ask *a, const struct cli_where *w)
{
    char text[512];
    bool v6;

    if (!w->server) {
        snprintf(text, sizeof text, "unix:%s/mgmtd.sock", w->run_dir);
        return rpc_addr_parse(text, &a->addr, a->err);
    }
    if (rpc_addr_parse(w->server, &a->addr, NULL) < 0) {
        v6 = strchr(w->server, ':') && *w->server != '[';
        snprintf(text, sizeof text, "%s%s%s:%u", v6 ? "[" : "", w->server,
                 v6 ? "]" : "", CFS_PORT_MGMTD);
        if (rpc_addr_parse(text, &a->addr, NULL) < 0)
            return cfs_err_set(a->err, -EINVAL, "--server %s: expected HOST "
                               "or HOST:PORT", w->server);
    }
    return rpc_creds_find(w->credentials, w->config_dir, w->state_dir,
                          &a->creds, a->err);
}

int cli_ask(const struct cli_where *w, const char *verb, const json_t *args,
            const char *doing, struct cli_answer *ret, struct cfs_err *err)
{
    struct ask a = {.verb = verb, .doing = doing, .err = err};
    int rc = find_mgmtd(&a, w);

    if (rc < 0)
        return rc;
    a.args = json_dumps(args, JSON_COMPACT);
    if (!a.args)
        return cfs_err_set(err, -EINVAL, "the arguments make no JSON");
    if (strlen(a.args) > MGMT_TEXT_MAX)
        rc = cfs_err_set(err, -E2BIG, "the command is too long");
    if (rc == 0)
        rc = cfs_log_open(&a.log, NULL, CFS_LOG_ERROR, CFS_LOG_PLAIN, err);
    if (rc == 0)
        rc = cfs_loop_new(&a.loop, err);
    if (rc == 0) {
        run(&a);
        rc = a.rc;
    }
    cfs_loop_free(a.loop);
    cfs_log_close(a.log);
    rpc_creds_fini(&a.creds);
    free(a.args);
    if (rc < 0)
        cli_answer_free(&a.answer);
    else
        *ret = a.answer;
    return rc;
}

void cli_answer_free(struct cli_answer *a)
{
    free(a->error);
    json_decref(a->json);
    *a = (struct cli_answer){0};
}
