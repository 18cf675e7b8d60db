/* SPDX-License-Identifier: Apache-2.0 */
/* silence.c - whether the brick answers in time: what is told upward, as
 * CFS_EV_SILENCE, and from there to mgmtd, which judges (silence_core.h).
 *
 * While something is outstanding, or the brick is a member of the view and not
 * connected, the time since its last byte is watched, and it is pinged: so a
 * slow disk is not a dead brick. A silence is told from half of op-timeout on,
 * again at every look, and its end once. While the host asks (CFS_EV_PROBE)
 * all that is known is told.
 *
 * A network that loses much is told, too, where no single wait is that long:
 * lossy_core.h.
 *
 * A look that comes late says that we stood still, not the brick: the counting
 * begins anew, for all bricks alike. So does it after each pause that the loop
 * knows of, which not every brick's look may have met.
 */
#include "xlators/protocol/client/client.h"

#define PROBE_FOR (6 * CFS_SEC)
#define LATE      (300 * CFS_MS)

static uint64_t op_timeout(const struct cl *cl)
{
    return cl->op_timeout_ms * CFS_MS;
}

static bool waits(const struct cl *cl)
{
    return cl->in_flight > 0 || (cl->state == CL_DOWN && cl->member);
}

/* Since the brick was last heard, or something became outstanding. */
static uint64_t age_of(const struct cl *cl, uint64_t now)
{
    uint64_t from = cl->since;

    if (cl->state != CL_DOWN && cl->conn != NULL &&
        rpc_conn_heard(cl->conn) > from)
        from = rpc_conn_heard(cl->conn);
    return now > from ? now - from : 0;
}

/* For how long this process has stood still in all its life. */
static uint64_t paused(const struct cl *cl)
{
    return cfs_now(cl->xl->loop) - cfs_ran(cl->xl->loop);
}

static void tell(struct cl *cl, bool asked, uint64_t age)
{
    const struct cfs_silence s = {cl->brick, asked, age, cl->lossy.level};

    cfs_notify_up(cl->xl, (struct cfs_event){.type = CFS_EV_SILENCE,
                                             .silence = &s});
}

static void arm(struct cl *cl, uint64_t now, uint64_t age)
{
    uint64_t wait = op_timeout(cl) / 16;

    /* The moment at which it is too long should not be missed by much. */
    if (age < op_timeout(cl) && op_timeout(cl) - age < wait)
        wait = op_timeout(cl) - age + CFS_MS;
    cl->due = now + wait;
    cfs_timer_start(&cl->silence, wait);
}

static bool look_for_loss(struct cl *cl, uint64_t now, uint64_t age,
                          bool waiting)
{
    struct rpc_loss loss = {0};

    if (cl->conn != NULL)
        rpc_conn_loss(cl->conn, &loss);
    lossy_look(&cl->lossy, now, waiting ? now - age : 0, op_timeout(cl),
               &loss);
    return cl->lossy.level >= LOSSY_DOUBT(op_timeout(cl));
}

static void look(struct cl *cl)
{
    const uint64_t now = cfs_now_fresh(cl->xl->loop);
    const bool probing = now < cl->probe_until;
    bool long_one;
    uint64_t age;

    if (cl->stopping || op_timeout(cl) == 0)
        return;
    if (now > cl->due + LATE || paused(cl) != cl->paused) {
        cl->since = now;
        cl->paused = paused(cl);
        lossy_reset(&cl->lossy);
    }
    age = age_of(cl, now);
    long_one = look_for_loss(cl, now, age, waits(cl) || probing) ||
               age >= op_timeout(cl) / 2;
    if (!waits(cl) && !probing) {
        if (cl->complained)
            tell(cl, false, 0);
        cl->complained = false;
        cl->since = 0;
        return;
    }
    if (cl->conn != NULL && age >= op_timeout(cl) / 16)
        rpc_conn_ping(cl->conn);
    if (probing || long_one || cl->complained)
        tell(cl, true, age);
    cl->complained = long_one;
    arm(cl, now, age);
}

static void on_timer(struct cfs_timer *t)
{
    look(container_of(t, struct cl, silence));
}

void cl_silence_begin(struct cl *cl)
{
    const uint64_t now = cfs_now(cl->xl->loop);

    if (cl->stopping || op_timeout(cl) == 0 || !waits(cl))
        return;
    cl->since = now;
    cl->paused = paused(cl);
    if (!cfs_timer_active(&cl->silence))
        arm(cl, now, 0);
}

/* What was outstanding still is, in a way: nothing else can be asked. */
void cl_silence_lost(struct cl *cl)
{
    if (!cfs_timer_active(&cl->silence))
        cl_silence_begin(cl);
    else if (cl->conn != NULL && rpc_conn_heard(cl->conn) > cl->since)
        cl->since = rpc_conn_heard(cl->conn);
}

void cl_silence_probe(struct cl *cl)
{
    const uint64_t now = cfs_now(cl->xl->loop);

    cl->probe_until = now + PROBE_FOR;
    if (cfs_timer_active(&cl->silence))
        return;
    cl->since = cl->due = now;
    cl->paused = paused(cl);
    look(cl);
}

void cl_silence_init(struct cl *cl)
{
    cfs_timer_init(cl->xl->loop, &cl->silence, on_timer);
}

void cl_silence_fini(struct cl *cl)
{
    cfs_timer_fini(&cl->silence);
}
