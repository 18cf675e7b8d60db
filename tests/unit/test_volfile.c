/* SPDX-License-Identifier: Apache-2.0 */
/* test_volfile.c - volfiles: what is accepted, what an error says, that print
 * and parse are inverse, that the generator writes what the samples show. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/cfs_test.h"
#include "volfiles/volfile.h"
#include "volfiles/volgen.h"
#include "volfiles/voption.h"

static struct cfs_volfile *parsed(const char *text)
{
    struct cfs_volfile *v = NULL;
    struct cfs_err err = {0};

    if (cfs_volfile_parse(text, strlen(text), &v, &err) < 0)
        fail_msg("%s", err.text);
    return v;
}

static void refused(const char *text, const char *why)
{
    struct cfs_volfile *v = NULL;
    struct cfs_err err = {0};

    assert_true(cfs_volfile_parse(text, strlen(text), &v, &err) < 0);
    assert_null(v);
    if (!strstr(err.text, why))
        fail_msg("'%s' does not say '%s'", err.text, why);
}

static const char two[] = "# two translators\n"
                          "volume a-block\n"
                          "    type storage/block   # the bottom\n"
                          "    option device \"/dev/my disk #1\"\n"
                          "    option note \"say \\\"hi\\\"\\n\\\\\"\n"
                          "    option empty \"\"\n"
                          "end-volume\n"
                          "\n"
                          "volume top\r\n"
                          "\ttype debug/io-stats\n"
                          "\tsubvolumes a-block\n"
                          "end-volume";

static void words_quotes_and_comments_are_understood(void **state)
{
    struct cfs_volfile *v = parsed(two);

    assert_int_equal(v->n, 2);
    assert_string_equal(v->xl[0].name, "a-block");
    assert_string_equal(v->xl[0].type, "storage/block");
    assert_int_equal(v->xl[0].n_opts, 3);
    assert_string_equal(v->xl[0].opts[0].key, "device");
    assert_string_equal(v->xl[0].opts[0].value, "/dev/my disk #1");
    assert_string_equal(v->xl[0].opts[1].value, "say \"hi\"\n\\");
    assert_string_equal(v->xl[0].opts[2].value, "");
    assert_string_equal(v->xl[1].name, "top");
    assert_int_equal(v->xl[1].n_child, 1);
    assert_string_equal(v->xl[1].child[0], "a-block");
    cfs_volfile_free(v);
}

static bool same(const struct cfs_volfile *a, const struct cfs_volfile *b)
{
    if (!cfs_volfile_same_shape(a, b))
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (a->xl[i].n_opts != b->xl[i].n_opts)
            return false;
        for (size_t k = 0; k < a->xl[i].n_opts; k++)
            if (strcmp(a->xl[i].opts[k].key, b->xl[i].opts[k].key) != 0 ||
                strcmp(a->xl[i].opts[k].value, b->xl[i].opts[k].value) != 0)
                return false;
    }
    return true;
}

static void what_is_printed_parses_to_the_same(void **state)
{
    struct cfs_volfile *v = parsed(two), *again;
    char *text;

    assert_int_equal(cfs_volfile_print(v, &text, NULL), 0);
    again = parsed(text);
    assert_true(same(v, again));
    free(text);
    cfs_volfile_free(again);
    cfs_volfile_free(v);
}

/* Any bytes that an option can hold come back. */
static void option_values_in_any_bytes_survive(void **state)
{
    unsigned seed = 20261121;

    for (int round = 0; round < 200; round++) {
        struct cfs_volfile *v = cfs_volfile_new(), *again;
        char value[65] = "", *text;
        size_t len = (size_t)rand_r(&seed) % 64;

        for (size_t i = 0; i < len; i++)
            value[i] = (char)(1 + rand_r(&seed) % 255);
        assert_int_equal(cfs_volfile_add(v, "x", "a/b", NULL), 0);
        assert_int_equal(cfs_volfile_option(v, "k", value, NULL), 0);
        assert_int_equal(cfs_volfile_print(v, &text, NULL), 0);
        again = parsed(text);
        assert_string_equal(again->xl[0].opts[0].value, value);
        free(text);
        cfs_volfile_free(again);
        cfs_volfile_free(v);
    }
}

#define XL(name) "volume " name "\n type a/b\nend-volume\n"

static void an_error_says_the_line_and_the_reason(void **state)
{
    refused("", "there is no volume");
    refused("volume a\n type storage\nend-volume\n", "line 2: type 'storage'");
    refused("volume a\n type ../evil\nend-volume\n", "line 2: type");
    refused("volume a\n type a/b/c\nend-volume\n", "line 2: type");
    refused("volume a\nend-volume\n", "line 2: volume 'a' has no type");
    refused("volume a\n type a/b\n type a/b\nend-volume\n", "line 3: ");
    refused("volume a\n type a/b\n", "(line 1) has no end-volume");
    refused("volume a\n type a/b\nvolume b\n", "line 3: 'volume' inside");
    refused(XL("a") XL("a"), "line 4: there is a volume 'a' already");
    refused("volume a/../b$\n", "line 1: 'a/../b$' is no name");
    refused("option a b\n", "line 1: 'option' outside a volume");
    refused("volume a\n type a/b\n option k\n", "line 3: the option's value");
    refused("volume a\n type a/b\n option k v w\n", "line 3: 'w' is too much");
    refused("volume a\n type a/b\n option k 1\n option k 2\n",
            "line 4: option k stands twice");
    refused("volume a\n type a/b\n option k \"x\n", "line 3: a quote is not");
    refused("volume a\n type a/b\n option k \"x\"y\n", "line 3: a blank");
    refused("volume a\n type a/b\n option k \"\\z\"\n",
            "line 3: expected \\\"");
    refused("volume a\n type a/b\n option k x#y\n", "must stand in quotes");
    refused("volume a\n type a/b\n subvolumes\n", "line 3: a subvolume's");
    refused("volume a\n type a/b\n subvolumes a\n", "its own subvolume");
    refused("volume a\n type a/b\n subvolumes z\n", "'z' is not declared");
    refused(XL("a") "volume b\n type a/b\n subvolumes a a\n", "line 6: ");
    refused("volme a\n", "line 1: unknown word 'volme'");
}

static void what_a_peer_sends_is_bounded(void **state)
{
    struct cfs_volfile *v = NULL;
    struct cfs_err err = {0};
    char *text = malloc(CFS_VOLFILE_MAX + 1);

    memset(text, ' ', CFS_VOLFILE_MAX + 1);
    assert_int_equal(cfs_volfile_parse(text, CFS_VOLFILE_MAX + 1, &v, &err),
                     -E2BIG);
    memset(text, 'x', CFS_VOLFILE_MAX);
    err = (struct cfs_err){0};
    assert_int_equal(cfs_volfile_parse(text, CFS_VOLFILE_MAX, &v, &err),
                     -E2BIG);
    err = (struct cfs_err){0};
    assert_int_equal(cfs_volfile_parse("volume a\0b\n", 11, &v, &err),
                     -EINVAL);
    assert_null(v);
    free(text);
}

/* -- the generator and the samples --------------------------------------- */

static char *sample(const char *name)
{
    char path[512], *text;
    long len;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", SAMPLES, name);
    f = fopen(path, "r");
    if (!f)
        fail_msg("%s: %s", path, strerror(errno));
    fseek(f, 0, SEEK_END);
    len = ftell(f);
    rewind(f);
    text = calloc(1, (size_t)len + 1);
    assert_int_equal(fread(text, 1, (size_t)len, f), len);
    fclose(f);
    return text;
}

static struct cfs_uuid id_of(uint8_t last)
{
    struct cfs_uuid u = {{0}};

    u.b[0] = 0xab;
    u.b[15] = last;
    return u;
}

static void expect_sample(struct cfs_volfile *v, const char *name)
{
    char *want = sample(name), *text;
    struct cfs_volfile *file = parsed(want);

    assert_int_equal(cfs_volfile_print(v, &text, NULL), 0);
    if (!same(file, v))
        fail_msg("%s should be:\n%s", name, text);
    free(text);
    free(want);
    cfs_volfile_free(file);
    cfs_volfile_free(v);
}

static void the_generator_writes_what_the_samples_show(void **state)
{
    static const char *const sockets[] = {"/run/clusterfs/brick-a.sock",
                                          "/run/clusterfs/brick-b.sock",
                                          "/run/clusterfs/brick-c.sock"};
    struct cfs_vg_brick brick[3] = {0};
    struct cfs_vg_volume vol = {.name = "demo", .brick = brick, .n_bricks = 3};
    struct cfs_volfile *v;
    struct cfs_err err = {0};

    vol.id = id_of(100);
    vol.set = id_of(200);
    for (uint8_t i = 0; i < 3; i++) {
        brick[i].id = id_of((uint8_t)(i + 1));
        brick[i].host = "localhost";
        brick[i].device = "/srv/brick.img";
        brick[i].socket = sockets[i];
        brick[i].address = "127.0.0.1";
    }
    assert_int_equal(cfs_vg_client(&vol, &v, &err), 0);
    expect_sample(v, "client-replica3.vol");
    assert_int_equal(cfs_vg_brick(&vol, 1, &v, &err), 0);
    expect_sample(v, "brick.vol");
    vol.n_bricks = 1;
    brick[0].socket = NULL;
    brick[0].host = "n1.example.org";
    brick[0].port = 49152;
    assert_int_equal(cfs_vg_client(&vol, &v, &err), 0);
    expect_sample(v, "client-single-tcp.vol");
}

static void a_set_of_no_or_too_many_bricks_is_refused(void **state)
{
    struct cfs_vg_brick brick[CFS_SET_MAX + 1] = {0};
    struct cfs_vg_volume vol = {.name = "demo", .brick = brick};
    struct cfs_volfile *v = NULL;
    struct cfs_err err = {0};

    assert_int_equal(cfs_vg_client(&vol, &v, &err), -EINVAL);
    vol.n_bricks = CFS_SET_MAX + 1;
    assert_int_equal(cfs_vg_client(&vol, &v, &err), -EINVAL);
    assert_null(v);
}

static const char *option_of(const struct cfs_volfile *v, const char *name,
                             const char *key)
{
    const struct cfs_volfile_xl *xl = cfs_volfile_find(v, name);

    assert_non_null(xl);
    for (size_t i = 0; i < xl->n_opts; i++)
        if (strcmp(xl->opts[i].key, key) == 0)
            return xl->opts[i].value;
    return NULL;
}

static void an_option_of_the_volume_reaches_its_translator(void **state)
{
    static const struct cfs_kv opts[] = {{"network.wait", "5s"},
                                         {"storage.cache-size", "64M"}};
    struct cfs_vg_brick brick = {.host = "n", .device = "/d"};
    struct cfs_vg_volume vol = {.name = "demo", .brick = &brick,
                                .n_bricks = 1, .opts = opts, .n_opts = 2};
    struct cfs_volfile *v;

    assert_int_equal(cfs_vg_client(&vol, &v, NULL), 0);
    assert_string_equal(option_of(v, "demo-replicate", "network.wait"), "5s");
    assert_null(option_of(v, "demo-io-stats", "network.wait"));
    cfs_volfile_free(v);
    assert_int_equal(cfs_vg_brick(&vol, 0, &v, NULL), 0);
    assert_string_equal(option_of(v, "demo-block", "cache-size"), "64M");
    assert_null(option_of(v, "demo-server", "cache-size"));
    cfs_volfile_free(v);
}

static void an_unknown_option_names_the_nearest(void **state)
{
    const struct cfs_vopt *row;
    struct cfs_err err = {0};

    assert_int_equal(cfs_vopt_find("network.compression", &row, &err), 0);
    assert_string_equal(row->type, "protocol/client");
    assert_int_equal(cfs_vopt_find("network.compresion", &row, &err), -EINVAL);
    assert_non_null(strstr(err.text, "'network.compression'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_quotes_and_comments_are_understood),
        cmocka_unit_test(what_is_printed_parses_to_the_same),
        cmocka_unit_test(option_values_in_any_bytes_survive),
        cmocka_unit_test(an_error_says_the_line_and_the_reason),
        cmocka_unit_test(what_a_peer_sends_is_bounded),
        cmocka_unit_test(the_generator_writes_what_the_samples_show),
        cmocka_unit_test(a_set_of_no_or_too_many_bricks_is_refused),
        cmocka_unit_test(an_option_of_the_volume_reaches_its_translator),
        cmocka_unit_test(an_unknown_option_names_the_nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
