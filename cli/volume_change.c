/* SPDX-License-Identifier: Apache-2.0 */
/* volume_change.c - clusterfs volume start|stop|delete NAME. */
#include "cli/cli.h"

#include <stdlib.h>

#include "cli/table.h"
#include "core/opt.h"

int cli_name_args(const struct cli_line *l, json_t *args, struct cfs_err *err)
{
    int rc;

    if (l->n_words == 0)
        return 0;
    rc = cfs_volume_name_check(l->word[0], err);
    if (rc == 0)
        json_object_set_new(args, "name", json_string(l->word[0]));
    return rc;
}

int cli_force_args(const struct cli_line *l, json_t *args,
                   struct cfs_err *err)
{
    json_object_set_new(args, "force",
                        json_boolean(cli_has(l, CLI_OPT_FORCE)));
    return cli_name_args(l, args, err);
}

/* -- questions ------------------------------------------------------------ */

void cli_stop_question(const struct cli_line *l, char *ret, size_t len)
{
    snprintf(ret, len, "Stop volume %s? %s", l->word[0],
             cli_has(l, CLI_OPT_FORCE)
                 ? "Its mounts, if there are any, break."
                 : "It cannot be used until it is started again.");
}

void cli_delete_question(const struct cli_line *l, char *ret, size_t len)
{
    snprintf(ret, len, "Delete volume %s? What is in it can no longer be "
             "reached.", l->word[0]);
}

/* -- answers -------------------------------------------------------------- */

/* Each text of the array @key, after @before. */
void cli_print_lines(FILE *out, const json_t *answer, const char *key,
                     const char *before)
{
    const json_t *line;
    size_t i;

    json_array_foreach(json_object_get(answer, key), i, line) {
        const char *text = json_string_value(line);
        char *safe = safe_text(text ? text : "");

        fprintf(out, "%s%s\n", before, safe);
        free(safe);
    }
}

void cli_start_show(FILE *out, const json_t *answer)
{
    const char *name = cli_str(answer, "name");

    fprintf(out, "Volume %s is started. To mount it: mount -t clusterfs %s "
                 "DIRECTORY\n", name, name);
    cli_print_lines(out, answer, "warnings", "Warning: ");
}

void cli_stop_show(FILE *out, const json_t *answer)
{
    fprintf(out, "Volume %s is stopped.\n", cli_str(answer, "name"));
    cli_print_lines(out, answer, "warnings", "Warning: ");
}

void cli_delete_show(FILE *out, const json_t *answer)
{
    fprintf(out, "Volume %s is deleted.\n", cli_str(answer, "name"));
    if (json_array_size(json_object_get(answer, "bricks")) == 0)
        return;
    fprintf(out, "What was in it is still on its bricks, which you may "
                 "remove:\n");
    cli_print_lines(out, answer, "bricks", "  ");
}
