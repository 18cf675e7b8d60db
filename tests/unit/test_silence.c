/* SPDX-License-Identifier: Apache-2.0 */
/* test_silence.c - mgmtd/silence.c: whose word a client's report is. Bricks,
 * sessions and other nodes are faked here; what is looked at is what another
 * node is told (PEER.SILENCE_ASK). */
#include "tests/unit/cfs_test.h"

#include <stdlib.h>
#include <unistd.h>

#include "mgmtd/node.h"
#include "mgmtd/silence.h"

#define MINE   7u /* a session of desk's */
#define OTHERS 8u /* of node:n1 */

static struct mgmtd m;
static struct volume *vol;
static json_t *told; /* the answer to SILENCE_ASK */
static unsigned declared;

/* -- what silence.c stands on ---------------------------------------------- */

void line_owner(const struct line *line, const struct volume *v,
                char ret[static CFS_OWNER_MAX])
{
    snprintf(ret, CFS_OWNER_MAX, "%s", line->name);
}

bool session_is_of(const struct volume *v, uint32_t no, const char *owner)
{
    return (no == MINE && strcmp(owner, "desk") == 0) ||
           (no == OTHERS && strcmp(owner, "node:n1") == 0);
}

void session_declare_dead(struct volume *v, uint32_t no, const char *why)
{
    declared++;
}

struct brick *brick_find(struct mgmtd *d, struct cfs_uuid id)
{
    for (unsigned i = 0; i < vol->n; i++)
        if (cfs_uuid_eq(vol->brick[i].id, id))
            return &vol->brick[i];
    return NULL;
}

bool brick_is_local(const struct brick *b)
{
    return true;
}

struct peer *brick_home(const struct brick *b)
{
    return NULL;
}

const char *brick_host(const struct brick *b)
{
    return "";
}

bool view_has(const struct volume *v, const struct brick *b)
{
    return true;
}

struct volume *volume_find(struct mgmtd *d, const char *name)
{
    return vol;
}

struct volume *volume_ref(struct volume *v)
{
    return v;
}

void volume_unref(struct volume *v)
{
}

void volume_changed(struct volume *v)
{
}

bool line_is_here(const struct line *line)
{
    return false;
}

void lines_push(struct mgmtd *d, const char *key,
                const struct rpc_program *prog, uint32_t proc,
                struct cfs_blob body)
{
}

struct peer *peer_self(struct mgmtd *d)
{
    return NULL;
}

struct peer *peer_find(struct mgmtd *d, const char *name)
{
    return NULL;
}

uint64_t peer_heard(const struct peer *p)
{
    return 0;
}

char *peer_address(const char *host, uint16_t port)
{
    return mem_str(host);
}

void peers_tell(struct mgmtd *d, uint32_t proc, json_t *args)
{
}

void peer_call(struct peer *p, uint32_t proc, json_t *args,
               uint32_t timeout_ms, peer_done *done, void *arg)
{
    fail();
}

void peer_reply(struct peer_req *req, json_t *result)
{
    json_decref(told);
    told = result;
}

void peer_fail(struct peer_req *req, const struct cfs_err *err)
{
    fail_msg("%s", err->text);
}

int store_get(struct store *s, const char *key, json_t **ret_value,
              uint64_t *ret_token, struct cfs_err *err)
{
    return -ENOENT;
}

/* -- a volume of three bricks ---------------------------------------------- */

static int make(void **state)
{
    struct cfs_err err = {0};

    m = (struct mgmtd){0};
    cfs_list_init(&m.peers);
    declared = 0;
    assert_int_equal(cfs_loop_new(&m.host.loop, &err), 0);
    vol = calloc(1, sizeof *vol);
    vol->m = &m;
    vol->name = (char *)"v";
    vol->state = VOL_STARTED;
    vol->n = 3;
    vol->view.epoch = 4;
    vol->view.n_sync = 3;
    for (unsigned i = 0; i < 3; i++) {
        vol->brick[i].vol = vol;
        vol->brick[i].index = i;
        vol->brick[i].id.b[0] = (uint8_t)(i + 1);
        vol->view.m[i].brick = vol->brick[i].id;
    }
    return 0;
}

static int drop(void **state)
{
    silence_end(vol);
    json_decref(told);
    told = NULL;
    free(vol);
    cfs_loop_free(m.host.loop);
    return 0;
}

static void hears(struct line *line, uint32_t session, unsigned brick,
                  uint64_t age_ms)
{
    const struct mgmt_view_report q = {.key = "volume:v",
                                       .session = session,
                                       .brick = vol->brick[brick].id,
                                       .asked = 1,
                                       .age_ms = age_ms};

    silence_hear(vol, line, &q);
}

/* How many clients' reports other nodes are told of; those of @session. */
static unsigned reports(uint32_t session, unsigned *ret_of_session)
{
    struct peer_req req = {.m = &m};
    const json_t *r;
    unsigned n = 0;
    size_t i;

    *ret_of_session = 0;
    req.args = json_pack("{s:s,s:i}", "volume", "v", "epoch", 4);
    silence_on_ask(&req);
    json_decref(req.args);
    json_array_foreach(json_object_get(told, "reports"), i, r) {
        if (!json_is_true(json_object_get(r, "client")))
            continue;
        n++;
        *ret_of_session +=
            json_integer_value(json_object_get(r, "session")) == session;
    }
    return n;
}

/* What was told last: members that clients say something of. */
static size_t members_named(void)
{
    const json_t *r;
    size_t i, n = 0;

    json_array_foreach(json_object_get(told, "reports"), i, r) {
        if (json_is_true(json_object_get(r, "client")))
            n += json_object_size(json_object_get(r, "heard"));
    }
    return n;
}

static struct line client(const char *name)
{
    return (struct line){.m = &m, .role = RPC_PEER_CLIENT,
                         .name = (char *)(uintptr_t)name};
}

static void a_session_speaks_through_its_owner(void **state)
{
    struct line desk = client("desk");
    unsigned of;

    hears(&desk, MINE, 0, 1500);
    assert_int_equal(reports(MINE, &of), 1);
    assert_int_equal(of, 1);
}

/* Else it could have another's session fenced, by missing a brick for it. */
static void nobody_speaks_for_anothers_session(void **state)
{
    struct line desk = client("desk"), lamp = client("lamp");
    unsigned of;

    hears(&desk, OTHERS, 0, 1500);
    hears(&lamp, MINE, 0, 1500);
    hears(&lamp, 4711, 0, 1500);
    assert_int_equal(reports(OTHERS, &of), 2);
    assert_int_equal(of, 0);
    reports(MINE, &of);
    assert_int_equal(of, 0);
    reports(4711, &of);
    assert_int_equal(of, 0);
}

/* Numbers decide whether a brick is dropped. */
static void many_lines_of_one_owner_are_one_voice(void **state)
{
    struct line many[20];
    unsigned of;

    for (unsigned i = 0; i < CFS_ARRAY_SIZE(many); i++) {
        many[i] = client("desk");
        hears(&many[i], 1000 + i, 1, 1900);
        hears(&many[i], MINE, 1, 1900);
    }
    assert_int_equal(reports(MINE, &of), 2);
    assert_int_equal(of, 1);
}

/* It waited in a socket: how old it is, nobody knows. */
static void what_was_said_while_we_stood_still_is_nothing(void **state)
{
    struct line desk = client("desk");
    unsigned of;

    hears(&desk, MINE, 0, 1500);
    reports(MINE, &of);
    assert_int_equal(members_named(), 1);
    usleep(1100 * 1000);
    reports(MINE, &of);
    assert_int_equal(members_named(), 0);
    hears(&desk, MINE, 0, 2500);
    hears(&desk, MINE, 1, 2500);
    reports(MINE, &of);
    assert_int_equal(members_named(), 0);
    usleep(150 * 1000);
    hears(&desk, MINE, 0, 2500);
    reports(MINE, &of);
    assert_int_equal(members_named(), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make, drop)
    const struct CMUnitTest tests[] = {
        T(a_session_speaks_through_its_owner),
        T(nobody_speaks_for_anothers_session),
        T(many_lines_of_one_owner_are_one_voice),
        T(what_was_said_while_we_stood_still_is_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
