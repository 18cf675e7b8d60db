/* SPDX-License-Identifier: Apache-2.0 */
/* store_etcd.h - what the files of the etcd engine share.
 *
 * Keys in etcd (which is ours alone):
 *   /clusterfs/head       {"lineage","state"}: whose life this is. "filling"
 *                         (with an id) while records are brought here from
 *                         the embedded engine; then "live", for good.
 *   /clusterfs/rec/KEY    a record; its token is its mod_revision, with the
 *                         lineage above.
 *   /clusterfs/by/WRITER  {"nonce"}: the last transaction of one life of one
 *                         mgmtd. Every transaction puts one.
 *
 * (1) Every transaction is compared with the live head of our lineage: none
 *     takes effect in an etcd of another life.
 * (2) Each transaction has a nonce, and is one revision of etcd's. So
 *     (revision, nonce) names a point in history: a copy follows on from there
 *     only if etcd still has it there (store_etcd.c).
 * (3) A transaction is carried out at most once, however often it is sent
 *     (store_etcd_txn.c has the proof).
 */
#ifndef CFS_MGMTD_STORE_ETCD_H
#define CFS_MGMTD_STORE_ETCD_H

#include "mgmtd/store/etcd_client.h"
#include "mgmtd/store/store_engine.h"

#define ET_ROOT "/clusterfs/"
#define ET_HEAD "/clusterfs/head"
#define ET_REC  "/clusterfs/rec/"
#define ET_BY   "/clusterfs/by/"

#define ET_TRY_MS     300u  /* patience with one member */
#define ET_COMMIT_MS  5000u /* with all, for a transaction */
#define ET_CURRENT_MS 5000u /* for store_current() */
#define ET_POLL_MS    1500u /* for the comparison of each second */

/* -- requests and answers: store_etcd_wire.c ------------------------------ */

json_t *et_cmp_mod(const char *key, uint64_t revision); /* 0: absent */
json_t *et_cmp_value(const char *key, const char *text);
json_t *et_get(const char *key);
json_t *et_get_version(const char *key); /* no value */
/* The records under /clusterfs/by/ that the transaction at @revision put;
 * read as of then. */
json_t *et_get_nonce(uint64_t revision);
json_t *et_put(const char *key, const char *text);
json_t *et_delete(const char *key);
json_t *et_delete_prefix(const char *prefix);
/* Takes the arrays over; NULL is an empty one. */
json_t *et_txn(json_t *compare, json_t *success, json_t *failure);

uint64_t et_revision(const json_t *reply); /* of its header */
/* The range that is answer @i of a transaction; its first kv. NULL: none. */
const json_t *et_range(const json_t *reply, size_t i);
const json_t *et_first(const json_t *range);

struct et_head {
    uint64_t mod;     /* revision that last changed it; 0: there is none */
    uint64_t lineage;
    bool     live;
    char     text[192];
};
/* @range: the answer to et_get(ET_HEAD). -EBADMSG. */
int   et_head_read(const json_t *range, struct et_head *ret);
/* malloc'ed. @id NULL: live. */
char *et_head_text(uint64_t lineage, const char *id);

/* A random one; and what a by-record says ("" when it is none). */
void  et_nonce(struct cfs_loop *loop, char ret[static COPY_ID]);
char *et_by_key(const char *writer);
char *et_by_text(const char *nonce);
void  et_by_read(const json_t *kv, char ret[static COPY_ID]);
/* The nonce of answer @i, asked with et_get_nonce(). "-": none. */
void  et_nonce_read(const json_t *reply, size_t i, char ret[static COPY_ID]);

/* An event's or a range's key and value as a change of a record. False: it is
 * no record's. What is no text gets the value "", which no reader takes. */
bool et_record(const json_t *kv, bool deleted, uint64_t lineage,
               struct store_changes *add);

/* -- everything, at one revision: store_etcd_read.c ----------------------- */

struct et_image {
    uint64_t             revision;
    struct et_head       head;
    char                 nonce[COPY_ID];
    struct store_changes all; /* in order of keys */
};

struct et_read;
/* @image: take what you want out of it. */
typedef void et_read_done(void *arg, int status, struct et_image *image,
                          const struct cfs_err *err);
void et_read_start(struct etcd_client *c, uint64_t lineage,
                   et_read_done *done, void *arg, struct et_read **ret);
/* One that will not be answered, since its client is gone. NULL is fine. */
void et_read_free(struct et_read *r);

/* -- the engine ---------------------------------------------------------- */

/* What one transaction did, as the watch told it. */
struct et_batch {
    struct cfs_list      link;
    uint64_t             revision;
    char                 nonce[COPY_ID];
    struct store_changes changes;
    size_t               bytes;
};

struct store_etcd {
    struct store       *s;
    struct etcd_client *c;
    uint64_t            lineage; /* that etcd must be of */

    /* Following: store_etcd.c. */
    struct cfs_timer   poll_timer;
    struct cfs_timer   step_timer; /* after something failed */
    bool               polling;
    bool               need_read;
    bool               need_check;
    bool               checking;
    bool               going_live;
    bool               stranger;  /* etcd there is of another life */
    struct et_read    *read;
    struct etcd_watch *watch;
    struct cfs_list    batches;   /* heard, not in the copy yet */
    size_t             batch_bytes;
    uint64_t           heard;     /* the last of them, or the copy's */
    uint64_t           behind;    /* a poll said that we should be there */
    uint64_t           behind_at;
    uint64_t           poll_floor; /* s->revision when it was sent */
    bool               poll_wanted; /* as soon as all is settled */
    uint64_t           read_at;   /* boot time of the last read */

    struct cfs_job       job; /* applies one batch, or an image */
    bool                 working;
    struct et_batch     *batch;
    struct et_image     *image;
    struct store_changes changes;
    int                  status;
    struct cfs_err       err;

    uint64_t authority;    /* etcd's revision, by the last poll */
    uint64_t poll_sent_at; /* boot time, of the one under way */
    uint64_t polled_at;    /* ... of the last that was answered */
    uint64_t current_at;   /* ... of the last that the copy has reached; 0:
                              none */
    char     problem[CFS_ERR_TEXT];

    /* Changing: store_etcd_txn.c. */
    char              writer[COPY_ID];
    char              old_writer[COPY_ID]; /* of our last life; "-": none */
    uint64_t          by_mod;    /* of our own record; 0: none yet */
    bool              unsettled; /* an old try may still take effect */
    bool              sending;   /* a transaction, or one that settles */
    struct store_txn *txn;
    char              nonce[COPY_ID];
    char              settle_nonce[COPY_ID];
    bool              conflict; /* certain once an earlier try is settled */
    bool              done; /* its fate is known; the copy must follow */
    uint64_t          want; /* as far as this */
    int               result;
    struct cfs_err    result_err;
    uint64_t          since; /* when it came, or was done */
    struct cfs_timer  wait_timer;
};

/* store_etcd_txn.c */
void et_commit(struct store *s, struct store_txn *t);
/* Go on with what waits: settle, send, answer. */
void et_txn_step(struct store_etcd *et);
void et_txn_init(struct store_etcd *et);
void et_txn_fini(struct store_etcd *et);

/* store_etcd.c */
void et_follow(struct store_etcd *et);
void et_poll(struct store_etcd *et);
void et_poll_failed(struct store_etcd *et, const struct cfs_err *err);
/* The watch should have told more by now: try another member's. */
void et_watch_is_late(struct store_etcd *et);
/* What etcd's head means for us. 0; or why nothing may be read or written
 * there now, with the words. */
int  et_judge_head(struct store_etcd *et, const struct et_head *h,
                   struct cfs_err *err);
/* store_switch.c: @s's engine is etcd from now on, with this copy of it. */
void et_adopt(struct store *s, struct et_image *image);

#endif
