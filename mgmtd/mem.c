/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c - see mem.h. */
#include "mgmtd/mem.h"

#include <stdarg.h>
#include <stdio.h>

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    char *s;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        abort();
    va_end(ap);
    return s;
}
