/* SPDX-License-Identifier: Apache-2.0 */
/* crash_model.h - a file system in memory that remembers every state in which
 * each of its inodes ever was: what may be found after a crash.
 *
 * A change has a number, from 0. An inode's history is its states, each with
 * the number of the change that made it: the state holds after that change,
 * until the next of the history. All changes of a brick are in one journal, so
 * that what a crash leaves is the states after some number of changes, the
 * same for all inodes.
 */
#ifndef CFS_TESTS_CRASH_MODEL_H
#define CFS_TESTS_CRASH_MODEL_H

#include "core/base.h"

#define M_DIRS    4u   /* directories, the root is 0 */
#define M_NAMES   160u /* names that a directory may have */
#define M_XATTRS  4u
#define M_SIZE    (200u << 10) /* the longest file: two chunks */
#define M_XATTR   (48u << 10)

/* An inode as one looks at it. Hashes: of all bytes; the sum over all names,
 * or attributes, so that their order is nothing. */
struct m_seen {
    uint32_t there;
    uint32_t mode;
    uint32_t nlink;
    uint32_t uid;
    uint64_t seq; /* of its version */
    uint64_t size;
    uint64_t data;
    uint64_t names;
    uint64_t xattrs;
    struct cfs_time ctime;
    struct cfs_time mtime;
};

struct m_state {
    unsigned      change; /* that made it */
    struct m_seen seen;
};

struct m_inode {
    struct cfs_gfid gfid;
    struct m_seen   now;
    uint8_t        *data;  /* M_SIZE bytes, zeros behind the size; or NULL */
    uint64_t        xattr[M_XATTRS]; /* the hash of each; 0: none */
    struct m_state *state;
    unsigned        n_states;
    unsigned        last; /* the newest change that touched it, + 1; or 0 */
};

/* A change of the run, in events of the recorder. */
struct m_change {
    size_t   begun;    /* submitted when there were so many */
    size_t   answered; /* SIZE_MAX: never */
    unsigned inodes;   /* that there are after it */
};

/* From @event on the first @changes changes are durable. */
struct m_synced {
    size_t   event;
    unsigned changes;
};

struct m_model {
    struct m_inode  *ino; /* all that there ever were; 0: the root */
    unsigned         n_ino;
    unsigned         dir[M_DIRS];            /* 0: not there, but for [0] */
    unsigned         name[M_DIRS][M_NAMES];  /* 0: free */
    struct m_change *change;
    unsigned         n_changes;
    struct m_synced *synced;
    unsigned         n_synced;
    unsigned         inodes; /* now, and at first */
    unsigned         inodes_at_first;
};

/* With a root that looks as @root, and @inodes in all. */
void m_init(struct m_model *m, const struct m_seen *root, unsigned inodes);
void m_fini(struct m_model *m);

/* A new inode that is nowhere yet. */
unsigned m_new(struct m_model *m, struct cfs_gfid g, uint32_t mode);

/* The text of a name or attribute, the hash of one, of bytes. */
#define M_NAME_STR 16
const char *m_name(unsigned name, char buf[static M_NAME_STR]);
uint64_t m_hash(const void *p, size_t len);
uint64_t m_hash_name(const char *name, size_t len, struct cfs_gfid child);
uint64_t m_hash_xattr(const char *name, size_t len, struct cfs_blob value);

/* @dir's @name refers to @ino (0: to nothing) from now on. */
void m_set_name(struct m_model *m, unsigned dir, unsigned name, unsigned ino);
/* Bytes of a file: @p NULL are zeros. It grows to @size. */
void m_write(struct m_inode *i, uint64_t at, const uint8_t *p, uint64_t len,
             uint64_t size);
void m_truncate(struct m_inode *i, uint64_t size);

/* The inodes that one change touched; @data: its bytes or names too. */
struct m_touch {
    unsigned ino;
    bool     data;
};

/* That was a change, begun and answered then. */
void m_changed(struct m_model *m, const struct m_touch *t, unsigned n,
               struct cfs_time now, size_t begun, size_t answered);
void m_note_sync(struct m_model *m, size_t event, unsigned changes);

/* How many changes an image of a power cut at @event must have, and may. */
void m_bounds(const struct m_model *m, size_t event, unsigned *lo,
              unsigned *hi);
/* And one of a kill: all that were answered. */
void m_bounds_killed(const struct m_model *m, size_t event, unsigned *lo,
                     unsigned *hi);

/* @seen is how inode @ino was at some time after @*lo and at most @*hi
 * changes: those two are narrowed to when. False: it never was; why is
 * printed. */
bool m_was(const struct m_model *m, unsigned ino, const struct m_seen *seen,
           unsigned *lo, unsigned *hi);

#endif
