/* SPDX-License-Identifier: Apache-2.0 */
/* fsck.c - fsck.clusterfs: checks a brick that is not in use, and says what it
 * found. It opens it for reading, with the journal replayed in memory; it
 * repairs nothing. --grow makes it as large as its device.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "server/fsck.h"

#define PROGRAM "fsck.clusterfs"

/* As fsck(8). */
enum { EXIT_CLEAN = 0, EXIT_ERRORS = 4, EXIT_TROUBLE = 8, EXIT_USAGE = 16 };

struct run {
    const char *path;
    bool        json;
    bool        data;
    bool        grow;
    bool        dry;      /* change nothing */
    bool        tty;      /* progress goes to stderr */
    struct timespec told; /* progress, last */
    json_t     *findings;
    unsigned    early; /* findings before the check proper */
};

/* -- progress and findings ------------------------------------------------ */

static void clear_line(const struct run *r)
{
    if (r->tty)
        fputs("\r\033[K", stderr);
}

static void on_progress(void *ctx, const char *what, uint64_t done,
                        uint64_t of)
{
    struct run *r = ctx;
    struct timespec now;

    if (!r->tty)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec == r->told.tv_sec &&
        now.tv_nsec / 200000000 == r->told.tv_nsec / 200000000)
        return;
    r->told = now;
    clear_line(r);
    if (of > 0 && done <= of)
        fprintf(stderr, "%s: %" PRIu64 " of %" PRIu64, what, done, of);
    else
        fprintf(stderr, "%s: %" PRIu64, what, done);
    fflush(stderr);
}

static void found_json(struct run *r, const struct fsck_finding *f,
                       const char *gfid)
{
    json_t *j = json_pack("{s:s, s:s?, s:s?, s:s}", "kind", f->kind, "gfid",
                          gfid, "path", f->path, "text", f->text);

    if (!j || json_array_append_new(r->findings, j) < 0)
        abort();
}

static void on_found(void *ctx, const struct fsck_finding *f)
{
    bool inode = !cfs_gfid_is_null(f->gfid);
    struct run *r = ctx;
    char gfid[CFS_UUID_STR];

    cfs_gfid_print(f->gfid, gfid);
    if (r->json) {
        found_json(r, f, inode ? gfid : NULL);
        return;
    }
    clear_line(r);
    if (!inode)
        printf("%s\n", f->text);
    else if (f->path)
        printf("%s (inode %s): %s\n", f->path, gfid, f->text);
    else
        printf("inode %s: %s\n", gfid, f->text);
}

/* -- what came of it ------------------------------------------------------ */

static void sum_words(const struct run *r, const struct eng_info *info,
                      const struct fsck_result *x)
{
    uint64_t used = x->tree_blocks + x->data_blocks;
    char a[TOOL_SIZE_STR], b[TOOL_SIZE_STR], id[CFS_UUID_STR];

    clear_line(r);
    if (x->findings > FSCK_TOLD_MAX)
        printf("... and %" PRIu64 " more\n", x->findings - FSCK_TOLD_MAX);
    if (x->incomplete)
        printf("Parts of the tree cannot be read: what refers to what was "
               "not checked.\n");
    cfs_uuid_print(info->format.brick, id);
    printf("%s: brick %s%s%s\n", r->path, id,
           info->format.label[0] ? ", " : "", info->format.label);
    printf("  %" PRIu64 " inodes: %" PRIu64 " directories, %" PRIu64
           " files, %" PRIu64 " others; %" PRIu64 " names, %" PRIu64
           " orphans\n", x->inodes, x->directories, x->files,
           x->inodes - x->directories - x->files, x->names, x->orphans);
    printf("  %" PRIu64 " dirty inodes, %" PRIu64 " logged operations\n",
           x->dirty, x->oplog);
    printf("  %s in use of %s: %" PRIu64 " blocks of data, %" PRIu64
           " of the tree\n", tool_size(used * CFS_BLOCK, a),
           tool_size(info->blocks * CFS_BLOCK, b), x->data_blocks,
           x->tree_blocks);
    if (r->data)
        printf("  %s of data verified\n",
               tool_size(x->verified * CFS_BLOCK, a));
    if (x->findings == 0)
        printf("%s: clean\n", r->path);
    else
        printf("%s: %" PRIu64 " error%s left uncorrected\n", r->path,
               x->findings, x->findings == 1 ? "" : "s");
}

static void sum_json(const struct run *r, const struct eng_info *info,
                     const struct fsck_result *x)
{
    char id[CFS_UUID_STR];
    json_t *j;

    cfs_uuid_print(info->format.brick, id);
    j = json_pack(
        "{s:o, s:s, s:b, s:b, s:I, s:O, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I, s:I, s:I, s:I}",
        "device", tool_json_path(r->path), "brick", id,
        "clean", x->findings == 0, "incomplete", x->incomplete,
        "errors", (json_int_t)x->findings, "findings", r->findings,
        "inodes", (json_int_t)x->inodes,
        "directories", (json_int_t)x->directories,
        "files", (json_int_t)x->files, "names", (json_int_t)x->names,
        "orphans", (json_int_t)x->orphans, "dirty", (json_int_t)x->dirty,
        "oplog", (json_int_t)x->oplog,
        "blocks", (json_int_t)info->blocks,
        "tree_blocks", (json_int_t)x->tree_blocks,
        "data_blocks", (json_int_t)x->data_blocks,
        "verified_blocks", (json_int_t)x->verified);
    if (!j)
        abort();
    json_dumpf(j, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(j);
}

/* A brick that cannot be opened: damage is a finding, all else is trouble. */
static int not_opened(const struct run *r, int rc, const struct cfs_err *err)
{
    const bool damage = rc == -CFS_E_CORRUPT || rc == -CFS_E_CHECKSUM;
    const char *why = err->text[0] ? err->text : cfs_err_str(rc);

    if (damage && r->json) {
        json_t *j = json_pack("{s:o, s:b, s:b, s:i, s:[{s:s, s:s}]}",
                              "device", tool_json_path(r->path), "clean", 0,
                              "incomplete", 1, "errors", 1, "findings",
                              "kind", "open", "text", why);

        if (!j)
            abort();
        json_dumpf(j, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(j);
    } else if (damage) {
        printf("%s\n%s: 1 error left uncorrected; nothing else could be "
               "checked\n", why, r->path);
    } else {
        fprintf(stderr, PROGRAM ": %s\n", why);
    }
    return damage ? EXIT_ERRORS : EXIT_TROUBLE;
}

/* What the brick counts, its journal included. */
static void learn_counts(const struct ops *ops, struct rec_brick *ret)
{
    struct cfs_brick *b = tool_realloc(NULL, sizeof *b);

    ops_info(ops, b);
    *ret = (struct rec_brick){
        .session_max = b->session_max,
        .inodes = b->inodes,
        .dirty = b->dirty,
        .oplog = b->oplog,
    };
    free(b);
}

/* With the journal, or, when that or what is kept in memory is damaged,
 * without: the rest may be looked at all the same. */
static int open_brick(struct run *r, struct tool_brick *ret,
                      struct cfs_err *err)
{
    struct fsck_finding damage = {.kind = "journal", .text = err->text};
    struct cfs_err again = {0};
    int rc;

    rc = tool_open(r->path, 0, ret, err);
    if (rc != -CFS_E_CORRUPT ||
        tool_open_bare(r->path, 0, NULL, NULL, ret, &again) < 0)
        return rc;
    on_found(r, &damage);
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
        .found = on_found,
        .progress = on_progress,
        .ctx = r,
    };
    struct cfs_err err = {0};
    struct fsck_result result;
    struct rec_brick counts;
    struct tool_brick b;
    struct eng_info info;
    int rc;

    rc = open_brick(r, &b, &err);
    if (rc < 0)
        return not_opened(r, rc, &err);
    if (b.ops) {
        learn_counts(b.ops, &counts);
        config.counts = &counts;
    } else {
        config.journal = true;
    }
    fsck_run(b.loop, b.e, &config, &result);
    result.findings += r->early;
    eng_info(b.e, &info);
    if (r->json)
        sum_json(r, &info, &result);
    else
        sum_words(r, &info, &result);
    tool_close(&b);
    return result.findings > 0 ? EXIT_ERRORS : EXIT_CLEAN;
}

/* -- growth --------------------------------------------------------------- */

static void grown(const struct run *r, uint64_t before, uint64_t after)
{
    char a[TOOL_SIZE_STR], b[TOOL_SIZE_STR];
    json_t *j;

    if (r->json) {
        j = json_pack("{s:o, s:I, s:I, s:b}", "device",
                      tool_json_path(r->path), "before", (json_int_t)before,
                      "after", (json_int_t)after, "changed",
                      before != after && !r->dry);
        if (!j)
            abort();
        json_dumpf(j, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(j);
    } else if (before == after) {
        printf("%s: %s, as large as its device\n", r->path,
               tool_size(before, a));
    } else {
        printf("%s: %s %s to %s\n", r->path,
               r->dry ? "would grow from" : "has grown from",
               tool_size(before, a), tool_size(after, b));
    }
}

/* Only a brick that opens, with its journal, is touched. */
static int grow(struct run *r)
{
    uint64_t before, after;
    struct cfs_err err = {0};
    struct tool_brick b;
    struct cfs_dev *dev;
    int rc;

    rc = tool_open(r->path, 0, &b, &err);
    if (rc < 0)
        return not_opened(r, rc, &err);
    tool_close(&b);
    rc = cfs_dev_open(r->path, r->dry ? CFS_DEV_READ_ONLY : 0, &dev, &err);
    if (rc == 0) {
        rc = eng_grow(dev, r->dry, &before, &after, &err);
        dev->ops->close(dev);
    }
    if (rc < 0) {
        fprintf(stderr, PROGRAM ": %s: %s\n", r->path, err.text);
        return EXIT_TROUBLE;
    }
    grown(r, before, after);
    return EXIT_CLEAN;
}

/* -- the command line ----------------------------------------------------- */

static const char help[] =
    "usage: " PROGRAM " [OPTION...] DEVICE\n"
    "Check a brick that is not in use: every node, record and reference, the\n"
    "space map, and the checksum of every block of data. Nothing is changed,\n"
    "but by --grow.\n"
    "\n"
    "      --no-data   do not read the files' data\n"
    "      --grow      check nothing: make the brick as large as its device,\n"
    "                  which became larger\n"
    "      --json      say in JSON what was found\n"
    "  -n              change nothing\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 clean, 4 errors were found, 8 it could not be checked,\n"
    "16 wrong usage.\n";

enum {
    OPT_NO_DATA = 256,
    OPT_GROW,
    OPT_JSON,
    OPT_REPAIR,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option options[] = {
    {"no-data", no_argument, NULL, OPT_NO_DATA},
    {"grow", no_argument, NULL, OPT_GROW},
    {"json", no_argument, NULL, OPT_JSON},
    {"repair", no_argument, NULL, OPT_REPAIR},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

/* -1: go on; else the exit status. */
static int parse_one(struct run *r, int opt)
{
    switch (opt) {
    case 'n':
        r->dry = true;
        return -1;
    case OPT_GROW:
        r->grow = true;
        return -1;
    case OPT_NO_DATA:
        r->data = false;
        return -1;
    case OPT_JSON:
        r->json = true;
        return -1;
    case OPT_HELP:
        fputs(help, stdout);
        return EXIT_CLEAN;
    case OPT_VERSION:
        puts(PROGRAM " " CFS_VERSION);
        return EXIT_CLEAN;
    case OPT_REPAIR:
    case 'a':
    case 'p':
    case 'y':
        fputs(PROGRAM ": it cannot repair yet: it only finds what is wrong. "
              "A damaged brick of a replicated volume is made anew and "
              "healed from the others.\n", stderr);
        return EXIT_USAGE;
    default:
        fputs(PROGRAM ": see " PROGRAM " --help\n", stderr);
        return EXIT_USAGE;
    }
}

int main(int argc, char **argv)
{
    struct run r = {.data = true, .tty = isatty(STDERR_FILENO)};
    int opt, rc;

    while ((opt = getopt_long(argc, argv, "napy", options, NULL)) != -1) {
        rc = parse_one(&r, opt);
        if (rc >= 0)
            return rc;
    }
    if (argc - optind != 1) {
        fputs(PROGRAM ": one DEVICE; see --help\n", stderr);
        return EXIT_USAGE;
    }
    r.path = argv[optind];
    r.findings = json_array();
    if (!r.findings)
        abort();
    rc = r.grow ? grow(&r) : check(&r);
    json_decref(r.findings);
    if (fflush(stdout) != 0 || ferror(stdout))
        return EXIT_TROUBLE;
    return rc;
}
