/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_http.h - one POST to one server: libcurl's multi interface on our loop.
 * Which server, how often and how long is etcd_client.c's affair.
 *
 * libcurl says which sockets and when; libuv's poll handles and a cfs_timer do
 * it, so nothing blocks and no thread is made but the resolver's. HTTP/1.1
 * with keep-alive: a request that hangs holds up no other one, as it would on
 * a shared HTTP/2 connection. Only our own authority is believed, no proxy is
 * asked, no redirection followed, whatever the environment says.
 *
 * Threads    the loop thread.
 * Ownership  a call is embedded by its owner and in use from http_post() until
 *            http_end(). Its buffers are its own.
 * Bounds     an answer that grows beyond max_in bytes ends with -EMSGSIZE.
 */
#ifndef CFS_MGMTD_ETCD_HTTP_H
#define CFS_MGMTD_ETCD_HTTP_H

#include "core/log.h"
#include "core/loop.h"

struct http;

struct http_tls {
    char ca[512], cert[512], key[512]; /* files; "": plain HTTP */
    char crl[512];                     /* "", or not there: none */
};

struct http_call {
    struct cfs_list link; /* in http's ready list */
    struct http    *http; /* NULL: not in use */
    void           *easy; /* CURL */
    void           *headers;
    char           *body;
    size_t          room;     /* bytes of in */
    char            why[256]; /* libcurl's words */

    /* What the owner may look at in ready(). */
    char    *in; /* came and was not eaten yet; NUL behind it */
    size_t   n_in;
    size_t   max_in;
    bool     over;   /* nothing more will come */
    int      status; /* once over: 0, or why the transfer failed */
    long     code;   /* HTTP's */
    unsigned sent;   /* how often the request went out: libcurl repeats it by
                        itself on a kept connection that was dead */

    /* Bytes came, or it is over; from a task, never from inside. */
    void (*ready)(struct http_call *call);
};

int  http_new(struct cfs_loop *loop, struct http **ret, struct cfs_err *err);
void http_free(struct http *h); /* NULL is fine; all calls were ended */

/* @body is taken over. Set ready and max_in before. */
void http_post(struct http *h, struct http_call *call, const char *url,
               const struct http_tls *tls, char *body);
/* The first @n bytes of what came are done with. */
void http_eat(struct http_call *call, size_t n);
/* It is forgotten, whether over or not; harmless twice. */
void http_end(struct http_call *call);

#endif
