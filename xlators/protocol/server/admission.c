/* SPDX-License-Identifier: Apache-2.0 */
/* admission.c - which operations a connection may ask for. What belongs to
 * views, versions and repeats is judged below, where it is known durably.
 */
#include "xlators/protocol/server/server.h"

static int no_session(const char **ret_why)
{
    *ret_why = "no session is attached on this connection";
    return -CFS_E_SESSION;
}

static int other_session(const char **ret_why)
{
    *ret_why = "another session is attached on this connection";
    return -CFS_E_SESSION;
}

static int of_session(const struct srv_conn *sc, uint32_t session,
                      const char **ret_why)
{
    if (sc->session == 0)
        return no_session(ret_why);
    return session == sc->session ? 0 : other_session(ret_why);
}

static int admit_ctl(const struct srv_conn *sc, const struct cfs_req *req,
                     const char **ret_why)
{
    const void *op = req;

    switch (req->fop) {
    case CFS_FOP_SESSION_OPEN:
    case CFS_FOP_SESSION_ATTACH:
        return 0;
    case CFS_FOP_SESSION_CLOSE:
        return of_session(
            sc, ((const struct cfs_session_close *)op)->session, ret_why);
    case CFS_FOP_CLEAR:
        return of_session(sc, ((const struct cfs_clear *)op)->session,
                          ret_why);
    default: /* fences, views, accounts: on the line to mgmtd */
        *ret_why = "only the management daemon may ask for this";
        return -EPERM;
    }
}

int srv_admit(const struct srv_conn *sc, const struct cfs_req *req,
              const char **ret_why)
{
    if (!sc->greeted) {
        *ret_why = "the client has not said which brick it wants";
        return -CFS_E_SESSION;
    }
    switch (cfs_fop_class(req->fop)) {
    case CFS_CLASS_READ:
    case CFS_CLASS_SYNC:
        return sc->session != 0 ? 0 : no_session(ret_why);
    case CFS_CLASS_CHANGE:
        return of_session(sc, req->change->session, ret_why);
    case CFS_CLASS_CTL:
        return admit_ctl(sc, req, ret_why);
    case CFS_CLASS_LOCAL:
        break;
    }
    *ret_why = "no such operation";
    return -ENOSYS;
}
