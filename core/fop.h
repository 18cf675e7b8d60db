/* SPDX-License-Identifier: Apache-2.0 */
/* fop.h - the typed request of each operation, generated from fops.def.
 *
 * struct cfs_write (and so on) starts with struct cfs_req, then the inputs,
 * the outputs, and done(). The sender owns it until done() has run.
 *
 * Ownership  inputs are borrowed until done(). Outputs live in the call's
 *            arena; a buf that is an output is kept by the arena too
 *            (cfs_arena_keep), so nobody drops it by hand.
 * Errors     status is 0 or negative (core/err.h); outputs are valid iff 0,
 *            except session_open.holder.
 */
#ifndef CFS_CORE_FOP_H
#define CFS_CORE_FOP_H

#include "core/buf.h"
#include "core/loop.h"

/* setattr.mask */
#define CFS_SET_MODE      0x001u
#define CFS_SET_UID       0x002u
#define CFS_SET_GID       0x004u
#define CFS_SET_SIZE      0x008u
#define CFS_SET_ATIME     0x010u
#define CFS_SET_MTIME     0x020u
#define CFS_SET_ATIME_NOW 0x040u /* change.now */
#define CFS_SET_MTIME_NOW 0x080u
#define CFS_SET_KILL_SUID 0x100u /* clear set-user-ID, set-group-ID (if x) */

/* write.flags */
#define CFS_WRITE_APPEND    0x1u
#define CFS_WRITE_KILL_SUID 0x2u

#define CFS_FALLOC_STEP ((uint64_t)8 << 20)

struct cfs_graph;

/* The entry's context: who asks, and the memory of everything done for it. */
struct cfs_call {
    struct cfs_loop  *loop;
    struct cfs_graph *graph; /* NULL in unit tests */
    struct cfs_arena  arena;
    uint32_t          uid;
    uint32_t          gid;
    uint32_t          pid;
    void             *owner; /* the entry's own; NULL at the begin */
};

/* Memory for the call's life: zeroed, cannot fail. */
#define cfs_call_new(call, type)                                             \
    ((type *)cfs_arena_alloc(&(call)->arena, sizeof(type)))

/* One inode that a change touches (I5). An inode that the change creates
 * expects (0, 0); one that is only read makes what it expects. */
struct cfs_touch {
    struct cfs_gfid    gfid;
    struct cfs_version expect;
    struct cfs_version make;
};

#define CFS_TOUCH_MAX 4

/* What makes a change repeatable: filled by cluster/replicate, checked by
 * storage/block. The same number never carries other content. */
struct cfs_change {
    uint32_t         session;
    uint64_t         no;
    uint64_t         acked_below; /* answers below may be forgotten */
    struct cfs_time  now;         /* for automatic times */
    uint32_t         n;
    struct cfs_touch touch[CFS_TOUCH_MAX];
};

/* In every reply of a brick. */
struct cfs_post {
    uint64_t epoch; /* the brick's view */
    uint64_t incarnation;
    uint64_t pos;     /* journal position that this change is in; 0: none */
    uint64_t durable; /* everything below this position is durable */
    uint64_t free;    /* bytes that changes may still take */
};

struct cfs_member {
    struct cfs_uuid brick;
    uint64_t        incarnation;
};

/* Who holds a current copy. In-sync members first; m[0] is the master. */
struct cfs_view {
    struct cfs_uuid   set;
    uint64_t          lineage; /* of the configuration store */
    uint64_t          epoch;
    struct cfs_uuid   id; /* random */
    uint32_t          n_sync;
    uint32_t          n_syncing;
    struct cfs_member m[CFS_SET_MAX];
};

enum cfs_session_state {
    CFS_SESSION_LIVE,
    CFS_SESSION_CLOSED,
    CFS_SESSION_FENCED,
};

/* One life of one client process with one volume. */
struct cfs_session {
    uint32_t no;
    uint32_t state; /* enum cfs_session_state */
    uint32_t pid;
    uint32_t dead_ms;
    uint64_t pid_start; /* /proc/PID/stat field 22: tells reused pids apart */
    struct cfs_uuid boot; /* /proc/sys/kernel/random/boot_id */
    char     node[CFS_NODE_MAX];
    char     service[32];    /* "mount", "shd", ... */
    char     where[256];     /* the mount point */
    /* Who proved to be behind it, as the brick knows it: "node:NAME", a
     * client's name, "host:ADDRESS"; "": not known. It tells mgmtd; nobody
     * else's word for it is taken. */
    char     owner[CFS_OWNER_MAX];
};

#define CFS_STALLED_MAX 2u
#define CFS_INFO_SESSIONS 16

struct cfs_brick {
    struct cfs_uuid    brick;
    uint64_t           incarnation;
    uint32_t           clean;    /* before this start: stopped cleanly */
    uint32_t           repaired; /* fsck changed it since it was in sync */
    uint32_t           poisoned;
    uint32_t           stalled;  /* its device: 0 it answers, 1 not for some
                                    time (2 op-timeouts), 2 not any more (5) */
    struct cfs_view    view;     /* the newest that it knows */
    uint64_t           total;    /* bytes */
    uint64_t           free;
    uint64_t           inodes;
    uint64_t           pos;
    uint64_t           durable;
    uint64_t           dirty;    /* entries in the dirty index */
    uint64_t           oplog;    /* entries in the operation log */
    uint32_t           session_max; /* the highest number ever given */
    uint32_t           n_sessions; /* live, fenced; may exceed the array */
    struct cfs_session session[CFS_INFO_SESSIONS];
    char               reason[CFS_ERR_TEXT]; /* why poisoned, or stalled */
};

struct cfs_space {
    uint64_t total; /* bytes */
    uint64_t free;
    uint64_t avail;
    uint64_t files;
    uint64_t ffree;
};

/* Types of arguments in fops.def. */
typedef struct cfs_gfid       cfs_t_gfid;
typedef struct cfs_name       cfs_t_name;
typedef struct cfs_blob       cfs_t_blob;
typedef struct cfs_buf        cfs_t_buf;
typedef struct cfs_attr       cfs_t_attr;
typedef struct cfs_time       cfs_t_time;
typedef struct cfs_space      cfs_t_space;
typedef struct cfs_session    cfs_t_session;
typedef struct cfs_view       cfs_t_view;
typedef struct cfs_brick      cfs_t_brick;
typedef uint32_t              cfs_t_u32;
typedef uint64_t              cfs_t_u64;

enum cfs_fop {
#define FOP(lower, UPPER, class, in, out) CFS_FOP_##UPPER,
#include "core/fops.def"
#undef FOP
    CFS_FOP_N
};

enum cfs_fop_class {
    CFS_CLASS_READ,
    CFS_CLASS_CHANGE,
    CFS_CLASS_SYNC,
    CFS_CLASS_LOCAL,
    CFS_CLASS_CTL,
};

/* Common to all: first in each request. */
struct cfs_req {
    struct cfs_task    task; /* queues the unwind */
    struct cfs_call   *call;
    enum cfs_fop       fop;
    int                status;
    uint64_t           epoch;  /* the sender's view; set by replicate */
    struct cfs_version want;   /* READ, SYNC: this version or a newer one of
                                  this session; (0, 0): whatever there is */
    struct cfs_change *change; /* CHANGE, below replicate; else NULL */
    struct cfs_post    post;   /* out, below replicate */
};

#define A(type, name) cfs_t_##type name;
#define FOP(lower, UPPER, class, in, out)                                    \
    struct cfs_##lower {                                                     \
        struct cfs_req req;                                                  \
        struct {                                                             \
            in                                                               \
        };                                                                   \
        struct {                                                             \
            out                                                              \
        };                                                                   \
        void (*done)(struct cfs_##lower *op, int status);                    \
    };
#include "core/fops.def"
#undef FOP
#undef A

/* Queue op's done(). Never calls it from inside. */
#define FOP(lower, UPPER, class, in, out)                                    \
    void cfs_unwind_##lower(struct cfs_##lower *op, int status);             \
    /* A request with the same inputs, want, epoch and change as @up. */     \
    void cfs_fork_##lower(struct cfs_##lower *op,                            \
                          const struct cfs_##lower *up);                     \
    /* Give @up the outputs of @op. */                                       \
    void cfs_join_##lower(struct cfs_##lower *up, const struct cfs_##lower *op);
#include "core/fops.def"
#undef FOP

/* Unwind when only the request's head is known. */
void cfs_unwind(struct cfs_req *req, int status);

const char        *cfs_fop_name(enum cfs_fop fop);
enum cfs_fop_class cfs_fop_class(enum cfs_fop fop);
size_t             cfs_fop_size(enum cfs_fop fop); /* of its struct */

#endif
