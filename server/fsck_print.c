/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_print.c - what fsck.clusterfs prints: progress, findings, and what came
 * of it. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "server/fsck_cli.h"

/* -- progress ------------------------------------------------------------- */

void cli_clear(const struct run *r)
{
    if (r->bar)
        fputs("\r\033[K", stderr);
}

static void draw(const struct run *r, uint64_t done, uint64_t of)
{
    cli_clear(r);
    if (of > 0 && done <= of)
        fprintf(stderr, "%s: %" PRIu64 " of %" PRIu64 " (%" PRIu64 "%%)",
                r->what, done, of, done * 100 / of);
    else
        fprintf(stderr, "%s: %" PRIu64, r->what, done);
    fflush(stderr);
}

void cli_progress(void *ctx, const char *what, uint64_t done, uint64_t of)
{
    struct run *r = ctx;
    const bool next = r->what != what;
    struct timespec now;
    uint64_t tick;

    clock_gettime(CLOCK_MONOTONIC, &now);
    tick = (uint64_t)now.tv_sec * 5 + (uint64_t)now.tv_nsec / 200000000;
    if (tick == r->told && !next)
        return;
    r->told = tick;
    r->what = what;
    r->pass += next;
    if (r->bar)
        draw(r, done, of);
    /* As e2fsck: pass, done, all, device. */
    if (r->fd >= 0)
        dprintf(r->fd, "%u %" PRIu64 " %" PRIu64 " %s\n", r->pass, done,
                of > done ? of : done, r->path);
}

/* -- findings ------------------------------------------------------------- */

static void found_json(json_t *all, const struct fsck_finding *f,
                       const char *gfid)
{
    json_t *j = json_pack("{s:s, s:s?, s:s?, s:s}", "kind", f->kind, "gfid",
                          gfid, "path", f->path, "text", f->text);

    if (!j || json_array_append_new(all, j) < 0)
        abort();
}

void cli_found(void *ctx, const struct fsck_finding *f)
{
    bool inode = !cfs_gfid_is_null(f->gfid);
    struct run *r = ctx;
    char gfid[CFS_UUID_STR];

    cfs_gfid_print(f->gfid, gfid);
    if (r->json) {
        found_json(f->known ? r->known : r->findings, f, inode ? gfid : NULL);
        return;
    }
    cli_clear(r);
    if (f->known)
        fputs("known: ", stdout);
    if (!inode)
        printf("%s\n", f->text);
    else if (f->path)
        printf("%s (inode %s): %s\n", f->path, gfid, f->text);
    else
        printf("inode %s: %s\n", gfid, f->text);
}

/* -- what came of it ------------------------------------------------------ */

/* Errors that are still there. */
static uint64_t left(const struct fsck_result *x,
                     const struct fsck_repair_result *repair)
{
    return repair && repair->mended ? 0 : x->findings;
}

static void count_words(const struct run *r, const struct eng_info *info,
                        const struct fsck_result *x)
{
    uint64_t used = x->tree_blocks + x->data_blocks;
    char a[TOOL_SIZE_STR], b[TOOL_SIZE_STR];

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
    if (x->lost_files > 0)
        printf("  %" PRIu64 " file%s could not be saved as a whole in a "
               "repair\n", x->lost_files, x->lost_files == 1 ? "" : "s");
}

static void sum_words(const struct run *r, const struct eng_info *info,
                      const struct fsck_result *x,
                      const struct fsck_repair_result *repair)
{
    uint64_t errors = left(x, repair);
    char id[CFS_UUID_STR], a[TOOL_SIZE_STR];

    cli_clear(r);
    if (x->findings > FSCK_TOLD_MAX)
        printf("... and %" PRIu64 " more\n", x->findings - FSCK_TOLD_MAX);
    if (x->incomplete && !repair)
        printf("Parts of the tree cannot be read: what refers to what was "
               "not checked.\n");
    cfs_uuid_print(info->format.brick, id);
    printf("%s: brick %s%s%s\n", r->path, id,
           info->format.label[0] ? ", " : "", info->format.label);
    count_words(r, info, x);
    if (r->discard && x->findings == 0)
        printf("  %s of free space %s\n", tool_size(r->discarded, a),
               r->answer == ANSWER_NO ? "can be given back" : "given back");
    else if (r->discard)
        printf("Free space is not given back while something is wrong.\n");
    if (errors > 0)
        printf("%s: %" PRIu64 " error%s left uncorrected\n", r->path, errors,
               errors == 1 ? "" : "s");
    else if (x->findings > 0)
        printf("%s: %" PRIu64 " error%s corrected\n", r->path, x->findings,
               x->findings == 1 ? "" : "s");
    else
        printf("%s: clean\n", r->path);
}

static json_t *repair_json(const struct fsck_repair_result *x)
{
    if (!x)
        return json_null();
    return json_pack("{s:b, s:b, s:b, s:i, s:I, s:I}",
                     "written", x->mended, "changed", x->changed,
                     "lost", x->lost, "rounds", (int)x->rounds,
                     "fixes", (json_int_t)x->fixes,
                     "lost_files", (json_int_t)x->last.lost_files);
}

static void sum_json(const struct run *r, const struct eng_info *info,
                     const struct fsck_result *x,
                     const struct fsck_repair_result *repair)
{
    char id[CFS_UUID_STR];
    json_t *j;

    cfs_uuid_print(info->format.brick, id);
    j = json_pack(
        "{s:o, s:s, s:b, s:b, s:I, s:O, s:O, s:o, s:I, s:I, s:I, s:I, s:I, "
        "s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
        "device", tool_json_path(r->path), "brick", id,
        "clean", left(x, repair) == 0, "incomplete", x->incomplete,
        "errors", (json_int_t)x->findings, "findings", r->findings,
        "known", r->known, "repair", repair_json(repair),
        "inodes", (json_int_t)x->inodes,
        "directories", (json_int_t)x->directories,
        "files", (json_int_t)x->files, "names", (json_int_t)x->names,
        "orphans", (json_int_t)x->orphans, "dirty", (json_int_t)x->dirty,
        "oplog", (json_int_t)x->oplog,
        "blocks", (json_int_t)info->blocks,
        "tree_blocks", (json_int_t)x->tree_blocks,
        "data_blocks", (json_int_t)x->data_blocks,
        "verified_blocks", (json_int_t)x->verified,
        "lost_files", (json_int_t)x->lost_files,
        "discarded_bytes", (json_int_t)r->discarded);
    tool_json_show(j);
}

void cli_sum(const struct run *r, const struct eng_info *info,
             const struct fsck_result *x,
             const struct fsck_repair_result *repair)
{
    (r->json ? sum_json : sum_words)(r, info, x, repair);
}

int cli_not_opened(const struct run *r, int rc, const struct cfs_err *err)
{
    const bool damage = rc == -CFS_E_CORRUPT || rc == -CFS_E_CHECKSUM ||
                        rc == -EUCLEAN;
    const char *why = err->text[0] ? err->text : cfs_err_str(rc);

    if (r->json) {
        json_t *j = damage ? json_pack("{s:o, s:b, s:b, s:i, "
                                       "s:[{s:s, s:n, s:n, s:s}], s:[], s:n}",
                                       "device", tool_json_path(r->path),
                                       "clean", 0, "incomplete", 1, "errors",
                                       1, "findings", "kind", "open", "gfid",
                                       "path", "text", why, "known", "repair")
                           : json_pack("{s:o, s:s}", "device",
                                       tool_json_path(r->path), "trouble",
                                       why);

        tool_json_show(j);
    }
    if (damage && !r->json) {
        printf("%s\n%s: 1 error left uncorrected; nothing else could be "
               "checked%s\n", why, r->path,
               r->repair || r->superblock || r->grow
                   ? "" : "; --repair -n says what can be done");
    } else if (!damage) {
        fprintf(stderr, PROGRAM ": %s%s\n", why,
                rc == -EBUSY ? "; stop the volume, or the brick, first" : "");
    }
    return damage ? EXIT_ERRORS : EXIT_TROUBLE;
}
