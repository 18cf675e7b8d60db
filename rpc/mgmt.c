/* SPDX-License-Identifier: Apache-2.0 */
/* mgmt.c - a daemon's line to mgmtd; see mgmt.h.
 *
 * On each connection: sign in (if there is something to say), then GETSPEC
 * with the checksum of the volfile that is had, then TRUST, where credentials
 * are to be kept new. A connection that ends moves
 * the line to the next server; rpc's own delay keeps it from spinning.
 *
 * What mgmtd tells belongs to (lineage, generation) for the volfile and
 * (lineage, epoch) for the view. A lower lineage than one that was seen comes
 * from a server that lags or lies: the line goes on to the next.
 */
#include "rpc/mgmt.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/xlator.h"
#include "rpc/conn_impl.h"
#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"

#define SERVERS_MAX   16u
#define ANSWER_MS     10000u /* of one call */
#define FIRST_MS      10000u /* until somebody must have answered at all */
#define AGAIN_MS      500u   /* after -EAGAIN: mgmtd is not ready yet */
#define PATIENCE_MS   3000u  /* with our own mgmtd, before others are asked */
#define REMOTE_PING_MS 500u  /* of silence of an mgmtd elsewhere */
#define REMOTE_IDLE_MS 1500u /* then another is asked, if there is one */
#define HOME_MS       2000u  /* between looks whether our own mgmtd is back */

static const char who[] = "mgmt";

/* One call of a kind at a time; asked for anew meanwhile: once more after. */
struct ask {
    struct rpc_call call;
    struct mgmt    *mgmt;
    bool            out;
    bool            again;
    void (*send)(struct mgmt *m);
};

struct mgmt {
    struct cfs_loop   *loop;
    struct cfs_log    *log;
    struct rpc_addr    server[SERVERS_MAX];
    unsigned           n_servers;
    unsigned           n_given; /* the first of them; others were learnt */
    unsigned           at_server;
    char               key[300];
    struct mgmt_events events;
    void              *ctx;

    struct rpc_conn *conn;
    struct cfs_timer first; /* until the first answer */
    struct cfs_timer retry; /* GETSPEC after -EAGAIN */
    struct cfs_timer home;  /* back to the first server */
    uint64_t         lost;  /* boot time ns: our own mgmtd; 0: it is there */
    uint32_t         patience_ms;
    unsigned         rejected; /* servers in a row that do not believe us,
                                  or we them */
    bool             tls;   /* servers over TCP can be asked */
    bool             heard; /* somebody has answered */
    bool             closed;
    unsigned         out; /* asks under way */

    struct ask getspec;
    struct ask view;
    struct ask differs;
    struct ask brick;
    struct ask client;
    struct ask trust;

    uint64_t lineage;
    uint64_t checksum; /* of the volfile that is had; 0: none */
    uint64_t generation;
    uint64_t epoch; /* the newest view's */
    uint64_t        differs_in; /* epoch */
    struct cfs_uuid who_differs;

    bool                     is_brick;
    bool                     is_client;
    struct mgmt_brick_hello  brick_hello;
    struct mgmt_client_hello client_hello;

    struct rpc_proc    brick_procs[RPC_BRICK_PROCS];
    struct rpc_program programs[3];
};

/* -- asking --------------------------------------------------------------- */

static void mgmt_free(struct mgmt *m)
{
    if (m->closed && m->out == 0)
        free(m);
}

/* Ask, unless that is under way: then once more when it has ended. */
static void ask(struct mgmt *m, struct ask *q)
{
    if (m->closed || !rpc_conn_is_up(m->conn))
        return;
    if (q->out) {
        q->again = true;
        return;
    }
    q->send(m);
}

static void ask_send(struct mgmt *m, struct ask *q,
                     const struct rpc_program *prog, uint32_t proc,
                     struct cfs_blob body,
                     void (*done)(struct rpc_call *, int, struct rpc_msg *))
{
    q->mgmt = m;
    q->out = true;
    q->again = false;
    m->out++;
    rpc_call(m->conn, &q->call, prog, proc, body, (struct cfs_buf){0},
             ANSWER_MS, done);
}

/* The call of @q has ended: @answer takes what came, unless the line was
 * closed meanwhile. It may close the line itself. */
static void ask_ended(struct ask *q, int status, struct rpc_msg *reply,
                      void (*answer)(struct mgmt *m, int status,
                                     struct rpc_msg *reply))
{
    struct mgmt *m = q->mgmt;

    q->out = false;
    if (!m->closed)
        answer(m, status, reply);
    m->out--;
    if (m->closed)
        mgmt_free(m);
    else if (q->again)
        ask(m, q);
}

static void refuse(struct mgmt *m, int status, const char *text,
                   const char *what)
{
    struct cfs_err err = {0};

    cfs_err_set(&err, status, "mgmtd at %s refuses %s: %s",
                rpc_conn_name(m->conn), what,
                text != NULL && *text ? text : cfs_err_str(status));
    if (m->events.refused != NULL)
        m->events.refused(m, &err, m->ctx);
}

/* -- what mgmtd tells ----------------------------------------------------- */

/* Whether to believe what comes from @lineage. */
static bool lineage_ok(struct mgmt *m, uint64_t lineage)
{
    if (lineage < m->lineage) {
        cfs_log_warning(m->log, who,
                        "%s tells of an older life of the configuration "
                        "(%llu, known %llu): not believed",
                        rpc_conn_name(m->conn), (unsigned long long)lineage,
                        (unsigned long long)m->lineage);
        return false;
    }
    if (lineage > m->lineage) {
        m->lineage = lineage;
        m->generation = 0;
        m->epoch = 0;
    }
    return true;
}

/* Whether @v is news, or at least no step back. */
static bool view_ok(struct mgmt *m, const struct cfs_view *v)
{
    if (v->epoch == 0 || !lineage_ok(m, v->lineage) || v->epoch < m->epoch)
        return false;
    m->epoch = v->epoch;
    return true;
}

static void add_server(struct mgmt *m, const char *word, size_t len)
{
    struct rpc_addr addr;
    char text[sizeof addr.text];

    if (len == 0 || len >= sizeof text || m->n_servers == SERVERS_MAX)
        return;
    memcpy(text, word, len);
    text[len] = '\0';
    if (rpc_addr_parse(text, &addr, NULL) < 0 || rpc_addr_is_unix(&addr))
        return;
    for (unsigned i = 0; i < m->n_servers; i++)
        if (strcmp(m->server[i].text, addr.text) == 0)
            return;
    m->server[m->n_servers++] = addr;
}

/* The servers that the volfile names; those that were given stay. */
static void learn_servers(struct mgmt *m, const char *text)
{
    const size_t len = strlen(MGMT_SERVER_LINE);
    const char *p = text;

    if (!m->tls)
        return;
    m->n_servers = m->n_given > m->at_server ? m->n_given : m->at_server + 1;
    while ((p = strstr(p, MGMT_SERVER_LINE)) != NULL) {
        const bool starts = p == text || p[-1] == '\n';

        p += len;
        if (starts)
            add_server(m, p, strcspn(p, " \r\n"));
    }
}

static void got_spec(struct mgmt *m, const struct mgmt_getspec_reply *r)
{
    const bool fresh = *r->text != '\0' &&
                       (r->generation >= m->generation || m->checksum == 0);
    struct cfs_view none = {0};
    const struct cfs_view *view = view_ok(m, &r->view) ? &r->view : NULL;

    if (*r->text != '\0')
        learn_servers(m, r->text);
    if (fresh) {
        m->checksum = r->checksum;
        m->generation = r->generation;
        m->events.volfile(m, r->text, strlen(r->text),
                          view != NULL ? view : &none, m->ctx);
        return;
    }
    if (*r->text == '\0' && r->generation > m->generation)
        m->generation = r->generation;
    if (view != NULL && m->events.view != NULL)
        m->events.view(m, view, m->ctx);
}

static void getspec_answer(struct mgmt *m, int status, struct rpc_msg *reply)
{
    struct mgmt_getspec_reply r;
    struct cfs_arena a;

    if (reply == NULL) {
        if (status == -ETIMEDOUT)
            rpc_conn_reset(m->conn, "mgmtd does not answer");
        return;
    }
    m->heard = true;
    cfs_timer_stop(&m->first);
    if (status == -EAGAIN) {
        cfs_timer_start(&m->retry, AGAIN_MS * CFS_MS);
        return;
    }
    if (status < 0) {
        refuse(m, status, rpc_reply_text(reply), m->key);
        return;
    }
    cfs_arena_init(&a);
    if (mgmt_unpack_getspec_reply(&a, reply->body, &r) < 0)
        rpc_conn_reset(m->conn, "an answer that is no volfile");
    else if (!lineage_ok(m, r.lineage))
        rpc_conn_reset(m->conn, "an older lineage");
    else
        got_spec(m, &r);
    cfs_arena_fini(&a);
}

static void on_getspec(struct rpc_call *call, int status,
                       struct rpc_msg *reply)
{
    ask_ended(container_of(call, struct ask, call), status, reply,
              getspec_answer);
}

static void send_getspec(struct mgmt *m)
{
    const struct mgmt_getspec msg = {.key = m->key, .known = m->checksum};
    struct cfs_arena a;

    cfs_arena_init(&a);
    ask_send(m, &m->getspec, &rpc_to_handshake, RPC_HANDSHAKE_GETSPEC,
             mgmt_pack_getspec(&a, &msg), on_getspec);
    cfs_arena_fini(&a);
}

static void view_answer(struct mgmt *m, int status, struct rpc_msg *reply)
{
    struct mgmt_view_msg r;
    struct cfs_arena a;

    if (reply == NULL || status < 0)
        return;
    cfs_arena_init(&a);
    if (mgmt_unpack_view_msg(&a, reply->body, &r) < 0)
        rpc_conn_reset(m->conn, "an answer that is no view");
    else if (view_ok(m, &r.view) && m->events.view != NULL)
        m->events.view(m, &r.view, m->ctx);
    cfs_arena_fini(&a);
}

static void on_view(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    ask_ended(container_of(call, struct ask, call), status, reply,
              view_answer);
}

static void send_view(struct mgmt *m)
{
    const struct mgmt_view_get msg = {.key = m->key, .epoch = m->epoch};
    struct cfs_arena a;

    cfs_arena_init(&a);
    ask_send(m, &m->view, &rpc_to_view, RPC_VIEW_GET,
             mgmt_pack_view_get(&a, &msg), on_view);
    cfs_arena_fini(&a);
}

static void send_differs(struct mgmt *m)
{
    const struct mgmt_view_differs msg = {
        .key = m->key,
        .epoch = m->differs_in,
        .brick = m->who_differs,
    };
    struct cfs_arena a;

    cfs_arena_init(&a);
    ask_send(m, &m->differs, &rpc_to_view, RPC_VIEW_DIFFERS,
             mgmt_pack_view_differs(&a, &msg), on_view);
    cfs_arena_fini(&a);
}

/* -- signing in ----------------------------------------------------------- */

static void sign_in_answer(struct mgmt *m, int status, struct rpc_msg *reply)
{
    if (reply == NULL && status == -ETIMEDOUT)
        rpc_conn_reset(m->conn, "mgmtd does not answer");
    else if (reply != NULL && status < 0)
        refuse(m, status, rpc_reply_text(reply), "the sign-in");
}

static void on_signed_in(struct rpc_call *call, int status,
                         struct rpc_msg *reply)
{
    ask_ended(container_of(call, struct ask, call), status, reply,
              sign_in_answer);
}

static void send_brick(struct mgmt *m)
{
    const struct mgmt_brick_hello *h = &m->brick_hello;
    const struct mgmt_signin msg = {
        .brick = h->brick,
        .pid = h->pid,
        .port = h->port,
        .path = h->path,
        .info = h->info,
    };
    struct cfs_arena a;

    cfs_arena_init(&a);
    ask_send(m, &m->brick, &rpc_to_portmap, RPC_PORTMAP_SIGNIN,
             mgmt_pack_signin(&a, &msg), on_signed_in);
    cfs_arena_fini(&a);
}

static void send_client(struct mgmt *m)
{
    const struct mgmt_client_signin msg = {
        .volume = m->client_hello.volume,
        .session = m->client_hello.session,
    };
    struct cfs_arena a;

    cfs_arena_init(&a);
    ask_send(m, &m->client, &rpc_to_portmap, RPC_PORTMAP_CLIENT_SIGNIN,
             mgmt_pack_client_signin(&a, &msg), on_signed_in);
    cfs_arena_fini(&a);
}

/* -- credentials ---------------------------------------------------------- */

/* An mgmtd that knows nothing of it, or not of us, need not be told of. */
static void trust_answer(struct mgmt *m, int status, struct rpc_msg *reply)
{
    struct mgmt_trust_reply r;
    struct cfs_arena a;

    if (reply == NULL || status < 0)
        return;
    cfs_arena_init(&a);
    if (mgmt_unpack_trust_reply(&a, reply->body, &r) < 0)
        rpc_conn_reset(m->conn, "an answer that is no certificate");
    else if (*r.crl != '\0' || *r.cert != '\0')
        m->events.trust(m, r.crl, r.cert, m->ctx);
    cfs_arena_fini(&a);
}

static void on_trust(struct rpc_call *call, int status, struct rpc_msg *reply)
{
    ask_ended(container_of(call, struct ask, call), status, reply,
              trust_answer);
}

static void send_trust(struct mgmt *m)
{
    const struct mgmt_trust msg = {.known = m->events.trust_known(m->ctx)};
    struct cfs_arena a;

    cfs_arena_init(&a);
    ask_send(m, &m->trust, &rpc_to_handshake, RPC_HANDSHAKE_TRUST,
             mgmt_pack_trust(&a, &msg), on_trust);
    cfs_arena_fini(&a);
}

void mgmt_want_trust(struct mgmt *m)
{
    if (m->events.trust != NULL &&
        !rpc_addr_is_unix(&m->server[m->at_server]))
        ask(m, &m->trust);
}

/* -- what mgmtd calls ----------------------------------------------------- */

static void on_volfile_changed(struct rpc_msg *msg, void *ctx)
{
    struct mgmt *m = ctx;

    rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
    ask(m, &m->getspec);
    mgmt_want_trust(m);
}

static void on_view_push(struct rpc_msg *msg, void *ctx)
{
    struct mgmt *m = ctx;
    struct mgmt_view_msg push;
    struct cfs_arena a;
    int rc;

    cfs_arena_init(&a);
    rc = mgmt_unpack_view_msg(&a, msg->body, &push);
    if (rc < 0)
        rpc_reply_error(msg, rc, "no view");
    else
        rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
    if (rc == 0 && view_ok(m, &push.view) && m->events.view != NULL)
        m->events.view(m, &push.view, m->ctx);
    cfs_arena_fini(&a);
}

static void on_brick_call(struct rpc_msg *msg, void *ctx)
{
    struct mgmt *m = ctx;

    m->events.brick_call(msg, m->ctx);
}

static const struct rpc_proc handshake_procs[] = {
    [RPC_HANDSHAKE_VOLFILE_CHANGED] = {"volfile_changed", on_volfile_changed},
};

static void on_view_probe(struct rpc_msg *msg, void *ctx)
{
    struct mgmt *m = ctx;

    rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
    if (m->events.probe != NULL)
        m->events.probe(m, m->ctx);
}

static const struct rpc_proc view_procs[] = {
    [RPC_VIEW_PROBE] = {"probe", on_view_probe},
    [RPC_VIEW_PUSH] = {"push", on_view_push},
};

static void set_programs(struct mgmt *m)
{
    for (unsigned i = 1; i < RPC_BRICK_PROCS; i++)
        m->brick_procs[i] = (struct rpc_proc){
            "brick", m->events.brick_call != NULL ? on_brick_call : NULL};
    m->programs[0] = rpc_to_handshake;
    m->programs[0].procs = handshake_procs;
    m->programs[0].n_procs = CFS_ARRAY_SIZE(handshake_procs);
    m->programs[1] = rpc_to_view;
    m->programs[1].procs = view_procs;
    m->programs[1].n_procs = CFS_ARRAY_SIZE(view_procs);
    m->programs[2] = rpc_to_brick;
    m->programs[2].procs = m->brick_procs;
    m->programs[2].n_procs = CFS_ARRAY_SIZE(m->brick_procs);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(m->programs); i++)
        m->programs[i].ctx = m;
}

/* -- the line ------------------------------------------------------------- */

static void on_up(struct rpc_conn *c, void *ctx)
{
    struct mgmt *m = ctx;

    cfs_log_info(m->log, who, "connected to mgmtd at %s", rpc_conn_name(c));
    m->lost = 0;
    /* The machine may be gone without a word, and its bricks with it: who is
     * to tell of the view without them is another. */
    if (!rpc_addr_is_unix(&m->server[m->at_server]) && m->n_servers > 1)
        rpc_conn_set_patience(c, REMOTE_PING_MS, REMOTE_IDLE_MS);
    if (m->is_brick)
        ask(m, &m->brick);
    if (m->is_client)
        ask(m, &m->client);
    ask(m, &m->getspec);
    mgmt_want_trust(m);
}

/* A mgmtd of this machine is most likely to be back in a moment: what others
 * tell is the same, but not by which way its bricks are reached best. */
static bool waits_at_home(struct mgmt *m)
{
    const uint64_t now = cfs_now(m->loop);

    if (m->at_server != 0 || !rpc_addr_is_unix(&m->server[0]))
        return false;
    if (m->lost == 0)
        m->lost = now;
    return now - m->lost < m->patience_ms * CFS_MS;
}

/* Nobody believes our certificate, or nobody's is believed: waiting will not
 * help. Whether the owner closed the line for that. */
static bool rejected(struct mgmt *m, const struct cfs_err *why)
{
    if (why->code != -EKEYREJECTED) {
        m->rejected = 0;
        return false;
    }
    if (++m->rejected != m->n_servers || m->heard ||
        m->events.refused == NULL)
        return false;
    m->out++; /* it may close us */
    m->events.refused(m, why, m->ctx);
    m->out--;
    if (!m->closed)
        return false;
    mgmt_free(m);
    return true;
}

static void on_down(struct rpc_conn *c, const struct cfs_err *why, void *ctx)
{
    struct mgmt *m = ctx;

    cfs_log_info(m->log, who, "mgmtd at %s: %s", rpc_conn_name(c), why->text);
    cfs_timer_stop(&m->retry);
    if (rejected(m, why) || waits_at_home(m))
        return; /* rpc tries the same one again */
    m->at_server = (m->at_server + 1) % m->n_servers;
    rpc_conn_redirect(c, &m->server[m->at_server]);
    if (m->at_server != 0 && rpc_addr_is_unix(&m->server[0]) &&
        !cfs_timer_active(&m->home))
        cfs_timer_start(&m->home, HOME_MS * CFS_MS);
}

/* Whether somebody accepts connections on the Unix socket @a; connecting to
 * one never waits. */
static bool is_alive(const struct rpc_addr *a)
{
    struct rpc_sockaddr to;
    int fd;
    bool alive;

    if (!rpc_addr_is_unix(a) || rpc_addr_literal(a, &to) <= 0)
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    alive = connect(fd, &to.any, to.len) == 0;
    close(fd);
    return alive;
}

static void on_home_timer(struct cfs_timer *t)
{
    struct mgmt *m = container_of(t, struct mgmt, home);

    if (m->at_server == 0)
        return;
    if (!is_alive(&m->server[0])) {
        cfs_timer_start(t, HOME_MS * CFS_MS);
        return;
    }
    m->at_server = m->n_servers - 1; /* on_down() goes on to the first */
    rpc_conn_reset(m->conn, "this machine's mgmtd is back");
}

static void on_first_timer(struct cfs_timer *t)
{
    struct mgmt *m = container_of(t, struct mgmt, first);
    struct cfs_err err = {0};

    if (m->heard || m->events.refused == NULL)
        return;
    cfs_err_set(&err, -ETIMEDOUT,
                "mgmtd at %s has not answered within %u s: is "
                "clusterfs-mgmtd running there?",
                m->server[0].text, FIRST_MS / 1000);
    m->events.refused(m, &err, m->ctx);
}

static void on_retry_timer(struct cfs_timer *t)
{
    struct mgmt *m = container_of(t, struct mgmt, retry);

    ask(m, &m->getspec);
}

int mgmt_open(struct cfs_loop *loop, struct cfs_log *log,
              const struct rpc_addr *servers, unsigned n, struct rpc_tls *tls,
              const char *key,
              const struct mgmt_events *events, void *ctx, struct mgmt **ret,
              struct cfs_err *err)
{
    static const struct rpc_events conn_events = {on_up, on_down};
    struct rpc_opts opts = rpc_opts_default;
    struct mgmt *m;
    int rc;

    if (n == 0 || n > SERVERS_MAX)
        return cfs_err_set(err, -EINVAL, "1 to %u servers, not %u",
                           SERVERS_MAX, n);
    m = calloc(1, sizeof *m);
    if (m == NULL)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    if (strlen(key) >= sizeof m->key) {
        free(m);
        return cfs_err_set(err, -ENAMETOOLONG, "the name is too long");
    }
    m->loop = loop;
    m->log = log;
    memcpy(m->server, servers, n * sizeof *servers);
    m->n_servers = n;
    m->n_given = n;
    m->patience_ms = PATIENCE_MS;
    m->tls = tls != NULL;
    strcpy(m->key, key);
    m->events = *events;
    m->ctx = ctx;
    m->getspec.send = send_getspec;
    m->view.send = send_view;
    m->differs.send = send_differs;
    m->brick.send = send_brick;
    m->client.send = send_client;
    m->trust.send = send_trust;
    set_programs(m);
    cfs_timer_init(loop, &m->first, on_first_timer);
    cfs_timer_init(loop, &m->retry, on_retry_timer);
    cfs_timer_init(loop, &m->home, on_home_timer);

    opts.tls = tls;
    rc = rpc_connect(loop, log, who, &m->server[0], &opts, m->programs,
                     CFS_ARRAY_SIZE(m->programs), &conn_events, m, &m->conn,
                     err);
    if (rc < 0) {
        free(m);
        return rc;
    }
    cfs_timer_start(&m->first, FIRST_MS * CFS_MS);
    *ret = m;
    return 0;
}

void mgmt_close(struct mgmt *m)
{
    if (m == NULL || m->closed)
        return;
    m->closed = true;
    cfs_timer_fini(&m->first);
    cfs_timer_fini(&m->retry);
    cfs_timer_fini(&m->home);
    rpc_conn_close(m->conn);
    mgmt_free(m);
}

void mgmt_set_patience(struct mgmt *m, uint32_t ms)
{
    m->patience_ms = ms;
}

void mgmt_sign_in_brick(struct mgmt *m, const struct mgmt_brick_hello *hello)
{
    m->brick_hello = *hello;
    m->is_brick = true;
    ask(m, &m->brick);
}

void mgmt_sign_in_client(struct mgmt *m, const struct mgmt_client_hello *hello)
{
    m->client_hello = *hello;
    m->is_client = true;
    ask(m, &m->client);
}

void mgmt_want_view(struct mgmt *m)
{
    ask(m, &m->view);
}

static void on_reported(struct rpc_call *call, int status,
                        struct rpc_msg *reply)
{
    free(call);
}

void mgmt_report(struct mgmt *m, const struct cfs_silence *s)
{
    const struct mgmt_view_report msg = {
        .key = m->key,
        .session = m->client_hello.session.no,
        .brick = s->brick,
        .asked = s->asked,
        .age_ms = s->age_ns / CFS_MS,
        .lossy_ms = s->lossy_ns / CFS_MS,
    };
    struct rpc_call *call;
    struct cfs_arena a;

    if (m->closed || !rpc_conn_is_up(m->conn))
        return;
    call = calloc(1, sizeof *call);
    if (call == NULL)
        return;
    cfs_arena_init(&a);
    rpc_call(m->conn, call, &rpc_to_view, RPC_VIEW_REPORT,
             mgmt_pack_view_report(&a, &msg), (struct cfs_buf){0}, ANSWER_MS,
             on_reported);
    cfs_arena_fini(&a);
}

void mgmt_differs(struct mgmt *m, uint64_t epoch, struct cfs_uuid brick)
{
    m->differs_in = epoch;
    m->who_differs = brick;
    ask(m, &m->differs);
}
