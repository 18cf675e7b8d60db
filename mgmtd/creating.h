/* SPDX-License-Identifier: Apache-2.0 */
/* creating.h - volumes that are being made: what is durable before devices are
 * touched, so that whatever fails, or dies, leaves nothing behind.
 *
 *   record creating/ID  {"volume", "by", "cluster", "bricks": [{"node", "path",
 *                       "id", "exists", "size"}]}
 *   claims brick/...    as of a volume, with "creating": ID
 *
 * Both come with one transaction, which fails if somebody else has a claim on
 * one of the devices. The transaction that makes the volume succeeds only while
 * creating/ID is still as it was, and deletes it. Else everything is undone on
 * its nodes, and then record and claims are deleted; where a node cannot be
 * reached, that waits for it. The node that began does it, also after its
 * restart; when it is no member any more, the one with the lowest number.
 */
#ifndef CFS_MGMTD_CREATING_H
#define CFS_MGMTD_CREATING_H

#include "mgmtd/node.h"

/* One that this process works on: in mgmtd.creating. */
struct creating {
    struct cfs_list link;
    struct mgmtd   *m;
    struct cfs_uuid id;
    uint64_t        token; /* of its record */
    struct prep    *prep;
};

/* Put record and claims. @done: -CFS_E_CONFLICT: a device is claimed. */
void creating_begin(struct creating *c, store_done *done, void *arg);
/* Into the transaction that makes the volume. */
void creating_finish(struct creating *c, struct store_txn *t);
/* Undo it. @done with an error: which says what is left, and until when. */
void creating_undo(struct creating *c, store_done *done, void *arg);
void creating_end(struct creating *c);

/* A claim on a device, for the volume that is made of it. */
void creating_claim(struct store_txn *t, const struct prep_brick *b,
                    const char *volume, const struct cfs_uuid *id);

/* Undo what was left behind and is ours to undo. */
void creating_look(struct mgmtd *m);

#endif
