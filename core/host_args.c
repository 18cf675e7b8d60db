/* SPDX-License-Identifier: Apache-2.0 */
/* host_args.c - a daemon's command line: the common options are a table like
 * the program's own, so that one parser and one help page do for both.
 */
#include "core/host_args.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define ARGS_MAX 64u
/* getopt_long()'s value of an option without a letter: this plus its place. */
#define LONG_ONLY 256

/* -- the common options --------------------------------------------------- */

static int set_path(char **at, const char *value, struct cfs_err *err)
{
    char *path;

    if (!*value)
        return cfs_err_set(err, -EINVAL, "expected a path");
    path = cfs_path_absolute(value);
    if (!path)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    free(*at);
    *at = path;
    return 0;
}

static int set_config(void *arg, const char *value, struct cfs_err *err)
{
    return set_path(&((struct cfs_cmdline *)arg)->host->dirs.config, value,
                    err);
}

static int set_state(void *arg, const char *value, struct cfs_err *err)
{
    return set_path(&((struct cfs_cmdline *)arg)->host->dirs.state, value,
                    err);
}

static int set_run(void *arg, const char *value, struct cfs_err *err)
{
    return set_path(&((struct cfs_cmdline *)arg)->host->dirs.run, value, err);
}

static int set_log(void *arg, const char *value, struct cfs_err *err)
{
    return set_path(&((struct cfs_cmdline *)arg)->host->dirs.log, value, err);
}

static int set_pid_file(void *arg, const char *value, struct cfs_err *err)
{
    return set_path(&((struct cfs_cmdline *)arg)->host->pid_path, value, err);
}

static int set_port(void *arg, const char *value, struct cfs_err *err)
{
    struct cfs_cmdline *c = arg;
    uint64_t port;

    if (cfs_parse_u64(value, &port) < 0 || port == 0 || port > UINT16_MAX)
        return cfs_err_set(err, -EINVAL, "expected a number from 1 to 65535");
    c->host->port = (uint16_t)port;
    return 0;
}

static int set_log_level(void *arg, const char *value, struct cfs_err *err)
{
    struct cfs_cmdline *c = arg;

    if (cfs_log_level_parse(value, &c->level) < 0)
        return cfs_err_set(err, -EINVAL,
                           "expected error, warning, info, debug or trace");
    return 0;
}

static int set_log_file(void *arg, const char *value, struct cfs_err *err)
{
    struct cfs_cmdline *c = arg;

    if (strcmp(value, "-") != 0)
        return set_path(&c->log_file, value, err);
    free(c->log_file);
    c->log_file = strdup("-");
    return c->log_file ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
}

static int set_log_format(void *arg, const char *value, struct cfs_err *err)
{
    struct cfs_cmdline *c = arg;

    if (strcmp(value, "plain") == 0)
        c->format = CFS_LOG_PLAIN;
    else if (strcmp(value, "journald") == 0)
        c->format = CFS_LOG_JOURNALD;
    else
        return cfs_err_set(err, -EINVAL, "expected plain or journald");
    return 0;
}

static int set_foreground(void *arg, const char *value, struct cfs_err *err)
{
    ((struct cfs_cmdline *)arg)->host->foreground = true;
    return 0;
}

static int set_help(void *arg, const char *value, struct cfs_err *err)
{
    ((struct cfs_cmdline *)arg)->help = true;
    return 0;
}

static int set_version(void *arg, const char *value, struct cfs_err *err)
{
    ((struct cfs_cmdline *)arg)->version = true;
    return 0;
}

/* arg is filled in by all_args(). */
static const struct cfs_arg common[] = {
    {"config-dir", 0, "DIR", "configuration (/etc/clusterfs)", NULL,
     set_config},
    {"state-dir", 0, "DIR", "what must be kept (/var/lib/clusterfs)", NULL,
     set_state},
    {"run-dir", 0, "DIR", "sockets, pid files (/run/clusterfs)", NULL,
     set_run},
    {"log-dir", 0, "DIR", "logs (/var/log/clusterfs)", NULL, set_log},
    {"port", 0, "N", "port of clusterfs-mgmtd (24007)", NULL, set_port},
    {"log-level", 0, "LEVEL", "error, warning, info, debug or trace", NULL,
     set_log_level},
    {"log-file", 0, "FILE", "log there; - is stderr", NULL, set_log_file},
    {"log-format", 0, "FORMAT", "plain or journald", NULL, set_log_format},
    {"pid-file", 0, "FILE", "write the process id there, and lock it", NULL,
     set_pid_file},
    {"no-daemon", 0, NULL, "stay in the foreground", NULL, set_foreground},
    {"help", 'h', NULL, "print this and exit", NULL, set_help},
    {"version", 'V', NULL, "print the version and exit", NULL, set_version},
};

/* The program's options, then the common ones; how many. */
static unsigned all_args(struct cfs_cmdline *c, struct cfs_arg *ret)
{
    const struct cfs_arg *own = c->host->spec->args;
    unsigned n = 0;

    for (; own && own->name; own++) {
        assert(n < ARGS_MAX);
        ret[n++] = *own;
    }
    for (size_t i = 0; i < CFS_ARRAY_SIZE(common); i++) {
        assert(n < ARGS_MAX);
        ret[n] = common[i];
        ret[n++].arg = c;
    }
    return n;
}

/* -- parsing -------------------------------------------------------------- */

/* The same for getopt_long(). */
static void getopt_tables(const struct cfs_arg *args, unsigned n,
                          struct option *longs, char *shorts)
{
    *shorts++ = ':'; /* a missing value is told apart */
    for (unsigned i = 0; i < n; i++) {
        const struct cfs_arg *a = &args[i];

        longs[i] = (struct option){
            .name = a->name,
            .has_arg = a->value ? required_argument : no_argument,
            .val = a->letter ? a->letter : LONG_ONLY + (int)i,
        };
        if (!a->letter)
            continue;
        *shorts++ = a->letter;
        if (a->value)
            *shorts++ = ':';
    }
    longs[n] = (struct option){0};
    *shorts = '\0';
}

static const struct cfs_arg *arg_of(const struct cfs_arg *args, unsigned n,
                                    int val)
{
    for (unsigned i = 0; i < n; i++)
        if (val == LONG_ONLY + (int)i || (args[i].letter &&
                                          val == args[i].letter))
            return &args[i];
    return NULL;
}

/* @word is what stands on the command line. */
static int unknown_option(const struct cfs_arg *args, unsigned n,
                          const char *word, struct cfs_err *err)
{
    const char *names[ARGS_MAX + 1], *near = NULL;
    char key[64];

    if (strncmp(word, "--", 2) == 0) {
        for (unsigned i = 0; i < n; i++)
            names[i] = args[i].name;
        names[n] = NULL;
        snprintf(key, sizeof key, "%.*s", (int)strcspn(word + 2, "="),
                 word + 2);
        near = cfs_nearest(key, names);
    }
    if (near)
        return cfs_err_set(err, -EINVAL,
                           "unknown option %s; do you mean --%s?", word, near);
    return cfs_err_set(err, -EINVAL, "unknown option %s", word);
}

static int bad_option(const struct cfs_arg *args, unsigned n, int c,
                      char **argv, struct cfs_err *err)
{
    const struct cfs_arg *a = arg_of(args, n, optopt);
    const char *word = argv[optind - 1];

    if (c == ':')
        return cfs_err_set(err, -EINVAL, "option --%s needs a value",
                           a ? a->name : word);
    if (a && !a->value && strncmp(word, "--", 2) == 0)
        return cfs_err_set(err, -EINVAL, "option --%s takes no value",
                           a->name);
    if (optopt != 0 && strncmp(word, "--", 2) != 0)
        return cfs_err_set(err, -EINVAL, "unknown option -%c", optopt);
    return unknown_option(args, n, word, err);
}

int cfs_cmdline_parse(struct cfs_cmdline *c, struct cfs_host *h, int argc,
                      char **argv, struct cfs_err *err)
{
    struct cfs_arg args[ARGS_MAX];
    struct option longs[ARGS_MAX + 1];
    char shorts[2 * ARGS_MAX + 2];
    unsigned n;
    int v;

    *c = (struct cfs_cmdline){.host = h, .level = CFS_LOG_INFO};
    n = all_args(c, args);
    getopt_tables(args, n, longs, shorts);
    opterr = 0;
    optind = 0; /* glibc: start anew */
    while ((v = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        const struct cfs_arg *a = arg_of(args, n, v);
        int rc;

        if (v == '?' || v == ':' || !a)
            return bad_option(args, n, v, argv, err);
        rc = a->set(a->arg, a->value ? optarg : NULL, err);
        if (rc < 0) {
            cfs_err_set(err, rc, "%s", cfs_err_str(rc));
            cfs_err_wrap(err, "--%s%s%s", a->name, a->value ? " " : "",
                         a->value ? optarg : "");
            return rc;
        }
    }
    h->rest = argv + optind;
    h->n_rest = argc - optind;
    return 0;
}

static void print_args(const struct cfs_arg *args, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char text[64];

        snprintf(text, sizeof text, "%s%c%s--%s%s%s",
                 args[i].letter ? "-" : "  ",
                 args[i].letter ? args[i].letter : ' ',
                 args[i].letter ? ", " : " ", args[i].name,
                 args[i].value ? " " : "",
                 args[i].value ? args[i].value : "");
        printf("  %-28s %s\n", text, args[i].help);
    }
}

void cfs_cmdline_help(struct cfs_cmdline *c)
{
    const struct cfs_host_spec *spec = c->host->spec;
    struct cfs_arg args[ARGS_MAX];
    unsigned n = all_args(c, args);
    unsigned n_own = n - (unsigned)CFS_ARRAY_SIZE(common);

    printf("Usage: %s [OPTION...]%s%s\n%s\n", spec->program,
           spec->synopsis ? " " : "", spec->synopsis ? spec->synopsis : "",
           spec->about);
    if (n_own > 0) {
        printf("\n");
        print_args(args, n_own);
    }
    printf("\nCommon options:\n");
    print_args(args + n_own, n - n_own);
    printf("\nThe directories and the port may also come from the environment:"
           "\nCLUSTERFS_CONFIG_DIR, _STATE_DIR, _RUN_DIR, _LOG_DIR, "
           "CLUSTERFS_PORT.\n");
}
