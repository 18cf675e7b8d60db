/* SPDX-License-Identifier: Apache-2.0 */
/* build.c - from a volfile to a graph, and from one volfile to the next in a
 * graph that runs. See volfile.h. */
#include "volfiles/volfile.h"

int cfs_volfile_build(struct cfs_graph *g, const struct cfs_volfile *v,
                      struct cfs_err *err)
{
    for (size_t i = 0; i < v->n; i++) {
        const struct cfs_volfile_xl *xl = &v->xl[i];
        struct cfs_err why = {0};
        int rc;

        rc = cfs_graph_add(g, xl->name, xl->type, xl->opts, xl->n_opts,
                           (const char *const *)xl->child, xl->n_child, &why);
        if (rc < 0 && xl->line > 0)
            return cfs_err_set(err, rc, "line %u: volume %s: %s", xl->line,
                               xl->name, why.text);
        if (rc < 0)
            return cfs_err_set(err, rc, "volume %s: %s", xl->name, why.text);
    }
    return 0;
}

static bool same_xl_shape(const struct cfs_volfile_xl *a,
                          const struct cfs_volfile_xl *b)
{
    if (strcmp(a->name, b->name) != 0 || strcmp(a->type, b->type) != 0 ||
        a->n_child != b->n_child)
        return false;
    for (size_t i = 0; i < a->n_child; i++)
        if (strcmp(a->child[i], b->child[i]) != 0)
            return false;
    return true;
}

bool cfs_volfile_same_shape(const struct cfs_volfile *a,
                            const struct cfs_volfile *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!same_xl_shape(&a->xl[i], &b->xl[i]))
            return false;
    return true;
}

static bool same_options(const struct cfs_volfile_xl *a,
                         const struct cfs_volfile_xl *b)
{
    if (a->n_opts != b->n_opts)
        return false;
    for (size_t i = 0; i < a->n_opts; i++)
        if (strcmp(a->opts[i].key, b->opts[i].key) != 0 ||
            strcmp(a->opts[i].value, b->opts[i].value) != 0)
            return false;
    return true;
}

static int give(struct cfs_graph *g, const struct cfs_volfile_xl *xl,
                struct cfs_err *err)
{
    return cfs_graph_reconfigure(g, xl->name, xl->opts, xl->n_opts, err);
}

int cfs_volfile_reconfigure(struct cfs_graph *g, const struct cfs_volfile *now,
                            const struct cfs_volfile *next,
                            struct cfs_err *err)
{
    bool later = false;
    size_t i;
    int rc = 0;

    if (!cfs_volfile_same_shape(now, next))
        return cfs_err_set(err, -EBUSY, "the graph itself has changed");
    for (i = 0; i < next->n; i++) {
        if (same_options(&now->xl[i], &next->xl[i]))
            continue;
        rc = give(g, &next->xl[i], err);
        if (rc < 0)
            break;
        later |= rc > 0;
    }
    if (rc >= 0)
        return later;
    /* They ran with these before, so they take them again. */
    while (i-- > 0)
        if (!same_options(&now->xl[i], &next->xl[i]))
            give(g, &now->xl[i], NULL);
    return rc;
}
