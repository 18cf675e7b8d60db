/* SPDX-License-Identifier: Apache-2.0 */
/* report.c - figures as they come, the table's end, JSON; distributions. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/store/store.h"

void *need(void *p)
{
    if (!p) {
        fprintf(stderr, "store: out of memory\n");
        abort();
    }
    return p;
}

/* -- distributions --------------------------------------------------------- */

/* Steps of a hundredth from 100 ns on. */
#define TIMES_BASE 100.0
#define TIMES_LOG  0.00995 /* ln 1.01 */

void times_add(struct times *t, uint64_t ns)
{
    double at = ns <= 100 ? 0 : log((double)ns / TIMES_BASE) / TIMES_LOG;
    unsigned i = at < TIMES_STEPS - 1 ? (unsigned)at : TIMES_STEPS - 1;

    t->count[i]++;
    t->n++;
    if (ns > t->max)
        t->max = ns;
}

uint64_t times_at(const struct times *t, double q)
{
    uint64_t upto = (uint64_t)(q * (double)t->n), seen = 0;

    for (unsigned i = 0; i < TIMES_STEPS; i++) {
        seen += t->count[i];
        if (seen > upto)
            return (uint64_t)(TIMES_BASE * exp((i + 0.5) * TIMES_LOG));
    }
    return t->max;
}

void times_join(struct times *to, const struct times *t)
{
    for (unsigned i = 0; i < TIMES_STEPS; i++)
        to->count[i] += t->count[i];
    to->n += t->n;
    if (t->max > to->max)
        to->max = t->max;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, by_value);
    return v[n / 2];
}

/* -- figures --------------------------------------------------------------- */

void report_part(struct report *r, const char *part)
{
    r->part = part;
    printf("\n%s\n", part);
}

static bool is_met(const struct figure *f)
{
    return f->kind == AIM_MIN ? f->value >= f->aim : f->value <= f->aim;
}

void report_aim(struct report *r, const char *name, double value,
                const char *unit, enum aim kind, double aim)
{
    struct figure *f;

    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 64;
        r->v = need(realloc(r->v, r->cap * sizeof *r->v));
    }
    f = &r->v[r->n++];
    *f = (struct figure){.part = r->part, .value = value, .unit = unit,
                         .kind = kind, .aim = aim};
    snprintf(f->name, sizeof f->name, "%s", name);
    printf("  %-46s %12.*f %-6s", name, value < 10 ? 3 : value < 1000 ? 1 : 0,
           value, unit);
    if (kind != AIM_NONE)
        printf(" %s %g: %s", kind == AIM_MIN ? "at least" : "at most", aim,
               is_met(f) ? "yes" : "NO");
    printf("\n");
    fflush(stdout);
}

void report_add(struct report *r, const char *name, double value,
                const char *unit)
{
    report_aim(r, name, value, unit, AIM_NONE, 0);
}

static void write_json(const struct report *r, const char *path)
{
    FILE *f = fopen(path, "w");

    if (!f)
        die(path, -errno, NULL);
    fprintf(f, "[\n");
    for (size_t i = 0; i < r->n; i++) {
        const struct figure *g = &r->v[i];

        fprintf(f, "  {\"part\": \"%s\", \"name\": \"%s\", \"value\": %.9g, "
                "\"unit\": \"%s\"", g->part, g->name, g->value, g->unit);
        if (g->kind != AIM_NONE)
            fprintf(f, ", \"%s\": %.9g, \"met\": %s",
                    g->kind == AIM_MIN ? "at_least" : "at_most", g->aim,
                    is_met(g) ? "true" : "false");
        fprintf(f, "}%s\n", i + 1 < r->n ? "," : "");
    }
    fprintf(f, "]\n");
    if (fclose(f) != 0)
        die(path, -errno, NULL);
}

void report_end(const struct report *r, const char *json)
{
    unsigned aims = 0, met = 0;

    for (size_t i = 0; i < r->n; i++) {
        if (r->v[i].kind == AIM_NONE)
            continue;
        aims++;
        met += is_met(&r->v[i]);
    }
    printf("\n%u of %u aims met\n", met, aims);
    if (json)
        write_json(r, json);
}

void report_free(struct report *r)
{
    free(r->v);
}
