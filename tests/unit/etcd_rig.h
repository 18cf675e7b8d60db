/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_rig.h - real etcd processes for tests: one or three members on an own
 * loopback address, in an own directory. They die with the test. With TLS
 * there are two lists of revoked certificates: none.crl, and node.crl, which
 * has theirs.
 */
#ifndef CFS_TESTS_UNIT_ETCD_RIG_H
#define CFS_TESTS_UNIT_ETCD_RIG_H

#include <sys/types.h>

#include "mgmtd/store/etcd_client.h"

#define RIG_MAX 3u

struct etcd_rig {
    unsigned           n;
    pid_t              pid[RIG_MAX]; /* 0: does not run */
    bool               tls;
    char               dir[64];
    char               ip[16];
    struct etcd_target to;
};

/* Why there can be none on this machine; NULL: there can. */
const char *etcd_rig_lacks(bool tls);

/* Fails the test when it cannot. Members come up in the background. */
void etcd_rig_start(struct etcd_rig *r, unsigned n, bool tls);
void etcd_rig_end(struct etcd_rig *r);

void etcd_rig_run(struct etcd_rig *r, unsigned i);  /* one that was killed */
void etcd_rig_kill(struct etcd_rig *r, unsigned i); /* -9, and gone */
void etcd_rig_signal(struct etcd_rig *r, unsigned i, int sig);
/* Copy a member's directory, while it does not run, aside and back. */
void etcd_rig_save(struct etcd_rig *r, unsigned i);
void etcd_rig_roll_back(struct etcd_rig *r, unsigned i);
/* Its directory is gone. */
void etcd_rig_wipe(struct etcd_rig *r, unsigned i);

/* A directory and all in it. */
void rig_remove(const char *dir);

#endif
