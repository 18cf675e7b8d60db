/* SPDX-License-Identifier: Apache-2.0 */
/* mgmt_codec.c - packers and unpackers of the management messages, generated
 * from mgmt.def; see mgmt_codec.h. */
#include "rpc/mgmt_codec.h"

#include "rpc/codec.h"

#define A(type, name) codec_put_##type(a, &m->name, &pb.name);
#define O(type, name) A(type, name) pb.has_##name = true;
#define MSG(lower, Camel, fields)                                            \
    struct cfs_blob mgmt_pack_##lower(struct cfs_arena *a,                   \
                                      const struct mgmt_##lower *m)          \
    {                                                                        \
        Mgmt__##Camel pb;                                                    \
                                                                             \
        mgmt__##lower##__init(&pb);                                          \
        fields                                                               \
        return codec_pack(a, &pb.base);                                      \
    }
#include "rpc/mgmt.def"
#undef MSG
#undef A
#undef O

#define A(type, name)                                                        \
    if (codec_get_##type(&in, &pb->name, &m.name) < 0)                       \
        return -EBADMSG;
#define O(type, name) A(type, name) /* or its default, as mgmt.proto says */
#define MSG(lower, Camel, fields)                                            \
    int mgmt_unpack_##lower(struct cfs_arena *a, struct cfs_blob body,       \
                            struct mgmt_##lower *ret)                        \
    {                                                                        \
        struct codec_in in = {.arena = a};                                   \
        struct mgmt_##lower m = {0};                                         \
        const Mgmt__##Camel *pb;                                             \
                                                                             \
        pb = (const void *)codec_unpack(a, &mgmt__##lower##__descriptor,     \
                                        body);                               \
        if (pb == NULL)                                                      \
            return -EBADMSG;                                                 \
        fields                                                               \
        *ret = m;                                                            \
        return 0;                                                            \
    }
#include "rpc/mgmt.def"
#undef MSG
#undef A
#undef O
