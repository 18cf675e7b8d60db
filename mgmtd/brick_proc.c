/* SPDX-License-Identifier: Apache-2.0 */
/* brick_proc.c - the processes of bricks: start, watch, start again, adopt,
 * end.
 *
 *            start              signs in
 *     IDLE --------> STARTING ------------> UP
 *      ^                |  dies              | dies
 *      |                v                    v
 *      |             WAITING  <--------------+     5 deaths in a minute:
 *      | ends           |  back-off            ---> FAULTY
 *      |                +-----> STARTING
 *   STOPPING <- brick_stop() from any of them
 *
 * A brick's process is in a session of its own and outlives us. The next
 * mgmtd finds it in /proc, watches it, and knows the rest when it signs in.
 * Two processes never serve one brick: the device is locked.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "mgmtd/node.h"
#include "mgmtd/launch.h"

#define WHO "brick"
#define PROGRAM "clusterfs-brickd"

#define TRIES_WITHIN (60 * CFS_SEC)
#define BACKOFF      (200 * CFS_MS)
#define PATIENCE     (20 * CFS_SEC) /* before a polite signal */
#define INFO_MS      10000u

static struct mgmtd *mgmtd_of(const struct brick *b)
{
    return b->vol->m;
}

static void on_timer(struct cfs_timer *t);

void brick_init(struct brick *b, struct volume *vol, unsigned index,
                const struct rec_brick *rec)
{
    const struct cfs_dirs *dirs = &vol->m->host.dirs;
    char id[CFS_UUID_STR];

    cfs_uuid_print(rec->id, id);
    b->vol = vol;
    b->index = index;
    b->id = rec->id;
    b->node = mem_str(rec->node);
    b->path = mem_str(rec->path);
    b->size = rec->size;
    b->socket = mem_printf("%s/b-%s.sock", dirs->run, id);
    b->output = mem_printf("%s/brick-%s.out", dirs->run, id);
    b->log = mem_printf("%s/bricks/%s-%u.log", dirs->log, vol->name,
                        index + 1);
    b->ended = brick_is_local(b);
    b->state = b->ended ? BRICK_IDLE : BRICK_UNKNOWN;
    b->port = b->ended ? 0 : ports_remembered(vol->m, b->id);
    cfs_timer_init(vol->m->host.loop, &b->timer, on_timer);
}

void brick_let_go(struct brick *b)
{
    pidwatch_free(b->watch);
    b->watch = NULL;
}

void brick_fini(struct brick *b)
{
    if (b->line)
        b->line->brick = NULL;
    brick_let_go(b);
    cfs_timer_fini(&b->timer);
    free(b->node);
    free(b->path);
    free(b->socket);
    free(b->output);
    free(b->log);
}

const char *brick_state_str(const struct brick *b)
{
    static const char *const words[] = {
        [BRICK_IDLE] = "stopped",      [BRICK_STARTING] = "starting",
        [BRICK_UP] = "up",             [BRICK_STOPPING] = "stopping",
        [BRICK_WAITING] = "restarting", [BRICK_FAULTY] = "faulty",
        [BRICK_UNKNOWN] = "unknown",
    };

    return words[b->state];
}

/* -- an end -------------------------------------------------------------- */

/* Why the process ended, into b->reason. A reason that it gave at its last
 * sign-in (its storage failed) is better than none. */
static void note_reason(struct brick *b, int status)
{
    char words[CFS_ERR_TEXT];

    spawn_last_words(b->output, PROGRAM, words, sizeof words);
    if (*words)
        snprintf(b->reason, sizeof b->reason, "%s", words);
    else if (b->here && b->info.poisoned)
        snprintf(b->reason, sizeof b->reason, "%s", b->info.reason);
    else if (status >= 0 && WIFSIGNALED(status))
        snprintf(b->reason, sizeof b->reason, "killed by signal %d (%s); see "
                 "%s", WTERMSIG(status), strsignal(WTERMSIG(status)), b->log);
    else if (status >= 0)
        snprintf(b->reason, sizeof b->reason, "ended with status %d; see %s",
                 WEXITSTATUS(status), b->log);
    else
        snprintf(b->reason, sizeof b->reason, "its process ended; see %s",
                 b->log);
}

static void lose_line(struct brick *b)
{
    if (b->line)
        b->line->brick = NULL;
    b->line = NULL;
    b->here = false;
    b->known = 0;
}

/* Count this death; the delay until the next start, or 0 for none. */
static uint64_t back_off(struct brick *b)
{
    uint64_t now = cfs_now(mgmtd_of(b)->host.loop);
    unsigned recent = 0;

    memmove(b->death + 1, b->death, sizeof b->death - sizeof b->death[0]);
    b->death[0] = now;
    if (b->deaths < BRICK_TRIES)
        b->deaths++;
    for (unsigned i = 0; i < b->deaths; i++)
        recent += now - b->death[i] < TRIES_WITHIN;
    if (recent >= BRICK_TRIES)
        return 0;
    return recent == 1 ? 1 : BACKOFF << (recent - 2);
}

/* @status < 0: it is not our child, but an earlier mgmtd's. */
static void tell_stopped(const struct brick *b, int status)
{
    struct cfs_log *log = mgmtd_of(b)->host.log;
    bool named = strstr(b->reason, b->log) != NULL;

    if (status == 0)
        cfs_log_info(log, WHO, "%s has stopped", b->path);
    else if (status < 0)
        cfs_log_info(log, WHO, "%s has ended; how, its log says: %s", b->path,
                     b->log);
    else
        cfs_log_warning(log, WHO, "%s was being stopped, and did not end "
                        "well: %s%s%s", b->path, b->reason,
                        named ? "" : "; see ", named ? "" : b->log);
}

static void on_ended(void *arg, int status)
{
    struct brick *b = arg;
    struct mgmtd *m = mgmtd_of(b);
    uint64_t delay;

    b->watch = NULL;
    note_reason(b, status);
    lose_line(b);
    b->pid = 0;
    b->life = 0;
    b->ended = true;
    cfs_timer_stop(&b->timer);
    if (b->state == BRICK_STOPPING) {
        tell_stopped(b, status);
        b->state = BRICK_IDLE;
        b->reason[0] = '\0';
        unlink(b->output);
        if (b->vol->state == VOL_STARTED) /* started again meanwhile */
            brick_start(b);
    } else if ((delay = back_off(b)) > 0) {
        cfs_log_warning(m->host.log, WHO, "%s: %s; it is started again",
                        b->path, b->reason);
        b->state = BRICK_WAITING;
        cfs_timer_start(&b->timer, delay);
    } else {
        cfs_log_error(m->host.log, WHO, "%s: %s; it died %d times in a "
                      "minute and is left alone", b->path, b->reason,
                      BRICK_TRIES);
        b->state = BRICK_FAULTY;
    }
    volume_changed(b->vol);
}

/* -- a start ------------------------------------------------------------- */

/* A number that no other process has, on whatever machine: of 53 bits, so
 * that JSON can have it. */
static uint64_t life_of(const struct mgmtd *m, uint32_t pid)
{
    struct {
        struct cfs_uuid boot;
        uint64_t        start;
        uint64_t        pid;
    } who = {.boot = m->boot, .pid = pid};

    if (cfs_pid_start(pid, &who.start) < 0)
        return 0;
    return XXH3_64bits(&who, sizeof who) >> 11 | 1;
}

static int watch(struct brick *b, uint32_t pid, uint64_t start)
{
    int rc = pidwatch_new(mgmtd_of(b)->host.loop, pid, start, on_ended, b,
                          &b->watch);

    if (rc == 0) {
        b->pid = pid;
        b->life = life_of(mgmtd_of(b), pid);
    }
    return rc;
}

static int spawn_brick(struct brick *b, struct cfs_err *err)
{
    struct mgmtd *m = mgmtd_of(b);
    const struct cfs_dirs *dirs = &m->host.dirs;
    char id[CFS_UUID_STR], port[16], *program;
    uint32_t pid;
    int rc = spawn_find(PROGRAM, &program, err);

    if (rc < 0)
        return rc;
    cfs_uuid_print(b->id, id);
    snprintf(port, sizeof port, "%u", m->host.port);
    char *const argv[] = {
        program,        "--no-daemon",  "--brick-id",  id,
        "--config-dir", dirs->config,   "--state-dir", dirs->state,
        "--run-dir",    dirs->run,      "--log-dir",   dirs->log,
        "--log-file",   b->log,         "--port",      port,
        NULL,
    };
    rc = spawn_detached(argv, b->output, &pid, err);
    free(program);
    if (rc == 0)
        rc = watch(b, pid, 0);
    if (rc < 0)
        return cfs_err_set(err, rc, "cannot watch process: %s",
                           cfs_err_str(rc));
    cfs_log_info(m->host.log, WHO, "%s: started process %u", b->path, pid);
    return 0;
}

void brick_start(struct brick *b)
{
    struct cfs_err err = {0};

    if (b->state != BRICK_IDLE || !brick_is_local(b))
        return;
    b->state = BRICK_STARTING;
    if (spawn_brick(b, &err) == 0)
        return;
    cfs_log_error(mgmtd_of(b)->host.log, WHO, "%s: %s", b->path, err.text);
    snprintf(b->reason, sizeof b->reason, "%s", err.text);
    b->state = BRICK_FAULTY;
    volume_changed(b->vol);
}

static void on_terminated(struct brick *b, void *arg, int status,
                          struct cfs_blob body, const char *text)
{
    if (status < 0 && status != -ENOTCONN)
        cfs_log_warning(mgmtd_of(b)->host.log, WHO, "%s: asked to end: %s",
                        b->path, text);
}

static void terminate(struct brick *b, bool clean)
{
    struct mgmt_terminate msg = {.clean = clean};
    struct cfs_arena a;

    cfs_arena_init(&a);
    brick_call(b, RPC_BRICK_TERMINATE, mgmt_pack_terminate(&a, &msg), 0,
               on_terminated, NULL);
    cfs_arena_fini(&a);
}

/* One whose storage failed lives on and serves nothing; its end counts as a
 * death, and it is started again. */
void brick_forgive(struct brick *b)
{
    if (!brick_is_local(b)) {
        node_forgive_brick(b);
        return;
    }
    if (b->state == BRICK_UP && b->here && b->info.poisoned)
        terminate(b, false);
    if (b->state != BRICK_FAULTY && b->state != BRICK_WAITING)
        return;
    cfs_timer_stop(&b->timer);
    b->deaths = 0;
    b->state = BRICK_IDLE;
    brick_start(b);
}

/* -- a wanted end -------------------------------------------------------- */

/* Tell it, in the way that is open. */
static void ask_to_end(struct brick *b)
{
    if (b->line)
        terminate(b, true);
    else if (b->pid)
        kill((pid_t)b->pid, SIGTERM);
}

void brick_stop(struct brick *b)
{
    if (!brick_is_local(b))
        return;
    switch (b->state) {
    case BRICK_IDLE:
    case BRICK_STOPPING:
    case BRICK_UNKNOWN:
        return;
    case BRICK_WAITING:
    case BRICK_FAULTY:
        cfs_timer_stop(&b->timer);
        b->state = BRICK_IDLE;
        b->deaths = 0;
        b->reason[0] = '\0';
        volume_changed(b->vol);
        return;
    case BRICK_STARTING:
    case BRICK_UP:
        b->state = BRICK_STOPPING;
        ask_to_end(b);
        cfs_timer_start(&b->timer, PATIENCE);
        return;
    }
}

static void on_timer(struct cfs_timer *t)
{
    struct brick *b = cfs_list_entry(t, struct brick, timer);

    if (b->state == BRICK_WAITING) {
        b->state = BRICK_IDLE;
        brick_start(b);
        volume_changed(b->vol);
    } else if (b->state == BRICK_STOPPING && b->pid) {
        cfs_log_warning(mgmtd_of(b)->host.log, WHO, "%s: process %u takes "
                        "long to end", b->path, b->pid);
        kill((pid_t)b->pid, SIGTERM);
        cfs_timer_start(&b->timer, PATIENCE);
    }
}

/* -- signing in ---------------------------------------------------------- */

static void on_first_info(struct brick *b, void *arg, int status,
                          struct cfs_blob body, const char *text)
{
    if (b->line != arg)
        return; /* it signed in anew, or is gone */
    if (status < 0) {
        cfs_log_warning(mgmtd_of(b)->host.log, WHO, "%s: %s", b->path, text);
        if (b->line)
            rpc_conn_reset(b->line->conn, "the brick does not answer");
        return;
    }
    b->here = true;
    b->ended = false;
    if (b->state == BRICK_STARTING)
        b->state = BRICK_UP;
    if (b->info.poisoned)
        snprintf(b->reason, sizeof b->reason, "%s", b->info.reason);
    else
        b->reason[0] = '\0';
    cfs_log_info(mgmtd_of(b)->host.log, WHO,
                 "%s is here: process %u, incarnation %llu, %s%s", b->path,
                 b->pid, (unsigned long long)b->info.incarnation,
                 b->info.clean ? "was stopped cleanly" : "was not stopped "
                                                         "cleanly",
                 b->info.poisoned  ? ", poisoned"
                 : b->info.stalled ? ", its device does not answer"
                                   : "");
    view_tell(b);
    sessions_heard(b);
    volume_reconcile(b->vol);
}

void brick_signed_in(struct brick *b, struct line *line, uint32_t pid,
                     uint16_t port)
{
    struct mgmtd *m = mgmtd_of(b);

    if (b->line && b->line != line) {
        struct rpc_conn *old = b->line->conn;

        lose_line(b);
        rpc_conn_reset(old, "the brick signed in anew");
    }
    b->line = line;
    line->brick = b;
    if (b->port != port && b->vol->state == VOL_STARTED)
        volume_spec_changed(b->vol); /* to clients elsewhere */
    b->port = port;
    if (b->pid != pid) {
        pidwatch_disown(b->watch);
        b->watch = NULL;
        b->pid = 0;
        b->life = 0;
        if (watch(b, pid, 0) < 0) {
            cfs_log_warning(m->host.log, WHO, "%s: process %u is gone "
                            "already", b->path, pid);
            lose_line(b);
            on_ended(b, -1);
            return;
        }
    }
    /* A brick that should not run is one too, until it is told to end. */
    if (b->state != BRICK_STOPPING && b->state != BRICK_UP) {
        cfs_timer_stop(&b->timer);
        b->state = BRICK_STARTING;
    }
    if (b->state == BRICK_STOPPING)
        ask_to_end(b);
    else
        brick_refresh(b, INFO_MS, on_first_info, line);
}

void brick_line_lost(struct brick *b)
{
    lose_line(b);
    volume_changed(b->vol);
}

/* -- adoption ------------------------------------------------------------ */

static bool adopt(void *arg, const struct spawned *p)
{
    struct mgmtd *m = arg;
    const char *id = spawned_arg(p, "--brick-id");
    const char *run = spawned_arg(p, "--run-dir");
    struct cfs_uuid uuid;
    struct brick *b;

    if (!id || !run || strcmp(run, m->host.dirs.run) != 0 ||
        cfs_uuid_parse(id, &uuid) < 0)
        return true;
    b = brick_find(m, uuid);
    if (!b || !brick_is_local(b) || b->pid ||
        watch(b, p->pid, p->start) < 0)
        return true;
    cfs_log_info(m->host.log, WHO, "%s: process %u runs already", b->path,
                 p->pid);
    b->state = BRICK_STARTING;
    b->ended = false;
    return true;
}

void brick_find_processes(struct mgmtd *m)
{
    spawn_scan(PROGRAM, adopt, m);
}
