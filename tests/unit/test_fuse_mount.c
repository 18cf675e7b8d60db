/* SPDX-License-Identifier: Apache-2.0 */
/* mount/fuse on a real /dev/fuse, over a file system in memory: when it serves,
 * how it ends, and what only shows when somebody else changes the volume. Each
 * test mounts anew, in a process of its own (fusemem). */
#include "tests/unit/cfs_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 20000

struct fs {
    char  dir[64];
    char  line[512]; /* the last one that it printed */
    pid_t pid;
    int   out;
};

/* -- a mount --------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The next line of its output, or false: it has ended. */
static bool next_line(struct fs *fs)
{
    struct pollfd p = {.fd = fs->out, .events = POLLIN};
    size_t n = 0;

    for (;;) {
        char c;

        if (poll(&p, 1, WAIT_MS) <= 0 || read(fs->out, &c, 1) != 1)
            return false;
        if (c == '\n')
            break;
        if (n < sizeof fs->line - 1)
            fs->line[n++] = c;
    }
    fs->line[n] = '\0';
    return true;
}

static void launch(struct fs *fs, const char *const *opts)
{
    const char *argv[16] = {FUSEMEM, fs->dir};
    int fds[2];

    for (unsigned i = 0; opts != NULL && opts[i] != NULL; i++)
        argv[2 + i] = opts[i];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    fs->pid = fork();
    assert_true(fs->pid >= 0);
    if (fs->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* should a test abort */
        dup2(fds[1], STDOUT_FILENO);
        execv(FUSEMEM, (char **)argv);
        _exit(127);
    }
    close(fds[1]);
    fs->out = fds[0];
}

/* Wait for its end; its exit status. */
static int ended(struct fs *fs)
{
    uint64_t end = now_ms() + WAIT_MS;
    int status = -1;

    while (waitpid(fs->pid, &status, WNOHANG) == 0) {
        if (now_ms() > end)
            return -1;
        usleep(5000);
    }
    fs->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int setup(void **state)
{
    struct fs *fs = calloc(1, sizeof *fs);

    cfs_test_dir(fs->dir, "fuse");
    fs->out = -1;
    *state = fs;
    return 0;
}

static int teardown(void **state)
{
    struct fs *fs = *state;

    umount2(fs->dir, MNT_DETACH);
    if (fs->pid > 0 && ended(fs) < 0) {
        kill(fs->pid, SIGKILL);
        waitpid(fs->pid, NULL, 0);
    }
    if (fs->out >= 0)
        close(fs->out);
    rmdir(fs->dir);
    free(fs);
    return 0;
}

static void mount_it(struct fs *fs, const char *const *opts)
{
    launch(fs, opts);
    assert_true(next_line(fs));
    assert_string_equal(fs->line, "serves");
}

static const char *at(const struct fs *fs, const char *name)
{
    static char path[4][256];
    static unsigned turn;
    char *p = path[turn++ % 4];

    snprintf(p, sizeof path[0], "%s/%s", fs->dir, name);
    return p;
}

static void put(const struct fs *fs, const char *name, const char *text)
{
    int fd = open(at(fs, name), O_CREAT | O_TRUNC | O_WRONLY, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void holds(const struct fs *fs, const char *name, const char *text)
{
    char buf[4096];
    int fd = open(at(fs, name), O_RDONLY);
    ssize_t n;

    assert_true(fd >= 0);
    n = read(fd, buf, sizeof buf - 1);
    assert_true(n >= 0);
    buf[n] = '\0';
    assert_string_equal(buf, text);
    close(fd);
}

/* An order to the file system behind the mount (memfs_xl.h). */
static void order(const struct fs *fs, const char *on, const char *what,
                  const char *value)
{
    char name[64];

    snprintf(name, sizeof name, "trusted.memfs.%s", what);
    assert_int_equal(setxattr(at(fs, on), name, value, strlen(value), 0), 0);
}

static unsigned inodes(const struct fs *fs)
{
    char text[32] = "";

    assert_true(getxattr(fs->dir, "trusted.memfs.inodes", text,
                         sizeof text - 1) > 0);
    return (unsigned)atoi(text);
}

/* Forgets come a moment after the last close. */
static void inodes_become(const struct fs *fs, unsigned want)
{
    uint64_t end = now_ms() + WAIT_MS;

    while (inodes(fs) != want && now_ms() < end)
        usleep(2000);
    assert_int_equal(inodes(fs), want);
}

static bool in_file(const char *file, const char *what)
{
    static char text[1 << 20];
    int fd = open(file, O_RDONLY);
    size_t n = 0;
    ssize_t k;

    if (fd < 0)
        return false;
    while ((k = read(fd, text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)k;
    close(fd);
    text[n] = '\0';
    return strstr(text, what) != NULL;
}

static bool is_mounted(const struct fs *fs)
{
    return in_file("/proc/self/mountinfo", fs->dir);
}

/* -- beginning ------------------------------------------------------------- */

static void *stat_root(void *arg)
{
    struct fs *fs = arg;
    struct stat st;

    return stat(fs->dir, &st) == 0 && st.st_ino == 1 ? fs : NULL;
}

static void early_callers_wait_until_it_serves(void **state)
{
    static const char *const opts[] = {"mem.up-after=300ms", NULL};
    struct fs *fs = *state;
    uint64_t start = now_ms();
    pthread_t t;
    void *ok;

    launch(fs, opts);
    while (!is_mounted(fs) && now_ms() < start + WAIT_MS)
        usleep(1000);
    pthread_create(&t, NULL, stat_root, fs);
    assert_true(next_line(fs));
    assert_string_equal(fs->line, "serves");
    assert_true(now_ms() - start >= 290);
    pthread_join(t, &ok);
    assert_non_null(ok);
}

static void wrong_options_leave_nothing_mounted(void **state)
{
    static const char *const opts[] = {"mount-options=ro,bogus", NULL};
    struct fs *fs = *state;

    launch(fs, opts);
    assert_int_equal(ended(fs), 1);
    assert_false(is_mounted(fs));
}

static void mount_options_arrive(void **state)
{
    static const char *const opts[] = {"mount-options=ro,nosuid,noexec",
                                       "source=some:/where",
                                       "read-ahead=3072", NULL};
    struct fs *fs = *state;
    char want[128];
    struct stat st;

    mount_it(fs, opts);
    snprintf(want, sizeof want, "%s ro,nosuid,noexec", fs->dir);
    assert_true(in_file("/proc/self/mountinfo", want));
    assert_true(in_file("/proc/self/mountinfo",
                        "fuse.clusterfs some:/where ro"));
    assert_int_equal(open(at(fs, "x"), O_CREAT | O_WRONLY, 0600), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(stat(fs->dir, &st), 0);
    snprintf(want, sizeof want, "/sys/class/bdi/%u:%u/read_ahead_kb",
             (unsigned)(st.st_dev >> 8 & 0xfff), (unsigned)(st.st_dev & 0xff));
    assert_true(in_file(want, "3072"));
}

static void umount_knows_of_our_helper(void **state)
{
    struct fs *fs = *state;

    mount_it(fs, NULL);
    assert_true(in_file("/run/mount/utab", fs->dir));
    kill(fs->pid, SIGTERM);
    assert_int_equal(ended(fs), 0);
    assert_false(in_file("/run/mount/utab", fs->dir));

    close(fs->out);
    mount_it(fs, NULL);
    assert_int_equal(umount2(fs->dir, 0), 0); /* which knows of no table */
    assert_int_equal(ended(fs), 0);
    assert_false(in_file("/run/mount/utab", fs->dir));
}

/* -- end ------------------------------------------------------------------- */

static void unmount_ends_the_process(void **state)
{
    struct fs *fs = *state;

    mount_it(fs, NULL);
    put(fs, "f", "data");
    assert_int_equal(umount2(fs->dir, 0), 0);
    assert_int_equal(ended(fs), 0);
}

static void sigterm_unmounts(void **state)
{
    struct fs *fs = *state;

    mount_it(fs, NULL);
    kill(fs->pid, SIGTERM);
    assert_int_equal(ended(fs), 0);
    assert_false(is_mounted(fs));
}

static void sigterm_before_it_serves_unmounts(void **state)
{
    static const char *const opts[] = {"mem.up-after=1h", NULL};
    struct fs *fs = *state;
    uint64_t end = now_ms() + WAIT_MS;

    launch(fs, opts);
    while (!is_mounted(fs) && now_ms() < end)
        usleep(1000);
    usleep(50000);
    kill(fs->pid, SIGTERM);
    assert_int_equal(ended(fs), 0);
    assert_false(is_mounted(fs));
}

static void users_of_a_stopped_mount_have_their_grace(void **state)
{
    static const char *const opts[] = {"detach-grace=60s", NULL};
    struct fs *fs = *state;
    int fd;

    mount_it(fs, opts);
    fd = open(at(fs, "f"), O_CREAT | O_RDWR, 0600);
    assert_true(fd >= 0);
    kill(fs->pid, SIGTERM);
    while (is_mounted(fs))
        usleep(1000);
    assert_int_equal(write(fd, "late", 4), 4);
    assert_int_equal(fsync(fd), 0);
    close(fd);
    assert_int_equal(ended(fs), 0);
}

static void users_who_stay_are_cut_off(void **state)
{
    static const char *const opts[] = {"detach-grace=200ms", NULL};
    struct fs *fs = *state;
    int fd;

    mount_it(fs, opts);
    fd = open(at(fs, "f"), O_CREAT | O_RDWR, 0600);
    kill(fs->pid, SIGTERM);
    assert_int_equal(ended(fs), 0);
    assert_int_equal(write(fd, "late", 4), -1);
    assert_true(errno == ENOTCONN || errno == ECONNABORTED);
    close(fd);
    assert_false(is_mounted(fs));
}

/* The kernel writes a mapping's pages back while umount(2), which the process
 * itself called, waits for that. */
static void dirty_mappings_do_not_hang_the_stop(void **state)
{
    struct fs *fs = *state;
    pid_t pid;
    int status;

    mount_it(fs, NULL);
    pid = fork();
    if (pid == 0) {
        int fd = open(at(fs, "f"), O_CREAT | O_RDWR, 0600);
        char *p;

        if (ftruncate(fd, 1 << 20) < 0)
            _exit(1);
        p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        memset(p, 'x', 1 << 20);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    kill(fs->pid, SIGTERM);
    assert_int_equal(ended(fs), 0);
}

/* -- inodes ---------------------------------------------------------------- */

static void unlinked_inodes_are_purged_at_the_last_close(void **state)
{
    struct fs *fs = *state;
    int fd;

    mount_it(fs, NULL);
    put(fs, "a", "1");
    put(fs, "b", "2");
    fd = open(at(fs, "a"), O_RDWR);
    assert_int_equal(inodes(fs), 3);
    unlink(at(fs, "a"));
    assert_int_equal(rename(at(fs, "b"), at(fs, "c")), 0);
    put(fs, "d", "3");
    assert_int_equal(rename(at(fs, "c"), at(fs, "d")), 0);
    inodes_become(fs, 3); /* root, a, the former b; the first d is gone */
    assert_int_equal(pwrite(fd, "still", 5, 0), 5);
    close(fd);
    inodes_become(fs, 2);
    mkdir(at(fs, "dir"), 0755);
    rmdir(at(fs, "dir"));
    unlink(at(fs, "d"));
    inodes_become(fs, 1);
}

/* -- what others do -------------------------------------------------------- */

static void damaged_data_is_an_error(void **state)
{
    struct fs *fs = *state;
    char buf[16];
    int fd;

    mount_it(fs, NULL);
    put(fs, "f", "precious");
    order(fs, "f", "corrupt", "");
    /* Not what the kernel has in its cache. */
    fd = open(at(fs, "f"), O_RDONLY | O_DIRECT);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, buf, sizeof buf), -1);
    assert_int_equal(errno, EIO);
    close(fd);
}

/* As another user: 0 when it may open @path. */
static int open_as_user(const char *path, int flags)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        if (setgid(61234) < 0 || setuid(61234) < 0)
            _exit(200);
        _exit(open(path, flags, 0600) >= 0 ? 0 : errno);
    }
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

/* The kernel remembers that there is no such file, and sends CREATE. */
static void create_over_a_file_of_others_checks_rights(void **state)
{
    struct fs *fs = *state;
    struct stat st;
    int fd;

    mount_it(fs, NULL);
    chmod(fs->dir, 0777);
    assert_int_equal(stat(at(fs, "x"), &st), -1);
    order(fs, ".", "create", "x");
    assert_int_equal(open_as_user(at(fs, "x"), O_CREAT | O_RDWR), EACCES);

    assert_int_equal(stat(at(fs, "y"), &st), -1);
    order(fs, ".", "create", "y");
    assert_int_equal(open(at(fs, "y"), O_CREAT | O_EXCL | O_RDWR, 0600), -1);
    assert_int_equal(errno, EEXIST);

    assert_int_equal(stat(at(fs, "z"), &st), -1);
    order(fs, ".", "create", "z");
    order(fs, ".", "remove", "y");
    fd = open(at(fs, "z"), O_CREAT | O_RDWR, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_ino >> 32, 9999); /* theirs, not a new one */
    close(fd);
}

static void append_goes_behind_what_others_appended(void **state)
{
    struct fs *fs = *state;
    char buf[64] = "";
    int fd;

    mount_it(fs, NULL);
    put(fs, "log", "one ");
    fd = open(at(fs, "log"), O_WRONLY | O_APPEND);
    order(fs, "log", "append", "theirs ");
    assert_int_equal(write(fd, "ours", 4), 4);
    close(fd);
    fd = open(at(fs, "log"), O_RDONLY | O_DIRECT);
    assert_int_equal(read(fd, buf, sizeof buf - 1), 15);
    assert_string_equal(buf, "one theirs ours");
    close(fd);
}

static void names_that_others_reused_can_be_removed_and_moved(void **state)
{
    struct fs *fs = *state;
    struct stat st;

    mount_it(fs, NULL);
    put(fs, "a", "");
    put(fs, "b", "");
    put(fs, "c", "");
    for (const char *name = "a\0b\0c\0"; *name != '\0'; name += 2) {
        order(fs, ".", "remove", name);
        order(fs, ".", "create", name);
    }
    assert_int_equal(rename(at(fs, "a"), at(fs, "b")), 0);
    assert_int_equal(stat(at(fs, "b"), &st), 0);
    assert_int_equal(unlink(at(fs, "b")), 0);
    assert_int_equal(unlink(at(fs, "c")), 0);
    assert_int_equal(stat(at(fs, "c"), &st), -1);
    inodes_become(fs, 1);
}

/* -- limits ---------------------------------------------------------------- */

static void *hammer(void *arg)
{
    const char *name = arg;
    char *buf = malloc(200000), *back = malloc(200000);
    int fd = open(name, O_CREAT | O_RDWR, 0600);
    bool ok = fd >= 0;

    for (int i = 0; ok && i < 20; i++) {
        memset(buf, 'a' + i, 200000);
        ok = pwrite(fd, buf, 200000, i * 1000) == 200000 &&
             pread(fd, back, 200000, i * 1000) == 200000 &&
             memcmp(buf, back, 200000) == 0;
    }
    close(fd);
    free(buf);
    free(back);
    return ok ? arg : NULL;
}

static void more_callers_than_calls_are_all_served(void **state)
{
    static const char *const opts[] = {"max-calls=16", "max-background=8",
                                       "kernel-lease=0", NULL};
    struct fs *fs = *state;
    char names[48][80];
    pthread_t t[48];
    void *ok;

    mount_it(fs, opts);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(t); i++) {
        snprintf(names[i], sizeof names[i], "%s/f%u", fs->dir, i);
        pthread_create(&t[i], NULL, hammer, names[i]);
    }
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(t); i++) {
        pthread_join(t[i], &ok);
        assert_non_null(ok);
    }
}

static void without_a_lease_every_look_is_fresh(void **state)
{
    static const char *const opts[] = {"kernel-lease=0", NULL};
    struct fs *fs = *state;
    struct stat st;

    mount_it(fs, opts);
    assert_int_equal(stat(at(fs, "x"), &st), -1);
    order(fs, ".", "create", "x");
    assert_int_equal(stat(at(fs, "x"), &st), 0);
    order(fs, "x", "append", "12345");
    assert_int_equal(stat(at(fs, "x"), &st), 0);
    assert_int_equal(st.st_size, 5);
    holds(fs, "x", "12345");
    order(fs, ".", "remove", "x");
    assert_int_equal(stat(at(fs, "x"), &st), -1);
}

/* -- everything ------------------------------------------------------------ */

static void posix_suite_passes(void **state)
{
    struct fs *fs = *state;
    int status;
    pid_t pid;

    mount_it(fs, NULL);
    pid = fork();
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO); /* stdout is the harness's */
        execlp("python3", "python3", POSIX_PY, fs->dir, NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    if (WEXITSTATUS(status) == 127)
        skip();
    assert_int_equal(status, 0);
    inodes_become(fs, 1);
    assert_int_equal(umount2(fs->dir, 0), 0);
    assert_int_equal(ended(fs), 0);
}

#define ON_MOUNT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MOUNT(early_callers_wait_until_it_serves),
        ON_MOUNT(wrong_options_leave_nothing_mounted),
        ON_MOUNT(mount_options_arrive),
        ON_MOUNT(umount_knows_of_our_helper),
        ON_MOUNT(unmount_ends_the_process),
        ON_MOUNT(sigterm_unmounts),
        ON_MOUNT(sigterm_before_it_serves_unmounts),
        ON_MOUNT(users_of_a_stopped_mount_have_their_grace),
        ON_MOUNT(users_who_stay_are_cut_off),
        ON_MOUNT(dirty_mappings_do_not_hang_the_stop),
        ON_MOUNT(unlinked_inodes_are_purged_at_the_last_close),
        ON_MOUNT(damaged_data_is_an_error),
        ON_MOUNT(create_over_a_file_of_others_checks_rights),
        ON_MOUNT(append_goes_behind_what_others_appended),
        ON_MOUNT(names_that_others_reused_can_be_removed_and_moved),
        ON_MOUNT(more_callers_than_calls_are_all_served),
        ON_MOUNT(without_a_lease_every_look_is_fresh),
        ON_MOUNT(posix_suite_passes),
    };

    if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) < 0) {
        puts("skipped: needs root and /dev/fuse");
        return 77; /* meson: skipped */
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
