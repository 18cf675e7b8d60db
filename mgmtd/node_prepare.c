/* SPDX-License-Identifier: Apache-2.0 */
/* node_prepare.c - making devices into bricks, each on its node: what
 * prepare.h does for one machine, for a volume over several.
 *
 * The bricks are sorted by node into parts. The part of this node goes to the
 * pool, the others to their nodes (PEER.PREPARE), which do the same with
 * theirs; all at once. The step is over when every part has answered; the
 * first error is its outcome.
 *
 * Undo (PEER.UNDO) goes by what is on the device: whatever is not a brick with
 * the identity that was to be made, or an empty file in its place, is left
 * alone. So it may come twice, or after a crash (creating.c). A make of the
 * same create that still runs on a node is waited for.
 */
#include <stdio.h>

#include "mgmtd/node.h"

#define LOOK_MS 30000u
#define UNDO_MS 30000u

enum step { LOOK, MAKE, UNDO };

static const char *const step_names[] = {"look", "make", "undo"};

/* The bricks of one node, while a step runs there. */
struct part {
    struct step_run *run;
    struct cfs_list  link; /* in mgmtd.preparing: work of this node */
    struct prep      p;    /* paths are its own */
    unsigned         at[CFS_SET_MAX]; /* in the whole */
    const char      *node; /* the whole's */
    struct cfs_job   job;
    enum step        step;
    bool             waits; /* for a make that runs */
    struct cfs_err   err;
    struct peer_req *req; /* asked for by another node; run is NULL */
    struct mgmtd    *m;
};

/* One step of a whole volume. */
struct step_run {
    struct prep    *p;
    unsigned        pending;
    struct cfs_err  err;
    struct cfs_task task;
    node_prep_done *done;
    void           *arg;
};

/* -- on this node -------------------------------------------------------- */

static void part_free(struct part *t)
{
    cfs_list_del(&t->link);
    prep_fini(&t->p);
    free(t);
}

static void work(struct cfs_job *job)
{
    struct part *t = cfs_list_entry(job, struct part, job);

    switch (t->step) {
    case LOOK:
        prep_look(&t->p, &t->err);
        break;
    case MAKE:
        prep_make(&t->p, &t->err);
        break;
    case UNDO:
        prep_undo(&t->p, &t->err);
        break;
    }
}

/* A make for the same volume that runs here: its undo waits for it. */
static bool is_being_made(const struct part *t)
{
    cfs_list_for_each(l, &t->m->preparing) {
        const struct part *o = cfs_list_entry(l, struct part, link);

        if (o != t && o->step == MAKE &&
            cfs_uuid_eq(o->p.brick[0].id, t->p.brick[0].id))
            return true;
    }
    return false;
}

static void work_done(struct cfs_job *job);

static void start(struct part *t)
{
    t->waits = t->step == UNDO && is_being_made(t);
    if (!t->waits) /* else work_done() of that one starts it */
        cfs_job_run(t->m->host.loop, &t->job, work, work_done);
}

static void part_end(struct part *t);

static void work_done(struct cfs_job *job)
{
    struct part *t = cfs_list_entry(job, struct part, job);
    struct mgmtd *m = t->m;
    struct cfs_uuid first = t->p.brick[0].id;
    bool made = t->step == MAKE;

    part_end(t);
    if (!made)
        return;
    cfs_list_for_each_safe(l, &m->preparing) {
        struct part *o = cfs_list_entry(l, struct part, link);

        if (o->waits && cfs_uuid_eq(o->p.brick[0].id, first))
            start(o);
    }
}

/* -- as JSON ------------------------------------------------------------- */

static void put_u64(json_t *o, const char *name, uint64_t n)
{
    json_object_set_new(o, name, rec_json_u64(n));
}

static json_t *bricks_json(const struct prep *p)
{
    json_t *list = mem_ok(json_array());

    for (unsigned i = 0; i < p->n; i++) {
        const struct prep_brick *b = &p->brick[i];
        json_t *o = mem_ok(json_pack("{s:s,s:o,s:b,s:b}", "path", b->path,
                                     "id", rec_json_uuid(b->id), "exists",
                                     (int)b->exists, "made", (int)b->made));

        put_u64(o, "size", b->size);
        put_u64(o, "index", b->index);
        if (b->canonical)
            json_object_set_new(o, "canonical",
                                mem_ok(json_string(b->canonical)));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *args_json(const struct part *t)
{
    const struct prep *p = &t->p;
    json_t *o = mem_ok(json_pack(
        "{s:s,s:s,s:o,s:b,s:b,s:I,s:i,s:o}", "step", step_names[t->step],
        "volume", p->volume, "cluster", rec_json_uuid(p->cluster), "sparse",
        (int)p->sparse, "force", (int)p->force, "sec", (json_int_t)p->now.sec,
        "nsec", (int)p->now.nsec, "bricks", bricks_json(p)));

    put_u64(o, "size", p->size);
    return o;
}

static char *text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));

    return s && strlen(s) < 4096 ? mem_str(s) : NULL;
}

/* What another node says of, or wants of, brick @b. */
static int take_brick(const json_t *o, struct prep_brick *b,
                      struct cfs_err *err)
{
    char *path = text_of(o, "path"), *canonical = text_of(o, "canonical");
    uint64_t index = 0;
    int rc = rec_uuid(o, "a brick", "id", &b->id, err);

    if (rc == 0)
        rc = rec_u64(o, "a brick", "size", &b->size, err);
    if (rc == 0)
        rc = rec_u64(o, "a brick", "index", &index, err);
    if (rc < 0 || !path) {
        free(path);
        free(canonical);
        return rc < 0 ? rc : cfs_err_set(err, -EBADMSG, "a brick without a "
                                                        "path");
    }
    b->index = (unsigned)index;
    b->exists = json_is_true(json_object_get(o, "exists"));
    b->made = json_is_true(json_object_get(o, "made"));
    free(b->path);
    b->path = path;
    if (canonical) {
        free(b->canonical);
        b->canonical = canonical;
    }
    return 0;
}

static int take_bricks(const json_t *list, struct prep *p, unsigned n,
                       struct cfs_err *err)
{
    if (json_array_size(list) != n || n == 0 || n > CFS_SET_MAX)
        return cfs_err_set(err, -EBADMSG, "not the bricks that were named");
    p->n = n;
    for (unsigned i = 0; i < n; i++) {
        struct cfs_uuid id = p->brick[i].id;
        int rc = take_brick(json_array_get(list, i), &p->brick[i], err);

        if (rc == 0 && !cfs_uuid_is_null(id) &&
            !cfs_uuid_eq(id, p->brick[i].id))
            rc = cfs_err_set(err, -EBADMSG, "not the bricks that were named");
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* -- a step, over all nodes ---------------------------------------------- */

static void on_run_task(struct cfs_task *t)
{
    struct step_run *r = container_of(t, struct step_run, task);

    r->done(r->arg, r->err.code, &r->err);
    free(r);
}

static void run_end(struct step_run *r)
{
    if (--r->pending == 0)
        on_run_task(&r->task);
}

/* Its bricks, as they are now, into the whole. */
static void give_back(struct part *t)
{
    for (unsigned i = 0; i < t->p.n; i++) {
        struct prep_brick *from = &t->p.brick[i];
        struct prep_brick *to = &t->run->p->brick[t->at[i]];

        free(to->path);
        free(to->canonical);
        to->path = from->path;
        to->canonical = from->canonical;
        to->size = from->size;
        to->exists = from->exists;
        to->made = from->made;
        to->undone = t->step == UNDO && t->err.code == 0;
        from->path = from->canonical = NULL;
    }
}

static void part_end(struct part *t)
{
    struct step_run *r = t->run;

    if (!r && t->err.code < 0) {
        peer_fail(t->req, &t->err);
    } else if (!r) {
        peer_reply(t->req, mem_ok(json_pack("{s:o}", "bricks",
                                            bricks_json(&t->p))));
    } else {
        if (t->err.code < 0 && r->err.code == 0)
            r->err = t->err;
        give_back(t);
    }
    part_free(t);
    if (r)
        run_end(r);
}

static void on_part(void *arg, int status, json_t *result, const char *text)
{
    struct part *t = arg;

    if (status < 0)
        cfs_err_set(&t->err, status, "node %s: %s", t->node, text);
    else if (take_bricks(json_object_get(result, "bricks"), &t->p, t->p.n,
                         &t->err) < 0)
        cfs_err_wrap(&t->err, "node %s", t->node);
    part_end(t);
}

static void part_start(struct mgmtd *m, struct step_run *r, enum step step,
                       const char *node)
{
    static const uint32_t patience[] = {LOOK_MS, 0, UNDO_MS};
    struct part *t = mem_new(sizeof *t);
    struct peer *peer;

    t->run = r;
    t->m = m;
    t->step = step;
    t->node = node;
    t->p = *r->p;
    t->p.n = 0;
    memset(t->p.brick, 0, sizeof t->p.brick);
    for (unsigned i = 0; i < r->p->n; i++) {
        const struct prep_brick *b = &r->p->brick[i];
        struct prep_brick *to = &t->p.brick[t->p.n];

        if (strcmp(b->node, node) != 0)
            continue;
        *to = *b;
        to->node = NULL;
        to->path = mem_str(b->path);
        to->canonical = b->canonical ? mem_str(b->canonical) : NULL;
        t->at[t->p.n++] = i;
    }
    r->pending++;
    cfs_list_add_tail(&m->preparing, &t->link);
    if (strcmp(node, m->node) == 0) {
        t->p.dir = m->host.dirs.state;
        start(t);
        return;
    }
    peer = peer_find(m, node);
    if (peer) {
        peer_call(peer, step == UNDO ? RPC_PEER_UNDO : RPC_PEER_PREPARE,
                  args_json(t), patience[step], on_part, t);
        return;
    }
    if (step != UNDO) /* else it took what it had with it */
        cfs_err_set(&t->err, -ENOENT, "there is no node %s in this cluster; "
                    "see: clusterfs peer list", node);
    part_end(t);
}

static void run(struct mgmtd *m, struct prep *p, enum step step,
                node_prep_done *done, void *arg)
{
    struct step_run *r = mem_new(sizeof *r);

    r->p = p;
    r->done = done;
    r->arg = arg;
    r->pending = 1;
    cfs_task_init(&r->task, on_run_task);
    for (unsigned i = 0; i < p->n; i++) {
        bool first = true;

        for (unsigned k = 0; k < i; k++)
            first = first && strcmp(p->brick[k].node, p->brick[i].node) != 0;
        if (first)
            part_start(m, r, step, p->brick[i].node);
    }
    /* Not from inside. */
    if (--r->pending == 0)
        cfs_task_post(m->host.loop, &r->task);
}

void node_prep_look(struct mgmtd *m, struct prep *p, node_prep_done *done,
                    void *arg)
{
    run(m, p, LOOK, done, arg);
}

void node_prep_make(struct mgmtd *m, struct prep *p, node_prep_done *done,
                    void *arg)
{
    run(m, p, MAKE, done, arg);
}

void node_prep_undo(struct mgmtd *m, struct prep *p, node_prep_done *done,
                    void *arg)
{
    run(m, p, UNDO, done, arg);
}

/* -- for another node ---------------------------------------------------- */

static void serve(struct peer_req *req, enum step step)
{
    struct part *t = mem_new(sizeof *t);
    const json_t *a = req->args;
    json_t *list = json_object_get(a, "bricks");
    uint64_t sec = 0, nsec = 0;
    int rc;

    cfs_list_init(&t->link);
    t->m = req->m;
    t->req = req;
    t->step = step;
    rc = take_bricks(list, &t->p, (unsigned)json_array_size(list), &t->err);
    if (rc == 0)
        rc = rec_uuid(a, "the call", "cluster", &t->p.cluster, &t->err);
    if (rc == 0)
        rc = rec_u64(a, "the call", "size", &t->p.size, &t->err);
    if (rc == 0)
        rc = rec_u64(a, "the call", "sec", &sec, &t->err);
    if (rc == 0)
        rc = rec_u64(a, "the call", "nsec", &nsec, &t->err);
    if (rc == 0)
        rc = rec_str(a, "the call", "volume", &t->p.volume, &t->err);
    if (rc < 0) {
        part_end(t);
        return;
    }
    t->p.now = (struct cfs_time){.sec = (int64_t)sec, .nsec = (uint32_t)nsec};
    t->p.sparse = json_is_true(json_object_get(a, "sparse"));
    t->p.force = json_is_true(json_object_get(a, "force"));
    t->p.dir = req->m->host.dirs.state;
    cfs_list_add_tail(&req->m->preparing, &t->link);
    start(t);
}

void node_on_prepare(struct peer_req *req)
{
    const char *step = json_string_value(json_object_get(req->args, "step"));

    serve(req, step && strcmp(step, "make") == 0 ? MAKE : LOOK);
}

void node_on_undo(struct peer_req *req)
{
    serve(req, UNDO);
}
