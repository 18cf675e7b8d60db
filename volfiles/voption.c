/* SPDX-License-Identifier: Apache-2.0 */
/* voption.c - a volume's options and where they go; see voption.h. */
#include "volfiles/voption.h"

#include "core/xl_type.h"

const struct cfs_vopt cfs_vopts[] = {
    {"auth.allow", NULL, "auth.allow", false},
    {"client.attribute-cache", "features/dlm-lock", "attribute-cache", true},
    {"diagnostics.brick-log-level", "debug/io-stats", "log-level", false},
    {"diagnostics.client-log-level", "debug/io-stats", "log-level", true},
    {"diagnostics.latency-measurement", "debug/io-stats",
     "latency-measurement", false},
    {"diagnostics.latency-measurement", "debug/io-stats",
     "latency-measurement", true},
    {"network.compression", "protocol/client", "compression", true},
    {"network.op-timeout", "protocol/client", "op-timeout", true},
    {"network.op-timeout", "storage/block", "op-timeout", false},
    {"network.wait", "cluster/replicate", "network.wait", true},
    {"replica.read-policy", "cluster/replicate", "read-policy", true},
    {"server.max-calls", "protocol/server", "max-calls", false},
    {"storage.cache-size", "storage/block", "cache-size", false},
    {"storage.checkpoint-interval", "storage/block", "checkpoint-interval",
     false},
    {"storage.compression", "storage/block", "compression", false},
    {"storage.discard", "storage/block", "discard", false},
    {"storage.grow", "storage/block", "grow", false},
    {"storage.metadata-copies", "storage/block", "metadata-copies", false},
    {"storage.small-file", "storage/block", "small-file", false},
    {0},
};

/* What mgmtd itself acts on: @at means nothing here. */
static const struct cfs_opt own_opts[] = {
    {.name = "auth.allow", .type = CFS_OPT_STR, .def = "",
     .flags = CFS_OPT_RECONF,
     .help = "addresses whose clients need no certificate"},
    {0},
};

int cfs_vopt_find(const char *key, const struct cfs_vopt **ret,
                  struct cfs_err *err)
{
    const char *words[CFS_ARRAY_SIZE(cfs_vopts)] = {0};
    const char *near;
    size_t n = 0;

    for (const struct cfs_vopt *o = cfs_vopts; o->key; o++) {
        if (strcmp(key, o->key) == 0) {
            *ret = o;
            return 0;
        }
        words[n++] = o->key;
    }
    near = cfs_nearest(key, words);
    return cfs_err_set(err, -EINVAL, "unknown option '%.80s'%s%s%s", key,
                       near ? "; do you mean '" : "", near ? near : "",
                       near ? "'?" : "");
}

/* What the translator says of the option in @row. */
static int find_opt(const struct cfs_vopt *row, const struct cfs_opt **ret,
                    struct cfs_err *err)
{
    const struct cfs_xl_type *type;
    const struct cfs_opt *o = own_opts;
    int rc;

    if (row->type) {
        rc = cfs_xl_type_load(row->type, &type, err);
        if (rc < 0)
            return rc;
        o = type->opts;
    }
    for (; o && o->name; o++) {
        if (strcmp(o->name, row->option) == 0) {
            *ret = o;
            return 0;
        }
    }
    return cfs_err_set(err, -EINVAL, "option '%s': the translator %s that is "
                       "installed does not know it as '%s'", row->key,
                       row->type ? row->type : "", row->option);
}

static bool same_key(const struct cfs_vopt *row, const char *key)
{
    return row->key && strcmp(row->key, key) == 0;
}

int cfs_vopt_describe(const char *key, struct cfs_vopt_info *ret,
                      struct cfs_err *err)
{
    const struct cfs_vopt *row;
    struct cfs_vopt_info info = {.when = CFS_VOPT_AT_ONCE};
    const struct cfs_opt *o;
    int rc = cfs_vopt_find(key, &row, err);

    for (const struct cfs_vopt *r = row; rc == 0 && same_key(r, key); r++) {
        rc = find_opt(r, &o, err);
        if (rc < 0)
            break;
        if (r == row)
            info.opt = *o;
        if (!(o->flags & CFS_OPT_RECONF))
            info.when = r->client ? CFS_VOPT_MOUNT : CFS_VOPT_START;
    }
    if (rc < 0)
        return rc;
    info.key = row->key;
    info.opt.name = row->key;
    *ret = info;
    return 0;
}

int cfs_vopt_check(const char *key, const char *value, const char *who,
                   struct cfs_err *err)
{
    const struct cfs_vopt *row;
    const struct cfs_opt *o;
    int rc = cfs_vopt_find(key, &row, err);

    for (; rc == 0 && same_key(row, key); row++) {
        struct cfs_opt named;

        rc = find_opt(row, &o, err);
        if (rc < 0)
            break;
        named = *o;
        named.name = row->key;
        rc = cfs_opt_check(&named, value, who, err);
    }
    return rc;
}

const char *cfs_vopt_when_str(enum cfs_vopt_when when)
{
    static const char *const words[] = {
        [CFS_VOPT_AT_ONCE] = "at once",
        [CFS_VOPT_MOUNT] = "at the next mount",
        [CFS_VOPT_START] = "at the next start of the bricks",
    };

    return words[when];
}
