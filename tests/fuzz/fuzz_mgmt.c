/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_mgmt.c - bodies of the management programs; the first byte chooses the
 * message. What is accepted packs, and that is accepted again. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "rpc/mgmt_codec.h"

#define MSG(lower, Camel, fields)                                            \
    static void try_##lower(struct cfs_arena *a, struct cfs_blob body)       \
    {                                                                        \
        struct mgmt_##lower m, again;                                        \
        int rc;                                                              \
                                                                             \
        if (mgmt_unpack_##lower(a, body, &m) < 0)                            \
            return;                                                          \
        rc = mgmt_unpack_##lower(a, mgmt_pack_##lower(a, &m), &again);       \
        assert(rc == 0);                                                     \
    }                                                                        \
    static struct cfs_blob sample_##lower(struct cfs_arena *a)               \
    {                                                                        \
        return mgmt_pack_##lower(a, &(struct mgmt_##lower){0});              \
    }
#include "rpc/mgmt.def"
#undef MSG

static const struct {
    void (*try)(struct cfs_arena *a, struct cfs_blob body);
    struct cfs_blob (*sample)(struct cfs_arena *a);
} all[] = {
#define MSG(lower, Camel, fields) {try_##lower, sample_##lower},
#include "rpc/mgmt.def"
#undef MSG
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cfs_arena a;

    if (size == 0)
        return 0;
    cfs_arena_init(&a);
    all[data[0] % CFS_ARRAY_SIZE(all)].try(
        &a, (struct cfs_blob){data + 1, (uint32_t)(size - 1)});
    cfs_arena_fini(&a);
    return 0;
}

size_t fuzz_sample(unsigned n, uint8_t *ret, size_t max)
{
    struct cfs_arena a;
    struct cfs_blob body;

    cfs_arena_init(&a);
    body = all[n % CFS_ARRAY_SIZE(all)].sample(&a);
    assert(body.len < max);
    ret[0] = (uint8_t)(n % CFS_ARRAY_SIZE(all));
    if (body.len > 0)
        memcpy(ret + 1, body.p, body.len);
    cfs_arena_fini(&a);
    return body.len + 1;
}
