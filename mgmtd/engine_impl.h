/* SPDX-License-Identifier: Apache-2.0 */
/* engine_impl.h - what the files of the engine share; see engine.h.
 *
 *   engine_mark.c    engine.json         engine.c         start, follow, forget
 *   engine_go.c      from one to many    engine_member.c  look at members
 *   engine_step.c    change members
 *   engine_status.c  what is going on    engine_reborn.c  backup, restore,
 *   engine_home.c    which machine,                         rebuild
 *                    and address       engine_space.c   etcd over its quota
 */
#ifndef CFS_MGMTD_ENGINE_IMPL_H
#define CFS_MGMTD_ENGINE_IMPL_H

#include "mgmtd/engine.h"
#include "mgmtd/etcd_proc.h"
#include "mgmtd/peer.h"
#include "mgmtd/store/etcd_client.h"
#include "mgmtd/store/etcd_dir.h"

#define REC_ENGINE "engine"

struct go;
struct round;
struct removal;
struct step;
struct space;

struct engine {
    struct mgmtd       *m;
    char               *mark_path;
    json_t             *mark;   /* engine.json as it is on the disk */
    struct etcd_proc    proc;
    struct etcd_target  target; /* of the store */
    struct etcd_client *client; /* our own requests; NULL: embedded */
    struct etcd_client *self;   /* to this node's etcd alone; NULL: none */
    json_t             *rec;    /* the record engine; NULL: none */
    uint64_t            rec_token;
    uint64_t            rec_serial; /* grows with each change of it */
    struct store_watch  watch;
    bool                running;
    bool                over;   /* engine_end() */
    bool                aside;  /* the end of the process is waited for: then
                                   its directory is put aside */
    char                wiped[CFS_ERR_TEXT]; /* why etcd is not started on what
                                                is there; "": it is */
    struct go          *go;     /* the switch, under way */
    struct round       *round;  /* a look at members, under way */
    struct cfs_list     removals; /* engine_remove_node() */
    struct cfs_timer    look;
    struct cfs_timer    home;        /* engine_home.c: looks at addresses */
    unsigned            home_missed; /* at so many ours was gone */
    bool                announcing;  /* of another one, under way */
    struct step        *step;   /* under way */
    char                doing[128];   /* the step in words; "" */
    char                waiting[256]; /* for what; "" */
    char                problem[CFS_ERR_TEXT]; /* of the last step */

    /* This node's etcd, as it said last. */
    bool                answers;
    bool                asking;
    uint64_t            heard;   /* cfs_ran(): when it answered last */
    uint64_t            leader;  /* member id */
    uint64_t            index;   /* raft's, of the leader's log as it knows */
    uint64_t            applied; /* up to here */
    uint64_t            noted;   /* boot time ns: of engine.index */
    uint64_t            written; /* of them, on the disk in engine.index */
    char                version[32];
    uint64_t            revision; /* etcd's */
    uint64_t            db_size;  /* bytes */
    bool                no_space; /* the alarm */
    struct space       *space;    /* room is being made: engine_space.c */
    uint64_t            space_at; /* boot time ns: when it was last; 0: never */
    bool                index_busy;
};

/* -- engine_mark.c -------------------------------------------------------- */

/* -ENOENT: there is none. -CFS_E_CORRUPT. */
int mark_read(struct engine *e, struct cfs_err *err);
/* Takes @next over; durable when it returns 0, and e->mark then. */
int mark_save(struct engine *e, json_t *next, struct cfs_err *err);
json_t     *mark_copy(const struct engine *e);
const char *mark_str(const struct engine *e, const char *field); /* or "" */
bool        mark_is_etcd(const struct engine *e);
uint64_t    mark_member(const struct engine *e); /* 0: none */
uint64_t    mark_lineage(const struct engine *e);
bool        mark_is_fresh(const struct engine *e);

/* Member ids are 16 hex digits in records and files. */
json_t  *json_hex(uint64_t id);
uint64_t hex_of(const json_t *obj, const char *field); /* 0: none */

/* How far this node's etcd certainly got: below that its directory was put
 * back from an old copy. 0: not known, or of another member. */
uint64_t index_read(const struct engine *e, uint64_t member);
/* Later, on the pool. */
void     index_note(struct engine *e, uint64_t index);
/* Durable when it returns 0. -EBUSY: index_note() is at it. */
int      index_put(struct engine *e, uint64_t index, struct cfs_err *err);

/* -- engine.c ------------------------------------------------------------- */

/* This node's directory against what the marker says; "" in e->wiped when
 * etcd may be started on it. */
void engine_check_dir(struct engine *e);
/* Start etcd, if this node is a member and may. */
void engine_start_etcd(struct engine *e);
/* STATE_DIR/etcd out of the way, when no process uses it (else when it has
 * ended). */
void engine_put_aside(struct engine *e);
/* From marker and record: whom to ask. Tells store and clients. */
void engine_retarget(struct engine *e);
/* This node's own etcd is well, and knows a leader: ask it first. */
void engine_go_home(struct engine *e);
/* Read the record engine; follow what it says. */
void engine_load_record(struct engine *e);
/* The token of an etcd cluster, of this lineage. malloc'ed */
char *engine_token(struct engine *e, uint64_t lineage);
/* Clients of etcd: made when the marker says etcd. */
int  engine_connect(struct engine *e, struct cfs_err *err);
const char *engine_host(struct engine *e); /* where others reach this node */

/* -- the record ----------------------------------------------------------- */

/* What the record says of @node: an object, or NULL. Borrowed. */
json_t *voter_of(const json_t *rec, const char *node);
bool    voter_is(const json_t *voter, const char *state);
json_t *record_new(struct engine *e, uint64_t lineage, const char *token);

/* -- engine_member.c ------------------------------------------------------ */

/* Look at the members after @after_ns; one that is due earlier stays. */
void members_look(struct engine *e, uint64_t after_ns);
void members_on_timer(struct engine *e);
void members_record_changed(struct engine *e);
void members_close(struct engine *e);
/* The voter with the lowest number that is heard: it acts. */
bool members_are_ours(struct engine *e);
/* The node whose record names member @id; NULL: none. Borrowed. */
const char *member_node(const struct engine *e, uint64_t id);

/* -- engine_step.c -------------------------------------------------------- */

struct vt_step;

/* Carry a step out; e->doing until it is over, then members_look(). @list:
 * etcd's member list. */
void step_run(struct engine *e, const struct vt_step *step, struct peer *node,
              const json_t *list);
/* The learner on @p was added, but was not told, or did not hear. */
void step_prepare(struct engine *e, struct peer *p, const json_t *list);
/* Put @rec, if nobody changed the record meanwhile. Taken over. */
void step_commit(struct engine *e, json_t *rec, store_done *done, void *arg);
void step_close(struct engine *e);

/* -- engine_go.c ---------------------------------------------------------- */

void go_end(struct engine *e); /* its timer stops */
void go_close(struct engine *e);
void go_process_ended(struct engine *e);

/* -- engine_home.c -------------------------------------------------------- */

/* This machine's name; false: it has none. */
bool home_machine(char ret[static CFS_UUID_STR]);
/* The marker is of this machine, or was moved here. -EPERM with words. */
int  home_check_machine(struct engine *e, struct cfs_err *err);
void home_init(struct engine *e);
void home_run(struct engine *e); /* look after the address from now on */

/* -- engine_space.c ------------------------------------------------------- */

void space_look(struct engine *e); /* after each word of our etcd's */
void space_close(struct engine *e);

/* -- engine_status.c ------------------------------------------------------ */

json_t *engine_own_status(struct engine *e);

/* -- found.c -------------------------------------------------------------- */

/* A cluster that was restored on a node that has no keys: new ones. */
void cluster_found_again(struct mgmtd *m);

/* -- engine_reborn.c ------------------------------------------------------ */

/* At start, before the store is opened: finish a restore that was begun. */
int reborn_finish(struct engine *e, struct cfs_err *err);

#endif
