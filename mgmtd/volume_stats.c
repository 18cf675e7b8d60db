/* SPDX-License-Identifier: Apache-2.0 */
/* volume_stats.c - the verbs profile, top and statedump: each asks every brick
 * of the volume at once and answers with what comes, an error in the place of
 * a brick that does not answer.
 *
 *     profile start   time operations (option diagnostics.latency-measurement)
 *                     and start all figures anew
 *     profile info    figures since then, per brick and operation
 *     profile stop    time no more; operations are still counted
 *     top             the busiest operations and inodes of the whole volume
 *     statedump       each brick writes down its state, and says where
 */
#include <stdio.h>
#include <stdlib.h>

#include "mgmtd/mgmtd.h"

#define ANSWER_MS 10000u
#define TIMED     "diagnostics.latency-measurement"

struct ask {
    struct command *c;
    struct volume  *vol;
    unsigned        pending;
    json_t         *answer[CFS_SET_MAX]; /* of each brick */
    /* The body of one brick's answer as an object; NULL: it is none. */
    json_t *(*read)(struct cfs_blob body);
    json_t *(*make)(struct ask *a); /* the command's answer */
};

/* -- asking all bricks --------------------------------------------------- */

static json_t *with_brick(const struct brick *b, json_t *o)
{
    json_object_set_new(o, "brick",
                        mem_ok(json_sprintf("%s:%s", b->node, b->path)));
    return o;
}

static void ask_end(struct ask *a)
{
    struct command *c = a->c;
    struct volume *vol = a->vol;
    json_t *json = a->make(a);

    for (unsigned i = 0; i < vol->n; i++)
        json_decref(a->answer[i]);
    free(a);
    command_ok(c, json);
    volume_unref(vol);
}

static void on_answer(struct brick *b, void *arg, int status,
                      struct cfs_blob body, const char *text)
{
    struct ask *a = arg;
    json_t *o = status == 0 ? a->read(body) : NULL;

    if (!o)
        o = mem_ok(json_pack("{s:s}", "error",
                             status == 0 ? "its answer makes no sense"
                                         : text));
    a->answer[b->index] = with_brick(b, o);
    if (--a->pending == 0)
        ask_end(a);
}

static void ask_bricks(struct command *c, struct volume *vol, uint32_t proc,
                       struct cfs_blob body,
                       json_t *(*read)(struct cfs_blob body),
                       json_t *(*make)(struct ask *a))
{
    struct ask *a = mem_new(sizeof *a);

    a->c = c;
    a->vol = volume_ref(vol);
    a->read = read;
    a->make = make;
    a->pending = vol->n;
    for (unsigned i = 0; i < vol->n; i++)
        brick_call(&vol->brick[i], proc, body, ANSWER_MS, on_answer, a);
}

/* The volume that the command names, if it runs, or NULL. */
static struct volume *need_started(struct command *c, struct cfs_err *err)
{
    struct volume *vol;

    if (volume_need(c->m, command_str(c, "name"), &vol, err) < 0)
        return NULL;
    if (vol->state == VOL_STARTED)
        return vol;
    cfs_err_set(err, -ESHUTDOWN, "volume %s is not started: no brick can be "
                "asked", vol->name);
    return NULL;
}

static json_t *read_profile(struct cfs_blob body)
{
    struct mgmt_profile_reply reply;
    struct cfs_arena a;
    json_t *o = NULL;

    cfs_arena_init(&a);
    if (mgmt_unpack_profile_reply(&a, body, &reply) == 0)
        o = json_loads(reply.json, 0, NULL);
    cfs_arena_fini(&a);
    if (json_is_object(o))
        return o;
    json_decref(o);
    return NULL;
}

static json_t *each_brick(struct ask *a)
{
    json_t *bricks = mem_ok(json_array());

    for (unsigned i = 0; i < a->vol->n; i++)
        json_array_append(bricks, a->answer[i]);
    return mem_ok(json_pack("{s:s,s:o}", "name", a->vol->name, "bricks",
                            bricks));
}

/* -- profile ------------------------------------------------------------- */

static json_t *profile_info(struct ask *a)
{
    for (unsigned i = 0; i < a->vol->n; i++)
        json_object_del(a->answer[i], "inodes");
    return each_brick(a);
}

static json_t *profile_started(struct ask *a)
{
    json_t *json, *bricks, *b;
    size_t i;

    for (unsigned k = 0; k < a->vol->n; k++) {
        json_object_del(a->answer[k], "inodes");
        json_object_del(a->answer[k], "fops");
    }
    json = each_brick(a);
    bricks = json_object_get(json, "bricks");
    json_array_foreach(bricks, i, b) {
        json_object_del(b, "seconds");
        json_object_del(b, "in_flight");
    }
    json_object_set_new(json, "profile", mem_ok(json_string("started")));
    return json;
}

static void ask_profile(struct command *c, struct volume *vol, bool anew,
                        json_t *(*make)(struct ask *a))
{
    struct mgmt_profile msg = {.action = anew};
    struct cfs_arena a;

    cfs_arena_init(&a);
    ask_bricks(c, vol, RPC_BRICK_PROFILE, mgmt_pack_profile(&a, &msg),
               read_profile, make);
    cfs_arena_fini(&a);
}

static void on_switched(struct command *c, struct volume *vol,
                        json_t *changed, const struct cfs_err *err)
{
    if (err->code)
        command_fail(c, err);
    else if (strcmp(command_str(c, "action"), "start") == 0)
        ask_profile(c, vol, true, profile_started);
    else
        command_ok(c, mem_ok(json_pack("{s:s,s:s}", "name", vol->name,
                                       "profile", "stopped")));
}

void volume_profile(struct command *c)
{
    const char *action = command_str(c, "action");
    struct cfs_err err = {0};
    struct volume *vol = need_started(c, &err);
    bool start = strcmp(action, "start") == 0;

    if (!vol) {
        command_fail(c, &err);
    } else if (strcmp(action, "info") == 0) {
        ask_profile(c, vol, false, profile_info);
    } else if (start || strcmp(action, "stop") == 0) {
        volume_change_options(
            c, vol, mem_ok(json_pack("{s:s}", TIMED, start ? "on" : "off")),
            on_switched);
    } else {
        cfs_err_set(&err, -EINVAL, "profile: expected start, info or stop");
        command_fail(c, &err);
    }
}

/* -- top ----------------------------------------------------------------- */

static json_int_t number(const json_t *o, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(o, key));

    return n > 0 ? n : 0;
}

static void raise_to(json_t *o, const char *key, json_int_t n)
{
    if (n > number(o, key))
        json_object_set_new(o, key, mem_ok(json_integer(n)));
}

static void add_to(json_t *o, const char *key, json_int_t n)
{
    json_object_set_new(o, key, mem_ok(json_integer(number(o, key) + n)));
}

/* The same operation at several bricks: reads go to one of them, changes to
 * all, so that of changes the most counts. */
static void merge_inode(json_t *all, const json_t *in)
{
    json_t *name = json_object_get(in, "name"), *o;
    char key[32];

    snprintf(key, sizeof key, "%lld", (long long)number(in, "inode"));
    o = json_object_get(all, key);
    if (!o) {
        o = mem_ok(json_pack("{s:I}", "inode", number(in, "inode")));
        json_object_set_new(all, key, o);
    }
    add_to(o, "reads", number(in, "reads"));
    add_to(o, "read", number(in, "read"));
    raise_to(o, "changes", number(in, "changes"));
    raise_to(o, "written", number(in, "written"));
    raise_to(o, "over", number(in, "over"));
    if (json_is_string(name)) {
        json_object_set(o, "name", name);
        json_object_set(o, "parent", json_object_get(in, "parent"));
    }
}

static void merge_fop(json_t *all, const char *name, const json_t *in)
{
    json_t *o = json_object_get(all, name);

    if (!o) {
        o = mem_ok(json_pack("{s:s}", "operation", name));
        json_object_set_new(all, name, o);
    }
    add_to(o, "count", number(in, "count"));
    add_to(o, "errors", number(in, "errors"));
    add_to(o, "bytes", number(in, "bytes"));
}

static json_int_t weight(const json_t *o)
{
    return number(o, "count") + number(o, "reads") + number(o, "changes");
}

static int by_weight(const void *pa, const void *pb)
{
    json_int_t a = weight(*(json_t *const *)pa);
    json_int_t b = weight(*(json_t *const *)pb);

    return a < b ? 1 : a > b ? -1 : 0;
}

/* The values of @all as an array, the heaviest first. Takes @all over. */
static json_t *sorted(json_t *all)
{
    size_t n = 0;
    json_t **list = mem_new((json_object_size(all) + 1) * sizeof *list);
    json_t *ret = mem_ok(json_array()), *value;
    const char *key;

    json_object_foreach(all, key, value)
        list[n++] = value;
    qsort(list, n, sizeof *list, by_weight);
    for (size_t i = 0; i < n; i++)
        json_array_append(ret, list[i]);
    free(list);
    json_decref(all);
    return ret;
}

static json_t *busiest(struct ask *a)
{
    json_t *inodes = mem_ok(json_object()), *fops = mem_ok(json_object());
    json_t *silent = mem_ok(json_array()), *o;
    const char *key;
    size_t k;

    for (unsigned i = 0; i < a->vol->n; i++) {
        json_array_foreach(json_object_get(a->answer[i], "inodes"), k, o)
            merge_inode(inodes, o);
        json_object_foreach(json_object_get(a->answer[i], "fops"), key, o)
            merge_fop(fops, key, o);
        if (json_object_get(a->answer[i], "error"))
            json_array_append(silent, a->answer[i]);
    }
    return mem_ok(json_pack("{s:s,s:o,s:o,s:o}", "name", a->vol->name,
                            "operations", sorted(fops), "inodes",
                            sorted(inodes), "silent", silent));
}

void volume_top(struct command *c)
{
    struct cfs_err err = {0};
    struct volume *vol = need_started(c, &err);

    if (!vol)
        command_fail(c, &err);
    else
        ask_profile(c, vol, false, busiest);
}

/* -- statedump ----------------------------------------------------------- */

static json_t *read_path(struct cfs_blob body)
{
    struct mgmt_statedump_reply reply;
    struct cfs_arena a;
    json_t *o = NULL;

    cfs_arena_init(&a);
    if (mgmt_unpack_statedump_reply(&a, body, &reply) == 0)
        o = json_pack("{s:s}", "file", reply.path);
    cfs_arena_fini(&a);
    return o;
}

void volume_statedump(struct command *c)
{
    struct cfs_err err = {0};
    struct volume *vol = need_started(c, &err);

    if (!vol)
        command_fail(c, &err);
    else
        ask_bricks(c, vol, RPC_BRICK_STATEDUMP, (struct cfs_blob){0},
                   read_path, each_brick);
}
