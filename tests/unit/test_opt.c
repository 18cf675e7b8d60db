/* SPDX-License-Identifier: Apache-2.0 */
#include "cfs_test.h"

#include "core/opt.h"

struct conf {
    bool            on;
    uint32_t        count;
    uint64_t        big;
    uint64_t        bytes;
    uint64_t        ms;
    char           *name;
    uint32_t        mode;
    struct cfs_uuid id;
};

static const char *const modes[] = {"quick", "safe", "both", NULL};

static const struct cfs_opt opts[] = {
    {"cache", CFS_OPT_BOOL, offsetof(struct conf, on), "on", 0, 0, NULL,
     CFS_OPT_RECONF, "keep a cache"},
    {"count", CFS_OPT_U32, offsetof(struct conf, count), "4", 1, 16, NULL,
     CFS_OPT_RECONF, "how many"},
    {"big", CFS_OPT_U64, offsetof(struct conf, big), NULL, 0, 0, NULL, 0,
     "any number"},
    {"cache-size", CFS_OPT_SIZE, offsetof(struct conf, bytes), "64M",
     1u << 20, 1u << 30, NULL, CFS_OPT_RECONF, "bytes"},
    {"timeout", CFS_OPT_MS, offsetof(struct conf, ms), "2s", 10, 60000, NULL,
     CFS_OPT_RECONF, "time"},
    {"name", CFS_OPT_STR, offsetof(struct conf, name), NULL, 0, 0, NULL,
     CFS_OPT_RECONF, "text"},
    {"mode", CFS_OPT_ENUM, offsetof(struct conf, mode), "safe", 0, 0, modes,
     0, "how"},
    {"id", CFS_OPT_UUID, offsetof(struct conf, id), NULL, 0, 0, NULL,
     CFS_OPT_REQUIRED, "who"},
    {.name = NULL},
};

#define ID "00112233-4455-6677-8899-aabbccddeeff"

static int load(struct conf *c, bool running, struct cfs_err *err, size_t n,
                const struct cfs_kv *kv)
{
    return cfs_opt_load(opts, c, kv, n, running, "vol", err);
}

static void defaults_are_taken(void **state)
{
    struct cfs_kv kv[] = {{"id", ID}};
    struct conf c = {0};

    assert_int_equal(load(&c, false, NULL, 1, kv), 0);
    assert_true(c.on);
    assert_int_equal(c.count, 4);
    assert_true(c.big == 0);
    assert_true(c.bytes == 64u << 20);
    assert_true(c.ms == 2000);
    assert_null(c.name);
    assert_int_equal(c.mode, 1);
    assert_int_equal(c.id.b[15], 0xff);
    cfs_opt_free(opts, &c);
}

static void values_are_parsed_and_printed(void **state)
{
    struct cfs_kv kv[] = {
        {"id", ID},          {"cache", "No"},   {"count", "16"},
        {"big", "18446744073709551615"},        {"cache-size", "512MiB"},
        {"timeout", "250ms"}, {"name", "a b"},  {"mode", "Both"},
    };
    static const char *const printed[] = {
        "off", "16", "18446744073709551615", "512M", "250ms", "a b", "both",
        ID,
    };
    struct conf c = {0};
    char text[64];

    assert_int_equal(load(&c, false, NULL, CFS_ARRAY_SIZE(kv), kv), 0);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(printed); i++)
        assert_string_equal(
            cfs_opt_print(&opts[i], &c, text, sizeof text), printed[i]);
    cfs_opt_free(opts, &c);
    assert_null(c.name);
}

static void an_unknown_option_names_the_nearest(void **state)
{
    struct cfs_kv kv[] = {{"id", ID}, {"cache-szie", "1M"}};
    struct cfs_err err = {0};
    struct conf c = {0};

    assert_int_equal(load(&c, false, &err, 2, kv), -ENOENT);
    assert_string_equal(err.text, "vol: unknown option 'cache-szie'; do you "
                                  "mean 'cache-size'?");
    assert_false(c.on);

    memset(&err, 0, sizeof err);
    kv[1].key = "something-else-entirely";
    assert_int_equal(load(&c, false, &err, 2, kv), -ENOENT);
    assert_string_equal(err.text,
                        "vol: unknown option 'something-else-entirely'");
}

static void bad_values_say_what_is_accepted(void **state)
{
    static const struct {
        const char *key, *value, *text;
    } bad[] = {
        {"cache", "maybe", "vol: cache = maybe: expected on or off"},
        {"count", "0", "vol: count = 0: expected 1 to 16"},
        {"count", "17", "vol: count = 17: expected 1 to 16"},
        {"count", "-1", "vol: count = -1: expected a number"},
        {"count", "", "vol: count = : expected a number"},
        {"count", "4 apples", "vol: count = 4 apples: expected a number"},
        {"count", "99999999999999999999",
         "vol: count = 99999999999999999999: too large"},
        {"cache-size", "1K", "vol: cache-size = 1K: expected 1M to 1G"},
        {"cache-size", "99999999P", "vol: cache-size = 99999999P: too large"},
        {"cache-size", "1Q",
         "vol: cache-size = 1Q: expected a size like 64K or 1GiB"},
        {"timeout", "2h", "vol: timeout = 2h: expected 10ms to 60s"},
        {"timeout", "soon",
         "vol: timeout = soon: expected a time like 200ms, 2s or 5min"},
        {"mode", "fast", "vol: mode = fast: expected quick, safe or both"},
        {"id", "me", "vol: id = me: expected a UUID"},
    };

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(bad); i++) {
        struct cfs_kv kv[] = {
            {"id", ID}, {"name", "x"}, {bad[i].key, bad[i].value}};
        struct cfs_err err = {0};
        struct conf c = {0}, clean = {0};

        assert_int_equal(load(&c, false, &err, 3, kv), -EINVAL);
        assert_string_equal(err.text, bad[i].text);
        assert_memory_equal(&c, &clean, sizeof c); /* nothing was stored */
    }
}

static void a_required_option_is_asked_for(void **state)
{
    struct cfs_err err = {0};
    struct conf c = {0};

    assert_int_equal(load(&c, false, &err, 0, NULL), -EINVAL);
    assert_string_equal(err.text, "vol: option 'id' is missing");
}

static void only_what_may_change_changes_while_running(void **state)
{
    struct cfs_kv kv[] = {{"id", ID}, {"name", "one"}, {"mode", "quick"}};
    struct cfs_err err = {0};
    struct conf c = {0};

    assert_int_equal(load(&c, false, NULL, 3, kv), 0);
    kv[1].value = "two";
    assert_int_equal(load(&c, true, NULL, 3, kv), 0);
    assert_string_equal(c.name, "two");

    kv[1].value = "three";
    kv[2].value = "both";
    assert_int_equal(load(&c, true, &err, 3, kv), -EBUSY);
    assert_string_equal(err.text,
                        "vol: option 'mode' cannot change while running");
    assert_string_equal(c.name, "two");
    assert_int_equal(c.mode, 0);

    /* Left out again: back to its default. */
    assert_int_equal(load(&c, true, NULL, 1, kv), -EBUSY);
    kv[1] = kv[2];
    kv[1].value = "quick";
    assert_int_equal(load(&c, true, NULL, 2, kv), 0);
    assert_null(c.name);
    cfs_opt_free(opts, &c);
}

static void the_last_of_two_values_counts(void **state)
{
    struct cfs_kv kv[] = {{"id", ID}, {"count", "2"}, {"count", "3"}};
    struct conf c = {0};

    assert_int_equal(load(&c, false, NULL, 3, kv), 0);
    assert_int_equal(c.count, 3);
}

static void units(void **state)
{
    uint64_t v = 7;

    assert_int_equal(cfs_parse_size("4096", &v), 0);
    assert_true(v == 4096);
    assert_int_equal(cfs_parse_size("10GiB", &v), 0);
    assert_true(v == (uint64_t)10 << 30);
    assert_int_equal(cfs_parse_size("2tb", &v), 0);
    assert_true(v == (uint64_t)2 << 40);
    assert_int_equal(cfs_parse_size("16384P", &v), -ERANGE);
    assert_int_equal(cfs_parse_size("1.5G", &v), -EINVAL);
    assert_int_equal(cfs_parse_size("G", &v), -EINVAL);
    assert_int_equal(cfs_parse_size("", &v), -EINVAL);
    assert_true(v == (uint64_t)2 << 40); /* untouched */
    assert_int_equal(cfs_parse_ms("3", &v), 0);
    assert_true(v == 3000);
    assert_int_equal(cfs_parse_ms("5min", &v), 0);
    assert_true(v == 300000);
    assert_int_equal(cfs_parse_ms("18446744073709551615d", &v), -ERANGE);
    assert_int_equal(cfs_parse_u64("18446744073709551616", &v), -ERANGE);
    assert_int_equal(cfs_parse_u64("+1", &v), -EINVAL);
    assert_int_equal(cfs_parse_u64(" 1", &v), -EINVAL);
}

static void nearest_is_near(void **state)
{
    static const char *const words[] = {"start", "stop", "status", "info",
                                        NULL};

    assert_string_equal(cfs_nearest("strat", words), "start");
    assert_string_equal(cfs_nearest("statsu", words), "status");
    assert_string_equal(cfs_nearest("inf", words), "info");
    assert_null(cfs_nearest("delete", words));
    assert_null(cfs_nearest("", words));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_taken),
        cmocka_unit_test(values_are_parsed_and_printed),
        cmocka_unit_test(an_unknown_option_names_the_nearest),
        cmocka_unit_test(bad_values_say_what_is_accepted),
        cmocka_unit_test(a_required_option_is_asked_for),
        cmocka_unit_test(only_what_may_change_changes_while_running),
        cmocka_unit_test(the_last_of_two_values_counts),
        cmocka_unit_test(units),
        cmocka_unit_test(nearest_is_near),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
