/* SPDX-License-Identifier: Apache-2.0 */
/* super.c - layout, mkfs, and finding the newest state. */
#include "xlators/storage/block/engine/super.h"

#include <stdlib.h>
#include <time.h>

#include "core/xxh3.h"
#include "xlators/storage/block/engine/engine_int.h"
#include "xlators/storage/block/engine/plant.h"

#define MIB_BLOCKS ((1024u * 1024u) / CFS_BLOCK)

uint64_t super_sum(const struct fmt_super *sb)
{
    return XXH3_64bits(sb, offsetof(struct fmt_super, sum));
}

/* Blocks of a store of @blocks for the heartbeat region, the journal. */
static uint64_t hb_blocks(uint64_t blocks)
{
    return blocks >= 256u * MIB_BLOCKS ? ENG_HB_SLOTS : 64;
}

static uint64_t jrn_blocks(uint64_t blocks)
{
    uint64_t n = blocks / 64, least = blocks / 16;

    if (least > 16u * MIB_BLOCKS)
        least = 16u * MIB_BLOCKS;
    if (n < least)
        n = least;
    return n < 256u * MIB_BLOCKS ? n : 256u * MIB_BLOCKS;
}

int super_layout(uint64_t blocks, struct fmt_super *sb)
{
    uint64_t last;

    if (blocks < 32u * MIB_BLOCKS)
        return -ENOSPC;
    sb->size = blocks;
    sb->hb_lba = AREA_BLOCKS;
    sb->hb_blocks = hb_blocks(blocks);
    sb->jrn_lba = sb->hb_lba + sb->hb_blocks;
    sb->jrn_blocks = jrn_blocks(blocks);
    sb->grp_lba = sb->jrn_lba + sb->jrn_blocks;
    sb->grp_blocks = blocks - AREA_BLOCKS - sb->grp_lba;
    last = sb->grp_blocks % GROUP_BLOCKS;
    if (last < GROUP_MIN)
        sb->grp_blocks -= last;
    if ((sb->grp_blocks + GROUP_BLOCKS - 1) / GROUP_BLOCKS > GROUPS_MAX)
        return -EFBIG;
    return 0;
}

/* Whether @ext lies within [AREA_BLOCKS, end). */
static bool within(const struct fmt_super *sb, uint64_t lba, uint64_t n)
{
    uint64_t end = sb->size - AREA_BLOCKS;

    return n > 0 && lba >= AREA_BLOCKS && lba < end && n <= end - lba;
}

static int check_geometry(const struct fmt_super *sb, uint64_t dev_blocks,
                          struct cfs_err *err)
{
    uint64_t groups = sb->grp_blocks / GROUP_BLOCKS +
                      (sb->grp_blocks % GROUP_BLOCKS != 0);

    if (sb->size > dev_blocks)
        return cfs_err_set(err, -CFS_E_CORRUPT,
                           "the store has %llu bytes, the device only %llu: "
                           "it has shrunk; make it as large again",
                           (unsigned long long)(sb->size * CFS_BLOCK),
                           (unsigned long long)(dev_blocks * CFS_BLOCK));
    if (sb->block != CFS_BLOCK || sb->size < 2 * AREA_BLOCKS + GROUP_MIN ||
        !within(sb, sb->hb_lba, sb->hb_blocks) ||
        !within(sb, sb->jrn_lba, sb->jrn_blocks) ||
        !within(sb, sb->grp_lba, sb->grp_blocks) ||
        sb->jrn_lba < sb->hb_lba + sb->hb_blocks ||
        sb->grp_lba < sb->jrn_lba + sb->jrn_blocks ||
        sb->jrn_blocks < MIB_BLOCKS || sb->grp_blocks < GROUP_MIN ||
        groups > GROUPS_MAX)
        return cfs_err_set(err, -CFS_E_CORRUPT,
                           "the superblock's geometry is out of bounds");
    return 0;
}

static int check_features(const struct fmt_super *sb, bool read_only,
                          struct cfs_err *err)
{
    uint64_t in = sb->incompat & ~(uint64_t)FMT_INCOMPAT;
    uint64_t ro = sb->ro_compat & ~(uint64_t)FMT_RO_COMPAT;

    if (sb->version != FMT_VERSION)
        return cfs_err_set(err, -EINVAL,
                           "format version %u; this program knows %u",
                           sb->version, FMT_VERSION);
    if (in != 0)
        return cfs_err_set(err, -EINVAL,
                           "the store uses features that this program does "
                           "not know (incompatible: %llx)",
                           (unsigned long long)in);
    if (ro != 0 && !read_only)
        return cfs_err_set(err, -EINVAL,
                           "the store uses features with which this program "
                           "can only read it (%llx)", (unsigned long long)ro);
    return 0;
}

static int read_at(struct cfs_dev *dev, uint64_t lba, void *buf, size_t blocks)
{
    return dev->ops->read(dev, CFS_DEV_DIRECT, lba * CFS_BLOCK, buf,
                          blocks * CFS_BLOCK);
}

/* 0: a superblock, whole; -EINVAL: none; or what the read says. */
static int read_super_at(struct cfs_dev *dev, uint64_t lba,
                         struct fmt_super *sb)
{
    int rc = read_at(dev, lba, sb, 1);

    if (rc < 0)
        return rc;
    return sb->magic == FMT_SUPER_MAGIC && super_sum(sb) == sb->sum
               ? 0
               : -EINVAL;
}

/* Whether @first, which is no superblock, may once have been @sb: some bytes
 * differ, or all are zero. Else the device's start is somebody else's by now,
 * and what we would write might be on his data. */
static bool was_ours(const struct fmt_super *first, const struct fmt_super *sb)
{
    const uint8_t *a = (const void *)first, *b = (const void *)sb;
    unsigned differ = 0, set = 0;

    for (size_t i = 0; i < sizeof *sb; i++) {
        differ += a[i] != b[i];
        set += a[i] != 0;
    }
    return set == 0 || differ <= 32;
}

/* The superblock at the device's end, when the one at its start is not. */
static int read_last_super(struct cfs_dev *dev, int why, bool read_only,
                           struct fmt_super *sb, struct cfs_err *err)
{
    struct fmt_super *first = eng_alloc_aligned(sizeof *first);
    int rc;

    memcpy(first, sb, sizeof *first);
    rc = read_super_at(dev, dev->size / CFS_BLOCK - AREA_BLOCKS, sb);
    if (rc < 0)
        rc = why;
    else if (why == -EINVAL && !read_only && !was_ours(first, sb))
        rc = cfs_err_set(err, -EUCLEAN, "something else was written over the "
                         "start of a clusterfs store; to have it back: "
                         "fsck.clusterfs --superblock; to make a new one: "
                         "mkfs.clusterfs --force");
    free(first);
    return rc;
}

int super_read(struct cfs_dev *dev, bool read_only, struct fmt_super *ret,
               struct cfs_err *err)
{
    struct fmt_super *sb = eng_alloc_aligned(sizeof *sb);
    uint64_t blocks = dev->size / CFS_BLOCK;
    int rc = -EINVAL;

    if (blocks > 0)
        rc = read_super_at(dev, 0, sb);
    if (rc < 0 && blocks >= 2 * AREA_BLOCKS)
        rc = read_last_super(dev, rc, read_only, sb, err);
    if (rc == -EINVAL && blocks >= 2 * AREA_BLOCKS &&
        read_super_at(dev, SUPER_SPARE, sb) == 0)
        rc = cfs_err_set(err, -EUCLEAN, "the superblocks at both ends of a "
                         "clusterfs store are lost; if it is to be had back, "
                         "fsck.clusterfs --superblock writes them anew");
    if (rc < 0 && rc != -EUCLEAN)
        cfs_err_set(err, rc, rc == -EINVAL ? "there is no clusterfs store"
                                           : "read of the superblock: %s",
                    cfs_err_str(rc));
    if (rc == 0)
        rc = check_features(sb, read_only, err);
    if (rc == 0)
        rc = check_geometry(sb, blocks, err);
    if (rc == 0)
        *ret = *sb;
    free(sb);
    return rc;
}

uint64_t super_slot_lba(const struct fmt_super *sb, uint64_t seq, bool end)
{
    uint64_t lba = seq & 1 ? SLOT_B : SLOT_A;

    return end ? sb->size - AREA_BLOCKS + lba : lba;
}

uint64_t super_ckpt_blocks(const struct fmt_super *sb,
                           const struct fmt_ckpt *c)
{
    if (c->last_blocks == 0)
        return sb->grp_blocks;
    return (uint64_t)(c->n_groups - 1) * GROUP_BLOCKS + c->last_blocks;
}

/* Whether @c can be about so many groups at all. */
static bool groups_ok(const struct fmt_super *sb, const struct fmt_ckpt *c)
{
    uint64_t groups = (sb->grp_blocks + GROUP_BLOCKS - 1) / GROUP_BLOCKS;

    if (c->n_groups == 0 || c->n_groups > GROUPS_MAX ||
        c->last_blocks > GROUP_BLOCKS)
        return false;
    return c->last_blocks > 0 || c->n_groups == groups;
}

/* Whether the record in @slot is one of @sb's, whole, and makes sense. */
static bool ckpt_ok(const struct fmt_super *sb, uint8_t *slot, uint64_t seq)
{
    struct fmt_ckpt *c = (struct fmt_ckpt *)(void *)slot;
    uint64_t sum = c->sum, got;

    if (c->magic != FMT_CKPT_MAGIC || !groups_ok(sb, c) ||
        c->len != sizeof *c + c->n_groups * sizeof(struct fmt_top) ||
        !cfs_uuid_eq(c->brick, sb->brick) || (c->seq & 1) != (seq & 1))
        return false;
    c->sum = 0;
    got = XXH3_64bits_withSeed(slot, c->len, sb->nonce);
    c->sum = sum;
    return got == sum && c->level < NODE_LEVELS &&
           c->gen >> 32 <= c->incarnation &&
           c->incarnation < (uint64_t)UINT32_MAX;
}

/* The newest whole record below @below into @slot; its seq, 0: none. */
static uint64_t newest_below(struct cfs_dev *dev, const struct fmt_super *sb,
                             uint64_t below, uint8_t *slot)
{
    uint8_t *buf = eng_alloc_aligned(SLOT_BYTES);
    const struct fmt_ckpt *c = (const struct fmt_ckpt *)(const void *)buf;
    uint64_t best = 0;

    for (unsigned i = 0; i < 4; i++) {
        uint64_t lba = super_slot_lba(sb, i & 1, i & 2);

        if (read_at(dev, lba, buf, SLOT_BLOCKS) < 0 ||
            !ckpt_ok(sb, buf, i) || c->seq >= below)
            continue;
        if (PLANTED(older_checkpoint_taken) ? best && c->seq >= best
                                            : c->seq <= best)
            continue;
        best = c->seq;
        memcpy(slot, buf, c->len);
    }
    free(buf);
    return best;
}

int super_read_ckpt(struct cfs_dev *dev, const struct fmt_super *sb,
                    bool older, uint8_t *slot, struct cfs_err *err)
{
    struct fmt_ckpt *c = (struct fmt_ckpt *)(void *)slot;
    uint64_t best = newest_below(dev, sb, UINT64_MAX, slot);

    if (best > 0 && older) {
        uint64_t life = c->incarnation;

        best = newest_below(dev, sb, best, slot) > 0 ? best : 0;
        if (best > 0) {
            /* The next one is to be written over the newest, not over it. */
            c->seq = best + 1;
            c->incarnation = life;
        }
    }
    if (best == 0)
        return cfs_err_set(err, -CFS_E_CORRUPT,
                           "there is no whole checkpoint record");
    if (super_ckpt_blocks(sb, c) > sb->grp_blocks)
        return cfs_err_set(err, -CFS_E_CORRUPT,
                           "the store has grown since its superblock was "
                           "written; has the device shrunk?");
    return 0;
}

/* A growth that was cut may have left the spare one as it was. */
static bool is_sibling(const struct fmt_super *a, const struct fmt_super *b)
{
    return a->nonce == b->nonce && cfs_uuid_eq(a->brick, b->brick);
}

unsigned super_copies(struct cfs_dev *dev, const struct fmt_super *sb)
{
    struct fmt_super *got = eng_alloc_aligned(sizeof *got);
    unsigned bad = 0;

    if (read_super_at(dev, 0, got) < 0 || memcmp(got, sb, sizeof *sb) != 0)
        bad |= ENG_SUPER_FIRST;
    if (read_super_at(dev, sb->size - AREA_BLOCKS, got) < 0 ||
        memcmp(got, sb, sizeof *sb) != 0)
        bad |= ENG_SUPER_LAST;
    if (read_super_at(dev, SUPER_SPARE, got) < 0 || !is_sibling(got, sb))
        bad |= ENG_SUPER_SPARE;
    else if (memcmp(got, sb, sizeof *sb) != 0)
        bad |= ENG_SUPER_OLD;
    free(got);
    return bad;
}

/* -- mkfs ------------------------------------------------------------------ */

static int write_at(struct cfs_dev *dev, uint64_t lba, const void *buf,
                    size_t blocks)
{
    struct iovec iov = {(void *)(uintptr_t)buf, blocks * CFS_BLOCK};

    return dev->ops->write(dev, CFS_DEV_DIRECT, lba * CFS_BLOCK, &iov, 1,
                           iov.iov_len);
}

/* The first one last: only then is it a store. */
int super_write(struct cfs_dev *dev, const struct fmt_super *sb)
{
    int rc = write_at(dev, sb->size - AREA_BLOCKS, sb, 1);

    if (rc == 0)
        rc = write_at(dev, SUPER_SPARE, sb, 1);
    if (rc == 0)
        rc = dev->ops->flush(dev);
    if (rc == 0)
        rc = write_at(dev, 0, sb, 1);
    if (rc == 0)
        rc = dev->ops->flush(dev);
    return rc;
}

int super_mend(struct cfs_dev *dev, const struct fmt_super *sb)
{
    struct fmt_super *block;
    int rc;

    if (super_copies(dev, sb) == 0)
        return 0;
    block = eng_alloc_aligned(sizeof *block);
    memcpy(block, sb, sizeof *block);
    rc = super_write(dev, block);
    free(block);
    return rc < 0 ? rc : 1;
}

/* The first whole one of the three that fits a checkpoint record: what it says
 * is true. */
static int find_super(struct cfs_dev *dev, struct fmt_super *sb,
                      struct cfs_err *err)
{
    const uint64_t blocks = dev->size / CFS_BLOCK;
    const uint64_t at[] = {0, blocks - AREA_BLOCKS, SUPER_SPARE};
    uint8_t *slot = eng_alloc_aligned(SLOT_BYTES);
    int rc = -EINVAL;

    for (unsigned i = 0; i < 3 && rc < 0 && blocks >= 2 * AREA_BLOCKS; i++) {
        struct cfs_err why = {0};

        if (read_super_at(dev, at[i], sb) < 0)
            continue;
        rc = check_features(sb, false, &why);
        if (rc == 0)
            rc = check_geometry(sb, blocks, &why);
        if (rc == 0)
            rc = super_read_ckpt(dev, sb, false, slot, &why);
        if (rc < 0)
            cfs_err_set(err, rc, "the superblock at block %llu: %s",
                        (unsigned long long)at[i], why.text);
    }
    free(slot);
    if (rc < 0 && err->code == 0)
        cfs_err_set(err, rc, "there is no whole superblock of a clusterfs "
                    "store, at either end or at block %u; without one nothing "
                    "else can be told from garbage", SUPER_SPARE);
    return rc;
}

int eng_restore(struct cfs_dev *dev, bool dry, unsigned *ret_bad,
                struct cfs_err *err)
{
    struct fmt_super *sb = eng_alloc_aligned(sizeof *sb);
    int rc = find_super(dev, sb, err);
    unsigned bad;

    if (rc == 0) {
        bad = super_copies(dev, sb);
        if (bad != 0 && !dry)
            rc = super_write(dev, sb);
        if (rc < 0)
            cfs_err_set(err, rc, "write of the superblock: %s",
                        cfs_err_str(rc));
        else
            *ret_bad = bad;
    }
    free(sb);
    return rc;
}

/* A number that no earlier store on this device had: it follows from what is
 * there and from the time, so that a simulated run repeats. */
static uint64_t make_nonce(const struct fmt_super *old,
                           const struct fmt_super *sb)
{
    uint64_t seed = XXH3_64bits(old, sizeof *old);

    return XXH3_64bits_withSeed(sb, sizeof *sb, seed) | 1;
}

int super_write_zeros(struct cfs_dev *dev, uint64_t lba, uint64_t blocks)
{
    uint64_t run = MIB_BLOCKS;
    uint8_t *zero = eng_alloc_aligned(run * CFS_BLOCK);
    int rc = 0;

    memset(zero, 0, run * CFS_BLOCK);
    for (uint64_t at = 0; at < blocks && rc == 0; at += run)
        rc = write_at(dev, lba + at, zero,
                      blocks - at < run ? blocks - at : run);
    free(zero);
    return rc;
}

/* Zeros over what an earlier store may have left and we would read before we
 * write it: heartbeats, both ends. The journal of an image file that has its
 * blocks is written too, for the first write to each of them would have a
 * flush wait for the image's file system. */
static int wipe(struct cfs_dev *dev, const struct fmt_super *sb)
{
    int rc = super_write_zeros(dev, 0, AREA_BLOCKS);

    if (rc == 0)
        rc = super_write_zeros(dev, sb->size - AREA_BLOCKS, AREA_BLOCKS);
    if (rc == 0)
        rc = super_write_zeros(dev, sb->hb_lba, sb->hb_blocks);
    if (rc == 0 && dev->is_file && !dev->sparse)
        rc = super_write_zeros(dev, sb->jrn_lba, sb->jrn_blocks);
    return rc;
}

/* The first checkpoint: an empty leaf, and a map with it. */
static int write_first(struct cfs_dev *dev, const struct fmt_super *sb)
{
    struct eng *e = eng_calloc(sizeof *e);
    int rc;

    e->dev = dev;
    e->sb = *sb;
    e->conf = eng_config_default;
    e->epoch = 2;
    e->copies = sb->incompat & FMT_TWICE ? 2 : 1;
    e->last.jrn_start = CFS_BLOCK;
    cache_init(e);
    space_init(e);
    data_init(e);
    ckpt_init(e);
    jrn_init(e);
    jrn_set(e, CFS_BLOCK, 0);
    tree_init(e);
    rc = ckpt_inline(e, true);
    ckpt_fini(e);
    jrn_fini(e);
    data_fini(e);
    space_fini(e);
    cache_fini(e);
    tree_fini(e);
    free(e);
    return rc;
}

int eng_mkfs(struct cfs_dev *dev, const struct eng_format *f,
             struct cfs_err *err)
{
    struct fmt_super *sb = eng_alloc_aligned(sizeof *sb);
    struct fmt_super *old = eng_alloc_aligned(sizeof *old);
    uint64_t size = f->size ? f->size : dev->size;
    int rc;

    memset(sb, 0, sizeof *sb);
    *sb = (struct fmt_super){
        .magic = FMT_SUPER_MAGIC,
        .version = FMT_VERSION,
        .block = CFS_BLOCK,
        .brick = f->brick,
        .cluster = f->cluster,
        .incompat = f->copies == 2 ? FMT_TWICE : 0,
        .compat = size + GROW_MIN <= dev->size ? FMT_FIXED : 0,
        .made = f->made ? f->made : (uint64_t)time(NULL),
    };
    memcpy(sb->label, f->label, sizeof sb->label - 1);
    rc = size > dev->size ? -ENOSPC : super_layout(size / CFS_BLOCK, sb);
    if (rc < 0) {
        cfs_err_set(err, rc, rc == -EFBIG
                    ? "%llu bytes are more than a store can have (63 TiB)"
                    : "%llu bytes are too few for a store (32 MiB)",
                    (unsigned long long)size);
        goto out;
    }
    rc = read_at(dev, 0, old, 1);
    if (rc == 0) {
        sb->nonce = make_nonce(old, sb);
        sb->sum = super_sum(sb);
        rc = wipe(dev, sb);
    }
    if (rc == 0)
        rc = write_first(dev, sb);
    if (rc == 0)
        rc = super_write(dev, sb);
    if (rc < 0)
        cfs_err_set(err, rc, "%s: %s", dev->path, cfs_err_str(rc));
out:
    free(sb);
    free(old);
    return rc;
}
