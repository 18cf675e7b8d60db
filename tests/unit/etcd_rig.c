/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_rig.c - see etcd_rig.h. */
#include "tests/unit/etcd_rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/sh.h"

#define CLIENT_PORT 24008u /* + 2 for each member */

static bool there(const char *program)
{
    return sh("command -v %s >/dev/null", program) == 0;
}

const char *etcd_rig_lacks(bool tls)
{
    if (!there("etcd"))
        return "no etcd here (package etcd-server)";
    if (tls && !there("openssl"))
        return "no openssl here";
    return NULL;
}

void rig_remove(const char *dir)
{
    assert_int_equal(sh("rm -rf '%s'", dir), 0);
}

/* An authority, and one certificate of its for servers and clients. */
static void make_certificates(struct etcd_rig *r)
{
    const char *d = r->dir;

    assert_int_equal(sh(
        "cd %s && {"
        " openssl ecparam -genkey -name prime256v1 -noout -out ca.key &&"
        " openssl req -x509 -new -key ca.key -subj /CN=test -days 2"
        "  -out ca.crt &&"
        " openssl ecparam -genkey -name prime256v1 -noout -out node.key &&"
        " openssl req -new -key node.key -subj /CN=node -out node.csr &&"
        " printf 'subjectAltName=IP:%s,IP:127.0.0.1\\n"
        "extendedKeyUsage=serverAuth,clientAuth\\n' >ext &&"
        " openssl x509 -req -in node.csr -CA ca.crt -CAkey ca.key"
        "  -CAcreateserial -days 2 -extfile ext -out node.crt &&"
        " printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\n"
        "default_md=sha256\\ndefault_crl_days=2\\n' >conf && : >index &&"
        " openssl ca -config conf -keyfile ca.key -cert ca.crt -gencrl"
        "  -out none.crl &&"
        " openssl ca -config conf -keyfile ca.key -cert ca.crt"
        "  -revoke node.crt &&"
        " openssl ca -config conf -keyfile ca.key -cert ca.crt -gencrl"
        "  -out node.crl"
        "; } >certs.log 2>&1", d, r->ip), 0);
    snprintf(r->to.ca, sizeof r->to.ca, "%s/ca.crt", d);
    snprintf(r->to.cert, sizeof r->to.cert, "%s/node.crt", d);
    snprintf(r->to.key, sizeof r->to.key, "%s/node.key", d);
    snprintf(r->to.crl, sizeof r->to.crl, "%s/none.crl", d);
}

struct args {
    char  text[40][512];
    char *v[41];
    int   n;
};

static void arg(struct args *a, const char *fmt, ...) CFS_PRINTF(2, 3);

static void arg(struct args *a, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(a->text[a->n], sizeof a->text[0], fmt, ap);
    va_end(ap);
    a->v[a->n] = a->text[a->n];
    a->v[++a->n] = NULL;
}

static void urls(const struct etcd_rig *r, unsigned i, char *client,
                 char *peer, size_t len)
{
    const char *scheme = r->tls ? "https" : "http";

    snprintf(client, len, "%s://%s:%u", scheme, r->ip, CLIENT_PORT + 2 * i);
    snprintf(peer, len, "%s://%s:%u", scheme, r->ip, CLIENT_PORT + 2 * i + 1);
}

static void arguments(const struct etcd_rig *r, unsigned i, struct args *a)
{
    char client[80], peer[80], all[300] = "";

    for (unsigned k = 0; k < r->n; k++) {
        size_t at = strlen(all);

        urls(r, k, client, peer, sizeof client);
        snprintf(all + at, sizeof all - at, "%sm%u=%s", k ? "," : "", k, peer);
    }
    urls(r, i, client, peer, sizeof client);
    arg(a, "etcd");
    arg(a, "--name=m%u", i);
    arg(a, "--data-dir=%s/m%u", r->dir, i);
    arg(a, "--listen-client-urls=%s", client);
    arg(a, "--advertise-client-urls=%s", client);
    arg(a, "--listen-peer-urls=%s", peer);
    arg(a, "--initial-advertise-peer-urls=%s", peer);
    arg(a, "--initial-cluster=%s", all);
    arg(a, "--initial-cluster-token=%s", r->dir);
    arg(a, "--heartbeat-interval=50");
    arg(a, "--election-timeout=500");
    arg(a, "--pre-vote");
    arg(a, "--logger=zap");
    arg(a, "--log-outputs=%s/m%u.log", r->dir, i);
    if (!r->tls)
        return;
    arg(a, "--client-cert-auth");
    arg(a, "--trusted-ca-file=%s", r->to.ca);
    arg(a, "--cert-file=%s", r->to.cert);
    arg(a, "--key-file=%s", r->to.key);
    arg(a, "--peer-client-cert-auth");
    arg(a, "--peer-trusted-ca-file=%s", r->to.ca);
    arg(a, "--peer-cert-file=%s", r->to.cert);
    arg(a, "--peer-key-file=%s", r->to.key);
}

void etcd_rig_run(struct etcd_rig *r, unsigned i)
{
    struct args a = {.n = 0};
    pid_t parent = getpid();

    assert_int_equal(r->pid[i], 0);
    arguments(r, i, &a);
    r->pid[i] = fork();
    assert_true(r->pid[i] >= 0);
    if (r->pid[i] == 0) {
        int null = open("/dev/null", O_RDWR);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execvp("etcd", a.v);
        _exit(127);
    }
}

void etcd_rig_signal(struct etcd_rig *r, unsigned i, int sig)
{
    assert_true(r->pid[i] > 0);
    assert_int_equal(kill(r->pid[i], sig), 0);
}

void etcd_rig_kill(struct etcd_rig *r, unsigned i)
{
    etcd_rig_signal(r, i, SIGKILL);
    waitpid(r->pid[i], NULL, 0);
    r->pid[i] = 0;
}

void etcd_rig_save(struct etcd_rig *r, unsigned i)
{
    assert_int_equal(sh("cd %s && rm -rf saved%u && cp -a m%u saved%u",
                           r->dir, i, i, i), 0);
}

void etcd_rig_roll_back(struct etcd_rig *r, unsigned i)
{
    assert_int_equal(sh("cd %s && rm -rf m%u && cp -a saved%u m%u",
                           r->dir, i, i, i), 0);
}

void etcd_rig_wipe(struct etcd_rig *r, unsigned i)
{
    assert_int_equal(sh("rm -rf %s/m%u", r->dir, i), 0);
}

/* Of the process id, so that tests at the same time do not meet; up to three
 * in one process. */
static void own_address(struct etcd_rig *r)
{
    static unsigned rigs;
    unsigned pid = (unsigned)getpid();

    snprintf(r->ip, sizeof r->ip, "127.%u.%u.%u",
             64 + (pid >> 16 & 63) + 64 * (rigs++ % 3), pid >> 8 & 255,
             pid & 255);
}

void etcd_rig_start(struct etcd_rig *r, unsigned n, bool tls)
{
    char peer[80];

    memset(r, 0, sizeof *r);
    r->n = r->to.n = n;
    r->tls = tls;
    cfs_test_dir(r->dir, "etcd");
    own_address(r);
    if (tls)
        make_certificates(r);
    for (unsigned i = 0; i < n; i++) {
        urls(r, i, r->to.url[i], peer, sizeof peer);
        etcd_rig_run(r, i);
    }
}

void etcd_rig_end(struct etcd_rig *r)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->pid[i])
            etcd_rig_kill(r, i);
    if (*r->dir)
        rig_remove(r->dir);
    *r->dir = '\0';
}
