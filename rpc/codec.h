/* SPDX-License-Identifier: Apache-2.0 */
/* codec.h - from the values of core/fop.h to fields of protobuf messages and
 * back, one pair of functions for each type: what the codecs that are
 * generated from fops.def and mgmt.def have in common. Private to rpc.
 *
 * Ownership  put: the message borrows what the value points to, and takes
 *            what it needs beyond from the arena. get: the value may point
 *            into the message, which is in the same arena.
 * Errors     put cannot fail: what is too long for its field is cut, and is a
 *            bug of the sender that the receiver notices. get: -EBADMSG.
 */
#ifndef CFS_RPC_CODEC_H
#define CFS_RPC_CODEC_H

#include <protobuf-c/protobuf-c.h>

#include "core/fop.h"
#include "rpc/mgmt.pb-c.h"
#include "rpc/mgmt_codec.h"
#include "rpc/wire.pb-c.h"

/* What unpacking has at hand. */
struct codec_in {
    struct cfs_arena *arena;
    struct cfs_buf    payload; /* the frame's */
    bool              took;    /* a field stood for the payload */
};

typedef ProtobufCBinaryData codec_bytes;

/* Whole messages. unpack: NULL when @body is no such message. */
struct cfs_blob   codec_pack(struct cfs_arena *a, const ProtobufCMessage *m);
ProtobufCMessage *codec_unpack(struct cfs_arena *a,
                               const ProtobufCMessageDescriptor *desc,
                               struct cfs_blob body);

/* CODEC(type, what it is in C, its field in a message) */
#define CODEC_TYPES(CODEC)                                                   \
    CODEC(u32, uint32_t, uint32_t)                                           \
    CODEC(u64, uint64_t, uint64_t)                                           \
    CODEC(gfid, struct cfs_gfid, codec_bytes)                                \
    CODEC(uuid, struct cfs_uuid, codec_bytes)                                \
    CODEC(name, struct cfs_name, codec_bytes)                                \
    CODEC(blob, struct cfs_blob, codec_bytes)                                \
    CODEC(str, const char *, codec_bytes)                                    \
    CODEC(text, const char *, codec_bytes)                                   \
    CODEC(attr, struct cfs_attr, codec_bytes)                                \
    CODEC(buf, struct cfs_buf, uint32_t)                                     \
    CODEC(time, struct cfs_time, Wire__Time *)                               \
    CODEC(version, struct cfs_version, Wire__Version *)                      \
    CODEC(space, struct cfs_space, Wire__Space *)                            \
    CODEC(session, struct cfs_session, Wire__Session *)                      \
    CODEC(view, struct cfs_view, Wire__View *)                               \
    CODEC(brick, struct cfs_brick, Wire__Brick *)                            \
    CODEC(change, struct cfs_change, Wire__Change *)                         \
    CODEC(post, struct cfs_post, Wire__Post *)                               \
    CODEC(programs, struct mgmt_programs, Mgmt__Programs *)

#define CODEC(type, value, field)                                            \
    void codec_put_##type(struct cfs_arena *a, value const *v, field *ret);  \
    int codec_get_##type(struct codec_in *in, field const *f, value *ret);
CODEC_TYPES(CODEC)
#undef CODEC

#endif
