/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - the inside of the program clusterfs, shared by its files.
 *
 * A command is a row in a table: its words, what its command line may hold,
 * how that becomes the arguments of a request, and how the answer is shown.
 *
 *     args.c      cli_parse()       words and options
 *     volume_*.c  command.args()    checked, as JSON
 *     ask.c       cli_ask()         mgmtd does it
 *     volume_*.c  command.show()    for people; --json: as it came
 */
#ifndef CFS_CLI_CLI_H
#define CFS_CLI_CLI_H

#include <jansson.h>
#include <stdio.h>

#include "core/err.h"

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NO_MGMTD = 3,
    CLI_INTERRUPTED = 130,
};

/* Options, as bits. The first three are every command's. */
enum cli_opt {
    CLI_OPT_HELP = 1u << 0,
    CLI_OPT_VERSION = 1u << 1,
    CLI_OPT_RUN_DIR = 1u << 2,
    CLI_OPT_JSON = 1u << 3,
    CLI_OPT_YES = 1u << 4,
    CLI_OPT_FORCE = 1u << 5,
    CLI_OPT_SPARSE = 1u << 6,
    CLI_OPT_BRICK_SIZE = 1u << 7,
    CLI_OPT_OPTION = 1u << 8,
    CLI_OPT_NAME = 1u << 9,
    CLI_OPT_ADDRESS = 1u << 10,
    CLI_OPT_TOKEN = 1u << 11,
    CLI_OPT_FOR = 1u << 12,
    CLI_OPT_REPLACE = 1u << 13,
    CLI_OPT_VOLUME = 1u << 14,
    CLI_OPT_OUTPUT = 1u << 15,
    CLI_OPT_SERVER = 1u << 16,
    CLI_OPT_CREDENTIALS = 1u << 17,
};

struct cli_line;

struct cli_command {
    const char *group;    /* "volume" */
    const char *verb;     /* "create" */
    const char *synopsis; /* what follows the verb */
    const char *about;    /* one line */
    const char *more;     /* paragraphs for its own help, or NULL */
    const char *force;    /* what --force does here, or NULL */
    const char *doing;    /* "is making the bricks", or NULL: it is quick */
    unsigned    options;  /* enum cli_opt */
    unsigned    words_min, words_max;
    bool        changes; /* something: it goes on when we do not */
    /* Fill @args from @l. -EINVAL: wrong usage. */
    int (*args)(const struct cli_line *l, json_t *args, struct cfs_err *err);
    void (*failed)(void); /* it was not done; or NULL */
    /* What is done with the answer before it is shown (it may be changed), for
     * people or as JSON; or NULL. */
    int (*finish)(const struct cli_line *l, json_t *answer,
                  struct cfs_err *err);
    /* What --yes answers in advance, into @ret ("": nothing); or NULL. */
    void (*question)(const struct cli_line *l, char *ret, size_t len);
    void (*show)(FILE *out, const json_t *answer);
};

/* -- args.c --------------------------------------------------------------- */

/* A command line, taken apart. Strings are argv's. */
struct cli_line {
    const struct cli_command *cmd;   /* NULL: none was named */
    const char               *group; /* NULL: not even that */
    unsigned                  given; /* enum cli_opt */
    const char               *run_dir;
    const char               *name;    /* NULL: not given */
    const char               *address; /* NULL: not given */
    const char               *token, *lasting, *replace, *output;
    const char               *server, *credentials;
    const char              **volume; /* malloc'ed array */
    unsigned                  n_volumes;
    uint64_t                  brick_size; /* bytes; 0: not given */
    const char              **option;     /* KEY=VALUE; malloc'ed array */
    unsigned                  n_options;
    const char              **word; /* behind the verb; malloc'ed array */
    unsigned                  n_words;
};

/* @commands ends with a NULL group. -EINVAL: wrong usage, said in @err; @ret
 * is filled as far as it was read, and to be freed in any case. */
int  cli_parse(const struct cli_command *commands, int argc,
               const char *const *argv, struct cli_line *ret,
               struct cfs_err *err);
void cli_line_free(struct cli_line *l);

/* Of the command, the group or the program that @l names. */
void cli_help(FILE *out, const struct cli_command *commands,
              const struct cli_line *l);

static inline bool cli_has(const struct cli_line *l, enum cli_opt opt)
{
    return (l->given & opt) != 0;
}

/* -- ask.c ---------------------------------------------------------------- */

struct cli_answer {
    unsigned status; /* 0, or mgmtd refused or failed */
    char    *error;  /* why; with status 0: a note beside it, or "" */
    json_t  *json;   /* NULL unless status is 0 */
};

/* Which mgmtd: this node's, on the socket in @run_dir, or, with @server, that
 * of HOST or HOST:PORT, with the credentials in the file (or what there is:
 * rpc/creds.h). */
struct cli_where {
    const char *run_dir, *config_dir, *state_dir;
    const char *server;
    const char *credentials;
};

/* Ask the mgmtd at @w to do @verb with @args, and wait. @doing is shown
 * when that takes long; may be NULL.
 * Errors: mgmtd cannot be asked (err says what was tried, and what to do), or
 * its answer is none (-EBADMSG). */
int  cli_ask(const struct cli_where *w, const char *verb, const json_t *args,
             const char *doing, struct cli_answer *ret, struct cfs_err *err);
void cli_answer_free(struct cli_answer *a);

/* What an answer says under @key, or "". */
static inline const char *cli_str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

/* Or 0, as for a number below. */
static inline uint64_t cli_num(const json_t *o, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(o, key));

    return n > 0 ? (uint64_t)n : 0;
}

/* -- volume_*.c ----------------------------------------------------------- */

/* At most one word: "name". */
int cli_name_args(const struct cli_line *l, json_t *args, struct cfs_err *err);
/* And "force". */
int cli_force_args(const struct cli_line *l, json_t *args,
                   struct cfs_err *err);
int cli_create_args(const struct cli_line *l, json_t *args,
                    struct cfs_err *err);

void cli_stop_question(const struct cli_line *l, char *ret, size_t len);
void cli_delete_question(const struct cli_line *l, char *ret, size_t len);

int cli_set_args(const struct cli_line *l, json_t *args, struct cfs_err *err);
int cli_reset_args(const struct cli_line *l, json_t *args,
                   struct cfs_err *err);
int cli_get_args(const struct cli_line *l, json_t *args, struct cfs_err *err);

void cli_reset_question(const struct cli_line *l, char *ret, size_t len);

void cli_set_show(FILE *out, const json_t *answer);
void cli_get_show(FILE *out, const json_t *answer);
int cli_profile_args(const struct cli_line *l, json_t *args,
                     struct cfs_err *err);

void cli_profile_show(FILE *out, const json_t *answer);
void cli_top_show(FILE *out, const json_t *answer);
void cli_statedump_show(FILE *out, const json_t *answer);
void cli_create_show(FILE *out, const json_t *answer);

/* Each text of the array @key of @answer, after @before. */
void cli_print_lines(FILE *out, const json_t *answer, const char *key,
                     const char *before);

void cli_start_show(FILE *out, const json_t *answer);
void cli_stop_show(FILE *out, const json_t *answer);
void cli_delete_show(FILE *out, const json_t *answer);
void cli_list_show(FILE *out, const json_t *answer);
void cli_info_show(FILE *out, const json_t *answer);
void cli_status_show(FILE *out, const json_t *answer);

/* -- cluster_*.c ---------------------------------------------------------- */

int  cli_found_args(const struct cli_line *l, json_t *args,
                    struct cfs_err *err);
int  cli_file_args(const struct cli_line *l, json_t *args,
                   struct cfs_err *err);
void cli_restore_question(const struct cli_line *l, char *ret, size_t len);
void cli_rebuild_question(const struct cli_line *l, char *ret, size_t len);

void cli_cluster_create_show(FILE *out, const json_t *answer);
void cli_cluster_status_show(FILE *out, const json_t *answer);
void cli_backup_show(FILE *out, const json_t *answer);
void cli_reborn_show(FILE *out, const json_t *answer);

/* -- client.c ------------------------------------------------------------- */

int cli_client_args(const struct cli_line *l, json_t *args,
                    struct cfs_err *err);
/* Opens the file of -o, too. */
int cli_client_add_args(const struct cli_line *l, json_t *args,
                        struct cfs_err *err);
void cli_client_add_failed(void); /* takes that file away */
/* Writes it. */
int cli_client_add_finish(const struct cli_line *l, json_t *answer,
                          struct cfs_err *err);
void cli_client_remove_question(const struct cli_line *l, char *ret,
                                size_t len);
void cli_client_add_show(FILE *out, const json_t *answer);
void cli_client_remove_show(FILE *out, const json_t *answer);
void cli_client_list_show(FILE *out, const json_t *answer);

/* -- peer.c --------------------------------------------------------------- */

int cli_token_args(const struct cli_line *l, json_t *args,
                   struct cfs_err *err);
int cli_join_args(const struct cli_line *l, json_t *args,
                  struct cfs_err *err);
int cli_detach_args(const struct cli_line *l, json_t *args,
                    struct cfs_err *err);
void cli_detach_question(const struct cli_line *l, char *ret, size_t len);
void cli_token_show(FILE *out, const json_t *answer);
void cli_join_show(FILE *out, const json_t *answer);
void cli_detach_show(FILE *out, const json_t *answer);
void cli_peer_list_show(FILE *out, const json_t *answer);
void cli_peer_status_show(FILE *out, const json_t *answer);

#endif
