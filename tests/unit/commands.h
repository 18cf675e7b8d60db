/* SPDX-License-Identifier: Apache-2.0 */
/* commands.h - the tools of a build, called as a user calls them. */
#ifndef CFS_TESTS_UNIT_COMMANDS_H
#define CFS_TESTS_UNIT_COMMANDS_H

/* What the last one printed, both streams of it. */
extern char output[1 << 20];

/* $D in commands is @dir; the tools in @tools come before the system's. */
void commands_in(const char *dir, const char *tools);

/* A line of sh. -> its exit status */
int cmd(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void assert_said(const char *what);

#endif
