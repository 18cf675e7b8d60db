/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - text for people: aligned columns, sizes, and bytes from outside
 * that cannot play tricks on a terminal.
 *
 *     BRICK              STATE      PID   PORT
 *     node:/srv/b1.img   in-sync   1204  49152
 *
 * Units      bytes; a column is as wide as its widest cell, in characters.
 * Ownership  what is put in is copied. Out of memory ends the program.
 */
#ifndef CFS_CLI_TABLE_H
#define CFS_CLI_TABLE_H

#include <stdint.h>
#include <stdio.h>

#include "core/base.h"

#define TABLE_COLUMNS_MAX 12u

struct table;

/* @heads end with a NULL; one that begins with '>' is a column of numbers,
 * aligned at the right. */
struct table *table_new(const char *const *heads);
/* The next cell, from left to right; a full row begins a new one. NULL or ""
 * is shown as "-". */
void table_put(struct table *t, const char *text);
void table_put_number(struct table *t, uint64_t n);
void table_put_size(struct table *t, uint64_t bytes);
/* Each line after @indent blanks, without blanks at its end; nothing at all
 * when there are no rows. */
void table_print(const struct table *t, FILE *out, unsigned indent);
void table_free(struct table *t);

/* "512 B", "1.5 GiB", "10 TiB": to a tenth, rounded. */
#define SIZE_TEXT 16
const char *size_text(uint64_t bytes, char buf[static SIZE_TEXT]);

/* @s as it may be printed: control characters and what is no UTF-8 become
 * \xNN. Malloc'ed. */
char *safe_text(const char *s);

#endif
