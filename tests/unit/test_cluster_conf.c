/* SPDX-License-Identifier: Apache-2.0 */
/* test_cluster_conf.c - cluster.conf: what is taken, what is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mgmtd/cluster_conf.h"
#include "tests/unit/cfs_test.h"

#define CLUSTER "cluster:\n\tnode_count = 2\n\tname = web\n\n"
#define NODE(number, name, address)                                          \
    "node:\n\tip_port = 24007\n\tip_address = " address                      \
    "\n\tnumber = " number "\n\tname = " name "\n\tcluster = web\n\n"

static struct cluster_conf parsed(const char *text)
{
    struct cluster_conf c;
    struct cfs_err err = {0};

    if (cluster_conf_parse(text, &c, &err) < 0)
        fail_msg("%s", err.text);
    return c;
}

static void refused(const char *text, const char *why)
{
    struct cluster_conf c = {.n = 77};
    struct cfs_err err = {0};

    assert_int_equal(cluster_conf_parse(text, &c, &err), -EIO);
    assert_int_equal(c.n, 77);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void an_ordinary_file_is_read(void **state)
{
    struct cluster_conf c = parsed(
        "# our web servers\n" CLUSTER NODE("1", "n1", "10.0.0.1")
        NODE("254", "n2", "10.0.0.2"));

    assert_string_equal(c.name, "web");
    assert_int_equal(c.n, 2);
    assert_string_equal(c.node[1].name, "n2");
    assert_string_equal(c.node[1].address, "10.0.0.2");
    assert_int_equal(c.node[1].number, 254);
    assert_int_equal(c.node[1].port, 24007);
    assert_ptr_equal(cluster_conf_find(&c, "n1"), &c.node[0]);
    assert_null(cluster_conf_find(&c, "n"));
}

static void an_empty_file_is_an_empty_configuration(void **state)
{
    assert_int_equal(parsed("").n, 0);
    assert_string_equal(parsed("# nothing\n\n").name, "");
}

static void what_is_printed_is_read_again(void **state)
{
    struct cluster_conf c = parsed(CLUSTER NODE("0", "n1", "10.0.0.1")
                                   NODE("7", "n2", "10.0.0.2")), again;
    char *text = cluster_conf_print(&c);

    again = parsed(text);
    free(text);
    assert_memory_equal(&c, &again, sizeof c);
}

static void the_old_grammar_is_kept_to_the_letter(void **state)
{
    /* A header ends a stanza; the last of two attributes counts; unknown ones
     * are ignored; a value may go on in the next line. */
    struct cluster_conf c = parsed(
        "cluster:\n node_count = 1\n name = old\n name =   w\\\neb\n color=x\n"
        "heartbeat:\n region = 0\n cluster = web\n"
        "node:\n ip_port=7777\n ip_address=1.2.3.4\n number=3\n name=a\n"
        " cluster=web");

    assert_string_equal(c.name, "web");
    assert_int_equal(c.n, 1);
    /* Nodes of no cluster in the file are dropped. */
    c = parsed("cluster:\n node_count = 0\n name = other\n\n"
               NODE("1", "n1", "10.0.0.1"));
    assert_int_equal(c.n, 0);
}

static void a_bad_line_refuses_the_whole_file(void **state)
{
    refused(" # indented\n", "line 1");
    refused("name = web\n", "line 1");
    refused(" name = web\n", "outside");
    refused("cluster: x\n", "line 1");
    refused("cluster:\n name web\n", "line 2");
    refused("cluster:\n name = web\n\n", "node_count");
    refused("cluster:\n node_count = 1\n name = a.b\n\n", "letters");
    refused("cluster:\n node_count = 1\n name = seventeen_letters\n", "16");
    refused(CLUSTER CLUSTER, "second");
    refused(CLUSTER NODE("255", "n1", "10.0.0.1"), "254");
    refused(CLUSTER NODE("1 ", "n1", "10.0.0.1"), "number");
    refused(CLUSTER NODE("1", "n1", "::1"), "IPv4");
    refused(CLUSTER NODE("1", "n1", "10.0.0.1") NODE("1", "n2", "10.0.0.2"),
            "number");
    refused(CLUSTER NODE("1", "n1", "10.0.0.1") NODE("2", "n1", "10.0.0.2"),
            "name");
    refused(CLUSTER NODE("1", "n1", "10.0.0.1") NODE("2", "n2", "10.0.0.1"),
            "address");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_file_is_read),
        cmocka_unit_test(an_empty_file_is_an_empty_configuration),
        cmocka_unit_test(what_is_printed_is_read_again),
        cmocka_unit_test(the_old_grammar_is_kept_to_the_letter),
        cmocka_unit_test(a_bad_line_refuses_the_whole_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
