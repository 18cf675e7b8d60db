/* SPDX-License-Identifier: Apache-2.0 */
/* join.h - becoming a member: both sides. The order of events is in
 * docs/cluster.md; a token's form in trust.h.
 *
 * Answers to JOIN that are final (the token is wrong, old or used; the name is
 * taken; ...) change nothing on either side. After any other failure the
 * joiner cannot know whether it is a member: it goes on asking, with the same
 * id and key, until it knows; also after a restart.
 */
#ifndef CFS_MGMTD_JOIN_H
#define CFS_MGMTD_JOIN_H

#include "mgmtd/peer.h"
#include "mgmtd/trust.h"

/* -- the joiner: join.c -------------------------------------------------- */

/* Join with @token (text) the cluster of @host ("HOST" or "HOST:PORT"; NULL or
 * "": the address in the token). @own: address that others shall reach this
 * node at; NULL or "": the one that the other side sees. @done once, not from
 * inside. -EALREADY, -EBUSY: this node is, or is about to be, of a cluster. */
void join_begin(struct mgmtd *m, const char *token, const char *host,
                const char *own, store_done *done, void *arg);
/* At start: go on with a join that was cut off; or begin the one of
 * CONFIG_DIR/join-token. */
void join_resume(struct mgmtd *m);
void join_close(struct mgmtd *m);

/* -- tokens: join_token.c ------------------------------------------------ */

enum join_kind {
    JOIN_MEMBER, /* made by a member: who has it may join */
    JOIN_INVITE, /* made by a node that is nobody's: who has it may invite */
};

#define JOIN_TOKEN_SECONDS (24 * 3600)

/* A new one, recorded as token/HASH. @done's json: {"token", "end", "kind"};
 * borrowed. @address: where its maker is reached. */
typedef void join_token_done(void *arg, json_t *token,
                             const struct cfs_err *err);
void join_token_new(struct mgmtd *m, enum join_kind kind, const char *address,
                    int64_t seconds, const char *replace,
                    join_token_done *done, void *arg);
/* The record of the token with @secret (hex), if it is of @kind and not over.
 * -EACCES otherwise. @ret_rec is the caller's; @ret_key malloc'ed. */
int join_token_look(struct mgmtd *m, enum join_kind kind, const char *secret,
                    char **ret_key, json_t **ret_rec, uint64_t *ret_token,
                    struct cfs_err *err);
/* 32 bytes as 64 digits, and back. */
void join_hex(const uint8_t b[static TRUST_SECRET], char ret[static 65]);
int  join_unhex(const char *s, uint8_t ret[static TRUST_SECRET]);

/* Where others reach this node, as far as it knows: its record, or an address
 * of this machine. HOST:PORT, malloc'ed. */
char *join_own_address(struct mgmtd *m);

#endif
