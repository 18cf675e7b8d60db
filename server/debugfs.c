/* SPDX-License-Identifier: Apache-2.0 */
/* debugfs.c - debugfs.clusterfs: prints what is in a brick, in words. It never
 * writes to it.
 */
#include "server/debugfs.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/opt.h"

#define PROGRAM "debugfs.clusterfs"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum arg { ARG_NONE, ARG_MAY, ARG_MUST };

struct verb {
    const char *name;
    int (*run)(struct debugfs *d, struct cfs_err *err);
    enum arg    arg;
    bool        opens; /* run() opens what it needs itself */
    const char *help;
};

static const struct verb verbs[] = {
    {"super", debugfs_super, ARG_NONE, true,
     "identity, geometry, features, checkpoint records, journal"},
    {"tree", debugfs_tree, ARG_NONE, false,
     "each object in order of paths, alike for alike replicas"},
    {"stat", debugfs_stat, ARG_MUST, false,
     "all records of one inode, given by its PATH or gfid"},
    {"dump", debugfs_dump, ARG_MAY, false,
     "every record, or those of one TABLE"},
    {"journal", debugfs_journal, ARG_NONE, true,
     "the records behind the newest checkpoint"},
    {"heartbeat", debugfs_heartbeat, ARG_NONE, true,
     "the slots of its heartbeat region that were ever used"},
    {"sessions", debugfs_sessions, ARG_NONE, false, "the session table"},
    {"views", debugfs_views, ARG_NONE, false, "the views that it remembers"},
    {"dirty", debugfs_dirty, ARG_NONE, false,
     "the dirty index, the operation log, tombstones"},
};

static void print_help(void)
{
    fputs("usage: " PROGRAM " [--live] [--checkpoint] VERB DEVICE "
          "[ARGUMENT]\n"
          "Print what is in a brick. Nothing is ever written to it.\n"
          "\n", stdout);
    for (size_t i = 0; i < CFS_ARRAY_SIZE(verbs); i++)
        printf("  %-9s %s\n", verbs[i].name, verbs[i].help);
    fputs("\n"
          "  --live        look at it beside the brickd that serves it; what\n"
          "                that changes meanwhile may be read torn\n"
          "  --checkpoint  as the newest checkpoint has it, without the\n"
          "                journal\n"
          "  --help, --version\n"
          "\n"
          "Exit status: 0, 1 failed, 2 wrong usage.\n", stdout);
}

static const struct verb *find_verb(const char *name)
{
    const char *names[CFS_ARRAY_SIZE(verbs) + 1] = {0};
    const char *nearest;

    for (size_t i = 0; i < CFS_ARRAY_SIZE(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
        names[i] = verbs[i].name;
    }
    nearest = cfs_nearest(name, names);
    fprintf(stderr, PROGRAM ": there is no verb \"%s\"%s%s%s; see --help\n",
            name, nearest ? " (" : "", nearest ? nearest : "",
            nearest ? "?)" : "");
    return NULL;
}

/* A brick that its owner changes meanwhile may move on between two reads. */
#define LIVE_TRIES 5

static int open_brick(struct debugfs *d, struct cfs_err *err)
{
    int tries = d->flags & TOOL_LIVE ? LIVE_TRIES : 1;
    int rc;

    do {
        *err = (struct cfs_err){0};
        rc = d->bare ? tool_open_bare(d->path, d->flags | TOOL_NO_JOURNAL,
                                      NULL, NULL, &d->b, err)
                     : tool_open(d->path, d->flags, &d->b, err);
    } while (rc == -CFS_E_CORRUPT && --tries > 0);
    return rc;
}

static int run_verb(const struct verb *v, struct debugfs *d,
                    struct cfs_err *err)
{
    int rc;

    if (v->opens)
        return v->run(d, err);
    rc = open_brick(d, err);
    if (rc < 0)
        return rc;
    rc = v->run(d, err);
    tool_close(&d->b);
    return rc;
}

/* Whether it is only its journal, or what is kept in memory, that keeps the
 * brick from being opened. */
static bool opens_bare(struct debugfs *d)
{
    struct cfs_err err = {0};

    if (d->bare || tool_open_bare(d->path, d->flags | TOOL_NO_JOURNAL, NULL,
                                  NULL, &d->b, &err) < 0)
        return false;
    tool_close(&d->b);
    return true;
}

static void tell(const struct verb *v, struct debugfs *d, int rc,
                 const struct cfs_err *err)
{
    const char *more = "";

    if (rc == -EBUSY)
        more = "; --live looks at it all the same";
    else if (rc == -CFS_E_CORRUPT && (d->flags & TOOL_LIVE))
        more = "; it may have changed meanwhile: try again";
    else if (rc == -CFS_E_CORRUPT && !v->opens && opens_bare(d))
        more = "; --checkpoint leaves the journal out";
    fprintf(stderr, PROGRAM ": %s%s\n",
            err->text[0] ? err->text : cfs_err_str(rc), more);
}

enum { OPT_LIVE = 256, OPT_CHECKPOINT, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
    {"live", no_argument, NULL, OPT_LIVE},
    {"checkpoint", no_argument, NULL, OPT_CHECKPOINT},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

/* -1: go on; else the exit status. */
static int parse_one(struct debugfs *d, int opt)
{
    switch (opt) {
    case OPT_LIVE:
        d->flags |= TOOL_LIVE;
        return -1;
    case OPT_CHECKPOINT:
        d->bare = true;
        return -1;
    case OPT_HELP:
        print_help();
        return 0;
    case OPT_VERSION:
        puts(PROGRAM " " CFS_VERSION);
        return 0;
    default:
        fputs(PROGRAM ": see " PROGRAM " --help\n", stderr);
        return EXIT_USAGE;
    }
}

/* VERB DEVICE [ARGUMENT]; NULL: told what is wrong. */
static const struct verb *parse_words(struct debugfs *d, int n, char **word)
{
    const struct verb *v;

    if (n == 0) {
        fputs(PROGRAM ": VERB DEVICE [ARGUMENT]; see --help\n", stderr);
        return NULL;
    }
    v = find_verb(word[0]);
    if (!v)
        return NULL;
    if (n < 2 + (v->arg == ARG_MUST) || n > 2 + (v->arg != ARG_NONE)) {
        fprintf(stderr, PROGRAM ": %s DEVICE%s; see --help\n", v->name,
                v->arg == ARG_NONE  ? ""
                : v->arg == ARG_MAY ? " [ARGUMENT]"
                                    : " ARGUMENT");
        return NULL;
    }
    d->path = word[1];
    d->arg = n > 2 ? word[2] : NULL;
    return v;
}

int main(int argc, char **argv)
{
    struct cfs_err err = {0};
    struct debugfs d = {0};
    const struct verb *v;
    int opt, rc;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        rc = parse_one(&d, opt);
        if (rc >= 0)
            return rc;
    }
    v = parse_words(&d, argc - optind, argv + optind);
    if (!v)
        return EXIT_USAGE;
    rc = run_verb(v, &d, &err);
    if (rc < 0)
        tell(v, &d, rc, &err);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, PROGRAM ": output: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    return rc < 0 ? EXIT_FAILED : 0;
}
