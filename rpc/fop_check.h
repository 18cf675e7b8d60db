/* SPDX-License-Identifier: Apache-2.0 */
/* fop_check.h - whether the decoded values of an operation make sense, beyond
 * the shape that the codec has checked. Private to rpc.
 *
 * Errors  -EINVAL.
 */
#ifndef CFS_RPC_FOP_CHECK_H
#define CFS_RPC_FOP_CHECK_H

#include "core/fop.h"

/* Inputs: names, bounds, enumerations, overflows. */
int cfs_fop_check(const struct cfs_req *req);

/* Outputs with status 0, against the inputs that they answer. */
int cfs_fop_check_reply(const struct cfs_req *req);

#endif
