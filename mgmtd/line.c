/* SPDX-License-Identifier: Apache-2.0 */
/* line.c - who is connected to this mgmtd, and may ask what.
 *
 *   RUN_DIR/mgmtd.sock  all programs. CLI and the sign-in of bricks are for
 *                       root (and the user that mgmtd runs as, for tests),
 *                       by the socket's peer credentials.
 *   127.0.0.1:PORT      HANDSHAKE, PORTMAP (but the sign-in of bricks), VIEW
 *                       (DIFFERS: from root's ports only).
 *
 * What a client says of itself is only a reason to ask the bricks, so it may
 * say it on either.
 */
#include <stdio.h>
#include <string.h>

#include "mgmtd/mgmtd.h"

#define WHO "line"

static void on_up(struct rpc_conn *c, void *ctx)
{
    struct line *line = mem_new(sizeof *line);

    line->m = ctx;
    line->conn = c;
    line->trusted = rpc_conn_is_local(c) && rpc_conn_is_privileged(c);
    cfs_list_add_tail(&line->m->lines, &line->link);
    rpc_conn_set_user(c, line);
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
    cfs_list_del(&line->link);
    rpc_conn_set_user(c, NULL);
    if (line->brick)
        brick_line_lost(line->brick);
    else if (line->key)
        client_left(line->m, line->key);
    free(line->key);
    free(line);
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

    text = mem_printf("unix:%s/mgmtd.sock", m->host.dirs.run);
    rc = rpc_addr_parse(text, &addr, err);
    free(text);
    if (rc == 0)
        rc = rpc_listen(loop, m->host.log, WHO, &addr, 0, 0, NULL, programs, 4,
                        &events, m, &m->local, err);
    if (rc < 0)
        return rc;
    text = mem_printf("127.0.0.1:%u", m->host.port);
    rc = rpc_addr_parse(text, &addr, err);
    free(text);
    if (rc == 0)
        rc = rpc_listen(loop, m->host.log, WHO, &addr, m->host.port,
                        m->host.port, NULL, programs, 3, &events, m, &m->tcp,
                        err);
    return rc;
}

void lines_close(struct mgmtd *m)
{
    cfs_list_for_each_safe(l, &m->lines) {
        struct line *line = cfs_list_entry(l, struct line, link);

        rpc_conn_set_user(line->conn, NULL);
        cfs_list_del(&line->link);
        if (line->brick)
            line->brick->line = NULL;
        free(line->key);
        free(line);
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
