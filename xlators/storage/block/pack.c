/* SPDX-License-Identifier: Apache-2.0 */
/* pack.c - blocks compressed together, and back; see pack.h. */
#include "xlators/storage/block/pack.h"

#include <lz4.h>

#include "core/xxh3.h"

uint32_t pack_make(const uint8_t *data, unsigned n, uint32_t room,
                   uint8_t *to, struct rec_pack *ret)
{
    uint32_t blocks;
    int len;

    assert(n > 0 && n <= CHUNK_BLOCKS);
    if (room > n - 1)
        room = n - 1;
    if (room == 0)
        return 0;
    len = LZ4_compress_default((const char *)data, (char *)to,
                               (int)(n * CFS_BLOCK),
                               (int)(room * CFS_BLOCK));
    if (len <= 0)
        return 0;
    ret->len = (uint32_t)len;
    blocks = rec_pack_blocks(ret);
    memset(to + len, 0, (size_t)blocks * CFS_BLOCK - (size_t)len);
    ret->sum = XXH3_64bits(to, (size_t)blocks * CFS_BLOCK);
    return blocks;
}

int pack_open(const struct rec_pack *p, const uint8_t *stored, uint8_t *to)
{
    const size_t size = (size_t)rec_pack_blocks(p) * CFS_BLOCK;
    const int plain = __builtin_popcount(p->held) * (int)CFS_BLOCK;

    assert(rec_pack_valid(p));
    if (XXH3_64bits(stored, size) != p->sum ||
        LZ4_decompress_safe((const char *)stored, (char *)to, (int)p->len,
                            plain) != plain)
        return -CFS_E_CHECKSUM;
    return 0;
}

int pack_block(const struct rec_chunk *c, unsigned at, uint8_t *plain)
{
    const struct rec_live *l = &c->live[at];

    assert(c->packed >> at & 1);
    if (XXH3_64bits(plain, CFS_BLOCK) != c->sum[at])
        return -CFS_E_CHECKSUM;
    if (c->cut >> at & 1) {
        memset(plain, 0, l->from);
        memset(plain + l->upto, 0, CFS_BLOCK - l->upto);
    }
    return 0;
}
