/* SPDX-License-Identifier: Apache-2.0 */
/* cluster_change.c - clusterfs cluster create|backup|restore|rebuild. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "cli/table.h"
#include "core/host.h"

int cli_found_args(const struct cli_line *l, json_t *args, struct cfs_err *err)
{
    size_t len = l->name ? strlen(l->name) : 1;

    if (len > 16 || (l->name &&
                     strspn(l->name, "abcdefghijklmnopqrstuvwxyz"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != len))
        return cfs_err_set(err, -EINVAL, "--name %s: a cluster's name has 1 "
                           "to 16 letters, digits, '_' and '-'", l->name);
    if (l->name)
        json_object_set_new(args, "name", json_string(l->name));
    if (l->address)
        json_object_set_new(args, "host", json_string(l->address));
    return 0;
}

int cli_file_args(const struct cli_line *l, json_t *args, struct cfs_err *err)
{
    char *path = cfs_path_absolute(l->word[0]);
    json_t *text = path ? json_string(path) : NULL;

    free(path);
    if (!text)
        return cfs_err_set(err, -EINVAL, "%s: a name that cannot be used",
                           l->word[0]);
    json_object_set_new(args, "file", text);
    json_object_set_new(args, "force",
                        json_boolean(cli_has(l, CLI_OPT_FORCE)));
    return 0;
}

/* -- questions ------------------------------------------------------------ */

void cli_restore_question(const struct cli_line *l, char *ret, size_t len)
{
    snprintf(ret, len, "Go back to the configuration in %.100s? What was "
             "configured since is lost, and the other nodes must join again.",
             l->word[0]);
}

void cli_rebuild_question(const struct cli_line *l, char *ret, size_t len)
{
    snprintf(ret, len, "Rebuild the cluster from what this node knows? What "
             "the others changed without it is lost, and they must join "
             "again. Do this on one node only.");
}

/* -- answers -------------------------------------------------------------- */

void cli_cluster_create_show(FILE *out, const json_t *answer)
{
    char *node = safe_text(cli_str(answer, "node"));
    char *host = safe_text(cli_str(answer, "host"));

    fprintf(out, "This node, %s, is a cluster now. Others will reach it at "
                 "%s, port %" PRIu64 ".\nTo add a node: clusterfs peer token "
                 "here, then clusterfs peer join there.\n", node, host,
            cli_num(answer, "port"));
    free(node);
    free(host);
}

void cli_backup_show(FILE *out, const json_t *answer)
{
    char *file = safe_text(cli_str(answer, "file"));

    fprintf(out, "The configuration (revision %" PRIu64 " of lineage %"
                 PRIu64 ") is in %s, %" PRIu64 " bytes.\n",
            cli_num(answer, "revision"), cli_num(answer, "lineage"), file,
            cli_num(answer, "bytes"));
    free(file);
}

/* "NAME, NAME", as many as there is room for. malloc'ed, safe to print. */
static char *names_of(const json_t *list)
{
    char text[1024] = "";
    size_t i, used = 0;
    const json_t *one;

    json_array_foreach(list, i, one) {
        const char *s = json_string_value(one);
        int n = snprintf(text + used, sizeof text - used, "%s%s",
                         used ? ", " : "", s ? s : "?");

        if (n < 0 || used + (size_t)n >= sizeof text - 8) {
            snprintf(text + used, sizeof text - used, ", ...");
            break;
        }
        used += (size_t)n;
    }
    return safe_text(text);
}

/* Who is believed after a restore. */
static void show_trust(FILE *out, const json_t *answer)
{
    const json_t *trust = json_object_get(answer, "trust");
    time_t since = (time_t)cli_num(trust, "since");
    char *clients = names_of(json_object_get(trust, "clients"));
    char *nodes = names_of(json_object_get(trust, "nodes"));
    char day[32];
    struct tm tm;

    strftime(day, sizeof day, "%Y-%m-%d %H:%M", localtime_r(&since, &tm));
    if (trust && !json_is_true(json_object_get(trust, "kept")))
        fprintf(out, "WARNING: this node knew nothing of the cluster but the "
                "backup. Clients that were\nremoved and nodes that were "
                "detached since it was made (%s) are believed\nagain: remove "
                "and detach them again.\n", day);
    else if (*clients || *nodes)
        fprintf(out, "Since the backup (%s) these were removed, and stay out: "
                "%s%s%s.\n", day, clients, *clients && *nodes ? ", " : "",
                nodes);
    if (trust && !json_is_true(json_object_get(answer, "keys")))
        fprintf(out, "WARNING: the authorities' keys (STATE_DIR/trust of a "
                "voter) are not on this node:\nnew ones are made if there are "
                "none, and then all clients have to be added again.\n");
    free(clients);
    free(nodes);
}

void cli_reborn_show(FILE *out, const json_t *answer)
{
    show_trust(out, answer);
    fprintf(out, "The cluster has begun a new life on this node, lineage "
                 "%" PRIu64 ". Now:\n"
                 "  - let the other nodes join again, for each: clusterfs peer "
                 "token\n"
                 "    here, then clusterfs peer join there\n"
                 "  - see whether each volume found its bricks: clusterfs "
                 "volume status\n", cli_num(answer, "lineage"));
}
