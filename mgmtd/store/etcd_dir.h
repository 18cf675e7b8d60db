/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_dir.h - whose an etcd's data directory is, and how far it got, without
 * starting an etcd on it: its write-ahead log says so.
 *
 * An etcd whose directory was lost, or put back from an old copy, comes back
 * under its old identity and votes again, having forgotten what it promised.
 * So this is looked at before every start.
 *
 * Source     DIR/member/wal/SEQ-INDEX.wal, as etcd 3.4 to 3.6 write them:
 *            frames of an 8-byte little-endian length (its high byte: how
 *            many bytes of padding follow, 0x80 | n) and a protobuf record
 *            {1: type, 3: data}. Types: 1 metadata {1: member, 2: cluster},
 *            2 entry {3: index}, 5 snapshot {1: index}.
 */
#ifndef CFS_MGMTD_ETCD_DIR_H
#define CFS_MGMTD_ETCD_DIR_H

#include "core/err.h"

struct etcd_dir {
    bool     there;   /* else: no log in it, or no directory at all */
    uint64_t member;
    uint64_t cluster;
    uint64_t index;   /* of the last entry in the log */
};

/* Reads the newest file of the log, as far as it is written: up to 64 MB.
 * -CFS_E_CORRUPT: that is no such log; -errno. */
int etcd_dir_look(const char *dir, struct etcd_dir *ret, struct cfs_err *err);

/* The same for the bytes of one file. @name without folder. */
int etcd_wal_read(const uint8_t *bytes, size_t len, const char *name,
                  struct etcd_dir *ret);

#endif
