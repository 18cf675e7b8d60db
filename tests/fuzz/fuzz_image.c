/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_image.c - a forged brick: opened, checked as fsck does, served, used in
 * every way, stopped and opened again.
 *
 * An input is a program that forges one of two images (tests/unit/victim.h):
 * the first byte has flags, then each 8 bytes are one forgery: what (1 byte),
 * how (1), which one (2), where in it (2), with what (2). After them checksums
 * are made right again, as the flags say, so that what was forged is looked
 * at. So the corpus is this file: a sample is some forgeries at random.
 *
 * Memory that it takes is bounded, and so is the time of one input.
 */
#include "tests/fuzz/fuzz.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/forge.h"
#include "tests/unit/victim.h"
#include "xlators/storage/block/engine/beat.h"
#include "xlators/storage/block/engine/node.h"

#define ROOT        cfs_gfid_root
#define STEP        8u
#define STEPS_MAX   16u
#define SECONDS_MAX 30u
/* More than all that the process is, and that an image may make of it. */
#define RSS_MAX_KIB (1536l << 10)

enum flags {
    KILLED = 1,      /* the image with a journal */
    SEAL_TREE = 2,   /* checksums of nodes, values, map, record */
    SEAL_JOURNAL = 4,
    SEAL_SUPER = 8,
    NO_USE = 16,     /* opened and checked only */
};

enum what {
    SUPER,
    RECORD,     /* the newest checkpoint's, and the groups behind it */
    INDEX,
    MAP,
    NODE_HEAD,
    NODE_SLOTS,
    NODE_CELL,  /* its lengths */
    NODE_KEY,
    NODE_VALUE, /* a record, a pointer */
    NODE_ANY,
    NODE_SWAP,  /* becomes another one */
    JRN_HEAD,
    JRN_BODY,
    BLOCK,      /* any */
    HEARTBEAT,
    VALUE_HEAD, /* the first bytes of a record: flags, counts, sizes */
    WHATS,
};

static struct victim victims[2];
static uint8_t io[64 << 10];

/* -- forging -------------------------------------------------------------- */

struct step {
    uint8_t  what;
    uint8_t  how;
    uint16_t which;
    uint16_t where;
    uint16_t with;
};

static void change(uint8_t *p, size_t len, const struct step *s)
{
    uint8_t *at;

    if (len == 0)
        return;
    at = p + s->where % len;
    switch (s->how % 6) {
    case 0:
        *at ^= (uint8_t)(1u << s->with % 8);
        break;
    case 1:
        *at = (uint8_t)s->with;
        break;
    case 2:
        *at = s->with % 2 ? 0xff : 0;
        break;
    case 3:
        *at = (uint8_t)(*at + (s->with % 2 ? 1 : -1));
        break;
    case 4: /* a number of some bytes */
        for (size_t n = 1u << s->with % 4; n > 0 && at < p + len; n--)
            *at++ = s->with & 16 ? 0xff : (uint8_t)(s->with >> 8);
        break;
    default: /* what is here comes from there */
        memmove(at, p + s->with % len,
                len - (s->where % len > s->with % len ? s->where % len
                                                      : s->with % len) > 8
                    ? 8
                    : 1);
        break;
    }
}

static void forge_in_node(const struct forge *im, const struct step *s)
{
    uint8_t *pg = forge_node(im, s->which), *other;
    unsigned slot;
    struct cfs_blob key, val;

    if (!pg)
        return;
    slot = page_n(pg) ? (unsigned)(s->which >> 8) % page_n(pg) : 0;
    if (sizeof(struct fmt_node) + (slot + 1) * sizeof(uint16_t) > NODE_SIZE ||
        page_slots(pg)[slot] > NODE_SIZE - CELL_HEAD)
        return;
    key = page_key(pg, slot);
    val = page_val(pg, slot);
    if (page_slots(pg)[slot] + CELL_HEAD + key.len + val.len > NODE_SIZE)
        return;
    switch (s->what % WHATS) {
    case NODE_HEAD:
        change(pg, sizeof(struct fmt_node), s);
        break;
    case NODE_SLOTS:
        change(pg + sizeof(struct fmt_node), 2 * page_n(pg) + 2, s);
        break;
    case NODE_CELL:
        change(page_cell(pg, slot), CELL_HEAD, s);
        break;
    case NODE_KEY:
        change((uint8_t *)(uintptr_t)key.p, key.len, s);
        break;
    case NODE_VALUE:
        change((uint8_t *)(uintptr_t)val.p, val.len, s);
        break;
    case VALUE_HEAD:
        change((uint8_t *)(uintptr_t)val.p, val.len < 12 ? val.len : 12, s);
        break;
    case NODE_SWAP:
        other = forge_node(im, s->with);
        memcpy(pg, other, NODE_SIZE);
        break;
    default:
        change(pg, NODE_SIZE, s);
        break;
    }
}

static void forge_in_map(const struct forge *im, const struct step *s)
{
    struct fmt_ckpt *c = forge_newest(im);
    struct fmt_top *top = (struct fmt_top *)(void *)(c + 1);
    uint64_t lba = im->sb->grp_lba;
    struct fmt_index *ix;

    if (top->place > 1 || !forge_has(im, lba, GROUP_HEAD))
        return;
    ix = (struct fmt_index *)(void *)forge_block(im, lba + top->place);
    if (s->what % WHATS == INDEX)
        change((uint8_t *)ix, s->which % 2 ? sizeof *ix : 2048 + 64, s);
    else if (ix->page[0].place < 2)
        change(forge_block(im, lba + 2 + ix->page[0].place),
               s->which % 2 ? 1024 : CFS_BLOCK, s);
}

/* A slot that somebody uses, changed; mostly with its checksum made right. */
static void forge_in_beat(const struct forge *im, const struct step *s)
{
    static const struct beat some = {.session = 3, .node = 1, .name = "n1",
                                     .service = "mount", .generation = 77,
                                     .seq = 5, .dead_ms = 12000};
    const unsigned slot = s->which % 64;
    struct fmt_beat *b = (struct fmt_beat *)(void *)forge_block(
        im, AREA_BLOCKS + slot);

    beat_pack(im->sb, slot, &some, b);
    change((uint8_t *)b, s->which % 8 ? 160 : CFS_BLOCK, s);
    if (s->which % 16)
        b->sum = forge_sum(im, b, offsetof(struct fmt_beat, sum));
}

/* What is believed of the slots can be shown. */
static void look_at_beats(struct recdev *image)
{
    const struct forge im = forge_of(recdev_bytes(image), recdev_size(image));

    for (unsigned i = 0; i < 64; i++) {
        struct beat b;

        if (beat_unpack(im.sb, i, (const void *)forge_block(
                                      &im, AREA_BLOCKS + i), &b) < 0)
            continue;
        assert(strnlen(b.name, sizeof b.name) < sizeof b.name &&
               strnlen(b.service, sizeof b.service) < sizeof b.service &&
               b.name[0] != 0 && b.session != 0 && b.dead_ms != 0);
    }
}

static void forge_once(const struct forge *im, const struct step *s)
{
    struct fmt_ckpt *c = forge_newest(im);
    uint64_t nonce = im->sb->nonce;
    uint32_t len = 0;
    uint8_t *rec;

    switch (s->what % WHATS) {
    case SUPER: /* not its nonce, or nothing would be right */
        change(im->bytes, s->which % 4 ? 280 : CFS_BLOCK, s);
        im->sb->nonce = nonce;
        break;
    case RECORD:
        change((uint8_t *)c, sizeof *c + sizeof(struct fmt_top), s);
        break;
    case INDEX:
    case MAP:
        forge_in_map(im, s);
        break;
    case JRN_HEAD:
    case JRN_BODY:
        rec = forge_rec(im, s->which % 200, &len);
        if (rec && s->what % WHATS == JRN_HEAD)
            change(rec, sizeof(struct fmt_rec), s);
        else if (rec)
            change(rec + sizeof(struct fmt_rec), len - sizeof(struct fmt_rec),
                   s);
        break;
    case BLOCK:
        change(forge_block(im, s->which % (im->size / CFS_BLOCK)), CFS_BLOCK,
               s);
        break;
    case HEARTBEAT:
        forge_in_beat(im, s);
        break;
    default:
        forge_in_node(im, s);
        break;
    }
}

static void forge_all(const struct forge *im, const uint8_t *data, size_t size)
{
    for (size_t at = 1, n = 0; at + STEP <= size && n < STEPS_MAX;
         at += STEP, n++) {
        struct step s;

        memcpy(&s, data + at, sizeof s);
        forge_once(im, &s);
    }
    if (data[0] & SEAL_TREE) {
        struct fmt_ckpt *c = forge_newest(im);

        forge_seal_tree(im, c);
        forge_seal_map(im, c);
        forge_seal_record(im, c);
    }
    if (data[0] & SEAL_JOURNAL)
        forge_seal_journal(im, forge_newest(im));
    if (data[0] & SEAL_SUPER)
        forge_seal_super(im);
}

/* -- using ---------------------------------------------------------------- */

/* Whatever comes of it; what it must not do is end the process. */
static void change_inode(struct victim *v, struct cfs_gfid g, unsigned how)
{
    struct fix *f = &v->f;
    uint64_t at;
    uint32_t n;

    switch (how % 10) {
    case 0:
        (void)fix_write(f, g, 100, io, 9000);
        break;
    case 1:
        (void)fix_truncate(f, g, 5000);
        break;
    case 2:
        (void)fix_fallocate(f, g, FALLOC_FL_PUNCH_HOLE |
                                      FALLOC_FL_KEEP_SIZE, 77, 100000);
        break;
    case 3:
        (void)fix_fallocate(f, g, 0, 0, 1 << 20);
        break;
    case 4:
        (void)fix_setxattr(f, g, "user.x", io, 20000, 0);
        break;
    case 5:
        (void)fix_removexattr(f, g, "user.note");
        break;
    case 6:
        (void)fix_copy(f, v->gfid[5], 0, g, 3000, 30000, &n);
        break;
    case 7:
        (void)fix_link(f, g, v->gfid[1], "another");
        break;
    case 8:
        (void)fix_lseek(f, g, 0, SEEK_HOLE, &at);
        (void)fix_create(f, g, "child", S_IFREG | 0600, NULL);
        break;
    default:
        (void)fix_fsync(f, g);
        break;
    }
}

static void use(struct victim *v)
{
    struct fix *f = &v->f;
    uint64_t hash;
    char name[32];

    f->change_no += 1000;
    for (unsigned i = 0; i < v->n; i++)
        (void)victim_see(v, v->gfid[i], &hash);
    for (unsigned i = 0; i < v->n; i += 3)
        change_inode(v, v->gfid[i], i / 3);
    for (unsigned i = 30; i < 60; i += 2) {
        snprintf(name, sizeof name, "small-%u", i * 7919 % 1000);
        if (i % 4)
            (void)fix_unlink(f, v->gfid[1 + i % 4], name, false);
        else
            (void)fix_rename(f, v->gfid[1 + i % 4], name, v->gfid[1], "to",
                             0);
        (void)fix_purge(f, v->gfid[5 + i]);
    }
    (void)fix_session_close(f, f->session.no);
}

static void look(struct victim *v, struct recdev *image, bool no_use)
{
    const struct fix was = v->f;
    uint64_t findings;

    look_at_beats(image);
    fix_put_on(&v->f, recdev_open(image));
    (void)victim_fsck(v, &findings);
    if (no_use)
        return;
    for (unsigned again = 0; again < 2; again++) {
        if (victim_start(v) < 0)
            return;
        use(v);
        if (again == 0)
            recdev_kill(image);
        fix_halt(&v->f);
    }
    /* The next image is met by the same client. */
    v->f.view = was.view;
    v->f.session = was.session;
    v->f.change_no = was.change_no;
    v->f.next_ino = was.next_ino;
    v->f.now = was.now;
}

static void stay_within_bounds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    if (u.ru_maxrss > RSS_MAX_KIB) {
        fprintf(stderr, "an image of 32 MiB took %ld KiB of memory\n",
                u.ru_maxrss);
        abort();
    }
}

static void set_up(void)
{
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    victim_make(&victims[0], false);
    victim_make(&victims[1], true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct recdev *image;
    struct forge im;
    struct victim *v;

    if (size < 1)
        return 0;
    if (!victims[0].dev)
        set_up();
    v = &victims[data[0] & KILLED];
    alarm(SECONDS_MAX);
    image = victim_image(v);
    im = forge_of(recdev_bytes(image), recdev_size(image));
    forge_all(&im, data, size);
    look(v, image, data[0] & NO_USE);
    recdev_free(image);
    alarm(0);
    stay_within_bounds();
    return 0;
}

size_t fuzz_sample(unsigned n, uint8_t *ret, size_t max)
{
    size_t len = 1;

    /* Mostly everything is sealed, and one thing is forged. */
    ret[0] = (uint8_t)((n & KILLED) |
                       (random() % 8 ? SEAL_TREE | SEAL_JOURNAL | SEAL_SUPER
                                     : random() % 16) |
                       (random() % 8 ? 0 : NO_USE));
    for (long steps = random() % 2 ? 1 : 1 + random() % 4; steps > 0;
         steps--) {
        for (unsigned i = 0; i < STEP; i++)
            ret[len++] = (uint8_t)random();
    }
    assert(len <= max);
    return len;
}
