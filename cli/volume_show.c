/* SPDX-License-Identifier: Apache-2.0 */
/* volume_show.c - clusterfs volume list|info|status: what mgmtd tells of
 * volumes (an array, or the object of one), in words and tables. What is
 * missing in it is left out or shown as "-": mgmtd may be of another version.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "cli/table.h"

/* -- looking into JSON ---------------------------------------------------- */

static bool has(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return v && !json_is_null(v);
}

static void put_number(struct table *t, const json_t *o, const char *key)
{
    if (has(o, key))
        table_put_number(t, cli_num(o, key));
    else
        table_put(t, NULL);
}

static void put_size(struct table *t, const json_t *o, const char *key)
{
    if (has(o, key))
        table_put_size(t, cli_num(o, key));
    else
        table_put(t, NULL);
}

/* @before is ours; @text came from outside. */
static void print_text(FILE *out, const char *before, const char *text)
{
    char *safe = safe_text(text);

    fprintf(out, "%s%s", before, safe);
    free(safe);
}

/* @show each volume in @answer, with an empty line between them. */
static void each(FILE *out, const json_t *answer,
                 void (*show)(FILE *, const json_t *))
{
    const json_t *vol;
    size_t i;

    if (json_is_object(answer)) {
        show(out, answer);
        return;
    }
    if (json_array_size(answer) == 0)
        fprintf(out, "There are no volumes.\n");
    json_array_foreach(answer, i, vol) {
        if (i > 0)
            putc('\n', out);
        show(out, vol);
    }
}

/* -- list ----------------------------------------------------------------- */

static void put_listed(struct table *t, const json_t *vol)
{
    table_put(t, cli_str(vol, "name"));
    table_put(t, cli_str(vol, "state"));
    put_number(t, vol, "replica");
    put_number(t, vol, "bricks");
}

void cli_list_show(FILE *out, const json_t *answer)
{
    struct table *t = table_new(
        (const char *const[]){"VOLUME", "STATE", ">REPLICA", ">BRICKS", NULL});
    const json_t *vol;
    size_t i;

    if (json_is_array(answer) && json_array_size(answer) == 0)
        fprintf(out, "There are no volumes.\n");
    if (json_is_object(answer))
        put_listed(t, answer);
    json_array_foreach(answer, i, vol)
        put_listed(t, vol);
    table_print(t, out, 0);
    table_free(t);
}

/* -- info ----------------------------------------------------------------- */

static void print_created(FILE *out, const json_t *vol)
{
    time_t at = (time_t)cli_num(vol, "created");
    char text[64];
    struct tm tm;

    if (at == 0 || !localtime_r(&at, &tm) ||
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &tm) == 0)
        return;
    fprintf(out, "  created     %s\n", text);
}

static void print_options(FILE *out, const json_t *vol)
{
    json_t *options = json_object_get(vol, "options"), *value;
    const char *key;

    json_object_foreach(options, key, value) {
        const char *text = json_string_value(value);

        print_text(out, "  option      ", key);
        print_text(out, " = ", text ? text : "?");
        putc('\n', out);
    }
}

static void info_one(FILE *out, const json_t *vol)
{
    struct table *t = table_new(
        (const char *const[]){"BRICK", ">SIZE", "ID", NULL});
    const json_t *b;
    size_t i;

    print_text(out, "Volume ", cli_str(vol, "name"));
    print_text(out, "\n  state       ", cli_str(vol, "state"));
    fprintf(out, "\n  replica     %" PRIu64 "\n", cli_num(vol, "replica"));
    print_text(out, "  id          ", cli_str(vol, "id"));
    fprintf(out, "\n  generation  %" PRIu64 "\n", cli_num(vol, "generation"));
    print_created(out, vol);
    print_options(out, vol);
    json_array_foreach(json_object_get(vol, "bricks"), i, b) {
        table_put(t, cli_str(b, "brick"));
        put_size(t, b, "size");
        table_put(t, cli_str(b, "id"));
    }
    table_print(t, out, 2);
    table_free(t);
}

void cli_info_show(FILE *out, const json_t *answer)
{
    each(out, answer, info_one);
}

/* -- status --------------------------------------------------------------- */

static bool is_started(const json_t *vol)
{
    return strcmp(cli_str(vol, "state"), "started") == 0;
}

/* "Volume v: started, replica 3; epoch 4, 3 in sync" */
static void print_heading(FILE *out, const json_t *vol)
{
    const json_t *view = json_object_get(vol, "view");

    print_text(out, "Volume ", cli_str(vol, "name"));
    print_text(out, ": ", cli_str(vol, "state"));
    fprintf(out, ", replica %" PRIu64, cli_num(vol, "replica"));
    if (is_started(vol) && json_is_object(view)) {
        fprintf(out, "; epoch %" PRIu64 ", %" PRIu64 " in sync",
                cli_num(view, "epoch"), cli_num(view, "in_sync"));
        if (json_is_false(json_object_get(view, "settled")))
            fprintf(out, ", not settled yet");
    }
    putc('\n', out);
    if (*cli_str(vol, "problem")) {
        print_text(out, "  PROBLEM: ", cli_str(vol, "problem"));
        putc('\n', out);
    }
}

static void print_bricks(FILE *out, const json_t *bricks)
{
    struct table *t = table_new((const char *const[]){
        "BRICK", "STATE", ">PID", ">PORT", ">FREE", ">SIZE", NULL});
    const json_t *b;
    size_t i;

    json_array_foreach(bricks, i, b) {
        table_put(t, cli_str(b, "brick"));
        table_put(t, cli_str(b, "state"));
        put_number(t, b, "pid");
        put_number(t, b, "port");
        put_size(t, b, "free");
        put_size(t, b, has(b, "total") ? "total" : "size");
    }
    table_print(t, out, 2);
    table_free(t);
    json_array_foreach(bricks, i, b) {
        if (!*cli_str(b, "reason"))
            continue;
        print_text(out, "  ", cli_str(b, "brick"));
        print_text(out, " is ", cli_str(b, "state"));
        print_text(out, ": ", cli_str(b, "reason"));
        if (*cli_str(b, "log"))
            print_text(out, "\n    log: ", cli_str(b, "log"));
        putc('\n', out);
    }
}

static void print_clients(FILE *out, const json_t *clients)
{
    struct table *t = table_new((const char *const[]){
        "CLIENT", "WHERE", ">PID", ">SESSION", "HOST", "STATE", NULL});
    const json_t *c;
    size_t i;

    json_array_foreach(clients, i, c) {
        table_put(t, cli_str(c, "service"));
        table_put(t, cli_str(c, "where"));
        put_number(t, c, "pid");
        put_number(t, c, "session");
        table_put(t, cli_str(c, "host"));
        table_put(t, cli_str(c, "state"));
    }
    if (json_array_size(clients) == 0)
        fprintf(out, "  no clients\n");
    table_print(t, out, 2);
    table_free(t);
}

static void print_space(FILE *out, const json_t *space)
{
    char free_text[SIZE_TEXT], total_text[SIZE_TEXT];

    if (!json_is_object(space))
        return;
    fprintf(out, "  %s free of %s",
            size_text(cli_num(space, "free"), free_text),
            size_text(cli_num(space, "total"), total_text));
    if (has(space, "inodes"))
        fprintf(out, ", %" PRIu64 " inodes", cli_num(space, "inodes"));
    putc('\n', out);
}

static void status_one(FILE *out, const json_t *vol)
{
    print_heading(out, vol);
    print_bricks(out, json_object_get(vol, "bricks"));
    if (!is_started(vol))
        return;
    print_clients(out, json_object_get(vol, "clients"));
    print_space(out, json_object_get(vol, "space"));
}

void cli_status_show(FILE *out, const json_t *answer)
{
    each(out, answer, status_one);
}
