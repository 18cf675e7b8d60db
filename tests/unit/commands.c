/* SPDX-License-Identifier: Apache-2.0 */
/* commands.c - see commands.h. */
#include "tests/unit/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/unit/cfs_test.h"

char output[1 << 20];

void commands_in(const char *dir, const char *tools)
{
    char path[2048];

    snprintf(path, sizeof path, "%s:/usr/sbin:/usr/bin:/sbin:/bin", tools);
    setenv("D", dir, 1);
    setenv("PATH", path, 1);
}

int cmd(const char *fmt, ...)
{
    char line[2048], all[2064];
    va_list ap;
    FILE *pipe;
    size_t n;
    int status;

    va_start(ap, fmt);
    n = (size_t)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    assert_true(n < sizeof line);
    snprintf(all, sizeof all, "( %s ) 2>&1", line);
    pipe = popen(all, "r");
    assert_non_null(pipe);
    n = fread(output, 1, sizeof output - 1, pipe);
    output[n] = '\0';
    status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void assert_said(const char *what)
{
    if (!strstr(output, what))
        fail_msg("\"%s\" is not in: %s", what, output);
}
