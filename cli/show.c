/* SPDX-License-Identifier: Apache-2.0 */
/* show.c - what mgmtd answers, for people. Whatever is missing in it is shown
 * as "-": a newer or older mgmtd may say more or less. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

static const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static const char *str_or_dash(const json_t *o, const char *key)
{
    const char *s = str(o, key);

    return *s ? s : "-";
}

static uint64_t num(const json_t *o, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(o, key));
}

#define NUM_STR 24

/* A number, or "-" when there is none. */
static const char *num_str(const json_t *o, const char *key,
                           char ret[static NUM_STR])
{
    if (!json_is_integer(json_object_get(o, key)))
        return "-";
    snprintf(ret, NUM_STR, "%" PRIu64, num(o, key));
    return ret;
}

static const char *time_str(uint64_t sec, char ret[static SIZE_STR])
{
    time_t t = (time_t)sec;
    struct tm tm;

    if (sec == 0 || !localtime_r(&t, &tm) ||
        strftime(ret, SIZE_STR, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        return "-";
    return ret;
}

/* -- verbs that do ------------------------------------------------------------- */

void show_created(FILE *out, const json_t *r, const struct cli_words *w)
{
    fprintf(out, "Volume %s is made. To start it: clusterfs volume start %s\n",
            str(r, "name"), str(r, "name"));
}

void show_started(FILE *out, const json_t *r, const struct cli_words *w)
{
    const json_t *list = json_object_get(r, "warnings");

    fprintf(out, "Volume %s is started.\n", str(r, "name"));
    for (size_t i = 0; i < json_array_size(list); i++)
        fprintf(stderr, "clusterfs: warning: %s\n",
                json_string_value(json_array_get(list, i)));
}

void show_stopped(FILE *out, const json_t *r, const struct cli_words *w)
{
    fprintf(out, "Volume %s is stopped.\n", str(r, "name"));
}

void show_deleted(FILE *out, const json_t *r, const struct cli_words *w)
{
    const json_t *list = json_object_get(r, "bricks");

    fprintf(out, "Volume %s is deleted. What its bricks held is still there:\n",
            str(r, "name"));
    for (size_t i = 0; i < json_array_size(list); i++)
        fprintf(out, "  %s\n", json_string_value(json_array_get(list, i)));
}

/* -- list, info ----------------------------------------------------------------- */

void show_list(FILE *out, const json_t *r, const struct cli_words *w)
{
    static const char *const head[] = {"NAME", "STATE", "REPLICA"};
    struct table *t;

    if (json_array_size(r) == 0) {
        fputs("There are no volumes. To make one: clusterfs volume create "
              "--help\n", out);
        return;
    }
    t = table_new(3);
    table_row(t, head, 3);
    for (size_t i = 0; i < json_array_size(r); i++) {
        const json_t *v = json_array_get(r, i);
        char replica[NUM_STR];
        const char *const cell[] = {str(v, "name"), str(v, "state"),
                                    num_str(v, "replica", replica)};

        table_row(t, cell, 3);
    }
    table_print(out, t, "");
    table_free(t);
}

/* Call @show for the one, or for each with an empty line between. */
static void each(FILE *out, const json_t *r,
                 void (*show)(FILE *out, const json_t *v))
{
    if (!json_is_array(r)) {
        show(out, r);
        return;
    }
    if (json_array_size(r) == 0)
        fputs("There are no volumes.\n", out);
    for (size_t i = 0; i < json_array_size(r); i++) {
        if (i > 0)
            fputc('\n', out);
        show(out, json_array_get(r, i));
    }
}

static void info(FILE *out, const json_t *v)
{
    const json_t *bricks = json_object_get(v, "bricks");
    const json_t *options = json_object_get(v, "options"), *value;
    char buf[SIZE_STR];
    const char *key;

    fprintf(out, "Volume %s\n", str(v, "name"));
    fprintf(out, "  state       %s\n", str(v, "state"));
    fprintf(out, "  id          %s\n", str(v, "id"));
    fprintf(out, "  made        %s\n", time_str(num(v, "created"), buf));
    fprintf(out, "  generation  %" PRIu64 "\n", num(v, "generation"));
    fprintf(out, "  replica     %" PRIu64 "\n", num(v, "replica"));
    for (size_t i = 0; i < json_array_size(bricks); i++) {
        const json_t *b = json_array_get(bricks, i);

        fprintf(out, "  brick %zu     %s  (%s)\n", i + 1, str(b, "brick"),
                size_str(num(b, "size"), buf));
    }
    json_object_foreach((json_t *)(uintptr_t)options, key, value)
        fprintf(out, "  option      %s = %s\n", key, json_string_value(value));
}

void show_info(FILE *out, const json_t *r, const struct cli_words *w)
{
    each(out, r, info);
}

/* -- status ----------------------------------------------------------------------- */

static void status_bricks(FILE *out, const json_t *bricks)
{
    static const char *const head[] = {"BRICK", "STATE", "PID", "PORT",
                                       "FREE",  "OF",    "EPOCH"};
    struct table *t = table_new(7);

    table_row(t, head, 7);
    for (size_t i = 0; i < json_array_size(bricks); i++) {
        const json_t *b = json_array_get(bricks, i);
        char pid[NUM_STR], port[NUM_STR], epoch[NUM_STR];
        char freed[SIZE_STR], total[SIZE_STR];
        bool known = json_object_get(b, "total") != NULL;
        const char *const cell[] = {
            str(b, "brick"),
            str(b, "state"),
            num_str(b, "pid", pid),
            num_str(b, "port", port),
            known ? size_str(num(b, "free"), freed) : "-",
            known ? size_str(num(b, "total"), total) : "-",
            num_str(b, "epoch", epoch),
        };

        table_row(t, cell, 7);
    }
    table_print(out, t, "  ");
    table_free(t);
    for (size_t i = 0; i < json_array_size(bricks); i++) {
        const json_t *b = json_array_get(bricks, i);

        if (*str(b, "reason"))
            fprintf(out, "  %s: %s\n", str(b, "brick"), str(b, "reason"));
    }
}

static void status_clients(FILE *out, const json_t *clients)
{
    static const char *const head[] = {"CLIENT", "PID", "SESSION", "WHERE",
                                       "STATE"};
    struct table *t;

    if (json_array_size(clients) == 0) {
        fputs("  not mounted\n", out);
        return;
    }
    t = table_new(5);
    table_row(t, head, 5);
    for (size_t i = 0; i < json_array_size(clients); i++) {
        const json_t *c = json_array_get(clients, i);
        char pid[NUM_STR], session[NUM_STR];
        const char *const cell[] = {
            str(c, "host"), num_str(c, "pid", pid),
            num_str(c, "session", session), str_or_dash(c, "where"),
            str(c, "state"),
        };

        table_row(t, cell, 5);
    }
    table_print(out, t, "  ");
    table_free(t);
}

static void status(FILE *out, const json_t *v)
{
    const json_t *view = json_object_get(v, "view");
    const json_t *space = json_object_get(v, "space");
    char a[SIZE_STR], b[SIZE_STR];

    fprintf(out, "Volume %s is %s", str(v, "name"), str(v, "state"));
    if (json_is_object(view))
        fprintf(out, "; epoch %" PRIu64 ", %" PRIu64 " of %" PRIu64
                " bricks in sync (%s)", num(view, "epoch"),
                num(view, "in_sync"), num(v, "replica"), str(view, "why"));
    fputc('\n', out);
    if (*str(v, "problem"))
        fprintf(out, "  PROBLEM: %s\n", str(v, "problem"));
    if (json_is_object(space))
        fprintf(out, "  %s free of %s\n", size_str(num(space, "free"), a),
                size_str(num(space, "total"), b));
    status_bricks(out, json_object_get(v, "bricks"));
    status_clients(out, json_object_get(v, "clients"));
}

void show_status(FILE *out, const json_t *r, const struct cli_words *w)
{
    each(out, r, status);
}
