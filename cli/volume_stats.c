/* SPDX-License-Identifier: Apache-2.0 */
/* volume_stats.c - clusterfs volume profile|top|statedump: what the bricks
 * counted, and where they wrote their state.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>

#include "cli/table.h"
#include "core/opt.h"

#define SHOWN 20u /* inodes, operations: what fits onto a screen */

int cli_profile_args(const struct cli_line *l, json_t *args,
                     struct cfs_err *err)
{
    static const char *const actions[] = {"start", "info", "stop", NULL};
    const char *near;
    int rc = cfs_volume_name_check(l->word[0], err);

    for (unsigned i = 0; rc == 0 && actions[i]; i++) {
        if (strcmp(l->word[1], actions[i]) != 0)
            continue;
        json_object_set_new(args, "name", json_string(l->word[0]));
        json_object_set_new(args, "action", json_string(l->word[1]));
        return 0;
    }
    if (rc < 0)
        return rc;
    near = cfs_nearest(l->word[1], actions);
    return cfs_err_set(err, -EINVAL, "'%s': expected start, info or stop%s%s%s",
                       l->word[1], near ? "; do you mean '" : "",
                       near ? near : "", near ? "'?" : "");
}

/* -- looking into JSON ---------------------------------------------------- */

static void print_text(FILE *out, const char *before, const char *text)
{
    char *safe = safe_text(text);

    fprintf(out, "%s%s", before, safe);
    free(safe);
}

/* -- profile -------------------------------------------------------------- */

/* Microseconds, as they are read best. */
static void put_time(struct table *t, const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    double us = json_number_value(v);
    char text[32];

    if (!json_is_number(v)) {
        table_put(t, NULL);
        return;
    }
    if (us < 1000)
        snprintf(text, sizeof text, "%.0f us", us);
    else if (us < 1e6)
        snprintf(text, sizeof text, "%.1f ms", us / 1e3);
    else
        snprintf(text, sizeof text, "%.1f s", us / 1e6);
    table_put(t, text);
}

static void put_fop(struct table *t, const char *name, const json_t *o)
{
    table_put(t, name);
    table_put_number(t, cli_num(o, "count"));
    table_put_number(t, cli_num(o, "errors"));
    table_put_size(t, cli_num(o, "bytes"));
    put_time(t, o, "min_us");
    put_time(t, o, "mean_us");
    put_time(t, o, "p50_us");
    put_time(t, o, "p99_us");
    put_time(t, o, "max_us");
}

static void show_brick(FILE *out, const json_t *b)
{
    struct table *t = table_new((const char *const[]){
        "OPERATION", ">COUNT", ">ERRORS", ">BYTES", ">MIN", ">AVERAGE",
        ">P50 <", ">P99 <", ">MAX", NULL});
    json_t *fops = json_object_get(b, "fops"), *o;
    const char *name;

    print_text(out, "Brick ", cli_str(b, "brick"));
    if (*cli_str(b, "error")) {
        print_text(out, ": ", cli_str(b, "error"));
        putc('\n', out);
    } else {
        fprintf(out, ", %.1f s, %" PRIu64 " in flight\n",
                json_number_value(json_object_get(b, "seconds")),
                cli_num(b, "in_flight"));
    }
    json_object_foreach(fops, name, o)
        put_fop(t, name, o);
    table_print(t, out, 2);
    table_free(t);
}

void cli_profile_show(FILE *out, const json_t *answer)
{
    const char *what = cli_str(answer, "profile");
    const json_t *b;
    size_t i;

    if (*what) {
        print_text(out, "Profiling of volume ", cli_str(answer, "name"));
        fprintf(out, " is %s.\n",
                strcmp(what, "started") == 0 ? "started: figures count from "
                                               "now" : "stopped");
    }
    json_array_foreach(json_object_get(answer, "bricks"), i, b)
        if (!*what || *cli_str(b, "error"))
            show_brick(out, b);
}

/* -- top ------------------------------------------------------------------ */

static void show_fops(FILE *out, const json_t *fops)
{
    struct table *t = table_new((const char *const[]){
        "OPERATION", ">COUNT", ">ERRORS", ">BYTES", NULL});
    const json_t *o;
    size_t i;

    json_array_foreach(fops, i, o) {
        if (i == SHOWN)
            break;
        table_put(t, cli_str(o, "operation"));
        table_put_number(t, cli_num(o, "count"));
        table_put_number(t, cli_num(o, "errors"));
        table_put_size(t, cli_num(o, "bytes"));
    }
    table_print(t, out, 0);
    table_free(t);
}

static void show_inodes(FILE *out, const json_t *inodes)
{
    struct table *t = table_new((const char *const[]){
        ">INODE", ">READS", ">CHANGES", ">READ", ">WRITTEN", ">IN", "NAME",
        NULL});
    const json_t *o;
    size_t i;

    json_array_foreach(inodes, i, o) {
        if (i == SHOWN)
            break;
        table_put_number(t, cli_num(o, "inode"));
        table_put_number(t, cli_num(o, "reads"));
        table_put_number(t, cli_num(o, "changes"));
        table_put_size(t, cli_num(o, "read"));
        table_put_size(t, cli_num(o, "written"));
        if (json_object_get(o, "parent"))
            table_put_number(t, cli_num(o, "parent"));
        else
            table_put(t, NULL);
        table_put(t, cli_str(o, "name"));
    }
    table_print(t, out, 0);
    table_free(t);
}

void cli_top_show(FILE *out, const json_t *answer)
{
    const json_t *b;
    size_t i;

    if (json_array_size(json_object_get(answer, "operations")) == 0)
        fprintf(out, "Nothing has happened yet.\n");
    show_fops(out, json_object_get(answer, "operations"));
    if (json_array_size(json_object_get(answer, "inodes")) > 0)
        putc('\n', out);
    show_inodes(out, json_object_get(answer, "inodes"));
    json_array_foreach(json_object_get(answer, "silent"), i, b)
        show_brick(out, b);
}

/* -- statedump ------------------------------------------------------------ */

void cli_statedump_show(FILE *out, const json_t *answer)
{
    const json_t *b;
    size_t i;

    json_array_foreach(json_object_get(answer, "bricks"), i, b) {
        print_text(out, "", cli_str(b, "brick"));
        print_text(out, ": ", *cli_str(b, "error") ? cli_str(b, "error")
                                               : cli_str(b, "file"));
        putc('\n', out);
    }
}
