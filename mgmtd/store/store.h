/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - the configuration store: small JSON records under ordered keys,
 * changed only by transactions. What all nodes must agree on is in here:
 * volumes, bricks, views. Nothing that uses it knows which engine is behind.
 *
 * A transaction says: if these keys are still as I read them, put and delete
 * these. It happens as a whole or not at all (-CFS_E_CONFLICT).
 *
 * Shapes     key: 1..STORE_KEY_MAX bytes of printable ASCII without blanks,
 *            ordered as bytes. Value: a JSON object, as text at most
 *            STORE_VALUE_MAX bytes. A transaction: at most STORE_OPS_MAX
 *            comparisons and as many operations, each key at most once (and
            none under a prefix that it deletes); STORE_TXN_MAX bytes.
 * Revision   grows with each transaction that changes something. A record's
 *            token tells what last changed it: it is opaque, and one of
 *            another lineage never compares equal.
 * Lineage    the number of the store's life: see docs/management.md.
 * Reads      come from this node's copy, at once. store_current() waits until
 *            the copy is as new as the authority; with the embedded engine
 *            it always is.
 * Durable    a transaction is answered when it is durable, and when the copy
 *            on this node shows it: who made it sees it.
 * Damage     each record carries a checksum over key, token and value. A
 *            record that does not match is -CFS_E_CHECKSUM, and the message
 *            names its key; it is never returned as a value.
 * Order      after a commit its watchers run, then its done(), both from the
 *            loop, in order of revision.
 * Ownership  values given are borrowed; values returned (json_t) become the
 *            caller's, to json_decref().
 *
 * Read, change, write: take the object that a read returned, set the fields
 * that you know, put it. What a newer version wrote beside them survives.
 */
#ifndef CFS_MGMTD_STORE_H
#define CFS_MGMTD_STORE_H

#include <jansson.h>

#include "core/log.h"
#include "core/loop.h"

#define STORE_KEY_MAX   512u
#define STORE_VALUE_MAX (256u * 1024u)
#define STORE_OPS_MAX   120u
#define STORE_TXN_MAX   (1024u * 1024u) /* keys and values together */

struct store;
struct store_txn;

/* The embedded engine: an SQLite file in @dir, which is locked, so that two
 * daemons never share it. Made when missing, with lineage 1.
 * Errors: -EBUSY (locked; err says by whom), -CFS_E_CHECKSUM, -CFS_E_CORRUPT,
 * -EPROTONOSUPPORT (made by a newer version), -errno. */
int store_open_sqlite(struct cfs_loop *loop, struct cfs_log *log,
                      const char *dir, struct store **ret,
                      struct cfs_err *err);

/* The embedded engine's transaction that is on its way is waited for; all
 * others, and askers, are dropped without done(). NULL is fine. */
void store_close(struct store *s);

/* Of what is read: after the switch, or a join, the old one until the new
 * life's records are here. */
uint64_t    store_lineage(const struct store *s);
uint64_t    store_revision(const struct store *s);
const char *store_engine_name(const struct store *s); /* "sqlite", "etcd" */

/* -ENOENT, -CFS_E_CHECKSUM. @ret_token may be NULL. */
int store_get(struct store *s, const char *key, json_t **ret,
              uint64_t *ret_token, struct cfs_err *err);

/* Each record whose key starts with @prefix, in order of keys. @each borrows
 * @value; it must not commit from inside; a negative result ends the walk and
 * is returned. */
typedef int store_each(void *arg, const char *key, json_t *value,
                       uint64_t token, struct cfs_err *err);
int store_range(struct store *s, const char *prefix, store_each *each,
                void *arg, struct cfs_err *err);

/* -- transactions -------------------------------------------------------- */

struct store_txn *store_txn_new(void);
void              store_txn_free(struct store_txn *t); /* unless committed */

void store_txn_if(struct store_txn *t, const char *key, uint64_t token);
void store_txn_if_absent(struct store_txn *t, const char *key);
void store_txn_put(struct store_txn *t, const char *key, json_t *value);
void store_txn_delete(struct store_txn *t, const char *key);
void store_txn_delete_prefix(struct store_txn *t, const char *prefix);

/* Takes @t over. @done runs once, from the loop, never from inside; @err has
 * the words for a @status that is not 0:
 *   -CFS_E_CONFLICT   a comparison failed; the copy shows why. Read, try again
 *   -EINVAL, -E2BIG   against the shapes above
 *   -EHOSTUNREACH     etcd has no majority, or cannot be reached; the message
 *                     names the members. Nothing was changed, nor will be
 *   -ETIMEDOUT        the same, but the change may have been made. After
 *                     store_current() that is known, and stays so
 *   -ESTALE           etcd is of another lineage; nothing was changed
 *   -ENOSPC, -EIO...  the engine's; nothing was changed */
typedef void store_done(void *arg, int status, const struct cfs_err *err);
void store_commit(struct store *s, struct store_txn *t, store_done *done,
                  void *arg);
/* The transaction that most changes are: @rec (taken over) in place of the
 * record that was read at @token. */
void store_replace(struct store *s, const char *key, uint64_t token,
                   json_t *rec, store_done *done, void *arg);

/* @done once this node's copy is as new as the authority is now. */
void store_current(struct store *s, store_done *done, void *arg);

/* -- etcd as the authority: store_etcd.c ---------------------------------
 *
 * The same file in @dir is then this node's copy of (lineage, revision):
 * reads come from it, whether or not etcd can be reached. It follows etcd's
 * watch; each second its revision is compared with a linearizable read, so
 * that a watch that is silent because it was cut off is noticed. When the
 * lineage changed, etcd's history is not the one that the copy knows (rolled
 * back), or the copy is damaged, everything is read again, and watchers hear
 * of every difference. An etcd of another lineage, or an empty one, is neither
 * read nor written: it cannot empty a copy.
 */
struct etcd_target;

/* Errors as store_open_sqlite(), but etcd need not be there, and a damaged
 * copy is read again; -ESTALE: the copy is of a higher lineage. */
int store_open_etcd(struct cfs_loop *loop, struct cfs_log *log,
                    const char *dir, uint64_t lineage,
                    const struct etcd_target *to, struct store **ret,
                    struct cfs_err *err);
/* From one to many, in place: @s is embedded; transactions that come from now
 * on wait. All records are put into the empty etcd at @to, read back and
 * compared; then @mark is called: when it returns 0 (its marker is durable)
 * etcd is the authority, else, and after any failure before it, the embedded
 * engine still is. Then done(). A repeat after a crash starts anew. */
void store_to_etcd(struct store *s, const struct etcd_target *to,
                   uint64_t lineage, int (*mark)(void *arg), store_done *done,
                   void *arg);
void store_retarget(struct store *s, const struct etcd_target *to);
/* The first of them is well: etcd_client_go_home(). */
void store_go_home(struct store *s);
/* A node that joined, in place: @s is embedded and holds nothing that counts;
 * from now on it is the copy of the etcd at @to, in @lineage. Watchers stay,
 * and hear of every record as it is read. -EBUSY: transactions are queued;
 * -ESTALE: the lineage here is not a lower one. */
int store_follow_etcd(struct store *s, const struct etcd_target *to,
                      uint64_t lineage, struct cfs_err *err);

struct store_health {
    bool     many;      /* etcd */
    bool     current;   /* compared with the authority within 3 s */
    uint64_t authority; /* its revision, as last heard; 0: never */
    uint64_t since;     /* boot time ns: when it was last current */
    char     problem[CFS_ERR_TEXT]; /* why it is not; "" */
};
void store_health(const struct store *s, struct store_health *ret);

/* -- as a document: store_doc.c, lineage.c -------------------------------- */

/* A whole store as one JSON object: {"format", "lineage", "revision",
 * "records": [{"key", "value"}...], "checksum"}. After store_current() it is
 * what the authority has. */
json_t *store_export(struct store *s, struct cfs_err *err);
/* Whether it is whole, and of a form that we know. -CFS_E_CORRUPT,
 * -CFS_E_CHECKSUM, -EPROTONOSUPPORT. */
int store_doc_check(const json_t *doc, struct cfs_err *err);
/* A new store.db in @dir with the document's records, in the place of any that
 * is there, under a higher @lineage and above the document's revision. For a
 * directory that no store is open in (-EBUSY). */
int store_import_sqlite(const char *dir, const json_t *doc, uint64_t lineage,
                        struct cfs_err *err);
/* The document of another life, see lineage.c: generations and epochs jump,
 * nobody is in sync, tokens and voters are gone. Changes @doc in place, its
 * checksum too. */
int store_reborn(json_t *doc, struct cfs_err *err);

/* -- watching ------------------------------------------------------------ */

/* Called for each changed record whose key starts with @prefix. @value is
 * NULL when it was deleted. The owner keeps the struct until unwatch. */
struct store_watch {
    struct cfs_list link;
    const char     *prefix;
    void (*changed)(struct store_watch *w, const char *key, json_t *value,
                    uint64_t token);
};
void store_watch(struct store *s, struct store_watch *w);
void store_unwatch(struct store_watch *w);

#endif
