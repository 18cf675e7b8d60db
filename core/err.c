/* SPDX-License-Identifier: Apache-2.0 */
/* err.c - errors with words; see err.h. */
#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* As in the kernel: no code is above this. */
#define CODE_MAX 4095

struct own_code {
    int         code; /* positive */
    int         class;
    const char *text;
};

#define OWN_CODE(class, name, number, text) {number, class, text},
static const struct own_code own_codes[] = {CFS_ERRCODES(OWN_CODE)};
#undef OWN_CODE

/* The entry of @code (negative), or NULL when it is an errno. */
static const struct own_code *own_code(int code)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(own_codes); i++)
        if (own_codes[i].code == -code)
            return &own_codes[i];
    return NULL;
}

int cfs_err_set(struct cfs_err *err, int code, const char *fmt, ...)
{
    va_list ap;

    assert(code < 0);
    if (!err || err->code != 0)
        return code;
    err->code = code;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return code;
}

int cfs_err_wrap(struct cfs_err *err, const char *fmt, ...)
{
    char was[CFS_ERR_TEXT];
    va_list ap;
    size_t len, n;

    if (!err)
        return 0;
    memcpy(was, err->text, sizeof was);
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    len = strlen(err->text);
    if (len + 3 > sizeof err->text)
        return err->code;
    memcpy(err->text + len, ": ", 3);
    len += 2;
    n = strnlen(was, sizeof err->text - len - 1);
    memcpy(err->text + len, was, n);
    err->text[len + n] = '\0';
    return err->code;
}

int cfs_err_class(int code)
{
    const struct own_code *own;

    if (code == 0)
        return 0;
    if (code > 0 || code < -CODE_MAX)
        return EIO;
    own = own_code(code);
    if (own)
        return own->class;
    return strerrordesc_np(-code) ? -code : EIO;
}

const char *cfs_err_str(int code)
{
    const struct own_code *own;
    const char *text;

    if (code == 0)
        return "success";
    if (code > 0 || code < -CODE_MAX)
        return "not an error code";
    own = own_code(code);
    if (own)
        return own->text;
    text = strerrordesc_np(-code);
    return text ? text : "unknown error";
}
