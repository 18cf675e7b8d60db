/* SPDX-License-Identifier: Apache-2.0 */
/* creds.c - see creds.h. */
#include "rpc/creds.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES_MAX   (64u * 1024u)
#define SERVER_LINE "# server "

/* The text of a file, malloc'ed. */
static int read_file(const char *path, char **ret, struct cfs_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text;
    size_t len = 0;
    ssize_t n = 1;

    if (fd < 0)
        return cfs_err_set(err, -errno, "%s: %s", path, strerror(errno));
    text = malloc(BYTES_MAX + 1);
    while (text != NULL && len < BYTES_MAX && n > 0) {
        n = read(fd, text + len, BYTES_MAX - len);
        if (n > 0)
            len += (size_t)n;
    }
    if (text == NULL || n < 0) {
        const int e = text == NULL ? ENOMEM : errno;

        close(fd);
        free(text);
        return cfs_err_set(err, -e, "%s: %s", path, strerror(e));
    }
    close(fd);
    text[len] = '\0';
    *ret = text;
    return 0;
}

/* The @nth block of @text that begins with -----BEGIN @kind; malloc'ed, or
 * NULL. */
static char *block(const char *text, const char *kind, unsigned nth)
{
    char begin[64], finish[64];
    const char *p = text, *end;

    snprintf(begin, sizeof begin, "-----BEGIN %s-----", kind);
    snprintf(finish, sizeof finish, "-----END %s-----", kind);
    for (;;) {
        p = strstr(p, begin);
        end = p != NULL ? strstr(p, finish) : NULL;
        if (end == NULL)
            return NULL;
        end += strlen(finish);
        if (nth-- == 0)
            break;
        p = end;
    }
    return strndup(p, (size_t)(end - p));
}

static void read_servers(const char *text, struct rpc_creds *c)
{
    const char *p = text;

    while ((p = strstr(p, SERVER_LINE)) != NULL &&
           c->n_servers < RPC_CREDS_SERVERS) {
        const bool starts = p == text || p[-1] == '\n';
        char word[256];
        size_t len;

        p += strlen(SERVER_LINE);
        len = strcspn(p, " \r\n");
        if (!starts || len == 0 || len >= sizeof word)
            continue;
        memcpy(word, p, len);
        word[len] = '\0';
        if (rpc_addr_parse(word, &c->server[c->n_servers], NULL) == 0)
            c->n_servers++;
    }
}

static int load(const char *path, const struct rpc_tls_spec *spec,
                struct rpc_creds *c, struct cfs_err *err)
{
    const bool fresh = c->tls == NULL;
    struct cfs_err why = {0};
    int rc = fresh ? rpc_tls_new(&c->tls, err) : 0;

    if (rc < 0)
        return rc;
    rc = rpc_tls_load(c->tls, spec, &why);
    if (rc < 0 && fresh) {
        rpc_tls_unref(c->tls);
        c->tls = NULL;
    }
    return rc < 0 ? cfs_err_set(err, rc, "%s: %s", path, why.text) : 0;
}

/* Into @c, whose context may be there already. */
static int load_file(const char *path, struct rpc_creds *c,
                     struct cfs_err *err)
{
    char *text, *key, *cert, *ca;
    int rc = read_file(path, &text, err);

    if (rc < 0)
        return rc;
    key = block(text, "PRIVATE KEY", 0);
    cert = block(text, "CERTIFICATE", 0);
    ca = block(text, "CERTIFICATE", 1);
    if (key == NULL || cert == NULL || ca == NULL)
        rc = cfs_err_set(err, -EINVAL, "%s: not a client's credentials; "
                         "'clusterfs client add' on a node makes them", path);
    else
        rc = load(path, &(struct rpc_tls_spec){.cert = cert, .key = key,
                                               .node_ca = ca}, c, err);
    if (rc == 0) {
        c->n_servers = 0;
        read_servers(text, c);
    }
    explicit_bzero(text, strlen(text));
    if (key != NULL)
        explicit_bzero(key, strlen(key));
    free(text);
    free(key);
    free(cert);
    free(ca);
    return rc;
}

static int keep_path(struct rpc_creds *c, const char *path, bool is_node)
{
    c->path = strdup(path);
    c->is_node = is_node;
    return c->path != NULL ? 0 : -ENOMEM;
}

int rpc_creds_load(const char *path, struct rpc_creds *ret,
                   struct cfs_err *err)
{
    struct rpc_creds c = {0};
    int rc = load_file(path, &c, err);

    if (rc == 0)
        rc = keep_path(&c, path, false);
    if (rc < 0)
        rpc_creds_fini(&c);
    else
        *ret = c;
    return rc;
}

/* A node's own, as mgmtd keeps them, with who is revoked, if there is a list.
 * -ENOENT: it is of no cluster. */
static int load_node(const char *dir, struct rpc_creds *c,
                     struct cfs_err *err)
{
    static const char *const names[4] = {"node.crl", "node-ca.crt",
                                         "node.crt", "node.key"};
    char *text[4] = {0}, path[4200];
    int rc = 0;

    for (unsigned i = 0; i < 4 && rc == 0; i++) {
        struct cfs_err why = {0};

        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        rc = read_file(path, &text[i], &why);
        if (rc == -ENOENT && i == 0)
            rc = 0;
        else if (rc < 0)
            cfs_err_set(err, rc, "%s", why.text);
    }
    if (rc == 0)
        rc = load(dir, &(struct rpc_tls_spec){.cert = text[2], .key = text[3],
                                              .node_ca = text[1],
                                              .node_crl = text[0]}, c, err);
    for (unsigned i = 0; i < 4; i++)
        free(text[i]);
    return rc;
}

static int load_nothing(struct rpc_creds *c, struct cfs_err *err)
{
    int rc = rpc_tls_new(&c->tls, err);

    if (rc == 0)
        rpc_tls_any_server(c->tls);
    return rc;
}

int rpc_creds_find(const char *path, const char *config_dir,
                   const char *state_dir, struct rpc_creds *ret,
                   struct cfs_err *err)
{
    struct rpc_creds c = {0};
    struct cfs_err why = {0};
    char text[4096];
    int rc;

    if (path != NULL)
        return rpc_creds_load(path, ret, err);
    snprintf(text, sizeof text, "%s/client.pem", config_dir);
    rc = rpc_creds_load(text, &c, &why);
    if (rc == -ENOENT) {
        snprintf(text, sizeof text, "%s/trust", state_dir);
        why = (struct cfs_err){0};
        rc = load_node(text, &c, &why);
        if (rc == 0)
            rc = keep_path(&c, text, true);
    }
    if (rc == -ENOENT || rc == -EACCES)
        rc = load_nothing(&c, err);
    else if (rc < 0)
        cfs_err_set(err, rc, "%s", why.text);
    if (rc == 0)
        *ret = c;
    return rc;
}

int rpc_creds_refresh(struct rpc_creds *c, struct cfs_err *err)
{
    if (c->path == NULL)
        return 0;
    return c->is_node ? load_node(c->path, c, err)
                      : load_file(c->path, c, err);
}

void rpc_creds_fini(struct rpc_creds *c)
{
    free(c->path);
    rpc_tls_unref(c->tls);
    *c = (struct rpc_creds){0};
}
