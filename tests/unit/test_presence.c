/* SPDX-License-Identifier: Apache-2.0 */
/* test_presence.c - mgmtd/presence.c: whose client is gone is declared dead,
 * and nobody else, whoever stood still meanwhile. The brick is faked here, time
 * is virtual. */
#include "tests/unit/cfs_test.h"

#include <stdlib.h>

#include "mgmtd/node.h"
#include "tests/unit/simloop.h"

#define NO 7u

static struct volume *vol;
static struct session session;
static unsigned declared;

/* What the brick does when it is asked. */
static enum { HEARS, HEARS_NOT, FAILS, HANGS } brick;

static struct {
    struct brick *b;
    brick_done   *done;
    void         *arg;
} held; /* the call that hangs */

/* -- what presence.c stands on --------------------------------------------- */

static void answer(struct brick *b, brick_done *done, void *arg, bool hears)
{
    uint8_t bytes[8] = {NO};
    const struct mgmt_clients_reply reply = {
        .clients = {bytes, hears ? sizeof bytes : 0}};
    struct cfs_arena a;

    cfs_arena_init(&a);
    done(b, arg, 0, mgmt_pack_clients_reply(&a, &reply), "");
    cfs_arena_fini(&a);
}

void brick_call(struct brick *b, uint32_t proc, struct cfs_blob body,
                uint32_t timeout_ms, brick_done *done, void *arg)
{
    assert_int_equal(proc, RPC_BRICK_CLIENTS);
    if (brick == HANGS) {
        held.b = b;
        held.done = done;
        held.arg = arg;
    } else if (brick == FAILS) {
        done(b, arg, -ETIMEDOUT, (struct cfs_blob){0}, "");
    } else {
        answer(b, done, arg, brick == HEARS);
    }
}

bool view_has(const struct volume *v, const struct brick *b)
{
    return true;
}

struct brick *view_master(struct volume *v)
{
    return &v->brick[0];
}

bool brick_is_local(const struct brick *b)
{
    return true;
}

struct volume *volume_ref(struct volume *v)
{
    return v;
}

void volume_unref(struct volume *v)
{
}

void session_declare_dead(struct volume *v, uint32_t no, const char *why)
{
    assert_int_equal(no, NO);
    session.dead = true;
    declared++;
}

/* -- a volume of one brick, a client elsewhere ------------------------------ */

static int setup(void **state)
{
    struct cfs_err err = {0};

    declared = 0;
    brick = HEARS;
    vol = calloc(1, sizeof *vol);
    vol->m = calloc(1, sizeof *vol->m);
    assert_int_equal(cfs_loop_new(&vol->m->host.loop, &err), 0);
    vol->state = VOL_STARTED;
    vol->n = 1;
    vol->brick[0] = (struct brick){.vol = vol, .here = true};
    session = (struct session){.vol = vol, .s.no = NO};
    cfs_list_init(&vol->sessions);
    cfs_list_add_tail(&vol->sessions, &session.link);
    presence_init(vol);
    presence_look(vol);
    return 0;
}

static int teardown(void **state)
{
    presence_fini(vol);
    cfs_loop_free(vol->m->host.loop);
    free(vol->m);
    free(vol);
    return 0;
}

static void pass(unsigned seconds)
{
    simloop_pass(vol->m->host.loop, seconds * CFS_SEC);
}

static void who_is_not_heard_is_declared_dead(void **state)
{
    pass(60);
    assert_int_equal(declared, 0);
    brick = HEARS_NOT;
    pass(10);
    assert_int_equal(declared, 0);
    pass(10);
    assert_int_equal(declared, 1);
}

/* It was started anew, or hung: its clients come back in a moment. */
static void a_brick_that_is_back_has_heard_nobody_yet(void **state)
{
    pass(30);
    brick = FAILS;
    pass(20);
    brick = HEARS_NOT;
    pass(10);
    assert_int_equal(declared, 0);
    brick = HEARS;
    pass(10);
    brick = FAILS;
    pass(20);
    brick = HEARS_NOT;
    pass(20);
    assert_int_equal(declared, 1);
}

static void while_we_stood_still_nobody_was_silent(void **state)
{
    pass(30);
    brick = HANGS;
    pass(4); /* asked, and not here to take the answer */
    pass(20);
    assert_non_null(held.done);
    brick = HEARS_NOT;
    answer(held.b, held.done, held.arg, false);
    pass(10);
    assert_int_equal(declared, 0);
    pass(10);
    assert_int_equal(declared, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(who_is_not_heard_is_declared_dead),
        T(a_brick_that_is_back_has_heard_nobody_yet),
        T(while_we_stood_still_nobody_was_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
