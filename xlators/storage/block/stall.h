/* SPDX-License-Identifier: Apache-2.0 */
/* stall.h - whether the device answers: by how long the oldest of what waits
 * for it has waited. No I/O.
 *
 * The brick goes on answering pings, beats and what is in memory (engine.h), so
 * nobody else can know. It says itself what it sees, and again when that
 * changes; mgmtd draws conclusions (mgmtd/view_core.h, rule 12). A device that
 * answers again is well again.
 *
 * A look that comes late says that we stood still, not the device, and the
 * counting begins anew. Times are boot time, ns.
 */
#ifndef CFS_BLOCK_STALL_H
#define CFS_BLOCK_STALL_H

#include <stdbool.h>
#include <stdint.h>

#define STALL_SLOW_TIMEOUTS 2u /* op-timeouts */
#define STALL_GONE_TIMEOUTS 5u

/* As cfs_brick.stalled has it. */
enum stall_level {
    STALL_NONE,
    STALL_SLOW, /* for some time: a bad sign, but no reason */
    STALL_GONE, /* it does not answer any more */
};

struct stall {
    enum stall_level level;
    uint64_t         due;   /* the next look; 0: there was none yet */
    uint64_t         valid; /* what was before is not counted */
};

/* @oldest: when the oldest I/O began; UINT64_MAX: none waits. @op_timeout 0:
 * nothing is ever said. True: .level has changed. */
bool stall_look(struct stall *s, uint64_t now, uint64_t oldest,
                uint64_t op_timeout);

/* How long until the next look should come; 0: none is needed. */
uint64_t stall_wait(uint64_t op_timeout);

#endif
