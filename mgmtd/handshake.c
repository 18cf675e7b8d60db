/* SPDX-License-Identifier: Apache-2.0 */
/* handshake.c - program HANDSHAKE: the volfile of a client or a brick, made
 * from the volume's record when it is asked for.
 *
 * Errors  -ENOENT unknown volume or brick, -ESHUTDOWN a volume that is not
 *         started, -EACCES a brick's for somebody else, -EINVAL a key that is
 *         neither.
 */
#include <xxhash.h>

#include "mgmtd/silence.h"

/* The volume (and the brick; NULL for a client's key) that @key names; who
 * asks must be allowed to. */
static int resolve(struct mgmtd *m, struct line *line, const char *key,
                   struct volume **ret_vol, struct brick **ret_brick,
                   struct cfs_err *err)
{
    struct cfs_uuid id;
    struct brick *b;

    if (strncmp(key, "volume:", 7) == 0) {
        *ret_brick = NULL;
        return line_need_volume(line, m, key + 7, ret_vol, err);
    }
    if (!line || !line->trusted)
        return cfs_err_set(err, -EACCES, "a brick asks as root, on mgmtd's "
                           "Unix socket");
    if (strncmp(key, "brick:", 6) != 0 || cfs_uuid_parse(key + 6, &id) < 0)
        return cfs_err_set(err, -EINVAL, "expected volume:NAME or brick:UUID");
    b = brick_find(m, id);
    if (!b)
        return cfs_err_set(err, -ENOENT, "no volume has a brick %s", key + 6);
    *ret_vol = b->vol;
    *ret_brick = b;
    return 0;
}

static int serve(struct mgmtd *m, struct line *line,
                 const struct mgmt_getspec *q, struct mgmt_getspec_reply *r,
                 char **ret_text, struct cfs_err *err)
{
    struct volume *vol;
    struct brick *b;
    int rc = resolve(m, line, q->key, &vol, &b, err);

    if (rc < 0)
        return rc;
    if (!b && (vol->state != VOL_STARTED || vol->stopping))
        return cfs_err_set(err, -ESHUTDOWN, "volume %s is not started; to "
                           "start it: clusterfs volume start %s", vol->name,
                           vol->name);
    rc = spec_make(vol, b, line, ret_text, err);
    if (rc < 0)
        return rc;
    r->checksum = XXH3_64bits(*ret_text, strlen(*ret_text)) | 1; /* never 0 */
    r->text = r->checksum == q->known ? "" : *ret_text;
    r->view = b ? vol->view : view_for_clients(vol);
    r->lineage = store_lineage(m->store);
    r->generation = vol->generation;
    if (line) {
        free(line->key);
        line->key = mem_str(q->key);
    }
    return 0;
}

static void on_getspec(struct rpc_msg *msg, void *ctx)
{
    struct mgmtd *m = ctx;
    struct mgmt_getspec_reply reply = {0};
    struct mgmt_getspec q;
    struct cfs_err err = {0};
    struct cfs_arena a;
    char *text = NULL;
    int rc;

    cfs_arena_init(&a);
    rc = mgmt_unpack_getspec(&a, msg->body, &q);
    if (rc < 0)
        cfs_err_set(&err, rc, "a bad request");
    else
        rc = serve(m, line_of(msg), &q, &reply, &text, &err);
    if (rc < 0)
        rpc_reply_error(msg, rc, err.text);
    else
        rpc_reply(msg, mgmt_pack_getspec_reply(&a, &reply),
                  (struct cfs_buf){0});
    cfs_arena_fini(&a);
    free(text);
}

const struct rpc_proc handshake_procs[] = {
    [RPC_HANDSHAKE_GETSPEC] = {"getspec", on_getspec},
    [RPC_HANDSHAKE_TRUST] = {"trust", client_on_trust},
};
const uint32_t handshake_n_procs = CFS_ARRAY_SIZE(handshake_procs);

/* -- program VIEW -------------------------------------------------------- */

/* The view as @b (NULL: a client) may know it. */
static void answer_view(struct rpc_msg *msg, struct cfs_arena *a,
                        const struct volume *vol, const struct brick *b)
{
    struct mgmt_view_msg reply = {
        .view = b ? vol->view : view_for_clients(vol),
    };

    rpc_reply(msg, mgmt_pack_view_msg(a, &reply), (struct cfs_buf){0});
}

static void on_view_get(struct rpc_msg *msg, void *ctx)
{
    struct mgmtd *m = ctx;
    struct mgmt_view_get q;
    struct cfs_err err = {0};
    struct cfs_arena a;
    struct volume *vol;
    struct brick *b;
    int rc;

    cfs_arena_init(&a);
    rc = mgmt_unpack_view_get(&a, msg->body, &q);
    if (rc < 0)
        cfs_err_set(&err, rc, "a bad request");
    else
        rc = resolve(m, line_of(msg), q.key, &vol, &b, &err);
    if (rc == 0)
        answer_view(msg, &a, vol, b);
    else
        rpc_reply_error(msg, rc, err.text);
    cfs_arena_fini(&a);
}

/* Who has a certificate has it from root. */
static bool may_accuse(const struct rpc_msg *msg)
{
    const struct line *line = line_of(msg);

    return line && (line->role == RPC_PEER_NODE ||
                    line->role == RPC_PEER_CLIENT ||
                    rpc_conn_is_privileged(msg->conn));
}

/* As resolve(), for who speaks against a brick of it. */
static int accused(struct mgmtd *m, const struct rpc_msg *msg, const char *key,
                   struct volume **ret_vol, struct brick **ret_brick,
                   struct cfs_err *err)
{
    if (!may_accuse(msg))
        return cfs_err_set(err, -EACCES, "only root's connections may say so");
    return resolve(m, line_of(msg), key, ret_vol, ret_brick, err);
}

/* Root's word, as a mount's is: and even that throws nobody out of a view who
 * is the last. */
static void on_view_differs(struct rpc_msg *msg, void *ctx)
{
    struct mgmtd *m = ctx;
    struct mgmt_view_differs q;
    struct cfs_err err = {0};
    struct cfs_arena a;
    struct volume *vol;
    struct brick *b;
    int rc;

    cfs_arena_init(&a);
    rc = mgmt_unpack_view_differs(&a, msg->body, &q);
    if (rc < 0)
        cfs_err_set(&err, rc, "a bad request");
    else
        rc = accused(m, msg, q.key, &vol, &b, &err);
    if (rc == 0) {
        if (!b && q.epoch == vol->view.epoch)
            view_differs(vol, q.brick);
        answer_view(msg, &a, vol, b);
    } else {
        rpc_reply_error(msg, rc, err.text);
    }
    cfs_arena_fini(&a);
}

/* How a brick answers a client: as much its word as the above. */
static void on_view_report(struct rpc_msg *msg, void *ctx)
{
    struct mgmtd *m = ctx;
    struct mgmt_view_report q;
    struct cfs_err err = {0};
    struct cfs_arena a;
    struct volume *vol;
    struct brick *b;
    int rc;

    cfs_arena_init(&a);
    rc = mgmt_unpack_view_report(&a, msg->body, &q);
    if (rc < 0)
        cfs_err_set(&err, rc, "a bad request");
    else
        rc = accused(m, msg, q.key, &vol, &b, &err);
    if (rc < 0) {
        rpc_reply_error(msg, rc, err.text);
    } else {
        rpc_reply(msg, (struct cfs_blob){0}, (struct cfs_buf){0});
        if (!b)
            silence_hear(vol, line_of(msg), &q);
    }
    cfs_arena_fini(&a);
}

const struct rpc_proc view_procs[] = {
    [RPC_VIEW_GET] = {"get", on_view_get},
    [RPC_VIEW_DIFFERS] = {"differs", on_view_differs},
    [RPC_VIEW_REPORT] = {"report", on_view_report},
};
const uint32_t view_n_procs = CFS_ARRAY_SIZE(view_procs);
