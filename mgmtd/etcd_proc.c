/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_proc.c - see etcd_proc.h. */
#include "mgmtd/etcd_proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mgmtd/address.h"
#include "mgmtd/launch.h"
#include "mgmtd/mem.h"

#define WHO "etcd"
#define PROGRAM "etcd"

#define BACKOFF     (200 * CFS_MS)
#define BACKOFF_MAX (30 * CFS_SEC)
#define GOOD_RUN    (60 * CFS_SEC)
#define PATIENCE    (10 * CFS_SEC) /* of an end, before SIGKILL */

/* Of the log, searched for the last words. */
#define TAIL 32768

/* What mgmtd keeps in it is small; at this size it takes no more. */
#define QUOTA (1024u << 20)

const char *etcd_state_str(enum etcd_state s)
{
    static const char *const words[] = {
        [ETCD_NONE] = "none",
        [ETCD_RUNNING] = "running",
        [ETCD_WAITING] = "restarting",
        [ETCD_STOPPING] = "stopping",
    };

    return words[s];
}

/* -- URLs ----------------------------------------------------------------- */

static char *url(const char *host, unsigned port)
{
    bool v6 = strchr(host, ':') != NULL;

    return mem_printf("https://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "",
                      port);
}

char *etcd_client_url(const char *host, uint16_t port)
{
    return url(host, port + 1u);
}

char *etcd_peer_url(const char *host, uint16_t port)
{
    return url(host, port + 2u);
}

/* Where it listens for those who reach us at @host. Etcd wants a number. */
static const char *listen_host(const char *host)
{
    if (strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0)
        return "127.0.0.1";
    return address_any();
}

/* -- life ----------------------------------------------------------------- */

static void on_timer(struct cfs_timer *t);

void etcd_proc_init(struct etcd_proc *p, struct cfs_host *host,
                    const char *trust)
{
    *p = (struct etcd_proc){.loop = host->loop, .log = host->log};
    p->dir = mem_printf("%s/etcd", host->dirs.state);
    p->output = mem_printf("%s/etcd.out", host->dirs.run);
    p->log_path = mem_printf("%s/etcd.log", host->dirs.log);
    p->trust = mem_str(trust);
    p->port = host->port;
    p->quota = QUOTA;
    cfs_timer_init(host->loop, &p->timer, on_timer);
}

void etcd_proc_fini(struct etcd_proc *p)
{
    pidwatch_free(p->watch);
    if (p->loop)
        cfs_timer_fini(&p->timer);
    free(p->dir);
    free(p->output);
    free(p->log_path);
    free(p->trust);
    free(p->name);
    free(p->host);
    free(p->listens);
    free(p->initial);
    free(p->token);
    *p = (struct etcd_proc){0};
}

void etcd_proc_name(struct etcd_proc *p, const char *name, const char *host)
{
    char *n = mem_str(name), *h = mem_str(host);

    free(p->name);
    free(p->host);
    p->name = n;
    p->host = h;
}

void etcd_proc_first(struct etcd_proc *p, const char *initial,
                     const char *token, bool existing)
{
    free(p->initial);
    free(p->token);
    p->initial = initial ? mem_str(initial) : NULL;
    p->token = token ? mem_str(token) : NULL;
    p->existing = existing;
}

/* -- an end --------------------------------------------------------------- */

static int64_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : 0;
}

/* One line of its log, which is JSON; true: it says why it ends. */
static bool take_line(const char *line, char *ret, size_t len)
{
    json_t *o = json_loads(line, 0, NULL);
    const char *level = json_string_value(json_object_get(o, "level"));
    const char *msg = json_string_value(json_object_get(o, "msg"));
    const char *why = json_string_value(json_object_get(o, "error"));
    bool last = level && msg && (strcmp(level, "fatal") == 0 ||
                                 strcmp(level, "panic") == 0 ||
                                 strcmp(level, "error") == 0);

    if (last)
        snprintf(ret, len, "%s%s%s", msg, why ? ": " : "", why ? why : "");
    json_decref(o);
    return last;
}

/* The last complaint in the log behind @from. */
static bool words_of_log(const char *path, int64_t from, char *ret, size_t len)
{
    int64_t size = size_of(path);
    char *text, *save = NULL;
    bool found = false;
    ssize_t n;
    int fd;

    if (size < from)
        from = 0; /* it was rotated */
    if (size - from > TAIL)
        from = size - TAIL;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    text = mem_new(TAIL + 1);
    n = pread(fd, text, TAIL, from);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    for (char *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        found |= take_line(line, ret, len);
    free(text);
    return found;
}

static void note_reason(struct etcd_proc *p, int status)
{
    char words[CFS_ERR_TEXT];

    spawn_last_words(p->output, PROGRAM, words, sizeof words);
    if (words_of_log(p->log_path, p->log_from, p->reason, sizeof p->reason))
        return;
    if (*words)
        snprintf(p->reason, sizeof p->reason, "%s", words);
    else if (status >= 0 && WIFSIGNALED(status))
        snprintf(p->reason, sizeof p->reason, "killed by signal %d",
                 WTERMSIG(status));
    else
        snprintf(p->reason, sizeof p->reason, "its process ended; see %s",
                 p->log_path);
}

static uint64_t back_off(struct etcd_proc *p)
{
    uint64_t delay;

    if (cfs_now(p->loop) - p->started > GOOD_RUN)
        p->failures = 0;
    delay = p->failures < 10 ? BACKOFF << p->failures : BACKOFF_MAX;
    p->failures++;
    return delay < BACKOFF_MAX ? delay : BACKOFF_MAX;
}

static void on_ended(void *arg, int status)
{
    struct etcd_proc *p = arg;

    p->watch = NULL;
    p->pid = 0;
    cfs_timer_stop(&p->timer);
    if (p->state == ETCD_STOPPING) {
        cfs_log_info(p->log, WHO, "etcd has ended");
        p->state = ETCD_NONE;
        p->reason[0] = '\0';
    } else {
        uint64_t delay = back_off(p);

        note_reason(p, status);
        cfs_log_warning(p->log, WHO, "etcd: %s; it is started again in %llu "
                        "ms", p->reason, (unsigned long long)(delay / CFS_MS));
        p->state = ETCD_WAITING;
        cfs_timer_start(&p->timer, delay);
    }
    if (p->ended)
        p->ended(p->arg);
}

/* -- a start -------------------------------------------------------------- */

int etcd_proc_find(char **ret_path, struct cfs_err *err)
{
    if (spawn_find_in_path(PROGRAM, ret_path) == 0)
        return 0;
    return cfs_err_set(err, -ENOENT, "a cluster of several nodes keeps its "
                       "configuration in etcd, which is not installed on this "
                       "node: install it (package etcd-server on Debian and "
                       "Ubuntu, etcd elsewhere; 3.4 or newer) and try again");
}

static char *listen_url(const struct etcd_proc *p)
{
    return etcd_client_url(listen_host(p->host), p->port);
}

/* A command line, being written. */
struct words {
    char *w[64];
    size_t n;
};

static void add_word(struct words *a, char *word)
{
    assert(a->n + 1 < CFS_ARRAY_SIZE(a->w));
    a->w[a->n++] = word;
}

static void add(struct words *a, const char *name, char *value)
{
    add_word(a, mem_str(name));
    add_word(a, value);
}

static void add_urls(struct words *a, const struct etcd_proc *p)
{
    const char *at = listen_host(p->host);

    add(a, "--listen-client-urls", listen_url(p));
    add(a, "--advertise-client-urls", etcd_client_url(p->host, p->port));
    add(a, "--listen-peer-urls", etcd_peer_url(at, p->port));
    if (!p->initial)
        return;
    add(a, "--initial-advertise-peer-urls", etcd_peer_url(p->host, p->port));
    add(a, "--initial-cluster", mem_str(p->initial));
    add(a, "--initial-cluster-token", mem_str(p->token));
    add(a, "--initial-cluster-state",
        mem_str(p->existing ? "existing" : "new"));
}

/* @side: "" for clients, "peer-" for the other members. */
static void add_trust(struct words *a, const struct etcd_proc *p,
                      const char *side)
{
    static const char *const files[][2] = {
        {"trusted-ca-file", "node-ca.crt"},
        {"cert-file", "node.crt"},
        {"key-file", "node.key"},
    };
    char *crl = mem_printf("%s/node.crl", p->trust);

    add_word(a, mem_printf("--%sclient-cert-auth=true", side));
    for (size_t i = 0; i < CFS_ARRAY_SIZE(files); i++) {
        add_word(a, mem_printf("--%s%s", side, files[i][0]));
        add_word(a, mem_printf("%s/%s", p->trust, files[i][1]));
    }
    if (access(crl, R_OK) == 0)
        add(a, *side ? "--peer-crl-file" : "--client-crl-file", crl);
    else
        free(crl);
}

static void make_words(const struct etcd_proc *p, char *program,
                       struct words *a)
{
    add_word(a, program);
    add(a, "--name", mem_str(p->name));
    add(a, "--data-dir", mem_str(p->dir));
    add_urls(a, p);
    add_trust(a, p, "");
    add_trust(a, p, "peer-");
    /* Who a peer is, its certificate says; not where it calls from. */
    add_word(a, mem_str("--experimental-peer-skip-client-san-verification"));
    add(a, "--heartbeat-interval", mem_str("50"));
    add(a, "--election-timeout", mem_str("500"));
    add_word(a, mem_str("--pre-vote"));
    add(a, "--auto-compaction-mode", mem_str("revision"));
    add(a, "--auto-compaction-retention", mem_str("1000"));
    add(a, "--quota-backend-bytes", mem_printf("%" PRIu64, p->quota));
    add(a, "--logger", mem_str("zap"));
    add(a, "--log-level", mem_str("error"));
    add(a, "--log-outputs", mem_str(p->log_path));
    a->w[a->n] = NULL;
}

/* @url NULL: as we would start it. */
static void note_listens(struct etcd_proc *p, const char *url)
{
    free(p->listens);
    p->listens = url ? mem_str(url) : listen_url(p);
}

static int spawn(struct etcd_proc *p, struct cfs_err *err)
{
    struct words a = {0};
    char *program;
    uint32_t pid;
    int rc;

    rc = etcd_proc_find(&program, err);
    if (rc < 0)
        return rc;
    make_words(p, program, &a);
    p->log_from = size_of(p->log_path);
    rc = spawn_detached(a.w, p->output, &pid, err);
    for (size_t i = 0; i < a.n; i++)
        free(a.w[i]);
    if (rc < 0)
        return rc;
    rc = pidwatch_new(p->loop, pid, 0, on_ended, p, &p->watch);
    if (rc < 0)
        return cfs_err_set(err, rc, "cannot watch process %u: %s", pid,
                           cfs_err_str(rc));
    p->pid = pid;
    p->started = cfs_now(p->loop);
    p->state = ETCD_RUNNING;
    note_listens(p, NULL);
    cfs_log_info(p->log, WHO, "started etcd, process %u", pid);
    return 0;
}

int etcd_proc_start(struct etcd_proc *p, struct cfs_err *err)
{
    if (p->state != ETCD_NONE)
        return 0;
    assert(p->name && p->host);
    return spawn(p, err);
}

static void start_again(struct etcd_proc *p)
{
    struct cfs_err err = {0};

    if (spawn(p, &err) == 0)
        return;
    cfs_log_error(p->log, WHO, "%s", err.text);
    snprintf(p->reason, sizeof p->reason, "%s", err.text);
    cfs_timer_start(&p->timer, back_off(p));
}

static void on_timer(struct cfs_timer *t)
{
    struct etcd_proc *p = cfs_list_entry(t, struct etcd_proc, timer);

    if (p->state == ETCD_WAITING) {
        start_again(p);
    } else if (p->state == ETCD_STOPPING && p->pid) {
        cfs_log_warning(p->log, WHO, "etcd, process %u, does not end; it is "
                        "killed", p->pid);
        kill((pid_t)p->pid, SIGKILL);
    }
}

void etcd_proc_stop(struct etcd_proc *p)
{
    switch (p->state) {
    case ETCD_NONE:
    case ETCD_STOPPING:
        return;
    case ETCD_WAITING:
        cfs_timer_stop(&p->timer);
        p->state = ETCD_NONE;
        if (p->ended)
            p->ended(p->arg);
        return;
    case ETCD_RUNNING:
        p->state = ETCD_STOPPING;
        kill((pid_t)p->pid, SIGTERM);
        cfs_timer_start(&p->timer, PATIENCE);
        return;
    }
}

/* -- one that runs already ------------------------------------------------ */

static bool adopt(void *arg, const struct spawned *s)
{
    struct etcd_proc *p = arg;
    const char *dir = spawned_arg(s, "--data-dir");

    if (!dir || strcmp(dir, p->dir) != 0 ||
        pidwatch_new(p->loop, s->pid, s->start, on_ended, p, &p->watch) < 0)
        return true;
    p->pid = s->pid;
    p->started = cfs_now(p->loop);
    p->log_from = size_of(p->log_path);
    p->state = ETCD_RUNNING;
    note_listens(p, spawned_arg(s, "--listen-client-urls"));
    cfs_log_info(p->log, WHO, "etcd runs already, process %u", s->pid);
    return false;
}

bool etcd_proc_adopt(struct etcd_proc *p)
{
    if (p->state == ETCD_NONE)
        spawn_scan(PROGRAM, adopt, p);
    return p->state == ETCD_RUNNING;
}

bool etcd_proc_is_old(const struct etcd_proc *p)
{
    struct stat runs, installed;
    char path[64], *program, *url;
    bool old = false;

    if (p->state == ETCD_RUNNING && p->host && p->listens) {
        url = listen_url(p);
        old = strcmp(url, p->listens) != 0;
        free(url);
    }
    if (old)
        return true;
    if (p->state != ETCD_RUNNING || spawn_find_in_path(PROGRAM, &program) < 0)
        return false;
    snprintf(path, sizeof path, "/proc/%u/exe", p->pid);
    if (stat(path, &runs) == 0 && stat(program, &installed) == 0)
        old = runs.st_dev != installed.st_dev ||
              runs.st_ino != installed.st_ino;
    free(program);
    return old;
}
