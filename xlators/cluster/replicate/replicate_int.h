/* SPDX-License-Identifier: Apache-2.0 */
/* replicate_int.h - what the files of the core (set_core.c, change_core.c,
 * read_core.c, clear_core.c) have of each other; see replicate_core.h.
 */
#ifndef CFS_REPLICATE_INT_H
#define CFS_REPLICATE_INT_H

#include "xlators/cluster/replicate/replicate_core.h"

/* Something will be due at @at. */
static inline void rep_due(struct rep_core *c, uint64_t at)
{
    if (at < c->due)
        c->due = at;
}

/* @m can be given requests of the present view. */
static inline bool rep_ready(const struct rep_core *c, unsigned m)
{
    const struct rep_member *mb = &c->m[m];

    return mb->in_view && mb->attached && mb->epoch == c->view.epoch &&
           c->ss == REP_SESSION_OPEN;
}

/* The answer says nothing about the operation, only that it must be asked
 * again, here or elsewhere: lost, another view, not attached. */
bool rep_not_an_answer(int status);

/* @m gave such an answer to what was sent in attachment @gen: attach again
 * before it is asked anything more. */
void rep_doubt(struct rep_core *c, unsigned m, uint32_t gen, int status);

void rep_want_view(struct rep_core *c);
void rep_differs(struct rep_core *c, unsigned m); /* tell mgmtd */
void rep_note(struct rep_core *c, enum cfs_log_level level, const char *fmt,
              ...) CFS_PRINTF(3, 4);

/* When somebody who began to wait at @since, having come at @started, waits
 * for the set: the time that counts. */
uint64_t rep_wait_since(const struct rep_core *c, uint64_t started);

/* Ask for figures of all members; true: answers are awaited. */
bool rep_poll(struct rep_core *c);
bool rep_polling(const struct rep_core *c);

/* Something of the set changed: go on where that helps. */
void rep_changes_drive(struct rep_core *c);
void rep_reads_drive(struct rep_core *c);
/* What was sent must go out again, whatever it still waits for. */
void rep_changes_new_view(struct rep_core *c);
/* Fail what has waited for too long. */
void rep_changes_expire(struct rep_core *c);
void rep_reads_expire(struct rep_core *c);
/* The session is over: what it sent fails. */
void rep_changes_abandon(struct rep_core *c);

/* Everything below this number is answered by all. */
uint64_t rep_acked_below(const struct rep_core *c);

void rep_clear_push(struct rep_core *c, const struct rep_change *ch);
void rep_clear_drop(struct rep_core *c); /* forget all */
void rep_clear_tick(struct rep_core *c);
void rep_check_idle(struct rep_core *c);

#endif
