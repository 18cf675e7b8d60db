/* SPDX-License-Identifier: Apache-2.0 */
/* trust.c - the files of trust.h, and the TLS context made of them.
 *
 * node-ca.crt is written last by whatever makes this node a member, and
 * removed first by what ends that: a node with it has everything else.
 */
#include "mgmtd/trust.h"

#include <openssl/crypto.h>
#include <stdio.h>

#include "core/host.h"
#include "mgmtd/file.h"
#include "mgmtd/mem.h"
#include "mgmtd/trust_x509.h"

enum trust_file {
    NODE_KEY,
    NODE_CRT,
    CLIENT_CA_KEY,
    CLIENT_CA_CRT,
    CLIENT_CRL,
    NODE_CA_KEY,
    NODE_CRL,
    NODE_CA_CRT,
    N_FILES,
};

static const struct {
    const char *name;
    mode_t      mode;
} files[N_FILES] = {
    [NODE_KEY] = {"node.key", 0600},
    [NODE_CRT] = {"node.crt", 0644},
    [CLIENT_CA_KEY] = {"client-ca.key", 0600},
    [CLIENT_CA_CRT] = {"client-ca.crt", 0644},
    [CLIENT_CRL] = {"client.crl", 0644},
    [NODE_CA_KEY] = {"node-ca.key", 0600},
    [NODE_CRL] = {"node.crl", 0644},
    [NODE_CA_CRT] = {"node-ca.crt", 0644},
};

struct trust {
    char           *dir;
    char           *node;
    struct cfs_uuid id;
    long            life_s;
    char           *text[N_FILES]; /* PEM; NULL: there is none */
    bool            unsaved[N_FILES]; /* the file is older */
    struct rpc_tls *tls;
};

/* -- files --------------------------------------------------------------- */

static char *path_of(const struct trust *t, enum trust_file f)
{
    return mem_printf("%s/%s", t->dir, files[f].name);
}

static int get(struct trust *t, enum trust_file f, struct cfs_err *err)
{
    char *path = path_of(t, f);
    int rc = file_get(path, &t->text[f], err);

    free(path);
    return rc == -ENOENT ? 0 : rc;
}

/* @text is copied; on disk first. */
static int put(struct trust *t, enum trust_file f, const char *text,
               struct cfs_err *err)
{
    char *path = path_of(t, f);
    int rc = file_put(path, text, files[f].mode, err);

    free(path);
    t->unsaved[f] = rc < 0;
    if (rc == 0) {
        char *copy = mem_str(text); /* it may be the old one */

        free(t->text[f]);
        t->text[f] = copy;
    }
    return rc;
}

static int drop(struct trust *t, enum trust_file f, struct cfs_err *err)
{
    char *path = path_of(t, f);
    int rc = file_remove(path, err);

    free(path);
    if (rc == 0) {
        free(t->text[f]);
        t->text[f] = NULL;
    }
    return rc;
}

static int bad_file(const struct trust *t, enum trust_file f,
                    struct cfs_err *err)
{
    return cfs_err_set(err, -CFS_E_CORRUPT, "%s/%s: damaged; restore it from "
                       "a backup of that folder, or detach this node on "
                       "another one and let it join anew", t->dir,
                       files[f].name);
}

/* -- TLS ----------------------------------------------------------------- */

static int reload(struct trust *t, struct cfs_err *err)
{
    const bool founded = trust_is_founded(t);
    const struct rpc_tls_spec spec = {
        .cert = t->text[NODE_CRT],
        .key = t->text[NODE_KEY],
        .node_ca = founded ? t->text[NODE_CA_CRT] : NULL,
        .client_ca = founded ? t->text[CLIENT_CA_CRT] : NULL,
        .node_crl = founded ? t->text[NODE_CRL] : NULL,
        .client_crl = founded ? t->text[CLIENT_CRL] : NULL,
    };
    struct cfs_err why = {0};
    int rc = rpc_tls_load(t->tls, &spec, &why);

    return rc < 0 ? cfs_err_set(err, rc, "%s: %s", t->dir, why.text) : 0;
}

struct rpc_tls *trust_tls(struct trust *t)
{
    return t->tls;
}

const char *trust_dir(const struct trust *t)
{
    return t->dir;
}

bool trust_is_founded(const struct trust *t)
{
    return t->text[NODE_CA_CRT] != NULL;
}

bool trust_has_ca_keys(const struct trust *t)
{
    return trust_is_founded(t) && t->text[NODE_CA_KEY] &&
           t->text[CLIENT_CA_KEY];
}

const char *trust_ca_cert(const struct trust *t, enum trust_ca ca)
{
    return t->text[ca == TRUST_NODES ? NODE_CA_CRT : CLIENT_CA_CRT];
}

static void print_of(const char *pem, uint8_t ret[static RPC_TLS_PRINT])
{
    X509 *cert = x509_cert_read(pem);
    unsigned len = RPC_TLS_PRINT;

    memset(ret, 0, RPC_TLS_PRINT);
    if (cert)
        X509_digest(cert, EVP_sha256(), ret, &len);
    X509_free(cert);
}

void trust_fingerprint(const struct trust *t,
                       uint8_t ret[static RPC_TLS_PRINT])
{
    print_of(t->text[trust_is_founded(t) ? NODE_CA_CRT : NODE_CRT], ret);
}

/* -- our own certificate ------------------------------------------------- */

void trust_serial_of(const char *pem, char ret[static TRUST_SERIAL])
{
    X509 *cert = x509_cert_read(pem);

    static_assert(TRUST_SERIAL == X509_SERIAL_TEXT, "one shape");
    ret[0] = '\0';
    if (cert)
        x509_serial(cert, ret);
    X509_free(cert);
}

void trust_serial(const struct trust *t, char ret[static TRUST_SERIAL])
{
    trust_serial_of(t->text[NODE_CRT], ret);
}

int64_t trust_half_life_of(const char *pem)
{
    X509 *cert = x509_cert_read(pem);
    int64_t from = 0, to = 0;

    if (!cert)
        return 0;
    x509_times(cert, &from, &to);
    X509_free(cert);
    from += X509_DAY; /* by which it was antedated */
    return from + (to - from) / 2;
}

int64_t trust_half_life(const struct trust *t)
{
    return trust_half_life_of(t->text[NODE_CRT]);
}

bool trust_is_for(const struct trust *t, const char *host)
{
    const struct x509_subject subject = {t->node, &t->id, host};
    X509 *own;
    bool fits;

    if (!host || !x509_host_valid(host))
        return true;
    own = x509_cert_read(t->text[NODE_CRT]);
    fits = own && x509_is_for(own, &subject);
    X509_free(own);
    return fits;
}

int64_t trust_longest_life(const struct trust *t)
{
    const int64_t usual = X509_YEAR;

    return (t->life_s > usual ? t->life_s : usual) + 2 * (int64_t)X509_DAY;
}

void trust_set_life(struct trust *t, long life_s)
{
    t->life_s = life_s;
}

/* Sign for ourselves; @ca NULL: by our own key. */
static int make_own(struct trust *t, const struct x509_ca *ca,
                    const char *host, struct cfs_err *err)
{
    const struct x509_subject subject = {t->node, &t->id, host};
    EVP_PKEY *key = x509_key_read(t->text[NODE_KEY]);
    X509 *cert = NULL;
    char *pem;
    int rc;

    if (!key)
        return bad_file(t, NODE_KEY, err);
    rc = ca ? x509_sign_key(ca, key, &subject, t->life_s, &cert, err)
            : x509_self_sign(key, &subject, 10L * X509_YEAR, &cert, err);
    if (rc == 0) {
        pem = mem_ok(x509_cert_print(cert));
        rc = put(t, NODE_CRT, pem, err);
        free(pem);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

/* A key and its file. */
static int make_key(struct trust *t, enum trust_file f, struct cfs_err *err)
{
    EVP_PKEY *key = x509_key_new(err);
    char *pem;
    int rc;

    if (!key)
        return -EIO;
    pem = mem_ok(x509_key_print(key));
    rc = put(t, f, pem, err);
    OPENSSL_cleanse(pem, strlen(pem));
    free(pem);
    EVP_PKEY_free(key);
    return rc;
}

static int make_nobody(struct trust *t, struct cfs_err *err)
{
    int rc = t->text[NODE_KEY] ? 0 : make_key(t, NODE_KEY, err);

    return rc == 0 && !t->text[NODE_CRT] ? make_own(t, NULL, NULL, err) : rc;
}

/* -- life ---------------------------------------------------------------- */

void trust_close(struct trust *t)
{
    if (!t)
        return;
    for (unsigned f = 0; f < N_FILES; f++) {
        if (t->text[f])
            OPENSSL_cleanse(t->text[f], strlen(t->text[f]));
        free(t->text[f]);
    }
    rpc_tls_unref(t->tls);
    free(t->dir);
    free(t->node);
    free(t);
}

int trust_open(const char *dir, const char *node, struct cfs_uuid node_id,
               struct trust **ret, struct cfs_err *err)
{
    struct trust *t = mem_new(sizeof *t);
    int rc;

    t->dir = mem_str(dir);
    t->node = mem_str(node);
    t->id = node_id;
    t->life_s = X509_YEAR;
    rc = cfs_mkdirs(dir, 0700);
    if (rc < 0)
        cfs_err_set(err, rc, "%s: %s", dir, cfs_err_str(rc));
    for (unsigned f = 0; f < N_FILES && rc == 0; f++)
        rc = get(t, f, err);
    if (rc == 0 && trust_is_founded(t) &&
        (!t->text[NODE_KEY] || !t->text[NODE_CRT] ||
         !t->text[CLIENT_CA_CRT]))
        rc = bad_file(t, !t->text[NODE_KEY] ? NODE_KEY
                         : !t->text[NODE_CRT] ? NODE_CRT : CLIENT_CA_CRT,
                      err);
    if (rc == 0)
        rc = make_nobody(t, err);
    if (rc == 0)
        rc = rpc_tls_new(&t->tls, err);
    if (rc == 0)
        rc = reload(t, err);
    if (rc < 0)
        trust_close(t);
    else
        *ret = t;
    return rc;
}

/* -- authorities --------------------------------------------------------- */

static void ca_free(struct x509_ca *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
    *ca = (struct x509_ca){0};
}

static int ca_read(const struct trust *t, enum trust_ca which,
                   struct x509_ca *ret, struct cfs_err *err)
{
    const enum trust_file crt =
        which == TRUST_NODES ? NODE_CA_CRT : CLIENT_CA_CRT;
    const enum trust_file key =
        which == TRUST_NODES ? NODE_CA_KEY : CLIENT_CA_KEY;

    if (!t->text[crt] || !t->text[key])
        return cfs_err_set(err, -EACCES, "the authority's key is not on this "
                           "node, only on those that vote");
    ret->cert = x509_cert_read(t->text[crt]);
    ret->key = x509_key_read(t->text[key]);
    if (ret->cert && ret->key && X509_check_private_key(ret->cert, ret->key))
        return 0;
    ca_free(ret);
    return bad_file(t, key, err);
}

/* An empty list, for who wants a file. */
static int make_crl(struct trust *t, enum trust_file f,
                    const struct x509_ca *ca, struct cfs_err *err)
{
    char *pem;
    int rc = x509_crl(ca, NULL, 0, 1, &pem, err);

    if (rc == 0) {
        rc = put(t, f, pem, err);
        free(pem);
    }
    return rc;
}

/* A new authority: its key's file, and its list's. The certificate's text is
 * the caller's to put. */
static int make_ca(struct trust *t, enum trust_file key, enum trust_file crl,
                   const char *name, struct x509_ca *ret, struct cfs_err *err)
{
    struct x509_ca ca = {0};
    int rc = make_key(t, key, err);

    if (rc < 0)
        return rc;
    ca.key = x509_key_read(t->text[key]);
    if (!ca.key)
        return bad_file(t, key, err);
    rc = x509_ca_new(name, ca.key, &ca.cert, err);
    if (rc == 0)
        rc = make_crl(t, crl, &ca, err);
    if (rc < 0)
        ca_free(&ca);
    else
        *ret = ca;
    return rc;
}

static int put_ca(struct trust *t, enum trust_file f,
                  const struct x509_ca *ca, struct cfs_err *err)
{
    char *pem = mem_ok(x509_cert_print(ca->cert));
    int rc = put(t, f, pem, err);

    free(pem);
    return rc;
}

static int found_new(struct trust *t, struct cfs_uuid cluster,
                     const char *host, struct cfs_err *err)
{
    struct x509_ca nodes = {0}, clients = {0};
    char id[CFS_UUID_STR], name[65];
    int rc;

    cfs_uuid_print(cluster, id);
    snprintf(name, sizeof name, "clusterfs clients %s", id);
    rc = make_ca(t, CLIENT_CA_KEY, CLIENT_CRL, name, &clients, err);
    if (rc == 0)
        rc = put_ca(t, CLIENT_CA_CRT, &clients, err);
    snprintf(name, sizeof name, "clusterfs nodes %s", id);
    if (rc == 0)
        rc = make_ca(t, NODE_CA_KEY, NODE_CRL, name, &nodes, err);
    if (rc == 0)
        rc = make_own(t, &nodes, host, err);
    if (rc == 0)
        rc = put_ca(t, NODE_CA_CRT, &nodes, err);
    ca_free(&nodes);
    ca_free(&clients);
    return rc;
}

int trust_found(struct trust *t, struct cfs_uuid cluster, const char *host,
                struct cfs_err *err)
{
    const struct x509_subject subject = {t->node, &t->id, host};
    struct x509_ca ca = {0};
    X509 *own;
    bool fits;
    int rc;

    if (host && !x509_host_valid(host))
        return cfs_err_set(err, -EINVAL, "%.80s: not a host's address or "
                           "name", host);
    if (!trust_is_founded(t)) {
        rc = found_new(t, cluster, host, err);
        return rc == 0 ? reload(t, err) : rc;
    }
    own = x509_cert_read(t->text[NODE_CRT]);
    fits = own && x509_is_for(own, &subject);
    X509_free(own);
    if (fits)
        return 0;
    rc = ca_read(t, TRUST_NODES, &ca, err);
    if (rc == 0)
        rc = make_own(t, &ca, host, err);
    ca_free(&ca);
    return rc == 0 ? reload(t, err) : rc;
}

int trust_request(struct trust *t, char **ret_csr, struct cfs_err *err)
{
    EVP_PKEY *key = x509_key_read(t->text[NODE_KEY]);
    int rc = key ? x509_request(key, t->node, ret_csr, err)
                 : bad_file(t, NODE_KEY, err);

    EVP_PKEY_free(key);
    return rc;
}

int trust_new_key(const char *name, char **ret_key, char **ret_csr,
                  struct cfs_err *err)
{
    EVP_PKEY *key = x509_key_new(err);
    int rc;

    if (!key)
        return -EIO;
    rc = x509_request(key, name, ret_csr, err);
    if (rc == 0)
        *ret_key = mem_ok(x509_key_print(key));
    EVP_PKEY_free(key);
    return rc;
}

int trust_sign(struct trust *t, enum trust_ca which, const char *csr,
               const char *name, const struct cfs_uuid *id, const char *host,
               char **ret_cert, struct cfs_err *err)
{
    const struct x509_subject subject = {name, id, host};
    struct x509_ca ca = {0};
    X509 *cert = NULL;
    int rc = ca_read(t, which, &ca, err);

    if (rc == 0)
        rc = x509_sign(&ca, csr, &subject, t->life_s, &cert, err);
    if (rc == 0)
        *ret_cert = mem_ok(x509_cert_print(cert));
    X509_free(cert);
    ca_free(&ca);
    return rc;
}

int trust_sign_again(struct trust *t, enum trust_ca which, const char *pem,
                     const char *name, char **ret_cert, struct cfs_err *err)
{
    const struct x509_subject subject = {name, NULL, NULL};
    struct x509_ca ca = {0};
    X509 *old = x509_cert_read(pem), *cert = NULL;
    int rc = ca_read(t, which, &ca, err);

    if (rc == 0 && (!old || X509_verify(old, X509_get0_pubkey(ca.cert)) != 1))
        rc = cfs_err_set(err, -EINVAL, "not a certificate of the cluster's");
    if (rc == 0)
        rc = x509_sign_key(&ca, X509_get0_pubkey(old), &subject, t->life_s,
                           &cert, err);
    if (rc == 0)
        *ret_cert = mem_ok(x509_cert_print(cert));
    X509_free(cert);
    X509_free(old);
    ca_free(&ca);
    return rc;
}

json_t *trust_ca_keys(const struct trust *t, struct cfs_err *err)
{
    struct x509_ca ca;

    if (ca_read(t, TRUST_NODES, &ca, err) < 0)
        return NULL;
    ca_free(&ca);
    if (ca_read(t, TRUST_CLIENTS, &ca, err) < 0)
        return NULL;
    ca_free(&ca);
    return mem_ok(json_pack("{s:s,s:s}", "node_ca_key",
                            t->text[NODE_CA_KEY], "client_ca_key",
                            t->text[CLIENT_CA_KEY]));
}

const char *trust_cert(const struct trust *t)
{
    return t->text[NODE_CRT];
}

const char *trust_crl(const struct trust *t, enum trust_ca ca)
{
    return t->text[ca == TRUST_NODES ? NODE_CRL : CLIENT_CRL];
}

bool trust_same_key(const char *cert_pem, const char *csr_pem)
{
    X509 *cert = x509_cert_read(cert_pem);
    bool same = cert && x509_request_fits(csr_pem, cert);

    X509_free(cert);
    return same;
}

bool trust_same_certified_key(const char *a_pem, const char *b_pem)
{
    X509 *a = x509_cert_read(a_pem), *b = x509_cert_read(b_pem);
    bool same = a && b && EVP_PKEY_eq(X509_get0_pubkey(a),
                                      X509_get0_pubkey(b)) == 1;

    X509_free(a);
    X509_free(b);
    return same;
}

/* -- taking over --------------------------------------------------------- */

static bool key_fits(const char *cert_pem, const char *key_pem)
{
    X509 *cert = x509_cert_read(cert_pem);
    EVP_PKEY *key = x509_key_read(key_pem);
    bool fits = cert && key && X509_check_private_key(cert, key) == 1;

    X509_free(cert);
    EVP_PKEY_free(key);
    return fits;
}

static bool signed_by(const char *cert_pem, const char *ca_pem)
{
    X509 *cert = x509_cert_read(cert_pem), *ca = x509_cert_read(ca_pem);
    bool ok = cert && ca && X509_verify(cert, X509_get0_pubkey(ca)) == 1;

    X509_free(cert);
    X509_free(ca);
    return ok;
}

static int check_grant(const struct trust *t, const struct trust_grant *g,
                       struct cfs_err *err)
{
    const char *node_ca = g->node_ca ? g->node_ca : t->text[NODE_CA_CRT];
    const char *client_ca =
        g->client_ca ? g->client_ca : t->text[CLIENT_CA_CRT];

    if (!node_ca || !client_ca)
        return cfs_err_set(err, -EINVAL, "no authorities were given");
    if (g->cert && (!key_fits(g->cert, t->text[NODE_KEY]) ||
                    !signed_by(g->cert, node_ca)))
        return cfs_err_set(err, -EINVAL, "the certificate is not for this "
                           "node's key, or not signed by its cluster");
    if ((g->node_ca_key && !key_fits(node_ca, g->node_ca_key)) ||
        (g->client_ca_key && !key_fits(client_ca, g->client_ca_key)))
        return cfs_err_set(err, -EINVAL, "the keys are not the authorities'");
    return 0;
}

int trust_accept(struct trust *t, const struct trust_grant *g,
                 struct cfs_err *err)
{
    const struct {
        enum trust_file f;
        const char     *text;
    } parts[] = {
        {CLIENT_CA_CRT, g->client_ca}, {CLIENT_CA_KEY, g->client_ca_key},
        {CLIENT_CRL, g->client_crl},   {NODE_CA_KEY, g->node_ca_key},
        {NODE_CRL, g->node_crl},       {NODE_CRT, g->cert},
        {NODE_CA_CRT, g->node_ca},
    };
    int rc = check_grant(t, g, err);

    for (size_t i = 0; i < CFS_ARRAY_SIZE(parts) && rc == 0; i++)
        if (parts[i].text &&
            (!t->text[parts[i].f] ||
             strcmp(t->text[parts[i].f], parts[i].text) != 0))
            rc = put(t, parts[i].f, parts[i].text, err);
    return rc == 0 ? reload(t, err) : rc;
}

int trust_forget(struct trust *t, struct cfs_err *err)
{
    int rc = 0;

    for (unsigned f = N_FILES; f-- > 0 && rc == 0;)
        rc = drop(t, f, err);
    if (rc == 0)
        rc = make_nobody(t, err);
    return rc == 0 ? reload(t, err) : rc;
}

/* -- who is not believed any more ---------------------------------------- */

int trust_revoke(struct trust *t, enum trust_ca which,
                 const char *const *serials, size_t n, uint64_t number,
                 char **ret_crl, struct cfs_err *err)
{
    struct x509_ca ca = {0};
    int rc = ca_read(t, which, &ca, err);

    if (rc == 0)
        rc = x509_crl(&ca, serials, n, number, ret_crl, err);
    ca_free(&ca);
    return rc;
}

json_t *trust_revoked(const struct trust *t, enum trust_ca ca)
{
    const char *pem = trust_crl(t, ca);
    json_t *list = mem_ok(json_array());
    char **serial;
    size_t n = pem ? x509_crl_serials(pem, &serial) : 0;

    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, mem_ok(json_string(serial[i])));
        free(serial[i]);
    }
    if (n > 0)
        free(serial);
    return list;
}

int trust_set_crl(struct trust *t, enum trust_ca which, const char *crl,
                  struct cfs_err *err)
{
    const enum trust_file f = which == TRUST_NODES ? NODE_CRL : CLIENT_CRL;
    char *old = t->text[f];
    int rc;

    if (old && strcmp(old, crl) == 0)
        return t->unsaved[f] ? put(t, f, old, err) : 1;
    t->text[f] = mem_str(crl);
    rc = reload(t, err); /* before the file: a bad one is refused */
    if (rc < 0) {
        free(t->text[f]);
        t->text[f] = old;
        return rc;
    }
    free(old);
    return put(t, f, t->text[f], err);
}
