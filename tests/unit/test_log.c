/* SPDX-License-Identifier: Apache-2.0 */
#include "cfs_test.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"

struct fixture {
    char            dir[64];
    char            path[96];
    struct cfs_log *log;
    char            text[65536];
};

static int open_log(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    cfs_test_dir(f->dir, "log");
    snprintf(f->path, sizeof f->path, "%s/log", f->dir);
    *state = f;
    return cfs_log_open(&f->log, f->path, CFS_LOG_INFO, CFS_LOG_PLAIN, NULL);
}

static int close_log(void **state)
{
    struct fixture *f = *state;

    cfs_log_close(f->log);
    unlink(f->path);
    rmdir(f->dir);
    free(f);
    return 0;
}

static const char *content(struct fixture *f, const char *path)
{
    FILE *in = fopen(path, "r");

    assert_non_null(in);
    f->text[fread(f->text, 1, sizeof f->text - 1, in)] = '\0';
    fclose(in);
    return f->text;
}

static unsigned count_lines(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void a_line_has_its_form(void **state)
{
    struct fixture *f = *state;
    regex_t re;

    cfs_log_warning(f->log, "rpc", "peer gone addr=%s", "unix:/x");
    assert_int_equal(
        regcomp(&re,
                "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
                "\\.[0-9]{6}Z WARNING rpc: peer gone addr=unix:/x\n$",
                REG_EXTENDED | REG_NOSUB),
        0);
    assert_int_equal(regexec(&re, content(f, f->path), 0, NULL, 0), 0);
    regfree(&re);
}

static void levels_are_obeyed(void **state)
{
    struct fixture *f = *state;

    cfs_log_debug(f->log, "x", "too low");
    assert_string_equal(content(f, f->path), "");
    cfs_log_set_level(f->log, CFS_LOG_DEBUG);
    cfs_log_debug(f->log, "x", "wanted");
    cfs_log_trace(f->log, "x", "too low");
    assert_int_equal(count_lines(content(f, f->path)), 1);
    cfs_log_error(NULL, "x", "nowhere"); /* no log is no crash */
}

/* A name with a newline must not look like a line of its own. */
static void nobody_can_forge_a_line(void **state)
{
    struct fixture *f = *state;
    char big[9000];

    cfs_log_info(f->log, "x", "name=%s", "a\n2026 ERROR x: b\r\x1b[0m\x7f");
    assert_non_null(strstr(content(f, f->path),
                           "name=a\\x0a2026 ERROR x: b\\x0d\\x1b[0m\\x7f\n"));
    memset(big, '\n', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    cfs_log_info(f->log, "x", "%s", big);
    assert_int_equal(count_lines(content(f, f->path)), 2);
    assert_true(strlen(f->text) < 2 * 4096);
}

static void say(struct cfs_log *log, unsigned i)
{
    cfs_log_info(log, "x", "line %u", i);
}

static void a_call_site_that_raves_is_cut_short(void **state)
{
    struct fixture *f = *state;
    unsigned n;

    for (unsigned i = 0; i < 1000; i++)
        say(f->log, i);
    n = count_lines(content(f, f->path));
    /* Up to two windows, and one line that says what was left out. */
    assert_in_range(n, CFS_LOG_BURST, 2 * CFS_LOG_BURST + 1);
    cfs_log_info(f->log, "y", "another site"); /* has its own count */
    assert_non_null(strstr(content(f, f->path), "y: another site"));
}

static void what_was_left_out_is_counted(void **state)
{
    struct fixture *f = *state;
    struct cfs_log_site site = {.window = 1, .said = CFS_LOG_BURST,
                                .left_out = 17};

    cfs_log_at(f->log, &site, CFS_LOG_INFO, "x", "again");
    content(f, f->path);
    assert_non_null(strstr(
        f->text, "x: 17 more lines like the next one were left out\n"));
    assert_non_null(strstr(f->text, "x: again\n"));
    assert_int_equal(site.left_out, 0);
}

static void reopening_follows_rotation(void **state)
{
    struct fixture *f = *state;
    char old[128];
    struct stat st;

    snprintf(old, sizeof old, "%s.1", f->path);
    cfs_log_info(f->log, "x", "before");
    assert_int_equal(rename(f->path, old), 0);
    assert_int_equal(cfs_log_reopen(f->log, NULL), 0);
    cfs_log_info(f->log, "x", "after");
    assert_non_null(strstr(content(f, old), "before"));
    assert_null(strstr(f->text, "after"));
    assert_non_null(strstr(content(f, f->path), "after"));
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07137, 0);
    unlink(old);
}

static void a_log_that_cannot_be_opened_says_why(void **state)
{
    struct cfs_log *log = NULL;
    struct cfs_err err = {0};

    assert_int_equal(cfs_log_open(&log, "/nonexistent/log", CFS_LOG_INFO,
                                  CFS_LOG_PLAIN, &err),
                     -ENOENT);
    assert_null(log);
    assert_string_equal(err.text,
                        "log /nonexistent/log: No such file or directory");
}

static void journald_is_told_the_priority(void **state)
{
    struct fixture *f = *state;
    struct cfs_log *log;

    assert_int_equal(cfs_log_open(&log, f->path, CFS_LOG_INFO,
                                  CFS_LOG_JOURNALD, NULL),
                     0);
    cfs_log_error(log, "store", "disk failed");
    assert_string_equal(content(f, f->path), "<3>store: disk failed\n");
    cfs_log_close(log);
}

static void level_names(void **state)
{
    enum cfs_log_level level = CFS_LOG_ERROR;

    assert_int_equal(cfs_log_level_parse("debug", &level), 0);
    assert_int_equal(level, CFS_LOG_DEBUG);
    assert_int_equal(cfs_log_level_parse("Warning", &level), 0);
    assert_int_equal(level, CFS_LOG_WARNING);
    assert_int_equal(cfs_log_level_parse("loud", &level), -EINVAL);
    assert_int_equal(level, CFS_LOG_WARNING);
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, open_log, close_log)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(a_line_has_its_form),
        LOG_TEST(levels_are_obeyed),
        LOG_TEST(nobody_can_forge_a_line),
        LOG_TEST(a_call_site_that_raves_is_cut_short),
        LOG_TEST(what_was_left_out_is_counted),
        LOG_TEST(reopening_follows_rotation),
        cmocka_unit_test(a_log_that_cannot_be_opened_says_why),
        LOG_TEST(journald_is_told_the_priority),
        cmocka_unit_test(level_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
