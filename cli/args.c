/* SPDX-License-Identifier: Apache-2.0 */
/* args.c - the command line: group, verb, options anywhere, words. */
#include "cli/cli.h"

#include <stdlib.h>

static const struct {
    const char *name;
    const char *value; /* placeholder; NULL: a flag */
    const char *help;
} opts[OPT_N] = {
    [OPT_HELP] = {"help", NULL, "this text"},
    [OPT_VERSION] = {"version", NULL, "the version"},
    [OPT_JSON] = {"json", NULL, "print JSON"},
    [OPT_RUN_DIR] = {"run-dir", "DIR", "where clusterfs-mgmtd has its socket "
                                       "(/run/clusterfs)"},
    [OPT_PORT] = {"port", "N", "accepted beside --run-dir; the socket counts"},
    [OPT_YES] = {"yes", NULL, "do not ask"},
    [OPT_FORCE] = {"force", NULL, "even if something speaks against it"},
    [OPT_BRICK_SIZE] = {"brick-size", "SIZE", "of each image file, such as "
                                              "20G"},
    [OPT_SPARSE] = {"sparse", NULL, "do not allocate image files now"},
    [OPT_OPTION] = {"option", "KEY=VALUE", "set an option of the volume"},
};

#define COMMON                                                               \
    (1u << OPT_HELP | 1u << OPT_VERSION | 1u << OPT_JSON |                   \
     1u << OPT_RUN_DIR | 1u << OPT_PORT)

const struct cli_verb *const cli_verbs[] = {
    &cli_volume_create, &cli_volume_start,  &cli_volume_stop,
    &cli_volume_delete, &cli_volume_list,   &cli_volume_info,
    &cli_volume_status, NULL,
};

/* -- options ---------------------------------------------------------------- */

/* The option that the argument "--name[=value]" names. */
static int find_opt(const char *arg, enum cli_opt *ret, const char **ret_value,
                    struct cfs_err *err)
{
    const char *names[OPT_N + 1] = {0}, *near;
    size_t len = strcspn(arg, "=");
    char name[64];

    snprintf(name, sizeof name, "%.*s", (int)len, arg);
    for (unsigned i = 0; i < OPT_N; i++) {
        names[i] = opts[i].name;
        if (strcmp(opts[i].name, name) != 0)
            continue;
        *ret = (enum cli_opt)i;
        *ret_value = arg[len] ? arg + len + 1 : NULL;
        return 0;
    }
    near = cfs_nearest(name, names);
    return cfs_err_set(err, -EINVAL, "unknown option --%s%s%s%s", name,
                       near ? "; do you mean --" : "", near ? near : "",
                       near ? "?" : "");
}

static int add_option(struct cli_words *w, const char *text,
                      struct cfs_err *err)
{
    size_t len = strcspn(text, "=");
    char *key;

    if (len == 0 || !text[len])
        return cfs_err_set(err, -EINVAL, "--option %s: expected KEY=VALUE",
                           text);
    if (!w->options)
        w->options = json_object();
    key = strndup(text, len);
    if (!key || json_object_set_new(w->options, key,
                                    json_string(text + len + 1)) < 0) {
        free(key);
        return cfs_err_set(err, -EINVAL, "--option %s: no valid text", text);
    }
    free(key);
    return 0;
}

/* argv[*at] is an option; *at moves on when its value is the next word. */
static int take_opt(int argc, char **argv, int *at, struct cli_words *w,
                    struct cfs_err *err)
{
    const char *arg = argv[*at], *value = NULL;
    enum cli_opt opt = OPT_HELP;
    int rc;

    if (strcmp(arg, "-h") == 0)
        arg = "--help";
    if (strcmp(arg, "-y") == 0)
        arg = "--yes";
    if (strncmp(arg, "--", 2) != 0)
        return cfs_err_set(err, -EINVAL, "unknown option %s", arg);
    rc = find_opt(arg + 2, &opt, &value, err);
    if (rc < 0)
        return rc;
    if (!opts[opt].value) {
        if (value)
            return cfs_err_set(err, -EINVAL, "--%s takes no value",
                               opts[opt].name);
        w->opt[opt] = "";
        return 0;
    }
    if (!value && *at + 1 < argc)
        value = argv[++*at];
    if (!value)
        return cfs_err_set(err, -EINVAL, "--%s needs a value: %s",
                           opts[opt].name, opts[opt].value);
    w->opt[opt] = value;
    return opt == OPT_OPTION ? add_option(w, value, err) : 0;
}

/* -- verbs ------------------------------------------------------------------- */

static bool is_group(const char *word)
{
    for (unsigned i = 0; cli_verbs[i]; i++)
        if (strcmp(cli_verbs[i]->group, word) == 0)
            return true;
    return false;
}

static int find_verb(struct cli_command *c, const char *group,
                     const char *verb, struct cfs_err *err)
{
    const char *names[32] = {0}, *near;
    unsigned n = 0;

    if (!is_group(group)) {
        for (unsigned i = 0; cli_verbs[i]; i++)
            names[n++] = cli_verbs[i]->group;
        near = cfs_nearest(group, names);
        return cfs_err_set(err, -EINVAL, "unknown command '%s'%s%s%s", group,
                           near ? "; do you mean '" : "", near ? near : "",
                           near ? "'?" : "");
    }
    c->group = group;
    for (unsigned i = 0; cli_verbs[i] && verb; i++) {
        if (strcmp(cli_verbs[i]->group, group) != 0)
            continue;
        names[n++] = cli_verbs[i]->verb;
        if (strcmp(cli_verbs[i]->verb, verb) == 0) {
            c->verb = cli_verbs[i];
            return 0;
        }
    }
    if (!verb)
        return 0;
    near = cfs_nearest(verb, names);
    return cfs_err_set(err, -EINVAL, "unknown command '%s %s'%s%s%s", group,
                       verb, near ? "; do you mean '" : "", near ? near : "",
                       near ? "'?" : "");
}

static int check_opts(const struct cli_command *c, struct cfs_err *err)
{
    for (unsigned i = 0; i < OPT_N; i++)
        if (c->words.opt[i] && !((c->verb->opts | COMMON) & 1u << i))
            return cfs_err_set(err, -EINVAL, "'%s %s' has no option --%s",
                               c->verb->group, c->verb->verb, opts[i].name);
    return 0;
}

static int split(int argc, char **argv, struct cli_words *w,
                 struct cfs_err *err)
{
    bool more = true; /* options */

    w->word = calloc((size_t)argc + 1, sizeof *w->word);
    if (!w->word)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    for (int i = 1; i < argc; i++) {
        int rc = 0;

        if (more && strcmp(argv[i], "--") == 0)
            more = false;
        else if (more && argv[i][0] == '-' && argv[i][1])
            rc = take_opt(argc, argv, &i, w, err);
        else
            w->word[w->n++] = argv[i];
        if (rc < 0)
            return rc;
    }
    return 0;
}

int cli_parse(int argc, char **argv, struct cli_command *ret,
              struct cfs_err *err)
{
    struct cli_words *w = &ret->words;
    int rc;

    *ret = (struct cli_command){0};
    rc = split(argc, argv, w, err);
    if (rc == 0 && w->n > 0 && strcmp(w->word[0], "help") == 0) {
        w->opt[OPT_HELP] = "";
        memmove(w->word, w->word + 1, w->n-- * sizeof *w->word);
    }
    if (rc == 0 && w->n > 0)
        rc = find_verb(ret, w->word[0], w->n > 1 ? w->word[1] : NULL, err);
    if (rc < 0 || w->opt[OPT_HELP] || w->opt[OPT_VERSION])
        return rc;
    if (!ret->verb)
        return cfs_err_set(err, -EINVAL, ret->group
                                             ? "which verb? See --help"
                                             : "which command? See --help");
    w->n -= 2;
    memmove(w->word, w->word + 2, w->n * sizeof *w->word);
    rc = check_opts(ret, err);
    if (rc < 0)
        return rc;
    ret->args = json_object();
    return ret->verb->args(w, ret->args, err);
}

void cli_command_free(struct cli_command *c)
{
    free(c->words.word);
    json_decref(c->words.options);
    json_decref(c->args);
}

/* -- help -------------------------------------------------------------------- */

static void help_opts(FILE *out, unsigned bits)
{
    for (unsigned i = 0; i < OPT_N; i++) {
        char left[40];

        if (!(bits & 1u << i))
            continue;
        snprintf(left, sizeof left, "--%s%s%s", opts[i].name,
                 opts[i].value ? " " : "", opts[i].value ? opts[i].value : "");
        fprintf(out, "  %-20s %s\n", left, opts[i].help);
    }
}

static void help_verb(FILE *out, const struct cli_verb *v)
{
    fprintf(out, "Usage: clusterfs %s %s%s%s\n%s\n", v->group, v->verb,
            *v->synopsis ? " " : "", v->synopsis, v->about);
    if (v->help)
        fprintf(out, "\n%s", v->help);
    fputs("\nOptions:\n", out);
    help_opts(out, v->opts | COMMON);
}

void cli_help(FILE *out, const struct cli_command *c)
{
    if (c->verb) {
        help_verb(out, c->verb);
        return;
    }
    fputs("Usage: clusterfs COMMAND [OPTION...]\n"
          "Manage clusterfs volumes, by the clusterfs-mgmtd of this node.\n\n",
          out);
    for (unsigned i = 0; cli_verbs[i]; i++)
        fprintf(out, "  %s %-8s %s\n", cli_verbs[i]->group,
                cli_verbs[i]->verb, cli_verbs[i]->about);
    fputs("\n'clusterfs COMMAND --help' says more of each.\n\nOptions:\n",
          out);
    help_opts(out, COMMON);
    fputs("\nExit status: 0 done, 1 refused or failed, 2 wrong usage, 3 "
          "clusterfs-mgmtd\nis not reachable.\n", out);
}
