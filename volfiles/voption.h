/* SPDX-License-Identifier: Apache-2.0 */
/* voption.h - the options of a volume: their names, the translators that they
 * go to, and what these say about them (type, range, default, whether they
 * may change while running). One table; the translators' own tables are read
 * from their shared objects, so nothing is said twice.
 *
 * Errors  -EINVAL: no such option (with the nearest one), or no such value
 *         (with what would be accepted). Others: a translator cannot be
 *         loaded.
 */
#ifndef CFS_VOLFILES_VOPTION_H
#define CFS_VOLFILES_VOPTION_H

#include "core/opt.h"

/* A row: an option that goes to several translators has several. */
struct cfs_vopt {
    const char *key;
    const char *type;   /* of translator; NULL: mgmtd acts on it */
    const char *option; /* its name there */
    bool        client; /* in the client's graph, else in the brick's */
};

/* Ends with a NULL key; rows of one key are neighbours, keys are sorted. */
extern const struct cfs_vopt cfs_vopts[];

/* When a change counts. */
enum cfs_vopt_when { CFS_VOPT_AT_ONCE, CFS_VOPT_MOUNT, CFS_VOPT_START };

struct cfs_vopt_info {
    const char        *key;
    struct cfs_opt     opt; /* under the name @key; the first translator's */
    enum cfs_vopt_when when;
};

/* The row of @key, or -EINVAL. Loads nothing. */
int cfs_vopt_find(const char *key, const struct cfs_vopt **ret,
                  struct cfs_err *err);
int cfs_vopt_describe(const char *key, struct cfs_vopt_info *ret,
                      struct cfs_err *err);
/* Whether every translator that @key goes to takes @value. @who begins the
 * message: "volume v". */
int cfs_vopt_check(const char *key, const char *value, const char *who,
                   struct cfs_err *err);

/* "at once", "at the next mount", ... */
const char *cfs_vopt_when_str(enum cfs_vopt_when when);

#endif
