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
 * creating/ID is still as it was, and deletes it. Else it is undone:
 *
 *   1. the record is put anew ("undo"): from now on nothing can make the
 *      volume, also no transaction whose outcome nobody has heard
 *   2. the devices are undone, each on its node
 *   3. claims of those that are undone are deleted, and with the last the
 *      record
 *
 * Each step may be cut off, and is then done again. What is on a node that
 * cannot be reached waits for it; a node that is no member takes its devices
 * with it.
 *
 * Whose task it is: of the node that began, also after its restart. When that
 * is no member any more, or was not here for 20 s, of the first node that is;
 * when two act, step 1 lets one go on. Each mgmtd looks at the records when one
 * appears in its copy, when nodes come and go, and every 2 s while there are
 * any.
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
/* Undo it. @done with an error: what could not be undone now, which will be
 * tried again; -CFS_E_CONFLICT: nothing is left to be undone by us: the volume
 * was made, or another node undoes it. */
void creating_undo(struct creating *c, store_done *done, void *arg);
void creating_end(struct creating *c);

/* A claim on a device, for the volume that is made of it. */
void creating_claim(struct store_txn *t, const struct prep_brick *b,
                    const char *volume, const struct cfs_uuid *id);

/* Before anything else; then, when store and peers are loaded, start. */
void creating_init(struct mgmtd *m);
void creating_start(struct mgmtd *m);
void creating_stop(struct mgmtd *m);
/* Undo what was left behind and is ours to undo: in this turn of the loop, or
 * in a while. */
void creating_look(struct mgmtd *m);
void creating_look_soon(struct mgmtd *m);
/* This node began to make @volume, and has not undone that yet. */
bool creating_is_left(struct mgmtd *m, const char *volume);

#endif
