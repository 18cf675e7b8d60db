/* SPDX-License-Identifier: Apache-2.0 */
/* trust_x509.h - making keys, certificates, requests and lists of revoked
 * ones, with OpenSSL. No files: trust.c keeps them.
 *
 * Shapes     PEM texts come malloc'ed. Serial numbers are hex, 16 bytes.
 * Clocks     what is made is good from a day ago, for nodes whose clocks are
 *            behind.
 * Errors     negative, with what OpenSSL says. */
#ifndef CFS_MGMTD_TRUST_X509_H
#define CFS_MGMTD_TRUST_X509_H

#include <openssl/x509.h>

#include "core/err.h"
#include "core/fop.h"

#define X509_DAY  (24 * 3600)
#define X509_YEAR (365 * X509_DAY)
#define X509_CA_LIFE ((long)30 * X509_YEAR)

/* Whose certificate it shall be. */
struct x509_subject {
    const char            *name; /* common name */
    const struct cfs_uuid *id;   /* a node's; NULL: a client's */
    const char            *host; /* address or name; NULL: none */
};

/* An authority: its certificate and, where it is, its key. */
struct x509_ca {
    X509     *cert;
    EVP_PKEY *key;
};

EVP_PKEY *x509_key_new(struct cfs_err *err); /* NULL: failed */
EVP_PKEY *x509_key_read(const char *pem);    /* NULL: it is none */
X509     *x509_cert_read(const char *pem);
char     *x509_key_print(EVP_PKEY *key);     /* NULL: no memory */
char     *x509_cert_print(X509 *cert);

/* Signed by itself. */
int x509_ca_new(const char *name, EVP_PKEY *key, X509 **ret,
                struct cfs_err *err);
int x509_self_sign(EVP_PKEY *key, const struct x509_subject *s, long life_s,
                   X509 **ret, struct cfs_err *err);
int x509_request(EVP_PKEY *key, const char *name, char **ret_pem,
                 struct cfs_err *err);
/* Nothing of the request is taken over but its key. -EINVAL: not a request,
 * or not signed with its key, or not a key as ours are. */
int x509_sign(const struct x509_ca *ca, const char *csr,
              const struct x509_subject *s, long life_s, X509 **ret,
              struct cfs_err *err);
int x509_sign_key(const struct x509_ca *ca, EVP_PKEY *key,
                  const struct x509_subject *s, long life_s, X509 **ret,
                  struct cfs_err *err);
/* @serial: hex. @number grows with each list. */
int x509_crl(const struct x509_ca *ca, const char *const *serial, size_t n,
             uint64_t number, char **ret_pem, struct cfs_err *err);

/* Those on a list, malloc'ed as *ret and each of it; 0: none, and no *ret. */
size_t x509_crl_serials(const char *pem, char ***ret);

/* Hex, up to 20 bytes, with the NUL. */
#define X509_SERIAL_TEXT 41u
void x509_serial(const X509 *cert, char ret[static X509_SERIAL_TEXT]);
/* Seconds since 1970 from when to when it is good. */
int x509_times(const X509 *cert, int64_t *ret_from, int64_t *ret_to);
/* Whether the request is for the key of @cert. */
bool x509_request_fits(const char *csr, X509 *cert);
bool x509_is_for(X509 *cert, const struct x509_subject *s);
/* Whether @host can stand in a certificate. */
bool x509_host_valid(const char *host);

#endif
