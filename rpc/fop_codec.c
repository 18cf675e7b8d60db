/* SPDX-License-Identifier: Apache-2.0 */
/* fop_codec.c - operations to bytes and back, generated from fops.def; see
 * fop_codec.h. Each field goes through the function of its type in codec.c,
 * then the whole through fop_check.c.
 */
#include "rpc/fop_codec.h"

#include "rpc/codec.h"
#include "rpc/fop_check.h"

/* What protoc-c calls the message of each operation. */
#define PB(lower, Camel)                                                     \
    typedef Wire__##Camel        pb_##lower;                                 \
    typedef Wire__##Camel##Reply pb_##lower##_reply;
PB(lookup, Lookup)
PB(getattr, Getattr)
PB(readlink, Readlink)
PB(read, Read)
PB(readdir, Readdir)
PB(getxattr, Getxattr)
PB(listxattr, Listxattr)
PB(statfs, Statfs)
PB(lseek, Lseek)
PB(fsync, Fsync)
PB(flush, Flush)
PB(create, Create)
PB(unlink, Unlink)
PB(rename, Rename)
PB(link, Link)
PB(setattr, Setattr)
PB(write, Write)
PB(setxattr, Setxattr)
PB(removexattr, Removexattr)
PB(fallocate, Fallocate)
PB(copy, Copy)
PB(purge, Purge)
PB(session_open, SessionOpen)
PB(session_attach, SessionAttach)
PB(session_close, SessionClose)
PB(session_fence, SessionFence)
PB(view_set, ViewSet)
PB(clear, Clear)
PB(brick_info, BrickInfo)
#undef PB

/* -- the head of a request ------------------------------------------------ */

static void put_head(struct cfs_arena *a, const struct cfs_req *req,
                     Wire__Head *ret)
{
    wire__head__init(ret);
    ret->epoch = req->epoch;
    if (req->want.epoch != 0 || req->want.seq != 0)
        codec_put_version(a, &req->want, &ret->want);
    if (req->change != NULL)
        codec_put_change(a, req->change, &ret->change);
}

static int get_head(struct codec_in *in, const Wire__Head *pb,
                    struct cfs_req *req)
{
    struct cfs_change *change;

    req->epoch = pb->epoch;
    if (pb->want != NULL)
        codec_get_version(in, &pb->want, &req->want);
    if (pb->change == NULL)
        return 0;
    change = cfs_arena_alloc(in->arena, sizeof *change);
    if (codec_get_change(in, &pb->change, change) < 0)
        return -EBADMSG;
    req->change = change;
    return 0;
}

/* -- requests ------------------------------------------------------------- */

#define A(type, name) codec_put_##type(a, &op->name, &pb.name);
#define FOP(lower, UPPER, class, inputs, outputs)                            \
    static struct cfs_blob pack_##lower(struct cfs_arena     *a,             \
                                        const struct cfs_req *req)           \
    {                                                                        \
        const struct cfs_##lower *op = (const void *)req;                    \
        pb_##lower pb;                                                       \
        Wire__Head head;                                                     \
                                                                             \
        wire__##lower##__init(&pb);                                          \
        put_head(a, &op->req, &head);                                        \
        pb.head = &head;                                                     \
        inputs                                                               \
        return codec_pack(a, &pb.base);                                      \
    }
#include "core/fops.def"
#undef FOP
#undef A

#define A(type, name)                                                        \
    if (codec_get_##type(in, &pb->name, &op->name) < 0)                      \
        return -EBADMSG;
#define FOP(lower, UPPER, class, inputs, outputs)                            \
    static int unpack_##lower(struct codec_in *in, struct cfs_blob body,     \
                              struct cfs_req *req)                           \
    {                                                                        \
        struct cfs_##lower *op = (void *)req;                                \
        const pb_##lower *pb = (const void *)codec_unpack(                   \
            in->arena, &wire__##lower##__descriptor, body);                  \
                                                                             \
        if (pb == NULL || get_head(in, pb->head, &op->req) < 0)              \
            return -EBADMSG;                                                 \
        inputs                                                               \
        return 0;                                                            \
    }
#include "core/fops.def"
#undef FOP
#undef A

/* -- replies -------------------------------------------------------------- */

#define A(type, name) codec_put_##type(a, &op->name, &pb.name);
#define FOP(lower, UPPER, class, inputs, outputs)                            \
    static struct cfs_blob pack_reply_##lower(struct cfs_arena     *a,       \
                                              const struct cfs_req *req)     \
    {                                                                        \
        const struct cfs_##lower *op = (const void *)req;                    \
        pb_##lower##_reply pb;                                               \
                                                                             \
        wire__##lower##_reply__init(&pb);                                    \
        codec_put_post(a, &op->req.post, &pb.post);                          \
        outputs                                                              \
        return codec_pack(a, &pb.base);                                      \
    }
#include "core/fops.def"
#undef FOP
#undef A

#define A(type, name)                                                        \
    if (codec_get_##type(in, &pb->name, &op->name) < 0)                      \
        return -EBADMSG;
#define FOP(lower, UPPER, class, inputs, outputs)                            \
    static int unpack_reply_##lower(struct codec_in *in,                     \
                                    struct cfs_blob body,                    \
                                    struct cfs_req *req)                     \
    {                                                                        \
        struct cfs_##lower *op = (void *)req;                                \
        const pb_##lower##_reply *pb = (const void *)codec_unpack(           \
            in->arena, &wire__##lower##_reply__descriptor, body);            \
                                                                             \
        if (pb == NULL)                                                      \
            return -EBADMSG;                                                 \
        codec_get_post(in, &pb->post, &op->req.post);                        \
        outputs                                                              \
        return 0;                                                            \
    }
#include "core/fops.def"
#undef FOP
#undef A

/* -- the buf of each operation -------------------------------------------- */

#define BUF_gfid(name)
#define BUF_name(name)
#define BUF_blob(name)
#define BUF_buf(name) return op->name;
#define BUF_attr(name)
#define BUF_time(name)
#define BUF_space(name)
#define BUF_session(name)
#define BUF_view(name)
#define BUF_brick(name)
#define BUF_u32(name)
#define BUF_u64(name)
#define A(type, name) BUF_##type(name)
#define FOP(lower, UPPER, class, inputs, outputs)                            \
    static struct cfs_buf buf_in_##lower(const struct cfs_req *req)          \
    {                                                                        \
        const struct cfs_##lower *op = (const void *)req;                    \
                                                                             \
        (void)op;                                                            \
        inputs                                                               \
        return (struct cfs_buf){0};                                          \
    }                                                                        \
    static struct cfs_buf buf_out_##lower(const struct cfs_req *req)         \
    {                                                                        \
        const struct cfs_##lower *op = (const void *)req;                    \
                                                                             \
        (void)op;                                                            \
        outputs                                                              \
        return (struct cfs_buf){0};                                          \
    }
#include "core/fops.def"
#undef FOP
#undef A

/* -- by number ------------------------------------------------------------ */

struct fop_codec {
    struct cfs_blob (*pack)(struct cfs_arena *, const struct cfs_req *);
    int (*unpack)(struct codec_in *, struct cfs_blob, struct cfs_req *);
    struct cfs_blob (*pack_reply)(struct cfs_arena *, const struct cfs_req *);
    int (*unpack_reply)(struct codec_in *, struct cfs_blob, struct cfs_req *);
    struct cfs_buf (*buf_in)(const struct cfs_req *);
    struct cfs_buf (*buf_out)(const struct cfs_req *);
};

static const struct fop_codec codec[CFS_FOP_N] = {
#define FOP(lower, UPPER, class, inputs, outputs)                            \
    [CFS_FOP_##UPPER] = {pack_##lower,       unpack_##lower,                 \
                         pack_reply_##lower, unpack_reply_##lower,           \
                         buf_in_##lower,     buf_out_##lower},
#include "core/fops.def"
#undef FOP
};

static bool travels(enum cfs_fop fop)
{
    return cfs_fop_class(fop) != CFS_CLASS_LOCAL;
}

struct cfs_blob cfs_fop_pack(struct cfs_arena *a, const struct cfs_req *req)
{
    assert(travels(req->fop));
    return codec[req->fop].pack(a, req);
}

struct cfs_buf cfs_fop_payload(const struct cfs_req *req)
{
    return codec[req->fop].buf_in(req);
}

int cfs_fop_unpack(struct cfs_call *call, enum cfs_fop fop,
                   struct cfs_blob body, struct cfs_buf payload,
                   struct cfs_req **ret)
{
    struct codec_in in = {.arena = &call->arena, .payload = payload};
    struct cfs_req *req;

    if (!travels(fop))
        return -EBADMSG;
    req = cfs_arena_alloc(&call->arena, cfs_fop_size(fop));
    req->call = call;
    req->fop = fop;
    if (codec[fop].unpack(&in, body, req) < 0)
        return -EBADMSG;
    if (payload.len > 0 && !in.took)
        return -EBADMSG;
    if (cfs_fop_check(req) < 0)
        return -EINVAL;
    *ret = req;
    return 0;
}

/* What a failure says: post, and who excludes the session. */
static struct cfs_blob pack_failure(struct cfs_arena *a,
                                    const struct cfs_req *req)
{
    Wire__Failure pb;

    wire__failure__init(&pb);
    codec_put_post(a, &req->post, &pb.post);
    if (req->fop == CFS_FOP_SESSION_OPEN) {
        const struct cfs_session_open *op = (const void *)req;

        if (op->holder.no != 0)
            codec_put_session(a, &op->holder, &pb.holder);
    }
    return codec_pack(a, &pb.base);
}

static int unpack_failure(struct codec_in *in, struct cfs_blob body,
                          struct cfs_req *req)
{
    const Wire__Failure *pb =
        (const void *)codec_unpack(in->arena, &wire__failure__descriptor, body);

    if (pb == NULL || in->payload.len > 0)
        return -EBADMSG;
    codec_get_post(in, &pb->post, &req->post);
    if (pb->holder != NULL && req->fop == CFS_FOP_SESSION_OPEN) {
        struct cfs_session_open *op = (void *)req;

        return codec_get_session(in, &pb->holder, &op->holder);
    }
    return 0;
}

struct cfs_blob cfs_fop_pack_reply(struct cfs_arena *a,
                                   const struct cfs_req *req,
                                   struct cfs_buf *ret_payload)
{
    assert(travels(req->fop));
    if (req->status < 0) {
        *ret_payload = (struct cfs_buf){0};
        return pack_failure(a, req);
    }
    *ret_payload = codec[req->fop].buf_out(req);
    return codec[req->fop].pack_reply(a, req);
}

int cfs_fop_unpack_reply(struct cfs_req *req, struct cfs_blob body,
                         struct cfs_buf payload)
{
    struct codec_in in = {.arena = &req->call->arena, .payload = payload};

    assert(travels(req->fop));
    if (req->status < 0)
        return unpack_failure(&in, body, req);
    if (codec[req->fop].unpack_reply(&in, body, req) < 0)
        return -EBADMSG;
    if (payload.len > 0 && !in.took)
        return -EBADMSG;
    if (cfs_fop_check_reply(req) < 0)
        return -EBADMSG;
    cfs_arena_keep(&req->call->arena, cfs_buf_ref(payload));
    return 0;
}
