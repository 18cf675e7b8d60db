/* SPDX-License-Identifier: Apache-2.0 */
/* replicate_core.h - what replication decides, without I/O: who may be asked
 * (view, session, attachment), what happens to a change, which member serves
 * a read, what may be cleared. design: docs/replication.md.
 *
 * The owner tells what happened (rep_...(core, ..., now)) and does what struct
 * rep_io asks for. No call of rep_io answers from inside: answers come later
 * by the function named beside it.
 *
 * (1) A change is answered 0 only when every member of the view answered it in
 *     one epoch, every in-sync one with 0 (I1).
 * (2) A change number goes out with one content only; until it is settled it
 *     is repeated as it is, and acked_below stays at or below it.
 * (3) At most one change of an inode is between "numbered" and "settled".
 * (4) What a session sent is never sent by another session.
 *
 * Shapes     members by index: the owner's children in order.
 * Units      ns of cfs_now(); bytes.
 * Ownership  struct rep_change and rep_read belong to the owner, from
 *            ..._start() until release() or read_end().
 * Errors     0 or negative, as core/err.h.
 */
#ifndef CFS_REPLICATE_CORE_H
#define CFS_REPLICATE_CORE_H

#include "core/fop.h"
#include "core/log.h"
#include "xlators/cluster/replicate/versions.h"

#define REP_FIRST_EVENT   (10 * CFS_SEC)
#define REP_TRIES         8      /* looks at versions before -EIO */
#define REP_VERSIONS      131072 /* inodes whose version is remembered */
#define REP_CLEAR_BATCH   512    /* inodes in one clear */
#define REP_CLEAR_PACKED  32     /* bytes for each: gfid, epoch, seq */
#define REP_CLEAR_MAX     65536  /* changes remembered until cleared */
#define REP_CLEAR_EVERY   CFS_SEC
#define REP_SLOT_BUCKETS  1024
#define REP_NEVER         UINT64_MAX

struct rep_core;

/* -- a change -------------------------------------------------------------- */

/* How a change touches an inode. */
enum rep_touch_kind {
    REP_TOUCH_CHANGE, /* makes the next version */
    REP_TOUCH_NEW,    /* as CHANGE, and the inode is not there yet */
    REP_TOUCH_KEEP,   /* must be at this version, stays at it */
};

/* A place in the queue for an inode (slots). */
struct rep_slot {
    struct cfs_list    link;
    struct cfs_gfid    gfid;
    struct rep_change *ch;
};

enum rep_change_state {
    REP_CH_NAMES,   /* the owner finds out which inodes it touches */
    REP_CH_SLOTS,   /* waits behind changes of the same inodes */
    REP_CH_LOOKING, /* a version is being asked for */
    REP_CH_SPACE,   /* figures of free space are being asked for */
    REP_CH_READY,   /* can be sent when the set is usable */
    REP_CH_SENT,    /* numbered; legs are out, or must be repeated */
    REP_CH_DYING,   /* over; a leg that nobody waits for is still out */
};

enum rep_leg_state { REP_LEG_IDLE, REP_LEG_FLYING, REP_LEG_ANSWERED };

struct rep_leg {
    enum rep_leg_state state;
    uint32_t           gen;    /* of the attachment that it was sent on */
    uint64_t           epoch;  /* that it was sent in */
    int                status; /* ANSWERED: what it said */
    uint64_t           pos;    /* ANSWERED: journal position */
};

struct rep_change {
    struct cfs_list       link;     /* in core.changes */
    struct cfs_list       waiting;  /* in core.waiting, or alone */
    struct cfs_list       numbered; /* in core.numbered, or alone */
    enum rep_change_state state;
    bool                  sync;     /* class SYNC: no number, no slots */
    bool                  answered; /* the caller has its answer */
    bool                  told;     /* the log knows that members disagree */
    bool                  space_asked;
    unsigned              tries;
    unsigned              flying;   /* legs out */
    uint64_t              size;     /* bytes of space that it may take */
    struct cfs_gfid       look;     /* LOOKING: whose version is asked */
    uint64_t              started;
    uint64_t              since;    /* when it began to wait for the set */
    unsigned              n_slots;  /* places that it has taken or waits for */
    struct rep_slot       slot[CFS_TOUCH_MAX]; /* in order of gfid */
    enum rep_touch_kind   kind[CFS_TOUCH_MAX]; /* of wire.touch */
    struct cfs_change     wire;
    struct rep_leg        leg[CFS_SET_MAX];
};

/* -- a read ---------------------------------------------------------------- */

struct rep_read {
    struct cfs_list    link;    /* in core.reads */
    struct cfs_list    waiting; /* in core.reads_waiting, or alone */
    struct cfs_gfid    subject;
    struct cfs_version want;
    unsigned           member;  /* that was asked */
    uint32_t           gen;
    uint32_t           failed;  /* members that gave an answer of no use */
    bool               stale;   /* one had not the wanted version */
    bool               relaxed; /* takes whatever there is */
    int                worst;   /* first answer of no use */
    uint64_t           started;
    uint64_t           since;
};

/* -- the set --------------------------------------------------------------- */

struct rep_member {
    struct cfs_uuid brick;
    bool            connected;   /* the transport is there */
    bool            in_view;
    bool            in_sync;     /* else syncing */
    uint64_t        incarnation; /* that the view names */
    /* attachment */
    bool            asked;       /* session_attach is out, */
    uint32_t        ask_life;    /* on this connection, */
    uint64_t        ask_epoch;   /* in this view */
    uint32_t        life;        /* counts connections */
    uint32_t        gen;         /* counts attachments */
    bool            attached;    /* on this connection */
    uint64_t        epoch;       /* attached in it */
    uint64_t        retry_at;
    int             why;         /* not attached: the last reason */
    /* figures of this incarnation, from replies */
    struct cfs_post post;        /* post.epoch 0: none yet */
    bool            info_asked;
    bool            clearing;    /* a clear is out, */
    bool            cleared;     /* or has been answered */
    uint64_t        renewed_at;  /* changes in the ring before this one are
                                    of an earlier incarnation */
};

enum rep_session_state {
    REP_SESSION_NONE,
    REP_SESSION_OPENING,
    REP_SESSION_OPEN,
    REP_SESSION_REFUSED, /* for good */
};

/* A change of one inode that is settled and not yet cleared. */
struct rep_done {
    uint64_t           no;
    struct cfs_gfid    gfid;
    struct cfs_version version;
    uint64_t           pos[CFS_SET_MAX];
};

struct rep_clear {
    struct rep_done *ring;  /* cap entries, a power of two */
    uint64_t         head;  /* number of the oldest, counted for ever */
    uint32_t         count;
    uint32_t         cap;
    uint64_t         at;    /* when to look next */
    uint64_t         sent_below;
    bool             out;   /* a batch waits for answers */
    bool             flushing; /* a sync was asked for, to get on */
    uint64_t         left_out; /* forgotten because the ring was full */
    uint64_t         below;    /* the batch */
    uint32_t         n;
    uint8_t          packed[REP_CLEAR_BATCH * REP_CLEAR_PACKED];
};

struct rep_io {
    /* -> rep_opened(). @given_up: the session that this one follows, or 0. */
    void (*session_open)(struct rep_core *c, unsigned m, uint32_t given_up);
    void (*session_attach)(struct rep_core *c,
                           unsigned m); /* -> rep_attached() */
    void (*info)(struct rep_core *c, unsigned m); /* figures -> rep_info() */
    void (*clear)(struct rep_core *c, unsigned m); /* -> rep_cleared() */
    /* Find @g's version (want nothing) -> rep_change_looked(). */
    void (*look)(struct rep_core *c, struct rep_change *ch,
                 struct cfs_gfid g);
    /* What the names are must be asked again -> rep_change_start(), which
     * may be called at once. */
    void (*again)(struct rep_core *c, struct rep_change *ch);
    /* Send ch->wire in the present epoch -> rep_change_answered(). */
    void (*send)(struct rep_core *c, struct rep_change *ch, unsigned m);
    /* The caller's answer. @m: a member whose outputs are the answer's, when
     * the leg was answered; else -1. */
    void (*answer)(struct rep_core *c, struct rep_change *ch, int status,
                   int m);
    void (*release)(struct rep_core *c, struct rep_change *ch);
    void (*read)(struct rep_core *c, struct rep_read *rd, unsigned m);
    void (*read_end)(struct rep_core *c, struct rep_read *rd, int status);
    /* An fsync of anything at all members, to make positions durable
     * -> rep_flushed(). */
    void (*flush)(struct rep_core *c);
    void (*up)(struct rep_core *c);   /* the set can be served */
    void (*down)(struct rep_core *c); /* it cannot */
    void (*refused)(struct rep_core *c, const struct cfs_session *holder);
    /* Not yet: @holder is silent, and is waited for. Told once. */
    void (*held_up)(struct rep_core *c, const struct cfs_session *holder);
    void (*session)(struct rep_core *c); /* core.session is another now */
    void (*want_view)(struct rep_core *c);
    /* @m could not do what another member did: the next view should be
     * without it. */
    void (*differs)(struct rep_core *c, unsigned m);
    void (*idle)(struct rep_core *c); /* stopping: nothing is in flight */
    struct cfs_time (*realtime)(struct rep_core *c);
    void (*note)(struct rep_core *c, enum cfs_log_level level,
                 const char *text);
};

struct rep_core {
    const struct rep_io *io;
    void                *owner;
    struct cfs_uuid      set;
    unsigned             n;
    struct rep_member    m[CFS_SET_MAX];
    uint64_t             wait;   /* network.wait */
    bool                 spread; /* reads: by gfid, else first in order */
    uint64_t             now;
    uint64_t             due;    /* call rep_tick() then */
    /* view and session */
    struct cfs_view        view;    /* epoch 0: none */
    bool                   foreign; /* it names a brick that we do not have */
    enum rep_session_state ss;
    struct cfs_session     session; /* no 0: none */
    bool                   session_used; /* the set was usable with it */
    uint32_t               given_up;
    uint64_t               open_epoch;
    uint64_t               open_at;
    unsigned               in_use;  /* answers in a row that somebody lives */
    bool                   held_up; /* told */
    uint64_t               want_at; /* ask for a view not before */
    uint64_t               differs_at; /* nor tell who differs */
    /* what can be served */
    bool     started;
    bool     stopping;
    bool     usable;     /* every member of the view is attached */
    uint64_t down_since; /* !usable */
    bool     is_up;      /* as told */
    bool     was_up;
    bool     told;       /* the first event is out */
    uint64_t first_by;
    /* changes and reads */
    struct cfs_time      last_time;
    uint64_t             next_no;
    uint64_t             flying_bytes;
    unsigned             n_changes; /* that somebody waits for */
    unsigned             n_orphans; /* answered -EIO, not settled */
    unsigned             n_reads;
    struct cfs_list      changes;
    struct cfs_list      waiting;
    struct cfs_list      numbered; /* in order */
    struct cfs_list      reads;
    struct cfs_list      reads_waiting;
    struct cfs_list      slots[REP_SLOT_BUCKETS];
    struct rep_versions *versions;
    struct rep_clear     clear;
};

/* @bricks: the children's, in order. -ENOMEM. */
int  rep_core_init(struct rep_core *c, const struct rep_io *io, void *owner,
                   const struct cfs_uuid *bricks, unsigned n, uint64_t now);
void rep_core_fini(struct rep_core *c); /* nothing is in flight */

/* Events of the set. */
void rep_start(struct rep_core *c, uint64_t now);
void rep_stop(struct rep_core *c, uint64_t now); /* -> idle() */
void rep_tick(struct rep_core *c, uint64_t now);
/* False: not news, or not this set's. */
bool rep_view(struct rep_core *c, const struct cfs_view *v, uint64_t now);
void rep_connected(struct rep_core *c, unsigned m, uint64_t now);
void rep_disconnected(struct rep_core *c, unsigned m, uint64_t now);
void rep_opened(struct rep_core *c, int status,
                const struct cfs_session *session,
                const struct cfs_session *holder, uint64_t now);
void rep_attached(struct rep_core *c, unsigned m, int status,
                  const struct cfs_view *view, uint64_t now);
void rep_info(struct rep_core *c, unsigned m, const struct cfs_post *post,
              uint64_t now);
/* Figures of any reply of member @m. */
void rep_post(struct rep_core *c, unsigned m, const struct cfs_post *post);

/* At the end, when legs can only be answered -ENOTCONN: what was sent is
 * over. */
void rep_drop_all(struct rep_core *c, uint64_t now);

/* A change: the owner fills kind[], wire.n, wire.touch[].gfid (each once),
 * size, or sync; the rest is zero. Again after again(). */
void rep_change_start(struct rep_core *c, struct rep_change *ch,
                      uint64_t now);
/* In REP_CH_NAMES (before start, after again): it ends here. */
void rep_change_fail(struct rep_core *c, struct rep_change *ch, int status,
                     uint64_t now);
void rep_change_add(struct rep_change *ch, struct cfs_gfid g,
                    enum rep_touch_kind kind);
void rep_change_looked(struct rep_core *c, struct rep_change *ch, int status,
                       const struct cfs_attr *attr, uint64_t now);
void rep_change_answered(struct rep_core *c, struct rep_change *ch,
                         unsigned m, int status, const struct cfs_post *post,
                         uint64_t now);

/* A read: the owner fills subject and want. */
void rep_read_start(struct rep_core *c, struct rep_read *rd, uint64_t now);
void rep_read_answered(struct rep_core *c, struct rep_read *rd, int status,
                       uint64_t now);

void rep_learn(struct rep_core *c, struct cfs_gfid g, struct cfs_version v);
/* (0, 0) when not known. */
struct cfs_version rep_known(struct rep_core *c, struct cfs_gfid g);

void rep_flushed(struct rep_core *c, int status, uint64_t now);
void rep_cleared(struct rep_core *c, unsigned m, int status, uint64_t now);
/* Clear now what may be; false: nothing is left, or nothing can be done. */
bool rep_clear_now(struct rep_core *c, uint64_t now);

/* Whether every brick of the set is an in-sync, attached member. */
bool rep_complete(const struct rep_core *c);

/* Members of the view that are not attached, in words, for people. */
void rep_missing(const struct rep_core *c, char *buf, size_t len,
                 const char *(*name)(void *owner, unsigned m));

#endif
