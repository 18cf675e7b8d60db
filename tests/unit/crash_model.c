/* SPDX-License-Identifier: Apache-2.0 */
/* crash_model.c - see crash_model.h. */
#include "tests/unit/crash_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <xxhash.h>

static void *grow(void *p, unsigned n, size_t each)
{
    if (n & (n - 1)) /* full only at powers of two, and at first */
        return p;
    p = realloc(p, (n ? 2u * n : 1u) * each);
    assert(p);
    return p;
}

static void push_state(struct m_model *m, struct m_inode *i)
{
    i->state = grow(i->state, i->n_states, sizeof *i->state);
    i->state[i->n_states++] = (struct m_state){m->n_changes, i->now};
}

void m_init(struct m_model *m, const struct m_seen *root, unsigned inodes)
{
    *m = (struct m_model){.inodes = inodes, .inodes_at_first = inodes};
    m_new(m, cfs_gfid_root, S_IFDIR);
    m->ino[0].now = *root;
    push_state(m, &m->ino[0]);
}

void m_fini(struct m_model *m)
{
    for (unsigned i = 0; i < m->n_ino; i++) {
        free(m->ino[i].data);
        free(m->ino[i].state);
    }
    free(m->ino);
    free(m->change);
    free(m->synced);
    *m = (struct m_model){0};
}

unsigned m_new(struct m_model *m, struct cfs_gfid g, uint32_t mode)
{
    struct m_inode *i;

    m->ino = grow(m->ino, m->n_ino, sizeof *m->ino);
    i = &m->ino[m->n_ino];
    *i = (struct m_inode){.gfid = g};
    i->now.mode = mode;
    i->now.uid = 1000;
    if (S_ISREG(mode))
        i->data = calloc(1, M_SIZE);
    i->now.data = m_hash(NULL, 0);
    return m->n_ino++;
}

const char *m_name(unsigned name, char buf[static M_NAME_STR])
{
    snprintf(buf, M_NAME_STR, "n%u", name);
    return buf;
}

uint64_t m_hash(const void *p, size_t len)
{
    return XXH3_64bits(len ? p : "", len);
}

uint64_t m_hash_name(const char *name, size_t len, struct cfs_gfid child)
{
    return XXH3_64bits_withSeed(name, len, m_hash(&child, sizeof child));
}

uint64_t m_hash_xattr(const char *name, size_t len, struct cfs_blob value)
{
    return XXH3_64bits_withSeed(name, len, m_hash(value.p, value.len)) | 1;
}

void m_set_name(struct m_model *m, unsigned dir, unsigned name, unsigned ino)
{
    struct m_seen *d = &m->ino[m->dir[dir]].now;
    unsigned old = m->name[dir][name];
    char buf[M_NAME_STR];
    size_t len = strlen(m_name(name, buf));

    if (old)
        d->names -= m_hash_name(buf, len, m->ino[old].gfid);
    if (ino)
        d->names += m_hash_name(buf, len, m->ino[ino].gfid);
    m->name[dir][name] = ino;
}

void m_write(struct m_inode *i, uint64_t at, const uint8_t *p, uint64_t len,
             uint64_t size)
{
    assert(at <= M_SIZE && len <= M_SIZE - at && size <= M_SIZE);
    if (p)
        memcpy(i->data + at, p, len);
    else
        memset(i->data + at, 0, len);
    if (size > i->now.size)
        i->now.size = size;
    i->now.data = m_hash(i->data, i->now.size);
}

void m_truncate(struct m_inode *i, uint64_t size)
{
    assert(size <= M_SIZE);
    memset(i->data + size, 0, M_SIZE - size);
    i->now.size = size;
    i->now.data = m_hash(i->data, size);
}

/* -- changes -------------------------------------------------------------- */

void m_changed(struct m_model *m, const struct m_touch *t, unsigned n,
               struct cfs_time now, size_t begun, size_t answered)
{
    struct m_change *c;

    for (unsigned k = 0; k < n; k++) {
        struct m_inode *i = &m->ino[t[k].ino];

        m->inodes += i->now.there && i->now.seq == 0;
        if (i->now.there) {
            i->now.seq++;
            i->now.ctime = now;
            if (t[k].data)
                i->now.mtime = now;
        } else {
            i->now = (struct m_seen){0};
            m->inodes--;
            free(i->data);
            i->data = NULL;
        }
        push_state(m, i);
        i->last = m->n_changes + 1;
    }
    m->change = grow(m->change, m->n_changes, sizeof *m->change);
    c = &m->change[m->n_changes++];
    *c = (struct m_change){begun, answered, m->inodes};
}

void m_note_sync(struct m_model *m, size_t event, unsigned changes)
{
    m->synced = grow(m->synced, m->n_synced, sizeof *m->synced);
    m->synced[m->n_synced++] = (struct m_synced){event, changes};
}

void m_bounds(const struct m_model *m, size_t event, unsigned *lo,
              unsigned *hi)
{
    *lo = *hi = 0;
    for (unsigned i = 0; i < m->n_synced && m->synced[i].event <= event; i++)
        if (m->synced[i].changes > *lo)
            *lo = m->synced[i].changes;
    while (*hi < m->n_changes && m->change[*hi].begun < event)
        ++*hi;
}

void m_bounds_killed(const struct m_model *m, size_t event, unsigned *lo,
                     unsigned *hi)
{
    m_bounds(m, event, lo, hi);
    for (*lo = 0; *lo < m->n_changes && m->change[*lo].answered <= event;)
        ++*lo;
}

/* -- looking back --------------------------------------------------------- */

static void print_seen(const char *what, const struct m_seen *s)
{
    fprintf(stderr, "  %s: there %u mode %o nlink %u uid %u seq %llu size "
            "%llu data %llx names %llx xattrs %llx ctime %lld.%09u mtime "
            "%lld.%09u\n", what, s->there, s->mode, s->nlink, s->uid,
            (unsigned long long)s->seq, (unsigned long long)s->size,
            (unsigned long long)s->data, (unsigned long long)s->names,
            (unsigned long long)s->xattrs, (long long)s->ctime.sec,
            s->ctime.nsec, (long long)s->mtime.sec, s->mtime.nsec);
}

static bool same(const struct m_seen *a, const struct m_seen *b)
{
    return a->there == b->there && a->mode == b->mode &&
           a->nlink == b->nlink && a->uid == b->uid && a->seq == b->seq &&
           a->size == b->size && a->data == b->data && a->names == b->names &&
           a->xattrs == b->xattrs && cfs_time_cmp(a->ctime, b->ctime) == 0 &&
           cfs_time_cmp(a->mtime, b->mtime) == 0;
}

/* Complain: of all its states, print those near the one that was seen. */
static bool never_was(const struct m_inode *i, const struct m_seen *seen,
                      unsigned lo, unsigned hi)
{
    char gfid[CFS_UUID_STR];

    cfs_gfid_print(i->gfid, gfid);
    fprintf(stderr, "%s never was so after %u to %u changes:\n", gfid, lo,
            hi);
    print_seen("it is", seen);
    for (unsigned k = 0; k < i->n_states; k++) {
        unsigned until = k + 1 < i->n_states ? i->state[k + 1].change
                                             : UINT32_MAX;

        if ((until >= lo && i->state[k].change < hi) || k + 1 == i->n_states) {
            fprintf(stderr, "  made by change %u:\n", i->state[k].change);
            print_seen("it was", &i->state[k].seen);
        }
    }
    return false;
}

/* A state made by change c holds when c + 1 changes are there or more; that
 * of the root at the begin with none. Before its first an inode is not. */
bool m_was(const struct m_model *m, unsigned ino, const struct m_seen *seen,
           unsigned *lo, unsigned *hi)
{
    static const struct m_seen absent;
    const struct m_inode *i = &m->ino[ino];
    unsigned k = i->n_states;

    for (;;) {
        unsigned from = k == 0 ? 0 : i->state[k - 1].change + 1;
        unsigned until = k == i->n_states ? UINT32_MAX : i->state[k].change;

        if (k == 1 && ino == 0)
            from = 0;
        if (from <= *hi && until >= *lo &&
            same(seen, k == 0 ? &absent : &i->state[k - 1].seen)) {
            if (from > *lo)
                *lo = from;
            if (until < *hi)
                *hi = until;
            return true;
        }
        if (k-- == 0 || from <= *lo)
            return never_was(i, seen, *lo, *hi);
    }
}
