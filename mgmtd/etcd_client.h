/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_client.h - requests to an etcd over HTTP/JSON: libcurl's multi
 * interface on our loop, jansson. Members are tried in turn: one that does not
 * answer in time is left for the next one.
 *
 * Errors  -EHOSTUNREACH no member answered in time; -EAGAIN etcd says that it
 *         has no leader; -EIO with etcd's words otherwise. A request that was
 *         given up may have happened: transactions with comparisons make a
 *         repeat harmless, reading tells.
 * Threads the loop thread.
 */
#ifndef CFS_MGMTD_ETCD_CLIENT_H
#define CFS_MGMTD_ETCD_CLIENT_H

#include "mgmtd/engine.h"

struct etcd_client;

int  etcd_client_new(struct cfs_loop *loop, struct cfs_log *log,
                     const struct etcd_target *to, struct etcd_client **ret,
                     struct cfs_err *err);
void etcd_client_free(struct etcd_client *c); /* requests end without done */
/* Other members, renewed certificates. Requests under way go on. */
void etcd_client_retarget(struct etcd_client *c,
                          const struct etcd_target *to);

/* @reply is borrowed, NULL unless status is 0. Never from inside. */
typedef void etcd_done(void *arg, int status, json_t *reply,
                       const struct cfs_err *err);
/* POST @path ("/v3/kv/txn") with @body (taken over). @try_ms: patience with
 * one member before the next is asked; @total_ms: with all of them. */
void etcd_post(struct etcd_client *c, const char *path, json_t *body,
               uint32_t try_ms, uint32_t total_ms, etcd_done *done,
               void *arg);

/* One member only, by index in the target. */
void etcd_post_to(struct etcd_client *c, unsigned member, const char *path,
                  json_t *body, uint32_t total_ms, etcd_done *done,
                  void *arg);

/* A watch from @revision on (its own events included) on all keys with
 * @prefix. @event for each line of the stream; @ended once, with the reason:
 * -ESTALE compacted, -EHOSTUNREACH... The owner starts another. */
struct etcd_watch;
struct etcd_watch_events {
    void (*event)(void *arg, json_t *result);
    void (*ended)(void *arg, int status, const struct cfs_err *err);
};
void etcd_watch_start(struct etcd_client *c, const char *prefix,
                      uint64_t revision, const struct etcd_watch_events *ev,
                      void *arg, struct etcd_watch **ret);
void etcd_watch_stop(struct etcd_watch *w); /* NULL is fine */

/* base64 as etcd's JSON wants it. malloc'ed, NUL-terminated. */
char *etcd_b64(const void *bytes, size_t len);
int   etcd_unb64(const char *text, uint8_t **ret, size_t *ret_len);
/* etcd's 64-bit integers are strings, and absent when 0. */
uint64_t etcd_u64(const json_t *obj, const char *field);

#endif
