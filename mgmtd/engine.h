/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - the life of the store's engine on this node: whether this node
 * runs an etcd, as which member, and the switch from one node to many.
 *
 * The store (store.h) talks to an etcd through struct etcd_target; who runs it
 * is decided here.
 *
 *   records   engine             {"lineage", "token", "voters": {NAME: {...}}}
 *             what there shall be; a voter: member id (hex), client and peer
 *             URLs, state: "adding" | "learner" | "voter" | "leaving".
 *   STATE_DIR/engine.json        this node's own word, durable before each
 *             step: {"engine": "sqlite"|"etcd", "lineage", "member", "token",
 *             "cluster", "node", "voters": [client URLs]}
 *   STATE_DIR/etcd/              etcd's directory; RUN_DIR/etcd.out, LOG_DIR/etcd.log
 *
 * How many    1 and 2 members: one voter; 3 and 4: three; from 5 on: five.
 * Who acts    voters_core.h decides the next single step from records, etcd's
 *            own member list and who is heard; the voter with the lowest
 *            number that is heard carries it out. Each step may be repeated.
 *
 * (1) etcd is started on a directory only if engine.json names it and the
 *     directory holds that very member; otherwise this node's member is
 *     removed and added anew under a new identity.
 * (2) The marker (engine.json: etcd) is durable before the first transaction
 *     goes to etcd, and never goes back.
 */
#ifndef CFS_MGMTD_ENGINE_H
#define CFS_MGMTD_ENGINE_H

#include "mgmtd/mgmtd.h"

/* Where etcd is, for whoever talks to it. */
#define ETCD_TARGETS 8u
struct etcd_target {
    unsigned n;
    char     url[ETCD_TARGETS][300]; /* this node's own first */
    char     ca[512], cert[512], key[512]; /* files */
};

/* At start: read engine.json, adopt or start etcd, open the store that it
 * says. m->store is there afterwards (reads work), whether or not etcd is. */
int  engine_open(struct mgmtd *m, struct cfs_err *err);
void engine_close(struct mgmtd *m); /* etcd goes on */

/* From the embedded engine to etcd with one member, this node. @done once the
 * store commits there. -EALREADY is success. Transactions wait meanwhile. */
void engine_go_etcd(struct mgmtd *m, store_done *done, void *arg);
/* A node that joined: follow the cluster's etcd. @info as JOIN answered. */
int  engine_follow(struct mgmtd *m, const json_t *info, struct cfs_err *err);
/* What a joiner must be told to follow: lineage, token, client URLs. */
json_t *engine_info(struct mgmtd *m);
/* Before a member's record is deleted: its etcd member goes first. */
void engine_remove_node(struct mgmtd *m, const char *name, store_done *done,
                        void *arg);
/* After this node was detached: stop etcd, put its directory aside. */
int  engine_forget(struct mgmtd *m, struct cfs_err *err);

/* Verbs of the CLI. */
struct command;
void cluster_status(struct command *c);
void cluster_backup(struct command *c);
void cluster_restore(struct command *c);
void cluster_rebuild(struct command *c);

#endif
