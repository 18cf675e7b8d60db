/* SPDX-License-Identifier: Apache-2.0 */
/* parts_files.c - the file system on the engine: operations per second, many
 * files, memory, starts, ageing, small files. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/store/store.h"

extern char **environ;

static double run(struct files *f, struct file_spec s, struct times *ret_waits)
{
    struct file_result *r = need(calloc(1, sizeof *r));
    double rate;

    files_run(f, &s, r);
    rate = (double)s.count / r->s;
    if (ret_waits)
        *ret_waits = r->waits;
    free(r);
    return rate;
}

/* As run(), and what an operation costs, whatever else the machine does. */
static void run_told(struct bench *b, struct files *f, struct file_spec s,
                     struct times *ret_waits, const char *name)
{
    uint64_t cpu = rig_processor(), rd = rig_read(), wr = rig_written();
    double rate = run(f, s, ret_waits), n = (double)s.count;
    struct report *r = &b->report;
    char what[64];

    report_add(r, name, rate, "/s");
    snprintf(what, sizeof what, "%s: processor", name);
    report_add(r, what, (double)(rig_processor() - cpu) / n / 1e3, "us");
    snprintf(what, sizeof what, "%s: read", name);
    report_add(r, what, (double)(rig_read() - rd) / n, "B");
    snprintf(what, sizeof what, "%s: written", name);
    report_add(r, what, (double)(rig_written() - wr) / n, "B");
}

/* -- operations ------------------------------------------------------------ */

void part_files(struct bench *b)
{
    const uint64_t n = b->files < 200000 ? b->files : 200000;
    struct report *r = &b->report;
    struct files *f;
    struct file_spec s = {.count = n};

    report_part(r, "files, in memory");
    rig_make(b, true);
    rig_open(b, true);
    f = files_open(b, n);
    s.act = FILE_CREATE;
    report_add(r, "create", run(f, s, NULL), "/s");
    s.act = FILE_LOOKUP;
    s.among = n;
    report_add(r, "lookup", run(f, s, NULL), "/s");
    s.act = FILE_WRITE;
    s.among = 0;
    report_add(r, "write 4 KiB", run(f, s, NULL), "/s");
    s.among = n;
    report_add(r, "overwrite 4 KiB", run(f, s, NULL), "/s");
    s.act = FILE_READ;
    report_add(r, "read 4 KiB", run(f, s, NULL), "/s");
    s.act = FILE_UNLINK;
    s.among = 0;
    report_add(r, "unlink and purge", run(f, s, NULL), "/s");
    files_close(f);
    rig_close(b, true);
    rig_remove(b);
}

/* -- many files, memory ---------------------------------------------------- */

void part_memory(struct bench *b)
{
    struct times *waits = need(calloc(1, sizeof *waits));
    const uint64_t walk = b->files < 2000000 ? b->files / 10 : 200000;
    struct report *r = &b->report;
    struct file_spec s = {.count = b->files};
    uint64_t before, after, most;
    struct eng_info info;
    struct files *f;
    static char name[64]; /* the report refers to it */

    snprintf(name, sizeof name, "%.3g million files",
             (double)b->files / 1e6);
    report_part(r, name);
    rig_make(b, true);
    before = rig_resident();
    rig_open(b, true);
    f = files_open(b, b->files);
    /* What the bench remembers of each file is not the store's. */
    before += b->files * 9;
    s.act = FILE_CREATE;
    run_told(b, f, s, waits, "create");
    report_add(r, "create: longest wait", (double)waits->max / 1e6, "ms");
    most = rig_resident() - before;
    report_add(r, "resident after the fastest writer / cache-size",
               (double)most / (double)b->cache, "times");
    report_add(r, "a checkpoint now", (double)rig_checkpoint(b) / 1e6, "ms");
    eng_info(rig_engine(b), &info);
    report_add(r, "bytes of the device for a file",
               (double)(info.blocks - info.free) * 4096 / (double)b->files,
               "B");

    s = (struct file_spec){.act = FILE_LOOKUP, .count = walk,
                           .among = b->files, .seed = 11};
    run_told(b, f, s, waits, "random lookup");
    s.act = FILE_WRITE;
    run_told(b, f, s, waits, "write 4 KiB, random file");
    s.count = walk / 2;
    run_told(b, f, s, waits, "overwrite 4 KiB, random file");
    s.act = FILE_READ;
    s.seed = 11; /* those that were written */
    run_told(b, f, s, waits, "read 4 KiB, random file");
    s.act = FILE_UNLINK;
    s.seed = 12;
    run_told(b, f, s, waits, "unlink and purge, random file");
    s = (struct file_spec){.act = FILE_WRITE, .count = walk / 100,
                           .among = b->files, .seed = 13, .flight = 1};
    run(f, s, waits);
    report_add(r, "write 4 KiB, one at a time: wait, median",
               (double)times_at(waits, 0.5) / 1e3, "us");
    s.act = FILE_UNLINK;
    run(f, s, waits);
    report_add(r, "unlink and purge, one at a time: wait, median",
               (double)times_at(waits, 0.5) / 1e3, "us");
    after = rig_resident() - before;
    report_aim(r, "resident after a random walk / cache-size",
               (double)after / (double)b->cache, "times", AIM_MAX, 1.35);
    eng_info(rig_engine(b), &info);
    report_aim(r, "nodes in memory / cache-size",
               (double)info.cached / (double)b->cache, "times", AIM_MAX, 1.02);
    files_leave(f); /* as a brick does that is stopped while it is used */
    report_add(r, "close, with a session", rig_close(b, true), "s");
    report_aim(r, "open, closed with a session", rig_open(b, true), "s",
               AIM_MAX, 0.2);
    rig_close(b, true);
    rig_forget(b->path);
    report_aim(r, "the same, nothing of it cached", rig_open(b, true), "s",
               AIM_MAX, 0.2);
    rig_close(b, true);
    rig_remove(b);
    free(waits);
}

/* -- starts ---------------------------------------------------------------- */

static bool journal_is_full(struct bench *b, uint64_t *last)
{
    uint64_t now = eng_pos(rig_engine(b));
    bool same = now == *last;

    *last = now;
    return same;
}

struct patience {
    struct cfs_timer t;
    struct bench    *b;
    uint64_t         last;
};

/* When the journal has not moved for a second, it is full. */
static void on_patience(struct cfs_timer *t)
{
    struct patience *p = container_of(t, struct patience, t);

    if (journal_is_full(p->b, &p->last))
        _exit(0);
    cfs_timer_start(t, CFS_SEC);
}

void fill_journal_and_die(struct bench *b)
{
    struct patience p = {.b = b};
    struct file_spec s = {.act = FILE_CREATE, .count = b->files};
    struct files *f;

    b->stall_checkpoints = false;
    b->may_stall = true;
    rig_open(b, true);
    f = files_open(b, b->files);
    b->stall_checkpoints = true;
    cfs_timer_init(b->loop, &p.t, on_patience);
    cfs_timer_start(&p.t, CFS_SEC);
    run(f, s, NULL);
    die("the journal is not full", -EINVAL, NULL);
}

/* In a process of its own, which is killed by itself. */
static void crash_with_full_journal(struct bench *b)
{
    char files[32], cache[32];
    char *argv[] = {(char *)"store", (char *)b->path, (char *)"--files", files,
                    (char *)"--cache", cache, (char *)"--die", (char *)"1",
                    NULL};
    int status;
    pid_t pid;

    snprintf(files, sizeof files, "%u", 4000000u);
    snprintf(cache, sizeof cache, "%llu", (unsigned long long)b->cache);
    if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid || status != 0)
        die("a store with a full journal", -EIO, NULL);
}

void part_start(struct bench *b)
{
    struct report *r = &b->report;

    report_part(r, "starts");
    rig_make(b, true);
    crash_with_full_journal(b);
    report_aim(r, "open, a full journal to be replayed", rig_open(b, true),
               "s", AIM_MAX, 5);
    rig_close(b, true);
    report_add(r, "open, cleanly closed", rig_open(b, true), "s");
    rig_close(b, true);
    rig_remove(b);
}

/* -- ageing ---------------------------------------------------------------- */

#define AGE_ROUNDS 8u
#define AGE_FILE   (16u * 1024u)

struct age {
    double   changes; /* per second */
    uint64_t fsync;   /* ns, median */
    uint64_t ckpt;    /* ns */
};

static void age_round(struct bench *b, struct files *f, uint64_t n,
                      unsigned seed, struct age *ret)
{
    struct times *t = need(calloc(1, sizeof *t));
    const uint64_t part = n / 20;
    struct file_spec s = {.among = n, .seed = seed};
    uint64_t began = now_ns(b);

    s.act = FILE_UNLINK;
    s.count = part;
    run(f, s, NULL);
    s.act = FILE_CREATE;
    run(f, s, NULL);
    s.act = FILE_WRITE;
    s.io = AGE_FILE;
    run(f, s, NULL);
    s.io = 0;
    s.count = 2 * part;
    s.seed = seed + 1000;
    run(f, s, NULL);
    ret->changes = (double)(part * 6) * 1e9 / (double)(now_ns(b) - began);
    rig_checkpoint(b); /* none beside the fsyncs */
    for (unsigned i = 0; i < 200; i++)
        times_add(t, files_write_fsync(f, next_random(&began) % 1000 == 0));
    ret->fsync = times_at(t, 0.5);
    s.count = part;
    run(f, s, NULL);
    ret->ckpt = rig_checkpoint(b);
    free(t);
}

static void compare(struct bench *b, const struct age *first,
                    const struct age *last)
{
    struct report *r = &b->report;

    report_aim(r, "changes/s, last rounds / first",
               last->changes / first->changes, "times", AIM_MIN, 2.0 / 3);
    report_aim(r, "fsync, last rounds / first",
               (double)last->fsync / (double)first->fsync, "times", AIM_MAX,
               4.0 / 3);
    report_aim(r, "checkpoint, last rounds / first",
               (double)last->ckpt / (double)first->ckpt, "times", AIM_MAX,
               4.0 / 3);
}

/* The mean of two rounds. */
static struct age mean(const struct age *a, const struct age *b)
{
    return (struct age){(a->changes + b->changes) / 2,
                        (a->fsync + b->fsync) / 2, (a->ckpt + b->ckpt) / 2};
}

void part_age(struct bench *b)
{
    struct age age[AGE_ROUNDS], first, last;
    struct report *r = &b->report;
    struct eng_info info;
    struct files *f;
    struct file_spec s = {0};
    uint64_t n;

    report_part(r, "ageing, a store that is nearly full");
    rig_make(b, true);
    rig_open(b, true);
    eng_info(rig_engine(b), &info);
    n = info.free * 85 / 100 / (AGE_FILE / 4096 + 1);
    f = files_open(b, n);
    s.count = n;
    s.act = FILE_CREATE;
    run(f, s, NULL);
    s.act = FILE_WRITE;
    s.io = AGE_FILE;
    run(f, s, NULL);
    eng_info(rig_engine(b), &info);
    report_add(r, "of the store in use", 100 - 100.0 * (double)info.free /
                                                   (double)info.blocks, "%");
    for (unsigned i = 0; i < AGE_ROUNDS; i++) {
        char name[64];

        age_round(b, f, n, i, &age[i]);
        snprintf(name, sizeof name, "round %u: changes", i + 1);
        report_add(r, name, age[i].changes, "/s");
        snprintf(name, sizeof name, "round %u: overwrite and fsync", i + 1);
        report_add(r, name, (double)age[i].fsync / 1e3, "us");
        snprintf(name, sizeof name, "round %u: checkpoint", i + 1);
        report_add(r, name, (double)age[i].ckpt / 1e6, "ms");
    }
    first = mean(&age[0], &age[1]);
    last = mean(&age[AGE_ROUNDS - 2], &age[AGE_ROUNDS - 1]);
    compare(b, &first, &last);
    files_close(f);
    rig_close(b, true);
    rig_remove(b);
}

/* -- small files ----------------------------------------------------------- */

static void small_with(struct bench *b, uint32_t bound, uint64_t n)
{
    struct file_spec s = {.count = n};
    struct report *r = &b->report;
    struct eng_info info;
    struct files *f;
    uint64_t written;
    char name[64];

    b->small_file = bound;
    rig_make(b, true);
    rig_open(b, true);
    f = files_open(b, n);
    written = rig_written();
    s.act = FILE_CREATE;
    run(f, s, NULL);
    s.act = FILE_WRITE;
    s.mixed = true;
    snprintf(name, sizeof name, "in line up to %u: write", bound);
    report_add(r, name, run(f, s, NULL), "/s");
    rig_checkpoint(b);
    snprintf(name, sizeof name, "in line up to %u: written, a file", bound);
    report_add(r, name, (double)(rig_written() - written) / (double)n, "B");
    rig_checkpoint(b);
    eng_info(rig_engine(b), &info);
    snprintf(name, sizeof name, "in line up to %u: of the device, a file",
             bound);
    report_add(r, name, (double)(info.blocks - info.free - info.pending) *
                            4096 / (double)n, "B");
    files_close(f);
    rig_close(b, true);
    rig_forget(b->path);
    rig_open(b, true);
    f = files_open(b, n);
    s.act = FILE_READ;
    s.among = 0;
    snprintf(name, sizeof name, "in line up to %u: read, cold", bound);
    report_add(r, name, run(f, s, NULL), "/s");
    files_close(f);
    rig_close(b, true);
    rig_remove(b);
}

void part_small(struct bench *b)
{
    static const uint32_t bound[] = {512, 1024, 1280, 2048, 3072, 4096};

    report_part(&b->report, "small files, 64 B to 64 KiB");
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(bound); i++)
        small_with(b, bound[i], b->files < 100000 ? b->files : 100000);
    b->small_file = 0;
}
