/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - text for people; see table.h. */
#include "cli/table.h"

#include <inttypes.h>
#include <stdlib.h>

struct table {
    unsigned    n_columns;
    const char *head[TABLE_COLUMNS_MAX]; /* without the '>' */
    bool        right[TABLE_COLUMNS_MAX];
    size_t      width[TABLE_COLUMNS_MAX];
    char      **cell; /* row by row */
    size_t      n_cells;
};

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "out of memory\n");
        abort();
    }
    return p;
}

/* -- text ----------------------------------------------------------------- */

/* What turns the direction of writing, or ends a line. */
static bool is_trick(uint32_t c)
{
    return (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

/* The length of the UTF-8 sequence at @s that may be printed, or 0. */
static size_t printable(const unsigned char *s)
{
    static const uint32_t least[] = {0, 0, 0xa0, 0x800, 0x10000};
    size_t len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t c;

    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    c = s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < least[len] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff ||
        is_trick(c))
        return 0;
    return len;
}

char *safe_text(const char *s)
{
    char *ret = must(malloc(4 * strlen(s) + 1)), *at = ret;

    while (*s) {
        size_t len = printable((const unsigned char *)s);

        if (len == 0) {
            at += sprintf(at, "\\x%02x", (unsigned char)*s++);
            continue;
        }
        memcpy(at, s, len);
        at += len;
        s += len;
    }
    *at = '\0';
    return ret;
}

/* In characters: bytes that do not go on with one. */
static size_t width_of(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

const char *size_text(uint64_t bytes, char buf[static SIZE_TEXT])
{
    static const char units[] = "KMGTPE";
    unsigned k = 0;
    uint64_t unit = 1024, tenths;

    if (bytes < 1024) {
        snprintf(buf, SIZE_TEXT, "%" PRIu64 " B", bytes);
        return buf;
    }
    for (;;) {
        tenths = bytes / unit * 10 + (bytes % unit * 10 + unit / 2) / unit;
        if (tenths < 10240 || !units[k + 1])
            break;
        unit *= 1024;
        k++;
    }
    if (tenths % 10 == 0)
        snprintf(buf, SIZE_TEXT, "%u %ciB", (unsigned)(tenths / 10), units[k]);
    else
        snprintf(buf, SIZE_TEXT, "%u.%u %ciB", (unsigned)(tenths / 10),
                 (unsigned)(tenths % 10), units[k]);
    return buf;
}

/* -- tables --------------------------------------------------------------- */

struct table *table_new(const char *const *heads)
{
    struct table *t = must(calloc(1, sizeof *t));

    for (; *heads; heads++) {
        unsigned i = t->n_columns++;

        assert(i < TABLE_COLUMNS_MAX);
        t->right[i] = **heads == '>';
        t->head[i] = *heads + t->right[i];
        t->width[i] = width_of(t->head[i]);
    }
    assert(t->n_columns > 0);
    return t;
}

void table_put(struct table *t, const char *text)
{
    size_t column = t->n_cells % t->n_columns;
    char *cell = safe_text(text && *text ? text : "-");

    if (width_of(cell) > t->width[column])
        t->width[column] = width_of(cell);
    t->cell = must(reallocarray(t->cell, t->n_cells + 1, sizeof(*t->cell)));
    t->cell[t->n_cells++] = cell;
}

void table_put_number(struct table *t, uint64_t n)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRIu64, n);
    table_put(t, text);
}

void table_put_size(struct table *t, uint64_t bytes)
{
    char text[SIZE_TEXT];

    table_put(t, size_text(bytes, text));
}

static void print_row(const struct table *t, const char *const *cells,
                      FILE *out, unsigned indent)
{
    size_t blanks = indent;

    for (unsigned i = 0; i < t->n_columns; i++) {
        size_t pad = t->width[i] - width_of(cells[i]);

        if (t->right[i])
            blanks += pad;
        fprintf(out, "%*s%s", (int)blanks, "", cells[i]);
        blanks = 2 + (t->right[i] ? 0 : pad);
    }
    putc('\n', out);
}

void table_print(const struct table *t, FILE *out, unsigned indent)
{
    assert(t->n_cells % t->n_columns == 0);
    if (t->n_cells == 0)
        return;
    print_row(t, t->head, out, indent);
    for (size_t i = 0; i < t->n_cells; i += t->n_columns)
        print_row(t, (const char *const *)t->cell + i, out, indent);
}

void table_free(struct table *t)
{
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cell[i]);
    free(t->cell);
    free(t);
}
