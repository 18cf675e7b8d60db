/* SPDX-License-Identifier: Apache-2.0 */
/* words.h - records of a brick in words: one line each, for a person. Names
 * and values are escaped (tool.h), so a line is a line. What cannot be decoded
 * is printed as it is, with the word "damaged".
 */
#ifndef CFS_SERVER_WORDS_H
#define CFS_SERVER_WORDS_H

#include "server/tool.h"

/* A table's name ("inode"), and back; 0: there is no such table. */
const char *words_table(enum rec_table t);
uint8_t     words_table_parse(const char *name);
/* All tables' names, NULL-terminated. */
extern const char *const words_tables[];

/* A bound of keys, which may be a part of one; malloc'ed. Empty: "the end". */
char *words_bound(struct cfs_blob key);

/* A record of the tree. */
void words_record(FILE *out, struct cfs_blob key, struct cfs_blob value);

/* A record of the journal. */
void words_journal(FILE *out, struct cfs_loop *loop,
                   const struct eng_rec *rec);

/* A request: its change, then its inputs. */
void words_request(FILE *out, const struct cfs_req *req);

#endif
