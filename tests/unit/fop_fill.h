/* SPDX-License-Identifier: Apache-2.0 */
/* fop_fill.h - a valid request, and its outputs, of any operation, from a
 * random number; and whether two are the same. Generated from fops.def, with
 * what an operation asks of its values beyond their types put right after.
 *
 * Ownership  everything is in the call's arena.
 */
#ifndef CFS_TESTS_UNIT_FOP_FILL_H
#define CFS_TESTS_UNIT_FOP_FILL_H

#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/dirent.h"
#include "core/fop.h"
#include "rpc/fop_codec.h"

static uint64_t fill_u64_any(void)
{
    return (uint64_t)random() << 33 ^ (uint64_t)random() << 16 ^
           (uint64_t)random();
}

static void fill_bytes(void *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)p)[i] = (uint8_t)(1 + random() % 255); /* no NUL */
}

static void fill_gfid(struct cfs_arena *a, struct cfs_gfid *v)
{
    fill_bytes(v, sizeof *v);
}

static void fill_uuid(struct cfs_uuid *v)
{
    fill_bytes(v, sizeof *v);
}

static void fill_name(struct cfs_arena *a, struct cfs_name *v)
{
    char *s;

    v->len = 1 + (uint32_t)random() % CFS_NAME_MAX;
    s = cfs_arena_alloc(a, v->len);
    fill_bytes(s, v->len);
    for (uint32_t i = 0; i < v->len; i++)
        if (s[i] == '/' || s[i] == '.')
            s[i] = 'x';
    v->s = s;
}

static void fill_blob(struct cfs_arena *a, struct cfs_blob *v)
{
    void *p;

    v->len = 1 + (uint32_t)random() % 300;
    p = cfs_arena_alloc(a, v->len);
    fill_bytes(p, v->len);
    v->p = p;
}

static void fill_buf(struct cfs_arena *a, struct cfs_buf *v)
{
    *v = cfs_buf_new(1 + (uint32_t)random() % 20000);
    memset(v->data, (int)random() % 256, v->len);
    cfs_arena_keep(a, *v);
}

static void fill_u32(struct cfs_arena *a, uint32_t *v)
{
    *v = (uint32_t)random() % 2;
}

static void fill_u64(struct cfs_arena *a, uint64_t *v)
{
    *v = fill_u64_any() % ((uint64_t)1 << 50);
}

static void fill_time(struct cfs_arena *a, struct cfs_time *v)
{
    v->sec = (int64_t)fill_u64_any(); /* also before 1970 */
    v->nsec = (uint32_t)random() % 1000000000u;
}

static void fill_attr(struct cfs_arena *a, struct cfs_attr *v)
{
    fill_gfid(a, &v->gfid);
    v->version.epoch = fill_u64_any();
    v->version.seq = fill_u64_any();
    v->mode = S_IFREG | ((uint32_t)random() & 07777);
    v->nlink = (uint32_t)random();
    v->uid = (uint32_t)random();
    v->gid = (uint32_t)random();
    v->rdev = fill_u64_any();
    v->size = fill_u64_any() % CFS_FILE_MAX;
    v->blocks = fill_u64_any();
    fill_time(a, &v->atime);
    fill_time(a, &v->mtime);
    fill_time(a, &v->ctime);
    fill_time(a, &v->btime);
}

static void fill_space(struct cfs_arena *a, struct cfs_space *v)
{
    v->total = fill_u64_any();
    v->free = v->total / 2;
    v->avail = v->total / 3;
    v->files = fill_u64_any();
    v->ffree = v->files / 2;
}

static void fill_session(struct cfs_arena *a, struct cfs_session *v)
{
    v->no = 1 + (uint32_t)random() % 1000;
    v->state = (uint32_t)random() % 3;
    v->pid = (uint32_t)random();
    v->dead_ms = (uint32_t)random();
    v->pid_start = fill_u64_any();
    fill_uuid(&v->boot);
    snprintf(v->node, sizeof v->node, "node-%ld", random());
    snprintf(v->service, sizeof v->service, "mount");
    snprintf(v->where, sizeof v->where, "/mnt/%ld", random());
}

static void fill_view(struct cfs_arena *a, struct cfs_view *v)
{
    fill_uuid(&v->set);
    fill_uuid(&v->id);
    v->lineage = fill_u64_any();
    v->epoch = fill_u64_any();
    v->n_sync = 1 + (uint32_t)random() % 3;
    v->n_syncing = (uint32_t)random() % 3;
    for (uint32_t i = 0; i < v->n_sync + v->n_syncing; i++) {
        fill_uuid(&v->m[i].brick);
        v->m[i].incarnation = fill_u64_any();
    }
}

static void fill_brick(struct cfs_arena *a, struct cfs_brick *v)
{
    fill_uuid(&v->brick);
    v->incarnation = fill_u64_any();
    v->clean = 1;
    v->repaired = 1;
    fill_view(a, &v->view);
    v->total = fill_u64_any();
    v->free = v->total / 2;
    v->inodes = fill_u64_any();
    v->pos = fill_u64_any();
    v->durable = v->pos / 2;
    v->dirty = fill_u64_any();
    v->oplog = fill_u64_any();
    v->n_sessions = (uint32_t)random() % 20;
    for (uint32_t i = 0; i < v->n_sessions && i < CFS_INFO_SESSIONS; i++)
        fill_session(a, &v->session[i]);
    if (v->n_sessions > 0)
        snprintf(v->session[0].owner, sizeof v->session[0].owner, "node:%ld",
                 random());
    v->session_max = (uint32_t)random();
    snprintf(v->reason, sizeof v->reason, "reason %ld", random());
}

static void fill_change(struct cfs_change *c)
{
    c->session = 1 + (uint32_t)random() % 1000;
    c->acked_below = fill_u64_any() >> 1;
    c->no = c->acked_below + (uint64_t)random() % 5;
    fill_time(NULL, &c->now);
    c->n = 1 + (uint32_t)random() % CFS_TOUCH_MAX;
    for (uint32_t i = 0; i < c->n; i++) {
        fill_gfid(NULL, &c->touch[i].gfid);
        c->touch[i].expect.epoch = fill_u64_any() >> 1;
        c->touch[i].expect.seq = fill_u64_any() >> 1;
        c->touch[i].make = c->touch[i].expect;
        c->touch[i].make.seq++;
    }
}

static void fill_sums(struct cfs_arena *a, uint64_t offset, uint32_t len,
                      struct cfs_blob *ret)
{
    const uint64_t n =
        len == 0 ? 0
                 : (offset + len - 1) / CFS_BLOCK - offset / CFS_BLOCK + 1;
    void *p;

    ret->len = (uint32_t)(n * 8);
    p = cfs_arena_alloc(a, ret->len);
    fill_bytes(p, ret->len);
    ret->p = p;
}

/* -- what single operations ask for --------------------------------------- */

static void fix_inputs(struct cfs_arena *a, struct cfs_req *req)
{
    static const uint32_t falloc[] = {
        0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
        FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    void *op = req;

    switch (req->fop) {
    case CFS_FOP_READ:
        ((struct cfs_read *)op)->size = (uint32_t)random() % (CFS_IO_MAX + 1);
        break;
    case CFS_FOP_READDIR:
        ((struct cfs_readdir *)op)->size = 65536;
        break;
    case CFS_FOP_LSEEK:
        ((struct cfs_lseek *)op)->whence =
            random() % 2 ? SEEK_DATA : SEEK_HOLE;
        break;
    case CFS_FOP_CREATE: {
        struct cfs_create *c = op;

        if (random() % 2) {
            c->mode = S_IFLNK | 0777;
        } else {
            c->mode = S_IFDIR | 01755;
            c->target.len = 0;
        }
        break;
    }
    case CFS_FOP_RENAME:
        ((struct cfs_rename *)op)->flags = (uint32_t)random() % 3;
        break;
    case CFS_FOP_SETATTR:
        ((struct cfs_setattr *)op)->mask = (uint32_t)random() & 0x1ff;
        ((struct cfs_setattr *)op)->mode = (uint32_t)random() & 07777;
        break;
    case CFS_FOP_WRITE: {
        struct cfs_write *w = op;

        fill_sums(a, w->offset, w->data.len, &w->sums);
        w->flags = (uint32_t)random() % 4;
        break;
    }
    case CFS_FOP_FALLOCATE:
        ((struct cfs_fallocate *)op)->mode = falloc[random() % 5];
        ((struct cfs_fallocate *)op)->size =
            1 + (uint64_t)random() % CFS_FALLOC_STEP;
        break;
    case CFS_FOP_COPY:
        ((struct cfs_copy *)op)->size = 1 + (uint32_t)random() % CFS_IO_MAX;
        break;
    case CFS_FOP_SESSION_CLOSE:
        ((struct cfs_session_close *)op)->session = 5;
        break;
    case CFS_FOP_SESSION_FENCE:
        ((struct cfs_session_fence *)op)->session = 5;
        break;
    case CFS_FOP_CLEAR:
        ((struct cfs_clear *)op)->session = 5;
        ((struct cfs_clear *)op)->inodes.len &= ~31u;
        break;
    default:
        break;
    }
}

static void fix_outputs(struct cfs_arena *a, struct cfs_req *req)
{
    void *op = req;

    switch (req->fop) {
    case CFS_FOP_GETATTR: {
        struct cfs_getattr *g = op;

        g->attr.gfid = g->gfid;
        break;
    }
    case CFS_FOP_CREATE: {
        struct cfs_create *c = op;

        c->attr.gfid = c->gfid;
        break;
    }
    case CFS_FOP_RENAME: /* nothing was replaced */
        if (random() % 2)
            memset(&((struct cfs_rename *)op)->victim_attr, 0,
                   sizeof(struct cfs_attr));
        break;
    case CFS_FOP_READ: {
        struct cfs_read *r = op;

        if (r->data.len > r->size)
            r->data.len = r->size;
        fill_sums(a, r->offset, r->data.len, &r->sums);
        break;
    }
    case CFS_FOP_LISTXATTR: {
        struct cfs_listxattr *l = op;

        l->names = (struct cfs_blob){"user.a\0user.bc\0", 15};
        break;
    }
    default:
        break;
    }
}

/* -- generated ------------------------------------------------------------ */

#define A(type, name) fill_##type(&call->arena, &op->name);
#define FOP(lower, UPPER, class, in, out)                                    \
    static void fill_in_##lower(struct cfs_call *call, void *req)            \
    {                                                                        \
        struct cfs_##lower *op = req;                                        \
        (void)op;                                                            \
        in                                                                   \
    }                                                                        \
    static void fill_out_##lower(struct cfs_call *call, void *req)           \
    {                                                                        \
        struct cfs_##lower *op = req;                                        \
        (void)op;                                                            \
        out                                                                  \
    }
#include "core/fops.def"
#undef FOP
#undef A

__attribute__((unused)) static struct cfs_req *
fill_request(struct cfs_call *call, enum cfs_fop fop)
{
    struct cfs_req *req = cfs_arena_alloc(&call->arena, cfs_fop_size(fop));

    req->call = call;
    req->fop = fop;
    req->epoch = fill_u64_any();
    if (random() % 2) {
        req->want.epoch = fill_u64_any();
        req->want.seq = fill_u64_any();
    }
    if (cfs_fop_class(fop) == CFS_CLASS_CHANGE) {
        req->change = cfs_call_new(call, struct cfs_change);
        fill_change(req->change);
    }
    switch (fop) {
#define FOP(lower, UPPER, class, in, out)                                    \
    case CFS_FOP_##UPPER:                                                    \
        fill_in_##lower(call, req);                                          \
        break;
#include "core/fops.def"
#undef FOP
    case CFS_FOP_N:
        break;
    }
    fix_inputs(&call->arena, req);
    return req;
}

__attribute__((unused)) static void fill_reply(struct cfs_req *req)
{
    struct cfs_call *call = req->call;

    req->post = (struct cfs_post){fill_u64_any(), fill_u64_any(),
                                  fill_u64_any(), fill_u64_any(),
                                  fill_u64_any()};
    switch (req->fop) {
#define FOP(lower, UPPER, class, in, out)                                    \
    case CFS_FOP_##UPPER:                                                    \
        fill_out_##lower(call, req);                                         \
        break;
#include "core/fops.def"
#undef FOP
    case CFS_FOP_N:
        break;
    }
    fix_outputs(&call->arena, req);
}

/* -- equality ------------------------------------------------------------- */

static bool same_bytes(const void *a, size_t alen, const void *b, size_t blen)
{
    return alen == blen && (alen == 0 || memcmp(a, b, alen) == 0);
}

static bool same_name(const struct cfs_name *a, const struct cfs_name *b)
{
    return same_bytes(a->s, a->len, b->s, b->len);
}

static bool same_blob(const struct cfs_blob *a, const struct cfs_blob *b)
{
    return same_bytes(a->p, a->len, b->p, b->len);
}

static bool same_buf(const struct cfs_buf *a, const struct cfs_buf *b)
{
    return same_bytes(a->data, a->len, b->data, b->len);
}

/* The rest has no pointers, and its padding is zero on both sides but in
 * struct cfs_attr and what contains a cfs_time. */
#define SAME_PLAIN(type)                                                     \
    static bool same_##type(const cfs_t_##type *a, const cfs_t_##type *b)    \
    {                                                                        \
        return memcmp(a, b, sizeof *a) == 0;                                 \
    }
SAME_PLAIN(gfid)
SAME_PLAIN(u32)
SAME_PLAIN(u64)
SAME_PLAIN(space)
SAME_PLAIN(session)
SAME_PLAIN(view)

static bool same_time(const struct cfs_time *a, const struct cfs_time *b)
{
    return cfs_time_cmp(*a, *b) == 0;
}

static bool same_attr(const struct cfs_attr *a, const struct cfs_attr *b)
{
    uint8_t pa[CFS_ATTR_PACKED], pb[CFS_ATTR_PACKED];

    cfs_attr_pack(a, pa);
    cfs_attr_pack(b, pb);
    return memcmp(pa, pb, sizeof pa) == 0;
}

static bool same_brick(const struct cfs_brick *a, const struct cfs_brick *b)
{
    return same_gfid((const void *)&a->brick, (const void *)&b->brick) &&
           a->incarnation == b->incarnation && a->clean == b->clean &&
           a->repaired == b->repaired &&
           a->poisoned == b->poisoned && same_view(&a->view, &b->view) &&
           a->total == b->total && a->free == b->free &&
           a->inodes == b->inodes && a->pos == b->pos &&
           a->durable == b->durable && a->dirty == b->dirty &&
           a->oplog == b->oplog && a->n_sessions == b->n_sessions &&
           a->session_max == b->session_max &&
           memcmp(a->session, b->session, sizeof a->session) == 0 &&
           strcmp(a->reason, b->reason) == 0;
}

static bool same_change(const struct cfs_change *a, const struct cfs_change *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return a->session == b->session && a->no == b->no &&
           a->acked_below == b->acked_below && same_time(&a->now, &b->now) &&
           a->n == b->n &&
           memcmp(a->touch, b->touch, a->n * sizeof *a->touch) == 0;
}

#define A(type, name)                                                        \
    if (!same_##type(&a->name, &b->name)) {                                  \
        fprintf(stderr, "field %s differs\n", #name);                        \
        return false;                                                        \
    }
#define FOP(lower, UPPER, class, in, out)                                    \
    static bool same_in_##lower(const void *pa, const void *pb)              \
    {                                                                        \
        const struct cfs_##lower *a = pa, *b = pb;                           \
        (void)a;                                                             \
        (void)b;                                                             \
        in                                                                   \
        return true;                                                         \
    }                                                                        \
    static bool same_out_##lower(const void *pa, const void *pb)             \
    {                                                                        \
        const struct cfs_##lower *a = pa, *b = pb;                           \
        (void)a;                                                             \
        (void)b;                                                             \
        out                                                                  \
        return true;                                                         \
    }
#include "core/fops.def"
#undef FOP
#undef A

__attribute__((unused)) static bool same_request(const struct cfs_req *a,
                                                 const struct cfs_req *b)
{
    if (a->fop != b->fop || a->epoch != b->epoch ||
        cfs_version_cmp(a->want, b->want) != 0 ||
        !same_change(a->change, b->change))
        return false;
    switch (a->fop) {
#define FOP(lower, UPPER, class, in, out)                                    \
    case CFS_FOP_##UPPER:                                                    \
        return same_in_##lower(a, b);
#include "core/fops.def"
#undef FOP
    case CFS_FOP_N:
        break;
    }
    return false;
}

__attribute__((unused)) static bool same_reply(const struct cfs_req *a,
                                               const struct cfs_req *b)
{
    if (memcmp(&a->post, &b->post, sizeof a->post) != 0)
        return false;
    switch (a->fop) {
#define FOP(lower, UPPER, class, in, out)                                    \
    case CFS_FOP_##UPPER:                                                    \
        return same_out_##lower(a, b);
#include "core/fops.def"
#undef FOP
    case CFS_FOP_N:
        break;
    }
    return false;
}

/* A request with the inputs of @up and no outputs. */
__attribute__((unused)) static struct cfs_req *
fill_fork(const struct cfs_req *up)
{
    struct cfs_req *req =
        cfs_arena_alloc(&up->call->arena, cfs_fop_size(up->fop));

    switch (up->fop) {
#define FOP(lower, UPPER, class, in, out)                                    \
    case CFS_FOP_##UPPER:                                                    \
        cfs_fork_##lower((void *)req, (const void *)up);                     \
        break;
#include "core/fops.def"
#undef FOP
    case CFS_FOP_N:
        break;
    }
    return req;
}

#endif
