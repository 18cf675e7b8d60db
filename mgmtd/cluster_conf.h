/* SPDX-License-Identifier: Apache-2.0 */
/* cluster_conf.h - /etc/clusterfs/cluster.conf: the file that describes a
 * cluster before it is founded, in the grammar of ocfs2.cluster.conf(5).
 *
 *     node:
 *             ip_port = 24007
 *             ip_address = 192.168.1.11
 *             number = 1
 *             name = n1
 *             cluster = web
 *     cluster:
 *             node_count = 3
 *             name = web
 *
 * Grammar    lines. '#' in column 0: a comment. "WORD:" in column 0 begins a
 *            stanza. An attribute is one blank or more, a word, "=", and a
 *            value to the end of the line (leading blanks are no part of it,
 *            trailing ones are); "\" before the newline continues it. A blank
 *            line or the next header ends a stanza. Stanzas and attributes
 *            that are not known are ignored.
 * Limits     node numbers 0 to 254, names of at most 64 bytes, cluster names
 *            of 1 to 16 letters, digits, '_' and '-'.
 * Errors     any bad line: the whole file is refused (-EIO), and the message
 *            names the line.
 */
#ifndef CFS_MGMTD_CLUSTER_CONF_H
#define CFS_MGMTD_CLUSTER_CONF_H

#include "core/err.h"

#define CONF_NODES_MAX   255u
#define CONF_NAME_MAX    64u
#define CONF_CLUSTER_MAX 16u

struct conf_node {
    unsigned number;
    uint16_t port;
    char     address[46];
    char     name[CONF_NAME_MAX + 1];
};

struct cluster_conf {
    char             name[CONF_CLUSTER_MAX + 1]; /* "": no cluster in it */
    unsigned         n;
    struct conf_node node[CONF_NODES_MAX]; /* of that cluster, as they stand */
};

int cluster_conf_parse(const char *text, struct cluster_conf *ret,
                       struct cfs_err *err);
/* malloc'ed. */
char *cluster_conf_print(const struct cluster_conf *c);
/* NULL: it is not in it. */
const struct conf_node *cluster_conf_find(const struct cluster_conf *c,
                                          const char *name);

struct mgmtd;
/* This node, in CONFIG_DIR/cluster.conf; number 0: it is not in it, or there is
 * none. In found.c. -EINVAL: as number 0. */
int conf_of_node(struct mgmtd *m, struct conf_node *ret, struct cfs_err *err);

#endif
