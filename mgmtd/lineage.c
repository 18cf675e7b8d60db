/* SPDX-License-Identifier: Apache-2.0 */
/* lineage.c - the configuration of a cluster begins another life, from a
 * document of its last one: after a restore or a rebuild, changes that were
 * made since may be missing. So that nothing from before is taken for newer,
 * and nobody for in sync who is not:
 *
 *   any record     "generation" jumps by 2^32
 *   view/SET       "epoch" jumps by 2^32; nobody is in sync or syncing; "id"
 *                  is nobody's; "forming": {"lineage", "epoch"} of the view
 *                  that was the last one here. The set is formed again from
 *                  the newest view that its bricks themselves remember.
 *   view-past/...  stays: what bricks may remember
 *   ca/...         "number" of the list of revoked ones jumps, too: changes
 *                  that are missing here had higher ones than this document
 *                  knows
 *   client/NAME    "list" (client_cmd.c): what it was before is out as of now
 *   token/HASH     goes: one that was used since would be good again
 *   engine         goes: the etcd that it describes is gone
 *
 * All else stays, whatever it is.
 */
#include <inttypes.h>
#include <stdio.h>

#include "mgmtd/mem.h"
#include "mgmtd/record.h"
#include "mgmtd/revoked.h"
#include "mgmtd/store/store_doc.h"

#define JUMP ((json_int_t)1 << 32)

static int jump(const char *key, json_t *value, const char *field,
                struct cfs_err *err)
{
    const json_t *n = json_object_get(value, field);

    if (!json_is_integer(n) || json_integer_value(n) < 0 ||
        json_integer_value(n) > INT64_MAX - JUMP)
        return cfs_err_set(err, -CFS_E_CORRUPT, "the record '%s': its %s is "
                           "not what it should be", key, field);
    json_object_set_new(value, field,
                        mem_ok(json_integer(json_integer_value(n) + JUMP)));
    return 0;
}

static int view_reborn(const char *key, json_t *value, json_int_t lineage,
                       struct cfs_err *err)
{
    json_t *was = json_incref(json_object_get(value, "epoch"));
    int rc = jump(key, value, "epoch", err);

    if (rc < 0) {
        json_decref(was);
        return rc;
    }
    /* Of a second life before the set was formed: the first one's word. */
    if (!json_object_get(value, "forming"))
        json_object_set_new(value, "forming", mem_ok(
            json_pack("{s:I,s:O}", "lineage", lineage, "epoch", was)));
    json_decref(was);
    json_object_set_new(value, "id", rec_json_uuid((struct cfs_uuid){{0}}));
    json_object_set_new(value, "in_sync", mem_ok(json_array()));
    json_object_set_new(value, "syncing", mem_ok(json_array()));
    json_object_del(value, "out");
    json_object_del(value, "formed");
    return 0;
}

static void list_reborn(json_t *value)
{
    json_object_set_new(value, "number",
                        rec_json_u64(revoked_number(value) + (uint64_t)JUMP));
}

/* The number of that list, as it will be. */
static uint64_t list_number(const json_t *records, const char *ca)
{
    const json_t *rec;
    size_t i;

    json_array_foreach(records, i, rec) {
        const char *key = json_string_value(json_object_get(rec, "key"));

        if (strcmp(key, ca) == 0)
            return revoked_number(json_object_get(rec, "value"));
    }
    return 0;
}

static int value_reborn(const char *key, json_t *value, json_int_t lineage,
                        uint64_t list, struct cfs_err *err)
{
    if (str_starts(key, "view/"))
        return view_reborn(key, value, lineage, err);
    if (str_starts(key, "ca/"))
        list_reborn(value);
    if (str_starts(key, "client/") && !json_object_get(value, "list"))
        json_object_set_new(value, "list", rec_json_u64(list));
    if (json_object_get(value, "generation"))
        return jump(key, value, "generation", err);
    return 0;
}

static bool goes(const char *key)
{
    return str_starts(key, "token/") || strcmp(key, "engine") == 0;
}

int store_reborn(json_t *doc, struct cfs_err *err)
{
    json_int_t lineage = json_integer_value(json_object_get(doc, "lineage"));
    json_t *records;
    uint64_t list;
    int rc = store_doc_check(doc, err);

    if (rc < 0)
        return rc;
    records = mem_ok(json_deep_copy(json_object_get(doc, "records")));
    list = list_number(records, "ca/clients") + (uint64_t)JUMP;
    for (size_t i = 0; rc == 0 && i < json_array_size(records);) {
        json_t *rec = json_array_get(records, i);
        const char *key = json_string_value(json_object_get(rec, "key"));

        if (goes(key)) {
            json_array_remove(records, i);
        } else {
            rc = value_reborn(key, json_object_get(rec, "value"), lineage,
                              list, err);
            i++;
        }
    }
    if (rc < 0) {
        json_decref(records);
        return rc;
    }
    json_object_set_new(doc, "records", records);
    store_doc_seal(doc);
    return 0;
}
