/* SPDX-License-Identifier: Apache-2.0 */
/* volume_set.c - clusterfs volume set|reset|get: options of a volume. Which
 * there are, and what they accept, is mgmtd's to say.
 */
#include "cli/cli.h"

#include <stdlib.h>

#include "cli/table.h"
#include "core/opt.h"

/* -- arguments ------------------------------------------------------------ */

static int add(json_t *options, const char *key, const char *value,
               struct cfs_err *err)
{
    if (json_object_get(options, key))
        return cfs_err_set(err, -EINVAL, "option %s is given twice", key);
    if (json_object_set_new(options, key, json_string(value)) < 0)
        return cfs_err_set(err, -EINVAL, "option %s = %s: must be UTF-8", key,
                           value);
    return 0;
}

/* KEY VALUE or KEY=VALUE; how many words it took. */
static int add_pair(json_t *options, const char **word, unsigned left,
                    struct cfs_err *err)
{
    const char *equals = strchr(word[0], '=');
    char *key;
    int rc;

    if (!equals) {
        if (left < 2)
            return cfs_err_set(err, -EINVAL, "option %s: to which value? "
                               "Expected OPTION VALUE or OPTION=VALUE",
                               word[0]);
        rc = add(options, word[0], word[1], err);
        return rc < 0 ? rc : 2;
    }
    key = strndup(word[0], (size_t)(equals - word[0]));
    if (!key)
        abort();
    rc = add(options, key, equals + 1, err);
    free(key);
    return rc < 0 ? rc : 1;
}

int cli_set_args(const struct cli_line *l, json_t *args, struct cfs_err *err)
{
    json_t *options = json_object();
    int rc = cfs_volume_name_check(l->word[0], err);

    for (unsigned i = 1; i < l->n_words && rc >= 0; i += (unsigned)rc) {
        rc = add_pair(options, l->word + i, l->n_words - i, err);
        if (rc < 0)
            break;
    }
    json_object_set_new(args, "name", json_string(l->word[0]));
    json_object_set_new(args, "options", options);
    return rc < 0 ? rc : 0;
}

int cli_reset_args(const struct cli_line *l, json_t *args,
                   struct cfs_err *err)
{
    json_t *names = json_array();
    int rc = cfs_volume_name_check(l->word[0], err);

    for (unsigned i = 1; i < l->n_words && rc == 0; i++)
        if (json_array_append_new(names, json_string(l->word[i])) < 0)
            rc = cfs_err_set(err, -EINVAL, "option %s: must be UTF-8",
                             l->word[i]);
    json_object_set_new(args, "name", json_string(l->word[0]));
    json_object_set_new(args, "options", names);
    return rc;
}

int cli_get_args(const struct cli_line *l, json_t *args, struct cfs_err *err)
{
    const char *key = l->n_words > 1 ? l->word[1] : "all";
    json_t *option = json_string(key);

    if (!option)
        return cfs_err_set(err, -EINVAL, "option %s: must be UTF-8", key);
    json_object_set_new(args, "option", option);
    json_object_set_new(args, "name", json_string(l->word[0]));
    return cfs_volume_name_check(l->word[0], err);
}

void cli_reset_question(const struct cli_line *l, char *ret, size_t len)
{
    if (l->n_words > 1)
        ret[0] = '\0';
    else
        snprintf(ret, len, "Set every option of volume %s to its default?",
                 l->word[0]);
}

/* -- answers -------------------------------------------------------------- */

/* Both of set and of reset. */
void cli_set_show(FILE *out, const json_t *answer)
{
    const json_t *changed = json_object_get(answer, "changed"), *o;
    size_t i;

    if (json_array_size(changed) == 0)
        fprintf(out, "Nothing to change: it is so already.\n");
    json_array_foreach(changed, i, o) {
        char *key = safe_text(cli_str(o, "option"));
        char *value = safe_text(cli_str(o, "value"));

        if (json_is_string(json_object_get(o, "value")))
            fprintf(out, "%s = %s", key, value);
        else
            fprintf(out, "%s: the default", key);
        if (*cli_str(o, "takes_effect"))
            fprintf(out, ", %s", cli_str(o, "takes_effect"));
        putc('\n', out);
        free(key);
        free(value);
    }
}

static void show_one(FILE *out, const json_t *o)
{
    static const struct {
        const char *key, *label;
    } rows[] = {
        {"value", "value"},     {"from", "from"},
        {"default", "default"}, {"accepts", "accepts"},
        {"takes_effect", "takes effect"}, {"help", "what it is"},
    };
    char *text = safe_text(cli_str(o, "option"));

    fprintf(out, "%s\n", text);
    free(text);
    for (size_t i = 0; i < CFS_ARRAY_SIZE(rows); i++) {
        text = safe_text(cli_str(o, rows[i].key));
        fprintf(out, "  %-12s  %s\n", rows[i].label, *text ? text : "-");
        free(text);
    }
}

void cli_get_show(FILE *out, const json_t *answer)
{
    const json_t *options = json_object_get(answer, "options"), *o;
    struct table *t;
    size_t i;

    if (json_array_size(options) == 1) {
        show_one(out, json_array_get(options, 0));
        return;
    }
    t = table_new((const char *const[]){"OPTION", "VALUE", "FROM", "DEFAULT",
                                        "TAKES EFFECT", NULL});
    json_array_foreach(options, i, o) {
        table_put(t, cli_str(o, "option"));
        table_put(t, cli_str(o, "value"));
        table_put(t, cli_str(o, "from"));
        table_put(t, cli_str(o, "default"));
        table_put(t, cli_str(o, "takes_effect"));
    }
    table_print(t, out, 0);
    table_free(t);
}
