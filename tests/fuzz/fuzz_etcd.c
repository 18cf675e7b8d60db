/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_etcd.c - what etcd answers: everything that reads it is given the same
 * bytes. What is taken is of the form that it promises. */
#include <stdlib.h>

#include "mgmtd/store/etcd_impl.h"
#include "mgmtd/store/store_etcd.h"
#include "tests/fuzz/fuzz.h"

static void read_records(const json_t *reply)
{
    struct store_changes all = {0};

    for (size_t i = 0; i < 3; i++) {
        const json_t *kvs = json_object_get(et_range(reply, i), "kvs");

        for (size_t k = 0; k < json_array_size(kvs); k++) {
            size_t n = all.n;

            if (et_record(json_array_get(kvs, k), k & 1, 2, &all)) {
                assert(all.n == n + 1 && *all.v[n].key);
                assert((k & 1) == !all.v[n].text);
            } else {
                assert(all.n == n);
            }
        }
    }
    store_changes_free(&all);
}

static void read_all(const json_t *reply)
{
    struct et_head head;
    char nonce[COPY_ID];
    const char *words;
    int code, status;
    bool doubt;

    if (etcd_error(reply, &words, &code))
        etcd_judge(words, code, &status, &doubt);
    et_revision(reply);
    for (size_t i = 0; i < 3; i++) {
        if (et_head_read(et_range(reply, i), &head) == 0)
            assert((head.mod == 0) == (head.lineage == 0));
        et_nonce_read(reply, i, nonce);
        assert(strlen(nonce) == COPY_ID - 1 || strcmp(nonce, "-") == 0);
    }
    read_records(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *reply = json_loadb((const char *)data, size,
                               JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(reply))
        read_all(reply);
    json_decref(reply);
    return 0;
}

/* "L2NsdXN0ZXJmcy9..." is "/clusterfs/head", ".../by/x", ".../rec/a". */
size_t fuzz_sample(unsigned n, uint8_t *ret, size_t max)
{
    static const char *const samples[] = {
        "{\"header\":{\"revision\":\"7\"},\"responses\":[{\"response_range\":"
        "{\"kvs\":[{\"key\":\"L2NsdXN0ZXJmcy9oZWFk\",\"mod_revision\":\"5\","
        "\"value\":\"eyJsaW5lYWdlIjoiMiIsInN0YXRlIjoibGl2ZSJ9\"}]}},"
        "{\"response_range\":{\"kvs\":[{\"key\":\"L2NsdXN0ZXJmcy9ieS94\","
        "\"mod_revision\":\"6\",\"value\":\"eyJub25jZSI6IjAxMjM0NTY3ODlhYmNkZ"
        "WYifQ==\"}],\"count\":\"1\"}},{\"response_range\":{\"kvs\":[{\"key\":"
        "\"L2NsdXN0ZXJmcy9yZWMvYQ==\",\"mod_revision\":\"3\",\"value\":\"e30="
        "\"},{\"key\":\"L2NsdXN0ZXJmcy9yZWMvYg==\"}],\"more\":true}}]}",
        "{\"error\":\"etcdserver: no leader\",\"message\":\"etcdserver: no "
        "leader\",\"code\":14}",
        "{\"error\":{\"grpc_code\":11,\"message\":\"required revision has been "
        "compacted\"}}",
    };
    const char *s = samples[n % CFS_ARRAY_SIZE(samples)];
    size_t len = strlen(s) < max ? strlen(s) : max;

    memcpy(ret, s, len);
    return len;
}
