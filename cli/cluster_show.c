/* SPDX-License-Identifier: Apache-2.0 */
/* cluster_show.c - clusterfs cluster status, in words and a table. What is
 * missing in the answer is left out or shown as "-". */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>

#include "cli/table.h"

/* "  name: text", unless there is none. */
static void line(FILE *out, const char *name, const char *text)
{
    char *safe;

    if (!*text)
        return;
    safe = safe_text(text);
    fprintf(out, "%s%s\n", name, safe);
    free(safe);
}

static void print_heading(FILE *out, const json_t *a)
{
    const char *name = cli_str(a, "name");

    line(out, "Cluster:        ", *name ? name : cli_str(a, "id"));
    if (strcmp(cli_str(a, "engine"), "etcd") == 0) {
        fprintf(out, "Configuration:  etcd, revision %" PRIu64 " of lineage %"
                PRIu64 "%s\n", cli_num(a, "revision"), cli_num(a, "lineage"),
                json_is_true(json_object_get(a, "current"))
                    ? "" : "; cannot be changed now");
        line(out, "Leader:         ", cli_str(a, "leader"));
    } else
        fprintf(out, "Configuration:  this node's own, revision %" PRIu64
                " of lineage %" PRIu64 "\n", cli_num(a, "revision"),
                cli_num(a, "lineage"));
    line(out, "In progress:    ", cli_str(a, "doing"));
}

/* "here", "12 s silent"... */
static const char *heard(const json_t *n, char *buf, size_t len)
{
    if (json_is_true(json_object_get(n, "self")))
        return "this node";
    if (json_is_true(json_object_get(n, "heard")))
        return "heard";
    snprintf(buf, len, "silent %" PRIu64 " s", cli_num(n, "silent_s"));
    return buf;
}

static void print_nodes(FILE *out, const json_t *nodes)
{
    static const char *const heads[] = {
        ">NR", "NODE", "ADDRESS", "IS", "ROLE", "ETCD", ">REVISION", ">LAG",
        NULL};
    struct table *t = table_new(heads);
    const json_t *n;
    size_t i;

    json_array_foreach(nodes, i, n) {
        char address[300], silent[40];
        bool known = json_object_get(n, "revision") != NULL;

        table_put_number(t, cli_num(n, "number"));
        table_put(t, cli_str(n, "name"));
        snprintf(address, sizeof address, "%s:%" PRIu64, cli_str(n, "host"),
                 cli_num(n, "port"));
        table_put(t, address);
        table_put(t, heard(n, silent, sizeof silent));
        table_put(t, cli_str(n, "role"));
        table_put(t, strcmp(cli_str(n, "etcd"), "none") == 0 ? ""
                                                         : cli_str(n, "etcd"));
        if (known) {
            table_put_number(t, cli_num(n, "revision"));
            table_put_number(t, cli_num(n, "lag"));
        } else {
            table_put(t, NULL);
            table_put(t, NULL);
        }
    }
    table_print(t, out, 0);
    table_free(t);
}

static void print_problems(FILE *out, const json_t *a)
{
    const json_t *x;
    size_t i;

    json_array_foreach(json_object_get(a, "nodes"), i, x) {
        char *name;

        if (!*cli_str(x, "problem"))
            continue;
        name = safe_text(cli_str(x, "name"));
        fprintf(out, "Problem: node %s", name);
        line(out, ": ", cli_str(x, "problem"));
        free(name);
    }
    json_array_foreach(json_object_get(a, "problems"), i, x)
        if (json_is_string(x))
            line(out, "Problem: ", json_string_value(x));
}

void cli_cluster_status_show(FILE *out, const json_t *answer)
{
    if (!json_is_true(json_object_get(answer, "founded"))) {
        fprintf(out, "This node is of no cluster yet. Found one: clusterfs "
                     "cluster create; or join one:\nclusterfs peer join\n");
        print_problems(out, answer);
        return;
    }
    print_heading(out, answer);
    print_nodes(out, json_object_get(answer, "nodes"));
    print_problems(out, answer);
}
