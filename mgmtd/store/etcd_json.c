/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_json.c - etcd's JSON: base64, 64-bit integers as strings, errors. */
#include "mgmtd/mem.h"
#include "mgmtd/store/etcd_client.h"

#include <inttypes.h>
#include <stdio.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789+/";

char *etcd_b64(const void *bytes, size_t len)
{
    const uint8_t *in = bytes;
    char *ret = mem_ok(malloc(len / 3 * 4 + 5)), *at = ret;

    for (; len >= 3; len -= 3, in += 3) {
        *at++ = digits[in[0] >> 2];
        *at++ = digits[(in[0] & 3) << 4 | in[1] >> 4];
        *at++ = digits[(in[1] & 15) << 2 | in[2] >> 6];
        *at++ = digits[in[2] & 63];
    }
    if (len > 0) {
        uint8_t second = len == 2 ? in[1] : 0;

        *at++ = digits[in[0] >> 2];
        *at++ = digits[(in[0] & 3) << 4 | second >> 4];
        *at++ = len == 2 ? digits[(second & 15) << 2] : '=';
        *at++ = '=';
    }
    *at = '\0';
    return ret;
}

static int digit(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

int etcd_unb64(const char *text, uint8_t **ret, size_t *ret_len)
{
    size_t len = strlen(text), n = len / 4 * 3, pad = 0;
    uint8_t *out;

    if (len % 4)
        return -EBADMSG;
    while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
        pad++;
    out = mem_ok(malloc(n + 1));
    for (size_t i = 0; i < len; i += 4) {
        uint32_t word = 0;

        for (size_t k = 0; k < 4; k++) {
            bool padding = i + k >= len - pad;
            int d = padding ? 0 : digit(text[i + k]);

            if (d < 0) {
                free(out);
                return -EBADMSG;
            }
            word = word << 6 | (uint32_t)d;
        }
        out[i / 4 * 3] = (uint8_t)(word >> 16);
        out[i / 4 * 3 + 1] = (uint8_t)(word >> 8);
        out[i / 4 * 3 + 2] = (uint8_t)word;
    }
    *ret_len = n - pad;
    out[*ret_len] = '\0';
    *ret = out;
    return 0;
}

json_t *etcd_json_b64(const char *text)
{
    char *b64 = etcd_b64(text, strlen(text));
    json_t *ret = mem_ok(json_string(b64));

    free(b64);
    return ret;
}

/* Prefixes are ASCII, so the last byte can be raised by one. */
json_t *etcd_json_end(const char *prefix)
{
    char *end = mem_str(prefix);
    json_t *ret;

    assert(*prefix);
    end[strlen(end) - 1]++;
    ret = etcd_json_b64(end);
    free(end);
    return ret;
}

int etcd_text(const json_t *obj, const char *field, char **ret)
{
    const char *b64 = json_string_value(json_object_get(obj, field));
    uint8_t *bytes;
    size_t len;

    if (!b64 || etcd_unb64(b64, &bytes, &len) < 0)
        return -EBADMSG;
    if (strlen((char *)bytes) != len) {
        free(bytes);
        return -EBADMSG;
    }
    *ret = (char *)bytes;
    return 0;
}

int etcd_number(const json_t *obj, const char *field, uint64_t *ret)
{
    const json_t *v = json_object_get(obj, field);
    const char *s = json_string_value(v);
    char *end;

    if (!v) {
        *ret = 0;
        return 0;
    }
    if (!s || *s < '0' || *s > '9' || strlen(s) > 20)
        return -EBADMSG;
    errno = 0;
    *ret = strtoull(s, &end, 10);
    return *end || errno ? -EBADMSG : 0;
}

uint64_t etcd_u64(const json_t *obj, const char *field)
{
    uint64_t n;

    return etcd_number(obj, field, &n) == 0 ? n : 0;
}

json_t *etcd_json_u64(uint64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, n);
    return mem_ok(json_string(text));
}

/* 3.4: {"error": words, "message": words, "code": n}, in a stream {"error":
 * {"grpc_code": n, "message": words}}; 3.5: the inner one has "code". */
bool etcd_error(const json_t *answer, const char **ret_words, int *ret_code)
{
    const json_t *e = json_object_get(answer, "error");
    const json_t *from = json_is_object(e) ? e : answer, *code;
    const char *words = json_string_value(json_object_get(from, "message"));

    code = json_object_get(from, "code");
    if (!code)
        code = json_object_get(from, "grpc_code");
    if (!words)
        words = json_string_value(e);
    if (!e && !code)
        return false;
    *ret_words = words ? words : "an error without words";
    *ret_code = json_is_integer(code) ? (int)json_integer_value(code) : 2;
    return true;
}
