/* SPDX-License-Identifier: Apache-2.0 */
/* proof.c - see proof.h. */
#include "rpc/proof.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

/* It fails for want of memory only, as everything small here does. */
static void mac(const uint8_t key[static RPC_SECRET], const void *data,
                size_t len, uint8_t ret[static RPC_PROOF])
{
    unsigned n = RPC_PROOF;

    if (HMAC(EVP_sha256(), key, (int)RPC_SECRET, data, len, ret, &n) == NULL ||
        n != RPC_PROOF)
        abort();
}

static size_t put_u64(uint8_t *at, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> (8 * i));
    return 8;
}

void rpc_client_secret(const uint8_t volume_secret[static RPC_SECRET],
                       const char *name, uint64_t generation,
                       uint8_t ret[static RPC_SECRET])
{
    uint8_t text[6 + 8 + RPC_CLIENT_NAME];
    size_t n = 6, len = strnlen(name, RPC_CLIENT_NAME);

    memcpy(text, "client", 6);
    n += put_u64(text + n, generation);
    memcpy(text + n, name, len);
    mac(volume_secret, text, n + len, ret);
}

void rpc_proof(const uint8_t secret[static RPC_SECRET],
               const struct rpc_proof_input *in,
               uint8_t ret[static RPC_PROOF])
{
    uint8_t text[1 + 16 + 16 + 2 * RPC_NONCE];

    text[0] = (uint8_t)in->role;
    memcpy(text + 1, in->volume.b, 16);
    memcpy(text + 17, in->brick.b, 16);
    memcpy(text + 33, in->client_nonce, RPC_NONCE);
    memcpy(text + 33 + RPC_NONCE, in->brick_nonce, RPC_NONCE);
    mac(secret, text, sizeof text, ret);
}

bool rpc_proof_eq(const uint8_t a[static RPC_PROOF],
                  const uint8_t b[static RPC_PROOF])
{
    return CRYPTO_memcmp(a, b, RPC_PROOF) == 0;
}

/* -- as text ------------------------------------------------------------- */

void rpc_secret_print(const uint8_t secret[static RPC_SECRET],
                      char ret[static RPC_SECRET_TEXT])
{
    static const char digit[] = "0123456789abcdef";

    for (unsigned i = 0; i < RPC_SECRET; i++) {
        ret[2 * i] = digit[secret[i] >> 4];
        ret[2 * i + 1] = digit[secret[i] & 15];
    }
    ret[2 * RPC_SECRET] = '\0';
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int rpc_secret_parse(const char *text, uint8_t ret[static RPC_SECRET])
{
    uint8_t secret[RPC_SECRET];

    if (strlen(text) != 2 * RPC_SECRET)
        return -EINVAL;
    for (unsigned i = 0; i < RPC_SECRET; i++) {
        int hi = digit_of(text[2 * i]), lo = digit_of(text[2 * i + 1]);

        if (hi < 0 || lo < 0)
            return -EINVAL;
        secret[i] = (uint8_t)(hi << 4 | lo);
    }
    memcpy(ret, secret, sizeof secret);
    return 0;
}

/* -- removed clients ----------------------------------------------------- */

struct entry {
    const char *name;
    size_t      len;
    uint64_t    generation;
};

/* The entry at *@list, which moves behind it. 0: there is none; -EINVAL. */
static int next_entry(const char **list, struct entry *ret)
{
    const char *at = *list, *eq;
    char *end;

    if (at == NULL || *at == '\0')
        return 0;
    eq = strpbrk(at, "=,");
    if (eq == NULL || *eq != '=' || eq == at || eq[1] < '0' || eq[1] > '9')
        return -EINVAL;
    *ret = (struct entry){at, (size_t)(eq - at), strtoull(eq + 1, &end, 10)};
    if (*end != ',' && *end != '\0')
        return -EINVAL;
    *list = *end == ',' ? end + 1 : end;
    return 1;
}

static bool names(const struct entry *e, const char *name)
{
    if (e->name[e->len - 1] == '*')
        return strncmp(e->name, name, e->len - 1) == 0;
    return strlen(name) == e->len && memcmp(e->name, name, e->len) == 0;
}

bool rpc_client_is_removed(const char *list, const char *name,
                           uint64_t generation)
{
    struct entry e;

    while (next_entry(&list, &e) > 0)
        if (names(&e, name) && generation <= e.generation)
            return true;
    return false;
}

int rpc_client_list_check(const char *list)
{
    struct entry e;
    int rc;

    while ((rc = next_entry(&list, &e)) > 0)
        ;
    return rc;
}
