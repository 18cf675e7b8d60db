/* SPDX-License-Identifier: Apache-2.0 */
/* dump.c - the lines of a statedump. Values may come from outside: what is not
 * printable is written as \xNN.
 */
#include "core/dump.h"

#include <stdarg.h>

#include "core/xlator.h"

#define VALUE_LEN 1024

static void put_clean(FILE *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c >= 0x20 && c != 0x7f)
            fputc(c, out);
        else
            fprintf(out, "\\x%02x", c);
    }
}

static void put_value(FILE *out, const char *fmt, va_list ap)
{
    char text[VALUE_LEN];

    vsnprintf(text, sizeof text, fmt, ap);
    put_clean(out, text);
}

void cfs_dump_section(struct cfs_dump *d, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("\n[", d->out);
    put_value(d->out, fmt, ap);
    fputs("]\n", d->out);
    va_end(ap);
}

void cfs_dump_put(struct cfs_dump *d, const char *key, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put_clean(d->out, key);
    fputc('=', d->out);
    put_value(d->out, fmt, ap);
    fputc('\n', d->out);
    va_end(ap);
}
