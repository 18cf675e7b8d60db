/* SPDX-License-Identifier: Apache-2.0 */
/* store_copy.h - this node's copy of the records, in one SQLite file: with the
 * embedded engine the authority itself, with etcd what was heard of it.
 *
 * Two connections in write-ahead mode: the loop thread reads on one, and one
 * job at a time changes on the other.
 *
 * Tables   records(key, value, token, sum): sum is the XXH3-64 of key, NUL,
 *          token (8 B little-endian), value.
 *          head: one row: format, lineage, revision, number of records, the
 *          exclusive or of all their sums, nonce, writer; with a sum of its
 *          own. So a record that was lost, or came back, is noticed.
 * Lock     flock on DIR/lock, which also says who holds it.
 * Threads  copy_get() and copy_range(): the loop's. What changes: a job's,
 *          one at a time. The rest: the loop's, while no job runs.
 * Errors   -CFS_E_CHECKSUM a record is damaged; -CFS_E_CORRUPT they do not
 *          add up, or the file is no database; -ENOSPC, -EIO, -EBUSY.
 *
 * (1) head's revision, count and xor describe the records of the same
 *     committed state.
 */
#ifndef CFS_MGMTD_STORE_COPY_H
#define CFS_MGMTD_STORE_COPY_H

#include "core/err.h"

#define COPY_ID 17 /* 16 digits and NUL, or "-" */

struct copy_head {
    uint64_t lineage;
    uint64_t revision;
    uint64_t count;
    uint64_t xor;
    char     nonce[COPY_ID];  /* etcd: of the transaction at revision */
    char     writer[COPY_ID]; /* etcd: by whose record we last wrote */
};

struct store_copy;

/* Takes the lock. -EBUSY: locked, err says by whom. */
int  copy_open(const char *dir, struct store_copy **ret, struct cfs_err *err);
void copy_close(struct store_copy *c); /* NULL is fine */
/* Opens the file; made, with @lineage, when missing. After an error there is
 * only copy_renew() or copy_close(). */
int  copy_load(struct store_copy *c, uint64_t lineage, struct cfs_err *err);
/* Every record is whole, and together they are what the head says. */
int  copy_verify(struct store_copy *c, struct cfs_err *err);
/* What cannot be read is put aside (store.db.damaged), and an empty copy of
 * @lineage begun. */
int  copy_renew(struct store_copy *c, uint64_t lineage, struct cfs_err *err);
/* As of the last commit. */
const struct copy_head *copy_head(const struct store_copy *c);
/* Whether a commit is on the disk when it returns (else it only survives the
 * end of this process, not of the machine). At first it is. */
int copy_set_durable(struct store_copy *c, bool durable, struct cfs_err *err);

/* -- reading ------------------------------------------------------------- */

/* -ENOENT. *@ret_text is malloc'ed; both may be NULL. */
int copy_get(struct store_copy *c, const char *key, char **ret_text,
             uint64_t *ret_token, struct cfs_err *err);
/* A negative result of @each ends the walk and is returned. */
typedef int copy_each(void *arg, const char *key, const char *text,
                      uint64_t token, struct cfs_err *err);
int copy_range(struct store_copy *c, const char *prefix, copy_each *each,
               void *arg, struct cfs_err *err);
/* All records and the head of one committed state; -CFS_E_CORRUPT when they
 * do not add up. */
int copy_read_all(struct store_copy *c, struct copy_head *ret,
                  copy_each *each, void *arg, struct cfs_err *err);

/* -- changing: begin, then anything, then commit or abort ---------------- */

/* A record that is now otherwise; text NULL: it is gone. */
struct store_change {
    char    *key;
    char    *text;
    uint64_t token;
};

struct store_changes {
    struct store_change *v;
    size_t               n;
};

void store_changes_add(struct store_changes *l, const char *key,
                       const char *text, uint64_t token); /* copies */
void store_changes_free(struct store_changes *l);         /* and empties */

/* The head is read anew each time: after a COMMIT that failed nobody knows
 * which one is there. */
int  copy_begin(struct store_copy *c, struct copy_head *ret,
                struct cfs_err *err);
int  copy_commit(struct store_copy *c, const struct copy_head *h,
                 struct cfs_err *err);
void copy_abort(struct store_copy *c);

/* As copy_get(), of the state that is being made. */
int copy_token(struct store_copy *c, const char *key, uint64_t *ret,
               struct cfs_err *err);
/* What changes is added to @log. */
int copy_put(struct store_copy *c, struct copy_head *h, const char *key,
             const char *text, uint64_t token, struct store_changes *log,
             struct cfs_err *err);
int copy_delete(struct store_copy *c, struct copy_head *h, const char *key,
                uint64_t token, struct store_changes *log,
                struct cfs_err *err);
int copy_delete_prefix(struct store_copy *c, struct copy_head *h,
                       const char *prefix, uint64_t token,
                       struct store_changes *log, struct cfs_err *err);
/* All records are now @all, in order of keys; damaged ones are no obstacle.
 * @log: those that differ, in value or token, and those that are gone. */
int copy_replace(struct store_copy *c, struct copy_head *h,
                 const struct store_changes *all, struct store_changes *log,
                 struct cfs_err *err);

/* A new file in @dir, in the place of any that is there, with head's lineage
 * and revision, and the records @all with that token. The old one or the new
 * one is there whatever happens. -EBUSY: @dir is in use. */
int copy_make(const char *dir, const struct copy_head *head,
              const struct store_changes *all, struct cfs_err *err);

#endif
