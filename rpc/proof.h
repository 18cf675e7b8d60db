/* SPDX-License-Identifier: Apache-2.0 */
/* proof.h - a client and a brick prove to each other that they know the
 * client's secret for the volume, without saying it (HMAC-SHA-256, RFC 2104).
 *
 *   volume secret   32 random bytes, in the volume's record; known to mgmtds
 *                   and to the volume's bricks. It is renewed now and then
 *                   (mgmtd/spec.c), so it has a number; bricks know the one
 *                   before, too.
 *   client secret   HMAC(volume secret, "client" | generation | name): comes
 *                   with the volfile; bricks derive it.
 *   proof           HMAC(client secret, role | volume | brick | nonce of the
 *                   client | nonce of the brick).
 *
 * On a connection over TCP (program SESSION):
 *
 *   client                                    brick
 *     CHALLENGE{name, generation, number, nonce}  ->
 *                                         <-  nonce, the brick's proof
 *     PROVE{the client's proof}           ->
 *     HELLO{brick}                        ->  served from here on
 *
 * The brick proves first, so that a client never proves itself to a stranger.
 * Both nonces are new for each challenge, a challenge is good for one attempt,
 * and the role is part of what is signed: nothing that was overheard is of use
 * again, to either side. Data on the connection is neither encrypted nor
 * signed afterwards: that comes with TLS for data.
 */
#ifndef CFS_RPC_PROOF_H
#define CFS_RPC_PROOF_H

#include "core/fop.h"

#define RPC_SECRET      32u
#define RPC_NONCE       16u
#define RPC_PROOF       32u
#define RPC_SECRET_TEXT (2 * RPC_SECRET + 1) /* in hex, with its NUL */
#define RPC_CLIENT_NAME 255u                 /* bytes in a client's name */

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

void rpc_secret_print(const uint8_t secret[static RPC_SECRET],
                      char ret[static RPC_SECRET_TEXT]);
/* -EINVAL: not 64 hexadecimal digits. */
int  rpc_secret_parse(const char *text, uint8_t ret[static RPC_SECRET]);

/* -- who is not believed any more ---------------------------------------- */

/* Whether @list, "NAME=GENERATION,..." (the option removed-clients), says
 * that @name is out up to @generation. A NAME that ends in '*' stands for all
 * that begin so. */
bool rpc_client_is_removed(const char *list, const char *name,
                           uint64_t generation);
/* -EINVAL: not such a list. NULL is an empty one. */
int  rpc_client_list_check(const char *list);

#endif
