/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_proc.h - this node's etcd process: start, watch, start again, adopt,
 * end.
 *
 *           start                 ends by itself
 *     NONE -------> RUNNING -----------------------> WAITING
 *      ^             |   ^                              |
 *      | has ended   |   +------------------------------+ back-off
 *      |             v stop
 *      +--------- STOPPING
 *
 * It is in a session of its own and outlives us; the next mgmtd finds it in
 * /proc by its data directory. It has this node's directory, ports (mgmtd's
 * + 1 for clients, + 2 for its peers) and certificates, apart from any etcd
 * that the machine runs for others.
 *
 * Whether the directory may be started on at all is engine.c's question.
 *
 * Flags      only such as etcd 3.4 and 3.5 both know.
 * Back-off   0.2 s, doubled up to 30 s; anew after a minute of running. A full
 *            disk ends it: it is started again until there is room.
 */
#ifndef CFS_MGMTD_ETCD_PROC_H
#define CFS_MGMTD_ETCD_PROC_H

#include "core/host.h"
#include "mgmtd/pidwatch.h"

enum etcd_state { ETCD_NONE, ETCD_RUNNING, ETCD_WAITING, ETCD_STOPPING };

struct etcd_proc {
    struct cfs_loop *loop;
    struct cfs_log  *log;
    char            *dir;      /* STATE_DIR/etcd */
    char            *output;   /* RUN_DIR/etcd.out */
    char            *log_path; /* LOG_DIR/etcd.log */
    char            *trust;    /* where the certificates are */
    char            *name;     /* this node's */
    char            *host;     /* where others reach it */
    char            *listens;  /* URL, of the process that runs; or NULL */
    uint16_t         port;     /* mgmtd's */
    uint64_t         quota;    /* bytes; of the next start */
    /* Of a first start, on an empty directory: NULL otherwise. */
    char            *initial;  /* NAME=PEER-URL,... */
    char            *token;
    bool             existing; /* it joins others */

    enum etcd_state  state;
    uint32_t         pid;      /* 0: none */
    struct pidwatch *watch;
    struct cfs_timer timer;    /* WAITING: to start; STOPPING: patience */
    uint64_t         started;  /* boot time, ns */
    unsigned         failures; /* in a row */
    int64_t          log_from; /* where this process's words begin */
    char             reason[CFS_ERR_TEXT]; /* why the last one ended */

    void (*ended)(void *arg); /* each end, from the loop; may be NULL */
    void  *arg;
};

/* Strings are copied. */
void etcd_proc_init(struct etcd_proc *p, struct cfs_host *host,
                    const char *trust);
void etcd_proc_fini(struct etcd_proc *p); /* the process goes on */

/* Who it is; and of a first start (@initial NULL: it is none). */
void etcd_proc_name(struct etcd_proc *p, const char *name, const char *host);
void etcd_proc_first(struct etcd_proc *p, const char *initial,
                     const char *token, bool existing);

/* -ENOENT: etcd is not installed; err says what to install. Once it runs
 * (state is not NONE) nothing happens. */
int  etcd_proc_start(struct etcd_proc *p, struct cfs_err *err);
/* End it; @ended runs then. */
void etcd_proc_stop(struct etcd_proc *p);
/* One that runs on our directory already: watch it. */
bool etcd_proc_adopt(struct etcd_proc *p);

/* The binary was replaced since it was started, or it listens where this node
 * is not reached any more. */
bool etcd_proc_is_old(const struct etcd_proc *p);
/* -ENOENT with words: it must be installed. */
int  etcd_proc_find(char **ret_path, struct cfs_err *err);
const char *etcd_state_str(enum etcd_state s);

/* https://HOST:PORT+1 and +2; malloc'ed. */
char *etcd_client_url(const char *host, uint16_t port);
char *etcd_peer_url(const char *host, uint16_t port);

#endif
