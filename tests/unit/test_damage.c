/* SPDX-License-Identifier: Apache-2.0 */
/* test_damage.c - whatever happens to a block of the device, nothing is ever
 * told that was not so: each read of each inode gives what was there, or an
 * error; and when there is an error anywhere, fsck knew of it.
 *
 * A trial is one damage to one image of a small brick (victim.h): a bit
 * flipped; a write that was lost, or went to another block; a block of zeros.
 * Half of the images were stopped cleanly, half killed with a journal. What
 * comes of it is one of:
 *
 *   refused   it does not open
 *   found     fsck has findings; what is read is right, or an error
 *   cut       the journal ends earlier, among changes that no fsync covered
 *   copy      all is as it was: the other copy was taken
 *   unused    all is as it was: nobody needs what was damaged
 *
 *   CFS_DAMAGES=N     trials (10000)
 *   CFS_DAMAGE=N      that one alone
 */
#include "tests/unit/victim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/simloop.h"

#define WORKERS 2u

enum kind { FLIP, LOST, MISPLACED, ZEROED, KINDS };
enum outcome { REFUSED, FOUND, CUT, COPY, UNUSED, BAD, OUTCOMES };

static const char *const kind_names[] = {"flipped bit", "lost write",
                                         "misplaced write", "zeroed block"};
static const char *const area_names[] = {"super", "map",   "node",
                                         "journal", "data", "free"};
static const char *const outcome_names[] = {"refused", "found",  "cut",
                                            "copy",    "unused", "BAD"};

/* Shared by all workers. */
struct figures {
    unsigned n[KINDS][VICTIM_AREAS][OUTCOMES];
    unsigned at[WORKERS]; /* the trial under way */
};

/* One damage, worked out from the number of the trial. */
struct damage {
    enum kind                  kind;
    const struct victim_block *block; /* NULL: a free one */
    uint64_t                   lba;
    uint64_t                   to;    /* where it went */
    bool                       tail;  /* of what was lost or overwritten */
};

static const struct victim_block *find(const struct victim *v, uint64_t lba)
{
    unsigned lo = 0, hi = v->n_blocks;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;

        if (v->block[mid].lba < lba)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->n_blocks && v->block[lo].lba == lba ? &v->block[lo] : NULL;
}

/* A block that was written, of an area that is as likely as any other, and
 * rather late than early. */
static const struct victim_block *pick(const struct victim *v, uint64_t *rnd)
{
    enum victim_area area = (enum victim_area)simloop_random(rnd, VICTIM_FREE);
    bool live = area != VICTIM_OTHER && simloop_random(rnd, 3) > 0;
    const struct victim_block *b;

    do {
        b = &v->block[simloop_random(rnd, v->n_blocks)];
    } while (b->area != area || (live && !b->live));
    return b;
}

static struct damage choose(const struct victim *v, uint64_t *rnd)
{
    struct damage d = {.kind = (enum kind)simloop_random(rnd, 10)};
    const struct victim_block *over;

    if (d.kind >= KINDS)
        d.kind = FLIP;
    if (d.kind == FLIP && simloop_random(rnd, 8) == 0) {
        d.lba = simloop_random(rnd, VICTIM_SIZE / CFS_BLOCK);
        d.block = find(v, d.lba);
    } else {
        d.block = pick(v, rnd);
        d.lba = d.block->lba;
    }
    d.tail = d.block && d.block->tail;
    if (d.kind == MISPLACED) {
        d.to = simloop_random(rnd, 2) ? pick(v, rnd)->lba
                                      : d.lba ^ (1u << simloop_random(rnd, 10));
        over = find(v, d.to);
        d.tail = d.tail || (over && over->tail);
    }
    return d;
}

static void inflict(const struct damage *d, uint8_t *bytes, uint64_t *rnd)
{
    uint8_t *at = bytes + d->lba * CFS_BLOCK;

    switch (d->kind) {
    case FLIP:
        at[simloop_random(rnd, CFS_BLOCK)] ^=
            (uint8_t)(1u << simloop_random(rnd, 8));
        break;
    case MISPLACED:
        memcpy(bytes + d->to * CFS_BLOCK, at, CFS_BLOCK);
        memcpy(at, d->block->old, CFS_BLOCK);
        break;
    case LOST:
        memcpy(at, d->block->old, CFS_BLOCK);
        break;
    default:
        memset(at, 0, CFS_BLOCK);
        break;
    }
}

static enum outcome judge(const struct victim *v, const struct damage *d,
                          const struct victim_look *l)
{
    const unsigned right = 1u << (v->states - 1);

    if (l->lied)
        return BAD;
    if (!l->started)
        return REFUSED;
    if (l->findings > 0 || !l->opened)
        return l->states & right || d->tail ? FOUND : BAD;
    if (l->errors > 0)
        return BAD; /* and fsck saw nothing */
    if (l->states != right)
        return d->tail ? CUT : BAD;
    return d->block && d->block->area == VICTIM_SUPER ? COPY : UNUSED;
}

static enum outcome trial(struct victim v[2], unsigned n, struct figures *f)
{
    struct victim *w = &v[n % 2];
    uint64_t rnd = n;
    struct damage d = choose(w, &rnd);
    struct recdev *image = victim_image(w);
    enum victim_area area = d.block ? d.block->area : VICTIM_FREE;
    struct victim_look look;
    enum outcome o;

    inflict(&d, recdev_bytes(image), &rnd);
    victim_look(w, image, &look);
    o = judge(w, &d, &look);
    recdev_free(image);
    __atomic_fetch_add(&f->n[d.kind][area][o], 1, __ATOMIC_RELAXED);
    if (o == BAD)
        fprintf(stderr, "  ^ trial %u: %s in %s, block %" PRIu64
                ", to %" PRIu64 ": %s, %" PRIu64 " findings, %u errors, "
                "states %#x\n", n, kind_names[d.kind], area_names[area],
                d.lba, d.to, look.started ? "it starts" : "it does not start",
                look.findings, look.errors, look.states);
    return o;
}

/* -- all of them ---------------------------------------------------------- */

static unsigned number(const char *name, unsigned otherwise)
{
    const char *s = getenv(name);

    return s ? (unsigned)strtoul(s, NULL, 0) : otherwise;
}

static void work(struct victim v[2], unsigned worker, unsigned n,
                 struct figures *f)
{
    for (unsigned i = worker; i < n; i += WORKERS) {
        f->at[worker] = i;
        alarm(60);
        if (trial(v, i, f) == BAD)
            _exit(1);
    }
    _exit(0);
}

/* In processes of their own: one that dies is told with its trial. */
static void run_all(struct victim v[2], unsigned n, struct figures *f)
{
    pid_t pid[WORKERS];

    for (unsigned i = 0; i < WORKERS; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0)
            work(v, i, n, f);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        int status;

        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        if (status != 0)
            fail_msg("trial %u: %s %d", f->at[i],
                     WIFSIGNALED(status) ? "ended by signal" : "exit status",
                     WIFSIGNALED(status) ? WTERMSIG(status)
                                         : WEXITSTATUS(status));
    }
}

static unsigned of(const struct figures *f, enum victim_area area,
                   enum outcome o)
{
    unsigned n = 0;

    for (unsigned k = 0; k < KINDS; k++)
        n += f->n[k][area][o];
    return n;
}

static void print(const struct figures *f)
{
    printf("%16s %8s", "", "");
    for (unsigned o = 0; o < OUTCOMES; o++)
        printf("%9s", outcome_names[o]);
    for (unsigned k = 0; k < KINDS; k++) {
        for (unsigned a = 0; a < VICTIM_AREAS; a++) {
            printf("\n%16s %8s", kind_names[k], area_names[a]);
            for (unsigned o = 0; o < OUTCOMES; o++)
                printf("%9u", f->n[k][a][o]);
        }
    }
    putchar('\n');
}

static void no_damage_is_ever_told_as_truth(void **state)
{
    struct figures *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned n = number("CFS_DAMAGES", 10000), sum = 0;
    unsigned one = number("CFS_DAMAGE", UINT32_MAX);
    struct victim *v = calloc(2, sizeof *v);

    victim_make(&v[0], false);
    victim_make(&v[1], true);
    if (one != UINT32_MAX)
        assert_int_not_equal(trial(v, one, f), BAD);
    else
        run_all(v, n, f);
    print(f);
    for (unsigned a = 0; a < VICTIM_AREAS; a++)
        for (unsigned o = 0; o < OUTCOMES; o++)
            sum += of(f, (enum victim_area)a, (enum outcome)o);
    assert_int_equal(sum, one != UINT32_MAX ? 1 : n);
    if (one == UINT32_MAX && n >= 1000) { /* the trials are worth something */
        assert_true(of(f, VICTIM_NODE, FOUND) + of(f, VICTIM_NODE, REFUSED) >
                    n / 40);
        assert_true(of(f, VICTIM_OTHER, FOUND) > n / 40);
        assert_true(of(f, VICTIM_MAP, REFUSED) > n / 100);
        assert_true(of(f, VICTIM_JOURNAL, REFUSED) > n / 200);
        assert_true(of(f, VICTIM_JOURNAL, CUT) > 0);
        assert_true(of(f, VICTIM_SUPER, COPY) > n / 40);
    }
    victim_free(&v[0]);
    victim_free(&v[1]);
    free(v);
    munmap(f, sizeof *f);
}

/* Without any damage all is as it was left. */
static void a_sound_image_is_as_it_was(void **state)
{
    for (unsigned killed = 0; killed < 2; killed++) {
        struct victim *v = calloc(1, sizeof *v);
        struct recdev *image;
        struct victim_look look;

        victim_make(v, killed);
        image = victim_image(v);
        victim_look(v, image, &look);
        assert_true(look.opened && look.started && !look.lied);
        assert_int_equal(look.findings, 0);
        assert_int_equal(look.errors, 0);
        assert_int_equal(look.states, 1u << (v->states - 1));
        recdev_free(image);
        victim_free(v);
        free(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_image_is_as_it_was),
        cmocka_unit_test(no_damage_is_ever_told_as_truth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
