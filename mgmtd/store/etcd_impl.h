/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_impl.h - between etcd_client.c and etcd_watch.c. */
#ifndef CFS_MGMTD_ETCD_IMPL_H
#define CFS_MGMTD_ETCD_IMPL_H

#include "mgmtd/store/etcd_client.h"
#include "mgmtd/store/etcd_http.h"

#define ETCD_WHY 160

struct etcd_client {
    struct cfs_loop   *loop;
    struct cfs_log    *log;
    struct http       *http;
    struct http_tls    tls;
    struct etcd_target to;
    unsigned           prefer; /* member that is asked first */
    unsigned           watch_at; /* member that the next watch goes to */
    bool               doubt;  /* of the request that is being answered */
    char               why[ETCD_TARGETS][ETCD_WHY]; /* "": it answered last */
    struct cfs_list    requests;
    struct cfs_list    watches;
};

/* In messages. */
const char *etcd_member_name(const struct etcd_client *c, unsigned member);

/* @words and gRPC code as a status; true: another member, or the same a
 * little later, may do better. @ret_doubt: it may have happened. */
bool etcd_judge(const char *words, int code, int *ret_status,
                bool *ret_doubt);

/* Of a watch: the client's list. */
void etcd_watches_free(struct etcd_client *c);

#endif
