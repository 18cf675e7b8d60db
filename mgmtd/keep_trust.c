/* SPDX-License-Identifier: Apache-2.0 */
/* keep_trust.c - see keep_trust.h. */
#include "mgmtd/keep_trust.h"

#include <stdlib.h>
#include <string.h>

#include "mgmtd/mem.h"
#include "mgmtd/record.h"
#include "mgmtd/revoked.h"
#include "mgmtd/store/store_doc.h"

struct keep {
    json_t *map;     /* key -> value, of the backup */
    json_t *running; /* the same, of the cluster as it is */
    json_t *clients, *nodes; /* names, to be told */
};

/* -- documents ----------------------------------------------------------- */

static json_t *map_of(const json_t *doc)
{
    json_t *map = mem_ok(json_object());
    const json_t *rec;
    size_t i;

    json_array_foreach(json_object_get(doc, "records"), i, rec)
        json_object_set_new(map,
                            json_string_value(json_object_get(rec, "key")),
                            mem_ok(json_deep_copy(
                                json_object_get(rec, "value"))));
    return map;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_back(json_t *doc, json_t *map)
{
    const size_t n = json_object_size(map);
    const char **keys = mem_new((n + 1) * sizeof *keys);
    json_t *records = mem_ok(json_array()), *value;
    const char *key;
    size_t i = 0;

    json_object_foreach(map, key, value)
        keys[i++] = key;
    qsort(keys, n, sizeof *keys, by_key);
    for (i = 0; i < n; i++)
        json_array_append_new(records, mem_ok(json_pack(
            "{s:s,s:O}", "key", keys[i], "value",
            json_object_get(map, keys[i]))));
    free(keys);
    json_object_set_new(doc, "records", records);
    store_doc_seal(doc);
}

static json_int_t number(const json_t *rec, const char *field)
{
    return json_integer_value(json_object_get(rec, field));
}

static const char *text(const json_t *rec, const char *field)
{
    const char *s = json_string_value(json_object_get(rec, field));

    return s ? s : "";
}

/* -- by kind ------------------------------------------------------------- */

static void keep_list(struct keep *k, const char *key, json_t *now)
{
    json_t *rec = json_object_get(k->map, key), *since;
    const uint64_t ours = rec ? revoked_number(rec) : 0;
    const uint64_t theirs = revoked_number(now);

    if (!rec || strcmp(text(rec, "cert"), text(now, "cert")) != 0) {
        json_object_set(k->map, key, now); /* another authority's is none */
        return;
    }
    if (theirs > ours)
        json_object_set(rec, "crl", json_object_get(now, "crl"));
    since = json_object_get(rec, "since");
    if (!json_is_object(since)) {
        since = mem_ok(json_object());
        json_object_set_new(rec, "since", since);
    }
    json_object_update_missing(since, json_object_get(now, "since"));
    revoked_join(rec, json_object_get(now, "revoked"));
    json_object_set_new(rec, "number",
                        rec_json_u64(theirs > ours ? theirs : ours));
}

/* Certificates that may be good, of which @from knows. */
static void add_serials(json_t *to, const json_t *from)
{
    json_t *list = json_object_get(to, "serials"), *one;
    size_t i;

    if (!json_is_array(list)) {
        list = mem_ok(json_array());
        json_object_set_new(to, "serials", list);
    }
    json_array_foreach(json_object_get(from, "serials"), i, one)
        if (json_is_string(one) &&
            !revoked_has(list, json_string_value(one)))
            json_array_append(list, one);
    one = json_object_get(from, "serial");
    if (json_is_string(one) && !json_equal(one, json_object_get(to, "serial"))
        && !revoked_has(list, json_string_value(one)))
        json_array_append(list, one);
}

static bool is_removed(const json_t *rec)
{
    return json_is_true(json_object_get(rec, "removed"));
}

static void keep_client(struct keep *k, const char *key, json_t *now)
{
    json_t *rec = json_object_get(k->map, key);
    bool same = rec && number(rec, "generation") == number(now, "generation");

    if (rec && number(rec, "generation") > number(now, "generation"))
        return; /* this node's copy is older than the backup */
    if (rec && !is_removed(rec) && is_removed(now))
        json_array_append_new(k->clients,
                              json_string(key + strlen("client/")));
    if (same && is_removed(rec))
        return;
    if (same)
        add_serials(now, rec);
    json_object_set(k->map, key, now);
}

static bool was_detached(const struct keep *k, const json_t *node)
{
    char *key = mem_printf("detached/%s", text(node, "id"));
    bool was = json_object_get(k->running, key) != NULL;

    free(key);
    return was;
}

static void drop_detached(struct keep *k)
{
    json_t *rec;
    const char *key;
    void *tmp;

    json_object_foreach_safe(k->map, tmp, key, rec) {
        if (!str_starts(key, "node/") || !was_detached(k, rec))
            continue;
        json_array_append_new(k->nodes, json_string(key + strlen("node/")));
        json_object_del(k->map, key);
    }
}

static void keep_number(struct keep *k, json_t *now)
{
    json_t *rec = json_object_get(k->map, "cluster");

    if (number(rec, "last_number") < number(now, "last_number"))
        json_object_set(rec, "last_number",
                        json_object_get(now, "last_number"));
}

static void keep_one(struct keep *k, const char *key, json_t *now)
{
    if (str_starts(key, "ca/"))
        keep_list(k, key, now);
    else if (str_starts(key, "client/"))
        keep_client(k, key, now);
    else if (str_starts(key, "detached/") || str_starts(key, "node/"))
        json_object_set(k->map, key, now);
    else if (strcmp(key, "cluster") == 0)
        keep_number(k, now);
}

int keep_trust(json_t *doc, const json_t *running, json_t **ret_told,
               struct cfs_err *err)
{
    struct keep k;
    const char *key;
    json_t *now;
    int rc = store_doc_check(doc, err);

    if (rc < 0)
        return rc;
    k = (struct keep){.map = map_of(doc), .running = map_of(running),
                      .clients = mem_ok(json_array()),
                      .nodes = mem_ok(json_array())};
    drop_detached(&k);
    json_object_foreach(k.running, key, now)
        keep_one(&k, key, now);
    put_back(doc, k.map);
    json_decref(k.map);
    json_decref(k.running);
    *ret_told = mem_ok(json_pack("{s:o,s:o}", "clients", k.clients, "nodes",
                                 k.nodes));
    return 0;
}
