/* SPDX-License-Identifier: Apache-2.0 */
/* test_creds.c - a client's file of credentials is kept new (rpc/creds.h): a
 * certificate, and the list of nodes that are not believed any more. */
#include "tests/unit/sh.h"
#include "tests/unit/tls_rig.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/creds.h"

static struct world world;
static char dir[64], path[128];
static struct own desk;
static struct rpc_creds creds;
static struct cfs_err err;

static char *list_of(uint64_t number, const char *serial)
{
    char *crl;

    assert_int_equal(x509_crl(&world.nodes, &serial, serial != NULL, number,
                              &crl, &err), 0);
    return crl;
}

/* Another certificate for desk's key. */
static char *renewed(long life_s)
{
    const struct x509_subject s = {"desk", NULL, NULL};
    EVP_PKEY *key = x509_key_read(desk.key);
    X509 *cert;
    char *text;

    assert_int_equal(x509_sign_key(&world.clients, key, &s, life_s, &cert,
                                   &err), 0);
    text = x509_cert_print(cert);
    X509_free(cert);
    EVP_PKEY_free(key);
    return text;
}

static void write_text(const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static char *file_text(void)
{
    static char text[64 * 1024];
    FILE *f = fopen(path, "r");
    size_t n;

    assert_non_null(f);
    n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static int make(void **state)
{
    char text[16 * 1024];

    err = (struct cfs_err){0};
    world_begin(&world);
    desk = new_own(&world.clients, "desk", DAY);
    cfs_test_dir(dir, "creds");
    snprintf(path, sizeof path, "%s/client.pem", dir);
    snprintf(text, sizeof text, "# mine\n# server n1:24007\n%s%s%s", desk.key,
             desk.cert, world.nodes_pem);
    write_text(text);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(rpc_creds_load(path, &creds, &err), 0);
    return 0;
}

static int drop(void **state)
{
    rpc_creds_fini(&creds);
    own_free(&desk);
    world_end(&world);
    return sh("rm -r %s", dir);
}

static unsigned files(void)
{
    return (unsigned)sh("exit $(ls -A %s | wc -l)", dir) >> 8;
}

static void a_new_certificate_and_list_are_in_the_file(void **state)
{
    char *cert = renewed(2 * DAY), *list = list_of(3, "4711");
    struct rpc_creds again;
    struct stat st;

    assert_int_equal(rpc_creds_list(&creds), 0);
    assert_int_equal(rpc_creds_update(&creds, list, cert, &err), 1);
    assert_int_equal(rpc_creds_list(&creds), 3);
    assert_non_null(strstr(file_text(), cert));
    assert_null(strstr(file_text(), desk.cert));
    assert_non_null(strstr(file_text(), world.nodes_pem));
    assert_int_equal(strncmp(file_text(), "# mine\n# server", 15), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(files(), 1);
    assert_int_equal(rpc_creds_load(path, &again, &err), 0);
    assert_int_equal(rpc_creds_list(&again), 3);
    assert_int_equal(again.n_servers, 1);
    rpc_creds_fini(&again);
    assert_int_equal(rpc_creds_update(&creds, list, cert, &err), 0);
    free(cert);
    free(list);
}

/* A detached node has an old one, and would like to be believed. */
static void an_older_list_is_not_taken(void **state)
{
    char *new = list_of(5, "4711"), *old = list_of(4, NULL);

    assert_int_equal(rpc_creds_update(&creds, new, "", &err), 1);
    assert_int_equal(rpc_creds_update(&creds, old, "", &err), 0);
    assert_int_equal(rpc_creds_list(&creds), 5);
    free(new);
    free(old);
}

static void what_does_not_fit_is_left_alone(void **state)
{
    struct own lamp = new_own(&world.clients, "lamp", DAY);
    const char *none = "4711";
    char *before = strdup(file_text()), *foreign;

    assert_int_equal(x509_crl(&world.other, &none, 1, 9, &foreign, &err), 0);
    assert_true(rpc_creds_update(&creds, "", lamp.cert, &err) < 0);
    assert_true(rpc_creds_update(&creds, foreign, "", &err) < 0);
    assert_true(rpc_creds_update(&creds, "", "nonsense", &err) < 0);
    assert_int_equal(rpc_creds_update(&creds, "nonsense", "", &err), 0);
    assert_false(creds.unsaved);
    assert_string_equal(file_text(), before);
    free(before);
    free(foreign);
    own_free(&lamp);
}

static void a_read_only_file_is_left_and_what_is_new_is_used(void **state)
{
    char *cert = renewed(2 * DAY), *before = strdup(file_text());

    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(rpc_creds_update(&creds, "", cert, &err), -EACCES);
    assert_non_null(strstr(err.text, path));
    assert_true(creds.unsaved);
    assert_non_null(strstr(creds.text, cert));
    assert_string_equal(file_text(), before);
    assert_int_equal(files(), 1);
    /* Read again it stays in use, and is written when that can be. */
    assert_int_equal(rpc_creds_refresh(&creds, &err), 0);
    assert_non_null(strstr(creds.text, cert));
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(rpc_creds_update(&creds, "", "", &err), 0);
    assert_non_null(strstr(file_text(), cert));
    assert_false(creds.unsaved);
    free(cert);
    free(before);
}

/* Two mounts of a machine: none undoes what the other wrote. */
static void what_another_process_wrote_stays(void **state)
{
    char *cert = renewed(2 * DAY), *list = list_of(2, "0A");
    struct rpc_creds other;

    assert_int_equal(rpc_creds_load(path, &other, &err), 0);
    assert_int_equal(rpc_creds_update(&other, list, "", &err), 1);
    assert_int_equal(rpc_creds_update(&creds, "", cert, &err), 1);
    assert_int_equal(rpc_creds_list(&creds), 2);
    rpc_creds_fini(&other);
    assert_int_equal(rpc_creds_load(path, &other, &err), 0);
    assert_int_equal(rpc_creds_list(&other), 2);
    assert_non_null(strstr(other.text, cert));
    rpc_creds_fini(&other);
    free(cert);
    free(list);
}

static void the_file_behind_a_link_is_written(void **state)
{
    char *cert = renewed(2 * DAY), link[100];
    struct rpc_creds by_link;
    struct stat st;

    snprintf(link, sizeof link, "%s/link", dir);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(rpc_creds_load(link, &by_link, &err), 0);
    assert_int_equal(rpc_creds_update(&by_link, "", cert, &err), 1);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_non_null(strstr(file_text(), cert));
    rpc_creds_fini(&by_link);
    free(cert);
}

/* Who is connected to a node that is on the list now. */
static void a_node_on_the_list_is_left(void **state)
{
    struct own b = new_own(&world.nodes, "beta", DAY);
    char *list = list_of(2, b.serial);
    struct ends e = {0};

    begin_tls(&e, member(&world, &b), rpc_tls_ref(creds.tls));
    WAIT(&e, is_up);
    assert_int_equal(rpc_creds_update(&creds, list, "", &err), 1);
    WAIT(&e, is_refused);
    end(&e);
    free(list);
    own_free(&b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make, drop)
    const struct CMUnitTest tests[] = {
        T(a_new_certificate_and_list_are_in_the_file),
        T(an_older_list_is_not_taken),
        T(what_does_not_fit_is_left_alone),
        T(a_read_only_file_is_left_and_what_is_new_is_used),
        T(what_another_process_wrote_stays),
        T(the_file_behind_a_link_is_written),
        T(a_node_on_the_list_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
