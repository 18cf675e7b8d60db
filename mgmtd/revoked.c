/* SPDX-License-Identifier: Apache-2.0 */
/* revoked.c - see revoked.h. */
#include "mgmtd/revoked.h"

#include <string.h>

#include "mgmtd/mem.h"
#include "rpc/tls.h"

bool revoked_has(const json_t *list, const char *serial)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *have = json_string_value(json_array_get(list, i));

        if (have && strcmp(have, serial) == 0)
            return true;
    }
    return false;
}

/* The field of @rec of that name; @empty, taken over, where there is none. */
static json_t *field(json_t *rec, const char *name, json_t *empty)
{
    json_t *have = json_object_get(rec, name);

    if (have && json_typeof(have) == json_typeof(empty)) {
        json_decref(empty);
        return have;
    }
    json_object_set_new(rec, name, empty);
    return empty;
}

/* Those of whom it is not known count from now on. */
static void drop_old(json_t *list, json_t *since, int64_t now, int64_t life_s)
{
    for (size_t i = json_array_size(list); i-- > 0;) {
        const char *s = json_string_value(json_array_get(list, i));
        json_t *at = s ? json_object_get(since, s) : NULL;

        if (!s || (at && now - json_integer_value(at) > life_s)) {
            if (s)
                json_object_del(since, s);
            json_array_remove(list, i);
        } else if (!at) {
            json_object_set_new(since, s, mem_ok(json_integer(now)));
        }
    }
}

void revoked_join(json_t *rec, const json_t *serials)
{
    json_t *list = field(rec, "revoked", mem_ok(json_array()));

    for (size_t i = 0; i < json_array_size(serials); i++) {
        const char *s = json_string_value(json_array_get(serials, i));

        if (s && *s && !revoked_has(list, s))
            json_array_append(list, json_array_get(serials, i));
    }
}

void revoked_add(json_t *rec, const json_t *serials, int64_t now,
                 int64_t life_s)
{
    revoked_join(rec, serials);
    drop_old(json_object_get(rec, "revoked"),
             field(rec, "since", mem_ok(json_object())), now, life_s);
}

uint64_t revoked_number(const json_t *rec)
{
    json_int_t n = json_integer_value(json_object_get(rec, "number"));
    const char *crl = json_string_value(json_object_get(rec, "crl"));

    return n > 0 ? (uint64_t)n : crl ? rpc_tls_list_number(crl) : 0;
}
