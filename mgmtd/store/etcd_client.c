/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_client.c - see etcd_client.h.
 *
 * A request's life: a try at a member (http_post, timer: try_ms); what came
 * is judged; then it is answered, or the next member is tried: at once, unless
 * all have been tried in this round, then after PAUSE and, from the third
 * round on, with twice the patience: where all are slow, haste would only make
 * them slower.
 *
 * A try is given up by closing its connection. Whether etcd has carried it out
 * nobody can say then: the request is in doubt from there on.
 */
#include "mgmtd/store/etcd_impl.h"

#include <stdio.h>

#include "mgmtd/mem.h"

#define WHO "etcd"
#define PAUSE (50 * CFS_MS)
#define HASTY   1u /* rounds more before patience grows: an election */
#define TRY_MAX (2 * CFS_SEC)

struct request {
    struct cfs_list     link;
    struct etcd_client *c;
    struct http_call    call;
    struct cfs_timer    timer; /* of the try, or of the pause */
    char               *path;
    char               *body;
    uint64_t            try_ns;
    uint64_t            deadline;
    bool                one; /* member only */
    unsigned            member;
    unsigned            tried; /* in this round */
    unsigned            rounds;
    bool                doubt;
    bool                refused; /* a certificate was, by them or by us */
    etcd_done          *done;
    void               *arg;
};

const char *etcd_member_name(const struct etcd_client *c, unsigned member)
{
    return *c->to.name[member] ? c->to.name[member] : c->to.url[member];
}

void etcd_client_problem(const struct etcd_client *c, char *ret, size_t len)
{
    size_t at = 0;

    ret[0] = '\0';
    for (unsigned i = 0; i < c->to.n && at < len; i++) {
        int n;

        if (!*c->why[i])
            continue;
        n = snprintf(ret + at, len - at, "%s%s: %s", at ? "; " : "",
                     etcd_member_name(c, i), c->why[i]);
        at += n > 0 ? (size_t)n : 0;
    }
}

bool etcd_in_doubt(const struct etcd_client *c)
{
    return c->doubt;
}

/* -- what etcd's errors mean --------------------------------------------- */

/* gRPC codes, as google/rpc/code.proto numbers them. */
enum {
    RPC_DEADLINE = 4,
    RPC_EXHAUSTED = 8,
    RPC_OUT_OF_RANGE = 11,
    RPC_UNAVAILABLE = 14,
};

struct meaning {
    const char *words; /* contained in etcd's */
    int         status;
    bool        again;
    bool        doubt;
};

/* Refused before it was proposed: it did not happen. */
static const struct meaning meanings[] = {
    {"required revision has been compacted", -ESTALE, false, false},
    {"required revision is a future revision", -ERANGE, false, false},
    {"database space exceeded", -ENOSPC, false, false},
    {"larger than max", -EMSGSIZE, false, false},
    {"no leader", -EAGAIN, true, false},
    {"not supported for learner", -EAGAIN, true, false},
    {"too many requests", -EAGAIN, true, false},
};

bool etcd_judge(const char *words, int code, int *ret_status, bool *ret_doubt)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(meanings); i++)
        if (strstr(words, meanings[i].words)) {
            *ret_status = meanings[i].status;
            *ret_doubt = meanings[i].doubt;
            return meanings[i].again;
        }
    *ret_doubt = true;
    *ret_status = -EIO;
    return code == RPC_UNAVAILABLE || code == RPC_DEADLINE;
}

/* -- a request ----------------------------------------------------------- */

static void request_free(struct request *r)
{
    cfs_list_del(&r->link);
    http_end(&r->call);
    cfs_timer_fini(&r->timer);
    free(r->path);
    free(r->body);
    free(r);
}

static void answer(struct request *r, int status, json_t *reply,
                   const struct cfs_err *err)
{
    struct etcd_client *c = r->c;
    etcd_done *done = r->done;
    void *arg = r->arg;
    bool doubt = r->doubt;

    request_free(r);
    c->doubt = doubt;
    done(arg, status, reply, err); /* may free the client */
}

static void give_up(struct request *r)
{
    struct cfs_err err = {0};
    char why[CFS_ERR_TEXT - 80];
    int code = r->doubt ? -ETIMEDOUT : -EHOSTUNREACH;

    if (r->refused && !r->doubt)
        code = -EACCES;
    if (r->one)
        snprintf(why, sizeof why, "%s: %s", etcd_member_name(r->c, r->member),
                 r->c->why[r->member]);
    else
        etcd_client_problem(r->c, why, sizeof why);
    cfs_err_set(&err, code, "no answer from %s (%s)",
                r->one ? "a member" : "a majority", why);
    answer(r, code, NULL, &err);
}

static void try_member(struct request *r)
{
    struct etcd_client *c = r->c;
    uint64_t now = cfs_ran(c->loop), wait = r->try_ns;
    char *url;

    if (now >= r->deadline) {
        give_up(r);
        return;
    }
    if (wait > r->deadline - now)
        wait = r->deadline - now;
    r->member %= c->to.n;
    url = mem_printf("%s%s", c->to.url[r->member], r->path);
    http_post(c->http, &r->call, url, &c->tls, mem_str(r->body));
    free(url);
    cfs_timer_start(&r->timer, wait);
}

/* This try came to nothing: @why, in a few words. */
static void try_next(struct request *r, int status, const char *why)
{
    struct etcd_client *c = r->c;

    http_end(&r->call);
    cfs_timer_stop(&r->timer);
    r->refused |= status == -EACCES;
    if (r->member < c->to.n) {
        if (!*c->why[r->member])
            cfs_log_info(c->log, WHO, "%s: %s",
                         etcd_member_name(c, r->member), why);
        snprintf(c->why[r->member], ETCD_WHY, "%s", why);
    }
    if (!r->one) {
        if (c->prefer == r->member)
            c->prefer = (r->member + 1) % c->to.n;
        r->member = (r->member + 1) % c->to.n;
    }
    if (cfs_ran(c->loop) >= r->deadline) {
        give_up(r);
    } else if (++r->tried < c->to.n && !r->one) {
        try_member(r);
    } else {
        r->tried = 0;
        if (++r->rounds > HASTY && r->try_ns < TRY_MAX)
            r->try_ns *= 2;
        cfs_timer_start(&r->timer, PAUSE);
    }
}

static void on_time(struct cfs_timer *t)
{
    struct request *r = cfs_list_entry(t, struct request, timer);

    if (!r->call.http) { /* the pause is over */
        try_member(r);
        return;
    }
    if (r->call.sent > 0)
        r->doubt = true;
    try_next(r, -ETIMEDOUT, r->call.sent ? "does not answer"
                                         : "cannot be reached");
}

/* An answer of HTTP came whole. */
static void judge(struct request *r, json_t *reply)
{
    struct etcd_client *c = r->c;
    struct cfs_err err = {0};
    const char *words;
    char why[ETCD_WHY];
    bool doubt = false;
    int code, status;

    if (r->member < c->to.n)
        c->why[r->member][0] = '\0';
    if (!etcd_error(reply, &words, &code)) {
        if (r->call.code == 200) {
            if (!r->one)
                c->prefer = r->member;
            answer(r, 0, reply, &err);
            return;
        }
        words = "an answer that is not an etcd's";
        code = 2;
    }
    if (etcd_judge(words, code, &status, &doubt)) {
        r->doubt |= doubt;
        snprintf(why, sizeof why, "%s", words);
        try_next(r, status, why);
        return;
    }
    cfs_err_set(&err, status, "%s: %s", etcd_member_name(c, r->member),
                words);
    answer(r, status, NULL, &err);
}

static void on_ready(struct http_call *call)
{
    struct request *r = cfs_list_entry(call, struct request, call);
    struct cfs_err err = {0};
    json_t *reply;

    if (!call->over)
        return;
    if (call->sent > 1)
        r->doubt = true;
    if (call->status == -EMSGSIZE) {
        cfs_err_set(&err, -EMSGSIZE, "%s: %s",
                    etcd_member_name(r->c, r->member % r->c->to.n), call->why);
        answer(r, -EMSGSIZE, NULL, &err);
        return;
    }
    if (call->status < 0) {
        if (call->sent > 0)
            r->doubt = true;
        try_next(r, call->status, call->why);
        return;
    }
    reply = json_loadb(call->in ? call->in : "", call->n_in,
                       JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(reply)) {
        judge(r, reply);
    } else {
        r->doubt = true;
        try_next(r, -EBADMSG, "its answer is not an etcd's");
    }
    json_decref(reply);
}

static struct request *request_new(struct etcd_client *c, const char *path,
                                   json_t *body, uint32_t try_ms,
                                   uint32_t total_ms, etcd_done *done,
                                   void *arg)
{
    struct request *r = mem_new(sizeof *r);

    r->c = c;
    r->path = mem_str(path);
    r->body = mem_ok(json_dumps(body, JSON_COMPACT));
    json_decref(body);
    r->try_ns = try_ms * CFS_MS;
    r->deadline = cfs_ran(c->loop) + total_ms * CFS_MS;
    r->member = c->prefer;
    r->done = done;
    r->arg = arg;
    r->call.ready = on_ready;
    r->call.max_in = ETCD_ANSWER_MAX;
    cfs_timer_init(c->loop, &r->timer, on_time);
    cfs_list_add_tail(&c->requests, &r->link);
    return r;
}

void etcd_post(struct etcd_client *c, const char *path, json_t *body,
               uint32_t try_ms, uint32_t total_ms, etcd_done *done, void *arg)
{
    assert(try_ms > 0 && total_ms > 0);
    try_member(request_new(c, path, body, try_ms, total_ms, done, arg));
}

void etcd_post_to(struct etcd_client *c, unsigned member, const char *path,
                  json_t *body, uint32_t total_ms, etcd_done *done, void *arg)
{
    struct request *r = request_new(c, path, body, total_ms, total_ms, done,
                                    arg);

    assert(member < c->to.n && total_ms > 0);
    r->one = true;
    r->member = member;
    try_member(r);
}

/* -- life ---------------------------------------------------------------- */

void etcd_client_retarget(struct etcd_client *c, const struct etcd_target *to)
{
    assert(to->n > 0 && to->n <= ETCD_TARGETS);
    c->to = *to;
    c->prefer = 0;
    c->watch_at = 0;
    memset(c->why, 0, sizeof c->why);
    memcpy(c->tls.ca, to->ca, sizeof c->tls.ca);
    memcpy(c->tls.cert, to->cert, sizeof c->tls.cert);
    memcpy(c->tls.key, to->key, sizeof c->tls.key);
    memcpy(c->tls.crl, to->crl, sizeof c->tls.crl);
}

void etcd_client_go_home(struct etcd_client *c)
{
    c->prefer = 0;
    c->watch_at = 0;
}

int etcd_client_new(struct cfs_loop *loop, struct cfs_log *log,
                    const struct etcd_target *to, struct etcd_client **ret,
                    struct cfs_err *err)
{
    struct etcd_client *c;
    int rc;

    if (to->n == 0 || to->n > ETCD_TARGETS)
        return cfs_err_set(err, -EINVAL, "%u members of etcd are named; "
                           "1 to %u can be", to->n, ETCD_TARGETS);
    c = mem_new(sizeof *c);
    rc = http_new(loop, &c->http, err);
    if (rc < 0) {
        free(c);
        return rc;
    }
    c->loop = loop;
    c->log = log;
    cfs_list_init(&c->requests);
    cfs_list_init(&c->watches);
    etcd_client_retarget(c, to);
    *ret = c;
    return 0;
}

void etcd_client_free(struct etcd_client *c)
{
    if (!c)
        return;
    etcd_watches_free(c);
    cfs_list_for_each_safe(l, &c->requests)
        request_free(cfs_list_entry(l, struct request, link));
    http_free(c->http);
    free(c);
}
