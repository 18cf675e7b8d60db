/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_fop.c - bodies of program FOP. The first byte chooses the operation, the
 * second a request, a reply or a failure, two more the payload's length.
 * What is accepted is the same after packing and unpacking once more.
 */
#include "tests/fuzz/fuzz.h"

#include "tests/unit/fop_fill.h"

#define HEAD 4u

enum { REQUEST, REPLY, FAILURE, KINDS };

static struct cfs_buf payload_of(struct cfs_arena *a, const uint8_t *head)
{
    struct cfs_buf b = cfs_buf_new(head[2] * 256u + head[3] + 1u);

    b.len--;
    memset(b.data, 0x5a, b.len);
    cfs_arena_keep(a, b);
    return b;
}

static void request(struct cfs_call *call, enum cfs_fop fop,
                    struct cfs_blob body, struct cfs_buf payload)
{
    struct cfs_req *req, *again;
    struct cfs_blob packed;
    int rc;

    if (cfs_fop_unpack(call, fop, body, payload, &req) < 0)
        return;
    packed = cfs_fop_pack(&call->arena, req);
    rc = cfs_fop_unpack(call, fop, packed, cfs_fop_payload(req), &again);
    assert(rc == 0);
    assert(same_request(req, again));
}

static void reply(struct cfs_call *call, enum cfs_fop fop, int status,
                  struct cfs_blob body, struct cfs_buf payload)
{
    struct cfs_req *req, *again;
    struct cfs_blob packed;
    struct cfs_buf out;
    int rc;

    srandom(fop); /* the same inputs each time */
    req = fill_request(call, fop);
    again = fill_fork(req);
    req->status = again->status = status;
    if (cfs_fop_unpack_reply(req, body, payload) < 0)
        return;
    packed = cfs_fop_pack_reply(&call->arena, req, &out);
    rc = cfs_fop_unpack_reply(again, packed, out);
    assert(rc == 0);
    assert(status < 0 || same_reply(req, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cfs_call call = {0};
    struct cfs_blob body;
    struct cfs_buf payload;
    enum cfs_fop fop;

    if (size < HEAD)
        return 0;
    fop = (enum cfs_fop)(data[0] % CFS_FOP_N);
    if (cfs_fop_class(fop) == CFS_CLASS_LOCAL)
        return 0;
    cfs_arena_init(&call.arena);
    body = (struct cfs_blob){data + HEAD, (uint32_t)(size - HEAD)};
    payload = payload_of(&call.arena, data);
    if (data[1] % KINDS == REQUEST)
        request(&call, fop, body, payload);
    else
        reply(&call, fop, data[1] % KINDS == FAILURE ? -EIO : 0, body,
              payload);
    cfs_arena_fini(&call.arena);
    return 0;
}

size_t fuzz_sample(unsigned n, uint8_t *ret, size_t max)
{
    struct cfs_call call = {0};
    struct cfs_buf payload = {0};
    struct cfs_blob body;
    struct cfs_req *req;
    const unsigned kind = n / CFS_FOP_N % KINDS;

    cfs_arena_init(&call.arena);
    if (kind == REQUEST)
        srandom(n);
    else
        srandom(n % CFS_FOP_N);
    req = fill_request(&call, (enum cfs_fop)(n % CFS_FOP_N));
    if (cfs_fop_class(req->fop) == CFS_CLASS_LOCAL) {
        cfs_arena_fini(&call.arena);
        return 0;
    }
    if (kind == REQUEST) {
        body = cfs_fop_pack(&call.arena, req);
        payload = cfs_fop_payload(req);
    } else {
        fill_reply(req);
        req->status = kind == FAILURE ? -EIO : 0;
        body = cfs_fop_pack_reply(&call.arena, req, &payload);
    }
    srandom(n); /* for the damage */
    assert(body.len + HEAD <= max);
    ret[0] = (uint8_t)req->fop;
    ret[1] = (uint8_t)kind;
    ret[2] = (uint8_t)(payload.len / 256);
    ret[3] = (uint8_t)(payload.len % 256);
    memcpy(ret + HEAD, body.p, body.len);
    cfs_arena_fini(&call.arena);
    return body.len + HEAD;
}
