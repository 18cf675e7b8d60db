/* SPDX-License-Identifier: Apache-2.0 */
/* mgmtd.h - what the parts of the management daemon share.
 *
 * The store says what shall be; everything in memory follows it. A command
 * changes records; the watch on them (volume.c) takes the new ones into
 * memory and calls volume_reconcile(), which starts and ends bricks. So a
 * daemon that was killed between the two does the rest when it is back, and
 * records that somebody else changed act the same.
 *
 *   main.c        start, end                line.c       connections
 *   volume.c      volumes in memory         handshake.c  volfiles, views
 *                                           spec.c       what is in them
 *   brick_proc.c  brick processes           portmap.c    who is where
 *   brick_call.c  calls to bricks           cli_prog.c   commands
 *   node_*.c      bricks elsewhere (node.h)
 *   view.c        views: decide, push       volume_*.c   a verb each
 *   session.c     clients' sessions         prepare.c    devices
 *   silence.c     who does not answer       presence.c   clients that do not
 *
 * Threads    the loop thread; what blocks (mkfs, fallocate, commits) is in
 *            the pool.
 * Ownership  a volume owns its bricks and sessions and is counted: whoever
 *            waits for an answer holds it.
 *
 * (1) A volume that is in the table has a record that was read whole.
 * (2) brick.line, brick.pid and line.brick agree: a line is at most one
 *     brick's, a brick has at most one line.
 */
#ifndef CFS_MGMTD_MGMTD_H
#define CFS_MGMTD_MGMTD_H

#include "core/host.h"
#include "mgmtd/mem.h"
#include "mgmtd/pidwatch.h"
#include "mgmtd/record.h"
#include "mgmtd/store/store.h"
#include "mgmtd/view_core.h"
#include "rpc/conn.h"
#include "rpc/mgmt_codec.h"
#include "rpc/programs.h"
#include "rpc/tls.h"
#include "volfiles/volgen.h"

struct volume;
struct trust;
struct engine;

struct mgmtd {
    struct cfs_host      host;
    struct store        *store;
    char                *node;    /* this node's name in the records */
    struct cfs_uuid      cluster;
    bool                 founded; /* the cluster's record is in the store */
    struct cfs_uuid      boot;
    struct rpc_program   programs[5]; /* that are offered */
    struct rpc_listener *local;       /* Unix */
    char                *listen;      /* address; NULL: all */
    struct rpc_listener *tcp;         /* TLS, for everybody */
    struct cfs_list      volumes;
    struct cfs_list      lines;
    struct cfs_list      commands; /* of the CLI, running and remembered */
    unsigned             n_commands;
    struct cfs_list      preparing; /* work on devices: node_prepare.c */
    struct cfs_list      creating;  /* volumes: creating.h */
    struct cfs_timer     creating_timer;
    struct store_watch   on_creating;
    struct cfs_timer     ports_timer;
    json_t              *ports; /* as remembered at start: ports.c */
    char                 creating_problem[CFS_ERR_TEXT]; /* as said last */
    struct cfs_uuid      node_id;
    struct cfs_uuid      instance; /* of this process, for greetings */
    unsigned             refused_as_twin; /* greetings, since one was taken */
    struct trust        *trust;
    uint64_t             etcd_quota; /* bytes; 0: not given */
    long                 certificate_s; /* --certificate-life; 0: not given */
    struct authority    *authority; /* mgmtd/authority.h */
    struct join         *join;      /* this node joins; NULL: it does not */
    struct engine       *engine; /* mgmtd/engine.h */
    struct cfs_list      peers; /* mgmtd/peer.h, this node among them */
    struct cfs_list      peers_gone;
    struct rpc_program   peer_program;  /* offered on our lines to them */
    uint64_t             strangers_since; /* strangers_may_log() */
    unsigned             strangers_logged;
    bool                 leaving; /* it was detached: about to start anew */
    uint64_t             lineage_ahead; /* a peer is of that life; 0: none */
    struct store_watch   on_node;
    struct cfs_timer     anew_timer; /* mgmtd_start_anew() */
    bool                 anew;
    struct store_watch   on_volume;
    struct store_watch   on_view;
    struct store_watch   on_client;
    struct store_watch   on_detached;
};

/* -- connections: line.c ------------------------------------------------- */

struct line {
    struct cfs_list  link;
    struct mgmtd    *m;
    struct rpc_conn *conn;
    bool             trusted; /* a Unix peer that is root, or is us */
    enum rpc_peer_role role;
    char            *name; /* by its certificate; "" */
    struct cfs_timer admit; /* a stranger: until it was let in to something */
    bool             admitted;
    unsigned         calls; /* of one that is not */
    char            *key;     /* what it asked a volfile for; NULL: nothing */
    struct brick    *brick;   /* signed in as; NULL: none */
};

int  lines_listen(struct mgmtd *m, struct cfs_err *err);
void lines_close(struct mgmtd *m);
struct line *line_of(const struct rpc_msg *msg);
/* Whether who is there may have to do with @vol at all: -EACCES. */
int  line_may_volume(struct line *line, const struct volume *vol,
                     struct cfs_err *err);
/* Whether the client called so was added for that volume: its record names
 * them; none: all are. */
bool client_may_volume(struct mgmtd *m, const char *client,
                       const char *volume);
/* The volume @name for who is there. To who may not have it, one that there is
 * and one that there is not look the same. */
int  line_need_volume(struct line *line, struct mgmtd *m, const char *name,
                      struct volume **ret, struct cfs_err *err);
/* Whether a line in the log that anybody may cause is written. */
bool strangers_may_log(struct mgmtd *m);
/* A stranger may stay: it has business here. */
void line_admit(struct line *line);

/* Send @proc of @prog to each line that asked for @key; no answer matters. */
void lines_push(struct mgmtd *m, const char *key,
                const struct rpc_program *prog, uint32_t proc,
                struct cfs_blob body);

rpc_handler client_on_trust; /* client_trust.c */
extern const struct rpc_proc handshake_procs[];
extern const struct rpc_proc portmap_procs[];
extern const struct rpc_proc view_procs[];
extern const struct rpc_proc cli_procs[];
extern const uint32_t handshake_n_procs, portmap_n_procs, view_n_procs,
    cli_n_procs;

/* -- bricks -------------------------------------------------------------- */

enum brick_state {
    BRICK_IDLE,     /* no process, and none is wanted */
    BRICK_STARTING, /* a process, not signed in */
    BRICK_UP,       /* signed in */
    BRICK_STOPPING, /* told to end */
    BRICK_WAITING,  /* died; started again when the timer fires */
    BRICK_FAULTY,   /* died too often */
    BRICK_UNKNOWN,  /* its home, another node, cannot be asked */
};

/* Deaths in the last minute before a brick is faulty. */
#define BRICK_TRIES 5

/* On its home node the brick itself; elsewhere a picture of it (node.h), with
 * the fields from state on as its home told them, without watch and line. */
struct brick {
    struct volume    *vol;
    unsigned          index; /* in the set */
    struct cfs_uuid   id;
    char             *node;
    char             *path;   /* of its device */
    char             *socket; /* Unix, in the run directory */
    char             *output; /* file: what its process writes before a log */
    char             *log;
    uint64_t          size;

    enum brick_state  state;
    uint32_t          pid; /* 0: none; on its home */
    uint64_t          life; /* of that process, among all; 0: not known */
    struct pidwatch  *watch;
    struct cfs_timer  timer;  /* WAITING: to start; STOPPING: patience */
    uint64_t          death[BRICK_TRIES]; /* times of the last ones, ns */
    unsigned          deaths;
    char              reason[CFS_ERR_TEXT]; /* why it died, or serves not */
    bool              ended;   /* the process that was signed in is gone */
    bool              differs; /* see view_core.h */
    uint64_t          silent_in; /* epoch in which it was judged to be silent */

    struct line      *line;
    bool              here; /* signed in, and info came on this line */
    uint16_t          port;
    struct cfs_brick  info;  /* as last heard */
    uint64_t          known; /* epoch that it acknowledged on this line */
    uint64_t          seen;  /* home's time of the newest picture */
    uint64_t          told;  /* hash of what other nodes were told of it */
};

/* brick_proc.c */
void brick_init(struct brick *b, struct volume *vol, unsigned index,
                const struct rec_brick *rec);
void brick_fini(struct brick *b);
void brick_let_go(struct brick *b); /* its process is watched no more */
void brick_find_processes(struct mgmtd *m); /* at start: adopt */
void brick_start(struct brick *b); /* unless it runs or waits */
void brick_stop(struct brick *b);
void brick_forgive(struct brick *b); /* FAULTY, or failed: try again */
void brick_signed_in(struct brick *b, struct line *line, uint32_t pid,
                     uint16_t port);
void brick_line_lost(struct brick *b);
const char *brick_state_str(const struct brick *b);

/* brick_call.c. @done gets the reply's body iff @status is 0; @text is why
 * not. Never called from inside; the volume is held until then. */
typedef void brick_done(struct brick *b, void *arg, int status,
                        struct cfs_blob body, const char *text);
void brick_call(struct brick *b, uint32_t proc, struct cfs_blob body,
                uint32_t timeout_ms, brick_done *done, void *arg);
/* BRICK.INFO, taken over into b->info; @done may be NULL. */
void brick_refresh(struct brick *b, uint32_t timeout_ms, brick_done *done,
                   void *arg);

/* -- volumes: volume.c --------------------------------------------------- */

struct session;

/* Somebody waits until @ready() says so, or until the time is over. */
struct vol_wait {
    struct cfs_list link;
    struct cfs_timer timer;
    struct volume   *vol;
    bool (*ready)(struct vol_wait *w);
    void (*done)(struct vol_wait *w, bool in_time);
};

struct volume {
    struct cfs_list link;
    struct mgmtd   *m;
    unsigned        refs;
    bool            gone; /* its record was deleted; not in the table */
    char           *name;
    struct cfs_uuid id;
    struct cfs_uuid set;
    uint64_t        generation;
    enum vol_state  state;
    json_t         *rec;
    uint64_t        token;
    unsigned        n;
    struct brick    brick[CFS_SET_MAX];

    /* view.c */
    struct cfs_view  view; /* epoch 0: none */
    json_t          *view_rec;
    uint64_t         view_token;
    uint64_t         told;     /* epoch that clients were told */
    bool             deciding; /* a transaction is on its way */
    bool             waited;   /* the grace period is over */
    bool             forced;   /* an operator's --force: view_core.h, 11 */
    bool             retry;    /* the timer is for a commit that failed */
    struct cfs_timer grace;
    struct cfs_timer turn;     /* until it is ours to decide */
    uint64_t         turn_for; /* epoch for which it is */
    bool             asking;   /* whether the store's copy is current */
    uint64_t         asked_for, current_for; /* epochs that bricks told */
    char             unstored[CFS_ERR_TEXT]; /* why a decision is not stored */
    char             held[256]; /* why nothing is decided; "": it is */
    const char      *waiting;   /* for what a decision waits; "": it does not */

    struct cfs_timer presence;
    bool             rounds;  /* a round of questions is under way */
    uint64_t         looked;  /* when the last one began */
    struct silence *silence; /* a doubt: silence.c; NULL: none */

    struct cfs_task look; /* volume_changed() */
    struct cfs_list sessions;
    struct cfs_list waits;
    bool            stopping; /* a stop is under way: no new mounts */
};

/* Read all volumes and views, and watch them. */
int  volumes_load(struct mgmtd *m, struct cfs_err *err);
void volumes_close(struct mgmtd *m);
struct volume *volume_find(struct mgmtd *m, const char *name);
/* As above; the error names a near one. */
int  volume_need(struct mgmtd *m, const char *name, struct volume **ret,
                 struct cfs_err *err);
struct brick  *brick_find(struct mgmtd *m, struct cfs_uuid id);
struct volume *volume_ref(struct volume *vol);
void           volume_unref(struct volume *vol);
/* @rec (taken over) in place of the record that @vol was read from. */
void volume_replace(struct volume *vol, json_t *rec, store_done *done,
                    void *arg);

/* Make processes what the record wants. */
void volume_reconcile(struct volume *vol);

/* Something happened to a brick, a session or the view of @vol: later in this
 * turn decide on its view, go on with sessions, look at waits. */
void volume_changed(struct volume *vol);
void volume_wait(struct volume *vol, struct vol_wait *w, uint64_t ns,
                 bool (*ready)(struct vol_wait *),
                 void (*done)(struct vol_wait *, bool in_time));

/* Whoever had a volfile of it fetches it again. */
void volume_spec_changed(struct volume *vol);

/* -- volfiles: spec.c ---------------------------------------------------- */

/* For who is at the other end of @line: of brick @b, or (NULL) a client's.
 * -EACCES: not for that one. */
int  spec_make(struct volume *vol, const struct brick *b,
               const struct line *line, char **ret, struct cfs_err *err);
/* Whether the client with record @rec may use the volume. */
bool spec_client_may(const json_t *rec, const char *volume);
/* Root on this machine. */
bool line_is_here(const struct line *line);
/* Who that is to the bricks of @vol (cfs_session.owner); "": nobody. */
void line_owner(const struct line *line, const struct volume *vol,
                char ret[static CFS_OWNER_MAX]);
void specs_watch(struct mgmtd *m); /* clients that come and go */
/* A started volume of an older version gets a secret. */
void spec_need_secret(struct volume *vol);

/* -- views: view.c ------------------------------------------------------- */

void view_init(struct volume *vol);
void view_fini(struct volume *vol);
int  view_load(struct volume *vol, struct cfs_err *err);
void view_look(struct volume *vol); /* decide */
/* @b signed in: tell it the view. */
void view_tell(struct brick *b);
bool view_has(const struct volume *vol, const struct brick *b);
/* A client says that member @id could not do what another one did. */
void view_differs(struct volume *vol, struct cfs_uuid id);
/* Every member of the view that is here serves in it. */
bool view_settled(const struct volume *vol);
/* A member of the view may sign in yet: its process runs, or its home has not
 * been heard. So it is right after a start of mgmtd; who has to know what
 * members tell waits for them, but not for longer than VIEW_COMING. */
bool view_one_is_coming(const struct volume *vol);
#define VIEW_COMING (10 * CFS_SEC)
/* The brick that answers for the set: the first member that is here. */
struct brick *view_master(struct volume *vol);
/* Why @b is out; "" when it is not, or nobody knows. */
const char *view_out_reason(const struct volume *vol, const struct brick *b);
/* What clients are told: the view once it is settled, else one of epoch 0. */
struct cfs_view view_for_clients(const struct volume *vol);

/* -- sessions: session.c ------------------------------------------------- */

struct session {
    struct cfs_list    link;
    struct volume     *vol;
    struct cfs_session s;
    struct pidwatch   *watch;   /* its process, on this machine */
    uint64_t           heard;   /* by a brick, boot time ns: presence.c */
    bool               dead;    /* the process is gone, or was declared so */
    bool               busy;    /* calls of its death are under way */
    unsigned           step;
    unsigned           pending; /* calls not answered */
    bool               failed;
    struct cfs_timer   retry;
    struct {
        bool           asked;
        struct cfs_blob tail; /* malloc'ed */
    } member[CFS_SET_MAX];
};

/* @b said which sessions are open there. */
void sessions_heard(struct brick *b);
/* Ask every brick that is here. */
void sessions_ask(struct volume *vol);
/* Go on with deaths that waited for bricks or for a view. */
void sessions_look(struct volume *vol);
void sessions_free(struct volume *vol);
void sessions_let_go(struct volume *vol); /* processes are watched no more */
bool sessions_none(const struct volume *vol);
/* Whether it is @owner (cfs_session.owner) who opened session @no. */
bool session_is_of(const struct volume *vol, uint32_t no, const char *owner);
/* Session @no is dead, whatever its process does. */
void session_declare_dead(struct volume *vol, uint32_t no, const char *why);
/* Declare all dead, whatever their processes do. */
void sessions_kill(struct volume *vol);

/* presence.c: sessions that nobody can watch. */
void presence_init(struct volume *vol);
void presence_fini(struct volume *vol);
void presence_look(struct volume *vol);

/* -- commands: cli_prog.c ------------------------------------------------ */

/* A command of the CLI, from its arrival to its answer, and a while longer. */
struct command {
    struct cfs_list link;
    struct cfs_list askers; /* all who sent this id and wait */
    struct mgmtd   *m;
    struct cfs_uuid id;
    char           *client; /* whose certificate asks; NULL: root here */
    char           *verb;
    json_t         *args;
    bool            finished;
    uint32_t        exit_status;
    char           *error;
    char           *json;
    void           *state; /* the verb's own, until it finishes */
};

/* Exactly one of these, once, for each command. @json is taken over; NULL is
 * an empty object. */
void command_ok(struct command *c, json_t *json);
void command_fail(struct command *c, const struct cfs_err *err);

const char *command_str(const struct command *c, const char *name);
bool        command_flag(const struct command *c, const char *name);
/* Whether who asks may see @vol: a client what it was added for. (One that is
 * named in the arguments was looked at before the verb.) */
bool        command_sees(const struct command *c, const struct volume *vol);

/* Each verb. */
void volume_create(struct command *c);
void volume_start(struct command *c);
void volume_stop(struct command *c);
void volume_delete(struct command *c);
void volume_list(struct command *c);
void volume_info(struct command *c);
void volume_status(struct command *c);
void volume_set(struct command *c);
void volume_reset(struct command *c);
void volume_get(struct command *c);
void volume_profile(struct command *c);
void volume_top(struct command *c);
void volume_statedump(struct command *c);

/* volume_set.c: the options of @vol become as @wanted says (option -> text,
 * checked; null: to its default), which is taken over; then @done, which
 * answers. It borrows @changed: what is not as it was. */
typedef void options_done(struct command *c, struct volume *vol,
                          json_t *changed, const struct cfs_err *err);
void volume_change_options(struct command *c, struct volume *vol,
                           json_t *wanted, options_done *done);

/* End, and begin again as the same process with the same arguments: what the
 * marker says has changed too much. Soon, so that answers go out. main.c */
void mgmtd_start_anew(struct mgmtd *m);

void client_add(struct command *c); /* client_cmd.c */
void client_remove(struct command *c);
void client_list(struct command *c);
void peer_token(struct command *c); /* peer_cmd.c */
void peer_join(struct command *c);
void peer_probe(struct command *c);
void peer_detach(struct command *c);
void peer_list(struct command *c);

/* A random (version 4) identity. */
struct cfs_uuid uuid_new(struct mgmtd *m);

#endif
