/* SPDX-License-Identifier: Apache-2.0 */
/* node_brick.c - bricks elsewhere: what their homes tell of them, and calls to
 * them by way of their homes. See node.h.
 *
 * A picture is one JSON object: {"at", "brick", "state", "here", "ended",
 * "reason", "pid", "life", "port", "known", "info"}; "info" is struct cfs_brick
 * as it is packed for BRICK.INFO, in hex; "at" is the home's boot time in ns:
 * an older picture that comes later (as an answer) is not taken. A home tells
 * each of its bricks' pictures to all other nodes when it differs from what it
 * told last; who learns of a brick later, or finds its home again, asks for it
 * ("want").
 */
#include <stdio.h>
#include <xxhash.h>

#include "mgmtd/creating.h"
#include "mgmtd/node.h"

#define WHO    "node"
#define ASK_MS 5000u

/* -- bytes as text ------------------------------------------------------- */

static json_t *hex_of(struct cfs_blob b)
{
    static const char digit[] = "0123456789abcdef";
    char *text = mem_new(2 * (size_t)b.len + 1);
    json_t *ret;

    for (uint32_t i = 0; i < b.len; i++) {
        text[2 * i] = digit[((const uint8_t *)b.p)[i] >> 4];
        text[2 * i + 1] = digit[((const uint8_t *)b.p)[i] & 15];
    }
    ret = mem_ok(json_string(text));
    free(text);
    return ret;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
                                : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* -EBADMSG: it is none. Bytes in @a. */
static int bytes_of(struct cfs_arena *a, const json_t *value,
                    struct cfs_blob *ret)
{
    const char *text = json_string_value(value);
    size_t n = text ? strlen(text) / 2 : 0;
    uint8_t *p = cfs_arena_alloc(a, n + 1);

    if (!text || strlen(text) % 2 != 0)
        return -EBADMSG;
    for (size_t i = 0; i < n; i++) {
        int hi = digit_of(text[2 * i]), lo = digit_of(text[2 * i + 1]);

        if (hi < 0 || lo < 0)
            return -EBADMSG;
        p[i] = (uint8_t)(hi << 4 | lo);
    }
    *ret = (struct cfs_blob){p, (uint32_t)n};
    return 0;
}

static struct brick *brick_named(struct mgmtd *m, const json_t *value)
{
    const char *text = json_string_value(value);
    struct cfs_uuid id;

    return text && cfs_uuid_parse(text, &id) == 0 ? brick_find(m, id) : NULL;
}

/* -- telling ------------------------------------------------------------- */

static json_t *picture(const struct brick *b)
{
    const struct mgmt_brick_msg msg = {.brick = b->info};
    struct cfs_arena a;
    json_t *o;

    cfs_arena_init(&a);
    o = json_pack("{s:o,s:i,s:b,s:b,s:I,s:I,s:i,s:I,s:o}", "brick",
                  rec_json_uuid(b->id), "state", (int)b->state, "here",
                  (int)b->here, "ended", (int)b->ended, "pid",
                  (json_int_t)b->pid, "life", (json_int_t)b->life, "port",
                  (int)b->port, "known", (json_int_t)b->known, "info",
                  hex_of(mgmt_pack_brick_msg(&a, &msg)));
    cfs_arena_fini(&a);
    o = mem_ok(o);
    /* What a process said last may be no UTF-8: then nothing is set. */
    json_object_set_new(o, "reason", json_string(b->reason));
    return o;
}

static void set_time(struct mgmtd *m, json_t *o)
{
    json_object_set_new(
        o, "at",
        mem_ok(json_integer((json_int_t)cfs_now_fresh(m->host.loop))));
}

void node_tell_bricks(struct volume *vol)
{
    struct mgmtd *m = vol->m;

    if (node_is_alone(m))
        return;
    for (unsigned i = 0; i < vol->n; i++) {
        struct brick *b = &vol->brick[i];
        uint64_t hash;
        json_t *o;
        char *text;

        if (!brick_is_local(b))
            continue;
        o = picture(b);
        text = mem_ok(json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS));
        hash = XXH3_64bits(text, strlen(text));
        if (hash != b->told) {
            set_time(m, o);
            peers_tell(m, RPC_PEER_BRICKS, o);
        }
        b->told = hash;
        free(text);
        json_decref(o);
    }
}

/* -- being told ---------------------------------------------------------- */

static int read_info(const json_t *o, struct cfs_uuid id,
                     struct cfs_brick *ret)
{
    struct mgmt_brick_msg msg;
    struct cfs_blob body;
    struct cfs_arena a;
    int rc;

    cfs_arena_init(&a);
    rc = bytes_of(&a, json_object_get(o, "info"), &body);
    if (rc == 0)
        rc = mgmt_unpack_brick_msg(&a, body, &msg);
    if (rc == 0) {
        *ret = msg.brick;
        ret->brick = id;
    }
    cfs_arena_fini(&a);
    return rc;
}

static json_int_t number(const json_t *o, const char *name, json_int_t max)
{
    json_int_t n = json_integer_value(json_object_get(o, name));

    return n < 0 || n > max ? 0 : n;
}

static void take(struct brick *b, const json_t *o)
{
    const char *reason = json_string_value(json_object_get(o, "reason"));
    uint16_t port = (uint16_t)number(o, "port", UINT16_MAX);
    bool moved = port != 0 && port != b->port;
    uint64_t at = (uint64_t)number(o, "at", INT64_MAX);
    struct cfs_brick info;

    if (at < b->seen)
        return;
    if (read_info(o, b->id, &info) < 0) {
        cfs_log_warning(b->vol->m->host.log, WHO, "what node %s tells of "
                        "brick %s makes no sense", b->node, b->path);
        return;
    }
    b->seen = at;
    b->info = info;
    b->state = (enum brick_state)number(o, "state", BRICK_FAULTY);
    b->here = json_is_true(json_object_get(o, "here"));
    b->ended = json_is_true(json_object_get(o, "ended"));
    b->pid = (uint32_t)number(o, "pid", UINT32_MAX);
    b->life = (uint64_t)number(o, "life", INT64_MAX);
    b->known = (uint64_t)number(o, "known", INT64_MAX);
    if (b->port != port)
        ports_changed(b->vol->m);
    b->port = port;
    snprintf(b->reason, sizeof b->reason, "%s", reason ? reason : "");
    if (moved && b->vol->state == VOL_STARTED)
        volume_spec_changed(b->vol);
    if (b->here)
        sessions_heard(b);
    volume_changed(b->vol);
}

static void on_picture(void *arg, int status, json_t *result, const char *text)
{
    struct brick *b = arg;

    if (status == 0 && !b->vol->gone)
        take(b, result);
    volume_unref(b->vol);
}

void node_ask_brick(struct brick *b)
{
    struct peer *home = brick_is_local(b) ? NULL : brick_home(b);

    if (!home || !home->up)
        return;
    volume_ref(b->vol);
    peer_call(home, RPC_PEER_BRICKS,
              mem_ok(json_pack("{s:o}", "want", rec_json_uuid(b->id))), ASK_MS,
              on_picture, b);
}

void node_on_bricks(struct peer_req *req)
{
    json_t *want = json_object_get(req->args, "want");
    struct cfs_err err = {0};
    struct brick *b = brick_named(
        req->m, want ? want : json_object_get(req->args, "brick"));

    if (want && b && brick_is_local(b)) {
        json_t *o = picture(b);

        set_time(req->m, o);
        peer_reply(req, o);
        return;
    }
    if (want) {
        cfs_err_set(&err, -ENOENT, "no such brick on node %s", req->m->node);
        peer_fail(req, &err);
        return;
    }
    /* Of a volume that is not known here yet: it is asked for then. */
    if (b && req->from && strcmp(req->from->name, b->node) == 0)
        take(b, req->args);
    peer_reply(req, NULL);
}

/* -- homes that come and go ---------------------------------------------- */

static void lose(struct brick *b)
{
    b->seen = 0; /* it may have another clock when it is back */
    b->here = false;
    b->ended = false; /* nobody knows */
    b->known = 0;
    b->state = BRICK_UNKNOWN;
    snprintf(b->reason, sizeof b->reason, "node %s cannot be reached",
             b->node);
    volume_changed(b->vol);
}

void node_peer_changed(struct peer *p)
{
    struct mgmtd *m = p->m;

    cfs_list_for_each(l, &m->volumes) {
        struct volume *vol = cfs_list_entry(l, struct volume, link);

        for (unsigned i = 0; i < vol->n; i++) {
            struct brick *b = &vol->brick[i];

            if (brick_is_local(b) || strcmp(b->node, p->name) != 0)
                continue;
            if (p->up && !p->gone)
                node_ask_brick(b);
            else if (b->state != BRICK_UNKNOWN)
                lose(b);
        }
        /* Where it is to be reached, and whether it is alone. */
        if (vol->state == VOL_STARTED)
            volume_spec_changed(vol);
    }
    creating_look(m);
}

/* -- calls to bricks elsewhere ------------------------------------------- */

struct relay {
    struct brick *b;
    brick_done   *done;
    void         *arg;
};

static void on_relayed(void *arg, int status, json_t *result, const char *text)
{
    struct relay r = *(struct relay *)arg;
    struct cfs_blob body = {0};
    struct cfs_arena a;

    free(arg);
    cfs_arena_init(&a);
    if (status == 0) {
        const char *why = json_string_value(json_object_get(result, "text"));

        status = (int)json_integer_value(json_object_get(result, "status"));
        text = why ? why : "";
        if (status > 0 ||
            bytes_of(&a, json_object_get(result, "body"), &body) < 0)
            status = -EBADMSG;
    }
    if (r.done)
        r.done(r.b, r.arg, status, body,
               text && *text ? text : cfs_err_str(status));
    cfs_arena_fini(&a);
    volume_unref(r.b->vol);
}

void node_brick_call(struct brick *b, uint32_t proc, struct cfs_blob body,
                     uint32_t timeout_ms, brick_done *done, void *arg)
{
    struct relay *r = mem_new(sizeof *r);

    *r = (struct relay){b, done, arg};
    volume_ref(b->vol);
    /* The home's own patience ends first, so that its answer says more. */
    peer_call(brick_home(b), RPC_PEER_BRICK_CALL,
              mem_ok(json_pack("{s:o,s:i,s:i,s:o}", "brick",
                               rec_json_uuid(b->id), "proc", (int)proc,
                               "timeout", (int)timeout_ms, "body",
                               hex_of(body))),
              timeout_ms ? timeout_ms + 500 : 0, on_relayed, r);
}

static void on_answer(struct brick *b, void *arg, int status,
                      struct cfs_blob body, const char *text)
{
    struct peer_req *req = arg;
    json_t *said = json_string(text); /* NULL: a brick's, and no UTF-8 */

    peer_reply(req, mem_ok(json_pack(
                        "{s:i,s:o,s:o}", "status", status, "text",
                        said ? said : mem_ok(json_string("")), "body",
                        hex_of(body))));
}

void node_on_brick_call(struct peer_req *req)
{
    struct brick *b = brick_named(req->m, json_object_get(req->args, "brick"));
    uint32_t proc = (uint32_t)number(req->args, "proc", RPC_BRICK_PROCS - 1);
    struct cfs_err err = {0};
    struct cfs_blob body;
    struct cfs_arena a;

    if (!b || !brick_is_local(b)) {
        cfs_err_set(&err, -ENOENT, "no such brick on node %s", req->m->node);
        peer_fail(req, &err);
        return;
    }
    if (json_is_true(json_object_get(req->args, "forgive"))) {
        brick_forgive(b);
        peer_reply(req, NULL);
        return;
    }
    cfs_arena_init(&a);
    if (proc == 0 ||
        bytes_of(&a, json_object_get(req->args, "body"), &body) < 0) {
        cfs_err_set(&err, -EBADMSG, "no valid call of a brick");
        peer_fail(req, &err);
    } else {
        brick_call(b, proc, body,
                   (uint32_t)number(req->args, "timeout", 3600000), on_answer,
                   req);
    }
    cfs_arena_fini(&a);
}

void node_forgive_brick(struct brick *b)
{
    struct peer *home = brick_home(b);

    if (home)
        peer_call(home, RPC_PEER_BRICK_CALL,
                  mem_ok(json_pack("{s:o,s:b}", "brick",
                                   rec_json_uuid(b->id), "forgive", 1)),
                  ASK_MS, NULL, NULL);
}
