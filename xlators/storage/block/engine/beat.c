/* SPDX-License-Identifier: Apache-2.0 */
/* beat.c - slots of the heartbeat region, packed and unpacked; see beat.h. */
#include "xlators/storage/block/engine/beat.h"

#include <stdlib.h>

#include "core/xxh3.h"
#include "xlators/storage/block/engine/engine_int.h"

static uint64_t beat_sum(const struct fmt_super *sb, const struct fmt_beat *b)
{
    return XXH3_64bits_withSeed(b, offsetof(struct fmt_beat, sum), sb->nonce);
}

/* A text that ends within its @size bytes, with zeros behind it, and can be
 * shown as a line. */
static bool text_ok(const char *s, size_t size, bool may_be_empty)
{
    size_t len = strnlen(s, size);

    if (len == size || (len == 0 && !may_be_empty))
        return false;
    for (size_t i = 0; i < size; i++)
        if (i < len ? (uint8_t)s[i] < ' ' || s[i] == 0x7f : s[i] != 0)
            return false;
    return true;
}

void beat_pack(const struct fmt_super *sb, unsigned slot,
               const struct beat *b, struct fmt_beat *ret)
{
    assert(b->session != 0 && b->dead_ms != 0);
    memset(ret, 0, sizeof *ret);
    ret->magic = FMT_BEAT_MAGIC;
    ret->format = 1;
    ret->brick = sb->brick;
    ret->slot = slot;
    ret->session = b->session;
    ret->node = b->node;
    ret->dead_ms = b->dead_ms;
    ret->generation = b->generation;
    ret->seq = b->seq;
    ret->time = b->time;
    memcpy(ret->name, b->name, strnlen(b->name, sizeof ret->name - 1));
    memcpy(ret->service, b->service,
           strnlen(b->service, sizeof ret->service - 1));
    ret->sum = beat_sum(sb, ret);
}

static bool is_zero(const struct fmt_beat *b)
{
    static const struct fmt_beat zero;

    return memcmp(b, &zero, sizeof zero) == 0;
}

int beat_unpack(const struct fmt_super *sb, unsigned slot,
                const struct fmt_beat *block, struct beat *ret)
{
    if (is_zero(block))
        return -ENOENT;
    if (block->magic != FMT_BEAT_MAGIC || block->format != 1 ||
        beat_sum(sb, block) != block->sum ||
        !cfs_uuid_eq(block->brick, sb->brick) || block->slot != slot ||
        block->session == 0 || block->dead_ms == 0 ||
        !text_ok(block->name, sizeof block->name, false) ||
        !text_ok(block->service, sizeof block->service, true))
        return -CFS_E_CORRUPT;
    *ret = (struct beat){
        .session = block->session,
        .node = block->node,
        .generation = block->generation,
        .seq = block->seq,
        .time = block->time,
        .dead_ms = block->dead_ms,
    };
    memcpy(ret->name, block->name, sizeof ret->name);
    memcpy(ret->service, block->service, sizeof ret->service);
    return 0;
}

/* -- on the device --------------------------------------------------------- */

unsigned eng_hb_slots(const struct eng *e)
{
    return e->sb.hb_blocks < ENG_HB_SLOTS ? (unsigned)e->sb.hb_blocks
                                          : ENG_HB_SLOTS;
}

int eng_beat_read(struct eng *e, unsigned slot, struct beat *ret)
{
    struct fmt_beat *block = eng_alloc_aligned(sizeof *block);
    int rc;

    assert(slot < eng_hb_slots(e));
    rc = eng_read(e, CFS_DEV_DIRECT, e->sb.hb_lba + slot, block, 1);
    if (rc == 0)
        rc = beat_unpack(&e->sb, slot, block, ret);
    free(block);
    return rc;
}

int eng_beat_write(struct eng *e, unsigned slot, const struct beat *b)
{
    struct fmt_beat *block = eng_alloc_aligned(sizeof *block);
    int rc;

    assert(slot < eng_hb_slots(e));
    beat_pack(&e->sb, slot, b, block);
    rc = eng_write(e, CFS_DEV_DIRECT, e->sb.hb_lba + slot, block, 1);
    free(block);
    return rc;
}
