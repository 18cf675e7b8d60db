/* SPDX-License-Identifier: Apache-2.0 */
/* cluster_change.c - clusterfs cluster create|backup|restore|rebuild. */
#include "cli/cli.h"

#include <stdlib.h>

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

static const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static long long num(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

void cli_cluster_create_show(FILE *out, const json_t *answer)
{
    char *node = safe_text(str(answer, "node"));
    char *host = safe_text(str(answer, "host"));

    fprintf(out, "This node, %s, is a cluster now. Others will reach it at "
                 "%s, port %lld.\nTo add a node: clusterfs peer token here, "
                 "then clusterfs peer join there.\n", node, host,
            num(answer, "port"));
    free(node);
    free(host);
}

void cli_backup_show(FILE *out, const json_t *answer)
{
    char *file = safe_text(str(answer, "file"));

    fprintf(out, "The configuration (revision %lld of lineage %lld) is in %s, "
                 "%lld bytes.\n", num(answer, "revision"),
            num(answer, "lineage"), file, num(answer, "bytes"));
    free(file);
}

void cli_reborn_show(FILE *out, const json_t *answer)
{
    fprintf(out, "The cluster has begun a new life on this node, lineage "
                 "%lld. Now:\n"
                 "  - let the other nodes join again, for each: clusterfs peer "
                 "token\n"
                 "    here, then clusterfs peer join there\n"
                 "  - see whether each volume found its bricks: clusterfs "
                 "volume status\n", num(answer, "lineage"));
}
