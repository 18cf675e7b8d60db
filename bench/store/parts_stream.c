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
#define ROUNDS     5u
#define IN_STREAM  8u /* requests of the store's in flight */

static double mib_s(uint64_t bytes, uint64_t ns)
{
    return (double)bytes / 1048576.0 * 1e9 / (double)ns;
}

/* -- plain I/O ------------------------------------------------------------- */

struct plain {
    double write;
    double read;
};

/* As dd does it around the page cache: what the device can do. With one buffer
 * it is always in the processor's caches, as no real data is; so also with
 * @n_buf in turns. Memory like the store's. */
static void plain_io(struct bench *b, int fd, unsigned n_buf,
                     struct plain *ret)
{
    struct cfs_buf buf[IN_STREAM];
    uint64_t rnd = 1, began;

    for (unsigned i = 0; i < n_buf; i++) {
        buf[i] = cfs_buf_new(IO_BYTES);
        rig_random(&rnd, buf[i].data, IO_BYTES);
    }
    began = now_ns(b);
    for (uint64_t at = 0; at < FILE_BYTES; at += IO_BYTES)
        if (pwrite(fd, buf[at / IO_BYTES % n_buf].data, IO_BYTES,
                   (off_t)at) != IO_BYTES)
            die("plain write", -errno, NULL);
    if (fdatasync(fd) < 0)
        die("plain fdatasync", -errno, NULL);
    ret->write = mib_s(FILE_BYTES, now_ns(b) - began);
    began = now_ns(b);
    for (uint64_t at = 0; at < FILE_BYTES; at += IO_BYTES)
        if (pread(fd, buf[at / IO_BYTES % n_buf].data, IO_BYTES,
                  (off_t)at) != IO_BYTES)
            die("plain read", -errno, NULL);
    ret->read = mib_s(FILE_BYTES, now_ns(b) - began);
    for (unsigned i = 0; i < n_buf; i++)
        cfs_buf_unref(&buf[i]);
}

/* -- the store ------------------------------------------------------------- */

/* Processor time of a MiB, ns: of all threads, of the loop's. */
struct cost {
    double all;
    double loop;
};

static void cost_begin(struct cost *ret)
{
    ret->all = (double)rig_processor();
    ret->loop = (double)rig_thread_processor();
}

static void cost_end(struct cost *c)
{
    c->all = ((double)rig_processor() - c->all) / (FILE_BYTES / 1048576);
    c->loop = ((double)rig_thread_processor() - c->loop) /
              (FILE_BYTES / 1048576);
}

static void store_io(struct bench *b, struct files *f, uint64_t i,
                     struct plain *ret, struct cost cost[static 2])
{
    struct file_result *r = need(calloc(1, sizeof *r));
    struct file_spec s = {.first = i, .count = FILE_BYTES / IO_BYTES,
                          .io = IO_BYTES, .flight = IN_STREAM,
                          .same = true};
    uint64_t began;

    s.act = FILE_WRITE;
    rig_forget(b->path);
    cost_begin(&cost[0]);
    began = now_ns(b);
    files_run(f, &s, r);
    files_fsync(f, i);
    ret->write = mib_s(FILE_BYTES, now_ns(b) - began);
    cost_end(&cost[0]);
    rig_forget(b->path);
    s.act = FILE_READ;
    cost_begin(&cost[1]);
    began = now_ns(b);
    files_run(f, &s, r);
    ret->read = mib_s(FILE_BYTES, now_ns(b) - began);
    cost_end(&cost[1]);
    free(r);
}

static void report_costs(struct report *rep, const char *what,
                         struct cost c[ROUNDS][2], unsigned k)
{
    double all[ROUNDS], loop[ROUNDS];
    char name[64];

    for (unsigned i = 0; i < ROUNDS; i++) {
        all[i] = c[i][k].all / 1e3;
        loop[i] = c[i][k].loop / 1e3;
    }
    snprintf(name, sizeof name, "%s of a MiB, processor time", what);
    report_add(rep, name, median(all, ROUNDS), "us");
    snprintf(name, sizeof name, "%s of a MiB, of which the loop's", what);
    report_add(rep, name, median(loop, ROUNDS), "us");
}

struct rounds {
    double plain[ROUNDS], turns[ROUNDS], store[ROUNDS];
    double ratio[ROUNDS], ratio_turns[ROUNDS];
};

static void round_add(struct rounds *r, unsigned i, double plain,
                      double turns, double store)
{
    r->plain[i] = plain;
    r->turns[i] = turns;
    r->store[i] = store;
    r->ratio[i] = store / plain;
    r->ratio_turns[i] = store / turns;
}

static void report_rounds(struct report *rep, const char *what,
                          struct rounds *r)
{
    char name[64];

    snprintf(name, sizeof name, "plain file, %s", what);
    report_add(rep, name, median(r->plain, ROUNDS), "MiB/s");
    snprintf(name, sizeof name, "the same from %u buffers in turns",
             IN_STREAM);
    report_add(rep, name, median(r->turns, ROUNDS), "MiB/s");
    snprintf(name, sizeof name, "store, %s", what);
    report_add(rep, name, median(r->store, ROUNDS), "MiB/s");
    snprintf(name, sizeof name, "%s, store / plain", what);
    report_aim(rep, name, median(r->ratio, ROUNDS), "times", AIM_MIN, 0.9);
    snprintf(name, sizeof name, "%s, store / plain in turns", what);
    report_add(rep, name, median(r->ratio_turns, ROUNDS), "times");
}

/* All in turns; the ratio of a round is what counts. */
static void compare(struct bench *b, struct files *f)
{
    struct report *rep = &b->report;
    struct cost cost[ROUNDS][2];
    struct rounds w, r;
    char path[4096];
    int fd = rig_plain(b, ".plain", FILE_BYTES, path, sizeof path);
    int direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct plain p, t, s;

        plain_io(b, direct >= 0 ? direct : fd, 1, &p);
        store_io(b, f, i, &s, cost[i]);
        plain_io(b, direct >= 0 ? direct : fd, IN_STREAM, &t);
        round_add(&w, i, p.write, t.write, s.write);
        round_add(&r, i, p.read, t.read, s.read);
    }
    if (direct >= 0)
        close(direct);
    close(fd);
    unlink(path);
    report_rounds(rep, "write of 1 GiB and fsync", &w);
    report_costs(rep, "write", cost, 0);
    report_rounds(rep, "read of 1 GiB", &r);
    report_costs(rep, "read", cost, 1);
}

/* What is written beside the data, journal and checkpoint included. */
static void overhead(struct bench *b, struct files *f)
{
    struct file_result *r = need(calloc(1, sizeof *r));
    struct file_spec s = {.act = FILE_WRITE, .count = FILE_BYTES / IO_BYTES,
                          .io = IO_BYTES, .flight = IN_STREAM,
                          .same = true};
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
