/* SPDX-License-Identifier: Apache-2.0 */
/* rig.c - an image whose blocks have all been written, a store on it, opened
 * and closed; a device that counts what goes to it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/store/store.h"

#define BLOCK 4096u

void die(const char *what, int rc, const struct cfs_err *err)
{
    fprintf(stderr, "store: %s: %s\n", what,
            err && err->code ? err->text : cfs_err_str(rc));
    exit(1);
}

uint64_t next_random(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    return z ^ (z >> 31);
}

void rig_random(uint64_t *state, void *to, size_t len)
{
    uint8_t *p = to;

    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = next_random(state);

        memcpy(p + i, &v, len - i < 8 ? len - i : 8);
    }
}

uint64_t rig_resident(void)
{
    unsigned long all, resident;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f || fscanf(f, "%lu %lu", &all, &resident) != 2)
        die("/proc/self/statm", -errno, NULL);
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t rig_starved(void)
{
    static int fd = -1;
    unsigned long long ran, waited = 0;
    char text[128];
    ssize_t n;

    if (fd < 0)
        fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0; /* a kernel without it */
    n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = 0;
    return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? waited : 0;
}

uint64_t rig_pause(struct bench *b, uint64_t ns)
{
    uint64_t began = now_ns(b), last = began, now, longest = 0;
    uint64_t starved = rig_starved();

    do {
        now = now_ns(b);
        if (now - last > CFS_MS / 10) {
            uint64_t all = rig_starved(), others = all - starved;
            uint64_t gap = now - last;

            starved = all;
            gap = gap > others ? gap - others : 0;
            longest = gap > longest ? gap : longest;
        }
        last = now;
    } while (now - began < ns);
    return longest;
}

static uint64_t io_figure(const char *name)
{
    FILE *f = fopen("/proc/self/io", "r");
    size_t len = strlen(name);
    unsigned long long n = 0;
    char line[128];

    if (!f)
        die("/proc/self/io", -errno, NULL);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, len) == 0 &&
            sscanf(line + len, ": %llu", &n) == 1)
            break;
    fclose(f);
    return n;
}

uint64_t rig_written(void)
{
    return io_figure("write_bytes");
}

uint64_t rig_read(void)
{
    return io_figure("read_bytes");
}

static uint64_t processor_of(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * CFS_SEC +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

uint64_t rig_processor(void)
{
    return processor_of(RUSAGE_SELF);
}

uint64_t rig_thread_processor(void)
{
    return processor_of(RUSAGE_THREAD);
}

/* -- a device whose checkpoints may hang ----------------------------------- */

static struct cfs_dev_ops hung_ops;
static const struct cfs_dev_ops *real_ops;
static const bool *hung;

static int hung_write(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                      const struct iovec *iov, int n_iov, size_t len)
{
    if (via == CFS_DEV_DIRECT && *hung)
        pause(); /* until the process dies */
    return real_ops->write(d, via, off, iov, n_iov, len);
}

static void may_hang(struct bench *b, struct cfs_dev *dev)
{
    real_ops = dev->ops;
    hung_ops = *dev->ops;
    hung_ops.write = hung_write;
    hung = &b->stall_checkpoints;
    dev->ops = &hung_ops;
}

/* -- opening and closing --------------------------------------------------- */

static void on_closed(void *ctx, int status)
{
    ((struct bench *)ctx)->closed = true;
    if (status < 0)
        die("close", status, NULL);
}

static bool is_closed(void *arg)
{
    return ((struct bench *)arg)->closed;
}

static int replay_nothing(void *ctx, struct eng *e, const struct eng_rec *rec)
{
    return 0;
}

double rig_open(struct bench *b, bool files)
{
    struct ops_config conf = ops_config_default;
    uint64_t began = now_ns(b);
    struct cfs_err err = {0};
    struct cfs_dev *dev;
    int rc = cfs_dev_open(b->path, 0, &dev, &err);

    if (rc < 0)
        die("open", rc, &err);
    if (b->may_stall)
        may_hang(b, dev);
    conf.eng.cache_size = b->cache;
    if (b->small_file)
        conf.small_file = b->small_file;
    conf.pack = conf.eng.packs = b->pack;
    if (files)
        rc = ops_open(b->loop, b->log, "bench", dev, &conf, &b->ops, &err);
    else
        rc = eng_open(b->loop, b->log, dev, &conf.eng, replay_nothing, b,
                      &b->eng, &err);
    if (rc < 0)
        die("open", rc, &err);
    return (double)(now_ns(b) - began) / 1e9;
}

double rig_close(struct bench *b, bool clean)
{
    uint64_t began = now_ns(b);

    b->closed = false;
    if (b->ops)
        ops_close(b->ops, on_closed, b);
    else
        eng_close(b->eng, clean, on_closed, b);
    cfs_loop_run_until(b->loop, is_closed, b);
    b->ops = NULL;
    b->eng = NULL;
    return (double)(now_ns(b) - began) / 1e9;
}

struct eng *rig_engine(struct bench *b)
{
    return b->ops ? ops_engine(b->ops) : b->eng;
}

struct flag {
    struct eng_done d;
    bool            done;
};

static void on_flag(struct eng_done *d)
{
    container_of(d, struct flag, d)->done = true;
}

static bool flag_is_set(void *arg)
{
    return ((struct flag *)arg)->done;
}

uint64_t rig_checkpoint(struct bench *b)
{
    struct flag f = {.d.done = on_flag};
    uint64_t began = now_ns(b);

    eng_checkpoint(rig_engine(b), &f.d);
    cfs_loop_run_until(b->loop, flag_is_set, &f);
    return now_ns(b) - began;
}

/* -- images ---------------------------------------------------------------- */

/* Write all of @path, around the page cache where that can be. */
static void fill_file(const char *path, uint64_t size)
{
    size_t run = 4u << 20;
    uint8_t *bytes = need(aligned_alloc(BLOCK, run));
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    int direct;

    if (fd < 0)
        die(path, -errno, NULL);
    memset(bytes, 0, run);
    direct = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
    for (uint64_t at = 0; at < size; at += run) {
        size_t n = size - at < run ? (size_t)(size - at) : run;

        if (pwrite(direct >= 0 ? direct : fd, bytes, n, (off_t)at) !=
            (ssize_t)n)
            die(path, -errno, NULL);
    }
    if (fsync(fd) < 0)
        die(path, -errno, NULL);
    if (direct >= 0)
        close(direct);
    close(fd);
    free(bytes);
}

static bool is_device(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

void rig_make(struct bench *b, bool files)
{
    struct eng_format f = {.label = "bench"};
    struct cfs_err err = {0};
    struct cfs_dev *dev;
    int rc;

    if (!is_device(b->path))
        fill_file(b->path, b->size);
    cfs_random(b->loop, &f.brick, sizeof f.brick);
    rc = cfs_dev_open(b->path, 0, &dev, &err);
    if (rc == 0) {
        rc = files ? ops_mkfs(dev, &f, cfs_realtime(b->loop), &err)
                   : eng_mkfs(dev, &f, &err);
        dev->ops->close(dev);
    }
    if (rc < 0)
        die("mkfs", rc, &err);
}

void rig_remove(struct bench *b)
{
    if (!is_device(b->path))
        unlink(b->path);
}

void rig_forget(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        die(path, -errno, NULL);
    if (fsync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        die(path, -EIO, NULL);
    close(fd);
}

int rig_plain(struct bench *b, const char *suffix, uint64_t len,
              char *ret_path, size_t size)
{
    int fd;

    snprintf(ret_path, size, "%s%s", is_device(b->path) ? "./bench-store"
                                                        : b->path, suffix);
    fill_file(ret_path, len);
    fd = open(ret_path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        die(ret_path, -errno, NULL);
    return fd;
}
