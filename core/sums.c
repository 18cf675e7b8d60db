/* SPDX-License-Identifier: Apache-2.0 */
#include "core/sums.h"

#include "core/xxh3.h"

/* The bytes of [@offset, @offset + @len) that lie in its first block. */
static uint32_t piece(uint64_t offset, uint32_t len)
{
    uint32_t n = CFS_BLOCK - (uint32_t)(offset % CFS_BLOCK);

    return len < n ? len : n;
}

static void sum_put(uint64_t sum, uint8_t ret[static 8])
{
    for (unsigned i = 0; i < 8; i++)
        ret[i] = (uint8_t)(sum >> (8 * i));
}

uint32_t cfs_sums_count(uint64_t offset, uint32_t len)
{
    uint32_t in = (uint32_t)(offset % CFS_BLOCK);

    return len == 0 ? 0 : (in + len + CFS_BLOCK - 1) / CFS_BLOCK;
}

void cfs_sums(uint64_t offset, const void *data, uint32_t len, uint8_t *ret)
{
    const uint8_t *p = data;

    while (len > 0) {
        uint32_t n = piece(offset, len);

        sum_put(XXH3_64bits(p, n), ret);
        ret += 8;
        p += n;
        offset += n;
        len -= n;
    }
}

bool cfs_sums_match(uint64_t offset, const void *data, uint32_t len,
                    struct cfs_blob sums)
{
    const uint8_t *p = data, *want = sums.p;
    uint8_t sum[8];

    if (sums.len != 8 * cfs_sums_count(offset, len))
        return false;
    while (len > 0) {
        uint32_t n = piece(offset, len);

        sum_put(XXH3_64bits(p, n), sum);
        if (memcmp(sum, want, sizeof sum) != 0)
            return false;
        want += sizeof sum;
        p += n;
        offset += n;
        len -= n;
    }
    return true;
}
