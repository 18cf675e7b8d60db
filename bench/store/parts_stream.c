/* SPDX-License-Identifier: Apache-2.0 */
/* parts_stream.c - large files: sequential throughput against plain I/O on a
 * file beside the store, what of the traffic is metadata, contiguity. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/store/store.h"

#define FILE_BYTES ((uint64_t)1 << 30)
#define IO_BYTES   (1024u * 1024u)
#define WRITERS    4u
#define ROUNDS     3u

static double mib_s(uint64_t bytes, uint64_t ns)
{
    return (double)bytes / 1048576.0 * 1e9 / (double)ns;
}

/* -- plain I/O ------------------------------------------------------------- */

struct plain {
    double write;
    double read;
};

/* As dd does it around the page cache: what the device can do. */
static void plain_io(struct bench *b, int fd, struct plain *ret)
{
    uint8_t *buf = need(aligned_alloc(4096, IO_BYTES));
    uint64_t rnd = 1, began;

    rig_random(&rnd, buf, IO_BYTES);
    began = now_ns(b);
    for (uint64_t at = 0; at < FILE_BYTES; at += IO_BYTES)
        if (pwrite(fd, buf, IO_BYTES, (off_t)at) != IO_BYTES)
            die("plain write", -errno, NULL);
    if (fdatasync(fd) < 0)
        die("plain fdatasync", -errno, NULL);
    ret->write = mib_s(FILE_BYTES, now_ns(b) - began);
    began = now_ns(b);
    for (uint64_t at = 0; at < FILE_BYTES; at += IO_BYTES)
        if (pread(fd, buf, IO_BYTES, (off_t)at) != IO_BYTES)
            die("plain read", -errno, NULL);
    ret->read = mib_s(FILE_BYTES, now_ns(b) - began);
    free(buf);
}

/* -- the store ------------------------------------------------------------- */

static void store_io(struct bench *b, struct files *f, uint64_t i,
                     struct plain *ret)
{
    struct file_result *r = need(calloc(1, sizeof *r));
    struct file_spec s = {.first = i, .count = FILE_BYTES / IO_BYTES,
                          .io = IO_BYTES, .flight = 8, .same = true};
    uint64_t began;

    s.act = FILE_WRITE;
    rig_forget(b->path);
    began = now_ns(b);
    files_run(f, &s, r);
    files_fsync(f, i);
    ret->write = mib_s(FILE_BYTES, now_ns(b) - began);
    rig_forget(b->path);
    s.act = FILE_READ;
    began = now_ns(b);
    files_run(f, &s, r);
    ret->read = mib_s(FILE_BYTES, now_ns(b) - began);
    free(r);
}

/* Both in turns; the ratio of a round is what counts. */
static void compare(struct bench *b, struct files *f)
{
    double w[ROUNDS], r[ROUNDS], wr[ROUNDS], rr[ROUNDS], sw[ROUNDS], sr[ROUNDS];
    struct report *rep = &b->report;
    char path[4096];
    int fd = rig_plain(b, ".plain", FILE_BYTES, path, sizeof path);
    int direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct plain p, s;

        plain_io(b, direct >= 0 ? direct : fd, &p);
        store_io(b, f, i, &s);
        w[i] = p.write;
        r[i] = p.read;
        sw[i] = s.write;
        sr[i] = s.read;
        wr[i] = s.write / p.write;
        rr[i] = s.read / p.read;
    }
    if (direct >= 0)
        close(direct);
    close(fd);
    unlink(path);
    report_add(rep, "plain file, write of 1 GiB and fdatasync",
               median(w, ROUNDS), "MiB/s");
    report_add(rep, "store, write of 1 GiB and fsync", median(sw, ROUNDS),
               "MiB/s");
    report_aim(rep, "write, store / plain", median(wr, ROUNDS), "times",
               AIM_MIN, 0.9);
    report_add(rep, "plain file, read of 1 GiB", median(r, ROUNDS), "MiB/s");
    report_add(rep, "store, read of 1 GiB", median(sr, ROUNDS), "MiB/s");
    report_aim(rep, "read, store / plain", median(rr, ROUNDS), "times",
               AIM_MIN, 0.9);
}

/* What is written beside the data, journal and checkpoint included. */
static void overhead(struct bench *b, struct files *f)
{
    struct file_result *r = need(calloc(1, sizeof *r));
    struct file_spec s = {.act = FILE_WRITE, .count = FILE_BYTES / IO_BYTES,
                          .io = IO_BYTES, .flight = 8, .same = true};
    uint64_t before, after;

    rig_checkpoint(b);
    before = rig_written();
    files_run(f, &s, r);
    files_fsync(f, 0);
    rig_checkpoint(b);
    after = rig_written();
    report_aim(&b->report, "metadata of a sequential write",
               100.0 * (double)(after - before - FILE_BYTES) / FILE_BYTES,
               "%", AIM_MAX, 1);
    free(r);
}

/* -- several writers at once ----------------------------------------------- */

static void append_in_turns(struct files *f, uint64_t first, uint32_t io,
                            uint64_t bytes)
{
    struct file_result *r = need(calloc(1, sizeof *r));
    struct file_spec s = {.act = FILE_APPEND, .first = first,
                          .count = WRITERS, .io = io};

    for (uint64_t at = 0; at < bytes; at += io)
        files_run(f, &s, r);
    free(r);
}

static void contiguity(struct bench *b, struct files *f)
{
    static const uint32_t io[] = {64 * 1024, 1024 * 1024};
    const uint64_t bytes = 64u << 20;

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(io); i++) {
        uint64_t first = ROUNDS + WRITERS * i, most = 0;
        char name[64];

        append_in_turns(f, first, io[i], bytes);
        for (unsigned k = 0; k < WRITERS; k++) {
            uint64_t n = files_runs(f, first + k);

            if (n > most)
                most = n;
        }
        snprintf(name, sizeof name, "%u files of 64 MiB in turns of %u KiB",
                 WRITERS, io[i] / 1024);
        report_aim(&b->report, name, (double)most, "runs", AIM_MAX, 16);
    }
}

void part_stream(struct bench *b)
{
    struct file_result *r = need(calloc(1, sizeof *r));
    const uint64_t n = ROUNDS + 2 * WRITERS;
    struct file_spec s = {.act = FILE_CREATE, .count = n};
    struct report *rep = &b->report;
    struct files *f;
    uint64_t size = b->size;

    report_part(rep, "streams");
    if (b->size < (uint64_t)8 << 30)
        b->size = (uint64_t)8 << 30;
    rig_make(b, true);
    rig_open(b, true);
    f = files_open(b, n);
    files_run(f, &s, r);
    rig_checkpoint(b);
    compare(b, f);
    overhead(b, f);
    report_aim(rep, "a file of 1 GiB", (double)files_runs(f, ROUNDS - 1),
               "runs", AIM_MAX, 64);
    contiguity(b, f);
    files_close(f);
    rig_close(b, true);
    rig_remove(b);
    b->size = size;
    free(r);
}
