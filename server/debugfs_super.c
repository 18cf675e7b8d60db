/* SPDX-License-Identifier: Apache-2.0 */
/* debugfs_super.c - what stands at fixed places: superblocks, checkpoint
 * records, heartbeats; and the journal.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "core/xxh3.h"
#include "server/debugfs.h"
#include "xlators/storage/block/engine/beat.h"
#include "xlators/storage/block/engine/super.h"

static void put_range(const char *name, uint64_t lba, uint64_t n)
{
    char size[TOOL_SIZE_STR];

    printf("%-10s blocks %" PRIu64 " to %" PRIu64 ": %s\n", name, lba,
           lba + n - 1, tool_size(n * CFS_BLOCK, size));
}

static void put_super(const struct fmt_super *sb)
{
    char text[CFS_UUID_STR];

    cfs_uuid_print(sb->brick, text);
    printf("brick      %s\n", text);
    cfs_uuid_print(sb->cluster, text);
    printf("cluster    %s\n", cfs_uuid_is_null(sb->cluster) ? "none" : text);
    printf("label      ");
    tool_put_escaped(stdout, sb->label, strnlen(sb->label, sizeof sb->label));
    printf("\nversion    %u\n", sb->version);
    printf("features   compatible %" PRIx64 ", read-only compatible %" PRIx64
           ", incompatible %" PRIx64 "%s", sb->compat, sb->ro_compat,
           sb->incompat,
           sb->compat & FMT_FIXED ? "; does not grow by itself" : "");
    if (sb->incompat & FMT_TWICE)
        fputs("; may have second copies of metadata", stdout);
    if (sb->incompat & FMT_PACKED)
        fputs("; may have compressed data", stdout);
    putchar('\n');
    printf("made       %" PRIu64 "\n", sb->made);
    printf("nonce      %016" PRIx64 "\n", sb->nonce);
    put_range("store", 0, sb->size);
    put_range("heartbeat", sb->hb_lba, sb->hb_blocks);
    put_range("journal", sb->jrn_lba, sb->jrn_blocks);
    put_range("groups", sb->grp_lba, sb->grp_blocks);
}

static void put_ckpt(const struct fmt_super *sb, const struct fmt_ckpt *c)
{
    const uint64_t size = sb->jrn_blocks * CFS_BLOCK;

    printf("sequence %" PRIu64 " generation %" PRIu64 ".%" PRIu64
           " incarnation %" PRIu64 "%s time %" PRIu64 "\n", c->seq,
           c->gen >> 32, c->gen & UINT32_MAX, c->incarnation,
           c->flags & CKPT_CLEAN ? " clean" : "", c->time);
    printf("           root at %" PRIu64 " generation %" PRIu64 ".%" PRIu64
           " checksum %016" PRIx64 ", level %u; %" PRIu64 " blocks free\n",
           c->root.lba, c->root.gen >> 32, c->root.gen & UINT32_MAX,
           c->root.sum, c->level, c->free);
    printf("           journal from position %" PRIu64 " (byte %" PRIu64
           " of the device), predecessor %016" PRIx64 "\n", c->jrn_start,
           sb->jrn_lba * CFS_BLOCK + c->jrn_start % size, c->jrn_chain);
}

/* The record in @slot, if it is whole. */
static bool ckpt_whole(const struct fmt_super *sb, uint8_t *slot)
{
    struct fmt_ckpt *c = (struct fmt_ckpt *)(void *)slot;
    uint64_t sum = c->sum, got;

    if (c->magic != FMT_CKPT_MAGIC || c->len < sizeof *c ||
        c->len > SLOT_BYTES)
        return false;
    c->sum = 0;
    got = XXH3_64bits_withSeed(slot, c->len, sb->nonce);
    c->sum = sum;
    return got == sum;
}

static void put_slots(struct cfs_dev *dev, const struct fmt_super *sb)
{
    uint8_t *slot = aligned_alloc(CFS_BLOCK, SLOT_BYTES);

    if (!slot)
        abort();
    for (unsigned i = 0; i < 4; i++) {
        uint64_t lba = super_slot_lba(sb, i & 1, i & 2);
        int rc = dev->ops->read(dev, CFS_DEV_DIRECT, lba * CFS_BLOCK, slot,
                                SLOT_BYTES);

        printf("slot %c%s    ", i & 1 ? 'B' : 'A', i & 2 ? "'" : " ");
        if (rc < 0)
            printf("cannot be read: %s\n", cfs_err_str(rc));
        else if (!ckpt_whole(sb, slot))
            printf("holds no whole checkpoint record\n");
        else
            put_ckpt(sb, (const struct fmt_ckpt *)(const void *)slot);
    }
    free(slot);
}

static void put_copies(struct cfs_dev *dev, const struct fmt_super *sb)
{
    const unsigned bad = super_copies(dev, sb);

    printf("copies     at block 0 %s, at block %" PRIu64 " %s, at block %u "
           "%s\n", bad & ENG_SUPER_FIRST ? "damaged" : "whole",
           sb->size - AREA_BLOCKS, bad & ENG_SUPER_LAST ? "damaged" : "whole",
           SUPER_SPARE,
           bad & ENG_SUPER_SPARE ? "damaged"
           : bad & ENG_SUPER_OLD ? "older"
                                 : "whole");
}

static int supers(struct cfs_dev *dev, const struct fmt_super *sb)
{
    put_super(sb);
    put_copies(dev, sb);
    put_slots(dev, sb);
    return 0;
}

/* Needs no engine: whatever state the rest is in. */
static int at_fixed_places(struct debugfs *d,
                           int (*put)(struct cfs_dev *dev,
                                      const struct fmt_super *sb),
                           struct cfs_err *err)
{
    unsigned flags = CFS_DEV_READ_ONLY;
    struct fmt_super *sb;
    struct cfs_dev *dev;
    int rc;

    if (d->flags & TOOL_LIVE)
        flags |= CFS_DEV_NO_LOCK;
    rc = cfs_dev_open(d->path, flags, &dev, err);
    if (rc < 0)
        return rc;
    sb = tool_realloc(NULL, sizeof *sb);
    rc = super_read(dev, true, sb, err);
    if (rc == 0)
        rc = put(dev, sb);
    else
        cfs_err_wrap(err, "%s", d->path);
    free(sb);
    dev->ops->close(dev);
    return rc;
}

int debugfs_super(struct debugfs *d, struct cfs_err *err)
{
    return at_fixed_places(d, supers, err);
}

/* -- heartbeats ----------------------------------------------------------- */

static void put_beat(unsigned slot, const struct beat *b)
{
    const struct cfs_time t = {(int64_t)(b->time / 1000000000),
                               (uint32_t)(b->time % 1000000000)};
    char when[TOOL_TIME_STR];

    printf("slot %u: session %" PRIu32 " node %" PRIu32 " ", slot, b->session,
           b->node);
    tool_put_escaped(stdout, b->name, strlen(b->name));
    fputs(" service ", stdout);
    tool_put_escaped(stdout, b->service, strlen(b->service));
    if (b->generation == 0)
        fputs(" left", stdout);
    else
        printf(" generation %" PRIx64, b->generation);
    printf(" sequence %" PRIu64 " time %s dead after %" PRIu32 " ms\n", b->seq,
           tool_time(t, when), b->dead_ms);
}

static int heartbeats(struct cfs_dev *dev, const struct fmt_super *sb)
{
    const unsigned slots = sb->hb_blocks < ENG_HB_SLOTS
                               ? (unsigned)sb->hb_blocks : ENG_HB_SLOTS;
    struct fmt_beat *block = aligned_alloc(CFS_BLOCK, sizeof *block);
    unsigned used = 0;

    if (!block)
        abort();
    for (unsigned i = 0; i < slots; i++) {
        struct beat b;
        int rc = dev->ops->read(dev, CFS_DEV_DIRECT,
                                (sb->hb_lba + i) * CFS_BLOCK, block,
                                CFS_BLOCK);

        if (rc == 0)
            rc = beat_unpack(sb, i, block, &b);
        if (rc == -ENOENT)
            continue;
        used++;
        if (rc == 0)
            put_beat(i, &b);
        else
            printf("slot %u: %s\n", i, rc == -CFS_E_CORRUPT
                                           ? "damaged, or torn"
                                           : cfs_err_str(rc));
    }
    printf("%u of %u slots used\n", used, slots);
    free(block);
    return 0;
}

int debugfs_heartbeat(struct debugfs *d, struct cfs_err *err)
{
    return at_fixed_places(d, heartbeats, err);
}

/* -- the journal ---------------------------------------------------------- */

static int journal_each(void *ctx, struct eng *e, const struct eng_rec *rec)
{
    words_journal(stdout, ctx, rec);
    return 0;
}

int debugfs_journal(struct debugfs *d, struct cfs_err *err)
{
    int rc = tool_open_bare(d->path, d->flags, journal_each, NULL, &d->b, err);

    if (rc == 0)
        tool_close(&d->b);
    return rc;
}
