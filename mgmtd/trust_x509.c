/* SPDX-License-Identifier: Apache-2.0 */
/* trust_x509.c - keys, certificates, requests, lists; see trust_x509.h. */
#include "mgmtd/trust_x509.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "mgmtd/mem.h"

#define SERIAL_BYTES 16

static int failed(struct cfs_err *err, int rc, const char *what)
{
    const char *s = ERR_reason_error_string(ERR_get_error());

    ERR_clear_error();
    return cfs_err_set(err, rc, "%s: %s", what,
                       s ? s : "OpenSSL does not say why");
}

/* -- keys and texts ------------------------------------------------------ */

EVP_PKEY *x509_key_new(struct cfs_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    if (!key)
        failed(err, -EIO, "cannot make a key");
    return key;
}

/* For every text: otherwise one that says that it is encrypted, even a request,
 * makes OpenSSL ask for a password on the terminal. */
static int no_password(char *buf, int size, int rw, void *arg)
{
    return -1;
}

EVP_PKEY *x509_key_read(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key =
        bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

    BIO_free(bio);
    ERR_clear_error();
    return key;
}

X509 *x509_cert_read(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;

    BIO_free(bio);
    ERR_clear_error();
    return cert;
}

/* What was written to @bio, which goes. */
static char *text_of(BIO *bio, int ok)
{
    char *p, *text = NULL;
    long len = ok == 1 ? BIO_get_mem_data(bio, &p) : 0;

    if (len > 0)
        text = mem_ok(strndup(p, (size_t)len));
    BIO_free(bio);
    ERR_clear_error();
    return text;
}

char *x509_key_print(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());

    return bio ? text_of(bio, PEM_write_bio_PKCS8PrivateKey(
                                  bio, key, NULL, NULL, 0, NULL, NULL))
               : NULL;
}

char *x509_cert_print(X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());

    return bio ? text_of(bio, PEM_write_bio_X509(bio, cert)) : NULL;
}

/* -- certificates -------------------------------------------------------- */

bool x509_host_valid(const char *host)
{
    if (!*host || strlen(host) > 253)
        return false;
    for (const char *p = host; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                    "0123456789.-_:", *p))
            return false;
    return true;
}

static bool is_ip(const char *host)
{
    struct in6_addr a;

    return inet_pton(AF_INET, host, &a) == 1 ||
           inet_pton(AF_INET6, host, &a) == 1;
}

static int set_serial(X509 *cert)
{
    uint8_t bytes[SERIAL_BYTES];
    BIGNUM *bn;
    int ok;

    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return 0;
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, full length */
    bn = BN_bin2bn(bytes, sizeof bytes, NULL);
    ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) != NULL;
    BN_free(bn);
    return ok;
}

static int add_ext(X509 *cert, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    int ok = ext && X509_add_ext(cert, ext, -1) == 1;

    X509_EXTENSION_free(ext);
    return ok;
}

static int set_name(X509 *cert, const char *name)
{
    return X509_NAME_add_entry_by_NID(
        X509_get_subject_name(cert), NID_commonName, MBSTRING_UTF8,
        (const unsigned char *)name, -1, -1, 0);
}

/* A certificate for @key, all but its issuer, extensions and signature. */
static X509 *cert_new(EVP_PKEY *key, const char *name, long life_s)
{
    X509 *cert = X509_new();

    if (cert && X509_set_version(cert, 2) && set_serial(cert) &&
        X509_gmtime_adj(X509_getm_notBefore(cert), -(long)X509_DAY) &&
        X509_gmtime_adj(X509_getm_notAfter(cert), life_s) &&
        X509_set_pubkey(cert, key) && set_name(cert, name))
        return cert;
    X509_free(cert);
    return NULL;
}

int x509_ca_new(const char *name, EVP_PKEY *key, X509 **ret,
                struct cfs_err *err)
{
    X509 *cert = cert_new(key, name, X509_CA_LIFE);
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    if (cert && X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
        add_ext(cert, &ctx, NID_basic_constraints,
                "critical,CA:TRUE,pathlen:0") &&
        add_ext(cert, &ctx, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        add_ext(cert, &ctx, NID_subject_key_identifier, "hash") &&
        X509_sign(cert, key, EVP_sha256()) > 0) {
        *ret = cert;
        return 0;
    }
    X509_free(cert);
    return failed(err, -EIO, "cannot make an authority's certificate");
}

/* What else @s is known by, as X509V3_EXT_conf_nid() reads it; NULL: nothing.
 * A node's own addresses are in it, since etcd's members check them. */
static char *alt_names(const struct x509_subject *s)
{
    char id[CFS_UUID_STR];
    char *host, *text;

    if (!s->id)
        return NULL;
    cfs_uuid_print(*s->id, id);
    host = s->host ? mem_printf(",%s:%s", is_ip(s->host) ? "IP" : "DNS",
                                s->host)
                   : mem_str("");
    text = mem_printf("URI:urn:clusterfs:node:%s%s,IP:127.0.0.1,IP:::1,"
                      "DNS:localhost", id, host);
    free(host);
    return text;
}

static int add_leaf_exts(X509 *cert, X509 *issuer,
                         const struct x509_subject *s)
{
    char *names = alt_names(s);
    X509V3_CTX ctx;
    int ok;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ok = add_ext(cert, &ctx, NID_basic_constraints, "critical,CA:FALSE") &&
         add_ext(cert, &ctx, NID_key_usage, "critical,digitalSignature") &&
         add_ext(cert, &ctx, NID_ext_key_usage, "serverAuth,clientAuth") &&
         add_ext(cert, &ctx, NID_subject_key_identifier, "hash") &&
         (issuer == cert || add_ext(cert, &ctx, NID_authority_key_identifier,
                                    "keyid:always")) &&
         (!names || add_ext(cert, &ctx, NID_subject_alt_name, names));
    free(names);
    return ok;
}

static int check_subject(const struct x509_subject *s, struct cfs_err *err)
{
    if (!*s->name || strlen(s->name) > 64)
        return cfs_err_set(err, -EINVAL, "%.80s: a name in a certificate has "
                           "1 to 64 bytes", s->name);
    if (s->host && !x509_host_valid(s->host))
        return cfs_err_set(err, -EINVAL, "%.80s: not a host's address or name",
                           s->host);
    return 0;
}

int x509_self_sign(EVP_PKEY *key, const struct x509_subject *s, long life_s,
                   X509 **ret, struct cfs_err *err)
{
    int rc = check_subject(s, err);
    X509 *cert;

    if (rc < 0)
        return rc;
    cert = cert_new(key, s->name, life_s);
    if (cert && X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
        add_leaf_exts(cert, cert, s) &&
        X509_sign(cert, key, EVP_sha256()) > 0) {
        *ret = cert;
        return 0;
    }
    X509_free(cert);
    return failed(err, -EIO, "cannot make a certificate");
}

int x509_sign_key(const struct x509_ca *ca, EVP_PKEY *key,
                  const struct x509_subject *s, long life_s, X509 **ret,
                  struct cfs_err *err)
{
    int rc = check_subject(s, err);
    X509 *cert;

    if (rc < 0)
        return rc;
    cert = cert_new(key, s->name, life_s);
    if (cert &&
        X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) &&
        add_leaf_exts(cert, ca->cert, s) &&
        X509_sign(cert, ca->key, EVP_sha256()) > 0) {
        *ret = cert;
        return 0;
    }
    X509_free(cert);
    return failed(err, -EIO, "cannot sign a certificate");
}

/* -- requests ------------------------------------------------------------ */

int x509_request(EVP_PKEY *key, const char *name, char **ret_pem,
                 struct cfs_err *err)
{
    X509_REQ *req = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    int ok;

    ok = req && bio && X509_REQ_set_version(req, 0) &&
         X509_NAME_add_entry_by_NID(X509_REQ_get_subject_name(req),
                                    NID_commonName, MBSTRING_UTF8,
                                    (const unsigned char *)name, -1, -1, 0) &&
         X509_REQ_set_pubkey(req, key) &&
         X509_REQ_sign(req, key, EVP_sha256()) > 0 &&
         PEM_write_bio_X509_REQ(bio, req) == 1;
    if (ok)
        text = text_of(bio, 1);
    else
        BIO_free(bio);
    X509_REQ_free(req);
    if (!text)
        return failed(err, -EIO, "cannot make a request for a certificate");
    *ret_pem = text;
    return 0;
}

/* Keys of other kinds could be weak, or expensive to verify. */
static bool is_p256(const EVP_PKEY *key)
{
    char group[64];
    size_t len;

    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

int x509_sign(const struct x509_ca *ca, const char *csr,
              const struct x509_subject *s, long life_s, X509 **ret,
              struct cfs_err *err)
{
    BIO *bio = BIO_new_mem_buf(csr, -1);
    X509_REQ *req =
        bio ? PEM_read_bio_X509_REQ(bio, NULL, no_password, NULL) : NULL;
    EVP_PKEY *key = req ? X509_REQ_get0_pubkey(req) : NULL;
    int rc;

    if (key && is_p256(key) && X509_REQ_verify(req, key) == 1)
        rc = x509_sign_key(ca, key, s, life_s, ret, err);
    else
        rc = cfs_err_set(err, -EINVAL, "not a request for a certificate that "
                         "is signed with its own key (ECDSA P-256)");
    X509_REQ_free(req);
    BIO_free(bio);
    ERR_clear_error();
    return rc;
}

bool x509_request_fits(const char *csr, X509 *cert)
{
    BIO *bio = BIO_new_mem_buf(csr, -1);
    X509_REQ *req =
        bio ? PEM_read_bio_X509_REQ(bio, NULL, no_password, NULL) : NULL;
    EVP_PKEY *key = req ? X509_REQ_get0_pubkey(req) : NULL;
    bool fits = key && EVP_PKEY_eq(key, X509_get0_pubkey(cert)) == 1;

    X509_REQ_free(req);
    BIO_free(bio);
    ERR_clear_error();
    return fits;
}

/* -- revoked ones -------------------------------------------------------- */

static int add_revoked(X509_CRL *crl, const char *serial, ASN1_TIME *when)
{
    X509_REVOKED *r = X509_REVOKED_new();
    ASN1_INTEGER *no = NULL;
    BIGNUM *bn = NULL;
    int ok;

    ok = r && *serial && strlen(serial) < X509_SERIAL_TEXT &&
         BN_hex2bn(&bn, serial) == (int)strlen(serial) && !BN_is_negative(bn);
    no = ok ? BN_to_ASN1_INTEGER(bn, NULL) : NULL;
    ok = no && X509_REVOKED_set_serialNumber(r, no) &&
         X509_REVOKED_set_revocationDate(r, when) &&
         X509_CRL_add0_revoked(crl, r);
    if (!ok)
        X509_REVOKED_free(r);
    ASN1_INTEGER_free(no);
    BN_free(bn);
    return ok;
}

static int add_number(X509_CRL *crl, uint64_t number)
{
    ASN1_INTEGER *no = ASN1_INTEGER_new();
    int ok = no && ASN1_INTEGER_set_uint64(no, number) &&
             X509_CRL_add1_ext_i2d(crl, NID_crl_number, no, 0, 0) == 1;

    ASN1_INTEGER_free(no);
    return ok;
}

/* It does not run out: the store carries a new one at once where it matters,
 * and nobody should be locked out for want of a fresh list. */
static int fill_crl(X509_CRL *crl, const struct x509_ca *ca,
                    const char *const *serial, size_t n, uint64_t number)
{
    ASN1_TIME *from = X509_gmtime_adj(NULL, -(long)X509_DAY);
    ASN1_TIME *to = X509_gmtime_adj(NULL, X509_CA_LIFE);
    X509V3_CTX ctx;
    X509_EXTENSION *aki;
    int ok;

    X509V3_set_ctx(&ctx, ca->cert, NULL, NULL, crl, 0);
    aki = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier,
                              "keyid:always");
    ok = from && to && aki && X509_CRL_set_version(crl, 1) &&
         X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->cert)) &&
         X509_CRL_set1_lastUpdate(crl, from) &&
         X509_CRL_set1_nextUpdate(crl, to) &&
         X509_CRL_add_ext(crl, aki, -1) && add_number(crl, number);
    for (size_t i = 0; i < n && ok; i++)
        ok = add_revoked(crl, serial[i], from);
    X509_EXTENSION_free(aki);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return ok;
}

int x509_crl(const struct x509_ca *ca, const char *const *serial, size_t n,
             uint64_t number, char **ret_pem, struct cfs_err *err)
{
    X509_CRL *crl = X509_CRL_new();
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;

    if (crl && bio && fill_crl(crl, ca, serial, n, number)) {
        X509_CRL_sort(crl);
        if (X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0)
            text = text_of(bio, PEM_write_bio_X509_CRL(bio, crl));
        else
            BIO_free(bio);
    } else {
        BIO_free(bio);
    }
    X509_CRL_free(crl);
    if (!text)
        return failed(err, -EIO, "cannot make the list of those that are "
                                 "revoked");
    *ret_pem = text;
    return 0;
}

/* -- looking ------------------------------------------------------------- */

static void serial_text(const ASN1_INTEGER *no,
                        char ret[static X509_SERIAL_TEXT])
{
    BIGNUM *bn = ASN1_INTEGER_to_BN(no, NULL);
    char *hex = bn ? BN_bn2hex(bn) : NULL;

    if (hex && strlen(hex) < X509_SERIAL_TEXT)
        strcpy(ret, hex);
    else
        ret[0] = '\0';
    OPENSSL_free(hex);
    BN_free(bn);
}

void x509_serial(const X509 *cert, char ret[static X509_SERIAL_TEXT])
{
    serial_text(X509_get0_serialNumber(cert), ret);
}

size_t x509_crl_serials(const char *pem, char ***ret)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509_CRL *crl =
        bio ? PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL) : NULL;
    STACK_OF(X509_REVOKED) *all = crl ? X509_CRL_get_REVOKED(crl) : NULL;
    const int n = all ? sk_X509_REVOKED_num(all) : 0;

    if (n > 0)
        *ret = mem_new((size_t)n * sizeof **ret);
    for (int i = 0; i < n; i++) {
        char one[X509_SERIAL_TEXT];

        serial_text(X509_REVOKED_get0_serialNumber(
                        sk_X509_REVOKED_value(all, i)), one);
        (*ret)[i] = mem_str(one);
    }
    X509_CRL_free(crl);
    BIO_free(bio);
    ERR_clear_error();
    return n > 0 ? (size_t)n : 0;
}

int x509_times(const X509 *cert, int64_t *ret_from, int64_t *ret_to)
{
    struct tm from, to;

    if (ASN1_TIME_to_tm(X509_get0_notBefore(cert), &from) != 1 ||
        ASN1_TIME_to_tm(X509_get0_notAfter(cert), &to) != 1)
        return -EINVAL;
    *ret_from = timegm(&from);
    *ret_to = timegm(&to);
    return 0;
}

bool x509_is_for(X509 *cert, const struct x509_subject *s)
{
    char name[256];

    if (X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName,
                                  name, sizeof name) < 0 ||
        strcmp(name, s->name) != 0)
        return false;
    if (!s->host)
        return true;
    return is_ip(s->host) ? X509_check_ip_asc(cert, s->host, 0) == 1
                          : X509_check_host(cert, s->host, 0, 0, NULL) == 1;
}
