/* SPDX-License-Identifier: Apache-2.0 */
/* silence.c - see silence.h. */
#include "mgmtd/silence.h"

#include <stdio.h>

#include "mgmtd/node.h"
#include "mgmtd/silence_core.h"

#define WHO "silence"

#define OP_TIMEOUT_MS 2000u
#define DOUBT_FOR     (5 * CFS_SEC)
#define TICK          (125 * CFS_MS)
#define TELL_EVERY    CFS_SEC
#define ANSWER_MS     300u
#define JUDGE_AGAIN   (250 * CFS_MS)
#define DEAD_TIME     (12 * CFS_SEC)
#define CLIENTS_MAX   64u
#define OLD_WORDS     (100 * CFS_MS) /* what waited while we stood still */

/* How one member answers us. */
struct probe {
    struct rpc_conn *conn; /* our own, to a brick elsewhere; NULL: none */
    struct rpc_addr  addr;
    uint64_t         began;
    uint64_t         up; /* since then @conn is; a connection alone is nothing:
                            the kernel accepts for a process that hangs */
    struct lossy     lossy;
};

/* What one client has said, by brick. Who says what is proven: a session counts
 * for its owner's words alone, and what an owner says besides counts once,
 * whatever number of lines it has. */
struct witness {
    struct cfs_list link;
    char            owner[CFS_OWNER_MAX];
    uint32_t        session; /* of that owner; 0: none that we know */
    uint32_t        node;
    uint64_t        said; /* last */
    uint64_t        fence_since; /* misses one that stays since then; 0: no */
    uint64_t        fence_epoch; /* in that view: another one begins anew */
    struct sl_ear   ear;
    struct {
        uint64_t        at;
        struct sl_heard h;
    } heard[CFS_SET_MAX];
};

struct silence {
    struct volume     *vol;
    struct cfs_timer   tick;
    uint64_t           until;
    uint64_t           ticked; /* last: a late one says that we stood still */
    uint64_t           anew;   /* when we last had stood still; 0: never */
    uint64_t           told;
    uint64_t           missed_since; /* 0: nobody misses anybody */
    uint64_t           judged;
    struct probe       probe[CFS_SET_MAX];
    struct sl_ear      ear; /* ours */
    struct cfs_list    witnesses;
    unsigned           n_witnesses;
    unsigned           pending; /* answers of other nodes */
    uint64_t           epoch;   /* that they were asked about */
    uint64_t           asked;   /* when */
    bool               over;    /* free it when nothing is pending */
    struct sl_question q;
};

static uint64_t now_of(const struct silence *s)
{
    return cfs_now(s->vol->m->host.loop);
}

static uint64_t op_timeout(const struct volume *vol)
{
    const char *text = json_string_value(json_object_get(
        json_object_get(vol->rec, "options"), "network.op-timeout"));
    uint64_t ms;

    if (!text || cfs_parse_ms(text, &ms) < 0 || ms == 0)
        ms = OP_TIMEOUT_MS;
    return ms * CFS_MS;
}

/* Numbers of nodes; without a cluster this node is 1. */
static uint32_t my_number(struct mgmtd *m)
{
    const struct peer *self = peer_self(m);

    return self ? self->number : 1;
}

static uint32_t home_number(const struct brick *b)
{
    const struct peer *home = brick_home(b);

    if (home)
        return home->number;
    return brick_is_local(b) ? 1 : UINT32_MAX - b->index;
}

static struct brick *member(struct volume *vol, unsigned k)
{
    for (unsigned i = 0; i < vol->n; i++)
        if (cfs_uuid_eq(vol->brick[i].id, vol->view.m[k].brick))
            return &vol->brick[i];
    return NULL;
}

/* -- probes -------------------------------------------------------------- */

static struct rpc_conn *line_to(const struct silence *s, const struct brick *b)
{
    if (brick_is_local(b))
        return b->line ? b->line->conn : NULL;
    return s->probe[b->index].conn;
}

static void on_probe_up(struct rpc_conn *c, void *ctx)
{
    struct probe *p = ctx;

    p->up = rpc_conn_heard(c);
}

static void on_probe_down(struct rpc_conn *c, const struct cfs_err *why,
                          void *ctx)
{
}

static void probe_open(struct silence *s, struct brick *b)
{
    static const struct rpc_events events = {on_probe_up, on_probe_down};
    struct mgmtd *m = s->vol->m;
    struct probe *p = &s->probe[b->index];
    struct rpc_opts opts = rpc_opts_default;
    char *text = peer_address(brick_host(b), b->port);
    struct rpc_addr addr;
    struct cfs_err err = {0};

    opts.reconnect_ms = 100;
    opts.connect_ms = 1000;
    if (b->port && rpc_addr_parse(text, &addr, &err) == 0) {
        if (!p->conn) {
            if (rpc_connect(m->host.loop, m->host.log, WHO, &addr, &opts, NULL,
                            0, &events, p, &p->conn, &err) < 0)
                p->conn = NULL;
        } else if (strcmp(addr.text, p->addr.text) != 0) {
            rpc_conn_redirect(p->conn, &addr);
        }
        p->addr = addr;
    }
    free(text);
}

/* The wait is for the answer to the last probe. */
static void probe_loss(struct silence *s, const struct brick *b, uint64_t now)
{
    struct probe *p = &s->probe[b->index];
    uint64_t from = rpc_conn_heard(p->conn);
    struct rpc_loss loss;

    if (from < p->began)
        from = p->began;
    rpc_conn_loss(p->conn, &loss);
    lossy_look(&p->lossy, now, from, op_timeout(s->vol), &loss);
}

static void probe_members(struct silence *s, uint64_t now)
{
    struct volume *vol = s->vol;

    for (unsigned k = 0; k < vol->view.n_sync + vol->view.n_syncing; k++) {
        struct brick *b = member(vol, k);

        if (!b)
            continue;
        if (s->probe[b->index].began == 0)
            s->probe[b->index].began = now;
        if (!brick_is_local(b))
            probe_open(s, b);
        if (s->probe[b->index].conn)
            probe_loss(s, b, now);
        if (line_to(s, b))
            rpc_conn_ping(line_to(s, b));
    }
}

/* What we have of @b ourselves. One whose process is not there, or not signed
 * in, is no matter of silence; its home knows. */
static struct sl_heard heard_here(const struct silence *s,
                                  const struct brick *b, uint64_t now)
{
    const struct probe *p = &s->probe[b->index];
    struct rpc_conn *c = line_to(s, b);
    uint64_t heard = c ? rpc_conn_heard(c) : 0;

    if (p->began == 0 || (!c && brick_is_local(b)))
        return (struct sl_heard){0};
    if (heard >= p->began && heard > p->up)
        return (struct sl_heard){true, now > heard ? now - heard : 0,
                                 p->lossy.level};
    return (struct sl_heard){now - p->began > op_timeout(s->vol) / 4,
                             SL_NEVER, p->lossy.level};
}

static void probes_close(struct silence *s)
{
    for (unsigned i = 0; i < CFS_SET_MAX; i++) {
        rpc_conn_close(s->probe[i].conn);
        s->probe[i] = (struct probe){0};
    }
}

/* -- reports ------------------------------------------------------------- */

static void add_own(struct silence *s, struct sl_question *q, uint64_t now)
{
    struct sl_report *r = &q->report[q->n++];

    *r = (struct sl_report){.node = my_number(s->vol->m)};
    for (unsigned k = 0; k < q->n_members; k++) {
        const struct brick *b = member(s->vol, k);

        if (b)
            r->heard[k] = heard_here(s, b, now);
    }
    sl_listen(&s->ear, q, r, now);
}

static void add_witnesses(struct silence *s, struct sl_question *q,
                          uint64_t now)
{
    uint64_t fresh = op_timeout(s->vol) / 2;

    cfs_list_for_each(l, &s->witnesses) {
        struct witness *w = cfs_list_entry(l, struct witness, link);
        struct sl_report *r = &q->report[q->n];

        if (q->n == SL_REPORTS_MAX)
            return;
        *r = (struct sl_report){.node = w->node, .client = true,
                                .session = w->session,
                                .made_ns = now - w->said};
        for (unsigned k = 0; k < q->n_members; k++) {
            const struct brick *b = member(s->vol, k);

            if (b && now - w->heard[b->index].at <= fresh)
                r->heard[k] = w->heard[b->index].h;
        }
        sl_listen(&w->ear, q, r, now);
        q->n++;
    }
}

static void add_voters(struct mgmtd *m, struct sl_question *q)
{
    struct cfs_err err = {0};
    const char *name;
    json_t *rec, *voter;

    if (store_get(m->store, "engine", &rec, NULL, &err) < 0)
        return;
    json_object_foreach(json_object_get(rec, "voters"), name, voter) {
        const struct peer *p = peer_find(m, name);

        if (p && q->n_voter_nodes < SL_VOTERS_MAX)
            q->voter_node[q->n_voter_nodes++] = p->number;
    }
    json_decref(rec);
}

/* If we stood still, what was heard until then says nothing, nor does what came
 * meanwhile: see silence_hear(). */
static void begin_anew(struct silence *s, uint64_t now)
{
    const bool late = now > s->ticked + 8 * TICK;

    if (now > s->ticked)
        s->ticked = now;
    if (!late)
        return;
    s->anew = now;
    for (unsigned i = 0; i < CFS_SET_MAX; i++) {
        s->probe[i].began = now;
        lossy_reset(&s->probe[i].lossy);
    }
    cfs_list_for_each(l, &s->witnesses) {
        struct witness *w = cfs_list_entry(l, struct witness, link);

        memset(w->heard, 0, sizeof w->heard);
    }
}

/* All that is known here. */
static void question(struct silence *s, struct sl_question *q)
{
    struct volume *vol = s->vol;
    uint64_t now = now_of(s);

    begin_anew(s, now);
    *q = (struct sl_question){
        .n_members = vol->view.n_sync + vol->view.n_syncing,
        .n_sync = vol->view.n_sync,
        .min_copies = vol->n > 2 ? vol->n / 2 + 1 : 1,
        .op_timeout_ns = op_timeout(vol),
    };
    for (unsigned k = 0; k < q->n_members; k++) {
        const struct brick *b = member(vol, k);

        q->member_node[k] = b ? home_number(b) : UINT32_MAX;
    }
    add_voters(vol->m, q);
    add_own(s, q, now);
    add_witnesses(s, q, now);
}

static bool something_is_wrong(const struct sl_question *q)
{
    for (unsigned i = 0; i < q->n; i++)
        if (sl_is_wrong(q, &q->report[i]))
            return true;
    return false;
}

/* -- from node to node --------------------------------------------------- */

static json_t *report_json(const struct silence *s,
                           const struct sl_question *q,
                           const struct sl_report *r)
{
    json_t *heard = mem_ok(json_object());
    json_t *lossy = mem_ok(json_object());

    for (unsigned k = 0; k < q->n_members; k++) {
        char id[CFS_UUID_STR];

        if (!r->heard[k].asked)
            continue;
        cfs_uuid_print(s->vol->view.m[k].brick, id);
        json_object_set_new(
            heard, id,
            mem_ok(json_integer(r->heard[k].age_ns == SL_NEVER
                                    ? -1
                                    : (json_int_t)(r->heard[k].age_ns /
                                                   CFS_MS))));
        json_object_set_new(
            lossy, id,
            mem_ok(json_integer((json_int_t)(r->heard[k].lossy_ns /
                                             CFS_MS))));
    }
    return mem_ok(json_pack("{s:I,s:b,s:I,s:I,s:o,s:o}", "node",
                            (json_int_t)r->node, "client", (int)r->client,
                            "session", (json_int_t)r->session, "made_ms",
                            (json_int_t)(r->made_ns / CFS_MS), "heard",
                            heard, "lossy", lossy));
}

static uint64_t u64_of(const json_t *o, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(o, name));

    return n < 0 ? 0 : (uint64_t)n;
}

static void take_report(struct silence *s, uint32_t from, const json_t *o)
{
    struct sl_question *q = &s->q;
    struct sl_report *r = &q->report[q->n];
    const json_t *heard = json_object_get(o, "heard");
    const json_t *lossy = json_object_get(o, "lossy");

    if (q->n == SL_REPORTS_MAX)
        return;
    *r = (struct sl_report){
        .client = json_is_true(json_object_get(o, "client")),
        .session = (uint32_t)u64_of(o, "session"),
        .made_ns = u64_of(o, "made_ms") * CFS_MS,
    };
    /* A node speaks for itself, and for clients of no node. */
    r->node = r->client ? (uint32_t)u64_of(o, "node") : from;
    for (unsigned k = 0; k < q->n_members; k++) {
        char id[CFS_UUID_STR];
        const json_t *age;

        cfs_uuid_print(s->vol->view.m[k].brick, id);
        age = json_object_get(heard, id);
        if (!json_is_integer(age))
            continue;
        r->heard[k].asked = true;
        r->heard[k].age_ns = json_integer_value(age) < 0
                                 ? SL_NEVER
                                 : (uint64_t)json_integer_value(age) * CFS_MS;
        r->heard[k].lossy_ns = u64_of(lossy, id) * CFS_MS;
    }
    q->n++;
}

static struct volume *volume_named(struct peer_req *req)
{
    const char *name = json_string_value(
        json_object_get(req->args, "volume"));

    return name ? volume_find(req->m, name) : NULL;
}

void silence_on_report(struct peer_req *req)
{
    struct volume *vol = volume_named(req);

    if (vol)
        silence_doubt(vol);
    peer_reply(req, NULL);
}

void silence_on_ask(struct peer_req *req)
{
    struct volume *vol = volume_named(req);
    struct sl_question *q;
    struct cfs_err err = {0};
    json_t *list;

    if (vol)
        silence_doubt(vol);
    if (!vol || !vol->silence ||
        vol->view.epoch != u64_of(req->args, "epoch")) {
        cfs_err_set(&err, -EAGAIN, "this node knows another view");
        peer_fail(req, &err);
        return;
    }
    q = mem_new(sizeof *q);
    question(vol->silence, q);
    list = mem_ok(json_array());
    for (unsigned i = 0; i < q->n; i++)
        json_array_append_new(list,
                              report_json(vol->silence, q, &q->report[i]));
    free(q);
    peer_reply(req, mem_ok(json_pack("{s:o}", "reports", list)));
}

/* -- the judgement ------------------------------------------------------- */

static void silence_free(struct silence *s)
{
    struct volume *vol = s->vol;

    if (!s->over || s->pending > 0)
        return;
    cfs_list_for_each_safe(l, &s->witnesses) {
        cfs_list_del(l);
        free(cfs_list_entry(l, struct witness, link));
    }
    cfs_timer_fini(&s->tick);
    free(s);
    volume_unref(vol);
}

static void end_doubt(struct silence *s)
{
    s->vol->silence = NULL;
    cfs_timer_stop(&s->tick);
    probes_close(s);
    s->over = true;
    silence_free(s);
}

/* Clients that miss a member which stays: after a dead time they die. */
static void note_fenced(struct silence *s, const struct sl_judgement *j)
{
    uint64_t now = now_of(s);

    cfs_list_for_each(l, &s->witnesses) {
        struct witness *w = cfs_list_entry(l, struct witness, link);
        bool named = false;

        for (unsigned i = 0; i < j->n_fence; i++)
            named |= w->session && j->fence[i] == w->session;
        if (!named) {
            w->fence_since = 0;
        } else if (w->fence_since == 0 || w->fence_epoch != s->epoch) {
            w->fence_since = now;
            w->fence_epoch = s->epoch;
        } else if (now - w->fence_since > DEAD_TIME) {
            session_declare_dead(s->vol, w->session,
                                 "it cannot reach a member that others do");
        }
    }
}

static void judge(struct silence *s)
{
    struct volume *vol = s->vol;
    struct sl_judgement j;
    bool dropped = false;

    s->judged = now_of(s);
    if (s->epoch != vol->view.epoch ||
        cfs_now_fresh(vol->m->host.loop) - s->asked > s->q.op_timeout_ns / 2)
        return; /* we stood still meanwhile: rule 6 */
    sl_judge(&s->q, &j);
    for (unsigned k = 0; k < s->q.n_members; k++) {
        struct brick *b = member(vol, k);

        if (!b || j.member[k] != SL_DROPPED)
            continue;
        if (b->silent_in != vol->view.epoch)
            cfs_log_warning(vol->m->host.log, WHO, "volume %s: %s:%s does not "
                            "answer: by %u reports it is dropped", vol->name,
                            b->node, b->path, s->q.n);
        b->silent_in = vol->view.epoch;
        dropped = true;
    }
    note_fenced(s, &j);
    if (dropped)
        volume_changed(vol);
}

struct ask {
    struct silence *s;
    uint32_t        node; /* whom: not what it says of itself */
};

static void on_reports(void *arg, int status, json_t *result,
                       const char *text)
{
    struct ask a = *(struct ask *)arg;
    struct silence *s = a.s;
    json_t *list = json_object_get(result, "reports");

    free(arg);
    if (status == 0 && !s->over && s->epoch == s->vol->view.epoch)
        for (size_t i = 0; i < json_array_size(list); i++)
            take_report(s, a.node, json_array_get(list, i));
    if (--s->pending == 0 && !s->over)
        judge(s);
    silence_free(s);
}

/* Who was not heard lately would only cost time. */
static void ask_others(struct silence *s)
{
    struct mgmtd *m = s->vol->m;
    uint64_t now = now_of(s);

    s->epoch = s->vol->view.epoch;
    s->asked = cfs_now_fresh(m->host.loop);
    cfs_list_for_each(l, &m->peers) {
        struct peer *p = cfs_list_entry(l, struct peer, link);
        struct ask *a;

        if (p->self || !p->up || now - peer_heard(p) > CFS_SEC)
            continue;
        a = mem_new(sizeof *a);
        *a = (struct ask){s, p->number};
        s->pending++;
        peer_call(p, RPC_PEER_SILENCE_ASK,
                  mem_ok(json_pack("{s:s,s:I}", "volume", s->vol->name,
                                   "epoch", (json_int_t)s->epoch)),
                  ANSWER_MS, on_reports, a);
    }
    if (s->pending == 0)
        judge(s);
}

/* -- doubt --------------------------------------------------------------- */

static void tell_others(struct silence *s, uint64_t now)
{
    struct volume *vol = s->vol;
    struct mgmt_view_get msg = {.epoch = vol->view.epoch};
    struct cfs_arena a;
    json_t *o;
    char *key;

    if (s->told && now - s->told < TELL_EVERY)
        return;
    s->told = now;
    key = mem_printf("volume:%s", vol->name);
    msg.key = key;
    cfs_arena_init(&a);
    lines_push(vol->m, key, &rpc_to_view, RPC_VIEW_PROBE,
               mgmt_pack_view_get(&a, &msg));
    cfs_arena_fini(&a);
    free(key);
    o = mem_ok(json_pack("{s:s}", "volume", vol->name));
    peers_tell(vol->m, RPC_PEER_SILENCE_REPORT, o);
    json_decref(o);
}

static void forget_old(struct silence *s, uint64_t now)
{
    cfs_list_for_each_safe(l, &s->witnesses) {
        struct witness *w = cfs_list_entry(l, struct witness, link);

        if (now - w->said < DOUBT_FOR)
            continue;
        cfs_list_del(l);
        free(w);
        s->n_witnesses--;
    }
}

static void consider(struct silence *s, uint64_t now)
{
    struct sl_question *q = &s->q;

    if (s->pending > 0)
        return;
    question(s, q);
    if (!something_is_wrong(q)) {
        s->missed_since = 0;
        return;
    }
    s->until = now + DOUBT_FOR;
    if (s->missed_since == 0)
        s->missed_since = now;
    if (now - s->missed_since < sl_delay(q, my_number(s->vol->m)) ||
        (s->judged && now - s->judged < JUDGE_AGAIN))
        return;
    ask_others(s);
}

static void on_tick(struct cfs_timer *t)
{
    struct silence *s = cfs_list_entry(t, struct silence, tick);
    uint64_t now = cfs_now_fresh(s->vol->m->host.loop);

    if (s->vol->gone || s->vol->state != VOL_STARTED ||
        s->vol->view.epoch == 0 || now > s->until) {
        end_doubt(s);
        return;
    }
    begin_anew(s, now);
    forget_old(s, now);
    probe_members(s, now);
    tell_others(s, now);
    cfs_timer_start(&s->tick, TICK);
    consider(s, now);
}

void silence_doubt(struct volume *vol)
{
    struct silence *s = vol->silence;
    uint64_t now = cfs_now(vol->m->host.loop);

    if (vol->gone || vol->state != VOL_STARTED || vol->view.epoch == 0)
        return;
    if (s) {
        if (s->until < now + DOUBT_FOR)
            s->until = now + DOUBT_FOR;
        return;
    }
    s = mem_new(sizeof *s);
    s->vol = volume_ref(vol);
    s->until = now + DOUBT_FOR;
    s->ticked = now;
    cfs_list_init(&s->witnesses);
    cfs_timer_init(vol->m->host.loop, &s->tick, on_tick);
    cfs_timer_start(&s->tick, 0);
    vol->silence = s;
}

void silence_end(struct volume *vol)
{
    if (vol->silence)
        end_doubt(vol->silence);
}

/* -- what clients say ---------------------------------------------------- */

static uint32_t node_of(const struct line *line)
{
    const struct peer *p;

    if (line_is_here(line))
        return my_number(line->m);
    p = line->role == RPC_PEER_NODE ? peer_find(line->m, line->name) : NULL;
    return p ? p->number : 0;
}

static struct witness *witness_of(struct silence *s, const char *owner,
                                  uint32_t session)
{
    struct witness *w;

    cfs_list_for_each(l, &s->witnesses) {
        w = cfs_list_entry(l, struct witness, link);
        if (w->session == session && strcmp(w->owner, owner) == 0)
            return w;
    }
    if (s->n_witnesses == CLIENTS_MAX)
        return NULL;
    w = mem_new(sizeof *w);
    snprintf(w->owner, sizeof w->owner, "%s", owner);
    w->session = session;
    cfs_list_add_tail(&s->witnesses, &w->link);
    s->n_witnesses++;
    return w;
}

void silence_hear(struct volume *vol, const struct line *line,
                  const struct mgmt_view_report *q)
{
    struct brick *b = brick_find(vol->m, q->brick);
    uint64_t now = cfs_now(vol->m->host.loop);
    uint64_t age = q->age_ms > UINT64_MAX / CFS_MS ? SL_NEVER
                                                   : q->age_ms * CFS_MS;
    char owner[CFS_OWNER_MAX];
    uint64_t lossy = q->lossy_ms > UINT64_MAX / CFS_MS ? 0
                                                       : q->lossy_ms * CFS_MS;
    struct witness *w;

    if (!b || b->vol != vol || !view_has(vol, b))
        return;
    if (q->asked && (age >= op_timeout(vol) / 2 ||
                     lossy >= LOSSY_DOUBT(op_timeout(vol))))
        silence_doubt(vol);
    if (!vol->silence)
        return;
    begin_anew(vol->silence, now);
    if (now < vol->silence->anew + OLD_WORDS)
        return;
    line_owner(line, vol, owner);
    w = witness_of(vol->silence, owner,
                   session_is_of(vol, q->session, owner) ? q->session : 0);
    if (!w)
        return;
    w->node = node_of(line);
    w->said = now;
    w->heard[b->index].at = now;
    w->heard[b->index].h = (struct sl_heard){q->asked != 0, age, lossy};
    if (q->asked && (age > op_timeout(vol) ||
                     lossy >= LOSSY_BAD(op_timeout(vol))))
        consider(vol->silence, now);
}
