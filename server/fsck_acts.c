/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_acts.c - what fsck.clusterfs does beside checking and mending: growth,
 * the superblock from one of its copies, free space given back.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/fsck_cli.h"

/* -- growth --------------------------------------------------------------- */

static void grown(const struct run *r, uint64_t before, uint64_t after)
{
    const bool dry = r->answer == ANSWER_NO;
    char a[TOOL_SIZE_STR], b[TOOL_SIZE_STR];
    json_t *j;

    if (r->json) {
        j = json_pack("{s:o, s:I, s:I, s:b}", "device",
                      tool_json_path(r->path), "before", (json_int_t)before,
                      "after", (json_int_t)after, "changed",
                      before != after && !dry);
        tool_json_show(j);
    } else if (before == after) {
        printf("%s: %s, as large as its device\n", r->path,
               tool_size(before, a));
    } else {
        printf("%s: %s %s to %s\n", r->path,
               dry ? "would grow from" : "has grown from",
               tool_size(before, a), tool_size(after, b));
    }
}

/* Only a brick that opens, with its journal, is touched. */
int cli_grow(struct run *r)
{
    const bool dry = r->answer == ANSWER_NO;
    uint64_t before, after;
    struct cfs_err err = {0};
    struct tool_brick b;
    struct cfs_dev *dev;
    int rc;

    rc = tool_open(r->path, 0, &b, &err);
    if (rc < 0)
        return cli_not_opened(r, rc, &err);
    tool_close(&b);
    rc = cfs_dev_open(r->path, dry ? CFS_DEV_READ_ONLY : 0, &dev, &err);
    if (rc == 0) {
        rc = eng_grow(dev, dry, &before, &after, &err);
        dev->ops->close(dev);
    }
    if (rc < 0)
        return cli_not_opened(r, rc, &err);
    grown(r, before, after);
    return EXIT_CLEAN;
}

/* -- the superblock ------------------------------------------------------- */

static const struct {
    unsigned    bit;
    const char *name, *where;
} copies[] = {
    {ENG_SUPER_FIRST, "first", "at the start"},
    {ENG_SUPER_LAST, "last", "at the end"},
    {ENG_SUPER_SPARE, "spare", "that is spare"},
};

static void restored(const struct run *r, unsigned bad, bool written)
{
    json_t *j, *which = json_array();

    for (size_t i = 0; i < CFS_ARRAY_SIZE(copies); i++)
        if ((bad & copies[i].bit) && r->json)
            json_array_append_new(which, json_string(copies[i].name));
        else if (bad & copies[i].bit)
            printf("%s: the superblock %s %s\n", r->path, copies[i].where,
                   written ? "was lost, and is written anew"
                           : "is lost, and can be written anew");
    if (r->json) {
        j = json_pack("{s:o, s:o, s:b}", "device", tool_json_path(r->path),
                      "lost", which, "changed", written);
        tool_json_show(j);
        return;
    }
    json_decref(which);
    if (bad == 0)
        printf("%s: all superblocks are whole\n", r->path);
}

static bool may_restore(const struct run *r, unsigned bad)
{
    char line[16];

    if (r->answer != ANSWER_ASK)
        return r->answer != ANSWER_NO;
    fprintf(stderr, "%s: write the superblock%s anew, over whatever is there? "
            "[y/N] ", r->path,
            bad & ENG_SUPER_FIRST ? " at the start" : "");
    fflush(stderr);
    return fgets(line, sizeof line, stdin) &&
           (line[0] == 'y' || line[0] == 'Y');
}

int cli_superblock(struct run *r)
{
    const bool dry = r->answer == ANSWER_NO;
    struct cfs_err err = {0};
    struct cfs_dev *dev;
    bool write = false;
    unsigned bad;
    int rc;

    rc = cfs_dev_open(r->path, dry ? CFS_DEV_READ_ONLY : 0, &dev, &err);
    if (rc < 0)
        return cli_not_opened(r, rc, &err);
    rc = eng_restore(dev, true, &bad, &err);
    if (rc == 0) {
        bad &= ~ENG_SUPER_OLD;
        write = bad != 0 && may_restore(r, bad);
    }
    if (write)
        rc = eng_restore(dev, false, &bad, &err);
    dev->ops->close(dev);
    if (rc < 0) {
        cfs_err_wrap(&err, "%s", r->path);
        return cli_not_opened(r, rc, &err);
    }
    restored(r, bad, write);
    return bad == 0 ? EXIT_CLEAN : write ? EXIT_MENDED : EXIT_ERRORS;
}

/* -- free space ----------------------------------------------------------- */

static void on_discard(void *ctx, uint64_t done, uint64_t of)
{
    cli_progress(ctx, "parts of the free space", done, of);
}

int cli_discard(struct run *r, struct eng *e)
{
    int rc = eng_discard_free(e, r->answer == ANSWER_NO, on_discard, r,
                              &r->discarded);

    if (rc == 0)
        return EXIT_CLEAN;
    r->discard = false;
    cli_clear(r);
    fprintf(stderr, PROGRAM ": %s: free space cannot be given back: %s\n",
            r->path, cfs_err_str(rc));
    return EXIT_TROUBLE;
}
