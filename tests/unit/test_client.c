/* SPDX-License-Identifier: Apache-2.0 */
/* clusterfs-client: its arguments and mount points; and as a program, with a
 * volfile of a file system in memory: what it says, what it leaves mounted. */
#include "tests/unit/sh.h"

#include "client/client.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* -- arguments ------------------------------------------------------------- */

static int give(struct client *c, const struct cfs_arg *args, const char *name,
                const char *value)
{
    struct cfs_err err = {0};

    for (; args->name != NULL; args++) {
        if (strcmp(args->name, name) == 0)
            return args->set(args->arg, value, &err);
    }
    return -ENOENT;
}

static void options_go_where_they_belong(void **state)
{
    struct client c = {0};
    struct cfs_arg args[CLIENT_ARGS];

    client_args_init(&c, args);
    assert_int_equal(give(&c, args, "options",
                          "nosuid,kernel-lease=0,fsname=a:/b,,subtype=x,"
                          "context=\"u:r,s0\",spin=50"), 0);
    assert_int_equal(give(&c, args, "ro", NULL), 0);
    assert_int_equal(give(&c, args, "options", "noexec"), 0);
    assert_string_equal(c.mount_options,
                        "nosuid,context=\"u:r,s0\",ro,noexec");
    assert_string_equal(c.source, "a:/b");
    assert_int_equal(c.n_opts, 2);
    assert_string_equal(c.opts[0].key, "kernel-lease");
    assert_string_equal(c.opts[0].value, "0");
    assert_string_equal(c.opts[1].key, "spin");
    assert_string_equal(c.opts[1].value, "50");
    client_args_free(&c);
}

static void bad_values_are_refused(void **state)
{
    struct client c = {0};
    struct cfs_arg args[CLIENT_ARGS];

    client_args_init(&c, args);
    assert_true(give(&c, args, "mount-timeout", "soon") < 0);
    assert_true(give(&c, args, "mount-timeout", "0") < 0);
    assert_int_equal(give(&c, args, "mount-timeout", "30"), 0);
    assert_int_equal(c.timeout_ms, 30000);
    assert_true(give(&c, args, "volume", "") < 0);
    for (unsigned i = 0; i < CLIENT_SERVERS; i++)
        assert_int_equal(give(&c, args, "volfile-server", "h"), 0);
    assert_true(give(&c, args, "volfile-server", "h") < 0);
    client_args_free(&c);
}

static void servers_get_the_port_of_mgmtd(void **state)
{
    struct client c = {.host = {.port = 1234, .dirs = {.run = "/nowhere"}}};
    struct cfs_arg args[CLIENT_ARGS];

    client_args_init(&c, args);
    assert_int_equal(client_servers(&c, NULL), 0);
    assert_string_equal(c.server[0].text, "127.0.0.1:1234");

    c.n_servers = 0;
    give(&c, args, "volfile-server", "alpha");
    give(&c, args, "volfile-server", "beta:99");
    give(&c, args, "volfile-server", "[::1]");
    give(&c, args, "volfile-server", "unix:/x/y");
    give(&c, args, "volfile-server", "fd00::7");
    assert_int_equal(client_servers(&c, NULL), 0);
    assert_int_equal(c.n_servers, 5);
    assert_string_equal(c.server[0].text, "alpha:1234");
    assert_string_equal(c.server[1].text, "beta:99");
    assert_string_equal(c.server[2].text, "[::1]:1234");
    assert_string_equal(c.server[3].text, "unix:/x/y");
    assert_string_equal(c.server[4].text, "[fd00::7]:1234");

    give(&c, args, "volfile-server", "no good:x:y");
    assert_int_equal(client_servers(&c, NULL), -EINVAL);
    client_args_free(&c);
}

static void each_mount_has_a_log_of_its_own(void **state)
{
    char *rest[] = {(char *)"/mnt/a b/c"};
    struct cfs_host h = {.rest = rest, .n_rest = 1};
    char *name = client_log_name(&h);

    assert_string_equal(name, "client-mnt-a b-c.log");
    free(name);
}

/* -- a place to mount ------------------------------------------------------ */

struct spot {
    char dir[64];
    char mnt[96];
    char out[96]; /* what the program says */
    char xl[96];
    char vol[96];
};

static void path_to(char *ret, size_t len, const struct spot *s,
                    const char *name)
{
    snprintf(ret, len, "%s/%s", s->dir, name);
}

static void link_so(const struct spot *s, const char *class, const char *name,
                    const char *so)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", s->xl, class);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/%s.so", s->xl, class, name);
    assert_int_equal(symlink(so, path), 0);
}

static int setup(void **state)
{
    struct spot *s = calloc(1, sizeof *s);

    cfs_test_dir(s->dir, "client");
    path_to(s->mnt, sizeof s->mnt, s, "mnt");
    path_to(s->out, sizeof s->out, s, "out");
    path_to(s->xl, sizeof s->xl, s, "xl");
    path_to(s->vol, sizeof s->vol, s, "vol");
    mkdir(s->mnt, 0755);
    mkdir(s->xl, 0755);
    link_so(s, "debug", "memfs", MEMFS_SO);
    link_so(s, "mount", "fuse", FUSE_SO);
    setenv("CLUSTERFS_XLATOR_DIR", s->xl, 1);
    setenv("CLUSTERFS_CONFIG_DIR", s->dir, 1);
    setenv("CLUSTERFS_STATE_DIR", s->dir, 1);
    setenv("CLUSTERFS_RUN_DIR", s->dir, 1);
    setenv("CLUSTERFS_LOG_DIR", s->dir, 1);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct spot *s = *state;

    umount2(s->mnt, MNT_DETACH);
    return sh("rm -rf %s", s->dir) == 0 ? (free(s), 0) : -1;
}

static void only_a_free_directory_is_a_mount_point(void **state)
{
    const struct spot *s = *state;
    struct cfs_err err = {0};
    char path[160], *got;

    assert_int_equal(client_spot(s->mnt, &got, &err), 0);
    assert_string_equal(got, s->mnt);
    free(got);
    snprintf(path, sizeof path, "%s/./../mnt//", s->mnt);
    assert_int_equal(client_spot(path, &got, &err), 0);
    assert_string_equal(got, s->mnt);
    free(got);
    path_to(path, sizeof path, s, "link");
    assert_int_equal(symlink("mnt", path), 0);
    assert_int_equal(client_spot(path, &got, &err), 0);
    assert_string_equal(got, s->mnt);
    free(got);
    path_to(path, sizeof path, s, "absent");
    assert_int_equal(client_spot(path, &got, NULL), -ENOENT);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(client_spot(path, &got, NULL), -ENOTDIR);
}

/* -- the program ----------------------------------------------------------- */

static void write_volfile(const struct spot *s, const char *text)
{
    FILE *f = fopen(s->vol, "w");

    fputs(text, f);
    fclose(f);
}

static void needs_fuse(void)
{
    if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) < 0)
        skip();
}

/* Run it with the volfile; its exit status. What it says is in s->out. */
static int run(const struct spot *s, const char *timeout, const char *options)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        int fd = open(s->out, O_CREAT | O_TRUNC | O_WRONLY, 0600);

        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execl(CLIENT, CLIENT, "--volfile", s->vol, "--mount-timeout", timeout,
              "-o", options, s->mnt, NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool file_has(const char *path, const char *what)
{
    static char text[1 << 20];
    FILE *f = fopen(path, "r");
    size_t n = f == NULL ? 0 : fread(text, 1, sizeof text - 1, f);

    if (f != NULL)
        fclose(f);
    text[n] = '\0';
    return strstr(text, what) != NULL;
}

static bool is_mounted(const struct spot *s)
{
    return file_has("/proc/self/mountinfo", s->mnt);
}

static void it_returns_when_the_file_system_serves(void **state)
{
    const struct spot *s = *state;
    char path[160];
    int fd;

    needs_fuse();
    write_volfile(s, "volume m\n type debug/memfs\n"
                     " option up-after 200ms\nend-volume\n");
    assert_int_equal(run(s, "20", "noexec"), 0);
    assert_true(is_mounted(s));
    snprintf(path, sizeof path, "%s/f", s->mnt);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);

    assert_int_equal(run(s, "20", "ro"), 1);
    assert_true(file_has(s->out, "mounted there already"));
    assert_true(is_mounted(s)); /* the first one's */
}

static void a_time_out_names_the_bricks_and_unmounts(void **state)
{
    const struct spot *s = *state;

    needs_fuse();
    write_volfile(s, "volume brick-that-hangs\n type debug/memfs\n"
                     " option up-after 1h\nend-volume\n");
    assert_int_equal(run(s, "200ms", "rw"), 1);
    assert_true(file_has(s->out, "brick-that-hangs"));
    assert_false(is_mounted(s));
}

static void what_is_wrong_is_said_and_nothing_mounted(void **state)
{
    const struct spot *s = *state;

    needs_fuse();
    write_volfile(s, "volume m\n type debug/memfs\n oops\nend-volume\n");
    assert_int_equal(run(s, "20", "rw"), 1);
    assert_true(file_has(s->out, "line 3"));
    write_volfile(s, "volume m\n type debug/nothing\nend-volume\n");
    assert_int_equal(run(s, "20", "rw"), 1);
    assert_true(file_has(s->out, "debug/nothing"));
    write_volfile(s, "volume m\n type debug/memfs\nend-volume\n");
    assert_int_equal(run(s, "20", "kernel-lease=often"), 1);
    assert_true(file_has(s->out, "kernel-lease"));
    assert_int_equal(run(s, "20", "bogus"), 1);
    assert_true(file_has(s->out, "bogus"));
    assert_false(is_mounted(s));
}

#define AT_SPOT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_go_where_they_belong),
        cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(servers_get_the_port_of_mgmtd),
        cmocka_unit_test(each_mount_has_a_log_of_its_own),
        AT_SPOT(only_a_free_directory_is_a_mount_point),
        AT_SPOT(it_returns_when_the_file_system_serves),
        AT_SPOT(a_time_out_names_the_bricks_and_unmounts),
        AT_SPOT(what_is_wrong_is_said_and_nothing_mounted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
