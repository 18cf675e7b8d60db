/* SPDX-License-Identifier: Apache-2.0 */
/* line.c - who is connected to this mgmtd, and may ask what.
 *
 *   RUN_DIR/mgmtd.sock  for root (and the user that mgmtd runs as, for tests),
 *                       by the socket's peer credentials.
 *   PORT                on all addresses, always TLS: nodes, clients,
 *                       strangers.
 *
 * The same programs are offered on both; access.c has who may call what.
 *
 * Strangers cannot keep others out: of those that were not let in to anything
 * there are at most STRANGERS, each for STRANGER_TIME, with STRANGER_TOTAL
 * short calls, a few at a time. The oldest goes when there are more. What they
 * have written into the log is bounded, too.
 */
#include <stdio.h>
#include <string.h>

#include "mgmtd/access.h"
#include "mgmtd/peer.h"
#include "mgmtd/trust.h"

#define WHO "line"

#define STRANGERS      64u
#define STRANGER_TIME  (15 * CFS_SEC)
#define STRANGER_CALLS 4u
#define STRANGER_TOTAL 512u
#define STRANGER_BODY  (64u * 1024u)
#define CLIENT_CALLS   64u
#define LOG_LINES      20u /* caused by strangers, in LOG_TIME */
#define LOG_TIME       (60 * CFS_SEC)
#define HANDSHAKE_MS   5000u

#define N_PROGRAMS CFS_ARRAY_SIZE(((struct mgmtd *)0)->programs)

static void on_admit_timer(struct cfs_timer *t)
{
    struct line *line = container_of(t, struct line, admit);

    if (!line->admitted)
        rpc_conn_reset(line->conn, "a stranger without business here");
}

static void make_room(struct mgmtd *m)
{
    struct line *oldest = NULL;
    unsigned n = 0;

    cfs_list_for_each(l, &m->lines) {
        struct line *line = cfs_list_entry(l, struct line, link);

        if (line->role != RPC_PEER_STRANGER || line->admitted)
            continue;
        if (!oldest)
            oldest = line;
        n++;
    }
    if (n > STRANGERS)
        rpc_conn_reset(oldest->conn, "too many strangers");
}

static void limit(struct line *line)
{
    if (line->role == RPC_PEER_CLIENT)
        rpc_conn_limit(line->conn, CLIENT_CALLS, CFS_RPC_BODY_MAX);
    if (line->role != RPC_PEER_STRANGER)
        return;
    rpc_conn_limit(line->conn, STRANGER_CALLS, STRANGER_BODY);
    cfs_timer_start(&line->admit, STRANGER_TIME);
    make_room(line->m);
}

void line_admit(struct line *line)
{
    line->admitted = true;
    cfs_timer_stop(&line->admit);
}

static void on_up(struct rpc_conn *c, void *ctx)
{
    struct line *line = mem_new(sizeof *line);
    const char *name;

    line->m = ctx;
    line->conn = c;
    line->trusted = rpc_conn_is_local(c) && rpc_conn_is_privileged(c);
    line->role = rpc_conn_peer(c, &name);
    line->name = mem_str(name);
    cfs_timer_init(line->m->host.loop, &line->admit, on_admit_timer);
    cfs_list_add_tail(&line->m->lines, &line->link);
    rpc_conn_set_user(c, line);
    limit(line);
}

static void line_free(struct line *line)
{
    cfs_list_del(&line->link);
    cfs_timer_fini(&line->admit);
    free(line->name);
    free(line->key);
    free(line);
}

/* Whoever had this volfile may have died before it signed in, or before every
 * member heard its goodbye. */
static void client_left(struct mgmtd *m, const char *key)
{
    const char *prefix = "volume:";
    struct volume *vol;

    if (strncmp(key, prefix, strlen(prefix)) != 0)
        return;
    vol = volume_find(m, key + strlen(prefix));
    if (vol && vol->state == VOL_STARTED)
        sessions_ask(vol);
}

static void on_down(struct rpc_conn *c, const struct cfs_err *why, void *ctx)
{
    struct line *line = rpc_conn_user(c);

    if (line->key || line->brick)
        cfs_log_debug(line->m->host.log, WHO, "%s (%s): %s",
                      rpc_conn_name(c), line->key ? line->key : "", why->text);
    rpc_conn_set_user(c, NULL);
    if (line->role == RPC_PEER_NODE)
        peer_line_lost(line->m, c, why->text);
    if (line->brick)
        brick_line_lost(line->brick);
    else if (line->key)
        client_left(line->m, line->key);
    line_free(line);
}

/* -- who may what -------------------------------------------------------- */

static bool has_greeted(const struct line *line)
{
    const struct rpc_msg msg = {.conn = line->conn};

    return line->role == RPC_PEER_NODE && peer_of(line->m, &msg);
}

bool strangers_may_log(struct mgmtd *m)
{
    const uint64_t now = cfs_now(m->host.loop);

    if (now - m->strangers_since > LOG_TIME) {
        if (m->strangers_logged > LOG_LINES)
            cfs_log_info(m->host.log, WHO, "%u lines about strangers were "
                         "left out", m->strangers_logged - LOG_LINES);
        m->strangers_since = now;
        m->strangers_logged = 0;
    }
    return m->strangers_logged++ < LOG_LINES;
}

static bool may(struct rpc_conn *c, uint32_t program, uint32_t procedure,
                const char **ret_why, void *ctx)
{
    struct line *line = rpc_conn_user(c);
    const char *why =
        line ? access_refusal(access_of(line->role, line->trusted,
                                        has_greeted(line)),
                              program, procedure)
             : "the connection is ending";

    if (line && line->role == RPC_PEER_STRANGER && !line->admitted &&
        ++line->calls > STRANGER_TOTAL)
        why = "too many calls; connect anew";
    if (why)
        *ret_why = why;
    return !why;
}

static int refuse(const struct line *line, const char *volume,
                  const char *why, struct cfs_err *err)
{
    char host[64];

    rpc_conn_peer_host(line->conn, host, sizeof host);
    if (line->role != RPC_PEER_STRANGER || strangers_may_log(line->m))
        cfs_log_info(line->m->host.log, WHO,
                     "volume %.80s refused to %s%s%s: %s", volume, host,
                     *line->name ? " " : "", line->name, why);
    return cfs_err_set(err, -EACCES, "volume %.80s is not for %s: %s", volume,
                       host, why);
}

bool client_may_volume(struct mgmtd *m, const char *client, const char *volume)
{
    char *key = mem_printf("client/%s", client);
    json_t *rec;
    bool ok = false;

    if (store_get(m->store, key, &rec, NULL, &(struct cfs_err){0}) == 0) {
        ok = spec_client_may(rec, volume);
        json_decref(rec);
    }
    free(key);
    return ok;
}

/* @vol: NULL, where none is called @name; the answer is the same then. */
static int may_have(struct line *line, const char *name,
                    const struct volume *vol, struct cfs_err *err)
{
    const char *list;
    char host[64];

    if (!line)
        return cfs_err_set(err, -ENOTCONN, "the connection is ending");
    if (line->role == RPC_PEER_NODE || line->trusted)
        return 0;
    if (line->role == RPC_PEER_CLIENT)
        return client_may_volume(line->m, line->name, name)
                   ? 0 : refuse(line, name, "its certificate is not for this "
                                "volume", err);
    rpc_conn_peer_host(line->conn, host, sizeof host);
    list = vol ? json_string_value(json_object_get(
                     json_object_get(vol->rec, "options"), "auth.allow"))
               : NULL;
    if (!list || !access_host_in(host, list))
        return refuse(line, name, "it has no certificate (clusterfs client "
                      "add), and the volume's auth.allow does not name it",
                      err);
    line_admit(line);
    return 0;
}

int line_may_volume(struct line *line, const struct volume *vol,
                    struct cfs_err *err)
{
    return may_have(line, vol->name, vol, err);
}

int line_need_volume(struct line *line, struct mgmtd *m, const char *name,
                     struct volume **ret, struct cfs_err *err)
{
    struct volume *vol = volume_find(m, name);
    int rc = may_have(line, name, vol, err);

    if (rc < 0)
        return rc;
    if (!vol && line->role == RPC_PEER_CLIENT) /* names no other one */
        return cfs_err_set(err, -ENOENT, "there is no volume '%.80s'", name);
    return volume_need(m, name, ret, err);
}

struct line *line_of(const struct rpc_msg *msg)
{
    return msg->conn ? rpc_conn_user(msg->conn) : NULL;
}

static const struct rpc_events events = {on_up, on_down};

static struct rpc_program offered(const struct rpc_program *prog,
                                  const struct rpc_proc *procs, uint32_t n,
                                  struct mgmtd *m)
{
    struct rpc_program p = *prog;

    p.procs = procs;
    p.n_procs = n;
    p.ctx = m;
    return p;
}

/* On @host, with TLS. */
static int listen_tls(struct mgmtd *m, const char *host, struct cfs_err *err)
{
    struct rpc_opts opts = rpc_opts_default;
    char *text = peer_address(host, m->host.port);
    struct rpc_addr addr;
    int rc = rpc_addr_parse(text, &addr, err);

    free(text);
    opts.tls = trust_tls(m->trust);
    opts.connect_ms = HANDSHAKE_MS;
    if (rc == 0)
        rc = rpc_listen(m->host.loop, m->host.log, WHO, &addr, m->host.port,
                        m->host.port, &opts, m->programs, N_PROGRAMS, &events,
                        m, &m->tcp, err);
    if (rc == 0)
        rpc_listener_guard(m->tcp, may);
    return rc;
}

/* All addresses, or the one of --listen. */
static int listen_tcp(struct mgmtd *m, struct cfs_err *err)
{
    int rc = listen_tls(m, m->listen ? m->listen : "::", err);

    if (rc < 0 && rc != -EADDRINUSE && !m->listen) { /* no IPv6 here */
        *err = (struct cfs_err){0};
        rc = listen_tls(m, "0.0.0.0", err);
    }
    return rc;
}

int lines_listen(struct mgmtd *m, struct cfs_err *err)
{
    struct rpc_program *programs = m->programs;
    struct cfs_loop *loop = m->host.loop;
    struct rpc_addr addr;
    char *text;
    int rc;

    programs[0] = offered(&rpc_to_handshake, handshake_procs,
                          handshake_n_procs, m);
    programs[1] = offered(&rpc_to_portmap, portmap_procs, portmap_n_procs, m);
    programs[2] = offered(&rpc_to_view, view_procs, view_n_procs, m);
    programs[3] = offered(&rpc_to_cli, cli_procs, cli_n_procs, m);
    peer_program(m, &programs[4]);

    text = mem_printf("unix:%s/mgmtd.sock", m->host.dirs.run);
    rc = rpc_addr_parse(text, &addr, err);
    free(text);
    if (rc == 0)
        rc = rpc_listen(loop, m->host.log, WHO, &addr, 0, 0, NULL, programs,
                        N_PROGRAMS, &events, m, &m->local, err);
    if (rc < 0)
        return rc;
    rpc_listener_guard(m->local, may);
    return listen_tcp(m, err);
}

void lines_close(struct mgmtd *m)
{
    cfs_list_for_each_safe(l, &m->lines) {
        struct line *line = cfs_list_entry(l, struct line, link);

        rpc_conn_set_user(line->conn, NULL);
        if (line->brick)
            line->brick->line = NULL;
        line_free(line);
    }
    if (m->local)
        rpc_listener_close(m->local);
    if (m->tcp)
        rpc_listener_close(m->tcp);
}

/* -- pushing ------------------------------------------------------------- */

static void on_pushed(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    free(call);
}

void lines_push(struct mgmtd *m, const char *key,
                const struct rpc_program *prog, uint32_t proc,
                struct cfs_blob body)
{
    cfs_list_for_each(l, &m->lines) {
        struct line *line = cfs_list_entry(l, struct line, link);

        if (!line->key || strcmp(line->key, key) != 0)
            continue;
        struct rpc_call *call = mem_new(sizeof *call);

        rpc_call(line->conn, call, prog, proc, body, (struct cfs_buf){0}, 0,
                 on_pushed);
    }
}
