/* SPDX-License-Identifier: Apache-2.0 */
/* replicate.h - what the files of the translator have of each other. What is
 * decided is in the core (replicate_core.h); here are its hands: requests,
 * timers, events.
 *
 * Memory  a change has a call of its own, so that it can outlive the answer
 *         to its caller; what it sends is copied (names, small blobs) or
 *         referenced (data) at its start. A read lives in its caller's call.
 */
#ifndef CFS_REPLICATE_H
#define CFS_REPLICATE_H

#include "core/graph.h"
#include "xlators/cluster/replicate/replicate_core.h"

enum rep_policy {
    REP_POLICY_FIRST,  /* the first member, in the volfile's order */
    REP_POLICY_SPREAD, /* by gfid */
};

/* A clean stop, step by step. */
enum rep_stage {
    REP_RUNNING,
    REP_DRAINING, /* what is in flight ends */
    REP_FLUSHING, /* all is made durable */
    REP_CLEARING, /* and cleared */
    REP_CLOSING,  /* the session is closed at every member */
    REP_STOPPED,  /* children are told; what is left comes back lost */
};

struct rep {
    struct cfs_xl  *xl;
    struct rep_core core;
    /* options */
    struct cfs_uuid set;
    char           *members;
    char           *node;
    char           *service;
    char           *where;
    uint64_t        wait_ms;
    uint32_t        policy;
    /* */
    struct cfs_timer timer;
    uint64_t         armed;
    struct cfs_timer stop_timer;
    struct cfs_task  stop_task;
    enum rep_stage   stage;
    unsigned         closing; /* session_close legs out */
    bool             held;    /* the graph */
    bool             inited;
    /* counted for the statedump */
    uint64_t         n_changes;
    uint64_t         n_reads;
};

static inline struct rep *rep_of(struct rep_core *c)
{
    return c->owner;
}

/* The core's time: how long others were waited for. */
static inline uint64_t rep_now(struct rep *rep)
{
    return cfs_ran(rep->xl->loop);
}

/* After each call into the core: its timer. */
void rep_arm(struct rep *rep);

/* change.c: rep_change_write() and so on, also rep_change_fsync();
 * read.c: rep_read_lookup() and so on, also rep_read_flush(). */
#define REP_CHANGE(lower)                                                    \
    void rep_change_##lower(struct cfs_xl *xl, struct cfs_##lower *up);
#define REP_SYNC(lower) REP_CHANGE(lower)
#define REP_READ(lower)                                                      \
    void rep_read_##lower(struct cfs_xl *xl, struct cfs_##lower *up);
#define REP_LOCAL(lower) REP_READ(lower)
#define REP_CTL(lower)
#define FOP(lower, UPPER, class, in, out) REP_##class(lower)
#include "core/fops.def"
#undef FOP
#undef REP_CHANGE
#undef REP_SYNC
#undef REP_READ
#undef REP_LOCAL
#undef REP_CTL

/* change.c */
void rep_io_look(struct rep_core *c, struct rep_change *ch,
                 struct cfs_gfid g);
void rep_io_again(struct rep_core *c, struct rep_change *ch);
void rep_io_send(struct rep_core *c, struct rep_change *ch, unsigned m);
void rep_io_answer(struct rep_core *c, struct rep_change *ch, int status,
                   int m);
void rep_io_release(struct rep_core *c, struct rep_change *ch);

/* read.c */
void rep_io_read(struct rep_core *c, struct rep_read *rd, unsigned m);
void rep_io_read_end(struct rep_core *c, struct rep_read *rd, int status);

/* control.c */
void rep_io_session_open(struct rep_core *c, unsigned m, uint32_t given_up);
void rep_io_session_attach(struct rep_core *c, unsigned m);
void rep_io_info(struct rep_core *c, unsigned m);
void rep_io_clear(struct rep_core *c, unsigned m);
void rep_io_flush(struct rep_core *c);
void rep_io_idle(struct rep_core *c);
void rep_stop_begin(struct rep *rep);
void rep_stop_timer(struct cfs_timer *t);
void rep_stop_task(struct cfs_task *t);

#endif
