/* SPDX-License-Identifier: Apache-2.0 */
/* smallfile.c - time what programs do with many small files.
 *
 *   smallfile [-t THREADS] [-n FILES] [-c] DIR
 *
 * Each thread has a directory of its own in DIR and FILES files of 4096 bytes
 * in it. The phases follow each other; all threads start a phase together:
 *
 *   create   open O_CREAT|O_EXCL, close
 *   write    open, write 4096 bytes, close
 *   stat     lstat, in random order
 *   list     readdir and lstat of each entry, as `ls -l` does
 *   read     open, read, close, in random order; the bytes are compared
 *   rename   to another name in the same directory
 *   unlink
 *
 * With -c (root only) unused names and attributes are dropped from the
 * kernel's caches before stat, list and read; file data stays.
 *
 * For each phase one line of JSON: the wall clock of the slowest thread, and
 * what single operations took. Exit status 1 with a message when any call
 * failed, or returned anything but what was written.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_SIZE   4096
#define MAX_THREADS 64

struct bench;

struct worker {
    struct bench *b;
    unsigned id;
    int dir;         /* this thread's directory */
    uint32_t *order; /* a permutation of the files */
    uint64_t *lat;   /* ns of each operation of the phase */
    uint64_t rng;
};

typedef void phase_fn(struct worker *w, uint32_t file);

struct phase {
    const char *name;
    phase_fn *each;
    bool shuffled;
    bool cold; /* wants unused names dropped first, with -c */
};

struct bench {
    unsigned threads;
    uint32_t files;
    bool drop;
    const struct phase *phase;
    pthread_barrier_t start;
};

static void die(const char *fmt, ...)
{
    int err = errno;
    va_list ap;

    fprintf(stderr, "smallfile: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, err ? ": %s\n" : "\n", strerror(err));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static const char *file_name(uint32_t file, char buf[static 32])
{
    snprintf(buf, 32, "file-%07u", file);
    return buf;
}

static const char *new_name(uint32_t file, char buf[static 32])
{
    snprintf(buf, 32, "renamed-%07u", file);
    return buf;
}

static void fill(const struct worker *w, uint32_t file, uint64_t *buf)
{
    uint64_t x = ((uint64_t)w->id << 32 | file) * 0x9e3779b97f4a7c15u + 1;

    for (size_t i = 0; i < FILE_SIZE / sizeof *buf; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        buf[i] = x;
    }
}

static void do_create(struct worker *w, uint32_t file)
{
    char name[32];
    int fd = openat(w->dir, file_name(file, name),
                    O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

    if (fd < 0 || close(fd) < 0)
        die("create %s", name);
}

static void do_write(struct worker *w, uint32_t file)
{
    uint64_t buf[FILE_SIZE / sizeof(uint64_t)];
    char name[32];
    int fd = openat(w->dir, file_name(file, name), O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        die("open %s to write", name);
    fill(w, file, buf);
    if (write(fd, buf, FILE_SIZE) != FILE_SIZE || close(fd) < 0)
        die("write %s", name);
}

static void do_stat(struct worker *w, uint32_t file)
{
    char name[32];
    struct stat st;

    if (fstatat(w->dir, file_name(file, name), &st, AT_SYMLINK_NOFOLLOW) < 0)
        die("stat %s", name);
    if (st.st_size != FILE_SIZE) {
        errno = 0;
        die("%s has %lld bytes", name, (long long)st.st_size);
    }
}

static void do_read(struct worker *w, uint32_t file)
{
    uint64_t buf[FILE_SIZE / sizeof(uint64_t)];
    uint64_t want[FILE_SIZE / sizeof(uint64_t)];
    char name[32];
    int fd = openat(w->dir, file_name(file, name), O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        die("open %s to read", name);
    if (read(fd, buf, FILE_SIZE) != FILE_SIZE || close(fd) < 0)
        die("read %s", name);
    fill(w, file, want);
    if (memcmp(buf, want, FILE_SIZE) != 0) {
        errno = 0;
        die("%s: what was read is not what was written", name);
    }
}

static void do_rename(struct worker *w, uint32_t file)
{
    char from[32], to[32];

    if (renameat(w->dir, file_name(file, from), w->dir, new_name(file, to)) < 0)
        die("rename %s", from);
}

static void do_unlink(struct worker *w, uint32_t file)
{
    char name[32];

    if (unlinkat(w->dir, new_name(file, name), 0) < 0)
        die("unlink %s", name);
}

/* One readdir and lstat per entry; the time of a batch of entries that comes
 * from the kernel together is counted to its first. */
static void list_all(struct worker *w)
{
    int fd = openat(w->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    uint32_t n = 0;
    uint64_t t = now_ns();

    if (d == NULL)
        die("opendir");
    for (;;) {
        struct dirent *e;
        struct stat st;
        uint64_t after;

        errno = 0;
        e = readdir(d);
        if (e == NULL)
            break;
        if (e->d_name[0] == '.')
            continue;
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            die("stat %s", e->d_name);
        after = now_ns();
        if (n < w->b->files)
            w->lat[n] = after - t;
        t = after;
        n++;
    }
    if (errno != 0)
        die("readdir");
    if (n != w->b->files)
        die("readdir gave %u of %u entries", n, w->b->files);
    closedir(d);
}

static const struct phase phases[] = {
    {"create", do_create, .shuffled = false},
    {"write", do_write, .shuffled = false},
    {"stat", do_stat, .shuffled = true, .cold = true},
    {"list", NULL, .cold = true},
    {"read", do_read, .shuffled = true, .cold = true},
    {"rename", do_rename, .shuffled = false},
    {"unlink", do_unlink, .shuffled = false},
};

static void shuffle(struct worker *w)
{
    for (uint32_t i = 0; i < w->b->files; i++)
        w->order[i] = i;
    for (uint32_t i = w->b->files; i > 1; i--) {
        uint32_t j, t;

        w->rng ^= w->rng << 13;
        w->rng ^= w->rng >> 7;
        w->rng ^= w->rng << 17;
        j = (uint32_t)(w->rng % i);
        t = w->order[i - 1];
        w->order[i - 1] = w->order[j];
        w->order[j] = t;
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    const struct phase *p = w->b->phase;

    pthread_barrier_wait(&w->b->start);
    if (p->each == NULL) {
        list_all(w);
        return NULL;
    }
    for (uint32_t i = 0; i < w->b->files; i++) {
        uint64_t before = now_ns();

        p->each(w, p->shuffled ? w->order[i] : i);
        w->lat[i] = now_ns() - before;
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void drop_names(void)
{
    int fd;

    sync();
    fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "2", 1) != 1)
        die("/proc/sys/vm/drop_caches");
    close(fd);
}

static void run_phase(struct bench *b, const struct phase *p,
                      struct worker *workers, uint64_t *lat)
{
    size_t ops = (size_t)b->threads * b->files;
    pthread_t tid[MAX_THREADS];
    uint64_t begun, took;

    if (p->cold && b->drop)
        drop_names();
    b->phase = p;
    for (unsigned i = 0; i < b->threads; i++)
        if (pthread_create(&tid[i], NULL, work, &workers[i]) != 0)
            die("pthread_create");
    begun = now_ns();
    pthread_barrier_wait(&b->start);
    for (unsigned i = 0; i < b->threads; i++)
        pthread_join(tid[i], NULL);
    took = now_ns() - begun;

    qsort(lat, ops, sizeof *lat, by_value);
    printf("{\"phase\": \"%s\", \"threads\": %u, \"ops\": %zu, "
           "\"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"max_us\": %.1f}\n",
           p->name, b->threads, ops, (double)took / 1e9,
           (double)lat[ops / 2] / 1e3, (double)lat[ops * 99 / 100] / 1e3,
           (double)lat[ops - 1] / 1e3);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct worker workers[MAX_THREADS];
    struct bench b = {.threads = 1, .files = 1000};
    uint64_t *lat;
    char name[32];
    int opt, top;

    while ((opt = getopt(argc, argv, "t:n:c")) != -1) {
        switch (opt) {
        case 't':
            b.threads = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'n':
            b.files = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            b.drop = true;
            break;
        default:
            optind = argc;
        }
    }
    if (optind != argc - 1 || b.files < 1 || b.threads < 1 ||
        b.threads > MAX_THREADS) {
        fprintf(stderr, "Usage: smallfile [-t THREADS] [-n FILES] [-c] DIR\n");
        return 1;
    }
    top = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        die("%s", argv[optind]);

    lat = calloc((size_t)b.threads * b.files, sizeof *lat);
    if (lat == NULL)
        die("calloc");
    for (unsigned i = 0; i < b.threads; i++) {
        struct worker *w = &workers[i];

        w->b = &b;
        w->id = i;
        w->rng = 0x2545f4914f6cdd1du + i;
        w->lat = lat + (size_t)i * b.files;
        w->order = calloc(b.files, sizeof *w->order);
        snprintf(name, sizeof name, "thread-%u", i);
        if (w->order == NULL || mkdirat(top, name, 0755) < 0)
            die("mkdir %s", name);
        w->dir = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (w->dir < 0)
            die("open %s", name);
        shuffle(w);
    }
    pthread_barrier_init(&b.start, NULL, b.threads + 1);
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        run_phase(&b, &phases[i], workers, lat);

    for (unsigned i = 0; i < b.threads; i++) {
        snprintf(name, sizeof name, "thread-%u", i);
        close(workers[i].dir);
        free(workers[i].order);
        if (unlinkat(top, name, AT_REMOVEDIR) < 0)
            die("rmdir %s", name);
    }
    free(lat);
    close(top);
    return 0;
}
