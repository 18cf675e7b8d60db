/* SPDX-License-Identifier: Apache-2.0 */
/* xlator.h - a translator: a table of what it can do, and one of it in a
 * graph.
 *
 * Wind is a plain typed call down; unwind queues the sender's done(). done()
 * runs exactly once and never from inside the wind. An operation that a
 * translator leaves out passes to its only child without a trace.
 */
#ifndef CFS_CORE_XLATOR_H
#define CFS_CORE_XLATOR_H

#include <stdio.h>

#include "core/fop.h"
#include "core/log.h"
#include "core/opt.h"

struct cfs_xl;
struct cfs_graph;
struct cfs_host;
struct cfs_dump;

struct cfs_fops {
#define FOP(lower, UPPER, class, in, out)                                    \
    void (*lower)(struct cfs_xl *xl, struct cfs_##lower *op);
#include "core/fops.def"
#undef FOP
};

/* What travels through the graph beside operations. */
enum cfs_event_type {
    /* down, to every child in order */
    CFS_EV_PARENT_UP,   /* start to work */
    CFS_EV_PARENT_DOWN, /* stop; hold the graph while work is left */
    CFS_EV_COUNT_ANEW,  /* figures of what passed start at zero */
    CFS_EV_CLIENTS,     /* .clients: protocol/server fills it in, at once */
    CFS_EV_PROBE,       /* for a while, see whether bricks answer: SILENCE */
    CFS_EV_VIEW,        /* .view: a view that the host has learnt */
    /* up, to every parent; .from is the child that sends it */
    CFS_EV_CHILD_CONNECTING, /* transport is there, no session yet */
    CFS_EV_CHILD_UP,
    CFS_EV_CHILD_DOWN, /* .err says why */
    CFS_EV_AUTH_FAILED,
    CFS_EV_NEW_VIEW,  /* .view: a brick's answer told of it */
    CFS_EV_WANT_VIEW, /* the host should ask mgmtd */
    CFS_EV_DIFFERS, /* .view, .brick: the host should tell mgmtd */
    CFS_EV_SILENCE, /* .silence: how long a brick has not answered; too */
    CFS_EV_SESSION,   /* .session: the session in use (no 0: none now) */
    CFS_EV_HELD_UP,   /* .err: for whom the volume is still closed to us */
    CFS_EV_DEVICE,    /* storage: brick_info says other things of the device */
    CFS_EV_LISTENING, /* .port, .path: where protocol/server accepts */
};

/* What an observer says of a brick. The age counts only while the observer ran
 * and had something outstanding. */
struct cfs_silence {
    struct cfs_uuid brick;
    bool            asked;  /* else nothing is known */
    uint64_t        age_ns; /* since the last answer; UINT64_MAX: none yet */
    uint64_t        lossy_ns; /* the level of loss: rpc/lossy_core.h */
};

/* Which sessions have a connection to a brick, and when each was heard. */
#define CFS_CLIENTS_MAX 256u
struct cfs_clients {
    bool     ping; /* in: those that were not heard for a moment */
    uint32_t n;
    struct {
        uint32_t session;
        uint64_t idle_ns;
    } c[CFS_CLIENTS_MAX];
};

struct cfs_event {
    enum cfs_event_type       type;
    struct cfs_xl            *from; /* the sender; set by cfs_notify_* */
    const struct cfs_view    *view;
    const struct cfs_session *session;
    const struct cfs_err     *err;
    const struct cfs_uuid    *brick;
    const struct cfs_silence *silence;
    struct cfs_clients       *clients;
    const char               *path; /* Unix socket; NULL: none */
    uint16_t                  port; /* TCP; 0: none */
};

struct cfs_xl_type {
    const char           *name; /* "features/dlm-lock" */
    unsigned              children_min;
    unsigned              children_max;
    size_t                priv_size;
    const struct cfs_opt *opts; /* ends with a NULL name; may be NULL */
    /* priv is zeroed, options are parsed, children exist but are not
     * initialised: init runs from the top down. */
    int (*init)(struct cfs_xl *xl, struct cfs_err *err);
    void (*fini)(struct cfs_xl *xl); /* also after a failed init */
    /* Options were parsed anew into priv. May be NULL. */
    int (*reconfigure)(struct cfs_xl *xl, struct cfs_err *err);
    /* NULL: pass on. */
    void (*notify)(struct cfs_xl *xl, const struct cfs_event *ev);
    void (*dump)(struct cfs_xl *xl, struct cfs_dump *d); /* statedump */
    /* What it has counted, as one JSON object. May be NULL. */
    void (*report)(struct cfs_xl *xl, FILE *out);
    const struct cfs_fops *fops;
};

/* One translator in a graph. */
struct cfs_xl {
    const struct cfs_xl_type *type;
    struct cfs_fops           fops; /* type's, with pass-through filled in */
    const char               *name; /* the volfile's "volume NAME" */
    void                     *priv;
    struct cfs_graph         *graph;
    struct cfs_loop          *loop;
    struct cfs_log           *log;
    struct cfs_host          *host; /* NULL in unit tests */
    struct cfs_xl           **child;
    unsigned                  n_child;
    struct cfs_xl           **parent;
    unsigned                  n_parent;
    bool                      inited;
    bool                      up; /* its last word: CHILD_UP, not _DOWN */
};

/* Each shared object exports its type under this name. */
#define CFS_XL_SYMBOL "cfs_xl_type"

#define FOP(lower, UPPER, class, in, out)                                    \
    static inline void cfs_wind_##lower(                                     \
        struct cfs_xl *to, struct cfs_##lower *op,                           \
        void (*done)(struct cfs_##lower *, int))                             \
    {                                                                        \
        op->req.fop = CFS_FOP_##UPPER;                                       \
        op->done = done;                                                     \
        to->fops.lower(to, op);                                              \
    }
#include "core/fops.def"
#undef FOP

/* Wind a request whose type only its head knows; done() is set already. */
void cfs_wind(struct cfs_xl *to, struct cfs_req *req);

/* Send @ev to all children / parents, @xl as its sender. */
void cfs_notify_down(struct cfs_xl *xl, struct cfs_event ev);
void cfs_notify_up(struct cfs_xl *xl, struct cfs_event ev);

static inline bool cfs_event_goes_down(enum cfs_event_type type)
{
    return type <= CFS_EV_VIEW;
}

/* Send @ev on in its direction: for what a notify() does not handle. */
void cfs_notify_pass(struct cfs_xl *xl, const struct cfs_event *ev);

/* Fill @xl's table from its type's, operations left out passing on. */
void cfs_xl_fill_fops(struct cfs_xl *xl);

/* Lines of a statedump, "key=value" under a section [name]. */
void cfs_dump_section(struct cfs_dump *d, const char *fmt, ...)
    CFS_PRINTF(2, 3);
void cfs_dump_put(struct cfs_dump *d, const char *key, const char *fmt, ...)
    CFS_PRINTF(3, 4);

#endif
