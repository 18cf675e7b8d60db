/* SPDX-License-Identifier: Apache-2.0 */
/* silence.h - members of a view that somebody does not hear: doubt, probes,
 * reports of clients and nodes, and the judgement (silence_core.h).
 *
 *   a client misses a member for half of op-timeout (VIEW.REPORT), or reaches
 *   it only through a network that loses much; or a node's line is lost
 *     -> doubt: every node is told (PEER.SILENCE_REPORT), and each asks its
 *        clients to report (VIEW.PROBE), and probes the members itself: local
 *        ones on their line, others by a connection to their port
 *     -> somebody here misses one for op-timeout: in the order of sl_delay()
 *        ask the other nodes what they and their clients have
 *        (PEER.SILENCE_ASK), and judge
 *     -> dropped: brick.silent_in; view.c decides
 *     -> clients that miss one that stays for a dead time: their sessions die
 *
 * Nothing of it lasts longer than the doubt.
 */
#ifndef CFS_MGMTD_SILENCE_H
#define CFS_MGMTD_SILENCE_H

#include "mgmtd/peer.h"

void silence_doubt(struct volume *vol);
void silence_end(struct volume *vol); /* the volume goes, or stops */

/* VIEW.REPORT, by a client that may have the volume. */
void silence_hear(struct volume *vol, const struct line *line,
                  const struct mgmt_view_report *q);

#endif
