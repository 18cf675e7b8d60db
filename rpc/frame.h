/* SPDX-License-Identifier: Apache-2.0 */
/* frame.h - the fixed header in front of each message.
 *
 * Shapes  48 bytes, little-endian:
 *           0 magic "CFS1"      4 header version (1), 2 B   6 flags, 2 B
 *           8 body length      12 payload length (as sent)
 *          16 xid              20 program
 *          24 program version  28 procedure
 *          32 status, signed   36 payload length (uncompressed)
 *          40 checksum: XXH3-64 of bytes 0..39
 *         then the body (protobuf), then the payload.
 * Source  docs/wire.md
 */
#ifndef CFS_RPC_FRAME_H
#define CFS_RPC_FRAME_H

#include "core/base.h"

#define CFS_RPC_HDR         48u
#define CFS_RPC_BODY_MAX    (256u * 1024u)
#define CFS_RPC_PAYLOAD_MAX (1024u * 1024u + 64u * 1024u)

#define CFS_RPC_REPLY 0x1u
#define CFS_RPC_LZ4   0x2u
#define CFS_RPC_TEXT  0x4u /* an error reply whose body is its text */

#define CFS_RPC_STATUS_MIN (-4095)

struct rpc_hdr {
    uint16_t flags;
    uint32_t body_len;
    uint32_t payload_len; /* on the wire */
    uint32_t xid;
    uint32_t program;
    uint32_t version;
    uint32_t procedure;
    int32_t  status;
    uint32_t raw_len; /* of the payload, uncompressed */
};

void rpc_hdr_pack(const struct rpc_hdr *h, uint8_t ret[static CFS_RPC_HDR]);

/* -EBADMSG with the reason in words: magic, version, checksum, a length over
 * its bound, unknown flags, LZ4 without payload,
 * a status that is no error code or that a request carries. */
int rpc_hdr_unpack(const uint8_t b[static CFS_RPC_HDR], struct rpc_hdr *ret,
                   const char **ret_why);

#endif
