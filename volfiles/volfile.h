/* SPDX-License-Identifier: Apache-2.0 */
/* volfile.h - the text that says of which translators a graph is made.
 *
 *     volume NAME              one per translator; children come first,
 *         type CATEGORY/NAME   the last one is the top
 *         option KEY VALUE     any number
 *         subvolumes A B ...   children, in order
 *     end-volume
 *
 * One statement a line. '#' outside quotes starts a comment. A word with
 * blanks, quotes or '#' in it stands in "double quotes", in which \" \\ \n \t
 * are escapes; any other byte but NUL stands for itself.
 *
 * Shapes     at most CFS_VOLFILE_MAX bytes of text and the counts below, so
 *            that what a peer sends cannot make us allocate without bound.
 * Errors     -EINVAL with "line N: reason"; -E2BIG for a bound.
 * Ownership  a volfile owns all its strings.
 *
 * (1) parse(print(v)) equals v, for every v that parse() returned or that was
 *     made with cfs_volfile_add() and its like.
 * (2) Every child of a translator was declared before it, once.
 */
#ifndef CFS_VOLFILES_VOLFILE_H
#define CFS_VOLFILES_VOLFILE_H

#include "core/graph.h"

#define CFS_VOLFILE_MAX      (1024u * 1024u) /* bytes of text */
#define CFS_VOLFILE_XLS      1024u
#define CFS_VOLFILE_OPTIONS  256u /* of one translator */
#define CFS_VOLFILE_CHILDREN 256u /* of one translator */
#define CFS_VOLFILE_WORD     65536u

struct cfs_volfile_xl {
    char         *name;
    char         *type;
    struct cfs_kv *opts; /* keys and values are malloc'ed */
    size_t        n_opts;
    char        **child; /* names */
    size_t        n_child;
    unsigned      line; /* of its "volume"; 0: not from a text */
};

struct cfs_volfile {
    struct cfs_volfile_xl *xl; /* the last one is the top */
    size_t                 n;
};

int  cfs_volfile_parse(const char *text, size_t len, struct cfs_volfile **ret,
                       struct cfs_err *err);
/* As text, malloc'ed, NUL-terminated; @ret_len may be NULL. -ENOMEM. */
int  cfs_volfile_print(const struct cfs_volfile *v, char **ret_text,
                       size_t *ret_len);
void cfs_volfile_free(struct cfs_volfile *v); /* NULL is fine */

/* Make one by hand, in the order of the text. They check the same bounds and
 * rules as the parser. option: a key that is there already is -EEXIST. */
struct cfs_volfile *cfs_volfile_new(void);
int cfs_volfile_add(struct cfs_volfile *v, const char *name, const char *type,
                    struct cfs_err *err);
int cfs_volfile_option(struct cfs_volfile *v, const char *key,
                       const char *value, struct cfs_err *err);
int cfs_volfile_child(struct cfs_volfile *v, const char *name,
                      struct cfs_err *err);

/* NULL: no such translator. */
const struct cfs_volfile_xl *cfs_volfile_find(const struct cfs_volfile *v,
                                              const char *name);

/* Add all of @v to @g, which must be empty. Not initialised yet. */
int cfs_volfile_build(struct cfs_graph *g, const struct cfs_volfile *v,
                      struct cfs_err *err);

/* The same translators, of the same types, put together in the same way. */
bool cfs_volfile_same_shape(const struct cfs_volfile *a,
                            const struct cfs_volfile *b);

/* Give the running graph @g, made from @now, the options of @next, which has
 * the same shape. When one translator refuses, those before it are given
 * their options of @now again. 1: done, but for options that cannot change
 * while running (err names one). Errors: -EBUSY (another shape: a new graph is
 * needed), -EINVAL. */
int cfs_volfile_reconfigure(struct cfs_graph *g, const struct cfs_volfile *now,
                            const struct cfs_volfile *next,
                            struct cfs_err *err);

#endif
