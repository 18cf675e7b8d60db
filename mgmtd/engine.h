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
 *             step: who it is ("node", "id": for life), "engine": "sqlite" |
 *             "etcd", "lineage", "cluster", "token", "voters": [client URLs],
 *             "member" (own, hex) and whether its directory is "fresh";
 *             "machine" and "address" of this node's own (engine_home.c);
 *             "joining": whom it is about to follow.
 *   STATE_DIR/etcd/              etcd's directory; its words: RUN_DIR/etcd.out,
 *             LOG_DIR/etcd.log
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
#include "mgmtd/store/etcd_client.h" /* struct etcd_target */

/* First of all: m->node and m->node_id from engine.json, made durable when
 * this is a new node; then m->store, embedded or the copy of an etcd's, which
 * is adopted or started. Reads work afterwards, whether or not etcd is
 * there. */
int  engine_open(struct mgmtd *m, struct cfs_err *err);
/* With the certificate, before anything of this node's runs: does it run
 * already, elsewhere? -EADDRINUSE with words. May take some seconds, when this
 * machine has not the address that this node is known by. */
int  engine_check_home(struct mgmtd *m, struct cfs_err *err);
/* A member has a line to another process that is this node, which is well. */
void engine_is_twin(struct mgmtd *m);
/* This node's record is there; its address in it changed. */
void engine_placed(struct mgmtd *m);
void engine_moved(struct mgmtd *m);
/* Peers and volumes are loaded: look after members from now on. */
void engine_run(struct mgmtd *m);
/* The end: nothing is begun any more; then, when the store is closed and has
 * answered what was on its way, all is freed. Etcd goes on. */
void engine_end(struct mgmtd *m);
void engine_close(struct mgmtd *m);

/* Nothing says yet that this node is of a cluster, or follows one. */
bool engine_is_nobodys(const struct mgmtd *m);
/* What this node is about to join (an object of the joiner's own making),
 * durable when it returns; NULL: nothing. Ends with engine_follow(). */
int           engine_note_joining(struct mgmtd *m, json_t *what,
                                  struct cfs_err *err); /* taken over */
const json_t *engine_joining(const struct mgmtd *m);

/* Found a cluster of this node, unless there is one: both authorities, then
 * in one transaction the records cluster, node/NAME (number 1), ca/nodes and
 * ca/clients. @name: the cluster's, or NULL; @host: where others reach this
 * node, NULL: by cluster.conf, else the first address that is not loopback. */
void cluster_found(struct mgmtd *m, const char *name, const char *host,
                   store_done *done, void *arg);
/* The same into a transaction of the caller's, who sets m->founded when it is
 * committed. Makes the keys: some milliseconds. */
int cluster_found_put(struct mgmtd *m, struct store_txn *t, const char *name,
                      const char *host, struct cfs_err *err);

/* From the embedded engine to etcd with one member, this node. @done once the
 * store commits there. -EALREADY is success. Transactions wait meanwhile.
 * Needs a founded cluster, and the record node/NAME with the host that the
 * others reach this node at. */
void engine_go_etcd(struct mgmtd *m, store_done *done, void *arg);
/* A node that joined: follow the cluster's etcd. @info as JOIN answered. */
int  engine_follow(struct mgmtd *m, const json_t *info, struct cfs_err *err);
/* What a joiner must be told to follow: cluster, lineage, token, voters. */
json_t *engine_info(struct mgmtd *m);
/* Before a member's record is deleted: its etcd member goes first, and if it
 * is the only one another node's comes in its place. */
void engine_remove_node(struct mgmtd *m, const char *name, store_done *done,
                        void *arg);
/* After this node was detached: stop etcd, put its directory aside. */
int  engine_forget(struct mgmtd *m, struct cfs_err *err);

/* A peer of this cluster said that it is in a higher lineage than we: our etcd
 * is stopped, and engine_is_nobodys() from now on, so that it can join. */
void engine_superseded(struct mgmtd *m, uint64_t lineage);
/* Our certificate, or whom we believe, changed on the disk. */
void engine_trust_changed(struct mgmtd *m);
/* Why a change cannot be committed now, with the names of those that are
 * missing, into @err, when @err is of that kind; else it stays. */
void engine_explain(struct mgmtd *m, struct cfs_err *err);
/* A line for people when the copy that is shown may be old; NULL: it is not.
 * malloc'ed. */
char *engine_note(struct mgmtd *m);

/* Verbs of the CLI. */
struct command;
void cluster_create(struct command *c);
void cluster_status(struct command *c);
void cluster_backup(struct command *c);
void cluster_restore(struct command *c);
void cluster_rebuild(struct command *c);

#endif
