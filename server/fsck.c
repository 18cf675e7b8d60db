/* SPDX-License-Identifier: Apache-2.0 */
/* fsck.c - fsck.clusterfs: checks a brick that is not in use, and says what it
 * found. It opens it for reading, with the journal replayed in memory. With
 * --repair it mends what it found (fsck_repair.h); the rest is in
 * fsck_acts.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/fsck_cli.h"

/* -- being canceled ------------------------------------------------------- */

/* Free space is being given back. */
static volatile sig_atomic_t discarding;

static void on_cancel(int sig)
{
    static const char none[] = "\n" PROGRAM ": canceled; nothing was "
                               "written\n";
    static const char some[] = "\n" PROGRAM ": canceled; part of the free "
                               "space was given back\n";
    ssize_t ignored = discarding
                          ? write(STDERR_FILENO, some, sizeof some - 1)
                          : write(STDERR_FILENO, none, sizeof none - 1);

    (void)ignored;
    _exit(EXIT_CANCELED);
}

/* Until something is written: then it is to be written to its end. */
static void may_cancel(bool yes)
{
    signal(SIGINT, yes ? on_cancel : SIG_IGN);
    signal(SIGTERM, yes ? on_cancel : SIG_IGN);
}

/* -- checking ------------------------------------------------------------- */

/* The newest checkpoint alone; the journal tells at least which blocks it has
 * taken, if it is whole. */
static int open_bare(const struct run *r, struct tool_brick *ret)
{
    struct cfs_err err = {0};
    int rc = tool_open_bare(r->path, 0, NULL, NULL, ret, &err);

    if (rc == -CFS_E_CORRUPT)
        rc = tool_open_bare(r->path, TOOL_NO_JOURNAL, NULL, NULL, ret, &err);
    return rc;
}

/* With the journal, or, when that or what is kept in memory is damaged,
 * without: the rest may be looked at all the same. */
static int open_brick(struct run *r, struct tool_brick *ret,
                      struct cfs_err *err)
{
    struct fsck_finding damage = {.kind = "journal", .text = err->text};
    int rc;

    rc = tool_open(r->path, r->discard && r->answer != ANSWER_NO ? TOOL_WRITE
                                                               : 0,
                   ret, err);
    if (rc != -CFS_E_CORRUPT || open_bare(r, ret) < 0)
        return rc;
    cli_found(r, &damage);
    if (!r->json)
        printf("What follows is about the newest checkpoint, without the "
               "journal.\n");
    r->early = 1;
    return 0;
}

static int check(struct run *r)
{
    struct fsck_config config = {
        .data = r->data,
        .found = cli_found,
        .progress = cli_progress,
        .ctx = r,
    };
    struct cfs_err err = {0};
    struct fsck_result result;
    struct rec_brick counts;
    struct tool_brick b;
    struct eng_info info;
    int rc;

    may_cancel(true);
    rc = open_brick(r, &b, &err);
    if (rc < 0)
        return cli_not_opened(r, rc, &err);
    if (b.ops) {
        fsck_brick_counts(b.ops, &counts);
        config.counts = &counts;
    } else {
        config.journal = true;
    }
    fsck_run(b.loop, b.e, &config, &result);
    result.findings += r->early + fsck_tell_copies(eng_copies(b.e), cli_found,
                                                   r);
    eng_info(b.e, &info);
    rc = result.findings > 0 || result.incomplete ? EXIT_ERRORS : EXIT_CLEAN;
    if (r->discard && rc == EXIT_CLEAN) {
        discarding = r->answer != ANSWER_NO;
        rc = cli_discard(r, b.e);
        discarding = 0;
    }
    cli_sum(r, &info, &result, NULL);
    tool_close(&b);
    return rc;
}

/* -- repair --------------------------------------------------------------- */

static bool ask(const struct fsck_repair_result *x)
{
    char line[16];

    fprintf(stderr, "%" PRIu64 " error%s can be corrected%s. Do it? [y/N] ",
            x->first.findings, x->first.findings == 1 ? "" : "s",
            x->lost ? ", but what was listed as lost stays lost" : "");
    fflush(stderr);
    return fgets(line, sizeof line, stdin) &&
           (line[0] == 'y' || line[0] == 'Y');
}

static bool confirm(void *ctx, const struct fsck_repair_result *x)
{
    struct run *r = ctx;
    bool yes = true;

    cli_clear(r);
    if (r->answer == ANSWER_ASK)
        yes = ask(x);
    else if (r->answer == ANSWER_SAFE && x->lost) {
        fprintf(stderr, PROGRAM ": %s: something is lost: run it with "
                "--repair, or heal the brick from the others\n", r->path);
        yes = false;
    }
    if (yes)
        may_cancel(false);
    return yes;
}

/* What was written is looked at once more, as it lies there. */
static bool is_clean_now(struct run *r)
{
    struct fsck_config config = {
        .found = cli_found,
        .progress = cli_progress,
        .ctx = r,
    };
    struct cfs_err err = {0};
    struct fsck_result x;
    struct rec_brick counts;
    struct tool_brick b;

    if (tool_open(r->path, 0, &b, &err) < 0) {
        fprintf(stderr, PROGRAM ": after the repair: %s\n", err.text);
        return false;
    }
    fsck_brick_counts(b.ops, &counts);
    config.counts = &counts;
    fsck_run(b.loop, b.e, &config, &x);
    tool_close(&b);
    return x.findings == 0 && !x.incomplete;
}

static int open_to_repair(struct run *r,
                          const struct fsck_repair_config *config,
                          struct tool_brick *ret, struct fsck_early *early,
                          struct cfs_err *err)
{
    struct cfs_loop *loop;
    struct cfs_dev *dev;
    int rc;

    rc = cfs_loop_new(&loop, err);
    if (rc < 0)
        return rc;
    rc = cfs_dev_open(r->path, r->answer == ANSWER_NO ? CFS_DEV_READ_ONLY : 0,
                      &dev, err);
    if (rc == 0) {
        rc = fsck_repair_open(loop, dev, r->path, config, ret, early, err);
        if (rc < 0)
            dev->ops->close(dev);
    }
    if (rc < 0)
        cfs_loop_free(loop);
    return rc;
}

/* The exit status. */
static int outcome(struct run *r, int rc, const struct fsck_repair_result *x,
                   const struct cfs_err *err)
{
    if (rc < 0 && rc != -ECANCELED)
        fprintf(stderr, PROGRAM ": %s: %s%s\n", r->path, err->text,
                x->written ? "; the brick is as it was, or repaired as a "
                             "whole: check it again"
                           : "; nothing was written");
    if (rc < 0 && x->written)
        return EXIT_TROUBLE;
    if (x->first.findings == 0)
        return EXIT_CLEAN;
    if (rc == 0 && !x->written && !r->json)
        printf("All of it can be corrected%s.\n",
               x->lost ? ", but for what is lost" : "");
    if (rc < 0 || !x->written)
        return EXIT_ERRORS;
    if (x->changed && !r->json)
        printf("What it holds was changed: it is no copy of the volume's "
               "other bricks until it is healed.\n");
    return is_clean_now(r) ? EXIT_MENDED : EXIT_ERRORS;
}

static int repair(struct run *r)
{
    const struct fsck_repair_config config = {
        .data = r->data,
        .dry = r->answer == ANSWER_NO,
        .found = cli_found,
        .progress = cli_progress,
        .confirm = confirm,
        .ctx = r,
    };
    struct fsck_repair_result x;
    struct fsck_early early;
    struct cfs_err err = {0};
    struct tool_brick b;
    struct eng_info info;
    int rc;

    may_cancel(true);
    rc = open_to_repair(r, &config, &b, &early, &err);
    if (rc < 0)
        return cli_not_opened(r, rc, &err);
    rc = fsck_repair(&b, &early, &config, &x, &err);
    eng_info(b.e, &info);
    tool_close(&b);
    cli_sum(r, &info, &x.first, &x);
    return outcome(r, rc, &x, &err);
}

/* -- the command line ----------------------------------------------------- */

static const char help[] =
    "usage: " PROGRAM " [OPTION...] DEVICE\n"
    "Check a brick that is not in use: every node, record and reference, the\n"
    "space map, and the checksum of every block of data.\n"
    "\n"
    "      --no-data    do not read the files' data\n"
    "      --repair     correct what is found; ask before anything is written\n"
    "  -y               the same, without asking\n"
    "  -p, -a           the same, but only if nothing is lost by it\n"
    "  -n, --dry-run    change nothing; with --repair say what it would do\n"
    "      --grow       check nothing: make the brick as large as its device,\n"
    "                   which became larger\n"
    "      --superblock check nothing: write the superblock anew from one of its\n"
    "                   copies, whatever lies there\n"
    "      --discard    when nothing is wrong, give free space back to the device\n"
    "      --json       say in JSON what was found\n"
    "      --progress   show how far it is, even if stderr is no terminal\n"
    "  -C FD            write that to descriptor FD, for a program\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 clean, 1 errors were corrected, 4 errors were left, 8 it\n"
    "could not be checked, 16 wrong usage, 32 canceled.\n";

enum {
    OPT_NO_DATA = 256,
    OPT_GROW,
    OPT_SUPERBLOCK,
    OPT_DISCARD,
    OPT_JSON,
    OPT_REPAIR,
    OPT_PROGRESS,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option options[] = {
    {"no-data", no_argument, NULL, OPT_NO_DATA},
    {"grow", no_argument, NULL, OPT_GROW},
    {"superblock", no_argument, NULL, OPT_SUPERBLOCK},
    {"discard", no_argument, NULL, OPT_DISCARD},
    {"json", no_argument, NULL, OPT_JSON},
    {"repair", no_argument, NULL, OPT_REPAIR},
    {"dry-run", no_argument, NULL, 'n'},
    {"progress", no_argument, NULL, OPT_PROGRESS},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

static int usage(const char *what)
{
    fprintf(stderr, PROGRAM ": %s\n", what);
    return EXIT_USAGE;
}

/* The number of a descriptor that is open; -1. */
static int parse_fd(const char *s)
{
    char *end;
    long fd;

    errno = 0;
    fd = strtol(s, &end, 10);
    if (errno != 0 || end == s || *end != '\0' || fd < 0 || fd > INT_MAX)
        return -1;
    return fcntl((int)fd, F_GETFD) < 0 ? -1 : (int)fd;
}

static int set_answer(struct run *r, enum answer a)
{
    if (r->answer != ANSWER_ASK && r->answer != a)
        return usage("one of -n, -p and -y");
    r->answer = a;
    return -1;
}

/* -1: go on; else the exit status. */
static int parse_one(struct run *r, int opt)
{
    switch (opt) {
    case 'n':
        return set_answer(r, ANSWER_NO);
    case 'y':
        r->repair = true;
        return set_answer(r, ANSWER_YES);
    case 'a':
    case 'p':
        r->repair = true;
        return set_answer(r, ANSWER_SAFE);
    case 'C':
        r->fd = parse_fd(optarg);
        return r->fd >= 0 ? -1 : usage("-C: an open file descriptor");
    case OPT_NO_DATA:
        r->data = false;
        return -1;
    case OPT_GROW:
        r->grow = true;
        return -1;
    case OPT_SUPERBLOCK:
        r->superblock = true;
        return -1;
    case OPT_DISCARD:
        r->discard = true;
        return -1;
    case OPT_JSON:
        r->json = true;
        return -1;
    case OPT_REPAIR:
        r->repair = true;
        return -1;
    case OPT_PROGRESS:
        r->bar = true;
        return -1;
    case OPT_HELP:
        fputs(help, stdout);
        return EXIT_CLEAN;
    case OPT_VERSION:
        puts(PROGRAM " " CFS_VERSION);
        return EXIT_CLEAN;
    default:
        return usage("see " PROGRAM " --help");
    }
}

static int run(struct run *r)
{
    const bool asks = r->repair || r->superblock;

    if (r->superblock)
        r->repair = false; /* -y is the answer to it */
    if (r->superblock + r->repair + r->grow + r->discard > 1)
        return usage("one at a time, in this order: --superblock, --repair, "
                     "--grow, --discard");
    if (r->superblock && r->answer == ANSWER_SAFE)
        return usage("--superblock takes -y or -n: what it writes over may "
                     "be somebody's");
    if (asks && r->answer == ANSWER_ASK && !isatty(STDIN_FILENO))
        return usage(r->superblock
                         ? "there is nobody to ask: say -y or -n"
                         : "there is nobody to ask: say -y, -p or -n");
    if (r->superblock)
        return cli_superblock(r);
    if (r->grow)
        return cli_grow(r);
    return r->repair ? repair(r) : check(r);
}

int main(int argc, char **argv)
{
    struct run r = {.data = true, .fd = -1, .bar = isatty(STDERR_FILENO)};
    int opt, rc;

    setvbuf(stdout, NULL, _IOLBF, 0); /* what was found, even if canceled */
    while ((opt = getopt_long(argc, argv, "napyC:", options, NULL)) != -1) {
        rc = parse_one(&r, opt);
        if (rc >= 0)
            return rc;
    }
    if (argc - optind != 1)
        return usage("one DEVICE; see --help");
    r.path = argv[optind];
    r.findings = json_array();
    r.known = json_array();
    if (!r.findings || !r.known)
        abort();
    rc = run(&r);
    json_decref(r.findings);
    json_decref(r.known);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, PROGRAM ": output: %s\n", strerror(errno));
        return EXIT_TROUBLE;
    }
    return rc;
}
