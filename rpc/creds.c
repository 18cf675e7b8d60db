/* SPDX-License-Identifier: Apache-2.0 */
/* creds.c - see creds.h. */
#include "rpc/creds.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"

#define BYTES_MAX   (1024u * 1024u) /* lists of revoked ones grow */
#define CERT        "CERTIFICATE"
#define LIST        "X509 CRL"
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

/* Where the @nth block of @text that begins with -----BEGIN @kind is; its
 * length in bytes, without a newline behind it. NULL: there is none. */
static const char *find(const char *text, const char *kind, unsigned nth,
                        size_t *ret_len)
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
    *ret_len = (size_t)(end - p);
    return p;
}

/* malloc'ed, or NULL. */
static char *block(const char *text, const char *kind, unsigned nth)
{
    size_t len;
    const char *p = find(text, kind, nth, &len);

    return p != NULL ? strndup(p, len) : NULL;
}

/* @text with that block (none: at its end) as @now is; malloc'ed, or NULL. */
static char *with_block(const char *text, const char *kind, unsigned nth,
                        const char *now)
{
    const size_t all = strlen(text);
    size_t len = 0, n = strlen(now);
    const char *p = find(text, kind, nth, &len);
    const bool at_end = p == NULL;
    char *out = NULL;

    if (at_end)
        p = text + all;
    while (n > 0 && now[n - 1] == '\n')
        n--;
    if (asprintf(&out, "%.*s%.*s%s%s", (int)(p - text), text, (int)n, now,
                 p + len, at_end ? "\n" : "") < 0)
        return NULL;
    return out;
}

static void forget(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
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

/* What @text holds, into @c, whose context may be there already. */
static int load_text(const char *path, const char *text, struct rpc_creds *c,
                     struct cfs_err *err)
{
    char *key = block(text, "PRIVATE KEY", 0);
    char *cert = block(text, CERT, 0);
    char *ca = block(text, CERT, 1);
    char *list = block(text, LIST, 0);
    int rc;

    if (key == NULL || cert == NULL || ca == NULL)
        rc = cfs_err_set(err, -EINVAL, "%s: not a client's credentials; "
                         "'clusterfs client add' on a node makes them", path);
    else
        rc = load(path, &(struct rpc_tls_spec){.cert = cert, .key = key,
                                               .node_ca = ca,
                                               .node_crl = list}, c, err);
    forget(key);
    free(cert);
    free(ca);
    free(list);
    return rc;
}

/* Into @c, unless the file is as it was read last: what was taken over since,
 * and cannot be written there, stays then. */
static int load_file(const char *path, struct rpc_creds *c,
                     struct cfs_err *err)
{
    char *text, *copy;
    int rc = read_file(path, &text, err);

    if (rc < 0)
        return rc;
    if (c->read != NULL && strcmp(c->read, text) == 0) {
        forget(text);
        return 0;
    }
    copy = strdup(text);
    rc = copy == NULL ? cfs_err_set(err, -ENOMEM, "out of memory")
                      : load_text(path, text, c, err);
    if (rc < 0) {
        forget(text);
        forget(copy);
        return rc;
    }
    forget(c->text);
    forget(c->read);
    c->text = text;
    c->read = copy;
    c->unsaved = false;
    c->n_servers = 0;
    read_servers(text, c);
    return 0;
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

/* -- kept new -------------------------------------------------------------- */

bool rpc_creds_is_file(const struct rpc_creds *c)
{
    return c->text != NULL;
}

uint64_t rpc_creds_list(const struct rpc_creds *c)
{
    char *list = c->text != NULL ? block(c->text, LIST, 0) : NULL;
    uint64_t n = list != NULL ? rpc_tls_list_number(list) : 0;

    free(list);
    return n;
}

static bool has_cert(const struct rpc_creds *c, const char *cert)
{
    size_t len = 0, n = strlen(cert);
    const char *have = find(c->text, CERT, 0, &len);

    while (n > 0 && cert[n - 1] == '\n')
        n--;
    return have != NULL && len == n && memcmp(have, cert, n) == 0;
}

/* What is in use, with what is new in it. 0: nothing is; 1. */
static int renew(struct rpc_creds *c, const char *crl, const char *cert,
                 struct cfs_err *err)
{
    char *text = strdup(c->text), *next;
    int rc, n = 0;

    if (text != NULL && *crl != '\0' &&
        rpc_tls_list_number(crl) > rpc_creds_list(c)) {
        next = with_block(text, LIST, 0, crl);
        forget(text);
        text = next;
        n++;
    }
    if (text != NULL && *cert != '\0' && !has_cert(c, cert)) {
        next = with_block(text, CERT, 0, cert);
        forget(text);
        text = next;
        n++;
    }
    if (text == NULL)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    rc = n > 0 ? load_text(c->path, text, c, err) : 0;
    if (rc < 0 || n == 0) {
        forget(text);
        return rc;
    }
    forget(c->text);
    c->text = text;
    c->unsaved = true;
    return 1;
}

/* A file beside @path with its owner and mode, and @text in it; its name is
 * made out of @temp. */
static int put_beside(const char *path, char *temp, const char *text)
{
    struct stat st;
    int fd, rc = stat(path, &st) < 0 ? -errno : 0;

    if (rc < 0)
        return rc;
    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fchown(fd, st.st_uid, st.st_gid) < 0 ||
        fchmod(fd, st.st_mode & 07777) < 0)
        rc = -errno;
    if (rc == 0)
        rc = cfs_write_all(fd, text, strlen(text));
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc < 0)
        unlink(temp);
    return rc;
}

/* It may be a link to a file elsewhere. One that the owner made read-only is
 * left as it is. */
static int save(struct rpc_creds *c)
{
    char *path = realpath(c->path, NULL), *temp = NULL;
    struct stat st;
    int rc = path == NULL ? -errno : 0;

    if (rc == 0 && stat(path, &st) == 0 && !(st.st_mode & 0222))
        rc = -EACCES;
    if (rc == 0 && asprintf(&temp, "%s.XXXXXX", path) < 0) {
        temp = NULL;
        rc = -ENOMEM;
    }
    if (rc == 0)
        rc = put_beside(path, temp, c->text);
    if (rc == 0 && rename(temp, path) < 0) {
        rc = -errno;
        unlink(temp);
    }
    if (rc == 0)
        rc = cfs_sync_folder(path);
    free(temp);
    free(path);
    return rc;
}

int rpc_creds_update(struct rpc_creds *c, const char *crl, const char *cert,
                     struct cfs_err *err)
{
    char *copy;
    int rc, changed;

    if (c->text == NULL)
        return 0;
    /* Another process may have written it; what is wrong there is its
     * reader's to tell. */
    load_file(c->path, c, &(struct cfs_err){0});
    changed = renew(c, crl, cert, err);
    if (changed < 0)
        return changed;
    if (changed > 0)
        rpc_tls_recheck(c->tls);
    if (!c->unsaved)
        return changed;
    rc = save(c);
    copy = rc == 0 ? strdup(c->text) : NULL;
    if (rc < 0)
        return cfs_err_set(err, rc, "%s: %s", c->path, strerror(-rc));
    forget(c->read);
    c->read = copy;
    c->unsaved = false;
    return changed;
}

void rpc_creds_fini(struct rpc_creds *c)
{
    free(c->path);
    forget(c->text);
    forget(c->read);
    rpc_tls_unref(c->tls);
    *c = (struct rpc_creds){0};
}
