/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/programs.h"

#define CALLED(NAME, Name)                                                   \
    {                                                                        \
        .number = RPC_##NAME, .version = RPC_##NAME##_VERSION, .name = Name, \
    }

const struct rpc_program rpc_to_dump = CALLED(DUMP, "dump");
const struct rpc_program rpc_to_handshake = CALLED(HANDSHAKE, "handshake");
const struct rpc_program rpc_to_portmap = CALLED(PORTMAP, "portmap");
const struct rpc_program rpc_to_cli = CALLED(CLI, "cli");
const struct rpc_program rpc_to_brick = CALLED(BRICK, "brick");
const struct rpc_program rpc_to_fop = CALLED(FOP, "fop");
const struct rpc_program rpc_to_view = CALLED(VIEW, "view");
const struct rpc_program rpc_to_session = CALLED(SESSION, "session");
const struct rpc_program rpc_to_peer = CALLED(PEER, "peer");

uint32_t rpc_fop_proc(enum cfs_fop fop)
{
    static const uint8_t proc[CFS_FOP_N] = {
#define P(number, UPPER) [CFS_FOP_##UPPER] = number,
        RPC_FOP_PROCS(P)
#undef P
    };

    assert(fop < CFS_FOP_N);
    return proc[fop];
}

int rpc_fop_of_proc(uint32_t proc, enum cfs_fop *ret)
{
    switch (proc) {
#define P(number, UPPER)                                                     \
    case number:                                                             \
        *ret = CFS_FOP_##UPPER;                                              \
        return 0;
        RPC_FOP_PROCS(P)
#undef P
    default:
        return -ENOSYS;
    }
}
