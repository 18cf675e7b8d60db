/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_names.c - inodes, the entries of directories in both their orders, and
 * whether directories are a tree.
 *
 * Entries and cookies of a directory are compared by a sum: of each entry a
 * hash of what it says is added, of each cookie the hash of what that says is
 * subtracted. Only where zero is not what is left (in .size of the directory,
 * which has no other) are they compared one by one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "server/fsck_int.h"

static const char *gfid_text(struct cfs_gfid g, char buf[static CFS_UUID_STR])
{
    cfs_gfid_print(g, buf);
    return buf;
}

/* -- inodes --------------------------------------------------------------- */

static struct fsck_ino *add_ino(struct fsck *f, struct cfs_gfid g)
{
    struct fsck_ino *i;

    FSCK_GROW(f->ino, f->n_ino, f->cap_ino);
    i = &f->ino[f->n_ino++];
    *i = (struct fsck_ino){
        .gfid = g,
        .named_in = FSCK_NONE,
        .parent = FSCK_NONE,
    };
    return i;
}

/* The session that made @g. */
static void note_session(struct fsck *f, struct cfs_gfid g)
{
    uint32_t no = (uint32_t)g.b[8] << 24 | (uint32_t)g.b[9] << 16 |
                  (uint32_t)g.b[10] << 8 | g.b[11];

    if (f->session_seen < no)
        f->session_seen = no;
}

static void inode_each(struct fsck *f, const struct rec_id *id,
                       struct cfs_blob value)
{
    struct fsck_ino *i = add_ino(f, id->gfid);
    struct rec_inode rec;

    f->r->inodes++;
    note_session(f, id->gfid);
    if (!fsck_whole(f, rec_inode_unpack(value, &rec), id->gfid, "inode")) {
        i->flags = INO_BROKEN;
        return;
    }
    i->type = (uint8_t)(rec.mode >> 12);
    i->seq = rec.version.seq;
    i->nlink = rec.nlink;
    i->dirty = rec.dirty;
    i->n_xattr = (int16_t)rec.n_xattr;
    if (rec.flags & REC_INLINE)
        i->flags |= INO_INLINE;
    if (rec.flags & REC_LOST) {
        i->flags |= INO_LOST;
        f->r->lost_files++;
        fsck_known(f, "lost", id->gfid, "could not be saved as a whole in a "
                   "repair");
    }
    f->r->orphans += rec.nlink == 0;
    if (cfs_gfid_eq(id->gfid, cfs_gfid_root) && !S_ISDIR(rec.mode)) {
        fsck_find(f, "root", id->gfid, "the root directory is a %s",
                  tool_type(rec.mode));
        fsck_fix_this(f);
    }
    if (S_ISDIR(rec.mode)) {
        i->count = (int64_t)rec.entries;
        f->r->directories++;
        return;
    }
    i->size = rec.size;
    i->count = (int64_t)rec.blocks;
    i->part = (int32_t)rec.marks;
    f->r->files += S_ISREG(rec.mode);
    if (S_ISLNK(rec.mode) && (rec.size == 0 || rec.size > CFS_SYMLINK_MAX))
        fsck_find(f, "size", id->gfid,
                  "a symbolic link cannot have %" PRIu64 " bytes", rec.size);
}

/* The parents, by their numbers: now that all have one. */
static void parent_each(struct fsck *f, const struct rec_id *id,
                        struct cfs_blob value)
{
    struct rec_inode rec;
    uint32_t at;

    if (rec_inode_unpack(value, &rec) < 0 || !S_ISDIR(rec.mode))
        return;
    at = fsck_ino(f, id->gfid);
    if (at != FSCK_NONE)
        f->ino[at].parent = fsck_ino(f, rec.parent);
}

void fsck_inodes(struct fsck *f)
{
    const struct fsck_pass inodes = {
        .table = REC_INODE,
        .what = "inodes",
        .of = f->config->counts ? f->config->counts->inodes : 0,
        .each = inode_each,
    };
    const struct fsck_pass parents = {
        .table = REC_INODE,
        .what = "inodes, once more",
        .of = inodes.of,
        .each = parent_each,
    };

    fsck_pass(f, &inodes);
    if (fsck_ino(f, cfs_gfid_root) == FSCK_NONE) {
        fsck_find(f, "root", cfs_gfid_root, "the root directory is missing");
        fsck_fix_trace(f, cfs_gfid_root, TRACE_ENTRIES, 0);
    }
    fsck_pass(f, &parents);
}

/* -- entries -------------------------------------------------------------- */

/* A hash of what an entry says. */
static uint64_t entry_hash(uint64_t cookie, struct cfs_gfid child,
                           uint32_t type, struct cfs_name name)
{
    uint8_t b[sizeof cookie + sizeof child + sizeof type + CFS_NAME_MAX];
    size_t len = 0;

    memcpy(b, &cookie, sizeof cookie);
    len += sizeof cookie;
    memcpy(b + len, &child, sizeof child);
    len += sizeof child;
    memcpy(b + len, &type, sizeof type);
    len += sizeof type;
    memcpy(b + len, name.s, name.len);
    return XXH3_64bits(b, len + name.len);
}

/* What @dir says about itself does not allow an entry @name in it. */
static bool dir_is_wrong(struct fsck *f, uint32_t dir, const struct rec_id *id,
                         const char *name)
{
    if (dir == FSCK_NONE) {
        fsck_find(f, "names", id->gfid,
                  "entry \"%s\" is in a directory that does not exist", name);
        fsck_fix_trace(f, id->gfid, TRACE_ENTRIES, 0);
    } else if (f->ino[dir].flags & INO_BROKEN) {
        return true;
    } else if (!S_ISDIR(fsck_mode(&f->ino[dir]))) {
        fsck_find(f, "names", id->gfid,
                  "entry \"%s\" is in a %s, which is no directory", name,
                  tool_type(fsck_mode(&f->ino[dir])));
        fsck_fix_this(f);
    } else {
        return false;
    }
    return true;
}

/* One more name for @child, in directory number @dir. */
static void count_name(struct fsck *f, uint32_t dir, struct fsck_ino *child)
{
    child->found++;
    if (child->named_in == FSCK_NONE)
        child->named_in = dir;
    if (dir != FSCK_NONE && S_ISDIR(fsck_mode(child)) &&
        S_ISDIR(fsck_mode(&f->ino[dir])))
        f->ino[dir].part++;
}

static void fix_type(struct fsck *f, const struct rec_id *id,
                     const struct rec_dirent *d, uint32_t type)
{
    struct rec_dirent right = *d;
    uint8_t v[REC_DIRENT_MAX];
    struct rec_key k;

    right.type = type;
    rec_key_name(&k, REC_DIRENT, id->gfid, id->name);
    fsck_fix_put(f, &k, v, rec_dirent_pack(&right, v));
}

static void check_child(struct fsck *f, uint32_t dir, const struct rec_id *id,
                        const struct rec_dirent *d, const char *name)
{
    uint32_t at = fsck_ino(f, d->child);
    char text[CFS_UUID_STR];
    struct fsck_ino *child;

    if (at == FSCK_NONE) {
        fsck_find(f, "dangling", id->gfid,
                  "entry \"%s\" names inode %s, which does not exist", name,
                  gfid_text(d->child, text));
        fsck_fix_trace(f, d->child, TRACE_NAME, d->type);
        return;
    }
    child = &f->ino[at];
    count_name(f, dir, child);
    if (child->flags & INO_BROKEN)
        return;
    if (d->type != fsck_mode(child)) {
        fsck_find(f, "type", id->gfid,
                  "entry \"%s\" says that it is a %s; it is a %s", name,
                  tool_type(d->type), tool_type(fsck_mode(child)));
        fix_type(f, id, d, fsck_mode(child));
    }
    if (cfs_gfid_eq(d->child, cfs_gfid_root)) {
        fsck_find(f, "root", id->gfid,
                  "entry \"%s\" is the root directory, which has no name",
                  name);
        fsck_fix_this(f);
    }
}

/* The directory has changed as often as its entry says; but not if that is
 * more than anybody can have counted. */
#define SEQ_SANE ((uint64_t)1 << 62)

static void fix_seq(struct fsck *f, const struct rec_id *id, uint64_t cookie)
{
    if (cookie < SEQ_SANE)
        fsck_fix_set(f, id->gfid, MIN_SEQ, (int64_t)cookie);
    else
        fsck_fix_cookie(f, id->gfid, id->name);
}

static void dirent_each(struct fsck *f, const struct rec_id *id,
                        struct cfs_blob value)
{
    uint32_t at = fsck_ino(f, id->gfid);
    char *name = tool_escape(id->name.s, id->name.len);
    struct rec_dirent d;
    struct fsck_ino *dir;

    f->r->names++;
    if (rec_dirent_unpack(value, &d) < 0) {
        fsck_find(f, "record", id->gfid,
                  "the record of entry \"%s\" is damaged", name);
        fsck_fix_this(f);
        goto out;
    }
    if (!dir_is_wrong(f, at, id, name)) {
        dir = &f->ino[at];
        dir->count--;
        dir->size += entry_hash(d.cookie, d.child, d.type, id->name);
        if (d.cookie == 0 || d.cookie > dir->seq) {
            fsck_find(f, "cookie", id->gfid,
                      "entry \"%s\" has cookie %" PRIu64 ", but the "
                      "directory has changed only %" PRIu64 " times", name,
                      d.cookie, dir->seq);
            fix_seq(f, id, d.cookie);
        }
    }
    check_child(f, at, id, &d, name);
out:
    free(name);
}

static void cookie_each(struct fsck *f, const struct rec_id *id,
                        struct cfs_blob value)
{
    uint32_t at = fsck_ino(f, id->gfid);
    struct rec_cookie c;

    if (rec_cookie_unpack(value, &c) < 0) {
        fsck_find(f, "record", id->gfid,
                  "the record of cookie %" PRIu64 " is damaged", id->n);
        fsck_fix_this(f);
        return;
    }
    if (at == FSCK_NONE) {
        fsck_find(f, "cookie", id->gfid,
                  "cookie %" PRIu64 " is in a directory that does not exist",
                  id->n);
        fsck_fix_trace(f, id->gfid, TRACE_ENTRIES, 0);
    } else if (f->ino[at].flags & INO_BROKEN) {
        return;
    } else if (!S_ISDIR(fsck_mode(&f->ino[at]))) {
        fsck_find(f, "cookie", id->gfid,
                  "cookie %" PRIu64 " is in a %s, which is no directory",
                  id->n, tool_type(fsck_mode(&f->ino[at])));
        fsck_fix_this(f);
    } else {
        f->ino[at].size -= entry_hash(id->n, c.child, c.type, c.name);
    }
}

/* -- entries against cookies, one by one ---------------------------------- */

struct compare {
    struct fsck    *f;
    struct cfs_gfid dir;
};

/* Whether @cookie, number @no, is that of another entry than @id, which is
 * there and says so too. */
static bool is_anothers(const struct compare *c,
                        const struct rec_cookie *cookie,
                        const struct rec_id *id, uint64_t no)
{
    struct rec_dirent d;
    struct rec_key k;
    struct cfs_blob v;

    if (cookie->name.len == id->name.len &&
        memcmp(cookie->name.s, id->name.s, id->name.len) == 0)
        return false;
    rec_key_name(&k, REC_DIRENT, c->dir, cookie->name);
    return eng_get(c->f->e, rec_key_blob(&k), &v) == 0 &&
           rec_dirent_unpack(v, &d) == 0 && d.cookie == no;
}

/* The cookie as its entry has it. */
static void fix_cookie(const struct compare *c, const struct rec_id *id,
                       const struct rec_dirent *d)
{
    struct rec_cookie cookie = {d->child, d->type, id->name};
    uint8_t v[REC_COOKIE_MAX];
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_COOKIE, c->dir, d->cookie);
    fsck_fix_put(c->f, &k, v, rec_cookie_pack(&cookie, v));
}

/* The entry as its cookie has it, if that is what its child lacks; else the
 * cookie goes. */
static void fix_entry(const struct compare *c, uint64_t no,
                      const struct rec_cookie *cookie)
{
    const struct rec_dirent d = {cookie->child, cookie->type, no};
    uint32_t at = fsck_ino(c->f, cookie->child);
    const struct fsck_ino *i = at == FSCK_NONE ? NULL : &c->f->ino[at];
    uint8_t v[REC_DIRENT_MAX];
    struct rec_key k;

    if (!i || (i->flags & INO_BROKEN) || cookie->type != fsck_mode(i) ||
        no == 0 || i->found >= (S_ISDIR(fsck_mode(i)) ? 1 : i->nlink) ||
        cfs_gfid_eq(cookie->child, cfs_gfid_root)) {
        fsck_fix_this(c->f);
        return;
    }
    rec_key_name(&k, REC_DIRENT, c->dir, cookie->name);
    fsck_fix_put(c->f, &k, v, rec_dirent_pack(&d, v));
}

/* An entry whose cookie is missing, or says something else. */
static int compare_entry(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    const struct compare *c = ctx;
    struct rec_dirent d;
    struct rec_cookie cookie;
    struct rec_key k;
    struct rec_id id;
    struct cfs_blob v;
    char *name;
    int rc;

    c->f->key = key;
    if (rec_key_parse(key, &id) < 0 || rec_dirent_unpack(value, &d) < 0)
        return 0; /* is a finding already */
    rec_key_gfid_u64(&k, REC_COOKIE, c->dir, d.cookie);
    rc = eng_get(c->f->e, rec_key_blob(&k), &v);
    if (rc == 0)
        rc = rec_cookie_unpack(v, &cookie);
    if (rc == 0 && cfs_gfid_eq(cookie.child, d.child) &&
        cookie.type == d.type && cookie.name.len == id.name.len &&
        memcmp(cookie.name.s, id.name.s, id.name.len) == 0)
        return 0;
    name = tool_escape(id.name.s, id.name.len);
    fsck_find(c->f, "cookie", c->dir,
              rc == 0 ? "cookie %" PRIu64 " of entry \"%s\" says something "
                        "else"
                      : "cookie %" PRIu64 " of entry \"%s\" is missing",
              d.cookie, name);
    if (rc == 0 && is_anothers(c, &cookie, &id, d.cookie))
        fsck_fix_cookie(c->f, c->dir, id.name);
    else
        fix_cookie(c, &id, &d);
    free(name);
    return 0;
}

/* A cookie whose entry is missing, or has another cookie. */
static int compare_cookie(void *ctx, struct cfs_blob key,
                          struct cfs_blob value)
{
    const struct compare *c = ctx;
    struct rec_cookie cookie;
    struct rec_dirent d;
    struct rec_key k;
    struct rec_id id;
    struct cfs_blob v;
    char *name;
    int rc;

    c->f->key = key;
    if (rec_key_parse(key, &id) < 0 || rec_cookie_unpack(value, &cookie) < 0)
        return 0;
    rec_key_name(&k, REC_DIRENT, c->dir, cookie.name);
    rc = eng_get(c->f->e, rec_key_blob(&k), &v);
    if (rc == 0)
        rc = rec_dirent_unpack(v, &d);
    if (rc == 0 && d.cookie == id.n)
        return 0;
    name = tool_escape(cookie.name.s, cookie.name.len);
    fsck_find(c->f, "cookie", c->dir,
              rc == 0 ? "cookie %" PRIu64 " is of entry \"%s\", which has "
                        "another"
                      : "cookie %" PRIu64 " is of entry \"%s\", which is "
                        "missing",
              id.n, name);
    if (rc == 0)
        fsck_fix_this(c->f);
    else
        fix_entry(c, id.n, &cookie);
    free(name);
    return 0;
}

static void compare_dir(struct fsck *f, struct cfs_gfid dir)
{
    uint64_t before = f->r->findings;
    struct compare c = {f, dir};
    struct tool_scan entries = {f->e, compare_entry, NULL, &c};
    struct tool_scan cookies = {f->e, compare_cookie, NULL, &c};
    struct rec_key k;

    rec_key_gfid(&k, REC_DIRENT, dir);
    tool_scan_prefix(&entries, &k);
    rec_key_gfid(&k, REC_COOKIE, dir);
    tool_scan_prefix(&cookies, &k);
    if (f->r->findings == before)
        fsck_find(f, "cookie", dir, "its entries and its cookies differ");
}

void fsck_names(struct fsck *f)
{
    static const struct fsck_pass names = {
        .table = REC_DIRENT,
        .what = "names",
        .each = dirent_each,
    };
    struct fsck_pass cookies = {
        .table = REC_COOKIE,
        .what = "cookies",
        .each = cookie_each,
    };

    fsck_pass(f, &names);
    cookies.of = f->r->names;
    fsck_pass(f, &cookies);
}

/* -- the tree of directories ---------------------------------------------- */

/* A removed one must be empty, and without a name. */
static void check_removed(struct fsck *f, const struct fsck_ino *i)
{
    bool entries = i->part > 0 || i->count < 0;

    if (entries)
        fsck_find(f, "names", i->gfid, "is removed, and has entries");
    if (i->found > 0)
        fsck_find(f, "nlink", i->gfid, "is removed, and has %u names",
                  i->found);
    if (entries || i->found > 0)
        fsck_fix_set(f, i->gfid, SET_NLINK, 2 + (int64_t)i->part);
}

static void check_dir(struct fsck *f, const struct fsck_ino *i)
{
    const bool root = cfs_gfid_eq(i->gfid, cfs_gfid_root);

    if (i->size != 0)
        compare_dir(f, i->gfid);
    if (i->nlink == 0) {
        check_removed(f, i);
        return;
    }
    if (i->nlink != 2 + (uint32_t)i->part) {
        fsck_find(f, "nlink", i->gfid,
                  "has %d directories in it, and %u links instead of %u",
                  i->part, i->nlink, 2 + (uint32_t)i->part);
        fsck_fix_set(f, i->gfid, SET_NLINK, 2 + (int64_t)i->part);
    }
    if (root)
        return;
    if (i->found != 1) {
        fsck_find(f, "names", i->gfid, "is a directory with %u names",
                  i->found);
        if (i->found == 0)
            fsck_fix_link(f, i->gfid);
        else
            fsck_fix_names(f, i->gfid, true);
    }
    if (i->found > 0 && i->parent != i->named_in) {
        fsck_find(f, "parent", i->gfid,
                  "says that it is in another directory than it is");
        if (i->found == 1 && i->named_in != FSCK_NONE)
            fsck_fix_parent(f, i->gfid, f->ino[i->named_in].gfid);
    }
}

/* Follow the names from @i up; every way ends at the root or at an inode that
 * has no name, which is a finding of its own. */
static void walk_up(struct fsck *f, uint32_t i)
{
    uint32_t at = i, end;

    while (at != FSCK_NONE &&
           !(f->ino[at].flags & (INO_WALKING | INO_REACHED))) {
        f->ino[at].flags |= INO_WALKING;
        at = f->ino[at].named_in;
    }
    if (at != FSCK_NONE && (f->ino[at].flags & INO_WALKING)) {
        fsck_find(f, "loop", f->ino[at].gfid,
                  "is a directory somewhere below itself");
        fsck_fix_names(f, f->ino[at].gfid, false);
        f->ino[at].named_in = FSCK_NONE; /* or its path would never end */
    }
    end = at;
    for (at = i; at != end && at != FSCK_NONE; at = f->ino[at].named_in) {
        f->ino[at].flags &= (uint8_t)~INO_WALKING;
        f->ino[at].flags |= INO_REACHED;
    }
    if (end != FSCK_NONE) {
        f->ino[end].flags &= (uint8_t)~INO_WALKING;
        f->ino[end].flags |= INO_REACHED;
    }
}

void fsck_shape(struct fsck *f)
{
    for (uint32_t i = 0; i < f->n_ino; i++)
        if (f->ino[i].type && S_ISDIR(fsck_mode(&f->ino[i]))) {
            check_dir(f, &f->ino[i]);
            walk_up(f, i);
        }
}

/* -- paths ---------------------------------------------------------------- */

struct search {
    struct cfs_gfid child;
    char           *name; /* escaped; NULL: not found yet */
};

static int search_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct search *s = ctx;
    struct rec_dirent d;
    struct rec_id id;

    if (rec_key_parse(key, &id) < 0 || rec_dirent_unpack(value, &d) < 0 ||
        !cfs_gfid_eq(d.child, s->child))
        return 0;
    s->name = tool_escape(id.name.s, id.name.len);
    return 1;
}

#define PATH_DEPTH 4096u /* deeper would be a loop */

char *fsck_path(struct fsck *f, struct cfs_gfid g)
{
    char *path = tool_format("%s", "");

    for (unsigned depth = 0; depth < PATH_DEPTH; depth++) {
        struct search s = {g, NULL};
        struct tool_scan scan = {f->e, search_each, NULL, &s};
        uint32_t at = fsck_ino(f, g);
        struct rec_key k;
        char *longer;

        if (cfs_gfid_eq(g, cfs_gfid_root)) {
            if (*path)
                return path;
            free(path);
            return tool_format("/");
        }
        if (at == FSCK_NONE || f->ino[at].named_in == FSCK_NONE)
            break;
        rec_key_gfid(&k, REC_DIRENT, f->ino[f->ino[at].named_in].gfid);
        tool_scan_prefix(&scan, &k);
        if (!s.name)
            break;
        longer = tool_format("/%s%s", s.name, path);
        free(s.name);
        free(path);
        path = longer;
        g = f->ino[f->ino[at].named_in].gfid;
    }
    free(path);
    return NULL;
}
