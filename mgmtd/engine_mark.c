/* SPDX-License-Identifier: Apache-2.0 */
/* engine_mark.c - STATE_DIR/engine.json: this node's own word on who it is and
 * where its configuration is kept. Small, read once, replaced as a whole by
 * write, fsync, rename, fsync of the folder; with a checksum, so that a
 * damaged one is an error and not another answer.
 *
 * Beside it STATE_DIR/engine.index, {"member", "index"}: how far this node's
 * etcd certainly got. It is written now and then, from the pool; and at once
 * when etcd itself found that others had seen it further.
 */
#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "mgmtd/engine_impl.h"
#include "mgmtd/file.h"

/* -- fields --------------------------------------------------------------- */

json_t *json_hex(uint64_t id)
{
    char text[24];

    snprintf(text, sizeof text, "%016" PRIx64, id);
    return mem_ok(json_string(text));
}

uint64_t hex_of(const json_t *obj, const char *field)
{
    const char *s = json_string_value(json_object_get(obj, field));
    char *end;
    uint64_t n;

    if (!s)
        return 0;
    n = strtoull(s, &end, 16);
    return *end ? 0 : n;
}

const char *mark_str(const struct engine *e, const char *field)
{
    const char *s = json_string_value(json_object_get(e->mark, field));

    return s ? s : "";
}

bool mark_is_etcd(const struct engine *e)
{
    return strcmp(mark_str(e, "engine"), "etcd") == 0;
}

uint64_t mark_member(const struct engine *e)
{
    return hex_of(e->mark, "member");
}

uint64_t mark_lineage(const struct engine *e)
{
    return (uint64_t)json_integer_value(json_object_get(e->mark, "lineage"));
}

bool mark_is_fresh(const struct engine *e)
{
    return json_is_true(json_object_get(e->mark, "fresh"));
}

json_t *mark_copy(const struct engine *e)
{
    return e->mark ? mem_ok(json_deep_copy(e->mark))
                   : mem_ok(json_pack("{s:i}", "v", 1));
}

/* -- the file ------------------------------------------------------------- */

/* Of all fields but itself. */
static void sum_of(const json_t *mark, char ret[static 17])
{
    json_t *bare = mem_ok(json_copy((json_t *)mark));
    char *text;

    json_object_del(bare, "sum");
    text = mem_ok(json_dumps(bare, JSON_COMPACT | JSON_SORT_KEYS));
    snprintf(ret, 17, "%016" PRIx64,
             (uint64_t)XXH3_64bits(text, strlen(text)));
    free(text);
    json_decref(bare);
}

static int damaged(const struct engine *e, struct cfs_err *err)
{
    return cfs_err_set(err, -CFS_E_CORRUPT, "%s is damaged. If this node is "
                       "one of a cluster, move its state directory away, "
                       "start clusterfs-mgmtd, and join the cluster again "
                       "with: clusterfs peer join", e->mark_path);
}

int mark_read(struct engine *e, struct cfs_err *err)
{
    char *text, sum[17];
    const char *said;
    json_t *mark;
    int rc = file_get(e->mark_path, &text, err);

    if (rc < 0)
        return rc;
    mark = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    said = json_string_value(json_object_get(mark, "sum"));
    if (said)
        sum_of(mark, sum);
    if (!said || strcmp(said, sum) != 0)
        rc = damaged(e, err);
    else if (json_integer_value(json_object_get(mark, "v")) > 1)
        rc = cfs_err_set(err, -EPROTONOSUPPORT, "%s was written by a newer "
                         "version", e->mark_path);
    if (rc < 0) {
        json_decref(mark);
        return rc;
    }
    json_decref(e->mark);
    e->mark = mark;
    return 0;
}

int mark_save(struct engine *e, json_t *next, struct cfs_err *err)
{
    char *text, sum[17];
    int rc;

    sum_of(next, sum);
    json_object_set_new(next, "sum", mem_ok(json_string(sum)));
    text = mem_ok(json_dumps(next, JSON_INDENT(1) | JSON_SORT_KEYS));
    rc = file_put(e->mark_path, text, 0600, err);
    free(text);
    if (rc < 0) {
        json_decref(next);
        return rc;
    }
    json_decref(e->mark);
    e->mark = next;
    return 0;
}

/* -- engine.index --------------------------------------------------------- */

static char *index_path(const struct engine *e)
{
    return mem_printf("%s/engine.index", e->m->host.dirs.state);
}

uint64_t index_read(const struct engine *e, uint64_t member)
{
    char *path = index_path(e), *text;
    uint64_t index = 0;
    json_t *o;

    if (file_get(path, &text, NULL) == 0) {
        o = json_loads(text, 0, NULL);
        if (hex_of(o, "member") == member)
            index = hex_of(o, "index");
        json_decref(o);
        free(text);
    }
    free(path);
    return index;
}

struct index_job {
    struct cfs_job job;
    struct engine *e;
    char          *path;
    char          *text;
};

static void index_work(struct cfs_job *job)
{
    struct index_job *j = cfs_list_entry(job, struct index_job, job);

    file_put(j->path, j->text, 0600, NULL); /* it only helps */
}

static void index_done(struct cfs_job *job)
{
    struct index_job *j = cfs_list_entry(job, struct index_job, job);

    j->e->index_busy = false;
    free(j->path);
    free(j->text);
    free(j);
}

static char *index_text(const struct engine *e, uint64_t index)
{
    return mem_printf("{\"member\": \"%016" PRIx64 "\", \"index\": "
                      "\"%016" PRIx64 "\"}\n", mark_member(e), index);
}

void index_note(struct engine *e, uint64_t index)
{
    struct index_job *j;

    if (e->index_busy || index <= e->written)
        return;
    j = mem_new(sizeof *j);
    j->e = e;
    j->path = index_path(e);
    j->text = index_text(e, index);
    e->index_busy = true;
    e->written = index;
    cfs_job_run(e->m->host.loop, &j->job, index_work, index_done);
}

int index_put(struct engine *e, uint64_t index, struct cfs_err *err)
{
    char *path = index_path(e), *text = index_text(e, index);
    int rc;

    if (e->index_busy) /* it would come later, and say less */
        rc = cfs_err_set(err, -EBUSY, "%s is being written", path);
    else
        rc = file_put(path, text, 0600, err);
    if (rc == 0)
        e->written = index;
    free(text);
    free(path);
    return rc;
}
