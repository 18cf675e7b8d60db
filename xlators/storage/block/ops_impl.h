/* SPDX-License-Identifier: Apache-2.0 */
/* ops_impl.h - what the files of the file system share: a brick's state in
 * memory, an operation in progress, the plan of a change, its data.
 *
 * A run of an operation ends with a status (0 or negative), with -CFS_E_MISS
 * (put aside until the node is there), or with one of enum op_more. It may run
 * many times; nothing that it did before the last one has had an effect.
 */
#ifndef CFS_BLOCK_OPS_IMPL_H
#define CFS_BLOCK_OPS_IMPL_H

#include "xlators/storage/block/jrec.h"
#include "xlators/storage/block/ops.h"
#include "xlators/storage/block/stall.h"

/* -- an operation's turn (op.c) ------------------------------------------- */

enum op_more {
    OP_WAIT = 1, /* somebody will call op_again() or op_end() */
    OP_LATER,    /* more to do, but others first: in the next turn */
    OP_SPACE,    /* again when the removals have freed more */
};

struct op;
struct plan;
struct stage;

struct op_type {
    /* Where the request names its inode; reads hold it, changes hold what they
     * touch. 0: none. */
    size_t gfid_at;
    int (*read)(struct op *op, struct cfs_gfid gfid,
                const struct rec_inode *ino);
    int (*plan)(struct op *op, struct plan *p);
    int (*run)(struct op *op); /* neither a read nor a change */
    unsigned n_out;            /* attributes in a change's answer */
};

/* A place in an inode's queue. */
struct op_hold {
    struct cfs_list link;
    struct op      *op;
    struct op_ino  *ino;
    bool            shared;
    bool            granted;
};

#define OP_HOLDS CFS_TOUCH_MAX

struct op {
    struct ops           *o;
    struct cfs_req       *req; /* NULL: the brick's own */
    struct cfs_arena     *arena;
    const struct op_type *type;
    struct cfs_list       link; /* ops.running */
    struct op_hold        hold[OP_HOLDS];
    unsigned              n_holds;
    unsigned              blocked; /* holds not granted */
    struct cfs_list       waits;   /* struct op_wait: nodes that it pins */
    struct cfs_list       later;   /* ops.later or .spaceless */
    struct cfs_task       again;
    struct eng_done       done;    /* commit or sync */
    struct stage         *stage;   /* a change's data */
    struct answer        *answer;  /* a change that is committed */
    struct cfs_blob       request; /* a change, packed once */
    struct plan          *plan;    /* a change's, worked out at each run */
    struct cfs_list       follow;  /* a repeat: in answer.followers */
    void                 *state;   /* between runs, the operation's own */

    /* The brick's own changes, and those of control requests. */
    enum jrec_type   own_type;
    struct jrec_own *own;
    int (*own_plan)(struct op *op, struct plan *p);
    void (*own_done)(struct op *op, int status);
    struct cfs_arena own_arena;
};

/* Begin @op, whose holds are set; it runs now or when its turn comes. */
void op_hold(struct op *op, struct cfs_gfid g, bool shared);
void op_begin(struct op *op);
void op_again(struct op *op);            /* run it, from a task */
void op_end(struct op *op, int status);  /* answer it; @op is gone */
void op_release(struct op *op);          /* let the next ones go on */
void op_later_fire(struct cfs_timer *t);
void op_space_again(struct ops *o); /* those that found no space */
void op_inos_free(struct ops *o);
/* op_prefetch.c: at its first miss; before a replay comes to it. */
void op_prefetch(const struct op *op);
void own_prefetch(const struct ops *o, enum jrec_type type,
                  const struct jrec_own *own);

/* A change of the brick's own: @plan, then a record of @type. @done when it is
 * written; then the operation is freed. */
struct op *op_own_new(struct ops *o, enum jrec_type type,
                      int (*plan)(struct op *, struct plan *),
                      void (*done)(struct op *, int));

/* -- sessions and answers (session.c) ------------------------------------- */

struct answer {
    struct session   *session;
    struct cfs_list   link;      /* session.applied or .failed, by arrival */
    struct cfs_list   hash;
    struct cfs_list   unstored;  /* ops.unstored */
    struct cfs_list   followers; /* repeats that wait for the record */
    uint64_t          no;
    bool              stored;  /* in the tree */
    bool              written; /* its record is in the journal */
    struct rec_answer a;
};

#define ANSWER_BUCKETS 1024u
#define ANSWERS_MAX    16384u /* of one session: a client acknowledges */

struct session {
    struct cfs_list    link;
    struct rec_session rec;
    struct cfs_list    changed; /* ops.changed: .rec.acked is newer than in the
                                   tree */
    bool               closing; /* takes no changes any more */
    uint64_t           pos;     /* its record's position, to be durable */
    struct cfs_list    applied;
    struct cfs_list    failed;
    uint32_t           n_answers;
    struct cfs_list   *bucket;  /* ANSWER_BUCKETS; NULL: no answers yet */
};

/* Closed sessions that the table keeps; numbers below what it has dropped are
 * refused all the same. */
#define SESSIONS_CLOSED 64u

/* A stored answer that the tree may forget. */
struct dead_answer {
    struct cfs_list link;
    uint32_t        session;
    uint64_t        no;
};

/* -- the brick ------------------------------------------------------------ */

#define INO_BUCKETS 4096u

struct ops {
    struct cfs_loop  *loop;
    struct cfs_log   *log;
    const char       *who;
    struct eng       *e;
    struct ops_config config;
    struct cfs_uuid   brick_id;
    uint64_t          incarnation;
    struct rec_brick  brick;
    bool              brick_changed;
    bool              no_memory; /* the reserve is spent: nothing is begun */
    bool              was_clean; /* brick.clean as this start found it */
    struct cfs_view   view;      /* epoch 0: none */
    bool              member;    /* this incarnation is in it */
    bool              in_sync;

    struct cfs_list   sessions;
    struct cfs_list   changed;  /* sessions of which the tree says less */
    uint32_t          n_changed;
    struct cfs_list   unstored; /* answers not in the tree */
    uint32_t          n_unstored;
    struct cfs_list   dead;     /* struct dead_answer */
    unsigned          dead_near; /* of these, from the first on: a freeze may
                                    drop them */
    uint64_t          n_answers;

    struct cfs_list   ino[INO_BUCKETS];
    struct cfs_list   ino_free;
    struct cfs_list   running;
    struct cfs_list   later;
    struct cfs_list   spaceless; /* until a removal's step has ended */
    struct cfs_timer  later_timer;

    unsigned          n_ahead; /* stages ahead, on their way */
    struct op        *remover; /* looks for a mark, or is a step */
    bool              closing;
    bool              clean_tried;
    struct cfs_task   close_task;
    void (*close_done)(void *ctx, int status);
    void             *close_ctx;
    void (*poisoned)(void *ctx, int status);
    void             *poisoned_ctx;
    struct stall      stall;
    struct cfs_timer  stall_timer;
    uint64_t          op_timeout; /* ns; 0: any time will do */
    void (*stalled)(void *ctx);
    void             *stalled_ctx;
    struct ops_stat   stat;
};

extern const struct op_type op_types[CFS_FOP_N];

/* -- looking at records (look.c) ------------------------------------------ */

/* All: -ENOENT, -CFS_E_MISS, -CFS_E_CORRUPT. */
int look_inode(struct ops *o, struct cfs_gfid g, struct rec_inode *ret);
int look_dirent(struct ops *o, struct cfs_gfid dir, struct cfs_name name,
                struct rec_dirent *ret);
/* A chunk of @ino as a reader sees it: -ENOENT also below a removal mark. */
int look_chunk(struct ops *o, struct cfs_gfid g, const struct rec_inode *ino,
               uint64_t chunk, struct rec_chunk *ret);
/* Its record, stale or not. */
int look_any_chunk(struct ops *o, struct cfs_gfid g, uint64_t chunk,
                   struct rec_chunk *ret);
/* The first mark of @g that ends behind chunk @from. */
struct look_mark {
    uint64_t start;
    uint64_t end;
};
int look_mark(struct ops *o, struct cfs_gfid g, uint64_t from,
              struct look_mark *ret);
/* A small file's bytes or a link's target, where they lie. */
int look_small(struct ops *o, struct cfs_gfid g, struct cfs_blob *ret);

/* -- admission (op_admit.c) ----------------------------------------------- */

int  admit_member(const struct op *op);
int  admit_read(const struct op *op);
/* 0: go on. A repeat is dealt with here: OP_WAIT or its answer's status. */
int  admit_change(struct op *op);
/* Whether a change would be admitted now, and is no repeat. */
bool admit_ahead(const struct op *op);
/* Versions of what a change touches. In replay too. */
int  admit_versions(struct plan *p, const struct cfs_change *c);
void view_judge(struct ops *o); /* after the view changed */
int  view_cmp(const struct cfs_view *a, const struct cfs_view *b); /* order */
void post_fill(struct op *op, uint64_t pos);

/* Whether a refusal is no result of the operation, so that a repeat is judged
 * anew. */
bool status_is_refusal(int status);

struct session *session_find(struct ops *o, uint32_t no);
struct session *session_put(struct ops *o, const struct rec_session *rec);
/* The closed one that the table drops next, if it is full; NULL. */
struct session *session_oldest_closed(struct ops *o);
void            session_drop(struct ops *o, struct session *s);
struct answer  *answer_find(struct session *s, uint64_t no);
struct answer  *answer_add(struct ops *o, struct session *s, uint64_t no,
                           const struct rec_answer *a, bool applied);
void            answer_add_stored(struct ops *o, struct session *s,
                                  uint64_t no, const struct rec_answer *a);
void            answers_acked(struct ops *o, struct session *s, uint64_t below,
                              bool applied);
/* Whether nobody waits for one of its records any more. */
bool            answers_written(const struct session *s);
void            answers_drop(struct ops *o, struct session *s);
/* A few of what a freeze would have to store go with a change, when there are
 * many: a freeze has little room. Then they have. */
void            session_spill(struct ops *o, struct plan *p);
void            session_spilled(struct ops *o, const struct plan *p);
void            answer_give(struct op *op, const struct rec_answer *a);
void            sessions_free(struct ops *o);
/* What session_fence answers; nothing of a session that is closed. */
#define SESSION_TAIL 32u
void session_tail(const struct session *s, uint8_t ret[static SESSION_TAIL]);

/* -- the plan of a change (plan.c) ---------------------------------------- */

struct plan_ino {
    struct cfs_gfid   gfid;
    bool              there;   /* has a record in the tree */
    bool              made;    /* the change creates it */
    bool              gone;    /* the change deletes it */
    bool              changed; /* beyond its version */
    struct cfs_version was;
    struct rec_inode  rec;
};

struct plan_put {
    struct cfs_blob key;
    struct cfs_blob value;
    bool            del;
};

/* A chunk as it is, and as it will be. */
struct plan_chunk {
    struct cfs_gfid  gfid;
    uint64_t         index;
    bool             there;
    bool             changed;
    struct rec_chunk rec;
};

/* What a change touches, and what it names: a hostile one may say that these
 * have nothing in common. */
#define PLAN_INODES (CFS_TOUCH_MAX + 4u)

struct plan {
    struct ops         *o;
    struct cfs_arena   *arena;
    struct cfs_time     now;
    uint32_t            session;
    bool                replay;
    unsigned            flags; /* of eng_begin() */
    struct plan_ino     ino[PLAN_INODES];
    unsigned            n_ino;
    struct plan_put    *put;
    unsigned            n_put, cap_put;
    size_t              bytes; /* of keys and values */
    struct eng_ext     *freed;
    unsigned            n_freed, cap_freed;
    struct plan_chunk **chunk;
    unsigned            n_chunk, cap_chunk;
    uint64_t            chunk_max; /* no chunk above is in the plan */
    struct stage       *stage;
    enum cfs_fop        fop;     /* of a client's change */
    struct cfs_blob     request; /* for the operation log */
    unsigned            spilled; /* answers among the puts, */
    unsigned            spilled_sessions; /* and sessions */
    /* What the counts of struct rec_brick change by. */
    int64_t             d_inodes, d_dirty, d_oplog;
    /* The answer's attributes, in order; NULL: no such inode. */
    const struct plan_ino *out[ANSWER_ATTRS];
    uint32_t            copied;
};

void plan_init(struct plan *p, struct ops *o, struct cfs_arena *arena);
/* The inode, loaded once: -ENOENT when there is none. */
int  plan_inode(struct plan *p, struct cfs_gfid g, struct plan_ino **ret);
/* One that the change creates. */
struct plan_ino *plan_inode_new(struct plan *p, struct cfs_gfid g);
void plan_put(struct plan *p, const struct rec_key *k, const void *value,
              size_t len);
void plan_del(struct plan *p, const struct rec_key *k);
void plan_free(struct plan *p, uint64_t lba, uint32_t n);
/* The chunk, loaded once; a hole has .mapped 0. */
int  plan_chunk(struct plan *p, const struct plan_ino *ino, uint64_t index,
                struct plan_chunk **ret);
/* Block @at, which is mapped, is not any more; what only it needed is freed. */
void plan_drop(struct plan *p, struct rec_chunk *c, unsigned at);
/* Take blocks @from .. @upto - 1 out of a chunk. */
void plan_unmap(struct plan *p, struct plan_ino *ino, struct plan_chunk *c,
                unsigned from, unsigned upto);
/* What lies below removal marks in chunks [@start, @end) is freed now, and
 * the marks cut: these chunks may be written. */
int  plan_carve(struct plan *p, struct plan_ino *ino, uint64_t start,
                uint64_t end);
/* Automatic times: ctime, and mtime when @data. They only grow. */
void plan_stamp(struct plan *p, struct plan_ino *ino, bool data);

/* What @c says of @g; NULL. */
const struct cfs_touch *touch_of(const struct cfs_change *c,
                                 struct cfs_gfid g);

/* Versions, dirty index, and everything loaded that changed, become puts.
 * @c may be NULL. -EINVAL: something changed that the change does not touch. */
int  plan_finish(struct plan *p, const struct cfs_change *c);
/* Everything cached, space there. */
int  plan_ready(struct plan *p, size_t rec_size);
void plan_apply(struct plan *p);

/* -- a change's data (stage.c) -------------------------------------------- */

/* Bytes to go into a file; NULL: zeros. */
struct stage_patch {
    uint64_t       offset;
    uint32_t       len;
    const uint8_t *data;
    const uint8_t *sums; /* one for each block it touches, or NULL */
};

#define STAGE_PATCHES 3u

/* A run of staged blocks of one chunk that may be packed. */
struct stage_try {
    uint64_t block;
    unsigned n;
};

/* The data that a change brings, written before the change is applied; in a
 * replay, found in its record. */
struct stage {
    bool             ready;
    uint8_t          how; /* JREC_* */
    uint8_t          n_pack;
    struct jrec_pack *pack;
    struct cfs_blob  packs; /* the same, for the record */
    struct cfs_blob  bytes;
    struct jrec_seg  seg[JREC_SEGS];
    unsigned         n_seg;
    struct eng_ext  *ext;
    unsigned         n_ext, cap_ext;
    uint64_t        *sums;
    unsigned         n_sums;
    uint64_t        *kept;     /* widened: of blocks that stay as they are */
    uint32_t         data_len;
    bool             unchecked; /* .sums are the sender's, and verified when
                                   the data is written */
    bool             ahead;    /* begun before its operation's turn; */
    bool             squeezed; /* only packed: in it it gets its blocks; */
    bool             awaited;  /* the turn has come meanwhile */
    bool             reserved; /* unwritten blocks follow in .ext */
    bool             narrow;   /* only the blocks that the patches touch */
    bool             cut_known;
    uint64_t         cut;      /* as in struct jrec_change */
    /* While it is being made. */
    struct op       *op;
    unsigned         flags; /* ENG_RESERVE: it may have it */
    struct eng_ext  *fresh; /* ours until the record names them */
    unsigned         n_fresh;
    struct stage_patch patch[STAGE_PATCHES];
    unsigned         n_patch;
    struct cfs_buf   buf;   /* the blocks of .seg, one behind the other */
    struct cfs_buf   out;   /* with packs: what is stored of them */
    struct stage_try try[JREC_PACKS];
    unsigned         n_try;
    struct cfs_job   job;
    void (*packed)(struct stage *st);
    unsigned         pending;
    int              status;
};

struct stage *stage_get(struct op *op);
/* Blocks for @patch, and the data on its way there: OP_WAIT; then the
 * operation runs again with .ready. -ENOSPC, -CFS_E_MISS: nothing begun. */
int  stage_blocks(struct op *op, const struct plan_ino *ino,
                  const struct stage_patch *patch, unsigned n,
                  unsigned flags);
/* The same before the turn of @op, for whole blocks, behind @before's, which
 * is a stage of the same file. @unchecked: as in the stage; not where data is
 * packed. False: not begun, all is as it was. When its turn has come: the
 * operation waits (.pending), or finds the stage .ready. */
bool stage_ahead(struct op *op, const struct stage_patch *patch,
                 const struct stage *before, bool unchecked);
/* Give back what was staged ahead: @op does it anew, in its turn. */
void stage_undo(struct op *op);
/* @n blocks more that stay unwritten, added to .ext. */
int  stage_reserve(struct op *op, uint32_t n, uint64_t goal);
/* Give back what no record names; the change is not going to happen. */
void stage_drop(struct op *op);
/* The staged blocks become @ino's. -CFS_E_CORRUPT: they do not fit. */
int  stage_store(struct plan *p, struct plan_ino *ino);
/* Blocks in .ext behind those of .seg, one by one. */
struct stage_cursor {
    unsigned ext;
    uint32_t at;
};
void     stage_reserved(const struct stage *st, struct stage_cursor *ret);
bool     stage_next(const struct stage *st, struct stage_cursor *c,
                    uint64_t *ret_lba);

/* How many blocks of the device the staged ones have. */
uint32_t stage_stored(const struct stage *st);
uint32_t stage_blocks_n(const struct stage *st); /* of the file */
void     stage_add_ext(struct stage *st, uint64_t lba, uint32_t n);

/* stage_pack.c: which runs may be packed: 0 or an error of a look. */
int  stage_may_pack(struct op *op, const struct plan_ino *ino);
/* The rest of the chunk, too, when it would keep too much beside the patch:
 * 1; 0: not; or an error of a look. */
int  stage_widen(struct op *op, const struct plan_ino *ino);
/* All that are long enough; false: there are none. */
bool stage_pack_ahead(struct stage *st);
/* Whether the file takes what was packed ahead: 0 or an error of a look. */
int  stage_takes_packs(struct op *op, const struct plan_ino *ino, bool *ret);
/* Pack them in the pool; then @st->job's caller goes on with .out, .ext and
 * .sums as they are then. */
void stage_pack(struct stage *st, void (*done)(struct stage *st));
/* Pack @pk becomes @c's, from the next blocks of @cur on. */
int  stage_store_pack(struct plan *p, struct plan_ino *ino,
                      struct plan_chunk *c, const struct jrec_pack *pk,
                      struct stage_cursor *cur);

uint64_t block_sum(const void *data, size_t len);

struct unpack_io {
    struct eng_io  io;
    struct unpack *u;
};

/* Blocks of a chunk that are packed, fetched and verified: of unpack_new(), in
 * the arena, with what is wanted filled in. */
struct unpack {
    struct rec_chunk c;
    uint8_t *to[CHUNK_BLOCKS]; /* for the packed ones that are wanted */
    uint64_t *sum[CHUNK_BLOCKS]; /* for those of .cut: as they are now; NULL */
    void (*done)(struct unpack *u, int status);
    void *owner;

    struct cfs_loop *loop;
    struct unpack_io io[CHUNK_PACKS]; /* runs of packs */
    unsigned       pending;
    struct cfs_job job;
    struct cfs_buf stored, plain;
    int            status;
};
struct unpack *unpack_new(struct cfs_arena *a, const struct rec_chunk *c,
                          void (*done)(struct unpack *u, int status),
                          void *owner);
void unpack_start(struct ops *o, struct unpack *u);

/* Bytes of a file, verified. fetch_begin() returns 1: all is there; 0: done()
 * will come; -CFS_E_MISS: nothing begun. The buffer belongs to the arena. */
struct fetch {
    struct ops      *o;
    struct cfs_arena *arena;
    uint64_t         offset;
    uint32_t         len;
    struct cfs_buf   buf;   /* whole blocks */
    uint8_t         *data;  /* .len bytes at .offset */
    uint64_t        *sums;  /* of each block, in order */
    unsigned         pending;
    int              status;
    void (*done)(struct fetch *f, int status);
    void            *owner;
};
int  fetch_begin(struct fetch *f, struct cfs_gfid g,
                 const struct rec_inode *ino);
/* Checksums of the pieces of each block, as fops.def says: little-endian. */
struct cfs_blob fetch_sums(const struct fetch *f);

/* -- the operations ------------------------------------------------------- */

/* stage_ahead() for a write; false: it is none that can be. */
bool write_ahead(struct op *op, const struct stage *before);

int read_lookup(struct op *op, struct cfs_gfid g, const struct rec_inode *i);
int read_getattr(struct op *op, struct cfs_gfid g, const struct rec_inode *i);
int read_readlink(struct op *op, struct cfs_gfid g, const struct rec_inode *i);
int read_read(struct op *op, struct cfs_gfid g, const struct rec_inode *i);
int read_readdir(struct op *op, struct cfs_gfid g, const struct rec_inode *i);
int read_getxattr(struct op *op, struct cfs_gfid g, const struct rec_inode *i);
int read_listxattr(struct op *op, struct cfs_gfid g,
                   const struct rec_inode *i);
int read_lseek(struct op *op, struct cfs_gfid g, const struct rec_inode *i);
int read_fsync(struct op *op, struct cfs_gfid g, const struct rec_inode *i);

int plan_create(struct op *op, struct plan *p);
int plan_unlink(struct op *op, struct plan *p);
int plan_rename(struct op *op, struct plan *p);
int plan_link(struct op *op, struct plan *p);
int plan_setattr(struct op *op, struct plan *p);
int plan_write(struct op *op, struct plan *p);
int plan_setxattr(struct op *op, struct plan *p);
int plan_removexattr(struct op *op, struct plan *p);
int plan_fallocate(struct op *op, struct plan *p);
int plan_copy(struct op *op, struct plan *p);
int plan_purge(struct op *op, struct plan *p);

int run_statfs(struct op *op);
int run_session_open(struct op *op);
int run_session_attach(struct op *op);
int run_session_close(struct op *op);
int run_session_fence(struct op *op);
int run_view_set(struct op *op);
int run_clear(struct op *op);
int run_brick_info(struct op *op);

/* Parts that several use. */
int  resize(struct op *op, struct plan *p, struct plan_ino *ino,
            uint64_t size);
int  write_patches(struct op *op, struct plan *p, struct plan_ino *ino,
                   const struct stage_patch *patch, unsigned n,
                   uint64_t end);
void kill_suid(struct rec_inode *i);
int  purge_inode(struct plan *p, struct plan_ino *ino,
                 struct cfs_version tomb);
/* Indices of chunk records of @g from @from up to @end, stale ones too: at
 * most @max, in the arena. */
struct chunk_list {
    uint64_t *index;
    unsigned  n, max;
    bool      more;
};
int  list_chunks(struct plan *p, struct cfs_gfid g, uint64_t from,
                 uint64_t end, unsigned max, struct chunk_list *ret);
void put_mark(struct plan *p, struct cfs_gfid g, uint64_t start,
              uint64_t end);

/* The brick's own changes, planned from .own; in replay too. */
int plan_own_view(struct op *op, struct plan *p);
int plan_own_session(struct op *op, struct plan *p);
int plan_own_clear(struct op *op, struct plan *p);
int plan_own_purge(struct op *op, struct plan *p);
int plan_own_remove(struct op *op, struct plan *p);
int plan_own_clean(struct op *op, struct plan *p);
int plan_own_genesis(struct op *op, struct plan *p);

/* What they change in memory, once they are applied. */
void own_applied(struct ops *o, enum jrec_type type,
                 const struct jrec_own *own, uint64_t pos);
void ops_idle(struct ops *o); /* the last operation has ended */

/* -- background (removal.c) ----------------------------------------------- */

void removal_kick(struct ops *o); /* there may be a mark */
/* Purge what @session left unlinked; then @op goes on. */
int  purge_orphans(struct op *op, uint32_t session);

/* -- replay (replay.c) ---------------------------------------------------- */

int  replay(void *ctx, struct eng *e, const struct eng_rec *rec);
void freeze(void *ctx);
int  before_freeze(void *ctx);

/* A change is applied and committed: what is in memory follows. */
void change_applied(struct op *op, const struct plan *p, bool replayed);

#endif
