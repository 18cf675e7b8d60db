/* SPDX-License-Identifier: Apache-2.0 */
/* Daemons are started in a child of the test, as a shell would do it. */
#include "cfs_test.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/host.h"

struct fixture {
    char dir[64];
    char out[8192]; /* what the program printed */
};

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    return remove(path);
}

static int open_dir(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    cfs_test_dir(f->dir, "host");
    /* Daemons become our children: so that we see their end. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    setenv("CLUSTERFS_CONFIG_DIR", f->dir, 1);
    *state = f;
    return 0;
}

static int close_dir(void **state)
{
    struct fixture *f = *state;

    nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* -- the program ---------------------------------------------------------- */

static bool     flag;
static uint64_t number;

static int set_flag(void *arg, const char *value, struct cfs_err *err)
{
    *(bool *)arg = true;
    return 0;
}

static int set_number(void *arg, const char *value, struct cfs_err *err)
{
    if (cfs_parse_u64(value, arg) < 0)
        return cfs_err_set(err, -EINVAL, "expected a number");
    return 0;
}

static const struct cfs_arg args[] = {
    {"flag", 'f', NULL, "a flag", &flag, set_flag},
    {"number", 'n', "N", "a number", &number, set_number},
    {.name = NULL},
};

static void on_dump(struct cfs_host *h, struct cfs_dump *d)
{
    cfs_dump_section(d, "test");
    cfs_dump_put(d, "number", "%d", (int)number);
}

static const struct cfs_host_spec spec = {
    .program = "test-daemon",
    .synopsis = "THING",
    .about = "Does nothing, reliably.",
    .args = args,
    .own_log = true,
    .on_dump = on_dump,
};

/* What the program does: the argument after the options says how it ends. */
static int daemon_main(int argc, char **argv)
{
    struct cfs_host h;
    struct cfs_err err = {0};
    int status;

    if (cfs_host_init(&h, &spec, argc, argv, &err) < 0) {
        fprintf(stderr, "test-daemon: %s\n", err.text);
        return 1;
    }
    if (h.n_rest > 0 && strcmp(h.rest[0], "fail") == 0) {
        cfs_err_set(&err, -EIO, "told to fail");
        cfs_host_fail(&h, &err);
        cfs_host_fini(&h);
        return 1;
    }
    if (h.n_rest > 0 && strcmp(h.rest[0], "die") == 0)
        raise(SIGKILL);
    if (h.n_rest > 0 && strcmp(h.rest[0], "exit") == 0)
        _exit(7);
    cfs_host_ready(&h);
    status = cfs_host_run(&h);
    cfs_log_info(h.log, "test", "stopped number=%d flag=%d", (int)number,
                 flag);
    cfs_host_fini(&h);
    return status;
}

/* Run it as a command with @words; its exit status. Its output is in f->out:
 * all of it, so a daemon that kept our end of the pipe would hang us. */
static int run(struct fixture *f, const char *words)
{
    char copy[512], dir[3][128], *argv[32] = {"test-daemon"}, *at;
    int argc = 1, fds[2], status;
    size_t len = 0;
    ssize_t n;
    pid_t pid;

    for (unsigned i = 0; i < 3; i++) {
        static const char *const names[] = {"state", "run", "log"};

        snprintf(dir[i], sizeof dir[i], "--%s-dir=%s/%s", names[i], f->dir,
                 names[i]);
        argv[argc++] = dir[i];
    }
    snprintf(copy, sizeof copy, "%s", words);
    for (at = strtok(copy, " "); at; at = strtok(NULL, " "))
        argv[argc++] = at;
    argv[argc] = NULL;
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        exit(daemon_main(argc, argv));
    }
    close(fds[1]);
    while ((n = read(fds[0], f->out + len, sizeof f->out - 1 - len)) > 0)
        len += (size_t)n;
    f->out[len] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void read_text(const char *path, char *buf, size_t size)
{
    FILE *in = fopen(path, "r");

    assert_non_null(in);
    buf[fread(buf, 1, size - 1, in)] = '\0';
    fclose(in);
}

static pid_t pid_in(const char *path)
{
    char text[64];

    read_text(path, text, sizeof text);
    return (pid_t)atoi(text);
}

/* -- starting ------------------------------------------------------------- */

static void a_daemon_starts_runs_and_stops(void **state)
{
    struct fixture *f = *state;
    char words[256], pidfile[128], log[128], text[4096];
    struct stat st;
    int status;
    pid_t pid;

    snprintf(pidfile, sizeof pidfile, "%s/run/d.pid", f->dir);
    snprintf(log, sizeof log, "%s/log/test-daemon.log", f->dir);
    snprintf(words, sizeof words, "--pid-file %s -n 42 --flag go", pidfile);
    assert_int_equal(run(f, words), 0);
    assert_string_equal(f->out, "");
    pid = pid_in(pidfile);
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(getsid(pid), pid);

    /* A second one is refused, and harms nothing. */
    assert_int_equal(run(f, words), 1);
    snprintf(text, sizeof text, "test-daemon: pid file %s: process %d has it\n",
             pidfile, pid);
    assert_string_equal(f->out, text);
    assert_int_equal(pid_in(pidfile), pid);

    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(stat(pidfile, &st), -1);
    read_text(log, text, sizeof text);
    assert_non_null(strstr(text, "INFO test: stopped number=42 flag=1\n"));
    snprintf(text, sizeof text, "%s/state", f->dir);
    assert_int_equal(stat(text, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void a_failed_start_is_told_to_who_waits(void **state)
{
    struct fixture *f = *state;
    char text[4096], log[128];

    assert_int_equal(run(f, "fail"), 1);
    assert_string_equal(f->out, "test-daemon: told to fail\n");
    snprintf(log, sizeof log, "%s/log/test-daemon.log", f->dir);
    read_text(log, text, sizeof text);
    assert_non_null(strstr(text, "ERROR test-daemon: told to fail\n"));
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static void a_death_during_the_start_is_noticed(void **state)
{
    struct fixture *f = *state;
    char text[256];

    assert_int_equal(run(f, "die"), 1);
    snprintf(text, sizeof text,
             "test-daemon: killed by signal 9 while it started; see "
             "%s/log/test-daemon.log\n",
             f->dir);
    assert_string_equal(f->out, text);
    assert_int_equal(run(f, "exit"), 1);
    assert_non_null(strstr(f->out, "ended with status 7 while it started"));
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static void in_the_foreground_failures_are_printed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, "--no-daemon fail"), 1);
    assert_string_equal(f->out, "test-daemon: told to fail\n");
    assert_int_equal(run(f, "--no-daemon --log-file - fail"), 1);
    assert_non_null(strstr(f->out, "ERROR test-daemon: told to fail\n"));
}

static void wrong_command_lines_are_refused(void **state)
{
    static const struct {
        const char *words, *text;
    } bad[] = {
        {"--numbr 3", "unknown option --numbr; do you mean --number?"},
        {"--frobnicate", "unknown option --frobnicate\n"},
        {"-x", "unknown option -x"},
        {"--number", "option --number needs a value"},
        {"-n", "option --number needs a value"},
        {"-n x", "--number x: expected a number"},
        {"--flag=3", "option --flag takes no value"},
        {"--port 65536", "--port 65536: expected a number from 1 to 65535"},
        {"--log-level loud", "--log-level loud: expected error, warning,"},
        {"--log-format xml", "--log-format xml: expected plain or journald"},
    };
    struct fixture *f = *state;

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(bad); i++) {
        assert_int_equal(run(f, bad[i].words), 2);
        assert_non_null(strstr(f->out, bad[i].text));
        assert_non_null(strstr(f->out, "Try 'test-daemon --help'."));
    }
    setenv("CLUSTERFS_PORT", "many", 1);
    assert_int_equal(run(f, "go"), 2);
    assert_non_null(strstr(f->out, "CLUSTERFS_PORT=many: expected"));
    unsetenv("CLUSTERFS_PORT");
}

static void help_and_version(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, "--help"), 0);
    assert_non_null(strstr(f->out, "Usage: test-daemon [OPTION...] THING\n"
                                   "Does nothing, reliably.\n"));
    assert_non_null(strstr(f->out, "-n, --number N"));
    assert_non_null(strstr(f->out, "--log-level LEVEL"));
    assert_int_equal(run(f, "-V"), 0);
    assert_memory_equal(f->out, "test-daemon ", 12);
}

/* -- signals -------------------------------------------------------------- */

/* Start in the foreground; a socket as systemd's says when it is ready. */
static pid_t start_and_wait(struct fixture *f, const char *words)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char msg[64];
    ssize_t n;
    pid_t pid;

    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/notify", f->dir);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        setenv("NOTIFY_SOCKET", addr.sun_path, 1);
        _exit(run(f, words));
    }
    n = recv(fd, msg, sizeof msg - 1, 0);
    assert_true(n > 0);
    msg[n] = '\0';
    assert_string_equal(msg, "READY=1");
    close(fd);
    return pid;
}

/* Wait, up to 5 s, until @pattern names a file; into @ret. */
static void wait_for_file(const char *pattern, char *ret, size_t size)
{
    for (unsigned i = 0; i < 500; i++) {
        glob_t g;

        if (glob(pattern, 0, NULL, &g) == 0) {
            snprintf(ret, size, "%s", g.gl_pathv[0]);
            globfree(&g);
            return;
        }
        usleep(10000);
    }
    fail_msg("no file %s", pattern);
}

static void signals_do_what_they_say(void **state)
{
    struct fixture *f = *state;
    char words[256], pidfile[128], log[128], old[160], path[256], text[4096];
    pid_t outer, pid;
    int status;

    snprintf(pidfile, sizeof pidfile, "%s/pid", f->dir);
    snprintf(log, sizeof log, "%s/log/test-daemon.log", f->dir);
    snprintf(words, sizeof words, "--no-daemon --pid-file %s -n 5 go",
             pidfile);
    outer = start_and_wait(f, words);
    pid = pid_in(pidfile);

    /* The log goes on in a new file. */
    snprintf(old, sizeof old, "%s.1", log);
    assert_int_equal(rename(log, old), 0);
    assert_int_equal(kill(pid, SIGHUP), 0);
    wait_for_file(log, path, sizeof path);

    assert_int_equal(kill(pid, SIGUSR1), 0);
    snprintf(path, sizeof path, "%s/run/dump.test-daemon.%d.*", f->dir, pid);
    wait_for_file(path, path, sizeof path);

    assert_int_equal(kill(pid, SIGPIPE), 0); /* no harm */
    assert_int_equal(kill(pid, SIGINT), 0);
    assert_int_equal(waitpid(outer, &status, 0), outer);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    read_text(path, text, sizeof text);
    assert_non_null(strstr(text, "[process]\nprogram=test-daemon\n"));
    assert_non_null(strstr(text, "[test]\nnumber=5\n"));
    read_text(log, text, sizeof text);
    assert_non_null(strstr(text, "stopped number=5"));
}

/* -- who and when --------------------------------------------------------- */

static void a_process_has_a_start(void **state)
{
    uint64_t a = 0, b = 0, none = 99;

    assert_int_equal(cfs_pid_start((uint32_t)getpid(), &a), 0);
    assert_int_equal(cfs_pid_start((uint32_t)getpid(), &b), 0);
    assert_true(a == b && a > 0);
    /* Spaces and parentheses in a name do not move the field. */
    prctl(PR_SET_NAME, "a) 7 (b");
    assert_int_equal(cfs_pid_start((uint32_t)getpid(), &b), 0);
    assert_true(a == b);
    assert_int_equal(cfs_pid_start(INT32_MAX, &none), -ESRCH);
    assert_true(none == 99);
}

static void this_boot_and_node_have_names(void **state)
{
    struct cfs_uuid a = {0}, b = {0};

    assert_int_equal(cfs_boot_id(&a), 0);
    assert_int_equal(cfs_boot_id(&b), 0);
    assert_true(cfs_uuid_eq(a, b));
    assert_false(cfs_uuid_is_null(a));
    assert_true(strlen(cfs_node_name()) > 0);
    assert_true(strlen(cfs_node_name()) < CFS_NODE_MAX);
}

static void directories_come_from_the_environment(void **state)
{
    struct cfs_dirs d;
    char cwd[1024], want[1100];

    setenv("CLUSTERFS_STATE_DIR", "here/state", 1);
    setenv("CLUSTERFS_RUN_DIR", "", 1); /* as if unset */
    assert_int_equal(cfs_dirs_default(&d), 0);
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(want, sizeof want, "%s/here/state", cwd);
    assert_string_equal(d.state, want);
    assert_string_equal(d.run, "/run/clusterfs");
    assert_string_equal(d.log, "/var/log/clusterfs");
    cfs_dirs_free(&d);
    unsetenv("CLUSTERFS_STATE_DIR");
    unsetenv("CLUSTERFS_RUN_DIR");
}

#define HOST_TEST(f) cmocka_unit_test_setup_teardown(f, open_dir, close_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(a_daemon_starts_runs_and_stops),
        HOST_TEST(a_failed_start_is_told_to_who_waits),
        HOST_TEST(a_death_during_the_start_is_noticed),
        HOST_TEST(in_the_foreground_failures_are_printed),
        HOST_TEST(wrong_command_lines_are_refused),
        HOST_TEST(help_and_version),
        HOST_TEST(signals_do_what_they_say),
        cmocka_unit_test(a_process_has_a_start),
        cmocka_unit_test(this_boot_and_node_have_names),
        cmocka_unit_test(directories_come_from_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
