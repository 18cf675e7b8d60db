/* SPDX-License-Identifier: Apache-2.0 */
/* programs.h - the programs that travel in frames: their numbers, versions
 * and procedures. Bodies: rpc/mgmt.def for management, rpc/wire.proto for FOP.
 *
 * Numbers are never used again. A program's version grows when an old peer
 * could not do right with what a new one sends; both ends support a range,
 * and the highest that both know is used.
 */
#ifndef CFS_RPC_PROGRAMS_H
#define CFS_RPC_PROGRAMS_H

#include "core/fop.h"
#include "rpc/conn.h"

enum rpc_program_no {
    RPC_DUMP = 1,      /* what this end may be asked; answered by rpc itself */
    RPC_HANDSHAKE = 2, /* daemon <-> mgmtd: volfiles */
    RPC_PORTMAP = 3,   /* daemon -> mgmtd: who is where */
    RPC_CLI = 4,       /* clusterfs -> mgmtd */
    RPC_PEER = 5,      /* mgmtd <-> mgmtd */
    RPC_BRICK = 6,     /* mgmtd -> brickd, on the line that brickd opened */
    RPC_FOP = 7,       /* client -> brick */
    RPC_VIEW = 8,      /* daemon <-> mgmtd: who is in sync */
    RPC_SESSION = 9,   /* client -> brick: before any operation */
};

#define RPC_DUMP_VERSION      1u
#define RPC_HANDSHAKE_VERSION 1u
#define RPC_PORTMAP_VERSION   1u
#define RPC_CLI_VERSION       1u
#define RPC_PEER_VERSION      1u
#define RPC_BRICK_VERSION     1u
#define RPC_FOP_VERSION       1u
#define RPC_FOP_VERSION_MIN   1u
#define RPC_VIEW_VERSION      1u
#define RPC_SESSION_VERSION   1u

/* Procedures. Bodies in brackets are of mgmt.def: request -> reply. */

enum rpc_dump_proc {
    RPC_DUMP_LIST = 1, /* -> dump_reply */
    RPC_DUMP_PING = 2,
};

enum rpc_handshake_proc {
    RPC_HANDSHAKE_GETSPEC = 1,         /* getspec -> getspec_reply */
    RPC_HANDSHAKE_VOLFILE_CHANGED = 2, /* volfile_changed, from mgmtd */
    RPC_HANDSHAKE_TRUST = 3,           /* trust -> trust_reply */
};

enum rpc_portmap_proc {
    RPC_PORTMAP_SIGNIN = 1,        /* signin */
    RPC_PORTMAP_CLIENT_SIGNIN = 2, /* client_signin */
    RPC_PORTMAP_SIGNOUT = 3,       /* signout */
    RPC_PORTMAP_PORT_BY_BRICK = 4, /* port_by_brick -> port_reply */
};

enum rpc_view_proc {
    RPC_VIEW_GET = 1,     /* view_get -> view_msg */
    RPC_VIEW_PUSH = 2,    /* view_msg, from mgmtd */
    RPC_VIEW_DIFFERS = 3, /* view_differs -> view_msg */
    RPC_VIEW_REPORT = 4,  /* view_report: how a brick answers */
    RPC_VIEW_PROBE = 5,   /* view_get, from mgmtd: report, for a while */
};

enum rpc_cli_proc {
    RPC_CLI_REQUEST = 1, /* cli_request -> cli_reply */
};

enum rpc_brick_proc {
    RPC_BRICK_INFO = 1,          /* -> brick_msg */
    RPC_BRICK_VIEW_SET = 2,      /* view_msg */
    RPC_BRICK_FENCE = 3,         /* session_no -> fence_reply */
    RPC_BRICK_CLOSE_SESSION = 4, /* session_no */
    RPC_BRICK_TERMINATE = 5,     /* terminate */
    RPC_BRICK_STATEDUMP = 6,     /* -> statedump_reply */
    RPC_BRICK_PROFILE = 7,       /* profile -> profile_reply */
    RPC_BRICK_CLIENTS = 8,       /* -> clients_reply */
    RPC_BRICK_PROCS = 9,
};

/* All peer_json -> peer_json. For nodes of the cluster, but where noted. */
enum rpc_peer_proc {
    RPC_PEER_GREET = 1,   /* first on each line */
    RPC_PEER_JOIN = 2,    /* a stranger with a token */
    RPC_PEER_INVITE = 3,  /* to an empty node, with its token */
    RPC_PEER_LEAVE = 4,   /* told to a node that was detached */
    RPC_PEER_SIGN = 5,    /* a certificate, by a voter */
    RPC_PEER_CA_KEYS = 6, /* to a node that becomes a voter */
    RPC_PEER_ENGINE_STATUS = 7,
    RPC_PEER_ENGINE_PREPARE = 8, /* be an etcd member */
    RPC_PEER_PREPARE = 9,  /* look at or make devices */
    RPC_PEER_UNDO = 10,
    RPC_PEER_BRICKS = 11,     /* what its home knows of its bricks */
    RPC_PEER_BRICK_CALL = 12, /* pass a call of program BRICK on */
    RPC_PEER_SILENCE_ASK = 13,
    RPC_PEER_SILENCE_REPORT = 14,
    RPC_PEER_PROCS = 32,
};

enum rpc_session_proc {
    RPC_SESSION_HELLO = 1,     /* hello */
    RPC_SESSION_CHALLENGE = 2, /* challenge -> challenge_reply */
    RPC_SESSION_PROVE = 3,     /* prove */
};

/* An operation's procedure number in program FOP, which stays the same
 * whatever order core/fops.def has; also the number for journals. */
#define RPC_FOP_PROCS(P)                                                     \
    P(1, LOOKUP)                                                             \
    P(2, GETATTR)                                                            \
    P(3, READLINK)                                                           \
    P(4, READ)                                                               \
    P(5, READDIR)                                                            \
    P(6, GETXATTR)                                                           \
    P(7, LISTXATTR)                                                          \
    P(8, STATFS)                                                             \
    P(9, LSEEK)                                                              \
    P(10, FSYNC)                                                             \
    P(11, CREATE)                                                            \
    P(12, UNLINK)                                                            \
    P(13, RENAME)                                                            \
    P(14, LINK)                                                              \
    P(15, SETATTR)                                                           \
    P(16, WRITE)                                                             \
    P(17, SETXATTR)                                                          \
    P(18, REMOVEXATTR)                                                       \
    P(19, FALLOCATE)                                                         \
    P(20, COPY)                                                              \
    P(21, PURGE)                                                             \
    P(22, SESSION_OPEN)                                                      \
    P(23, SESSION_ATTACH)                                                    \
    P(24, SESSION_CLOSE)                                                     \
    P(25, SESSION_FENCE)                                                     \
    P(26, VIEW_SET)                                                          \
    P(27, CLEAR)                                                             \
    P(28, BRICK_INFO)

#define RPC_FOP_PROC_N 29u

/* 0: it does not travel (class LOCAL). */
uint32_t rpc_fop_proc(enum cfs_fop fop);
/* -ENOSYS: no operation has this number. */
int rpc_fop_of_proc(uint32_t proc, enum cfs_fop *ret);

/* For rpc_call(): programs as their callers see them, without procedures. */
extern const struct rpc_program rpc_to_dump;
extern const struct rpc_program rpc_to_handshake;
extern const struct rpc_program rpc_to_portmap;
extern const struct rpc_program rpc_to_cli;
extern const struct rpc_program rpc_to_brick;
extern const struct rpc_program rpc_to_fop;
extern const struct rpc_program rpc_to_view;
extern const struct rpc_program rpc_to_session;
extern const struct rpc_program rpc_to_peer;

#endif
