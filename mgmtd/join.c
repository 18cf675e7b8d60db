/* SPDX-License-Identifier: Apache-2.0 */
/* join.c - the joiner: a node that is nobody's becomes a member.
 *
 *   noted (engine.json: joining) -> connected, by the token's fingerprint ->
 *   JOIN sent -> answer taken over: certificates, engine -> own record is in
 *   the copy: member
 *
 * Until JOIN was sent nothing can have happened, and a failure takes the note
 * back. After that only a final answer does.
 */
#include "mgmtd/join.h"

#include <stdio.h>

#include "mgmtd/cluster_conf.h"
#include "mgmtd/engine.h"
#include "mgmtd/file.h"

#define WHO "join"

#define CONNECT_WITHIN (15 * CFS_SEC) /* somebody waits */
#define JOIN_MS        120000u /* the other side may have to start its etcd */
#define SEEN_WITHIN    (60 * CFS_SEC)
#define AGAIN          (5 * CFS_SEC)
#define FILE_AGAIN     (60 * CFS_SEC)

enum join_state { JOIN_ASKING, JOIN_FOLLOWING, JOIN_ENDED };

struct join {
    struct mgmtd      *m;
    enum join_state    state;
    struct trust_token token;
    char              *address; /* HOST:PORT */
    char              *own;     /* "": as the other side sees us */
    unsigned           number;  /* that we want, by cluster.conf; 0: any */
    struct rpc_tls    *tls;
    struct rpc_conn   *conn;
    bool               calling;
    bool               sent;    /* from now on it may have happened */
    bool               by_file; /* CONFIG_DIR/join-token */
    struct cfs_timer   timer;
    struct cfs_err     err;
    store_done        *done;    /* NULL: nobody waits (any more) */
    void              *arg;
    struct store_watch on_node;
};

/* -- the end ------------------------------------------------------------- */

static void join_free(struct join *j)
{
    if (j->m->join == j)
        j->m->join = NULL;
    if (j->on_node.changed)
        store_unwatch(&j->on_node);
    cfs_timer_fini(&j->timer);
    rpc_conn_close(j->conn);
    rpc_tls_unref(j->tls);
    explicit_bzero(&j->token, sizeof j->token);
    free(j->address);
    free(j->own);
    free(j);
}

static void tell(struct join *j)
{
    store_done *done = j->done;

    j->done = NULL;
    if (done)
        done(j->arg, j->err.code, &j->err);
}

/* Later, from the timer: connections and watches may be on the stack. */
static void finish(struct join *j)
{
    j->state = JOIN_ENDED;
    cfs_timer_start(&j->timer, 0);
}

/* It did not, and will not, happen. */
static void give_up(struct join *j, int code, const char *text)
{
    struct cfs_err err = {0};

    cfs_err_set(&j->err, code, "%s", text);
    cfs_log_error(j->m->host.log, WHO, "this node does not join by %s: %s",
                  j->address, text);
    if (engine_note_joining(j->m, NULL, &err) < 0)
        cfs_log_error(j->m->host.log, WHO, "%s", err.text);
    finish(j);
}

/* Whoever waits hears of it; we go on. */
static void unsure(struct join *j, const char *text)
{
    cfs_log_warning(j->m->host.log, WHO, "%s: %s; trying again", j->address,
                    text);
    cfs_err_set(&j->err, -EAGAIN, "%s: %s. It is not known whether this node "
                "was taken in; it goes on asking until it knows: see "
                "'clusterfs peer status' here in a while", j->address, text);
    tell(j);
    j->err = (struct cfs_err){0};
    cfs_timer_start(&j->timer, AGAIN);
}

/* -- member -------------------------------------------------------------- */

static void on_own_record(struct store_watch *w, const char *key,
                          json_t *value, uint64_t token)
{
    struct join *j = container_of(w, struct join, on_node);

    if (value && strcmp(key + strlen("node/"), j->m->node) == 0 &&
        j->state == JOIN_FOLLOWING) {
        cfs_log_info(j->m->host.log, WHO, "this node is a member now");
        finish(j);
    }
}

static const char *text_in(const json_t *o, const char *field)
{
    return json_string_value(json_object_get(o, field));
}

static int take_over(struct join *j, const json_t *answer,
                     struct cfs_err *err)
{
    struct mgmtd *m = j->m;
    const json_t *engine = json_object_get(answer, "engine");
    const struct trust_grant grant = {
        .cert = text_in(answer, "cert"),
        .node_ca = text_in(answer, "node_ca"),
        .client_ca = text_in(answer, "client_ca"),
        .node_crl = text_in(answer, "node_crl"),
        .client_crl = text_in(answer, "client_crl"),
    };
    int rc;

    if (!grant.cert || !grant.node_ca || !grant.client_ca ||
        !json_is_object(engine))
        return cfs_err_set(err, -EBADMSG, "the answer makes no sense");
    rc = trust_accept(m->trust, &grant, err);
    if (rc < 0)
        return rc;
    j->state = JOIN_FOLLOWING;
    j->on_node.prefix = "node/";
    j->on_node.changed = on_own_record;
    store_watch(m->store, &j->on_node);
    return engine_follow(m, engine, err);
}

static void on_answer(void *arg, int status, json_t *result, const char *text)
{
    struct join *j = arg;
    struct cfs_err err = {0};

    j->calling = false;
    if (j->state != JOIN_ASKING)
        return;
    if (status == 0) {
        if (take_over(j, result, &err) < 0) {
            j->state = JOIN_ASKING;
            unsure(j, err.text);
            return;
        }
        cfs_timer_start(&j->timer, SEEN_WITHIN);
        if (peer_self(j->m))
            finish(j);
    } else if (status == -ENOTCONN || status == -ETIMEDOUT ||
               status == -EAGAIN) {
        unsure(j, text);
    } else {
        give_up(j, status, text);
    }
}

/* -- asking -------------------------------------------------------------- */

static void ask(struct join *j)
{
    struct mgmtd *m = j->m;
    struct cfs_err err = {0};
    char secret[65], *csr;
    json_t *args;

    if (j->calling || !rpc_conn_is_up(j->conn))
        return;
    if (trust_request(m->trust, &csr, &err) < 0) {
        give_up(j, err.code, err.text);
        return;
    }
    join_hex(j->token.secret, secret);
    args = mem_ok(json_pack("{s:s,s:s,s:o,s:s,s:i,s:s,s:s,s:i}", "secret",
                            secret, "name", m->node, "id",
                            rec_json_uuid(m->node_id), "csr", csr, "port",
                            (int)m->host.port, "host", j->own, "version",
                            CFS_VERSION, "number", (int)j->number));
    explicit_bzero(secret, sizeof secret);
    free(csr);
    j->calling = true;
    j->sent = true;
    cfs_timer_stop(&j->timer);
    peer_call_on(j->conn, RPC_PEER_JOIN, args, JOIN_MS, on_answer, j);
}

static void on_up(struct rpc_conn *c, void *ctx)
{
    struct join *j = ctx;

    if (j->state == JOIN_ASKING)
        ask(j);
}

/* Before JOIN was sent; the answer to one that was comes as -ENOTCONN. */
static void on_down(struct rpc_conn *c, const struct cfs_err *why, void *ctx)
{
    struct join *j = ctx;

    j->err = (struct cfs_err){0};
    if (j->state != JOIN_ASKING || j->sent)
        return;
    if (why->code == -EKEYREJECTED) {
        char *text = mem_printf("%s is not who made the token (%s); is the "
                                "address right?", j->address, why->text);

        give_up(j, -EKEYREJECTED, text);
        free(text);
        return;
    }
    cfs_err_set(&j->err, why->code, "%s", why->text);
}

static void on_timer(struct cfs_timer *t)
{
    struct join *j = container_of(t, struct join, timer);

    switch (j->state) {
    case JOIN_ASKING:
        if (j->sent) {
            ask(j);
            if (!j->calling)
                cfs_timer_start(t, AGAIN);
            return;
        }
        give_up(j, j->err.code < 0 ? j->err.code : -ETIMEDOUT,
                j->err.code < 0 ? j->err.text
                                : "no answer: does clusterfs-mgmtd run there?");
        return;
    case JOIN_FOLLOWING:
        cfs_err_set(&j->err, -EAGAIN, "this node was taken in, but cannot "
                    "read the configuration yet; see 'clusterfs cluster "
                    "status'");
        break;
    case JOIN_ENDED:
        break;
    }
    tell(j);
    join_free(j);
}

/* -- beginning ----------------------------------------------------------- */

/* HOST or HOST:PORT to an address with a port. */
static char *with_port(const char *host)
{
    struct rpc_addr addr;

    if (rpc_addr_parse(host, &addr, NULL) == 0)
        return mem_str(host);
    return peer_address(host, CFS_PORT_MGMTD);
}

static int connect_pinned(struct join *j, struct cfs_err *err)
{
    static const struct rpc_events events = {on_up, on_down};
    struct rpc_opts opts = rpc_opts_default;
    struct rpc_addr addr;
    int rc = rpc_addr_parse(j->address, &addr, err);

    if (rc == 0)
        rc = rpc_tls_new(&j->tls, err);
    if (rc < 0)
        return rc;
    rpc_tls_pin(j->tls, j->token.print);
    opts.tls = j->tls;
    opts.connect_ms = 5000;
    return rpc_connect(j->m->host.loop, j->m->host.log, WHO, &addr, &opts,
                       NULL, 0, &events, j, &j->conn, err);
}

static int check_nobody(struct mgmtd *m, struct cfs_err *err)
{
    if (m->join)
        return cfs_err_set(err, -EBUSY, "this node is joining already, by %s",
                           m->join->address);
    if (!engine_is_nobodys(m))
        return cfs_err_set(err, -EALREADY, "this node is of a cluster "
                           "already; only an empty one can join. To make it "
                           "empty, on another node of its cluster: clusterfs "
                           "peer detach %s", m->node);
    return 0;
}

static struct join *join_new(struct mgmtd *m, const char *host,
                             const char *own, store_done *done, void *arg)
{
    struct join *j = mem_new(sizeof *j);

    j->m = m;
    j->own = mem_str(own ? own : "");
    j->address = host && *host ? with_port(host) : NULL;
    j->done = done;
    j->arg = arg;
    cfs_timer_init(m->host.loop, &j->timer, on_timer);
    return j;
}

/* What cluster.conf says of this node: its number; and its address, unless
 * another was given. */
static int read_conf(struct join *j, struct cfs_err *err)
{
    struct conf_node own;
    int rc = conf_of_node(j->m, &own, err);

    if (rc < 0)
        return rc;
    j->number = own.number;
    if (own.number && !*j->own) {
        free(j->own);
        j->own = mem_str(own.address);
    }
    return 0;
}

/* The token is parsed, and it is ours to do. */
static int start(struct join *j, const char *token, struct cfs_err *err)
{
    struct mgmtd *m = j->m;
    int rc;

    if (!j->address)
        j->address = mem_str(j->token.address);
    rc = engine_note_joining(m, mem_ok(json_pack("{s:s,s:s,s:s}", "token",
                                                 token, "address", j->address,
                                                 "own", j->own)), err);
    if (rc < 0)
        return rc;
    rc = connect_pinned(j, err);
    if (rc < 0) {
        engine_note_joining(m, NULL, &(struct cfs_err){0});
        return rc;
    }
    m->join = j;
    cfs_timer_start(&j->timer, CONNECT_WITHIN);
    cfs_log_info(m->host.log, WHO, "joining the cluster of %s", j->address);
    return 0;
}

void join_begin(struct mgmtd *m, const char *token, const char *host,
                const char *own, store_done *done, void *arg)
{
    struct join *j = join_new(m, host, own, done, arg);

    if (check_nobody(m, &j->err) == 0 &&
        trust_token_parse(token, &j->token, &j->err) == 0 &&
        read_conf(j, &j->err) == 0)
        start(j, token, &j->err);
    if (j->err.code < 0)
        finish(j);
}

/* -- at start ------------------------------------------------------------ */

static char *token_file(struct mgmtd *m)
{
    return mem_printf("%s/join-token", m->host.dirs.config);
}

struct by_file {
    struct mgmtd    *m;
    struct cfs_timer timer;
};

static struct by_file by_file; /* one process is one node */

static void on_by_file(void *arg, int status, const struct cfs_err *err)
{
    struct mgmtd *m = arg;
    char *path = token_file(m);

    if (status == 0) {
        file_remove(path, &(struct cfs_err){0}); /* it is used up */
    } else {
        cfs_log_error(m->host.log, WHO, "%s: %s", path, err->text);
        if (engine_is_nobodys(m))
            cfs_timer_start(&by_file.timer, FILE_AGAIN);
    }
    free(path);
}

static void try_file(struct cfs_timer *t)
{
    struct mgmtd *m = by_file.m;
    char *path = token_file(m), *text;
    struct cfs_err err = {0};

    if (!m->join && engine_is_nobodys(m) &&
        file_get(path, &text, &err) == 0) {
        text[strcspn(text, " \r\n")] = '\0';
        join_begin(m, text, NULL, NULL, on_by_file, m);
        free(text);
    } else if (err.code < 0) {
        cfs_log_error(m->host.log, WHO, "%s", err.text);
    }
    free(path);
}

void join_resume(struct mgmtd *m)
{
    const json_t *note = engine_joining(m);
    const char *token = text_in(note, "token");
    struct join *j;

    by_file.m = m;
    cfs_timer_init(m->host.loop, &by_file.timer, try_file);
    if (!token) {
        try_file(&by_file.timer);
        return;
    }
    j = join_new(m, text_in(note, "address"), text_in(note, "own"), NULL,
                 NULL);
    j->sent = true; /* perhaps */
    if (read_conf(j, &j->err) < 0) { /* it was good, or was not there */
        cfs_log_warning(m->host.log, WHO, "%s", j->err.text);
        j->err = (struct cfs_err){0};
    }
    if (trust_token_parse(token, &j->token, &j->err) < 0 ||
        connect_pinned(j, &j->err) < 0) {
        cfs_log_error(m->host.log, WHO, "%s", j->err.text);
        join_free(j);
        return;
    }
    m->join = j;
    cfs_timer_start(&j->timer, AGAIN);
    cfs_log_info(m->host.log, WHO, "going on with joining by %s", j->address);
}

void join_close(struct mgmtd *m)
{
    if (by_file.m)
        cfs_timer_fini(&by_file.timer);
    if (m->join)
        join_free(m->join);
}
