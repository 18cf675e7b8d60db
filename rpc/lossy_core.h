/* SPDX-License-Identifier: Apache-2.0 */
/* lossy_core.h - whether a network loses so much that who waits for a peer
 * behind it waits too long, though each wait has an end: without any I/O.
 *
 * TCP hides loss behind longer waits. With half of all packets lost an answer
 * takes from a fifth of a second to several. None of these waits may be long
 * enough to be a silence; but who needs one answer after another gets nowhere.
 * So they are added up: the *level* is the time for which the peer was waited
 * for while the network lost what was sent, less half of all other time. An
 * op-timeout of such waiting, in many pieces, is as bad as one of silence.
 *
 * What is not loss is not counted, however long it takes: a slow disk or a busy
 * process (TCP has its acknowledgements), a peer that hangs (TCP again), a
 * slow or full link (what is lost there, among much that is on its way, TCP
 * learns from acknowledgements that come, not from its clock), a packet lost
 * here and there (what is sent again arrives). A wait is the network's when it
 * has lasted 0.15 op-timeouts, and TCP, while it lasted,
 *
 *     - had its clock run out and has heard nothing since (.backoff), or
 *     - sent something again although hardly anything was on its way (.resent,
 *       .unacked): there was no queue in which it could have been lost.
 *
 * Whoever looks does so several times per op-timeout. Times are boot time, ns.
 */
#ifndef CFS_RPC_LOSSY_CORE_H
#define CFS_RPC_LOSSY_CORE_H

#include <stdbool.h>
#include <stdint.h>

/* What TCP says of a connection; all 0 where there is no TCP. */
struct rpc_loss {
    uint32_t resent;  /* segments, since the connection began */
    uint32_t backoff; /* how often its clock ran out since the last answer */
    uint32_t unacked; /* segments on their way */
};

struct lossy {
    uint64_t level;
    uint64_t counted; /* all time up to here has gone into the level */
    uint64_t from;    /* where the present wait began; 0: nobody waits */
    bool     bad;     /* the present wait is the network's */
    uint32_t resent;  /* at the last look */
};

/* What a level says, by the op-timeout: somebody should look, too; the network
 * is bad; it is none too good, says one who looks since a moment ago. */
#define LOSSY_DOUBT(op_timeout) ((op_timeout) / 4)
#define LOSSY_BAD(op_timeout)   ((op_timeout) / 4 * 3)
#define LOSSY_POOR(op_timeout)  ((op_timeout) / 4)

/* @from: when the present wait began, or when the peer was last heard in it;
 * 0: nobody waits. */
void lossy_look(struct lossy *l, uint64_t now, uint64_t from,
                uint64_t op_timeout, const struct rpc_loss *loss);

/* We stood still: nothing is known. */
void lossy_reset(struct lossy *l);

#endif
