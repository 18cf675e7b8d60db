/* SPDX-License-Identifier: Apache-2.0 */
/* cluster_conf.c - see cluster_conf.h. */
#include "mgmtd/cluster_conf.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

#include "mgmtd/mem.h"

enum stanza { OUTSIDE, IN_CLUSTER, IN_NODE, IN_OTHER };

/* What was read of the present stanza. */
struct attrs {
    char *name, *number, *address, *port, *cluster, *node_count;
};

struct parse {
    struct cluster_conf *conf;
    struct cfs_err      *err;
    unsigned             line; /* from 1 */
    enum stanza          in;
    struct attrs         a;
    unsigned             n_clusters;
    char                 of[CONF_NODES_MAX][CONF_CLUSTER_MAX + 1];
};

static int bad(struct parse *p, const char *why)
{
    return cfs_err_set(p->err, -EIO, "cluster.conf, line %u: %s", p->line,
                       why);
}

static void attrs_free(struct attrs *a)
{
    free(a->name);
    free(a->number);
    free(a->address);
    free(a->port);
    free(a->cluster);
    free(a->node_count);
    *a = (struct attrs){0};
}

/* -- values --------------------------------------------------------------- */

static bool take_number(const char *s, unsigned max, unsigned *ret)
{
    unsigned n = 0;

    if (!s || !*s)
        return false;
    for (; *s; s++) {
        if (!isdigit((unsigned char)*s))
            return false;
        n = n * 10 + (unsigned)(*s - '0');
        if (n > max)
            return false;
    }
    *ret = n;
    return true;
}

static bool is_cluster_name(const char *s)
{
    size_t len = s ? strlen(s) : 0;

    if (len < 1 || len > CONF_CLUSTER_MAX)
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_' && *s != '-')
            return false;
    return true;
}

/* -- the end of a stanza -------------------------------------------------- */

static int end_cluster(struct parse *p)
{
    unsigned count;

    if (!is_cluster_name(p->a.name))
        return bad(p, "the cluster above needs a name of 1 to 16 letters, "
                      "digits, '_' or '-'");
    if (!take_number(p->a.node_count, 100000, &count))
        return bad(p, "the cluster above needs a node_count");
    if (p->n_clusters++ > 0)
        return bad(p, "a second cluster; one is all that there can be");
    strcpy(p->conf->name, p->a.name);
    return 0;
}

static int end_node(struct parse *p)
{
    struct cluster_conf *c = p->conf;
    struct in_addr ip;
    unsigned number, port;

    if (!p->a.name || !*p->a.name || strlen(p->a.name) > CONF_NAME_MAX)
        return bad(p, "the node above needs a name of at most 64 bytes");
    if (!take_number(p->a.number, 254, &number))
        return bad(p, "the node above needs a number from 0 to 254");
    if (!take_number(p->a.port, 65534, &port) || port == 0)
        return bad(p, "the node above needs an ip_port from 1 to 65534");
    if (!p->a.address || inet_pton(AF_INET, p->a.address, &ip) != 1)
        return bad(p, "the node above needs an ip_address (IPv4)");
    if (!is_cluster_name(p->a.cluster))
        return bad(p, "the node above needs the name of its cluster");
    if (c->n == CONF_NODES_MAX)
        return bad(p, "too many nodes");
    for (unsigned i = 0; i < c->n; i++) {
        if (strcmp(c->node[i].name, p->a.name) == 0)
            return bad(p, "a node of that name stands above already");
        if (c->node[i].number == number)
            return bad(p, "a node of that number stands above already");
        if (strcmp(c->node[i].address, p->a.address) == 0 &&
            c->node[i].port == port)
            return bad(p, "a node of that address stands above already");
    }
    struct conf_node *n = &c->node[c->n];

    n->number = number;
    n->port = (uint16_t)port;
    strcpy(n->address, p->a.address);
    strcpy(n->name, p->a.name);
    strcpy(p->of[c->n++], p->a.cluster);
    return 0;
}

static int end_stanza(struct parse *p)
{
    int rc = 0;

    if (p->in == IN_CLUSTER)
        rc = end_cluster(p);
    else if (p->in == IN_NODE)
        rc = end_node(p);
    attrs_free(&p->a);
    p->in = OUTSIDE;
    return rc;
}

/* -- lines ---------------------------------------------------------------- */

static size_t word_len(const char *s)
{
    size_t n = 0;

    while (isalnum((unsigned char)s[n]) || s[n] == '_')
        n++;
    return n;
}

static int take_header(struct parse *p, const char *line)
{
    size_t n = word_len(line);
    int rc;

    if (n == 0 || line[n] != ':' || line[n + 1 + strspn(line + n + 1, " \t")])
        return bad(p, "expected \"node:\" or \"cluster:\", or an attribute "
                      "behind a blank");
    rc = end_stanza(p);
    if (n == 4 && strncmp(line, "node", n) == 0)
        p->in = IN_NODE;
    else if (n == 7 && strncmp(line, "cluster", n) == 0)
        p->in = IN_CLUSTER;
    else
        p->in = IN_OTHER;
    return rc;
}

static int take_attribute(struct parse *p, const char *line)
{
    const struct {
        const char *word;
        char      **to;
    } known[] = {
        {"name", &p->a.name},           {"number", &p->a.number},
        {"ip_address", &p->a.address},  {"ip_port", &p->a.port},
        {"cluster", &p->a.cluster},     {"node_count", &p->a.node_count},
    };
    const char *word = line + strspn(line, " \t");
    size_t n = word_len(word);
    const char *value = word + n + strspn(word + n, " \t");

    if (n == 0 || *value != '=')
        return bad(p, "expected \"attribute = value\"");
    if (p->in == OUTSIDE)
        return bad(p, "an attribute outside of a stanza");
    value++;
    value += strspn(value, " \t");
    for (size_t i = 0; i < CFS_ARRAY_SIZE(known); i++)
        if (strlen(known[i].word) == n &&
            strncmp(known[i].word, word, n) == 0) {
            free(*known[i].to);
            *known[i].to = mem_str(value);
        }
    return 0;
}

static int take_line(struct parse *p, const char *line)
{
    if (line[0] == '#')
        return 0;
    if (line[strspn(line, " \t")] == '\0')
        return end_stanza(p);
    return line[0] == ' ' || line[0] == '\t' ? take_attribute(p, line)
                                             : take_header(p, line);
}

/* The next line of *@at, its continuations joined; malloc'ed. */
static char *next_line(struct parse *p, const char **at)
{
    char *line = mem_new(strlen(*at) + 1);
    size_t len = 0;

    p->line++;
    while (**at && **at != '\n') {
        if ((*at)[0] == '\\' && (*at)[1] == '\n') {
            p->line++;
            *at += 2;
        } else
            line[len++] = *(*at)++;
    }
    if (**at == '\n')
        ++*at;
    return line;
}

/* Nodes of another cluster than the one that stands in the file are dropped,
 * in silence, as there. */
static void keep_own(struct parse *p)
{
    struct cluster_conf *c = p->conf;
    unsigned n = 0;

    for (unsigned i = 0; i < c->n; i++)
        if (strcmp(p->of[i], c->name) == 0)
            c->node[n++] = c->node[i];
    c->n = n;
}

int cluster_conf_parse(const char *text, struct cluster_conf *ret,
                       struct cfs_err *err)
{
    struct parse *p = mem_new(sizeof *p);
    int rc = 0;

    p->conf = mem_new(sizeof *p->conf);
    p->err = err;
    while (*text && rc == 0) {
        char *line = next_line(p, &text);

        rc = take_line(p, line);
        free(line);
    }
    if (rc == 0)
        rc = end_stanza(p);
    if (rc == 0) {
        keep_own(p);
        *ret = *p->conf;
    }
    attrs_free(&p->a);
    free(p->conf);
    free(p);
    return rc;
}

char *cluster_conf_print(const struct cluster_conf *c)
{
    char *text = mem_printf("# Written by clusterfs-mgmtd from the cluster's "
                            "own configuration.\n"
                            "cluster:\n\tnode_count = %u\n\tname = %s\n",
                            c->n, c->name);

    for (unsigned i = 0; i < c->n; i++) {
        const struct conf_node *n = &c->node[i];
        char *longer = mem_printf("%s\nnode:\n\tip_port = %u\n"
                                  "\tip_address = %s\n\tnumber = %u\n"
                                  "\tname = %s\n\tcluster = %s\n",
                                  text, n->port, n->address, n->number,
                                  n->name, c->name);

        free(text);
        text = longer;
    }
    return text;
}

const struct conf_node *cluster_conf_find(const struct cluster_conf *c,
                                          const char *name)
{
    for (unsigned i = 0; i < c->n; i++)
        if (strcmp(c->node[i].name, name) == 0)
            return &c->node[i];
    return NULL;
}
