/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c - clusterfs peer token|join|probe|detach|status|list. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "cli/table.h"
#include "core/opt.h"

#define TOKEN_MAX 1024

static bool is_true(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

/* -- arguments ------------------------------------------------------------ */

int cli_token_args(const struct cli_line *l, json_t *args, struct cfs_err *err)
{
    uint64_t ms;

    if (l->lasting) {
        if (cfs_parse_ms(l->lasting, &ms) < 0 || ms < 1000 ||
            ms / 1000 > 366u * 24 * 3600)
            return cfs_err_set(err, -EINVAL, "--for %s: expected a time like "
                               "10min, 24h or 7d", l->lasting);
        json_object_set_new(args, "seconds",
                            json_integer((json_int_t)(ms / 1000)));
    }
    if (l->address)
        json_object_set_new(args, "host", json_string(l->address));
    if (l->replace)
        json_object_set_new(args, "replace", json_string(l->replace));
    return 0;
}

/* --token -: from standard input, where it is in nobody's list of processes. */
static int take_token(const struct cli_line *l, json_t *args,
                      struct cfs_err *err)
{
    char line[TOKEN_MAX];

    if (!l->token)
        return cfs_err_set(err, -EINVAL, "--token is missing: what 'clusterfs "
                           "peer token' printed on the other side; - reads it "
                           "from standard input");
    if (strcmp(l->token, "-") != 0) {
        json_object_set_new(args, "token", json_string(l->token));
        return 0;
    }
    if (!fgets(line, sizeof line, stdin))
        return cfs_err_set(err, -EINVAL, "there is no token on standard "
                           "input");
    line[strcspn(line, " \r\n")] = '\0';
    json_object_set_new(args, "token", json_string(line));
    return 0;
}

int cli_join_args(const struct cli_line *l, json_t *args, struct cfs_err *err)
{
    if (l->n_words > 0)
        json_object_set_new(args, "host", json_string(l->word[0]));
    if (l->address)
        json_object_set_new(args, "as", json_string(l->address));
    return take_token(l, args, err);
}

int cli_detach_args(const struct cli_line *l, json_t *args,
                    struct cfs_err *err)
{
    json_object_set_new(args, "name", json_string(l->word[0]));
    json_object_set_new(args, "force",
                        json_boolean(cli_has(l, CLI_OPT_FORCE)));
    return 0;
}

void cli_detach_question(const struct cli_line *l, char *ret, size_t len)
{
    snprintf(ret, len, "Detach node %.100s from the cluster?", l->word[0]);
}

/* -- answers -------------------------------------------------------------- */

void cli_token_show(FILE *out, const json_t *a)
{
    time_t end = (time_t)json_integer_value(json_object_get(a, "end"));
    char *token = safe_text(cli_str(a, "token")), when[64];
    struct tm tm;

    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %Z",
             localtime_r(&end, &tm));
    fprintf(out, "%s\n", token);
    fprintf(stderr, "Good for one node, until %s.\n%s\n", when,
            strcmp(cli_str(a, "kind"), "invite") == 0
                ? "On a node of the cluster: clusterfs peer probe --token "
                  "TOKEN"
                : "On the new node: clusterfs peer join --token TOKEN");
    free(token);
}

void cli_join_show(FILE *out, const json_t *a)
{
    char *name = safe_text(cli_str(a, "name"));

    fprintf(out, "Node %s is a member of the cluster.\n", name);
    free(name);
}

void cli_detach_show(FILE *out, const json_t *a)
{
    char *name = safe_text(cli_str(a, "name"));

    fprintf(out, "Node %s is detached.\n", name);
    if (!is_true(a, "told"))
        fprintf(out, "It could not be told: when it is back, on it: "
                "clusterfs peer detach %s --force\n", name);
    free(name);
}

static const char *state_of(const json_t *p)
{
    if (is_true(p, "self"))
        return "this node";
    return is_true(p, "up") ? "up" : "down";
}

static bool nothing_to_show(FILE *out, const json_t *a)
{
    if (is_true(a, "joining"))
        fprintf(out, "This node is joining a cluster.\n");
    else if (!is_true(a, "founded"))
        fprintf(out, "This node is of no cluster. To begin one: clusterfs "
                "cluster create;\nto join one: clusterfs peer join.\n");
    return json_array_size(json_object_get(a, "peers")) == 0;
}

static struct table *peers_table(const json_t *peers, bool long_form)
{
    static const char *const brief[] = {"NODE", ">NUMBER", "STATE", NULL};
    static const char *const full[] = {"NODE", ">NUMBER", "ADDRESS", "STATE",
                                       "VERSION", NULL};
    struct table *t = table_new(long_form ? full : brief);
    const json_t *p;
    size_t i;

    json_array_foreach(peers, i, p) {
        char address[300];

        snprintf(address, sizeof address, "%s:%d", cli_str(p, "host"),
                 (int)json_integer_value(json_object_get(p, "port")));
        table_put(t, cli_str(p, "name"));
        table_put_number(t, (uint64_t)json_integer_value(
                                json_object_get(p, "number")));
        if (long_form)
            table_put(t, address);
        table_put(t, state_of(p));
        if (long_form)
            table_put(t, cli_str(p, "version"));
    }
    return t;
}

void cli_peer_list_show(FILE *out, const json_t *a)
{
    struct table *t;

    if (nothing_to_show(out, a))
        return;
    t = peers_table(json_object_get(a, "peers"), false);
    table_print(t, out, 0);
    table_free(t);
}

void cli_peer_status_show(FILE *out, const json_t *a)
{
    const json_t *peers = json_object_get(a, "peers"), *p;
    struct table *t;
    size_t i;

    if (nothing_to_show(out, a))
        return;
    t = peers_table(peers, true);
    table_print(t, out, 0);
    table_free(t);
    json_array_foreach(peers, i, p) {
        char *name = safe_text(cli_str(p, "name"));
        char *problem = safe_text(cli_str(p, "problem"));

        if (*problem && !is_true(p, "up"))
            fprintf(out, "%s: %s\n", name, problem);
        free(name);
        free(problem);
    }
}
