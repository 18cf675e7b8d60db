/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_main.c - runs a fuzz target without libFuzzer; see fuzz.h.
 *
 *     fuzz_NAME              damaged samples, FUZZ_SECONDS (1) or FUZZ_INPUTS,
 *                            FUZZ_SEED (1)
 *     fuzz_NAME FILE...      these inputs
 *
 * Before each random input it is written to FUZZ_SAVE, if that is set: what
 * is there after a crash caused it.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX (256u * 1024u)

static uint8_t input[MAX];

__attribute__((weak)) size_t fuzz_sample(unsigned n, uint8_t *ret, size_t max)
{
    const size_t len = (size_t)random() % 2000;

    for (size_t i = 0; i < len; i++)
        ret[i] = (uint8_t)random();
    return len;
}

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* From a copy of the exact size, so that a sanitizer sees its end. */
static void run(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    memcpy(copy, data, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t len;

    if (f == NULL) {
        perror(path);
        return 1;
    }
    len = fread(input, 1, sizeof input, f);
    fclose(f);
    run(input, len);
    return 0;
}

/* Change a few bytes, cut, repeat a piece; or leave it as it is. */
static size_t damage(uint8_t *b, size_t len)
{
    size_t at, n;

    for (long i = random() % 5; i > 0 && len > 0; i--)
        b[(size_t)random() % len] ^= (uint8_t)(1u << random() % 8);
    for (long i = random() % 3; i > 0 && len > 0; i--)
        b[(size_t)random() % len] = (uint8_t)random();
    if (random() % 4 == 0 && len > 0)
        len = (size_t)random() % len;
    if (random() % 8 == 0 && len > 1) {
        at = (size_t)random() % (len - 1);
        n = 1 + (size_t)random() % (len - at - 1 + 1);
        if (len + n <= MAX && at + n <= len) {
            memmove(b + at + n, b + at, len - at);
            len += n;
        }
    }
    return len;
}

static void save(const char *path, size_t len)
{
    FILE *f = fopen(path, "wb");

    if (f == NULL)
        return;
    fwrite(input, 1, len, f);
    fclose(f);
}

static unsigned long env(const char *name, unsigned long otherwise)
{
    const char *s = getenv(name);

    return s != NULL ? strtoul(s, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    const char *keep = getenv("FUZZ_SAVE");
    const double end = seconds() + (double)env("FUZZ_SECONDS", 1);
    const unsigned long inputs = env("FUZZ_INPUTS", 0);
    unsigned n = 0;
    int rc = 0;

    if (argc > 1) {
        for (int i = 1; i < argc; i++)
            rc |= run_file(argv[i]);
        return rc;
    }
    srandom((unsigned)env("FUZZ_SEED", 1));
    do {
        const size_t len = damage(input, fuzz_sample(n++, input, MAX / 2));

        if (keep != NULL)
            save(keep, len);
        run(input, len);
    } while (inputs > 0 ? n < inputs : seconds() < end);
    printf("%u inputs\n", n);
    return 0;
}
