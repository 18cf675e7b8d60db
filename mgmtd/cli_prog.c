/* SPDX-License-Identifier: Apache-2.0 */
/* cli_prog.c - program CLI: commands, their answers, and repeats of them.
 *
 * A request carries an id. While the command runs, another request with that
 * id waits for the same result; afterwards the result is kept for a while and
 * given again. So a client that lost its connection may ask again without
 * doing anything twice.
 *
 * What was answered on one node is seen by the next command on any other: a
 * command begins when this node's copy of the configuration is as new as the
 * authority. Most that change something fail when that cannot be; one that
 * reads says what is here (engine_note() says that it may be old).
 *
 * A client with a certificate (access.c) is answered by verbs that only read,
 * and about the volumes that it was added for: of others it does not hear, and
 * one that it names looks as if there were none.
 */
#include <stdio.h>

#include "mgmtd/engine.h"
#include "mgmtd/mgmtd.h"

#define WHO "cli"
#define REMEMBERED 64u
#define VERB_MAX   40u

/* Who waits for a command. */
struct asker {
    struct cfs_list link;
    struct rpc_msg *msg;
};

/* -- results ------------------------------------------------------------- */

static void answer(struct command *c, struct rpc_msg *msg)
{
    struct mgmt_cli_reply reply = {
        .exit_status = c->exit_status,
        .error = c->error,
        .json = c->json,
    };
    struct cfs_arena a;

    cfs_arena_init(&a);
    rpc_reply(msg, mgmt_pack_cli_reply(&a, &reply), (struct cfs_buf){0});
    cfs_arena_fini(&a);
}

static void command_free(struct command *c)
{
    cfs_list_del(&c->link);
    c->m->n_commands--;
    json_decref(c->args);
    free(c->client);
    free(c->verb);
    free(c->error);
    free(c->json);
    free(c);
}

static void forget_oldest(struct mgmtd *m)
{
    cfs_list_for_each(l, &m->commands) {
        struct command *c = cfs_list_entry(l, struct command, link);

        if (c->finished) {
            command_free(c);
            return;
        }
    }
}

static void finish(struct command *c)
{
    struct cfs_list *l;

    assert(!c->finished);
    c->finished = true;
    while ((l = cfs_list_pop(&c->askers))) {
        struct asker *asker = cfs_list_entry(l, struct asker, link);

        answer(c, asker->msg);
        free(asker);
    }
    if (c->m->n_commands > REMEMBERED)
        forget_oldest(c->m);
}

void command_ok(struct command *c, json_t *json)
{
    c->json = json ? mem_ok(json_dumps(json, JSON_COMPACT)) : mem_str("{}");
    json_decref(json);
    if (strlen(c->json) > MGMT_TEXT_MAX) {
        struct cfs_err err = {0};

        cfs_err_set(&err, -E2BIG, "the answer is too long; ask for one "
                                  "volume at a time");
        free(c->json);
        c->json = NULL;
        command_fail(c, &err);
        return;
    }
    c->error = engine_note(c->m);
    finish(c);
}

void command_fail(struct command *c, const struct cfs_err *err)
{
    struct cfs_err why = *err;

    engine_explain(c->m, &why);
    c->exit_status = 1;
    c->error = mem_str(*why.text ? why.text : cfs_err_str(why.code));
    cfs_log_info(c->m->host.log, WHO, "%s: %s", c->verb, c->error);
    finish(c);
}

const char *command_str(const struct command *c, const char *name)
{
    const char *s = json_string_value(json_object_get(c->args, name));

    return s ? s : "";
}

bool command_flag(const struct command *c, const char *name)
{
    return json_is_true(json_object_get(c->args, name));
}

bool command_sees(const struct command *c, const struct volume *vol)
{
    return !c->client || client_may_volume(c->m, c->client, vol->name);
}

/* -- requests ------------------------------------------------------------ */

/* Whether the authority must be there. */
enum need {
    NEEDED, /* without it the command fails */
    WANTED, /* else it goes by what is here */
    NOT,
};

static const struct {
    const char *verb;
    void (*run)(struct command *c);
    bool      changes; /* for root only, and worth a line in the log */
    enum need authority;
} verbs[] = {
    {"cluster-create", cluster_create, true, NEEDED},
    {"cluster-status", cluster_status, false, NOT},
    {"cluster-backup", cluster_backup, true, WANTED},
    {"cluster-restore", cluster_restore, true, NOT},
    {"cluster-rebuild", cluster_rebuild, true, NOT},
    {"volume-create", volume_create, true, NEEDED},
    {"volume-start", volume_start, true, NEEDED},
    {"volume-stop", volume_stop, true, NEEDED},
    {"volume-delete", volume_delete, true, NEEDED},
    {"client-add", client_add, true, NEEDED},
    {"client-remove", client_remove, true, NEEDED},
    {"client-list", client_list, false, WANTED},
    {"peer-token", peer_token, true, NEEDED},
    {"peer-join", peer_join, true, NOT},
    {"peer-probe", peer_probe, true, NEEDED},
    {"peer-detach", peer_detach, true, WANTED},
    {"peer-status", peer_list, false, WANTED},
    {"peer-list", peer_list, false, WANTED},
    {"volume-list", volume_list, false, WANTED},
    {"volume-info", volume_info, false, WANTED},
    {"volume-status", volume_status, false, WANTED},
    {"volume-set", volume_set, true, NEEDED},
    {"volume-reset", volume_reset, true, NEEDED},
    {"volume-get", volume_get, false, WANTED},
    {"volume-profile", volume_profile, true, WANTED}, /* but: info */
    {"volume-top", volume_top, false, WANTED},
    {"volume-statedump", volume_statedump, true, NOT},
};

static struct command *find(struct mgmtd *m, struct cfs_uuid id)
{
    cfs_list_for_each(l, &m->commands) {
        struct command *c = cfs_list_entry(l, struct command, link);

        if (cfs_uuid_eq(c->id, id))
            return c;
    }
    return NULL;
}

static void add_asker(struct command *c, struct rpc_msg *msg)
{
    struct asker *asker = mem_new(sizeof *asker);

    asker->msg = msg;
    cfs_list_add_tail(&c->askers, &asker->link);
}

/* NULL: root on this node. */
static const char *client_of(const struct line *line)
{
    return line->trusted ? NULL : line->name;
}

static struct command *command_new(struct line *line,
                                   const struct mgmt_cli_request *q,
                                   json_t *args)
{
    struct command *c = mem_new(sizeof *c);
    struct mgmtd *m = line->m;

    cfs_list_init(&c->askers);
    c->m = m;
    c->id = q->id;
    c->client = client_of(line) ? mem_str(client_of(line)) : NULL;
    c->verb = mem_str(q->verb);
    c->args = args;
    cfs_list_add_tail(&m->commands, &c->link);
    m->n_commands++;
    return c;
}

static int verb_of(const char *verb)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(verbs); i++)
        if (strcmp(verbs[i].verb, verb) == 0)
            return (int)i;
    return -1;
}

/* What a client with a certificate may ask, too. */
static bool only_reads(const char *verb, const json_t *args)
{
    const char *action = json_string_value(json_object_get(args, "action"));
    int i = verb_of(verb);

    if (i >= 0 && verbs[i].run == volume_profile)
        return action && strcmp(action, "info") == 0;
    return i >= 0 && !verbs[i].changes;
}

/* A volume that a client names: one that is not for it and one that there is
 * not look the same. */
static int check_named(const struct command *c, struct cfs_err *err)
{
    const char *name = command_str(c, "name");

    if (!c->client || !*name ||
        strncmp(c->verb, "volume-", strlen("volume-")) != 0 ||
        (volume_find(c->m, name) && client_may_volume(c->m, c->client, name)))
        return 0;
    return cfs_err_set(err, -EACCES, "there is no volume %.80s for client %s",
                       name, c->client);
}

static void carry_out(struct command *c, int i)
{
    struct cfs_err err = {0};

    if (check_named(c, &err) < 0)
        command_fail(c, &err);
    else
        verbs[i].run(c);
}

static void on_current(void *arg, int status, const struct cfs_err *err)
{
    struct command *c = arg;
    int i = verb_of(c->verb);

    if (status < 0 && verbs[i].authority == NEEDED)
        command_fail(c, err);
    else
        carry_out(c, i);
}

/* A copy that is known to be old is waited for only where it must be. */
static void begin(struct command *c, int i)
{
    struct store_health h;

    store_health(c->m->store, &h);
    if (!h.many || verbs[i].authority == NOT ||
        (verbs[i].authority == WANTED && !h.current))
        carry_out(c, i);
    else
        store_current(c->m->store, on_current, c);
}

static void run(struct line *line, const struct mgmt_cli_request *q,
                json_t *args, struct rpc_msg *msg)
{
    int i = verb_of(q->verb);
    struct command *c;

    if (i < 0) {
        rpc_reply_error(msg, -ENOSYS, "this clusterfs-mgmtd does not know "
                        "that command; is it an older one?");
        return;
    }
    c = command_new(line, q, json_incref(args));
    if (!only_reads(q->verb, args))
        cfs_log_info(line->m->host.log, WHO, "%s %s", q->verb,
                     command_str(c, "name"));
    add_asker(c, msg);
    begin(c, i);
}

/* A command that was asked for before: by the same one, and for the same. */
static bool is_repeat(const struct command *c, const struct line *line,
                      const struct mgmt_cli_request *q)
{
    const char *client = client_of(line);

    return strcmp(c->verb, q->verb) == 0 && !client == !c->client &&
           (!client || strcmp(client, c->client) == 0);
}

static void on_request(struct rpc_msg *msg, void *ctx)
{
    struct line *line = line_of(msg);
    struct mgmtd *m = ctx;
    struct mgmt_cli_request q;
    json_t *args = NULL;
    struct cfs_arena a;
    struct command *c;

    cfs_arena_init(&a);
    if (mgmt_unpack_cli_request(&a, msg->body, &q) < 0 ||
        strlen(q.verb) > VERB_MAX)
        rpc_reply_error(msg, -EBADMSG, "a bad request");
    else if (!(args = json_loads(q.args, JSON_REJECT_DUPLICATES, NULL)) ||
             !json_is_object(args)) /* which looks twice at what it is given */
        rpc_reply_error(msg, -EBADMSG, "arguments that are no JSON object");
    else if (!line || (!line->trusted && !only_reads(q.verb, args)))
        rpc_reply_error(msg, -EACCES, "only root may, on a node of the "
                        "cluster");
    else if (!(c = find(m, q.id)))
        run(line, &q, args, msg);
    else if (!is_repeat(c, line, &q))
        rpc_reply_error(msg, -EINVAL, "another command had that id");
    else if (c->finished)
        answer(c, msg);
    else
        add_asker(c, msg);
    json_decref(args);
    cfs_arena_fini(&a);
}

const struct rpc_proc cli_procs[] = {
    [RPC_CLI_REQUEST] = {"request", on_request},
};
const uint32_t cli_n_procs = CFS_ARRAY_SIZE(cli_procs);
