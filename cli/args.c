/* SPDX-License-Identifier: Apache-2.0 */
/* args.c - the command line: options may stand anywhere, "--" ends them; the
 * first two words name the command. And help, which is made of the same
 * tables.
 */
#include "cli/cli.h"

#include <stddef.h>
#include <stdlib.h>

#include "core/opt.h"

#define ALWAYS (CLI_OPT_HELP | CLI_OPT_VERSION | CLI_OPT_RUN_DIR |           \
                CLI_OPT_SERVER | CLI_OPT_CREDENTIALS)

static const struct option {
    const char  *name;
    const char  *value; /* placeholder, or NULL: a flag */
    enum cli_opt bit;
    char         letter; /* or 0 */
    const char  *help;
    size_t       at; /* a text: its place in struct cli_line; or 0 */
} options[] = {
    {"name", "NAME", CLI_OPT_NAME, 0, "of the cluster",
     offsetof(struct cli_line, name)},
    {"address", "HOST", CLI_OPT_ADDRESS, 0,
     "where the other nodes reach this one; without it\n"
     "                           by cluster.conf, or its first address",
     offsetof(struct cli_line, address)},
    {"token", "TOKEN", CLI_OPT_TOKEN, 0,
     "what 'clusterfs peer token' printed on the other\n"
     "                           side; - reads it from standard input",
     offsetof(struct cli_line, token)},
    {"for", "TIME", CLI_OPT_FOR, 0, "how long it is good (24h)",
     offsetof(struct cli_line, lasting)},
    {"replace", "NODE", CLI_OPT_REPLACE, 0,
     "for a node that takes the name and place of this\n"
     "                           one, which is lost",
     offsetof(struct cli_line, replace)},
    {"volume", "NAME", CLI_OPT_VOLUME, 0,
     "that it may mount; as often as there are; without\n"
     "                           it all", 0},
    {"output", "FILE", CLI_OPT_OUTPUT, 'o', "where the credentials go",
     offsetof(struct cli_line, output)},
    {"brick-size", "SIZE", CLI_OPT_BRICK_SIZE, 0,
     "of image files that are made: 500M, 10G, 2TiB", 0},
    {"sparse", NULL, CLI_OPT_SPARSE, 0,
     "do not allocate image files in advance", 0},
    {"option", "KEY=VALUE", CLI_OPT_OPTION, 0,
     "an option of the volume; as often as there are", 0},
    {"force", NULL, CLI_OPT_FORCE, 0, NULL, 0}, /* command.force */
    {"yes", NULL, CLI_OPT_YES, 'y', "do not ask", 0},
    {"json", NULL, CLI_OPT_JSON, 0, "print JSON", 0},
    {"run-dir", "DIR", CLI_OPT_RUN_DIR, 0,
     "where mgmtd's socket is (CLUSTERFS_RUN_DIR,\n"
     "                           /run/clusterfs)",
     offsetof(struct cli_line, run_dir)},
    {"server", "HOST", CLI_OPT_SERVER, 0,
     "ask the mgmtd of another machine, what only reads",
     offsetof(struct cli_line, server)},
    {"credentials", "FILE", CLI_OPT_CREDENTIALS, 0,
     "with --server: what 'clusterfs client add' made\n"
     "                           (/etc/clusterfs/client.pem)",
     offsetof(struct cli_line, credentials)},
    {"help", NULL, CLI_OPT_HELP, 'h', "print this and exit", 0},
    {"version", NULL, CLI_OPT_VERSION, 'V', "print the version and exit", 0},
};

#define N_OPTIONS CFS_ARRAY_SIZE(options)

/* What @l may hold, as far as it is known which command it is. Before that,
 * any command's. */
static unsigned allowed(const struct cli_line *l)
{
    return ALWAYS | (l->cmd ? l->cmd->options : ~0u);
}

/* -- options -------------------------------------------------------------- */

/* @name is @word less its dashes; its first @len bytes name the option. */
static int unknown_option(const struct cli_line *l, const char *word,
                          const char *name, size_t len, struct cfs_err *err)
{
    const char *names[N_OPTIONS + 1], *near;
    char key[64];
    size_t n = 0;

    for (size_t i = 0; i < N_OPTIONS; i++)
        if (allowed(l) & options[i].bit)
            names[n++] = options[i].name;
    names[n] = NULL;
    snprintf(key, sizeof key, "%.*s", (int)len, name);
    near = word[1] == '-' ? cfs_nearest(key, names) : NULL;
    return cfs_err_set(err, -EINVAL, "unknown option %s%s%s%s", word,
                       near ? "; do you mean --" : "", near ? near : "",
                       near ? "?" : "");
}

static const struct option *find_option(const struct cli_line *l,
                                        const char *word, const char *name,
                                        size_t len)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *o = &options[i];
        bool same = word[1] == '-'
                        ? strlen(o->name) == len &&
                              strncmp(o->name, name, len) == 0
                        : len == 1 && o->letter && *name == o->letter;

        if (same && (allowed(l) & o->bit))
            return o;
    }
    return NULL;
}

static int take_value(struct cli_line *l, const struct option *o,
                      const char *value, struct cfs_err *err)
{
    if (o->at) {
        if (!*value)
            return cfs_err_set(err, -EINVAL, "--%s: expected %s", o->name,
                               o->value);
        *(const char **)((char *)l + o->at) = value;
        return 0;
    }
    if (o->bit == CLI_OPT_OPTION) {
        l->option[l->n_options++] = value;
        return 0;
    }
    if (o->bit == CLI_OPT_VOLUME) {
        l->volume[l->n_volumes++] = value;
        return 0;
    }
    assert(o->bit == CLI_OPT_BRICK_SIZE);
    if (cfs_parse_size(value, &l->brick_size) < 0 || l->brick_size == 0 ||
        l->brick_size > INT64_MAX)
        return cfs_err_set(err, -EINVAL, "--brick-size %s: expected a size "
                           "like 500M, 10G or 2TiB", value);
    return 0;
}

/* The option argv[@at]; how many words of argv it took. */
static int take_option(struct cli_line *l, const char *const *argv, int argc,
                       int at, struct cfs_err *err)
{
    const char *word = argv[at], *name = word + (word[1] == '-' ? 2 : 1);
    size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    const struct option *o = find_option(l, word, name, len);
    int rc, taken = 1;

    if (!o)
        return unknown_option(l, word, name, len, err);
    if (value && !o->value)
        return cfs_err_set(err, -EINVAL, "--%s takes no value", o->name);
    if (o->value && !value) {
        if (at + 1 >= argc)
            return cfs_err_set(err, -EINVAL, "--%s needs a value: %s", o->name,
                               o->value);
        value = argv[at + 1];
        taken = 2;
    }
    l->given |= o->bit;
    if (!o->value)
        return taken;
    rc = take_value(l, o, value, err);
    return rc < 0 ? rc : taken;
}

/* -- words ---------------------------------------------------------------- */

static int unknown_word(const struct cli_command *commands,
                        const struct cli_line *l, const char *word,
                        struct cfs_err *err)
{
    const char *group = l->group ? l->group : "", *blank = *group ? " " : "";
    const char *names[64], *near;
    size_t n = 0;

    for (; commands->group; commands++) {
        if (l->group && strcmp(l->group, commands->group) != 0)
            continue;
        assert(n < CFS_ARRAY_SIZE(names) - 1);
        names[n++] = l->group ? commands->verb : commands->group;
    }
    names[n] = NULL;
    near = cfs_nearest(word, names);
    if (!near)
        return cfs_err_set(err, -EINVAL, "unknown command '%s%s%s'", group,
                           blank, word);
    return cfs_err_set(err, -EINVAL,
                       "unknown command '%s%s%s'; do you mean '%s%s%s'?",
                       group, blank, word, group, blank, near);
}

static int take_word(const struct cli_command *commands, struct cli_line *l,
                     const char *word, struct cfs_err *err)
{
    if (l->cmd) {
        l->word[l->n_words++] = word;
        return 0;
    }
    if (!l->group && strcmp(word, "help") == 0) {
        l->given |= CLI_OPT_HELP;
        return 0;
    }
    for (const struct cli_command *c = commands; c->group; c++) {
        if (!l->group && strcmp(c->group, word) == 0) {
            l->group = c->group;
            return 0;
        }
        if (l->group && strcmp(c->group, l->group) == 0 &&
            strcmp(c->verb, word) == 0) {
            l->cmd = c;
            return 0;
        }
    }
    return unknown_word(commands, l, word, err);
}

/* What can be said only at the end. */
static int check(const struct cli_line *l, struct cfs_err *err)
{
    const struct cli_command *c = l->cmd;

    if (l->given & (CLI_OPT_HELP | CLI_OPT_VERSION))
        return 0;
    if (!c)
        return cfs_err_set(err, -EINVAL, "%s%sno command is given",
                           l->group ? l->group : "", l->group ? ": " : "");
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (l->given & options[i].bit & ~allowed(l))
            return cfs_err_set(err, -EINVAL, "'%s %s' has no option --%s",
                               c->group, c->verb, options[i].name);
    if (l->n_words < c->words_min)
        return cfs_err_set(err, -EINVAL, "'%s %s' needs more: %s", c->group,
                           c->verb, c->synopsis);
    if (l->n_words > c->words_max)
        return cfs_err_set(err, -EINVAL, "'%s %s': unexpected '%s'", c->group,
                           c->verb, l->word[c->words_max]);
    return 0;
}

int cli_parse(const struct cli_command *commands, int argc,
              const char *const *argv, struct cli_line *ret,
              struct cfs_err *err)
{
    bool options_end = false;
    int rc = 0;

    *ret = (struct cli_line){0};
    ret->word = calloc((size_t)argc + 1, sizeof *ret->word);
    ret->option = calloc((size_t)argc + 1, sizeof *ret->option);
    ret->volume = calloc((size_t)argc + 1, sizeof *ret->volume);
    if (!ret->word || !ret->option || !ret->volume)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    for (int i = 1; i < argc && rc >= 0;) {
        const char *word = argv[i];

        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
            i++;
        } else if (!options_end && word[0] == '-' && word[1]) {
            rc = take_option(ret, argv, argc, i, err);
            i += rc;
        } else {
            rc = take_word(commands, ret, word, err);
            i++;
        }
    }
    return rc < 0 ? rc : check(ret, err);
}

void cli_line_free(struct cli_line *l)
{
    free(l->word);
    free(l->option);
    free(l->volume);
    *l = (struct cli_line){0};
}

/* -- help ----------------------------------------------------------------- */

static void help_options(FILE *out, const struct cli_command *c)
{
    unsigned mask = ALWAYS | (c ? c->options : 0);

    fprintf(out, "\nOptions:\n");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *o = &options[i];
        char text[64];

        if (!(mask & o->bit))
            continue;
        snprintf(text, sizeof text, "%c%c%c --%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name,
                 o->value ? " " : "", o->value ? o->value : "");
        fprintf(out, "  %-24s %s\n", text,
                o->bit == CLI_OPT_FORCE ? c->force : o->help);
    }
}

static void help_command(FILE *out, const struct cli_command *c)
{
    fprintf(out, "Usage: clusterfs %s %s%s%s [OPTION...]\n%s\n", c->group,
            c->verb, *c->synopsis ? " " : "", c->synopsis, c->about);
    if (c->more)
        fprintf(out, "\n%s\n", c->more);
    help_options(out, c);
}

void cli_help(FILE *out, const struct cli_command *commands,
              const struct cli_line *l)
{
    if (l->cmd) {
        help_command(out, l->cmd);
        return;
    }
    fprintf(out, "Usage: clusterfs %s VERB [ARGUMENT...] [OPTION...]\n"
                 "Manage clusterfs volumes. Each verb has its own --help.\n\n",
            l->group ? l->group : "COMMAND");
    for (const struct cli_command *c = commands; c->group; c++) {
        char text[64];

        if (l->group && strcmp(l->group, c->group) != 0)
            continue;
        snprintf(text, sizeof text, "%s %s", c->group, c->verb);
        fprintf(out, "  %-16s %s\n", text, c->about);
    }
    help_options(out, NULL);
    if (!l->group)
        fprintf(out, "\nExit status: 0 done; 1 refused or failed; 2 a wrong "
                     "command line;\n3 clusterfs-mgmtd cannot be asked.\n");
}
