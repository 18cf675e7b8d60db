/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - tables and sizes for people. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>

struct table {
    unsigned columns;
    unsigned n;
    char  ***row;
};

static void *ok(void *p)
{
    if (!p)
        abort(); /* out of memory */
    return p;
}

struct table *table_new(unsigned columns)
{
    struct table *t = ok(calloc(1, sizeof *t));

    t->columns = columns;
    return t;
}

void table_row(struct table *t, const char *const *cell, unsigned n)
{
    char **row = ok(calloc(t->columns, sizeof *row));

    for (unsigned i = 0; i < t->columns; i++)
        row[i] = ok(strdup(i < n && cell[i] ? cell[i] : ""));
    t->row = ok(reallocarray(t->row, t->n + 1, sizeof *t->row));
    t->row[t->n++] = row;
}

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static unsigned width(const char *s)
{
    unsigned n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void table_print(FILE *out, const struct table *t, const char *indent)
{
    unsigned *wide = ok(calloc(t->columns, sizeof *wide));

    for (unsigned r = 0; r < t->n; r++)
        for (unsigned i = 0; i < t->columns; i++)
            if (width(t->row[r][i]) > wide[i])
                wide[i] = width(t->row[r][i]);
    for (unsigned r = 0; r < t->n; r++) {
        unsigned last = t->columns;

        while (last > 1 && !*t->row[r][last - 1])
            last--;
        fputs(indent, out);
        for (unsigned i = 0; i < last; i++) {
            fputs(t->row[r][i], out);
            if (i + 1 < last)
                fprintf(out, "%*s", (int)(wide[i] - width(t->row[r][i]) + 2),
                        "");
        }
        fputc('\n', out);
    }
    free(wide);
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (unsigned r = 0; r < t->n; r++) {
        for (unsigned i = 0; i < t->columns; i++)
            free(t->row[r][i]);
        free(t->row[r]);
    }
    free(t->row);
    free(t);
}

const char *size_str(uint64_t bytes, char ret[static SIZE_STR])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB",
                                        "TiB",   "PiB", "EiB"};
    double n = (double)bytes;
    unsigned u = 0;

    while (n >= 1024 && u + 1 < CFS_ARRAY_SIZE(units)) {
        n /= 1024;
        u++;
    }
    if (u == 0)
        snprintf(ret, SIZE_STR, "%" PRIu64 " bytes", bytes);
    else
        snprintf(ret, SIZE_STR, n < 9.95 ? "%.1f %s" : "%.0f %s", n,
                 units[u]);
    return ret;
}
