/* SPDX-License-Identifier: Apache-2.0 */
/* token.c - what one side of a join makes and the other is given; see
 * trust.h.
 *
 * Bytes: address (length in one byte, then it), fingerprint, secret, end (8,
 * little-endian), then 4 of the SHA-256 of all before: a mistyped one is told
 * from a wrong one.
 */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "mgmtd/mem.h"
#include "mgmtd/trust.h"

#define PREFIX    "cfs1-"
#define CHECK     4u
#define FIXED     (RPC_TLS_PRINT + TRUST_SECRET + 8u + CHECK)
#define BYTES_MAX (1u + 255u + FIXED)

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void check_of(const uint8_t *p, size_t n, uint8_t ret[static CHECK])
{
    uint8_t sum[SHA256_DIGEST_LENGTH];

    SHA256(p, n, sum);
    memcpy(ret, sum, CHECK);
}

char *trust_token_print(const struct trust_token *t)
{
    const size_t len = strlen(t->address);
    uint8_t b[BYTES_MAX + 2] = {0};
    size_t n = 0, at;
    char *text;

    b[n++] = (uint8_t)len;
    memcpy(b + n, t->address, len);
    n += len;
    memcpy(b + n, t->print, RPC_TLS_PRINT);
    n += RPC_TLS_PRINT;
    memcpy(b + n, t->secret, TRUST_SECRET);
    n += TRUST_SECRET;
    for (unsigned i = 0; i < 8; i++)
        b[n++] = (uint8_t)((uint64_t)t->end >> (8 * i));
    check_of(b, n, b + n);
    n += CHECK;

    text = mem_new(strlen(PREFIX) + (n + 2) / 3 * 4 + 1);
    at = (size_t)sprintf(text, PREFIX);
    for (size_t i = 0; i < n; i += 3) {
        const uint32_t v = (uint32_t)b[i] << 16 | (uint32_t)b[i + 1] << 8 |
                           b[i + 2];

        for (unsigned k = 0; k < 4 && k <= n - i; k++)
            text[at++] = digits[v >> (18 - 6 * k) & 63];
    }
    return text;
}

/* Bytes of @text, at most @max; -1: not base64url. */
static ssize_t decode(const char *text, uint8_t *ret, size_t max)
{
    uint32_t v = 0;
    unsigned bits = 0;
    size_t n = 0;

    for (; *text; text++) {
        const char *d = strchr(digits, *text);

        if (!d)
            return -1;
        v = v << 6 | (uint32_t)(d - digits);
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        if (n == max)
            return -1;
        ret[n++] = (uint8_t)(v >> bits);
        v &= (1u << bits) - 1;
    }
    return v == 0 ? (ssize_t)n : -1;
}

int trust_token_parse(const char *text, struct trust_token *ret,
                      struct cfs_err *err)
{
    struct trust_token t = {0};
    uint8_t b[BYTES_MAX], check[CHECK];
    uint64_t end = 0;
    const uint8_t *p;
    ssize_t n;

    if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
        return cfs_err_set(err, -EINVAL, "not a token: it begins with "
                           PREFIX);
    n = decode(text + strlen(PREFIX), b, sizeof b);
    if (n < (ssize_t)(FIXED + 2) || (size_t)n != FIXED + 1 + b[0] ||
        memchr(b + 1, '\0', b[0]))
        return cfs_err_set(err, -EINVAL, "not a whole token: copy all of it");
    check_of(b, (size_t)n - CHECK, check);
    if (memcmp(check, b + n - CHECK, CHECK) != 0)
        return cfs_err_set(err, -EINVAL, "the token is mistyped: copy it "
                           "as it was printed");
    memcpy(t.address, b + 1, b[0]);
    p = b + 1 + b[0];
    memcpy(t.print, p, RPC_TLS_PRINT);
    memcpy(t.secret, p + RPC_TLS_PRINT, TRUST_SECRET);
    p += RPC_TLS_PRINT + TRUST_SECRET;
    for (unsigned i = 0; i < 8; i++)
        end |= (uint64_t)p[i] << (8 * i);
    t.end = (int64_t)end;
    *ret = t;
    return 0;
}

void trust_token_hash(const uint8_t secret[static TRUST_SECRET],
                      char ret[static 65])
{
    uint8_t sum[SHA256_DIGEST_LENGTH];

    SHA256(secret, TRUST_SECRET, sum);
    for (unsigned i = 0; i < sizeof sum; i++)
        sprintf(ret + 2 * i, "%02x", sum[i]);
}
