/* SPDX-License-Identifier: Apache-2.0 */
/* node.h - bricks that live on other nodes.
 *
 * Each brick has a home: the node that its record names. Only there its
 * process is started, watched and signed in. Everywhere else struct brick is a
 * picture of it: its home tells every other mgmtd (PEER.BRICKS) what it knows
 * of its bricks whenever that changes and at each greeting, and passes calls
 * on (PEER.BRICK_CALL), so that brick_call() works the same for all.
 *
 *     here/info/ended/state/reason/port/known   as its home said last
 *     unknown                                   no line to its home: the
 *                                               picture may be old
 *     port                                      remembered, also over restarts
 *                                               of this mgmtd (ports.c)
 *
 * A picture counts as evidence ("known") only while the line to its home is
 * up; silence is judged by silence_core.h.
 */
#ifndef CFS_MGMTD_NODE_H
#define CFS_MGMTD_NODE_H

#include "mgmtd/peer.h"

bool brick_is_local(const struct brick *b);
/* The home, or NULL: no such member. */
struct peer *brick_home(const struct brick *b);
/* Where others reach it: its home's address. */
const char *brick_host(const struct brick *b);

/* Its process is gone, or it is on a node that cannot be reached and will end
 * it when it is back. */
bool brick_has_ended(const struct brick *b);

/* node_brick.c: tell the others what changed about local bricks of @vol. */
void node_tell_bricks(struct volume *vol);
/* Ask the home of @b, if it is not this node, for its picture. */
void node_ask_brick(struct brick *b);
/* As brick_call(); the home of @b is a member. */
void node_brick_call(struct brick *b, uint32_t proc, struct cfs_blob body,
                     uint32_t timeout_ms, brick_done *done, void *arg);
void node_forgive_brick(struct brick *b);

/* ports.c: where bricks elsewhere listened, as this node remembers it. Load it
 * before volumes; 0: not known. Tell when the port of one has changed. */
void     ports_load(struct mgmtd *m);
void     ports_close(struct mgmtd *m);
uint16_t ports_remembered(struct mgmtd *m, struct cfs_uuid brick);
void     ports_changed(struct mgmtd *m);

/* node_set.c: there is no other member. */
bool node_is_alone(const struct mgmtd *m);

/* -- preparing devices on their nodes (node_prepare.c) ------------------- */

#include "mgmtd/prepare.h"

/* Look at, then make, the devices of a volume, each on its node; the same
 * struct prep as for this node alone, with brick[i].node set. @done from the
 * loop. A failed make is undone everywhere it can be; what cannot be reached
 * is named. */
typedef void node_prep_done(void *arg, int status, const struct cfs_err *err);
void node_prep_look(struct mgmtd *m, struct prep *p, node_prep_done *done,
                    void *arg);
void node_prep_make(struct mgmtd *m, struct prep *p, node_prep_done *done,
                    void *arg);
void node_prep_undo(struct mgmtd *m, struct prep *p, node_prep_done *done,
                    void *arg);

#endif
