/* SPDX-License-Identifier: Apache-2.0 */
/* store_doc.c - a whole store as a JSON document, and back: for backup,
 * restore and rebuild.
 *
 * The checksum is the XXH3-64, in hex, of lineage and revision (8 B each,
 * little-endian) and, for each record in order, key, NUL, its value as compact
 * JSON with sorted keys, NUL: so it holds whatever the document's layout is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "mgmtd/mem.h"
#include "mgmtd/store/store_doc.h"
#include "mgmtd/store/store_engine.h"

static char *value_text(const json_t *value)
{
    return mem_ok(json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS));
}

static void add_u64(XXH3_state_t *x, uint64_t n)
{
    uint8_t le[8];

    for (unsigned i = 0; i < 8; i++)
        le[i] = (uint8_t)(n >> (8 * i));
    XXH3_64bits_update(x, le, sizeof le);
}

static uint64_t number(const json_t *doc, const char *field)
{
    json_int_t n = json_integer_value(json_object_get(doc, field));

    return n > 0 ? (uint64_t)n : 0;
}

static uint64_t sum_of(const json_t *doc)
{
    XXH3_state_t *x = mem_ok(XXH3_createState());
    const json_t *rec;
    uint64_t sum;
    size_t i;

    XXH3_64bits_reset(x);
    add_u64(x, number(doc, "lineage"));
    add_u64(x, number(doc, "revision"));
    json_array_foreach(json_object_get(doc, "records"), i, rec) {
        const char *key = json_string_value(json_object_get(rec, "key"));
        char *text = value_text(json_object_get(rec, "value"));

        XXH3_64bits_update(x, key, strlen(key) + 1);
        XXH3_64bits_update(x, text, strlen(text) + 1);
        free(text);
    }
    sum = XXH3_64bits_digest(x);
    XXH3_freeState(x);
    return sum;
}

void store_doc_seal(json_t *doc)
{
    char text[17];

    snprintf(text, sizeof text, "%016" PRIx64, sum_of(doc));
    json_object_set_new(doc, "checksum", mem_ok(json_string(text)));
}

/* -- out ------------------------------------------------------------------ */

static int export_one(void *arg, const char *key, const char *text,
                      uint64_t token, struct cfs_err *err)
{
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(value)) {
        json_decref(value);
        return cfs_err_set(err, -CFS_E_CORRUPT, "the store's record '%s' is "
                           "no JSON object", key);
    }
    json_array_append_new(arg, mem_ok(json_pack("{s:s,s:o}", "key", key,
                                                "value", value)));
    return 0;
}

json_t *store_export(struct store *s, struct cfs_err *err)
{
    json_t *records = mem_ok(json_array()), *doc;
    struct copy_head h;

    if (copy_read_all(s->copy, &h, export_one, records, err) < 0) {
        json_decref(records);
        return NULL;
    }
    doc = mem_ok(json_pack("{s:i,s:I,s:I,s:o}", "format", DOC_FORMAT,
                           "lineage", (json_int_t)h.lineage, "revision",
                           (json_int_t)h.revision, "records", records));
    store_doc_seal(doc);
    return doc;
}

/* -- back ------------------------------------------------------------------ */

static int not_whole(const char *what, struct cfs_err *err)
{
    return cfs_err_set(err, -CFS_E_CORRUPT, "this is no backup of a cluster's "
                       "configuration: %s", what);
}

/* In order, so none is there twice. */
static int check_records(const json_t *records, struct cfs_err *err)
{
    const char *last = "";
    const json_t *rec;
    size_t i;

    if (!json_is_array(records))
        return not_whole("it has no records", err);
    json_array_foreach(records, i, rec) {
        const char *key = json_string_value(json_object_get(rec, "key"));

        if (!key || !store_key_valid(key) || strcmp(last, key) >= 0)
            return not_whole("a key of a record is not what it should be",
                             err);
        if (!json_is_object(json_object_get(rec, "value")))
            return not_whole("a record has no value", err);
        last = key;
    }
    return 0;
}

int store_doc_check(const json_t *doc, struct cfs_err *err)
{
    const char *sum = json_string_value(json_object_get(doc, "checksum"));
    char text[17];
    int rc;

    if (number(doc, "format") == 0)
        return not_whole("it does not say of which format it is", err);
    if (number(doc, "format") > DOC_FORMAT)
        return cfs_err_set(err, -EPROTONOSUPPORT, "this backup was made by a "
                           "newer version (format %" PRIu64 ")",
                           number(doc, "format"));
    if (number(doc, "lineage") == 0)
        return not_whole("it has no lineage", err);
    rc = check_records(json_object_get(doc, "records"), err);
    if (rc < 0)
        return rc;
    snprintf(text, sizeof text, "%016" PRIx64, sum_of(doc));
    if (!sum || strcmp(sum, text) != 0)
        return cfs_err_set(err, -CFS_E_CHECKSUM, "this backup is damaged: its "
                           "checksum does not match");
    return 0;
}

int store_import_sqlite(const char *dir, const json_t *doc, uint64_t lineage,
                        struct cfs_err *err)
{
    struct copy_head h = {.lineage = lineage, .nonce = "-", .writer = "-"};
    struct store_changes all = {0};
    const json_t *rec;
    size_t i;
    int rc = store_doc_check(doc, err);

    if (rc < 0)
        return rc;
    if (lineage <= number(doc, "lineage") || lineage > STORE_LINEAGE_MAX)
        return cfs_err_set(err, -EINVAL, "a store of lineage %" PRIu64 " "
                           "cannot live on as lineage %" PRIu64,
                           number(doc, "lineage"), lineage);
    h.revision = number(doc, "revision") + 1;
    json_array_foreach(json_object_get(doc, "records"), i, rec) {
        char *text = value_text(json_object_get(rec, "value"));

        store_changes_add(&all,
                          json_string_value(json_object_get(rec, "key")),
                          text, store_token(lineage, h.revision));
        free(text);
    }
    rc = copy_make(dir, &h, &all, err);
    store_changes_free(&all);
    return rc;
}
