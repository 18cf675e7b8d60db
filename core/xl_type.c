/* SPDX-License-Identifier: Apache-2.0 */
/* xl_type.c - where translators' types come from; see xl_type.h. */
#include "core/xl_type.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/graph.h"

#define BUILTIN_MAX 64u

/* Types are the program's code, not its state: so they are global. */
static const struct cfs_xl_type *builtin[BUILTIN_MAX];
static unsigned                  n_builtin;

void cfs_graph_builtin(const struct cfs_xl_type *type)
{
    for (unsigned i = 0; i < n_builtin; i++) {
        if (strcmp(builtin[i]->name, type->name) == 0) {
            builtin[i] = type;
            return;
        }
    }
    assert(n_builtin < BUILTIN_MAX);
    builtin[n_builtin++] = type;
}

const char *cfs_graph_xlator_dir(void)
{
    const char *dir = getenv("CLUSTERFS_XLATOR_DIR");

    return dir && *dir ? dir : CFS_XLATOR_DIR;
}

static bool name_valid(const char *name)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t class = strspn(name, word);
    size_t own;

    if (class == 0 || name[class] != '/')
        return false;
    own = strspn(name + class + 1, word);
    return own > 0 && name[class + 1 + own] == '\0';
}

static bool file_at(char path[static PATH_MAX], const char *name,
                    const char *file)
{
    int n = snprintf(path, PATH_MAX, "%s/%s%s.so", cfs_graph_xlator_dir(),
                     name, file);

    return n > 0 && n < PATH_MAX && access(path, F_OK) == 0;
}

/* As installed, CLASS/NAME.so; as built, CLASS/NAME/NAME.so. */
static int find_file(const char *name, char path[static PATH_MAX],
                     struct cfs_err *err)
{
    if (file_at(path, name, strchr(name, '/')) || file_at(path, name, ""))
        return 0;
    return cfs_err_set(err, -ENOENT, "unknown type '%s': there is no %s",
                       name, path);
}

static int load_file(const char *path, const char *name,
                     const struct cfs_xl_type **ret, struct cfs_err *err)
{
    const struct cfs_xl_type *type;
    void *so;

    /* It stays: timers and log sites may still point into it. */
    so = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!so)
        return cfs_err_set(err, -EINVAL, "cannot load '%s': %s", name,
                           dlerror());
    type = dlsym(so, CFS_XL_SYMBOL);
    dlclose(so);
    if (!type)
        return cfs_err_set(err, -EINVAL, "%s is not a translator", path);
    if (!type->name || strcmp(type->name, name) != 0)
        return cfs_err_set(err, -EINVAL, "%s is the translator '%s'", path,
                           type->name ? type->name : "");
    *ret = type;
    return 0;
}

int cfs_xl_type_load(const char *name, const struct cfs_xl_type **ret,
                     struct cfs_err *err)
{
    char path[PATH_MAX];
    int rc;

    for (unsigned i = 0; i < n_builtin; i++) {
        if (strcmp(builtin[i]->name, name) == 0) {
            *ret = builtin[i];
            return 0;
        }
    }
    if (!name_valid(name))
        return cfs_err_set(err, -EINVAL,
                           "'%s' is not a type: expected CLASS/NAME", name);
    rc = find_file(name, path, err);
    if (rc < 0)
        return rc;
    return load_file(path, name, ret, err);
}
