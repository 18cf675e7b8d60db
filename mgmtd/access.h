/* SPDX-License-Identifier: Apache-2.0 */
/* access.h - who may call what: one table for every procedure that mgmtd
 * offers, by what the caller proved to be. What depends on the call's contents
 * (whose volume, which verb) its handler asks for: line_may_volume().
 */
#ifndef CFS_MGMTD_ACCESS_H
#define CFS_MGMTD_ACCESS_H

#include "core/base.h"
#include "rpc/tls.h"

enum access_who {
    ACCESS_LOCAL = 1u << 0,    /* Unix socket: root, or who we are */
    ACCESS_NODE = 1u << 1,     /* certificate of the node authority */
    ACCESS_MEMBER = 1u << 2,   /* ... and it has greeted: mgmtd/peer.h */
    ACCESS_CLIENT = 1u << 3,   /* certificate of the client authority */
    ACCESS_STRANGER = 1u << 4, /* nothing */
};

/* Who @role is, as one bit. */
enum access_who access_of(enum rpc_peer_role role, bool trusted, bool greeted);
/* NULL: it may; else why not. What has no row nobody may. */
const char *access_refusal(enum access_who who, uint32_t program,
                           uint32_t procedure);

/* Whether the numeric @host is in @list: addresses, networks (10.0.0.0/8,
 * fd00::/8), or *, with commas between them. */
bool access_host_in(const char *host, const char *list);
/* Of the options that this is the meaning of: auth.allow. */
int access_option_check(const char *key, const char *value,
                        struct cfs_err *err);
/* -EINVAL: @list is no such list. */
int access_list_check(const char *list, struct cfs_err *err);

#endif
