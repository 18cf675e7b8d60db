/* SPDX-License-Identifier: Apache-2.0 */
/* stall.c - see stall.h. */
#include "xlators/storage/block/stall.h"

uint64_t stall_wait(uint64_t op_timeout)
{
    return op_timeout / 2;
}

static enum stall_level level_of(uint64_t age, uint64_t op_timeout)
{
    if (op_timeout == 0)
        return STALL_NONE;
    if (age >= STALL_GONE_TIMEOUTS * op_timeout)
        return STALL_GONE;
    if (age >= STALL_SLOW_TIMEOUTS * op_timeout)
        return STALL_SLOW;
    return STALL_NONE;
}

bool stall_look(struct stall *s, uint64_t now, uint64_t oldest,
                uint64_t op_timeout)
{
    const enum stall_level was = s->level;

    if (s->due != 0 && now > s->due + stall_wait(op_timeout))
        s->valid = now;
    if (oldest < s->valid)
        oldest = s->valid;
    s->level = level_of(oldest < now ? now - oldest : 0, op_timeout);
    s->due = now + stall_wait(op_timeout);
    return s->level != was;
}
