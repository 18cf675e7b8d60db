/* SPDX-License-Identifier: Apache-2.0 */
/* test_trust.c - a node's certificates and authorities, on disk; tokens. */
#include "tests/unit/sh.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mgmtd/file.h"
#include "mgmtd/mem.h"
#include "mgmtd/trust.h"
#include "mgmtd/trust_x509.h"

static const struct cfs_uuid cluster = {{0xc1}}, id_a = {{0xa1}},
                             id_b = {{0xb1}};
static char root[64];

static int make_root(void **state)
{
    cfs_test_dir(root, "trust");
    return 0;
}

static int drop_root(void **state)
{
    return sh("rm -rf %s", root);
}

static char *dir_of(const char *name)
{
    return mem_printf("%s/%s", root, name);
}

static struct trust *open_node(const char *name, struct cfs_uuid id)
{
    struct cfs_err err = {0};
    struct trust *t = NULL;
    char *dir = dir_of(name);

    if (trust_open(dir, name, id, &t, &err) < 0)
        fail_msg("%s", err.text);
    free(dir);
    return t;
}

static struct trust *found(const char *name, const char *host)
{
    struct trust *t = open_node(name, id_a);
    struct cfs_err err = {0};

    if (trust_found(t, cluster, host, &err) < 0)
        fail_msg("%s", err.text);
    return t;
}

/* -- founding ------------------------------------------------------------ */

static void a_fresh_node_has_a_key_that_stays(void **state)
{
    struct trust *t = open_node("a", id_a);
    uint8_t first[RPC_TLS_PRINT], again[RPC_TLS_PRINT];

    assert_false(trust_is_founded(t));
    assert_false(trust_has_ca_keys(t));
    trust_fingerprint(t, first);
    trust_close(t);
    t = open_node("a", id_a);
    trust_fingerprint(t, again);
    assert_memory_equal(first, again, sizeof first);
    trust_close(t);
}

static void keys_are_for_their_owner_alone(void **state)
{
    static const char *const keys[] = {"node.key", "node-ca.key",
                                       "client-ca.key"};
    struct trust *t = found("a", "10.0.0.1");
    struct stat st;
    char *dir = dir_of("a");

    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (unsigned i = 0; i < 3; i++) {
        char *path = mem_printf("%s/%s", dir, keys[i]);

        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        free(path);
    }
    free(dir);
    trust_close(t);
}

/* etcd's members check the names in each other's URLs. */
static void a_nodes_certificate_names_what_it_is_reached_at(void **state)
{
    struct trust *t = found("a", "10.0.0.1");
    X509 *cert = x509_cert_read(trust_cert(t));

    assert_non_null(cert);
    assert_int_equal(X509_check_ip_asc(cert, "10.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(cert, "10.0.0.2", 0), 0);
    assert_true(X509_get_extended_key_usage(cert) ==
                (XKU_SSL_SERVER | XKU_SSL_CLIENT));
    X509_free(cert);
    trust_close(t);
}

static void founding_again_goes_on_with_what_is_there(void **state)
{
    struct trust *t = found("a", "10.0.0.1");
    char *ca = mem_str(trust_ca_cert(t, TRUST_NODES));
    char *own = mem_str(trust_cert(t));
    struct cfs_err err = {0};

    trust_close(t);
    t = found("a", "10.0.0.1");
    assert_string_equal(trust_ca_cert(t, TRUST_NODES), ca);
    assert_string_equal(trust_cert(t), own);
    assert_int_equal(trust_found(t, cluster, "10.0.0.9", &err), 0);
    assert_string_equal(trust_ca_cert(t, TRUST_NODES), ca);
    assert_string_not_equal(trust_cert(t), own);
    assert_int_equal(trust_found(t, cluster, "a b,DNS:evil", &err), -EINVAL);
    free(ca);
    free(own);
    trust_close(t);
}

/* Whatever of the files a crash left, founding works afterwards. */
static void founding_works_after_a_crash_anywhere(void **state)
{
    static const char *const order[] = {
        "client-ca.key", "client.crl", "client-ca.crt", "node-ca.key",
        "node.crl", "node.crt", "node-ca.crt"};
    char *dir = dir_of("a");

    for (size_t keep = 0; keep < CFS_ARRAY_SIZE(order); keep++) {
        struct trust *t = found("a", "10.0.0.1");

        trust_close(t);
        for (size_t i = CFS_ARRAY_SIZE(order); i-- > keep;) {
            char *path = mem_printf("%s/%s", dir, order[i]);

            assert_int_equal(unlink(path), 0);
            free(path);
        }
        t = open_node("a", id_a);
        assert_false(trust_is_founded(t));
        trust_close(t);
        t = found("a", "10.0.0.1");
        assert_true(trust_has_ca_keys(t));
        trust_close(t);
    }
    free(dir);
}

static void a_damaged_file_is_named(void **state)
{
    struct trust *t = found("a", "10.0.0.1");
    struct cfs_err err = {0};
    char *dir = dir_of("a"), *path = mem_printf("%s/node.crt", dir);

    trust_close(t);
    assert_int_equal(file_put(path, "nonsense\n", 0644, &err), 0);
    assert_true(trust_open(dir, "a", id_a, &t, &err) < 0);
    assert_non_null(strstr(err.text, dir));
    assert_int_equal(unlink(path), 0);
    err = (struct cfs_err){0};
    assert_int_equal(trust_open(dir, "a", id_a, &t, &err), -CFS_E_CORRUPT);
    assert_non_null(strstr(err.text, "node.crt"));
    free(dir);
    free(path);
}

/* -- joining ------------------------------------------------------------- */

/* What a member answers to JOIN, of @a for @b. */
static void give(struct trust *a, struct trust *b, struct trust_grant *g,
                 char **ret_cert)
{
    struct cfs_err err = {0};
    char *csr;

    assert_int_equal(trust_request(b, &csr, &err), 0);
    if (trust_sign(a, TRUST_NODES, csr, "b", &id_b, "10.0.0.2", ret_cert,
                   &err) < 0)
        fail_msg("%s", err.text);
    assert_true(trust_same_key(*ret_cert, csr));
    free(csr);
    *g = (struct trust_grant){
        .cert = *ret_cert,
        .node_ca = trust_ca_cert(a, TRUST_NODES),
        .client_ca = trust_ca_cert(a, TRUST_CLIENTS),
        .node_crl = trust_crl(a, TRUST_NODES),
        .client_crl = trust_crl(a, TRUST_CLIENTS),
    };
}

static void a_joiner_takes_over_what_it_is_given(void **state)
{
    struct trust *a = found("a", "10.0.0.1"), *b = open_node("b", id_b);
    uint8_t pa[RPC_TLS_PRINT], pb[RPC_TLS_PRINT];
    struct trust_grant g;
    struct cfs_err err = {0};
    char *cert, *csr;
    json_t *keys;

    give(a, b, &g, &cert);
    assert_int_equal(trust_accept(b, &g, &err), 0);
    assert_true(trust_is_founded(b));
    assert_false(trust_has_ca_keys(b));
    trust_fingerprint(a, pa);
    trust_fingerprint(b, pb);
    assert_memory_equal(pa, pb, sizeof pa);
    assert_int_equal(trust_request(b, &csr, &err), 0);
    free(cert);
    assert_int_equal(trust_sign(b, TRUST_NODES, csr, "c", &id_b, NULL, &cert,
                                &err), -EACCES);

    keys = trust_ca_keys(a, &err);
    g = (struct trust_grant){
        .node_ca_key = json_string_value(json_object_get(keys, "node_ca_key")),
        .client_ca_key =
            json_string_value(json_object_get(keys, "client_ca_key")),
    };
    assert_int_equal(trust_accept(b, &g, &err), 0);
    trust_close(b);
    b = open_node("b", id_b);
    assert_true(trust_has_ca_keys(b));
    assert_int_equal(trust_sign(b, TRUST_NODES, csr, "c", &id_b, NULL, &cert,
                                &err), 0);
    free(cert);
    free(csr);
    json_decref(keys);
    trust_close(a);
    trust_close(b);
}

static void what_does_not_fit_is_not_taken_over(void **state)
{
    struct trust *a = found("a", "10.0.0.1"), *b = open_node("b", id_b);
    struct trust *other = open_node("c", id_b);
    struct trust_grant g;
    struct cfs_err err = {0};
    char *cert, *wrong, *csr;

    assert_int_equal(trust_found(other, cluster, "10.0.0.3", &err), 0);
    give(a, b, &g, &cert);
    g.node_ca = trust_ca_cert(other, TRUST_NODES); /* not who signed */
    assert_int_equal(trust_accept(b, &g, &err), -EINVAL);
    give(a, b, &g, &wrong);
    assert_int_equal(trust_request(other, &csr, &err), 0);
    free(wrong);
    assert_int_equal(trust_sign(a, TRUST_NODES, csr, "b", &id_b, NULL, &wrong,
                                &err), 0);
    g.cert = wrong; /* for another key */
    assert_int_equal(trust_accept(b, &g, &err), -EINVAL);
    assert_false(trust_is_founded(b));
    assert_int_equal(trust_sign(a, TRUST_NODES, "no request", "b", &id_b,
                                NULL, &cert, &err), -EINVAL);
    free(csr);
    free(cert);
    free(wrong);
    trust_close(a);
    trust_close(b);
    trust_close(other);
}

static void a_node_that_forgets_is_somebody_else(void **state)
{
    struct trust *t = found("a", "10.0.0.1");
    char *old = mem_str(trust_cert(t));
    struct cfs_err err = {0};

    assert_int_equal(trust_forget(t, &err), 0);
    assert_false(trust_is_founded(t));
    assert_null(trust_ca_cert(t, TRUST_NODES));
    assert_string_not_equal(trust_cert(t), old);
    trust_close(t);
    t = open_node("a", id_a);
    assert_false(trust_is_founded(t));
    trust_close(t);
    free(old);
}

/* -- lives, lists -------------------------------------------------------- */

static void half_of_a_life_is_told(void **state)
{
    struct trust *a = open_node("a", id_a);
    struct cfs_err err = {0};
    int64_t now = time(NULL), half;

    trust_set_life(a, 100);
    assert_int_equal(trust_found(a, cluster, "10.0.0.1", &err), 0);
    half = trust_half_life(a);
    assert_true(half >= now + 49 && half <= now + 52);
    trust_close(a);
}

static void a_clients_certificate_is_renewed_for_its_key(void **state)
{
    struct trust *a = found("a", "10.0.0.1"), *other = open_node("c", id_b);
    char *key, *csr, *cert, *again, *foreign;
    char first[TRUST_SERIAL], second[TRUST_SERIAL];
    struct cfs_err err = {0};

    assert_int_equal(trust_new_key("desk", &key, &csr, &err), 0);
    trust_set_life(a, 100);
    assert_int_equal(trust_sign(a, TRUST_CLIENTS, csr, "desk", NULL, NULL,
                                &cert, &err), 0);
    assert_true(trust_half_life_of(cert) < time(NULL) + 60);
    assert_int_equal(trust_sign_again(a, TRUST_CLIENTS, cert, "desk", &again,
                                      &err), 0);
    assert_true(trust_same_certified_key(cert, again));
    trust_serial_of(cert, first);
    trust_serial_of(again, second);
    assert_string_not_equal(first, second);
    assert_int_equal(trust_found(other, cluster, "10.0.0.3", &err), 0);
    assert_int_equal(trust_sign_again(other, TRUST_CLIENTS, cert, "desk",
                                      &foreign, &err), -EINVAL);
    assert_int_equal(trust_sign_again(a, TRUST_NODES, cert, "desk", &foreign,
                                      &err), -EINVAL);
    assert_int_equal(trust_sign_again(a, TRUST_CLIENTS, "x", "desk", &foreign,
                                      &err), -EINVAL);
    free(key);
    free(csr);
    free(cert);
    free(again);
    trust_close(a);
    trust_close(other);
}

static void a_list_names_who_was_revoked_and_stays(void **state)
{
    struct trust *a = found("a", "10.0.0.1");
    const char *serials[] = {"4711AA", "0B"}, *bad[] = {"no hex"};
    struct cfs_err err = {0};
    char *crl;

    assert_int_equal(trust_revoke(a, TRUST_CLIENTS, serials, 2, 7, &crl, &err),
                     0);
    assert_int_equal(trust_set_crl(a, TRUST_NODES, crl, &err), -EINVAL);
    assert_int_equal(trust_set_crl(a, TRUST_CLIENTS, crl, &err), 0);
    assert_int_equal(trust_set_crl(a, TRUST_CLIENTS, crl, &err), 1);
    trust_close(a);
    a = open_node("a", id_a);
    assert_string_equal(trust_crl(a, TRUST_CLIENTS), crl);
    assert_true(trust_revoke(a, TRUST_NODES, bad, 1, 2, &crl, &err) < 0);
    free(crl);
    trust_close(a);
}

/* No room on the disk, say: it counts, and is put there later. */
static void a_list_that_cannot_be_written_counts(void **state)
{
    struct trust *a = found("a", "10.0.0.1");
    char *in_the_way = mem_printf("%s/client.crl.new", trust_dir(a)), *crl;
    const char *serials[] = {"4711AA"};
    struct cfs_err err = {0};

    assert_int_equal(trust_revoke(a, TRUST_CLIENTS, serials, 1, 2, &crl, &err),
                     0);
    assert_int_equal(mkdir(in_the_way, 0700), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_true(trust_set_crl(a, TRUST_CLIENTS, crl, &err) < 0);
    assert_string_equal(trust_crl(a, TRUST_CLIENTS), crl);
    assert_int_equal(rmdir(in_the_way), 0);
    assert_int_equal(trust_set_crl(a, TRUST_CLIENTS, crl, &err), 0);
    assert_int_equal(trust_set_crl(a, TRUST_CLIENTS, crl, &err), 1);
    trust_close(a);
    a = open_node("a", id_a);
    assert_string_equal(trust_crl(a, TRUST_CLIENTS), crl);
    free(crl);
    free(in_the_way);
    trust_close(a);
}

/* -- tokens -------------------------------------------------------------- */

static struct trust_token some_token(const char *address)
{
    struct trust_token t = {.end = 1900000000};

    snprintf(t.address, sizeof t.address, "%s", address);
    memset(t.print, 0x5a, sizeof t.print);
    for (unsigned i = 0; i < TRUST_SECRET; i++)
        t.secret[i] = (uint8_t)(i * 7);
    return t;
}

static void a_token_survives_being_printed(void **state)
{
    char address[256];

    for (size_t len = 1; len < 256; len++) {
        struct trust_token t, back;
        struct cfs_err err = {0};
        char *text;

        memset(address, 'x', len);
        address[len] = '\0';
        t = some_token(address);
        text = trust_token_print(&t);
        assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM"
                                      "NOPQRSTUVWXYZ0123456789-_"),
                         strlen(text));
        if (trust_token_parse(text, &back, &err) < 0)
            fail_msg("%s", err.text);
        assert_string_equal(back.address, t.address);
        assert_memory_equal(back.print, t.print, sizeof t.print);
        assert_memory_equal(back.secret, t.secret, sizeof t.secret);
        assert_true(back.end == t.end);
        free(text);
    }
}

static void a_damaged_token_is_no_token(void **state)
{
    struct trust_token t = some_token("n1:24007"), back;
    char *text = trust_token_print(&t);
    const size_t len = strlen(text);
    struct cfs_err err = {0};

    for (size_t i = 0; i < len; i++) { /* cut */
        const char c = text[i];

        text[i] = '\0';
        assert_int_equal(trust_token_parse(text, &back, &err), -EINVAL);
        text[i] = c;
    }
    for (size_t i = 0; i < len; i++) { /* mistyped */
        const char c = text[i];

        text[i] = c == 'A' ? 'B' : 'A';
        err = (struct cfs_err){0};
        assert_int_equal(trust_token_parse(text, &back, &err), -EINVAL);
        assert_true(*err.text);
        text[i] = c;
    }
    assert_int_equal(trust_token_parse(text, &back, &err), 0);
    free(text);
}

static void random_words_are_no_tokens(void **state)
{
    struct trust_token back;
    char text[600] = "cfs1-";
    struct cfs_err err = {0};

    srandom(11);
    for (unsigned i = 0; i < 20000; i++) {
        size_t n = 5 + (size_t)random() % 500;

        for (size_t k = 5; k < n; k++)
            text[k] = "ABCDEFGHabcdefgh0123456789-_=. "[random() % 31];
        text[n] = '\0';
        assert_int_equal(trust_token_parse(text, &back, &err), -EINVAL);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_root, drop_root)
    const struct CMUnitTest tests[] = {
        T(a_fresh_node_has_a_key_that_stays),
        T(keys_are_for_their_owner_alone),
        T(a_nodes_certificate_names_what_it_is_reached_at),
        T(founding_again_goes_on_with_what_is_there),
        T(founding_works_after_a_crash_anywhere),
        T(a_damaged_file_is_named),
        T(a_joiner_takes_over_what_it_is_given),
        T(what_does_not_fit_is_not_taken_over),
        T(a_node_that_forgets_is_somebody_else),
        T(half_of_a_life_is_told),
        T(a_clients_certificate_is_renewed_for_its_key),
        T(a_list_names_who_was_revoked_and_stays),
        T(a_list_that_cannot_be_written_counts),
        cmocka_unit_test(a_token_survives_being_printed),
        cmocka_unit_test(a_damaged_token_is_no_token),
        cmocka_unit_test(random_words_are_no_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
