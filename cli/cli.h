/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - the clusterfs command: what its parts share. See README.md. */
#ifndef CFS_CLI_CLI_H
#define CFS_CLI_CLI_H

#include <jansson.h>
#include <stdio.h>

#include "core/host.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_UNREACHABLE = 3,
};

/* What is said about options and words. Values of options are in .opt, by
 * index of cli_opts; NULL: not given; "" for a flag. */
enum cli_opt {
    OPT_HELP,
    OPT_VERSION,
    OPT_JSON,
    OPT_RUN_DIR,
    OPT_PORT,
    OPT_YES,
    OPT_FORCE,
    OPT_BRICK_SIZE,
    OPT_SPARSE,
    OPT_OPTION,
    OPT_N
};

struct cli_words {
    const char *opt[OPT_N];
    const char **word; /* what is no option, after group and verb */
    unsigned    n;
    json_t     *options; /* of --option KEY=VALUE, in order */
};

struct cli_verb {
    const char *group; /* "volume" */
    const char *verb;  /* "create" */
    const char *synopsis;
    const char *about; /* one line */
    const char *help;  /* paragraphs; may be NULL */
    unsigned    opts;  /* bits 1u << OPT_...; the common ones are implied */
    /* The request's arguments, from @w. -EINVAL. */
    int (*args)(const struct cli_words *w, json_t *ret, struct cfs_err *err);
    /* What would be lost, as a question; NULL: nothing. */
    const char *(*ask)(const struct cli_words *w);
    /* For people, on @out. */
    void (*print)(FILE *out, const json_t *result, const struct cli_words *w);
};

/* A whole command line, understood. */
struct cli_command {
    const struct cli_verb *verb; /* NULL: none was named */
    const char            *group; /* named without a verb, for help */
    struct cli_words       words;
    json_t                *args;
};

/* -- args.c --------------------------------------------------------------- */

extern const struct cli_verb *const cli_verbs[]; /* ends with NULL */

/* -EINVAL: wrong usage, err says how it is right. With --help or --version
 * nothing more is checked. Free it in any case. */
int  cli_parse(int argc, char **argv, struct cli_command *ret,
               struct cfs_err *err);
void cli_command_free(struct cli_command *c);
void cli_help(FILE *out, const struct cli_command *c);

/* -- volume.c --------------------------------------------------------------- */

extern const struct cli_verb cli_volume_create, cli_volume_start,
    cli_volume_stop, cli_volume_delete, cli_volume_list, cli_volume_info,
    cli_volume_status;

/* -- show.c ------------------------------------------------------------------ */

void show_created(FILE *out, const json_t *r, const struct cli_words *w);
void show_started(FILE *out, const json_t *r, const struct cli_words *w);
void show_stopped(FILE *out, const json_t *r, const struct cli_words *w);
void show_deleted(FILE *out, const json_t *r, const struct cli_words *w);
void show_list(FILE *out, const json_t *r, const struct cli_words *w);
void show_info(FILE *out, const json_t *r, const struct cli_words *w);
void show_status(FILE *out, const json_t *r, const struct cli_words *w);

/* -- table.c ------------------------------------------------------------------- */

/* Lines of cells; each column as wide as its widest cell. */
struct table;

struct table *table_new(unsigned columns);
/* @n cells of text, copied; missing ones are empty. */
void table_row(struct table *t, const char *const *cell, unsigned n);
void table_print(FILE *out, const struct table *t, const char *indent);
void table_free(struct table *t);

/* "1.5 GiB", "10 GiB", "512 bytes". */
#define SIZE_STR 32
const char *size_str(uint64_t bytes, char ret[static SIZE_STR]);

/* -- request.c ------------------------------------------------------------------ */

/* Send @verb with @args to the mgmtd of @run_dir; wait for the answer.
 * 0: *ret_json is what it said; else an exit status, and err. */
enum cli_exit cli_request(const char *run_dir, const char *verb,
                          const json_t *args, json_t **ret_json,
                          struct cfs_err *err);

#endif
