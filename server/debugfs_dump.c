/* SPDX-License-Identifier: Apache-2.0 */
/* debugfs_dump.c - records by table, by inode. */
#include <stdlib.h>
#include <sys/stat.h>

#include "core/opt.h"
#include "server/debugfs.h"

static int print_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    words_record(stdout, key, value);
    return 0;
}

static int print_prefix(struct debugfs *d, const struct rec_key *k,
                        struct cfs_err *err)
{
    struct tool_scan scan = {d->b.e, print_each, NULL, NULL};
    int rc = tool_scan_prefix(&scan, k);

    if (rc < 0)
        return cfs_err_set(err, rc, "%s: %s", d->path, cfs_err_str(rc));
    return 0;
}

static int print_table(struct debugfs *d, enum rec_table t,
                       struct cfs_err *err)
{
    struct rec_key k;

    rec_key_table(&k, t);
    return print_prefix(d, &k, err);
}

int debugfs_dump(struct debugfs *d, struct cfs_err *err)
{
    struct tool_scan scan = {d->b.e, print_each, NULL, NULL};
    uint8_t t = d->arg ? words_table_parse(d->arg) : 0;
    struct cfs_blob all = {0};
    const char *nearest;
    int rc;

    if (t)
        return print_table(d, (enum rec_table)t, err);
    if (d->arg) {
        nearest = cfs_nearest(d->arg, words_tables);
        return cfs_err_set(err, -EINVAL, "there is no table \"%s\"%s%s%s",
                           d->arg, nearest ? " (" : "",
                           nearest ? nearest : "", nearest ? "?)" : "");
    }
    rc = tool_scan(&scan, all, all);
    if (rc < 0)
        return cfs_err_set(err, rc, "%s: %s", d->path, cfs_err_str(rc));
    return 0;
}

int debugfs_sessions(struct debugfs *d, struct cfs_err *err)
{
    int rc = print_table(d, REC_SESSION, err);

    return rc < 0 ? rc : print_table(d, REC_ANSWER, err);
}

int debugfs_views(struct debugfs *d, struct cfs_err *err)
{
    return print_table(d, REC_VIEW, err);
}

int debugfs_dirty(struct debugfs *d, struct cfs_err *err)
{
    int rc = print_table(d, REC_DIRTY, err);

    if (rc == 0)
        rc = print_table(d, REC_TOMB, err);
    return rc < 0 ? rc : print_table(d, REC_OPLOG, err);
}

/* -- one inode ------------------------------------------------------------ */

/* Undo tool_escape(): \xHH in @s, in place. */
static void unescape(char *s)
{
    char *to = s;

    while (*s) {
        int hi = s[0] == '\\' && s[1] == 'x' ? cfs_hex_digit(s[2]) : -1;
        int lo = hi < 0 ? -1 : cfs_hex_digit(s[3]);

        if (lo >= 0 && (hi | lo) != 0) {
            *to++ = (char)(hi << 4 | lo);
            s += 4;
        } else {
            *to++ = *s++;
        }
    }
    *to = '\0';
}

static int step_down(struct debugfs *d, struct cfs_gfid *g, const char *s,
                     size_t len)
{
    struct rec_dirent e;
    struct rec_key k;
    struct cfs_blob v;
    int rc;

    if (len > CFS_NAME_MAX)
        return -ENAMETOOLONG;
    rec_key_name(&k, REC_DIRENT, *g, (struct cfs_name){s, (uint32_t)len});
    rc = eng_get(d->b.e, rec_key_blob(&k), &v);
    if (rc == 0)
        rc = rec_dirent_unpack(v, &e);
    if (rc == 0)
        *g = e.child;
    return rc;
}

/* The inode that the verb's argument names. */
static int find_inode(struct debugfs *d, struct cfs_gfid *ret,
                      struct cfs_err *err)
{
    char *path = tool_format("%s", d->arg), *at = path;
    struct cfs_gfid g = cfs_gfid_root;
    int rc = 0;

    if (cfs_gfid_parse(d->arg, ret) == 0) {
        free(path);
        return 0;
    }
    unescape(path);
    while (rc == 0 && *at) {
        size_t len = strcspn(at, "/");

        if (len > 0)
            rc = step_down(d, &g, at, len);
        at += len + (at[len] == '/');
    }
    free(path);
    if (rc < 0)
        return cfs_err_set(err, rc, "%s: %s", d->arg, cfs_err_str(rc));
    *ret = g;
    return 0;
}

/* Whether @t's keys begin with a gfid. */
static bool of_inodes(enum rec_table t)
{
    return t != REC_ANSWER && t != REC_BRICK && t != REC_OPLOG &&
           t != REC_SESSION && t != REC_VIEW;
}

static int one_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    bool *any = ctx;

    *any = true;
    return TOOL_PAUSE;
}

/* Whether any record is of inode @g. */
static bool is_anywhere(struct debugfs *d, struct cfs_gfid g)
{
    bool any = false;

    for (size_t i = 0; words_tables[i] && !any; i++) {
        enum rec_table t = (enum rec_table)words_table_parse(words_tables[i]);
        struct rec_key lo, hi;

        rec_key_gfid(&lo, t, g);
        rec_key_after(&hi, &lo);
        if (of_inodes(t))
            eng_sweep(d->b.e, rec_key_blob(&lo), rec_key_blob(&hi), one_each,
                      &any);
    }
    return any;
}

int debugfs_stat(struct debugfs *d, struct cfs_err *err)
{
    char digest[DIGEST_STR];
    struct rec_inode ino;
    struct cfs_gfid g;
    struct cfs_blob v;
    struct rec_key k;
    int rc;

    rc = find_inode(d, &g, err);
    if (rc < 0)
        return rc;
    rec_key_gfid(&k, REC_INODE, g);
    rc = eng_get(d->b.e, rec_key_blob(&k), &v);
    if (rc == 0)
        rc = rec_inode_unpack(v, &ino);
    if (rc < 0 && rc != -ENOENT)
        return cfs_err_set(err, rc, "%s: %s", d->arg, cfs_err_str(rc));
    if (rc == -ENOENT && !is_anywhere(d, g))
        return cfs_err_set(err, rc, "there is no inode %s", d->arg);
    if (rc == -ENOENT)
        printf("there is no such inode, and yet this is of it:\n");
    else
        print_prefix(d, &k, err);
    for (size_t i = 0; words_tables[i]; i++) {
        enum rec_table t = (enum rec_table)words_table_parse(words_tables[i]);

        if (!of_inodes(t) || t == REC_INODE)
            continue;
        rec_key_gfid(&k, t, g);
        if (print_prefix(d, &k, err) < 0)
            return err->code;
    }
    if (rc < 0 || !S_ISREG(ino.mode))
        return 0;
    rc = debugfs_digest(&d->b, g, &ino, digest);
    printf("content %s\n", rc < 0 ? cfs_err_str(rc) : digest);
    return 0;
}
