/* SPDX-License-Identifier: Apache-2.0 */
/* addr.c - "unix:/path", "HOST:PORT" and "[v6]:PORT" as socket addresses.
 * Names are looked up in the pool: that can take seconds. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/conn_impl.h"

#define UNIX_PREFIX "unix:"
#define PORT_TEXT   6

struct parts {
    char host[256];
    char port[PORT_TEXT];
};

bool rpc_addr_is_unix(const struct rpc_addr *a)
{
    return strncmp(a->text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
}

static bool port_valid(const char *s)
{
    char *end;
    long v;

    if (*s < '0' || *s > '9' || strlen(s) >= PORT_TEXT)
        return false;
    v = strtol(s, &end, 10);
    return *end == '\0' && v <= UINT16_MAX;
}

/* Host and port of "HOST:PORT" or "[v6]:PORT". */
static int split(const char *s, struct parts *ret)
{
    const char *colon = strrchr(s, ':');
    const char *host = s;
    size_t len;

    if (colon == NULL || !port_valid(colon + 1))
        return -EINVAL;
    len = (size_t)(colon - s);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(host, ':', len) != NULL) {
        return -EINVAL; /* IPv6 without brackets */
    }
    if (len == 0 || len >= sizeof ret->host)
        return -EINVAL;
    memcpy(ret->host, host, len);
    ret->host[len] = '\0';
    snprintf(ret->port, sizeof ret->port, "%s", colon + 1);
    return 0;
}

int rpc_addr_parse(const char *s, struct rpc_addr *ret, struct cfs_err *err)
{
    const size_t len = strlen(s);
    struct rpc_addr a;
    struct parts parts;

    if (len >= sizeof a.text)
        return cfs_err_set(err, -EINVAL, "address too long: %.40s...", s);
    memcpy(a.text, s, len + 1);
    if (rpc_addr_is_unix(&a)) {
        const size_t path = len - strlen(UNIX_PREFIX);

        if (path == 0 || path >= sizeof ((struct sockaddr_un *)0)->sun_path)
            return cfs_err_set(err, -EINVAL,
                               "%s: a Unix socket's path has 1 to %zu bytes",
                               s,
                               sizeof ((struct sockaddr_un *)0)->sun_path - 1);
    } else if (split(s, &parts) < 0) {
        return cfs_err_set(err, -EINVAL,
                           "%s: not an address: use HOST:PORT, [V6]:PORT or "
                           "unix:/PATH",
                           s);
    }
    *ret = a;
    return 0;
}

static int lookup(const struct parts *p, int flags, struct rpc_sockaddr *ret,
                  unsigned max, unsigned *ret_n)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = flags | AI_NUMERICSERV,
    };
    struct addrinfo *list;
    unsigned n = 0;
    int rc;

    rc = getaddrinfo(p->host, p->port, &hints, &list);
    if (rc != 0)
        return rc == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH;
    for (struct addrinfo *ai = list; ai != NULL && n < max; ai = ai->ai_next) {
        if (ai->ai_addrlen > sizeof ret[n].storage)
            continue;
        memcpy(&ret[n].storage, ai->ai_addr, ai->ai_addrlen);
        ret[n].len = ai->ai_addrlen;
        n++;
    }
    freeaddrinfo(list);
    *ret_n = n;
    return n > 0 ? 0 : -EHOSTUNREACH;
}

int rpc_addr_literal(const struct rpc_addr *a, struct rpc_sockaddr *ret)
{
    struct parts parts;
    unsigned n;

    if (rpc_addr_is_unix(a)) {
        const char *path = a->text + strlen(UNIX_PREFIX);

        memset(ret, 0, sizeof *ret);
        ret->un.sun_family = AF_UNIX;
        if (strlen(path) >= sizeof ret->un.sun_path)
            return -EINVAL;
        memcpy(ret->un.sun_path, path, strlen(path));
        ret->len = sizeof ret->un;
        return 1;
    }
    if (split(a->text, &parts) < 0)
        return -EINVAL;
    return lookup(&parts, AI_NUMERICHOST, ret, 1, &n) == 0 ? 1 : 0;
}

/* -- names ---------------------------------------------------------------- */

struct rpc_resolve {
    struct cfs_job   job;
    struct rpc_conn *conn; /* NULL: cancelled */
    struct parts     parts;
    int              rc;
    unsigned         n;
    struct rpc_sockaddr to[RPC_ADDR_MAX];
    void (*done)(struct rpc_conn *c, int rc, const struct rpc_sockaddr *to,
                 unsigned n);
};

static void resolve_work(struct cfs_job *job)
{
    struct rpc_resolve *r = container_of(job, struct rpc_resolve, job);

    r->rc = lookup(&r->parts, AI_ADDRCONFIG, r->to, RPC_ADDR_MAX, &r->n);
}

static void resolve_done(struct cfs_job *job)
{
    struct rpc_resolve *r = container_of(job, struct rpc_resolve, job);

    if (r->conn != NULL)
        r->done(r->conn, r->rc, r->to, r->n);
    free(r);
}

struct rpc_resolve *rpc_resolve_start(
    struct cfs_loop *loop, const struct rpc_addr *a, struct rpc_conn *c,
    void (*done)(struct rpc_conn *c, int rc, const struct rpc_sockaddr *to,
                 unsigned n))
{
    struct rpc_resolve *r = calloc(1, sizeof *r);

    if (r == NULL || split(a->text, &r->parts) < 0) {
        free(r);
        return NULL;
    }
    r->conn = c;
    r->done = done;
    cfs_job_run(loop, &r->job, resolve_work, resolve_done);
    return r;
}

void rpc_resolve_cancel(struct rpc_resolve *r)
{
    if (r != NULL)
        r->conn = NULL;
}

uint16_t rpc_sockaddr_port(const struct rpc_sockaddr *s)
{
    if (s->any.sa_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)&s->storage)
                         ->sin6_port);
    return ntohs(
        ((const struct sockaddr_in *)(const void *)&s->storage)->sin_port);
}

void rpc_sockaddr_set_port(struct rpc_sockaddr *s, uint16_t port)
{
    if (s->any.sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&s->storage)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)(void *)&s->storage)->sin_port = htons(port);
}

void rpc_sockaddr_any(sa_family_t family, uint16_t port,
                      struct rpc_sockaddr *ret)
{
    *ret = (struct rpc_sockaddr){0};
    ret->any.sa_family = family;
    ret->len = family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                  : sizeof(struct sockaddr_in);
    rpc_sockaddr_set_port(ret, port);
}

void rpc_sockaddr_print(const struct rpc_sockaddr *s, char *ret, size_t size)
{
    char host[64], port[PORT_TEXT + 2];

    if (getnameinfo(&s->any, s->len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(ret, size, "unknown peer");
    else if (s->any.sa_family == AF_INET6)
        snprintf(ret, size, "[%s]:%s", host, port);
    else
        snprintf(ret, size, "%s:%s", host, port);
}

void rpc_sockaddr_host(const struct rpc_sockaddr *s, char *ret, size_t size)
{
    const char *mapped = "::ffff:";

    if (getnameinfo(&s->any, s->len, ret, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST) != 0) {
        if (size > 0)
            ret[0] = '\0';
        return;
    }
    if (strncmp(ret, mapped, strlen(mapped)) == 0 && strchr(ret, '.'))
        memmove(ret, ret + strlen(mapped),
                strlen(ret + strlen(mapped)) + 1);
}
