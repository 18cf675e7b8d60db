/* SPDX-License-Identifier: Apache-2.0 */
/* parts_packs.c - what compression saves and costs: files written and read by
 * pieces of each size; small reads of and overwrites into them; the space of
 * one that is overwritten at random. Each with the option beside without, in
 * turns, in one store: the ratio of a round is what counts. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/store/store.h"

#define FILE_BYTES ((uint64_t)256 << 20)
#define ROUNDS     3u
#define SMALL      4096u

/* Compress what is written from now on, or do not. */
static void set_packs(struct bench *b, bool pack)
{
    ops_reconfigure(b->ops, ops_config_default.small_file, pack);
    rig_checkpoint(b);
}

/* Blocks of the device that nobody has. */
static double free_blocks(struct bench *b)
{
    struct eng_info info;

    rig_checkpoint(b);
    eng_info(rig_engine(b), &info);
    return (double)(info.free + info.pending);
}

struct got {
    double write; /* s, fsync included */
    double read;
    double space; /* of the file's bytes */
    double runs;
};

static void unlink_file(struct files *f, struct file_result *r)
{
    const struct file_spec s = {.act = FILE_UNLINK, .count = 1};

    files_run(f, &s, r);
}

static void make_file(struct bench *b, struct files *f, uint32_t io,
                      struct file_result *r, struct got *ret)
{
    const struct file_spec make = {.act = FILE_CREATE, .count = 1};
    const struct file_spec s = {.act = FILE_WRITE, .io = io, .flight = 8,
                                .count = FILE_BYTES / io, .same = true};
    double before;
    uint64_t began;

    files_run(f, &make, r);
    before = free_blocks(b);
    rig_forget(b->path);
    began = now_ns(b);
    files_run(f, &s, r);
    files_fsync(f, 0);
    ret->write = (double)(now_ns(b) - began) / 1e9;
    ret->space = (before - free_blocks(b)) * 4096 / (double)FILE_BYTES;
    ret->runs = (double)files_runs(f, 0);
}

static void report_pair(struct bench *b, const char *what, const char *unit,
                        double off, double on)
{
    char name[96];

    snprintf(name, sizeof name, "%s, off", what);
    report_add(&b->report, name, off, unit);
    snprintf(name, sizeof name, "%s, lz4", what);
    report_add(&b->report, name, on, unit);
}

static void report_ratio(struct bench *b, const char *what, double *v)
{
    char name[96];

    snprintf(name, sizeof name, "%s, lz4 / off", what);
    report_add(&b->report, name, median(v, ROUNDS), "times");
}

/* -- streams --------------------------------------------------------------- */

static void stream(struct bench *b, struct files *f, const char *kind,
                   uint32_t io)
{
    struct file_result *r = need(calloc(1, sizeof *r));
    const struct file_spec s = {.act = FILE_READ, .io = 1 << 20, .flight = 8,
                                .count = FILE_BYTES >> 20, .same = true};
    double write[2][ROUNDS], read[2][ROUNDS], space[2][ROUNDS];
    double w[ROUNDS], rd[ROUNDS];
    const double mib = (double)(FILE_BYTES >> 20);
    char name[64];

    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned on = 0; on < 2; on++) {
            struct got got;
            uint64_t began;

            set_packs(b, on);
            make_file(b, f, io, r, &got);
            rig_forget(b->path);
            began = now_ns(b);
            files_run(f, &s, r);
            write[on][i] = mib / got.write;
            read[on][i] = mib * 1e9 / (double)(now_ns(b) - began);
            space[on][i] = 100 * got.space;
            unlink_file(f, r);
        }
        w[i] = write[1][i] / write[0][i];
        rd[i] = read[1][i] / read[0][i];
    }
    snprintf(name, sizeof name, "%s by %u KiB: space", kind, io / 1024);
    report_pair(b, name, "%", median(space[0], ROUNDS),
                median(space[1], ROUNDS));
    snprintf(name, sizeof name, "%s by %u KiB: write, fsync", kind, io / 1024);
    report_pair(b, name, "MiB/s", median(write[0], ROUNDS),
                median(write[1], ROUNDS));
    report_ratio(b, name, w);
    snprintf(name, sizeof name, "%s by %u KiB: read", kind, io / 1024);
    report_pair(b, name, "MiB/s", median(read[0], ROUNDS),
                median(read[1], ROUNDS));
    report_ratio(b, name, rd);
    free(r);
}

/* -- small reads ------------------------------------------------------------ */

/* @count random reads of file 0: how long each takes, in us, and what it has
 * read of the device, in KiB. */
static void read_small(struct bench *b, struct files *f, uint64_t count,
                       unsigned flight, struct file_result *r, double *ret_us,
                       double *ret_kib)
{
    const struct file_spec s = {.act = FILE_READ, .io = SMALL, .same = true,
                                .count = count, .flight = flight,
                                .spread = FILE_BYTES, .seed = count};
    const uint64_t before = rig_read();

    files_run(f, &s, r);
    *ret_us = r->s * 1e6 / (double)count;
    *ret_kib = (double)(rig_read() - before) / 1024 / (double)count;
}

/* What is not in memory, one by one; what is, many at once. */
static void small_reads(struct bench *b, struct files *f, uint32_t io)
{
    struct file_result *r = need(calloc(1, sizeof *r));
    double cold[2][ROUNDS], warm[2][ROUNDS], kib[2][ROUNDS], none;
    double c[ROUNDS], w[ROUNDS];
    char name[64];

    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned on = 0; on < 2; on++) {
            struct got got;

            set_packs(b, on);
            make_file(b, f, io, r, &got);
            rig_forget(b->path);
            read_small(b, f, 1000, 1, r, &cold[on][i], &kib[on][i]);
            read_small(b, f, FILE_BYTES / SMALL, 32, r, &none, &none);
            read_small(b, f, 20000, 32, r, &warm[on][i], &none);
            unlink_file(f, r);
        }
        c[i] = cold[1][i] / cold[0][i];
        w[i] = warm[1][i] / warm[0][i];
    }
    snprintf(name, sizeof name, "by %u KiB: read of 4 KiB, cold", io / 1024);
    report_pair(b, name, "us", median(cold[0], ROUNDS),
                median(cold[1], ROUNDS));
    report_ratio(b, name, c);
    snprintf(name, sizeof name, "by %u KiB: of the device for it", io / 1024);
    report_pair(b, name, "KiB", median(kib[0], ROUNDS),
                median(kib[1], ROUNDS));
    snprintf(name, sizeof name, "by %u KiB: read of 4 KiB, warm", io / 1024);
    report_pair(b, name, "us", median(warm[0], ROUNDS),
                median(warm[1], ROUNDS));
    report_ratio(b, name, w);
    free(r);
}

/* -- small overwrites -------------------------------------------------------- */

#define STEPS 6u

/* As many blocks written as a half of the file has, at random, and so on. */
static void small_writes(struct bench *b, struct files *f, uint32_t io)
{
    struct file_result *r = need(calloc(1, sizeof *r));
    const uint64_t count = FILE_BYTES / SMALL / 2;
    double us[2], kib[2], space[2][STEPS];
    char name[64];

    for (unsigned on = 0; on < 2; on++) {
        struct got got;
        uint64_t began, wrote;

        set_packs(b, on);
        make_file(b, f, io, r, &got);
        us[on] = kib[on] = 0;
        for (unsigned i = 0; i < STEPS; i++) {
            const struct file_spec s = {.act = FILE_WRITE, .io = SMALL,
                                        .same = true, .count = count,
                                        .flight = 8, .seed = i,
                                        .spread = FILE_BYTES};
            const double before = free_blocks(b);

            wrote = rig_written();
            began = now_ns(b);
            files_run(f, &s, r);
            files_fsync(f, 0);
            us[on] += (double)(now_ns(b) - began) / 1e3;
            kib[on] += (double)(rig_written() - wrote) / 1024;
            got.space += (before - free_blocks(b)) * 4096 /
                         (double)FILE_BYTES;
            space[on][i] = 100 * got.space;
        }
        unlink_file(f, r);
    }
    snprintf(name, sizeof name, "by %u KiB: overwrite of 4 KiB", io / 1024);
    report_pair(b, name, "us", us[0] / STEPS / (double)count,
                us[1] / STEPS / (double)count);
    snprintf(name, sizeof name, "by %u KiB: to the device for it", io / 1024);
    report_pair(b, name, "KiB", kib[0] / STEPS / (double)count,
                kib[1] / STEPS / (double)count);
    for (unsigned i = 0; i < STEPS; i++) {
        snprintf(name, sizeof name, "by %u KiB: space after %u%% overwritten",
                 io / 1024, 50 * (i + 1));
        report_pair(b, name, "%", space[0][i], space[1][i]);
    }
    free(r);
}

void part_packs(struct bench *b)
{
    static const uint32_t io[] = {16 << 10, 32 << 10, 64 << 10, 128 << 10,
                                  1 << 20};
    const uint64_t size = b->size;
    struct files *f;

    report_part(&b->report, "compressed data");
    if (b->size < (uint64_t)4 << 30)
        b->size = (uint64_t)4 << 30;
    b->pack = true;
    rig_make(b, true);
    rig_open(b, true);
    f = files_open(b, 1);
    b->same = 64;
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(io); i++)
        stream(b, f, "data of a half", io[i]);
    small_reads(b, f, 1 << 20);
    small_reads(b, f, 16 << 10);
    small_writes(b, f, 1 << 20);
    b->same = 0;
    stream(b, f, "random data", 64 << 10);
    stream(b, f, "random data", 1 << 20);
    files_close(f);
    rig_close(b, true);
    rig_remove(b);
    b->pack = false;
    b->size = size;
}
