/* SPDX-License-Identifier: Apache-2.0 */
/* sessions_core.h - who may open and attach a session at this brick. No I/O:
 * what is durable is in storage/block, and comes here as struct cfs_brick.
 *
 * A session's number is given by the master of the view; the session is live
 * from its first attachment. In between the number is reserved for
 * LS_RESERVED, so that of two mounts that open at once only one gets on.
 *
 * A session of an exclusive service ("mount", until there are cluster-wide
 * locks) excludes every other of that service, until it is closed or fenced.
 *
 * Units      ns of cfs_now().
 * Ownership  sessions that were attached here are remembered until they are
 *            closed or fenced; what each holds will be kept beside them.
 */
#ifndef CFS_LOCK_SERVER_SESSIONS_CORE_H
#define CFS_LOCK_SERVER_SESSIONS_CORE_H

#include "core/fop.h"

#define LS_RESERVED (15 * CFS_SEC)

struct ls_session {
    struct cfs_list    link;
    struct cfs_session s;
    bool               attached; /* else reserved, */
    uint64_t           until;    /* up to then */
};

struct ls_sessions {
    struct cfs_list all; /* ls_session */
    unsigned        n;
};

void ls_sessions_init(struct ls_sessions *t);
void ls_sessions_fini(struct ls_sessions *t);

/* Whether @who may have a number from the brick that says @info of itself, its
 * request being of @epoch. @who.no: a session that this process has given up,
 * or 0. Errors: -CFS_E_EPOCH, -CFS_E_NOT_MEMBER (not the master), -EINVAL,
 * -CFS_E_IN_USE (*ret_holder says by whom). */
int ls_may_open(struct ls_sessions *t, const struct cfs_brick *info,
                uint64_t epoch, const struct cfs_session *who, uint64_t now,
                struct cfs_session *ret_holder);
/* It has its number. -ENOMEM. */
int ls_opened(struct ls_sessions *t, const struct cfs_session *s,
              uint64_t now);

/* Whether @s may be attached. Errors: -CFS_E_EPOCH, -CFS_E_NOT_MEMBER,
 * -EINVAL, -CFS_E_SESSION (the number is another process's), -EACCES (it was
 * opened by another client or node), -CFS_E_IN_USE. */
int ls_may_attach(struct ls_sessions *t, const struct cfs_brick *info,
                  uint64_t epoch, const struct cfs_session *s, uint64_t now);
/* -ENOMEM. */
int ls_attached(struct ls_sessions *t, const struct cfs_session *s);

void ls_gone(struct ls_sessions *t, uint32_t no); /* closed or fenced */

#endif
