/* SPDX-License-Identifier: Apache-2.0 */
/* trust.h - the cluster's two certificate authorities, this node's own
 * certificate, tokens, and who is not believed any more.
 *
 * Files, in STATE_DIR/trust (0700):
 *   node.key node.crt      this node's; before it is a member: self-signed
 *   node-ca.crt client-ca.crt            whom we believe
 *   node-ca.key client-ca.key            voters only
 *   node.crl client.crl    made again from the store's records; founding and
 *                          accepting write them too, empty: etcd is given
 *                          node.crl at its start and reads it at each handshake
 * Keys are ECDSA P-256. Certificates need serverAuth and clientAuth both
 * (etcd's gateway is a client of its own server); common name: the node's
 * name, or the client's; a node's also has its id as a URI
 * (urn:clusterfs:node:UUID), and as subject alternative names (IP: or DNS:)
 * the address that others reach it at, 127.0.0.1, ::1 and localhost: etcd's
 * members verify the names in each other's URLs. Files are replaced by rename,
 * keys 0600.
 *
 * Life       certificates: a year, renewed by themselves at half of it (those
 *            of clients by who uses them: client_trust.c). The authorities':
 *            thirty.
 *
 * Threads    all here blocks for less than a millisecond or so, but
 *            trust_found() and trust_sign(): fit for the pool.
 * Errors     for people: they name the file.
 */
#ifndef CFS_MGMTD_TRUST_H
#define CFS_MGMTD_TRUST_H

#include <jansson.h>

#include "core/fop.h"
#include "core/log.h"
#include "rpc/tls.h"

struct trust;

enum trust_ca { TRUST_NODES, TRUST_CLIENTS };

#define TRUST_SERIAL 41u /* hex, with its NUL */

/* Reads what is in @dir (STATE_DIR/trust); a node that has nothing gets a key
 * and a certificate signed by itself. */
int  trust_open(const char *dir, const char *node, struct cfs_uuid node_id,
                struct trust **ret, struct cfs_err *err);
void trust_close(struct trust *t);

/* For rpc: mutual TLS with what we have. Reloaded when it changes. */
struct rpc_tls *trust_tls(struct trust *t);
const char     *trust_dir(const struct trust *t);
bool trust_is_founded(const struct trust *t);  /* has a node CA */
bool trust_has_ca_keys(const struct trust *t); /* can sign */
/* SHA-256 of the node CA's certificate, or of our own self-signed one. */
void trust_fingerprint(const struct trust *t,
                       uint8_t ret[static RPC_TLS_PRINT]);

/* Make both authorities, and our own certificate under them, for @host: the
 * address that others reach us at. A repeat after a crash goes on with what is
 * there; with another @host, or another name of ours, it renews our own. */
int trust_found(struct trust *t, struct cfs_uuid cluster, const char *host,
                struct cfs_err *err);

/* Our certificate's serial number, and when half of its life is over, in
 * seconds since 1970. */
void    trust_serial(const struct trust *t, char ret[static TRUST_SERIAL]);
int64_t trust_half_life(const struct trust *t);
int64_t trust_half_life_of(const char *cert); /* 0: it is none */
/* Whether our certificate names @host as the place where we are reached; what
 * cannot stand in one is no reason for another. */
bool    trust_is_for(const struct trust *t, const char *host);
/* Of any certificate; "" when it is none. */
void    trust_serial_of(const char *cert, char ret[static TRUST_SERIAL]);
/* How long certificates that are signed from now on are good, in seconds
 * (a year). */
void    trust_set_life(struct trust *t, long life_s);

/* PEM of our certificate, the authority's, its list; NULL: none here. */
const char *trust_cert(const struct trust *t);
const char *trust_ca_cert(const struct trust *t, enum trust_ca ca);
const char *trust_crl(const struct trust *t, enum trust_ca ca);
/* Whether request and certificate, or both certificates, are for one key. */
bool trust_same_key(const char *cert, const char *csr);
bool trust_same_certified_key(const char *cert, const char *other);
/* A key for somebody who cannot make one (a client's credentials), and a
 * request for it. malloc'ed PEM. */
int trust_new_key(const char *name, char **ret_key, char **ret_csr,
                  struct cfs_err *err);

/* A request to be signed, for our own key. malloc'ed PEM. */
int trust_request(struct trust *t, char **ret_csr, struct cfs_err *err);
/* Sign @csr for @name (for a node also: its @id, and the @host it is reached
 * at; NULL for clients). malloc'ed PEM. -EACCES: no keys of the authority
 * here. */
int trust_sign(struct trust *t, enum trust_ca ca, const char *csr,
               const char *name, const struct cfs_uuid *id, const char *host,
               char **ret_cert, struct cfs_err *err);
/* A new certificate for the key of @old, which that authority signed for
 * @name (a client). malloc'ed PEM. -EINVAL: it did not. */
int trust_sign_again(struct trust *t, enum trust_ca ca, const char *old,
                     const char *name, char **ret_cert, struct cfs_err *err);
/* For a node that becomes a voter: both authorities' keys, {"node_ca_key",
 * "client_ca_key"}, as PEER.CA_KEYS carries them. -EACCES: none here. */
json_t *trust_ca_keys(const struct trust *t, struct cfs_err *err);
/* Take over what a joining node was given; also a renewed certificate, or the
 * authorities' keys, alone. NULL: as it was. Durable when it returns.
 * -EINVAL: what was given does not fit together, or not to our key. */
struct trust_grant {
    const char *cert;
    const char *node_ca, *client_ca;
    const char *node_crl, *client_crl;
    const char *node_ca_key, *client_ca_key;
};
int trust_accept(struct trust *t, const struct trust_grant *g,
                 struct cfs_err *err);
/* Back to nobody's: a new key, no authorities. After a detach. */
int trust_forget(struct trust *t, struct cfs_err *err);
/* Those that are not believed any more: serial numbers as hex. Makes the
 * lists again; only who has the keys can, others take the PEM from the
 * store's record. @number: above that of every list before. */
int trust_revoke(struct trust *t, enum trust_ca ca, const char *const *serials,
                 size_t n, uint64_t number, char **ret_crl,
                 struct cfs_err *err);
/* Those on the list that is used here; an array of hex, the caller's. */
json_t *trust_revoked(const struct trust *t, enum trust_ca ca);
/* No certificate that may have been signed up to now, anywhere, is good for
 * longer, in seconds. */
int64_t trust_longest_life(const struct trust *t);
/* Believe this list from now on, at new connections; for those that are up
 * there is rpc_tls_recheck(). 1: it is the one that was there; 0; -EINVAL: not
 * of our authority; another error: it counts, but is not on disk: try again. */
int trust_set_crl(struct trust *t, enum trust_ca ca, const char *crl,
                  struct cfs_err *err);

/* -- tokens -------------------------------------------------------------- */

/* What one side makes and the other is given, as one word of text:
 * "cfs1-" + base64url of address, fingerprint, secret, end, checksum. */
#define TRUST_SECRET 32u

struct trust_token {
    char     address[256]; /* HOST:PORT of who made it */
    uint8_t  print[RPC_TLS_PRINT];
    uint8_t  secret[TRUST_SECRET];
    int64_t  end; /* seconds since 1970 */
};

char *trust_token_print(const struct trust_token *t); /* malloc'ed */
/* -EINVAL: not such a token, cut short, or mistyped. */
int   trust_token_parse(const char *text, struct trust_token *ret,
                        struct cfs_err *err);
/* As it is stored: SHA-256 of the secret, in hex. */
void  trust_token_hash(const uint8_t secret[static TRUST_SECRET],
                       char ret[static 65]);

#endif
