/* SPDX-License-Identifier: Apache-2.0 */
/* tls_any.h - TLS for tests that want it, and do not care who is who. */
#ifndef CFS_TESTS_UNIT_TLS_ANY_H
#define CFS_TESTS_UNIT_TLS_ANY_H

#include <stdlib.h>

#include "mgmtd/trust_x509.h"
#include "rpc/tls.h"
#include "tests/unit/cfs_test.h"

/* One context for both ends: a certificate, and no choosing. */
static inline struct rpc_tls *tls_any_new(void)
{
    const struct x509_subject s = {"alpha", NULL, NULL};
    struct cfs_err err = {0};
    struct rpc_tls_spec spec;
    EVP_PKEY *key = x509_key_new(&err);
    char *cert_pem, *key_pem;
    struct rpc_tls *t;
    X509 *cert;

    assert_int_equal(x509_self_sign(key, &s, 3600, &cert, &err), 0);
    cert_pem = x509_cert_print(cert);
    key_pem = x509_key_print(key);
    spec = (struct rpc_tls_spec){.cert = cert_pem, .key = key_pem};
    assert_int_equal(rpc_tls_new(&t, &err), 0);
    assert_int_equal(rpc_tls_load(t, &spec, &err), 0);
    rpc_tls_any_server(t);
    X509_free(cert);
    EVP_PKEY_free(key);
    free(cert_pem);
    free(key_pem);
    return t;
}

#endif
