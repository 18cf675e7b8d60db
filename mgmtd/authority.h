/* SPDX-License-Identifier: Apache-2.0 */
/* authority.h - what the cluster's authorities do, wherever their keys are:
 * they are on the voters only, so another node asks one of those (PEER.SIGN).
 *
 * Renewal    each node renews its certificate at half of its life; those of
 *            clients are, when they come with one (client_trust.c).
 * Revocation the record ca/nodes (ca/clients) has the serial numbers and the
 *            list made of them (revoked.h); every node takes the list from
 *            there.
 */
#ifndef CFS_MGMTD_AUTHORITY_H
#define CFS_MGMTD_AUTHORITY_H

#include "mgmtd/peer.h"
#include "mgmtd/trust.h"

/* A certificate for @csr; @id and @host NULL for clients. @done's result:
 * {"cert": PEM}. */
void authority_sign(struct mgmtd *m, enum trust_ca ca, const char *csr,
                    const char *name, const struct cfs_uuid *id,
                    const char *host, peer_done *done, void *arg);

/* One for the key of @old, a client's that the authority signed. */
void authority_sign_again(struct mgmtd *m, enum trust_ca ca, const char *old,
                          const char *name, peer_done *done, void *arg);
/* @rec, of a node or a client, has the certificate @cert from now on: what is
 * to be revoked some day is "serial" and "serials". */
void authority_note_serial(json_t *rec, const char *cert);

/* Put into @t that @serials (an array of strings; borrowed) are not believed
 * any more: reads the record, has the list made, then calls @done, with the
 * transaction in its hands. */
typedef void authority_revoked(void *arg, struct store_txn *t,
                               uint64_t number, /* of the new list */
                               const struct cfs_err *err); /* NULL: ok */
void authority_revoke(struct mgmtd *m, enum trust_ca ca, json_t *serials,
                      struct store_txn *t, authority_revoked *done, void *arg);

/* This node is reached at another address: its certificate shall say so. */
void authority_renew(struct mgmtd *m);
/* Follow the records ca/, renew; from peers_load() on. */
int  authority_start(struct mgmtd *m, struct cfs_err *err);
void authority_stop(struct mgmtd *m);

#endif
