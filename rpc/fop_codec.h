/* SPDX-License-Identifier: Apache-2.0 */
/* fop_codec.h - operations as bytes: the bodies of program FOP, also what
 * storage/block writes in its journal and operation log.
 *
 * Shapes  a request's body is the message named as the operation in
 *         rpc/wire.proto (epoch, want, change, inputs); a reply's body is the
 *         one named ...Reply (post, outputs). buf arguments travel as payload.
 * Errors  -EBADMSG: not such a message, a field missing or of a wrong shape.
 *         -EINVAL: a well-formed request for something that there is not: an
 *         offset or size out of bounds, a name that no entry can have, unknown
 *         flags. Nothing is trusted before it is checked. Fuzzed.
 */
#ifndef CFS_RPC_FOP_CODEC_H
#define CFS_RPC_FOP_CODEC_H

#include "core/fop.h"

/* The body of @req, in @a. Cannot fail. */
struct cfs_blob cfs_fop_pack(struct cfs_arena *a, const struct cfs_req *req);

/* The buf among the inputs of @req, borrowed; zero where there is none. */
struct cfs_buf cfs_fop_payload(const struct cfs_req *req);

/* The request in @body and @payload; *ret, and what it points to, is in
 * @call's arena (payload is borrowed). */
int cfs_fop_unpack(struct cfs_call *call, enum cfs_fop fop,
                   struct cfs_blob body, struct cfs_buf payload,
                   struct cfs_req **ret);

/* The reply of @req, finished with req->status; *ret_payload is borrowed from
 * it. Outputs travel with status 0, and post always. */
struct cfs_blob cfs_fop_pack_reply(struct cfs_arena *a,
                                   const struct cfs_req *req,
                                   struct cfs_buf *ret_payload);

/* Outputs and post of @req from a reply with req->status, which the caller has
 * set. Outputs go to its call's arena; a payload is kept by it. */
int cfs_fop_unpack_reply(struct cfs_req *req, struct cfs_blob body,
                         struct cfs_buf payload);

#endif
