/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_cli.h - what the files of the command fsck.clusterfs share. */
#ifndef CFS_SERVER_FSCK_CLI_H
#define CFS_SERVER_FSCK_CLI_H

#include "server/fsck_repair.h"

#define PROGRAM "fsck.clusterfs"

/* As fsck(8). */
enum {
    EXIT_CLEAN = 0,
    EXIT_MENDED = 1,
    EXIT_ERRORS = 4,
    EXIT_TROUBLE = 8,
    EXIT_USAGE = 16,
    EXIT_CANCELED = 32,
};

/* What to do about errors. */
enum answer {
    ANSWER_ASK,
    ANSWER_NO,
    ANSWER_YES,
    ANSWER_SAFE, /* yes, when nothing is lost by it */
};

struct run {
    const char *path;
    bool        json;
    bool        data;
    bool        grow;
    bool        repair;
    bool        superblock;
    bool        discard;
    uint64_t    discarded; /* bytes */
    enum answer answer;
    bool        bar;      /* progress goes to stderr, for a person, */
    int         fd;       /* and to this, for a program; -1 */
    const char *what;     /* progress: of the pass at hand, */
    unsigned    pass;     /* and its number */
    uint64_t    told;     /* progress, last: in 200 ms */
    json_t     *findings;
    json_t     *known;
    unsigned    early;    /* findings before the check proper */
};

/* -- fsck_acts.c: the exit status ------------------------------------------ */

int cli_grow(struct run *r);
int cli_superblock(struct run *r);
int cli_discard(struct run *r, struct eng *e); /* which is sound */

/* -- fsck_print.c --------------------------------------------------------- */

void cli_progress(void *ctx, const char *what, uint64_t done, uint64_t of);
void cli_found(void *ctx, const struct fsck_finding *f);
void cli_clear(const struct run *r); /* the line of the progress */

/* What came of it. @repair: NULL, or a repair was tried. */
void cli_sum(const struct run *r, const struct eng_info *info,
             const struct fsck_result *x,
             const struct fsck_repair_result *repair);

/* A brick that cannot be opened: damage is a finding, all else is trouble;
 * the exit status. */
int cli_not_opened(const struct run *r, int rc, const struct cfs_err *err);

#endif
