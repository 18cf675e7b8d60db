/* SPDX-License-Identifier: Apache-2.0 */
/* proof.h - a client and a brick prove to each other that they know the
 * client's secret for the volume, without saying it (HMAC-SHA-256).
 *
 *   volume secret   32 random bytes, in the volume's record; known to mgmtds
 *                   and to the volume's bricks.
 *   client secret   HMAC(volume secret, "client" | name | generation): comes
 *                   with the volfile; bricks derive it.
 *   proof           HMAC(client secret, role | volume | brick | nonce of the
 *                   client | nonce of the brick); the brick's first, so that a
 *                   client never proves itself to a stranger.
 *
 * Data on the connection is neither encrypted nor signed afterwards: that
 * comes with TLS for data.
 */
#ifndef CFS_RPC_PROOF_H
#define CFS_RPC_PROOF_H

#include "core/fop.h"

#define RPC_SECRET 32u
#define RPC_NONCE  16u
#define RPC_PROOF  32u

enum rpc_proof_role { RPC_PROOF_BRICK = 1, RPC_PROOF_CLIENT = 2 };

void rpc_client_secret(const uint8_t volume_secret[static RPC_SECRET],
                       const char *name, uint64_t generation,
                       uint8_t ret[static RPC_SECRET]);

struct rpc_proof_input {
    enum rpc_proof_role role;
    struct cfs_uuid     volume;
    struct cfs_uuid     brick;
    uint8_t             client_nonce[RPC_NONCE];
    uint8_t             brick_nonce[RPC_NONCE];
};
void rpc_proof(const uint8_t secret[static RPC_SECRET],
               const struct rpc_proof_input *in,
               uint8_t ret[static RPC_PROOF]);
/* In constant time. */
bool rpc_proof_eq(const uint8_t a[static RPC_PROOF],
                  const uint8_t b[static RPC_PROOF]);

#endif
