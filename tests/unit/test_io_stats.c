/* SPDX-License-Identifier: Apache-2.0 */
/* test_io_stats.c - debug/io-stats over a fake child. */
#include "cfs_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/dump.h"
#include "fake_xl.h"

extern const struct cfs_xl_type cfs_xl_type;

struct fixture {
    struct cfs_loop  *loop;
    struct cfs_graph *g;
    struct cfs_xl    *leaf;
    char             *text;
    int               status;
    struct cfs_attr   attr;
    struct cfs_post   post;
};

static struct fixture *fix;

static int open_graph(void **state)
{
    const char *leaf[] = {"leaf"};

    fix = calloc(1, sizeof *fix);
    fake_setup();
    cfs_graph_builtin(&cfs_xl_type);
    if (!fix || cfs_loop_new(&fix->loop, NULL) < 0 ||
        cfs_graph_new(fix->loop, NULL, NULL, &fix->g) < 0 ||
        cfs_graph_add(fix->g, "leaf", "test/fake", NULL, 0, NULL, 0, NULL) ||
        cfs_graph_add(fix->g, "ios", "debug/io-stats", NULL, 0, leaf, 1,
                      NULL) ||
        cfs_graph_init(fix->g, NULL))
        return -1;
    fix->leaf = cfs_graph_find(fix->g, "leaf");
    return 0;
}

static int close_graph(void **state)
{
    cfs_graph_free(fix->g);
    cfs_loop_free(fix->loop);
    cfs_buf_pool_drain();
    free(fix->text);
    free(fix);
    return 0;
}

static const char *dump(void)
{
    size_t len;
    struct cfs_dump d;

    free(fix->text);
    d.out = open_memstream(&fix->text, &len);
    fix->g->top->type->dump(fix->g->top, &d);
    fclose(d.out);
    return fix->text;
}

static void write_done(struct cfs_write *w, int status)
{
    fix->status = status;
    fix->attr = w->attr;
    fix->post = w->req.post;
    cfs_call_end(w->req.call);
}

static struct cfs_change change = {.session = 5, .no = 6};

/* The request that arrived at the child. */
static struct cfs_write *write_one(uint32_t len)
{
    static uint8_t bytes[8192];
    struct cfs_call *c = cfs_call_begin(fix->g);
    struct cfs_write *w = cfs_call_new(c, struct cfs_write);
    struct cfs_req *req;

    w->req.call = c;
    w->req.epoch = 3;
    w->req.change = &change;
    w->gfid = cfs_gfid_make(12);
    w->offset = 77;
    w->data = (struct cfs_buf){NULL, bytes, len};
    cfs_wind_write(fix->g->top, w, write_done);
    fake_turn(fix->loop);
    req = fake_take(fix->leaf);
    assert_non_null(req);
    return container_of(req, struct cfs_write, req);
}

static void finish(struct cfs_write *w, int status)
{
    cfs_unwind_write(w, status);
    fake_turn(fix->loop);
}

static void a_request_and_its_answer_pass_whole(void **state)
{
    struct cfs_write *w = write_one(100);

    assert_int_equal(w->req.fop, CFS_FOP_WRITE);
    assert_int_equal(w->req.epoch, 3);
    assert_ptr_equal(w->req.change, &change);
    assert_int_equal(w->offset, 77);
    assert_int_equal(w->data.len, 100);
    w->attr.size = 177;
    w->req.post.pos = 9;
    finish(w, 0);
    assert_int_equal(fix->status, 0);
    assert_int_equal(fix->attr.size, 177);
    assert_int_equal(fix->post.pos, 9);
}

static void counts_errors_and_bytes(void **state)
{
    finish(write_one(100), 0);
    finish(write_one(4096), 0);
    finish(write_one(50), -EIO);
    assert_int_equal(fix->status, -EIO);
    assert_non_null(strstr(dump(), "write={\"count\":3,\"errors\":1,"
                                   "\"bytes\":4196,"));
    assert_null(strstr(fix->text, "lookup="));
}

static void shows_what_is_in_flight(void **state)
{
    struct cfs_write *w = write_one(1);

    assert_non_null(strstr(dump(), "in_flight=1\n"));
    finish(w, 0);
    assert_non_null(strstr(dump(), "in_flight=0\n"));
}

/* Numbers between the brackets of log2_us. */
static void histogram(unsigned *ret_sum, unsigned *ret_first)
{
    const char *at = strstr(dump(), "\"log2_us\":[");

    assert_non_null(at);
    at += strlen("\"log2_us\":[");
    *ret_sum = *ret_first = 0;
    for (unsigned i = 0; *at && *at != ']'; i++) {
        char *end;
        unsigned n = (unsigned)strtoul(at, &end, 10);

        if (n > 0 && *ret_sum == 0)
            *ret_first = i;
        *ret_sum += n;
        at = *end == ',' ? end + 1 : end;
    }
}

static void a_latency_falls_into_its_bucket(void **state)
{
    struct cfs_write *w = write_one(1);
    uint64_t began = cfs_now_fresh(fix->loop);
    unsigned sum, first;

    while (cfs_now_fresh(fix->loop) < began + 3 * CFS_MS)
        ;
    finish(w, 0);
    histogram(&sum, &first);
    assert_int_equal(sum, 1);
    assert_true(first >= 12); /* [2048, 4096) us, or above */
}

static void set_option(const char *value)
{
    struct cfs_kv kv = {"latency-measurement", value};

    assert_int_equal(cfs_graph_reconfigure(fix->g, "ios", &kv, 1, NULL), 0);
}

static void without_measurement_it_only_counts(void **state)
{
    set_option("off");
    finish(write_one(10), 0);
    assert_non_null(strstr(dump(), "write={\"count\":1,\"errors\":0,"
                                   "\"bytes\":10}\n"));
}

static void switching_on_starts_anew(void **state)
{
    finish(write_one(10), 0);
    set_option("on"); /* it was */
    assert_non_null(strstr(dump(), "write="));
    set_option("off");
    set_option("on");
    assert_null(strstr(dump(), "write="));
    finish(write_one(10), 0);
    assert_non_null(strstr(dump(), "\"count\":1,"));
}

static const char *report(void)
{
    size_t len;
    FILE *out;

    free(fix->text);
    out = open_memstream(&fix->text, &len);
    fix->g->top->type->report(fix->g->top, out);
    fclose(out);
    return fix->text;
}

static void lookup_done(struct cfs_lookup *op, int status)
{
    cfs_call_end(op->req.call);
}

static void lookup_one(const char *name, uint64_t ino)
{
    struct cfs_call *c = cfs_call_begin(fix->g);
    struct cfs_lookup *op = cfs_call_new(c, struct cfs_lookup);
    struct cfs_lookup *below;

    op->req.call = c;
    op->parent = cfs_gfid_root;
    op->name = (struct cfs_name){name, (uint32_t)strlen(name)};
    cfs_wind_lookup(fix->g->top, op, lookup_done);
    fake_turn(fix->loop);
    below = container_of(fake_take(fix->leaf), struct cfs_lookup, req);
    below->attr.gfid = cfs_gfid_make(ino);
    cfs_unwind_lookup(below, 0);
    fake_turn(fix->loop);
}

static void busy_inodes_are_told_with_any_name(void **state)
{
    lookup_one("a\"\\\n\xff\xc3\xa9", 12);
    finish(write_one(100), 0);
    finish(write_one(100), 0);
    finish(write_one(100), -EIO);
    lookup_one("b", 13);
    assert_non_null(strstr(
        report(), "\"inodes\":[{\"inode\":12,\"ops\":3,\"over\":0,"
                  "\"reads\":1,\"changes\":2,\"read\":0,\"written\":200,"
                  "\"parent\":1,\"name\":"
                  "\"a\\\"\\\\\\u000a\\\\xff\xc3\xa9\"},{\"inode\":13,"));
    assert_non_null(strstr(fix->text, "\"min_us\":"));
}

static void figures_start_anew_when_told(void **state)
{
    finish(write_one(10), 0);
    cfs_graph_event(fix->g,
                    (struct cfs_event){.type = CFS_EV_COUNT_ANEW});
    assert_non_null(strstr(report(), "\"fops\":{},\"inodes\":[]}"));
    assert_non_null(strstr(fake_trace, "count-anew:leaf"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, open_graph, close_graph)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_request_and_its_answer_pass_whole),
        T(counts_errors_and_bytes),
        T(shows_what_is_in_flight),
        T(a_latency_falls_into_its_bucket),
        T(without_measurement_it_only_counts),
        T(switching_on_starts_anew),
        T(busy_inodes_are_told_with_any_name),
        T(figures_start_anew_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
