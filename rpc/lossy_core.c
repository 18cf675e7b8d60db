/* SPDX-License-Identifier: Apache-2.0 */
/* lossy_core.c - see lossy_core.h. */
#include "rpc/lossy_core.h"

#define THIN    4u /* segments on their way: TCP's own bound for thin streams */
#define FORGIVE 2u /* one part in so many of other time is taken off */

/* A shorter wait is none. With the default of 2 s: more than TCP's clock at
 * first (0.2 s), less than it takes when what it sends then is lost, too. */
#define GRACE(op_timeout) ((op_timeout) * 3 / 20)

/* The time up to @until was the network's, or not. */
static void account(struct lossy *l, uint64_t until, bool bad)
{
    uint64_t time, less;

    if (until <= l->counted)
        return;
    time = until - l->counted;
    less = time / FORGIVE;
    l->counted = until;
    if (bad)
        l->level += time;
    else
        l->level -= less < l->level ? less : l->level;
}

/* What was sent again since the last look; a new connection counts from 0. */
static uint32_t resent(struct lossy *l, const struct rpc_loss *loss)
{
    uint32_t n = loss->resent >= l->resent ? loss->resent - l->resent
                                           : loss->resent;

    l->resent = loss->resent;
    return n;
}

void lossy_look(struct lossy *l, uint64_t now, uint64_t from,
                uint64_t op_timeout, const struct rpc_loss *loss)
{
    const uint64_t grace = GRACE(op_timeout);
    const bool lost = (resent(l, loss) > 0 && loss->unacked < THIN) ||
                      loss->backoff > 0;

    if (l->counted == 0)
        l->counted = from != 0 ? from : now;
    l->bad |= lost && l->from != 0;
    if (l->from != 0 && from != l->from) { /* that wait is over */
        const uint64_t until = from != 0 ? from : now;

        account(l, until, l->bad && until - l->from >= grace);
        l->from = 0;
        l->bad = false;
    }
    if (from == 0) {
        account(l, now, false);
        return;
    }
    if (l->from == 0) {
        account(l, from, false);
        l->from = from;
        l->bad = loss->backoff > 0;
    }
    /* Until it is known whose it is, it is not accounted for. */
    if (l->bad && now - from >= grace)
        account(l, now, true);
}

void lossy_reset(struct lossy *l)
{
    *l = (struct lossy){.resent = l->resent};
}
