/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - clusterfs: parse, ask the person where something is lost, send,
 * print. */
#include "cli/cli.h"

#include <stdlib.h>
#include <unistd.h>

static enum cli_exit complain(enum cli_exit status, const struct cfs_err *err)
{
    fprintf(stderr, "clusterfs: %s\n", err->text);
    return status;
}

/* Whether to go on; without a terminal only --yes says so. */
static enum cli_exit confirm(const struct cli_command *c)
{
    const char *question = c->verb->ask ? c->verb->ask(&c->words) : NULL;
    char answer[16];

    if (!question || c->words.opt[OPT_YES])
        return CLI_OK;
    if (!isatty(STDIN_FILENO)) {
        fprintf(stderr, "clusterfs: %s\nTo do it without being asked: --yes\n",
                question);
        return CLI_USAGE;
    }
    fprintf(stderr, "%s\nGo on with volume %s? (y/N) ", question,
            c->words.word[0]);
    if (fgets(answer, sizeof answer, stdin) &&
        (answer[0] == 'y' || answer[0] == 'Y'))
        return CLI_OK;
    fputs("Nothing was done.\n", stderr);
    return CLI_FAILED;
}

static enum cli_exit run(const struct cli_command *c)
{
    struct cfs_dirs dirs;
    struct cfs_err err = {0};
    json_t *result = NULL;
    enum cli_exit status = confirm(c);
    char verb[64];

    if (status != CLI_OK)
        return status;
    if (cfs_dirs_default(&dirs) < 0) {
        cfs_err_set(&err, -ENOMEM, "out of memory");
        return complain(CLI_FAILED, &err);
    }
    snprintf(verb, sizeof verb, "%s-%s", c->verb->group, c->verb->verb);
    status = cli_request(c->words.opt[OPT_RUN_DIR] ? c->words.opt[OPT_RUN_DIR]
                                                   : dirs.run,
                         verb, c->args, &result, &err);
    cfs_dirs_free(&dirs);
    if (status != CLI_OK)
        return complain(status, &err);
    if (c->words.opt[OPT_JSON]) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        c->verb->print(stdout, result, &c->words);
    }
    json_decref(result);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cfs_err_set(&err, -errno, "cannot write: %s", strerror(errno));
        return complain(CLI_FAILED, &err);
    }
    return CLI_OK;
}

int main(int argc, char **argv)
{
    struct cli_command c;
    struct cfs_err err = {0};
    enum cli_exit status = CLI_OK;

    if (cli_parse(argc, argv, &c, &err) < 0) {
        status = complain(CLI_USAGE, &err);
        if (c.verb)
            fprintf(stderr, "Usage: clusterfs %s %s %s\n", c.verb->group,
                    c.verb->verb, c.verb->synopsis);
        else
            fputs("Try 'clusterfs --help'.\n", stderr);
    } else if (c.words.opt[OPT_HELP]) {
        cli_help(stdout, &c);
    } else if (c.words.opt[OPT_VERSION]) {
        puts("clusterfs " CFS_VERSION);
    } else {
        status = run(&c);
    }
    cli_command_free(&c);
    return (int)status;
}
