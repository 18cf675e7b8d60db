/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_client.h - requests to an etcd over HTTP/JSON. Members are tried in
 * turn: one that does not answer in time is left for the next one, again and
 * again until the request's whole time is over. The member that answered last
 * is asked first the next time.
 *
 * Errors  -EHOSTUNREACH nobody answered, and no member can have got it;
 *         -ETIMEDOUT    nobody answered, but a member may have got it: a
 *                       change may have happened, or happen yet;
 *         -ESTALE       the revision was compacted;
 *         -ERANGE       the revision lies in the future;
 *         -EMSGSIZE     the answer is larger than we take, or etcd makes;
 *         -ENOSPC       etcd is over its quota (nothing happened);
 *         -EACCES       its certificate, or ours, was refused;
 *         -EBADMSG      it is not an etcd's answer;
 *         -EIO          etcd's words, in err, otherwise.
 *         Messages name the members and what is the matter with each.
 * Repeats A request that changes something may be carried out twice; see
 *         store_etcd_txn.c how transactions guard themselves.
 * Hostile What comes is bounded in size, must be JSON and of the right form;
 *         whatever else it is, it is an error.
 * Threads the loop thread.
 */
#ifndef CFS_MGMTD_ETCD_CLIENT_H
#define CFS_MGMTD_ETCD_CLIENT_H

#include <jansson.h>

#include "core/log.h"
#include "core/loop.h"

/* Where etcd is, for whoever talks to it. */
#define ETCD_TARGETS 8u
struct etcd_target {
    unsigned n;
    char     url[ETCD_TARGETS][300]; /* this node's own first */
    char     name[ETCD_TARGETS][64]; /* of the node, for messages; or "" */
    char     ca[512], cert[512], key[512]; /* files; "": plain HTTP */
    char     crl[512]; /* of whom the authority does not vouch for any more;
                          "", or not there: nobody */
};

/* An answer of up to this many bytes is taken. */
#define ETCD_ANSWER_MAX (32u << 20)

struct etcd_client;

/* -EINVAL: no member, or too many. */
int  etcd_client_new(struct cfs_loop *loop, struct cfs_log *log,
                     const struct etcd_target *to, struct etcd_client **ret,
                     struct cfs_err *err);
void etcd_client_free(struct etcd_client *c); /* requests end without done */
/* Other members, renewed certificates. Requests under way go on, their next
 * tries to the new members. */
void etcd_client_retarget(struct etcd_client *c,
                          const struct etcd_target *to);
/* The first member is well: it is asked first again, and the next watch begins
 * there. Without it whoever answered last is asked, for ever. */
void etcd_client_go_home(struct etcd_client *c);
/* Which members do not answer, and why: "n1: ...; n2: ...". "" when all that
 * were asked lately did. */
void etcd_client_problem(const struct etcd_client *c, char *ret, size_t len);

/* @reply is borrowed, NULL unless status is 0. Never from inside. */
typedef void etcd_done(void *arg, int status, json_t *reply,
                       const struct cfs_err *err);
/* POST @path ("/v3/kv/txn") with @body (taken over). @try_ms: patience with
 * one member before the next is asked, growing from round to round; @total_ms:
 * with all of them. */
void etcd_post(struct etcd_client *c, const char *path, json_t *body,
               uint32_t try_ms, uint32_t total_ms, etcd_done *done,
               void *arg);

/* One member only, by index in the target. */
void etcd_post_to(struct etcd_client *c, unsigned member, const char *path,
                  json_t *body, uint32_t total_ms, etcd_done *done,
                  void *arg);

/* Inside of done: an earlier try of this request went out and was never
 * answered, so that it may have happened, or may happen yet, besides the one
 * that was answered. */
bool etcd_in_doubt(const struct etcd_client *c);

/* -- watching: etcd_watch.c ---------------------------------------------- */

/* A watch from @revision on (its own events included) on all keys with
 * @prefix ("": all there are). @event for each result in the stream, the one
 * with "created" included; @ended once, with the reason: -ESTALE compacted,
 * -EHOSTUNREACH, -EMSGSIZE, ... The owner stops it then, and may start another:
 * that goes to another member unless the stream ended by a cancel of etcd's. */
struct etcd_watch;
struct etcd_watch_events {
    void (*event)(void *arg, json_t *result);
    void (*ended)(void *arg, int status, const struct cfs_err *err);
};
void etcd_watch_start(struct etcd_client *c, const char *prefix,
                      uint64_t revision, const struct etcd_watch_events *ev,
                      void *arg, struct etcd_watch **ret);
void etcd_watch_stop(struct etcd_watch *w); /* NULL is fine */
/* As above; the member is not trusted to tell: another one next time. */
void etcd_watch_leave(struct etcd_watch *w);

/* -- JSON as etcd has it: etcd_json.c ------------------------------------ */

/* base64. malloc'ed, NUL-terminated. */
char *etcd_b64(const void *bytes, size_t len);
/* -EBADMSG. *@ret has a NUL behind it. */
int   etcd_unb64(const char *text, uint8_t **ret, size_t *ret_len);
json_t *etcd_json_b64(const char *text); /* a JSON string */
/* The end of the range of all keys with @prefix, as JSON base64. */
json_t *etcd_json_end(const char *prefix);
/* A string field in base64, of which the decoded text holds no NUL;
 * malloc'ed. -EBADMSG when it is missing or something else. */
int etcd_text(const json_t *obj, const char *field, char **ret);
/* etcd's 64-bit integers are strings, and absent when 0. -EBADMSG. */
int etcd_number(const json_t *obj, const char *field, uint64_t *ret);
/* The same, 0 for whatever is no number. */
uint64_t etcd_u64(const json_t *obj, const char *field);
json_t  *etcd_json_u64(uint64_t n);
/* What an answer says that is an error: its words and gRPC code. False: it
 * says none. */
bool etcd_error(const json_t *answer, const char **ret_words, int *ret_code);

#endif
