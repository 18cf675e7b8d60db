/* SPDX-License-Identifier: Apache-2.0 */
/* request.c - one request to mgmtd, and its answer. */
#include "cli/cli.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/conn.h"
#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"

struct request {
    struct cfs_loop *loop;
    struct rpc_conn *conn;
    struct rpc_call  call;
    struct cfs_blob  body;
    bool             sent;
    bool             over;
    enum cli_exit    status;
    json_t          *json;
    struct cfs_err  *err;
};

/* -- is there anybody? ---------------------------------------------------------- */

static int try_connect(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = 0;

    if (fd < 0 ||
        connect(fd, (const struct sockaddr *)addr, sizeof *addr) < 0)
        rc = -errno;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* The connection below tries for ever; here is said at once why it cannot. */
static int check_socket(const char *run_dir, struct cfs_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path, sizeof addr.sun_path, "%s/mgmtd.sock",
                     run_dir);
    int rc;

    if (n < 0 || (size_t)n >= sizeof addr.sun_path)
        return cfs_err_set(err, -ENAMETOOLONG, "the run directory's name is "
                           "too long: %s", run_dir);
    rc = try_connect(&addr);
    if (rc == 0)
        return 0;
    if (rc == -EACCES || rc == -EPERM)
        return cfs_err_set(err, rc, "%s: not permitted; only root may give "
                           "commands", addr.sun_path);
    return cfs_err_set(err, rc, "clusterfs-mgmtd does not answer at %s (%s); "
                       "to start it: systemctl start clusterfs-mgmtd; to name "
                       "another one: --run-dir, or CLUSTERFS_RUN_DIR",
                       addr.sun_path, strerror(-rc));
}

/* -- the call --------------------------------------------------------------------- */

static void over(struct request *r, enum cli_exit status)
{
    r->status = status;
    r->over = true;
}

static void take_answer(struct request *r, struct rpc_msg *reply)
{
    struct mgmt_cli_reply msg;
    struct cfs_arena a;

    cfs_arena_init(&a);
    if (mgmt_unpack_cli_reply(&a, reply->body, &msg) < 0) {
        cfs_err_set(r->err, -EBADMSG, "clusterfs-mgmtd's answer makes no "
                                      "sense");
        over(r, CLI_FAILED);
    } else if (msg.exit_status != 0) {
        cfs_err_set(r->err, -EIO, "%s", msg.error);
        over(r, CLI_FAILED);
    } else {
        r->json = json_loads(*msg.json ? msg.json : "{}", 0, NULL);
        over(r, r->json ? CLI_OK : CLI_FAILED);
        if (!r->json)
            cfs_err_set(r->err, -EBADMSG, "clusterfs-mgmtd's answer is no "
                                          "JSON");
    }
    cfs_arena_fini(&a);
}

static void on_reply(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    struct request *r = container_of(call, struct request, call);
    const char *text = reply ? rpc_reply_text(reply) : NULL;

    if (reply && status == 0) {
        take_answer(r, reply);
    } else if (reply) {
        cfs_err_set(r->err, status, "%s", text && *text ? text
                                                        : cfs_err_str(status));
        over(r, CLI_FAILED);
    } else {
        cfs_err_set(r->err, status, "the connection to clusterfs-mgmtd was "
                    "lost; whether the command was carried out is not known: "
                    "look with 'clusterfs volume info'");
        over(r, CLI_UNREACHABLE);
    }
}

static void on_up(struct rpc_conn *c, void *ctx)
{
    struct request *r = ctx;

    if (r->sent)
        return;
    r->sent = true;
    rpc_call(c, &r->call, &rpc_to_cli, RPC_CLI_REQUEST, r->body,
             (struct cfs_buf){0}, 0, on_reply);
}

static void on_down(struct rpc_conn *c, const struct cfs_err *why, void *ctx)
{
    struct request *r = ctx;

    if (r->sent)
        return; /* on_reply() hears of it */
    cfs_err_set(r->err, why->code, "clusterfs-mgmtd: %s", why->text);
    over(r, CLI_UNREACHABLE);
}

static bool is_over(void *arg)
{
    return ((struct request *)arg)->over;
}

static enum cli_exit exchange(struct request *r, const char *run_dir)
{
    static const struct rpc_events events = {on_up, on_down};
    struct rpc_addr addr;
    char text[256];

    snprintf(text, sizeof text, "unix:%s/mgmtd.sock", run_dir);
    if (rpc_addr_parse(text, &addr, r->err) < 0 ||
        rpc_connect(r->loop, NULL, "cli", &addr, NULL, NULL, 0, &events, r,
                    &r->conn, r->err) < 0)
        return CLI_UNREACHABLE;
    cfs_loop_run_until(r->loop, is_over, r);
    rpc_conn_close(r->conn);
    return r->status;
}

static struct cfs_uuid new_id(struct cfs_loop *loop)
{
    struct cfs_uuid id;

    cfs_random(loop, id.b, sizeof id.b);
    return id;
}

enum cli_exit cli_request(const char *run_dir, const char *verb,
                          const json_t *args, json_t **ret_json,
                          struct cfs_err *err)
{
    char *text = json_dumps(args, JSON_COMPACT);
    struct mgmt_cli_request msg = {.verb = verb, .args = text};
    struct request r = {.err = err};
    enum cli_exit status = CLI_UNREACHABLE;
    struct cfs_arena a;

    cfs_arena_init(&a);
    if (!text || strlen(text) > MGMT_TEXT_MAX) {
        cfs_err_set(err, -E2BIG, "the command is too long");
        status = CLI_USAGE;
    } else if (check_socket(run_dir, err) == 0 &&
               cfs_loop_new(&r.loop, err) == 0) {
        msg.id = new_id(r.loop);
        r.body = mgmt_pack_cli_request(&a, &msg);
        status = exchange(&r, run_dir);
    }
    cfs_arena_fini(&a);
    cfs_loop_free(r.loop);
    free(text);
    *ret_json = r.json;
    return status;
}
