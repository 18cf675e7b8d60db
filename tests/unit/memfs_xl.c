/* SPDX-License-Identifier: Apache-2.0 */
/* memfs_xl.c - debug/memfs: reads, data, attributes; names are in
 * memfs_names.c. See memfs_xl.h. */
#include "tests/unit/memfs_xl.h"

#include "core/dirent.h"
#include "core/loop.h"
#include "tests/unit/memfs_fops.h"
#include "tests/unit/memfs_node.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define TOTAL_BLOCKS (1u << 20) /* 4 GiB */

/* -- reads ----------------------------------------------------------------- */

static void mem_getattr(struct cfs_xl *xl, struct cfs_getattr *op)
{
    struct mnode *n = memfs_find(xl->priv, op->gfid);

    if (n != NULL)
        op->attr = n->attr;
    cfs_unwind_getattr(op, n == NULL ? -ESTALE : 0);
}

static void mem_readlink(struct cfs_xl *xl, struct cfs_readlink *op)
{
    struct mnode *n = memfs_find(xl->priv, op->gfid);

    if (n == NULL || n->target == NULL) {
        cfs_unwind_readlink(op, n == NULL ? -ESTALE : -EINVAL);
        return;
    }
    op->target = (struct cfs_blob){
        cfs_arena_dup(&op->req.call->arena, n->target, strlen(n->target)),
        (uint32_t)strlen(n->target)};
    cfs_unwind_readlink(op, 0);
}

static struct cfs_blob make_sums(struct cfs_arena *a, uint64_t off,
                                 const uint8_t *data, uint32_t len)
{
    uint32_t n = 0;
    uint8_t *sums;

    if (len == 0)
        return (struct cfs_blob){0};
    sums = cfs_arena_alloc(a, 8 * (len / CFS_BLOCK + 2));
    while (len > 0) {
        uint32_t k = CFS_BLOCK - (uint32_t)(off % CFS_BLOCK);
        uint64_t sum;

        if (k > len)
            k = len;
        sum = XXH3_64bits(data, k);
        for (unsigned i = 0; i < 8; i++)
            sums[8 * n + i] = (uint8_t)(sum >> (8 * i));
        n++;
        off += k;
        data += k;
        len -= k;
    }
    return (struct cfs_blob){sums, 8 * n};
}

static void mem_read(struct cfs_xl *xl, struct cfs_read *op)
{
    struct mnode *n = memfs_find(xl->priv, op->gfid);
    struct cfs_arena *a = &op->req.call->arena;
    uint64_t left;

    if (n == NULL) {
        cfs_unwind_read(op, -ESTALE);
        return;
    }
    left = op->offset < n->attr.size ? n->attr.size - op->offset : 0;
    if (left > op->size)
        left = op->size;
    if (left > 0) {
        op->data = cfs_buf_new((uint32_t)left);
        op->data.len = (uint32_t)left;
        cfs_arena_keep(a, op->data);
        memfs_get(n, op->offset, op->data.data, left);
        op->sums = make_sums(a, op->offset, op->data.data, (uint32_t)left);
        if (n->corrupt)
            op->data.data[left - 1] ^= 1;
    }
    op->attr = n->attr;
    cfs_unwind_read(op, 0);
}

static void mem_readdir(struct cfs_xl *xl, struct cfs_readdir *op)
{
    struct mnode *dir = memfs_find(xl->priv, op->gfid);
    uint8_t *at, *end;

    if (dir == NULL || !S_ISDIR(dir->attr.mode)) {
        cfs_unwind_readdir(op, dir == NULL ? -ESTALE : -ENOTDIR);
        return;
    }
    op->entries = cfs_buf_new(op->size);
    cfs_arena_keep(&op->req.call->arena, op->entries);
    at = op->entries.data;
    end = at + op->size;
    op->eof = 1;
    cfs_list_for_each(it, &dir->entries)
    {
        const struct mentry *e = cfs_list_entry(it, struct mentry, link);
        struct cfs_dirent d = {
            .gfid = e->child->attr.gfid,
            .cookie = e->cookie,
            .type = e->child->attr.mode & S_IFMT,
            .name = {e->name, e->len},
            .has_attr = op->plus != 0,
            .attr = e->child->attr,
        };

        if (e->cookie <= op->cookie)
            continue;
        if (!cfs_dirent_put(&at, end, &d)) {
            op->eof = 0;
            break;
        }
    }
    op->entries.len = (uint32_t)(at - op->entries.data);
    cfs_unwind_readdir(op, 0);
}

static void mem_statfs(struct cfs_xl *xl, struct cfs_statfs *op)
{
    const struct memfs *m = xl->priv;

    op->space = (struct cfs_space){
        .total = (uint64_t)TOTAL_BLOCKS * CFS_BLOCK,
        .free = (TOTAL_BLOCKS - m->n_blocks) * CFS_BLOCK,
        .avail = (TOTAL_BLOCKS - m->n_blocks) * CFS_BLOCK,
        .files = 1000000,
        .ffree = 1000000 - m->n_inodes,
    };
    cfs_unwind_statfs(op, 0);
}

static void mem_lseek(struct cfs_xl *xl, struct cfs_lseek *op)
{
    struct mnode *n = memfs_find(xl->priv, op->gfid);
    uint64_t no = op->offset / CFS_BLOCK;

    if (n == NULL || op->offset >= n->attr.size) {
        cfs_unwind_lseek(op, n == NULL ? -ESTALE : -ENXIO);
        return;
    }
    if (op->whence == SEEK_DATA) {
        no = memfs_page_next(n, no);
        op->found = no == UINT64_MAX ? UINT64_MAX : no * CFS_BLOCK;
    } else {
        while (memfs_page(n, no) != NULL)
            no++;
        op->found = no * CFS_BLOCK;
        if (op->found > n->attr.size)
            op->found = n->attr.size;
    }
    if (op->found < op->offset)
        op->found = op->offset;
    cfs_unwind_lseek(op, op->found >= n->attr.size && op->whence == SEEK_DATA
                             ? -ENXIO
                             : 0);
}

static void mem_fsync(struct cfs_xl *xl, struct cfs_fsync *op)
{
    cfs_unwind_fsync(op, memfs_find(xl->priv, op->gfid) ? 0 : -ESTALE);
}

static void mem_flush(struct cfs_xl *xl, struct cfs_flush *op)
{
    cfs_unwind_flush(op, memfs_find(xl->priv, op->gfid) ? 0 : -ESTALE);
}

/* -- attributes ------------------------------------------------------------ */

void memfs_touch(struct memfs *m, struct mnode *n, bool mtime)
{
    struct cfs_time now = cfs_realtime(m->xl->loop);

    n->attr.ctime = now;
    if (mtime)
        n->attr.mtime = now;
    n->attr.version.seq++;
}

static void kill_suid(struct mnode *n)
{
    n->attr.mode &= ~(uint32_t)S_ISUID;
    if (n->attr.mode & S_IXGRP)
        n->attr.mode &= ~(uint32_t)S_ISGID;
}

static void mem_setattr(struct cfs_xl *xl, struct cfs_setattr *op)
{
    struct memfs *m = xl->priv;
    struct mnode *n = memfs_find(m, op->gfid);
    struct cfs_time now = cfs_realtime(xl->loop);

    if (n == NULL) {
        cfs_unwind_setattr(op, -ESTALE);
        return;
    }
    if (op->mask & CFS_SET_MODE)
        n->attr.mode = (n->attr.mode & S_IFMT) | (op->mode & 07777);
    if (op->mask & CFS_SET_UID)
        n->attr.uid = op->uid;
    if (op->mask & CFS_SET_GID)
        n->attr.gid = op->gid;
    if (op->mask & CFS_SET_KILL_SUID)
        kill_suid(n);
    if (op->mask & CFS_SET_SIZE)
        memfs_truncate(m, n, op->size);
    if (op->mask & CFS_SET_ATIME)
        n->attr.atime = op->atime;
    if (op->mask & CFS_SET_ATIME_NOW)
        n->attr.atime = now;
    if (op->mask & CFS_SET_MTIME)
        n->attr.mtime = op->mtime;
    if (op->mask & CFS_SET_MTIME_NOW)
        n->attr.mtime = now;
    memfs_touch(m, n, false);
    op->attr = n->attr;
    cfs_unwind_setattr(op, 0);
}

/* -- data ------------------------------------------------------------------ */

static void mem_write(struct cfs_xl *xl, struct cfs_write *op)
{
    struct memfs *m = xl->priv;
    struct mnode *n = memfs_find(m, op->gfid);
    struct cfs_blob sums;
    int rc = 0;

    sums = make_sums(&op->req.call->arena, op->offset, op->data.data,
                     op->data.len);
    if (n == NULL)
        rc = -ESTALE;
    else if (op->sums.len != sums.len ||
             memcmp(op->sums.p, sums.p, sums.len) != 0)
        rc = -CFS_E_CHECKSUM;
    else if ((op->flags & CFS_WRITE_APPEND) && op->offset != n->attr.size)
        rc = -EINVAL;
    else if (m->n_blocks + op->data.len / CFS_BLOCK + 2 > TOTAL_BLOCKS)
        rc = -ENOSPC;
    if (rc < 0) {
        cfs_unwind_write(op, rc);
        return;
    }
    memfs_put(m, n, op->offset, op->data.data, op->data.len);
    if (op->offset + op->data.len > n->attr.size)
        n->attr.size = op->offset + op->data.len;
    if (op->flags & CFS_WRITE_KILL_SUID)
        kill_suid(n);
    memfs_touch(m, n, true);
    op->attr = n->attr;
    cfs_unwind_write(op, 0);
}

static void mem_fallocate(struct cfs_xl *xl, struct cfs_fallocate *op)
{
    struct memfs *m = xl->priv;
    struct mnode *n = memfs_find(m, op->gfid);
    uint64_t end = op->offset + op->size, no = op->offset / CFS_BLOCK;
    bool frees = (op->mode & FALLOC_FL_PUNCH_HOLE) != 0;

    if (n == NULL || op->size > CFS_FALLOC_STEP) {
        cfs_unwind_fallocate(op, n == NULL ? -ESTALE : -EINVAL);
        return;
    }
    if (!frees && m->n_blocks + op->size / CFS_BLOCK + 2 > TOTAL_BLOCKS) {
        cfs_unwind_fallocate(op, -ENOSPC);
        return;
    }
    if (op->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
        memfs_zero(m, n, op->offset, op->size, frees);
    } else {
        for (; no * CFS_BLOCK < end; no++)
            memfs_page_make(m, n, no);
    }
    if (!(op->mode & FALLOC_FL_KEEP_SIZE) && end > n->attr.size)
        n->attr.size = end;
    memfs_touch(m, n, true);
    op->attr = n->attr;
    cfs_unwind_fallocate(op, 0);
}

static void mem_copy(struct cfs_xl *xl, struct cfs_copy *op)
{
    struct memfs *m = xl->priv;
    struct mnode *n = memfs_find(m, op->gfid);
    struct mnode *src = memfs_find(m, op->src);
    uint64_t left;
    struct cfs_buf buf;

    if (n == NULL || src == NULL || op->size > CFS_IO_MAX) {
        cfs_unwind_copy(op, -ESTALE);
        return;
    }
    left = op->src_offset < src->attr.size ? src->attr.size - op->src_offset
                                           : 0;
    if (left > op->size)
        left = op->size;
    if (left > 0) {
        buf = cfs_buf_new((uint32_t)left);
        memfs_get(src, op->src_offset, buf.data, left);
        memfs_put(m, n, op->offset, buf.data, left);
        cfs_buf_unref(&buf);
        if (op->offset + left > n->attr.size)
            n->attr.size = op->offset + left;
        memfs_touch(m, n, true);
    }
    op->copied = (uint32_t)left;
    op->attr = n->attr;
    cfs_unwind_copy(op, 0);
}

/* -- extended attributes --------------------------------------------------- */

static bool name_is(struct cfs_name name, const char *s)
{
    return name.len == strlen(s) && memcmp(name.s, s, name.len) == 0;
}

static void mem_getxattr(struct cfs_xl *xl, struct cfs_getxattr *op)
{
    struct memfs *m = xl->priv;
    struct mnode *n = memfs_find(m, op->gfid);
    struct cfs_arena *a = &op->req.call->arena;
    struct mxattr *x;

    if (n == NULL) {
        cfs_unwind_getxattr(op, -ESTALE);
        return;
    }
    if (name_is(op->name, "trusted.memfs.inodes")) {
        char *s = cfs_arena_alloc(a, 32);

        op->value.len = (uint32_t)snprintf(s, 32, "%llu",
                                           (unsigned long long)m->n_inodes);
        op->value.p = s;
        cfs_unwind_getxattr(op, 0);
        return;
    }
    x = memfs_xattr(n, op->name);
    if (x != NULL)
        op->value = (struct cfs_blob){
            cfs_arena_dup(a, x->value, x->value_len), x->value_len};
    cfs_unwind_getxattr(op, x == NULL ? -ENODATA : 0);
}

static void mem_listxattr(struct cfs_xl *xl, struct cfs_listxattr *op)
{
    struct mnode *n = memfs_find(xl->priv, op->gfid);
    uint32_t len = 0;
    char *p;

    if (n == NULL) {
        cfs_unwind_listxattr(op, -ESTALE);
        return;
    }
    cfs_list_for_each(it, &n->xattrs)
        len += cfs_list_entry(it, struct mxattr, link)->name_len + 1;
    p = cfs_arena_alloc(&op->req.call->arena, len + 1);
    op->names = (struct cfs_blob){p, len};
    cfs_list_for_each(it, &n->xattrs)
    {
        const struct mxattr *x = cfs_list_entry(it, struct mxattr, link);

        memcpy(p, x->name, x->name_len);
        p += x->name_len + 1; /* zeroed */
    }
    cfs_unwind_listxattr(op, 0);
}

/* Somebody else's append, unseen by the mount. */
static void hidden_append(struct memfs *m, struct mnode *n, struct cfs_blob v)
{
    memfs_put(m, n, n->attr.size, v.p, v.len);
    n->attr.size += v.len;
    memfs_touch(m, n, true);
}

static bool hidden_order(struct memfs *m, struct mnode *n,
                         struct cfs_setxattr *op, int *ret_rc)
{
    struct cfs_name v = {op->value.p, op->value.len};

    *ret_rc = 0;
    if (name_is(op->name, "trusted.memfs.corrupt"))
        n->corrupt = true;
    else if (name_is(op->name, "trusted.memfs.create"))
        *ret_rc = memfs_hidden_create(m, n, v);
    else if (name_is(op->name, "trusted.memfs.remove"))
        *ret_rc = memfs_hidden_remove(m, n, v);
    else if (name_is(op->name, "trusted.memfs.append"))
        hidden_append(m, n, op->value);
    else
        return false;
    op->attr = n->attr;
    return true;
}

static void mem_setxattr(struct cfs_xl *xl, struct cfs_setxattr *op)
{
    struct memfs *m = xl->priv;
    struct mnode *n = memfs_find(m, op->gfid);
    bool there;
    int rc;

    if (n == NULL) {
        cfs_unwind_setxattr(op, -ESTALE);
        return;
    }
    if (hidden_order(m, n, op, &rc)) {
        cfs_unwind_setxattr(op, rc);
        return;
    }
    there = memfs_xattr(n, op->name) != NULL;
    if (there && (op->flags & XATTR_CREATE)) {
        cfs_unwind_setxattr(op, -EEXIST);
        return;
    }
    if (!there && (op->flags & XATTR_REPLACE)) {
        cfs_unwind_setxattr(op, -ENODATA);
        return;
    }
    memfs_xattr_put(n, op->name, op->value);
    memfs_touch(m, n, false);
    op->attr = n->attr;
    cfs_unwind_setxattr(op, 0);
}

static void mem_removexattr(struct cfs_xl *xl, struct cfs_removexattr *op)
{
    struct memfs *m = xl->priv;
    struct mnode *n = memfs_find(m, op->gfid);
    struct mxattr *x = n == NULL ? NULL : memfs_xattr(n, op->name);

    if (x == NULL) {
        cfs_unwind_removexattr(op, n == NULL ? -ESTALE : -ENODATA);
        return;
    }
    memfs_xattr_del(x);
    memfs_touch(m, n, false);
    op->attr = n->attr;
    cfs_unwind_removexattr(op, 0);
}

/* -- the translator -------------------------------------------------------- */

static void come_up(struct memfs *m)
{
    struct cfs_session s = {.no = 1, .service = "mount"};

    cfs_notify_up(m->xl, (struct cfs_event){.type = CFS_EV_SESSION,
                                            .session = &s});
    cfs_notify_up(m->xl, (struct cfs_event){.type = CFS_EV_CHILD_UP});
}

static void up_later(struct cfs_timer *t)
{
    come_up(container_of(t, struct memfs, up));
}

static void mem_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    struct memfs *m = xl->priv;

    if (ev->type != CFS_EV_PARENT_UP)
        return;
    if (m->up_after_ms > 0)
        cfs_timer_start(&m->up, m->up_after_ms * CFS_MS);
    else
        come_up(m);
}

static int mem_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct memfs *m = xl->priv;

    m->xl = xl;
    memfs_setup(m);
    memfs_touch(m, memfs_find(m, cfs_gfid_root), true);
    cfs_timer_init(xl->loop, &m->up, up_later);
    return 0;
}

static void mem_fini(struct cfs_xl *xl)
{
    struct memfs *m = xl->priv;

    cfs_timer_fini(&m->up);
    memfs_clear(m);
}

static const struct cfs_opt mem_opts[] = {
    {.name = "up-after",
     .type = CFS_OPT_MS,
     .at = offsetof(struct memfs, up_after_ms),
     .def = "0",
     .help = "when CHILD_UP is sent"},
    {0},
};

static const struct cfs_fops mem_fops = {
    .lookup = memfs_lookup,
    .getattr = mem_getattr,
    .readlink = mem_readlink,
    .read = mem_read,
    .readdir = mem_readdir,
    .getxattr = mem_getxattr,
    .listxattr = mem_listxattr,
    .statfs = mem_statfs,
    .lseek = mem_lseek,
    .fsync = mem_fsync,
    .flush = mem_flush,
    .create = memfs_create,
    .unlink = memfs_unlink,
    .rename = memfs_rename,
    .link = memfs_link,
    .setattr = mem_setattr,
    .write = mem_write,
    .setxattr = mem_setxattr,
    .removexattr = mem_removexattr,
    .fallocate = mem_fallocate,
    .copy = mem_copy,
    .purge = memfs_purge,
};

const struct cfs_xl_type memfs_xl_type = {
    .name = "debug/memfs",
    .priv_size = sizeof(struct memfs),
    .opts = mem_opts,
    .init = mem_init,
    .fini = mem_fini,
    .notify = mem_notify,
    .fops = &mem_fops,
};
