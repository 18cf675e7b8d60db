/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/frame.h"

#include <endian.h>
#include <xxhash.h>

#define MAGIC   0x31534643u /* "CFS1" as little-endian bytes */
#define VERSION 1u

/* Where the fields lie: see frame.h. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_FLAGS = 6,
    AT_BODY = 8,
    AT_PAYLOAD = 12,
    AT_XID = 16,
    AT_PROGRAM = 20,
    AT_PROGRAM_VERSION = 24,
    AT_PROCEDURE = 28,
    AT_STATUS = 32,
    AT_RAW = 36,
    AT_SUM = 40,
};

static void put16(uint8_t *b, unsigned at, uint16_t v)
{
    v = htole16(v);
    memcpy(b + at, &v, sizeof v);
}

static void put32(uint8_t *b, unsigned at, uint32_t v)
{
    v = htole32(v);
    memcpy(b + at, &v, sizeof v);
}

static uint16_t get16(const uint8_t *b, unsigned at)
{
    uint16_t v;

    memcpy(&v, b + at, sizeof v);
    return le16toh(v);
}

static uint32_t get32(const uint8_t *b, unsigned at)
{
    uint32_t v;

    memcpy(&v, b + at, sizeof v);
    return le32toh(v);
}

void rpc_hdr_pack(const struct rpc_hdr *h, uint8_t ret[static CFS_RPC_HDR])
{
    uint64_t sum;

    put32(ret, AT_MAGIC, MAGIC);
    put16(ret, AT_VERSION, VERSION);
    put16(ret, AT_FLAGS, h->flags);
    put32(ret, AT_BODY, h->body_len);
    put32(ret, AT_PAYLOAD, h->payload_len);
    put32(ret, AT_XID, h->xid);
    put32(ret, AT_PROGRAM, h->program);
    put32(ret, AT_PROGRAM_VERSION, h->version);
    put32(ret, AT_PROCEDURE, h->procedure);
    put32(ret, AT_STATUS, (uint32_t)h->status);
    put32(ret, AT_RAW, h->raw_len);
    sum = htole64(XXH3_64bits(ret, AT_SUM));
    memcpy(ret + AT_SUM, &sum, sizeof sum);
}

/* What the fields say of each other. */
static const char *contradiction(const struct rpc_hdr *h)
{
    const bool reply = (h->flags & CFS_RPC_REPLY) != 0;

    if ((h->flags & ~(CFS_RPC_REPLY | CFS_RPC_LZ4 | CFS_RPC_TEXT)) != 0)
        return "unknown flags";
    if (h->body_len > CFS_RPC_BODY_MAX)
        return "the body is too long";
    if (h->raw_len > CFS_RPC_PAYLOAD_MAX)
        return "the payload is too long";
    if ((h->flags & CFS_RPC_LZ4) == 0 && h->payload_len != h->raw_len)
        return "two lengths of one payload";
    if ((h->flags & CFS_RPC_LZ4) != 0 &&
        (h->payload_len == 0 || h->payload_len >= h->raw_len))
        return "a compressed payload that is none";
    if (!reply && h->status != 0)
        return "a request with a status";
    if (h->status > 0 || h->status < CFS_RPC_STATUS_MIN)
        return "a status that is no error code";
    if ((h->flags & CFS_RPC_TEXT) != 0 && (!reply || h->status == 0))
        return "an error text without an error";
    return NULL;
}

int rpc_hdr_unpack(const uint8_t b[static CFS_RPC_HDR], struct rpc_hdr *ret,
                   const char **ret_why)
{
    struct rpc_hdr h;
    const char *why = NULL;
    uint64_t sum;

    memcpy(&sum, b + AT_SUM, sizeof sum);
    h.flags = get16(b, AT_FLAGS);
    h.body_len = get32(b, AT_BODY);
    h.payload_len = get32(b, AT_PAYLOAD);
    h.xid = get32(b, AT_XID);
    h.program = get32(b, AT_PROGRAM);
    h.version = get32(b, AT_PROGRAM_VERSION);
    h.procedure = get32(b, AT_PROCEDURE);
    h.status = (int32_t)get32(b, AT_STATUS);
    h.raw_len = get32(b, AT_RAW);

    if (get32(b, AT_MAGIC) != MAGIC)
        why = "wrong magic";
    else if (get16(b, AT_VERSION) != VERSION)
        why = "unknown version of the header";
    else if (le64toh(sum) != XXH3_64bits(b, AT_SUM))
        why = "wrong checksum of the header";
    else
        why = contradiction(&h);

    if (why != NULL) {
        *ret_why = why;
        return -EBADMSG;
    }
    *ret = h;
    return 0;
}
