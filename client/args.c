/* SPDX-License-Identifier: Apache-2.0 */
/* args.c - clusterfs-client's command line, as mount.clusterfs makes it. */
#include "client/client.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Options of mount/fuse that -o may carry; the others are mount(2)'s. */
static const char *const fuse_keys[] = {
    "kernel-lease", "spin",       "read-ahead",   "max-background",
    "max-calls",    "detach-grace", NULL,
};

static int set_text(char **to, const char *value, struct cfs_err *err)
{
    char *copy;

    if (*value == '\0')
        return cfs_err_set(err, -EINVAL, "expected something");
    copy = strdup(value);
    if (copy == NULL)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    free(*to);
    *to = copy;
    return 0;
}

static int set_volume(void *arg, const char *value, struct cfs_err *err)
{
    struct client *c = arg;

    return set_text(&c->volume, value, err);
}

static int set_volfile(void *arg, const char *value, struct cfs_err *err)
{
    struct client *c = arg;

    return set_text(&c->volfile_path, value, err);
}

/* The port may be known only later: kept as text till then. */
static int set_server(void *arg, const char *value, struct cfs_err *err)
{
    struct client *c = arg;

    if (c->n_servers == CLIENT_SERVERS)
        return cfs_err_set(err, -E2BIG, "at most %u", CLIENT_SERVERS);
    return set_text(&c->server_text[c->n_servers++], value, err);
}

static int set_credentials(void *arg, const char *value, struct cfs_err *err)
{
    struct client *c = arg;

    return set_text(&c->credentials, value, err);
}

static int set_timeout(void *arg, const char *value, struct cfs_err *err)
{
    struct client *c = arg;

    if (cfs_parse_ms(value, &c->timeout_ms) < 0 || c->timeout_ms == 0)
        return cfs_err_set(err, -EINVAL, "expected seconds (15), or 500ms");
    return 0;
}

static int add_mount_option(struct client *c, const char *word, size_t len,
                            struct cfs_err *err)
{
    size_t used = strlen(c->mount_options);

    if (used + len + 2 > sizeof c->mount_options)
        return cfs_err_set(err, -E2BIG, "too many options");
    snprintf(c->mount_options + used, sizeof c->mount_options - used,
             "%s%.*s", used > 0 ? "," : "", (int)len, word);
    return 0;
}

static int set_ro(void *arg, const char *value, struct cfs_err *err)
{
    struct client *c = arg;

    return add_mount_option(c, "ro", 2, err);
}

/* One option of -o, of @len bytes. */
static int take_option(struct client *c, const char *word, size_t len,
                       struct cfs_err *err)
{
    const char *eq = memchr(word, '=', len);
    size_t key = eq == NULL ? len : (size_t)(eq - word);

    if (key == 6 && memcmp(word, "fsname", 6) == 0 && eq != NULL) {
        free(c->source);
        c->source = strndup(eq + 1, len - key - 1);
        return 0;
    }
    if (key == 7 && memcmp(word, "subtype", 7) == 0)
        return 0; /* it is clusterfs */
    for (size_t i = 0; fuse_keys[i] != NULL && eq != NULL; i++) {
        if (strlen(fuse_keys[i]) != key || memcmp(fuse_keys[i], word, key) != 0)
            continue;
        if (c->n_opts == CLIENT_OPTS)
            return cfs_err_set(err, -E2BIG, "too many options");
        c->opts[c->n_opts++] =
            (struct cfs_kv){fuse_keys[i], strndup(eq + 1, len - key - 1)};
        return 0;
    }
    return add_mount_option(c, word, len, err);
}

static int set_options(void *arg, const char *value, struct cfs_err *err)
{
    struct client *c = arg;

    while (*value != '\0') {
        bool quoted = false;
        size_t len;
        int rc = 0;

        for (len = 0; value[len] != '\0' && (quoted || value[len] != ',');
             len++) {
            if (value[len] == '"')
                quoted = !quoted;
        }
        if (len > 0)
            rc = take_option(c, value, len, err);
        if (rc < 0)
            return rc;
        value += len + (value[len] == ',');
    }
    return 0;
}

static const struct cfs_arg args[CLIENT_ARGS] = {
    {"volume", 'v', "NAME", "the volume", NULL, set_volume},
    {"volfile", 'f', "FILE", "use this volfile and ask nobody", NULL,
     set_volfile},
    {"volfile-server", 's', "SERVER",
     "HOST, HOST:PORT or unix:PATH of a clusterfs-mgmtd; may be given again",
     NULL, set_server},
    {"credentials", 'c', "FILE",
     "what 'clusterfs client add' made (CONFIG_DIR/client.pem, if it is "
     "there)",
     NULL, set_credentials},
    {"mount-timeout", 't', "SECONDS",
     "how long to wait for the volume to serve (15)", NULL, set_timeout},
    {"ro", 'r', NULL, "mount it read-only", NULL, set_ro},
    {"options", 'o', "OPTION,...",
     "as in fstab; also kernel-lease=, read-ahead=, spin=, detach-grace=",
     NULL, set_options},
    {0},
};

void client_args_init(struct client *c, struct cfs_arg ret[static CLIENT_ARGS])
{
    for (unsigned i = 0; i < CLIENT_ARGS; i++) {
        ret[i] = args[i];
        ret[i].arg = c;
    }
    c->timeout_ms = 15000;
}

void client_args_free(struct client *c)
{
    free(c->volume);
    free(c->volfile_path);
    free(c->mountpoint);
    free(c->credentials);
    rpc_creds_fini(&c->creds);
    free(c->source);
    for (unsigned i = 0; i < CLIENT_SERVERS; i++)
        free(c->server_text[i]);
    for (unsigned i = 0; i < c->n_opts; i++)
        free((char *)c->opts[i].value);
}

int client_args_finish(struct client *c, struct cfs_err *err)
{
    int rc;

    if (c->volume == NULL && c->volfile_path == NULL)
        return cfs_err_set(err, -EINVAL,
                           "which volume? --volume NAME, or --volfile FILE");
    if (c->host.n_rest != 1)
        return cfs_err_set(err, -EINVAL, "expected one mount point");
    rc = client_spot(c->host.rest[0], &c->mountpoint, err);
    if (rc < 0)
        return rc;
    if (c->source == NULL)
        c->source = strdup(c->volume != NULL ? c->volume : "clusterfs");
    return c->source == NULL ? cfs_err_set(err, -ENOMEM, "out of memory") : 0;
}

/* HOST gets the port of mgmtd, an IPv6 address its brackets; what has one, or
 * is a path, stays. */
static int parse_server(struct client *c, const char *text,
                        struct rpc_addr *ret, struct cfs_err *err)
{
    struct cfs_err first = {0};
    struct in6_addr number;
    const bool bare6 = inet_pton(AF_INET6, text, &number) == 1;
    char full[sizeof ret->text];
    int rc, n;

    rc = rpc_addr_parse(text, ret, &first);
    if (rc == 0 || strncmp(text, "unix:", 5) == 0)
        return rc == 0 ? 0 : cfs_err_set(err, rc, "%s", first.text);
    n = snprintf(full, sizeof full, "%s%s%s:%u", bare6 ? "[" : "", text,
                 bare6 ? "]" : "", c->host.port);
    if (n < 0 || (size_t)n >= sizeof full ||
        rpc_addr_parse(full, ret, NULL) < 0)
        return cfs_err_set(err, rc, "%s", first.text);
    return 0;
}

/* This node's mgmtd on its Unix socket. -ENOENT: there is no socket. */
static int own_mgmtd(struct client *c, struct rpc_addr *ret)
{
    char text[sizeof ret->text];
    struct stat st;
    int n = snprintf(text, sizeof text, "unix:%s/mgmtd.sock",
                     c->host.dirs.run);

    if (n < 0 || (size_t)n >= sizeof text || stat(text + 5, &st) < 0)
        return -ENOENT;
    return rpc_addr_parse(text, ret, NULL);
}

/* Whether @addr is the port of the mgmtd that would be on this machine, by a
 * name or address that every machine has. */
static bool is_own(const struct client *c, const struct rpc_addr *addr)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "[::1]"};
    char text[sizeof addr->text];

    for (size_t i = 0; i < CFS_ARRAY_SIZE(hosts); i++) {
        snprintf(text, sizeof text, "%s:%u", hosts[i], c->host.port);
        if (strcmp(addr->text, text) == 0)
            return true;
    }
    return false;
}

static bool has_server(const struct client *c, const struct rpc_addr *addr)
{
    for (unsigned i = 0; i < c->n_servers; i++)
        if (strcmp(c->server[i].text, addr->text) == 0)
            return true;
    return false;
}

void client_more_servers(struct client *c)
{
    for (unsigned i = 0; i < c->creds.n_servers; i++)
        if (c->n_servers < CLIENT_SERVERS &&
            !has_server(c, &c->creds.server[i]))
            c->server[c->n_servers++] = c->creds.server[i];
}

int client_servers(struct client *c, struct cfs_err *err)
{
    char text[sizeof c->server[0].text];

    for (unsigned i = 0; i < c->n_servers; i++) {
        int rc = parse_server(c, c->server_text[i], &c->server[i], err);

        if (rc < 0)
            return rc;
        if (is_own(c, &c->server[i]))
            own_mgmtd(c, &c->server[i]);
    }
    if (c->n_servers > 0)
        return 0;
    c->n_servers = 1;
    if (own_mgmtd(c, &c->server[0]) == 0)
        return 0;
    snprintf(text, sizeof text, "127.0.0.1:%u", c->host.port);
    return rpc_addr_parse(text, &c->server[0], err);
}

/* client-MOUNT-POINT.log: each mount has a log of its own. */
char *client_log_name(struct cfs_host *h)
{
    const char *spot = h->n_rest > 0 ? h->rest[0] : "";
    char *name;

    while (*spot == '/')
        spot++;
    if (asprintf(&name, "client-%s.log", *spot == '\0' ? "root" : spot) < 0)
        return NULL;
    for (char *p = name; *p != '\0'; p++) {
        if (*p == '/')
            *p = '-';
    }
    return name;
}
