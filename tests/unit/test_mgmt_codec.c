/* SPDX-License-Identifier: Apache-2.0 */
/* test_mgmt_codec.c - the management messages there and back; nothing else
 * gets in. Generated from rpc/mgmt.def. */
#include "tests/unit/cfs_test.h"

#include "rpc/mgmt_codec.h"
#include "tests/unit/fop_fill.h"

#define ROUNDS 50

static void fill_str(struct cfs_arena *a, const char **v)
{
    char *s;
    const size_t len = (size_t)random() % 100;

    s = cfs_arena_alloc(a, len + 1);
    fill_bytes(s, len);
    *v = s;
}

static void fill_text(struct cfs_arena *a, const char **v)
{
    char *s;
    const size_t len = (size_t)random() % 30000;

    s = cfs_arena_alloc(a, len + 1);
    fill_bytes(s, len);
    *v = s;
}


static void fill_programs(struct cfs_arena *a, struct mgmt_programs *v)
{
    v->n = (uint32_t)random() % (MGMT_PROGRAMS_MAX + 1);
    for (uint32_t i = 0; i < v->n; i++) {
        v->p[i].number = (uint32_t)random();
        v->p[i].version_min = (uint32_t)random() % 5;
        v->p[i].version = v->p[i].version_min + 1;
        snprintf(v->p[i].name, sizeof v->p[i].name, "program-%u", i);
    }
}

static bool same_id(const struct cfs_uuid *a, const struct cfs_uuid *b)
{
    return cfs_uuid_eq(*a, *b);
}

static bool same_str(const char *const *a, const char *const *b)
{
    return strcmp(*a, *b) == 0;
}

static bool same_programs(const struct mgmt_programs *a,
                          const struct mgmt_programs *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

#define same_uuid       same_id
#define same_text       same_str

/* -- generated ------------------------------------------------------------ */

struct any {
    const char *name;
    size_t      size;
    void (*fill)(struct cfs_arena *a, void *m);
    struct cfs_blob (*pack)(struct cfs_arena *a, const void *m);
    int (*unpack)(struct cfs_arena *a, struct cfs_blob b, void *ret);
    bool (*same)(const void *a, const void *b);
    unsigned optional; /* fields at its end */
};

#define FILL_u32(a, v)      (*(v) = (uint32_t)random())
#define FILL_u64(a, v)      (*(v) = fill_u64_any())
#define FILL_uuid(a, v)     fill_uuid(v)
#define FILL_str(a, v)      fill_str(a, v)
#define FILL_text(a, v)     fill_text(a, v)
#define FILL_blob(a, v)     fill_blob(a, v)
#define FILL_view(a, v)     fill_view(a, v)
#define FILL_session(a, v)  fill_session(a, v)
#define FILL_brick(a, v)    fill_brick(a, v)
#define FILL_programs(a, v) fill_programs(a, v)

#define A(type, name) FILL_##type(arena, &m->name);
#define O(type, name) A(type, name)
#define MSG(lower, Camel, fields)                                            \
    static void any_fill_##lower(struct cfs_arena *arena, void *msg)         \
    {                                                                        \
        struct mgmt_##lower *m = msg;                                        \
        memset(m, 0, sizeof *m);                                             \
        fields                                                               \
    }                                                                        \
    static struct cfs_blob any_pack_##lower(struct cfs_arena *a,             \
                                            const void *m)                   \
    {                                                                        \
        return mgmt_pack_##lower(a, m);                                      \
    }                                                                        \
    static int any_unpack_##lower(struct cfs_arena *a, struct cfs_blob b,    \
                                  void *ret)                                 \
    {                                                                        \
        return mgmt_unpack_##lower(a, b, ret);                               \
    }
#include "rpc/mgmt.def"
#undef MSG
#undef A
#undef O

#define A(type, name)                                                        \
    if (!same_##type(&a->name, &b->name)) {                                  \
        fprintf(stderr, "field %s differs\n", #name);                        \
        return false;                                                        \
    }
#define O(type, name) A(type, name)
#define MSG(lower, Camel, fields)                                            \
    static bool any_same_##lower(const void *pa, const void *pb)             \
    {                                                                        \
        const struct mgmt_##lower *a = pa, *b = pb;                          \
        fields                                                               \
        return true;                                                         \
    }
#include "rpc/mgmt.def"
#undef MSG
#undef A
#undef O

static const struct any all[] = {
#define A(type, name)
#define O(type, name) +1
#define MSG(lower, Camel, fields)                                            \
    {#lower,           sizeof(struct mgmt_##lower), any_fill_##lower,        \
     any_pack_##lower, any_unpack_##lower,          any_same_##lower,        \
     0 fields},
#include "rpc/mgmt.def"
#undef MSG
#undef A
#undef O
};

/* From memory of the exact size, for a sanitizer. */
static int unpack(const struct any *m, struct cfs_arena *a,
                  struct cfs_blob body, void *ret)
{
    void *p = malloc(body.len > 0 ? body.len : 1);
    int rc;

    if (body.len > 0)
        memcpy(p, body.p, body.len);
    rc = m->unpack(a, (struct cfs_blob){p, body.len}, ret);
    free(p);
    return rc;
}

/* -- tests ---------------------------------------------------------------- */

static void every_message_comes_back_as_it_went(void **state)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(all); i++) {
        for (unsigned n = 0; n < ROUNDS; n++) {
            struct cfs_arena a;
            void *m, *got;

            cfs_arena_init(&a);
            m = cfs_arena_alloc(&a, all[i].size);
            got = cfs_arena_alloc(&a, all[i].size);
            all[i].fill(&a, m);
            if (unpack(&all[i], &a, all[i].pack(&a, m), got) < 0)
                fail_msg("%s is refused", all[i].name);
            if (!all[i].same(m, got))
                fail_msg("%s differs", all[i].name);
            cfs_arena_fini(&a);
        }
    }
}

/* Without its optional fields one is as an older version sends it. */
static void no_truncated_message_is_accepted(void **state)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(all); i++) {
        unsigned accepted = 0;
        struct cfs_arena a;
        struct cfs_blob body;
        void *m, *got;

        cfs_arena_init(&a);
        m = cfs_arena_alloc(&a, all[i].size);
        got = cfs_arena_alloc(&a, all[i].size);
        all[i].fill(&a, m);
        body = all[i].pack(&a, m);
        for (uint32_t len = 0; len < body.len; len += 1 + body.len / 500)
            if (unpack(&all[i], &a, (struct cfs_blob){body.p, len}, got) ==
                    0 && ++accepted > all[i].optional)
                fail_msg("%s cut to %u of %u", all[i].name, len, body.len);
        cfs_arena_fini(&a);
    }
}

static void damaged_messages_leave_the_result_alone_or_whole(void **state)
{
    srandom(5);
    for (unsigned n = 0; n < 20000; n++) {
        const struct any *any = &all[(size_t)random() % CFS_ARRAY_SIZE(all)];
        struct cfs_arena a;
        struct cfs_blob body;
        uint8_t *got, *again;
        void *m;

        cfs_arena_init(&a);
        m = cfs_arena_alloc(&a, any->size);
        got = cfs_arena_alloc(&a, any->size);
        again = cfs_arena_alloc(&a, any->size);
        any->fill(&a, m);
        body = any->pack(&a, m);
        for (long k = 1 + random() % 4; k > 0; k--)
            ((uint8_t *)body.p)[random() % body.len] = (uint8_t)random();
        memset(got, 0xa5, any->size);
        if (unpack(any, &a, body, got) == 0) {
            assert_int_equal(unpack(any, &a, any->pack(&a, got), again), 0);
            assert_true(any->same(got, again));
        } else {
            for (size_t k = 0; k < any->size; k++)
                assert_int_equal(got[k], 0xa5);
        }
        cfs_arena_fini(&a);
    }
}

static void null_strings_are_empty_and_long_ones_are_cut(void **state)
{
    struct mgmt_getspec m = {0}, got;
    static char key[MGMT_STR_MAX + 100];
    struct cfs_arena a;

    cfs_arena_init(&a);
    assert_int_equal(mgmt_unpack_getspec(&a, mgmt_pack_getspec(&a, &m), &got),
                     0);
    assert_string_equal(got.key, "");
    memset(key, 'k', sizeof key - 1);
    m.key = key;
    assert_int_equal(mgmt_unpack_getspec(&a, mgmt_pack_getspec(&a, &m), &got),
                     0);
    assert_int_equal(strlen(got.key), MGMT_STR_MAX);
    cfs_arena_fini(&a);
}

static void a_view_names_each_brick_once_and_at_most_five(void **state)
{
    struct mgmt_view_msg m = {0}, got;
    struct cfs_arena a;

    cfs_arena_init(&a);
    fill_view(&a, &m.view);
    m.view.n_sync = 2;
    m.view.n_syncing = 0;
    m.view.m[0].brick = m.view.m[1].brick = (struct cfs_uuid){{1}};
    assert_int_equal(mgmt_unpack_view_msg(&a, mgmt_pack_view_msg(&a, &m),
                                          &got), -EBADMSG);
    m.view.m[1].brick = (struct cfs_uuid){{2}};
    assert_int_equal(mgmt_unpack_view_msg(&a, mgmt_pack_view_msg(&a, &m),
                                          &got), 0);
    m.view.m[1].brick = (struct cfs_uuid){0};
    assert_int_equal(mgmt_unpack_view_msg(&a, mgmt_pack_view_msg(&a, &m),
                                          &got), -EBADMSG);
    cfs_arena_fini(&a);
}

static void a_brick_with_many_sessions_tells_the_first(void **state)
{
    struct mgmt_brick_msg *m = calloc(2, sizeof *m);
    struct cfs_arena a;

    cfs_arena_init(&a);
    fill_brick(&a, &m[0].brick);
    m[0].brick.n_sessions = 1000;
    for (unsigned i = 0; i < CFS_INFO_SESSIONS; i++)
        fill_session(&a, &m[0].brick.session[i]);
    assert_int_equal(mgmt_unpack_brick_msg(&a, mgmt_pack_brick_msg(&a, &m[0]),
                                           &m[1]), 0);
    assert_int_equal(m[1].brick.n_sessions, 1000);
    assert_int_equal(m[1].brick.session[15].no, m[0].brick.session[15].no);
    cfs_arena_fini(&a);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back_as_it_went),
        cmocka_unit_test(no_truncated_message_is_accepted),
        cmocka_unit_test(damaged_messages_leave_the_result_alone_or_whole),
        cmocka_unit_test(null_strings_are_empty_and_long_ones_are_cut),
        cmocka_unit_test(a_view_names_each_brick_once_and_at_most_five),
        cmocka_unit_test(a_brick_with_many_sessions_tells_the_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
