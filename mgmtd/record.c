/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - see record.h. */
#include "mgmtd/record.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/opt.h"
#include "mgmtd/mem.h"
#include "rpc/proof.h"

static const char *const state_words[] = {"created", "started", "stopped"};

const char *vol_state_str(enum vol_state s)
{
    return state_words[s];
}

/* -- keys ---------------------------------------------------------------- */

char *rec_volume_key(const char *name)
{
    return mem_printf("volume/%s", name);
}

/* Keys are printable ASCII without blanks; '%' itself is odd too. */
char *rec_brick_key(const char *node, const char *path)
{
    char *key = mem_ok(malloc(strlen(node) + 3 * strlen(path) + 8));
    char *at = key + sprintf(key, "brick/%s", node);

    for (; *path; path++) {
        if (*path <= ' ' || *path > '~' || *path == '%')
            at += sprintf(at, "%%%02X", (unsigned char)*path);
        else
            *at++ = *path;
    }
    *at = '\0';
    return key;
}

static char *set_key(const char *prefix, struct cfs_uuid set,
                     const char *suffix)
{
    char text[CFS_UUID_STR];

    cfs_uuid_print(set, text);
    return mem_printf("%s/%s%s", prefix, text, suffix);
}

char *rec_view_key(struct cfs_uuid set)
{
    return set_key("view", set, "");
}

char *rec_view_past_prefix(struct cfs_uuid set)
{
    return set_key("view-past", set, "/");
}

char *rec_view_past_key(struct cfs_uuid set, uint64_t epoch)
{
    char suffix[32];

    snprintf(suffix, sizeof suffix, "/%020" PRIu64, epoch);
    return set_key("view-past", set, suffix);
}

/* -- fields -------------------------------------------------------------- */

static int bad_field(const char *what, const char *field, struct cfs_err *err)
{
    return cfs_err_set(err, -CFS_E_CORRUPT, "%s: its field '%s' is missing or "
                       "not what it should be", what, field);
}

int rec_str(const json_t *rec, const char *what, const char *field,
            const char **ret, struct cfs_err *err)
{
    const char *s = json_string_value(json_object_get(rec, field));

    if (!s)
        return bad_field(what, field, err);
    *ret = s;
    return 0;
}

int rec_u64(const json_t *rec, const char *what, const char *field,
            uint64_t *ret, struct cfs_err *err)
{
    const json_t *n = json_object_get(rec, field);

    if (!json_is_integer(n) || json_integer_value(n) < 0)
        return bad_field(what, field, err);
    *ret = (uint64_t)json_integer_value(n);
    return 0;
}

int rec_uuid(const json_t *rec, const char *what, const char *field,
             struct cfs_uuid *ret, struct cfs_err *err)
{
    const char *s;
    int rc = rec_str(rec, what, field, &s, err);

    if (rc < 0)
        return rc;
    if (cfs_uuid_parse(s, ret) < 0)
        return bad_field(what, field, err);
    return 0;
}

json_t *rec_json_uuid(struct cfs_uuid id)
{
    char text[CFS_UUID_STR];

    cfs_uuid_print(id, text);
    return mem_ok(json_string(text));
}

json_t *rec_json_u64(uint64_t n)
{
    return mem_ok(json_integer((json_int_t)n));
}

/* -- volumes ------------------------------------------------------------- */

static int read_brick(const json_t *rec, const char *what,
                      struct rec_brick *ret, struct cfs_err *err)
{
    int rc = rec_uuid(rec, what, "id", &ret->id, err);

    if (rc == 0)
        rc = rec_str(rec, what, "node", &ret->node, err);
    if (rc == 0)
        rc = rec_str(rec, what, "path", &ret->path, err);
    if (rc == 0)
        rc = rec_u64(rec, what, "size", &ret->size, err);
    return rc;
}

static int read_set(const json_t *rec, const char *what,
                    struct rec_volume *ret, struct cfs_err *err)
{
    const json_t *bricks = json_object_get(rec, "bricks");
    size_t n = json_array_size(bricks);
    int rc = rec_uuid(rec, what, "id", &ret->set, err);

    if (rc < 0)
        return rc;
    if (n == 0 || n > CFS_SET_MAX)
        return bad_field(what, "bricks", err);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = read_brick(json_array_get(bricks, i), what, &ret->brick[i], err);
    ret->n_bricks = (unsigned)n;
    return rc;
}

static int read_state(const json_t *rec, const char *what,
                      enum vol_state *ret, struct cfs_err *err)
{
    const char *s;
    int rc = rec_str(rec, what, "state", &s, err);

    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(state_words); i++)
        if (strcmp(s, state_words[i]) == 0) {
            *ret = (enum vol_state)i;
            return 0;
        }
    return bad_field(what, "state", err);
}

int rec_volume_read(const json_t *rec, struct rec_volume *ret,
                    struct cfs_err *err)
{
    const json_t *sets = json_object_get(rec, "sets");
    struct rec_volume v = {0};
    const char *name = json_string_value(json_object_get(rec, "name"));
    char what[CFS_VOLUME_NAME_MAX + 32];
    uint64_t version;
    int rc;

    snprintf(what, sizeof what, "the record of volume '%.*s'",
             (int)CFS_VOLUME_NAME_MAX, name ? name : "?");
    rc = rec_u64(rec, what, "v", &version, err);
    if (rc == 0 && version > REC_VERSION)
        return cfs_err_set(err, -EPROTONOSUPPORT, "%s was written by a newer "
                           "version", what);
    if (rc == 0)
        rc = rec_str(rec, what, "name", &v.name, err);
    if (rc == 0)
        rc = rec_uuid(rec, what, "id", &v.id, err);
    if (rc == 0)
        rc = rec_u64(rec, what, "generation", &v.generation, err);
    if (rc == 0)
        rc = read_state(rec, what, &v.state, err);
    if (rc == 0 && json_array_size(sets) != 1)
        rc = bad_field(what, "sets", err);
    if (rc == 0)
        rc = read_set(json_array_get(sets, 0), what, &v, err);
    if (rc < 0)
        return rc;
    v.options = json_object_get(rec, "options");
    *ret = v;
    return 0;
}

json_t *rec_volume_new(const struct rec_volume *v, int64_t created)
{
    json_t *bricks = mem_ok(json_array()), *rec;

    for (unsigned i = 0; i < v->n_bricks; i++) {
        const struct rec_brick *b = &v->brick[i];

        json_array_append_new(
            bricks, mem_ok(json_pack("{s:o,s:s,s:s,s:o}", "id",
                                     rec_json_uuid(b->id), "node", b->node,
                                     "path", b->path, "size",
                                     rec_json_u64(b->size))));
    }
    rec = json_pack("{s:i,s:s,s:o,s:o,s:s,s:I,s:O,s:[{s:o,s:o}]}",
                    "v", REC_VERSION, "name", v->name,
                    "id", rec_json_uuid(v->id),
                    "generation", rec_json_u64(v->generation),
                    "state", vol_state_str(v->state),
                    "created", (json_int_t)created,
                    "options", v->options,
                    "sets", "id", rec_json_uuid(v->set), "bricks", bricks);
    return mem_ok(rec);
}

void rec_volume_set_request(json_t *rec, struct cfs_uuid id)
{
    json_object_set_new(rec, "request", rec_json_uuid(id));
}

bool rec_volume_is_request(const json_t *rec, struct cfs_uuid id)
{
    const char *s = json_string_value(json_object_get(rec, "request"));
    struct cfs_uuid last;

    return s && cfs_uuid_parse(s, &last) == 0 && cfs_uuid_eq(last, id);
}

#define DELETED_FOR 3600 /* s; the CLI repeats itself for 20 s */

char *rec_deleted_key(const char *name)
{
    return mem_printf("%s%s", REC_DELETED, name);
}

json_t *rec_deleted_new(struct cfs_uuid request, int64_t now,
                        const json_t *answer)
{
    json_t *rec = mem_ok(json_pack("{s:i,s:I,s:o}", "v", REC_VERSION, "at",
                                   (json_int_t)now, "answer",
                                   mem_ok(json_deep_copy(answer))));

    rec_volume_set_request(rec, request);
    return rec;
}

json_t *rec_deleted_answer(const json_t *rec, struct cfs_uuid request)
{
    json_t *answer = json_object_get(rec, "answer");

    return rec_volume_is_request(rec, request) && json_is_object(answer)
               ? answer : NULL;
}

/* One from the future is of a clock that was wrong. */
bool rec_deleted_is_old(const json_t *rec, int64_t now)
{
    json_int_t at = json_integer_value(json_object_get(rec, "at"));

    return at > now || now - at > DELETED_FOR;
}

const char *rec_volume_secret(const json_t *rec)
{
    const char *s = json_string_value(json_object_get(rec, "secret"));
    uint8_t secret[RPC_SECRET];

    return s && rpc_secret_parse(s, secret) == 0 ? s : NULL;
}

static void new_secret(struct cfs_loop *loop, json_t *rec)
{
    uint8_t secret[RPC_SECRET];
    char text[RPC_SECRET_TEXT];

    cfs_random(loop, secret, sizeof secret);
    rpc_secret_print(secret, text);
    json_object_set_new(rec, "secret", mem_ok(json_string(text)));
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(text, sizeof text);
}

void rec_volume_need_secret(struct cfs_loop *loop, json_t *rec)
{
    if (!rec_volume_secret(rec))
        new_secret(loop, rec);
}

/* A number that may be missing. */
static uint64_t number_in(const json_t *rec, const char *field)
{
    json_int_t n = json_integer_value(json_object_get(rec, field));

    return n > 0 ? (uint64_t)n : 0;
}

uint64_t rec_volume_secret_number(const json_t *rec)
{
    uint64_t n = number_in(rec, "secret_number");

    return n ? n : 1;
}

const char *rec_volume_secret_before(const json_t *rec)
{
    const json_t *before = json_object_get(rec, "secret_before");

    return number_in(before, "number") + 1 == rec_volume_secret_number(rec)
               ? rec_volume_secret(before) : NULL;
}

uint64_t rec_volume_secret_list(const json_t *rec, bool both)
{
    if (both && rec_volume_secret_before(rec))
        return number_in(json_object_get(rec, "secret_before"), "list");
    return number_in(rec, "secret_list");
}

void rec_volume_renew_secret(struct cfs_loop *loop, json_t *rec, uint64_t list,
                             bool keep)
{
    uint64_t number = rec_volume_secret_number(rec);
    const char *secret = rec_volume_secret(rec);

    json_object_del(rec, "secret_before");
    if (keep && secret)
        json_object_set_new(rec, "secret_before", mem_ok(json_pack(
            "{s:s,s:o,s:o}", "secret", secret, "number", rec_json_u64(number),
            "list", rec_json_u64(rec_volume_secret_list(rec, false)))));
    new_secret(loop, rec);
    json_object_set_new(rec, "secret_number", rec_json_u64(number + 1));
    json_object_set_new(rec, "secret_list", rec_json_u64(list));
}

void rec_volume_set_state(json_t *rec, enum vol_state state)
{
    json_int_t g = json_integer_value(json_object_get(rec, "generation"));

    json_object_set_new(rec, "generation", mem_ok(json_integer(g + 1)));
    json_object_set_new(rec, "state",
                        mem_ok(json_string(vol_state_str(state))));
}

/* -- views --------------------------------------------------------------- */

static int read_members(const json_t *rec, const char *what,
                        const char *field, struct cfs_view *v, uint32_t *ret_n,
                        struct cfs_err *err)
{
    const json_t *list = json_object_get(rec, field);
    size_t n = json_array_size(list);
    uint32_t at = v->n_sync;
    int rc = 0;

    if (!json_is_array(list) || at + n > CFS_SET_MAX)
        return bad_field(what, field, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const json_t *m = json_array_get(list, i);

        rc = rec_uuid(m, what, "brick", &v->m[at + i].brick, err);
        if (rc == 0)
            rc = rec_u64(m, what, "incarnation", &v->m[at + i].incarnation,
                         err);
    }
    *ret_n = (uint32_t)n;
    return rc;
}

int rec_view_read(const json_t *rec, struct cfs_uuid set, uint64_t lineage,
                  struct cfs_view *ret, struct cfs_err *err)
{
    struct cfs_view v = {.set = set, .lineage = lineage};
    char id[CFS_UUID_STR], what[80];
    int rc;

    cfs_uuid_print(set, id);
    snprintf(what, sizeof what, "the record of the view of set %s", id);
    rc = rec_u64(rec, what, "epoch", &v.epoch, err);
    if (rc == 0)
        rc = rec_uuid(rec, what, "id", &v.id, err);
    if (rc == 0)
        rc = read_members(rec, what, "in_sync", &v, &v.n_sync, err);
    if (rc == 0)
        rc = read_members(rec, what, "syncing", &v, &v.n_syncing, err);
    if (rc == 0 && (v.epoch == 0 ||
                    (v.n_sync == 0 && !json_object_get(rec, "forming"))))
        rc = bad_field(what, "in_sync", err);
    if (rc == 0)
        *ret = v;
    return rc;
}

static json_t *members(const struct cfs_member *m, uint32_t n)
{
    json_t *list = mem_ok(json_array());

    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(
            list, mem_ok(json_pack("{s:o,s:o}", "brick",
                                   rec_json_uuid(m[i].brick), "incarnation",
                                   rec_json_u64(m[i].incarnation))));
    return list;
}

void rec_view_write(json_t *rec, const struct cfs_view *v)
{
    json_object_set_new(rec, "v", rec_json_u64(REC_VERSION));
    json_object_set_new(rec, "epoch", rec_json_u64(v->epoch));
    json_object_set_new(rec, "id", rec_json_uuid(v->id));
    json_object_set_new(rec, "in_sync", members(v->m, v->n_sync));
    json_object_set_new(rec, "syncing",
                        members(v->m + v->n_sync, v->n_syncing));
}
