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
    *ret = (struct rec_pack){.len = (uint32_t)len};
    blocks = rec_pack_blocks(ret);
    memset(to + len, 0, (size_t)blocks * CFS_BLOCK - (size_t)len);
    ret->sum = XXH3_64bits(to, (size_t)blocks * CFS_BLOCK);
    return blocks;
}

int pack_open(const struct rec_pack *p, const uint8_t *stored, unsigned last,
              uint8_t *to)
{
    const size_t size = (size_t)rec_pack_blocks(p) * CFS_BLOCK;
    const int plain = __builtin_popcount(p->held) * (int)CFS_BLOCK;
    const int want = (int)(pack_offset(p, last) + CFS_BLOCK);
    int got;

    assert(rec_pack_valid(p) && (p->held >> last & 1));
    if (XXH3_64bits(stored, size) != p->sum)
        return -CFS_E_CHECKSUM;
    if (want == plain)
        got = LZ4_decompress_safe((const char *)stored, (char *)to,
                                  (int)p->len, plain);
    else
        got = LZ4_decompress_safe_partial((const char *)stored, (char *)to,
                                          (int)p->len, want, plain);
    return got == want ? 0 : -CFS_E_CHECKSUM;
}

int pack_block(const struct rec_chunk *c, unsigned at, uint8_t *plain)
{
    assert(c->packed >> at & 1);
    if (XXH3_64bits(plain, CFS_BLOCK) != c->sum[at])
        return -CFS_E_CHECKSUM;
    for (unsigned i = 0; (c->cut >> at & 1) && i < c->n_hole; i++) {
        const struct rec_hole *h = &c->hole[i];

        if (h->at == at)
            memset(plain + h->from, 0, h->upto - h->from);
    }
    return 0;
}
