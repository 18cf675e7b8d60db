/* SPDX-License-Identifier: Apache-2.0 */
/* store_etcd_read.c - everything that etcd has, at one revision.
 *
 * The first request is linearizable and reads the head and the first page of
 * records; its revision is the one at which the other pages, and the nonce of
 * that revision, are read. When the revision is compacted meanwhile, all
 * begins again. Pages are made smaller or larger by how large the last one
 * was.
 */
#include "mgmtd/store/store_etcd.h"

#include <stdio.h>

#include "mgmtd/mem.h"

#define PAGE_FIRST 32u   /* records */
#define PAGE_MAX   1024u
#define PAGE_BYTES (1u << 20) /* so many of values are aimed at */
#define TRY_MS    3000u
#define TOTAL_MS  10000u
#define RESTARTS  3u

struct et_read {
    struct etcd_client *c;
    uint64_t            lineage;
    unsigned            page;
    unsigned            restarts;
    struct et_image     image;
    et_read_done       *done;
    void               *arg;
};

static void ask_page(struct et_read *r);

void et_read_free(struct et_read *r)
{
    if (!r)
        return;
    store_changes_free(&r->image.all);
    free(r);
}

static void finish(struct et_read *r, int status, const struct cfs_err *err)
{
    r->done(r->arg, status, status < 0 ? NULL : &r->image, err);
    et_read_free(r);
}

static void begin_again(struct et_read *r, const struct cfs_err *err)
{
    if (++r->restarts > RESTARTS) {
        finish(r, err->code, err);
        return;
    }
    store_changes_free(&r->image.all);
    r->image = (struct et_image){.revision = 0};
    ask_page(r);
}

static void bad_answer(struct et_read *r)
{
    struct cfs_err err = {0};

    cfs_err_set(&err, -EBADMSG, "what etcd says of its records makes no "
                "sense");
    finish(r, -EBADMSG, &err);
}

static bool went_wrong(struct et_read *r, int status,
                       const struct cfs_err *err)
{
    if (status == -EMSGSIZE && r->page > 1) {
        r->page /= 2;
        ask_page(r);
    } else if (status == -ESTALE || status == -ERANGE) {
        begin_again(r, err);
    } else if (status < 0) {
        finish(r, status, err);
    } else {
        return false;
    }
    return true;
}

static void on_nonce(void *arg, int status, json_t *reply,
                     const struct cfs_err *err)
{
    struct et_read *r = arg;

    if (went_wrong(r, status, err))
        return;
    et_nonce_read(reply, 0, r->image.nonce);
    finish(r, 0, err);
}

static void ask_nonce(struct et_read *r)
{
    json_t *ops = json_pack("[o]", et_get_nonce(r->image.revision));

    etcd_post(r->c, "/v3/kv/txn", et_txn(NULL, ops, NULL), TRY_MS, TOTAL_MS,
              on_nonce, r);
}

static void aim(struct et_read *r, size_t records, size_t bytes)
{
    size_t page = records * PAGE_BYTES / (bytes + 1);

    r->page = page < 1 ? 1 : page > PAGE_MAX ? PAGE_MAX : (unsigned)page;
}

/* Records of a page come in order, each after the last one before it. */
static bool take_page(struct et_read *r, const json_t *range)
{
    struct store_changes *all = &r->image.all;
    const json_t *kvs = json_object_get(range, "kvs");
    size_t bytes = 0;

    for (size_t i = 0; i < json_array_size(kvs); i++) {
        size_t n = all->n;

        if (!et_record(json_array_get(kvs, i), false, r->lineage, all))
            return false;
        if (n > 0 && strcmp(all->v[n - 1].key, all->v[n].key) >= 0)
            return false;
        bytes += strlen(all->v[n].text);
    }
    aim(r, json_array_size(kvs), bytes);
    return true;
}

static void on_page(void *arg, int status, json_t *reply,
                    const struct cfs_err *err)
{
    struct et_read *r = arg;
    bool first = r->image.revision == 0;
    const json_t *range;

    if (went_wrong(r, status, err))
        return;
    range = et_range(reply, first ? 1 : 0);
    if (first) {
        r->image.revision = et_revision(reply);
        if (r->image.revision == 0 ||
            et_head_read(et_range(reply, 0), &r->image.head) < 0) {
            bad_answer(r);
            return;
        }
    }
    if (!range || !take_page(r, range))
        bad_answer(r);
    else if (!json_is_true(json_object_get(range, "more")))
        ask_nonce(r);
    else if (json_array_size(json_object_get(range, "kvs")) == 0)
        bad_answer(r);
    else
        ask_page(r);
}

/* From the key behind the last one that we have. */
static json_t *page_range(const struct et_read *r)
{
    const struct store_changes *all = &r->image.all;
    json_t *o = mem_ok(json_object());

    if (all->n == 0) {
        json_object_set_new(o, "key", etcd_json_b64(ET_REC));
    } else {
        char *key = mem_printf(ET_REC "%s", all->v[all->n - 1].key);
        char *b64 = etcd_b64(key, strlen(key) + 1); /* its NUL too */

        json_object_set_new(o, "key", mem_ok(json_string(b64)));
        free(key);
        free(b64);
    }
    json_object_set_new(o, "range_end", etcd_json_end(ET_REC));
    json_object_set_new(o, "limit", etcd_json_u64(r->page));
    if (r->image.revision)
        json_object_set_new(o, "revision", etcd_json_u64(r->image.revision));
    return mem_ok(json_pack("{s:o}", "request_range", o));
}

static void ask_page(struct et_read *r)
{
    json_t *ops = mem_ok(json_array());

    if (r->image.revision == 0)
        json_array_append_new(ops, et_get(ET_HEAD));
    json_array_append_new(ops, page_range(r));
    etcd_post(r->c, "/v3/kv/txn", et_txn(NULL, ops, NULL), TRY_MS, TOTAL_MS,
              on_page, r);
}

void et_read_start(struct etcd_client *c, uint64_t lineage,
                   et_read_done *done, void *arg, struct et_read **ret)
{
    struct et_read *r = mem_new(sizeof *r);

    r->c = c;
    r->lineage = lineage;
    r->page = PAGE_FIRST;
    r->done = done;
    r->arg = arg;
    *ret = r;
    ask_page(r);
}
