/* SPDX-License-Identifier: Apache-2.0 */
/* engine_home.c - where this node is at home: on which machine, at which
 * address. Two processes that are one node would vote twice, and each serve its
 * bricks: whoever has a copy of another's state directory must notice.
 *
 *   copied with rsync, cp, ...   engine.json names the machine, by
 *                 /etc/machine-id: on another one mgmtd does not start. Who
 *                 means it makes STATE_DIR/moved, which is used up.
 *   cloned, with the machine-id  the record node/NAME says where this node is
 *                 reached. Who is not there, but finds a process there that has
 *                 this node's certificate, is the copy: it does not start.
 *   both ran already             GREET of the second is refused (peer.c), and
 *                 it begins anew, as does one whose record the other moved; who
 *                 is the copy is found out as above.
 *
 * A node whose address changed says so in its record, so that others find it,
 * and etcd's members are told (engine_step.c): only if its address in the
 * record is a number that it once had itself (engine.json: address) and has not
 * had for some seconds; one behind a translating router is not touched, and a
 * name is looked up anew whenever it is needed.
 */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <unistd.h>

#include "mgmtd/address.h"
#include "mgmtd/authority.h"
#include "mgmtd/engine_impl.h"
#include "mgmtd/file.h"
#include "mgmtd/trust.h"

#define WHO "engine"

#define KNOCK_FOR  (2 * CFS_SEC)
#define KNOCK_MS   1000u
#define LOOK_EVERY (5 * CFS_SEC)
#define PATIENCE   3u /* looks at which the address is gone */

/* -- the machine ----------------------------------------------------------- */

bool home_machine(char ret[static CFS_UUID_STR])
{
    struct cfs_uuid id;

    if (cfs_machine_id(&id) < 0)
        return false;
    cfs_uuid_print(id, ret);
    return true;
}

/* It was said that the directory was moved here. Used up first: so that it
 * does not speak for the next copy of the directory. */
static int settle_in(struct engine *e, const char *moved, const char *machine,
                     struct cfs_err *err)
{
    json_t *next;
    int rc = file_remove(moved, err);

    if (rc < 0)
        return rc;
    next = mark_copy(e);
    json_object_set_new(next, "machine", mem_ok(json_string(machine)));
    cfs_log_warning(e->m->host.log, WHO, "node %s is on this machine from now "
                    "on: its state directory was moved here",
                    mark_str(e, "node"));
    return mark_save(e, next, err);
}

int home_check_machine(struct engine *e, struct cfs_err *err)
{
    const char *dir = e->m->host.dirs.state, *was = mark_str(e, "machine");
    char is[CFS_UUID_STR], *moved;
    int rc;

    if (!*was || !home_machine(is) || strcmp(was, is) == 0)
        return 0;
    moved = mem_printf("%s/moved", dir);
    if (access(moved, F_OK) == 0)
        rc = settle_in(e, moved, is, err);
    else
        rc = cfs_err_set(err, -EPERM, "%.150s is another machine's, which is "
                         "node %.64s (see /etc/machine-id). If it was copied: "
                         "empty it, start clusterfs-mgmtd, and join as a node "
                         "of its own. If this machine is %.64s from now on, "
                         "and the other never again: touch %.150s, and start",
                         dir, mark_str(e, "node"), mark_str(e, "node"), moved);
    free(moved);
    return rc;
}

/* -- addresses ------------------------------------------------------------- */

static bool parse_number(const char *host, struct sockaddr_storage *ret)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

    *ret = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1)
        ret->ss_family = AF_INET;
    else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1)
        ret->ss_family = AF_INET6;
    return ret->ss_family != 0;
}

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return a->sa_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)b)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

/* Whether an interface of this machine has the address @host; of a name
 * nothing is known. */
static bool is_ours(const char *host)
{
    struct sockaddr_storage want;
    struct ifaddrs *all;
    bool found = is_loopback(host);

    if (found || !parse_number(host, &want) || getifaddrs(&all) < 0)
        return found;
    for (struct ifaddrs *i = all; i && !found; i = i->ifa_next)
        found = i->ifa_addr &&
                same_address(i->ifa_addr, (struct sockaddr *)&want);
    freeifaddrs(all);
    return found;
}

/* From which address this machine reaches @host: nothing is sent. */
static bool address_towards(const char *host, char *ret, size_t len)
{
    struct sockaddr_storage to;
    socklen_t n = sizeof to;
    bool ok;
    int fd;

    if (!parse_number(host, &to))
        return false;
    if (to.ss_family == AF_INET)
        ((struct sockaddr_in *)&to)->sin_port = htons(CFS_PORT_MGMTD);
    else
        ((struct sockaddr_in6 *)&to)->sin6_port = htons(CFS_PORT_MGMTD);
    fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    ok = connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
         getsockname(fd, (struct sockaddr *)&to, &n) == 0 &&
         inet_ntop(to.ss_family,
                   to.ss_family == AF_INET
                       ? (void *)&((struct sockaddr_in *)&to)->sin_addr
                       : (void *)&((struct sockaddr_in6 *)&to)->sin6_addr,
                   ret, (socklen_t)len) != NULL;
    close(fd);
    return ok && !is_loopback(ret);
}

/* Towards the other members, or how a new cluster would choose. */
static bool find_address(struct mgmtd *m, char *ret, size_t len)
{
    cfs_list_for_each(l, &m->peers) {
        const struct peer *p = cfs_list_entry(l, struct peer, link);

        if (!p->self && address_towards(p->host, ret, len))
            return true;
    }
    address_first(ret, len);
    return !is_loopback(ret);
}

/* -- is somebody else this node? ------------------------------------------- */

struct knock {
    struct mgmtd    *m;
    struct rpc_conn *conn;
    struct cfs_timer timer;
    bool             over;
    bool             twin; /* somebody with our certificate is there */
};

static bool knock_is_over(void *arg)
{
    return ((struct knock *)arg)->over;
}

static void on_knock_timer(struct cfs_timer *t)
{
    cfs_list_entry(t, struct knock, timer)->over = true;
}

static void on_told(void *arg, int status, json_t *result, const char *text)
{
    ((struct knock *)arg)->over = true;
}

/* It is told, so that its log says so too. */
static void on_knock_up(struct rpc_conn *c, void *ctx)
{
    struct knock *k = ctx;
    const char *name;

    k->twin = rpc_conn_peer(c, &name) == RPC_PEER_NODE &&
              strcmp(name, k->m->node) == 0;
    if (k->twin)
        peer_call_on(c, RPC_PEER_GREET, mem_ok(json_object()), KNOCK_MS,
                     on_told, k);
    else
        k->over = true;
}

static void on_knock_down(struct rpc_conn *c, const struct cfs_err *why,
                          void *ctx)
{
    ((struct knock *)ctx)->over = true;
}

/* Before we listen ourselves: who answers at @address is another process. */
static bool has_twin(struct mgmtd *m, const char *address)
{
    static const struct rpc_events events = {on_knock_up, on_knock_down};
    struct rpc_opts opts = rpc_opts_default;
    struct knock k = {.m = m};
    struct rpc_addr addr;

    opts.tls = trust_tls(m->trust);
    opts.connect_ms = KNOCK_MS;
    if (rpc_addr_parse(address, &addr, NULL) < 0 ||
        rpc_connect(m->host.loop, m->host.log, WHO, &addr, &opts, NULL, 0,
                    &events, &k, &k.conn, NULL) < 0)
        return false;
    cfs_timer_init(m->host.loop, &k.timer, on_knock_timer);
    cfs_timer_start(&k.timer, KNOCK_FOR);
    cfs_loop_run_until(m->host.loop, knock_is_over, &k);
    rpc_conn_close(k.conn);
    cfs_timer_fini(&k.timer);
    return k.twin;
}

int engine_check_home(struct mgmtd *m, struct cfs_err *err)
{
    char *key = mem_printf("node/%s", m->node), *address;
    struct rec_node r;
    json_t *rec = NULL;
    bool twin;
    int rc = 0;

    if (!engine_is_nobodys(m) &&
        store_get(m->store, key, &rec, NULL, NULL) == 0 &&
        rec_node_read(rec, key, &r, NULL) == 0 &&
        cfs_uuid_eq(r.id, m->node_id) && !is_ours(r.host)) {
        address = peer_address(r.host, (uint16_t)r.port);
        twin = has_twin(m, address);
        if (twin)
            rc = cfs_err_set(err, -EADDRINUSE, "node %.64s runs already, at "
                             "%.100s: this machine has a copy of its state "
                             "directory. To make this one a node of its own: "
                             "empty %.150s, start clusterfs-mgmtd, and join. "
                             "If this is to be %.64s from now on, stop that "
                             "one first, for good", m->node, address,
                             m->host.dirs.state, m->node);
        free(address);
    }
    json_decref(rec);
    free(key);
    return rc;
}

/* -- a new address --------------------------------------------------------- */

static void note_address(struct engine *e, const char *host)
{
    struct cfs_err err = {0};
    json_t *next;

    if (strcmp(mark_str(e, "address"), host) == 0)
        return;
    next = mark_copy(e);
    json_object_set_new(next, "address", mem_ok(json_string(host)));
    if (mark_save(e, next, &err) < 0)
        cfs_log_error(e->m->host.log, WHO, "%s", err.text);
}

static void on_announced(void *arg, int status, const struct cfs_err *err)
{
    struct engine *e = arg;

    e->announcing = false;
    if (status < 0)
        cfs_log_warning(e->m->host.log, WHO, "this node's address changed, "
                        "which cannot be told to the others yet: %s",
                        err->text);
    else
        e->home_missed = 0;
}

static void announce(struct engine *e, const char *from, const char *to)
{
    char *key = mem_printf("node/%s", e->m->node);
    uint64_t token;
    json_t *rec;

    if (store_get(e->m->store, key, &rec, &token, NULL) == 0) {
        cfs_log_warning(e->m->host.log, WHO, "this node is not reached at %s "
                        "any more, but at %s: telling the others", from, to);
        json_object_set_new(rec, "host", mem_ok(json_string(to)));
        e->announcing = true;
        store_replace(e->m->store, key, token, rec, on_announced, e);
    }
    free(key);
}

static void look(struct engine *e)
{
    const struct peer *self = peer_self(e->m);
    struct sockaddr_storage number;
    char now[INET6_ADDRSTRLEN];

    if (!self || e->announcing || engine_is_nobodys(e->m) ||
        !parse_number(self->host, &number) || is_loopback(self->host))
        return;
    if (is_ours(self->host)) {
        e->home_missed = 0;
        note_address(e, self->host);
    } else if (strcmp(mark_str(e, "address"), self->host) == 0 &&
               ++e->home_missed >= PATIENCE &&
               find_address(e->m, now, sizeof now)) {
        announce(e, self->host, now);
    }
}

static void on_home(struct cfs_timer *t)
{
    struct engine *e = cfs_list_entry(t, struct engine, home);

    look(e);
    cfs_timer_start(t, LOOK_EVERY);
}

void home_run(struct engine *e)
{
    cfs_timer_start(&e->home, 0);
}

void engine_placed(struct mgmtd *m)
{
    if (m->engine->running)
        home_run(m->engine);
}

void home_init(struct engine *e)
{
    cfs_timer_init(e->m->host.loop, &e->home, on_home);
}

/* Which of the two is the copy, the start decides. */
static void leave_it(struct mgmtd *m)
{
    etcd_proc_stop(&m->engine->proc);
    mgmtd_start_anew(m);
}

void engine_is_twin(struct mgmtd *m)
{
    cfs_log_error(m->host.log, WHO, "another machine is node %s too: was this "
                  "one's state directory (%s) copied, from there or to there?",
                  m->node, m->host.dirs.state);
    leave_it(m);
}

void engine_moved(struct mgmtd *m)
{
    struct engine *e = m->engine;
    const char *host = engine_host(e);
    struct sockaddr_storage number;

    if (!e->running)
        return;
    if (!e->announcing && !m->join && parse_number(host, &number) &&
        !is_ours(host) && !is_loopback(host)) {
        cfs_log_error(m->host.log, WHO, "somebody else has put this node at "
                      "%s: was its state directory copied? Looking there",
                      host);
        leave_it(m);
        return;
    }
    etcd_proc_name(&e->proc, m->node, host);
    authority_renew(m);
}
