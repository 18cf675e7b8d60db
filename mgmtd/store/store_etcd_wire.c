/* SPDX-License-Identifier: Apache-2.0 */
/* store_etcd_wire.c - the etcd engine's requests and what answers mean. What
 * etcd says is not believed before it has the right form. */
#include "mgmtd/store/store_etcd.h"

#include <inttypes.h>
#include <stdio.h>

#include "mgmtd/mem.h"

/* -- requests ------------------------------------------------------------ */

json_t *et_cmp_mod(const char *key, uint64_t revision)
{
    return mem_ok(json_pack("{s:o,s:s,s:s,s:o}", "key", etcd_json_b64(key),
                            "target", "MOD", "result", "EQUAL",
                            "mod_revision", etcd_json_u64(revision)));
}

json_t *et_cmp_value(const char *key, const char *text)
{
    return mem_ok(json_pack("{s:o,s:s,s:s,s:o}", "key", etcd_json_b64(key),
                            "target", "VALUE", "result", "EQUAL",
                            "value", etcd_json_b64(text)));
}

json_t *et_get(const char *key)
{
    return mem_ok(json_pack("{s:{s:o}}", "request_range",
                            "key", etcd_json_b64(key)));
}

json_t *et_get_version(const char *key)
{
    return mem_ok(json_pack("{s:{s:o,s:b}}", "request_range",
                            "key", etcd_json_b64(key), "keys_only", 1));
}

json_t *et_get_nonce(uint64_t revision)
{
    return mem_ok(json_pack("{s:{s:o,s:o,s:o,s:o}}", "request_range",
                            "key", etcd_json_b64(ET_BY),
                            "range_end", etcd_json_end(ET_BY),
                            "revision", etcd_json_u64(revision),
                            "min_mod_revision", etcd_json_u64(revision)));
}

json_t *et_put(const char *key, const char *text)
{
    return mem_ok(json_pack("{s:{s:o,s:o}}", "request_put",
                            "key", etcd_json_b64(key),
                            "value", etcd_json_b64(text)));
}

json_t *et_delete(const char *key)
{
    return mem_ok(json_pack("{s:{s:o}}", "request_delete_range",
                            "key", etcd_json_b64(key)));
}

json_t *et_delete_prefix(const char *prefix)
{
    return mem_ok(json_pack("{s:{s:o,s:o}}", "request_delete_range",
                            "key", etcd_json_b64(prefix),
                            "range_end", etcd_json_end(prefix)));
}

json_t *et_txn(json_t *compare, json_t *success, json_t *failure)
{
    return mem_ok(json_pack("{s:o,s:o,s:o}",
                            "compare", compare ? compare : json_array(),
                            "success", success ? success : json_array(),
                            "failure", failure ? failure : json_array()));
}

/* -- answers ------------------------------------------------------------- */

uint64_t et_revision(const json_t *reply)
{
    return etcd_u64(json_object_get(reply, "header"), "revision");
}

const json_t *et_range(const json_t *reply, size_t i)
{
    const json_t *all = json_object_get(reply, "responses");

    return json_object_get(json_array_get(all, i), "response_range");
}

const json_t *et_first(const json_t *range)
{
    return json_array_get(json_object_get(range, "kvs"), 0);
}

int et_head_read(const json_t *range, struct et_head *ret)
{
    const json_t *kv = et_first(range);
    const char *state;
    struct et_head h = {0};
    json_t *value;
    char *text;
    int n;

    if (!kv) {
        *ret = h;
        return 0;
    }
    if (etcd_number(kv, "mod_revision", &h.mod) < 0 || h.mod == 0 ||
        etcd_text(kv, "value", &text) < 0)
        return -EBADMSG;
    n = snprintf(h.text, sizeof h.text, "%s", text);
    value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    state = json_string_value(json_object_get(value, "state"));
    h.live = state && strcmp(state, "live") == 0;
    if (!state || n >= (int)sizeof h.text ||
        etcd_number(value, "lineage", &h.lineage) < 0 || h.lineage == 0) {
        json_decref(value);
        return -EBADMSG;
    }
    json_decref(value);
    *ret = h;
    return 0;
}

char *et_head_text(uint64_t lineage, const char *id)
{
    if (!id)
        return mem_printf("{\"lineage\":\"%" PRIu64 "\",\"state\":\"live\"}",
                          lineage);
    return mem_printf("{\"lineage\":\"%" PRIu64 "\",\"state\":\"filling\","
                      "\"id\":\"%s\"}", lineage, id);
}

/* -- nonces -------------------------------------------------------------- */

void et_nonce(struct cfs_loop *loop, char ret[static COPY_ID])
{
    uint64_t n;

    cfs_random(loop, &n, sizeof n);
    snprintf(ret, COPY_ID, "%016" PRIx64, n);
}

char *et_by_key(const char *writer)
{
    return mem_printf(ET_BY "%s", writer);
}

char *et_by_text(const char *nonce)
{
    return mem_printf("{\"nonce\":\"%s\"}", nonce);
}

void et_by_read(const json_t *kv, char ret[static COPY_ID])
{
    const char *nonce;
    json_t *value;
    char *text;

    ret[0] = '\0';
    if (!kv || etcd_text(kv, "value", &text) < 0)
        return;
    value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    nonce = json_string_value(json_object_get(value, "nonce"));
    if (nonce && strlen(nonce) == COPY_ID - 1 &&
        strspn(nonce, "0123456789abcdef") == COPY_ID - 1)
        memcpy(ret, nonce, COPY_ID);
    json_decref(value);
}

void et_nonce_read(const json_t *reply, size_t i, char ret[static COPY_ID])
{
    const json_t *range = et_range(reply, i);

    ret[0] = '\0';
    if (json_array_size(json_object_get(range, "kvs")) == 1)
        et_by_read(et_first(range), ret);
    if (!*ret)
        strcpy(ret, "-");
}

/* -- records ------------------------------------------------------------- */

bool et_record(const json_t *kv, bool deleted, uint64_t lineage,
               struct store_changes *add)
{
    const size_t skip = strlen(ET_REC);
    char *key, *text = NULL;
    uint64_t mod;

    if (etcd_text(kv, "key", &key) < 0)
        return false;
    if (strncmp(key, ET_REC, skip) != 0 || !key[skip]) {
        free(key);
        return false;
    }
    if (etcd_number(kv, "mod_revision", &mod) < 0)
        mod = 0;
    if (!deleted && etcd_text(kv, "value", &text) < 0)
        text = mem_str("");
    store_changes_add(add, key + skip, text, store_token(lineage, mod));
    free(key);
    free(text);
    return true;
}
