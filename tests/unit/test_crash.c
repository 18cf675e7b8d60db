/* SPDX-License-Identifier: Apache-2.0 */
/* test_crash.c - a brick survives power cuts and kills at any moment; a
 * checker that is worth something notices when it does not.
 *
 *   test_crash [--seed N] [--seeds COUNT] [--images PER_SEED] [--long]
 *              [--plant BUG]
 *
 * --long: 400 seeds, 250 images of each. A seed that fails prints itself, and
 * fails again when it is given, in every build. Compiled with CFS_PLANT the program has an
 * engine with bugs in it, none of which is at work until it is named; its
 * tests are that each of them is noticed.
 */
#include "tests/unit/crash.h"

#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef CFS_PLANT
#include "xlators/storage/block/engine/plant.h"
#endif

static struct {
    uint64_t seed;
    unsigned seeds;
    unsigned images; /* of each seed */
} wanted = {.seed = 1, .seeds = 18, .images = 120};

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static const char *const did_names[DID_N] = {
#define X(name) #name,
    CRASH_DID(X)
#undef X
};

/* All that may go wrong had its chance: a test of nothing shows nothing. */
static void check_enough(const unsigned did[DID_N],
                         const struct crash_figures *f)
{
    for (unsigned i = 0; i < DID_N; i++) {
        print_message("%s%u %s", i ? ", " : "", did[i], did_names[i]);
        assert_true(did[i] >= (i == DID_widened                   ? 1
                               : i == DID_journal_wrap            ? 3
                               : i == DID_packs || i == DID_hole ? 10
                                                                  : 50));
    }
    print_message("\n");
    assert_true(f->torn > f->images / 20);
    assert_true(f->again > f->images / 50);
    assert_true(f->killed > f->images / 10);
    assert_true(f->paused > 0);
}

static uint64_t trace_of(uint64_t seed)
{
    struct crash c;
    uint64_t trace;

    crash_run(&c, seed);
    trace = crash_trace(&c);
    crash_end(&c);
    return trace;
}

/* Neither the time nor what memory holds and where it lies has a say: else a
 * failure could not be had again. */
static void a_seed_decides_a_run(void **state)
{
    for (uint64_t seed = 1; seed <= CRASH_MIXES; seed++) {
        uint64_t trace = trace_of(seed);
        void *hole = malloc(1000 * (size_t)seed);

        mallopt(M_PERTURB, 0x55 + (int)seed);
        assert_int_equal(trace_of(seed), trace);
        mallopt(M_PERTURB, 0);
        free(hole);
    }
}

static void every_image_is_good(void **state)
{
    struct crash_figures f = {0};
    unsigned did[DID_N] = {0};
    uint64_t discarded = 0, trace = 0;
    double began = seconds(), runs = 0;

    for (uint64_t seed = wanted.seed; seed < wanted.seed + wanted.seeds;
         seed++) {
        struct crash c;
        double at = seconds();

        crash_run(&c, seed);
        runs += seconds() - at;
        trace = trace * 31 + crash_trace(&c);
        for (unsigned i = 0; i < DID_N; i++)
            did[i] += c.did[i];
        discarded += recdev_discarded(c.dev);
        crash_look(&c, wanted.images, &f);
        crash_end(&c);
        if (f.bad)
            fail_msg("seed %" PRIu64, seed);
        if ((seed - wanted.seed + 1) % 50 == 0)
            fprintf(stderr, "%u images are good\n", f.images);
    }
    began = seconds() - began;
    print_message("seeds %" PRIu64 " to %" PRIu64 ": %u images (%u of a start "
                  "cut again, %u of a kill, %u with torn blocks), %u starts "
                  "with checkpoints on their way; %.0f a second; %.1f s, %.1f "
                  "of them for the runs\n", wanted.seed,
                  wanted.seed + wanted.seeds - 1, f.images, f.again, f.killed,
                  f.torn, f.paused,
                  f.images / (began - runs), began, runs);
    print_message("%" PRIu64 " MiB were discarded; trace of the runs "
                  "%016" PRIx64 "\n", discarded >> 20, trace);
    if (wanted.seeds >= 18 && wanted.images >= 100) {
        check_enough(did, &f);
        assert_true(discarded > 1 << 20);
    }
}

#ifdef CFS_PLANT

enum eng_plant eng_planted = PLANT_N;

static const char *const plant_names[PLANT_N] = {
#define PLANT(name, text) #name,
    ENG_PLANTS(PLANT)
#undef PLANT
};

static const char *program;

/* A bug that was planted may be noticed by the sanitizers too, and who notices
 * it stops where it stands, with all its memory: neither is a report. */
static void expect_reports(const char *options)
{
    char text[1024];
    const char *set = getenv(options);

    snprintf(text, sizeof text, "%s:detect_leaks=0:log_path=stderr",
             set ? set : "");
    setenv(options, text, 1);
}

/* Whether a run of its own with @seed and that bug is good. */
static bool is_good(const char *plant, unsigned seed)
{
    char number[16];
    pid_t pid;
    int status;

    snprintf(number, sizeof number, "%u", seed);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stderr) ||
            !freopen("/dev/null", "w", stdout))
            _exit(127);
        if (strcmp(plant, "none") != 0) {
            expect_reports("ASAN_OPTIONS");
            expect_reports("UBSAN_OPTIONS");
        }
        execl(program, program, "--seed", number, "--seeds", "1", "--images",
              "120", "--plant", plant, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 127);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#define SEEDS  4u /* of the kind of run in which a bug is at home, */
#define NOTICE 3u /* and as many of them notice it: it was no luck */

/* The kind: an index of crash_mixes. Elsewhere a bug may never be at work: the
 * journal, for one, has to be full before it matters that it is reused. (Nor
 * is it a flush that fails in one of three runs of the sixth kind.) */
static const unsigned home_of[PLANT_N] = {
    [PLANT_flush_left_out] = 4,
    [PLANT_freed_block_reused_early] = 3,
    [PLANT_record_before_nodes] = 4,
    [PLANT_journal_reused_early] = 3,
    [PLANT_node_changed_while_frozen] = 4,
    [PLANT_replay_allocates_before_marking] = 5,
    [PLANT_older_checkpoint_taken] = 4,
    [PLANT_generation_used_twice] = 4,
    [PLANT_failed_flush_ignored] = 6,
};

/* Seeds that noticed something. */
static bool noticed[CRASH_MIXES * SEEDS];

static void is_caught(enum eng_plant plant)
{
    unsigned n = 0;

    for (unsigned k = 0; k < SEEDS && n < NOTICE; k++) {
        unsigned seed = home_of[plant] + k * CRASH_MIXES;

        if (is_good(plant_names[plant], seed)) {
            print_message("seed %u does not notice it\n", seed);
            continue;
        }
        noticed[seed] = true;
        n++;
    }
    if (n < NOTICE)
        fail_msg("%s: noticed with %u of %u seeds", plant_names[plant], n,
                 SEEDS);
}

#define PLANT(name, text)                                                    \
    static void name##_is_noticed(void **state)                              \
    {                                                                        \
        is_caught(PLANT_##name);                                             \
    }
ENG_PLANTS(PLANT)
#undef PLANT

/* The same seeds are good without. The last test: it asks about those of the
 * others. */
static void nothing_is_noticed_when_nothing_is_planted(void **state)
{
    unsigned n = 0;

    for (unsigned seed = 0; seed < CFS_ARRAY_SIZE(noticed); seed++) {
        n += noticed[seed];
        assert_true(!noticed[seed] || is_good("none", seed));
    }
    assert_true(n >= NOTICE);
}

static bool plant(const char *name)
{
    for (unsigned i = 0; i < PLANT_N; i++) {
        if (strcmp(name, plant_names[i]) == 0) {
            eng_planted = (enum eng_plant)i;
            return true;
        }
    }
    return strcmp(name, "none") == 0;
}

static int run_planted_tests(void)
{
    const struct CMUnitTest tests[] = {
#define PLANT(name, text) cmocka_unit_test(name##_is_noticed),
        ENG_PLANTS(PLANT)
#undef PLANT
        cmocka_unit_test(nothing_is_noticed_when_nothing_is_planted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static bool plant(const char *name)
{
    return false;
}

#endif

static bool parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'n'},
        {"images", required_argument, NULL, 'i'},
        {"long", no_argument, NULL, 'l'},
        {"plant", required_argument, NULL, 'p'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 's')
            wanted.seed = strtoull(optarg, NULL, 0);
        else if (c == 'n')
            wanted.seeds = (unsigned)strtoul(optarg, NULL, 0);
        else if (c == 'i')
            wanted.images = (unsigned)strtoul(optarg, NULL, 0);
        else if (c == 'l')
            wanted.seeds = 400, wanted.images = 250;
        else if (c != 'p' || !plant(optarg))
            return false;
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(a_seed_decides_a_run),
        cmocka_unit_test(every_image_is_good),
    };
    const struct CMUnitTest images[] = {
        cmocka_unit_test(every_image_is_good),
    };

#ifdef CFS_PLANT
    program = "/proc/self/exe";
    if (argc == 1)
        return run_planted_tests();
#endif
    if (!parse(argc, argv)) {
        fprintf(stderr, "what is that? See the head of test_crash.c.\n");
        return 2;
    }
    if (argc == 1)
        return cmocka_run_group_tests(all, NULL, NULL);
    return cmocka_run_group_tests(images, NULL, NULL);
}
