/* SPDX-License-Identifier: Apache-2.0 */
/* volgen.c - make the volfiles of a volume. See volgen.h. */
#include "volfiles/volgen.h"

#include <stdarg.h>
#include <stdio.h>

#include "volfiles/voption.h"

/* A volfile that is being made; the first error stays, later steps do
 * nothing. */
struct gen {
    const struct cfs_vg_volume *vol;
    struct cfs_volfile         *v;
    struct cfs_err             *err;
    bool                        client;
    int                         rc;
};

static void add(struct gen *g, const char *name, const char *type)
{
    if (g->rc == 0)
        g->rc = cfs_volfile_add(g->v, name, type, g->err);
}

static void option(struct gen *g, const char *key, const char *fmt, ...)
    CFS_PRINTF(3, 4);
static void option(struct gen *g, const char *key, const char *fmt, ...)
{
    char value[CFS_VOLFILE_WORD + 1];
    va_list ap;
    int n;

    if (g->rc < 0)
        return;
    va_start(ap, fmt);
    n = vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof value)
        g->rc = cfs_err_set(g->err, -E2BIG, "option %s is too long", key);
    else
        g->rc = cfs_volfile_option(g->v, key, value, g->err);
}

static void option_uuid(struct gen *g, const char *key, struct cfs_uuid id)
{
    char text[CFS_UUID_STR];

    cfs_uuid_print(id, text);
    option(g, key, "%s", text);
}

static void child(struct gen *g, const char *name)
{
    if (g->rc == 0)
        g->rc = cfs_volfile_child(g->v, name, g->err);
}

/* The volume's options for the translator just added. */
static void routed(struct gen *g, const char *type)
{
    const struct cfs_vg_volume *vol = g->vol;

    for (size_t i = 0; i < vol->n_opts; i++)
        for (const struct cfs_vopt *o = cfs_vopts; o->key; o++)
            if (o->type && o->client == g->client &&
                strcmp(o->type, type) == 0 &&
                strcmp(o->key, vol->opts[i].key) == 0)
                option(g, o->option, "%s", vol->opts[i].value);
}

/* One more translator on top of @below (NULL: none). */
static void layer(struct gen *g, const char *suffix, const char *type,
                  char below[static CFS_NAME_MAX + 1])
{
    char name[CFS_NAME_MAX + 1];
    int n = snprintf(name, sizeof name, "%s-%s", g->vol->name, suffix);

    if (g->rc == 0 && (n < 0 || (size_t)n >= sizeof name))
        g->rc = cfs_err_set(g->err, -E2BIG, "the volume's name is too long");
    add(g, name, type);
    routed(g, type);
    if (*below)
        child(g, below);
    memcpy(below, name, sizeof name);
}

static int finish(struct gen *g, struct cfs_volfile **ret)
{
    if (g->rc < 0) {
        cfs_volfile_free(g->v);
        return g->rc;
    }
    *ret = g->v;
    return 0;
}

static int begin(struct gen *g, const struct cfs_vg_volume *vol, bool client,
                 struct cfs_err *err)
{
    *g = (struct gen){.vol = vol, .client = client, .err = err};
    if (vol->n_bricks == 0 || vol->n_bricks > CFS_SET_MAX)
        return cfs_err_set(err, -EINVAL, "%zu bricks in a set: 1 to %u are "
                           "possible", vol->n_bricks, CFS_SET_MAX);
    g->v = cfs_volfile_new();
    if (!g->v)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    return 0;
}

/* How a client reaches brick @b. */
static void client_leg(struct gen *g, const struct cfs_vg_brick *b,
                       char name[static CFS_NAME_MAX + 1], size_t i)
{
    char suffix[32];

    snprintf(suffix, sizeof suffix, "client-%zu", i);
    name[0] = '\0';
    layer(g, suffix, "protocol/client", name);
    option_uuid(g, "brick-id", b->id);
    option(g, "remote-host", "%s", b->host);
    if (b->port)
        option(g, "remote-port", "%u", b->port);
    if (b->socket)
        option(g, "remote-path", "%s", b->socket);
    if (g->vol->mgmt_port)
        option(g, "management-port", "%u", g->vol->mgmt_port);
    if (!g->vol->client_secret)
        return;
    option_uuid(g, "volume-id", g->vol->id);
    option(g, "client-name", "%s", g->vol->client);
    option(g, "client-generation", "%llu",
           (unsigned long long)g->vol->client_generation);
    option(g, "client-secret", "%s", g->vol->client_secret);
    option(g, "secret-number", "%llu",
           (unsigned long long)g->vol->secret_number);
}

int cfs_vg_client(const struct cfs_vg_volume *vol, struct cfs_volfile **ret,
                  struct cfs_err *err)
{
    char legs[CFS_SET_MAX][CFS_NAME_MAX + 1];
    char members[CFS_SET_MAX * CFS_UUID_STR + 1] = "";
    char below[CFS_NAME_MAX + 1] = "";
    struct gen g;
    int rc = begin(&g, vol, true, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < vol->n_bricks; i++) {
        char *at = members + strlen(members);

        client_leg(&g, &vol->brick[i], legs[i], i);
        if (i > 0)
            *at++ = ' ';
        cfs_uuid_print(vol->brick[i].id, at);
    }
    layer(&g, "replicate", "cluster/replicate", below);
    option_uuid(&g, "set", vol->set);
    option(&g, "members", "%s", members);
    for (size_t i = 0; i < vol->n_bricks; i++)
        child(&g, legs[i]);
    layer(&g, "write-behind", "performance/write-behind", below);
    layer(&g, "dlm-lock", "features/dlm-lock", below);
    layer(&g, "io-stats", "debug/io-stats", below);
    return finish(&g, ret);
}

int cfs_vg_brick(const struct cfs_vg_volume *vol, size_t i,
                 struct cfs_volfile **ret, struct cfs_err *err)
{
    const struct cfs_vg_brick *b;
    char below[CFS_NAME_MAX + 1] = "";
    struct gen g;
    int rc = begin(&g, vol, false, err);

    if (rc < 0)
        return rc;
    assert(i < vol->n_bricks);
    b = &vol->brick[i];
    layer(&g, "block", "storage/block", below);
    option(&g, "device", "%s", b->device);
    option_uuid(&g, "brick-id", b->id);
    if (!cfs_uuid_is_null(vol->cluster))
        option_uuid(&g, "cluster-id", vol->cluster);
    layer(&g, "lock-server", "features/lock-server", below);
    layer(&g, "io-stats", "debug/io-stats", below);
    layer(&g, "server", "protocol/server", below);
    option_uuid(&g, "brick-id", b->id);
    if (b->socket)
        option(&g, "listen-path", "%s", b->socket);
    if (b->address)
        option(&g, "listen-address", "%s", b->address);
    if (vol->node)
        option(&g, "node", "%s", vol->node);
    if (vol->secret) {
        option_uuid(&g, "volume-id", vol->id);
        option(&g, "volume-secret", "%s", vol->secret);
        option(&g, "secret-number", "%llu",
               (unsigned long long)vol->secret_number);
        if (vol->secret_before)
            option(&g, "volume-secret-before", "%s", vol->secret_before);
        option(&g, "removed-clients", "%s", vol->removed ? vol->removed : "");
    }
    return finish(&g, ret);
}
